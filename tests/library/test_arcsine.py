import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils._fast import arcsine

GRID = np.concatenate(
    [
        np.linspace(-1, 1, 20_001),
        1 - 10.0 ** -np.linspace(0.1, 16, 500),
        10.0 ** -np.linspace(0.1, 16, 500) - 1,
        10.0 ** -np.linspace(0.3, 30, 500),
        [0.5, np.nextafter(0.5, 1), -0.5, np.nextafter(-0.5, -1)],
    ]
)
PAIRS = [(arcsine.arcsin, np.arcsin), (arcsine.arccos, np.arccos)]


def ulps(found, exact, dtype):
    error = np.abs(np.asarray(found, float) - exact)
    return (error / np.spacing(np.abs(exact).astype(dtype)).astype(float)).max()


@pytest.mark.parametrize(("fast", "slow"), PAIRS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_inverse_sines_agree_with_numpy_to_four_units_in_the_last_place(fast, slow, dtype):
    x = GRID.astype(dtype)
    found = fast(jnp.asarray(x))
    assert found.dtype == dtype
    assert ulps(found, slow(x.astype(float)), dtype) <= 4


def test_a_shorter_polynomial_would_be_noticed(monkeypatch):
    monkeypatch.setattr(arcsine, "_P", arcsine._interpolant(10))
    assert ulps(arcsine.arcsin(jnp.asarray(GRID)), np.arcsin(GRID), np.float64) > 50


@pytest.mark.parametrize(("fast", "slow"), PAIRS)
def test_arguments_outside_give_nan_and_the_ends_are_exact(fast, slow):
    assert np.isnan(fast(jnp.array([1.0000001, -2.0, jnp.nan]))).all()
    np.testing.assert_array_equal(fast(jnp.array([-1.0, 0.0, 1.0])), slow([-1.0, 0.0, 1.0]))


@pytest.mark.parametrize(("fast", "sign"), [(arcsine.arcsin, 1.0), (arcsine.arccos, -1.0)])
def test_derivatives_are_those_of_the_functions(fast, sign):
    x = jnp.array([-0.9, -0.5, -0.1, 0.0, 0.3, 0.5, 0.99])
    slope = jax.vmap(jax.grad(fast))(x)
    np.testing.assert_allclose(slope, sign / jnp.sqrt(1 - x**2), rtol=1e-13)
    numeric = (fast(x + 1e-6) - fast(x - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope, numeric, rtol=1e-6)
