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
# # Who collapses?
#
# :::{question}
# The theory says that a network collapses if a certain matrix, its invariant, vanishes or is aligned with the classifier. Do trained networks that collapse have such an invariant, and those that do not, not?
# :::
#
# The theory of the last pages says which networks collapse: those whose kernel has {term}`block structure` and whose {term}`invariant` $E$ vanishes, or is at least proportional to $W^\top W$, with $W$ the classifier, at the end of training, as (28) of the paper asks. Real networks have neither three values nor a constant kernel. {cite:t}`seleznova2023` trained nine pairs of architecture and data set from three initialisations with up to thirty learning rates, and compared.
#
# This page asks the same of narrower networks that a laptop trains in minutes. The kernels are exact, on three samples of each class; collapse and the invariant are taken as in the paper on twelve, with the running statistics of batch norm. **The alignment of the invariant** is the cosine between $W^\top W$ and the part of $E$ that the features make; it is one where the two are proportional.
#
# :::{symbols}
# $C$, $H_1$, $E$
# :::

# %% tags=["parameters"]
SCALE = "quick"

# %% [markdown]
# ## In a few lines
#
# Train a small network on digits, twelve of each class, until it fits them, and take NC1 of its features.

# %% tags=["lesson"]
import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp

from ncutils import block_ntk, data, entk, linalg, metrics, models, training

digits = data.balanced_subset(data.load("digits"), 12, key=jax.random.key(0))
X, y, targets = digits.flat, digits.y, linalg.one_hot(digits.y, num_classes=10)
network = models.mlp((64, 32, 10), activation="relu", dtype=float, key=jax.random.key(1))
network = training.fit(network, X, targets, training.Recipe(1.0, 300, momentum=0.9)).model
H, W = models.features(network, X), network.layers[-1].weight
metrics.nc1(H, y, num_classes=10)

# %% [markdown]
# Its invariant, with the three values of the kernel of its features, relative to the part that the classifier makes:

# %% tags=["lesson"]
f, h, params = models.functions(network)
kappa = entk.block_values(h, params, X, y, num_classes=10)
kernel = block_ntk.BlockKernel(kappa.diag, kappa.within, kappa.across)
mE = 12 * block_ntk.invariant(W, H.T, kernel, m=12, C=10)
jnp.linalg.norm(mE) / jnp.linalg.norm(W.T @ W)

# %% [markdown]
# This page asks the same of many networks, along their training. Its results, with the case that made each and the seconds it took; the last is an archived run of its own size.

# %%
import numpy as np
import pandas as pd

from ncutils import figures
from ncutils.experiments.seleznova2023 import network_pairs, reading
from ncutils.records import claims, results

mnist = results.load("seleznova2023/networks/mnist", scale=SCALE)
digits = results.load("seleznova2023/networks/digits", scale=SCALE)
longer = results.load("seleznova2023/network_pairs/resnet20_mnist", scale="workstation")
judge = claims.at(SCALE)
[results.origin(ds) for ds in (mnist, digits, longer)]

# %% [markdown]
# The runs that fit their training set count, at their end and at the first recorded epoch at which they fit it:

# %%
fit, fit2, learnt = (
    reading.fitted(mnist),
    reading.fitted(digits),
    reading.fitted(longer, accuracy=0.85),
)
end, end2, early = fit.isel(epoch=-1), fit2.isel(epoch=-1), reading.at_fit(fit)

# %% [markdown]
# ## How they are trained
#
# As in the paper: stochastic gradient descent with Nesterov momentum $0.9$, weight decay $5\cdot 10^{-4}$ on kernels only, batches of exactly twelve samples of each of the ten classes, the mean of half squared errors as loss, and three initialisations: LeCun's normal, the "uniform" one as the released code has it, and He's normal. Two things differ. There are far fewer steps, so the step drops once, half-way, and the range of learning rates lies higher. And every setting has three seeds, where the paper has one. The grids of learning rates and the thresholds of this page's claims were settled after a first look at runs of this size. The thresholds are round numbers, and what fails stays; but they are not blind, and a run at the paper's scale would judge them anew.
#
# The two pairs of this page are a network of three convolutions on MNIST, averaged down to $14 \times 14$ pixels, and a narrow residual network on digits of $8 \times 8$. A run counts as *fit* when it has $99\,\%$ of its training set right at the end.

