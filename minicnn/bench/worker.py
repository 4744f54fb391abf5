"""One engine in a process of its own: `python worker.py ENGINE CASE THREADS`, commanded line by line.

It reads a JSON command a line from standard input and answers each with one line:

    {"do": "train"}                  an epoch over the case's images, after one that is not timed: a process that
                                     has waited wakes up first           {"seconds": ..., "steps": ...}
    {"do": "predict", "batch": 256}  a pass over images                 {"seconds": ..., "images": ...}
    {"do": "call", "batch": 1}       the model called on an array       likewise
    {"do": "memory"}                                                    {"bytes": the most that was resident}
    {"do": "start"}                  import to the end of the first training step   {"seconds": ...}

CASE is a JSON file written by `measure`: the model's config in Keras's form, optimizer, loss,
shapes and batch size. This file imports no engine but the one it measures, and not minicnn
either: it is run as a file.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any

ENGINES = {
    "minicnn": "minicnn",
    "keras tensorflow": "Keras, TensorFlow",
    "keras tensorflow xla": "Keras, TensorFlow + XLA",
    "keras jax": "Keras, JAX",
    "keras torch": "Keras, PyTorch",
    "torch": "PyTorch",
    "torch channels_last": "PyTorch channels_last",
    "torch compiled": "PyTorch compiled",
}
"""Every engine's name, and how figures call it."""

ISAS = {
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",  # minicnn
        "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions and products of TensorFlow and PyTorch
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",  # other products of PyTorch
        "ATEN_CPU_CAPABILITY": "avx2",  # all else of PyTorch, compiled or not
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",  # JAX, and TensorFlow where it compiles
    },
}
"""What keeps every engine to a set of instructions; to stand in the environment before an engine is imported."""

FEW, MANY = 0.15, 1_000_000  # seconds that a timed pass lasts at least; epochs that are never reached


