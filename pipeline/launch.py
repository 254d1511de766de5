"""Notebooks that run: the pages without outputs, with what they need brought first.

Each page gets `launch/KEY/PAGE.ipynb`. Its first cells install the pinned packages where they
are not there already, find or fetch the project, and compute the results that are missing; its
text is plain Markdown, since a viewer of notebooks knows no roles, directives and macros.
`binder/` says the same to Binder. The staged tree holds both, and `launch/index.json` tells
the book where the buttons lead: to the branch `launch` of the repository that
`nc_repository` in `_config.yml` names, or `NCUTILS_REPOSITORY`, which goes first.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import jupytext
import nbformat
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pybtex.database import parse_file

from pipeline import build as plan
from requirements.resolve import PYTHON, pins

BRANCH = "launch"

# Pages reach it through `ncutils.compat`; pyproject.toml says why it is not listed there.
UNLISTED = "neural-tangents"

WELCOME = """\
# Run it yourself: {title}

This is a page of *Neural collapse, recomputed*, without its outputs. The first cell brings the
packages and the project, the second chooses the scale, the third computes the results that are
not there yet, and then the page begins. {time}

`SCALE = "smoke"` takes seconds and only shows that everything runs; `"paper"` has the sizes of the
paper and wants a GPU or a cluster.
"""

INSTALL = '''\
# Brings the packages of requirements.lock; where these versions are there, nothing is done.
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY, COMMIT = "{repository}", "{commit}"
PINS = """
{pins}
""".split()


def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if sys.version_info < (3, 11):
    raise RuntimeError("this notebook needs Python 3.11 or newer")
missing = [pin for pin in PINS if version(pin.split("==")[0]) != pin.split("==")[1]]
if missing:
    print(f"Installing {{len(missing)}} packages ...", flush=True)
    owners = importlib.metadata.packages_distributions()
    loaded = {{owner for module in set(sys.modules) for owner in owners.get(module, ())}}
    loaded = {{re.sub("[-_.]+", "-", owner).lower() for owner in loaded}}
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, *missing], check=True)
    if loaded & {{pin.split("==")[0] for pin in missing}}:
        print("Some were in use in another version. The kernel starts anew: run all cells again.")
        get_ipython().kernel.do_shutdown(True)
else:
    print(f"All {{len(PINS)}} packages are there, nothing to install.")

# The project: the folder that this notebook lies in, or else a clone of it.
folders = [Path.cwd(), *Path.cwd().parents, Path.cwd() / REPOSITORY.split("/")[-1]]
found = next((folder for folder in folders if any((folder / "claims").glob("*.yml"))), None)
if found is None:
    if not REPOSITORY:
        raise RuntimeError("put this notebook into the folder of the project and run it there")
    found = folders[-1]
    address = f"https://github.com/{{REPOSITORY}}"
    subprocess.run(["git", "clone", "--quiet", address, str(found)], check=True)
    subprocess.run(["git", "-C", str(found), "checkout", "--quiet", COMMIT], check=True)
os.chdir(found)
sys.path.insert(0, str(found))
print(f"The project is in {{found}}")
'''

COMPUTE = """\
# Computes what this page shows, where it is not there yet.
from ncutils.records import results

CASES = {cases}

for place, case in enumerate(CASES, 1):
    paths = (results.archive_path, results.path_of)
    there = any(path(case, scale=SCALE).is_file() for path in paths)
    print(f"{{place}} of {{len(CASES)}}: {{case}}", "is there" if there else "...", flush=True)
    if there:
        continue
    process = subprocess.Popen(
        [sys.executable, "-m", "ncutils.experiments", case, "--scale", SCALE],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={{**os.environ, "TQDM_MININTERVAL": "10"}},  # a line of progress every ten seconds
    )
    for line in process.stdout:
        print("   ", line, end="", flush=True)
    if process.wait():
        raise RuntimeError(f"{{case}} did not finish: see the lines above")
"""

POST_BUILD = """\
#!/bin/sh
# Without its dependencies: it would bring TensorFlow, which nothing here uses.
exec python -m pip install --no-cache-dir --no-deps {unlisted}
"""

README = """\
# Notebooks to run

