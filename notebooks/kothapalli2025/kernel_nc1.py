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
# # NC1 from a kernel
#
# :::{question}
# Can one read NC1, the first property of neural collapse, off a kernel, where there are no features
# to look at?
# :::
#
# {term}`Neural collapse <neural collapse>` begins with its first property: the features of all samples
# of a class draw together, until each class is a point {cite:p}`papyan2020`. {term}`NC1` measures it, as the spread of the
# features *within* the classes divided by the spread of the class means *between* them. An infinitely
# wide network has no features to look at. It has a {term}`kernel`.
#
# NC1 can be read off it, and exactly. {cite:t}`kothapalli2025` use this to ask what the *data* alone does to collapse,
# before any training. This page proves their formula, extends it to classes of unequal size, shows
# where the released code departs from it, and applies it to real digits.
#
# :::{symbols}
# $C$, $N$, $n_c$, $h^{c,i}$, $\bar h^c$, $\bar h^G$, $\SigmaW$, $\SigmaB$, $\NC_1$, $\bar Q_{cc'}$, $d_0$
# :::

# %% tags=["parameters"]
SCALE = "quick"

# %% [markdown]
# ## In a few lines
#
# Draw two Gaussian classes of unequal size in the plane. NC1 of the inputs, by their covariances, and NC1 read
# off their Gram matrix are one number.

# %% tags=["lesson"]
import jax

jax.config.update("jax_enable_x64", True)
from ncutils import data, kernels, metrics

X, y = data.two_gaussians(sizes=(20, 60), dim=2, key=jax.random.key(0))
features_nc1 = metrics.nc1(X, y, num_classes=2)
features_nc1.round(4), metrics.kernel_nc1(X @ X.T, y, num_classes=2).ratio.round(4)

# %% [markdown]
# Now the kernel of an infinitely wide network, of which there are no features. First by the definition, then by
# the formula of the released code, which weights both classes alike: it is another number.

# %% tags=["lesson"]
Q = kernels.nngp(X, activation="erf")
exact = metrics.kernel_nc1(Q, y, num_classes=2)
released = metrics.kernel_nc1(Q, y, num_classes=2, weighting="as_printed")
exact.ratio.round(4), released.ratio.round(4)

# %% [markdown]
# The rest of the page does this at the paper's size. These are its results, with the case that made each and
# how long it took.

# %%
import jax.numpy as jnp
import numpy as np

from ncutils import figures
from ncutils.records import claims, results

features = results.load("kothapalli2025/kernel_nc1/random_features", scale=SCALE)
imbalance = results.load("kothapalli2025/kernel_nc1/imbalance", scale=SCALE)
digits = results.load("kothapalli2025/kernel_nc1/digits", scale=SCALE)
judge = claims.at(SCALE)
[results.origin(ds) for ds in (features, imbalance, digits)]

