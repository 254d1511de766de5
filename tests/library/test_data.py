import functools
import math
import socket

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from ncutils import data

# --- Dataset ------------------------------------------------------------------------------------


def small(**change):
    fields = {
        "x": np.arange(8.0).reshape(4, 2),
        "y": np.array([0, 1, 0, 1]),
        "num_classes": 2,
        "name": "small",
    }
    return data.Dataset(**{**fields, **change})


def test_dataset_keeps_numpy_arrays_that_cannot_be_changed():
    dataset = small(x=np.ones((4, 2, 2, 3)))
    assert type(dataset.x) is np.ndarray
    assert dataset.flat.shape == (4, 12)
    assert dataset.class_sizes.tolist() == [2, 2]
    with pytest.raises(ValueError, match="read-only"):
        dataset.x[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        dataset.y[0] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array([0, 1, 0])}, r"\(4, 2\).*\(3,\)"),
        ({"x": np.ones(4)}, r"\(4,\).*\(4,\)"),
        ({"x": np.ones((4, 2, 2))}, r"\(4, 2, 2\).*\(4,\)"),
        ({"y": np.array([[0], [1], [0], [1]])}, r"\(4, 2\).*\(4, 1\)"),
        ({"x": np.ones((4, 2), int)}, "floating point"),
        ({"x": np.array([[0.0, 1.0], [np.nan, 1.0], [0.0, 0.0], [1.0, 1.0]])}, r"x .*\(1, 0\)"),
        ({"y": np.array([0, 1, 0, 2])}, "from 0 to 2.*num_classes=2"),
        ({"y": np.array([-1, 1, 0, 1])}, "from -1 to 1"),
        ({"num_classes": 3}, "no members in class 2"),
        ({"y": np.zeros(4, int), "num_classes": 1}, "num_classes is 1"),
        ({"y": np.array([0.0, 1.0, 0.0, 1.0])}, "integers"),
    ],
)
def test_dataset_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        small(**change)


def test_digest_follows_content_alone():
    assert small().sha256 == small(name="other", note="lossy").sha256
    different = [
        small(x=np.arange(8.0).reshape(4, 2) + 1e-16 + np.eye(4, 2)),
        small(x=np.arange(8, dtype=np.float32).reshape(4, 2)),
        small(x=np.arange(8.0).reshape(4, 2, 1, 1)),
        small(y=np.array([1, 0, 0, 1])),
    ]
    assert len({d.sha256 for d in (small(), *different)}) == 5


# --- Gaussian classes ---------------------------------------------------------------------------

# Deviations of a correct sampler from the stated moments, in standard errors. The largest of the
# 24 checked numbers of a run exceeds 4.5 by chance once in about 6,000 runs, and seeds are fixed.
MAX_STANDARD_ERRORS = 4.5


def worst_standard_error(X, y, *, means, std):
    """Largest deviation of class means, variances and correlations, in standard errors."""
    X, y, worst = np.asarray(X), np.asarray(y), 0.0
    for c, (mean, s) in enumerate(zip(means, std, strict=True)):
        noise = X[y == c] - mean
        n, d = noise.shape
        worst = max(worst, np.abs(noise.mean(axis=0)).max() / (s / math.sqrt(n)))
        variance = (noise**2).mean(axis=0)
        worst = max(worst, np.abs(variance - s**2).max() / (s**2 * math.sqrt(2 / n)))
        if d > 1:
            across = (noise[:, 0] * noise[:, 1]).mean()
            worst = max(worst, abs(across) / (s**2 / math.sqrt(n)))
    return worst


four_gaussians = functools.partial(data.gaussian_mixture, (-6.0, -2.0, 2.0, 6.0))


@pytest.mark.parametrize(
    ("draw", "sizes", "means", "std"),
    [
        (data.two_gaussians, (512, 512), (-2, 2), 0.5),  # D1
        (data.two_gaussians, (256, 1792), (-2, 2), 2.0),  # std 2, unbalanced
        (four_gaussians, (256,) * 4, (-6, -2, 2, 6), 0.5),  # taken to be D2
    ],
)
def test_presets_have_the_moments_of_the_paper(draw, sizes, means, std, key):
    X, y = draw(sizes=sizes, dim=2, std=std, key=key)
    assert X.shape == (sum(sizes), 2)
    assert X.dtype == jnp.float64
    np.testing.assert_array_equal(y, np.repeat(np.arange(len(sizes)), sizes))
    stated = {"means": means, "std": (std,) * len(sizes)}
    assert worst_standard_error(X, y, **stated) < MAX_STANDARD_ERRORS
    # a covariance taken for a standard deviation, and classes in the other order, are seen
    assert worst_standard_error(X, y, means=means, std=(std**2 + 0.1,) * len(sizes)) > 6
    assert worst_standard_error(X, y, means=means[::-1], std=stated["std"]) > 6


