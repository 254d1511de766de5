"""What every page of the book has: no request to the network, little weight, and no barriers.

MathJax 3.2.2 comes from the wheel of sphinx-mathjax-offline, whose own extension would copy
all of its 15 MB; a page loads one script and the fonts, under 2 MB. The scripts of Thebe, which
Jupyter Book writes into every page with the address of a server, are taken out, and so are
the files that a page has no use for. The theme loads all icons twice, as a font and as
1.5 MB of script; the font stays. Of the two images of a figure the one not shown waits.
The arrows that unfold the contents get names, an empty head of a table is a cell, a
bibliography is a list of items, and what scrolls can be reached (`book/assets/reach.js`).

sphinx-notfound-page makes the page for lost readers from a template of ours: the theme's own
would have absolute addresses below one prefix, and the book is read from a disk, too, so
none is known. Old addresses lead on by sphinxext-rediraffe and `book/redirects.txt`.
"""

import importlib.util
import re
import shutil
from pathlib import Path

from bs4 import BeautifulSoup
from sphinx.errors import ExtensionError

SCRIPT = "tex-chtml-full.js"
FONTS = "output/chtml/fonts/woff-v2"
# What a page must hold to need a file. Written words of mathematics count as formulas.
USES = {
    "mathjax": re.compile(r'class="[^"]*\bmath\b|\\\(|\\\[|\\begin\{|\$'),
    "sphinx-design": re.compile(r'class="[^"]*\bsd-'),
    "design-tabs": re.compile(r'class="[^"]*\bsd-tab'),
    "mystnb": re.compile(r'class="[^"]*\b(cell|traceback)\b'),
}
ICONS = re.compile(r'[ \t]*<script src="[^"]*/fontawesome\.js[^"]*"></script>\n?')
EMPTY_HEAD = re.compile(r"<th(?: [^>]*)?>\s*(?:<p>\s*</p>\s*)?</th>")
DARK_IMAGE = re.compile(r'<img (?=[^>]*class="[^"]*\bonly-dark\b)')


def mathjax() -> Path:
    """The folder of the wheel that holds MathJax."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    folder = Path(spec.origin).parent / "static" / "mathjax" if spec and spec.origin else None
    if folder is None or not (folder / SCRIPT).is_file():
        raise ExtensionError(
            "MathJax is not installed: the package sphinx-mathjax-offline of requirements.lock "
            f"should hold static/mathjax/{SCRIPT}"
        )
    return folder


def copy_mathjax(app, exception):
    """Copy the script and its fonts into the built book."""
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "mathjax"
        shutil.copytree(mathjax() / FONTS, target / FONTS, dirs_exist_ok=True)
        shutil.copy(mathjax() / SCRIPT, target)


def mended(body: str) -> str:
    """The text of a page with the roles its elements have, the dark images waiting."""
    body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    body = EMPTY_HEAD.sub("<td></td>", body)
    return DARK_IMAGE.sub('<img loading="lazy" ', body)


def named(contents: str | BeautifulSoup) -> str | BeautifulSoup:
    """A table of contents in which each arrow says which chapter it unfolds."""
    soup = contents if hasattr(contents, "select") else BeautifulSoup(contents, "html.parser")
    for summary in soup.select("li > details > summary"):
        link = summary.find_parent("li").find("a", recursive=False)
        if link is not None and not summary.get_text(strip=True):
            summary["aria-label"] = f"Pages of {link.get_text(' ', strip=True)}"
    return soup if contents is soup else str(soup)


def needed(files: list, body: str) -> list:
    """The scripts or style sheets that a page with this text has a use for."""
    idle = [name for name, use in USES.items() if not use.search(body)]
    idle.append("thebe")
    return [
        file
        for file in files
        if not any(name in f"{file} {getattr(file, 'attributes', '')}".lower() for name in idle)
    ]


def without_icon_script(head: str) -> str:
    """The head of a page without the script of all icons."""
    return ICONS.sub("", str(head))


def mend(app, page, template, context, doctree):
    """Mend the page and leave out what it does not use."""
    context["without_icon_script"] = without_icon_script
    if page == app.config.notfound_pagename:
        titles = {name: app.env.titles[name].astext() for name in sorted(app.env.found_docs)}
        context["pages"] = {
            name.rpartition("/")[2]: [f"{name}.html", title] for name, title in titles.items()
        }
    body = context.get("body")
    for kind in ("script_files", "css_files"):
        context[kind] = needed(context.get(kind, []), body or "")
    if body:
        context["body"] = mended(body)
    contents = context.get("generate_toctree_html")
    if contents is not None:
        context["generate_toctree_html"] = lambda *args, **options: named(
            contents(*args, **options)
        )


def setup(app):
    """Come after the theme and after the other extensions; fail at once without MathJax."""
    mathjax()
    app.setup_extension("notfound.extension")
    app.setup_extension("sphinxext.rediraffe")
    app.config.mathjax_path = f"mathjax/{SCRIPT}"
    app.config.notfound_template = "lost.html"
    app.config.templates_path.insert(0, str(Path(__file__).parents[1] / "templates"))
    app.add_js_file("reach.js", loading_method="defer")
    app.connect("html-page-context", mend, priority=950)
    app.connect("build-finished", copy_mathjax)
