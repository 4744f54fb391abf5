"""Optimizers against Keras's: trajectories and states step for step, configs, and the words of errors."""

from __future__ import annotations

import copy
import inspect
import re

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import backends, config, constraints, optimizers, registry
from minicnn.backends import memory
from minicnn.callbacks import LearningRateScheduler
from minicnn.layers import Dense, Input
from minicnn.losses import Loss
from minicnn.models import Sequential
from minicnn.optimizers import schedules
from minicnn.variables import Variable
from tests.drawn import drawn_cases

SHAPES = {"kernel": (3, 2), "bias": (2,), "gamma": (), "filters": (2, 3, 1, 2)}

BETAS = {
    "learning_rate": st.floats(1e-3, 0.1),
    "beta_1": st.sampled_from([0.9, 0.5]),
    "beta_2": st.sampled_from([0.999, 0.9]),
    "epsilon": st.sampled_from([1e-7, 1e-2]),
}
RULES = {
    "Adagrad": st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-3, 0.5),
            "initial_accumulator_value": st.sampled_from([0.1, 0.0]),
            "epsilon": st.just(1e-7),
        }
    ),
    "Adadelta": st.fixed_dictionaries({"learning_rate": st.sampled_from([1.0, 0.001]), "rho": st.sampled_from([0.95, 0.5])}),
    "Adamax": st.fixed_dictionaries(BETAS),
    "Nadam": st.fixed_dictionaries(BETAS),
    "Lamb": st.fixed_dictionaries(BETAS),
    "Lion": st.fixed_dictionaries({key: value for key, value in BETAS.items() if key != "epsilon"}),
    "Ftrl": st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-2, 0.5),
            "initial_accumulator_value": st.sampled_from([0.125, 0.5]),
            "learning_rate_power": st.sampled_from([-0.5, -0.3, 0.0]),
            "l1_regularization_strength": st.sampled_from([0.0, 0.1]),
            "l2_regularization_strength": st.sampled_from([0.0, 0.1]),
            "l2_shrinkage_regularization_strength": st.sampled_from([0.0, 0.1]),
            "beta": st.sampled_from([0.0, 0.1]),
        }
    ),
    "Muon": st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-3, 0.1),
            "nesterov": st.booleans(),
            "rms_rate": st.sampled_from([0.2, None]),
            "adam_lr_ratio": st.sampled_from([1, 0.5]),
            "exclude_layers": st.sampled_from([None, ["ker"]]),
            "adam_weight_decay": st.sampled_from([0.004, None]),
        }
    ),
    "Adafactor": st.fixed_dictionaries(
        {
            "learning_rate": st.sampled_from([1e-3, 0.5, 2.0]),  # also above 1 / sqrt(step), which bounds it
            "beta_2_decay": st.sampled_from([-0.8, -0.5]),
            "clip_threshold": st.sampled_from([1.0, 0.5]),
        }
    ),
    "SGD": st.fixed_dictionaries(
        {"learning_rate": st.floats(1e-3, 0.5), "momentum": st.sampled_from([0.0, 0.5, 0.9]), "nesterov": st.booleans()}
    ),
    "RMSprop": st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-3, 0.1),
            "rho": st.sampled_from([0.9, 0.5]),
            "momentum": st.sampled_from([0.0, 0.7]),
            "epsilon": st.sampled_from([1e-7, 1e-2]),
            "centered": st.booleans(),
        }
    ),
    "Adam": st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-3, 0.1),
            "beta_1": st.sampled_from([0.9, 0.5]),
            "beta_2": st.sampled_from([0.999, 0.9]),
            "amsgrad": st.booleans(),
        }
    ),
    "AdamW": st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-3, 0.1),
            "weight_decay": st.sampled_from([0.004, 0.1]),
            "beta_1": st.just(0.9),
            "beta_2": st.just(0.999),
        }
    ),
}
COMMON = st.fixed_dictionaries(
    {},
    optional={
        "weight_decay": st.sampled_from([0.01, 0.2]),
        "loss_scale_factor": st.just(4.0),
        "gradient_accumulation_steps": st.sampled_from([2, 3]),
        "use_ema": st.just(True),
        "ema_momentum": st.sampled_from([0.9, 0.5]),
        "ema_overwrite_frequency": st.sampled_from([None, 1, 2, 3]),
    },
)
CLIPS = st.sampled_from([{}, {"clipnorm": 0.5}, {"clipvalue": 0.3}, {"global_clipnorm": 0.5}])


@pytest.fixture
def double():
    """float64 throughout, here and in Keras."""
    config.set_floatx("float64")
    keras.config.set_floatx("float64")
    yield
    config.set_floatx("float32")
    keras.config.set_floatx("float32")


def variables_of(cls, values, constraint=lambda name: None):
    made = []
    for name, value in values.items():
        variable = cls(value, dtype=str(value.dtype), name=name)
        variable.constraint = constraint(name)
        made.append(variable)
    return made


def exactly(options):
    """Numbers as float64, since Keras rounds Python's to float32 before it computes."""
    return {key: np.float64(value) if isinstance(value, float) else value for key, value in options.items()}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", RULES)
