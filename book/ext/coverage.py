"""The papers' own lists of figures and statements, and what of them is recomputed.

``{coverage}`` is a table for each paper, ``{coverage-count}`` the numbers, ``{covered}`done```
one number in the text: `done`, `part`, `missing` or `all`. ``{coverage-gaps} not done`` lists
what is missing, by reason. The lists are those of `claims/KEY.yml`, the states those that
`ncutils.records.coverage` reads off the ledger.
"""

import re
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ncutils.records import coverage

from .ledger import Ledger, LedgerReader
from .typeset import typeset

WORDS = {"done": coverage.DONE, "part": coverage.PART, "missing": coverage.NOT_DONE}


class Coverage:
    """The lists of a staged tree, judged by its ledger."""

    def __init__(self, folder: Path, ledger: Ledger):
        """Read the lists of ``folder`` when they are asked for."""
        self.folder, self.ledger = folder, ledger

    @cached_property
    def states(self) -> tuple[coverage.State, ...]:
        """The state of every item.

        Raises:
            OSError: where there are no lists.
            ValueError: where a list is wrong, or names a claim that is not there.
        """
        rows = list(self.ledger.rows.values())
        found = coverage.load(self.folder)
        if unknown := coverage.unknown(found, rows):
            raise ValueError(f"the list names unknown claims: {', '.join(unknown)}")
        return coverage.judge_all(found, {**self.ledger.header, "rows": rows})


class CoverageReader(LedgerReader):
    """What the role and the directives share."""

    def states(self) -> tuple[coverage.State, ...]:
        """The state of every item; none, with a warning, where a list is wrong."""
        for path in sorted(self.domain.coverage.folder.glob("*.yml")):
            self.env.note_dependency(str(path))
        self.ledger(generated=True)
        try:
            return self.domain.coverage.states
        except (OSError, ValueError) as error:
            self.warn("no coverage: %s", error)
            return ()


class CoveredRole(SphinxRole, CoverageReader):
    """``{covered}`done```: how many figures and statements are."""

    def run(self):
        """The number."""
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
        """A table for each paper."""
        figures, made = "figures" in self.options, []
        for paper in self.papers():
            found = [one for one in self.states() if one.item.paper == paper]
            made += typeset(
                "coverage",
                self,
                paper=self.ledger().papers[paper],
                figures=figures,
                states=[one for one in found if one.item.is_figure == figures],
                rows=self.ledger().rows,
                not_done=coverage.NOT_DONE,
            )
        return made


class CountDirective(SphinxDirective, CoverageReader):
    """``{coverage-count}``: how many figures and statements of each paper are done."""

    def run(self):
        """The table."""
        found, lines = self.states(), []
        for key, paper in self.ledger().papers.items():
            counts = [coverage.count(found, paper=key, figures=kind) for kind in (True, False)]
            lines.append((paper, [one[word] for one in counts for word in coverage.STATES]))
        return typeset("coverage_count", self, lines=lines, words=coverage.STATES)


class GapsDirective(SphinxDirective, CoverageReader):
    """``{coverage-gaps} not done``: what is missing from the papers' lists, by reason."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        """The table, or a sentence where nothing is missing."""
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
