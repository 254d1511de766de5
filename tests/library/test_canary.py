"""The installed JAX computes what it says (jax 0.10.2 on CPU does not)."""

import os
import subprocess
import sys

import pytest

from ncutils.records import workspace

QUADRATIC = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
matrix, rows = rng.normal(size=(3, 3)), rng.normal(size=(20_000, 3))
quadratic = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.asarray(matrix) @ row) ** 2)))
expected = ((rows @ matrix.T) ** 2).sum(axis=1)
print(np.max(np.abs(quadratic(jnp.asarray(rows)) / expected - 1)))
"""


# A test's process compiles with little optimisation, a reader's with all of it.
@pytest.mark.parametrize("flags", ["", workspace.SWIFT_COMPILATION], ids=["reader", "test"])
def test_jitted_batched_quadratic_form_equals_numpy_above_the_size_where_jax_0_10_2_breaks(flags):
    without = {name: text for name, text in os.environ.items() if not name.startswith("JAX_COMP")}
    done = subprocess.run(
        [sys.executable, "-c", QUADRATIC],
        env={**without, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 1e-12
