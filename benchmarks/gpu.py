"""Training on an NVIDIA GPU: minicnn against PyTorch and JAX, on the zoo's models.

    python benchmarks/gpu.py [--models cifar_small ...] [--batches 32 128 512 2048] [--tf32] [--json results.json]
    python benchmarks/gpu.py --accuracy 0.7 [--models cifar_dropout] [--batches 128] [--seeds 3]

Every engine trains the same network (PyTorch and JAX get theirs from minicnn's layers, with the
same weights' shapes) with Adam at one rate and sparse categorical cross-entropy; data lie on the
GPU before the clock starts. Without --tf32 all multiply in full float32.

The first form gives the time of a step, always on the same batch: engines take turns, round by
round, and a number is the median over rounds. minicnn's steps are those that `Model.fit` runs.
The second gives the seconds of training until CIFAR-10's test images are classified with the
stated accuracy, as seen after each epoch; looking takes no time on this clock, nor do kernels
compile on it. minicnn runs `Model.fit`, the others the usual loop.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import statistics
import time
import warnings
from collections.abc import Callable
from math import prod
from typing import Any, Protocol

import numpy as np

import minicnn
from minicnn import backends, callbacks, layers, zoo
from minicnn.models.cuda_graph import CapturedStep
from minicnn.optimizers import Adam

RATE = 1e-3
CHAINS = ["cifar_small", "cifar_wide", "cifar_dropout", "cifar_strided", "humans_300", "vgg_bn"]  # those with counterparts here
CLASSES = 10
# Fused multiply-adds of an SM in a cycle, by compute capability: float32 cores; TF32 tensor cores (NVIDIA's white papers).
FLOAT32_PER_CYCLE = {70: 64, 75: 64, 80: 64, 86: 128, 89: 128, 90: 128}
TF32_PER_CYCLE = {80: 512, 86: 128, 89: 128, 90: 1024}

Build = Callable[[], Any]  # a new minicnn model
Batch = tuple[Any, Any]  # images and labels, where an engine computes
AfterEpoch = Callable[[], bool]  # called after an epoch: whether to stop


class Engine(Protocol):
    """A network and its optimizer."""

    def put(self, x: np.ndarray, labels: np.ndarray) -> Batch:
        """Images (N, H, W, C) and labels (N,) on the GPU, in the engine's layout."""

    def step(self, x: Any, labels: Any) -> Any:
        """Launch one training step; does not wait for it."""

    def scores(self, x: Any) -> np.ndarray:
        """(N, classes), the largest at the class that is predicted."""

    def epochs(self, data: Batch, batch: int, most: int, after: AfterEpoch) -> None:
        """Train for `most` epochs of shuffled batches, or until `after` says so."""


def chain(model: Any) -> list[Any]:
    """The model's layers, each of which feeds the next; the last is a dense layer with a softmax."""
    return [layer for layer in model.layers if not isinstance(layer, layers.InputLayer)]


def step_flops(model: Any) -> int:
    """FLOPs of the products in a step for one image: forward, kernel gradient, and (but for the first layer) dx."""
    total, passes = 0, 2
    for layer in chain(model):
        if isinstance(layer, (layers.Conv2D, layers.Dense)):
            output = layer.output.shape[1:]
            total += passes * 2 * prod(layer.kernel.shape) * prod(output[:-1])
            passes = 3
    return total


# --- minicnn --------------------------------------------------------------------------


