"""The whole book as a PDF, printed by Chromium: `python -m pipeline.pdf --scale quick`.

The articles of the built pages become one document in the order of the contents, with a title
page; links between pages lead inside it, each name carrying its page; what only a screen can
do is left out. The first printing tells the contents where each chapter begins. The file goes
to `_build/<scale>/neural-collapse.pdf` and beside the first page, which then links to it; a
book that is typeset again has no link until there is a PDF of it again.
"""

import argparse
import base64
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import jinja2
import yaml
from bs4 import BeautifulSoup, NavigableString
from pypdf import PdfReader
from sphinx_external_toc.parsing import parse_toc_yaml

from ncutils._files import write_atomically
from ncutils.records import workspace
from pipeline import stage

# The empty place that the book leaves under the heading of the first page.
EMPTY = '<p class="nc-pdf" hidden="hidden"></p>'
# Code that is folded away on a page is in its notebook.
SCREEN_ONLY = (
    "script, style, link, form, [hidden], .only-dark, .headerlink, details.hide, "
    "button, .nc-offers, .nc-pdf, .nc-recorded, .toctree-wrapper"
)
DOCUMENT = Path(__file__).parent / "templates" / "print.html"


def chapters(toc: Path) -> list[tuple[str, str, int]]:
    """Page, part and depth of every page of a `_toc.yml` in reading order."""
    site = parse_toc_yaml(toc)

    def below(page: str, part: str, depth: int) -> Iterator[tuple[str, str, int]]:
        yield page, part, depth
        for tree in site[page].subtrees:
            for child in tree.items:
                yield from below(str(child), tree.caption or part, depth + 1)

    return list(below(site.root.docname, "", 0))


def adapt(article: Any, page: str, depth: int, names: dict[str, set[str]], html: str) -> None:
    """Rename, link and lower the headings of one article, in place.

    Args:
        article: the text of a page.
        page, depth: which, and how far its headings go down.
        names: the pages of the document, the first one first, with the names (`id`) in each.
        html: address of the built pages.
    """
    for still in article.select("noscript"):
        still.unwrap()
    for node in article.select(SCREEN_ONLY):
        node.decompose()
    for node in article.select(".nc-provenance a[download]"):  # downloads, with the dot before each
        if isinstance(before := node.previous_sibling, NavigableString):
            before.replace_with(before.rstrip("· \n"))
        node.decompose()
    for node in article.find_all(True):
        for key in ("for", "aria-labelledby", "aria-describedby", "title", "download"):
            node.attrs.pop(key, None)
        if node.name == "details":
            node["open"] = ""
        if node.get("id") and node.find_parent("svg") is None:
            node["id"] = f"{page.replace('/', '-')}--{node['id']}"
        if node.name == "img" and not urlsplit(node["src"]).scheme:
            node["src"] = html + urljoin(page, node["src"])
        if found := re.fullmatch("h([1-6])", node.name):
            node["class"], node.name = f"level-{found[1]}", f"h{min(int(found[1]) + depth, 6)}"
    for node in article.select("a[href]"):
        if urlsplit(node["href"]).scheme not in ("http", "https", "mailto"):
            path, _, name = unquote(urljoin(f"{page}.html", node["href"])).partition("#")
            target = path.removesuffix(".html")
            target = next(iter(names)) if target == "index" else target
            if target not in names:
                node.unwrap()
                continue
            ending = f"--{name}" if name in names[target] else ""
            node["href"] = f"#{target.replace('/', '-')}{ending}"
    heading = article.find(re.compile("h[1-6]"))
    article.attrs = {"id": page.replace("/", "-"), "title": " ".join(heading.get_text().split())}


def document(html: Path, toc: Path, *, title: str, front: Sequence[str] = ()) -> str:
    """One HTML document of many built pages, to stand in a folder beside theirs.

    Args:
        html: folder of the built pages.
        toc: the `_toc.yml` that has them in order.
        title: for the title page and the running heads.
        front: lines of text below the title.
    """
    order, address = chapters(toc), f"../{html.name}/"
    read = {page: (html / f"{page}.html").read_text(encoding="utf-8") for page, _, _ in order}
    # Beautiful Soup has wide types for what a document may hold; this one has pages.
    articles: dict[str, Any] = {
        page: BeautifulSoup(text, "html.parser").article for page, text in read.items()
    }
    if lacking := [page for page in articles if articles[page] is None]:
        raise ValueError(f"no article in {', '.join(lacking)}")
    names = {page: {node["id"] for node in articles[page].select("[id]")} for page in articles}
    for page, _, depth in order:
        adapt(articles[page], page, depth, names, address)
    # A page without formulas brings no settings of MathJax.
    settings = re.search(r"<script>(window\.MathJax = .*?)</script>", "".join(read.values()), re.S)
    return jinja2.Template(DOCUMENT.read_text(encoding="utf-8"), autoescape=True).render(
        title=title,
        front=front,
        html=address,
        mathjax=settings[1] if settings else "window.MathJax = {};",
        quoted=lambda text: json.dumps(text, ensure_ascii=False),  # a string of CSS
        chapters=[(articles[page], part, depth) for page, part, depth in order],
    )


