"""The command line: what it writes and prints, its exit codes, and one line in place of a traceback."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from minicnn import config, data, datasets, models, recipes, study, zoo
from minicnn.backends import reference
from minicnn.callbacks import History
from minicnn.cli.given_model import GivenModel, input_range, refuse_fewer_outputs
from minicnn.cli.main import main
from minicnn.layers import Conv2D, Dense, Flatten, GlobalAveragePooling2D, Input, Normalization, RandomFlip, Rescaling
from minicnn.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy
from minicnn.models import Sequential
from minicnn.optimizers import SGD


@pytest.fixture
def cli(capsys):
    """Run a command line; its exit code, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run folder of two epochs on digits."""
    folder = tmp_path_factory.mktemp("runs") / "deep" / "digits"
    arguments = (
        "train digits --model cifar_small --epochs 2 --batch-size 48 --optimizer rmsprop --learning-rate 0.0005 --seed 5"
    )
    with pytest.raises(SystemExit) as stopped:
        main([*arguments.split(), "--verbose", "0", "--out", str(folder)])
    assert stopped.value.code == 0
    return folder


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """A machine without data files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.delenv("MINICNN_DATA_DIR", raising=False)
    return tmp_path


def fails(result, code, message):
    """One clear message on standard error, no traceback."""
    assert result[0] == code
    assert re.search(message, result[2]), result[2]
    assert "Traceback" not in result[1] + result[2]


# --- train ----------------------------------------------------------------------------


def test_train_writes_the_run_folder(trained):
    assert sorted(path.name for path in trained.iterdir()) == [
        "backup",
        "confusion.png",
        "curves.png",
        "filters.npz",
        "history.csv",
        "mistakes.png",
        "model.keras",
        "settings.json",
    ]
    settings = json.loads((trained / "settings.json").read_text())
    asked = {"dataset": "digits", "model": "cifar_small", "epochs": 2, "batch_size": 48, "seed": 5, "validation_split": 0.1}
    assert {key: settings[key] for key in asked} == asked
    assert settings["optimizer"]["class_name"] == "RMSprop"
    assert settings["optimizer"]["config"]["learning_rate"] == pytest.approx(0.0005)
    assert settings["class_names"] == list("0123456789")
    with open(trained / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])
    for name in ("confusion", "curves", "mistakes"):
        with Image.open(trained / f"{name}.png") as picture:
            assert min(picture.size) > 200


def test_the_report_is_the_models_own(trained, cli):
    code, out, _ = cli("evaluate", trained, "digits")
    settings = json.loads((trained / "settings.json").read_text())
    (x, y) = datasets.digits.load_data(as_rgb32=True)[1]
    predicted = models.load_model(trained / "model.keras").predict(x.astype(np.float32) / 255, verbose=0).argmax(1)
    assert settings["test_accuracy"] == pytest.approx(np.mean(predicted == y))
    assert code == 0
    assert f"test accuracy {100 * np.mean(predicted == y):.2f}% of 355 images" in out
    assert f"test loss {settings['test_loss']:.4f}" in out


def test_one_seed_gives_one_result(cli, tmp_path):
    arguments = [
        "train",
        "digits",
        "--model",
        "cifar_strided",
        "--epochs",
        "1",
        "--seed",
        "3",
        "--validation-split",
        "0.9",
        "--verbose",
        "0",
        "--out",
    ]
    for name in "ab":
        assert cli(*arguments, tmp_path / name)[0] == 0
    histories = [(tmp_path / name / "history.csv").read_bytes() for name in "ab"]
    assert histories[0] == histories[1]


def test_validation_is_on_training_images_that_were_held_out(monkeypatch, cli, tmp_path):
    given = {}

    def fit(self, x, y, validation_data=None, **kwargs):
        given.update(x=x, y=y, held=validation_data)
        raise KeyboardInterrupt

    monkeypatch.setattr(Sequential, "fit", fit)
    x = datasets.digits.load_data(as_rgb32=True)[0][0]
    out = cli("train", "digits", "--model", "cifar_small", "--validation-split", 0.25, "--out", tmp_path)[1]
    assert "1,082 images, 360 training images held out for validation" in out
    assert len(given["held"][0]) == round(0.25 * len(x))
    together = np.concatenate([given["x"], given["held"][0]])
    order, expected = np.lexsort(together.reshape(len(x), -1).T), np.lexsort(x.reshape(len(x), -1).T)
    np.testing.assert_allclose(together[order] * 255, x[expected], atol=1e-3)  # the training images, each once
    assert len(set(given["held"][1].tolist())) == 10
    cli("train", "digits", "--model", "cifar_small", "--validation-split", 0, "--overwrite", "--out", tmp_path)
    assert given["held"] is None
    assert len(given["x"]) == len(x)


def test_a_run_is_not_overwritten_unasked(cli, trained, tmp_path):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    arguments = ("train", "digits", "--model", "cifar_strided", "--epochs", 1, "--verbose", 0)
    fails(cli(*arguments, "--out", trained), 2, "There is a run in .* already: --resume goes on with it, --overwrite replaces")
    fails(cli("train", "--resume", "--out", trained), 2, "The 2 epochs of the run in .* are done; more --epochs go on")
    fails(cli("train", "--resume", "--out", trained, "--epochs", 3, "--seed", 6), 2, "seed: it has 5, asked for is 6")
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "model.keras").write_bytes(b"copied here by hand")
    fails(cli(*arguments, "--out", tmp_path / "copy"), 2, r"There is a model\.keras in .*copy that no run wrote: --overwrite")
    assert (tmp_path / "copy" / "model.keras").read_bytes() == b"copied here by hand"
    own = tmp_path / "own" / "backup" / "mine.txt"
    own.parent.mkdir(parents=True)
    own.write_text("not of a run")
    assert cli(*arguments, "--out", tmp_path / "own")[0] == 0
    assert cli(*arguments, "--out", tmp_path / "own", "--overwrite")[0] == 0
    assert own.read_text() == "not of a run"
    assert (tmp_path / "own" / "history.csv").read_text().count("\n") == 2


