"""The numbers of an explainer page are the engine's, bit for bit, and each sum is one that NumPy adds up to the same."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn import config, layers, optimizers, study, zoo
from minicnn.cli.main import main
from minicnn.models import Model, Sequential
from minicnn.study.explain import page
from minicnn.study.explain.collect import collect
from minicnn.study.explain.encode import decode, encode
from minicnn.study.explain.exact import Predicted, conv_forward, conv_kernel_gradient

RNG = np.random.default_rng(5)


def small_model() -> Sequential:
    config.set_random_seed(1)
    model = Sequential(
        [
            layers.Input((9, 8, 2)),
            layers.Conv2D(4, 3, padding="same", groups=2, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(3, 2, strides=2, activation="tanh", name="deep"),
            layers.Dropout(0.5),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    return model


IMAGE = RNG.standard_normal((9, 8, 2)).astype(np.float32)


def array_of(leaf):
    return leaf.array if isinstance(leaf, Predicted) else leaf


def by_name(record):
    return {step["name"]: step for step in record["steps"]}


# --- encoding -----------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50), st.sampled_from([np.float32, np.int32]))
def test_what_was_encoded_is_decoded_bit_for_bit(bits, dtype):
    array = np.array(bits, np.uint32).view(dtype)
    back = decode(json.loads(json.dumps(encode(array))))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_shapes_survive_and_other_types_are_refused():
    assert decode(encode(np.ones((2, 3), np.float32))).shape == (2, 3)
    with pytest.raises(TypeError, match=r"Only float32 and int32 are encoded\. Received: dtype=float64"):
        encode(np.ones(2))


@given(st.lists(st.tuples(st.floats(-(2.0**90), 2.0**90, width=32, allow_subnormal=False), st.integers(-3, 3)), min_size=1))
def test_steps_lead_from_the_prediction_to_the_array(pairs):
    predicted = np.array([value for value, _ in pairs], np.float32)
    array = predicted.copy()
    for i, (_, steps) in enumerate(pairs):
        for _ in range(abs(steps)):
            array[i] = np.nextafter(array[i], np.float32(np.copysign(np.inf, steps)))
    wanted = [2 * steps if steps >= 0 else -2 * steps - 1 for _, steps in pairs]
    np.testing.assert_array_equal(Predicted(array, lambda: predicted).steps(), wanted)


# --- the numbers --------------------------------------------------------------------


def test_values_and_gradients_are_those_of_the_model():
    model = small_model()
    record = collect(model, IMAGE, 2)
    output, found = model.gradients_at(IMAGE[None], lambda p: (np.eye(3)[[2]] * -1 / p).astype(np.float32))
    ids = {name: step["output"] for name, step in by_name(record).items()}
    rows = {row["id"]: row for row in record["values"]}
    for name in ("conv", "norm", "pool", "deep", "flat"):
        row = rows[ids.get(f"{name}:relu", ids.get(f"{name}:tanh", ids[name]))]
        if isinstance(array_of(row["x"]), np.ndarray):
            np.testing.assert_allclose(array_of(row["x"]), found[name][0].reshape(-1), rtol=1e-6, atol=1e-7)
        if isinstance(row["d"], np.ndarray):
            np.testing.assert_allclose(row["d"], found[name][1].reshape(-1), rtol=1e-4, atol=1e-6)
    [loss] = record["losses"]
    assert loss["result"] == pytest.approx(-np.log(output[0, 2]), rel=1e-5)
    np.testing.assert_allclose(loss["prediction"], output[0], rtol=1e-6)
    np.testing.assert_allclose(rows[loss["value"]]["d"], output[0] - np.eye(3)[2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss_scale_factor", [None, 8.0])
def test_the_next_step_is_the_optimizers(loss_scale_factor):
    model = small_model()
    model.compile(optimizers.SGD(0.01, loss_scale_factor=loss_scale_factor), "sparse_categorical_crossentropy")
    before = model.get_weights()
    record = collect(model, IMAGE, 0)
    for row in record["weights"]:
        if row["d"] is not None and not isinstance(row["d"], str):
            np.testing.assert_allclose(row["after"], row["x"] - 0.01 * array_of(row["d"]), rtol=1e-5, atol=1e-7)
    for weight, same in zip(model.get_weights(), before):
        np.testing.assert_array_equal(weight, same)


def test_convolutions_are_predicted_but_for_rounding():
    record = collect(small_model(), IMAGE, 1)
    steps, rows = by_name(record), {row["id"]: row for row in record["values"]}
    predicted = [rows[steps["conv"]["output"]]["x"], record["weights"][steps["conv"]["weights"]["kernel"]]["d"]]
    for leaf in predicted:
        assert isinstance(leaf, Predicted)
        np.testing.assert_allclose(leaf.predict().reshape(-1), leaf.array, rtol=1e-4, atol=1e-6)
        assert leaf.steps().max() < 1000


@pytest.mark.parametrize(
    ("strides", "dilation", "padding"), [(1, 1, "same"), (2, 1, "valid"), ((2, 1), 1, "same"), (1, 2, "valid")]
)
@pytest.mark.parametrize("groups", [1, 2])
def test_predictions_follow_the_geometry(strides, dilation, padding, groups):
    layer = layers.Conv2D(4, (3, 2), strides, padding, dilation_rate=dilation, groups=groups)
    x = RNG.standard_normal((1, 8, 7, 2)).astype(np.float32)
    layer.build(x.shape)
    y, saved = layer.forward(x, False)
    dy = RNG.standard_normal(y.shape).astype(np.float32)
    _, (dkernel, _) = layer.backward(dy, saved)
    op = layer.window_over(x.shape)._asdict()
    np.testing.assert_allclose(conv_forward(op, x[0], layer.kernel.numpy(), None), y[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(conv_kernel_gradient(op, x[0], dy[0]), dkernel, rtol=1e-4, atol=1e-5)


def test_pushes_are_the_shares_of_a_linear_score():
    model = Sequential([layers.Input((4, 4, 2)), layers.GlobalAveragePooling2D(), layers.Dense(3, use_bias=False, name="s")])
    record = collect(model, IMAGE[:4, :4])
    shares = record["pushes"]["shares"][str(record["steps"][0]["output"])]
    scores = np.asarray(model.predict(IMAGE[None, :4, :4], verbose=0))[0]
    np.testing.assert_allclose(shares.sum(axis=1), scores, rtol=1e-5, atol=1e-6)


# --- what each step is --------------------------------------------------------------


class Doubled(layers.Layer):
    """A user's own layer."""

    def forward(self, x, training):
        return 2 * x, None

    def backward(self, dy, saved):
        return 2 * dy, ()


