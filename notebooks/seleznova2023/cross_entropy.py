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
# # Cross-entropy
#
# :::{question}
# Does a quantity that the theory derives for the squared error say something about networks trained with cross-entropy?
# :::
#
# The theory is about the squared error: its residual is $f - y$, and its gradient flow closes. Most networks are trained with cross-entropy. {cite:t}`seleznova2023` repeat one of their experiments with it (Fig. 12) and report that the {term}`invariant` and collapse go together as before, that collapse goes further, and that the invariant is nevertheless much larger.
#
# The networks are the small ones of the [last page](who_collapses) on the same images, from the same seeds, with lower learning rates, as this loss has the larger gradient, and for twice as many epochs.
#
# :::{symbols}
# $R$, $E$
# :::

# %% tags=["parameters"]
SCALE = "quick"

# %% [markdown]
# ## In a few lines
#
# Three classes of four samples, a kernel of three values, a random state. The features move by the gradient of the loss, multiplied by the kernel; classifier and features under cross-entropy:

# %% tags=["lesson"]
import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp

from ncutils import block_ntk, linalg, training

kernel, classes = block_ntk.BlockKernel(2.0, 1.0, 0.3), {"m": 4, "C": 3}
Y = linalg.one_hot(jnp.repeat(jnp.arange(3), 4), num_classes=3)
W, H = (jax.random.normal(jax.random.key(i), shape) for i, shape in ((0, (3, 5)), (1, (5, 12))))
slopes = jax.grad(lambda W, H: training.cross_entropy((W @ H).T, Y), argnums=(0, 1))(W, H)
velocity = -slopes[0], -kernel.times(slopes[1], **classes)
jnp.linalg.norm(velocity[1])

# %% [markdown]
# So they do move. And the rate at which the invariant changes:

# %% tags=["lesson"]
E = lambda W, H: block_ntk.invariant(W, H, kernel, **classes)  # noqa: E731
jnp.abs(jax.jvp(E, (W, H), velocity)[1]).max()

# %% [markdown]
# The rest of the page does this at the size of the experiments. Its results, with the case that made each and the seconds it took:

# %%
import numpy as np

from ncutils import figures
from ncutils.experiments.seleznova2023 import reading
from ncutils.records import claims, results

entropy = results.load("seleznova2023/networks/cross_entropy", scale=SCALE)
squared = results.load("seleznova2023/networks/mnist", scale=SCALE)
judge = claims.at(SCALE)
[results.origin(ds) for ds in (entropy, squared)]

# %% [markdown]
# The runs that fit their training set count, at their end:

# %%
fit, fit_squared = reading.fitted(entropy), reading.fitted(squared)
end, end_squared, start = fit.isel(epoch=-1), fit_squared.isel(epoch=-1), fit.isel(epoch=0)

# %% [markdown]
# ## The invariant goes with collapse

# %% tags=["hide-input", "remove-output"]
shown = fit[figures.seleznova2023.TRAINING]
figures.save(
    figures.seleznova2023.training(shown),
    "p2-fig12-training",
    scale=SCALE,
    data=shown,
    alt="Five panels against the epoch for networks trained with cross-entropy, with a solid and a dashed line for each of three initialisations. NC1 falls "
    "slowly and has not stopped at the end; the alignment of the invariant rises.",
)

# %% [markdown]
# :::{nc-figure} p2-fig12-training
# :claims: P2-CE-ALIGN P2-CE-NORM
# After the paper's Fig. 12. Mean and one standard deviation over seeds. Solid: the learning rate that collapses most; dashed: the one that collapses least. Thin vertical lines: all seeds fit their training set.
# :::
#
# **The relation is there.** Over the runs that fit, the rank correlation of NC1 with the alignment of the invariant is {measured}`P2-CE-ALIGN`, where one of twenty shuffles reaches {measured}`P2-CE-ALIGN.control` {claim}`P2-CE-ALIGN`; with its norm it is {measured}`P2-CE-NORM` {claim}`P2-CE-NORM`. Nothing in the theory promises this. The features and the classifier still obey $\dot W = -R H^\top$ and $\dot H = -W^\top R K$, with $H$ the features, $W$ the classifier, $K$ the kernel of the features and $R$ the difference between the softmax and the targets; the derivation of $E$ uses no more than that. It is the *rest* of the theory, what follows from $E = O$, that uses the squared error.

# %% tags=["hide-input", "remove-output"]
shown = entropy[figures.seleznova2023.AT_THE_END].isel(epoch=-1)
figures.save(
    figures.seleznova2023.whole_end(entropy, fit, lowest=0.8),
    "p2-fig12-end",
    scale=SCALE,
    data=shown,
    alt="Six scatter plots, one point a run trained with cross-entropy: the three metrics against test accuracy, the terms of the invariant, the alignment of "
    "the kernels and that of the invariant against NC1.",
)

