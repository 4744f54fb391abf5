"""TensorFlow's `tf.train.Checkpoint`: models, optimizers and variables of one's own training loop in a file.

    checkpoint = tf.train.Checkpoint(generator=generator, optimizer=optimizer)
    checkpoint.save("training/ckpt")                                   # training/ckpt-1.npz
    checkpoint.restore(tf.train.latest_checkpoint("training"))

The file is an `.npz` of minicnn's own, an array for each part and type of number; TensorFlow's files are not read.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn.atomic import replacing
from minicnn.datasets._npz import npz_names, read_npz
from minicnn.optimizers import Optimizer
from minicnn.untrusted import reading
from minicnn.variables import Variable

__all__ = ["TRAIN"]

_ENDING = ".npz"


def _shapes(variables: list[Variable]) -> np.ndarray:
    """The shapes of variables in one row of numbers, each behind its length."""
    return np.array([size for variable in variables for size in (len(variable.shape), *variable.shape)], "int64")


class _Status:
    """What `restore` returns; its methods have nothing left to check, since restoring was complete or an error."""

    def assert_consumed(self) -> _Status:
        """Nothing."""
        return self

    expect_partial = assert_existing_objects_matched = assert_consumed


class Checkpoint:
    """Values of models, layers, optimizers and variables, to be written and read together.

    Args:
        **parts: each under a name.
    """

    def __init__(self, **parts: Any) -> None:
        for name, part in parts.items():
            if not isinstance(part, Variable) and not hasattr(part, "variables"):
                raise ValueError(f"`Checkpoint` takes models, optimizers and variables. Received: {name}={part!r}")
        self.__dict__.update(parts)
        self._parts = parts
        self.save_counter = 0

    def _variables(self) -> dict[str, list[Variable]]:
        """All variables, by part and type of number: those that stand in one array of the file."""
        found: dict[str, list[Variable]] = {}
        for name, part in self._parts.items():
            for variable in [part] if isinstance(part, Variable) else part.variables:
                found.setdefault(f"{name}.{variable.dtype}", []).append(variable)
        return found

    def write(self, file_prefix: Any) -> str:
        """Write a file; returns its path without the ending."""
        prefix = os.fspath(file_prefix)
        os.makedirs(os.path.dirname(os.path.abspath(prefix)), exist_ok=True)
        arrays: dict[str, np.ndarray] = {}
        for name, variables in self._variables().items():
            arrays[name] = np.concatenate([variable.numpy().ravel() for variable in variables])
            arrays[f"{name}.shapes"] = _shapes(variables)
        with replacing(prefix + _ENDING) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return prefix

    def save(self, file_prefix: Any) -> str:
        """`write`, with a number behind the name that grows with each call."""
        self.save_counter += 1
        return self.write(f"{os.fspath(file_prefix)}-{self.save_counter}")

    def restore(self, save_path: Any) -> _Status:
        """Read what `save` wrote into the parts; nothing where `save_path` is None.

        An optimizer that has not made its variables yet, since it has seen no gradient, reads its own when it makes them.

        Raises:
            ValueError: if the file is damaged, or holds other parts, or other sizes: a model, say, that has no weights yet.
                Then nothing was read.
        """
        if save_path is None:
            return _Status()
        path, wanted = Path(f"{os.fspath(save_path)}{_ENDING}"), self._variables()
        with reading(f"{path} cannot be read as a checkpoint"):
            names = [*wanted, *(f"{name}.shapes" for name in wanted)]
            arrays = dict(zip(names, read_npz(path, names)))
            unbuilt = {name for name, part in self._parts.items() if isinstance(part, Optimizer) and not part.built}
            later = set()
            for name, variables in wanted.items():
                count = sum(variable.size for variable in variables)
                if arrays[name].shape == (count,) and np.array_equal(arrays[f"{name}.shapes"], _shapes(variables)):
                    continue
                if name.rpartition(".")[0] not in unbuilt:
                    raise ValueError(f"{name} has {count} numbers here, and {arrays[name].size} in the file, or other shapes")
                later.add(name.rpartition(".")[0])
        for name in later:
            _restore_when_built(name, self._parts[name], save_path)
        for name, variables in wanted.items():
            if name.rpartition(".")[0] in later:
                continue
            cuts = np.cumsum([variable.size for variable in variables])[:-1]
            for variable, value in zip(variables, np.split(arrays[name], cuts)):
                variable.assign(value.reshape(variable.shape))
        number = re.search(r"-(\d+)$", os.fspath(save_path))
        self.save_counter = int(number[1]) if number else self.save_counter
        return _Status()

    read = restore


def _restore_when_built(name: str, optimizer: Optimizer, save_path: Any) -> None:
    """The part `name` of a checkpoint, read once the optimizer has variables."""
    build = optimizer.build

    def build_and_restore(variables: Any) -> None:
        del optimizer.build  # this function, which stands before the class's own
        build(variables)
        Checkpoint(**{name: optimizer}).restore(save_path)

    optimizer.build = build_and_restore  # type: ignore[method-assign]


def latest_checkpoint(checkpoint_dir: Any) -> str | None:
    """The checkpoint of the highest number in a folder, without the file's ending; None where there is none."""
    numbers = {path: re.search(r"-(\d+)$", path.stem) for path in Path(checkpoint_dir).glob(f"*{_ENDING}")}
    found = {path: int(number[1]) for path, number in numbers.items() if number}
    return os.fspath(max(found, key=lambda path: found[path]).with_suffix("")) if found else None


