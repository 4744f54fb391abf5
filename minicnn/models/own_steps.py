"""Training steps that a class of the user's own writes, as in Keras:

    class Custom(minicnn.Model):
        def train_step(self, data):
            x, y = data
            with minicnn.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
            for metric in self.metrics:
                metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

`fit` then calls this in place of its own step, with all that stands around a step: epochs, shuffling, callbacks, validation.
What the method returns is the log of the batch, and that of the last batch is the epoch's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from minicnn import metrics, tape
from minicnn.layers.tracing import takes
from minicnn.models.compile import Compilable
from minicnn.models.data_checks import Arrays, unpack
from minicnn.structure import flatten_struct, pack_struct
from minicnn.tensor import as_tensor

__all__ = ["OwnSteps", "as_lists"]


def as_lists(x: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """A batch as lists of arrays, from three such lists or from the one tuple that Keras passes."""
    if y is None and isinstance(x, tuple):
        x, y, sample_weight = unpack(x)
    return tuple(None if part is None else flatten_struct(part) for part in (x, y, sample_weight))  # type: ignore[return-value]


def _flat(logs: dict[str, Any]) -> dict[str, Any]:
    """Logs with the values of a metric that has several, a dict of them, among the others."""
    found: dict[str, Any] = {}
    for name, value in logs.items():
        found.update(_flat(value) if isinstance(value, dict) else {name: value})
    return found


class _CompiledMetrics:
    """The metrics that `compile` was given as one: a model's `compiled_metrics`, and among its `metrics` until a step has
    shown their targets, of which they are made.
    """

    name = "compile_metrics"

    def __init__(self, model: OwnSteps) -> None:
        self._model = model

    def update_state(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into them."""
        self._model._update_compiled_metrics(y, y_pred, sample_weight)

    def result(self) -> dict[str, Any]:
        """Name -> value so far; empty before the first batch."""
        compiled = self._model._compiled_metrics
        return compiled.results() if compiled else {}

    def reset_state(self) -> None:
        """Nothing: before the first batch there is no state."""


