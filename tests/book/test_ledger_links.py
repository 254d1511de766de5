"""The ledger's links to the pages and back, and the graph of the claims, on a toy book."""

import json
import re
from itertools import pairwise

import pytest

from book.ext import chapter, graph, ledger, numbers
from ncutils.records import claims
from tests.book import tree
from tests.book.tree import ROOT, ROWS, build, code, html, read, row, squeeze

CHAPTER = """# A chapter

## Exactly

{claim}`P1-A` says something.

:::{prf:theorem} Any sizes
:label: thm-any

As stated. {claim}`P1-A` {claim}`P1-D`
:::

:::{nc-figure} fig-one
:claims: P1-A, P1-B

What to see.
:::
"""

CELLS = (
    "from ncutils.records import claims, results\n"
    'judge = claims.at(SCALE)\nends = results.load("one2020/flow/end", scale=SCALE)',
    'error = abs(ends.x).max()\njudge("P1-A", of=ends, value=error, control=1)',
    'for name in ("P1-B", "P1-D"):\n    judge(name, value=2, control=1)',
    'print("P1-C is not here")',
)

LEDGER = """# All claims

```{sensitivity}
```

```{ledger}
```

```{claim-graph}
```
"""

CASES = ["one2020/flow/end", "one2020/flow/lost"]
LINKED = [
    {**ROWS[0], "of": CASES},
    *ROWS[1:3],
    row("P1-D", "holds", value=-3e-11, half_tolerance="holds with deviation", depends=["P1-B"]),
    row("P1-E", "holds", value=0.0, tolerance=0.0, depends=["P1-A"]),
    row("P2-A", "holds with deviation", page="two2021/elsewhere"),
]


def write_linked(folder, rows=LINKED):
    """The toy book with a box, cells that judge claims, a result file and a graph."""
    cells = [code(cell, "hide-input") for cell in CELLS]
    tree.write_tree(folder, rows=rows, chapter=CHAPTER, cells=cells)
    tree.write(folder, {"ledger.md": LEDGER, "results/one2020/flow/end.nc": "numbers"})
    return folder


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    folder = write_linked(tmp_path_factory.mktemp("linked") / "source")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


def links(linked, claim: str) -> dict[str, str]:
    line = read(linked, "ledger.html").find(id=f"claim-{claim}").th
    return {squeeze(a): a["href"] for a in line.select("a")}


def test_a_row_leads_to_the_box_that_states_it_and_names_it(linked):
    found = links(linked, "p1-a")
    assert found["A chapter, theorem “Any sizes”"] == "notebooks/one2020/chapter.html#thm-any"
    box = read(linked, "notebooks/one2020/chapter.html").find(id="thm-any")
    assert "proof" in box["class"]
    assert "P1-A" in squeeze(box)
    # One that is only in a caption leads to the figure, one that is nowhere to the page.
    assert links(linked, "p1-b")["A chapter"] == "notebooks/one2020/chapter.html#fig-one"
    assert links(linked, "p1-c") == {"A chapter": "notebooks/one2020/chapter.html"}
    assert links(linked, "p2-a") == {}


def test_a_row_leads_to_the_figures_that_show_it_and_to_their_arrays(linked):
    for claim in ("p1-a", "p1-b"):
        assert links(linked, claim)["Fig. 1"] == "notebooks/one2020/chapter.html#fig-one"
        assert (html(linked) / links(linked, claim)["arrays"]).read_text() == "<svg/>"
    assert "Fig. 1" not in links(linked, "p1-d")


def test_a_row_leads_to_the_cell_that_records_it_and_the_cell_back(linked):
    page = read(linked, "notebooks/one2020/chapter.html")
    for claim in ("p1-a", "p1-b", "p1-d"):
        assert (
            links(linked, claim)["this cell"] == f"notebooks/one2020/chapter.html#records-{claim}"
        )
        place = page.find(id=f"records-{claim}")
        cell = place if "cell" in place.get("class", ()) else place.parent
        assert "judge(" in cell.select_one(".cell_input").get_text()
        back = [a["href"] for a in cell.find_next_sibling(class_="nc-recorded").select("a")]
        assert f"../../ledger.html#claim-{claim}" in back
    assert "this cell" not in links(linked, "p1-c")