# %% [markdown]
# ## The formula and its proof
#
# There are $C$ classes; class $c$ has $n_c$ samples, $N = \sum_c n_c$ in all, and sample $i$ of class
# $c$ has the features $h^{c,i}$. With class means $\bar h^c$ and the mean of all samples
# $\bar h^G = \sum_c \frac{n_c}{N} \bar h^c$,
#
# $$
# \SigmaW = \frac1N \sum_{c,i} (h^{c,i} - \bar h^c)(h^{c,i} - \bar h^c)^\top, \qquad
# \SigmaB = \frac1C \sum_c (\bar h^c - \bar h^G)(\bar h^c - \bar h^G)^\top,
# $$
#
# and $\NC_1 = \Tr\SigmaW / \Tr\SigmaB$. Note the weights: $\SigmaW$ counts samples, $\SigmaB$ counts classes. A kernel $Q$ stands for the
# features if $Q(x^{c,i}, x^{c',j}) = h^{c,i\top} h^{c',j}$. Its block means, in which a sample is also
# paired with itself, are
#
# $$
# \bar Q_{cc'} = \frac{1}{n_c n_{c'}} \sum_{i,j} Q(x^{c,i}, x^{c',j}), \qquad
# \bar Q_{cG} = \sum_{c'} \frac{n_{c'}}{N} \bar Q_{cc'}, \qquad
# \bar Q_{GG} = \sum_c \frac{n_c}{N} \bar Q_{cG}.
# $$
#
# :::{prf:theorem} Theorem 4.1 of the paper, classes of equal size
# :label: thm-kernel-nc1
#
# If all classes have the same number of samples, then
#
# $$
# \Tr\SigmaW = \frac1N \sum_{c,i} Q(x^{c,i}, x^{c,i}) - \frac1C \sum_c \bar Q_{cc}, \qquad
# \Tr\SigmaB = \frac1C \sum_c \bar Q_{cc} - \bar Q_{GG}.
# $$
#
# {claim}`P1-T41`
# :::
#
# :::{prf:theorem} Classes of any size
# :label: thm-kernel-nc1-any
#
# For class sizes $n_1, \dots, n_C$,
#
# $$
# \begin{aligned}
# \Tr\SigmaW &= \frac1N \sum_{c,i} Q(x^{c,i}, x^{c,i}) - \sum_c \frac{n_c}{N} \bar Q_{cc}, \\
# \Tr\SigmaB &= \frac1C \sum_c \bigl( \bar Q_{cc} - 2 \bar Q_{cG} + \bar Q_{GG} \bigr).
# \end{aligned}
# $$
#
# {claim}`P1-T41x`
# :::
#
# *Proof.* Four steps, and the first is all there is to it: **means of inner products are inner
# products of means.** Since the inner product is linear in each argument,
#
# $$
# \bar Q_{cc'} = \bar h^{c\top} \bar h^{c'}, \qquad
# \bar Q_{cG} = \bar h^{c\top} \bar h^G, \qquad
# \bar Q_{GG} = \lVert \bar h^G \rVert^2 .
# $$
#
# Second, the trace of $v v^\top$ is $\lVert v \rVert^2$, so both traces are means of squared lengths.
# Within class $c$, expanding the square and using $\sum_i h^{c,i} = n_c \bar h^c$ gives
#
# $$
# \sum_i \lVert h^{c,i} - \bar h^c \rVert^2
#   = \sum_i \lVert h^{c,i} \rVert^2 - n_c \lVert \bar h^c \rVert^2
#   = \sum_i Q(x^{c,i}, x^{c,i}) - n_c \bar Q_{cc}.
# $$
#
# Summed over classes and divided by $N$, this is $\Tr\SigmaW$ of the second theorem. Third, between
# the classes,
#
# $$
# \lVert \bar h^c - \bar h^G \rVert^2
#   = \lVert \bar h^c \rVert^2 - 2\, \bar h^{c\top} \bar h^G + \lVert \bar h^G \rVert^2
#   = \bar Q_{cc} - 2 \bar Q_{cG} + \bar Q_{GG},
# $$
#
# and the mean over classes is $\Tr\SigmaB$ of the second theorem. Fourth, if all $n_c = N/C$, then
# $\frac{n_c}{N} = \frac1C$ turns $\Tr\SigmaW$ into that of the first theorem, and
# $\frac1C \sum_c \bar Q_{cG} = \bar Q_{GG}$ by the definition of $\bar Q_{GG}$, so the middle term of
# $\Tr\SigmaB$ cancels twice the last and leaves $\frac1C \sum_c \bar Q_{cc} - \bar Q_{GG}$. $\square$
#
# The features never appear on the right-hand sides. They may be infinite in number, which is what
# makes the formula useful: put the kernel of an infinitely wide network in the place of $Q$.
#
# **Check.** Random features of two and three classes, once through the covariance matrices and once
# through the kernel. On balanced sets the largest difference of a trace is {measured}`P1-T41`; leave
# the pairs of a sample with itself out of the block means, a natural slip, and it is
# {measured}`P1-T41.control`. On unbalanced sets (20/60 and 10/20/60) the second theorem is off by
# {measured}`P1-T41x`.

# %% tags=["hide-input"]
error = abs(features.trace - features.trace.sel(route="features")).max(("repeat", "part"))
even, uneven = error.sel(sizes=["40/40", "30/30/30"]), error.sel(sizes=["20/60", "10/20/60"])
right = even.sel(route=["exact", "as_printed"]).max()
broken = even.sel(route="without_diagonal").max()
right_any, printed = (uneven.sel(route=route).max() for route in ("exact", "as_printed"))
(
    judge("P1-T41", of=features, value=right, control=broken, over="repeat"),
    judge("P1-T41x", of=features, value=right_any, control=printed, over="repeat"),
)

