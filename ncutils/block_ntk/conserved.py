r"""What a flow conserves: one matrix if the neurons share the kernel, one number if they do not."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ncutils.block_ntk.flow import check_state
from ncutils.block_ntk.kernels import GeneralBlockKernel, SharedKernel, class_sums, spread
from ncutils.linalg import is_traced


def invariant(
    W: Float[Array, "C n"],
    H: Float[Array, "n N"],
    kernel: SharedKernel,
    *,
    m: int | Sequence[int],
    C: int,
) -> Float[Array, "n n"]:
    r"""What the flow conserves: $E = \frac1{\bar m}(W^\top W - H K^{-1} H^\top)$.

    With equal classes and three kernel values this is
    $$E = \tfrac1m W^\top W - \tfrac1{\mu_{class}} H_1 (I - \alpha \mathbf{11}^\top) H_1^\top
        - \tfrac1{\mu_{single}} H_2 H_2^\top .$$

    Args:
        W: C × n classifier.
        H: n × N features, columns sorted by class.
        kernel: the feature kernel $\Theta^h$, shared by the neurons.
        m: samples per class; $\bar m = N/C$.
        C: number of classes.

    Returns:
        The symmetric n × n matrix E.

    Raises:
        ValueError: if shapes disagree with m and C, or the kernel is singular.

    Source: P2, (26). The released code's quantity is m E. The form with
        $K^{-1}$, and with it unequal classes and any fixed K, is ours.

    Example:
        >>> import jax
        >>> from ncutils import block_ntk
        >>> kernel, classes = block_ntk.BlockKernel(2.0, 1.0, 0.3), {"m": 4, "C": 3}
        >>> start = block_ntk.initial_state(kernel, **classes, n=5, key=jax.random.key(0))
        >>> E = block_ntk.invariant(start.W, start.H, kernel, **classes)
        >>> E.shape, bool(abs(E).max() < 1e-12)  # a balanced start
        ((5, 5), True)
    """
    sizes = check_state(W, H, jnp.zeros(C), m=m, C=C)
    return (W.T @ W - H @ kernel.solve(H, m, C).T) * (C / sum(sizes))


def commutant_invariant(
    W: Float[Array, "C n"],
    H: Float[Array, "n N"],
    kernel: GeneralBlockKernel,
    Z: Float[Array, "n n"],
    *,
    m: int,
    C: int,
) -> Float[Array, ""]:
    r"""The scalar that the flow conserves for each Z that commutes with the kernel.

    $$e_Z = \tfrac1m \operatorname{tr}(Z W^\top W)
        - \operatorname{tr}\big(Z K_2^{-1} H_2 H_2^\top\big)
        - \operatorname{tr}\big(Z K_1^{-1} \bar H_1 \bar H_1^\top\big)
        - C \langle h\rangle^\top Z K_0^{-1} \langle h\rangle .$$

    Z = I always qualifies: whatever the matrices, one number is conserved. With
    diagonal matrices each neuron has its own; with three numbers every symmetric
    Z qualifies, and together they are the matrix E of (26).

    Args:
        W: C × n classifier.
        H: n × N features, columns sorted by class.
        kernel: general block kernel with $K_d - K_c$ positive definite.
        Z: n × n symmetric matrix.
        m: samples per class.
        C: number of classes.

    Returns:
        The scalar $e_Z$.

    Raises:
        ValueError: if Z is not symmetric or does not commute with the three matrices.

    Source: ours.
    """
    if not is_traced(Z):
        for name, K in (("K_d", kernel.diag), ("K_c", kernel.within), ("K_n", kernel.across)):
            gap = float(jnp.max(jnp.abs(Z @ K - K @ Z)))
            scale = float(jnp.max(jnp.abs(Z)) * jnp.max(jnp.abs(K)))
            if gap > 1e-10 * scale:
                raise ValueError(f"Z must commute with the kernel; [Z, {name}] reaches {gap:.3g}")
        if not np.allclose(Z, np.asarray(Z).T):
            raise ValueError("Z must be symmetric")
    K2, K1, K0 = kernel.reduced(m, C)
    means = class_sums(H, (m,) * C) / m
    centre = means.mean(axis=1, keepdims=True)
    parts = ((K2, H - spread(means, (m,) * C)), (K1, means - centre), (K0, centre))
    weights = (1 / m, 1.0, float(C))
    energy = sum(
        w * jnp.sum((Z @ part) * jnp.linalg.solve(K, part))
        for w, (K, part) in zip(weights, parts, strict=True)
    )
    return jnp.trace(Z @ W.T @ W) / m - energy


def naive_invariant_derivative(
    W: Float[Array, "C n"],
    H: Float[Array, "n N"],
    b: Float[Array, " C"],
    kernel: GeneralBlockKernel,
    *,
    c1: float | Float[Array, ""],
    c2: float | Float[Array, ""],
    m: int,
    C: int,
) -> Float[Array, "n n"]:
    r"""The velocity of $\hat E = \frac1m W^\top W - c_1 H_1H_1^\top - c_2 H_2H_2^\top$.

    $$\dot{\hat E} = -(I - c_1K_1) W^\top R_1 H_1^\top - (I - c_2K_2) W^\top W H_2H_2^\top
        + (\cdot)^\top$$
    when $R_1\mathbf 1 = 0$ (centred features with $b = \mathbf 1/C$); otherwise
    $c_1 m K_n W^\top R_1 \mathbf{11}^\top H_1^\top$ is added, and is added here.

    Returns:
        n × n matrix; zero only for special kernels.

    Source: P2, (77)–(78).
    """
    sizes = (m,) * C
    K2, K1, _ = kernel.reduced(m, C)
    means = class_sums(H, sizes) / m
    R1 = W @ means + b[:, None] - jnp.eye(C)
    scatter = (H - spread(means, sizes)) @ (H - spread(means, sizes)).T / m
    G = W.T @ R1
    drift = G @ means.T - c1 * (K1 @ G + m * (kernel.across @ G.sum(1))[:, None]) @ means.T
    drift += (W.T @ W - c2 * K2 @ W.T @ W) @ scatter
    return -(drift + drift.T)
