"""TensorFlow's functions of tensors that are no op of `minicnn.ops` under another name: each is made of those.

What chooses (masks, indices) is known when a function is called; gradients reach the tensors that are chosen from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import ops
from minicnn.ops.reductions import vector_norm
from minicnn.tensor import Symbolic, as_tensor

__all__ = ["LINALG", "MATH"]


# --- parts of a tensor -------------------------------------------------------------------


def boolean_mask(tensor: Any, mask: Any, axis: int | None = None) -> Any:
    """The elements (or slices) where a mask is true, one below the other; the mask's axes begin at `axis`, 0 by default."""
    mask, axis, shape = np.asarray(mask, bool), axis or 0, ops.shape(tensor)
    if tuple(shape[axis : axis + mask.ndim]) != mask.shape:
        raise ValueError(f"Shapes {tuple(shape)} and {mask.shape} are incompatible: `mask` must have the tensor's axes.")
    flat = ops.reshape(tensor, (*shape[:axis], mask.size, *shape[axis + mask.ndim :]))
    return ops.take(flat, np.flatnonzero(mask), axis)


def gather_nd(params: Any, indices: Any, batch_dims: int = 0) -> Any:
    """The elements (or slices) of `params` at places, each a row of `indices` (..., axes).

    Args:
        batch_dims: how many first axes the indices share with `params`.
    """
    indices, shape = np.asarray(indices), ops.shape(params)
    if batch_dims:
        own = np.moveaxis(np.indices(indices.shape[:-1])[:batch_dims], 0, -1)
        indices = np.concatenate([own, indices], -1)
    depth = indices.shape[-1]
    if indices.size and ((indices < 0) | (indices >= shape[:depth])).any():
        raise ValueError(f"`indices` must be places of the shape {tuple(shape)}. Received: indices={indices.tolist()}")
    flat = ops.reshape(params, (-1, *shape[depth:]))
    places = np.ravel_multi_index(tuple(np.moveaxis(indices, -1, 0)), tuple(shape[:depth]))
    return ops.take(flat, places, 0)


def scatter_nd(indices: Any, updates: Any, shape: Any) -> Any:
    """Zeros of this shape with `updates` added at places, each a row of `indices` (..., axes)."""
    return ops.scatter(indices, updates, tuple(int(size) for size in shape))


def tensor_scatter_nd_update(tensor: Any, indices: Any, updates: Any) -> Any:
    """The tensor with other elements (or slices) at places, each a row of `indices` (..., axes)."""
    return ops.scatter_update(tensor, indices, updates)


def tensor_scatter_nd_add(tensor: Any, indices: Any, updates: Any) -> Any:
    """The tensor with `updates` added at places, each a row of `indices` (..., axes)."""
    return ops.add(tensor, ops.scatter(indices, updates, ops.shape(tensor)))


def tensor_scatter_nd_sub(tensor: Any, indices: Any, updates: Any) -> Any:
    """The tensor with `updates` subtracted at places, each a row of `indices` (..., axes)."""
    return ops.subtract(tensor, ops.scatter(indices, updates, ops.shape(tensor)))


def slice(input_: Any, begin: Any, size: Any) -> Any:
    """The block of these sizes that begins at these places; a size of -1 is all that is left of an axis."""
    key = tuple(np.s_[int(b) : None if int(s) == -1 else int(b) + int(s)] for b, s in zip(begin, size, strict=True))
    return ops.get_item(input_, key)


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = "bool") -> Any:
    """Which of `maxlen` places (by default the largest length) come before each length."""
    lengths = np.asarray(lengths)
    places = np.arange(int(lengths.max()) if maxlen is None else int(maxlen))
    return ops.cast(places < lengths[..., None], dtype)


def shape(input: Any, out_type: Any = "int32") -> Any:
    """The sizes of the axes: a tensor of them, or, of a symbolic tensor, a tuple, in which those not yet known are symbolic."""
    sizes = ops.shape(input)
    return sizes if isinstance(input, Symbolic) or any(isinstance(n, Symbolic) for n in sizes) else ops.array(sizes, out_type)


def rank(input: Any) -> Any:
    """How many axes there are, as a tensor."""
    return ops.array(ops.ndim(input), "int32")


def size(input: Any, out_type: Any = "int32") -> Any:
    """How many elements there are, as a tensor."""
    count = ops.size(input)
    return count if isinstance(count, Symbolic) else ops.array(count, out_type)


def ensure_shape(x: Any, shape: Any) -> Any:
    """The tensor, whose sizes are checked; None stands for any.

    Raises:
        ValueError: for other sizes.
    """
    if len(shape) != len(x.shape) or any(a is not None and b is not None and a != b for a, b in zip(shape, x.shape)):
        raise ValueError(f"Tensor's shape {tuple(x.shape)} is not compatible with expected shape {tuple(shape)}.")
    return x


