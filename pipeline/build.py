"""Build the book at one scale and say what happened: `python -m pipeline.build`.

Snakemake redoes only what is stale, and this module shows one line for each job; what failed is
shown with the end of its log. Here also stands what Snakemake asks: which page needs which
case, read from the page's own `results.load("KEY/MODULE/CASE", scale=SCALE)`, and the key of
each product, a short hash of what it depends on. Keys follow meaning, so neither a fresh
checkout nor `touch` nor a comment costs anything, and each holds the keys it builds on, so a
run that was killed between two steps goes on where it was.
"""

import argparse
import ast
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ncutils import experiments
from ncutils.records import digest as meaning
from ncutils.records import papers, workspace

STAGING = (
    "pipeline/stage.py",
    "pipeline/launch.py",
    "pipeline/house.py",
    "pipeline/templates/opening.md",
    "requirements/resolve.py",
)
STARTED = re.compile(r"^Job \d+: (.+)$")
PROGRESS = re.compile(r"^(\d+ of \d+ steps) \(\d+%\) done$")
ROUTINE = re.compile(
    r"^(Assuming|Building DAG|Using shell|Provided|Rules claiming|Job stats|job +count|-+ +-+"
    r"|\w+ +\d+$|Select jobs|Execute \d|\[\w{3} \w{3} .*\]|Finished jobid|Complete log|Elapsed"
    r"|Nothing to be done|Shutting down|Exiting because|Will exit|Reason:|$)"
)
LOG = re.compile(r"^ +log: (\S+)")
TAIL = 80  # lines of a failed job's log


# --- what there is to do --------------------------------------------------------------------


def source_of(page: str) -> Path:
    """The notebook of a page "KEY/PAGE"."""
    return workspace.project_root() / "notebooks" / f"{page}.py"


def pages() -> list[str]:
    """The pages of the book that are notebooks, "KEY/PAGE", in its order.

    Raises:
        ValueError: for a page without a notebook, or of a paper without a file of claims.
    """
    contents = workspace.project_root() / "_toc.yml"
    text = contents.read_text(encoding="utf-8")
    named = re.findall(r"^\s*-\s*file:\s*notebooks/(\S+)\s*$", text, flags=re.MULTILINE)
    known = {path.stem for path in papers.files()}
    for page in named:
        key = page.partition("/")[0]
        if not source_of(page).is_file():
            raise ValueError(f"_toc.yml names notebooks/{page}: write notebooks/{page}.py")
        if key not in known:
            raise ValueError(
                f"the page {page} is of a paper without claims: write claims/{key}.yml with "
                "`paper:`, its title and number of figures"
            )
    return named


@dataclasses.dataclass(frozen=True)
class Uses:
    """What a page names, read from its source.

    Attributes:
        loads: the cases that it loads, and at which size: None for the book's scale.
        runs: the cases that it runs itself.
        drawers: the papers whose figures it draws.
    """

    loads: tuple[tuple[str, str | None], ...]
    runs: tuple[str, ...]
    drawers: tuple[str, ...]


def uses(page: str) -> Uses:
    """What a page names.

    Raises:
        ValueError: naming the line, where a case's name is not written out.
    """
    path = source_of(page)
    stat = path.stat()
    return _uses(path, (stat.st_mtime_ns, stat.st_size))


@functools.cache
def _uses(path: Path, stamp: tuple[int, int]) -> Uses:  # noqa: ARG001 (tells versions apart)
    loads, runs, drawers = [], [], []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "figures":
            drawers.append(node.attr)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called not in ("results.load", "experiments.run"):
            continue
        name = node.args[0] if node.args else None
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            raise ValueError(
                f"notebooks/{path.parent.name}/{path.name}, line {node.lineno}: write the case's "
                f'name out, {called}("KEY/MODULE/CASE", scale=…)'
            )
        size = next((word.value for word in node.keywords if word.arg == "scale"), None)
        if called == "results.load":
            loads.append((name.value, size.value if isinstance(size, ast.Constant) else None))
        else:
            runs.append(name.value)
    return Uses(*(tuple(dict.fromkeys(found)) for found in (loads, runs, drawers)))


