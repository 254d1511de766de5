"""Where the pages speak of a claim.

The box that states it, the figures that show it, the cell of the notebook that records
it, and the result files behind that cell. Each page is gone through once, when it has
been read. The ledger's rows get their links when all pages are known, and each
recording cell gets a link back to its row.
"""

import posixpath
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from nc_data import read_json, slug
from nc_nodes import element, logger, make
from nc_trace import Result, Trace
from sphinx.addnodes import download_reference


class Place(NamedTuple):
    """Something on a page that concerns a claim."""

    page: str
    kind: str  # "box", "text", "figure" or "cell"
    anchor: str
    words: str
    files: tuple[str, ...] = ()  # of a figure its arrays, of a cell its results


def collect(app, doctree) -> None:
    """Note what a page says of each claim; an event handler of ``doctree-read``."""
    places = app.env.nc_found
    for node in list(doctree.findall(nodes.reference)):
        if "nc-badge" in node["classes"]:
            place = around(app.env.docname, node)
            if place and place not in places.setdefault(node["nc_row"], []):
                places[node["nc_row"]].append(place)
    trace = Trace(results_of(app.env), app.nc_ledger.rows)
    for cell in list(doctree.findall(nodes.container)):
        if cell.get("nb_element") == "cell_code" and cell.children:
            read_cell(app.env, cell, trace)


def around(page: str, badge: nodes.Element) -> Place | None:
    """The theorem box or the figure that a badge stands in, or its own place in the text."""
    node = badge.parent
    while node is not None:
        if isinstance(node, nodes.figure) and node["ids"]:
            files = [link["reftarget"] for link in node.findall(download_reference)]
            arrays = tuple(file for file in files if file.endswith(".nc"))
            return Place(page, "figure", node["ids"][0], node["ids"][0], arrays)
        if "proof" in node.get("classes", ()) and node.get("realtype") and node["ids"]:
            # sphinx_proof keeps the title as it prints it, " (title)".
            kind, title = node["realtype"], node["title"].replace("$", "").strip()
            title = title.removeprefix("(").removesuffix(")") if title[:1] == "(" else title
            named = title if title.lower().startswith(kind) else f"{kind} “{title}”"
            words = named if title else kind
            return Place(page, "box", node["ids"][0], words)
        # A theorem box has a section of its own inside.
        if isinstance(node, nodes.section) and "proof" not in node.parent.get("classes", ()):
            break
        node = node.parent
    if not badge["ids"]:
        return None
    title = node.next_node(nodes.title) if node is not None else None
    words = title.astext().replace("$", "") if title is not None else ""
    return Place(page, "text", badge["ids"][0], f"“{words}”" if words else "")


def results_of(env) -> list[Result]:
    """The results that the record of the present page names."""
    folder, _, page = env.docname.rpartition("/")
    record = (
        read_json(Path(env.srcdir) / "pages" / f"{page}.json") if folder == "notebooks" else None
    )
    return [(one["experiment"], one["cell"]) for one in (record or {}).get("results", [])]


def read_cell(env, cell: nodes.container, trace: Trace) -> None:
    """Note which claims a cell records, and put links to their rows under it."""
    try:
        recorded = trace.read(cell.children[0].astext())
    except SyntaxError as error:
        logger.warning("a cell is not plain Python: %s", error, location=env.docname)
        return
    for claim, results in recorded.items():
        anchor = f"records-{slug(claim)}"
        cell["ids"].append(anchor)
        files = tuple(f"/results/{experiment}/{name}.nc" for experiment, name in results)
        for file in files:
            if (Path(env.srcdir) / file[1:]).is_file():
                env.dlfiles.add_file(env.docname, file[1:])
        env.nc_found.setdefault(claim, []).append(Place(env.docname, "cell", anchor, "", files))
    if recorded:
        cell["classes"].append("nc-recording")
        line = make("div", "Recorded for ", classes=["nc-recorded"])
        for claim in sorted(recorded):
            row = nodes.reference("", claim, internal=True, nc_row=claim)
            line += [row, nodes.Text(", ")]
        line.pop()
        line += nodes.Text(" of the ledger")
        cell.parent.insert(cell.parent.index(cell) + 1, line)


