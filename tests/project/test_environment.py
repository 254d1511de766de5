"""One lock, the same pins for pip and conda, and no TensorFlow by either way."""

import importlib.util
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from requirements import resolve

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PINS = {name: version for name, _, version in (p.partition("==") for p in resolve.pins(LOCK))}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_conda_gets_the_pins_of_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [one["pip"] for one in environment["dependencies"] if isinstance(one, dict)]
    guard, *listed = pip
    assert guard == "--constraint requirements/without-tensorflow.txt"
    assert sorted(listed) == sorted(resolve.pins(LOCK))
    assert f"python={resolve.PYTHON}" in environment["dependencies"]


def test_environment_yml_is_made_from_the_lock():
    assert (ROOT / "environment.yml").read_text() == resolve.environment_yml(LOCK)
    assert resolve.environment_yml(LOCK.replace("jax==", "jaxx==")) != (
        resolve.environment_yml(LOCK)
    )


def test_without_no_deps_conda_would_stop_at_an_impossible_tensorflow():
    text = (ROOT / "requirements" / "without-tensorflow.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [f"{name}===set-PIP_NO_DEPS=1" for name in ("tensorflow", "tf2jax")]


def test_every_pin_has_a_hash_and_the_lock_names_no_index():
    blocks = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(blocks) == len(PINS) > 150
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK
    assert not re.search(r"^--?\w", LOCK, flags=re.MULTILINE)


def test_tensorflow_is_neither_locked_nor_installed():
    assert not PINS.keys() & {"tensorflow", "tf2jax"}
    assert importlib.util.find_spec("tensorflow") is None


def test_the_lock_holds_all_that_is_asked_for():
    asked = (ROOT / "requirements" / "project.in").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line.partition("#")[0].strip() for line in asked.splitlines()]
    for line in [*filter(None, lines), *project["dependencies"]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(PINS[canonical(wanted.name)]), line


def install(tmp_path, answer):
    """Run the install script with an interpreter that only answers the version question."""
    (tmp_path / "requirements").mkdir()
    shutil.copy(ROOT / "requirements" / "install.sh", tmp_path / "requirements")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexit {answer}\n")
    python.chmod(0o755)
    return subprocess.run(
        ["sh", "requirements/install.sh"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_old_python_is_refused_with_a_way_out(tmp_path):
    done = install(tmp_path, answer=1)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_recent_python_is_not_refused(tmp_path):
    assert "needs Python" not in install(tmp_path, answer=0).stderr
