"""The examples of the docstrings run, and each function that a reader is sent to has one."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import jax
import pytest

import ncutils

ROOT = Path(__file__).resolve().parents[2]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
#: Rooms of the mathematics: what a reader calls with arrays of their own.
ROOMS = sorted(set(ncutils.ROOMS) - {"records", "figures", "experiments", "compat"})
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(ncutils.__path__, "ncutils.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("as_a_user")
def test_the_examples_of_a_module_run_and_show_what_they_say(name):
    module = importlib.import_module(name)
    assert jax.config.jax_enable_x64
    said = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(test, out=said.append, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def named(text, *, code):
    """The functions that a text calls `room.function` in code, or in Python."""
    rooms = "|".join(ROOMS)
    if code:
        pattern = rf"\b({rooms})\.([a-z]\w+)\("
        return {f"{room}.{name}" for room, name in re.findall(pattern, text)}
    pattern = rf"`(?:ncutils\.)?({rooms})\.([a-z]\w+)(?:\([^`]*\))?`"
    return {f"{room}.{name}" for room, name in re.findall(pattern, text)}


def code_cells(path):
    """What a reader of a notebook sees as code."""
    cells = re.split(r"^# %%", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return "\n".join(cell for cell in cells[1:] if not cell.startswith(" [markdown]"))


def wanted():
    """Every public function that the README, a page of prose or a notebook names."""
    found = named((ROOT / "README.md").read_text(encoding="utf-8"), code=False)
    for path in (ROOT / "book").glob("*.md"):
        if path.stem != "changelog":
            found |= named(path.read_text(encoding="utf-8"), code=False)
    for path in (ROOT / "notebooks").glob("*/*.py"):
        found |= named(code_cells(path), code=True)
    return found


def functions(names):
    """The functions among `room.name`, each by its name."""
    found = {}
    for name in sorted(names):
        room, _, attribute = name.partition(".")
        thing = getattr(importlib.import_module(f"ncutils.{room}"), attribute, None)
        if callable(thing) and not inspect.isclass(thing):
            found[name] = thing
    return found


def without_example(things):
    """The names of those whose docstring shows no call."""
    return [name for name, thing in things.items() if ">>> " not in (inspect.getdoc(thing) or "")]


def test_every_function_that_a_reader_is_sent_to_has_an_example():
    things = functions(wanted())
    assert len(things) > 20
    assert without_example(things) == []


def test_a_function_without_an_example_is_found():
    def plain():
        """It says nothing of its use."""

    def shown():
        """It says how.

        >>> 1 + 1
        2
        """

    assert without_example({"plain": plain, "shown": shown}) == ["plain"]
    assert named("`metrics.nc1(H, y, …)` and metrics.nc2", code=False) == {"metrics.nc1"}
    assert named("x = kernels.ntk(X)", code=True) == {"kernels.ntk"}


def test_an_example_that_shows_something_else_fails():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner(optionflags=FLAGS).run(test, out=lambda text: None).failed == 1


def test_no_example_is_skipped():
    for path in sorted((ROOT / "ncutils").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [
            ast.get_docstring(node) or ""
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        ]
        assert not any("doctest: +SKIP" in text for text in texts), path