def list_variables(ckpt_dir_or_file: Any) -> list[tuple[str, list[int]]]:
    """The variables of a checkpoint, or of the newest in a folder: (name, shape) of each, in the order of its part's.

    Raises:
        ValueError: if there is no checkpoint, or the file is damaged.
    """
    found = latest_checkpoint(ckpt_dir_or_file) if os.path.isdir(ckpt_dir_or_file) else os.fspath(ckpt_dir_or_file)
    if found is None:
        raise ValueError(f"Couldn't find 'checkpoint' file or checkpoints in given directory {ckpt_dir_or_file}")
    path, ending = Path(f"{found}{_ENDING}"), ".shapes"
    listed: list[tuple[str, list[int]]] = []
    with reading(f"{path} cannot be read as a checkpoint"):
        names = [name for name in npz_names(path) if name.endswith(ending)]
        for name, numbers in zip(names, read_npz(path, names)):
            rest = numbers.tolist()
            while rest:
                rank, *rest = rest
                listed.append((f"{name.removesuffix(ending)}/{len(listed)}", rest[:rank]))
                rest = rest[rank:]
    return listed


class CheckpointManager:
    """Keeps the last checkpoints in a folder.

    Args:
        checkpoint: what is saved. directory: where. max_to_keep: how many; None for all.
        checkpoint_name: what the files' names begin with.
    """

    def __init__(self, checkpoint: Checkpoint, directory: Any, max_to_keep: int | None, checkpoint_name: str = "ckpt") -> None:
        self._checkpoint, self._prefix = checkpoint, os.path.join(os.fspath(directory), checkpoint_name)
        self._directory, self._max_to_keep = directory, max_to_keep
        self.checkpoints: list[str] = []

    @property
    def latest_checkpoint(self) -> str | None:
        """The newest one in the folder."""
        return latest_checkpoint(self._directory)

    def save(self) -> str:
        """Write one, and remove what is too many of this manager's."""
        self.checkpoints.append(self._checkpoint.save(self._prefix))
        while self._max_to_keep is not None and len(self.checkpoints) > self._max_to_keep:
            os.unlink(self.checkpoints.pop(0) + _ENDING)
        return self.checkpoints[-1]


TRAIN = SimpleNamespace(
    Checkpoint=Checkpoint,
    CheckpointManager=CheckpointManager,
    latest_checkpoint=latest_checkpoint,
    list_variables=list_variables,
)
