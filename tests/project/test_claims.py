import json
import math

import numpy as np
import pytest
import xarray as xr
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ncutils.records import claims, papers

KEY = "toy2020"
PAPER = dict(tag="P1", title="On toys", short="toys", figures=0)
ROW = dict(
    id="P1-X",
    number="Theorem 1",
    page="toy",
    statement="A is B.",
    kind="identity",
    quantity="largest |A - B|",
    relation="<=",
    expected=0.0,
    tolerance=1e-10,
    scales=["smoke", "quick"],
    control="B with the wrong sign",
)


def claim(**change):
    place = {"paper": KEY, "page": f"{KEY}/toy", "scales": ("smoke", "quick")}
    return claims.Claim(**{**ROW, **place, **change})


def found(value, control=1.0, **more):
    return claims.Measurement(
        scale=more.pop("scale", "quick"), value=value, control=control, **more
    )


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setenv("NCUTILS_ROOT", str(tmp_path))
    write(tmp_path, [ROW, {**ROW, "id": "P1-Y"}])
    return tmp_path


def write(root, rows, key=KEY, **paper):
    """The file of a paper."""
    path = root / "claims" / f"{key}.yml"
    path.parent.mkdir(exist_ok=True)
    content = {"paper": {**PAPER, "key": key, **paper}, "claims": rows}
    path.write_text(yaml.safe_dump(content))


def result(case="toy2020/line/one", repeats=4):
    """A result as a page loads it, with three values of a repeat each."""
    values = np.linspace(0.0, 3.0, repeats)
    ds = xr.Dataset({"a": ("repeat", values), "b": ("repeat", values + 1.0)})
    return ds.assign_attrs(case=case, seconds=1.0)


@pytest.mark.parametrize(
    ("row", "measured", "verdict"),
    [
        ({}, found(1e-12), "holds"),
        ({}, found(1e-9), "fails"),
        ({"deviation": 1e-8}, found(1e-9), "holds with deviation"),
        ({}, found(9e-11, spread=5e-11), "holds with deviation"),
        ({}, found(1e-12, scale="paper"), "not decided at this scale"),
        ({}, None, "not decided at this scale"),
        ({}, found(None, None, obstacle="no data"), "not computable here"),
        ({}, found(float("nan")), "fails"),
        ({}, found(float("inf")), "fails"),
        ({}, found(1e-12, control=1e-12), "fails"),
        ({}, found(1e-12, control=float("nan")), "fails"),
        ({"relation": ">=", "expected": 0.15, "tolerance": 0.0}, found(0.2, 0.1), "holds"),
        ({"relation": ">=", "expected": 0.15, "tolerance": 0.0}, found(0.1, 0.0), "fails"),
        ({"relation": "==", "expected": 2.0, "tolerance": 0.1}, found(2.05, 3.0), "holds"),
        ({"relation": "==", "expected": 2.0, "tolerance": 0.1}, found(1.85, 3.0), "fails"),
    ],
)
def test_the_verdict_is_a_function_of_row_and_measurement(row, measured, verdict):
    assert claims.judge(claim(**row), measured)[0] == verdict


@given(
    relation=st.sampled_from(claims.RELATIONS),
    expected=st.floats(-5, 5),
    tolerance=st.floats(0, 3),
    control=st.floats(-50, 50),
    spread=st.none() | st.floats(0, 5),
    bad=st.sampled_from([math.nan, math.inf, -math.inf]),
)
def test_a_value_that_is_not_a_number_never_holds(
    relation, expected, tolerance, control, spread, bad
):
    row = claim(relation=relation, expected=expected, tolerance=tolerance)
    assert claims.judge(row, found(bad, control, spread=spread))[0] == "fails"


@given(value=st.floats(-10, 10), control=st.floats(-10, 10), stretch=st.floats(0.1, 10))
def test_no_claim_holds_whose_control_passes(value, control, stretch):
    row = claim(relation="==", expected=1.0, tolerance=0.5)
    verdict, _ = claims.judge(row, found(value, control), stretch=stretch)
    if abs(control - 1.0) <= 0.5 * stretch:
        assert verdict == "fails"


