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


def cut(n: int) -> list[slice]:
    """Blocks of rows. Of a symmetric matrix only the blocks i, j with i ≤ j are made."""
    blocks = BLOCKS if n > SMALL else 1
    return [slice(n * k // blocks, n * (k + 1) // blocks) for k in range(blocks)]


def solve(K, Y, ridge):
    """Coefficients of the regression, and the smallest pivot of its matrix, squared.

    The matrix is K + ridge, of which the blocks i ≤ j are given. It is factored by blocks, as
    products are several times faster than LAPACK's own factorisation, which does the diagonal.
    """
    Y = [Y[rows] for rows in cut(len(Y))]
    L, z, alpha = _factor(K, ridge, len(Y)), [], []
    for k, y in enumerate(Y):
        known = sum(L[k, j] @ x for j, x in enumerate(z))
        z.append(_triangular(L[k, k], y - known))
    for k in reversed(range(len(Y))):
        known = sum(L[j, k].T @ x for j, x in enumerate(alpha, k + 1))
        alpha.insert(0, _triangular(L[k, k], z[k] - known, trans=1))
    pivots = jnp.concatenate([jnp.diagonal(L[k, k]) for k in range(len(Y))])
    return jnp.concatenate(alpha), jnp.min(pivots) ** 2


_triangular = functools.partial(jax.scipy.linalg.solve_triangular, lower=True)
_written = jax.lax.optimization_barrier  # a transpose, or products would read down its columns


def _factor(K, ridge, blocks: int) -> dict:
    """The blocks of L at and below the diagonal, K + ridge = L L'."""
    L, left = {}, dict(K)
    for k in range(blocks):
        # LAPACK goes by columns: of the transpose, or all that leads to K would be made by columns
        own = left[k, k].T + ridge * jnp.eye(len(left[k, k]), dtype=left[k, k].dtype)
        L[k, k] = jnp.linalg.cholesky(own, symmetrize_input=False)
        beyond = range(k + 1, blocks)
        L |= {(j, k): _written(_triangular(L[k, k], left[k, j]).T) for j in beyond}
        for i, j in _upper(beyond):
            left[i, j] = left[i, j] - L[i, k] @ L[j, k].T
    return L


def _upper(numbers):
    """All pairs i, j with i ≤ j."""
    return itertools.combinations_with_replacement(numbers, 2)


@functools.partial(jax.jit, static_argnames=("kernel", "form"))
def gradients(alpha, X, M, bandwidth, *, kernel, form):
    """The average gradient outer product of a machine that was fitted."""
    dtype, n = X.dtype, len(X)
    if form == "gram":
        alpha, X = alpha.astype(jnp.float64), X.astype(jnp.float64)
    X, XM, squares = _centred(X, M)
    if form == "gram":
        XM, _, P = _blocks(X, XM, squares, bandwidth, kernel)
        return (_gram_form(alpha, XM, P) / n).astype(dtype)

    def pull(rows):
        own = rows[:, None] == jnp.arange(n)[None, :]
        return _pair(XM[rows], X, squares[rows], squares, own, bandwidth, kernel)[1]

    return _direct_form(alpha, XM, pull) / n


@functools.partial(jax.jit, static_argnames="kernel")
def fit(X, Y, M, ridge, bandwidth, *, kernel):
    """Coefficients, smallest pivot, and average gradient outer product, in the Gram form."""
    XM, K, P = _blocks(*_centred(X, M), bandwidth, kernel)
    alpha, pivot = solve(K, Y, ridge)
    return alpha, pivot, _gram_form(alpha, XM, P) / len(X)


def _centred(X, M):
    """X and X M with the mean taken away, and the squared lengths of the rows."""
    X = X - X.mean(axis=0, keepdims=True)  # differences only matter; less to cancel
    XM = X if M is None else X @ M.astype(X.dtype)
    return X, XM, jnp.sum(XM * X, axis=1)


def _blocks(X, XM, squares, bandwidth, kernel):
    """The blocks of X M by rows, and those of k and of P with i ≤ j."""
    K, P, parts = {}, {}, cut(len(X))
    # written out, or every block would take the mean away once more
    X, XM = jax.lax.optimization_barrier(
        ([X[rows] for rows in parts], [XM[rows] for rows in parts])
    )
    squares = [squares[rows] for rows in parts]
    for i, j in _upper(range(len(parts))):
        own = jnp.eye(len(X[i]), dtype=bool) if i == j else False
        K[i, j], P[i, j] = _pair(XM[i], X[j], squares[i], squares[j], own, bandwidth, kernel)
    return XM, K, P


def _pair(XM, X, left, right, own, bandwidth, kernel):
    """A block of k, and of P: zero on the diagonal and, for Laplace, where points coincide."""
    size = left[:, None] + right[None, :]
    squared = jnp.where(own, 0.0, jnp.clip(size - 2 * (XM @ X.T), min=0.0))
    if kernel == "gaussian":
        k = jnp.exp(-squared / (2 * bandwidth**2))
        return k, jnp.where(own, 0.0, k / bandwidth**2)
    positive = squared > 0
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
    k = jnp.exp(-root / bandwidth)
    # below this the difference of the squares has no digit left
    apart = squared > 64 * jnp.finfo(X.dtype).eps * size
    return k, jnp.where(apart, k / (bandwidth * jnp.where(apart, root, 1.0)), 0.0)


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
    parts = cut(len(alpha))
    rows = [
        jnp.concatenate(
            [_written(P[j, i].T) if j < i else P[i, j] for j in range(len(parts))], axis=1
        )
        for i in range(len(parts))
    ]
    drop = [row @ alpha for row in rows]
    alpha = [alpha[part] for part in parts]
    left = [jnp.hstack(pair) for pair in zip(alpha, drop, strict=True)]
    right = [jnp.hstack(pair) for pair in zip(drop, alpha, strict=True)]
    total = [0.5 * jnp.sum(d**2, axis=1)[:, None] * x for d, x in zip(drop, XM, strict=True)]
    for i, j in _upper(range(len(parts))):
        S = (rows[i] @ rows[j].T) * (alpha[i] @ alpha[j].T) - P[i, j] * (left[i] @ right[j].T)
        total[i] += (0.5 if i == j else 1.0) * (S @ XM[j])
    T = _written(jnp.concatenate(XM).T) @ jnp.concatenate(total)
    return T + T.T
