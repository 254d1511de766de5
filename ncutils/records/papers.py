"""The papers of the book: one file `claims/KEY.yml` each, which says what the paper is called.

KEY is the paper's BibTeX key, and the name of its drawer in every cupboard.
"""

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from ncutils.records import workspace


@dataclass(frozen=True)
class Paper:
    """A paper of the book.

    Attributes:
        key: BibTeX key.
        tag: short mark of the paper, as in its claims' ids: "P1".
        title: its title.
        short: what the book calls it where there is little room.
        figures: how many figures it has.
    """

    key: str
    tag: str
    title: str
    short: str
    figures: int


def claims_folder() -> Path:
    """The folder with one file for each paper."""
    return workspace.project_root() / "claims"


def files() -> list[Path]:
    """The files of the papers, in the order in which the book has their pages."""
    folder = claims_folder()
    contents = folder.parent / "_toc.yml"
    text = contents.read_text(encoding="utf-8") if contents.is_file() else ""
    pages = re.findall(r"^\s*-\s*file:\s*notebooks/([^/\s]+)/", text, flags=re.MULTILINE)
    order = {key: place for place, key in enumerate(dict.fromkeys(pages))}
    return sorted(
        folder.glob("*.yml"), key=lambda path: (order.get(path.stem, len(order)), path.stem)
    )


def read(path: Path) -> dict:
    """One paper's file: its keys `paper`, `claims` and `coverage`.

    Raises:
        ValueError: for a file of another form, naming it.
    """
    stat = path.stat()
    return _read(path, (stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=32)
def _read(path: Path, stamp: tuple[int, int]) -> dict:  # noqa: ARG001 (tells versions apart)
    # The parser in C is seven times faster, and a page records dozens of claims.
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) or {}
    known = {"paper", "claims", "coverage"}
    if not isinstance(content, dict) or "paper" not in content or content.keys() - known:
        raise ValueError(f"{path.name}: needs `paper:`, and may have `claims:` and `coverage:`")
    fields = Paper.__dataclass_fields__.keys()
    row = {"key": path.stem, **content["paper"]}
    if row.keys() != fields or row["key"] != path.stem:
        raise ValueError(f"{path.name}: `paper:` needs {', '.join(fields)}, and key {path.stem}")
    return content


def load() -> dict[str, Paper]:
    """The papers by key, in the order of the book.

    Raises:
        ValueError: for a file of another form, or two papers with one tag.
    """
    found = {path.stem: Paper(**{"key": path.stem, **read(path)["paper"]}) for path in files()}
    tags = [paper.tag for paper in found.values()]
    if twice := sorted({tag for tag in tags if tags.count(tag) > 1}):
        raise ValueError(f"two papers have the tag {', '.join(twice)}")
    return found
