r"""What P2 measures of a network: collapse, kernels, the invariant, kernels of few samples.

P2 takes $\kappa$ and $\gamma$ from twelve samples of each class, and of these from products
of one half with the other. `estimates` has the kernel of the features on the whole training
set, and draws such samples from it again and again.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from ncutils import block_ntk, entk, linalg, metrics, models
from ncutils.block_ntk import BlockKernel

FIT = 0.99  # share of the training set; P2 draws its line at 0.999 of some fifty thousand
ROWS_AT_ONCE = 500  # images in one pass of a network that is only looked at


def _features(model, X: Float[Array, "n *shape"]) -> Float[Array, "n p"]:
    """Features of any number of images in bounded memory."""
    # equal batches: a remainder would be compiled a second time
    sizes = [d for d in range(1, ROWS_AT_ONCE + 1) if len(X) % d == 0]
    return jax.lax.map(model.features, X, batch_size=sizes[-1])


def invariant_numbers(
    W: Float[Array, "c n"], H: Float[Array, "n N"], values, *, m: int, C: int
) -> dict[str, Float[Array, ""]]:
    r"""Size and alignment of the invariant, and the sizes of its terms, as P2's code has them.

    $$\lVert mE\rVert_F, \qquad
      \Big\langle \frac{W^\top W}{\lVert W^\top W\rVert_F},
        \frac{W^\top W - mE}{\lVert W^\top W - mE\rVert_F} \Big\rangle, \qquad
      \lVert H_1 H_1^\top\rVert_F,\ m \lVert H_2 H_2^\top\rVert_F,\
      \lVert \langle h\rangle \langle h\rangle^\top\rVert_F .$$

    Args:
        W: classifier. H: features, columns sorted by class.
        values: the three values of the feature kernel.
        m: samples per class. C: classes.

    Returns:
        `invariant_norm`, `invariant_relative` (the norm over that of $W^\top W$),
        `invariant_alignment`, `norm_means`, `norm_within`, `norm_global`.

    Source: P2, (26), (28) and its released code, which plots m E.
    """
    E = m * block_ntk.invariant(W, H, BlockKernel(*values), m=m, C=C)
    gram = W.T @ W
    H1, H2 = block_ntk.decompose(H, m=m, C=C)
    size, rest = jnp.linalg.norm(gram), gram - E
    norm = jnp.linalg.norm(E)
    return {
        "invariant_norm": norm,
        "invariant_relative": norm / size,
        "invariant_alignment": jnp.sum(gram * rest) / (size * jnp.linalg.norm(rest)),
        "norm_means": jnp.linalg.norm(H1 @ H1.T),
        "norm_within": m * jnp.linalg.norm(H2 @ H2.T),
        "norm_global": jnp.sum(jnp.mean(H1, axis=1) ** 2),
    }


def collapse_numbers(H, y, W, *, C: int) -> dict[str, Float[Array, ""]]:
    """NC1 as a ratio of traces and as P2's mean standard deviation, NC2, NC3."""
    return {
        "nc1": metrics.nc1(H, y, num_classes=C),
        "nc1_std": metrics.nc1(H, y, num_classes=C, kind="std"),
        "nc2": metrics.nc2(H, y, num_classes=C),
        "nc3": metrics.nc3(H, y, W, num_classes=C),
    }


def first_of_each(y: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " k"]:
    """Rows of the first `count` samples of each class."""
    return np.concatenate([np.flatnonzero(y == c)[:count] for c in np.unique(y)])


def make_measure(
    y: Int[np.ndarray, " n"],
    X_test: Float[Array, "t *shape"],
    y_test: Int[np.ndarray, " t"],
    *,
    loss: Callable,
    per_class: int,
    kernel_per_class: int,
    chunk: int,
) -> Callable:
    """The function that `training` calls at the recorded epochs.

    Args:
        y: labels of the training set.
        X_test, y_test: what the test accuracy is taken on.
        loss: that of the training.
        per_class: m, samples per class of the collapse metrics and of the invariant.
        kernel_per_class: of these, how many the kernels are taken on.
        chunk: outputs or features differentiated at a time.

    Returns:
        measure(model, start, X, targets) -> arrays; everything with running statistics.
    """
    C = int(y.max()) + 1
    rows = first_of_each(y, per_class)
    few = first_of_each(y, kernel_per_class)
    labels = np.concatenate([y, y_test])

    def measure(model, start, X, targets):
        del start
        f, h, params = models.functions(model)
        everywhere = _features(model, jnp.concatenate([X, X_test]))
        outputs = jax.vmap(model.readout)(everywhere)
        right = (jnp.argmax(outputs, axis=1) == labels).astype(float)
        H = everywhere[rows].astype(float)
        W = model.classifier.weight.astype(float)
        numbers = {
            "loss": loss(outputs[: len(y)], targets),
            "train_accuracy": jnp.mean(right[: len(y)]),
            "test_accuracy": jnp.mean(right[len(y) :]),
            **collapse_numbers(H, jnp.asarray(y[rows]), W, C=C),
        }
        for name, function, letter in (("outputs", f, "gamma"), ("features", h, "kappa")):
            traced = entk.traced_ntk(function, params, X[few], chunk=chunk).astype(float)
            width = C if name == "outputs" else W.shape[1]
            values = linalg.block_values(traced / width, y[few], num_classes=C)
            numbers |= {f"{letter}_{tail}": v for tail, v in zip("dcn", values, strict=True)}
            numbers[f"alignment_{name}"] = metrics.label_alignment(traced, jnp.asarray(y[few]))
            numbers[f"traced_{name}"] = traced.astype("float32")
        numbers |= invariant_numbers(W, H.T, values, m=per_class, C=C)
        return numbers

    return measure


