import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ncutils.records import claims

ROW = dict(
    id="P1-X",
    paper="P1",
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
    return claims.Claim(**{**ROW, "scales": ("smoke", "quick"), **change})


def found(value, control=1.0, **more):
    return claims.Measurement(
        scale=more.pop("scale", "quick"), value=value, control=control, **more
    )


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setenv("NCUTILS_ROOT", str(tmp_path))
    (tmp_path / "claims.yml").write_text(yaml.safe_dump([ROW, {**ROW, "id": "P1-Y"}]))
    return tmp_path


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
    shown = claims.record("P1-X", scale="smoke", value=8e-11, control=0.4, n=3)
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
    assert claims.record("P1-X", scale="smoke", value=float("nan"), control=1.0).verdict == "fails"
    rows = json.loads(claims.write_ledger("smoke").read_text(), parse_constant=pytest.fail)["rows"]
    assert rows[0]["value"] is None
    assert rows[0]["verdict"] == "fails"


def test_an_unknown_claim_or_scale_is_refused_and_nothing_is_stored(book):
    with pytest.raises(ValueError, match=r"no claim 'P9-Z' in claims\.yml, which has: P1-X, P1-Y"):
        claims.record("P9-Z", scale="smoke", value=1.0, control=2.0)
    with pytest.raises(ValueError, match="unknown scale"):
        claims.record("P1-X", scale="huge", value=1.0, control=2.0)
    with pytest.raises(ValueError, match="say why"):
        claims.not_computable("P1-X", scale="smoke", why=" ")
    assert not (book / "_build").exists()


def test_an_obstacle_is_kept_with_its_reason(book):
    shown = claims.not_computable("P1-Y", scale="quick", why="the data are not public")
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
    (book / "claims.yml").write_text(yaml.safe_dump(rows))
    with pytest.raises(ValueError, match=message):
        claims.load()


def test_a_row_without_a_control_is_refused(book):
    short = {key: value for key, value in ROW.items() if key != "control"}
    (book / "claims.yml").write_text(yaml.safe_dump([short]))
    with pytest.raises(ValueError, match="missing or unknown: control"):
        claims.load()


def test_the_project_s_own_claims_can_all_be_judged_and_name_pages_that_exist():
    root = claims.workspace.project_root()
    rows = claims.load()
    assert all((root / "notebooks" / f"{row.page}.py").is_file() for row in rows.values())