# %% [markdown]
# ## Unequal classes: where the released code parts from the definition
#
# The released code of the paper uses the formula of the first theorem for all class sizes, and so do
# its runs with unequal classes. Whether the paper states the theorem for equal sizes only, we could
# not find out. On the unbalanced sets above, the formula of the code misses the traces by up to
# {measured}`P1-T41x.control`. What it computes instead follows from the four steps: write
# $\bar m = \frac1C \sum_c \bar h^c$ for the plain mean of the class means. Then
#
# $$
# \Tr\SigmaB^{\text{code}} - \Tr\SigmaB = 2\, (\bar m - \bar h^G)^\top \bar h^G, \qquad
# \Tr\SigmaW^{\text{code}} - \Tr\SigmaW = \sum_c \Bigl( \frac{n_c}{N} - \frac1C \Bigr) \lVert \bar h^c \rVert^2 .
# $$
#
# Both vanish for equal sizes. For unequal ones the origin enters: shifting all features by one vector
# changes no variance, but it changes these two terms.
#
# **A negative variance.** Take 20 samples with mean $0$ and 60 with mean $v$, so that
# $\bar h^G = \frac34 v$. The true value is
# $\Tr\SigmaB = \frac12 \bigl( \frac{9}{16} + \frac{1}{16} \bigr) \lVert v \rVert^2 = \frac{5}{16} \lVert v \rVert^2$.
# The code's is
# $\bigl( \frac12 - \frac{9}{16} \bigr) \lVert v \rVert^2 = -\frac{1}{16} \lVert v \rVert^2$: one fifth
# of the truth, with the wrong sign. Measured on such features, the ratio is {measured}`P1-T41-NEG`
# {claim}`P1-T41-NEG`.

# %% tags=["hide-input"]
rng, labels = np.random.default_rng(0), jnp.repeat(jnp.arange(2), np.array([20, 60]))
noise = [part - part.mean(axis=0) for part in (rng.normal(size=(20, 8)), rng.normal(size=(60, 8)))]
H = jnp.asarray(np.concatenate([noise[0], noise[1] + rng.normal(size=8)]))
true, code = (
    metrics.kernel_nc1(H @ H.T, labels, num_classes=2, weighting=w).between
    for w in ("exact", "as_printed")
)
judge("P1-T41-NEG", value=code / true, control=true / true)

# %% [markdown]
# **Opposite directions.** The paper's data are two Gaussian classes with means $-\mu$ and $\mu$. There
# the kernels have the same block mean $q_{\text{in}}$ for both classes, and $q_{\text{out}}$ between
# them. Let the smaller class have the share $p$ of the samples, and $\Delta = \bar h^1 - \bar h^2$, so
# that $\lVert \Delta \rVert^2 = 2 (q_{\text{in}} - q_{\text{out}})$. Because
# $\bar h^1 - \bar h^G = (1 - p) \Delta$ and $\bar h^2 - \bar h^G = -p \Delta$,
#
# $$
# \Tr\SigmaB = \tfrac12 \bigl( p^2 + (1-p)^2 \bigr) \lVert \Delta \rVert^2, \qquad
# \Tr\SigmaB^{\text{code}} = q_{\text{in}} - \bar Q_{GG} = p (1-p) \lVert \Delta \rVert^2 ,
# $$
#
# while $\Tr\SigmaW$ is the same for both, since equal $\bar Q_{cc}$ may be weighted as one likes. From
# equal sizes to share $p$, then, up to terms of order $1/n_c$,
#
# $$
# \begin{aligned}
# \log_{10} \NC_1 \ \text{ changes by } \ & {-\log_{10}} \, 2 \bigl( p^2 + (1-p)^2 \bigr) \le 0, \\
# \log_{10} \NC_1^{\text{code}} \ \text{ changes by } \ & {-\log_{10}} \, 4 p (1-p) \ge 0 .
# \end{aligned}
# $$
#
# One falls and the other rises. In the released runs the NC1 of the network and of the data come from
# the definition and that of the kernels from the code's formula, so a panel with unequal classes puts
# two measures on one axis.

