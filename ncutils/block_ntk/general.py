r"""Feature kernels beyond Definition 3.1, and what each still conserves.

Values that differ by class, an arbitrary matrix shared by all neurons, and the
general block structure with n × n matrices in place of the three numbers, which
includes one kernel per neuron. Each can be handed to `block_ntk.flow`.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ncutils.block_ntk.kernels import (
    ClassKernel,
    FeatureKernel,
    SharedKernel,
    class_sizes,
    class_sums,
    spread,
)
from ncutils.linalg import is_traced


def _as_float(value):
    return jnp.asarray(value, dtype=float)


class SpecialisedKernel(ClassKernel):
    r"""Block values that differ from class to class ("specialisation").

    $$K_{ii} = d_c,\qquad K_{ij} = B_{cc'} \quad (i \in c,\ j \in c',\ i \ne j).$$

    Args:
        diag: C diagonal values $d_c$.
        between: C × C symmetric matrix B; $B_{cc}$ is the within-class value of c.

    Raises:
        ValueError: unless $d_c \ge B_{cc}$ and B is symmetric positive semi-definite,
            which makes K positive semi-definite for every choice of class sizes.

    Source: ours; P2, §8 names the question.
    """

    diag: Float[Array, " C"] = eqx.field(converter=_as_float)
    between: Float[Array, "C C"] = eqx.field(converter=_as_float)

    def __check_init__(self):
        if self.between.shape != (self.diag.shape[0],) * 2:
            raise ValueError(f"B must be C × C; got {self.between.shape}, {self.diag.shape}")
        if is_traced(self.diag) or is_traced(self.between):
            return
        check_psd("B", self.between)
        if not np.all(np.asarray(self.diag) >= np.diag(np.asarray(self.between))):
            raise ValueError(
                f"diagonal values {np.asarray(self.diag)} fall below the within-class values "
                f"{np.diag(np.asarray(self.between))}"
            )

    def class_values(self, C):
        r"""$\mu_c = d_c - B_{cc}$ and B."""
        if self.diag.shape[0] != C:
            raise ValueError(f"the kernel has values for {self.diag.shape[0]} classes, not {C}")
        return self.diag - jnp.diag(self.between), self.between


class DenseKernel(SharedKernel):
    """Any fixed N × N matrix, shared by all neurons.

    Args:
        values: N × N matrix.

    Raises:
        ValueError: unless it is symmetric positive semi-definite.
    """

    values: Float[Array, "N N"] = eqx.field(converter=_as_float)

    def __check_init__(self):
        if not is_traced(self.values):
            check_psd("kernel", self.values)

    def times(self, A, m, C):  # noqa: ARG002 - the interface of kernels with structure
        """The product $AK$, O(rN²)."""
        return A @ self.values

    def solve(self, A, m, C):  # noqa: ARG002
        """The product $AK^{-1}$ by Cholesky; NaN if K is singular."""
        L = jnp.linalg.cholesky(self.values)
        return jnp.linalg.solve(L.T, jnp.linalg.solve(L, A.T)).T

    def class_mean_kernel(self, m: int | Sequence[int], C: int) -> Float[Array, "C C"]:
        r"""$M = (S^\top K^{-1} S)^{-1}$, the M that decides the limiting frames.

        For kernels without block structure it is not the average over class
        blocks: it is the covariance of the best linear unbiased class means.
        """
        sizes = class_sizes(m, C)
        inverse = class_sums(self.solve(spread(jnp.eye(C), sizes), m, C), sizes)
        return jnp.linalg.inv(0.5 * (inverse + inverse.T))


class GeneralBlockKernel(FeatureKernel):
    r"""Block structure with matrices: neurons may share what they learn.

    $$\Theta^h(x_i, x_j) = K_d \ (i=j),\quad K_c \ (\text{same class}),\quad K_n
      \ (\text{different classes}).$$

    Diagonal matrices give each neuron its own three values.

    Args:
        diag: n × n matrix $K_d$. within: $K_c$. across: $K_n$.

    Raises:
        ValueError: unless $K_n$, $K_c - K_n$ and $K_d - K_c$ are symmetric positive
            semi-definite (which makes the whole nN × nN kernel so, for any sizes).

    Source: P2, Assumption D.1, (71).
    """

    diag: Float[Array, "n n"] = eqx.field(converter=_as_float)
    within: Float[Array, "n n"] = eqx.field(converter=_as_float)
    across: Float[Array, "n n"] = eqx.field(converter=_as_float)

    def __check_init__(self):
        if not self.diag.shape == self.within.shape == self.across.shape:
            raise ValueError(
                "the three matrices must have one shape; got "
                f"{self.diag.shape}, {self.within.shape}, {self.across.shape}"
            )
        if any(is_traced(v) for v in (self.diag, self.within, self.across)):
            return
        check_psd("K_n", self.across)
        check_psd("K_c - K_n", self.within - self.across)
        check_psd("K_d - K_c", self.diag - self.within)

    def pull(self, W, R, sizes):
        r"""$(K_d-K_c)W^\top R + m(K_c-K_n)W^\top R_{class} + N K_n W^\top R_{global}$.

        Source: P2, (72).
        """
        G = W.T @ R
        sums = class_sums(G, sizes)
        shared = (self.within - self.across) @ sums
        shared += (self.across @ sums.sum(axis=1))[:, None]
        return (self.diag - self.within) @ G + spread(shared, sizes)

    def reduced(self, m: int, C: int):
        r"""The matrices $K_2 = K_d-K_c$, $K_1 = K_2 + m(K_c-K_n)$ and $K_0 = K_1 + mCK_n$.

        They act on the within-class part, on the centred class means and on
        the global mean. Source: P2, (73).
        """
        class_sizes(m, C)
        within = self.diag - self.within
        class_ = within + m * (self.within - self.across)
        return within, class_, class_ + m * C * self.across


def neuron_kernel(
    diag: Float[Array, " n"], within: Float[Array, " n"], across: Float[Array, " n"]
) -> GeneralBlockKernel:
    """A block kernel of its own for each neuron: diagonal matrices in (71).

    Raises:
        ValueError: unless diag >= within >= across >= 0 for every neuron.
    """
    return GeneralBlockKernel(*(jnp.diag(jnp.asarray(v)) for v in (diag, within, across)))


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


def check_psd(name: str, M) -> None:
    """Refuse a matrix that is not symmetric positive semi-definite.

    Raises:
        ValueError: with the asymmetry or the lowest eigenvalue.
    """
    M = np.asarray(M)
    if M.ndim != 2 or M.shape[0] != M.shape[1] or not np.all(np.isfinite(M)):
        raise ValueError(f"{name} must be a finite square matrix; got shape {M.shape}")
    skew = float(np.max(np.abs(M - M.T)))
    lowest, highest = np.linalg.eigvalsh(M)[[0, -1]]
    rounding = 1e-12 * max(1.0, abs(highest))
    if skew > rounding or lowest < -rounding:
        raise ValueError(
            f"{name} must be symmetric positive semi-definite; "
            f"asymmetry {skew:.3g}, lowest eigenvalue {lowest:.3g}"
        )