def test_what_is_recorded_stands_in_the_ledger_with_its_sensitivity(book):
    shown = claims.at("smoke")("P1-X", value=8e-11, control=0.4, n=3)
    assert repr(shown).startswith("P1-X: holds (")
    path = claims.write_ledger("smoke")
    ledger = json.loads(path.read_text())
    first, second = ledger["rows"]
    assert path == book / "_build/smoke/ledger.json"
    assert (first["verdict"], first["half_tolerance"], first["double_tolerance"]) == (
        "holds",
        "fails",
        "holds",
    )
    assert first["control_value"] == 0.4
    assert second["verdict"] == "not decided at this scale"
    assert second["value"] is None


def test_recording_nan_is_stored_as_failing_and_the_ledger_stays_readable(book):
    assert claims.at("smoke")("P1-X", value=float("nan"), control=1.0).verdict == "fails"
    rows = json.loads(claims.write_ledger("smoke").read_text(), parse_constant=pytest.fail)["rows"]
    assert rows[0]["value"] is None
    assert rows[0]["verdict"] == "fails"


def test_an_unknown_claim_or_scale_is_refused_and_nothing_is_stored(book):
    with pytest.raises(ValueError, match=r"no claim 'P9-Z': write .* \(claims/toy2020\.yml\)"):
        claims.at("smoke")("P9-Z", value=1.0, control=2.0)
    with pytest.raises(ValueError, match="unknown scale"):
        claims.at("huge")("P1-X", value=1.0, control=2.0)
    with pytest.raises(ValueError, match="say why"):
        claims.at("smoke").not_computable("P1-X", why=" ")
    assert not (book / "_build").exists()


