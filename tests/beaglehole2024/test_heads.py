"""The experiment on heads: its trunks are those of the paper, its heads are measured as such."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import models
from ncutils.experiments.beaglehole2024 import _layers, heads
from ncutils.models import layers, trunks

CLASSES = 10


@pytest.mark.parametrize(
    ("trunk", "side", "channels", "inputs", "parameters"),
    [
        # PyTorch's resnet18 has 11 689 512, of which 513 000 are its classifier
        ("resnet", 32, 3, 512, 11_689_512 - 513_000),
        ("resnet", 28, 1, 512, 11_689_512 - 513_000 - 2 * 64 * 49),
        # 3 × 3 kernels between 3, 64, 128, 256, 256, 512, 512 channels; biases but for the first
        ("vgg", 32, 3, 8192, 9 * (3 * 64 + 64 * 128 + 128 * 256 + 256**2 + 256 * 512 + 512**2)
         + 128 + 2 * 256 + 2 * 512),
        ("vgg", 28, 1, 8192, 9 * (64 + 64 * 128 + 128 * 256 + 256**2 + 256 * 512 + 512**2)
         + 128 + 2 * 256 + 2 * 512),
    ],
)  # fmt: skip
def test_trunks_have_the_sizes_of_resnet18_and_of_six_layers_of_vgg11(
    trunk, side, channels, inputs, parameters
):
    make = functools.partial(
        trunks.headed, trunk, side=side, channels=channels, hidden=(512,) * 5,
        num_classes=CLASSES, gain=0.2,
    )  # fmt: skip
    network = eqx.filter_eval_shape(make, key=jax.random.key(0))
    is_held = lambda node: isinstance(node, layers.Statistics)  # noqa: E731
    parts = jax.tree.leaves(network.layers, is_leaf=is_held)
    held = [part for part in parts if is_held(part)]
    assert sum(leaf.size for leaf in parts if not is_held(leaf)) == parameters
    assert [W.shape for W in network.head.weights] == [
        (512, inputs), *[(512, 512)] * 4, (CLASSES, 512)
    ]  # fmt: skip
    assert len(held) == (20 if trunk == "resnet" else 0)  # batch norms


def test_the_gain_leaves_out_the_first_layer_of_a_head():
    make = lambda gain: trunks.headed(  # noqa: E731
        "vgg", side=4, channels=1, hidden=(20, 30), num_classes=CLASSES, gain=gain,
        key=jax.random.key(0), stages=((3,),), grid=2,
    ).head.weights  # fmt: skip
    one, half = make(1.0), make(0.5)
    np.testing.assert_allclose(one[0], half[0], rtol=1e-6)
    np.testing.assert_allclose(0.5 * one[1], half[1], rtol=1e-6)
    np.testing.assert_allclose(one[2], half[2], rtol=1e-6)
    low, high = (bound / np.sqrt(12) for bound in (0.9, 1.0))
    assert low < float(jnp.abs(one[0]).max()) <= high


def test_pools_of_trunks_by_hand():
    x = np.random.default_rng(0).normal(size=(5, 4, 2))
    highest = layers.Pool("overlapping")(jnp.asarray(x))
    assert highest.shape == (3, 2, 2)
    for u in range(3):
        for v in range(2):
            rows = slice(max(2 * u - 1, 0), 2 * u + 2)
            window = x[rows, max(2 * v - 1, 0) : 2 * v + 2]
            np.testing.assert_allclose(highest[u, v], window.max(axis=(0, 1)))
    grid = layers.Pool("grid", 2)(jnp.asarray(x)).reshape(2, 2, 2)
    np.testing.assert_allclose(grid[0, 1], x[:3, 2:].mean(axis=(0, 1)))
    np.testing.assert_allclose(grid[1, 0], x[2:, :2].mean(axis=(0, 1)))  # the middle row is in both
    same = layers.Pool("grid", 3)(jnp.asarray(x[:3, :3]))
    np.testing.assert_allclose(same, x[:3, :3].reshape(-1))


def test_batch_statistics_are_met_in_the_order_of_the_tree():
    make = functools.partial(
        trunks.headed, "resnet", side=4, channels=1, hidden=(5,), num_classes=CLASSES,
        gain=1.0, widths=(3, 4), blocks=(0, 1),
    )  # fmt: skip

    @eqx.filter_jit
    def step(key, X):
        network = make(key=key)
        _, moved = models.batch_logits(network, X)
        return moved, jax.vmap(network.layers[0].map)(X)

    X = jnp.asarray(np.random.default_rng(1).normal(size=(7, 4, 4, 1)), jnp.float32)
    moved, stem = step(jax.random.key(1), X)
    first = moved.layers[0].norm.running
    np.testing.assert_allclose(first.mean, 0.1 * stem.mean(axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(first.variance, 0.9 + 0.1 * stem.var(axis=(0, 1, 2)), rtol=1e-5)
    shortcut = moved.layers[2].shortcut.norm.running.mean
    assert shortcut.shape == (4,)
    assert float(jnp.abs(shortcut).max()) > 0


@pytest.fixture(scope="module")
def small():
    config = heads.Heads(
        seeds=(0, 1), datasets=("digits",), gains=(1.0,), per_class=4, pool=2, width=6, hidden=2,
        learning_rate=0.1, momentum=0.9, batch_size=20, epochs=4, record_at=(0, 4),
        shape=(("stages", ((3,),)), ("grid", 2)), chunk=7,
    )  # fmt: skip
    return config, heads.vgg(config)


def test_a_run_records_every_head(small):
    _, ds = small
    assert ds.nc1.dims == ("dataset", "repeat", "epoch", "layer", "stage")
    assert ds.nc1.shape == (1, 2, 2, 2, 5)
    assert (int(ds.inputs), ds.attrs["dtype"]) == (12, "float32")
    assert all(np.isfinite(variable).all() for variable in ds.data_vars.values())
    assert not ds.diverged.any()
    assert (ds.loss.isel(epoch=1) < ds.loss.isel(epoch=0)).all()
    assert abs(ds.nc1.isel(repeat=0) - ds.nc1.isel(repeat=1)).max() > 1e-3


def test_a_head_is_measured_as_a_perceptron_of_the_trunk_s_features(small):
    config, ds = small
    X, y = _layers.images("digits", per_class=4, samples=None, pool=2)
    assert X.shape == (40, 4, 4, 1)
    network = trunks.headed(
        "vgg", side=4, channels=1, hidden=(6, 6), num_classes=CLASSES, gain=1.0,
        key=jax.random.key(1), **dict(config.shape),
    )  # fmt: skip
    H = jax.vmap(network.trunk)(jnp.asarray(X))
    turns = [jnp.asarray(_layers.rotation(s, seed=s)) for s in (12, 6)]
    dealt = jnp.asarray(np.random.default_rng(0).permutation(y))
    look = functools.partial(_layers.measure, num_classes=CLASSES)
    found = jax.jit(look)(network.head, H, jnp.asarray(y), dealt, turns)
    for name in ("nc1", "nfa", "shares", "shares_dealt", "loss"):
        np.testing.assert_allclose(ds[name].values[0, 1, 0], found[name], rtol=1e-4, atol=1e-5)
    assert abs(ds.shares.values[0, 1, 0] - found["shares_dealt"]).max() > 1e-3


def test_paper_scale_has_the_published_settings():
    resnet, vgg = (case.scales["paper"] for case in (heads.resnet, heads.vgg))
    for config in (resnet, vgg):
        assert config.datasets == ("mnist", "cifar10", "svhn")
        assert (config.samples, config.per_class, config.pool) == (50_000, None, 1)
        assert (config.width, config.hidden, config.shape) == (512, 5, ())
        assert config.seeds == (0, 1, 2)
    assert (resnet.epochs, resnet.learning_rate, resnet.momentum) == (300, 0.05, 0.0)
    assert (vgg.epochs, vgg.learning_rate, vgg.momentum) == (600, 0.01, 0.9)
    assert resnet.batch_size == vgg.batch_size == 128
    assert resnet.gains == (0.2, 0.2, 0.2)
    assert vgg.gains == (0.2, 0.3, 0.3)


def test_a_run_that_was_stopped_goes_on_from_its_file(small, tmp_path):
    config, ds = small
    heads.vgg(config, checkpoint=tmp_path / "run.eqx")
    assert [path.name for path in tmp_path.iterdir()] == ["run-digits.eqx"]
    again = heads.vgg(config, checkpoint=tmp_path / "run.eqx")
    np.testing.assert_array_equal(again.nc1, ds.nc1)
    other = dataclasses.replace(config, learning_rate=0.2)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        heads.vgg(other, checkpoint=tmp_path / "run.eqx")
