"""What each product depends on, as one short hash.

Snakemake keeps the key of every file it made and makes it again when the key
has changed. Keys follow content, so neither a fresh checkout nor `touch` costs
anything, and each holds the keys it builds on, so a run that was killed
between two steps goes on where it was.

The configuration of a cell is code in the experiment's module, and the
checksums of the data sets are code in `ncutils.data` or versions in the lock:
the source and the lock cover them.
"""

import hashlib
import json
import os
from pathlib import Path

import yaml

from ncutils import workspace
from ncutils.experiments import catalogue

STAGING = tuple(f"pipeline/{name}.py" for name in ("stage", "launch", "plain"))


def digest(*parts: object) -> str:
    """A short hash of texts and of the contents of files."""
    found = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else str(part).encode()
        found.update(hashlib.sha256(content).digest())
    return found.hexdigest()[:16]


def _lock() -> Path:
    return workspace.project_root() / "requirements.lock"


def archived(scale: str, experiment: str, cell: str) -> Path:
    """Where a result of this scale is archived, if it is."""
    return workspace.project_root() / "results" / experiment / f"{cell}.{scale}.nc"


def cell(scale: str, experiment: str, name: str) -> str:
    """Key of a result: what the experiment's module reaches by imports, and the lock."""
    return digest(scale, experiment, name, workspace.experiment_digest(experiment))


def page(scale: str, name: str) -> str:
    """Key of an executed notebook: its source, its results, and the claims it judges."""
    root = workspace.project_root()
    cells = [needed.split("/") for needed in catalogue.PAGES[name]]
    kept = [*cells, *(longer.split("/") for longer in catalogue.LONGER.get(name, ()))]
    text = (root / "claims.yml").read_text(encoding="utf-8")
    rows = yaml.load(text, Loader=yaml.CSafeLoader) or []
    return digest(
        scale,
        workspace.source_digest(root / "notebooks" / f"{name}.py"),
        *sorted((root / "ncutils").glob("*.mplstyle")),
        root / "pipeline" / "execute.py",
        json.dumps([row for row in rows if row.get("page") == name], default=str),
        _lock(),
        *(cell(scale, *needed) for needed in cells),
        *(
            file
            for needed in kept
            for file in sorted(archived("*", *needed).parent.glob(archived("*", *needed).name))
        ),
    )


def ledger(scale: str) -> str:
    """Key of the ledger: the rows, the rule that judges, and every page that measures."""
    root = workspace.project_root()
    rule = workspace.source_digest("ncutils.claims")
    return digest(root / "claims.yml", rule, *(page(scale, name) for name in catalogue.PAGES))


def book(scale: str) -> str:
    """Key of the HTML: the ledger, the prose, and how it is put together."""
    root = workspace.project_root()
    prose = [path for path in sorted((root / "book").rglob("*")) if path.is_file()]
    return digest(
        ledger(scale),
        *(root / name for name in ("_config.yml", "_toc.yml", *STAGING)),
        os.environ.get("NCUTILS_REPOSITORY", ""),  # where the buttons lead
        *sorted((root / "ncutils").rglob("*.py")),  # the reference shows them
        *(f"{path.relative_to(root)}{digest(path)}" for path in prose if path.suffix != ".pyc"),
    )


def stale(scale: str) -> list[str]:
    """Results and pages made by hand, or elsewhere, from something else than what is here.

    Snakemake knows the keys of what it made itself. A result or a page that was made
    without it carries its own: an attribute of the one, an entry in the record of the other.

    Returns:
        Their paths, relative to the project's folder.
    """
    import h5py  # a moment's wait, which only a build has to take

    root, build = workspace.project_root(), workspace.build_dir(scale)
    found = []
    for name, needed in catalogue.PAGES.items():
        record = build / "pages" / f"{name}.json"
        if record.is_file() and json.loads(record.read_text("utf-8")).get("key") != page(
            scale, name
        ):
            found.append(record)
        for one in needed:
            result = build / "results" / f"{one}.nc"
            if result.is_file():
                with h5py.File(result) as file:
                    made = file.attrs.get("source", "unknown")
                if made != workspace.experiment_digest(one.split("/")[0]):
                    found.append(result)
    return sorted({str(path.relative_to(root)) for path in found})
