import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from ncutils import figures


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("NCUTILS_ROOT", str(tmp_path))
    return tmp_path / "_build/smoke/figures"


def panels():
    values = np.random.default_rng(0).normal(size=(2, 3, 5))
    coords = {"N": [128, 256], "d0": [1, 2, 8]}
    return xr.Dataset({"nngp": (("N", "d0", "repeat"), values)}, coords, {"seeds": "0-4"})


def draw():
    with figures.style():
        return figures.nc1_panels(panels(), {"nngp": ("NNGP", "nngp")})


ALT = "Two curves of log NC1 that rise with the input dimension."


def test_a_saved_figure_has_every_form_its_arrays_and_its_provenance(root):
    plt.close("all")  # what other tests have left open
    root = root.parents[1] / "quick" / "figures"
    shown = figures.save(draw(), "p1-toy", scale="quick", data=panels(), alt=ALT)
    about = json.loads((root / "p1-toy.json").read_text())
    assert set(about["files"]) == {"svg", "dark_svg", "png", "nc", "csv"}
    assert all((root / name).stat().st_size > 0 for name in about["files"].values())
    assert (about["alt"], about["seeds"]) == (ALT, "0-4")
    assert xr.open_dataset(root / "p1-toy.nc", engine="h5netcdf").load().equals(panels())
    assert shown._repr_mimebundle_()["image/png"].startswith(b"\x89PNG")
    assert not plt.get_fignums()


def test_a_figure_of_a_test_run_is_shown_by_its_svg_and_has_no_png(root):
    shown = figures.save(draw(), "p1-toy", scale="smoke", data=panels(), alt=ALT)
    assert not (root / "p1-toy.png").exists()
    assert shown._repr_mimebundle_()["image/svg+xml"] == (root / "p1-toy.svg").read_text()


def test_a_page_run_again_without_pictures_writes_its_arrays_and_no_picture(root, monkeypatch):
    monkeypatch.setenv("NCUTILS_PICTURES", "0")
    figures.save(draw(), "p1-toy", scale="smoke", data=panels(), alt=ALT)
    written = {path.name for path in root.iterdir()}
    assert written == {"p1-toy.nc", "p1-toy.csv", "p1-toy.json"}
    monkeypatch.delenv("NCUTILS_PICTURES")
    figures.save(draw(), "p1-toy", scale="smoke", data=panels(), alt=ALT)
    assert (root / "p1-toy.svg").is_file()


def test_the_dark_version_has_light_ink_on_dark_paper_and_the_same_curves(root):
    figures.save(draw(), "p1-toy", scale="smoke", data=panels(), alt=ALT)
    light, dark = ((root / f"p1-toy{end}").read_text() for end in (".svg", ".dark.svg"))
    assert "#1b2a38" in light
    assert "#1b2a38" not in dark
    assert "#ffffff" not in dark
    assert light.count("<path") == dark.count("<path")


def test_the_same_figure_is_written_byte_for_byte_the_same(root):
    root = root.parents[1] / "quick" / "figures"
    first = figures.save(draw(), "p1-toy", scale="quick", data=panels(), alt=ALT).picture
    svg = (root / "p1-toy.svg").read_bytes()
    assert figures.save(draw(), "p1-toy", scale="quick", data=panels(), alt=ALT).picture == first
    assert (root / "p1-toy.svg").read_bytes() == svg


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alt": ""}, "alt text"),
        ({"alt": "a plot"}, "alt text"),
        ({"figure_id": "P1 Fig/2"}, "figure id"),
        ({"data": xr.Dataset()}, "arrays are needed"),
    ],
)
def test_a_figure_without_alt_text_arrays_or_a_usable_name_is_an_error(root, change, message):
    words = {"figure_id": "p1-toy", "data": panels(), "alt": ALT, **change}
    fig = draw()
    with pytest.raises(ValueError, match=message):
        figures.save(fig, words["figure_id"], scale="smoke", data=words["data"], alt=words["alt"])
    assert not root.exists()
    plt.close(fig)


def test_curves_skip_a_masked_repeat_and_show_mean_and_deviation_of_the_rest():
    values = panels()["nngp"].sel(N=128).copy()
    values[0, 2] = np.nan
    with figures.style():
        fig, ax = plt.subplots()
        figures.curves(ax, values, x="d0")
    drawn = ax.lines[0].get_ydata()
    np.testing.assert_allclose(drawn, np.nanmean(values, axis=1), rtol=1e-14)
    edge = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert np.isclose(edge, np.nanmean(values[0]) + np.nanstd(values[0])).any()
    assert not np.isclose(edge, np.nanmean(values[0]) + 2 * np.nanstd(values[0])).any()
    plt.close(fig)


def test_a_heatmap_draws_a_line_between_classes_and_none_without_sizes():
    matrix = xr.DataArray(np.eye(6), dims=("i", "j"))
    with figures.style():
        fig, (one, two) = plt.subplots(1, 2)
        figures.heatmap(one, matrix, sizes=(2, 4), title="K")
        figures.heatmap(two, matrix)
    assert [line.get_ydata()[0] for line in one.lines[::2]] == [1.5]
    assert not two.lines
    plt.close(fig)
