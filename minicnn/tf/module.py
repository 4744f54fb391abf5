"""TensorFlow's `tf.Module`: a base for classes that hold variables, without layers and `fit`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from minicnn.layers import Layer
from minicnn.variables import Variable

__all__ = ["Module"]


class Module:
    """Base class whose `variables` are those in its attributes, and in the modules, layers, lists and dicts that stand there.

    Args:
        name: by default the class's, in small letters.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name or type(self).__name__.lower()

    @property
    def name(self) -> str:
        """The module's name."""
        return getattr(self, "_name", type(self).__name__.lower())

    @property
    def submodules(self) -> tuple[Any, ...]:
        """The modules and layers below this one, once each."""
        return tuple(one for one in self._found() if isinstance(one, (Module, Layer)))

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables of it and of all below it, its own first, attribute by attribute in alphabetical order."""
        found: list[Variable] = []
        for one in self._found():
            found += one.variables if isinstance(one, Layer) else [one] if isinstance(one, Variable) else []
        return tuple({id(one): one for one in found}.values())

    @property
    def trainable_variables(self) -> tuple[Variable, ...]:
        """Those of `variables` that are trained."""
        return tuple(one for one in self.variables if one.trainable)

    def _found(self) -> list[Any]:
        """What stands in its attributes, and then what stands in those of the modules among it, and so on."""
        found: dict[int, Any] = {}
        level: list[Any] = [self.__dict__]
        while level:
            new = {id(one): one for part in level for one in _leaves(part) if id(one) not in found and one is not self}
            found |= new
            level = [one.__dict__ for one in new.values() if isinstance(one, Module)]
        return list(found.values())

    @property
    def name_scope(self) -> Any:
        """A context without effect: minicnn's variables keep the names that they are given."""
        return _no_scope()

    @classmethod
    def with_name_scope(cls, method: Any) -> Any:
        """Decorator without effect: see `name_scope`."""
        return method


def _leaves(value: Any) -> Iterator[Any]:
    """The variables, modules and layers in lists and dicts."""
    if isinstance(value, (Variable, Module, Layer)):
        yield value
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from _leaves(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)


@contextlib.contextmanager
def _no_scope() -> Iterator[None]:
    yield
