"""Old, new and difference of every figure's arrays on one page: `python -m pipeline.flip`.

Drawn from the arrays alone, so it shows what moved whatever the figure looks
like. One HTML file with everything inside; figures that differ come first.
"""

import base64
import html
import io
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from ncutils._files import write_atomically
from ncutils.records import workspace
from pipeline import lock

LINES = 12  # a matrix with at most so many rows is drawn as lines
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Figures: old, new, difference</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
img {{ max-width: 100%; display: block; }}
.differs {{ color: #b3261e; }}
td, th {{ padding: 0.1rem 0.8rem 0.1rem 0; text-align: left; }}
</style></head><body>
<h1>Figures: old, new, difference</h1>
<p>{summary}</p>
{figures}
</body></html>
"""


def _panel(ax, values: xr.DataArray, title: str) -> None:
    rows = np.asarray(values.values, dtype=float).reshape(
        -1, values.shape[-1] if values.ndim else 1
    )
    ax.set_title(title)
    if len(rows) <= LINES or values.ndim != 2:
        ax.plot(rows.T, marker="." if rows.shape[1] < 40 else "", linewidth=1)
        ax.set_xlabel(values.dims[-1] if values.dims else "")
    else:
        ax.figure.colorbar(ax.imshow(rows, aspect="auto", interpolation="nearest"), ax=ax)


def picture(old: xr.DataArray | None, new: xr.DataArray | None, name: str) -> str:
    """Three panels for one variable as an `img` element with the picture inside."""
    shown = [("old", old), ("new", new)]
    if old is not None and new is not None and old.shape == new.shape:
        gap = new.copy(data=np.asarray(new.values, float) - np.asarray(old.values, float))
        shown.append(("new − old", gap))
    fig, axes = plt.subplots(1, 3, figsize=(12, 2.8), layout="constrained")
    for ax in axes:
        ax.set_axis_off()
    for ax, (title, values) in zip(axes, shown, strict=False):
        if values is not None:
            ax.set_axis_on()
            _panel(ax, values, f"{name}: {title}")
    store = io.BytesIO()
    fig.savefig(store, format="png", dpi=80)
    plt.close(fig)
    code = base64.b64encode(store.getvalue()).decode()
    alt = html.escape(
        f"{name}: {', '.join(title for title, values in shown if values is not None)}"
    )
    return f'<img alt="{alt}" src="data:image/png;base64,{code}">'


def section(name: str, old: xr.Dataset | None, new: xr.Dataset | None) -> tuple[bool, str]:
    """Whether a figure differs, and its part of the page."""
    if old is None or new is None:
        notes = ["no reference yet" if old is None else "a reference without a figure"]
    else:
        notes = lock.changes(new, old)
    rows, pictures = [], []
    for variable in dict.fromkeys([*(new or {}), *(old or {})]):
        a = None if old is None else old.get(variable)
        b = None if new is None else new.get(variable)
        if a is not None and b is not None and a.shape == b.shape:
            cells = [f"{value:.3g}" for value in lock.distance(b, a)]
            rows.append(f"<tr><td>{variable}</td><td>{cells[0]}</td><td>{cells[1]}</td></tr>")
        if all(one is None or one.dtype.kind in "fiub" for one in (a, b)):
            pictures.append(picture(a, b, str(variable)))
    words = html.escape("; ".join(notes)) or "the same within the tolerance"
    head = "<tr><th>variable</th><th>largest difference</th><th>relative</th></tr>"
    return bool(notes), (
        f"<h2>{html.escape(name)}</h2><p{' class=differs' if notes else ''}>{words}</p>"
        f"<table>{head}{''.join(rows)}</table>{''.join(pictures)}"
    )


def page(figures: Path, references: Path) -> str:
    """The whole page for a folder of figures and a folder of references."""
    stems = sorted({path.stem for folder in (figures, references) for path in folder.glob("*.nc")})

    def read(folder: Path, stem: str) -> xr.Dataset | None:
        path = folder / f"{stem}.nc"
        return lock.read(path) if path.is_file() else None

    sections = [section(stem, read(references, stem), read(figures, stem)) for stem in stems]
    differing = sum(differs for differs, _ in sections)
    parts = [text for differs, text in sorted(sections, key=lambda one: not one[0])]
    summary = f"{differing} of {len(stems)} figures differ from their references."
    return PAGE.format(summary=summary, figures="\n".join(parts))


def main() -> None:
    target = workspace.project_root() / "_build" / "flip" / "index.html"
    text = page(lock.figures_dir(), lock.references_dir())
    write_atomically(target, lambda part: part.write_text(text, encoding="utf-8"))
    print(text.partition("<p>")[2].partition("</p>")[0], "See _build/flip/index.html")


if __name__ == "__main__":
    main()
