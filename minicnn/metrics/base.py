"""`Metric`, which users subclass, and the running means that most metrics are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import backends, config, initializers, losses, registry, serialization
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.losses.targets import Shape, as_array, cast, match_ranks
from minicnn.structure import flatten_struct
from minicnn.tensor import Symbolic, as_tensor, watching
from minicnn.variables import Variable


class Metric:
    """Base class: a number that batches add up to.

    A metric of your own creates its state in `__init__` with `self.add_variable(shape, initializer, name=...)`,
    adds a batch to it in `update_state(y_true, y_pred, sample_weight=None)` and computes from it in `result()`.

    Args:
        dtype: "float32" or "float64"; default `config.floatx()`.
        name: default the class's, in snake case.

    Attributes:
        variables: the state, that of metrics inside this one included.
    """

    _direction: str | None = None  # "up" where more is better, "down" where less is: what callbacks in mode "auto" ask

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name or registry.unique_name(registry.snake_case(type(self).__name__))
        self.dtype = str(np.dtype(dtype or config.floatx()))
        self._variables: list[Variable] = []

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update_state" in cls.__dict__:
            cls.update_state = _in_a_call(cls.update_state)  # type: ignore[method-assign]

    def add_variable(
        self, shape: Any = (), initializer: Any = None, dtype: Any = None, aggregation: str = "sum", name: str | None = None
    ) -> Variable:
        """A new state variable; `aggregation` is Keras's, for several devices, and has no effect."""
        if "_variables" not in self.__dict__:
            raise RuntimeError("You forgot to call `super().__init__()` in the `__init__()` method. Go add it!")
        name = name or registry.unique_name("variable")
        variable = Variable(
            initializers.get("zeros" if initializer is None else initializer),
            shape=tuple(shape),
            dtype=dtype or self.dtype,
            trainable=False,
            name=name,
            path=f"{self.name}/{name}",
        )
        self._variables.append(variable)
        return variable

    def add_weight(self, shape: Any = (), initializer: Any = None, dtype: Any = None, name: str | None = None) -> Variable:
        """`add_variable` under its older name."""
        return self.add_variable(shape, initializer, dtype, name=name)

    def _build(self, y_true_shape: Shape, y_pred_shape: Shape) -> None:
        """Create the state whose shape follows from that of a batch, once; a model calls it before the first batch."""

    @property
    def variables(self) -> list[Variable]:
        # Variables and metrics that a user's metric has in its attributes, and in lists and dicts there, belong to its state.
        held = flatten_struct(list(vars(self).values()))
        own = [item for item in held if isinstance(item, Variable)]
        metrics = {id(item): item for item in held if isinstance(item, Metric)}
        found = [*own, *(variable for metric in metrics.values() for variable in metric.variables)]
        return list({id(variable): variable for variable in found}.values())

    def reset_state(self) -> None:
        """Start again: every variable becomes 0."""
        for variable in self.variables:
            variable.value.fill(0)

    def reset_states(self) -> None:
        """`reset_state`, by its older name."""
        self.reset_state()

    def update_state(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch."""
        raise NotImplementedError(f"Metric {type(self).__name__!r} must implement `update_state()`.")

    def _update_state(self, *args: Any, **kwargs: Any) -> None:
        self.update_state(*as_tensor(list(args)), **{name: as_tensor(value) for name, value in kwargs.items()})

    def result(self) -> Any:
        """The metric of all batches since `reset_state`."""
        raise NotImplementedError(f"Metric {type(self).__name__!r} must implement `result()`.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch and return the result so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The reverse of `get_config`."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def _in_a_call(update: Callable[..., Any]) -> Callable[..., Any]:
    """`update_state` that a user's `call` may give symbolic tensors: the graph then updates the metric, each time it runs."""

    @functools.wraps(update)
    def update_state(self: Metric, *args: Any, **kwargs: Any) -> Any:
        if watching.tracing and any(isinstance(item, Symbolic) for item in flatten_struct([args, kwargs])):
            return watching.tracing[-1].do(self._update_state, *args, **kwargs)
        return update(self, *args, **kwargs)

    return update_state


def _by_sample(values: Any, sample_weight: Any, reduce: Callable[..., Any], dtype: str) -> tuple[Array, Array | None]:
    """`values` of any rank as one a sample, and the samples' weights: Keras's rule.

    Axes that the weights do not have are reduced before the weights multiply, the others after.
    """
    values = np.asarray(backends.to_numpy(values), dtype)
    if sample_weight is not None:
        values, weights = match_ranks(values, np.asarray(backends.to_numpy(as_array(sample_weight)), dtype))
        if values.ndim > weights.ndim:
            values = reduce(values, axis=tuple(range(weights.ndim, values.ndim)))
        weights = np.broadcast_to(weights, values.shape)
        values = values * weights
        sample_weight = reduce(weights, axis=tuple(range(1, weights.ndim))) if weights.ndim > 1 else weights
    if values.ndim > 1:
        values = reduce(values, axis=tuple(range(1, values.ndim)))
    return values, sample_weight


@registry.register("metric", "sum")
class Sum(Metric):
    """The sum of all values, each multiplied by its weight."""

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = self.add_variable(name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values, _ = _by_sample(as_array(values), sample_weight, np.sum, self.dtype)
        self.total.assign_add(values.sum())

    def result(self) -> Any:
        return as_tensor(self.total.numpy())


@registry.register("metric", "mean")
class Mean(Metric):
    """sum of weight * value / sum of weight, over all samples."""

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = self.add_variable(name="total")
        self.count = self.add_variable(name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add `values`: a number, or one value a sample (what is left of higher ranks is averaged).

        Args:
            sample_weight: None, or numbers that broadcast to the samples.
        """
        values = as_array(values)
        weights = None if sample_weight is None else as_array(sample_weight)
        if values.ndim > 1 or (weights is not None and weights.shape != values.shape):
            totals, weights = _by_sample(values, weights, np.mean, self.dtype)
            self.total.assign_add(totals.sum())
            self.count.assign_add(totals.size if weights is None else weights.sum())
            return
        # A training step takes this branch, which allocates no memory.
        values = cast(values, self.total.value.dtype).reshape(-1)
        weights = None if weights is None else cast(weights, self.total.value.dtype).reshape(-1)
        ops.accumulate_mean_(self.total.value, self.count.value, values, weights)

    def result(self) -> Any:
        """The mean; 0 where nothing was added."""
        total, count = float(self.total), float(self.count)
        return as_tensor(np.asarray(total / count if count else 0.0, self.dtype))


@registry.register("metric", "mean_metric_wrapper")
class MeanMetricWrapper(Mean):
    """The mean of `fn(y_true, y_pred, **kwargs)`, one value a sample."""

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__(name or registry.unique_name(registry.snake_case(type(self).__name__)), dtype)
        self._fn = fn
        self._fn_kwargs = kwargs
        if isinstance(fn, losses.Loss) or fn in losses.CLASSES:
            self._direction = "down"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """The values of a batch; minicnn's own metrics compute them with an op."""
        return self._fn(as_tensor(as_array(y_true)), as_tensor(as_array(y_pred)), **self._fn_kwargs)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch of targets and predictions, on the host or where the backend computes."""
        super().update_state(self.values(y_true, y_pred), sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fn": serialization.serialize(self._fn), **serialization.serialize(self._fn_kwargs)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        if "fn" not in config:
            return cls(**config)
        config = dict(config)
        fn = serialization.deserialize(config.pop("fn"), "metric function")
        return cls(fn, **serialization.deserialize(config))


class FunctionMetric(MeanMetricWrapper):
    """Base of the metrics that are means of one of minicnn's functions: its arguments are attributes, and the config."""

    def __init__(self, fn: Callable[..., Any], name: str | None, dtype: Any, **kwargs: Any) -> None:
        super().__init__(fn, name, dtype, **kwargs)
        for argument, value in kwargs.items():
            setattr(self, argument, value)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, **self._fn_kwargs}
