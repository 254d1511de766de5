r"""Initial states of the flow with a prescribed value of the invariant."""

import math
from collections.abc import Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import scipy.linalg
from jaxtyping import Array, Float, PRNGKeyArray

from ncutils.block_ntk.kernels import BlockKernel, SharedKernel, class_sizes, class_sums, spread
from ncutils.linalg import psd_sqrt


class State(eqx.Module):
    """A state of the flow: W is C × n, H is n × N, b has C entries."""

    W: Float[Array, "*batch C n"]
    H: Float[Array, "*batch n N"]
    b: Float[Array, "*batch C"]


def initial_state(
    kernel: SharedKernel,
    *,
    m: int | Sequence[int],
    C: int,
    n: int,
    invariant_norm: float = 0.0,
    alignment: float = 0.0,
    within: float = 1.0,
    scale: float = 1.0,
    biases: Float[Array, " C"] | None = None,
    tight: bool = False,
    oriented: bool = True,
    key: PRNGKeyArray,
) -> State:
    r"""A random state whose invariant E has a given norm and alignment with $W^\top W$.

    $$E = \epsilon\Big(a\,\frac{W^\top W}{\|W^\top W\|_F} - \sqrt{1-a^2}\,P\Big),$$
    P positive semi-definite of norm 1 with $WP = 0$: features that the classifier
    does not see. Zero norm gives $E = O$, a balanced start.

    Args:
        kernel: shared feature kernel, positive definite.
        m: samples per class, one integer or C.
        C: number of classes.
        n: number of neurons, above C.
        invariant_norm: $\epsilon = \|E\|_F$.
        alignment: a, the cosine between E and $W^\top W$, from −1 to 1.
        within: size of a sample's deviation relative to that of the class means,
            before the features are fitted to the kernel.
        scale: square root of $\|W^\top W\|_F$.
        biases: initial b. Without it, features are centred, columns of W sum to
            zero and b holds the class frequencies; for equal classes and a block
            kernel the flow then keeps all three.
        tight: give W equal singular values. With alignment ±1, E is then a multiple
            of the projector on the rows of W, and the flow collapses although
            $E \ne O$: the relaxed condition (28).
        oriented: reflect W, if need be, so that $WH_1$ has positive determinant
            where its target has one (see Notes).
        key: random key.

    Returns:
        The state. Works under `vmap` over keys.

    Raises:
        ValueError: if n <= C, alignment is outside [-1, 1], or no real features
            have that invariant: $a\,\epsilon\,N/C$ must stay below scale².

    Notes:
        With E = O the rank of W, and so the sign of its determinant on the span of
        the features, cannot change in finite time. A start of the wrong
        orientation without within-class part ends at a saddle, not at zero loss.

    Example:
        >>> import jax
        >>> from ncutils import block_ntk
        >>> kernel = block_ntk.BlockKernel(diag=3.0, within=2.0, across=1.0)
        >>> key = jax.random.key(0)
        >>> state = block_ntk.initial_state(kernel, m=3, C=2, n=5, invariant_norm=0.5, key=key)
        >>> E = block_ntk.invariant(state.W, state.H, kernel, m=3, C=2)
        >>> float(round(jax.numpy.linalg.norm(E), 6))
        0.5
    """
    sizes = class_sizes(m, C)
    N, mean_size = sum(sizes), sum(sizes) / C
    if n <= C:
        raise ValueError(f"the theory has more neurons than classes; got n = {n}, C = {C}")
    if not -1 <= alignment <= 1 or invariant_norm < 0 or scale <= 0 or within < 0:
        raise ValueError(
            "need -1 <= alignment <= 1, invariant_norm >= 0, within >= 0 and scale > 0; got "
            f"{alignment}, {invariant_norm}, {within}, {scale}"
        )
    shrink = 1 - alignment * invariant_norm * mean_size / scale**2
    if shrink <= 0:
        raise ValueError(
            f"no real features have this invariant: alignment × norm must stay below "
            f"scale² C / N = {scale**2 / mean_size:g}; got {alignment * invariant_norm:g}"
        )
    basis = jnp.asarray(scipy.linalg.helmert(C).T) if biases is None else jnp.eye(C)
    seen = basis.shape[1]
    hidden_energy = invariant_norm * mean_size * (1 - alignment**2) ** 0.5
    hidden = min(n - seen, N - 1 - seen, C) if hidden_energy > 0 else 0
    if seen + min(hidden, 1) > N - 1 or (hidden_energy > 0 and hidden < 1):
        raise ValueError(f"{N} samples and {n} neurons leave no room for this invariant")
    start = jnp.asarray(sizes) / N if biases is None else jnp.asarray(biases, dtype=float)
    within = within if not hidden else max(within, 1e-3)
    W, H = _draw(
        *(kernel, basis, key, scale, shrink, hidden_energy, within),
        sizes=sizes,
        n=n,
        hidden=hidden,
        centred=biases is None,
        tight=tight,
        oriented=oriented,
    )
    return State(W=W, H=H, b=start)


