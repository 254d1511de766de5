import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import linalg
from ncutils._fast import cholesky


def test_class_means_equal_a_loop_over_classes_of_unequal_size(key):
    y = jnp.array([2, 0, 0, 1, 2, 0, 2, 2])
    H = jax.random.normal(key, (8, 3))
    looped = np.stack([np.asarray(H)[np.asarray(y) == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(linalg.class_means(H, y, num_classes=3), looped, rtol=1e-14)
    wrong = linalg.class_means(H, (y + 1) % 3, num_classes=3)
    assert np.abs(wrong - looped).max() > 0.1


def test_block_means_of_a_gram_matrix_are_products_of_class_means(key):
    y = jnp.array([0, 0, 1, 1, 1, 2])
    H = jax.random.normal(key, (6, 4))
    means = linalg.class_means(H, y, num_classes=3)
    blocks = linalg.block_means(H @ H.T, y, num_classes=3)
    np.testing.assert_allclose(blocks, means @ means.T, rtol=1e-13, atol=1e-14)


def test_block_means_without_a_sample_with_itself_are_those_of_a_loop_over_pairs(key):
    y, K = np.array([2, 0, 0, 1, 2, 0, 1]), np.asarray(jax.random.normal(key, (2, 7, 7)))
    found = linalg.block_means(K, y, num_classes=3, distinct=True)
    for k, a, b in np.ndindex(2, 3, 3):
        pairs = [(i, j) for i in range(7) for j in range(7) if (y[i], y[j]) == (a, b) and i != j]
        np.testing.assert_allclose(found[k, a, b], np.mean([K[k, i, j] for i, j in pairs]))
    own = linalg.block_means(K, y, num_classes=3)
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(own[:, off], found[:, off], rtol=1e-13)
    assert np.abs(own - found)[:, ~off].min() > 1e-3


def test_block_values_are_the_means_of_a_loop_over_pairs(key):
    y = np.repeat(np.arange(3), (4, 3, 5))
    A = np.asarray(jax.random.normal(key, (2, 12, 12)))
    K, order = A @ A.transpose(0, 2, 1), np.random.default_rng(0).permutation(12)
    found = linalg.block_values(K[:, order][:, :, order], y[order], num_classes=3)
    for one, values in zip(K, found, strict=True):
        pairs = {"d": [], "c": [], "n": []}
        for i, j in np.ndindex(12, 12):
            kind = "d" if i == j else "c" if y[i] == y[j] else "n"
            pairs[kind].append(one[i, j])
        np.testing.assert_allclose(values, [np.mean(v) for v in pairs.values()], rtol=1e-12)
        assert abs(values[1] - np.mean(pairs["c"] + pairs["d"])) > 1e-2
    with pytest.raises(ValueError, match="none has two"):
        linalg.block_values(jnp.eye(3), np.arange(3), num_classes=3)


def test_simplex_gram_has_unit_diagonal_and_equal_negative_cosines():
    gram = linalg.simplex_gram(4)
    np.testing.assert_allclose(jnp.diagonal(gram), 1.0, rtol=1e-15)
    np.testing.assert_allclose(gram[0, 1:], -1 / 3, rtol=1e-14)
    np.testing.assert_allclose(gram.sum(axis=1), 0.0, atol=1e-15)


def test_psd_sqrt_squares_back_and_treats_rounding_below_zero_as_zero(key):
    A = jax.random.normal(key, (5, 3))
    M = A @ A.T  # rank 3: two eigenvalues are zero up to rounding
    root = linalg.psd_sqrt(M)
    np.testing.assert_allclose(root @ root, M, atol=1e-13)
    np.testing.assert_allclose(root, root.T, atol=1e-14)
    assert np.isfinite(root).all()


@pytest.mark.parametrize(
    ("labels", "num_classes", "length", "message"),
    [
        ([0, 1, 2], 2, 3, "run from 0 to 2"),
        ([0, -1, 1], 2, 3, "run from -1 to 1"),
        ([0, 0, 2], 3, 3, "no members in class 1"),
        ([0, 0, 0], 1, 3, "at least 2"),
        ([0, 1], 2, 3, "the data have 3 rows"),
    ],
)
def test_labels_that_no_average_can_be_taken_over_are_refused(labels, num_classes, length, message):
    with pytest.raises(ValueError, match=message):
        linalg.check_labels(jnp.array(labels), num_classes=num_classes, length=length)


def test_float_labels_are_refused_and_good_ones_pass():
    with pytest.raises(ValueError, match="integers"):
        linalg.check_labels(np.array([0.0, 1.0]), num_classes=2)
    linalg.check_labels(jnp.array([1, 0, 1]), num_classes=2, length=3)


def test_entries_that_are_not_finite_are_named_by_position():
    with pytest.raises(
        ValueError, match=r"K has 1 entries that are not finite, the first at \(0, 1\)"
    ):
        linalg.check_finite("K", jnp.array([[1.0, jnp.nan], [0.0, 1.0]]))


@pytest.mark.parametrize("n", [7, 40])  # one leaf; halves of unequal size, three levels deep
def test_the_inverse_by_halves_is_the_inverse(n, key):
    A = jax.random.normal(key, (n, n))
    M = A @ A.T + 0.1 * jnp.eye(n)
    found = cholesky.inverse_from_cholesky(jnp.linalg.cholesky(M), leaf=8)
    np.testing.assert_allclose(found @ M, np.eye(n), atol=1e-10)
    np.testing.assert_array_equal(found, found.T)
    upper = cholesky.inverse_from_cholesky(jnp.linalg.cholesky(M).T, leaf=8)  # read as lower
    assert np.abs(upper @ M - np.eye(n)).max() > 1e-2
