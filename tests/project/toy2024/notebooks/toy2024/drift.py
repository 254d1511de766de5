# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Two means drift apart
#
# :::{question}
# What does NC1 do when two classes move apart and keep their spread?
# :::
#
# It falls {claim}`T4-FALL`. On two points a class one sees why.

# %% tags=["parameters"]
SCALE = "quick"

# %% tags=["lesson"]
import jax.numpy as jnp

from ncutils import metrics

near = jnp.array([[0.0], [1.0], [2.0], [3.0]])
far = jnp.array([[0.0], [1.0], [4.0], [5.0]])
[float(metrics.nc1(points, jnp.array([0, 0, 1, 1]), num_classes=2)) for points in (near, far)]

# %% [markdown]
# The same with many points. This is the result, with the case that made it.

# %%
from ncutils import experiments, figures
from ncutils.records import claims, results

drift = results.load("toy2024/drift/apart", scale=SCALE)
results.origin(drift)

# %%
alt = "A line that falls as the distance of the two means grows."
figures.save(figures.toy2024.drift(drift), "t4-drift", scale=SCALE, data=drift, alt=alt)

# %% [markdown]
# :::{nc-figure} t4-drift
# :claims: T4-FALL
# NC1 against the distance of the means.
# :::

# %% tags=["hide-input"]
judge = claims.at(SCALE)
fall = drift.nc1.isel(distance=-1) / drift.nc1.isel(distance=0)
judge("T4-FALL", of=drift, value=fall, control=1 / fall, over="repeat")

# %% [markdown]
# **Your turn.** Other distances, and other draws:

# %% tags=["your-turn"]
experiments.run("toy2024/drift/apart", seeds=(7,), distances=(1.0, 10.0)).nc1.shape

# %% [markdown]
# ```{verdicts}
# ```
