"""What the experiments on flows share: random states, slow definitions, scores of a path."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ncutils import block_ntk, metrics
from ncutils.block_ntk import SharedKernel

METRICS = ("nc1", "nc2", "nc3", "nc4")


def random_states(seeds: Sequence[int], *, C: int, n: int, N: int, size: float = 1.0):
    """Normal W, H and small biases: nothing centred, nothing balanced; seeds first."""
    keys = jnp.stack([jax.random.key(s) for s in seeds])
    W, H, b = _normal(keys, C=C, n=n, N=N)
    return size * W, size * H, 0.3 * b


@partial(jax.jit, static_argnames=("C", "n", "N"))
def _normal(keys, *, C, n, N):
    def draw(key):
        shapes = ((C, n), (n, N), (C,))
        return tuple(
            jax.random.normal(k, shape)
            for k, shape in zip(jax.random.split(key, 3), shapes, strict=True)
        )

    return jax.vmap(draw)(keys)


def stack(states: Sequence[block_ntk.State]) -> block_ntk.State:
    """States as one batch."""
    return jax.tree.map(lambda *x: jnp.stack(x), *states)


def labels_of(sizes: Sequence[int]) -> np.ndarray:
    """Sorted labels of classes of these sizes."""
    return np.repeat(np.arange(len(sizes)), sizes)


def collapse_metrics(path: block_ntk.Trajectory, sizes: Sequence[int]) -> np.ndarray:
    """NC1 to NC4 of every state and time: states × times × 4."""
    return np.asarray(_scores(path.W, path.H, path.b, tuple(sizes)))


@partial(jax.jit, static_argnames="sizes")
def _scores(W, H, b, sizes):
    y, about = jnp.asarray(labels_of(sizes)), {"num_classes": len(sizes)}

    def score(W, H, b):
        return jnp.stack(
            [
                metrics.nc1(H.T, y, **about),
                metrics.nc2(H.T, y, **about),
                metrics.nc3(H.T, y, W, **about),
                metrics.nc4(H.T, y, W, b, **about).astype(H.dtype),
            ]
        )

    return jax.vmap(jax.vmap(score))(W, H, b)


def invariants(
    path: block_ntk.Trajectory, kernel: SharedKernel, *, m, C: int
) -> Float[Array, "S T n n"]:
    """The invariant of every state and time by the formula of one kernel."""
    return _invariants(path.W, path.H, kernel, m if isinstance(m, int) else tuple(m), C)


# The kernel is an argument: closed over, each one would be a program of its own.
@partial(jax.jit, static_argnames=("m", "C"))
def _invariants(W, H, kernel, m, C):
    one = partial(block_ntk.invariant, kernel=kernel, m=m, C=C)
    return jax.vmap(jax.vmap(lambda W, H: one(W, H)))(W, H)


def departures(E: Float[Array, "S T n n"]) -> Float[np.ndarray, "S T"]:
    """How far E has gone from its first value, relative to the norm of that."""
    E = np.asarray(E)
    return np.linalg.norm(E - E[:, :1], axis=(2, 3)) / np.linalg.norm(E[:, :1], axis=(2, 3))


def element_velocity(
    W: np.ndarray, H: np.ndarray, b: np.ndarray, kernel: np.ndarray, sizes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""The flow from its definition, one entry after the other.

    $$\dot h_k(x_i) = -\sum_{s,j} \Theta^h_{ks}(x_i, x_j) (W^\top R)_{sj} .$$

    Args:
        W, H, b: the state.
        kernel: N × N, the same for every neuron, or n × n × N × N.
        sizes: class sizes.
    """
    y = labels_of(sizes)
    R = np.array(
        [[W[k] @ H[:, i] + b[k] - (y[i] == k) for i in range(len(y))] for k in range(len(b))]
    )
    back = W.T @ R
    if kernel.ndim == 2:
        dH = [[-sum(kernel[i] * back[k]) for i in range(len(y))] for k in range(len(H))]
    else:
        dH = [[-np.sum(kernel[k, :, i] * back) for i in range(len(y))] for k in range(len(H))]
    return -R @ H.T, np.array(dH), -R.sum(axis=1)


def general_matrix(diag, within, across, sizes: Sequence[int]) -> np.ndarray:
    """The n × n × N × N kernel (71), entry by entry."""
    y = labels_of(sizes)
    N = len(y)
    pick = lambda i, j: diag if i == j else within if y[i] == y[j] else across  # noqa: E731
    blocks = np.array([[np.asarray(pick(i, j)) for j in range(N)] for i in range(N)])
    return blocks.transpose(2, 3, 0, 1)


def random_psd(rng: np.random.Generator, size: int) -> np.ndarray:
    """A random positive definite matrix of order 1."""
    A = rng.normal(size=(size, size))
    return A @ A.T / size
