"""Everything that minicnn writes, as something to interrupt: what stood there before, what writes, what a reader finds."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from PIL import Image

import minicnn
from minicnn import callbacks, layers, study
from minicnn.backends.numba_cpu import _compile
from minicnn.cli.assess import Assessment
from minicnn.cli.common import ImageData
from minicnn.cli.train import Run
from minicnn.datasets import _store

__all__ = ["SCENARIOS", "Scenario"]

State = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """Something that is written.

    Attributes:
        prepare: writes into an empty folder what stands there before.
        act: writes over it; what it returns does not depend on whether it was interrupted before.
        state: {what can be read from the folder: its content}; raises if something there cannot be read.
        named: what an error's message has in it, a part for each of the files that it may be about.
        error: what a full disk raises; None if it is no error.
        ends_alike: whether acting once more after a fault ends with the state of an undisturbed act.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], Any]
    state: Callable[[Path], State]
    named: tuple[str, ...]
    error: type[BaseException] | None = OSError
    ends_alike: bool = True


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _model(seed: int) -> minicnn.Model:
    minicnn.set_backend("reference")  # starts no threads: the processes are forked from one that has none
    minicnn.utils.clear_session()
    minicnn.set_random_seed(seed)
    model = minicnn.Sequential([minicnn.Input((4,)), layers.Dense(3), layers.Dropout(0.2), layers.Dense(2)])
    model.compile("adam", "mse")
    return model


def _of(model: minicnn.Model) -> str:
    return _digest(b"".join(np.asarray(weight).tobytes() for weight in model.get_weights()))


# --- models ------------------------------------------------------------------------------------


def _saving(name: str) -> Scenario:
    """`save` or `save_weights` over an older file; longer than what is buffered, so that it takes several writes."""

    def write(folder: Path, seed: int) -> None:
        model = _model(seed)
        model.save_weights(folder / name) if name.endswith(".weights.h5") else model.save(folder / name)

    def state(folder: Path) -> State:
        model = _model(0)
        if name.endswith(".weights.h5"):
            model.load_weights(folder / name)
        else:
            model = minicnn.models.load_model(folder / name)
        return {name: _of(model)}

    return Scenario(lambda folder: write(folder, 1), lambda folder: write(folder, 2), state, (name,))


X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = X[:, :2] * 2


def _fit(folder: Path, *hooks: callbacks.Callback, seed: int = 2, epochs: int = 2) -> dict[str, list[float]]:
    model = _model(seed)
    history = model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=[*hooks])
    return {"weights": _of(model), **history.history}


def _checkpoint() -> Scenario:
    def act(folder: Path) -> Any:
        return _fit(folder, callbacks.ModelCheckpoint(folder / "inside" / "epoch-{epoch}.keras"))

    def state(folder: Path) -> State:
        return {path.name: _of(minicnn.models.load_model(path)) for path in folder.glob("inside/*.keras")}

    def prepare(folder: Path) -> None:
        _fit(folder, callbacks.ModelCheckpoint(folder / "inside" / "epoch-{epoch}.keras"), seed=1)

    return Scenario(prepare, act, state, ("epoch-1.keras", "epoch-2.keras", "inside"))


def _backup(double: bool) -> Scenario:
    """A `fit` that is started again goes on, and ends as if nothing had been."""

    def hooks(folder: Path) -> list[callbacks.Callback]:
        return [
            callbacks.BackupAndRestore(folder / "backup", double_checkpoint=double),
            callbacks.CSVLogger(folder / "log.csv"),
        ]

    def act(folder: Path) -> Any:
        return _fit(folder, *hooks(folder))

    def prepare(folder: Path) -> None:
        """Nothing stands there; but this process has then loaded what its hundreds of children need."""
        act(folder)
        shutil.rmtree(folder)
        folder.mkdir()

    def state(folder: Path) -> State:
        files = [*folder.glob("backup/*.weights.h5")]
        for path in files:
            _model(0).load_weights(path)
        # One file may be on its way, but an interrupted `fit` never loses the only one.
        return {"log.csv": _rows(folder / "log.csv"), **({"backup": "readable"} if files else {})}

    return Scenario(prepare, act, state, ("latest.weights.h5", "previous.weights.h5", "backup", "log.csv"))


