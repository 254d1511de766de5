r"""How a run is trained: the recipe and the optimiser that it stands for."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

DECAYED = ("all", "kernels")


@dataclass(frozen=True)
class Recipe:
    r"""How to train: everything that decides a run besides network, data and key.

    Attributes:
        learning_rate: η.
        epochs: passes over the data.
        momentum: m.
        weight_decay: λ, on the parameters that `decayed` names.
        per_class: samples of each class in a balanced batch.
        batch_size: samples in a batch drawn at random; without it and `per_class` a batch
            is all of the data.
        nesterov: whether the step looks ahead, $w \leftarrow w - \eta (g + m v)$ with g the
            gradient and v the new memory.
        decayed: "all" parameters, or "kernels" only: those with two axes or more.
        drop_every: epochs after which η is multiplied by `drop`, again and again; None
            for a constant step.
        drop: that factor.

    Raises:
        ValueError: for a number out of its range.
    """

    learning_rate: float
    epochs: int
    momentum: float = 0.0
    weight_decay: float = 0.0
    per_class: int | None = None
    batch_size: int | None = None
    nesterov: bool = False
    decayed: str = "all"
    drop_every: int | None = None
    drop: float = 0.1

    def __post_init__(self):
        if not (self.learning_rate > 0 and self.epochs >= 0):
            raise ValueError(f"need learning_rate > 0 and epochs ≥ 0, not {self}")
        if not (0 <= self.momentum < 1 and self.weight_decay >= 0):
            raise ValueError(f"need 0 ≤ momentum < 1 and weight_decay ≥ 0, not {self}")
        if self.nesterov and self.momentum == 0:
            raise ValueError(f"need momentum > 0 to look ahead, not {self}")
        if self.per_class is not None and self.batch_size is not None:
            raise ValueError(f"batches are balanced or drawn at random, not both: {self}")
        if not all(size is None or size >= 1 for size in (self.per_class, self.batch_size)):
            raise ValueError(f"need a sample or more in a batch, not {self}")
        if self.decayed not in DECAYED:
            raise ValueError(f"need decayed from {', '.join(DECAYED)}, not {self}")
        if not (self.drop_every is None or self.drop_every >= 1) or not 0 < self.drop <= 1:
            raise ValueError(f"need drop_every ≥ 1 and 0 < drop ≤ 1, not {self}")

    def step_at(self, epoch, learning_rate):
        """η in an epoch, counted from 0: `learning_rate` times the drops so far."""
        if self.drop_every is None:
            return learning_rate
        return learning_rate * jnp.asarray(self.drop, learning_rate.dtype) ** (
            epoch // self.drop_every
        )

    def optimiser(self, learning_rate) -> optax.GradientTransformation:
        """Decay, which enters the momentum, then the step."""
        mask = None
        if self.decayed == "kernels":
            mask = lambda weights: jax.tree.map(lambda leaf: leaf.ndim > 1, weights)  # noqa: E731
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay, mask=mask),
            optax.sgd(learning_rate, momentum=self.momentum or None, nesterov=self.nesterov),
        )
