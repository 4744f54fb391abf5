"""`GradientTape`: gradients of what was computed on arrays, for training loops of one's own.

    with minicnn.GradientTape() as tape:
        predictions = model(images, training=True)
        loss = loss_fn(labels, predictions)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))

**What a tape records.** While its `with` block runs, each call on arrays that can be differentiated adds one entry: what
went in, what came out, and the function that turns the gradient of the one into that of the other. Such a call is

* of a layer: its `forward` computed, and its `backward` is the function. A model gives one entry for each step of its plan,
  so that there is a gradient in its middle, too;
* of a loss, or of a function of `minicnn.losses` and `minicnn.activations`;
* of an op of `minicnn.ops`, and of an operator between tensors: `x * 2` is `ops.multiply(x, 2)`.

`gradient` walks the entries backwards, from the last to the first: it hands the gradient of what came out to the
function, and adds what that returns to the gradients of what went in. That is all of it. There is no differentiation of
Python code: what the tape did not see (a NumPy function on the values, `.numpy()`, an update of a variable) has no
gradient, and the gradient is None where no recorded way leads from the target to a source.

Variables that are trainable are watched; tensors that were not computed from one have to be: `tape.watch(images)`.

**Why `fit` does not need it.** A tape finds out the order of the computation by watching it, in every step anew. `fit`
knows that order before it begins: a model is a graph of layers (one whose `call` a user wrote is traced into a graph when it
is built), each with its `backward` beneath its `forward`, and the plan walks it forward and then in reverse. It therefore
knows what nobody reads: such gradients it leaves out, and the memory of what was read for the last time it takes again at
once. A tape learns only afterwards what is asked of it, and keeps everything until then.

**A gradient of a gradient** (a gradient penalty, a Hessian) is found by two nested tapes. What the inner one's `gradient` did
is an entry of the outer one, and the gradient of that entry needs of each call that lay on the way, y = f(x), with dy and
dx = f'(x)^T dy, and the gradient u that arrived at dx:

    at dy: f'(x) u            at x: the change of f'(x)^T dy when x moves along u

`twice` of an entry computes the two. Layers that are linear in x and ops of `minicnn.ops` have it (`ops/second_order.py`); for
others it is an error that names them. A third derivative is an error, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from minicnn import backends
from minicnn.structure import flatten_struct, pack_struct
from minicnn.tensor import Tensor, as_tensor, watching
from minicnn.variables import Variable

__all__ = ["GradientTape", "NoGradient", "function", "record", "recording", "watches"]

Backward = Callable[[list[Any]], Sequence[Any]]
Twice = Callable[[list[Any], list[Any]], tuple[Sequence[Any], Sequence[Any]]]


class _Entry(NamedTuple):
    """A call that was recorded. `backward` takes a gradient for each output, and returns one (or None) for each input.

    `twice` takes the gradient of each output, and for each input the gradient at what `backward` returned for it (None: zero);
    it returns the gradients at the former, and at the inputs.
    """

    inputs: list[Any]
    outputs: list[Any]
    backward: Backward
    twice: Twice | None = None


class NoGradient(str):
    """In the place of a gradient: nobody wrote that one. The text says so, if a tape should want it."""


def recording() -> bool:
    """Whether any tape of this thread listens."""
    return bool(watching.tapes)


def record(inputs: list[Any], outputs: list[Any], backward: Backward, twice: Twice | None = None) -> None:
    """Tell the tapes of a call on arrays.

    Args:
        inputs: tensors and variables; others are passed over. outputs: tensors that nobody has seen before.
        backward: of one gradient (zeros where none arrived) an output, returns one an input, or None.
        twice: the gradient of that; see `_Entry`.
    """
    for tape in watching.tapes:
        tape._add(_Entry(inputs, outputs, backward, twice))


def watches(tensor: Any) -> bool:
    """Whether a tape that records would keep the way from this tensor."""
    return any(tape._watches(tensor) for tape in watching.tapes)


class GradientTape:
    """Records what is computed in its `with` block, and hands back gradients. See the file's beginning.

    Args:
        persistent: whether `gradient` may be called more than once.
        watch_accessed_variables: whether trainable variables are watched by themselves.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._persistent = persistent
        self._watches_variables = watch_accessed_variables
        self._used = False
        self.reset()

    def reset(self) -> None:
        """Forget all that was recorded."""
        self._entries: list[_Entry] = []
        self._watched: dict[int, Any] = {}  # by identity; held, so that no other object takes it over

    def __enter__(self) -> GradientTape:
        if self in watching.tapes:
            raise ValueError("Tape is still recording, This can happen if you try to re-enter an already-active tape.")
        watching.tapes = (*watching.tapes, self)
        return self

    def __exit__(self, *exc: object) -> None:
        watching.tapes = tuple(tape for tape in watching.tapes if tape is not self)

    @contextlib.contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Within the `with` block, this tape records nothing."""
        before = watching.tapes
        watching.tapes = tuple(tape for tape in before if tape is not self)
        try:
            yield
        finally:
            watching.tapes = before

    def watch(self, tensor: Any) -> None:
        """Keep the way from this tensor (or these: lists and dicts), so that there can be a gradient with respect to it.

        Raises:
            ValueError: for what is no tensor: NumPy's arrays record nothing.
        """
        for one in flatten_struct(tensor):
            if not isinstance(one, (Tensor, Variable)):
                raise ValueError(
                    f"Passed in object {one!r} of type {type(one).__name__!r}, not a tensor or variable. Make it one with "
                    "`minicnn.ops.convert_to_tensor(x)`, compute with that, and watch it."
                )
            self._watched[id(one)] = one

    def watched_variables(self) -> tuple[Variable, ...]:
        """The variables that the tape has seen, in that order."""
        return tuple(one for one in self._watched.values() if isinstance(one, Variable))

    def _watches(self, one: Any) -> bool:
        return id(one) in self._watched or (self._watches_variables and isinstance(one, Variable) and one.trainable)

    def _add(self, entry: _Entry) -> None:
        watched = [one for one in entry.inputs if self._watches(one)]
        if watched:
            self._entries.append(entry)
            self._watched.update({id(one): one for one in (*watched, *entry.outputs)})

    def gradient(self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: Any = "none") -> Any:
        """The gradient of the target with respect to each source, in the structure of the sources.

        Args:
            target: a tensor, or several, whose gradients are then summed. One that is no scalar counts as its sum.
            sources: tensors and variables, in lists and dicts.
            output_gradients: dy for each target, instead of ones.
            unconnected_gradients: "none" or "zero": what a source gets that the target was not computed from.

        Raises:
            RuntimeError: for the second call, unless the tape is persistent.
            NotImplementedError: if the way leads through another gradient, and there through what has no second derivative.
        """
        self._check_unused()
        wanted = str(getattr(unconnected_gradients, "value", unconnected_gradients)).lower()
        if wanted not in ("none", "zero"):
            raise ValueError(f"Unknown value for unconnected_gradients: {unconnected_gradients!r}")
        self._used = True
        flat = flatten_struct(sources)
        for source in flat:
            if not isinstance(source, (Tensor, Variable)):
                raise ValueError(f"A source of a gradient is a tensor or a variable. Received: {type(source).__name__}")
        walked: list[tuple[_Entry, list[Any]]] = []
        with self.stop_recording():
            found = self._walk(flatten_struct(target), output_gradients, {id(source) for source in flat}, walked)
        gradients = [found.get(id(source)) for source in flat]
        if wanted == "zero":
            gradients = [
                np.zeros(source.shape, source.dtype) if gradient is None else gradient
                for source, gradient in zip(flat, gradients)
            ]
        results = [None if gradient is None else as_tensor(gradient) for gradient in gradients]
        if recording():  # another tape, or this one again: a way through here is a second derivative
            _record_walk(walked, flat, results)
        if not self._persistent:
            self.reset()
        return pack_struct(sources, results) if isinstance(sources, (list, tuple, dict)) else results[0]

    def _check_unused(self) -> None:
        if self._used and not self._persistent:
            raise RuntimeError("A non-persistent GradientTape can only be used to compute one set of gradients (or jacobians)")

    def _walk(self, targets: list[Any], output_gradients: Any, sources: set[int], walked: list[Any]) -> dict[int, Any]:
        """The entries in reverse: gradients by identity, at the sources and at what nobody made.

        Args:
            walked: gets each entry on the way, with the gradients at its outputs.
        """
        given = [None] * len(targets) if output_gradients is None else flatten_struct(output_gradients)
        gradients: dict[int, Any] = {}

        def add(tensor: Any, gradient: Any) -> None:
            if gradient is not None and id(tensor) in self._watched:
                if isinstance(gradient, NoGradient):
                    raise NotImplementedError(gradient)
                gradient, before = backends.to_numpy(gradient), gradients.get(id(tensor))
                gradients[id(tensor)] = gradient if before is None else before + gradient

        for target, dy in zip(targets, given):
            add(target, np.ones(np.shape(target), target.dtype) if dy is None else np.asarray(dy, target.dtype))
        for entry in reversed(self._entries):
            arrived = [gradients.get(id(one)) for one in entry.outputs]
            for one in entry.outputs:
                if id(one) not in sources:
                    gradients.pop(id(one), None)
            if all(dy is None for dy in arrived):
                continue
            dys = [np.zeros(one.shape, one.dtype) if dy is None else dy for one, dy in zip(entry.outputs, arrived)]
            walked.append((entry, dys))
            for one, gradient in zip(entry.inputs, entry.backward(dys)):
                add(one, gradient)
        return gradients

    def jacobian(self, target: Any, sources: Any, unconnected_gradients: Any = "none", **kwargs: Any) -> Any:
        """The gradient of each element of the target with respect to each source, one `gradient` after the other.

        Returns:
            arrays (*target's shape, *source's shape) in the structure of the sources. TensorFlow's other arguments have no
            effect.
        """
        units = np.eye(int(np.prod(target.shape)), dtype=target.dtype).reshape(-1, *target.shape)
        return self._rows(target, sources, units, unconnected_gradients, target.shape)

    def batch_jacobian(self, target: Any, source: Any, unconnected_gradients: Any = "none", **kwargs: Any) -> Any:
        """The `jacobian` of each sample: the target's sample n was computed from the source's sample n alone.

        Returns:
            (N, *target's shape without the batch, *source's shape without the batch).
        """
        count, *rest = target.shape
        units = np.eye(int(np.prod(rest)), dtype=target.dtype).reshape(-1, 1, *rest)
        rows = self._rows(target, source, np.broadcast_to(units, (len(units), count, *rest)), unconnected_gradients, rest)
        return None if rows is None else as_tensor(np.moveaxis(np.asarray(rows), len(rest), 0))

    def _rows(self, target: Any, sources: Any, units: Any, unconnected_gradients: Any, shape: Any) -> Any:
        """The gradients for each of the `units` in the place of dy, (*shape, *source's shape)."""
        self._check_unused()
        persistent, self._persistent = self._persistent, True
        try:
            found = [flatten_struct(self.gradient(target, sources, unit, unconnected_gradients)) for unit in units]
        finally:
            self._persistent = persistent
        if not persistent:
            self.reset()
        stacked = [
            None if parts[0] is None else as_tensor(np.stack(parts).reshape(*shape, *parts[0].shape)) for parts in zip(*found)
        ]
        return pack_struct(sources, stacked) if isinstance(sources, (list, tuple, dict)) else stacked[0]


def function(func: Any = None, **kwargs: Any) -> Any:
    """Decorator `@function` of programs written for TensorFlow: here a function runs as it stands."""
    return func if func is not None else lambda func: func


def _record_walk(walked: list[tuple[_Entry, list[Any]]], sources: list[Any], results: list[Any]) -> None:
    """Tell the tapes of a `gradient`, whose results were computed from all that the entries read."""
    inputs = list({id(one): one for entry, _ in walked for one in entry.inputs}.values())
    found = [(source, one) for source, one in zip(sources, results) if one is not None]

    def backward(us: list[Any]) -> list[Any]:
        along: dict[int, Any] = {}  # the gradient at the gradient of each tensor
        at_inputs: dict[int, Any] = {}

        def add(sums: dict[int, Any], tensor: Any, gradient: Any) -> None:
            if gradient is not None:
                sums[id(tensor)] = sums.get(id(tensor), 0) + backends.to_numpy(gradient)

        for (source, _), u in zip(found, us):
            add(along, source, u)
        for entry, dys in reversed(walked):  # the way back of a way back: forward
            arrived = [along.get(id(one)) for one in entry.inputs]
            if all(u is None for u in arrived):
                continue
            if entry.twice is None:
                raise NotImplementedError(
                    "This gradient is the derivative of a gradient, and the way leads through something without a second "
                    "derivative: a loss, a regularizer, or a gradient of a gradient. Functions of `minicnn.ops` have one."
                )
            of_dys, of_inputs = entry.twice(dys, arrived)
            for one, gradient in zip(entry.outputs, of_dys):
                add(along, one, gradient)
            for one, gradient in zip(entry.inputs, of_inputs):
                add(at_inputs, one, gradient)
        return [at_inputs.get(id(one)) for one in inputs]

    record(inputs, [one for _, one in found], backward)
