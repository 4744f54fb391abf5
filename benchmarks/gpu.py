"""A training step on an NVIDIA GPU: minicnn against PyTorch and JAX, on the zoo's models.

    python benchmarks/gpu.py [--models cifar_small ...] [--batches 32 128 512 2048] [--tf32] [--json results.json]

Every engine runs the same network (PyTorch and JAX get theirs from minicnn's layers, with the
same weights' shapes), Adam at one rate, sparse categorical cross-entropy, on one batch that
already lies on the GPU. Engines take turns, round by round; a number is the median over rounds
of the time of a step. Without --tf32 all multiply in full float32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

import minicnn
from minicnn import backends, layers, zoo
from minicnn.backends import ops
from minicnn.optimizers import Adam

RATE = 1e-3
CLASSES = 10
# Fused multiply-adds of an SM in a cycle, by compute capability: float32 cores; TF32 tensor cores (NVIDIA's white papers).
FLOAT32_PER_CYCLE = {70: 64, 75: 64, 80: 64, 86: 128, 89: 128, 90: 128}
TF32_PER_CYCLE = {80: 512, 86: 128, 89: 128, 90: 1024}

Step = Callable[[], Any]  # launches one training step; does not wait for it


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


def minicnn_function(model: Any) -> Callable[[Any, Any], Any]:
    """One step as calls of layers and ops, all of whose state lies on the GPU, so that it can be captured."""
    *body, last = chain(model)
    optimizer = Adam(RATE)
    optimizer.build(model.trainable_weights)
    weights: Any = None

    def step(x: Any, labels: Any) -> Any:
        nonlocal weights
        if weights is None:  # of the rows in the mean, made in the warm-up
            weights = backends.asarray(np.full(len(x), 1 / len(x), np.float32))
        saved = []
        for layer in body:
            x, kept = layer.forward(x, True)
            saved.append(kept)
        losses, probabilities = ops.sparse_softmax_cross_entropy_forward(
            ops.dense_forward(x, last.kernel.value, last.bias.value), labels
        )
        dy = ops.sparse_softmax_cross_entropy_backward(probabilities, labels, weights)
        grads = [ops.dense_backward_kernel(x, dy), ops.bias_backward(dy)]
        variables = [last.kernel, last.bias]
        dy = ops.dense_backward_input(dy, last.kernel.value)
        for layer, kept in zip(reversed(body[1:]), reversed(saved[1:])):
            dy, own = layer.backward(dy, kept)
            grads, variables = [*own, *grads], [*layer.trainable_weights, *variables]
        grads, variables = [*body[0].backward_weights(dy, saved[0]), *grads], [*body[0].trainable_weights, *variables]
        optimizer.apply(grads, variables)
        return losses

    return step


def minicnn_step(build: Callable[[], Any], x: np.ndarray, labels: np.ndarray, captured: bool) -> Step:
    from minicnn.backends.cupy_gpu import capture

    batch = [backends.asarray(x), backends.asarray(labels)]
    graph = capture(minicnn_function(build()), batch, warmup=3 if captured else 10**9)
    for _ in range(5):
        graph.replay(batch)
    if captured and not graph.captured:
        raise RuntimeError("not captured")
    return lambda: graph.replay(batch)


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


def torch_step(build: Callable[[], Any], x: np.ndarray, labels: np.ndarray, kind: str, device: str = "cuda") -> Step:
    import torch

    layout = torch.contiguous_format if kind == "eager" else torch.channels_last
    network = torch_network(build()).to(device, memory_format=layout)
    images = torch.from_numpy(x).permute(0, 3, 1, 2).to(device).contiguous(memory_format=layout)
    targets = torch.from_numpy(labels).to(device)
    on_gpu = device == "cuda"
    optimizer = torch.optim.Adam(network.parameters(), RATE, fused=on_gpu, capturable=on_gpu)

    def forward_backward() -> Any:
        loss = torch.nn.functional.cross_entropy(network(images), targets)
        loss.backward()
        return loss

    if kind == "compiled":
        forward_backward = torch.compile(forward_backward, mode="reduce-overhead")

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = forward_backward()
        optimizer.step()
        return loss

    for _ in range(5):
        step()
    return step


# --- JAX ------------------------------------------------------------------------------


def jax_step(build: Callable[[], Any], x: np.ndarray, labels: np.ndarray, tf32: bool) -> Step:
    import jax
    import jax.numpy as jnp
    from jax import lax

    network = chain(build())
    weights = [[jnp.asarray(np.asarray(weight)) for weight in layer.trainable_weights] for layer in network]
    precision = lax.Precision.DEFAULT if tf32 else lax.Precision.HIGHEST

    def loss_of(weights: Any, key: Any) -> Any:
        y = jnp.asarray(x)
        for i, (layer, own) in enumerate(zip(network, weights)):
            if isinstance(layer, layers.Conv2D):
                numbers = ("NHWC", "HWIO", "NHWC")
                padding = layer.padding.upper()
                y = lax.conv_general_dilated(y, own[0], layer.strides, padding, dimension_numbers=numbers, precision=precision)
                y = y + own[1] if layer.use_bias else y
            elif isinstance(layer, layers.Dense):
                y = jnp.matmul(y, own[0], precision=precision) + own[1]
            elif isinstance(layer, layers.MaxPooling2D):
                y = lax.reduce_window(y, -jnp.inf, lax.max, (1, *layer.pool_size, 1), (1, *layer.strides, 1), "VALID")
            elif isinstance(layer, layers.BatchNormalization):
                mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
                y = (y - mean) * lax.rsqrt(variance + layer.epsilon) * own[0] + own[1]
            elif isinstance(layer, layers.Dropout):
                kept = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - layer.rate, y.shape)
                y = jnp.where(kept, y / (1 - layer.rate), 0)
            elif isinstance(layer, layers.Flatten):
                y = y.reshape(len(y), -1)
            if isinstance(layer, layers.ReLU) or getattr(getattr(layer, "activation", None), "__name__", "") == "relu":
                y = jax.nn.relu(y)
        return -jax.nn.log_softmax(y)[jnp.arange(len(labels)), labels].mean()

    def adam(state: Any) -> Any:
        weights, means, variances, count, key = state
        key, now = jax.random.split(key)
        loss, grads = jax.value_and_grad(loss_of)(weights, now)
        count = count + 1
        rate = RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        tree = jax.tree_util.tree_map
        means = tree(lambda m, g: m + 0.1 * (g - m), means, grads)
        variances = tree(lambda v, g: v + 0.001 * (g * g - v), variances, grads)
        weights = tree(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), weights, means, variances)
        return (weights, means, variances, count, key), loss

    jitted = jax.jit(adam, donate_argnums=0)
    zeros = lambda: jax.tree_util.tree_map(jnp.zeros_like, weights)  # noqa: E731
    state = (weights, zeros(), zeros(), jnp.zeros((), jnp.float32), jax.random.PRNGKey(0))

    def step() -> Any:
        nonlocal state
        state, loss = jitted(state)
        return loss

    for _ in range(5):
        step()
    return step


# --- measuring ------------------------------------------------------------------------


def synchronize() -> None:
    """Wait for everything on the device, whichever engine asked for it."""
    import cupy

    cupy.cuda.Device().synchronize()


def measure(steps: dict[str, Step], rounds: int, seconds: float) -> dict[str, float]:
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


def engines(tf32: bool) -> dict[str, Callable[..., Step]]:
    """Name -> (build, x, labels) -> step, of every engine that is installed."""
    import importlib.util

    found: dict[str, Callable[..., Step]] = {
        "minicnn graph": lambda *case: minicnn_step(*case, captured=True),
        "minicnn": lambda *case: minicnn_step(*case, captured=False),
    }
    if importlib.util.find_spec("torch"):
        for kind in ("eager", "channels_last", "compiled"):
            found[f"torch {kind}"] = lambda *case, kind=kind: torch_step(*case, kind)
    if importlib.util.find_spec("jax"):
        found["jax"] = lambda *case: jax_step(*case, tf32)
    return found


def versions() -> dict[str, str]:
    import importlib.metadata

    names = ("minicnn", "numpy", "cupy-cuda12x", "cupy-cuda13x", "torch", "jax", "jaxlib")
    installed = {distribution.metadata["Name"]: distribution.version for distribution in importlib.metadata.distributions()}
    return {name: installed[name] for name in names if name in installed}


def run(model: str, batch: int, tf32: bool, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure one model at one batch size; an engine that fails is reported with its error and left out."""
    reference = zoo.get(model)
    rng = np.random.default_rng(0)
    x = rng.random((batch, *reference.input_shape), np.float32)
    labels = rng.integers(0, CLASSES, batch)

    def build() -> Any:
        minicnn.set_random_seed(0)
        return reference.build(input_shape=reference.input_shape, classes=CLASSES)

    steps, errors = {}, {}
    for name, engine in engines(tf32).items():
        try:
            steps[name] = engine(build, x, labels)
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"[:200]
    times = measure(steps, rounds, seconds)
    flops, card = batch * step_flops(build()), peak(tf32)
    shares = {name: flops / value / card for name, value in times.items()} if card else {}
    return {"model": model, "batch": batch, "tf32": tf32, "seconds": times, "share of peak": shares, "errors": errors}


