"""What is fuzzed: for each loader a few small good files, and a function that reads any bytes with it.

A target may raise `FileFormatError` (and nothing else), may print nothing, starts no program and opens no other file.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import os
import pickle
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import minicnn
from minicnn import saving
from minicnn.data.pictures import open_picture
from minicnn.datasets import cifar10, horses_or_humans, mnist
from minicnn.datasets._store import Source
from minicnn.untrusted import FileFormatError

__all__ = ["FOLDER", "TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """A loader under test.

    Attributes:
        seeds: good files, by name.
        read: reads one file's bytes; returns whether they were accepted.
    """

    seeds: Callable[[], dict[str, bytes]]
    read: Callable[[bytes], bool]


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


def _read_dataset(source: Source, names: list[str], content: bytes) -> bool:
    with _only_folder(source.name) as folder:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        from minicnn.datasets import _store

        return _accepts(lambda: _store.read(source, download=False))


_BATCHES = [*(f"data_batch_{index}" for index in range(1, 6)), "test_batch"]


def _batch_seeds() -> dict[str, bytes]:
    rows = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    content = {"data": rows, "labels": [3, 7], "filenames": ["a.png", "b.png"], "batch_label": "x"}
    return {f"protocol {protocol}": pickle.dumps(content, protocol=protocol) for protocol in range(2, 6)}


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
    from PIL import Image

    seeds = {}
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        for mode in ("RGB", "L", "P"):
            if (kind, mode) not in (("JPEG", "P"), ("WEBP", "P"), ("WEBP", "L")):
                buffer = io.BytesIO()
                Image.new(mode, (9, 7), 3).save(buffer, kind)
                seeds[f"{kind} {mode}"] = buffer.getvalue()
    return seeds


TARGETS = {
    "keras": Target(_keras_seeds, functools.partial(_read_model, ".keras")),
    "config": Target(_config_seeds, _read_config),
    "weights": Target(lambda: {"weights": _saved(".weights.h5")}, _read_weights),
    "h5": Target(lambda: {"h5": _saved(".h5")}, functools.partial(_read_model, ".h5")),
    "cifar": Target(
        _batch_seeds, functools.partial(_read_dataset, cifar10.SOURCE, [f"cifar-10-batches-py/{name}" for name in _BATCHES])
    ),
    "tar": Target(_tar_seeds, functools.partial(_read_dataset, cifar10.SOURCE, ["cifar-10-binary.tar.gz"])),
    "npz": Target(_npz_seeds, functools.partial(_read_dataset, mnist.SOURCE, ["mnist.npz"])),
    "zip": Target(
        _zip_seeds,
        functools.partial(_read_dataset, horses_or_humans.SOURCE, ["horse-or-human.zip", "validation-horse-or-human.zip"]),
    ),
    "picture": Target(_picture_seeds, lambda content: _accepts(lambda: open_picture(io.BytesIO(content)))),
}
"""Name -> loader."""
