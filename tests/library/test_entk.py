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
X = jnp.asarray(np.random.default_rng(5).normal(size=(len(Y), 6, 6, 2)))
TWICE = np.concatenate([np.arange(12), np.arange(12)])  # for four samples of each class


def network(params, x):
    """A convolution, a bias per channel and a matrix: three kinds of leaves."""
    z = jax.lax.conv_general_dilated(
        x[None], params["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]
    return jnp.tanh(z + params["bias"][None, None, :]).mean(axis=(0, 1)) @ params["matrix"]


@pytest.fixture(scope="module")
def params():
    draw = np.random.default_rng(0).normal
    arrays = {
        "kernel": 0.4 * draw(size=(3, 3, 2, 4)),
        "bias": 0.3 * draw(size=4),
        "matrix": draw(size=(4, 5)),
    }
    return {**{name: jnp.asarray(v) for name, v in arrays.items()}, "name": "not a parameter"}


@pytest.fixture(scope="module")
def theta(params):
    """All components, k × k × n × n, from the whole Jacobian."""
    weights, rest = eqx.partition(params, eqx.is_inexact_array)
    jacobian = jax.jacobian(lambda w: jax.vmap(lambda x: network(eqx.combine(w, rest), x))(X))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.jit(jacobian)(weights))]
    return oracles.tangent_kernel(leaves)


@pytest.fixture(scope="module")
def found(params):
    """What the library finds for the same network, compiled at once: it is the larger part."""
    twice = {"y": np.concatenate([Y, np.roll(Y, 3)]), "per_class": 4, "num_classes": C}

    @jax.jit
    def everything(weights, X):
        args = (network, {**weights, "name": "not a parameter"}, X)
        return {
            "traced": [entk.traced_ntk(*args, chunk=chunk) for chunk in (2, 9)],
            "probed": entk.probed_ntk(*args, probes=300, chunk=64, key=jax.random.key(7)),
            "norms": [entk.component_norms(*args, chunk=chunk) for chunk in (2, 5)],
            "values": [entk.block_values(*args, Y, num_classes=C, chunk=chunk) for chunk in (2, 5)],
            "published": entk.published_block_values(*args[:2], X[TWICE], **twice),
        }

    return everything(eqx.filter(params, eqx.is_array), X)


@pytest.mark.parametrize("chunk", [0, 1], ids=["2", "9"])
def test_the_traced_kernel_is_the_sum_of_the_diagonal_components(found, theta, chunk):
    expected = sum(theta[k, k] for k in range(5))
    np.testing.assert_allclose(found["traced"][chunk], expected, rtol=1e-12)
    assert np.abs(found["traced"][chunk] - expected - theta[0, 1]).max() > 1e-2


def test_the_probed_kernel_is_the_traced_one_within_its_standard_error(found, theta):
    kernel, error = np.asarray(found["probed"].kernel), np.asarray(found["probed"].error)
    exact = np.einsum("kkij->ij", theta)
    assert np.abs((kernel - exact) / error).max() < 5
    assert 0.3 < np.sqrt(np.mean(((kernel - exact) / error) ** 2)) < 2
    assert error.max() < 0.2 * np.abs(exact).max()
    # the mean over outputs in place of the sum, or one output alone, would be told apart
    assert np.abs((kernel - exact / len(theta)) / error).max() > 5
    assert np.abs((kernel - theta[0, 0]) / error).max() > 5


@pytest.mark.parametrize("chunk", [0, 1], ids=["2", "5"])
def test_norms_are_those_of_all_components(found, theta, chunk):
    norms = np.asarray(found["norms"][chunk])
    np.testing.assert_allclose(norms, np.linalg.norm(theta, axis=(2, 3)), rtol=1e-12)
    assert np.array_equal(norms, norms.T)
    assert norms.min() > 1e-2  # components of different outputs interact
    assert np.abs(np.diff(np.diag(norms))).min() > 1e-3  # a swap of outputs would show


