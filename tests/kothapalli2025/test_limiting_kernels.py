"""The page on NNGP and NTK: limits, the criterion, rays, convolutional networks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import experiments, kernels
from ncutils.experiments.kothapalli2025 import limiting_kernels


@pytest.fixture
def X():
    return jnp.asarray(np.random.default_rng(5).normal(size=(12, 3)))


@pytest.mark.parametrize("case", ["gaussians", "networks", "random_sets"])
def test_a_case_has_no_fewer_draws_at_a_larger_scale(case):
    name, draws = f"kothapalli2025/limiting_kernels/{case}", []
    for scale in ("smoke", "quick", "paper"):
        config = experiments.config_of(name, scale=scale)
        draws.append(config.sets if case == "random_sets" else len(config.seeds))
    assert draws == sorted(draws)
    assert draws[2] == {"random_sets": 1000}.get(case, 10)


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
    part = limiting_kernels.first_order_part(X, activation=activation)
    np.testing.assert_allclose(theta, Q + part, rtol=1e-12, atol=1e-12)
    assert float(jnp.max(jnp.abs(theta - Q))) > 0.05


def test_relu_tangent_kernel_is_twice_nngp_less_the_sines(X):
    Q, theta = kernels.nngp_and_ntk(X, activation="relu")
    P = limiting_kernels.sine_part(X)
    np.testing.assert_allclose(theta, 2 * Q - P, rtol=1e-9, atol=1e-12)
    assert float(jnp.min(P)) >= 0
    assert float(jnp.max(jnp.abs(theta - 2 * Q))) > 0.01


def test_criterion_is_right_for_balanced_and_unbalanced_random_sets():
    for sizes in ((6, 6), (3, 5, 7)):
        keys = jax.random.split(jax.random.key(3), 60)
        found = limiting_kernels._judge_sets(keys, jnp.full(60, 2), sizes=sizes, width=2)
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
    found = limiting_kernels.rays(angles, seed=2)
    np.testing.assert_allclose(found, limiting_kernels.ray_formula(angles), atol=1e-4)
    assert found[0] == pytest.approx(math.pi * 1e-3, rel=0.02)
    assert found[2] == pytest.approx((1 - 1 / math.pi) / (1 - 1 / (2 * math.pi)), abs=1e-7)
    assert (found[:3] < 1).all()


def test_convolution_of_one_pixel_is_a_fully_connected_layer():
    x = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, size=(4, 1)))
    found = limiting_kernels.convolutional_kernels(x[:, :, None, None], activation="relu", depth=2)
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
        limiting_kernels.convolutional_kernels(jnp.asarray(z), activation="erf", depth=1)[0]
        for z in (left, moved)
    ]
    for before, after in zip(pair[0]["conv-pool"], pair[1]["conv-pool"], strict=True):
        np.testing.assert_allclose(before, after, rtol=1e-12)
    assert float(jnp.max(jnp.abs(pair[0]["conv"][0] - pair[1]["conv"][0]))) > 1e-3
