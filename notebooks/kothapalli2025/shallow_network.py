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
# # A real network beside its kernels
#
# :::{question}
# Does a real network, finite and with features that can move, collapse more than its limiting kernels?
# :::
#
# The {term}`limiting kernels` of the last page belong to networks of infinite width, and one reason to leave them
# behind is the hope that a real network collapses more: it is finite, and its features can move.
# {cite:t}`kothapalli2025` train networks with one hidden layer on the same two Gaussian classes and
# draw their NC1 as the third panel of two figures.
#
# It collapses more than the tangent kernel (but for ReLU in one dimension, where all three agree); it
# does so before training, however. Against the {term}`NNGP kernel` the answer depends on something else than width: on
# how far the features have to move. At the published settings, and long after, they hardly need to.
#
# :::{symbols}
# $N$, $\NC_1$, $d_0$, $d_1$, $\phi$
# :::

# %% tags=["parameters"]
SCALE = "quick"

# %% [markdown]
# ## In a few lines
#
# A network with 500 hidden units learns two Gaussian classes in eight dimensions, with the paper's step. NC1
# of its features before and after, and of the NNGP kernel and the NTK on the same points:

# %% tags=["lesson"]
import jax

jax.config.update("jax_enable_x64", True)
from ncutils import data, kernels, metrics, models, training

X, y = data.two_gaussians(sizes=(32, 32), dim=8, key=jax.random.key(0))
X, targets = X.astype("float32"), (2.0 * y[:, None] - 1).astype("float32")
network = models.mlp((8, 500, 1), activation="erf", key=jax.random.key(1))
recipe = training.Recipe(1e-3, epochs=200)
trained = training.fit(network, X, targets, recipe).model
for features in (models.features(net, X) for net in (network, trained)):
    print(f"{metrics.nc1(features, y, num_classes=2):.3f}")
for K in kernels.nngp_and_ntk(X, activation="erf"):
    print(f"{metrics.kernel_nc1(K, y, num_classes=2).ratio:.3f}")

# %% [markdown]
# The network starts at its NNGP kernel, far below the NTK, and training hardly changes that. This page
# shows the paper's panels, and why. Its results, with the case that made each and how long it took:

# %%
import numpy as np

from ncutils import figures
from ncutils.experiments.kothapalli2025.shallow_network import largest
from ncutils.records import claims, results

published = results.load("kothapalli2025/shallow_network/published", scale=SCALE)
longer = results.load("kothapalli2025/shallow_network/longer", scale=SCALE)
rich = results.load("kothapalli2025/shallow_network/rich", scale=SCALE)
width = results.load("kothapalli2025/shallow_network/width", scale=SCALE)
judge = claims.at(SCALE)
[results.origin(ds) for ds in (published, longer, rich, width)]

# %% [markdown]
# ## The network and the settings
#
# The network has $d_1 = 500$ hidden units and one output,
#
# $$
# h(x) = \phi\bigl( W^{(1)} x + b^{(1)} \bigr), \qquad f(x) = W^{(2)} h(x) + b^{(2)}, \qquad
# W^{(1)}_{ij} \sim \mathcal N\Bigl( 0, \frac{1}{d_0} \Bigr), \quad
# W^{(2)}_j \sim \mathcal N\Bigl( 0, \frac{1.97^2}{d_1} \Bigr),
# $$
#
# with $\phi$ either erf or ReLU and with biases that start at zero and are trained. NC1 is that of the
# features $h$. The two classes are Gaussian with means $\mp 2 \cdot \one$ and covariance
# $\frac14 I$ in $d_0$ dimensions, $N/2$ samples each, and the targets are $y = \mp 1$. Training is
# gradient descent on the mean squared error over all samples at once: 1,000 epochs with step
# $\eta = 10^{-3}$, no momentum, weight decay $10^{-6}$. Everything is repeated ten times, each time
# with new data and new weights. Training runs in single precision; what is measured is computed in
# double precision. Each network is compared with the kernels *of the same draw*, so that the chance in
# the data drops out of the comparison.
#
# ## Before training: the NNGP kernel and chance
#
# The NNGP kernel is the mean of $\phi(w^\top x)\, \phi(w^\top x')$ over random $w$, and the untrained
# network averages over 500 of them. Its NC1 is therefore that of the kernel, up to an error that can be
# derived. With $a_u$ and $b_u$ the variance of unit $u$ within and between the classes,
# $\NC_1 = \sum_u a_u / \sum_u b_u =: R$ is a ratio of two sums of independent terms, and to first order
#
# $$
# \mathrm{std} \bigl( \log_{10} \NC_1 \bigr) =
# \frac{\sqrt{d_1 \operatorname{Var}_u ( a_u - R\, b_u )}}{\ln 10\, \sum_u a_u} .
# $$
#
# Divided by this standard error, the distance between network and kernel has the root mean square
# {measured}`P1-INIT` over all draws; from the NTK it is {measured}`P1-INIT.control` {claim}`P1-INIT`.
# An untrained finite network thus sits at its NNGP value, well below its NTK, and it is from *there*
# that training has to collapse it.