class Minicnn:
    """A step as `fit` runs it, or (not captured) as written."""

    def __init__(self, build: Build, captured: bool) -> None:
        self.model = build()
        self.model.compile(Adam(RATE), "sparse_categorical_crossentropy")
        self.captured = captured
        self._step: Callable[..., None] | None = None

    def put(self, x: np.ndarray, labels: np.ndarray) -> Batch:
        return backends.asarray(x), backends.asarray(labels)

    def step(self, x: Any, labels: Any) -> None:
        if self._step is None:
            self.model.train_on_batch(x, labels)  # what is made at the first batch
            self._step = CapturedStep(self.model) if self.captured else self.model.train_step
        self._step([x], [labels])

    def scores(self, x: Any) -> np.ndarray:
        return self.model.predict(x, batch_size=1000, verbose=0)

    def epochs(self, data: Batch, batch: int, most: int, after: AfterEpoch) -> None:
        class AfterEach(callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                self.model.stop_training = after()

        self.model.fit(*data, batch_size=batch, epochs=most, callbacks=[AfterEach()], verbose=0)


class Loop:
    """The loop of engines that have none."""

    step: Callable[[Any, Any], Any]

    def places(self, order: np.ndarray) -> Any:
        """An array of indices where the engine computes."""
        raise NotImplementedError

    def epochs(self, data: Batch, batch: int, most: int, after: AfterEpoch) -> None:
        x, labels = data
        rng = np.random.default_rng(0)
        for _ in range(most):
            order = self.places(rng.permutation(len(x)))
            for start in range(0, len(x), batch):
                places = order[start : start + batch]
                self.step(x[places], labels[places])
            if after():
                break


# --- PyTorch --------------------------------------------------------------------------


def torch_network(model: Any) -> Any:
    """The same network of torch.nn, ending in logits; channels first, so that the first dense layer sees another order."""
    from torch import nn

    activations = {"relu": nn.ReLU, "softmax": None, "linear": None}
    modules: list[Any] = []
    for layer in chain(model):
        if isinstance(layer, layers.Conv2D):
            *window, C_in, C_out = layer.kernel.shape
            padding = "same" if layer.padding == "same" else 0
            modules.append(nn.Conv2d(C_in, C_out, tuple(window), layer.strides, padding, bias=layer.use_bias))
        elif isinstance(layer, layers.Dense):
            modules.append(nn.Linear(*layer.kernel.shape, bias=layer.use_bias))
        elif isinstance(layer, layers.MaxPooling2D):
            modules.append(nn.MaxPool2d(layer.pool_size, layer.strides))
        elif isinstance(layer, layers.BatchNormalization):
            modules.append(nn.BatchNorm2d(layer.gamma.shape[0], eps=layer.epsilon, momentum=1 - layer.momentum))
        elif isinstance(layer, layers.Dropout):
            modules.append(nn.Dropout(layer.rate))
        elif isinstance(layer, (layers.ReLU, layers.Flatten)):
            modules.append({layers.ReLU: nn.ReLU, layers.Flatten: nn.Flatten}[type(layer)]())
        else:
            raise TypeError(f"no counterpart of {type(layer).__name__}")
        activation = activations[getattr(getattr(layer, "activation", None), "__name__", "linear")]
        if activation is not None:
            modules.append(activation())
    return nn.Sequential(*modules)


class Torch(Loop):
    """Kinds: "eager"; "channels_last"; "compiled", which is channels_last in CUDA graphs."""

    def __init__(self, build: Build, kind: str, device: str = "cuda") -> None:
        import torch

        self.device = device
        self.layout = torch.contiguous_format if kind == "eager" else torch.channels_last
        self.network = torch_network(build()).to(device, memory_format=self.layout)
        on_gpu = device == "cuda"
        self.optimizer = torch.optim.Adam(self.network.parameters(), RATE, fused=on_gpu, capturable=on_gpu)

        def forward_backward(x: Any, labels: Any) -> Any:
            loss = torch.nn.functional.cross_entropy(self.network(x), labels)
            loss.backward()
            return loss

        self.forward_backward = (
            torch.compile(forward_backward, mode="reduce-overhead") if kind == "compiled" else forward_backward
        )

    def put(self, x: np.ndarray, labels: np.ndarray) -> Batch:
        import torch

        images = torch.from_numpy(x).permute(0, 3, 1, 2).to(self.device).contiguous(memory_format=self.layout)
        return images, torch.from_numpy(labels).to(self.device)

    def places(self, order: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(order).to(self.device)

    def step(self, x: Any, labels: Any) -> Any:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.forward_backward(x, labels)
        self.optimizer.step()
        return loss

    def scores(self, x: Any) -> np.ndarray:
        import torch

        self.network.eval()
        with torch.no_grad():
            parts = [self.network(part).cpu().numpy() for part in x.split(1000)]
        self.network.train()
        return np.concatenate(parts)


# --- JAX ------------------------------------------------------------------------------


class Jax(Loop):
    """One jitted function of (weights, slots, key, batch), which gives its buffers back to itself."""

    def __init__(self, build: Build, tf32: bool) -> None:
        import jax
        import jax.numpy as jnp
        from jax import lax

        network = chain(build())
        weights = [[jnp.asarray(np.asarray(weight)) for weight in layer.trainable_weights] for layer in network]
        precision = lax.Precision.DEFAULT if tf32 else lax.Precision.HIGHEST

        def logits(weights: Any, y: Any, key: Any) -> Any:
            """Without a key: as after training."""
            for i, (layer, own) in enumerate(zip(network, weights)):
                if isinstance(layer, layers.Conv2D):
                    numbers = ("NHWC", "HWIO", "NHWC")
                    padding = layer.padding.upper()
                    y = lax.conv_general_dilated(
                        y, own[0], layer.strides, padding, dimension_numbers=numbers, precision=precision
                    )
                    y = y + own[1] if layer.use_bias else y
                elif isinstance(layer, layers.Dense):
                    y = jnp.matmul(y, own[0], precision=precision) + own[1]
                elif isinstance(layer, layers.MaxPooling2D):
                    y = lax.reduce_window(y, -jnp.inf, lax.max, (1, *layer.pool_size, 1), (1, *layer.strides, 1), "VALID")
                elif isinstance(layer, layers.BatchNormalization):
                    if key is None:
                        raise NotImplementedError("this JAX engine keeps no moving statistics")
                    mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
                    y = (y - mean) * lax.rsqrt(variance + layer.epsilon) * own[0] + own[1]
                elif isinstance(layer, layers.Dropout) and key is not None:
                    kept = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - layer.rate, y.shape)
                    y = jnp.where(kept, y / (1 - layer.rate), 0)
                elif isinstance(layer, layers.Flatten):
                    y = y.reshape(len(y), -1)
                if isinstance(layer, layers.ReLU) or getattr(getattr(layer, "activation", None), "__name__", "") == "relu":
                    y = jax.nn.relu(y)
            return y

        def loss_of(weights: Any, x: Any, labels: Any, key: Any) -> Any:
            return -jax.nn.log_softmax(logits(weights, x, key))[jnp.arange(len(labels)), labels].mean()

        def adam(state: Any, x: Any, labels: Any) -> Any:
            weights, means, variances, count, key = state
            key, now = jax.random.split(key)
            loss, grads = jax.value_and_grad(loss_of)(weights, x, labels, now)
            count = count + 1
            rate = RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
            tree = jax.tree_util.tree_map
            means = tree(lambda m, g: m + 0.1 * (g - m), means, grads)
            variances = tree(lambda v, g: v + 0.001 * (g * g - v), variances, grads)
            weights = tree(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), weights, means, variances)
            return (weights, means, variances, count, key), loss

        self._adam = jax.jit(adam, donate_argnums=0)
        self._logits = jax.jit(lambda weights, x: logits(weights, x, None))
        zeros = lambda: jax.tree_util.tree_map(jnp.zeros_like, weights)  # noqa: E731
        self.state = (weights, zeros(), zeros(), jnp.zeros((), jnp.float32), jax.random.PRNGKey(0))

    def put(self, x: np.ndarray, labels: np.ndarray) -> Batch:
        return self.places(x), self.places(labels)

    def places(self, order: np.ndarray) -> Any:
        import jax.numpy as jnp

        return jnp.asarray(order)

    def step(self, x: Any, labels: Any) -> Any:
        self.state, loss = self._adam(self.state, x, labels)
        return loss

    def scores(self, x: Any) -> np.ndarray:
        return np.concatenate([np.asarray(self._logits(self.state[0], x[i : i + 1000])) for i in range(0, len(x), 1000)])


