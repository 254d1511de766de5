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

# %% tags=["hide-input", "remove-output"]
import jax

jax.config.update("jax_enable_x64", True)

import matplotlib.pyplot as plt

from ncutils import figures
from ncutils.records import claims, results

ds = results.load("beaglehole2024/agop/digits", scale=SCALE)
n = ds.sizes["repeat"]

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

# %% tags=["hide-input", "remove-output"]
claims.record(
    "P3-AGOP-LINEAR", scale=SCALE, value=ds.linear_error.max(), control=ds.linear_wrong.min(), n=n
)

# %% tags=["hide-input", "remove-output"]
left = ds.linear_nc1
claims.record(
    "P3-AGOP-COLLAPSE",
    scale=SCALE,
    value=left.sel(inputs="interpolated").max(),
    control=left.sel(inputs="ridge").min(),
    n=n,
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

# %% tags=["hide-input", "remove-output"]
claims.record(
    "P3-AGOP-KERNEL", scale=SCALE, value=ds.kernel_error.max(), control=ds.kernel_wrong.min(), n=n
)

# %% tags=["hide-input", "remove-output"]
panels = {
    "Laplace machine": ds.kernel_diagonal.sel(kernel="laplace"),
    "Gaussian machine": ds.kernel_diagonal.sel(kernel="gaussian"),
    "network, root": ds.network_diagonal.sel(matrix="root of the AGOP"),
    "network, weights": ds.network_diagonal.sel(matrix="weights"),
}
with figures.style():
    fig, axes = plt.subplots(1, len(panels), figsize=(8.6, 2.4))
    for ax, (title, values) in zip(axes, panels.items(), strict=True):
        image = values.mean("repeat").values.reshape(8, 8)
        ax.imshow(image / image.max(), cmap="viridis", vmin=0, vmax=1)
        ax.set(title=title, xticks=[], yticks=[])
        ax.grid(visible=False)
figures.save(
    fig,
    "p3-agop-pixels",
    scale=SCALE,
    data=ds[["kernel_diagonal", "network_diagonal"]],
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
kinds = {"root of the AGOP": "-", "AGOP": ":", "chance": "--"}
with figures.style():
    fig, (main, side) = plt.subplots(1, 2, figsize=(8.4, 3.1))
    for layer, colour in zip(ds.layer.values, ("nngp", "ntk", "eos"), strict=True):
        for kind, line in kinds.items():
            drawn = ds.correlation.sel(layer=layer, compared=kind)
            label = f"layer {layer}" if kind == "root of the AGOP" else None
            figures.curves(
                main, drawn, x="epoch", label=label, color=figures.COLOURS[colour], linestyle=line
            )
    main.set(xlabel="epoch", ylabel="correlation with $W_l^\\top W_l$", ylim=(0, 1))
    main.legend(loc="lower right")
    figures.curves(side, ds.loss, x="epoch", color=figures.COLOURS["data"])
    side.set(xlabel="epoch", ylabel="training loss", yscale="log")
figures.save(
    fig,
    "p3-ansatz",
    scale=SCALE,
    data=ds[["correlation", "loss"]],
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

# %% tags=["hide-input", "remove-output"]
end = ds.correlation.isel(epoch=-1).mean("repeat")
claims.record(
    "P3-NFA",
    scale=SCALE,
    value=end.sel(compared="root of the AGOP").min(),
    control=end.sel(compared="chance").max(),
    n=n,
)

# %% [markdown]
# ## Verdicts
#
# For a linear map the AGOP is the Gram matrix of the weights, and one step with it collapses the classes. For a kernel machine it has a
# closed form. In a trained network its root and the Gram matrix of the weights are correlated; they are before training as well, so that the
# correlation alone does not say what training did.
#
# ```{verdicts}
# ```
