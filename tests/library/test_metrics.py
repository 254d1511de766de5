import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import linalg, metrics
from tests import oracles

UNEQUAL = jnp.array([0] * 3 + [1] * 7 + [2] * 5)


def features(key, y=UNEQUAL, p=6):
    means = 2 * jax.random.normal(jax.random.fold_in(key, 1), (int(y.max()) + 1, p))
    return means[y] + jax.random.normal(key, (len(y), p))


@pytest.mark.parametrize("kind", ["trace", "pinv", "std", "cdnv"])
def test_nc1_equals_its_definition_by_loops(key, kind):
    H = features(key)
    slow = oracles.nc1(np.asarray(H), np.asarray(UNEQUAL), 3, kind)
    np.testing.assert_allclose(metrics.nc1(H, UNEQUAL, num_classes=3, kind=kind), slow, rtol=1e-11)


@pytest.mark.parametrize("kind", ["trace", "pinv", "std", "cdnv"])
def test_nc1_is_zero_exactly_when_each_class_is_a_point(key, kind):
    H = features(key)
    collapsed = linalg.class_means(H, UNEQUAL, num_classes=3)[UNEQUAL]
    assert metrics.nc1(collapsed, UNEQUAL, num_classes=3, kind=kind) < 1e-14
    assert metrics.nc1(H, UNEQUAL, num_classes=3, kind=kind) > 1e-2


def test_shrinking_the_deviations_by_t_scales_nc1_by_t_squared_and_its_std_by_t(key):
    H = features(key)
    means = linalg.class_means(H, UNEQUAL, num_classes=3)[UNEQUAL]
    shrunk = means + 0.1 * (H - means)
    for kind, power in (("trace", 2), ("pinv", 2), ("cdnv", 2), ("std", 1)):
        before, after = (metrics.nc1(x, UNEQUAL, num_classes=3, kind=kind) for x in (H, shrunk))
        np.testing.assert_allclose(after, 0.1**power * before, rtol=1e-10)


def test_an_orthogonal_change_of_basis_leaves_every_relative_metric_and_moves_the_std(key):
    H, W = features(key), jax.random.normal(jax.random.fold_in(key, 7), (3, 6))
    rotation, _ = jnp.linalg.qr(jax.random.normal(jax.random.fold_in(key, 8), (6, 6)))
    for kind in ("trace", "pinv", "cdnv"):
        before, after = (
            metrics.nc1(x, UNEQUAL, num_classes=3, kind=kind) for x in (H, H @ rotation)
        )
        np.testing.assert_allclose(after, before, rtol=1e-10)
    np.testing.assert_allclose(
        metrics.nc3(H @ rotation, UNEQUAL, W @ rotation, num_classes=3),
        metrics.nc3(H, UNEQUAL, W, num_classes=3),
        rtol=1e-12,
    )
    before, after = (metrics.nc1(x, UNEQUAL, num_classes=3, kind="std") for x in (H, H @ rotation))
    assert abs(after / before - 1) > 1e-4


@pytest.mark.parametrize("kind", ["frobenius", "mean_square"])
def test_nc2_equals_its_definition_and_vanishes_at_a_simplex_frame(key, kind):
    H = features(key)
    slow = oracles.nc2(np.asarray(H), np.asarray(UNEQUAL), 3, kind)
    np.testing.assert_allclose(metrics.nc2(H, UNEQUAL, num_classes=3, kind=kind), slow, rtol=1e-11)
    frame = 4.2 * linalg.psd_sqrt(linalg.simplex_gram(3))[UNEQUAL] + 1.0
    assert metrics.nc2(frame, UNEQUAL, num_classes=3, kind=kind) < 1e-13
    assert slow > 1e-3


def test_nc3_equals_its_definition_and_vanishes_when_classifier_and_means_align(key):
    H, W = features(key), jax.random.normal(jax.random.fold_in(key, 5), (3, 6))
    slow = oracles.nc3(np.asarray(H), np.asarray(UNEQUAL), np.asarray(W), 3)
    np.testing.assert_allclose(metrics.nc3(H, UNEQUAL, W, num_classes=3), slow, rtol=1e-12)
    aligned = 0.3 * jnp.asarray(oracles.centred_means(np.asarray(H), np.asarray(UNEQUAL), 3))
    assert metrics.nc3(H, UNEQUAL, aligned, num_classes=3) < 1e-13
    np.testing.assert_allclose(metrics.nc3(H, UNEQUAL, -aligned, num_classes=3), 2.0, rtol=1e-13)


def test_nc4_counts_disagreements_with_the_nearest_class_mean(key):
    H, W = features(key), jax.random.normal(jax.random.fold_in(key, 5), (3, 6))
    b = jax.random.normal(jax.random.fold_in(key, 6), (3,))
    slow = oracles.nc4(*(np.asarray(x) for x in (H, UNEQUAL, W, b)), 3)
    np.testing.assert_allclose(metrics.nc4(H, UNEQUAL, W, b, num_classes=3), slow, rtol=1e-14)
    means = linalg.class_means(H, UNEQUAL, num_classes=3)
    nearest = metrics.nc4(H, UNEQUAL, means, -0.5 * jnp.sum(means**2, axis=1), num_classes=3)
    assert nearest == 0.0
    assert metrics.nc4(H, UNEQUAL, -means, 0 * b, num_classes=3) > 0.3


