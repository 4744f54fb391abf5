"""Constraints against Keras's: values, names, configs and errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn import constraints
from minicnn.variables import Variable
from tests.drawn import drawn_cases

ARGUMENTS = {
    "MaxNorm": st.fixed_dictionaries({}, optional={"max_value": st.floats(0.1, 3), "axis": st.sampled_from([0, 1, [0, 1]])}),
    "NonNeg": st.just({}),
    "UnitNorm": st.fixed_dictionaries({}, optional={"axis": st.sampled_from([0, 1, [0, 1, 2]])}),
    "MinMaxNorm": st.fixed_dictionaries(
        {}, optional={"min_value": st.floats(0, 1), "max_value": st.floats(1, 2), "rate": st.floats(0.1, 1), "axis": st.just(1)}
    ),
}


@pytest.mark.parametrize("name", ARGUMENTS)
@drawn_cases(25)
@given(data=st.data())
def test_values_are_keras(name, data):
    arguments = data.draw(ARGUMENTS[name])
    w = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))).normal(size=(3, 2, 4)).astype("float32")
    ours, theirs = getattr(constraints, name)(**arguments), getattr(keras.constraints, name)(**arguments)
    expected = keras.ops.convert_to_numpy(theirs(w))
    np.testing.assert_allclose(ours(w), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours(Variable(w)), expected, rtol=1e-5, atol=1e-6)
    assert ours.get_config() == theirs.get_config()


@pytest.mark.parametrize("name", [*ARGUMENTS, "max_norm", "non_neg", "unit_norm", "min_max_norm"])
def test_names_and_configs_are_keras(name):
    ours, theirs = constraints.get(name), keras.constraints.get(name)
    assert constraints.serialize(ours) == keras.constraints.serialize(theirs)
    assert constraints.deserialize(keras.constraints.serialize(theirs)).get_config() == ours.get_config()
    assert getattr(constraints, name).__name__ == getattr(keras.constraints, name).__name__


def test_older_names_functions_and_unknown_ones():
    for older, name in (("maxnorm", "MaxNorm"), ("nonneg", "NonNeg"), ("unitnorm", "UnitNorm"), ("minmaxnorm", "MinMaxNorm")):
        assert type(constraints.get(older)).__name__ == name
    assert constraints.get(np.abs) is np.abs
    assert constraints.get(None) is None
    with pytest.raises(ValueError, match=r"Could not interpret constraint identifier: max_nom.*Did you mean 'max_norm'"):
        constraints.get("max_nom")
