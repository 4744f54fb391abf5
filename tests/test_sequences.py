"""Padded sequences and sliding windows, against Keras's."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from minicnn.data import Dataset
from minicnn.utils import pad_sequences, timeseries_dataset_from_array

RANDOM = np.random.default_rng(4)
LISTS = [[1], [2, 3, 4, 5], [], [6, 7]]
ROWS = [RANDOM.normal(size=(n, 2)) for n in (3, 1, 4)]


@pytest.mark.parametrize(
    ("sequences", "named"),
    [
        (LISTS, {}),
        (LISTS, {"maxlen": 3}),
        (LISTS, {"maxlen": 3, "padding": "post", "truncating": "post", "value": -1}),
        (LISTS, {"maxlen": 3, "padding": "post", "dtype": "float32", "value": 0.5}),
        (LISTS, {"maxlen": 6, "truncating": "post"}),
        (ROWS, {"maxlen": 3, "dtype": "float64"}),
        ([["a", "bc"], ["d"]], {"dtype": object, "value": "."}),
    ],
)
def test_padding_is_keras_s(sequences: Any, named: dict[str, Any]) -> None:
    ours, theirs = pad_sequences(sequences, **named), keras.utils.pad_sequences(sequences, **named)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_nothing_is_kept_of_rows_without_length() -> None:
    """Where Keras keeps the whole sequence, and fails."""
    assert pad_sequences(LISTS, maxlen=0).shape == (4, 0)
    assert pad_sequences([]).shape == (0, 0)
    assert pad_sequences([[], []]).shape == (2, 0)


@pytest.mark.parametrize(
    ("sequences", "named", "said"),
    [
        (3, {}, "`sequences` must be iterable"),
        ([1, 2], {}, "Found non-iterable: 1"),
        ([[1]], {"padding": "before"}, 'Padding type "before"'),
        ([[1]], {"truncating": "after"}, 'Truncating type "after"'),
        ([[1]], {"value": "."}, "not compatible with `value`'s type"),
        ([np.ones((2, 2)), np.ones((2, 3))], {}, "of sequence at position 1 is different"),
    ],
)
def test_padding_refuses(sequences: Any, named: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pad_sequences(sequences, **named)


DATA = RANDOM.normal(size=(40, 3)).astype("float32")


@pytest.mark.parametrize(
    ("named", "has_targets"),
    [
        ({"sequence_length": 5}, True),
        ({"sequence_length": 4, "sequence_stride": 3, "sampling_rate": 2, "batch_size": 3}, True),
        ({"sequence_length": 4, "sampling_rate": 3, "start_index": 5, "end_index": 31}, True),
        ({"sequence_length": 7, "sequence_stride": 2, "batch_size": None, "end_index": 20}, False),
        ({"sequence_length": 1, "start_index": 0, "end_index": 1}, False),
    ],
)
def test_windows_are_keras_s(named: dict[str, Any], has_targets: bool) -> None:
    targets = np.arange(35) if has_targets else None
    ours = timeseries_dataset_from_array(DATA, targets, **named)
    theirs = keras.utils.timeseries_dataset_from_array(DATA, targets, **named)
    for one, other in zip(ours, theirs.as_numpy_iterator(), strict=True):
        for a, b in zip(one, other, strict=True) if has_targets else [(one, other)]:
            np.testing.assert_array_equal(a, b)


def test_windows_in_another_order_each_pass_and_with_their_targets() -> None:
    x = np.arange(30)
    dataset = timeseries_dataset_from_array(x, x * 10, sequence_length=2, shuffle=True, seed=3, batch_size=8)
    assert isinstance(dataset, Dataset)
    passes = []
    for _ in range(2):
        batches = list(dataset)
        windows, targets = (np.concatenate([np.asarray(batch[i]) for batch in batches]) for i in (0, 1))
        np.testing.assert_array_equal(windows[:, 0] * 10, targets)
        np.testing.assert_array_equal(np.sort(windows[:, 1]), x[1:])
        passes.append(windows[:, 0].tolist())
    assert passes[0] != passes[1] != sorted(passes[1])
    assert max(passes[0][:8]) > 16  # of all windows, not of the next few
    first_batches = [
        next(iter(timeseries_dataset_from_array(x, None, 2, shuffle=True, seed=seed)))[:, 0].tolist() for seed in (3, 3, 4)
    ]
    assert passes[0] == first_batches[0] == first_batches[1] != first_batches[2]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"start_index": -1}, "`start_index` must be 0 or greater"),
        ({"start_index": 40}, "`start_index` must be lower"),
        ({"start_index": 9, "end_index": 9}, "higher than `start_index`"),
        ({"end_index": 40}, "`end_index` must be lower"),
        ({"end_index": 0}, "`end_index` must be higher than 0"),
        ({"sampling_rate": 0}, "`sampling_rate` must be higher than 0"),
        ({"sequence_stride": 40}, "`sequence_stride` must be lower"),
        ({"format": "grain"}, '`format` should be "tf"'),
        ({"sequence_length": 41}, "No window of sequence_length=41"),
    ],
)
def test_windows_refuse(named: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        timeseries_dataset_from_array(DATA, None, **{"sequence_length": 3} | named)
