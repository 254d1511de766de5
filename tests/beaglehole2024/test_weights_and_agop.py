"""The experiment on weights and AGOP: its network, its parts of a layer, its training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import metrics, models
from ncutils.experiments.beaglehole2024 import _layers as nets
from ncutils.experiments.beaglehole2024 import weights_and_agop as experiment
from tests import oracles

CLASSES, SAMPLES = 3, 12
Y = np.repeat(np.arange(CLASSES), SAMPLES // CLASSES)


@pytest.fixture(scope="module")
def small():
    config = experiment.Perceptrons(
        dataset="digits", per_class=4, pool=2, width=6, gains=(0.5, 1.0), learning_rate=0.2,
        batch_size=8, epochs=6, record_at=(0, 6), seeds=(0, 1), hidden=3,
    )  # fmt: skip
    return config, experiment.mlp(config)


def by_hand(weights, X):
    """Inputs of each layer, and outputs."""
    seen = [X]
    for W in weights[:-1]:
        seen.append(np.maximum(seen[-1] @ np.asarray(W, float).T, 0))
    return seen, seen[-1] @ np.asarray(weights[-1], float).T


def test_the_network_has_glorot_weights_times_the_gain_and_no_biases(key):
    net = models.unbiased_mlp((300, 200, 100, 10), gain=0.3, key=key)
    assert [W.shape for W in net.weights] == [(200, 300), (100, 200), (10, 100)]
    assert len(jax.tree.leaves(net)) == 3
    for W, std in zip(net.weights, (0.3 * np.sqrt(2 / 500), 0.3 * np.sqrt(2 / 300)), strict=False):
        assert float(W.std()) == pytest.approx(std, rel=0.02)
        assert float(jnp.abs(W).max()) <= std * np.sqrt(3) * (1 + 1e-6)
    assert float(net.weights[-1].std()) == pytest.approx(1 / np.sqrt(300), rel=0.05)
    X = np.random.default_rng(0).normal(size=(4, 300))
    outputs = jax.vmap(net)(jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(outputs, by_hand(net.weights, X)[1], atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 8), (8, 8)])
def test_nc1_of_the_right_part_is_that_of_singular_values_times_right_vectors(shape):
    rng = np.random.default_rng(1)
    W, H = rng.normal(size=shape), np.abs(rng.normal(size=(SAMPLES, shape[1])))
    half = rng.normal(size=(shape[1], shape[1]))
    A, turn = half @ half.T, nets.rotation(shape[1], seed=3)
    arrays = (jnp.asarray(a) for a in (W, H, A, Y))
    found = nets.measure_layer(*arrays, num_classes=CLASSES, turn=jnp.asarray(turn))
    at = dict(zip(nets.STAGES, found["nc1"], strict=True))
    _, S, Vt = np.linalg.svd(W)
    parts = {
        "input": H,
        "right": (H @ Vt.T)[:, : len(S)] * S,
        "output": np.maximum(H @ W.T, 0),
        "random": (H @ turn)[:, : len(S)] * S,
    }
    values, vectors = np.linalg.eigh(A)
    parts["ansatz"] = H @ (vectors * values**0.25) @ vectors.T
    for name, features in parts.items():
        assert at[name] == pytest.approx(oracles.nc1(features, Y, CLASSES, "trace"), rel=1e-9)
    assert abs(at["right"] / at["random"] - 1) > 1e-3
    root = (vectors * np.sqrt(values)) @ vectors.T
    pearson = lambda B: np.corrcoef((W.T @ W).ravel(), B.ravel())[0, 1]  # noqa: E731
    assert found["nfa"] == pytest.approx(pearson(root), rel=1e-9)
    assert found["chance"] == pytest.approx(pearson(turn @ root @ turn.T), rel=1e-9)
    assert abs(found["nfa"] - pearson(A)) > 1e-3


def test_a_rotation_is_orthogonal():
    Q = nets.rotation(7, seed=1)
    np.testing.assert_allclose(Q @ Q.T, np.eye(7), atol=1e-12)
    assert np.abs(Q - np.eye(7)).max() > 0.1


def test_the_agop_of_a_layer_is_that_of_the_network_from_there_on():
    rng = np.random.default_rng(2)
    net = models.unbiased_mlp((6, 5, 5, CLASSES), gain=1.0, key=jax.random.key(2))
    X = rng.normal(size=(SAMPLES, 6)).astype(np.float32)
    turns = [jnp.asarray(nets.rotation(size, seed=1)) for size in (6, 5)]
    dealt = jnp.asarray(rng.permutation(Y))
    found = jax.jit(
        lambda net: nets.measure(
            net, jnp.asarray(X), jnp.asarray(Y), dealt, turns, num_classes=CLASSES
        )
    )(net)
    weights = [np.asarray(W, float) for W in net.weights]
    seen, outputs = by_hand(weights, X.astype(float))
    _, two, last = weights
    A = np.zeros((5, 5))
    for h in seen[1]:
        J = last @ ((two @ h > 0)[:, None] * two)
        A += J.T @ J / SAMPLES
    values, vectors = np.linalg.eigh(A)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    law = np.corrcoef((two.T @ two).ravel(), root.ravel())[0, 1]
    assert found["nfa"][1] == pytest.approx(law, abs=1e-4)
    assert found["nfa"].shape == (2,)
    targets = np.where(np.arange(CLASSES) == Y[:, None], 1.0, -1.0)
    assert found["loss"] == pytest.approx(np.mean((outputs - targets) ** 2), rel=1e-6)
    within, between = oracles.covariances(seen[2], Y, CLASSES)
    total = np.trace(within) + np.trace(between)
    np.testing.assert_allclose(
        found["shares"], [np.trace(within) / total, np.trace(between) / total], rtol=1e-6
    )
    assert abs(found["shares"][0] - found["shares_dealt"][0]) > 1e-3


def test_training_is_plain_gradient_descent_on_the_squared_error(small):
    config, _ = small
    config = dataclasses.replace(config, batch_size=40, epochs=1, record_at=(0, 1), hidden=1)
    ds = experiment.mlp(config)  # one step with all forty samples
    X, y = nets.images("digits", per_class=4, samples=None, pool=2)
    X, targets = X.reshape(40, 16).astype(float), np.where(np.arange(10) == y[:, None], 1.0, -1.0)
    net = models.unbiased_mlp((16, 6, 10), gain=0.5, key=jax.random.key(1))
    first, last = (np.asarray(W, float) for W in net.weights)
    hidden = np.maximum(X @ first.T, 0)
    error = (hidden @ last.T - targets) * 2 / targets.size
    slopes = ((error @ last) * (hidden > 0)).T @ X, error.T @ hidden

    def loss(step):
        hidden = np.maximum(X @ (first - step * slopes[0]).T, 0)
        return np.mean((hidden @ (last - step * slopes[1]).T - targets) ** 2)

    measured = ds.loss.sel(gain=0.5, repeat=1)
    np.testing.assert_allclose(measured, [loss(0), loss(0.2)], rtol=1e-6)
    assert abs(measured[1] / loss(0.1) - 1) > 1e-4  # the step of the loss with a factor one half


def test_pixels_are_standardised_and_samples_sorted_by_class(small):
    config, _ = small
    assert (config.per_class, config.pool) == (4, 2)
    X, y = nets.images("digits", per_class=4, samples=None, pool=2)
    assert X.shape == (40, 4, 4, 1)
    assert X.dtype == np.float32
    X = X.reshape(40, 16)
    assert (np.diff(y) >= 0).all()
    spread = X.std(axis=0, ddof=1)
    assert np.isin(np.round(spread, 4), (0.0, 1.0)).all()
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-6)
    whole, _ = nets.images("digits", per_class=None, samples=50, pool=1)
    assert whole.shape == (50, 8, 8, 1)


def test_a_run_records_every_network_and_learns(small):
    config, ds = small
    assert ds.nc1.dims == ("gain", "repeat", "epoch", "layer", "stage")
    assert ds.nc1.shape == (2, 2, 2, 3, 5)
    assert all(np.isfinite(variable).all() for variable in ds.data_vars.values())
    assert (ds.loss.isel(epoch=1) < ds.loss.isel(epoch=0)).all()
    # what enters a layer is what left the one before
    np.testing.assert_allclose(
        ds.nc1.sel(stage="input").isel(layer=slice(1, None)),
        ds.nc1.sel(stage="output").isel(layer=slice(None, -1)),
        rtol=1e-6,
    )
    np.testing.assert_allclose(ds.shares.sum("part"), 1.0)
    # a run does not depend on the others (as many of them: nothing is compiled again)
    other = experiment.mlp(dataclasses.replace(config, gains=(1.0, 0.7), seeds=(1, 5)))
    same = {"gain": 1.0, "repeat": 1}
    np.testing.assert_allclose(other.loss.sel(same), ds.loss.sel(same), rtol=1e-5)
    assert abs(ds.loss.sel(gain=0.5) - ds.loss.sel(gain=1.0)).max() > 1e-3


def test_paper_scale_has_the_published_settings():
    config = experiment.mlp.scales["paper"]
    assert (config.dataset, config.samples, config.per_class) == ("mnist", 50_000, None)
    assert (config.width, config.hidden, config.pool) == (512, 5, 1)
    assert (config.learning_rate, config.batch_size, config.epochs) == (0.05, 128, 500)
    assert 0.2 in config.gains
    assert config.seeds == (0, 1, 2)
    assert config.record_at[:2] == (0, 10)


def test_shares_are_those_of_nc1():
    H = jnp.asarray(np.random.default_rng(4).normal(size=(SAMPLES, 4)))
    within, between = nets.shares(H, jnp.asarray(Y), num_classes=CLASSES)
    nc1 = metrics.nc1(H, jnp.asarray(Y), num_classes=CLASSES)
    assert within / between == pytest.approx(float(nc1))
    assert within + between == pytest.approx(1.0)
