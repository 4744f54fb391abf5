"""Layers and models to configs and back, and configs out of files that nobody vouches for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from minicnn import serialization

__all__ = ["LARGEST_CONFIG", "deserialize_keras_object", "parse_config", "serialize_keras_object"]

LARGEST_CONFIG = 2**23  # bytes; a model of a thousand layers takes about one million, and an empty list 20 times its text
_MOST_LAYERS = 5000  # each takes some kilobytes and a quarter of a millisecond, whatever it is
_LONGEST_TEXT = 10_000  # characters of a name or of any other text: what is made of it, in messages, say, is larger
_DEEPEST = 200  # levels of lists and dicts; a model inside a model takes five

serialize_keras_object = serialization.serialize


def deserialize_keras_object(
    config: Any, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True, **kwargs: Any
) -> Any:
    """The object that a config of `serialize_keras_object`, or of Keras, describes.

    Args:
        config: {"module", "class_name", "config", "registered_name", ...}; lists and dicts of them.
        custom_objects: name -> class or function.
        safe_mode: False lets the config of a `Lambda` layer bring the code of a Python lambda.

    Raises:
        ValueError: for an unknown class or function, naming it.
    """
    if kwargs.pop("module_objects", None) is not None or kwargs:
        raise ValueError(f"Unrecognized keyword arguments passed to deserialize_keras_object: {kwargs or 'module_objects'}")
    with serialization.safe_mode(safe_mode):
        return serialization.deserialize(config, None, custom_objects)


def parse_config(text: bytes, source: str) -> dict[str, Any]:
    """A JSON object out of a file.

    Args:
        text: UTF-8. source: how errors call the file.

    Raises:
        ValueError: if it is no JSON, no object, too long, or nested deeper than any model; for NaN, infinity, long texts.
    """
    if len(text) > LARGEST_CONFIG:
        raise ValueError(f"{source} has {len(text)} bytes; no model's configuration has more than {LARGEST_CONFIG}.")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} is not readable as JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{source} should hold a JSON object. Received: {type(config).__name__}")
    level: list[tuple[Any, Any]] = [("", config)]  # (key of the nearest dict, what it holds)
    layers = 0
    for _ in range(_DEEPEST):
        level = [inner for key, item in level for inner in _inside(key, item, source)]
        layers += sum(len(item) for key, item in level if key == "layers" and isinstance(item, list))
        if layers > _MOST_LAYERS:
            raise ValueError(f"{source} has {layers} layers; no model has more than {_MOST_LAYERS}.")
        if not level:
            return config
    raise ValueError(f"{source} is nested more than {_DEEPEST} levels deep; no model's configuration is.")


def _inside(key: Any, item: Any, source: str) -> Iterator[tuple[Any, Any]]:
    """The lists and dicts in `item`, with their keys."""
    for inner_key, inner in item.items() if isinstance(item, dict) else ((key, inner) for inner in item):
        for text in (inner_key, inner):
            if isinstance(text, str) and len(text) > _LONGEST_TEXT:
                raise ValueError(
                    f"{source} has a text of {len(text)} characters, {text[:40]!r}...; no model has so long a name."
                )
        if isinstance(inner, (dict, list)):
            yield inner_key, inner
        elif isinstance(inner, float) and not math.isfinite(inner):
            raise ValueError(f"{source} says that '{inner_key}' is {inner}; every setting is a finite number.")
