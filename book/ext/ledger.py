"""The judged claims: a role for a badge, one for a number, and the tables made from them.

``{claim}`P1-T41``` is a badge, ``{measured}`P1-T41.control``` a number of the ledger,
``{ledger}`` has one table for each paper and a row for each claim, ``{scorecard}`` counts
the verdicts, ``{sensitivity}`` says which of them hang on the tolerance, ``{verdict-list}``
shows every claim with one verdict. What names a claim or a paper that is not there is a
warning, and the book is built with warnings as errors.
"""

from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective, SphinxRole

from .numbers import FIELDS, VERDICTS, read_json, slug
from .typeset import logger, typeset

MACROS = '{% import "macros.html" as nc %}'


class Ledger:
    """The judged claims of one build, as ``ledger.json`` of the staged tree has them.

    Attributes:
        path: the file.
        header: scale, commit and time of making.
        papers: tag, title, short title and number of figures of each paper, by its key.
        rows: the claims by their ids, in the order of the file.
    """

    def __init__(self, path: Path):
        """Read ``path``; an absent file, or a claim of an unknown paper, is a warning."""
        content = read_json(path)
        if content is None:
            logger.warning("there is no ledger.json beside the book's settings", type="nc")
        content = content or {}
        self.path = path
        self.papers = content.get("papers", {})
        self.rows = {row["id"]: row for row in content.get("rows", [])}
        self.header = {key: content[key] for key in content.keys() - {"papers", "rows"}}
        for row in list(self.rows.values()):
            if row["paper"] not in self.papers:
                del self.rows[row["id"]]
                logger.warning(
                    "claim %s is of the paper %r, which has no file: write claims/%s.yml with "
                    "`paper: {key, tag, title, short, figures}`",
                    *(row["id"], row["paper"], row["paper"]),
                    type="nc",
                )

    @property
    def scale(self) -> str:
        """The scale of the build."""
        return self.header.get("scale", "unknown")

    def of(self, paper: str) -> list[dict]:
        """The rows of one paper, in the order of the ledger."""
        return [row for row in self.rows.values() if row["paper"] == paper]

    def count(self, paper: str | None, verdict: str) -> int:
        """How many rows of a paper (all with None) carry ``verdict``."""
        return sum(
            row["verdict"] == verdict and paper in (None, row["paper"])
            for row in self.rows.values()
        )

    def carried(self, claim: str) -> list[str]:
        """The claims that rest on this one."""
        return [name for name, row in self.rows.items() if claim in (row.get("depends") or [])]


class LedgerReader:
    """What roles and directives that read the ledger share."""

    @property
    def domain(self):
        """The domain, which has the ledger."""
        return self.env.get_domain("nc")

    def ledger(self, *, generated: bool = False) -> Ledger:
        """The ledger; a page that shows a table of it is written again with any other page."""
        ledger = self.domain.ledger
        self.env.note_dependency(str(ledger.path))
        self.domain.here.generated |= generated
        return ledger

    def warn(self, words: str, *values) -> None:
        """A warning at this place, which fails the build."""
        logger.warning(words, *values, location=self.get_location(), type="nc")

    def find(self, claim: str) -> dict | None:
        """The row of a claim; a warning where there is none."""
        row = self.ledger().rows.get(claim)
        if row is None:
            self.warn("no claim %r in the ledger", claim)
        return row

    def choice(self, name: str, value: str | None, known) -> bool:
        """Whether a value is known; a warning that lists what is, if not."""
        if value not in known:
            self.warn("no %s %r; there are %s", name, value, ", ".join(filter(None, known)))
        return value in known

    def papers(self) -> list[str]:
        """The paper that the directive names, or all that have a claim."""
        ledger = self.ledger(generated=True)
        wanted = self.options.get("paper", *self.arguments[:1] or [None])
        if wanted is None:
            return [paper for paper in ledger.papers if ledger.of(paper)]
        return [wanted] if self.choice("paper", wanted, ledger.papers) else []

    def badges(self, claims: list[str]) -> list[nodes.Node]:
        """The badges of claims that a page speaks of; the first of a page is a place."""
        rows = [row for row in map(self.find, claims) if row]
        text = MACROS + "{% for row in rows %}{{ nc.badge(row) }} {% endfor %}"
        return self.placed(typeset(text, self, rows=rows))

    def placed(self, made: list[nodes.Node]) -> list[nodes.Node]:
        """Give the first badge of each claim on a page a name that the ledger can lead to."""
        for node in made:
            self.domain.place_badges(node)
        return made


