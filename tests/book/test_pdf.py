"""The book on paper: two small pages, printed by the real browser."""

import importlib.util
import io
import re
import shutil
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter

from pipeline import pdf, stage
from tests.book.test_browser import pytest_generate_tests  # noqa: F401 (leaves browsers out)

ROOT = Path(__file__).resolve().parents[2]

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
<p class="nc-provenance">Drawn at smoke scale · <a download="" href="../_downloads/f.nc">data</a> ·
<a download="" href="../_images/f.svg">SVG</a></p>
<p class="nc-provenance">line 3 · used on <a href="two.html">Two</a>, <a href="one.html">One</a></p>
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
    for name in ("nc.css", "print.css", "print.js"):
        shutil.copy(ROOT / "book" / "assets" / name, html / "_static")
    wheel = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
    (html / "_static" / "mathjax").symlink_to(wheel / "static" / "mathjax")
    (html.parent / "_toc.yml").write_text(TOC, encoding="utf-8")
    return html


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return write(tmp_path_factory.mktemp("pdf") / "html")


@pytest.fixture(scope="module")
def toc(html):
    return html.parent / "_toc.yml"


@pytest.fixture(scope="module")
def text(html, toc):
    return pdf.document(html, toc, title='A "book" on ours\' own', front=["By nobody & co."])


def test_the_pages_come_in_the_order_of_the_contents(toc):
    assert pdf.chapters(toc) == [
        ("book/index", "", 0),
        ("notebooks/one", "The first part", 1),
        ("notebooks/two", "The first part", 2),
    ]


def test_every_page_of_the_book_is_in_its_contents():
    listed = re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text())
    assert [page for page, _, _ in pdf.chapters(ROOT / "_toc.yml")] == listed


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
    assert '<p class="nc-provenance">Drawn at smoke scale</p>' in text
    assert 'used on <a href="#notebooks-two">Two</a>, <a href="#notebooks-one">One</a></p>' in text
    assert '<details open=""><summary>In words' in text, "paper has nothing to click on"


def test_headings_lie_below_their_part_and_in_the_contents(text):
    assert '<h1 class="part">The first part</h1>' in text
    assert re.search(r'<h2 class="level-1">One', text)
    assert re.search(r'<h3 class="level-1">Two', text)
    contents, _, body = text.partition("<main")
    assert '<li class="depth-1"><a href="#notebooks-one"><span>One</span><span></span>' in contents
    assert contents.count('<li class="part">The first part</li>') == 1
    assert body.count('<h1 class="part">') == 1
    assert "<p>By nobody &amp; co.</p>" in contents
    assert r'@top-left { content: "A \"book\" on ours' + "' own\"; }" in contents, "as CSS has it"
    assert '@top-right { content: "Two"; }' in contents


@pytest.mark.browser
def test_the_pages_are_printed_with_bookmarks_numbers_and_nothing_cut(html, toc):
    target = html.parent / stage.PDF
    pages = pdf.make(html, toc, target, title="A book", front=["By nobody."])
    found = PdfReader(target)
    assert pages == 6, "title, contents, the first page, the part, two pages"
    numbers = pdf.page_numbers(found)
    assert numbers["book-index"] == 3
    assert numbers["notebooks-one"] == 5
    assert numbers["notebooks-two--there"] == 6
    assert [one.title for one in found.outline if not isinstance(one, list)] == [
        "Contents",
        "The book",
        "The first part",
    ]
    links = [one.get_object() for page in found.pages for one in page.get("/Annots", ())]
    assert "https://example.org/" in {one["/A"]["/URI"] for one in links if "/A" in one}
    inside = {one["/Dest"] for one in links if "/Dest" in one}
    assert {"/notebooks-two", "/notebooks-two--there"} < inside
    contents = found.pages[1].extract_text().split("\n")
    assert [line for line in contents if line.strip()] == [
        "Contents",
        "The book 3",
        "The first part",
        "One 5",
        "Two 6",
    ]
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
        pdf.make(html, tmp_path / "_toc.yml", target, title="A book")
    for words in ("untypeset: never set", "unloaded: ../html/notebooks/gone.png", "too broad"):
        assert words in str(told.value)
    assert target.read_bytes() == b"old"


def test_without_chromium_the_message_names_the_packages(monkeypatch):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="apt-get install chromium chromium-driver"):
        pdf.browser().__enter__()


def test_without_a_book_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("NCUTILS_ROOT", str(tmp_path))
    with pytest.raises(SystemExit, match="make book SCALE=smoke"):
        pdf.main(["--scale", "smoke"])


def test_numbers_are_of_named_places_only():
    store, written = io.BytesIO(), PdfWriter()
    for _ in range(2):
        written.add_blank_page(100, 100)
    written.add_named_destination("two", page_number=1)
    written.write(store)
    assert pdf.page_numbers(PdfReader(store)) == {"two": 2}


def test_a_page_without_an_article_is_named(tmp_path):
    html = write(tmp_path / "html")
    (html / "notebooks" / "two.html").write_text("<html><body>Nothing</body></html>")
    with pytest.raises(ValueError, match="no article in notebooks/two"):
        pdf.document(html, tmp_path / "_toc.yml", title="A book")
