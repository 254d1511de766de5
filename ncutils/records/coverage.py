"""How much of the papers is recomputed: their own lists of figures and statements, judged.

The list `coverage` of `claims/KEY.yml` has one item for each figure and each numbered
statement. Which claims belong to an item is told by the claims' own `number`, or listed;
whether it is done, and at which scale, follows from the ledger, so there is no place where it
could be typed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ncutils.records import papers

DONE, PART, NOT_DONE = STATES = ("done", "in part", "not done")
JUDGED = ("holds", "holds with deviation", "fails")


@dataclass(frozen=True)
class Item:
    """A figure or a statement of a paper.

    Attributes:
        paper: BibTeX key of the paper.
        number: the paper's own, "Fig. 2" or "Theorem 4.1".
        what: its content, in our words.
        claims: ids of claims that cover it besides those that carry its number.
        missing: what is not recomputed and why; the reason, where nothing is.
    """

    paper: str
    number: str
    what: str
    claims: tuple[str, ...] = ()
    missing: str = ""

    @property
    def is_figure(self) -> bool:
        """Whether it is one of the figures."""
        return self.number.startswith("Fig.")


@dataclass(frozen=True)
class State:
    """What a ledger says about an item.

    Attributes:
        item: the item.
        state: one of `STATES`.
        scale: the scale of the ledger.
        claims: ids of the claims that cover it.
        reason: what is missing, in words; empty if nothing is.
    """

    item: Item
    state: str
    scale: str
    claims: tuple[str, ...]
    reason: str


def load(folder: Path | None = None) -> tuple[Item, ...]:
    """Read and check the lists of all papers.

    Args:
        folder: another folder than `claims/`, with files of the same form.

    Returns:
        The items, paper by paper, in the order of each file.

    Raises:
        ValueError: on an unknown or missing field, an item that stands twice, or a paper
            whose figures are not all there.

    Example:
        >>> from ncutils.records import coverage
        >>> sum(item.is_figure for item in coverage.load() if item.paper == "kothapalli2025")
        13
    """
    items = []
    for path in papers.files() if folder is None else sorted(folder.glob("*.yml")):
        content = papers.read(path)
        for row in content.get("coverage") or []:
            wrong = row.keys() - (Item.__dataclass_fields__.keys() - {"paper"})
            if wrong or not all(row.get(name) for name in ("number", "what")):
                raise ValueError(f"item {row}: needs number, what; unknown: {sorted(wrong)}")
            claims = tuple(row.get("claims", ()))
            items.append(Item(**{**row, "paper": path.stem, "claims": claims}))
        numbers = [item.number for item in items if item.paper == path.stem]
        if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
            raise ValueError(f"twice in the list of coverage of {path.stem}: {twice}")
        count = content["paper"]["figures"]
        if absent := [k for k in range(1, count + 1) if f"Fig. {k}" not in numbers]:
            raise ValueError(f"{path.stem} has {count} figures; not in its list: {absent}")
    return tuple(items)


def carries(claim_number: str, item_number: str) -> bool:
    """Whether a claim's number names the item: "Fig. 2 (B)" names "Fig. 2", not "Fig. 20"."""
    return re.match(re.escape(item_number) + r"(?![\w.]|–)", claim_number) is not None


def claims_of(item: Item, rows: Iterable[Mapping]) -> tuple[str, ...]:
    """The ids of the claims that cover an item: by number, then those listed."""
    found = [
        row["id"]
        for row in rows
        if row["paper"] == item.paper and carries(row["number"], item.number)
    ]
    return tuple(dict.fromkeys([*found, *item.claims]))


def unlisted(items: Sequence[Item], rows: Sequence[Mapping]) -> list[str]:
    """The ids of claims with a number of a paper that belong to no item."""
    covered = {claim for item in items for claim in claims_of(item, rows)}
    theirs = [row for row in rows if row["number"] not in ("ours", "released code")]
    return [row["id"] for row in theirs if row["id"] not in covered]


def unknown(items: Iterable[Item], rows: Iterable[Mapping]) -> list[str]:
    """The ids that the list names and that are no claim."""
    known = {row["id"] for row in rows}
    return [name for item in items for name in item.claims if name not in known]


def judge(item: Item, ledger: Mapping) -> State:
    """What a ledger says about an item.

    Done: every claim is judged, whatever the verdict, and nothing is said to be missing.
    In part: some are, or something is missing. Not done: none is.

    Args:
        item: the item.
        ledger: as `claims.ledger` returns it.

    Returns:
        Its state, with the reason where it is not done.

    """
    rows = {row["id"]: row for row in ledger["rows"]}
    ids = claims_of(item, ledger["rows"])
    waiting = {
        name: rows[name]["reason"] if name in rows else "not in this ledger"
        for name in ids
        if name not in rows or rows[name]["verdict"] not in JUDGED
    }
    reasons = [item.missing] if item.missing else []
    for why in dict.fromkeys(waiting.values()):
        names = ", ".join(name for name, reason in waiting.items() if reason == why)
        reasons.append(f"{names}: {why}.")
    some = PART if reasons else DONE
    state = NOT_DONE if len(waiting) == len(ids) else some
    return State(item, state, ledger["scale"], ids, " ".join(reasons))


def judge_all(items: Iterable[Item], ledger: Mapping) -> tuple[State, ...]:
    """The state of every item, as `judge` finds it."""
    return tuple(judge(item, ledger) for item in items)


def count(states: Iterable[State], *, paper: str | None = None, figures: bool | None = None):
    """How many items are in each state.

    Args:
        states: as `judge_all` returns them.
        paper: of one paper only.
        figures: figures only, or statements only.

    Returns:
        A dict from each of `STATES` to a number.
    """
    chosen = [
        state.state
        for state in states
        if paper in (None, state.item.paper) and figures in (None, state.item.is_figure)
    ]
    return {name: chosen.count(name) for name in STATES}


def sentence(states: Sequence[State]) -> str:
    """The count in words, as the README has it."""
    found = count(states)
    return (
        f"Of the {len(states)} figures and numbered statements of the papers, "
        f"{found[DONE]} are recomputed and judged at this scale and {found[PART]} in part; "
        "the coverage page of the book lists all and says why the others are missing."
    )
