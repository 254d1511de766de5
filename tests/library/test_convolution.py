"""A convolution with scale and shift: its gradients, one at a time and many together."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils._fast import convolution
from ncutils.models.layers import Conv, batch_norm, normed

jax.config.update("jax_enable_x64", True)

EXACT = {"rtol": 1e-11, "atol": 1e-12}
# height, width, channels in and out, side of the kernel, stride: large and small pictures
CASES = [
    (9, 8, 2, 3, 3, 1),
    (9, 8, 2, 3, 3, 2),
    (3, 3, 4, 5, 3, 1),
    (4, 5, 4, 5, 3, 2),
    (6, 6, 3, 4, 1, 1),
    (7, 6, 3, 4, 1, 2),
    (2, 2, 3, 3, 5, 3),
]


def library(x, kernel, scale, shift, stride):
    """The same by JAX's own convolution."""
    numbers = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        x[None], kernel, (stride, stride), "SAME", dimension_numbers=numbers
    )[0]
    return y if scale is None else y * scale[None, None] + shift[None, None]


def drawn(case, scaled, key):
    h, w, i, o, taps, stride = case
    keys = jax.random.split(key, 5)
    x, kernel = (
        jax.random.normal(keys[0], (h, w, i)),
        jax.random.normal(keys[1], (taps, taps, i, o)),
    )
    factors = [jax.random.normal(k, (o,)) if scaled else None for k in keys[2:4]]
    out = (-(-h // stride), -(-w // stride), o)
    return (x, kernel, *factors), jax.random.normal(keys[4], (6, *out)), stride


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_jax_s_own_convolution(case, scaled, key):
    args, cotangents, stride = drawn(case, scaled, key)
    y, pull = jax.vjp(functools.partial(convolution.affine, stride=stride), *args)
    expected, theirs = jax.vjp(functools.partial(library, stride=stride), *args)
    np.testing.assert_allclose(y, expected, **EXACT)
    one, many = pull(cotangents[0]), jax.vmap(pull)(cotangents)
    close = functools.partial(np.testing.assert_allclose, **EXACT)
    jax.tree.map(close, one, theirs(cotangents[0]))
    jax.tree.map(close, many, jax.vmap(theirs)(cotangents))
    # a kernel that is not turned around gives something else
    wrong = jax.vmap(jax.vjp(library, *args[:1], args[1][::-1], *args[2:], stride)[1])(cotangents)
    assert case[4] == 1 or np.abs(wrong[0] - many[0]).max() > 1e-3


@pytest.mark.parametrize("case", [CASES[0], CASES[3]])
def test_an_ensemble_of_many_cotangents_is_the_ensemble_of_each(case, key):
    args, cotangents, stride = drawn(case, True, key)
    ensemble = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf, leaf - 1]), args)

    def all_of(convolve, args):
        return jax.vmap(jax.vjp(functools.partial(convolve, stride=stride), *args)[1])(cotangents)

    # all of them differ, all but the sample, only the sample
    for axes in ((0, 0, 0, 0), (None, 0, 0, 0), (0, None, None, None)):
        given = [
            many if at == 0 else one for at, many, one in zip(axes, ensemble, args, strict=True)
        ]
        found, expected = (
            jax.vmap(lambda *args: all_of(convolve, args), axes)(*given)  # noqa: B023
            for convolve in (convolution.affine, library)
        )
        jax.tree.map(functools.partial(np.testing.assert_allclose, **EXACT), found, expected)


def test_only_many_cotangents_of_one_sample_go_through_a_convolution(key):
    args, cotangents, stride = drawn(CASES[0], True, key)
    of = functools.partial(convolution.affine, stride=stride)

    def together(args):
        return jax.vmap(jax.vjp(of, *args)[1])(cotangents)

    def trained(args):
        loss = lambda x, *rest: jnp.sum(of(x, *rest) ** 2)  # noqa: E731
        batch = jnp.stack([args[0]] * 6)
        return jax.vmap(jax.grad(loss, argnums=(0, 1, 2, 3)), (0, None, None, None))(
            batch, *args[1:]
        )

    assert "conv_general_dilated" in str(jax.make_jaxpr(together)(args))
    assert "conv_general_dilated" not in str(jax.make_jaxpr(trained)(args))


@pytest.mark.parametrize("kind", [jnp.float32, jnp.float64])
def test_gradients_have_the_types_of_their_arguments(kind):
    args, cotangents, stride = drawn(CASES[0], True, jax.random.key(0))
    args = [args[0].astype(kind), *(leaf.astype(jnp.float32) for leaf in args[1:])]
    y, pull = jax.vjp(functools.partial(convolution.affine, stride=stride), *args)
    found = jax.vmap(pull)(cotangents.astype(y.dtype))
    assert y.dtype == kind
    assert [leaf.dtype for leaf in found] == [leaf.dtype for leaf in args]


@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_and_its_norm_in_one_are_the_two_in_turn(bias, key):
    keys = jax.random.split(key, 6)
    layer = Conv(
        jax.random.normal(keys[0], (3, 3, 2, 4)), jax.random.normal(keys[1], (4,)) if bias else None
    )
    norm = batch_norm(4, dtype=jnp.float64)
    moved = [jax.random.normal(k, (4,)) for k in keys[2:5]]
    where = lambda n: (n.weight, n.bias, n.running.mean, n.running.variance)  # noqa: E731
    norm = eqx.tree_at(where, norm, (*moved, jnp.exp(moved[0])))
    x = jax.random.normal(keys[5], (5, 6, 2))
    np.testing.assert_allclose(normed(layer, norm, x), norm(layer(x)), **EXACT)
    other = eqx.tree_at(lambda n: n.running.mean, norm, norm.running.mean + 1)
    assert np.abs(normed(layer, other, x) - norm(layer(x))).max() > 1e-2