@partial(jax.jit, static_argnames=("sizes", "n", "hidden", "centred", "tight", "oriented"))
def _draw(
    kernel,
    basis,
    key,
    scale,
    shrink,
    hidden_energy,
    within,
    *,
    sizes,
    n,
    hidden,
    centred,
    tight,
    oriented,
):
    """W and H of `initial_state`; compiled once for all norms and alignments of one shape."""
    (C, seen), N = basis.shape, sum(sizes)
    shapes = (n, seen + hidden), (seen, seen), (hidden,), (seen + hidden, C), (seen + hidden, N)
    frame, G, spectrum, means, deviations = _normals(jax.random.split(key, 5), shapes)
    frame = jnp.linalg.qr(frame)[0]
    if tight:
        G = jnp.linalg.qr(G)[0]
    G = G * scale / jnp.sqrt(jnp.linalg.norm(G.T @ G))
    spectrum = jnp.abs(spectrum)
    spectrum = hidden_energy * spectrum / jnp.linalg.norm(spectrum) if hidden else spectrum
    root = jax.scipy.linalg.block_diag(
        shrink**0.5 * psd_sqrt(G.T @ G), jnp.diag(jnp.sqrt(spectrum))
    )

    deviations -= spread(class_sums(deviations, sizes) / jnp.asarray(sizes)[None, :], sizes)
    # Where C means cannot fill the hidden directions, the deviations must.
    Z = spread(means, sizes) + within * deviations
    if centred:
        Z -= Z.mean(axis=1, keepdims=True)
    factor = jnp.linalg.cholesky(Z @ kernel.solve(Z, sizes, C).T)
    H = frame @ root @ jax.scipy.linalg.solve_triangular(factor, Z, lower=True)

    W = basis @ G @ frame[:, :seen].T
    if oriented:
        H1 = class_sums(H, sizes) / jnp.asarray(sizes)[None, :]
        turned = jnp.linalg.det(basis.T @ W @ H1 @ basis) < 0
        mirror = jnp.outer(basis[:, 0], basis[:, 0])
        W = jnp.where(turned, W - 2 * mirror @ W, W)
    return W, H


def _normals(keys, shapes) -> list[Array]:
    """Normal numbers for each key and shape, from one call of the generator.

    To compile it takes longer than all the algebra here, and a shorter array is the
    beginning of a longer one.
    """
    longest = max(map(math.prod, shapes))
    rows = jax.vmap(lambda key: jax.random.normal(key, (longest,)))(keys)
    return [row[: math.prod(shape)].reshape(shape) for row, shape in zip(rows, shapes, strict=True)]


def symmetric_state(
    kernel: BlockKernel,
    *,
    m: int,
    C: int,
    n: int,
    final_bias: float,
    start_bias: float = 0.0,
    strength: float = 0.5,
    key: PRNGKeyArray,
) -> State:
    r"""A collapsed, balanced, class-symmetric state whose flow ends at a chosen equal bias.

    Under $E = O$ and class symmetry the flow along $\mathbf 1$ has three scalars: w
    of the classifier, $h = \pm\kappa w$ of the class means and the bias β, with
    $\kappa = \sqrt{\lambda_{global}/m}$. Since $\dot w = \pm\kappa w\dot\beta$,
    $\ln w \mp \kappa\beta$ is conserved and the end follows from the start:
    $$\pm\kappa\, w_0^2\, e^{\pm 2\kappa(\beta_\infty-\beta_0)} + C\beta_\infty = 1 .$$
    The sign is that of $1 - C\beta_\infty$.

    Args:
        kernel: block kernel with diag > within.
        m: samples per class.
        C: number of classes.
        n: number of neurons, above C.
        final_bias: $\beta_\infty$.
        start_bias: $\beta_0$.
        strength: singular value of W on the C − 1 directions orthogonal to $\mathbf 1$.
        key: random key, for the directions in feature space.

    Returns:
        The state; features have no within-class part.

    Raises:
        ValueError: if n <= C or strength is not positive.

    Source: ours, for P2, Appendix B.4.
    """
    class_sizes(m, C)
    if n <= C or strength <= 0:
        raise ValueError(f"need n > C and strength > 0; got n = {n}, C = {C}, {strength}")
    _, class_, global_ = kernel.eigenvalues(m, C)
    kappa, gap = jnp.sqrt(global_ / m), 1 - C * final_bias
    sign = 1.0 if gap >= 0 else -1.0
    common = (abs(gap) / kappa) ** 0.5 * jnp.exp(-sign * kappa * (final_bias - start_bias))
    frame = jnp.linalg.qr(jax.random.normal(key, (n, C)))[0]
    mean = jnp.full((C, C), 1.0 / C)
    W = strength * (jnp.eye(C) - mean) + common * mean
    H1 = strength * jnp.sqrt(class_ / m) * (jnp.eye(C) - mean) + sign * kappa * common * mean
    return State(W=W @ frame.T, H=spread(frame @ H1, (m,) * C), b=jnp.full((C,), float(start_bias)))
