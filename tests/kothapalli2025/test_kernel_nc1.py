"""Experiments of the kernel pages: what they add to the library is right."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import kernels, metrics
from ncutils.experiments import catalogue
from ncutils.experiments.kothapalli2025 import _sweeps, kernel_nc1, kernel_ordering, limiting_kernels

MODULES = (kernel_nc1, limiting_kernels, kernel_ordering)


@pytest.fixture
def X():
    return jnp.asarray(np.random.default_rng(5).normal(size=(12, 3)))


def plain_released(X):
    """The released erf NTK, entry by entry."""
    n, d = X.shape
    K = [[float(X[i] @ X[j]) / d for j in range(n)] for i in range(n)]
    total = sum((1 + 2 * K[i][i]) ** 2 for i in range(n))
    out = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            product = (1 + 2 * K[i][i]) * (1 + 2 * K[j][j])
            q = 2 / math.pi * math.asin(2 * K[i][j] / math.sqrt(product))
            out[i, j] = q + K[i][j] * 4 / math.pi / math.sqrt(total - 4 * K[i][j] ** 2)
    return out


def test_every_cell_has_a_configuration_at_every_scale_and_a_page():
    named = {name for page in catalogue.PAGES.values() for name in page}
    for module in MODULES:
        for cell in module.CELLS:
            assert f"{module.__name__.split('.')[-1]}/{cell}" in named
            sizes = [module.Config.at(cell, scale) for scale in ("smoke", "quick", "paper")]
            assert len(sizes[0].seeds) <= len(sizes[1].seeds) <= len(sizes[2].seeds)
        with pytest.raises(ValueError, match="unknown scale"):
            module.Config.at(module.CELLS[0], "huge")


@pytest.mark.parametrize("module", MODULES)
def test_an_unknown_cell_is_refused_with_the_known_ones(module):
    config = module.Config.at(module.CELLS[0], "smoke")
    object.__setattr__(config, "cell", "nonsense")
    with pytest.raises(ValueError, match=module.CELLS[0]):
        module.run(config)


def test_released_ntk_has_one_number_where_a_table_is_meant(X):
    found = _sweeps.released_ntk_erf(X)
    np.testing.assert_allclose(found, plain_released(np.asarray(X)), rtol=1e-12)
    assert float(jnp.max(jnp.abs(found - kernels.ntk(X, activation="erf")))) > 0.05


def test_padded_draws_have_the_kernels_of_the_draws_themselves():
    how = {"means": (-2.0, 2.0), "sizes": (4, 3), "std": 0.5, "dim": 2}
    narrow, y = _sweeps.draws((7, 8), width=2, **how)
    wide, _ = _sweeps.draws((7, 8), width=5, **how)
    assert wide.shape == (2, 7, 5)
    assert y.tolist() == [0] * 4 + [1] * 3
    for activation in kernels.ACTIVATIONS:
        one = kernels.ntk(narrow[0], activation=activation)
        np.testing.assert_allclose(one, kernels.ntk(wide[0], activation=activation), rtol=1e-12)
    assert float(jnp.max(jnp.abs(narrow[0] - narrow[1]))) > 0.1


def test_log10_nc1_of_the_linear_kernel_is_that_of_the_inputs(X):
    y = jnp.asarray([0] * 4 + [1] * 8)
    found = _sweeps.log10_nc1(X[None], y, num_classes=2)[0]
    expected = np.log10(float(metrics.nc1(X, y, num_classes=2)))
    data = _sweeps.KERNELS.index("data")
    assert float(found[data, 0]) == pytest.approx(expected, abs=1e-12)
    assert abs(float(found[data, 1]) - expected) > 1e-3  # the released formula is another number


def test_balanced_traces_need_the_pairs_of_a_sample_with_itself():
    rng = np.random.default_rng(0)
    y, H = np.repeat([0, 1], 10), rng.normal(size=(20, 4))
    exact = metrics.kernel_nc1(jnp.asarray(H @ H.T), jnp.asarray(y), num_classes=2)
    by_hand = kernel_nc1.covariance_traces(H, y, 2)
    np.testing.assert_allclose((exact.within, exact.between), by_hand, rtol=1e-12)
    broken = kernel_nc1.without_diagonal(H @ H.T, y, 2)
    assert abs(broken[0] - by_hand[0]) > 0.05


def test_random_features_cell_shows_theorem_41_and_where_it_ends():
    sizes = ((8, 8), (4, 12))
    config = kernel_nc1.Config("random_features", seeds=(0,), sizes=sizes, panels=sizes, dims=(5,))
    ds = kernel_nc1.run(config)
    error = abs(ds.trace - ds.trace.sel(route="features")).max(("repeat", "part"))
    assert float(error.sel(route="exact").max()) < 1e-12
    assert float(error.sel(route="as_printed", sizes="8/8")) < 1e-12
    assert float(error.sel(route="as_printed", sizes="4/12")) > 0.01
    assert float(ds.smallest_signed.sel(activation="erf").min()) > 0
    assert float(ds.smallest_signed.sel(activation="relu").max()) < 0


def test_digits_are_drawn_in_whole_classes_of_one_norm():
    from ncutils import data

    whole = data.load("mnist5k")
    X, y = kernel_nc1.ordered_digits(whole, 3, 1)
    assert y.tolist() == np.repeat(np.arange(10), 3).tolist()
    rows = {row.tobytes(): label for row, label in zip(whole.flat, whole.y, strict=True)}
    labels = [rows[np.asarray(row).tobytes()] for row in X]
    assert all(len(set(labels[3 * c : 3 * c + 3])) == 1 for c in range(10))
    assert len(set(labels)) == 10
    np.testing.assert_allclose(
        jnp.sum(kernel_nc1.unit_rows(X) ** 2, axis=1), X.shape[1], rtol=1e-12
    )


@pytest.mark.parametrize(("a", "s"), [(2.0, 0.5), (2.0, 2.0), (0.7, 1.1)])
def test_closed_forms_are_the_limit_of_many_dimensions(a, s):
    limit = limiting_kernels.infinite_dimension((-a, a), s)
    closed = limiting_kernels.closed_forms(a, s)
    assert limit.keys() == closed.keys()
    for name, value in closed.items():
        assert limit[name] == pytest.approx(value, abs=1e-12)
    assert abs(limit["ntk_erf"] - closed["nngp_erf"]) > 0.05


def test_one_dimension_gives_the_variances_of_the_data_and_an_eighth_for_relu_on_d1():
    fine = limiting_kernels.one_dimension((-2.0, 2.0), 0.5)
    assert fine["nngp_relu"] == pytest.approx(math.log10(0.125), abs=1e-3)
    # arccos knows the angle 0 to 2e-8 only
    assert fine["ntk_relu"] == pytest.approx(fine["nngp_relu"], abs=1e-7)
    assert fine["data"] == pytest.approx(math.log10(0.25 / 4), abs=1e-12)
    assert fine["ntk_erf"] - fine["nngp_erf"] > 0.4


@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
def test_tangent_kernel_is_nngp_plus_the_part_of_the_first_layer(X, activation):
    Q, theta = kernels.nngp_and_ntk(X, activation=activation)
    part = kernel_ordering.first_order_part(X, activation=activation)
    np.testing.assert_allclose(theta, Q + part, rtol=1e-12, atol=1e-12)
    assert float(jnp.max(jnp.abs(theta - Q))) > 0.05


def test_relu_tangent_kernel_is_twice_nngp_less_the_sines(X):
    Q, theta = kernels.nngp_and_ntk(X, activation="relu")
    P = kernel_ordering.sine_part(X)
    np.testing.assert_allclose(theta, 2 * Q - P, rtol=1e-9, atol=1e-12)
    assert float(jnp.min(P)) >= 0
    assert float(jnp.max(jnp.abs(theta - 2 * Q))) > 0.01


def test_criterion_is_right_for_balanced_and_unbalanced_random_sets():
    for sizes in ((6, 6), (3, 5, 7)):
        keys = jax.random.split(jax.random.key(3), 60)
        found = kernel_ordering._judge_sets(keys, jnp.full(60, 2), sizes=sizes, width=2)
        more = np.asarray(found["log10_ntk"] < found["log10_nngp"])
        assert more.any()
        assert not more.all()
        np.testing.assert_array_equal(np.asarray(found["criterion"]) < 0, more)
        if len(sizes) == 2:
            room = 1 + 2 / 10 ** found["log10_nngp"]
            np.testing.assert_array_equal(found["p_out"] > found["p_in"] * room, more)
            assert (np.asarray(found["p_out"] > found["p_in"]) != more).any()  # without the bracket


def test_two_rays_have_the_derived_ratio_which_goes_to_zero_with_the_angle():
    angles = np.array([1e-3, 0.5, math.pi / 2, math.pi])
    found = kernel_ordering.rays(angles, seed=2)
    np.testing.assert_allclose(found, kernel_ordering.ray_formula(angles), atol=1e-4)
    assert found[0] == pytest.approx(math.pi * 1e-3, rel=0.02)
    assert found[2] == pytest.approx((1 - 1 / math.pi) / (1 - 1 / (2 * math.pi)), abs=1e-7)
    assert (found[:3] < 1).all()


def test_convolution_of_one_pixel_is_a_fully_connected_layer():
    x = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, size=(4, 1)))
    found = kernel_ordering.convolutional_kernels(x[:, :, None, None], activation="relu", depth=2)
    for depth, pairs in enumerate(found, start=1):
        dense = kernels.nngp_and_ntk(x, activation="relu", depth=depth)
        for name in ("conv", "conv-pool"):
            # one tap of nine sees the pixel, and ReLU kernels are linear in its variance
            for conv, full in zip(pairs[name], dense, strict=True):
                np.testing.assert_allclose(conv * 9**depth, full, rtol=1e-9, atol=1e-12)


def test_averaging_over_the_image_is_blind_to_place_and_reading_every_pixel_is_not():
    ink = np.random.default_rng(2).uniform(size=(3, 1, 3, 1))
    left = np.pad(ink, ((0, 0), (0, 0), (1, 2), (0, 0)))
    moved = left.copy()
    moved[0] = np.roll(left[0], 1, axis=1)
    pair = [
        kernel_ordering.convolutional_kernels(jnp.asarray(z), activation="erf", depth=1)[0]
        for z in (left, moved)
    ]
    for before, after in zip(pair[0]["conv-pool"], pair[1]["conv-pool"], strict=True):
        np.testing.assert_allclose(before, after, rtol=1e-12)
    assert float(jnp.max(jnp.abs(pair[0]["conv"][0] - pair[1]["conv"][0]))) > 1e-3
