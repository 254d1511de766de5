r"""How far the three values of a kernel from a few samples are from those of the whole set.

P2 takes $\kappa$ and $\gamma$ from twelve samples of each class, and of these from products
of one half with the other. Here the kernel of the features on the whole training set is
known, and such samples are drawn from it again and again.
"""

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from ncutils import entk, models
from ncutils.experiments.seleznova2023 import _network_metrics as watch
from ncutils.experiments.seleznova2023._network_reading import fitted

ESTIMATORS = ("halves", "pairs", "few", "blocks")


def halves(K: Float[np.ndarray, "c s c s"]) -> Float[np.ndarray, " 3"]:
    """The released estimate: first half of a class against the second half of each later one."""
    h = K.shape[1] // 2
    blocks = K[:, :h, :, h:].mean(axis=(1, 3))
    later = np.triu_indices(len(blocks), 1)
    return np.array([_diagonal(K), np.trace(blocks) / len(blocks), blocks[later].mean()])


def pairs(K: Float[np.ndarray, "c s c s"]) -> Float[np.ndarray, " 3"]:
    """The mean over all pairs of different samples."""
    size, blocks = K.shape[1], K.mean(axis=(1, 3))
    whole, within = _diagonal(K), np.trace(blocks) / len(blocks)
    across = (blocks.mean() * len(blocks) - within) / (len(blocks) - 1)
    return np.array([whole, (size * within - whole) / (size - 1), across])


def blocks(K: Float[np.ndarray, "c s c s"]) -> Float[np.ndarray, " 3"]:
    """What it would be with whole blocks, which hold each sample with itself: biased."""
    found = K.mean(axis=(1, 3))
    later = np.triu_indices(len(found), 1)
    return np.array([_diagonal(K), np.trace(found) / len(found), found[later].mean()])


def _diagonal(K) -> float:
    return float(np.einsum("cscs->", K)) / (K.shape[0] * K.shape[1])


def drawn(
    K: Float[np.ndarray, "n n"],
    y: Int[np.ndarray, " n"],
    *,
    size: int,
    few: int,
    draws: int,
    seed: int,
) -> Float[np.ndarray, "e d 3"]:
    """Estimates from samples of a kernel matrix, for each of `ESTIMATORS`.

    Args:
        K: the kernel of all samples. y: their labels, equally many of each class.
        size: samples drawn of each class, even. few: of these, how many `few` uses.
        draws: how often. seed: of the draws, which are without replacement.

    Returns:
        Estimators, draws, and the values on the diagonal, within and across classes.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(y == c) for c in np.unique(y)]
    found = np.empty((len(ESTIMATORS), draws, 3))
    for draw in range(draws):
        rows = np.concatenate([rng.choice(own, size, replace=False) for own in members])
        part = K[np.ix_(rows, rows)].reshape(len(members), size, len(members), size)
        found[:, draw] = halves(part), pairs(part), pairs(part[:, :few, :, :few]), blocks(part)
    return found


@eqx.filter_jit
def _kernels(networks, runs, X, X_first, *, chunk: int):
    """Of some networks: mean kernel over features on X, features of other images, classifier."""
    weights, held, static = models.partition(networks)

    def one(run):
        some = jax.tree.map(lambda leaf: leaf[run], (weights, held))
        model = eqx.combine(*some, static)
        _, h, params = models.functions(model)
        W = model.classifier.weight.astype(float)
        traced = entk.traced_ntk(h, params, X, chunk=chunk).astype(float)
        return traced / W.shape[1], models.features(model, X_first).astype(float), W

    return jax.lax.map(one, runs)


@eqx.filter_jit
def _alignments(W, H, values, *, m: int):
    """Alignment of the invariant of one network for many triples of values of its kernel."""
    C = W.shape[0]
    at = lambda three: watch.invariant_numbers(W, H, tuple(three), m=m, C=C)  # noqa: E731
    return jax.vmap(lambda three: at(three)["invariant_alignment"])(values)


def estimates(
    ds: xr.Dataset,
    networks,
    X: Float[jax.Array, "n *shape"],
    y: Int[np.ndarray, " n"],
    *,
    per_class: int,
    size: int,
    few: int,
    draws: int,
    seed: int,
    chunk: int,
) -> xr.Dataset:
    """The values of the whole set and of draws from it, for two networks of a cell.

    Args:
        ds: the cell's result, to choose the networks from: of the first seed and those that
            fit, the one with the smallest NC1 and the one with the largest.
        networks: the stack of trained networks. X, y: their training set.
        per_class: samples of each class that count as the whole set.
        size, few, draws, seed: as for `drawn`; `size` is also the m of the invariant.
        chunk: features differentiated at a time.

    Returns:
        `whole_values` (example × value) and `estimated_values` (example × estimator × draw ×
        value) of the kernel of the features; `whole_alignment` and `estimated_alignment` of
        the invariant, with the features of the first `size` samples of each class and these
        values; coordinates `example_run`, `drawn_per_class`, `few_per_class` and
        `whole_per_class`.
    """
    chosen = fitted(ds.assign_coords(place=("run", np.arange(ds.sizes["run"]))))
    chosen = chosen.isel(run=np.flatnonzero(chosen.seed == ds.seed[0]))
    ends = chosen.nc1.isel(epoch=-1).values
    runs = chosen.place.values[[int(np.argmin(ends)), int(np.argmax(ends))]]
    rows, first = watch.first_of_each(y, per_class), watch.first_of_each(y, size)
    images, C = np.asarray(X), len(np.unique(y))
    found = _kernels(networks, runs, images[rows], images[first], chunk=chunk)
    kernels, H, W = map(np.asarray, found)
    whole = np.stack([pairs(k.reshape(C, per_class, C, per_class)) for k in kernels])
    how = {"size": size, "few": few, "draws": draws, "seed": seed}
    found = np.stack([drawn(k, y[rows], **how) for k in kernels])
    all_values = np.concatenate([found.reshape(len(runs), -1, 3), whole[:, None]], axis=1)
    alignment = np.stack(
        [_alignments(*one, m=size) for one in zip(W, H.transpose(0, 2, 1), all_values, strict=True)]
    )
    shape = ("example", "estimator", "draw")
    return xr.Dataset(
        {
            "whole_values": (("example", "value"), whole),
            "estimated_values": ((*shape, "value"), found.astype("float32")),
            "whole_alignment": ("example", alignment[:, -1]),
            "estimated_alignment": (
                shape,
                alignment[:, :-1].reshape(found.shape[:3]).astype("float32"),
            ),
        },
        coords={
            "example_run": ("example", runs),
            "estimator": list(ESTIMATORS),
            "value": ["diag", "within", "across"],
            "drawn_per_class": size,
            "few_per_class": few,
            "whole_per_class": per_class,
        },
    )
