"""How good a model is on test images: what `train` and `evaluate` print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

__all__ = ["Assessment", "assess", "loss_for", "print_report"]


@dataclass(frozen=True)
class Assessment:
    """Mean loss, accuracy, and the predictions they come from."""

    loss: float
    accuracy: float
    predictions: np.ndarray


def loss_for(model: Any) -> str:
    """The cross-entropy that fits a classifier's output with integer labels."""
    return "binary_crossentropy" if model.output_shape[-1] == 1 else "sparse_categorical_crossentropy"


def assess(model: Any, x: np.ndarray, y: np.ndarray, class_names: Sequence[str]) -> Assessment:
    """Evaluate and predict all images.

    Args:
        model: compiled with `loss_for(model)`.

    Raises:
        ValueError: if the model has fewer outputs than there are classes.
    """
    from minicnn.study.labels import class_indices

    outputs = model.output_shape[-1]
    if max(outputs, 2) < len(class_names):
        raise ValueError(f"Model '{model.name}' tells {max(outputs, 2)} classes apart; the data have {len(class_names)}.")
    predictions = np.asarray(model.predict(x, batch_size=128, verbose=0))
    # Evaluated from the scores, as in training: probabilities of 0 have forgotten how wrong they are.
    loss = float(model.evaluate(x, y, batch_size=128, verbose=0, return_dict=True)["loss"])
    return Assessment(loss, float(np.mean(class_indices(predictions) == y)), predictions)


def print_report(result: Assessment, y: np.ndarray, class_names: Sequence[str]) -> None:
    """Precision, recall and F1 of each class, then loss and accuracy."""
    from sklearn.metrics import classification_report

    from minicnn.study.labels import class_indices

    labels = range(len(class_names))
    predicted = class_indices(result.predictions)
    click.echo(classification_report(y, predicted, labels=labels, target_names=class_names, digits=3, zero_division=0))
    click.echo(f"test loss {result.loss:.4f}, test accuracy {100 * result.accuracy:.2f}% of {len(y)} images")
