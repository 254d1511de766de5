r"""What training makes small: a function of the outputs and of targets of the same shape."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def _check_same_shape(outputs, targets):
    if outputs.shape != targets.shape:
        raise ValueError(f"outputs have shape {outputs.shape}, targets {targets.shape}")


def mean_squared_error(
    outputs: Float[Array, "n c"], targets: Float[Array, "..."]
) -> Float[Array, ""]:
    r"""$\frac{1}{nC} \sum_{i,k} (f_k(x_i) - y_{ik})^2$: no factor ½, the mean over all entries."""
    _check_same_shape(outputs, targets)
    return jnp.mean((outputs - targets) ** 2)


def half_squared_error(
    outputs: Float[Array, "n c"], targets: Float[Array, "..."]
) -> Float[Array, ""]:
    r"""$\frac{1}{2nC} \sum_{i,k} (f_k(x_i) - y_{ik})^2$, P2's loss as its released code has it.

    Source: differs from P2, (4), by the factor 1/nC, which only rescales the step.
    """
    return 0.5 * mean_squared_error(outputs, targets)


def cross_entropy(outputs: Float[Array, "n c"], targets: Float[Array, "..."]) -> Float[Array, ""]:
    r"""$-\frac1n \sum_{i,k} y_{ik} \log \mathrm{softmax}(f(x_i))_k$, natural logarithm.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import training
        >>> training.cross_entropy(jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]])).round(4).item()
        0.6931
    """
    _check_same_shape(outputs, targets)
    return jnp.mean(optax.losses.softmax_cross_entropy(outputs, targets))
