"""The benchmark: its figures by hand, what it measures in real workers, what it writes, and engines that fail."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any
from unittest.mock import ANY, MagicMock, call

import numpy as np
import pytest
from PIL import Image

from minicnn import backends, optimizers, zoo
from minicnn.bench import measure, report, scaling
from minicnn.bench.worker import ENGINES, ISAS, arrays, environment, torch_network
from minicnn.cli.main import main
from minicnn.layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    ReLU,
    UpSampling2D,
)
from minicnn.layers.affine import Affine
from minicnn.models import Model, Sequential


def tiny() -> Sequential:
    """8×8×3 -> 6×6×4 -> 3×3×4 -> 3."""
    layers = [Input((8, 8, 3)), Conv2D(4, 3, activation="relu"), MaxPooling2D(2), Flatten(), Dense(3, activation="softmax")]
    return Sequential(layers, name="tiny")


def two_inputs() -> Model:
    a, b = Input((4,)), Input((4,))
    return Model([a, b], Dense(2)(Add()([a, b])), name="siamese")


def any_size() -> Sequential:
    return Sequential([Input((None, None, 3)), Conv2D(4, 3), GlobalAveragePooling2D(), Dense(3)], name="free")


NO_MODEL = 3


@pytest.fixture
def cli(capsys, monkeypatch):
    """Run a command line, with turns as short as can be; its exit code, standard output and standard error."""
    monkeypatch.setattr(measure, "TURN", 0)
    monkeypatch.setattr(sys, "path", [*sys.path])  # which the command prepends to
    threads = backends.get_num_threads()

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    yield run
    backends.set_num_threads(threads)


QUICK = ("--rounds", 1, "--no-start-up", "--no-memory", "--no-scaling")
KINDS = ("train", "train beside 1", "predict 256", "call 256", "predict 1", "call 1")


def check_result(result: dict[str, Any], engines: list[str]) -> None:
    """One model's part of results.json."""
    assert set(result) == {*KINDS, "errors", "rounds", "batch", "flops"}
    for kind in KINDS:
        assert sorted(result[kind]) == sorted(engines)
        for engine, value in result[kind].items():
            assert isinstance(value, float)
            assert 0 < value < 1e6  # microseconds an image
            assert result["rounds"][kind][engine] == [value]  # the only round is its own median


def check_picture(path) -> None:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 150
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


# --- the command, with real engines -----------------------------------------------------


def test_a_file_on_minicnn_and_keras(cli, tmp_path):
    model = tiny()
    model.compile(optimizer=optimizers.SGD(0.1, momentum=0.9), loss="sparse_categorical_crossentropy")
    model.save(tmp_path / "my_model.keras")
    engines = ["minicnn", "keras tensorflow"]
    asked = [part for engine in engines for part in ("--engine", engine)]
    out = tmp_path / "deep" / "bench"
    code, printed, _ = cli("bench", "--model", tmp_path / "my_model.keras", *asked, "--batch-size", 128, *QUICK, "--out", out)
    assert code == 0, printed
    document = json.loads((out / "results.json").read_text())
    assert set(document) == {"machine", "limit", "models"}
    assert document["limit"] > 1e8  # FLOP/s
    assert document["machine"]["threads"] == backends.get_num_threads()
    assert document["machine"]["versions"]["numpy"] == np.__version__
    assert {"system", "python", "cores", "device", "vector_floats"} <= set(document["machine"])
    (result,) = document["models"].values()
    assert list(document["models"]) == ["my_model"]
    check_result(result, engines)
    assert result["errors"] == {}
    assert (result["batch"], result["flops"]) == (128, 16_200)
    check_picture(out / "chart.png")
    assert "my_model, batch 128: training" in printed
    factor = result["train"]["keras tensorflow"] / result["train"]["minicnn"]
    assert f"my_model: {factor:.2f} times as fast as Keras, TensorFlow\n" in printed
    assert printed.endswith(f"written: {out}\n")


