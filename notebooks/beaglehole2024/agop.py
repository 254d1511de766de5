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
# # The average gradient outer product
#
# :::{question}
# Which directions of its input does a predictor use? What is the average gradient outer product of the
# predictors that we can solve, and what has it to do with the weights of a network?
# :::
#
# Take the gradient of each output of a predictor at each sample, and average the outer products. The matrix that results, the
# {term}`AGOP`, is the tool of {cite:t}`beaglehole2024`, and the next three pages are about what it does to classes.
#
# For a linear map it is the {term}`Gram matrix` of the weights, and samples multiplied by its square root collapse to one point per class if the map fits the labels. For a {term}`kernel machine` it has a closed form. For a trained
# network its square root correlates with the weights; but so it does before training.
#
# :::{symbols}
# $\operatorname{AGOP}(f, X)$, $C$, $N$, $P$, $B_c$
# :::

# %% tags=["parameters"]
SCALE = "quick"

# %% [markdown]
# ## On five points
#
# The AGOP of a linear map is the Gram matrix of its weights, wherever it is evaluated.

# %% tags=["lesson"]
import jax
import jax.numpy as jnp

from ncutils import agop

jax.config.update("jax_enable_x64", True)
X = jax.random.normal(jax.random.key(0), (5, 2))
W = jnp.array([[1.0, 2.0], [0.0, 1.0]])
agop.agop(lambda x: W @ x, X), W.T @ W

# %% [markdown]
# For a kernel machine the library has a closed form. It agrees with automatic differentiation of the machine, here to rounding.

# %% tags=["lesson"]
machine = agop.kernel_ridge(X, X[:, :1] ** 2, kernel="laplace", bandwidth=2.0)
closed = agop.kernel_agop(machine.alpha, X, kernel="laplace", bandwidth=2.0)
abs(closed - agop.agop(machine, X)).max()

# %% [markdown]
# The rest of the page is about real digits: the numbers of this case, and who made them in how many seconds.

# %%
from ncutils import figures
from ncutils.records import claims, results

ds = results.load("beaglehole2024/agop/digits", scale=SCALE)
judge = claims.at(SCALE)
results.origin(ds)

# %% [markdown]
# ## Definition
#
# :::{prf:definition} AGOP
# :label: def-agop
#
# Let $f: \R^d \to \R^k$ be differentiable, with Jacobian $J_f(x) \in \R^{k \times d}$. Its average gradient outer product over samples $x_1, \dots, x_N$ is
#
# $$
# \operatorname{AGOP}(f, X) = \frac1N \sum_i J_f(x_i)^\top J_f(x_i) \in \R^{d \times d} .
# $$
# :::
#
# For a unit vector $u$, $u^\top \operatorname{AGOP}(f, X)\, u$ is the mean squared change of the outputs per step in the direction $u$. Directions that $f$ does not see are in its kernel.
#
# ## Linear maps
#
# The Jacobian of $f(x) = Wx$ is $W$ everywhere, so its AGOP is $W^\top W$ whatever the data {claim}`P3-AGOP-LINEAR`.
#
# :::{prf:proposition} Collapse in one step
# :label: thm-linear-collapse
#
# Let $Wx_i = y_i$ for all samples, with one target for each class, and let $W$ have full row rank. Then $M^{1/2} x_i$, with $M = W^\top W$, is the same for all samples of a class. {claim}`P3-AGOP-COLLAPSE`
# :::
#
# *Proof.* $M^{1/2} = W^\top (W W^\top)^{-1/2}\, W$: the right side is symmetric and positive semi-definite, and its square is $W^\top W$. So $M^{1/2} x_i = W^\top (W W^\top)^{-1/2} y_i$. $\square$
#
# On digits of $8 \times 8$ pixels, four of each class, so that the samples are linearly independent, what is left of NC1 is at most {measured}`P3-AGOP-COLLAPSE`. With ridge, where $Wx_i$ only comes close to $y_i$, it is {measured}`P3-AGOP-COLLAPSE.control`.
# The whole of P3 is about what survives of this argument when the predictor is not linear.

# %% tags=["hide-input"]
left = ds.linear_nc1
(
    judge(
        "P3-AGOP-LINEAR",
        of=ds,
        value=ds.linear_error.max(),
        control=ds.linear_wrong.min(),
        over="repeat",
    ),
    judge(
        "P3-AGOP-COLLAPSE",
        of=ds,
        value=left.sel(inputs="interpolated").max(),
        control=left.sel(inputs="ridge").min(),
        over="repeat",
    ),
)

