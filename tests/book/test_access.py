"""What is mended on every page, and what a page does not load."""

import re
from pathlib import Path

import pydata_sphinx_theme
import pytest
from bs4 import BeautifulSoup

from book.ext import page

CONTENTS = """<ul><li><a href="api.html">The library</a><details><summary><i></i></summary>
<ul><li><a href="one.html">One</a></li></ul></details></li></ul>"""


@pytest.mark.parametrize("kind", [str, lambda text: BeautifulSoup(text, "html.parser")])
def test_an_arrow_of_the_contents_says_what_it_unfolds(kind):
    made = page.named(kind(CONTENTS))
    assert type(made) is type(kind(CONTENTS))
    assert 'aria-label="Pages of The library"' in str(made)


def test_an_arrow_that_has_words_keeps_them():
    worded = CONTENTS.replace("<i></i>", "More")
    assert "aria-label" not in page.named(worded)


def test_an_empty_head_is_a_cell_and_a_head_with_words_stays():
    head = '<th class="head"><p></p></th><th scope="col"></th><th>name</th><thead></thead>'
    assert page.mended(head) == "<td></td><td></td><th>name</th><thead></thead>"


def test_only_the_dark_image_waits():
    images = '<img alt="a" class="only-light" src="a.svg"/><img class="only-dark" src="b.svg"/>'
    made = BeautifulSoup(page.mended(images), "html.parser").find_all("img")
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
def test_a_page_loads_what_it_uses(body, loaded):
    assert page.needed(FILES, body) == [FILES[i] for i in loaded]


def test_the_script_of_icons_goes_and_other_scripts_stay():
    other = '<script src="../_static/scripts/bootstrap.js?digest=1"></script>\n'
    icons = '  <script src="../_static/scripts/fontawesome.js?digest=1"></script>\n'
    assert page.without_icon_script(other + icons) == other


def test_the_icons_come_from_the_disk_as_a_font():
    """The theme's style sheets name font files beside them, and no address of a server."""
    folder = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
    style = (folder / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8")
    fonts = re.findall(r"url\(([^)]*fa-solid[^)]*)\)", style)
    assert fonts
    for name in fonts:
        path = (folder / "styles" / name.strip("'\"")).resolve()
        assert path.is_file(), name


def test_the_scripts_of_live_code_go():
    files = ["a.js", "thebe.js", "_static/sphinx-thebe.css"]
    assert page.needed(files, "<p>words</p>") == ["a.js"]
