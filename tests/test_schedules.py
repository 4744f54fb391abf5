"""Learning-rate schedules against Keras's, over drawn arguments and steps."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.optimizers import SGD, schedules

rates = st.floats(1e-4, 1.0)
steps = st.integers(1, 50)
ARGUMENTS = {
    "ExponentialDecay": st.tuples(rates, steps, st.floats(0.5, 1.0), st.booleans()),
    "InverseTimeDecay": st.tuples(rates, steps, st.floats(0.0, 2.0), st.booleans()),
    "PiecewiseConstantDecay": st.tuples(st.just([3, 10, 30]), st.lists(rates, min_size=4, max_size=4)),
    "PolynomialDecay": st.tuples(rates, steps, rates, st.sampled_from([1.0, 2.0, 0.5]), st.booleans()),
    "CosineDecay": st.tuples(rates, steps, st.floats(0.0, 0.5), st.just("c"), st.none() | rates, st.integers(1, 20)),
    "CosineDecayRestarts": st.tuples(
        rates, st.sampled_from([4, 8, 16]), st.sampled_from([1.0, 2.0]), rates, st.floats(0.0, 0.5)
    ),
}


@pytest.mark.parametrize("name", ARGUMENTS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_rates_are_keras(name, data):
    arguments = data.draw(ARGUMENTS[name])
    ours, theirs = getattr(schedules, name)(*arguments), getattr(keras.optimizers.schedules, name)(*arguments)
    for step in data.draw(st.lists(st.integers(0, 60), min_size=1, max_size=5)):
        # Keras computes in float32, where a cosine near its zero has lost digits.
        np.testing.assert_allclose(ours(step).numpy(), theirs(step).numpy(), rtol=1e-5, atol=2e-6)
    assert ours.get_config() == theirs.get_config()
    assert schedules.serialize(ours) == keras.optimizers.schedules.serialize(theirs)
    again = schedules.deserialize(keras.optimizers.schedules.serialize(theirs))
    np.testing.assert_array_equal(again(np.arange(60)), ours(np.arange(60)))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_curve_is_its_points(name):
    arguments = {
        "PiecewiseConstantDecay": ([3, 10], [0.1, 0.2, 0.3]),
        "ExponentialDecay": (0.1, 7, 0.9, True),
        "InverseTimeDecay": (0.1, 7, 0.9, True),
        "CosineDecay": (0.0, 10, 0.1, "c", 0.5, 5),
    }
    schedule = getattr(schedules, name)(*arguments.get(name, (0.1, 7)))
    np.testing.assert_array_equal(schedule(np.arange(40)), [schedule(step) for step in range(40)])


def test_a_schedule_drives_an_optimizer_and_its_config():
    optimizer = SGD(schedules.InverseTimeDecay(0.5, 1, 1.0))
    assert [variable.name for variable in optimizer.variables] == ["iteration"]
    assert float(optimizer.learning_rate) == 0.5
    optimizer.iterations.assign(4)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    assert float(SGD.from_config(optimizer.get_config()).learning_rate) == 0.5
    with pytest.raises(TypeError, match="created with a `LearningRateSchedule` object"):
        optimizer.learning_rate = 0.1


def test_bad_arguments_are_named():
    for name in ("ExponentialDecay", "InverseTimeDecay"):
        with pytest.raises(ValueError, match=r"Argument `decay_steps` must be > 0. Received: decay_steps=0"):
            getattr(schedules, name)(0.1, 0, 0.5)
    for name in ("PolynomialDecay", "CosineDecay"):
        with pytest.raises(ValueError, match=r"Argument `decay_steps` must be > 0. Received: decay_steps=-1"):
            getattr(schedules, name)(0.1, -1)
    with pytest.raises(ValueError, match="Argument `first_decay_steps` must be > 0"):
        schedules.CosineDecayRestarts(0.1, 0)
    with pytest.raises(ValueError, match=r"length of boundaries should be 1 less .* Received: boundaries=\[1\]"):
        schedules.PiecewiseConstantDecay([1], [0.1])
    with pytest.raises(NotImplementedError, match=r"must override `__call__\(self, step\)`"):
        schedules.LearningRateSchedule()(0)
    with pytest.raises(NotImplementedError, match="in order to be serializable"):
        schedules.LearningRateSchedule().get_config()
