"""Sequences: of several lengths made one array, and windows that slide over a long one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn.data.dataset import Dataset

__all__ = ["pad_sequences", "timeseries_dataset_from_array"]


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Sequences of several lengths as rows of one array.

    Args:
        sequences: of numbers, or of arrays of one shape.
        maxlen: how long rows are; as the longest sequence by default.
        dtype: of the array; object for texts.
        padding, truncating: where `value` is filled in, and where is cut what is too long: "pre", at the beginning, or "post".

    Returns:
        (sequences, maxlen, ...).

    Raises:
        ValueError: for what is no list of sequences, sequences of unlike things, and other words than "pre" and "post".

    Examples:
        >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2)
        array([[0, 1],
               [2, 3],
               [5, 6]], dtype=int32)
    """
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"`sequences` must be iterable. Received: sequences={sequences}")
    for argument, given in (("Padding", padding), ("Truncating", truncating)):
        if given not in ("pre", "post"):
            raise ValueError(f'{argument} type "{given}" not understood: it must be "pre" or "post"')
    for one in sequences:
        if not hasattr(one, "__len__"):
            raise ValueError(f"`sequences` must be a list of iterables. Found non-iterable: {one}")
    kind = np.dtype(dtype)
    if isinstance(value, str) and kind.kind not in "OUS":
        raise ValueError(
            f"`dtype` {dtype} is not compatible with `value`'s type: {type(value)}. You should set `dtype=object` for texts."
        )
    length = max(map(len, sequences), default=0) if maxlen is None else maxlen
    shape = next((np.shape(one)[1:] for one in sequences if len(one)), ())
    rows = np.full((len(sequences), length, *shape), value, dtype=kind)
    for place, one in enumerate(sequences):
        kept = np.asarray(one[max(len(one) - length, 0) :] if truncating == "pre" else one[:length], dtype=kind)
        if not len(kept):
            continue
        if kept.shape[1:] != shape:
            raise ValueError(
                f"Shape of sample {kept.shape[1:]} of sequence at position {place} is different from expected shape {shape}"
            )
        if padding == "pre":
            rows[place, length - len(kept) :] = kept
        else:
            rows[place, : len(kept)] = kept
    return rows


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Dataset:
    """Windows that slide over an array, and the target of each. No window is copied before its batch is made.

    Args:
        data: time along the first axis.
        targets: that of the window which begins at data[i] is targets[i]; None for windows alone.
        sequence_length: how many steps a window has. sequence_stride: from one window's begin to the next one's.
        sampling_rate: from one step of a window to the next.
        batch_size: None for single windows. shuffle, seed: as of `Dataset.shuffle`, anew in each pass.
        start_index, end_index: the part of `data` and `targets` that is used.
        format: "tf", Keras's word for a data set in the manner of `tf.data`.

    Raises:
        ValueError: for a part, a stride or a rate that the data have not (Keras's wording).

    Examples:
        >>> x = np.arange(20)
        >>> for windows, following in timeseries_dataset_from_array(x[:-3], x[3:], sequence_length=3, batch_size=2).take(1):
        ...     print(windows.tolist(), following.tolist())
        [[0, 1, 2], [1, 2, 3]] [3, 4]
    """
    if format != "tf":
        raise ValueError(f'`format` should be "tf": minicnn has `Dataset` alone. Received: format={format}')
    data = np.asarray(data)
    _check_part(len(data), start_index, end_index)
    for name, step in (("sampling_rate", sampling_rate), ("sequence_stride", sequence_stride)):
        if step <= 0:
            raise ValueError(f"`{name}` must be higher than 0. Received: {name}={step}")
        if step >= len(data):
            raise ValueError(
                f"`{name}` must be lower than the length of the data. Received: {name}={step}, for data of length {len(data)}"
            )
    part = slice(start_index or 0, end_index or len(data))
    steps = data[part]
    # A window from its first step to its last; how many Keras counts leaves out those that end within the last `rate` steps.
    count = len(steps) - (sequence_length - 1) * sampling_rate
    if targets is not None:
        count = min(count, len(targets))
    if count < 1:
        raise ValueError(
            f"No window of sequence_length={sequence_length}, sampling_rate={sampling_rate} fits into {len(steps)} steps"
        )
    windows = np.lib.stride_tricks.sliding_window_view(steps, (sequence_length - 1) * sampling_rate + 1, axis=0)
    windows = np.moveaxis(windows[:count:sequence_stride, ..., ::sampling_rate], -1, 1)
    slices = windows if targets is None else (windows, np.asarray(targets)[part][:count:sequence_stride])
    dataset = Dataset.from_tensor_slices(slices)
    if shuffle:
        dataset = dataset.shuffle(len(windows), seed=seed)
    return dataset if batch_size is None else dataset.batch(batch_size)


def _check_part(length: int, start: int | None, end: int | None) -> None:
    """Raise ValueError unless these are places in data of this length (Keras's wording)."""
    if start and start < 0:
        raise ValueError(f"`start_index` must be 0 or greater. Received: start_index={start}")
    if start and start >= length:
        raise ValueError(
            "`start_index` must be lower than the length of the data. "
            f"Received: start_index={start}, for data of length {length}"
        )
    if end and start and end <= start:
        raise ValueError(f"`end_index` must be higher than `start_index`. Received: start_index={start}, and end_index={end}")
    if end and end >= length:
        raise ValueError(
            f"`end_index` must be lower than the length of the data. Received: end_index={end}, for data of length {length}"
        )
    if end is not None and end <= 0:
        raise ValueError(f"`end_index` must be higher than 0. Received: end_index={end}")
