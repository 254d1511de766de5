"""Build the book at one scale and say what happened: `python -m pipeline.book`.

Runs Snakemake, which redoes only what is stale, and shows one line for each
job. What failed is shown with the end of its log.
"""

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ncutils import workspace
from pipeline import keys

STARTED = re.compile(r"^Job \d+: (.+)$")
PROGRESS = re.compile(r"^(\d+ of \d+ steps) \(\d+%\) done$")
ROUTINE = re.compile(
    r"^(Assuming|Building DAG|Using shell|Provided|Rules claiming|Job stats|job +count|-+ +-+"
    r"|\w+ +\d+$|Select jobs|Execute \d|\[\w{3} \w{3} .*\]|Finished jobid|Complete log|Elapsed"
    r"|Nothing to be done|Shutting down|Exiting because|Will exit|Reason:|$)"
)
LOG = re.compile(r"^ +log: (\S+)")
TAIL = 80  # lines of a failed job's log


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
            *(("--forcerun", *old) if (old := keys.stale(scale)) else ()),
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
    parser = argparse.ArgumentParser(prog="python -m pipeline.book", description=__doc__)
    parser.add_argument("--scale", default="quick", help=" | ".join(workspace.SCALES))
    parser.add_argument("--cores", type=int, default=2, help="jobs at a time")
    parser.add_argument("--target", default="book.json", help="stop at this file of the scale")
    parser.add_argument("--no-link", action="store_true", help="leave _build/html as it is")
    parser.add_argument("snakemake", nargs="*", help="after --: more options for Snakemake")
    args = parser.parse_args(argv)
    started = time.perf_counter()
    try:
        folder = workspace.build_dir(args.scale)
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
