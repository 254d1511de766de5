"""Training: against gradient descent by hand, in ensembles, stopped and resumed."""

import dataclasses
import importlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import data, models, training
from tests.oracles import gradient_descent, scheduled_descent

jax.config.update("jax_enable_x64", True)

loop = importlib.import_module("ncutils.training.fit")  # hidden by the function of that name

RECIPE = training.Recipe(0.05, 12, momentum=0.9, weight_decay=0.01)
BATCHED = training.Recipe(0.1, 1, per_class=2)
LABELS = np.repeat([0, 1], 6)


class Affine(eqx.Module):
    """The read-out alone, whose descent can be written by hand."""

    layer: models.Dense

    def __call__(self, x):
        return self.layer(x)


def affine(key):
    keys = jax.random.split(key)
    return Affine(models.Dense(jax.random.normal(keys[0], (2, 3)), jnp.zeros(2)))


def examples(key, runs=()):
    keys = jax.random.split(jax.random.fold_in(key, 7))
    return jax.random.normal(keys[0], (*runs, 12, 3)), jax.random.normal(keys[1], (*runs, 12, 2))


def measure(model, start, X, targets):
    moved = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), model, start)
    loss = training.mean_squared_error(models.logits(model, X), targets)
    return {"loss": loss, "moved": sum(jax.tree.leaves(moved))}


def same(a, b):
    return all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.01)])
def test_full_batch_descent_is_sgd_with_momentum_and_decay(momentum, decay, key):
    X, T = examples(key)
    model = affine(key)
    recipe = training.Recipe(0.05, 12, momentum=momentum, weight_decay=decay)
    layer = training.fit(model, X, T, recipe).model.layer
    start = [np.asarray(part) for part in (model.layer.weight, model.layer.bias, X, T)]

    def by_hand(**changed):
        options = {"steps": 12, "rate": 0.05, "momentum": momentum, "decay": decay, **changed}
        return gradient_descent(*start, **options)

    np.testing.assert_allclose(layer.weight, by_hand()[0], rtol=1e-11)
    np.testing.assert_allclose(layer.bias, by_hand()[1], rtol=1e-10, atol=1e-14)
    for broken in ({"steps": 11}, {"decay": 0.1}, {"momentum": 0.5}):
        assert np.abs(layer.weight - by_hand(**broken)[0]).max() > 1e-4


@pytest.mark.parametrize("broken", [{"nesterov": False}, {"drop_every": None}, {"decayed": "all"}])
def test_nesterov_stairs_and_decay_on_kernels_are_those_of_a_loop(broken, key):
    X, T = examples(key)
    model = affine(key)
    model = eqx.tree_at(lambda net: net.layer.bias, model, jnp.ones(2))
    recipe = training.Recipe(
        *(0.2, 9),
        momentum=0.9,
        weight_decay=0.1,
        nesterov=True,
        decayed="kernels",
        drop_every=4,
        drop=0.5,
    )
    start = [np.asarray(part) for part in (model.layer.weight, model.layer.bias, X, T)]
    options = {"steps": 9, "rate": 0.2, "momentum": 0.9, "decay": 0.1, "drop_every": 4, "drop": 0.5}
    weight, bias = scheduled_descent(*start, **options)
    layer = training.fit(model, X, T, recipe).model.layer
    np.testing.assert_allclose(layer.weight, weight, rtol=1e-11)
    np.testing.assert_allclose(layer.bias, bias, rtol=1e-11)
    other = training.fit(model, X, T, dataclasses.replace(recipe, **broken)).model.layer
    assert np.abs(other.bias - bias).max() > 1e-4


def test_batch_norm_trains_with_the_batch_and_remembers_for_later():
    key = jax.random.key(1)
    model = models.cnn((3,), num_classes=2, momentum=0.5, dtype=jnp.float64, key=key)
    X = jax.random.normal(key, (6 * 16,)).reshape(6, 4, 4, 1)
    T = jnp.eye(2)[jnp.arange(6) % 2]
    layer = training.fit(model, X, T, training.Recipe(1e-12, 2)).model.layers[0]
    pixels = np.asarray(jax.jit(jax.vmap(model.layers[0].map))(X))
    mean, variance = pixels.mean(axis=(0, 1, 2)), pixels.var(axis=(0, 1, 2))
    np.testing.assert_allclose(layer.norm.running.mean, 0.75 * mean, rtol=1e-9)
    np.testing.assert_allclose(layer.norm.running.variance, 0.25 + 0.75 * variance, rtol=1e-9)
    far = training.fit(model, X, T, training.Recipe(0.1, 2)).model.layers[0]
    assert np.abs(far.norm.weight - 1).max() > 1e-4  # the scale is trained, and
    assert np.abs(far.norm.running.mean - 0.75 * mean).max() > 1e-4  # statistics follow


