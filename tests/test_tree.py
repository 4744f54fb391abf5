"""`minicnn.tree` against `keras.tree`, on structures of every kind."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from typing import Any

import keras
import pytest

from minicnn import tree

Point = namedtuple("Point", ["x", "y"])
Other = namedtuple("Other", ["x", "y"])
STRUCTURES = [
    7,
    None,
    [],
    [1, (2, [3, None]), {"b": 4, "a": [5]}],
    OrderedDict([("z", 1), ("a", {"c": 2, "b": 3})]),
    Point(1, [2, Point(3, 4)]),
    deque([1, (2,)]),
    defaultdict(list, {"k": [1, 2]}),
    {3: "three", 1: ["one", ("two",)]},
]


def outcome(function: Callable[[], Any]) -> tuple[Any, Any]:
    """What a call returns, by its repr (which shows the types), or which error it raises."""
    try:
        return repr(function()), None
    except (ValueError, TypeError) as error:
        return None, type(error)


def doubled(x: Any) -> Any:
    return x if x is None else x * 2


CALLS: list[Callable[[Any, Any], Any]] = [
    lambda t, s: t.flatten(s),
    lambda t, s: t.flatten_with_path(s),
    lambda t, s: t.is_nested(s),
    lambda t, s: t.map_structure(doubled, s),
    lambda t, s: t.map_structure(lambda x: x + 1 if isinstance(x, int) else x, s, none_is_leaf=False),
    lambda t, s: t.map_structure(lambda x, y: (x, y), s, s),
    lambda t, s: t.pack_sequence_as(s, [f"leaf {i}" for i in range(len(keras.tree.flatten(s)))]),
    lambda t, s: t.pack_sequence_as(s, list(range(3))),
    lambda t, s: t.lists_to_tuples(s),
    lambda t, s: t.traverse(lambda x: t.MAP_TO_NONE if x == 2 else "short" if isinstance(x, tuple) else None, s),
    lambda t, s: t.traverse(lambda x: len(x) if isinstance(x, list) else None, s, top_down=False),
]


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
@pytest.mark.parametrize("call", CALLS)
def test_functions_are_keras_s(call: Callable[[Any, Any], Any], structure: Any) -> None:
    assert outcome(lambda: call(tree, structure)) == outcome(lambda: call(keras.tree, structure))


FURTHER = [Other(1, [2, Point(3, 4)]), [1, [2, [3, None]], {"b": 4, "a": [5]}], {"k": [3, 4]}]


@pytest.mark.parametrize("name", ["assert_same_structure", "assert_same_paths"])
@pytest.mark.parametrize("a", [*STRUCTURES, *FURTHER], ids=repr)
@pytest.mark.parametrize("b", STRUCTURES, ids=repr)
def test_comparisons_are_keras_s(name: str, a: Any, b: Any) -> None:
    assert outcome(lambda: getattr(tree, name)(a, b)) == outcome(lambda: getattr(keras.tree, name)(a, b))


@pytest.mark.parametrize(
    ("shallow", "structures"),
    [
        ([0, 0], ([[1, 1], [2, 2]],)),
        ({"b": 0, "a": [0]}, ({"b": [1, 2], "a": [(3,)]}, {"b": 4, "a": [5]})),
        ([0, 0], ([1, 2, 3],)),
        ([0, 0], (3,)),
        (0, ([1, 2],)),
    ],
)
def test_a_shallow_structure(shallow: Any, structures: tuple[Any, ...]) -> None:
    ours, theirs = (outcome(lambda t=t: t.map_structure_up_to(shallow, lambda *x: x, *structures)) for t in (tree, keras.tree))
    assert ours == theirs


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda t: t.map_structure(3, [1]), TypeError, "callable"),
        (lambda t: t.map_structure(len), ValueError, "at least one structure"),
        (lambda t: t.traverse(3, [1]), TypeError, "callable"),
        (lambda t: t.pack_sequence_as([1], 3), TypeError, "must be a sequence"),
        (lambda t: t.pack_sequence_as([1], [1, 2]), ValueError, "Structure had 1 atoms, but flat_sequence had 2 items"),
    ],
)
def test_what_is_refused(call: Callable[[Any], Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call(tree)
    with pytest.raises(error):
        call(keras.tree)


def test_shapes_are_leaves() -> None:
    shapes = {"a": (None, 3), "b": [(2,), [4, 5]]}
    ours, theirs = (t.map_shape_structure(lambda shape: (*shape, 1), shapes) for t in (tree, keras.tree))
    assert ours == theirs == {"a": (None, 3, 1), "b": [(2, 1), (4, 5, 1)]}
