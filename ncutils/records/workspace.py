"""Where things lie, at which scales, and what processes share. Standard library only.

Kept free of JAX so that the pipeline can plan thousands of jobs without
importing it.
"""

import functools
import importlib.metadata
import os
import subprocess
from pathlib import Path

SCALES = ("smoke", "quick", "paper")
#: Sizes of a run: the scales of the book, and that of single longer runs which were made
#: once, are archived, and look the same at every scale of the book.
SIZES = (*SCALES, "workstation")

# Compiling without most of its optimisation, and by the older of XLA's two ways to write
# loops: half of the processor time of a run that mostly compiles. XLA ends the process at
# a flag that it does not know, so only the version they were tried with gets them.
SWIFT_COMPILATION = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    if importlib.metadata.version("jaxlib") == "0.10.1"
    else ""
)


def check_scale(scale: str, known: tuple[str, ...] = SCALES) -> str:
    """Return `scale` if it is one of `known`.

    Raises:
        ValueError: for any other name.
    """
    if scale not in known:
        raise ValueError(f"unknown scale {scale!r}: choose one of {', '.join(known)}")
    return scale


def project_root() -> Path:
    """The folder that holds `claims/`: `NCUTILS_ROOT`, or the nearest one above.

    Raises:
        ValueError: if neither the environment nor a folder above names one.
    """
    if named := os.environ.get("NCUTILS_ROOT"):
        return Path(named).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if any((folder / "claims").glob("*.yml")):
            return folder
    raise ValueError(
        f"no claims/ with a paper's file in {here} or above it: run from inside the project, "
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
