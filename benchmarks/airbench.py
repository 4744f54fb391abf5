"""airbench's recipes on CIFAR-10: minicnn against PyTorch, from the first look at the images to the accuracy of the last.

    python benchmarks/airbench.py                                  # airbench94, one seed, every engine
    python benchmarks/airbench.py --recipe airbench93 --seeds 3 --engines minicnn pytorch_bf16 [--json results.json]

Every engine trains the same network from the same weights on the same batches, which `minicnn.recipes` makes, with the same
rates, and predicts the same views; engines take turns, seed by seed. `minicnn` computes as the recipe says (convolutions
multiply bfloat16 numbers where the processor is faster at that), `minicnn_f32` in float32; PyTorch has its images channels
last, `pytorch` in float32, `pytorch_bf16` with `torch.autocast`. The clock includes what each does once: kernels loaded or
compiled, and oneDNN's choices. `--epochs` and `--images` make less of it, to try.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import minicnn
from minicnn import config, recipes, zoo
from minicnn.bench.measure import describe_machine
from minicnn.datasets import cifar10
from minicnn.layers import Activation, BatchNormalization, Conv2D, Dense, Flatten, MaxPooling2D
from minicnn.study import predict_tta

ENGINES = ("minicnn", "minicnn_f32", "pytorch", "pytorch_bf16")
Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """What an engine reached: seconds, and the accuracy of the test images as they are and averaged over views."""

    seconds: float
    accuracy: float
    accuracy_with_tta: float


def train_minicnn(recipe: recipes.Recipe, training: Arrays, test: Arrays, seed: int, precision: str) -> Outcome:
    result = recipes.train(replace(recipe, precision=precision), training, test, seed=seed, say=lambda line: None)
    return Outcome(result.seconds, result.accuracy, result.accuracy_with_tta)


class Twin:
    """The network in PyTorch, with the weights that `recipes.initialize` gives minicnn's."""

    def __init__(self, recipe: recipes.Recipe, training: Arrays, half: bool) -> None:
        import torch
        from torch import nn

        self.torch, self.half = torch, half
        images, labels = training
        network = zoo.airbench94(images.shape[1:], int(labels.max()) + 1, recipe.widths)
        recipes.initialize(network, recipes.normalized(images[: recipe.whitening_images]))
        parts: list[Any] = []
        for layer in network.layers:
            if isinstance(layer, Conv2D):
                KH, _, C_in, C_out = layer.kernel.shape
                own = nn.Conv2d(C_in, C_out, KH, padding=0 if layer.name == "whitening" else "same", bias=layer.use_bias)
                own.weight.data = torch.tensor(layer.kernel.numpy().transpose(3, 2, 0, 1).copy())
                if layer.use_bias:
                    own.bias.data = torch.tensor(layer.bias.numpy().copy())
                    own.weight.requires_grad, self.whitening = False, own
                parts.append(own)
            elif isinstance(layer, BatchNormalization):
                parts.append(nn.BatchNorm2d(layer.beta.shape[0], eps=layer.epsilon, momentum=1 - layer.momentum))
                parts[-1].weight.requires_grad = False
            elif isinstance(layer, Dense):
                parts.append(nn.Linear(*layer.kernel.shape, bias=False))
                parts[-1].weight.data = torch.tensor(layer.kernel.numpy().T.copy())
            elif isinstance(layer, MaxPooling2D):
                parts.append(nn.MaxPool2d(layer.pool_size))
            elif isinstance(layer, Flatten):
                parts.append(nn.Flatten())
            elif isinstance(layer, Activation) and layer.get_config()["activation"] == "gelu":
                parts.append(nn.GELU())
        self.net = nn.Sequential(*parts).to(memory_format=torch.channels_last)

    def logits(self, images: np.ndarray) -> Any:
        x = self.torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        with self.torch.autocast("cpu", self.torch.bfloat16, enabled=self.half):
            return self.net(x).float() / 9

    def predict(self, images: np.ndarray, batch_size: int, verbose: int) -> np.ndarray:
        """As a model's, for `predict_tta`."""
        self.net.eval()
        with self.torch.no_grad():
            parts = [self.logits(images[at : at + batch_size]).numpy() for at in range(0, len(images), batch_size)]
        return np.concatenate(parts)


