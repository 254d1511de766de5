"""The directives ``ledger`` and ``scorecard``: tables made from the ledger file."""

from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from nc_data import PAPERS, VERDICTS, distance, slug
from nc_nodes import condition, find_row, logger, make, number, verdict_mark
from sphinx.util.docutils import SphinxDirective

COLUMNS = ("Claim", "Stated", "Measured", "Control", "Verdict")


def small(*children, **options):
    """A line in small print."""
    return make("div", *children, classes=["nc-small"], **options)


def to_rows(directive: SphinxDirective, claims: list[str], word: str) -> list[nodes.Node]:
    """Links to the rows of claims, with a word before them."""
    line: list[nodes.Node] = []
    for claim in claims:
        find_row(directive.env, claim, directive.get_location())
        line.append(nodes.Text(", " if line else word))
        line.append(nodes.reference("", claim, internal=True, nc_row=claim))
    return line


class LedgerDirective(SphinxDirective):
    """One table for each paper, one row for each claim."""

    option_spec: ClassVar = {"paper": directives.unchanged}

    def run(self):
        ledger = self.env.app.nc_ledger
        self.env.note_dependency(str(ledger.path))
        self.env.nc_generated.add(self.env.docname)
        papers = [self.options["paper"]] if "paper" in self.options else ledger.papers()
        for paper in papers:
            if not ledger.of(paper):
                logger.warning(
                    "no claim of paper %r in the ledger", paper, location=self.get_location()
                )
        return [self.table(paper, ledger.of(paper)) for paper in papers if ledger.of(paper)]

    def table(self, paper: str, rows: list[dict]):
        head = [make("th", word, scope="col", role="columnheader") for word in COLUMNS]
        return make(
            "div",
            make(
                "table",
                make("caption", make("strong", paper), " ", PAPERS.get(paper, "")),
                make("thead", make("tr", *head, role="row"), role="rowgroup"),
                make("tbody", *[self.row(row) for row in rows], role="rowgroup"),
                classes=["nc-ledger"],
                role="table",
            ),
            classes=["nc-table"],
            ids=[f"ledger-{slug(paper)}"],
        )

    def row(self, row: dict):
        anchor = f"claim-{slug(row['id'])}"
        # A claim shown twice keeps its anchor where it was shown first.
        first = row["id"] not in self.env.nc_rows
        if first:
            self.env.nc_rows[row["id"]] = (self.env.docname, anchor)
        cells = [self.stated(row), self.measured(row), self.control(row), self.verdict(row)]
        return make(
            "tr",
            make("th", *self.claim(row), scope="row", role="rowheader"),
            *[
                make("td", *cell, role="cell", data_label=word)
                for word, cell in zip(COLUMNS[1:], cells, strict=True)
            ],
            ids=[anchor] if first else [],
            role="row",
            classes=["nc-row", VERDICTS[row["verdict"]][1]],
        )

    def inline(self, text: str) -> list[nodes.Node]:
        return self.parse_inline(text)[0]

    def claim(self, row: dict):
        places = small()
        places["nc_trail"] = row["id"]
        rests = to_rows(self, row.get("depends") or [], "Rests on ")
        carries = to_rows(self, self.env.app.nc_ledger.carried(row["id"]), "Carries ")
        between = [nodes.Text(" · ")] if rests and carries else []
        return [
            make(
                "div",
                make("span", row["id"], classes=["nc-id"]),
                make("span", row["number"], classes=["nc-paper-number"]),
                classes=["nc-claim-head"],
            ),
            make("div", *self.inline(row["statement"]), classes=["nc-statement"]),
            small("Measured: ", *self.inline(row["quantity"])),
            places,
            *([small(*rests, *between, *carries)] if rests or carries else []),
        ]

    def stated(self, row: dict):
        lines = [make("div", *condition(row), classes=["nc-figure-number"])]
        lines.append(small("tolerance ", *number(row.get("tolerance"), 6)))
        if row.get("deviation") is not None:
            lines.append(small("deviation up to ", *number(row["deviation"], 6)))
        if row.get("scales"):
            lines.append(small("decidable at ", ", ".join(row["scales"])))
        return lines

    def measured(self, row: dict):
        value = make("div", *number(row.get("value")), classes=["nc-figure-number"])
        if row.get("spread") is not None:
            value += [nodes.Text(" ± "), *number(row["spread"], 2)]
        notes = []
        if row.get("n") is not None:
            notes.append(f"n = {row['n']}")
        if row.get("value") is not None and row.get("scale"):
            notes.append(f"{row['scale']} scale")
        return [value, small(", ".join(notes))] if notes else [value]

    def control(self, row: dict):
        value = make("div", *number(row.get("control_value")), classes=["nc-figure-number"])
        return [value, small(*self.inline(row["control"]))] if row.get("control") else [value]

    def verdict(self, row: dict):
        lines = [verdict_mark(row["verdict"])]
        if row.get("reason"):
            lines.append(small(*self.inline(row["reason"])))
        away = distance(row)
        if away is not None:
            word = f" {'within' if away >= 0 else 'beyond'} the threshold"
            lines.append(small(*number(abs(away), 2), word))
        half, double = row.get("half_tolerance"), row.get("double_tolerance")
        if half and double and row.get("value") is not None:
            if half == double == row["verdict"]:
                lines.append(small("the same at half and double the tolerance"))
            else:
                lines.append(small(f"half the tolerance: {half}; double: {double}"))
        return lines


