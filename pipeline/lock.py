"""Accept the arrays behind the smoke figures as references: `python -m pipeline.lock`.

A reference is the data of a figure without its provenance, so that it changes
only when a plotted number does. `problems` is what the tests ask.
"""

from pathlib import Path

import numpy as np
import xarray as xr

from ncutils.records import results, workspace

#: Allowed difference as a part of a variable's largest magnitude. A variable, or a whole
#: result, may carry an attribute `reference_rtol` of its own, with the reason in the code.
RTOL = 1e-6
#: Differences below this are what rounding and solvers leave, on whatever scale.
ATOL = 1e-8
#: The same for figures of runs in float32, where steps of training pile up the
#: differences between one processor's order of summation and another's.
RTOL_SINGLE = 1e-3


def figures_dir() -> Path:
    """Where the smoke build leaves its figures."""
    return workspace.build_dir("smoke") / "figures"


def references_dir() -> Path:
    """Where the accepted arrays are kept."""
    return workspace.project_root() / "tests" / "references"


def read(path: Path) -> xr.Dataset:
    """The arrays of a figure, without the attributes that say how they were made."""
    ds = xr.load_dataset(path, engine="h5netcdf")
    single = ds.attrs.get("dtype") == "float32"
    if allowed := ds.attrs.get("reference_rtol", RTOL_SINGLE if single else None):
        for variable in ds.variables.values():
            variable.attrs.setdefault("reference_rtol", allowed)
    return ds.drop_attrs(deep=False)


def distance(new: xr.DataArray, old: xr.DataArray) -> tuple[float, float]:
    """Largest difference of two arrays of one shape: absolute, and as a part of the largest value.

    NaN equals NaN; where only one of two values is NaN or infinite, or texts
    differ, the difference is infinite.
    """
    if new.dtype.kind not in "fiub":
        same = bool((new.values == old.values).all())
        return (0.0, 0.0) if same else (np.inf, np.inf)
    a, b = new.values.astype(float), old.values.astype(float)
    gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    gap = np.where(np.isnan(gap), np.inf, gap)
    largest = float(gap.max(initial=0.0))
    if largest == 0.0:
        return 0.0, 0.0
    size = np.abs(b[np.isfinite(b)]).max(initial=0.0)
    return largest, largest / float(size) if size > 0 else np.inf


def changes(new: xr.Dataset, old: xr.Dataset) -> list[str]:
    """What differs between a figure's arrays and its reference, in words; nothing if nothing."""
    extra = sorted(set(map(str, new.variables)) - set(map(str, old.variables)))
    gone = sorted(set(map(str, old.variables)) - set(map(str, new.variables)))
    if extra or gone:
        return [f"other variables: {extra} came, {gone} went"]
    found = []
    for name in map(str, old.variables):
        a, b = new[name], old[name]
        if a.dims != b.dims or a.shape != b.shape or a.dtype.kind != b.dtype.kind:
            found.append(f"{name}: {dict(a.sizes)} {a.dtype}, was {dict(b.sizes)} {b.dtype}")
            continue
        absolute, relative = distance(a, b)
        if absolute > ATOL and relative > float(b.attrs.get("reference_rtol", RTOL)):
            found.append(f"{name}: differs by up to {absolute:.2g} ({relative:.2g} of the largest)")
    return found


def problems(figures: Path, references: Path) -> list[str]:
    """Figures without a reference, references without a figure, and arrays that changed."""
    made = {path.stem: path for path in figures.glob("*.nc")}
    kept = {path.stem: path for path in references.glob("*.nc")}
    return [
        *(
            f"{name}: no reference; look at it, then `make lock`"
            for name in sorted(made.keys() - kept)
        ),
        *(f"{name}: a reference without a figure" for name in sorted(kept.keys() - made)),
        *(
            f"{name}: {change}"
            for name in sorted(made.keys() & kept.keys())
            for change in changes(read(made[name]), read(kept[name]))
        ),
    ]


def lock(figures: Path, references: Path) -> list[str]:
    """Make the references equal to the figures; files whose numbers are equal stay as they are.

    Returns:
        One line for each file written or removed.
    """
    done = []
    for path in sorted(figures.glob("*.nc")):
        new, target = read(path), references / path.name
        if not target.is_file():
            done.append(f"{path.stem}: new")
        elif read(target).identical(new):
            continue
        else:
            done.append(f"{path.stem}: " + ("; ".join(changes(new, read(target))) or "rounding"))
        results.write(new, target)
    for path in sorted(references.glob("*.nc")):
        if not (figures / path.name).is_file():
            path.unlink()
            done.append(f"{path.stem}: removed")
    return done


def main() -> None:
    done = lock(figures_dir(), references_dir())
    count = len(list(references_dir().glob("*.nc")))
    print(*done, f"{count} references, {len(done)} of them touched", sep="\n")


if __name__ == "__main__":
    main()
