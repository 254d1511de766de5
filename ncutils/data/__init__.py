"""Labelled data: Gaussian classes, real digits and images, subsets, batches, image preparation."""

from ncutils.data.images import pool, resize, sorted_by_class, split, standardise, unit_rows
from ncutils.data.sets import (
    Dataset,
    DownloadError,
    balanced_batches,
    balanced_subset,
    gaussian_mixture,
    load,
    random_batches,
    two_gaussians,
)

__all__ = [
    "Dataset",
    "DownloadError",
    "balanced_batches",
    "balanced_subset",
    "gaussian_mixture",
    "load",
    "pool",
    "random_batches",
    "resize",
    "sorted_by_class",
    "split",
    "standardise",
    "two_gaussians",
    "unit_rows",
]
