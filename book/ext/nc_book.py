"""The book's own roles and directives, fed by the ledger and the figure records.

``{claim}`` a badge, ``{measured}`` a number, ``{nc-figure}`` a figure with its
claims and its provenance, ``{ledger}`` and ``{scorecard}`` the tables, and the
line under the first heading of every page that says how the page was made.
Whatever names a claim, a figure or a page record that is not there is a
warning, and the book is built with warnings as errors.
"""

from pathlib import Path
from typing import ClassVar

import nc_places
from docutils import nodes
from docutils.parsers.rst import directives
from nc_data import FIELDS, Ledger, provenance, read_json, slug
from nc_ledger import LedgerDirective, ScorecardDirective, SensitivityDirective
from nc_nodes import (
    close_element,
    download,
    element,
    find_row,
    ignore,
    logger,
    make,
    measured_number,
    open_element,
    placed_badge,
)
from sphinx.util.docutils import SphinxDirective, SphinxRole

IMAGES = {"svg": "only-light", "dark_svg": "only-dark"}
DOWNLOADS = {"csv": "data as CSV", "nc": "data as netCDF", "svg": "SVG", "png": "PNG"}


class ClaimRole(SphinxRole):
    """``{claim}`P1-T41```: the badge of a claim."""

    def run(self):
        row = find_row(self.env, self.text, self.get_location())
        if row is None:
            return [nodes.strong("", f"unknown claim {self.text}")], []
        return [placed_badge(self.env, row)], []


class MeasuredRole(SphinxRole):
    """``{measured}`P1-T41``` or ``{measured}`P1-T41.control```: a number of the ledger."""

    def run(self):
        claim, _, suffix = self.text.partition(".")
        row = find_row(self.env, claim, self.get_location())
        field, digits = FIELDS.get(suffix or "value", (None, 0))
        if field is None:
            logger.warning(
                "measured has no suffix %r; it knows %s",
                suffix,
                ", ".join(FIELDS),
                location=self.get_location(),
                type="nc_book",
            )
        if row is None or field is None:
            return [nodes.strong("", f"unknown number {self.text}")], []
        return [measured_number(row, field, digits)], []


