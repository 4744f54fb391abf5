"""`minicnn train`: train, evaluate, and keep what came out in a run folder."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minicnn.cli.common import DATASETS, ImageData, compute_options, configure, load_data, style_option

if TYPE_CHECKING:
    from minicnn.cli.assess import Assessment

__all__ = ["command"]

_DEFAULT_MODELS = {"horses_or_humans": "humans_300"}  # and cifar_dropout for the others
_DEFAULT_EPOCHS = {"digits": 20}  # few images need more rounds than the model's own number


@click.command(short_help="Train a model, and write a run folder.")
@click.argument("dataset", required=False, type=click.Choice(DATASETS), metavar="[DATASET]")
@click.option("--model", "model_name", help="Reference model; default cifar_dropout (humans_300 for horses_or_humans).")
@click.option("--epochs", type=click.IntRange(min=1), help="Default: the reference model's; 20 for digits.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Default: the reference model's.")
@click.option("--optimizer", "optimizer_name", help="sgd, rmsprop, adam, adamw, ...; default: the reference model's.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Default: the optimizer's.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="One seed gives one result; default a new one.")
@click.option(
    "--validation-split",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the training images to validate on; default none: each epoch is validated on the test images.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder; default runs/DATASET-MODEL-TIME.")
@click.option(
    "--verbose", type=click.Choice(["auto", "0", "1", "2"]), default="auto", help="0 silent, 1 a bar, 2 a line an epoch."
)
@style_option
@compute_options
def command(
    dataset: str | None,
    model_name: str | None,
    epochs: int | None,
    batch_size: int | None,
    optimizer_name: str | None,
    learning_rate: float | None,
    seed: int | None,
    validation_split: float | None,
    out: Path | None,
    verbose: str,
    style: str,
    backend: str | None,
    threads: int | None,
) -> int:
    """Train a reference model on DATASET, evaluate it on the test images, and write a run folder.

    Without DATASET: cifar10 where its files are on this machine, else digits, which needs none.
    The folder gets model.keras, history.csv, settings.json, curves.png, confusion.png and mistakes.png.
    Ctrl-C ends training early; what was learnt is evaluated and kept.
    """
    from minicnn import backends, config, optimizers

    if dataset is None:
        dataset, why = _choose_dataset()
        click.echo(f"data set: {dataset} ({why})")
    reference = _reference(model_name or _DEFAULT_MODELS.get(dataset, "cifar_dropout"))
    optimizer = _optimizer(reference, optimizer_name, learning_rate)
    configure(backend, threads)
    if seed is not None:
        config.set_random_seed(seed)
    data = load_data(dataset)
    run = Run(
        out or Path("runs") / f"{dataset}-{reference.name}-{time.strftime('%Y%m%d-%H%M%S')}",
        {
            "dataset": dataset,
            "class_names": list(data.class_names),
            "model": reference.name,
            "epochs": epochs or _DEFAULT_EPOCHS.get(dataset, reference.epochs),
            "batch_size": batch_size or reference.batch_size,
            "optimizer": optimizers.serialize(optimizer),
            "validation_split": validation_split,
            "seed": config.random_seed(),
            "backend": backends.backend(),
            "threads": backends.get_num_threads(),
        },
    )
    run.folder.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is known before training

    model = reference.build(input_shape=data.x_train.shape[1:], classes=len(data.class_names))
    finished = _fit(model, optimizer, data, run, int(verbose) if verbose.isdigit() else verbose)
    result = _assess(model, data)
    run.write(model, data, result, style)
    click.echo(f"run folder: {run.folder}")
    return 0 if finished else 1


def _choose_dataset() -> tuple[str, str]:
    from minicnn import datasets

    found = next(entry for entry in datasets.cached() if entry.name == "cifar10")
    if found.path is not None:
        return "cifar10", f"its files are in {found.path}"
    return "digits", "the files of cifar10 are not on this machine; `minicnn data fetch cifar10` gets them"


def _reference(name: str) -> Any:
    from minicnn import zoo

    try:
        return zoo.get(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--model") from error


def _optimizer(reference: Any, name: str | None, learning_rate: float | None) -> Any:
    from minicnn import optimizers

    try:
        optimizer = reference.optimizer() if name is None else optimizers.get(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--optimizer") from error
    # A new one, since a schedule cannot be replaced by a number.
    return optimizer if learning_rate is None else type(optimizer)(learning_rate=learning_rate)


def _fit(model: Any, optimizer: Any, data: ImageData, run: Run, verbose: int | str) -> bool:
    """Train; False if Ctrl-C ended it."""
    from minicnn.cli.assess import loss_for

    settings = run.settings
    model.compile(optimizer=optimizer, loss=loss_for(model), metrics=["accuracy"])
    click.echo(
        f"{settings['model']} ({model.count_params():,} parameters) on {settings['dataset']}: {len(data.x_train):,} images, "
        f"{settings['epochs']} epochs, batch {settings['batch_size']}, {type(optimizer).__name__}, seed {settings['seed']}, "
        f"{settings['backend']} backend, {settings['threads']} thread(s)"
    )
    split = settings["validation_split"]
    began = time.perf_counter()
    try:
        model.fit(
            data.x_train,
            data.y_train,
            batch_size=settings["batch_size"],
            epochs=settings["epochs"],
            validation_split=split or 0.0,
            validation_data=None if split else (data.x_test, data.y_test),
            verbose=verbose,
        )
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted after {len(model.history.epoch)} whole epochs", err=True)
        return False
    finally:
        settings["training_seconds"] = round(time.perf_counter() - began, 2)
    return True


def _assess(model: Any, data: ImageData) -> Assessment:
    from minicnn.cli.assess import assess, print_report

    result = assess(model, data.x_test, data.y_test, data.class_names)
    print_report(result, data.y_test, data.class_names)
    return result


@dataclass(frozen=True)
class Run:
    """A run folder and the settings that are written into it."""

    folder: Path
    settings: dict[str, Any]

    def write(self, model: Any, data: ImageData, result: Assessment, style: str) -> None:
        """Write model, history, settings and pictures."""
        import numpy as np

        from minicnn import __version__, study

        settings = self.settings | {
            "test_loss": result.loss,
            "test_accuracy": result.accuracy,
            "parameters": model.count_params(),
            "versions": {"minicnn": __version__, "numpy": np.__version__, "python": sys.version.split()[0]},
        }
        model.save(self.folder / "model.keras")
        (self.folder / "settings.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        history = model.history.history
        if history:
            self._write_history(history)
        title = f"{settings['model']} on {settings['dataset']}"
        pictures: dict[str, Callable[[], Any]] = {
            "confusion.png": lambda: study.confusion_matrix(
                data.y_test, result.predictions, data.class_names, title=title, style=style
            ),
            "mistakes.png": lambda: study.mistakes_gallery(
                data.x_test, data.y_test, result.predictions, data.class_names, title=title, style=style
            ),
        }
        if history:
            pictures["curves.png"] = lambda: study.learning_curves(history, title=title, style=style)
        for name, draw in pictures.items():
            draw().savefig(self.folder / name)

    def _write_history(self, history: dict[str, list[float]]) -> None:
        import csv

        with open(self.folder / "history.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *history])
            writer.writerows([epoch, *values] for epoch, values in enumerate(zip(*history.values()), start=1))