# %% tags=["hide-input"]
pd.DataFrame(
    {
        "pair": ["three convolutions, MNIST", "narrow residual network, digits"],
        "runs": [ds.sizes["run"] for ds in (mnist, digits)],
        "fit": [ds.sizes["run"] for ds in (fit, fit2)],
        "diverged": [int(ds.diverged.sum()) for ds in (mnist, digits)],
        "epochs": [int(ds.epoch[-1]) for ds in (mnist, digits)],
        "steps": [int(ds.epoch[-1] * ds.steps_per_epoch) for ds in (mnist, digits)],
    }
).set_index("pair")

# %% [markdown]
# ## Three convolutions on MNIST
#
# For each initialisation the next figure shows two learning rates: the one whose networks end with the smallest NC1, and the one with the largest, among those that fit.

# %% tags=["hide-input", "remove-output"]
shown = fit[figures.seleznova2023.TRAINING]
figures.save(
    figures.seleznova2023.training(shown),
    "p2-who-mnist",
    scale=SCALE,
    data=shown,
    alt="Five panels against the epoch, each with a solid and a dashed line for each of three initialisations. Solid lines, the settings that collapse, end "
    "with an NC1 far below the dashed ones, with a smaller invariant and a better aligned one.",
)

# %% [markdown]
# :::{nc-figure} p2-who-mnist
# :claims: P2-NC-ALIGN P2-NC-NORM
# After the paper's Fig. 2 a–e. Mean and one standard deviation over seeds. Solid: the learning rate that collapses most; dashed: the one that collapses least. Thin vertical lines: all seeds fit their training set. Both fit, and both go on changing afterwards.
# :::
#
# **The invariant goes with collapse.** Over all runs that fit, NC1 and the alignment of the invariant have rank correlation {measured}`P2-NC-ALIGN`; one of twenty shuffles of the runs would reach {measured}`P2-NC-ALIGN.control` {claim}`P2-NC-ALIGN`. For the norm it is {measured}`P2-NC-NORM` {claim}`P2-NC-NORM`. The alignment is the steadier of the two: it has no scale, while the norm differs between initialisations before anything has been learnt. "Near 1", as the theory has it, the alignment is only in the best of these networks.

# %% tags=["hide-input", "remove-output"]
shown = mnist[figures.seleznova2023.AT_THE_END].isel(epoch=-1)
figures.save(
    figures.seleznova2023.whole_end(mnist, fit, lowest=0.6),
    "p2-who-mnist-end",
    scale=SCALE,
    data=shown,
    alt="Six scatter plots, one point a run. NC1, NC2 and NC3 against test accuracy: at like accuracies NC1 spans a wide range. Terms of the invariant against "
    "NC1; alignment of both kernels with the labels, falling with NC1; alignment of the invariant, falling with NC1.",
)

# %% [markdown]
# :::{nc-figure} p2-who-mnist-end
# :claims: P2-NC-LIKE P2-NC-MOST P2-NC-LABELS P2-NC-MEAN
# After Fig. 2 f–h and panes i and j. At the end of training, one point a run; form and colour say the initialisation (circle LeCun, square uniform, triangle He), size the learning rate. Open arrows at the left edge: less accurate than the axis shows. Crosses at the top: diverged.
# :::
#
# **Like accuracy, unlike collapse.** Among the runs within three points of the best test accuracy, NC1 differs by a factor of {measured}`P2-NC-LIKE` {claim}`P2-NC-LIKE`, while the seeds of one setting differ by {measured}`P2-NC-LIKE.control`. So collapse is not what makes a network good here: low learning rates fit the training set without it. Whether *most* good networks collapse depends on which learning rates one tries: here a share of {measured}`P2-NC-MOST` has NC1 below 0.1 {claim}`P2-NC-MOST`, and the paper's own range, longer by far at its low end, would count differently again.
#
# **Kernels align with the labels.** The rank correlation of NC1 with the alignment of the kernel, the weaker of $\Theta$ and $\Theta^h$, is {measured}`P2-NC-LABELS`, and before training {measured}`P2-NC-LABELS.control` {claim}`P2-NC-LABELS`.
#
# **The global mean.** The paper finds it small "in every setting", from the norms $\lVert \langle h\rangle\langle h\rangle^\top \rVert_F$ and $\lVert H_1 H_1^\top \rVert_F$. But $H_1 H_1^\top \succeq C\, \langle h\rangle\langle h\rangle^\top$ for any features, so the first norm is never more than $1/C$ of the second {claim}`P2-NC-MEAN-C`: the largest ratio in all our runs, untrained ones included, is {measured}`P2-NC-MEAN-C`. Times $C$ it is a share that can reach one. It does: in the settings that do not collapse, the class means are mostly their common mean, up to {measured}`P2-NC-MEAN` of it {claim}`P2-NC-MEAN`. Features after a ReLU are nonnegative, and it takes collapse to make them nearly orthogonal.

