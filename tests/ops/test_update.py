"""Optimizer steps against TensorFlow's own training kernels; clipping and penalties against TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.numba_cpu.elementwise import RUN
from tests.ops.checks import Target, around, gradient_cases, ops_of, seeds, update_cases

STEPS = 2

# A parameter: a kernel, a bias, a scalar; lengths around a vector's width, and around what a task takes.
shape = (
    st.lists(st.integers(1, 6), max_size=4)
    | st.tuples(st.sampled_from([16, 17, 100]))
    | st.tuples(st.sampled_from(around(RUN)))
)
shapes = st.lists(shape, min_size=1, max_size=2)
learning_rates = st.sampled_from([0.5, 0.1, 0.01, 1e-3])
factors = st.sampled_from([0.0, 0.5, 0.9, 0.99])
strengths = st.sampled_from([0.0, 1e-4, 0.01, 0.5])
limits = st.sampled_from([0.1, 1.0, 5.0, 1e4])


def arrays(target: Target, shapes: list, seed: int) -> list[np.ndarray]:
    return [target.normal(seed + i, *shape) for i, shape in enumerate(shapes)]


def zeros_like(params: list[np.ndarray]) -> list[np.ndarray]:
    return [np.zeros_like(p) for p in params]


def variables(values: list[np.ndarray]) -> list[tf.Variable]:
    return [tf.Variable(value) for value in values]


def check_all(target: Target, actual: list[np.ndarray], expected: list) -> None:
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected):
        target.check(a, e, scale=1)


def draw_model(target: Target, shapes: list, seed: int) -> tuple[list[np.ndarray], list[list[np.ndarray]], list[tf.Variable]]:
    """Parameters, their gradients at each step, and TensorFlow's copy of the parameters."""
    params = arrays(target, shapes, seed)
    return params, [arrays(target, shapes, seed + 10 * (step + 1)) for step in range(STEPS)], variables(params)


@update_cases
@given(shapes=shapes, learning_rate=learning_rates, seed=seeds)
def test_sgd_equals_tensorflow(target: Target, shapes: list, learning_rate: float, seed: int) -> None:
    params, steps, peers = draw_model(target, shapes, seed)
    for grads in steps:
        target.ops.sgd_update_(params, grads, learning_rate)
        for p, g in zip(peers, grads):
            tf.raw_ops.ResourceApplyGradientDescent(var=p.handle, alpha=tf.constant(learning_rate, p.dtype), delta=g)
    check_all(target, params, peers)


@update_cases
@given(shapes=shapes, learning_rate=learning_rates, momentum=factors, nesterov=st.booleans(), seed=seeds)
def test_momentum_equals_tensorflow(
    target: Target, shapes: list, learning_rate: float, momentum: float, nesterov: bool, seed: int
) -> None:
    """TensorFlow's accumulator times -learning_rate is the momentum here."""
    params, steps, peers = draw_model(target, shapes, seed)
    momenta, accumulators = zeros_like(params), variables(zeros_like(params))
    update = target.ops.nesterov_update_ if nesterov else target.ops.momentum_update_
    for grads in steps:
        update(params, grads, momenta, learning_rate, momentum)
        for p, a, g in zip(peers, accumulators, grads):
            rates = {"lr": tf.constant(learning_rate, p.dtype), "momentum": tf.constant(momentum, p.dtype)}
            tf.raw_ops.ResourceApplyMomentum(var=p.handle, accum=a.handle, grad=g, use_nesterov=nesterov, **rates)
    check_all(target, params, peers)
    check_all(target, momenta, [-learning_rate * a for a in accumulators])


@update_cases
@given(
    shapes=shapes,
    learning_rate=learning_rates,
    rho=st.sampled_from([0.5, 0.9]),
    momentum=factors,
    epsilon=st.sampled_from([1e-7, 1e-3]),
    centered=st.booleans(),
    seed=seeds,
)
def test_rmsprop_equals_tensorflow(
    target: Target, shapes: list, learning_rate: float, rho: float, momentum: float, epsilon: float, centered: bool, seed: int
) -> None:
    params, steps, peers = draw_model(target, shapes, seed)
    mean_squares, mean_grads = zeros_like(params), zeros_like(params) if centered else None
    momenta = zeros_like(params) if momentum else None
    slots = [variables(zeros_like(params)) for _ in range(3)]
    for grads in steps:
        target.ops.rmsprop_update_(params, grads, (mean_squares, mean_grads, momenta), learning_rate, rho, momentum, epsilon)
        for p, ms, mg, mom, g in zip(peers, *slots, grads):
            values = {"lr": learning_rate, "rho": rho, "momentum": momentum, "epsilon": epsilon}
            values = {name: tf.constant(value, p.dtype) for name, value in values.items()}
            handles = {"var": p.handle, "ms": ms.handle, "mom": mom.handle, "grad": g}
            if centered:
                tf.raw_ops.ResourceApplyCenteredRMSProp(mg=mg.handle, **handles, **values)
            else:
                tf.raw_ops.ResourceApplyRMSProp(**handles, **values)
    check_all(target, params, peers)
    check_all(target, mean_squares, slots[0])
    if mean_grads is not None:
        check_all(target, mean_grads, slots[1])
    if momenta is not None:
        check_all(target, momenta, slots[2])


