"""Rooms import one way, drawers know nothing of each other, and the tools find nothing."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ncutils

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "ncutils"
DRAWERS = sorted(path.parent.name for path in LIBRARY.glob("experiments/*/__init__.py"))
#: The drawers of a paper: what is in one knows nothing of another paper's.
CUPBOARDS = (
    "ncutils/experiments/{}/*.py",
    "ncutils/figures/{}.py",
    "notebooks/{}/*.py",
    "tests/{}/*.py",
)

# Where types say something: plain Python. Array code is checked by jaxtyping and
# beartype while the tests run, which see shapes.
TYPED = (
    "pipeline",
    "ncutils/_files.py",
    "ncutils/records",
    "ncutils/figures/__init__.py",
    "ncutils/figures/style.py",
    "ncutils/experiments/__init__.py",
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


def imported(path):
    """The modules, and names of modules, that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_go_one_way():
    status, text = tool("lint-imports", "--no-cache", PYTHONPATH=str(ROOT))
    assert status == 0, text


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("linalg.py", "from ncutils import metrics", "imports go one way"),
        ("metrics/features.py", "from ncutils import kernels", "imports go one way"),
        (
            "experiments/{0}/__init__.py",
            "from ncutils.experiments import {1}",
            "the drawers of the papers know nothing of each other",
        ),
        ("kernels/limits.py", "import xarray", "the mathematics keeps no books and draws nothing"),
        ("agop.py", "from ncutils.records import results", "the mathematics keeps no books"),
        ("figures/style.py", "import jax", "a picture never computes"),
    ],
)
def test_an_import_the_wrong_way_is_found(tmp_path, file, line, broken):
    shutil.copytree(LIBRARY, tmp_path / "ncutils")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "ncutils" / file.format(*DRAWERS)).open("a") as edited:
        edited.write(f"\n{line.format(*DRAWERS)}\n")
    words = ("--no-cache", "--config", "pyproject.toml")
    status, text = tool("lint-imports", *words, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert status == 1
    assert any(line.startswith(broken) and "BROKEN" in line for line in text.splitlines()), text


def strangers(root):
    """Each file of a drawer that imports from the drawer of another paper."""
    found = []
    for key in DRAWERS:
        for cupboard in CUPBOARDS:
            for path in sorted(root.glob(cupboard.format(key))):
                words = {word for name in imported(path) for word in name.split(".")}
                others = words & set(DRAWERS) - {key}
                found += [f"{path.relative_to(root)} imports from {other}" for other in others]
    return found


def test_nothing_in_a_drawer_knows_another_paper_s():
    assert len(DRAWERS) >= 3
    assert strangers(ROOT) == []


def test_a_figure_from_another_drawer_is_found(tmp_path):
    path = tmp_path / "ncutils" / "figures" / f"{DRAWERS[0]}.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"from ncutils.figures import {DRAWERS[1]}\n")
    (message,) = strangers(tmp_path)
    assert message == f"ncutils/figures/{DRAWERS[0]}.py imports from {DRAWERS[1]}"


def test_the_contracts_have_every_room_of_the_mathematics():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    books = {"records", "figures", "experiments"}
    rooms = {path.stem for path in LIBRARY.iterdir() if path.name not in ("__init__.py",)}
    rooms = {name for name in rooms if not name.startswith("__")} - books - {"_files"}
    listed = text.partition("source_modules = [")[2].partition("]")[0]
    assert {line.strip(' ",') for line in listed.splitlines() if line.strip()} == {
        f"ncutils.{name}" for name in rooms
    }


def test_the_library_opens_with_few_doors_each_of_them_on_the_map():
    entries = {path.name for path in LIBRARY.iterdir()} - {"__pycache__", "py.typed"}
    assert len(entries) <= 18, sorted(entries)
    rooms = {Path(name).stem for name in entries if not name.startswith("_")}
    assert rooms == set(ncutils.ROOMS)
    for name in ncutils.ROOMS:
        assert getattr(ncutils, name).__doc__, name
    with pytest.raises(AttributeError, match=r"ncutils has no 'attic'; its rooms: metrics"):
        ncutils.attic  # noqa: B018


def test_importing_the_library_imports_no_room_and_sets_nothing():
    code = (
        "import os, sys; before = dict(os.environ); known = set(sys.modules); import ncutils;"
        "new = {name.split('.')[0] for name in set(sys.modules) - known} - sys.stdlib_module_names;"
        "print(sorted(new), dict(os.environ) == before,"
        " [name for name in sys.modules if name.startswith('ncutils.')]);"
        "import jax; print(jax.config.jax_enable_x64, jax.config.jax_numpy_rank_promotion);"
        "from ncutils import kernels, training, eos, deep_rfm, entk, block_ntk, models, data;"
        "print(jax.config.jax_enable_x64, jax.config.jax_numpy_rank_promotion)"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["['ncutils'] True []", "False allow", "False allow"]


def lonely(library):
    """Private modules with exactly one importer, which could hold them itself.

    What lies in `_fast` is apart on purpose: such a file goes when its benchmark says so.
    """
    modules = {
        ".".join(path.relative_to(library.parent).with_suffix("").parts): path
        for path in sorted(library.rglob("*.py"))
    }
    users = {name: list(imported(path)) for name, path in modules.items()}
    found = {}
    for name, path in modules.items():
        if path.name.startswith("_") and not path.name.startswith("__"):
            by = [
                user
                for user, names in users.items()
                if any(one == name or one.startswith(f"{name}.") for one in names)
            ]
            if len(by) == 1 and "_fast" not in name.split("."):
                found[name] = by[0]
    return found


def test_no_private_module_serves_one_other_alone():
    assert lonely(LIBRARY) == {}, "a helper with one user lives with that user"


def test_a_helper_with_one_user_is_found(tmp_path):
    package = tmp_path / "ncutils"
    (package / "_fast").mkdir(parents=True)
    for name, text in {
        "_one.py": "",
        "_two.py": "",
        "_fast/_trick.py": "",
        "a.py": "from ncutils import _one\nfrom ncutils._two import f\n",
        "b.py": "import ncutils._two\nfrom ncutils._fast import _trick\n",
    }.items():
        (package / name).write_text(text)
    assert lonely(package) == {"ncutils._one": "ncutils.a"}


def test_freshness_sees_every_import():
    # `ncutils.records.digest` follows absolute imports of modules by name, and no others.
    for path in sorted(LIBRARY.rglob("*.py")):
        outside = path.is_relative_to(LIBRARY / "records")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: write it out"
            if isinstance(node, ast.Import) and not outside:
                assert "ncutils" not in {alias.name for alias in node.names}, (
                    f"{path}: `from ncutils import ROOM` says which rooms are used"
                )


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