class SensitivityDirective(SphinxDirective):
    """How many verdicts hang on the size of the tolerance, and which."""

    def run(self):
        ledger = self.env.app.nc_ledger
        self.env.note_dependency(str(ledger.path))
        self.env.nc_generated.add(self.env.docname)
        rows = [row for row in ledger.rows.values() if row.get("value") is not None]
        fixed = sum(not row.get("tolerance") and not row.get("deviation") for row in rows)
        lead = make("p", f"Measured: {len(rows)} claims. ", classes=["nc-sensitivity"])
        for words, key in (("half", "half_tolerance"), ("double", "double_tolerance")):
            lead += self.changed(f"At {words} the tolerance", rows, key)
        lead += nodes.Text(f"In {fixed} rows the tolerance is zero, so that neither can change.")
        return [lead]

    def changed(self, words: str, rows: list[dict], key: str) -> list[nodes.Node]:
        """Which verdicts another tolerance would change, and into what."""
        moved = [row for row in rows if row.get(key) not in (None, row["verdict"])]
        if not moved:
            return [nodes.Text(f"{words} no verdict changes. ")]
        verb = "verdict changes" if len(moved) == 1 else "verdicts change"
        line: list[nodes.Node] = [nodes.Text(f"{words} {len(moved)} {verb}")]
        ways = dict.fromkeys((row["verdict"], row[key]) for row in moved)
        for count, way in enumerate(ways):
            now, then = (VERDICTS[verdict][0] for verdict in way)
            line.append(nodes.Text(f"{';' if count else ','} from {now} to {then} "))
            those = [row["id"] for row in moved if (row["verdict"], row[key]) == way]
            line += to_rows(self, those, "")
        return [*line, nodes.Text(". ")]


class ScorecardDirective(SphinxDirective):
    """How many claims of each paper carry each verdict."""

    def run(self):
        ledger = self.env.app.nc_ledger
        self.env.note_dependency(str(ledger.path))
        self.env.nc_generated.add(self.env.docname)
        head = [make("th", "Paper", scope="col")]
        head += [make("th", verdict_mark(verdict), scope="col") for verdict in VERDICTS]
        papers = ledger.papers()
        rows = [self.row(paper, paper) for paper in papers]
        if len(papers) > 1:
            rows.append(self.row("All", None))
        scale = ledger.header.get("scale", "unknown")
        total = len(ledger.rows)
        caption = f"{total} claim{'s' * (total != 1)}, judged at {scale} scale"
        table = make(
            "table",
            make("caption", caption),
            make("thead", make("tr", *head)),
            make("tbody", *rows),
            classes=["nc-scorecard"],
        )
        return [make("div", table, classes=["nc-table"])]

    def row(self, title: str, paper: str | None):
        ledger = self.env.app.nc_ledger
        cells = []
        for verdict, (_, css) in VERDICTS.items():
            count = ledger.count(paper, verdict)
            cells.append(make("td", str(count), classes=[css if count else "nc-zero"]))
        name = title if paper is None else self.link(paper)
        return make("tr", make("th", name, scope="row"), *cells)

    def link(self, paper: str):
        first = self.env.app.nc_ledger.of(paper)[0]["id"]
        return nodes.reference(
            "", paper, internal=True, nc_table=first, reftitle=PAPERS.get(paper, paper)
        )