def test_an_obstacle_is_kept_with_its_reason(book):
    shown = claims.at("quick").not_computable("P1-Y", why="the data are not public")
    assert shown.verdict == "not computable here"
    assert claims.ledger("quick")["rows"][1]["reason"] == "the data are not public"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "opinion"}, "kind 'opinion'"),
        ({"relation": "~"}, "relation '~'"),
        ({"scales": ["large"]}, "scales 'large'"),
        ({"scales": []}, "decidable at no scale"),
        ({"tolerance": -1.0}, "0 ≤ tolerance < deviation"),
        ({"deviation": 1e-12}, "0 ≤ tolerance < deviation"),
        ({"expected": "one"}, "finite numbers"),
        ({"verdict": "holds"}, "missing or unknown: verdict"),
        ({"depends": ["P1-Z"]}, "depends on unknown P1-Z"),
        ({"id": "P1-Y"}, "stands twice"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_a_row_that_could_not_be_judged_is_refused_by_name(book, change, message):
    rows = [{**ROW, "id": "P1-Y"}, {**ROW, **change}]
    write(book, rows)
    with pytest.raises(ValueError, match=message):
        claims.load()


def test_a_row_without_a_control_is_refused(book):
    short = {key: value for key, value in ROW.items() if key != "control"}
    write(book, [short])
    with pytest.raises(ValueError, match="missing or unknown: control"):
        claims.load()


def test_an_array_over_repeats_is_averaged_and_its_standard_error_is_the_spread(book):
    judge = claims.at("smoke")
    ds = result()
    judge("P1-X", of=ds, value=ds.a, control=ds.b, over="repeat")
    row = claims.ledger("smoke")["rows"][0]
    assert (row["value"], row["control_value"], row["n"]) == (1.5, 2.5, 4)
    np.testing.assert_allclose(row["spread"], np.std([0, 1, 2, 3], ddof=1) / 2)
    assert row["of"] == ["toy2020/line/one"]
    masked = ds.where(ds.a > 0.5)
    judge("P1-X", of=ds, value=masked.a, control=masked.b, over="repeat")
    row = claims.ledger("smoke")["rows"][0]
    assert (row["value"], row["n"]) == (2.0, 3), "a masked repeat does not count"
    one = ds.isel(repeat=[0])
    judge("P1-X", of=one, value=one.a, control=one.b, over="repeat")
    row = claims.ledger("smoke")["rows"][0]
    assert (row["n"], row["spread"]) == (1, None), "one repeat has no spread"


def test_of_a_number_the_result_says_over_how_many_repeats(book):
    judge, ds = claims.at("smoke"), result()
    both = [ds, result("toy2020/line/two", repeats=2)]
    judge("P1-X", of=both, value=float(ds.a.max()), control=4.0, over="repeat")
    row = claims.ledger("smoke")["rows"][0]
    assert (row["value"], row["n"], row["spread"]) == (3.0, 4, None)
    assert row["of"] == ["toy2020/line/one", "toy2020/line/two"]
    judge("P1-X", of=ds, value=3.0, control=4.0, spread=0.5, n=7)
    row = claims.ledger("smoke")["rows"][0]
    assert (row["n"], row["spread"]) == (7, 0.5)
    judge("P1-X", value=3.0, control=4.0)
    assert claims.ledger("smoke")["rows"][0]["of"] == [], "the page itself computed it"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"of": 3.0}, "`of` is a result as results.load returns it"),
        ({"of": result().a}, "`of` is a result as results.load returns it"),
        ({"of": result(), "over": "seed"}, "neither the value nor the result has the dimension"),
        ({"over": "repeat"}, "neither the value nor the result has the dimension"),
        ({"value": result().a}, r"claim P1-X: value has shape \(4,\), not one number"),
        ({"control": np.zeros(0)}, r"claim P1-X: control has shape \(0,\), not one number"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_a_measurement_that_says_too_little_is_refused_and_not_stored(book, words, message):
    with pytest.raises(ValueError, match=message):
        claims.at("smoke")("P1-X", **{"value": 1.0, "control": 2.0, **words})
    assert not (book / "_build").exists()


def test_the_ledger_says_of_which_papers_it_is(book):
    write(book, [{**ROW, "id": "P2-X"}], key="other2021", tag="P2", title="On others")
    (book / "_toc.yml").write_text("- file: notebooks/other2021/a\n- file: notebooks/toy2020/b\n")
    made = claims.ledger("smoke")
    assert list(made["papers"]) == ["other2021", "toy2020"], "in the order of the book"
    assert made["papers"]["other2021"]["title"] == "On others"
    places = [(row["paper"], row["page"]) for row in made["rows"]]
    assert places == [("other2021", "other2021/toy"), *2 * [("toy2020", "toy2020/toy")]]


@pytest.mark.parametrize(
    ("paper", "message"),
    [
        ({"tag": "P1", "key": "other2021"}, "two papers have the tag P1"),
        ({"tag": "P2", "key": "toy2020"}, r"other2021\.yml: `paper:` needs key, tag, title"),
        ({"tag": "P2", "pages": 3}, r"other2021\.yml: `paper:` needs key, tag, title"),
    ],
)
def test_a_file_that_does_not_say_which_paper_is_refused_by_name(book, paper, message):
    path = book / "claims" / "other2021.yml"
    path.write_text(yaml.safe_dump({"paper": {**PAPER, **paper}, "claims": []}))
    with pytest.raises(ValueError, match=message):
        papers.load()
    path.write_text(yaml.safe_dump([ROW]))
    with pytest.raises(ValueError, match=r"other2021\.yml: needs `paper:`"):
        claims.load()


def test_the_project_s_own_claims_can_all_be_judged_and_name_pages_that_exist():
    root = claims.workspace.project_root()
    rows, known = claims.load(), papers.load()
    assert all((root / "notebooks" / f"{row.page}.py").is_file() for row in rows.values())
    assert all(name.startswith(f"{known[row.paper].tag}-") for name, row in rows.items())
