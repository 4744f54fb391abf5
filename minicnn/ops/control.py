"""Functions that call functions: for each slice of a tensor, again and again, or one of several.

On arrays they are Python's own loops and branches, and tapes record what is called. A graph is made before there are values:
there `map` is one layer, which calls its function when the model runs; a loop of a known number of steps is drawn step by
step; a condition on values is an error that names the line.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicnn.layers.symbolic import KerasTensor, is_symbolic
from minicnn.layers.tracing import not_traced
from minicnn.ops.base import op
from minicnn.ops.elementwise import convert_to_tensor
from minicnn.ops.shaping import _at, concatenate, flip, ndim, reshape, stack
from minicnn.structure import flatten_struct, map_struct, pack_struct
from minicnn.tape import GradientTape
from minicnn.tensor import as_tensor

__all__ = ["associative_scan", "cond", "fori_loop", "map", "scan", "switch", "vectorized_map", "while_loop"]


class _EachSlice:
    """A user's function of one slice, and the variables that it reads."""

    def __init__(self, function: Callable[..., Any], struct: Any) -> None:
        self.function, self.struct = function, struct
        self.variables: tuple[Any, ...] = ()

    def __call__(self, slices: list[Any]) -> tuple[Any, GradientTape]:
        with not_traced(), GradientTape(persistent=True) as tape:
            tape.watch(slices)
            y = self.function(pack_struct(self.struct, slices))
        return y, tape


@op("*xs", "*variables")
def _map(xs: list[Any], variables: list[Any], each: _EachSlice) -> Any:
    """`each` of every slice along the first axis, stacked."""
    made, results = [], []
    for given in zip(*xs, strict=True):
        slices = [as_tensor(np.asarray(one)) for one in given]
        y, tape = each(slices)
        made.append((tape, slices, y))
        results.append(np.asarray(y))
    return np.stack(results), (each, made, xs)


@_map.gradient
def _(dy: Any, saved: Any) -> list[Any]:
    each, made, xs = saved
    dxs: list[Any] = [np.zeros_like(x) if x.dtype.kind == "f" else None for x in xs]
    of_variables: list[Any] = [np.zeros_like(variable.numpy()) for variable in each.variables]
    for n, (tape, slices, y) in enumerate(made):
        found = tape.gradient(y, [*slices, *each.variables], output_gradients=as_tensor(np.asarray(dy[n])))
        for total, d in zip([*(dx if dx is None else dx[n : n + 1] for dx in dxs), *of_variables], found):
            if total is not None and d is not None:
                total += np.asarray(d)
    return [*dxs, *of_variables]


def map(f: Callable[..., Any], xs: Any) -> Any:
    """`f` of each slice along the first axis, the results stacked; `xs` and the results may be structures.

    Of symbolic tensors, `f` must return one tensor.

    Examples:
        >>> map(lambda x: x * x, np.arange(3.0)).tolist()
        [0.0, 1.0, 4.0]
    """
    if is_symbolic(xs):
        return _map_of_graph(f, xs)
    count = len(flatten_struct(xs)[0])
    results = [f(map_struct(operator.itemgetter(i), xs)) for i in range(count)]
    return _stacked(results)


def _stacked(results: list[Any]) -> Any:
    """One structure for structures of tensors: of each place in them, the tensors that stand there, stacked."""
    return pack_struct(results[0], [stack(list(parts)) for parts in zip(*(flatten_struct(one) for one in results))])


def _map_of_graph(f: Callable[..., Any], xs: Any) -> Any:
    each = _EachSlice(f, xs)
    tensors = flatten_struct(xs)
    # Which variables it reads is seen on one slice of zeros.
    slices = [as_tensor(np.zeros([size or 1 for size in one.shape[1:]], one.dtype)) for one in tensors]
    y, tape = each(slices)
    if isinstance(y, (list, tuple, dict)):
        raise ValueError(f"`map` of symbolic tensors needs a function that returns one tensor. Received: {type(y).__name__}")
    each.variables = tape.watched_variables()
    return _map.symbolic(xs=tensors, variables=list(each.variables), each=each)


def vectorized_map(function: Callable[..., Any], elements: Any) -> Any:
    """`map`."""
    return map(function, elements)


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """What one of two functions without arguments returns."""
    return true_fn() if pred else false_fn()


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """What the function of this number returns, of the operands; the first or the last one for a number beyond them."""
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """`val = body_fun(i, val)` for i from `lower` to below `upper`; the last."""
    val = init_val
    for i in range(int(lower), int(upper)):
        val = body_fun(i, val)
    return val


