"""How TensorFlow runs a program: devices, strategies, scopes, checks, messages. Here Python runs it, on one device."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn import backends, config, ops, tree
from minicnn.data import TensorSpec
from minicnn.shapes import TensorShape
from minicnn.tensor import as_bytes

__all__ = ["RUN"]


# --- scopes ------------------------------------------------------------------------------


@contextlib.contextmanager
def device(name: Any = None) -> Iterator[None]:
    """No effect: `set_backend` says where minicnn computes."""
    yield


@contextlib.contextmanager
def name_scope(name: Any = None) -> Iterator[Any]:
    """No effect: variables keep the names that they are given."""
    yield name


@contextlib.contextmanager
def control_dependencies(control_inputs: Any = None) -> Iterator[None]:
    """No effect: Python computes line by line."""
    yield


@contextlib.contextmanager
def init_scope() -> Iterator[None]:
    """No effect: there is no graph to leave."""
    yield


def executing_eagerly() -> bool:
    """True: functions run as they stand."""
    return True


def no_op() -> None:
    """Nothing."""


def group(*inputs: Any) -> None:
    """Nothing: what stands in the arguments has been computed by then."""


# --- functions of NumPy's ----------------------------------------------------------------


def numpy_function(func: Callable[..., Any], inp: Any, Tout: Any, stateful: bool = True) -> Any:
    """What a function of NumPy's arrays (text: of bytes) returns, as tensors of the types `Tout`; there is no gradient."""
    return _typed(func(*(as_bytes(backends.to_numpy(one)) for one in inp)), Tout)


def py_function(func: Callable[..., Any], inp: Any, Tout: Any) -> Any:
    """What a function of tensors returns, as tensors of the types `Tout`."""
    return _typed(func(*(ops.convert_to_tensor(one) for one in inp)), Tout)


def _typed(found: Any, types: Any) -> Any:
    if isinstance(types, (list, tuple)):
        parts = found if isinstance(found, (list, tuple)) else [found]
        return [ops.cast(part, kind) for part, kind in zip(parts, types, strict=True)]
    return ops.cast(found, types)


# --- messages and checks -----------------------------------------------------------------


def print_tensors(*inputs: Any, output_stream: Any = None, sep: str = " ", end: str = "\n", **kwargs: Any) -> None:
    """Print tensors and other things, to the standard error stream unless `output_stream` is another."""
    shown = [str(np.asarray(backends.to_numpy(one))) if hasattr(one, "shape") else str(one) for one in inputs]
    stream = output_stream if hasattr(output_stream, "write") else sys.stderr
    print(sep.join(shown), end=end, file=stream)


def get_logger() -> logging.Logger:
    """minicnn's logger."""
    return logging.getLogger("minicnn")


class InvalidArgumentError(ValueError):
    """What a check raises."""


class OutOfRangeError(IndexError):
    """What some of TensorFlow's iterators raise at their end."""


def _check(relation: str, holds: Callable[[Any, Any], Any]) -> Callable[..., None]:
    def check(x: Any, y: Any = 0, message: str | None = None, summarize: Any = None) -> None:
        if not np.all(holds(np.asarray(x), np.asarray(y))):
            raise InvalidArgumentError(f"{message or ''} Condition x {relation} y did not hold. x = {x}, y = {y}".strip())

    check.__doc__ = f"Raise `InvalidArgumentError` unless x {relation} y, everywhere."
    return check


def assert_near(x: Any, y: Any, rtol: Any = None, atol: Any = None, message: str | None = None, summarize: Any = None) -> None:
    """Raise `InvalidArgumentError` unless |x - y| <= atol + rtol * |y|; both are 10 roundings of x's type by default."""
    smallest = 10 * np.finfo(np.asarray(x).dtype).eps
    rtol, atol = (smallest if bound is None else bound for bound in (rtol, atol))
    _check("close to", lambda x, y: np.abs(x - y) <= atol + rtol * np.abs(y))(x, y, message)


def assert_that(condition: Any, data: Any = None, summarize: Any = None) -> None:
    """Raise `InvalidArgumentError` with this data unless the condition holds everywhere."""
    if not np.all(condition):
        raise InvalidArgumentError(f"assertion failed: {data}")


def assert_rank(x: Any, rank: int, message: str | None = None) -> None:
    """Raise `InvalidArgumentError` unless there are so many axes."""
    if len(x.shape) != int(rank):
        raise InvalidArgumentError(f"{message or ''} Tensor must have rank {rank}. Received: shape {tuple(x.shape)}".strip())


def assert_shapes(shapes: Any, message: str | None = None) -> None:
    """Raise `InvalidArgumentError` unless tensors have their shapes: pairs of both.

    A name stands for one size in all of them, None for any size, and a "*" in the first place for any number of axes.
    """
    sizes: dict[Any, int] = {}
    for tensor, wanted in shapes.items() if isinstance(shapes, dict) else shapes:
        wanted = [wanted] if isinstance(wanted, (int, str)) else wanted
        inner = wanted[1:] if wanted and wanted[0] in ("*", ...) else wanted
        fits = (len(inner) <= len(tensor.shape) if inner is not wanted else len(inner) == len(tensor.shape)) and all(
            size in (None, ".") or (sizes.setdefault(size, found) if isinstance(size, str) else size) == found
            for size, found in zip(inner, tensor.shape[len(tensor.shape) - len(inner) :])
        )
        if not fits:
            raise InvalidArgumentError(f"{message or ''} Expected the shape {wanted}, got {tuple(tensor.shape)}.".strip())


