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
# # Collapse without training
#
# :::{question}
# Do the classes of real digits collapse where no weight is trained, is the AGOP the cause, and what does it do
# for digits that were not seen?
# :::
#
# Take a {term}`kernel machine`, replace the data by what its average gradient outer product, the {term}`AGOP`, makes of them, send them through
# a random layer, and repeat: that is {term}`Deep RFM`. No weight is trained, and yet {cite:t}`beaglehole2024` see the classes collapse, as in a deep network.
#
# It happens on digits, and only with the AGOP. With ReLU features NC1 falls by a constant factor per layer. With random cosines it
# stops, at a level that can be computed. Digits that were not seen gain nothing from it.
#
# :::{symbols}
# $C$, $N$, $\NC_1$, $M_l$, $X_l$, $\Phi_l$, $\alpha_l$
# :::

# %% tags=["parameters"]
SCALE = "quick"

# %% [markdown]
# ## Three layers on eighty digits
#
# Nothing is trained here, and what is left of NC1 becomes less with every layer: the images, the rows that enter the second and third layer, and those that the last regression reads.

# %% tags=["lesson"]
import jax
import jax.numpy as jnp

from ncutils import data, deep_rfm, metrics

jax.config.update("jax_enable_x64", True)
digits = data.balanced_subset(data.load("digits"), 8, key=jax.random.key(0))
X, y = data.standardise(jnp.asarray(digits.flat))[0], jnp.asarray(digits.y)
options = {"num_classes": 10, "depth": 3, "recipe": deep_rfm.Layout("relu", width=64)}
layers = deep_rfm.run_layers(X, y, **options, key=jax.random.key(1))
[round(float(metrics.nc1(layer.before, y, num_classes=10)), 3) for layer in layers]

# %% [markdown]
# At the size of the book these cases ran, each with who made it and in how many seconds; the last one is a longer run from the archive.

# %%
import numpy as np
import pandas as pd

from ncutils import figures
from ncutils.records import claims, results

whole = results.load("beaglehole2024/deep_rfm/figures", scale=SCALE)
varied = results.load("beaglehole2024/deep_rfm/variants", scale=SCALE)
longer = results.load("beaglehole2024/deep_rfm/figures", scale="workstation")
ds, judge = whole.isel(dataset=0), claims.at(SCALE)
nc1, depth = ds.nc1.sel(point="before"), varied.nc1.sel(point="before")
[results.origin(one) for one in (whole, varied, longer)]

# %% [markdown]
# ## The algorithm
#
# :::{prf:algorithm} Deep RFM
# :label: alg-deep-rfm
#
# Given samples as the rows of $X_1$ and labels as $Y \in \{\pm 1\}^{N \times C}$, for $l = 1, \dots, L$:
#
# 1. Scale every row of $X_l$ to norm one.
# 2. Fit $f_l(x) = k(x, X_l)\, \alpha_l$, where $\alpha_l = (k(X_l, X_l) + \mu I)^{-1} Y$, with a ridge $\mu$.
# 3. Take the AGOP, $M_l = \sum_i J_i^\top J_i$, with $J_i$ the Jacobian of $f_l$ at sample $i$.
# 4. Map on: $X_{l+1} = \Phi_l(X_l M_l^{1/2})$, with $\Phi_l$ a random layer.
#
# After the last layer scale and fit once more, to predict.
# :::
#
# The kernel is Laplace, $k(x, z) = e^{-\lVert x - z \rVert / 2}$, unless another is named. The random layer has $D$ features and acts on each row $x$: $\sigma(Wx)$ with the ReLU $\sigma$, or
# $\sqrt{2/D} \cos(\gamma Wx + u)$ with Cauchy entries in $W$, random phases $u$ and $\gamma = 0.05$. The figures write $M_l^{1/2} X_l$ for $X_l M_l^{1/2}$.
# Text and released code differ in four places, and each has a paragraph in the [audit](../../book/audit): the ridge (none; $10^{-3}$), the scale of $M_l$ (as it is; divided by its largest entry), the number of cosines
# (4096; as many as the layer has inputs) and the normalisation of NC1. We follow the code in the first three: without its division cosine features do not collapse {claim}`P3-AUD-SCALE`, and without its ridge the Gaussian kernel breaks down {claim}`P3-X-SINGLE`. In the fourth we follow the text.
#
# | | here, quick | paper |
# |---|---|---|
# | images | 500 MNIST digits, 50 a class; 500 others as test | 50,000 of MNIST, CIFAR-10, SVHN |
# | layers, ReLU features | 10, 512 | 20, 1024 |
# | seeds (images and maps) | 3 | not stated |
#
# The scale `paper` has the paper's sizes and all data sets that are at hand; it needs a GPU and has not been run for this edition, so nothing on this page speaks about CIFAR-10 or SVHN. [Between the two](#p3-rfm-longer) lies one run with 10,000 images and twenty layers.
#
# ## ReLU features: Figs. 3 and 6