@pytest.mark.parametrize("how", ["killed", "interrupted", "done"])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(monkeypatch, cli, tmp_path, how):
    whole = ("train", "digits", "--model", "cifar_small", "--seed", 4, "--verbose", 0, "--optimizer", "adam", "--out")
    assert cli(*whole, tmp_path / "whole", "--epochs", 3)[0] == 0
    folder = tmp_path / "again"
    if how == "done":
        assert cli(*whole, folder, "--epochs", 2)[0] == 0
    else:
        stop = SystemExit(9) if how == "killed" else KeyboardInterrupt()

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise stop

        with monkeypatch.context() as patch:
            patch.setattr(History, "on_epoch_begin", on_epoch_begin)
            result = cli(*whole, folder, "--epochs", 3)
        assert result[0] == (9 if how == "killed" else 1)
        if how == "interrupted":
            fails(result, 1, f"go on with: minicnn train --resume --out {folder}")
    more = ("--epochs", 3) if how == "done" else ()
    assert cli("train", "--resume", "--out", folder, "--verbose", 0, *more)[0] == 0
    ended, expected = (models.load_model(tmp_path / name / "model.keras").get_weights() for name in ("again", "whole"))
    for ours, theirs in zip(ended, expected):
        np.testing.assert_array_equal(ours, theirs)
    settings = [json.loads((tmp_path / name / "settings.json").read_text()) for name in ("again", "whole")]
    assert settings[0]["epochs_done"] == settings[1]["epochs_done"] == 3
    assert settings[0]["test_loss"] == settings[1]["test_loss"]


def test_train_of_ones_own_goes_on_with_its_optimizer(cli, tmp_path):
    config.set_random_seed(1)
    model = Sequential([Input((8, 8, 1)), Flatten(), Dense(10)])
    model.compile(SGD(0.25), SparseCategoricalCrossentropy(from_logits=True))
    model.save(tmp_path / "own.keras")
    arguments = ("train", "digits", "--epochs", 1, "--verbose", 0)
    assert cli(*arguments, "--model", tmp_path / "own.keras", "--out", tmp_path / "run")[0] == 0
    trained = models.load_model(tmp_path / "run" / "model.keras")
    assert float(trained.optimizer.learning_rate) == 0.25
    assert trained.loss.from_logits
    changed = ("--model", tmp_path / "run", "--learning-rate", 0.5, "--out", tmp_path / "next")
    assert cli(*arguments, *changed)[0] == 0
    assert float(models.load_model(tmp_path / "next" / "model.keras").optimizer.learning_rate) == 0.5
    message = "outputs of shape \\(None, 10\\), which tell 10 classes apart; the data have 100"
    with pytest.raises(ValueError, match=message):
        refuse_fewer_outputs(model, 100)


@pytest.fixture
def tiny_recipe(monkeypatch):
    """airbench94 for a few images; CIFAR-10 is these."""
    rng = np.random.default_rng(0)
    parts = [
        (rng.integers(0, 256, (n, 26, 26, 3)).astype(np.uint8), np.arange(n)[:, None].astype(np.uint8) % 10) for n in (24, 20)
    ]
    monkeypatch.setattr(datasets.cifar10, "load_data", lambda: tuple(parts))
    small = dataclasses.replace(recipes.get("airbench94"), widths=(8, 8, 8), batch_size=12, epochs=1.5)
    monkeypatch.setitem(recipes.RECIPES, "airbench94", small)
    return parts


def test_a_recipe_writes_a_run_folder_with_its_log(tiny_recipe, no_data, cli, tmp_path):
    folder = tmp_path / "run"
    code, out, _ = cli("train", "cifar10", "--recipe", "airbench94", "--seed", 3, "--out", folder)
    assert code == 0
    assert "not the original files of CIFAR-10" in out
    assert re.search(r"1\.5 epochs in [\d.]+ s: accuracy (\d\.\d+), (\d\.\d+) with test-time augmentation", out)
    log, settings = (json.loads((folder / name).read_text()) for name in ("log.json", "settings.json"))
    assert (log["steps"], log["seed"], log["recipe"]["epochs"]) == (3, 3, 1.5)
    assert (settings["recipe"], settings["seed"], settings["epochs_done"]) == ("airbench94", 3, 2)
    assert settings["test_accuracy"] == pytest.approx(log["accuracy"])
    assert settings["test_accuracy_with_tta"] == log["accuracy_with_tta"]
    assert {"model.keras", "history.csv", "curves.png", "confusion.png", "mistakes.png"} < {p.name for p in folder.iterdir()}
    x, y = tiny_recipe[1]
    right = models.load_model(folder / "model.keras").predict(x / np.float32(255), verbose=0).argmax(axis=1) == y[:, 0]
    assert np.mean(right) == pytest.approx(log["accuracy"])
    code, out, _ = cli("evaluate", folder, "cifar10")  # which takes the range of the pixels from the file
    assert f"test accuracy {100 * log['accuracy']:.2f}% of 20 images" in out
    fails(cli("train", "--resume", "--out", folder), 2, "is of the recipe airbench94, which runs from end to end")


