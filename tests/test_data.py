import gzip
import hashlib
import io
import math
import socket
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from PIL import Image
from scipy.io import savemat

from ncutils import data
from ncutils._decode import decode_cifar10, decode_idx, decode_svhn
from ncutils._download import SOURCES, RemoteFile, Source

# --- Dataset ------------------------------------------------------------------------------------


def small(**change):
    fields = {
        "x": np.arange(8.0).reshape(4, 2),
        "y": np.array([0, 1, 0, 1]),
        "num_classes": 2,
        "name": "small",
    }
    return data.Dataset(**{**fields, **change})


def test_dataset_keeps_numpy_arrays_that_cannot_be_changed():
    dataset = small(x=np.ones((4, 2, 2, 3)))
    assert type(dataset.x) is np.ndarray
    assert dataset.flat.shape == (4, 12)
    assert dataset.class_sizes.tolist() == [2, 2]
    with pytest.raises(ValueError, match="read-only"):
        dataset.x[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        dataset.y[0] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array([0, 1, 0])}, r"\(4, 2\).*\(3,\)"),
        ({"x": np.ones(4)}, r"\(4,\).*\(4,\)"),
        ({"x": np.ones((4, 2, 2))}, r"\(4, 2, 2\).*\(4,\)"),
        ({"y": np.array([[0], [1], [0], [1]])}, r"\(4, 2\).*\(4, 1\)"),
        ({"x": np.ones((4, 2), int)}, "floating point"),
        ({"x": np.array([[0.0, 1.0], [np.nan, 1.0], [0.0, 0.0], [1.0, 1.0]])}, r"x .*\(1, 0\)"),
        ({"y": np.array([0, 1, 0, 2])}, "from 0 to 2.*num_classes=2"),
        ({"y": np.array([-1, 1, 0, 1])}, "from -1 to 1"),
        ({"num_classes": 3}, "no members in class 2"),
        ({"y": np.zeros(4, int), "num_classes": 1}, "num_classes is 1"),
        ({"y": np.array([0.0, 1.0, 0.0, 1.0])}, "integers"),
    ],
)
def test_dataset_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        small(**change)


def test_digest_follows_content_alone():
    assert small().sha256 == small(name="other", note="lossy").sha256
    different = [
        small(x=np.arange(8.0).reshape(4, 2) + 1e-16 + np.eye(4, 2)),
        small(x=np.arange(8, dtype=np.float32).reshape(4, 2)),
        small(x=np.arange(8.0).reshape(4, 2, 1, 1)),
        small(y=np.array([1, 0, 0, 1])),
    ]
    assert len({d.sha256 for d in (small(), *different)}) == 5


# --- Gaussian classes ---------------------------------------------------------------------------

# Deviations of a correct sampler from the stated moments, in standard errors. The largest of the
# 24 checked numbers of a run exceeds 4.5 by chance once in about 6,000 runs, and seeds are fixed.
MAX_STANDARD_ERRORS = 4.5


def worst_standard_error(X, y, *, means, std):
    """Largest deviation of class means, variances and correlations, in standard errors."""
    X, y, worst = np.asarray(X), np.asarray(y), 0.0
    for c, (mean, s) in enumerate(zip(means, std, strict=True)):
        noise = X[y == c] - mean
        n, d = noise.shape
        worst = max(worst, np.abs(noise.mean(axis=0)).max() / (s / math.sqrt(n)))
        variance = (noise**2).mean(axis=0)
        worst = max(worst, np.abs(variance - s**2).max() / (s**2 * math.sqrt(2 / n)))
        if d > 1:
            across = (noise[:, 0] * noise[:, 1]).mean()
            worst = max(worst, abs(across) / (s**2 / math.sqrt(n)))
    return worst


@pytest.mark.parametrize(
    ("draw", "sizes", "means", "std"),
    [
        (data.two_gaussians, (512, 512), (-2, 2), 0.5),  # D1
        (data.two_gaussians, (256, 1792), (-2, 2), 2.0),  # std 2, unbalanced
        (data.four_gaussians, (256,) * 4, (-6, -2, 2, 6), 0.5),
    ],
)
def test_presets_have_the_moments_of_the_paper(draw, sizes, means, std, key):
    X, y = draw(sizes=sizes, dim=2, std=std, key=key)
    assert X.shape == (sum(sizes), 2)
    assert X.dtype == jnp.float64
    np.testing.assert_array_equal(y, np.repeat(np.arange(len(sizes)), sizes))
    stated = {"means": means, "std": (std,) * len(sizes)}
    assert worst_standard_error(X, y, **stated) < MAX_STANDARD_ERRORS
    # a covariance taken for a standard deviation, and classes in the other order, are seen
    assert worst_standard_error(X, y, means=means, std=(std**2 + 0.1,) * len(sizes)) > 6
    assert worst_standard_error(X, y, means=means[::-1], std=stated["std"]) > 6


