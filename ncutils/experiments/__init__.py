"""The cases behind the pages of the book, a drawer for each paper. Standard library only.

A case is one job with one output file. It is a function of one frozen configuration, which
returns labelled arrays, and it says at which three scales it is run::

    @case(
        smoke=Imbalance(seeds=(0, 1), total=128, dims=(2, 8)),
        quick=Imbalance(seeds=(0, 1, 2), total=2048),
        paper=Imbalance(seeds=tuple(range(10)), total=2048),
    )
    def imbalance(config: Imbalance) -> xr.Dataset: ...

Its name is its address: ``KEY/MODULE/CASE`` is the function ``CASE`` in
``ncutils/experiments/KEY/MODULE.py``. A case that trains for more than a minute takes
``checkpoint``, the path of a file from which it goes on.
"""

import ast
import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

from ncutils.records import workspace

FOLDER = Path(__file__).resolve().parent


def case(*, smoke, quick, paper, workstation=None) -> Callable:
    """Make a function a case.

    Args:
        smoke, quick, paper: its configuration at each scale of the book; frozen dataclasses.
        workstation: that of a single longer run, which is archived and never made by a build.

    Returns:
        A decorator, which leaves the function as it is and gives it an attribute `scales`.
    """

    def mark(function: Callable) -> Callable:
        scales = {"smoke": smoke, "quick": quick, "paper": paper, "workstation": workstation}
        function.scales = {name: config for name, config in scales.items() if config is not None}
        return function

    return mark


@functools.lru_cache(maxsize=1024)
def _marked(file: Path, stamp: tuple[int, int]) -> dict[str, frozenset[str]]:  # noqa: ARG001
    """The functions of a file that `case` marks, each with its scales; read again if it changed."""
    return {
        node.name: frozenset(word.arg for word in mark.keywords if word.arg)
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "case"
    }


def cases() -> dict[str, frozenset[str]]:
    """Every case and the scales that it has, read from the source; nothing is imported."""
    found = {}
    for file in sorted(FOLDER.glob("*/*.py")):
        stat = file.stat()
        for name, scales in _marked(file, (stat.st_mtime_ns, stat.st_size)).items():
            found[f"{file.parent.name}/{file.stem}/{name}"] = scales
    return found


def check(name: str) -> str:
    """Return the name of a case if there is one, with its three scales.

    Raises:
        ValueError: saying in one line what to write where.
    """
    known = cases()
    key, _, rest = name.partition("/")
    module, _, function = rest.partition("/")
    if name not in known:
        near = [one for one in known if one.startswith(f"{key}/")] or list(known)
        raise ValueError(
            f"no case {name!r}: write `@case(smoke=…, quick=…, paper=…)` over a function "
            f"{function or 'CASE'} in ncutils/experiments/{key}/{module or 'MODULE'}.py; "
            f"there are: {', '.join(near)}"
        )
    if missing := [scale for scale in workspace.SCALES if scale not in known[name]]:
        raise ValueError(
            f"case {name} has no scale {', '.join(missing)}: write `{missing[0]}=…` into its "
            f"`@case(…)` in ncutils/experiments/{key}/{module}.py"
        )
    return name


def find(name: str) -> Callable:
    """The function of a case.

    Args:
        name: "KEY/MODULE/CASE".

    Raises:
        ValueError: as for `check`.
    """
    key, module, function = check(name).split("/")
    return getattr(importlib.import_module(f"ncutils.experiments.{key}.{module}"), function)


def config_of(name: str, *, scale: str):
    """The configuration of a case at a scale.

    Raises:
        ValueError: for a scale that the case does not have, with those it has.
    """
    scales = find(name).scales
    workspace.check_scale(scale, tuple(scales))
    return scales[scale]


def run(name: str, *, scale: str = "smoke", checkpoint: Path | None = None, **changes):
    """Run a case, at a scale or with changes of your own.

    Args:
        name: "KEY/MODULE/CASE".
        scale: one that the case has.
        checkpoint: a file to write the state to and to go on from, for a case that takes one.
        changes: fields of its configuration, with other values.

    Returns:
        What the case returns, an `xarray.Dataset`; nothing is written.

    Raises:
        ValueError: for an unknown case, scale or field.
    """
    function, config = find(name), config_of(name, scale=scale)
    fields = [field.name for field in dataclasses.fields(config)]
    if unknown := sorted(changes.keys() - set(fields)):
        raise ValueError(f"{name} has no field {', '.join(unknown)}; it has: {', '.join(fields)}")
    config = dataclasses.replace(config, **changes)
    if checkpoint is not None and "checkpoint" in inspect.signature(function).parameters:
        return function(config, checkpoint=checkpoint)
    return function(config)