@pytest.mark.parametrize(("given", "used"), [((), "medium"), (("--precision", "highest"), "highest")])
def test_a_recipe_s_precision_holds_while_it_trains(given, used, tiny_recipe, no_data, cli, tmp_path, monkeypatch):
    seen = set()
    epochs = recipes.batches
    monkeypatch.setattr(recipes, "batches", lambda *data: seen.add(config.float32_matmul_precision()) or epochs(*data))
    assert cli("train", "cifar10", "--recipe", "airbench94", *given, "--out", tmp_path / "run")[0] == 0
    assert seen == {used}
    assert config.float32_matmul_precision() == "highest"
    log, settings = (json.loads((tmp_path / "run" / name).read_text()) for name in ("log.json", "settings.json"))
    assert settings["precision"] == log["recipe"]["precision"] == used


def test_a_run_goes_on_with_its_precision(cli, tmp_path):
    folder = tmp_path / "run"
    training = "train", "digits", "--model", "cifar_small", "--epochs", 1, "--out", folder
    try:
        assert cli(*training, "--precision", "medium")[0] == 0
        assert json.loads((folder / "settings.json").read_text())["precision"] == "medium"
        message = "precision: it has 'medium', asked for is 'highest'"
        fails(cli("train", "--resume", "--precision", "highest", "--epochs", 2, "--out", folder), 2, message)
        config.set_float32_matmul_precision("highest")
        assert cli("train", "--resume", "--epochs", 2, "--out", folder)[0] == 0
        assert config.float32_matmul_precision() == "medium"
    finally:
        config.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("cifar10 --recipe airbench", "Unknown recipe: 'airbench'. Did you mean"),
        ("digits --recipe airbench94", "The recipes are for cifar10. Received: digits"),
        ("--recipe airbench94 --model vgg_bn --range 0-255", "cannot be given with --model, --range"),
        ("--recipe airbench94 --resume", "cannot be given with --resume"),
        ("--recipe airbench94 --batch-size 9 --learning-rate 1", "cannot be given with --batch-size, --learning-rate"),
    ],
)
def test_what_a_recipe_says_itself_is_not_to_be_given(no_data, cli, arguments, message):
    fails(cli("train", *arguments.split()), 2, message)
    assert not (no_data / "runs").exists()


def test_without_a_data_set_it_takes_cifar10_where_that_is_and_says_why(monkeypatch, no_data, cli, tmp_path):
    monkeypatch.setattr("minicnn.cli.train._fit", lambda *_: pytest.fail("not reached"))
    monkeypatch.setattr(
        "minicnn.cli.train.load_data", lambda dataset, shape: (_ for _ in ()).throw(ValueError(f"took {dataset}"))
    )
    result = cli("train", "--out", tmp_path)
    fails(result, 1, "took digits")
    assert "data set: digits (the files of cifar10 are not on this machine" in result[1]
    folder = no_data / ".keras" / "datasets" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(b"")
    result = cli("train", "--out", tmp_path)
    fails(result, 1, "took cifar10")
    assert f"data set: cifar10 (its files are in {folder})" in result[1]


def test_ctrl_c_keeps_what_was_learnt_and_fails(monkeypatch, cli, tmp_path):
    def interrupted(self, *args, callbacks=None, verbose=0, **kwargs):
        fit(self, *args, **(kwargs | {"epochs": 1}), verbose=0)
        raise KeyboardInterrupt

    fit = Sequential.fit
    monkeypatch.setattr(Sequential, "fit", interrupted)
    result = cli("train", "digits", "--model", "cifar_small", "--epochs", 9, "--out", tmp_path)
    fails(result, 1, "interrupted after 1 whole epochs")
    assert (tmp_path / "model.keras").is_file()
    assert (tmp_path / "history.csv").read_text().count("\n") == 2


# --- wrong usage, wrong input ---------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("frobnicate", "No such command 'frobnicate'"),
        ("train imagenet", "'imagenet' is not one of 'cifar10'"),
        ("trian digits", "No such command 'trian'.*Did you mean.*train"),
        ("study sailency a b", "No such command 'sailency'.*Did you mean.*saliency"),
        ("train digit", "'digit' is not one of 'cifar10'.* Did you mean 'digits'"),
        ("train digits --model resnet", "no file 'resnet', and no reference model of that name"),
        ("train digits --model cifar_smal", "Did you mean 'cifar_small'"),
        ("train digits --model pyproject.toml", "pyproject.toml is no model"),
        ("train digits --model minicnn", "folder 'minicnn' has no model.keras"),
        ("train digits --model nowhere:model", "nowhere:model cannot be imported: No module named 'nowhere'"),
        ("train digits --model minicnn.zoo:cifar_smal", "the module has no 'cifar_smal'. Did you mean 'cifar_small'"),
        ("train digits --model minicnn.zoo:names", "expected a model of minicnn, or a function that returns one"),
        ("train digits --resume", "--resume needs the run's folder, --out"),
        ("train --resume --out nowhere", "There is no run in nowhere to resume"),
        ("predict cifar_small digits:1 --range 0-2", "'0-2' is not one of '0-1', '0-255'"),
        ("study gradcam cifar_small digits:1 --out a.txt", "a.txt should end in .png, .svg or .pdf"),
        ("train digits --optimizer magic", "Unknown optimizer: 'magic'"),
        ("train digits --epochs 0", "0 is not in the range"),
        ("train digits --learning-rate -1", "-1.0 is not in the range"),
        ("train digits --validation-split 1", "1.0 is not in the range"),
        ("train digits --seed -1", "-1 is not in the range"),
        ("train digits --backend abacus", "'abacus' is not one of 'numba', 'reference', 'cupy'"),
        ("train digits --out README.md", "is a file"),
        ("evaluate", "Missing argument 'MODEL'"),
        ("predict model.keras", "Missing argument 'IMAGE...'"),
        ("data fetch imagenet", "'imagenet' is not one of"),
    ],
)
def test_wrong_usage_ends_with_2(cli, arguments, message):
    fails(cli(*arguments.split()), 2, message)