# %% [markdown]
# ## Kernel machines
#
# Let $f(x) = \sum_p \alpha_p\, k(x, x_p)$ with coefficients $\alpha_p \in \R^C$. For the two kernels
#
# $$
# \begin{aligned}
# e^{-\lVert x - z \rVert / L}&: & \nabla_x k &= -P(x, z)\, (x - z), & P &= \frac{k(x, z)}{L \lVert x - z \rVert}, \\
# e^{-\lVert x - z \rVert^2 / 2L^2}&: & \nabla_x k &= -P(x, z)\, (x - z), & P &= \frac{k(x, z)}{L^2} .
# \end{aligned}
# $$
#
# The Laplace kernel has no gradient at $x = z$. Its own term is left out at each training point, which is the mean of the one-sided derivatives, and $P_{ii} = 0$. (A distance in a
# metric, $\lVert u \rVert_M^2 = u^\top M u$, puts an $M$ in front of $x - z$.)
#
# :::{prf:proposition} Two forms
# :label: thm-kernel-agop
#
# With $d_c = P\alpha_c$ and $B_c = P \operatorname{diag}(\alpha_c) - \operatorname{diag}(d_c)$ for the outputs $c$,
#
# $$
# \begin{gathered}
# \operatorname{AGOP}(f, X) = \frac1N \sum_c (B_c X)^\top (B_c X) = \frac1N X^\top S X, \\
# S = \sum_c B_c^\top B_c = P^2 \odot \alpha\alpha^\top - P \odot (\alpha d^\top + d \alpha^\top) + \operatorname{diag} \Bigl( \sum_c d_c^2 \Bigr) .
# \end{gathered}
# $$
#
# {claim}`P3-AGOP-KERNEL`
# :::
#
# *Proof.* The gradient of output $c$ at $x_i$ is $\sum_p P_{ip} \alpha_{pc} (x_p - x_i)$, row $i$ of $B_c X$. Multiply out $B_c^\top B_c$, with $P$ symmetric. $\square$
#
# The first form takes $C$ products of an $N \times N$ with an $N \times d$ matrix, the second one product of two $N \times N$ matrices. The library takes the cheaper one. The second subtracts large numbers where two points are close, since $P$ is large there: it loses all
# digits of single precision on collapsed data, and is evaluated in double.
#
# Against automatic differentiation of the machine, both are right to {measured}`P3-AGOP-KERNEL`. With a bandwidth that is off by one percent the AGOP moves by {measured}`P3-AGOP-KERNEL.control`.

# %% tags=["hide-input"]
judge(
    "P3-AGOP-KERNEL",
    of=ds,
    value=ds.kernel_error.max(),
    control=ds.kernel_wrong.min(),
    over="repeat",
)

# %% tags=["hide-input", "remove-output"]
shown = ds[["kernel_diagonal", "network_diagonal"]]
figures.save(
    figures.beaglehole2024.agop_pixels(shown),
    "p3-agop-pixels",
    scale=SCALE,
    data=shown,
    alt="Four pictures of eight by eight pixels: how much each predictor uses each pixel of a digit. All use the middle "
    "columns and little of the left and right edges, where digits are blank.",
)

# %% [markdown]
# :::{nc-figure} p3-agop-pixels
# :claims: P3-AGOP-KERNEL P3-NFA
# Which pixels matter. Diagonals of the AGOP of two kernel machines, of the root of the AGOP of a network, and of $W_1^\top W_1$ of that network, each scaled to its maximum. Mean over seeds.
# :::
#
# All four pictures show the middle columns used more than the left and right edges, where digits are blank. The two pictures of a network belong to the next section.
#
# ## Networks, and the ansatz
#
# For layer $l$ of a network, let $f_l$ be the part from the input of that layer on, and $\operatorname{AGOP}_l$ its AGOP. The {term}`neural feature ansatz` of {cite:t}`radhakrishnan2024` says that
# training makes $W_l^\top W_l$ and $\operatorname{AGOP}_l$ similar. The paper compares the first with the square root of the second, by the Pearson correlation of their entries.
#
# A correlation needs a level of chance. Two positive matrices with random eigenvectors are not uncorrelated: both have positive entries on the diagonal and entries about zero beside it. We turn the basis of the root at random and correlate again.

# %% tags=["hide-input", "remove-output"]
shown = ds[["correlation", "loss"]]
figures.save(
    figures.beaglehole2024.ansatz(shown),
    "p3-ansatz",
    scale=SCALE,
    data=shown,
    alt="Left: correlation of the weights' Gram matrix with the root of the AGOP, with the AGOP, and with the root in random bases, "
    "by epoch for three layers. The first is high, also before training, the last much lower. Right: the training loss falls.",
)

# %% [markdown]
# :::{nc-figure} p3-ansatz
# :claims: P3-NFA
# Three hidden layers of 64 units, digits of $8 \times 8$ pixels. Full lines: correlation with the root of the AGOP. Dotted: with the AGOP itself. Dashed: with the root in a random basis.
# :::
#
# At the end the lowest correlation over the layers is {measured}`P3-NFA`, and the highest by chance {measured}`P3-NFA.control`. The square root fits better than the AGOP itself. So the ansatz holds, as a statement about the trained network.
#
# **It holds before training, too.** The chain rule says why: the Jacobian of everything after the input of layer $l$ ends with $W_l$, so $\operatorname{AGOP}_l = W_l^\top N_l W_l$ with some positive semi-definite matrix $N_l$. Unless $N_l$ singles out directions of its own, the two matrices share their
# large directions. A high correlation alone does not show that training aligned anything. What trained weights and the AGOP have in common beyond that is the subject of [weights and the AGOP](weights_and_agop).

# %% tags=["hide-input"]
end = ds.correlation.isel(epoch=-1).mean("repeat")
judge(
    "P3-NFA",
    of=ds,
    value=end.sel(compared="root of the AGOP").min(),
    control=end.sel(compared="chance").max(),
    over="repeat",
)

# %% [markdown]
# ## Your turn
#
# Does the ansatz need many layers? Train a network with a single hidden layer instead of three, on other digits, and correlate again:
# the columns are the root of the AGOP, the AGOP itself, and chance. Then change the gain of its first weights.

# %% tags=["your-turn"]
from ncutils import experiments

tried = experiments.run("beaglehole2024/agop/digits", scale="smoke", seeds=(7,), hidden=(64,))
tried.correlation.isel(epoch=-1, repeat=0).to_pandas()

# %% [markdown]
# ## Verdicts
#
# For a linear map the AGOP is the Gram matrix of the weights, and one step with it collapses the classes. For a kernel machine it has a
# closed form. In a trained network its root and the Gram matrix of the weights are correlated; they are before training as well, so that the
# correlation alone does not say what training did.
#
# ```{verdicts}
# ```