# %% tags=["hide-input"]
start = published.nc1.isel(epoch=0, width=0, target=0)
error = published.nc1_standard_error.isel(width=0, target=0)
score, wrong = ((((start - published[k]) / error) ** 2).mean() ** 0.5 for k in ("nngp", "ntk"))
judge("P1-INIT", of=published, value=score, control=wrong, n=start.size)

# %% [markdown]
# ## The published training: Figs. 2c and 3c

# %% tags=["remove-output"]
end = published.isel(width=0, target=0, epoch=-1)
shown = end.sel(activation="erf")
figures.save(
    figures.kothapalli2025.trained(shown),
    "p1-fig2c",
    scale=SCALE,
    data=shown,
    alt="Left: log NC1 of the trained erf network against input dimension, one curve for each N, lying "
    "on the dashed curve of the NNGP kernel and below that of the NTK. Right: the difference from the "
    "NNGP kernel is zero within its band except in 128 dimensions, where it is negative.",
)

# %% tags=["remove-output"]
shown = end.sel(activation="relu")
figures.save(
    figures.kothapalli2025.trained(shown),
    "p1-fig3c",
    scale=SCALE,
    data=shown,
    alt="Left: log NC1 of the trained ReLU network against input dimension, nearly flat, on the dashed "
    "curve of the NNGP kernel; the NTK starts there in one dimension and rises above. Right: the "
    "difference from the NNGP kernel stays within a few hundredths of zero.",
)

# %% [markdown]
# :::{nc-figure} p1-fig2c
# :claims: P1-F2c P1-F2c-DROP
# Erf. Left: NC1 of the trained network (the paper's panel c) with both kernels. The network lies on
# the NNGP kernel. Right: what is left after subtracting the NNGP value of the same draw. Only the last
# dimension departs. Bands: one standard deviation over repeats.
# :::
#
# :::{nc-figure} p1-fig3c
# :claims: P1-F3c
# ReLU, the same. In one dimension both kernels agree; from two dimensions on the network stays with
# the NNGP kernel and the NTK leaves upwards.
# :::
#
# At every $N$ and $d_0$ of both figures the network shows no less collapse than the NNGP kernel, up to chance:
# the largest excess is {measured}`P1-F2c` for erf {claim}`P1-F2c` and {measured}`P1-F3c` for ReLU
# {claim}`P1-F3c`. And erf in 128 dimensions does fall during training, by {measured}`P1-F2c-DROP` at
# the $N$ where it falls least {claim}`P1-F2c-DROP`. But this is one dimension in five.

