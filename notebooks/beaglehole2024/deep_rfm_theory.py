# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Why one step a layer is enough
#
# :::{question}
# Three arguments explain why one AGOP in each layer is enough to make classes collapse. Do they hold, and what exactly
# do they say?
# :::
#
# {term}`Deep RFM` collapses real data although nothing in it is trained beyond one linear solve a layer. {cite:t}`beaglehole2024` give
# three reasons: what a random layer does to angles, what an {term}`AGOP` does to a {term}`Gram matrix`, and which kernel is the best one for
# given labels.
#
# The first is right and says less than its text. The second has a wrong constant, and with the right one it becomes a cleaner
# theorem: no remainder, and an exact rate. The third is right, with a proof that needs repair; the repaired one fits into five lines and
# proves more. All matrices here are small, all arithmetic is double precision.
#
# :::{symbols}
# $C$, $N$, $\one$, $J(\theta)$, $\varrho(\theta)$, $T_l$, $\lambda_{\text{map}}$, $\hat\lambda$, $\kappa$, $\kappa_\star$, $\Pi$, $r_\Pi$, $\mathcal J(k)$, $\mu$
# :::

# %% tags=["parameters"]
SCALE = "quick"

# %% [markdown]
# ## Eight samples of two classes
#
# A random Gram matrix, through six layers of Deep RFM as a map of Gram matrices: the error shrinks by a factor a layer, and the factor is known beforehand.

# %% tags=["lesson"]
import jax

from ncutils.deep_rfm import gram_map

jax.config.update("jax_enable_x64", True)
draw, ridges = (
    jax.random.normal(jax.random.key(0), (8, 16)),
    dict(predictor_ridge=0.1, map_ridge=1.0),
)
scale = gram_map.exact_scale(per_class=4, **ridges)
path = gram_map.gram_path(draw @ draw.T / 16, num_classes=2, layers=6, scale=scale, **ridges)
path.error[1:] / path.error[:-1], gram_map.rates(per_class=4, **ridges).slowest

# %% [markdown]
# The page's figures and claims rest on two cases, each with who made it and in how many seconds.

# %%
import numpy as np

from ncutils import figures
from ncutils.records import claims, results

layers = results.load("beaglehole2024/deep_rfm_theory/theorem", scale=SCALE)
props = results.load("beaglehole2024/deep_rfm_theory/propositions", scale=SCALE)
judge = claims.at(SCALE)
[results.origin(one) for one in (layers, props)]

