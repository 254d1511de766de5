"""What the pages say of claims, papers, symbols and names of the library: one Sphinx domain.

Each page has one record of what stands on it (`Page`), kept by Sphinx with the page and
dropped with it. All links between pages are references of this domain: they are written
when a page is read, and resolved in one place when all pages are known.
"""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.domains import Domain, ObjType
from sphinx.util.nodes import make_refnode

from . import chapter, coverage, graph, reference
from .ledger import MACROS, Ledger
from .numbers import slug
from .typeset import logger, typeset


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
        anchors: of each thing that can be linked to, by its kind and name.
        words: what a link to such a thing says when it is pointed at.
        places: where the page speaks of each claim.
        asked: the symbols whose links the page asks for.
        formulas: the formulas of its text.
        generated: whether it has a table that is made from other pages or from the ledger.
        lists_library: whether it has the table of all rooms of the library.
    """

    anchors: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    words: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    places: dict[str, list[Place]] = dataclasses.field(default_factory=dict)
    asked: list[str] = dataclasses.field(default_factory=list)
    formulas: list[str] = dataclasses.field(default_factory=list)
    generated: bool = False
    lists_library: bool = False


class Book(Domain):
    """Claims, papers, symbols, names, and where the pages speak of them."""

    name = "nc"
    label = "Neural collapse"
    object_types: ClassVar = {"claim": ObjType("claim"), "name": ObjType("name of the library")}
    initial_data: ClassVar = {"pages": {}}
    data_version = 1

    @functools.cached_property
    def ledger(self) -> Ledger:
        """The judged claims, read once for each build."""
        return Ledger(Path(self.env.srcdir) / "ledger.json")

    @functools.cached_property
    def coverage(self) -> coverage.Coverage:
        """The papers' own lists, judged by the ledger."""
        return coverage.Coverage(Path(self.env.srcdir) / "claims", self.ledger)

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

    def name_anchor(self, kind: str, name: str, anchor: str = "", words: str = "") -> str:
        """Note that something stands on this page.

        Args:
            kind: "claim", "paper", "name", "symbol" or "badge".
            name: its name, unique among its kind.
            anchor: where it stands; made from kind and name if left out.
            words: what a link to it says when it is pointed at.

        Returns:
            The anchor.
        """
        anchor = anchor or f"{kind}-{slug(name)}"
        self.here.anchors[kind, name] = anchor
        if words:
            self.here.words[kind, name] = words
        return anchor

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
        self.here  # noqa: B018 (a page of which nothing is said has a record, too)
        chapter.check_frame(self, docname, document)
        chapter.add_lines(self, docname, document)
        chapter.collect_symbols(self, docname, document)
        for node in document.findall(addnodes.pending_xref):
            if "nc-badge" in node["classes"]:
                self.note(node["reftarget"], around(docname, node))
        for cell in list(document.findall(nodes.container)):
            if cell.get("nb_element") == "cell_code" and cell.children:
                self.read_cell(docname, cell)

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        """Claims and names of the library, for the search."""
        for page, said in self.pages.items():
            for (kind, name), anchor in said.anchors.items():
                if kind in self.object_types:
                    yield name, name, kind, page, anchor, 1

    def check_consistency(self):
        """What can only be seen when all pages have been read."""
        chapter.check_lessons(self)
        chapter.check_symbols(self)
        if any(said.lists_library for said in self.pages.values()):
            for room in self.library.rooms:
                if self.find("name", room) is None:
                    logger.warning("no page describes the module %r", room, type="nc")

    def resolve_xref(self, env, fromdocname, builder, typ, target, node, contnode):
        """The link that takes the place of a reference, or its words where it leads nowhere."""
        resolver = Resolver(self, builder, fromdocname)
        special = getattr(resolver, f"to_{typ}", None)
        if special is not None:
            return special(target, contnode)
        if typ == "symbol":
            target = next(iter(chapter.rows_of(self, target, node["refdoc"])), target)
        found = self.find(typ, target)
        if typ == "page" and target in env.found_docs:
            found = (target, "")
            contnode.children = [nodes.Text(resolver.title(target))]
        words = found and self.pages[found[0]].words.get((typ, target))
        made = resolver.link(found, *contnode.children, title=node.get("reftitle") or words)
        made["classes"] += node["classes"]
        made["ids"] += node["ids"]
        return made

    # --- where a page speaks of a claim -------------------------------------------------------

    def place_badges(self, tree: nodes.Node) -> None:
        """Give the first badge of each claim on a page a name that the ledger can lead to."""
        for node in tree.findall(addnodes.pending_xref):
            claim = node["reftarget"]
            if "nc-badge" in node["classes"] and ("badge", claim) not in self.here.anchors:
                node["ids"].append(self.name_anchor("badge", claim, f"at-{slug(claim)}"))

    def note(self, claim: str, place: Place | None) -> None:
        """Note a place on this page, once."""
        places = self.here.places.setdefault(claim, [])
        if place and place not in places:
            places.append(place)

    def read_cell(self, docname: str, cell: nodes.container) -> None:
        """Note which claims a cell records, and put links to their rows under it."""
        claims = chapter.recorded(cell.children[0].astext(), self.ledger.rows)
        for claim in claims:
            anchor = f"records-{slug(claim)}"
            cell["ids"].append(anchor)
            self.note(claim, Place(docname, "cell", anchor, ""))
        if claims:
            cell["classes"].append("nc-recording")
            text = (
                '<div class="nc-recorded">Recorded for {{ nc.to_rows(claims) }} of the ledger</div>'
            )
            cell.parent.insert(
                cell.parent.index(cell) + 1, typeset(MACROS + text, self, claims=claims)
            )


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