# %% tags=["hide-input", "remove-output"]
shown = ds[["nc1", "nc2"]].sel(net="relu")
figures.save(
    figures.beaglehole2024.collapse_by_layer(shown),
    "p3-fig3",
    scale=SCALE,
    data=shown,
    alt="NC1 and NC2 against the layer for ReLU features, at three points of each layer. All NC1 curves fall along "
    "straight lines on the logarithmic axis, the one after the AGOP lowest. NC2 falls over the first layers, then stays.",
)

# %% [markdown]
# :::{nc-figure} p3-fig3
# :claims: P3-F3 P3-F3-MAP P3-F3-DECAY P3-F3-NC2
# ReLU features. Left: NC1 where a layer begins (green), after the square root of the AGOP (orange) and after the random map (blue). Right: the same for NC2, as mean square. Bands: one standard deviation over seeds.
# :::
#
# The AGOP takes NC1 down in every layer, at least by the factor {measured}`P3-F3`; the random map takes it up again, at least by {measured}`P3-F3-MAP`, as [it must](deep_rfm_theory). Together a layer leaves at most
# {measured}`P3-F3-DECAY` of NC1. The class means come close to a {term}`simplex` within a few layers and stay there; at the read-out NC2 is {measured}`P3-F3-NC2` of that of the images.

# %% tags=["hide-input", "remove-output"]
shown = ds[["gram"]]
figures.save(
    figures.beaglehole2024.gram_panels(shown),
    "p3-fig6",
    scale=SCALE,
    data=shown,
    alt="Matrices of cosines between centred samples sorted by class, at five layers, for ReLU and cosine features. At "
    "layer 1 no pattern is visible; ten blocks appear by layer 2 and are uniform, close to one, in the last layer.",
)

# %% [markdown]
# :::{nc-figure} p3-fig6
# :claims: P3-F1 P3-F6 P3-F5
# Figs. 1, 5 and 6 for MNIST. Cosines between the rows of $M_{l-1}^{1/2} X_{l-1}$, less their mean, sorted by class; layer 1 shows the images. In the last panels two samples of one class have cosine 1, two of different classes $-\frac19$.
# :::

# %% tags=["hide-input"]
ratio = ds.nc1.sel(point="after_agop") / nc1
raised = ds.nc1.sel(point="after_map") / ds.nc1.sel(point="after_agop")
other = varied.nc1.sel(variant="random", point="after_agop") / depth.sel(variant="random")
step = nc1.shift(layer=-1) / nc1
still = depth.sel(variant="identity").shift(layer=-1) / depth.sel(variant="identity")
nc2 = ds.nc2.sel(point="before").mean("repeat")
free = varied.nc2.sel(point="before", variant="identity").mean("repeat")
turned, kept = nc2.isel(layer=-1) / nc2.isel(layer=0), free.isel(layer=-1) / free.isel(layer=0)
per = ds.sizes["i"] // 10
blocks = ds.gram.values.reshape(2, -1, 10, per, 10, per).mean((3, 5))
within = np.trace(blocks, axis1=2, axis2=3) / 10
across = (blocks.sum((2, 3)) - 10 * within) / 90
off = np.maximum(np.abs(within - 1), np.abs(across + 1 / 9))
away = np.abs(blocks - (10 * np.eye(10) - 1) / 9).max((2, 3))
(
    judge(
        "P3-F3",
        of=[ds, varied],
        value=ratio.sel(net="relu").max(),
        control=other.sel(feature_map="relu").max(),
        over="repeat",
    ),
    judge(
        "P3-F3-MAP",
        of=ds,
        value=raised.sel(net="relu").min(),
        control=ratio.sel(net="relu").min(),
        over="repeat",
    ),
    judge(
        "P3-F3-DECAY",
        of=[ds, varied],
        value=step.sel(net="relu").mean("repeat").max(),
        control=still.sel(feature_map="relu").mean("repeat").max(),
        over="repeat",
    ),
    judge(
        "P3-F3-NC2",
        of=[ds, varied],
        value=turned.sel(net="relu"),
        control=kept.sel(feature_map="relu"),
        over="repeat",
    ),
    judge("P3-F1", of=ds, value=off[0, -1], control=off[0, 0], n=1),
    judge("P3-F6", of=ds, value=away[0, -1], control=away[0, 0], n=1),
    judge("P3-F5", of=ds, value=away[1, -1], control=away[1, 0], n=1),
)