def environment(engine: str, threads: int) -> dict[str, str]:
    """What must stand in the environment before the engine is imported."""
    count = str(threads)
    variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), count)
    variables |= {"TF_NUM_INTRAOP_THREADS": count, "TF_NUM_INTEROP_THREADS": count}
    variables |= {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    if engine.startswith("keras"):
        variables["KERAS_BACKEND"] = engine.split()[1]
    return variables


def timed(passes: Callable[[], Any]) -> tuple[float, int]:
    """Seconds that repeated calls took, and how many they were; after one that is not counted."""
    passes()
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < FEW:
        passes()
        count += 1
    return elapsed, count


def arrays(case: dict[str, Any], images: int) -> tuple[Any, Any]:
    """Random pixels and labels of the case's shapes and kinds."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.random((images, *case["input_shape"]), np.float32)
    y = rng.integers(0, max(2, case["classes"]), (images, *case["output_shape"][:-1]))
    if case["loss"] == "sparse_categorical_crossentropy":
        return x, y
    if case["loss"] == "categorical_crossentropy":
        return x, np.eye(case["classes"], dtype=np.float32)[y]
    if case["loss"] == "binary_crossentropy":
        return x, y.astype(np.float32).reshape(images, 1)
    return x, rng.random((images, *case["output_shape"]), np.float32)


class KerasAPI:
    """minicnn or Keras: the same lines for both."""

    def __init__(self, engine: str, case: dict[str, Any], threads: int) -> None:
        if engine == "keras torch":
            import torch

            torch.set_num_threads(threads)
        keras: Any = importlib.import_module("minicnn" if engine == "minicnn" else "keras")
        if engine == "minicnn":
            keras.backends.set_num_threads(threads)
        self.case = case
        self.model = keras.models.model_from_json(json.dumps(case["model"]))
        self.model.compile(
            optimizer=keras.optimizers.deserialize(case["optimizer"]),
            loss=case["loss"],
            jit_compile={"keras tensorflow": False, "keras tensorflow xla": True}.get(engine, "auto"),
        )
        self.keras = keras

    def first_step(self) -> None:
        x, y = arrays(self.case, self.case["batch"])
        self.model.fit(x, y, batch_size=len(x), epochs=1, verbose=0)

    def train(self, answer: Callable[[dict[str, Any]], None], next_command: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """`fit`, of which every second epoch is a turn; returns the first command that is not another one."""
        steps, batch = self.case["steps"], self.case["batch"]
        x, y = arrays(self.case, steps * batch)
        other: dict[str, Any] = {}

        class Turns(self.keras.callbacks.Callback):  # type: ignore[name-defined]
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self.began = time.perf_counter()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                if epoch % 2 == 0:
                    return
                answer({"seconds": time.perf_counter() - self.began, "steps": steps})
                command = next_command()
                if command["do"] != "train":
                    other.update(command)
                    self.model.stop_training = True

        self.model.fit(x, y, batch_size=batch, epochs=MANY, verbose=0, callbacks=[Turns()])
        return other

    def predict(self, x: Any) -> Callable[[], Any]:
        return lambda: self.model.predict(x, batch_size=256, verbose=0)

    def call(self, x: Any) -> Callable[[], Any]:
        if self.keras.__name__ == "keras" and self.keras.config.backend() == "torch":
            import numpy as np
            import torch

            def inference() -> Any:
                with torch.inference_mode():
                    return np.asarray(self.model(x))

            return inference
        import numpy as np

        return lambda: np.asarray(self.model(x))


class Torch:
    """PyTorch: the same layers in `nn.Sequential`, the training loop of its tutorials."""

    def __init__(self, engine: str, case: dict[str, Any], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.torch, self.case = torch, case
        images = len(case["input_shape"]) == 3  # signals have one layout
        self.layout = torch.channels_last if images and engine != "torch" else torch.contiguous_format
        self.network = torch_network(case["model"]["config"], case["input_shape"]).to(memory_format=self.layout)
        self.run = torch.compile(self.network) if engine == "torch compiled" else self.network
        self.optimizer = torch_optimizer(case["optimizer"], self.network.parameters())
        losses = {"binary_crossentropy": "BCEWithLogitsLoss", "mean_squared_error": "MSELoss"}
        self.loss = getattr(torch.nn, losses.get(case["loss"], "CrossEntropyLoss"))()

    def _images(self, x: Any) -> Any:
        return self.torch.from_numpy(x).movedim(-1, 1).contiguous(memory_format=self.layout)

    def _step(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss(self.run(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def _batches(self, steps: int) -> list[tuple[Any, Any]]:
        batch = self.case["batch"]
        x, y = arrays(self.case, steps * batch)
        cut = [slice(i * batch, (i + 1) * batch) for i in range(steps)]
        return [(self._images(x[part]), self.torch.from_numpy(y[part])) for part in cut]

    def first_step(self) -> None:
        self._step(*self._batches(1)[0])

    def train(self, answer: Callable[[dict[str, Any]], None], next_command: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        batches = self._batches(self.case["steps"])
        self.network.train()
        while True:
            for _ in range(2):
                began = time.perf_counter()
                for x, y in batches:
                    loss = self._step(x, y)
                loss.item()
            answer({"seconds": time.perf_counter() - began, "steps": len(batches)})
            command = next_command()
            if command["do"] != "train":
                return command

    def predict(self, x: Any) -> Callable[[], Any]:
        self.network.eval()
        parts = [self._images(x[i : i + 256]) for i in range(0, len(x), 256)]

        def inference() -> None:
            with self.torch.inference_mode():
                for part in parts:
                    self.run(part)

        return inference

    call = predict


def torch_network(config: dict[str, Any], input_shape: list[int]) -> Any:
    """The network of a Keras config in PyTorch, channels first, ending in logits: a chain as `torch.nn.Sequential`.

    Raises:
        ValueError: if a layer has no counterpart here, or the model is no graph of layers that are called once.
    """
    import torch
    from torch import nn

    layers = config["layers"]
    values = {}  # what each layer so far makes of one image, by its name
    steps: list[tuple[str, list[str], list[Any]]] = []  # a layer's name, whose outputs it reads, and its modules
    before = ""
    for layer in layers:
        name, sources = layer["config"]["name"], sources_of(layer)
        if layer["class_name"] == "InputLayer":
            values[name] = torch.zeros(1, input_shape[-1], *input_shape[:-1])
        else:
            if not values:  # a chain may have no layer for its input
                values[before] = torch.zeros(1, input_shape[-1], *input_shape[:-1])
            sources = sources or [before]
            modules = torch_modules(layer, [values[source] for source in sources], layer is layers[-1])
            value: Any = [values[source] for source in sources]
            for module in modules:
                module.eval()
                with torch.no_grad():
                    value = [module(*value)]
                module.train()
            values[name] = value[0]
            steps.append((name, sources, modules))
        before = name
    names = ["", *(name for name, _, _ in steps)]
    if all(len(sources) == 1 and (i == 0 or sources[0] == names[i]) for i, (_, sources, _) in enumerate(steps)):
        return nn.Sequential(*(module for _, _, modules in steps for module in modules))
    return torch_graph(steps)


def sources_of(layer: dict[str, Any]) -> list[str]:
    """The names of the layers whose outputs a layer reads, as its Keras config tells; none in a `Sequential`."""
    nodes = layer.get("inbound_nodes") or []
    if len(nodes) > 1:
        raise ValueError("PyTorch's counterpart is written for layers that are called once")
    return re.findall(r'"keras_history": \["([^"]*)"', json.dumps(nodes))


def torch_graph(steps: list[tuple[str, list[str], list[Any]]]) -> Any:
    """Layers that read several values, or values that several layers read, as one module."""
    from torch import nn

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.ModuleList(modules) for _, _, modules in steps)

        def forward(self, x: Any) -> Any:
            values: dict[str, Any] = {}
            for (name, sources, _), (first, *others) in zip(steps, self.layers):
                value = first(*(values.get(source, x) for source in sources))
                for module in others:
                    value = module(value)
                values[name] = value
            return value

    return Graph()


def torch_modules(layer: dict[str, Any], values: list[Any], is_last: bool) -> list[Any]:
    """A layer of a Keras config, and its activation, as modules. values: what it reads, for their numbers of channels.

    A strided convolution with padding="same" has zeros on both sides, as PyTorch's programs do it: as much work as
    TensorFlow's, which are after the image alone. What the config freezes gets no gradient here either.
    """
    from torch import nn

    name, options, channels = layer["class_name"], layer["config"], values[0].shape[1]
    same, kind = options.get("padding") == "same", name[:-2]
    window = tuple(options.get("kernel_size") or options.get("pool_size") or ())
    stride, dilation = (tuple(options.get(argument) or ()) for argument in ("strides", "dilation_rate"))
    bias, modules = options.get("use_bias"), []
    around = tuple(extent // 2 if same else 0 for extent in window)
    if kind == "Conv":
        convolution = getattr(nn, f"Conv{name[-2]}d")
        if same and max(stride) > 1 and not all(extent % 2 for extent in window):
            raise ValueError("a strided convolution of an even kernel with padding='same' has no counterpart in PyTorch")
        pads = 0 if not same else "same" if max(stride) == 1 else around
        modules.append(convolution(channels, options["filters"], window, stride, pads, dilation, bias=bias))
    elif name == "DepthwiseConv2D":
        outputs = channels * options["depth_multiplier"]
        modules.append(nn.Conv2d(channels, outputs, window, stride, around, dilation, channels, bias=bias))
    elif name == "Conv2DTranspose" and window == stride:
        modules.append(nn.ConvTranspose2d(channels, options["filters"], window, stride, bias=bias))
    elif name == "Dense":
        modules.append(nn.Linear(values[0].shape[-1], options["units"], bias=bias))
    elif kind in ("MaxPooling", "AveragePooling") and not same:
        modules.append(getattr(nn, f"{'Max' if 'Max' in name else 'Avg'}Pool{name[-2]}d")(window, stride))
    elif kind in ("GlobalMaxPooling", "GlobalAveragePooling"):
        adaptive = f"Adaptive{'Max' if 'Max' in name else 'Avg'}Pool{name[-2]}d"
        modules.append(nn.Sequential(getattr(nn, adaptive)(1), nn.Flatten()))
    elif name == "BatchNormalization":
        modules.append(nn.BatchNorm2d(channels, eps=options["epsilon"], momentum=1 - options["momentum"]))
        modules[0].weight.requires_grad_(options["scale"])  # a factor of 1 that stays so, where there is none
    elif name == "LayerNormalization":
        modules += channels_normalized(channels, options["epsilon"], values[0].dim())
    elif name in ("Add", "Concatenate"):
        modules.append(merged(name))
    elif name == "Rescaling" and not options["offset"]:
        modules.append(rescaled(options["scale"]))
    elif name == "Dropout":
        modules.append(nn.Dropout(options["rate"]))
    elif name in ("Flatten", "ReLU"):
        modules.append(getattr(nn, name)())
    elif name != "Activation":
        raise ValueError(f"{name} has no counterpart in PyTorch here")
    activation = options.get("activation", "linear")
    if activation in ("relu", "gelu"):
        modules.append({"relu": nn.ReLU, "gelu": nn.GELU}[activation]())
    elif activation not in ("linear", "softmax", "sigmoid") or (activation != "linear" and not is_last):
        raise ValueError(f"activation {activation!r} of {name} has no counterpart in PyTorch here")
    for module in modules if not options.get("trainable", True) else ():
        module.requires_grad_(False)
    return modules or [nn.Identity()]


def channels_normalized(channels: int, epsilon: float, rank: int) -> list[Any]:
    """Layer normalization along the channels, as torchvision's ConvNeXt has it: with the channels last, for the time."""
    from torch import nn

    class Moved(nn.Module):
        def __init__(self, source: int, target: int) -> None:
            super().__init__()
            self.source, self.target = source, target

        def forward(self, x: Any) -> Any:
            return x.movedim(self.source, self.target)

    norm = nn.LayerNorm(channels, eps=epsilon)
    return [norm] if rank == 2 else [nn.Sequential(Moved(1, -1), norm, Moved(-1, 1))]


def merged(name: str) -> Any:
    """`Add` or `Concatenate` (of channels)."""
    import torch
    from torch import nn

    class Merged(nn.Module):
        def forward(self, *values: Any) -> Any:
            return sum(values[1:], values[0]) if name == "Add" else torch.cat(values, 1)

    return Merged()


def rescaled(factor: float) -> Any:
    """`Rescaling`: each number times the factor."""
    from torch import nn

    class Rescaled(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * factor

    return Rescaled()


def torch_optimizer(config: dict[str, Any], parameters: Any) -> Any:
    """PyTorch's optimizer for a Keras config; a schedule is left out: to compute a rate costs nothing."""
    import torch

    options = config["config"]
    rate = options["learning_rate"]
    rate = float(rate if not isinstance(rate, dict) else rate["config"]["initial_learning_rate"])
    if config["class_name"] == "SGD":
        return torch.optim.SGD(parameters, rate, momentum=options["momentum"], nesterov=options["nesterov"])
    if config["class_name"] == "RMSprop":
        return torch.optim.RMSprop(parameters, rate, alpha=options["rho"], momentum=options["momentum"])
    if config["class_name"] in ("Adam", "AdamW"):
        kind = getattr(torch.optim, config["class_name"])
        return kind(parameters, rate, betas=(options["beta_1"], options["beta_2"]), eps=options["epsilon"])
    raise ValueError(f"optimizer {config['class_name']} has no counterpart in PyTorch here")


def inference(engine: Any, case: dict[str, Any], how: str, batch: int) -> dict[str, Any]:
    """Images a pass: one batch, or two of them where `predict` cuts batches itself."""
    images = batch if batch == 1 or how == "call" else 2 * batch
    passes = getattr(engine, how)(arrays(case, images)[0])
    seconds, count = timed(passes)
    return {"seconds": seconds, "images": images * count}


def peak_memory() -> int:
    """The most bytes of this process that were resident at once."""
    try:  # Linux; what `getrusage` tells there counts the process, too, that this one was started from
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except OSError:
        import resource  # not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    began = time.perf_counter()
    engine_name, case_file, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ.update(environment(engine_name, threads))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever an engine prints is no answer
    with open(case_file, encoding="utf-8") as file:
        case = json.load(file)

    def answer(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers, flush=True)

    def next_command() -> dict[str, Any]:
        line = sys.stdin.readline()
        return json.loads(line) if line else {"do": "quit"}

    engine: Any = None
    command = next_command()
    while command["do"] != "quit":
        following = None
        try:
            if engine is None:
                engine = (Torch if engine_name.startswith("torch") else KerasAPI)(engine_name, case, threads)
            if command["do"] == "start":
                engine.first_step()
                answer({"seconds": time.perf_counter() - began})
            elif command["do"] == "train":
                following = engine.train(answer, next_command)
            elif command["do"] in ("predict", "call"):
                answer(inference(engine, case, command["do"], command["batch"]))
            elif command["do"] == "memory":
                answer({"bytes": peak_memory()})
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {error}"[:300]})
        command = following or next_command()


if __name__ == "__main__":
    main()
