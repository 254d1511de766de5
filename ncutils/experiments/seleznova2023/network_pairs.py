"""P2's own networks: nine pairs of architecture and data set, and one with cross-entropy.

Each cell is the paper's schedule, 400 epochs for every learning rate and initialisation,
and hours on a GPU; all exist at scale "paper". One of them, `resnet20_mnist`, is also
there at size "workstation": half the width, half the pixels and a tenth of the epochs,
for a quarter of an hour of one core. No page waits for these cells: those of whose
results there is an archive are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ncutils.experiments.seleznova2023 import _network_settings as settings
from ncutils.experiments.seleznova2023.block_ntk_networks import operations, run

__all__ = ["CELLS", "PAIRS", "Config", "costs", "run"]

PAIRS = {
    "vgg11_mnist": ("vgg11", "mnist"),
    "vgg11_fashion_mnist": ("vgg11", "fashion_mnist"),
    "vgg16_cifar10": ("vgg16", "cifar10"),
    "resnet20_mnist": ("resnet20", "mnist"),
    "resnet20_fashion_mnist": ("resnet20", "fashion_mnist"),
    "resnet20_cifar10": ("resnet20", "cifar10"),
    "densenet40_mnist": ("densenet40", "mnist"),
    "densenet40_fashion_mnist": ("densenet40", "fashion_mnist"),
    "densenet40_cifar10": ("densenet40", "cifar10"),
}
CELLS = (*PAIRS, "resnet20_mnist_cross_entropy")


@dataclass(frozen=True)
class Config(settings.Config):
    """As for the narrow networks; `at` gives the paper's settings, or a tenth of them."""

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The paper's settings of one pair; of ResNet20 on MNIST also smaller ones.

        Size "workstation" keeps the depth, the schedule divided by ten and the three
        initialisations. Width and side are halved, a class has 300 samples, and the four
        learning rates, each a third of the next, end a factor of three below the paper's
        largest, with which every run diverged when it was tried.

        Raises:
            ValueError: for an unknown cell, or another scale than "paper" or this one.

        Source: P2 Section 6, Appendix C and released code. Kernels and the invariant are
            taken at 40 epochs, not at every second one.
        """
        if scale == "workstation" and cell == "resnet20_mnist":
            return replace(
                cls.at(cell, "paper"),
                network="resnet",
                shape=((8, 16, 32), (3, 3, 3)),
                side=14,
                train_per_class=300,
                test_per_class=200,
                learning_rates=tuple(float(10**0.25 / part) for part in (81, 27, 9, 3)),
                epochs=40,
                record_at=(0, 1, 3, 6, 12, 18, 24, 32, 40),
                drop_every=12,
                kernel_per_class=4,
                component_per_class=2,
                norm_momentum=0.9,  # a hundredth of the paper's steps: averages must be shorter
                chunk=16,
            )
        if scale != "paper":
            raise ValueError(f"{cell} of P2's own networks exists at scale paper, not at {scale}")
        if cell not in CELLS:
            raise ValueError(f"unknown cell {cell!r}: choose one of {', '.join(CELLS)}")
        network, dataset = PAIRS[cell.removesuffix("_cross_entropy")]
        rates = np.logspace(-4, 0.25, 30)
        if cell not in ("resnet20_mnist", "vgg11_mnist"):
            rates = rates[10:]
        vgg = network.startswith("vgg")
        return cls(
            cell,
            network=network,
            shape=(),
            dataset=dataset,
            side=32 if vgg or dataset == "cifar10" else 28,
            train_per_class={"mnist": 5412, "fashion_mnist": 6000, "cifar10": 5000}[dataset],
            test_per_class=None,
            learning_rates=tuple(float(r) for r in rates),
            epochs=400,
            record_at=settings.spaced(400, 40),
            drop_every=120,
            seeds=(0,),
            loss="ce" if cell.endswith("cross_entropy") else "mse",
            kernel_per_class=4 if vgg else 12,
            component_per_class=1,
            norm_momentum=0.9 if vgg else 0.99,
            at_once=1,
            chunk=4,
            checkpoint_every=2,
        )


def costs(pairs: Sequence[str] = tuple(PAIRS)) -> xr.Dataset:
    """What training the pairs would take, without training them and without metrics.

    Returns:
        For each `pair` the `runs`, the `steps` of one run and the floating-point
        `operations` of one step.
    """
    counted: dict[tuple, float] = {}
    rows = []
    for pair in pairs:
        config = Config.at(pair, "paper")
        channels = 3 if config.dataset == "cifar10" else 1
        network = (config.network, config.side, channels)
        if network not in counted:
            counted[network] = operations(config, channels)
        steps = config.train_per_class // config.batch_per_class * config.epochs
        runs = len(config.learning_rates) * len(config.initialisations)
        rows.append((runs, steps, counted[network]))
    names = ("runs", "steps", "operations")
    values = dict(zip(names, zip(*rows, strict=True), strict=True))
    return xr.Dataset(
        {name: ("pair", np.array(v, float)) for name, v in values.items()}, {"pair": list(pairs)}
    )
