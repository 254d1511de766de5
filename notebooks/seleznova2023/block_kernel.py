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
# # A kernel with block structure
#
# :::{question}
# What does a kernel with three values know, how fast does it learn it, and does a real network look like one?
# :::
#
# A network that trains well treats samples of one class alike. In its tangent kernel this shows as
# bright squares along the diagonal: {term}`block structure`. {cite:t}`seleznova2023` take this picture as
# their starting point: they *assume* that the kernel has three values, and derive {term}`neural collapse` from it.
#
# This page answers with one table, three rates, and a small network that learns digits. The next two
# pages are about the features.
#
# :::{symbols}
# $C$, $N$, $\one$, $\Theta_{k,s}$, $\gamma_d$, $\gamma_c$, $\gamma_n$, $\lambda_{\text{single}}$, $\lambda_{\text{class}}$, $\lambda_{\text{global}}$, $\eta$
# :::

# %% tags=["parameters"]
SCALE = "quick"

# %% [markdown]
# ## In a few lines
#
# Two classes of two samples, and a kernel that has one value for a sample with itself, one within a class and one between classes.

# %% tags=["lesson"]
import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp

from ncutils import block_ntk, linalg

kernel = block_ntk.BlockKernel(diag=2.0, within=1.0, across=0.3)
K, y = kernel.matrix(2, 2), jnp.array([0, 0, 1, 1])
K

# %% [markdown]
# Its three values are read off the matrix again, of any kernel and in any order of the samples. And of its four
# eigenvalues two are equal: the three that are left follow from the three values by the table below.

# %% tags=["lesson"]
linalg.block_values(K, y, num_classes=2), jnp.linalg.eigvalsh(K), kernel.eigenvalues(2, 2)

# %% [markdown]
# The rest of the page does this at the size of the experiments. Its results, with the case that made each and the seconds it took:

# %%
from ncutils import figures
from ncutils.records import claims, results

rates = results.load("seleznova2023/block_kernel/rates", scale=SCALE)
network = results.load("seleznova2023/block_kernel/elasticity", scale=SCALE)
judge = claims.at(SCALE)
[results.origin(ds) for ds in (rates, network)]

# %% [markdown]
# ## Three values, three eigenvalues
#
# There are $C$ classes of $m$ samples, $N = mC$ in all, sorted by class. The tangent kernel of a network
# with outputs $f_1, \dots, f_C$ and parameters $w$ is
# $\Theta_{k,s}(x_i, x_j) = \langle \nabla_w f_k(x_i), \nabla_w f_s(x_j) \rangle$.
#
# :::{prf:definition} Definition 3.1 of the paper
# :label: def-block-kernel
#
# The kernel has **block structure** with values $\gamma_d > \gamma_c > \gamma_n \ge 0$ if different
# outputs do not interact, $\Theta_{k,s} = 0$ for $k \ne s$, and for every output
#
# $$
# \Theta_{kk}(x_i, x_j) =
# \begin{cases}
# \gamma_d & i = j, \\
# \gamma_c & \text{two samples of one class}, \\
# \gamma_n & \text{samples of different classes.}
# \end{cases}
# $$
# :::
#
# As a matrix, with $\one_m$ the vector of $m$ ones,
# $\Theta_{kk}(X) = (\gamma_d - \gamma_c) I_N + (\gamma_c - \gamma_n)\, I_C \otimes \one_m \one_m^\top + \gamma_n \one_N \one_N^\top$.
#
# :::{prf:theorem} Table 1 of the paper
# :label: thm-block-spectrum
#
# | eigenvalue | eigenvectors | multiplicity |
# |---|---|---|
# | $\lambda_{\text{single}} = \gamma_d - \gamma_c$ | $v^c_i$: $m-1$ at sample $i$ of class $c$, $-1$ at the others of the class | $N - C$ |
# | $\lambda_{\text{class}} = \lambda_{\text{single}} + m(\gamma_c - \gamma_n)$ | $v^c$: $C-1$ on class $c$, $-1$ on the others | $C - 1$ |
# | $\lambda_{\text{global}} = \lambda_{\text{class}} + N\gamma_n$ | $\one_N$ | $1$ |
#
# {claim}`P2-T1`
# :::
#
# *Proof.* The three matrices of the sum commute, so it is enough to see what each does to the vectors. The
# sum of $v^c_i$ over every class is zero: $I_C \otimes \one\one^\top$ and $\one\one^\top$ both give $0$,
# and only $\gamma_d - \gamma_c$ is left. $v^c$ is constant on classes with total sum zero: the second matrix
# multiplies it by $m$, the third gives $0$. And $\one_N$ is multiplied by $1$, $m$ and $N$. The $v^c_i$ span
# all vectors that sum to zero on each class, which have dimension $N - C$; the $v^c$ add all vectors that
# are constant on classes and sum to zero; $\one_N$ is the one that is missing. $\square$
#
# Read from below: what tells two samples of a class apart has the smallest eigenvalue, what tells classes
# apart a larger one, and what all samples have in common the largest. The table is exact for three values and
# for nothing else. On kernels with three random values its largest relative error is {measured}`P2-T1`; when one class alone
# has a slightly larger value within itself, it is {measured}`P2-T1.control`.

