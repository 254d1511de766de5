"""Results as labelled arrays on disk, each with where it came from.

A result is one netCDF file: an `xarray.Dataset` whose attributes say which code, which
configuration, which seeds, which machine and how long. Files are written under a
temporary name, read back, and only then renamed.
"""

import dataclasses
import datetime
import hashlib
import json
import platform
import resource
import warnings
from pathlib import Path

import jax
import xarray as xr

import ncutils
from ncutils._files import write_atomically
from ncutils.records import digest, workspace

REQUIRED = (
    "case",
    "scale",
    "config",
    "commit",
    "seeds",
    "device",
    "dtype",
    "jax",
    "ncutils",
    "made",
    "seconds",
    "peak_memory_mb",
)


def peak_memory_mb() -> float:
    """The most memory this process has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if platform.system() == "Darwin" else peak / 2**10


def device() -> str:
    """What JAX computes on, in words."""
    first = jax.devices()[0]
    kind = first.device_kind
    return platform.machine() + " CPU" if first.platform == "cpu" else str(kind)


def provenance(*, case: str, scale: str, config, seconds: float, source: str | None = None) -> dict:
    """The attributes that every result file carries.

    Args:
        case, scale: what was run, "KEY/MODULE/CASE", and a scale of `workspace.SIZES`.
        config: the frozen dataclass that decided the numbers; its field `seeds`, or
            else `seed`, is repeated as an attribute of its own.
        seconds: wall-clock time of the run.
        source: `digest.case_digest(case)` when the run began; that of now, if it is not given.

    Returns:
        A dict of strings and numbers, with the keys of `REQUIRED`.
    """
    fields = dataclasses.asdict(config)
    seeds = fields.get("seeds", fields.get("seed", "none"))
    return {
        "case": case,
        "scale": workspace.check_scale(scale, workspace.SIZES),
        "config": json.dumps(fields, sort_keys=True, default=str),
        "commit": workspace.commit(),
        "source": source or digest.case_digest(case),
        "seeds": str(seeds),
        "device": device(),
        "dtype": fields.get("dtype", "float64"),
        "jax": jax.__version__,
        "ncutils": ncutils.__version__,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(float(seconds), 2),
        "peak_memory_mb": round(peak_memory_mb(), 1),
    }


def path_of(case: str, *, scale: str) -> Path:
    """Where this result is made: `_build/<scale>/results/KEY/MODULE/CASE.nc`."""
    build = workspace.project_root() / "_build" / workspace.check_scale(scale, workspace.SIZES)
    return build / "results" / f"{_address(case)}.nc"


def archive_path(case: str, *, scale: str) -> Path:
    """Where this result is kept for good: `results/KEY/MODULE/CASE.<scale>.nc`."""
    workspace.check_scale(scale, workspace.SIZES)
    return workspace.project_root() / "results" / f"{_address(case)}.{scale}.nc"


def _address(case: str) -> str:
    if case.count("/") != 2 or not all(case.split("/")):
        raise ValueError(f"a case is named KEY/MODULE/CASE, not {case!r}")
    return case


def _write_netcdf(ds: xr.Dataset, path: Path) -> None:
    packed = {
        name: {"zlib": True, "complevel": 4} for name, v in ds.data_vars.items() if v.ndim > 0
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # inside h5netcdf
        ds.to_netcdf(path, engine="h5netcdf", encoding=packed)


def _open(path: Path) -> xr.Dataset:
    with xr.open_dataset(path, engine="h5netcdf") as ds:
        return ds.load()


def write(ds: xr.Dataset, path: Path) -> Path:
    """Write a dataset as netCDF, read it back, and only then put it in place.

    Args:
        ds: any dataset.
        path: the file to make.

    Returns:
        `path`.

    Raises:
        OSError: when the disk is full or not writable; an older file at `path` stays.
        ValueError: when what was read back is not what was written.
    """

    def writer(part: Path) -> None:
        _write_netcdf(ds, part)
        if not _open(part).equals(ds):
            raise ValueError(f"{path.name} reads back differently from what was written")

    try:
        return write_atomically(Path(path), writer)
    except OSError as error:
        raise OSError(
            error.errno,
            f"could not write {path} ({error.strerror or error}); an older file there is untouched",
        ) from error


def save(ds: xr.Dataset, path: Path, **what) -> Path:
    """Write a result with its provenance.

    Args:
        ds: the arrays; per-seed rows, not only means. An attribute `dtype` names the
            precision of the run, if its configuration does not.
        path: the file to make.
        what: the arguments of `provenance`.

    Returns:
        `path`.

    Raises:
        OSError, ValueError: as for `write`.
    """
    known = provenance(**what)
    known["dtype"] = ds.attrs.get("dtype", known["dtype"])  # what a run says of itself
    return write(ds.assign_attrs({**ds.attrs, **known}), path)


def read(path: Path) -> xr.Dataset:
    """Read a result and check that it says where it came from.

    Raises:
        ValueError: if the file is not netCDF, or an attribute of `REQUIRED` is missing.
    """
    try:
        ds = _open(Path(path))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is not a readable result ({error}): delete it and rerun"
        ) from error
    if missing := [name for name in REQUIRED if name not in ds.attrs]:
        raise ValueError(
            f"{path} does not say its {', '.join(missing)}: not a result of this project"
        )
    return ds


def load(case: str, *, scale: str) -> xr.Dataset:
    """The result of one case: the archived file if there is one, else the built one.

    Args:
        case: "KEY/MODULE/CASE", a case of `ncutils.experiments`.
        scale: "smoke", "quick" or "paper", or "workstation" for a longer run that is archived.

    Returns:
        The dataset, with its provenance as attributes.

    Raises:
        FileNotFoundError: if it was never run; the message says how to run it.
        ValueError: as for `read`.
    """
    archived = archive_path(case, scale=scale)
    path = archived if archived.is_file() else path_of(case, scale=scale)
    if not path.is_file():
        raise FileNotFoundError(
            f"no {scale} result of {case}: "
            f"run `python -m ncutils.experiments {case} --scale {scale}`"
        )
    return read(path)


def origin(ds: xr.Dataset) -> str:
    """Who made a result and in how many seconds, in one line: "KEY/MODULE/CASE, 12 s"."""
    return f"{ds.attrs['case']}, {float(ds.attrs['seconds']):.0f} s"


def archive(ds: xr.Dataset, *, case: str, scale: str) -> Path:
    """Keep a result for good and list its checksum in `results/MANIFEST.sha256`.

    Args:
        ds: a result as `read` returns it.
        case, scale: its name; they must be those in its attributes.

    Returns:
        The archived path.

    Raises:
        ValueError: if the attributes name another run.
    """
    named = tuple(ds.attrs.get(key) for key in ("case", "scale"))
    if named != (case, scale):
        raise ValueError(f"this result is {named}, not {(case, scale)}")
    path = write(ds, archive_path(case, scale=scale))
    folder = workspace.project_root() / "results"
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder).as_posix()}\n"
        for file in sorted(folder.rglob("*.nc"))
    ]
    write_atomically(
        folder / "MANIFEST.sha256", lambda part: part.write_text("".join(lines), encoding="utf-8")
    )
    return path
