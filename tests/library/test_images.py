import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import data, linalg

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def images(n=3, side=4, channels=2):
    return np.random.default_rng(0).uniform(size=(n, side, side, channels)).astype(np.float32)


def test_pooling_takes_means_over_squares_of_each_channel():
    x = images()
    pooled = data.pool(x, 2)
    assert pooled.shape == (3, 2, 2, 2)
    assert pooled.dtype == np.float32
    for i, j in ((0, 0), (0, 1), (1, 0)):
        square = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        np.testing.assert_allclose(pooled[:, i, j], square.mean(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(data.pool(x, 1), x)
    # a reshape that forgets that a row of pixels is continued in the next square
    wrong = x.reshape(3, 2, 2, 4, 2).mean(axis=3)
    assert np.abs(pooled - wrong).max() > 1e-2
    with pytest.raises(ValueError, match="4 × 4 pixels cannot be cut into squares of 3 × 3"):
        data.pool(x, 3)


def test_resizing_shrinks_by_means_and_grows_bilinearly():
    x = images()
    np.testing.assert_array_equal(data.resize(x, 2), data.pool(x, 2))
    grown = data.resize(x, 8)
    assert grown.shape == (3, 8, 8, 2)
    # pixel k lies at k/2 - 1/4 of the old grid: a quarter from its nearest old pixel
    rows = 0.75 * x[:, 1:3] + 0.25 * x[:, 2:4]
    np.testing.assert_allclose(
        grown[:, 3:6:2, 3], 0.75 * rows[:, :, 1] + 0.25 * rows[:, :, 2], rtol=1e-5
    )
    with pytest.raises(ValueError, match="cannot be averaged to 3 × 3"):
        data.resize(x, 3)


def test_standardised_coordinates_and_constant_features():
    X = np.random.default_rng(3).normal(size=(9, 4)) * [1, 5, 1, 1] + 7
    X[:, 2] = 0.1
    Z, other = data.standardise(jnp.asarray(X), jnp.asarray(X[:2] + 1))
    np.testing.assert_allclose(Z[:, 2], 0, atol=1e-15)
    kept = [0, 1, 3]
    std = X[:, kept].std(axis=0, ddof=1)
    np.testing.assert_allclose(Z[:, kept], (X[:, kept] - X[:, kept].mean(axis=0)) / std, **EXACT)
    np.testing.assert_allclose(other[:, kept] - Z[:2, kept], np.tile(1 / std, (2, 1)), **EXACT)
    np.testing.assert_allclose(other[:, 2], 0, atol=1e-15)


def test_unit_rows_have_the_asked_norm_and_zero_stays():
    X = np.random.default_rng(1).normal(size=(4, 3))
    X[2] = 0
    lengths = np.linalg.norm(data.unit_rows(jnp.asarray(X), norm=3**0.5), axis=1)
    np.testing.assert_allclose(lengths, [3**0.5, 3**0.5, 0, 3**0.5], **EXACT)
    np.testing.assert_allclose(np.linalg.norm(data.unit_rows(X)[0]), 1, **EXACT)
    assert np.linalg.norm(X[0]) != pytest.approx(1)


def test_signed_targets_are_one_at_the_label_and_minus_one_elsewhere():
    y = np.array([2, 0, 1, 2])
    found = linalg.signed_one_hot(jnp.asarray(y), num_classes=3, dtype=jnp.float32)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, np.where(y[:, None] == np.arange(3), 1.0, -1.0))


def test_a_split_is_balanced_sorted_and_shares_no_sample():
    whole = data.load("digits")
    train, test = data.split(whole, 5, 3, key=jax.random.key(1))
    np.testing.assert_array_equal(train.y, np.repeat(np.arange(10), 5))
    np.testing.assert_array_equal(test.y, np.repeat(np.arange(10), 3))
    rows = {row.tobytes() for row in train.flat}
    assert len(rows) == 50
    assert not rows & {row.tobytes() for row in test.flat}
    both = data.balanced_subset(whole, 8, key=jax.random.key(1))
    np.testing.assert_array_equal(train.x[5:10], both.x[8:13])
    with pytest.raises(ValueError, match="per_class=400"):
        data.split(whole, 300, 100, key=jax.random.key(1))


def test_sorting_by_class_keeps_the_order_within_a_class():
    x = np.arange(12.0).reshape(6, 2)
    whole = data.Dataset(x, np.array([1, 0, 2, 1, 0, 2]), num_classes=3, name="small")
    ordered = data.sorted_by_class(whole)
    np.testing.assert_array_equal(ordered.y, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(ordered.x, x[[1, 4, 0, 3, 2, 5]])
