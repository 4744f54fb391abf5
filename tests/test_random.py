"""Random numbers: their distributions against SciPy's, what their seeds promise, shapes and types against Keras's."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy import stats

import minicnn
from minicnn import random

COUNT = 8000
DRAWS = {  # a call of `shape` and seed, and the distribution
    "normal": (lambda shape, seed: random.normal(shape, 2.0, 0.5, seed=seed), stats.norm(2, 0.5)),
    "normal, as it is": (lambda shape, seed: random.normal(shape, seed=seed), stats.norm()),
    "normal around 0, in integers": (lambda shape, seed: random.normal(shape, 0, 3, seed=seed), stats.norm(0, 3)),
    "uniform": (lambda shape, seed: random.uniform(shape, -1.0, 3.0, seed=seed), stats.uniform(-1, 4)),
    "uniform, as it is": (lambda shape, seed: random.uniform(shape, seed=seed), stats.uniform()),
    "uniform in float64": (lambda shape, seed: random.uniform(shape, 2, 3, "float64", seed), stats.uniform(2, 1)),
    "truncated": (lambda shape, seed: random.truncated_normal(shape, 1.0, 2.0, seed=seed), stats.truncnorm(-2, 2, 1, 2)),
    "truncated, as it is": (lambda shape, seed: random.truncated_normal(shape, seed=seed), stats.truncnorm(-2, 2)),
    "gamma": (lambda shape, seed: random.gamma(shape, 2.5, seed=seed), stats.gamma(2.5)),
    "beta": (lambda shape, seed: random.beta(shape, 0.5, 3.0, seed=seed), stats.beta(0.5, 3)),
    "one of a pair of seeds": (
        lambda shape, seed: random.stateless_normal(shape, [seed, 1], 2.0, 0.5),
        stats.norm(2, 0.5),
    ),
    "truncated, of a pair": (
        lambda shape, seed: random.stateless_truncated_normal(shape, [seed, 1], 2.0, 0.5),
        stats.truncnorm(-2, 2, 2, 0.5),
    ),
    "uniform, of a pair": (lambda shape, seed: random.stateless_uniform(shape, [seed, 1], 2, 5), stats.uniform(2, 3)),
    "a Generator's normal": (lambda shape, seed: random.Generator(seed).normal(shape, 2.0, 0.5), stats.norm(2, 0.5)),
    "a Generator's truncated": (
        lambda shape, seed: random.Generator(seed).truncated_normal(shape, 2.0, 0.5),
        stats.truncnorm(-2, 2, 2, 0.5),
    ),
    "a Generator's uniform": (lambda shape, seed: random.Generator(seed).uniform(shape, 2, 5), stats.uniform(2, 3)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_have_their_distribution_and_follow_their_seed(name):
    draw, distribution = DRAWS[name]
    values = np.asarray(draw((COUNT // 8, 8), 3))
    assert values.shape == (COUNT // 8, 8)
    assert values.dtype == ("float64" if "float64" in name else "float32")
    assert stats.kstest(values.ravel(), distribution.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(values.ravel()[:-1], values.ravel()[1:])[0, 1]) < 0.05
    np.testing.assert_array_equal(values, draw((COUNT // 8, 8), 3))
    assert not np.array_equal(values, draw((COUNT // 8, 8), 4))


@pytest.mark.parametrize("draw", ["normal", "uniform", "truncated_normal", "gamma", "beta", "randint", "bernoulli"])
def test_no_seed_follows_the_global_one_and_a_generator_counts(draw):
    arguments = {"gamma": (2.0,), "beta": (2.0, 3.0), "randint": (0, 1000)}.get(draw, ())
    function = getattr(random, draw)
    drawn = []
    for _ in range(2):
        minicnn.set_random_seed(5)
        generator = random.SeedGenerator(3)
        drawn.append(
            [np.asarray(function((50,), *arguments, seed=seed)).tolist() for seed in (None, None, generator, generator, 3, 3)]
        )
    assert drawn[0] == drawn[1]
    first, second, counted, next_one, seeded, again = drawn[0]
    assert first != second
    assert counted == seeded == again != next_one


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("draw", ["normal", "uniform", "truncated_normal", "gamma", "beta"])
def test_types_are_keras_s(draw, dtype):
    arguments = {"gamma": (2.0,), "beta": (2.0, 3.0)}.get(draw, ())
    ours, theirs = (getattr(module, draw)((3, 500), *arguments, dtype=dtype, seed=1) for module in (random, keras.random))
    assert (str(ours.dtype), ours.shape) == (keras.backend.standardize_dtype(theirs.dtype), theirs.shape)
    assert np.isfinite(ours).all()
    if draw == "uniform":
        assert 0 <= np.min(ours) < 0.02
        assert 0.98 < np.max(ours) < 1


def test_whole_numbers_fall_on_each_of_them_alike():
    for draw in (
        lambda: random.randint((COUNT,), -2, 5, seed=1),
        lambda: random.uniform((COUNT,), -2, 5, "int32", seed=1),
    ):
        values = np.asarray(draw())
        assert values.dtype == np.int32
        numbers, counts = np.unique(values, return_counts=True)
        assert numbers.tolist() == list(range(-2, 5))
        assert stats.chisquare(counts).pvalue > 1e-3
    assert random.randint((3,), 0, 9, "uint8", 1).dtype == "uint8"
    wide = np.asarray(random.randint((COUNT,), 0, 2**31 - 1, "int64", 1))  # in which each bit counts
    assert all(0.45 < (wide >> bit & 1).mean() < 0.55 for bit in range(31))
    seeds = random.Generator(1).make_seeds(3)
    assert (seeds.shape, str(seeds.dtype), len(np.unique(seeds))) == ((2, 3), "int64", 6)


def test_coins_fall_as_often_as_they_shall():
    for p in (0.0, 0.25, 1.0):
        values = np.asarray(random.bernoulli((COUNT,), p, seed=2))
        assert values.dtype == np.float32
        assert set(np.unique(values)) <= {0, 1}
        assert values.mean() == pytest.approx(p, abs=0.02 if 0 < p < 1 else 0)
    assert np.mean(random.bernoulli((COUNT,), seed=2)) == pytest.approx(0.5, abs=0.02)
    assert random.bernoulli((3,), dtype="int32").dtype == "int32"


def test_dropout_keeps_the_mean_and_shares_its_mask():
    x = np.arange(1, 6001, dtype="float32").reshape(60, 100)
    y = np.asarray(random.dropout(x, 0.25, seed=4))
    kept = y != 0
    assert kept.mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(y[kept], x[kept] / 0.75, rtol=1e-6)
    rows = np.asarray(random.dropout(x, 0.5, noise_shape=(60, 1), seed=4)) != 0
    assert (rows == rows[:, :1]).all()
    assert 0.2 < rows.mean() < 0.8


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_shuffling_moves_whole_slices(axis):
    x = np.arange(24).reshape(4, 6)
    y = np.asarray(random.shuffle(x, axis, seed=1))
    assert not np.array_equal(y, x)
    places = np.argsort(np.take(y, 0, 1 - axis % 2))
    np.testing.assert_array_equal(np.take(y, places, axis), x)
    np.testing.assert_array_equal(random.shuffle(x, seed=1), random.shuffle(x, 0, seed=1))


def test_classes_are_drawn_by_their_logits():
    p = np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]])
    with np.errstate(divide="ignore"):
        logits = np.log(p).astype("float32")
    drawn = random.categorical(logits, COUNT, seed=3)
    theirs = keras.random.categorical(logits, COUNT, seed=3)
    assert (drawn.shape, str(drawn.dtype)) == (tuple(theirs.shape), keras.backend.standardize_dtype(theirs.dtype))
    for row, expected in zip(np.asarray(drawn), p):
        np.testing.assert_allclose(np.bincount(row, minlength=3) / COUNT, expected, atol=0.02)
    assert random.categorical(logits, 2, "int64", 3).dtype == "int64"


def test_a_generator_follows_the_global_seed_unless_it_has_its_own():
    def numbers(make):
        minicnn.set_random_seed(8)
        return [np.asarray(make().normal((4,))).tolist() for _ in range(2)]

    for make in (random.Generator.from_non_deterministic_state, random.get_global_generator, random.Generator):
        first, second = numbers(make)
        assert first != second
        assert numbers(make) == [first, second]
    first, second = numbers(lambda: random.Generator.from_seed(6))
    assert first == second
    with pytest.raises(ValueError, match=r"Argument `seed` must be an integer in \[0, 2\*\*32\). Received: seed=-1"):
        random.normal((2,), seed=-1)