# %% [markdown]
# ## What a random ReLU layer does to angles
#
# :::{prf:proposition} Proposition A.1 of the paper
# :label: thm-relu-angle
#
# Let $x, z$ be unit vectors at angle $\theta$ and $W \in \R^{D \times d}$ have independent entries $\mathcal N(0, 2/D)$. Then
#
# $$
# \begin{gathered}
# \E\, \sigma(Wx)^\top \sigma(Wz) = J(\theta) := \frac1\pi \bigl( \sin\theta + (\pi - \theta) \cos\theta \bigr), \\
# \operatorname{Var} = \frac1D \Bigl[ \frac2\pi \bigl( 3 \sin\theta\cos\theta + (\pi - \theta)(1 + 2\cos^2\theta) \bigr) - J(\theta)^2 \Bigr] .
# \end{gathered}
# $$
#
# {claim}`P3-A1` {claim}`P3-A1-VAR`
# :::
#
# *Proof.* For one row the two products are Gaussian, $\sqrt{2/D}\, \rho \cos\varphi$ and $\sqrt{2/D}\, \rho \cos(\varphi - \theta)$, with $\varphi$ uniform on the circle and independent of
# $\rho$, for which $\E\rho^2 = 2$ and $\E\rho^4 = 8$. Both are positive on an arc of length $\pi - \theta$. There
# $\cos\varphi\cos(\varphi - \theta) = \frac12 \bigl( \cos\theta + \cos(2\varphi - \theta) \bigr)$, with integral
# $\frac12 \bigl( (\pi - \theta)\cos\theta + \sin\theta \bigr)$, and its square has the integral
# $\frac18 \bigl( (\pi - \theta)(1 + 2\cos^2\theta) + 3\sin\theta\cos\theta \bigr)$. The sum of $D$ independent rows has $D$ times their mean and variance. $\square$
#
# The paper gives the variance as $O(1/D)$; here it is in full, because it sets the error bars of the check. Over all angles and
# widths the largest deviation of the mean is {measured}`P3-A1` standard errors.
#
# **What it says about distances.** The layer keeps norms on average, $J(0) = 1$, so the squared distance changes by the factor
#
# $$
# \varrho(\theta) = \frac{2 - 2J(\theta)}{2 - 2\cos\theta} = 1 - \frac{\sin\theta - \theta\cos\theta}{\pi(1 - \cos\theta)}, \qquad
# \varrho'(\theta) = -\frac{\sin\theta\, (\theta - \sin\theta)}{\pi (1 - \cos\theta)^2} < 0 .
# $$
#
# It falls from 1 at small angles to $\frac12$ at opposite vectors {claim}`P3-A1-DIST`. So the layer *shrinks every distance*. That a
# random ReLU layer pushes points apart, as the text has it, is true only of close points relative to distant ones: **small angles shrink least.**
#
# :::{prf:corollary} When a random layer raises NC1
# :label: thm-relu-nc1
#
# Let all samples have norm one, classes be of one size, and every angle within a class be at most as large as every angle between two
# classes. An infinitely wide random ReLU layer does not lower NC1. {claim}`P3-A1-NC1`
# :::
#
# *Proof.* Let $D_W$ and $D_B$ be the mean squared distances within and between classes. Halves of mean squared distances are variances, so
# $\Tr\SigmaW = \frac12 D_W$, $\Tr\SigmaB = \frac12 (1 - \frac1C)(D_B - D_W)$, and $\NC_1$ is an increasing function of $D_W/D_B$ ($D_W$ taken
# with the pairs of a sample with itself). Let $\theta_0$ separate the angles. Then $D_W$ changes at least by the factor $\varrho(\theta_0)$ and
# $D_B$ at most by it. $\square$
#
# Close to collapse classes are separated in this way. This is why NC1 rises with every random map of Deep RFM, and there the map cannot be the cause of collapse. The corollary also says when it
# fails. If each class is half on one side of the origin and half on the other, large angles lie *within* the classes. Then ReLU brings the
# halves closer, and NC1 falls: in the example of the next figure $\log_{10} \NC_1$ changes by {measured}`P3-A1-NC1.control` in the draw where it falls least. This is what one uses nonlinear features for.

# %% tags=["hide-input", "remove-output"]
shown = props[["inner", "inner_law", "variance", "ratio", "ratio_erf", "nc1"]]
figures.save(
    figures.beaglehole2024.angles(shown),
    "p3-angles",
    scale=SCALE,
    data=shown,
    alt="Left: mean inner products after a random ReLU layer against the angle, for three widths, on the curve of "
    "the formula and above the cosine; the bars shrink with width. Middle: the ratio of squared distances falls "
    "from one to one half for ReLU; for erf it falls and rises again. Right: NC1 rises a little for separated "
    "classes and falls far for opposed ones.",
)

# %% [markdown]
# :::{nc-figure} p3-angles
# :claims: P3-A1 P3-A1-VAR P3-A1-DIST P3-A1-NC1
# Left: mean over random matrices; bars are one standard deviation of a single one. Inner products grow at every angle, so distances shrink.
# Middle: by which factor. The fall of the curve is the content of the proposition; a layer with erf has no such order. Right: NC1 of single draws, before and after an
# infinitely wide layer.
# :::

# %% tags=["hide-input"]
error = np.sqrt(props.variance_law / props.width / props.draws)
linear = 1 + np.cos(props.angle) ** 2
change = props.nc1.sel(side="after") - props.nc1.sel(side="before")
(
    judge(
        "P3-A1",
        of=props,
        value=(abs(props.inner - props.inner_law) / error).max(),
        control=(abs(np.cos(props.angle) - props.inner_law) / error).max(),
        n=props.draws,
    ),
    judge(
        "P3-A1-VAR",
        of=props,
        value=abs(props.variance / props.variance_law - 1).max(),
        control=abs(props.variance / linear - 1).max(),
        n=props.draws,
    ),
    judge(
        "P3-A1-DIST",
        of=props,
        value=props.ratio.diff("fine_angle").max(),
        control=props.ratio_erf.diff("fine_angle").max(),
    ),
    judge(
        "P3-A1-NC1",
        of=props,
        value=change.sel(set="separated").min(),
        control=change.sel(set="opposed").max(),
        over="repeat",
    ),
)

