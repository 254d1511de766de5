"""Claims of the papers, judged by a rule and not by a hand.

`claims/KEY.yml` states what a paper says, which number would test it, and what counts as
agreement. A page measures the number; the verdict is a pure function of the row and
of what was measured, so there is no place where one could be typed.
"""

import argparse
import dataclasses
import datetime
import functools
import json
import math
from pathlib import Path

from ncutils._files import write_atomically
from ncutils.records import papers, workspace

VERDICTS = (
    "holds",
    "holds with deviation",
    "fails",
    "not decided at this scale",
    "not computable here",
)
KINDS = ("identity", "inequality", "trend", "audit")
RELATIONS = ("==", "<=", ">=")


@dataclasses.dataclass(frozen=True)
class Claim:
    """One row of a paper's file.

    Attributes:
        id, number, statement: its name, the paper's own number, and what is said.
        paper: BibTeX key of the paper. page: "KEY/PAGE", the page that measures it.
        kind: one of `KINDS`. quantity: the scalar that is measured.
        relation, expected, tolerance: the test. deviation: a wider tolerance.
        scales: those at which it is decidable.
        control: a broken variant, whose value must fail the same test.
        depends: claims whose statement, or number, this one uses.
    """

    id: str
    paper: str
    number: str
    page: str
    statement: str
    kind: str
    quantity: str
    relation: str
    expected: float
    tolerance: float
    scales: tuple[str, ...]
    control: str
    deviation: float | None = None
    depends: tuple[str, ...] = ()

    def __post_init__(self):
        """Refuse a row that could not be judged.

        Raises:
            ValueError: naming the row and the field.
        """
        for name, value, known in (
            ("kind", self.kind, KINDS),
            ("relation", self.relation, RELATIONS),
            *(("scales", scale, workspace.SCALES) for scale in self.scales),
        ):
            if value not in known:
                raise ValueError(f"claim {self.id}: {name} {value!r} is none of {', '.join(known)}")
        numbers = (self.expected, self.tolerance, 0.0 if self.deviation is None else self.deviation)
        if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
            raise ValueError(
                f"claim {self.id}: expected, tolerance and deviation are finite numbers"
            )
        if self.tolerance < 0 or (self.deviation is not None and self.deviation <= self.tolerance):
            raise ValueError(f"claim {self.id}: needs 0 ≤ tolerance < deviation")
        if not self.scales:
            raise ValueError(f"claim {self.id}: decidable at no scale")


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What a page found for one claim, from which results, or why it could not."""

    scale: str
    value: float | None
    control: float | None
    spread: float | None = None
    n: int | None = None
    obstacle: str | None = None
    of: tuple[str, ...] = ()


def load(folder: Path | None = None) -> dict[str, Claim]:
    """Read and check the claims of all papers.

    Args:
        folder: another folder than `claims/`, with files of the same form.

    Returns:
        The rows by id, in the order of the papers in the book and of each file.

    Raises:
        ValueError: on a row that lacks a field, has one too many, repeats an id,
            depends on an unknown id, or cannot be judged.

    Example:
        >>> from ncutils.records import claims
        >>> claims.load()["P1-T41"].number
        'Theorem 4.1'
    """
    files = papers.files() if folder is None else sorted(folder.glob("*.yml"))
    stamps = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return dict(_load(stamps))


@functools.lru_cache(maxsize=2)
def _load(stamps: tuple[tuple[Path, int, int], ...]) -> dict[str, Claim]:
    fields = {field.name: field for field in dataclasses.fields(Claim)}
    needed = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    needed -= {"paper"}  # told by the file
    claims: dict[str, Claim] = {}
    for path, *_ in stamps:
        for row in papers.read(path).get("claims") or []:
            name = row.get("id", "without an id")
            known = fields.keys() - {"paper"}
            if wrong := (needed - row.keys()) | (row.keys() - known):
                raise ValueError(f"claim {name}: missing or unknown: {', '.join(sorted(wrong))}")
            if name in claims:
                raise ValueError(f"claim {name} stands twice in claims/")
            lists = {key: tuple(row[key]) for key in ("scales", "depends") if key in row}
            place = {"paper": path.stem, "page": f"{path.stem}/{row['page']}"}
            claims[name] = Claim(**{**row, **lists, **place})
    for claim in claims.values():
        if unknown := [other for other in claim.depends if other not in claims]:
            raise ValueError(f"claim {claim.id} depends on unknown {', '.join(unknown)}")
    return claims


def _inside(claim: Claim, value: float, tolerance: float) -> bool:
    """Whether a value satisfies the relation within a tolerance; NaN never does."""
    if claim.relation == "==":
        return abs(value - claim.expected) <= tolerance
    if claim.relation == "<=":
        return value <= claim.expected + tolerance
    return value >= claim.expected - tolerance


def judge(claim: Claim, found: Measurement | None, *, stretch: float = 1.0) -> tuple[str, str]:
    """The verdict on a claim, and the reason in words.

    In this order: nothing measured, or a scale at which the claim is not decidable →
    "not decided at this scale"; an obstacle → "not computable here"; a value or a
    control that is not a finite number, a value outside the tolerance (and the wider
    `deviation`, where the row has one), or a control that passes the test it should
    fail → "fails"; a value inside only the wider tolerance, or whose spread reaches
    out of the tolerance → "holds with deviation"; else "holds".

    Args:
        claim: the row.
        found: the measurement, or None.
        stretch: factor on both tolerances, to see how much hangs on them.

    Returns:
        One of `VERDICTS`, and the reason.
    """
    tolerance = claim.tolerance * stretch
    wider = tolerance if claim.deviation is None else claim.deviation * stretch
    if found is None:
        return "not decided at this scale", "nothing was measured"
    if found.obstacle:
        return "not computable here", found.obstacle
    if found.scale not in claim.scales:
        return "not decided at this scale", f"decidable at {', '.join(claim.scales)}"
    value, control = found.value, found.control
    if value is None or not math.isfinite(value):
        return "fails", "the measured value is not a number"
    if control is None or not math.isfinite(control):
        return "fails", "the control is not a number, so nothing shows that the test can fail"
    if _inside(claim, control, wider):
        return "fails", "the control passes as well, so the test tells nothing"
    if not _inside(claim, value, wider):
        return "fails", "outside the tolerance"
    if not _inside(claim, value, tolerance):
        return "holds with deviation", "inside the wider tolerance only"
    spread = found.spread or 0.0
    if not all(_inside(claim, value + side * spread, tolerance) for side in (-1, 1)):
        return "holds with deviation", "the spread reaches out of the tolerance"
    return "holds", "inside the tolerance, and the control is outside"


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What `record` returns: shows itself as one line in a notebook."""

    id: str
    verdict: str
    reason: str

    def __repr__(self) -> str:
        """One line without measured digits, so that it reads the same on any machine."""
        return f"{self.id}: {self.verdict} ({self.reason})"