class FigureDirective(SphinxDirective):
    """``{nc-figure} ID``: both images of a figure, its claims, its provenance."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"claims": directives.unchanged, "name": directives.unchanged}

    def run(self):
        figure_id = self.arguments[0]
        record = self.read(figure_id)
        if record is None:
            return [nodes.paragraph("", f"Figure {figure_id} has not been drawn.")]
        figure = nodes.figure("", classes=["nc-figure"])
        self.set_source_info(figure)
        figure += self.images(record)
        caption, rest = self.caption(figure_id)
        figure += caption
        figure += nodes.legend("", *rest, *self.badges(), self.line(record))
        self.options.setdefault("name", figure_id)
        self.add_name(figure)
        return [figure]

    def read(self, figure_id: str) -> dict | None:
        path = Path(self.env.srcdir) / "figures" / f"{figure_id}.json"
        self.env.note_dependency(str(path))
        record = read_json(path)
        problem = None
        if record is None:
            problem = f"no figure {figure_id!r}: there is no figures/{figure_id}.json"
        elif not record.get("alt", "").strip():
            problem = f"figure {figure_id!r} has no text for readers who do not see it"
        elif missing := [key for key in IMAGES if key not in record["files"]]:
            problem = f"figure {figure_id!r} has no file {', '.join(missing)}"
        if problem:
            logger.warning("%s", problem, location=self.get_location(), type="nc_book")
            return None
        return record

    def images(self, record: dict):
        return make(
            "div",
            *[
                nodes.image(
                    uri=f"/figures/{Path(record['files'][key]).name}",
                    alt=record["alt"],
                    classes=[css],
                )
                for key, css in IMAGES.items()
            ],
            classes=["nc-images"],
        )

    def caption(self, figure_id: str):
        content = self.parse_content_to_nodes()
        if not content or not isinstance(content[0], nodes.paragraph):
            logger.warning(
                "figure %r needs a caption", figure_id, location=self.get_location(), type="nc_book"
            )
            return nodes.caption("", figure_id), content
        first, *rest = content
        return nodes.caption(first.rawsource, "", *first.children), rest

    def badges(self) -> list[nodes.Node]:
        rows = [
            find_row(self.env, claim, self.get_location())
            for claim in self.options.get("claims", "").replace(",", " ").split()
        ]
        badges = [placed_badge(self.env, row) for row in rows if row]
        if not badges:
            return []
        line = nodes.paragraph("", classes=["nc-badges"])
        for badge in badges:
            line += [badge, nodes.Text(" ")]
        return [line]

    def line(self, record: dict) -> nodes.Node:
        line = nodes.paragraph("", classes=["nc-provenance"])
        line += nodes.Text(" · ".join(provenance(record, verb="Drawn")))
        for key, word in DOWNLOADS.items():
            if name := record["files"].get(key):
                line += nodes.Text(" · ")
                line += download(f"/figures/{Path(name).name}", self.env.docname, word)
        return line


def start(app):
    """Read the ledger; a book without one is a mistake."""
    app.nc_ledger = Ledger(Path(app.srcdir) / "ledger.json")
    if not app.nc_ledger.found:
        logger.warning("there is no ledger.json beside the book's settings", type="nc_book")


def prepare(app, env, docnames):
    """Give the environment its records; they are kept between builds."""
    for name, empty in (
        ("nc_rows", {}),
        ("nc_places", {}),
        ("nc_found", {}),
        ("nc_generated", set()),
    ):
        if not hasattr(env, name):
            setattr(env, name, empty)


def forget(app, env, docname):
    """Drop what a page had recorded before it is read again."""
    prepare(app, env, ())
    env.nc_rows = {key: place for key, place in env.nc_rows.items() if place[0] != docname}
    for places in env.nc_places.values():
        places[:] = [place for place in places if place != docname]
    nc_places.forget(env, docname)
    env.nc_generated.discard(docname)


def outdated(app, env, added, changed, removed):
    """The generated tables link to every page: write them again when any page changes."""
    prepare(app, env, ())
    return sorted(env.nc_generated - removed) if added or changed or removed else []


def add_page_line(app, doctree):
    """Say under the first heading how the page was made."""
    env = app.env
    folder, _, page = env.docname.rpartition("/")
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is None:
        logger.warning("the page has no heading", location=env.docname, type="nc_book")
        return
    if folder == "notebooks":
        path = Path(env.srcdir) / "pages" / f"{page}.json"
        verb, record = "Computed", read_json(path)
        if record is None:
            logger.warning("there is no pages/%s.json", page, location=env.docname, type="nc_book")
            return
    else:
        path, verb, record = app.nc_ledger.path, "Built", app.nc_ledger.header
    env.note_dependency(str(path))
    line = make("p", " · ".join(provenance(record, verb=verb)), classes=["nc-page-line"])
    title.parent.insert(title.parent.index(title) + 1, line)


def target_of(env, node) -> tuple[str, str | None] | None:
    """The page and anchor that one of our links points to."""
    if "nc_row" in node:
        return env.nc_rows.get(node["nc_row"])
    if "nc_place" in node:
        place = nc_places.place_of(env, node["nc_place"], node["nc_page"])
        return place and (place.page, place.anchor or None)
    home = env.nc_rows.get(node["nc_table"])
    paper = env.app.nc_ledger.rows[node["nc_table"]]["paper"]
    return home and (home[0], f"ledger-{slug(paper)}")


def link(app, doctree, docname):
    """Give every link of ours its address, now that all pages are known."""
    for node in list(doctree.findall(element)):
        if "nc_trail" in node:
            nc_places.Trail(app, docname).fill(node, app.nc_ledger.rows[node["nc_trail"]])
    for node in list(doctree.findall(nodes.reference)):
        if not {"nc_row", "nc_place", "nc_table"} & set(node.attributes):
            continue
        target = target_of(app.env, node)
        if target is None:
            # No such page in this book: keep the words.
            node.replace_self(
                nodes.inline("", "", *node.children, classes=node["classes"], ids=node["ids"])
            )
            continue
        page, anchor = target
        address = "" if page == docname else app.builder.get_relative_uri(docname, page)
        node["refuri"] = address + (f"#{anchor}" if anchor else "")


def setup(app):
    """Register everything; reading is serial, as the whole of Jupyter Book is."""
    app.add_node(
        element,
        html=(open_element, close_element),
        latex=(ignore, ignore),
        text=(ignore, ignore),
    )
    app.add_role("claim", ClaimRole())
    app.add_role("measured", MeasuredRole())
    app.add_directive("nc-figure", FigureDirective)
    app.add_directive("ledger", LedgerDirective)
    app.add_directive("scorecard", ScorecardDirective)
    app.add_directive("sensitivity", SensitivityDirective)
    app.connect("builder-inited", start)
    app.connect("env-before-read-docs", prepare)
    app.connect("env-purge-doc", forget)
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-read", add_page_line)
    app.connect("doctree-read", nc_places.collect)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": False, "parallel_write_safe": True, "env_version": 1}
