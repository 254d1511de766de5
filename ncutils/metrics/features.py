r"""Neural collapse from features: NC1 to NC4.

Conventions, for N rows of features $h_i$ with labels in C classes of sizes $n_c$:

$$\Sigma_W = \frac1N \sum_i (h_i - \bar h_{c(i)})(h_i - \bar h_{c(i)})^\top, \qquad
  \Sigma_B = \frac1C \sum_c (\bar h_c - \bar h_G)(\bar h_c - \bar h_G)^\top,$$

with $\bar h_c$ the class means and $\bar h_G$ the mean over all N samples.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ncutils import linalg


def _jit(*static):
    return functools.partial(jax.jit, static_argnames=("num_classes", *static))


def _check_features(H, y, num_classes):
    if H.ndim != 2:
        raise ValueError(f"features are n × p, not of shape {H.shape}")
    linalg.check_labels(y, num_classes=num_classes, length=H.shape[0])
    linalg.check_finite("H", H)


def nc1(
    H: Float[Array, "n p"], y: Int[Array, " n"], *, num_classes: int, kind: str = "trace"
) -> Float[Array, ""]:
    r"""Within-class variability of features, relative to their spread between classes.

    Kinds:
        "trace": $\mathrm{Tr}\,\Sigma_W / \mathrm{Tr}\,\Sigma_B$ (P1 and P3).
        "pinv": $\frac1C \mathrm{Tr}(\Sigma_W \Sigma_B^\dagger)$ (Papyan, Han and Donoho).
        "std": mean over classes and features of the standard deviation within the
            class (P2). Not relative to anything: it scales with the features.
        "cdnv": mean over pairs of classes of
            $(v_c + v_{c'}) / (2 \lVert \bar h_c - \bar h_{c'} \rVert^2)$, with $v_c$ the
            variance of class c, $\frac1{n_c} \sum_{i \in c} \lVert h_i - \bar h_c \rVert^2$.

    Args:
        H: n × p features, one row a sample.
        y: n labels, 0 … C-1.
        num_classes: C.
        kind: which of the four.

    Returns:
        A scalar, zero exactly when each class is a point.

    Raises:
        ValueError: on mismatched lengths, labels out of range, an empty class, a
            single class, entries that are not finite, or an unknown kind.

    Source: P1 Section 2; P2 Section 2 (its released code for "std"); P3 Section 3.
        Differs from P3's released code, which divides $\Sigma_W$ by C·N.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import metrics
        >>> H = jnp.array([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
        >>> y = jnp.array([0, 0, 1, 1])
        >>> print(f"{metrics.nc1(H, y, num_classes=2):.3f}")
        0.010
    """
    linalg.check_choice("kind", kind, ("trace", "pinv", "std", "cdnv"))
    _check_features(H, y, num_classes)
    return _nc1(H, y, num_classes=num_classes, kind=kind)


@_jit("kind")
def _nc1(H, y, *, num_classes, kind):
    average = linalg.class_averager(y, num_classes=num_classes, dtype=H.dtype)
    means = average.T @ H
    residual = H - means[y]
    centred = means - H.mean(axis=0, keepdims=True)
    if kind == "trace":
        return jnp.mean(jnp.sum(residual**2, axis=1)) / jnp.mean(jnp.sum(centred**2, axis=1))
    if kind == "std":
        return jnp.mean(jnp.sqrt(average.T @ residual**2))
    if kind == "cdnv":
        variance = average.T @ jnp.sum(residual**2, axis=1)
        gaps = jnp.sum((means[:, None, :] - means[None, :, :]) ** 2, axis=-1)
        pairs = (variance[:, None] + variance[None, :]) / (2 * gaps + jnp.eye(num_classes))
        off_diagonal = 1 - jnp.eye(num_classes)
        return jnp.sum(pairs * off_diagonal) / (num_classes * (num_classes - 1))
    # "pinv" without a p × p matrix: with the thin SVD of the centred means U S Vᵀ,
    # Tr(Σ_W Σ_B†) = (C/N) Σ_k |residual · v_k|² / s_k² over the nonzero s_k.
    _, s, vt = jnp.linalg.svd(centred, full_matrices=False)
    kept = s > s[0] * max(centred.shape) * jnp.finfo(H.dtype).eps
    along = jnp.mean((residual @ vt.T) ** 2, axis=0)
    return jnp.sum(jnp.where(kept, along / jnp.where(kept, s, 1.0) ** 2, 0.0))


def _centred_means(H, y, num_classes):
    means = linalg.class_means(H, y, num_classes=num_classes)
    return means - means.mean(axis=0, keepdims=True)


def nc2(
    H: Float[Array, "n p"], y: Int[Array, " n"], *, num_classes: int, kind: str = "frobenius"
) -> Float[Array, ""]:
    r"""Distance of the class means from a simplex equiangular tight frame.

    With the means centred at their own mean, as rows of $\bar M$ (C × p):

    Kinds:
        "frobenius": $\lVert \bar M\bar M^\top / \lVert \bar M\bar M^\top \rVert_F -
            \frac{1}{\sqrt{C-1}} (I - \frac1C \mathbf 1\mathbf 1^\top) \rVert_F$ (P2).
        "mean_square": mean of the C² squared entries of the Gram matrix of the
            normalised rows minus that of the frame (P3's released code).

    Args, Raises: as for `nc1`.

    Returns:
        A scalar, zero exactly at a simplex frame.

    Source: P2 Section 2; P3 Section 3 and its released code.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import metrics
        >>> angles = 2 * jnp.pi * jnp.arange(3) / 3
        >>> H = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
        >>> bool(metrics.nc2(H, jnp.array([0, 1, 2]), num_classes=3) < 1e-12)
        True
    """
    linalg.check_choice("kind", kind, ("frobenius", "mean_square"))
    _check_features(H, y, num_classes)
    return _nc2(H, y, num_classes=num_classes, kind=kind)


@_jit("kind")
def _nc2(H, y, *, num_classes, kind):
    means = _centred_means(H, y, num_classes)
    frame = linalg.simplex_gram(num_classes).astype(H.dtype)
    if kind == "mean_square":
        unit = means / jnp.linalg.norm(means, axis=1, keepdims=True)
        return jnp.mean((unit @ unit.T - frame) ** 2)
    gram = means @ means.T
    return jnp.linalg.norm(gram / jnp.linalg.norm(gram) - frame / jnp.linalg.norm(frame))


def nc3(
    H: Float[Array, "n p"],
    y: Int[Array, " n"],
    W: Float[Array, "c p"],
    *,
    num_classes: int,
) -> Float[Array, ""]:
    r"""Distance between the classifier and the centred class means, each scaled to norm 1.

    $$\lVert \bar M / \lVert \bar M \rVert_F - W / \lVert W \rVert_F \rVert_F.$$

    Args:
        H, y, num_classes: as for `nc1`.
        W: C × p classifier weights.

    Returns:
        A scalar, zero exactly when W is a positive multiple of the means.

    Raises:
        ValueError: as for `nc1`, or if W is not C × p.

    Source: P2 Section 2.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import metrics
        >>> H = jnp.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
        >>> W = jnp.array([[3.0, 0.0], [-3.0, 0.0]])  # rows along the class means
        >>> bool(metrics.nc3(H, jnp.array([0, 0, 1, 1]), W, num_classes=2) < 1e-12)
        True
    """
    _check_features(H, y, num_classes)
    _check_classifier(H, W, num_classes)
    return _nc3(H, y, W, num_classes=num_classes)


def _check_classifier(H, W, num_classes):
    if W.shape != (num_classes, H.shape[1]):
        raise ValueError(f"W has shape {W.shape}, expected {(num_classes, H.shape[1])}")
    linalg.check_finite("W", W)


@_jit()
def _nc3(H, y, W, *, num_classes):
    means = _centred_means(H, y, num_classes)
    return jnp.linalg.norm(means / jnp.linalg.norm(means) - W / jnp.linalg.norm(W))


def nc4(
    H: Float[Array, "n p"],
    y: Int[Array, " n"],
    W: Float[Array, "c p"],
    b: Float[Array, " c"],
    *,
    num_classes: int,
) -> Float[Array, ""]:
    r"""Share of the samples on which classifier and nearest class mean disagree.

    Compares $\arg\max_c (Wh + b)_c$ with $\arg\min_c \lVert h - \bar h_c \rVert$.

    Args:
        H, y, W, num_classes: as for `nc3`.
        b: C biases.

    Returns:
        A share between 0 and 1.

    Raises:
        ValueError: as for `nc3`, or if b is not of length C.

    Source: P2 Section 2.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import metrics
        >>> H = jnp.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
        >>> W, b = jnp.array([[3.0, 0.0], [-3.0, 0.0]]), jnp.zeros(2)
        >>> float(metrics.nc4(H, jnp.array([0, 0, 1, 1]), W, b, num_classes=2))
        0.0
    """
    _check_features(H, y, num_classes)
    _check_classifier(H, W, num_classes)
    if b.shape != (num_classes,):
        raise ValueError(f"b has shape {b.shape}, expected {(num_classes,)}")
    return _nc4(H, y, W, b, num_classes=num_classes)


@_jit()
def _nc4(H, y, W, b, *, num_classes):
    means = linalg.class_means(H, y, num_classes=num_classes)
    # |h - m|² without its term |h|², which is the same for every class
    distance = jnp.sum(means**2, axis=1)[None, :] - 2 * H @ means.T
    decided = jnp.argmax(H @ W.T + b[None, :], axis=1)
    return jnp.mean((decided != jnp.argmin(distance, axis=1)).astype(H.dtype))
