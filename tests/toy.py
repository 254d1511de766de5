"""A project of two cells and one page, driven by the real pipeline.

Cells append their names to `ran.txt` when they start, so a test sees what was
computed again. A cell waits while the file `wait` exists and fails while
`break-cell` does; the notebook fails while `break-page` does.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CATALOGUE = 'PAGES = {"toy_page": ("toy/first", "toy/second")}\nLONGER = {}\n'

EXPERIMENT = """\
import dataclasses, time
from pathlib import Path
import numpy as np, xarray as xr
from ncutils import linalg

CELLS = ("first", "second")

@dataclasses.dataclass(frozen=True)
class Config:
    cell: str
    size: int
    seeds: tuple[int, ...] = (0, 1, 2)

    @classmethod
    def at(cls, cell, scale):
        return cls(cell, {"smoke": 3, "quick": 30, "paper": 300}[scale])

def run(config):
    with Path("ran.txt").open("a") as file:
        file.write(config.cell + "\\n")
    while config.cell == "second" and Path("wait").exists():
        time.sleep(0.05)
    if config.cell == "second" and Path("break-cell").exists():
        raise ValueError("the second cell is broken")
    values = np.linspace(0.0, 1.0, 3 * config.size).reshape(3, -1)
    return xr.Dataset({"nc1": (("seed", "step"), values)}, coords={"seed": list(config.seeds)})
"""

NOTEBOOK = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # A toy page
#
# :::{question}
# Where does the line end?
# :::
#
# The value is {measured}`T1`, so it {claim}`T1`.

# %% tags=["parameters"]
SCALE = "quick"

# %% tags=["hide-input"]
import sys
from pathlib import Path
import matplotlib.pyplot as plt
from ncutils import claims, plotting, results
first = results.load("toy", "first", scale=SCALE)

# %% tags=["hide-input"]
message = "the page is broken"
print("a warning", file=sys.stderr)
if Path("break-page").exists():
    raise ValueError(message)

# %% tags=["hide-input", "remove-output"]
with plotting.style():
    fig, ax = plt.subplots()
    ax.plot(first["step"], first["nc1"].mean("seed"))
plotting.save(fig, "toy-fig", scale=SCALE, data=first, alt="A line that rises from nought to one.")

# %% [markdown]
# :::{nc-figure} toy-fig
# :claims: T1
# It rises.
# :::

# %% tags=["hide-input"]
claims.record("T1", scale=SCALE, value=float(first["nc1"].max()), control=2.0, n=3)

# %% [markdown]
# ```{verdicts}
# ```
"""

CLAIMS = """\
- id: T1
  paper: P1
  number: Theorem 1
  page: toy_page
  statement: The line ends at one.
  kind: identity
  quantity: the largest value
  relation: "=="
  expected: 1.0
  tolerance: 1.0e-12
  scales: [smoke, quick, paper]
  control: the value two
"""

TOC = "format: jb-book\nroot: book/index\nchapters:\n  - file: notebooks/toy_page\n"


def make(root: Path) -> Path:
    """Write the toy project into an empty folder."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "ncutils", root / "ncutils", ignore=ignore)
    shutil.copytree(ROOT / "pipeline", root / "pipeline", ignore=ignore)
    shutil.copytree(ROOT / "book", root / "book", ignore=shutil.ignore_patterns("*.md"))
    for name in ("Snakefile", "_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    experiments = root / "ncutils" / "experiments"
    for module in experiments.glob("*.py"):
        if module.name not in ("__init__.py", "__main__.py"):
            module.unlink()
    (root / "notebooks").mkdir()
    for path, text in {
        "ncutils/experiments/catalogue.py": CATALOGUE,
        "ncutils/experiments/toy.py": EXPERIMENT,
        "notebooks/toy_page.py": NOTEBOOK,
        "claims.yml": CLAIMS,
        "_toc.yml": TOC,
        "requirements.lock": "numpy==2.4.6\n",
        "book/index.md": "# Toy\n\nOne page.\n",
        "book/redirects.yml": "toy.html: notebooks/toy_page\n",
    }.items():
        (root / path).write_text(text, encoding="utf-8")
    return root


def start(root: Path, *words: str) -> subprocess.Popen:
    """Start `python WORDS` in the toy project, as the leader of its own process group."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NCUTILS_", "PYTEST_"))}
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=root,
        env={**env, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(root: Path, *words: str) -> tuple[int, str]:
    """Run `python WORDS` in the toy project to its end: exit status and all output."""
    process = start(root, *words)
    text, _ = process.communicate(timeout=240)
    return process.returncode, text


def build(root: Path, *, target: str = "ledger.json") -> tuple[int, str]:
    """Build the toy project up to a file of its smoke scale."""
    return run(root, "-m", "pipeline.book", "--scale", "smoke", "--target", target)


def ran(root: Path) -> list[str]:
    """The cells that ran, in order of name."""
    log = root / "ran.txt"
    return sorted(log.read_text().split()) if log.is_file() else []
