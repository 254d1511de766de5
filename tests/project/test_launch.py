"""Notebooks to run: a page's code and text with all that they need brought first."""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import nbformat
import papermill
import pytest
import yaml
from packaging.utils import canonicalize_name

from pipeline import build, launch
from requirements import resolve

ROOT = Path(__file__).resolve().parents[2]
LOCK = resolve.pins((ROOT / "requirements.lock").read_text())

PAGE = "beaglehole2024/agop"
RECORD = {
    "page": PAGE,
    "scale": "smoke",
    "device": "x86_64 CPU",
    "notebook_seconds": 5.2,
    "results": [{"case": "beaglehole2024/agop/digits", "seconds": "100.0"}],
}


@pytest.fixture(autouse=True)
def _no_repository(monkeypatch):
    monkeypatch.delenv("NCUTILS_REPOSITORY", raising=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone's worth of the project in a git repository, without what was built."""
    root = tmp_path_factory.mktemp("github") / "someone" / "collapse"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("ncutils", "book", "claims"):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    for name in ("_config.yml", "_toc.yml", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, root)
    (root / "notebooks" / PAGE).parent.mkdir(parents=True)
    shutil.copy(ROOT / "notebooks" / f"{PAGE}.py", root / "notebooks" / f"{PAGE}.py")
    shutil.copytree(ROOT / ".github", root / ".github")
    git = ["git", "-C", str(root), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True)
    return root


@pytest.fixture(scope="module")
def staged(project, tmp_path_factory):
    """A staged tree with one page of the project, that knows a repository."""
    source = tmp_path_factory.mktemp("staged")
    (source / "pages" / PAGE).parent.mkdir(parents=True)
    (source / "pages" / f"{PAGE}.json").write_text(json.dumps(RECORD), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCUTILS_REPOSITORY", "someone/collapse")
        launch.write(project, source, [{"id": "P3-AGOP-GRAM", "verdict": "holds", "value": 1e-16}])
    return source


@pytest.fixture(scope="module")
def made(staged):
    return nbformat.read(staged / "launch" / f"{PAGE}.ipynb", as_version=4)


def test_the_install_cell_has_pins_of_the_lock_only(made):
    pins = re.search(r'PINS = """\n(.*?)\n"""', made.cells[1].source, re.DOTALL)[1].split()
    assert set(pins) < set(LOCK)
    assert {"jax==0.10.1", "jaxlib==0.10.1"} < set(pins)
    assert not any(pin.startswith(("sphinx", "pytest", "snakemake")) for pin in pins)


def test_the_pins_cover_every_import_of_the_library_and_the_pages():
    owners = importlib.metadata.packages_distributions()
    pinned = {pin.partition("==")[0] for pin in launch.needed(ROOT)}
    imported = set()
    for path in [*(ROOT / "ncutils").rglob("*.py"), *(ROOT / "notebooks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    others = imported - set(sys.stdlib_module_names) - {"ncutils"}
    assert {"jax", "sklearn", "neural_tangents"} < others
    for module in others:
        assert {canonicalize_name(name) for name in owners[module]} & pinned, module


def test_a_notebook_to_run_has_no_outputs_and_its_own_scale_first(made):
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in code)
    assert [cell.source for cell in code if "parameters" in cell.metadata.get("tags", [])] == [
        'SCALE = "smoke"'
    ]
    own = [c for c in code if c.source.startswith("import jax")]
    assert own, "the page's own cells follow"
    assert "2 min" in made.cells[0].source
    assert "5 s" in made.cells[0].source


def test_the_same_page_gives_the_same_notebook(project, staged, tmp_path, monkeypatch):
    monkeypatch.setenv("NCUTILS_REPOSITORY", "someone/collapse")
    shutil.copytree(staged / "pages", tmp_path / "pages")
    launch.write(project, tmp_path, [{"id": "P3-AGOP-GRAM", "verdict": "holds", "value": 1e-16}])
    again = (tmp_path / "launch" / f"{PAGE}.ipynb").read_bytes()
    assert again == (staged / "launch" / f"{PAGE}.ipynb").read_bytes()


def test_binder_gets_the_pins_and_no_tensorflow(staged):
    listed = (staged / "binder" / "requirements.txt").read_text().split()
    assert set(listed) < set(LOCK)
    assert "jax==0.10.1" in listed
    assert not any("neural-tangents" in pin for pin in listed), "pip would bring TensorFlow"
    script = staged / "binder" / "postBuild"
    assert "--no-deps neural-tangents==" in script.read_text()
    assert os.access(script, os.X_OK)
    assert (staged / "binder" / "runtime.txt").read_text() == "python-3.11\n"


def test_the_buttons_lead_to_notebooks_on_the_branch():
    found = launch.buttons(PAGE, "someone/collapse")
    assert found["open in Colab"] == (
        "https://colab.research.google.com/github/someone/collapse/blob/launch/launch/"
        "beaglehole2024/agop.ipynb"
    )
    assert unquote(found["open in Binder"]) == (
        "https://mybinder.org/v2/gh/someone/collapse/launch?labpath=launch/beaglehole2024/agop.ipynb"
    )
    assert launch.buttons(PAGE, "") == {}


def test_the_environment_names_the_repository_before_the_settings(tmp_path, monkeypatch):
    (tmp_path / "_config.yml").write_text("sphinx: {config: {nc_repository: a/b}}")
    assert launch.repository(tmp_path) == "a/b"
    monkeypatch.setenv("NCUTILS_REPOSITORY", "c/d")
    assert launch.repository(tmp_path) == "c/d"
    (tmp_path / "_config.yml").write_text("title: A book\n")
    monkeypatch.delenv("NCUTILS_REPOSITORY")
    assert launch.repository(tmp_path) == ""


@pytest.mark.parametrize("name", ["a", "https://github.com/a/b", "a/b/c", "a b/c"])
def test_what_is_no_repository_is_refused(tmp_path, monkeypatch, name):
    (tmp_path / "_config.yml").write_text("title: A book\n")
    monkeypatch.setenv("NCUTILS_REPOSITORY", name)
    with pytest.raises(ValueError, match="OWNER/NAME"):
        launch.repository(tmp_path)


def test_another_repository_typesets_the_book_again(monkeypatch):
    monkeypatch.setattr(build, "ledger_key", lambda scale: "the same ledger")
    without = build.book_key("smoke")
    monkeypatch.setenv("NCUTILS_REPOSITORY", "someone/collapse")
    assert build.book_key("smoke") != without


def test_a_notebook_to_run_runs_where_nothing_is_there(staged, project, tmp_path, monkeypatch):
    """In an empty folder: it clones the project, computes, and judges; pip is not called."""
    monkeypatch.delenv("NCUTILS_ROOT", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)  # the clone is what it imports
    monkeypatch.setenv("PIP_INDEX_URL", "http://localhost:9")  # who asks, fails
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{project.parents[1].as_uri()}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
    done = papermill.execute_notebook(
        str(staged / "launch" / f"{PAGE}.ipynb"),
        str(tmp_path / "done.ipynb"),
        cwd=str(tmp_path),
        kernel_name="python3",
        progress_bar=False,
    )
    said = "".join(
        out.get("text", "") for cell in done.cells[:5] for out in cell.get("outputs", ())
    )
    assert "packages are there, nothing to install" in said
    assert "1 of 1: beaglehole2024/agop/digits ..." in said
    build = tmp_path / "collapse" / "_build" / "smoke"
    assert (build / "results" / "beaglehole2024" / "agop" / "digits.nc").is_file()
    assert list((build / "claims").glob("P3-*.json"))
    assert not list((ROOT / "launch").glob("*")), "nothing of it lands in this project"


def test_the_branch_holds_the_project_the_notebooks_and_what_binder_needs(
    project, staged, tmp_path
):
    remote, words = tmp_path / "remote.git", [str(ROOT / ".ci" / "launch"), str(staged)]
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)
    for _ in range(2):  # the second time, the branch is there
        subprocess.run([*words, str(remote)], cwd=project, check=True, capture_output=True)

    def git(*asked, folder=remote):
        done = subprocess.run(
            ["git", "-C", str(folder), *asked], capture_output=True, text=True, check=True
        )
        return done.stdout

    files = dict(reversed(line.split("\t")) for line in git("ls-tree", "-r", "launch").splitlines())
    assert {"claims/beaglehole2024.yml", "ncutils/records/workspace.py"} < files.keys()
    assert {f"launch/{PAGE}.ipynb", "launch/index.json"} < files.keys()
    assert {"binder/requirements.txt", "binder/runtime.txt"} < files.keys()
    assert files["binder/postBuild"].startswith("100755")
    assert not any(name.startswith(".github/") for name in files)
    assert git("rev-list", "--count", "launch") == "1\n", "old notebooks do not pile up"
    assert git("status", "--porcelain", folder=project) == "", "the checkout is as it was"


def test_nothing_is_published_where_nothing_was_staged(tmp_path):
    done = subprocess.run(
        [str(ROOT / ".ci" / "launch"), str(tmp_path), "nowhere"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "has no notebooks to run" in done.stderr


def test_one_job_of_the_workflow_may_write_and_the_build_knows_its_repository():
    text = (ROOT / ".github" / "workflows" / "book.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    writers = [name for name, job in jobs.items() if job["permissions"].get("contents") == "write"]
    assert writers == ["launch"]
    assert jobs["launch"]["needs"] == "publish"
    (build,) = [step for step in jobs["build"]["steps"] if step.get("run") == ".ci/run"]
    assert build["env"]["NCUTILS_REPOSITORY"] == "${{ github.repository }}"


def first_cell(folder, **changed):
    """Run the first cell alone, as a script, with another list of pins or repository."""
    values = {"repository": "", "commit": "", "pins": "packaging==25.0", **changed}
    text = launch.opening(**values)[1].source
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_version_that_is_not_there_is_asked_for(tmp_path):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "toy2024.yml").touch()
    done = first_cell(tmp_path, pins="packaging==24.9.9")
    assert "Installing 1 packages" in done.stdout
    assert "No matching distribution found for packaging==24.9.9" in done.stderr
    assert first_cell(tmp_path).returncode == 0


def test_without_a_project_or_a_repository_the_first_cell_says_what_to_do(tmp_path):
    done = first_cell(tmp_path)
    assert done.returncode == 1
    assert "put this notebook into the folder of the project" in done.stderr


TEXT = r"""
By {cite:t}`seleznova2023`, {claim}`X-1` and {measured}`X-1.control`; see [there](../book/audit),
{doc}`here <../book/play>` and [the web](https://example.org). $\one$ and $\oneself$.

:::{prf:theorem} Of the paper
:label: some-label

It is $\SigmaW$.
:::

:::{verdicts}
:::
"""


def test_the_text_of_a_page_is_plain():
    rows = [{"id": "X-1", "verdict": "holds", "control_value": 0.1234}]
    text = launch.Plain(ROOT, rows)(TEXT)
    assert "By Seleznova et al. (2023), [X-1: holds] and 0.123; see there,\nhere and" in text
    assert "[the web](https://example.org)" in text
    assert r"$\mathbf{1}$ and $\oneself$" in text
    assert "> **Theorem: Of the paper**\n>\n> It is $\\Sigma_W$." in text
    assert ":::" not in text
    assert "label" not in text


def test_no_page_to_run_shows_what_only_the_book_understands():
    text = launch.Plain(ROOT)
    for path in (ROOT / "notebooks").rglob("*.py"):
        shown = text(re.sub(r"^# ?", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
        assert not re.search(r"^:::|\{[\w:]+\}`", shown, flags=re.MULTILINE), path.name


def test_the_settings_have_a_place_for_the_repository():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert "nc_repository" in settings["sphinx"]["config"]
    assert "html_theme_options" not in settings["sphinx"]["config"]
