"""Every program runs to its end on the data of `--quick`, draws what it promises, and prints what is so.

The data are generated where the real ones are absent, which the tests see to. Two of the programs also run
under Keras itself, with nothing but their import lines changed. (Lessons: `test_notebooks`.)
"""

from __future__ import annotations

import itertools
import json
import re
import runpy
import sys
from pathlib import Path

import matplotlib
import matplotlib.font_manager  # looks for its fonts while HOME is still the user's
import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"

FIGURES = {
    "first_cnn": {"images", "accuracy", "loss", "confusion_matrix"},
    "sgd_dropout": {"loss", "accuracy"},
    "comparing_optimizers": {"learning_curves_adam", "confusion_matrix", "right_and_wrong", "learning_curves"},
    "horses_or_humans": {"pictures", "augmentation", "learning_curves", "feature_maps"},
    "fashion_mnist": {"curves", "confusion_matrix_counts", "confusion_matrix_normalized", "misclassified"},
    "cifar10_functional": {"curves", "confusion_matrix_counts", "confusion_matrix_normalized", "misclassified"},
    "resnet20": {"curves"},
    "airbench": {"images", "whitening", "curves"},
    "mobilenet": {"accuracy"},
    "unet": {"curves", "masks"},
    "autoencoder": {"denoised", "between"},
    "dcgan": {"losses", "drawn"},
    "siamese": {"codes"},
    "custom_loop": {"losses"},
    "cifar100": {"curves", "confusion_matrix_counts", "confusion_matrix_normalized", "misclassified"},
    "lesson_convolution": {"im2col", "kernels"},
    "lesson_backpropagation": {"gradients"},
    "lesson_batch_normalization": {"learning_curves", "gradients_without", "gradients_with", "activations"},
    "lesson_optimizers": {"valley", "digits"},
    "lesson_counting": {"shares", "memory"},
    "lesson_fast_convolution": {"im2col", "tiles", "winograd", "rates"},
    "lesson_augmentation_dropout": {"augmentation", "gap", "more_images"},
    "lesson_reading_a_network": {"why_zero", "sees", "weight", "pushes", "stops"},
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`run(path, *arguments)`: an example as `python path` runs it; its variables and what it printed."""
    for name in ("HOME", "KERAS_HOME", "MINICNN_DATA_DIR", "TFDS_DATA_DIR"):  # no real data; and all is undone at the end
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **kwargs: pytest.fail("downloads in --quick"))
    matplotlib.use("agg")

    def run(path, *arguments):
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        with matplotlib.rc_context():
            variables = runpy.run_path(str(path), run_name="__main__")
        return variables, capsys.readouterr().out

    return run


def quick(run, name, folder, *arguments):
    """Run an example with `--quick`, and look at its figures: all there, real PNGs, and something drawn on each."""
    variables, printed = run(EXAMPLES / f"{name}.py", "--quick", "--out", str(folder), *arguments)
    assert {path.name for path in folder.glob("*.png")} == {f"{figure}.png" for figure in FIGURES[name]}
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10, f"{path.name} is empty"
    return variables, printed


def final(printed, what="test accuracy"):
    """The number after `what` in the last line."""
    return float(re.search(rf"{re.escape(what)}:? (\d\.\d+)", printed.strip().splitlines()[-1]).group(1))


def test_the_list_is_complete():
    assert {path.stem for path in EXAMPLES.glob("[!_]*.py")} == set(FIGURES)
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)\.py`", table, re.MULTILINE)) == set(FIGURES)


def test_first_cnn(run, tmp_path):
    variables, printed = quick(run, "first_cnn", tmp_path / "out")
    assert "225,610" in printed  # parameters: 1,568 + 16,416 + 205,056 + 2,570
    right = np.mean(variables["predictions"] == variables["y_test"].ravel())
    assert final(printed) == pytest.approx(right, abs=1e-4)
    assert right > 0.5  # learnt: one in ten would be luck
    assert list(variables["losses"].columns) == ["accuracy", "loss", "val_accuracy", "val_loss"]


def test_sgd_dropout(run, tmp_path):
    variables, printed = quick(run, "sgd_dropout", tmp_path / "out")
    table = variables["table"]
    right = sum(table.loc[name, name] for name in table.columns)
    assert table.to_numpy().sum() == 100
    assert final(printed) == pytest.approx(right / 100, abs=1e-4)
    assert int(variables["sgd"].iterations) == 2 * 7  # epochs of 200 images in batches of 32
    assert float(variables["sgd"].learning_rate) == pytest.approx(0.05)  # `decay` divides it in each step, as in Keras 2
    losses = variables["history"].history["loss"]
    assert losses[1] < losses[0]


def test_comparing_optimizers(run, tmp_path):
    variables, printed = quick(run, "comparing_optimizers", tmp_path / "out")
    table = variables["table"]
    assert list(table.index) == ["adam", "sgd", "rmsprop"]
    for name in table.index:
        assert final(printed, name) == pytest.approx(table.loc[name, "test accuracy"], abs=1e-4)
    assert variables["y_train"].shape == (160, 1)
    first = {name: history["loss"][0] for name, history in variables["histories"].items()}
    assert len(set(first.values())) == 3  # each had its own way to go
    assert max(first.values()) - min(first.values()) < 0.2  # from one start


def test_horses_or_humans(run, tmp_path):
    variables, printed = quick(run, "horses_or_humans", tmp_path / "out", "--epochs", "1")
    assert "image: (300, 300, 3)  classes: ['horses', 'humans']  humans are class 1" in printed
    shapes = [feature.shape for feature in variables["features"]]
    assert shapes[:4] == [(1, 298, 298, 16)] * 3 + [(1, 149, 149, 16)]
    assert shapes[-4:] == [(1, 7, 7, 64), (1, 3136), (1, 512), (1, 1)]
    conv, activation = variables["features"][0], variables["features"][2]
    assert conv.min() < 0 == activation.min()
    for name, (_, accuracy) in variables["results"].items():
        assert final(printed, name) == pytest.approx(accuracy, abs=1e-4)


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10_functional", "cifar100"])
def test_functional_programs(run, tmp_path, name):
    variables, printed = quick(run, name, tmp_path / "out")
    right = np.mean(variables["p_test"] == variables["y_test"])
    assert final(printed) == pytest.approx(right, abs=1e-4)
    losses = variables["r"].history["loss"]
    assert losses[1] < losses[0]
    if name == "cifar100":
        assert final(printed, "first five guesses") >= final(printed)
        assert "class 0 is apple and willow_tree is class 96" in printed


def test_resnet20(run, tmp_path):
    variables, printed = quick(run, "resnet20", tmp_path / "out")
    for parameters in re.findall(r"([\d,]+) parameters", printed):
        assert round(int(parameters.replace(",", "")) / 1e6, 2) == 0.27  # the paper's table 6
    for history in variables["histories"].values():
        assert history["loss"][1] < history["loss"][0]


def test_airbench(run, tmp_path):
    variables, printed = quick(run, "airbench", tmp_path / "out")
    result, log = variables["result"], json.loads((tmp_path / "out" / "log.json").read_text())
    assert "not the original files of CIFAR-10" in printed
    assert log["steps"] == 2 * 4  # epochs of 200 images in batches of 50
    assert final(printed) == pytest.approx(log["accuracy_with_tta"], abs=1e-4)
    right = result.model.predict(variables["x_test"] / np.float32(255), verbose=0).argmax(axis=1)
    assert log["accuracy"] == np.mean(right == variables["y_test"].ravel())
    assert log["history"]["loss"][1] < log["history"]["loss"][0]
    assert log["code"]["airbench.py"] == (EXAMPLES / "airbench.py").read_text()
    assert "def optimizer_of" in log["code"]["recipes"]


def test_mobilenet(run, tmp_path):
    _, printed = quick(run, "mobilenet", tmp_path / "out", "--epochs", "1")
    found = re.findall(r"(\w+): ([\d,]+) parameters, ([\d.]+) MFLOP", printed)
    (whole, whole_flops), (separated, separated_flops) = (
        (int(parameters.replace(",", "")), float(flops)) for _, parameters, flops in found
    )
    channels = [32, 64, 128, 128, 256, 256]  # a 3x3 convolution, or 3x3 of each channel and 1x1 across; scale and shift of each
    pairs = list(itertools.pairwise(channels))
    beside = 3 * 9 * 32 + 4 * 32 + 256 * 10 + 10
    assert whole == beside + sum(9 * a * b + 4 * b for a, b in pairs)
    assert separated == beside + sum(9 * a + 4 * a + a * b + 4 * b for a, b in pairs)
    assert whole_flops > 4 * separated_flops


def test_unet(run, tmp_path):
    variables, printed = quick(run, "unet", tmp_path / "out")
    right = np.mean(variables["model"].predict(variables["x_test"], verbose=0).argmax(axis=-1) == variables["y_test"])
    assert f"{right:.2%} of the test pixels are right" in printed
    assert variables["r"].history["loss"][1] < variables["r"].history["loss"][0]


def test_autoencoder(run, tmp_path):
    variables, printed = quick(run, "autoencoder", tmp_path / "out")
    noise = np.mean((variables["noisy_test"] - variables["x_test"]) ** 2)
    assert f"mean squared error: {noise:.4f} with noise" in printed
    assert variables["encoder"].output_shape == (None, 32)


def test_dcgan(run, tmp_path):
    variables, _ = quick(run, "dcgan", tmp_path / "out")
    assert (
        int(variables["gan"].generator_optimizer.iterations) == int(variables["gan"].discriminator_optimizer.iterations) == 58
    )
    assert variables["drawn"].shape == (40, 8, 8, 1)


def test_siamese(run, tmp_path):
    _, printed = quick(run, "siamese", tmp_path / "out")
    assert float(re.search(r"seen in training: area under the curve ([\d.]+)", printed)[1]) > 0.8


def test_custom_loop(run, tmp_path):
    _, printed = quick(run, "custom_loop", tmp_path / "out")
    assert float(re.search(r"the losses of both differ by at most (\S+)", printed)[1]) < 1e-6


def test_arguments(run, tmp_path):
    def history(folder, *arguments):
        program = EXAMPLES / "fashion_mnist.py"
        variables, _ = run(program, "--quick", "--epochs", "1", "--out", str(tmp_path / folder), *arguments)
        return variables["r"].history

    dark = history("dark", "--seed", "5", "--style", "dark")
    assert len(dark["loss"]) == 1
    assert history("light", "--seed", "5") == dark
    assert history("other", "--seed", "6") != dark
    corners = {}
    for style in ("dark", "light"):
        with Image.open(tmp_path / style / "curves.png") as picture:
            corners[style] = picture.getpixel((0, 0))[:3]
    assert max(corners["dark"]) < 50 < 200 < min(corners["light"])


# --- under Keras ------------------------------------------------------------------------

IMPORT = re.compile(r"^from minicnn\.(\w+) import", re.MULTILINE)


def for_keras(name):
    """The source of an example with `minicnn` in its import lines changed to Keras, `minicnn.data` to TensorFlow's."""
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    changed = IMPORT.sub(lambda line: f"from {'tensorflow' if line[1] == 'data' else 'keras'}.{line[1]} import", source)
    before, after = source.splitlines(), changed.splitlines()
    assert all(old == new or old.startswith("from minicnn.") for old, new in zip(before, after, strict=True))
    return changed


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning")
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed, but will be ignored:UserWarning")  # Keras's own default
@pytest.mark.parametrize("name", ["first_cnn", "comparing_optimizers", "fashion_mnist"])
def test_they_are_keras_programs(run, tmp_path, monkeypatch, name):
    import keras

    from minicnn import datasets

    for data in ("cifar10", "fashion_mnist"):  # Keras reads no other files than those it downloads
        monkeypatch.setattr(getattr(keras.datasets, data), "load_data", getattr(datasets, data).load_data)
    program = tmp_path / f"{name}.py"
    program.write_text(for_keras(name), encoding="utf-8")
    variables, printed = run(program, "--quick", "--out", str(tmp_path / "out"))
    assert isinstance(variables["model"], keras.Model)
    assert "minicnn" not in type(variables["model"]).__module__
    assert {path.stem for path in (tmp_path / "out").iterdir()} == FIGURES[name]
    assert 0 <= final(printed, "adam" if name == "comparing_optimizers" else "test accuracy") <= 1


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning")
@pytest.mark.filterwarnings("ignore:Argument `decay` is no longer supported:UserWarning")
def test_the_one_that_keras_3_no_longer_takes(run, tmp_path, monkeypatch):
    """`SGD(lr=, decay=)` was Keras 2's; minicnn takes both, since the programs that people bring have them."""
    import keras

    from minicnn import datasets

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", datasets.cifar10.load_data)
    program = tmp_path / "sgd_dropout.py"
    program.write_text(for_keras("sgd_dropout"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"not recognized: \{'lr': 0\.05\}"):
        run(program, "--quick", "--out", str(tmp_path / "out"))
