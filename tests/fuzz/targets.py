"""What is fuzzed: for each loader a few small good files, and a function that reads any bytes with it.

A target may raise `FileFormatError` (and nothing else), may print nothing, starts no program and opens no other file.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gzip
import io
import json
import os
import pickle
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import minicnn
from minicnn import saving
from minicnn.data.pictures import open_picture
from minicnn.datasets import _idx, _store, cifar10, horses_or_humans, mnist
from minicnn.datasets._store import Source
from minicnn.saving import weights_file
from minicnn.saving.state import pack_state
from minicnn.untrusted import FileFormatError

__all__ = ["FOLDER", "TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """A loader under test.

    Attributes:
        seeds: good files, by name.
        read: reads one file's bytes; returns whether they were accepted.
        most_bytes: that reading one may take.
    """

    seeds: Callable[[], dict[str, bytes]]
    read: Callable[[bytes], bool]
    most_bytes: int = 200 * 2**20


_MEMORY = Path("/dev/shm")  # a folder in memory, where the system has one
FOLDER = Path(tempfile.mkdtemp(prefix="minicnn-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


def _accepts(act: Callable[[], object]) -> bool:
    try:
        act()
    except FileFormatError as error:
        message = str(error)
        assert len(message) < 2500, len(message)
        assert all(char.isprintable() or char == "\n" for char in message), message
        return False
    return True


def _written(name: str, content: bytes) -> Path:
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- models ---------------------------------------------------------------------------------


def _model() -> minicnn.Model:
    minicnn.set_backend("reference")  # needs no compiling
    minicnn.utils.clear_session()
    image = minicnn.Input((4, 4, 2))
    x = minicnn.layers.Conv2D(2, 3, padding="same", activation="relu", kernel_regularizer="l2")(image)
    x = minicnn.layers.Add()([x, minicnn.layers.BatchNormalization()(x)])
    x = minicnn.layers.Dropout(0.1)(minicnn.layers.GlobalAveragePooling2D()(x))
    x = minicnn.Sequential([minicnn.Input((2,)), minicnn.layers.Dense(3), minicnn.layers.LeakyReLU(0.1)])(x)
    model = minicnn.Model(image, minicnn.layers.Dense(2, activation="softmax")(x))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def _saved(ending: str) -> bytes:
    path = FOLDER / f"seed{ending}"
    _model().save_weights(path) if ending == ".weights.h5" else _model().save(path)
    return path.read_bytes()


def _keras_seeds() -> dict[str, bytes]:
    whole = _saved(".keras")
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return {"stored": whole, "deflated": packed.getvalue()}


def _repacked(content: bytes, **options: Any) -> bytes:
    """The same HDF5 tree in another variant of the format, with more links in a group than a header holds."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as old, h5py.File(buffer, "w", **options) as new:
        for name in old:
            old.copy(name, new)
        new.attrs.update(old.attrs)
        many = new.create_group("many")
        for index in range(40):
            many[f"link {index}"] = h5py.SoftLink("/")
    return buffer.getvalue()


def _without_sums(content: bytes) -> bytes:
    """As Keras writes it: numbers can change and are still read. With the attribute of our own older files."""
    import h5py

    buffer = io.BytesIO(content)
    with h5py.File(buffer, "a") as file:
        del file["minicnn_training"], file.attrs["minicnn_sha256"]
        file.attrs["minicnn_training_state"] = '{"shuffle_seed": 3, "passes_done": 2}'
    return buffer.getvalue()


def _weights_seeds() -> dict[str, bytes]:
    whole = _saved(".weights.h5")
    newest = _repacked(_without_sums(whole), libver="latest")
    return {"weights": whole, "without sums": _without_sums(whole), "newest": newest}


def _h5_seeds() -> dict[str, bytes]:
    whole = _saved(".h5")
    return {"h5": whole, "newest": _repacked(whole, libver="latest")}


def _state_seeds() -> dict[str, bytes]:
    run = {"epoch": 1, "logs": {"loss": 0.5}, "means": np.arange(3.0), "batch": [np.arange(2, dtype=np.uint8), None]}
    model = {"shuffle_seed": 3, "passes_done": 2}
    return {"none": pack_state({"model": model}), "backup": pack_state({"model": model, "run": run})}


