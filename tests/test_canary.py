"""The installed JAX computes what it says (jax 0.10.2 on CPU does not)."""

import jax
import jax.numpy as jnp
import numpy as np


def test_jitted_batched_quadratic_form_equals_numpy_above_the_size_where_jax_0_10_2_breaks():
    rng = np.random.default_rng(0)
    matrix, rows = rng.normal(size=(3, 3)), rng.normal(size=(20_000, 3))

    @jax.jit
    @jax.vmap
    def quadratic(row):
        return jnp.sum((jnp.asarray(matrix) @ row) ** 2)

    expected = ((rows @ matrix.T) ** 2).sum(axis=1)
    np.testing.assert_allclose(quadratic(jnp.asarray(rows)), expected, rtol=1e-12)
