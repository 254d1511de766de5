import os
import subprocess
import sys
from pathlib import Path

import pytest

from ncutils._files import write_atomically
from ncutils.records import workspace


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "toy2020.yml").write_text("{}\n")
    monkeypatch.delenv("NCUTILS_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_root_is_the_nearest_folder_with_claims_or_the_one_that_is_named(project, monkeypatch):
    deep = project / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert workspace.project_root() == project
    monkeypatch.setenv("NCUTILS_ROOT", str(deep))
    assert workspace.project_root() == deep
    monkeypatch.delenv("NCUTILS_ROOT")
    (project / "claims" / "toy2020.yml").unlink()
    with pytest.raises(ValueError, match=r"no claims/ with a paper's file"):
        workspace.project_root()


def test_an_unknown_scale_is_refused_with_the_known_ones(project):
    assert workspace.build_dir("quick") == project / "_build" / "quick"
    with pytest.raises(ValueError, match="'large': choose one of smoke, quick, paper"):
        workspace.build_dir("large")


def test_a_writer_that_fails_leaves_the_old_file_and_no_rubbish(project):
    path = project / "deep" / "x.txt"
    write_atomically(path, lambda part: part.write_text("old"))

    def broken(part: Path):
        part.write_text("ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, broken)
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["x.txt"]
    write_atomically(path, lambda part: part.write_text("new"))
    assert path.read_text() == "new"


def test_without_git_or_a_repository_the_commit_says_so(project):
    workspace.commit.cache_clear()
    assert workspace.commit() == "no commit"
    workspace.commit.cache_clear()


def test_processes_of_a_build_share_cores_and_compiled_programs_unless_told_otherwise(
    tmp_path, monkeypatch
):
    for name in workspace.job_environment(tmp_path, jobs=2):
        monkeypatch.delenv(name, raising=False)
    found = workspace.job_environment(tmp_path, jobs=2)
    assert found["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "_build" / ".compiled")
    code = "import jax; jax.jit(lambda x: x * 3 + 1)(2.0)"

    def compiled():
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **found}, check=True)
        folder = tmp_path / "_build" / ".compiled"
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*-cache")}

    first = compiled()
    assert first
    assert compiled() == first  # the second process wrote nothing, so it found what it needed
    assert "optimization_level=0" not in found["XLA_FLAGS"]
    short = workspace.job_environment(tmp_path, jobs=2, short=True)
    assert short["XLA_FLAGS"] == f"{found['XLA_FLAGS']} {workspace.SWIFT_COMPILATION}".strip()
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert workspace.job_environment(tmp_path, jobs=2)["OPENBLAS_NUM_THREADS"] == "4"
    assert workspace.job_environment(tmp_path, jobs=16)["OPENBLAS_NUM_THREADS"] == "1"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    assert workspace.job_environment(tmp_path, jobs=2)["JAX_COMPILATION_CACHE_DIR"] == "/elsewhere"
