"""The reference describes the whole library, and its examples run."""

import doctest
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from bs4 import BeautifulSoup

from book.ext import reference
from ncutils.records import claims, coverage
from tests.book import tree
from tests.book.tree import ROOT

INDEX = """# A book

```{toctree}
:glob:
book/api*
notebooks/*/*
ledger
```

{covered}`done` of {covered}`all`.

```{coverage-count}
```

```{coverage} seleznova2023
:figures:
```
"""
CODE = "from ncutils import metrics\nmetrics.align"
PAGE = "kothapalli2025/kernel_nc1"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The library as the reference reads it, on a tree with one page."""
    return reference.Library(write_page(tmp_path_factory.mktemp("library")))


@pytest.fixture(scope="module")
def names(library):
    """Every name that the reference has to describe, by its public path."""
    found = {}
    for room in library.rooms:
        for _, _, names in library.sections(room):
            found |= {name: one for name, one in names.items() if not one.is_attribute}
    return found


def write_page(folder: Path) -> Path:
    """A page that reads one case and uses one function of the library."""
    book = tree.notebook("# From a kernel", tree.code(CODE))
    record = {"page": PAGE, "scale": "smoke", "results": [{"case": f"{PAGE}/identity"}]}
    tree.write(folder, {f"notebooks/{PAGE}.ipynb": book, f"pages/{PAGE}.json": record})
    return folder


def functions(names):
    """All public functions and methods, with the public path of each."""
    for name, one in names.items():
        for found in (one, *reference.methods(one)):
            if found.is_function:
                yield name, found


def write_tree(folder: Path, *, change=lambda name, text: text) -> Path:
    """The pages of the reference with the real lists of coverage and a ledger that holds."""
    ledger = claims.ledger("smoke")
    ledger["rows"] = [{**row, "verdict": "holds", "reason": ""} for row in ledger["rows"]]
    tree.write_tree(folder, index=INDEX)
    tree.write(folder, {"ledger.json": ledger})
    write_page(folder)
    for path in [*(ROOT / "book").glob("api*.md"), *(ROOT / "claims").glob("*.yml")]:
        text = change(path.name, path.read_text(encoding="utf-8"))
        tree.write(folder, {path.relative_to(ROOT).as_posix(): text})
    for path in (folder / "notebooks" / "one2020").glob("*"):
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The pages of the reference as built, by name."""
    folder = write_tree(tmp_path_factory.mktemp("api") / "source")
    done = tree.build(folder)
    assert done.returncode == 0, done.stderr
    pages = [*tree.html(folder).glob("book/api*.html"), tree.html(folder) / "index.html"]
    return {
        page.stem: BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser") for page in pages
    }


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """One tree with every mistake that its authors can make."""

    def change(name, text):
        wrong = {"api.md": "\n```{api-module} metrix\n```\n"}
        return (text + wrong.get(name, "")).replace("P2-KS-MIXED", "P2-KS-MIXTURE")

    folder = tmp_path_factory.mktemp("broken") / "source"
    folder = write_tree(folder, change=change)
    (folder / "book" / "api_measures.md").unlink()
    ledger = json.loads((folder / "ledger.json").read_text(encoding="utf-8"))
    ledger["rows"] = [row for row in ledger["rows"] if row["id"] != "P2-KS-MIXED"]
    tree.write(folder, {"ledger.json": ledger})
    return tree.build(folder)


def test_every_public_name_has_a_docstring(library, names):
    for room, module in library.rooms.items():
        assert module.docstring, room
    for name, one in names.items():
        assert one.docstring, name
        for method in reference.methods(one):
            assert method.docstring, f"{name}.{method.name}"


def undescribed(one) -> list[str]:
    """Arguments that neither an annotation, nor the docstring, nor the module tells about."""
    around = [one.module, *one.module.functions.values(), one]
    told = " ".join(part.docstring.value for part in around if part.docstring)
    return [
        part.name
        for part in one.parameters
        if part.annotation is None
        and part.default is None
        and part.name not in ("self", "cls")
        and str(part.kind.value).removeprefix("variadic ") != "keyword"
        and not re.search(rf"\b{re.escape(part.name)}\b", told)
    ]


@pytest.mark.book
def test_every_argument_of_what_a_page_uses_has_a_type_or_words(names):
    pages, _ = reference.Library(ROOT / "_build" / "smoke" / "source").users
    told = 0
    for name, one in functions(names):
        guard = one.name.startswith("check_")  # its words say what it refuses
        if one.canonical_path in pages and not guard:
            assert not undescribed(one), name
            told += 1
    assert told > 80


def test_an_argument_without_a_type_or_words_would_be_noticed(tmp_path):
    tree.write(tmp_path, {"silent.py": '"""About x."""\ndef f(x, q, p=1):\n    """Of x."""\n'})
    silent = reference.griffe.load("silent", search_paths=[tmp_path])
    assert undescribed(silent["f"]) == ["q"]


def test_who_lists_arguments_says_by_words_type_or_formula_what_comes_back(names):
    listed = [
        (name, one)
        for name, one in functions(names)
        if re.search(r"^Args:", one.docstring.value, re.M)
    ]
    assert len(listed) > 80
    for name, one in listed:
        doc = one.docstring.value
        assert "Returns" in doc or one.returns is not None or "$$" in doc, name


def test_every_public_name_stands_in_the_reference(built, names):
    ids = [tag["id"] for page in built.values() for tag in page.select("[id^=api-]")]
    assert len(ids) == len(set(ids))
    assert len(names) > 150
    for name in names:
        mark = f"api-{name}".replace(".", "-").replace("_", "-")
        assert mark in ids, mark
    assert "api-metrics-nc9" not in ids


