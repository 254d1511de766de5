"""P2's own networks: nine pairs of architecture and data set, and one with cross-entropy.

At scale "paper" each case is the paper's schedule, 400 epochs for every learning rate and
initialisation, and hours on a GPU. At "smoke" and "quick" the architecture is the pair's own,
thinned out, and the schedule a small part. `resnet20_mnist` is also there at size
"workstation": half the width, half the pixels and a tenth of the epochs, for a quarter of an
hour of one core. No page waits for these cases: those of whose results there is an archive
are shown.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from ncutils import experiments
from ncutils.experiments import case
from ncutils.experiments.seleznova2023._grids import spaced
from ncutils.experiments.seleznova2023.networks import TINY, Grid, operations, schedule, train

PAIRS = (
    "vgg11_mnist",
    "vgg11_fashion_mnist",
    "vgg16_cifar10",
    "resnet20_mnist",
    "resnet20_fashion_mnist",
    "resnet20_cifar10",
    "densenet40_mnist",
    "densenet40_fashion_mnist",
    "densenet40_cifar10",
)
#: The network and its shape at scale smoke, and at scale quick.
THIN = {
    "vgg11": (("vgg11", (32,)), ("vgg11", (8,))),
    "vgg16": (("vgg16", (32,)), ("vgg16", (8,))),
    "resnet20": (("resnet", ((4, 8), (1, 1))), ("resnet", ((8, 16, 32), (1, 1, 1)))),
    "densenet40": (("densenet40", ((1, 1, 1), 2)), ("densenet40", ((2, 2, 2), 6))),
}


def rates(first: int = 0) -> tuple[float, ...]:
    """The paper's learning rates, from the one of this number."""
    return tuple(float(rate) for rate in np.logspace(-4, 0.25, 30)[first:])


def paper(network: str, dataset: str, *, first_rate: int = 10, loss: str = "mse") -> Grid:
    """The paper's settings of one pair.

    Args:
        network: one of `networks.NETWORKS`. dataset: for `data.load`.
        first_rate: number of the smallest learning rate of the thirty.
        loss: "mse" or "ce".

    Source: P2 Section 6, Appendix C and released code. Kernels and the invariant are
        taken at 40 epochs, not at every second one.
    """
    vgg = network.startswith("vgg")
    return Grid(
        network=network,
        shape=(),
        dataset=dataset,
        side=32 if vgg or dataset == "cifar10" else 28,
        train_per_class={"mnist": 5412, "fashion_mnist": 6000, "cifar10": 5000}[dataset],
        test_per_class=None,
        learning_rates=rates(first_rate),
        epochs=400,
        record_at=spaced(400, 40),
        drop_every=120,
        seeds=(0,),
        loss=loss,
        kernel_per_class=4 if vgg else 12,
        component_per_class=1,
        norm_momentum=0.9 if vgg else 0.99,
        at_once=1,
        chunk=4,
        checkpoint_every=2,
    )


def smoke(network: str, dataset: str, *, loss: str = "mse") -> Grid:
    """A few steps of the thinnest network of this architecture, on a few images."""
    thin, shape = THIN[network][0]
    full = paper(network, dataset, loss=loss)
    few = {**TINY, "initialisations": ("lecun_normal",), "seeds": (0,), "at_once": 1}
    return replace(
        full, network=thin, shape=shape, learning_rates=(0.03,), norm_momentum=0.9, **few
    )


def quick(network: str, dataset: str, *, loss: str = "mse") -> Grid:
    """A thin network of this architecture, two learning rates, minutes of one core."""
    thin, shape = THIN[network][1]
    return replace(
        paper(network, dataset, loss=loss),
        network=thin,
        shape=shape,
        train_per_class=36,
        test_per_class=50,
        learning_rates=(0.1, 0.5),
        initialisations=("lecun_normal", "he_normal"),
        kernel_per_class=3,
        norm_momentum=0.9,
        chunk=16,
        **schedule(20, 4),
    )