# %% tags=["remove-output"]
share = imbalance.share
shown = imbalance.assign(
    exact_law=-np.log10(2 * (share**2 + (1 - share) ** 2)),
    as_printed_law=-np.log10(4 * share * (1 - share)),
)
figures.save(
    figures.kothapalli2025.imbalance(shown),
    "p1-imbalance",
    scale=SCALE,
    data=shown,
    alt="For each input dimension, the change of log NC1 of the erf NNGP kernel against the share of "
    "the smaller class: the definition falls along its derived curve as classes become unequal, the "
    "released formula rises along its own.",
)

# %% [markdown]
# :::{nc-figure} p1-imbalance
# :claims: P1-T41-DIR
# Two Gaussian classes, NNGP kernel of erf. Read from right (equal classes) to left (one sample in
# eight is of the small class). Points and bands: measured, mean and one standard deviation over draws.
# Lines: the two laws derived above, without a free constant. The definition falls, the released formula
# rises. In one dimension the released formula is also much noisier.
# :::
#
# The noise of the first panel has a reason too. In a finite draw the two $\bar Q_{cc}$ differ a little, and the
# code's $\Tr\SigmaW$ contains $(\frac12 - p)$ times the difference. With $\tau^2$ the variance of the features
# along their class mean, the squared length $\bar Q_{cc}$ of a mean of $n_c$ samples has the standard deviation
# $2 \lVert \bar h^c \rVert\, \tau / \sqrt{n_c}$, a first-order effect, while $\Tr\SigmaW$ itself is of second order,
# like $\tau^2$. In one dimension, where erf features are tight, the first-order error is a good part of the quantity
# itself. In $d_0$ dimensions only about one part in $d_0$ of the variance lies along the mean,
# and the noise is gone. So there are two claims: one from eight dimensions on, and one for every
# dimension, which shows what that noise does to the released formula.

# %% tags=["hide-input"]
moved = imbalance.log10_nc1 - imbalance.log10_nc1.isel(sizes=0).mean("repeat")
kept = moved.sel(kernel=["nngp_erf", "ntk_erf", "nngp_relu", "ntk_relu"])
mean, error = kept.mean("repeat"), kept.std("repeat", ddof=1) / kept.sizes["repeat"] ** 0.5
laws = shown[["exact_law", "as_printed_law"]].to_dataarray("formula")
off = abs(mean - laws.assign_coords(formula=["exact", "as_printed"]))
cross = abs(mean.sel(formula="as_printed") - shown.exact_law)
whole = {"value": off, "control": cross, "spread": error}
many, every = (
    {name: values.sel(d0=d0).max() for name, values in whole.items()}
    for d0 in (slice(8, None), slice(None))
)
(
    judge("P1-T41-DIR", of=imbalance, over="repeat", **many),
    judge("P1-T41-DIR1", of=imbalance, over="repeat", **every),
)

# %% [markdown]
# The worst distance from the laws, over four kernels, all sizes and eight or more dimensions, is
# {measured}`P1-T41-DIR` in $\log_{10}$; over every dimension it is {measured}`P1-T41-DIR1`. Everywhere below and on the next pages, NC1 is the definition.
#
# ## What such a kernel looks like
#
# The paper's first figure shows the NNGP kernel of an erf network,
#
# $$
# Q(x, x') = \frac2\pi \arcsin \frac{2 K(x, x')}{\sqrt{(1 + 2K(x, x))(1 + 2K(x', x'))}}, \qquad
# K(x, x') = \frac{x^\top x'}{d_0},
# $$
#
# for points of the plane in two Gaussian classes {cite:p}`williams1996`. The arcsine has the sign of
# $x^\top x'$. Points of one class lie on one side of the origin and make a positive block, points of
# different classes a negative one. The figure's class sizes could not be recovered; those here are
# ours.

# %% tags=["remove-output"]
shown = features[["kernel", "smallest_signed"]]
figures.save(
    figures.kothapalli2025.kernel_maps(shown),
    "p1-fig1",
    scale=SCALE,
    data=shown,
    alt="Two heat maps of the erf NNGP kernel, samples sorted by class. Both show two bright diagonal "
    "blocks near plus one and two dark off-diagonal blocks near minus one; with unequal classes the "
    "blocks have unequal widths.",
)