def cases_of(page: str) -> list[str]:
    """The cases that a page needs at the book's scale.

    Raises:
        ValueError: naming the page, for a case that is not there or lacks a scale, or that
            the page runs itself and that is not there.
    """
    used = uses(page)
    names = [name for name, size in used.loads if size is None]
    for name in (*names, *used.runs):
        try:
            _known(name)
        except ValueError as error:
            raise ValueError(f"notebooks/{page}.py: {error}") from error
    return names


@functools.cache
def _known(name: str) -> str:
    return experiments.check(name)


def longer_runs(page: str) -> list[tuple[str, str]]:
    """The archived runs of a size of their own that a page shows."""
    return [(name, size) for name, size in uses(page).loads if size is not None]


def archived(scale: str, case: str) -> Path:
    """Where a result of this scale is archived, if it is."""
    return workspace.project_root() / "results" / f"{case}.{scale}.nc"


# --- what each product depends on -----------------------------------------------------------


def digest(*parts: object) -> str:
    """A short hash of texts and of the contents of files."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else str(part).encode()
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()[:16]


def case_key(scale: str, case: str) -> str:
    """Key of a result: what the case's function reaches, and the lock."""
    return digest(scale, case, meaning.case_digest(case))


def page_key(scale: str, page: str) -> str:
    """Key of an executed notebook: its source, its results, and the claims it judges.

    Its source is the page, the code that it imports, the figures of the papers that it draws
    and the cases that it runs itself.
    """
    root = workspace.project_root()
    source = source_of(page)
    key, _, name = page.partition("/")
    rows = papers.read(papers.claims_folder() / f"{key}.yml").get("claims") or []
    used = [*cases_of(page), *(case for case, _ in longer_runs(page))]
    drawers = [root / "ncutils" / "figures" / f"{name}.py" for name in uses(page).drawers]
    return digest(
        scale,
        source,
        meaning.source_digest(source, outside=("ncutils", "ncutils.experiments")),
        *(meaning.source_digest(path, outside=("ncutils",)) for path in drawers if path.is_file()),
        *sorted((root / "ncutils").rglob("*.mplstyle")),
        root / "pipeline" / "execute.py",
        json.dumps([row for row in rows if row.get("page") == name], default=str),
        root / "requirements.lock",
        *(case_key(scale, case) for case in (*cases_of(page), *uses(page).runs)),
        *(
            file
            for case in used
            for file in sorted((root / "results" / case).parent.glob(f"{Path(case).name}.*.nc"))
        ),
    )


def ledger_key(scale: str) -> str:
    """Key of the ledger: the rows, the rule that judges, and every page that measures."""
    rule = meaning.source_digest("ncutils.records.claims", outside=())
    return digest(*papers.files(), rule, *(page_key(scale, page) for page in pages()))


