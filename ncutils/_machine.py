r"""The sums behind a kernel machine and its average gradient outer product, compiled.

What $P$ and $S$ are, and the two forms, is said in `agop.kernel_agop`.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

BLOCKS = 4  # of rows in the Gram form, which skips the blocks below the diagonal
SMALL = 512  # rows that are not worth the time to compile blocks for
ENTRIES = 2**25  # of a kernel matrix that are made at a time by the direct form: 256 MB


def row_blocks(n: int, size: int):
    """Row numbers in blocks of one size, the last filled up with row 0, and which are real."""
    rows = np.arange(-(-n // size) * size).reshape(-1, size)
    return jnp.asarray(np.where(rows < n, rows, 0)), jnp.asarray(rows < n)


def solve(K, Y, ridge):
    """Coefficients of the regression, and the smallest pivot of its matrix, squared.

    On a CPU the factorisation goes by blocks, as products are several times faster than LAPACK's
    own factorisation; it is that of LAPACK within the blocks on the diagonal.
    """
    parts = _panels(len(K)) if jax.default_backend() == "cpu" else [(0, len(K))]
    L = _factor(K, ridge, parts)
    z = []
    for k, (a, b) in enumerate(parts):
        known = sum(L[k, j] @ z[j] for j in range(k))
        z.append(_triangular(L[k, k], Y[a:b] - known))
    alpha = []  # from the last block to the first
    for k in reversed(range(len(parts))):
        known = sum(L[j, k].T @ x for j, x in zip(range(k + 1, len(parts)), alpha, strict=True))
        alpha.insert(0, _triangular(L[k, k], z[k] - known, trans=1))
    pivots = jnp.concatenate([jnp.diagonal(L[k, k]) for k in range(len(parts))])
    return jnp.concatenate(alpha), jnp.min(pivots) ** 2


_triangular = functools.partial(jax.scipy.linalg.solve_triangular, lower=True)


def _factor(K, ridge, parts) -> dict:
    """Blocks of the lower Cholesky factor of K and a ridge."""
    L = {}
    left = {
        (i, j): K[slice(*p), slice(*q)] for i, p in enumerate(parts) for j, q in enumerate(parts)
    }
    for k in range(len(parts)):
        # LAPACK goes by columns: of the transpose, or all that leads to K would be made by columns
        own = left[k, k].T + ridge * jnp.eye(len(left[k, k]), dtype=K.dtype)
        L[k, k] = jnp.linalg.cholesky(own, symmetrize_input=False)
        below = range(k + 1, len(parts))
        L |= {(i, k): _triangular(L[k, k], left[i, k].T).T for i in below}
        for i, j in itertools.combinations_with_replacement(below, 2):
            left[j, i] = left[j, i] - L[j, k] @ L[i, k].T
    return L


@functools.partial(jax.jit, static_argnames=("kernel", "form"))
def gradients(alpha, X, M, bandwidth, *, kernel, form):
    """The average gradient outer product of a machine that was fitted."""
    dtype, n = X.dtype, len(X)
    if form == "gram":
        alpha, X = alpha.astype(jnp.float64), X.astype(jnp.float64)
    X, XM, pair = _pairs(X, M, bandwidth, kernel)
    if form == "direct":
        return _direct_form(alpha, XM, lambda rows: pair(rows)[1]) / n
    return (_gram_form(alpha, XM, pair()[1]) / n).astype(dtype)


@functools.partial(jax.jit, static_argnames="kernel")
def fit(X, Y, M, ridge, bandwidth, *, kernel):
    """Coefficients, smallest pivot, and average gradient outer product, in the Gram form."""
    n = len(X)
    X, XM, pair = _pairs(X, M, bandwidth, kernel)
    K, P = pair()
    alpha, pivot = solve(K, Y, ridge)
    return alpha, pivot, _gram_form(alpha, XM, P) / n


def _pairs(X, M, bandwidth, kernel):
    """X and X M with their mean taken away, and a function that makes rows of k and of P."""
    X = X - X.mean(axis=0, keepdims=True)  # differences only matter; less to cancel
    XM = X if M is None else X @ M.astype(X.dtype)
    return X, XM, functools.partial(_pair, X, XM, jnp.sum(XM * X, axis=1), bandwidth, kernel)


def _pair(X, XM, squares, bandwidth, kernel, rows=None):
    """Rows of k, and of P: zero on the diagonal, and for Laplace between points that coincide."""
    products = _symmetric_product(XM, X) if rows is None else XM[rows] @ X.T
    number = jnp.arange(len(X))
    rows = number if rows is None else rows
    size = squares[rows][:, None] + squares[None, :]
    own = rows[:, None] == number[None, :]
    squared = jnp.where(own, 0.0, jnp.clip(size - 2 * products, min=0.0))
    if kernel == "gaussian":
        k = jnp.exp(-squared / (2 * bandwidth**2))
        return k, jnp.where(own, 0.0, k / bandwidth**2)
    positive = squared > 0
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
    k = jnp.exp(-root / bandwidth)
    # below this the difference of the squares has no digit left
    apart = squared > 64 * jnp.finfo(X.dtype).eps * size
    return k, jnp.where(apart, k / (bandwidth * jnp.where(apart, root, 1.0)), 0.0)


def _panels(n: int) -> list[tuple[int, int]]:
    """Ends of the blocks of rows; of a symmetric matrix, row block a is made from column a on."""
    blocks = BLOCKS if n > SMALL else 1
    return list(itertools.pairwise(n * k // blocks for k in range(blocks + 1)))


def _symmetric_product(A, B):
    """A B' where it is symmetric: the upper half, and its transpose."""
    upper = {a: A[a:b] @ B[a:].T for a, b in _panels(len(A))}

    def across(above, a, b):  # written out, or the sums that follow would read down columns
        return jax.lax.optimization_barrier(upper[above][:, a - above : b - above].T)

    rows = [[*(across(k, a, b) for k in upper if k < a), upper[a]] for a, b in _panels(len(A))]
    return jnp.concatenate([jnp.concatenate(parts, axis=1) for parts in rows])


def _direct_form(alpha, XM, pull):
    n, d = XM.shape
    rows, kept = row_blocks(n, max(1, min(n, ENTRIES // n)))

    def block(total, now):
        rows, kept = now
        P = jnp.where(kept[:, None], pull(rows), 0.0)

        def output(total, a):
            G = P @ (a[:, None] * XM) - (P @ a)[:, None] * XM[rows]
            return total + G.T @ G, None

        return jax.lax.scan(output, total, alpha.T)[0], None

    return jax.lax.scan(block, jnp.zeros((d, d), XM.dtype), (rows, kept))[0]


def _gram_form(alpha, XM, P):
    """S is symmetric: T = (XM)' U XM with its upper half U, the diagonal halved; then T + T'."""
    n = len(XM)
    drop = P @ alpha
    left, right = jnp.hstack([alpha, drop]), jnp.hstack([drop, alpha])
    halved = 0.5 * jnp.sum(drop**2, axis=1)[:, None] * XM
    upper = []
    for a, b in _panels(n):
        i, rest = slice(a, b), slice(a, n)  # the panel from the block on the diagonal on
        S = (P[i] @ P[rest].T) * (alpha[i] @ alpha[rest].T) - P[i, rest] * (left[i] @ right[rest].T)
        share = jnp.where(jnp.arange(a, n) < b, 0.5, 1.0)
        upper.append((S * share[None, :]) @ XM[rest] + halved[i])
    across = jax.lax.optimization_barrier(XM.T)  # written out: the product is twice as fast
    T = across @ jnp.concatenate(upper)
    return T + T.T
