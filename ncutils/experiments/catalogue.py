"""Which page of the book shows which results. Standard library only.

A cell is one job with one output file, named `experiment/cell`; the experiment is a
module of this package and the cell one of its `CELLS`. The pipeline plans from this
table alone, without importing any of them.
"""

PAGES: dict[str, tuple[str, ...]] = {
    "kernel_nc1": (),
    "limiting_kernels": (),
    "shallow_network": (),
}


def experiments() -> tuple[str, ...]:
    """The experiments that some page needs, sorted."""
    return tuple(sorted({name.split("/")[0] for names in PAGES.values() for name in names}))
