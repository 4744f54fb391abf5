"""TensorFlow's `tf.saved_model`: a model in a folder. Inside is Keras's `.keras` file; TensorFlow's graphs are not read."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from minicnn.models import Model
from minicnn.saving import load_model, save_model

__all__ = ["SAVED_MODEL"]

_FILE = "saved_model.keras"


def save(obj: Any, export_dir: Any, signatures: Any = None, options: Any = None) -> None:
    """Write a model into a folder, which is made. Signatures and options have no effect.

    Raises:
        ValueError: for what is no model: a `tf.Module`'s functions cannot be written to a file.
    """
    if not isinstance(obj, Model):
        raise ValueError(f"`saved_model.save` takes a model, `train.Checkpoint` variables. Received: {type(obj).__name__}")
    os.makedirs(export_dir, exist_ok=True)
    save_model(obj, os.path.join(os.fspath(export_dir), _FILE))


def load(export_dir: Any, tags: Any = None, options: Any = None) -> Any:
    """The model of a folder, which is called as it was.

    Raises:
        ValueError: if there is none, or it is damaged.
    """
    return load_model(os.path.join(os.fspath(export_dir), _FILE))


SAVED_MODEL = SimpleNamespace(
    SaveOptions=SimpleNamespace,
    save=save,
    load=load,
    contains_saved_model=lambda export_dir: os.path.isfile(os.path.join(export_dir, _FILE)),
)
