"""What a web server needs beside the pages: a page for lost readers, and redirects.

`404.html` in the root of the built book stands by itself, since a server shows it at any
depth: its style is in it, and its links find the root (`lost.html`). The
mapping `book/redirects.yml` names short or former addresses with the page that is meant;
each becomes a page that leads there. A mapping that leads nowhere, or hides a page, is a
warning, and the book is built with warnings as errors.
"""

import html
import json
import posixpath
from pathlib import Path

import yaml
from nc_nodes import logger

MAPPING = Path("book") / "redirects.yml"
LOST = Path(__file__).with_name("lost.html")

STUB = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="robots" content="noindex"><link rel="canonical" href="{target}">
<script>location.replace("{target}" + location.search + location.hash)</script>
<meta http-equiv="refresh" content="0; url={target}">
</head><body><p>This page is at <a href="{target}">{title}</a>.</p></body></html>
"""


def mapping(folder: Path) -> dict[str, str]:
    """The redirects of a book: address in the built book, page that is meant."""
    path = folder / MAPPING
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def mistakes(redirects: dict[str, str], pages: set[str], written: set[str]) -> list[str]:
    """What is wrong with a mapping: no such page, no address of a page, or one in use."""
    found = []
    for address, page in redirects.items():
        if page not in pages:
            found.append(f"{address} leads to {page}, which is no page of the book")
        if not address.endswith(".html") or address.startswith(("/", "..")):
            found.append(f"{address} is not the address of a page below the root")
        elif address in written:
            found.append(f"{address} is the address of another page")
    return found


def stub(address: str, page: str, title: str) -> str:
    """The page that leads from an address to a page of the book."""
    target = posixpath.relpath(f"{page}.html", posixpath.dirname(address) or ".")
    return STUB.format(target=html.escape(target), title=html.escape(title))


def lost(template: str, titles: dict[str, str]) -> str:
    """The page for lost readers; it knows the pages of the book by the ends of their names."""
    pages = {page.rpartition("/")[2]: [f"{page}.html", title] for page, title in titles.items()}
    # "</" would end the script.
    return template.replace("{pages}", json.dumps(pages, ensure_ascii=False).replace("</", "<\\/"))


def write(app, exception):
    """Put the redirects and the page for lost readers beside the pages."""
    if exception is not None or app.builder.format != "html":
        return
    root, out = Path(app.srcdir), Path(app.outdir)
    titles = {page: app.env.titles[page].astext() for page in sorted(app.env.found_docs)}
    redirects = mapping(root)
    # A page of an earlier build of ours is no other page.
    names = {address for address in redirects if (out / address).is_file()}
    others = {name for name in names if 'http-equiv="refresh"' not in (out / name).read_text()}
    wrong = mistakes(redirects, set(titles), others)
    for problem in wrong:
        logger.warning("redirects: %s", problem, type="nc_site")
    if wrong:
        return
    for address, page in redirects.items():
        (out / address).parent.mkdir(parents=True, exist_ok=True)
        (out / address).write_text(stub(address, page, titles[page]), encoding="utf-8")
    text = lost(LOST.read_text(encoding="utf-8"), titles)
    (out / "404.html").write_text(text, encoding="utf-8")


def setup(app):
    """Write the pages when all others are there."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
