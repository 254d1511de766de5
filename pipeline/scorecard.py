"""The scorecard in README.md, from the archived ledger: `python -m pipeline.scorecard`.

`--archive` first keeps the ledger of the last quick build as `results/ledger.quick.json`.
Nothing in the block is typed by hand.
"""

import argparse
import json
import re
from collections import Counter
from pathlib import Path

from ncutils._files import write_atomically
from ncutils.records import claims, coverage, workspace

START = "<!-- scorecard: made by `make scorecard`, not edited by hand -->"
END = "<!-- end of the scorecard -->"


def archive_path() -> Path:
    """Where the ledger behind the README is kept."""
    return workspace.project_root() / "results" / "ledger.quick.json"


def block(ledger: dict) -> str:
    """A table of verdicts for each paper, the coverage, and where both come from."""
    counts = Counter((row["paper"], row["verdict"]) for row in ledger["rows"])
    used = [one for one in claims.VERDICTS if any(verdict == one for _, verdict in counts)]
    table: list[list[object]] = [["paper", "claims", *used]]
    for key, paper in ledger["papers"].items():
        numbers = [counts[key, verdict] for verdict in used]
        table.append([f"{paper['tag']}: {paper['short']}", sum(numbers), *numbers])
    head, *rows = (f"| {' | '.join(map(str, row))} |" for row in table)
    lines = [
        *(head, "|---" * len(table[0]) + "|", *rows),
        "",
        coverage.sentence(coverage.judge_all(coverage.load(), ledger)),
        "",
        f"Scale {ledger['scale']}, commit {ledger['commit']}, {ledger['made'][:10]}.",
    ]
    return "\n".join([START, *lines, END])


def replaced(text: str, ledger: dict) -> str:
    """A README with its block made afresh.

    Raises:
        ValueError: if it has no such block.
    """
    pattern = re.compile(f"{re.escape(START)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no block between {START!r} and {END!r}")
    return pattern.sub(lambda _: block(ledger), text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.scorecard", description=__doc__)
    parser.add_argument("--archive", action="store_true", help="keep the last quick ledger first")
    if parser.parse_args().archive:
        made = (workspace.build_dir("quick") / "ledger.json").read_bytes()
        write_atomically(archive_path(), lambda part: part.write_bytes(made))
    readme = workspace.project_root() / "README.md"
    ledger = json.loads(archive_path().read_text(encoding="utf-8"))
    text = replaced(readme.read_text(encoding="utf-8"), ledger)
    write_atomically(readme, lambda part: part.write_text(text, encoding="utf-8"))
    print(block(ledger))


if __name__ == "__main__":
    main()
