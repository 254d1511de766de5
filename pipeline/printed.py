"""The built pages as one document for paper: `document(html, ...)`.

The articles of the pages in the order of the contents, with their own title page and
contents. Links between pages become links inside the document, each name carrying its page;
what only a screen can do (folded code, downloads, sliders, dark figures) is left out.
"""

import html as escape
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

# What a page has for the screen only. Code that is folded away on the page is in the notebooks.
SCREEN_ONLY = (
    "script, style, link, form, [hidden], .only-dark, .headerlink, details.hide, "
    "button, .nc-offers, .nc-pdf, .nc-recorded, .toctree-wrapper"
)

# A formula or a table that is wider than the paper is made smaller. Runs in the page, which
# it sets to the width of the paper meanwhile, and reports what is amiss.
FIT = """
const [paper, done] = arguments;
const width = node => node.getBoundingClientRect().width;
async function fit() {
  document.body.style.width = paper;
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
  for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
    const room = width(formula.parentElement), wanted = formula.scrollWidth;
    if (wanted > room + 1) formula.style.fontSize = `${Math.floor(99 * room / wanted)}%`;
  }
  for (const formula of document.querySelectorAll('mjx-container:not([display])')) {
    const room = width(formula.closest('p, li, td, th, dd, figcaption, div'));
    const wanted = width(formula);
    if (wanted > room) formula.style.fontSize = `${Math.floor(99 * room / wanted)}%`;
  }
  for (const table of document.querySelectorAll('table')) {
    const room = width(table.parentElement), wanted = Math.max(width(table), table.scrollWidth);
    if (wanted > room + 1) table.style.zoom = 0.99 * room / wanted;
  }
  const edge = document.body.getBoundingClientRect().right + 1;
  const wide = [...document.querySelectorAll('main *')].filter(node => {
    const box = node.getBoundingClientRect();
    return box.width && box.right > edge && !node.closest('svg, mjx-assistive-mml');
  });
  document.body.style.width = '';
  done({
    wide: wide.map(node => `${node.closest('article')?.id}: ${node.outerHTML.slice(0, 200)}`),
    formulas: document.querySelectorAll('mjx-container').length,
    untypeset: [...document.querySelectorAll('.math')]
      .filter(node => !node.querySelector('mjx-container')).map(node => node.textContent),
    unloaded: [...document.images].filter(i => !i.naturalWidth).map(i => i.getAttribute('src')),
  });
}
fit();
"""


@dataclass(frozen=True)
class Entry:
    """A page in the contents: its name, the part it belongs to, and how deep it lies."""

    name: str
    part: str
    depth: int

    @property
    def anchor(self) -> str:
        """The name of the page inside the document."""
        return self.name.replace("/", "-")


def contents(toc: Path) -> list[Entry]:
    """The pages of a `_toc.yml` in reading order; the root is in no part."""
    tree = yaml.safe_load(toc.read_text(encoding="utf-8"))

    def below(node: Mapping, part: str, depth: int) -> Iterator[Entry]:
        for key in ("chapters", "sections"):
            for one in node.get(key, ()):
                yield Entry(one["file"], part, depth)
                yield from below(one, part, depth + 1)

    found = [Entry(tree["root"], "", 0), *below(tree, "", 0)]
    for part in tree.get("parts", ()):
        found += below(part, part.get("caption", ""), 1)
    return found


def article(html: Path, page: str) -> Tag:
    """The text of a built page, without what is for the screen."""
    soup = BeautifulSoup((html / f"{page}.html").read_bytes(), "html.parser")
    found = soup.select_one("article")
    if found is None:
        raise ValueError(f"{page}.html has no article")
    for still in found.select("noscript"):
        still.unwrap()
    for node in found.select(SCREEN_ONLY):
        node.decompose()
    for folded in found.select("details"):
        folded["open"] = ""
    for node in found.select(".nc-provenance a"):
        before = node.previous_sibling
        if isinstance(before, str) and before.strip() == "·":
            before.extract()
        node.decompose()
    return found


def place(address: str, page: str, names: Mapping[str, set[str]]) -> str | None:
    """Where a link of a page leads inside the document; None out of it.

    Args:
        address: the link as the page has it.
        page: the page it stands on.
        names: the pages of the document with the names (`id`) in each.
    """
    parts = urlsplit(address)
    target = page
    if parts.path:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path)))
        target = path.removesuffix(".html")
        if target == "index":
            target = next(iter(names))
    if target not in names:
        return None
    anchor = target.replace("/", "-")
    name = unquote(parts.fragment)
    return f"#{anchor}--{name}" if name in names[target] else f"#{anchor}"


