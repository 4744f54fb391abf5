"""What several subcommands share: options, models and images from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "ImageData",
    "class_names_beside",
    "compute_options",
    "configure",
    "image_from",
    "load_data",
    "model_from",
    "names_of",
    "print_table",
    "style_option",
]

DATASETS = ("cifar10", "cifar100", "digits", "fashion_mnist", "horses_or_humans", "mnist")


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
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None, numbers: Sequence[str] = ()
) -> None:
    """A table on standard output; the columns named in `numbers` are aligned right."""
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
    console.print(table)


@dataclass(frozen=True)
class ImageData:
    """A data set for a model: images (N, H, W, channels) float32 in [0, 1], labels (N,) integers, the classes' names."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]


def names_of(dataset: str) -> tuple[str, ...]:
    """The names of a data set's classes."""
    from minicnn import datasets

    return tuple(str(name) for name in getattr(datasets, dataset).CLASS_NAMES)


def load_data(dataset: str, input_shape: tuple[int, ...] | None = None) -> ImageData:
    """A data set by name, in the shape that a model takes.

    Args:
        dataset: one of `DATASETS`.
        input_shape: (height, width, channels) of the model; None for the data set's own, which for digits is 32×32×3.

    Raises:
        ValueError: if the images have another shape.
    """
    import numpy as np

    from minicnn import datasets

    module = getattr(datasets, dataset)
    if dataset == "digits":
        parts = module.load_data(as_rgb32=input_shape is None or tuple(input_shape) == (32, 32, 3))
    else:
        parts = module.load_data()
    arrays = []
    for x, y in parts:
        x = x if x.ndim == 4 else x[..., None]
        if input_shape is not None and x.shape[1:] != tuple(input_shape):
            raise ValueError(f"The images of {dataset} are {_size(x.shape[1:])}; the model takes {_size(input_shape)}.")
        arrays.append((x.astype(np.float32) / 255, np.asarray(y).reshape(-1).astype(np.int64)))
    (x_train, y_train), (x_test, y_test) = arrays
    return ImageData(x_train, y_train, x_test, y_test, names_of(dataset))


def _size(shape: Sequence[int | None]) -> str:
    return "×".join("any" if extent is None else str(extent) for extent in shape)


def _model_file(model: str) -> Path:
    """`runs/digits` stands for `runs/digits/model.keras`."""
    path = Path(model)
    return path / "model.keras" if path.is_dir() else path


def model_from(model: str, *, reference: bool = False) -> Any:
    """A saved model by its file or run folder; a reference model by its name, with fresh weights, where `reference` allows it.

    Raises:
        ValueError: if there is neither.
    """
    from minicnn import models, zoo

    if reference and model in zoo.MODELS:
        return zoo.get(model).build()
    path = _model_file(model)
    if not path.is_file():
        known = f", and no reference model of that name (there are {', '.join(zoo.MODELS)})" if reference else ""
        raise ValueError(f"There is no file {str(path)!r}{known}.")
    return models.load_model(path)


def class_names_beside(model: str) -> tuple[str, ...] | None:
    """The names of a model's classes, from the settings.json that `train` wrote beside it; None without."""
    path = _model_file(model).with_name("settings.json")
    if not path.is_file():
        return None
    try:
        names = json.loads(path.read_text(encoding="utf-8")).get("class_names")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}. Move it away to do without class names.") from error
    return tuple(map(str, names)) if names else None


def image_from(image: str, input_shape: tuple[int, ...] | None = None) -> np.ndarray:
    """An image, float32 in [0, 1], (H, W, channels): a picture file, or `digits:3` for the test image 3 of a data set.

    Args:
        image: a path, or NAME:INDEX.
        input_shape: a picture is converted and resized to it (bilinear); default its own size, in colour.

    Raises:
        ValueError: for a file that is no picture, or an index out of range.
    """
    import numpy as np

    named = re.fullmatch(rf"({'|'.join(DATASETS)}):(\d+)", image)
    if named:
        x = load_data(named[1], input_shape).x_test
        if int(named[2]) >= len(x):
            raise ValueError(f"{named[1]} has {len(x)} test images, counted from 0. Received: {image}")
        return x[int(named[2])]
    from PIL import Image

    from minicnn.data.pictures import open_picture

    grey = input_shape is not None and input_shape[-1] == 1
    picture = open_picture(image, "grayscale" if grey else "rgb").convert("L" if grey else "RGB")
    if input_shape is not None and None not in input_shape[:2]:
        picture = picture.resize((input_shape[1], input_shape[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, np.float32) / 255
    return pixels if pixels.ndim == 3 else pixels[..., None]
