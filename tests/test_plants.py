"""The catalogue of planted bugs fits the sources and the tests of now; `python -m tests.plants` tries the plants themselves."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter

import pytest

from tests.plants.catalogue import PLANTS
from tests.plants.plant import ROOT, Plant


@functools.cache
def meaning(text: str) -> str:
    """A source file without its layout and comments; most hold several plants."""
    return ast.dump(ast.parse(text))


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_plant_stands_once_in_its_file_and_leaves_python_behind(plant):
    text = plant.path().read_text(encoding="utf-8")
    plant.check(text)
    changed = text.replace(plant.before, plant.after)
    assert changed != text
    if plant.file.endswith(".py"):  # and no kernel of a GPU
        assert ast.dump(ast.parse(changed)) != meaning(text)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_the_tests_of_a_plant_exist(plant):
    assert plant.tests
    for name in plant.tests:
        file, *inside = name.split("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        for part in inside:
            assert re.search(rf"^ *(def|class) {re.escape(part)}\b", text, re.MULTILINE), name


def test_names_are_unique():
    assert [name for name, count in Counter(plant.name for plant in PLANTS).items() if count > 1] == []


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a = 1\na = 1\n", 2)])
def test_a_stale_plant_is_named(tmp_path, text, count):
    (tmp_path / "minicnn").mkdir()
    file = tmp_path / "minicnn" / "one.py"
    file.write_text(text)
    plant = Plant("wrong_sign", "one.py", "a = 1", "a = -1", ("tests/test_plants.py",))
    with pytest.raises(ValueError, match=rf"Plant 'wrong_sign': its text stands {count} times in minicnn/one\.py, not once\."):
        plant.put_into(tmp_path)
    assert file.read_text() == text
