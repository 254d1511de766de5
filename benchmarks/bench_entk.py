"""Cost of the empirical kernel of ResNet20's 64 features on 120 images, 12 of each class.

The published procedure goes through neurons one by one, and for each through the ten
classes and the 45 pairs of classes: twelve gradients a class for the diagonal, six and six
for each block of pairs, 780 in all. The plain version here does just that, with the same
network, vmapped and compiled. It would take many minutes, so it is timed on the first
neurons, and the whole is that times 64 over their number; neurons all cost the same. So is
neural-tangents, whose Jacobian of all features at once would hold eight gigabytes.
Memory is what the compiler sets aside for temporary arrays.

Exact values need a gradient for each feature and image, 64 · 120, where the published
procedure needs 64 · 780; nothing else is saved on a CPU, where a gradient costs what it
costs. Sixteen probes instead of 64 features save four times more.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.ratio import compare, seconds
from ncutils import entk, models
from ncutils.compat.neural_tangents import nt

jax.config.update("jax_enable_x64", True)

FEATURES, M, C = 64, 12, 10
Y = np.repeat(np.arange(C), M)
X = jax.random.uniform(jax.random.key(0), (M * C, 28, 28, 1), jnp.float32)
_, H, PARAMS = models.functions(models.resnet20(key=jax.random.key(1)))


def some(features, params, x):
    """The first features only."""
    return H(params, x)[:features]


@jax.jit
def gradients(params, k, images):
    """Gradient of feature k at each image, n × P."""
    rows = jax.vmap(jax.grad(lambda p, x: H(p, x)[k]), (None, 0))(params, images)
    return jnp.concatenate(
        [leaf.reshape(len(images), -1) for leaf in jax.tree.leaves(rows)], axis=1
    )


@jax.jit
def diagonal(params, k, images):
    return jnp.mean(gradients(params, k, images) ** 2) * sum(
        leaf.size for leaf in jax.tree.leaves(params)
    )


@jax.jit
def block(params, k, left, right):
    return jnp.mean(gradients(params, k, left) @ gradients(params, k, right).T)


def published(features):
    """The three values of the first features, neuron by neuron and block by block."""
    by_class, half = X.reshape(C, M, *X.shape[1:]), M // 2
    found = [[], [], []]
    for k in range(features):
        for c in range(C):
            found[0].append(diagonal(PARAMS, k, by_class[c]))
            found[1].append(block(PARAMS, k, by_class[c, :half], by_class[c, half:]))
            found[2] += [
                block(PARAMS, k, by_class[c, :half], by_class[d, half:]) for d in range(c + 1, C)
            ]
    return [jnp.mean(jnp.stack(values)) for values in found]


def compiled(function, *args):
    """A call of the compiled function, and its temporary memory in megabytes."""
    program = jax.jit(function).lower(*args).compile()
    return lambda: program(*args), program.memory_analysis().temp_size_in_bytes / 2**20


def test_block_values_and_traced_kernel_against_the_published_procedure(benchmark):
    few = 2
    part = functools.partial(some, few)
    same = entk.published_block_values(part, PARAMS, X, Y, num_classes=C)
    # the two compute the same numbers
    np.testing.assert_allclose([same.diag, same.within, same.across], published(few), rtol=1e-4)

    def values(params, X, **options):
        return entk.block_values(H, params, X, Y, num_classes=C, **options)

    drawn = functools.partial(values, probes=16, key=jax.random.key(2))
    calls, held = {}, {}
    for name, function in (
        ("exact", values),
        ("traced", functools.partial(entk.traced_ntk, H)),
        ("probes", drawn),
        (
            "traced, probes",
            functools.partial(entk.probed_ntk, H, probes=12, key=jax.random.key(2)),
        ),
    ):
        calls[name], held[name] = compiled(function, PARAMS, X)
    held["published"] = compiled(block, PARAMS, 0, X[: M // 2], X[M // 2 : M])[1]
    # the slow one before and after, so that a busy machine slows all alike
    slow = [seconds(lambda: published(few))]
    fast = {name: seconds(call) for name, call in calls.items()}
    plain = min([*slow, seconds(lambda: published(few))]) * FEATURES / few
    print(f"\nall {FEATURES} features, published: {plain:.0f} s (scaled up from {few} features)")
    ratios = {name: plain / time for name, time in fast.items()}
    for name, time in fast.items():
        print(f"{name}: {time:.1f} s, ratio {ratios[name]:.1f}")
    found = calls["probes"]()
    share = np.asarray(found.error) / np.array([found.diag, found.within, found.across])
    print(f"standard error of the values from 16 probes: {share.max():.1%} or less")
    close = calls["traced, probes"]()
    share = float(jnp.linalg.norm(close.error) / jnp.linalg.norm(close.kernel))
    print(f"standard error of the traced kernel from 12 probes: {share:.1%} of its norm")
    print(f"temporary memory: {', '.join(f'{k} {v:.0f} MB' for k, v in held.items())}")
    benchmark.extra_info.update(ratios=ratios, megabytes=held)
    benchmark.pedantic(lambda: jax.block_until_ready(calls["probes"]()), rounds=1)
    assert ratios["probes"] > 20
    assert ratios["traced, probes"] > 20


def test_traced_kernel_against_neural_tangents(benchmark):
    few = 4
    part = functools.partial(some, few)
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
