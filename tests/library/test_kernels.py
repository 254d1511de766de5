import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import kernels
from ncutils.compat.neural_tangents import nt, stax
from tests import oracles

NETWORKS = [(1.0, 0.0), (1.7, 0.3)]  # weight and bias variance


def inputs(key, n=7, d=3):
    return jax.random.normal(key, (n, d))


def neural_tangents_network(activation, depth, weight_var, bias_var, *, read_out):
    act = {"erf": stax.Erf, "relu": stax.Relu}[activation]

    def dense(width):
        return stax.Dense(width, W_std=weight_var**0.5, b_std=bias_var**0.5 or None)

    layers = [layer for _ in range(depth) for layer in (dense(2048), act())]
    return stax.serial(*layers, *([dense(1)] if read_out else []))


@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("weight_var", "bias_var"), NETWORKS)
def test_nngp_and_ntk_equal_neural_tangents(activation, depth, weight_var, bias_var):
    X = inputs(jax.random.key(depth))
    Z = inputs(jax.random.key(10 + depth), n=4)
    options = dict(activation=activation, depth=depth, weight_var=weight_var, bias_var=bias_var)
    *_, hidden = neural_tangents_network(activation, depth, weight_var, bias_var, read_out=False)
    *_, whole = neural_tangents_network(activation, depth, weight_var, bias_var, read_out=True)
    np.testing.assert_allclose(kernels.nngp(X, **options), hidden(X, None, "nngp"), rtol=1e-12)
    np.testing.assert_allclose(kernels.nngp(X, Z, **options), hidden(X, Z, "nngp"), rtol=1e-12)
    # neural-tangents takes arccos of a rounded 1 on the diagonal, which costs it half
    # of its digits there; the diagonal is checked against quadrature below
    ours, theirs = kernels.ntk(X, **options), whole(X, None, "ntk")
    off = ~np.eye(len(X), dtype=bool)
    np.testing.assert_allclose(ours[off], theirs[off], rtol=1e-12)
    np.testing.assert_allclose(kernels.ntk(X, Z, **options), whole(X, Z, "ntk"), rtol=1e-12)
    wrong = kernels.ntk(X, **{**options, "weight_var": 1.1 * weight_var})
    assert np.abs(wrong - theirs).max() > 1e-2


@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
@pytest.mark.parametrize("depth", [1, 2])
def test_nngp_and_ntk_equal_gaussian_integrals_by_quadrature(activation, depth):
    X = inputs(jax.random.key(0), n=4)
    q, theta = oracles.limiting_kernels(np.asarray(X), activation, depth, 1.3, 0.2)
    options = dict(activation=activation, depth=depth, weight_var=1.3, bias_var=0.2)
    np.testing.assert_allclose(kernels.nngp(X, **options), q, rtol=1e-8)
    np.testing.assert_allclose(kernels.ntk(X, **options), theta, rtol=1e-8)
    pair = kernels.nngp_and_ntk(X, **options)
    np.testing.assert_allclose(pair[0], q, rtol=1e-8)
    np.testing.assert_allclose(pair[1], theta, rtol=1e-8)
    assert np.abs(kernels.nngp(X, **{**options, "bias_var": 0.1}) - q).max() > 1e-3


@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
def test_random_networks_have_these_kernels_within_four_standard_errors(activation, key):
    X, width, repeats = inputs(key, n=5), 400, 60
    phi = {"erf": jax.scipy.special.erf, "relu": jax.nn.relu}[activation]

    @jax.jit
    @jax.vmap
    def empirical(k):
        k1, k2 = jax.random.split(k)
        params = (jax.random.normal(k1, (width, 3)), jax.random.normal(k2, (width,)))

        def network(p):
            return phi(X @ p[0].T / 3**0.5) @ p[1] / width**0.5

        h = phi(X @ params[0].T / 3**0.5)
        jacobian = jax.jacobian(network)(params)
        ntk = sum(j.reshape(5, -1) @ j.reshape(5, -1).T for j in jacobian)
        return h @ h.T / width, ntk

    samples = empirical(jax.random.split(key, repeats))
    exact = kernels.nngp_and_ntk(X, activation=activation)
    for sample, kernel in zip(samples, exact, strict=True):
        error = jnp.std(sample, axis=0) / repeats**0.5
        # 15 entries a kernel, 12 kernels in all: four standard errors leave room for all
        assert (jnp.abs(sample.mean(axis=0) - kernel) < 4 * error).all()
        assert (jnp.abs(sample.mean(axis=0) - 1.2 * kernel) > 4 * error).any()


def test_relu_diagonals_are_half_of_the_squared_norm_to_the_last_digit(key):
    X = inputs(key)
    k = jnp.sum(X * X, axis=1) / 3
    q, theta = kernels.nngp_and_ntk(X, activation="relu")
    np.testing.assert_allclose(jnp.diagonal(q), 0.5 * k, rtol=1e-15)
    np.testing.assert_allclose(jnp.diagonal(theta), k, rtol=1e-15)


