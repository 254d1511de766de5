"""Imports go one way, and the tools that read the source find nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Where types say something: plain Python. Array code is checked by jaxtyping and
# beartype while the tests run, which see shapes.
TYPED = (
    "pipeline",
    "ncutils/workspace.py",
    "ncutils/results.py",
    "ncutils/claims.py",
    "ncutils/plotting.py",
    "ncutils/experiments/catalogue.py",
    "ncutils/experiments/__main__.py",
)

WRONG_WORKFLOW = """\
on: [push, tea-time]
permissions: write-all
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v6
      - run: echo ${{ github.event.pull_request.title }}
"""


def tool(name, *words, cwd=ROOT, **env):
    """Run a command of this environment: exit status and all output."""
    done = subprocess.run(
        [Path(sys.executable).with_name(name), *words],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_imports_go_one_way():
    status, text = tool("lint-imports", "--no-cache")
    assert status == 0, text


def test_an_import_the_wrong_way_is_found(tmp_path):
    shutil.copytree(ROOT / "ncutils", tmp_path / "ncutils")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "ncutils" / "linalg.py").open("a") as file:
        file.write("\nfrom ncutils import plotting\n")
    words = ("--no-cache", "--config", "pyproject.toml")
    status, text = tool("lint-imports", *words, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert status == 1
    assert "ncutils.linalg -> ncutils.plotting" in text


@pytest.mark.parametrize("words", [("check",), ("format", "--check")])
def test_ruff_has_nothing_to_say(words):
    status, text = tool("ruff", *words, "--no-cache", ".")
    assert status == 0, text


def test_types_agree_where_they_are_checked():
    status, text = tool("basedpyright", "--pythonpath", sys.executable, *TYPED)
    assert status == 0, text


def test_the_type_checker_sees_an_error(tmp_path):
    (tmp_path / "wrong.py").write_text('def f(x: int) -> str:\n    return x\n\n\nf("a")\n')
    status, text = tool("basedpyright", "--level", "error", "wrong.py", cwd=tmp_path)
    assert status == 1
    assert "2 errors" in text


# actionlint itself is on no registry of Python wheels; jactionlint holds its checks
# (profile "correctness") and, beyond, least permissions and pinned actions.
@pytest.mark.parametrize(
    "words",
    [
        ("--profile", "correctness"),
        # The container is named by a tag, as Debian's packages in it are.
        ("--ignore", "unpinned-images"),
    ],
)
def test_the_workflows_pass_actionlint(words):
    status, text = tool("jactionlint", "--strict-exit", "--no-hints", *words)
    assert status == 0, text


def test_actionlint_finds_what_is_wrong_in_a_workflow(tmp_path):
    (tmp_path / "wrong.yml").write_text(WRONG_WORKFLOW)
    status, text = tool("jactionlint", "--no-hints", "wrong.yml", cwd=tmp_path)
    assert status == 1
    rules = ("unknown-event", "excessive-permissions", "unpinned-uses", "template-injection")
    for rule in rules:
        assert f"[{rule}]" in text


def test_no_module_has_grown_into_two():
    long = {
        path.name: count
        for path in (ROOT / "ncutils").rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 350
    }
    assert long == {}
