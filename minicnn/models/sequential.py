"""`Sequential`: a model whose layers stand in a row."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from minicnn import registry
from minicnn.layers import InputLayer, Layer
from minicnn.layers.symbolic import KerasTensor
from minicnn.layers.tracing import MISSING
from minicnn.models.graph import calls_of, check_calls
from minicnn.models.model import Model
from minicnn.saving import deserialize_keras_object, serialize_keras_object

__all__ = ["Sequential"]


@registry.register("model")
class Sequential(Model):
    """Layers in a row: each gets the output of the one before.

    Args:
        layers: list of layers; an `Input` or an `input_shape=` on the first one builds the model
            at once, otherwise the first batch does.
        trainable, name: as for a layer.

    Examples:
        >>> from minicnn.layers import Dense, Input
        >>> model = Sequential([Input(shape=(4,)), Dense(3, activation="relu"), Dense(1)])
        >>> model.count_params()
        19
    """

    _keras_module = "keras"
    _keras_class_name = "Sequential"
    _is_sequential = True

    def __init__(self, layers: Sequence[Any] | None = None, trainable: bool = True, name: str | None = None) -> None:
        self._init_model(name)
        self._is_traced = False
        self._row: list[Layer] = []  # with the InputLayer, if there is one
        self._call_count = 0
        for layer in [layers] if isinstance(layers, Layer) else layers or []:
            self.add(layer)
        self._trainable = trainable  # its own flag: what its layers say of themselves stays

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Append a layer (or an `Input`, first).

        Raises:
            ValueError: if it is no layer, its name is taken, or it does not fit the output before
                it; the model is then as it was.
        """
        if isinstance(layer, KerasTensor):
            layer = layer.node.layer if layer.node is not None else layer
        if not isinstance(layer, Layer) and (isinstance(layer, type) or not hasattr(layer, "forward")):
            raise ValueError(
                f"Only instances of `minicnn.Layer` can be added to a Sequential model. Received: {layer} (of type "
                f"{type(layer)})"
            )
        if layer.name in map(attrgetter("name"), self._row):
            raise ValueError(
                f"All layers added to a Sequential model should have unique names. Name '{layer.name}' is already the "
                "name of a layer "
                "in this model. Update the `name` argument to pass a unique name."
            )
        if isinstance(layer, InputLayer):
            if self._row and isinstance(self._row[0], InputLayer):
                raise ValueError(
                    f"Sequential model '{self.name}' has already been configured to use input shape "
                    f"{self._row[0].batch_shape}. "
                    f"You cannot add a different Input layer to it."
                )
            if self._row:
                raise ValueError(f"Sequential model '{self.name}': an Input can only be added first.")
        elif not self._row and getattr(layer, "_batch_input_shape", None) is not None and not isinstance(layer, Model):
            self.add(InputLayer(batch_shape=layer._batch_input_shape, dtype=layer.dtype))
        elif not self._row and isinstance(layer, Model) and layer.built:
            self.add(InputLayer(batch_shape=layer._inputs[0].shape, dtype=layer._inputs[0].dtype))
        if self._row and isinstance(self._row[0], InputLayer):
            self._extend(layer)
        self._row.append(layer)
        self._sublayers = list(self._row)
        if isinstance(layer, InputLayer):
            self._extend(layer)

    def _extend(self, layer: Layer) -> None:
        """Lead the graph through one more layer."""
        if isinstance(layer, InputLayer):
            output = layer.output
            self._inputs = [output]
        else:
            count = check_calls(self.name, self._call_count + calls_of(layer))
            output = layer(self._outputs[0])
            if not isinstance(output, KerasTensor):
                raise ValueError(
                    "All layers in a Sequential model should have a single output tensor. For multi-output layers, use "
                    "the functional API."
                )
            assert output.node is not None
            self._nodes.append(output.node)
            self._call_count = count
        self._outputs = [output]
        self._finish()

    def _finish(self) -> None:
        """After a change: the graph as `Model` keeps it."""
        self._input_layers = [layer for layer in self._row[:1] if isinstance(layer, InputLayer)]
        self._input_struct, self._output_struct = self._inputs[0], self._outputs[0]
        self.input_names = [self._inputs[0].name]
        self.output_names = self._default_output_names()
        self.built = True
        self._forget_plans()

    def pop(self, rebuild: bool = True) -> Layer:
        """Remove the last layer and return it."""
        if not self.layers:
            raise ValueError(f"There are no layers in the model '{self.name}'.")
        layer = self._row.pop()
        self._sublayers = list(self._row)
        if self.built:
            node = self._outputs[0].node
            assert node is not None
            layer._inbound_nodes.remove(node)
            self._outputs = [node.inputs[0]]
            self._nodes.pop()
            self._call_count -= calls_of(layer)
            self._finish()
        return layer

    def build(self, input_shape: Any = None) -> None:
        """Create the weights for batches of `input_shape` (None for the batch axis).

        Raises:
            ValueError: if there is none, there are no layers, or the model was built for images of another size.
        """
        if self.built:
            known = self._inputs[0].shape
            given = known if input_shape is None else tuple(input_shape)
            if len(given) != len(known) or any(None not in pair and len({*pair}) > 1 for pair in zip(given[1:], known[1:])):
                raise ValueError(
                    f"Sequential model '{self.name}' has already been configured to use input shape {tuple(known)}. You cannot "
                    f"build it with input_shape {given}"
                )
            return
        if not self._row:
            raise ValueError(f"Sequential model {self.name} cannot be built because it has no layers. Call `model.add(layer)`.")
        if input_shape is None:
            raise ValueError(f"Sequential model '{self.name}': `build` needs an `input_shape`.")
        row, self._row = self._row, []
        try:
            self.add(InputLayer(batch_shape=tuple(input_shape)))
            for layer in row:
                self.add(layer)
        except Exception:
            # As it was: the layers in a row, without a graph.
            self._row, self.built, self._nodes, self._call_count = row, False, [], 0
            self._sublayers = list(row)
            raise

    def __call__(self, inputs: Any = MISSING, *args: Any, training: bool | None = None, mask: Any = None, **kwargs: Any) -> Any:
        if not self.built and not self._row:
            raise ValueError(f"Sequential model {self.name} cannot be called because it has no layers.")
        return super().__call__(inputs, *args, training=training, mask=mask, **kwargs)

    def predict_proba(self, x: Any, batch_size: int | None = None, verbose: int = 0) -> Any:
        """`predict`, under its older name."""
        return self.predict(x, batch_size=batch_size, verbose=verbose)

    def predict_classes(self, x: Any, batch_size: int | None = None, verbose: int = 0) -> Any:
        """The most probable class of each row of `predict`; for a single output, whether it is above 1/2."""
        probabilities = self.predict(x, batch_size=batch_size, verbose=verbose)
        if probabilities.shape[-1] > 1:
            return probabilities.argmax(axis=-1)
        return (probabilities > 0.5).astype("int32")

    def compute_output_shape(self, input_shape: Any) -> Any:
        if isinstance(input_shape, list) and isinstance(input_shape[0], (list, tuple)):
            input_shape = input_shape[0]
        for layer in self.layers:
            input_shape = layer.compute_output_shape(tuple(input_shape))
        return input_shape

    @property
    def layers(self) -> list[Layer]:
        """The layers, without the `InputLayer`."""
        return [layer for layer in self._row if not isinstance(layer, InputLayer)]

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(
            "`Sequential.layers` attribute is reserved and should not be used. Use `add()` and `pop()` to change the layers."
        )

    @property
    def operations(self) -> list[Layer]:
        """`layers`."""
        return self.layers

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": self.dtype,
            "layers": [serialize_keras_object(layer) for layer in self._row],
        }
        if self.built:
            config["build_input_shape"] = self._inputs[0].shape
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Sequential:
        if "name" not in config or "layers" not in config:
            raise ValueError(
                "A Sequential model configuration must be a dictionary containing the 'name' and 'layers' keys. "
                f"Received: config={config}"
            )
        model = cls(name=config["name"])
        for entry in config["layers"]:
            model.add(deserialize_keras_object(entry, custom_objects=custom_objects))
        shape = config.get("build_input_shape")
        if not model.built and isinstance(shape, (list, tuple)):
            model.build(tuple(shape))
        model._trainable = config.get("trainable", True)
        return model
