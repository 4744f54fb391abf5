"""What several subcommands share: options, tables, data sets and pictures from the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minicnn.registry import did_you_mean

if TYPE_CHECKING:
    import numpy as np


Range = tuple[float, float]  # of pixels: (0, 1) or (0, 255)


class Suggesting(click.Group):
    """Subcommands; for an unknown name, the error suggests the nearest one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = "" if "Did you mean" in error.message else did_you_mean(args[0], self.list_commands(ctx))
            raise click.UsageError(error.message + hint, ctx) from None


def dataset_names() -> list[str]:
    """The names of all data sets. Asked for when they are needed: `minicnn --help` does not load the readers."""
    from minicnn import datasets

    return datasets.list_builders()


class _DatasetName(click.ParamType):
    """A `click.Choice` of `dataset_names()`."""

    name = "choice"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return click.Choice(dataset_names()).convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(error.message + did_you_mean(str(value), dataset_names()), param, ctx)

    def get_missing_message(self, *args: Any, **kwargs: Any) -> str | None:
        return click.Choice(dataset_names()).get_missing_message(*args, **kwargs)

    def shell_complete(self, *args: Any, **kwargs: Any) -> Any:
        return click.Choice(dataset_names()).shell_complete(*args, **kwargs)


Dataset = _DatasetName()


def _as_range(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Range | None:
    return None if value is None else (0.0, float(value.removeprefix("0-")))


range_option = click.option(
    "--range",
    "input_range",
    type=click.Choice(["0-1", "0-255"]),
    callback=_as_range,
    help="Of the pixels that the model takes; default what its file or its first layers say.",
)


def compute_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the options `--backend` and `--threads`, for `configure`."""
    command = click.option("--threads", type=click.IntRange(min=1), help="CPU threads to compute with.")(command)
    return click.option(
        "--backend",
        type=click.Choice(["numba", "reference", "cupy"]),
        help="Where to compute; default numba, or $MINICNN_BACKEND.",
    )(command)


style_option = click.option(
    "--style", type=click.Choice(["light", "dark"]), default="light", show_default=True, help="Of pictures."
)


def configure(backend: str | None, threads: int | None) -> None:
    """Apply `--backend` and `--threads`."""
    from minicnn import backends

    if backend is not None:
        backends.set_backend(backend)
    if threads is not None:
        backends.set_num_threads(threads)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    title: str | None = None,
    numbers: Sequence[str] = (),
    width: int | None = None,
) -> None:
    """A table on standard output; the columns named in `numbers` are aligned right.

    Cells are folded into lines where a terminal is narrower than the table, or the table than `width` characters.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", show_header=any(columns))
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # in a file or a pipe a table is as wide as it needs to be
    if width is not None:
        console.width = min(console.width, width)
    console.print(table)


def save_figure(figure: Any, path: Path) -> None:
    """A Matplotlib figure in the format that the path's ending names; an older picture stays until it is complete."""
    from minicnn.atomic import replacing

    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:])


@dataclass(frozen=True)
class ImageData:
    """A data set for a model: images (N, H, W, channels) float32 in its range, labels (N,) integers, the classes' names."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]


def names_of(dataset: str) -> tuple[str, ...]:
    """The names of a data set's classes."""
    from minicnn import datasets

    return tuple(str(name) for name in getattr(datasets, dataset).CLASS_NAMES)


def load_data(dataset: str, input_shape: Sequence[int | None] | None = None, input_range: Range = (0.0, 1.0)) -> ImageData:
    """A data set by name, in the shape and range that a model takes.

    Args:
        dataset: one of `dataset_names()`.
        input_shape: (height, width, channels) of the model; None for the data set's own. Digits are also there as
            32×32×3, for models that want CIFAR's shape.
        input_range: that the pixels 0 to 255 are scaled to.

    Raises:
        ValueError: if the images have another shape.
    """
    import numpy as np

    from minicnn import datasets

    module = getattr(datasets, dataset)
    if dataset == "digits":
        parts = module.load_data(as_rgb32=input_shape is not None and input_shape[-1] != 1)
    else:
        parts = module.load_data()
    arrays = []
    for x, y in parts:
        x = x if x.ndim == 4 else x[..., None]
        if input_shape is not None and any(want not in (None, have) for want, have in zip(input_shape, x.shape[1:])):
            sizes = "8×8×1 or 32×32×3" if dataset == "digits" else _size(x.shape[1:])
            raise ValueError(f"The images of {dataset} are {sizes}; the model takes {_size(input_shape)}.")
        arrays.append((_scaled(x, input_range), np.asarray(y).reshape(-1).astype(np.int64)))
    (x_train, y_train), (x_test, y_test) = arrays
    return ImageData(x_train, y_train, x_test, y_test, names_of(dataset))


def _size(shape: Sequence[int | None]) -> str:
    return "×".join("any" if extent is None else str(extent) for extent in shape)


def _scaled(pixels: np.ndarray, input_range: Range) -> np.ndarray:
    """Pixels 0 to 255 as float32 in a range."""
    import numpy as np

    x = pixels.astype(np.float32)
    return x if input_range[1] == 255 else x / 255


@dataclass(frozen=True)
class Picture:
    """An image for a model: float32 (H, W, channels) in its range; the index and name of its true class where known."""

    pixels: np.ndarray
    true_class: int | None = None
    true_name: str | None = None


def picture_from(image: str, input_shape: Sequence[int | None] | None = None, input_range: Range = (0.0, 1.0)) -> Picture:
    """A picture file, or `digits:3` for the test image 3 of a data set.

    Args:
        image: a path, or NAME:INDEX.
        input_shape: a picture is converted and resized to it as `image_dataset_from_directory` does it (bilinear);
            default its own size, in colour.
        input_range: that the pixels 0 to 255 are scaled to.

    Raises:
        ValueError: for a file that is no picture, or an index out of range.
    """
    import os

    from minicnn.data.pictures import CHANNELS, read_picture
    from minicnn.data.resize import resize

    named = re.fullmatch(r"(\w+):(\d+)", image)
    if named and not os.path.exists(image):
        if named[1] not in dataset_names():
            raise ValueError(
                f"{image}: there is no file and no data set of that name.{did_you_mean(named[1], dataset_names())}"
            )
        data = load_data(named[1], input_shape, input_range)
        if int(named[2]) >= len(data.x_test):
            raise ValueError(f"{named[1]} has {len(data.x_test)} test images, counted from 0. Received: {image}")
        label = int(data.y_test[int(named[2])])
        return Picture(data.x_test[int(named[2])], label, data.class_names[label])
    channels = 3 if input_shape is None else input_shape[-1] or 3
    color_mode = next((mode for mode, count in CHANNELS.items() if count == channels), None)
    if color_mode is None:
        raise ValueError(f"{image}: a picture has 1, 3 or 4 channels; the model takes {channels}.")
    pixels = read_picture(image, color_mode)
    if input_shape is not None:
        wanted = tuple(want or have for want, have in zip(input_shape[:2], pixels.shape))
        pixels = resize(pixels, (wanted[0], wanted[1]))
    return Picture(_scaled(pixels, input_range))
