"""Equations of state of a wide two-layer network (equations) and its posterior (posterior)."""

from ncutils.eos import posterior
from ncutils.eos.equations import (
    SOURCES,
    EosSolution,
    free_energy,
    kernel,
    residual,
    right_hand_side,
    solve,
)

__all__ = [
    "SOURCES",
    "EosSolution",
    "free_energy",
    "kernel",
    "posterior",
    "residual",
    "right_hand_side",
    "solve",
]
