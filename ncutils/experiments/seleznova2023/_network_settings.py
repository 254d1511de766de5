"""The cells of the network experiment: what is trained, on what, and for how long."""

from dataclasses import dataclass

import numpy as np

from ncutils import models, training
from ncutils.records import workspace

CELLS = ("mnist", "digits", "cross_entropy")
LOSSES = {"mse": training.half_squared_error, "ce": training.cross_entropy}
NETWORKS = {
    "cnn": models.cnn,
    "resnet": models.resnet,
    "resnet20": models.resnet20,
    "vgg11": models.vgg11,
    "vgg16": models.vgg16,
    "densenet40": models.densenet40,
}


@dataclass(frozen=True)
class Config:
    r"""Everything that decides the numbers of one cell.

    Attributes:
        cell: one of `CELLS`.
        network: one of `NETWORKS`. shape: its positional arguments (widths, blocks).
        dataset: for `data.load`. side: pixels of a side after pooling or resizing.
        train_per_class, test_per_class: samples; the packaged sets are split, the others
            have a test split of their own, taken whole if the number is None.
        learning_rates: initial η. initialisations, seeds: the rest of the grid.
        epochs, record_at, drop_every: as in `training.Recipe`.
        loss: "mse" (P2's, half the mean over entries) or "ce".
        batch_per_class: samples of each class in a batch; P2 has 12.
        per_class: m of the collapse metrics and of the invariant; P2 has 12.
        kernel_per_class: samples per class of the kernels; P2 has 12, or 4 for VGG.
        component_per_class: samples per class for the norms of all components.
        component_seeds: of how many seeds they are taken; dear, and 0 where no page shows them.
        estimate_per_class: for one network that collapses and one that does not, the kernel of
            the features is taken on so many samples of each class, and estimated from fewer;
            0 for none.
        estimate_draws: how often those fewer are drawn.
        norm_momentum: of the running statistics; fewer steps need a smaller one.
        at_once: runs trained side by side. chunk: outputs differentiated at a time.
        checkpoint_every: epochs between two checkpoints; None for none.
        seed: of the data split and the order of batches.
    """

    cell: str
    network: str
    shape: tuple
    dataset: str
    side: int
    train_per_class: int
    test_per_class: int | None
    learning_rates: tuple[float, ...]
    epochs: int
    record_at: tuple[int, ...]
    drop_every: int
    initialisations: tuple[str, ...] = ("lecun_normal", "uniform", "he_normal")
    seeds: tuple[int, ...] = (0, 1, 2)
    loss: str = "mse"
    batch_per_class: int = 12
    per_class: int = 12
    kernel_per_class: int = 4
    component_per_class: int = 2
    component_seeds: int = 1
    estimate_per_class: int = 0
    estimate_draws: int = 300
    norm_momentum: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 5e-4
    at_once: int = 3
    chunk: int = 32
    checkpoint_every: int | None = None
    seed: int = 2305

    def __post_init__(self):
        """Refuse what cannot be trained or measured.

        Raises:
            ValueError: for an unknown network or loss, more samples in a batch or a
                metric than there are, a kernel on single samples, or halves of an odd number.
        """
        for name, value, known in (
            ("network", self.network, NETWORKS),
            ("loss", self.loss, LOSSES),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(known)}")
        if not 1 <= self.batch_per_class <= self.train_per_class:
            raise ValueError(
                f"a batch with {self.batch_per_class} samples of each class cannot be made from "
                f"{self.train_per_class}"
            )
        if not 2 <= self.kernel_per_class <= self.per_class <= self.train_per_class:
            raise ValueError(
                "need 2 ≤ kernel_per_class ≤ per_class ≤ train_per_class, not "
                f"{self.kernel_per_class}, {self.per_class}, {self.train_per_class}"
            )
        if self.estimate_per_class and (
            self.per_class % 2
            or not self.per_class <= self.estimate_per_class <= self.train_per_class
        ):
            raise ValueError(
                "estimates from halves need per_class ≤ estimate_per_class ≤ train_per_class and "
                f"per_class is even, not {self.per_class}, {self.estimate_per_class}, "
                f"{self.train_per_class}"
            )

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The settings of one cell.

        Raises:
            ValueError: for an unknown cell or scale.
        """
        level = workspace.SCALES.index(workspace.check_scale(scale))
        if cell not in CELLS:
            raise ValueError(f"unknown cell {cell!r}: choose one of {', '.join(CELLS)}")
        smoke = {
            "train_per_class": 12,
            "test_per_class": 10,
            "epochs": 4,
            "record_at": (0, 2, 4),
            "drop_every": 2,
            "initialisations": ("lecun_normal", "he_normal"),
            "seeds": (0, 1),
            "per_class": 4,
            "kernel_per_class": 2,
            "component_per_class": 1,
            "at_once": 2,
        }
        if cell == "digits":
            settings = {"dataset": "digits", "side": 8, "network": "resnet"}
            if level == 0:
                rates = (0.3, 1.0)
                few = {"learning_rates": rates, "component_seeds": 0}
                return cls(cell, shape=((12,), (1,)), **few, **settings, **smoke)
            epochs = (0, 80, 400)[level]
            rates = ((), (0.1, 0.3, 0.8), tuple(np.geomspace(0.02, 4, 10)))[level]
            grid = {"initialisations": ("lecun_normal", "uniform")} if level == 1 else {}
            return cls(
                cell,
                shape=((6, 12, 24), (1, 1, 1)),
                learning_rates=tuple(map(float, rates)),
                train_per_class=(0, 36, 72)[level],
                test_per_class=100,
                epochs=epochs,
                record_at=spaced(epochs, (0, 6, 20)[level]),
                kernel_per_class=(0, 3, 12)[level],
                drop_every=epochs // 2,
                **settings,
                **grid,
            )
        loss = "ce" if cell == "cross_entropy" else "mse"
        settings = {"dataset": "mnist5k", "side": 14, "network": "cnn", "loss": loss}
        settings["component_seeds"] = int(loss == "mse")
        settings["estimate_per_class"] = (12, 36, 100)[level] if loss == "mse" else 0
        if level == 0:
            return cls(cell, shape=((12,),), learning_rates=(1.0, 1e9), **settings, **smoke)
        # cross-entropy needs longer: its gradient fades once the labels are learnt
        epochs = ((0, 180, 1200) if loss == "mse" else (0, 360, 2400))[level]
        low, high = (0.25, 4.0) if loss == "mse" else (0.03, 0.6)
        count = ((0, 5, 10) if loss == "mse" else (0, 4, 10))[level]
        return cls(
            cell,
            shape=((8, 16, 32),),
            learning_rates=tuple(float(r) for r in np.geomspace(low, high, count)),
            train_per_class=(0, 36, 300)[level],
            test_per_class=150,
            epochs=epochs,
            record_at=spaced(epochs, (0, 9, 30)[level]),
            kernel_per_class=(0, 3, 12)[level],
            drop_every=epochs // 2,
            **settings,
        )


def spaced(last: int, count: int) -> tuple[int, ...]:
    """About `count` epochs from 0 to `last`, closer together at the start."""
    return tuple(sorted({round(last * (k / (count - 1)) ** 2) for k in range(count)}))
