"""`InputSpec`: what the input of a layer must look like, and the errors where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class InputSpec:
    """Rank, dtype and sizes that an input must have.

    Args:
        dtype: name of the dtype. shape: the shape, with None where any size is allowed.
        ndim, min_ndim, max_ndim: the rank; the smallest and the largest rank that are allowed.
        axes: {axis: size}.
        name: of the input, for messages.
    """

    def __init__(
        self,
        dtype: str | None = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
        name: str | None = None,
    ) -> None:
        self.dtype = dtype
        self.shape = None if shape is None else tuple(shape)
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = {int(axis): extent for axis, extent in (axes or {}).items()}
        self.name = name


def assert_input_compatibility(spec: Any, shapes: list[tuple[int | None, ...]], layer_name: str) -> None:
    """Raise ValueError, in Keras's words, if a shape does not fit the spec (or the list of specs, one for each input)."""
    if spec is None:
        return
    specs = list(spec) if isinstance(spec, (list, tuple)) else [spec]
    if len(specs) != len(shapes):
        raise ValueError(f'Layer "{layer_name}" expects {len(specs)} input(s), but it received {len(shapes)} input tensors.')
    for index, (one, shape) in enumerate(zip(specs, shapes)):
        if one is None:
            continue
        named = f" with name '{one.name}'" if one.name else ""
        what = f"Input {index}{named} of layer '{layer_name}' is incompatible with the layer: "
        received = f"Full shape received: {shape}"
        ndim = len(shape)
        if one.ndim is not None and ndim != one.ndim:
            raise ValueError(f"{what}expected ndim={one.ndim}, found ndim={ndim}. {received}")
        if one.max_ndim is not None and ndim > one.max_ndim:
            raise ValueError(f"{what}expected max_ndim={one.max_ndim}, found ndim={ndim}. {received}")
        if one.min_ndim is not None and ndim < one.min_ndim:
            raise ValueError(f"{what}expected min_ndim={one.min_ndim}, found ndim={ndim}. {received}")
        for axis, extent in one.axes.items():
            if extent is not None and shape[axis] not in (extent, None):
                raise ValueError(
                    f"{what}expected axis {axis} of input shape to have value {extent}, but received input with shape {shape}"
                )
        if one.shape is not None and any(
            demanded is not None and extent is not None and demanded != extent for demanded, extent in zip(one.shape, shape)
        ):
            raise ValueError(f"{what}expected shape={one.shape}, found shape={shape}")