class ClaimRole(SphinxRole, LedgerReader):
    """``{claim}`P1-T41```: the badge of a claim."""

    def run(self):
        """The badge."""
        return self.badges([self.text])[:1] or [nodes.strong("", f"unknown: {self.text}")], []


class MeasuredRole(SphinxRole, LedgerReader):
    """``{measured}`P1-T41``` or ``{measured}`P1-T41.control```: a number of the ledger."""

    def run(self):
        """The number, linked to its row."""
        claim, _, suffix = self.text.partition(".")
        row = self.find(claim)
        field, digits = FIELDS.get(suffix or "value", (None, 0))
        if field is None:
            self.warn("measured has no suffix %r; it knows %s", suffix, ", ".join(FIELDS))
        if row is None or field is None:
            return [nodes.strong("", f"unknown number {self.text}")], []
        text = MACROS + "{{ nc.measured(row, field, digits) }}"
        return typeset(text, self, row=row, field=field, digits=digits), []


class LedgerDirective(SphinxDirective, LedgerReader):
    """``{ledger}``: one table for each paper, one row for each claim."""

    option_spec: ClassVar = {"paper": directives.unchanged}

    def run(self):
        """The tables; a claim shown twice keeps its anchor where it was shown first."""
        made = []
        for paper in self.papers():
            self.domain.name_anchor("paper", paper, f"ledger-{slug(paper)}")
            rows = self.ledger().of(paper)
            first = [row["id"] for row in rows if self.domain.find("claim", row["id"]) is None]
            made += typeset(
                "ledger",
                self,
                paper=self.ledger().papers[paper],
                key=paper,
                ledger=self.ledger(),
                rows=rows,
                files=self.files,
                anchors={claim: self.domain.name_anchor("claim", claim) for claim in first},
            )
        for row in self.ledger().rows.values():
            for other in row.get("depends") or []:
                self.find(other)
        return made

    def files(self, row: dict) -> list[tuple[str, str]]:
        """The cases that a row rests on with the staged file of each, empty where there is none."""
        paths = [(case, f"/results/{case}.nc") for case in row.get("of") or []]
        root = Path(self.env.srcdir)
        return [(case, path if (root / path[1:]).is_file() else "") for case, path in paths]


class SensitivityDirective(SphinxDirective, LedgerReader):
    """``{sensitivity}``: how many verdicts hang on the size of the tolerance, and which."""

    def run(self):
        """One paragraph."""
        ledger = self.ledger(generated=True)
        rows = [row for row in ledger.rows.values() if row.get("value") is not None]
        fixed = sum(not row.get("tolerance") and not row.get("deviation") for row in rows)
        ways = {}
        for word in ("half", "double"):
            ways[word] = moved = {}
            for row in rows:
                then = row.get(f"{word}_tolerance")
                if then not in (None, row["verdict"]):
                    moved.setdefault((row["verdict"], then), []).append(row["id"])
        return typeset("sensitivity", self, rows=rows, fixed=fixed, ways=ways)


class ScorecardDirective(SphinxDirective, LedgerReader):
    """``{scorecard}``: how many claims of each paper carry each verdict."""

    def run(self):
        """The table."""
        papers = self.papers()
        return typeset("scorecard", self, ledger=self.ledger(), shown=papers)


class VerdictListDirective(SphinxDirective, LedgerReader):
    """``{verdict-list}``: every claim with one verdict, with what was measured."""

    option_spec: ClassVar = {
        "verdict": directives.unchanged_required,
        "paper": directives.unchanged,
    }

    def run(self):
        """The table, or a sentence where no claim has the verdict."""
        papers, verdict = self.papers(), self.options.get("verdict")
        if not self.choice("verdict", verdict, VERDICTS) or not papers:
            return []
        ledger = self.ledger()
        rows = [row for row in ledger.rows.values() if row["verdict"] == verdict]
        rows = [row for row in rows if row["paper"] in papers]
        return self.placed(typeset("verdict_list", self, rows=rows, scale=ledger.scale))
