"""Deep RFM: each step of a layer is what it is said to be, and the AGOP is what collapses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from ncutils import deep_rfm, metrics
from ncutils.deep_rfm import Layout, layers
from tests import oracles

C, PER, D, WIDTH = 3, 5, 6, 8
N = C * PER
EXACT = {"rtol": 1e-10, "atol": 1e-11}
RELU = Layout("relu", width=WIDTH)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(C), PER)
    X = 1.5 * rng.normal(size=(C, D))[y] + rng.normal(size=(N, D))
    return jnp.asarray(X), jnp.asarray(y)


def build(data, recipe=RELU, *, depth=2, seed=0, **more):
    X, y = data
    return deep_rfm.deep_rfm(
        X, y, num_classes=C, depth=depth, recipe=recipe, key=jax.random.key(seed), **more
    )


@pytest.fixture(scope="module")
def net(data):
    return build(data, test=data[0][::2])


def solve(X, y, ridge, L=2.0):
    """Kernel ridge regression to ±1 in NumPy."""
    K = np.exp(-np.linalg.norm(X[:, None] - X[None], axis=2) / L)
    T = 2 * np.eye(C)[y] - 1
    alpha = np.linalg.solve(K + ridge * np.eye(len(X)), T)
    return K @ alpha, alpha


def test_a_layer_is_regression_agop_and_square_root(data, net):
    y = np.asarray(data[1])
    for layer in net.layers:
        X = np.asarray(layer.before)
        np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1, **EXACT)
        outputs, alpha = solve(X, y, 1e-3)
        np.testing.assert_allclose(layer.predictions, outputs, rtol=1e-7)
        d = X.shape[1]
        G = oracles.machine_gradients(alpha, X, "laplace", 2.0, np.eye(d))
        M = oracles.mean_outer_product(G)
        np.testing.assert_allclose(layer.M, M / M.max(), rtol=1e-6, atol=1e-8)
        # a square root is only as exact as the root of the rounding of its square
        root = np.real(scipy.linalg.sqrtm(M / M.max() + 1e-15 * np.eye(d)))
        np.testing.assert_allclose(layer.after_agop, X @ root, atol=1e-6)
        assert np.max(np.abs(layer.after_agop - X)) > 0.1
    np.testing.assert_allclose(
        net.readout.predictions, solve(np.asarray(net.readout.before), y, 1e-3)[0], rtol=1e-6
    )
    assert net.readout.M is None
    assert not net.readout.singular


def test_features_of_a_layer_are_the_input_of_the_next(net):
    after = [layer.after_map for layer in net.layers]
    following = [net.layers[1].before, net.readout.before]
    for features, rows in zip(after, following, strict=True):
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        np.testing.assert_allclose(unit, rows, **EXACT)
        assert features.shape == (N, WIDTH)


def test_test_inputs_go_the_way_of_training_inputs(net):
    # every second training point was passed as a test input; k(x, x) is seen at distance √eps
    for layer in (*net.layers, net.readout):
        np.testing.assert_allclose(layer.test_predictions, layer.predictions[::2], atol=1e-6)


def test_the_printed_algorithm_takes_the_sum_and_no_ridge(data, net):
    X, y = data
    printed = Layout.printed("relu", width=WIDTH)
    assert (printed.ridge, printed.normalisation) == (0.0, "sum")
    assert Layout.printed("cosine").features(D) == 4096
    assert (Layout("cosine").features(D), Layout("relu").features(D)) == (D, 1024)
    layer = build(data, printed, depth=1).layers[0]
    unit = np.asarray(X / jnp.linalg.norm(X, axis=1, keepdims=True))
    outputs, alpha = solve(unit, np.asarray(y), 0.0)
    G = oracles.machine_gradients(alpha, unit, "laplace", 2.0, np.eye(D))
    np.testing.assert_allclose(layer.M, N * oracles.mean_outer_product(G), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(layer.predictions, outputs, rtol=1e-7)
    assert float(jnp.max(jnp.abs(layer.M - net.layers[0].M))) > 0.1


@pytest.mark.parametrize("kind", ["cauchy", "gaussian"])
def test_cosines_approximate_the_kernel_of_their_frequencies(kind):
    Z = 3 * np.random.default_rng(1).normal(size=(4, D))
    recipe = Layout("cosine", width=40_000, weights=kind, frequency=0.1)
    features = deep_rfm.random_features(jnp.asarray(Z), recipe=recipe, key=jax.random.key(0))
    gap = Z[:, None] - Z[None]
    kernels = {
        "cauchy": np.exp(-0.1 * np.abs(gap).sum(axis=2)),
        "gaussian": np.exp(-(0.1**2) * (gap**2).sum(axis=2) / 2),
    }
    found = features @ features.T
    expected = kernels.pop(kind)
    # a mean of 40,000 products of two cosines, each with variance at most ½, times two
    np.testing.assert_allclose(found, expected, atol=5 * 40_000**-0.5)
    (other,) = kernels.values()
    assert np.max(np.abs(found - other)) > 0.1


def test_relu_features_have_the_spread_of_the_released_initialisation():
    unit = jnp.eye(D)[:1]  # Φ(e) = max(W e, 0) shows the first column of W
    for kind, variance in (("uniform", 1 / (3 * D)), ("gaussian", 1.0)):
        recipe = Layout("relu", width=20_000, weights=kind)
        features = deep_rfm.random_features(unit, recipe=recipe, key=jax.random.key(0))
        # half of the second moment survives; 20,000 draws leave about 2 %
        assert float(jnp.mean(features**2)) == pytest.approx(variance / 2, rel=0.06)
        assert float(jnp.min(features)) == 0


def test_the_square_root_in_the_span_of_few_rows_is_the_square_root():
    rng = np.random.default_rng(2)
    X = jnp.asarray(rng.normal(size=(3, D)))
    S = rng.normal(size=(3, 3))
    M = X.T @ (S @ S.T) @ X
    left, right = layers._square_root(M, X)
    root = left @ right
    np.testing.assert_allclose(root @ root, M, atol=1e-9)
    np.testing.assert_allclose(root, root.T, atol=1e-9)
    left, right = layers._square_root(M + jnp.eye(D), X)  # its range is more than the span
    outside = left @ right
    assert float(jnp.max(jnp.abs(outside @ outside - M - jnp.eye(D)))) > 0.1


def test_the_random_control_has_the_eigenvalues_of_the_agop_and_other_eigenvectors(data, net):
    layer = build(data, Layout("relu", width=WIDTH, matrix="random"), depth=1).layers[0]
    M = net.layers[0].M
    np.testing.assert_allclose(np.linalg.eigvalsh(layer.M), np.linalg.eigvalsh(M), atol=1e-9)
    assert float(jnp.max(jnp.abs(layer.M - M))) > 0.1
    gram = layer.before @ layer.M @ layer.before.T
    np.testing.assert_allclose(layer.after_agop @ layer.after_agop.T, gram, atol=1e-8)


def test_the_agop_collapses_classes_and_the_identity_does_not(data):
    y = data[1]
    nc1 = {
        matrix: [
            float(metrics.nc1(layer.before, y, num_classes=C))
            for seed in range(3)
            for layer in (lambda net: (net.layers[0], net.readout))(
                build(data, Layout("relu", width=WIDTH, matrix=matrix), depth=4, seed=seed)
            )
        ]
        for matrix in ("agop", "identity")
    }
    first, last = nc1["agop"][::2], nc1["agop"][1::2]
    assert max(last) < 0.5 * min(first)
    assert min(nc1["identity"][1::2]) > 0.5 * min(first)


def test_layers_one_by_one_are_those_of_the_net(data, net):
    X, y = data
    args = {"num_classes": C, "depth": 2, "recipe": RELU}
    found = list(deep_rfm.run_layers(X, y, **args, key=jax.random.key(0)))
    assert len(found) == 3
    np.testing.assert_array_equal(found[1].after_map, net.layers[1].after_map)
    np.testing.assert_array_equal(found[2].predictions, net.readout.predictions)
    assert found[0].test_predictions is None
    other = next(deep_rfm.run_layers(X, y, **args, key=jax.random.key(1)))
    assert float(jnp.max(jnp.abs(other.after_map - found[0].after_map))) > 0.1


# ---- refusals ----------------------------------------------------------------------------


def test_a_singular_kernel_names_its_layer_and_its_remedy_or_is_marked(data):
    X, y = data
    twice = X.at[1].set(X[0])
    bare = Layout("relu", width=WIDTH, ridge=0.0)
    with pytest.raises(ValueError, match=r"layer 1: .* 1 of 15 rows repeat others: take a ridge"):
        build((twice, y), bare)
    stopped = build((twice, y), bare, when_singular="stop")
    assert stopped.layers == ()
    assert stopped.readout.singular
    assert stopped.readout.after_map is None
    sound = build((twice, y), depth=1)
    assert not sound.layers[0].singular
    assert bool(jnp.all(jnp.isfinite(sound.readout.predictions)))


def test_what_does_not_fit_into_memory_is_refused_with_the_numbers():
    X, y = jnp.ones((300, 200)).at[0, 0].set(2.0), jnp.arange(300) % C
    needed = deep_rfm.memory(300, 200, recipe=RELU, kept=2)
    one = deep_rfm.memory(300, 200, recipe=RELU, kept=1)
    assert one == pytest.approx(8 * (4 * 300**2 + 11 * 300 * 200 + 9 * 200**2) / 2**30)
    for build_up, least in ((deep_rfm.deep_rfm, needed), (deep_rfm.run_layers, one)):
        with pytest.raises(ValueError, match=rf"about {least:.3g} GiB .* 300 × 200 .* 0.001 GiB"):
            build_up(
                X, y, num_classes=C, depth=2, recipe=RELU, memory_limit=0.001,
                key=jax.random.key(0),
            )  # fmt: skip
    # the sizes of the paper fit one accelerator in single precision
    assert deep_rfm.memory(50_000, 784, recipe=Layout("relu"), itemsize=4) < 60
    assert deep_rfm.memory(5_000, 784, recipe=Layout("relu")) < 4


@pytest.mark.usefixtures("as_a_user")
def test_bad_input_is_refused_before_any_work(data):
    X, y = data
    for match, change in (
        ("no members in class 2", {"y": jnp.where(y == 2, 1, y)}),
        ("X has 1 rows of zeros, the first 4", {"X": X.at[4].set(0.0)}),
        ("all 15 rows of X are equal", {"X": jnp.ones_like(X)}),
        ("X has 1 entries that are not finite", {"X": X.at[0, 0].set(jnp.inf)}),
        (r"got X \(15, 6\) and test \(15, 5\)", {"test": X[:, 1:]}),
        ("test has 15 rows of zeros", {"test": 0 * X}),
        ("labels have shape", {"y": y[1:]}),
        ("depth counts layers", {"depth": 0}),
        ("when_singular is", {"when_singular": "continue"}),
    ):
        given = {"X": X, "y": y, "depth": 1, "test": None, "when_singular": "refuse"} | change
        with pytest.raises(ValueError, match=match):
            deep_rfm.run_layers(
                given.pop("X"), given.pop("y"), num_classes=C, recipe=RELU, **given,
                key=jax.random.key(0),
            )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"feature_map": "tanh"}, "unknown feature_map 'tanh': choose one of 'relu', 'cosine'"),
        ({"kernel": "linear"}, "unknown kernel 'linear'"),
        ({"weights": "cauchy"}, "unknown weights 'cauchy': choose one of None, 'uniform'"),
        ({"normalisation": "mean"}, "unknown normalisation"),
        ({"matrix": "labels"}, "unknown matrix"),
        ({"ridge": -1.0}, "ridge ≥ 0"),
        ({"width": 0}, "width counts features"),
    ],
)
def test_a_layout_that_makes_no_sense_is_refused(change, match):
    with pytest.raises(ValueError, match=match):
        Layout(**change)
