"""Notebooks load, draw and judge; the executed ones run again and say the same."""

import ast
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jupytext
import nbformat
import pytest
import yaml

from ncutils.records import results, workspace
from ncutils.experiments import catalogue

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))


def test_the_catalogue_the_table_of_contents_and_the_folder_name_the_same_pages():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    listed = [name.removeprefix("notebooks/") for name in files if name.startswith("notebooks/")]
    assert listed == list(catalogue.PAGES)
    assert sorted(listed) == [path.stem for path in SOURCES]


def test_longer_runs_are_in_the_archive_with_where_they_came_from():
    assert set(catalogue.LONGER) <= set(catalogue.PAGES)
    for name in {name for names in catalogue.LONGER.values() for name in names}:
        path = results.archive_path(*name.split("/"), scale="workstation")
        found = results.read(path)
        assert f"{found.experiment}/{found.cell}.{found.scale}" == f"{name}.workstation"
        assert path.stat().st_size < 300_000
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines = (ROOT / "results/MANIFEST.sha256").read_text().splitlines()
        assert f"{digest}  {name}.workstation.nc" in lines


def test_pages_show_every_cell_there_is_and_no_other():
    shown = {name for names in catalogue.PAGES.values() for name in names}
    there = {
        f"{name}/{cell}"
        for name in catalogue.experiments()
        for cell in importlib.import_module(f"ncutils.experiments.{name}").CELLS
    }
    assert shown == there


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_takes_a_scale_first_and_holds_no_logic(source):
    notebook = jupytext.read(source)
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert "parameters" in first.metadata.get("tags", [])
    assert first.source.strip() == 'SCALE = "quick"'
    for node in ast.walk(ast.parse(source.read_text())):
        assert not isinstance(node, ast.ClassDef | ast.While)
        if isinstance(node, ast.FunctionDef):
            assert len(ast.unparse(node.body).splitlines()) <= 3, node.name


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_names_every_cell_that_the_catalogue_gives_it(source):
    # A cell it loads and the catalogue lacks is not made, so the page cannot run.
    tree = ast.walk(ast.parse(source.read_text()))
    words = {node.value for node in tree if isinstance(node, ast.Constant)}
    assert {word for name in catalogue.PAGES[source.stem] for word in name.split("/")} <= words


def nbval(root, *notebooks):
    """Run executed notebooks again in a project folder of their own.

    One process for all of them, with a kernel for each. Pictures are not compared, and were
    drawn a minute ago: they are not drawn again.

    Returns:
        What did not pass, by the notebook's stem, and the whole output.
    """
    report = root / "report.xml"
    words = ("-p", "no:cacheprovider", "-o", "addopts=", f"--junitxml={report}")
    more = ("--nbval-lax", "--nbval-cell-timeout=120", "-o", "junit_family=xunit1")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words, *more, *map(str, notebooks)],
        env={**os.environ, "NCUTILS_ROOT": str(root), "NCUTILS_PICTURES": "0"},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    bad = {notebook.stem: [] for notebook in notebooks}
    seen = set()
    for case in ElementTree.parse(report).iter("testcase"):
        stem = Path(case.get("file") or case.get("name")).stem
        seen.add(stem)
        bad[stem] += [case.get("name") for child in case if child.tag in ("failure", "error")]
    for stem in bad.keys() - seen:
        bad[stem].append("no cell of it was run")
    return bad, done.stdout + done.stderr


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """Every notebook of the smoke book, run once more: what failed, and the output."""
    root, made = tmp_path_factory.mktemp("again"), workspace.build_dir("smoke")
    notebooks = [made / "notebooks" / f"{page}.ipynb" for page in catalogue.PAGES]
    assert all(path.is_file() for path in notebooks), "no smoke book: `make test` builds it first"
    shutil.copy(ROOT / "claims.yml", root)
    (root / "results").symlink_to(ROOT / "results")
    (root / "_build" / "smoke").mkdir(parents=True)
    (root / "_build" / "smoke" / "results").symlink_to(made / "results")
    return nbval(root, *notebooks)


@pytest.mark.book
@pytest.mark.parametrize("page", catalogue.PAGES)
def test_the_executed_smoke_notebook_runs_again_and_says_the_same(page, again):
    failed, text = again
    assert failed[page] == [], text


def test_a_notebook_that_says_something_else_is_found(tmp_path):
    said = nbformat.v4.new_output("stream", text="1\n")
    checked = {"tags": ["nbval-check-output"]}
    cell = nbformat.v4.new_code_cell("print(2)", outputs=[said], metadata=checked)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    path = tmp_path / "toy.ipynb"
    nbformat.write(notebook, path)
    failed, text = nbval(tmp_path, path)
    assert failed["toy"] == ["Cell 0"], text


def test_a_notebook_that_does_not_run_at_all_is_found(tmp_path):
    path = tmp_path / "toy.ipynb"
    path.write_text("{}")
    failed, text = nbval(tmp_path, path)
    assert failed["toy"] != [], text