def test_a_diverged_run_is_named_and_the_others_go_on():
    networks = eqx.filter_vmap(affine)(jax.random.split(jax.random.key(0), 3))
    X, T = examples(jax.random.key(0))
    options = {"shared_data": True, "learning_rates": jnp.array([0.1, 1e30, 0.1])}
    fitted = training.fit_ensemble(networks, X, T, training.Recipe(1.0, 60), **options)
    assert fitted.diverged.tolist() == [False, True, False]
    assert np.isfinite(fitted.model.layer.weight[2]).all()
    alone = training.fit(affine(jax.random.key(0)), X, T, RECIPE)
    assert alone.diverged.shape == ()
    assert not alone.diverged


def test_losses_are_those_of_a_loop(key):
    outputs, targets = jax.random.normal(key, (5, 3)), jnp.eye(3)[jnp.array([0, 1, 2, 1, 0])]
    F, T = np.asarray(outputs), np.asarray(targets)
    softmax = np.exp(F) / np.exp(F).sum(axis=1, keepdims=True)
    entropy = -np.mean([np.log(softmax[i, T[i].argmax()]) for i in range(5)])
    np.testing.assert_allclose(training.cross_entropy(outputs, targets), entropy, rtol=1e-12)
    half = training.half_squared_error(outputs, targets)
    np.testing.assert_allclose(half, 0.5 * np.mean((F - T) ** 2), rtol=1e-12)
    assert abs(float(half) - entropy) > 1e-2


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("loss", [training.cross_entropy, training.half_squared_error])
def test_losses_refuse_targets_of_another_shape(loss):
    with pytest.raises(ValueError, match=r"outputs have shape \(4, 3\), targets \(4, 2\)"):
        loss(jnp.ones((4, 3)), jnp.ones((4, 2)))


def test_a_batch_that_cannot_be_balanced_is_refused(key):
    X, T = examples(key)
    recipe = training.Recipe(0.1, 1, per_class=7)
    with pytest.raises(ValueError, match=r"per_class=7 must be between 1 and 6"):
        training.fit(affine(key), X, T, recipe, labels=LABELS, key=key)


def test_an_ensemble_is_its_members_trained_alone():
    keys = jax.random.split(jax.random.key(1), 3)
    networks = eqx.filter_vmap(affine)(keys)
    X, T = examples(keys[0], (3,))
    rates = jnp.array([0.05, 0.02, 0.01])
    options = {"measure": measure, "record_at": (0, 5, 12)}
    fits = [
        training.fit_ensemble(
            networks, X, T, RECIPE, learning_rates=rates, at_once=at_once, **options
        )
        for at_once in (None, 1)
    ]
    for r, rate in enumerate(rates):
        recipe = dataclasses.replace(RECIPE, learning_rate=float(rate))
        alone = training.fit(affine(keys[r]), X[r], T[r], recipe, **options)
        for fit in fits:
            np.testing.assert_allclose(
                fit.model.layer.weight[r], alone.model.layer.weight, rtol=1e-12
            )
            np.testing.assert_allclose(fit.records["loss"][:, r], alone.records["loss"], rtol=1e-12)
    assert fits[0].records["loss"].shape == (3, 3)
    assert np.abs(fits[0].model.layer.weight[0] - alone.model.layer.weight).max() > 1e-2


def test_runs_can_share_their_data():
    keys = jax.random.split(jax.random.key(2), 2)
    X, T = examples(keys[0])
    networks = eqx.filter_vmap(affine)(keys)
    shared = training.fit_ensemble(networks, X, T, RECIPE, shared_data=True)
    alone = training.fit(affine(keys[1]), X, T, RECIPE)
    np.testing.assert_allclose(shared.model.layer.weight[1], alone.model.layer.weight, rtol=1e-12)


def test_records_are_taken_at_the_epochs_asked_for(key):
    X, T = examples(key)
    fit = training.fit(affine(key), X, T, RECIPE, measure=measure, record_at=(0, 1, 12))
    assert fit.epochs == (0, 1, 12)
    assert fit.records["moved"][0] == 0
    assert (np.diff(fit.records["loss"]) < 0).all()
    for at, epochs in enumerate(fit.epochs):
        recipe = dataclasses.replace(RECIPE, epochs=epochs)
        shorter = training.fit(affine(key), X, T, recipe).model
        loss = training.mean_squared_error(models.logits(shorter, X), T)
        np.testing.assert_allclose(fit.records["loss"][at], loss, rtol=1e-12)


