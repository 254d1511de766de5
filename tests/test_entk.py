"""Empirical tangent kernels: against Jacobians, a map known on paper, and neural-tangents."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import entk, metrics
from ncutils.compat.neural_tangents import nt, stax
from tests import oracles

C, SIZES = 3, (4, 2, 6)
Y = np.random.default_rng(0).permutation(np.repeat(np.arange(C), SIZES))
X = jax.random.normal(jax.random.key(5), (len(Y), 6, 6, 2))


def network(params, x):
    """A convolution, a bias per channel and a matrix: three kinds of leaves."""
    z = jax.lax.conv_general_dilated(
        x[None], params["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]
    return jnp.tanh(z + params["bias"][None, None, :]).mean(axis=(0, 1)) @ params["matrix"]


@pytest.fixture(scope="module")
def params():
    k = jax.random.split(jax.random.key(0), 3)
    return {
        "kernel": 0.4 * jax.random.normal(k[0], (3, 3, 2, 4)),
        "bias": 0.3 * jax.random.normal(k[1], (4,)),
        "matrix": jax.random.normal(k[2], (4, 5)),
        "name": "not a parameter",
    }


@pytest.fixture(scope="module")
def theta(params):
    """All components, k × k × n × n, from the whole Jacobian."""
    weights, rest = eqx.partition(params, eqx.is_inexact_array)
    jacobian = jax.jacobian(lambda w: jax.vmap(lambda x: network(eqx.combine(w, rest), x))(X))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.jit(jacobian)(weights))]
    return oracles.tangent_kernel(leaves)


@pytest.mark.parametrize("chunk", [2, 9])
def test_the_traced_kernel_is_the_sum_of_the_diagonal_components(params, theta, chunk):
    found = entk.traced_ntk(network, params, X, chunk=chunk)
    expected = sum(theta[k, k] for k in range(5))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.abs(found - expected - theta[0, 1]).max() > 1e-2


@pytest.mark.parametrize("chunk", [2, 5])
def test_norms_are_those_of_all_components(params, theta, chunk):
    found = np.asarray(entk.component_norms(network, params, X, chunk=chunk))
    np.testing.assert_allclose(found, np.linalg.norm(theta, axis=(2, 3)), rtol=1e-12)
    assert np.array_equal(found, found.T)
    assert np.abs(np.diff(np.diag(found))).min() > 1e-3  # a swap of outputs would show


@pytest.mark.parametrize("chunk", [2, 5])
def test_block_values_are_means_over_all_pairs_of_unequal_classes(params, theta, chunk):
    found = entk.block_values(network, params, X, Y, num_classes=C, chunk=chunk)
    expected = oracles.block_values(theta, Y)
    np.testing.assert_allclose([found.diag, found.within, found.across], expected, rtol=1e-12)
    assert found.error is None
    shuffled = oracles.block_values(theta, np.roll(Y, 1))
    assert abs(shuffled[1] - float(found.within)) > 1e-3
    with_diagonal = (expected[0] * 12 + expected[1] * 44) / 56
    assert abs(with_diagonal - float(found.within)) > 1e-2


def test_the_published_estimate_takes_halves_of_the_first_samples_of_each_class(params, theta):
    rows = np.concatenate([np.arange(12), np.arange(12)])  # classes need four samples each
    y = np.concatenate([Y, np.roll(Y, 3)])
    args = {"num_classes": C, "per_class": 4}
    found = entk.published_block_values(network, params, X[rows], y, **args)
    expected = oracles.published_block_values(theta[:, :, rows][:, :, :, rows], y, 4)
    np.testing.assert_allclose([found.diag, found.within, found.across], expected, rtol=1e-12)
    every = oracles.block_values(theta[:, :, rows][:, :, :, rows], y)
    assert abs(every[1] - float(found.within)) > 1e-3


def test_probes_are_unbiased_and_their_error_is_the_one_reported(params, theta):
    expected = np.array(oracles.block_values(theta, Y))

    @jax.jit
    def drawn(keys):
        def one(key):
            found = entk.block_values(
                network, params, X, Y, num_classes=C, probes=4, chunk=4, key=key
            )
            return jnp.stack([found.diag, found.within, found.across]), found.error

        return jax.lax.map(one, keys)

    values, errors = map(np.asarray, drawn(jax.random.split(jax.random.key(7), 400)))
    spread = values.std(axis=0, ddof=1)
    z = (values.mean(axis=0) - expected) / (spread / np.sqrt(400))
    assert np.abs(z).max() < 4
    np.testing.assert_allclose(np.sqrt((errors**2).mean(axis=0)), spread, rtol=0.2)
    # without the division by the number of outputs, or forgetting one of them, it is far off
    assert np.abs((values.mean(axis=0) - expected * 4 / 5) / (spread / 20)).min() > 8


def test_a_linear_map_has_the_kernel_known_on_paper():
    # f(A, x) = A x: Θ_ks(x, x') = δ_ks x·x', whatever A is
    A, rows = jax.random.normal(jax.random.key(1), (3, 5)), X[:, 0, :, :].reshape(12, -1)[:, :5]
    gram = np.asarray(rows @ rows.T)
    linear = jnp.matmul
    np.testing.assert_allclose(entk.traced_ntk(linear, A, rows), 3 * gram, atol=1e-12)
    norms = entk.component_norms(linear, A, rows)
    np.testing.assert_allclose(norms, np.linalg.norm(gram) * np.eye(3), atol=1e-12)
    found = entk.block_values(linear, A, rows, Y, num_classes=C)
    np.testing.assert_allclose(found.diag, np.mean(np.diag(gram)), rtol=1e-12)
    # f(A, x) = A A x is not linear in A, and its components do interact
    twice = lambda A, x: A @ (A @ x)  # noqa: E731
    mixed = entk.component_norms(twice, A[:, :3], rows[:, :3])
    assert float(mixed[0, 1]) > 1e-2


def test_clusters_orthogonal_by_class_give_a_block_kernel_aligned_with_its_labels():
    points = jnp.repeat(jnp.eye(3), 4, axis=0)
    y = jnp.repeat(jnp.arange(3), 4)
    traced = entk.traced_ntk(jnp.matmul, jnp.ones((2, 3)), points)
    assert float(metrics.label_alignment(traced, y)) == pytest.approx(1.0)
    found = entk.block_values(jnp.matmul, jnp.ones((2, 3)), points, y, num_classes=3)
    np.testing.assert_allclose([found.diag, found.within, found.across], [1, 1, 0], atol=1e-12)
    assert float(metrics.label_alignment(traced, jnp.roll(y, 2))) < 0.9


def test_neural_tangents_finds_the_same_kernels():
    init, apply, _ = stax.serial(stax.Dense(4), stax.Erf(), stax.Dense(3))
    rows = X.reshape(12, -1)
    _, params = init(jax.random.key(1), rows.shape)
    full = nt.empirical_ntk_fn(apply, trace_axes=(), vmap_axes=0)(rows, None, params)
    one = lambda p, x: apply(p, x[None])[0]  # noqa: E731
    traced = entk.traced_ntk(one, params, rows, chunk=2)
    np.testing.assert_allclose(traced, jnp.einsum("ijkk->ij", full), rtol=1e-10)
    norms = entk.component_norms(one, params, rows, chunk=3)
    np.testing.assert_allclose(norms, jnp.linalg.norm(full, axis=(0, 1)), rtol=1e-10)
    # neural-tangents' own trace is a mean over outputs; ours is a sum
    assert np.abs(traced - jnp.einsum("ijkk->ij", full) / 3).max() > 1e-2


def test_values_are_the_same_under_jit_for_runs_at_once_and_with_fixed_arrays_beside(params, theta):
    expected = oracles.block_values(theta, Y)
    fixed = {"matrix": params["matrix"]}
    moving = {"kernel": params["kernel"], "bias": params["bias"]}

    def apply(fixed, moving, x):
        return network({**fixed, **moving}, x)

    def values(moving, X, y):
        whole = entk.block_values(network, {**fixed, **moving}, X, y, num_classes=C)
        part = entk.block_values(jax.tree_util.Partial(apply, fixed), moving, X, y, num_classes=C)
        return whole, part

    both = jax.tree.map(lambda a: jnp.stack([a, a]), moving)
    whole, part = jax.jit(jax.vmap(values, (0, None, None)))(both, X, jnp.asarray(Y))
    np.testing.assert_allclose(whole.within, [expected[1]] * 2, rtol=1e-10)
    assert np.all(np.asarray(part.diag) < np.asarray(whole.diag) - 1e-3)  # fewer parameters


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk": 0}, "chunk counts outputs"),
        ({"y": Y[:-1]}, "labels have shape"),
        ({"y": np.where(Y == 2, 1, Y)}, "no members in class 2"),
        ({"X": X.at[3, 0, 0, 0].set(jnp.nan)}, "X has 1 entries that are not finite"),
        ({"X": X[:0]}, "X is n examples"),
        ({"X": X[:3], "y": np.arange(3)}, "none has two"),
        ({"f": lambda p, x: jnp.sum(x)}, "vector for one example"),
        ({"params": {"name": "nothing"}}, "no floating-point array"),
        ({"probes": 1, "key": jax.random.key(0)}, "at least 2 probes, not 1"),
    ],
)
def test_bad_input_is_refused_before_work(params, change, message):
    args = {"f": network, "params": params, "X": X, "y": Y, "num_classes": C} | change
    with pytest.raises(ValueError, match=message):
        entk.block_values(**args)


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(("per_class", "message"), [(3, "even, not 3"), (4, "one has 2")])
def test_halves_that_do_not_exist_are_refused(params, per_class, message):
    with pytest.raises(ValueError, match=message):
        entk.published_block_values(network, params, X, Y, num_classes=C, per_class=per_class)


def test_running_out_of_memory_names_the_chunk():
    # the 10⁷ × 10⁷ kernel of a map with one parameter asks for 800 terabytes
    many = jnp.zeros((10_000_000, 1))
    with pytest.raises(MemoryError, match="chunk=3"):
        entk.traced_ntk(lambda a, x: a * x, jnp.ones(1), many, chunk=3)

    def broken(a, x):
        raise MemoryError("not ours")

    with pytest.raises(MemoryError, match="not ours"):
        entk.traced_ntk(broken, jnp.ones(1), jnp.ones((2, 1)))
