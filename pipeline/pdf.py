"""The whole book as a PDF, printed by Chromium: `python -m pipeline.pdf --scale quick`.

Takes the built pages, makes one document of them (`pipeline/printed.py`) and prints it twice:
the first printing tells on which page each chapter begins. The file goes to
`_build/<scale>/neural-collapse.pdf` and beside the first page of the book, which then links
to it; a book that is typeset again has no link until there is a PDF of it again.
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
from pathlib import Path

import yaml

from ncutils._files import write_atomically
from ncutils.records import workspace
from pipeline import printed, stage

# The empty place that book/ext/nc_launch.py leaves under the heading of the first page.
EMPTY = '<p class="nc-pdf" hidden="hidden"></p>'

PAPER = "172mm"  # between the margins of print.css

FAULTS = ("untypeset", "unloaded", "wide")


def programs() -> tuple[str, str]:
    """Chromium and its driver.

    Raises:
        SystemExit: naming the Debian packages, if one is missing.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        lacking = " and no ".join(
            name for name, path in (("chromium", chromium), ("chromedriver", driver)) if not path
        )
        sys.exit(
            f"the PDF is printed by Chromium, and there is no {lacking}: on Debian, "
            "`apt-get install chromium chromium-driver` brings both"
        )
    return chromium, driver


@contextmanager
def browser() -> Iterator:
    """A headless Chromium with a profile of its own, that shows pages as for paper."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = programs()
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (
            "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync "
            f"--window-size=1000,1000 --user-data-dir={profile}"
        ).split():
            options.add_argument(flag)
        started = webdriver.Chrome(options=options, service=Service(driver))
        try:
            started.set_script_timeout(600)
            started.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
            yield started
        finally:
            started.quit()


def read(driver, stream: str) -> bytes:
    """What Chromium has printed, piece by piece: the whole is too long for one answer."""
    pieces = []
    while True:
        piece = driver.execute_cdp_cmd("IO.read", {"handle": stream, "size": 2**20})
        data = piece["data"]
        pieces.append(base64.b64decode(data) if piece.get("base64Encoded") else data.encode())
        if piece["eof"]:
            driver.execute_cdp_cmd("IO.close", {"handle": stream})
            return b"".join(pieces)


def print_page(driver) -> bytes:
    """The page that is open, as a PDF with bookmarks."""
    answer = driver.execute_cdp_cmd(
        "Page.printToPDF",
        {
            "preferCSSPageSize": True,
            "printBackground": True,
            "generateTaggedPDF": True,
            "generateDocumentOutline": True,
            "transferMode": "ReturnAsStream",
        },
    )
    return read(driver, answer["stream"])


def page_numbers(pdf: bytes) -> dict[str, int]:
    """Page number of every named place, read from the file as Chromium writes it.

    Raises:
        ValueError: if it is not of that form.
    """
    kids = {
        int(number): [int(kid) for kid in re.findall(rb"(\d+) 0 R", listed)]
        for number, listed in re.findall(
            rb"(?m)^(\d+) 0 obj\s*<</Type /Pages\s.*?/Kids \[([^\]]*)\]", pdf, re.DOTALL
        )
    }
    root = re.search(rb"/Type /Catalog\s*/Pages (\d+) 0 R", pdf)
    if root is None or int(root[1]) not in kids:
        raise ValueError("this is not a PDF as Chromium writes it: it has no tree of pages")

    def leaves(node: int) -> Iterator[int]:
        for kid in kids[node]:
            yield from leaves(kid) if kid in kids else (kid,)

    order = {page: place for place, page in enumerate(leaves(int(root[1])), 1)}
    found = re.findall(rb"/([\w.#-]+) \[(\d+) 0 R /XYZ", pdf)
    return {name.decode(): order[int(page)] for name, page in found if int(page) in order}


def make(
    html: Path,
    entries: Sequence[printed.Entry],
    target: Path,
    *,
    title: str,
    front: Sequence[str] = (),
) -> int:
    """Print built pages into one PDF.

    Args:
        html: folder of the built pages.
        entries: which, in order.
        target: the file; it appears when it is complete.
        title: for the title page and the running heads.
        front: lines below the title.

    Returns:
        How many pages of paper it has.

    Raises:
        RuntimeError: if a formula is not typeset, a picture does not load, or something is
            wider than the paper.
    """
    folder = html.with_name("print")
    folder.mkdir(exist_ok=True)
    page = folder / "print.html"
    numbers: dict[str, int] = {}
    with browser() as driver:
        for _ in range(2):
            text = printed.document(html, entries, title=title, front=front, numbers=numbers)
            page.write_text(text, encoding="utf-8")
            driver.get(page.as_uri())
            found = driver.execute_async_script(printed.FIT, PAPER)
            if faults := [f"{kind}: {one}" for kind in FAULTS for one in found[kind]]:
                listed = "\n  ".join(faults[:20])
                raise RuntimeError(f"{len(faults)} faults in {page}:\n  {listed}")
            pdf = print_page(driver)
            before, numbers = numbers, page_numbers(pdf)
    moved = {name for name in before if before[name] != numbers.get(name)}
    if moved:
        raise RuntimeError(f"the contents moved {len(moved)} places between the two printings")
    write_atomically(target, lambda part: part.write_bytes(pdf))
    shutil.rmtree(folder)
    return len(re.findall(rb"/Type /Page\b", pdf))


def publish(pdf: Path, html: Path, pages: int) -> None:
    """Put the PDF beside the pages, and a link to it into the place that the first page has.

    Args:
        pdf: the file.
        html: folder of the built pages.
        pages: how many pages of paper it has.
    """
    write_atomically(html / pdf.name, lambda part: shutil.copy(pdf, part))
    size = pdf.stat().st_size / 1e6
    link = (
        f'<p class="nc-pdf"><a href="../{pdf.name}" download>The whole book as a PDF</a> '
        f"({pages} pages, {size:.1f} MB)</p>"
    )
    first = html / "book" / "index.html"
    text = first.read_text(encoding="utf-8")
    text = re.sub(f'{re.escape(EMPTY)}|<p class="nc-pdf"><a .*?</p>', link, text)
    write_atomically(first, lambda part: part.write_text(text, encoding="utf-8"))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.pdf", description=__doc__)
    parser.add_argument("--scale", choices=workspace.SCALES, default="quick")
    scale = parser.parse_args(argv).scale
    root, build = workspace.project_root(), workspace.build_dir(scale)
    html = build / "html"
    if not (html / "index.html").is_file():
        sys.exit(f"there is no book of scale {scale} to print: `make book SCALE={scale}` first")
    programs()
    started = time.perf_counter()
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    ledger = json.loads((build / "ledger.json").read_text(encoding="utf-8"))
    front = [
        settings["author"],
        f"{stage.scorecard_line(ledger)}. Computed at {scale} scale, commit {ledger['commit']}, "
        f"{ledger['made'][:10]}.",
        "The code of the pages is left out here; their notebooks, the data of the figures and "
        "the sliders come with the book on the screen.",
    ]
    print(f"Printing {html.relative_to(root)} ...", flush=True)
    target = build / stage.PDF
    entries = printed.contents(root / "_toc.yml")
    pages = make(html, entries, target, title=settings["title"], front=front)
    publish(target, html, pages)
    seconds = time.perf_counter() - started
    size = target.stat().st_size / 1e6
    print(f"{target.relative_to(root)}: {pages} pages, {size:.1f} MB, after {seconds:.0f} s")


if __name__ == "__main__":
    main()