def test_a_function_that_returns_a_model(cli, tmp_path):
    """Not compiled: it is trained with Adam. A broken engine is named, with its error, and left out."""
    broken = tmp_path / "keras"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('this keras is broken')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        engines = ("--engine", "keras tensorflow", "--engine", "minicnn")
        code, printed, _ = cli("bench", "--model", "tests.test_bench:tiny", *engines, *QUICK, "--out", tmp_path)
    assert code == 0
    (result,) = json.loads((tmp_path / "results.json").read_text())["models"].values()
    check_result(result, ["minicnn"])
    assert result["errors"] == {"keras tensorflow": "ImportError: this keras is broken"}
    assert re.search(r"Keras, TensorFlow │\s+- │.*ImportError: this keras is broken", printed)
    assert "tests.test_bench:tiny, batch 32: training" in printed
    assert "times as fast" not in printed  # without a peer
    check_picture(tmp_path / "chart.png")


def test_no_engine_that_works(cli, tmp_path, monkeypatch):
    (tmp_path / "keras.py").write_text("import os; os._exit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    arguments = ("--model", "tests.test_bench:tiny", "--engine", "keras tensorflow", *QUICK, "--out", tmp_path)
    code, printed, err = cli("bench", *arguments)
    assert code == 1
    assert "ended with code 3" in printed
    assert "No engine could train a model" in err
    assert not (tmp_path / "chart.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("transformer", 2, "Unknown reference model: 'transformer'. Expected one of 'cifar_small'"),
        ("--model missing.keras", 2, "There is no file 'missing.keras'"),
        ("--model missing_module:build", 2, "missing_module:build cannot be imported: No module named 'missing_module'"),
        ("--model tests.test_bench:missing", 2, "the module has no 'missing'"),
        ("--model tests.test_bench:NO_MODEL", 2, "expected a model of minicnn, or a function that returns one. Received: 3"),
        ("--model tests.test_bench:two_inputs", 1, "Model 'siamese' has 2 inputs and 1 outputs"),
        ("--model tests.test_bench:any_size", 1, r"Model 'free' takes \(None, None, 3\)"),
        ("--isa sse", 2, "'sse' is not 'avx2'"),
        ("--engine theano", 2, "'theano' is not one of 'minicnn', 'keras tensorflow'"),
        ("cifar_small --rounds 0", 2, "0 is not in the range"),
    ],
)
def test_wrong_usage(cli, tmp_path, arguments, code, message):
    result = cli("bench", *arguments.split(), "--engine", "minicnn", "--out", tmp_path / "new")
    assert result[0] == code
    assert re.search(message, result[2]), result[2]
    assert "Traceback" not in result[1] + result[2]
    assert not (tmp_path / "new").exists()


# --- the command, with figures that are given -------------------------------------------


def test_everything_is_written_and_shown(cli, tmp_path, monkeypatch):
    asked = []

    def speed(case, engines, threads, rounds, say, beside):
        figures = {"minicnn": 20.0, "torch": 50.0}
        asked.append((case["batch"], list(engines), threads, rounds))
        return {"errors": {}, "rounds": {}} | dict.fromkeys(KINDS, figures)

    monkeypatch.setattr(measure, "speed", speed)
    peaks = {"minicnn": 250_000_000, "torch": "ended with code -9"}
    monkeypatch.setattr(measure, "memory", lambda case, *_: peaks | {"minicnn": 10**6 * case["batch"]})
    starts = {"minicnn": 1.25, "torch": 3.5, "minicnn, nothing compiled": 30.0, "line": "compiling"}
    monkeypatch.setattr(measure, "start_up", lambda *_, **__: starts)
    grown = {"batch": {"x": [1, 2], "seconds": [0.5, 1.0], "exponent": 1.0}, "threads": {"x": [1, 2], "seconds": [0.5, 0.3]}}
    grown["threads"]["exponent"] = -0.74
    monkeypatch.setattr(scaling, "curves", lambda threads: grown)
    engines = ("--engine", "minicnn", "--engine", "torch")
    code, printed, _ = cli("bench", "cifar_small", "cifar_wide", *engines, "--rounds", 3, "--threads", 1, "--out", tmp_path)
    assert code == 0
    assert asked == [(32, ["minicnn", "torch"], 1, 3)] * 2
    document = json.loads((tmp_path / "results.json").read_text())
    assert list(document["models"]) == ["cifar_small", "cifar_wide"]
    assert document["memory"] == {"cifar_wide": {"minicnn": 128_000_000, "torch": "ended with code -9"}}
    assert document["start"] == starts
    assert document["scaling"] == grown
    check_picture(tmp_path / "chart.png")
    check_picture(tmp_path / "scaling.png")
    for line in (
        "cifar_wide: 2.50 times as fast as PyTorch",
        "geometric mean over 2 models: 2.50 times as fast as the best peer on each",
        "time grows with threads to the power of -0.74",
    ):
        assert f"{line}\n" in printed
    assert re.search(r"minicnn\s+│\s+128 │", printed)
    assert re.search(r"PyTorch\s+│.*ended with code -9 │", printed)
    assert re.search(r"minicnn, nothing compiled │ 30.00", printed)