def while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, maximum_iterations: int | None = None
) -> Any:
    """`loop_vars = body(*loop_vars)` as long as `cond(*loop_vars)`, and not more often than that; one variable may stand alone.

    Examples:
        >>> while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, 2 * x), (0, 1.0))
        (3, 8.0)
    """
    alone = not isinstance(loop_vars, (list, tuple))
    values: Any = (loop_vars,) if alone else loop_vars
    done = 0
    while (maximum_iterations is None or done < maximum_iterations) and cond(*values):
        found = body(*values)
        values = type(values)(found if isinstance(found, (list, tuple)) else [found])
        done += 1
    return values[0] if alone else values


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for each slice x along the first axis; the last carry, and all y, stacked.

    Args:
        init: the first carry. xs: None to call `f` with None, `length` times. reverse: whether the last slice comes first.
        unroll: without effect.

    Raises:
        ValueError: without `xs` and `length` (Keras's wording).
    """
    if xs is None and length is None:
        raise ValueError("Got no `xs` to scan over and `length` not provided.")
    tensors = [one if isinstance(one, KerasTensor) else convert_to_tensor(one) for one in flatten_struct(xs) if one is not None]
    count: Any = length if xs is None else tensors[0].shape[0]
    carry, results = init, []
    for i in reversed(range(count)) if reverse else range(count):
        x = None if xs is None else pack_struct(xs, [one[i] for one in tensors])
        carry, y = f(carry, x)
        results.append(y)
    if reverse:
        results.reverse()
    return carry, None if results[0] is None else _stacked(results)


def associative_scan(f: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """[a, f(a, b), f(f(a, b), c), ...] along an axis, by about 2 log2(L) calls of `f` instead of L - 1.

    Args:
        f: of two structures like `elems`, which it joins slice by slice; f(f(a, b), c) == f(a, f(b, c)).
        elems: a tensor, or a structure of tensors of one length L along the axis.
        reverse: from the end to the beginning.

    Source: G. Blelloch, "Prefix sums and their applications" (1990).

    Examples:
        >>> associative_scan(lambda a, b: a + b, np.arange(5)).tolist()
        [0, 1, 3, 6, 10]
    """
    if not callable(f):
        raise ValueError(f"`f` should be a callable. Received: f={f}")
    tensors = [x if is_symbolic(x) else as_tensor(x) for x in flatten_struct(elems)]
    turned = [flip(x, axis) if reverse else x for x in tensors]
    if len({x.shape[axis] for x in turned}) != 1:
        raise ValueError(f"Array inputs must have the same first dimension. (saw: {[tuple(x.shape) for x in turned]})")

    def joined(first: list[Any], second: list[Any]) -> list[Any]:
        return flatten_struct(f(pack_struct(elems, first), pack_struct(elems, second)))

    scanned = _scanned(joined, turned, axis)
    return pack_struct(elems, [flip(x, axis) if reverse else x for x in scanned])


def _scanned(f: Callable[[list[Any], list[Any]], list[Any]], xs: list[Any], axis: int) -> list[Any]:
    """The scan of neighbours joined, which is every second one of the result; the others are that, and one more."""

    def part(tensors: list[Any], *ends: int | None) -> list[Any]:
        return [_at(x, axis, slice(*ends)) for x in tensors]

    length = xs[0].shape[axis]
    if length < 2:
        return xs
    odd = _scanned(f, f(part(xs, 0, -1, 2), part(xs, 1, None, 2)), axis)
    even = part(xs, 0, 1)
    if length > 2:
        later = f(part(odd, 0, (length - 1) // 2), part(xs, 2, None, 2))
        even = [concatenate(both, axis) for both in zip(even, later)]
    return [_interleaved(*both, axis) for both in zip(even, odd)]


def _interleaved(even: Any, odd: Any, axis: int) -> Any:
    """The slices of the one at even places, those of the other between them."""
    count = odd.shape[axis]
    pairs = stack([_at(even, axis, slice(0, count)), odd], axis % ndim(odd) + 1)
    shape = list(odd.shape)
    shape[axis] = 2 * count
    woven = reshape(pairs, [-1 if size is None else size for size in shape])
    return concatenate([woven, _at(even, axis, slice(count, None))], axis) if even.shape[axis] > count else woven
