"""What an image is compared with: the target of each output, from a label or by the model's own prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import losses
from minicnn.models import fusion
from minicnn.models.output_losses import OutputLosses, per_output

__all__ = ["Target", "default_losses", "targets_for"]


@dataclass(frozen=True)
class Target:
    """One output's target.

    Attributes:
        y: as its loss takes it, with a batch axis of 1; without a loss, the gradient that goes back from the output.
        label: the class's index, where there are classes. given: whether the caller named it.
    """

    y: np.ndarray
    label: int | None
    given: bool

    def describe(
        self, loss: Any, value: int, result: Any, prediction: np.ndarray, on_logits: bool, factor: float, masked: bool
    ) -> dict[str, Any]:
        """What the page knows of the output's loss; "kind" is one that it can compute again, or "unknown"."""
        kind = "score" if loss is None else "unknown" if masked else _kind(loss, on_logits, prediction)
        classes = prediction.shape[-1]
        sparse = type(loss) is losses.SparseCategoricalCrossentropy
        target = np.eye(classes)[np.asarray(self.y, np.int64).reshape(-1)] if sparse else self.y
        return {
            "kind": kind,
            "loss": "none" if loss is None else getattr(loss, "name", type(loss).__name__),
            "value": value,
            "result": None if loss is None else float(result),
            "prediction": np.asarray(prediction[0], np.float32).reshape(-1),
            "target": np.asarray(target, np.float32).reshape(-1),
            "factor": factor,
            "rows": 1 if prediction.ndim == 2 else prediction.size // classes,
            "label": self.label,
            "given": self.given,
        }


def _kind(loss: Any, on_logits: bool, prediction: np.ndarray) -> str:
    """Which of the page's losses this is: with nothing beside the formula, and a mean over the rows of an image."""
    settings = loss.get_config()
    reductions = ("sum_over_batch_size", "mean", "sum")[: 3 if prediction.ndim == 2 else 2]
    plain = settings.get("axis", -1) == -1 and settings.get("ignore_class") is None and not settings.get("label_smoothing")
    if settings.get("reduction") not in reductions or not plain:
        return "unknown"
    if type(loss) in (losses.SparseCategoricalCrossentropy, losses.CategoricalCrossentropy):
        return "softmax" if on_logits or loss.from_logits else "unknown"
    if type(loss) is losses.BinaryCrossentropy:
        return "sigmoid" if on_logits or loss.from_logits else "unknown"
    return "squared" if type(loss) is losses.MeanSquaredError else "unknown"


def default_losses(model: Any) -> list[str | None]:
    """For a model that is not compiled: the cross-entropy that belongs to the activation of each output."""
    fitting = {"softmax": "sparse_categorical_crossentropy", "sigmoid": "binary_crossentropy"}
    return [fitting.get(str(fusion.last_activation(tensor.node.layer))) if tensor.node else None for tensor in model.outputs]


def targets_for(model: Any, loss: OutputLosses, y: Any, predictions: Any) -> list[Target]:
    """One target an output.

    Args:
        y: None, a label or an array; of several outputs a list or a dict of these.
        predictions: the model's own, in the structure of its outputs.

    Raises:
        ValueError: for a label without a class.
    """
    names = model.output_names
    given = per_output(y, names, "y") if len(names) > 1 and isinstance(y, (list, tuple, dict)) else [y] * len(names)
    found = per_output(predictions, names, "y") if len(names) > 1 else [predictions]
    flat = [np.asarray(one[0] if isinstance(one, (list, tuple)) else one) for one in found]
    if "ce" in {str(one).lower() for one in loss.losses} or "crossentropy" in {str(one).lower() for one in loss.losses}:
        loss.resolve_shapes([np.zeros((1,))] * len(names), [one.shape for one in flat])
    targets = []
    for i, (one, prediction) in enumerate(zip(given, flat)):
        targets.append(_target(loss, i, one, prediction, names[i]))
    return targets


def _target(loss: OutputLosses, i: int, given: Any, prediction: np.ndarray, name: str) -> Target:
    kind = type(loss.losses[i])
    rows = prediction.shape[-1]
    sparse = kind is losses.SparseCategoricalCrossentropy
    classes = sparse or kind in (losses.CategoricalCrossentropy, losses.BinaryCrossentropy)
    if loss.losses[i] is not None and classes and prediction.ndim == 2 and np.ndim(given) == 0:
        count = max(rows, 2)
        likeliest = int(prediction[0].argmax()) if rows > 1 else int(prediction[0, 0] > 0.5)
        label = likeliest if given is None else int(given)
        if not 0 <= label < count:
            raise ValueError(f"Output '{name}' has {count} classes, counted from 0. Received: y={given!r}")
        one_hot = np.eye(rows, dtype=np.float32)[label][None] if rows > 1 else np.array([[label]], np.float32)
        return Target(np.array([[label]], np.int32) if sparse else one_hot, label, given is not None)
    if given is None and classes:  # of many rows, each with its own class
        likely = prediction.argmax(axis=-1) if rows > 1 else prediction > 0.5
        one_hots = np.eye(rows, dtype=np.float32)[likely] if rows > 1 else likely.astype(np.float32)
        return Target(likely.astype(np.int32) if sparse else one_hots, None, False)
    if loss.losses[i] is not None and given is not None:
        array = np.asarray(given)
        return Target(array if array.ndim == prediction.ndim and len(array) == 1 else array[None], None, True)
    loss.losses[i] = None
    seed = np.zeros_like(prediction)
    seed.reshape(-1)[prediction.argmax()] = 1
    return Target(seed, None, False)