# %% [markdown]
# ## Cosine features: Figs. 4 and 5

# %% tags=["hide-input", "remove-output"]
shown = ds[["nc1", "nc2"]].sel(net="cosine")
figures.save(
    figures.beaglehole2024.collapse_by_layer(shown),
    "p3-fig4",
    scale=SCALE,
    data=shown,
    alt="NC1 and NC2 against the layer for cosine features. After a few layers the NC1 curves are level, far "
    "apart: low after the AGOP, high before it and after the map. NC2 falls and stays level too.",
)

# %% [markdown]
# :::{nc-figure} p3-fig4
# :claims: P3-F4 P3-F4-DECAY P3-F4-NC2 P3-X-NC2-FREE
# As the figure for ReLU, with cosine features. NC1 is low only between the AGOP and the random map, and from the fifth layer on it is level.
# :::
#
# The AGOP is stronger here: it takes NC1 down at least by the factor {measured}`P3-F4`. But from some layer on the random map undoes all of it, and there is no decay with depth {claim}`P3-F4-DECAY`. The collapse that the Gram matrices show is that of one layer, made
# anew each time.
#
# The simplex of the class means, right, is not the AGOP's doing either: with the identity in its place NC2 falls just as far {claim}`P3-X-NC2-FREE`. Cauchy cosines of points that are far enough apart are orthogonal, and so are their means.

# %% tags=["hide-input"]
(
    judge(
        "P3-F4",
        of=[ds, varied],
        value=ratio.sel(net="cosine").max(),
        control=other.sel(feature_map="cosine").max(),
        over="repeat",
    ),
    judge(
        "P3-F4-DECAY",
        of=[ds, varied],
        value=step.sel(net="cosine").mean("repeat").max(),
        control=still.sel(feature_map="cosine").mean("repeat").max(),
        over="repeat",
    ),
    judge(
        "P3-F4-NC2",
        of=[ds, varied],
        value=turned.sel(net="cosine"),
        control=kept.sel(feature_map="relu"),
        over="repeat",
    ),
    judge(
        "P3-X-NC2-FREE",
        of=varied,
        value=kept.sel(feature_map="cosine"),
        control=kept.sel(feature_map="relu"),
        over="repeat",
    ),
)

# %% [markdown]
# ### Where it stops, and why
#
# Write $z$ for a row after the AGOP. Cauchy cosines stand for a kernel, $\E\, \Phi(z)^\top \Phi(z') = e^{-\gamma \lVert z - z' \rVert_1}$, and the
# features have norm one. For classes of equal size, with $\bar k_W$ and $\bar k_B$ the means of that kernel over pairs within a class (own pairs included) and between classes,
#
# $$
# \NC_1(\Phi) = \frac{1 - \bar k_W}{(1 - \frac1C)(\bar k_W - \bar k_B)} .
# $$
#
# This predicts every blue point from the orange one below it, to {measured}`P3-X-PLATEAU` at worst. Three things follow.
#
# **The kernel has a cusp.** Close to zero $1 - e^{-\gamma t} \approx \gamma t$, with $t$ a distance and not its square. If the deviations from the class means shrink by $s$, NC1 shrinks by $s^2$ before the map
# and only by $s$ after it: $\NC_1(\Phi) \propto \NC_1(z)^{1/2}$. ReLU and Gaussian cosines are smooth, and keep the square.
# A layer with a cusp is a map $v \mapsto c\, (a v)^{1/2}$, with $a$ the factor of the AGOP, and that has a fixed point $v = a c^2 > 0$. A smooth layer has $v \mapsto c\, a v$, which goes to zero if $ca < 1$.
#
# **It is a fixed point.** Classes that start almost collapsed must *lose* their collapse until they are there. They do: started at {measured}`P3-X-START.control` times the plateau, nets end at {measured}`P3-X-START` times it.
#
# **Its level is a matter of units.** $M$ is divided by its largest entry, which fixes the length of $z$; with more cosines the same length is spread over more coordinates, and $\lVert\cdot\rVert_1$ grows. Half the cosines lower
# the plateau to {measured}`P3-AUD-RFF` of its height. Without the division $z$ is so long that all kernel entries are zero, and nothing collapses at all {claim}`P3-AUD-SCALE`.

