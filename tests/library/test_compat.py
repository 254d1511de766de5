import subprocess
import sys

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad

from ncutils.compat.neural_tangents import nt, stax

FRESH = """
import sys
import jax, jax.core
from jax.interpreters import ad
before = set(vars(jax.core)), set(vars(ad))
from ncutils.compat.neural_tangents import nt, stax
assert (set(vars(jax.core)), set(vars(ad))) == before, "JAX was changed"
for name in ("jax.util", "neural_tangents.experimental", "tensorflow", "tf2jax"):
    assert name not in sys.modules, name
try:
    import neural_tangents.experimental
except ImportError:
    pass
else:
    raise SystemExit("the TensorFlow part should not import")
print("clean")
"""


def test_importing_neural_tangents_leaves_jax_as_it_was_and_loads_no_tensorflow():
    run = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "clean", run.stderr
    spoiled = FRESH.replace("before = ", "jax.core.extra = 1; before = ").replace(
        "assert (set", "del jax.core.extra\nassert (set"
    )
    run = subprocess.run(
        [sys.executable, "-c", spoiled], capture_output=True, text=True, check=False
    )
    assert "JAX was changed" in run.stderr


def test_the_three_empirical_ntks_agree_with_plain_jacobians():
    init, apply, _ = stax.serial(stax.Dense(16), stax.Erf(), stax.Dense(3))
    x = jax.random.normal(jax.random.key(0), (4, 5))
    _, params = init(jax.random.key(1), x.shape)
    jacobian = jax.jacobian(lambda p: apply(p, x))(params)
    plain = sum(
        jnp.einsum("iap,jbp->ijab", *(leaf.reshape(4, 3, -1),) * 2)
        for leaf in jax.tree.leaves(jacobian)
    )
    for way in (
        nt.NtkImplementation.JACOBIAN_CONTRACTION,
        nt.NtkImplementation.NTK_VECTOR_PRODUCTS,
        nt.NtkImplementation.STRUCTURED_DERIVATIVES,
        nt.NtkImplementation.AUTO,
    ):
        found = nt.empirical_ntk_fn(apply, trace_axes=(), implementation=way)(x, None, params)
        np.testing.assert_allclose(found, plain, rtol=1e-10, atol=1e-12)
    assert np.abs(plain[0, 0] - plain[1, 1]).max() > 1e-3


def test_exact_gradient_descent_on_a_kernel_follows_the_matrix_exponential():
    A = jax.random.normal(jax.random.key(2), (4, 4))
    K, y = A @ A.T + jnp.eye(4), jnp.ones((4, 1))
    predict = nt.predict.gradient_descent_mse(K, y, diag_reg=0.0)
    expected = y - jax.scipy.linalg.expm(-K * 1.5 / y.size) @ y
    np.testing.assert_allclose(predict(1.5, jnp.zeros((4, 1))), expected, rtol=1e-8)
    assert np.abs(predict(0.5, jnp.zeros((4, 1))) - expected).max() > 1e-2


def test_names_lent_at_import_are_gone_afterwards():
    assert not hasattr(ad, "zeros_like_p")
    assert "jax.util" not in sys.modules
