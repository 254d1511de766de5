"""Cost of the block-kernel flow: structured against dense, and vmap against a loop.

The dense baseline is the same step on the same problem with the N × N matrix
formed, in the cheaper order of products, Wᵀ(RK): O(CN²) per evaluation. The
order (WᵀR)K, O(nN²), is timed beside it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.ratio import compare, seconds
from ncutils import block_ntk
from ncutils.block_ntk import BlockKernel, DenseKernel

jax.config.update("jax_enable_x64", True)

C, N_NEURONS = 10, 64
SIZES = (20, 60, 200, 500)
KERNEL = BlockKernel(2.0, 1.0, 0.3)
STAGES = 7  # evaluations of the velocity in one step of Tsit5


class FeatureSideKernel(DenseKernel):
    """The dense kernel with the products in the other order, (WᵀR)K."""

    def pull(self, W, R, sizes):  # noqa: ARG002 - the interface
        return (W.T @ R) @ self.values


@eqx.filter_jit
def stages(state, kernel, sizes):
    """The evaluations of one step, chained so that none is shared."""

    def stage(_, y):
        rate = block_ntk.velocity(y, kernel, sizes)
        return tuple(a + 1e-6 * r for a, r in zip(y, rate, strict=True))

    return jax.lax.fori_loop(0, STAGES, stage, state)


def random_state(m, seed=0):
    k = jax.random.split(jax.random.key(seed), 2)
    return (
        0.1 * jax.random.normal(k[0], (C, N_NEURONS)),
        0.1 * jax.random.normal(k[1], (N_NEURONS, m * C)),
        jnp.full(C, 1 / C),
    )


FORMS = {
    "structured": lambda _: KERNEL,
    "dense, Wᵀ(RK)": lambda m: DenseKernel(KERNEL.matrix(m, C)),
    "dense, (WᵀR)K": lambda m: FeatureSideKernel(KERNEL.matrix(m, C)),
}


def test_one_step_costs_in_proportion_to_n_samples_and_the_dense_kernel_to_their_square(benchmark):
    best = {form: [] for form in FORMS}
    for m in SIZES:
        state, sizes = random_state(m), (m,) * C
        kernels = {form: make(m) for form, make in FORMS.items()}
        for form in FORMS:
            jax.block_until_ready(stages(state, kernels[form], sizes))
        # interleaved, so that a busy machine slows all of them
        rounds = [
            [seconds(lambda k=k: stages(state, k, sizes)) for k in kernels.values()]  # noqa: B023
            for _ in range(4)
        ]
        for form, fastest in zip(FORMS, np.min(rounds, axis=0), strict=True):
            best[form].append(float(fastest))
    N = np.array(SIZES) * C
    slopes = {form: float(np.polyfit(np.log(N), np.log(t), 1)[0]) for form, t in best.items()}
    for form, times in best.items():
        each = ", ".join(f"N={n}: {t * 1e3:.3g} ms" for n, t in zip(N, times, strict=True))
        print(f"\n{form}: cost of a step ~ N^{slopes[form]:.2f} ({each})", end="")
    ratio = best["dense, Wᵀ(RK)"][-1] / best["structured"][-1]
    print(f"\nat N={N[-1]} the structured step is {ratio:.0f} times cheaper than Wᵀ(RK)")
    benchmark.extra_info.update(slopes=slopes, ratio=ratio)
    state = random_state(SIZES[-1])
    benchmark.pedantic(
        lambda: jax.block_until_ready(stages(state, KERNEL, (SIZES[-1],) * C)), rounds=5
    )
    assert slopes["structured"] < 1.3
    assert min(slopes["dense, Wᵀ(RK)"], slopes["dense, (WᵀR)K"]) > 1.6
    assert ratio > 10


def test_many_initial_states_by_vmap_beat_a_loop(benchmark):
    m, n, count, ts = 5, 16, 32, jnp.linspace(0.0, 0.5, 3)
    keys = jax.random.split(jax.random.key(0), count)
    draw = jax.jit(jax.vmap(lambda k: block_ntk.initial_state(KERNEL, m=m, C=C, n=n, key=k)))
    s = draw(keys)

    def together():
        return block_ntk.many_flows(s.W, s.H, s.b, KERNEL, m=m, C=C, ts=ts)

    def loop():
        return [
            block_ntk.flow(s.W[i], s.H[i], s.b[i], KERNEL, m=m, C=C, ts=ts) for i in range(count)
        ]

    ratio = compare(f"{count} initial states, N={m * C}, n={n}", together, loop, rounds=3)
    benchmark.extra_info["ratio"] = ratio
    benchmark.pedantic(lambda: jax.block_until_ready(together()), rounds=3)
    assert ratio > 1
