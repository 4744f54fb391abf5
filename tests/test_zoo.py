"""The reference models are those that Keras builds from the same lines: layers, weights, outputs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from minicnn import layers, models, optimizers, utils, zoo

# Counted by Keras 3 on the same architecture; cifar_small's number is the one its course prints.
PARAMETERS = {
    "cifar_small": 225_610,
    "cifar_wide": 1_288_842,
    "cifar_dropout": 315_722,
    "cifar_strided": 1_284_170,
    "humans_300": 87_316_449,
    "vgg_bn": 308_842,
    "mobilenet_small": 278_730,
    "unet_small": 466_595,
    "convnext_tiny_32": 1_595_978,
    "conv1d": 94_790,
    "resnet20": 274_042,
    "airbench94": 1_973_944,
    "lenet5": 1_632_080,
    "strided_bn": 103_266,
}


def small(name):
    """The shape that these tests build a model for."""
    return (32, 32, 3)[: len(zoo.get(name).input_shape)]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count(name):
    assert zoo.get(name).build().count_params() == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_same_model_as_keras_builds(name, monkeypatch):
    utils.clear_session()
    ours = zoo.get(name).build(input_shape=small(name))
    for family, theirs in ((layers, keras.layers), (models, keras.models)):
        for item in family.__all__:
            if hasattr(zoo, item) and hasattr(theirs, item):
                monkeypatch.setattr(zoo, item, getattr(theirs, item))
    keras.utils.clear_session()
    twin = zoo.get(name).build(input_shape=small(name))
    assert isinstance(twin, keras.Model)
    theirs = {variable.path.removeprefix(f"{name}/"): variable for variable in twin.weights}
    if name != "resnet20":  # of two branches, Keras lists the layers level by level
        assert [variable.path for variable in ours.weights] == list(theirs)
    assert {variable.path: variable.shape for variable in ours.weights} == {k: tuple(v.shape) for k, v in theirs.items()}

    rng = np.random.default_rng(0)
    for path, weight in theirs.items():
        weight.assign(np.abs(weight) if "var" in path else weight)
    ours.set_weights([theirs[variable.path].numpy() for variable in ours.weights])
    x = rng.random((3, *small(name)), dtype=np.float32)
    np.testing.assert_allclose(ours.predict(x, verbose=0), np.asarray(twin(x)), atol=1e-5)


@pytest.mark.parametrize("name", zoo.names())
def test_settings_train_the_model(name):
    reference = zoo.get(name)
    assert reference.name == name
    assert reference.source
    first, second = reference.optimizer(), reference.optimizer()
    assert first is not second
    model = reference.build(input_shape=small(name))
    model.compile(optimizer=first, loss=reference.loss)
    rng = np.random.default_rng(0)
    x = rng.random((4, *small(name)), dtype=np.float32)
    y = rng.integers(0, 2, (4, *(model.output_shape[1:-1] or (1,)))).astype(np.float32)
    before = model.get_weights()
    assert np.isfinite(model.train_on_batch(x, y))
    assert any(not np.array_equal(old, new) for old, new in zip(before, model.get_weights()))


def test_wide_model_keeps_the_older_decay():
    optimizer = zoo.get("cifar_wide").optimizer()
    assert isinstance(optimizer, optimizers.SGD)
    # SGD(lr=0.05, decay=1e-4) of older Keras: lr / (1 + decay * iterations), with no steps in it.
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.05, 1, 1e-4)
    for step in (0, 1, 5000):
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(float(schedule(step)), rel=1e-6)


def test_humans_model_ends_in_one_sigmoid_for_two_classes_and_in_softmax_for_more():
    assert zoo.humans_300((12, 12, 3)).output_shape == (None, 1)
    many = zoo.humans_300((12, 12, 3), classes=5).predict(np.zeros((1, 12, 12, 3), np.float32), verbose=0)
    assert many.shape == (1, 5)
    assert many.sum() == pytest.approx(1, abs=1e-6)


def test_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"Unknown reference model: 'transformer'\. Expected one of 'cifar_small'"):
        zoo.get("transformer")
