"""Files that are written whole or not at all. Standard library only."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, writer: Callable[[Path], object]) -> Path:
    """Let `writer` fill a temporary file beside `path`, then rename it into place.

    A reader sees the old file or the whole new one, never half of one; if
    `writer` raises (a full disk, say), the old file stays and the half is removed.

    Args:
        path: the file to make; missing folders are made.
        writer: called with the temporary path, whose ending is that of `path`.

    Returns:
        `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix="".join(path.suffixes))
    os.close(handle)
    part = Path(name)
    try:
        writer(part)
        os.chmod(part, 0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