def test_a_row_leads_to_the_results_that_it_rests_on_and_to_no_others(linked):
    assert (html(linked) / links(linked, "p1-a")["one2020/flow/end"]).read_text() == "numbers"
    words = squeeze(read(linked, "ledger.html").find(id="claim-p1-a").th)
    assert "Recorded by this cell , from one2020/flow/end , one2020/flow/lost" in words
    assert "one2020/flow/lost" not in links(linked, "p1-a"), "the book has no such file"
    assert "one2020/flow/end" not in links(linked, "p1-d")
    assert "computed on the page" in squeeze(read(linked, "ledger.html").find(id="claim-p1-d"))
    assert "computed" not in squeeze(read(linked, "ledger.html").find(id="claim-p1-c"))


def test_rows_name_what_they_rest_on_and_what_they_carry(linked):
    page = read(linked, "ledger.html")
    assert squeeze(page.find(id="claim-p1-b").th).endswith("Rests on P1-A · Carries P1-D")
    assert squeeze(page.find(id="claim-p1-a").th).endswith("Carries P1-B , P1-E")
    assert links(linked, "p1-b")["P1-D"] == "#claim-p1-d"


def test_the_ledger_counts_the_verdicts_that_hang_on_the_tolerance(linked):
    line = read(linked, "ledger.html").select_one(".nc-sensitivity")
    assert squeeze(line) == (
        "Measured: 5 claims. At half the tolerance 1 verdict changes, from holds to holds with"
        " deviation P1-D . At double the tolerance 1 verdict changes, from fails to holds P1-B ."
        " In 1 rows the tolerance is zero, so that neither can change."
    )
    assert [a["href"] for a in line.select("a")] == ["#claim-p1-d", "#claim-p1-b"]


@pytest.mark.parametrize(
    ("relation", "value", "away"),
    [
        ("==", 0.75, 0.25),
        ("==", 2.5, -0.5),
        ("<=", 1.25, 0.75),
        ("<=", 2.5, -0.5),
        (">=", 0.25, 0.25),
        (">=", -0.5, -0.5),
        (">=", None, None),
    ],
)
def test_the_distance_to_the_threshold_is_positive_inside(relation, value, away):
    one = {"value": value, "relation": relation, "expected": 1.0, "tolerance": 1.0}
    if relation == "==":
        one["tolerance"] = 0.5 if value == 0.75 else 1.0
    assert numbers.distance(one) == away


def test_a_row_says_how_far_from_the_threshold_it_is(linked):
    page = read(linked, "ledger.html")
    assert "7 × 10 −11 within the threshold" in squeeze(page.find(id="claim-p1-d"))
    assert "1.5 beyond the threshold" in squeeze(page.find(id="claim-p1-b"))
    assert "threshold" not in squeeze(page.find(id="claim-p1-c"))


def test_the_graph_has_every_claim_with_an_edge_and_no_other(linked):
    picture = read(linked, "ledger.html").select_one(".nc-graph svg")
    frames = {squeeze(a.find("text")): a for a in picture.select("a")}
    assert set(frames) == {"A", "B", "D", "E"}
    assert frames["B"]["href"] == "#claim-p1-b"
    assert frames["B"]["class"] == ["nc-fails"]
    assert frames["B"]["aria-label"] == "P1-B, fails: Traces agree, a = b."
    arrows = picture.select(".nc-edges > path")
    assert len(arrows) == 3
    assert sum("nc-shaky" in arrow.get("class", ()) for arrow in arrows) == 1


def test_an_arrow_leads_from_the_ground_to_the_claim_that_rests_on_it(linked):
    picture = read(linked, "ledger.html").select_one(".nc-graph svg")
    x = {
        squeeze(a.find("text")): float(re.search(r"translate\(([\d.]+)", a["transform"])[1])
        for a in picture.select("a")
    }
    assert x["A"] < x["B"] < x["D"]
    assert x["A"] < x["E"] == x["B"]


def test_the_graph_is_told_in_words_too(linked):
    words = [squeeze(line) for line in read(linked, "ledger.html").select(".nc-rests li")]
    assert words == [
        "P1-B fails rests on P1-A holds",
        "P1-D holds rests on P1-B fails",
        "P1-E holds rests on P1-A holds",
    ]