def test_a_failure_ends_with_1_and_says_what(cli, trained, no_data, tmp_path):
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes((trained / "model.keras").read_bytes()[:1000])
    (tmp_path / "text.png").write_text("no picture")
    for arguments, message in [
        (("evaluate", "missing.keras", "digits"), r"^error: There is no file 'missing.keras', and no reference model"),
        (("evaluate", damaged, "digits"), "damaged.keras"),
        (("evaluate", trained, "cifar10"), "cifar10 is not on this machine"),
        (("predict", trained, tmp_path / "missing.png"), r"^error: .*missing.png: No such file or directory\n$"),
        (("predict", trained, tmp_path / "text.png"), "text.png cannot be read as a picture"),
        (("predict", trained, tmp_path), "is not a regular file"),
        (("predict", trained, "digit:3"), "digit:3: there is no file and no data set of that name. Did you mean 'digits'"),
        (("predict", trained, "digits:355"), "digits has 355 test images"),
        (("summary", "nonsense"), "no reference model of that name. Reference models: cifar_small"),
        (("study", "filters", trained, "--layer", "conv9"), "has no layer 'conv9'"),
        (("train", "digits", "--threads", 4096), "threads"),
    ]:
        fails(cli(*arguments), 1, message)


def test_a_function_for_a_model_is_called_with_what_there_is(cli, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_networks.py").write_text(
        "from minicnn.models import Sequential\nfrom minicnn.layers import Dense, Flatten, Input\n"
        "def make(input_shape, classes=10):\n"
        "    return Sequential([Input(input_shape), Flatten(), Dense(classes, activation='softmax')])\n"
    )
    fails(cli("evaluate", "own_networks:make", "digits"), 1, "own_networks:make needs input_shape, which this command does not")
    arguments = ("--epochs", 1, "--verbose", 0, "--out", tmp_path / "run")
    assert cli("train", "digits", "--model", "own_networks:make", *arguments)[0] == 0
    assert models.load_model(tmp_path / "run" / "model.keras").input_shape == (None, 32, 32, 3)


def test_a_model_for_other_images_or_fewer_classes_is_refused(cli, tmp_path):
    for shape, classes, message in (
        ((9, 9, 3), 10, "images of digits are 8×8×1 or 32×32×3; the model takes 9×9×3"),
        ((8, 8, 1), 4, "4 classes"),
    ):
        Sequential([Input(shape), Flatten(), Dense(classes, activation="softmax")]).save(tmp_path / "model.keras")
        fails(cli("evaluate", tmp_path, "digits"), 1, message)


def test_debug_shows_the_traceback_anywhere_on_the_line(cli):
    for arguments in (("--debug", "summary", "nonsense"), ("summary", "nonsense", "--debug")):
        code, _, err = cli(*arguments)
        assert code == 1
        assert "Traceback" in err


# --- the other commands ---------------------------------------------------------------


def test_predict_lists_the_classes_of_pictures(cli, trained, tmp_path):
    digits = datasets.digits.load_data(as_rgb32=True)[1][0]
    Image.fromarray(digits[4]).resize((70, 50)).save(tmp_path / "picture.jpg")
    code, out, _ = cli("predict", trained / "model.keras", "digits:4", tmp_path / "picture.jpg", "--top", 2)
    assert code == 0
    row = models.load_model(trained / "model.keras").predict(digits[4:5].astype(np.float32) / 255, verbose=0)[0]
    true = datasets.digits.load_data()[1][1][4]
    assert re.search(rf"digits:4\s+│\s+{true}\s+│\s+{row.argmax()}\s+│\s+{100 * row.max():.1f}%", out)
    assert "picture.jpg" in out
    assert len(re.findall(r"\d%", out)) == 4


@pytest.mark.parametrize("source", ["cifar_small", "minicnn.zoo:cifar_small", "RUN", "RUN/model.keras"])
def test_every_command_takes_every_kind_of_model(cli, trained, tmp_path, source):
    model = source.replace("RUN", str(trained))
    if source == "minicnn.zoo:cifar_small":
        assert "0 to 1 is assumed" in cli("predict", model, "digits:0")[2]
    for arguments in (
        ("evaluate", model, "digits"),
        ("predict", model, "digits:0"),
        ("summary", model),
        ("study", "filters", model, "--out", tmp_path / "filters.png"),
        ("study", "trace", model, "digits:0"),
    ):
        assert cli(*arguments)[0] == 0, arguments