# %% tags=["hide-input"]
alignment = reading.together(end, "invariant_alignment", "nc1", sign=-1)
best = reading.top(fit)
best_end, by_setting = best.isel(epoch=-1), end.nc1.groupby(["init", "learning_rate"])
among_seeds = (by_setting.max() / by_setting.min()).median()
most, most_at_fit = ((ds.nc1 < 0.1).mean() for ds in (best_end, reading.at_fit(best)))
kernels = ("alignment_outputs", "alignment_features")
labels, labels_before = (
    max(reading.rank_correlation(ds[name], ds.nc1) for name in kernels)
    for ds in (end, fit.isel(epoch=0))
)
labels_spread = max(reading.over_seeds(end, name, "nc1") for name in kernels)
C, ratio = float(mnist.classes), fit.norm_global / fit.norm_means
largest = max(float((ds.norm_global / ds.norm_means).max()) for ds in (mnist, digits))
share, share_before = C * ratio.isel(epoch=-1).max(), C * ratio.isel(epoch=0).min()
like, both = best_end.nc1.max() / best_end.nc1.min(), mnist.sizes["run"] + digits.sizes["run"]
(
    judge("P2-NC-ALIGN", of=fit, over="run", **alignment),
    judge("P2-NC-NORM", of=fit, over="run", **reading.together(end, "invariant_norm", "nc1")),
    judge("P2-NC-LIKE", of=best, value=like, control=among_seeds, over="run"),
    judge("P2-NC-MOST", of=best, value=most, control=most_at_fit, over="run"),
    judge(
        "P2-NC-LABELS",
        of=fit,
        value=labels,
        control=labels_before,
        spread=labels_spread,
        over="run",
    ),
    judge("P2-NC-MEAN", of=fit, value=share, control=share_before, over="run"),
    judge("P2-NC-MEAN-C", of=[mnist, digits], value=largest, control=C * largest, n=both),
)

# %% [markdown]
# ## Does the conclusion depend on how NC1 is measured?
#
# The paper's NC1 is the standard deviation within classes, averaged over classes and features. Multiply all features by ten and it grows tenfold, though nothing has collapsed or come apart. And the initialisations differ in just that scale. Beside it stands here the ratio of the traces of the covariance within and between classes, which has no scale.

# %% tags=["hide-input", "remove-output"]
shown = end[["nc1", "nc1_std", "invariant_alignment"]]
figures.save(
    figures.seleznova2023.two_measures(shown),
    "p2-nc1-std",
    scale=SCALE,
    data=shown,
    alt="Three scatter plots, one point a run. The two kinds of NC1 rise together, but the triangles of one initialisation lie apart. Against the alignment of "
    "the invariant, the relative NC1 falls on one band and the standard deviation on two.",
)

# %% [markdown]
# :::{nc-figure} p2-nc1-std
# :claims: P2-NC-STD P2-NC-STD-A
# The same runs under both measures. Left: He's initialisation (triangles) makes smaller features, so that P2's NC1 calls its networks collapsed sooner. Middle and right: against the alignment of the invariant, one measure puts all runs on one band, the other does not.
# :::
#
# The two order these runs alike with rank correlation {measured}`P2-NC-STD`, less than one asks of two measures of one thing {claim}`P2-NC-STD`. The paper's conclusion survives the change in either direction: with its own measure the correlation with the alignment is {measured}`P2-NC-STD-A` {claim}`P2-NC-STD-A`, with the relative one {measured}`P2-NC-ALIGN`. For the squared error the scale-free measure makes the paper's case stronger. For [cross-entropy](cross_entropy) it makes the case at all.

# %% tags=["hide-input"]
measures, aligned = (
    reading.together(end, "nc1_std", "nc1"),
    reading.together(end, "invariant_alignment", "nc1_std", sign=-1),
)
(
    judge("P2-NC-STD", of=fit, over="run", **measures),
    judge("P2-NC-STD-A", of=fit, over="run", **aligned),
)

