"""What the examples share: their arguments, their figures, and the small data of `--quick`.

    run = start("first_cnn", __doc__, epochs=15, data="cifar10")
    ...
    run.save("curves")  # the figure just drawn, as runs/first_cnn/curves.png

With `--quick` the data set of the program is replaced by a folder of the same format with a
few images in it, the real ones where they are on this machine and generated ones where they
are not, so the program's own lines are the same either way. Nothing is downloaded for that.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from minicnn import datasets
from minicnn.study import style

QUICK_EPOCHS = 2
_IN_A_NOTEBOOK = hasattr(sys, "ps1")  # or in an editor, cell by cell: the command line is not ours, and figures are shown

arguments = [] if _IN_A_NOTEBOOK else None
"""Of the example, in place of the command line's. A notebook's first cell says `_common.arguments = ["--quick"]`."""


@dataclass
class Run:
    """One run of an example.

    Attributes:
        quick: few images and epochs, to see whether it runs.
        epochs: how many to train.
        seed: for `set_random_seed`.
        out: the folder for figures.
        style: "light" or "dark".
        program: the example's file; a notebook's, too.
    """

    quick: bool
    epochs: int
    seed: int
    out: Path
    style: str
    program: Path

    def save(self, name, figure=None):
        """Write a figure (the current one by default) into the folder; in a notebook, show it under the cell."""
        figure = figure or plt.gcf()
        if _IN_A_NOTEBOOK:
            from IPython.display import display

            display(figure)
        else:
            self.out.mkdir(parents=True, exist_ok=True)
            path = self.out / f"{name}.png"
            figure.savefig(path, bbox_inches="tight", dpi=110)
            print("figure:", path)
        plt.close(figure)

    def save_page(self, name, page):
        """Write the page of `study.explain` into the folder; in a notebook, show it under the cell."""
        if _IN_A_NOTEBOOK:
            from IPython.display import display

            display(page)
        else:
            print("page:", page.save(self.out / f"{name}.html"))


def start(name, doc, *, epochs=1, data=None):
    """Read the arguments; with `--quick`, make the small data too.

    Args:
        name: of the example and its folder.
        doc: its docstring, for `--help`.
        epochs: the default of `--epochs`.
        data: the data set that it loads, one of minicnn's.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"a few images, {QUICK_EPOCHS} epochs, nothing downloaded")
    parser.add_argument("--epochs", type=int, help=f"default {epochs}")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--out", type=Path, default=Path("runs") / name, help=f"folder for figures, default runs/{name}")
    parser.add_argument("--style", choices=("light", "dark"), default="light", help="background of the figures")
    args = parser.parse_args(arguments)
    args.epochs = args.epochs or (min(epochs, QUICK_EPOCHS) if args.quick else epochs)
    plt.rcParams.update(style.settings(args.style))
    if args.quick and data:
        _use_quick_data(data)
    return Run(**vars(args), program=Path(__file__).with_name(f"{name}.py"))


# --- the data of --quick -------------------------------------------------------------


def _use_quick_data(name):
    """Have the loaders find a few images of the data set `name` before anything else."""
    folder = tempfile.TemporaryDirectory(prefix="minicnn-quick-")
    _FOLDERS.append(folder)  # removed when Python ends
    train, test, classes = _few_images(name)
    _WRITERS[name](Path(folder.name), train, test, classes)
    os.environ["MINICNN_DATA_DIR"] = os.environ["TFDS_DATA_DIR"] = folder.name


def _few_images(name):
    """`(x_train, y_train), (x_test, y_test), class names`; images uint8 (N, H, W, channels), labels (N,)."""
    module = getattr(datasets, name)
    shape, count = _SHAPES[name]
    if any(entry.name == name and entry.path for entry in datasets.cached()):
        parts = [(x[:n].reshape(n, *shape), y[:n].reshape(n)) for (x, y), n in zip(module.load_data(), (count, count // 2))]
    else:
        parts = [_generated(shape, len(module.CLASS_NAMES), n, seed) for seed, n in enumerate((count, count // 2))]
    return *parts, module.CLASS_NAMES


def _generated(shape, classes, count, seed):
    """Each class a coarse pattern of its own, each image that pattern under noise: what a small network learns in seconds."""
    height, width, channels = shape
    coarse = np.random.default_rng(99).uniform(60, 195, (classes, 4, 4, channels))
    patterns = coarse.repeat(-(-height // 4), axis=1).repeat(-(-width // 4), axis=2)[:, :height, :width]
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % classes).astype(np.uint8)
    images = patterns[labels] + rng.normal(0, 50, (count, *shape))
    return images.clip(0, 255).astype(np.uint8), labels


def _cifar_records(x, y, label_bytes=1):
    """Rows of label bytes (the class in the last of them), then the red, green and blue planes."""
    labels = np.zeros((len(y), label_bytes), np.uint8)
    labels[:, -1] = y
    return np.concatenate([labels, x.transpose(0, 3, 1, 2).reshape(len(x), -1)], axis=1)


def _write_cifar10(folder, train, test, classes):
    folder = folder / "cifar-10-batches-bin"
    folder.mkdir()
    for number, records in enumerate(np.array_split(_cifar_records(*train), 5), start=1):
        records.tofile(folder / f"data_batch_{number}.bin")
    _cifar_records(*test).tofile(folder / "test_batch.bin")


def _write_cifar100(folder, train, test, classes):
    folder = folder / "cifar-100-binary"
    folder.mkdir()
    _cifar_records(*train, label_bytes=2).tofile(folder / "train.bin")
    _cifar_records(*test, label_bytes=2).tofile(folder / "test.bin")


def _write_fashion_mnist(folder, train, test, classes):
    folder = folder / "fashion-mnist"
    folder.mkdir()
    for part, (x, y) in (("train", train), ("t10k", test)):
        for kind, array in (("images-idx3", x[..., 0]), ("labels-idx1", y)):
            header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))


def _write_horses_or_humans(folder, train, test, classes):
    for part, (x, y) in (("horse-or-human", train), ("validation-horse-or-human", test)):
        for number, (image, label) in enumerate(zip(x, y)):
            path = folder / part / classes[label] / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


_SHAPES = {  # of an image, and how many to train on
    "cifar10": ((32, 32, 3), 200),
    "cifar100": ((32, 32, 3), 800),
    "fashion_mnist": ((28, 28, 1), 400),
    "horses_or_humans": ((300, 300, 3), 8),
}
_WRITERS = {
    "cifar10": _write_cifar10,
    "cifar100": _write_cifar100,
    "fashion_mnist": _write_fashion_mnist,
    "horses_or_humans": _write_horses_or_humans,
}
_FOLDERS: list[tempfile.TemporaryDirectory] = []
