"""What P2 measures along training: collapse, kernels, the invariant; on fixed samples."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ncutils import block_ntk, entk, metrics, models
from ncutils.block_ntk import BlockKernel

ROWS_AT_ONCE = 500  # images in one pass of a network that is only looked at


def _features(model, X: Float[Array, "n *shape"]) -> Float[Array, "n p"]:
    """Features of any number of images in bounded memory."""
    # equal batches: a remainder would be compiled a second time
    sizes = [d for d in range(1, ROWS_AT_ONCE + 1) if len(X) % d == 0]
    return jax.lax.map(model.features, X, batch_size=sizes[-1])


def three_values(
    kernel: Float[Array, "n n"], y: Int[np.ndarray, " n"], *, num_classes: int
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Mean diagonal, mean over pairs of one class, mean over pairs of two, of a kernel matrix."""
    same = y[:, None] == y[None, :]
    others, own = int((~same).sum()), int(same.sum()) - len(y)
    total = jnp.trace(kernel)
    if own == 0 or others == 0 or len(np.unique(y)) != num_classes:
        raise ValueError("block values need two samples of each of two classes or more")
    within = (jnp.sum(jnp.where(same, kernel, 0.0)) - total) / own
    return total / len(y), within, jnp.sum(jnp.where(same, 0.0, kernel)) / others


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
        found = {
            "loss": loss(outputs[: len(y)], targets),
            "train_accuracy": jnp.mean(right[: len(y)]),
            "test_accuracy": jnp.mean(right[len(y) :]),
            **collapse_numbers(H, jnp.asarray(y[rows]), W, C=C),
        }
        for name, function, letter in (("outputs", f, "gamma"), ("features", h, "kappa")):
            traced = entk.traced_ntk(function, params, X[few], chunk=chunk).astype(float)
            width = C if name == "outputs" else W.shape[1]
            values = three_values(traced / width, y[few], num_classes=C)
            found |= {f"{letter}_{tail}": v for tail, v in zip("dcn", values, strict=True)}
            found[f"alignment_{name}"] = metrics.label_alignment(traced, jnp.asarray(y[few]))
            found[f"traced_{name}"] = traced.astype("float32")
        found |= invariant_numbers(W, H.T, values, m=per_class, C=C)
        return found

    return measure


@eqx.filter_jit
def component_sizes(networks, X: Float[Array, "n *shape"], *, chunk: int):
    r"""$\lVert\Theta_{k,s}(X)\rVert_F$ and $\lVert\Theta^h_{k,s}(X)\rVert_F$ of each run."""

    def one(model):
        f, h, params = models.functions(model)
        sizes = (entk.component_norms(g, params, X, chunk=chunk) for g in (f, h))
        return {name: size for name, size in zip(("outputs", "features"), sizes, strict=True)}

    return jax.lax.map(one, networks)
