"""Workers of all engines, taking turns; figures are medians over rounds."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from minicnn import optimizers
from minicnn.bench.worker import ENGINES, environment
from minicnn.layers.affine import Affine

WORKER = Path(__file__).with_name("worker.py")
TURN = 24e9  # FLOPs that one turn of training takes at most, or else four steps: a quarter of a second at 100 GFLOP/s
NEEDS = {"keras": ("keras",), "torch": ("torch",), "tensorflow": ("tensorflow",), "jax": ("jax",), "minicnn": ("numba",)}

Say = Callable[[str], None]


def installed_engines() -> list[str]:
    """The names of the engines whose packages are installed."""
    found = {name for name in NEEDS if all(importlib.util.find_spec(package) for package in NEEDS[name])}
    return [engine for engine in ENGINES if {word for word in engine.split() if word in NEEDS} <= found]


def step_flops(model: Any) -> int:
    """FLOPs of the products in a training step for one image: forward, kernel gradient, and (but for the first layer) dx.

    A convolution or dense layer that reads the model's input needs no gradient there.
    """
    total, inputs = 0, {id(tensor) for tensor in model.inputs}
    for layer in model.layers:
        if isinstance(layer, Affine):
            once = layer.count_flops(layer.input.shape, layer.output.shape)
            total += once * (2 if id(layer.input) in inputs else 3)
    return total


def case_of(model: Any, optimizer: Any, loss: str, batch: int, steps: int | None = None) -> dict[str, Any]:
    """What a worker must know of a model: its config in Keras's form, how it is trained, and on what.

    Args:
        model: built, with one input and one output.
        steps: of a turn; default as many as take about a quarter of a second, at least four.

    Raises:
        ValueError: if it has several inputs or outputs, or takes images of any size.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        received = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        raise ValueError(f"A benchmark needs a model with one input and one output. Model '{model.name}' has {received}.")
    (images,), (output,) = model.inputs, model.outputs
    if None in images.shape[1:]:
        raise ValueError(f"A benchmark needs images of one size. Model '{model.name}' takes {tuple(images.shape[1:])}.")
    flops = max(1, step_flops(model))
    return {
        "model": json.loads(model.to_json()),
        "optimizer": optimizers.serialize(optimizer),
        "loss": loss,
        "batch": batch,
        "steps": steps or max(4, min(8192 // batch, int(TURN / (flops * batch)))),
        "input_shape": list(images.shape[1:]),
        "output_shape": list(output.shape[1:]),
        "classes": output.shape[-1],
        "flops": flops,
    }


class Worker:
    """A running worker process, and what it answers."""

    def __init__(self, engine: str, case: Path, threads: int, more: dict[str, str] | None = None) -> None:
        self.engine = engine
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), engine, str(case), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if more else subprocess.DEVNULL,
            text=True,
            env=os.environ | environment(engine, threads) | (more or {}),
        )

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        """Send a command and wait for the answer.

        Raises:
            RuntimeError: if the worker failed or died.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": do, **options}) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": f"ended with code {self.process.wait()}"}
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def close(self) -> str:
        """End the process; what it wrote to standard error, if that was kept."""
        try:
            return self.process.communicate('{"do": "quit"}\n', timeout=20)[1] or ""
        except (subprocess.TimeoutExpired, BrokenPipeError, ValueError):
            self.process.kill()
            self.process.communicate()
            return ""


# Computes on the first cores until its standard input is closed, which happens when this process ends, in whatever way.
_BUSY = """
import os, sys, threading
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(sys.argv[1])])
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    pass
"""


@contextlib.contextmanager
def busy(processes: int, threads: int) -> Iterator[None]:
    """Within the block, so many processes compute on the same cores as engines of so many threads."""
    command = [sys.executable, "-c", _BUSY, str(threads)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.communicate()


# For half a second, measure which share of the time the process really ran.
_SHARE = """
import time
began, used = time.perf_counter(), time.process_time()
while time.perf_counter() - began < 0.5:
    pass