@update_cases
@given(
    shapes=shapes,
    learning_rate=learning_rates,
    beta_1=st.sampled_from([0.5, 0.9]),
    beta_2=st.sampled_from([0.9, 0.999]),
    epsilon=st.sampled_from([1e-7, 1e-3]),
    amsgrad=st.booleans(),
    seed=seeds,
)
def test_adam_equals_tensorflow(
    target: Target, shapes: list, learning_rate: float, beta_1: float, beta_2: float, epsilon: float, amsgrad: bool, seed: int
) -> None:
    params, steps, peers = draw_model(target, shapes, seed)
    means, variances = zeros_like(params), zeros_like(params)
    max_variances = zeros_like(params) if amsgrad else None
    slots = [variables(zeros_like(params)) for _ in range(3)]
    for step, grads in enumerate(steps, start=1):
        target.ops.adam_update_(
            params, grads, (means, variances, max_variances), learning_rate, step, (beta_1, beta_2), epsilon
        )
        for p, m, v, vhat, g in zip(peers, *slots, grads):
            values = {"beta1_power": beta_1**step, "beta2_power": beta_2**step, "lr": learning_rate}
            values |= {"beta1": beta_1, "beta2": beta_2, "epsilon": epsilon}
            values = {name: tf.constant(value, p.dtype) for name, value in values.items()}
            handles = {"var": p.handle, "m": m.handle, "v": v.handle, "grad": g}
            if amsgrad:
                tf.raw_ops.ResourceApplyAdamWithAmsgrad(vhat=vhat.handle, **handles, **values)
            else:
                tf.raw_ops.ResourceApplyAdam(**handles, **values)
    check_all(target, params, peers)
    check_all(target, means, slots[0])
    check_all(target, variances, slots[1])
    if max_variances is not None:
        check_all(target, max_variances, slots[2])


RULES = {  # (slots, and what their numbers begin with; the numbers of a call)
    "adagrad": ([1.0], lambda step: (0.1, 1e-7)),
    "adadelta": ([0.0, 0.0], lambda step: (0.5, 0.9, 1e-6)),
    "adamax": ([0.0, 0.0], lambda step: (0.1, step, (0.9, 0.99), 1e-7)),
    "nadam": ([0.0, 0.0], lambda step: (0.1, step, (0.9, 0.99), 1e-7)),
    "lamb": ([0.0, 0.0], lambda step: (0.1, step, (0.9, 0.99), 1e-3)),
    "lion": ([0.0], lambda step: (0.1, (0.9, 0.5))),
    "ftrl": ([0.1, 0.0], lambda step: (0.5, -0.5, (0.1, 0.1, 0.1), 0.1)),
    "adafactor": ([0.0], lambda step: (0.1, step, -0.8, (1e-30, 1e-3), 1.0)),
    "schedule_free_adamw": ([1.0, 0.0], lambda step: (0.1, step, (0.9, 0.99), 1e-3, 3)),
}


@pytest.mark.parametrize("rule", RULES)
@update_cases
@given(shapes=shapes, seed=seeds)
def test_rules_are_the_reference_s_in_float64(target: Target, rule: str, shapes: list, seed: int) -> None:
    """The reference's rules are held to Keras's optimizers, which are made of them: `tests/test_optimizers.py`."""
    initial, numbers = RULES[rule]
    params, steps, _ = draw_model(target, shapes, seed)
    slots = [[np.full_like(p, value) for p in params] for value in initial]
    if rule == "adafactor":
        rows = [np.zeros(p.shape[:-1] if p.ndim > 1 else (), p.dtype) for p in params]
        columns = [np.zeros((*p.shape[:-2], *p.shape[-1:]) if p.ndim > 1 else (), p.dtype) for p in params]
        slots = [rows, columns, *slots]
    product = [np.ones((), target.dtype)] if rule == "nadam" else []
    twins = [[array.astype("float64") for array in arrays] for arrays in (params, *slots, product)]
    for step, grads in enumerate(steps, start=1):
        packed = slots[0] if len(slots) == 1 else tuple(slots)
        getattr(target.ops, f"{rule}_update_")(params, grads, packed, *product, *numbers(step))
        packed = twins[1] if len(slots) == 1 else tuple(twins[1:-1])
        exact = [grad.astype("float64") for grad in grads]
        getattr(ops_of("reference"), f"{rule}_update_")(twins[0], exact, packed, *twins[-1], *numbers(step))
    for arrays, expected in zip((params, *slots, product), twins):
        check_all(target, arrays, expected)


