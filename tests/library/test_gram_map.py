"""Theorem 5.3 of P3: the Gram map, its fixed point, every rate, and the plateau."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils.deep_rfm import gram_map
from tests import oracles

C, N_PER = 3, 4
SIZE = C * N_PER
G = np.kron(np.eye(C), np.ones((N_PER, N_PER)))
Y = np.kron(np.eye(C), np.ones((1, N_PER)))
RIDGES = {"predictor_ridge": 0.3, "map_ridge": 0.5}
EXACT = gram_map.exact_scale(per_class=N_PER, **RIDGES)


def wishart(seed, size=SIZE):
    draw = np.random.default_rng(seed).normal(size=(size, 2 * size))
    return draw @ draw.T / size


def step(T, scale=EXACT, **ridges):
    return gram_map.gram_step(jnp.asarray(T), jnp.asarray(G), scale=scale, **{**RIDGES, **ridges})


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_step_is_that_of_explicit_features_and_their_gradient_outer_product(seed):
    T = wishart(seed)
    slow = oracles.deep_rfm_gram(T, Y, 0.3, 0.5, EXACT)
    np.testing.assert_allclose(step(T), slow, atol=1e-12)
    assert np.abs(step(T, predictor_ridge=0.31) - slow).max() > 1e-4


def test_collapse_is_a_fixed_point_for_the_exact_scale_and_not_for_the_printed_one():
    np.testing.assert_allclose(gram_map.collapsed_gram(num_classes=C, per_class=N_PER), G)
    np.testing.assert_allclose(step(G), G, atol=1e-14)
    small = {"predictor_ridge": 0.01, "map_ridge": 0.5}
    printed = gram_map.printed_scale(**small)
    assert np.abs(step(G, printed, **small) - G).max() > 0.01


@pytest.fixture(scope="module")
def jacobian():
    """The derivative at collapse on symmetric matrices, in an orthonormal basis of them."""
    pairs = [(i, j) for i in range(SIZE) for j in range(i + 1)]
    basis = np.zeros((len(pairs), SIZE, SIZE))
    for k, (i, j) in enumerate(pairs):
        basis[k, i, j] = basis[k, j, i] = 1.0 if i == j else np.sqrt(0.5)
    push = lambda E: jax.jvp(step, (jnp.asarray(G),), (E,))[1]  # noqa: E731
    images = jax.jit(jax.vmap(push))(jnp.asarray(basis))
    return np.einsum("aij,bij->ab", basis, images)


def test_the_derivative_has_the_three_rates_each_as_often_as_derived(jacobian):
    found = np.sort(np.linalg.eigvalsh(0.5 * (jacobian + jacobian.T)))
    np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-13)
    rates = gram_map.rates(per_class=N_PER, **RIDGES)
    counts = {
        rates.mixed: C * (SIZE - C),
        rates.label: C * (C + 1) // 2,
        rates.rest: (SIZE - C) * (SIZE - C + 1) // 2,
    }
    law = np.sort(np.concatenate([np.full(count, rate) for rate, count in counts.items()]))
    np.testing.assert_allclose(found, law, atol=1e-13)
    assert rates.slowest == rates.mixed > rates.label > 0
    other = gram_map.rates(per_class=N_PER + 1, **RIDGES)
    assert abs(found[-1] - other.mixed) > 1e-3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_generic_start_converges_at_the_slowest_rate(seed):
    path = gram_map.gram_path(
        jnp.asarray(wishart(seed)), num_classes=C, layers=25, scale=EXACT, **RIDGES
    )
    rates = gram_map.rates(per_class=N_PER, **RIDGES)
    late = np.asarray(path.error)
    late = late[(late > 1e-11) & (late < 1e-6)]
    np.testing.assert_allclose(late[1:] / late[:-1], rates.mixed, rtol=1e-3)
    assert abs(late[1] / late[0] / rates.label - 1) > 0.1


@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
def test_one_layer_shrinks_any_error_by_the_derived_bound(size):
    rates = gram_map.rates(per_class=N_PER, **RIDGES)
    for seed in range(5):
        T = size * wishart(seed)
        before = np.linalg.norm(T - G, 2)
        after = np.linalg.norm(step(T) - G, 2)
        bound = 2 * rates.mixed + rates.mixed**2 * before / N_PER
        assert after <= bound * before
        assert after <= N_PER / EXACT
    # a bound, not a triviality: the mixed part alone uses half of it
    E = np.zeros((SIZE, SIZE))
    E[0, :N_PER] = [0, 1, -1, 0]
    mixed = G @ E + E.T @ G
    ratio = np.linalg.norm(step(G + 1e-6 * mixed) - G, 2) / np.linalg.norm(1e-6 * mixed, 2)
    assert ratio == pytest.approx(rates.mixed, rel=1e-3)


def test_few_samples_beside_large_ridges_make_the_label_part_the_slow_one():
    ridges = {"predictor_ridge": 1.0, "map_ridge": 4.0}
    rates = gram_map.rates(per_class=2, **ridges)
    assert rates.slowest == rates.label > rates.mixed
    assert gram_map.rates(per_class=20, predictor_ridge=30.0, map_ridge=1.0).label > 1


@pytest.mark.parametrize("kind", ["printed", "one"])
def test_other_scales_end_on_the_derived_plateau(kind):
    ridges = {"predictor_ridge": 0.02, "map_ridge": 0.5}
    scale = gram_map.printed_scale(**ridges) if kind == "printed" else 1.0
    start = jnp.asarray(wishart(7))
    path = gram_map.gram_path(start, num_classes=C, layers=25, scale=scale, **ridges)
    law = gram_map.plateau(per_class=N_PER, scale=scale, **ridges)
    assert path.error[-1] == pytest.approx(law, rel=1e-9)
    exact = gram_map.exact_scale(per_class=N_PER, **ridges)
    assert gram_map.plateau(per_class=N_PER, scale=exact, **ridges) < 1e-12
    assert law > 1e-3


@pytest.mark.usefixtures("as_a_user")
def test_settings_without_meaning_are_refused_with_their_values():
    for bad in ({"predictor_ridge": 0.0}, {"map_ridge": -1.0}):
        with pytest.raises(ValueError, match="both ridges must be positive"):
            gram_map.rates(per_class=3, **{**RIDGES, **bad})
    with pytest.raises(ValueError, match="κ = -5"):
        gram_map.printed_scale(predictor_ridge=1.0, map_ridge=0.5)
    with pytest.raises(ValueError, match=r"shape \(5, 5\)"):
        gram_map.gram_path(jnp.eye(5), num_classes=2, layers=1, scale=1.0, **RIDGES)
    with pytest.raises(ValueError, match="1 entries that are not finite"):
        gram_map.gram_path(
            jnp.eye(6).at[0, 0].set(jnp.nan), num_classes=2, layers=1, scale=1.0, **RIDGES
        )
    for call in (
        lambda: gram_map.gram_path(jnp.eye(6), num_classes=2, layers=1, scale=0.0, **RIDGES),
        lambda: gram_map.plateau(per_class=3, scale=-1.0, **RIDGES),
    ):
        with pytest.raises(ValueError, match="scale κ must be positive"):
            call()
    with pytest.raises(ValueError, match="not 1 with 3"):
        gram_map.collapsed_gram(num_classes=1, per_class=3)