def _rows(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _csv() -> Scenario:
    """Rows of an earlier training stay; a row may be there twice, if that training is run twice, but none is half a row."""

    def act(folder: Path) -> Any:
        return _fit(folder, callbacks.CSVLogger(folder / "log.csv", append=True))

    def prepare(folder: Path) -> None:
        _fit(folder, callbacks.CSVLogger(folder / "log.csv"), seed=1)

    def state(folder: Path) -> State:
        header, *rows = list(csv.reader(io.StringIO(_rows(folder / "log.csv"))))
        whole = [row for row in rows[2:] if len(row) == len(header)]
        assert len(rows) - 2 - len(whole) <= 1, f"a row after half a row stands on its line: {rows}"
        assert all(row[0] in ("0", "1") and len(row[1]) < 25 for row in whole), rows
        return {"first rows": [header, *rows[:2]]}

    return Scenario(prepare, act, state, ("log.csv",))


# --- the command line ---------------------------------------------------------------------------


def _picture(color: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (30, 30), color % 256).save(buffer, "PNG")
    return buffer.getvalue()


def _run_folder() -> Scenario:
    names = ("settings.json", "model.keras", "history.csv", "filters.npz", "curves.png", "confusion.png", "mistakes.png")

    def write(folder: Path, seed: int, keep: bool) -> None:
        settings = {"model": f"m{seed}", "dataset": "d", "epochs_done": 0}
        run = Run(folder / "run", settings, study.KernelHistory())
        run.kernels.kernels, run.kernels.epochs = [np.full((2, 2, 1, 1), seed, np.float32)], [0]
        model = _model(seed)
        run.begin(keep=keep)
        model.fit(X, Y, epochs=1, verbose=0)
        classes = ImageData(X, Y[:, 0], X, Y[:, 0], ("a", "b"))

        def drawn(*arguments: Any, title: str, **options: Any) -> Any:
            return types.SimpleNamespace(savefig=lambda file, format: file.write(_picture(len(title) * 99 + seed)))

        for name in ("confusion_matrix", "mistakes_gallery", "learning_curves"):
            setattr(study, name, drawn)  # in this process alone
        run.write(model, classes, Assessment(0.5, 0.25, Y), "light")

    def state(folder: Path) -> State:
        found: State = {}
        for path in (folder / "run").glob("*.*"):
            if path.suffix == ".json":
                json.loads(path.read_text())
                continue  # written twice
            if path.suffix == ".png":
                Image.open(path).load()
            if path.suffix == ".csv":
                assert path.read_text().endswith("\n")
            if path.suffix == ".npz":
                study.KernelHistory.load(path)
            if path.suffix == ".keras":
                found[path.name] = _of(minicnn.models.load_model(path))
            else:
                found[path.name] = _digest(path.read_bytes())
        return found

    return Scenario(
        lambda folder: write(folder, 1, keep=False), lambda folder: write(folder, 2, keep=True), state, ("run", *names)
    )


# --- data sets and kernels -------------------------------------------------------------------------


def _download() -> Scenario:
    content = bytes(range(256)) * 3000

    def source(folder: Path) -> _store.Source:
        origin = folder.with_name("origin.bin")  # outside: reading it is the network's part
        origin.write_bytes(content)
        download = _store.Download(origin.as_uri(), hashlib.sha256(content).hexdigest(), len(content), "sub/set.bin")
        return _store.Source("set", (_store.Layout("sub/set.bin", (), lambda path: None),), (download,), "https://x.org")

    def act(folder: Path) -> Any:
        return str(_store.fetch(source(folder), folder / "data", verbose=False).path)

    def state(folder: Path) -> State:
        return {path.name: _digest(path.read_bytes()) for path in folder.rglob("set.bin")}

    return Scenario(lambda folder: None, act, state, ("set.bin",))


def double(x: float) -> float:
    return x + x


def _kernels() -> Scenario:
    def cache(folder: Path) -> Any:
        numba.config.CACHE_DIR = str(folder / "cache")
        return _compile

    def act(folder: Path) -> Any:
        return cache(folder).compiled(double)(21.0)

    def state(folder: Path) -> State:
        found = {}
        for path in folder.rglob("*.nb?"):
            checked = cache(folder).compiled(double)._cache._cache_file
            found[path.suffix] = checked._read(str(path)) is not None
        return found

    def prepare(folder: Path) -> None:
        (folder / "cache").mkdir()

    return Scenario(prepare, act, state, (), error=None)


SCENARIOS = {
    "keras": _saving("m.keras"),
    "weights": _saving("m.weights.h5"),
    "h5": _saving("m.h5"),
    "checkpoint": _checkpoint(),
    "backup": _backup(double=False),
    "double backup": _backup(double=True),
    "csv": _csv(),
    "run folder": _run_folder(),
    "download": _download(),
    "kernels": _kernels(),
}
"""Name -> what is written."""