# %% [markdown]
# :::{nc-figure} p1-fig1
# :claims: P1-F1
# The erf NNGP kernel for two Gaussian classes in the plane, samples sorted by class. Left: classes of
# equal size. Right: one sample in four is of the first class. The blocks are as wide as the classes;
# inside a class all entries are positive, between the classes all are negative.
# :::

# %% tags=["hide-input"]
erf, relu = (features.smallest_signed.sel(activation=a).min() for a in ("erf", "relu"))
judge("P1-F1", of=features, value=erf, control=relu, over="repeat")

# %% [markdown]
# Counting entries between the classes with the opposite sign, the smallest of all entries is
# {measured}`P1-F1`. For the ReLU kernel, which is never negative, it is {measured}`P1-F1.control`.
#
# ## Real digits, layer by layer
#
# Now the same for images. We take digits of MNIST {cite:p}`lecun1998`, in classes of equal size, drawn
# anew for every repeat, and the kernels of fully connected networks with $L$ hidden layers:
# the {term}`NNGP kernel` $Q^{(L)}$ of the last hidden layer {cite:p}`lee2018` and the {term}`tangent kernel` of the
# network {cite:p}`jacot2018`. Each image is a row of pixels, scaled to norm $\sqrt{d_0}$, so that
# images differ by their angles alone.
#
# First the theorem on real data: NC1 of the pixels, by the covariances, and NC1 of their Gram matrix
# differ by {measured}`P1-DIG` in $\log_{10}$ {claim}`P1-DIG`.

# %% tags=["hide-input"]
some = data.balanced_subset(data.load("mnist5k"), 30, key=jax.random.key(0))
images, named = jnp.asarray(some.flat), jnp.asarray(some.y)
pixels = jnp.log10(metrics.nc1(images, named, num_classes=10))
gram, wrong = (
    jnp.log10(metrics.kernel_nc1(images @ images.T, z, num_classes=10).ratio)
    for z in (named, jnp.roll(named, 15))
)
judge("P1-DIG", value=gram - pixels, control=wrong - pixels)

# %% [markdown]
# **Where depth ends.** Suppose that a kernel has forgotten everything but whether two samples
# are the same one: $Q = a \one\one^\top + b I$. Then all classes look alike, and with $n$ samples in
# each the block means are $\bar Q_{cc} = a + b/n$ and $\bar Q_{cc'} = a$. By the theorem,
#
# $$
# \Tr\SigmaW = b \Bigl( 1 - \frac1n \Bigr), \qquad
# \Tr\SigmaB = \frac bn \Bigl( 1 - \frac1C \Bigr), \qquad
# \NC_1 = \frac{C (n-1)}{C-1}.
# $$
#
# A kernel that cannot tell classes apart still has a finite NC1: the class means of $n$ unrelated
# samples differ by chance {claim}`P1-DEG`.
#
# Infinitely deep kernels end there. For ReLU, one layer maps the angle $\theta$ between two
# inputs to $\theta'$ with $\cos\theta' = \cos\theta + \frac1\pi (\sin\theta - \theta \cos\theta)$
# {cite:p}`cho2009`. For small angles the right-hand side is $\cos\theta + \frac{\theta^3}{3\pi}$ to
# leading order, hence $\theta' \approx \theta - \frac{\theta^2}{3\pi}$ and, after many layers,
# $\theta_L \approx 3\pi/L$ *whatever the first angle was*. So
# $Q^{(L)}$ becomes $a \one\one^\top + b I$ with $b = \frac12 \theta_L^2$ relative to the norm. What is left of the
# difference between pairs is smaller than $b$ by a factor of order $1/L$, which no longer counts once $L$ is
# large compared with $n$. The tangent kernel gets there
# faster: off the diagonal each layer multiplies it by $1 - \theta_L/\pi \approx 1 - 3/L$ and adds what it adds on the
# diagonal, so that off the diagonal it grows a quarter as fast and tends to $a = b/3$, with $b$ not
# vanishing. For erf with $\sigma_w = 1$ different inputs drift towards orthogonal ones, which is the case $a = 0$,
# but very slowly: the map of the cosine has a slope just above 1 at 1 and just below 1 at 0.

# %% tags=["hide-input"]
labels = jnp.repeat(jnp.arange(10), 50)
plain = 2.0 + jnp.eye(500)
same = 0.1 * (labels[:, None] == labels[None, :])
blind, seeing = (
    metrics.kernel_nc1(K, labels, num_classes=10).ratio * 9 / 490 for K in (plain, plain + same)
)
judge("P1-DEG", value=blind - 1, control=seeing - 1)

