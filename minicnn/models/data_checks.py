"""Data as a user gives them, checked and made into lists of arrays in the order of a model's inputs and outputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn import backends, config

__all__ = [
    "Batch",
    "apply_class_weight",
    "as_arrays",
    "as_batch",
    "check_finite",
    "check_lengths",
    "names_in",
    "split_validation",
    "unpack",
]

Batch = tuple[list[Any], list[Any] | None, list[Any] | None]  # x, y, sample_weight

_CHUNK = 1 << 22  # elements looked at in one go when a whole data set is checked


def as_arrays(data: Any, names: list[str], what: str, dtype: str | None = None) -> list[np.ndarray] | None:
    """`data` (array, list or dict of arrays, frames, tensors) as one array per name.

    Raises:
        ValueError: if names are missing, there are too many arrays, or they are not where the backend can read them.
    """
    if data is None:
        return None
    if isinstance(data, dict):
        missing = [name for name in names if name not in data]
        if missing:
            raise ValueError(
                f'Missing data for {what} "{missing[0]}". You passed a data dictionary with keys {list(data)}. '
                f"Expected: {names}"
            )
        parts = [data[name] for name in names]
    elif len(names) > 1:
        if not isinstance(data, (list, tuple)) or len(data) != len(names):
            count = len(data) if isinstance(data, (list, tuple)) else 1
            raise ValueError(f"The model has {len(names)} {what}s {names}, but received {count} array(s).")
        parts = list(data)
    elif isinstance(data, (list, tuple)) and len(data) == 1 and hasattr(data[0], "shape") and len(data[0].shape) > 0:
        parts = list(data)
    else:
        parts = [data]
    arrays = []
    for name, part in zip(names, parts):
        if part is None:
            raise ValueError(f"No data for {what} '{name}'.")
        if hasattr(part, "__cuda_array_interface__") and not backends.on_device():
            raise ValueError(
                f"Data for {what} '{name}' lie on a GPU, and the backend '{backends.backend()}' computes on the CPU. "
                'Choose `minicnn.set_backend("cupy")`, or copy them to the host.'
            )
        array = part if isinstance(part, np.ndarray) or hasattr(part, "__cuda_array_interface__") else np.asarray(part)
        if array.dtype == object or array.dtype.kind not in "biuf":
            raise ValueError(f"Data for {what} '{name}' cannot be used: expected numbers, received dtype={array.dtype}.")
        if array.ndim == 0:
            raise ValueError(f"Data for {what} '{name}' is a scalar; expected an array whose first axis counts samples.")
        arrays.append(array)
    return arrays


def names_in(data: Any, known: list[str] | None, name: str) -> list[str]:
    """The names of a model's inputs or outputs; those that the data's structure suggests, where the model has none yet."""
    if known:
        return known
    if isinstance(data, dict):
        return list(data)
    if isinstance(data, (list, tuple)) and len(data) > 1 and all(hasattr(item, "shape") for item in data):
        return [f"{name}{i}" for i in range(len(data))]
    return [name]


def with_unread(y: Any, names: list[str], unread: list[str], size: int) -> Any:
    """Targets as a list, with zeros (N,) for those that nobody reads, of which the data need hold none.

    Args:
        y: the targets of all outputs, or of those that are read alone. unread: outputs without a loss and a metric.
    """
    read = [name for name in names if name not in unread]
    parts = y if isinstance(y, (dict, list, tuple)) else [y]
    if not isinstance(parts, dict):
        known = names if len(parts) == len(names) else read
        if len(parts) != len(known):
            return y
        parts = dict(zip(known, parts))
    elif any(name not in parts for name in read):
        return y
    return [np.zeros(size, "float32") if name in unread and parts.get(name) is None else parts[name] for name in names]


def as_batch(x: Any, y: Any, sample_weight: Any, names: tuple[list[str], list[str], list[str]]) -> Batch:
    """Data, of one batch or a whole set, as arrays in the order of the model's inputs and outputs.

    Args:
        names: of the inputs; of the outputs; of the outputs whose targets nobody reads.

    Raises:
        ValueError: for data that are missing, of no samples or of different numbers of them, and for NaN pixels.
    """
    inputs, outputs, unread = names_in(x, names[0], "x"), names_in(y, names[1], "y"), names[2]
    weight_names = outputs if isinstance(sample_weight, (list, tuple, dict)) else ["sample_weight"]
    arrays_x = as_arrays(x, inputs, "input")
    assert arrays_x is not None
    if unread and y is not None:
        y = with_unread(y, outputs, unread, len(arrays_x[0]))
    arrays_y, weights = as_arrays(y, outputs, "output"), as_arrays(sample_weight, weight_names, "sample_weight")
    check_lengths(arrays_x, arrays_y, weights)
    check_finite(arrays_x, inputs, "input")
    return arrays_x, arrays_y, weights


def check_lengths(x: list[Any] | None, y: list[Any] | None, weights: list[Any] | None) -> int:
    """The common number of samples.

    Raises:
        ValueError: if the numbers differ or are 0 (Keras's wording).
    """
    groups = [("x", x), ("y", y), ("sample_weight", weights)]
    sizes = {len(array) for _, arrays in groups for array in arrays or []}
    if len(sizes) > 1:
        listing = "".join(f"'{name}' sizes: {', '.join(str(len(a)) for a in arrays)}\n" for name, arrays in groups if arrays)
        raise ValueError(
            f"Data cardinality is ambiguous. Make sure all arrays contain the same number of samples.{listing}".rstrip()
        )
    size = sizes.pop()
    if size == 0:
        raise ValueError("Expected data with at least one sample. Received empty arrays: 'x' has 0 samples.")
    return size


def check_finite(arrays: list[Any], names: list[str], what: str) -> None:
    """Raise ValueError, naming the input and the sample, where float data hold a NaN or an infinity."""
    for name, array in zip(names, arrays):
        if array.dtype.kind != "f" or array.size == 0:
            continue
        rows = max(1, _CHUNK // max(1, array[0].size))
        for start in range(0, len(array), rows):
            part = array[start : start + rows]
            with np.errstate(over="ignore", invalid="ignore"):  # a sum of finite numbers may overflow: then look closer
                if math.isfinite(float(part.sum())):
                    continue
            finite = np.isfinite(backends.to_numpy(part))
            if not finite.all():
                place = tuple(int(i) for i in np.argwhere(~finite)[0])
                value = float(part[place])
                raise ValueError(
                    f"Data for {what} '{name}' must be finite. Received {value} in sample {start + place[0]}, at "
                    f"position {place[1:]}. "
                    "Clean the data first, for example with `numpy.nan_to_num`."
                )


def split_validation(arrays: tuple[Any, Any, Any], fraction: float) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """The last `fraction` of the samples as validation data (before any shuffling), as Keras does."""
    if not 0 < fraction < 1:
        raise ValueError(f"`validation_split` must be between 0 and 1, excluded. Received: validation_split={fraction}")

    def first_of(data: Any) -> Any:
        while isinstance(data, (list, tuple, dict)):
            data = next(iter(data.values())) if isinstance(data, dict) else data[0]
        return data

    if not hasattr(first_of(arrays[0]), "__len__") or not hasattr(first_of(arrays[0]), "shape"):
        raise ValueError(
            "Argument `validation_split` is only supported for tensors or NumPy arrays. "
            f"Received: x of type {type(arrays[0]).__name__}"
        )
    size = len(first_of(arrays[0]))
    at = math.floor(size * (1 - fraction))
    if at == 0 or at == size:
        raise ValueError(
            f"Training data contains {size} samples, which is not sufficient to split it into a validation and training set "
            f"as specified by `validation_split={fraction}`. Either provide more data, or a different value for the "
            "`validation_split` argument."
        )

    def cut(data: Any, part: slice) -> Any:
        if data is None:
            return None
        if isinstance(data, dict):
            return {key: cut(value, part) for key, value in data.items()}
        if isinstance(data, (list, tuple)) and len(data) != size:
            return [cut(value, part) for value in data]
        return np.asarray(data)[part] if not hasattr(data, "iloc") else data.iloc[part]

    before, after = slice(0, at), slice(at, size)
    train, validation = (tuple(cut(data, part) for data in arrays) for part in (before, after))
    return train, validation


def apply_class_weight(
    class_weight: dict[int, float], y: list[Any] | None, weights: list[Any] | None, output_rank: int
) -> list[Any]:
    """Sample weights from class weights: the label's, or the hot column's (1 for a class that is not listed).

    Args:
        class_weight: {class: factor}.
        y: the targets: labels, also with a last axis of one, or one-hot rows of the output's rank. Of an output
            (N, ..., C) each position has a weight of its own.
        weights: given sample weights, which are multiplied, or None.
        output_rank: axes of the model's output.
    """
    if y is None or len(y) != 1:
        raise ValueError("`class_weight` is only supported for Models with a single output.")
    target = np.asarray(backends.to_numpy(y[0]))
    if target.ndim > 1 and target.shape[-1] == 1:
        target = target[..., 0]
    elif target.ndim > 1 and target.ndim == output_rank:
        target = np.argmax(target, axis=-1)
    classes, places = np.unique(np.round(target).astype(np.int64), return_inverse=True)
    factors = np.array([class_weight.get(int(label), 1.0) for label in classes], config.floatx())[places.reshape(target.shape)]
    if weights is None:
        return [factors]
    given = np.asarray(backends.to_numpy(weights[0]), config.floatx())
    if given.ndim > 1 and given.shape[-1] == 1:
        given = given[..., 0]
    rank = max(given.ndim, factors.ndim)
    given, factors = (array.reshape(array.shape + (1,) * (rank - array.ndim)) for array in (given, factors))
    return [given * factors]


def unpack(data: Any) -> tuple[Any, Any, Any]:
    """What stands for a batch or for validation data as (x, y, sample_weight), None for what is not there.

    Raises:
        ValueError: for a tuple or list of more than three (Keras's wording).
    """
    parts: tuple[Any, ...] = tuple(data) if isinstance(data, (list, tuple)) else (data,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            "Data is expected to be in format `x`, `(x,)`, `(x, y)`, or `(x, y, sample_weight)`, found a tuple of "
            f"{len(parts)}."
        )
    x, y, sample_weight = (*parts, None, None)[:3]
    return x, y, sample_weight
