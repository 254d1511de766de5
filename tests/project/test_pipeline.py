"""The pipeline, driven on a toy project: what runs again, what does not, what is shown."""

import json
import os
import shutil
import signal
import time

import pytest

from tests import toy


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The toy project after one whole build, HTML included. Not to be changed: see `project`."""
    root = toy.make(tmp_path_factory.mktemp("toy") / "project")
    status, text = toy.build(root, target="book.json")
    assert status == 0, text
    return root, text


@pytest.fixture
def project(built, tmp_path):
    """A copy of the built toy project, with the record of what ran emptied."""
    root = shutil.copytree(built[0], tmp_path / "project", symlinks=True)
    (root / "ran.txt").unlink()
    return root


def edit(path, text="\n# Changed.\n"):
    path.write_text(path.read_text() + text)


def page(root):
    return json.loads((root / "_build/smoke/pages/toy_page.json").read_text())


def keys(root):
    code = (
        "import json; from pipeline import keys;"
        "print(json.dumps([keys.cell('smoke', 'toy', 'first'), keys.page('smoke', 'toy_page'),"
        " keys.ledger('smoke'), keys.book('smoke')]))"
    )
    status, text = toy.run(root, "-c", code)
    assert status == 0, text
    return json.loads(text)


@pytest.fixture(scope="module")
def first_keys(built):
    """The keys of the toy project as it was built."""
    return keys(built[0])


def test_one_command_makes_cells_page_ledger_and_book_and_says_so(built):
    root, text = built
    assert toy.ran(root) == ["first", "second"]
    for news in ("compute toy/first", "execute notebooks/toy_page.py", "typeset the book"):
        assert news in text
    assert "1 claims: 1 holds" in text
    assert "_build/html/index.html" in text
    assert (root / "_build/html/index.html").is_file()
    assert (root / "_build/html").readlink().as_posix() == "smoke/html"
    assert (root / "_build/notebooks/toy_page.ipynb").is_file()


def test_what_snakemake_did_not_make_is_trusted_only_while_its_source_is_the_same(project):
    shutil.rmtree(project / ".snakemake")  # as if cells and page had been run by hand
    status, text = toy.build(project)
    assert status == 0, text
    assert toy.ran(project) == []
    edit(project / "ncutils" / "linalg.py")
    shutil.rmtree(project / ".snakemake")
    status, text = toy.build(project)
    assert status == 0, text
    assert toy.ran(project) == ["first", "second"]
    assert "execute notebooks/toy_page.py" in text


def test_the_page_record_says_where_the_numbers_come_from(built):
    record = page(built[0])
    assert record["scale"] == "smoke"
    assert record["seeds"] == [0, 1, 2]
    assert record["device"]
    assert record["peak_memory_mb"] > 50
    assert record["seconds"] >= record["notebook_seconds"] > 0
    assert {"python", "jax", "numpy"} <= record["versions"].keys()
    assert [r["cell"] for r in record["results"]] == ["first", "second"]


def test_the_executed_notebook_hides_its_parameters_and_names_no_path(built):
    root, _ = built
    text = (root / "_build/smoke/notebooks/toy_page.ipynb").read_text()
    notebook = json.loads(text)
    tags = [cell["metadata"].get("tags", []) for cell in notebook["cells"]]
    assert tags[1:3] == [["parameters", "remove-cell"], ["injected-parameters", "remove-cell"]]
    assert str(root) not in text
    assert "papermill" not in text
    assert "results.device()" not in text  # the probe is gone
    assert '"stderr"' not in text
    assert "a warning" in (root / "_build/smoke/log/toy_page.log").read_text()


def test_nothing_to_do_runs_nothing(project):
    before = page(project)
    status, text = toy.build(project, target="book.json")
    assert status == 0, text
    assert toy.ran(project) == []
    assert "steps" not in text
    assert page(project) == before


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("ncutils/linalg.py", "cell page ledger book"),  # the toy experiment imports it
        ("ncutils/experiments/toy.py", "cell page ledger book"),
        ("requirements.lock", "cell page ledger book"),
        ("ncutils/plotting.py", "page ledger book"),
        ("ncutils/nc.mplstyle", "page ledger book"),
        ("notebooks/toy_page.py", "page ledger book"),
        ("claims.yml", "page ledger book"),
        ("book/index.md", "book"),
        ("ncutils/metrics.py", "book"),  # nothing here uses it, the reference shows it
        ("pipeline/references.py", ""),
    ],
)
def test_an_edit_makes_stale_what_depends_on_it_and_nothing_else(
    built, first_keys, tmp_path, file, stale
):
    ignore = shutil.ignore_patterns("_build", ".snakemake")
    root = shutil.copytree(built[0], tmp_path / "project", ignore=ignore)
    comment = "\n- {id: T2, page: toy_page}\n" if file == "claims.yml" else "\n# Changed.\n"
    edit(root / file, comment)
    changed = [a != b for a, b in zip(first_keys, keys(root), strict=True)]
    assert changed == [name in stale.split() for name in ("cell", "page", "ledger", "book")]


def test_editing_the_plotting_code_runs_the_page_and_no_cell(project):
    before = page(project)
    edit(project / "ncutils/plotting.py")
    status, text = toy.build(project)
    assert status == 0, text
    assert toy.ran(project) == []
    assert page(project)["date"] > before["date"]


def test_touching_a_file_without_changing_it_runs_nothing(project):
    os.utime(project / "ncutils/linalg.py")
    os.utime(project / "notebooks/toy_page.py")
    status, text = toy.build(project)
    assert status == 0, text
    assert "steps" not in text


def test_killed_in_the_middle_and_started_again_it_recomputes_only_what_was_in_flight(tmp_path):
    root = toy.make(tmp_path / "project")
    (root / "wait").touch()
    process = toy.start(root, "-m", "pipeline.book", "--scale", "smoke", "--target", "ledger.json")
    first = root / "_build/smoke/results/toy/first.nc"
    deadline = time.monotonic() + 120
    while not (first.is_file() and "second" in toy.ran(root) and "1 of 4" in _log(root)):
        assert time.monotonic() < deadline, _log(root)
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (root / "wait").unlink()
    status, text = toy.build(root)
    assert status == 0, text
    assert toy.ran(root) == ["first", "second", "second"]


def _log(root):
    path = root / "_build/smoke/log/snakemake.log"
    return path.read_text() if path.is_file() else ""


def test_a_failed_cell_is_shown_and_run_again_by_the_next_start(project):
    (project / "break-cell").touch()
    edit(project / "ncutils/linalg.py")
    status, text = toy.build(project)
    assert status != 0
    assert "ValueError: the second cell is broken" in text
    assert toy.ran(project) == ["first", "second"]
    (project / "break-cell").unlink()
    status, text = toy.build(project)
    assert status == 0, text
    assert toy.ran(project) == ["first", "second", "second"]


def test_a_failing_notebook_stops_the_build_and_shows_the_cell_and_the_error(project):
    (project / "break-page").touch()
    edit(project / "notebooks/toy_page.py")
    status, text = toy.build(project, target="book.json")
    assert status != 0
    assert 'if Path("break-page").exists():' in text
    assert "ValueError: the page is broken" in text
    assert "typeset the book" not in text
    assert (project / "_build/smoke/log/toy_page.half-run.ipynb").is_file()
    (project / "break-page").unlink()
    status, text = toy.build(project)
    assert status == 0, text
    assert toy.ran(project) == []


def test_a_page_that_runs_again_forgets_what_it_recorded_before(project):
    path = project / "notebooks/toy_page.py"
    path.write_text(path.read_text().replace('"toy-fig"', '"toy-new"').replace("claims.rec", "# "))
    status, text = toy.build(project)
    assert status == 0, text
    names = {file.name.partition(".")[0] for file in project.glob("_build/smoke/figures/*")}
    assert names == {"toy-new"}
    (row,) = json.loads((project / "_build/smoke/ledger.json").read_text())["rows"]
    assert row["verdict"] == "not decided at this scale"


def test_two_builds_of_one_scale_do_not_run_at_once(project):
    hold = "import time; from pathlib import Path; from pipeline import book;"
    hold += "lock = book.hold(Path('_build/smoke')); print('held', flush=True); time.sleep(60)"
    holder = toy.start(project, "-c", hold)
    assert holder.stdout.readline() == "held\n"
    status, text = toy.build(project)
    os.killpg(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert status != 0
    assert "another run is at work" in text
    assert toy.build(project)[0] == 0  # a killed holder holds nothing


def test_an_unknown_scale_is_refused_before_anything_is_built(project):
    status, text = toy.run(project, "-m", "pipeline.book", "--scale", "huge")
    assert status == 2
    assert "unknown scale 'huge': choose one of smoke, quick, paper" in text


def test_an_unknown_parameter_is_refused_before_the_notebook_runs(project):
    before = page(project)
    words = ("-m", "pipeline.execute", "toy_page", "SCALE=smoke", "SCAEL=smoke")
    status, text = toy.run(project, *words)
    assert status != 0
    assert "toy_page.py has no parameter SCAEL; it takes: SCALE" in text
    assert page(project) == before
    assert (project / "_build/smoke/claims/T1.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing", "first"), "invalid choice: 'nothing' (choose from 'toy')"),
        (("toy", "third"), "toy has no cell 'third': choose from first, second"),
        (("toy", "first", "--scale", "huge"), "invalid choice: 'huge'"),
    ],
)
def test_an_unknown_cell_is_refused_with_what_there_is(project, words, message):
    status, text = toy.run(project, "-m", "ncutils.experiments", *words)
    assert status == 2
    assert message in text
    assert toy.ran(project) == []
