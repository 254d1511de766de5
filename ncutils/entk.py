r"""The tangent kernel of any function of parameters.

For f with k outputs, $\Theta_{k,s}(x_i, x_j) = \langle \nabla f_k(x_i), \nabla f_s(x_j) \rangle$.
With f the outputs of a network this is P2's $\Theta$, with f its features P2's $\Theta^h$;
nothing here knows networks. `f(params, x)` takes one example and returns a vector. It is
differentiated in the floating-point arrays of `params`; whatever else it needs (running
averages, say) belongs into f itself, best as `jax.tree_util.Partial(apply, fixed)`: arrays
inside a Partial may change without compiling again.
Gradients are taken for one sample and `chunk` outputs at a time, and the sample passes through f
once for all of them; products are summed over parameters leaf by leaf. With P parameters,
`chunk` gradients are chunk · P numbers; each function says how many it holds. Left out, `chunk`
is what makes these `BUDGET` numbers, two gigabytes in single precision. Many outputs at a time
are faster, above all for the convolutions of `layers`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ncutils import linalg
from ncutils._fast import gradients

BUDGET = 2**29  # numbers held, if no chunk is named


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BlockValues:
    """Means over outputs and distinct pairs of samples: γ (or, for features, κ) of P2.

    Attributes:
        diag, within, across: a sample with itself, two of a class, two of different classes.
        error: standard errors of the three, in this order; None where they are exact.
    """

    diag: Float[Array, "*runs"]
    within: Float[Array, "*runs"]
    across: Float[Array, "*runs"]
    error: Float[Array, "*runs 3"] | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ProbedKernel:
    """A kernel from random combinations of the outputs: their mean, and its standard error."""

    kernel: Float[Array, "*runs n n"]
    error: Float[Array, "*runs n n"]


def traced_ntk(
    f: Callable, params, X: Float[Array, "n *shape"], *, chunk: int | None = None
) -> Float[Array, "n n"]:
    r"""The kernel summed over outputs, $\sum_k \Theta_{kk}(x_i, x_j)$.

    Args:
        f: f(params, x) -> k outputs of one example.
        params: any pytree; its floating-point arrays are the parameters.
        X: n examples.
        chunk: outputs at a time; n · chunk · P numbers are held, and what f keeps of n passes.

    Returns:
        The n × n matrix.

    Raises:
        ValueError: if f does not return a vector, params hold nothing to differentiate in,
            X is empty or not finite, or chunk < 1.
        MemoryError: naming the chunk, if the device has no room.

    Source: P2, Figs 1 and 13–20, panes a and b.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import entk
        >>> X = jnp.array([[1.0, 0.0], [1.0, 2.0]])
        >>> print(entk.traced_ntk(lambda W, x: W @ x, jnp.zeros((3, 2)), X))  # three outputs
        [[ 3.  3.]
         [ 3. 15.]]
    """
    k, P = _check(f, params, X)
    chunk = _fitting(chunk, k, len(X) * P)
    return _with_room(chunk, gradients.summed, f, params, X, _in_chunks(jnp.eye(k), chunk))[0]


def probed_ntk(
    f: Callable,
    params,
    X: Float[Array, "n *shape"],
    *,
    probes: int = 16,
    chunk: int | None = None,
    key: PRNGKeyArray,
) -> ProbedKernel:
    r"""An unbiased estimate of `traced_ntk` from few combinations of many outputs.

    The tangent kernel of $\sum_k z_k f_k$ with random signs has the mean
    $\sum_k \Theta_{kk}$, as $\mathbb E[z_k z_s] = \delta_{ks}$.

    Args:
        f, params, X: as for `traced_ntk`.
        probes: number of combinations.
        chunk: probes at a time; n · chunk · P numbers are held.
        key: random key.

    Returns:
        The n × n mean over probes, and the standard error of each entry.

    Raises:
        As for `traced_ntk`; ValueError also for probes < 2.

    Source: ours, for P2, Figs 1 and 13–20.
    """
    k, P = _check(f, params, X)
    chunk = _fitting(chunk, probes, len(X) * P)
    rows = _in_chunks(_signs(key, probes, k), chunk)
    total, squares = _with_room(chunk, gradients.summed, f, params, X, rows)
    mean = total / probes
    variance = jnp.clip(squares / probes - mean**2, min=0.0) / (probes - 1)
    return ProbedKernel(mean, jnp.sqrt(variance))


def component_norms(
    f: Callable, params, X: Float[Array, "n *shape"], *, chunk: int | None = None
) -> Float[Array, "k k"]:
    r"""The Frobenius norms $\lVert \Theta_{k,s}(X) \rVert_F$ of all components.

    These are (nk)² inner products of P numbers, so take few samples. With chunk < k,
    gradients are computed again for each pair of chunks.

    Args:
        f, params, X: as for `traced_ntk`.
        chunk: outputs at a time; 2 · n · chunk · P + (n · chunk)² numbers are held.

    Returns:
        The symmetric k × k matrix.

    Raises:
        As for `traced_ntk`.

    Source: P2, Figs 1 and 13–20, panes c and d.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import entk
        >>> W, X = jnp.eye(2), jnp.array([[3.0, 4.0]])
        >>> entk.component_norms(lambda W, x: W @ x, W, X).tolist()  # the rows share no weight
        [[25.0, 0.0], [0.0, 25.0]]
    """
    k, P = _check(f, params, X)
    chunk = _fitting(chunk, k, 2 * len(X) * P)
    return _with_room(chunk, gradients.norms, f, params, X, _in_chunks(jnp.eye(k), chunk))[:k, :k]


def block_values(
    f: Callable,
    params,
    X: Float[Array, "n *shape"],
    y: Int[Array, " n"] | Int[np.ndarray, " n"],
    *,
    num_classes: int,
    probes: int = 8,
    chunk: int | None = None,
    key: PRNGKeyArray | None = None,
) -> BlockValues:
    r"""The three values of the block structure, from all pairs of the n samples.

    With the class sums $S_{ck} = \sum_{i \in c} \nabla f_k(x_i)$,
    $$\sum_{i, j \in c} \Theta_{kk}(x_i, x_j) = \lVert S_{ck} \rVert^2, \qquad
      \sum_{i \in c,\, j \in c'} \Theta_{kk}(x_i, x_j) = \langle S_{ck}, S_{c'k} \rangle,$$
    so all n² pairs cost n · k gradients and one C × C matrix of products for each output.

    With a key, outputs are replaced by `probes` combinations $\sum_k z_k f_k$ with random
    signs. As $\mathbb E[z_k z_s] = \delta_{ks}$, their kernels have the mean $\sum_k \Theta_{kk}$.

    Args:
        f, params, X: as for `traced_ntk`.
        y: n labels 0 … C-1, in any order.
        num_classes: C.
        probes: number of combinations, if there is a key.
        chunk: outputs (or probes) at a time; (C + 2) · chunk · P numbers are held.
        key: random key; without one the values are exact.

    Returns:
        The values, with standard errors if there is a key.

    Raises:
        As for `traced_ntk`; ValueError also for labels that do not fit, no two samples of a
            class, or probes < 2.

    Source: P2, Definition 3.1. Differs from the released code in taking all pairs.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import entk
        >>> X = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> y = jnp.array([0, 0, 1, 1])
        >>> values = entk.block_values(lambda W, x: W @ x, jnp.eye(2), X, y, num_classes=2)
        >>> print(values.diag, values.within, values.across)
        1.0 1.0 0.0
    """
    k, P = _check(f, params, X)
    chunk = _fitting(chunk, k if key is None else probes, (num_classes + 2) * P)
    linalg.check_labels(y, num_classes=num_classes, length=X.shape[0])
    if not linalg.is_traced(y) and X.shape[0] == num_classes:
        raise ValueError(f"{num_classes} samples in {num_classes} classes: none has two of them")
    rows = jnp.eye(k) if key is None else _signs(key, probes, k)
    rows, y = _in_chunks(rows, chunk), jnp.asarray(y)
    gram, squares = _with_room(chunk, gradients.group_gram, f, params, X, y, rows, num_classes)
    n, same = X.shape[0], jnp.sum(linalg.one_hot(y, num_classes=num_classes).sum(axis=0) ** 2)
    # for each row: sums over the diagonal, over class blocks, over everything
    own, blocks = squares.sum(axis=1), jnp.trace(gram, axis1=1, axis2=2)
    sums = jnp.stack([own, blocks - own, gram.sum(axis=(1, 2)) - blocks])
    values = sums / (k * jnp.stack([jnp.array(float(n)), same - n, n**2 - same]))[:, None]
    if key is None:
        return BlockValues(*values.sum(axis=1))
    drawn = values[:, :probes]
    return BlockValues(*drawn.mean(axis=1), jnp.std(drawn, axis=1, ddof=1) / jnp.sqrt(probes))


def published_block_values(
    f: Callable,
    params,
    X: Float[Array, "n *shape"],
    y: Int[Array, " n"] | Int[np.ndarray, " n"],
    *,
    num_classes: int,
    per_class: int = 12,
    chunk: int | None = None,
) -> BlockValues:
    r"""The three values as P2's code estimates them, at the cost of `block_values`.

    Of the first `per_class` samples of each class, the first half A and the second B:
    $\kappa_d$ is the mean over samples, $\kappa_c$ that over the blocks $A_c \times B_c$,
    $\kappa_n$ that over $A_c \times B_{c'}$ with $c < c'$.

    Args:
        f, params, X, y, num_classes, chunk: as for `block_values`.
        per_class: even; 12 in the paper (4 for VGG).

    Returns:
        The values, without errors.

    Raises:
        As for `block_values`; ValueError also if per_class is odd or a class has fewer samples.

    Source: P2, Section 6; its code has loops over neurons and pairs of classes.
    """
    k, P = _check(f, params, X)
    chunk = _fitting(chunk, k, (2 * num_classes + 3) * P)
    linalg.check_labels(y, num_classes=num_classes, length=X.shape[0])
    if per_class < 2 or per_class % 2:
        raise ValueError(f"two equal halves are compared: per_class is even, not {per_class}")
    if not linalg.is_traced(y):
        fewest = int(np.bincount(np.asarray(y), minlength=num_classes).min())
        if fewest < per_class:
            raise ValueError(f"{per_class} samples a class are needed; one has {fewest}")
    members = linalg.one_hot(jnp.asarray(y), num_classes=num_classes)
    rank = jnp.sum(members * jnp.cumsum(members, axis=0), axis=1).astype(int) - 1
    half, used = per_class // 2, rank < per_class
    # samples that are in neither half go into a group of their own
    group = jnp.where(used, jnp.asarray(y) + num_classes * (rank // half), 2 * num_classes)
    rows = _in_chunks(jnp.eye(k), chunk)
    gram, squares = _with_room(
        chunk, gradients.group_gram, f, params, X, group, rows, 2 * num_classes + 1
    )
    between = gram.sum(axis=0)[:num_classes, num_classes : 2 * num_classes] / (k * half**2)
    own = jnp.sum(jnp.where(used, squares.sum(axis=0), 0.0)) / (k * num_classes * per_class)
    pairs = num_classes * (num_classes - 1) / 2
    return BlockValues(own, jnp.trace(between) / num_classes, jnp.sum(jnp.triu(between, 1)) / pairs)


def _check(f, params, X) -> tuple[int, int]:
    """The numbers of outputs and of parameters, after checking what every function here needs."""
    if X.ndim < 1 or 0 in X.shape:
        raise ValueError(f"X is n examples, one a row, not of shape {X.shape}")
    linalg.check_finite("X", X)
    leaves = jax.tree.leaves(eqx.filter(params, eqx.is_inexact_array))
    if not leaves:
        raise ValueError("params holds no floating-point array to differentiate in")
    out = eqx.filter_eval_shape(f, params, X[0])
    if getattr(out, "ndim", None) == 1 and out.size > 0:
        return out.size, sum(leaf.size for leaf in leaves)
    raise ValueError(f"f(params, x) is a vector for one example, not {out}")


def _fitting(chunk: int | None, outputs: int, numbers: int) -> int:
    """The chunk itself, or as many of the outputs, of so many numbers each, as `BUDGET` holds."""
    if chunk is None:
        return max(1, min(outputs, BUDGET // numbers))
    if chunk < 1:
        raise ValueError(f"chunk counts outputs and is at least 1, not {chunk}")
    return chunk


def _signs(key, probes: int, k: int) -> Float[Array, "r k"]:
    if probes < 2:
        raise ValueError(f"a standard error needs at least 2 probes, not {probes}")
    return jax.random.rademacher(key, (probes, k), dtype=float)


def _in_chunks(rows: Float[Array, "r k"], chunk: int) -> Float[Array, "b c k"]:
    """The rows in equal chunks of at most `chunk`, the last one filled up with zeros."""
    count = -(-rows.shape[0] // chunk)
    size = -(-rows.shape[0] // count)
    return jnp.pad(rows, ((0, count * size - rows.shape[0]), (0, 0))).reshape(count, size, -1)


def _with_room(chunk: int, function, *args):
    """`function(*args)`; running out of memory, it says what to change."""
    try:
        return jax.block_until_ready(function(*args))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and "ut of memory" not in str(error):
            raise
        advice = f"no room for chunk={chunk} outputs at a time: take a smaller chunk"
        raise MemoryError(f"{advice}, or fewer samples. {error}") from error
