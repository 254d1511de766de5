"""The numbers behind every smoke figure are the accepted ones."""

import json

import numpy as np
import pytest
import xarray as xr

from ncutils.records import results
from pipeline import references


def figure(values, **attrs):
    values = np.asarray(values)
    return xr.Dataset(
        {"nc1": (("N", "d0"), values, attrs)},
        coords={"N": np.arange(values.shape[0]), "d0": 2.0 ** np.arange(values.shape[1])},
        attrs={"commit": "0123abc", "seconds": 3.5},
    )


def draw(ds, figures, name):
    """Leave a figure's arrays as a build does, with the page that drew it."""
    results.write(ds, figures / f"{name}.nc")
    (figures / f"{name}.json").write_text(json.dumps({"page": "toy2024/toy_page"}))


@pytest.fixture
def folders(tmp_path):
    """Two figures of a build, and a folder of tests with references made from them."""
    figures, tests = tmp_path / "figures", tmp_path / "tests"
    for number in (1, 2):
        draw(figure(number * np.arange(1.0, 7.0).reshape(2, 3)), figures, f"toy-fig{number}")
    references.lock(figures, tests)
    return figures, tests


def kept(tests, name):
    return tests / "toy2024" / "references" / f"{name}.nc"


@pytest.mark.book
def test_every_figure_of_the_smoke_book_shows_the_accepted_numbers():
    assert references.figures_dir().is_dir(), "no smoke book: `make test` builds it first"
    assert references.problems(references.figures_dir(), references.tests_dir()) == []


def test_what_was_just_locked_has_no_problems_and_lies_with_its_paper(folders):
    assert references.problems(*folders) == []
    assert kept(folders[1], "toy-fig1").is_file()


def test_a_figure_without_a_reference_is_a_problem(folders):
    kept(folders[1], "toy-fig2").unlink()
    assert references.problems(*folders) == [
        "toy2024/toy-fig2: no reference; look at it, then `make lock`"
    ]


def test_a_reference_without_a_figure_is_a_problem(folders):
    figures, _ = folders
    (figures / "toy-fig1.nc").unlink()
    assert references.problems(*folders) == ["toy2024/toy-fig1: a reference without a figure"]


def test_a_figure_that_moves_to_another_paper_needs_its_reference_there(folders):
    figures, tests = folders
    (figures / "toy-fig1.json").write_text(json.dumps({"page": "other2025/page"}))
    assert references.problems(*folders) == [
        "other2025/toy-fig1: no reference; look at it, then `make lock`",
        "toy2024/toy-fig1: a reference without a figure",
    ]
    assert len(references.lock(*folders)) == 2
    assert references.problems(*folders) == []
    assert not kept(tests, "toy-fig1").exists()


def test_training_in_float32_may_differ_by_a_thousandth_and_not_by_a_hundredth(folders):
    figures, _ = folders
    trained = figure(np.arange(1.0, 7.0).reshape(2, 3)).assign_attrs(dtype="float32")
    draw(trained, figures, "toy-fig1")
    references.lock(*folders)
    for factor, accepted in ((1 + 2e-4, True), (1 + 1e-2, False)):
        draw(trained.assign(nc1=trained.nc1 * factor), figures, "toy-fig1")
        assert (references.problems(*folders) == []) == accepted


def test_the_tail_of_a_curve_counts_by_the_size_of_the_curve(folders):
    figures, _ = folders
    curve = figure(np.geomspace(1e3, 1e-9, 6).reshape(2, 3))
    draw(curve, figures, "toy-fig1")
    references.lock(*folders)
    draw(curve.assign(nc1=curve.nc1 + 5e-4), figures, "toy-fig1")
    assert references.problems(*folders) == []
    draw(curve.assign(nc1=curve.nc1 + 2e-3), figures, "toy-fig1")
    assert references.problems(*folders)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (figure([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0001]]), "nc1: differs by up to 0.0001"),
        (figure([[1.0, 2.0, 3.0], [4.0, 5.0, np.nan]]), "nc1: differs by up to inf"),
        (figure(np.ones((2, 4))), "d0: {'d0': 4} float64, was {'d0': 3} float64"),
        (figure(np.ones((2, 3))).rename(nc1="nc2"), "other variables: ['nc2'] came, ['nc1'] went"),
    ],
)
def test_a_changed_array_is_a_problem(folders, changed, words):
    figures, _ = folders
    draw(changed, figures, "toy-fig1")
    assert any(
        one.startswith(f"toy2024/toy-fig1: {words}") for one in references.problems(*folders)
    )


def test_rounding_is_no_change_and_a_variable_may_allow_more(folders):
    figures, tests = folders
    values = np.arange(1.0, 7.0).reshape(2, 3)
    draw(figure(values * (1 + 1e-9)), figures, "toy-fig1")
    assert references.problems(*folders) == []
    references.lock(*folders)
    results.write(figure(values, reference_rtol=0.1), kept(tests, "toy-fig1"))
    draw(figure(values + 0.3), figures, "toy-fig1")
    assert references.problems(*folders) == []
    draw(figure(values + 0.7), figures, "toy-fig1")
    assert references.problems(*folders)


def test_provenance_alone_rewrites_no_reference(folders):
    figures, tests = folders
    before = kept(tests, "toy-fig1").read_bytes()
    again = figure(np.arange(1.0, 7.0).reshape(2, 3)).assign_attrs(commit="fedc987")
    draw(again, figures, "toy-fig1")
    assert references.lock(*folders) == []
    assert kept(tests, "toy-fig1").read_bytes() == before


def test_lock_takes_over_changes_and_removes_orphans(folders):
    figures, _ = folders
    (figures / "toy-fig1.nc").unlink()
    draw(figure(np.ones((2, 3))), figures, "toy-fig2")
    assert len(references.lock(*folders)) == 2
    assert references.problems(*folders) == []


def test_the_flip_page_shows_old_new_and_difference_and_what_differs_first(folders):
    figures, _ = folders
    draw(figure(np.ones((2, 3))), figures, "toy-fig2")
    text = references.flip(*folders)
    assert "1 of 2 figures differ" in text
    assert text.index("toy-fig2") < text.index("toy-fig1")
    assert "nc1: old, new, new − old" in text
    assert "<td>nc1</td><td>11</td><td>0.917</td>" in text
    assert 'src="http' not in text
    assert text.count("data:image/png;base64,") == 2


def test_the_flip_page_shows_a_figure_that_has_only_one_side(folders):
    _, tests = folders
    kept(tests, "toy-fig1").unlink()
    text = references.flip(*folders)
    assert "no reference yet" in text
    assert "nc1: new" in text