# %% [markdown]
# :::{nc-figure} p2-fig12-end
# :claims: P2-CE-ALIGN
# After panes f–j of the paper's Fig. 12, at the end of training. Form and colour say the initialisation (circle LeCun, square uniform, triangle He), size the learning rate.
# :::

# %% tags=["hide-input"]
alignment = reading.together(end, "invariant_alignment", "nc1", sign=-1)
(
    judge("P2-CE-ALIGN", of=fit, over="run", **alignment),
    judge("P2-CE-NORM", of=fit, over="run", **reading.together(end, "invariant_norm", "nc1")),
)

# %% [markdown]
# ## Against the squared error

# %% tags=["hide-input", "remove-output"]
shown = end[["nc1", "nc1_std", "invariant_alignment", "invariant_norm"]].drop_vars("epoch")
figures.save(
    figures.seleznova2023.two_losses(shown, end_squared),
    "p2-two-losses",
    scale=SCALE,
    data=shown,
    alt="Three scatter plots with one point a run for two losses. Against the relative NC1 the alignment of the invariant falls for both losses; against P2's "
    "NC1 it falls for the squared error and rises for cross-entropy. The norm of the invariant is larger for cross-entropy.",
)

# %% [markdown]
# :::{nc-figure} p2-two-losses
# :claims: P2-CE-BETTER P2-CE-LARGER P2-CE-STD
# One point a run that fits. Left: the relative NC1 and the alignment of the invariant go together under either loss. Middle: with the paper's own NC1 the relation turns round for cross-entropy. Right: the norm of the invariant.
# :::
#
# **A larger invariant.** Its median norm is {measured}`P2-CE-LARGER` times that of the squared error {claim}`P2-CE-LARGER`. Cross-entropy alone has no finite minimum: weights and features grow until weight decay holds them, and the invariant, which is quadratic in both, grows with them. That it may be large and yet aligned is what (28) allows.
#
# **Better metrics, not here.** In the best setting of each loss, the metric that comes off worst is larger under cross-entropy by {measured}`P2-CE-BETTER` in $\log_{10}$ {claim}`P2-CE-BETTER`. Once the labels are learnt, the gradient of cross-entropy fades like one over the time, and collapse goes on logarithmically slowly. The paper trained more than a hundred times as many steps. So this is a statement about short training, and the place where a run at the paper's scale could turn the verdict.
#
# **A measure that turns the conclusion round.** With the paper's own NC1, the mean standard deviation, the rank correlation with the alignment of the invariant is {measured}`P2-CE-STD`, and with the relative one {measured}`P2-CE-STD.control` {claim}`P2-CE-STD`. Higher learning rates make larger features. The scatter of a class grows with them and so does the distance between classes, faster; the first alone looks like the opposite of collapse. Under the squared error the targets fix the scale of $WH$, and the two measures go together.

# %% tags=["hide-input"]
aligned_std, aligned = (
    reading.rank_correlation(end.invariant_alignment, end[name]) for name in ("nc1_std", "nc1")
)
std_spread = reading.over_seeds(end, "invariant_alignment", "nc1_std")
setting, metrics = ["init", "learning_rate"], ["nc1", "nc2", "nc3"]
least, least_squared, untrained = (
    np.log10(runs[metrics].groupby(setting).mean().min()).to_array()
    for runs in (end, end_squared, start)
)
further, not_trained = (least - least_squared).max(), (untrained - least_squared).max()
larger = end.invariant_norm.median() / end_squared.invariant_norm.median()
by_seed = end_squared.invariant_norm.groupby("seed").median()
both = {"of": [fit, fit_squared], "over": "run"}
(
    judge("P2-CE-STD", of=fit, value=aligned_std, control=aligned, spread=std_spread, over="run"),
    judge("P2-CE-BETTER", value=further, control=not_trained, **both),
    judge("P2-CE-LARGER", value=larger, control=by_seed.max() / by_seed.min(), **both),
)

# %% [markdown]
# ## Verdicts
#
# It does: the invariant goes with collapse under cross-entropy too, though the theory does not promise it, and it is much larger than under the squared error. The paper's own NC1 would have shown
# the relation the other way round. That cross-entropy collapses further is not to be seen in runs of this length {claim}`P2-CE-BETTER`.
#
# The thresholds were set after a first look at runs of this size, as [the page on who collapses](who_collapses) says of its own.
#
# ```{verdicts}
# ```

# %% [markdown]
# ## Your turn
#
# The lesson's argument never looks at the loss. Put another one in its place, the squared error or one of your own, and the invariant stands still. Multiply the kernel by two on the way, and it does not:

# %% tags=["your-turn"]
slopes = jax.grad(lambda W, H: jnp.sum(jnp.cosh((W @ H).T - Y)), argnums=(0, 1))(W, H)
right = -slopes[0], -kernel.times(slopes[1], **classes)
wrong = -slopes[0], -2 * kernel.times(slopes[1], **classes)
[jnp.abs(jax.jvp(E, (W, H), velocity)[1]).max() for velocity in (right, wrong)]
