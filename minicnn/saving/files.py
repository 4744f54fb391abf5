"""Saving and loading: which file is which."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from typing import Any

from minicnn import variables
from minicnn.atomic import may_write, replacing
from minicnn.saving.archive import (
    archive_bytes,
    open_archive,
    read_archived_config,
    read_archived_range,
    read_archived_weights,
    weights_size,
)
from minicnn.saving.legacy_h5 import (
    legacy_bytes,
    legacy_weights_bytes,
    read_legacy_config,
    read_legacy_optimizer,
    read_legacy_weights,
)
from minicnn.saving.objects import deserialize_keras_object
from minicnn.saving.weights_file import read_weights, weights_bytes
from minicnn.untrusted import reading

__all__ = ["load_model", "load_weights", "save_model", "save_weights"]

_KERAS_VERSION = "3.15.1"  # the Keras whose files ours are compared with
_LEGACY = (".h5", ".hdf5")


def save_model(model: Any, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any) -> None:
    """Write a model: configuration, weights, compile settings, optimizer state. Keras 3 reads the file.

    An older file stays until the new one is complete.

    Args:
        filepath: ends in ".keras", or ".h5" for the older format, which lacks the state of random
            generators; or an open binary file.
        overwrite: False asks before an existing file is replaced.
        include_optimizer: whether an ".h5" file gets compile settings and optimizer state.
    """
    include_optimizer = kwargs.pop("include_optimizer", True)
    kwargs.pop("save_format", None)
    if kwargs:
        raise ValueError(f"The following argument(s) are not supported: {list(kwargs)}")
    if zipped is False:
        raise ValueError("`zipped=False` is not supported: minicnn writes models as one `.keras` file.")
    opened = isinstance(filepath, io.IOBase)
    path = str(filepath)
    if not opened and not path.endswith((".keras", *_LEGACY)):
        raise ValueError(
            "Invalid filepath extension for saving. Please add either a `.keras` extension for the native Keras format "
            f"(recommended) or a `.h5` extension. Received: filepath={filepath}."
        )
    if not model.built:
        warnings.warn(
            "You are saving a model that has not yet been built. It might not contain any weights yet. "
            "Consider building the model first by calling it on some data.",
            stacklevel=3,
        )
    if opened:
        filepath.write(archive_bytes(model, _KERAS_VERSION))
    elif may_write(path, overwrite):
        with replacing(path) as file:
            if path.endswith(_LEGACY):
                file.write(legacy_bytes(model, _KERAS_VERSION, include_optimizer))
            else:
                file.write(archive_bytes(model, _KERAS_VERSION))


def load_model(
    filepath: Any, custom_objects: dict[str, Any] | None = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """Read a model from a `.keras` or `.h5` file, of minicnn or of Keras 3.

    Args:
        filepath: a path, or an open binary file.
        custom_objects: name -> class or function, for what the file names and minicnn does not know.
        compile: whether to compile it as it was, with the optimizer's state.
        safe_mode: False lets the file bring the code of a `Lambda` layer's Python lambda, and is for files that you trust.
            minicnn loads no other code.

    Raises:
        FileFormatError: (a ValueError) if the file is no such file, is damaged, or names what minicnn does not have.
    """
    if not isinstance(filepath, io.IOBase):
        _check_is_file(str(filepath))
        if str(filepath).endswith(_LEGACY):
            with reading(filepath):
                return _load_legacy_model(str(filepath), custom_objects, compile, safe_mode)
    with reading(filepath), open_archive(filepath) as archive:
        config = read_archived_config(archive)
        if not compile:
            config["compile_config"] = None
        model = _model_of(config, filepath, weights_size(archive), custom_objects, safe_mode)
        model.input_range = read_archived_range(archive)
        if model.built:
            read_archived_weights(archive, model)
    return model


def _load_legacy_model(path: str, custom_objects: dict[str, Any] | None, compile: bool, safe_mode: bool) -> Any:
    config, compile_config = read_legacy_config(path)
    config["compile_config"] = compile_config if compile else None
    model = _model_of(config, path, os.path.getsize(path), custom_objects, safe_mode)
    if model.built:
        read_legacy_weights(model, path)
        if model.compiled:
            read_legacy_optimizer(model, path)
    return model


def _model_of(config: dict[str, Any], source: Any, size: int, custom_objects: dict[str, Any] | None, safe_mode: bool) -> Any:
    """The model that a configuration describes, whose weights a file holds in `size` bytes."""
    try:
        # Every weight stands in the file: a configuration that asks for much more is no model's.
        with variables.limit_bytes(2**24 + 8 * size):
            model = deserialize_keras_object(config, custom_objects, safe_mode)
    except ValueError:
        raise
    except Exception as error:  # a configuration of the wrong kinds makes a layer fail in any way
        raise ValueError(f"{source} describes no model that minicnn can make: {type(error).__name__}: {error}") from error
    if not hasattr(model, "get_compile_config"):
        raise ValueError(f"{source} describes no model. Received: {config.get('class_name')!r}")
    return model


def _check_is_file(path: str) -> None:
    if not path.endswith((".keras", *_LEGACY)):
        raise ValueError(
            f"File format not supported: filepath={path}. minicnn only supports V3 `.keras` files and legacy H5 format files "
            "(`.h5` extension)."
        )
    if not os.path.isfile(path):
        raise ValueError(f"File not found: filepath={path}. Please ensure the file is an accessible file.")


def save_weights(model: Any, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
    """Write a model's variables, and its optimizer's, to a `.weights.h5` file that Keras 3 reads.

    An ending in `.h5` or `.hdf5` alone is that of older programs, and gives the layers' weights in the older form.

    Raises:
        ValueError: for another ending, or a model without weights yet.
    """
    if kwargs:
        raise ValueError(f"The following argument(s) are not supported: {list(kwargs)}")
    path = str(filepath)
    if not path.endswith(_LEGACY):
        raise ValueError(f"The filename must end in `.weights.h5`. Received: filepath={filepath}")
    _require_built(model, "You are saving a model")
    if may_write(path, overwrite):
        with replacing(path) as file:
            file.write(weights_bytes(model) if path.endswith(".weights.h5") else legacy_weights_bytes(model, _KERAS_VERSION))


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
    """Set a model's variables from a `.weights.h5`, `.keras` or older `.h5` file; it stays as it was if that fails.

    From the first two a compiled model also gets the optimizer's state, and the seed its samples
    are shuffled with.

    Args:
        skip_mismatch: leave alone the layers that the file does not fit, with a warning.
        by_name: for `.h5` files: match layers by name, not by order.
    """
    path = str(filepath)
    legacy = path.endswith(_LEGACY) and not path.endswith(".weights.h5")
    by_name = kwargs.pop("by_name", None)
    if by_name is not None and not legacy:
        raise ValueError(f"`by_name` only supports loading legacy '.h5' or '.hdf5' files. Received: {path}")
    if legacy and skip_mismatch:
        raise ValueError(f"`skip_mismatch` is not supported for legacy '.h5' files. Received: {path}")
    if kwargs:
        raise ValueError(f"Invalid keyword arguments: {kwargs}")
    if not path.endswith((".weights.h5", ".keras", *_LEGACY)):
        raise ValueError(
            f"File format not supported: filepath={path}. minicnn only supports V3 `.keras` files, `.weights.h5` files and "
            "legacy H5 format files (`.h5` extension)."
        )
    if not os.path.isfile(path):
        raise FileNotFoundError(f"No such file: filepath={path}")
    _require_built(model, "You are loading weights into a model")
    if legacy:
        read_legacy_weights(model, path, bool(by_name))
    elif path.endswith(".weights.h5"):
        read_weights(model, path, path, skip_mismatch)
    else:
        with contextlib.ExitStack() as stack:
            with reading(path):
                archive = stack.enter_context(open_archive(path))
            read_archived_weights(archive, model, skip_mismatch)


def _require_built(model: Any, what: str) -> None:
    # A class that only its `train_step` calls, such as a GAN, has its weights in the models that it holds.
    parts = getattr(model, "_held_layers", [])
    if not model.built and not (parts and all(part.built for part in parts)):
        raise ValueError(
            f"{what} that has not yet been built. "
            "Try building the model first by calling it on some data or by using `build()`."
        )
