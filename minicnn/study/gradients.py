"""How large the gradients were during training: vanishing and exploding seen layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends
from minicnn.callbacks import Callback
from minicnn.study.style import StudyFigure, color, styled

__all__ = ["GradientNorms", "gradient_norms"]


class GradientNorms(Callback):
    """Records the Euclidean norm of every weight's gradient at every step of `fit`.

    It listens where the optimizer is handed the gradients, so what it sees is what the step used.

    Args:
        every: record every so many steps.

    Attributes:
        steps: the recorded steps, counted from 0 over all epochs.
        norms: dict of weight path ("conv2d/kernel") -> list of norms, one a recorded step.
    """

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"`every` must be at least 1. Received: every={every!r}")
        self.every = every
        self.steps: list[int] = []
        self.norms: dict[str, list[float]] = {}
        self._step = 0

    def on_train_begin(self, logs: Any = None) -> None:
        optimizer = self.model.optimizer
        for variable in self.model.trainable_weights:  # in the order of the layers; the gradients come the other way round
            self.norms.setdefault(variable.path, [])
        apply = type(optimizer).apply

        def listen(grads: Any, trainable_variables: Any = None) -> Any:
            if self._step % self.every == 0:
                self._record(grads, trainable_variables)
            self._step += 1
            return apply(optimizer, grads, trainable_variables)

        optimizer.__dict__["apply"] = listen

    def _record(self, grads: Any, variables: Any) -> None:
        self.steps.append(self._step)
        for variable, grad in zip(variables, grads):
            norm = float(np.linalg.norm(backends.to_numpy(grad)))
            self.norms[variable.path].append(norm)

    def on_train_end(self, logs: Any = None) -> None:
        self.model.optimizer.__dict__.pop("apply", None)


@styled
def gradient_norms(recorded: GradientNorms, weights: list[str] | None = None, *, title: str | None = None) -> StudyFigure:
    """The norm of each weight's gradient over the steps of training, on a logarithmic axis.

    Args:
        recorded: the callback, after `fit`.
        weights: paths such as "conv2d/kernel"; default all kernels.
        style: "light" or "dark".

    Raises:
        ValueError: if nothing was recorded, or for an unknown path.
    """
    if not recorded.steps:
        raise ValueError("Nothing was recorded: pass the callback to `fit(callbacks=[...])` first.")
    chosen = (
        weights if weights is not None else [path for path in recorded.norms if path.endswith("kernel")] or list(recorded.norms)
    )
    unknown = [path for path in chosen if path not in recorded.norms]
    if unknown:
        raise ValueError(f"No gradient was recorded for {unknown[0]!r}. Recorded: {', '.join(recorded.norms)}.")
    figure = StudyFigure(figsize=(7.4, 4.0), layout="constrained")
    axis: Any = figure.subplots()
    dashes = ("-", "--", ":", "-.")
    for index, path in enumerate(chosen):
        axis.plot(
            recorded.steps, recorded.norms[path], dashes[index // 6 % 4], color=color(index % 6), linewidth=1.2, label=path
        )
    axis.set(xlabel="step", ylabel="norm of the gradient", yscale="log", title=title or "")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(axis="y")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    return figure
