"""Experiments on the theory of Deep RFM: their starts, their counts, their controls."""

import numpy as np
import pytest

from ncutils.experiments.beaglehole2024 import deep_rfm_theory as theory
from tests import oracles


@pytest.fixture(scope="module")
def layers():
    config = theory.Theorem(
        seeds=(0, 1), classes=2, per_class=4, ridges=(0.1,), small_ridges=(1e-3, 1e-2),
        table=((1.0, 0.1),), layers=12,
    )  # fmt: skip
    return config, theory.theorem(config)


@pytest.fixture(scope="module")
def propositions():
    config = theory.Propositions(
        seeds=(0, 1), draws=400, kernels=10, widths=(32,), angles=3, classes=3, per_class=4,
        codings=(4,), images=3, separations=(1.0, 7.0),
    )  # fmt: skip
    return config, theory.propositions(config)


def test_perturbations_lie_in_their_part_and_have_the_size_asked_for():
    config = theory.Theorem(seeds=(0,), classes=2, per_class=3)
    G = np.kron(np.eye(2), np.ones((3, 3)))
    on = G / 3
    off = np.eye(6) - on
    inside = {"mixed": (0, 0), "label": (1, 0), "rest": (0, 1)}
    for part, (first, last) in inside.items():
        E = theory.perturbed(config, part, 0, 1e-3) - G
        assert np.linalg.norm(E, 2) == pytest.approx(1e-3)
        assert (np.linalg.norm(on @ E @ on) > 1e-9) == bool(first)
        assert (np.linalg.norm(off @ E @ off) > 1e-9) == bool(last)
    assert np.linalg.eigvalsh(theory.start(config, 0))[0] > 0


def test_the_late_ratio_stops_above_the_floor():
    error = np.array([1.0, 0.5, 0.1, 0.01, 1e-9])
    assert theory.late_ratio(error, 1e-3) == pytest.approx(0.1)
    assert theory.late_ratio(error, 1e-12) == pytest.approx(1e-7)


def test_the_gram_map_does_what_the_page_says(layers):
    _, ds = layers
    law = ds.rate_law.sel(part="mixed")
    np.testing.assert_allclose(ds.rate / law, 1.0, rtol=0.01)
    assert abs(ds.rate / ds.rate_law.sel(part="label") - 1).min() > 0.1
    np.testing.assert_allclose(ds.part_rate, ds.rate_law, atol=1e-3)
    np.testing.assert_allclose(ds.spectrum, ds.spectrum_law, atol=1e-12)
    wrong = ds.sel(scale=["one", "printed"])
    np.testing.assert_allclose(wrong.plateau, wrong.plateau_law, rtol=1e-6)
    assert (ds.plateau.sel(scale="exact") < 1e-9).all()
    assert ds.bound_used.sel(bound_scale="exact").max() < 1 < ds.bound_used.max()
    errors = dict(zip(ds.identity.values, ds.identity_error.values, strict=True))
    assert max(errors[name] for name in ("woodbury", "inverse", "derived")) < 1e-12
    assert min(errors["printed"], errors["all samples"]) > 1e-2


def test_sets_of_points_are_separated_by_angle_or_opposed(propositions):
    _, ds = propositions
    assert (ds.angular_gap.sel(set="separated") > 0).all()
    assert (ds.angular_gap.sel(set="opposed") < 0).all()
    x, y = theory.points("separated", classes=3, per_class=4, seed=0)
    before, after = theory.nc1_through_relu(x, y, classes=3)
    assert before == pytest.approx(np.log10(oracles.nc1(x, y, 3, "trace")))
    assert after > before
    change = ds.nc1.sel(side="after") - ds.nc1.sel(side="before")
    assert (change.sel(set="opposed") < 0).all()


def test_feasible_kernels_have_unit_diagonal_and_the_best_is_below_them(propositions):
    config, ds = propositions
    for signed in (False, True):
        k = theory.feasible(9, 4, signed=signed)
        np.testing.assert_allclose(np.diag(k), 1.0)
        assert np.linalg.eigvalsh(k)[0] > -1e-12
        assert (k.min() < 0) == signed
    assert abs(ds.minimum_error) < 1e-12
    assert (ds.excess > 0).all()
    assert ds.infeasible < -0.1
    assert (np.diff(ds.line, axis=1) > 0).all()
    assert (ds.across_slope.sel(across="law") < 1e-6).all()
    assert (ds.across_slope.sel(across="law + 0.05") > 1e-2).all()
    assert (ds.coding_excess > 0).all()
    assert config.codings == (4,)


def test_digits_take_the_distances_of_any_points_and_the_gap_closes_unless_the_kernel_has_a_floor(
    propositions,
):
    _, ds = propositions
    assert ds.distance_error.sel(points="asked for").max() < 1e-9
    assert ds.distance_error.sel(points="others").min() > 0.1
    last = ds.isel(separation=-1)
    assert (last.gap.sel(profile=["laplace", "gaussian"]) < 1e-4).all()
    assert last.gap.sel(profile="with a floor") > 0.1
    near = last.sel(profile="laplace")
    assert float(near.gap) == pytest.approx(float(near.gap_law), rel=0.05)
