"""What the pages say of claims, papers, symbols and names of the library: one Sphinx domain.

Each page has one record of what stands on it (`Page`), kept by Sphinx with the page and
dropped with it. All links between pages are references of this domain: they are written
when a page is read, and resolved in one place when all pages are known.
"""

import dataclasses
import functools
from pathlib import Path
from typing import ClassVar, NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.domains import Domain
from sphinx.util.nodes import make_refnode

from . import chapter, graph, reference
from .ledger import MACROS, Ledger
from .numbers import slug
from .typeset import logger, typeset

RECORDED = '<div class="nc-recorded">Recorded for {{ nc.to_rows(claims) }} of the ledger</div>'
ARRAYS = '<a file="{{ path }}" known="{{ known }}">arrays</a>'


class Place(NamedTuple):
    """Something on a page that concerns a claim."""

    page: str
    kind: str  # "box", "text", "figure", "cell" or "page"
    anchor: str
    words: str
    arrays: tuple[str, ...] = ()  # of a figure


@dataclasses.dataclass
class Page:
    """What stands on one page.

    Attributes:
        anchors: of each claim, paper, badge, symbol and name of the library that stands here.
        meanings: of the symbols that stand here.
        places: where the page speaks of each claim.
        asked: the symbols whose links the page asks for.
        formulas: the formulas of its text.
        generated: whether it has a table that is made from other pages or from the ledger.
        lists_library: whether it has the table of all rooms of the library.
    """

    anchors: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    meanings: dict[str, str] = dataclasses.field(default_factory=dict)
    places: dict[str, list[Place]] = dataclasses.field(default_factory=dict)
    asked: list[str] = dataclasses.field(default_factory=list)
    formulas: list[str] = dataclasses.field(default_factory=list)
    generated: bool = False
    lists_library: bool = False


