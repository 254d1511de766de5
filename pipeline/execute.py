"""Execute one notebook: `python -m pipeline.execute PAGE SCALE=quick`.

Writes `_build/<scale>/notebooks/<page>.ipynb`, which is the page of the book,
and `_build/<scale>/pages/<page>.json`, which says where its numbers come from.
A notebook that fails stays half-run under `_build/<scale>/log/`.
"""

import argparse
import ast
import datetime
import importlib.metadata
import json
import os
import platform
import re
import resource
import sys
import time
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import papermill
import yaml
from papermill.exceptions import PapermillExecutionError

from ncutils._files import write_atomically
from ncutils.records import claims, workspace
from pipeline import build as plan

PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "xarray", "ncutils")


def read(page: str, parameters: dict[str, object]) -> nbformat.NotebookNode:
    """The notebook of a page, ready to run with these parameters.

    Raises:
        ValueError: if it takes no parameter of that name.
    """
    source = plan.source_of(page)
    notebook = jupytext.read(source)
    known = papermill.inspect_notebook(notebook)
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(
            f"{source.name} has no parameter {', '.join(unknown)}; it takes: {', '.join(known)}"
        )
    return notebook


def tidy(notebook: nbformat.NotebookNode, root: Path) -> nbformat.NotebookNode:
    """Hide the parameters; drop paths, times, random names and what went to stderr."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        for output in list(cell.get("outputs", [])):
            if output.get("name") == "stderr":  # for the log, not for the page
                print(output["text"], file=sys.stderr)
                cell.outputs.remove(output)
        tags = cell.metadata.get("tags", [])
        if {"parameters", "injected-parameters"} & set(tags):
            cell.metadata["tags"] = [*tags, "remove-cell"]  # the page says its scale above
    text = nbformat.writes(notebook)
    here = json.dumps(f"{root}/")[1:-1]
    return nbformat.reads(text.replace(here, ""), as_version=4)


def forget(page: str, scale: str) -> None:
    """Remove what an earlier run of this page recorded, so that nothing stale is shown."""
    build = workspace.build_dir(scale)
    for claim in claims.load().values():
        if claim.page == page:
            (build / "claims" / f"{claim.id}.json").unlink(missing_ok=True)
    for about in (build / "figures").glob("*.json"):
        figure = json.loads(about.read_text(encoding="utf-8"))
        if figure.get("page") == page:
            for name in (about.name, *figure["files"].values()):
                (build / "figures" / name).unlink(missing_ok=True)


def provenance_of(page: str, scale: str) -> list[dict[str, str]]:
    """What the results that a page loads say of themselves."""
    import h5py

    keep = ("case", "scale", "device", "commit", "made", "seconds", "seeds")
    loaded = [*((case, scale) for case in plan.cases_of(page)), *plan.longer_runs(page)]
    found = []
    for case, size in loaded:
        path = plan.archived(size, case)
        if not path.is_file():
            path = workspace.build_dir(scale) / "results" / f"{case}.nc"
        with h5py.File(path) as file:
            # netCDF has numbers as vectors of one entry
            found.append({name: str(np.asarray(file.attrs[name]).item()) for name in keep})
    return found


def seeds_of(results: list[dict[str, str]]) -> list[int]:
    """Every seed that a page's results used, sorted."""
    values = [ast.literal_eval(r["seeds"]) for r in results if r["seeds"] != "none"]
    return sorted({seed for one in values for seed in (one if isinstance(one, tuple) else (one,))})


def children_peak_mb() -> float:
    """The most memory that a finished child process (the kernel) has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / 2**20 if platform.system() == "Darwin" else peak / 2**10


def explain(page: str, error: PapermillExecutionError, kept: Path) -> str:
    """The cell that failed and its error, as a person wants to read them."""
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    return (
        f"\nnotebooks/{page}.py failed in this cell:\n\n"
        + "".join(f"    {line}\n" for line in error.source.splitlines())
        + f"\n{trace}\n\nThe half-run notebook: {kept}"
    )


def execute(page: str, parameters: dict[str, object]) -> Path:
    """Run a page's notebook and write it with its record.

    Args:
        page: "KEY/PAGE", a file of `notebooks/`.
        parameters: values for its cell tagged `parameters`; SCALE among them.

    Returns:
        Path of the executed notebook.

    Raises:
        ValueError: for an unknown parameter, page or scale, before anything runs.
        SystemExit: with the cell and the error, if a cell fails.
    """
    root, scale = workspace.project_root(), str(parameters.get("SCALE"))
    build = workspace.build_dir(scale)
    if page not in plan.pages():
        raise ValueError(f"no page {page!r}: {', '.join(plan.pages())}")
    notebook = read(page, parameters)
    half_run = build / "log" / f"{page}.half-run.ipynb"
    half_run.parent.mkdir(parents=True, exist_ok=True)
    key = plan.page_key(scale, page)  # of what is about to run, not of what stands there after
    os.environ["NCUTILS_PAGE"] = page
    # pooch asks for the notebook's own progress bars, which this book does not have.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")
    forget(page, scale)

    started = time.perf_counter()
    try:
        done = papermill.execute_notebook(
            notebook,
            str(half_run),
            parameters,
            kernel_name="python3",
            cwd=str(root),
        )
    except PapermillExecutionError as error:
        sys.exit(explain(page, error, half_run.relative_to(root)))
    seconds = time.perf_counter() - started

    made = provenance_of(page, scale)
    record = {
        "page": page,
        "scale": scale,
        "key": key,
        "seconds": round(seconds + sum(float(r["seconds"]) for r in made), 2),
        "notebook_seconds": round(seconds, 2),
        "device": made[0]["device"] if made else platform.machine(),
        "commit": workspace.commit(),
        "seeds": seeds_of(made),
        "peak_memory_mb": round(children_peak_mb(), 1),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "results": made,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    target = build / "notebooks" / f"{page}.ipynb"
    write_atomically(target, lambda part: nbformat.write(tidy(done, root), part))
    write_atomically(
        build / "pages" / f"{page}.json", lambda part: part.write_text(text, encoding="utf-8")
    )
    half_run.unlink()
    return target


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.execute", description=__doc__)
    parser.add_argument("page")
    parser.add_argument("parameters", nargs="+", metavar="NAME=VALUE")
    args = parser.parse_args()
    pairs = (text.partition("=") for text in args.parameters)
    try:
        execute(args.page, {name: yaml.safe_load(value) for name, _, value in pairs})
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
