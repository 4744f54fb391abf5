"""Whole models as Keras 3's `.keras` archives, and weights as `.weights.h5`."""

from __future__ import annotations

import datetime
import io
import json
import os
import warnings
import zipfile
import zlib
from typing import Any

from minicnn import variables
from minicnn.saving.atomic import may_write, replacing
from minicnn.saving.objects import deserialize_keras_object, parse_config, serialize_keras_object
from minicnn.saving.weights_file import expected_bytes, read_weights, weights_bytes

__all__ = ["load_model", "load_weights", "save_model", "save_weights"]

_FORMAT_VERSION = "3.15.1"  # the Keras whose files these are compared with
_METADATA, _CONFIG, _WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
_LARGEST_CONFIG = 2**24  # bytes; a model of a thousand layers takes about one million


def save_model(model: Any, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any) -> None:
    """Write a model to a `.keras` file: configuration, weights, compile settings, optimizer state.

    Keras 3 reads the file. An older file stays until the new one is complete.

    Args:
        filepath: ends in ".keras"; or an open binary file.
        overwrite: False asks before an existing file is replaced.
    """
    kwargs.pop("include_optimizer", None)
    kwargs.pop("save_format", None)
    if kwargs:
        raise ValueError(f"The following argument(s) are not supported: {list(kwargs)}")
    if zipped is False:
        raise ValueError("`zipped=False` is not supported: minicnn writes models as one `.keras` file.")
    if not isinstance(filepath, io.IOBase) and not str(filepath).endswith(".keras"):
        raise ValueError(
            "Invalid filepath extension for saving. Please add a `.keras` extension for the native Keras format; minicnn does "
            f"not write HDF5 whole-model files or SavedModels. Received: filepath={filepath}."
        )
    if not model.built:
        warnings.warn(
            "You are saving a model that has not yet been built. It might not contain any weights yet. "
            "Consider building the model first by calling it on some data.",
            stacklevel=2,
        )
    if isinstance(filepath, io.IOBase):
        filepath.write(_archive(model))
    elif may_write(str(filepath), overwrite):
        with replacing(filepath) as file:
            file.write(_archive(model))


def _archive(model: Any) -> memoryview:
    metadata = {"keras_version": _FORMAT_VERSION, "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(_METADATA, json.dumps(metadata))
        archive.writestr(_CONFIG, json.dumps(serialize_keras_object(model)))
        archive.writestr(_WEIGHTS, weights_bytes(model))
    return buffer.getbuffer()


def load_model(
    filepath: Any, custom_objects: dict[str, Any] | None = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """Read a model from a `.keras` file, of minicnn or of Keras 3.

    Args:
        filepath: a path, or an open binary file.
        custom_objects: name -> class or function, for what the file names and minicnn does not know.
        compile: whether to compile it as it was, with the optimizer's state.
        safe_mode: accepted for Keras's sake: minicnn loads no code either way.

    Raises:
        ValueError: if the file is no such archive, is damaged, or names what minicnn does not have.
    """
    if not isinstance(filepath, io.IOBase):
        _check_path(str(filepath))
    with _open_archive(filepath) as archive:
        source = f"'{_CONFIG}' in {filepath}"
        config = parse_config(_read_member(archive, _CONFIG, _LARGEST_CONFIG), source)
        if not compile:
            config["compile_config"] = None
        try:
            # Every weight stands in the archive: a configuration that asks for much more is no model's.
            with variables.limit_bytes(2**26 + 8 * archive.getinfo(_WEIGHTS).file_size):
                model = deserialize_keras_object(config, custom_objects)
        except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError) as error:
            raise ValueError(f"{source} describes no model that minicnn can make: {type(error).__name__}: {error}") from error
        if not hasattr(model, "get_compile_config"):
            raise ValueError(f"{source} describes no model. Received: {config.get('class_name')!r}")
        if model.built:
            weights = _read_member(archive, _WEIGHTS, expected_bytes(model))
            read_weights(model, io.BytesIO(weights), f"'{_WEIGHTS}' in {filepath}")
    return model


def _check_path(path: str) -> None:
    if path.endswith((".h5", ".hdf5")):
        raise ValueError(
            f"File format not supported: filepath={path}. minicnn reads V3 `.keras` files, not legacy H5 whole-model files. "
            "Load it with Keras and save it with a `.keras` extension."
        )
    if not path.endswith(".keras"):
        raise ValueError(f"File format not supported: filepath={path}. minicnn only supports V3 `.keras` files.")
    if not os.path.isfile(path):
        raise ValueError(f"File not found: filepath={path}. Please ensure the file is an accessible `.keras` zip file.")


def _open_archive(file: Any) -> zipfile.ZipFile:
    """The archive, if it holds what a `.keras` file holds and nothing else."""
    try:
        archive = zipfile.ZipFile(file, "r")
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{file} is not a `.keras` zip file, or it is damaged: {error}") from None
    members = sorted(archive.namelist())
    if members not in ([_CONFIG, _METADATA, _WEIGHTS], [_CONFIG, _WEIGHTS]):
        archive.close()
        raise ValueError(f"Expected the members {_METADATA}, {_CONFIG} and {_WEIGHTS} in {file}. Received: {members[:10]}")
    return archive


def _read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    size = archive.getinfo(name).file_size
    if size > limit:
        raise ValueError(f"'{name}' in {archive.filename} has {size} bytes; at most {limit} are possible for this model.")
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise ValueError(f"'{name}' in {archive.filename} is damaged: {error}") from None


def save_weights(model: Any, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
    """Write a model's variables, and its optimizer's, to a `.weights.h5` file that Keras 3 reads.

    Raises:
        ValueError: for another ending, or a model without weights yet.
    """
    if kwargs:
        raise ValueError(f"The following argument(s) are not supported: {list(kwargs)}")
    if not str(filepath).endswith(".weights.h5"):
        raise ValueError(f"The filename must end in `.weights.h5`. Received: filepath={filepath}")
    _require_built(model, "You are saving a model")
    if may_write(str(filepath), overwrite):
        with replacing(filepath) as file:
            file.write(weights_bytes(model))


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
    """Set a model's variables from a `.weights.h5` or `.keras` file; it stays as it was if that fails.

    A compiled model also gets the optimizer's state, and the seed its samples are shuffled with.

    Args:
        skip_mismatch: leave alone the layers that the file does not fit, with a warning.
    """
    path = str(filepath)
    if kwargs.pop("by_name", None):
        raise ValueError(f"`by_name` only supports loading legacy '.h5' or '.hdf5' files. Received: {path}")
    if kwargs:
        raise ValueError(f"Invalid keyword arguments: {kwargs}")
    if not path.endswith((".weights.h5", ".keras")):
        raise ValueError(
            f"File format not supported: filepath={path}. minicnn only supports V3 `.keras` files and `.weights.h5` files."
        )
    if not os.path.isfile(path):
        raise FileNotFoundError(f"No such file: filepath={path}")
    _require_built(model, "You are loading weights into a model")
    if path.endswith(".weights.h5"):
        read_weights(model, path, path, skip_mismatch)
        return
    with _open_archive(path) as archive:
        weights = _read_member(archive, _WEIGHTS, expected_bytes(model))
    read_weights(model, io.BytesIO(weights), f"'{_WEIGHTS}' in {path}", skip_mismatch)


def _require_built(model: Any, what: str) -> None:
    if not model.built:
        raise ValueError(
            f"{what} that has not yet been built. "
            "Try building the model first by calling it on some data or by using `build()`."
        )
