"""Dropout, which no other program's numbers can be compared with: what its mask must fulfil."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn import layers
from tests.layers.checks import check_configs, check_layer, pair_of
from tests.ops.checks import Target, gradient_cases, seeds

shapes = st.one_of(st.tuples(*[st.integers(1, 6)] * 2), st.tuples(*[st.integers(1, 5)] * 4))


@gradient_cases
@given(shape=shapes, rate=st.sampled_from([0.0, 0.25, 0.5, 0.875, 1.0]), seed=seeds)
def test_mask(target: Target, shape: tuple[int, ...], rate: float, seed: int) -> None:
    """Each element is 0 or x / (1 - rate), and its gradient is masked likewise."""
    ours, theirs = pair_of("Dropout", target, rate=rate, seed=seed)
    check_configs(ours, theirs)
    x, dy = target.normal(seed, *shape), target.normal(seed + 1, *shape)
    y, saved = ours.forward(x, True)
    kept = y != 0  # x is never 0
    scale = 1 / (1 - rate) if rate < 1 else 0.0
    target.check(y, np.where(kept, x * scale, 0).astype(target.dtype))
    dx, grads = ours.backward(dy, saved)
    assert grads == ()
    target.check(dx, np.where(kept, dy * scale, 0).astype(target.dtype))
    if rate == 0:
        assert kept.all()
    if rate == 1:
        assert not kept.any()
    check_layer("Dropout", target, x, seed, rate=rate)  # in inference: y = x


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_statistics(target: Target, rate: float) -> None:
    """Each use draws anew, as many as `rate` says, and neighbours do not know of each other."""
    layer = layers.Dropout(rate, seed=1, dtype=target.dtype)
    x = np.ones((100, 1000), target.dtype)
    first, second = (np.asarray(layer(x, training=True)) != 0 for _ in range(2))
    deviation = (rate * (1 - rate) / x.size) ** 0.5
    for kept in (first, second):
        assert abs(kept.mean() - (1 - rate)) < 5 * deviation
        assert abs(np.corrcoef(kept[:, :-1].ravel(), kept[:, 1:].ravel())[0, 1]) < 5 / x.size**0.5
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / x.size**0.5
    np.testing.assert_array_equal(np.asarray(layers.Dropout(rate, seed=1, dtype=target.dtype)(x, training=True)) != 0, first)


def test_errors() -> None:
    for rate in (-0.1, 1.5):
        with pytest.raises(ValueError, match="Invalid value received for argument `rate`"):
            layers.Dropout(rate)
    with pytest.raises(ValueError, match="Argument `seed` must be an integer"):
        layers.Dropout(0.5, seed="one")


@pytest.mark.parametrize("name", ["Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout"])
def test_every_part_of_a_seed_counts(name: str) -> None:
    seeds, x = [3, *(3 + 2**bit for bit in (1, 8, 16, 31))], np.ones((4, 2, 32), np.float32)
    values = {np.asarray(getattr(layers, name)(0.5, seed=seed)(x, training=True)).tobytes() for seed in seeds}
    assert len(values) == len(seeds)
