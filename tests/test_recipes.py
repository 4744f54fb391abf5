"""airbench's recipes: their numbers against the formulas of the original programs, and a small run of each part."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest
import tensorflow as tf

from minicnn import activations, config, datasets, layers, recipes, zoo
from minicnn.datasets import cifar10
from minicnn.preprocessing import whitening_kernel
from minicnn.variables import Variable

RNG = np.random.default_rng(0)
# The network needs images of 25x25 pixels at least.
TINY = dataclasses.replace(
    recipes.get("airbench94"), widths=(8, 8, 12), epochs=2.4, batch_size=8, whitening_epochs=1, whitening_images=10
)


def images(count):
    """Images of three classes that are told by their color."""
    labels = RNG.integers(0, 3, (count, 1)).astype(np.uint8)
    x = RNG.integers(0, 100, (count, 26, 26, 3))
    x[np.arange(count), :, :, labels[:, 0]] += 120
    return x.astype(np.uint8), labels


def test_the_recipes_are_those_of_the_program():
    assert list(recipes.RECIPES) == ["airbench94", "airbench93"]
    assert (recipes.get("airbench94").epochs, recipes.get("airbench93").epochs) == (9.9, 11.0)
    # 48 whole batches of 1,024 images an epoch.
    assert math.ceil(50_000 // 1024 * 9.9) == 476
    with pytest.raises(ValueError, match=r"Unknown recipe: 'airbench'\. Did you mean .* Expected one of 'airbench94'"):
        recipes.get("airbench")


def test_images_are_normalized():
    x = RNG.integers(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    expected = (x / 255 - np.array(recipes.MEAN)) / np.array(recipes.STANDARD_DEVIATION)
    found = recipes.normalized(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_first_weights():
    x = recipes.normalized(images(20)[0])
    network = zoo.airbench94((26, 26, 3), 3, (16, 24, 24))
    recipes.initialize(network, x)
    maps = np.asarray(network.get_layer("whitening")(x)).reshape(-1, 24)
    variances = maps.var(axis=0)[:12]
    np.testing.assert_allclose(variances, 1, atol=0.01)
    np.testing.assert_array_equal(maps[:, 12:], -maps[:, :12])
    convolutions = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)][1:]
    assert [layer.kernel.shape[2:] for layer in convolutions] == [(24, 16), (16, 16), (16, 24), (24, 24), (24, 24), (24, 24)]
    for layer in convolutions:
        inputs, filters = layer.kernel.shape[2:]
        y = RNG.normal(size=(1, 5, 5, inputs)).astype(np.float32)
        copied = min(inputs, filters)
        np.testing.assert_allclose(np.asarray(layer(y))[..., :copied], y[..., :copied], atol=1e-5)
    rest = convolutions[2].kernel.numpy()[..., 16:]
    assert 0.9 < np.abs(rest).max() * np.sqrt(9 * 16) <= 1  # as in PyTorch: uniform within 1 / sqrt(fan_in)
    assert 0.8 < np.abs(network.get_layer("head").kernel.numpy()).max() * np.sqrt(24) <= 1
    # 48 trained: the biases of the whitening convolution and, with no factors beside them, of six normalizations.
    names = [variable.path.rpartition("/")[2] for variable in network.trainable_variables]
    assert (names.count("kernel"), names.count("beta"), names.count("bias")) == (7, 6, 1)


def test_steps_are_those_of_the_program_s_decoupled_numbers():
    """PyTorch's take the gradient of the sum over a batch; the mean's is that over 1,024."""
    recipe, steps = recipes.get("airbench94"), 100
    optimizer = recipes.optimizer_of(recipe, steps)
    kernel, beta = (Variable(np.zeros(1), name=name) for name in ("kernel", "beta"))
    kernel.path, beta.path = "conv2d/kernel", "batch_normalization/beta"
    optimizer.build([kernel, beta])
    assert [len(one._trainable_variables) for one in optimizer.optimizers] == [1, 1]
    # The program's lines: lr = 11.5 / kilostep_scale, wd = 0.0153 * batch_size / kilostep_scale.
    kilostep_scale = 1024 * (1 + 1 / (1 - 0.85))
    for inner, scaler in zip(optimizer.optimizers, (64, 1)):
        lr, wd = 11.5 / kilostep_scale * scaler, 0.0153 * 1024 / kilostep_scale
        peak = max(float(inner._learning_rate(step)) for step in range(steps))
        assert peak == pytest.approx(lr * 1024, rel=1e-6)  # of the mean over 1,024 images
        assert inner.weight_decay == pytest.approx(wd / lr / 1024)
        assert (inner.momentum, inner.nesterov) == (0.85, True)
        assert (inner.decoupled_weight_decay, inner.rate_in_momentum) == (False, False)  # PyTorch's SGD
        rates = [float(inner._learning_rate(step)) / peak for step in (0, 23, 100)]
        assert rates == [pytest.approx(0.2), pytest.approx(1), pytest.approx(0.07)]
    assert float(optimizer.optimizers[1]._learning_rate(23)) == pytest.approx(1.5)


def test_batches_are_whole_shuffled_mirrored_and_moved():
    x, y = images(21)
    batches = recipes.batches(TINY, x, y)
    found = list(batches)
    assert [part.shape for part, _ in found] == [(8, 26, 26, 3)] * 2
    numbers = {}
    padded = np.pad(recipes.normalized(x), [(0, 0), (2, 2), (2, 2), (0, 0)], mode="reflect")
    views = [padded[:, i : i + 26, j : j + 26] for i in range(5) for j in range(5)]
    views = np.stack([view for one in views for view in (one, one[:, :, ::-1])])
    for part, labels in found:
        for image, label in zip(part, labels):
            matches = np.argwhere((np.abs(views - image) < 1e-5).all(axis=(2, 3, 4)))
            assert len(matches) == 1
            numbers[matches[0][1]] = matches[0][0]
            assert label == y[matches[0][1], 0]
    assert len(numbers) == 16  # each image once at most
    assert list(numbers) != sorted(numbers)
    assert len({view // 2 for view in numbers.values()}) > 5
    assert {view % 2 for view in numbers.values()} == {0, 1}


def test_a_tiny_run():
    training, test = images(40), images(12)
    said = []
    result = recipes.train(TINY, training, test, seed=3, say=said.append)
    assert result.steps == 12  # of 5 an epoch; the third ends after two
    assert len(said) == 4
    assert said[0].startswith("epoch  1: loss ")
    assert said[-1].startswith("2.4 epochs in ")
    losses = result.history.history["loss"]
    assert losses[2] < losses[0]
    predicted = result.model.predict(test[0] / np.float32(255), verbose=0)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)
    assert result.accuracy == np.mean(predicted.argmax(axis=1) == test[1][:, 0])
    assert result.seconds > 0
    again = recipes.train(TINY, training, test, seed=3, say=lambda line: None)
    assert again.history.history == result.history.history
    np.testing.assert_array_equal(again.model.predict(test[0] / np.float32(255), verbose=0), predicted)
    assert recipes.train(TINY, training, test, seed=4, say=lambda line: None).history.history != result.history.history
    with pytest.raises(ValueError, match=r"Recipe airbench94: a batch has 8 images. Received: 7"):
        recipes.train(TINY, images(7), test)


def test_the_first_bias_is_trained_for_some_epochs(monkeypatch):
    """And its kernel never is."""
    seen = []

    class Watch(recipes.LambdaCallback):
        def on_epoch_end(self, epoch, logs=None):
            layer = self.model.get_layer("whitening")
            seen.append((layer.kernel.numpy(), layer.bias.numpy()))

    monkeypatch.setattr(recipes, "LambdaCallback", lambda **hooks: Watch(on_epoch_begin=hooks["on_epoch_begin"]))
    monkeypatch.setattr(recipes, "Lookahead", lambda **_: recipes.Callback())
    x, y = images(16)
    recipes.train(TINY, (x, y), images(4), say=lambda line: None)
    (_, first), (_, second), (_, third) = seen
    whitening = whitening_kernel(recipes.normalized(x[: TINY.whitening_images]))
    for kernel, _ in seen:  # also of the epoch in which the bias is trained
        np.testing.assert_array_equal(kernel, whitening)
    assert np.abs(first).max() > 0
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_a_run_ends_with_the_program_s_weights():
    """All of it once more, as airbench94.py has it: autograd by TensorFlow in float64, PyTorch's SGD and Lookahead by hand."""
    recipe = dataclasses.replace(TINY, precision="highest")
    (x, y), seed, total = images(40), 5, 12
    result = recipes.train(recipe, (x, y), images(4), seed=seed, say=lambda line: None)

    config.set_random_seed(seed)
    network = zoo.airbench94(x.shape[1:], 3, recipe.widths)
    recipes.initialize(network, recipes.normalized(x[: recipe.whitening_images]))
    epochs = recipes.batches(recipe, x, y)  # with tests of their own
    weights = {id(v): v.numpy().astype(np.float64) for v in network.trainable_variables}
    whitening, head = network.get_layer("whitening"), network.get_layer("head")

    def loss_of(x, labels, w):
        x = tf.nn.gelu(tf.nn.conv2d(x, whitening.kernel.numpy().astype(np.float64), 1, "VALID") + w[id(whitening.bias)])
        for layer in network.layers[2:]:
            if isinstance(layer, layers.Conv2D):
                x = tf.nn.conv2d(x, w[id(layer.kernel)], 1, "SAME")
            elif isinstance(layer, layers.MaxPooling2D):
                x = tf.nn.max_pool2d(x, layer.pool_size, layer.pool_size, "VALID")
            elif isinstance(layer, layers.BatchNormalization):
                x = tf.nn.batch_normalization(x, *tf.nn.moments(x, [0, 1, 2]), w[id(layer.beta)], None, 1e-12)
            elif layer.name.startswith("activation") and layer.activation is activations.gelu:
                x = tf.nn.gelu(x)
        logits = tf.reshape(x, (len(x), -1)) @ w[id(head.kernel)] / 9
        smooth = 0.8 * tf.one_hot(labels, 3, dtype=tf.float64) + 0.2 / 3
        return tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(smooth, logits))  # of a batch, not its mean

    kilostep_scale = 1024 * (1 + 1 / (1 - 0.85))
    lr, wd = 11.5 / kilostep_scale, 0.0153 * recipe.batch_size / kilostep_scale
    triangle = np.interp(np.arange(1 + total), [0, int(0.23 * total), total], [0.2, 1, 0.07])
    slow, momentum, step = dict(weights), dict.fromkeys(weights, 0.0), 0
    for epoch in range(3):
        config.running_pass.set([epoch])
        for batch, labels in epochs:
            if step == total:
                break
            held = {name: tf.Variable(value) for name, value in weights.items()}
            with tf.GradientTape() as tape:
                loss = loss_of(tf.constant(np.asarray(batch), tf.float64), labels, held)
            gradients = tape.gradient(loss, held)
            for variable in network.trainable_variables:
                name = id(variable)
                if variable is whitening.bias and epoch >= recipe.whitening_epochs:
                    continue
                rate = lr * 64 if variable.path.endswith("beta") else lr
                g = gradients[name].numpy() + wd / rate * weights[name]
                momentum[name] = 0.85 * momentum[name] + g
                weights[name] = weights[name] - rate * triangle[step] * (g + 0.85 * momentum[name])
            step += 1
            if step % 5 == 0:
                decay = 0.95**5 * (step / total) ** 3
                slow = {name: decay * slow[name] + (1 - decay) * weights[name] for name in slow}
                weights = dict(slow)
    config.running_pass.set(None)
    assert step == total
    pairs = [
        (own, variable)
        for trained, layer in zip(result.model.layers[1:], network.layers, strict=True)
        for own, variable in zip(trained.weights, layer.weights, strict=True)
    ]
    assert sum(id(variable) in slow for _, variable in pairs) == len(slow) == 14
    for own, variable in pairs:
        expected = slow.get(id(variable), variable.numpy() if variable is whitening.kernel else None)
        if expected is not None:
            np.testing.assert_allclose(own, expected, atol=2e-4 * np.abs(expected).max(), err_msg=own.path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files of CIFAR-10's Python version, as far as their names go, which count as the original ones."""
    root = tmp_path / "cifar-10-batches-py"
    root.mkdir()
    for name in cifar10._PICKLED_FILES:
        (root / name).write_bytes(name.encode())
    known = {name: hashlib.md5(name.encode()).hexdigest() for name in cifar10._PICKLED_FILES}
    monkeypatch.setattr(cifar10, "_ORIGINALS", known)
    monkeypatch.setenv("MINICNN_DATA_DIR", str(tmp_path))
    return root


def test_the_goal_is_that_of_the_original_files(folder, monkeypatch):
    recipe = recipes.get("airbench94")
    assert datasets.cifar10.provenance() == (folder, True)
    assert recipes.goal_of(recipe) == f"{folder}: the original files of CIFAR-10; the goal is 94.0%"
    (folder / "test_batch").write_bytes(b"encoded again")
    assert datasets.cifar10.provenance() == (folder, False)
    assert recipes.goal_of(recipe) == f"{folder}: not the original files of CIFAR-10, with which 94.0% was reached"
    for variable in ("HOME", "KERAS_HOME", "MINICNN_DATA_DIR"):
        monkeypatch.setenv(variable, str(folder / "nothing"))
    assert datasets.cifar10.provenance() == (None, False)


def test_the_log_has_the_text_of_the_programs(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text("print('mine')\n")
    result = recipes.train(TINY, images(8), images(4), say=lambda line: None)
    recipes.write_log(tmp_path / "log.json", TINY, result, 5, script)
    log = json.loads((tmp_path / "log.json").read_text())
    assert log["recipe"] == json.loads(json.dumps(dataclasses.asdict(TINY)))
    assert (log["seed"], log["steps"], log["epochs"]) == (5, result.steps, 2.4)
    assert {"seconds", "accuracy", "accuracy_with_tta", "history", "machine", "data"} <= set(log)
    assert log["code"]["mine.py"] == "print('mine')\n"
    assert "def airbench94(" in log["code"]["zoo.airbench94"]
    assert "def write_log(" in log["code"]["recipes"]