# --- numbers -----------------------------------------------------------------------------


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None) -> Any:
    """The tensor, shortened to this length where it is longer: t * clip_norm / max(length, clip_norm)."""
    length = ops.sqrt(ops.sum(ops.square(t), axes, keepdims=True))
    return ops.divide(ops.multiply(t, clip_norm), ops.maximum(length, clip_norm))


def global_norm(t_list: Any) -> Any:
    """The length of all tensors together, the square root of the sum of all squares; None counts as none."""
    return ops.sqrt(add_n([ops.sum(ops.square(t)) for t in t_list if t is not None]))


def clip_by_global_norm(t_list: Any, clip_norm: Any, use_norm: Any = None) -> tuple[list[Any], Any]:
    """The tensors, all shortened by one factor so that `global_norm` is at most `clip_norm`; and what it was."""
    length = global_norm(t_list) if use_norm is None else use_norm
    factor = ops.divide(clip_norm, ops.maximum(length, clip_norm))
    return [None if t is None else ops.multiply(t, factor) for t in t_list], length


def add_n(inputs: Any) -> Any:
    """The sum of tensors of one shape."""
    total, *rest = inputs
    for item in rest:
        total = total + item
    return total


def confusion_matrix(
    labels: Any, predictions: Any, num_classes: int | None = None, weights: Any = None, dtype: Any = "int32"
) -> Any:
    """How often each label (row) was predicted as each class (column)."""
    labels, predictions = np.asarray(labels, "int64").ravel(), np.asarray(predictions, "int64").ravel()
    count = int(max(labels.max(), predictions.max())) + 1 if num_classes is None else int(num_classes)
    if min(labels.min(), predictions.min()) < 0 or max(labels.max(), predictions.max()) >= count:
        raise ValueError(f"`labels` and `predictions` must be classes from 0 to {count - 1} (num_classes={count}).")
    found = np.zeros((count, count), dtype)
    np.add.at(found, (labels, predictions), 1 if weights is None else np.asarray(weights).ravel())
    return as_tensor(found)


def histogram_fixed_width(values: Any, value_range: Any, nbins: int = 100, dtype: Any = "int32") -> Any:
    """How many values fall into each of `nbins` parts of a range; those outside count at its ends."""
    low, high = (float(bound) for bound in value_range)
    places = np.floor((np.asarray(values, "float64").ravel() - low) / (high - low) * nbins)
    return as_tensor(np.bincount(np.clip(places, 0, nbins - 1).astype(int), minlength=nbins).astype(dtype))


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """x where the condition holds, else y; without both the places where it holds, (how many, axes), int64.

    Raises:
        ValueError: with one of x and y.
    """
    if (x is None) != (y is None):
        raise ValueError(f"`where` takes both `x` and `y`, or neither. Received: x={x}, y={y}")
    return as_tensor(np.argwhere(np.asarray(condition)).astype("int64")) if x is None else ops.where(condition, x, y)


def xlogy(x: Any, y: Any) -> Any:
    """x * log(y), and 0 where x is 0."""
    zero = ops.equal(x, 0.0)
    return ops.where(zero, 0.0, ops.multiply(x, ops.log(ops.where(zero, 1.0, y))))


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: int) -> Any:
    """The sum of the slices of each segment: see `ops.segment_sum`."""
    return ops.segment_sum(data, segment_ids, int(num_segments))


def unsorted_segment_max(data: Any, segment_ids: Any, num_segments: int) -> Any:
    """The largest of the slices of each segment: see `ops.segment_max`."""
    return ops.segment_max(data, segment_ids, int(num_segments))


def unsorted_segment_min(data: Any, segment_ids: Any, num_segments: int) -> Any:
    """The smallest of the slices of each segment: see `ops.segment_min`."""
    return ops.segment_min(data, segment_ids, int(num_segments))


def unsorted_segment_mean(data: Any, segment_ids: Any, num_segments: int) -> Any:
    """The mean of the slices of each segment; 0 of a segment without any."""
    ids = np.asarray(segment_ids).astype(int)
    counts = np.bincount(ids, minlength=int(num_segments)).clip(1).reshape(-1, *(1,) * (len(data.shape) - 1))
    return ops.divide(unsorted_segment_sum(data, ids, num_segments), counts.astype(str(data.dtype)))


def scalar_mul(scalar: Any, x: Any) -> Any:
    """scalar * x."""
    return ops.multiply(scalar, x)


