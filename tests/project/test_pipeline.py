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


#: What decides no number, and what may.
COMMENT, CHANGE = "\n# Changed.\n", "\nassert True\n"


def edit(path, text=COMMENT):
    path.write_text(path.read_text() + text)


def page(root):
    return json.loads((root / "_build/smoke/pages/toy2020/toy_page.json").read_text())


def keys(root):
    code = (
        "import json; from pipeline import build;"
        f"print(json.dumps([build.case_key('smoke', '{toy.FIRST}'),"
        f" build.page_key('smoke', '{toy.PAGE}'),"
        " build.ledger_key('smoke'), build.book_key('smoke')]))"
    )
    status, text = toy.run(root, "-c", code)
    assert status == 0, text
    return json.loads(text)


@pytest.fixture(scope="module")
def first_keys(built):
    """The keys of the toy project as it was built."""
    return keys(built[0])


def test_one_command_makes_cases_page_ledger_and_book_and_says_so(built):
    root, text = built
    assert toy.ran(root) == ["first", "second"]
    for news in (f"compute {toy.FIRST}", f"execute notebooks/{toy.PAGE}.py", "typeset the book"):
        assert news in text
    assert "1 claims: 1 holds" in text
    assert "_build/html/index.html" in text
    assert (root / "_build/html/index.html").is_file()
    assert (root / "_build/html").readlink().as_posix() == "smoke/html"
    assert (root / "_build/notebooks" / f"{toy.PAGE}.ipynb").is_file()


def test_what_snakemake_did_not_make_is_trusted_only_while_its_source_is_the_same(project):
    shutil.rmtree(project / ".snakemake")  # as if cases and page had been run by hand
    status, text = toy.build(project)
    assert status == 0, text
    assert toy.ran(project) == []
    edit(project / "ncutils" / "linalg.py", CHANGE)
    shutil.rmtree(project / ".snakemake")
    status, text = toy.build(project)
    assert status == 0, text
    assert toy.ran(project) == ["first", "second"]
    assert f"execute notebooks/{toy.PAGE}.py" in text


def test_the_page_record_says_where_the_numbers_come_from(built):
    record = page(built[0])
    assert record["scale"] == "smoke"
    assert record["seeds"] == [0, 1, 2]
    assert record["device"]
    assert record["peak_memory_mb"] > 50
    assert record["seconds"] >= record["notebook_seconds"] > 0
    assert {"python", "jax", "numpy"} <= record["versions"].keys()
    assert [r["case"] for r in record["results"]] == [toy.FIRST, toy.SECOND]


def test_the_executed_notebook_hides_its_parameters_and_names_no_path(built):
    root, _ = built
    text = (root / "_build/smoke/notebooks" / f"{toy.PAGE}.ipynb").read_text()
    notebook = json.loads(text)
    tags = [cell["metadata"].get("tags", []) for cell in notebook["cells"]]
    assert tags[1:3] == [["parameters", "remove-cell"], ["injected-parameters", "remove-cell"]]
    assert str(root) not in text
    assert "papermill" not in text
    assert "results.device()" not in text  # the probe is gone
    assert '"stderr"' not in text
    assert "a warning" in (root / "_build/smoke/log" / f"{toy.PAGE}.log").read_text()


def test_nothing_to_do_runs_nothing(project):
    before = page(project)
    status, text = toy.build(project, target="book.json")
    assert status == 0, text
    assert toy.ran(project) == []
    assert "steps" not in text
    assert page(project) == before


@pytest.mark.parametrize(
    ("file", "text", "stale"),
    [
        ("ncutils/linalg.py", CHANGE, "case page ledger book"),  # the toy's cases reach it
        ("ncutils/linalg.py", COMMENT, "book"),  # the reference shows the source
        ("ncutils/experiments/toy2020/line.py", CHANGE, "case page ledger book"),
        ("ncutils/experiments/toy2020/line.py", COMMENT, "book"),
        ("ncutils/experiments/toy2020/line.py", "\nNOBODY_READS = 1\n", "book"),
        ("requirements.lock", COMMENT, "case page ledger book"),
        ("ncutils/figures/toy2020.py", CHANGE, "page ledger book"),
        ("ncutils/figures/toy2020.py", COMMENT, "book"),
        ("ncutils/figures/style.py", CHANGE, "page ledger book"),
        ("ncutils/figures/nc.mplstyle", COMMENT, "page ledger book"),
        ("ncutils/records/results.py", CHANGE, "page ledger book"),
        ("notebooks/toy2020/toy_page.py", COMMENT, "page ledger book"),  # the page shows it
        ("claims/toy2020.yml", "- {number: Theorem 1, what: None}\n", "ledger book"),
        ("book/index.md", COMMENT, "book"),
        ("ncutils/metrics/features.py", CHANGE, "book"),  # nothing here uses it
        ("pipeline/pdf.py", CHANGE, ""),
    ],
)
def test_an_edit_makes_stale_what_depends_on_it_and_nothing_else(
    built, first_keys, tmp_path, file, text, stale
):
    ignore = shutil.ignore_patterns("_build", ".snakemake")
    root = shutil.copytree(built[0], tmp_path / "project", ignore=ignore)
    edit(root / file, text)
    changed = [a != b for a, b in zip(first_keys, keys(root), strict=True)]
    assert changed == [name in stale.split() for name in ("case", "page", "ledger", "book")]


