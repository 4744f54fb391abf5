"""Initializers: their distributions against SciPy's, their seeds, and Keras's names, configs and errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras.src.initializers.random_initializers import compute_fans
from scipy import stats

from minicnn import config, initializers
from minicnn.layers import Dense, Input
from minicnn.models import Sequential
from minicnn.variables import Variable
from tests.drawn import drawn_cases

SCALED = ["GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal"]
RANDOM = ["RandomUniform", "RandomNormal", "TruncatedNormal", "VarianceScaling", *SCALED]
SHAPE = (3, 3, 32, 48)
FAN_IN, FAN_OUT = 3 * 3 * 32, 3 * 3 * 48


def variance(name):
    scale = 2 if name.startswith("He") else 1
    return scale / ((FAN_IN + FAN_OUT) / 2 if name.startswith("Glorot") else FAN_IN)


def expected_distribution(name):
    """SciPy's, where it is known in closed form what the initializer draws from."""
    if name == "RandomUniform":
        return stats.uniform(-0.05, 0.1)
    if name == "RandomNormal":
        return stats.norm(0, 0.05)
    if name == "TruncatedNormal":
        return stats.truncnorm(-2, 2, scale=0.05)
    if name.endswith("Uniform"):
        limit = np.sqrt(3 * variance(name))
        return stats.uniform(-limit, 2 * limit)
    return stats.truncnorm(-2, 2, scale=np.sqrt(variance(name)) / stats.truncnorm(-2, 2).std())


@pytest.mark.parametrize("name", RANDOM)
def test_distributions_are_what_their_names_say(name):
    values = getattr(initializers, name)(seed=7)(SHAPE)
    assert values.shape == SHAPE
    assert values.dtype == np.float32
    distribution = expected_distribution(name)
    assert stats.kstest(values.ravel(), distribution.cdf).pvalue > 1e-3
    assert values.std() == pytest.approx(distribution.std(), rel=0.02)
    # Neighbours in memory are strangers.
    assert abs(np.corrcoef(values.ravel()[:-1], values.ravel()[1:])[0, 1]) < 0.02


@pytest.mark.parametrize("name", RANDOM)
def test_spread_is_keras(name):
    ours, theirs = getattr(initializers, name)(seed=1)(SHAPE), getattr(keras.initializers, name)(seed=1)(SHAPE).numpy()
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert np.abs(ours).max() <= np.abs(theirs).max() * 1.1


@pytest.mark.parametrize("name", [*RANDOM, "Orthogonal"])
def test_seeds(name):
    make = getattr(initializers, name)
    seeded = make(seed=3)
    np.testing.assert_array_equal(seeded((5, 4)), seeded((5, 4)))
    np.testing.assert_array_equal(seeded((5, 4)), make(seed=3)((5, 4)))
    assert not np.array_equal(seeded((5, 4)), make(seed=4)((5, 4)))
    config.set_random_seed(11)
    first, second = make(), make()
    assert not np.array_equal(first((5, 4)), second((5, 4)))
    np.testing.assert_array_equal(first((5, 4)), first((5, 4)))
    config.set_random_seed(11)
    np.testing.assert_array_equal(first((5, 4)), make()((5, 4)))


def test_a_float64_weight_is_the_float32_one_before_rounding():
    for name in RANDOM:
        initializer = getattr(initializers, name)(seed=5)
        np.testing.assert_array_equal(initializer((6, 6), "float64").astype("float32"), initializer((6, 6), "float32"))


def test_weights_beyond_the_first_block_of_words_are_new():
    values = initializers.TruncatedNormal(seed=0)((1200, 1000)).ravel()
    assert not np.array_equal(values[:100_000], values[-100_000:])
    assert values[-100_000:].std() == pytest.approx(stats.truncnorm(-2, 2, scale=0.05).std(), rel=0.02)


@pytest.mark.parametrize("name", ["RandomUniform", "RandomNormal", "TruncatedNormal"])
def test_no_run_of_numbers_comes_again(name):
    """However many blocks of words there are, and wherever in them."""
    values = getattr(initializers, name)(seed=2)((3 * 2**20,))
    runs = np.lib.stride_tricks.sliding_window_view(values, 6)
    assert np.flatnonzero((runs == values[:6]).all(axis=1)).tolist() == [0]


@drawn_cases(30)
@given(
    shape=st.lists(st.integers(1, 6), max_size=4),
    mode=st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
    scale=st.floats(0.1, 4),
)
def test_fans_of_any_shape_are_keras(shape, mode, scale):
    fan_in, fan_out = compute_fans(shape)
    stddev = np.sqrt(scale / max(1, {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]))
    limit = np.sqrt(3) * stddev
    units = {
        "uniform": initializers.RandomUniform(-limit, limit, seed=1),
        "untruncated_normal": initializers.RandomNormal(0, stddev, seed=1),
        "normal": initializers.TruncatedNormal(0, stddev / stats.truncnorm(-2, 2).std(), seed=1),
    }
    for distribution, expected in units.items():
        values = initializers.VarianceScaling(scale, mode, distribution, seed=1)(shape)
        np.testing.assert_allclose(values, expected(shape), rtol=1e-6)