print((time.process_time() - used) / (time.perf_counter() - began))
"""


def quiet_share(threads: int) -> float:
    """The share of its time that a process gets of its core, with one on each of so many cores: 1 on a quiet machine."""
    command = [sys.executable, "-c", _SHARE]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(threads)]
    return statistics.mean(float(process.communicate()[0]) for process in started)


@contextlib.contextmanager
def _case_file(case: dict[str, Any]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "case.json")
        path.write_text(json.dumps(case), encoding="utf-8")
        yield path


def speed(
    case: dict[str, Any],
    engines: Sequence[str],
    threads: int,
    rounds: int = 7,
    say: Say = lambda line: None,
    beside: Sequence[int] = (1,),
) -> dict[str, Any]:
    """Time training and inference of one case on every engine, taking turns.

    Args:
        beside: time training, too, beside so many processes that compute on the same cores without end.

    Returns:
        train: {engine: microseconds an image in a training step}; "train beside 1" the same beside one busy process;
        "predict 256", "predict 1", "call 1" likewise for inference (`call` is `model(x)`); errors: {engine: why it was left
        out}; rounds: every single figure.
    """
    results: dict[str, Any] = {"errors": {}, "rounds": {}}
    with _case_file(case) as path, contextlib.ExitStack() as stack:
        workers = []
        for engine in engines:
            worker = Worker(engine, path, threads)
            stack.callback(worker.close)
            say(f"{ENGINES[engine]} warms up")
            try:
                worker.ask("train")
                workers.append(worker)
            except RuntimeError as error:
                results["errors"][engine] = str(error)
        kinds: list[tuple[str, str, dict[str, int], int]] = [("train", "train", {}, 0)]
        kinds += [(f"train beside {processes}", "train", {}, processes) for processes in beside]
        kinds += [(f"{do} {batch}", do, {"batch": batch}, 0) for batch in (256, 1) for do in ("predict", "call")]
        for what, do, options, processes in kinds:
            figures: dict[str, list[float]] = {worker.engine: [] for worker in workers}
            for turn in range(rounds):
                say(f"{what}, round {turn + 1} of {rounds}")
                with busy(processes, threads):
                    for worker in list(workers):
                        try:
                            answer = worker.ask(do, **options)
                        except RuntimeError as error:
                            results["errors"][worker.engine] = f"{what}: {error}"
                            workers.remove(worker)
                            continue
                        images = answer["images"] if "images" in answer else answer["steps"] * case["batch"]
                        figures[worker.engine].append(1e6 * answer["seconds"] / images)
            results["rounds"][what] = figures
            results[what] = {engine: statistics.median(values) for engine, values in figures.items() if values}
    return results


def memory(case: dict[str, Any], engines: Sequence[str], threads: int, say: Say = lambda line: None) -> dict[str, Any]:
    """The most memory (bytes) that each engine's process held in four epochs, one engine at a time."""
    peaks: dict[str, Any] = {}
    with _case_file(case) as path:
        for engine in engines:
            say(f"memory of {ENGINES[engine]}")
            worker = Worker(engine, path, threads)
            try:
                for _ in range(2):
                    worker.ask("train")
                peaks[engine] = worker.ask("memory")["bytes"]
            except RuntimeError as error:
                peaks[engine] = str(error)
            finally:
                worker.close()
    return peaks


def start_up(
    case: dict[str, Any], engines: Sequence[str], threads: int, rounds: int = 3, say: Say = lambda line: None
) -> dict[str, Any]:
    """Seconds from the import to the end of the first training step, taking turns; minicnn also with an empty cache.

    Returns:
        {engine: seconds}, and under "minicnn, nothing compiled" the cold start, with the line that was shown under "line".
    """
    seconds: dict[str, list[float]] = {engine: [] for engine in engines}
    found: dict[str, Any] = {}
    with _case_file(case) as path:
        for turn in range(rounds + 1):  # the first fills caches
            for engine in engines:
                say(f"start of {ENGINES[engine]}, round {turn} of {rounds}")
                worker = Worker(engine, path, threads)
                try:
                    seconds[engine].append(worker.ask("start")["seconds"])
                except RuntimeError as error:
                    found[engine] = str(error)
                finally:
                    worker.close()
        if "minicnn" in engines:
            say("cold start of minicnn")
            with tempfile.TemporaryDirectory() as empty:
                worker = Worker("minicnn", path, threads, {"NUMBA_CACHE_DIR": empty})
                cold = worker.ask("start")["seconds"]
                found |= {"minicnn, nothing compiled": cold, "line": worker.close().strip()}
    return {engine: statistics.median(values[1:]) for engine, values in seconds.items() if len(values) > 1} | found


def describe_machine(threads: int) -> dict[str, Any]:
    """Processor, vector width, threads, and the versions of what takes part."""
    from minicnn import __version__
    from minicnn.backends import numba_cpu

    packages = ("numpy", "numba", "llvmlite", "tensorflow", "keras", "jax", "torch")
    versions = {"minicnn": __version__}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "threads": threads,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        **{key: value for key, value in numba_cpu.describe().items() if key != "threads"},
        "versions": versions,
    }
