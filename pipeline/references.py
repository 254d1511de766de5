"""The accepted arrays behind the smoke figures: `python -m pipeline.references lock` or `flip`.

A reference is the data of a figure without its provenance, so that it changes only when a
plotted number does; it lies with the tests of its paper, `tests/KEY/references/<figure>.nc`.
`problems` is what the tests ask. `lock` makes the references equal to the figures. `flip`
shows old, new and difference on one page, `_build/flip/index.html`, drawn from the arrays
alone, so that it shows what moved whatever the figure looks like.
"""

import argparse
import base64
import io
import json
from pathlib import Path

import jinja2
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ncutils._files import write_atomically
from ncutils.records import results, workspace

#: Allowed difference as a part of a variable's largest magnitude. A variable, or a whole
#: result, may carry an attribute `reference_rtol` of its own, with the reason in the code.
RTOL = 1e-6
#: Differences below this are what rounding and solvers leave, on whatever scale.
ATOL = 1e-8
#: The same for figures of runs in float32, where steps of training pile up the
#: differences between one processor's order of summation and another's.
RTOL_SINGLE = 1e-3

LINES = 12  # a matrix with at most so many rows is drawn as lines
FLIP = Path(__file__).parent / "templates" / "flip.html"


def figures_dir() -> Path:
    """Where the smoke build leaves its figures."""
    return workspace.build_dir("smoke") / "figures"


def tests_dir() -> Path:
    """The folder with a drawer for each paper, which holds its references."""
    return workspace.project_root() / "tests"


def drawn(figures: Path) -> dict[str, Path]:
    """The arrays of every figure by `KEY/<figure>`; the page that drew it says whose it is."""
    pages = {
        path: json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["page"]
        for path in sorted(figures.glob("*.nc"))
    }
    return {f"{page.partition('/')[0]}/{path.stem}": path for path, page in pages.items()}


def accepted(tests: Path) -> dict[str, Path]:
    """The references by the same names."""
    paths = sorted(tests.glob("*/references/*.nc"))
    return {f"{path.parents[1].name}/{path.stem}": path for path in paths}


def read(path: Path) -> xr.Dataset:
    """The arrays of a figure, without the attributes that say how they were made."""
    ds = xr.load_dataset(path, engine="h5netcdf")
    single = ds.attrs.get("dtype") == "float32"
    if allowed := ds.attrs.get("reference_rtol", RTOL_SINGLE if single else None):
        for variable in ds.variables.values():
            variable.attrs.setdefault("reference_rtol", allowed)
    return ds.drop_attrs(deep=False)


def size(values: xr.DataArray) -> float:
    """The largest finite magnitude; zero where there are no numbers."""
    if values.dtype.kind not in "fiub":
        return 0.0
    numbers = values.values.astype(float)
    return float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0))


def distance(new: xr.DataArray, old: xr.DataArray) -> float:
    """Largest difference of two arrays of one shape, to be told to a person.

    NaN equals NaN; where only one of two values is NaN or infinite, or texts differ, the
    difference is infinite.
    """
    if new.dtype.kind not in "fiub":
        return 0.0 if (new.values == old.values).all() else np.inf
    a, b = new.values.astype(float), old.values.astype(float)
    gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return float(np.where(np.isnan(gap), np.inf, gap).max(initial=0.0))


def changes(new: xr.Dataset, old: xr.Dataset) -> list[str]:
    """What differs between a figure's arrays and its reference, in words; nothing if nothing."""
    extra, gone = (
        sorted(map(str, set(one.variables) - set(other.variables)))
        for one, other in ((new, old), (old, new))
    )
    if extra or gone:
        return [f"other variables: {extra} came, {gone} went"]
    differing = []
    for name in map(str, old.variables):
        a, b = new[name], old[name]
        if a.dims != b.dims or a.shape != b.shape or a.dtype.kind != b.dtype.kind:
            differing.append(f"{name}: {dict(a.sizes)} {a.dtype}, was {dict(b.sizes)} {b.dtype}")
            continue
        # By a part of the largest value, not of each: a curve that falls to zero has a tail
        # of rounding.
        allowed = max(ATOL, float(b.attrs.get("reference_rtol", RTOL)) * size(b))
        try:
            xr.testing.assert_allclose(a.variable, b.variable, rtol=0, atol=allowed)
        except AssertionError:
            differing.append(
                f"{name}: differs by up to {distance(a, b):.2g}, {allowed:.2g} allowed"
            )
    return differing


