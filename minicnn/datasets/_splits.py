"""Split strings as tensorflow_datasets writes them: "train", "test[:80%]", "train[100:200]+test"."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PART = re.compile(r"\s*(?P<name>\w+)\s*(?:\[\s*(?P<start>-?\d+%?)?\s*:\s*(?P<stop>-?\d+%?)?\s*\])?\s*")


def parse_split(split: str, sizes: Mapping[str, int]) -> list[tuple[str, range]]:
    """The parts of a split: the name of a whole split and the range of its examples.

    A bound is a number of examples or of percent (rounded to the nearest example); a negative one counts from the end.

        >>> parse_split("train[:80%]+test", {"train": 10, "test": 4})
        [('train', range(0, 8)), ('test', range(0, 4))]

    Raises:
        ValueError: for another syntax, or an unknown split.
    """
    parts = []
    for text in split.split("+"):
        match = _PART.fullmatch(text)
        if match is None:
            raise ValueError(f'Unrecognized split: {text!r}. Write "train", "train[:80%]", "train[100:200]" or sums of these.')
        name = match["name"]
        if name != "all" and name not in sizes:
            raise ValueError(f"Unknown split {name!r}. Should be one of {[*sizes, 'all']}.")
        for whole in sizes if name == "all" else (name,):
            size = sizes[whole]
            start, stop = _bound(match["start"], size, 0), _bound(match["stop"], size, size)
            parts.append((whole, range(size)[start:stop]))
    return parts


def _bound(text: str | None, size: int, default: int) -> int:
    if text is None:
        return default
    return round(int(text[:-1]) / 100 * size) if text.endswith("%") else int(text)
