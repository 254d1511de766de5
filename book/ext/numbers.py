"""How the book writes numbers, times and seeds. Nothing here knows about Sphinx."""

import ast
import json
import math
import re
from datetime import datetime
from pathlib import Path

#: Every verdict: the word on a badge and the CSS class that colours it.
VERDICTS = {
    "holds": ("holds", "nc-holds"),
    "holds with deviation": ("holds with deviation", "nc-deviates"),
    "fails": ("fails", "nc-fails"),
    "not decided at this scale": ("not decided", "nc-undecided"),
    "not computable here": ("not computable", "nc-absent"),
}

RELATIONS = {"==": "=", "<=": "≤", ">=": "≥"}

#: Suffix of a ``measured`` role: the field it shows and its significant digits.
FIELDS = {
    "value": ("value", 3),
    "control": ("control_value", 3),
    "expected": ("expected", 6),
    "tolerance": ("tolerance", 6),
    "deviation": ("deviation", 6),
    "spread": ("spread", 2),
    "n": ("n", 12),
}


def read_json(path: Path) -> dict | None:
    """The object in ``path``, or None where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def slug(claim: str) -> str:
    """``P1-T41x`` as an anchor: lower case, letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", claim.lower()).strip("-")


def split_number(value, digits: int = 3) -> tuple[str, str | None]:
    """A number as (mantissa, exponent of ten or None), rounded to ``digits``.

    Whole numbers stay whole, small and large ones get a power of ten, and the
    mantissa is empty where it would be 1 (``10⁻¹⁰``, not ``1 × 10⁻¹⁰``).
    """
    if value is None:
        return "—", None
    if isinstance(value, bool):
        return ("yes" if value else "no"), None
    if not isinstance(value, int | float):
        return str(value), None
    if math.isnan(value):
        return "not a number", None
    if math.isinf(value):
        return ("∞" if value > 0 else "−∞"), None
    if float(value).is_integer() and abs(value) < 1e5:
        return f"{int(value):d}".replace("-", "−"), None
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -4 <= power < 5:
        text = f"{float(f'{value:.{digits}g}'):f}".rstrip("0").rstrip(".")
        return text.replace("-", "−"), None
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    mantissa = {"1": "", "-1": "−"}.get(mantissa, mantissa.replace("-", "−"))
    return mantissa, str(power).replace("-", "−")


def plain_number(value, digits: int = 3) -> str:
    """A number in one string, for tooltips."""
    mantissa, power = split_number(value, digits)
    if power is None:
        return mantissa
    return f"{mantissa}e{power}" if mantissa.strip("−") else f"{mantissa}1e{power}"


def duration(seconds: float | str | None) -> str | None:
    """``0.4 s``, ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds is None:
        return None
    seconds = float(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def seed_words(seeds) -> str | None:
    """``seed 0``, ``seeds 0–9`` or ``seeds 1, 4, 7``; netCDF gives a list as its text."""
    if isinstance(seeds, str):
        seeds = None if seeds in ("", "none") else ast.literal_eval(seeds)
    if seeds is None:
        return None
    values = sorted(set(seeds)) if isinstance(seeds, list | tuple) else [seeds]
    if len(values) < 2:
        return f"seed {values[0]}" if values else None
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        return f"seeds {values[0]}–{values[-1]}"
    return "seeds " + ", ".join(map(str, values))


def day(stamp: str | None) -> str | None:
    """The day of an ISO time stamp, written out; the text itself where it is none."""
    if not stamp:
        return None
    try:
        when = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    except ValueError:
        return stamp
    return f"{when.day} {when:%B %Y}"


def provenance(record: dict, *, verb: str) -> list[str]:
    """The parts of a provenance line: scale and device, commit, time, seeds."""
    device = f" on {record['device']}" if record.get("device") else ""
    parts = [f"{verb} at {record.get('scale', 'unknown')} scale{device}"]
    if record.get("seconds") is not None:
        parts.append(duration(record["seconds"]))
    memory = record.get("peak_memory_mb")
    if memory is not None:
        parts.append(f"peak memory {memory:.0f} MiB")
    parts.append(seed_words(record.get("seeds")))
    parts.append(f"commit {record.get('commit') or 'unknown'}")
    parts.append(day(record.get("date") or record.get("made")))
    version = (record.get("versions") or {}).get("jax")
    parts.append(f"jax {version}" if version else None)
    return [part for part in parts if part]


def distance(row: dict) -> float | None:
    """How far a measured value is inside its tolerance; negative outside, None unmeasured."""
    value, expected, tolerance = (row.get(key) for key in ("value", "expected", "tolerance"))
    if value is None:
        return None
    if row["relation"] == "==":
        return tolerance - abs(value - expected)
    side = 1 if row["relation"] == "<=" else -1
    return side * (expected - value) + tolerance
