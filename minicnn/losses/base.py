"""`Loss`, which users subclass, and `RowLoss`, which minicnn's own losses are."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import backends, config, registry, serialization, tape
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.losses.targets import Shape, as_array, as_floats, as_matrix, cast, match_ranks
from minicnn.rows import Axis, from_rows, to_rows
from minicnn.shapes import repeated_axes
from minicnn.tensor import Symbolic, as_tensor, is_watched

_REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None)


class Loss:
    """Base class of all losses.

    A loss of your own defines

        def call(self, y_true, y_pred):        # -> losses, usually (N,): one a sample
        def gradient(self, y_true, y_pred):    # -> d losses / d y_pred, the shape of y_pred

    `call` suffices to call it on arrays; a model that is trained with it needs `gradient`.

    Args:
        name: default the class's, in snake case.
        reduction: "sum_over_batch_size" or "mean" (over all losses), "sum",
            "mean_with_sample_weight" (divided by the sum of the weights), "none" or None.
        dtype: "float32" or "float64"; default `config.floatx()`.
    """

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None) -> None:
        if reduction not in _REDUCTIONS:
            raise ValueError(
                f"Invalid value for argument `reduction`. Expected one of {_REDUCTIONS}. Received: reduction={reduction}"
            )
        self.name = name or registry.unique_name(registry.snake_case(type(self).__name__))
        self.reduction = reduction
        self.dtype = str(np.dtype(dtype or config.floatx()))

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch, reduced; with reduction "none" one loss a row.

        Of tensors that a tape watches it is one that has a gradient; of symbolic ones it is symbolic.
        """
        if is_watched(y_true, y_pred):
            return self._of_tensors(y_true, y_pred, sample_weight)
        y_true, y_pred = (np.asarray(backends.to_numpy(as_array(y)), self.dtype) for y in (y_true, y_pred))
        losses = np.asarray(self.call(as_tensor(y_true), as_tensor(y_pred)), self.dtype)
        weighted = losses * backends.to_numpy(
            self._weights(losses.shape, sample_weight, self.dtype, self._ignored(y_true, losses))
        )
        return as_tensor(weighted if self.reduction in ("none", None) else weighted.sum(dtype=self.dtype))

    def _of_tensors(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        """The same by ops, which a tape or a graph takes up."""
        y_true, y_pred = (
            y if isinstance(y, Symbolic) or getattr(y, "dtype", None) == self.dtype else cast_op(y, self.dtype)
            for y in (y_true, y_pred)
        )
        losses = self.call(y_true, y_pred)
        if isinstance(losses, Symbolic):
            return self._of_symbols(losses, sample_weight)
        ignored = self._ignored(y_true, losses)
        losses = losses * as_tensor(self._weights(losses.shape, sample_weight, self.dtype, ignored))
        return losses if self.reduction in ("none", None) else registry.operation("sum")(losses)

    def _of_symbols(self, losses: Any, sample_weight: Any) -> Any:
        """The reduction as layers of a graph. The weights have a sample's axes, and perhaps one of size 1 more."""
        weight: Any = 1.0
        if sample_weight is not None:
            weight = cast_op(sample_weight, self.dtype)
            if len(weight.shape) == len(losses.shape) + 1:
                weight = registry.operation("squeeze")(weight, -1)
            for _ in range(len(losses.shape) - len(weight.shape)):
                weight = registry.operation("expand_dims")(weight, -1)
            losses = losses * weight
        if self.reduction in ("none", None):
            return losses
        total = registry.operation("mean" if self.reduction in ("sum_over_batch_size", "mean") else "sum")(losses)
        if self.reduction == "mean_with_sample_weight":
            total = total / registry.operation("sum")(losses * 0 + weight)
        return total

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The losses, not yet reduced."""
        raise NotImplementedError(f"Loss {type(self).__name__!r} must implement `call(y_true, y_pred)`.")

    def gradient(self, y_true: Any, y_pred: Any) -> Any:
        """The derivative of each loss with respect to its prediction, in the shape of `y_pred`.

        By default a tape finds it, where `call` is made of operators and of functions of `minicnn.ops`.
        """
        return self._gradient_by_tape(y_true, y_pred, "gradient(y_true, y_pred)")

    def _gradient_by_tape(self, y_true: Any, y_pred: Any, instead: str) -> Any:
        y_pred = as_tensor(y_pred)
        with tape.GradientTape() as recorded:
            recorded.watch(y_pred)
            losses = self.call(as_tensor(y_true), y_pred)
        found = recorded.gradient(losses, y_pred)
        if found is None:
            raise NotImplementedError(
                f"Loss {self.name!r} has no gradient, so a model cannot be trained with it: it is not made of operators and "
                f"functions of `minicnn.ops`, which have one. Use these, or define `{instead}`, which returns d(loss of a "
                "sample)/d(y_pred) in the shape of y_pred."
            )
        return found

    def forward(self, y_true: Any, y_pred: Array, sample_weight: Any = None, mask: Any = None) -> tuple[Array, Any]:
        """The loss of a training batch.

        Args:
            y_true: targets, on the host or where the backend computes.
            y_pred: the model's output, where the backend computes.
            sample_weight: None, or one weight a sample.
            mask: None, or which of the losses count, as the model's output says: a mean is one of these.

        Returns:
            loss: shape (), where the backend computes. With reduction "none" the mean, which is
                what Keras shows (its gradient then is that of the sum, as Keras's).
            saved: for `backward`.
        """
        y_true = as_tensor(np.asarray(backends.to_numpy(as_array(y_true)), y_pred.dtype))
        predictions = as_tensor(y_pred)
        losses = np.asarray(self.call(y_true, predictions), y_pred.dtype)
        weights = self._weights(losses.shape, sample_weight, y_pred.dtype, self._left_out(losses.shape, None, mask))
        return self._total(cast(losses, y_pred.dtype), weights), (y_true, predictions, backends.to_numpy(weights))

    def backward(self, saved: Any) -> Array:
        """dy_pred = weights * gradient(y_true, y_pred)."""
        y_true, y_pred, weights = saved
        gradient = np.asarray(self.gradient(y_true, y_pred), y_pred.dtype)
        if gradient.shape != y_pred.shape:
            raise ValueError(
                f"Loss {self.name!r}: `gradient(y_true, y_pred)` must return the shape of y_pred, {y_pred.shape}. "
                f"Received: {gradient.shape}"
            )
        return cast(gradient * weights.reshape(weights.shape + (1,) * (y_pred.ndim - weights.ndim)), y_pred.dtype)

    def check_targets(self, y_true: np.ndarray, y_pred_shape: Shape) -> None:
        """Raise an error for labels that a prediction of this shape has no class for; on the host, `forward` calls it.

        Raises:
            ValueError: for labels outside the classes.
        """

    def _ignored(self, y_true: Any, losses: Any) -> Array | None:
        """Which of the losses do not count: a mask in their shape, or None."""
        return None

    def _left_out(self, shape: Shape, ignored: Array | None, mask: Any) -> Array | None:
        """`_ignored`, and what a mask of the predictions leaves out.

        Raises:
            ValueError: for a mask that has other axes than the losses.
        """
        if mask is None:
            return ignored
        out = mask == 0
        out = out.reshape(out.shape[:-1]) if out.ndim == len(shape) + 1 and out.shape[-1] == 1 else out
        if out.shape != tuple(shape[: out.ndim]):
            raise ValueError(
                f"Loss {self.name!r}: the mask of the predictions, of shape {mask.shape}, does not fit losses of shape {shape}."
            )
        out = np.broadcast_to(out.reshape(out.shape + (1,) * (len(shape) - out.ndim)), shape)
        return out if ignored is None else out | ignored

    def _weights(self, shape: Shape, sample_weight: Any, dtype: Any, ignored: Array | None = None) -> Array:
        """The weight of each loss: its sample's weight, divided as the reduction wants it; where the backend computes."""
        given = None if sample_weight is None else backends.asarray(as_array(sample_weight))
        if given is not None and given.ndim and not shape:  # one loss for the whole batch
            return backends.asarray(self._weights(given.shape, given, dtype).sum(), dtype)
        weights = backends.empty(shape, dtype)
        if given is None and ignored is None:  # all weights are equal: one pass
            weights.fill(1 if self.reduction in ("sum", "none", None) else _reciprocal(weights.size))
            return weights
        if given is None:
            weights.fill(1)
        else:
            if given.ndim == len(shape) + 1 and given.shape[-1] == 1:
                given = given.reshape(given.shape[:-1])
            try:
                weights[...] = given.reshape(given.shape + (1,) * (len(shape) - given.ndim))
            except ValueError:
                raise ValueError(
                    f"Loss {self.name!r}: `sample_weight` must have one weight a sample, and so a shape that broadcasts to "
                    f"the losses' shape {shape}. Received: sample_weight.shape={given.shape}"
                ) from None
        if ignored is not None:
            weights *= ~ignored
        if self.reduction in ("sum_over_batch_size", "mean"):
            weights *= _reciprocal(weights.size if ignored is None else (~ignored).sum())
        elif self.reduction == "mean_with_sample_weight":
            weights *= _reciprocal(weights.sum())
        return weights

    def _total(self, losses: Array, weights: Array) -> Array:
        """sum over m of weights[m] * losses[m]; with reduction "none" the mean of the weighted losses."""
        total, count = backends.empty((), losses.dtype), backends.empty((), losses.dtype)
        total.fill(0)
        count.fill(0)
        ops.accumulate_mean_(total, count, losses.reshape(-1), weights.reshape(-1))
        if self.reduction in ("none", None):
            total *= 1 / max(losses.size, 1)
        return total

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The reverse of `get_config`."""
        return cls(**config)


def cast_op(value: Any, dtype: str) -> Any:
    """`value` as a tensor of that type, which keeps its gradient."""
    return registry.operation("cast")(value, dtype)


def _reciprocal(divisor: Any) -> Any:
    """1 / divisor, and 0 for 0. An array's value is not read on the host: that would wait for the device."""
    if isinstance(divisor, int):
        return 1 / divisor if divisor else 0.0
    return (divisor != 0) / (divisor + (divisor == 0))


@registry.register("loss")
class LossFunctionWrapper(Loss):
    """A function `fn(y_true, y_pred, **kwargs)` as a loss; its gradient is the function's attribute `gradient`."""

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(*match_ranks(y_true, y_pred), **self._fn_kwargs)

    def gradient(self, y_true: Any, y_pred: Any) -> Any:
        gradient = getattr(self.fn, "gradient", None)
        if gradient is None:
            return self._gradient_by_tape(y_true, y_pred, f"{getattr(self.fn, '__name__', self.name)}.gradient(y_true, y_pred)")
        y_true, matched = match_ranks(y_true, y_pred)
        return np.reshape(gradient(y_true, matched, **self._fn_kwargs), y_pred.shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fn": serialization.serialize(self.fn), **serialization.serialize(self._fn_kwargs)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LossFunctionWrapper:
        config = dict(config)
        fn = serialization.deserialize(config.pop("fn"), "loss")
        return cls(fn, **serialization.deserialize(config))


class RowLoss(Loss):
    """A loss that two ops compute row by row, on matrices (M, C).

    A subclass says which: `{_op}_forward(predictions, targets, *numbers)` and `{_op}_backward(predictions, targets, weights,
    *numbers)`. One that keeps something else for its backward pass writes `_forward_rows` and `_backward_rows` itself.

    Attributes:
        axis: what a row runs along: one axis, several, or None for all.
    """

    _op: str
    _own_arguments: tuple[str, ...] = ()  # constructor arguments that `get_config` reads from attributes
    axis: Axis = -1
    _symmetric = False  # whether targets and predictions may change places
    _broadcasts = True  # whether an axis of size 1, of targets or predictions, is repeated along the other's

    def gradient_at_targets(self, y_true: Any, y_pred: Any, dy: Any) -> Any:
        """The gradient of <losses, dy> with respect to the targets, which only a tape asks for."""
        if not self._symmetric or y_true.shape != y_pred.shape or y_true.dtype.kind != "f":
            return tape.NoGradient(
                f"Loss {self.name!r} has a gradient with respect to `y_pred` alone: compute it with `minicnn.ops`, or stop the "
                "gradient at `y_true` with `minicnn.ops.stop_gradient`."
            )
        return self.backward(self.forward(backends.to_numpy(y_pred), backends.asarray(y_true), dy)[1])

    def _numbers(self) -> tuple[Any, ...]:
        return ()

    def _targets(self, y_true: Any, y_pred: Array) -> tuple[Array, Array]:
        """`y_true` as (M, C), and the predictions in its shape: each broadcast to the other's, as in Keras."""
        y_true, matched = match_ranks(as_array(y_true), y_pred)
        if self._broadcasts and y_true.shape != matched.shape:
            with contextlib.suppress(ValueError):  # the error below says more
                shape = np.broadcast_shapes(y_true.shape, matched.shape)
                y_true, matched = np.broadcast_to(y_true, shape), np.broadcast_to(matched, shape).copy()
        if y_true.ndim != matched.ndim or y_true.shape != matched.shape:
            same = "rank (ndim)" if y_true.ndim != matched.ndim else "shape"
            raise ValueError(
                f"{self.name}: Arguments `target` and `output` must have the same {same}. "
                f"Received: target.shape={y_true.shape}, output.shape={y_pred.shape}{self._hint(y_true, matched)}"
            )
        return as_matrix(to_rows(cast(y_true, y_pred.dtype), self.axis)), matched

    def _hint(self, y_true: Array, y_pred: Array) -> str:
        return ""

    def _forward_rows(self, predictions: Array, targets: Array) -> tuple[Array, Array]:
        """The losses (M,), and what `_backward_rows` will read in place of the predictions."""
        return getattr(ops, f"{self._op}_forward")(predictions, targets, *self._numbers()), predictions

    def _backward_rows(self, residual: Array, targets: Array, weights: Array) -> Array:
        """dpredictions (M, C)."""
        return getattr(ops, f"{self._op}_backward")(residual, targets, weights, *self._numbers())

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The losses, one a row: the shape of `y_pred` without `axis`."""
        if is_watched(y_true, y_pred):
            return registry.operation("rows_of_loss")(y_true, y_pred, self)
        targets, predictions = self._targets(y_true, as_floats(y_pred))
        rows = to_rows(predictions, self.axis)
        losses = as_tensor(self._forward_rows(as_matrix(rows), targets)[0]).reshape(rows.shape[:-1])
        ignored = self._ignored(y_true, losses)
        return losses if ignored is None else as_tensor(np.where(backends.to_numpy(ignored), losses.dtype.type(0), losses))

    def forward(self, y_true: Any, y_pred: Array, sample_weight: Any = None, mask: Any = None) -> tuple[Array, Any]:
        targets, predictions = self._targets(y_true, y_pred)
        rows = to_rows(predictions, self.axis)
        losses, residual = self._forward_rows(as_matrix(rows), targets)
        ignored = self._left_out(rows.shape[:-1], self._ignored(y_true, losses), mask)
        weights = self._weights(rows.shape[:-1], sample_weight, y_pred.dtype, ignored).reshape(-1)
        return self._total(losses, weights), (residual, targets, weights, predictions.shape, y_pred.shape)

    def backward(self, saved: Any) -> Array:
        residual, targets, weights, matched, shape = saved
        dy = from_rows(self._backward_rows(residual, targets, weights), matched, self.axis)
        repeated = repeated_axes(matched, shape[: len(matched)]) if dy.size > math.prod(shape) else ()
        return (dy.reshape(matched).sum(axis=repeated) if repeated else dy).reshape(shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {argument: getattr(self, argument) for argument in self._own_arguments}
