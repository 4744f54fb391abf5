"""Gradients against finite differences: every layer's, and those of the whole training step.

For a function f and its gradient g, along a direction v and with a small step h,

    g · v  =  (f(x + h v) - f(x - h v)) / (2 h)  +  O(h²)

v leans on g itself, v = g/|g| + r/|r| with a random r: the left side cannot vanish by
accident, and r sees what g misses. All is computed in float64 on the reference backend,
on a copy of the model. Source: Baydin et al. 2015, arXiv:1502.05767, section 2.1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import backends, config
from minicnn.models.graph import flatten_calls
from minicnn.optimizers import SGD

__all__ = ["GradientCheck", "gradcheck"]

_STEP = 1e-6  # h for a v of length about 1: rounding (1e-16 / h) and curvature (h²) both stay below 1e-9


@dataclass(frozen=True)
class GradientCheck:
    """One gradient compared with finite differences.

    Attributes:
        layer: the layer's name; "training step" for the whole of forward, loss and backward.
        kind: the layer's class.
        gradient: "dx" for the input, otherwise the weight's name.
        shape: of that gradient.
        error: the largest |g·v - difference| / max(|g·v|, |difference|) over the directions.
        passed: whether error is at most the tolerance.
    """

    layer: str
    kind: str
    gradient: str
    shape: tuple[int, ...]
    error: float
    passed: bool


def gradcheck(
    model: Any, *, batch_size: int = 2, directions: int = 2, tolerance: float = 1e-6, seed: int = 0
) -> list[GradientCheck]:
    """Check each layer's backward pass, then the gradient of a loss at every weight, as `fit` computes it.

    Args:
        model: a built model; it is left as it is.
        batch_size: random images per check.
        directions: random directions per gradient.
        tolerance: the largest relative error that passes.
        seed: of inputs, cotangents and directions.

    Returns:
        A `GradientCheck` for every layer's input and weights, and for every trainable weight of the training step.

    Raises:
        ValueError: if the model has no input shape yet, or holds a layer that cannot be copied through its config.
    """
    rng = np.random.default_rng(seed)
    with _float64_reference():
        copy = type(model).from_config(_in_float64(model.get_config()))
        copy.set_weights(model.get_weights())
        found = _check_layers(copy, rng, batch_size, directions)
        found += _check_training_step(copy, rng, batch_size, directions)
    return [GradientCheck(*row, passed=row[-1] <= tolerance) for row in found]


@contextlib.contextmanager
def _float64_reference() -> Iterator[None]:
    backend, floatx = backends.backend(), config.floatx()
    backends.set_backend("reference")
    config.set_floatx("float64")
    try:
        yield
    finally:
        config.set_floatx(floatx)
        backends.set_backend(backend)


def _in_float64(settings: Any) -> Any:
    """A model's config with every dtype float64."""
    if isinstance(settings, dict):
        return {key: _in_float64(value) for key, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return type(settings)(_in_float64(value) for value in settings)
    return "float64" if isinstance(settings, str) and settings == "float32" else settings


_Row = tuple[str, str, str, tuple[int, ...], float]


def _error(f: Callable[[], float], place: np.ndarray, gradient: np.ndarray, rng: np.random.Generator, directions: int) -> float:
    """The largest relative error along random directions; `place` is the array that f reads, changed and restored."""
    before, worst = place.copy(), 0.0
    length = float(np.linalg.norm(gradient))
    for _ in range(directions):
        v = rng.standard_normal(place.shape)
        v /= float(np.linalg.norm(v)) or 1.0
        if length > 0:
            v += gradient / length
        place[...] = before + _STEP * v
        above = f()
        place[...] = before - _STEP * v
        below = f()
        place[...] = before
        ours, difference = float((gradient * v).sum()), (above - below) / (2 * _STEP)
        # A gradient of 0 leaves nothing but rounding on the other side: that counts as equal.
        worst = max(worst, abs(ours - difference) / max(abs(ours), abs(difference), 1e-6))
    return worst


def _check_layers(model: Any, rng: np.random.Generator, batch_size: int, directions: int) -> list[_Row]:
    calls, _, _, shapes = flatten_calls(model)
    sizes: list[Any] = [shape[1:] for shape in shapes]
    rows: list[_Row] = []
    checked: list[Any] = []
    for call in calls:
        layer = call.layer
        if any(layer is other for other in checked):
            continue
        checked.append(layer)
        inputs = [rng.standard_normal((batch_size, *sizes[i])) for i in call.inputs]
        x: Any = inputs if call.takes_list else inputs[0]
        restore = _state_of(layer)

        def run(layer: Any = layer, x: Any = x, restore: Callable[[], None] = restore) -> tuple[Any, Any]:
            restore()  # the same dropout mask every time
            return layer.forward(x, True)

        y, saved = run()
        dy = rng.standard_normal(y.shape)
        dx, grads = layer.backward(dy.copy(), saved)

        def objective(run: Callable[[], tuple[Any, Any]] = run, dy: np.ndarray = dy) -> float:
            return float((run()[0] * dy).sum())

        kind = type(layer).__name__
        for index, (place, gradient) in enumerate(zip(inputs, dx if call.takes_list else [dx])):
            name = "dx" if len(inputs) == 1 else f"dx[{index}]"
            rows.append((layer.name, kind, name, place.shape, _error(objective, place, np.array(gradient), rng, directions)))
        for variable, gradient in zip(layer._weights_with_gradients, grads):
            error = _error(objective, variable.value, np.array(gradient), rng, directions)
            rows.append((layer.name, kind, variable.name, variable.shape, error))
        restore()
    return rows


def _state_of(layer: Any) -> Callable[[], None]:
    """A function that puts random states and statistics back to what they are now."""
    kept = [(variable, variable.numpy()) for variable in layer.non_trainable_variables]

    def restore() -> None:
        for variable, value in kept:
            variable.assign(value)

    return restore


class _Listener(SGD):
    """An optimizer that keeps the gradients it is handed, and changes nothing."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        self.heard = [(variable, np.array(grad)) for variable, grad in zip(trainable_variables, grads)]


def _check_training_step(model: Any, rng: np.random.Generator, batch_size: int, directions: int) -> list[_Row]:
    x = [rng.standard_normal((batch_size, *tensor.shape[1:])) for tensor in model.inputs]
    losses, y = zip(*(_loss_for(tensor, rng, batch_size) for tensor in model.outputs))
    listener = _Listener()
    model.compile(optimizer=listener, loss=list(losses))
    restore = _state_of(model)

    def objective() -> float:
        restore()
        logs = model.train_on_batch(x, list(y), return_dict=True)
        return float(logs["loss"])

    objective()
    heard = listener.heard
    rows = []
    for variable, gradient in heard:
        error = _error(objective, variable.value, gradient, rng, directions)
        rows.append(("training step", type(model).__name__, variable.path, variable.shape, error))
    restore()
    return rows


def _loss_for(output: Any, rng: np.random.Generator, batch_size: int) -> tuple[str, np.ndarray]:
    """The loss that people train such an output with, and random targets for it."""
    shape = (batch_size, *output.shape[1:])
    layer = output.node.layer
    activation = getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__).lower()
    if activation == "softmax" and len(shape) == 2:
        return "sparse_categorical_crossentropy", rng.integers(0, shape[-1], shape[:1])
    if activation == "sigmoid":
        return "binary_crossentropy", rng.integers(0, 2, shape).astype(np.float64)
    return "mean_squared_error", rng.standard_normal(shape)