# %% tags=["hide-input", "remove-output"]
shown = varied[["response", "predicted_nc1"]].assign(nc1=depth)
figures.save(
    figures.beaglehole2024.plateau(shown),
    "p3-plateau",
    scale=SCALE,
    data=shown,
    alt="Left: NC1 by layer for four nets with cosines. From above or from almost collapsed data they reach the same level, "
    "half the cosines a lower one, Gaussian frequencies the lowest; crosses of the prediction lie on the points. Right: NC1 after a "
    "random map against NC1 before it, rising more slowly for Cauchy cosines than for ReLU and Gaussian cosines.",
)

# %% [markdown]
# :::{nc-figure} p3-plateau
# :claims: P3-X-PLATEAU P3-X-START P3-X-POWER P3-AUD-RFF
# Left: nets with cosines; crosses are the formula, computed from the layer before. Right: the random map alone, on the last features after the AGOP with their deviations from the class means halved again and again. Gaussian
# frequencies are drawn with $\gamma = 1$.
# :::
#
# The slopes on the right are {measured}`P3-X-POWER` for Cauchy cosines and {measured}`P3-X-POWER.control` for Gaussian ones, where theory has $\frac12$ and 1. Smooth cosines do not reach zero within these layers either: their NC1 levels off where
# the AGOP hardly lowers it any more. But they end much lower.

# %% tags=["hide-input"]
cosine = varied.sel(feature_map="cosine")
seen = cosine.nc1.sel(point="after_map")
wrong = np.abs(cosine.predicted_nc1 / seen - 1)
naive = np.abs(cosine.nc1.sel(point="after_agop") / seen - 1).sel(variant="agop")
end, start = depth.isel(layer=-1).mean("repeat"), depth.isel(layer=0).mean("repeat")
height = end.sel(feature_map="cosine") / end.sel(variant="agop", feature_map="cosine")
first = start.sel(feature_map="cosine") / end.sel(variant="agop", feature_map="cosine")
slope = np.log(varied.response.isel(shrink=-1) / varied.response.isel(shrink=-2)).mean("repeat")
slope = slope.sel(side="after") / slope.sel(side="before")
grown = (end / start).sel(feature_map="cosine")
(
    judge("P3-X-PLATEAU", of=varied, value=wrong.max(), control=naive.min(), over="repeat"),
    judge(
        "P3-X-START",
        of=varied,
        value=height.sel(variant="collapsed"),
        control=first.sel(variant="collapsed"),
        over="repeat",
    ),
    judge(
        "P3-X-POWER",
        of=varied,
        value=slope.sel(tried="cosine"),
        control=slope.sel(tried="cosine, Gaussian"),
        over="repeat",
    ),
    judge(
        "P3-AUD-RFF",
        of=varied,
        value=height.sel(variant="narrow"),
        control=height.sel(variant="collapsed"),
        over="repeat",
    ),
    judge(
        "P3-AUD-SCALE",
        of=varied,
        value=grown.sel(variant="sum"),
        control=grown.sel(variant="agop"),
        over="repeat",
    ),
)

# %% [markdown]
# ## Is it the AGOP?
#
# A layer does more than apply an AGOP: it scales the rows, multiplies them by *some* matrix, and maps them at random. Three controls keep all this and take the AGOP of the true labels out.

# %% tags=["hide-input", "remove-output"]
shown = varied[["own_nc1"]].assign(nc1=depth)
figures.save(
    figures.beaglehole2024.controls(shown),
    "p3-controls",
    scale=SCALE,
    data=shown,
    alt="NC1 by layer for ReLU and cosine features. With the AGOP it falls. With the identity or a random matrix in its "
    "place it rises. With shuffled labels it rises for the true classes and falls for the shuffled ones.",
)

# %% [markdown]
# :::{nc-figure} p3-controls
# :claims: P3-X-IDENTITY P3-X-RANDOM P3-X-SHUFFLED
# The AGOP, the identity in its place, a matrix with the eigenvalues of the AGOP and random eigenvectors, and the AGOP for labels dealt out at random. Dashed: NC1 with respect to those labels.
# :::
#
# With the identity or with random eigenvectors NC1 only rises. So a spectrum that falls fast is not enough; the directions matter. And what the digits are does not matter: random labels collapse as well, to {measured}`P3-X-SHUFFLED` of their first NC1.
# The AGOP makes *the labels it is given* visible, whatever they mean. Collapse of training data is therefore no sign that anything about digits was learned.

