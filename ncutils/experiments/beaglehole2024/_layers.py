r"""What P3 records of each layer of a network without biases.

For input features $\Phi$ and weights $W = U S V^\top$: NC1 of $\Phi$, of $S V^\top \Phi$ and of
$\mathrm{ReLU}(W \Phi)$; and how $W^\top W$ correlates with the square root of the AGOP of the
network from that layer on.
"""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ncutils import agop, data, linalg, metrics
from ncutils.models import MLP

# Φ, S Vᵀ Φ, ReLU(W Φ); then S times a random rotation of Φ; then the AGOP^(1/4) Φ that the
# ansatz would put in place of S Vᵀ Φ.
STAGES = ("input", "right", "output", "random", "ansatz")

# The dimensions of what `measure` returns.
DIMENSIONS = {
    "nc1": ("layer", "stage"),
    "nfa": ("layer",),
    "chance": ("layer",),
    "shares": ("part",),
    "shares_dealt": ("part",),
    "loss": (),
    "accuracy": (),
}


def rotation(size: int, seed: int) -> Float[np.ndarray, "d d"]:
    """A random rotation or reflection, the same chance for all."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return q * np.sign(np.diagonal(r))


def measure_layer(
    W: Float[Array, "p d"],
    inputs: Float[Array, "n d"],
    A: Float[Array, "d d"],
    y: Int[Array, " n"],
    *,
    num_classes: int,
    turn: Float[Array, "d d"],
) -> dict[str, Array]:
    r"""NC1 at each of `STAGES` of one layer, and the neural feature ansatz with its chance level.

    NC1 of $S V^\top \Phi$ is that of $W \Phi$, because U is a rotation.

    Args:
        W: weights. inputs: the features Φ, one row a sample. A: AGOP of the rest of the
            network with respect to them. y: labels.
        num_classes: C.
        turn: a random rotation, in place of V and of the basis of A.

    Returns:
        "nc1" (stages), "nfa", and "chance": the same with A in another basis.
    """
    root = linalg.psd_sqrt(A)
    singular = jnp.linalg.svd(W, compute_uv=False)
    features = {
        "input": inputs,
        "right": inputs @ W.T,
        "output": jax.nn.relu(inputs @ W.T),
        "random": (inputs @ turn)[:, : len(singular)] * singular[None, :],
        "ansatz": inputs @ linalg.psd_sqrt(root),
    }
    return {
        "nc1": jnp.stack([metrics.nc1(features[s], y, num_classes=num_classes) for s in STAGES]),
        "nfa": agop.ansatz_correlation(W, A),
        "chance": agop.pearson(W.T @ W, turn @ root @ turn.T),
    }


def forward(network: MLP, X) -> tuple[list, Float[Array, "n c"]]:
    """The inputs of each layer, the read-out included, and the outputs; in float64."""
    features = [X.astype(float)]
    for W in network.weights[:-1]:
        features.append(jax.nn.relu(features[-1] @ W.astype(float).T))
    return features, features[-1] @ network.weights[-1].astype(float).T


def gradient_products(network: MLP, after: list[Float[Array, "n _"]]) -> list[Array]:
    r"""AGOPs of the network with respect to the inputs of each hidden layer.

    With $B_l(x)$ the Jacobian of the outputs behind the weights of layer l,
    $A_l = W_l^\top \big(\frac1N \sum_i B_l(x_i)^\top B_l(x_i)\big) W_l$, and
    $B_{l-1}$ is $B_l W_l$ where the layer before fires.

    Args:
        network: its weights.
        after: what leaves each hidden layer, one row a sample.

    Returns:
        One matrix for each hidden layer, as `agop.agop` of the rest of the network has it.
    """
    products, B = [], network.weights[-1][None]
    for W, H in reversed(list(zip(network.weights[:-1], after, strict=True))):
        B = B * (H > 0).astype(H.dtype)[:, None, :]
        rows = B.reshape(-1, B.shape[-1])
        products.append(W.T @ (rows.T @ rows / len(H)) @ W)
        B = B @ W
    return products[::-1]


def shares(H: Float[Array, "n p"], y: Int[Array, " n"], *, num_classes: int) -> Float[Array, " 2"]:
    """Shares of the variance of features that lie within and between (balanced) classes."""
    ratio = metrics.nc1(H, y, num_classes=num_classes)
    return jnp.stack([ratio, jnp.ones_like(ratio)]) / (1 + ratio)


def measure(network: MLP, X, y, dealt, turns, *, num_classes: int) -> dict[str, Array]:
    """What is recorded: each layer, the last features, the loss; in float64 but for the AGOP.

    Args:
        network: float32. X: inputs. y: labels. dealt: the same labels in random order.
        turns: a random rotation of the inputs, and one of the hidden layers.
        num_classes: C.
    """
    features, outputs = forward(network, X)
    *hidden, inputs = features
    agops = gradient_products(network, [H.astype(X.dtype) for H in features[1:]])
    parts = [
        (W.astype(float), H, A.astype(float))
        for W, H, A in zip(network.weights[:-1], hidden, agops, strict=True)
    ]
    # layers of one shape are measured by one piece of compiled code
    measured = []
    for size, group in itertools.groupby(parts, key=lambda layer: layer[0].shape):
        turn = turns[0] if size[1] == len(turns[0]) else turns[1]
        one = functools.partial(measure_layer, y=y, num_classes=num_classes, turn=turn)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *group)
        measured.append(jax.lax.map(lambda layer, one=one: one(*layer), stacked))
    targets = linalg.signed_one_hot(y, num_classes=num_classes)
    return {
        **jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *measured),
        "shares": shares(inputs, y, num_classes=num_classes),
        "shares_dealt": shares(inputs, dealt, num_classes=num_classes),
        "loss": jnp.mean((outputs - targets) ** 2),
        "accuracy": jnp.mean((jnp.argmax(outputs, axis=1) == y).astype(float)),
    }


def recorder(y, widths: Sequence[int], *, num_classes: int, chunk: int | None = None):
    """What `training.fit_ensemble` is to record, of a network or of one on top of a trunk.

    Args:
        y: labels of the training samples.
        widths: inputs of the first layer of the network, and of the others.
        num_classes: C.
        chunk: images that go through the trunk at a time; None where there is no trunk.

    Returns:
        A `training.Measure`, which returns what `measure` does.
    """
    turns = [jnp.asarray(rotation(size, seed=size)) for size in widths]
    dealt = jnp.asarray(np.random.default_rng(0).permutation(y))
    y = jnp.asarray(y)

    def record(network, start, X, targets):
        del start, targets
        if chunk is not None:
            X, network = jax.lax.map(network.trunk, X, batch_size=min(chunk, len(X))), network.head
        return measure(network, X, y, dealt, turns, num_classes=num_classes)

    return record


def images(
    dataset: str, *, per_class: int | None, samples: int | None, pool: int
) -> tuple[Float[np.ndarray, "n h w c"], Int[np.ndarray, " n"]]:
    """Standardised images in float32, sorted by class, and their labels.

    Each pixel has mean 0 and (unbiased) standard deviation 1 over the samples; a pixel that
    never varies is 0.

    Args:
        dataset: a name of `data.load`.
        per_class: samples of each class; None for the first `samples` of the set.
        samples: how many, if `per_class` is None.
        pool: images are averaged over squares of this many pixels a side.
    """
    whole = data.load(dataset)
    if per_class is not None:
        whole = data.balanced_subset(whole, per_class, key=jax.random.key(0))
    x, y = data.pool(whole.x[:samples], pool), whole.y[:samples]
    (rows,) = data.standardise(jnp.asarray(x.reshape(len(x), -1)))
    order = np.argsort(y, kind="stable")
    return np.asarray(rows, np.float32).reshape(x.shape)[order], y[order]
