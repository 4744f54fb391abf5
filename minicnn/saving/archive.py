"""Keras 3's `.keras` archives: a zip of a configuration and a weights file."""

from __future__ import annotations

import datetime
import io
import json
import warnings
import zipfile
from typing import Any

from minicnn.saving.objects import LARGEST_CONFIG, parse_config, serialize_keras_object
from minicnn.saving.weights_file import expected_bytes, read_weights, saved_objects, weights_bytes
from minicnn.untrusted import open_zip, reading

__all__ = [
    "archive_bytes",
    "open_archive",
    "read_archived_config",
    "read_archived_range",
    "read_archived_weights",
    "weights_size",
]

_METADATA, _CONFIG, _WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
_RANGE = "minicnn_input_range"


def archive_bytes(model: Any, keras_version: str) -> memoryview:
    """The archive of a model."""
    metadata: dict[str, Any] = {
        "keras_version": keras_version,
        "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
    }
    if model.input_range is not None:  # Keras reads nothing from here
        metadata[_RANGE] = [float(end) for end in model.input_range]
    for path, part in saved_objects(model):
        if hasattr(part, "save_assets"):
            warnings.warn(
                f"What `save_assets` of {path or type(part).__name__} writes is not saved: a `.keras` file of minicnn's holds "
                "a configuration and variables. Text can stand in `get_config`, arrays in `save_own_variables`.",
                stacklevel=4,
            )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(_METADATA, json.dumps(metadata))
        archive.writestr(_CONFIG, json.dumps(serialize_keras_object(model)))
        archive.writestr(_WEIGHTS, weights_bytes(model))
    return buffer.getbuffer()


def open_archive(file: Any) -> zipfile.ZipFile:
    """The archive, if it holds what a `.keras` file holds and nothing else."""
    try:
        archive = open_zip(file, most_members=3)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{file} is not a `.keras` zip file, or it is damaged: {error}") from None
    members = sorted(archive.namelist())
    if members not in ([_CONFIG, _METADATA, _WEIGHTS], [_CONFIG, _WEIGHTS]):
        archive.close()
        raise ValueError(f"Expected the members {_METADATA}, {_CONFIG} and {_WEIGHTS} in {file}. Received: {members[:10]}")
    return archive


def read_archived_config(archive: zipfile.ZipFile) -> dict[str, Any]:
    """The configuration of the model in an archive."""
    return parse_config(_read_member(archive, _CONFIG, LARGEST_CONFIG), f"'{_CONFIG}' in {archive.filename}")


def read_archived_range(archive: zipfile.ZipFile) -> tuple[float, float] | None:
    """The `input_range` of the model in an archive; None where the file tells none."""
    if _METADATA not in archive.namelist():
        return None
    source = f"'{_METADATA}' in {archive.filename}"
    found = parse_config(_read_member(archive, _METADATA, LARGEST_CONFIG), source).get(_RANGE)
    if found is None:
        return None
    if not isinstance(found, list) or found not in ([0, 1], [0, 255]):
        raise ValueError(f"{source}: the range of input should be [0, 1] or [0, 255]. Received: {str(found)[:80]}")
    return float(found[0]), float(found[1])


def read_archived_weights(archive: zipfile.ZipFile, model: Any, skip_mismatch: bool = False) -> None:
    """Set a model's variables from an archive; see `read_weights`."""
    weights = _read_member(archive, _WEIGHTS, expected_bytes(model))
    read_weights(model, io.BytesIO(weights), f"'{_WEIGHTS}' in {archive.filename}", skip_mismatch)


def weights_size(archive: zipfile.ZipFile) -> int:
    """Bytes of the weights in an archive, as it claims."""
    return archive.getinfo(_WEIGHTS).file_size


def _read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    with reading(f"'{name}' in {archive.filename}"):
        size = archive.getinfo(name).file_size
        if size > limit:
            raise ValueError(f"it has {size} bytes; at most {limit} are possible for this model.")
        return archive.read(name)
