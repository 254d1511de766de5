"""Put the sources of the book together and typeset them: `python -m pipeline.stage`.

The tree `_build/<scale>/source/` holds the prose, the executed notebooks, the
ledger, figures and page records that the book's extensions read, and for each
page its data in one file and a notebook to run. Nothing else of the project is
in it, so nothing else can end up on a page. The HTML replaces the old one only
when it is complete.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

from ncutils._files import write_atomically
from ncutils.records import claims, workspace
from pipeline import build as plan
from pipeline import house, launch

PDF = "neural-collapse.pdf"  # beside the HTML, made from it by pipeline/pdf.py
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in a bundle: the same content, the same bytes


def bundle(source: Path, page: str, target: Path) -> bool:
    """Put a page's record and the arrays of its figures into one ZIP file.

    Args:
        source: a staged tree with `figures/` and `pages/`.
        page: "KEY/PAGE".
        target: the file to write.

    Returns:
        Whether the page has figures; without any, no file is written.
    """
    files = [source / "pages" / f"{page}.json"]
    for about in sorted((source / "figures").glob("*.json")):
        figure = json.loads(about.read_text(encoding="utf-8"))
        if figure.get("page") == page:
            names = [figure["files"][kind] for kind in ("csv", "nc") if kind in figure["files"]]
            files += [about, *(about.with_name(Path(name).name) for name in names)]
    if len(files) == 1:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as made:
        for file in files:
            about = zipfile.ZipInfo(f"{target.stem}/{file.name}", EPOCH)
            about.external_attr = 0o644 << 16
            made.writestr(about, file.read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=6)
    return True


def copy_results(source: Path, scale: str) -> None:
    """Copy the result files that the pages' records name: the ledger offers them."""
    for record in (source / "pages").rglob("*.json"):
        for used in json.loads(record.read_text(encoding="utf-8")).get("results", []):
            # A page may read a longer run, which is archived under a size of its own.
            file = plan.archived(used.get("scale", scale), used["case"])
            if not file.is_file():
                file = workspace.build_dir(scale) / "results" / f"{used['case']}.nc"
            if file.is_file():
                target = source / "results" / f"{used['case']}.nc"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)


def stage(scale: str) -> Path:
    """Copy what the book is made of into `_build/<scale>/source/`, from nothing."""
    root, build = workspace.project_root(), workspace.build_dir(scale)
    source = build / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(root / name, source)
    shutil.copytree(root / "book", source / "book", ignore=shutil.ignore_patterns("__pycache__"))
    house.write(source / "book")
    shutil.copytree(root / "claims", source / "claims")
    for page in plan.pages():  # and no notebook of a page that there was once
        target = source / "notebooks" / f"{page}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(build / "notebooks" / f"{page}.ipynb", target)
    for folder in ("figures", "pages"):
        if (build / folder).is_dir():
            shutil.copytree(build / folder, source / folder)
    copy_results(source, scale)
    shutil.copy(build / "ledger.json", source)
    for page in plan.pages():
        bundle(source, page, source / "data" / f"{page}-{scale}.zip")
    rows = json.loads((build / "ledger.json").read_text(encoding="utf-8"))["rows"]
    launch.write(root, source, rows)
    return source


def typeset(source: Path, html: Path) -> None:
    """Build the HTML, every warning an error, and put it in place when it is whole.

    Raises:
        SystemExit: with the warnings, if Sphinx has any.
    """
    made = source.parent / "typeset"
    shutil.rmtree(made, ignore_errors=True)
    command = Path(sys.executable).with_name("jupyter-book")
    words = [command, "build", ".", "-W", "-n", "--keep-going", "--path-output", made]
    if subprocess.run(words, cwd=source, check=False).returncode:
        sys.exit("the book has warnings, which are errors here: see above")
    old = html.with_name("html.old")
    shutil.rmtree(old, ignore_errors=True)
    if html.exists():
        html.rename(old)
    (made / "_build" / "html").rename(html)
    shutil.rmtree(old, ignore_errors=True)


def scorecard_line(ledger: dict) -> str:
    """How many claims there are and how they stand, in one line."""
    counts = Counter(row["verdict"] for row in ledger["rows"])
    words = [f"{counts[verdict]} {verdict}" for verdict in claims.VERDICTS if counts[verdict]]
    return f"{len(ledger['rows'])} claims: " + (", ".join(words) or "none yet")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.stage", description=__doc__)
    parser.add_argument("--scale", choices=workspace.SCALES, required=True)
    scale = parser.parse_args().scale
    started = time.perf_counter()
    build = workspace.build_dir(scale)
    typeset(stage(scale), build / "html")
    (build / PDF).unlink(missing_ok=True)  # of the book that was here before
    ledger = json.loads((build / "ledger.json").read_text(encoding="utf-8"))
    record = {
        "scale": scale,
        "typeset_seconds": round(time.perf_counter() - started, 1),
        "scorecard": scorecard_line(ledger),
    }
    write_atomically(
        build / "book.json", lambda part: part.write_text(json.dumps(record), encoding="utf-8")
    )


if __name__ == "__main__":
    main()
