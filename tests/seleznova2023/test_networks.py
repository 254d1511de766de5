"""Networks that collapse or not: metrics as P2 defines them, the grid, what must be refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import data, experiments, metrics, models
from ncutils.experiments.seleznova2023 import measures, network_pairs, networks
from tests import oracles

C, m = 3, 4
LABELS = np.repeat(np.arange(C), m)

TINY = networks.Grid(
    network="cnn",
    shape=((2, 3),),
    dataset="digits",
    side=4,
    train_per_class=3,
    test_per_class=2,
    learning_rates=(0.05, 1e9),
    epochs=2,
    record_at=(0, 2),
    drop_every=1,
    initialisations=("lecun_normal",),
    seeds=(0, 1),
    batch_per_class=1,
    per_class=3,
    kernel_per_class=2,
    component_per_class=1,
    at_once=2,
)


@pytest.fixture(scope="module")
def tiny():
    return networks.train(TINY)


def drawn(key, n=5):
    keys = jax.random.split(key)
    return jax.random.normal(keys[0], (C, n)), jax.random.normal(keys[1], (n, C * m))


def test_the_invariants_numbers_are_those_of_the_released_form(key):
    W, H = drawn(key)
    values = (2.0, 0.7, 0.2)
    found = measures.invariant_numbers(W, H, values, m=m, C=C)
    slow = oracles.released_invariant(np.asarray(W), np.asarray(H), *values, m=m, C=C)
    for name, value in slow.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10, err_msg=name)
    other = oracles.released_invariant(np.asarray(W), np.asarray(H), 2.0, 0.2, 0.2, m=m, C=C)
    assert abs(other["invariant_norm"] - found["invariant_norm"]) > 1e-2


def test_what_is_recorded_is_what_the_networks_show(tiny):
    train, test = networks.load(TINY)
    stack = networks.untrained(TINY, 1)

    @jax.jit
    def look(X):
        model = jax.tree.map(lambda leaf: leaf[1], stack)
        return models.features(model, X), models.logits(model, X), model.classifier.weight

    H, outputs, W = (v.astype(float) for v in look(jnp.asarray(train.x)))
    start, y = tiny.isel(run=1, epoch=0), jnp.asarray(train.y)
    for name, kind in (("nc1", "trace"), ("nc1_std", "std")):
        direct = metrics.nc1(H, y, num_classes=10, kind=kind)
        np.testing.assert_allclose(start[name], direct, rtol=1e-3)
    np.testing.assert_allclose(start.nc3, metrics.nc3(H, y, W, num_classes=10), rtol=1e-3)
    kernel = (float(start[name]) for name in ("kappa_d", "kappa_c", "kappa_n"))
    slow = oracles.released_invariant(np.asarray(W), np.asarray(H.T), *kernel, m=3, C=10)
    for name, value in slow.items():
        np.testing.assert_allclose(start[name], value, rtol=1e-2, err_msg=name)
    loss = np.mean((outputs - np.eye(10)[train.y]) ** 2) / 2
    np.testing.assert_allclose(start.loss, loss, rtol=1e-4)
    guessed = np.argmax(look(jnp.asarray(test.x))[1], axis=1)
    np.testing.assert_allclose(start.test_accuracy, np.mean(guessed == test.y))


def test_the_grid_is_labelled_and_a_seed_is_one_network_at_every_rate(tiny):
    assert tiny.learning_rate.values.tolist() == [0.05, 0.05, 1e9, 1e9]
    assert tiny.seed.values.tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(tiny.nc1[:2, 0], tiny.nc1[2:, 0])
    assert abs(float(tiny.nc1[0, 0] - tiny.nc1[1, 0])) > 1e-3
    assert tiny.sizes["sample"] == 20
    assert tiny.norms_outputs.notnull().any(("k", "s")).values.tolist() == [
        True,
        False,
        True,
        False,
    ]
    assert float(tiny.step_seconds) > 0
    assert float(tiny.step_operations) > 10 * 2 * 3 * (4 * 9 * 2 + 9 * 2 * 3)


def test_estimates_are_taken_of_the_run_that_collapsed_most_and_the_one_that_did_least(tiny):
    train, _ = networks.load(TINY)
    options = {"per_class": 2, "size": 2, "few": 2, "draws": 3, "seed": 0, "chunk": 4}
    stack, X = networks.untrained(TINY, 1), jnp.asarray(train.x)
    start = tiny.isel(epoch=slice(0, 1))
    found = measures.estimates(start, stack, X, train.y, **options)
    ends = start.nc1.values[:, 0]
    fine = ~tiny.diverged.values & (tiny.seed.values == 0)
    assert found.example_run.values.tolist() == [0, 0] == [int(np.flatnonzero(fine)[0])] * 2
    assert np.isfinite(ends).all()
    # two samples a class are what the kernels of this cell are recorded on
    recorded = [float(tiny[f"kappa_{tail}"][0, 0]) for tail in "dcn"]
    np.testing.assert_allclose(found.whole_values[0], recorded, rtol=1e-4)
    pairs = found.sel(estimator="pairs")  # of two from two: all of them, every time
    np.testing.assert_allclose(pairs.estimated_values[0], [recorded] * 3, rtol=1e-4)
    np.testing.assert_allclose(pairs.estimated_alignment[0], [found.whole_alignment[0]] * 3)
    blocks = found.sel(estimator="blocks").estimated_values[0, :, 1]
    np.testing.assert_allclose(blocks, (recorded[0] + recorded[1]) / 2, rtol=1e-4)
    assert recorded[0] > 1.001 * recorded[1]


def test_a_diverging_step_stays_in_the_result_under_its_name(tiny):
    assert tiny.diverged.values.tolist() == [False, False, True, True]
    assert tiny.nc1.isel(epoch=-1).isnull().values.tolist() == [False, False, True, True]
    assert np.isfinite(tiny.train_accuracy).all()


def test_a_grid_that_was_stopped_goes_on_from_its_checkpoint(tmp_path, tiny):
    # that a stopped run is equal in every bit is tested with the training
    file = tmp_path / "grid.eqx"
    again = networks.train(TINY, checkpoint=file)
    assert file.is_file()
    np.testing.assert_array_equal(again.nc1, tiny.nc1)
    with pytest.raises(ValueError, match="another run"):
        networks.train(dataclasses.replace(TINY, weight_decay=0.1), checkpoint=file)


def test_training_and_test_images_are_balanced_and_disjoint():
    train, test = networks.load(dataclasses.replace(TINY, side=8))
    assert train.class_sizes.tolist() == [3] * 10
    assert test.class_sizes.tolist() == [2] * 10
    rows = {x.tobytes() for x in train.x} & {x.tobytes() for x in test.x}
    assert not rows
    small, _ = networks.load(TINY)
    np.testing.assert_allclose(small.x[:, 0, 0], train.x[:, :2, :2].mean(axis=(1, 2)), rtol=1e-6)
    large, _ = networks.load(dataclasses.replace(TINY, side=10))
    assert large.x.shape == (30, 10, 10, 1)
    with pytest.raises(ValueError, match="cannot be averaged"):
        networks.load(dataclasses.replace(TINY, side=3))


def config_of(pair, scale="paper"):
    return experiments.config_of(f"seleznova2023/network_pairs/{pair}", scale=scale)


def test_the_pairs_are_the_papers_nine_with_its_schedule():
    assert len(network_pairs.PAIRS) == 9
    config = config_of("resnet20_mnist")
    assert (config.epochs, config.drop_every, config.batch_per_class) == (400, 120, 12)
    assert len(config.learning_rates) == 30
    np.testing.assert_allclose(config.learning_rates[::29], (1e-4, 10**0.25))
    shorter = config_of("vgg16_cifar10")
    assert len(shorter.learning_rates) == 20
    assert (shorter.side, shorter.kernel_per_class) == (32, 4)
    assert config_of("resnet20_mnist_cross_entropy").loss == "ce"
    tenth = config_of("resnet20_mnist", "workstation")
    assert (10 * tenth.epochs, 10 * tenth.drop_every) == (config.epochs, config.drop_every)
    assert tenth.shape == ((8, 16, 32), (3, 3, 3))
    np.testing.assert_allclose(tenth.learning_rates[-1], 10**0.25 / 3)
    with pytest.raises(ValueError, match="workstation"):
        config_of("vgg11_mnist", "workstation")
    with pytest.raises(ValueError, match="no case"):
        config_of("alexnet")


@pytest.mark.parametrize("pair", network_pairs.PAIRS)
def test_a_small_pair_is_of_its_own_architecture_and_far_smaller(pair):
    named = pair.split("_")[0].removesuffix("20")
    full, small = config_of(pair), config_of(pair, "smoke")
    assert small.network.startswith(named)
    assert (small.dataset, small.side) == (full.dataset, full.side)
    channels = 3 if full.dataset == "cifar10" else 1
    weights = [
        sum(getattr(leaf, "size", 0) for leaf in jax.tree.leaves(networks.shape_of(c, channels)))
        for c in (small, full)
    ]
    assert 0 < 100 * weights[0] < weights[1]


def test_the_cost_of_a_pair_counts_runs_steps_and_products():
    cost = network_pairs.costs(("resnet20_mnist",)).isel(pair=0)
    assert (cost.runs, cost.steps) == (90, 451 * 400)
    # a forward pass of 28 x 28 pixels has 31 million products; two more passes go back
    sides = {28: 9 * 1 * 16 + 6 * 9 * 16**2, 14: 9 * 16 * 32 + 5 * 9 * 32**2 + 16 * 32}
    sides[7] = 9 * 32 * 64 + 5 * 9 * 64**2 + 32 * 64
    products = sum(side**2 * count for side, count in sides.items())
    assert 0.9 < float(cost.operations) / (3 * 2 * 120 * products) < 1.2


def test_a_missing_data_set_is_said_before_anything_is_trained(monkeypatch):
    def missing(name, **options):
        raise data.DownloadError(f"{name} is nowhere at hand")

    monkeypatch.setattr(data, "load", missing)
    with pytest.raises(data.DownloadError, match="mnist is nowhere at hand"):
        experiments.run("seleznova2023/network_pairs/vgg11_mnist", scale="paper")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_per_class": 4}, "a batch with 4 samples of each class cannot be made from 3"),
        ({"kernel_per_class": 1}, "2 ≤ kernel_per_class"),
        ({"per_class": 5}, "per_class ≤ train_per_class"),
        ({"network": "alexnet"}, "unknown network"),
        ({"loss": "hinge"}, "unknown loss"),
        ({"estimate_per_class": 3}, "per_class is even"),
        ({"estimate_per_class": 4, "per_class": 2}, "estimate_per_class ≤ train_per_class"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)