@drawn_cases(12)
@given(data=st.data())
def test_five_steps_are_keras(name, data):
    defaults = {key: one.default for key, one in inspect.signature(getattr(keras.optimizers, name)).parameters.items()}
    defaults = {key: value for key, value in defaults.items() if isinstance(value, float)}
    options = exactly({**defaults, **data.draw(COMMON), **data.draw(RULES[name]), **data.draw(CLIPS)})
    rates = [options["learning_rate"]] * 2
    if data.draw(st.integers(0, 3)) == 0:
        # In a staircase of halves, which float32 holds: Keras computes a schedule in it.
        decays = [module.ExponentialDecay for module in (schedules, keras.optimizers.schedules)]
        rates = [decay(rates[0], 2, np.float64(0.5), staircase=True) for decay in decays]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shapes = SHAPES | {"kernel": data.draw(st.sampled_from([(3, 2), (2, 3)]))}  # tall or wide
    values = {key: rng.normal(size=shape) for key, shape in shapes.items()}
    values["bias"] *= data.draw(st.integers(0, 1))  # biases begin at 0
    ours = getattr(optimizers, name)(**options | {"learning_rate": rates[0]})
    theirs = getattr(keras.optimizers, name)(**options | {"learning_rate": rates[1]})
    here, there = variables_of(Variable, values), variables_of(keras.Variable, values)
    atol = 1e-7 if name == "Nadam" else 1e-9  # Keras's 0.96 is float32's, 2e-8 beside it: with that, ours has its very numbers
    if data.draw(st.booleans()):
        ours.exclude_from_weight_decay(var_names=["bias"])
        theirs.exclude_from_weight_decay(var_names=["bias"])
    for _ in range(5):
        grads = [rng.normal(size=shape) for shape in shapes.values()]
        copies = [np.array(grad) for grad in grads]
        ours.apply_gradients(zip(grads, here))
        theirs.apply_gradients(zip([keras.ops.convert_to_tensor(grad) for grad in grads], there))
        for grad, copied in zip(grads, copies):
            np.testing.assert_array_equal(grad, copied)
        for variable, expected in zip(here, there):
            np.testing.assert_allclose(variable.numpy(), expected.numpy(), rtol=1e-7, atol=atol)
    for variable, expected in zip(ours.variables, theirs.variables, strict=True):
        assert variable.shape == tuple(expected.shape)
        if "/" in expected.path and not re.fullmatch(r"variable(_\d+)?", expected.name):  # others have no names of their own
            assert variable.name == expected.name
            assert variable.path.split("/")[1:] == expected.path.split("/")[1:]
        np.testing.assert_allclose(variable.numpy(), expected.numpy(), rtol=1e-7, atol=atol)
    ours.finalize_variable_values(here)
    theirs.finalize_variable_values(there)
    for variable, expected in zip(here, there):
        np.testing.assert_allclose(variable.numpy(), expected.numpy(), rtol=1e-7, atol=atol)


