"""The command line: what it writes and prints, its exit codes, and one line in place of a traceback."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from minicnn import datasets, models, study, zoo
from minicnn.cli.main import main
from minicnn.layers import Dense, Flatten, Input
from minicnn.models import Sequential


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
        "confusion.png",
        "curves.png",
        "history.csv",
        "mistakes.png",
        "model.keras",
        "settings.json",
    ]
    settings = json.loads((trained / "settings.json").read_text())
    asked = {"dataset": "digits", "model": "cifar_small", "epochs": 2, "batch_size": 48, "seed": 5, "validation_split": None}
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
    with open(trained / "history.csv", newline="") as file:
        assert settings["test_loss"] == pytest.approx(float(list(csv.DictReader(file))[-1]["val_loss"]), rel=1e-4)


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


def test_without_a_data_set_it_takes_cifar10_where_that_is_and_says_why(monkeypatch, no_data, cli, tmp_path):
    monkeypatch.setattr("minicnn.cli.train._fit", lambda *_: pytest.fail("not reached"))
    monkeypatch.setattr("minicnn.cli.train.load_data", lambda dataset: (_ for _ in ()).throw(ValueError(f"took {dataset}")))
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
        ("train digits --model resnet", "Unknown reference model: 'resnet'"),
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
        (("evaluate", "missing.keras", "digits"), r"^error: There is no file 'missing.keras'\.\n$"),
        (("evaluate", damaged, "digits"), "damaged.keras"),
        (("evaluate", trained, "cifar10"), "cifar10 is not on this machine"),
        (("predict", trained, tmp_path / "missing.png"), r"^error: .*missing.png: No such file or directory\n$"),
        (("predict", trained, tmp_path / "text.png"), "text.png is not a picture"),
        (("predict", trained, "digits:355"), "digits has 355 test images"),
        (("summary", "nonsense"), "no reference model of that name .there are cifar_small"),
        (("study", "filters", trained, "--layer", "conv9"), "has no layer 'conv9'"),
        (("train", "digits", "--threads", 4096), "threads"),
    ]:
        fails(cli(*arguments), 1, message)


def test_a_model_for_other_images_or_fewer_classes_is_refused(cli, tmp_path):
    for shape, classes, message in (
        ((9, 9, 3), 10, "images of digits are 8×8×1; the model takes 9×9×3"),
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
    assert re.search(rf"digits:4\s+│\s+{row.argmax()}\s+│\s+{100 * row.max():.1f}%", out)
    assert "picture.jpg" in out
    assert len(re.findall(r"\d%", out)) == 4


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
    monkeypatch.setenv("MINICNN_BACKEND", "abacus")
    fails(cli("doctor"), 1, "the default backend, 'abacus', does not run here")


def test_warmup_runs_every_model(cli, monkeypatch):
    monkeypatch.setattr(zoo, "MODELS", {"cifar_small": zoo.get("cifar_small")})
    code, out, _ = cli("warmup")
    assert code == 0
    assert re.fullmatch(r"cifar_small: \d+\.\d s\n", out)


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
