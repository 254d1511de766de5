"""A project of two cases and one page, driven by the real pipeline.

Cases append their names to `ran.txt` when they start, so a test sees what was
computed again. The second waits while the file `wait` exists and fails while
`break-case` does; the notebook fails while `break-page` does.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEY = "toy2020"
FIRST, SECOND = (f"{KEY}/line/{name}" for name in ("first", "second"))
PAGE = f"{KEY}/toy_page"

EXPERIMENT = """\
import dataclasses, time
from pathlib import Path
import numpy as np, xarray as xr
from ncutils import linalg
from ncutils.experiments import case

@dataclasses.dataclass(frozen=True)
class Line:
    size: int
    seeds: tuple[int, ...] = (0, 1, 2)

def ran(name):
    with Path("ran.txt").open("a") as file:
        file.write(name + "\\n")

def line(config):
    linalg.check_labels(np.array([0, 1]), num_classes=2)
    values = np.linspace(0.0, 1.0, 3 * config.size).reshape(3, -1)
    return xr.Dataset({"nc1": (("seed", "step"), values)}, coords={"seed": list(config.seeds)})

@case(smoke=Line(3), quick=Line(30), paper=Line(300))
def first(config):
    ran("first")
    return line(config)

@case(smoke=Line(3), quick=Line(30), paper=Line(300))
def second(config):
    ran("second")
    while Path("wait").exists():
        time.sleep(0.05)
    if Path("break-case").exists():
        raise ValueError("the second case is broken")
    return line(config)
"""

FIGURES = """\
import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.figure import Figure

from ncutils.figures import style

def rise(ds: xr.Dataset) -> Figure:
    with style():
        fig, ax = plt.subplots()
        ax.plot(ds["step"], ds["nc1"].mean("seed"))
    return fig
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

# %% tags=["lesson"]
1 + 1

# %% tags=["hide-input"]
import sys
from pathlib import Path
from ncutils import figures
from ncutils.records import claims, results
first = results.load("toy2020/line/first", scale=SCALE)
second = results.load("toy2020/line/second", scale=SCALE)

# %% tags=["hide-input"]
message = "the page is broken"
print("a warning", file=sys.stderr)
if Path("break-page").exists():
    raise ValueError(message)

# %% tags=["hide-input", "remove-output"]
alt = "A line that rises from nought to one."
figures.save(figures.toy2020.rise(first), "toy-fig", scale=SCALE, data=first, alt=alt)

# %% [markdown]
# :::{nc-figure} toy-fig
# :claims: T1
# It rises.
# :::

# %% tags=["hide-input"]
judge = claims.at(SCALE)
judge("T1", of=[first, second], value=float(first["nc1"].max()), control=2.0, over="seed")

# %% [markdown]
# ```{verdicts}
# ```
"""

CLAIMS = """\
paper:
  key: toy2020
  tag: T
  title: On a line
  short: the toy
  figures: 1
claims:
- id: T1
  number: Fig. 1
  page: toy_page
  statement: The line ends at one.
  kind: identity
  quantity: the largest value
  relation: "=="
  expected: 1.0
  tolerance: 1.0e-12
  scales: [smoke, quick, paper]
  control: the value two
coverage:
- number: Fig. 1
  what: A line.
"""

TOC = f"format: jb-book\nroot: book/index\nchapters:\n  - file: notebooks/{PAGE}\n"


def bare(root: Path) -> Path:
    """Write a project without any paper into an empty folder."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "ncutils", root / "ncutils", ignore=ignore)
    shutil.copytree(ROOT / "pipeline", root / "pipeline", ignore=ignore)
    shutil.copytree(ROOT / "book", root / "book", ignore=shutil.ignore_patterns("*.md"))
    shutil.copytree(ROOT / "requirements", root / "requirements", ignore=ignore)
    for name in ("Snakefile", "_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    for drawer in (root / "ncutils" / "experiments").iterdir():
        if drawer.is_dir():
            shutil.rmtree(drawer)
            (root / "ncutils" / "figures" / f"{drawer.name}.py").unlink(missing_ok=True)
    (root / "requirements.lock").write_text("numpy==2.4.6\n", encoding="utf-8")
    (root / "book" / "index.md").write_text("# Toy\n\nOne page.\n", encoding="utf-8")
    (root / "book" / "redirects.txt").write_text("# None.\n", encoding="utf-8")
    return root


def make(root: Path) -> Path:
    """Write the toy project into an empty folder."""
    bare(root)
    for path, text in {
        f"ncutils/experiments/{KEY}/__init__.py": '"""A toy."""\n',
        f"ncutils/experiments/{KEY}/line.py": EXPERIMENT,
        f"ncutils/figures/{KEY}.py": FIGURES,
        f"notebooks/{PAGE}.py": NOTEBOOK,
        f"claims/{KEY}.yml": CLAIMS,
        "_toc.yml": TOC,
        "book/redirects.txt": f"toy notebooks/{PAGE}\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
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
    return run(root, "-m", "pipeline.build", "--scale", "smoke", "--target", target)


def ran(root: Path) -> list[str]:
    """The cases that ran, in order of name."""
    log = root / "ran.txt"
    return sorted(log.read_text().split()) if log.is_file() else []