# %% tags=["hide-input"]
change = end / start
own = varied.own_nc1.sel(variant="shuffled").mean("repeat")
(
    judge(
        "P3-X-IDENTITY",
        of=varied,
        value=change.sel(variant="identity").min(),
        control=change.sel(variant="agop").max(),
        over="repeat",
    ),
    judge(
        "P3-X-RANDOM",
        of=varied,
        value=change.sel(variant="random").min(),
        control=change.sel(variant="agop").max(),
        over="repeat",
    ),
    judge(
        "P3-X-SHUFFLED",
        of=varied,
        value=(own.isel(layer=-1) / own.isel(layer=0)).max(),
        control=change.sel(variant="shuffled").min(),
        over="repeat",
    ),
)

# %% [markdown]
# ## What collapse does for other digits
#
# The paper shows training data only. Every layer has a regression, so each can be asked about digits that were not seen.

# %% tags=["hide-input", "remove-output"]
identity = varied.test_accuracy.sel(variant="identity", drop=True).reindex(layer=ds.layer)
shown = ds[["test_accuracy", "single"]].assign(identity=identity)
figures.save(
    figures.beaglehole2024.accuracy(shown),
    "p3-accuracy",
    scale=SCALE,
    data=shown,
    alt="Left: share of test digits recognised by the regression of each layer. It falls slowly with ReLU features and fast with "
    "cosine features; without the AGOP it falls as well. Right: share of training digits with the Gaussian kernel in single "
    "precision; it stays at one with a ridge, and without one it breaks down within a few layers.",
)

# %% [markdown]
# :::{nc-figure} p3-accuracy
# :claims: P3-X-TEST P3-X-SINGLE
# Left: test digits, by the regression of each layer; dashed without the AGOP. Right: training digits, with ReLU features and the Gaussian kernel in float32.
# :::
#
# **No layer helps.** The first regression, which sees the pixels, is the best of all; the change from there to the end is {measured}`P3-X-TEST` at the best of the three nets. Without the AGOP accuracy falls faster still. So the AGOP *keeps* what random
# layers would lose, and that is all it does here. With cosines each layer tears neighbours apart before the next AGOP repairs the training samples, and only those.

# %% [markdown]
# **The Gaussian kernel needs a ridge.** With ReLU features its classes collapse so fast that after two layers the kernel matrix, if it has no ridge, is singular in single precision: samples of a class are one point. Elimination goes on without an error
# and returns noise, and a few layers later the training digits themselves are lost: a share of {measured}`P3-X-SINGLE` is recognised in the worst layer, with a ridge of $10^{-3}$ a share of {measured}`P3-X-SINGLE.control`. The paper's text has no ridge. With the Laplace kernel, whose matrix
# stays regular, the ridge makes hardly a difference: NC1 moves by {measured}`P3-AUD-RIDGE` at most.

# %% tags=["hide-input"]
seen, better = ds.test_accuracy.mean("repeat"), varied.test_accuracy.isel(layer=-1).mean("repeat")
better = better.sel(feature_map="relu")
worst = ds.single.sel(measure="train accuracy").min("layer").mean("repeat")
relu, broken = depth.sel(feature_map="relu"), ds.single.sel(measure="nc2").isel(layer=-1)
released = (nc1 / ds.released_nc1).sel(net=["relu", "cosine"])
(
    judge(
        "P3-X-TEST",
        of=[ds, varied],
        value=(seen.isel(layer=-1) - seen.isel(layer=0)).max(),
        control=better.sel(variant="agop") - better.sel(variant="identity"),
        over="repeat",
    ),
    judge(
        "P3-X-SINGLE",
        of=ds,
        value=worst.sel(ridge="none"),
        control=worst.sel(ridge="1e-3"),
        over="repeat",
    ),
    judge(
        "P3-AUD-RIDGE",
        of=[varied, ds],
        value=np.abs(relu.sel(variant="no ridge") / relu.sel(variant="agop") - 1).max(),
        control=np.abs(broken.sel(ridge="none") / broken.sel(ridge="1e-3") - 1).min(),
        over="repeat",
    ),
    judge(
        "P3-AUD-NC1",
        of=ds,
        value=np.abs(released / 10 - 1).max(),
        control=np.abs(released - 1).min(),
        over="repeat",
    ),
)

