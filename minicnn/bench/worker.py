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
    y = rng.integers(0, max(2, case["classes"]), images)
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
        self.layout = torch.contiguous_format if engine == "torch" else torch.channels_last
        self.network = torch_network(case["model"]["config"], case["input_shape"]).to(memory_format=self.layout)
        self.run = torch.compile(self.network) if engine == "torch compiled" else self.network
        self.optimizer = torch_optimizer(case["optimizer"], self.network.parameters())
        losses = {"binary_crossentropy": "BCEWithLogitsLoss", "mean_squared_error": "MSELoss"}
        self.loss = getattr(torch.nn, losses.get(case["loss"], "CrossEntropyLoss"))()

    def _images(self, x: Any) -> Any:
        return self.torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=self.layout)

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
    """A chain of layers from Keras's config as `torch.nn.Sequential` (channels first), ending in logits.

    Raises:
        ValueError: if the model is no chain, or a layer has no counterpart here.
    """
    import torch
    from torch import nn

    modules: list[Any] = []
    sources = [layer.get("inbound_nodes") for layer in config["layers"]]
    if any(nodes and (len(nodes) > 1 or json.dumps(nodes).count('"keras_history"') != 1) for nodes in sources):
        raise ValueError("PyTorch's counterpart is written for a straight chain of layers only")
    pixels = torch.zeros(1, input_shape[2], *input_shape[:2])  # what the last layer so far makes of one image

    def add(module: Any) -> None:
        nonlocal pixels
        modules.append(module)
        module.eval()
        with torch.no_grad():
            pixels = module(pixels)
        module.train()

    for layer in config["layers"]:
        name, options = layer["class_name"], layer["config"]
        same = options.get("padding") == "same"
        if name == "Conv2D":
            stride = tuple(options["strides"])
            window = tuple(options["kernel_size"])
            if same and stride != (1, 1):
                raise ValueError("a strided convolution with padding='same' has no counterpart in PyTorch")
            dilation, bias = tuple(options["dilation_rate"]), options["use_bias"]
            add(nn.Conv2d(pixels.shape[1], options["filters"], window, stride, "same" if same else 0, dilation, bias=bias))
        elif name == "Dense":
            add(nn.Linear(pixels.shape[-1], options["units"], bias=options["use_bias"]))
        elif name in ("MaxPooling2D", "AveragePooling2D") and not same:
            add({"M": nn.MaxPool2d, "A": nn.AvgPool2d}[name[0]](tuple(options["pool_size"]), tuple(options["strides"])))
        elif name == "GlobalMaxPooling2D":
            add(nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()))
        elif name == "GlobalAveragePooling2D":
            add(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        elif name == "BatchNormalization":
            add(nn.BatchNorm2d(pixels.shape[1], eps=options["epsilon"], momentum=1 - options["momentum"]))
        elif name == "Dropout":
            add(nn.Dropout(options["rate"]))
        elif name == "Flatten":
            add(nn.Flatten())
        elif name == "ReLU":
            add(nn.ReLU())
        elif name not in ("InputLayer", "Activation"):
            raise ValueError(f"{name} has no counterpart in PyTorch here")
        activation = options.get("activation", "linear")
        if activation == "relu":
            add(nn.ReLU())
        elif activation not in ("linear", "softmax", "sigmoid") or (
            activation != "linear" and layer is not config["layers"][-1]
        ):
            raise ValueError(f"activation {activation!r} of {name} has no counterpart in PyTorch here")
    return nn.Sequential(*modules)


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
