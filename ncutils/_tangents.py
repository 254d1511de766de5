"""Products of gradients, summed over outputs or samples, compiled: what `entk` is made of."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def gradients(f, params, x, combinations) -> list[Float[Array, "c p"]]:
    """Gradients of combinations of the outputs at one sample, one array a parameter leaf."""
    weights, fixed = eqx.partition(params, eqx.is_inexact_array)
    outputs, pull = jax.vjp(lambda w: f(eqx.combine(w, fixed), x), weights)
    # one output's arrays at a time stay in the cache of a CPU; other devices take all at once
    size = 1 if jax.default_backend() == "cpu" else len(combinations)
    rows = jax.lax.map(lambda u: pull(u)[0], combinations.astype(outputs.dtype), batch_size=size)
    return [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(rows)]


def products(subscripts: str, A: list, B: list):
    """Inner products over the parameters, leaf by leaf; full precision on any device."""
    times = functools.partial(jnp.einsum, subscripts, precision=jax.lax.Precision.HIGHEST)
    return sum(times(a, b).astype(float) for a, b in zip(A, B, strict=True))


@eqx.filter_jit
def traced(f, params, X, combinations):
    def add(total, rows):
        J = jax.lax.map(lambda x: gradients(f, params, x, rows), X)
        return total + products("icp,jcp->ij", J, J), None

    return jax.lax.scan(add, jnp.zeros((X.shape[0],) * 2), combinations)[0]


@eqx.filter_jit
def probed(f, params, X, combinations):
    """Sums over combinations of their kernels, and of the squares of these."""

    def add(sums, rows):
        J = jax.lax.map(lambda x: gradients(f, params, x, rows), X)
        each = products("icp,jcp->cij", J, J)
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

    def chunk_of(rows):
        def add(sums, sample):
            x, group = sample
            J = gradients(f, params, x, rows)
            norms = sum(jnp.sum(j**2, axis=1).astype(float) for j in J)
            return [s.at[group].add(j) for s, j in zip(sums, J, strict=True)], norms

        start = [jnp.zeros((count, size, leaf.size), leaf.dtype) for leaf in leaves]
        sums, norms = jax.lax.scan(add, start, (X, groups))
        return products("gcp,hcp->cgh", sums, sums), norms.T

    gram, squares = jax.lax.map(chunk_of, combinations)
    return gram.reshape(-1, count, count), squares.reshape(-1, X.shape[0])