# %% [markdown]
# ## A layer as a map of Gram matrices
#
# For high-dimensional data a kernel is nearly linear, $k(X, X) \approx X^\top X + \lambda I$ after centring, and the paper takes this as the model of both kernels in a layer: the feature map's, with
# $\lambda_{\text{map}}$, and the predictor's, with $\hat\lambda$. Samples are columns, sorted by class, $n$ in each of $C$ classes, and $Y \in \{0, 1\}^{C \times N}$ has a one where a sample is of a class. (On this page $n$ is the size of one class; it
# matters below.) With $A = X^\top X$ the predictor is $f(x) = Y (A + \hat\lambda I)^{-1} X^\top x$. Its gradient is the same everywhere, the AGOP is
# $M = X (A + \hat\lambda I)^{-1} Y^\top Y (A + \hat\lambda I)^{-1} X^\top$, and
#
# $$
# X^\top M X = S\, Y^\top Y\, S, \qquad S = A (A + \hat\lambda I)^{-1} = I - \hat\lambda (A + \hat\lambda I)^{-1} .
# $$
#
# Without ridge $S = I$, and the Gram matrix is that of the labels after one step: *this is the mechanism*. With ridges, let $T_l$ be the Gram matrix after the AGOP of layer $l$, divide by a number $\kappa$ for the
# normalisation of the data, and add what the feature map adds:
#
# $$
# T_{l+1} = F(T_l) = \frac1\kappa\, S\, Y^\top Y\, S \quad \text{with} \quad A = T_l + \lambda_{\text{map}} I .
# $$
#
# :::{prf:theorem} Theorem 5.3 as printed
# :label: thm-gram-printed
#
# Let $\kappa = 1 - 2\hat\lambda (1 + \lambda_{\text{map}}^{-1})$. There is a universal constant such that for all $0 < \epsilon \le 1$ and small enough
# $\hat\lambda$ (a bound of the order of $(1 - \epsilon)\, \lambda_{\text{map}}$, divided by $(1 + \lambda_{\text{map}}^{-1})\, n$)
#
# $$
# \lVert T_{l+1} - Y^\top Y \rVert \le (1 - \epsilon) \lVert T_l - Y^\top Y \rVert + O(\hat\lambda^2 \lambda_{\text{map}}^{-2}) .
# $$
#
# {claim}`P3-T53-PRINTED`
# :::
#
# Iterated, this leaves an error of order $\hat\lambda^2 \lambda_{\text{map}}^{-2}/\epsilon$. The iteration leaves another.

# %% tags=["hide-input", "remove-output"]
shown = layers[["error", "table_law", "remainder", "plateau", "plateau_law"]]
figures.save(
    figures.beaglehole2024.gram_map(shown),
    "p3-gram-map",
    scale=SCALE,
    data=shown,
    alt="Two panels of the error against the layer on a logarithmic axis. With the exact normalisation it falls "
    "along a straight line to rounding; without normalisation and with the printed one it stops after two "
    "layers, the printed one highest, far above a dotted line for the stated remainder. Third panel: what "
    "remains is proportional to the ridge, while the stated remainder falls with its square.",
)

