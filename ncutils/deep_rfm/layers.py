r"""Deep recursive feature machines: kernel regression, AGOP and a random map, layer by layer.

One layer takes the rows of $X_l$, fits $f_l$ to the labels, and maps on:

$$x \leftarrow x / \lVert x \rVert, \qquad
  M_l = \sum_i J_{f_l}(x_i)^\top J_{f_l}(x_i), \qquad
  X_{l+1} = \Phi_l(X_l M_l^{1/2}).$$

Nothing is trained but the regression: what collapses the features is $M_l$.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ncutils import agop, data, linalg

WEIGHTS = {"relu": ("uniform", "gaussian"), "cosine": ("cauchy", "gaussian")}
MATRICES = ("agop", "identity", "random")
NORMALISATIONS = ("max", "sum")


@dataclass(frozen=True)
class Layout:
    r"""What a layer does. The defaults are what the released code does; see `printed`.

    Attributes:
        feature_map: "relu", $\Phi(z) = \max(Wz, 0)$, or "cosine",
            $\Phi(z) = \sqrt{2/D} \cos(\gamma W z + u)$ with $u \sim U(0, 2\pi)$.
        kernel, bandwidth, ridge: of the regression, see `agop.kernel_ridge`.
        width: D, features of the map; None for 1024 with ReLU, and as many as its input
            has with cosine.
        weights: of W. "uniform" on $\pm 1/\sqrt d$ or standard "gaussian" for ReLU;
            "cauchy", for $E\,\Phi(z)^\top\Phi(z') = e^{-\gamma \lVert z - z' \rVert_1}$, or
            "gaussian", for $e^{-\gamma^2 \lVert z - z' \rVert^2 / 2}$, with cosine. None for
            the first of the two.
        frequency: γ.
        normalisation: of M. "max", divided by its largest entry; or "sum", as it is defined.
        matrix: "agop"; or, as controls, "identity", and "random" for the eigenvalues of the
            AGOP with random eigenvectors.

    Raises:
        ValueError: for an unknown choice or a number out of its range.

    Source: P3 Algorithm 1 and Appendix D. The released code asks for ridge -1 and gets 1e-3.
    """

    feature_map: str = "relu"
    kernel: str = "laplace"
    bandwidth: float = 2.0
    ridge: float = 1e-3
    width: int | None = None
    weights: str | None = None
    frequency: float = 0.05
    normalisation: str = "max"
    matrix: str = "agop"

    def __post_init__(self):
        for name, value, known in (
            ("feature_map", self.feature_map, WEIGHTS),
            ("kernel", self.kernel, agop.KERNELS),
            ("weights", self.weights, (None, *WEIGHTS.get(self.feature_map, ()))),
            ("normalisation", self.normalisation, NORMALISATIONS),
            ("matrix", self.matrix, MATRICES),
        ):
            if value not in known:
                choices = ", ".join(map(repr, known))
                raise ValueError(f"unknown {name} {value!r}: choose one of {choices}")
        if not (self.bandwidth > 0 and self.frequency > 0 and self.ridge >= 0):
            raise ValueError(f"need bandwidth > 0, frequency > 0 and ridge ≥ 0, not {self}")
        if self.width is not None and self.width < 1:
            raise ValueError(f"width counts features and is at least 1, not {self.width}")

    @classmethod
    def printed(cls, feature_map: str, **changes) -> "Layout":
        """The algorithm of the paper's text: no ridge, M as it is, 4096 cosines."""
        width = 4096 if feature_map == "cosine" else 1024
        return replace(cls(feature_map, ridge=0.0, width=width, normalisation="sum"), **changes)

    def features(self, inputs: int) -> int:
        """How many features the map makes of so many inputs."""
        if self.width is not None:
            return self.width
        return inputs if self.feature_map == "cosine" else 1024


@dataclass(frozen=True)
class Layer:
    """One layer at its three measuring points; the read-out, which ends the net, has the first.

    Attributes:
        before: n × d rows of norm 1.
        after_agop: before · M^{1/2}, or None.
        after_map: the n × D features of that, not normalised, or None.
        M: d × d matrix that was used, or None.
        predictions: n × C outputs of the regression on `before`.
        test_predictions: the same for the test inputs, or None without any.
        pivot: smallest pivot of the regression, see `agop.KernelMachine`.
        singular: whether that is no more than rounding, and the predictions mean nothing.
    """

    before: Float[Array, "n d"]
    after_agop: Float[Array, "n d"] | None
    after_map: Float[Array, "n D"] | None
    M: Float[Array, "d d"] | None
    predictions: Float[Array, "n c"]
    test_predictions: Float[Array, "m c"] | None
    pivot: float
    singular: bool


@dataclass(frozen=True)
class DeepRFM:
    """The layers of a deep RFM in order, and the read-out after the last."""

    layers: tuple[Layer, ...]
    readout: Layer


def memory(n: int, d: int, *, recipe: Layout, kept: int = 1, itemsize: int = 8) -> float:
    """Estimate of the memory that `run_layers` needs, in GiB, with so many layers kept.

    Four n × n matrices at a time (kernel, factor, copies), eight of n × D and of D × D.
    """
    D = max(d, recipe.features(d))
    return itemsize * (4 * n * n + (8 + 3 * kept) * n * D + (8 + kept) * D * D) / 2**30


def run_layers(
    X: Float[Array, "n d"],
    y: Int[Array, " n"],
    *,
    num_classes: int,
    depth: int,
    recipe: Layout = Layout(),
    test: Float[Array, "m d"] | None = None,
    when_singular: str = "refuse",
    memory_limit: float = 4.0,
    key: PRNGKeyArray,
) -> Iterator[Layer]:
    r"""The layers of a deep RFM one after the other, and last the read-out.

    Only the features of one layer are held, so that what is measured and let go of costs no
    memory. With few cores set `OPENBLAS_NUM_THREADS=1` before Python starts: the threads that
    factorise and those that multiply take turns otherwise.

    Args:
        X: n × d inputs.
        y: n labels, 0 … C-1; the regression is to ±1, one output for each class.
        num_classes: C.
        depth: L.
        recipe: a `Layout`, what a layer does.
        test: m × d further inputs that are mapped along, and predicted for.
        when_singular: "refuse" a singular kernel matrix, or "stop" at it: the layer where it
            occurs is then the last, and `Layer.singular` says so.
        memory_limit: in GiB, for the estimate of `memory`.
        key: random key of the maps.

    Returns:
        An iterator of depth + 1 layers, or of fewer if it stops, in the precision of X.

    Raises:
        ValueError: on labels out of range, an empty class, shapes that do not match, entries
            that are not finite, a row of zeros, rows that are all equal, an estimate above
            the limit, or a singular kernel matrix.

    Source: P3 Algorithm 1. `Layout` says where released code and text differ.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from ncutils import deep_rfm
        >>> X, y = jax.random.normal(jax.random.key(0), (6, 3)), jnp.array([0, 0, 0, 1, 1, 1])
        >>> recipe = deep_rfm.Layout("relu", width=8)
        >>> layers = deep_rfm.run_layers(
        ...     X, y, num_classes=2, depth=2, recipe=recipe, key=jax.random.key(1)
        ... )
        >>> [layer.before.shape for layer in layers]
        [(6, 3), (6, 8), (6, 8)]
    """
    _check(X, y, num_classes, depth, test, when_singular)
    _check_memory(memory(*X.shape, recipe=recipe, itemsize=X.dtype.itemsize), X, memory_limit)
    targets = linalg.signed_one_hot(y, num_classes=num_classes, dtype=X.dtype)
    return _layers(X, targets, test, depth, recipe, when_singular, key)


def deep_rfm(
    X: Float[Array, "n d"],
    y: Int[Array, " n"],
    *,
    num_classes: int,
    depth: int,
    recipe: Layout = Layout(),
    memory_limit: float = 4.0,
    key: PRNGKeyArray,
    **options,
) -> DeepRFM:
    """A deep recursive feature machine, with the features of all layers in memory.

    Args:
        X, y, num_classes, depth, recipe, memory_limit, key: as for `run_layers`.
        options: `test` and `when_singular` of `run_layers`.

    Returns:
        All layers and the read-out, in the precision of X.

    Raises:
        ValueError: as for `run_layers`.

    Source: P3 Algorithm 1.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from ncutils import deep_rfm
        >>> X, y = jax.random.normal(jax.random.key(0), (6, 3)), jnp.array([0, 0, 0, 1, 1, 1])
        >>> recipe = deep_rfm.Layout("relu", width=8)
        >>> net = deep_rfm.deep_rfm(
        ...     X, y, num_classes=2, depth=2, recipe=recipe, key=jax.random.key(1)
        ... )
        >>> net.layers[1].after_map.shape, net.readout.predictions.shape
        ((6, 8), (6, 2))
    """
    needed = memory(*X.shape, recipe=recipe, kept=depth, itemsize=X.dtype.itemsize)
    _check_memory(needed, X, memory_limit)
    *inner, readout = run_layers(
        X, y, num_classes=num_classes, depth=depth, recipe=recipe, memory_limit=memory_limit,
        key=key, **options,
    )  # fmt: skip
    return DeepRFM(tuple(inner), readout)


def _check(X, y, num_classes, depth, test, when_singular):
    if X.ndim != 2 or (test is not None and (test.ndim != 2 or test.shape[1] != X.shape[1])):
        shapes = f"X {X.shape}" + ("" if test is None else f" and test {test.shape}")
        raise ValueError(f"inputs are n × d, and test inputs m × d; got {shapes}")
    linalg.check_labels(y, num_classes=num_classes, length=X.shape[0])
    if depth < 1:
        raise ValueError(f"depth counts layers and is at least 1, not {depth}")
    if when_singular not in ("refuse", "stop"):
        raise ValueError(f"when_singular is 'refuse' or 'stop', not {when_singular!r}")
    for name, array in (("X", X), ("test", test)):
        if array is None:
            continue
        linalg.check_finite(name, array)
        zero = np.flatnonzero(~np.any(np.asarray(array) != 0, axis=1))
        if zero.size:
            raise ValueError(f"{name} has {zero.size} rows of zeros, the first {zero[0]}")
    rows = np.asarray(X)
    if np.all(rows[:2] == rows[:1]) and np.all(rows == rows[:1]):
        raise ValueError(f"all {len(X)} rows of X are equal: there is nothing to separate")


def _check_memory(needed, X, limit):
    if needed > limit:
        raise ValueError(
            f"about {needed:.3g} GiB are needed for {X.shape[0]} × {X.shape[1]} inputs in"
            f" {X.dtype}, and memory_limit is {limit:.3g} GiB: raise it, take fewer rows or"
            " float32, or measure the layers one by one with `run_layers`"
        )


def _layers(X, targets, test, depth, recipe, when_singular, key):
    how = {"kernel": recipe.kernel, "bandwidth": recipe.bandwidth}
    for number in range(depth + 1):
        X, test = data.unit_rows(X), None if test is None else data.unit_rows(test)
        fit = agop.kernel_ridge if number == depth else agop.kernel_ridge_agop
        try:
            found = fit(X, targets, **how, ridge=recipe.ridge, check=when_singular == "refuse")
        except ValueError as error:
            raise ValueError(f"layer {number + 1}: {error}") from error
        machine, M = (found, None) if number == depth else found
        fitted = {
            "before": X,
            "predictions": targets - recipe.ridge * machine.alpha,  # = k(X, X) α
            "test_predictions": None if test is None else machine.predict(test),
            "pivot": float(machine.pivot),
            "singular": machine.singular,
        }
        if number == depth or machine.singular:
            yield Layer(after_agop=None, after_map=None, M=None, **fitted)
            return
        del machine, found
        rotation, draw = jax.random.split(jax.random.fold_in(key, number))
        M, factors = _matrix(M, X, recipe, rotation)
        inner = _times(X, factors)
        mapped = random_features(inner, recipe=recipe, key=draw)
        if test is not None:  # the same draw
            test = random_features(_times(test, factors), recipe=recipe, key=draw)
        yield Layer(after_agop=inner, after_map=mapped, M=M, **fitted)
        X = mapped


def _matrix(M, X, recipe, key):
    """The matrix of a layer, given the mean AGOP, and the factors of its square root."""
    n, d = X.shape
    if recipe.matrix == "identity":
        one = jnp.eye(d, dtype=X.dtype)
        return one, (one,)
    M = M / jnp.max(M) if recipe.normalisation == "max" else n * M
    factors = _square_root(M, X)
    if recipe.matrix == "random":
        turn = jnp.linalg.qr(jax.random.normal(key, (d, d), X.dtype))[0]
        M, factors = turn @ M @ turn.T, (turn, *factors, turn.T)
    return M, factors


@jax.jit
def _times(Z, factors):
    return functools.reduce(jnp.matmul, factors, Z)


@jax.jit
def _square_root(M, X):
    """Factors of the square root of a matrix whose range lies in the span of the rows of X."""
    n, d = X.shape
    if 4 * n > 3 * d:
        return (linalg.psd_sqrt(M),)
    basis = jnp.linalg.qr(X.T)[0]  # an eigenproblem of size n in place of d
    return basis @ linalg.psd_sqrt(basis.T @ M @ basis), basis.T


def random_features(
    Z: Float[Array, "n d"], *, recipe: Layout, key: PRNGKeyArray
) -> Float[Array, "n D"]:
    r"""The random map of a layer: $\Phi(z)$ of `Layout`, drawn by the key and d alone.

    Source: P3 Algorithm 1, step 5. The released code has as many cosines as its input has
        features, where the text has 4096.
    """
    kind = recipe.weights or WEIGHTS[recipe.feature_map][0]
    width = recipe.features(Z.shape[1])
    return _random_features(Z, recipe.frequency, key, recipe.feature_map, kind, width)


@functools.partial(jax.jit, static_argnames=("feature_map", "kind", "D"))
def _random_features(Z, frequency, key, feature_map, kind, D):
    weights, phases = jax.random.split(key)
    d = Z.shape[1]
    if kind == "uniform":
        W = jax.random.uniform(weights, (d, D), Z.dtype, -(d**-0.5), d**-0.5)
    else:
        draw = jax.random.cauchy if kind == "cauchy" else jax.random.normal
        W = draw(weights, (d, D), Z.dtype)
    if feature_map == "relu":
        return jax.nn.relu(Z @ W)
    u = jax.random.uniform(phases, (1, D), Z.dtype, 0, 2 * jnp.pi)
    return (2 / D) ** 0.5 * jnp.cos(frequency * (Z @ W) + u)