def reduce_euclidean_norm(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The square root of the sum of squares along axes."""
    return ops.sqrt(ops.sum(ops.square(input_tensor), axis, keepdims=keepdims))


# --- matrices ----------------------------------------------------------------------------


def matvec(a: Any, b: Any) -> Any:
    """The product of a matrix and a vector."""
    return ops.squeeze(ops.matmul(a, ops.expand_dims(b, -1)), -1)


def diag(diagonal: Any) -> Any:
    """Matrices with these vectors on their diagonals, and 0 elsewhere."""
    return ops.multiply(ops.expand_dims(diagonal, -1), np.eye(diagonal.shape[-1], dtype=diagonal.dtype))


def diag_part(input: Any, k: int = 0) -> Any:
    """The diagonals of matrices, `k` places above the main one."""
    return ops.diagonal(input, k, -2, -1)


def trace(x: Any) -> Any:
    """The sum of each matrix's diagonal."""
    return ops.trace(x, 0, -2, -1)


def band_part(input: Any, num_lower: int, num_upper: int) -> Any:
    """A matrix with 0 further below and above the diagonal than so many places; -1 keeps all of a side."""
    rows, columns = np.indices(tuple(input.shape[-2:]))
    kept = ((num_lower < 0) | (rows - columns <= num_lower)) & ((num_upper < 0) | (columns - rows <= num_upper))
    return ops.multiply(input, kept.astype(input.dtype))


def normalize(tensor: Any, ord: Any = "euclidean", axis: Any = None) -> tuple[Any, Any]:
    """The tensor divided by its length along axes, one vector's as in TensorFlow; and the length."""
    length = vector_norm(tensor, ord, axis, keepdims=True)
    return ops.divide(tensor, length), length


def solve(matrix: Any, rhs: Any, adjoint: bool = False) -> Any:
    """The x of matrix @ x = rhs, or of its transposed with `adjoint`."""
    return ops.solve(ops.swapaxes(matrix, -1, -2) if adjoint else matrix, rhs)


def triangular_solve(matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False) -> Any:
    """`solve` for the lower or the upper triangle of the matrix."""
    return ops.solve_triangular(ops.swapaxes(matrix, -1, -2) if adjoint else matrix, rhs, lower != adjoint)


def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True) -> Any:
    """Singular values s and vectors u, v, with u @ diag(s) @ v' = tensor; s alone without `compute_uv`."""
    if not compute_uv:
        return ops.svd(tensor, compute_uv=False)
    u, s, vt = ops.svd(tensor, full_matrices)
    return s, u, ops.swapaxes(vt, -1, -2)


# --- a function again and again ----------------------------------------------------------


def map_fn(fn: Callable[..., Any], elems: Any, **kwargs: Any) -> Any:
    """`fn` of each slice along the first axis, the results stacked; slices and results may be structures."""
    return ops.map(fn, elems)


def vectorized_map(fn: Callable[..., Any], elems: Any) -> Any:
    """`map_fn`."""
    return ops.map(fn, elems)


def _steps(fn: Callable[..., Any], elems: Any, initializer: Any) -> list[Any]:
    slices = list(ops.unstack(ops.convert_to_tensor(elems)))
    state = slices.pop(0) if initializer is None else initializer
    states = [state] if initializer is None else []
    for one in slices:
        state = fn(state, one)
        states.append(state)
    return states


def foldl(fn: Callable[..., Any], elems: Any, initializer: Any = None) -> Any:
    """`fn(so_far, slice)` along the first axis, from `initializer` or the first slice on."""
    return _steps(fn, elems, initializer)[-1]


def scan(fn: Callable[..., Any], elems: Any, initializer: Any = None) -> Any:
    """All that `foldl` passes through, stacked."""
    return ops.stack(_steps(fn, elems, initializer))


def while_loop(cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, **kwargs: Any) -> Any:
    """`loop_vars = body(*loop_vars)` as long as `cond(*loop_vars)`."""
    return ops.while_loop(cond, body, list(loop_vars), kwargs.get("maximum_iterations"))


def cond(pred: Any, true_fn: Any = None, false_fn: Any = None) -> Any:
    """What one of two functions without arguments returns."""
    return ops.cond(pred, true_fn, false_fn)


def case(pred_fn_pairs: Any, default: Any = None, exclusive: bool = False) -> Any:
    """What the first function returns whose condition holds; else what `default` does."""
    for pred, function in pred_fn_pairs:
        if pred:
            return function()
    return default()


def switch_case(branch_index: Any, branch_fns: Any, default: Any = None) -> Any:
    """What the function of this number returns; by default the last one is for all other numbers."""
    functions = dict(enumerate(branch_fns)) if isinstance(branch_fns, (list, tuple)) else dict(branch_fns)
    return functions.get(int(branch_index), default or functions[max(functions)])()


MATH: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(add_n, boolean_mask, case, clip_by_global_norm, clip_by_norm, cond, confusion_matrix, ensure_shape, foldl, gather_nd),
        *(histogram_fixed_width, map_fn, rank, reduce_euclidean_norm, scalar_mul, scan, scatter_nd, sequence_mask, shape, size),
        *(slice, switch_case, tensor_scatter_nd_add, tensor_scatter_nd_sub, tensor_scatter_nd_update),
        *(unsorted_segment_max, unsorted_segment_mean, unsorted_segment_min, unsorted_segment_sum),
        *(vectorized_map, where, while_loop, xlogy),
    )
}
LINALG: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(band_part, diag, diag_part, global_norm, matvec, normalize, solve, svd, trace, triangular_solve),
        *(ops.cholesky, ops.det, ops.eigh, ops.inv, ops.logdet, ops.pinv, ops.qr, ops.slogdet),
    )
}