# %% [markdown]
# :::{nc-figure} p3-gram-map
# :claims: P3-T53-PRINTED P3-T53-PLATEAU P3-T53
# The Gram map from a random start, for a small and a large ridge, with three normalisations. The printed one stalls far above the dotted line, the remainder that
# the theorem allows, and above no normalisation at all. Right: what remains against the ridge (points), the derived plateau (lines), and the stated order (dotted): slope one, not two.
# :::
#
# **Where the proof turns.** Its Lemma C.2 is right {claim}`P3-LC`:
# $(Y^\top Y + \lambda_{\text{map}} I)^{-1} = \lambda_{\text{map}}^{-1} I - \lambda_{\text{map}}^{-1} (\lambda_{\text{map}} + n)^{-1} Y^\top Y$. As $(Y^\top Y)^2 = n\, Y^\top Y$, it gives
#
# $$
# Y^\top Y\, (Y^\top Y + \lambda_{\text{map}} I)^{-1} = \frac1{\lambda_{\text{map}}} \Bigl( 1 - \frac n{\lambda_{\text{map}} + n} \Bigr) Y^\top Y = \frac1{n + \lambda_{\text{map}}}\, Y^\top Y .
# $$
#
# The proof goes on with the factor $1 + \lambda_{\text{map}}^{-1}$ instead {claim}`P3-T53-PROOF`, and this factor makes the printed $\kappa$. It divides by too small a number: the fixed point is then not $Y^\top Y$ but $\frac\tau n Y^\top Y$ with
#
# $$
# \tau = \frac n\kappa \Bigl( \frac{\tau + \lambda_{\text{map}}}{\tau + \lambda_{\text{map}} + \hat\lambda} \Bigr)^2, \qquad
# |\tau - n| \approx 2\hat\lambda n \Bigl| 1 + \lambda_{\text{map}}^{-1} - \frac1{n + \lambda_{\text{map}}} \Bigr| ,
# $$
#
# first order in $\hat\lambda$ {claim}`P3-T53-PLATEAU`. No universal constant makes this $O(\hat\lambda^2)$.
#
# ## The theorem, corrected
#
# Let $\Pi = \frac1n Y^\top Y$, the projector on the labels, and
#
# $$
# \begin{gathered}
# \kappa_\star = \Bigl( \frac{n + \lambda_{\text{map}}}{n + \lambda_{\text{map}} + \hat\lambda} \Bigr)^2, \\
# r = \frac{\hat\lambda\, n}{(n + \lambda_{\text{map}})(\lambda_{\text{map}} + \hat\lambda)}, \qquad
# r_\Pi = \frac{2 \hat\lambda\, n}{(n + \lambda_{\text{map}})(n + \lambda_{\text{map}} + \hat\lambda)} .
# \end{gathered}
# $$
#
# :::{prf:theorem} Deep neural collapse of the Gram map
# :label: thm-gram-exact
#
# Let $\hat\lambda, \lambda_{\text{map}} > 0$ and $\kappa = \kappa_\star$.
#
# 1. $Y^\top Y$ is a fixed point.
# 2. For every positive semi-definite $T$, with $E = T - Y^\top Y$: $\ \lVert F(T) - Y^\top Y \rVert \le \bigl( 2r + \frac{r^2}n \lVert E \rVert \bigr) \lVert E \rVert$ {claim}`P3-T53-BOUND`. The left-hand side is also at most $n/\kappa_\star$. If $2r + r^2/\kappa_\star < 1$, the error
#    goes to zero from every start.
# 3. The derivative of $F$ at $Y^\top Y$ multiplies $\Pi E (I - \Pi)$ and its transpose by $r$, $\Pi E \Pi$ by $r_\Pi$, and $(I - \Pi) E (I - \Pi)$ by $0$. These subspaces
#    have dimension $C(N - C)$, $\frac12 C(C + 1)$ and $\frac12 (N - C)(N - C + 1)$. {claim}`P3-T53-RATES`
# 4. The error of a generic start near enough to collapse shrinks in the end by the factor $\max(r, r_\Pi)$ a layer, if that is below one. It is $r \approx \hat\lambda / \lambda_{\text{map}}$ when $n > \lambda_{\text{map}} + \hat\lambda$. {claim}`P3-T53`
# :::
#
# *Proof.* Put $\mathcal R = (T + \lambda_{\text{map}} I + \hat\lambda I)^{-1}$, so that $S = I - \hat\lambda \mathcal R$, and write $\mathcal R_\star, S_\star$ for $T = Y^\top Y$. On the range of $\Pi$ the matrix $\mathcal R_\star$ is the number $p = 1/(n + \lambda_{\text{map}} + \hat\lambda)$ and
# $S_\star$ is $s = (n + \lambda_{\text{map}})\, p = \sqrt{\kappa_\star}$; on its complement $\mathcal R_\star$ is $q = 1/(\lambda_{\text{map}} + \hat\lambda)$.
#
# (1) $F(Y^\top Y) = s^{-2}\, n\, s^2\, \Pi = Y^\top Y$.
#
# (2) From $\mathcal R_\star - \mathcal R = \mathcal R E \mathcal R_\star$ we have $S - S_\star = \hat\lambda \mathcal R E \mathcal R_\star$, so $S\Pi = s\Pi + \Delta$ with $\Delta = \hat\lambda p\, \mathcal R E \Pi$. Since
# $S Y^\top Y S = n (S\Pi)(S\Pi)^\top$,
#
# $$
# F(T) - Y^\top Y = \frac n{s^2} \bigl( s (\Delta + \Delta^\top) + \Delta\Delta^\top \bigr) .
# $$
#
# This is exact. As $\lVert \mathcal R \rVert \le q$, $\lVert \Delta \rVert \le \hat\lambda p q \lVert E \rVert = \frac{s r}n \lVert E \rVert$, and the bound follows. The other one: both $F(T)$ and $Y^\top Y$ lie between $O$ and $\frac n{\kappa_\star} I$, because $\lVert S \rVert \le 1$. After
# one layer $\lVert E \rVert \le n/\kappa_\star$, and from there on the factor is at most $2r + r^2/\kappa_\star$.
#
# (3) To first order $\Delta = \hat\lambda p\, \mathcal R_\star E\Pi$ and $\Delta\Delta^\top = 0$. From $(I - \Pi)E\Pi$ comes the factor $\frac ns \hat\lambda p q = r$; from $\Pi E\Pi$, which is met twice, $2\frac ns \hat\lambda p^2 = r_\Pi$; the rest is not met.
#
# (4) $r_\Pi / r = 2 (\lambda_{\text{map}} + \hat\lambda) / (n + \lambda_{\text{map}} + \hat\lambda)$. $\square$
#
# What was printed as a contraction with a remainder under a bound on $\hat\lambda n$ is thus a contraction without one, and the number of samples hardly matters: $r < \hat\lambda/\lambda_{\text{map}}$ for every $n$. The paper's
# message stands stronger than it was stated. One should know what it is about: a linear model of the kernels, one number for the normalisation, and training data.
#
# Two remarks. $r$ is below one for all ridges, but $r_\Pi$ is not: if $\hat\lambda (n - \lambda_{\text{map}}) > (n + \lambda_{\text{map}})^2$, a predictor so weak that it forgets the labels, the collapsed Gram matrix is unstable. And the error outside the labels is
# gone after one layer but for second order: what decays slowly is how samples still *mix* with the labels.

