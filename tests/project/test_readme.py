"""The README says what is: its scorecard is the archived one, its commands exist."""

import json
import re
from pathlib import Path

import pytest

from ncutils.records import coverage, papers
from pipeline import scorecard

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


PAPERS = {"kothapalli2025": "P1", "beaglehole2024": "P3"}
ONE, OTHER = PAPERS


def ledger(*rows):
    rows = [
        {"id": f"X{place}", "paper": paper, "number": "ours", "verdict": verdict}
        for place, (paper, verdict) in enumerate(rows)
    ]
    head = {"scale": "quick", "commit": "0123abc", "made": "2026-01-02T03:04:05"}
    known = {key: {"tag": tag, "short": f"of {tag}"} for key, tag in PAPERS.items()}
    return {**head, "papers": known, "rows": rows}


def test_the_scorecard_is_the_archived_ledger():
    archived = json.loads(scorecard.archive_path().read_text())
    assert scorecard.replaced(README, archived) == README


def test_an_edited_scorecard_is_noticed():
    archived = json.loads(scorecard.archive_path().read_text())
    edited = README.replace(scorecard.END, f"All is well.\n{scorecard.END}")
    assert scorecard.replaced(edited, archived) != edited


def test_the_scorecard_counts_verdicts_by_paper():
    rows = [(ONE, "holds"), (OTHER, "fails"), (ONE, "holds"), (ONE, "fails")]
    lines = scorecard.block(ledger(*rows)).splitlines()
    assert lines[1:5] == [
        "| paper | claims | holds | fails |",
        "|---|---|---|---|",
        "| P1: of P1 | 3 | 2 | 1 |",
        "| P3: of P3 | 1 | 0 | 1 |",
    ]
    assert "Scale quick, commit 0123abc, 2026-01-02." in lines


def test_the_scorecard_counts_what_is_covered():
    row = {"id": "X", "paper": OTHER, "number": "Proposition A.1", "verdict": "holds", "reason": ""}
    text = scorecard.block({**ledger(), "rows": [row]})
    everything = f"Of the {len(coverage.load())} figures and numbered statements"
    assert everything in text
    assert " 1 are recomputed and judged at this scale and 0 in part" in text
    assert " 0 are recomputed" in scorecard.block(ledger()), "and none without a claim"


def test_a_readme_without_the_block_is_refused():
    with pytest.raises(ValueError, match="no block between"):
        scorecard.replaced("# Nothing\n", ledger())


def test_every_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z]+)", README))
    assert {"book", "test"} <= named <= targets


def test_every_file_that_the_readme_names_exists():
    paths = re.findall(r"`((?:ncutils|book|claims|tests|notebooks|results)/[\w./-]*|[\w.]+\.yml)`", README)
    assert len(paths) > 4
    for path in paths:
        for key in papers.load():  # a drawer is there for each of them
            assert (ROOT / path.replace("KEY", key)).exists(), path
