"""The reference describes the whole library, and its examples run."""

import doctest
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import yaml
from bs4 import BeautifulSoup

from ncutils.records import claims, coverage

ROOT = Path(__file__).resolve().parents[1]
EXT = ROOT / "book" / "ext"
EXAMPLES = yaml.safe_load((ROOT / "book" / "api_examples.yml").read_text(encoding="utf-8"))

CONF = """
import sys
sys.path.insert(0, {ext!r})
extensions = ["myst_nb", "nc_api", "nc_coverage", "offline"]
myst_enable_extensions = ["colon_fence", "dollarmath", "smartquotes"]
nb_execution_mode = "off"
html_theme = "basic"
master_doc = "index"
exclude_patterns = ["book/c[iho]*", "book/[!ac]*", "book/au*", "book/bi*"]
"""
INDEX = """# A book

```{toctree}
:glob:
book/api*
notebooks/*
```

{covered}`done` of {covered}`all`.

```{coverage-count}
```

```{coverage} P2
:figures:
```
"""
NOTEBOOK = """{"cells": [
 {"cell_type": "markdown", "metadata": {}, "source": "# From a kernel"},
 {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": 1,
  "source": "from ncutils import metrics\\nmetrics.align"}],
 "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"},
  "language_info": {"name": "python", "pygments_lexer": "python"}},
 "nbformat": 4, "nbformat_minor": 4}"""


@pytest.fixture(scope="module")
def nc_source():
    sys.path.insert(0, str(EXT))
    yield importlib.import_module("nc_source")
    sys.path.remove(str(EXT))


@pytest.fixture(scope="module")
def library(nc_source):
    """Every public module but the experiments, by its name."""
    names = [name for name in nc_source.public_modules() if not name.startswith("experiments")]
    return {name: nc_source.read_module(name) for name in names}


def functions(library):
    """All public functions and methods, with the module that has them."""
    for module in library.values():
        for name in module.names:
            for found in (name, *name.methods):
                if found.is_function:
                    yield module, found


def write_tree(folder: Path, *, files="api*", change=lambda name, text: text) -> Path:
    (folder / "book").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "pages").mkdir()
    (folder / "conf.py").write_text(CONF.format(ext=str(EXT)), encoding="utf-8")
    (folder / "index.md").write_text(INDEX, encoding="utf-8")
    (folder / "notebooks" / "kernel_nc1.ipynb").write_text(NOTEBOOK, encoding="utf-8")
    (folder / "pages" / "kernel_nc1.json").write_text('{"scale": "smoke"}', encoding="utf-8")
    for path in [*(ROOT / "book").glob(files), ROOT / "book" / "coverage.yml"]:
        text = change(path.name, path.read_text(encoding="utf-8"))
        (folder / "book" / path.name).write_text(text, encoding="utf-8")
    ledger = claims.ledger("smoke")
    ledger["rows"] = [{**row, "verdict": "holds", "reason": ""} for row in ledger["rows"]]
    (folder / "ledger.json").write_text(json.dumps(ledger), encoding="utf-8")
    return folder