def test_balanced_batches_visit_each_sample_once_an_epoch_in_an_order_set_by_the_key(key):
    # One sample a class, decay and momentum off, a step so small that the gradients of an
    # epoch add up: the sum over batches is then the number of batches times the mean.
    X, T = examples(key)
    model, few = affine(key), training.Recipe(1e-7, 1, per_class=1)
    in_batches = training.fit(model, X, T, few, labels=LABELS, key=key).model
    full = training.fit(model, X, T, training.Recipe(6e-7, 1)).model
    step = full.layer.weight - model.layer.weight
    np.testing.assert_allclose(in_batches.layer.weight - model.layer.weight, step, rtol=1e-4)

    recipe = training.Recipe(0.05, 2, per_class=2)
    one = training.fit(model, X, T, recipe, labels=LABELS, key=key).model
    again = training.fit(model, X, T, recipe, labels=LABELS, key=key).model
    other = training.fit(model, X, T, recipe, labels=LABELS, key=jax.random.key(99)).model
    assert same(one, again)
    assert not same(one, other)


def test_random_batches_are_steps_by_hand_and_momentum_lasts_over_epochs(key):
    X, T = examples(key)
    model, recipe = affine(key), training.Recipe(0.05, 2, momentum=0.9, batch_size=5)
    fitted = training.fit(model, X, T, recipe, key=key).model.layer
    parts = (model.layer.weight, model.layer.bias, X, T)
    W, b, X, T = (np.asarray(part, float) for part in parts)
    speed, calm = [0.0, 0.0], None
    for epoch in range(2):
        rows = data.random_batches(12, 5, key=jax.random.fold_in(key, epoch))
        assert rows.shape == (2, 5)  # two rows sit out
        for batch in np.asarray(rows):
            error = (X[batch] @ W.T + b - T[batch]) * 2 / T[batch].size
            speed = [
                0.9 * v + g for v, g in zip(speed, (error.T @ X[batch], error.sum(0)), strict=True)
            ]
            W, b = W - 0.05 * speed[0], b - 0.05 * speed[1]
        calm = 0.05 * 0.9 * speed[0] if epoch == 0 else calm
    np.testing.assert_allclose(fitted.weight, W, rtol=1e-12)
    np.testing.assert_allclose(fitted.bias, b, rtol=1e-12)
    assert np.abs(calm).max() > 1e-3  # what forgetting the memory after an epoch would change


def test_random_batches_hold_each_row_once_at_most_and_others_each_epoch(key):
    first, second = (data.random_batches(10, 3, key=jax.random.fold_in(key, k)) for k in (0, 1))
    assert first.shape == (3, 3)
    assert len(np.unique(first)) == 9
    assert not np.array_equal(first, second)
    with pytest.raises(ValueError, match="batch_size=11 must be between 1 and 10"):
        data.random_batches(10, 11, key=key)


def test_a_run_with_a_key_of_its_own_does_not_depend_on_the_others(key):
    X, T = examples(key)
    keys = jax.random.split(key, 3)
    networks, recipe = eqx.filter_vmap(affine)(keys), training.Recipe(0.05, 3, batch_size=4)
    both = [
        training.fit_ensemble(networks, X, T, recipe, shared_data=True, key=one).model.layer.weight
        for one in (keys, keys.at[0].set(jax.random.key(9)))
    ]
    alone = training.fit(affine(keys[2]), X, T, recipe, key=keys[2]).model.layer.weight
    np.testing.assert_allclose(both[0][2], alone, rtol=1e-12)
    np.testing.assert_allclose(both[1][2], alone, rtol=1e-12)
    assert np.abs(both[0][0] - both[1][0]).max() > 1e-4


class Stop(Exception):
    """Stands for a machine that goes down."""


class Bar(loop.tqdm):
    """A progress bar that brings the run down at epoch 8."""

    def update(self, n=1):
        super().update(n)
        if self.n >= 8:
            raise Stop


def interrupted(monkeypatch, *args, **options):
    with monkeypatch.context() as patch:
        patch.setattr(loop, "tqdm", Bar)
        with pytest.raises(Stop):
            training.fit(*args, progress="a run", **options)