# %% tags=["hide-input", "remove-output"]
shown = layers[["rate", "part_rate", "rate_law", "spectrum", "spectrum_law"]]
figures.save(
    figures.beaglehole2024.gram_rates(shown),
    "p3-gram-rates",
    scale=SCALE,
    data=shown,
    alt="Left: measured factors per layer against the ridge lie on the two derived curves; crosses of far starts "
    "lie on the upper one. Right: the sorted eigenvalues of the derivative form three steps, at zero, at the "
    "label factor and at the mixed factor, on the derived line.",
)

# %% [markdown]
# :::{nc-figure} p3-gram-rates
# :claims: P3-T53 P3-T53-RATES P3-T53-BOUND
# Left: factors by which the error shrinks in a layer, $n = 10$, $\lambda_{\text{map}} = 1$. Dots start near collapse, with an error in one part; crosses are the last factor above rounding of starts far away. Right: the derivative in all 78 directions of twelve samples in three
# classes. Three steps, as long as derived.
# :::
#
# From far starts the last factor differs from $r$ by at most {measured}`P3-T53`, relatively. With the printed normalisation the same number is {measured}`P3-T53.control`: on a plateau the factor is one.

# %% tags=["hide-input"]
errors = layers.identity_error
logs = np.log(layers.plateau.assign_coords(small_ridge=np.log(layers.small_ridge)))
slopes = logs.polyfit("small_ridge", 1).polyfit_coefficients.sel(degree=1)
wrong = layers.sel(scale=["one", "printed"])
law = layers.rate_law.sel(part="mixed")
stalled = layers.error.sel(scale="printed").isel(setting=3)
used = layers.bound_used.max("try")
(
    judge(
        "P3-LC",
        of=layers,
        value=errors.sel(identity=["woodbury", "inverse"]).max(),
        control=errors.sel(identity="all samples"),
    ),
    judge(
        "P3-T53-PROOF",
        of=layers,
        value=errors.sel(identity="derived"),
        control=errors.sel(identity="printed"),
    ),
    judge(
        "P3-T53-PRINTED",
        of=layers,
        value=slopes.sel(scale="printed"),
        control=slopes.sel(scale="one"),
    ),
    judge(
        "P3-T53-PLATEAU",
        of=layers,
        value=abs(wrong.plateau / wrong.plateau_law - 1).max(),
        control=abs(wrong.plateau / wrong.small_ridge**2 - 1).max(),
    ),
    judge(
        "P3-T53",
        of=layers,
        value=abs(layers.rate / law - 1).max(),
        control=abs(stalled[-1] / stalled[-2] / law.sel(ridge=0.1) - 1),
        over="repeat",
    ),
    judge(
        "P3-T53-RATES",
        of=layers,
        value=abs(layers.spectrum - layers.spectrum_law).max(),
        control=abs(layers.spectrum - layers.spectrum_law.max()).max(),
        n=layers.sizes["direction"],
    ),
    judge(
        "P3-T53-BOUND",
        of=layers,
        value=used.sel(bound_scale="exact"),
        control=used.sel(bound_scale="printed"),
        n=layers.sizes["try"],
    ),
)

