"""Variables against Keras's: values, types, assignments, what is copied and what is shared."""

from __future__ import annotations

import copy
import pickle

import keras
import numpy as np
import pytest

import minicnn
from minicnn import backends, config, registry, variables
from minicnn.variables import Variable

START = np.arange(6, dtype="float32").reshape(2, 3)


def test_an_array_is_copied_in_and_out():
    start = START.copy()
    variable = Variable(start)
    start[0] = 9
    out = variable.numpy()
    out[1] = 9
    np.testing.assert_array_equal(variable, START)
    read, same = variable.read_value(), minicnn.identity(variable)
    variable.assign(START + 1)
    np.testing.assert_array_equal(read, START)
    np.testing.assert_array_equal(same, START)


@pytest.mark.parametrize("value", [START, START.astype("float64"), np.float16(2), 3.5, [1.0, 2.0], np.arange(3), True])
@pytest.mark.parametrize("dtype", [None, "float64", "int32"])
def test_types_are_keras_s(value, dtype):
    """Where none is asked for, floats are in the one that is set, and whole numbers of an array keep their own."""
    ours, theirs = Variable(value, dtype=dtype), keras.Variable(value, dtype=dtype)
    own = np.asarray(value).dtype
    assert ours.dtype == (dtype or ("float32" if own.kind == "f" else str(own)))
    assert ours.shape == tuple(theirs.shape)
    assert (ours.ndim, ours.size, type(ours.trainable)) == (len(theirs.shape), int(np.prod(theirs.shape)), bool)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy())


def test_floats_get_the_type_that_is_set():
    config.set_floatx("float64")
    try:
        assert Variable(START).dtype == Variable("zeros", (2,)).dtype == "float64"
        assert Variable(START, dtype="float32").dtype == "float32"
    finally:
        config.set_floatx("float32")


def test_initializers_get_shape_and_type():
    seen = []

    def initializer(shape, dtype):
        seen.append((shape, dtype))
        return np.ones(shape, dtype)

    variable = Variable(initializer, [2, 3], "float64", trainable=False, name="w", path="a/w")
    assert seen == [((2, 3), "float64")]
    assert (variable.trainable, variable.name, variable.path) == (False, "w", "a/w")
    assert Variable(initializer, (2,)).dtype == "float32"
    np.testing.assert_array_equal(Variable(2.0, shape=(2, 2)), np.full((2, 2), 2))
    with pytest.raises(ValueError, match="the `shape` argument should be specified"):
        Variable(initializer)
    for nothing in ({}, {"initializer": None}):
        with pytest.raises(TypeError, match="`Variable` takes an `initializer`"):
            Variable(**nothing)


def test_names_are_counted_and_paths_are_names_by_default():
    registry.clear_names()
    first, second = Variable(1.0), Variable(1.0)
    assert [first.name, second.name, second.path] == ["variable", "variable_1", "variable_1"]
    assert "path=variable, shape=(), dtype=float32, value=1.0" in repr(first)


@pytest.mark.parametrize(
    "given", [START * 2, START.tolist(), Variable(START * 3), keras.ops.convert_to_tensor(START), 5 + START]
)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_assignments_are_keras_s(given, dtype):
    there = given.numpy() if isinstance(given, Variable) else given
    for method in ("assign", "assign_add", "assign_sub"):
        ours, theirs = Variable(START, dtype=dtype), keras.Variable(START, dtype=dtype)
        address = ours.value
        assert getattr(ours, method)(given) is ours
        getattr(theirs, method)(np.asarray(there, dtype))
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        assert ours.dtype == dtype
        assert ours.value is address  # in place: kernels and optimizers hold it


def test_a_wrong_shape_changes_nothing():
    for module in (minicnn, keras):
        variable = module.Variable(START)
        for wrong in (START[0], START.T, np.zeros((1, 3)), 1.0):
            with pytest.raises(ValueError, match="The shape of the target variable and the shape of the target value"):
                variable.assign(wrong)
        np.testing.assert_array_equal(np.asarray(variable), START)


def test_a_tape_keeps_what_was_there_before_an_assignment():
    variable = Variable([2.0, 3.0])
    with minicnn.GradientTape() as tape:
        y = variable * variable
        variable.assign([10.0, 20.0])
        z = variable * 3.0
    assert tape.gradient([y, z], variable).tolist() == [7.0, 9.0]  # 2 v of before, and 3
    for dtype in ("float32", "float64"):
        given = np.array([1.0, 2.0], dtype)
        with minicnn.GradientTape():
            variable.assign(given)
            given[0] = 9
        assert (variable.dtype, variable.numpy().tolist()) == ("float32", [1.0, 2.0])  # its own type, its own memory


def test_a_variable_is_its_array_in_numpy():
    variable = Variable(START)
    assert np.asarray(variable).dtype == np.float32
    assert np.asarray(variable, dtype="float64").dtype == np.float64
    assert np.array(variable, copy=True) is not np.asarray(variable)
    copied = np.array(variable)
    copied[0] = 9
    np.testing.assert_array_equal(variable, START)
    np.testing.assert_array_equal(np.add(variable, variable), 2 * START)
    np.testing.assert_array_equal(np.add.reduce(variable, axis=1), START.sum(1))
    np.testing.assert_array_equal(1 - variable, 1 - START)
    np.testing.assert_array_equal(variable @ START.T, START @ START.T)
    np.testing.assert_array_equal(variable > 2, START > 2)
    assert len(variable) == 2
    assert [bool(Variable(value)) for value in (0, 2.5)] == [False, True]
    assert (int(Variable(2.75)), float(Variable(2.75))) == (2, 2.75)
    assert isinstance(variable[0], minicnn.Tensor)
    added = variable
    added += 1
    assert isinstance(added, minicnn.Tensor)  # as in Keras; the variable stays what it is
    np.testing.assert_array_equal(added, START + 1)
    np.testing.assert_array_equal(variable, START)
    variable[0, 1].assign(7)
    assert variable.numpy()[0].tolist() == [START[0, 0], 7, *START[0, 2:]]
    assert variable.get_shape() == START.shape
    assert {variable: 1}[variable] == 1


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_live_on_their_own(copied):
    variable = Variable(START, trainable=False, name="w", path="a/w")
    twin = copied(variable)
    assert (twin.name, twin.path, twin.trainable) == ("w", "a/w", False)
    np.testing.assert_array_equal(twin, START)
    if copied is not copy.copy:
        twin.assign(START + 1)
        np.testing.assert_array_equal(variable, START)
    before = backends.backend()
    backends.set_backend("reference")
    try:
        np.testing.assert_array_equal(twin.numpy(), np.asarray(twin))
    finally:
        backends.set_backend(before)


def test_freezing_is_counted_and_is_a_truth():
    variable = Variable(1.0)
    before = variables.trainable_changes()
    variable.trainable = 0
    assert variable.trainable is False
    variable.trainable = 1
    assert variable.trainable is True
    assert variables.trainable_changes() == before + 2


def test_what_variables_may_take_is_counted_down():
    with variables.limit_bytes(100):
        Variable("zeros", (10,))
        Variable("zeros", (5,), "float64")
        Variable("zeros", (), "int32")
        with pytest.raises(ValueError, match=r"A variable of 20 bytes exceeds what this file can hold \(16 bytes are left\)"):
            Variable("zeros", (5,))
        Variable("zeros", (4,))
    Variable("zeros", (100,))