# %% [markdown]
# ## Does the invariant predict collapse?
#
# The paper shows that invariant and collapse go together at the end. A conserved quantity should do more: it should tell beforehand. We take the alignment at the first recorded epoch at which a network fits its training set, and compare it with NC1 at the end.

# %% tags=["hide-input", "remove-output"]
alignment_left = reading.beyond_setting(fit, early.invariant_alignment)
nc1_left = reading.beyond_setting(fit, np.log(end.nc1))
shown = (
    early[["invariant_alignment", "nc1"]]
    .drop_vars("epoch")
    .assign(
        final=("run", end.nc1.values),
        alignment_left=("run", alignment_left),
        nc1_left=("run", nc1_left),
    )
)
figures.save(
    figures.seleznova2023.forecast(shown),
    "p2-predict",
    scale=SCALE,
    data=shown,
    alt="Left, NC1 at the end against the alignment when a run first fits: a falling band. Middle, NC1 at the end against NC1 when it first fits: a rising "
    "band, narrower. Right, both without the mean of their setting: a falling cloud.",
)

# %% [markdown]
# :::{nc-figure} p2-predict
# :claims: P2-PREDICT P2-PREDICT-W P2-PREDICT-NC1
# What is known when a network first fits its training set, and what becomes of it. Left: the alignment of the invariant. Middle: NC1 itself. Right: alignment and final NC1 of each run without the mean over the seeds of its setting, so that initialisation and learning rate cannot speak.
# :::
#
# **It does, though no better than NC1 itself.** The rank correlation is {measured}`P2-PREDICT` over all runs {claim}`P2-PREDICT`. Most of that is the learning rate, which decides both. Between networks that differ only in their seed, {measured}`P2-PREDICT-W` is left, where a shuffle reaches {measured}`P2-PREDICT-W.control` {claim}`P2-PREDICT-W`. But NC1 at the same early epoch forecasts NC1 at the end still better: the difference of the two correlations is {measured}`P2-PREDICT-NC1` {claim}`P2-PREDICT-NC1`. By the time a network fits, collapse has begun, and both numbers see it.

# %% tags=["hide-input"]
ahead, rival = (
    reading.rank_correlation(values, end.nc1) for values in (early.invariant_alignment, early.nc1)
)
shuffled = reading.by_chance(early.invariant_alignment, end.nc1)
kept = np.isfinite(alignment_left)
left = alignment_left[kept], nc1_left[kept]
inside, shuffled_inside = reading.rank_correlation(*left), reading.by_chance(*left)
lead, lead_shuffled = abs(ahead) - abs(rival), shuffled - abs(rival)
(
    judge("P2-PREDICT", of=fit, value=ahead, control=-shuffled, over="run"),
    judge("P2-PREDICT-W", of=fit, value=inside, control=-shuffled_inside, n=kept.sum()),
    judge("P2-PREDICT-NC1", of=fit, value=lead, control=lead_shuffled, over="run"),
)

# %% [markdown]
# ## A narrow residual network on digits

# %% tags=["hide-input", "remove-output"]
shown = fit2[figures.seleznova2023.TRAINING]
figures.save(
    figures.seleznova2023.training(shown),
    "p2-who-digits",
    scale=SCALE,
    data=shown,
    alt="Five panels against the epoch for a residual network, with a solid and a dashed line for each of two initialisations: norm and alignment of the "
    "invariant, NC1, NC2 and NC3.",
)

# %% [markdown]
# :::{nc-figure} p2-who-digits
# :claims: P2-NC-ALIGN2
# As the first figure, for a residual network whose channels grow from six to twenty-four, on digits of $8 \times 8$ pixels.
# :::

# %% tags=["hide-input", "remove-output"]
shown = digits[figures.seleznova2023.AT_THE_END].isel(epoch=-1)
figures.save(
    figures.seleznova2023.whole_end(digits, fit2, lowest=0.85),
    "p2-who-digits-end",
    scale=SCALE,
    data=shown,
    alt="Six scatter plots as for the first network: the three metrics against test accuracy, the terms of the invariant, the alignment of the kernels and that "
    "of the invariant against NC1, one point a run.",
)