# %% [markdown]
# ## The best kernel for given labels
#
# Kernel ridge regression that also chooses its kernel solves, with $k_M(x, z) = \phi(\lVert x - z \rVert_M)$ and $\phi(0) = 1$,
#
# $$
# \inf_{A,\, M}\ \lVert Y - A k_M \rVert_F^2 + \mu \operatorname{tr}(k_M A^\top A) .
# $$ (eq-rfm-problem)
#
# Its relaxation, (7) of the paper, takes the infimum over *all* positive semi-definite $k$ with ones on the diagonal and entries $\ge 0$. For fixed $k$ the best coefficients are $A = Y(k + \mu I)^{-1}$, and what is left is
#
# $$
# \mathcal J(k) = \mu \operatorname{tr}\bigl( Y (k + \mu I)^{-1} Y^\top \bigr) .
# $$
#
# :::{prf:theorem} Theorem 5.4 of the paper, with its value
# :label: thm-relaxed-kernel
#
# The unique minimum of $\mathcal J$ over positive semi-definite $k$ with unit diagonal is at $k^\star = Y^\top Y$, the kernel of complete collapse. Its value is $N\mu/(n + \mu)$. That the entries are not negative is not needed. {claim}`P3-T54` {claim}`P3-T54-VALUE`
# :::
#
# *Proof.* Let $u_c = Y_c/\sqrt n$, a unit vector with equal entries on class $c$. The function $\varphi(x) = 1/(x + \mu)$ is strictly convex; so by Jensen's inequality, over the eigenvalues of $k$ with the weights of $u_c$ in its eigenspaces,
#
# $$
# \mathcal J(k) = \mu n \sum_c u_c^\top \varphi(k)\, u_c \ \ge\ \mu n \sum_c \varphi\bigl( u_c^\top k\, u_c \bigr) \ \ge\ \mu n\, \frac C{n + \mu} .
# $$
#
# The last step: entries of a positive semi-definite matrix with unit diagonal are at most 1, so $u_c^\top k u_c \le \frac1n n^2 = n$, and $\varphi$ falls. *Equality* in the last step makes all entries within classes 1. Equality in Jensen's makes $u_c$ an
# eigenvector, $k u_c = n u_c$. Samples of a class then have one feature vector, the entries between two classes are one number, and $k u_c = n u_c$ says that it is zero. $\square$
#
# The published proof takes another way and stumbles twice. It maximises $\sum_c Y_c^\top k (k + \mu I)^{-1} Y_c$, a sum of $g(x) = x/(x + \mu)$ over eigenvalues, and calls $g$ convex; it is concave, which is the direction that is
# needed. It is the whole reason why the relaxed problem is benign: $\mathcal J$ is convex, with the matrix inverse {claim}`P3-T54-CONVEX`. And strictness is taken from Perron and Frobenius for matrices with positive entries. The matrix in question, $k^\star$, is block-diagonal, and there the theorem does not separate the leading eigenvectors. The
# equality conditions above do not need it.

