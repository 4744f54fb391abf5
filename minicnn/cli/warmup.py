"""`minicnn warmup`: compile the kernels now, so that the first training starts at once."""

from __future__ import annotations

import time

import click

from minicnn.cli.common import compute_options, configure

__all__ = ["command"]

_SMALLER = {"humans_300": (64, 64, 3)}  # the same kernels as at 300×300, in a hundredth of the memory


@click.command(short_help="Compile all kernels now; later starts are quick.")
@compute_options
def command(backend: str | None, threads: int | None) -> None:
    """Run one training step and one prediction of every reference model, which compiles and caches their kernels."""
    import numpy as np

    from minicnn import zoo

    configure(backend, threads)
    rng = np.random.default_rng(0)
    for name, reference in zoo.MODELS.items():
        began = time.perf_counter()
        shape = _SMALLER.get(name, reference.input_shape)
        model = reference.build(input_shape=shape)
        model.compile(optimizer=reference.optimizer(), loss=reference.loss, metrics=["accuracy"])
        x = rng.random((reference.batch_size, *shape), dtype=np.float32)
        y = rng.integers(0, 2, reference.batch_size)
        model.train_on_batch(x, y)
        model.predict_on_batch(x)
        click.echo(f"{name}: {time.perf_counter() - began:.1f} s")