@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
@pytest.mark.parametrize("n", [40, 300])  # one tile; two tiles, the second one partly filled
def test_class_blocks_are_the_block_means_of_the_kernels_never_held(activation, n, key):
    X = inputs(key, n=n)
    y = jnp.asarray(np.random.default_rng(0).permutation(np.arange(n) % 3))
    options = dict(activation=activation, depth=2, weight_var=1.7, bias_var=0.3)
    found = kernels.class_blocks(X, y, num_classes=3, **options)
    for blocks, K in zip(found, kernels.nngp_and_ntk(X, **options), strict=True):
        K, members = np.asarray(K), np.eye(3)[np.asarray(y)] / np.bincount(y)
        np.testing.assert_allclose(blocks.means, members.T @ K @ members, rtol=1e-12)
        np.testing.assert_allclose(blocks.diagonal, np.trace(K) / n, rtol=1e-13)
        np.testing.assert_allclose(blocks.share, np.bincount(y) / n, rtol=1e-13)
        # labels in another order are other blocks
        moved = members[::-1]
        assert np.abs(blocks.means - moved.T @ K @ moved).max() > 1e-4 * np.abs(K).max()


@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
def test_gradients_exist_where_inputs_coincide_or_oppose(activation):
    # rows 0, 1 equal and row 2 opposite: θ = 0 and θ = π
    X = jnp.array([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0]])

    def total(X, step):
        moved = X.at[0, 0].add(step)
        return jnp.sum(kernels.nngp(moved, activation=activation))

    slope = jax.grad(total, argnums=1)(X, 0.0)
    h = 1e-5
    numeric = (total(X, h) - total(X, -h)) / (2 * h)
    np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-6)
    assert np.isfinite(jax.grad(total)(X, 0.0)).all()


@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
def test_a_sample_at_the_origin_has_a_finite_kernel(activation):
    q, theta = kernels.nngp_and_ntk(jnp.array([[0.0, 0.0], [1.0, 1.0]]), activation=activation)
    assert np.isfinite(q).all()
    assert np.isfinite(theta).all()
    assert q[0, 0] == 0.0


@pytest.mark.parametrize("weighted", [False, True])
def test_laplace_and_gaussian_equal_a_loop_over_pairs(key, weighted):
    X, Z = inputs(key), inputs(jax.random.fold_in(key, 1), n=4)
    A = inputs(jax.random.fold_in(key, 2), n=3)
    M = A @ A.T if weighted else None
    metric = np.asarray(M) if weighted else np.eye(3)
    for kernel, profile in (
        (kernels.laplace, lambda r: np.exp(-r / 1.5)),
        (kernels.gaussian, lambda r: np.exp(-(r**2) / (2 * 1.5**2))),
    ):
        slow = oracles.radial(np.asarray(X), np.asarray(Z), metric, profile)
        np.testing.assert_allclose(kernel(X, Z, bandwidth=1.5, M=M), slow, rtol=1e-10)
        own = kernel(X, bandwidth=1.5, M=M)
        np.testing.assert_array_equal(jnp.diagonal(own), 1.0)
        assert np.abs(kernel(X, Z, bandwidth=1.6, M=M) - slow).max() > 1e-3


CONTRACT = {
    "nngp erf": lambda X: kernels.nngp(X, activation="erf", depth=2),
    "nngp relu": lambda X: kernels.nngp(X, activation="relu", depth=2),
    "ntk erf": lambda X: kernels.ntk(X, activation="erf", depth=2),
    "ntk relu": lambda X: kernels.ntk(X, activation="relu", depth=2),
    "laplace": lambda X: kernels.laplace(X, bandwidth=2.0),
    "gaussian": lambda X: kernels.gaussian(X, bandwidth=2.0),
}


@pytest.mark.parametrize("name", CONTRACT)
def test_every_kernel_is_symmetric_positive_and_the_same_under_jit_and_vmap(name, key):
    kernel, X = CONTRACT[name], inputs(key, n=9)
    K = kernel(X)
    np.testing.assert_allclose(K, K.T, rtol=1e-13, atol=1e-15)
    assert jnp.linalg.eigvalsh(K).min() > -1e-12
    assert K.dtype == jnp.float64
    assert kernel(X.astype(jnp.float32)).dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(kernel)(X), K, rtol=1e-12, atol=1e-14)
    batch = jnp.stack([X, 2 * X])
    np.testing.assert_allclose(jax.vmap(kernel)(batch)[1], kernel(2 * X), rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("as_a_user")
def test_inputs_that_are_no_data_and_unknown_names_are_refused():
    X = jnp.ones((3, 2))
    for call, message in (
        (lambda: kernels.nngp(X, activation="tanh"), "unknown activation 'tanh'"),
        (lambda: kernels.ntk(X, activation="erf", depth=0), "at least 1"),
        (lambda: kernels.ntk(X, activation="erf", weight_var=0.0), "weight_var > 0"),
        (lambda: kernels.nngp(X, activation="erf", bias_var=-1.0), "bias_var"),
        (lambda: kernels.nngp(X.at[0, 0].set(jnp.nan), activation="erf"), "not finite"),
        (lambda: kernels.nngp(X[0], activation="erf"), "n × d"),
        (lambda: kernels.nngp(X, jnp.ones((3, 4)), activation="erf"), "2 columns and Z has 4"),
        (lambda: kernels.laplace(X, bandwidth=0.0), "bandwidth"),
        (lambda: kernels.gaussian(X, bandwidth=1.0, M=jnp.ones((3, 3))), "M has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_the_oracle_package_itself_agrees_with_a_hand_computed_value():
    # one hidden ReLU layer, orthogonal unit inputs in two dimensions: K = I/2, θ = π/2
    *_, kernel = neural_tangents_network("relu", 1, 1.0, 0.0, read_out=True)
    found = kernel(jnp.eye(2), None, "nngp")
    np.testing.assert_allclose(found, [[0.25, 0.25 / np.pi], [0.25 / np.pi, 0.25]], rtol=1e-12)
    assert nt.__name__ == "neural_tangents"