def test_a_claim_of_the_page_makes_the_page_stale_and_no_case(built, first_keys, tmp_path):
    ignore = shutil.ignore_patterns("_build", ".snakemake")
    root = shutil.copytree(built[0], tmp_path / "project", ignore=ignore)
    path = root / "claims" / "toy2020.yml"
    path.write_text(path.read_text().replace("1.0e-12", "1.0e-11"))
    changed = [a != b for a, b in zip(first_keys, keys(root), strict=True)]
    assert changed == [False, True, True, True]


def test_editing_a_figure_of_the_paper_runs_the_page_and_no_case(project):
    before = page(project)
    edit(project / "ncutils/figures/toy2020.py", CHANGE)
    status, text = toy.build(project)
    assert status == 0, text
    assert toy.ran(project) == []
    assert page(project)["date"] > before["date"]


def test_touching_a_file_without_changing_it_runs_nothing(project):
    os.utime(project / "ncutils/linalg.py")
    os.utime(project / "notebooks" / f"{toy.PAGE}.py")
    status, text = toy.build(project)
    assert status == 0, text
    assert "steps" not in text


def test_killed_in_the_middle_and_started_again_it_recomputes_only_what_was_in_flight(tmp_path):
    root = toy.make(tmp_path / "project")
    (root / "wait").touch()
    process = toy.start(root, "-m", "pipeline.build", "--scale", "smoke", "--target", "ledger.json")
    first = root / "_build/smoke/results" / f"{toy.FIRST}.nc"
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


def test_a_failed_case_is_shown_and_run_again_by_the_next_start(project):
    (project / "break-case").touch()
    edit(project / "ncutils/linalg.py", CHANGE)
    status, text = toy.build(project)
    assert status != 0
    assert "ValueError: the second case is broken" in text
    assert toy.ran(project) == ["first", "second"]
    (project / "break-case").unlink()
    status, text = toy.build(project)
    assert status == 0, text
    assert toy.ran(project) == ["first", "second", "second"]


def test_a_failing_notebook_stops_the_build_and_shows_the_cell_and_the_error(project):
    (project / "break-page").touch()
    edit(project / "notebooks" / f"{toy.PAGE}.py")
    status, text = toy.build(project, target="book.json")
    assert status != 0
    assert 'if Path("break-page").exists():' in text
    assert "ValueError: the page is broken" in text
    assert "typeset the book" not in text
    assert (project / "_build/smoke/log" / f"{toy.PAGE}.half-run.ipynb").is_file()
    (project / "break-page").unlink()
    status, text = toy.build(project)
    assert status == 0, text
    assert toy.ran(project) == []


def test_a_page_that_runs_again_forgets_what_it_recorded_before(project):
    path = project / "notebooks" / f"{toy.PAGE}.py"
    path.write_text(path.read_text().replace('"toy-fig"', '"toy-new"').replace('judge("', '# ("'))
    status, text = toy.build(project)
    assert status == 0, text
    names = {file.name.partition(".")[0] for file in project.glob("_build/smoke/figures/*")}
    assert names == {"toy-new"}
    (row,) = json.loads((project / "_build/smoke/ledger.json").read_text())["rows"]
    assert row["verdict"] == "not decided at this scale"