# %% tags=["remove-output"]
n, C = int(digits.per_class), int(digits.classes.max())
shown = digits.sel(classes=C).assign(limit=np.log10(C * (n - 1) / (C - 1)))
figures.save(
    figures.kothapalli2025.digits_depth(shown),
    "p1-digits-depth",
    scale=SCALE,
    data=shown,
    alt="Log NC1 of ten classes of digits against the number of hidden layers, for ReLU and erf. All "
    "curves start just above the line of the pixels; those of normalised images rise with depth, for "
    "ReLU and the tangent kernel fastest, towards the line of a kernel without classes.",
)

# %% [markdown]
# :::{nc-figure} p1-digits-depth
# :claims: P1-DEPTH P1-DEG
# Ten classes of digits. Full lines: images of one norm. Dashed: images as they are. Grey: NC1 of the
# pixels, images of one norm. Light blue: the value $C(n-1)/(C-1)$ of a kernel that knows no classes. No depth brings NC1
# below that of the pixels on images of one norm; every layer loses a little, ReLU more than erf, the
# tangent kernel more than the NNGP kernel.
# :::
#
# Depth alone does not collapse features; it blurs them. On images of one norm the smallest step of the
# mean from one depth to the next is {measured}`P1-DEPTH`, over both activations, both kernels and every
# number of classes. The control is instructive. With the images' own norms the smallest step is
# {measured}`P1-DEPTH.control`: the ReLU NNGP kernel turns round at some depth. ReLU passes norms through unchanged,
# so $Q^{(L)}$ tends to the rank-one kernel $\lVert x \rVert \lVert x' \rVert$, and its NC1 to that of a single feature, the norm: how
# much ink there is. Digits differ in ink, ones above all. That limit has nothing to do with learning
# classes.

# %% tags=["hide-input"]
steps = digits.log10_nc1.mean("repeat").diff("depth").min(("depth", "kernel", "classes"))
one_norm, raw = (steps.sel(inputs=inputs) for inputs in ("normalised", "raw"))
judge("P1-DEPTH", of=digits, value=one_norm, control=raw, over="repeat")

# %% tags=["remove-output"]
shown = digits.sel(inputs="normalised")
figures.save(
    figures.kothapalli2025.digits_classes(shown),
    "p1-digits-classes",
    scale=SCALE,
    data=shown,
    alt="Log NC1 of digits scaled to one norm against the number of classes from two to ten, for ReLU "
    "and erf. Pixels lie lowest; kernels of greater depth and tangent kernels lie higher at every "
    "number of classes.",
)

# %% [markdown]
# :::{nc-figure} p1-digits-classes
# The same by number of classes, chosen at random for each repeat. The order of the curves is the same
# from two classes to ten. With few classes it matters much which ones are drawn, hence the wide bands on
# the left.
# :::
#
# ## Verdicts
#
# NC1 can be read off a kernel, exactly, and with classes weighted by their sizes it can be read off for
# any sizes. The released formula weights all classes alike: it can make a variance negative, and as
# classes grow unequal it moves against the definition. Two lines of algebra predict by how much, from
# eight dimensions on; in one and two they need not hold for a single data set {claim}`P1-T41-DIR1`.
# Depth does not help: on images of one norm each layer moves the kernels of an infinitely wide network
# away from collapse.
#
# ```{verdicts}
# ```
#
# ## Your turn
#
# The laws of [the figure above](#p1-imbalance) were derived for classes that lie opposite each other, whatever
# their width. Make them twice as wide and look again: how far is each formula from equal sizes, for the
# most unequal classes? Then move `means` to one side of the origin, and the laws are gone.

# %% tags=["your-turn"]
from ncutils import experiments

wide = experiments.run(
    "kothapalli2025/kernel_nc1/imbalance", scale="smoke", seeds=(7,), dims=(8,), std=1.0
)
change = wide.log10_nc1.isel(sizes=-1) - wide.log10_nc1.isel(sizes=0)
change.sel(kernel="nngp_erf", d0=8, repeat=7).round(2).to_series()

# %% [markdown]
# The [next page](limiting_kernels) asks which of the two kernels stands closer to collapse.
