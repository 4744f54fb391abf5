"""Training that is killed and resumed ends with the same bits as training that was not.

`kill_and_resume.py` does it at random moments, hundreds of times.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest

import minicnn
from minicnn import callbacks, layers
from minicnn.data import Dataset
from minicnn.preprocessing.image import ImageDataGenerator

EPOCHS = 6

# Run in processes of its own: what is not in the file is not there afterwards. Augmentation by dropout, moving
# statistics, Adam's moments, a schedule's step and the order of the samples: all have to come along.
PROGRAM = textwrap.dedent(
    """
    import os, signal, sys
    import numpy as np
    import minicnn
    from minicnn import callbacks, layers

    EPOCHS = int(sys.argv[1])
    FOLDER = sys.argv[2]

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

    class KillAfter(callbacks.Callback):
        # Power fails after so many batches.
        def __init__(self, batches):
            super().__init__()
            self.left = batches

        def on_train_batch_end(self, batch, logs=None):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    """
)


def run(body, folder, *arguments, ends=0):
    command = [sys.executable, "-c", PROGRAM + textwrap.dedent(body), str(EPOCHS), str(folder), *map(str, arguments)]
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert process.returncode == ends, process.stdout
    return process.stdout


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
    run(
        """
        path = FOLDER + "/{epoch}.keras"
        fit(make(), epochs=EPOCHS, callbacks=[callbacks.ModelCheckpoint(path), KillAfter(13)])
        """,
        tmp_path,
        ends=-signal.SIGKILL,
    )
    assert sorted(os.listdir(tmp_path)) == ["1.keras", "2.keras"]  # five batches an epoch
    run(
        """
        model = minicnn.saving.load_model(FOLDER + "/2.keras")
        fit(model, epochs=EPOCHS, initial_epoch=2)
        write(model, FOLDER + "/end.npz")
        """,
        tmp_path,
    )
    assert_same_bits(tmp_path / "end.npz", uninterrupted)


@pytest.mark.parametrize("double", [False, True])
def test_backup_and_restore_lets_the_same_program_be_started_again(tmp_path, uninterrupted, double):
    body = """
        model = make()
        backup = callbacks.BackupAndRestore(FOLDER + "/backup", double_checkpoint=sys.argv[4] == "True")
        history = fit(model, epochs=EPOCHS, callbacks=[backup, KillAfter(int(sys.argv[3]))])
        write(model, FOLDER + "/end.npz")
        print(len(history.epoch), len(history.history["loss"]), -model.optimizer.iterations.numpy())
        """
    run(body, tmp_path, 13, double, ends=-signal.SIGKILL)
    if double:  # what a disk may have lost
        (tmp_path / "backup" / "latest.weights.h5").write_bytes(b"damaged")
    assert run(body, tmp_path, 0, double).split() == ["6", "6", "-30"]
    assert_same_bits(tmp_path / "end.npz", uninterrupted)
    assert not (tmp_path / "backup").exists()


def test_chains_of_kills_at_drawn_steps():
    """Also between the system calls of a save, for all that a `fit` can be made of; at drawn times: see the program."""
    command = [sys.executable, "-m", "tests.kill_and_resume", "--kills", "20", "--steps", "--seed", "1"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"together +kills 20 .* differing 0", done.stdout)


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


# --- what a backup holds ------------------------------------------------------------


class Killed(Exception):
    pass


class Kill(callbacks.Callback):
    """Ends `fit` after so many batches, in this process; stands before or behind the backup in the list."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Killed


class Late(callbacks.Callback):
    def on_train_end(self, logs=None):
        raise Killed


def train(folder, data, others=lambda folder: [], kill_after=0, epochs=4, **backup):
    """As a program does that may have been started before: everything is made anew, from the same seed."""
    model = make()
    kill = [Kill(kill_after)] if kill_after else []
    backup = callbacks.BackupAndRestore(folder / "backup", **backup)
    model.fit(**data(), epochs=epochs, verbose=0, callbacks=[backup, *others(folder), *kill])
    return model


