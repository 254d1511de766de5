"""Deep recursive feature machines (layers), the map of their Gram matrix (gram_map), theory."""

from ncutils.data import standardise
from ncutils.deep_rfm import gram_map, theory
from ncutils.deep_rfm.layers import (
    MATRICES,
    SCALES,
    WEIGHTS,
    DeepRFM,
    Layer,
    Recipe,
    deep_rfm,
    layers,
    memory,
    random_features,
)

__all__ = [
    "MATRICES",
    "SCALES",
    "WEIGHTS",
    "DeepRFM",
    "Layer",
    "Recipe",
    "deep_rfm",
    "gram_map",
    "layers",
    "memory",
    "random_features",
    "standardise",
    "theory",
]