@case(
    smoke=smoke("vgg11", "mnist"),
    quick=quick("vgg11", "mnist"),
    paper=paper("vgg11", "mnist", first_rate=0),
)
def vgg11_mnist(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """VGG11 on MNIST."""
    return train(config, checkpoint=checkpoint, progress="vgg11_mnist")


@case(
    smoke=smoke("vgg11", "fashion_mnist"),
    quick=quick("vgg11", "fashion_mnist"),
    paper=paper("vgg11", "fashion_mnist"),
)
def vgg11_fashion_mnist(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """VGG11 on FashionMNIST."""
    return train(config, checkpoint=checkpoint, progress="vgg11_fashion_mnist")


@case(
    smoke=smoke("vgg16", "cifar10"),
    quick=quick("vgg16", "cifar10"),
    paper=paper("vgg16", "cifar10"),
)
def vgg16_cifar10(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """VGG16 on CIFAR10."""
    return train(config, checkpoint=checkpoint, progress="vgg16_cifar10")


@case(
    smoke=smoke("resnet20", "mnist"),
    quick=quick("resnet20", "mnist"),
    paper=paper("resnet20", "mnist", first_rate=0),
    # The depth, the schedule divided by ten and the three initialisations. The four learning
    # rates, each a third of the next, end a factor of three below the paper's largest, with
    # which every run diverged when it was tried.
    workstation=replace(
        paper("resnet20", "mnist"),
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
    ),
)
def resnet20_mnist(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """ResNet20 on MNIST."""
    return train(config, checkpoint=checkpoint, progress="resnet20_mnist")


@case(
    smoke=smoke("resnet20", "fashion_mnist"),
    quick=quick("resnet20", "fashion_mnist"),
    paper=paper("resnet20", "fashion_mnist"),
)
def resnet20_fashion_mnist(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """ResNet20 on FashionMNIST."""
    return train(config, checkpoint=checkpoint, progress="resnet20_fashion_mnist")


@case(
    smoke=smoke("resnet20", "cifar10"),
    quick=quick("resnet20", "cifar10"),
    paper=paper("resnet20", "cifar10"),
)
def resnet20_cifar10(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """ResNet20 on CIFAR10."""
    return train(config, checkpoint=checkpoint, progress="resnet20_cifar10")


@case(
    smoke=smoke("densenet40", "mnist"),
    quick=quick("densenet40", "mnist"),
    paper=paper("densenet40", "mnist"),
)
def densenet40_mnist(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """DenseNet40 on MNIST."""
    return train(config, checkpoint=checkpoint, progress="densenet40_mnist")


@case(
    smoke=smoke("densenet40", "fashion_mnist"),
    quick=quick("densenet40", "fashion_mnist"),
    paper=paper("densenet40", "fashion_mnist"),
)
def densenet40_fashion_mnist(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """DenseNet40 on FashionMNIST."""
    return train(config, checkpoint=checkpoint, progress="densenet40_fashion_mnist")


@case(
    smoke=smoke("densenet40", "cifar10"),
    quick=quick("densenet40", "cifar10"),
    paper=paper("densenet40", "cifar10"),
)
def densenet40_cifar10(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """DenseNet40 on CIFAR10."""
    return train(config, checkpoint=checkpoint, progress="densenet40_cifar10")


@case(
    smoke=smoke("resnet20", "mnist", loss="ce"),
    quick=quick("resnet20", "mnist", loss="ce"),
    paper=paper("resnet20", "mnist", loss="ce"),
)
def resnet20_mnist_cross_entropy(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """ResNet20 on MNIST with cross-entropy: Fig. 12."""
    return train(config, checkpoint=checkpoint, progress="resnet20_mnist_cross_entropy")


def costs(pairs: Sequence[str] = PAIRS) -> xr.Dataset:
    """What training the pairs would take, without training them and without metrics.

    Returns:
        For each `pair` the `runs`, the `steps` of one run and the floating-point
        `operations` of one step.
    """
    counted: dict[tuple, float] = {}
    rows = []
    for pair in pairs:
        config = experiments.config_of(f"seleznova2023/network_pairs/{pair}", scale="paper")
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
