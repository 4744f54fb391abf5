"""Cross-entropies in which some samples count less: those that are right already (focal), or hopelessly wrong (generalized)."""

from __future__ import annotations

from typing import Any

from minicnn import backends, config, registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy, LabelLoss


@registry.register("loss")
class BinaryFocalCrossentropy(BinaryCrossentropy):
    """loss[m] = mean over c of a * miss**gamma * cross-entropy(y_true, y_pred), miss the probability of the wrong answer.

    Args:
        apply_class_balancing: whether a = alpha for class 1 and 1 - alpha for class 0; else a = 1.
        alpha, gamma: see there.
        from_logits, label_smoothing, axis: as of `BinaryCrossentropy`.

    Source: Lin et al. 2017, arXiv:1708.02002.
    """

    _own_arguments = (*BinaryCrossentropy._own_arguments, "apply_class_balancing", "alpha", "gamma")

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        self.apply_class_balancing, self.alpha, self.gamma = apply_class_balancing, alpha, gamma

    def _numbers(self) -> tuple[Any, ...]:
        return self.gamma, self.alpha if self.apply_class_balancing else None, config.epsilon()

    def _forward_rows(self, predictions: Array, targets: Array) -> tuple[Array, Array]:
        p = ops.sigmoid_forward(predictions) if self.from_logits else predictions
        return ops.binary_focal_cross_entropy_forward(p, targets, *self._numbers()), p

    def _backward_rows(self, residual: Array, targets: Array, weights: Array) -> Array:
        dp = ops.binary_focal_cross_entropy_backward(residual, targets, weights, *self._numbers())
        return ops.sigmoid_backward(dp, residual) if self.from_logits else dp


@registry.register("loss")
class CategoricalFocalCrossentropy(CategoricalCrossentropy):
    """loss[m] = -sum over c of alpha * (1 - y_pred)**gamma * y_true * log(y_pred).

    Args:
        alpha: one weight, or a list of one a class.
        gamma: how much less counts what is right.
        from_logits, label_smoothing, axis: as of `CategoricalCrossentropy`.

    Source: Lin et al. 2017, arXiv:1708.02002.
    """

    _own_arguments = (*CategoricalCrossentropy._own_arguments, "alpha", "gamma")

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        self.alpha, self.gamma = alpha, gamma

    def _numbers_for(self, predictions: Array) -> tuple[Any, ...]:
        alpha = self.alpha if isinstance(self.alpha, (int, float)) else backends.asarray(self.alpha, predictions.dtype)
        return self.gamma, alpha, config.epsilon()

    def _forward_rows(self, predictions: Array, targets: Array) -> tuple[Array, Array]:
        p = ops.softmax_forward(predictions) if self.from_logits else predictions
        return ops.focal_cross_entropy_forward(p, targets, *self._numbers_for(p)), p

    def _backward_rows(self, residual: Array, targets: Array, weights: Array) -> Array:
        dp = ops.focal_cross_entropy_backward(residual, targets, weights, *self._numbers_for(residual))
        return ops.softmax_backward(dp, residual) if self.from_logits else dp


@registry.register("loss")
class CategoricalGeneralizedCrossEntropy(LabelLoss):
    """loss[m] = (1 - y_pred[m, label[m]]**q) / q, for labels of which some are wrong.

    Args:
        q: in (0, 1); near 0 it is the cross-entropy, near 1 the mean absolute error.

    Source: Zhang & Sabuncu 2018, arXiv:1805.07836.
    """

    _op = "generalized_cross_entropy"
    _own_arguments = ("q",)

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ) -> None:
        if not 0 < q < 1:
            raise ValueError(f"q must be in the interval (0, 1). Received: q={q}")
        super().__init__(name, reduction, dtype)
        self.q = q

    def _numbers(self) -> tuple[Any, ...]:
        return (self.q,)


@registry.register("loss")
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Focal cross-entropy of 0/1 targets, one loss a row; see `BinaryFocalCrossentropy`."""
    loss = BinaryFocalCrossentropy(apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis)
    return loss.call(y_true, y_pred)


@registry.register("loss")
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Focal cross-entropy of one-hot targets, one loss a row; see `CategoricalFocalCrossentropy`."""
    return CategoricalFocalCrossentropy(alpha, gamma, from_logits, label_smoothing, axis).call(y_true, y_pred)


@registry.register("loss")
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Any:
    """Generalized cross-entropy of integer labels, one loss a row; see `CategoricalGeneralizedCrossEntropy`."""
    return CategoricalGeneralizedCrossEntropy(q).call(y_true, y_pred)
