"""The MODEL of a command: a reference model's name, a file, a run folder, or `package.module:function`."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from minicnn.cli.common import Picture, Range, picture_from
from minicnn.registry import did_you_mean

MODEL_HELP = "MODEL is a .keras file, a run folder, the name of a reference model, or package.module:function."

_UNIT, _BYTE = (0.0, 1.0), (0.0, 255.0)


@dataclass(frozen=True)
class GivenModel:
    """A model for images, and what else is known about it.

    Attributes:
        model: takes one image, (height, width, channels).
        input_range: of the pixels that it takes.
        class_names: from the settings.json of the run folder, None without.
        dataset: that it was trained on, likewise.
    """

    model: Any
    input_range: Range
    class_names: tuple[str, ...] | None
    dataset: str | None

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(height, width, channels)."""
        return image_shape(self.model)

    def picture(self, image: str) -> Picture:
        """An image of the command line, as the model takes it."""
        return picture_from(image, self.input_shape, self.input_range)


def load_model(source: str, given_range: Range | None = None) -> GivenModel:
    """A model that classifies images, by what the command line calls it.

    Args:
        source: see `model_from`.
        given_range: of `--range`; default `input_range` of the model.

    Raises:
        ValueError: if there is no such model, or it does not take images; for a damaged settings.json beside it.
    """
    model = model_from(source)
    image_shape(model)
    if given_range is None:
        given_range = input_range(model)
    if given_range is None:
        given_range = _UNIT
        click.echo(
            f"note: {source} does not say which range of pixels it takes: 0 to 1 is assumed (--range 0-255 for the other)",
            err=True,
        )
    settings = _settings_beside(source)
    names = settings.get("class_names")
    return GivenModel(model, given_range, tuple(map(str, names)) if names else None, settings.get("dataset"))


def model_from(source: str, **arguments: Any) -> Any:
    """A model by name (with fresh weights), file, run folder, or `package.module:function`.

    Args:
        source: "cifar_small", "mine.keras", "runs/digits" or "package.module:function"; in place of a function,
            a model itself will do.
        **arguments: `input_shape` and `classes`, for a reference model and for a function that takes them.

    Raises:
        ValueError: if there is none.
    """
    from minicnn import models, zoo

    path = _model_file(source)
    if source in zoo.MODELS and not path.is_file():
        model = zoo.get(source).build(**arguments)
        model.input_range = _UNIT
        return model
    if path.exists() and path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ValueError(f"{path} is no model: a model's file ends in .keras (or .h5, the older format).")
    if path.is_file():
        return models.load_model(path)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", source):
        return _imported(source, arguments)
    if Path(source).is_dir():
        raise ValueError(f"The folder {source!r} has no model.keras: it is not the folder of a finished run.")
    raise ValueError(
        f"There is no file {source!r}, and no reference model of that name.{did_you_mean(source, zoo.MODELS)} "
        f"Reference models: {', '.join(zoo.MODELS)}."
    )


def _imported(source: str, arguments: dict[str, Any]) -> Any:
    """The model that `package.module:function` returns; modules are looked for in the current folder, too."""
    from minicnn.models import Model

    module, _, attribute = source.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        model = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise ValueError(f"{source} cannot be imported: {error}.") from error
    except AttributeError:
        known = [name for name, held in vars(sys.modules[module]).items() if callable(held) or isinstance(held, Model)]
        raise ValueError(f"{source}: the module has no {attribute!r}.{did_you_mean(attribute, known)}") from None
    if callable(model) and not isinstance(model, Model):
        taken = inspect.signature(model).parameters
        named = {name: p for name, p in taken.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        required = [name for name, parameter in named.items() if parameter.default is parameter.empty]
        if missing := [name for name in required if name not in arguments]:
            raise ValueError(f"{source} needs {', '.join(missing)}, which this command does not give it: write defaults.")
        model = model(**{name: value for name, value in arguments.items() if name in taken})
    if not isinstance(model, Model):
        raise ValueError(f"{source}: expected a model of minicnn, or a function that returns one. Received: {model!r}")
    return model


def _model_file(source: str) -> Path:
    """`runs/digits` stands for `runs/digits/model.keras`."""
    path = Path(source)
    return path / "model.keras" if path.is_dir() else path


def _settings_beside(source: str) -> dict[str, Any]:
    """What `train` wrote into the settings.json beside a model; empty without."""
    path = _model_file(source).with_name("settings.json")
    if not (_model_file(source).is_file() and path.is_file()):
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError(f"expected an object, received {type(settings).__name__}")
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Move it away to do without class names.") from error
    return settings


def image_shape(model: Any) -> tuple[int | None, ...]:
    """(height, width, channels) that a model takes.

    Raises:
        ValueError: unless it takes one image and has one output.
    """
    if not model.built:
        raise ValueError(f"Model '{model.name}' has no input shape yet: begin it with an `Input`.")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"Model '{model.name}' has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            "this command needs one of each."
        )
    if len(model.input_shape) != 4:
        raise ValueError(
            f"Model '{model.name}' takes inputs of shape {model.input_shape}; images are (batch, height, width, channels)."
        )
    return tuple(model.input_shape[1:])


def refuse_fewer_outputs(model: Any, classes: int) -> None:
    """Raise ValueError if a model has fewer outputs than there are classes; one unit tells two apart."""
    outputs = max(model.output_shape[-1], 2)
    if len(model.output_shape) != 2 or outputs < classes:
        raise ValueError(
            f"Model '{model.name}' has outputs of shape {model.output_shape}, which tell {outputs} classes apart; "
            f"the data have {classes}."
        )


def input_range(model: Any) -> Range | None:
    """The range of pixels that a model takes, as its file says or its first layers do; None where neither does.

    A leading `Rescaling` maps about [0, 1] or [-1, 1] out of that range, whose width is the nearer one to 1/scale.
    """
    import numpy as np

    from minicnn.layers import Rescaling
    from minicnn.models.graph import flatten_calls

    if model.input_range is not None:
        low, high = model.input_range
        return low, high
    for call in flatten_calls(model).calls:
        if isinstance(call.layer, Rescaling):
            return _BYTE if 255 * float(np.mean(np.abs(call.layer.scale))) ** 2 < 1 else _UNIT
        if call.layer.weights:  # a trained layer before any `Rescaling`: it may have seen either range
            return None
    return None
