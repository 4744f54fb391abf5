"""Gradients against finite differences: every layer's, those of the whole training step, and those that `fit` computes.

For a function f and its gradient g, along a direction v and with a small step h,

    g · v  =  (f(x + h v) - f(x - h v)) / (2 h)  +  O(h²)

v leans on g itself, v = g/|g| + r/|r| with a random r: the left side cannot vanish by
accident, and r sees what g misses. That is computed in float64 on the reference backend,
on a copy of the model. Source: Baydin et al. 2015, arXiv:1502.05767, section 2.1.

What `fit` runs is other code: the backend in use, with epilogues joined, in float32, where a finite difference
drowns in rounding errors. So its gradients are compared with those of the reference, which the differences
have just shown to be right, for the same weights, images and random masks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import backends, config
from minicnn.models.plan import Plan
from minicnn.optimizers import SGD

__all__ = ["GradientCheck", "gradcheck"]

_SMALL = 1e-2  # of the largest gradient's length: rounding errors in a gradient of less are measured against that
_STEP = 1e-6  # h for a v of length about 1: rounding (1e-16 / h) and curvature (h²) both stay below 1e-9


@dataclass(frozen=True)
class GradientCheck:
    """One gradient compared with finite differences.

    Attributes:
        layer: the layer's name; "training step" for the whole of forward, loss and backward; "fit on numba" (or another
            backend) for the same as `fit` runs it.
        kind: the layer's class.
        gradient: "dx" for the input, otherwise the weight's name.
        shape: of that gradient.
        error: the largest |g·v - difference| / max(|g·v|, |difference|) over the directions; for `fit`, the length of the
            difference from the reference's gradient, as a part of that gradient's length.
        passed: whether error is at most the tolerance.
    """

    layer: str
    kind: str
    gradient: str
    shape: tuple[int, ...]
    error: float
    passed: bool


def gradcheck(
    model: Any,
    *,
    batch_size: int = 2,
    directions: int = 2,
    tolerance: float = 1e-6,
    fit_tolerance: float = 1e-3,
    seed: int = 0,
) -> list[GradientCheck]:
    """Check each layer's backward pass, then the gradient of a loss at every weight, in float64 and as `fit` computes it.

    Args:
        model: a built model; it is left as it is.
        batch_size: random images per check.
        directions: random directions per gradient.
        tolerance: the largest relative error against finite differences that passes.
        fit_tolerance: the largest relative error of `fit`'s gradients that passes. A float32 is wrong by 6e-8 of
            itself, a sum of thousands and a Winograd transform by 1e-5 of their terms, and a deep network adds that
            up; wrong memory or a wrong formula is wrong by more.
        seed: of inputs, cotangents and directions.

    Returns:
        A `GradientCheck` for every layer's input and weights, and two for every trainable weight: of the training step on
        the reference backend, and of the one that `fit` runs.

    Raises:
        ValueError: if the model has no input shape yet, holds a layer that cannot be copied through its config, or one
            whose passes return other shapes than they should.
    """
    rng = np.random.default_rng(seed)
    with _float64_reference():
        copy = _copy_of(model, _in_float64(model.get_config()))
        found = _check_layers(copy, rng, batch_size, directions)
        batch = _Batch(copy, rng, batch_size)
        rows, expected = _check_training_step(copy, batch, rng, directions)
    found += rows
    checks = [GradientCheck(*row, passed=row[-1] <= tolerance) for row in found]
    for row in _check_fit(_copy_of(model, model.get_config()), batch, expected):
        checks.append(GradientCheck(*row, passed=row[-1] <= fit_tolerance))
    return checks


def _copy_of(model: Any, settings: dict[str, Any]) -> Any:
    """A model of these settings with the weights and random states of `model`."""
    copy = type(model).from_config(settings)
    for variable, original in zip(copy.variables, model.variables, strict=True):
        variable.assign(original)
    return copy


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
        # Rounding leaves of a gradient that vanishes (of a bias before batch normalization) about 2e-16 |f| / h.
        worst = max(worst, abs(ours - difference) / max(abs(ours), abs(difference), 1e-3 * max(1.0, abs(above))))
    return worst


def _check_layers(model: Any, rng: np.random.Generator, batch_size: int, directions: int) -> list[_Row]:
    plan = Plan(model, keep=None)
    rows: list[_Row] = []
    checked: list[Any] = []
    for step in plan.steps:
        layer = step.layers[0]
        if any(layer is other for other in checked):
            continue
        checked.append(layer)
        inputs = [rng.standard_normal((batch_size, *plan.shapes[i][1:])) for i in step.inputs]  # type: ignore[arg-type]
        x: Any = inputs if step.takes_list else inputs[0]
        restore = state_of(layer)

        def run(layer: Any = layer, x: Any = x, restore: Callable[[], None] = restore) -> tuple[Any, Any]:
            restore()  # the same dropout mask every time
            return layer.forward(x, True)

        y, saved = run()
        dy = rng.standard_normal(y.shape)
        dx, grads = layer.backward(dy.copy(), saved)

        def objective(run: Callable[[], tuple[Any, Any]] = run, dy: np.ndarray = dy) -> float:
            return float((run()[0] * dy).sum())

        kind = type(layer).__name__
        for index, (place, gradient) in enumerate(zip(inputs, dx if step.takes_list else [dx])):
            name = "dx" if len(inputs) == 1 else f"dx[{index}]"
            rows.append((layer.name, kind, name, place.shape, _error(objective, place, np.array(gradient), rng, directions)))
        for variable, gradient in zip(layer._weights_with_gradients, grads):
            error = _error(objective, variable.value, np.array(gradient), rng, directions)
            rows.append((layer.name, kind, variable.name, variable.shape, error))
        restore()
    return rows


def state_of(layer: Any) -> Callable[[], None]:
    """A function that puts random states and statistics back to what they are now."""
    kept = [(variable, variable.numpy()) for variable in layer.non_trainable_variables]

    def restore() -> None:
        for variable, value in kept:
            variable.assign(value)

    return restore


class _Listener(SGD):
    """An optimizer that keeps the gradients it is handed, and changes nothing."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        self.heard = [(variable, np.array(backends.to_numpy(grad))) for variable, grad in zip(trainable_variables, grads)]


