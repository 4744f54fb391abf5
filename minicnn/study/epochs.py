"""Training as a film: kernels and learning curves, epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from minicnn.atomic import replacing
from minicnn.callbacks import Callback
from minicnn.datasets._npz import read_npz
from minicnn.study.animation import Animation
from minicnn.study.curves import learning_curves
from minicnn.study.filters import convolution_of, draw_kernel
from minicnn.study.style import settings
from minicnn.untrusted import reading

__all__ = ["KernelHistory", "curves_animation", "filters_animation"]


class KernelHistory(Callback):
    """Records the kernel of a convolution before training and after each epoch, for `filters_animation`.

    Args:
        layer: the name of a Conv2D; default the model's first.

    Attributes:
        kernels: list of arrays (KH, KW, C_in, C_out).
        epochs: how many epochs had been trained at each, 0 at first.
    """

    state_attributes = ("kernels", "epochs")

    def __init__(self, layer: str | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.kernels: list[np.ndarray] = []
        self.epochs: list[int] = []
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if not self.kernels:  # not sooner: some models make their weights at the first batch
            self._record(self._epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._record(self.epochs[-1] + 1)  # another `fit` counts on

    def _record(self, epochs: int) -> None:
        self.kernels.append(np.array(convolution_of(self.model, self.layer).kernel.numpy()))
        self.epochs.append(epochs)

    def save(self, path: Any) -> None:
        """Write what was recorded into an `.npz` file."""
        with replacing(path) as file:
            np.savez_compressed(file, kernels=np.stack(self.kernels), epochs=np.array(self.epochs))

    @classmethod
    def load(cls, path: Any, layer: str | None = None) -> KernelHistory:
        """What `save` wrote.

        Raises:
            FileFormatError: for another file, or a damaged one.
        """
        recorded = cls(layer)
        with reading(path):
            kernels, epochs = read_npz(Path(path), ("kernels", "epochs"))
            if kernels.ndim != 5 or epochs.shape != kernels.shape[:1] or not kernels.size or epochs.dtype.kind not in "iu":
                raise ValueError(f"no kernels of epochs: shapes {kernels.shape} and {epochs.shape}")
        recorded.kernels, recorded.epochs = list(kernels), [int(epoch) for epoch in epochs]
        return recorded


def filters_animation(
    recorded: KernelHistory, *, count: int | None = None, channels: int = 16, title: str | None = None, style: str = "light"
) -> Animation:
    """`filters` over the epochs: a frame for each kernel that was recorded, all on one scale.

    Args:
        recorded: the callback, after `fit`.
        count, channels: as in `filters`.
        title: above the figure.
        style: "light" or "dark".

    Raises:
        ValueError: if nothing was recorded.
    """
    kernels = recorded.kernels
    if not kernels:
        raise ValueError("Nothing was recorded: pass the callback to `fit(callbacks=[...])` first.")
    with matplotlib.rc_context(settings(style)):
        name = recorded.layer or "first convolution"
        figure, pictures = draw_kernel(kernels[0], np.abs(np.stack(kernels)), name, count, channels, title)
        heading = figure.suptitle(" ")

    def draw(index: int) -> None:
        for picture, channel, filter_index in pictures:
            picture.set_data(kernels[index][:, :, channel, filter_index])
        epochs = recorded.epochs[index]
        heading.set_text("before training" if epochs == 0 else f"after epoch {epochs}")

    draw(0)
    return Animation(figure, draw, len(kernels), fps=4, style=style)


def curves_animation(histories: Any, metrics: Any = None, title: str | None = None, style: str = "light") -> Animation:
    """`learning_curves`, growing by an epoch each frame.

    Args:
        histories, metrics, title: as `learning_curves` takes them.
        style: "light" or "dark".

    Raises:
        ValueError: for a history without epochs, or a metric that it lacks.
    """
    figure = learning_curves(histories, metrics, title, style=style)
    lines: list[tuple[Any, Any, Any]] = [(line, *line.get_data()) for axis in figure.axes for line in axis.get_lines()]
    for axis in figure.axes:
        axis.set(xlim=axis.get_xlim(), ylim=axis.get_ylim())  # those of the whole
    for line, _, _ in lines:
        line.set(marker="o", markevery=[-1])

    def draw(index: int) -> None:
        for line, epochs, values in lines:
            line.set_data(epochs[: index + 1], values[: index + 1])

    return Animation(figure, draw, max(len(epochs) for _, epochs, _ in lines), fps=4, style=style)
