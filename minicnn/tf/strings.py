"""TensorFlow's `tf.strings`, for arrays of texts: what lookups of labels need, each text by itself, by Python's methods."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn.tensor import as_tensor

__all__ = ["STRINGS"]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _each(function: Callable[[str], Any], values: Any, dtype: Any = str) -> Any:
    """An array of `function` of each text."""
    array = np.asarray(values)
    return as_tensor(np.array([function(_text(one)) for one in array.reshape(-1).tolist()], dtype).reshape(array.shape))


def _rows(function: Callable[[str], list[Any]], values: Any, dtype: Any = str) -> Any:
    """Of one text a list of parts; of several a row each, which must be of one length.

    Raises:
        ValueError: for rows of several lengths, which TensorFlow has as ragged tensors.
    """
    array = np.asarray(values)
    rows = [function(_text(one)) for one in array.reshape(-1).tolist()]
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(
            f"minicnn has no ragged tensors: texts must have as many parts each. Received: {sorted(lengths)} parts"
        )
    return as_tensor(np.array(rows, dtype).reshape(*array.shape, *lengths))


def unicode_split(input: Any, input_encoding: str = "UTF-8") -> Any:
    """The characters of a text."""
    return _rows(list, input)


def bytes_split(input: Any) -> Any:
    """The bytes of a text, each as a text."""
    return _rows(lambda text: [chr(byte) for byte in text.encode()], input)


def unicode_decode(input: Any, input_encoding: str = "UTF-8") -> Any:
    """The code points of a text's characters, int32."""
    return _rows(lambda text: [ord(character) for character in text], input, "int32")


def unicode_encode(input: Any, output_encoding: str = "UTF-8") -> Any:
    """Texts of code points, along the last axis."""
    points = np.asarray(input)
    texts = ["".join(map(chr, row)) for row in points.reshape(-1, points.shape[-1]).tolist()]
    return as_tensor(np.array(texts, str).reshape(points.shape[:-1]))


def split(input: Any, sep: str | None = None, maxsplit: int = -1) -> Any:
    """The parts of a text between separators, by default white space."""
    return _rows(lambda text: text.split(sep or None, maxsplit), input)


def join(inputs: Any, separator: str = "") -> Any:
    """Texts of the same places of several arrays, one behind the other."""
    arrays = np.broadcast_arrays(*(np.asarray(one) for one in inputs))
    texts = [separator.join(map(_text, parts)) for parts in zip(*(one.reshape(-1).tolist() for one in arrays))]
    return as_tensor(np.array(texts, str).reshape(arrays[0].shape))


def reduce_join(inputs: Any, axis: int | None = None, keepdims: bool = False, separator: str = "") -> Any:
    """The texts along an axis (of all, by default) one behind the other."""
    array = np.asarray(inputs)
    rows = array.reshape(1, -1) if axis is None else np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])
    shape = () if axis is None else np.delete(array.shape, axis)
    texts = np.array([separator.join(map(_text, row)) for row in rows.tolist()], str).reshape(tuple(map(int, shape)))
    if keepdims:
        texts = texts.reshape((1,) * array.ndim) if axis is None else np.expand_dims(texts, axis)
    return as_tensor(texts)


def lower(input: Any, encoding: str = "") -> Any:
    """Texts in small letters."""
    return _each(str.lower, input)


def upper(input: Any, encoding: str = "") -> Any:
    """Texts in capital letters."""
    return _each(str.upper, input)


def strip(input: Any) -> Any:
    """Texts without white space at their ends."""
    return _each(str.strip, input)


def length(input: Any, unit: str = "BYTE") -> Any:
    """How many bytes a text has in UTF-8, or characters (`unit="UTF8_CHAR"`)."""
    return _each(lambda text: len(text if unit == "UTF8_CHAR" else text.encode()), input, "int32")


def substr(input: Any, pos: int, len: int, unit: str = "BYTE") -> Any:
    """So many bytes of a text from a place on, or characters (`unit="UTF8_CHAR"`)."""
    if unit == "UTF8_CHAR":
        return _each(lambda text: text[pos:][:len], input)
    return _each(lambda text: text.encode()[pos:][:len].decode(errors="replace"), input)


def regex_replace(input: Any, pattern: str, rewrite: str, replace_global: bool = True) -> Any:
    """Texts with `rewrite` in the place of what a regular expression finds."""
    found = re.compile(pattern)
    return _each(lambda text: found.sub(rewrite, text, count=0 if replace_global else 1), input)


def to_number(input: Any, out_type: Any = "float32") -> Any:
    """The numbers that texts say."""
    kind = np.dtype(out_type)
    return _each(int if kind.kind in "iu" else float, input, kind)


def as_string(input: Any) -> Any:
    """Numbers as texts: whole ones in full, others with six places."""
    array = np.asarray(input)
    form = "{:f}" if array.dtype.kind == "f" else "{}"
    return as_tensor(np.array([form.format(one) for one in array.reshape(-1).tolist()], str).reshape(array.shape))


_FUNCTIONS = (
    *(as_string, bytes_split, join, length, lower, reduce_join, regex_replace, split, strip, substr, to_number),
    *(unicode_decode, unicode_encode, unicode_split, upper),
)
STRINGS = SimpleNamespace(**{function.__name__: function for function in _FUNCTIONS})
