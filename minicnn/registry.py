"""Name -> object: the one table that strings, configs and files are resolved through.

Nothing outside this table can be named by a file, so a file cannot run code. Each family
("layer", "loss", ...) registers its classes and functions with `register`; users add their
own with `register_keras_serializable` or for a while with `custom_object_scope`.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

_families: dict[str, dict[str, Any]] = {}
_custom: dict[str, Any] = {}
_scope: ContextVar[Mapping[str, Any]] = ContextVar("custom_object_scope", default=MappingProxyType({}))
_counts: dict[str, int] = {}


def register(family: str, *extra_names: str) -> Callable[[Any], Any]:
    """Class or function decorator: enter it under its own name and `extra_names`."""

    def enter(item: Any) -> Any:
        for name in (item.__name__, *extra_names):
            _families.setdefault(family, {})[name] = item
        return item

    return enter


def names(family: str) -> list[str]:
    """All names of a family, sorted."""
    return sorted(_families.get(family, {}))


def aliases_of(family: str, item: Any) -> list[str]:
    """The names under which a family holds `item`."""
    return [name for name, held in _families.get(family, {}).items() if held is item]


def holds(family: str, item: Any) -> bool:
    """Whether a family holds `item`, under its own name."""
    return item is not None and _families.get(family, {}).get(getattr(item, "__name__", "")) is item


def lookup(family: str, name: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """The object that `name` stands for, custom objects first.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    for table in (custom_objects or {}, objects_in_scope(), _custom, _families.get(family, {})):
        if name in table:
            return table[name]
    short = name.rsplit(">", 1)[-1]  # Keras writes registered classes as "package>Name"
    if short != name:
        return lookup(family, short, custom_objects)
    hint = did_you_mean(name, names(family), most=3)
    raise ValueError(f"Unknown {family}: {name!r}.{hint} Known: {', '.join(names(family))}.")


def operation(name: str) -> Any:
    """An op of `minicnn.ops`, for those on whom the ops stand."""
    return lookup("operation", name)


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """ " Did you mean 'digits'?" where at most so many known names are near, else nothing."""
    near = difflib.get_close_matches(name[:100], list(known), n=most)  # whose time grows with the square of the length
    return f" Did you mean {', '.join(map(repr, near))}?" if near else ""


def entry(table: Mapping[str, Any], name: str, what: str) -> Any:
    """What stands in a table under `name`.

    Raises:
        ValueError: for another name, with what the table is of, and the names that it has.
    """
    if name not in table:
        expected = ", ".join(map(repr, table))
        raise ValueError(f"Unknown {what}: {name!r}.{did_you_mean(name, table)} Expected one of {expected}.")
    return table[name]


def get_custom_objects() -> dict[str, Any]:
    """The live table of user-registered objects; those of a `custom_object_scope` are not in it."""
    return _custom


def objects_in_scope() -> Mapping[str, Any]:
    """The objects of the `custom_object_scope` blocks around the call."""
    return _scope.get()


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Any], Any]:
    """Class or function decorator: let `load_model` find a user's own object as `package>name`."""

    def enter(item: Any) -> Any:
        if isinstance(item, type) and not hasattr(item, "get_config"):
            raise ValueError("Cannot register a class that does not have a get_config() method.")
        registered = f"{package}>{name or item.__name__}"
        _custom[registered] = item
        item._registered_name = registered
        return item

    return enter


def registered_name(item: Any) -> str:
    """The name under which a class or function is written into a config."""
    # In its own dict: what is registered is the class, not those that inherit from it.
    return getattr(item, "__dict__", {}).get("_registered_name") or item.__name__


@contextlib.contextmanager
def custom_object_scope(custom_objects: dict[str, Any] | None) -> Iterator[None]:
    """Within the `with` block, and in this thread, these names are known to `get`, `from_config` and `load_model`."""
    before = _scope.get()
    try:
        _scope.set({**before, **(custom_objects or {})})
        yield
    finally:
        _scope.set(before)


CustomObjectScope = custom_object_scope


def snake_case(name: str) -> str:
    """A class name as Keras spells its automatic names.

    Examples:
        >>> snake_case("Conv2D"), snake_case("MaxPooling2D"), snake_case("ReLU")
        ('conv2d', 'max_pooling2d', 're_lu')
    """
    import re

    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def unique_name(prefix: str) -> str:
    """`conv2d`, then `conv2d_1`, `conv2d_2`, ... until `clear_names`."""
    count = _counts.get(prefix, 0)
    _counts[prefix] = count + 1
    return prefix if count == 0 else f"{prefix}_{count}"


def clear_names() -> None:
    """Start automatic names again (part of `utils.clear_session`)."""
    _counts.clear()


def get_registered_object(
    name: str, custom_objects: dict[str, Any] | None = None, module_objects: dict[str, Any] | None = None
) -> Any:
    """The class or function registered as "package>name"; None if there is none."""
    for table in (objects_in_scope(), get_custom_objects(), custom_objects or {}, module_objects or {}):
        if name in table:
            return table[name]
    return None