def test_all_engines_are_kept_to_some_instructions(cli, tmp_path, monkeypatch):
    """Workers get them in their environment; the document and the terminal say so."""
    for name in ISAS["avx2"]:
        monkeypatch.setenv(name, "")  # and is undone at the end
    seen = {}

    def speed(*_):
        seen.update({name: os.environ[name] for name in ISAS["avx2"]})
        return {"errors": {}, "rounds": {}} | {kind: {"minicnn": 20.0} for kind in KINDS}

    monkeypatch.setattr(measure, "speed", speed)
    code, printed, _ = cli("bench", "cifar_small", "--isa", "avx2", "--engine", "minicnn", *QUICK, "--out", tmp_path)
    assert code == 0
    assert seen == ISAS["avx2"]
    assert json.loads((tmp_path / "results.json").read_text())["machine"]["isa"] == "avx2"
    assert "every engine is kept to avx2: NUMBA_CPU_NAME=haswell, ONEDNN_MAX_CPU_ISA=AVX2" in printed


# --- workers ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def case():
    return measure.case_of(tiny(), optimizers.Adam(), "sparse_categorical_crossentropy", 16, steps=3)


def test_a_worker_answers(case, tmp_path):
    """Turns of one `fit`, then inference, then training again; an error ends the turn, not the worker."""
    (tmp_path / "case.json").write_text(json.dumps(case))
    worker = measure.Worker("minicnn", tmp_path / "case.json", 1)
    try:
        for _ in range(3):
            answer = worker.ask("train")
            assert answer["steps"] == 3
            assert 0 < answer["seconds"] < 60
        for do, batch, images in (("predict", 256, 512), ("call", 256, 256), ("predict", 1, 1), ("call", 1, 1)):
            answer = worker.ask(do, batch=batch)
            assert 0.1 < answer["seconds"] < 60
            assert answer["images"] % images == 0
        assert worker.ask("train")["steps"] == 3
        with pytest.raises(RuntimeError, match="KeyError: 'batch'"):
            worker.ask("predict")
        assert 20e6 < worker.ask("memory")["bytes"] < 4e9
    finally:
        worker.close()
    assert worker.process.returncode == 0


def test_memory_of_a_process(case):
    (peak,) = measure.memory(case, ["minicnn"], 1).values()
    assert 20e6 < peak < 4e9


class Scripted:
    """In place of a worker: seconds that are given, in order, and the errors among them."""

    answers: dict[str, list[Any]]
    log: list[tuple[str, str]]

    def __init__(self, engine: str, case: Any, threads: int, more: dict[str, str] | None = None) -> None:
        self.engine, self.cold = engine, bool(more)

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        self.log.append((self.engine, f"{do} {options['batch']}" if options else do))
        seconds = self.answers[self.engine].pop(0) if do in ("train", "start") else 1.0
        if isinstance(seconds, str):
            raise RuntimeError(seconds)
        return {"seconds": seconds} | ({"images": 4} if options else {"steps": 2})

    def close(self) -> str:
        self.log.append((self.engine, "close"))
        return "compiling kernels\n" if self.cold else ""


