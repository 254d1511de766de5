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

import jinja2
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

OPENING = Path(__file__).parent / "templates" / "opening.md"

# It would bring TensorFlow, which nothing here uses.
POST_BUILD = "#!/bin/sh\nexec python -m pip install --no-cache-dir --no-deps {unlisted}\n"

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
        if key not in self.works:
            return key, ""  # the book itself will say so
        authors = [
            " ".join(map(str, one.rich_last_names)) for one in self.works[key].persons["author"]
        ]
        names = " and ".join(authors) if len(authors) < 3 else f"{authors[0]} et al."
        return names, self.works[key].fields["year"]


# --- the notebooks --------------------------------------------------------------------------


def opening(**values) -> list:
    """The first cells of a notebook, `templates/opening.md` with these values in it."""
    text = jinja2.Template(OPENING.read_text(encoding="utf-8")).render(values)
    return jupytext.reads(text, fmt="md").cells


def notebook(source, record: dict, *, text: Plain, **values):
    """The runnable notebook of a page.

    Args:
        source: the page's notebook as jupytext reads it.
        record: what `pipeline.execute` wrote of its run.
        text: turns the page's text into plain Markdown.
        values: repository, commit and pins, for the first cells.

    Returns:
        A notebook without outputs.
    """
    title = re.search(r"^# (.+)$", source.cells[0].source, flags=re.MULTILINE)
    done = nbformat.v4.new_notebook(metadata={"kernelspec": source.metadata["kernelspec"]})
    done.cells = opening(
        title=title[1] if title else record["page"],
        time=time_needed(record),
        scale=record["scale"],
        cases=json.dumps(plan.cases_of(record["page"]), indent=4),
        **values,
    )
    for cell in source.cells:
        if cell.cell_type == "markdown":
            done.cells.append(nbformat.v4.new_markdown_cell(text(cell.source)))
        elif "parameters" not in cell.metadata.get("tags", ()):
            done.cells.append(nbformat.v4.new_code_cell(cell.source))
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
    values = {"repository": name, "commit": head(root), "pins": "\n".join(wanted)}
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
            made = notebook(page_source, record, text=text, **values)
            files[f"launch/{page}.ipynb"] = nbformat.writes(made) + "\n"
            index[page] = {"buttons": buttons(page, name)}
    files["launch/index.json"] = json.dumps(index, indent=1)
    for path, content in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(content, encoding="utf-8")
    (source / "binder" / "postBuild").chmod(0o755)
