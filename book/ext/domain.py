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

from . import chapter, graph, reference
from .ledger import MACROS, Ledger
from .numbers import slug
from .typeset import logger, typeset

RECORDED = '<div class="nc-recorded">Recorded for {{ nc.to_rows(claims) }} of the ledger</div>'
#: Which places a line of the ledger's row speaks of.
KINDS = {"stated": "box", "text": "text", "shown": "figure", "recorded": "cell"}


class Place(NamedTuple):
    """Something on a page that concerns a claim."""

    page: str
    kind: str  # of KINDS, or "page"
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
        address = functools.partial(self.address, builder, fromdocname)
        if typ == "graph":
            places = {claim: address(self.find("claim", claim)) for claim in self.ledger.rows}
            return graph.picture(self.ledger, target, places)
        if typ in ("shown", "recorded"):
            places = [one for one in self.places(target) if one.kind == KINDS[typ]]
            figures = [self.figure(place, target, address) for place in places]
            return typeset(typ, figures=figures, cells=[address(one[::2]) for one in places])[0]
        found, words, title = self.find(typ, target), "", node.get("reftitle")
        if typ == "symbol":
            name = next(iter(chapter.rows_of(self, target, node["refdoc"])), "")
            found = self.find(typ, name)
            title = found and self.pages[found[0]].meanings[name]
        elif typ == "page" and target in env.found_docs:
            found, words = (target, ""), self.title(target)
        elif typ in ("stated", "chapter") and (place := self.stated(target)):
            # Which figures show it, the next line says.
            box = "" if place.kind == "figure" or typ == "chapter" else place.words
            words = ", ".join(part for part in (self.title(place.page), box) if part)
            found = place[::2]
        made = nodes.inline("", "", *([nodes.Text(words)] if words else contnode.children))
        if (uri := address(found)) is not None:
            made = nodes.reference("", "", *made.children, refuri=uri, internal=True)
            made.attributes |= {"reftitle": title} if title else {}
        made["classes"] += node["classes"]
        made["ids"] += node["ids"]
        return made

    def address(self, builder, page: str, found: tuple[str, str] | None) -> str | None:
        """The address of (page, anchor) on a page; None where the book has no such page."""
        if found is None or found[0] not in self.env.found_docs:
            return None
        home = "" if found[0] == page else builder.get_relative_uri(page, found[0])
        return home + (f"#{found[1]}" if found[1] else "")

    def title(self, page: str) -> str:
        """The heading of a page."""
        return self.env.titles[page].astext().replace("$", "")

    def stated(self, claim: str) -> Place | None:
        """Where a claim is stated: on its own page a box, a badge, a figure; or any badge."""
        own = f"notebooks/{self.ledger.rows[claim]['page']}"
        places = [place for place in self.places(claim) if place.kind != "cell"]
        here = [place for kind in KINDS.values() for place in places if (own, kind) == place[:2]]
        if own in self.env.found_docs:
            here.append(Place(own, "page", "", ""))
        return next(iter(here or places), None)

    def figure(self, place: Place, claim: str, address) -> tuple[str, str | None, list]:
        """A figure that shows a claim: its words, its address, and its arrays with their copies."""
        numbers = self.env.toc_fignumbers.get(place.page, {}).get("figure", {})
        count = numbers.get(place.anchor)
        text = "Fig. " + ".".join(map(str, count)) if count else f"figure {place.words}"
        if place.page != f"notebooks/{self.ledger.rows[claim]['page']}":
            text += f" of {self.title(place.page)}"
        copies = [(path, self.env.dlfiles.get(path.lstrip("/"))) for path in place.arrays]
        return text, address(place[::2]), [(path, known[1]) for path, known in copies if known]


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
