"""Recipes: a network, its images and its training together, as somebody measured them. Here airbench's for CIFAR-10.

    from minicnn import datasets, recipes

    recipe = recipes.get("airbench94")
    result = recipes.train(recipe, *datasets.cifar10.load_data(), seed=0)
    print(f"{result.accuracy_with_tta:.2%} in {result.seconds:.0f} s")

`minicnn train cifar10 --recipe airbench94` and `examples/airbench.py` run these lines.

Source: Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv:2404.00498, and its programs. Its numbers are
decoupled: neither the momentum nor the batch size changes what a learning rate or a weight decay does. `optimizer_of` turns
them into those of `SGD`.
"""

from __future__ import annotations

import inspect
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import backends, config, datasets, registry, zoo
from minicnn.atomic import replacing
from minicnn.callbacks import Callback, LambdaCallback, Lookahead
from minicnn.data import Dataset
from minicnn.initializers import Dirac, VarianceScaling
from minicnn.layers import Conv2D, Input, Normalization, RandomTranslation
from minicnn.losses import SparseCategoricalCrossentropy
from minicnn.models import Model, Sequential
from minicnn.optimizers import SGD, MultiOptimizer, OptimizerMap
from minicnn.optimizers.schedules import OneCycle
from minicnn.preprocessing import alternating_flip, whitening_kernel
from minicnn.study import predict_tta

Arrays = tuple[np.ndarray, np.ndarray]  # images, labels
Say = Callable[[str], None]

MEAN, STANDARD_DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of the channels of CIFAR-10's training images, scaled to [0, 1]."""


@dataclass(frozen=True)
class Recipe:
    """What one of airbench's trainings differs in from the others, and the numbers that all share.

    Attributes:
        name: under which `get` finds it.
        widths: filters of the network's three pairs of convolutions.
        epochs: may end within one.
        goal: mean accuracy that was reported, with test-time augmentation.
        batch_size: images a step; the rest of an epoch is left out.
        learning_rate, weight_decay: of 1,024 images, decoupled.
        momentum: Nesterov's.
        bias_scaler: how many times the learning rate those of the normalizations' biases is.
        warmup_share: of the steps, until the rate is highest; it begins with `start_factor` and ends with `end_factor` of that.
        label_smoothing: of the cross-entropy.
        whitening_epochs: how long the first convolution's bias is trained, whose kernel never is.
        whitening_images: that this kernel is computed from.
        translation: by up to so many pixels.
        precision: of the convolutions' products, see `config.set_float32_matmul_precision`; airbench's are of half precision.
    """

    name: str
    widths: tuple[int, int, int]
    epochs: float
    goal: float
    batch_size: int = 1024
    learning_rate: float = 11.5
    weight_decay: float = 0.0153
    momentum: float = 0.85
    bias_scaler: float = 64.0
    warmup_share: float = 0.23
    start_factor: float = 0.2
    end_factor: float = 0.07
    label_smoothing: float = 0.2
    whitening_epochs: int = 3
    whitening_images: int = 5000
    translation: int = 2
    precision: str = "medium"


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("airbench94", widths=(64, 256, 256), epochs=9.9, goal=0.9401),
        Recipe("airbench93", widths=(64, 128, 128), epochs=11.0, goal=0.93),
    )
}


