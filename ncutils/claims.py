"""Claims of the papers, judged by a rule and not by a hand.

`claims.yml` states what a paper says, which number would test it, and what counts as
agreement. A notebook records the number; the verdict is a pure function of the row and
of what was measured, so there is no place where one could be typed.
"""

import dataclasses
import datetime
import functools
import json
import math
from pathlib import Path
from typing import Literal

import tyro
import yaml

from ncutils import workspace

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
    """One row of `claims.yml`."""

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
    """What a notebook found for one claim, or why it could not."""

    scale: str
    value: float | None
    control: float | None
    spread: float | None = None
    n: int | None = None
    obstacle: str | None = None


def claims_file() -> Path:
    """The path of `claims.yml`."""
    return workspace.project_root() / "claims.yml"


def _read(path: Path) -> list:
    """The rows as they stand in the file, by the parser in C, which is seven times faster."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) or []


def load(path: Path | None = None) -> dict[str, Claim]:
    """Read and check `claims.yml`.

    Args:
        path: another file of the same form.

    Returns:
        The rows by id, in the order of the file.

    Raises:
        ValueError: on a row that lacks a field, has one too many, repeats an id,
            depends on an unknown id, or cannot be judged.
    """
    path = path or claims_file()
    stat = path.stat()
    # A page records dozens of claims, and reading the file takes longer than judging them.
    return dict(_load(path, (stat.st_mtime_ns, stat.st_size)))


@functools.lru_cache(maxsize=2)
def _load(path: Path, stamp: tuple[int, int]) -> dict[str, Claim]:  # noqa: ARG001 (tells versions apart)
    rows = _read(path)
    fields = {field.name: field for field in dataclasses.fields(Claim)}
    needed = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    claims: dict[str, Claim] = {}
    for row in rows:
        name = row.get("id", "without an id")
        if wrong := (needed - row.keys()) | (row.keys() - fields.keys()):
            raise ValueError(f"claim {name}: missing or unknown: {', '.join(sorted(wrong))}")
        if name in claims:
            raise ValueError(f"claim {name} stands twice in claims.yml")
        lists = {key: tuple(row[key]) for key in ("scales", "depends") if key in row}
        claims[name] = Claim(**{**row, **lists})
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
        raise ValueError(f"no claim {claim_id!r} in claims.yml, which has: {', '.join(known)}")
    return known[claim_id]


def _file(claim_id: str, scale: str) -> Path:
    return workspace.build_dir(scale) / "claims" / f"{claim_id}.json"


def _store(claim: Claim, found: Measurement) -> Recorded:
    path = _file(claim.id, found.scale)
    text = json.dumps(dataclasses.asdict(found), indent=1)
    workspace.write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
    return Recorded(claim.id, *judge(claim, found))


def record(claim_id: str, *, scale: str, value, control, spread=None, n=None) -> Recorded:
    """Store what was measured for a claim.

    Args:
        claim_id: an id of `claims.yml`.
        scale: the scale it was measured at.
        value: the quantity that the row names; a scalar.
        control: the same quantity for the broken variant that the row names.
        spread: its standard deviation or standard error over repeats, same unit.
        n: how many repeats.

    Returns:
        The verdict, to be shown.

    Raises:
        ValueError: for an unknown id or scale. NaN is stored and judged "fails".
    """
    found = Measurement(
        scale=workspace.check_scale(scale),
        value=_number(value),
        control=_number(control),
        spread=_number(spread),
        n=None if n is None else int(n),
    )
    return _store(_claim(claim_id), found)


def not_computable(claim_id: str, *, scale: str, why: str) -> Recorded:
    """Store that a claim cannot be measured here, and why.

    Raises:
        ValueError: for an unknown id or scale, or an empty reason.
    """
    if not why.strip():
        raise ValueError(f"claim {claim_id}: say why it cannot be computed")
    found = Measurement(workspace.check_scale(scale), None, None, obstacle=why)
    return _store(_claim(claim_id), found)


def _found(claim_id: str, scale: str) -> Measurement | None:
    path = _file(claim_id, scale)
    if not path.is_file():
        return None
    return Measurement(**json.loads(path.read_text(encoding="utf-8")))


def _finite(x: float | None) -> float | None:
    return x if x is not None and math.isfinite(x) else None  # JSON knows no NaN


def ledger(scale: str) -> dict:
    """Every row of `claims.yml` with its measurement and verdict at one scale."""
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
                "scale": scale,
                "half_tolerance": judge(claim, found, stretch=0.5)[0],
                "double_tolerance": judge(claim, found, stretch=2.0)[0],
            }
        )
    made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"scale": scale, "commit": workspace.commit(), "made": made, "rows": rows}


def write_ledger(scale: str) -> Path:
    """Write `ledger(scale)` to `_build/<scale>/ledger.json`."""
    text = json.dumps(ledger(scale), indent=1, ensure_ascii=False)
    path = workspace.build_dir(scale) / "ledger.json"
    return workspace.write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def main(scale: Literal["smoke", "quick", "paper"] = "quick") -> None:
    """Write the ledger of one scale and count its verdicts."""
    path = write_ledger(scale)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    print(f"{len(rows)} claims: " + ", ".join(f"{n} {word}" for word, n in counts.items() if n))


if __name__ == "__main__":
    tyro.cli(main)