def assert_resumes(tmp_path, data, others=lambda folder: [], kill_after=13, **backup):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = train(whole, data, others, **backup)
    with pytest.raises(Killed):
        train(parts, data, others, kill_after, **backup)
    found = train(parts, data, others, **backup)
    assert_same_weights(found, expected)
    assert found.history.history == expected.history.history
    assert found.history.epoch == expected.history.epoch
    assert sorted(os.listdir(parts)) == sorted(os.listdir(whole))
    return found, parts, whole


def arrays():
    return {"x": X, "y": Y, "batch_size": 8, "validation_data": (X[:16], Y[:16])}


@pytest.mark.parametrize("frequency", ["epoch", 1, 3, 5])
def test_the_history_and_the_place_in_the_epoch_come_along(tmp_path, frequency):
    model, _, _ = assert_resumes(tmp_path, arrays, save_freq=frequency)
    assert model.history.epoch == [0, 1, 2, 3]
    assert len(model.history.history["val_loss"]) == 4


def test_batches_keep_their_numbers(tmp_path):
    """Five an epoch: the backup after six of them goes on with the second of the second epoch."""
    seen = []
    note = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    with pytest.raises(Killed):
        train(tmp_path, arrays, kill_after=8, save_freq=3)
    train(tmp_path, arrays, lambda folder: [note], save_freq=3)
    assert seen == [1, 2, 3, 4, *range(5), *range(5)]


def test_the_learning_rate_that_a_plateau_left_comes_along(tmp_path):
    def reduce(folder):
        return [callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=2, min_delta=10.0)]

    model, _, _ = assert_resumes(tmp_path, arrays, reduce)
    np.testing.assert_allclose(model.history.history["learning_rate"], [1e-3, 1e-3, 1e-3, 5e-4], rtol=1e-6)


@pytest.mark.parametrize("first", [True, False])
def test_early_stopping_stops_where_it_would_have_and_gives_back_the_best(tmp_path, first):
    """The loss never improves by 10, so the best epoch is the first, and the third the last."""

    def stop(folder):
        return [callbacks.EarlyStopping("loss", min_delta=10.0, patience=2, restore_best_weights=True)]

    model, _, _ = assert_resumes(tmp_path, arrays, stop, kill_after=7 if first else 13)
    assert model.history.epoch == [0, 1, 2]


def test_training_that_was_stopped_is_not_begun_again(tmp_path):
    """Power fails after the backup of the last epoch, before `fit` returns."""

    def stop(folder):
        return [callbacks.EarlyStopping("loss", min_delta=10.0, patience=2)]

    expected = train(tmp_path / "whole", arrays, stop)
    with pytest.raises(Killed):
        train(tmp_path / "parts", arrays, lambda folder: [*stop(folder), Late()])
    found = train(tmp_path / "parts", arrays, stop)
    assert found.history.epoch == [0, 1, 2]
    assert_same_weights(found, expected)


def test_the_best_model_is_not_overwritten_by_a_worse_one(tmp_path):
    def best(folder):
        score = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(score=[2, 4, 3, 1][epoch]))
        return [score, callbacks.ModelCheckpoint(folder / "{epoch}.keras", "score", save_best_only=True, mode="max")]

    _, parts, _ = assert_resumes(tmp_path, arrays, best)
    assert sorted(os.listdir(parts)) == ["1.keras", "2.keras"]


def test_rows_of_a_csv_file_are_neither_doubled_nor_lost(tmp_path):
    def log(folder):
        (folder / "mine.csv").write_text("of an earlier training\r\n") if not (folder / "backup").exists() else None
        return [callbacks.CSVLogger(folder / "log.csv"), callbacks.CSVLogger(folder / "mine.csv", append=True)]

    _, parts, whole = assert_resumes(tmp_path, arrays, log, save_freq=8)  # the row of epoch 1 is written after the backup
    for name in ("log.csv", "mine.csv"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
        assert (parts / name).read_text().count("\n") == 5


def test_a_schedule_of_the_rate_before_is_not_applied_twice(tmp_path):
    """`on_epoch_begin` is called for the epoch that is resumed in its middle, too."""

    def halve(folder):
        return [callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)]

    model, _, _ = assert_resumes(tmp_path, arrays, halve, save_freq=4)
    np.testing.assert_allclose(model.history.history["learning_rate"], [5e-4, 2.5e-4, 1.25e-4, 6.25e-5], rtol=1e-6)


