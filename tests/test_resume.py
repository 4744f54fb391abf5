"""Training that is killed and resumed ends with the same bits as training that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import minicnn
from minicnn import layers
from minicnn.data import Dataset

EPOCHS = 6

# Run in processes of its own: what is not in the file is not there afterwards. Augmentation by dropout, moving
# statistics, Adam's moments, a schedule's step and the order of the samples: all have to come along.
PROGRAM = textwrap.dedent(
    """
    import os, sys, time
    import numpy as np
    import minicnn
    from minicnn import callbacks, layers

    EPOCHS = int(sys.argv[1])
    FOLDER = sys.argv[2]

    minicnn.set_backend("reference")

    def make():
        minicnn.set_random_seed(11)
        model = minicnn.Sequential([
            minicnn.Input((6, 6, 2)),
            layers.Conv2D(3, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.4),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ])
        schedule = minicnn.optimizers.schedules.ExponentialDecay(0.01, 7, 0.8)
        model.compile(minicnn.optimizers.Adam(schedule), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(model, **arguments):
        rng = np.random.default_rng(5)
        x, y = rng.normal(size=(40, 6, 6, 2)).astype("float32"), rng.integers(0, 3, 40)
        return model.fit(x, y, batch_size=8, verbose=0, **arguments)

    def write(model, path):
        arrays = model.get_weights() + [np.asarray(v) for v in model.optimizer.variables]
        np.savez(path, *arrays, prediction=model.predict(np.ones((2, 6, 6, 2), "float32"), verbose=0))

    def slowly():
        # Long enough that the process is killed in the middle of an epoch.
        return callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.05))
    """
)


def start(body, folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(body), str(EPOCHS), str(folder), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(body, folder, *arguments):
    process = start(body, folder, *arguments)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def kill_when(process, ready):
    """SIGKILL as soon as `ready()`, which the process must live to see."""
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.07)  # into the next epoch
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    run("model = make(); fit(model, epochs=EPOCHS); write(model, FOLDER + '/end.npz')", folder)
    return dict(np.load(folder / "end.npz"))


def assert_same_bits(path, expected):
    found = dict(np.load(path))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_a_killed_process_goes_on_from_its_last_checkpoint(tmp_path, uninterrupted):
    process = start(
        """
        path = FOLDER + "/{epoch}.keras"
        fit(make(), epochs=EPOCHS, callbacks=[callbacks.ModelCheckpoint(path), slowly()])
        """,
        tmp_path,
    )
    kill_when(process, (tmp_path / "2.keras").exists)
    last = max(int(name.split(".")[0]) for name in os.listdir(tmp_path) if name.endswith(".keras"))
    assert 2 <= last < EPOCHS
    run(
        """
        model = minicnn.saving.load_model(f"{FOLDER}/{sys.argv[3]}.keras")
        fit(model, epochs=EPOCHS, initial_epoch=int(sys.argv[3]))
        write(model, FOLDER + "/end.npz")
        """,
        tmp_path,
        last,
    )
    assert_same_bits(tmp_path / "end.npz", uninterrupted)


@pytest.mark.parametrize("double", [False, True])
def test_backup_and_restore_lets_the_same_program_be_started_again(tmp_path, uninterrupted, double):
    body = """
        model = make()
        backup = callbacks.BackupAndRestore(FOLDER + "/backup", double_checkpoint=sys.argv[4] == 'True')
        history = fit(model, epochs=EPOCHS, callbacks=[backup] + ([slowly()] if sys.argv[3] == "slowly" else []))
        write(model, FOLDER + "/end.npz")
        print("epochs", len(history.epoch))
        """
    process = start(body, tmp_path, "slowly", double)
    kill_when(process, (tmp_path / "backup" / ("previous.weights.h5" if double else "latest.weights.h5")).exists)
    if double:  # what a disk may have lost
        (tmp_path / "backup" / "latest.weights.h5").write_bytes(b"damaged")
    output = run(body, tmp_path, "on", double)
    assert 1 <= int(output.split()[-1]) < EPOCHS
    assert_same_bits(tmp_path / "end.npz", uninterrupted)
    assert not (tmp_path / "backup").exists()


def test_a_checkpoint_of_weights_goes_on_too(tmp_path, uninterrupted):
    run(
        """
        fit(make(), epochs=3, callbacks=[callbacks.ModelCheckpoint(FOLDER + "/w.weights.h5", save_weights_only=True)])
        """,
        tmp_path,
    )
    run(
        """
        model = make()
        model.load_weights(FOLDER + "/w.weights.h5")
        fit(model, epochs=EPOCHS, initial_epoch=3)
        write(model, FOLDER + "/end.npz")
        """,
        tmp_path,
    )
    assert_same_bits(tmp_path / "end.npz", uninterrupted)


def test_ctrl_c_leaves_a_model_with_its_history(tmp_path):
    output = run(
        """
        def interrupt(epoch, logs):
            if epoch == 2:
                raise KeyboardInterrupt
        model = make()
        try:
            fit(model, epochs=5, callbacks=[callbacks.LambdaCallback(on_epoch_begin=interrupt)])
        except KeyboardInterrupt:
            print(len(model.history.history["loss"]))
        fit(model, epochs=1)
        model.save(FOLDER + "/m.keras")
        """,
        tmp_path,
    )
    assert output.split() == ["2"]
    assert (tmp_path / "m.keras").exists()


# --- what decides the order of the samples ------------------------------------------

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(40, 4)).astype("float32"), RNG.integers(0, 3, 40)


def make():
    minicnn.set_random_seed(11)
    model = minicnn.Sequential([minicnn.Input((4,)), layers.Dense(6, activation="relu"), layers.Dropout(0.4), layers.Dense(3)])
    model.compile("adam", minicnn.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def samples():
    return Dataset.from_tensor_slices((X, Y))


PIPELINES = {
    "shuffle": lambda: samples().shuffle(40, seed=3).batch(8),
    "in a thread": lambda: samples().shuffle(16).map(lambda x, y: (x * 2, y), num_parallel_calls=2).batch(8).prefetch(2),
    "cached before": lambda: samples().map(lambda x, y: (x * 2, y)).cache().shuffle(40).batch(8),
    "cached behind": lambda: samples().shuffle(40).batch(8).map(lambda x, y: (x * 2, y)).cache(),
    "twice an epoch": lambda: samples().shuffle(40).repeat(2).batch(8),
    "one order": lambda: samples().shuffle(40, reshuffle_each_iteration=False).batch(8),
}


def assert_same_weights(found, expected):
    for a, b in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_data_set_goes_on_with_the_orders_it_would_have_had(tmp_path, name):
    whole = make()
    whole.fit(PIPELINES[name](), epochs=4, verbose=0)
    half = make()
    half.fit(PIPELINES[name](), epochs=2, verbose=0)
    half.save(tmp_path / "half.keras")

    minicnn.set_random_seed(11)
    make()  # as the program did that is started again
    data, rest = PIPELINES[name](), minicnn.saving.load_model(tmp_path / "half.keras")
    rest.fit(data, epochs=4, initial_epoch=2, verbose=0)
    assert_same_weights(rest, whole)


def test_looking_at_a_data_set_between_two_epochs_changes_nothing():
    whole, other = make(), make()
    whole.fit(PIPELINES["shuffle"](), epochs=2, verbose=0)
    data = PIPELINES["shuffle"]()
    other.fit(data, epochs=1, verbose=0)
    orders = [np.concatenate([y for _, y in data]).tolist() for _ in range(2)]
    assert orders[0] != orders[1]
    other.evaluate(data, verbose=0)
    other.fit(data, epochs=2, initial_epoch=1, verbose=0)
    assert_same_weights(other, whole)


@pytest.mark.parametrize("data", [lambda: {"x": X, "y": Y, "batch_size": 8}, lambda: {"x": PIPELINES["shuffle"]()}])
def test_fit_again_goes_on_with_new_orders(data):
    """A loop over `fit(epochs=1)` is training like any other, and does not see one order for ever."""
    whole, again, data = make(), make(), data()
    whole.fit(**data, epochs=3, verbose=0)
    for _ in range(3):
        again.fit(**data, epochs=1, verbose=0)
    assert_same_weights(again, whole)
    assert len({tuple(batches(again, data)) for _ in range(3)}) == 3


def test_compile_counts_passes_anew():
    model, data = make(), {"x": X, "y": Y, "batch_size": 8}
    first = [batches(model, data) for _ in range(2)]
    model.compile("sgd", minicnn.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert [batches(model, data) for _ in range(2)] == first
    assert first[0] != first[1]


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_a_file_counts_the_passes_of_all_fits(tmp_path, ending):
    """Two epochs and then one more are three passes, though the last `fit` counted one epoch."""
    whole, data = make(), {"x": X, "y": Y, "batch_size": 8, "verbose": 0}
    for epochs in (2, 1):
        whole.fit(**data, epochs=epochs)
    path, rest = tmp_path / f"model{ending}", make()
    if ending == ".keras":
        whole.save(path)
        rest = minicnn.saving.load_model(path)
    else:
        whole.save_weights(path)
        rest.load_weights(path)
    for model in (whole, rest):
        model.fit(**data, epochs=1)
    assert_same_weights(rest, whole)


def batches(model, data):
    """All targets in the order that `fit` has in one epoch."""
    seen, train_step = [], model.train_step
    model.train_step = lambda x, y, *rest, **options: seen.extend(y[0].tolist()) or train_step(x, y, *rest, **options)
    model.fit(**data, epochs=1, verbose=0)
    del model.train_step
    return seen
