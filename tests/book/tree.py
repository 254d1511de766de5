"""A small book to try the extension on: the tree that `pipeline.stage` would put together."""

import json
import subprocess
import sys
from pathlib import Path

from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]

CONF = """
import sys
sys.path.insert(0, {book!r})
extensions = ["myst_nb", "sphinx_proof", "ext"]
myst_enable_extensions = ["colon_fence", "dollarmath", "substitution"]
nb_execution_mode = "off"
html_theme = "basic"
master_doc = "index"
numfig = True
rediraffe_redirects = "redirects.txt"
rediraffe_template = "redirect.html"
exclude_patterns = ["launch"]
nc_chapters = {chapters}
nc_lessons = {chapters}
"""

INDEX = """# A book

```{toctree}
notebooks/one2020/chapter
ledger
```

```{scorecard}
```

The number {measured}`P1-A`, its control {measured}`P1-A.control`, none: {measured}`P1-C`.
"""

CHAPTER = """# A chapter

{claim}`P1-A` says something. {claim}`P1-A` says it again. See {numref}`fig-one`.

:::{nc-figure} fig-one
:claims: P1-A, P1-B

What to see, with $x^2$.

A second paragraph.
:::
"""

LEDGER = """# All claims

```{ledger}
```
"""


#: The papers of the small book, by the marks of their claims.
KEYS = {"P1": "one2020", "P2": "two2021"}
PAPERS = {
    "one2020": {"tag": "P1", "title": "The first", "short": "first", "figures": 13},
    "two2021": {"tag": "P2", "title": "The second", "short": "second", "figures": 3},
}


def row(claim_id, verdict, **changes):
    return {
        "id": claim_id,
        "paper": KEYS[claim_id[:2]],
        "number": "Theorem 4.1",
        "page": "one2020/chapter",
        "statement": "Traces agree, $a = b$.",
        "kind": "identity",
        "quantity": "worst error",
        "relation": "==",
        "expected": 0.0,
        "tolerance": 1e-10,
        "deviation": None,
        "scales": ["smoke"],
        "control": "labels shuffled",
        "depends": [],
        "verdict": verdict,
        "reason": "because",
        "value": 3.25e-13,
        "spread": None,
        "n": None,
        "control_value": 0.44123,
        "scale": "smoke",
        "half_tolerance": verdict,
        "double_tolerance": verdict,
        "of": [],
        **changes,
    }


ROWS = [
    row("P1-A", "holds"),
    row("P1-B", "fails", value=1.5, spread=0.25, n=10, double_tolerance="holds", depends=["P1-A"]),
    row("P1-C", "not decided at this scale", value=None, control_value=None),
    row("P2-A", "holds with deviation", page="two2021/elsewhere"),
]


def write(folder: Path, files: dict[str, str | dict]) -> None:
    """Write files below a folder, objects as JSON."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")


def code(source: str, *tags: str) -> dict:
    """A code cell with an output."""
    shown = {"output_type": "stream", "name": "stdout", "text": "done"}
    cell = {"cell_type": "code", "source": source, "outputs": [shown], "execution_count": 1}
    return {**cell, "metadata": {"tags": list(tags)}}


def notebook(text: str, *cells: dict) -> dict:
    """An executed notebook: Markdown, and then cells of code."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    first = {"cell_type": "markdown", "metadata": {}, "source": text}
    form = {"metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
    return {"cells": [first, *cells], **form}


RECORD = {
    "scale": "smoke",
    "seconds": 72.4,
    "device": "a cpu",
    "commit": "abc1234",
    "seeds": 7,
    "peak_memory_mb": 512.3,
    "date": "2026-11-22",
}


def write_tree(
    folder: Path,
    *,
    rows=ROWS,
    chapter=CHAPTER,
    index=INDEX,
    alt="A line.",
    cells=(),
    chapters=False,
    redirects="old ledger\n",
) -> Path:
    """A staged tree: settings, three pages, a ledger, a figure, a page record.

    With ``chapters`` each page of `notebooks/` has to be a whole chapter.
    """
    kinds = {"svg": ".svg", "dark_svg": ".dark.svg", "png": ".png", "nc": ".nc"}
    figure = {"id": "fig-one", "alt": alt, "seconds": None, "seeds": [0, 1, 2]}
    figure |= {"scale": "smoke", "commit": "abc1234", "device": "a cpu"}
    figure["files"] = {kind: f"fig-one{ending}" for kind, ending in kinds.items()}
    files = {
        "conf.py": CONF.format(book=str(ROOT / "book"), chapters=chapters),
        "index.md": index,
        "ledger.md": LEDGER,
        "redirects.txt": redirects,
        "redirect.html": (ROOT / "book" / "templates" / "redirect.html").read_text(),
        "notebooks/one2020/chapter.ipynb": notebook(chapter, *cells),
        "pages/one2020/chapter.json": {"page": "one2020/chapter", **RECORD},
        "figures/fig-one.json": figure,
        **{f"figures/fig-one{ending}": "<svg/>" for ending in kinds.values()},
    }
    write(folder, files)
    write_ledger(folder, rows)
    return folder


def write_ledger(folder, rows, *, papers=PAPERS, commit="abc1234"):
    """The ledger of the small book."""
    head = {"scale": "smoke", "commit": commit, "made": "2026-11-22T10:00:00+00:00"}
    write(folder, {"ledger.json": {**head, "papers": papers, "rows": rows}})


def html(folder: Path) -> Path:
    return folder.with_name("html")


def build(folder: Path):
    """Sphinx in its own process, warnings as errors, as the pipeline runs it."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "-n", "--keep-going"]
    return subprocess.run(
        [*command, str(folder), str(html(folder))], capture_output=True, text=True, check=False
    )


def read(folder: Path, page: str) -> BeautifulSoup:
    return BeautifulSoup((html(folder) / page).read_text(encoding="utf-8"), "html.parser")


def squeeze(node) -> str:
    return " ".join(node.get_text(" ").split())