@pytest.mark.parametrize("swap_on_epoch", [False, True])
@pytest.mark.parametrize("frequency", ["epoch", 3])
def test_averages_that_stand_in_the_model_come_along(tmp_path, monkeypatch, swap_on_epoch, frequency):
    """At the end of an epoch the backup may hold them in the place of the weights, which the next epoch takes back."""
    model_of = make

    def averaging():
        model = model_of()
        model.compile(minicnn.optimizers.SGD(0.1, momentum=0.5, use_ema=True, ema_momentum=0.8), model.loss)
        return model

    monkeypatch.setitem(globals(), "make", averaging)
    assert_resumes(tmp_path, arrays, lambda folder: [callbacks.SwapEMAWeights(swap_on_epoch)], save_freq=frequency)


def test_curves_of_batches_go_on_with_their_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    from tests.test_callbacks import events

    def board(folder):
        return [callbacks.TensorBoard(folder / "logs", update_freq=4, write_graph=False)]

    assert_resumes(tmp_path, arrays, board, kill_after=9, save_freq=3)
    parts, whole = (events(tmp_path / name / "logs" / "train").keys() for name in ("parts", "whole"))
    assert parts == whole
    assert [step for tag, step in whole if tag == "batch_loss"] == [4, 8, 12, 16, 20]


class Counter(callbacks.Callback):
    state_attributes = ("batches", "sums")

    def on_train_begin(self, logs=None):
        self.batches, self.sums = 0, np.zeros(2)

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        self.sums += [batch, logs["loss"]]


def test_a_callback_of_one_s_own_names_what_it_remembers(tmp_path):
    found = []
    assert_resumes(tmp_path, arrays, lambda folder: [found.append(Counter()) or found[-1]], save_freq=3)
    whole, _, resumed = found
    assert resumed.batches == whole.batches == 20
    np.testing.assert_array_equal(resumed.sums, whole.sums)


class Shuffled:
    """A sequence that shuffles itself with NumPy's global generator."""

    def __init__(self):
        self.order = np.arange(40)

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rows = self.order[8 * index : 8 * index + 8]
        return X[rows] + np.random.normal(size=(8, 4)).astype("float32"), Y[rows]

    def on_epoch_end(self):
        np.random.shuffle(self.order)


class Remembered(Shuffled):
    def get_state(self):
        return {"order": self.order}

    def set_state(self, state):
        self.order = state["order"]


def noisy(x, y):
    return x + np.random.normal(size=x.shape).astype("float32"), y


def endless():
    while True:
        rows = np.random.randint(0, 40, 8)
        yield X[rows], Y[rows]


def finite():
    for start in range(0, 40, 8):
        yield X[start : start + 8], Y[start : start + 8]


def in_turn():
    while True:
        for x, y in finite():
            yield noisy(x, y)


def images(**arguments):
    return ImageDataGenerator(horizontal_flip=True).flow(X[:, :, None, None], Y, batch_size=8, **arguments)


DATA = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": 8},
    "some of the arrays an epoch": lambda: {"x": X, "y": Y, "batch_size": 8, "steps_per_epoch": 3},
    "sequence": lambda: {"x": Remembered()},
    "data set": lambda: {"x": samples().shuffle(40).map(noisy).batch(8)},
    "in a thread": lambda: {"x": samples().shuffle(40).map(noisy).batch(8).prefetch(2)},
    "repeated": lambda: {"x": samples().shuffle(16).repeat().map(noisy).batch(8), "steps_per_epoch": 4},
    "some an epoch": lambda: {"x": samples().shuffle(16).batch(8), "steps_per_epoch": 3},
    "generator": lambda: {"x": endless(), "steps_per_epoch": 4},
    "generator of the validation": lambda: {"x": Remembered(), "validation_data": in_turn(), "validation_steps": 2},
}


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # as Keras has it for "some of the arrays"
@pytest.mark.parametrize("frequency", ["epoch", 4])
@pytest.mark.parametrize("name", DATA)
def test_the_place_in_the_data_comes_along(tmp_path, name, frequency):
    assert_resumes(tmp_path, DATA[name], kill_after=8, save_freq=frequency)