# %% tags=["hide-input"]
table = rates.table_error
right, broken = table.sel(table="block kernel").max(), table.sel(table="one class differs").min()
judge("P2-T1", of=rates, value=right, control=broken, over="repeat")

# %% [markdown]
# ## Three rates
#
# Under gradient descent on the squared error with step $\eta$ and a kernel that does not change, the residual
# $r_k = f_k(X) - y_k$ of output $k$ obeys $r_k^{t+1} = (I - \eta\, \Theta_{kk}) r_k^t$. Along an eigenvector it
# shrinks by $1 - \eta\lambda$ in every step. And the scalar products with the eigenvectors of the table are
# means: $\langle r_k, \one_N \rangle$ is $N$ times the mean over all samples, $\langle r_k, v^c \rangle$ is $N$
# times what the mean over class $c$ has beyond that, and $\langle r_k, v^c_i \rangle$ is $m$ times what sample
# $i$ has beyond its class. So
#
# $$
# \langle r_k \rangle \propto (1 - \eta\lambda_{\text{global}})^t, \qquad
# \langle r_k \rangle_c - \langle r_k \rangle \propto (1 - \eta\lambda_{\text{class}})^t, \qquad
# r_k(x^c_i) - \langle r_k \rangle_c \propto (1 - \eta\lambda_{\text{single}})^t .
# $$
#
# {claim}`P2-RATES`

# %% tags=["hide-input", "remove-output"]
shown = rates[["matrix", "size_of_part", "law", "eigenvalue"]]
figures.save(
    figures.seleznova2023.rates(shown),
    "p2-rates",
    scale=SCALE,
    data=shown,
    alt="Left, a block kernel as a heat map: a bright diagonal, four squares of medium brightness along it, and a dim rest. Right, the size of three parts of "
    "the residual against the step on a logarithmic axis: three straight lines, the mean of all samples falling fastest and the samples within their "
    "classes slowest, with measured points on them.",
)

# %% [markdown]
# :::{nc-figure} p2-rates
# :claims: P2-T1 P2-RATES
# Left: a kernel with three values. Right: the three parts of a random residual under gradient descent.
# Points: measured. Lines: the laws, without a free constant. The network first learns what all samples have
# in common, then the classes, and last and slowest each sample by itself.
# :::
#
# The largest distance of any entry from its law is {measured}`P2-RATES`; with the factors of the first two
# parts exchanged it is {measured}`P2-RATES.control`.

# %% tags=["hide-input"]
own, exchanged = (rates.law_error.sel(law_of=law) for law in ("own part", "exchanged"))
judge("P2-RATES", of=rates, value=own.max(), control=exchanged.min(), over="repeat")