def test_d1_is_the_default_preset():
    key = jax.random.key(4)
    X, _ = data.two_gaussians(sizes=(64, 64), dim=3, key=key)
    same, _ = data.gaussian_mixture(
        np.array([[-2.0] * 3, [2.0] * 3]), sizes=(64, 64), std=math.sqrt(0.25), key=key
    )
    np.testing.assert_array_equal(X, same)


def test_each_class_has_its_own_mean_and_spread(key):
    means, std = np.array([[0.0, 3.0], [-1.0, 5.0], [2.0, 2.0]]), (0.1, 1.0, 3.0)
    X, y = data.gaussian_mixture(means, sizes=(200, 300, 500), std=std, key=key)
    assert worst_standard_error(X, y, means=means, std=std) < MAX_STANDARD_ERRORS
    assert worst_standard_error(X, y, means=means, std=std[::-1]) > 6


def test_vmap_over_keys_equals_the_loop_and_jit_changes_nothing():
    key = jax.random.key(4)
    keys = jax.random.split(key, 3)
    draw = lambda k: data.two_gaussians(sizes=(3, 5), dim=2, key=k)  # noqa: E731
    X, y = jax.jit(jax.vmap(draw, out_axes=(0, None)))(keys)
    loop = [draw(k) for k in keys]
    np.testing.assert_allclose(X, np.stack([x for x, _ in loop]), rtol=1e-14)
    np.testing.assert_array_equal(y, loop[0][1])
    assert len(np.unique(np.asarray(X))) == X.size  # repeats share nothing


def test_sets_of_other_shape_share_no_random_numbers():
    key = jax.random.key(4)
    first, _ = data.two_gaussians(sizes=(8, 8), dim=2, key=key)
    for sizes, dim in (((16, 16), 2), ((8, 8), 4), ((6, 10), 2)):
        other, _ = data.two_gaussians(sizes=sizes, dim=dim, key=key)
        assert not np.isclose(first[0, 0], other).any()


@pytest.mark.parametrize(
    ("means", "options", "message"),
    [
        ((0.0, 1.0), {"sizes": (2, 2)}, "dim=None"),
        ((0.0, 1.0), {"sizes": (2, 2), "dim": 0}, "dim=0"),
        (np.zeros((2, 3)), {"sizes": (2, 2), "dim": 4}, r"\(2, 3\) and dim=4"),
        ((0.0, 1.0), {"sizes": (2, 2, 2), "dim": 1}, r"2 means.*\(2, 2, 2\)"),
        ((0.0, 1.0), {"sizes": (2, 2), "dim": 1, "std": (1.0, 1.0, 1.0)}, r"shape \(3,\)"),
        ((0.0, 1.0), {"sizes": (2, 0), "dim": 1}, r"none empty.*\(2, 0\)"),
        ((0.0,), {"sizes": (2,), "dim": 1}, "two classes"),
        ((0.0, np.inf), {"sizes": (2, 2), "dim": 1}, "finite"),
        ((0.0, 1.0), {"sizes": (2, 2), "dim": 1, "std": -1.0}, "not negative"),
    ],
)
def test_gaussian_mixture_refuses(means, options, message):
    with pytest.raises(ValueError, match=message):
        data.gaussian_mixture(means, **options, key=jax.random.key(0))


# --- the packaged sets --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mnist5k():
    return data.load("mnist5k")


def test_mnist5k_has_500_real_images_of_each_digit(mnist5k):
    assert mnist5k.x.shape == (5000, 28, 28, 1)
    assert mnist5k.x.dtype == np.float64
    assert mnist5k.class_sizes.tolist() == [500] * 10
    assert (mnist5k.x.min(), mnist5k.x.max()) == (0, 1)
    np.testing.assert_array_equal(mnist5k.x * 255, np.round(mnist5k.x * 255))
    # upright and in place: a zero is hollow, a one is not
    centre = mnist5k.x[:, 13:15, 13:15, 0].mean(axis=(1, 2))
    assert centre[mnist5k.y == 0].mean() < 0.2 < 0.7 < centre[mnist5k.y == 1].mean()


def test_digits_are_the_8_by_8_images_of_scikit_learn():
    digits = data.load("digits", dtype=np.float32)
    assert digits.x.shape == (1797, 8, 8, 1)
    assert digits.x.dtype == np.float32
    assert digits.class_sizes.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (digits.x.min(), digits.x.max()) == (0, 1)


def test_packaged_sets_ask_neither_folder_nor_network(monkeypatch):
    monkeypatch.setenv("NCUTILS_DATA", "nowhere")
    monkeypatch.setattr(socket, "socket", None)
    assert data.load("digits").name == "digits"