Made from the sources of the pages, which are `notebooks/*.py` on the main branch; nothing here is
edited by hand. Each notebook brings what it needs in its first cells.
"""


def repository(root: Path) -> str:
    """OWNER/NAME of the repository that the buttons lead to, or "" for no buttons.

    Raises:
        ValueError: if what is configured is not of that form.
    """
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    configured = ((settings.get("sphinx") or {}).get("config") or {}).get("nc_repository") or ""
    name = os.environ.get("NCUTILS_REPOSITORY", configured).strip()
    if name and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(
            f"the repository should be OWNER/NAME, not {name!r}: see NCUTILS_REPOSITORY in the "
            "environment and nc_repository in _config.yml"
        )
    return name


def head(root: Path) -> str:
    """The full hash of the checked-out commit, or "" where there is none."""
    words = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def needed(root: Path) -> tuple[str, ...]:
    """The pins of requirements.lock that the pages need: what ncutils asks for, and so on."""
    locked = {pin.partition("==")[0]: pin for pin in pins((root / "requirements.lock").read_text())}
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting, seen = [*project["dependencies"], UNLISTED], set()
    while waiting:
        wanted = Requirement(waiting.pop())
        name = canonicalize_name(wanted.name)
        if name in locked and name not in seen and (not wanted.marker or wanted.marker.evaluate()):
            seen.add(name)
            waiting += importlib.metadata.requires(name) or ()
    return tuple(locked[name] for name in sorted(seen))


def minutes(seconds: float) -> str:
    """A duration as a reader wants it: `40 s`, `3 min`."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def time_needed(record: dict) -> str:
    """How long the cases and the page took when the book was made."""
    cases = sum(float(one["seconds"]) for one in record["results"])
    return (
        f"For the book, at {record['scale']} scale on one {record['device']}, its results took "
        f"{minutes(cases)} to compute and the page itself {minutes(record['notebook_seconds'])}."
    )


# --- the text of a page, plain --------------------------------------------------------------

FIELDS = {"": "value", "control": "control_value"}
BOX = re.compile(
    r"^:::\{([\w:-]+)\} *([^\n]*)\n((?::[\w-]+:[^\n]*\n)*)(.*?)^:::$", re.MULTILINE | re.DOTALL
)


class Plain:
    """Turns the text of a page into Markdown that any notebook viewer shows."""

    def __init__(self, root: Path, ledger: Sequence[dict] = ()):
        """Read what roles refer to.

        Args:
            root: the project's folder.
            ledger: rows of the ledger; without them a badge is an id and a number is left out.
        """
        self.rows = {row["id"]: row for row in ledger}
        config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["sphinx"]
        mathjax = config["config"].get("mathjax3_config", {})
        self.macros = mathjax.get("tex", {}).get("macros", {})
        self.works = parse_file(str(root / "book" / "references.bib")).entries

    def __call__(self, text: str) -> str:
        """The same text, without roles, directives, macros and links into the book."""
        text = BOX.sub(self._box, text)
        text = re.sub(r"\{([\w:]+)\}`([^`]*)`", self._role, text)
        text = re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)\s]*\)", r"\1", text)
        for name, body in self.macros.items():
            text = re.sub(rf"\\{name}(?![A-Za-z])", lambda _, body=body: body, text)
        return text

    def _box(self, found: re.Match) -> str:
        kind, title, _, body = found.groups()
        if not (title or body.strip()):
            return ""  # what the book fills in when it is made
        word = kind.rpartition(":")[2].removeprefix("nc-").capitalize()
        lines = [f"**{word}: {title}**" if title else f"**{word}**", "", *body.strip().split("\n")]
        return "\n".join(f"> {line}".rstrip() for line in lines)

    def _role(self, found: re.Match) -> str:
        role, content = found.groups()
        if role == "claim":
            return f"[{content}: {self.rows.get(content, {}).get('verdict', 'to be judged')}]"
        if role == "measured":
            claim, _, field = content.partition(".")
            value = self.rows.get(claim, {}).get(FIELDS.get(field, field))
            return f"{value:.3g}" if isinstance(value, int | float) else "(see the ledger)"
        if role.startswith("cite"):
            works, inside = (
                [self._cited(key.strip()) for key in content.split(",")],
                role != "cite:t",
            )
            years = [f"{who}, {year}" if inside else f"{who} ({year})" for who, year in works]
            return f"({'; '.join(years)})" if inside else "; ".join(years)
        return "the equation above" if role == "eq" else content.partition(" <")[0]

    def _cited(self, key: str) -> tuple[str, str]:
        """`Ada and Others`, as a citation in the text names the authors, and the year."""
        authors = [
            " ".join(map(str, one.rich_last_names)) for one in self.works[key].persons["author"]
        ]
        names = " and ".join(authors) if len(authors) < 3 else f"{authors[0]} et al."
        return names, self.works[key].fields["year"]