def check_numerics(tensor: Any, message: str = "") -> Any:
    """The tensor, or `InvalidArgumentError` where it has NaN or infinite numbers."""
    if not np.all(np.isfinite(np.asarray(tensor))):
        raise InvalidArgumentError(f"{message} : Tensor had NaN or infinite values")
    return tensor


# --- descriptions ------------------------------------------------------------------------


class IndexedSlices:
    """Some rows of a tensor: `values`, one for each of `indices`; a variable's `scatter_update` takes them.

    minicnn's own gradients are whole tensors, never these.
    """

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self.values, self.indices, self.dense_shape = values, indices, dense_shape


# --- several devices, of which there is one ----------------------------------------------


class Strategy:
    """TensorFlow's way to train on several devices: here on one, whose replica is the program itself."""

    num_replicas_in_sync = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.extended = SimpleNamespace(worker_devices=("/device:CPU:0",))

    def scope(self) -> Any:
        """A context without effect."""
        return device()

    def run(self, fn: Callable[..., Any], args: Any = (), kwargs: Any = None, options: Any = None) -> Any:
        """What the function returns for these arguments."""
        return fn(*args, **(kwargs or {}))

    def reduce(self, reduce_op: Any, value: Any, axis: int | None = None) -> Any:
        """The sum, or the mean, of the only replica's value along an axis; the value itself where that is None."""
        if axis is None:
            return value
        return ops.mean(value, axis) if str(reduce_op).upper() == "MEAN" else ops.sum(value, axis)

    def experimental_distribute_dataset(self, dataset: Any, options: Any = None) -> Any:
        """The data set itself."""
        return dataset

    def distribute_datasets_from_function(self, dataset_fn: Callable[..., Any], options: Any = None) -> Any:
        """The data set of the function."""
        return dataset_fn(SimpleNamespace(num_input_pipelines=1, input_pipeline_id=0, get_per_replica_batch_size=lambda n: n))

    def experimental_local_results(self, value: Any) -> tuple[Any]:
        """The values of all replicas."""
        return (value,)

    def gather(self, value: Any, axis: int) -> Any:
        """The only replica's value."""
        return value


_KINDS = "MirroredStrategy OneDeviceStrategy MultiWorkerMirroredStrategy TPUStrategy"
DISTRIBUTE = SimpleNamespace(
    Strategy=Strategy,
    ReduceOp=SimpleNamespace(SUM="SUM", MEAN="MEAN"),
    get_strategy=Strategy,
    has_strategy=lambda: False,
    get_replica_context=lambda: SimpleNamespace(num_replicas_in_sync=1, replica_id_in_sync_group=0, all_reduce=lambda _, x: x),
    in_cross_replica_context=lambda: True,
    **dict.fromkeys(_KINDS.split(), Strategy),
)
DISTRIBUTE.experimental = SimpleNamespace(**dict.fromkeys(_KINDS.split(), Strategy))
DEBUGGING = SimpleNamespace(
    Assert=assert_that,
    assert_equal=_check("==", np.equal),
    assert_none_equal=_check("!=", np.not_equal),
    assert_greater=_check(">", np.greater),
    assert_greater_equal=_check(">=", np.greater_equal),
    assert_less=_check("<", np.less),
    assert_less_equal=_check("<=", np.less_equal),
    assert_positive=_check("> 0, =", lambda x, _: x > 0),
    assert_non_negative=_check(">= 0, =", lambda x, _: x >= 0),
    assert_near=assert_near,
    assert_rank=assert_rank,
    assert_shapes=assert_shapes,
    assert_all_finite=check_numerics,
    check_numerics=check_numerics,
    set_log_device_placement=lambda enabled: None,
)
AUTOGRAPH = SimpleNamespace(
    experimental=SimpleNamespace(do_not_convert=lambda func=None, **_: func if func is not None else lambda func: func),
    set_verbosity=lambda *_, **__: None,
)
TEST = SimpleNamespace(
    is_gpu_available=lambda *_, **__: bool(config.list_physical_devices("GPU")),
    is_built_with_cuda=lambda: bool(config.list_physical_devices("GPU")),
    gpu_device_name=lambda: "/device:GPU:0" if config.list_physical_devices("GPU") else "",
)
NEST = SimpleNamespace(
    assert_same_structure=tree.assert_same_structure,
    flatten=tree.flatten,
    is_nested=tree.is_nested,
    map_structure=tree.map_structure,
    pack_sequence_as=tree.pack_sequence_as,
)
RUN: dict[str, Any] = {
    "Assert": assert_that,
    "IndexedSlices": IndexedSlices,
    "TensorShape": TensorShape,
    "TensorSpec": TensorSpec,
    "autograph": AUTOGRAPH,
    "control_dependencies": control_dependencies,
    "debugging": DEBUGGING,
    "device": device,
    "distribute": DISTRIBUTE,
    "errors": SimpleNamespace(InvalidArgumentError=InvalidArgumentError, OutOfRangeError=OutOfRangeError),
    "executing_eagerly": executing_eagerly,
    "get_logger": get_logger,
    "group": group,
    "init_scope": init_scope,
    "name_scope": name_scope,
    "nest": NEST,
    "no_op": no_op,
    "numpy_function": numpy_function,
    "print": print_tensors,
    "py_function": py_function,
    "test": TEST,
}