def test_unknown_name_split_and_dtype_say_what_is_known():
    with pytest.raises(ValueError, match=r"'mnits'.*cifar10, digits, fashion_mnist, mnist, mnist5"):
        data.load("mnits")
    with pytest.raises(ValueError, match="digits has no split 'test', only train"):
        data.load("digits", split="test")
    with pytest.raises(ValueError, match="mnist has no split 'val', only train, test"):
        data.load("mnist", split="val")
    with pytest.raises(ValueError, match="not int64"):
        data.load("digits", dtype=np.int64)


# --- equal numbers of each class ----------------------------------------------------------------


def unbalanced(sizes):
    """Labels with these class sizes, shuffled; x holds the row's own number."""
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    x = np.arange(len(y), dtype=float)[:, None]
    return data.Dataset(x, y, num_classes=len(sizes), name="unbalanced", note="made up")


def test_balanced_subset_draws_without_replacement(key):
    whole = unbalanced((5, 9, 7))
    part = data.balanced_subset(whole, 5, key=key)
    rows = part.x[:, 0].astype(int)
    np.testing.assert_array_equal(part.y, np.repeat([0, 1, 2], 5))
    np.testing.assert_array_equal(whole.y[rows], part.y)
    assert len(set(rows)) == 15
    assert (part.name, part.note) == (whole.name, whole.note)
    assert data.balanced_subset(whole, 5, key=key).sha256 == part.sha256
    assert data.balanced_subset(whole, 5, key=jax.random.key(99)).sha256 != part.sha256


def test_every_member_is_drawn_equally_often():
    # the first of two batches is a draw of 2 from each class
    y, draws = unbalanced((4, 8)).y, 400
    keys = jax.random.split(jax.random.key(0), draws)
    epoch = lambda k: data.balanced_batches(y, num_classes=2, per_class=2, key=k)  # noqa: E731
    counts = np.bincount(np.asarray(jax.vmap(epoch)(keys))[:, 0].ravel(), minlength=12)
    chance = np.where(y == 0, 2 / 4, 2 / 8)
    error = np.sqrt(draws * chance * (1 - chance))
    assert (np.abs(counts - draws * chance) / error).max() < MAX_STANDARD_ERRORS
    assert (np.abs(counts - draws / 3) / error).max() > 6  # classes drawn by size would be seen


def test_balanced_subset_does_not_depend_on_the_precision_in_force():
    key = jax.random.key(4)
    whole = unbalanced((5, 9, 7))
    with jax.enable_x64(False):
        single = data.balanced_subset(whole, 3, key=key)
    assert single.sha256 == data.balanced_subset(whole, 3, key=key).sha256


def test_batches_have_exactly_the_same_number_of_each_class(key):
    y = unbalanced((7, 12, 9)).y
    batches = np.asarray(data.balanced_batches(y, num_classes=3, per_class=2, key=key))
    assert batches.shape == (3, 6)
    np.testing.assert_array_equal(y[batches], np.tile(np.repeat([0, 1, 2], 2), (3, 1)))
    assert len(np.unique(batches)) == batches.size
    # plain shuffling would not do: some batch would then be uneven
    shuffled = y[np.asarray(jax.random.permutation(key, len(y)))[:18].reshape(3, 6)]
    assert any(np.bincount(b, minlength=3).tolist() != [2, 2, 2] for b in shuffled)


def test_epochs_of_batches_come_from_one_vmap_and_differ():
    key = jax.random.key(4)
    y = unbalanced((7, 12, 9)).y
    epoch = lambda k: data.balanced_batches(y, num_classes=3, per_class=2, key=k)  # noqa: E731
    keys = jax.random.split(key, 8)
    epochs = jax.jit(jax.vmap(epoch))(keys)
    np.testing.assert_array_equal(epochs, np.stack([epoch(k) for k in keys]))
    assert len(np.unique(np.asarray(epochs).reshape(8, -1), axis=0)) == 8
    # rows left over are others each time, so that all 28 are seen
    assert len(np.unique(np.asarray(epochs))) > 18


def test_batches_of_mnist_are_as_many_as_in_the_paper():
    key = jax.random.key(4)
    # 12 of each class; 5,421 images in MNIST's smallest class make 451 batches, 5,412 a class
    y = np.repeat([0, 1], [5421, 6742])
    assert data.balanced_batches(y, num_classes=2, per_class=12, key=key).shape == (451, 24)


def test_more_than_the_smallest_class_has_is_refused():
    whole, key = unbalanced((3, 5)), jax.random.key(0)
    for per_class in (0, 4):
        with pytest.raises(ValueError, match=rf"per_class={per_class}.*1 and 3.*\[3, 5\]"):
            data.balanced_subset(whole, per_class, key=key)
        with pytest.raises(ValueError, match=rf"per_class={per_class}.*1 and 3.*\[3, 5\]"):
            data.balanced_batches(whole.y, num_classes=2, per_class=per_class, key=key)
    with pytest.raises(ValueError, match="no members in class 2"):
        data.balanced_batches(whole.y, num_classes=3, per_class=1, key=key)
