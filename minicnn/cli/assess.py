"""How good a model is on test images: what `train` and `evaluate` print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np


@dataclass(frozen=True)
class Assessment:
    """Mean loss, accuracy, and the probabilities (N, classes) they come from."""

    loss: float
    accuracy: float
    predictions: np.ndarray


def loss_for(model: Any) -> Any:
    """The cross-entropy that fits a classifier's outputs, probabilities or logits, with integer labels."""
    from minicnn import losses
    from minicnn.study.labels import ends_in_logits

    kind = losses.BinaryCrossentropy if model.output_shape[-1] == 1 else losses.SparseCategoricalCrossentropy
    return kind(from_logits=ends_in_logits(model))


def compile_for_classes(model: Any) -> None:
    """Compile a model that has no loss of its own with `loss_for`; a trained one keeps its own loss."""
    if not model.compiled or model.loss is None:
        model.compile(loss=loss_for(model), metrics=["accuracy"])


def targets_for(model: Any, y: np.ndarray) -> np.ndarray:
    """Integer labels (N,) as the model's loss wants them: as they are, (N, 1) for one unit, one-hot (N, C) otherwise."""
    from minicnn import losses

    loss, outputs = model._compiled_loss.losses[0], model.output_shape[-1]
    if outputs == 1:
        return y.reshape(-1, 1).astype(np.float32)
    if isinstance(loss, (str, losses.SparseCategoricalCrossentropy)):  # the string is "crossentropy", which takes integers too
        return y
    return np.asarray(np.eye(outputs, dtype=np.float32)[y])


def assess(model: Any, x: np.ndarray, y: np.ndarray) -> Assessment:
    """Evaluate and predict all images.

    Args:
        model: compiled, with its own loss or with `compile_for_classes`.
        x: (N, H, W, channels) in the model's range. y: (N,) integers.
    """
    from minicnn.study.labels import model_probabilities

    predictions = model_probabilities(model, model.predict(x, batch_size=128, verbose=0))
    # Not from `predictions`: of a probability that was rounded to 0, nobody can say how wrong it is.
    loss = float(model.evaluate(x, targets_for(model, y), batch_size=128, verbose=0, return_dict=True)["loss"])
    return Assessment(loss, float(np.mean(predictions.argmax(axis=1) == y)), predictions)


def print_report(result: Assessment, y: np.ndarray, class_names: Sequence[str]) -> None:
    """Precision, recall and F1 of each class, then loss and accuracy."""
    from sklearn.metrics import classification_report

    predicted, labels = result.predictions.argmax(axis=1), range(len(class_names))
    click.echo(classification_report(y, predicted, labels=labels, target_names=class_names, digits=3, zero_division=0))
    click.echo(f"test loss {result.loss:.4f}, test accuracy {100 * result.accuracy:.2f}% of {len(y)} images")
