"""`minicnn warmup`: compile the kernels now, so that the first training starts at once."""

from __future__ import annotations

import time
from typing import Any

import click

from minicnn.cli.common import compute_options, configure

_SMALLER = {"humans_300": (64, 64, 3)}  # the same kernels as at 300×300, in a hundredth of the memory
_OPTIMIZERS = ("sgd", "rmsprop", "adam", "adamw")  # for `train --optimizer`


@click.command(short_help="Compile all kernels now; later starts are quick.")
@compute_options
def command(backend: str | None, threads: int | None) -> None:
    """Train and run every reference model for a step, and study one image, which compiles and caches their kernels."""
    import numpy as np

    from minicnn import zoo

    configure(backend, threads)
    rng = np.random.default_rng(0)
    for name, reference in zoo.MODELS.items():
        began = time.perf_counter()
        shape = _SMALLER.get(name, reference.input_shape)
        model = reference.build(input_shape=shape)
        x = rng.random((reference.batch_size, *shape), dtype=np.float32)
        y = rng.integers(0, 2, (reference.batch_size, *model.output_shape[1:-1]))
        for optimizer in (reference.optimizer(), *_OPTIMIZERS):
            model.compile(optimizer=optimizer, loss=reference.loss, metrics=["accuracy"])
            model.train_on_batch(x, y)
        model.test_on_batch(x, y)
        model.predict_on_batch(x)
        if len(model.output_shape) == 2 and len(shape) == 3:
            _study(model, x[0])
        click.echo(f"{name}: {time.perf_counter() - began:.1f} s")


def _study(model: Any, image: Any) -> None:
    """What `predict` and `study` compute: one image, layer by layer, without fusion, and gradients at the pixels."""
    from minicnn import study

    study.trace(model, image)
    study.layer_outputs(model, image)
    study.saliency_map(model, image)
    study.grad_cam_map(model, image)