@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_draws_singular_values_towards_one(target: Target, nesterov: bool) -> None:
    for shape in ((5, 3), (3, 5)):
        param, grad, momentum = target.normal(0, *shape), target.normal(1, *shape), np.zeros(shape, target.dtype)
        before = param.copy()
        target.ops.muon_update_([param], [grad], [momentum], 1.0, 0.5, nesterov, (12, (1.5, -0.5, 0.0)), None)
        target.check(momentum, grad)
        u, _, v = np.linalg.svd(grad.astype("float64"), full_matrices=False)
        np.testing.assert_allclose(before - param, u @ v, atol=1e-4)  # the nearest orthogonal matrix


def test_one_gradient_that_is_no_number_is_found(target: Target) -> None:
    grads = [target.normal(0, 3, 2), target.normal(1, 4)]
    assert target.ops.all_finite(grads)
    for bad in (np.nan, np.inf, -np.inf):
        grads[1][3] = bad
        assert not target.ops.all_finite(grads)


@update_cases
@given(shapes=shapes, learning_rate=learning_rates, weight_decay=st.sampled_from([0.0, 1e-4, 0.1]), seed=seeds)
def test_weight_decay_equals_tensorflow(
    target: Target, shapes: list, learning_rate: float, weight_decay: float, seed: int
) -> None:
    params = arrays(target, shapes, seed)
    expected = [tf.constant(p) - learning_rate * weight_decay * p for p in params]
    target.ops.weight_decay_(params, learning_rate, weight_decay)
    check_all(target, params, expected)


@update_cases
@given(shapes=shapes, momentum=st.floats(0, 1), seed=seeds)
def test_exponential_average_equals_tensorflow(target: Target, shapes: list, momentum: float, seed: int) -> None:
    averages, params = arrays(target, shapes, seed), arrays(target, shapes, seed + 10)
    expected = [tf.constant(a) * momentum + tf.constant(p) * (1 - momentum) for a, p in zip(averages, params)]
    before = [p.copy() for p in params]
    target.ops.exponential_average_(averages, params, momentum)
    check_all(target, averages, expected)
    check_all(target, params, before)


@update_cases
@given(shapes=shapes, limit=limits, seed=seeds)
def test_clip_by_value_equals_tensorflow(target: Target, shapes: list, limit: float, seed: int) -> None:
    grads = arrays(target, shapes, seed)
    expected = [tf.clip_by_value(g, -limit, limit) for g in grads]
    target.ops.clip_by_value_(grads, limit)
    check_all(target, grads, expected)


@update_cases
@given(shapes=shapes, limit=limits, seed=seeds)
def test_clip_by_norm_equals_tensorflow(target: Target, shapes: list, limit: float, seed: int) -> None:
    grads = arrays(target, shapes, seed)
    expected = [tf.clip_by_norm(g, limit) for g in grads]
    target.ops.clip_by_norm_(grads, limit)
    check_all(target, grads, expected)


@update_cases
@given(shapes=shapes, limit=limits, seed=seeds)
def test_clip_by_global_norm_equals_tensorflow(target: Target, shapes: list, limit: float, seed: int) -> None:
    grads = arrays(target, shapes, seed)
    expected, _ = tf.clip_by_global_norm([tf.constant(g) for g in grads], limit)
    target.ops.clip_by_global_norm_(grads, limit)
    check_all(target, grads, expected)


@pytest.mark.parametrize("size", around(RUN))
@pytest.mark.parametrize("name", ["clip_by_norm_", "clip_by_global_norm_"])
def test_the_last_element_counts(target: Target, name: str, size: int) -> None:
    grad = target.normal(0, size)
    grad[-1] = 1e4  # by far the largest
    expected = grad / np.linalg.norm(grad.astype("float64"))
    getattr(target.ops, name)([grad], 1.0)
    target.check(grad, expected)