def test_a_picture_of_black_on_white_gets_a_hint(cli, trained, tmp_path):
    digits = datasets.digits.load_data(as_rgb32=True)[1][0]
    Image.fromarray(255 - digits[4]).save(tmp_path / "ink.png")
    code, _, err = cli("predict", trained, tmp_path / "ink.png", "digits:4")
    assert code == 0
    assert re.search("hint: .*ink.png is dark on a light ground.*: try --invert", err)
    assert "digits:4" not in err
    code, inverted, err = cli("predict", trained, tmp_path / "ink.png", "--invert")
    assert err == ""
    model = models.load_model(trained / "model.keras")
    row = model.predict(digits[4:5].astype(np.float32) / 255, verbose=0)[0]
    assert f"{100 * row.max():.1f}%" in inverted


def test_light_and_dark_are_swapped_within_the_range_of_the_pixels(cli, tmp_path):
    """A model whose probabilities are shares of the mean pixel, from 0 to 255, and of what is left to that."""
    model = Sequential([Input((4, 4, 1)), GlobalAveragePooling2D(), Dense(2, activation="softmax")])
    model.set_weights([np.array([[0.01, 0]], "float32"), np.zeros(2, "float32")])
    model.save(tmp_path / "model.keras")
    Image.fromarray(np.full((4, 4), 55, np.uint8)).save(tmp_path / "grey.png")
    for options, mean in (((), 55), (("--invert",), 200)):
        code, out, _ = cli("predict", tmp_path / "model.keras", tmp_path / "grey.png", "--range", "0-255", *options)
        assert code == 0
        assert f"{100 / (1 + np.exp(-0.01 * mean)):.1f}%" in out


def test_predict_refuses_names_that_are_not_the_models(cli, trained, tmp_path):
    (tmp_path / "model.keras").write_bytes((trained / "model.keras").read_bytes())
    assert cli("predict", tmp_path, "digits:0")[0] == 0  # numbers for names
    (tmp_path / "settings.json").write_text('{"class_names": ["a", "b"]}')
    fails(cli("predict", tmp_path, "digits:0"), 1, "has 10 classes, but settings.json beside it names 2")
    (tmp_path / "settings.json").write_text("{")
    fails(cli("predict", tmp_path, "digits:0"), 1, "settings.json is damaged")


def test_summary_of_a_reference_model_and_of_a_file(cli, trained):
    code, out, _ = cli("summary", "cifar_small")
    assert code == 0
    assert "225,610" in out
    assert zoo.get("cifar_small").source in out
    assert "225,610" in cli("summary", trained)[1]


def test_gradcheck_fails_where_a_gradient_does(cli, tmp_path):
    Sequential([Input((4, 4, 1)), Flatten(), Dense(3, activation="softmax", name="scores")]).save(tmp_path / "model.keras")
    code, out, _ = cli("gradcheck", tmp_path)
    assert code == 0
    assert "training step" in out
    assert "8 of 8 gradients agree" in out
    assert "fit on numba" in out
    code, out, _ = cli("gradcheck", tmp_path, "--tolerance", 0)
    assert code == 1
    assert "FAIL" in out


def test_data_lists_what_is_here(cli, no_data):
    code, out, _ = cli("data")
    assert code == 0
    assert re.search(r"cifar10\s+│ not here │\s+170\.1 MB │ minicnn data fetch cifar10", out)
    assert re.search(r"digits\s+│ here", out)
    assert str(no_data / ".keras" / "datasets") in out
    assert cli("data", "list") == cli("data")
    assert cli("data", "fetch", "digits")[1].strip().endswith("digits.csv.gz")


def test_doctor_names_backends_and_reasons(cli, monkeypatch):
    code, out, _ = cli("doctor")
    assert code == 0
    for word in ("numpy", "backend numba (the default)", "threading layer", "vector", "backend reference", "backend cupy"):
        assert word in out
    devices = re.findall(r"^│ device +│ *(.*?) *│$", out, re.MULTILINE)
    assert len(devices) >= 2
    assert all(devices)
    assert max(map(len, out.splitlines())) <= 80
    monkeypatch.setenv("MINICNN_BACKEND", "abacus")
    fails(cli("doctor"), 1, "the default backend, 'abacus', does not run here")


def test_the_reference_tells_what_multiplies_its_matrices(monkeypatch):
    libraries = {name: {"name": f"its {name}", "version": "1.2"} for name in ("blas", "lapack")}
    monkeypatch.setattr(np, "show_config", lambda mode: {"Build Dependencies": libraries})
    assert reference.describe()["blas"] == "its blas 1.2"


def test_warmup_runs_every_model(cli, monkeypatch):
    monkeypatch.setattr(zoo, "MODELS", {"cifar_small": zoo.get("cifar_small")})
    code, out, _ = cli("warmup")
    assert code == 0
    assert re.fullmatch(r"cifar_small: \d+\.\d s\n", out)


AFTER_WARMUP = """
import contextlib, io, sys
from minicnn import zoo
from minicnn.cli.main import main

def run(line):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(line.split())

def signatures():
    kernels = {}
    for module in [held for name, held in sys.modules.items() if name.startswith("minicnn.backends.numba_cpu")]:
        for name, held in vars(module).items():
            if hasattr(held, "signatures") and hasattr(held, "py_func"):
                kernels[f"{held.py_func.__module__}.{held.py_func.__qualname__}"] = set(held.signatures)
    return kernels

zoo.MODELS = {name: zoo.get(name) for name in ("cifar_small", "vgg_bn")}
run("warmup")
before = signatures()
assert sum(map(len, before.values())) > 20
model, folder = sys.argv[1:]
run(f"predict {model} digits:1")
run(f"evaluate {model} digits")
run(f"study trace {model} digits:1")
for picture in ("saliency", "gradcam", "features"):
    run(f"study {picture} {model} digits:1 --out {folder}/{picture}.png")
run(f"train digits --model cifar_small --epochs 1 --verbose 0 --out {folder}/run")
print(sorted(name for name, held in signatures().items() if held - before.get(name, set())))
"""


