"""Kills trainings at random moments and lets them be started again: do they end with the bits of one that was not?

    python -m tests.kill_and_resume --kills 500 --seed 0

Each scenario below is trained once without interruption. Then chains of processes train it again: each process gets
SIGKILL after a random time, in training or in the middle of a save, and the next one goes on, until one ends in order. A
chain has held if the weights, the optimizer, the history, the CSV file and the best model on the disk are those of
the uninterrupted training, bit for bit, and no temporary file is left. Prints a table; exits with 1 if a chain has not.

With `--steps` the moments are no times but places: each process kills itself at its n-th step, n being drawn from the
seed, where a step is the beginning or the end of a batch, a flush of a file to the disk, or a renaming. So the same
kills happen on every machine; the test suite runs it so.

The processes are forked from one that has imported everything, and train a small model on one thread: so a kill costs a
fraction of a second.
"""

from __future__ import annotations

import os

os.environ["NUMBA_NUM_THREADS"] = "1"
os.environ["MINICNN_BACKEND"] = "numba"

import argparse
import json
import multiprocessing
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py  # noqa: F401 - before the fork
import numba  # noqa: F401 - before the fork
import numpy as np
from numba.np.ufunc import parallel

import minicnn
from minicnn import callbacks, layers
from minicnn.backends import numba_cpu  # noqa: F401 - before the fork
from minicnn.data import Dataset
from minicnn.models.data_adapter import ArrayBatches  # noqa: F401 - before the fork
from minicnn.preprocessing.image import ImageDataGenerator

EPOCHS = 12
RNG = np.random.default_rng(5)
X, X_HELD_OUT = RNG.normal(size=(45, 6, 6, 1)).astype("float32"), RNG.normal(size=(20, 6, 6, 1)).astype("float32")
Y, Y_HELD_OUT = RNG.integers(0, 3, 45), RNG.integers(0, 3, 20)