# %% tags=["hide-input"]
gap, above = end.nc1 - end.nngp, end.ntk - end.nngp
moved = (published.nc1.isel(epoch=-1) - published.nc1.isel(epoch=0)).isel(width=0, target=0)
last = moved.isel(d0=-1)
pairs = {
    "P1-F2c": (gap.sel(activation="erf"), above.sel(activation="erf")),
    "P1-F3c": (gap.sel(activation="relu"), above.sel(activation="relu")),
    "P1-F2c-DROP": (last.sel(activation="erf"), last.sel(activation="relu")),
}
for claim, (values, broken) in pairs.items():
    (value, spread), (control, _) = largest(values), largest(broken)
    display(judge(claim, of=published, value=value, control=control, spread=spread, over="repeat"))

# %% [markdown]
# Up to $d_0 = 32$, the mean of $\log_{10} \NC_1$ moves by at most {measured}`P1-LAZY` in 1,000 epochs
# {claim}`P1-LAZY`. The two panels show where initialisation put the network, not what training made
# of it. How far did it go?

# %% tags=["hide-input"]
low = moved.sel(d0=slice(None, 32))
value, spread = max(largest(low), largest(-low))
control, _ = largest(abs(last.sel(activation="erf")))
judge("P1-LAZY", of=published, value=value, control=control, spread=spread, over="repeat")

# %% tags=["remove-output"]
shown = end.isel(N=-1)[["features_moved", "kernel_moved", "loss", "relative_step"]]
figures.save(
    figures.kothapalli2025.motion(shown),
    "p1-shallow-motion",
    scale=SCALE,
    data=shown,
    alt="Four panels against input dimension, for both activations at the largest N: relative movement "
    "of the features and of the tangent kernel, both rising steeply from one to 128 "
    "dimensions; the final loss, small everywhere; and the step relative to the limit of stability, "
    "which crosses one for ReLU in 128 dimensions.",
)

# %% [markdown]
# :::{nc-figure} p1-shallow-motion
# :claims: P1-LAZY P1-EDGE
# What 1,000 epochs at the published settings do, at the largest $N$. The loss (third panel, relative to
# that of answering zero) is already small. Features and tangent kernel hardly move in
# few dimensions and do in many. Last panel: the step relative to the limit of stability $2/\lambda$ (grey line).
# :::
#
# ### Why the features stay, and why the dimension matters
#
# The tangent kernel of this network, with the parameters as they are trained, is a sum of what the
# read-out sees and what the first layer sees,
#
# $$
# \Theta(x, x') = \underbrace{1 + h(x)^\top h(x')}_{\approx\, d_1 Q(x, x')} +
# \underbrace{(1 + x^\top x') \sum_u \bigl( W^{(2)}_u \bigr)^2 \phi'(\cdot)\, \phi'(\cdot)}_{\approx\, 1.97^2 (1 + x^\top x')\, \dot Q(x, x')} .
# $$
#
# On these data $\lvert x^\top x' \rvert \approx 4 d_0$, so the first layer's share of the kernel is about
# $\rho = c\, d_0 / d_1$, with a constant $c$, as long as that is small. Gradient descent divides the work by these
# shares: the first layer changes the output by $\rho\, s$ if the output has to change by $s$. It does
# so by moving the pre-activation of unit $u$ in proportion to $W^{(2)}_u$, which is of size
# $1/\sqrt{d_1}$; if each unit moves by $W_u^{(2)} A$, the output moves by
# $A \sum_u (W^{(2)}_u)^2 \phi' \approx 1.97^2 \dot Q\, A$, whence $A \sim \rho\, s$. The features then
# move by $\lVert \Delta h \rVert \sim A$, on a vector of length $\lVert h \rVert \sim \sqrt{d_1}$:
#
# $$
# \frac{\lVert \Delta h \rVert}{\lVert h \rVert} \ \sim\ \frac{\rho\, s}{\sqrt{d_1}}\ \sim\ \frac{s\, d_0}{d_1^{3/2}} .
# $$
#
# Three knobs: the dimension, the width, and the size $s$ of the targets. The dimension is why only the
# last point of Fig. 2c falls. This is the lazy regime {cite:p}`jacot2018,chizat2019`, and with one step size for
# both layers it is lazier than the infinite-width theory, where each layer keeps its share of the
# kernel and the power is $-1/2$. Measured from 500 units on, the power of the width is
# {measured}`P1-WIDTH` {claim}`P1-WIDTH`; with targets that grow as the width it is
# {measured}`P1-WIDTH.control`.