def build(folder: Path):
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "-n", "--keep-going"]
    target = str(folder.with_name("html"))
    return subprocess.run(
        [*command, str(folder), target], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The pages of the reference as built, by name."""
    folder = write_tree(tmp_path_factory.mktemp("api") / "source")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    made = folder.with_name("html")
    pages = [*made.glob("book/api*.html"), made / "index.html"]
    return {
        page.stem: BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser") for page in pages
    }


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """One tree with every mistake that its authors can make."""

    def change(name, text):
        wrong = {"api.md": "\n```{api-module} duel\n```\n", "api_examples.yml": "metrics.nc9: x\n"}
        return (text + wrong.get(name, "")).replace("P2-KS-MIXED", "P2-KS-MIXTURE")

    folder = tmp_path_factory.mktemp("broken") / "source"
    return build(write_tree(folder, files="api[._][me][dx]*", change=change))


def test_every_public_name_has_a_docstring(library):
    for module in library.values():
        assert module.doc, module.name
        for name in module.names:
            assert name.doc, f"{module.name}.{name.name}"
            for method in name.methods:
                assert method.doc, f"{module.name}.{name.name}.{method.name}"


def undescribed(module, found) -> list[str]:
    """Arguments that neither an annotation, nor the docstring, nor the module tells about."""
    told = " ".join([module.doc, found.doc, *(name.doc for name in module.names)])
    return [
        name
        for name, annotated in found.arguments
        if not annotated and not re.search(rf"\b{re.escape(name)}\b", told)
    ]


@pytest.mark.book
def test_every_argument_of_what_a_page_uses_has_a_type_or_words(library, nc_source):
    pages, _ = nc_source.users(ROOT / "_build" / "smoke" / "notebooks")
    told = 0
    for module, found in functions(library):
        guard = found.name.startswith("check_")  # its words say what it refuses
        if f"{module.name.removeprefix('ncutils.')}.{found.name}" in pages and not guard:
            assert not undescribed(module, found), f"{module.name}.{found.name}"
            told += 1
    assert told > 80
    module = nc_source.Module("m", "m.py", "About x.")
    silent = nc_source.Name("f", "f(x, q)", "Of x.", 1, (("x", False), ("q", False)))
    assert undescribed(module, silent) == ["q"]


def test_who_lists_arguments_says_by_words_type_or_formula_what_comes_back(library):
    listed = [(m, f) for m, f in functions(library) if re.search(r"^Args:", f.doc, re.M)]
    assert len(listed) > 80
    for module, found in listed:
        told = "Returns" in found.doc or found.returns or "$$" in found.doc
        assert told, f"{module.name}.{found.name}"


def test_every_public_name_stands_in_the_reference(reference, library):
    ids = [tag["id"] for page in reference.values() for tag in page.select("[id^=api-]")]
    assert len(ids) == len(set(ids))
    for short, module in library.items():
        for name in module.names:
            mark = f"api-{short}.{name.name}".replace(".", "-").replace("_", "-")
            assert mark in ids, mark
    assert "api-metrics-nc9" not in ids


def test_a_signature_has_shapes_and_a_docstring_has_its_formulas(reference):
    entry = reference["api_measures"].find(id="api-metrics-nc1")
    words = entry.select_one("div.highlight").get_text()
    assert words.startswith('nc1(\n    H: Float[Array, "n p"],\n    y: Int[Array, " n"],')
    formulas = [span.get_text() for span in entry.select("span.math")]
    assert r"\(\mathrm{Tr}\,\Sigma_W / \mathrm{Tr}\,\Sigma_B\)" in formulas
    assert "$" not in entry.get_text().replace("$$", "")
    head = reference["api_measures"].find(id="api-metrics")
    assert head.select_one("div.math").get_text().strip().startswith(r"\[")


def test_a_name_leads_to_the_pages_and_modules_that_use_it(reference):
    line = reference["api_measures"].find(id="api-metrics-kernel-nc1").select("p.nc-provenance")[-1]
    places = {a["href"]: " ".join(a.get_text().split()) for a in line.select("a")}
    assert places["../notebooks/kernel_nc1.html"] == "From a kernel"
    line = reference["api_measures"].find(id="api-linalg-class-means").select_one("p.nc-provenance")
    assert "#api-metrics" in {a["href"] for a in line.select("a")}
    assert "line " in line.get_text()


def test_every_experiment_that_a_page_shows_is_listed(reference, nc_source):
    listed = {row.th.get_text() for row in reference["api"].select("table.nc-api-index tr")}
    shown = {cell.split("/")[0] for cells in nc_source.catalogue().values() for cell in cells}
    assert shown
    assert shown <= listed
    assert "catalogue" not in listed


def test_use_is_read_from_imports(nc_source):
    code = (
        "from ncutils import metrics, data as d\nfrom ncutils.training import Recipe\n"
        "def f(claims):\n    return metrics.nc1, d.load('digits'), claims.record, Recipe\n"
    )
    used = nc_source.used_names(code)
    assert {"metrics.nc1", "data.load", "training.Recipe"} <= used
    assert "claims.record" not in used, "a local name is none of ours"


def test_a_docstring_becomes_markdown(nc_source):
    nc_docstring = importlib.import_module("nc_docstring")
    doc = "First.\n\nArgs:\n    x: a $b$\n        c.\n\nRaises:\n    ValueError: if $$y = 1.$$\n"
    assert nc_docstring.markdown(doc).splitlines() == [
        *("First.", "", "**Args**", "", "- `x`: a $b$ c.", "", "**Raises**", ""),
        *("- `ValueError`: if", "  ", "  $$", "  y = 1.", "  $$"),
    ]


def test_no_page_of_the_reference_is_heavy(reference):
    assert len(reference) > 6
    for name, page in reference.items():
        assert len(str(page)) < 300_000, name


def test_the_coverage_is_counted_on_the_first_page(reference):
    page = reference["index"]
    done, everything = [int(span.get_text()) for span in page.select("span.nc-number")]
    assert 0 < done < everything == len(coverage.load())
    table = page.select_one("table.nc-coverage")
    assert len(table.select("tbody tr")) == 20
    assert "not done" in table.get_text()
    assert table.select(".nc-badge")


@pytest.mark.parametrize(
    "warning",
    [
        "no module 'duel'",
        "no page describes the module 'dual'",
        "an example for 'metrics.nc9', which does not exist",
        "no coverage: the list names unknown claims: P2-KS-MIXTURE",
    ],
)
def test_a_reference_with_a_gap_stops_the_build(broken, warning):
    assert broken.returncode == 1
    assert warning in broken.stderr


def failures(text: str, name: str) -> int:
    """How many examples of a text give something else than what stands there."""
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    runner = doctest.DocTestRunner(verbose=False)
    lines: list[str] = []
    runner.run(example, out=lines.append)
    assert runner.tries, f"{name} has no example"
    return runner.failures


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_runs_and_prints_what_stands_there(name, library):
    module, _, last = name.rpartition(".")
    assert last in {found.name for found in library[module].names}
    assert failures(EXAMPLES[name], name) == 0


def test_examples_in_docstrings_run(library):
    for module, found in functions(library):
        if ">>>" in found.doc:
            assert failures(found.doc, f"{module.name}.{found.name}") == 0


def test_a_wrong_example_is_noticed():
    assert failures(EXAMPLES["linalg.simplex_gram"].replace("-0.5", "-0.4"), "wrong") == 1


def test_the_examples_are_in_double_precision():
    assert jax.config.jax_enable_x64 is True
    assert jnp.zeros(1).dtype == "float64"