def test_after_warmup_nothing_is_compiled(trained, tmp_path):
    """In a process of its own: the dispatcher of each kernel knows the signatures that it was compiled for."""
    program = [sys.executable, "-c", AFTER_WARMUP, trained, tmp_path]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert (tmp_path / "gradcam.png").is_file()
    assert (tmp_path / "run" / "model.keras").is_file()
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    ["filters RUN", "features RUN digits:1", "saliency RUN digits:1", "gradcam RUN digits:1 --class 3", "im2col digits:1"],
)
def test_study_writes_a_picture(cli, trained, tmp_path, arguments):
    out = tmp_path / "new" / "picture.png"
    command = [trained if part == "RUN" else part for part in arguments.split()]
    code, printed, _ = cli("study", *command, "--style", "dark", "--out", out)
    assert (code, printed.strip()) == (0, str(out))
    with Image.open(out) as picture:
        assert max(picture.convert("RGB").getpixel((0, 0))) < 60  # a dark corner


def test_study_of_data_sets(cli, tmp_path):
    for name in ("samples", "labels"):
        assert cli("study", name, "digits", "--out", tmp_path / f"{name}.svg")[0] == 0
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")


DRAWN = {  # what stands on the line, the function that it is for, and what that is given
    "filters RUN --layer second": ("filters", {"layer": "second"}),
    "features RUN digits:1 --channels 3": ("feature_maps", {"channels": 3}),
    "saliency RUN digits:1 --class 7": ("saliency", {"class_index": 7}),
    "gradcam RUN digits:1 --class 7 --layer second": ("grad_cam", {"class_index": 7, "layer": "second"}),
    "im2col digits:1 --kernel-size 2 --strides 3 --padding same --place 1 2": (
        "im2col_matrix",
        {"kernel_size": 2, "strides": 3, "padding": "same", "place": (1, 2)},
    ),
    "samples digits --count 7": ("sample_grid", {"count": 7, "title": "digits"}),
    "labels digits": ("label_counts", {"title": "digits"}),
    "animate convolution digits:1 --kernel-size 2 --strides 3 --padding same --frames 4": (
        "convolution_animation",
        {"kernel_size": 2, "strides": 3, "padding": "same", "frames": 4},
    ),
    "trace RUN digits:1 --pixel 3 4": ("trace", {"pixel": (3, 4)}),
}


def heard(monkeypatch, module, name):
    """What a function is called with from now on, by name; it does nothing."""
    signature, found = inspect.signature(getattr(module, name)), {}

    def listen(*arguments, **named):
        style = {key: named.pop(key) for key in ("style",) if key not in signature.parameters and key in named}
        found.update(signature.bind(*arguments, **named).arguments, **style)
        raise ValueError("enough")

    monkeypatch.setattr(module, name, listen)
    return found


@pytest.mark.parametrize("line", DRAWN)
def test_study_hands_its_options_on(cli, trained, monkeypatch, line):
    name, expected = DRAWN[line]
    found = heard(monkeypatch, study, name)
    styled = [] if name == "trace" else ["--style", "dark"]
    code, _, said = cli("study", *(trained if part == "RUN" else part for part in line.split()), *styled)
    assert (code, "enough" in said) == (1, True)
    expected = expected | ({"style": "dark"} if styled else {})
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize("line", ["features", "saliency", "gradcam", "trace"])
def test_study_shows_pixels_in_the_range_that_is_asked_for(cli, trained, monkeypatch, line):
    name = {"features": "feature_maps", "gradcam": "grad_cam"}.get(line, line)
    found = heard(monkeypatch, study, name)
    for asked, largest in (([], 1), (["--range", "0-255"], 255)):  # the model's own is 0 to 1
        cli("study", line, trained, "digits:1", *asked)
        assert np.max(found["image"]) == pytest.approx(largest, rel=0.1)


def test_gradcheck_hands_its_options_on(cli, trained, monkeypatch):
    found = heard(monkeypatch, sys.modules["minicnn.study.gradcheck"], "gradcheck")
    options = {"batch_size": 3, "directions": 1, "tolerance": 0.5, "fit_tolerance": 0.25, "seed": 9}
    named = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", value)]
    assert cli("gradcheck", trained, *named)[0] == 1
    assert {key: found[key] for key in options} == options


def test_study_animate(cli, trained, tmp_path):
    films = {("convolution", "digits:3", "--frames", "2"): 2, ("filters", trained): 3, ("curves", trained): 2}
    for command, frames in films.items():
        out = tmp_path / f"{command[0]}.gif"
        code, printed, _ = cli("study", "animate", *command, "--out", out, "--fps", 10, "--style", "dark")
        assert (code, printed.strip()) == (0, str(out))
        with Image.open(out) as gif:
            assert gif.n_frames == frames
            assert gif.info["duration"] == 100
    fails(cli("study", "animate", "curves", trained, "--out", "film.avi"), 2, r"must end in .gif, .mp4, .html")
    fails(cli("study", "animate", "filters", tmp_path), 2, "There is no filters.npz in ")


def test_study_trace_prints_what_the_library_traces(cli, trained):
    model = models.load_model(trained / "model.keras")
    image = datasets.digits.load_data(as_rgb32=True)[1][0][2].astype(np.float32) / 255
    code, out, _ = cli("study", "trace", trained, "digits:2", "--pixel", 10, 12)
    assert code == 0
    assert out.strip() == str(study.trace(model, image, (10, 12)))


