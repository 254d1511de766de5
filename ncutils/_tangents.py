"""Products of gradients, summed over outputs or samples, compiled: what `entk` is made of."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


# so many outputs at a time stay in the cache of a CPU and still fill its products
TOGETHER = 32
SPAN = 9216  # of so many parameters, the gradients at a hundred samples stay in the cache


def gradients(f, params, x, combinations) -> list[Float[Array, "c p"]]:
    """Gradients of combinations of the outputs at one sample, one array a parameter leaf."""
    outputs, pull = _pullback(f, params, x)
    rows = combinations.astype(outputs.dtype)
    if len(rows) <= TOGETHER or not _on_cpu():
        return _flat(jax.vmap(pull)(rows))
    return _flat(jax.lax.map(pull, rows, batch_size=TOGETHER))


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _pullback(f, params, x):
    weights, fixed = eqx.partition(params, eqx.is_inexact_array)
    outputs, pull = jax.vjp(lambda w: f(eqx.combine(w, fixed), x), weights)
    return outputs, lambda u: pull(u)[0]


def _flat(rows) -> list[Float[Array, "c p"]]:
    # in any order, as products are sums over all of them; this one is that of `_convolution`
    return [jnp.moveaxis(leaf, -1, 1).reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(rows)]


def products(subscripts: str, A: list, B: list):
    """Inner products over the parameters, leaf by leaf; full precision on any device."""
    times = functools.partial(jnp.einsum, subscripts, precision=jax.lax.Precision.HIGHEST)
    return sum(times(a, b).astype(float) for a, b in zip(A, B, strict=True))


def kernels(J: list[Float[Array, "n c p"]]) -> Float[Array, "c n n"]:
    """The kernel of each combination."""
    if not _on_cpu():
        return products("icp,jcp->cij", J, J)
    return jax.lax.map(lambda c: sum(_square(j, c) for j in J), jnp.arange(J[0].shape[1]))


def _square(j: Float[Array, "n c p"], c: Int[Array, ""]) -> Float[Array, "n n"]:
    """Products of the gradients of one combination, summed over spans of parameters."""
    n, _, p = j.shape

    def part(start, span):
        rows = jax.lax.dynamic_slice(j, (0, c, start), (n, 1, span))[:, 0]
        return jnp.matmul(rows, rows.T, precision=jax.lax.Precision.HIGHEST)

    whole = p - p % SPAN
    found = part(whole, p % SPAN).astype(float) if p % SPAN else 0.0
    if whole:
        add = lambda i, total: total + part(i * SPAN, SPAN).astype(float)  # noqa: E731
        found += jax.lax.fori_loop(0, whole // SPAN, add, jnp.zeros((n, n)))
    return found


@eqx.filter_jit
def traced(f, params, X, combinations):
    def add(total, rows):
        J = jax.lax.map(lambda x: gradients(f, params, x, rows), X)
        return total + kernels(J).sum(axis=0), None

    return jax.lax.scan(add, jnp.zeros((X.shape[0],) * 2), combinations)[0]


@eqx.filter_jit
def probed(f, params, X, combinations):
    """Sums over combinations of their kernels, and of the squares of these."""

    def add(sums, rows):
        each = kernels(jax.lax.map(lambda x: gradients(f, params, x, rows), X))
        return (sums[0] + each.sum(axis=0), sums[1] + (each**2).sum(axis=0)), None

    nothing = jnp.zeros((X.shape[0],) * 2)
    return jax.lax.scan(add, (nothing, nothing), combinations)[0]


@eqx.filter_jit
def norms(f, params, X, combinations):
    count, size, _ = combinations.shape

    def jacobian(a):
        return jax.lax.map(lambda x: gradients(f, params, x, combinations[a]), X)

    def squares(A, B):
        return jnp.sum(products("icp,jdp->icjd", A, B) ** 2, axis=(0, 2))

    def row(a, found):
        J = jacobian(a)

        def column(b, found):
            block = squares(J, jacobian(b))
            return found.at[a, b].set(block).at[b, a].set(block.T)

        return jax.lax.fori_loop(a + 1, count, column, found.at[a, a].set(squares(J, J)))

    found = jax.lax.fori_loop(0, count, row, jnp.zeros((count, count, size, size)))
    found = found.transpose(0, 2, 1, 3).reshape(count * size, count * size)
    return jnp.sqrt((found + found.T) / 2)


@eqx.filter_jit
def group_gram(f, params, X, groups, combinations, count):
    """Products of gradients summed over groups, squared norms at samples; for each combination."""
    size, leaves = combinations.shape[1], jax.tree.leaves(eqx.filter(params, eqx.is_inexact_array))
    parts = -(-size // TOGETHER) if _on_cpu() else 1
    width = -(-size // parts)

    def chunk_of(rows):
        rows = jnp.pad(rows, ((0, parts * width - size), (0, 0))).reshape(parts, width, -1)

        def add(sums, sample):
            x, group = sample
            outputs, pull = _pullback(f, params, x)

            def part(sums, numbered):
                at, u = numbered
                J = _flat(jax.vmap(pull)(u.astype(outputs.dtype)))
                norms = sum(_squares(j).astype(float) for j in J)
                return [s.at[at, group].add(j) for s, j in zip(sums, J, strict=True)], norms

            sums, norms = jax.lax.scan(part, sums, (jnp.arange(parts), rows))
            return sums, norms.reshape(-1)

        start = [jnp.zeros((parts, count, width, leaf.size), leaf.dtype) for leaf in leaves]
        sums, norms = jax.lax.scan(add, start, (X, groups))
        def gram(at):
            rows = [s[at // width, :, at % width] for s in sums]
            return products("gp,hp->gh", rows, rows)

        return jax.lax.map(gram, jnp.arange(size)), norms.T[:size]

    gram, squares = jax.lax.map(chunk_of, combinations)
    return gram.reshape(-1, count, count), squares.reshape(-1, X.shape[0])


def _squares(j: Float[Array, "c p"]) -> Float[Array, " c"]:
    """Squared norms of the rows; eight slices are added first, which a CPU does in vectors."""
    span, rest = divmod(j.shape[1], 8)
    if rest or span < 64:
        return jnp.sum(j**2, axis=1)
    return sum(jnp.square(j[:, i * span : (i + 1) * span]) for i in range(8)).sum(axis=1)