KINDS = [
    (layers.Conv2D(2, 3), "conv"),
    (layers.Conv2D(2, 3, activation=layers.ReLU()), "unknown"),
    (layers.DepthwiseConv2D(3, depth_multiplier=2), "conv"),
    (layers.Conv2DTranspose(2, 3), "transposed"),
    (layers.SeparableConv2D(2, 3), "conv"),  # the second of the two that it is made of
    (layers.Dense(3), "dense"),
    (layers.Dense(3, activation=layers.ReLU()), "unknown"),
    (layers.AveragePooling2D(2, padding="same"), "avgpool"),
    (layers.AdaptiveMaxPooling2D(3), "maxpool"),
    (layers.GlobalMaxPooling2D(), "maxpool"),
    (layers.BatchNormalization(), "normalize"),
    (layers.LayerNormalization(), "standardize"),
    (layers.LayerNormalization(axis=(1, 2)), "unknown"),
    (layers.GroupNormalization(2), "standardize"),
    (layers.Activation("gelu"), "elementwise"),
    (layers.Activation("sparsemax"), "unknown"),
    (layers.ReLU(max_value=1.0), "elementwise"),
    (layers.Rescaling(2.0, -1.0), "elementwise"),
    (layers.Softmax(), "softmax"),
    (layers.Softmax(axis=1), "unknown"),
    (layers.ZeroPadding2D(1), "move"),
    (layers.Cropping2D(1), "move"),
    (layers.UpSampling2D(2), "move"),
    (layers.UpSampling2D(2, interpolation="bilinear"), "unknown"),
    (layers.Permute((2, 1, 3)), "move"),
    (layers.Dropout(0.5), "move"),
    (layers.GaussianNoise(0.5), "move"),
    (layers.PReLU(), "prelu"),
    (Doubled(), "unknown"),
    (layers.Conv3D(2, 2), "unknown"),
    (layers.MaxPooling3D(2), "unknown"),
    (layers.AdaptiveAveragePooling3D(2), "unknown"),
    (layers.GlobalMaxPooling3D(), "maxpool"),
    (layers.ZeroPadding3D(1), "move"),
    (layers.UpSampling3D(2), "move"),
]


@pytest.mark.parametrize(("layer", "kind"), KINDS, ids=lambda item: type(item).__name__ if not isinstance(item, str) else item)
def test_the_kind_of_each_op(layer, kind):
    shape = (4, 6, 5, 2) if getattr(layer, "rank", 2) == 3 else (6, 5, 2)
    model = Model(x := layers.Input(shape), layers.Rescaling(2.0)(layer(x)))
    assert collect(model, RNG.standard_normal(shape))["steps"][-2]["op"]["kind"] == kind


