"""Gradient descent on one network or many at once, resumable to the last bit."""

from ncutils.training.fit import Fitted, Measure, fit, fit_ensemble
from ncutils.training.losses import cross_entropy, half_squared_error, mean_squared_error
from ncutils.training.recipe import Recipe

__all__ = [
    "Fitted",
    "Measure",
    "Recipe",
    "cross_entropy",
    "fit",
    "fit_ensemble",
    "half_squared_error",
    "mean_squared_error",
]
