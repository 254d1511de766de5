r"""A convolution followed by a scale and a shift of each channel, with a backward pass of its own.

$$y_{uvo} = s_o \sum_{abi} K_{abio}\, x_{su+a,\,sv+b,\,i} + t_o.$$

Forwards it is a product of shifted slices of x with the kernel as a matrix. Backwards there
are two situations. In training each sample has one cotangent d, and the product is transposed.
A tangent kernel has many cotangents for one sample and one kernel; then, with the slices as a
matrix S and G = Sᵀ d for each of them,

- $\bar x$ is a convolution of d, spread out by the stride, with the kernel turned around, and all
  cotangents are a batch for it;
- $\bar K = G s$ and $\bar s = \langle G, K\rangle$ for each channel where pictures are larger than
  kernels, $\bar K = S^\top(d s)$ and $\bar s = \langle d, S K\rangle$ where they are not: the sum
  is over the smaller of the two;
- $\bar t$ is the sum of d over pixels.

Which situation it is, `jax.vmap` tells.
"""

import functools

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap, sequential_vmap
from jaxtyping import Array, Float


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def affine(
    x: Float[Array, "h w i"],
    kernel: Float[Array, "k k i o"],
    scale: Float[Array, " o"] | None,
    shift: Float[Array, " o"] | None,
    stride: int,
) -> Float[Array, "u v o"]:
    """The image of one example; padding as in `layers.Conv`. Not for forward-mode derivatives."""
    return _product(x, kernel, scale, shift, stride)


def _forward(x, kernel, scale, shift, stride):
    return _product(x, kernel, scale, shift, stride), (x, kernel, scale, shift)


def _backward(stride, residuals, d):
    return _pull(stride)(d, *residuals)


affine.defvjp(_forward, _backward)


def _product(x, kernel, scale, shift, stride):
    y = _slices(x, kernel.shape[0], stride) @ kernel.reshape(-1, kernel.shape[-1])
    y = y if scale is None else y * channels(scale, y)
    return y if shift is None else y + channels(shift, y)


def channels(v, like):
    """A number for each channel, shaped to go with an array of so many axes."""
    return v.reshape((1,) * (like.ndim - 1) + v.shape)


def _before(size: int, taps: int, stride: int) -> tuple[int, int]:
    """Zeros before and after `size` pixels such that ⌈size / stride⌉ come out."""
    missing = max((-(-size // stride) - 1) * stride + taps - size, 0)
    return missing // 2, missing - missing // 2


def _slices(x, taps: int, stride: int) -> Float[Array, "u v p"]:
    """For each pixel that comes out, the pixels that it is made of, in the kernel's order."""
    u, v = -(-x.shape[0] // stride), -(-x.shape[1] // stride)
    if taps > 1:
        x = jnp.pad(x, [*(_before(size, taps, stride) for size in x.shape[:2]), (0, 0)])
    ends = (stride * (u - 1) + 1, stride * (v - 1) + 1)
    return jnp.concatenate(
        [
            x[a : a + ends[0] : stride, b : b + ends[1] : stride]
            for a in range(taps)
            for b in range(taps)
        ],
        axis=-1,
    )


@functools.cache
def _pull(stride: int):
    """The backward pass at one cotangent, which knows what to do with many of them."""

    def one(d, x, kernel, scale, shift):
        product = functools.partial(_product, stride=stride)
        return jax.vjp(product, x, kernel, scale, shift)[1](d)

    @custom_vmap
    def pull(d, x, kernel, scale, shift):
        return one(d, x, kernel, scale, shift)

    @pull.def_vmap
    def many(size, batched, d, *rest):
        del size
        if batched[0] and not any(jax.tree.leaves(batched[1:])):
            found = _many(stride)(d, *rest)
        else:
            axes = jax.tree.map(lambda yes: 0 if yes else None, tuple(batched))
            found = jax.vmap(one, in_axes=axes)(d, *rest)
        return found, jax.tree.map(lambda _: True, found)

    return pull


@functools.cache
def _many(stride: int):
    """The backward pass at many cotangents of one sample; sample by sample if vmapped again."""

    @sequential_vmap
    def many(d, x, kernel, scale, shift):
        types = jax.tree.map(jnp.dtype, (x, kernel, scale, shift))
        turned = kernel.astype(d.dtype)
        S, K = _slices(x, len(kernel), stride).astype(d.dtype), kernel.reshape(-1, d.shape[-1])
        if scale is not None and S.shape[0] * S.shape[1] > len(K):
            x_bar = _turned(d, turned * channels(scale, turned), stride, x.shape)
            G = jnp.einsum("bhwc,hwp->bcp", d, S)
            K_bar, scale_bar = G * scale[None, :, None], jnp.sum(G * K.T[None], axis=2)
        else:
            scaled = d if scale is None else d * channels(scale, d)
            x_bar = _turned(scaled, turned, stride, x.shape)
            K_bar = jnp.einsum("bhwc,hwp->bcp", scaled, S)
            scale_bar = None if scale is None else _over_pixels(d * (S @ K)[None])
        K_bar = K_bar.swapaxes(1, 2).reshape(-1, *kernel.shape)
        found = x_bar, K_bar, scale_bar, None if shift is None else _over_pixels(d)
        return jax.tree.map(lambda bar, kind: bar.astype(kind), found, types)

    return many


def _over_pixels(d: Float[Array, "b u v o"]) -> Float[Array, "b o"]:
    # in two steps: XLA turns one sum over both into a slow tree, and two sums into one
    rows = d.sum(axis=1)
    return jnp.einsum("bvo,v->bo", rows, jnp.ones_like(rows[0, :, 0]))


def _turned(d, kernel, stride: int, shape) -> Float[Array, "b h w i"]:
    """The cotangents of an input of this shape: d spread out, convolved with the kernel turned."""
    taps = kernel.shape[0]
    if taps == 1:
        d = d @ kernel[0, 0].T
    edges = [(0, 0, 0)]
    for size, out in zip(shape[:2], d.shape[1:3], strict=True):
        before = taps - 1 - _before(size, taps, stride)[0]
        after = size + taps - 1 - before - ((out - 1) * stride + 1)
        edges.append((before, after, stride - 1))
    spread = jax.lax.pad(d, jnp.zeros((), d.dtype), [*edges, (0, 0, 0)])
    if taps == 1:
        return spread
    # the barrier keeps XLA from a convolution with a reversed window, which a CPU does slowly
    turned = jax.lax.optimization_barrier(jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(spread, turned, (1, 1), "VALID", dimension_numbers=numbers)