def test_axes_that_count_as_inputs_and_outputs():
    options = {"input_axes": [0], "output_axes": [2], "seed": 0}
    values = initializers.HeUniform(**options)((8, 500, 4))
    assert np.abs(values).max() == pytest.approx(np.sqrt(3 * 2 / 8), rel=1e-3)


def test_constants():
    np.testing.assert_array_equal(initializers.Zeros()((2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(initializers.Ones()((2, 3), "int32"), np.ones((2, 3)))
    np.testing.assert_array_equal(initializers.Constant(2.5)((2,)), [2.5, 2.5])
    np.testing.assert_array_equal(initializers.Constant([1.0, 2.0])((2, 2)), [[1, 2], [1, 2]])
    np.testing.assert_array_equal(initializers.get("constant")((2,)), [0, 0])
    array = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(initializers.get(array)((2, 3)), array)
    with pytest.raises(ValueError, match=r"Expected `shape` to be \(2, 3\) for direct tensor as initializer"):
        initializers.get(array)((3, 2))
    assert Variable(initializers.HeNormal(seed=1), shape=(3, 2)).dtype == "float32"


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 3, 2, 8), (5, 1)])
def test_orthogonal(shape):
    """Its rows or columns are orthogonal and as long as `gain`; over many seeds they point everywhere alike."""
    values = initializers.Orthogonal(gain=2.0, seed=3)(shape)
    assert values.dtype == np.float32
    matrix = values.reshape(-1, shape[-1])
    product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)
    first = np.array([initializers.Orthogonal(seed=seed)((2, 2))[0] for seed in range(400)])
    angles = np.arctan2(first[:, 1], first[:, 0])
    assert stats.kstest(angles, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("shape", "groups"), [((3, 3, 4, 4), 1), ((3, 5, 2, 6), 1), ((2, 2, 6, 3), 1), ((3, 2, 4), 2)])
