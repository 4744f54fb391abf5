"""Structures of lists, tuples and dicts (`keras.tree`): flat and back, and functions of each thing that stands in them.

Dicts are walked in the order of their sorted keys, ordered dicts in their own order. Whatever is no list, tuple, named tuple,
deque or dict is a leaf, None too.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = [
    "MAP_TO_NONE",
    "assert_same_paths",
    "assert_same_structure",
    "flatten",
    "flatten_with_path",
    "is_nested",
    "lists_to_tuples",
    "map_shape_structure",
    "map_structure",
    "map_structure_up_to",
    "pack_sequence_as",
    "traverse",
]

Path = tuple[Any, ...]


class MAP_TO_NONE:
    """What a function returns to `traverse` in order to put None in a part's place."""


def is_nested(structure: Any) -> bool:
    """Whether it is a list, a tuple, a deque or a dict."""
    return isinstance(structure, (list, tuple, deque, dict))


def _children(structure: Any) -> list[tuple[Any, Any]]:
    """What stands directly in it, each with its key or place."""
    if not isinstance(structure, dict):
        return list(enumerate(structure))
    return list(structure.items()) if isinstance(structure, OrderedDict) else sorted(structure.items(), key=lambda kv: kv[0])


def _rebuilt(structure: Any, children: dict[Any, Any]) -> Any:
    """One like it, with other children by their keys or places."""
    if isinstance(structure, defaultdict):
        return defaultdict(structure.default_factory, {key: children[key] for key in structure})
    if isinstance(structure, dict):
        return type(structure)((key, children[key]) for key in structure)
    values = list(children.values())
    if isinstance(structure, deque):
        return deque(values, structure.maxlen)
    return type(structure)(*values) if hasattr(structure, "_fields") else type(structure)(values)


def _kind(structure: Any) -> Any:
    return dict if isinstance(structure, dict) else type(structure)