def get(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        ValueError: for an unknown name, with the known ones.
    """
    found: Recipe = registry.entry(RECIPES, name, "recipe")
    return found


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        model: takes images scaled to [0, 1], ends in probabilities, and is not compiled.
        seconds: from the first look at the training images to the last prediction of the test images, the compilation or
            loading of kernels included.
        epochs, steps: that were trained.
        accuracy, accuracy_with_tta: of the test images, as they are and averaged over views (see `study.predict_tta`).
        history: of `fit`.
    """

    model: Any
    seconds: float
    epochs: float
    steps: int
    accuracy: float
    accuracy_with_tta: float
    history: Any


def normalized(images: np.ndarray) -> np.ndarray:
    """Pixels from 0 to 255 as float32 of mean 0 and variance 1 in each channel."""
    scale = 1 / (255 * np.array(STANDARD_DEVIATION))
    return images * scale.astype(np.float32) - (np.array(MEAN) / STANDARD_DEVIATION).astype(np.float32)


def initialize(network: Any, images: np.ndarray) -> None:
    """Set the weights that `zoo.airbench94` starts with.

    The first convolution whitens patches of `images` (N, H, W, C), and only its bias is trained. Of each other one, as many
    filters as there are channels pass these on; the rest, and the last layer, are random as in PyTorch.
    """
    as_in_pytorch = VarianceScaling(1 / 3, "fan_in", "uniform")  # within 1 / sqrt(fan_in)
    for layer in network.layers:
        if layer.name == "whitening":
            layer.trainable = True
            layer.kernel.trainable = False
            layer.kernel.assign(whitening_kernel(images))
        elif isinstance(layer, Conv2D):
            layer.kernel.assign(Dirac(rest=as_in_pytorch.clone())(layer.kernel.shape))
        elif layer.name == "head":
            layer.kernel.assign(as_in_pytorch.clone()(layer.kernel.shape))


def schedule_of(recipe: Recipe, steps: int, scaler: float = 1.0) -> OneCycle:
    """The learning rate of `SGD` over so many steps, times `scaler`; see `optimizer_of`."""
    rate = recipe.learning_rate * recipe.batch_size / (1024 * (1 + 1 / (1 - recipe.momentum)))
    warmup = int(recipe.warmup_share * steps) / steps
    return OneCycle(rate * scaler, steps, warmup, recipe.start_factor, recipe.end_factor, shape="linear")


def lookahead_of(steps: int) -> Lookahead:
    """airbench's, for so many steps."""
    return Lookahead(sync_period=5, slow_step_size=lambda step: 1 - 0.95**5 * (step / steps) ** 3)


def optimizer_of(recipe: Recipe, steps: int) -> MultiOptimizer:
    """The optimizer for so many steps: one group of variables for the normalizations' biases, one for all else.

    airbench divides its learning rate by 1024 * (1 + 1 / (1 - momentum)), of which constant gradients are made that much
    larger by Nesterov's momentum, and takes the gradient of the sum over a batch. Of the mean, it is that times the batch
    size; and the decay of a step, learning_rate * weight_decay in `SGD`'s terms, shall be the same for both groups.
    """

    def group(scaler: float) -> SGD:
        decay = recipe.weight_decay / recipe.learning_rate / scaler
        as_in_pytorch = {"decoupled_weight_decay": False, "rate_in_momentum": False}
        return SGD(schedule_of(recipe, steps, scaler), recipe.momentum, nesterov=True, weight_decay=decay, **as_in_pytorch)

    return MultiOptimizer(OptimizerMap(group(1.0), {".*beta": group(recipe.bias_scaler)}))


def batches(recipe: Recipe, images: np.ndarray, labels: np.ndarray) -> Dataset:
    """An epoch's batches: in random order, each image mirrored in every other epoch, and moved over its reflected border."""
    height, width = ((recipe.translation + 0.5) / extent for extent in images.shape[1:3])
    translate = RandomTranslation(height, width, fill_mode="mirror", interpolation="nearest")
    seed = config.next_seed()

    def augmented(places: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[Any, np.ndarray]:
        return translate(alternating_flip(normalized(x), places, seed=seed), training=True), y

    places = np.arange(len(images))
    data = Dataset.from_tensor_slices((places, images, labels.reshape(-1).astype(np.int32)))
    return data.shuffle(len(images)).batch(recipe.batch_size, drop_remainder=True).map(augmented)


class _Stop(Callback):
    """Ends training after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        self.model.stop_training = self.left == 0


def train(recipe: Recipe, training: Arrays, test: Arrays, *, seed: int = 0, say: Say = print) -> Result:
    """Train and evaluate.

    Args:
        training, test: uint8 images (N, H, W, 3) and integer labels (N,) or (N, 1).
        seed: of weights, orders and translations.
        say: is told a line an epoch.

    Raises:
        ValueError: if there are fewer images than a batch has.
    """
    before = config.float32_matmul_precision()
    config.set_float32_matmul_precision(recipe.precision)
    try:
        return _train(recipe, training, test, seed, say)
    finally:
        config.set_float32_matmul_precision(before)


def _train(recipe: Recipe, training: Arrays, test: Arrays, seed: int, say: Say) -> Result:
    (x_train, y_train), (x_test, y_test) = training, test
    if len(x_train) < recipe.batch_size:
        raise ValueError(f"Recipe {recipe.name}: a batch has {recipe.batch_size} images. Received: {len(x_train)}")
    config.set_random_seed(seed)
    began = time.perf_counter()
    an_epoch = len(x_train) // recipe.batch_size
    steps = math.ceil(an_epoch * recipe.epochs)
    network = zoo.airbench94(x_train.shape[1:], int(y_train.max()) + 1, recipe.widths)
    initialize(network, normalized(x_train[: recipe.whitening_images]))
    loss = SparseCategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    network.compile(optimizer_of(recipe, steps), loss, metrics=["accuracy"])
    whitening: Any = network.get_layer("whitening")

    def freeze(epoch: int, logs: Any) -> None:
        whitening.bias.trainable = epoch < recipe.whitening_epochs  # alone: the layer's `trainable` is its kernel's, too

    def report(epoch: int, logs: dict[str, float]) -> None:
        figures = f"loss {logs['loss']:.4f}, training accuracy {logs['accuracy']:.4f}"
        say(f"epoch {epoch + 1:2}: {figures}, {time.perf_counter() - began:.1f} s")

    history = network.fit(
        batches(recipe, x_train, y_train),
        epochs=math.ceil(recipe.epochs),
        callbacks=[
            LambdaCallback(on_epoch_begin=freeze, on_epoch_end=report),
            lookahead_of(steps),
            _Stop(steps),
        ],
        verbose=0,
    )
    logits, x, y = Model(network.inputs, network.get_layer("logits").output), normalized(x_test), y_test.reshape(-1)
    accuracy, with_tta = (
        float(np.mean(np.argmax(found, axis=1) == y))
        for found in (logits.predict(x, batch_size=256, verbose=0), predict_tta(logits, x))
    )
    seconds = time.perf_counter() - began
    say(f"{recipe.epochs:g} epochs in {seconds:.1f} s: accuracy {accuracy:.4f}, {with_tta:.4f} with test-time augmentation")
    return Result(_of_pixels(network), seconds, recipe.epochs, steps, accuracy, with_tta, history)


def _of_pixels(network: Any) -> Sequential:
    """The trained layers behind one that normalizes images of the range [0, 1]."""
    normalization = Normalization(mean=MEAN, variance=[deviation**2 for deviation in STANDARD_DEVIATION])
    model = Sequential([Input(network.input_shape[1:]), normalization, *network.layers], name=network.name)
    model.input_range = (0.0, 1.0)
    return model


def goal_of(recipe: Recipe) -> str:
    """What accuracy to expect, given the files that CIFAR-10 is read from."""
    path, original = datasets.cifar10.provenance()
    if original:
        return f"{path}: the original files of CIFAR-10; the goal is {recipe.goal:.1%}"
    return f"{path}: not the original files of CIFAR-10, with which {recipe.goal:.1%} was reached"


def write_log(path: Path, recipe: Recipe, result: Result, seed: int, script: Path | None = None) -> None:
    """Write a JSON file: what was done, on which machine and data, what came out, and the text of the programs that did it.

    Args:
        script: the program that called, if that is another one.
    """
    from minicnn.bench.measure import describe_machine

    code = {"zoo.airbench94": inspect.getsource(zoo.airbench94), "recipes": inspect.getsource(sys.modules[__name__])}
    if script is not None:
        code[script.name] = script.read_text(encoding="utf-8")
    figures = {key: value for key, value in vars(result).items() if key not in ("model", "history")}
    log = {
        "recipe": asdict(recipe),
        "seed": seed,
        "data": goal_of(recipe),
        "machine": describe_machine(backends.get_num_threads()),
        **figures,
        "history": result.history.history,
        "code": code,
    }
    with replacing(path) as file:
        file.write((json.dumps(log, indent=1) + "\n").encode())
