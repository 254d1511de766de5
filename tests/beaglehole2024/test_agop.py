"""The case on the AGOP: what it adds to the library is right."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ncutils import models
from ncutils.experiments.beaglehole2024 import agop

D = 6


def test_correlations_of_a_linear_network_are_those_of_its_factors():
    # f(x) = V W x with positive weights and inputs: no ReLU ever cuts
    rng = np.random.default_rng(1)
    W, V = rng.uniform(size=(5, D)), rng.uniform(size=(3, 5))
    network = models.MLP((models.Dense(jnp.asarray(W)), models.Dense(jnp.asarray(V))), "relu")
    X = jnp.asarray(rng.uniform(size=(4, D)))
    found = agop._correlations(network, X, [jnp.eye(D)])
    A = W.T @ V.T @ V @ W
    values, vectors = np.linalg.eigh(A)
    root = vectors @ np.diag(np.sqrt(np.clip(values, 0, None))) @ vectors.T
    expected = [np.corrcoef((W.T @ W).ravel(), B.ravel())[0, 1] for B in (root, A, root)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_what_is_recorded_belongs_to_its_epoch():
    config = dataclasses.replace(
        agop.digits.scales["smoke"], epochs=3, record_at=(0, 1, 3), hidden=(8,), turns=1
    )
    found = agop._networks(config, seed=0)
    # the same steps by hand: full batches, no momentum
    X, _, Y = agop.labelled_digits(0, config.per_class)
    start = models.unbiased_mlp((64, 8, 10), gain=config.gain, key=jax.random.key(0))
    first, last = (np.asarray(W, float) for W in start.weights)
    losses = []
    for _ in range(4):
        hidden = np.maximum(X @ first.T, 0)
        error = hidden @ last.T - Y
        losses.append(np.mean(error**2))
        slope = 2 * error / Y.size
        step = ((slope @ last) * (hidden > 0)).T @ X
        last, first = last - 0.5 * slope.T @ hidden, first - 0.5 * step
    np.testing.assert_allclose(found["loss"], np.array(losses)[[0, 1, 3]], rtol=1e-4)
    assert abs(losses[2] / losses[3] - 1) > 1e-3
