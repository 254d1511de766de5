"""The papers' own lists, and what of them is recomputed, read off the ledger."""

import pytest
import yaml

from ncutils.records import claims, coverage, papers

ITEMS = coverage.load()
KEYS = ("kothapalli2025", "seleznova2023", "beaglehole2024")
ROWS = [vars(claim) for claim in claims.load().values()]


def item(number="Fig. 2", **changes):
    return coverage.Item(KEYS[0], number, "what it is", **changes)


def row(name, verdict, number="Fig. 2", reason="because"):
    return {"id": name, "paper": KEYS[0], "number": number, "verdict": verdict, "reason": reason}


def judged(one, *rows):
    return coverage.judge(one, {"scale": "quick", "rows": rows})


@pytest.mark.parametrize(("paper", "last"), list(zip(KEYS, (13, 20, 12), strict=True)))
def test_every_figure_of_the_papers_is_in_the_list(paper, last):
    figures = [one.number for one in ITEMS if one.paper == paper and one.is_figure]
    assert figures == [f"Fig. {k}" for k in range(1, last + 1)]


def test_a_list_without_a_figure_is_refused(tmp_path):
    content = papers.read(papers.claims_folder() / "seleznova2023.yml")
    rows = content["coverage"]
    path = tmp_path / "seleznova2023.yml"

    def written(rows):
        text = yaml.safe_dump({**content, "coverage": rows}, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        return tmp_path

    assert len(coverage.load(written(rows))) == len(rows)
    kept = [one for one in rows if one["number"] != "Fig. 14"]
    with pytest.raises(ValueError, match=r"seleznova2023 has 20 figures; not in its list: \[14\]"):
        coverage.load(written(kept))
    with pytest.raises(ValueError, match="twice in the list"):
        coverage.load(written([*rows, rows[0]]))
    with pytest.raises(ValueError, match="unknown: \\['state'\\]"):
        coverage.load(written([{**rows[0], "state": "done"}]))


def test_every_claim_that_the_list_names_exists():
    assert coverage.unknown(ITEMS, ROWS) == []
    assert coverage.unknown([item(claims=("P1-NONE",))], ROWS) == ["P1-NONE"]


def test_an_item_without_a_claim_says_why():
    silent = [one for one in ITEMS if not coverage.claims_of(one, ROWS) and not one.missing]
    assert not silent, f"give `missing` to {[(one.paper, one.number) for one in silent]}"


def test_every_claim_about_a_paper_belongs_to_an_item():
    lost = coverage.unlisted(ITEMS, ROWS)
    numbers = {one["id"]: one["number"] for one in ROWS}
    assert not lost, "add to the `claims` of an item of `coverage:` of its paper: " + ", ".join(
        f"{name} ({numbers[name]})" for name in lost
    )
    assert coverage.unlisted([item("Fig. 3")], [row("A", "holds")]) == ["A"]


@pytest.mark.parametrize("number", ["Fig. 2", "Fig. 2 (B)", "Fig. 2, pane c", "Fig. 2 f–h"])
def test_a_number_with_panes_names_its_figure(number):
    assert coverage.carries(number, "Fig. 2")


@pytest.mark.parametrize("number", ["Fig. 20", "Figs 2–11, pane b", "Fig. 2–11", "Figure 2"])
def test_a_number_of_another_or_of_many_names_none(number):
    assert not coverage.carries(number, "Fig. 2")


def test_the_state_follows_from_the_ledger():
    waits = row("B", "not decided at this scale", reason="decidable at paper")
    assert judged(item(), row("A", "holds")).state == "done"
    assert judged(item(), row("A", "fails")).state == "done", "a judged failure is a result"
    found = judged(item(), row("A", "holds"), waits)
    assert (found.state, found.reason) == ("in part", "B: decidable at paper.")
    assert judged(item(missing="One pane."), row("A", "holds")).state == "in part"
    assert judged(item(missing="One pane."), waits).state == "not done"
    assert judged(item(missing="Not run.")).state == "not done"
    assert judged(item(claims=("Z",))).reason == "Z: not in this ledger."


def test_the_count_is_that_of_the_states():
    states = [
        judged(item(), row("A", "holds")),
        judged(item("Lemma 1", missing="No statement.")),
        judged(item(missing="One pane."), row("A", "holds")),
    ]
    assert coverage.count(states) == {"done": 1, "in part": 1, "not done": 1}
    assert coverage.count(states, figures=True) == {"done": 1, "in part": 1, "not done": 0}
    assert coverage.count(states, paper=KEYS[1]) == {"done": 0, "in part": 0, "not done": 0}
    assert "Of the 3 figures" in coverage.sentence(states)
