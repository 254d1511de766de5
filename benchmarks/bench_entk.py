"""Cost of the empirical kernel of ResNet20's 64 features on 120 images, 12 of each class.

The published procedure goes through neurons one by one, and for each through the ten
classes and the 45 pairs of classes. For the three values it takes twelve gradients a class
for the diagonal, six and six for each block of pairs, 780 in all; for the whole traced
kernel, twelve a class and twelve and twelve for each pair, 1,200 in all. The plain version
here does just that, vmapped over images and compiled, with the network's convolutions as
the framework of the released code has them: `jax.lax.conv_general_dilated`. The same with
our own layers is timed beside it; on a CPU it is slower. It would all take many minutes, so it is
timed on the first neurons, and the whole is that times 64 over their number; neurons all
cost the same. So is neural-tangents, whose Jacobian of all features at once would hold
eight gigabytes. Memory is what the compiler sets aside for temporary arrays.

Ours needs a gradient for each feature and image, 64 · 120. As all features of an image go
back through it together, each gradient costs a third of what it costs alone. Probes
instead of features are another factor.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.ratio import compare, seconds
from ncutils import entk, models
from ncutils.compat.neural_tangents import nt
from ncutils.models import layers

jax.config.update("jax_enable_x64", True)

FEATURES, M, C = 64, 12, 10
Y = np.repeat(np.arange(C), M)
X = jax.random.uniform(jax.random.key(0), (M * C, 28, 28, 1), jnp.float32)
MODEL = models.resnet20(key=jax.random.key(1))
_, H, PARAMS = models.functions(MODEL)


class Plain(layers.Conv):
    """The same convolution by the one of JAX."""

    def __call__(self, x, seen=None):
        """The image of one example."""
        del seen
        steps, numbers = (self.stride,) * 2, ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x[None], self.weight, steps, "SAME", dimension_numbers=numbers
        )[0]
        return y if self.bias is None else y + self.bias


def plain(model):
    """The network with its convolutions exchanged, its norms on their own, and its features."""
    conv = lambda node: type(node) is layers.Conv  # noqa: E731
    exchange = lambda node: Plain(node.weight, node.bias, node.stride) if conv(node) else node  # noqa: E731
    return models.functions(jax.tree.map(exchange, model, is_leaf=conv))[1:]


def some(features, function, params, x):
    """The first features only."""
    return function(params, x)[:features]


@jax.jit
def gradients(h, params, k, images):
    """Gradient of feature k at each image, n × P."""
    rows = jax.vmap(jax.grad(lambda p, x: h(p, x)[k]), (None, 0))(params, images)
    return jnp.concatenate(
        [leaf.reshape(len(images), -1) for leaf in jax.tree.leaves(rows)], axis=1
    )


@jax.jit
def diagonal(h, params, k, images):
    return jnp.sum(gradients(h, params, k, images) ** 2) / len(images)


@jax.jit
def block(h, params, k, left, right):
    return gradients(h, params, k, left) @ gradients(h, params, k, right).T


@jax.jit
def square(h, params, k, images):
    rows = gradients(h, params, k, images)
    return rows @ rows.T


BY_CLASS = X.reshape(C, M, *X.shape[1:])
HALF = M // 2


def published(h, params, features):
    """The three values of the first features, neuron by neuron and block by block."""
    found = [[], [], []]
    for k in range(features):
        for c in range(C):
            left = BY_CLASS[c, :HALF]
            found[0].append(diagonal(h, params, k, BY_CLASS[c]))
            found[1].append(jnp.mean(block(h, params, k, left, BY_CLASS[c, HALF:])))
            found[2] += [
                jnp.mean(block(h, params, k, left, BY_CLASS[d, HALF:])) for d in range(c + 1, C)
            ]
    return [jnp.mean(jnp.stack(values)) for values in found]


def published_traced(h, params, features):
    """The kernel summed over the first features, neuron by neuron and block by block."""
    total = np.zeros((C, M, C, M))
    for k in range(features):
        for c in range(C):
            total[c, :, c] += square(h, params, k, BY_CLASS[c])
            for d in range(c + 1, C):
                found = np.asarray(block(h, params, k, BY_CLASS[c], BY_CLASS[d]))
                total[c, :, d] += found
                total[d, :, c] += found.T
    return total.reshape(C * M, C * M)


def compiled(function, *args):
    """A call of the compiled function, and its temporary memory in megabytes."""
    program = jax.jit(function).lower(*args).compile()
    return lambda: program(*args), program.memory_analysis().temp_size_in_bytes / 2**20


def test_block_values_and_traced_kernel_against_the_published_procedure(benchmark):
    few = 2
    theirs = plain(MODEL)
    part = functools.partial(some, few, H)
    # the two compute the same numbers
    same = entk.published_block_values(part, PARAMS, X, Y, num_classes=C)
    np.testing.assert_allclose(
        [same.diag, same.within, same.across], published(*theirs, few), rtol=1e-4
    )
    np.testing.assert_allclose(
        entk.traced_ntk(part, PARAMS, X), published_traced(*theirs, few), rtol=1e-4, atol=1e-3
    )

    def values(params, X, **options):
        return entk.block_values(H, params, X, Y, num_classes=C, **options)

    key = jax.random.key(2)
    calls, held = {}, {}
    for name, function in (
        ("values", values),
        ("traced", functools.partial(entk.traced_ntk, H)),
        ("traced, chunk 8", functools.partial(entk.traced_ntk, H, chunk=8)),
        ("values, probes", functools.partial(values, probes=16, key=key)),
        ("traced, probes", functools.partial(entk.probed_ntk, H, probes=16, key=key)),
    ):
        calls[name], held[name] = compiled(function, PARAMS, X)
    held["published"] = compiled(block, *theirs, 0, X[:M], X[M : 2 * M])[1]
    slow = {
        "values, published": lambda: published(*theirs, few),
        "traced, published": lambda: published_traced(*theirs, few),
    }
    # in turn, the fastest of each: a busy machine slows all alike
    rounds = [{n: seconds(call) for n, call in {**slow, **calls}.items()} for _ in range(3)]
    best = {name: min(times[name] for times in rounds) for name in rounds[0]}
    whole = {name: best[f"{name}, published"] * FEATURES / few for name in ("values", "traced")}
    fast = {name: best[name] for name in calls}
    published(H, PARAMS, 1)
    ours = seconds(lambda: published(H, PARAMS, few)) * FEATURES / few
    print(f"\npublished, all {FEATURES} features (scaled up from {few}):")
    print(f"values {whole['values']:.0f} s (with our layers {ours:.0f} s), ", end="")
    print(f"traced {whole['traced']:.0f} s")
    ratios = {name: whole[name.split(",")[0]] / time for name, time in fast.items()}
    for name, time in fast.items():
        print(f"{name}: {time:.1f} s, ratio {ratios[name]:.1f}")
    found = calls["values, probes"]()
    share = np.asarray(found.error) / np.array([found.diag, found.within, found.across])
    print(f"standard error of the values from 16 probes: {share.max():.1%} or less")
    close = calls["traced, probes"]()
    share = float(jnp.linalg.norm(close.error) / jnp.linalg.norm(close.kernel))
    print(f"standard error of the traced kernel from 16 probes: {share:.1%} of its norm")
    print(f"temporary memory: {', '.join(f'{k} {v:.0f} MB' for k, v in held.items())}")
    benchmark.extra_info.update(ratios=ratios, megabytes=held)
    benchmark.pedantic(lambda: jax.block_until_ready(calls["values"]()), rounds=1)
    assert ratios["values"] > 20
    assert ratios["traced"] > 20


def test_traced_kernel_against_neural_tangents(benchmark):
    few = 4
    part = functools.partial(some, few, H)
    apply = lambda p, X: jax.vmap(functools.partial(part, p))(X)  # noqa: E731
    kernel = nt.empirical_ntk_fn(
        apply, vmap_axes=0, implementation=nt.NtkImplementation.JACOBIAN_CONTRACTION
    )
    mine, our_memory = compiled(functools.partial(entk.traced_ntk, part), PARAMS, X)
    theirs, their_memory = compiled(lambda params, X: kernel(X, None, params), PARAMS, X)
    np.testing.assert_allclose(mine(), theirs() * few, rtol=1e-4)
    ratio = compare(
        f"traced kernel of {few} of {FEATURES} features against neural-tangents",
        mine,
        theirs,
        rounds=2,
        warm_plain=False,
    )
    print(f"temporary memory: ours {our_memory:.0f} MB, neural-tangents {their_memory:.0f} MB")
    benchmark.extra_info.update(ratio=ratio, megabytes=[our_memory, their_memory])
    benchmark.pedantic(lambda: jax.block_until_ready(mine()), rounds=1)
    assert ratio > 1
