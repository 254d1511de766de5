"""The page on block kernels: Table 1 tells kernels apart, and the pull is the kernel."""

import jax.numpy as jnp
import numpy as np

from ncutils import models
from ncutils.block_ntk import BlockKernel
from ncutils.experiments.seleznova2023 import block_kernel
from tests import oracles

C, M = 2, 3
PLAIN = BlockKernel(2.0, 1.0, 0.3)


def test_table_1_fits_a_block_kernel_and_not_one_with_a_favoured_class():
    K = np.array(oracles.block_matrix(2.0, 1.0, 0.3, (M,) * C))
    assert block_kernel.table_error(K, PLAIN, M, C) < 1e-14
    K[0, 1] = K[1, 0] = 1.1
    assert block_kernel.table_error(K, PLAIN, M, C) > 1e-3


def test_pull_of_a_linear_model_is_its_gram_matrix():
    # f(x) = A x has the kernel (x · x') I: nothing between outputs, pull = inner product
    class Linear(models.Dense):
        pass

    X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)))
    A = Linear(weight=jnp.ones((2, 5)) * 0.1, bias=jnp.zeros(2))
    targets = jnp.repeat(jnp.eye(2), 3, axis=0)
    found = block_kernel.elasticity_of(A, A, X, targets)
    gram = np.asarray(X @ X.T) + 1.0  # the bias adds a feature of ones
    np.testing.assert_allclose(found["traced"], gram, rtol=1e-12)
    same = np.kron(np.eye(2), np.ones((3, 3))) - np.eye(6)
    means = [np.diag(gram).mean(), (gram * same).sum() / same.sum(), gram[:3, 3:].mean()]
    np.testing.assert_allclose(found["values"], means, rtol=1e-12)
    np.testing.assert_allclose(found["pull"], means, rtol=1e-6)
    assert float(found["cross"]) < 1e-12
    assert abs(means[1] - means[2]) > 0.05