class Book(Domain):
    """Claims, papers, symbols, names, and where the pages speak of them."""

    name = "nc"
    label = "Neural collapse"
    initial_data: ClassVar = {"pages": {}}
    data_version = 1

    @functools.cached_property
    def ledger(self) -> Ledger:
        """The judged claims, read once for each build."""
        return Ledger(Path(self.env.srcdir) / "ledger.json")

    @functools.cached_property
    def library(self) -> reference.Library:
        """The library, read without importing it."""
        return reference.Library(Path(self.env.srcdir))

    @property
    def pages(self) -> dict[str, Page]:
        """What stands on each page."""
        return self.data["pages"]

    @property
    def here(self) -> Page:
        """What stands on the page that is being read."""
        return self.pages.setdefault(self.env.docname, Page())

    def find(self, kind: str, name: str) -> tuple[str, str] | None:
        """The page and the anchor of something, on the first page that has it."""
        found = [page for page, said in self.pages.items() if (kind, name) in said.anchors]
        page = min(found, default=None)
        return None if page is None else (page, self.pages[page].anchors[kind, name])

    def places(self, claim: str) -> list[Place]:
        """Where the pages speak of a claim."""
        pages = sorted(self.pages.items())
        return [place for _, said in pages for place in said.places.get(claim, ())]

    # --- what Sphinx asks of a domain ---------------------------------------------------------

    def clear_doc(self, docname):
        """Drop what a page had said before it is read again."""
        self.pages.pop(docname, None)

    def merge_domaindata(self, docnames, otherdata):
        """Take over what another process has read."""
        self.pages.update({name: otherdata["pages"][name] for name in docnames})

    def process_doc(self, env, docname, document):
        """Go through a page that has just been read."""
        places = self.here.places
        chapter.check_frame(self, docname, document)
        chapter.add_lines(self, docname, document)
        chapter.collect_symbols(self, docname, document)
        for node in document.findall(addnodes.pending_xref):
            node.setdefault("refdoc", docname)
            place = around(docname, node) if "nc-badge" in node["classes"] else None
            if place and place not in places.setdefault(node["reftarget"], []):
                places[node["reftarget"]].append(place)
        for cell in list(document.findall(nodes.container)):
            is_code = cell.get("nb_element") == "cell_code" and cell.children
            claims = chapter.recorded(cell[0].astext(), self.ledger.rows) if is_code else []
            for claim in claims:
                cell["ids"].append(f"records-{slug(claim)}")
                places.setdefault(claim, []).append(Place(docname, "cell", cell["ids"][-1], ""))
            if claims:
                cell["classes"].append("nc-recording")
                made = typeset(MACROS + RECORDED, claims=claims)
                cell.parent.insert(cell.parent.index(cell) + 1, made)

    def check_consistency(self):
        """What can only be seen when all pages have been read."""
        chapter.check_lessons(self)
        chapter.check_symbols(self)
        if any(said.lists_library for said in self.pages.values()):
            for room in self.library.rooms:
                if self.find("name", room) is None:
                    logger.warning("no page describes the module %r", room, type="nc")

    # --- links --------------------------------------------------------------------------------

    def resolve_xref(self, env, fromdocname, builder, typ, target, node, contnode):
        """The link that takes the place of a reference, or its words where it leads nowhere."""
        link = functools.partial(self.link, builder, fromdocname)
        if typ in ("stated", "chapter"):
            return self.to_stated(target, link, contnode, is_short=typ == "chapter")
        if typ == "shown":
            return self.to_shown(target, link)
        if typ == "recorded":
            return self.to_recorded(target, link)
        if typ == "graph":
            found = {claim: self.find("claim", claim) for claim in self.ledger.rows}
            links = {claim: link(place) for claim, place in found.items() if place}
            addresses = {one: it.get("refuri") or f"#{it['refid']}" for one, it in links.items()}
            return graph.picture(self.ledger, target, addresses)
        title = node.get("reftitle")
        if typ == "symbol":
            target = next(iter(chapter.rows_of(self, target, node["refdoc"])), target)
            title = self.pages[chapter.NOTATION].meanings.get(target)
        found = self.find(typ, target)
        if typ == "page" and target in env.found_docs:
            found, contnode = (target, ""), nodes.inline("", "", nodes.Text(self.title(target)))
        made = link(found, *contnode.children, title=title)
        made["classes"] += node["classes"]
        made["ids"] += node["ids"]
        return made

    def link(self, builder, page: str, found, *children, title: str | None = None):
        """A link from a page to (page, anchor), or the words alone where there is no such page."""
        content = nodes.inline("", "", *children)
        if found is None or found[0] not in self.env.found_docs:
            return content
        made = make_refnode(builder, page, *found, content, title)
        made.children = []
        made += content.children
        return made

    def title(self, page: str) -> str:
        """The heading of a page."""
        return self.env.titles[page].astext().replace("$", "")

    def to_stated(self, claim: str, link, words: nodes.Element, *, is_short: bool) -> nodes.Node:
        """Where a claim is stated: on its own page a box, a badge, a figure; or any badge.

        Args:
            claim: its id.
            link: makes a link.
            words: what is said where the book has no such place.
            is_short: whether the heading of the page is enough.
        """
        own = f"notebooks/{self.ledger.rows[claim]['page']}"
        places = [place for place in self.places(claim) if place.kind != "cell"]
        kinds = ("box", "text", "figure")
        here = [place for kind in kinds for place in places if place[:2] == (own, kind)]
        if own in self.env.found_docs:
            here.append(Place(own, "page", "", ""))
        place = next(iter(here or places), None)
        if place is None:
            return words
        # Which figures show it, the next line says.
        box = "" if place.kind == "figure" or is_short else place.words
        text = ", ".join(part for part in (self.title(place.page), box) if part)
        return link((place.page, place.anchor), nodes.Text(text))

    def to_shown(self, claim: str, link) -> nodes.Node:
        """The figures that carry the claim, each with its arrays."""
        (shown,) = typeset("<div></div>")
        for place in [place for place in self.places(claim) if place.kind == "figure"]:
            numbers = self.env.toc_fignumbers.get(place.page, {}).get("figure", {})
            count = numbers.get(place.anchor)
            text = "Fig. " + ".".join(map(str, count)) if count else f"figure {place.words}"
            if place.page != f"notebooks/{self.ledger.rows[claim]['page']}":
                text += f" of {self.title(place.page)}"
            shown += nodes.Text(", " if shown.children else "Shown in ")
            shown += link((place.page, place.anchor), nodes.Text(text))
            for path in place.arrays:
                if known := self.env.dlfiles.get(path.lstrip("/")):
                    shown += nodes.Text(" (")
                    shown += typeset(ARRAYS, path=path, known=known[1])
                    shown += nodes.Text(")")
        return shown if shown.children else nodes.Text("")

    def to_recorded(self, claim: str, link) -> nodes.Node:
        """The cells that record the claim."""
        line = nodes.inline("", "Recorded")
        for place in [place for place in self.places(claim) if place.kind == "cell"]:
            line += nodes.Text(" by " if len(line) == 1 else " and ")
            line += link((place.page, place.anchor), nodes.Text("this cell"))
        return line


def around(page: str, badge: nodes.Element) -> Place | None:
    """The theorem box or the figure that a badge stands in, or its own place in the text."""
    node = badge.parent
    while node is not None:
        if isinstance(node, nodes.figure) and node["ids"]:
            files = [link["reftarget"] for link in node.findall(addnodes.download_reference)]
            arrays = tuple(file for file in files if file.endswith(".nc"))
            return Place(page, "figure", node["ids"][0], node["ids"][0], arrays)
        if "proof" in node.get("classes", ()) and node.get("realtype") and node["ids"]:
            # sphinx_proof keeps the title as it prints it, " (title)".
            kind, title = node["realtype"], node["title"].replace("$", "").strip()
            title = title.removeprefix("(").removesuffix(")") if title[:1] == "(" else title
            named = title if title.lower().startswith(kind) else f"{kind} “{title}”"
            return Place(page, "box", node["ids"][0], named if title else kind)
        # A theorem box has a section of its own inside.
        if isinstance(node, nodes.section) and "proof" not in node.parent.get("classes", ()):
            break
        node = node.parent
    if not badge["ids"]:
        return None
    title = node.next_node(nodes.title) if node is not None else None
    words = title.astext().replace("$", "") if title is not None else ""
    return Place(page, "text", badge["ids"][0], f"“{words}”" if words else "")