# --- the notebooks --------------------------------------------------------------------------


def notebook(source, record: dict, *, first: str, text: Plain):
    """The runnable notebook of a page.

    Args:
        source: the page's notebook as jupytext reads it.
        record: what `pipeline.execute` wrote of its run.
        first: code of the first cell, which brings the packages and the project.
        text: turns the page's text into plain Markdown.

    Returns:
        A notebook without outputs.
    """
    new = nbformat.v4
    title = re.search(r"^# (.+)$", source.cells[0].source, flags=re.MULTILINE)
    welcome = WELCOME.format(title=title[1] if title else record["page"], time=time_needed(record))
    needs = json.dumps(plan.cases_of(record["page"]), indent=4)
    done = new.new_notebook(metadata={"kernelspec": source.metadata["kernelspec"]})
    done.cells = [
        new.new_markdown_cell(welcome),
        new.new_code_cell(first),
        new.new_code_cell(f'SCALE = "{record["scale"]}"', metadata={"tags": ["parameters"]}),
        new.new_code_cell(COMPUTE.format(cases=needs)),
    ]
    for cell in source.cells:
        if cell.cell_type == "markdown":
            done.cells.append(new.new_markdown_cell(text(cell.source)))
        elif "parameters" not in cell.metadata.get("tags", ()):
            done.cells.append(new.new_code_cell(cell.source))
    for number, cell in enumerate(done.cells):
        cell.id = f"cell-{number}"  # nbformat draws lots, and the same book should have the same
    nbformat.validate(done)
    return done


def buttons(page: str, name: str) -> dict[str, str]:
    """Where a page can be opened in a browser: the words of a button and its address."""
    if not name:
        return {}
    path = f"launch/{page}.ipynb"
    colab, binder = "https://colab.research.google.com/github", "https://mybinder.org/v2/gh"
    return {
        "open in Colab": f"{colab}/{name}/blob/{BRANCH}/{path}",
        "open in Binder": f"{binder}/{name}/{BRANCH}?labpath={quote(path, safe='')}",
    }


def write(root: Path, source: Path, ledger: Sequence[dict] = ()) -> None:
    """Put `launch/` and `binder/` into a staged tree that has its page records.

    Args:
        root: the project's folder.
        source: the staged tree.
        ledger: rows of the ledger.
    """
    name, wanted, text, index = repository(root), needed(root), Plain(root, ledger), {}
    first = INSTALL.format(repository=name, commit=head(root), pins="\n".join(wanted))
    listed = [pin for pin in wanted if not pin.startswith(UNLISTED)]
    files = {
        "launch/README.md": README,
        "binder/runtime.txt": f"python-{PYTHON}\n",
        "binder/requirements.txt": "\n".join(listed) + "\n",
        "binder/postBuild": POST_BUILD.format(unlisted=" ".join({*wanted} - {*listed})),
    }
    for page in plan.pages():
        about = source / "pages" / f"{page}.json"
        if about.is_file():
            record = json.loads(about.read_text(encoding="utf-8"))
            page_source = jupytext.read(root / "notebooks" / f"{page}.py")
            made = notebook(page_source, record, first=first, text=text)
            files[f"launch/{page}.ipynb"] = nbformat.writes(made) + "\n"
            index[page] = {"buttons": buttons(page, name)}
    files["launch/index.json"] = json.dumps(index, indent=1)
    for path, content in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(content, encoding="utf-8")
    (source / "binder" / "postBuild").chmod(0o755)
