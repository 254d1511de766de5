"""What a page offers to take away: notebooks, data, and the whole book as a PDF."""

import os
import zipfile
from pathlib import Path

import pytest

from pipeline import launch, stage
from tests.book import tree

CHAPTER, OTHER, BARE = PAGES = [f"one2020/{name}" for name in ("chapter", "other", "bare")]


def staged(folder: Path) -> Path:
    """A staged book: a first page, a chapter with a figure, one with buttons, one with nothing."""
    named = "\n".join(f"notebooks/{page}" for page in PAGES)
    files = {"nc": "f.nc", "csv": "f.csv", "svg": "f.svg"}
    tree.write_tree(folder, rows=[], index=f"# A book\n\n```{{toctree}}\n{named}\nledger\n```\n")
    tree.write(
        folder,
        {
            "figures/f.json": {"id": "f", "page": CHAPTER, "files": files},
            "figures/f.nc": "arrays",
            "figures/f.csv": "a,b\n1,2\n",
            "figures/f.svg": "<svg/>",
            "launch/index.json": {
                CHAPTER: {"buttons": {}},
                OTHER: {"buttons": launch.buttons(OTHER, "someone/collapse")},
            },
            **{f"notebooks/{page}.ipynb": tree.notebook("# A page\n\nText.") for page in PAGES},
            **{f"pages/{page}.json": {"page": page, **tree.RECORD} for page in PAGES},
            **{f"launch/{page}.ipynb": {} for page in PAGES},
        },
    )
    assert stage.bundle(folder, CHAPTER, folder / "data" / f"{CHAPTER}-smoke.zip")
    return folder


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The folder of that book, typeset."""
    folder = staged(tmp_path_factory.mktemp("offers") / "source")
    done = tree.build(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_page_offers_notebooks_and_data_and_the_command_without_a_repository(book):
    page = tree.read(book, f"notebooks/{CHAPTER}.html")
    offers = page.select_one("h1 ~ p.nc-offers")
    above = page.select_one("p.nc-page-line")
    assert above.find_next_sibling("p") == offers, "under the line that says how it was made"
    links = {a.get_text().partition(" (")[0]: a["href"] for a in offers.select("a")}
    assert list(links) == ["executed notebook", "data of its figures", "notebook to run"]
    for address in links.values():
        assert (tree.html(book) / "notebooks" / "one2020" / address).resolve().is_file(), address
    assert ".venv/bin/papermill chapter.ipynb" in offers.get_text()


def test_a_page_offers_buttons_where_the_repository_is_known(book):
    offers = tree.read(book, f"notebooks/{OTHER}.html").select_one("p.nc-offers")
    links = {a.get_text(): a["href"] for a in offers.select("a")}
    assert launch.buttons(OTHER, "someone/collapse").items() <= links.items()
    assert "papermill" not in offers.get_text()
    assert "data" not in offers.get_text(), "it has no figures"


def test_a_page_without_a_notebook_to_run_offers_nothing(book):
    assert not tree.read(book, f"notebooks/{BARE}.html").select("p.nc-offers")


def test_without_a_pdf_the_first_page_has_no_link_to_one(book):
    (place,) = tree.read(book, "index.html").select("p.nc-pdf[hidden]")
    assert place.get_text() == ""


def test_the_data_of_a_page_are_the_same_bytes_for_the_same_content(tmp_path):
    source = staged(tmp_path / "source")
    bundled = source / "data" / f"{CHAPTER}-smoke.zip"
    first = bundled.read_bytes()
    for file in (source / "figures").iterdir():
        os.utime(file, (1e9, 1e9))
    stage.bundle(source, CHAPTER, bundled)
    assert bundled.read_bytes() == first
    with zipfile.ZipFile(bundled) as made:
        names = {Path(name).name for name in made.namelist()}
        assert names == {"chapter.json", "f.json", "f.nc", "f.csv"}
        assert made.read("chapter-smoke/f.csv") == b"a,b\n1,2\n"
    assert not stage.bundle(source, BARE, source / "data" / "bare.zip")
    assert not (source / "data" / "bare.zip").exists()