@pytest.mark.parametrize("chunk", [0, 1], ids=["2", "5"])
def test_block_values_are_means_over_all_pairs_of_unequal_classes(found, theta, chunk):
    values = found["values"][chunk]
    expected = oracles.block_values(theta, Y)
    np.testing.assert_allclose([values.diag, values.within, values.across], expected, rtol=1e-12)
    assert values.error is None
    shuffled = oracles.block_values(theta, np.roll(Y, 1))
    assert abs(shuffled[1] - float(values.within)) > 1e-3
    with_diagonal = (expected[0] * 12 + expected[1] * 44) / 56
    assert abs(with_diagonal - float(values.within)) > 1e-2


def test_the_published_estimate_takes_halves_of_the_first_samples_of_each_class(found, theta):
    y, kernel = np.concatenate([Y, np.roll(Y, 3)]), theta[:, :, TWICE][:, :, :, TWICE]
    values = found["published"]
    expected = oracles.published_block_values(kernel, y, 4)
    np.testing.assert_allclose([values.diag, values.within, values.across], expected, rtol=1e-12)
    every = oracles.block_values(kernel, y)
    assert abs(every[1] - float(values.within)) > 1e-3


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
    A = jnp.asarray(np.random.default_rng(1).normal(size=(3, 5)))
    rows = jnp.asarray(np.asarray(X)[:, 0].reshape(12, -1)[:, :5])
    gram = np.asarray(rows @ rows.T)
    linear = jnp.matmul
    np.testing.assert_allclose(entk.traced_ntk(linear, A, rows), 3 * gram, atol=1e-12)
    norms = entk.component_norms(linear, A, rows)
    np.testing.assert_allclose(norms, np.linalg.norm(gram) * np.eye(3), atol=1e-12)
    found = entk.block_values(linear, A, rows, Y, num_classes=C)
    np.testing.assert_allclose(found.diag, np.mean(np.diag(gram)), rtol=1e-12)
    # a map that is not linear has components that interact: see the norms of the network


def test_clusters_orthogonal_by_class_give_a_block_kernel_aligned_with_its_labels():
    points, A = jnp.asarray(np.repeat(np.eye(3, 5), 4, axis=0)), jnp.asarray(np.ones((3, 5)))
    y = jnp.asarray(np.repeat(np.arange(3), 4))
    traced = entk.traced_ntk(jnp.matmul, A, points)
    assert float(metrics.label_alignment(traced, y)) == pytest.approx(1.0)
    found = entk.block_values(jnp.matmul, A, points, y, num_classes=3)
    np.testing.assert_allclose([found.diag, found.within, found.across], [1, 1, 0], atol=1e-12)
    assert float(metrics.label_alignment(traced, jnp.roll(y, 2))) < 0.9


def test_neural_tangents_finds_the_same_kernels():
    init, apply, _ = stax.serial(stax.Dense(4), stax.Erf(), stax.Dense(3))
    rows = X.reshape(12, -1)
    _, params = init(jax.random.key(1), rows.shape)
    one = lambda p, x: apply(p, x[None])[0]  # noqa: E731

    @jax.jit
    def both(params, rows):
        full = nt.empirical_ntk_fn(apply, trace_axes=(), vmap_axes=0)(rows, None, params)
        traced = entk.traced_ntk(one, params, rows, chunk=2)
        return full, traced, entk.component_norms(one, params, rows, chunk=3)

    full, traced, norms = map(np.asarray, both(params, rows))
    np.testing.assert_allclose(traced, np.einsum("ijkk->ij", full), rtol=1e-10)
    np.testing.assert_allclose(norms, np.linalg.norm(full, axis=(0, 1)), rtol=1e-10)
    # neural-tangents' own trace is a mean over outputs; ours is a sum
    assert np.abs(traced - np.einsum("ijkk->ij", full) / 3).max() > 1e-2


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
