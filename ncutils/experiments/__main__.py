"""Run one case: `python -m ncutils.experiments KEY/MODULE/CASE --scale quick`."""

import argparse
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from ncutils import experiments
from ncutils.records import digest, workspace


def checkpoint_of(name: str, scale: str, config) -> Path:
    """Where a long training keeps its state between two starts.

    Configuration and code are in its name: a state of other code is not gone on from.
    """
    decided = f"{config!r} {digest.case_digest(name)}"
    settings = hashlib.sha256(decided.encode()).hexdigest()[:12]
    folder = workspace.project_root() / "_build" / scale / "checkpoints"
    return folder / f"{name.replace('/', '.')}-{settings}.eqx"


def main(argv: Sequence[str] | None = None) -> None:
    """Run one case at one scale, and write its result where the book looks for it."""
    parser = argparse.ArgumentParser(prog="python -m ncutils.experiments", description=__doc__)
    parser.add_argument("name", metavar="KEY/MODULE/CASE", help="a case; `list` names them all")
    parser.add_argument(
        "--scale",
        default="quick",
        help=f"{', '.join(workspace.SCALES)}, or workstation where the case has it",
    )
    parser.add_argument(
        "--archive", action="store_true", help="also keep the result in results/ for good"
    )
    args = parser.parse_args(argv)
    if args.name == "list":
        for name, scales in experiments.cases().items():
            print(name, *sorted(scales, key=workspace.SIZES.index))
        return
    try:
        workspace.project_root()  # before anything slow: are we inside the project?
        experiments.check(args.name)
        workspace.check_scale(args.scale, workspace.SIZES)
    except ValueError as error:
        parser.error(str(error))

    import jax

    jax.config.update("jax_enable_x64", True)
    from ncutils.records import results

    try:
        config = experiments.config_of(args.name, scale=args.scale)
    except ValueError as error:
        parser.error(f"{args.name}: {error}")
    source = digest.case_digest(args.name)  # before the run, whatever is edited meanwhile
    checkpoint = checkpoint_of(args.name, args.scale, config)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    started, busy = time.perf_counter(), time.process_time()
    ds = experiments.run(args.name, scale=args.scale, checkpoint=checkpoint)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    ds = ds.assign_attrs(processor_seconds=round(busy, 1))
    path = results.path_of(args.name, scale=args.scale)
    what = {"case": args.name, "scale": args.scale, "config": config, "source": source}
    results.save(ds, path, seconds=seconds, **what)
    for state in checkpoint.parent.glob(f"{checkpoint.stem}*"):  # a case may have several
        state.unlink()  # the result is there now
    print(f"{path}: {seconds:.1f} s")
    if args.archive:
        print(results.archive(results.read(path), case=args.name, scale=args.scale))


if __name__ == "__main__":
    main()
