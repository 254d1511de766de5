"""The book on paper: two small pages, printed by the real browser."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from pipeline import pdf, printed, stage
from tests.test_browser import pytest_generate_tests  # noqa: F401 (leaves browsers out)

ROOT = Path(__file__).resolve().parent.parent

TOC = """\
format: jb-book
root: book/index
parts:
  - caption: The first part
    chapters:
      - file: notebooks/one
        sections:
          - file: notebooks/two
"""

PAGE = """<!doctype html><html><head>
<script>window.MathJax = {{"tex": {{"macros": {{"one": "\\\\mathbf{{1}}"}}}}}}</script></head>
<body><nav>Menu</nav><article class="bd-article"><section id="top"><h1>{title}
<a class="headerlink" href="#top">#</a></h1>{extra}{text}</section></article></body></html>"""

ONE = (
    r"""
<p>A formula <span class="math notranslate">\(\one\)</span>, and one wider than the paper:</p>
<div class="math notranslate">\["""
    + " + ".join(f"x_{{{i}}}^{{2}}" for i in range(60))
    + r"""\]</div>
<p id="here"><a href="two.html#there">inside</a> <a href="two.html">page</a>
<a href="https://example.org">outside</a> <a href="../_downloads/f.nc">gone</a>
<a href="../book/index.html#never">no such name</a></p>
<img class="only-light" src="../_images/f.svg" alt="light"><img class="only-dark" src="no" alt="d">
<details class="hide"><summary>Code</summary><pre>folded = 1</pre></details>
<details><summary>In words</summary><p>Shown.</p></details>
<pre>"""
    + "a_very_long_name = " * 30
    + "</pre>"
)


def write(html: Path) -> Path:
    """Three built pages with what a page may hold."""
    pages = {
        "book/index": ("The book", '<p class="nc-pdf" hidden="hidden"></p>', "First."),
        "notebooks/one": ("One", "", ONE),
        "notebooks/two": ("Two", "", '<h2 id="there">A section</h2><p>Second.</p>'),
    }
    for name, (title, extra, text) in pages.items():
        (html / name).parent.mkdir(parents=True, exist_ok=True)
        page = PAGE.format(title=title, extra=extra, text=text)
        if "math" not in text:  # as in the book: a page without formulas brings no MathJax
            page = re.sub("<script>.*</script>", "", page)
        (html / f"{name}.html").write_text(page, encoding="utf-8")
    (html / "_static").mkdir()
    (html / "_images").mkdir()
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="20"><rect width="9"/></svg>'
    (html / "_images" / "f.svg").write_text(svg, encoding="utf-8")
    for name in ("nc.css", "print.css"):
        shutil.copy(ROOT / "book" / "assets" / name, html / "_static")
    wheel = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
    (html / "_static" / "mathjax").symlink_to(wheel / "static" / "mathjax")
    (html.parent / "_toc.yml").write_text(TOC, encoding="utf-8")
    return html


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return write(tmp_path_factory.mktemp("pdf") / "html")


@pytest.fixture(scope="module")
def entries(html):
    return printed.contents(html.parent / "_toc.yml")


@pytest.fixture(scope="module")
def text(html, entries):
    return printed.document(html, entries, title="A book", numbers={"notebooks-one": 4})


def test_the_pages_come_in_the_order_of_the_contents(entries):
    assert [(entry.name, entry.part, entry.depth) for entry in entries] == [
        ("book/index", "", 0),
        ("notebooks/one", "The first part", 1),
        ("notebooks/two", "The first part", 2),
    ]


def test_every_page_of_the_book_is_in_its_contents():
    listed = re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text())
    assert [entry.name for entry in printed.contents(ROOT / "_toc.yml")] == listed


def test_links_between_pages_become_links_inside_the_document(text):
    assert '<a href="#notebooks-two--there">inside</a>' in text
    assert '<a href="#notebooks-two">page</a>' in text
    assert '<a href="https://example.org">outside</a>' in text
    assert re.search(r"</a>\s+gone", text), "a download keeps its words only"
    assert '<a href="#book-index">no such name</a>' in text


def test_what_only_a_screen_can_do_is_left_out(text):
    for words in ("folded", "only-dark", "headerlink", "Menu", "nc-pdf", "hidden"):
        assert words not in text.partition("<main")[2], words
    assert "../html/_images/f.svg" in text
    assert '<details open=""><summary>In words' in text, "paper has nothing to click on"


def test_headings_lie_below_their_part_and_the_contents_have_numbers(text):
    assert '<h1 class="part">The first part</h1>' in text
    assert re.search(r'<h2 class="level-1">One', text)
    assert re.search(r'<h3 class="level-1">Two', text)
    assert "<span>One</span><span>4</span>" in text


@pytest.mark.browser
def test_the_pages_are_printed_with_bookmarks_numbers_and_nothing_cut(html, entries):
    target = html.parent / stage.PDF
    pages = pdf.make(html, entries, target, title="A book", front=["By nobody."])
    found = target.read_bytes()
    assert pages == 6, "title, contents, the first page, the part, two pages"
    numbers = pdf.page_numbers(found)
    assert numbers["book-index"] == 3
    assert numbers["notebooks-one"] == 5
    assert numbers["notebooks-two--there"] == 6
    assert b"/Outlines" in found
    assert b"/URI (https://example.org" in found
    assert not list(target.parent.glob("print/*")), "nothing is left over"

    pdf.publish(target, html, pages)
    first = (html / "book" / "index.html").read_text()
    address = re.search(r'<p class="nc-pdf"><a href="([^"]+)"', first)[1]
    assert (html / "book" / address).resolve().is_file()
    pdf.publish(target, html, 7)
    assert (html / "book" / "index.html").read_text().count("nc-pdf") == 1
    assert "(7 pages" in (html / "book" / "index.html").read_text()


@pytest.mark.browser
def test_a_fault_stops_the_printing_and_keeps_the_old_file(tmp_path):
    html = write(tmp_path / "html")
    faulty = PAGE.format(
        title="Two",
        extra='<div style="width: 2000px; height: 9px">too broad</div>',
        text='<p class="math">never set</p><img src="gone.png" alt="x">',
    )
    (html / "notebooks" / "two.html").write_text(faulty, encoding="utf-8")
    target = tmp_path / stage.PDF
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="3 faults") as told:
        pdf.make(html, printed.contents(tmp_path / "_toc.yml"), target, title="A book")
    for words in ("untypeset: never set", "unloaded: ../html/notebooks/gone.png", "too broad"):
        assert words in str(told.value)
    assert target.read_bytes() == b"old"


def test_without_chromium_the_message_names_the_packages(monkeypatch):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="apt-get install chromium chromium-driver"):
        pdf.programs()


def test_without_a_book_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("NCUTILS_ROOT", str(tmp_path))
    with pytest.raises(SystemExit, match="make book SCALE=smoke"):
        pdf.main(["--scale", "smoke"])


def test_a_file_that_is_no_pdf_of_chromium_is_refused():
    with pytest.raises(ValueError, match="tree of pages"):
        pdf.page_numbers(b"%PDF-1.4 of another kind")
