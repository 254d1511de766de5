"""Which page of the book shows which results. Standard library only.

A cell is one job with one output file, named `experiment/cell`; the experiment is a
module of this package and the cell one of its `CELLS`. The pipeline plans from this
table alone, without importing any of them.
"""

PAGES: dict[str, tuple[str, ...]] = {
    "kernel_nc1": (
        "kernel_nc1/random_features",
        "kernel_nc1/imbalance",
        "kernel_nc1/digits",
    ),
    "limiting_kernels": (
        "limiting_kernels/gaussians",
        "kernel_ordering/random_sets",
        "kernel_ordering/networks",
        "kernel_nc1/imbalance",
        "kernel_nc1/digits",
    ),
    "shallow_network": (
        "shallow_network/published",
        "shallow_network/longer",
        "shallow_network/rich",
        "shallow_network/width",
    ),
    "equations_of_state": (
        "equations_of_state/figure4",
        "equations_of_state/figure5",
        "equations_of_state/settings",
        "eos_networks/trained",
        "eos_networks/sampled",
        "shallow_network/published",
    ),
    "block_kernel": (
        "block_rates/rates",
        "block_rates/elasticity",
    ),
    "block_dynamics": (
        "block_flow/collapse",
        "block_general/matrices",
    ),
    "beyond_balance": (
        "beyond_balance/flows",
        "frame_defect/defect",
        "beyond_balance/neurons",
    ),
    "ntk_block_structure": (
        "block_ntk_networks/mnist",
        "block_ntk_networks/digits",
    ),
    "who_collapses": (
        "block_ntk_networks/mnist",
        "block_ntk_networks/digits",
    ),
    "cross_entropy": (
        "block_ntk_networks/cross_entropy",
        "block_ntk_networks/mnist",
    ),
    "agop": ("agop/digits",),
    "deep_rfm": ("deep_rfm/figures", "deep_rfm_controls/variants"),
    "deep_rfm_theory": (
        "gram_layers/theorem",
        "rfm_theory/propositions",
    ),
    "weights_and_agop": ("weights_and_agop/mlp", "heads/resnet", "heads/vgg"),
}

#: Single longer runs that a page shows at every scale of the book. They were made once, are
#: archived in `results/` under the size "workstation", and are never made again by a build.
LONGER: dict[str, tuple[str, ...]] = {
    "ntk_block_structure": ("network_pairs/resnet20_mnist",),
    "who_collapses": ("network_pairs/resnet20_mnist",),
    "deep_rfm": ("deep_rfm/figures",),
}


def experiments() -> tuple[str, ...]:
    """The experiments that some page needs, sorted."""
    return tuple(sorted({name.split("/")[0] for names in PAGES.values() for name in names}))
