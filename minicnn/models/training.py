"""`fit`, `evaluate`, `predict`: the training loop.

Follow one pixel: `fit` hands a batch to `train_step`, which calls each layer's `forward`
(`Conv2D.forward` calls `ops.conv2d_forward`, the kernel), then the loss, then each layer's
`backward` in the opposite order, then the optimizer. There is nothing else in between.
"""

from __future__ import annotations

import contextlib
import functools
import math
from typing import Any

import numpy as np

from minicnn import backends, config
from minicnn.backends import ops
from minicnn.callbacks import CallbackList
from minicnn.models.batches import (
    ArrayBatches,
    apply_class_weight,
    as_arrays,
    check_finite,
    check_lengths,
    make_batches,
    split_validation,
    unpack,
)
from minicnn.models.captured import CapturedStep
from minicnn.models.compilation import Compilable
from minicnn.models.graph import pack_struct
from minicnn.models.plan import NumericsError, Plan
from minicnn.variables import Variable

__all__ = ["Trainer"]


class Trainer(Compilable):
    """What makes a graph of layers trainable; `Model` inherits from it.

    Attributes:
        history: the `History` of the last `fit`. stop_training: a callback sets it to end training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: Any = None
        self.stop_training = self.stop_evaluating = self.stop_predicting = False
        self._shuffle_seed = config.next_seed()
        self._epochs_done = 0

    # --- one batch ----------------------------------------------------------------------

    def train_step(self, x: list[Any], y: list[Any], sample_weight: list[Any] | None = None, watch: bool = False) -> None:
        """Forward, backward, update: one step on one batch. Its loss joins the running means, unread.

        Args:
            x, y: one array an input, an output. sample_weight: one array, or one an output, or None.
            watch: check every layer's output and gradients for NaN.
        """
        plan = self._plan_for("train", watch=watch)
        optimizer = self.optimizer
        if not optimizer.built:
            optimizer.build(self.trainable_weights)  # in Keras's order, which files keep

        # Forward: every layer computes its output and sets aside what its gradient will need.
        y, sample_weight = _placed(y), sample_weight and _placed(sample_weight)
        values = plan.begin(self._feed(x))
        saved: list[Any] = [None] * len(plan.steps)
        for i, step in enumerate(plan.steps):
            values[step.output], saved[i] = step.layer.forward(step.read(values), True)
            step.forget(values)

        outputs = [values[i] for i in plan.outputs]
        del values
        loss, own, predictions, kept = self._compiled_loss.forward(y, outputs, sample_weight, self._logits_for)
        del outputs

        # Backward: the same layers the other way round; each turns dy into dx and the gradients of its weights.
        gradients: list[Any] = [None] * len(plan.shapes)
        for i, dy in zip(plan.outputs, self._compiled_loss.backward(kept, self._logits_for)):
            dy = dy if dy is None else backends.asarray(dy, plan.dtypes[i])  # a user's loss may return any array
            gradients[i] = dy if gradients[i] is None else ops.add_forward([gradients[i], dy])
        dy = kept = None
        of_weight: dict[Variable, Any] = {}
        for i in range(len(plan.steps) - 1, -1, -1):
            step = plan.steps[i]
            dy, gradients[step.output] = gradients[step.output], None
            if dy is not None and step.learns:
                if step.passes_on:
                    dx, grads = step.layer.backward(dy, saved[i])
                    step.hand_back(dx, gradients)
                    dx = None
                else:
                    grads = step.layer.backward_weights(dy, saved[i])
                for variable, trained, grad in zip(step.variables, step.trained, grads):
                    if trained:
                        before = of_weight.get(variable)
                        of_weight[variable] = grad if before is None else ops.add_forward([before, grad])
                grads = None
            dy = saved[i] = None

        for variable in plan.regularized:
            if variable in of_weight:
                variable.regularizer.gradient_(of_weight[variable], variable.value)
        # Metrics see what the forward pass saw, so they come before the weights change.
        self._track(plan, loss, own, y, predictions, sample_weight, len(x[0]))
        # The gradient of the scaled loss, penalties and all, which the optimizer divides back.
        optimizer.apply([optimizer.scale_loss(grad) for grad in of_weight.values()], list(of_weight))

    def test_step(self, x: list[Any], y: list[Any], sample_weight: list[Any] | None = None) -> None:
        """The loss and the metrics of one batch join the running means; nothing is updated."""
        plan = self._plan_for("train")
        y, sample_weight = _placed(y), sample_weight and _placed(sample_weight)
        outputs = plan.forward(self._feed(x), False)
        loss, own, predictions, _ = self._compiled_loss.forward(y, outputs, sample_weight, self._logits_for)
        self._track(plan, loss, own, y, predictions, sample_weight, len(x[0]))

    def predict_step(self, x: list[Any]) -> list[Any]:
        """The outputs for one batch."""
        return self._plan_for("predict").forward(self._feed(x), False)

    def _track(
        self,
        plan: Plan,
        loss: Any,
        own: list[Any],
        y: list[Any],
        predictions: list[Any],
        sample_weight: list[Any] | None,
        size: int,
    ) -> None:
        """Take a batch into the running means; penalties count with the loss."""
        for penalty in plan.penalties:
            loss = loss + penalty
        for variable in plan.regularized:
            loss = loss + variable.regularizer.penalty(variable.value)
        self._compiled_loss.track(loss, own, size)
        self._compiled_metrics.update(y, predictions, sample_weight)

    def _logs(self) -> dict[str, float]:
        """Name -> running mean since `reset_metrics`, sorted by name as Keras's logs are. Waits for a GPU."""
        return dict(sorted({**self._compiled_loss.results(), **self._compiled_metrics.results()}.items()))

    def _in_order(self, logs: dict[str, float]) -> Any:
        """Logs as `evaluate` returns them, in Keras's order: the loss, metrics that are listed under their own names as
        `compile` listed them, the outputs' losses, all others by name. A number if there is but one.
        """
        names = ["loss", *(metric.name for metric in self._compiled_metrics.metrics), *self._compiled_loss.results()]
        values = [logs[name] for name in dict.fromkeys([*names, *sorted(logs)]) if name in logs]
        return values[0] if len(values) == 1 else values

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
        source = self._source(x, y, sample_weight, batch_size, shuffle, steps_per_epoch)
        hooks = self._hooks(callbacks, verbose, epochs, source, history=True)
        watch = hooks.watches_numerics  # at every value, for which a device has to be waited for
        captured = backends.on_device() and not watch
        train_step = CapturedStep(self) if captured else functools.partial(self.train_step, watch=watch)
        self.stop_training = False
        epoch_logs: dict[str, float] = {}
        self._initial_epoch: int | None = None
        hooks.on_train_begin()
        if self._initial_epoch is not None:  # `BackupAndRestore` found an earlier run
            initial_epoch = self._initial_epoch
        source.resume(self._passes_done)
        with hooks, contextlib.closing(source), self._step_memory():
            for epoch in range(initial_epoch, epochs):
                self.reset_metrics()
                hooks.on_epoch_begin(epoch)
                index = -1
                for index, (batch_x, batch_y, weights) in enumerate(source.epoch()):
                    self._prepare(batch_x, batch_y)
                    batch_y = self._targets(batch_y)
                    if class_weight is not None:
                        weights = apply_class_weight(class_weight, batch_y, weights, len(self._outputs[0].shape))
                    hooks.on_train_batch_begin(index)
                    try:
                        train_step(batch_x, batch_y, weights)
                    except NumericsError as error:
                        error.batch = index
                        self._compiled_loss.track(math.nan, [], len(batch_x[0]))
                        hooks.on_numerics_error(error)
                        self.stop_training = True
                    # The next batch may take this one's memory.
                    del batch_x, batch_y, weights
                    hooks.on_train_batch_end(index, self._logs)  # computed only if a callback reads them
                    if self.stop_training:
                        break
                if index < 0:
                    if epoch == initial_epoch:
                        raise ValueError(
                            "Expected data with at least one batch. Received an empty dataset or an exhausted generator."
                        )
                    break
                epoch_logs = self._logs()
                if validation_data is not None and _due(epoch + 1, validation_freq):
                    logs = self._validate(validation_data, validation_batch_size or batch_size, validation_steps, hooks)
                    epoch_logs = {**epoch_logs, **{f"val_{name}": value for name, value in logs.items()}}
                self._epochs_done, self._passes_done = epoch + 1, source.passes
                hooks.on_epoch_end(epoch, epoch_logs)
                if self.stop_training:
                    break
            self._passes_done += source.position > 0  # another `fit` does not go on in the middle of this one's data
        self.optimizer.finalize_variable_values(self.trainable_weights)
        hooks.on_train_end(epoch_logs)
        return self.history

    def _source(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int | None,
        shuffle: bool | str,
        steps: int | None,
        check: bool = True,
        targets: bool = True,
    ) -> Any:
        if x is None:
            raise ValueError("Missing data: `x` is None.")
        return make_batches(
            x,
            y,
            sample_weight,
            input_names=getattr(self, "input_names", None) or ["x"],
            output_names=getattr(self, "output_names", None) or ["y"],
            batch_size=batch_size,
            shuffle=shuffle,
            seed=self._shuffle_seed,
            steps=steps,
            check=check,
            targets=targets,
        )

    def _targets(self, y: list[Any] | None) -> list[Any]:
        """The targets, checked."""
        if y is None:
            raise ValueError("The data have no targets: pass `y`, or batches `(x, y)`.")
        if backends.on_device():  # the loss does not look at them there, since that would wait for the device
            self._compiled_loss.check_targets(y, [tensor.shape for tensor in self._outputs])
        return y

    def _hooks(self, given: Any, verbose: str | int, epochs: int, source: Any, history: bool = False) -> CallbackList:
        if isinstance(given, CallbackList):
            return given
        return CallbackList(
            given, add_history=history, add_progbar=verbose != 0, model=self, verbose=verbose, epochs=epochs, steps=source.steps
        )

    def _validate(self, data: Any, batch_size: int | None, steps: int | None, hooks: CallbackList) -> dict[str, float]:
        x, y, weights = unpack(data)
        return self.evaluate(x, y, batch_size=batch_size, sample_weight=weights, steps=steps, callbacks=hooks, return_dict=True)

    def fit_generator(
        self,
        generator: Any,
        steps_per_epoch: int | None = None,
        epochs: int = 1,
        *,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
        **kwargs: Any,
    ) -> Any:
        """`fit`, under the name that older programs call for generators; what steered their threads has no effect."""
        return self.fit(generator, steps_per_epoch=steps_per_epoch, epochs=epochs, **kwargs)

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
        source = self._source(x, y, sample_weight, batch_size, False, steps)
        hooks = self._hooks(callbacks, verbose, 1, source)
        self.stop_evaluating = False
        hooks.on_test_begin()
        self.reset_metrics()
        index = -1
        with hooks, contextlib.closing(source), self._step_memory():
            for index, (batch_x, batch_y, weights) in enumerate(source.epoch()):
                self._prepare(batch_x, batch_y)
                batch_y = self._targets(batch_y)
                hooks.on_test_batch_begin(index)
                self.test_step(batch_x, batch_y, weights)
                del batch_x, batch_y, weights
                hooks.on_test_batch_end(index, self._logs)
                if self.stop_evaluating:
                    break
        if index < 0:
            raise ValueError("Expected data with at least one batch. Received an empty dataset or an exhausted generator.")
        logs = self._logs()
        hooks.on_test_end(logs)
        return logs if return_dict else self._in_order(logs)

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
        source = self._source(x, None, None, batch_size, False, steps, targets=False)
        hooks = self._hooks(callbacks, verbose, 1, source)
        self.stop_predicting = False
        parts: list[list[np.ndarray]] = []
        hooks.on_predict_begin()
        with hooks, contextlib.closing(source), self._step_memory():
            for index, (batch_x, _, _) in enumerate(source.epoch()):
                self._prepare(batch_x, None)
                hooks.on_predict_batch_begin(index)
                outputs = [np.array(backends.to_numpy(output)) for output in self.predict_step(batch_x)]
                del batch_x, _
                parts.append(outputs)
                packed = pack_struct(self._output_struct, outputs)
                hooks.on_predict_batch_end(index, {"outputs": packed})
                if self.stop_predicting:
                    break
        hooks.on_predict_end()
        if not parts:
            raise ValueError("Expected data with at least one batch. Received an empty dataset or an exhausted generator.")
        joined = [np.concatenate(column) for column in zip(*parts)]
        return pack_struct(self._output_struct, joined)

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
        batch_x, batch_y, weights = self._one_batch(x, y, sample_weight)
        if class_weight is not None:
            weights = apply_class_weight(class_weight, batch_y, weights, len(self._outputs[0].shape))
        self.reset_metrics()
        with self._step_memory():
            self.train_step(batch_x, batch_y, weights)
        logs = self._logs()
        return logs if return_dict else self._in_order(logs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Loss and metrics of one batch."""
        self._assert_compiled("test_on_batch")
        batch_x, batch_y, weights = self._one_batch(x, y, sample_weight)
        self.reset_metrics()
        with self._step_memory():
            self.test_step(batch_x, batch_y, weights)
        logs = self._logs()
        return logs if return_dict else self._in_order(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as NumPy arrays."""
        arrays = as_arrays(x, getattr(self, "input_names", None) or ["x"], "input")
        assert arrays is not None
        check_finite(arrays, getattr(self, "input_names", None) or ["x"], "input")
        self._prepare(arrays, None)
        with self._step_memory():
            outputs = [np.array(backends.to_numpy(output)) for output in self.predict_step(arrays)]
        return pack_struct(self._output_struct, outputs)

    def _one_batch(self, x: Any, y: Any, sample_weight: Any) -> tuple[list[Any], list[Any], list[Any] | None]:
        source = self._source(x, y, sample_weight, None, False, None)
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
        plan = Plan(self, fuse=False)  # type: ignore[arg-type]
        arrays = as_arrays(x, self.input_names, "input")
        assert arrays is not None
        values = plan.begin(self._feed(arrays))
        saved = []
        for step in plan.steps:
            values[step.output], kept = step.layer.forward(step.read(values), False)
            saved.append(kept)
        output = values[plan.outputs[0]]
        gradients: list[Any] = [None] * len(plan.shapes)
        seed = output_gradient(output) if callable(output_gradient) else output_gradient
        gradients[plan.outputs[0]] = backends.asarray(seed, str(output.dtype))
        found: dict[str, tuple[Any, Any]] = {}
        for step, kept in zip(reversed(plan.steps), reversed(saved)):
            dy = gradients[step.output]
            if dy is None:
                continue
            if layers is None or step.layer.name in layers:
                found[step.layer.name] = (backends.to_numpy(values[step.output]), backends.to_numpy(dy))
            step.hand_back(step.layer.backward(dy, kept)[0], gradients)
        found["input"] = (backends.to_numpy(values[plan.inputs[0]]), backends.to_numpy(gradients[plan.inputs[0]]))
        return backends.to_numpy(output), found

    # --- what a checkpoint needs beside the weights -------------------------------------

    def _training_state(self) -> dict[str, int]:
        return {"epochs_done": self._epochs_done, "passes_done": self._passes_done, "shuffle_seed": self._shuffle_seed}

    def _restore_training_state(self, state: dict[str, int]) -> None:
        self._epochs_done = int(state.get("epochs_done", 0))
        self._passes_done = int(state.get("passes_done", self._epochs_done))
        if "shuffle_seed" in state:
            self._shuffle_seed = int(state["shuffle_seed"])


def _placed(arrays: list[Any]) -> list[Any]:
    """Arrays where the backend computes."""
    return [backends.asarray(array) for array in arrays]


def _due(epoch: int, frequency: int | list[int]) -> bool:
    """Whether validation is due after this epoch (counted from 1)."""
    if isinstance(frequency, (int, np.integer)):
        return epoch % int(frequency) == 0
    if isinstance(frequency, (list, tuple, set)):
        return epoch in frequency
    raise ValueError(
        f"Expected `validation_freq` to be a list or int. Received: validation_freq={frequency} of the type {type(frequency)}."
    )
