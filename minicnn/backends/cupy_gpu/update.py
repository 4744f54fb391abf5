"""Optimizer steps: one launch for all parameters (`kernels/update.cu`).

The parameters' addresses travel by value with the launch, `MOST` of them at a time. Numbers
that change from step to step (`learning_rate`, `step`) may be arrays of shape () on the GPU;
a captured step then follows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minicnn.backends.cupy_gpu.compile import THREADS, address, blocks, empty, inputs, is_on_device, launch, real_type
from minicnn.backends.types import Array, Scalar

MOST = 48  # parameters of one launch: MAX_TENSORS of the kernels
_LISTS = 5
_TENSORS = np.dtype([("array", np.uint64, (_LISTS, MOST)), ("size", np.int64, MOST)])
_KINDS = {"float32": 1, "float64": 2, "int64": 3}  # Kind of the kernels
_PARTS = 128  # warps that add up the squares of one gradient


def sgd_update_(params: list[Array], grads: list[Array], learning_rate: Scalar) -> None:
    """One launch."""
    _update("sgd_update", [params, grads], *_number(learning_rate))


def momentum_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, momentum: float
) -> None:
    """One launch."""
    _update("momentum_update", [params, grads, momenta], *_number(learning_rate), float(momentum), 0)


def nesterov_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, momentum: float
) -> None:
    """One launch."""
    _update("momentum_update", [params, grads, momenta], *_number(learning_rate), float(momentum), 1)


def rmsprop_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array] | None, list[Array] | None],
    learning_rate: Scalar,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None:
    """One launch."""
    numbers = (*_number(learning_rate), float(rho), float(momentum), float(epsilon))
    _update("rmsprop_update", [params, grads, *slots], *numbers)


def adam_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array], list[Array] | None],
    learning_rate: Scalar,
    step: Scalar,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """One launch; the bias correction is computed in float64 by each thread."""
    numbers = (*_number(learning_rate), *_number(step), *map(float, betas), float(epsilon))
    _update("adam_update", [params, grads, *slots], *numbers)


def weight_decay_(params: list[Array], learning_rate: Scalar, weight_decay: float) -> None:
    """One launch."""
    _update("weight_decay", [params], *_number(learning_rate), float(weight_decay))


def exponential_average_(averages: list[Array], params: list[Array], momentum: float) -> None:
    """One launch."""
    _update("exponential_average", [averages, params], float(momentum))


def clip_by_value_(grads: list[Array], limit: float) -> None:
    """One launch."""
    _update("clip_by_value", [grads], float(limit))


def clip_by_norm_(grads: list[Array], limit: float) -> None:
    """The squares are added in an order that only sizes decide, in float64."""
    squares = _squares(grads)
    for first, group in _groups([grads]):
        _launch("clip_by_norm", group, squares, float(limit), first)


def clip_by_global_norm_(grads: list[Array], limit: float) -> None:
    """The squares are added in an order that only sizes decide, in float64."""
    _update("clip_by_global_norm", [grads], _squares(grads), float(limit), len(grads))


def l1_l2_gradient_(grad: Array, param: Array, l1: float, l2: float) -> None:
    """One launch."""
    grad, param = inputs("l1_l2_gradient_", grad, param)
    arguments = (grad, param, float(l1), float(l2), grad.size)
    launch("update.cu", "l1_l2_gradient", blocks(grad.size), (THREADS,), arguments, real_type(grad), {})


def _number(value: Scalar) -> tuple[Array | None, int, float]:
    """The kernels' arguments for a number: where it lies on the GPU and its type there, or else its value."""
    if is_on_device(value):
        return value, _KINDS[value.dtype.name], 0.0
    return None, 0, float(value)


def _groups(lists: Sequence[list[Array] | None]) -> Iterator[tuple[int, list[list[Array] | None]]]:
    """The lists, `MOST` parameters at a time, and the place of the first of these."""
    for first in range(0, len(lists[0] or []), MOST):
        yield first, [None if arrays is None else arrays[first : first + MOST] for arrays in lists]


def _update(name: str, lists: Sequence[list[Array] | None], *arguments: Any) -> None:
    """Run kernel `name` over all parameters."""
    for _, group in _groups(lists):
        _launch(name, group, *arguments)


def _launch(name: str, lists: Sequence[list[Array] | None], *arguments: Any, grid: int = 0, block: int = THREADS) -> None:
    """Run kernel `name` over at most `MOST` parameters: one row of blocks each, as long as the largest needs."""
    table = np.zeros(1, _TENSORS)
    for i, arrays in enumerate(lists):
        if arrays is not None:
            inputs(name, *arrays)
            if not all(array.flags.c_contiguous for array in arrays):
                raise ValueError(f"{name} updates in place and needs C-contiguous arrays.")
            table["array"][0, i, : len(arrays)] = [address(array) for array in arrays]
    params = lists[0] or []
    table["size"][0, : len(params)] = [array.size for array in params]
    grid = grid or min(blocks(max(array.size for array in params))[0], 1024)
    launch("update.cu", name, (grid, len(params)), (block,), (table, *arguments), real_type(params[0]), {})


def _squares(grads: list[Array]) -> Array:
    """The sum of squares of each gradient, float64."""
    partial = empty((len(grads), _PARTS), np.float64)
    squares = empty((len(grads),), np.float64)
    for first, group in _groups([grads]):
        _launch("partial_squares", group, partial, first, grid=_PARTS, block=32)
    launch("update.cu", "sum_squares", (len(grads),), (32,), (partial, squares, _PARTS), real_type(grads[0]), {})
    return squares