def _number(x) -> float | None:
    return None if x is None else float(x)


def _claim(claim_id: str) -> Claim:
    known = load()
    if claim_id not in known:
        files = ", ".join(f"claims/{path.name}" for path in papers.files())
        raise ValueError(
            f"no claim {claim_id!r}: write its row in the file of its paper ({files}), or in a "
            "new one with the paper's key as its name"
        )
    return known[claim_id]


def _file(claim_id: str, scale: str) -> Path:
    return workspace.build_dir(scale) / "claims" / f"{claim_id}.json"


def _cases(of) -> tuple[str, ...]:
    """The names of the cases that made these results."""
    many = of if isinstance(of, list | tuple) else [of]
    for one in many:
        if not hasattr(one, "attrs") or "case" not in one.attrs:
            raise ValueError(f"`of` is a result as results.load returns it, not {type(one)}")
    return tuple(dict.fromkeys(str(one.attrs["case"]) for one in many))


@dataclasses.dataclass(frozen=True)
class Judge:
    """Measures claims at one scale; a page has one, made by `at`."""

    scale: str

    def __call__(
        self, claim_id: str, *, value, control, of=(), over=None, spread=None, n=None
    ) -> Recorded:
        """Store what was measured for a claim, and judge it.

        Args:
            claim_id: an id of a paper's file.
            value: the quantity that the row names: a scalar, or an array over repeats.
            control: the same quantity for the broken variant that the row names.
            of: the result, or results, that the number rests on; none where the page itself
                computed it from nothing else.
            over: name of the dimension of the repeats. An array that has it is averaged over
                it, and its standard error is the spread; n is the number of repeats, of the
                value or else of the (first) result.
            spread: its standard deviation or standard error over repeats, same unit, where
                it does not follow from the value.
            n: how many repeats, where it does not follow from the result.

        Returns:
            The verdict, to be shown.

        Raises:
            ValueError: for an unknown id, a dimension that neither the value nor the result
                has, or an array that is no scalar. NaN is stored and judged "fails".
        """
        cases = _cases(of)
        if over is not None:
            value, control, spread, n = _over(over, value, control, spread, n, of)
        for name, number in (("value", value), ("control", control), ("spread", spread)):
            if (shape := getattr(number, "shape", ())) and getattr(number, "size", 1) != 1:
                raise ValueError(f"claim {claim_id}: {name} has shape {shape}, not one number")
        found = Measurement(
            scale=self.scale,
            value=_number(value),
            control=_number(control),
            spread=_number(spread),
            n=None if n is None else int(n),
            of=cases,
        )
        return self._store(_claim(claim_id), found)

    def not_computable(self, claim_id: str, *, why: str, of=()) -> Recorded:
        """Store that a claim cannot be measured here, and why.

        Raises:
            ValueError: for an unknown id, or an empty reason.
        """
        if not why.strip():
            raise ValueError(f"claim {claim_id}: say why it cannot be computed")
        found = Measurement(self.scale, None, None, obstacle=why, of=_cases(of))
        return self._store(_claim(claim_id), found)

    def _store(self, claim: Claim, found: Measurement) -> Recorded:
        text = json.dumps(dataclasses.asdict(found), indent=1)
        path = _file(claim.id, self.scale)
        write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
        return Recorded(claim.id, *judge(claim, found))


