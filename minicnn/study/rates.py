"""Which learning rate: the loss while the rate grows from step to step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.study.style import StudyFigure, color, styled

__all__ = ["RateSearch", "lr_find", "rate_search"]

_SMOOTHING = 0.9  # share of the mean that stays from one step to the next
_DIVERGED = 4.0  # times the lowest loss, at which the search ends


@dataclass(frozen=True)
class RateSearch:
    """What `lr_find` saw.

    Attributes:
        rates: of each step, growing by one factor.
        losses: of each step's batch, before its update.
        smoothed: their exponential means, those of the first steps without the bias towards 0.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest, over log(rate): a rate to train with."""
        return float(self.rates[np.argmin(np.gradient(self.smoothed, np.log(self.rates)))])

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss is lowest: more than that, and training is about to diverge."""
        return float(self.rates[np.argmin(self.smoothed)])


def lr_find(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    batch_size: int = 32,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    seed: int = 0,
) -> RateSearch:
    """Train for some steps while the learning rate grows from `lowest` to `highest`, and look at the loss.

    The model is as before afterwards: weights, optimizer, random generators. Smith 2017, "Cyclical Learning Rates for
    Training Neural Networks", section 3.3; the smoothing and the suggestion are fastai's.

    Args:
        model: a compiled model, whose learning rate is a number.
        x, y: arrays (or lists and dicts of them), from which batches are drawn; or a `Dataset`, or another iterable of
            (x, y) batches, in its own order and from its beginning again where it ends.
        lowest, highest: the rate of the first and of the last step.
        steps: how many at most; the search ends where the smoothed loss is four times the lowest, or no number.
        seed: of the batches.

    Returns:
        a `RateSearch`; `rate_search` draws it.

    Raises:
        ValueError: for a model that is not compiled, a rate that is a schedule, rates that do not grow, fewer than 3 steps.

    Examples:
        >>> import numpy as np
        >>> import minicnn
        >>> from minicnn import study
        >>> from minicnn.layers import Dense, Input
        >>> minicnn.set_random_seed(0)
        >>> model = minicnn.Sequential([Input((4,)), Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.random.default_rng(0).normal(size=(64, 4))
        >>> found = study.lr_find(model, x, x.sum(axis=1), lowest=1e-4)
        >>> 1e-4 < found.steepest < found.lowest < 10
        True
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ValueError("`lr_find` needs a compiled model. Call `model.compile(optimizer, loss)` first.")
    if not 0 < lowest < highest:
        raise ValueError(f"`lr_find` needs 0 < lowest < highest. Received: lowest={lowest}, highest={highest}")
    if steps < 3:
        raise ValueError(f"`lr_find` needs at least 3 steps. Received: steps={steps}")
    batches = _batches(x, y, batch_size, np.random.default_rng(seed))
    first = next(batches)
    if not model.built:
        model.test_on_batch(*first)  # makes the weights, and updates nothing
    optimizer.build(model.trainable_variables)
    variables = [*model.variables, *optimizer.variables]
    before, rate_before = [variable.numpy() for variable in variables], float(optimizer.learning_rate)
    rates, losses, smoothed, mean = np.geomspace(lowest, highest, steps), [], [], 0.0
    try:
        for step, (rate, batch) in enumerate(zip(rates, itertools.chain([first], batches))):
            try:
                optimizer.learning_rate = rate
            except TypeError as error:
                raise ValueError("`lr_find` sets the rate itself: compile with a number, not with a schedule.") from error
            losses.append(float(model.train_on_batch(*batch, return_dict=True)["loss"]))
            mean = _SMOOTHING * mean + (1 - _SMOOTHING) * losses[-1]
            smoothed.append(mean / (1 - _SMOOTHING ** (step + 1)))
            if not np.isfinite(losses[-1]) or (step >= 3 and smoothed[-1] > _DIVERGED * min(smoothed)):
                break
    finally:
        for variable, value in zip(variables, before):
            variable.assign(value)
        if losses:
            optimizer.learning_rate = rate_before
        model.reset_metrics()
    finite = np.isfinite(losses)
    return RateSearch(rates[: len(losses)][finite], np.array(losses)[finite], np.array(smoothed)[finite])


def _batches(x: Any, y: Any, batch_size: int, rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """(x, y) of one batch after the other, for ever."""
    if y is None:
        while True:
            yield from x
    parts = list(x.values()) if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else [x]
    count = len(parts[0])
    while True:
        order = rng.permutation(count)
        for start in range(0, max(1, count - batch_size + 1), batch_size):
            rows = order[start : start + batch_size]
            yield _rows(x, rows), _rows(y, rows)


def _rows(data: Any, rows: np.ndarray) -> Any:
    if isinstance(data, dict):
        return {name: np.asarray(value)[rows] for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [np.asarray(value)[rows] for value in data]
    return np.asarray(data)[rows]


@styled
def rate_search(found: RateSearch, title: str | None = None) -> StudyFigure:
    """The loss over the rate, on a logarithmic axis, with the rates at which it falls fastest and is lowest.

    Args:
        found: what `lr_find` returned.
        title: above the figure.
        style: "light" or "dark".
    """
    figure = StudyFigure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.plot(found.rates, found.losses, color=color(0), alpha=0.35, linewidth=1, label="of each batch")
    axis.plot(found.rates, found.smoothed, color=color(0), label="smoothed")
    for number, (name, rate) in enumerate((("falls fastest", found.steepest), ("is lowest", found.lowest)), start=1):
        axis.axvline(rate, color=color(number), linestyle="--", label=f"{name}: {rate:.2g}")
    most = max(found.smoothed[0], np.median(found.smoothed))
    axis.set(xscale="log", xlabel="learning rate", ylabel="loss", title=title or "")
    axis.set_ylim(min(found.losses.min(), found.smoothed.min()) - 0.05 * most, 1.5 * most)
    axis.grid(axis="y")
    axis.legend(fontsize=9)
    return figure
