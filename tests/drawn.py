"""How many cases Hypothesis draws for a test: as many as it says, or more for a day on which there is time."""

from __future__ import annotations

import os

from hypothesis import settings

__all__ = ["drawn_cases"]

LEAST = int(os.environ.get("MINICNN_DRAWN_CASES", "0"))


def drawn_cases(count: int) -> settings:
    """A decorator: so many cases, or MINICNN_DRAWN_CASES where that is more."""
    return settings(max_examples=max(count, LEAST))
