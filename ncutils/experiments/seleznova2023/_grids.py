"""Rows of numbers that configurations are made of."""

import numpy as np


def geometric(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` numbers from `low` to `high`, each the same factor above the one before."""
    return tuple(map(float, np.geomspace(low, high, count)))


def even(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` numbers from `low` to `high`, each the same step above the one before."""
    return tuple(map(float, np.linspace(low, high, count)))


def spaced(last: int, count: int) -> tuple[int, ...]:
    """About `count` epochs from 0 to `last`, closer together at the start."""
    return tuple(sorted({round(last * (k / (count - 1)) ** 2) for k in range(count)}))
