"""All plants, by area."""

from __future__ import annotations

from tests.plants import (
    by_chance,
    devices,
    drawn_sample,
    edges,
    escaped,
    even_sample,
    fresh,
    further,
    graphs,
    kernels,
    oversights,
    second_reading,
    slips,
    surroundings,
    training,
)
from tests.plants.plant import Plant

__all__ = ["PLANTS"]

PLANTS: list[Plant] = [
    *escaped.PLANTS,
    *kernels.PLANTS,
    *training.PLANTS,
    *surroundings.PLANTS,
    *further.PLANTS,
    *graphs.PLANTS,
    *oversights.PLANTS,
    *slips.PLANTS,
    *fresh.PLANTS,
    *second_reading.PLANTS,
    *drawn_sample.PLANTS,
    *even_sample.PLANTS,
    *devices.PLANTS,
    *edges.PLANTS,
    *by_chance.PLANTS,
]