# --- measuring ------------------------------------------------------------------------


def synchronize() -> None:
    """Wait for everything on the device, whichever engine asked for it."""
    import cupy

    cupy.cuda.Device().synchronize()


def measure(steps: dict[str, Callable[[], Any]], rounds: int, seconds: float) -> dict[str, float]:
    """Median seconds of a step of each engine; the engines take turns, `seconds` each time."""
    counts, times = {}, {name: [] for name in steps}
    for name, step in steps.items():
        synchronize()
        start = time.perf_counter()
        for _ in range(3):
            step()
        synchronize()
        counts[name] = max(3, int(seconds / ((time.perf_counter() - start) / 3)))
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                step()
            synchronize()
            times[name].append((time.perf_counter() - start) / counts[name])
    return {name: statistics.median(values) for name, values in times.items()}


def peak(tf32: bool) -> float | None:
    """The card's FLOPs a second: SMs x clock x fused multiply-adds x 2; None for a card this table does not know."""
    import cupy

    device = cupy.cuda.Device()
    per_cycle = (TF32_PER_CYCLE if tf32 else FLOAT32_PER_CYCLE).get(int(device.compute_capability))
    attributes = device.attributes
    return per_cycle and attributes["MultiProcessorCount"] * attributes["ClockRate"] * 1e3 * per_cycle * 2


