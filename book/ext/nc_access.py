"""Pages that everyone can use, and that are light: what the theme leaves undone.

For keyboards and readers of screens: the arrows that unfold the contents get names, an
empty head of a table is a cell, a bibliography is a list of items, and what scrolls can
be reached (`book/assets/reach.js`).

For the weight: a page loads no file it has no use for. The theme loads all icons twice,
as a font and as 1.5 MB of script; a font stays (`nc_icons`). Both images of a figure, for the light
and for the dark page, would be read; the one that is not shown waits.
"""

import re
from pathlib import Path

from bs4 import BeautifulSoup

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"

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
    return [file for file in files if not any(name in str(file).lower() for name in idle)]


def without_icon_script(head: str) -> str:
    """The head of a page without the script of all icons."""
    return ICONS.sub("", str(head))


def lighten(app, page, template, context, doctree):
    """Mend the page and leave out what it does not use."""
    context["without_icon_script"] = without_icon_script
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
    """Come after the theme and after the other extensions."""
    app.config.templates_path.insert(0, str(TEMPLATES))
    app.add_js_file("reach.js", loading_method="defer")
    app.connect("html-page-context", lighten, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
