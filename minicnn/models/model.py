"""`Model(inputs, outputs)`: a graph of layers that can be called, trained, saved and used as a layer."""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from typing import Any

import numpy as np

from minicnn import backends, config, registry
from minicnn.layers import InputLayer, Layer
from minicnn.layers.base import as_shape, dtype_name, layers_in, with_batch
from minicnn.layers.masks import attach_masks, mask_of
from minicnn.layers.symbolic import KerasTensor, Node, carry_trials, is_symbolic
from minicnn.layers.tracing import MISSING, said_training, takes, takes_training
from minicnn.models.data_checks import as_arrays
from minicnn.models.graph import calls_of, check_calls, layers_by_depth, topological_nodes
from minicnn.models.graph_config import config_of_graph, tensors_of_config, without_mask_ops
from minicnn.models.summary import print_summary
from minicnn.models.training import Trainer
from minicnn.saving import deserialize_keras_object, load_weights, save_model, save_weights, serialize_keras_object
from minicnn.structure import flatten_struct, pack_returned
from minicnn.tensor import as_tensor, watching

__all__ = ["Functional", "Model"]

_MOST_TENSORS = 1000  # inputs, or outputs, of one model


@registry.register("model", "Functional")
class Model(Trainer, Layer):
    """A model from symbolic inputs to symbolic outputs.

    Args:
        inputs: an `Input`, or a list or dict of them (any symbolic tensor will do: the layers
            before it are cut off).
        outputs: tensors computed from them, in the same ways; results come back in this structure.
        name: default "functional", "functional_1", ...

    Attributes:
        layers: as Keras counts them, the farthest from the outputs first; without ops and operators, which are in `operations`.
        input, output, inputs, outputs: the symbolic tensors.
        input_shape, output_shape: of the symbolic tensors. input_names, output_names: as data and losses are given by.
        input_range: (low, high) of the pixels it was trained on, (0, 1) or (0, 255), where that is known: set it, and
            `save` writes it into the `.keras` file.

    Examples:
        >>> from minicnn.layers import Input
        >>> x = Input(shape=(8,))
        >>> model = Model(inputs=x, outputs=Layer(name="same")(x))
        >>> model.output_shape
        (None, 8)

    A class that inherits from Model passes `inputs` and `outputs` to `super().__init__`, or has a method `call`:

        class Classifier(Model):
            def __init__(self):
                super().__init__()
                self.conv, self.flat, self.out = Conv2D(8, 3), Flatten(), Dense(10, activation="softmax")

            def call(self, x, training=False):
                return self.out(self.flat(self.conv(x)))

    Such a model is traced when the shape of its input is known (by its first batch, or `build`): `call` is run on symbolic
    tensors, and what it does with them is the graph. One that has neither is trained by a `train_step` of its own.
    """

    input_range: tuple[float, float] | None = None
    _writes_config = False  # its `get_config` is that of the classes made from it

    _keras_module = "keras.src.models.functional"
    _keras_class_name = "Functional"

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, trainable: bool = True, **kwargs: Any
    ) -> None:
        if (inputs is None or outputs is None) and (type(self) is Model or inputs is not outputs):
            raise ValueError(
                f"{type(self).__name__}: a Model is made with `Model(inputs=..., outputs=...)`, or by a class that inherits "
                "from it and has a method `call`."
            )
        if dtype_name(kwargs.pop("dtype", None), type(self).__name__) != config.floatx() or kwargs:
            raise ValueError(f"Unrecognized keyword arguments passed to {type(self).__name__}: {kwargs}")
        self._init_model(name)
        if inputs is not None:
            self._set_graph(inputs, outputs)
        # Its own flag only: what its layers say of themselves (a frozen base in a new model) stays.
        self._trainable = trainable if trainable is not None else True

    def _init_model(self, name: str | None) -> None:
        automatic = "functional" if type(self) is Model else registry.snake_case(type(self).__name__)
        Layer.__init__(self, name=name or registry.unique_name(automatic))
        self._sublayers: list[Layer] = []
        self._inputs: list[KerasTensor] = []
        self._outputs: list[KerasTensor] = []
        self._nodes: list[Node] = []
        self._graph_losses: list[KerasTensor] = []
        self._input_layers: list[Layer] = []
        self._input_struct: Any = None
        self._output_struct: Any = None
        self._is_traced = True  # whether the graph is what a `call` of the class does; False where a graph was given
        Trainer.__init__(self)

    @property
    def _has_call(self) -> bool:
        return self._is_traced and type(self).call is not Layer.call

    def _says_training(self) -> bool:
        """Whether `fit` computes as in training. As in Keras, layers do not hear of it in a `call` without that argument."""
        return not self._has_call or takes_training(self.call)

    def _build_for(self, arrays: list[Any]) -> None:
        """Before the first batch: the graph for arrays of these shapes. What is traced is traced anew for other shapes."""
        shapes = [(None, *array.shape[1:]) for array in arrays]
        if not self._is_traced:
            if not self.built:
                self.build(shapes[0])
        elif [tensor.shape for tensor in self._inputs] != shapes:
            if isinstance(self._input_struct, dict):
                self._trace_on(dict(zip(self._input_struct, shapes)))
            else:
                self._trace_on(shapes if len(shapes) > 1 else shapes[0])

    def _trace_on(self, shapes: Any) -> None:
        """Make the graph of `call` for inputs of these shapes: a tuple, or a list or dict of them."""
        if type(self).call is Layer.call:
            raise NotImplementedError(f"Model {type(self).__name__} does not have a `call()` method implemented.")
        if isinstance(shapes, dict):
            inputs: Any = {key: InputLayer(batch_shape=shape, name=key).output for key, shape in shapes.items()}
        elif isinstance(shapes, list):
            inputs = [InputLayer(batch_shape=shape).output for shape in shapes]
        else:
            inputs = InputLayer(batch_shape=shapes).output
        outputs = self._run_call((inputs,), {}, None)
        first = flatten_struct(outputs)[0]
        self._inputs, self._outputs = flatten_struct(inputs), flatten_struct(outputs)
        self._input_struct, self._output_struct = inputs, outputs
        self._nodes = [] if first.node is None else [first.node]
        self._input_layers = [tensor.node.layer for tensor in self._inputs if tensor.node is not None]
        self._build_shape = shapes
        self.input_names = [layer.name for layer in self._input_layers]
        self.output_names = list(outputs) if isinstance(outputs, dict) else self._default_output_names()
        self.built = True
        self._forget_plans()

    def _set_graph(self, inputs: Any, outputs: Any) -> None:
        self._is_traced = False
        flat_inputs, flat_outputs = flatten_struct(inputs), flatten_struct(outputs)
        for argument, tensors in (("inputs", flat_inputs), ("outputs", flat_outputs)):
            if not tensors:
                raise ValueError(f"Model '{self.name}': `{argument}` is empty.")
            if len(tensors) > _MOST_TENSORS:
                raise ValueError(f"Model '{self.name}': `{argument}` has {len(tensors)} tensors, more than {_MOST_TENSORS}.")
            for tensor in tensors:
                if not isinstance(tensor, KerasTensor):
                    raise ValueError(
                        f"All `{argument}` values must be KerasTensors. Received: {argument}={tensor!r} of type "
                        f"{type(tensor).__name__}"
                    )
        if len({id(tensor) for tensor in flat_inputs}) != len(flat_inputs):
            raise ValueError(f"Model '{self.name}': `inputs` holds the same tensor twice.")
        # A tensor in the middle of a graph becomes an input of its own.
        starts = {id(t): t for t in flat_inputs}
        nodes = topological_nodes(flat_inputs, flat_outputs)
        self._inputs, self._outputs, self._nodes = flat_inputs, flat_outputs, nodes
        self._input_struct, self._output_struct = inputs, outputs
        self._input_layers = [
            t.node.layer
            if t.node is not None and isinstance(t.node.layer, InputLayer)
            else InputLayer(batch_shape=t.shape, dtype=t.dtype)
            for t in starts.values()
        ]
        self._call_count = check_calls(self.name, sum(calls_of(node.layer) for node in nodes))
        self._sublayers = layers_by_depth(flat_inputs, self._input_layers, flat_outputs, nodes)
        uses = Counter(layer.name for layer in self._sublayers)
        for name, count in uses.items():
            if count > 1:
                raise ValueError(f'The name "{name}" is used {count} times in the model. All layer names should be unique.')
        self.input_names = [layer.name for layer in self._input_layers]
        if isinstance(inputs, dict):
            self.input_names = list(inputs)
        self.output_names = list(outputs) if isinstance(outputs, dict) else self._default_output_names()
        self.built = True
        self._forget_plans()

    def add_loss(self, loss: Any) -> None:
        """As `Layer.add_loss`; also of symbolic tensors of the model's own graph, as programs of Keras 2 have it. A file of
        the model does not hold these.

        Raises:
            ValueError: if a tensor does not follow from the model's inputs, or from weights that the model does not have.
        """
        symbolic = [one for one in flatten_struct(loss) if isinstance(one, KerasTensor)]
        if watching.tracing or not symbolic:
            super().add_loss(loss)
            return
        if self._is_traced:
            raise ValueError(f"Model '{self.name}' has a `call`: `add_loss` of symbolic tensors belongs there.")
        nodes = topological_nodes(self._inputs, symbolic)
        held = set(map(id, self.weights))
        for layer in (node.layer for node in nodes):
            if any(id(variable) not in held for variable in layer.weights):
                raise ValueError(f"Model '{self.name}' was given a loss of layer '{layer.name}', which is no layer of its own.")
        self._graph_losses += [registry.operation("sum")(one) for one in symbolic]
        self._forget_plans()

    def _default_output_names(self) -> list[str]:
        names: list[str] = []
        for tensor in self._outputs:
            name = tensor.node.layer.name if tensor.node is not None else tensor.name
            while name in names:
                name += "_1"
            names.append(name)
        return names

    # --- as a layer ---------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Make the graph and the weights of a model that has a `call`, for inputs of this shape (of these shapes)."""
        if self._is_traced and not self._inputs:
            several = isinstance(input_shape, list) and isinstance(input_shape[0], (list, tuple))
            self._trace_on([tuple(one) for one in input_shape] if several else as_shape(input_shape))
        self.built = True

    def build_once(self, input_shape: Any) -> None:
        if not self._is_traced or type(self).build is not Model.build:
            super().build_once(input_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self._is_traced:
            return super().compute_output_shape(input_shape)
        shapes = (
            list(input_shape) if isinstance(input_shape, list) or isinstance(input_shape[0], (tuple, list)) else [input_shape]
        )
        known = {id(tensor): tuple(shape) for tensor, shape in zip(self._inputs, shapes)}
        for node in self._nodes:
            before = [known[id(tensor)] for tensor in node.inputs]
            known.update(zip(map(id, node.outputs), node.output_shapes(before)))
        found = [known[id(tensor)] for tensor in self._outputs]
        return found[0] if len(found) == 1 else found

    def __call__(self, inputs: Any = MISSING, *args: Any, training: bool | None = None, mask: Any = None, **kwargs: Any) -> Any:
        """On symbolic tensors: use the model as a layer. On arrays: its outputs (nothing is learnt)."""
        if inputs is MISSING:
            inputs = self._named_inputs(kwargs)
        if mask is not None and self._is_traced and takes(self.call, "mask"):
            kwargs["mask"] = mask
        elif mask is not None:
            raise ValueError(f"Model '{self.name}' takes no mask. Received: mask={mask!r}")
        if self._is_traced and (args or kwargs or is_symbolic(inputs)):
            return self._run_call((inputs, *args), kwargs, training)
        if is_symbolic(inputs):
            return self._call_symbolic_model(inputs, training)
        if self._is_traced and isinstance(inputs, dict) and not self._inputs:
            self._trace_on({key: (None, *np.shape(value)[1:]) for key, value in inputs.items()})
        arrays = self._in_order_of_inputs(inputs)
        self._build_for(arrays)
        said = said_training(training)
        training = bool(said)
        self._forget_losses()
        use = ("predict", "layer", "twice")[min(len(watching.tapes), 2)]
        plan = self._plan_for(use, training=training, as_called=said is None)
        penalties: list[Any] = []
        if watching.tapes:
            given = [inputs[name] for name in self.input_names] if isinstance(inputs, dict) else flatten_struct(inputs)
            outputs = plan.forward_recorded(given, self._feed(arrays), training, penalties)
        else:
            outputs = as_tensor(plan.forward(self._feed(arrays), training, penalties=penalties))
            penalties = as_tensor(penalties)
        self._added_losses = penalties
        return pack_returned(self._output_struct, outputs)

    def _in_order_of_inputs(self, inputs: Any) -> list[Any]:
        names = getattr(self, "input_names", None) or ["x"]
        if self._is_traced and not self._inputs and isinstance(inputs, (list, tuple)) and hasattr(inputs[0], "shape"):
            names = [f"x{i}" for i in range(len(inputs))]  # before the model is traced, every array is an input
        if isinstance(inputs, (list, tuple)) and len(names) == 1 and not (len(inputs) == 1 and hasattr(inputs[0], "shape")):
            inputs = backends.asarray(inputs, config.floatx())  # nested lists of numbers
        arrays = as_arrays(inputs, names, "input")
        assert arrays is not None
        return arrays

    def _call_symbolic_model(self, inputs: Any, training: bool | None = None) -> Any:
        tensors = [inputs[name] for name in self.input_names] if isinstance(inputs, dict) else flatten_struct(inputs)
        if not self.built:
            self.build(tensors[0].shape)
        if len(tensors) != len(self._inputs):
            raise ValueError(
                f'Layer "{self.name}" expects {len(self._inputs)} input(s), but it received {len(tensors)} input tensors.'
            )
        shapes = self.compute_output_shape([tensor.shape for tensor in tensors])
        node = Node(self, tensors, isinstance(inputs, (list, tuple)))
        node.training = training
        node.outputs = [
            KerasTensor(shape, tensor.dtype, node=node)
            for shape, tensor in zip([shapes] if len(self._outputs) == 1 else shapes, self._outputs)
        ]
        carry_trials(node, self.compute_output_shape)
        attach_masks(self, inputs, node.outputs, mask_of(inputs))
        return pack_returned(self._output_struct, node.outputs)

    # --- what a user reads --------------------------------------------------------------

    @property
    def _held_layers(self) -> list[Layer]:
        if self._is_traced:
            return layers_in({name: value for name, value in self.__dict__.items() if name != "_input_layers"})
        return self._sublayers

    @property
    def operations(self) -> list[Layer]:
        """The layers, and the ops between them."""
        return list(self._held_layers)

    @property
    def layers(self) -> list[Layer]:
        return [layer for layer in self.operations if not layer.is_operation]

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError("`Model.layers` attribute is reserved and should not be used. Please use another name.")

    def _defined(self, attribute: str) -> None:
        """Raise AttributeError, so that `hasattr` is False, for what a model without a graph does not have."""
        if not self.built:
            raise AttributeError(
                f"Model '{self.name}' has no defined {attribute} yet: build it with data, an `Input`, or `build(input_shape)`."
            )

    @property
    def input(self) -> Any:
        self._defined("input")
        return self._input_struct

    @property
    def output(self) -> Any:
        self._defined("output")
        return self._output_struct

    @property
    def inputs(self) -> list[KerasTensor]:
        self._defined("inputs")
        return list(self._inputs)

    @property
    def outputs(self) -> list[KerasTensor]:
        self._defined("outputs")
        return list(self._outputs)

    @property
    def input_shape(self) -> Any:
        self._defined("input_shape")
        return pack_returned(self._input_struct, [tensor.shape for tensor in self._inputs])

    @property
    def output_shape(self) -> Any:
        self._defined("output_shape")
        return pack_returned(self._output_struct, [tensor.shape for tensor in self._outputs])

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or its place in `layers`.

        Raises:
            ValueError: if there is none (Keras's wording).
        """
        if index is not None and name is not None:
            raise ValueError(f"Provide only a layer name or a layer index. Received: index={index}, name={name}.")
        if index is not None:
            if len(self.layers) <= index:
                raise ValueError(f"Was asked to retrieve layer at index {index} but model only has {len(self.layers)} layers.")
            return self.layers[index]
        if name is None:
            raise ValueError("Provide either a layer name or layer index at `get_layer`.")
        for layer in self.operations:
            if layer.name == name:
                return layer
        raise ValueError(f"No such layer: {name}. Existing layers are: {[layer.name for layer in self.layers]}.")

    def _repr_html_(self) -> str:
        """The summary: what a notebook shows."""
        import html

        lines: list[str] = []
        self.summary(print_fn=lines.append)
        return f"<pre>{html.escape(''.join(lines))}</pre>"

    def reset_states(self) -> None:
        """Forget the states that the last batch left, in all stateful layers; a name of Keras 2's."""
        for layer in self._flatten_layers(include_self=False):
            if hasattr(layer, "reset_states"):
                layer.reset_states()

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: tuple[str, str] | None = None,
    ) -> None:
        """Print a table of the layers: type, output shape, parameters, FLOPs of one image forward.

        Args:
            line_length: width in characters. print_fn: called with the text instead of printing it.
            expand_nested: show the layers of models used as layers. show_trainable: a column for it.
            layer_range: (first, last) names of the layers to show.
        """
        print_summary(self, line_length, print_fn, expand_nested, show_trainable, layer_range)

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on layer '{self.name}', but the layer isn't built. "
                "You can build it manually via: `layer.build(input_shape)`."
            )
        return sum(variable.size for variable in self.weights)

    # --- files --------------------------------------------------------------------------

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Write everything to a `.keras` file: configuration, weights, compile settings, optimizer state."""
        save_model(self, filepath, overwrite=overwrite, **kwargs)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Write the weights to a `.weights.h5` file; to an older `.h5` or `.hdf5`, without the optimizer's state."""
        save_weights(self, filepath, overwrite=overwrite)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Read weights from a `.weights.h5` or `.keras` file; the model is unchanged if that fails."""
        load_weights(self, filepath, skip_mismatch=skip_mismatch, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The graph as plain data, in Keras 3's functional format. Of a class that writes a `call`, or a constructor of other
        arguments than `inputs` and `outputs`, what a layer's `get_config` returns.

        Raises:
            NotImplementedError: see there.
        """
        parameters = inspect.signature(type(self).__init__).parameters.values()
        if self._is_traced or not any(one.name == "inputs" or one.kind is one.VAR_POSITIONAL for one in parameters):
            return super().get_config()
        if self._graph_losses:
            warnings.warn(
                f"Model '{self.name}' has a loss of symbolic tensors, given to `add_loss`: its config and its file do not hold "
                "it. Call `add_loss` again after loading.",
                stacklevel=2,
            )
        return config_of_graph(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Model:
        """A model with the graph of `get_config`, and fresh weights."""
        if "layers" not in config or "output_layers" not in config:
            return cls(**config)
        config = without_mask_ops(config)
        layers = {entry["name"]: deserialize_keras_object(entry, custom_objects=custom_objects) for entry in config["layers"]}
        for entry in config["layers"]:
            if entry.get("is_operation"):
                layers[entry["name"]].is_operation = True
        inputs, outputs = tensors_of_config(config, layers)
        return cls(inputs=inputs, outputs=outputs, name=config.get("name"), trainable=config.get("trainable", True))

    def get_build_config(self) -> dict[str, Any] | None:
        """The shape that a `call` was traced for. Keras runs it on a batch of this size, so it is one."""
        return {"input_shape": with_batch(1, self._build_shape)} if self._is_traced and self._inputs else None

    def build_from_config(self, config: dict[str, Any]) -> None:
        if self._is_traced and config.get("input_shape") is not None:
            self._trace_on(with_batch(None, as_shape(config["input_shape"])))

    def to_json(self, **kwargs: Any) -> str:
        """The configuration as JSON; `kwargs` go to `json.dumps`."""
        import json

        return json.dumps(serialize_keras_object(self), **kwargs)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        """The outputs for arrays, for a layer that holds this model. A plan of a model around this one opens it instead."""
        plan = self._plan_for("layer", training=training)
        saved: list[Any] = []
        outputs = plan.forward(self._feed(list(x) if isinstance(x, (list, tuple)) else [x]), training, saved)
        return pack_returned(self._output_struct, outputs), (plan, saved)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        """dx (a list for several inputs), and a gradient for every weight: zeros where it is frozen or no output needs it."""
        plan, of_steps = saved
        of_weights, dx = plan.backward(flatten_struct(dy), list(of_steps))
        grads = tuple(of_weights[v] if v in of_weights else v.value * 0 for v in self._weights_with_gradients)
        return dx[0] if len(dx) == 1 else dx, grads

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


Functional = Model  # Keras's name for models that are graphs