@pytest.mark.parametrize("frequency", ["epoch", 4, 5])
def test_a_generator_that_ends_does_not_begin_again(tmp_path, frequency):
    """It holds one epoch of five batches; power fails when they are trained with."""
    data = lambda: {"x": finite()}  # noqa: E731
    expected = train(tmp_path / "whole", data, save_freq=frequency)
    with pytest.raises(Killed):
        train(tmp_path / "parts", data, lambda folder: [Late()], save_freq=frequency)
    found = train(tmp_path / "parts", data, save_freq=frequency)
    assert_same_weights(found, expected)
    assert found.history.history == expected.history.history
    assert found.history.epoch == [0]


@pytest.mark.parametrize("arguments", [{}, {"seed": 3}])
@pytest.mark.parametrize("frequency", ["epoch", 1, 5])
def test_image_data_generators_come_along(tmp_path, arguments, frequency):
    """Drawn from NumPy's global generator, or from the iterator's own."""

    def program(kill_after=0):
        minicnn.set_random_seed(11)
        model = minicnn.Sequential([minicnn.Input((4, 1, 1)), layers.Flatten(), layers.Dense(3)])
        model.compile("sgd", minicnn.losses.SparseCategoricalCrossentropy(from_logits=True))
        backup = callbacks.BackupAndRestore(tmp_path / "backup", save_freq=frequency)
        kill = [Kill(kill_after)] if kill_after else []
        data = ImageDataGenerator(width_shift_range=0.5, height_shift_range=0.5).flow(
            np.repeat(X[:, :, None, None], 1, 3), Y, batch_size=8, **arguments
        )
        model.fit(data, epochs=4, verbose=0, callbacks=[backup, *kill])
        return model

    expected = program()
    with pytest.raises(Killed):
        program(kill_after=11)
    found = program()
    assert_same_weights(found, expected)
    assert found.history.history == expected.history.history


def test_data_that_cannot_be_resumed_are_named(tmp_path):
    rng = np.random.default_rng()

    def unseeded():
        while True:
            yield rng.normal(size=(8, 4)).astype("float32"), np.zeros(8, int)

    cases = [
        (lambda: {"x": unseeded(), "steps_per_epoch": 4}, "The generator begins with another batch than in the run"),
        (lambda: {"x": Shuffled()}, "Shuffled has an `on_epoch_end`, and no `get_state` and `set_state`"),
    ]
    for index, (data, message) in enumerate(cases):
        with pytest.raises(Killed):
            train(tmp_path / str(index), data, kill_after=11)
        with pytest.warns(UserWarning, match=message):
            train(tmp_path / str(index), data)
    with pytest.raises(Killed):
        train(tmp_path / "short", lambda: {"x": samples().batch(8)}, kill_after=5, save_freq=4)
    with pytest.raises(ValueError, match="ends after 2 batches; training had taken 4 of them"):
        train(tmp_path / "short", lambda: {"x": samples().take(16).batch(8)}, save_freq=4)


def test_a_backup_for_other_callbacks_or_weights_only_says_so(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, arrays, kill_after=7)
    with pytest.raises(ValueError, match=r"latest.weights.h5 is the backup of a `fit` with other arguments: .*EarlyStopping"):
        train(tmp_path, arrays, lambda folder: [callbacks.EarlyStopping("loss")])
    make().save_weights(tmp_path / "backup" / "latest.weights.h5")
    with pytest.raises(ValueError, match=r"latest.weights.h5 is no backup of a running `fit`"):
        train(tmp_path, arrays)