@contextmanager
def browser() -> Iterator:
    """A headless Chromium with a profile of its own, that shows pages as for paper.

    Raises:
        SystemExit: naming the Debian packages, if it or its driver is missing.
    """
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        lacking = "chromium" if chromium is None else "chromedriver"
        sys.exit(
            f"the PDF is printed by Chromium, and there is no {lacking}: on Debian, "
            "`apt-get install chromium chromium-driver` brings both"
        )
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (
            "headless=new no-sandbox disable-gpu disable-dev-shm-usage no-first-run "
            "disable-background-networking disable-component-update disable-sync "
            f"window-size=1000,1000 user-data-dir={profile}"
        ).split():
            options.add_argument(f"--{flag}")
        started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            started.set_script_timeout(600)
            started.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
            yield started
        finally:
            started.quit()


def print_page(driver) -> bytes:
    """The page that is open as a PDF with bookmarks, fetched in pieces: it is a long answer."""
    wanted = ("preferCSSPageSize", "printBackground", "generateTaggedPDF")
    settings: dict[str, object] = dict.fromkeys((*wanted, "generateDocumentOutline"), True)
    settings["transferMode"] = "ReturnAsStream"
    stream = driver.execute_cdp_cmd("Page.printToPDF", settings)["stream"]
    pieces, piece = [], {"eof": False}
    while not piece["eof"]:
        piece = driver.execute_cdp_cmd("IO.read", {"handle": stream, "size": 2**20})
        pieces.append(base64.b64decode(piece["data"]))
    return b"".join(pieces)


def page_numbers(pdf: PdfReader) -> dict[str, int]:
    """Page number, from 1, of every named place."""
    return {
        name.removeprefix("/"): number + 1
        for name, place in pdf.named_destinations.items()
        if (number := pdf.get_destination_page_number(place)) is not None
    }


def make(html: Path, toc: Path, target: Path, *, title: str, front: Sequence[str] = ()) -> int:
    """Print built pages into one PDF; the arguments are those of `document`.

    Returns:
        How many pages of paper `target` has, which appears when it is complete.

    Raises:
        RuntimeError: if a formula is not typeset, a picture does not load, or something is
            wider than the paper.
    """
    page = html.with_name("print") / "print.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text(document(html, toc, title=title, front=front), encoding="utf-8")
    with browser() as driver:
        driver.get(page.as_uri())
        amiss = driver.execute_async_script("fit().then(arguments[0])")
        if faults := [f"{kind}: {one}" for kind, found in amiss.items() for one in found]:
            listed = "\n  ".join(faults[:20])
            raise RuntimeError(f"{len(faults)} faults in {page}:\n  {listed}")
        first = page_numbers(PdfReader(BytesIO(print_page(driver))))
        anchors = [name.replace("/", "-") for name, _, _ in chapters(toc)]
        driver.execute_script("number(arguments[0])", {name: first[name] for name in anchors})
        pdf = print_page(driver)
    done = PdfReader(BytesIO(pdf))
    if page_numbers(done) != first:
        raise RuntimeError("the numbers in the contents moved the pages that they name")
    write_atomically(target, lambda part: part.write_bytes(pdf))
    shutil.rmtree(page.parent)
    return len(done.pages)


def publish(pdf: Path, html: Path, pages: int) -> None:
    """Put the PDF beside the pages, and a link to it into the place that the first page has."""
    write_atomically(html / pdf.name, lambda part: shutil.copy(pdf, part))
    link = (
        f'<p class="nc-pdf"><a href="../{pdf.name}" download>The whole book as a PDF</a> '
        f"({pages} pages, {pdf.stat().st_size / 1e6:.1f} MB)</p>"
    )
    first = html / "book" / "index.html"
    text = first.read_text(encoding="utf-8")
    text = re.sub(f'{re.escape(EMPTY)}|<p class="nc-pdf"><a .*?</p>', link, text)
    write_atomically(first, lambda part: part.write_text(text, encoding="utf-8"))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.pdf", description=__doc__)
    parser.add_argument("--scale", choices=workspace.SCALES, default="quick")
    scale = parser.parse_args(argv).scale
    root, build, started = workspace.project_root(), workspace.build_dir(scale), time.perf_counter()
    html, target = build / "html", build / stage.PDF
    if not (html / "index.html").is_file():
        sys.exit(f"there is no book of scale {scale} to print: `make book SCALE={scale}` first")
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    ledger = json.loads((build / "ledger.json").read_text(encoding="utf-8"))
    front = [
        settings["author"],
        f"{stage.scorecard_line(ledger)}. Computed at {scale} scale, commit {ledger['commit']}, "
        f"{ledger['made'][:10]}.",
        "What the pages fold away of their code is left out here; their notebooks, the data of "
        "the figures and the sliders come with the book on the screen.",
    ]
    print(f"Printing {html.relative_to(root)} ...", flush=True)
    pages = make(html, root / "_toc.yml", target, title=settings["title"], front=front)
    publish(target, html, pages)
    size, seconds = target.stat().st_size / 1e6, time.perf_counter() - started
    print(f"{target.relative_to(root)}: {pages} pages, {size:.1f} MB, after {seconds:.0f} s")


if __name__ == "__main__":
    main()
