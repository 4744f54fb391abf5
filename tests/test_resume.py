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