def _read_state(content: bytes) -> bool:
    """A weights file with this state of a training, under a checksum that fits: mutations reach the state."""
    import h5py

    buffer = io.BytesIO(_weights())
    packed = np.frombuffer(content, np.uint8)
    with h5py.File(buffer, "a") as file:
        del file["minicnn_training/state"]
        file["minicnn_training/state"] = packed
        total = weights_file._checksums("minicnn_training", {"state": packed})["state"]
        file.attrs["minicnn_sha256"] = np.bytes_(total.encode())
    return _read_weights(buffer.getvalue())


def _read_model(ending: str, content: bytes) -> bool:
    path = _written(f"m{ending}", content)
    return _accepts(lambda: saving.load_model(path))


@functools.cache
def _held_model() -> minicnn.Model:
    return _model()


def _read_weights(content: bytes) -> bool:
    path = _written("m.weights.h5", content)
    return _accepts(lambda: _held_model().load_weights(path))


def _config_seeds() -> dict[str, bytes]:
    return {"config": json.dumps(saving.serialize_keras_object(_model())).encode()}


@functools.cache
def _weights() -> bytes:
    with zipfile.ZipFile(io.BytesIO(_saved(".keras"))) as archive:
        return archive.read("model.weights.h5")


def _read_config(content: bytes) -> bool:
    """A `.keras` archive with this configuration: mutations reach the JSON, not the archive's checksums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", content)
        archive.writestr("model.weights.h5", _weights())
    return _read_model(".keras", buffer.getvalue())


# --- data sets ------------------------------------------------------------------------------


@contextlib.contextmanager
def _only_folder(name: str) -> Iterator[Path]:
    """Data sets are looked for in this folder alone."""
    folder = FOLDER / name
    folder.mkdir(exist_ok=True)
    before = {key: os.environ.get(key) for key in ("MINICNN_DATA_DIR", "HOME", "KERAS_HOME")}
    os.environ.update(MINICNN_DATA_DIR=str(folder), HOME=str(folder / "home"), KERAS_HOME=str(folder / "home"))
    try:
        yield folder
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value


def _read_dataset(source: Source, files: dict[str, bytes]) -> bool:
    with _only_folder(source.name) as folder:
        for name, content in files.items():
            _written(str(folder / name), content)
        return _accepts(lambda: _store.read(source, download=False))


_BATCHES = [*(f"data_batch_{index}" for index in range(1, 6)), "test_batch"]


def _batch_seeds() -> dict[str, bytes]:
    rows = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    content = {"data": rows, "labels": [3, 7], "filenames": ["a.png", "b.png"], "batch_label": "x"}
    return {f"protocol {protocol}": pickle.dumps(content, protocol=protocol) for protocol in range(2, 6)}


def _idx_seeds() -> dict[str, bytes]:
    return {"images": bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(784)}


def _read_idx(content: bytes) -> bool:
    """Gzipped here, so that mutations reach the header and not gzip's checksum; gzip itself is fuzzed where it is no gzip."""
    images = gzip.compress(content, 1) if content[:2] != b"\x1f\x8b" else content
    labels = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]), 1)
    files = {f"mnist/{name}": images if "images" in name else labels for name in _idx.FILES}
    return _read_dataset(mnist.SOURCE, files)


def _with_sums_of_tar(content: bytes) -> bytes:
    """With the checksum of every header made right: else a change within one is a change too early."""
    fixed = bytearray(content)
    for at in range(0, len(fixed) - 511, 512):
        if fixed[at + 257 : at + 262] == b"ustar":
            fixed[at + 148 : at + 156] = b" " * 8
            fixed[at + 148 : at + 156] = b"%06o\0 " % sum(fixed[at : at + 512])
    return bytes(fixed)


def _with_sums_of_png(content: bytes) -> bytes:
    """With the checksum of every chunk made right."""
    fixed, at = bytearray(content), 8
    while content.startswith(b"\x89PNG") and at + 12 <= len(fixed):
        behind = at + 8 + int.from_bytes(fixed[at : at + 4], "big")
        if behind + 4 > len(fixed):
            break
        fixed[behind : behind + 4] = zlib.crc32(fixed[at + 4 : behind]).to_bytes(4, "big")
        at = behind + 4
    return bytes(fixed)