# --- the program itself ---------------------------------------------------------------


def test_version_and_help(cli):
    assert re.fullmatch(r"minicnn \d+\.\d+\.\d+\n", cli("--version")[1])
    code, out, _ = cli("--help")
    assert code == 0
    for name in ("train", "evaluate", "predict", "summary", "gradcheck", "data", "bench", "doctor", "warmup"):
        assert re.search(rf"^  {name}\s+\S", out, re.MULTILINE)
        assert cli(name, "--help")[0] == 0


def test_help_loads_nothing_heavy():
    program = (
        "import sys; from minicnn.cli.main import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: print(sorted({'numba', 'cupy', 'matplotlib', 'sklearn', 'h5py', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- the range of input, logits, and the loss of the model itself -----------------------


def save_tiny(path, head, loss, *, rescaling=True, epochs=1):
    """A model of the small digits that scales its pixels itself; compiled, trained a little, saved. With the data."""
    config.set_random_seed(2)
    (x, y), (x_test, y_test) = datasets.digits.load_data()
    layers = [Rescaling(1 / 255)] if rescaling else []
    model = Sequential([Input((8, 8, 1)), *layers, Flatten(), Dense(24, activation="relu"), head])
    model.compile("adam", loss, metrics=["accuracy"])
    targets = np.eye(10, dtype=np.float32)[y] if isinstance(loss, CategoricalCrossentropy) else y
    model.fit(x.astype(np.float32), targets, epochs=epochs, verbose=0)
    model.save(path)
    return model, x_test.astype(np.float32), y_test


def softmax(z):
    return np.exp(z - z.max(-1, keepdims=True)) / np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True)


@pytest.mark.parametrize("kind", [SparseCategoricalCrossentropy, CategoricalCrossentropy])
def test_evaluate_of_a_model_that_rescales_and_ends_in_logits_is_that_of_python(cli, tmp_path, kind):
    model, x, y = save_tiny(tmp_path / "own.keras", Dense(10), kind(from_logits=True), epochs=8)
    targets = y if kind is SparseCategoricalCrossentropy else np.eye(10, dtype=np.float32)[y]
    loss, accuracy = model.evaluate(x, targets, verbose=0)
    assert accuracy > 0.8
    code, out, err = cli("evaluate", tmp_path / "own.keras", "digits")
    assert (code, err) == (0, "")
    assert f"test loss {loss:.4f}, test accuracy {100 * accuracy:.2f}% of 355 images" in out


def test_evaluate_compiles_what_was_never_compiled_with_a_loss_for_its_outputs(cli, tmp_path):
    (x, y) = datasets.digits.load_data()[1]
    model = Sequential([Input((8, 8, 1)), Rescaling(1 / 255), Flatten(), Dense(10)])
    model.save(tmp_path / "own.keras")
    rows = softmax(model.predict(x.astype(np.float32), verbose=0).astype(np.float64))
    expected = -np.log(rows[np.arange(len(y)), y]).mean()
    assert f"test loss {expected:.4f}," in cli("evaluate", tmp_path / "own.keras", "digits")[1]


def test_predict_prints_probabilities_of_logits(cli, tmp_path):
    model, x, y = save_tiny(tmp_path / "own.keras", Dense(10), SparseCategoricalCrossentropy(from_logits=True), epochs=3)
    row = softmax(model.predict(x[3:4], verbose=0).astype(np.float64))[0]
    code, out, _ = cli("predict", tmp_path / "own.keras", "digits:3", "--top", 10)
    assert code == 0
    printed = [float(number) for number in re.findall(r"(-?\d+\.\d)%", out)]
    np.testing.assert_allclose(printed, np.sort(100 * row)[::-1], atol=0.051)
    assert re.search(rf"digits:3\s+│\s+{y[3]}\s+│\s+{row.argmax()}\s+│", out)  # the true class, the predicted one


def test_predict_of_one_unit_of_logits_is_a_sigmoid(cli, tmp_path):
    config.set_random_seed(0)
    model = Sequential([Input((8, 8, 1)), Flatten(), Dense(1)])
    model.input_range = (0, 1)
    model.save(tmp_path / "one.keras")
    x = datasets.digits.load_data()[1][0][5:6] / np.float32(255)
    p = 1 / (1 + np.exp(-float(model.predict(x, verbose=0)[0, 0])))
    out = cli("predict", tmp_path / "one.keras", "digits:5")[1]
    assert sorted(re.findall(r"\d+\.\d%", out)) == sorted([f"{100 * p:.1f}%", f"{100 * (1 - p):.1f}%"])


def test_the_range_of_input_goes_with_the_file(cli, tmp_path, monkeypatch):
    model, x, y = save_tiny(tmp_path / "a.keras", Dense(10, activation="softmax"), "sparse_categorical_crossentropy",
                            rescaling=False)  # fmt: skip
    accuracy = f"test accuracy {100 * np.mean(model.predict(x, verbose=0).argmax(1) == y):.2f}%"
    code, out, err = cli("evaluate", tmp_path / "a.keras", "digits")
    assert "a.keras does not say which range of pixels it takes: 0 to 1 is assumed" in err
    assert accuracy not in out
    assert accuracy in cli("evaluate", tmp_path / "a.keras", "digits", "--range", "0-255")[1]
    model.input_range = (0, 255)
    model.save(tmp_path / "b.keras")
    again = models.load_model(tmp_path / "b.keras")
    assert again.input_range == (0, 255)
    again.save(tmp_path / "c.keras")
    for name in "bc":
        code, out, err = cli("evaluate", tmp_path / f"{name}.keras", "digits")
        assert (code, err) == (0, "")
        assert accuracy in out
        keras = pytest.importorskip("keras")
        np.testing.assert_allclose(
            keras.models.load_model(tmp_path / f"{name}.keras").predict(x[:4], verbose=0),
            model.predict(x[:4], verbose=0), atol=1e-5,
        )  # fmt: skip


