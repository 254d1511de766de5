"""The coverage of the papers: ``{coverage} P1`` a table, ``{coverage-count}`` the numbers.

The list is `coverage.yml` beside this page, the states are those that `ncutils.coverage`
reads off the ledger. ``{covered}`done``` is one number in the text: `done`, `part`,
`missing` or `all`.
"""

from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from nc_data import PAPERS
from nc_nodes import badge, logger, make
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ncutils import coverage

LIST = Path("book") / "coverage.yml"
WORDS = {"done": coverage.DONE, "part": coverage.PART, "missing": coverage.NOT_DONE}


def states(env, location) -> tuple[coverage.State, ...]:
    """The state of every item; none, with a warning, where the list is wrong."""
    path = Path(env.srcdir) / LIST
    ledger = env.app.nc_ledger
    for file in (path, ledger.path):
        env.note_dependency(str(file))
    try:
        found = coverage.load(path)
        if unknown := coverage.unknown(found, ledger.rows.values()):
            raise ValueError(f"the list names unknown claims: {', '.join(unknown)}")
        return coverage.judge_all(found, {**ledger.header, "rows": list(ledger.rows.values())})
    except (OSError, ValueError) as error:
        logger.warning("no coverage: %s", error, location=location, type="nc_coverage")
        return ()


class CoveredRole(SphinxRole):
    """``{covered}`done```: how many figures and statements are."""

    def run(self):
        found = states(self.env, self.get_location())
        if self.text not in (*WORDS, "all"):
            logger.warning(
                "covered knows all, %s, not %r",
                ", ".join(WORDS),
                self.text,
                location=self.get_location(),
                type="nc_coverage",
            )
            return [nodes.strong("", f"unknown number {self.text}")], []
        number = len(found) if self.text == "all" else coverage.count(found)[WORDS[self.text]]
        return [nodes.inline("", str(number), classes=["nc-number"])], []


class CoverageDirective(SphinxDirective):
    """``{coverage} P1``: every figure and statement of a paper."""

    required_arguments = 1
    option_spec: ClassVar = {"figures": directives.flag}

    def run(self):
        paper = self.arguments[0]
        figures = "figures" in self.options
        chosen = [
            state
            for state in states(self.env, self.get_location())
            if state.item.paper == paper and state.item.is_figure == figures
        ]
        self.env.nc_generated.add(self.env.docname)
        head = [make("th", word, scope="col") for word in ("In the paper", "State", "Claims")]
        table = make(
            "table",
            make("caption", f"{paper}, {'figures' if figures else 'statements'}"),
            make("thead", make("tr", *head)),
            make("tbody", *[self.row(state) for state in chosen]),
            classes=["nc-coverage"],
        )
        return [make("div", table, classes=["nc-table"])]

    def row(self, state: coverage.State):
        rows = self.env.app.nc_ledger.rows
        badges: list[nodes.Node] = []
        for claim in state.claims:
            badges += [badge(rows[claim]), nodes.Text(" ")]
        words = state.state
        if state.state != coverage.NOT_DONE:
            words += f" at {state.scale} scale"
        told = [make("div", nodes.strong("", words))]
        if state.reason:
            told.append(make("div", *self.parse_inline(state.reason)[0], classes=["nc-small"]))
        return make(
            "tr",
            make(
                "th",
                make("div", state.item.number),
                make("div", *self.parse_inline(state.item.what)[0], classes=["nc-small"]),
                scope="row",
            ),
            make("td", *told),
            make("td", *badges),
        )


class CountDirective(SphinxDirective):
    """``{coverage-count}``: how many figures and statements of each paper are done."""

    def run(self):
        found = states(self.env, self.get_location())
        self.env.nc_generated.add(self.env.docname)
        kinds = (("figures", True), ("statements", False))
        head = [make("th", "Paper", scope="col")]
        head += [
            make("th", f"{kind} {word}".capitalize(), scope="col")
            for kind, _ in kinds
            for word in coverage.STATES
        ]
        rows = []
        for paper, title in PAPERS.items():
            cells = [make("th", make("abbr", paper, title=title), scope="row")]
            for _, figures in kinds:
                numbers = coverage.count(found, paper=paper, figures=figures)
                cells += [make("td", str(numbers[word])) for word in coverage.STATES]
            rows.append(make("tr", *cells))
        table = make("table", make("thead", make("tr", *head)), make("tbody", *rows))
        return [make("div", table, classes=["nc-table"])]


def setup(app):
    """Register the directives and the role; badges are those of `nc_book`."""
    app.setup_extension("nc_book")
    app.add_role("covered", CoveredRole())
    app.add_directive("coverage", CoverageDirective)
    app.add_directive("coverage-count", CountDirective)
    return {"parallel_read_safe": False, "parallel_write_safe": True, "env_version": 1}