@pytest.fixture
def scripted(monkeypatch):
    def start(**answers):
        monkeypatch.setattr(Scripted, "answers", answers, raising=False)
        monkeypatch.setattr(Scripted, "log", [], raising=False)
        monkeypatch.setattr(measure, "Worker", Scripted)
        return Scripted.log

    return start


def test_speed_is_the_median_of_rounds_that_engines_take_in_turns(case, scripted):
    """One turn warms up; a turn is 2 steps of 16 images."""
    answers = {"torch": [9, 0.32, 0.64, "it broke"], "keras jax": ["no jax"]}
    log = scripted(minicnn=[9, 0.032, 0.096, 0.064, 0.32, 0.96, 0.64], **answers)
    result = measure.speed(case, ["minicnn", "torch", "keras jax"], 1, rounds=3)
    assert result["rounds"]["train"] == {"minicnn": pytest.approx([1e3, 3e3, 2e3]), "torch": pytest.approx([1e4, 2e4])}
    assert result["train"] == {"minicnn": pytest.approx(2e3), "torch": pytest.approx(1.5e4)}
    assert result["errors"] == {"keras jax": "no jax", "torch": "train: it broke"}
    assert result["train beside 1"] == {"minicnn": pytest.approx(2e4)}
    for kind in KINDS[2:]:
        assert result[kind] == {"minicnn": pytest.approx(0.25e6)}
    turns = ["minicnn", "torch", "keras jax"] + ["minicnn", "torch"] * 3 + ["minicnn"] * 3
    assert log[:12] == [(engine, "train") for engine in turns]
    assert log[12:-3] == [("minicnn", kind) for kind in KINDS[2:] for _ in range(3)]
    assert sorted(log[-3:]) == [("keras jax", "close"), ("minicnn", "close"), ("torch", "close")]


def test_busy_processes_take_the_time_of_others(case):
    """Six on every core leave one more about a seventh of its time."""
    alone = measure.quiet_share(1)
    with measure.busy(6 * (os.cpu_count() or 1), os.cpu_count() or 1):
        assert measure.quiet_share(1) < 0.5 * alone


def test_a_machine_that_is_not_quiet_is_named(cli, tmp_path, monkeypatch):
    shares = [0.5, 1.0]
    monkeypatch.setattr(measure, "quiet_share", lambda threads: shares.pop(0))
    engines = ("--engine", "minicnn", "--threads", 1, "--busy", 0)
    code, _, err = cli("bench", "--model", "tests.test_bench:tiny", *engines, *QUICK, "--out", tmp_path)
    assert code == 0
    assert err.count("This machine is not quiet: other programs take 50% of the 1 cores.") == 1
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["machine"]["free"] == [0.5, 1.0]
    assert "train beside 1" not in document["models"]["tests.test_bench:tiny"]


def test_start_up_leaves_out_the_first_round_and_adds_a_cold_one(case, scripted):
    scripted(minicnn=[50.0, 1.0, 3.0, 1.5, 30.0], torch=["no torch"] * 4)
    found = measure.start_up(case, ["minicnn", "torch"], 1, rounds=3)
    assert found == {"minicnn": 1.5, "torch": "no torch", "minicnn, nothing compiled": 30.0, "line": "compiling kernels"}


def test_installed_engines_are_those_whose_packages_are_found(monkeypatch):
    def only(*packages):
        monkeypatch.setattr("importlib.util.find_spec", lambda package: package in packages or None)
        return measure.installed_engines()

    assert only("numba") == ["minicnn"]
    assert only("numba", "keras", "tensorflow") == ["minicnn", "keras tensorflow", "keras tensorflow xla"]
    assert only("numba", "torch") == ["minicnn", "torch", "torch channels_last", "torch compiled"]
    assert only("numba", "keras", "tensorflow", "jax", "torch") == list(ENGINES)