def _tar_seeds() -> dict[str, bytes]:
    seeds = {}
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            for name in _BATCHES:
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{'x' * 120 if form else ''}/{name}.bin")
                member.size = 3073
                archive.addfile(member, io.BytesIO(bytes(3073)))
        seeds[f"tar {form}"] = buffer.getvalue()
    return seeds


def _npz_seeds() -> dict[str, bytes]:
    images, labels = np.zeros((1, 28, 28), np.uint8), np.ones(1, np.uint8)
    buffer, packed = io.BytesIO(), io.BytesIO()
    np.savez(buffer, x_train=images, y_train=labels, x_test=images, y_test=labels)
    np.savez_compressed(packed, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return {"stored": buffer.getvalue(), "deflated": packed.getvalue()}


def _zip_seeds() -> dict[str, bytes]:
    from PIL import Image

    picture, buffer = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (300, 300)).save(picture, "PNG")
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("horses", "humans"):
            archive.writestr(f"{name}/x.png", picture.getvalue())
    return {"zip": buffer.getvalue()}


def _picture_seeds() -> dict[str, bytes]:
    from PIL import Image, PngImagePlugin

    seeds = {}

    def keep(name: str, image: Any, kind: str, **options: Any) -> None:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        seeds[name] = buffer.getvalue()

    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        for mode in ("RGB", "L", "P"):
            if (kind, mode) not in (("JPEG", "P"), ("WEBP", "P"), ("WEBP", "L")):
                keep(f"{kind} {mode}", Image.new(mode, (9, 7), 3), kind)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("a", "b")
    texts.add_text("c", "d" * 99, zip=True)
    texts.add_itxt("e", "f" * 99, "en", "e", zip=True)
    frames = [Image.new("RGB", (9, 7), color) for color in ("red", "green", "blue")]
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    keep("PNG 16 bits", Image.new("I;16", (5, 4), 700), "PNG")
    keep("PNG texts", Image.new("LA", (5, 4)), "PNG", pnginfo=texts, icc_profile=bytes(200), exif=exif, dpi=(72, 72))
    keep("JPEG progressive", frames[0], "JPEG", progressive=True, icc_profile=bytes(200), exif=exif, comment="x", dpi=(72, 72))
    keep("JPEG CMYK", Image.new("CMYK", (9, 7)), "JPEG")
    keep("WEBP exif", frames[0], "WEBP", lossless=True, exif=exif, icc_profile=bytes(200))
    for kind in ("PNG", "GIF", "WEBP"):
        keep(f"{kind} frames", frames[0], kind, save_all=True, append_images=frames[1:], duration=20)
    return seeds


TARGETS = {
    "keras": Target(_keras_seeds, functools.partial(_read_model, ".keras")),
    "config": Target(_config_seeds, _read_config),
    "weights": Target(_weights_seeds, _read_weights),
    "state": Target(_state_seeds, _read_state),
    "h5": Target(_h5_seeds, functools.partial(_read_model, ".h5")),
    "cifar": Target(
        _batch_seeds,
        lambda content: _read_dataset(cifar10.SOURCE, {f"cifar-10-batches-py/{name}": content for name in _BATCHES}),
    ),
    "tar": Target(
        _tar_seeds, lambda content: _read_dataset(cifar10.SOURCE, {"cifar-10-binary.tar.gz": _with_sums_of_tar(content)})
    ),
    "idx": Target(_idx_seeds, _read_idx),
    "npz": Target(_npz_seeds, lambda content: _read_dataset(mnist.SOURCE, {"mnist.npz": content})),
    "zip": Target(
        _zip_seeds,
        lambda content: _read_dataset(
            horses_or_humans.SOURCE, {"horse-or-human.zip": content, "validation-horse-or-human.zip": content}
        ),
    ),
    "picture": Target(
        _picture_seeds,
        lambda content: _accepts(lambda: open_picture(io.BytesIO(_with_sums_of_png(content)), "rgba")),
        most_bytes=450 * 2**20,  # 50 million pixels are read; they take 4 bytes each, before and after their conversion
    ),
}
"""Name -> loader."""
