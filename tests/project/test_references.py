"""The numbers behind every smoke figure are the accepted ones."""

import numpy as np
import pytest
import xarray as xr

from ncutils.records import results
from pipeline import flip, lock


def figure(values, **attrs):
    values = np.asarray(values)
    return xr.Dataset(
        {"nc1": (("N", "d0"), values, attrs)},
        coords={"N": np.arange(values.shape[0]), "d0": 2.0 ** np.arange(values.shape[1])},
        attrs={"commit": "0123abc", "seconds": 3.5},
    )


@pytest.fixture
def folders(tmp_path):
    """Two figures of a build, and a folder of references made from them."""
    figures, references = tmp_path / "figures", tmp_path / "references"
    for number in (1, 2):
        ds = figure(number * np.arange(1.0, 7.0).reshape(2, 3))
        results.write(ds, figures / f"toy-fig{number}.nc")
    lock.lock(figures, references)
    return figures, references


@pytest.mark.book
def test_every_figure_of_the_smoke_book_shows_the_accepted_numbers():
    assert lock.figures_dir().is_dir(), "no smoke book: `make test` builds it first"
    assert lock.problems(lock.figures_dir(), lock.references_dir()) == []


def test_what_was_just_locked_has_no_problems(folders):
    assert lock.problems(*folders) == []


def test_a_figure_without_a_reference_is_a_problem(folders):
    figures, references = folders
    (references / "toy-fig2.nc").unlink()
    assert lock.problems(figures, references) == [
        "toy-fig2: no reference; look at it, then `make lock`"
    ]


def test_a_reference_without_a_figure_is_a_problem(folders):
    figures, references = folders
    (figures / "toy-fig1.nc").unlink()
    assert lock.problems(figures, references) == ["toy-fig1: a reference without a figure"]


def test_training_in_float32_may_differ_by_a_thousandth_and_not_by_a_hundredth(folders):
    figures, references = folders
    trained = figure(np.arange(1.0, 7.0).reshape(2, 3)).assign_attrs(dtype="float32")
    results.write(trained, figures / "toy-fig1.nc")
    lock.lock(figures, references)
    for factor, accepted in ((1 + 2e-4, True), (1 + 1e-2, False)):
        moved = trained.assign(nc1=trained.nc1 * factor)
        results.write(moved, figures / "toy-fig1.nc")
        assert (lock.problems(figures, references) == []) == accepted


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
    figures, references = folders
    results.write(changed, figures / "toy-fig1.nc")
    assert any(one.startswith(f"toy-fig1: {words}") for one in lock.problems(figures, references))


def test_rounding_is_no_change_and_a_variable_may_allow_more(folders):
    figures, references = folders
    values = np.arange(1.0, 7.0).reshape(2, 3)
    results.write(figure(values * (1 + 1e-9)), figures / "toy-fig1.nc")
    assert lock.problems(figures, references) == []
    lock.lock(figures, references)
    results.write(figure(values, reference_rtol=0.1), references / "toy-fig1.nc")
    results.write(figure(values + 0.3), figures / "toy-fig1.nc")
    assert lock.problems(figures, references) == []
    results.write(figure(values + 0.7), figures / "toy-fig1.nc")
    assert lock.problems(figures, references)


def test_provenance_alone_rewrites_no_reference(folders):
    figures, references = folders
    before = (references / "toy-fig1.nc").read_bytes()
    again = figure(np.arange(1.0, 7.0).reshape(2, 3)).assign_attrs(commit="fedc987")
    results.write(again, figures / "toy-fig1.nc")
    assert lock.lock(figures, references) == []
    assert (references / "toy-fig1.nc").read_bytes() == before


def test_lock_takes_over_changes_and_removes_orphans(folders):
    figures, references = folders
    (figures / "toy-fig1.nc").unlink()
    results.write(figure(np.ones((2, 3))), figures / "toy-fig2.nc")
    assert len(lock.lock(figures, references)) == 2
    assert lock.problems(figures, references) == []


def test_the_flip_page_shows_old_new_and_difference_and_what_differs_first(folders):
    figures, references = folders
    results.write(figure(np.ones((2, 3))), figures / "toy-fig2.nc")
    text = flip.page(figures, references)
    assert "1 of 2 figures differ" in text
    assert text.index("toy-fig2") < text.index("toy-fig1")
    assert "nc1: old, new, new − old" in text
    assert "<td>nc1</td><td>11</td><td>0.917</td>" in text
    assert 'src="http' not in text
    assert text.count("data:image/png;base64,") == 2


def test_the_flip_page_shows_a_figure_that_has_only_one_side(folders):
    figures, references = folders
    (references / "toy-fig1.nc").unlink()
    text = flip.page(figures, references)
    assert "no reference yet" in text
    assert "nc1: new" in text
