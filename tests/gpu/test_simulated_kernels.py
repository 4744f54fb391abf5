"""What only the simulator can show: tensor cores' arithmetic, missing barriers, a whole model on the GPU's kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minicnn
from minicnn import backends, layers, optimizers
from minicnn.backends.cupy_gpu import compile
from minicnn.backends.types import window_over
from tests.gpu.calls import CONVOLUTIONS, ops
from tests.gpu.simulator import needs_compiler, simulated, simulated_device, thread_order

pytestmark = needs_compiler


@pytest.fixture
def simulation() -> Iterator[None]:
    with simulated():
        yield


def convolutions(C_in: int, C_out: int, images: int = 2) -> list[tuple[str, tuple[Any, ...]]]:
    """(op, arguments) of a convolution and its gradients."""
    rng = np.random.default_rng(C_out)
    window = window_over((8, 8), (3, 3), (1, 2), (1, 0, 1, 1))
    x, kernel, dy = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((images, 8, 8, C_in), (3, 3, C_in, C_out), (images, *window.output, C_out))
    )
    return [("conv2d_forward", (x, kernel, None, window)), ("conv2d_backward", (dy, x, kernel, window))]


@pytest.mark.usefixtures("simulation")
@pytest.mark.parametrize(("C_in", "C_out"), [(4, 16), (3, 10), (8, 32), (8, 64)])
def test_tensor_core_products_equal_float32_ones_to_tf32_rounding(
    C_in: int, C_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TF32 keeps 10 bits: a product is off by 2**-10 at most, and not by less than 2**-16 everywhere."""
    for name, arguments in convolutions(C_in, C_out):
        expected = backends.load("reference")[name](*arguments)
        monkeypatch.setattr(compile, "_tf32", True)
        actual = getattr(ops, name)(*arguments)
        monkeypatch.setattr(compile, "_tf32", False)
        for product in range(1 if name == "conv2d_forward" else 2):  # y, or dx and dkernel
            error = np.abs(actual[product] - expected[product]).max() / np.abs(expected[product]).max()
            assert 2.0**-16 < error < 2.0**-10, (name, product)


@pytest.mark.usefixtures("simulation")
def test_results_do_not_depend_on_the_order_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing barrier lets a thread read what another has not written yet, in one order or the other."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((40, 33)).astype(np.float32)
    labels = rng.integers(0, 33, 40)
    calls = [call for images, C_in, C_out in CONVOLUTIONS[:5] for call in convolutions(C_in, C_out, images)]
    calls += [("dense_backward", (matrix, matrix, matrix[:33], y)) for y in (None, matrix)]  # with the bias's gradient
    calls += [("softmax_forward", (matrix,)), ("batchnorm_forward", (matrix, None, None, 1e-3))]
    calls += [("sparse_softmax_cross_entropy_forward", (matrix, labels)), ("sparse_categorical_matches", (matrix, labels))]
    for name, arguments in calls:
        results = []
        for descending in (False, True):
            monkeypatch.setattr(thread_order, "descending", descending)
            result = getattr(ops, name)(*arguments)
            results.append(result if isinstance(result, tuple) else (result,))
        for ascending, descended in zip(*results, strict=True):
            np.testing.assert_array_equal(ascending, descended, err_msg=name)


@pytest.mark.usefixtures("simulation")
@pytest.mark.parametrize("name", ["clip_by_norm_", "clip_by_global_norm_"])
def test_each_of_more_tensors_than_a_launch_takes_has_its_own_norm(name: str) -> None:
    rng = np.random.default_rng(6)
    grads = [(1 + i) * rng.standard_normal((3, 1 + i % 4)).astype(np.float32) for i in range(100)]
    expected = [grad.copy() for grad in grads]
    getattr(ops, name)(grads, 20.0)
    backends.load("reference")[name](expected, 20.0)
    for one, other in zip(grads, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.usefixtures("simulation")
def test_a_label_that_is_no_class_has_no_loss() -> None:
    """As in TensorFlow on a GPU: labels that lie there cannot be refused without waiting for them."""
    labels = np.array([0, -1, 2, 3], np.int32)
    losses, _ = ops.sparse_softmax_cross_entropy_forward(np.zeros((4, 3), np.float32), labels)
    np.testing.assert_allclose(losses, [np.log(3), np.nan, np.log(3), np.nan], rtol=1e-6)


def trained_weights(backend: str) -> list[np.ndarray]:
    """The weights after three steps of a small model with every common layer."""
    minicnn.set_backend(backend)
    minicnn.set_random_seed(3)
    model = minicnn.Sequential(
        [
            layers.Input(shape=(9, 9, 3)),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Conv2D(6, 2, strides=2, activation="tanh"),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )
    model.compile(optimizers.Adam(0.01, clipnorm=1.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(1)
    x, y = rng.random((12, 9, 9, 3), np.float32), rng.integers(0, 5, 12)
    model.fit(x, y, batch_size=4, epochs=1, verbose=0, shuffle=False)
    return [np.array(weight) for weight in model.get_weights()]


def test_a_model_trains_as_on_the_reference_backend() -> None:
    """With arrays that do not mix with the host's, as on a GPU; the third of the three steps is captured and replayed."""
    with simulated_device():
        expected, actual = trained_weights("reference"), trained_weights("cupy")
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * max(1.0, np.abs(theirs).max()))
