"""What `compile` settles: optimizer, losses and metrics, the plans that follow from them, and what a batch must look like."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from minicnn import backends, losses, metrics, optimizers, serialization
from minicnn.backends import memory
from minicnn.layers.input_spec import InputSpec, assert_input_compatibility
from minicnn.layers.masks import masked_outputs
from minicnn.layers.symbolic import KerasTensor
from minicnn.models import fusion
from minicnn.models.graph import branches, flatten_calls, says_training
from minicnn.models.guards import memory_errors_name_the_layer
from minicnn.models.output_losses import OutputLosses
from minicnn.models.output_metrics import OutputMetrics
from minicnn.models.plan import Plan
from minicnn.models.running_means import RunningMeans
from minicnn.models.summary import PlanTable
from minicnn.variables import Variable

__all__ = ["Compilable"]


class Compilable:
    """A graph of layers that can be compiled; `Trainer` inherits from it and adds the loop.

    Attributes:
        optimizer, loss, metrics: set by `compile`. compiled: whether that was done.
    """

    # What `Model`, which inherits from here, brings.
    name: str
    built: bool
    input_names: list[str]
    output_names: list[str]
    weights: list[Variable]
    trainable_weights: list[Variable]
    losses: list[Any]
    _inputs: list[KerasTensor]
    _outputs: list[KerasTensor]
    _output_struct: Any
    build: Any
    _build_for: Any
    _says_training: Any
    _is_traced: bool
    _input_struct: Any
    _has_own: Any
    _trace_on: Any
    _loss_tracker: Any
    _step_logs: dict[str, Any] | None

    def __init__(self) -> None:
        self.compiled = False
        self.optimizer: Any = None
        self.loss: Any = None
        self.steps_per_execution = 1
        self._means = RunningMeans()
        self._compile_arguments: dict[str, Any] = {}
        self._passes_done = 0
        self._target_shapes: list[tuple[int, ...]] | None = None
        self._forget_plans()

    # --- compile ------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: str | bool = "auto",
        auto_scale_loss: bool = True,
        **kwargs: Any,
    ) -> None:
        """Choose how to train. May be called again at any time: the weights stay, and training is counted anew, so that
        two optimizers see the same orders of the samples.

        Args:
            optimizer: a name, an `Optimizer` or its config.
            loss: a name, a `Loss`, a function; a list or dict of them, one an output.
            loss_weights: factors of the outputs' losses, as list or dict.
            metrics: names ("accuracy"), `Metric`s or functions; lists or dicts of lists for several outputs.
            weighted_metrics: likewise, weighted by sample weights.
            steps_per_execution: how many batches pass from one call of the callbacks to the next, which see the last of them.
            run_eagerly, jit_compile, auto_scale_loss: accepted for Keras's sake, without effect.

        Raises:
            ValueError: for a name that is not known, an argument that is not supported, or less than one step.
        """
        if not isinstance(steps_per_execution, (int, np.integer)) or steps_per_execution < 1:
            raise ValueError(f"`steps_per_execution` must be a positive integer. Received: {steps_per_execution!r}")
        if kwargs:
            raise ValueError(f"Argument(s) not recognized by `compile()`: {', '.join(sorted(kwargs))}. Received: {kwargs}")
        arguments = {
            "optimizer": optimizer,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "steps_per_execution": int(steps_per_execution),
        }
        names = getattr(self, "output_names", None)
        new_optimizer = optimizers.get(optimizer)
        compiled_loss: Any = None
        compiled_metrics: Any = None
        if names:  # otherwise the outputs are known at the first batch only
            compiled_loss = OutputLosses(loss, loss_weights, names)
            compiled_metrics = OutputMetrics(metrics, weighted_metrics, names)
        # Everything was understood: only now does anything change.
        self.optimizer, self.loss, self.steps_per_execution = new_optimizer, loss, int(steps_per_execution)
        self._compile_arguments = arguments
        self._means = RunningMeans(compiled_loss, compiled_metrics)
        self.compiled = True
        self._passes_done = 0
        self._target_shapes = None
        self._forget_plans()

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile` was given, as plain data; empty if it was not called."""
        if not self.compiled:
            return {}
        settings = {name: serialization.serialize(value) for name, value in self._compile_arguments.items()}
        settings["optimizer"] = serialization.serialize(self.optimizer)
        return settings

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """`compile` with what `get_compile_config` returned, and the optimizer's slots created."""
        self.compile(
            optimizer=optimizers.deserialize(config["optimizer"]),
            loss=_map_leaves(_loss_of, config.get("loss")),
            loss_weights=config.get("loss_weights"),
            metrics=_map_leaves(_metric_of, config.get("metrics")),
            weighted_metrics=_map_leaves(_metric_of, config.get("weighted_metrics")),
            steps_per_execution=config.get("steps_per_execution", 1),
        )
        if self.built:
            self.optimizer.build(self.trainable_weights)

    @property
    def _compiled_loss(self) -> Any:
        return self._means.loss

    @property
    def _compiled_metrics(self) -> Any:
        return self._means.metrics

    @property
    def metrics(self) -> list[Any]:
        """The metrics in use: the loss's mean, those of `compile`, those that are attributes of the model or of its layers."""
        held = self._held_metrics
        if not self.compiled:
            return held
        tracker = self._loss_tracker
        mean = self._compiled_loss.results()["loss"] if self._compiled_loss else 0.0
        # A step of the class's own adds to the tracker itself; where only the other step is its own, one of the two has a mean.
        if not self._has_own("train_step") and (mean or not self._has_own("test_step")):
            tracker = metrics.Mean(name="loss")
            tracker.update_state(mean)
        elif self._compile_arguments["loss"] is None and not self._has_own("compute_loss"):
            return held
        return [tracker, *(self._compiled_metrics.metrics if self._compiled_metrics else []), *held]

    @property
    def _held_metrics(self) -> list[Any]:
        layers = self._flatten_layers()  # type: ignore[attr-defined]
        values = [value for layer in layers for value in vars(layer).values() if isinstance(value, metrics.Metric)]
        return list({id(value): value for value in values if value is not self._loss_tracker}.values())

    @property
    def metrics_names(self) -> list[str]:
        return [metric.name for metric in self.metrics]

    def reset_metrics(self) -> None:
        """Start the loss's mean and all metrics again."""
        self._step_logs = None
        own = self._has_own("train_step") or self._has_own("test_step")
        for metric in (self._loss_tracker, *self.metrics) if own else self._held_metrics:
            metric.reset_state()
        if self._compiled_loss:
            self._compiled_loss.reset()
        if self._compiled_metrics:
            self._compiled_metrics.reset()

    def _running_means(self) -> dict[str, Any]:
        """Where the loss's mean and all metrics stand, as plain data and arrays."""
        return {"targets": self._target_shapes, "values": [variable.numpy() for variable in self._summed_variables()]}

    def _set_running_means(self, state: dict[str, Any]) -> None:
        """The reverse of `_running_means`, also before the first batch."""
        if state["targets"] is not None:
            self._prepare([], [np.broadcast_to(np.float32(0), shape) for shape in state["targets"]])
        for variable, value in zip(self._summed_variables(), state["values"], strict=True):
            variable.assign(value)

    def _summed_variables(self) -> list[Variable]:
        found = list(self._compiled_loss.variables) if self._compiled_loss else []
        for metric in [*(self._compiled_metrics.metrics if self._compiled_metrics else []), *self._held_metrics]:
            found += metric.variables
        return found

    def _assert_compiled(self, method: str) -> None:
        if not self.compiled:
            raise ValueError(f"You must call `compile()` before calling `{method}()`.")
        step = "train_step" if method in ("fit", "train_on_batch") else "test_step"
        if self._compile_arguments["loss"] is None and self._compiled_loss and self.built and not self._has_own(step):
            self._plan_for("train")  # which says so, if there is no loss at all; what is not built says it at the first batch

    # --- copies -------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: all but plans and step memory, which it makes anew."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_plans", "_memory")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_plans()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        for variable in self.weights:  # before the optimizer, which then updates the copies
            copy.deepcopy(variable, memo)
        optimizers.Optimizer.follow_copies(memo)  # one that came before the model
        twin = memo[id(self)] = object.__new__(type(self))
        twin.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return twin

    # --- plans --------------------------------------------------------------------------

    def _forget_plans(self) -> None:
        """After a change of layers or loss."""
        self._plans: dict[str, Plan] = {}
        self._branches: bool | None = None  # not known yet
        self._calls_say = False
        self._memory = memory.ArenaOfThread()

    def _plan_for(self, use: str, *, watch: bool = False, training: bool | None = None, as_called: bool = False) -> Plan:
        """The plan to "train" (and evaluate) or to "predict" with, to be a "layer" that another layer holds, or to have its
        gradient's gradient ("twice": no layer is joined to another).

        Args:
            training: which graph is meant, where there are two; by default the one that `use` says.
            as_called: whether nobody said anything of training.
        """
        training = (use == "train") if training is None else training
        if self._branches is None:
            self._branches, self._calls_say = branches(self), says_training(self)  # type: ignore[arg-type]
        as_called = as_called and self._calls_say
        said = None if as_called else training
        key = use + "+watch" * watch + "+training" * (training and self._branches) + "+as called" * as_called
        plan = self._plans.get(key)
        if plan is None or not plan.is_for(self):  # type: ignore[arg-type]
            if use == "train":
                last = fusion.activations_of_outputs(flatten_calls(self, training))  # type: ignore[arg-type]
                logits_for = self._compiled_loss.logits_for(last)
                plan = Plan(
                    self,  # type: ignore[arg-type]
                    logits_for=logits_for,
                    watch_numerics=watch,
                    training=training,
                    with_masks=True,
                )
                if self._compile_arguments["loss"] is None and not plan.has_losses:
                    raise ValueError("No loss to compute: pass a `loss` argument to `compile()`, or call `add_loss`.")
            elif use == "twice":
                plan = Plan(self, keep=None, of_inputs=True, split=True, training=said)  # type: ignore[arg-type]
            else:
                plan = Plan(self, of_inputs=use == "layer", training=said)  # type: ignore[arg-type]
            self._plans[key] = plan
        return plan

    @contextlib.contextmanager
    def _step_memory(self) -> Iterator[memory.Arena]:
        """Around steps: arrays are taken again, and one that cannot be had is named after its layer."""
        with self._memory.arena as arena, memory_errors_name_the_layer():
            yield arena

    def plan(self, batch_size: int = 32) -> PlanTable:
        """What a step runs: one dict a step, with the layers that run as one, the kernel that computes a convolution for
        batches of `batch_size`, and FLOPs and bytes an image. Prints as a table.
        """
        return self.training_plan().describe(batch_size)

    def training_plan(self, training: bool | None = None) -> Plan:
        """The plan that `fit` runs; the one to predict with where the model is not compiled.

        Args:
            training: False for the graph without training, where a `call` has two.
        """
        self._require_graph()
        return self._plan_for("train" if self.compiled and self._compiled_loss else "predict", training=training)

    def _require_graph(self) -> None:
        if not self.built:
            raise ValueError(
                f"Model '{self.name}' has no input shape yet: build it with data, an `Input` or `model.build(input_shape)`."
            )

    def _prepare(self, x: list[Any], y: list[Any] | None) -> None:
        """At the first batch: shapes are known, so weights, losses and metrics can be made."""
        callless = self._is_traced and not self._has_call  # type: ignore[attr-defined]  # its steps call what it holds
        own = self._has_own("train_step") and (callless or self._compile_arguments.get("loss") is None)
        if not own or not self._is_traced:
            self._build_for(x)
        if not self.compiled or own or (y is None and self._compile_arguments["loss"] is not None):
            return
        self._make_compiled(self.output_names)
        if y is None:
            return
        shapes = [tensor.shape for tensor in self._outputs]
        if self._compiled_metrics.built is None:
            own_step = self._has_own("train_step") or self._has_own("test_step")
            masked = masked_outputs(self._outputs) if own_step else []
            if masked and self._compile_arguments["loss"] is not None:
                raise NotImplementedError(
                    f"Model '{self.name}' has an output with a mask, {masked[0]!r}, and steps of its own, whose predictions "
                    "have none: they would not leave masked steps out of the loss and the metrics, as Keras does. End the mask "
                    "before (`x * 1` has none), and give a `sample_weight`."
                )
            self._compiled_loss.resolve_shapes(y, shapes)
            self._compiled_metrics.build(y, shapes)
            self._target_shapes = [tuple(array.shape) for array in y]

    def _make_compiled(self, names: list[str]) -> None:
        """Losses and metrics, if the names of the outputs were not known when `compile` was called."""
        arguments = self._compile_arguments
        if self._compiled_loss is None:
            self._means.loss = OutputLosses(arguments["loss"], arguments["loss_weights"], names)
        if self._compiled_metrics is None:
            self._means.metrics = OutputMetrics(arguments["metrics"], arguments["weighted_metrics"], names)

    def _feed(self, arrays: list[Any]) -> list[Any]:
        """A batch as the plan takes it: checked against the inputs, of their dtype, where the backend computes.

        Raises:
            ValueError: for a wrong rank or extent, in Keras's words.
        """
        fed = []
        for tensor, array in zip(self._inputs, arrays):
            demanded = tensor.shape
            if array.ndim == len(demanded) - 1 and demanded[-1] == 1:
                array = array[..., None]
            elif array.ndim == len(demanded) + 1 and array.shape[-1] == 1:
                array = array[..., 0]
            if array.shape[1:] != demanded[1:]:  # a size may be open
                spec = InputSpec(shape=(None, *demanded[1:]), name=tensor.name)
                assert_input_compatibility(spec, [tuple(array.shape)], self.name)
            if isinstance(array, np.ndarray) and array.dtype != tensor.dtype:
                converted = memory.empty(array.shape, tensor.dtype)
                np.copyto(converted, array, casting="unsafe")
                array = converted
            fed.append(backends.asarray(array, tensor.dtype))
        return fed


def _loss_of(identifier: Any) -> Any:
    return identifier if isinstance(identifier, str) else losses.get(identifier)


def _metric_of(identifier: Any) -> Any:
    return identifier if isinstance(identifier, str) else metrics.get(identifier)


def _map_leaves(function: Any, struct: Any) -> Any:
    """`function` of every name or config in lists and dicts of them."""
    if struct is None:
        return None
    if isinstance(struct, (list, tuple)):
        return [_map_leaves(function, item) for item in struct]
    if isinstance(struct, dict) and "class_name" not in struct:
        return {key: _map_leaves(function, item) for key, item in struct.items()}
    return function(struct)
