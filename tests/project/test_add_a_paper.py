"""A paper goes from nothing to a typeset page: five things under its key, one line of contents."""

import json
import shutil
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tests import toy

KEY = "toy2024"
DRAWER = Path(__file__).with_name(KEY)
CONTENTS = "format: jb-book\nroot: book/index\nchapters:\n"
LINE = f"  - file: notebooks/{KEY}/drift\n"


def files(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and "_build" not in path.parts
    }


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    """A project without any paper, before and after the toy paper is added."""
    root = toy.bare(tmp_path_factory.mktemp("house") / "project")
    (root / "_toc.yml").write_text(CONTENTS, encoding="utf-8")
    before = files(root)
    shutil.copytree(DRAWER, root, dirs_exist_ok=True)
    (root / "_toc.yml").write_text(CONTENTS + LINE, encoding="utf-8")
    return root, before, files(root)


@pytest.fixture(scope="module")
def built(added):
    """The project after one build."""
    root, *_ = added
    status, text = toy.build(root, target="book.json")
    assert status == 0, text
    return root


def test_nothing_is_touched_but_the_key_and_one_line_of_the_contents(added):
    _, before, after = added
    changed = {name for name in after if after[name] != before.get(name)}
    assert not before.keys() - after.keys()
    assert {name for name in changed if KEY not in name} == {"_toc.yml"}
    assert {Path(name).parts[0] for name in changed} == {
        "_toc.yml",
        "claims",
        "ncutils",
        "notebooks",
        "tests",
    }
    assert after["_toc.yml"].count(b"\n") == before["_toc.yml"].count(b"\n") + 1


def test_the_case_is_computed_the_page_executed_and_the_claim_judged(built):
    record = json.loads((built / f"_build/smoke/pages/{KEY}/drift.json").read_text())
    assert [one["case"] for one in record["results"]] == [f"{KEY}/drift/apart"]
    ledger = json.loads((built / "_build/smoke/ledger.json").read_text())
    assert ledger["papers"][KEY]["tag"] == "T4"
    (row,) = ledger["rows"]
    assert (row["verdict"], row["page"], row["n"]) == ("holds", f"{KEY}/drift", 3)
    assert row["of"] == [f"{KEY}/drift/apart"]


def test_the_typeset_page_has_badge_figure_and_verdicts(built):
    path = built / f"_build/smoke/html/notebooks/{KEY}/drift.html"
    page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    assert page.h1.get_text().startswith("Two means drift apart")
    assert "holds" in page.select_one("article").get_text()
    assert page.select("article img[src*='t4-drift']")
    assert "NC1 falls when two classes move apart" in page.get_text()


def test_the_tests_of_the_drawer_pass(added):
    root, *_ = added
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", f"tests/{KEY}")
    status, text = toy.run(root, *words)
    assert status == 0, text
    assert "1 passed" in text
