"""Convolutional networks: against JAX's own convolution, sizes of the literature, batch norm."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from ncutils import models
from ncutils.models import convnets, layers, networks

TINY = {"widths": (3, 4), "blocks": (1, 1), "dtype": jnp.float64}


def parameters(model):
    everything, held = (
        sum(leaf.size for leaf in jax.tree.leaves(tree))
        for tree in (model, [norm.running for norm in networks._norms(model)])
    )
    return everything - held


@pytest.mark.parametrize(("size", "stride", "pixels"), [(3, 1, 5), (3, 2, 6), (3, 2, 7), (1, 2, 6)])
def test_shifted_slices_are_the_convolution(size, stride, pixels):
    keys = jax.random.split(jax.random.key(size * stride))
    options = {"size": size, "stride": stride, "initialisation": "pytorch", "bias": True}
    layer = layers.drawn(
        lambda numbers: layers.conv(2, 3, numbers=numbers, **options), dtype=float, key=keys[0]
    )
    x = jax.random.normal(keys[1], (pixels, pixels + 1, 2))
    names = ("NHWC", "HWIO", "NHWC")

    def library(kernel):
        y = jax.lax.conv_general_dilated(
            x[None], kernel, (stride, stride), "SAME", dimension_numbers=names
        )
        return y[0] + layer.bias[None, None, :]

    np.testing.assert_allclose(layer(x), library(layer.weight), rtol=1e-12, atol=1e-13)
    assert np.abs(layer(x) - library(layer.weight[:, :, ::-1])).max() > 1e-2


# Akamaster's table of ResNet20 for CIFAR10 has 269,722 parameters and shortcuts without any;
# ours add 16·32 + 32 and 32·64 + 64. The convolutions of VGG11 and VGG16 have 9,220,480 and
# 14,714,688 (torchvision, Keras); 2 a channel for batch norm and two affine layers come on top.
HEAD = 512 * 512 + 512 + 512 * 256 + 256 + 2 * (512 + 256) + 256 * 10 + 10
KNOWN = {
    "resnet20": (269_722 + 16 * 32 + 32 + 32 * 64 + 64, 64),
    "vgg11": (9_220_480 + 2 * (64 + 128 + 2 * 256 + 4 * 512) + HEAD, 256),
    "vgg16": (14_714_688 + 2 * (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512) + HEAD, 256),
}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_parameters_are_as_many_as_in_the_literature(name):
    count, width = KNOWN[name]
    make = getattr(models, name)
    model = eqx.filter_eval_shape(lambda key: make(key=key, channels=3), jax.random.key(0))
    assert parameters(model) == count
    assert model.classifier.weight.shape == (10, width)
    grey = eqx.filter_eval_shape(lambda key: make(key=key, channels=1), jax.random.key(0))
    first = {"resnet20": 16, "vgg11": 64, "vgg16": 64}[name]
    assert count - parameters(grey) == 2 * 9 * first


def test_densenet40_grows_by_twelve_channels_to_132_features():
    # stem 24; blocks end with 24 + 72, 48 + 72 and 60 + 72 channels
    count, width = 9 * 24, 24
    for block in range(3):
        if block:
            count += 2 * width + width * (width // 2)
            width //= 2
        for _ in range(6):
            count += 2 * width + width * 24 + 2 * 24 + 9 * 24 * 12
            width += 12
    count += 2 * width + 10 * width + 10
    model = eqx.filter_eval_shape(lambda key: models.densenet40(key=key), jax.random.key(0))
    assert width == 132
    assert parameters(model) == count
    assert model.classifier.weight.shape == (10, 132)


@pytest.mark.parametrize(
    ("make", "shape", "n"),
    [
        (models.resnet20, (28, 28, 1), 64),
        (models.densenet40, (28, 28, 1), 132),
        (models.vgg11, (32, 32, 1), 256),
        (models.vgg16, (32, 32, 1), 256),
        (models.cnn, (14, 14, 1), 32),
    ],
)
def test_features_and_outputs_have_the_sizes_of_the_paper(make, shape, n):
    def look(key, X):
        model = make(key=key)
        H, F = models.features(model, X), models.logits(model, X)
        return H, F, models.batch_logits(model, X)[0], jax.vmap(model.readout)(H)

    X = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    found = jax.eval_shape(look, jax.random.key(0), X)
    assert [array.shape for array in found] == [(2, n), (2, 10), (2, 10), (2, 10)]
    assert {array.dtype.name for array in found} == {"float32"}


def test_batch_norm_standardises_each_channel_of_a_batch_and_remembers(key):
    layer = layers.batch_norm(3, momentum=0.9, dtype=jnp.float64)
    X = 2.0 + 3.0 * jax.random.normal(key, (5 * 4 * 4 * 3,)).reshape(5, 4, 4, 3)

    def one(x):
        found = []
        return layer(x, found), found

    Y, seen = jax.jit(jax.vmap(one, axis_name=layers.BATCH, out_axes=(0, None)))(X)
    X = np.asarray(X)
    mean, variance = X.mean(axis=(0, 1, 2)), X.var(axis=(0, 1, 2))
    np.testing.assert_allclose(Y, (X - mean) / np.sqrt(variance + 1e-5), rtol=1e-10, atol=1e-12)
    after = layer.moved(seen[0])
    np.testing.assert_allclose(after.running.mean, 0.1 * mean, rtol=1e-10)
    np.testing.assert_allclose(after.running.variance, 0.9 + 0.1 * variance, rtol=1e-10)
    np.testing.assert_allclose(jax.vmap(layer)(X), X / np.sqrt(1 + 1e-5), rtol=1e-12)
    assert np.abs(Y - jax.vmap(layer)(X)).max() > 1.0


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: models.resnet((3, 4), (1, 1), **options),
        lambda **options: models.densenet40(blocks=(1, 1), growth=2, **options),
        lambda **options: models.cnn((3, 4), **options),
    ],
    ids=["resnet", "densenet", "cnn"],
)
def test_every_norm_of_a_network_gets_the_statistics_of_its_own_place(make):
    # With momentum 0 the running statistics are those of the last batch, so that a norm
    # which got another's would show as outputs that differ.
    @jax.jit
    def look(key):
        model = make(momentum=0.0, dtype=jnp.float64, key=key)
        X = jax.random.normal(key, (6 * 36,)).reshape(6, 6, 6, 1)
        outputs, moved = models.batch_logits(model, X)
        spoilt = eqx.tree_at(
            lambda net: networks._norms(net)[0].running.mean,
            moved,
            networks._norms(moved)[0].running.mean + 0.1,
        )
        return outputs, [models.logits(net, X) for net in (moved, model, spoilt)]

    outputs, (after, before, spoilt) = look(jax.random.key(4))
    np.testing.assert_allclose(after, outputs, rtol=1e-9, atol=1e-11)
    assert np.abs(before - outputs).max() > 1e-3
    assert np.abs(spoilt - outputs).max() > 1e-3


def test_running_statistics_are_no_parameters():
    model = jax.jit(lambda key: models.resnet(**TINY, key=key))(jax.random.key(0))
    weights, held, _ = models.partition(model)
    assert len(jax.tree.leaves(held)) == 2 * len(networks._norms(model)) == 10
    total = len(jax.tree.leaves(eqx.filter(model, eqx.is_array)))
    assert len(jax.tree.leaves(weights)) == total - 10
    f, h, params = models.functions(model)
    x = jnp.ones((6, 6, 1))

    @jax.jit
    def look(params):
        return f(params, x), model(x), h(params, x), model.features(x)

    outputs, same_outputs, hidden, same_hidden = look(params)
    np.testing.assert_allclose(outputs, same_outputs, rtol=1e-12)
    np.testing.assert_allclose(hidden, same_hidden, rtol=1e-12)
    slope = jax.jit(jax.grad(lambda p: jnp.sum(f(p, x) ** 2)))(params)
    assert jax.tree.structure(slope) == jax.tree.structure(weights)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slope.classifier))


def test_networks_without_norms_see_no_batch():
    model = models.mlp((3, 4, 2), activation="relu", key=jax.random.key(0))
    X = jnp.ones((5, 3), jnp.float32)
    outputs, same = models.batch_logits(model, X)
    np.testing.assert_array_equal(outputs, models.logits(model, X))
    assert same is model


def uniform(values, low, high):
    return kstest(np.ravel(values), "uniform", args=(low, high - low)).pvalue


def test_the_four_initialisations_have_the_constants_of_their_sources():
    key = jax.random.key(1)
    i, o, taps = 20, 30, 9

    def pair(name):
        options = {"initialisation": name, "features": 16}

        def build(numbers):
            conv = layers.conv(i, o, bias=True, numbers=numbers, **options)
            return conv, layers.dense(50, 40, numbers=numbers, **options)

        return layers.drawn(build, key=key)

    conv, dense = pair("lecun_normal")
    for values, fan in ((conv.weight, i * taps), (dense.weight, 50)):
        scaled = np.ravel(values) * np.sqrt(fan)
        assert abs(scaled.std() - 1) < 0.05
        assert 2.2 < np.abs(scaled).max() <= 2 / 0.8796
    assert not conv.bias.any()
    conv, dense = pair("he_normal")
    assert kstest(np.ravel(conv.weight) / np.sqrt(2 / (o * taps)), "norm").pvalue > 1e-3
    assert kstest(np.ravel(dense.weight) / np.sqrt(2 / 40), "norm").pvalue > 1e-3
    assert not dense.bias.any()
    conv, dense = pair("uniform")
    bounds = 1 / np.sqrt(3 * i * taps), np.sqrt(3 / 50)
    assert uniform(conv.weight, -bounds[0], bounds[0]) > 1e-3
    assert uniform(dense.weight, -bounds[1], bounds[1]) > 1e-3
    for bias in (conv.bias, dense.bias):
        assert uniform(bias, 0, 0.25) > 1e-3
        assert uniform(bias, -0.25, 0.25) < 1e-3
    conv, dense = pair("pytorch")
    for layer, fan in ((conv, i * taps), (dense, 50)):
        assert uniform(layer.weight, -1 / np.sqrt(fan), 1 / np.sqrt(fan)) > 1e-3
        assert uniform(layer.bias, -1 / np.sqrt(fan), 1 / np.sqrt(fan)) > 1e-3
    assert uniform(conv.weight, -bounds[0], bounds[0]) < 1e-6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda key: models.resnet20(initialisation="glorot", key=key), "unknown initialisation"),
        (lambda key: models.resnet((4, 8), (1,), key=key), "needs its number of blocks"),
        (lambda key: models.cnn((4, 0), key=key), "at least 1"),
        (lambda key: models.cnn((), key=key), "at least one convolution"),
        (lambda key: convnets.vgg(13, key=key), "VGG13 is not here: choose one of 11, 16"),
        (
            lambda _: layers.check_initialisation("x"),
            "unknown initialisation",
        ),
    ],
)
def test_networks_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(jax.random.key(0))
