"""Digits by class in an order that a seed decides, raw and with rows of one norm."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ncutils import data

INPUTS = ("normalised", "raw")


def ordered_digits(
    whole: data.Dataset, per_class: int, seed: int
) -> tuple[Float[Array, "n d"], Int[Array, " n"]]:
    """Digits sorted by class, with the classes in an order that the seed decides.

    The first C·per_class rows are then C classes chosen at random.
    """
    key = jax.random.key(seed)
    subset = data.balanced_subset(whole, per_class, key=key)
    order = np.asarray(jax.random.permutation(jax.random.fold_in(key, 1), whole.num_classes))
    X = subset.flat.reshape(whole.num_classes, per_class, -1)[order]
    y = np.repeat(np.arange(whole.num_classes), per_class)
    return jnp.asarray(X.reshape(len(y), -1)), jnp.asarray(y)


def both_inputs(X: Float[Array, "n d"]) -> dict[str, Float[Array, "n d"]]:
    """The rows as each of `INPUTS`: stretched to norm √d, where every K_ii is 1, and raw."""
    return dict(zip(INPUTS, (data.unit_rows(X, norm=math.sqrt(X.shape[1])), X), strict=True))
