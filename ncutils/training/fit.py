r"""Gradient descent on one network or on an ensemble at once, resumable to the last bit.

One epoch is one pass over the data: one step with the full batch, or one step for each
batch, balanced or drawn at random. With momentum $m$, weight decay $\lambda$ and step $\eta$,

$$v \leftarrow m\,v + \nabla \mathcal L + \lambda w, \qquad w \leftarrow w - \eta\, v,$$

the convention of PyTorch's SGD: decay enters the momentum. `Recipe` has the variants:
Nesterov's look ahead, decay on kernels only, a step that drops by stairs. Batch norm uses
each batch's own statistics and moves its running ones along.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray
from tqdm import tqdm

from ncutils import data, models
from ncutils.training import checkpoint as _checkpoint
from ncutils.training.losses import cross_entropy, half_squared_error, mean_squared_error
from ncutils.training.recipe import Recipe

__all__ = [
    "Fitted",
    "Measure",
    "Recipe",
    "cross_entropy",
    "fit",
    "fit_ensemble",
    "half_squared_error",
    "mean_squared_error",
]

# measure(model, start, X, targets) -> named arrays; `start` is the network at epoch 0.
Measure = Callable[[Any, Any, Array, Array], dict[str, Array]]


@dataclass(frozen=True)
class Fitted:
    """A trained network (or a stack of them) and what was recorded on the way.

    Attributes:
        model: the network; with a leading axis of runs for an ensemble.
        epochs: the epochs at which it was measured.
        records: what `measure` returned, stacked: epochs first, then runs.
        diverged: whether a parameter is no longer finite; one entry for each run.
    """

    model: Any
    epochs: tuple[int, ...]
    records: dict[str, np.ndarray]
    diverged: Bool[np.ndarray, "..."]


@dataclass(frozen=True)
class _Setup:
    """The part of a run that is fixed when it is compiled."""

    recipe: Recipe  # with step and epochs blanked: other values need no new compilation
    loss: Callable
    measure: Measure | None
    labels: tuple[int, ...] | None
    runs: int | None
    at_once: int | None
    shared_data: bool


def _over_runs(setup: _Setup, function, run, examples):
    """`function(run, examples)`, or that for each run of an ensemble."""
    if setup.runs is None:
        return function(run, examples)
    if setup.shared_data:
        shared = examples
        function, examples = (lambda run, _, inner=function: inner(run, shared)), None
    if setup.at_once is None or setup.at_once >= setup.runs:
        return jax.vmap(function)(run, examples)
    return jax.lax.map(lambda pair: function(*pair), (run, examples), batch_size=setup.at_once)


@eqx.filter_jit
def _begin(model, learning_rate, setup):
    weights = models.partition(model)[0]
    start = lambda weights, eta: setup.recipe.optimiser(eta).init(weights)  # noqa: E731
    return (start if setup.runs is None else jax.vmap(start))(weights, learning_rate)


@eqx.filter_jit
def _advance(model, memory, learning_rate, keys, X, targets, first, last, setup):
    """Epochs `first` to `last` - 1; the bounds are traced, so that it compiles once."""
    weights, held, static = models.partition(model)

    def one(run, examples):
        weights, held, memory, eta, key = run
        X, targets = examples

        def loss(weights, held, X, targets):
            model = eqx.combine(weights, held, static)
            outputs, moved = models.batch_logits(model, X)
            return setup.loss(outputs, targets), models.partition(moved)[1]

        def step(carry, batch, eta):
            weights, held, memory = carry
            slope, held = jax.grad(loss, has_aux=True)(weights, held, *batch)
            change, memory = setup.recipe.optimiser(eta).update(slope, memory, weights)
            return optax.apply_updates(weights, change), held, memory

        def epoch(number, carry):
            now = setup.recipe.step_at(number, eta)
            batches = _batches(setup, len(X), jax.random.fold_in(key, number))
            if batches is None:
                return step(carry, (X, targets), now)
            over = lambda carry, rows: (step(carry, (X[rows], targets[rows]), now), None)  # noqa: E731
            return jax.lax.scan(over, carry, batches)[0]

        return jax.lax.fori_loop(first, last, epoch, (weights, held, memory))

    runs = (weights, held, memory, learning_rate, keys)
    weights, held, memory = _over_runs(setup, one, runs, (X, targets))
    return eqx.combine(weights, held, static), memory


def _batches(setup: _Setup, n: int, key) -> Array | None:
    """Row numbers of the batches of an epoch, one batch a row; None if it is one of all rows."""
    if setup.recipe.batch_size is not None:
        return data.random_batches(n, setup.recipe.batch_size, key=key)
    if setup.labels is None:
        return None
    return data.balanced_batches(
        np.array(setup.labels),
        num_classes=max(setup.labels) + 1,
        per_class=setup.recipe.per_class,
        key=key,
    )


@eqx.filter_jit
def _measured(model, start, X, targets, setup):
    dynamic, static = eqx.partition((model, start), eqx.is_array)

    def one(run, examples):
        return setup.measure(*eqx.combine(run, static), *examples)

    return _over_runs(setup, one, dynamic, (X, targets))


def _check(X, targets, recipe, labels, record_at, setup, key):
    lead = 0 if setup.runs is None or setup.shared_data else 1
    if X.shape[: lead + 1] != targets.shape[: lead + 1]:
        raise ValueError(f"X has shape {X.shape}, targets {targets.shape}: rows do not match")
    if lead and X.shape[0] != setup.runs:
        raise ValueError(f"{setup.runs} networks, but data of shape {X.shape} for {X.shape[0]}")
    if list(record_at) != sorted({int(e) for e in record_at if 0 <= e <= recipe.epochs}):
        raise ValueError(
            f"record_at is a rising list of epochs from 0 to {recipe.epochs}, not {record_at}"
        )
    if record_at and setup.measure is None:
        raise ValueError("record_at needs measure, the function that says what to record")
    if recipe.per_class is not None and labels is None:
        raise ValueError("balanced batches need the labels")
    if (recipe.per_class is not None or recipe.batch_size is not None) and key is None:
        raise ValueError("batches need a random key for their order")
    if labels is not None and np.shape(labels) != (X.shape[lead],):
        raise ValueError(f"labels have shape {np.shape(labels)}, X has {X.shape[lead]} rows")


def fit(
    model,
    X: Float[Array, "..."],
    targets: Float[Array, "..."],
    recipe: Recipe,
    *,
    loss: Callable = mean_squared_error,
    measure: Measure | None = None,
    record_at: Sequence[int] = (),
    labels=None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    progress: str | None = None,
    key: PRNGKeyArray | None = None,
) -> Fitted:
    """Train one network.

    Args:
        model: a network of `models`; its inexact arrays are trained, in their own dtype.
        X: n examples.
        targets: n × C, what `loss` compares the outputs with.
        recipe: step, epochs, momentum, decay, batches.
        loss: loss(outputs, targets) -> scalar; a named function, not a new lambda each
            call, so that it compiles once.
        measure: measure(model, start, X, targets) -> dict of arrays, with `start` the
            network at epoch 0. The same rule about lambdas.
        record_at: epochs after which to measure, rising; 0 is before the first step.
        labels: n labels, needed for balanced batches.
        checkpoint: a file to write the state to and to go on from if it is there.
        checkpoint_every: epochs between two writes.
        progress: text of the progress bar; None for no bar.
        key: random key, for the order of the batches.

    Returns:
        `Fitted`. A run that was stopped and went on is equal in every bit to one that
        was not. A run that diverged says so and has records that are not finite.

    Raises:
        ValueError: on shapes that do not match, epochs out of range, missing labels, or
            a checkpoint that is damaged or of another run.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from ncutils import models, training
        >>> network = models.mlp((2, 4, 1), activation="relu", key=jax.random.key(0))
        >>> X, targets = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[1.0], [-1.0]])
        >>> recipe = training.Recipe(learning_rate=0.1, epochs=3, momentum=0.9)
        >>> bool(training.fit(network, X, targets, recipe).diverged)
        False
    """
    setup = _setup(recipe, loss, measure, labels, None, None, False)
    _check(X, targets, recipe, labels, record_at, setup, key)
    eta = jnp.asarray(recipe.learning_rate, _first_leaf(model).dtype)
    keys = jax.random.key(0) if key is None else key
    state = (model, eta, keys)
    return _train(
        state, X, targets, recipe, setup, record_at, checkpoint, checkpoint_every, progress
    )


def fit_ensemble(
    networks,
    X: Float[Array, "..."],
    targets: Float[Array, "..."],
    recipe: Recipe,
    *,
    learning_rates: Float[Array, " r"] | None = None,
    shared_data: bool = False,
    at_once: int | None = None,
    loss: Callable = mean_squared_error,
    measure: Measure | None = None,
    record_at: Sequence[int] = (),
    labels=None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    progress: str | None = None,
    key: PRNGKeyArray | Key[Array, " r"] | None = None,
) -> Fitted:
    """Train r networks of one shape at once.

    Args:
        networks: a network whose arrays have a leading axis of r runs, as
            `equinox.filter_vmap` of its constructor over keys makes it.
        X, targets: r × n of each, or n for all if `shared_data`.
        recipe: as in `fit`.
        learning_rates: one η for each run, in place of the recipe's.
        shared_data: whether all runs see the same examples.
        at_once: how many runs go through one `vmap`; the others wait. All by default.
            On a CPU a few large networks run faster one by one, out of the cache.
        loss, measure, record_at, labels, checkpoint, checkpoint_every, progress: as in
            `fit`; `labels` are those of every run.
        key: random key, from which each run gets its own order of batches; or r keys, one
            for each run.

    Returns:
        `Fitted` with a leading axis of runs.

    Raises:
        ValueError: as for `fit`; also for learning rates, or keys, of another number.
    """
    runs = _first_leaf(networks).shape[0]
    setup = _setup(recipe, loss, measure, labels, runs, at_once, shared_data)
    _check(X, targets, recipe, labels, record_at, setup, key)
    rates = np.full(runs, recipe.learning_rate) if learning_rates is None else learning_rates
    if np.shape(rates) != (runs,) or not np.all(np.asarray(rates) > 0):
        raise ValueError(f"{runs} positive learning rates are needed, not {rates}")
    eta = jnp.asarray(rates, _first_leaf(networks).dtype)
    keys = jax.random.key(0) if key is None else key
    keys = keys if keys.shape == (runs,) else jax.random.split(keys, runs)
    state = (networks, eta, keys)
    return _train(
        state, X, targets, recipe, setup, record_at, checkpoint, checkpoint_every, progress
    )


def _first_leaf(model) -> Array:
    return jax.tree.leaves(models.partition(model)[0])[0]


def _setup(recipe, loss, measure, labels, runs, at_once, shared_data) -> _Setup:
    fixed = None if recipe.per_class is None or labels is None else tuple(map(int, labels))
    blank = replace(recipe, learning_rate=1.0, epochs=0)
    return _Setup(blank, loss, measure, fixed, runs, at_once, shared_data)


def _train(
    state, X, targets, recipe, setup, record_at, checkpoint, checkpoint_every, progress
) -> Fitted:
    model, eta, keys = state
    start, record_at = model, tuple(map(int, record_at))
    memory = _begin(model, eta, setup)
    records = {}
    if record_at:
        shapes = eqx.filter_eval_shape(_measured, model, start, X, targets, setup)
        records = {
            name: np.full((len(record_at), *shape.shape), np.nan, shape.dtype)
            for name, shape in shapes.items()
        }
    settings = {
        **asdict(recipe),
        "loss": setup.loss.__qualname__,
        "measure": setup.measure.__qualname__ if setup.measure else None,
        "record_at": list(record_at),
        "start": _checkpoint.digest(eqx.filter(model, eqx.is_array)),
        "data": _checkpoint.digest(X, targets, eta, setup.labels or ()),
        "key": _checkpoint.digest(jax.random.key_data(keys)),
    }
    epoch, epochs = 0, recipe.epochs
    if checkpoint is not None and Path(checkpoint).is_file():
        epoch, (model, memory, records) = _checkpoint.resume(
            Path(checkpoint), settings, (model, memory, records)
        )
    else:
        _record(records, record_at, epoch, model, start, X, targets, setup)
    bar = tqdm(total=epochs, initial=epoch, desc=progress, unit="epoch", disable=progress is None)
    halts = {epochs, *record_at, *range(0, epochs, max(1, epochs // 50))}
    if checkpoint is not None:
        halts |= set(range(0, epochs, checkpoint_every))
    with bar:
        for halt in sorted(halt for halt in halts if halt > epoch):
            model, memory = _advance(
                model, memory, eta, keys, X, targets, jnp.asarray(epoch), jnp.asarray(halt), setup
            )
            _record(records, record_at, halt, model, start, X, targets, setup)
            bar.update(halt - epoch)
            epoch = halt
            if checkpoint is not None and (epoch % checkpoint_every == 0 or epoch == epochs):
                _checkpoint.save(Path(checkpoint), settings, epoch, (model, memory, records))
    return Fitted(model, record_at, records, _diverged(model, setup.runs))


def _diverged(model, runs) -> np.ndarray:
    """Whether some parameter of each run is not finite."""
    leaves = jax.tree.leaves(models.partition(model)[0])
    axes = lambda leaf: tuple(range(0 if runs is None else 1, leaf.ndim))  # noqa: E731
    broken = [~np.isfinite(leaf).all(axis=axes(leaf)) for leaf in map(np.asarray, leaves)]
    return np.asarray(np.any(broken, axis=0))


def _record(records, record_at, epoch, model, start, X, targets, setup) -> None:
    if epoch in record_at:
        for name, value in _measured(model, start, X, targets, setup).items():
            records[name][record_at.index(epoch)] = np.asarray(value)