def train_pytorch(recipe: recipes.Recipe, training: Arrays, test: Arrays, seed: int, half: bool) -> Outcome:
    """The loop of `recipes.train` in PyTorch: SGD with Nesterov's momentum, two groups of rates, and Lookahead."""
    import torch

    (images, labels), (x_test, y_test) = training, test
    torch.manual_seed(seed)
    torch.set_num_threads(minicnn.get_num_threads())
    config.set_random_seed(seed)
    began = time.perf_counter()
    steps = math.ceil(len(images) // recipe.batch_size * recipe.epochs)
    twin = Twin(recipe, training, half)
    biases = [module.bias for module in twin.net if isinstance(module, torch.nn.BatchNorm2d)]
    others = [weight for weight in twin.net.parameters() if all(weight is not bias for bias in biases) and weight.requires_grad]
    schedule, lookahead = recipes.schedule_of(recipe, steps), recipes.lookahead_of(steps)
    decay = recipe.weight_decay / recipe.learning_rate
    groups = [
        {"params": biases, "scale": recipe.bias_scaler, "weight_decay": decay / recipe.bias_scaler},
        {"params": others, "scale": 1.0, "weight_decay": decay},
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=recipe.momentum, nesterov=True)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    averaged = [array for array in twin.net.state_dict().values() if array.is_floating_point()]
    slow = [array.clone() for array in averaged]
    epochs = recipes.batches(recipe, images, labels)
    step = 0
    for epoch in range(math.ceil(recipe.epochs)):
        twin.whitening.bias.requires_grad = epoch < recipe.whitening_epochs
        twin.net.train()
        config.running_pass.set([epoch])
        for x, y in epochs:
            if step == steps:
                break
            for group in optimizer.param_groups:
                group["lr"] = float(schedule(step)) * group["scale"]
            optimizer.zero_grad(set_to_none=True)
            loss(twin.logits(np.asarray(x)), torch.from_numpy(np.asarray(y)).long()).backward()
            optimizer.step()
            step += 1
            if step % lookahead.sync_period == 0:
                with torch.no_grad():
                    for own, fast in zip(slow, averaged):
                        own.lerp_(fast, lookahead.slow_step_size(step))
                        fast.copy_(own)
    with torch.no_grad():
        for own, fast in zip(slow, averaged):
            fast.copy_(own)
    x, y = recipes.normalized(x_test), y_test.reshape(-1)
    plain, views = (float(np.mean(np.argmax(found, axis=1) == y)) for found in (twin.predict(x, 256, 0), predict_tta(twin, x)))
    return Outcome(time.perf_counter() - began, plain, views)


TRAIN: dict[str, Callable[..., Outcome]] = {
    "minicnn": lambda *args: train_minicnn(*args, args[0].precision),
    "minicnn_f32": lambda *args: train_minicnn(*args, "highest"),
    "pytorch": lambda *args: train_pytorch(*args, half=False),
    "pytorch_bf16": lambda *args: train_pytorch(*args, half=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="airbench94", choices=sorted(recipes.RECIPES))
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--images", type=int, help="of the training images")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()

    recipe = recipes.get(given.recipe)
    if given.epochs is not None:
        recipe = replace(recipe, epochs=given.epochs)
    (images, labels), test = cifar10.load_data()
    training = images[: given.images], labels[: given.images]
    print(recipes.goal_of(recipe))
    machine = describe_machine(minicnn.get_num_threads())
    print(json.dumps(machine), flush=True)
    found: dict[str, list[Outcome]] = {engine: [] for engine in given.engines}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for engine in given.engines:
            outcome = TRAIN[engine](recipe, training, test, seed)
            found[engine].append(outcome)
            print(
                f"seed {seed}  {engine:12}  {outcome.seconds:7.1f} s   accuracy {outcome.accuracy:.4f}, "
                f"{outcome.accuracy_with_tta:.4f} with test-time augmentation",
                flush=True,
            )
    for engine, outcomes in found.items():
        seconds = statistics.median(outcome.seconds for outcome in outcomes)
        mean = statistics.fmean(outcome.accuracy_with_tta for outcome in outcomes)
        print(f"{given.recipe}  {engine:12}  median {seconds:7.1f} s   mean accuracy {mean:.4f} of {len(outcomes)}")
    if given.json:
        results = {engine: [vars(outcome) for outcome in outcomes] for engine, outcomes in found.items()}
        about = {"recipe": recipe.name, "epochs": recipe.epochs, "machine": machine}
        given.json.write_text(json.dumps(about | results, indent=1) + "\n")


if __name__ == "__main__":
    main()