def test_a_vector_and_channels_first_are_images_too():
    record = collect(Sequential([layers.Input((5,)), layers.Dense(2)]), np.ones(5))
    assert [row["shape"] for row in record["values"]] == [[1, 1, 5], [1, 1, 2]]
    first = Sequential([layers.Input((2, 6, 5)), layers.MaxPooling2D(2, data_format="channels_first")])
    record = collect(first, np.ones((2, 6, 5)))
    assert record["values"][0] | {"x": None, "d": None} == {
        "id": 0,
        "shape": [6, 5, 2],
        "strides": [5, 1, 30],
        "x": None,
        "d": None,
    }


# --- the file -----------------------------------------------------------------------


def test_a_page_is_one_file_that_asks_for_nothing():
    text = study.explain(small_model(), IMAGE, 1, class_names=["cat", "dog", "</script>"]).html
    assert text.startswith("<!doctype html>")
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    assert "import " not in re.sub(r"/[/*].*", "", page.modules())
    record = re.search(r'<script type="application/json" id="record">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(record)["class_names"] == ["cat", "dog", "</script>"]


def test_too_large_a_record_is_made_smaller_and_says_so():
    record = collect(small_model(), IMAGE, 1)
    whole = page.pack(collect(small_model(), IMAGE, 1))
    packed = json.loads(page.pack(record, len(whole) + len(page.render("", "")) - 1500))
    steps = [row for row in [*packed["values"], *packed["weights"]] for key in "xd" if "steps" in (row[key] or {})]
    assert steps or packed["left_out"]
    assert page.pack(collect(small_model(), IMAGE, 1), 10_000) is None


def test_what_is_left_out_of_a_record_is_counted():
    """Weights after the step, then their gradients, until the rest fits."""
    frame, left = len(page.render("", "")), []
    room = len(page.pack(collect(small_model(), IMAGE, 1))) + frame
    while text := page.pack(collect(small_model(), IMAGE, 1), room):
        assert len(text) + frame <= room
        packed = json.loads(text)
        there = [[weight["name"] for weight in packed["weights"] if weight.get(key)] for key in ("after", "d")]
        left.append((packed["left_out"], *map(len, there)))
        room -= 400
    _, after, gradients = left[0]
    for count, still_after, still_gradients in left:
        assert count == after - still_after + gradients - still_gradients
        assert still_gradients == gradients or not still_after
    assert left[-1][0] > 1


def test_a_page_that_cannot_be_small_enough_is_refused(monkeypatch):
    monkeypatch.setattr(page.pack, "__defaults__", (60_000,))
    with pytest.raises(ValueError, match="take more than the 10,000,000 bytes of a page"):
        study.explain(small_model(), IMAGE, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar_wide", "humans_300"])
def test_the_largest_reference_models_fit(name):
    reference = zoo.get(name)
    model = reference.build()
    model.compile(optimizer=reference.optimizer(), loss=reference.loss)
    explanation = study.explain(model, RNG.random(reference.input_shape), 1)
    assert len(explanation.html.encode()) <= page.MOST_BYTES


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((9, 9, 2)), 1, "takes an image of shape \\(9, 8, 2\\). Received: shape=\\(9, 9, 2\\)"),
        (IMAGE, 3, "Output 'scores' has 3 classes, counted from 0. Received: y=3"),
    ],
)
def test_what_does_not_fit_is_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        study.explain(small_model(), x, y)


def test_the_command_writes_the_page(tmp_path, capsys):
    model, out = tmp_path / "model.keras", tmp_path / "deep" / "page.html"
    small_model_of_digits().save(model)
    with pytest.raises(SystemExit) as ended:
        main(["explain", str(model), "digits:3", "--label", "2", "-o", str(out), "--range", "0-1"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == str(out)
    record = json.loads(re.search(r'id="record">(.*?)</script>', out.read_text(), re.DOTALL)[1])
    assert record["losses"][0]["label"] == 2


def small_model_of_digits() -> Sequential:
    config.set_random_seed(1)
    return Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(3, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("kind", ["sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"])
def test_a_class_for_each_pixel_is_explained_as_what_it_takes_it_for(kind):
    config.set_random_seed(2)
    one = kind.startswith("bin")
    model = Sequential([layers.Input((4, 5, 2)), layers.Conv2D(1 if one else 3, 1, activation="sigmoid" if one else "softmax")])
    model.compile("sgd", kind)
    x = np.random.default_rng(0).standard_normal((4, 5, 2))
    p = model.predict(x[None], verbose=0)
    record = collect(model, x)
    expected = -np.log(np.maximum(p, 1 - p) if one else p.max(-1)).mean()
    assert record["losses"][0]["result"] == pytest.approx(float(expected), rel=1e-4)
