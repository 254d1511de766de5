r"""Average gradient outer products: of any predictor, and of kernel machines in closed form.

$$\mathrm{AGOP}(f, X) = \frac1n \sum_i J_f(x_i)^\top J_f(x_i), \qquad
  J_f(x) \in \mathbb R^{k \times d}.$$

A kernel machine is $f(x) = \sum_p \alpha_p\, k(x, x_p)$ with a kernel of the distance
$\lVert u \rVert_M^2 = u^\top M u$. Data are rows, n × d; coefficients are n × C.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ncutils import kernels, linalg
from ncutils._fast import kernel_machine

KERNELS = {"laplace": kernels.laplace, "gaussian": kernels.gaussian}
FORMS = ("direct", "gram")


def agop(f: Callable, X: Float[Array, "n d"], *, chunk: int = 256) -> Float[Array, "d d"]:
    r"""Average gradient outer product of a predictor by automatic differentiation.

    $$\frac1n \sum_i J_f(x_i)^\top J_f(x_i).$$

    Args:
        f: one example of d numbers to k outputs. The arrays of an Equinox module are
            traced as data, so that other weights need no new compilation.
        X: n × d inputs.
        chunk: rows whose Jacobians are held at a time.

    Returns:
        A symmetric positive semi-definite d × d matrix.

    Raises:
        ValueError: if X is not n × d and finite, f does not return a vector, or chunk < 1.

    Source: P3 Section 3. Differs from the released code of networks and kernel machines,
        which has the sum over i.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import agop
        >>> W = jnp.array([[1.0, 2.0]])
        >>> print(agop.agop(lambda x: W @ x, jnp.zeros((3, 2))))
        [[1. 2.]
         [2. 4.]]
    """
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"X is n × d with n, d ≥ 1, not of shape {X.shape}")
    if chunk < 1:
        raise ValueError(f"chunk counts rows and is at least 1, not {chunk}")
    linalg.check_finite("X", X)
    out = eqx.filter_eval_shape(f, X[0])
    if getattr(out, "ndim", None) != 1:
        raise ValueError(f"f must return a vector for one example, not {out}")
    return _agop(f, X, min(chunk, X.shape[0]))


@eqx.filter_jit
def _agop(f, X, chunk):
    (n, d), k = X.shape, eqx.filter_eval_shape(f, X[0]).shape[0]
    derivative = (jax.jacrev if k <= d else jax.jacfwd)(lambda x: f(x))
    rows, kept = kernel_machine.row_blocks(n, chunk)

    def add(total, block):
        rows, kept = block
        J = jnp.where(kept[:, None, None], jax.vmap(derivative)(X[rows]), 0.0).reshape(-1, d)
        return total + J.T @ J, None

    return jax.lax.scan(add, jnp.zeros((d, d), X.dtype), (rows, kept))[0] / n


def pearson(A: Float[Array, "p q"], B: Float[Array, "p q"]) -> Float[Array, ""]:
    """Pearson correlation between the entries of two matrices; NaN if one is constant."""
    if A.shape != B.shape:
        raise ValueError(f"matrices of one shape are compared, not {A.shape} and {B.shape}")
    a, b = A - A.mean(), B - B.mean()
    return jnp.sum(a * b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b))


def ansatz_correlation(W: Float[Array, "p d"], A: Float[Array, "d d"]) -> Float[Array, ""]:
    r"""How well the neural feature ansatz holds: correlation of $W^\top W$ with $A^{1/2}$.

    Args:
        W: p × d weights of a layer.
        A: d × d AGOP with respect to the inputs of that layer, in any scale.

    Returns:
        Pearson correlation of the entries, between -1 and 1.

    Raises:
        ValueError: if the shapes do not match or A is not finite.

    Source: P3 Section 3 and Appendix D.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import agop
        >>> W = jnp.array([[2.0, 0.0], [0.0, 1.0]])
        >>> print(f"{agop.ansatz_correlation(W, (W.T @ W) @ (W.T @ W)):.3f}")
        1.000
    """
    if A.shape != (W.shape[1], W.shape[1]):
        raise ValueError(f"W has {W.shape[1]} columns, the AGOP has shape {A.shape}")
    linalg.check_finite("A", A)
    return pearson(W.T @ W, linalg.psd_sqrt(A))


class KernelMachine(eqx.Module):
    r"""A fitted kernel machine $f(x) = \sum_p \alpha_p\, k(x, x_p)$; a function of one example.

    Attributes:
        alpha: n × C coefficients.
        X: n × d inputs it was fitted to.
        M: d × d matrix of the distance, or None for the identity.
        pivot: smallest pivot of the Cholesky factorisation, squared: the part of one
            point's $k(x, x) + \mathrm{ridge}$ that the points before it do not explain.
        kernel, bandwidth: "laplace" or "gaussian", and L.
    """

    alpha: Float[Array, "n c"]
    X: Float[Array, "n d"]
    M: Float[Array, "d d"] | None
    pivot: Float[Array, ""]
    kernel: str = eqx.field(static=True)
    bandwidth: float = eqx.field(static=True)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        """The C outputs for one example; at a training point its own term has no gradient."""
        u = x[None, :] - self.X  # exactly zero where x is a training point
        squared = jnp.sum((u if self.M is None else u @ self.M) * u, axis=1)
        if self.kernel == "gaussian":
            return jnp.exp(-squared / (2 * self.bandwidth**2)) @ self.alpha
        apart = squared > 0
        root = jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)
        return jnp.exp(-root / self.bandwidth) @ self.alpha

    @property
    def singular(self) -> bool:
        """Whether the kernel matrix was singular, as far as the precision of X can tell."""
        n, eps = len(self.X), float(jnp.finfo(self.X.dtype).eps)
        return not float(self.pivot) > 4 * n**0.5 * eps

    def predict(self, Z: Float[Array, "m d"]) -> Float[Array, "m c"]:
        """The outputs for the rows of Z, a bounded part of the kernel matrix at a time."""
        step = max(1, kernel_machine.ENTRIES // len(self.X))
        k = functools.partial(KERNELS[self.kernel], bandwidth=self.bandwidth, M=self.M)
        parts = [k(Z[i : i + step], self.X) @ self.alpha for i in range(0, len(Z), step)]
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def _check_machine(X, values, kernel, bandwidth, M, ridge=0.0):
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}: choose one of {', '.join(KERNELS)}")
    if X.ndim != 2 or values.ndim != 2 or len(X) != len(values) or 0 in X.shape:
        raise ValueError(f"n × d inputs need n × C values: got {X.shape} and {values.shape}")
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be positive, not {bandwidth}")
    if not ridge >= 0:
        raise ValueError(f"ridge must not be negative, not {ridge}")
    if M is not None and M.shape != (X.shape[1], X.shape[1]):
        raise ValueError(f"M has shape {M.shape}, expected {(X.shape[1], X.shape[1])}")
    for name, array in (("X", X), ("values", values), ("M", M)):
        if array is not None:
            linalg.check_finite(name, array)


def kernel_ridge(
    X: Float[Array, "n d"],
    Y: Float[Array, "n c"],
    *,
    kernel: str,
    bandwidth: float,
    M: Float[Array, "d d"] | None = None,
    ridge: float = 0.0,
    check: bool = True,
) -> KernelMachine:
    r"""Kernel ridge regression, $\alpha = (k(X, X) + \mathrm{ridge}\, I)^{-1} Y$.

    Args:
        X: n × d inputs.
        Y: n × C targets.
        kernel: "laplace" or "gaussian".
        bandwidth: L, in the units of the distance.
        M: d × d symmetric positive semi-definite; the identity if left out.
        ridge: added to the diagonal, which is 1; zero interpolates.
        check: refuse a singular matrix; if not, `KernelMachine.singular` tells.

    Returns:
        The fitted machine.

    Raises:
        ValueError: on shapes that do not match, entries that are not finite, ridge < 0, or
            a matrix that is singular to the precision of X.

    Source: P3 Algorithm 1, step 2.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import agop
        >>> X, Y = jnp.array([[0.0], [1.0], [3.0]]), jnp.array([[1.0], [-1.0], [1.0]])
        >>> machine = agop.kernel_ridge(X, Y, kernel="laplace", bandwidth=2.0)
        >>> print(machine(X[1]).round(6))
        [-1.]
    """
    _check_machine(X, Y, kernel, bandwidth, M, ridge)
    alpha, pivot = _solve(X, Y, M, ridge, float(bandwidth), kernel)
    return _fitted(alpha, X, M, pivot, kernel, bandwidth, ridge, check)


@functools.partial(jax.jit, static_argnames=("kernel", "bandwidth"))
def _solve(X, Y, M, ridge, bandwidth, kernel):
    K = KERNELS[kernel](X, bandwidth=bandwidth, M=M)
    parts = kernel_machine.cut(len(K))
    blocks = {(i, j): K[p, q] for i, p in enumerate(parts) for j, q in enumerate(parts) if i <= j}
    return kernel_machine.solve(blocks, Y, ridge)


def _fitted(alpha, X, M, pivot, kernel, bandwidth, ridge, check) -> KernelMachine:
    if ridge == 0 and not linalg.is_traced(pivot) and _repeated(X):
        pivot = jnp.zeros_like(pivot)  # which it is, whatever rounding makes of their distance
    machine = KernelMachine(alpha, X, M, pivot, kernel, float(bandwidth))
    if check and not linalg.is_traced(pivot) and machine.singular:
        raise ValueError(_why_singular(X, ridge, float(pivot), kernel))
    return machine


def _repeated(X) -> int:
    """How many rows stand there already."""
    return len(X) - len(np.unique(np.asarray(X), axis=0))


def _why_singular(X, ridge: float, pivot: float, kernel: str) -> str:
    more = _repeated(X)
    repeated = f"{more} of {len(X)} rows repeat others" if more else ""
    return (
        f"the {kernel} kernel matrix of {len(X)} points with ridge {ridge:g} is singular in "
        f"{X.dtype} (smallest pivot {pivot:.1e}); {repeated or 'points nearly coincide'}: "
        "take a ridge, 1e-3 say, or more digits, or fewer or more distant points"
    )


def kernel_agop(
    alpha: Float[Array, "n c"],
    X: Float[Array, "n d"],
    *,
    kernel: str,
    bandwidth: float,
    M: Float[Array, "d d"] | None = None,
    form: str | None = None,
) -> Float[Array, "d d"]:
    r"""Average gradient outer product of a kernel machine over its own training inputs.

    With $P_{ij} = k_{ij} / (L \lVert x_i - x_j \rVert_M)$ for Laplace, $P_{ij} = k_{ij} / L^2$
    for Gaussian, and $P_{ii} = 0$, the gradients of output c are the rows of $B_c X M$ with
    $B_c = P\,\mathrm{diag}(\alpha_c) - \mathrm{diag}(d_c)$, $d_c = P \alpha_c$:

    $$\text{direct: } \frac1n \sum_c (B_c X M)^\top (B_c X M), \qquad
      \text{gram: } \frac1n M X^\top S X M,$$
    $$S = \sum_c B_c^\top B_c = P^2 \circ \alpha\alpha^\top
        - P \circ (\alpha d^\top + d \alpha^\top) + \mathrm{diag}\big(\textstyle\sum_c d_c^2\big).$$

    The direct form costs $2Cn^2 d$, the Gram form $n^3 + 2n^2 d$. The latter loses twice as
    many digits where points nearly coincide, so it is evaluated in float64. At the point
    itself, and between points that coincide to rounding, the Laplace kernel has no
    gradient; those terms are left out.

    Args:
        alpha: n × C coefficients.
        X: n × d training inputs.
        kernel, bandwidth, M: as for `kernel_ridge`.
        form: "direct" or "gram"; the cheaper one for these sizes if left out.

    Returns:
        d × d matrix, in the precision of X.

    Raises:
        ValueError: on shapes that do not match, entries that are not finite, or the Gram
            form without 64-bit numbers enabled in JAX.

    Source: P3 Algorithm 1, step 4, divided by n. The Gram form is ours.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import agop
        >>> X, Y = jnp.array([[0.0], [1.0], [3.0]]), jnp.array([[1.0], [-1.0], [1.0]])
        >>> options = {"kernel": "gaussian", "bandwidth": 2.0}
        >>> machine = agop.kernel_ridge(X, Y, **options)
        >>> closed = agop.kernel_agop(machine.alpha, X, **options)
        >>> bool(abs(closed - agop.agop(machine, X)).max() < 1e-8)
        True
    """
    _check_machine(X, alpha, kernel, bandwidth, M)
    wide = jax.config.read("jax_enable_x64")
    if form is None:
        form = cheaper_form(*X.shape, alpha.shape[1]) if wide else "direct"
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}: choose one of {', '.join(FORMS)}")
    if form == "gram" and not wide:
        raise ValueError("the Gram form cancels too much in float32: enable jax_enable_x64")
    return kernel_machine.gradients(alpha, X, M, bandwidth, kernel=kernel, form=form)


def kernel_ridge_agop(
    X: Float[Array, "n d"],
    Y: Float[Array, "n c"],
    *,
    kernel: str,
    bandwidth: float,
    M: Float[Array, "d d"] | None = None,
    ridge: float = 0.0,
    check: bool = True,
) -> tuple[KernelMachine, Float[Array, "d d"]]:
    r"""`kernel_ridge`, and `kernel_agop` of what it fits, from one matrix of distances.

    That holds where both are evaluated in float64 and the Gram form is the cheaper one;
    elsewhere the two functions run one after the other.

    Args, Raises, Source: as for the two functions.

    Returns:
        The fitted machine, and the d × d matrix in the precision of X.
    """
    options = {"kernel": kernel, "bandwidth": bandwidth, "M": M}
    _check_machine(X, Y, **options, ridge=ridge)
    if X.dtype != jnp.float64 or cheaper_form(*X.shape, Y.shape[1]) != "gram":
        machine = kernel_ridge(X, Y, **options, ridge=ridge, check=check)
        return machine, kernel_agop(machine.alpha, X, **options)
    alpha, pivot, matrix = kernel_machine.fit(X, Y, M, ridge, bandwidth, kernel=kernel)
    return _fitted(alpha, X, M, pivot, kernel, bandwidth, ridge, check), matrix


def cheaper_form(n: int, d: int, C: int) -> str:
    """The form of `kernel_agop` with fewer operations for these sizes."""
    direct = 2 * C * n * d * (n + d)
    gram = (1 + 1 / kernel_machine.BLOCKS) * n**3 + n * d * (n + 2 * d)
    return "gram" if gram < direct else "direct"