def test_d1_is_the_default_preset():
    key = jax.random.key(4)
    X, _ = data.two_gaussians(sizes=(64, 64), dim=3, key=key)
    same, _ = data.gaussian_mixture(
        np.array([[-2.0] * 3, [2.0] * 3]), sizes=(64, 64), std=math.sqrt(0.25), key=key
    )
    np.testing.assert_array_equal(X, same)


def test_each_class_has_its_own_mean_and_spread(key):
    means, std = np.array([[0.0, 3.0], [-1.0, 5.0], [2.0, 2.0]]), (0.1, 1.0, 3.0)
    X, y = data.gaussian_mixture(means, sizes=(200, 300, 500), std=std, key=key)
    assert worst_standard_error(X, y, means=means, std=std) < MAX_STANDARD_ERRORS
    assert worst_standard_error(X, y, means=means, std=std[::-1]) > 6


def test_vmap_over_keys_equals_the_loop_and_jit_changes_nothing():
    key = jax.random.key(4)
    keys = jax.random.split(key, 3)
    draw = lambda k: data.two_gaussians(sizes=(3, 5), dim=2, key=k)  # noqa: E731
    X, y = jax.jit(jax.vmap(draw, out_axes=(0, None)))(keys)
    loop = [draw(k) for k in keys]
    np.testing.assert_allclose(X, np.stack([x for x, _ in loop]), rtol=1e-14)
    np.testing.assert_array_equal(y, loop[0][1])
    assert len(np.unique(np.asarray(X))) == X.size  # repeats share nothing


def test_sets_of_other_shape_share_no_random_numbers():
    key = jax.random.key(4)
    first, _ = data.two_gaussians(sizes=(8, 8), dim=2, key=key)
    for sizes, dim in (((16, 16), 2), ((8, 8), 4), ((6, 10), 2)):
        other, _ = data.two_gaussians(sizes=sizes, dim=dim, key=key)
        assert not np.isclose(first[0, 0], other).any()


@pytest.mark.parametrize(
    ("means", "options", "message"),
    [
        ((0.0, 1.0), {"sizes": (2, 2)}, "dim=None"),
        ((0.0, 1.0), {"sizes": (2, 2), "dim": 0}, "dim=0"),
        (np.zeros((2, 3)), {"sizes": (2, 2), "dim": 4}, r"\(2, 3\) and dim=4"),
        ((0.0, 1.0), {"sizes": (2, 2, 2), "dim": 1}, r"2 means.*\(2, 2, 2\)"),
        ((0.0, 1.0), {"sizes": (2, 2), "dim": 1, "std": (1.0, 1.0, 1.0)}, r"shape \(3,\)"),
        ((0.0, 1.0), {"sizes": (2, 0), "dim": 1}, r"none empty.*\(2, 0\)"),
        ((0.0,), {"sizes": (2,), "dim": 1}, "two classes"),
        ((0.0, np.inf), {"sizes": (2, 2), "dim": 1}, "finite"),
        ((0.0, 1.0), {"sizes": (2, 2), "dim": 1, "std": -1.0}, "not negative"),
    ],
)
def test_gaussian_mixture_refuses(means, options, message):
    with pytest.raises(ValueError, match=message):
        data.gaussian_mixture(means, **options, key=jax.random.key(0))


# --- the packaged sets --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mnist5k():
    return data.load("mnist5k")


def test_mnist5k_has_500_real_images_of_each_digit(mnist5k):
    assert mnist5k.x.shape == (5000, 28, 28, 1)
    assert mnist5k.x.dtype == np.float64
    assert mnist5k.class_sizes.tolist() == [500] * 10
    assert (mnist5k.x.min(), mnist5k.x.max()) == (0, 1)
    np.testing.assert_array_equal(mnist5k.x * 255, np.round(mnist5k.x * 255))
    # upright and in place: a zero is hollow, a one is not
    centre = mnist5k.x[:, 13:15, 13:15, 0].mean(axis=(1, 2))
    assert centre[mnist5k.y == 0].mean() < 0.2 < 0.7 < centre[mnist5k.y == 1].mean()


def test_digits_are_the_8_by_8_images_of_scikit_learn():
    digits = data.load("digits", dtype=np.float32)
    assert digits.x.shape == (1797, 8, 8, 1)
    assert digits.x.dtype == np.float32
    assert digits.class_sizes.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (digits.x.min(), digits.x.max()) == (0, 1)


def test_packaged_sets_ask_neither_folder_nor_network(monkeypatch):
    monkeypatch.setenv("NCUTILS_DATA", "nowhere")
    monkeypatch.setattr(socket, "socket", None)
    assert data.load("digits").name == "digits"


