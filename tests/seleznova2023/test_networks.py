"""Networks that collapse or not: metrics as P2 defines them, the grid, what must be refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.stats import spearmanr

from ncutils import data, metrics, models
from ncutils.experiments.seleznova2023 import _kernel_estimates, network_pairs
from ncutils.experiments.seleznova2023 import _network_metrics as watch
from ncutils.experiments.seleznova2023 import block_ntk_networks as experiment
from tests import oracles

C, m = 3, 4
LABELS = np.repeat(np.arange(C), m)

TINY = experiment.Config(
    "mnist",
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
    return experiment.run(TINY)


def drawn(key, n=5):
    keys = jax.random.split(key)
    return jax.random.normal(keys[0], (C, n)), jax.random.normal(keys[1], (n, C * m))


def test_the_invariants_numbers_are_those_of_the_released_form(key):
    W, H = drawn(key)
    values = (2.0, 0.7, 0.2)
    found = watch.invariant_numbers(W, H, values, m=m, C=C)
    slow = oracles.released_invariant(np.asarray(W), np.asarray(H), *values, m=m, C=C)
    for name, value in slow.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10, err_msg=name)
    other = oracles.released_invariant(np.asarray(W), np.asarray(H), 2.0, 0.2, 0.2, m=m, C=C)
    assert abs(other["invariant_norm"] - found["invariant_norm"]) > 1e-2


def test_three_values_are_the_means_of_a_loop_over_pairs(key):
    A = jax.random.normal(key, (12, 12))
    K = A @ A.T
    order = np.random.default_rng(0).permutation(12)
    found = watch.three_values(K[order][:, order], LABELS[order], num_classes=C)
    pairs = {"d": [], "c": [], "n": []}
    for i in range(12):
        for j in range(12):
            kind = "d" if i == j else "c" if LABELS[i] == LABELS[j] else "n"
            pairs[kind].append(float(K[i, j]))
    np.testing.assert_allclose(found, [np.mean(v) for v in pairs.values()], rtol=1e-12)
    assert abs(found[1] - np.mean(pairs["c"] + pairs["d"])) > 1e-2
    with pytest.raises(ValueError, match="two samples"):
        watch.three_values(jnp.eye(3), np.arange(3), num_classes=3)


def test_what_is_recorded_is_what_the_networks_show(tiny):
    train, test = experiment.load(TINY)
    networks = experiment.untrained(TINY, 1)

    @jax.jit
    def look(X):
        model = jax.tree.map(lambda leaf: leaf[1], networks)
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
    train, _ = experiment.load(TINY)
    how = {"per_class": 2, "size": 2, "few": 2, "draws": 3, "seed": 0, "chunk": 4}
    networks, X = experiment.untrained(TINY, 1), jnp.asarray(train.x)
    start = tiny.isel(epoch=slice(0, 1))
    found = _kernel_estimates.estimates(start, networks, X, train.y, **how)
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


def test_every_configuration_has_a_checkpoint_of_its_own(monkeypatch, tmp_path):
    # that one which was moved is refused by its content is tested with the training
    monkeypatch.setattr(experiment.workspace, "build_dir", lambda scale: tmp_path / scale)
    longer = dataclasses.replace(TINY, checkpoint_every=1, epochs=3, record_at=(0, 3))
    other = dataclasses.replace(longer, weight_decay=0.1)
    assert experiment._checkpoint(longer) != experiment._checkpoint(other)
    assert experiment._checkpoint(longer) == experiment._checkpoint(dataclasses.replace(longer))
    assert experiment._checkpoint(TINY) is None


def test_training_and_test_images_are_balanced_and_disjoint():
    train, test = experiment.load(dataclasses.replace(TINY, side=8))
    assert train.class_sizes.tolist() == [3] * 10
    assert test.class_sizes.tolist() == [2] * 10
    rows = {x.tobytes() for x in train.x} & {x.tobytes() for x in test.x}
    assert not rows
    small, _ = experiment.load(TINY)
    np.testing.assert_allclose(small.x[:, 0, 0], train.x[:, :2, :2].mean(axis=(1, 2)), rtol=1e-6)
    large, _ = experiment.load(dataclasses.replace(TINY, side=10))
    assert large.x.shape == (30, 10, 10, 1)
    with pytest.raises(ValueError, match="cannot be averaged"):
        experiment.load(dataclasses.replace(TINY, side=3))


def test_the_pairs_are_the_papers_nine_with_its_schedule():
    assert len(network_pairs.PAIRS) == 9
    config = network_pairs.Config.at("resnet20_mnist", "paper")
    assert (config.epochs, config.drop_every, config.batch_per_class) == (400, 120, 12)
    assert len(config.learning_rates) == 30
    np.testing.assert_allclose(config.learning_rates[::29], (1e-4, 10**0.25))
    shorter = network_pairs.Config.at("vgg16_cifar10", "paper")
    assert len(shorter.learning_rates) == 20
    assert (shorter.side, shorter.kernel_per_class) == (32, 4)
    assert network_pairs.Config.at("resnet20_mnist_cross_entropy", "paper").loss == "ce"
    tenth = network_pairs.Config.at("resnet20_mnist", "workstation")
    assert (10 * tenth.epochs, 10 * tenth.drop_every) == (config.epochs, config.drop_every)
    assert tenth.shape == ((8, 16, 32), (3, 3, 3))
    np.testing.assert_allclose(tenth.learning_rates[-1], 10**0.25 / 3)
    with pytest.raises(ValueError, match="at scale paper, not at quick"):
        network_pairs.Config.at("resnet20_mnist", "quick")
    with pytest.raises(ValueError, match="at scale paper, not at workstation"):
        network_pairs.Config.at("vgg11_mnist", "workstation")
    with pytest.raises(ValueError, match="unknown cell"):
        network_pairs.Config.at("alexnet", "paper")


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
        network_pairs.run(network_pairs.Config.at("vgg11_mnist", "paper"))


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


def test_cells_have_three_scales_and_enough_seeds():
    for cell in experiment.CELLS:
        configs = [experiment.Config.at(cell, scale) for scale in ("smoke", "quick", "paper")]
        assert {config.cell for config in configs} == {cell}
        assert all(len(config.seeds) >= 3 for config in configs[1:])
        assert configs[0].epochs < configs[1].epochs < configs[2].epochs
    with pytest.raises(ValueError, match="unknown cell"):
        experiment.Config.at("cifar", "quick")
    with pytest.raises(ValueError, match="huge"):
        experiment.Config.at("mnist", "huge")


def readings():
    """Six runs of three settings at three epochs; the last one never fits, one diverged."""
    accuracy = [[0, 1, 1], [0, 0.5, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0.5], [0, 0, 0]]
    nc1 = np.arange(18.0).reshape(6, 3)
    nc1[5] = np.nan
    coords = {
        "init": ("run", ["a"] * 4 + ["b"] * 2),
        "learning_rate": ("run", [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]),
        "seed": ("run", [0, 1] * 3),
        "diverged": ("run", [False] * 5 + [True]),
        "epoch": [0, 5, 9],
    }
    grid = ("run", "epoch")
    both = {"train_accuracy": (grid, np.array(accuracy, float)), "nc1": (grid, nc1)}
    return xr.Dataset({**both, "test_accuracy": (grid, np.tile(nc1[:, :1] / 20, 3))}, coords)


def test_runs_count_from_the_epoch_at_which_they_fit():
    ds = readings()
    counted = experiment.fitted(ds)
    assert counted.nc1.isel(epoch=-1).values.tolist() == [2, 5, 8, 11]
    assert experiment.at_fit(counted).nc1.values.tolist() == [1, 5, 7, 11]
    assert experiment.fitted(ds, accuracy=2.0).sizes["run"] == 5  # none fits: all that are left
    assert experiment.top(counted, margin=0.2).nc1.isel(epoch=0).values.tolist() == [6, 9]
    left = experiment.beyond_setting(ds, np.arange(6.0))
    assert left.tolist() == [-0.5, 0.5] * 3
    assert np.isnan(experiment.beyond_setting(ds.isel(run=[0, 2]), [1.0, 2.0])).all()


def test_rank_correlation_is_spearmans_with_ties(key):
    a = np.round(np.asarray(jax.random.normal(key, (30,))), 1)
    b = np.round(a + np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (30,))), 1)
    np.testing.assert_allclose(experiment.rank_correlation(a, b), spearmanr(a, b)[0], rtol=1e-12)
    assert experiment.rank_correlation(a, np.exp(a)) == pytest.approx(1.0)
    assert np.isnan(experiment.rank_correlation(a, np.ones(30)))
    assert 0.25 < experiment.by_chance(a, b) < 0.5  # 1.96 / sqrt(29) = 0.36
    by_seed = experiment.over_seeds(experiment.fitted(readings()), "nc1", "train_accuracy")
    assert np.isnan(by_seed)  # two runs a seed say nothing
