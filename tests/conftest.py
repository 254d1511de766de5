"""Settings that every test runs under."""

import os

os.environ.setdefault("MPLBACKEND", "agg")

import jax
import jaxtyping
import pytest

jax.config.update("jax_enable_x64", True)
# Makes JAX refuse an (n,) minus (n, 1) that would silently become (n, n).
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(params=[1, 2, 3])
def key(request):
    """Three seeds for whatever is random."""
    return jax.random.key(request.param)


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled():
    """Compiled programs of one file are of no use to the next, and fill the memory."""
    yield
    jax.clear_caches()


@pytest.fixture
def as_a_user():
    """Without the shape checks of the test run, which would speak before our own errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