def engines(tf32: bool) -> dict[str, Callable[[Build], Engine]]:
    """Every engine that is installed, by name."""
    found: dict[str, Callable[[Build], Engine]] = {
        "minicnn graph": lambda build: Minicnn(build, captured=True),
        "minicnn": lambda build: Minicnn(build, captured=False),
    }
    if importlib.util.find_spec("torch"):
        for kind in ("eager", "channels_last", "compiled"):
            found[f"torch {kind}"] = lambda build, kind=kind: Torch(build, kind)
    if importlib.util.find_spec("jax"):
        found["jax"] = lambda build: Jax(build, tf32)
    return found


def warmed_up(engine: Engine, x: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    """A step on this batch, after a few that compile and capture."""
    batch = engine.put(x, labels)
    for _ in range(5):
        engine.step(*batch)
    return lambda: engine.step(*batch)


def versions() -> dict[str, str]:
    names = ("minicnn-engine", "numpy", "cupy-cuda12x", "cupy-cuda13x", "torch", "jax", "jaxlib")
    installed = {distribution.metadata["Name"]: distribution.version for distribution in importlib.metadata.distributions()}
    return {name: installed[name] for name in names if name in installed}


def builder(model: str, seed: int = 0) -> Build:
    """Makes that reference model, always with the same weights."""
    reference = zoo.get(model)

    def build() -> Any:
        minicnn.set_random_seed(seed)
        return reference.build(input_shape=reference.input_shape, classes=CLASSES)

    return build


def run_steps(model: str, batch: int, tf32: bool, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure one model at one batch size; an engine that fails is reported with its error and left out."""
    rng = np.random.default_rng(0)
    x = rng.random((batch, *zoo.get(model).input_shape), np.float32)
    labels = rng.integers(0, CLASSES, batch)
    build = builder(model)
    steps, errors = {}, {}
    for name, make in engines(tf32).items():
        try:
            steps[name] = warmed_up(make(build), x, labels)
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"[:200]
    times = measure(steps, rounds, seconds)
    flops, card = batch * step_flops(build()), peak(tf32)
    shares = {name: flops / value / card for name, value in times.items()} if card else {}
    return {"model": model, "batch": batch, "tf32": tf32, "seconds": times, "share of peak": shares, "errors": errors}


def show_steps(result: dict[str, Any]) -> None:
    """A line an engine: milliseconds, times minicnn's captured step, share of the card's peak."""
    print(f"\n{result['model']}, batch {result['batch']}, {'TF32' if result['tf32'] else 'float32'}")
    own = result["seconds"].get("minicnn graph")
    for name, value in sorted(result["seconds"].items(), key=lambda item: item[1]):
        ratio = f"{value / own:6.2f}x" if own else ""
        share = f"{result['share of peak'][name]:7.1%} of peak" if result["share of peak"] else ""
        print(f"  {name:20} {value * 1e3:9.3f} ms {ratio} {share}")
    for name, error in result["errors"].items():
        print(f"  {name:20} {error}")


def time_to_accuracy(engine: Engine, data: Any, batch: int, target: float, most: int) -> dict[str, Any]:
    """Seconds of training until the test images are classified with the target accuracy; None if that was never seen.

    Args:
        data: ((images, labels), (test images, test labels)), NumPy. most: epochs.
    """
    (x, labels), (x_test, labels_test) = data
    whole = len(x) // batch * batch  # every engine gets batches of one shape
    warmed_up(engine, x[:batch], labels[:batch])
    train, (test, _) = engine.put(x[:whole], labels[:whole]), engine.put(x_test, labels_test)
    seconds, seen = 0.0, []
    synchronize()
    start = time.perf_counter()

    def after() -> bool:
        nonlocal seconds, start
        synchronize()
        seconds += time.perf_counter() - start
        seen.append(float((engine.scores(test).argmax(axis=1) == labels_test).mean()))
        start = time.perf_counter()
        return seen[-1] >= target

    engine.epochs(train, batch, most, after)
    return {"seconds": seconds if seen[-1] >= target else None, "accuracies": seen}


def cifar10() -> Any:
    """((images, labels), (test images, test labels)): float32 in [0, 1], and int64."""
    parts = minicnn.datasets.cifar10.load_data()
    return [(x.astype(np.float32) / 255, y.reshape(-1).astype(np.int64)) for x, y in parts]


def run_accuracy(model: str, batch: int, tf32: bool, target: float, most: int, seeds: int) -> dict[str, Any]:
    """Train one model with every engine, from as many beginnings; an engine that fails is reported with its error."""
    data = cifar10()
    runs, errors = {}, {}
    for name, make in engines(tf32).items():
        if name == "minicnn":  # `fit` captures its steps
            continue
        try:
            runs[name] = [time_to_accuracy(make(builder(model, seed)), data, batch, target, most) for seed in range(seeds)]
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"[:200]
    return {"model": model, "batch": batch, "tf32": tf32, "target": target, "runs": runs, "errors": errors}


def show_accuracy(result: dict[str, Any]) -> None:
    """A line an engine: median seconds to the accuracy, and what each run took."""
    numbers = "TF32" if result["tf32"] else "float32"
    print(f"\n{result['model']}, batch {result['batch']}, {numbers}: seconds to a test accuracy of {result['target']}")
    for name, runs in result["runs"].items():
        reached = [run["seconds"] for run in runs if run["seconds"] is not None]
        median = f"{statistics.median(reached):9.2f} s" if len(reached) == len(runs) else f"{len(reached)} of {len(runs)} runs"
        each = [f"{len(run['accuracies'])} epochs, {run['accuracies'][-1]:.4f}" for run in runs]
        print(f"  {name:20} {median}   ({'; '.join(each)})")
    for name, error in result["errors"].items():
        print(f"  {name:20} {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=CHAINS, help="default: all, or cifar_dropout with --accuracy")
    parser.add_argument("--batches", nargs="+", type=int, help="default: 32 128 512 2048, or 128 with --accuracy")
    parser.add_argument("--tf32", action="store_true", help="let every engine use TF32 tensor cores")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="of an engine's turn")
    parser.add_argument("--accuracy", type=float, help="measure the time to this accuracy on CIFAR-10's test images instead")
    parser.add_argument("--epochs", type=int, default=30, help="after which an accuracy is given up")
    parser.add_argument("--seeds", type=int, default=3, help="runs to an accuracy")
    parser.add_argument("--json", help="write the results to this file too")
    arguments = parser.parse_args()
    models = arguments.models or (CHAINS if arguments.accuracy is None else ["cifar_dropout"])
    batches = arguments.batches or ([32, 128, 512, 2048] if arguments.accuracy is None else [128])

    warnings.filterwarnings("error", message="This training step cannot be captured")
    minicnn.set_backend("cupy")
    backends.backend_module().set_tf32(arguments.tf32)
    if "torch" in versions():
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arguments.tf32
        torch.backends.cudnn.benchmark = True
    report: dict[str, Any] = {"device": backends.backend_module().describe(), "versions": versions(), "results": []}
    print(json.dumps({key: report[key] for key in ("device", "versions")}, indent=2))
    for model in models:
        for batch in batches:
            if arguments.accuracy is None:
                result = run_steps(model, batch, arguments.tf32, arguments.rounds, arguments.seconds)
                show_steps(result)
            else:
                result = run_accuracy(model, batch, arguments.tf32, arguments.accuracy, arguments.epochs, arguments.seeds)
                show_accuracy(result)
            report["results"].append(result)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)


if __name__ == "__main__":
    main()