class Resolver:
    """The links of one page that take more than an address."""

    def __init__(self, domain: Book, builder, docname: str):
        """Links on the page ``docname``."""
        self.domain, self.env, self.builder = domain, domain.env, builder
        self.docname, self.ledger = docname, domain.ledger

    def link(self, found: tuple[str, str] | None, *children, title: str | None = None):
        """A link to a page and an anchor, or the words alone where there is no such page."""
        content = nodes.inline("", "", *children)
        if found is None or found[0] not in self.env.found_docs:
            return content
        made = make_refnode(self.builder, self.docname, *found, content, title)
        made.children = []
        made += content.children
        return made

    def line(self, *parts) -> nodes.Node:
        """Parts of a sentence; strings among them are text."""
        texts = [nodes.Text(part) if isinstance(part, str) else part for part in parts]
        return nodes.inline("", "", *texts)

    def title(self, page: str) -> str:
        """The heading of a page."""
        return self.env.titles[page].astext().replace("$", "")

    def place_of(self, claim: str) -> Place | None:
        """Where a reader meets a claim: on its own page a box, a badge, a figure; or any badge."""
        own = f"notebooks/{self.ledger.rows[claim]['page']}"
        places = [place for place in self.domain.places(claim) if place.kind != "cell"]
        for kind in ("box", "text", "figure"):
            for place in places:
                if (place.page, place.kind) == (own, kind):
                    return place
        if own in self.env.found_docs:
            return Place(own, "page", "", "")
        return places[0] if places else None

    def to_stated(self, claim: str, words: nodes.Element) -> nodes.Node:
        """On which page a claim is stated, and in which box of it."""
        place = self.place_of(claim)
        if place is None:
            return words
        # Which figures show it, the next line says.
        box = "" if place.kind == "figure" else place.words
        text = ", ".join(part for part in (self.title(place.page), box) if part)
        return self.link((place.page, place.anchor), nodes.Text(text))

    def to_chapter(self, claim: str, words: nodes.Element) -> nodes.Node:
        """The same place, by the heading of its page alone."""
        place = self.place_of(claim)
        if place is None:
            return words
        return self.link((place.page, place.anchor), nodes.Text(self.title(place.page)))

    def to_shown(self, claim: str, words: nodes.Element) -> nodes.Node:
        """The figures that carry the claim, each with its arrays."""
        line: list = []
        for place in self.domain.places(claim):
            if place.kind != "figure":
                continue
            numbers = self.env.toc_fignumbers.get(place.page, {}).get("figure", {})
            count = numbers.get(place.anchor)
            text = "Fig. " + ".".join(map(str, count)) if count else f"figure {place.words}"
            if place.page != f"notebooks/{self.ledger.rows[claim]['page']}":
                text += f" of {self.title(place.page)}"
            line += [", " if line else "Shown in "]
            line.append(self.link((place.page, place.anchor), nodes.Text(text)))
            for path in place.arrays:
                if known := self.env.dlfiles.get(path.lstrip("/")):
                    text = '<a file="{{ path }}" known="{{ known }}">arrays</a>'
                    line += [" (", *typeset(text, path=path, known=known[1]), ")"]
        (shown,) = typeset("<div></div>")
        shown += self.line(*line)
        return shown if line else nodes.Text("")

    def to_recorded(self, claim: str, words: nodes.Element) -> nodes.Node:
        """The cells that record the claim."""
        cells = [place for place in self.domain.places(claim) if place.kind == "cell"]
        line: list = ["Recorded"]
        for place in cells:
            here = self.link((place.page, place.anchor), nodes.Text("this cell"))
            line += [" by " if len(line) == 1 else " and ", here]
        return self.line(*line)

    def to_graph(self, paper: str, words: nodes.Element) -> nodes.Node:
        """The picture of how the claims of a paper rest on each other."""
        addresses = {}
        for claim in self.ledger.rows:
            found = self.domain.find("claim", claim)
            if found and found[0] in self.env.found_docs:
                node = self.link(found)
                addresses[claim] = node.get("refuri") or f"#{node['refid']}"
        return graph.picture(self.ledger, paper, addresses)