def record(claim_id: str, *, scale: str, **measured) -> Recorded:
    """`at(scale)(claim_id, …)`."""
    return at(scale)(claim_id, **measured)


def not_computable(claim_id: str, *, scale: str, why: str) -> Recorded:
    """`at(scale).not_computable(claim_id, why=why)`."""
    return at(scale).not_computable(claim_id, why=why)


def _over(over: str, value, control, spread, n, of):
    """Means over the repeats, with standard error and number, where they follow."""
    if over in getattr(value, "dims", ()):
        n = int(value.count(over).min())  # a repeat that is masked does not count
        if spread is None and n > 1:
            spread = value.std(over, ddof=1) / n**0.5
        value = value.mean(over)
    elif n is None:
        first = next(iter(of), None) if isinstance(of, list | tuple) else of
        if first is None or over not in getattr(first, "sizes", ()):
            raise ValueError(f"neither the value nor the result has the dimension {over!r}")
        n = first.sizes[over]
    if over in getattr(control, "dims", ()):
        control = control.mean(over)
    return value, control, spread, n


def at(scale: str) -> Judge:
    """What measures claims at this scale: `judge = claims.at(SCALE)`.

    Raises:
        ValueError: for an unknown scale.
    """
    return Judge(workspace.check_scale(scale))


def _found(claim_id: str, scale: str) -> Measurement | None:
    path = _file(claim_id, scale)
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return Measurement(**{**found, "of": tuple(found.get("of", ()))})


def _finite(x: float | None) -> float | None:
    return x if x is not None and math.isfinite(x) else None  # JSON knows no NaN


def ledger(scale: str) -> dict:
    """Every row of every paper with its measurement and verdict at one scale."""
    rows = []
    for claim in load().values():
        found = _found(claim.id, scale)
        verdict, reason = judge(claim, found)
        rows.append(
            {
                **dataclasses.asdict(claim),
                "verdict": verdict,
                "reason": reason,
                "value": _finite(found.value) if found else None,
                "control_value": _finite(found.control) if found else None,
                "spread": _finite(found.spread) if found else None,
                "n": found.n if found else None,
                "of": list(found.of) if found else [],
                "scale": scale,
                "half_tolerance": judge(claim, found, stretch=0.5)[0],
                "double_tolerance": judge(claim, found, stretch=2.0)[0],
            }
        )
    made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    known = {key: dataclasses.asdict(paper) for key, paper in papers.load().items()}
    head = {"scale": scale, "commit": workspace.commit(), "made": made}
    return {**head, "papers": known, "rows": rows}


def write_ledger(scale: str) -> Path:
    """Write `ledger(scale)` to `_build/<scale>/ledger.json`."""
    text = json.dumps(ledger(scale), indent=1, ensure_ascii=False)
    path = workspace.build_dir(scale) / "ledger.json"
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def main() -> None:
    """Write the ledger of one scale and count its verdicts."""
    parser = argparse.ArgumentParser(prog="python -m ncutils.records.claims", description=__doc__)
    parser.add_argument("--scale", choices=workspace.SCALES, default="quick")
    path = write_ledger(parser.parse_args().scale)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    print(f"{len(rows)} claims: " + ", ".join(f"{n} {word}" for word, n in counts.items() if n))


if __name__ == "__main__":
    main()
