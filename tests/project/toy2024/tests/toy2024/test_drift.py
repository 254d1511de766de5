"""The toy paper's case against its definition, sample by sample."""

import jax
import numpy as np

from ncutils import experiments


def test_nc1_is_the_ratio_of_two_spreads():
    ds = experiments.run("toy2024/drift/apart", seeds=(5,), per_class=4, distances=(3.0,))
    x = np.array(jax.random.normal(jax.random.key(5), (8, 3)))
    x[4:] += 3.0
    means = [x[:4].mean(0), x[4:].mean(0)]
    within = sum(np.sum((row - means[k // 4]) ** 2) for k, row in enumerate(x)) / 8
    between = sum(np.sum((mean - x.mean(0)) ** 2) for mean in means) / 2
    np.testing.assert_allclose(float(ds.nc1[0, 0]), within / between, rtol=1e-5)
    assert abs(float(ds.nc1[0, 0]) - between / within) > 1e-3