@pytest.mark.parametrize("name", RULES)
def test_float32_stays_with_keras_and_in_float32(name):
    rng = np.random.default_rng(1)
    values = {key: rng.normal(size=shape).astype("float32") for key, shape in SHAPES.items()}
    ours, theirs = getattr(optimizers, name)(), getattr(keras.optimizers, name)()
    here, there = variables_of(Variable, values), variables_of(keras.Variable, values)
    for _ in range(5):
        grads = [rng.normal(size=shape).astype("float32") for shape in SHAPES.values()]
        ours.apply(grads, here)
        theirs.apply([keras.ops.convert_to_tensor(grad) for grad in grads], there)
    for variable, expected in zip([*here, *ours.variables], [*there, *theirs.variables], strict=True):
        assert variable.dtype == str(expected.dtype)
        np.testing.assert_allclose(variable.numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_schedule_free_steps_are_the_paper_s(warmup_steps):
    """Keras's on TensorFlow reads z after it has changed it, where the paper (and Keras on JAX) takes the old one."""
    rng = np.random.default_rng(4)
    start, beta_1, beta_2 = rng.normal(size=(3, 2)), 0.8, 0.9
    optimizer = optimizers.ScheduleFreeAdamW(0.1, beta_1, beta_2, 1e-3, warmup_steps)
    variable = Variable(start, name="w")
    x, y, z, v = start, start, start, 0
    for t in range(1, 6):
        grad = rng.normal(size=(3, 2))
        v = beta_2 * v + (1 - beta_2) * grad**2
        z = z - 0.1 * min(t / (warmup_steps or 1), 1) * grad / (np.sqrt(v / (1 - beta_2**t)) + 1e-3)
        x = (1 - 1 / t) * x + z / t
        y = (1 - beta_1) * z + beta_1 * x
        optimizer.apply([grad], [variable])
        np.testing.assert_allclose(variable, y, rtol=1e-10)
    assert [each.name for each in optimizer.variables] == ["iteration", "learning_rate", "w_momentum", "w_velocity"]


@pytest.mark.parametrize("name", [*RULES, "ScheduleFreeAdamW"])
def test_configs_are_keras(name):
    ours, theirs = getattr(optimizers, name)(name="o"), getattr(keras.optimizers, name)(name="o")
    assert ours.get_config() == theirs.get_config()
    assert optimizers.serialize(ours) == keras.optimizers.serialize(theirs)
    for again in (optimizers.deserialize(keras.optimizers.serialize(theirs)), optimizers.get(optimizers.serialize(ours))):
        assert type(again) is type(ours)
        assert again.get_config() == ours.get_config()
    decay = keras.optimizers.schedules.CosineDecay(0.1, 10, warmup_target=0.5, warmup_steps=3)
    scheduled = optimizers.deserialize(keras.optimizers.serialize(getattr(keras.optimizers, name)(decay)))
    assert float(scheduled.learning_rate) == pytest.approx(0.1)
    assert scheduled.get_config()["learning_rate"] == keras.optimizers.schedules.serialize(decay)


@pytest.mark.parametrize(
    "name", [*(name for name in RULES if name != "Lamb"), "sgd", "ADAM", "rmsprop", "adamw", "nadam", "adadelta"]
)
def test_names_are_keras(name):
    assert type(optimizers.get(name)).__name__ == type(keras.optimizers.get(name)).__name__


def test_automatic_names_are_keras():
    registry.clear_names()
    keras.utils.clear_session()
    for name in (*RULES, "ScheduleFreeAdamW", "Adam"):
        assert getattr(optimizers, name)().name == getattr(keras.optimizers, name)().name


def test_get_takes_instances_and_refuses_the_rest_by_name():
    optimizer = optimizers.SGD()
    assert optimizers.get(optimizer) is optimizer
    assert optimizers.get(None) is None
    for bad in ("adagradient", 3, {"class_name": "Nothing", "config": {}}):
        with pytest.raises(ValueError, match="Could not interpret optimizer identifier"):
            optimizers.get(bad)


def step(optimizer, variable, gradient=1.0):
    optimizer.apply_gradients([(np.full(variable.shape, gradient, "float32"), variable)])


def test_the_rate_is_a_number_a_schedule_or_a_callable_and_settable():
    variable = Variable(np.zeros(2, "float32"))
    optimizer = optimizers.SGD(1)
    step(optimizer, variable)
    optimizer.learning_rate = 0.5
    step(optimizer, variable)
    optimizer.lr = 0.25
    assert float(optimizer.lr) == float(optimizer.learning_rate.numpy()) == 0.25
    step(optimizer, variable)
    np.testing.assert_array_equal(variable, [-1.75, -1.75])
    optimizer.learning_rate.assign(2.0)
    step(optimizer, variable)
    np.testing.assert_array_equal(variable, [-3.75, -3.75])
    optimizer.learning_rate = schedules.ExponentialDecay(1.0, 4, 0.5)  # at step 4: half
    step(optimizer, variable)
    np.testing.assert_array_equal(variable, [-4.25, -4.25])
    assert [each.name for each in optimizer.variables] == ["iteration"]
    called = optimizers.SGD(lambda: 0.125)
    step(called, variable)
    np.testing.assert_array_equal(variable, [-4.375, -4.375])


def test_older_programs_lr_and_decay():
    variable, expected = Variable(np.zeros(1, "float32")), 0.0
    optimizer = optimizers.SGD(lr=0.5, decay=0.1, momentum=0)
    for iteration in range(4):
        assert float(optimizer.lr) == 0.5
        expected -= 0.5 / (1 + 0.1 * iteration)
        step(optimizer, variable)
    np.testing.assert_allclose(variable, [expected], rtol=1e-6)
    assert float(optimizers.Adam(lr=0.25, decay=0).learning_rate) == 0.25
    both = optimizers.SGD(schedules.ExponentialDecay(0.5, 1, 0.5), decay=0.1)
    for iteration in range(3):
        expected -= 0.5 * 0.5**iteration / (1 + 0.1 * iteration)
        assert float(both.scheduled_rate(iteration)) == pytest.approx(0.5 * 0.5**iteration / (1 + 0.1 * iteration))
        step(both, variable)
    np.testing.assert_allclose(variable, [expected], rtol=1e-6)
    assert "decay" not in optimizers.Adam(decay=0).get_config()


def test_a_rate_that_is_set_goes_on_decaying():
    """In older programs `LearningRateScheduler` and `decay` work together: the one sets what the other divides."""
    variable = Variable(np.zeros(1, "float32"))
    optimizer = optimizers.SGD(lr=0.5, decay=0.1)
    step(optimizer, variable)
    optimizer.learning_rate = 0.2
    again = optimizers.SGD.from_config(optimizer.get_config())
    step(optimizer, variable)
    np.testing.assert_allclose(variable, [-0.5 - 0.2 / 1.1], rtol=1e-6)
    again.build([variable])
    again.set_weights(optimizer.variables)
    step(again, variable)
    np.testing.assert_allclose(variable, [-0.5 - 0.2 / 1.1 - 0.2 / 1.2], rtol=1e-6)

    model = Sequential([Input((1,)), Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizers.SGD(lr=0.5, decay=0.1), the_prediction())
    halves = LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=2, epochs=2, verbose=0, callbacks=[halves])
    assert history.history["learning_rate"] == [0.25, 0.125]
    expected = -(0.25 / 1 + 0.25 / 1.1 + 0.125 / 1.2 + 0.125 / 1.3)
    np.testing.assert_allclose(model.get_weights()[0], [[expected]], rtol=1e-6)


def the_prediction():
    """A loss that is the prediction itself, so that the gradient is 1 for ever."""

    class Prediction(Loss):
        def call(self, y_true, y_pred):
            return np.mean(y_pred, axis=-1)

        def gradient(self, y_true, y_pred):
            return np.ones_like(y_pred)

    return Prediction()


def test_iterations_count_calls_or_updates():
    variable = Variable(np.zeros(1, "float32"))
    for optimizer, updates in ((optimizers.Adam(), 5), (optimizers.Adam(gradient_accumulation_steps=2), 2)):
        for _ in range(5):
            step(optimizer, variable)
        assert int(optimizer.iterations) == updates


def test_a_constraint_holds_after_every_update():
    values = {"kernel": np.full((3, 2), 2.0), "bias": np.full(2, -0.5)}
    ours = variables_of(Variable, values, {"kernel": constraints.MaxNorm(1.0), "bias": constraints.NonNeg()}.get)
    theirs = variables_of(
        keras.Variable, values, {"kernel": keras.constraints.MaxNorm(1.0), "bias": keras.constraints.NonNeg()}.get
    )
    grads = [np.ones(value.shape) for value in values.values()]
    optimizers.SGD(0.1).apply(grads, ours)
    keras.optimizers.SGD(0.1).apply([keras.ops.convert_to_tensor(grad) for grad in grads], theirs)
    for variable, expected in zip(ours, theirs):
        np.testing.assert_allclose(variable.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("overwrite", [None, 1, 2, 3])
def test_averages_are_of_weights_before_they_are_constrained(overwrite):
    """As in Keras, which averages with the update and constrains after it."""
    found = []
    for module, cls, as_grad in ((None, Variable, np.asarray), (keras, keras.Variable, keras.ops.convert_to_tensor)):
        norm = (keras.constraints if module else constraints).MaxNorm(1.0)
        variable = cls(np.full((3, 2), 2.0, "float32"), dtype="float32", name="kernel")
        variable.constraint = norm
        options = {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": overwrite}
        optimizer = (keras.optimizers if module else optimizers).SGD(0.1, **options)
        rng = np.random.default_rng(3)
        for _ in range(3):
            optimizer.apply([as_grad(rng.normal(size=(3, 2)).astype("float32"))], [variable])
            found.append(variable.numpy())
        optimizer.finalize_variable_values([variable])
        found.append(variable.numpy())
    for ours, expected in zip(found[:4], found[4:], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_state_goes_from_one_optimizer_to_another():
    rng = np.random.default_rng(0)
    grads = rng.normal(size=(4, 3)).astype("float32")
    one, two = Variable(np.zeros(3, "float32"), name="w"), Variable(np.zeros(3, "float32"), name="w")
    first, second = optimizers.Adam(), optimizers.Adam()
    for grad in grads[:2]:
        first.apply([grad], [one])
    two.assign(one)
    store = {}
    first.save_own_variables(store)
    second.build([two])
    second.load_own_variables(store)
    for grad in grads[2:]:
        first.apply([grad])
        second.apply([grad])
    np.testing.assert_array_equal(one, two)
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        optimizers.SGD().load_own_variables(store)
    third = optimizers.Adam()
    with pytest.raises(ValueError, match=r"You are calling `set_weights\(\)` on an optimizer that has not yet been built"):
        third.set_weights([])
    third.build([Variable(np.zeros(3, "float32"))])
    third.set_weights([variable.numpy() for variable in first.variables])
    assert int(third.iterations) == 4
    values = [variable.numpy() for variable in third.variables]
    with pytest.raises(ValueError, match=f"Optimizer '{third.name}' has {len(values)} variables. Received: a list of 1"):
        third.set_weights([7])
    with pytest.raises(ValueError, match=r"not compatible with provided weight shape \(2,\)"):
        third.set_weights([np.asarray(7), *values[1:-1], np.zeros(2)])
    assert int(third.iterations) == 4  # nothing was set


def test_missing_gradients_leave_their_variables_alone():
    one, two = Variable(np.zeros(2, "float32"), name="one"), Variable(np.zeros(2, "float32"), name="two")
    optimizer = optimizers.SGD(1.0, momentum=0.5)
    with pytest.warns(UserWarning, match=r"Gradients do not exist for variables \['one'\]"):
        optimizer.apply([None, np.ones(2)], [one, two])
    np.testing.assert_array_equal(one, [0, 0])
    np.testing.assert_array_equal(two, [-1, -1])


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam"])
def test_gradients_may_be_read_only(name):
    """As those are that another library hands over."""
    variables = [Variable(np.zeros(2, "float32")) for _ in range(2)]
    for variable, grad in zip(variables, (np.ones(2, "float32"), np.broadcast_to(np.float32(1), (2,)))):
        getattr(optimizers, name)().apply([grad], [variable])
    np.testing.assert_array_equal(*variables)


def test_lists_that_do_not_match_are_keras_errors():
    one, two = Variable(np.zeros(2, "float32")), Variable(np.zeros(2, "float32"))
    optimizer, grad = optimizers.SGD(), np.ones(2, "float32")
    with pytest.raises(ValueError, match="When passing `grads` without `variables`, the optimizer must already be built"):
        optimizer.apply([grad])
    optimizer.build([one])
    with pytest.raises(
        ValueError, match=r"gradients must match `optimizer.variables` one-to-on. Received a list of 2 gradients"
    ):
        optimizer.apply([grad, grad])
    with pytest.raises(ValueError, match=r"must match one-to-one. Received 2 gradients and 1 variables"):
        optimizer.apply([grad, grad], [one])
    with pytest.raises(
        ValueError, match=r"Unknown variable: <Variable path=.*only be called for the variables it was originally"
    ):
        optimizer.apply([grad], [two])
    with pytest.raises(ValueError, match=r"No gradients provided for any variable."):
        optimizer.apply([None])
    with pytest.raises(ValueError, match=r"must have its shape \(2,\). Received: \(3,\)"):
        optimizer.apply([np.ones(3)])
    optimizer.apply([])
    assert int(optimizer.iterations) == 0
    np.testing.assert_array_equal(one, [0, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": "fast"}, "Argument `learning_rate` should be float, or an instance of LearningRateSchedule"),
        ({"momentum": 1.5}, r"`momentum` must be a float between \[0, 1\]"),
        ({"speed": 3}, r"Argument\(s\) not recognized: {'speed': 3}"),
        ({"clipnorm": 1.0, "clipvalue": 1.0}, "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set"),
        ({"use_ema": True, "ema_momentum": 2}, r"`ema_momentum` must be in the range \[0, 1\]"),
        ({"use_ema": True, "ema_overwrite_frequency": 0.5}, "`ema_overwrite_frequency` must be an integer >= 1 or None"),
        ({"use_ema": True, "ema_overwrite_frequency": 1.5}, "`ema_overwrite_frequency` must be an integer >= 1 or None"),
        ({"gradient_accumulation_steps": 1}, "`gradient_accumulation_steps` must be an integer >= 2"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimizers.SGD(**arguments)


def test_more_bad_arguments_are_named():
    with pytest.raises(ValueError, match="Argument `weight_decay` must be a float"):
        optimizers.AdamW(weight_decay=None)
    optimizer = optimizers.SGD()
    optimizer.build([])
    with pytest.raises(ValueError, match=r"`exclude_from_weight_decay\(\)` can only be configured before"):
        optimizer.exclude_from_weight_decay(var_names=["bias"])

    class Forgetful(optimizers.Optimizer):
        def __init__(self):
            self.slot_ = self.add_variable(())

    with pytest.raises(RuntimeError, match="In optimizer 'Forgetful', you forgot to call"):
        Forgetful()
    with pytest.raises(NotImplementedError, match="must implement `update_step"):
        step(optimizers.Optimizer(0.1), Variable(np.zeros(1, "float32")))


class Signed(optimizers.Optimizer):
    """Sign descent with a slot, in the form that Keras's documentation shows."""

    def __init__(self, learning_rate=0.1, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)

    def build(self, variables):
        super().build(variables)
        self.sums = [self.add_variable_from_reference(reference_variable=variable, name="sum") for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        total = self.sums[self._get_variable_index(variable)]
        self.assign_add(total, gradient)
        self.assign_sub(variable, learning_rate * np.sign(total))


def test_a_users_optimizer_runs():
    variable = Variable(np.zeros(2, "float32"), name="w")
    optimizer = Signed(0.5, clipvalue=1.0)
    optimizer.apply([np.array([3.0, -2.0])], [variable])
    optimizer.apply([np.array([-0.5, -2.0])])
    np.testing.assert_array_equal(variable, [-1.0, 1.0])
    np.testing.assert_array_equal(optimizer.sums[0], [0.5, -2.0])
    assert [each.name for each in optimizer.variables] == ["iteration", "learning_rate", "w_sum"]


def test_weights_are_excluded_from_decay_by_what_stands_anywhere_in_their_names():
    names = ["bias", "the_bias", "biased", "kernel", "scale"]
    here, there = [[kind(np.ones(2, "float32"), name=name) for name in names] for kind in (Variable, keras.Variable)]
    for module, variables in ((optimizers, here), (keras.optimizers, there)):
        optimizer = module.SGD(0.5, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_list=[variables[3]], var_names=["bias"])
        optimizer.apply_gradients([(np.zeros(2, "float32"), variable) for variable in variables])
    assert [float(variable[0]) for variable in here] == [float(variable[0]) for variable in there] == [1, 1, 1, 1, 0.75]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Ftrl", {"initial_accumulator_value": -1}, "`initial_accumulator_value` needs to be positive or zero."),
        ("Ftrl", {"learning_rate_power": 1}, "`learning_rate_power` needs to be negative or zero."),
        ("Ftrl", {"l1_regularization_strength": -1}, "`l1_regularization_strength` needs to be positive or zero."),
        ("Lion", {"beta_1": 0}, r"Argument `beta_1` must be in the \[0, 1\] range."),
        ("LossScaleOptimizer", {"dynamic": False}, "LossScaleOptimizer no longer supports `dynamic=False`"),
        ("LossScaleOptimizer", {"clipnorm": 1.0}, "LossScaleOptimizer does not support `clipnorm`"),
        ("LossScaleOptimizer", {"speed": 1.0}, "LossScaleOptimizer does not support arguments: `speed`"),
    ],
)
def test_wrong_arguments_get_keras_s_words(name, arguments, message):
    for module in (optimizers, keras.optimizers):
        inner = [module.SGD()] if name == "LossScaleOptimizer" else []
        with pytest.raises(ValueError, match=message):
            getattr(module, name)(*inner, **arguments)


def test_a_scaled_loss_skips_what_overflows_and_grows_after_good_steps():
    rng = np.random.default_rng(2)
    values = {key: rng.normal(size=shape).astype("float32") for key, shape in SHAPES.items()}
    ours, theirs = (
        m.LossScaleOptimizer(m.Adam(0.1), initial_scale=8.0, dynamic_growth_steps=2) for m in (optimizers, keras.optimizers)
    )
    here, there = variables_of(Variable, values), variables_of(keras.Variable, values)
    for step_number in range(7):
        grads = [rng.normal(size=shape).astype("float32") for shape in SHAPES.values()]
        if step_number in (1, 4):
            grads[1][0] = np.inf if step_number == 1 else np.nan
        ours.apply_gradients(zip([ours.scale_loss(grad) for grad in grads], here))
        theirs.apply_gradients(zip([theirs.scale_loss(keras.ops.convert_to_tensor(grad)) for grad in grads], there))
        for variable, expected in zip([*here, *ours.variables], [*there, *theirs.variables], strict=True):
            assert (variable.name, np.dtype(variable.dtype).kind) == (expected.name, np.dtype(expected.dtype).kind)
            np.testing.assert_allclose(variable.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert (float(ours.dynamic_scale), int(ours.iterations), float(ours.learning_rate)) == (8.0, 5, np.float32(0.1))
    ours.learning_rate = 0.5
    assert float(ours.inner_optimizer.learning_rate) == 0.5
    again = optimizers.deserialize(keras.optimizers.serialize(theirs))
    assert again.get_config()["inner_optimizer"]["config"] == theirs.get_config()["inner_optimizer"]["config"]
    assert keras.optimizers.deserialize(optimizers.serialize(ours)).initial_scale == 8.0
    again.build(here)
    again.set_weights([variable.numpy() for variable in theirs.variables])
    assert float(again.dynamic_scale) == 8.0


def test_a_scaled_loss_leaves_a_variable_without_a_gradient_alone():
    weight, unused = Variable(np.ones(3, "float32")), Variable(np.ones(2, "float32"))
    optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(0.5), initial_scale=8.0)
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        optimizer.apply([[8.0, 16.0, 0.0], None], [weight, unused])  # numbers in a list are an array
    np.testing.assert_array_equal(weight.numpy(), [0.5, 0.0, 1.0])
    np.testing.assert_array_equal(unused.numpy(), [1.0, 1.0])
    assert (int(optimizer.iterations), float(optimizer.dynamic_scale)) == (1, 8.0)


def test_a_model_trains_with_a_scaled_loss_as_without():
    found = []
    for scaled in (False, True):
        model = Sequential([Input((3,)), Dense(2, kernel_initializer="ones")])
        inner = optimizers.SGD(0.1, momentum=0.5)
        model.compile(optimizers.LossScaleOptimizer(inner) if scaled else inner, "mse")
        model.fit(np.ones((8, 3)), np.zeros((8, 2)), batch_size=4, epochs=2, verbose=0)
        found.append(model.get_weights())
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)  # a power of two


STATEFUL = {
    **{name: lambda m, name=name: getattr(m, name)(0.05) for name in (*RULES, "ScheduleFreeAdamW")},
    "Adam, accumulated": lambda m: m.Adam(0.05, gradient_accumulation_steps=2),
    "Nadam with a schedule": lambda m: m.Nadam(m.schedules.CosineDecay(0.05, 9), clipnorm=1.0),
    "groups of variables": lambda m: m.MultiOptimizer(
        m.OptimizerMap(m.SGD(0.05, momentum=0.5), {".*bias": m.Adam(m.schedules.CosineDecay(0.05, 9)), "none": m.RMSprop()})
    ),
    "a scaled loss": lambda m: m.LossScaleOptimizer(m.Lion(0.05), dynamic_growth_steps=3),
}


def trained(k, make, epochs, model=None, initial_epoch=0):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)).astype("float32"), rng.normal(size=(12, 2)).astype("float32")
    if model is None:
        model = k.Sequential([k.layers.Input((3,)), k.layers.Dense(4, activation="tanh"), k.layers.Dense(2)])
        model.compile(make(k.optimizers), "mse", run_eagerly=True)  # which saves Keras the tracing
    model.fit(x, y, batch_size=4, epochs=epochs, initial_epoch=initial_epoch, verbose=0, shuffle=k is minicnn)
    return model


@pytest.mark.parametrize("name", STATEFUL)
def test_a_model_that_was_saved_goes_on_with_the_same_bits(name, tmp_path):
    minicnn.set_random_seed(5)
    expected = trained(minicnn, STATEFUL[name], 4)
    minicnn.set_random_seed(5)
    trained(minicnn, STATEFUL[name], 2).save(tmp_path / "m.keras")
    resumed = trained(minicnn, None, 4, minicnn.models.load_model(tmp_path / "m.keras"), initial_epoch=2)
    for one, other in zip(resumed.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(resumed.optimizer.variables, expected.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=other.path)


@pytest.mark.parametrize("name", STATEFUL)
def test_state_travels_to_keras_and_back(name, tmp_path):
    ours, theirs = trained(minicnn, STATEFUL[name], 1), trained(keras, STATEFUL[name], 1)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    loaded = keras.models.load_model(tmp_path / "ours.keras"), minicnn.models.load_model(tmp_path / "theirs.keras")
    for found, expected in zip(loaded, (ours, theirs)):
        assert type(found.optimizer).__name__ == type(expected.optimizer).__name__
        for one, other in zip(found.optimizer.variables, expected.optimizer.variables, strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other), err_msg=other.path)


PATHS = ["a/kernel", "a/beta", "b/kernel", "b/beta"]
VALUES = dict(zip(PATHS, np.random.default_rng(8).normal(size=(4, 3)).astype("float32")))


def in_groups(module, make=lambda module: module.SGD(0.1, momentum=0.9)):
    """Optimizers by whole paths, patterns, and default."""
    by_path = module.OptimizerMap(module.RMSprop(0.1), {".*/beta": make(module)})
    by_path["a/kernel"] = module.Adam(0.01, weight_decay=0.1)
    by_path["a/.*"] = module.Adagrad(0.1)
    del by_path["a/.*"]
    assert list(by_path) == [".*/beta", "a/kernel"]
    return by_path


@pytest.mark.parametrize("chosen", ["by path", "by a function"])
def test_groups_of_variables_are_updated_as_in_keras(chosen):
    found = []
    for module, kind in ((optimizers, Variable), (keras.optimizers, keras.Variable)):
        variables = [kind(value, name=path.replace("/", "_")) for path, value in VALUES.items()]
        by_path = in_groups(module)
        path_of = dict(zip(map(id, variables), PATHS))
        optimizer = module.MultiOptimizer(lambda variable, by_path=by_path, path_of=path_of: by_path[path_of[id(variable)]])
        if chosen == "by path":
            for variable, path in zip(variables, PATHS):
                setattr(variable, "path" if kind is Variable else "_path", path)
            optimizer = module.MultiOptimizer(by_path, name="groups")
            assert optimizer.optimizers[-1] is by_path.default_optimizer
        rng = np.random.default_rng(1)
        for _ in range(4):
            grads = [kind(rng.normal(size=3).astype("float32")).value for _ in variables]
            optimizer.apply_gradients(zip(grads, variables))
        assert [type(inner).__name__ for inner in optimizer.optimizers] == (
            ["SGD", "Adam", "RMSprop"] if chosen == "by path" else ["Adam", "SGD", "RMSprop"]
        )
        found.append([np.asarray(variable) for variable in [*variables, *optimizer.variables]])
        assert int(optimizer.iterations) == 4
        with pytest.raises(AttributeError, match="Learning rate cannot be accessed on a MultiOptimizer"):
            optimizer.learning_rate
        with pytest.raises(AttributeError, match="Learning rate cannot be set on a MultiOptimizer"):
            optimizer.learning_rate = 0.1
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_groups_of_variables_have_keras_s_configs_and_errors():
    ours, theirs = (module.MultiOptimizer(in_groups(module), 2.0, name="groups") for module in (optimizers, keras.optimizers))
    assert [inner.loss_scale_factor for inner in ours.optimizers] == [2.0] * 3
    assert ours.scale_loss(3.0) == 6.0
    serialized = optimizers.serialize(ours)
    kinds = [one["class_name"] for one in serialized["config"]["optimizer_map"]["config"]["optimizer_map"].values()]
    assert kinds == ["SGD", "Adam"]
    again = keras.optimizers.deserialize(copy.deepcopy(serialized))  # which Keras writes into
    assert [type(one).__name__ for one in again.optimizers] == [type(one).__name__ for one in theirs.optimizers]
    back = optimizers.deserialize(keras.optimizers.serialize(again))
    assert optimizers.serialize(back) == serialized
    for module in (optimizers, keras.optimizers):
        by_path = in_groups(module)
        assert (list(by_path), len(by_path)) == ([".*/beta", "a/kernel"], 2)
        assert type(by_path["x/beta"]).__name__ == "SGD"
        assert by_path["beta"] is by_path.default_optimizer  # a pattern fits a whole path
        by_path[".*/be.*"] = module.SGD()
        with pytest.raises(ValueError, match="Multiple optimizers assigned to variable a/beta"):
            by_path["a/beta"]
        del by_path[".*/be.*"]
        for key, value, message in (
            ("a/kernel", module.SGD(), "already exists in the OptimizerMap"),
            (3, module.SGD(), "key must be a string. Received: 3"),
            ("x", "sgd", "optimizer must be a Keras Optimizer instance. Received: sgd"),
            ("x", module.LossScaleOptimizer(module.SGD()), "optimizer cannot be LossScaleOptimizer"),
            ("x", module.MultiOptimizer(by_path), "optimizer cannot be MultiOptimizer"),
        ):
            with pytest.raises(ValueError, match=message):
                by_path[key] = value
        with pytest.raises(TypeError, match=r"default_optimizer must be a Keras Optimizer instance. Received: sgd"):
            module.OptimizerMap("sgd")
        with pytest.raises(TypeError, match=r"optimizer_map must be a dictionary. Received: \[\]"):
            module.OptimizerMap(module.SGD(), [])
    with pytest.raises(TypeError, match="`optimizer_map` must be an OptimizerMap, or a function"):
        optimizers.MultiOptimizer("sgd")
    variable = Variable(np.ones(2, "float32"), name="w")
    with pytest.raises(ValueError, match=r"Optimizer for variable w is not an Optimizer instance. Received: 'sgd'"):
        optimizers.MultiOptimizer(lambda variable: "sgd").build([variable])
    with pytest.raises(ValueError, match="LossScaleOptimizer cannot be used inside an MultiOptimizer"):
        optimizers.MultiOptimizer(lambda variable: optimizers.LossScaleOptimizer(optimizers.SGD())).build([variable])
    built = optimizers.MultiOptimizer(optimizers.OptimizerMap(optimizers.SGD()))
    built.apply([np.ones(2)], [variable])
    with pytest.raises(ValueError, match="Unknown variable"):
        built.apply([np.ones(2)], [Variable(np.ones(2))])


def test_a_captured_step_is_told_the_rate_of_each_group():
    falling = schedules.PolynomialDecay(1.0, 10, 0.0)
    optimizer = optimizers.MultiOptimizer(optimizers.OptimizerMap(optimizers.SGD(0.25), {"w": optimizers.SGD(falling)}))
    here = [Variable(np.zeros(1, "float32"), name=name) for name in "wv"]
    rates = optimizer.scheduled_rate(5)
    np.testing.assert_allclose(rates, [0.5, 0])  # the other one is a variable
    with optimizer.at_rate(np.array([0.125, 9.0])):
        optimizer.apply([np.ones(1)] * 2, here)
    assert [float(variable[0]) for variable in here] == [-0.125, -0.25]
    optimizer.apply([np.ones(1)] * 2, here)
    assert [float(variable[0]) for variable in here] == [pytest.approx(-0.125 - 0.9), -0.5]
    assert optimizers.MultiOptimizer(optimizers.OptimizerMap(optimizers.SGD(0.25))).scheduled_rate(5) is None


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_coupled_decay_goes_through_the_momentum(options):
    """As the gradient of an L2 penalty would: Keras's steps with g + decay * p."""
    ours = optimizers.SGD(0.1, weight_decay=0.3, decoupled_weight_decay=False, **options)
    theirs = keras.optimizers.SGD(0.1, **options)
    ours.exclude_from_weight_decay(var_names=["bias"])
    here, there = (
        [kind(np.ones(3, "float32"), name=name) for name in ("kernel", "bias")] for kind in (Variable, keras.Variable)
    )
    rng = np.random.default_rng(0)
    for _ in range(5):
        grads = [rng.normal(size=3).astype("float32") for _ in here]
        copies = [grad.copy() for grad in grads]
        ours.apply(grads, here)
        np.testing.assert_array_equal(grads, copies)  # the caller's own
        theirs.apply([grads[0] + np.float32(0.3) * np.asarray(there[0]), keras.ops.convert_to_tensor(grads[1])], there)
    for variable, expected in zip(here, there):
        np.testing.assert_allclose(variable, np.asarray(expected), rtol=1e-5)
    again = optimizers.deserialize(optimizers.serialize(ours))
    assert again.decoupled_weight_decay is False
    assert "decoupled_weight_decay" not in optimizers.SGD().get_config()  # which Keras would not read


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_of_gradients_is_pytorch_s(nesterov):
    """torch.optim.SGD's documentation, in float64: b = momentum * b + g, and the rate of now times b, or g + momentum * b."""
    rates, decay = [0.5, 0.125, 0.25, 0.0, 1.0], 0.25
    schedule = optimizers.schedules.PiecewiseConstantDecay([0, 1, 2, 3], rates)
    choices = {"decoupled_weight_decay": False, "rate_in_momentum": False}
    ours = optimizers.SGD(schedule, 0.875, nesterov, weight_decay=decay, **choices)
    variable, expected, b = Variable(np.ones(3, "float32"), name="kernel"), np.ones(3), np.zeros(3)
    rng = np.random.default_rng(0)
    for rate in rates:
        grad = rng.normal(size=3).astype("float32")
        copy = grad.copy()
        ours.apply([grad], [variable])
        np.testing.assert_array_equal(grad, copy)  # the caller's own
        g = grad + decay * expected
        b = 0.875 * b + g
        expected = expected - rate * (g + 0.875 * b if nesterov else b)
        np.testing.assert_allclose(variable, expected, rtol=1e-5)
    again = optimizers.deserialize(optimizers.serialize(ours))
    assert again.rate_in_momentum is False
    assert "rate_in_momentum" not in optimizers.SGD().get_config()  # which Keras would not read


def test_averages_of_some_variables_are_written():
    """Those that were frozen since the optimizer was built are left out."""
    optimizer = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    here = [Variable(np.zeros(1, "float32"), name=name) for name in "ab"]
    for _ in range(2):
        optimizer.apply([np.ones(1)] * 2, here)
    optimizer.finalize_variable_values(here[1:])
    assert [float(variable[0]) for variable in here] == [-2, -1.5]  # (-1 - 2) / 2
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.finalize_variable_values([Variable(np.zeros(1))])


def test_averages_under_a_scaled_loss_are_written():
    inner = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    variable, scaled = Variable(np.zeros(1, "float32")), optimizers.LossScaleOptimizer(inner, initial_scale=4.0)
    for _ in range(2):
        scaled.apply([scaled.scale_loss(np.ones(1))], [variable])
    scaled.finalize_variable_values([variable])
    assert float(variable[0]) == -1.5  # (-1 - 2) / 2


@pytest.mark.parametrize("name", [*RULES, "ScheduleFreeAdamW", "SGD with momentum", "RMSprop with momentum", "MultiOptimizer"])
def test_building_twice_changes_nothing(name):
    variable, (name, *momentum) = Variable(np.zeros((2, 2), "float32")), name.split(" with ")
    given = 0.1 if name != "MultiOptimizer" else optimizers.OptimizerMap(optimizers.Adam())
    optimizer = getattr(optimizers, name)(given, **dict.fromkeys(momentum, 0.5))
    optimizer.apply([np.ones((2, 2))], [variable])
    slots = optimizer.variables
    optimizer.build([variable])
    assert [id(one) for one in optimizer.variables] == [id(one) for one in slots]


@pytest.mark.parametrize("options", [{}, {"clipnorm": 1.0}, {"use_ema": True}, {"gradient_accumulation_steps": 2}])
def test_no_step_makes_memory_after_the_first(options):
    variables = [Variable(np.ones(300, "float32")), Variable(np.ones((20, 20), "float32"))]
    grads = [backends.asarray(np.ones(variable.shape, "float32")) for variable in variables]
    optimizer, arena, held = optimizers.Adam(weight_decay=0.1, **options), memory.Arena(), []
    addresses = [variable.value for variable in variables]
    for _ in range(5):
        with arena:
            optimizer.apply(grads, variables)
        held.append(arena.nbytes)
    assert held[2] == held[4]
    assert all(variable.value is address for variable, address in zip(variables, addresses))


def test_a_dynamic_scale_replaces_that_of_the_optimizer_inside():
    """Gradients would be divided twice."""
    for module in (optimizers, keras.optimizers):
        inner = module.SGD(loss_scale_factor=4.0)
        module.LossScaleOptimizer(inner)
        assert inner.loss_scale_factor is None


def test_what_is_set_for_groups_reaches_each_of_them():
    values = {"kernel": np.zeros(1, "float32"), "beta": np.zeros(1, "float32")}
    here = variables_of(Variable, values)
    averaged = {"use_ema": True, "ema_momentum": 0.5}
    optimizer = optimizers.MultiOptimizer(
        optimizers.OptimizerMap(optimizers.SGD(1.0, **averaged), {"beta": optimizers.SGD(0.5, **averaged)})
    )
    optimizer.build(here)
    optimizer.loss_scale_factor = 2.0
    for _ in range(2):
        optimizer.apply([np.full(1, 2.0), np.full(1, 2.0)], here)
    assert [float(variable[0]) for variable in here] == [-2, -1]
    optimizer.finalize_variable_values(here)
    assert [float(variable[0]) for variable in here] == [-1.5, -0.75]


def test_weights_are_excluded_from_decay_by_their_own_names_not_their_layers():
    """Keras's own `exclude_from_weight_decay`; on TensorFlow its variables' names are whole paths."""
    variables = [Variable(np.ones(2, "float32"), name=name, path=f"bias_layer/{name}") for name in ("kernel", "scale")]
    optimizer = optimizers.SGD(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias", "scale"])
    optimizer.apply([np.zeros(2, "float32")] * 2, variables)
    assert [float(variable[0]) for variable in variables] == [0.75, 1]
