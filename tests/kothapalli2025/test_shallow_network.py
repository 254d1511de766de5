"""The shallow-network experiment: its kernels, its error bars, its grid."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from ncutils import data, experiments, kernels, metrics, models
from ncutils.experiments.kothapalli2025 import shallow_network as experiment

LABELS = jnp.repeat(jnp.arange(2), 6)


def network(key, widths=(3, 40, 1), activation="erf"):
    return models.mlp(widths, activation=activation, gains=(1.0, 1.97), dtype=jnp.float64, key=key)


def inputs(key):
    return data.two_gaussians(sizes=(6, 6), dim=3, key=key)[0]


@pytest.fixture(scope="module")
def small():
    config = experiment.Networks(
        sizes=(12,),
        dims=(3,),
        epochs=4,
        widths=(16, 32),
        targets=((1.0, 0.0), (4.0, 1.0)),
        relative_step=0.5,
        base_width=16,
        repeats=3,
    )
    return config, experiment.train(config, random_labels=True)


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_tangent_kernel_is_the_gram_matrix_of_the_gradients(activation):
    keys = jax.random.split(jax.random.key(1))
    model, X = network(keys[0], activation=activation), inputs(keys[1])
    model = jax.tree.map(lambda leaf: leaf + 0.1, model)  # biases that are not zero
    slopes = jax.jacrev(lambda net: models.logits(net, X)[:, 0])(model)
    rows = np.concatenate([np.reshape(leaf, (12, -1)) for leaf in jax.tree.leaves(slopes)], axis=1)
    found = experiment.tangent_kernel(model, X)
    np.testing.assert_allclose(found, rows @ rows.T, rtol=1e-11)
    without_last_bias = rows[:, :-1] @ rows[:, :-1].T
    assert np.abs(found - without_last_bias).min() > 0.5


def test_standard_error_of_nc1_is_the_spread_over_untrained_networks():
    keys = jax.random.split(jax.random.key(2), 400)
    X = inputs(jax.random.key(3))

    def look(key):
        H = models.features(network(key, (3, 500, 1)), X)
        return jnp.log10(metrics.nc1(H, LABELS, num_classes=2)), experiment.nc1_standard_error(
            H, LABELS
        )

    values, errors = jax.jit(jax.vmap(look))(keys)
    # A standard deviation of 400 draws is known to 3.5 percent.
    np.testing.assert_allclose(values.std(), errors.mean(), rtol=0.12)
    assert abs(values.std() / np.sqrt(2) - errors.mean()) > 0.2 * errors.mean()
    limit = metrics.kernel_nc1(kernels.nngp(X, activation="erf"), LABELS, num_classes=2).ratio
    assert abs(values.mean() - np.log10(limit)) < 5 * values.std() / 20
    other = metrics.kernel_nc1(kernels.ntk(X, activation="erf"), LABELS, num_classes=2).ratio
    assert abs(values.mean() - np.log10(other)) > 50 * values.std() / 20


def test_a_wide_network_loses_loss_as_its_first_tangent_kernel_says():
    config = experiment.Networks(
        sizes=(12,),
        dims=(3,),
        epochs=60,
        activations=("erf",),
        widths=(4000,),
        relative_step=0.5,
        repeats=2,
        dtype="float64",
        weight_decay=0.0,
    )
    ds = experiment.train(config).squeeze()
    np.testing.assert_allclose(ds.kernel_regime_loss, ds.loss, rtol=0.02)
    assert (ds.kernel_regime_loss.isel(epoch=-2) > 1.1 * ds.loss.isel(epoch=-1)).all()
    np.testing.assert_allclose(ds.relative_step, 0.5, rtol=1e-9)
    assert (ds.kernel_moved < 0.01).all()


def test_every_run_of_the_grid_is_there_and_finite(small):
    _, ds = small
    assert ds.nc1.dims == ("activation", "N", "d0", "width", "target", "epoch", "repeat")
    assert dict(ds.sizes) == {
        "activation": 2, "N": 1, "d0": 1, "width": 2, "target": 2, "epoch": 4, "repeat": 3,
    }  # fmt: skip
    assert all(np.isfinite(variable).all() for variable in ds.data_vars.values())
    assert ds.power.values.tolist() == [0.0, 1.0]
    start, end = ds.isel(epoch=0), ds.isel(epoch=-1)
    assert (start.features_moved == 0).all()
    assert (end.features_moved > 0).all()
    assert (end.loss < start.loss).all()


def test_repeats_differ_and_the_draw_is_shared_where_it_should_be(small):
    config, ds = small
    assert len(np.unique(ds.data.isel(activation=0))) == ds.data.isel(activation=0).size
    np.testing.assert_array_equal(ds.data.isel(activation=0), ds.data.isel(activation=1))
    start = ds.nc1.isel(epoch=0)
    np.testing.assert_array_equal(start.isel(target=0), start.isel(target=1))
    assert (start.isel(width=0) != start.isel(width=1)).all()
    alone = dataclasses.replace(config, activations=("relu",))
    again = experiment.train(alone)
    xr.testing.assert_allclose(
        again.nc1, ds.nc1.sel(activation=["relu"]), rtol=1e-5
    )  # a run does not depend on what else is in the grid


def test_random_targets_are_dealt_out_in_equal_numbers_and_unlike_the_classes(small):
    config, ds = small
    own = experiment._signs(config, 12)
    dealt = experiment._signs(config, 12, shuffled=True)
    np.testing.assert_array_equal(own[0, :, 0] > 0, LABELS)
    assert not dealt.sum(axis=1).any()
    assert (jnp.any(dealt != own, axis=(1, 2))).all()
    assert (ds.nc1_random != ds.nc1.isel(width=0, target=-1, epoch=-1)).all()


def config_of(case, scale):
    return experiments.config_of(f"kothapalli2025/shallow_network/{case}", scale=scale)


def test_paper_scale_has_the_published_settings():
    config = config_of("published", "paper")
    assert (config.sizes, config.dims) == ((128, 256, 512, 1024), (1, 2, 8, 32, 128))
    assert (config.epochs, config.learning_rate, config.weight_decay) == (1000, 1e-3, 1e-6)
    assert (config.widths, config.repeats, config.readout_gain) == ((500,), 10, 1.97)
    assert (config.activations, config.targets) == (("erf", "relu"), ((1.0, 0.0),))
    assert config.dtype == "float32"
    assert config_of("published", "smoke").epochs < 100


@pytest.mark.parametrize("case", ["published", "longer", "rich", "width"])
def test_a_case_is_measured_before_and_after_and_has_one_step(case):
    for scale in ("smoke", "quick", "paper"):
        config = config_of(case, scale)
        assert config.record_at[0] == 0
        assert config.record_at[-1] == config.epochs
        assert (config.learning_rate is None) != (config.relative_step is None)


def test_a_step_left_open_or_given_twice_is_refused():
    for step in ({}, {"learning_rate": 0.1, "relative_step": 0.1}):
        with pytest.raises(ValueError, match="either learning_rate or relative_step"):
            experiment.Networks(sizes=(4,), dims=(1,), epochs=1, **step)


def test_a_stopped_case_goes_on_with_the_trainings_that_it_has_and_leaves_none(
    tmp_path, monkeypatch
):
    config = experiment.Networks(
        (8,), (2,), epochs=2, learning_rate=0.1, widths=(8,), repeats=2, base_width=8
    )
    whole, trained = experiment.train(config), []
    fit = experiment.training.fit_ensemble

    def stops(*args, **options):
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(options["progress"])
        return fit(*args, **options)

    monkeypatch.setattr(experiment.training, "fit_ensemble", stops)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(config, checkpoint=tmp_path / "case.eqx")
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(experiment.training, "fit_ensemble", fit)
    again = experiment.train(config, checkpoint=tmp_path / "case.eqx")
    xr.testing.assert_identical(again, whole)
    assert list(tmp_path.iterdir()) == []


def test_largest_is_the_largest_mean_with_its_own_standard_error():
    values = xr.DataArray(
        [[[0.0, 2.0, 4.0], [9.0, 0.0, 0.0]], [[1.0, 1.0, 1.0], [-8.0, -8.0, -8.0]]],
        dims=("N", "d0", "repeat"),
    )
    mean, error = experiment.largest(values)
    assert mean == 3.0
    assert error == pytest.approx(3.0)
    assert experiment.largest(values.isel(N=0, d0=0))[0] == 2.0
    assert experiment.largest(-values) == (8.0, 0.0)


def test_nc1_is_of_the_classes_of_the_data_and_not_of_the_targets():
    model, X = network(jax.random.key(4)), inputs(jax.random.key(5))
    own = jnp.where(LABELS == 1, 1.0, -1.0)[:, None]
    kept, turned = (
        eqx.filter_jit(experiment.measure)(model, model, X, t) for t in (own, -own[::-1])
    )
    swapped = experiment.measure(model, model, X, own[::-1])
    assert kept["nc1"] == pytest.approx(float(swapped["nc1"]), rel=1e-12)
    assert kept["loss"] == pytest.approx(float(turned["loss"]), rel=1e-12)
    assert kept["loss"] != pytest.approx(float(swapped["loss"]), rel=1e-3)