def adapt(found: Tag, entry: Entry, names: Mapping[str, set[str]]) -> None:
    """Rename, link and lower the headings of one article, in place."""
    for node in found.select("[id]"):
        if node.find_parent("svg") is None:
            node["id"] = f"{entry.anchor}--{node['id']}"
    for key in ("for", "aria-labelledby", "aria-describedby"):
        for node in found.select(f"[{key}]"):
            del node[key]
    for node in found.select("a[href]"):
        address = str(node["href"])
        if urlsplit(address).scheme in ("http", "https", "mailto"):
            continue
        inside = place(address, entry.name, names)
        if inside is None:
            node.unwrap()
        else:
            node["href"] = inside
            for key in ("title", "download"):
                node.attrs.pop(key, None)
    for node in found.select("img[src]"):
        if not urlsplit(str(node["src"])).scheme:
            path = posixpath.join(posixpath.dirname(entry.name), str(node["src"]))
            node["src"] = "../html/" + posixpath.normpath(path)
    for level in range(6, 0, -1):
        for node in found.select(f"h{level}"):
            node.name = f"h{min(level + entry.depth, 6)}"
            node["class"] = f"level-{level}"


def title_of(found: Tag) -> str:
    """The heading of a page as plain text."""
    heading = found.select_one("h1, h2, h3")
    return " ".join(heading.get_text().split()) if heading else ""


def quoted(text: str) -> str:
    """A string of CSS."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


HEAD = """\
<!doctype html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="stylesheet" href="../html/_static/pygments.css">
<link rel="stylesheet" href="../html/_static/nc.css">
<link rel="stylesheet" href="../html/_static/print.css">
<style>{style}</style>
<script>{settings}
MathJax.options = {{...MathJax.options, enableMenu: false, enableAssistiveMml: false}};</script>
<script defer src="../html/_static/mathjax/tex-chtml-full.js"></script>
</head>
<body>
<header class="title-page">
<p class="title">{title}</p>
{front}
</header>
"""


def mathjax_settings(html: Path, pages: Iterable[str]) -> str:
    """The script that configures MathJax, from the first page with formulas: others bring none."""
    for page in pages:
        text = (html / f"{page}.html").read_text(encoding="utf-8")
        if found := re.search(r"<script>(window\.MathJax = .*?)</script>", text, flags=re.DOTALL):
            return found[1]
    return "window.MathJax = {};"


def document(
    html: Path,
    entries: Sequence[Entry],
    *,
    title: str,
    front: Sequence[str] = (),
    numbers: Mapping[str, int] | None = None,
) -> str:
    """One HTML document of many built pages, to stand in a folder beside theirs.

    Args:
        html: folder of the built pages.
        entries: which pages, in order.
        title: for the title page.
        front: lines of text below the title.
        numbers: anchor → page number, for the contents; without them there are blanks of
            the same width, so that a first printing has the same pages as the second.

    Returns:
        The document.
    """
    articles = {entry.name: article(html, entry.name) for entry in entries}
    names = {
        name: {str(node["id"]) for node in found.select("[id]")} for name, found in articles.items()
    }
    body, listing, style, part = [], [], [], ""
    for entry in entries:
        found = articles[entry.name]
        adapt(found, entry, names)
        heading = title_of(found)
        if entry.part != part:
            part = entry.part
            body.append(f'<h1 class="part">{escape.escape(part)}</h1>')
            listing.append(f'<li class="part">{escape.escape(part)}</li>')
        number = (numbers or {}).get(entry.anchor, "")
        listing.append(
            f'<li class="depth-{entry.depth}"><a href="#{entry.anchor}">'
            f"<span>{escape.escape(heading)}</span><span>{number}</span></a></li>"
        )
        style.append(
            f"#{entry.anchor} {{ page: {entry.anchor}; }} "
            f"@page {entry.anchor} {{ @top-left {{ content: {quoted(title)}; }} "
            f"@top-right {{ content: {quoted(heading)}; }} }}"
        )
        found.attrs = {"id": entry.anchor}
        body.append(str(found))
    head = HEAD.format(
        title=escape.escape(title),
        style="\n".join(style),
        settings=mathjax_settings(html, [entry.name for entry in entries]),
        front="\n".join(f"<p>{escape.escape(text)}</p>" for text in front),
    )
    index = '<nav class="contents"><h1>Contents</h1><ol>' + "\n".join(listing) + "</ol></nav>"
    return "\n".join([head, index, '<main class="bd-content">', *body, "</main></body></html>"])