# %% tags=["hide-input", "remove-output"]
shown = props[["line", "gap", "gap_law", "excess"]]
figures.save(
    figures.beaglehole2024.relaxed(shown),
    "p3-relaxed",
    scale=SCALE,
    data=shown,
    alt="Left: the objective along straight lines from the label kernel to the identity, the simplex frame, the "
    "matrix of ones and a random kernel rises from one, convex, on all four. Right: the excess over the minimum "
    "against the distance between classes falls exponentially for the Laplace kernel, faster for the Gaussian, "
    "along the derived lines, and levels off for a kernel with a floor.",
)

# %% [markdown]
# :::{nc-figure} p3-relaxed
# :claims: P3-T54 P3-T54-CONVEX P3-B1-INF P3-B1-RATE
# Left: the objective on straight lines from the collapsed kernel to four others (logarithmic axis). It rises on all of them, also towards the simplex frame, which has negative entries. Right: kernels of a Mahalanobis distance on real digits, whose classes are points at a growing distance.
# They approach the minimum and never reach it. Lines: derived. Grey: a kernel that does not vanish at infinity.
# :::
#
# **The labels of the experiments are ±1**, not 1 and 0, and then the best kernel is another one.
#
# :::{prf:proposition} Targets ±1
# :label: thm-relaxed-signs
#
# For $C \ge 3$ and targets $2Y - \one\one^\top$, a minimum of $\mathcal J$ over the same kernels is the one with ones within the classes and $\displaystyle a = \frac{C - 4}{3C - 4} \Bigl( 1 + \frac\mu n \Bigr)$ between them. {claim}`P3-T54-SIGNS`
# :::
#
# *Proof.* $\mathcal J$ is convex and does not change when samples of a class or whole classes are permuted. So the mean of a minimiser over all permutations is one, and has three values $1, w, a$. Its eigenvalues on class contrasts and on $\one$ grow with $w$, so $w = 1$, and they are $n(1 - a)$ and
# $n(1 - a) + Na$. The targets have squared length $4n$ along each of the $C - 1$ contrasts and $n(C - 2)^2$ along $\one$. What remains is to minimise
#
# $$
# \frac{4 (C - 1)}{1 - a + \mu/n} + \frac{(C - 2)^2}{1 + (C - 1) a + \mu/n} ,
# $$
#
# and its derivative vanishes where $2 \bigl( 1 + (C - 1)a + \frac\mu n \bigr) = (C - 2) \bigl( 1 - a + \frac\mu n \bigr)$. $\square$
#
# For ten classes this is about a quarter: class means at acute angles instead of right ones. NC1 does not notice, and neither does NC2, which subtracts the global mean: equal angles become the simplex. Only for four classes are both codings alike.
#
# ## Can a Mahalanobis kernel get there?
#
# :::{prf:proposition} Proposition B.1 of the paper, with its condition
# :label: thm-mahalanobis
#
# Let the samples be linearly independent and $\phi$ fall strictly from $\phi(0) = 1$ **to zero**, such that all $k_M$ are positive semi-definite. Then {eq}`eq-rfm-problem` and its relaxation have the same infimum. {claim}`P3-B1` {claim}`P3-B1-INF`
# :::
#
# *Proof.* Let the columns of $R$ be any $N$ points. As the samples are independent, $N_R = R X^\dagger$ satisfies $N_R X = R$, and with $M = N_R^\top N_R$ the distances $\lVert x_i - x_j \rVert_M$ are those of $R$. Take for $R$ one point for each class, at mutual distance $t$. Then
# $k_M$ has ones within the classes and $\rho = \phi(t)$ between them, and $\rho \to 0$ as $t \to \infty$. $\square$
#
# The paper asks that $\phi$ be positive and strictly decreasing. That is not quite enough: for $\phi(t) = \frac12(1 + e^{-t})$ the classes can be separated no further than $\frac12$, and the excess over the minimum stays at {measured}`P3-B1-INF.control` times the minimum. For the Laplace and the Gaussian
# kernel the excess vanishes. It never is zero, as $\rho > 0$. From the eigenvalues $n(1 - \rho)$, with weight $N - n$, and $n(1 - \rho) + N\rho$, with weight $n$,
#
# $$
# \frac{\mathcal J(k_M)}{\mathcal J(k^\star)} - 1 = (C - 1) \Bigl( \frac n{n + \mu} \Bigr)^2 \rho^2 + O(\rho^3) :
# $$
#
# the first order cancels, as it must at a minimum {claim}`P3-B1-RATE`. So an optimiser would push classes apart for ever, ever more slowly.
#
# Note what the construction uses: nothing about the data. Forty digits of 64 pixels take *any* distances {claim}`P3-B1`, labels dealt out at random included. The proposition says that collapse is the best a kernel can do on the training set, not that it generalises; whether it does is a question for test data.

