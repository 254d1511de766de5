"""Closed-form kernels: of infinitely wide networks, of one erf layer, Laplace and Gaussian."""

from ncutils.kernels import duals, erf
from ncutils.kernels.limits import ACTIVATIONS, class_blocks, nngp, nngp_and_ntk, ntk
from ncutils.kernels.radial import gaussian, laplace

__all__ = [
    "ACTIVATIONS",
    "class_blocks",
    "duals",
    "erf",
    "gaussian",
    "laplace",
    "nngp",
    "nngp_and_ntk",
    "ntk",
]