def test_train_writes_the_range_into_the_file(cli, tmp_path, trained):
    assert models.load_model(trained / "model.keras").input_range == (0, 1)
    assert json.loads((trained / "settings.json").read_text())["input_range"] == [0, 1]
    save_tiny(tmp_path / "own.keras", Dense(10), SparseCategoricalCrossentropy(from_logits=True))
    arguments = ("--epochs", 2, "--verbose", 0, "--out", tmp_path / "run")
    code, out, err = cli("train", "digits", "--model", tmp_path / "own.keras", *arguments)
    assert (code, err) == (0, "")
    moved = tmp_path / "elsewhere.keras"
    moved.write_bytes((tmp_path / "run" / "model.keras").read_bytes())
    again = models.load_model(moved)
    assert again.input_range == (0, 255)
    x, y = datasets.digits.load_data()[1]
    loss, accuracy = again.evaluate(x.astype(np.float32), y, verbose=0)
    line = f"test loss {loss:.4f}, test accuracy {100 * accuracy:.2f}%"
    assert line in out
    assert line in cli("evaluate", moved, "digits")[1]


@pytest.mark.parametrize(("scale", "offset", "expected"), [
    (1 / 255, 0, (0, 255)), (1 / 127.5, -1, (0, 255)), ([1 / 58.4, 1 / 57.1, 1 / 57.4], [-2.1, -2, -1.8], (0, 255)),
    (2, -1, (0, 1)), (255, 0, (0, 1)), ([1 / 0.229, 1 / 0.224, 1 / 0.225], [-2.1, -2, -1.8], (0, 1)),
])  # fmt: skip
def test_a_leading_rescaling_tells_the_range(scale, offset, expected):
    base = Sequential([Input((8, 8, 3)), RandomFlip(), Rescaling(scale, offset), Conv2D(2, 3)])
    assert input_range(base) == expected
    assert input_range(Sequential([Input((8, 8, 3)), base, Flatten(), Dense(2)])) == expected
    for before in (Conv2D(3, 3), Conv2D(3, 3, trainable=False), Normalization()):  # which has weights that no optimizer trains
        assert input_range(Sequential([Input((8, 8, 3)), before, Rescaling(scale)])) is None
    assert input_range(Sequential([Input((8, 8, 3)), Flatten()])) is None


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_resized_as_training_loads_it(cli, tmp_path, channels):
    config.set_random_seed(0)
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "pictures" / "a" / "noise.png")
    model = Sequential([Input((8, 9, channels)), Rescaling(1 / 32), Flatten(), Dense(4, activation="softmax")])
    model.save(tmp_path / "own.keras")
    loaded = data.image_dataset_from_directory(
        tmp_path / "pictures", image_size=(8, 9), color_mode="rgb" if channels == 3 else "grayscale", verbose=False
    )
    ((x, _),) = loaded
    row = model.predict(x, verbose=0)[0]
    out = cli("predict", tmp_path / "own.keras", tmp_path / "pictures" / "a" / "noise.png", "--top", 4)[1]
    assert re.findall(r"\d+\.\d%", out) == [f"{100 * p:.1f}%" for p in np.sort(row)[::-1]]
    taken = GivenModel(model, (0, 255), None, None).picture(str(tmp_path / "pictures" / "a" / "noise.png"))
    np.testing.assert_array_equal(taken.pixels, x[0])


def test_a_training_that_diverges_says_so_and_leaves_no_model(cli, tmp_path):
    arguments = ("train", "digits", "--model", "cifar_strided", "--epochs", 2, "--verbose", 0, "--out", tmp_path / "run")
    result = cli(*arguments, "--optimizer", "sgd", "--learning-rate", 1e30)
    fails(result, 1, r"The loss is (nan|inf) in epoch 1: training diverged\. Try a smaller --learning-rate")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["settings.json"]


@pytest.mark.parametrize("command", [[], ["study"], ["data"]])
def test_what_a_command_does_is_said_in_whole_sentences(cli, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = cli(*command, "--help")
    assert code == 0
    assert "..." not in out.partition("Commands:")[2]
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("pixels", [(), ("--range", "0-255")])
def test_what_is_light_is_a_matter_of_the_range(cli, trained, tmp_path, pixels):
    for value, hinted in ((40, False), (200, True)):
        Image.fromarray(np.full((32, 32, 3), value, np.uint8)).save(tmp_path / "plain.png")
        code, _, err = cli("predict", trained, tmp_path / "plain.png", *pixels)
        assert (code, "try --invert" in err) == (0, hinted)


def test_one_unit_tells_two_classes_apart_and_no_more():
    model = Sequential([Input((4, 4, 1)), Flatten(), Dense(1, activation="sigmoid")])
    refuse_fewer_outputs(model, 2)
    with pytest.raises(ValueError, match="which tell 2 classes apart; the data have 3"):
        refuse_fewer_outputs(model, 3)