def test_every_engine_has_as_many_threads():
    variables = environment("keras jax", 3)
    assert variables["KERAS_BACKEND"] == "jax"
    assert "KERAS_BACKEND" not in environment("minicnn", 3)
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        assert variables[name] == "3"


@pytest.mark.parametrize(
    ("loss", "output", "shape", "dtype"),
    [
        ("sparse_categorical_crossentropy", [4], (6,), "int64"),
        ("sparse_categorical_crossentropy", [3, 2, 4], (6, 3, 2), "int64"),  # a class for each pixel
        ("categorical_crossentropy", [4], (6, 4), "float32"),
        ("categorical_crossentropy", [3, 4], (6, 3, 4), "float32"),
        ("binary_crossentropy", [1], (6, 1), "float32"),
        ("mean_squared_error", [2, 4], (6, 2, 4), "float32"),
    ],
)
def test_labels_fit_the_loss(loss, output, shape, dtype):
    x, y = arrays({"loss": loss, "classes": output[-1], "input_shape": [5, 5, 3], "output_shape": output}, 6)
    assert (x.shape, x.dtype) == ((6, 5, 5, 3), "float32")
    assert (y.shape, y.dtype) == (shape, dtype)
    if loss == "categorical_crossentropy":
        np.testing.assert_array_equal(y.sum(axis=-1), 1)


# --- what a model costs -----------------------------------------------------------------


def test_step_flops_by_hand():
    """The first layer: forward and kernel gradient. The others: the input's gradient too. 2 FLOPs a product."""
    first, last = 2 * (3 * 3 * 3 * 4) * (6 * 6), 2 * (36 * 3)
    assert measure.step_flops(tiny()) == 2 * first + 3 * last == 16_200
    images = Input((9, 7, 2))
    strided = Conv2D(5, (3, 2), strides=2, padding="same")(images)  # 5×4×5
    branch = Conv2D(5, 1, strides=2, padding="same", use_bias=False)(images)
    output = Dense(6)(Add()([strided, branch]))  # at each of the 20 pixels
    both = 2 * (3 * 2 * 2 * 5) * 20, 2 * (2 * 5) * 20
    assert measure.step_flops(Model(images, output)) == 2 * sum(both) + 3 * 2 * (5 * 6) * 20


def test_steps_of_a_turn(monkeypatch):
    """8192 images, or as many as make so many FLOPs; four at least."""
    monkeypatch.setattr(measure, "TURN", 24e9)

    def steps(model, batch, given=None):
        return measure.case_of(model, optimizers.Adam(), "mean_squared_error", batch, given)["steps"]

    small, large = tiny(), Sequential([Input((2000,)), Dense(2000)])  # large: 16 MFLOP an image
    assert steps(small, 32) == 256
    assert steps(small, 1024) == 8
    assert steps(small, 10_000) == 4
    assert steps(large, 128) == 11  # 24 / (0.016 * 128) = 11.7
    assert steps(large, 2048) == 4
    assert steps(large, 256, 5) == 5


def test_a_case_describes_the_model_in_keras_s_form():
    import keras

    case = measure.case_of(tiny(), optimizers.SGD(0.25, momentum=0.5), "sparse_categorical_crossentropy", 7)
    twin = keras.models.model_from_json(json.dumps(case["model"]))
    assert twin.count_params() == tiny().count_params()
    assert float(keras.optimizers.deserialize(case["optimizer"]).learning_rate) == 0.25
    assert (case["input_shape"], case["output_shape"], case["classes"], case["batch"]) == ([8, 8, 3], [3], 3, 7)
    assert json.loads(json.dumps(case)) == case


@pytest.mark.parametrize("seconds", [[0.4, 0.2, 0.1], [0.4, 0.41, 0.45]])
def test_in_proportion_falls_with_threads_and_rises_with_work(seconds):
    grown = {"x": [1, 2, 4], "seconds": seconds, "exponent": report.exponent([1, 2, 4], seconds)}
    figure = report.scaling_chart({"batch": grown, "threads": grown})
    batch, threads = (axis.lines[1].get_ydata() for axis in figure.axes)
    np.testing.assert_allclose(batch, np.array([1, 2, 4]) * 1e3 * seconds[-1] / 4)
    np.testing.assert_allclose(threads, 1e3 * seconds[0] / np.array([1, 2, 4]))