def test_unknown_name_split_and_dtype_say_what_is_known():
    with pytest.raises(ValueError, match=r"'mnits'.*cifar10, digits, fashion_mnist, mnist, mnist5"):
        data.load("mnits")
    with pytest.raises(ValueError, match="digits has no split 'test', only train"):
        data.load("digits", split="test")
    with pytest.raises(ValueError, match="mnist has no split 'val', only train, test"):
        data.load("mnist", split="val")
    with pytest.raises(ValueError, match="not int64"):
        data.load("digits", dtype=np.int64)


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


# --- equal numbers of each class ----------------------------------------------------------------


def unbalanced(sizes):
    """Labels with these class sizes, shuffled; x holds the row's own number."""
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    x = np.arange(len(y), dtype=float)[:, None]
    return data.Dataset(x, y, num_classes=len(sizes), name="unbalanced", note="made up")


def test_balanced_subset_draws_without_replacement(key):
    whole = unbalanced((5, 9, 7))
    part = data.balanced_subset(whole, 5, key=key)
    rows = part.x[:, 0].astype(int)
    np.testing.assert_array_equal(part.y, np.repeat([0, 1, 2], 5))
    np.testing.assert_array_equal(whole.y[rows], part.y)
    assert len(set(rows)) == 15
    assert (part.name, part.note) == (whole.name, whole.note)
    assert data.balanced_subset(whole, 5, key=key).sha256 == part.sha256
    assert data.balanced_subset(whole, 5, key=jax.random.key(99)).sha256 != part.sha256


def test_every_member_is_drawn_equally_often():
    # the first of two batches is a draw of 2 from each class
    y, draws = unbalanced((4, 8)).y, 400
    keys = jax.random.split(jax.random.key(0), draws)
    epoch = lambda k: data.balanced_batches(y, num_classes=2, per_class=2, key=k)  # noqa: E731
    counts = np.bincount(np.asarray(jax.vmap(epoch)(keys))[:, 0].ravel(), minlength=12)
    chance = np.where(y == 0, 2 / 4, 2 / 8)
    error = np.sqrt(draws * chance * (1 - chance))
    assert (np.abs(counts - draws * chance) / error).max() < MAX_STANDARD_ERRORS
    assert (np.abs(counts - draws / 3) / error).max() > 6  # classes drawn by size would be seen


def test_balanced_subset_does_not_depend_on_the_precision_in_force():
    key = jax.random.key(4)
    whole = unbalanced((5, 9, 7))
    with jax.enable_x64(False):
        single = data.balanced_subset(whole, 3, key=key)
    assert single.sha256 == data.balanced_subset(whole, 3, key=key).sha256


def test_batches_have_exactly_the_same_number_of_each_class(key):
    y = unbalanced((7, 12, 9)).y
    batches = np.asarray(data.balanced_batches(y, num_classes=3, per_class=2, key=key))
    assert batches.shape == (3, 6)
    np.testing.assert_array_equal(y[batches], np.tile(np.repeat([0, 1, 2], 2), (3, 1)))
    assert len(np.unique(batches)) == batches.size
    # plain shuffling would not do: some batch would then be uneven
    shuffled = y[np.asarray(jax.random.permutation(key, len(y)))[:18].reshape(3, 6)]
    assert any(np.bincount(b, minlength=3).tolist() != [2, 2, 2] for b in shuffled)


def test_epochs_of_batches_come_from_one_vmap_and_differ():
    key = jax.random.key(4)
    y = unbalanced((7, 12, 9)).y
    epoch = lambda k: data.balanced_batches(y, num_classes=3, per_class=2, key=k)  # noqa: E731
    keys = jax.random.split(key, 8)
    epochs = jax.jit(jax.vmap(epoch))(keys)
    np.testing.assert_array_equal(epochs, np.stack([epoch(k) for k in keys]))
    assert len(np.unique(np.asarray(epochs).reshape(8, -1), axis=0)) == 8
    # rows left over are others each time, so that all 28 are seen
    assert len(np.unique(np.asarray(epochs))) > 18


def test_batches_of_mnist_are_as_many_as_in_the_paper():
    key = jax.random.key(4)
    # 12 of each class; 5,421 images in MNIST's smallest class make 451 batches, 5,412 a class
    y = np.repeat([0, 1], [5421, 6742])
    assert data.balanced_batches(y, num_classes=2, per_class=12, key=key).shape == (451, 24)


def test_more_than_the_smallest_class_has_is_refused():
    whole, key = unbalanced((3, 5)), jax.random.key(0)
    for per_class in (0, 4):
        with pytest.raises(ValueError, match=rf"per_class={per_class}.*1 and 3.*\[3, 5\]"):
            data.balanced_subset(whole, per_class, key=key)
        with pytest.raises(ValueError, match=rf"per_class={per_class}.*1 and 3.*\[3, 5\]"):
            data.balanced_batches(whole.y, num_classes=2, per_class=per_class, key=key)
    with pytest.raises(ValueError, match="no members in class 2"):
        data.balanced_batches(whole.y, num_classes=3, per_class=1, key=key)
