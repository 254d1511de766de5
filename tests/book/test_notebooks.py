"""Notebooks load, draw and judge; the executed ones run again and say the same."""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jupytext
import nbformat
import pytest

from ncutils import experiments
from ncutils.records import results, workspace
from pipeline import build

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*/*.py"))
PAGES = build.pages()


def name_of(source):
    return f"{source.parent.name}/{source.stem}"


def test_the_table_of_contents_and_the_folders_name_the_same_pages():
    assert sorted(PAGES) == [name_of(path) for path in SOURCES]
    assert len(set(PAGES)) == len(PAGES)


def test_longer_runs_are_in_the_archive_with_where_they_came_from():
    longer = {one for page in PAGES for one in build.longer_runs(page)}
    assert longer
    for name, size in longer:
        path = results.archive_path(name, scale=size)
        found = results.read(path)
        assert (found.case, found.scale) == (name, size)
        assert path.stat().st_size < 300_000
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines = (ROOT / "results/MANIFEST.sha256").read_text().splitlines()
        assert f"{digest}  {name}.{size}.nc" in lines


def test_the_archive_holds_nothing_that_no_page_shows():
    shown = {f"{name}.{size}.nc" for page in PAGES for name, size in build.longer_runs(page)}
    shown |= {
        f"{name}.{size}.nc"
        for page in PAGES
        for name in build.cases_of(page)
        for size in workspace.SCALES
    }
    kept = {
        path.relative_to(ROOT / "results").as_posix() for path in (ROOT / "results").rglob("*.nc")
    }
    assert kept <= shown, kept - shown


def test_pages_show_every_case_there_is_and_no_other():
    shown = {name for page in PAGES for name in build.cases_of(page)}
    shown |= {name for page in PAGES for name, _ in build.longer_runs(page)}
    assert shown <= set(experiments.cases())
    # The pairs of a paper that were too long to run are named on a page by their module.
    text = {path: path.read_text(encoding="utf-8") for path in SOURCES}
    for name in set(experiments.cases()) - shown:
        key, module, _ = name.split("/")
        pages = [said for path, said in text.items() if path.parent.name == key]
        assert any(f"{key}/{module}" in said for said in pages), f"no page shows {name}"


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
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


def tagged(source, tag):
    """The code of the cells of a page with a tag, and whether a reader sees each of them."""
    cells = jupytext.read(source).cells
    chosen = [cell for cell in cells if tag in cell.metadata.get("tags", [])]
    hidden = {"hide-input", "hide-cell", "remove-cell", "remove-input"}
    return [(cell.source, not hidden & set(cell.metadata["tags"])) for cell in chosen]


def calls_library(code):
    """Whether code imports a room of the mathematics, or a case, and calls it."""
    tree = ast.parse(code)
    books = {"records", "figures", "results", "claims"}
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ncutils")
        for alias in node.names
    } - books
    called = {
        ast.unparse(node.func).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    return bool(names & called)


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_a_page_opens_with_a_lesson_that_calls_the_library(source):
    lesson = tagged(source, "lesson")
    assert lesson, f"{name_of(source)}: no visible cell tagged `lesson`"
    assert all(seen for _, seen in lesson)
    code = "\n".join(code for code, _ in lesson)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    assert calls_library(code), "a lesson calls a room of ncutils"


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_a_page_closes_with_a_turn_for_the_reader(source):
    turn = tagged(source, "your-turn")
    assert turn, f"{name_of(source)}: no visible cell tagged `your-turn`"
    assert all(seen for _, seen in turn)


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_a_page_draws_by_functions_of_its_paper_s_figures(source):
    tree = ast.parse(source.read_text(encoding="utf-8"))
    words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not words & {"subplots", "plot", "legend", "set_xlabel", "imshow", "scatter"}
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert "matplotlib.pyplot" not in imported


def test_a_lesson_that_only_opens_a_file_is_none():
    assert calls_library("from ncutils import metrics\nmetrics.nc1(H, y, num_classes=2)")
    assert calls_library("from ncutils.kernels import ntk\nntk(X)")
    assert not calls_library("from ncutils.records import results\nresults.load('a')")
    assert not calls_library("from ncutils import metrics\nprint(3)")


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
    notebooks = [made / "notebooks" / f"{page}.ipynb" for page in PAGES]
    assert all(path.is_file() for path in notebooks), "no smoke book: `make test` builds it first"
    shutil.copytree(ROOT / "claims", root / "claims")
    shutil.copy(ROOT / "_toc.yml", root)
    (root / "results").symlink_to(ROOT / "results")
    (root / "_build" / "smoke").mkdir(parents=True)
    (root / "_build" / "smoke" / "results").symlink_to(made / "results")
    return nbval(root, *notebooks)


@pytest.mark.book
@pytest.mark.parametrize("page", PAGES)
def test_the_executed_smoke_notebook_runs_again_and_says_the_same(page, again):
    failed, text = again
    assert failed[Path(page).stem] == [], text


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
