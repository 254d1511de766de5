"""Deep recursive feature machines (layers), the map of their Gram matrix (gram_map), theory."""

from ncutils.deep_rfm import gram_map, theory
from ncutils.deep_rfm.layers import (
    MATRICES,
    NORMALISATIONS,
    WEIGHTS,
    DeepRFM,
    Layer,
    Layout,
    deep_rfm,
    memory,
    random_features,
    run_layers,
)

__all__ = [
    "MATRICES",
    "NORMALISATIONS",
    "WEIGHTS",
    "DeepRFM",
    "Layer",
    "Layout",
    "deep_rfm",
    "gram_map",
    "memory",
    "random_features",
    "run_layers",
    "theory",
]