def test_two_builds_of_one_scale_do_not_run_at_once(project):
    hold = "import time; from pathlib import Path; from pipeline import build;"
    hold += "lock = build.hold(Path('_build/smoke')); print('held', flush=True); time.sleep(60)"
    holder = toy.start(project, "-c", hold)
    assert holder.stdout.readline() == "held\n"
    status, text = toy.build(project)
    os.killpg(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert status != 0
    assert "another run is at work" in text
    assert toy.build(project)[0] == 0  # a killed holder holds nothing


def test_an_unknown_scale_is_refused_before_anything_is_built(project):
    status, text = toy.run(project, "-m", "pipeline.build", "--scale", "huge")
    assert status == 2
    assert "unknown scale 'huge': choose one of smoke, quick, paper" in text


def test_an_unknown_parameter_is_refused_before_the_notebook_runs(project):
    before = page(project)
    words = ("-m", "pipeline.execute", toy.PAGE, "SCALE=smoke", "SCAEL=smoke")
    status, text = toy.run(project, *words)
    assert status != 0
    assert "toy_page.py has no parameter SCAEL; it takes: SCALE" in text
    assert page(project) == before
    assert (project / "_build/smoke/claims/T1.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("toy2020/line/third",), "over a function third in ncutils/experiments/toy2020/line.py"),
        (("toy2020/line/third",), f"there are: {toy.FIRST}, {toy.SECOND}"),
        ((toy.FIRST, "--scale", "huge"), "unknown scale 'huge'"),
        ((toy.FIRST, "--scale", "workstation"), "choose one of smoke, quick, paper"),
    ],
)
def test_an_unknown_case_or_scale_is_refused_with_what_there_is(project, words, message):
    status, text = toy.run(project, "-m", "ncutils.experiments", *words)
    assert status == 2
    assert message in text
    assert toy.ran(project) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            f"notebooks/{toy.PAGE}.py",
            toy.SECOND,
            "toy2020/line/third",
            "notebooks/toy2020/toy_page.py: no case 'toy2020/line/third': write "
            "`@case(smoke=…, quick=…, paper=…)` over a function third in "
            "ncutils/experiments/toy2020/line.py",
        ),
        (
            "ncutils/experiments/toy2020/line.py",
            ", paper=Line(300)",
            "",
            f"notebooks/toy2020/toy_page.py: case {toy.FIRST} has no scale paper: write `paper=…` "
            "into its `@case(…)` in ncutils/experiments/toy2020/line.py",
        ),
        (
            f"notebooks/{toy.PAGE}.py",
            f'"{toy.FIRST}"',
            "name",
            'write the case\'s name out, results.load("KEY/MODULE/CASE", scale=…)',
        ),
        (
            "_toc.yml",
            toy.PAGE,
            "toy2020/other",
            "_toc.yml names notebooks/toy2020/other: write notebooks/toy2020/other.py",
        ),
    ],
)
def test_a_plan_that_cannot_be_made_says_in_one_line_what_to_write_where(
    project, file, old, new, message
):
    path = project / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    status, text = toy.build(project)
    assert status == 2
    assert message in text.splitlines()[-1]
    assert toy.ran(project) == []


def test_a_page_of_a_paper_without_a_file_says_in_one_line_what_to_write_where(project):
    (project / "claims/toy2020.yml").rename(project / "claims/toy1999.yml")
    path = project / "claims/toy1999.yml"
    path.write_text(path.read_text().replace("key: toy2020", "key: toy1999"))
    status, text = toy.build(project)
    assert status == 2
    assert "write claims/toy2020.yml with `paper:`" in text.splitlines()[-1]


def test_a_page_is_stale_with_the_case_that_it_runs_itself(built, tmp_path):
    ignore = shutil.ignore_patterns("_build", ".snakemake")
    root = shutil.copytree(built[0], tmp_path / "project", ignore=ignore)
    case = "import dataclasses\nfrom ncutils.experiments import case\n"
    case += "@case(smoke=1, quick=1, paper=1)\ndef turn(config): return {}\n"
    other = root / "ncutils/experiments/toy2020/other.py"
    other.write_text(case.format(1))
    edit(root / "notebooks" / f"{toy.PAGE}.py", '# %%\nexperiments.run("toy2020/other/turn")\n')
    before = keys(root)
    other.write_text(case.format(2))
    changed = [a != b for a, b in zip(before, keys(root), strict=True)]
    assert changed == [False, True, True, True]


def test_planning_imports_no_jax(built):
    code = "import sys; from pipeline import build; [build.cases_of(p) for p in build.pages()];"
    code += "build.book_key('smoke'); print('jax' in sys.modules, 'xarray' in sys.modules)"
    assert toy.run(built[0], "-c", code) == (0, "False False\n")
