import gzip
import hashlib
import io
import socket
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ncutils import data
from ncutils.data.formats import decode_cifar10, decode_idx, decode_svhn
from ncutils.data.sources import SOURCES, RemoteFile, Source

# --- files: a tiny set in MNIST's format --------------------------------------------------------

PIXELS = np.arange(6 * 2 * 3, dtype=np.uint8).reshape(6, 2, 3)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)


def idx(array):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


FILES = {"images.gz": idx(PIXELS), "labels.gz": idx(LABELS)}
PACKED = {name: gzip.compress(content) for name, content in FILES.items()}


def tiny(*homes):
    """The table of sources for the tiny set, at these addresses."""
    files = tuple(
        RemoteFile("tiny", name, f"md5:{hashlib.md5(content).hexdigest()}", homes, gzipped=True)
        for name, content in FILES.items()
    )
    return {"tiny": {"train": Source(files, decode_idx, num_classes=3)}}


def assert_is_tiny(dataset):
    np.testing.assert_array_equal(dataset.x, PIXELS[..., None] / 255)
    np.testing.assert_array_equal(dataset.y, LABELS)
    assert (dataset.name, dataset.note) == ("tiny", "")


class Server:
    """A local HTTP server: answers from ``files``, counts what it is asked for."""

    def __init__(self):
        self.files, self.asked, self.cut = dict(PACKED), [], set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/")
                server.asked.append(name)
                if name not in server.files:
                    return self.send_error(404)
                content = server.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                if "gzip" in self.headers["Accept-Encoding"]:
                    # many servers call a .gz file a compressed transfer if they may
                    self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                # the connection breaks half way
                return self.wfile.write(
                    content[: len(content) // 2 if name in server.cut else None]
                )

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = False  # joined by server_close: no request outlives the test
        self.home = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    monkeypatch.delenv("NCUTILS_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def dead():
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"


def stored(cache):
    """All files under a cache folder, temporary ones too."""
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file())


BOTH = ["tiny/images.gz", "tiny/labels.gz"]


def test_download_is_kept_and_the_second_load_does_not_ask_the_server(server, tmp_path, capsys):
    first = data.load("tiny", cache=tmp_path, sources=tiny(server.home))
    assert_is_tiny(first)
    assert server.asked == ["images.gz", "labels.gz"]
    assert stored(tmp_path) == BOTH
    assert "100%" in capsys.readouterr().err  # the progress bar
    second = data.load("tiny", cache=tmp_path, sources=tiny(server.home))
    assert second.sha256 == first.sha256
    assert len(server.asked) == 2


def test_repacked_file_with_the_same_content_is_accepted(server, tmp_path):
    server.files["images.gz"] = gzip.compress(FILES["images.gz"], compresslevel=1, mtime=1)
    assert server.files["images.gz"] != PACKED["images.gz"]
    assert_is_tiny(data.load("tiny", cache=tmp_path, sources=tiny(server.home)))


def test_file_truncated_at_the_source_is_refused_and_not_kept(server, tmp_path):
    server.files["labels.gz"] = PACKED["labels.gz"][:-9]
    expected = hashlib.md5(FILES["labels.gz"]).hexdigest()
    with pytest.raises(data.DownloadError, match=f"truncated.*md5:{expected}"):
        data.load("tiny", cache=tmp_path, sources=tiny(server.home))
    assert stored(tmp_path) == BOTH[:1]  # the good one stays, nothing else is left


def test_connection_that_breaks_leaves_nothing_behind(server, tmp_path):
    server.cut.add("labels.gz")
    with pytest.raises(data.DownloadError, match=r"labels\.gz: .*[Ii]ncomplete"):
        data.load("tiny", cache=tmp_path, sources=tiny(server.home))
    assert stored(tmp_path) == BOTH[:1]
    server.cut.clear()
    assert_is_tiny(data.load("tiny", cache=tmp_path, sources=tiny(server.home)))
    assert server.asked.count("images.gz") == 1


def test_wrong_checksum_names_both_and_keeps_nothing(server, tmp_path):
    wrong = idx(LABELS[::-1])
    server.files["labels.gz"] = gzip.compress(wrong)
    sums = [hashlib.md5(content).hexdigest() for content in (FILES["labels.gz"], wrong)]
    with pytest.raises(data.DownloadError, match=r"expected md5:{}, found md5:{}".format(*sums)):
        data.load("tiny", cache=tmp_path, sources=tiny(server.home))
    assert stored(tmp_path) == BOTH[:1]


def test_damaged_cache_is_removed_and_fetched_anew(server, tmp_path):
    data.load("tiny", cache=tmp_path, sources=tiny(server.home))
    damaged = tmp_path / "tiny" / "images.gz"
    damaged.write_bytes(PACKED["images.gz"][:10])
    assert_is_tiny(data.load("tiny", cache=tmp_path, sources=tiny(server.home)))
    assert server.asked == ["images.gz", "labels.gz", "images.gz"]
    assert damaged.read_bytes() == PACKED["images.gz"]


def test_damaged_cache_without_network_says_so_and_keeps_the_good_file(server, dead, tmp_path):
    data.load("tiny", cache=tmp_path, sources=tiny(server.home))
    (tmp_path / "tiny" / "images.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(data.DownloadError, match=r"now removed\): .*expected md5:.*found md5:"):
        data.load("tiny", cache=tmp_path, sources=tiny(dead))
    assert stored(tmp_path) == BOTH[1:]


def test_mirrors_are_tried_in_order(server, dead, tmp_path):
    missing = server.home + "elsewhere/"
    assert_is_tiny(data.load("tiny", cache=tmp_path, sources=tiny(dead, missing, server.home)))
    assert server.asked[:2] == ["elsewhere/images.gz", "images.gz"]


def test_no_network_with_a_cache_works(server, dead, tmp_path):
    data.load("tiny", cache=tmp_path, sources=tiny(server.home))
    assert_is_tiny(data.load("tiny", cache=tmp_path, sources=tiny(dead)))


def test_no_network_and_no_cache_says_what_to_do(dead, tmp_path):
    with pytest.raises(data.DownloadError) as raised:
        data.load("tiny", cache=tmp_path, sources=tiny(dead))
    said = str(raised.value)
    for part in ("tiny/images.gz", dead, str(tmp_path), "NCUTILS_DATA", "digits and mnist5k"):
        assert part in said
    assert stored(tmp_path) == []


# --- files: the folder named by NCUTILS_DATA ----------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    (folder / "tiny").mkdir(parents=True)
    for name, content in PACKED.items():
        (folder / "tiny" / name).write_bytes(content)
    monkeypatch.setenv("NCUTILS_DATA", str(folder))
    return folder


def test_local_folder_comes_first_and_is_left_alone(folder, server, tmp_path):
    cache = tmp_path / "cache"
    assert_is_tiny(data.load("tiny", cache=cache, sources=tiny(server.home)))
    assert server.asked == []
    assert not cache.exists()
    assert stored(folder) == BOTH


def test_wrong_file_in_the_local_folder_is_named_not_bypassed(folder, server, tmp_path):
    path = folder / "tiny" / "labels.gz"
    path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ValueError, match=r"folder/tiny/labels\.gz: corrupt.*expected md5:.*found"):
        data.load("tiny", cache=tmp_path / "cache", sources=tiny(server.home))
    assert path.is_file()
    assert server.asked == []