def problems(figures: Path, tests: Path) -> list[str]:
    """Figures without a reference, references without a figure, and arrays that changed."""
    new, old = drawn(figures), accepted(tests)
    return [
        *(f"{name}: no reference; look at it, then `make lock`" for name in new if name not in old),
        *(f"{name}: a reference without a figure" for name in old if name not in new),
        *(
            f"{name}: {change}"
            for name in new
            if name in old
            for change in changes(read(new[name]), read(old[name]))
        ),
    ]


def lock(figures: Path, tests: Path) -> list[str]:
    """Make the references equal to the figures; files whose numbers are equal stay as they are.

    Returns:
        One line for each file written or removed.
    """
    done, old = [], accepted(tests)
    for name, path in drawn(figures).items():
        new, target = read(path), old.pop(name, None)
        if target is None:
            key, _, figure = name.partition("/")
            target = tests / key / "references" / f"{figure}.nc"
            done.append(f"{name}: new")
        elif read(target).identical(new):
            continue
        else:
            done.append(f"{name}: " + ("; ".join(changes(new, read(target))) or "rounding"))
        results.write(new, target)
    for name, path in old.items():
        path.unlink()
        done.append(f"{name}: removed")
    return done


def picture(shown: dict[str, xr.DataArray], name: str) -> str:
    """A panel for each array, lines along its last axis or an image, as the data of a picture."""
    fig = Figure(figsize=(4 * len(shown), 2.8), layout="constrained")
    for place, (title, values) in enumerate(shown.items(), 1):
        rows = values.values.astype(float).reshape(-1, values.shape[-1] if values.ndim else 1)
        ax = fig.add_subplot(1, len(shown), place, title=f"{name}: {title}")
        if len(rows) <= LINES or values.ndim != 2:
            ax.plot(rows.T, marker="." if rows.shape[1] < 40 else "", linewidth=1)
            ax.set_xlabel(str(values.dims[-1]) if values.dims else "")
        else:
            fig.colorbar(ax.imshow(rows, aspect="auto", interpolation="nearest"), ax=ax)
    store = io.BytesIO()
    fig.savefig(store, format="png", dpi=80)
    return base64.b64encode(store.getvalue()).decode()


def compared(old: xr.Dataset | None, new: xr.Dataset | None) -> dict:
    """What the page shows of one figure: notes on what differs, a table, and pictures."""
    sides = {title: one for title, one in (("old", old), ("new", new)) if one is not None}
    if old is not None and new is not None:
        notes = changes(new, old)
    else:
        notes = ["no reference yet" if old is None else "a reference without a figure"]
    rows, pictures = [], []
    for variable in dict.fromkeys(name for one in sides.values() for name in one):
        shown = {title: one[variable] for title, one in sides.items() if variable in one}
        numbers = all(one.dtype.kind in "fiub" for one in shown.values())
        if len(shown) == 2 and shown["new"].shape == shown["old"].shape:
            gap, largest = distance(shown["new"], shown["old"]), size(shown["old"])
            rows.append((variable, gap, gap / largest if largest else gap and np.inf))
            if numbers:
                a, b = (shown[title].values.astype(float) for title in ("new", "old"))
                shown["new − old"] = shown["new"].copy(data=a - b)
        if numbers:
            alt = f"{variable}: {', '.join(shown)}"
            pictures.append((alt, picture(shown, str(variable))))
    return {"notes": notes, "rows": rows, "pictures": pictures}


def flip(figures: Path, tests: Path) -> str:
    """The whole page for a folder of figures and their references; what differs comes first."""
    new, old = drawn(figures), accepted(tests)
    shown = {
        name: compared(*(read(files[name]) if name in files else None for files in (old, new)))
        for name in sorted(new.keys() | old.keys())
    }
    ordered = dict(sorted(shown.items(), key=lambda item: not item[1]["notes"]))
    page = jinja2.Template(FLIP.read_text(encoding="utf-8"), autoescape=True)
    differing = sum(bool(one["notes"]) for one in shown.values())
    return page.render(figures=ordered, differing=differing)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.references", description=__doc__)
    parser.add_argument("what", choices=("lock", "flip"))
    figures, tests = figures_dir(), tests_dir()
    if parser.parse_args().what == "lock":
        done = lock(figures, tests)
        print(*done, f"{len(accepted(tests))} references, {len(done)} of them touched", sep="\n")
        return
    target, text = workspace.project_root() / "_build" / "flip" / "index.html", flip(figures, tests)
    write_atomically(target, lambda part: part.write_text(text, encoding="utf-8"))
    print(text.partition("<p>")[2].partition("</p>")[0], "See _build/flip/index.html")


if __name__ == "__main__":
    main()
