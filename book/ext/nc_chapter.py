"""The frame of a chapter, its question and its verdicts, and lists of claims by verdict.

``{question}`` stands right under the heading of a chapter, ``{verdicts}`` at its end: a
table of the page's claims. A notebook page without either is a warning, and the book is
built with warnings as errors. ``{verdict-list}`` shows every claim with one verdict,
``{coverage-gaps}`` what is missing from the papers' own lists and why.
"""

import re
from itertools import groupby
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from nc_coverage import states
from nc_data import PAPERS, VERDICTS
from nc_ledger import small
from nc_nodes import condition, element, logger, make, number, placed_badge, verdict_mark
from sphinx.util.docutils import SphinxDirective

from ncutils import coverage

#: Told to readers' software, since a phone shows the cells as blocks.
ROLES = {"table": "table", "thead": "rowgroup", "tbody": "rowgroup", "tr": "row", "td": "cell"}

#: What may stand between the heading of a chapter and its question.
ASIDE = (nodes.title, nodes.comment, nodes.target, nodes.substitution_definition)


def inline(directive: SphinxDirective, text: str) -> list[nodes.Node]:
    """Markdown of one line as nodes."""
    return directive.parse_inline(text)[0]


def table(words: tuple[str, ...], rows: list[nodes.Node], *caption, classes=()) -> nodes.Node:
    """A table with a caption and headed columns, in a box that scrolls."""
    head = [make("th", word, scope="col") for word in words]
    parts = [make("caption", *caption)] if caption else []
    parts += [make("thead", make("tr", *head)), make("tbody", *rows)]
    whole = make("table", *parts, classes=list(classes))
    for node in whole.findall(element):
        scope = node["attributes"].get("scope")
        role = {"col": "columnheader", "row": "rowheader"}.get(scope, ROLES.get(node["tag"]))
        if role:
            node["attributes"]["role"] = role
    return make("div", whole, classes=["nc-table"])


def claims_of(env, page: str) -> list[dict]:
    """The rows of the ledger that belong to a page, in the order of the ledger."""
    env.note_dependency(str(env.app.nc_ledger.path))
    return [row for row in env.app.nc_ledger.rows.values() if row["page"] == page]


def total(rows: list[dict], scale: str) -> str:
    """How many claims there are, and at which scale they were judged."""
    return f"{len(rows)} claim{'s' * (len(rows) != 1)}, judged at {scale} scale"


def tally(rows: list[dict], scale: str) -> list[nodes.Node]:
    """How many claims there are and how many carry each verdict."""
    parts: list[nodes.Node] = [nodes.Text(f"{total(rows, scale)}: ")]
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    for place, (verdict, count) in enumerate((v, n) for v, n in counts.items() if n):
        parts += [nodes.Text(f"{', ' * bool(place)}{count} "), verdict_mark(verdict)]
    return [*parts, nodes.Text(".")]


class QuestionDirective(SphinxDirective):
    """``{question}``: what a chapter asks, in one or two sentences."""

    has_content = True

    def run(self):
        label = make("div", "The question", classes=["nc-question-label"])
        return [make("div", label, *self.parse_content_to_nodes(), classes=["nc-question"])]


class VerdictsDirective(SphinxDirective):
    """``{verdicts}``: what became of the claims of this page."""

    def run(self):
        page = self.env.docname.rpartition("/")[2]
        rows = claims_of(self.env, page)
        if not rows:
            logger.warning(
                "no claim of the ledger belongs to the page %r",
                page,
                location=self.get_location(),
                type="nc_chapter",
            )
            return []
        self.env.nc_generated.add(self.env.docname)
        scale = self.env.app.nc_ledger.header.get("scale", "unknown")
        words = ("Claim and verdict", "What is claimed")
        lines = [self.row(row) for row in rows]
        return [table(words, lines, *tally(rows, scale), classes=["nc-verdicts"])]

    def row(self, row: dict):
        return make(
            "tr",
            make("th", placed_badge(self.env, row), scope="row"),
            make(
                "td",
                make("span", *inline(self, row["statement"])),
                " ",
                make("span", row["number"], classes=["nc-small"]),
            ),
            classes=[VERDICTS[row["verdict"]][1]],
        )