def test_what_the_local_folder_lacks_is_downloaded(folder, server, tmp_path):
    (folder / "tiny" / "labels.gz").unlink()
    assert_is_tiny(data.load("tiny", cache=tmp_path / "cache", sources=tiny(server.home)))
    assert server.asked == ["labels.gz"]


def test_local_folder_that_does_not_exist_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("NCUTILS_DATA", str(tmp_path / "gone"))
    with pytest.raises(ValueError, match="gone', which is no folder"):
        data.load("mnist", cache=tmp_path)


def jpeg_archive(path, *, labels, **change):
    """Twenty flat images of 32 × 32, grey level 10·i, as JPEG bytes in one npz file."""
    images = []
    for i in range(len(labels)):
        out = io.BytesIO()
        Image.new("RGB", (32, 32), (10 * i,) * 3).save(out, "JPEG", quality=95)
        images.append(out.getvalue())
    arrays = {
        "jpeg": np.frombuffer(b"".join(images), np.uint8),
        "offset": np.cumsum([0, *map(len, images)]),
        "label": np.asarray(labels, np.uint8),
    }
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **{**arrays, **change})


def test_jpeg_copy_of_cifar10_is_decoded_and_called_lossy(folder):
    labels = np.repeat(np.arange(10), 2)
    jpeg_archive(folder / "cifar10-jpeg" / "test.npz", labels=labels)
    dataset = data.load("cifar10", split="test", dtype=np.float32)
    assert dataset.name == "cifar10-jpeg"
    assert "lossy" in dataset.note
    assert dataset.x.shape == (20, 32, 32, 3)
    np.testing.assert_array_equal(dataset.y, labels)
    # flat images survive JPEG to within a grey level
    np.testing.assert_allclose(dataset.x[:, 5, 7, 2], np.arange(20) * 10 / 255, atol=1.5 / 255)


