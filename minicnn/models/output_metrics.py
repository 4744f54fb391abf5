"""`OutputMetrics`: the metrics that `compile` was given, for each output."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

from minicnn import metrics
from minicnn.models.output_losses import Shape, per_output, wrong_count

__all__ = ["OutputMetrics"]


class OutputMetrics:
    """Metrics an output; made at the first batch, since "accuracy" depends on the targets' shapes.

    Args:
        metrics, weighted_metrics: what `compile` got. output_names: of the model.
    """

    def __init__(self, metrics: Any, weighted_metrics: Any, output_names: list[str]) -> None:
        self.names = output_names
        self.asked = [(self._lists(metrics, "metrics"), False), (self._lists(weighted_metrics, "weighted_metrics"), True)]
        self.built: list[tuple[int, Any, bool]] | None = None  # (output, metric, weighted)

    def with_own_state(self) -> OutputMetrics:
        """The same metrics, with another state.

        Raises:
            TypeError: for a metric that cannot be copied.
        """
        try:
            twin = copy.deepcopy(self)
        except TypeError as error:
            raise TypeError(
                "An evaluation while another run of the model goes on needs copies of its metrics "
                f"{[metric.name for metric in self.metrics]}: {error}"
            ) from error
        twin.reset()
        return twin

    def _lists(self, given: Any, argument: str) -> list[list[Any]]:
        if given is None:
            return [[] for _ in self.names]
        if isinstance(given, (list, tuple)) and len(self.names) == 1:
            flat = given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given
            return [list(flat)]
        if (
            isinstance(given, (list, tuple))
            and not any(isinstance(one, (list, tuple)) for one in given)
            and len(given) != len(self.names)
        ):
            raise wrong_count(argument, given, self.names)
        entries = per_output(given, self.names, argument)
        return [[] if one is None else list(one) if isinstance(one, (list, tuple)) else [one] for one in entries]

    def build(self, targets: list[Any], output_shapes: list[Shape]) -> None:
        """Make the metrics for targets and outputs of these shapes."""
        self.built = []
        for lists, weighted in self.asked:
            for output, identifiers in enumerate(lists):
                for identifier in identifiers:
                    shapes = tuple(targets[output].shape), output_shapes[output]
                    metric = metrics.resolve(identifier, *shapes)
                    metric._build(*shapes)
                    self.built.append((output, metric, weighted))

    @property
    def measured(self) -> list[str]:
        """The outputs that have a metric."""
        return [name for lists, _ in self.asked for name, asked in zip(self.names, lists) if asked]

    @property
    def metrics(self) -> list[Any]:
        return [metric for _, metric, _ in self.built or []]

    def update(self, targets: list[Any], predictions: list[Any], weights: list[Any] | None) -> None:
        """Take a batch in."""
        for output, metric, weighted in self.built or []:
            weight = None
            if weighted and weights is not None:
                weight = weights[output] if len(weights) > 1 else weights[0]
            metric.update_state(targets[output], predictions[output], sample_weight=weight)

    def results(self) -> dict[str, float]:
        """Name -> value so far, in the order asked for.

        The names are Keras's: with several outputs "output_name"; where that is taken already, a weighted metric's is
        "weighted_name" ("output_weighted_name"), and then a number is appended.
        """
        found: dict[str, float] = {}
        taken: Counter[str] = Counter()
        for output, metric, weighted in self.built or []:
            prefix = "" if len(self.names) == 1 else f"{self.names[output]}_"
            name = prefix + metric.name
            if weighted and taken[name]:
                name = f"{prefix}weighted_{metric.name}"
            taken[name] += 1
            if taken[name] > 1:
                name += f"_{taken[name] - 1}"
            value = metric.result()
            if isinstance(value, dict):
                found.update({key: float(one) for key, one in value.items()})
            else:
                found[name] = float(value) if getattr(value, "ndim", 0) == 0 else value
        return found

    def reset(self) -> None:
        for metric in self.metrics:
            metric.reset_state()