def test_a_stopped_run_that_goes_on_equals_one_that_never_stopped(tmp_path, monkeypatch):
    key, file = jax.random.key(3), tmp_path / "state"
    X, T = examples(key)
    recipe = training.Recipe(0.05, 12, momentum=0.9, per_class=2)
    args = (affine(key), X, T, recipe)
    options = {"measure": measure, "record_at": (0, 3, 6, 12), "labels": LABELS, "key": key}
    whole = training.fit(*args, **options)
    saved = {**options, "checkpoint": file, "checkpoint_every": 5}
    interrupted(monkeypatch, *args, **saved)
    assert b'"epoch": 5' in file.read_bytes()
    resumed = training.fit(*args, **saved)
    assert same(whole.model, resumed.model)
    assert same(whole.records, resumed.records)
    assert b'"epoch": 12' in file.read_bytes()
    assert same(training.fit(*args, **saved).records, whole.records)  # already done
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused_and_kept(tmp_path):
    key, file = jax.random.key(4), tmp_path / "state"
    X, T = examples(key)
    training.fit(affine(key), X, T, RECIPE, checkpoint=file)
    good = file.read_bytes()
    for other, args in (
        ("momentum", (affine(key), X, T, dataclasses.replace(RECIPE, momentum=0.5))),
        ("data", (affine(key), X + 1, T, RECIPE)),
        ("start", (affine(jax.random.key(5)), X, T, RECIPE)),
    ):
        with pytest.raises(ValueError, match=f"another run .it differs in .*{other}"):
            training.fit(*args, checkpoint=file)
        assert file.read_bytes() == good
    for broken, message in ((good[:-40], "is damaged"), (b"\x93NUMPY", "not a checkpoint")):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=message):
            training.fit(affine(key), X, T, RECIPE, checkpoint=file)
        assert file.read_bytes() == broken


def test_a_full_disk_keeps_the_older_checkpoint(tmp_path, monkeypatch):
    key, file = jax.random.key(4), tmp_path / "state"
    X, T = examples(key)
    options = {"checkpoint": file, "checkpoint_every": 5}
    interrupted(monkeypatch, affine(key), X, T, RECIPE, **options)
    older = file.read_bytes()

    def full(file, tree):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(eqx, "tree_serialise_leaves", full)
    with pytest.raises(OSError, match="No space left"):
        training.fit(affine(key), X, T, RECIPE, **options)
    assert file.read_bytes() == older
    assert len(list(tmp_path.iterdir())) == 1


def test_a_step_too_large_shows_as_records_that_are_not_finite():
    key = jax.random.key(6)
    X, T = examples(key)
    options = {"measure": measure, "record_at": (0, 500)}
    wild = training.fit(affine(key), 1e3 * X, T, training.Recipe(1.0, 500), **options)
    assert np.isfinite(wild.records["loss"][0])
    assert not np.isfinite(wild.records["loss"][1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": jnp.zeros((11, 2))}, "rows do not match"),
        ({"targets": jnp.zeros((12, 1))}, r"outputs have shape \(12, 2\), targets \(12, 1\)"),
        ({"record_at": (0, 13), "measure": measure}, "epochs from 0 to 12"),
        ({"record_at": (5, 2), "measure": measure}, "rising list"),
        ({"record_at": (0,)}, "needs measure"),
        ({"recipe": BATCHED}, "need the labels"),
        ({"recipe": BATCHED, "labels": LABELS}, "need a random key"),
        ({"recipe": training.Recipe(0.1, 1, batch_size=4)}, "need a random key"),
        ({"recipe": BATCHED, "labels": LABELS[1:], "key": jax.random.key(0)}, "X has 12 rows"),
    ],
)
def test_runs_that_cannot_be_are_refused(change, message):
    X, T = examples(jax.random.key(0))
    args = {"targets": T, "recipe": RECIPE, **change}
    with pytest.raises(ValueError, match=message):
        training.fit(affine(jax.random.key(0)), X, **args)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.0},
        {"epochs": -1},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"learning_rate": float("nan")},
        {"nesterov": True},
        {"decayed": "biases"},
        {"drop_every": 0},
        {"drop": 0.0},
        {"per_class": 2, "batch_size": 4},
        {"batch_size": 0},
    ],
)
def test_recipes_that_cannot_be_are_refused(change):
    with pytest.raises(ValueError, match=r"need|not both"):
        training.Recipe(**{"learning_rate": 0.1, "epochs": 1, **change})


def test_ensembles_need_one_learning_rate_and_one_data_set_a_run():
    networks = eqx.filter_vmap(affine)(jax.random.split(jax.random.key(0), 3))
    X, T = examples(jax.random.key(0), (3,))
    with pytest.raises(ValueError, match="3 positive learning rates"):
        training.fit_ensemble(networks, X, T, RECIPE, learning_rates=jnp.ones(2))
    with pytest.raises(ValueError, match="3 networks, but data"):
        training.fit_ensemble(networks, X[:2], T[:2], RECIPE)