def test_dirac_passes_channels_on(shape, groups):
    """A SAME convolution of it copies as many channels as it has filters for; the others are 0, in each group."""
    *window, inputs, outputs = shape
    kernel = initializers.Dirac(groups)(shape)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *(5 for _ in window), inputs * groups)).astype("float32")
    if groups > 1:
        y = keras.ops.conv(x, kernel, padding="same", data_format="channels_last").numpy()
        expected = np.concatenate([x[..., g * inputs : g * inputs + outputs // groups] for g in range(groups)], axis=-1)
    else:
        y = keras.ops.conv(x, kernel, padding="same").numpy()
        filled = np.zeros((*x.shape[:-1], max(outputs - inputs, 0)), "float32")
        expected = np.concatenate([x[..., :outputs], filled], axis=-1)
    if all(extent % 2 for extent in window):
        np.testing.assert_array_equal(y, expected)
    assert kernel.sum() == min(inputs, outputs // groups) * groups
    assert kernel.dtype == np.float32


def test_dirac_fills_the_rest_and_keeps_its_arguments():
    """PyTorch's `dirac_(w[:w.size(1)])`: the first filters, as many as there are channels, and the others as they were."""
    rest = initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=4)
    layer = initializers.Dirac(rest=rest)
    kernel = layer((3, 3, 4, 10))
    np.testing.assert_array_equal(kernel[..., :4], initializers.Dirac()((3, 3, 4, 4)))
    np.testing.assert_array_equal(kernel[..., 4:], rest((3, 3, 4, 10))[..., 4:])
    assert np.abs(kernel[..., 4:]).max() <= 1 / np.sqrt(3 * 3 * 4)
    again = initializers.deserialize(initializers.serialize(layer))
    np.testing.assert_array_equal(again((3, 3, 4, 10)), kernel)
    assert initializers.get("dirac").groups == 1
    for bad, message in (({"groups": 0}, "`groups` must be a positive integer. Received: groups=0"), ({"rest": "no"}, "'?no")):
        with pytest.raises(ValueError, match=message):
            initializers.Dirac(**bad)
    for shape, groups in (((3, 4), 1), ((3, 3, 2, 3), 2)):
        with pytest.raises(ValueError, match=r"Dirac initializes kernels of convolutions, .* Received: shape="):
            initializers.Dirac(groups)(shape)


def test_identity():
    np.testing.assert_array_equal(initializers.Identity(2.0)((2, 3)), [[2, 0, 0], [0, 2, 0]])
    assert initializers.IdentityInitializer()((2, 2), "float64").dtype == np.float64


@pytest.mark.parametrize("name", [*RANDOM, "Zeros", "Ones", "Constant", "Orthogonal", "Identity"])
def test_configs_are_keras(name):
    ours, theirs = getattr(initializers, name)(), getattr(keras.initializers, name)()
    serialized = keras.initializers.serialize(theirs)
    if name == "Identity":  # whose gain Keras's own config forgets, but takes
        serialized["config"]["gain"] = 1.0
    assert initializers.serialize(ours) == serialized
    for options in ({"seed": 5},) if name in [*RANDOM, "Orthogonal"] else ():
        ours, theirs = getattr(initializers, name)(**options), getattr(keras.initializers, name)(**options)
        assert ours.get_config() == theirs.get_config()
        again = initializers.deserialize(keras.initializers.serialize(theirs))
        np.testing.assert_array_equal(again((3, 4)), ours((3, 4)))
        np.testing.assert_array_equal(ours.clone()((3, 4)), ours((3, 4)))


ALIASES = [
    *(
        "glorot_uniform",
        "glorot_normal",
        "he_uniform",
        "he_normal",
        "lecun_uniform",
        "lecun_normal",
        "zeros",
        "ones",
    ),
    *("random_normal", "random_uniform", "truncated_normal", "variance_scaling", "normal", "uniform", "zero", "one"),
    *("identity", "Identity", "IdentityInitializer", "orthogonal", "Orthogonal", "OrthogonalInitializer"),
]


@pytest.mark.parametrize("name", [*ALIASES, *RANDOM])
def test_names_are_keras(name):
    assert type(initializers.get(name)).__name__ == type(keras.initializers.get(name)).__name__
    if hasattr(keras.initializers, name):
        assert getattr(initializers, name).__name__ == getattr(keras.initializers, name).__name__


def test_a_distribution_s_name_may_have_capitals():
    for name in ("Uniform", "TRUNCATED_NORMAL", "Normal", "untruncated_Normal"):
        ours, theirs = (module.VarianceScaling(distribution=name, seed=1) for module in (initializers, keras.initializers))
        assert ours.get_config() == theirs.get_config()


def test_bad_arguments_are_named():
    for bad in ("glorot", 3, {"class_name": "Nothing", "config": {}}):
        with pytest.raises(ValueError, match="Could not interpret initializer identifier"):
            initializers.get(bad)
    with pytest.raises(ValueError, match=r"`seed` argument should be .*an integer. Received: seed=1.5"):
        initializers.RandomNormal(seed=1.5)
    for seed in (-1, 2**32):  # the stream's key has 32 bits
        with pytest.raises(ValueError, match=rf"`seed` argument should be in \[0, 2\*\*32\). Received: seed={seed}"):
            initializers.RandomNormal(seed=seed)
    with pytest.raises(ValueError, match=r"Argument `scale` must be positive float. Received: scale=-1"):
        initializers.VarianceScaling(scale=-1)
    with pytest.raises(ValueError, match="Invalid `mode` argument: fan"):
        initializers.VarianceScaling(mode="fan")
    with pytest.raises(ValueError, match="Invalid `distribution` argument: cauchy"):
        initializers.VarianceScaling(distribution="cauchy")
    with pytest.raises(ValueError, match=r"only be used for 2D matrices. Received: shape=\(2, 2, 2\) of rank 3"):
        initializers.Identity()((2, 2, 2))
    with pytest.raises(ValueError, match=r"at least two-dimensional. Received: shape=\(4,\) of rank 1"):
        initializers.Orthogonal()((4,))
    with pytest.raises(NotImplementedError, match=r"must implement the `__call__\(\)` method"):
        initializers.Initializer()((2,))


@pytest.mark.parametrize("name", [*RANDOM, "Orthogonal"])
def test_every_part_of_a_seed_counts(name):
    seeds = [3, *(3 + 2**bit for bit in (1, 8, 16, 31))]
    values = [getattr(initializers, name)(seed=seed)((4, 4)).tobytes() for seed in seeds]
    assert len(set(values)) == len(seeds)


@pytest.mark.parametrize("name", ["RandomNormal", "TruncatedNormal"])
def test_a_mean_moves_what_is_drawn(name):
    make = getattr(initializers, name)
    moved = make(mean=2.0, stddev=0.5, seed=3)((40, 50))
    np.testing.assert_allclose(moved, 2 + 10 * make(seed=3)((40, 50)), rtol=1e-6)


def test_an_array_that_weights_begin_with_stays_as_it_is():
    start = np.ones((3, 2), "float32")
    initializers.get(start)((3, 2))[...] = 5
    model = Sequential([Input((3,)), Dense(2, kernel_initializer=start)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3)), np.zeros((4, 2)), verbose=0)
    np.testing.assert_array_equal(start, np.ones((3, 2)))