def test_captions_and_labels_of_the_charts_do_not_touch():
    speeds = {"minicnn": 20.0, "torch": 19_694.0}
    figure = report.chart({f"model {i}": {"train": speeds, "batch": 32} for i in range(4)}, "machine")
    figure.draw_without_rendering()
    for above, below in zip(figure.axes[:2], figure.axes[2:]):
        assert above.xaxis.label.get_window_extent().y0 > below.title.get_window_extent().y1 + 5
        for text in above.texts:
            assert text.get_window_extent().x1 < above.get_window_extent().x1


def test_scaling_measures_steps_that_grow(monkeypatch):
    built = []
    monkeypatch.setattr(scaling, "_step", lambda model, shape, batch: built.append((shape, batch)) or (lambda: None))
    monkeypatch.setattr(scaling, "_seconds", lambda steps, rounds: [3.0 * 2**i for i in range(len(steps))])
    before = backends.get_num_threads()
    curves = scaling.curves(before, rounds=1)
    assert backends.get_num_threads() == before
    assert curves["batch"]["x"] == [16, 32, 64, 128, 256, 512]
    assert curves["batch"]["exponent"] == pytest.approx(1)  # both double
    assert curves["pixels"]["x"] == [64, 256, 1024, 4096, 16384]
    assert curves["pixels"]["exponent"] == pytest.approx(0.5)
    assert curves["channels in × channels out"]["x"] == [256, 1024, 4096, 16384, 65536]
    assert [batch for shape, batch in built if shape == (32, 32, 3)][:6] == curves["batch"]["x"]
    assert ("threads" in curves) == (before > 1)


def test_seconds_of_a_step():
    calls = []
    (seconds,) = scaling._seconds([lambda: calls.append(0)], 1)
    assert 0.0999 < seconds * (len(calls) - 2) < 10  # a turn is a tenth of a second; the first two calls warm up


# --- figures ----------------------------------------------------------------------------


def test_best_peer():
    assert report.best_peer({"minicnn": 1.0, "torch": 3.0, "keras jax": 2.5}) == ("keras jax", 2.5)
    assert report.best_peer({"torch": 3.0}) == ("torch", 3.0)
    assert report.best_peer({"minicnn": 1.0}) is None
    assert report.best_peer({}) is None


def test_summary_is_the_geometric_mean_of_the_factors():
    results = {
        "a": {"train": {"minicnn": 10.0, "torch": 20.0, "keras jax": 90.0}},  # 2
        "b": {"train": {"minicnn": 4.0, "keras jax": 32.0}},  # 8
        "alone": {"train": {"minicnn": 4.0}},
        "failed": {"train": {"torch": 4.0}},
    }
    assert report.summary(results) == [
        "a: 2.00 times as fast as PyTorch",
        "b: 8.00 times as fast as Keras, JAX",
        "geometric mean over 2 models: 4.00 times as fast as the best peer on each",
    ]
    assert report.summary({"b": results["b"]}) == ["b: 8.00 times as fast as Keras, JAX"]


def test_rows_of_a_training_table():
    """100 µs an image of 2 MFLOP are 20 GFLOP/s, a fifth of 100."""
    result = {"flops": 2_000_000, "train": {"torch": 250.0, "minicnn": 100.0}, "errors": {"keras jax": "no jax"}}
    assert report.training_rows(result, 100e9) == [
        ("minicnn", "100.0", "1.00", "20.0", "20%"),
        ("PyTorch", "250.0", "2.50", "8.0", "8%"),
        ("Keras, JAX", "-", "", "", "no jax"),
    ]


