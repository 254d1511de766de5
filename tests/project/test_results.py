import dataclasses
import hashlib

import numpy as np
import pytest
import xarray as xr

from ncutils.records import results, workspace


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: tuple = (1, 2, 3)
    width: int = 8


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("NCUTILS_ROOT", str(tmp_path))
    return tmp_path


def dataset():
    return xr.Dataset(
        {"nc1": (("seed", "epoch"), np.array([[1.0, 0.5], [np.nan, 0.25]]))},
        coords={"seed": [1, 2], "epoch": [0, 10], "name": ("seed", np.array(["a", "bb"]))},
    )


CASE = "toy2020/line/one"
WHAT = dict(case=CASE, scale="smoke", config=Config(), seconds=1.25)


def test_what_is_saved_reads_back_with_its_provenance(root):
    path = results.save(dataset(), results.path_of(CASE, scale="smoke"), **WHAT)
    found = results.load(CASE, scale="smoke")
    assert found.equals(dataset())
    assert path == root / "_build/smoke/results/toy2020/line/one.nc"
    assert found.attrs["seeds"] == "(1, 2, 3)"
    assert found.attrs["seconds"] == 1.25
    assert set(results.REQUIRED) <= found.attrs.keys()
    assert '"width": 8' in found.attrs["config"]
    assert found.attrs["case"] == CASE
    assert results.origin(found) == "toy2020/line/one, 1 s"


def test_a_run_that_names_its_precision_is_believed(root):
    for named, attrs in (("float32", {"dtype": "float32"}), ("float64", {})):
        path = results.save(dataset().assign_attrs(attrs), root / f"{named}.nc", **WHAT)
        assert results.read(path).attrs["dtype"] == named


def test_a_result_without_provenance_is_refused(root):
    path = results.write(dataset(), root / "bare.nc")
    with pytest.raises(ValueError, match="not a result of this project"):
        results.read(path)


def test_a_truncated_file_is_named_and_not_half_read(root):
    path = results.save(dataset(), root / "x.nc", **WHAT)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"not a readable result.*delete it and rerun"):
        results.read(path)


def test_a_full_disk_keeps_the_older_result_and_says_so(root, monkeypatch):
    path = results.save(dataset(), root / "x.nc", **WHAT)
    before = path.read_bytes()

    def full(ds, part):
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "_write_netcdf", full)
    with pytest.raises(OSError, match=r"No space left on device.*older file there is untouched"):
        results.save(dataset() * 2, path, **WHAT)
    assert path.read_bytes() == before
    assert [file.name for file in root.iterdir()] == ["x.nc"]


def test_a_result_that_reads_back_differently_is_not_put_in_place(root, monkeypatch):
    plain = results._write_netcdf
    monkeypatch.setattr(results, "_write_netcdf", lambda ds, part: plain(ds * 2, part))
    with pytest.raises(ValueError, match="reads back differently"):
        results.write(dataset(), root / "x.nc")
    assert list(root.iterdir()) == []


def test_a_result_that_was_never_run_says_how_to_run_it(root):
    with pytest.raises(FileNotFoundError, match=f"ncutils.experiments {CASE} --scale"):
        results.load(CASE, scale="paper")


def test_the_archive_comes_first_and_its_manifest_matches_every_file(root):
    built = results.save(dataset(), results.path_of(CASE, scale="smoke"), **WHAT)
    ds = results.read(built)
    kept = results.archive(ds, case=CASE, scale="smoke")
    results.save(2 * dataset(), built, **WHAT)
    assert results.load(CASE, scale="smoke").equals(dataset())
    digest, name = (root / "results/MANIFEST.sha256").read_text().split()
    assert name == "toy2020/line/one.smoke.nc"
    assert digest == hashlib.sha256(kept.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="this result is"):
        results.archive(ds, case="toy2020/line/two", scale="smoke")


def test_a_longer_run_has_a_size_that_is_no_scale_of_the_book(root):
    what = {**WHAT, "scale": "workstation"}
    built = results.save(dataset(), results.path_of(CASE, scale="workstation"), **what)
    results.archive(results.read(built), case=CASE, scale="workstation")
    assert results.load(CASE, scale="workstation").scale == "workstation"
    with pytest.raises(FileNotFoundError):
        results.load(CASE, scale="quick")
    with pytest.raises(ValueError, match="unknown scale 'workstation'"):
        workspace.build_dir("workstation")
    with pytest.raises(ValueError, match="unknown scale 'huge'"):
        results.archive_path(CASE, scale="huge")


def test_the_code_is_named_that_ran_and_not_what_stands_there_after(root):
    path = results.save(dataset(), root / "x.nc", **WHAT, source="of the beginning")
    assert results.read(path).source == "of the beginning"
    assert results.read(results.save(dataset(), path, **WHAT)).source == "unknown"  # no such case


@pytest.mark.parametrize("name", ["one", "toy2020/one", "toy2020//one", "a/b/c/d", ""])
def test_a_name_of_another_form_is_refused(root, name):
    with pytest.raises(ValueError, match="a case is named KEY/MODULE/CASE, not"):
        results.load(name, scale="smoke")
