"""`OutputLosses`: the losses that `compile` was given, one an output."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from minicnn import losses
from minicnn.variables import Variable

__all__ = ["OutputLosses", "per_output", "wrong_count"]

Shape = Any  # of ints, None for the batch axis

# The activation whose gradient each loss has together with its own (its canonical link).
_LINKS = {
    losses.CategoricalCrossentropy: "softmax",
    losses.SparseCategoricalCrossentropy: "softmax",
    losses.BinaryCrossentropy: "sigmoid",
}


def wrong_count(argument: str, given: Any, names: list[str]) -> ValueError:
    return ValueError(
        f"For a model with multiple outputs, when providing the `{argument}` argument as a list, it should have as many "
        f"entries as the model has outputs. Received: {argument}={given} of length {len(given)} whereas the model has "
        f"{len(names)} outputs."
    )


def per_output(given: Any, names: list[str], argument: str) -> list[Any]:
    """One entry an output, from a single one, a list or a dict by output name."""
    if isinstance(given, dict):
        unknown = [key for key in given if key not in names]
        if unknown:
            raise ValueError(
                f"In the dict argument `{argument}`, key '{unknown[0]}' does not correspond to any model output. "
                f"Received: {argument}={given}. "
                f"Outputs: {names}"
            )
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)):
        if len(given) != len(names):
            raise wrong_count(argument, given, names)
        return list(given)
    return [given] * len(names)


class OutputLosses:
    """One loss an output, their weighted sum, and the running means of all of them.

    The total is a mean over samples. An output's own loss is a mean over batches, a smaller last one counted like the
    others: the numbers that Keras shows.

    The means' sums lie where the backend computes, so that no step waits for its own loss.

    Args:
        loss: what `compile(loss=)` got. loss_weights: a list or dict of factors, or None.
        output_names: of the model.
    """

    def __init__(self, loss: Any, loss_weights: Any, output_names: list[str]) -> None:
        self.names = output_names
        self.losses = [self._resolve(one) for one in per_output(loss, output_names, "loss")]
        weights = (
            per_output(loss_weights, output_names, "loss_weights") if loss_weights is not None else [None] * len(output_names)
        )
        self.factors = [1.0 if w is None else float(w) for w in weights]
        self._on_logits: dict[int, Any] = {}
        self._start_means()

    def _start_means(self) -> None:
        trained = [name for name, loss in zip(self.names, self.losses) if loss is not None]
        own = [f"{name}_loss" for name in trained] if len(trained) > 1 else []
        self.variables = [
            Variable(0.0, dtype="float64", trainable=False, name=name) for name in ("loss", "samples", "batches", *own)
        ]
        self._total, self._samples, self._batches, *self._own = self.variables

    def with_own_means(self) -> OutputLosses:
        """The same losses, with other means."""
        twin = copy.copy(self)
        twin._start_means()
        return twin

    @staticmethod
    def _resolve(identifier: Any) -> Any:
        name = identifier[0] if isinstance(identifier, (list, tuple)) and len(identifier) == 1 else identifier
        if isinstance(name, str) and name.lower() in ("crossentropy", "ce"):
            return name  # which one it is depends on the shapes: `resolve_shapes`
        return losses.resolve(name)

    def _computed(self, i: int, logits_for: tuple[int, ...]) -> Any:
        """The loss of output i as it is computed: on logits, where the output is computed without its activation."""
        if i not in logits_for:
            return self.losses[i]
        if i not in self._on_logits:
            self._on_logits[i] = self.losses[i].on_logits()
        return self._on_logits[i]

    def resolve_shapes(self, targets: list[Any], output_shapes: list[Shape]) -> None:
        """Make losses of the names that depend on the targets' shapes."""
        for i, loss in enumerate(self.losses):
            if isinstance(loss, str):
                self.losses[i] = losses.resolve(loss, tuple(targets[i].shape), output_shapes[i])

    def unread(self, measured: list[str]) -> list[str]:
        """The outputs that have neither a loss nor a metric (are not `measured`), beside others that have one."""
        lonely = [name for name, loss in zip(self.names, self.losses) if loss is None and name not in measured]
        return lonely if len(lonely) < len(self.names) else []

    def check_targets(self, targets: list[Any], output_shapes: list[Shape]) -> None:
        """Raise ValueError for targets, still on the host, that no prediction can have."""
        for loss, target, shape in zip(self.losses, targets, output_shapes):
            if loss is not None and isinstance(target, np.ndarray):
                loss.check_targets(target, shape)

    def logits_for(self, activations: list[str | None]) -> tuple[int, ...]:
        """The outputs whose last activation is better computed together with the loss."""
        return tuple(
            i
            for i, (loss, activation) in enumerate(zip(self.losses, activations))
            if activation is not None and _LINKS.get(type(loss)) == activation and not loss.from_logits and loss.axis == -1
        )

    def forward(
        self,
        targets: list[Any],
        outputs: list[Any],
        weights: list[Any] | None,
        logits_for: tuple[int, ...],
        masks: list[Any],
    ) -> tuple[Any, list[Any], list[Any], Any]:
        """The losses of a batch; of an output with a mask, of the steps that count.

        Returns:
            total, each output's own loss, the predictions (logits become probabilities), what `backward` reads.
        """
        total: Any = None
        own: list[Any] = []
        predictions = list(outputs)
        saved: list[Any] = []
        for i, loss in enumerate(self.losses):
            if loss is None:
                own.append(None)
                saved.append(None)
                continue
            weight = None if weights is None else weights[i] if len(weights) > 1 else weights[0]
            loss = self._computed(i, logits_for)
            masked = {} if masks[i] is None else {"mask": masks[i]}  # which a user's own `forward` need not know
            value, residual = loss.forward(targets[i], outputs[i], weight, **masked)
            if i in logits_for:
                predictions[i] = loss.probabilities(residual)
            own.append(value)
            saved.append(residual)
            weighted = value if self.factors[i] == 1.0 else value * self.factors[i]
            total = weighted if total is None else total + weighted
        return total, own, predictions, saved

    def backward(self, saved: list[Any], logits_for: tuple[int, ...]) -> list[Any]:
        """The total's gradient at each output (at the logits where those were used); None without a loss."""
        gradients: list[Any] = []
        for i, loss in enumerate(self.losses):
            if loss is None:
                gradients.append(None)
                continue
            d = self._computed(i, logits_for).backward(saved[i])
            gradients.append(d if self.factors[i] == 1.0 else d * d.dtype.type(self.factors[i]))
        return gradients

    def track(self, total: Any, own: list[Any], size: int) -> None:
        """Take the losses of a batch of `size` samples into the means: in place, and without reading them."""
        parts = [(self._total, total * size), (self._samples, size)]
        if self._own:
            parts += [(self._batches, 1), *zip(self._own, (loss for loss in own if loss is not None))]
        for variable, part in parts:
            value = variable.value
            value += part

    def results(self) -> dict[str, float]:
        """The means since `reset`: "loss", and with several losses "output_name_loss" for each."""
        samples, batches = float(self._samples) or 1.0, float(self._batches) or 1.0
        return {"loss": float(self._total) / samples, **{own.name: float(own) / batches for own in self._own}}

    def reset(self) -> None:
        """Start the means again."""
        for variable in (self._total, self._samples, self._batches, *self._own):
            variable.value.fill(0)