class OwnSteps(Compilable):
    """What a class with a `train_step` or `test_step` of its own finds in a model; `Trainer` inherits from it."""

    def __init__(self) -> None:
        super().__init__()
        self._step_logs: dict[str, Any] | None = None
        self._loss_tracker = metrics.Mean(name="loss")

    def _has_own(self, step: str) -> bool:
        """Whether the class, below those of minicnn, defines this method, or one that it has to call."""
        names = (step, "compute_loss", "compute_metrics")
        return not all(getattr(type(self), name).__module__.startswith("minicnn.models.") for name in names)

    def _step(self, name: str, **options: Any) -> Callable[..., Any]:
        """The step of this name, of (x, y, sample_weight) as lists."""
        step = getattr(self, name)
        if not self._has_own(name):
            return functools.partial(step, **options)
        if getattr(type(self), name).__module__.startswith("minicnn.models."):  # it is the loss that is the class's own
            step = functools.partial(self._step_by_tape, name == "train_step")
        return functools.partial(self._run_own, step)

    def _step_by_tape(self, training: bool, data: Any) -> dict[str, Any]:
        """A step that goes through `compute_loss` and `compute_metrics`, as Keras's does."""
        x, y, sample_weight = unpack(data)
        with tape.GradientTape() as recorded:
            y_pred = self(x, training=training)  # type: ignore[operator]
            told = {"training": training} if takes(self.compute_loss, "training") else {}
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, **told)
        self._loss_tracker.update_state(loss, sample_weight=len(flatten_struct(x)[0]))  # a mean over samples, as Keras's
        if training:
            variables = self.trainable_weights
            self.optimizer.apply(recorded.gradient(loss, variables), variables)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def _run_own(self, step: Callable[[Any], Any], x: list[Any], y: list[Any] | None, weights: list[Any] | None) -> None:
        """A step that takes one argument: tensors, in the structure of the model's inputs and outputs."""
        data = as_tensor(self._packed(self._input_struct, x))
        if y is not None:
            parts = [self._packed(self._output_struct, y), *([] if weights is None else [self._packed(None, weights)])]
            data = (data, *(as_tensor(part) for part in parts))
        self._step_logs = _flat(step(data) or {})

    @staticmethod
    def _packed(struct: Any, arrays: list[Any]) -> Any:
        if isinstance(arrays, Arrays):
            return pack_struct(arrays.struct, arrays)
        if isinstance(struct, dict) and len(struct) == len(arrays):
            return pack_struct(struct, arrays)
        return arrays[0] if len(arrays) == 1 else arrays

    # --- what the steps call ------------------------------------------------------------

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
        allow_empty: bool = False,
    ) -> Any:
        """The loss that `compile` was given, and what was added to it by regularizers and `add_loss`: one number.

        Raises:
            ValueError: if there is none.
        """
        total = self.compiled_loss(y, y_pred, sample_weight, self.losses)
        if total is None and not allow_empty:
            raise ValueError(
                "No loss to compute. Provide a `loss` argument in `compile()`, or override `compute_loss` of "
                f"{type(self).__name__}."
            )
        return total

    def compiled_loss(self, y: Any, y_pred: Any, sample_weight: Any = None, regularization_losses: Any = ()) -> Any:
        """The loss that `compile` was given, plus these; None where there is none. Steps written for Keras 2 call it so."""
        total: Any = None
        if self._compile_arguments.get("loss") is not None and y is not None:
            targets, predictions = flatten_struct(y), flatten_struct(y_pred)
            losses = self._compiled_for(predictions).loss
            losses.resolve_shapes(targets, [tuple(one.shape) for one in predictions])
            weights = [None] * len(targets) if sample_weight is None else flatten_struct(sample_weight)
            for loss, factor, target, prediction, weight in zip(
                losses.losses, losses.factors, targets, predictions, weights * len(targets)
            ):
                if loss is not None:
                    value = loss(target, prediction, weight)
                    value = value if factor == 1.0 else value * factor
                    total = value if total is None else total + value
        for penalty in regularization_losses or ():
            total = penalty if total is None else total + penalty
        return total

    @property
    def compiled_metrics(self) -> _CompiledMetrics:
        """The metrics that `compile` was given, as steps written for Keras 2 reach them: `.update_state(y, y_pred)`."""
        return _CompiledMetrics(self)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Take a batch into the metrics that `compile` was given; the results of all metrics by name."""
        if self.compiled and y is not None:
            self._update_compiled_metrics(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def _update_compiled_metrics(self, y: Any, y_pred: Any, sample_weight: Any) -> None:
        targets, predictions = flatten_struct(y), flatten_struct(y_pred)
        weights = None if sample_weight is None else flatten_struct(sample_weight)
        compiled = self._compiled_for(predictions).metrics
        if compiled.built is None:
            compiled.build(targets, [tuple(one.shape) for one in predictions])
        compiled.update(targets, predictions, weights)

    @property
    def metrics(self) -> list[Any]:
        """The metrics in use: the loss's mean, those of `compile`, those that are attributes of the model or of its layers.

        Where the step is the class's own, those of `compile` are one, "compile_metrics", until they have seen targets.
        """
        found = super().metrics
        asked = self.compiled and (self._compile_arguments["metrics"] or self._compile_arguments["weighted_metrics"])
        made = self._compiled_metrics and self._compiled_metrics.built is not None
        own = self._has_own("train_step") or self._has_own("test_step")
        return [*found, _CompiledMetrics(self)] if asked and own and not made else found

    def _compiled_for(self, predictions: list[Any]) -> Any:
        """The losses and metrics that `compile` was given, for so many outputs."""
        names = getattr(self, "output_names", None) or [f"output_{i}" for i in range(len(predictions))]
        self._make_compiled(names)
        return self._means

    def get_metrics_result(self) -> dict[str, Any]:
        """Name -> result of each of `metrics`."""
        return _flat({metric.name: metric.result() for metric in self.metrics})

    def _learns_its_inputs(self) -> bool:
        """Whether the model has no inputs before it sees data."""
        return bool(self._is_traced and not self._inputs)

    def _takes_any_data(self) -> bool:
        """Whether steps of the class's own alone know what the data are: there is no `call` that says so."""
        return self._learns_its_inputs() and not self._has_call  # type: ignore[attr-defined]

    def _learn_inputs(self, x: Any) -> None:
        """Trace a `call` that takes a dict, whose keys are in the data alone."""
        if self._learns_its_inputs() and isinstance(x, dict) and self._has_call:  # type: ignore[attr-defined]
            self._trace_on({key: (None, *value.shape[1:]) for key, value in x.items()})