def test_damaged_jpeg_copy_is_named(folder):
    path, labels = folder / "cifar10-jpeg" / "train.npz", np.repeat(np.arange(10), 2)
    jpeg_archive(path, labels=labels)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"train\.npz is truncated"):
        data.load("cifar10")
    jpeg_archive(path, labels=labels, offset=np.arange(20))
    with pytest.raises(ValueError, match="20 labels need 21 offsets"):
        data.load("cifar10")
    jpeg_archive(path, labels=labels, jpeg=np.zeros(20, np.uint8), offset=np.arange(21))
    with pytest.raises(ValueError, match="image 0 cannot be decoded"):
        data.load("cifar10")


def cifar_archive():
    """Ten images in the layout of CIFAR-10's binary archive, and their bytes n × 3 × 32 × 32."""
    planes = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), np.uint8)
    records = np.concatenate([np.arange(10, dtype=np.uint8)[:, None], planes.reshape(10, -1)], 1)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, part in (("a.bin", records[:4]), ("b.bin", records[4:])):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = part.nbytes
            tar.addfile(info, io.BytesIO(part.tobytes()))
    return out.getvalue(), planes


def test_exact_cifar10_is_preferred_to_the_lossy_copy(folder):
    content, planes = cifar_archive()
    (folder / "cifar10").mkdir()
    (folder / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(content)
    jpeg_archive(folder / "cifar10-jpeg" / "train.npz", labels=np.repeat(np.arange(10), 2))
    file = replace(
        SOURCES["cifar10"]["train"].files[0],
        checksum=f"sha256:{hashlib.sha256(content).hexdigest()}",
    )
    source = Source((file,), decode_cifar10(("a.bin", "b.bin")))
    dataset = data.load("cifar10", sources={"cifar10": {"train": source}})
    assert (dataset.name, dataset.note) == ("cifar10", "")
    np.testing.assert_array_equal(dataset.y, np.arange(10))
    # pixel (row, column, colour) of the image is byte (colour, row, column) of the record
    assert dataset.x[6, 3, 17, 2] == planes[6, 2, 3, 17] / 255


def test_svhn_label_ten_is_the_digit_zero():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), np.uint8)
    out = io.BytesIO()
    savemat(out, {"X": pixels, "y": np.array([[10], [1], [9], [10]], np.uint8)})
    images, labels = decode_svhn(out.getvalue())
    assert labels.tolist() == [0, 1, 9, 0]
    np.testing.assert_array_equal(images[2], pixels[..., 2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (b"<html>no such page</html>", "begins with 3c68746d"),
        (idx(LABELS), "in 3 dimensions"),
        (idx(PIXELS)[:-1], r"\(6, 2, 3\), but 35 bytes"),
        (idx(PIXELS) + b"x", r"\(6, 2, 3\), but 37 bytes"),
    ],
)
def test_idx_decoder_refuses(content, message):
    with pytest.raises(ValueError, match=message):
        decode_idx(content, idx(LABELS))


def test_published_checksums_and_addresses_are_well_formed():
    for splits in SOURCES.values():
        assert list(splits) == ["train", "test"]
        for source in splits.values():
            for file in source.files:
                algorithm, _, digest = file.checksum.partition(":")
                assert len(bytes.fromhex(digest)) == hashlib.new(algorithm).digest_size
                assert file.homes
                assert all(h.startswith("http") and h.endswith("/") for h in file.homes)