def make_model(augment: bool = False) -> Any:
    """Batch normalization's statistics, dropout's and augmentation's keys, Adam's moments: all have to come along."""
    minicnn.set_random_seed(11)
    augmentation = [layers.RandomFlip(), layers.RandomTranslation(0.1, 0.1)] if augment else []
    model = minicnn.Sequential(
        [
            minicnn.Input((6, 6, 1)),
            *augmentation,
            layers.Conv2D(3, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.4),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(minicnn.optimizers.Adam(0.02), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def noisy(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x + np.random.normal(size=x.shape).astype("float32") / 8, y


def batches_for_ever() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while True:
        rows = np.random.randint(0, len(X), 8)
        yield noisy(X[rows], Y[rows])


ARRAYS = {"x": X, "y": Y, "batch_size": 8}
HELD_OUT = {"validation_data": (X_HELD_OUT, Y_HELD_OUT)}


def plain(folder: Path) -> tuple[Any, dict[str, Any]]:
    return make_model(), {**ARRAYS, "callbacks": [callbacks.BackupAndRestore(folder / "backup", double_checkpoint=True)]}


def plateau(folder: Path) -> tuple[Any, dict[str, Any]]:
    reduce = callbacks.ReduceLROnPlateau(patience=1, factor=0.7, cooldown=1)
    return make_model(), {**ARRAYS, **HELD_OUT, "callbacks": [callbacks.BackupAndRestore(folder / "backup"), reduce]}


def early_stopping(folder: Path) -> tuple[Any, dict[str, Any]]:
    stop = callbacks.EarlyStopping("val_loss", patience=6, restore_best_weights=True)
    return make_model(), {**ARRAYS, **HELD_OUT, "callbacks": [stop, callbacks.BackupAndRestore(folder / "backup")]}


def save_best_only(folder: Path) -> tuple[Any, dict[str, Any]]:
    best = callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True)
    return make_model(), {**ARRAYS, **HELD_OUT, "callbacks": [callbacks.BackupAndRestore(folder / "backup"), best]}


def save_freq_in_batches(folder: Path) -> tuple[Any, dict[str, Any]]:
    best = callbacks.ModelCheckpoint(folder / "best.keras", "loss", save_best_only=True, save_freq=5)
    decay = callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
    backup = callbacks.BackupAndRestore(folder / "backup", save_freq=4, double_checkpoint=True)
    return make_model(), {**ARRAYS, **HELD_OUT, "steps_per_epoch": 3, "callbacks": [backup, decay, best]}


def augmentation_layers(folder: Path) -> tuple[Any, dict[str, Any]]:
    return make_model(augment=True), {**ARRAYS, "callbacks": [callbacks.BackupAndRestore(folder / "backup", save_freq=5)]}


def image_data_generator(folder: Path) -> tuple[Any, dict[str, Any]]:
    model = make_model()  # whose seed is that of NumPy's global generator, from which the augmentation is drawn
    images = ImageDataGenerator(horizontal_flip=True, width_shift_range=0.2)
    data = images.flow(X, Y, batch_size=8)
    return model, {"x": data, **HELD_OUT, "callbacks": [callbacks.BackupAndRestore(folder / "backup", save_freq=4)]}


def dataset(folder: Path) -> tuple[Any, dict[str, Any]]:
    model = make_model()
    data = Dataset.from_tensor_slices((X, Y)).shuffle(45).map(noisy).batch(8).prefetch(2)
    return model, {"x": data, **HELD_OUT, "callbacks": [callbacks.BackupAndRestore(folder / "backup", save_freq=5)]}


def repeated_dataset(folder: Path) -> tuple[Any, dict[str, Any]]:
    model = make_model()
    data = Dataset.from_tensor_slices((X, Y)).shuffle(20).repeat().map(noisy).batch(8)
    backup = callbacks.BackupAndRestore(folder / "backup")
    return model, {"x": data, "steps_per_epoch": 5, "callbacks": [backup]}


def generator(folder: Path) -> tuple[Any, dict[str, Any]]:
    model = make_model()
    backup = callbacks.BackupAndRestore(folder / "backup", save_freq=4)
    return model, {"x": batches_for_ever(), "steps_per_epoch": 6, "callbacks": [backup]}


SCENARIOS: dict[str, Callable[[Path], tuple[Any, dict[str, Any]]]] = {
    scenario.__name__: scenario
    for scenario in (
        plain,
        plateau,
        early_stopping,
        save_best_only,
        save_freq_in_batches,
        augmentation_layers,
        image_data_generator,
        dataset,
        repeated_dataset,
        generator,
    )
}


# --- in a process of its own ----------------------------------------------------------------


def train(scenario: str, folder: Path, pipe: int) -> None:
    """What the user's program does; started again after a kill, it goes on. Every step writes a byte into the pipe."""
    model, arguments = SCENARIOS[scenario](folder)
    tell = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: os.write(pipe, b"!"))
    arguments["callbacks"] = [tell, callbacks.CSVLogger(folder / "log.csv"), *arguments["callbacks"]]
    history = model.fit(**arguments, epochs=EPOCHS, verbose=0)
    arrays = [*model.get_weights(), *(np.asarray(variable) for variable in model.optimizer.variables)]
    np.savez(folder / "end.npz", *arrays)
    (folder / "history.json").write_text(json.dumps([history.epoch, history.history]))


def count_steps(last: int) -> None:
    """From now on this process kills itself at its step number `last`."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(holder: Any, name: str) -> None:
        original = getattr(holder, name)

        def counted(*arguments: Any, **keywords: Any) -> Any:
            step()
            result = original(*arguments, **keywords)
            step()
            return result

        setattr(holder, name, counted)

    around(os, "fsync")
    around(os, "replace")
    around(minicnn.Sequential, "train_step")


def start(scenario: str, folder: Path, last_step: int | None = None) -> tuple[int, int]:
    """Fork a process that trains; returns it, and the end of a pipe that each of its steps writes to."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    status = 1
    try:
        os.close(reading)
        # Numba guards the start of its threads with a lock that processes share: who is killed within would keep it.
        parallel._backend_init_process_lock = multiprocessing.RLock()
        if last_step is not None:
            count_steps(last_step)
        train(scenario, folder, writing)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


# --- the chains ----------------------------------------------------------------------------


def outcome(folder: Path) -> dict[str, Any]:
    """Everything that a training leaves, as bytes; what is left of a save that did not end must not be among it."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".npz":
            found.update({name: array.tobytes() for name, array in np.load(path).items()})
        elif path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:  # but for the date
                found.update({name: archive.read(name) for name in archive.namelist() if name != "metadata.json"})
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def wait(pipe: int, seconds: float) -> bool:
    """Sleep, but no longer than the process at the other end lives; whether it does still."""
    end = time.monotonic() + seconds
    while select.select([pipe], [], [], max(end - time.monotonic(), 0))[0]:
        if not os.read(pipe, 4096):
            return False
    return True


def chain(
    scenario: str, folder: Path, moments: Iterator[tuple[bool, float]], most: int, by_steps: bool
) -> tuple[int, int, bool]:
    """Train with up to `most` kills.

    Args:
        moments: of the kills: whether to count from a process's first step, not from its start, and the seconds (or, with
            `by_steps`, the steps) from there.

    Returns:
        the kills, how many of them left a file half written, and whether the last process ended in order.
    """
    kills = unfinished = 0
    left_before: set[Path] = set()
    while True:
        from_first_step, moment = next(moments) if kills < most else (False, None)
        process, pipe = start(scenario, folder, int(moment) if by_steps and moment is not None else None)
        if moment is None or by_steps:
            wait(pipe, 3600)
        elif (not from_first_step or os.read(pipe, 1)) and wait(pipe, moment):
            os.kill(process, signal.SIGKILL)
        os.close(pipe)
        status = os.waitpid(process, 0)[1]
        if not os.WIFSIGNALED(status):
            return kills, unfinished, os.WEXITSTATUS(status) == 0
        kills += 1
        left = set(folder.rglob("*.tmp"))
        unfinished += bool(left - left_before)
        left_before = left


def check(scenario: str, kills: int, seed: int, by_steps: bool, folder: Path) -> dict[str, int]:
    """Chains of a scenario until so many kills were made."""
    expected_folder = folder / "uninterrupted"
    expected_folder.mkdir()
    process, pipe = start(scenario, expected_folder)
    began = time.monotonic()
    os.read(pipe, 1)
    first_step = time.monotonic()
    wait(pipe, 3600)
    ended = time.monotonic()
    os.close(pipe)
    if os.waitpid(process, 0)[1]:
        raise RuntimeError(f"The uninterrupted training of '{scenario}' failed.")
    expected = outcome(expected_folder)
    rng = np.random.default_rng([seed, *scenario.encode()])

    def moments() -> Iterator[tuple[bool, float]]:
        while True:
            if by_steps:
                yield False, float(rng.integers(1, 150))
            elif rng.random() < 0.2:  # while the backup is read and the kernels are loaded
                yield False, rng.uniform(0.0, first_step - began)
            else:
                yield True, rng.uniform(0.0, ended - first_step) / 2

    counts = {"kills": 0, "in a save": 0, "chains": 0, "equal": 0, "differing": 0}
    while counts["kills"] < kills:
        link = folder / f"chain_{counts['chains']}"
        link.mkdir()
        done, unfinished, in_order = chain(scenario, link, moments(), kills - counts["kills"], by_steps)
        equal = in_order and outcome(link) == expected
        counts["kills"] += done
        counts["in a save"] += unfinished
        counts["chains"] += 1
        counts["equal" if equal else "differing"] += 1
        if not equal:
            found = outcome(link)
            names = sorted(name for name in expected.keys() | found.keys() if found.get(name) != expected.get(name))
            print(f"{scenario}, chain {counts['chains'] - 1}: differs in {names}; kept in {link}", flush=True)
        else:
            shutil.rmtree(link)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="in all scenarios together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", action="store_true", help="kill at drawn steps, not at drawn times")
    parser.add_argument("--only", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS), help="these scenarios")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kill_and_resume_"))
    if arguments.steps:  # nobody is killed while kernels are loaded: they are loaded once, for all processes
        make_model(augment=True).fit(**ARRAYS, **HELD_OUT, verbose=0)
    rows = {}
    for index, scenario in enumerate(arguments.only):
        (folder / scenario).mkdir()
        share = (index + 1) * arguments.kills // len(arguments.only) - index * arguments.kills // len(arguments.only)
        rows[scenario] = check(scenario, share, arguments.seed, arguments.steps, folder / scenario)
        print(f"{scenario:24}" + "".join(f"  {name} {count}" for name, count in rows[scenario].items()), flush=True)
    total = {name: sum(row[name] for row in rows.values()) for name in ("kills", "in a save", "chains", "equal", "differing")}
    print(f"{'together':24}" + "".join(f"  {name} {count}" for name, count in total.items()))
    if not total["differing"]:
        shutil.rmtree(folder)
    return 1 if total["differing"] else 0


if __name__ == "__main__":
    sys.exit(main())
