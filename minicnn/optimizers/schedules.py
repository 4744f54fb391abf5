"""Learning-rate schedules: the rate as a function of the step, which counts from 0.

Each is NumPy arithmetic on the step, so that `schedule(np.arange(1000))` is the whole curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn import config, registry, serialization
from minicnn.tensor import as_tensor

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "OneCycle",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]


class LearningRateSchedule:
    """Base class: a subclass writes `__call__(step)`, and `get_config()` to be saved."""

    def __call__(self, step: Any) -> Any:
        """The learning rate at `step`."""
        raise NotImplementedError(f"Learning rate schedule '{type(self).__name__}' must override `__call__(self, step)`.")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        raise NotImplementedError(
            f"Learning rate schedule '{type(self).__name__}' must override `get_config()` in order to be serializable."
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The reverse of `get_config`."""
        return cls(**config)


def _positive(value: float, name: str) -> float:
    if value <= 0:
        raise ValueError(f"Argument `{name}` must be > 0. Received: {name}={value}")
    return value


class _Decay(LearningRateSchedule):
    """What the schedules share: the rate as a `Tensor`, and a config of the attributes named in `_arguments`."""

    _arguments: tuple[str, ...]

    def __call__(self, step: Any) -> Any:
        return as_tensor(np.asarray(self._rate(np.asarray(step, np.float64)), config.floatx()))

    def _rate(self, step: Any) -> Any:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {argument: getattr(self, argument) for argument in self._arguments}


@registry.register("schedule")
class ExponentialDecay(_Decay):
    """rate = initial_learning_rate * decay_rate ** (step / decay_steps); whole powers only with `staircase`."""

    _arguments = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate, self.decay_rate = initial_learning_rate, decay_rate
        self.decay_steps = _positive(decay_steps, "decay_steps")
        self.staircase, self.name = staircase, name

    def _rate(self, step: Any) -> Any:
        return self.initial_learning_rate * self.decay_rate ** self._decays(step)

    def _decays(self, step: Any) -> Any:
        """How many times the rate has decayed."""
        return np.floor(step / self.decay_steps) if self.staircase else step / self.decay_steps


