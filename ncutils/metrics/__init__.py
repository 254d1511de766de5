"""Neural collapse measured: NC1 to NC4 from features, NC1 and label alignment from a kernel."""

from ncutils.metrics.features import nc1, nc2, nc3, nc4
from ncutils.metrics.kernel import KernelNC1, blocks_nc1, kernel_nc1, label_alignment

__all__ = [
    "KernelNC1",
    "blocks_nc1",
    "kernel_nc1",
    "label_alignment",
    "nc1",
    "nc2",
    "nc3",
    "nc4",
]