def show(result: dict[str, Any]) -> None:
    """A line an engine: milliseconds, times minicnn's captured step, share of the card's peak."""
    print(f"\n{result['model']}, batch {result['batch']}, {'TF32' if result['tf32'] else 'float32'}")
    own = result["seconds"].get("minicnn graph")
    for name, value in sorted(result["seconds"].items(), key=lambda item: item[1]):
        ratio = f"{value / own:6.2f}x" if own else ""
        share = f"{result['share of peak'][name]:7.1%} of peak" if result["share of peak"] else ""
        print(f"  {name:20} {value * 1e3:9.3f} ms {ratio} {share}")
    for name, error in result["errors"].items():
        print(f"  {name:20} {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=zoo.names(), choices=zoo.names())
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 128, 512, 2048])
    parser.add_argument("--tf32", action="store_true", help="let every engine use TF32 tensor cores")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="of an engine's turn")
    parser.add_argument("--json", help="write the results to this file too")
    arguments = parser.parse_args()

    minicnn.set_backend("cupy")
    backends.backend_module().set_tf32(arguments.tf32)
    if "torch" in versions():
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arguments.tf32
        torch.backends.cudnn.benchmark = True
    report: dict[str, Any] = {"device": backends.backend_module().describe(), "versions": versions(), "results": []}
    print(json.dumps({key: report[key] for key in ("device", "versions")}, indent=2))
    for model in arguments.models:
        for batch in arguments.batches:
            report["results"].append(run(model, batch, arguments.tf32, arguments.rounds, arguments.seconds))
            show(report["results"][-1])
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)


if __name__ == "__main__":
    main()
