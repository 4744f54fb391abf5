"""`CallbackList`: every callback's hooks behind one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from minicnn.callbacks.base import Callback
from minicnn.callbacks.csv_logger import CSVLogger
from minicnn.callbacks.history import History
from minicnn.callbacks.progress import ProgbarLogger
from minicnn.callbacks.tensorboard import TensorBoard

_HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
_OLDER_NAMES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


class CallbackList(Callback):
    """Calls the hooks of several callbacks, in order.

    Only hooks that a callback overrides are called: without batch hooks a batch costs two
    look-ups, and its logs need not exist. A callback that `runs_last` is called after the others: `BackupAndRestore`
    keeps what they have done, and puts it in the place of what they begin with.

    Args:
        callbacks: a callback, or (nested) lists of them.
        add_history, add_progbar: append a `History` and a `ProgbarLogger`, unless there is one.
        model: given to every callback.
        params: given to every callback: verbose, epochs, steps.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        super().__init__()
        self.callbacks: list[Any] = list(_flatten(callbacks))
        if add_history and not any(isinstance(callback, History) for callback in self.callbacks):
            self.callbacks.append(History())
        if add_progbar and not any(isinstance(callback, ProgbarLogger) for callback in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        self._hooks: dict[str, list[tuple[Callable[..., Any], bool]]] = {}
        self.steps_per_execution = 1  # the callbacks hear of the first and of the last of so many batches
        self._unsaid: tuple[str, int, Any] | None = None  # the end of the last batch, as long as they have not
        self._find_hooks()
        if model is not None:
            self.set_model(model)
        self.set_params(params)

    def append(self, callback: Any) -> None:
        """Add a callback at the end."""
        self.callbacks.append(callback)
        self._find_hooks()

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        if params:
            for callback in self.callbacks:
                callback.set_params(params)

    def set_model(self, model: Any) -> None:
        self.model = model
        for callback in self.callbacks:
            if isinstance(callback, History):
                model.history = callback
            callback.set_model(model)

    def get_state(self) -> dict[str, Any]:
        """The states of the callbacks that have one, by class: "EarlyStopping", "EarlyStopping_1" and so on."""
        states = {key: callback.get_state() for key, callback in self._by_class()}
        return {key: state for key, state in states.items() if state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Give every callback its own state.

        Raises:
            ValueError: if the states are not those of these callbacks.
        """
        with_state = {key: callback for key, callback in self._by_class() if callback.get_state()}
        if with_state.keys() != state.keys():
            raise ValueError(
                f"Training is resumed with other callbacks than it began with. Expected: {sorted(state)}, "
                f"received: {sorted(with_state)}"
            )
        for key, callback in with_state.items():
            callback.set_state(state[key])

    def _by_class(self) -> Iterable[tuple[str, Any]]:
        used: dict[str, int] = {}
        for callback in self.callbacks:
            name = type(callback).__name__
            count = used[name] = used.get(name, -1) + 1
            if hasattr(callback, "get_state"):
                yield (f"{name}_{count}" if count else name), callback

    @property
    def watches_numerics(self) -> bool:
        """Whether a callback asks for every output and gradient to be checked for NaN."""
        return any(getattr(callback, "watches_numerics", False) for callback in self.callbacks)

    def on_numerics_error(self, error: Any) -> None:
        """Tell the callbacks that asked for it where a NaN first appeared."""
        for callback in self.callbacks:
            if getattr(callback, "watches_numerics", False):
                callback.on_numerics_error(error)

    def __enter__(self) -> CallbackList:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        """After an exception, Ctrl-C among them: leave the screen and the files in order."""
        if kind is not None:
            for callback in self.callbacks:
                if isinstance(callback, (CSVLogger, ProgbarLogger, TensorBoard)):
                    callback.close()

    def _find_hooks(self) -> None:
        for hook in _HOOKS:
            self._hooks[hook] = [
                (method, getattr(callback, "takes_lazy_logs", False))
                for callback in sorted(self.callbacks, key=lambda callback: getattr(callback, "runs_last", False))
                if (method := _overridden(callback, hook)) is not None
            ]

    def _call(self, hook: str, position: int, logs: Any) -> None:
        plain: dict[str, Any] | None = None
        for method, lazy in self._hooks[hook]:
            if lazy:
                method(position, logs=logs)
                continue
            if plain is None:
                plain = _plain(logs)
            method(position, logs=plain)

    def _begin(self, hook: str, batch: int, logs: Any) -> None:
        if batch % self.steps_per_execution == 0:
            self._call(hook, batch, logs)

    def _end(self, hook: str, batch: int, logs: Any) -> None:
        self._unsaid = hook, batch, logs
        if (batch + 1) % self.steps_per_execution == 0:
            self.end_batches()

    def end_batches(self) -> None:
        """After the last batch: tell of its end, if `steps_per_execution` left that open."""
        unsaid, self._unsaid = self._unsaid, None
        if unsaid is not None:
            self._call(*unsaid)

    def _call_all(self, hook: str, *arguments: Any, logs: Any) -> None:
        plain = _plain(logs)
        for method, _ in self._hooks[hook]:
            method(*arguments, plain)

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._call("on_batch_begin", batch, logs)

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self._call("on_batch_end", batch, logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._begin("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """`logs`: a dict, or a function that returns it and is called only if a callback needs it."""
        self._end("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._begin("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._end("on_test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._begin("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self._end("on_predict_batch_end", batch, logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._call_all("on_epoch_begin", epoch, logs=logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._call_all("on_epoch_end", epoch, logs=logs)

    def on_train_begin(self, logs: Any = None) -> None:
        self._find_hooks()  # a hook may have been assigned since
        self._call_all("on_train_begin", logs=logs)

    def on_train_end(self, logs: Any = None) -> None:
        self._call_all("on_train_end", logs=logs)

    def on_test_begin(self, logs: Any = None) -> None:
        self._call_all("on_test_begin", logs=logs)

    def on_test_end(self, logs: Any = None) -> None:
        self._call_all("on_test_end", logs=logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        self._call_all("on_predict_begin", logs=logs)

    def on_predict_end(self, logs: Any = None) -> None:
        self._call_all("on_predict_end", logs=logs)


def _flatten(callbacks: Any) -> Iterable[Any]:
    if callbacks is None:
        return
    if isinstance(callbacks, (list, tuple)):
        for callback in callbacks:
            yield from _flatten(callback)
    else:
        yield callbacks


def _overridden(callback: Any, hook: str) -> Callable[..., Any] | None:
    """The callback's own method for a hook; None where it has only the empty one of `Callback`."""
    method = getattr(callback, hook, None)
    if method is not None and getattr(method, "__func__", None) is not getattr(Callback, hook):
        return method
    return _overridden(callback, _OLDER_NAMES[hook]) if hook in _OLDER_NAMES else None


def _plain(logs: Any) -> dict[str, Any]:
    """The logs as a new dict of Python floats; the entries of dicts inside it are moved to the top."""
    found: dict[str, Any] = {}
    for name, value in sorted(((logs() if callable(logs) else logs) or {}).items()):
        if isinstance(value, dict):
            found.update(_plain(value))
            continue
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            found[name] = value
    return found
