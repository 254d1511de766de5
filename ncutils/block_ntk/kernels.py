r"""Feature kernels: three values, values by class, any matrix, and matrices in place of numbers.

Each knows its products without being written out where it has structure, and can be handed to
`block_ntk.flow`. Samples are sorted by class. `m` is the number of samples per class: one integer
when the classes are equal, C integers when they are not. A kernel that all
neurons share acts on the right, $A \mapsto AK$.
"""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ncutils.linalg import check_labels, is_traced


def class_sizes(m: int | Sequence[int], C: int) -> tuple[int, ...]:
    """The C class sizes behind `m`, one integer or C of them.

    Raises:
        ValueError: if C < 2, a size is below 1, or there are not C sizes.
    """
    sizes = (int(m),) * C if isinstance(m, int | np.integer) else tuple(int(s) for s in m)
    if C < 2 or len(sizes) != C or min(sizes) < 1:
        raise ValueError(f"need C >= 2 classes with at least 1 sample each; got m = {m}, C = {C}")
    return sizes


def sorted_class_sizes(y: Int[Array, " N"], *, C: int) -> tuple[int, ...]:
    """Class sizes of labels that are sorted by class, as the columns of H must be.

    Raises:
        ValueError: where the order breaks, or for a class without members.
    """
    labels = np.asarray(y)
    breaks = np.flatnonzero(np.diff(labels) < 0)
    if breaks.size:
        i = int(breaks[0])
        raise ValueError(
            f"columns must be sorted by class: label {labels[i + 1]} follows {labels[i]} "
            f"at position {i + 1}"
        )
    check_labels(y, num_classes=C)
    return tuple(int(s) for s in np.bincount(labels, minlength=C))


def class_sums(A: Float[Array, "r N"], sizes: tuple[int, ...]) -> Float[Array, "r C"]:
    """Sum of the columns of A over each class."""
    if len(set(sizes)) == 1:
        return A.reshape(A.shape[0], len(sizes), sizes[0]).sum(axis=2)
    return A @ spread(jnp.eye(len(sizes), dtype=A.dtype), sizes).T


def spread(A: Float[Array, "r C"], sizes: tuple[int, ...]) -> Float[Array, "r N"]:
    """Each class's column, repeated for each of its samples."""
    return jnp.repeat(A, np.asarray(sizes), axis=1, total_repeat_length=sum(sizes))


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


def _as_float(value):
    return jnp.asarray(value, dtype=float)


class FeatureKernel(eqx.Module):
    r"""Whatever turns the residual into the velocity of the features."""

    @abc.abstractmethod
    def pull(
        self, W: Float[Array, "C n"], R: Float[Array, "C N"], sizes: tuple[int, ...]
    ) -> Float[Array, "n N"]:
        r"""The kernel applied to $W^\top R$; the features move by minus this."""


class SharedKernel(FeatureKernel):
    r"""A feature kernel that is the same N × N matrix K for every neuron."""

    @abc.abstractmethod
    def times(self, A: Float[Array, "r N"], m: int | Sequence[int], C: int) -> Float[Array, "r N"]:
        """The product $AK$."""

    @abc.abstractmethod
    def solve(self, A: Float[Array, "r N"], m: int | Sequence[int], C: int) -> Float[Array, "r N"]:
        """The product $AK^{-1}$."""

    def pull(self, W, R, sizes):
        r"""$W^\top (RK)$: K meets the C rows of R, not the n rows of H."""
        return W.T @ self.times(R, sizes, len(sizes))


class ClassKernel(SharedKernel):
    r"""A shared kernel that is constant on class blocks, apart from its diagonal.

    $$K = \operatorname{diag}(\mu_{c(i)}) + S B S^\top,$$
    S the N × C class indicator, $\mu_c$ the excess of the diagonal in class c.
    """

    @abc.abstractmethod
    def class_values(self, C: int) -> tuple[Float[Array, " C"], Float[Array, "C C"]]:
        r"""The pair $(\mu, B)$."""

    def matrix(self, m: int | Sequence[int], C: int) -> Float[Array, "N N"]:
        """The N × N kernel matrix, for pictures and tests."""
        single, between = self.class_values(C)
        sizes = class_sizes(m, C)
        blocks = spread(spread(between, sizes).T, sizes)
        return blocks + jnp.diag(spread(single[None, :], sizes)[0])

    def times(self, A, m, C):
        """The product $AK$ in O(rN)."""
        single, between = self.class_values(C)
        sizes = class_sizes(m, C)
        scaled = A * spread(single[None, :], sizes)
        return scaled + spread(class_sums(A, sizes) @ between, sizes)

    def solve(self, A, m, C):
        r"""The product $AK^{-1}$ in O(rN): a C × C system for the class sums.

        Raises:
            ValueError: if the kernel is singular because some $\mu_c = 0$.
        """
        single, between = self.class_values(C)
        sizes = class_sizes(m, C)
        if not is_traced(single) and not np.all(np.asarray(single) > 0):
            raise ValueError(
                f"diagonal minus within-class value must be positive to invert; got {single}"
            )
        inner = jnp.diag(single) + between * jnp.asarray(sizes)[None, :]
        sums = jnp.linalg.solve(inner.T, class_sums(A, sizes).T).T
        return (A - spread(sums @ between, sizes)) / spread(single[None, :], sizes)

    def class_mean_kernel(self, m: int | Sequence[int], C: int) -> Float[Array, "C C"]:
        r"""The kernel of the class means, $M = \operatorname{diag}(\mu_c/m_c) + B$.

        It is the average of K over class blocks, and also $(S^\top K^{-1}S)^{-1}$;
        for equal classes $M = \frac{\mu_{class}}{m} I + \kappa_n \mathbf{11}^\top$.
        """
        single, between = self.class_values(C)
        return jnp.diag(single / jnp.asarray(class_sizes(m, C))) + between


