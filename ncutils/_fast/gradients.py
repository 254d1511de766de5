"""Products of gradients, summed over outputs or samples, compiled: what `entk` is made of."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# so many outputs at a time stay in the cache of a CPU and still fill its products
TOGETHER = 32
SPAN = 9216  # of so many parameters, the gradients at a hundred samples stay in the cache
SMALL = 2048  # leaves with fewer parameters are taken as one


def pullback(f, params, x):
    """What takes cotangents of the outputs at x back to the parameters; a pytree itself."""
    weights, fixed = eqx.partition(params, eqx.is_inexact_array)
    outputs, pull = jax.vjp(lambda w: f(eqx.combine(w, fixed), x), weights)
    return jax.tree_util.Partial(_cotangents, jnp.zeros((), outputs.dtype), pull)


def _cotangents(like, pull, u):
    return pull(u.astype(like.dtype))[0]


def pullbacks(f, params, X):
    """One for each sample: these pass through f one after the other, and each only once."""
    return jax.lax.map(functools.partial(pullback, f, params), X)


def gradients(row, combinations) -> list[Float[Array, "c _"]]:
    """Gradients of combinations of the outputs at one sample: large leaves, then the small ones."""
    if len(combinations) <= TOGETHER or not _on_cpu():
        rows = jax.vmap(row)(combinations)
    else:
        rows = jax.lax.map(row, combinations, batch_size=TOGETHER)
    # in any order, as products are sums over all of them; this one is that of `_convolution`
    flat = [jnp.moveaxis(leaf, -1, 1).reshape(len(leaf), -1) for leaf in jax.tree.leaves(rows)]
    small = [leaf for leaf in flat if leaf.shape[1] < SMALL]
    large = [leaf for leaf in flat if leaf.shape[1] >= SMALL]
    return [*large, jnp.concatenate(small, axis=1)] if small else large


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def products(subscripts: str, A: list, B: list):
    """Inner products over the parameters, leaf by leaf; full precision on any device."""
    times = functools.partial(jnp.einsum, subscripts, precision=jax.lax.Precision.HIGHEST)
    return sum(times(a, b).astype(float) for a, b in zip(A, B, strict=True))


def kernels(J: list[Float[Array, "n c _"]]) -> Float[Array, "c n n"]:
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
def summed(f, params, X, combinations):
    """Sums over combinations of their kernels, and of the squares of these."""
    pulls = pullbacks(f, params, X)

    def add(sums, rows):
        each = kernels(jax.lax.map(lambda pull: gradients(pull, rows), pulls))
        return (sums[0] + each.sum(axis=0), sums[1] + (each**2).sum(axis=0)), None

    nothing = jnp.zeros((X.shape[0],) * 2)
    return jax.lax.scan(add, (nothing, nothing), combinations)[0]


@eqx.filter_jit
def norms(f, params, X, combinations):
    count, size, _ = combinations.shape
    pulls = pullbacks(f, params, X)

    def jacobian(a):
        return jax.lax.map(lambda pull: gradients(pull, combinations[a]), pulls)

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
    size = combinations.shape[1]
    parts = -(-size // TOGETHER) if _on_cpu() else 1
    width = -(-size // parts)

    def chunk_of(rows):
        rows = jnp.pad(rows, ((0, parts * width - size), (0, 0))).reshape(parts, width, -1)

        def add(sums, sample):
            x, group = sample
            pull = pullback(f, params, x)

            def part(sums, numbered):
                at, u = numbered
                J = gradients(pull, u)
                norms = sum(_squares(j).astype(float) for j in J)
                return [s.at[at, group].add(j) for s, j in zip(sums, J, strict=True)], norms

            sums, norms = jax.lax.scan(part, sums, (jnp.arange(parts), rows))
            return sums, norms.reshape(-1)

        J = jax.eval_shape(lambda x: gradients(pullback(f, params, x), rows[0]), X[0])
        start = [jnp.zeros((parts, count, *j.shape), j.dtype) for j in J]
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
