"""Public image sets: where they live, and how a file is fetched and verified.

Used by :mod:`ncutils.data` only. A file is trusted for its content, not for its address: its
checksum is compared each time it is read, wherever it came from.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pooch

from ncutils.data.formats import decode_cifar10, decode_idx, decode_svhn


class DownloadError(OSError):
    """A file is neither at hand nor to be had, or what came is not what it should be."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a public data set.

    Attributes:
        folder: sub-folder that holds it, in the cache and in a local folder.
        name: file name, the same at each address.
        checksum: ``"algorithm:hexdigest"`` of the content; for ``gzipped`` files of what the
            gzip file holds, because repacking changes the outside only.
        homes: base addresses ending in ``/``, tried in this order.
        gzipped: whether the content is what gzip unpacks.
    """

    folder: str
    name: str
    checksum: str
    homes: tuple[str, ...]
    gzipped: bool = False


@dataclass(frozen=True)
class Source:
    """One split of a public data set: its files, and what decodes their contents together."""

    files: tuple[RemoteFile, ...]
    decode: Callable[..., tuple]
    num_classes: int = 10


def read_verified(path: Path, file: RemoteFile) -> bytes:
    """Content of the file at ``path``, known to be the right one.

    Raises:
        ValueError: it cannot be unpacked, or its checksum is not the expected one.
    """
    content = path.read_bytes()
    if file.gzipped:
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(
                f"truncated, or no gzip file ({error}); expected content with {file.checksum}, "
                f"found {len(content)} bytes that cannot be unpacked"
            ) from error
    algorithm = file.checksum.partition(":")[0]
    found = f"{algorithm}:{hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()}"
    if found != file.checksum:
        raise ValueError(f"corrupt, or another file: expected {file.checksum}, found {found}")
    return content


def local_folder() -> Path | None:
    """The folder that NCUTILS_DATA names, if it names one.

    Raises:
        ValueError: there is no such folder.
    """
    named = os.environ.get("NCUTILS_DATA")
    if named and not Path(named).is_dir():
        raise ValueError(f"NCUTILS_DATA names {named!r}, which is no folder")
    return Path(named) if named else None


def fetch(
    file: RemoteFile,
    *,
    cache: str | os.PathLike | None = None,
    local: Path | None = None,
    advice: str = "",
) -> bytes:
    """Verified content of a file: from the local folder, else the cache, else its homes.

    A download goes to a temporary name, is verified there and only then renamed, so the cache
    never holds a partial or wrong file. A damaged file in the cache is removed and fetched anew;
    one in the local folder is the user's and stays.

    Args:
        file: what to fetch.
        cache: folder that keeps downloads; by default the user's cache folder.
        local: folder that is read first and never written.
        advice: what else a reader can do when nothing works; ends the message.

    Returns:
        The content.

    Raises:
        ValueError: the file in the local folder is not the expected one.
        DownloadError: no address gave the file; the message has the reason for each.
    """
    if local is not None and (own := local / file.folder / file.name).is_file():
        try:
            return read_verified(own, file)
        except ValueError as error:
            raise ValueError(f"{own}: {error}") from error

    path = Path(pooch.os_cache("ncutils") if cache is None else cache) / file.folder / file.name
    failures = []
    if path.is_file():
        try:
            return read_verified(path, file)
        except ValueError as error:
            path.unlink(missing_ok=True)
            failures.append(f"{path} (in the cache, now removed): {error}")
    for home in file.homes:
        try:
            _download(home, path, file)
            return read_verified(path, file)
        except (OSError, ValueError) as error:
            failures.append(f"{home}{file.name}: {error}")
    raise DownloadError(
        f"cannot get {file.folder}/{file.name}: no good copy in the cache {path.parent}, and "
        "no address gave one:\n  "
        + "\n  ".join(failures)
        + "\nThe environment variable "
        f"NCUTILS_DATA can name a folder that holds {file.folder}/{file.name}. {advice}".rstrip()
    )


def _download(home: str, path: Path, file: RemoteFile) -> None:
    """Fetch ``home + file.name`` to ``path``; nothing is left there unless it is right."""
    # "identity": else a server may label a .gz file as a compressed *transfer*, and what
    # reaches the disk is not the file.
    transfer = pooch.HTTPDownloader(progressbar=True, headers={"Accept-Encoding": "identity"})

    def checked(url, temporary, manager):
        transfer(url, temporary, manager)
        read_verified(Path(temporary), file)

    # Pooch knows checksums of files as they are sent, not of unpacked content: it gets none and
    # `checked` does the comparison, still before Pooch renames.
    pooch.create(path=path.parent, base_url=home, registry={file.name: None}).fetch(
        file.name,
        downloader=checked,  # pyright: ignore[reportArgumentType]  (Pooch calls by position)
    )


# --- where they live ------------------------------------------------------------------------


def _idx_splits(
    folder: str, homes: tuple[str, ...], md5: Mapping[str, tuple[str, str]]
) -> dict[str, Source]:
    """Splits of a set in MNIST's four files; md5 of the images and labels unpacked."""
    return {
        split: Source(
            tuple(
                RemoteFile(folder, f"{prefix}-{kind}-ubyte.gz", f"md5:{sum_}", homes, gzipped=True)
                for kind, sum_ in zip(("images-idx3", "labels-idx1"), md5[prefix], strict=True)
            ),
            decode_idx,
        )
        for split, prefix in (("train", "train"), ("test", "t10k"))
    }


_CIFAR10 = RemoteFile(
    folder="cifar10",
    name="cifar-10-binary.tar.gz",
    checksum="sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    homes=("https://cave.cs.toronto.edu/kriz/", "https://www.cs.toronto.edu/~kriz/"),
)
_CIFAR10_MEMBERS = {
    "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("test_batch.bin",),
}
_SVHN_SHA256 = {
    "train": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "test": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
}

SOURCES: Mapping[str, Mapping[str, Source]] = {
    "mnist": _idx_splits(
        "mnist",
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        {
            "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
            "t10k": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
        },
    ),
    "fashion_mnist": _idx_splits(
        "fashion-mnist",
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        {
            "train": ("f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9"),
            "t10k": ("8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965"),
        },
    ),
    "cifar10": {
        split: Source((_CIFAR10,), decode_cifar10(members))
        for split, members in _CIFAR10_MEMBERS.items()
    },
    "svhn": {
        split: Source(
            (
                RemoteFile(
                    folder="svhn",
                    name=f"{split}_32x32.mat",
                    checksum=f"sha256:{sha256}",
                    homes=("http://ufldl.stanford.edu/housenumbers/",),
                ),
            ),
            decode_svhn,
        )
        for split, sha256 in _SVHN_SHA256.items()
    },
}
