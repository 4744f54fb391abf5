"""`Optimizer`: what happens to gradients before and after the update rule, which a subclass defines."""

from __future__ import annotations

import contextlib
import copy
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from minicnn import backends, config, initializers, registry, serialization
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.optimizers.schedules import LearningRateSchedule
from minicnn.variables import Variable


class Optimizer:
    """Base class of all optimizers.

    One step, `apply(grads)`: accumulate, clip, decay the weights, update by the rule, average,
    constrain, count. All of it in place, one op a stage for all variables together.

    An optimizer of your own creates its slots in `build(variables)` (after `super().build(variables)`,
    with `self.add_variable_from_reference(variable, name="momentum")`) and changes one variable in
    `update_step(gradient, variable, learning_rate)`.

    Args:
        learning_rate: a number, a `LearningRateSchedule`, or a callable without arguments.
            (Older programs' `lr=` and `decay=` are accepted: steps take learning_rate / (1 + decay * step), and what
            sets the `learning_rate`, a schedule or a callback perhaps, sets what is divided.)
        weight_decay: each step takes learning_rate * weight_decay of every weight away.
        clipnorm, clipvalue, global_clipnorm: bound for each gradient's norm, for each element, for
            the norm of all gradients together; one of the three.
        use_ema: keep the exponential average of the weights, with `ema_momentum`, and write it over
            them every `ema_overwrite_frequency` steps, or when `finalize_variable_values` is called.
        loss_scale_factor: gradients are divided by it; `scale_loss` multiplies the loss.
        gradient_accumulation_steps: update once in so many calls, by the mean gradient.
        name: default the class's, in snake case.

    Attributes:
        variables: [iteration, learning_rate (unless it is a schedule or callable), slots...], in
            Keras's order and under its names.
    """

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        learning_rate = kwargs.pop("lr", learning_rate)
        self.decay: float = kwargs.pop("decay", None) or 0.0
        if kwargs:
            raise ValueError(f"Argument(s) not recognized: {kwargs}")
        if gradient_accumulation_steps is not None and not gradient_accumulation_steps >= 2:
            raise ValueError(
                "`gradient_accumulation_steps` must be an integer >= 2. "
                f"Received: gradient_accumulation_steps={gradient_accumulation_steps}"
            )
        if use_ema and not 0 <= ema_momentum <= 1:
            raise ValueError(f"`ema_momentum` must be in the range [0, 1]. Received: ema_momentum={ema_momentum}")
        if (
            use_ema
            and ema_overwrite_frequency
            and (not isinstance(ema_overwrite_frequency, int) or ema_overwrite_frequency < 1)
        ):
            raise ValueError(
                "`ema_overwrite_frequency` must be an integer >= 1 or None. "
                f"Received: ema_overwrite_frequency={ema_overwrite_frequency}"
            )
        if sum(bound is not None for bound in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError(
                "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. "
                f"Received: clipnorm={clipnorm}, clipvalue={clipvalue}, global_clipnorm={global_clipnorm}"
            )
        self.name = name or registry.unique_name(registry.snake_case(type(self).__name__))
        self.weight_decay = weight_decay
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.use_ema, self.ema_momentum = use_ema, ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.built = False
        self._given_rate: Array | None = None
        self._undecayed: tuple[set[Variable], re.Pattern[str] | None] = (set(), None)
        self._trainable_variables: list[Variable] = []
        self._index: dict[Variable, int] = {}  # a variable's place among `_trainable_variables`
        self._variables: list[Variable] = []
        self._iterations = self.add_variable((), dtype="int64", name="iteration")
        if callable(learning_rate):
            self._learning_rate = learning_rate
        else:
            if isinstance(learning_rate, bool) or not isinstance(learning_rate, (int, float, np.number)):
                raise ValueError(
                    "Argument `learning_rate` should be float, or an instance of LearningRateSchedule, or a callable "
                    "(that takes in the current iteration value and returns the corresponding learning rate value). "
                    f"Received instead: learning_rate={learning_rate}"
                )
            initial = initializers.Constant(float(learning_rate))
            self._learning_rate = self.add_variable((), initial, dtype=config.floatx(), name="learning_rate")

    # --- state --------------------------------------------------------------------------

    @property
    def variables(self) -> list[Variable]:
        return list(self._variables)

    @property
    def iterations(self) -> Any:
        """How many updates there have been."""
        if self.gradient_accumulation_steps:
            return self._iterations // self.gradient_accumulation_steps
        return self._iterations

    @property
    def learning_rate(self) -> Any:
        """The rate of the next step (before `decay`): the variable, or what the schedule or callable says."""
        if isinstance(self._learning_rate, LearningRateSchedule):
            return self._learning_rate(self._iterations)
        return self._learning_rate if isinstance(self._learning_rate, Variable) else self._learning_rate()

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        if callable(learning_rate):
            self._variables = [variable for variable in self._variables if variable is not self._learning_rate]
            self._learning_rate = learning_rate
            return
        if not isinstance(self._learning_rate, Variable):
            raise TypeError(
                "This optimizer was created with a `LearningRateSchedule` object as its `learning_rate` constructor argument, "
                "hence its learning rate is not settable. If you need the learning rate to be settable, you should instantiate "
                "the optimizer with a float `learning_rate` argument."
            )
        self._learning_rate.assign(learning_rate)

    lr = learning_rate  # the name of older programs

    def scheduled_rate(self, iteration: int) -> np.ndarray | None:
        """What a schedule or callable says for a step, on the host; None where the rate is a variable."""
        if isinstance(self._learning_rate, Variable):
            return None
        schedule = self._learning_rate
        rate = schedule(iteration) if isinstance(schedule, LearningRateSchedule) else schedule()
        return np.asarray(rate, np.float64) / (1 + self.decay * iteration)

    @contextlib.contextmanager
    def at_rate(self, rate: Array | None) -> Iterator[None]:
        """Within the `with` block, steps take this rate: an array of shape () where the backend computes; None for their own.

        A step that is captured as a graph cannot call a schedule; so its rate is written into this array before each step.
        """
        self._given_rate = rate
        try:
            yield
        finally:
            self._given_rate = None

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """A new slot; `aggregation` and `layout` are Keras's, for several devices, and have no effect."""
        if "_variables" not in self.__dict__:
            raise RuntimeError(
                f"In optimizer '{type(self).__name__}', you forgot to call `super().__init__()` as the first statement in the "
                "`__init__()` method. Go add it!"
            )
        name = name or registry.unique_name("variable")
        initializer = initializers.get(initializer)
        variable = Variable(initializer, tuple(shape), dtype, trainable=False, name=name, path=f"{self.name}/{name}")
        self._variables.append(variable)
        return variable

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """A slot of the shape and type of a model's variable, named after it."""
        name = f"{reference_variable.path.replace('/', '_')}_{name or 'var'}"
        return self.add_variable(reference_variable.shape, initializer, reference_variable.dtype, name=name)

    def add_optimizer_variables(self, trainable_variables: Sequence[Variable], name: Any, initializer: Any = "zeros") -> Any:
        """A slot for each variable; with lists of names (and initializers) a tuple of such lists, made variable by variable."""
        names = [name] if isinstance(name, str) else name
        makers = initializer if isinstance(initializer, (list, tuple)) else [initializer] * len(names)
        slots: tuple[list[Variable], ...] = tuple([] for _ in names)
        for variable in trainable_variables:
            for slot, slot_name, maker in zip(slots, names, makers, strict=True):
                slot.append(self.add_variable_from_reference(variable, slot_name, maker))
        return slots[0] if isinstance(name, str) else slots

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the slots for `variables`, which the optimizer then updates."""
        variables = list(variables)
        if self.use_ema:
            self._averages = self.add_optimizer_variables(variables, "average")
        if self.gradient_accumulation_steps:
            self._accumulators = self.add_optimizer_variables(variables, "gradient_accumulator")
        self._trainable_variables = variables
        self._index = {variable: i for i, variable in enumerate(variables)}
        self.built = True

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Do not decay these variables, nor those whose names contain one of `var_names`.

        Raises:
            ValueError: after `build`.
        """
        if self.built:
            raise ValueError("`exclude_from_weight_decay()` can only be configured before the optimizer is built.")
        names = "|".join(set(var_names or ()))
        self._undecayed = (set(var_list or ()), re.compile(names) if names else None)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all `variables`.

        Raises:
            ValueError: if the optimizer is not built, or there is another number of weights, or one of another shape. Then
                none is set.
        """
        if not self.built:
            raise ValueError(
                "You are calling `set_weights()` on an optimizer that has not yet been built. Please call "
                "`optimizer.build(trainable_variables)` to create the optimizer weights before calling `set_weights()`."
            )
        if len(weights) != len(self.variables):
            raise ValueError(
                f"Optimizer '{self.name}' has {len(self.variables)} variables. Received: a list of {len(weights)} weights."
            )
        for variable, weight in zip(self.variables, weights):
            if variable.shape != np.shape(weight):
                raise ValueError(
                    f"Optimizer variable {variable.path} has shape {variable.shape} not compatible with provided weight shape "
                    f"{np.shape(weight)}."
                )
        for variable, weight in zip(self.variables, weights):
            variable.assign(weight)

    def save_own_variables(self, store: Any) -> None:
        """Write `variables` into a mapping under "0", "1", ..., as Keras does."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables` wrote; warns and reads nothing if the number of variables differs."""
        if len(store.keys()) != len(self.variables):
            warnings.warn(
                f"Skipping variable loading for optimizer '{self.name}', because it has {len(self.variables)} variables "
                f"whereas the saved optimizer has {len(store.keys())} variables. ",
                stacklevel=2,
            )
            return
        for i, variable in enumerate(self.variables):
            variable.assign(store[str(i)])

    # --- a step -------------------------------------------------------------------------

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Variable:
        """`apply` on pairs (gradient, variable); returns the iteration counter."""
        pairs = list(grads_and_vars)
        self.apply([grad for grad, _ in pairs], [variable for _, variable in pairs])
        return self._iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Update the variables by their gradients.

        Args:
            grads: one a variable; None leaves its variable as it is.
            trainable_variables: by default those that the optimizer was built with. The first
                call builds it.

        Raises:
            ValueError: for lists that do not match, unknown variables, or no gradient at all.
        """
        grads = list(grads)
        if not grads:
            return
        variables = self._paired(grads, trainable_variables)
        if not self.built:
            self.build(variables)
        variables, arrays = self._matched(variables, grads)
        if self._prepare(variables, arrays):
            learning_rate = self._rate()
            self._decay(variables, learning_rate)
            self.update_([variable.value for variable in variables], arrays, variables, learning_rate)
        if self.use_ema:
            self._average()
        for variable in variables:
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))
        np.add(self._iterations.value, 1, out=self._iterations.value)

    def _paired(self, grads: list[Any], trainable_variables: Sequence[Variable] | None) -> list[Variable]:
        """The variables that belong to the gradients; Keras's errors."""
        if trainable_variables is None:
            if not self.built:
                raise ValueError(
                    "When passing `grads` without `variables`, the optimizer must already be built on a list of variables. "
                    "Call `optimizer.build(trainable_variables)` first. "
                )
            if len(grads) != len(self._trainable_variables):
                raise ValueError(
                    "When passing `grads` as a list of gradient tensors, the gradients must match `optimizer.variables` "
                    f"one-to-on. Received a list of {len(grads)} gradients, but the optimizer is tracking "
                    f"{len(self._trainable_variables)} trainable variables."
                )
            return self._trainable_variables
        variables = list(trainable_variables)
        if len(grads) != len(variables):
            raise ValueError(
                f"`grads` and `trainable_variables` must match one-to-one. Received {len(grads)} gradients and "
                f"{len(variables)} variables."
            )
        return variables

    def _check_known(self, variable: Variable) -> None:
        if variable not in self._index:
            raise ValueError(
                f"Unknown variable: {variable}. This optimizer can only be called for the variables it was originally "
                "built with. When working with a new set of variables, you should recreate a new optimizer instance."
            )

    def _matched(self, variables: list[Variable], grads: list[Any]) -> tuple[list[Variable], list[Array]]:
        """Variables that have a gradient, and the gradients as arrays; Keras's errors."""
        arrays, missing = [], []
        for grad, variable in zip(grads, variables):
            self._check_known(variable)
            if grad is None:
                missing.append(variable)
                continue
            value = variable.value
            array = backends.asarray(grad.value if isinstance(grad, Variable) else grad, value.dtype)
            if array.shape != value.shape:
                raise ValueError(
                    f"The gradient of variable {variable.path} must have its shape {variable.shape}. Received: {array.shape}"
                )
            if isinstance(array, np.ndarray) and not array.flags.writeable:
                array = array.copy()  # kernels are compiled for arrays that may be written to
            arrays.append(array)
        if not arrays:
            raise ValueError("No gradients provided for any variable.")
        if missing:
            warnings.warn(
                f"Gradients do not exist for variables {[variable.path for variable in missing]} when minimizing the loss. "
                "If using `model.compile()`, did you forget to provide a `loss` argument?",
                stacklevel=4,
            )
            variables = [variable for variable, grad in zip(variables, grads) if grad is not None]
        return variables, arrays

    def _prepare(self, variables: list[Variable], grads: list[Array]) -> bool:
        """Scale, accumulate and clip `grads` for the update rule; False if there is no update in this call."""
        scale = 1.0 if self.loss_scale_factor is None else 1 / self.loss_scale_factor
        clips = self.clipnorm or self.clipvalue or self.global_clipnorm
        steps = self.gradient_accumulation_steps
        if scale != 1 or (clips and not steps):  # clipping must not write into the caller's arrays
            grads[:] = [_scaled(grad, scale) for grad in grads]
        if steps:
            sums = self.slots(self._accumulators, variables)
            for total, grad in zip(sums, grads):
                ops.accumulate_(total, grad)
            if (int(self._iterations) + 1) % steps:
                return False
            grads[:] = [_scaled(total, 1 / steps) for total in sums]
            for accumulator in self._accumulators:
                accumulator.value.fill(0)
        if self.clipnorm:
            ops.clip_by_norm_(grads, self.clipnorm)
        elif self.global_clipnorm:
            ops.clip_by_global_norm_(grads, self.global_clipnorm)
        elif self.clipvalue:
            ops.clip_by_value_(grads, self.clipvalue)
        return True

    def _rate(self) -> Any:
        """The learning rate as ops take it: a float, or an array on the device, whose value the host does not read."""
        if self._given_rate is not None:
            return self._given_rate
        rate = self.learning_rate
        value = rate.value if isinstance(rate, Variable) else rate
        if self.decay:
            value = value / (1 + self.decay * self._iterations.value)
        return float(value) if isinstance(value, (np.ndarray, np.generic, float, int)) else value

    def _decay(self, variables: list[Variable], learning_rate: Any) -> None:
        """Take learning_rate * weight_decay away, of those of these variables that decay."""
        if self.weight_decay is not None:
            values = [variable.value for variable in variables if self._decays(variable)]
            ops.weight_decay_(values, learning_rate, self.weight_decay)

    def _decays(self, variable: Variable) -> bool:
        excluded, names = self._undecayed
        return variable not in excluded and not (names and names.search(variable.name))

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        """The update rule for all variables at once, in place; `params` are their arrays."""
        for grad, variable in zip(grads, variables):
            self.update_step(grad, variable, learning_rate)

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        """The update rule for one variable: what a user's optimizer defines."""
        raise NotImplementedError(
            f"Optimizer {type(self).__name__!r} must implement `update_step(gradient, variable, learning_rate)`."
        )

    def _step(self) -> Any:
        """The number of this update, from 1, as ops take it: an int, or the array of a device."""
        updates = self.iterations
        value = updates.value if isinstance(updates, Variable) else updates
        return int(value) + 1 if isinstance(value, (np.ndarray, np.generic)) else value + 1

    def slots(self, slots: list[Variable], variables: list[Variable]) -> list[Array]:
        """The arrays that a list of slots, one a variable of `build`, has for `variables`."""
        return [slots[self._index[variable]].value for variable in variables]

    def _average(self) -> None:
        """a = momentum * a + (1 - momentum) * p, and a = p at the first step."""
        params = [variable.value for variable in self._trainable_variables]
        averages = [average.value for average in self._averages]
        updates = int(self.iterations)
        ops.exponential_average_(averages, params, self.ema_momentum if updates else 0.0)
        if self.ema_overwrite_frequency and (updates + 1) % self.ema_overwrite_frequency == 0:
            self.finalize_variable_values(self._trainable_variables)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """With `use_ema`, write the averages over the variables."""
        if not self.use_ema:
            return
        for variable in var_list:  # fewer than it was built with, where some were frozen since
            self._check_known(variable)
            variable.value[...] = self._averages[self._index[variable]].value

    def scale_loss(self, loss: Any) -> Any:
        """The loss times `loss_scale_factor`."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    # --- for optimizers written for Keras --------------------------------------------------

    def assign(self, variable: Variable, value: Any) -> None:
        """variable = value."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """variable += value."""
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """variable -= value."""
        variable.assign_sub(value)

    def _get_variable_index(self, variable: Variable) -> int:
        return self._index[variable]

    # --- copies and config ----------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy with slots of its own. A model's variables are no part of it: it updates the same ones, or their
        copies where those are made too, by a model's copy, before (they stand in `memo`) or later (`follow_copies`).
        """
        twin = memo[id(self)] = object.__new__(type(self))
        shared = {id(v): v for v in (*self._trainable_variables, *self._undecayed[0]) if id(v) not in memo}
        memo.update(shared)
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        for key in shared:
            del memo[key]
        memo.setdefault(id(Optimizer), []).append(twin)
        return twin

    @staticmethod
    def follow_copies(memo: dict[int, Any]) -> None:
        """Let the optimizers that were copied with this `memo` update the copies of variables that it holds by now."""

        def copied(variable: Variable) -> Variable:
            return memo.get(id(variable), variable)

        for twin in memo.get(id(Optimizer), ()):
            excluded, names = twin._undecayed
            twin._undecayed = {copied(variable) for variable in excluded}, names
            twin._trainable_variables = [copied(variable) for variable in twin._trainable_variables]
            twin._index = {copied(variable): place for variable, place in twin._index.items()}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the learning rate of now."""
        rate: Any = self._learning_rate
        decay = {"decay": self.decay} if self.decay else {}  # which Keras does not know any more
        return {
            "name": self.name,
            "learning_rate": float(rate) if isinstance(rate, Variable) else serialization.serialize(rate),
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            **decay,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """The reverse of `get_config`."""
        rate: Callable[..., Any] | float | None = config.get("learning_rate")
        if isinstance(rate, dict):
            family = None if rate.get("class_name") == "function" else "schedule"
            config = {**config, "learning_rate": serialization.deserialize(rate, family, custom_objects)}
        return cls(**config)


def _scaled(grad: Array, factor: float) -> Array:
    """A copy of `grad` times `factor`; an array also where an op on shape () returns a scalar."""
    return backends.asarray(ops.rescale(grad, factor, 0.0))