def _walk(structure: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if not is_nested(structure):
        yield path, structure
        return
    for key, child in _children(structure):
        yield from _walk(child, (*path, key))


def flatten_with_path(structure: Any) -> list[tuple[Path, Any]]:
    """(path, leaf) of each leaf: the path is of keys and places.

    Examples:
        >>> flatten_with_path([{"foo": 42}])
        [((0, 'foo'), 42)]
    """
    return list(_walk(structure))


def flatten(structure: Any) -> list[Any]:
    """The leaves, in order.

    Examples:
        >>> flatten([[1, 2], {"b": (4,), "a": 3}])
        [1, 2, 3, 4]
    """
    return [leaf for _, leaf in _walk(structure)]


def map_structure(func: Callable[..., Any], *structures: Any, none_is_leaf: bool = True) -> Any:
    """A structure like these of `func` of their leaves.

    Args:
        none_is_leaf: whether `func` is called with None; else None stays.

    Raises:
        TypeError: if `func` is no function.
        ValueError: if there is no structure, or they are not alike.

    Examples:
        >>> map_structure(lambda x, y: x * y, [1, {"a": 2}], [3, {"a": 4}])
        [3, {'a': 8}]
    """
    if not callable(func):
        raise TypeError(f"`func` must be callable. Received: func={func}")
    if not structures:
        raise ValueError("Must provide at least one structure")
    for other in structures[1:]:
        assert_same_structure(structures[0], other)
    return _mapped(func, structures, none_is_leaf)


def _mapped(func: Callable[..., Any], structures: tuple[Any, ...], none_is_leaf: bool) -> Any:
    first = structures[0]
    if not is_nested(first):
        return None if first is None and not none_is_leaf else func(*structures)
    tables = [dict(_children(structure)) for structure in structures]
    return _rebuilt(first, {key: _mapped(func, tuple(table[key] for table in tables), none_is_leaf) for key in tables[0]})


def map_structure_up_to(shallow_structure: Any, func: Callable[..., Any], *structures: Any) -> Any:
    """A structure like the shallow one, of `func` of what stands in the others where it has leaves.

    Examples:
        >>> map_structure_up_to([None, None], len, [[1, 1], [2, 2, 2]])
        [2, 3]
    """
    if not structures:
        raise ValueError("Cannot map over no sequences.")
    if not is_nested(shallow_structure):
        return func(*structures)
    shallow, tables = dict(_children(shallow_structure)), []
    for structure in structures:
        if not is_nested(structure) or dict(_children(structure)).keys() != shallow.keys():
            raise ValueError(f"`{structure}` has not the structure of `{shallow_structure}`")
        tables.append(dict(_children(structure)))
    return _rebuilt(
        shallow_structure,
        {key: map_structure_up_to(child, func, *(table[key] for table in tables)) for key, child in shallow.items()},
    )


def assert_same_structure(a: Any, b: Any, check_types: bool | None = None) -> None:
    """Nothing, if the two are nested in the same way, of the same types; dicts of all kinds are of one type.

    Args:
        check_types: has no effect, as in Keras.

    Raises:
        ValueError: if they are not.
    """
    if not is_nested(a) and not is_nested(b):
        return
    if _kind(a) is not _kind(b) or dict(_children(a)).keys() != dict(_children(b)).keys():
        raise ValueError(f"The two structures don't have the same nested structure. First: {a}. Second: {b}")
    others = dict(_children(b))
    for key, child in _children(a):
        assert_same_structure(child, others[key])


def assert_same_paths(a: Any, b: Any) -> None:
    """Nothing, if the leaves of the two have the same paths, whatever the types of lists, tuples and dicts.

    Raises:
        ValueError: if they have others.
    """
    first, second = ({path for path, _ in _walk(one)} for one in (a, b))
    if first != second:
        raise ValueError(
            f"The two structures don't have the same paths. Only in the first: {sorted(first - second, key=str)}. "
            f"Only in the second: {sorted(second - first, key=str)}"
        )


def pack_sequence_as(structure: Any, flat_sequence: Sequence[Any]) -> Any:
    """A structure like this one, of these leaves: `flatten` undone.

    Raises:
        TypeError: if the leaves are no sequence.
        ValueError: if they are not as many.

    Examples:
        >>> pack_sequence_as({"b": 0, "a": [0, 0]}, [1, 2, 3])
        {'b': 3, 'a': [1, 2]}
    """
    if not is_nested(flat_sequence) and not hasattr(flat_sequence, "__len__"):
        raise TypeError(f"flat_sequence must be a sequence. Received: {type(flat_sequence).__name__}")
    wanted = len(flatten(structure))
    if wanted != len(flat_sequence):
        raise ValueError(
            "Could not pack sequence. "
            f"Structure had {wanted} atoms, but flat_sequence had {len(flat_sequence)} items. "
            f"Structure: {structure}, flat_sequence: {flat_sequence}."
        )
    leaves = iter(flat_sequence)
    return _mapped(lambda _: next(leaves), (structure,), True)


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """A structure in which parts are replaced by what `func` says of them.

    Args:
        func: of each part, the whole first, or each leaf first without `top_down`. None leaves it (and from the top, goes
            on into it); anything else replaces it; `MAP_TO_NONE` by None.

    Raises:
        TypeError: if `func` is no function.
    """
    if not callable(func):
        raise TypeError(f"`func` must be callable. Received: func={func}")

    def replaced(part: Any) -> Any:
        new = func(part)
        return (part, False) if new is None else (None if new is MAP_TO_NONE else new, True)

    def inside(part: Any) -> Any:
        if not is_nested(part):
            return part
        return _rebuilt(part, {key: traverse(func, child, top_down) for key, child in _children(part)})

    if not top_down:
        return replaced(inside(structure))[0]
    new, done = replaced(structure)
    return new if done else inside(structure)


def lists_to_tuples(structure: Any) -> Any:
    """It, with a tuple in the place of each list."""
    return traverse(lambda part: tuple(part) if isinstance(part, list) else None, structure, top_down=False)


def map_shape_structure(func: Callable[[Any], Any], structure: Any) -> Any:
    """`map_structure` of a structure of shapes: a tuple or list of whole numbers and None is one leaf."""
    if not callable(func):
        raise TypeError(f"`func` must be callable. Received: func={func}")
    if isinstance(structure, (list, tuple)) and all(size is None or isinstance(size, int) for size in structure):
        return func(tuple(structure))
    if not is_nested(structure):
        raise ValueError(f"Expected shapes, or lists, tuples and dicts of them. Received: {structure}")
    return _rebuilt(structure, {key: map_shape_structure(func, child) for key, child in _children(structure)})