class VerdictListDirective(SphinxDirective):
    """``{verdict-list}``: every claim with one verdict, with what was measured."""

    option_spec: ClassVar = {
        "verdict": directives.unchanged_required,
        "paper": directives.unchanged,
    }

    def run(self):
        ledger = self.env.app.nc_ledger
        self.env.note_dependency(str(ledger.path))
        self.env.nc_generated.add(self.env.docname)
        verdict, paper = self.options.get("verdict"), self.options.get("paper")
        known = {"verdict": (verdict, list(VERDICTS)), "paper": (paper, [None, *PAPERS])}
        for name, (value, choices) in known.items():
            if value not in choices:
                logger.warning(
                    "no %s %r; there are %s",
                    name,
                    value,
                    ", ".join(filter(None, choices)),
                    location=self.get_location(),
                    type="nc_chapter",
                )
                return []
        rows = [
            row
            for row in ledger.rows.values()
            if row["verdict"] == verdict and paper in (None, row["paper"])
        ]
        scale = ledger.header.get("scale", "unknown")
        if not rows:
            return [nodes.paragraph("", f"At {scale} scale there is none.")]
        lines = [self.row(row) for row in rows]
        words = ("Claim", "What is claimed", "Measured")
        return [table(words, lines, total(rows, scale), classes=["nc-verdicts"])]

    def row(self, row: dict):
        page = row["page"]
        place = nodes.reference(
            "", page, internal=True, nc_place=row["id"], nc_page=page, nc_titled=page
        )
        told = [
            make("div", *inline(self, row["statement"])),
            small(row["number"], " · ", place, " · measured: ", *inline(self, row["quantity"])),
        ]
        measured = []
        if row.get("value") is not None:
            measured.append(make("div", *number(row["value"]), classes=["nc-figure-number"]))
            stated = ["stated ", *condition(row)]
            if row["tolerance"]:
                stated += [" ± ", *number(row["tolerance"], 6)]
            measured.append(small(*stated))
        if row.get("reason") and row["reason"] != "outside the tolerance":
            measured.append(small(*inline(self, row["reason"])))
        return make(
            "tr",
            make("th", placed_badge(self.env, row), scope="row"),
            make("td", *told),
            make("td", *measured),
            classes=[VERDICTS[row["verdict"]][1]],
        )


def joined(numbers: list[str]) -> str:
    """Numbers of a paper in short: "Fig. 6", "Fig. 7", "Fig. 8" are "Figs 6–8"."""
    found = [re.fullmatch(r"(\D+?) (\d+)", text) for text in numbers]
    if len(numbers) > 1 and all(found) and len({match[1] for match in found}) == 1:
        first, last = int(found[0][2]), int(found[-1][2])
        if last - first == len(numbers) - 1:
            word = "Figs" if found[0][1] == "Fig." else f"{found[0][1]}s"
            return f"{word} {first}–{last}"
    return ", ".join(numbers)


class GapsDirective(SphinxDirective):
    """``{coverage-gaps} not done``: what is missing from the papers' lists, by reason."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        wanted = self.arguments[0]
        if wanted not in coverage.STATES:
            logger.warning(
                "no state %r; there are %s",
                wanted,
                ", ".join(coverage.STATES),
                location=self.get_location(),
                type="nc_chapter",
            )
            return []
        self.env.nc_generated.add(self.env.docname)
        found = [one for one in states(self.env, self.get_location()) if one.state == wanted]
        if not found:
            return [nodes.paragraph("", "There is none.")]
        rows = []
        for (paper, reason), group in groupby(found, lambda one: (one.item.paper, one.reason)):
            numbers = joined([one.item.number for one in group])
            rows.append(
                make(
                    "tr",
                    make("th", f"{paper}, {numbers}", scope="row"),
                    make("td", *inline(self, reason)),
                )
            )
        return [table(("In the paper", "What is missing, and why"), rows, classes=["nc-gaps"])]


def has_class(node: nodes.Node, name: str) -> bool:
    """Whether a node of ours carries a class."""
    return isinstance(node, nodes.Element) and name in node.get("classes", ())


def check_frame(app, doctree):
    """A chapter opens with its question and has a table of its verdicts."""
    page = app.env.docname
    if not page.startswith("notebooks/"):
        return
    section = next(iter(doctree.findall(nodes.section)), None)
    body = [child for child in (section or ()) if not isinstance(child, ASIDE)]
    problem = None
    if not body or not has_class(body[0], "nc-question"):
        problem = "a chapter opens with its question: put a {question} right under the heading"
    elif not any(has_class(node, "nc-verdicts") for node in doctree.findall(nodes.Element)):
        problem = "a chapter closes with its verdicts: there is no {verdicts} on the page"
    if problem:
        logger.warning("%s", problem, location=page, type="nc_chapter")


def name_pages(app, doctree, docname):
    """Write the title of a chapter in the place of its name."""
    for node in doctree.findall(nodes.reference):
        for folder in ("notebooks", "book"):
            title = app.env.titles.get(f"{folder}/{node.get('nc_titled')}")
            if title is not None:
                node.children = [nodes.Text(title.astext())]


def setup(app):
    """Register the directives; badges and the page line are those of `nc_book`."""
    app.setup_extension("nc_book")
    app.setup_extension("nc_coverage")
    app.add_directive("question", QuestionDirective)
    app.add_directive("verdicts", VerdictsDirective)
    app.add_directive("verdict-list", VerdictListDirective)
    app.add_directive("coverage-gaps", GapsDirective)
    # Before others put their lines under the heading.
    app.connect("doctree-read", check_frame, priority=100)
    app.connect("doctree-resolved", name_pages, priority=400)
    return {"parallel_read_safe": False, "parallel_write_safe": True, "env_version": 1}
