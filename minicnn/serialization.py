"""Objects to configs and back, the same way for every family of named things.

A config is Keras 3's dict {"module", "class_name", "config", "registered_name"}, so that
files travel between Keras and minicnn; older programs leave out all but "class_name" and
"config". Names are looked up in `registry` and nowhere else: a config can name what is
registered, and can run nothing, unless `safe_mode(False)` lets it.
"""

from __future__ import annotations

import base64
import contextlib
import inspect
import marshal
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from minicnn import registry
from minicnn.config import is_safe_mode

MODULES = {
    "activation": "keras.activations",
    "constraint": "keras.constraints",
    "initializer": "keras.initializers",
    "layer": "keras.layers",
    "loss": "keras.losses",
    "metric": "keras.metrics",
    "model": "keras",
    "optimizer": "keras.optimizers",
    "regularizer": "keras.regularizers",
    "schedule": "keras.optimizers.schedules",
}
"""Family -> the module of Keras that holds its classes."""

_NUMBERS = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float16", "float32", "float64")

_FAMILIES = {module: family for family, module in MODULES.items()}


def serialize(obj: Any) -> Any:
    """`obj` as a config: JSON's types only, functions by name, instances by class and `get_config()`.

    Raises:
        TypeError: for an object without `get_config`.
        ValueError: for a lambda, which no file can hold.
    """
    if obj is None or isinstance(obj, (bool, int, float, str)):
        return obj
    if isinstance(obj, np.generic) or (isinstance(obj, np.ndarray) and obj.ndim == 0):
        return obj.item()
    if isinstance(obj, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": obj.tolist(), "dtype": str(obj.dtype)}}
    if isinstance(obj, (list, tuple)):
        items = [serialize(item) for item in obj]
        return tuple(items) if isinstance(obj, tuple) else items
    if isinstance(obj, dict):
        return {key: serialize(value) for key, value in obj.items()}
    if isinstance(obj, types.FunctionType) or registry.holds("operation", obj):
        if obj.__name__ == "<lambda>":
            raise ValueError(f"A lambda cannot be serialized; give it a name with `def` and register it. Received: {obj}")
        name = registry.registered_name(obj)
        return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
    if not hasattr(obj, "get_config"):
        raise TypeError(
            f"Cannot serialize object {obj} of type {type(obj)}. "
            "To be serializable, a class must implement the `get_config()` method."
        )
    cls = type(obj)
    module, name = keras_name(cls)
    config = {
        "module": module or cls.__module__,
        "class_name": name,
        "config": serialize(obj.get_config()),
        "registered_name": None if module else registry.registered_name(cls),
    }
    if hasattr(obj, "get_build_config") and (build_config := obj.get_build_config()) is not None:
        config["build_config"] = serialize(build_config)
    if hasattr(obj, "get_compile_config"):
        config["compile_config"] = serialize(obj.get_compile_config())
    return config


def keras_name(cls: type) -> tuple[str | None, str]:
    """The module and the name under which Keras knows a class of ours; (None, its name) for a user's own."""
    if "_keras_class_name" in vars(cls):  # not inherited: a user's subclass is another class
        return cls._keras_module, cls._keras_class_name  # type: ignore[attr-defined]
    family = next((family for family in MODULES if registry.holds(family, cls)), None)
    return MODULES[family] if family else None, cls.__name__


def deserialize(config: Any, family: str | None = None, custom_objects: dict[str, Any] | None = None) -> Any:
    """The object that a config describes; lists and dicts of configs element by element.

    Args:
        config: what `serialize` returned, here or in Keras; a name where `family` is given.
        family: of the expected object ("loss", ...); by default what the config's module says.
        custom_objects: name -> class or function, known while the config is read.

    Raises:
        ValueError: for an unknown name, or a lambda.
    """
    if isinstance(config, (list, tuple)):
        items = [deserialize(item, family, custom_objects) for item in config]
        return tuple(items) if isinstance(config, tuple) else items
    by_name = isinstance(config, str) and family is not None
    if by_name:
        config = {"class_name": config}
    if not isinstance(config, dict):
        return config
    if "class_name" not in config:
        return {key: deserialize(value, None, custom_objects) for key, value in config.items()}

    name: str = config["class_name"]
    inner: Any = {} if config.get("config") is None else config["config"]
    if name in ("__numpy__", "__tensor__"):
        if inner["dtype"] not in _NUMBERS:  # NumPy's own names go on to strings and records of gigabytes
            raise ValueError(f"An array in a config has one of the dtypes {', '.join(_NUMBERS)}. Received: {inner['dtype']!r}")
        return np.array(inner["value"], dtype=inner["dtype"])
    if name == "__tuple__":
        return tuple(deserialize(item, family, custom_objects) for item in config["items"])
    if name == "__lambda__":
        return _load_lambda(inner)
    scope = registry.custom_object_scope(custom_objects) if custom_objects else contextlib.nullcontext()
    with scope:
        if name == "function":
            return _find(family, [inner], "operation")
        cls = _find(family or _FAMILIES.get(config.get("module") or ""), [config.get("registered_name"), name])
        if not hasattr(cls, "from_config"):  # a function
            return cls
        # The caller keeps its dict: a `from_config` may take its argument apart.
        obj = cls() if by_name else cls.from_config(dict(inner))
        if config.get("build_config") and hasattr(obj, "build_from_config"):
            obj.build_from_config(config["build_config"])
        if config.get("compile_config"):
            obj.compile_from_config(config["compile_config"])
        return obj


_safe: ContextVar[bool | None] = ContextVar("safe", default=None)


@contextlib.contextmanager
def safe_mode(safe: bool) -> Iterator[None]:
    """While it lasts, a config may not (False: may) bring the code of a Python lambda. Inside another, that one counts."""
    token = _safe.set(safe if _safe.get() is None else _safe.get())
    try:
        yield
    finally:
        _safe.reset(token)


def serialize_function(function: Callable[..., Any]) -> dict[str, Any]:
    """A function as a config: by its name if it has one, a lambda as its code, in Keras's form.

    Such code is that of one version of Python, and sees no name from outside the lambda: `def` and `registry` are better.
    """
    if getattr(function, "__name__", None) != "<lambda>":
        return serialize(function)
    cells = function.__closure__
    code = {
        "code": base64.encodebytes(marshal.dumps(function.__code__)).decode("ascii"),
        "defaults": _serialize_tuple(function.__defaults__),
        "closure": _serialize_tuple(None if cells is None else [cell.cell_contents for cell in cells]),
    }
    return {"class_name": "__lambda__", "config": code}


def _serialize_tuple(values: Any) -> Any:
    """In Keras's form, since JSON knows lists alone."""
    return None if values is None else {"class_name": "__tuple__", "items": [serialize(value) for value in values]}


def _load_lambda(config: dict[str, Any]) -> Callable[..., Any]:
    if _safe.get() is not False and is_safe_mode():
        raise ValueError(
            "Requested the deserialization of a Python lambda. This carries a potential risk of arbitrary code execution and "
            "thus it is disallowed by default. If you trust the source of the artifact, you can override this error by passing "
            "`safe_mode=False` to the loading function."
        )
    code = marshal.loads(base64.b64decode(config["code"]))
    defaults, cells = deserialize(config["defaults"]), deserialize(config["closure"])
    closure = None if cells is None else tuple(types.CellType(value) for value in cells)
    return types.FunctionType(code, {"np": np, "__builtins__": __builtins__}, "<lambda>", defaults, closure)


def _find(family: str | None, names: list[str | None], *more: str) -> Any:
    """The first of `names` that a family knows; of any family, and of `more`, where none is given."""
    error = None
    for candidate in [family] if family else [*MODULES, *more]:
        for name in filter(None, names):
            try:
                return registry.lookup(candidate, name)
            except ValueError as unknown:
                error = unknown
    if family:
        raise error or ValueError(f"A config of a {family} needs a `class_name`. Received: {names}")
    raise ValueError(
        f"Unknown object: {names[-1]!r}. Please ensure it is passed in `custom_objects` or registered with "
        "`register_keras_serializable`."
    )


def get(identifier: Any, family: str) -> Any:
    """What a string, class, instance, function or config dict of `family` stands for.

    Classes, and names of classes, are instantiated with their defaults; None stays None.

    Raises:
        ValueError: if it stands for nothing (Keras's wording, with the nearest names).
    """
    if identifier is None:
        return None
    obj = identifier
    if isinstance(identifier, (str, dict)):
        try:
            obj = deserialize(identifier, family)
        except ValueError as error:
            raise ValueError(f"Could not interpret {family} identifier: {identifier}. {error}") from None
    if inspect.isclass(obj):
        obj = obj()
    if not callable(obj) and not hasattr(obj, "get_config"):  # optimizers are not called
        raise ValueError(f"Could not interpret {family} identifier: {identifier}")
    return obj


def functions_of(family: str) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """`get`, `serialize` and `deserialize` of one family, which Keras has in each of its modules."""

    def get_one(identifier: Any) -> Any:
        return get(identifier, family)

    def deserialize_one(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
        return deserialize(config, family, custom_objects)

    get_one.__doc__ = f"The {family} that a string, class, instance, function or config stands for; None stays None."
    deserialize_one.__doc__ = f"The {family} that a name or a config describes."
    return get_one, serialize, deserialize_one