class BlockKernel(ClassKernel):
    r"""A kernel with three values: same sample, same class, different classes.

    $$K = (d - w) I_N + (w - a)\, I_C \otimes \mathbf 1_m \mathbf 1_m^\top
        + a\, \mathbf 1_N \mathbf 1_N^\top.$$

    Args:
        diag: d, value of a sample with itself ($\gamma_d$ or $\kappa_d$).
        within: w, value of two samples of a class.
        across: a, value of two samples of different classes.

    Raises:
        ValueError: unless $d \ge w \ge a \ge 0$, which also makes K positive
            semi-definite. (Equality is allowed: it is where limits are taken.)

    Source: P2, Definition 3.1, (5).

    Example:
        >>> from ncutils.block_ntk import BlockKernel
        >>> kernel = BlockKernel(diag=3.0, within=2.0, across=1.0)
        >>> print(kernel.matrix(2, 2))
        [[3. 2. 1. 1.]
         [2. 3. 1. 1.]
         [1. 1. 3. 2.]
         [1. 1. 2. 3.]]
    """

    diag: Float[Array, ""] = eqx.field(converter=_as_float)
    within: Float[Array, ""] = eqx.field(converter=_as_float)
    across: Float[Array, ""] = eqx.field(converter=_as_float)

    def __check_init__(self):
        values = (self.diag, self.within, self.across)
        if any(is_traced(v) for v in values):
            return
        d, w, a = map(float, values)
        if not (np.isfinite(d) and d >= w >= a >= 0):
            raise ValueError(
                "block kernel values must satisfy diag >= within >= across >= 0; "
                f"got diag = {d}, within = {w}, across = {a}"
            )

    def class_values(self, C):
        r"""$\mu_c = d - w$ in every class, $B = (w-a) I + a \mathbf{11}^\top$."""
        between = (self.within - self.across) * jnp.eye(C) + self.across
        return jnp.full((C,), self.diag - self.within), between

    def eigenvalues(
        self, m: int, C: int
    ) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
        r"""The three eigenvalues, with multiplicities N − C, C − 1 and 1.

        $$\lambda_{single} = d - w,\quad \lambda_{class} = \lambda_{single} + m(w-a),\quad
          \lambda_{global} = \lambda_{class} + mC a.$$

        Source: P2, Table 1.
        """
        class_sizes(m, C)
        single = self.diag - self.within
        class_ = single + m * (self.within - self.across)
        return single, class_, class_ + m * C * self.across

    def eigenvectors(self, m: int, C: int) -> Float[Array, "N N"]:
        r"""N independent eigenvectors, as rows: $v_i^c$, then $v^c$, then $\mathbf 1_N$.

        $v_i^c$ is m − 1 at sample i of class c, −1 at the class's other members;
        $v^c$ is C − 1 on class c and −1 elsewhere. One vector of each dependent
        family (the last) is left out. They are not normalised.

        Source: P2, Table 1 (scaling ours).
        """
        class_sizes(m, C)
        sample = (m * jnp.eye(m) - 1.0)[: m - 1]
        rows = [jnp.kron(jnp.eye(C), sample)] if m > 1 else []
        rows.append(jnp.kron((C * jnp.eye(C) - 1.0)[: C - 1], jnp.ones((1, m))))
        return jnp.concatenate([*rows, jnp.ones((1, m * C))])

    def alpha(self, m: int, C: int) -> Float[Array, ""]:
        r"""The weight of the global mean in the invariant, between 0 and 1/C.

        $$\alpha = \frac{\kappa_n m}{\mu_{class} + C \kappa_n m}
          = \Big[C + \frac{\kappa_c - \kappa_n}{\kappa_n}
            + \frac{\kappa_d-\kappa_c}{m\kappa_n}\Big]^{-1}.$$

        Source: P2, (26) and (69).
        """
        _, _, global_ = self.eigenvalues(m, C)
        return self.across * m / global_


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