# %% tags=["hide-input"]
bend = props.line.diff("share", n=2)
slope = props.across_slope.max("coding_classes")
error, last = props.distance_error, props.gap.isel(separation=-1)
off = abs(props.gap / props.gap_law - 1).sel(separation=slice(5, 7)).max("separation")
(
    judge(
        "P3-T54", of=props, value=props.excess.min(), control=props.infeasible, n=props.excess.size
    ),
    judge(
        "P3-T54-VALUE",
        of=props,
        value=props.minimum_error,
        control=props.line.sel(path="identity").isel(share=-1),
    ),
    judge("P3-T54-CONVEX", of=props, value=bend.min(), control=(-bend).min()),
    judge(
        "P3-T54-SIGNS",
        of=props,
        value=slope.sel(across="law"),
        control=slope.sel(across="law + 0.05"),
        n=props.sizes["coding_classes"],
    ),
    judge(
        "P3-B1",
        of=props,
        value=error.sel(points="asked for").max(),
        control=error.sel(points="others").min(),
        over="repeat",
    ),
    judge(
        "P3-B1-INF",
        of=props,
        value=last.sel(profile=["laplace", "gaussian"]).max(),
        control=last.sel(profile="with a floor"),
    ),
    judge(
        "P3-B1-RATE",
        of=props,
        value=off.sel(profile="laplace"),
        control=off.sel(profile="with a floor"),
    ),
)

# %% [markdown]
# ## Your turn
#
# The label part of the error has a factor of its own, $r_\Pi$, which passes one when the predictor forgets the labels. Find a ridge $\hat\lambda$ for which it does: here is the case of this page
# with a small one and two large ones, for classes of ten samples and $\lambda_{\text{map}} = 1$.

# %% tags=["your-turn"]
from ncutils import experiments

tried = experiments.run("beaglehole2024/deep_rfm_theory/theorem", ridges=(0.1, 10.0, 30.0))
tried.rate_law.to_pandas()

# %% [markdown]
# ## Verdicts
#
# *Angles.* The mean inner product after a random ReLU layer is the stated one, and all distances shrink, small ones least. That raises NC1 when the classes are separated by angle, and may lower it otherwise.
# *The Gram map.* Theorem 5.3 as printed leaves a remainder of first order, not of second {claim}`P3-T53-PRINTED`; what its proof takes from two correct lemmas does not follow. With the exact normalisation nothing remains, and the rate
# is known in every direction. *The best kernel.* The label kernel is the best, also among kernels with negative entries; kernels of a Mahalanobis distance approach it, if they vanish at infinity, and never reach it. For the targets of the experiments, $\pm 1$,
# another kernel is the best, with an angle between classes.
#
# ```{verdicts}
# ```
#
# The [next page](weights_and_agop) asks whether the weights of trained networks do what the AGOP does here.