def test_claims_that_rest_on_each_other_in_a_circle_stop_the_build(tmp_path):
    rows = [row("P1-A", "holds", depends=["P1-D"]), *LINKED[1:]]
    done = build(write_linked(tmp_path / "source", rows=rows))
    assert done.returncode == 1
    assert "claims rest on each other in a circle: " in done.stderr
    assert "P1-B rests on P1-A" in done.stderr


def test_an_unknown_ground_is_refused():
    rows = {"P1-A": row("P1-A", "holds", depends=["P1-Z"])}
    with pytest.raises(ValueError, match="P1-A rests on unknown P1-Z"):
        graph.edges_of(rows)


def test_claims_of_one_layer_do_not_lie_on_each_other():
    edges = [("a", f"b{k}") for k in range(5)] + [("b0", "c"), ("b4", "c"), ("a", "c")]
    places, courses = graph.placed(edges)
    spots = set(places.values())
    assert len(spots) == len(places) == 7
    column = sorted(height for layer, height in places.values() if layer == 1)
    assert all(below - above >= 1 for above, below in pairwise(column))
    assert places["c"][0] == 2
    assert len(courses[-1]) == 3, "the edge over two layers has a place between"
    assert tuple(courses[-1][1]) not in spots


def test_the_icons_of_the_graph_are_those_of_the_badges():
    style = (ROOT / "book" / "assets" / "nc.css").read_text(encoding="utf-8")
    icons = graph.ICONS
    assert set(icons) == {css for _, css in numbers.VERDICTS.values()}
    for css, (path, filled) in icons.items():
        assert filled or re.search(rf"^\.{css} {{.*{re.escape(path)}", style, re.M), css
    assert "M9 9l8 8" not in style


def test_the_real_claims_make_pictures_small_enough_to_read():
    rows = {name: vars(claim) for name, claim in claims.load().items()}
    papers = {row["paper"] for row in rows.values()}
    assert len(papers) > 2
    for paper in papers:
        edges = graph.edges_of(rows, paper)
        assert 20 < len({claim for pair in edges for claim in pair}) < 60, paper
        depth = max(max(graph.layers(family).values()) for family in graph.families(edges))
        assert depth < 9, paper
    assert ("P2-T41", "P2-T51") in graph.edges_of(rows, rows["P2-T51"]["paper"])


def test_a_page_that_names_one_paper_draws_that_one_only(tmp_path):
    folder = write_linked(tmp_path / "source")
    text = LEDGER.replace("{claim-graph}", "{claim-graph} two2021")
    tree.write(folder, {"ledger.md": text})
    done = build(folder)
    assert done.returncode == 1
    assert "no claim of 'two2021' rests on another" in done.stderr
    assert not read(folder, "ledger.html").select(".nc-graph")


def test_a_cell_records_the_claims_that_it_judges():
    rows = dict.fromkeys(("P1-A", "P1-B"))
    assert chapter.recorded('judge("P1-A", value=1)\n', rows) == ["P1-A"]
    loop = 'for name in ("P1-B", "P1-A"):\n    judge.not_computable(name, why="no time")'
    assert chapter.recorded(loop, rows) == ["P1-A", "P1-B"]
    assert chapter.recorded('judge("P1-Z", value=1)', rows) == []
    assert chapter.recorded('print("P1-A")', rows) == []


def test_every_claim_of_the_book_is_recorded_by_one_cell_of_its_page():
    rows = claims.load()
    found = []
    for path in sorted((ROOT / "notebooks").glob("*/*.py")):
        text = path.read_text(encoding="utf-8")
        page = path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()
        for cell in re.split(r"^# %%.*$", text, flags=re.M):
            shown = re.sub(r"^#.*$", "", cell, flags=re.M)
            found += [(name, page) for name in chapter.recorded(shown, rows)]
    assert sorted(found) == sorted((row.id, row.page) for row in rows.values())


def test_a_ledger_leaves_out_the_claims_of_no_paper(tmp_path):
    assert ledger.Ledger(tmp_path / "ledger.json").rows == {}
    lost = row("P1-Z", "holds", paper="lost2022")
    tree.write_ledger(tmp_path, [ROWS[0], lost])
    assert list(ledger.Ledger(tmp_path / "ledger.json").rows) == ["P1-A"]
    assert json.loads((tmp_path / "ledger.json").read_text())["rows"][1]["id"] == "P1-Z"