# %% [markdown]
# :::{nc-figure} p2-who-digits-end
# :claims: P2-NC-ALIGN2
# As the second figure, for the residual network.
# :::
#
# Here the rank correlation of NC1 with the alignment of the invariant is {measured}`P2-NC-ALIGN2`, over fewer runs, where one of twenty shuffles reaches {measured}`P2-NC-ALIGN2.control`; taken for each seed alone it varies by {measured}`P2-NC-ALIGN2.spread` {claim}`P2-NC-ALIGN2`. The direction is that of the first pair, the strength is not settled by so few runs.

# %% tags=["hide-input"]
alignment2 = reading.together(end2, "invariant_alignment", "nc1", sign=-1)
judge("P2-NC-ALIGN2", of=fit2, over="run", **alignment2)

# %% [markdown]
# ## A longer run: ResNet20 on MNIST, at half the width
#
# Nearer to the paper is its own ResNet20, all twenty layers of it, with half the channels, on MNIST with half the pixels a side. Its schedule is the paper's divided by ten: forty epochs, a step that drops tenfold every twelve. A class has 300 samples. Learning rates go down by thirds from a third of the paper's largest; with the largest itself every run diverged when it was tried. There is one seed, as in the paper, and kernels take four samples of each class.
#
# This run was made **once**, and is archived with the book (`results/seleznova2023/network_pairs`). Its size is called *workstation*, and it looks the same at every scale of the book. No claim is judged on it: one seed and few settings make a picture, not a verdict. In so few steps the smaller learning rates do not all fit the training set, so the figures show the runs that have $85\,\%$ of it right at the end.

# %% tags=["hide-input"]
pd.Series(
    {
        "size": longer.scale,
        "runs": longer.sizes["run"],
        "fit": int((longer.train_accuracy.isel(epoch=-1) >= 0.99).sum()),
        "shown": learnt.sizes["run"],
        "half or more of the training set wrong at the end": int(
            (longer.train_accuracy.isel(epoch=-1) < 0.5).sum()
        ),
        "diverged, of these": int(longer.diverged.sum()),
        "steps of a run": int(longer.epoch[-1] * longer.steps_per_epoch),
        "device": f"{longer.device}, one core",
        "processor seconds": round(longer.processor_seconds),
        "seconds": round(longer.seconds),
        "made": longer.made[:10],
        "commit": longer.commit,
    },
    name="archived run",
).to_frame()

# %% tags=["hide-input", "remove-output"]
shown = learnt[figures.seleznova2023.TRAINING]
figures.save(
    figures.seleznova2023.training(shown),
    "p2-who-longer",
    scale=SCALE,
    data=shown,
    alt="Five panels against the epoch, a solid and a dashed line for each of three initialisations. NC1 of the solid lines ends well below that of the dashed "
    "ones, and so does the norm of the invariant. The alignment is higher on the solid lines for two initialisations, and the same on both for the uniform "
    "one.",
)

# %% [markdown]
# :::{nc-figure} p2-who-longer
# As the first figure, for ResNet20 at half the width. One seed, so there are no bands. Solid: the learning rate that collapses most; dashed: the one that collapses least. Thin vertical lines: the training set is fit.
# :::

# %% tags=["hide-input", "remove-output"]
shown = longer[figures.seleznova2023.AT_THE_END].isel(epoch=-1)
figures.save(
    figures.seleznova2023.whole_end(longer, learnt, lowest=0.75),
    "p2-who-longer-end",
    scale=SCALE,
    data=shown,
    alt="Six scatter plots, one point a run. NC1 differs widely at test accuracies that differ little. Terms of the invariant against NC1; alignment of both "
    "kernels with the labels, higher for small NC1; alignment of the invariant, highest for one run of LeCun normal, and level over the three uniform ones.",
)

# %% [markdown]
# :::{nc-figure} p2-who-longer-end
# As the second figure, for the longer run.
# :::
#
# **Part of the picture returns.** From each initialisation, the learning rate that collapses most has the smaller invariant. Its alignment is the larger from two of them; from the uniform one it is the same whether NC1 ends small or large, and the run with the smallest NC1 of all is not the best aligned. For so few runs this neither supports nor contradicts the rank correlations above; but it is the case in which the two measures of the invariant, norm and alignment, tell different stories. The largest learning rate of this run, a third of the paper's largest, trains no network here: two diverge, and the third learns next to nothing.