# %% tags=["hide-input"]
far = width.features_moved.isel(activation=0, N=0, d0=0, epoch=-1)
wide = np.log(far.isel(width=slice(-3, None)).assign_coords(width=np.log(width.width)[-3:]))
slopes = wide.polyfit("width", 1).polyfit_coefficients.sel(degree=1)
fixed, growing = (slopes.isel(target=target) for target in (0, 1))
judge("P1-WIDTH", of=width, value=fixed, control=growing, over="repeat")

# %% tags=["remove-output"]
shown = width[["features_moved", "loss", "nc1"]]
figures.save(
    figures.kothapalli2025.motion_by_width(shown),
    "p1-shallow-width",
    scale=SCALE,
    data=shown,
    alt="Relative movement of the features against the number of hidden units on logarithmic axes: for "
    "fixed targets a line that falls as the width to the power minus three halves, for targets that "
    "grow with the width a much flatter one.",
)

# %% [markdown]
# :::{nc-figure} p1-shallow-width
# :claims: P1-WIDTH
# How far training moves the features of erf networks in eight dimensions. With fixed targets the wider
# network moves less, along the derived power (dotted, through the last point). With targets that grow
# as the width, the decline is much slower.
# :::
#
# ### One point at the edge
#
# Gradient descent on a quadratic with curvature $\lambda$ is stable for $\eta < 2/\lambda$. Here
# $\lambda$ is the largest eigenvalue of $\frac2N \Theta$, and it grows with $d_0$ through the first
# layer's share. In 128 dimensions the published step reaches {measured}`P1-EDGE` times the limit for ReLU
# {claim}`P1-EDGE`, against {measured}`P1-EDGE.control` in 32. Such a run starts beyond stability: along the
# steepest direction each step overshoots by more than the error, until the weights have moved to where
# the kernel is smaller. Features moved that way need not collapse. NC1 of the ReLU network
# *changes* by {measured}`P1-F2c-DROP.control` there, upwards.

# %% tags=["hide-input"]
steps = published.relative_step.isel(width=0, target=0).sel(activation="relu")
(value, spread), (control, _) = (largest(steps.isel(d0=at)) for at in (-1, -2))
judge("P1-EDGE", of=published, value=value, control=control, spread=spread, over="repeat")

# %% [markdown]
# ## A longer run
#
# Perhaps 1,000 epochs are too few. The longer run takes, for each network, $0.9$ of its own limit
# $2/\lambda$ as its step, and four times as many of them. If the tangent kernel did not move at all, the
# residuals would be $\bigl( I - \eta \frac2N \Theta \bigr)^t r_0$ after $t$ steps from $r_0$, known without any
# training; that prediction is drawn as dots.

# %% tags=["remove-output"]
shown = longer.isel(width=0, target=0, N=0)
shown = shown[["nc1", "nngp", "ntk", "loss", "kernel_regime_loss", "features_moved"]]
figures.save(
    figures.kothapalli2025.longer(shown),
    "p1-shallow-longer",
    scale=SCALE,
    data=shown,
    alt="Top: the loss of both networks falls steadily over the epochs, on the dots of the "
    "kernel prediction. Bottom: log NC1 minus the NNGP value stays flat at zero within a few hundredths "
    "in every dimension except for erf in 128 dimensions, where it falls.",
)