def test_rows_of_an_inference_table():
    train = {"torch": 250.0, "minicnn": 100.0}
    result = {"train": train, "predict 256": train, "call 256": {"minicnn": 9.0}, "predict 1": train, "call 1": train}
    assert report.inference_rows(result) == [
        ("minicnn", "100.0", "9.0", "100.0", "100.0"),
        ("PyTorch", "250.0", "-", "250.0", "250.0"),
    ]


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_exponent_of_an_exact_power_law(power):
    work = np.array([1.0, 3.0, 10.0, 64.0])
    assert report.exponent(work, 7 * work**power) == pytest.approx(power, abs=1e-12)


def test_chart_has_a_panel_for_each_model_that_was_trained():
    trained = {"batch": 32, "train": {"minicnn": 10.0, "torch": 20.0}}
    figure = report.chart({"a": trained, "failed": {"batch": 32, "train": {}}, "b": trained}, "title")
    assert [axis.get_title() for axis in figure.axes] == ["a, batch 32", "b, batch 32"]
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ["PyTorch", "minicnn"]  # from below


# --- PyTorch's counterpart --------------------------------------------------------------


def torch_network_of(layers: list[Any]) -> tuple[Any, Sequential]:
    model = Sequential([Input((12, 10, 3)), *layers])
    return torch_network(json.loads(model.to_json())["config"], [12, 10, 3]), model


@pytest.fixture
def torch_stand_in(monkeypatch):
    """In PyTorch's place, what only takes down the calls: for what is decided before PyTorch has a say."""
    stand_in = MagicMock()
    monkeypatch.setitem(sys.modules, "torch", stand_in)
    return stand_in


def layers_for_torch() -> list[Any]:
    return [
        Conv2D(8, (3, 5), padding="same"),
        BatchNormalization(momentum=0.9, epsilon=1e-4),
        ReLU(),
        MaxPooling2D((3, 2), strides=2),
        Dropout(0.25),
        Conv2D(6, 3, strides=2, use_bias=False, activation="relu"),
        AveragePooling2D((2, 1), strides=1),
        Flatten(),
        Dense(5, activation="relu"),
        Dense(4, activation="softmax"),
    ]


def test_torch_is_asked_for_the_same_layers(torch_stand_in):
    """Numbers of channels, which PyTorch tells, are left open."""
    torch_network_of(layers_for_torch())
    asked = [made for made in torch_stand_in.nn.mock_calls if re.fullmatch("[A-Z]\\w+", made[0])]
    assert asked == [
        call.Conv2d(ANY, 8, (3, 5), (1, 1), "same", (1, 1), bias=True),
        call.BatchNorm2d(ANY, eps=1e-4, momentum=pytest.approx(0.1)),  # of the new, not of the old
        call.ReLU(),
        call.MaxPool2d((3, 2), (2, 2)),
        call.Dropout(0.25),
        call.Conv2d(ANY, 6, (3, 3), (2, 2), 0, (1, 1), bias=False),
        call.ReLU(),
        call.AvgPool2d((2, 1), (1, 1)),
        call.Flatten(),
        call.Linear(ANY, 5, bias=True),
        call.ReLU(),
        call.Linear(ANY, 4, bias=True),  # a softmax belongs to PyTorch's loss
        call.Sequential(*[ANY] * 12),
    ]


def test_torch_network_has_the_same_layers():
    """What PyTorch makes of the calls above, numbers of channels and of weights too, it can only say itself."""
    pytest.importorskip("torch", reason="PyTorch is an optional peer: extra `bench`")
    network, model = torch_network_of(layers_for_torch())
    expected: list[tuple[str, dict[str, Any]]] = [
        ("Conv2d", {"in_channels": 3, "out_channels": 8, "kernel_size": (3, 5), "stride": (1, 1), "padding": "same"}),
        ("BatchNorm2d", {"num_features": 8, "eps": 1e-4, "momentum": pytest.approx(0.1)}),  # of the new, not of the old
        ("ReLU", {}),
        ("MaxPool2d", {"kernel_size": (3, 2), "stride": (2, 2), "padding": 0}),
        ("Dropout", {"p": 0.25}),
        ("Conv2d", {"in_channels": 8, "out_channels": 6, "kernel_size": (3, 3), "stride": (2, 2), "bias": None}),
        ("ReLU", {}),
        ("AvgPool2d", {"kernel_size": (2, 1), "stride": (1, 1)}),
        ("Flatten", {}),
        ("Linear", {"in_features": 12, "out_features": 5}),
        ("ReLU", {}),
        ("Linear", {"in_features": 5, "out_features": 4}),  # a softmax belongs to PyTorch's loss
    ]
    found = [
        (type(module).__name__, {name: getattr(module, name) for name in wanted})
        for module, (_, wanted) in zip(network, expected, strict=True)
    ]
    assert found == expected
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert sum(parameter.numel() for parameter in network.parameters()) == trainable