def test_each_thing_is_described_once_in_its_room(library, names):
    homes = [(name.partition(".")[0], one.canonical_path) for name, one in names.items()]
    assert sorted({home for home in homes if homes.count(home) > 1}) == []
    assert library.names["kernels.nngp"] == "ncutils.kernels.limits.nngp"
    assert "kernels.limits.nngp" not in names
    assert "records.claims.load" in names


def test_a_signature_has_shapes_and_a_docstring_has_its_formulas(built):
    entry = built["api_measures"].find(id="api-metrics-nc1")
    words = entry.select_one("div.highlight").get_text()
    assert words.startswith('nc1(\n    H: Float[Array, "n p"],\n    y: Int[Array, " n"],')
    formulas = [span.get_text() for span in entry.select("span.math")]
    assert r"\(\mathrm{Tr}\,\Sigma_W / \mathrm{Tr}\,\Sigma_B\)" in formulas
    assert "$" not in entry.get_text().replace("$$", "")
    head = built["api_measures"].find(id="api-metrics-features")
    assert head.select_one("div.math").get_text().strip().startswith(r"\[")


def test_a_name_leads_to_the_pages_and_rooms_that_use_it(built):
    entry = built["api_measures"].find(id="api-metrics-kernel-nc1")
    line = entry.select("p.nc-provenance")[-1]
    places = {a["href"]: " ".join(a.get_text().split()) for a in line.select("a")}
    assert places["../notebooks/kothapalli2025/kernel_nc1.html"] == "From a kernel"
    line = built["api_measures"].find(id="api-linalg-class-means").select_one("p.nc-provenance")
    assert "#api-metrics" in {a["href"] for a in line.select("a")}
    assert re.search(r"ncutils/linalg.py, line \d+", line.get_text())


def test_every_experiment_is_listed_with_the_pages_that_show_it(built):
    table = built["api"].select("table.nc-api-index")[-1]
    lines = {line.th.get_text(): line.td for line in table.select("tbody tr")}
    drawers = ROOT.glob("ncutils/experiments/*/[!_]*.py")
    assert set(lines) == {f"{path.parent.name}/{path.stem}" for path in drawers}
    assert lines[PAGE].a["href"] == f"../notebooks/{PAGE}.html"


def test_use_is_read_from_imports(library):
    code = (
        "from ncutils import kernels, data as d\nfrom ncutils.training import Recipe\n"
        "def f(claims):\n    return kernels.nngp, d.load('digits'), claims.record, Recipe\n"
    )
    used = library.used(code)
    assert {"ncutils.kernels.limits.nngp", "ncutils.data.sets.load"} <= used
    assert "ncutils.training.recipe.Recipe" in used
    assert not any("record" in name for name in used), "a local name is none of ours"


DOC = '''
"""First.

    Args:
        x: a $b$
            c.

    Returns:
        Not here: there.

    Raises:
        ValueError: if $$y = 1.$$

    Example:
        >>> f(1)
        2

    Args, Raises: as for `g`.
    Source: P1 Eq. (3). Differs.
    """
'''


def test_a_docstring_becomes_markdown(tmp_path):
    tree.write(tmp_path, {"toy_doc.py": f"def f(x):\n    {DOC.strip()}\n"})
    one = reference.griffe.load("toy_doc", search_paths=[tmp_path])["f"]
    assert reference.markdown(one).split("\n\n") == [
        *("First.", "**Args**", "- `x`: a $b$ c.", "**Returns.** Not here: there."),
        *("**Raises**", "- `ValueError`: if\n  \n  $$\n  y = 1.\n  $$"),
        *("**Example**", "```pycon\n>>> f(1)\n2\n```", "**Args, Raises.** as for `g`."),
        "**Source.** P1 Eq. (3). Differs.",
    ]


def test_no_page_of_the_reference_is_heavy(built):
    assert len(built) > 6
    for name, page in built.items():
        assert len(str(page)) < 300_000, name


def test_the_coverage_is_counted_on_the_first_page(built):
    page = built["index"]
    done, everything = [int(span.get_text()) for span in page.select("span.nc-number")]
    assert 0 < done < everything == len(coverage.load())
    table = page.select_one("table.nc-coverage")
    assert len(table.select("tbody tr")) == 20
    assert "not done" in table.get_text()
    assert table.select(".nc-badge")


@pytest.mark.parametrize(
    "warning",
    [
        "no module 'metrix'; there are agop, block_ntk",
        "no page describes the module 'metrics'",
        "no coverage: the list names unknown claims: P2-KS-MIXTURE",
    ],
)
def test_a_reference_with_a_gap_stops_the_build(broken, warning):
    assert broken.returncode == 1
    assert warning in broken.stderr


def failures(text: str, name: str) -> int:
    """How many examples of a text give something else than what stands there."""
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    lines: list[str] = []
    runner.run(example, out=lines.append)
    assert runner.tries, f"{name} has no example"
    return runner.failures


def test_examples_in_docstrings_run(names):
    everything = [*names.items(), *functions(names)]
    shown = {name: one.docstring.value for name, one in everything if ">>>" in one.docstring.value}
    shown = shown.items()
    assert len(shown) > 12
    for name, doc in shown:
        assert failures(doc, name) == 0, name


def test_a_wrong_example_is_noticed():
    right = ">>> from ncutils import linalg\n>>> float(linalg.simplex_gram(3)[0, 1])\n-0.5\n"
    assert failures(right, "right") == 0
    assert failures(right.replace("-0.5", "-0.4"), "wrong") == 1


def test_the_examples_are_in_double_precision():
    assert jax.config.jax_enable_x64 is True
    assert jnp.zeros(1).dtype == "float64"