def test_theorem_4_1_kernel_traces_equal_covariance_traces_for_unequal_classes(key):
    H = features(key)
    within, between = oracles.covariances(np.asarray(H), np.asarray(UNEQUAL), 3)
    found = metrics.kernel_nc1(H @ H.T, UNEQUAL, num_classes=3)
    np.testing.assert_allclose(found.within, np.trace(within), rtol=1e-11)
    np.testing.assert_allclose(found.between, np.trace(between), rtol=1e-11)
    np.testing.assert_allclose(found.ratio, np.trace(within) / np.trace(between), rtol=1e-11)


def test_theorem_4_1_as_printed_is_right_for_equal_classes_and_wrong_for_others(key):
    equal = jnp.repeat(jnp.arange(3), 5)
    for y, same in ((equal, True), (UNEQUAL, False)):
        H = features(key, y)
        exact, printed = (
            metrics.kernel_nc1(H @ H.T, y, num_classes=3, weighting=w)
            for w in ("exact", "as_printed")
        )
        assert bool(jnp.isclose(exact.within, printed.within, rtol=1e-10)) == same
        assert bool(jnp.isclose(exact.between, printed.between, rtol=1e-10)) == same


def test_the_printed_between_class_trace_can_be_negative_which_no_variance_is():
    y = jnp.array([0] * 20 + [1] * 60)
    H = jnp.where(y == 0, 0.1, 1.0)[:, None]  # the large class has the large norm
    printed = metrics.kernel_nc1(H @ H.T, y, num_classes=2, weighting="as_printed")
    assert printed.between < 0
    assert metrics.kernel_nc1(H @ H.T, y, num_classes=2).between > 0


def test_kernel_nc1_does_not_care_about_the_order_of_the_samples(key):
    H = features(key)
    shuffled = jax.random.permutation(jax.random.fold_in(key, 3), len(UNEQUAL))
    K, L = H @ H.T, H[shuffled] @ H[shuffled].T
    np.testing.assert_allclose(
        metrics.kernel_nc1(L, UNEQUAL[shuffled], num_classes=3).ratio,
        metrics.kernel_nc1(K, UNEQUAL, num_classes=3).ratio,
        rtol=1e-11,
    )


def test_kernel_nc1_batched_by_vmap_equals_a_loop(key):
    H = jax.random.normal(key, (4, len(UNEQUAL), 6))
    K = H @ H.transpose(0, 2, 1)
    batched = jax.vmap(lambda k: metrics.kernel_nc1(k, UNEQUAL, num_classes=3).ratio)(K)
    looped = [float(metrics.kernel_nc1(k, UNEQUAL, num_classes=3).ratio) for k in K]
    np.testing.assert_allclose(batched, looped, rtol=1e-12)


def test_label_alignment_is_one_for_the_ideal_kernel_and_small_for_the_identity():
    same = (UNEQUAL[:, None] == UNEQUAL[None, :]).astype(float)
    np.testing.assert_allclose(metrics.label_alignment(3.0 * same, UNEQUAL), 1.0, rtol=1e-14)
    n = len(UNEQUAL)
    np.testing.assert_allclose(
        metrics.label_alignment(jnp.eye(n), UNEQUAL), n / np.sqrt(n * same.sum()), rtol=1e-14
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda K, y: (K.at[0, 1].set(jnp.nan), y), "not finite"),
        (lambda K, y: (K.at[0, 1].add(0.1), y), "symmetric"),
        (lambda K, y: (K[:, :-1], y), "square"),
        (lambda K, y: (K, y[:-1]), "15 rows"),
        (lambda K, y: (K, y.at[0].set(3)), "run from 0 to 3"),
        (lambda K, y: (K, jnp.where(y == 1, 2, y)), "no members in class 1"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_kernel_nc1_refuses_what_is_no_kernel_or_no_labelling(change, message):
    H = jnp.arange(30.0).reshape(15, 2)
    with pytest.raises(ValueError, match=message):
        metrics.kernel_nc1(*change(H @ H.T, UNEQUAL), num_classes=3)


@pytest.mark.usefixtures("as_a_user")
def test_unknown_kinds_and_one_class_are_refused():
    H, one = jnp.ones((15, 2)), jnp.zeros(15, int)
    for call, message in (
        (lambda: metrics.nc1(H, UNEQUAL, num_classes=3, kind="ratio"), "unknown kind 'ratio'"),
        (lambda: metrics.nc2(H, UNEQUAL, num_classes=3, kind="l2"), "unknown kind 'l2'"),
        (lambda: metrics.kernel_nc1(H @ H.T, UNEQUAL, num_classes=3, weighting="x"), "weighting"),
        (lambda: metrics.nc1(H, one, num_classes=1), "at least 2"),
        (lambda: metrics.nc3(H, UNEQUAL, jnp.ones((2, 3)), num_classes=3), "expected"),
        (lambda: metrics.nc4(H, UNEQUAL, jnp.ones((3, 2)), jnp.ones(2), num_classes=3), "b has"),
        (lambda: metrics.label_alignment(H @ H.T, one[:3]), "lengths|shape"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