# %% [markdown]
# (p3-rfm-longer)=
# ## A longer run: 10,000 images, twenty layers
#
# Nearer to the paper are its twenty layers of 1024 ReLU features, or 784 cosines, on 10,000 images of MNIST and of Fashion-MNIST, the first of each file; the paper has 50,000. All test images are used. The maps were drawn once.
#
# This run was made **once**, and is archived with the book (`results/beaglehole2024/deep_rfm`). Its size is called *workstation*, and it looks the same at every scale of the book. No claim is judged on it.

# %% tags=["hide-input"]
pixels = longer.test_accuracy.sel(net="relu", layer=1).squeeze("repeat")
pd.Series(
    {
        "size": longer.scale,
        "images": "10,000, and 10,000 to test",
        "recognised from the pixels, MNIST": f"{pixels.sel(dataset='mnist').item():.3f}",
        "recognised from the pixels, Fashion-MNIST": f"{pixels.sel(dataset='fashion_mnist').item():.3f}",
        "device": longer.device,
        "processor seconds": round(longer.processor_seconds),
        "seconds": round(longer.seconds),
        "made": longer.made[:10],
        "commit": longer.commit,
    },
    name="archived run",
).to_frame()

# %% tags=["hide-input", "remove-output"]
shown = longer[["nc1", "test_accuracy"]].sel(net=["relu", "cosine"])
figures.save(
    figures.beaglehole2024.longer_run(shown),
    "p3-longer",
    scale=SCALE,
    data=shown,
    alt="NC1 by layer for ReLU features falls over all twenty layers, for MNIST further than for Fashion-MNIST. For cosines "
    "it is low after the AGOP and high before it, and level from about the twelfth layer on. The share of test images recognised "
    "is highest in the first or second layer, lower from then on, and soon level.",
)

# %% [markdown]
# ## Your turn
#
# How deep does it go? The case of this page at its smallest size, with twice as many layers and other digits: NC1 where each layer begins, with ReLU and with cosine features.
# One of the two has stopped before the end. Does a wider ReLU map (`width`) collapse faster?

# %% tags=["your-turn"]
from ncutils import experiments

tried = experiments.run("beaglehole2024/deep_rfm/figures", scale="smoke", seeds=(7,), depth=6)
tried.nc1.sel(point="before", net=["relu", "cosine"]).isel(dataset=0, repeat=0).to_pandas()

# %% [markdown]
# :::{nc-figure} p3-longer
# Left and middle: NC1 where a layer begins (green), after the square root of the AGOP (orange) and after the random map (blue). Right: test images that the regression of a layer recognises, as a share, less those that the first one does. One draw, so there are no bands.
# :::
#
# With ReLU features NC1 falls in every layer to the last, though more slowly than with 500 digits, and on MNIST not by one factor all along; on Fashion-MNIST the classes end further from collapse than on MNIST. With cosines it does not get beyond a level, and it is much the same one for both sets, while
# from the second layer on the AGOP lowers it for a moment by more than it ever does with ReLU features. The first cosine map even raises NC1 by more than the AGOP before it took away. So the two findings from few digits stand: with one map the decay has no end in sight, with the other there is a plateau.
#
# Of images that were not seen the second ReLU layer recognises a little more than the first on MNIST. No other layer gains more over the pixels, and the last ones have lost it again: at the end all four nets do worse than their first regression.

# %% [markdown]
# ## Verdicts
#
# - On these digits one AGOP per layer collapses whatever labels it is given, true or random, without training. With the identity or random directions in its place nothing collapses.
# - How far it goes is decided by the random map: ReLU features let it go on geometrically {claim}`P3-F3-DECAY`, Cauchy cosines, whose kernel has a cusp, stop it {claim}`P3-F4-DECAY`.
# - Collapse of the training samples and recognition of others are different things. Here the first comes, and the second gets worse.
#
# One control was exchanged after it had been measured: that of {claim}`P3-F4-NC2` was first the identity with cosine features, and it passed, so it could not serve. That it passes is now a claim of its own, {claim}`P3-X-NC2-FREE`.
#
# ```{verdicts}
# ```
#
# Why an AGOP does this in the limit of large dimension is the subject of [the next page](deep_rfm_theory).
