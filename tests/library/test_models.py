"""Networks: sizes, initialisation, and the split into features and read-out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from ncutils import models
from tests.oracles import mlp_forward

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_logits_and_features_are_those_of_the_definition(activation, key):
    model = models.mlp((3, 5, 4, 2), activation=activation, dtype=jnp.float64, key=key)
    X = jax.random.normal(jax.random.fold_in(key, 1), (6, 3))
    weights = [np.asarray(layer.weight) for layer in model.layers]
    biases = [np.asarray(layer.bias) for layer in model.layers]
    hidden, outputs = mlp_forward(np.asarray(X), weights, biases, activation)
    np.testing.assert_allclose(models.features(model, X), hidden, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(models.logits(model, X), outputs, rtol=1e-12, atol=1e-14)
    other = "relu" if activation == "erf" else "erf"
    wrong, _ = mlp_forward(np.asarray(X), weights, biases, other)
    assert np.abs(wrong - models.features(model, X)).max() > 1e-2


def test_initial_weights_are_normal_with_gain_over_root_fan_in_and_biases_zero(key):
    model = models.mlp((40, 500, 1), activation="erf", gains=(1.0, 1.97), key=key)
    first, last = model.layers
    scaled = np.sqrt(40) * np.ravel(first.weight), np.sqrt(500) / 1.97 * np.ravel(last.weight)
    assert all(kstest(values, "norm").pvalue > 1e-3 for values in scaled)
    assert kstest(np.sqrt(500) * np.ravel(last.weight), "norm").pvalue < 1e-6
    assert not first.bias.any()
    assert not last.bias.any()


def test_parameters_stay_float32_when_jax_defaults_to_float64(key):
    model = models.mlp((2, 3, 1), activation="relu", key=key)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(model)} == {"float32"}
    assert models.logits(model, jnp.ones((4, 2), jnp.float32)).dtype == jnp.float32
    assert models.logits(model, jnp.ones((4, 2), jnp.float64)).dtype == jnp.float64


def test_biases_are_trainable():
    model = models.mlp((2, 3, 1), activation="erf", key=jax.random.key(0))
    slope = jax.grad(lambda net: jnp.sum(models.logits(net, jnp.ones((4, 2), jnp.float32))))(model)
    assert all(np.abs(layer.bias).max() > 0 for layer in slope.layers)


@pytest.mark.parametrize(
    ("widths", "options", "message"),
    [
        ((2, 1), {}, "each ≥ 1"),
        ((2, 0, 1), {}, "each ≥ 1"),
        ((2, 3, 1), {"activation": "tanh"}, "unknown activation 'tanh'"),
        ((2, 3, 1), {"gains": (1.0,)}, "2 positive gains"),
        ((2, 3, 1), {"gains": (1.0, 0.0)}, "2 positive gains"),
    ],
)
def test_networks_that_cannot_be_are_refused(widths, options, message):
    with pytest.raises(ValueError, match=message):
        models.mlp(widths, **{"activation": "erf", **options}, key=jax.random.key(0))


def test_a_network_without_biases_is_relu_layers_and_its_tail_the_rest_of_them(key):
    model = models.unbiased_mlp((5, 4, 3, 2), gain=0.3, key=key)
    assert len(jax.tree.leaves(model)) == 3
    assert {W.dtype.name for W in model.weights} == {"float32"}
    X = jax.random.normal(key, (6, 5), jnp.float32)
    H, (first, second, last) = np.asarray(X), map(np.asarray, model.weights)
    hidden = np.maximum(H @ first.T, 0)
    outputs = np.maximum(hidden @ second.T, 0) @ last.T
    np.testing.assert_allclose(models.logits(model, X), outputs, rtol=1e-5, atol=1e-6)
    rest = models.logits(model.tail(1), jnp.asarray(hidden))
    np.testing.assert_allclose(rest, outputs, rtol=1e-5, atol=1e-6)
    linear = H @ first.T @ second.T @ last.T
    assert np.abs(outputs - linear).max() > 1e-3  # some unit does not fire
    with pytest.raises(ValueError, match="each ≥ 1"):
        models.unbiased_mlp((5, 2), gain=1.0, key=key)