def flip_a_number(path):
    """What a disk may do: one bit of a weight."""
    with h5py.File(path) as file:
        place = file["layers/dense/vars/0"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[place + 2] ^= 16
    path.write_bytes(content)


def test_a_backup_with_a_changed_bit_is_not_used(tmp_path):
    expected = train(tmp_path / "whole", arrays)
    for double in (False, True):
        with pytest.raises(Killed):
            train(tmp_path, arrays, kill_after=18, double_checkpoint=double)
        flip_a_number(tmp_path / "backup" / "latest.weights.h5")
        if not double:
            with pytest.raises(ValueError, match=r"latest.weights.h5 is damaged: what stands at 'layers/dense/vars'"):
                train(tmp_path, arrays)
            os.remove(tmp_path / "backup" / "latest.weights.h5")
    found = train(tmp_path, arrays, double_checkpoint=True)
    assert_same_weights(found, expected)
    assert found.history.history == expected.history.history


def test_files_of_the_user_s_own_stay(tmp_path):
    mine = tmp_path / "backup" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    train(tmp_path, arrays, double_checkpoint=True)
    assert os.listdir(mine.parent) == ["notes.txt"]


def test_a_backup_directory_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "backup").symlink_to(tmp_path / "disk")
    train(tmp_path, arrays)
    assert (tmp_path / "backup").is_symlink()
    assert os.listdir(tmp_path / "disk") == []


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


def test_rows_appended_before_the_first_backup_are_written_once(tmp_path):
    """Killed between the first row and the backup behind it: the next run begins anew, and its rows where the first's did."""
    body = """
        class KillAtEpoch(callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == int(sys.argv[3]):
                    os.kill(os.getpid(), signal.SIGKILL)

        log = callbacks.CSVLogger(FOLDER + "/log.csv", append=True)
        model = make()
        fit(model, epochs=3, callbacks=[log, KillAtEpoch(), callbacks.BackupAndRestore(FOLDER + "/backup")])
        """
    (tmp_path / "log.csv").write_text("epoch,loss\n0,1.0\n")
    run(body, tmp_path, 0, ends=-signal.SIGKILL)
    run(body, tmp_path, 1, ends=-signal.SIGKILL)
    run(body, tmp_path, -1)
    rows = (tmp_path / "log.csv").read_text().split()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "0", "1", "2"]


def test_metrics_whose_state_follows_from_the_data_go_on_within_an_epoch(tmp_path):
    def fit(*more):
        minicnn.set_random_seed(2)
        model = minicnn.Sequential([minicnn.Input((3,)), layers.Dense(2, activation="softmax")])
        scores = [minicnn.metrics.F1Score("macro"), minicnn.metrics.R2Score(), minicnn.metrics.OneHotMeanIoU(2, name="iou")]
        model.compile("nadam", "categorical_crossentropy", metrics=scores)
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(24, 3)).astype("float32"), np.eye(2, dtype="float32")[rng.integers(0, 2, 24)]
        return model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=list(more)).history

    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3 and int(self.model.optimizer.iterations) == 10:
                raise InterruptedError

    expected = fit()
    with pytest.raises(InterruptedError):
        fit(Stop(), callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1))
    assert fit(callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1)) == expected


def test_the_states_that_batches_hand_on_come_along(tmp_path):
    x = np.random.default_rng(3).normal(size=(32, 5, 2)).astype("float32")

    def train_once(kill_after=0):
        minicnn.set_random_seed(11)
        run = layers.Bidirectional(layers.LSTM(3, stateful=True, dropout=0.25))
        model = minicnn.Sequential([minicnn.Input(batch_shape=(8, 5, 2)), run, layers.Dense(2)])
        model.compile("adam", "mse")
        hooks = [callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1), *([Kill(kill_after)] if kill_after else [])]
        model.fit(x, x[:, 0], batch_size=8, epochs=3, verbose=0, callbacks=hooks)
        return model

    expected = train_once()
    with pytest.raises(Killed):
        train_once(6)
    found = train_once()
    assert_same_weights(found, expected)
    for one, other in zip(found.layers[0].states, expected.layers[0].states, strict=True):
        np.testing.assert_array_equal(one, other)
