"""The AGOP of a kernel machine, and a layer of Deep RFM, against the form that was published.

The published form makes the gradients of one output at a time, an n × n times n × d product
for each of C = 10 outputs, and sums their outer products. The plain layer has it, solves by
elimination, and takes the square root of the d × d matrix; it leaves out the second fit that
the released code makes and does not use. Everything is float64.

The public package xrfm needs PyTorch, which is no part of this project. To measure against it
in the same run, install it elsewhere and say where (of a layer, its parts are put together:
kernel matrix, regression, AGOP and square root):

    python3 -m venv ELSEWHERE && ELSEWHERE/bin/pip install xrfm
    XRFM_PYTHON=ELSEWHERE/bin/python make bench

OpenBLAS, which factorises for both, has one thread here, as it has in the notebooks where there is
a core for each of them. With more on two cores its threads take turns with those of XLA: our layer,
which alternates between the two libraries, then takes a third longer, and the plain one does not.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg  # noqa: F401  JAX calls its OpenBLAS, which must be there to be limited
from threadpoolctl import threadpool_limits

from benchmarks.ratio import compare, seconds
from ncutils import agop, deep_rfm, linalg

jax.config.update("jax_enable_x64", True)

C, BANDWIDTH, RIDGE = 10, 2.0, 1e-3
NUGGET = 1e-8  # xrfm adds it to the diagonal of M before taking the root
SIZES = [(2000, 784), (1000, 3072)]
RECIPE = deep_rfm.Layout("relu", width=1024)


@pytest.fixture(autouse=True)
def _one_thread_for_lapack():
    with threadpool_limits(1, user_api="blas"):
        yield


def ten_classes(n, d):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(C), n // C)
    X = 0.3 * rng.normal(size=(C, d))[y] + rng.normal(size=(n, d))
    return jnp.asarray(X / np.linalg.norm(X, axis=1, keepdims=True)), jnp.asarray(y)


def _kernel(X):
    squares = jnp.sum(X * X, axis=1)
    squared = jnp.clip(squares[:, None] + squares[None, :] - 2 * X @ X.T, 0.0)
    distance = jnp.sqrt(jnp.where(jnp.eye(len(X), dtype=bool), 0.0, squared))
    return distance, jnp.exp(-distance / BANDWIDTH)


@jax.jit
def published_agop(alpha, X):
    distance, K = _kernel(X)
    own = jnp.eye(len(X), dtype=bool)
    P = jnp.where(own, 0.0, K / (BANDWIDTH * jnp.where(own, 1.0, distance)))

    def output(total, a):
        G = (P * a[None, :]) @ X - (P @ a)[:, None] * X
        return total + G.T @ G, None

    return jax.lax.scan(output, jnp.zeros((X.shape[1],) * 2), alpha.T)[0] / len(X)


@jax.jit
def _solve(X, targets):
    return jnp.linalg.solve(_kernel(X)[1] + RIDGE * jnp.eye(len(X)), targets)


@jax.jit
def _square_root(M):
    values, vectors = jnp.linalg.eigh(M / jnp.max(M))
    return (vectors * jnp.sqrt(jnp.clip(values, 0.0))[None, :]) @ vectors.T


def published_layer(X, y, key):
    X = X / jnp.linalg.norm(X, axis=1, keepdims=True)
    alpha = _solve(X, 2 * jnp.eye(C)[y] - 1)
    inner = X @ _square_root(published_agop(alpha, X))
    draw = jax.random.split(jax.random.fold_in(key, 0))[1]
    return inner, deep_rfm.random_features(inner, recipe=RECIPE, key=draw)


def first_layer(X, y, key):
    return next(deep_rfm.run_layers(X, y, num_classes=C, depth=1, recipe=RECIPE, key=key))


def our_layer(X, y, key):
    layer = first_layer(X, y, key)
    return layer.after_agop, layer.after_map


def our_layer_with_nugget(X, y, key):
    layer = first_layer(X, y, key)
    inner = layer.before @ linalg.psd_sqrt(layer.M + NUGGET * jnp.eye(len(layer.M)))
    return inner, jax.nn.relu(inner @ weights(X.shape[1], key))


def away(found, expected):
    return float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected))


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_kernel_agop_is_three_times_faster_than_the_published_form(benchmark, n, d):
    X, y = ten_classes(n, d)
    machine = agop.kernel_ridge(
        X, 2 * jnp.eye(C)[y] - 1, kernel="laplace", bandwidth=BANDWIDTH, ridge=RIDGE
    )
    alpha = machine.alpha
    ours = lambda: agop.kernel_agop(alpha, X, kernel="laplace", bandwidth=BANDWIDTH)  # noqa: E731
    plain = lambda: published_agop(alpha, X)  # noqa: E731
    ratio = compare(f"kernel AGOP, n={n}, d={d}", ours, plain, rounds=3)
    apart = away(ours(), plain())
    print(f"relative difference {apart:.1e}")
    assert apart < 1e-6
    if python := os.environ.get("XRFM_PYTHON"):
        fast = min(seconds(ours) for _ in range(3))
        found = xrfm(python, "agop", alpha, X, y)
        slow, theirs = float(found["seconds"]), found["matrix"]
        fast = min(fast, *(seconds(ours) for _ in range(3)))
        print(f"xrfm: {slow * 1e3:.3g} ms against {fast * 1e3:.3g} ms, ratio {slow / fast:.1f}")
        assert away(jnp.asarray(theirs) / n, ours()) < 1e-6
        assert slow / fast >= 2
        benchmark.extra_info["xrfm"] = slow / fast
    assert ratio >= 3
    benchmark.extra_info["ratio"] = ratio
    benchmark.pedantic(lambda: jax.block_until_ready(ours()), rounds=3)


def weights(d, key):
    """W of the first map that is drawn by the key."""
    draw = jax.random.split(jax.random.fold_in(key, 0))[1]
    eye = jnp.eye(d)  # relu(W) - relu(-W) = W
    return sum(s * deep_rfm.random_features(s * eye, recipe=RECIPE, key=draw) for s in (1, -1))


def xrfm(python, what, alpha, X, y):
    """What `xrfm_agop.py` finds at these points, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.npz", Path(folder) / "made.npz"
        arrays = {"alpha": alpha, "X": X, "targets": 2 * jnp.eye(C)[y] - 1}
        arrays["W"] = weights(X.shape[1], jax.random.key(0))
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        np.savez(given, **arrays, bandwidth=BANDWIDTH, ridge=RIDGE)
        script = Path(__file__).with_name("xrfm_agop.py")
        subprocess.run([python, script, given, made, what], check=True)
        with np.load(made) as found:
            return dict(found)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_a_layer_of_deep_rfm_is_three_times_faster_than_the_published_form(benchmark, n, d):
    X, y = ten_classes(n, d)
    key = jax.random.key(0)
    ours, plain = (lambda f=f: f(X, y, key) for f in (our_layer, published_layer))
    ratio = compare(f"Deep RFM layer, n={n}, d={d}", ours, plain, rounds=5)
    apart = max(away(f, e) for f, e in zip(ours(), plain(), strict=True))
    print(f"relative difference {apart:.1e}")
    assert apart < 1e-6
    if python := os.environ.get("XRFM_PYTHON"):
        fast = min(seconds(ours) for _ in range(3))
        found = xrfm(python, "layer", jnp.zeros((n, C)), X, y)
        slow, fast = float(found["seconds"]), min(fast, *(seconds(ours) for _ in range(3)))
        print(f"xrfm: {slow * 1e3:.3g} ms against {fast * 1e3:.3g} ms, ratio {slow / fast:.1f}")
        theirs = (found["inner"], found["mapped"])
        nugget = max(away(t, e) for t, e in zip(theirs, ours(), strict=True))
        same = our_layer_with_nugget(X, y, key)
        apart = max(away(t, e) for t, e in zip(theirs, same, strict=True))
        print(f"relative difference {apart:.1e}, and {nugget:.1e} without the nugget of xrfm")
        assert apart < 1e-6
        assert slow / fast >= 2
        benchmark.extra_info["xrfm"] = slow / fast
    assert ratio >= 3
    benchmark.extra_info["ratio"] = ratio
    benchmark.pedantic(lambda: jax.block_until_ready(ours()), rounds=3)