def kernel_for_torch(layer: Any) -> np.ndarray:
    """A layer's kernel as PyTorch has it: outputs first, or of a transposed convolution inputs first."""
    kernel = layer.kernel.numpy()
    if isinstance(layer, DepthwiseConv2D):
        kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def trained_by(network: Any) -> int:
    """How many numbers PyTorch would update."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("name", [name for name in zoo.names() if name != "humans_300"])  # 350 MB of weights, of usual kinds
def test_torch_network_is_as_large(name):
    """As many weights are trained, and a class's probability for each pixel or image comes out: what the layers cost too."""
    torch = pytest.importorskip("torch", reason="PyTorch is an optional peer: extra `bench`")
    reference = zoo.get(name)
    model = reference.build()
    network = torch_network(json.loads(model.to_json())["config"], list(reference.input_shape))
    assert trained_by(network) == sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        y = network.eval()(torch.zeros(1, reference.input_shape[-1], *reference.input_shape[:-1]))
    assert tuple(y.movedim(1, -1).shape[1:]) == model.output_shape[1:]
    assert counter.get_total_flops() == sum(
        layer.count_flops(layer.input.shape, layer.output.shape) for layer in model.layers if isinstance(layer, Affine)
    )


@pytest.mark.parametrize("name", ["unet_small", "convnext_tiny_32", "conv1d", "airbench94"])
def test_torch_network_computes_the_same(name):
    """Graphs, signals and transposed convolutions too: with the same weights, the same probabilities."""
    torch = pytest.importorskip("torch", reason="PyTorch is an optional peer: extra `bench`")
    reference = zoo.get(name)
    shape = (28, 32, 3)[: len(reference.input_shape)]
    model = reference.build(input_shape=shape)
    network = torch_network(json.loads(model.to_json())["config"], list(shape))
    ours = [
        kernel_for_torch(layer) if variable.name == "kernel" else variable.numpy()
        for layer in model.layers
        for variable in layer.weights
        if not variable.name.startswith("moving")
    ]
    scaled = {weight for module in network.modules() if (weight := getattr(module, "weight", None)) is not None}
    unscaled = {w for w in scaled if w.ndim == 1 and not w.requires_grad}  # a factor of 1 in PyTorch alone
    theirs = [parameter for parameter in network.parameters() if parameter not in unscaled]
    assert [weight.shape for weight in ours] == [tuple(parameter.shape) for parameter in theirs]
    with torch.no_grad():
        for parameter, weight in zip(theirs, ours):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        x = np.random.default_rng(0).random((2, *shape), np.float32)
        probabilities = network.eval()(torch.from_numpy(x).movedim(-1, 1)).softmax(1).movedim(1, -1).numpy()
    np.testing.assert_allclose(model.predict(x, verbose=0), probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Conv2D(4, 2, strides=2, padding="same")], "a strided convolution of an even kernel with padding='same' has no"),
        ([UpSampling2D()], "UpSampling2D has no counterpart"),
        ([MaxPooling2D(2, padding="same")], "MaxPooling2D has no counterpart"),
        ([Conv2D(4, 3, activation="tanh")], "activation 'tanh' of Conv2D has no counterpart"),
        ([Activation("softmax"), Flatten()], "activation 'softmax' of Activation has no counterpart"),
    ],
)
def test_torch_network_refuses_what_it_has_no_counterpart_for(torch_stand_in, layers, message):
    with pytest.raises(ValueError, match=message):
        torch_network_of(layers)
