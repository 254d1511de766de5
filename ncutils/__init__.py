"""Neural collapse, recomputed: the map of the library.

One room for each noun of the papers; take the one you need::

    from ncutils import kernels, metrics

A room is imported when it is first asked for: importing ``ncutils`` itself costs nothing and
sets no global state.
"""

import importlib

__version__ = "0.1.0"

#: What each room holds.
ROOMS = {
    # what is measured
    "metrics": "NC1 to NC4 from features, NC1 and label alignment from a kernel matrix",
    "linalg": "class means, block means of a kernel, checks of labels and numbers",
    # what the papers' theories are made of
    "kernels": "kernels of infinitely wide networks (NNGP, NTK), Laplace and Gaussian kernels",
    "eos": "equations of state of a wide two-layer network, and the posterior they approximate",
    "block_ntk": "gradient flow with a tangent kernel that has blocks by class, and its invariant",
    "entk": "empirical tangent kernels of any network: traced, by blocks, by probes",
    "agop": "average gradient outer products, and kernel machines that have them in closed form",
    "deep_rfm": "deep recursive feature machines, their Gram map and its theory",
    # data and networks
    "data": "Gaussian classes, real digits and images, subsets, batches, image preparation",
    "models": "networks as pytrees: perceptrons, convolutional networks, trunks with heads",
    "training": "gradient descent on one network or many at once, resumable to the last bit",
    # beside the mathematics
    "compat": "neural-tangents under a current JAX",
    "records": "results, claims, coverage: what keeps the books",
    "figures": "one style, and one function for each figure of a paper",
    "experiments": "the cases behind the pages of the book, a drawer for each paper",
}

__all__ = list(ROOMS)


def __getattr__(name: str):
    """Import a room when it is first asked for."""
    if name in ROOMS:
        return importlib.import_module(f"ncutils.{name}")
    raise AttributeError(f"ncutils has no {name!r}; its rooms: {', '.join(ROOMS)}")


def __dir__() -> list[str]:
    """The rooms, whether imported yet or not."""
    return sorted({*globals(), *ROOMS})