@eqx.filter_jit
def component_sizes(networks, X: Float[Array, "n *shape"], *, chunk: int):
    r"""$\lVert\Theta_{k,s}(X)\rVert_F$ and $\lVert\Theta^h_{k,s}(X)\rVert_F$ of each run."""

    def one(model):
        f, h, params = models.functions(model)
        sizes = (entk.component_norms(g, params, X, chunk=chunk) for g in (f, h))
        return {name: size for name, size in zip(("outputs", "features"), sizes, strict=True)}

    return jax.lax.map(one, networks)


def fitted(ds: xr.Dataset, *, accuracy: float = FIT) -> xr.Dataset:
    """The runs that did not diverge and fit their training set at the end.

    Where not even three do, as at scale smoke, all that did not diverge.
    """
    last = ds.isel(epoch=-1)
    alive = ~ds.diverged.values & np.isfinite(last.nc1.values)
    fit = alive & (last.train_accuracy.values >= accuracy)
    return ds.isel(run=np.flatnonzero(fit if fit.sum() >= 3 else alive))


# --- the three values from few samples --------------------------------------------------------

ESTIMATORS = ("halves", "pairs", "few", "blocks")


def halves(
    K: Float[np.ndarray, "*draws n n"], y: Int[np.ndarray, " n"], *, C: int
) -> Float[np.ndarray, "*draws 3"]:
    """The released estimate: first half of a class against the second half of each later one.

    Args:
        K: a kernel, or several of the same labels.
        y: labels, sorted by class and equally many of each.
        C: classes.
    """
    size = len(y) // C
    second = np.tile(np.arange(size) >= size // 2, C)
    means = np.asarray(linalg.block_means(K, y + C * second, num_classes=2 * C))
    return _upper(K, means[..., :C, C:])


def blocks(
    K: Float[np.ndarray, "*draws n n"], y: Int[np.ndarray, " n"], *, C: int
) -> Float[np.ndarray, "*draws 3"]:
    """What it would be with whole blocks, which hold each sample with itself: biased."""
    return _upper(K, np.asarray(linalg.block_means(K, y, num_classes=C)))


def _upper(K, means):
    """Mean of the diagonal of a kernel, of that of its means, and of these means above it."""
    C = means.shape[-1]
    above = means[(..., *np.triu_indices(C, 1))].mean(axis=-1)
    own, within = (np.trace(M, axis1=-2, axis2=-1) / M.shape[-1] for M in (K, means))
    return np.stack([own, within, above], axis=-1)


def sampled_values(
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
    C = len(members)
    rows = np.stack(
        [
            np.concatenate([rng.choice(own, size, replace=False) for own in members])
            for _ in range(draws)
        ]
    )
    parts = K[rows[:, :, None], rows[:, None, :]]
    labels, first = np.repeat(np.arange(C), size), np.tile(np.arange(size) < few, C)
    least = parts[:, first][:, :, first]
    return np.stack(
        [
            halves(parts, labels, C=C),
            np.asarray(linalg.block_values(parts, labels, num_classes=C)),
            np.asarray(linalg.block_values(least, labels[first], num_classes=C)),
            blocks(parts, labels, C=C),
        ]
    )


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
    at = lambda three: invariant_numbers(W, H, tuple(three), m=m, C=C)  # noqa: E731
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
    """The values of the whole set and of draws from it, for two networks of a grid.

    Args:
        ds: the grid's result, to choose the networks from: of the first seed and those that
            fit, the one with the smallest NC1 and the one with the largest.
        networks: the stack of trained networks. X, y: their training set.
        per_class: samples of each class that count as the whole set.
        size, few, draws, seed: as for `sampled_values`; `size` is also the m of the invariant.
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
    rows, first = first_of_each(y, per_class), first_of_each(y, size)
    images, C = np.asarray(X), len(np.unique(y))
    kernels, H, W = map(
        np.asarray, _kernels(networks, runs, images[rows], images[first], chunk=chunk)
    )
    whole = np.asarray(linalg.block_values(kernels, y[rows], num_classes=C))
    options = {"size": size, "few": few, "draws": draws, "seed": seed}
    values = np.stack([sampled_values(K, y[rows], **options) for K in kernels])
    all_values = np.concatenate([values.reshape(len(runs), -1, 3), whole[:, None]], axis=1)
    alignment = np.stack(
        [_alignments(*one, m=size) for one in zip(W, H.transpose(0, 2, 1), all_values, strict=True)]
    )
    shape = ("example", "estimator", "draw")
    return xr.Dataset(
        {
            "whole_values": (("example", "value"), whole),
            "estimated_values": ((*shape, "value"), values.astype("float32")),
            "whole_alignment": ("example", alignment[:, -1]),
            "estimated_alignment": (
                shape,
                alignment[:, :-1].reshape(values.shape[:3]).astype("float32"),
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