def forget(env, docname: str) -> None:
    """Drop what a page had said before it is read again."""
    for places in env.nc_found.values():
        places[:] = [place for place in places if place.page != docname]


def place_of(env, claim: str, page: str) -> Place | None:
    """Where a reader meets a claim: on its own page a box, a badge, a figure; or any badge."""
    own = [f"notebooks/{page}", f"book/{page}"]
    places = [place for place in env.nc_found.get(claim, ()) if place.kind != "cell"]
    here = [place for place in places if place.page in own]
    for kind in ("box", "text", "figure"):
        for place in here:
            if place.kind == kind:
                return place
    for name in own:
        if name in env.found_docs:
            return Place(name, "page", "", "")
    return places[0] if places else None


class Trail:
    """The links of one row of the ledger to the pages."""

    def __init__(self, app, docname: str):
        """Links for the page ``docname``."""
        self.env, self.builder, self.docname = app.env, app.builder, docname

    def address(self, place: Place) -> str:
        """The address of a place."""
        address = (
            ""
            if place.page == self.docname
            else self.builder.get_relative_uri(self.docname, place.page)
        )
        return address + (f"#{place.anchor}" if place.anchor else "")

    def link(self, place: Place, words: str) -> nodes.Node:
        """A link with these words."""
        return nodes.reference("", words, internal=True, refuri=self.address(place))

    def figure(self, place: Place) -> str:
        """How the book numbers a figure."""
        numbers = self.env.toc_fignumbers.get(place.page, {}).get("figure", {})
        number = numbers.get(place.anchor)
        return "Fig. " + ".".join(map(str, number)) if number else f"figure {place.words}"

    def title(self, page: str) -> str:
        """The heading of a page."""
        return self.env.titles[page].astext().replace("$", "")

    def file(self, path: str, words: str) -> list[nodes.Node]:
        """A download, or its words where the book has no such file."""
        known = self.env.dlfiles.get(path.lstrip("/"))
        if known is None:
            return [nodes.Text(words)]
        node = download_reference("", "", reftarget=path, filename=known[1])
        node += nodes.inline("", words, classes=["nc-download"])
        return [node]

    def stated(self, row: dict) -> list[nodes.Node]:
        """On which page a claim is stated, and in which box of it."""
        place = place_of(self.env, row["id"], row["page"])
        if place is None:
            return [nodes.Text(row["page"].replace("_", " "))]
        # Which figures show it, the next line says.
        words = "" if place.kind == "figure" else place.words
        parts = [part for part in (self.title(place.page), words) if part]
        return [self.link(place, ", ".join(parts))]

    def shown(self, row: dict) -> list[nodes.Node]:
        """The figures that carry the claim, each with its arrays."""
        line: list[nodes.Node] = []
        for place in self.env.nc_found.get(row["id"], ()):
            if place.kind != "figure":
                continue
            words = self.figure(place)
            if place.page.rpartition("/")[2] != row["page"]:
                words += f" of {self.title(place.page)}"
            line += [nodes.Text(", " if line else "Shown in "), self.link(place, words)]
            for path in place.files:
                line += [nodes.Text(" ("), *self.file(path, "arrays"), nodes.Text(")")]
        return line

    def recorded(self, row: dict) -> list[nodes.Node]:
        """The cell that records the claim, and the results it reads."""
        line: list[nodes.Node] = []
        for place in self.env.nc_found.get(row["id"], ()):
            if place.kind != "cell":
                continue
            line += [nodes.Text("; " if line else "Recorded by "), self.link(place, "this cell")]
            names = [posixpath.splitext(path.removeprefix("/results/"))[0] for path in place.files]
            for k, (path, name) in enumerate(zip(place.files, names, strict=True)):
                line += [nodes.Text(", " if k else " from "), *self.file(path, name)]
            if not names and row.get("value") is not None:
                line.append(nodes.Text(", computed on the page"))
        return line

    def fill(self, node: element, row: dict) -> None:
        """Put the links into the part of a row that waits for them."""
        node += [nodes.Text(f"{row['kind'].capitalize()} · in "), *self.stated(row)]
        lines = [line for line in (self.shown(row), self.recorded(row)) if line]
        node += [make("div", *line) for line in lines]