def book_key(scale: str) -> str:
    """Key of the HTML: the ledger, the prose, and how it is put together."""
    root = workspace.project_root()
    prose = [path for path in sorted((root / "book").rglob("*")) if path.is_file()]
    return digest(
        ledger_key(scale),
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

    root, folder = workspace.project_root(), workspace.build_dir(scale)
    old = set()
    for page in pages():
        record = folder / "pages" / f"{page}.json"
        if record.is_file():
            made = json.loads(record.read_text("utf-8")).get("key")
            if made != page_key(scale, page):
                old.add(record)
        for case in cases_of(page):
            result = folder / "results" / f"{case}.nc"
            if result.is_file():
                with h5py.File(result) as file:
                    made = file.attrs.get("source", "unknown")
                if made != meaning.case_digest(case):
                    old.add(result)
    return sorted(str(path.relative_to(root)) for path in old)


# --- running it -----------------------------------------------------------------------------


def hold(build: Path):
    """Keep this scale to ourselves; the operating system lets go however we end.

    Raises:
        SystemExit: if another run is at work on the same scale.
    """
    build.mkdir(parents=True, exist_ok=True)
    handle = (build / ".running").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another run is at work on {build}: wait for it, or end it")
    return handle


def link(name: str, target: Path) -> None:
    """Let `_build/<name>` point at this scale's folder, in one step."""
    place = target.parent.parent / name
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    fresh = place.with_name(f".{name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.relative_to(place.parent), target_is_directory=True)
    fresh.replace(place)


def follow(process: subprocess.Popen, started: float, log: Path) -> list[str]:
    """Show a running Snakemake's news as they come; return the logs of failed jobs."""
    failed = []
    with log.open("w", encoding="utf-8") as file:
        for line in map(str.rstrip, process.stdout or ()):
            file.write(line + "\n")
            file.flush()
            if news := STARTED.match(line) or PROGRESS.match(line):
                print(f"[{time.perf_counter() - started:5.0f} s] {news[1]}", flush=True)
            elif not ROUTINE.match(line):
                print(line, flush=True)
            if found := LOG.match(line):
                failed.append(found[1])
    return failed


def build(scale: str, *, cores: int, target: str, extra: Sequence[str] = ()) -> int:
    """Make one file of one scale with everything it needs.

    Args:
        scale: "smoke", "quick" or "paper".
        cores: jobs at a time.
        target: the file, relative to the scale's folder.
        extra: more options for Snakemake, such as those of a cluster.

    Returns:
        Snakemake's exit status; zero if all is up to date.
    """
    root, folder = workspace.project_root(), workspace.build_dir(scale)
    with hold(folder) as lock:
        if not (folder / "html" / "index.html").is_file():
            (folder / "book.json").unlink(missing_ok=True)
        (folder / "log").mkdir(exist_ok=True)
        command = [
            *(sys.executable, "-m", "snakemake", f"_build/{scale}/{target}"),
            *("--cores", str(cores), "--quiet", "host", "reason", "--nocolor"),
            # Keys decide, and a product older than what it was made from.
            *("--rerun-triggers", "params", "mtime", "--rerun-incomplete"),
            *(("--forcerun", *old) if (old := stale(scale)) else ()),
            # Our own lock ends with the process, so a killed run leaves none behind.
            "--nolock",
            *extra,
        ]
        process = subprocess.Popen(
            command,
            cwd=root,
            env={
                **os.environ,
                **workspace.job_environment(root, jobs=cores, short=scale == "smoke"),
                "PYTHONUNBUFFERED": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[lock.fileno()],
        )
        try:
            failed = follow(process, time.perf_counter(), folder / "log" / "snakemake.log")
            status = process.wait()
        except KeyboardInterrupt:
            process.wait()
            sys.exit("interrupted; the next run goes on from here")
    for name in failed:
        lines = (root / name).read_text(encoding="utf-8", errors="replace").splitlines()
        print(f"\n---- the end of {name} ----", *lines[-TAIL:], sep="\n", file=sys.stderr)
    return status


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.build", description=__doc__)
    parser.add_argument("--scale", default="quick", help=" | ".join(workspace.SCALES))
    parser.add_argument("--cores", type=int, default=2, help="jobs at a time")
    parser.add_argument("--target", default="book.json", help="stop at this file of the scale")
    parser.add_argument("--no-link", action="store_true", help="leave _build/html as it is")
    parser.add_argument("snakemake", nargs="*", help="after --: more options for Snakemake")
    args = parser.parse_args(argv)
    started = time.perf_counter()
    try:
        folder = workspace.build_dir(args.scale)
        for page in pages():  # what is wrong with the plan is said before anything runs
            cases_of(page)
    except ValueError as error:
        parser.error(str(error))
    print(f"Building {args.target.removesuffix('.json')} at scale {args.scale} ...", flush=True)
    if status := build(args.scale, cores=args.cores, target=args.target, extra=args.snakemake):
        sys.exit(status)
    seconds = time.perf_counter() - started
    if args.target != "book.json":
        print(f"_build/{args.scale}/{args.target} is up to date: {seconds:.0f} s")
        return
    if not args.no_link:
        link("html", folder / "html")
        link("notebooks", folder / "notebooks")
    shown = f"_build/{args.scale if args.no_link else ''}/html/index.html".replace("//", "/")
    record = json.loads((folder / "book.json").read_text(encoding="utf-8"))
    print(f"{record['scorecard']}\nThe book ({args.scale}): {shown}, after {seconds:.0f} s")


if __name__ == "__main__":
    main()
