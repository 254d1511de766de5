"""Run one cell: `python -m ncutils.experiments NAME CELL --scale quick`."""

import argparse
import importlib
import pkgutil
import time
from collections.abc import Sequence

from ncutils import experiments, workspace


def names() -> list[str]:
    """The experiments there are: the modules of this package that run."""
    known = [module.name for module in pkgutil.iter_modules(experiments.__path__)]
    return [name for name in known if name != "catalogue" and not name.startswith("_")]


def main(argv: Sequence[str] | None = None) -> None:
    """Run one cell at one scale, and write its result where the book looks for it."""
    parser = argparse.ArgumentParser(prog="python -m ncutils.experiments", description=__doc__)
    parser.add_argument("name", choices=names(), help="an experiment")
    parser.add_argument("cell", help="one of its CELLS")
    parser.add_argument(
        "--scale",
        default="quick",
        help=f"{', '.join(workspace.SCALES)}, or workstation where the experiment has it",
    )
    parser.add_argument(
        "--archive", action="store_true", help="also keep the result in results/ for good"
    )
    args = parser.parse_args(argv)
    workspace.project_root()  # before anything slow: are we inside the project?

    import jax

    jax.config.update("jax_enable_x64", True)
    from ncutils import results

    module = importlib.import_module(f"ncutils.experiments.{args.name}")
    if args.cell not in module.CELLS:
        parser.error(
            f"{args.name} has no cell {args.cell!r}: choose from {', '.join(module.CELLS)}"
        )
    if args.scale not in results.SIZES:
        known = ", ".join(map(repr, results.SIZES))
        parser.error(f"argument --scale: invalid choice: {args.scale!r} (choose from {known})")
    what = {"experiment": args.name, "cell": args.cell, "scale": args.scale}
    config = module.Config.at(args.cell, args.scale)
    started, busy = time.perf_counter(), time.process_time()
    ds = module.run(config)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    ds = ds.assign_attrs(processor_seconds=round(busy, 1))
    path = results.path_of(args.name, args.cell, scale=args.scale)
    results.save(ds, path, **what, config=config, seconds=seconds)
    print(f"{path}: {seconds:.1f} s")
    if args.archive:
        print(results.archive(results.read(path), **what))


if __name__ == "__main__":
    main()