@pytest.mark.parametrize("name", ["clip_by_norm_", "clip_by_global_norm_"])
@pytest.mark.parametrize("size", [1e25, 1e-25])
def test_norms_whose_squares_no_float32_holds(name: str, size: float) -> None:
    """The kernels sum in float64; TensorFlow, and the reference's lines in float32, lose such a gradient."""
    target = Target("numba", "float32")
    grad = target.normal(0, 100) * target.normal(0, 1).dtype.type(size)
    exact = grad.astype("float64")
    limit = 0.1 * size
    getattr(target.ops, name)([grad], limit)
    np.testing.assert_allclose(grad, exact / np.linalg.norm(exact) * limit, rtol=1e-5)


@pytest.mark.parametrize("name", ["clip_by_norm", "clip_by_global_norm"])
def test_a_norm_that_is_no_number_is_not_hidden_by_clipping(target: Target, name: str) -> None:
    """Every gradient that was to be divided by it is lost, too: the weights must not go on as if nothing had been."""
    grads = [target.normal(0, 3, 2), target.normal(1, 4)]
    grads[0][1, 1] = np.nan
    if name == "clip_by_norm":
        expected = [tf.clip_by_norm(g, 1.0) for g in grads]
    else:
        expected, _ = tf.clip_by_global_norm([tf.constant(g) for g in grads], 1.0)
    getattr(target.ops, f"{name}_")(grads, 1.0)
    check_all(target, grads, expected)
    assert np.isnan(grads[0]).all()
    assert np.isnan(grads[1]).all() == (name == "clip_by_global_norm")


def test_clipping_leaves_zeros_alone(target: Target) -> None:
    """A norm of 0 is divided by nowhere."""
    for clip in (target.ops.clip_by_value_, target.ops.clip_by_norm_, target.ops.clip_by_global_norm_):
        grads = [np.zeros((3, 4), target.dtype), np.zeros(5, target.dtype)]
        clip(grads, 1.0)
        assert not any(g.any() for g in grads)


@update_cases
@given(
    shape=shape,
    l1=strengths,
    l2=strengths,
    zeros=st.booleans(),
    seed=seeds,
)
def test_l1_l2_equals_tensorflow(target: Target, shape: Sequence[int], l1: float, l2: float, zeros: bool, seed: int) -> None:
    """The slope of |p| at 0 is 0."""
    param = (target.few_values if zeros else target.normal)(seed, *shape)
    grad = target.normal(seed + 1, *shape)
    p = tf.constant(param)
    with tf.GradientTape() as tape:
        tape.watch(p)
        penalty = l1 * tf.reduce_sum(tf.abs(p)) + l2 * tf.reduce_sum(tf.square(p))
    expected = grad + tape.gradient(penalty, p)
    actual = target.ops.l1_l2_penalty(param, l1, l2)
    assert np.shape(actual) == ()
    np.testing.assert_allclose(float(actual), float(penalty), rtol=1e-5 if target.dtype == "float32" else 1e-12)
    target.ops.l1_l2_gradient_(grad, param, l1, l2)
    target.check(grad, expected, scale=1)


@gradient_cases
@given(rows=st.integers(2, 6), columns=st.integers(1, 6), seed=seeds)
def test_orthogonal_equals_keras(target: Target, rows: int, columns: int, seed: int) -> None:
    target.skip_reference_s_lines("orthogonal_penalty")
    param, grad = target.normal(seed, rows, columns), target.normal(seed + 1, rows, columns)
    p = tf.constant(param)
    with tf.GradientTape() as tape:
        tape.watch(p)
        directions = p / tf.norm(p, axis=1, keepdims=True)
        cosines = tf.linalg.set_diag(directions @ tf.transpose(directions), tf.zeros(rows, p.dtype))
        penalty = 0.5 * tf.reduce_sum(tf.abs(cosines)) / (rows * (rows - 1))
    expected = grad + tape.gradient(penalty, p)
    actual = target.ops.orthogonal_penalty(param, 0.5, 1e-7)
    np.testing.assert_allclose(float(actual), float(penalty), rtol=1e-5 if target.dtype == "float32" else 1e-12)
    target.ops.orthogonal_gradient_(grad, param, 0.5, 1e-7)
    if columns > 1:  # rows of one number are parallel: a cosine of 1 that is rounded has any slope times 0
        target.check(grad, expected, scale=1)


@update_cases
@given(shape=shape, seed=seeds)
def test_accumulate_adds_in_place(target: Target, shape: Sequence[int], seed: int) -> None:
    total, value = target.normal(seed, *shape), target.normal(seed + 1, *shape)
    expected = tf.add(total, value)
    target.ops.accumulate_(total, value)
    target.check(total, expected)
