"""Values of a kernel from a few samples of each class: what they estimate, and how they scatter."""

import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import entk, linalg
from ncutils.experiments.seleznova2023 import measures
from tests import oracles

C, M = 4, 8
LABELS = np.repeat(np.arange(C), M)


def kernel(seed=0, width=30):
    """A Gram matrix with classes and with samples of very different size."""
    rng = np.random.default_rng(seed)
    means = np.repeat(rng.normal(size=(C, width)), M, axis=0) + 0.5
    points = (means + rng.normal(size=(C * M, width))) * rng.lognormal(0, 0.5, (C * M, 1))
    return points, points @ points.T


def pairs(K):
    return np.asarray(linalg.block_values(K, LABELS, num_classes=C))


def halves(K):
    return measures.halves(K, LABELS, C=C)


def test_pairs_and_halves_are_those_of_loops_over_pairs_and_of_the_kernels_own_estimate():
    points, K = kernel()
    one = K[None, None] * np.ones((1, 1, 1, 1))
    np.testing.assert_allclose(pairs(K), oracles.block_values(one, LABELS), rtol=1e-12)
    slow = oracles.published_block_values(one, LABELS, M)
    np.testing.assert_allclose(halves(K), slow, rtol=1e-12)
    # f(w, x) = ⟨w, x⟩ has this kernel
    f = lambda w, x: (w @ x)[None]  # noqa: E731
    args = {"num_classes": C, "per_class": M}
    found = entk.published_block_values(
        f, jnp.zeros(30), jnp.asarray(points), jnp.asarray(LABELS), **args
    )
    np.testing.assert_allclose(slow, [found.diag, found.within, found.across], rtol=1e-10)
    assert abs(halves(K) - pairs(K))[1:].min() > 1e-2


def test_halves_are_unbiased_and_whole_blocks_are_not():
    _, K = kernel()
    found = measures.sampled_values(K, LABELS, size=4, few=2, draws=2000, seed=1)
    truth = pairs(K)
    z = abs(found.mean(axis=1) - truth) / (found.std(axis=1, ddof=1) / np.sqrt(2000))
    names = dict(zip(measures.ESTIMATORS, z, strict=True))
    assert max(names[name].max() for name in ("halves", "pairs", "few")) < 4
    assert names["blocks"][1] > 20


def test_across_classes_halves_scatter_by_the_derived_factor_when_samples_decide():
    # K_ij = g_i + g_j: no scatter but that of the samples, so the first order is all there is
    g = np.random.default_rng(2).normal(size=C * 200)
    K, y = g[:, None] + g[None, :], np.repeat(np.arange(C), 200)
    found = measures.sampled_values(K, y, size=4, few=2, draws=4000, seed=3)
    by_halves, by_pairs = found[:2].std(axis=1, ddof=1)
    left = 1 - 4 / 200  # drawn without replacement
    weights = np.array([[C - 1 - c, c] for c in range(C)])
    own = [np.var(part, ddof=1) for part in g.reshape(C, 200)]
    square = sum(
        v * ((w**2).sum() / 2 - w.sum() ** 2 / 200) for v, w in zip(own, weights, strict=True)
    )
    expected = np.sqrt(square / sum(own) / (left * (C - 1) ** 2 / 4))
    assert by_halves[2] / by_pairs[2] == pytest.approx(expected, rel=0.04)
    assert expected == pytest.approx(np.sqrt(2 * (2 * C - 1) / (3 * (C - 1))), rel=0.05)
    assert by_halves[1] / by_pairs[1] == pytest.approx(1, abs=1e-6)


def test_few_uses_as_many_as_it_says_and_draws_repeat_with_the_seed():
    _, K = kernel()
    options = {"size": 4, "draws": 3, "seed": 5}
    all_of_four, two = (measures.sampled_values(K, LABELS, few=few, **options) for few in (4, 2))
    np.testing.assert_array_equal(all_of_four[2], all_of_four[1])
    assert abs(two[2] - two[1]).min() > 1e-3
    np.testing.assert_array_equal(two, measures.sampled_values(K, LABELS, few=2, **options))
    other = measures.sampled_values(K, LABELS, few=2, **{**options, "seed": 6})
    assert abs(two - other).min() > 1e-6
