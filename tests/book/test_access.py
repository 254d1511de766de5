"""What is mended on every page, and what a page does not load."""

import importlib.util
import io
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont

EXT = Path(__file__).resolve().parents[1] / "book" / "ext"


@pytest.fixture(scope="module")
def access():
    spec = importlib.util.spec_from_file_location("nc_access", EXT / "nc_access.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONTENTS = """<ul><li><a href="api.html">The library</a><details><summary><i></i></summary>
<ul><li><a href="one.html">One</a></li></ul></details></li></ul>"""


@pytest.mark.parametrize("kind", [str, lambda text: BeautifulSoup(text, "html.parser")])
def test_an_arrow_of_the_contents_says_what_it_unfolds(access, kind):
    made = access.named(kind(CONTENTS))
    assert type(made) is type(kind(CONTENTS))
    assert 'aria-label="Pages of The library"' in str(made)


def test_an_arrow_that_has_words_keeps_them(access):
    worded = CONTENTS.replace("<i></i>", "More")
    assert "aria-label" not in access.named(worded)


def test_an_empty_head_is_a_cell_and_a_head_with_words_stays(access):
    head = '<th class="head"><p></p></th><th scope="col"></th><th>name</th><thead></thead>'
    assert access.mended(head) == "<td></td><td></td><th>name</th><thead></thead>"


def test_only_the_dark_image_waits(access):
    images = '<img alt="a" class="only-light" src="a.svg"/><img class="only-dark" src="b.svg"/>'
    made = BeautifulSoup(access.mended(images), "html.parser").find_all("img")
    assert [image.get("loading") for image in made] == [None, "lazy"]


FILES = [
    f"_static/{name}" for name in ("mathjax/tex.js", "sphinx-design.css", "mystnb.1.css", "a.js")
]


@pytest.mark.parametrize(
    ("body", "loaded"),
    [
        ("<p>words</p>", [3]),
        ('<span class="math notranslate">\\(x\\)</span>', [0, 3]),
        ("<p>a forgotten $x$</p>", [0, 3]),
        ('<div class="sd-card">words</div>', [1, 3]),
        ('<div class="cell docutils">words</div>', [2, 3]),
    ],
)
def test_a_page_loads_what_it_uses(access, body, loaded):
    assert access.needed(FILES, body) == [FILES[i] for i in loaded]


def test_the_script_of_icons_goes_and_other_scripts_stay(access):
    other = '<script src="../_static/scripts/bootstrap.js?digest=1"></script>\n'
    icons = '  <script src="../_static/scripts/fontawesome.js?digest=1"></script>\n'
    assert access.without_icon_script(other + icons) == other


def test_the_small_font_holds_the_icons_of_the_pages_and_no_other():
    spec = importlib.util.spec_from_file_location("nc_icons", EXT / "nc_icons.py")
    icons = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(icons)
    style = '.fa-bars:before{content:"\\f0c9"}.fa-bath:before{content:"\\f2cd"}a{--x:"\uf05a"}'
    assert icons.glyphs(style) == [0xF05A, 0xF0C9]
    font = TTFont(io.BytesIO(icons.small_font(icons.FONT, [0xF05A, 0xF0C9])))
    assert set(font.getBestCmap()) == {0xF05A, 0xF0C9}
    assert len(icons.style_sheet()) < 10_000
