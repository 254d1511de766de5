"""The papers' own lists of figures and statements, and what of them is recomputed.

``{coverage}`` is a table for each paper, ``{coverage-count}`` the numbers, ``{covered}`done```
one number in the text: `done`, `part`, `missing` or `all`. ``{coverage-gaps} not done`` lists
what is missing, by reason. The lists are those of `claims/KEY.yml`, the states those that
`ncutils.records.coverage` reads off the ledger.
"""

import re
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ncutils.records import coverage

from .ledger import LedgerReader
from .typeset import typeset

WORDS = {"done": coverage.DONE, "part": coverage.PART, "missing": coverage.NOT_DONE}


class CoverageReader(LedgerReader):
    """What the role and the directives share."""

    def states(self) -> list[coverage.State]:
        """The state of every item; none, with a warning, where a list is wrong."""
        folder, ledger = Path(self.env.srcdir) / "claims", self.ledger(generated=True)
        rows, order = list(ledger.rows.values()), list(ledger.papers)
        for path in folder.glob("*.yml"):
            self.env.note_dependency(str(path))
        try:
            found = coverage.load(folder)
            if unknown := coverage.unknown(found, rows):
                raise ValueError(f"the list names unknown claims: {', '.join(unknown)}")
            judged = coverage.judge_all(found, {**ledger.header, "rows": rows})
            return sorted(judged, key=lambda one: order.index(one.item.paper))
        except (OSError, ValueError) as error:
            self.warn("no coverage: %s", error)
            return []


class CoveredRole(SphinxRole, CoverageReader):
    """``{covered}`done```: how many figures and statements are."""

    def run(self):
        found = self.states()
        if not self.choice("number of the coverage", self.text, ("all", *WORDS)):
            return [nodes.strong("", f"unknown number {self.text}")], []
        number = len(found) if self.text == "all" else coverage.count(found)[WORDS[self.text]]
        return [nodes.inline("", str(number), classes=["nc-number"])], []


class CoverageDirective(SphinxDirective, CoverageReader):
    """``{coverage}`` or ``{coverage} KEY``: every figure or every statement of the papers."""

    optional_arguments = 1
    option_spec: ClassVar = {"figures": directives.flag}

    def run(self):
        figures, made, ledger = "figures" in self.options, [], self.ledger()
        states = [one for one in self.states() if one.item.is_figure == figures]
        for paper in self.papers():
            about = {"paper": ledger.papers[paper], "figures": figures, "rows": ledger.rows}
            about["states"] = [one for one in states if one.item.paper == paper]
            made += typeset("coverage", self, **about, not_done=coverage.NOT_DONE)
        return made


class CountDirective(SphinxDirective, CoverageReader):
    """``{coverage-count}``: how many figures and statements of each paper are done."""

    def run(self):
        found, lines = self.states(), []
        for key, paper in self.ledger().papers.items():
            counts = [coverage.count(found, paper=key, figures=kind) for kind in (True, False)]
            lines.append((paper, [one[word] for one in counts for word in coverage.STATES]))
        kinds = [f"{kind} {word}" for kind in ("Figures", "Statements") for word in coverage.STATES]
        return typeset("coverage_count", lines=lines, words=["Paper", *kinds])


class GapsDirective(SphinxDirective, CoverageReader):
    """``{coverage-gaps} not done``: what is missing from the papers' lists, by reason."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        wanted = self.arguments[0]
        if not self.choice("state", wanted, coverage.STATES):
            return []
        found = [one for one in self.states() if one.state == wanted]
        gaps = []
        for (paper, reason), group in groupby(found, lambda one: (one.item.paper, one.reason)):
            tag = self.ledger().papers[paper]["tag"]
            gaps.append((f"{tag}, {joined([one.item.number for one in group])}", reason))
        return typeset("gaps", self, gaps=gaps)


def joined(numbers: list[str]) -> str:
    """Numbers of a paper in short: "Fig. 6", "Fig. 7", "Fig. 8" are "Figs 6–8"."""
    found = [re.fullmatch(r"(\D+?) (\d+)", text) for text in numbers]
    if len(numbers) > 1 and all(found) and len({match[1] for match in found}) == 1:
        first, last = int(found[0][2]), int(found[-1][2])
        if last - first == len(numbers) - 1:
            word = "Figs" if found[0][1] == "Fig." else f"{found[0][1]}s"
            return f"{word} {first}–{last}"
    return ", ".join(numbers)
