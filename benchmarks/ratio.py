"""One way to compare two implementations: warmed up, interleaved, best of several."""

import time
from collections.abc import Callable

import jax


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock time of one call, waiting for what it returns."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def compare(
    name: str,
    ours: Callable[[], object],
    plain: Callable[[], object],
    *,
    rounds: int = 5,
    warm_plain: bool = True,
) -> float:
    """Print and return how many times faster `ours` is than `plain`.

    Both run once untimed (compilation), then alternate `rounds` times, so that a busy
    machine slows both; the fastest round of each counts.

    Args:
        name: what is compared, for the printed line.
        ours, plain: calls without arguments.
        rounds: how often each is timed.
        warm_plain: whether `plain` compiles anything and so needs an untimed call.

    Returns:
        Time of `plain` over time of `ours`.
    """
    for call in (ours, plain) if warm_plain else (ours,):
        jax.block_until_ready(call())
    times = [(seconds(ours), seconds(plain)) for _ in range(rounds)]
    fast, slow = (min(column) for column in zip(*times, strict=True))
    print(f"\n{name}: {fast * 1e3:.3g} ms against {slow * 1e3:.3g} ms, ratio {slow / fast:.1f}")
    return slow / fast
