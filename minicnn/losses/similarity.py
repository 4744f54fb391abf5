"""How much two distributions, directions, masks or sets of embeddings have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends, config, registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.losses.base import RowLoss
from minicnn.losses.targets import as_array, as_floats, as_labels
from minicnn.rows import Axis
from minicnn.tensor import as_tensor


@registry.register("loss")
class KLDivergence(RowLoss):
    """loss[m] = sum over c of y_true * log(y_true / y_pred), both clipped to [epsilon, 1]."""

    _op = "kl_divergence"

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "kl_divergence", dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)

    def _numbers(self) -> tuple[Any, ...]:
        return (config.epsilon(),)

    def gradient_at_targets(self, y_true: Any, y_pred: Any, dy: Any) -> Any:
        """dt[m,c] = dy[m] * (log(t / p) + 1) inside the clip's bounds of t, 0 outside."""
        t, p = (np.clip(backends.to_numpy(one), config.epsilon(), 1) for one in (y_true, y_pred))
        return np.where(t == y_true, np.asarray(dy)[..., None] * (np.log(t / p) + 1), 0).astype(y_true.dtype)


@registry.register("loss")
class CosineSimilarity(RowLoss):
    """loss[m] = -(y_true . y_pred) / (|y_true| |y_pred|), from -1 (the same direction) to 1.

    Args:
        axis: that the vectors lie along. (In a config, too; Keras's have none, but are read with one.)
    """

    _op = "cosine_similarity"
    _broadcasts = False
    _symmetric = True
    _own_arguments = ("axis",)

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = axis

    def _numbers(self) -> tuple[Any, ...]:
        return (config.epsilon(),)


@registry.register("loss")
class Tversky(RowLoss):
    """loss = 1 - I / (I + alpha * missed + beta * invented + epsilon), of masks: I the area that they share.

    Args:
        alpha: weight of what is in `y_true` alone. beta: weight of what is in `y_pred` alone.
        axis: the axes that one mask spans, such as (1, 2, 3) for a loss an image; None for one loss a batch.
    """

    _op = "tversky"
    _broadcasts = False
    _own_arguments = ("alpha", "beta", "axis")

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Axis = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.alpha, self.beta, self.axis = alpha, beta, axis

    def _numbers(self) -> tuple[Any, ...]:
        return self.alpha, self.beta, config.epsilon()


@registry.register("loss")
class Dice(RowLoss):
    """loss = 1 - 2 * I / (area of y_true + area of y_pred + epsilon), of masks: I the area that they share.

    Args:
        axis: as of `Tversky`.
    """

    _op = "tversky"
    _broadcasts = False
    _own_arguments = ("axis",)

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Axis = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = axis

    def _numbers(self) -> tuple[Any, ...]:
        return 0.5, 0.5, config.epsilon() / 2  # both sides of the fraction are halved


@registry.register("loss")
class Circle(RowLoss):
    """A metric loss of embeddings (N, C) of length 1 and integer labels (N,): see `ops.circle_forward`.

    Rows that have no other of their label, or none of another label, do not count.

    Args:
        gamma: how steep. margin: how far labels shall be apart. remove_diagonal: whether a row is not compared with itself.
    """

    _own_arguments = ("gamma", "margin", "remove_diagonal")

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.gamma, self.margin, self.remove_diagonal = gamma, margin, remove_diagonal

    def _numbers(self) -> tuple[Any, ...]:
        return self.gamma, self.margin, self.remove_diagonal

    def _targets(self, y_true: Any, y_pred: Array) -> tuple[Array, Array]:
        labels = as_labels(y_true)
        if y_pred.ndim != 2 or labels.shape != y_pred.shape[:1]:
            raise ValueError(
                f"{self.name}: expected labels of shape (N,) and embeddings of shape (N, C). "
                f"Received: y_true.shape={np.shape(y_true)}, y_pred.shape={y_pred.shape}"
            )
        return labels, y_pred

    def _ignored(self, y_true: Any, losses: Any) -> Array | None:
        return losses <= 0

    def _forward_rows(self, predictions: Array, targets: Array) -> tuple[Array, Array]:
        return ops.circle_forward(predictions, targets, predictions, targets, *self._numbers()), predictions

    def _backward_rows(self, residual: Array, targets: Array, weights: Array) -> Array:
        return ops.circle_backward(residual, targets, weights, *self._numbers())


@registry.register("loss", "kld", "KLD", "kullback_leibler_divergence")
def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """Kullback-Leibler divergence of distributions, one loss a row; see `KLDivergence`."""
    return KLDivergence().call(y_true, y_pred)


@registry.register("loss")
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """The cosine of the angle between two vectors, negative, one loss a vector; see `CosineSimilarity`."""
    return CosineSimilarity(axis).call(y_true, y_pred)


@registry.register("loss")
def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axis = None) -> Any:
    """One minus the weighted overlap of two masks, one loss a mask; see `Tversky`."""
    return Tversky(alpha, beta, axis=axis).call(y_true, y_pred)


@registry.register("loss")
def dice(y_true: Any, y_pred: Any, axis: Axis = None) -> Any:
    """One minus the overlap of two masks, one loss a mask; see `Dice`."""
    return Dice(axis=axis).call(y_true, y_pred)


@registry.register("loss")
def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """Circle loss, one a row; see `Circle`. Rows are compared with each other, or with given references."""
    labels, embeddings = Circle()._targets(y_true, as_floats(y_pred))
    references = embeddings if ref_embeddings is None else as_floats(ref_embeddings)
    reference_labels = labels if ref_labels is None else as_labels(as_array(ref_labels))
    return as_tensor(
        ops.circle_forward(embeddings, labels, references, reference_labels, float(gamma), float(margin), remove_diagonal)
    )