@registry.register("schedule")
class InverseTimeDecay(ExponentialDecay):
    """rate = initial_learning_rate / (1 + decay_rate * step / decay_steps); in steps with `staircase`.

    With decay_steps=1 it is what older programs call `decay`.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def _rate(self, step: Any) -> Any:
        return self.initial_learning_rate / (1 + self.decay_rate * self._decays(step))


@registry.register("schedule")
class PiecewiseConstantDecay(_Decay):
    """rate = values[i], where i is how many `boundaries` lie before the step (a boundary itself belongs to the left)."""

    _arguments = ("boundaries", "values", "name")

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "The length of boundaries should be 1 less than the length of values. "
                f"Received: boundaries={boundaries} of length {len(boundaries)}, and values={values} of length {len(values)}."
            )
        self.boundaries, self.values, self.name = boundaries, values, name

    def _rate(self, step: Any) -> Any:
        return np.asarray(self.values, np.float64)[np.searchsorted(np.asarray(self.boundaries), step, side="left")]


@registry.register("schedule")
class PolynomialDecay(_Decay):
    """rate = (initial - end) * (1 - step / decay_steps) ** power + end, until step reaches decay_steps.

    With `cycle`, decay_steps is multiplied by the smallest whole number that keeps it beyond the step.
    """

    _arguments = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate, self.end_learning_rate = initial_learning_rate, end_learning_rate
        self.decay_steps = _positive(decay_steps, "decay_steps")
        self.power, self.cycle, self.name = power, cycle, name

    def _rate(self, step: Any) -> Any:
        periods = np.maximum(np.ceil(step / self.decay_steps), 1) if self.cycle else 1
        done = np.minimum(step / (self.decay_steps * periods), 1)
        return (self.initial_learning_rate - self.end_learning_rate) * (1 - done) ** self.power + self.end_learning_rate


@registry.register("schedule")
class CosineDecay(_Decay):
    """A linear warm-up from `initial_learning_rate` to `warmup_target`, then half a cosine down to `alpha` of it.

        rate = peak * ((1 - alpha) * (1 + cos(pi * done)) / 2 + alpha),  done = (step - warmup_steps) / decay_steps

    Without `warmup_target` there is no warm-up, and the peak is `initial_learning_rate`.

    Source: Loshchilov & Hutter 2016, arXiv:1608.03983.
    """

    _arguments = ("initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate, self.alpha, self.name = initial_learning_rate, alpha, name
        self.decay_steps = _positive(decay_steps, "decay_steps")
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def _rate(self, step: Any) -> Any:
        peak, start = self.initial_learning_rate, 0
        if self.warmup_target is not None:
            peak, start = self.warmup_target, self.warmup_steps
        done = np.clip((step - start) / self.decay_steps, 0, 1)
        rate = peak * ((1 - self.alpha) * (1 + np.cos(math.pi * done)) / 2 + self.alpha)
        rise = (peak - self.initial_learning_rate) * step / max(start, 1) + self.initial_learning_rate
        return np.where(step < start, rise, rate)


@registry.register("schedule")
class CosineDecayRestarts(_Decay):
    """Half cosines one after the other, each `t_mul` times as long and `m_mul` times as high as the one before.

    Source: Loshchilov & Hutter 2016, arXiv:1608.03983 (SGDR).
    """

    _arguments = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = _positive(first_decay_steps, "first_decay_steps")
        self.t_mul, self.m_mul, self.alpha, self.name = t_mul, m_mul, alpha, name

    def _rate(self, step: Any) -> Any:
        done = step / self.first_decay_steps
        if self.t_mul == 1:
            restarts = np.floor(done)
            done = done - restarts
        else:
            # Cosine i starts at the sum of t_mul**j over j < i, (1 - t_mul**i) / (1 - t_mul), and is t_mul**i long.
            restarts = np.floor(np.log(1 - done * (1 - self.t_mul)) / math.log(self.t_mul))
            length = self.t_mul**restarts
            done = (done - (1 - length) / (1 - self.t_mul)) / length
        cosine = self.m_mul**restarts * (1 + np.cos(math.pi * done)) / 2
        return self.initial_learning_rate * ((1 - self.alpha) * cosine + self.alpha)


@registry.register("schedule")
class OneCycle(_Decay):
    """Up to the highest rate and down again, once over the whole of training.

        rate = start + (peak - start) * f(step / warmup)                            until warmup = warmup_share * total_steps
        rate = peak + (end - peak) * f((step - warmup) / (total_steps - warmup))    then, and `end` after that

    f(u) = (1 - cos(pi u)) / 2 with shape="cosine", u with shape="linear" (a triangle); start = peak * start_factor, and
    end = peak * end_factor. PyTorch calls it `OneCycleLR`, whose `final_div_factor` counts from the start.

    Source: Smith & Topin 2018, "Super-Convergence", arXiv:1708.07120.
    """

    _arguments = ("maximal_learning_rate", "total_steps", "warmup_share", "start_factor", "end_factor", "shape", "name")

    def __init__(
        self,
        maximal_learning_rate: float,
        total_steps: int,
        warmup_share: float = 0.3,
        start_factor: float = 0.04,
        end_factor: float = 4e-6,
        shape: str = "cosine",
        name: str = "OneCycle",
    ) -> None:
        if not 0 <= warmup_share <= 1:
            raise ValueError(f"Argument `warmup_share` must be within 0 and 1. Received: warmup_share={warmup_share}")
        if shape not in ("cosine", "linear"):
            raise ValueError(f'Argument `shape` must be "cosine" or "linear". Received: shape={shape!r}')
        self.maximal_learning_rate, self.total_steps = maximal_learning_rate, _positive(total_steps, "total_steps")
        self.warmup_share, self.start_factor, self.end_factor = warmup_share, start_factor, end_factor
        self.shape, self.name = shape, name

    def _rate(self, step: Any) -> Any:
        places = [0, self.warmup_share * self.total_steps, self.total_steps]
        phase = np.interp(step, places, [0, 1, 2])  # 0 to 1 on the way up, 1 to 2 on the way down
        if self.shape == "cosine":
            phase = np.floor(phase) + (1 - np.cos(math.pi * (phase - np.floor(phase)))) / 2
        return self.maximal_learning_rate * np.interp(phase, [0, 1, 2], [self.start_factor, 1, self.end_factor])


_, serialize, deserialize = serialization.functions_of("schedule")
