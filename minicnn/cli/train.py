"""`minicnn train`: train and evaluate a model, and write the results into a run folder."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minicnn.cli.common import (
    Dataset,
    ImageData,
    Range,
    compute_options,
    configure,
    load_data,
    range_option,
    save_figure,
    style_option,
)

if TYPE_CHECKING:
    import numpy as np

    from minicnn.cli.assess import Assessment
    from minicnn.study import KernelHistory


_DEFAULT_MODELS = {"horses_or_humans": "humans_300"}  # and cifar_dropout for the others
_DEFAULT_EPOCHS = {"digits": 20}  # few images need more rounds than the model's own number
_SHAPES = {"digits": (32, 32, 3)}  # for a model of another shape: its own
_DEFAULT_VALIDATION = 0.1
_OWN_EPOCHS, _OWN_BATCH = 10, 32  # of a model that is no reference model
_BACKUP = "backup"
_RESULTS = ("model.keras", "history.csv", "filters.npz", "log.json", "curves.png", "confusion.png", "mistakes.png")


@click.command(short_help="Train a model, and write a run folder.")
@click.argument("dataset", required=False, type=Dataset, metavar="[DATASET]")
@click.option(
    "--model", metavar="MODEL",
    help="A reference model (default cifar_dropout; humans_300 for horses_or_humans), a .keras file, a run folder, or "
    "package.module:function, called with input_shape= and classes= if it takes them.",
)  # fmt: skip
@click.option(
    "--recipe", metavar="RECIPE",
    help="airbench94 or airbench93, for cifar10: network, images and training as there, all training images, and test-time "
    "augmentation. Takes --epochs, --seed, --precision and --out; runs from end to end.",
)  # fmt: skip
@click.option("--epochs", type=click.IntRange(min=1), help="Default: the reference model's; 20 for digits.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Default: the reference model's; 32 for your own.")
@click.option("--optimizer", help="sgd, rmsprop, adam, adamw, ...; default: the model's.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Default: the optimizer's.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="One seed gives one result; default a new one.")
@click.option(
    "--validation-split",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the training images that is held out to validate on after each epoch, the same for every seed; "
    f"default {_DEFAULT_VALIDATION:g}. The test images are looked at once, at the end.",
)
@range_option
@click.option(
    "--precision",
    type=click.Choice(["highest", "medium"]),
    help="medium: convolutions may multiply bfloat16 numbers, where the processor is faster at that. Default: highest, and "
    "medium for a recipe.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder; default runs/DATASET-MODEL-TIME."
)
@click.option("--overwrite", is_flag=True, help="Replace the run that is in the folder.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder: with its settings, or up to more --epochs.")
@click.option(
    "--verbose", type=click.Choice(["auto", "0", "1", "2"]), default="auto", help="0 silent, 1 a bar, 2 a line an epoch."
)
@style_option
@compute_options
def command(
    out: Path | None,
    overwrite: bool,
    resume: bool,
    verbose: str,
    style: str,
    backend: str | None,
    threads: int | None,
    recipe: str | None,
    **asked_for: Any,
) -> int:
    """Train a model on DATASET, evaluate it on the test images, and write a run folder.

    DATASET is a name that `minicnn data` lists; default cifar10 where its files are on this machine, else digits, which
    needs none.
    The folder gets model.keras, history.csv, settings.json, curves.png, confusion.png and mistakes.png, filters.npz (the
    first convolution's kernel after each epoch, for `minicnn study animate`), and after each epoch a backup, from which
    --resume goes on. Ctrl-C ends training early; what was learnt is evaluated and kept.
    """
    asked = Options(**asked_for)
    if recipe is not None:
        _check_fits_recipe(asked, resume)
    if resume:
        if out is None or overwrite:
            raise click.UsageError("--resume needs the run's folder, --out, and no --overwrite.")
        options = _options_of(out, asked)
    elif out is not None and (out / "settings.json").exists() and not overwrite:
        raise click.UsageError(f"There is a run in {out} already: --resume goes on with it, --overwrite replaces it.")
    elif out is not None and not overwrite and (there := [name for name in _RESULTS if (out / name).exists()]):
        raise click.UsageError(f"There is a {there[0]} in {out} that no run wrote: --overwrite replaces it.")
    else:
        options = asked
    configure(backend, threads)
    if recipe is not None:
        _train_recipe(recipe, asked, out, style)
        return 0
    run, model, data = _prepared(options, out)
    run.begin(keep=resume)
    finished = _fit(model, data, run, int(verbose) if verbose.isdigit() else verbose)
    result = _assess(model, data)
    run.write(model, data, result, style)
    click.echo(f"run folder: {run.folder}")
    if not finished:
        click.echo(f"go on with: minicnn train --resume --out {run.folder}", err=True)
    return 0 if finished else 1


def _check_fits_recipe(asked: Options, resume: bool) -> None:
    """Refuse what a recipe says itself."""
    given = {name for name, value in vars(asked).items() if value is not None} - {"dataset", "epochs", "seed", "precision"}
    given |= {"resume"} if resume else set()
    if given:
        names = ", ".join(sorted(f"--{name.replace('_', '-').removeprefix('input-')}" for name in given))
        raise click.UsageError(f"--recipe is trained as it is written, from end to end; it cannot be given with {names}.")
    if asked.dataset not in (None, "cifar10"):
        raise click.UsageError(f"The recipes are for cifar10. Received: {asked.dataset}")


def _train_recipe(name: str, asked: Options, out: Path | None, style: str) -> None:
    """Train and evaluate a recipe, and write a run folder with its log."""
    import numpy as np

    from minicnn import backends, config, datasets, recipes
    from minicnn.cli.assess import compile_for_classes
    from minicnn.cli.common import names_of
    from minicnn.study import KernelHistory

    try:
        recipe = recipes.get(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--recipe") from error
    if asked.epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=float(asked.epochs))
    if asked.precision is not None:
        recipe = dataclasses.replace(recipe, precision=asked.precision)
    config.set_random_seed(config.random_seed() if asked.seed is None else asked.seed)
    seed = config.random_seed()
    training, test = datasets.cifar10.load_data()
    click.echo(recipes.goal_of(recipe))
    settings = {
        "dataset": "cifar10",
        "class_names": list(names_of("cifar10")),
        "recipe": name,
        "model": name,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "precision": recipe.precision,
        "seed": seed,
        "backend": backends.backend(),
        "threads": backends.get_num_threads(),
    }
    run = Run(out or _new_folder("cifar10", name), settings, KernelHistory())
    run.begin(keep=False)
    result = recipes.train(recipe, training, test, seed=seed, say=click.echo)
    settings["training_seconds"] = round(result.seconds, 2)
    settings["test_accuracy_with_tta"] = result.accuracy_with_tta
    recipes.write_log(run.folder / "log.json", recipe, result, seed)
    compile_for_classes(result.model)
    result.model.history = result.history
    pixels, labels = (test[0] / np.float32(255)).astype(np.float32), test[1].reshape(-1).astype(np.int64)
    data = ImageData(*training, pixels, labels, names_of("cifar10"))
    run.write(result.model, data, _assess(result.model, data), style)
    click.echo(f"run folder: {run.folder}")


@dataclass(frozen=True)
class Options:
    """What decides a run's result, as given on the command line; None where nothing was given."""

    dataset: str | None
    model: str | None
    epochs: int | None
    batch_size: int | None
    optimizer: str | None
    learning_rate: float | None
    seed: int | None
    validation_split: float | None
    input_range: Range | None
    precision: str | None


def _options_of(folder: Path, asked: Options) -> Options:
    """The options of the run in a folder, with the epochs that are asked for now.

    Raises:
        click.UsageError: where there is no run, another option is asked for than it had, or it is done.
    """
    path = folder / "settings.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if "recipe" in settings:
            raise click.UsageError(f"The run in {folder} is of the recipe {settings['recipe']}, which runs from end to end.")
        had = Options(**settings["options"])
        done, epochs = int(settings["epochs_done"]), int(settings["epochs"])
    except FileNotFoundError:
        raise click.UsageError(f"There is no run in {folder} to resume: it has no settings.json.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged, or from another version of minicnn: {error!r}") from error
    if had.input_range is not None:
        had = dataclasses.replace(had, input_range=(float(had.input_range[0]), float(had.input_range[1])))
    for name, value in vars(asked).items():
        if name != "epochs" and value not in (None, getattr(had, name)):
            raise click.UsageError(
                f"--resume goes on with the run's own settings. {name}: it has {getattr(had, name)!r}, asked for is {value!r}."
            )
    wanted = asked.epochs or epochs
    if done >= wanted:
        raise click.UsageError(f"The {done} epochs of the run in {folder} are done; more --epochs go on with it.")
    return dataclasses.replace(had, epochs=wanted)


def _prepared(options: Options, out: Path | None) -> tuple[Run, Any, TrainingData]:
    """The run folder's settings, the compiled model, and the data as it takes them."""
    from minicnn import backends, config, optimizers, zoo
    from minicnn.cli import given_model
    from minicnn.study import KernelHistory

    dataset = options.dataset
    if dataset is None:
        dataset, why = _choose_dataset()
        click.echo(f"data set: {dataset} ({why})")
    config.set_float32_matmul_precision(options.precision or "highest")
    source = options.model or _DEFAULT_MODELS.get(dataset, "cifar_dropout")
    config.set_random_seed(config.random_seed() if options.seed is None else options.seed)
    data = load_data(dataset, _SHAPES.get(dataset))
    shape, classes = data.x_train.shape[1:], len(data.class_names)
    try:
        model = given_model.model_from(source, input_shape=shape, classes=classes)
        reference = zoo.MODELS.get(source)
        if not model.built:
            model.build((None, *shape))
        taken = given_model.image_shape(model)
        given_model.refuse_fewer_outputs(model, classes)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--model") from error
    model.input_range = options.input_range or given_model.input_range(model) or (0.0, 1.0)
    if (taken, model.input_range) != (shape, (0.0, 1.0)):
        data = load_data(dataset, taken, model.input_range)
    training = _held_out(data, _share(options))
    _compile(model, reference, options)
    name = source if reference else Path(source).stem if Path(source).exists() else source.partition(":")[2]
    settings = {
        "dataset": dataset,
        "class_names": list(data.class_names),
        "model": source,
        "epochs": options.epochs or _DEFAULT_EPOCHS.get(dataset, reference.epochs if reference else _OWN_EPOCHS),
        "epochs_done": 0,
        "batch_size": options.batch_size or (reference.batch_size if reference else _OWN_BATCH),
        "optimizer": optimizers.serialize(model.optimizer),
        "validation_split": _share(options),
        "input_range": model.input_range,
        "precision": config.float32_matmul_precision(),
        "seed": config.random_seed(),
        "backend": backends.backend(),
        "threads": backends.get_num_threads(),
    }
    chosen = dataclasses.replace(options, dataset=dataset, model=source, seed=config.random_seed())
    settings["options"] = vars(chosen)
    return Run(out or _new_folder(dataset, name), settings, KernelHistory()), model, training


def _new_folder(dataset: str, name: str) -> Path:
    """Where a run is written that was not told where."""
    return Path("runs") / f"{dataset}-{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _choose_dataset() -> tuple[str, str]:
    from minicnn import datasets

    found = next(entry for entry in datasets.cached() if entry.name == "cifar10")
    if found.path is not None:
        return "cifar10", f"its files are in {found.path}"
    return "digits", "the files of cifar10 are not on this machine; `minicnn data fetch cifar10` gets them"


def _share(options: Options) -> float:
    return _DEFAULT_VALIDATION if options.validation_split is None else options.validation_split


@dataclass(frozen=True)
class TrainingData(ImageData):
    """Images to train on, and those of the training set that were held out to validate on."""

    x_validation: np.ndarray
    y_validation: np.ndarray


def _held_out(data: ImageData, share: float) -> TrainingData:
    """A share of the training images held out, drawn at random (some sets are sorted), but the same ones for every seed."""
    import numpy as np

    order = np.random.default_rng(0).permutation(len(data.x_train))
    count = max(1, round(share * len(order))) if share else 0
    held, rest = np.sort(order[:count]), np.sort(order[count:])
    parts = vars(data) | {"x_train": data.x_train[rest], "y_train": data.y_train[rest]}
    return TrainingData(**parts, x_validation=data.x_train[held], y_validation=data.y_train[held])


def _compile(model: Any, reference: Any, options: Options) -> None:
    """With the loss that the model was compiled with, or one for its outputs; with its own optimizer unless another is asked
    for."""
    from minicnn import optimizers
    from minicnn.cli.assess import loss_for

    own = model.optimizer if model.compiled and model.loss is not None else None
    asked = options.optimizer is not None or options.learning_rate is not None
    if own is not None and not asked:
        return  # with the slots and the step count of its own optimizer
    try:
        if options.optimizer is not None:
            optimizer = optimizers.get(options.optimizer)
        else:
            optimizer = own or (reference.optimizer() if reference else optimizers.get("adam"))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--optimizer") from error
    if options.learning_rate is not None:  # a new one, since a schedule cannot be replaced by a number
        optimizer = type(optimizer)(learning_rate=options.learning_rate)
    model.compile(optimizer=optimizer, loss=loss_for(model) if own is None else model.loss, metrics=["accuracy"])


def _fit(model: Any, data: TrainingData, run: Run, verbose: int | str) -> bool:
    """Train; False if Ctrl-C ended it."""
    from minicnn.callbacks import BackupAndRestore, LambdaCallback
    from minicnn.cli.assess import targets_for
    from minicnn.study.filters import has_convolution

    settings = run.settings
    held = f", {len(data.x_validation):,} training images held out for validation" if len(data.x_validation) else ""
    click.echo(
        f"{settings['model']} ({model.count_params():,} parameters) on {settings['dataset']}: {len(data.x_train):,} images"
        f"{held}, {settings['epochs']} epochs, batch {settings['batch_size']}, {type(model.optimizer).__name__}, "
        f"seed {settings['seed']}, {settings['backend']} backend, {settings['threads']} thread(s)"
    )
    validation = (data.x_validation, targets_for(model, data.y_validation)) if len(data.x_validation) else None
    began = time.perf_counter()
    try:
        model.fit(
            data.x_train,
            targets_for(model, data.y_train),
            batch_size=settings["batch_size"],
            epochs=settings["epochs"],
            validation_data=validation,
            # Kept after the last epoch, too: a run that is done can go on to more epochs.
            callbacks=[
                LambdaCallback(on_epoch_end=_refuse_nan),
                *([run.kernels] if has_convolution(model) else []),
                BackupAndRestore(run.folder / _BACKUP, delete_checkpoint=False),
            ],
            verbose=verbose,
        )
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted after {run.epochs_done(model)} whole epochs", err=True)
        return False
    finally:
        settings["training_seconds"] = round(time.perf_counter() - began, 2)
    return True


def _refuse_nan(epoch: int, logs: dict[str, float]) -> None:
    """Such a model cannot be loaded again; the backup is that of the epoch before."""
    if not math.isfinite(logs["loss"]):
        raise ArithmeticError(
            f"The loss is {logs['loss']} in epoch {epoch + 1}: training diverged. Try a smaller --learning-rate. "
            "(`TerminateOnNaN` among the callbacks of `fit` names the layer where it begins.)"
        )


def _assess(model: Any, data: ImageData) -> Assessment:
    from minicnn.cli.assess import assess, print_report

    result = assess(model, data.x_test, data.y_test)
    print_report(result, data.y_test, data.class_names)
    return result


@dataclass(frozen=True)
class Run:
    """A run folder, and what is written into it: the settings, and the first convolution's kernel after each epoch."""

    folder: Path
    settings: dict[str, Any]
    kernels: KernelHistory

    def begin(self, keep: bool) -> None:
        """Make the folder and write the settings, from which a killed run is resumed. Removes an older run, unless `keep`."""
        self.folder.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is known before training
        if (self.folder / "settings.json").exists() and not keep:
            for path in (*(self.folder / name for name in _RESULTS), *(self.folder / _BACKUP).glob("*.weights.h5")):
                path.unlink(missing_ok=True)
        self._write_settings(self.settings)

    def epochs_done(self, model: Any) -> int:
        """How many whole epochs the model was trained for, those before a restart included."""
        epochs = model.history.epoch if model.history else []
        return epochs[-1] + 1 if epochs else self.settings["epochs_done"]

    def write(self, model: Any, data: ImageData, result: Assessment, style: str) -> None:
        """Write model, history, settings and pictures."""
        import numpy as np

        from minicnn import __version__, study

        settings = self.settings | {
            "epochs_done": self.epochs_done(model),
            "test_loss": result.loss,
            "test_accuracy": result.accuracy,
            "parameters": model.count_params(),
            "versions": {"minicnn": __version__, "numpy": np.__version__, "python": sys.version.split()[0]},
        }
        model.save(self.folder / "model.keras")
        self._write_settings(settings)
        history = model.history.history if model.history else {}
        if history:
            self._write_history(model.history)
        if self.kernels.kernels:
            self.kernels.save(self.folder / "filters.npz")
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
            save_figure(draw(), self.folder / name)

    def _write_settings(self, settings: dict[str, Any]) -> None:
        from minicnn.atomic import replacing

        with replacing(self.folder / "settings.json") as file:
            file.write((json.dumps(settings, indent=2) + "\n").encode())

    def _write_history(self, history: Any) -> None:
        import csv
        import io

        from minicnn.atomic import replacing

        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(["epoch", *history.history])
        writer.writerows([epoch + 1, *values] for epoch, *values in zip(history.epoch, *history.history.values()))
        with replacing(self.folder / "history.csv") as file:
            file.write(table.getvalue().encode())