# %% [markdown]
# :::{nc-figure} p1-shallow-longer
# :claims: P1-LONG-LOSS P1-LONG
# The longer run at the smallest $N$. Top: the loss, with the prediction of a tangent kernel that never moves
# (dots). Bottom: NC1 minus that of the NNGP kernel (dashed zero). The loss falls
# far; NC1 mostly stays.
# :::
#
# The loss becomes small everywhere: at most {measured}`P1-LONG-LOSS` of what answering zero would cost
# {claim}`P1-LONG-LOSS`. NC1 does not follow. Where the network stands highest above its NNGP kernel,
# it ends {measured}`P1-LONG` above it {claim}`P1-LONG`, and {measured}`P1-LONG.control` is where it stood
# highest before training. Only erf in many dimensions gets clearly below. **A small loss needs no collapse**: the read-out finds a direction in the random features that
# separates the classes, and the features can stay as they are.

# %% tags=["hide-input"]
done = longer.isel(width=0, target=0)
for claim, values in (("P1-LONG-LOSS", done.loss), ("P1-LONG", done.nc1 - done.nngp)):
    (value, spread), (control, _) = (largest(values.isel(epoch=at)) for at in (-1, 0))
    display(judge(claim, of=longer, value=value, control=control, spread=spread, over="repeat"))

# %% [markdown]
# ## Making the features move
#
# Of the three knobs, the size of the targets costs nothing to turn. Ask for $\pm s$ in place of
# $\pm 1$. With $g = f/s$ the loss is $(f - s y)^2 = s^2 (g - y)^2$, so this is the same as a network
# whose output is divided by $s$, trained on $\pm 1$ with a step $s^2$ times as large: the way from
# the lazy to the rich regime {cite:p}`chizat2019`. Data, initial weights, width and kernels stay the
# same. Each run takes 0.3 of its own limit $2/\lambda$ as its step, for a few hundred epochs: the kernel
# may grow on the way, so the step keeps a distance.

# %% tags=["remove-output"]
final = rich.isel(N=0, width=0, epoch=-1)
shown = final[["nc1", "nngp", "ntk", "nc1_random", "loss", "features_moved"]]
figures.save(
    figures.kothapalli2025.rich(shown),
    "p1-shallow-rich",
    scale=SCALE,
    data=shown,
    alt="Log NC1 of the trained network minus that of the NNGP kernel against the size of the targets, "
    "one curve for each input dimension: near zero for targets of size one, falling below zero for "
    "large targets, most for erf in 128 dimensions, least for ReLU in few dimensions.",
)

# %% [markdown]
# :::{nc-figure} p1-shallow-rich
# :claims: P1-RICH
# The trained network against its NNGP kernel as the targets grow; blue dashes: NNGP kernel, orange
# dashes: NTK (in the largest dimension). On the left end is the paper's $s = 1$. Larger targets force the features to move, and NC1
# falls, the more so the larger the dimension, as the scaling law says.
# :::
#
# Now the network does collapse below its NNGP kernel everywhere: with $s = 100$ it ends at
# {measured}`P1-RICH` even where it stands highest {claim}`P1-RICH`. It is the labels that do it. With
# the same large targets dealt out at random, the features of the same classes are taken apart instead: the
# highest point then is at {measured}`P1-RICH.control`.

# %% tags=["hide-input"]
strong = rich.isel(width=0, epoch=-1, target=-1)
(value, spread), (control, _) = (largest(x - strong.nngp) for x in (strong.nc1, strong.nc1_random))
judge("P1-RICH", of=rich, value=value, control=control, spread=spread, over="repeat")

# %% [markdown]
# ## Verdicts
#
# The panels of the paper reproduce. What they show is mostly initialisation: a network of this width, on these
# data, fits the targets without collapsing. Finite width alone does not make the difference; a reason for the
# features to move does.
#
# ```{verdicts}
# ```
#
# ## Your turn
#
# Of the three knobs, turn the size of the targets: the network of the lesson, the same data and initial weights,
# asked for $\pm s$. Its features now have to move, and NC1 with them. At which $s$ does the step become
# too large?

# %% tags=["your-turn"]
s = 30
strong = training.fit(network, X, s * targets, recipe).model
metrics.nc1(models.features(strong, X), y, num_classes=2).round(3)
