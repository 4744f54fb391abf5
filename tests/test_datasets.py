"""The loaders: Keras's return values from every layout, safe reading, checked and atomic downloads, clear errors.

All files are small ones made here, in the published formats.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minicnn import config, datasets
from minicnn.datasets import _store, _unpickle
from minicnn.datasets._archive import read_files
from minicnn.datasets._splits import parse_split

PER_BATCH = 4


@pytest.fixture(autouse=True)
def _no_network_and_own_folders(tmp_path, monkeypatch):
    """Every test has empty caches of its own, and no network."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("MINICNN_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "home").mkdir()

    def unreachable(request, timeout):
        raise urllib.error.URLError("the network is down")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def random_rows(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def nhwc(rows):
    """The published meaning of a row, spelled out: pixel (h, w) of channel c stands at c*1024 + h*32 + w."""
    c, h, w = np.ogrid[:3, :32, :32]
    index = np.broadcast_to(c * 1024 + h * 32 + w, (3, 32, 32))
    return np.stack([np.stack([row[index[channel]] for channel in range(3)], axis=-1) for row in rows])


def cifar10_batches():
    rows = [random_rows(PER_BATCH, seed) for seed in range(6)]
    labels = [[(7 * i + seed) % 10 for i in range(PER_BATCH)] for seed in range(6)]
    return rows, labels


def write_cifar10_pickles(folder, protocol=2, python2=False):
    folder.mkdir(parents=True)
    rows, labels = cifar10_batches()
    for index, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        content = {"data": rows[index], "labels": labels[index], "batch_label": name, "filenames": ["a.png"] * PER_BATCH}
        if python2:  # Python 2 wrote byte strings and named numpy.core
            content = {key.encode(): value for key, value in content.items()}
        written = pickle.dumps(content, protocol=protocol)
        if python2:
            written = written.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        (folder / name).write_bytes(written)


def write_cifar10_binaries(folder):
    folder.mkdir(parents=True)
    rows, labels = cifar10_batches()
    for index, name in enumerate([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]):
        (folder / name).write_bytes(np.hstack([np.array(labels[index], np.uint8)[:, None], rows[index]]).tobytes())


def pack(folder, archive):
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, arcname=folder.name)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def assert_cifar10(loaded):
    (x_train, y_train), (x_test, y_test) = loaded
    rows, labels = cifar10_batches()
    assert x_train.dtype == x_test.dtype == y_train.dtype == y_test.dtype == np.uint8
    np.testing.assert_array_equal(x_train, nhwc(np.concatenate(rows[:5])))
    np.testing.assert_array_equal(x_test, nhwc(rows[5]))
    np.testing.assert_array_equal(y_train, np.concatenate(labels[:5])[:, None])
    np.testing.assert_array_equal(y_test, np.array(labels[5])[:, None])


