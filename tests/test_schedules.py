"""Learning-rate schedules against Keras's, over drawn arguments and steps."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn.optimizers import SGD, schedules
from tests.drawn import drawn_cases

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
@drawn_cases(15)
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


CURVES = [  # each argument at more than one value, and every phase of each within 24 steps
    ("ExponentialDecay", (0.5, 4, 0.5)),
    ("ExponentialDecay", (0.5, 4, 0.5, True)),
    ("InverseTimeDecay", (0.5, 4, 0.5)),
    ("InverseTimeDecay", (0.5, 4, 0.5, True)),
    ("PiecewiseConstantDecay", ([3, 10], [0.1, 0.2, 0.3])),
    ("PolynomialDecay", (0.5, 10)),
    ("PolynomialDecay", (0.5, 7, 0.1, 2.0)),
    ("PolynomialDecay", (0.5, 7, 0.1, 2.0, True)),
    ("CosineDecay", (0.5, 10)),
    ("CosineDecay", (0.1, 10, 0.25, "c", 0.5, 5)),
    ("CosineDecayRestarts", (0.5, 3)),
    ("CosineDecayRestarts", (0.5, 4, 1.0, 0.5, 0.1)),
    ("CosineDecayRestarts", (0.5, 3, 2.0, 0.5, 0.1)),
    ("CosineDecayRestarts", (0.5, 3, 1.7, 0.9, 0.1)),  # whole periods off where t_mul is even would not be seen
    ("CosineDecayRestarts", (0.5, 9, 0.75, 0.8, 0.0)),
]


@pytest.mark.parametrize(("name", "arguments"), CURVES)
def test_whole_curves_are_keras(name, arguments):
    ours, theirs = getattr(schedules, name)(*arguments), getattr(keras.optimizers.schedules, name)(*arguments)
    expected = [float(theirs(step)) for step in range(24)]
    np.testing.assert_allclose(ours(np.arange(24)), expected, rtol=1e-5, atol=2e-6)


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


# What PyTorch 2.13's OneCycleLR(optimizer, 0.8, total_steps=11, anneal_strategy=..., cycle_momentum=False) gives in 11
# steps. It counts its warm-up to 0.3 * 11 - 1 = 2.3 and the end to 10.
PYTORCH = {
    "cosine": "0.032 0.3378729 0.7682091 0.7837973 0.7075806 0.5808696 0.4244662 0.2640464 0.125946 0.0328364 3.2e-06",
    "linear": "0.032 0.365913 0.6998261 0.727273 0.6233773 0.5194816 0.415586 0.3116903 0.2077946 0.1038989 3.2e-06",
}


@pytest.mark.parametrize("shape", PYTORCH)
def test_one_cycle_is_pytorch_s(shape):
    schedule = schedules.OneCycle(0.8, 10, warmup_share=0.23, shape=shape)
    expected = [float(rate) for rate in PYTORCH[shape].split()]
    np.testing.assert_allclose(schedule(np.arange(11)), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose([schedule(step) for step in range(11)], expected, rtol=1e-5, atol=1e-7)
    assert float(schedule(25)) == pytest.approx(3.2e-6)
    again = schedules.deserialize(schedules.serialize(schedule))
    np.testing.assert_array_equal(again(np.arange(12)), schedule(np.arange(12)))


def test_a_triangle_is_airbench_s():
    """Jordan 2024: up from a fifth in 23% of the steps, counted down to a whole number, and down to 7%."""
    steps = 476
    warmup = int(0.23 * steps)
    schedule = schedules.OneCycle(1.0, steps, warmup / steps, 0.2, 0.07, shape="linear")
    expected = [0.2 + 0.8 * s / warmup if s < warmup else 1 - 0.93 * (s - warmup) / (steps - warmup) for s in range(steps)]
    np.testing.assert_allclose(schedule(np.arange(steps)), expected, rtol=1e-6)


def test_one_cycle_without_a_way_up_begins_at_the_top():
    falling = schedules.OneCycle(1.0, 4, warmup_share=0, end_factor=0, shape="linear")
    np.testing.assert_allclose(falling(np.arange(6)), [1, 0.75, 0.5, 0.25, 0, 0])


def test_one_cycle_names_bad_arguments():
    with pytest.raises(ValueError, match=r"Argument `total_steps` must be > 0. Received: total_steps=0"):
        schedules.OneCycle(0.1, 0)
    with pytest.raises(ValueError, match=r"`warmup_share` must be within 0 and 1. Received: warmup_share=2"):
        schedules.OneCycle(0.1, 10, warmup_share=2)
    with pytest.raises(ValueError, match=r'`shape` must be "cosine" or "linear". Received: shape='):
        schedules.OneCycle(0.1, 10, shape="sine")
