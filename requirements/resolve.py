"""Resolve `requirements/project.in` into `requirements.lock` and `environment.yml`.

The lock is complete and hashed and names no index, so that plain pip installs
it anywhere with `--no-deps --require-hashes`. Needs the package index.
"""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PYTHON = "3.11"

ENVIRONMENT_HEAD = f"""\
# For conda. Made by `make requirements` from requirements.lock; not edited by hand.
#
#   PIP_NO_DEPS=1 conda env create -f environment.yml
#   conda activate ncutils && pip install --no-deps --no-build-isolation -e .
#
# The list is complete, so pip has no dependencies to look for. Without
# PIP_NO_DEPS=1 it would look all the same, and neural-tangents would bring
# TensorFlow: the constraint makes that an error instead.
name: ncutils
channels:
  - conda-forge
dependencies:
  - python={PYTHON}
  - pip
  - pip:
      - --constraint requirements/without-tensorflow.txt
"""


def pins(lock: str) -> list[str]:
    """The lines `name==version` of a lock file, without hashes."""
    return re.findall(r"^([A-Za-z0-9._-]+==[^\s\\;]+)", lock, flags=re.MULTILINE)


def environment_yml(lock: str) -> str:
    """The conda environment that holds the same pins as this lock file."""
    return ENVIRONMENT_HEAD + "".join(f"      - {pin}\n" for pin in pins(lock))


def main() -> None:
    """Make the lock and the environment; more options for uv come from the command line."""
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as folder:
        print("making a throw-away environment with uv ...", flush=True)
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "uv"], check=True)
        subprocess.run(
            [
                *(python, "-m", "uv", "pip", "compile", "--quiet", "requirements/project.in"),
                *("--override", "requirements/overrides.txt", "--python-version", PYTHON),
                *("--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url"),
                *("--output-file", "requirements.lock", *sys.argv[1:]),
            ],
            cwd=root,
            check=True,
        )
    lock = (root / "requirements.lock").read_text()
    (root / "environment.yml").write_text(environment_yml(lock))
    print(f"requirements.lock and environment.yml: {len(pins(lock))} packages")


if __name__ == "__main__":
    main()