class TestCifar10:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_pickles_of_every_protocol(self, data, protocol):
        write_cifar10_pickles(data / "cifar-10-batches-py", protocol)
        assert_cifar10(datasets.cifar10.load_data())

    def test_pickles_as_python_2_wrote_them(self, data):
        write_cifar10_pickles(data / "cifar-10-batches-py", python2=True)
        assert_cifar10(datasets.cifar10.load_data())

    def test_binaries(self, data):
        write_cifar10_binaries(data / "cifar-10-batches-bin")
        assert_cifar10(datasets.cifar10.load_data())

    def test_tarball_of_pickles(self, data):
        write_cifar10_pickles(data / "cifar-10-batches-py")
        pack(data / "cifar-10-batches-py", data / "cifar-10-python.tar.gz")
        assert_cifar10(datasets.cifar10.load_data())

    def test_tarball_of_binaries(self, data):
        write_cifar10_binaries(data / "cifar-10-batches-bin")
        pack(data / "cifar-10-batches-bin", data / "cifar-10-binary.tar.gz")
        assert_cifar10(datasets.cifar10.load_data())
        assert [path.name for path in data.iterdir()] == ["cifar-10-binary.tar.gz"]  # nothing was unpacked

    def test_the_folder_itself_may_be_named(self, tmp_path, monkeypatch):
        write_cifar10_pickles(tmp_path / "cifar-10-batches-py")
        monkeypatch.setenv("MINICNN_DATA_DIR", str(tmp_path / "cifar-10-batches-py"))
        assert_cifar10(datasets.cifar10.load_data())

    def test_where_keras_3_unpacks_it(self, tmp_path):
        write_cifar10_pickles(tmp_path / "home/.keras/datasets/cifar-10-batches-py-target/cifar-10-batches-py")
        assert_cifar10(datasets.cifar10.load_data())

    def test_keras_home_is_respected(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
        write_cifar10_pickles(tmp_path / "elsewhere/datasets/cifar-10-batches-py")
        assert_cifar10(datasets.cifar10.load_data())

    def test_the_order_of_folders(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        assert datasets.search_dirs() == [
            tmp_path / "data",
            tmp_path / "keras" / "datasets",
            tmp_path / "home" / ".minicnn" / "datasets",
        ]

    def test_a_label_out_of_range_is_named(self, data):
        write_cifar10_binaries(data / "cifar-10-batches-bin")
        path = data / "cifar-10-batches-bin" / "data_batch_3.bin"
        path.write_bytes(bytes([10]) + path.read_bytes()[1:])
        with pytest.raises(ValueError, match=r"cifar-10-batches-bin cannot be read: data_batch_3\.bin has labels up to 10"):
            datasets.cifar10.load_data()

    def test_a_cut_file_is_named(self, data):
        write_cifar10_binaries(data / "cifar-10-batches-bin")
        (data / "cifar-10-batches-bin" / "data_batch_2.bin").write_bytes(b"\x01" * 100)
        with pytest.raises(ValueError, match=r"data_batch_2\.bin has 100 bytes, not a multiple of 3,073"):
            datasets.cifar10.load_data()

    def test_a_cut_tarball_is_named(self, data):
        write_cifar10_binaries(data / "cifar-10-batches-bin")
        pack(data / "cifar-10-batches-bin", data / "cifar-10-binary.tar.gz")
        whole = (data / "cifar-10-binary.tar.gz").read_bytes()
        (data / "cifar-10-binary.tar.gz").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz cannot be read: it is not a whole tar archive"):
            datasets.cifar10.load_data()


def test_cifar_pickles_are_read_as_keras_reads_them(data):
    from keras.src.datasets.cifar import load_batch

    write_cifar10_pickles(data / "cifar-10-batches-py", protocol=3, python2=True)
    images, labels = load_batch(str(data / "cifar-10-batches-py" / "test_batch"))
    _, (x_test, y_test) = datasets.cifar10.load_data()
    np.testing.assert_array_equal(x_test, images.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(y_test[:, 0], labels)


class TestCifar100:
    FINE, COARSE = [99, 0, 45], [19, 3, 7]

    def write_pickles(self, folder):
        folder.mkdir()
        for seed, name in enumerate(("train", "test")):
            content = {b"data": random_rows(3, seed), b"fine_labels": self.FINE, b"coarse_labels": self.COARSE}
            (folder / name).write_bytes(pickle.dumps(content, protocol=2))

    def write_binaries(self, folder):
        folder.mkdir()
        labels = np.array([self.COARSE, self.FINE], np.uint8).T
        for seed, name in enumerate(("train.bin", "test.bin")):
            (folder / name).write_bytes(np.hstack([labels, random_rows(3, seed)]).tobytes())

    @pytest.mark.parametrize("layout", ["python", "binary"])
    @pytest.mark.parametrize("label_mode", ["fine", "coarse"])
    @pytest.mark.parametrize("packed", [False, True])
    def test_return_values(self, data, layout, label_mode, packed):
        folder = data / f"cifar-100-{layout}"
        self.write_pickles(folder) if layout == "python" else self.write_binaries(folder)
        if packed:
            pack(folder, data / f"cifar-100-{layout}.tar.gz")
        (x_train, y_train), (x_test, y_test) = datasets.cifar100.load_data(label_mode=label_mode)
        np.testing.assert_array_equal(x_train, nhwc(random_rows(3, 0)))
        np.testing.assert_array_equal(x_test, nhwc(random_rows(3, 1)))
        expected = np.array(self.FINE if label_mode == "fine" else self.COARSE)[:, None]
        for labels in (y_train, y_test):
            assert labels.dtype == np.int64
            np.testing.assert_array_equal(labels, expected)

    def test_an_unknown_label_mode(self):
        with pytest.raises(ValueError, match=r'`label_mode` must be one of `"fine"`, `"coarse"`. Received: label_mode=rough'):
            datasets.cifar100.load_data("rough")

    def test_names(self):
        assert len(set(datasets.cifar100.CLASS_NAMES)) == 100
        assert len(set(datasets.cifar100.COARSE_CLASS_NAMES)) == 20
        assert list(datasets.cifar100.CLASS_NAMES) == sorted(datasets.cifar100.CLASS_NAMES)


def grey_parts():
    random = np.random.default_rng(5)
    return [
        (random.integers(0, 256, (count, 28, 28), dtype=np.uint8), random.integers(0, 10, count, dtype=np.uint8))
        for count in (5, 3)
    ]


def write_idx(folder):
    folder.mkdir(parents=True)
    for prefix, (images, labels) in zip(("train", "t10k"), grey_parts(), strict=True):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))


def assert_grey(loaded):
    for (x, y), (images, labels) in zip(loaded, grey_parts(), strict=True):
        assert x.dtype == y.dtype == np.uint8
        np.testing.assert_array_equal(x, images)
        np.testing.assert_array_equal(y, labels)


class TestMnistAndFashionMnist:
    def test_npz(self, data):
        (x_train, y_train), (x_test, y_test) = grey_parts()
        np.savez(data / "mnist.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
        assert_grey(datasets.mnist.load_data())

    def test_npz_of_arrays_whose_columns_come_first(self, data):
        """As NumPy saves what was transposed."""
        arrays = (np.asfortranarray(array) for part in grey_parts() for array in part)
        np.savez(data / "mnist.npz", **dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays)))
        assert_grey(datasets.mnist.load_data())

    def test_npz_under_another_name(self, data):
        (x_train, y_train), (x_test, y_test) = grey_parts()
        np.savez(data / "other.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
        assert_grey(datasets.mnist.load_data(path="other.npz"))
        assert_grey(datasets.mnist.load_data(path=str(data / "other.npz")))

    def test_npz_with_objects_runs_nothing(self, data):
        np.savez(data / "mnist.npz", x_train=np.array([Trap(str(data / "ran"))], dtype=object), allow_pickle=True)
        with pytest.raises(ValueError, match=r"mnist.npz cannot be read: Object arrays cannot be loaded"):
            datasets.mnist.load_data()
        assert not (data / "ran").exists()

    @pytest.mark.parametrize("folder", ["mnist", "MNIST/raw"])
    def test_mnist_in_idx(self, data, folder):
        write_idx(data / folder)
        assert_grey(datasets.mnist.load_data())

    def test_fashion_mnist_where_keras_keeps_it(self, tmp_path):
        write_idx(tmp_path / "home/.keras/datasets/fashion-mnist")
        assert_grey(datasets.fashion_mnist.load_data())

    @pytest.mark.parametrize(
        "content",
        [
            b"no gzip",
            gzip.compress(b"\0\0\x08\x01\0\0\0\x09123"),
            gzip.compress(b"\0\0\x08\x01\0\0\0\x03\1\2\3\4"),  # three labels, says the header
            gzip.compress(bytes(20))[:-9],
            gzip.compress(bytes(20))[:10] + b"\xff" * 20,  # no stream that can be inflated
        ],
        ids=range(5),
    )
    def test_a_damaged_file_is_named(self, data, content):
        write_idx(data / "fashion-mnist")
        (data / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte\.gz is no"):
            datasets.fashion_mnist.load_data()


class TestDigits:
    def test_the_scans_are_scikit_learns(self):
        from sklearn.datasets import load_digits

        (x_train, y_train), (x_test, y_test) = datasets.digits.load_data()
        assert x_train.shape == (1442, 8, 8, 1)
        assert x_test.shape == (355, 8, 8, 1)
        assert x_train.dtype == np.uint8
        assert y_train.shape == (1442,)
        assert y_test.shape == (355,)
        assert y_train.dtype == np.uint8
        scans = load_digits()
        expected = {(np.rint(image * 255 / 16).astype(np.uint8).tobytes(), t) for image, t in zip(scans.images, scans.target)}
        x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
        assert {(image.tobytes(), int(label)) for image, label in zip(x, y, strict=True)} == expected

    def test_every_digit_is_split_alike_and_always_alike(self):
        (_, y_train), (x_test, y_test) = datasets.digits.load_data()
        share = np.bincount(y_test) / (np.bincount(y_train) + np.bincount(y_test))
        assert np.all(np.abs(share - 0.2) < 0.005)
        np.testing.assert_array_equal(x_test, datasets.digits.load_data()[1][0])

    def test_scaled_up_like_tensorflow(self):
        import tensorflow as tf

        (small, y_small), _ = datasets.digits.load_data()
        (large, y_large), _ = datasets.digits.load_data(as_rgb32=True)
        assert large.shape == (1442, 32, 32, 3)
        assert large.dtype == np.uint8
        np.testing.assert_array_equal(y_small, y_large)
        resized = tf.image.resize(small[:50].astype("float32"), (32, 32), method="bilinear").numpy()
        assert np.abs(large[:50] - resized).max() <= 1  # `small` was rounded before it was resized
        np.testing.assert_array_equal(large[..., 0], large[..., 2])


def png(value):
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGBA", (300, 300), (value, 2, 3, 128)).save(file, "png")
    return file.getvalue()


HORSES = {
    "horse-or-human": {"horses/horse01-0.png": 10, "horses/horse02-0.png": 20, "humans/human01-00.png": 30},
    "validation-horse-or-human": {"horses/horse1-000.png": 40, "humans/valhuman01-00.png": 50},
}


class TestHorsesOrHumans:
    def write_zips(self, folder):
        for part, pictures in HORSES.items():
            with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
                for name, value in reversed(pictures.items()):
                    archive.writestr(name, png(value))
                archive.writestr("__MACOSX/horses/._horse01-0.png", b"no picture")

    def check(self):
        (x_train, y_train), (x_test, y_test) = datasets.horses_or_humans.load_data()
        assert x_train.shape == (3, 300, 300, 3)
        assert x_train.dtype == np.uint8
        assert x_train[:, 7, 9].tolist() == [[10, 2, 3], [20, 2, 3], [30, 2, 3]]
        assert y_train.tolist() == [0, 0, 1]
        assert x_test[:, 299, 0].tolist() == [[40, 2, 3], [50, 2, 3]]
        assert y_test.tolist() == [0, 1]

    def test_zips(self, data):
        self.write_zips(data)
        self.check()

    def test_folders(self, data):
        for part, pictures in HORSES.items():
            for name, value in pictures.items():
                path = data / "horses_or_humans" / part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png(value))
        self.check()

    def test_a_broken_picture_is_reported(self, data):
        self.write_zips(data)
        with zipfile.ZipFile(data / "horse-or-human.zip", "a") as archive:
            archive.writestr("humans/human99.png", b"no picture")
        with pytest.raises(ValueError, match=r"horses_or_humans: .* cannot be read as a picture"):
            datasets.horses_or_humans.load_data()


class Trap:
    """Unpickled the ordinary way, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


class TestUnpickle:
    @pytest.mark.parametrize("dtype", ["u1", "<i4", ">f8", "?"])
    @pytest.mark.parametrize("protocol", range(2, 6))
    def test_arrays_and_plain_containers(self, dtype, protocol):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        value = {"a": [1, 2.5, None, True], "array": array, "columns": np.asfortranarray(array), "more": {"text": "é"}}
        loaded = _unpickle.loads(pickle.dumps(value, protocol=protocol))
        for name in ("array", "columns"):
            assert loaded[name].dtype == array.dtype
            np.testing.assert_array_equal(loaded[name], array)
        assert loaded["a"] == value["a"]
        assert loaded["more"] == value["more"]

    @pytest.mark.parametrize("protocol", range(6))
    def test_nothing_that_a_pickle_names_is_run(self, tmp_path, protocol):
        for value in (Trap(str(tmp_path / "ran")), {"data": [Trap(str(tmp_path / "ran"))]}):
            with pytest.raises(pickle.UnpicklingError, match=r"names \w+\.mkdir; only NumPy arrays .* nothing was run"):
                _unpickle.loads(pickle.dumps(value, protocol=protocol))
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        "written",
        [
            b"cbuiltins\neval\n(S'1+1'\ntR.",
            b"cnumpy.core.multiarray\nscalar\n.",
            b"cnumpy\nload\n.",
            b"cnumpy\nndarray.tofile\n.",
            b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
        ],
        ids=range(5),
    )
    def test_other_names_are_refused(self, written):
        with pytest.raises(pickle.UnpicklingError, match="only NumPy arrays and plain containers are read"):
            _unpickle.loads(written)

    def test_what_a_pickle_is_handed_it_cannot_change(self):
        """BUILD with a pair of dicts sets attributes on whatever stands on the stack, functions included."""
        written = b"c_codecs\nencode\n(N(V__defaults__\n(Vutf-8\ntdtb."
        with pytest.raises(pickle.UnpicklingError, match="it changes what is no array"):
            _unpickle.loads(written)
        assert _unpickle._encode("é") == b"\xe9"

    def test_arrays_of_objects_are_refused(self):
        with pytest.raises(pickle.UnpicklingError, match="only arrays of plain numbers"):
            _unpickle.loads(pickle.dumps(np.array([{}, []], dtype=object)))

    def test_an_array_must_have_the_bytes_of_its_shape(self):
        written = pickle.dumps(np.zeros((3, 200), np.uint8), protocol=2)
        with pytest.raises(pickle.UnpicklingError, match=r"shape \[?\(?3, 201.* in 600 bytes"):
            _unpickle.loads(written.replace(b"K\xc8", b"K\xc9"))

    @pytest.mark.parametrize("written", [b"", b"garbage", pickle.dumps([1, 2, 3])[:-2]], ids=range(3))
    def test_damaged(self, written):
        with pytest.raises(pickle.UnpicklingError):
            _unpickle.loads(written)

    def test_a_loader_names_the_file(self, data):
        write_cifar10_pickles(data / "cifar-10-batches-py")
        (data / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Trap(str(data / "ran"))))
        with pytest.raises(ValueError, match=r"cifar-10-batches-py cannot be read: .*nothing was run"):
            datasets.cifar10.load_data()
        assert not (data / "ran").exists()


def test_a_tarball_cannot_reach_out(data, tmp_path):
    """Members that are links or have paths upwards are not followed: files are read by name, none is written."""
    (tmp_path / "secret").write_bytes(b"\x01" * 3073)
    with tarfile.open(data / "cifar-10-binary.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        archive.addfile(link)
        upwards = tarfile.TarInfo("../../escaped")
        upwards.size = 3
        archive.addfile(upwards, io.BytesIO(b"abc"))
    with pytest.raises(ValueError, match=r"it lacks data_batch_1\.bin"):
        datasets.cifar10.load_data()
    assert not list(tmp_path.rglob("escaped"))


def test_sizes_are_bounded(data, monkeypatch):
    from minicnn.datasets import _cifar

    monkeypatch.setattr(_cifar, "_LARGEST_FILE", 1000)
    write_cifar10_binaries(data / "cifar-10-batches-bin")
    with pytest.raises(ValueError, match=r"data_batch_1\.bin has 12,292 bytes, more than the 1,000"):
        datasets.cifar10.load_data()
    pack(data / "cifar-10-batches-bin", data / "cifar-10-binary.tar.gz")
    with pytest.raises(ValueError, match=r"has 12,292 bytes, more than the 1,000"):
        datasets.cifar10.load_data()


class TestDownload:
    CONTENT = b"the bytes of a data set" * 40_000

    @pytest.fixture
    def source(self):
        def read(path: Path):
            part = (np.frombuffer(path.read_bytes(), np.uint8), np.zeros(1))
            return part, part

        download = _store.Download(
            "https://example.org/set.bin", hashlib.sha256(self.CONTENT).hexdigest(), len(self.CONTENT), "set.bin"
        )
        return _store.Source("set", (_store.Layout("set.bin", (), read),), (download,), "https://example.org")

    def serve(self, monkeypatch, content, error=None):
        """The address answers `content`, then fails with `error` if there is one."""
        asked = []

        class Response(io.BytesIO):
            def read(self, size=-1):
                chunk = super().read(size)
                if not chunk and error:
                    raise error
                return chunk

        def urlopen(request, timeout):
            asked.append(request.full_url)
            return Response(content)

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)
        return asked

    def test_downloads_once_and_leaves_the_file_alone(self, data, source, monkeypatch, capsys):
        asked = self.serve(monkeypatch, self.CONTENT)
        (x, _), _ = _store.read(source)
        assert x.tobytes() == self.CONTENT
        assert asked == ["https://example.org/set.bin"]
        assert [path.name for path in data.iterdir()] == ["set.bin"]
        assert "Downloading https://example.org/set.bin (920,000 bytes)" in capsys.readouterr().err
        _store.read(source)
        assert len(asked) == 1

    def test_what_is_there_of_several_files_is_not_downloaded_again(self, data, source, monkeypatch):
        asked = self.serve(monkeypatch, self.CONTENT)
        (one,) = source.downloads
        two = _store.Download("https://example.org/two.bin", one.digest, one.size, "two.bin")
        layout = _store.Layout(".", ("set.bin", "two.bin"), source.layouts[0].read)
        (data / "set.bin").write_bytes(b"mine")
        _store.fetch(_store.Source("set", (layout,), (one, two), "https://example.org"), verbose=False)
        assert asked == [two.url]
        assert (data / "set.bin").read_bytes() == b"mine"

    def test_what_does_not_end_is_not_read_to_its_end(self, data, source, monkeypatch):
        read = []

        class Endless(io.BytesIO):
            def read(self, size=-1):
                read.append(size)
                assert len(read) < 100
                return bytes(size)

        monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: Endless())
        with pytest.raises(_store.DatasetUnavailableError, match="expected 920,000 bytes, received more than 920,000"):
            _store.fetch(source, verbose=False)

    def test_without_a_chosen_folder_it_goes_to_the_own_cache(self, tmp_path, source, monkeypatch):
        monkeypatch.delenv("MINICNN_DATA_DIR")
        self.serve(monkeypatch, self.CONTENT)
        assert _store.fetch(source, verbose=False).path == tmp_path / "home/.minicnn/datasets/set.bin"

    @pytest.mark.parametrize(
        ("content", "error", "message"),
        [
            (CONTENT[:-1], None, "expected 920,000 bytes, received 919,999"),
            (CONTENT + b"!", None, "expected 920,000 bytes, received more than 920,000"),
            (b"X" + CONTENT[1:], None, "expected SHA-256 .*, received"),
            (CONTENT[:1000], TimeoutError("timed out"), "timed out"),
        ],
        ids=["short", "long", "changed", "broken off"],
    )
    def test_what_is_not_the_file_is_refused(self, data, source, monkeypatch, content, error, message):
        self.serve(monkeypatch, content, error)
        with pytest.raises(datasets.DatasetUnavailableError, match=message):
            _store.read(source)
        assert list(data.iterdir()) == []

    def test_a_failed_download_leaves_no_empty_folder(self, tmp_path, source, monkeypatch):
        monkeypatch.delenv("MINICNN_DATA_DIR")
        self.serve(monkeypatch, self.CONTENT[:1000], TimeoutError("timed out"))
        (tmp_path / "home").mkdir(exist_ok=True)
        with pytest.raises(datasets.DatasetUnavailableError, match="timed out"):
            _store.read(source)
        assert list((tmp_path / "home").iterdir()) == []

    def test_ctrl_c_leaves_nothing_behind(self, data, source, monkeypatch):
        self.serve(monkeypatch, self.CONTENT[:1000], KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            _store.read(source)
        assert list(data.iterdir()) == []

    def test_no_network_says_what_was_tried_and_what_to_do(self, tmp_path):
        with pytest.raises(datasets.DatasetUnavailableError) as caught:
            datasets.cifar10.load_data()
        message = str(caught.value)
        for part in (
            "cifar10 is not on this machine",
            "cifar-10-batches-py",
            *map(str, datasets.search_dirs()),
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (the network is down)",
            f"(170,052,171 bytes)  at  {tmp_path / 'data' / 'cifar-10-binary.tar.gz'}",
            "MINICNN_DATA_DIR",
        ):
            assert part in message


class TestCatalog:
    def test_what_is_cached_and_where(self, data):
        write_idx(data / "fashion-mnist")
        entries = {entry.name: entry for entry in datasets.cached()}
        assert set(entries) == {"cifar10", "cifar100", "digits", "fashion_mnist", "horses_or_humans", "mnist"}
        assert entries["cifar10"].path is None
        assert entries["cifar10"].size == 0
        assert entries["cifar10"].download_size == 170_052_171
        assert entries["fashion_mnist"].path == data / "fashion-mnist"
        assert entries["fashion_mnist"].size == sum(file.stat().st_size for file in (data / "fashion-mnist").iterdir())
        assert entries["digits"].path.is_file()
        assert entries["digits"].download_size == 0

    def test_fetch_finds_before_it_downloads(self, data):
        write_idx(data / "mnist")
        assert datasets.fetch("mnist") == data / "mnist"
        with pytest.raises(datasets.DatasetUnavailableError):
            datasets.fetch("cifar100")
        with pytest.raises(ValueError, match=r"Unknown data set: 'cifar'. Did you mean 'cifar10'"):
            datasets.fetch("cifar")

    @pytest.mark.parametrize(
        ("name", "count"), [("cifar10", 10), ("fashion_mnist", 10), ("mnist", 10), ("digits", 10), ("horses_or_humans", 2)]
    )
    def test_class_names(self, name, count):
        assert len(set(getattr(datasets, name).CLASS_NAMES)) == count


class TestSplits:
    SIZES = {"train": 11, "test": 4}

    @pytest.mark.parametrize(
        ("split", "expected"),
        [
            ("train", [("train", range(11))]),
            ("test[1:3]", [("test", range(1, 3))]),
            ("train[:80%]", [("train", range(9))]),
            ("train[80%:]", [("train", range(9, 11))]),
            ("train[-3:]", [("train", range(8, 11))]),
            ("train[-50%:]", [("train", range(5, 11))]),
            ("train[5:100]", [("train", range(5, 11))]),
            ("train[:0]", [("train", range(0))]),
            ("train[:2] + test", [("train", range(2)), ("test", range(4))]),
            ("all", [("train", range(11)), ("test", range(4))]),
        ],
    )
    def test_syntax(self, split, expected):
        assert parse_split(split, self.SIZES) == expected

    @pytest.mark.parametrize("percent", range(0, 101, 7))
    def test_two_sides_of_a_cut_make_a_whole(self, percent):
        (left,), (right,) = (parse_split(text, self.SIZES) for text in (f"train[:{percent}%]", f"train[{percent}%:]"))
        assert [*left[1], *right[1]] == list(range(11))

    @pytest.mark.parametrize("split", ["train[", "train[1]", "train[:x]", "", "train[:50%%]"])
    def test_another_syntax(self, split):
        with pytest.raises(ValueError, match="Unrecognized split"):
            parse_split(split, self.SIZES)

    def test_an_unknown_split(self):
        with pytest.raises(ValueError, match=r"Unknown split 'validation'. Should be one of \['train', 'test', 'all'\]"):
            parse_split("validation[:3]", self.SIZES)


class TestLoad:
    @pytest.fixture(autouse=True)
    def _without_tensorflow_datasets(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)

    def test_elements_and_info(self, data):
        write_cifar10_binaries(data / "cifar-10-batches-bin")
        (train, test), info = datasets.load("cifar10", split=["train", "test"], as_supervised=True, with_info=True)
        (x_train, y_train), (x_test, y_test) = datasets.cifar10.load_data()
        for dataset, images, labels in ((train, x_train, y_train), (test, x_test, y_test)):
            assert len(dataset) == len(images)
            for (image, label), expected, number in zip(dataset, images, labels[:, 0], strict=True):
                assert (image.dtype, label.dtype, label.shape) == (np.uint8, np.int64, ())
                np.testing.assert_array_equal(image, expected)
                assert label == number
        assert info.name == "cifar10"
        assert info.features["image"].shape == (32, 32, 3)
        label = info.features["label"]
        assert label.num_classes == 10
        assert label.names == list(datasets.cifar10.CLASS_NAMES)
        assert label.str2int("cat") == 3
        assert label.int2str(np.int64(3)) == "cat"
        assert info.splits["train"].num_examples == 5 * PER_BATCH
        assert info.splits["train[:50%]"].num_examples == 10
        assert info.splits.total_num_examples == 6 * PER_BATCH
        assert list(info.splits) == ["train", "test"]
        with pytest.raises(ValueError, match="Unknown class: 'mouse'"):
            label.str2int("mouse")
        with pytest.raises(ValueError, match="no class 10: labels go from 0 to 9"):
            label.int2str(10)
        with pytest.raises(KeyError, match="Unknown split 'validation'"):
            info.splits["validation"]

    def test_all_shapes_of_an_answer(self, data):
        write_idx(data / "mnist")
        whole = datasets.load("mnist")
        assert set(whole) == {"train", "test"}
        first = next(iter(whole["train"]))
        assert set(first) == {"image", "label"}
        assert first["image"].shape == (28, 28, 1)
        named = datasets.load("mnist", split={"a": "train[:2]", "b": ("test", "train[2:]+test")}, as_supervised=True)
        assert [len(named["a"]), *map(len, named["b"])] == [2, 3, 6]
        labels = [int(label) for _, label in named["b"][1]]
        assert labels == [*grey_parts()[0][1][2:], *grey_parts()[1][1]]
        images, labels = datasets.load("mnist", split="test", as_supervised=True, batch_size=-1)
        np.testing.assert_array_equal(images[..., 0], grey_parts()[1][0])
        batches = datasets.load("mnist", split="train", batch_size=2)
        assert [len(batch["label"]) for batch in datasets.as_numpy(batches)] == [2, 2, 1]

    def test_shuffling_follows_the_global_seed(self):
        def order(seed):
            config.set_random_seed(seed)
            data = datasets.load("digits", split="train", shuffle_files=True, as_supervised=True)
            return [place[image.tobytes()] for image, _ in data.take(50)]

        place = {image.tobytes(): i for i, (image, _) in enumerate(datasets.load("digits", split="train", as_supervised=True))}
        assert order(3) == order(3) != order(4)
        assert max(order(3)) > len(place) // 2  # out of all images

    def test_cifar100_has_its_fine_labels(self, data):
        TestCifar100().write_binaries(data / "cifar-100-binary")
        labels = [int(label) for _, label in datasets.load("cifar100", split="train", as_supervised=True)]
        assert labels == TestCifar100.FINE

    def test_horses_or_humans(self, data):
        TestHorsesOrHumans().write_zips(data)
        train, info = datasets.load("horses_or_humans", split="train", with_info=True)
        assert info.features["image"].shape == (300, 300, 3)
        assert [info.features["label"].int2str(example["label"]) for example in train] == ["horses", "horses", "humans"]

    def test_data_dir_comes_first(self, data, tmp_path):
        write_idx(tmp_path / "elsewhere" / "mnist")
        assert len(datasets.load("mnist", split="test", data_dir=tmp_path / "elsewhere")) == 3
        with pytest.raises(datasets.DatasetUnavailableError, match="Downloading was not allowed"):
            datasets.load("mnist", split="test", download=False)
        with pytest.raises(datasets.DatasetUnavailableError, match="the network is down"):
            datasets.load("mnist", split="test")

    def test_an_unknown_name(self):
        with pytest.raises(ValueError, match=r"Unknown data set: 'cifar-10'. Did you mean 'cifar10'.*cannot be imported"):
            datasets.load("cifar-10")

    def test_builder(self):
        builder = datasets.builder("digits")
        builder.download_and_prepare()
        assert builder.info.splits["test"].num_examples == len(builder.as_dataset(split="test")) == 355
        assert "digits" in datasets.list_builders()


class StandIn:
    """The part of tensorflow_datasets that is used: what it has prepared, or can download, under any name."""

    def __init__(self, prepared, error=None):
        self.asked = []
        self.data_path = SimpleNamespace(exists=lambda: prepared)
        self.error = error
        self.info = SimpleNamespace(splits={"train": SimpleNamespace(num_examples=2)})

    def builder(self, name, data_dir):
        if name == "unknown":
            raise LookupError("no builder of that name")
        return self

    def download_and_prepare(self):
        self.asked.append("download")
        if self.error:
            raise self.error

    def as_dataset(self, split, shuffle_files, as_supervised):
        self.asked.append((split, shuffle_files, as_supervised))
        return "examples"

    def as_numpy(self, examples):
        assert examples == "examples"
        return iter([(np.zeros((2, 2, 3), np.uint8), np.int64(0)), (np.ones((2, 2, 3), np.uint8), np.int64(1))])


class TestThroughTensorflowDatasets:
    def install(self, monkeypatch, *arguments):
        library = StandIn(*arguments)
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", library)
        return library

    def test_what_it_has_prepared_is_taken(self, data, monkeypatch):
        write_idx(data / "mnist")
        library = self.install(monkeypatch, True)
        train, info = datasets.load("mnist", split="train", as_supervised=True, with_info=True, shuffle_files=True)
        assert info is library.info
        assert library.asked == [("train", True, True)]
        assert len(train) == 2
        for _ in range(2):
            assert [int(label) for _, label in train] == [0, 1]

    def test_own_files_come_before_its_download(self, data, monkeypatch):
        write_idx(data / "mnist")
        library = self.install(monkeypatch, False)
        assert len(datasets.load("mnist", split="train")) == 5
        assert library.asked == []

    @pytest.mark.parametrize("name", ["mnist", "rock_paper_scissors"])
    def test_it_downloads_what_is_nowhere(self, monkeypatch, name):
        library = self.install(monkeypatch, False)
        images, _ = datasets.load(name, split="train", as_supervised=True, batch_size=-1)
        assert library.asked[0] == "download"
        assert images.shape == (2, 2, 2, 3)

    def test_where_it_fails_minicnn_tries(self, monkeypatch):
        self.install(monkeypatch, False, OSError("its server is down"))
        with pytest.raises(datasets.DatasetUnavailableError, match="the network is down"):
            datasets.load("mnist", split="train")
        with pytest.raises(ValueError, match=r"Unknown data set: 'flowers'.*OSError: its server is down"):
            datasets.load("flowers")
        with pytest.raises(ValueError, match="LookupError: no builder of that name"):
            datasets.load("unknown")


@pytest.mark.parametrize("packed", [False, True])
def test_asked_for_files_of_any_size_up_to_the_limit(tmp_path, packed):
    content = {
        "small": b"s",
        "large": np.random.default_rng(0).bytes(100_000),
        "larger": np.random.default_rng(1).bytes(200_000),
    }
    place = tmp_path / "files"
    if packed:
        with tarfile.open(place, "w:gz") as archive:
            for name, data in content.items():
                member = tarfile.TarInfo(f"folder/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    else:
        place.mkdir()
        for name, data in content.items():
            (place / name).write_bytes(data)
    assert read_files(place, ["large", "small"], 100_000) == [content["large"], content["small"]]
    with pytest.raises(ValueError, match=r"large has 100,000 bytes, more than the 99,999 that it may have"):
        read_files(place, ["small", "large"], 99_999)
    with pytest.raises(ValueError, match="it lacks none, nothing"):
        read_files(place, ["none", "small", "nothing"], 100_000)
