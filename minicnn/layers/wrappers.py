"""Layers around another layer: one for each step of a sequence; one forwards and one backwards through it."""

from __future__ import annotations

from typing import Any

from minicnn import registry, serialization
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import Shape
from minicnn.layers.tracing import takes

__all__ = ["Bidirectional", "TimeDistributed", "Wrapper"]


@registry.register("layer")
class Wrapper(Layer):
    """Base of the layers around another layer.

    Args:
        layer: which is wrapped.
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(
                f"Layer {layer} supplied to Wrapper isn't a supported layer type. Please ensure wrapped layer is a valid Keras "
                "layer."
            )
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: Any) -> None:
        self.layer.build_once(input_shape)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"layer": serialization.serialize(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """The layer and what it wraps, both with fresh weights."""
        return cls(**{**config, "layer": serialization.deserialize(config["layer"])})


@registry.register("layer")
class TimeDistributed(Wrapper):
    """A layer, or a model, applied to each step of a sequence alike.

    (N, T, ...) becomes (N*T, ...), which the layer is given at once, and what it returns (N, T, ...) again. (Keras calls it
    step by step: statistics of a batch normalization are here of all steps together, and a dropout's masks are of each.)

    Args:
        layer: which is applied.
    """

    supports_masking = True

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(f"Please initialize `TimeDistributed` layer with a `Layer` instance. Received: {layer}")
        super().__init__(layer, **kwargs)

    def _step_shape(self, input_shape: Shape) -> Shape:
        """The shape of (N*T, ...)."""
        if not isinstance(input_shape, (tuple, list)) or len(input_shape) < 3:
            raise ValueError(
                f"`TimeDistributed` Layer should be passed an `input_shape` with at least 3 dimensions, received: {input_shape}"
            )
        N, T, *rest = input_shape
        return (None if N is None or T is None else N * T, *rest)

    def build(self, input_shape: Shape) -> None:
        super().build((None, *self._step_shape(input_shape)[1:]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        _, *rest = self.layer.compute_output_shape(self._step_shape(input_shape))
        return (*input_shape[:2], *rest)

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return (input_shape[1] or 1) * self.layer.count_flops((None, *input_shape[2:]), (None, *output_shape[2:]))

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if mask is not None and tuple(mask.shape[:2]) != tuple(inputs.shape[:2]):
            raise ValueError(
                f"The `mask` passed to the `TimeDistributed` layer has a shape {tuple(mask.shape)} that is incompatible with "
                f"the input shape {tuple(inputs.shape)}. The first two dimensions of the mask (batch size and timesteps) must "
                "match the input's first two dimensions."
            )
        if None in inputs.shape[2:]:
            raise ValueError(
                f"Layer '{self.name}': all sizes of a step must be known. Received: an input of shape {tuple(inputs.shape)}"
            )
        T = inputs.shape[1]
        steps = registry.operation("reshape")(inputs, (-1, *inputs.shape[2:]))
        y = self.layer(steps, training=training)
        # A size that varies is inferred, the batch's from what is known of a step.
        if T is None:
            T = registry.operation("_size_of_axis")(inputs, 1)
        return registry.operation("reshape")(y, (-1, T, *y.shape[1:]))


_MERGES = ("sum", "mul", "ave", "concat", None)
_COMMON = ("stateful", "return_sequences", "return_state")


@registry.register("layer")
class Bidirectional(Layer):
    """A recurrent layer and a twin that runs backwards, their outputs merged: each step knows what is before it and behind.

    Args:
        layer: an `RNN`; both directions are made from its config.
        merge_mode: "concat" (along the last axis), "sum", "mul", "ave", or None for both outputs.
        weights: the values of both to begin with.
        backward_layer: in place of the twin, a layer that differs in `go_backwards`.

    With `return_state`, the states of both follow; `initial_state` takes them in this order.

    Source: Schuster & Paliwal 1997, doi:10.1109/78.650093.
    """

    supports_masking = True

    def __init__(
        self, layer: Any, merge_mode: str | None = "concat", weights: Any = None, backward_layer: Any = None, **kwargs: Any
    ) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(f"Please initialize `Bidirectional` layer with a `Layer` instance. Received: {layer}")
        if backward_layer is not None and not isinstance(backward_layer, Layer):
            raise ValueError(f"`backward_layer` need to be a `Layer` instance. Received: {backward_layer}")
        if merge_mode not in _MERGES:
            raise ValueError(
                f"Invalid merge mode. Received: {merge_mode}. "
                "Merge mode should be one of {'sum', 'mul', 'ave', 'concat', None}"
            )
        super().__init__(weights=weights, **kwargs)
        self.forward_layer: Any = _twin(layer, "forward_")
        self.backward_layer: Any = _twin(layer, "backward_", go_backwards=True) if backward_layer is None else backward_layer
        self._check_directions()
        for one in (self.forward_layer, self.backward_layer):
            if getattr(one, "zero_output_for_mask", None) is not None:
                one.zero_output_for_mask = one.return_sequences  # type: ignore[union-attr]
        self.merge_mode = merge_mode
        self.stateful, self.return_sequences, self.return_state = (getattr(layer, name) for name in _COMMON)
        self.input_spec = layer.input_spec

    def _check_directions(self) -> None:
        one, other = self.forward_layer, self.backward_layer
        if one.go_backwards == other.go_backwards:
            raise ValueError(
                "Forward layer and backward layer should have different `go_backwards` value. Received: "
                f"forward_layer.go_backwards {one.go_backwards}, backward_layer.go_backwards={other.go_backwards}"
            )
        for name in _COMMON:
            if getattr(one, name) != getattr(other, name):
                raise ValueError(
                    f'Forward layer and backward layer are expected to have the same value for attribute "{name}", got '
                    f'"{getattr(one, name)}" for forward layer and "{getattr(other, name)}" for backward layer'
                )

    @property
    def layer(self) -> Any:
        """The one that runs forwards."""
        return self.forward_layer

    def build(self, sequences_shape: Shape, initial_state_shape: Any = None) -> None:
        self.forward_layer.build_once(sequences_shape)
        self.backward_layer.build_once(sequences_shape)
        self.built = True

    def compute_output_shape(self, sequences_shape: Shape, initial_state_shape: Any = None) -> Any:
        shape = self.forward_layer.compute_output_shape(sequences_shape)
        y, states = (shape[0], tuple(shape[1:])) if self.return_state else (shape, ())
        if self.merge_mode == "concat":
            y = (*y[:-1], None if y[-1] is None else 2 * y[-1])
        ys = (y, y) if self.merge_mode is None else (y,)
        return (*ys, *states, *states) if self.return_state or self.merge_mode is None else y

    def count_flops(self, input_shape: Any, output_shape: Any) -> int:
        return sum(layer.count_flops(input_shape, output_shape) for layer in (self.forward_layer, self.backward_layer))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """That of the steps, where these are returned."""
        of_y = mask if self.return_sequences else None
        return [of_y, of_y] if self.merge_mode is None else [of_y] if self.return_state else of_y

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool | None = None) -> Any:
        both: list[dict[str, Any]] = [{}, {}]
        if initial_state is not None:
            half = len(initial_state) // 2
            both = [{"initial_state": initial_state[:half]}, {"initial_state": initial_state[half:]}]
        layers = (self.forward_layer, self.backward_layer)
        found = [
            layer(sequences, mask=mask if takes(layer.call, "mask") else None, training=training, **first)
            for layer, first in zip(layers, both)
        ]
        (y, *states), (y_back, *states_back) = found if self.return_state else [[one] for one in found]
        y_back = registry.operation("flip")(y_back, 1) if self.return_sequences else y_back
        ys = [y, y_back] if self.merge_mode is None else [self._merged(y, y_back)]
        return [*ys, *states, *states_back] if self.return_state or self.merge_mode is None else ys[0]

    def _merged(self, y: Any, y_back: Any) -> Any:
        if self.merge_mode == "concat":
            return registry.operation("concatenate")([y, y_back], -1)
        if self.merge_mode == "mul":
            return registry.operation("multiply")(y, y_back)
        total = registry.operation("add")(y, y_back)
        return registry.operation("divide")(total, 2.0) if self.merge_mode == "ave" else total

    def reset_state(self) -> None:
        """Forget the states that the last batch left.

        Raises:
            AttributeError: unless the layers are stateful.
        """
        if not self.stateful:
            raise AttributeError("Layer must be stateful.")
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    @property
    def states(self) -> Any:
        """Of both, of stateful layers that were called; else None."""
        one, other = self.forward_layer.states, self.backward_layer.states
        return [*one, *other] if one and other else None

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "merge_mode": self.merge_mode,
            "layer": serialization.serialize(self.forward_layer),
            "backward_layer": serialization.serialize(self.backward_layer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Both layers, with fresh weights."""
        read = {name: serialization.deserialize(config[name]) for name in ("layer", "backward_layer") if config.get(name)}
        return cls(**{**config, **read})


def _twin(layer: Layer, direction: str, **changed: Any) -> Any:
    """A layer of the same config, with a name that says its direction."""
    config = serialization.serialize(layer)
    config.pop("build_config", None)
    name = f"{direction}{layer.name.removeprefix(direction)}"
    return serialization.deserialize({**config, "config": {**config["config"], **changed, "name": name}})
