"""The state of an unfinished training run on disk: one file, written whole or not at all."""

import hashlib
import json
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from ncutils._files import write_atomically


def digest(*trees) -> str:
    """A short hash of types, shapes and values of all arrays in these trees."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(trees):
        array = np.asarray(leaf)
        found.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()[:16]


def save(path: Path, settings: dict, epoch: int, state) -> None:
    """Write one line of JSON and the arrays behind it.

    Args:
        path: the file; an older one is replaced only by a whole new one.
        settings: what identifies the run, as JSON can hold it.
        epoch: how many epochs the state has seen.
        state: a pytree of arrays.
    """

    def writer(part: Path) -> None:
        with part.open("wb") as file:
            header = {"settings": settings, "epoch": epoch}
            file.write(json.dumps(header, sort_keys=True).encode() + b"\n")
            eqx.tree_serialise_leaves(file, state)

    write_atomically(path, writer)


def resume(path: Path, settings: dict, like):
    """(epoch, state) of a checkpoint, if it is one of this very run.

    Args:
        path: a file that `save` made.
        settings: those of the run that wants to go on.
        like: a state of the same structure, shapes and types.

    Returns:
        The epoch that the file was written at, and the state.

    Raises:
        ValueError: for a damaged file, or one of another run; the file is left as it is.
    """
    with path.open("rb") as file:
        try:
            header = json.loads(file.readline())
            stored, epoch = header["settings"], header["epoch"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a checkpoint: delete it to start afresh") from error
        if stored != settings:
            keys = sorted(stored.keys() | settings.keys())
            differ = [key for key in keys if stored.get(key) != settings.get(key)]
            raise ValueError(
                f"{path} is a checkpoint of another run (it differs in {', '.join(differ)}): "
                "delete it or name another file"
            )
        try:
            return epoch, eqx.tree_deserialise_leaves(file, like)
        except Exception as error:  # whatever becomes of half a file
            raise ValueError(f"{path} is damaged: delete it to start afresh") from error


def part_of(path: Path | None, name: str) -> Path | None:
    """The file of one of several trainings of a case, beside the one that the case was given.

    Args:
        path: that of the case; None, for no checkpoint, gives None.
        name: of the training, unlike those of the others.
    """
    return None if path is None else path.with_name(f"{path.stem}.{name.replace(' ', '-')}.part")


def forget_parts(path: Path | None) -> None:
    """Delete what `part_of` named, once the case has all of its numbers."""
    if path is not None:
        for part in path.parent.glob(f"{path.stem}.*.part"):
            part.unlink()
