"""The cases on Deep RFM: what they add to the library is right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import data, metrics
from ncutils import deep_rfm as library
from ncutils.experiments.beaglehole2024 import deep_rfm
from tests import oracles

C, PER, D = 10, 2, 6


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    y = jnp.asarray(np.repeat(np.arange(C), PER))
    X = jnp.asarray(3 * rng.normal(size=(C, D))[np.asarray(y)] + rng.normal(size=(C * PER, D)))
    return deep_rfm.Split(X, y, X, y, C)


def test_sets_that_are_nowhere_at_hand_are_refused(monkeypatch):
    def missing(*_, **__):
        raise data.DownloadError("no network")

    monkeypatch.setattr(data, "load", missing)
    with pytest.raises(ValueError, match="none of digits is at hand"):
        deep_rfm.figures(deep_rfm.figures.scales["smoke"])


def test_the_paper_scale_is_the_papers():
    config = deep_rfm.figures.scales["paper"]
    assert (config.limit, config.depth, config.width) == (50_000, 20, 1024)
    assert config.panels == (1, 3, 7, 13, 19)
    recipe = deep_rfm.recipe_of("relu", config)
    needed = library.memory(config.limit, 3072, recipe=recipe, itemsize=4)
    assert needed < config.memory_limit
    fifth = deep_rfm.figures.scales["workstation"]
    assert (5 * fifth.limit, fifth.depth, fifth.width) == (50_000, 20, 1024)
    assert library.memory(fifth.limit, 784, recipe=recipe) < fifth.memory_limit


def test_training_and_test_digits_are_different_ones_of_the_same_classes():
    config = deep_rfm.figures.scales["smoke"]
    drawn = deep_rfm.load("digits", config, 0)
    assert drawn.X.shape == drawn.test.shape == (80, 64)
    assert np.array_equal(np.bincount(drawn.y), [8] * 10)
    together = np.vstack([drawn.X, drawn.test])
    assert len(np.unique(together, axis=0)) == 160
    np.testing.assert_allclose(drawn.X.mean(axis=0), 0, atol=1e-12)
    other = deep_rfm.load("digits", config, 1)
    assert not np.array_equal(drawn.X, other.X)


def test_the_released_nc1_is_ten_times_too_small(split):
    X, y = np.asarray(split.X), np.asarray(split.y)
    definition = oracles.nc1(X, y, C, "trace")
    assert deep_rfm.released_nc1(X, y, C) == pytest.approx(definition / 10, rel=1e-12)


def test_gram_panels_are_cosines_of_centred_rows(split):
    gram = deep_rfm._gram(split.X, split.y, 2)
    rows = np.asarray(split.X) - np.asarray(split.X).mean(axis=0)
    expected = rows[0] @ rows[3] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[3])
    assert gram[0, 3] == pytest.approx(expected, rel=1e-5)
    assert deep_rfm._gram(split.X, split.y, 1).shape == (C, C)


def test_a_net_that_stops_leaves_nan():
    rows = [{"a": np.array([1.0, 2.0])}]
    found = deep_rfm.stacked(rows, depth=2)["a"]
    assert found.shape == (3, 2)
    assert np.isnan(found[1:]).all()


def test_the_kernel_of_the_1_norm(split):
    X = np.asarray(split.X)
    K = deep_rfm.l1_kernel(split.X, 0.05)
    expected = [[np.exp(-0.05 * np.abs(a - b).sum()) for b in X] for a in X]
    np.testing.assert_allclose(K, expected, rtol=1e-12)


def test_shrinking_keeps_the_class_means_and_takes_nc1_down_by_the_square(split):
    half = deep_rfm.shrunk(split.X, split, 0.5)
    nc1 = [float(metrics.nc1(H, split.y, num_classes=C)) for H in (split.X, half)]
    assert nc1[1] == pytest.approx(nc1[0] / 4, rel=1e-12)
    key = jax.random.key(0)
    cauchy = library.Layout("cosine", width=4000, frequency=0.05)
    smooth = library.Layout("cosine", width=4000, weights="gaussian", frequency=0.2)
    slopes = []
    for recipe in (cauchy, smooth):
        found = deep_rfm.response(split.X, split, recipe, (0.2, 0.1), key)
        slopes.append(np.diff(np.log(found), axis=0)[0])
    slopes = [s[1] / s[0] for s in slopes]
    # 4000 draws with heavy tails; the limits are one half and one
    assert slopes[0] == pytest.approx(0.5, abs=0.1)
    assert slopes[1] == pytest.approx(1.0, abs=0.01)


def test_variants_change_one_thing(split):
    config = deep_rfm.variants.scales["smoke"]
    plain = deep_rfm.changed("agop", "relu", split, config, 0)
    for name, field, value in (
        ("identity", "matrix", "identity"),
        ("random", "matrix", "random"),
        ("no ridge", "ridge", 0.0),
        ("sum", "normalisation", "sum"),
    ):
        recipe, _, labels = deep_rfm.changed(name, "relu", split, config, 0)
        assert getattr(recipe, field) == value
        assert np.array_equal(labels, split.y)
    narrow = deep_rfm.changed("narrow", "cosine", split, config, 0)[0]
    assert narrow.features(D) == D // 2
    shuffled = deep_rfm.changed("shuffled", "relu", split, config, 0)
    assert shuffled[0] == plain[0]
    assert not np.array_equal(shuffled[2], split.y)
    assert np.array_equal(np.sort(shuffled[2]), split.y)
    tight = deep_rfm.changed("collapsed", "cosine", split, config, 0)[1]
    assert float(jnp.max(jnp.abs(tight.X - split.X))) > 0.1
