"""Settings that every test runs under."""

import os
from pathlib import Path

import jax
import jaxtyping
import pytest

from ncutils.records import workspace

os.environ.setdefault("MPLBACKEND", "agg")
# Inherited by the workers and by the processes that tests start.
ROOT = Path(__file__).resolve().parent.parent
os.environ.update(workspace.job_environment(ROOT, jobs=os.cpu_count() or 1, short=True))
jax.config.update("jax_enable_x64", True)
# Makes JAX refuse an (n,) minus (n, 1) that would silently become (n, n).
jax.config.update("jax_numpy_rank_promotion", "raise")

# A paper to copy, with tests that run where it has been copied to.
collect_ignore = ["project/toy2024"]

# Files that take minutes, the longest first: begun last, they would keep one worker busy
# while the others stand idle.
LONG = ("test_pipeline.py", "test_notebooks.py", "test_browser.py", "test_compat.py")


def pytest_collection_modifyitems(items):
    """Put the long files first; `-n` with `--no-loadscope-reorder` starts them in this order."""
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


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