# %% [markdown]
# ## Local elasticity of a real network
#
# One gradient step on the single sample $x_i$ changes the outputs at another sample by
# $\Delta f(x_j) = -\eta\, \Theta(x_j, x_i)\, r(x_i)$. Under Definition 3.1 this is
# $-\eta\gamma_c\, r(x_i)$ in the same class and $-\eta\gamma_n\, r(x_i)$ in the others. The same holds for
# the features, with the values $\kappa_d > \kappa_c > \kappa_n$ of their own kernel and with $W^\top r(x_i)$,
# where $W$ are the weights of the last layer, in the place of the residual. A network for which $\gamma_n$ is much smaller than $\gamma_c$ is called
# {term}`locally elastic <local elasticity>` {cite:p}`seleznova2023`: teaching it one image changes what it says about that class and
# little else.
#
# We train a fully connected ReLU network with two hidden layers on digits of $8 \times 8$ pixels, stop now and
# then, and take from the same weights one small step on each single sample. **The pull** of $x_i$ on $x_j$ is
# $-\langle \Delta f(x_j), r(x_i) \rangle / \eta \lVert r(x_i) \rVert^2$. It needs no kernel: it is read off the
# moved outputs. Beside it stands the kernel, from the Jacobian of the network.

# %% tags=["hide-input", "remove-output"]
shown = network
figures.save(
    figures.seleznova2023.elasticity(shown),
    "p2-elasticity",
    scale=SCALE,
    data=shown,
    alt="Two heat maps of a network's tangent kernel on sorted digits, relative to its diagonal. Before training it is bright nearly everywhere; after training "
    "squares stand out along the diagonal. A third panel shows the ratio of the off-class to the in-class value falling during training, with the measured "
    "pull on the same curve.",
)

# %% [markdown]
# :::{nc-figure} p2-elasticity
# :claims: P2-LE P2-LE-STEP
# Left and middle: the tangent kernel of a small network on sorted digits, mean over outputs, relative to its
# mean diagonal. Before training all digits look alike to it; afterwards each class is a square. Right: off-class over
# in-class, as the kernel has it and as steps on single samples show it; mean and one standard deviation over
# networks. The two agree throughout training, and both fall.
# :::
#
# After training the measured ratio differs from $\gamma_n/\gamma_c$ by {measured}`P2-LE`. The value before
# training would be off by {measured}`P2-LE.control`. So block values of the kernel do say how local the
# learning is, and training makes it more local.
#
# One part of Definition 3.1 is a bad description of this network. The whole kernel forecasts every moved
# output within {measured}`P2-LE-STEP`. The kernel of equal outputs alone, which is all that the definition
# keeps, misses a share of {measured}`P2-LE-STEP.control` of the movement. Each entry between different outputs
# is small, but there are $C - 1$ of them for every entry that is kept. The pull does not notice, because
# it looks along the residual only.

# %% tags=["hide-input"]
kernel_ratio, pull_ratio = (
    network[name].sel(pair="other class") / network[name].sel(pair="same class")
    for name in ("values", "pull")
)
last = kernel_ratio.isel(epoch=-1, drop=True)
off, off_first = pull_ratio.isel(epoch=-1) - last, kernel_ratio.isel(epoch=0) - last
whole, equal = (network.forecast_error.sel(kernel=k) for k in ("all outputs", "equal outputs"))
(
    judge("P2-LE", of=network, value=off, control=off_first, over="repeat"),
    judge("P2-LE-STEP", of=network, value=whole.max(), control=equal.min(), over="repeat"),
)

# %% [markdown]
# ## Verdicts
#
# Three values make three eigenvalues, and these make three rates: what all samples have in common is learnt first,
# then the classes, and last the single samples. In a small trained network the ratio of off-class to in-class movement is that of
# the block values of its kernel. But only the whole kernel forecasts a step on one sample; the part with equal outputs, which is
# all that the definition keeps, does not.
#
# ```{verdicts}
# ```
#
# The [next page](block_dynamics) lets features, classifier and biases move under such a kernel.

# %% [markdown]
# ## Your turn
#
# How slow are the single samples if their classes are nearly one point to the kernel? Raise the value within classes to just below the diagonal, and drop that between classes. What is left of each part of the residual after all steps, as a share of the first:

# %% tags=["your-turn"]
from ncutils import experiments

tight = experiments.run(
    "seleznova2023/block_kernel/rates", scale="smoke", seeds=(7,), values=(2.0, 1.9, 0.0)
)
left = tight.size_of_part.isel(step=-1, repeat=0) / tight.size_of_part.isel(step=0, repeat=0)
left.to_series()