class _Batch:
    """A random batch, of numbers that float32 holds exactly, and losses that suit a model's outputs."""

    def __init__(self, model: Any, rng: np.random.Generator, batch_size: int) -> None:
        self.x = [rng.standard_normal((batch_size, *tensor.shape[1:]), np.float32) for tensor in model.inputs]
        losses, self.y = zip(*(_loss_for(tensor, rng, batch_size) for tensor in model.outputs))
        self.losses = list(losses)

    def train(self, model: Any) -> dict[str, float]:
        """The logs of a step of `model`, which was compiled with the losses."""
        return model.train_on_batch(self.x, list(self.y), return_dict=True)


def _check_training_step(
    model: Any, batch: _Batch, rng: np.random.Generator, directions: int
) -> tuple[list[_Row], list[np.ndarray]]:
    """Rows, and the gradient of every trained weight, in the order in which the optimizer gets them."""
    listener = _Listener()
    model.compile(optimizer=listener, loss=batch.losses)
    restore = state_of(model)

    def objective() -> float:
        restore()
        return float(batch.train(model)["loss"])

    objective()
    heard = listener.heard
    rows = []
    for variable, gradient in heard:
        error = _error(objective, variable.value, gradient, rng, directions)
        rows.append(("training step", type(model).__name__, variable.path, variable.shape, error))
    restore()
    return rows, [gradient for _, gradient in heard]


def _check_fit(model: Any, batch: _Batch, expected: list[np.ndarray]) -> list[_Row]:
    """The gradients of a step as `fit` runs it, against those of the reference."""
    listener = _Listener()
    model.compile(optimizer=listener, loss=batch.losses)
    batch.train(model)
    # A gradient may vanish (of a bias before batch normalization): what rounding leaves of it is of the size of others.
    small = _SMALL * max((float(np.linalg.norm(gradient)) for gradient in expected), default=0.0) or 1.0
    rows = []
    for (variable, gradient), right in zip(listener.heard, expected, strict=True):
        error = float(np.linalg.norm(gradient - right)) / max(float(np.linalg.norm(right)), small)
        error = error if np.isfinite(error) else np.inf
        rows.append((f"fit on {backends.backend()}", type(model).__name__, variable.path, variable.shape, error))
    return rows


def _loss_for(output: Any, rng: np.random.Generator, batch_size: int) -> tuple[str, np.ndarray]:
    """The loss that people train such an output with, and random targets for it."""
    shape = (batch_size, *output.shape[1:])
    layer = output.node.layer
    activation = getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__).lower()
    if activation == "softmax" and len(shape) == 2:
        return "sparse_categorical_crossentropy", rng.integers(0, shape[-1], shape[:1])
    if activation == "sigmoid":
        return "binary_crossentropy", rng.integers(0, 2, shape).astype(np.float32)
    return "mean_squared_error", rng.standard_normal(shape, np.float32)
