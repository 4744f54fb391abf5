"""`fit`, `evaluate`, `predict`: the training loop.

Follow one pixel: `fit` hands a batch to `train_step`. That calls `Plan.forward`, which calls each layer's `forward`
(`Conv2D.forward` calls `ops.conv2d_forward`, the backend's own function); then the loss; then `Plan.backward`, which
calls each layer's `backward` in the opposite order (`Conv2D.backward`, `ops.conv2d_backward`); then the optimizer.
A fast backend's function chooses between two drivers (direct, Winograd), and those call compiled code.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from minicnn import backends, config
from minicnn.callbacks import CallbackList
from minicnn.models.cuda_graph import CapturedStep
from minicnn.models.data_adapter import ArrayBatches, make_batches
from minicnn.models.data_checks import (
    apply_class_weight,
    as_arrays,
    check_finite,
    check_lengths,
    names_in,
    split_validation,
)
from minicnn.models.guards import NumericsError
from minicnn.models.own_steps import OwnSteps, as_lists
from minicnn.models.plan import Plan, Step
from minicnn.models.run import Run, Validation
from minicnn.structure import pack_returned

__all__ = ["Trainer"]


class Trainer(OwnSteps):
    """What makes a graph of layers trainable; `Model` inherits from it.

    Attributes:
        history: the `History` of the last `fit`. stop_training: a callback sets it to end training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: Any = None
        self.stop_training = self.stop_evaluating = self.stop_predicting = False
        self._shuffle_seed = config.next_seed()

    # --- one batch ----------------------------------------------------------------------

    def train_step(self, x: Any, y: Any = None, sample_weight: Any = None, watch: bool = False) -> Any:
        """Forward, backward, update: one step on one batch. Its loss joins the running means, unread.

        A class may have a step of its own, `train_step(self, data)`, as in Keras: see `own_steps`.

        Args:
            x, y: one array an input, an output; or (x, y) or (x, y, sample_weight) as the one argument.
            sample_weight: one array, or one an output, or None.
            watch: check every layer's output and gradients for NaN.
        """
        x, y, sample_weight = as_lists(x, y, sample_weight)
        in_training = self._says_training()
        plan = self._plan_for("train", watch=watch, training=in_training)
        optimizer = self.optimizer
        if not optimizer.built:
            optimizer.build(self.trainable_weights)  # in Keras's order, which files keep

        # Forward: every layer computes its output, and sets aside in `saved` what its gradient will need.
        y, sample_weight = y and _placed(y), sample_weight and _placed(sample_weight)
        saved: list[Any] = []
        penalties: list[Any] = []
        outputs = plan.forward(self._feed(x), in_training, saved, penalties)
        loss, own, predictions, kept = self._compiled_loss.forward(y, outputs, sample_weight, plan.logits_for)
        del outputs

        # Backward: the gradient of the loss at the outputs becomes that of every weight.
        ones = [np.ones((), plan.dtypes[i]) for i in plan.losses]
        gradients, _ = plan.backward(self._compiled_loss.backward(kept, plan.logits_for), saved, of_losses=ones)
        del kept
        for variable in plan.regularized:
            if variable in gradients:
                variable.regularizer.gradient_(gradients[variable], variable.value)
        # Metrics see what the forward pass saw, so they come before the weights change.
        self._track(plan, penalties, loss, own, y, predictions, sample_weight)
        # The gradient of the scaled loss, penalties and all, which the optimizer divides back.
        optimizer.apply([optimizer.scale_loss(gradient) for gradient in gradients.values()], list(gradients))
        return self._results() if self._has_own("train_step") else None

    def test_step(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """The loss and the metrics of one batch join the running means; nothing is updated. Arguments as in `train_step`."""
        x, y, sample_weight = as_lists(x, y, sample_weight)
        plan = self._plan_for("train", training=False)
        y, sample_weight = y and _placed(y), sample_weight and _placed(sample_weight)
        penalties: list[Any] = []
        outputs = plan.forward(self._feed(x), False, penalties=penalties)
        loss, own, predictions, _ = self._compiled_loss.forward(y, outputs, sample_weight, plan.logits_for)
        self._track(plan, penalties, loss, own, y, predictions, sample_weight)
        return self._results() if self._has_own("test_step") else None

    def _track(
        self,
        plan: Plan,
        penalties: list[Any],
        loss: Any,
        own: list[Any],
        y: list[Any],
        predictions: list[Any],
        sample_weight: list[Any] | None,
    ) -> None:
        """Take a batch into the running means; penalties count with the loss."""
        for penalty in penalties:
            loss = penalty if loss is None else loss + penalty
        for variable in plan.regularized:
            penalty = variable.regularizer.penalty(variable.value)
            loss = penalty if loss is None else loss + penalty
        self._compiled_loss.track(loss, own, len((y or predictions)[0]))
        if y is not None:
            self._compiled_metrics.update(y, predictions, sample_weight)

    def _logs(self) -> dict[str, float]:
        """Name -> running mean since `reset_metrics`, sorted by name as Keras's logs are. Waits for a GPU."""
        if self._step_logs is not None:  # what a step of the class's own returned last
            return dict(sorted((name, float(np.asarray(value))) for name, value in self._step_logs.items()))
        return self._results()

    def _results(self) -> dict[str, float]:
        updated = {metric.name: float(metric.result()) for plan in self._plans.values() for metric in plan.metrics}
        return dict(sorted({**updated, **self._compiled_loss.results(), **self._compiled_metrics.results()}.items()))

    def _in_order(self, logs: dict[str, float]) -> Any:
        """Logs as `evaluate` returns them, in Keras's order: the loss, metrics that are listed under their own names as
        `compile` listed them, the outputs' losses, all others by name. A number if there is but one.
        """
        values = [logs[name] for name in self._ordered(logs)]
        return values[0] if len(values) == 1 else values

    def _ordered(self, logs: dict[str, float]) -> list[str]:
        """The names of the logs in that order."""
        listed = self._compiled_metrics.metrics if self._compiled_metrics else []
        losses = self._compiled_loss.results() if self._compiled_loss else ()
        names = ["loss", *(metric.name for metric in listed), *losses]
        return [name for name in dict.fromkeys([*names, *sorted(logs)]) if name in logs]

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` and `train_on_batch` return, in their order; before the first step, of the metrics."""
        return self._ordered(self._logs()) if self._compiled_loss else super().metrics_names

    # --- fit ----------------------------------------------------------------------------

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | list[int] = 1,
    ) -> Any:
        """Train for a number of epochs.

        Args:
            x: array (N, ...), a list or dict of them; or any iterable of batches `(x, y)` or
                `(x, y, sample_weight)`: a `Dataset`, a generator, a `tf.data` or PyTorch loader.
            y: targets, likewise; None with an iterable.
            batch_size: samples a step, default 32; not with an iterable.
            epochs: train until this epoch. initial_epoch: begin at this one (to resume).
            verbose: "auto", 0 (silent), 1 (progress bar) or 2 (a line an epoch).
            callbacks: list of `Callback`.
            validation_split: the last part of the arrays is held out. validation_data: `(x, y)`,
                `(x, y, sample_weight)` or an iterable, instead.
            shuffle: reorder the samples every epoch; "batch" reorders whole batches (arrays only).
            class_weight: {class: factor}, 1 for the others; multiplies weights that batches bring.
            sample_weight: (N,).
            steps_per_epoch: batches an epoch; the next goes on where it stopped, until the data end. validation_steps:
                batches to take, from the first.
            validation_freq: evaluate every so many epochs, or at the listed ones (from 1).

        Returns:
            `History`; its `.history` is a dict of lists, one value an epoch.

        Ctrl-C ends training after the current step: the model is usable, `model.history` holds the
        epochs that were finished, and KeyboardInterrupt is raised again.
        """
        self._assert_compiled("fit")
        if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)) or epochs < 0:
            raise ValueError(f"`epochs` must be a non-negative integer. Received: epochs={epochs!r}")
        if class_weight is not None and sample_weight is not None:
            raise ValueError("You cannot `class_weight` and `sample_weight` at the same time.")
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = split_validation((x, y, sample_weight), validation_split)
        source = self._source((x, y, sample_weight), batch_size, shuffle, steps_per_epoch)
        hooks = self._hooks(callbacks, verbose, epochs, source, history=True)
        validation = Validation(validation_data, validation_batch_size or batch_size, validation_steps, validation_freq)
        run = Run(self, source, validation, hooks)
        watch = hooks.watches_numerics  # at every value, for which a device has to be waited for
        captured = backends.on_device() and not watch and not self._has_own("train_step")
        train_step = CapturedStep(self) if captured else self._step("train_step", watch=watch)
        with hooks, contextlib.closing(source), self._step_memory() as arena, self._means.of_a_run():
            for batch_x, batch_y, weights in run.batches(initial_epoch, epochs, class_weight):
                try:
                    train_step(batch_x, batch_y, weights)
                except NumericsError as error:
                    run.stop(error)
                del batch_x, batch_y, weights  # the next batch may take this one's memory
                arena.new_step()
        self.optimizer.finalize_variable_values(self.trainable_weights)
        hooks.on_train_end(run.logs)
        return self.history

    def _source(
        self, data: tuple[Any, Any, Any], batch_size: int | None, shuffle: bool | str, steps: int | None, targets: bool = True
    ) -> Any:
        """Where batches of `data`, (x, y, sample_weight), come from."""
        if data[0] is None:
            raise ValueError("Missing data: `x` is None.")
        self._learn_inputs(data[0])
        return make_batches(data, self._names, batch_size, shuffle, self._shuffle_seed, steps, targets)

    @property
    def _names(self) -> tuple[list[str], list[str], list[str]]:
        """Of inputs and outputs, as messages about data say them, and of the outputs whose targets nobody reads."""
        open_ended = self._learns_its_inputs()  # from the data: it may be any number of them
        names = getattr(self, "input_names", None), getattr(self, "output_names", None)
        unread = self._compiled_loss.unread(self._compiled_metrics.measured) if self._compiled_loss else []
        return (names[0] or [], names[1] or [], unread) if open_ended else (names[0] or ["x"], names[1] or ["y"], unread)

    def _targets(self, y: list[Any] | None) -> Any:
        """The targets, checked."""
        if y is None and (self._has_own("train_step") or self._has_own("test_step") or self._compile_arguments["loss"] is None):
            return None
        if y is None:
            raise ValueError("The data have no targets: pass `y`, or batches `(x, y)`.")
        if backends.on_device():  # the loss does not look at them there, since that would wait for the device
            self._compiled_loss.check_targets(y, [tensor.shape for tensor in self._outputs])
        return y

    def _hooks(self, given: Any, verbose: str | int, epochs: int, source: Any, history: bool = False) -> CallbackList:
        if isinstance(given, CallbackList):
            return given
        hooks = CallbackList(
            given, add_history=history, add_progbar=verbose != 0, model=self, verbose=verbose, epochs=epochs, steps=source.steps
        )
        hooks.steps_per_execution = self.steps_per_execution
        return hooks

    def fit_generator(
        self,
        generator: Any,
        steps_per_epoch: int | None = None,
        epochs: int = 1,
        **kwargs: Any,
    ) -> Any:
        """`fit`, under the name that older programs call for generators; what steered their threads has no effect."""
        return self.fit(generator, steps_per_epoch=steps_per_epoch, epochs=epochs, **_without_threads(kwargs))

    def evaluate_generator(self, generator: Any, steps: int | None = None, **kwargs: Any) -> Any:
        """`evaluate`, as `fit_generator` is `fit`."""
        return self.evaluate(generator, steps=steps, **_without_threads(kwargs))

    def predict_generator(self, generator: Any, steps: int | None = None, **kwargs: Any) -> Any:
        """`predict`, as `fit_generator` is `fit`."""
        return self.predict(generator, steps=steps, **_without_threads(kwargs))

    # --- evaluate and predict -----------------------------------------------------------

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics over data; arguments as in `fit`.

        Returns:
            [loss, metric, ...] (a number if there is just the loss), or a dict with `return_dict=True`.
        """
        self._assert_compiled("evaluate")
        source = self._source((x, y, sample_weight), batch_size, False, steps)
        hooks = self._hooks(callbacks, verbose, 1, source)
        with self._means.of_a_run():
            logs = self._evaluate(source, hooks)
            return logs if return_dict else self._in_order(logs)

    def _evaluate(self, source: Any, hooks: CallbackList) -> dict[str, float]:
        """`evaluate` with the running means as they are: `fit` has no more need of its own when it validates."""
        self.stop_evaluating = False
        hooks.on_test_begin()
        self.reset_metrics()
        index = -1
        with hooks, contextlib.closing(source), self._step_memory() as arena:
            for index, (batch_x, batch_y, weights) in enumerate(source.epoch()):
                self._prepare(batch_x, batch_y)
                batch_y = self._targets(batch_y)
                hooks.on_test_batch_begin(index)
                self._step("test_step")(batch_x, batch_y, weights)
                del batch_x, batch_y, weights
                arena.new_step()
                hooks.on_test_batch_end(index, self._logs)
                if self.stop_evaluating:
                    break
            hooks.end_batches()
        if index < 0:
            raise ValueError("Expected data with at least one batch. Received an empty dataset or an exhausted generator.")
        logs = self._logs()
        hooks.on_test_end(logs)
        return logs

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The model's outputs for data, as NumPy arrays of N rows (in the structure of the outputs).

        Batches of an iterable may be `x`, `(x, y)` or `(x, y, sample_weight)`; only x is read.
        """
        source = self._source((x, None, None), batch_size, False, steps, targets=False)
        hooks = self._hooks(callbacks, verbose, 1, source)
        self.stop_predicting = False
        parts: list[list[np.ndarray]] = []
        hooks.on_predict_begin()
        with hooks, contextlib.closing(source), self._step_memory() as arena:
            for index, (batch_x, _, _) in enumerate(source.epoch()):
                self._prepare(batch_x, None)
                hooks.on_predict_batch_begin(index)
                outputs = _copied(self._plan_for("predict").forward(self._feed(batch_x), False))
                del batch_x, _
                arena.new_step()
                parts.append(outputs)
                packed = pack_returned(self._output_struct, outputs)
                hooks.on_predict_batch_end(index, {"outputs": packed})
                if self.stop_predicting:
                    break
            hooks.end_batches()
        hooks.on_predict_end()
        if not parts:
            raise ValueError("Expected data with at least one batch. Received an empty dataset or an exhausted generator.")
        joined = [np.concatenate(column) for column in zip(*parts)]
        return pack_returned(self._output_struct, joined)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One training step on one batch; returns its loss and metrics."""
        self._assert_compiled("train_on_batch")
        if class_weight is not None and sample_weight is not None:
            raise ValueError(
                "Arguments `sample_weight` and `class_weight` cannot be specified at the same time. "
                f"Received: sample_weight={sample_weight}, class_weight={class_weight}"
            )
        with self._means.of_a_run(), self._step_memory():
            batch_x, batch_y, weights = self._one_batch(x, y, sample_weight)
            if class_weight is not None:
                weights = apply_class_weight(class_weight, batch_y, weights, len(self._outputs[0].shape))
            self.reset_metrics()
            self._step("train_step")(batch_x, batch_y, weights)
            logs = self._logs()
            return logs if return_dict else self._in_order(logs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Loss and metrics of one batch."""
        self._assert_compiled("test_on_batch")
        with self._means.of_a_run(), self._step_memory():
            batch_x, batch_y, weights = self._one_batch(x, y, sample_weight)
            self.reset_metrics()
            self._step("test_step")(batch_x, batch_y, weights)
            logs = self._logs()
            return logs if return_dict else self._in_order(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as NumPy arrays."""
        names = names_in(x, self._names[0], "x")
        arrays = as_arrays(x, names, "input")
        assert arrays is not None
        check_finite(arrays, names, "input")
        self._prepare(arrays, None)
        with self._step_memory():
            outputs = _copied(self._plan_for("predict").forward(self._feed(arrays), False))
        return pack_returned(self._output_struct, outputs)

    def _one_batch(self, x: Any, y: Any, sample_weight: Any) -> tuple[list[Any], list[Any], list[Any] | None]:
        source = self._source((x, y, sample_weight), None, False, None)
        if not isinstance(source, ArrayBatches):
            raise ValueError(f"Expected the arrays of one batch. Received: x of type {type(x).__name__}")
        self._prepare(source.x, source.y)
        check_lengths(source.x, source.y, source.weights)
        return source.x, self._targets(source.y), source.weights

    # --- looking inside -----------------------------------------------------------------

    def gradients_at(
        self, x: Any, output_gradient: Any, layers: list[str] | None = None
    ) -> tuple[Any, dict[str, tuple[Any, Any]]]:
        """Values and gradients inside the network, for pictures such as saliency and Grad-CAM.

        Args:
            x: one batch. output_gradient: `dy` at the (single) output, an array or a function of the output.
            layers: names of the layers to report; default all.

        Returns:
            output: the model's output. found: {layer name: (its output, the gradient there)};
            the entry "input" holds x and the gradient at the pixels.
        """
        self._require_graph()
        plan = Plan(self, keep=layers, of_inputs=True)  # type: ignore[arg-type]
        x = as_arrays(x, self.input_names, "input")
        found: dict[str, list[Any]] = {}

        def see(step: Step, array: Any) -> None:
            name = step.names[-1]
            if layers is None or name in layers:
                found.setdefault(name, []).append(backends.to_numpy(array))

        fed = self._feed(x)
        saved: list[Any] = []
        output = plan.forward(fed, False, saved, seen=see)[0]
        seed = output_gradient(output) if callable(output_gradient) else output_gradient
        _, at_inputs = plan.backward([backends.asarray(seed, str(output.dtype))], saved, seen=see)
        found["input"] = [backends.to_numpy(fed[0]), backends.to_numpy(at_inputs[0])]
        return backends.to_numpy(output), {name: (pair[0], pair[1]) for name, pair in found.items() if len(pair) == 2}

    # --- what a checkpoint needs beside the weights -------------------------------------

    def _training_state(self) -> dict[str, int]:
        return {"passes_done": self._passes_done, "shuffle_seed": self._shuffle_seed}

    def _restore_training_state(self, state: dict[str, int]) -> None:
        self._passes_done = state.get("passes_done", 0)
        self._shuffle_seed = state.get("shuffle_seed", self._shuffle_seed)


def _placed(arrays: list[Any]) -> list[Any]:
    """Arrays where the backend computes."""
    return [backends.asarray(array) for array in arrays]


def _copied(outputs: list[Any]) -> list[np.ndarray]:
    """Outputs as NumPy arrays, out of the memory that the next step takes."""
    return [np.array(backends.to_numpy(output)) for output in outputs]


def _without_threads(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of older programs' `*_generator` methods, without those that steered threads."""
    steering = ("max_queue_size", "workers", "use_multiprocessing", "pickle_safe", "max_q_size")
    return {name: value for name, value in arguments.items() if name not in steering}