# %% [markdown]
# ## The paper's nine pairs
#
# Figs 3–11 of the paper are VGG11 and VGG16, ResNet20 and DenseNet40 on MNIST, FashionMNIST and CIFAR10. Networks, schedule, learning rates and metrics of all nine are in this book's library, and each pair is one command, `python -m ncutils.experiments seleznova2023/network_pairs/PAIR --scale paper`. **None of them has been run for this book** at that scale; the run above is a small relative of one of them. What it would take follows from two measurements, the floating-point operations of one training step, three times what the compiler counts for a forward pass, and the rate at which the small network of this page was trained on one core. The last column *assumes* a graphics processor that keeps up ten million million operations a second; nothing here has measured one. Metrics come on top.

# %% tags=["hide-input"]
rate = float(mnist.step_operations / mnist.step_seconds)
cost = network_pairs.costs().to_dataframe()
total = cost.operations * cost.steps * cost.runs
pd.DataFrame(
    {
        "runs": cost.runs.astype(int),
        "steps of a run": cost.steps.astype(int),
        "10⁹ operations a step": (cost.operations / 1e9).round(1),
        "core-hours": (total / rate / 3600).round(-2).astype(int),
        "hours at 10¹³ a second (assumed)": (total / 1e13 / 3600).round(1),
    }
)

# %% [markdown]
# How far can such a sum be trusted? The longer run above is the one that can tell. For its steps, the rate of the small network gives the first number of this table; the second is the processor time that it took, with compiling and all its looks.

# %% tags=["hide-input"]
steps = float(longer.epoch[-1] * longer.steps_per_epoch * longer.sizes["run"])
pd.DataFrame(
    {
        "steps alone, reckoned": [steps * float(longer.step_operations) / rate],
        "whole run, measured": [longer.processor_seconds],
    },
    index=["processor seconds of the longer run"],
).round(0).astype(int)

# %% [markdown]
# And the price of watching. The paper's metrics cost more than the training they watched: they take one gradient for each neuron and pair of samples. In processor seconds, for one run:

# %% tags=["hide-input"]
both = {"three convolutions, MNIST": mnist, "narrow residual network, digits": digits}
pd.DataFrame(
    {
        name: {
            "training": float(ds.step_seconds * ds.steps_per_epoch * ds.epoch[-1]),
            "one look, all metrics": float(ds.look_seconds),
            "all looks": float(ds.look_seconds * ds.sizes["epoch"]),
        }
        for name, ds in both.items()
    }
).T.round(2)

# %% [markdown]
# ## Verdicts
#
# Networks that collapse have the better aligned, and the smaller, invariant. On the second pair of network and data the direction is the same, with fewer runs behind it
# {claim}`P2-NC-ALIGN2`. Like accuracy does not mean like collapse, and whether most good networks collapse is a matter of the learning rates that one tries {claim}`P2-NC-MOST`.
# Kernels of networks that collapse are aligned with the labels. The global mean need not be small {claim}`P2-NC-MEAN`, and the paper's picture, in which it is small, could not have shown anything else.
# The paper's NC1 depends on scale {claim}`P2-NC-STD`; its conclusion on the squared error does not hang on that. The invariant forecasts collapse, though NC1 itself, at the same epoch,
# does no worse {claim}`P2-PREDICT-NC1`.
#
# ```{verdicts}
# ```

# %% [markdown]
# ## Your turn
#
# Stop the network of the first cells sooner, or let it go on, and see whether NC1 and the invariant fall together:

# %% tags=["your-turn"]
for epochs in (30, 100, 1000):
    start = models.mlp((64, 32, 10), activation="relu", dtype=float, key=jax.random.key(1))
    recipe = training.Recipe(learning_rate=1.0, epochs=epochs, momentum=0.9)
    network = training.fit(start, X, targets, recipe).model
    H, W = models.features(network, X), network.layers[-1].weight
    _, h, params = models.functions(network)
    kappa = entk.block_values(h, params, X, y, num_classes=10)
    kernel = block_ntk.BlockKernel(kappa.diag, kappa.within, kappa.across)
    mE = 12 * block_ntk.invariant(W, H.T, kernel, m=12, C=10)
    size = jnp.linalg.norm(mE) / jnp.linalg.norm(W.T @ W)
    print(epochs, f"NC1 {metrics.nc1(H, y, num_classes=10):.3f}, invariant {size:.3f}")
