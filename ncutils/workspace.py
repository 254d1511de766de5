"""Where things lie and what a result depends on. Standard library only.

Kept free of JAX so that the pipeline can plan thousands of jobs without
importing it.
"""

import ast
import functools
import hashlib
import importlib.metadata
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

SCALES = ("smoke", "quick", "paper")

# Compiling without most of its optimisation, and by the older of XLA's two ways to write
# loops: half of the processor time of a run that mostly compiles. XLA ends the process at
# a flag that it does not know, so only the version they were tried with gets them.
SWIFT_COMPILATION = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    if importlib.metadata.version("jaxlib") == "0.10.1"
    else ""
)


def check_scale(scale: str) -> str:
    """Return `scale` if it is one of `SCALES`.

    Raises:
        ValueError: for any other name.
    """
    if scale not in SCALES:
        raise ValueError(f"unknown scale {scale!r}: choose one of {', '.join(SCALES)}")
    return scale


def project_root() -> Path:
    """The folder that holds `claims.yml`: `NCUTILS_ROOT`, or the nearest one above.

    Raises:
        ValueError: if neither the environment nor a folder above names one.
    """
    if named := os.environ.get("NCUTILS_ROOT"):
        return Path(named).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "claims.yml").is_file():
            return folder
    raise ValueError(
        f"no claims.yml in {here} or above it: run from inside the project, "
        "or set NCUTILS_ROOT to its folder"
    )


def build_dir(scale: str) -> Path:
    """Where everything made at this scale goes: `<root>/_build/<scale>`."""
    return project_root() / "_build" / check_scale(scale)


def job_environment(root: Path, *, jobs: int, short: bool = False) -> dict[str, str]:
    """What processes that work side by side should find in their environment.

    They share what JAX has compiled: compiling takes most of the time of a small run, and
    cells, notebooks and tests compile the same functions over and over. And they share the
    cores: a linear algebra library that starts a thread for each core in each process
    spends more than half of its time waiting (measured: 2.4 s against 1.3 s of processor
    time for one solution of the Equations of State with 1024 samples, two at a time).

    Args:
        root: the project's folder.
        jobs: how many processes run at a time.
        short: whether they are tests or runs of a test's size, which compile for longer
            than they compute. Measured: 22 s of processor time in place of 47 for the
            tests of unequal classes, 11 in place of 26 for sampling at smoke scale.

    Returns:
        Variables and values; what the environment already says is kept.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    flags = (
        f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}",
        SWIFT_COMPILATION if short else "",
    )
    shared = {
        "JAX_COMPILATION_CACHE_DIR": str(root / "_build" / ".compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "OPENBLAS_NUM_THREADS": str(threads),
        "XLA_FLAGS": " ".join(flags).strip(),
    }
    return {name: os.environ.get(name, value) for name, value in shared.items()}


def write_atomically(path: Path, writer: Callable[[Path], object]) -> Path:
    """Let `writer` fill a temporary file beside `path`, then rename it into place.

    A reader sees the old file or the whole new one, never half of one; if
    `writer` raises (a full disk, say), the old file stays and the half is removed.

    Args:
        path: the file to make; missing folders are made.
        writer: called with the temporary path, whose ending is that of `path`.

    Returns:
        `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix="".join(path.suffixes))
    os.close(handle)
    part = Path(name)
    try:
        writer(part)
        os.chmod(part, 0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


@functools.cache
def commit() -> str:
    """The short hash of the checked-out commit, "+" behind it if files differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=project_root(), capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    try:
        head = git("rev-parse", "--short=9", "HEAD")
        return (head + ("+" if git("status", "--porcelain") else "")) if head else "no commit"
    except OSError:  # no git on this machine
        return "no commit"


def _module_file(name: str) -> Path | None:
    base = Path(__file__).parent.parent.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports(path: Path) -> set[str]:
    """Names that may be `ncutils` modules, from every import statement of a file."""
    stat = path.stat()
    return _imports_of(path, (stat.st_mtime_ns, stat.st_size))


@functools.cache
def _imports_of(path: Path, stamp: tuple[int, int]) -> set[str]:  # noqa: ARG001 (tells versions apart)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "ncutils"}


def source_files(*sources: str | Path) -> list[Path]:
    """The files of `ncutils` that these modules or files reach by imports, sorted.

    Read from the syntax trees, nothing is executed. A file that only plots is
    reached by notebooks and not by experiments, so editing it makes notebooks
    stale and leaves results alone.

    Args:
        sources: dotted module names inside `ncutils`, or paths of Python files.

    Raises:
        ValueError: if a named module does not exist.
    """
    waiting, seen = list(sources), set()
    while waiting:
        source = waiting.pop()
        path = source if isinstance(source, Path) else _module_file(source)
        if path is None:
            raise ValueError(f"no module {source!r} in ncutils")
        path = path.resolve()
        if path in seen:
            continue
        seen.add(path)
        waiting += [name for name in _imports(path) if _module_file(name)]
    return sorted(seen)


def source_digest(*sources: str | Path) -> str:
    """A short hash of the content of `source_files(*sources)`."""
    digest = hashlib.sha256()
    for path in source_files(*sources):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def experiment_digest(experiment: str) -> str:
    """What the numbers of an experiment depend on: the files it reaches, and the lock.

    Args:
        experiment: module name in `ncutils.experiments`.

    Returns:
        A short hash, or "unknown" for an experiment that is no such module.
    """
    if _module_file(f"ncutils.experiments.{experiment}") is None:
        return "unknown"
    digest = hashlib.sha256(source_digest(f"ncutils.experiments.{experiment}").encode())
    lock = project_root() / "requirements.lock"
    digest.update(lock.read_bytes() if lock.is_file() else b"")
    return digest.hexdigest()[:16]
