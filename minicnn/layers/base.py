"""`Layer`: weights, a forward pass, and the backward pass beneath it.

A layer of your own is a class with three methods:

    class Scale(Layer):
        def build(self, input_shape):
            self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")

        def forward(self, x, training):
            return x * self.factor.value, x           # the output, and what backward will read

        def backward(self, dy, saved):
            x = saved                                 # dx = dy * factor;  dfactor[c] = sum of dy * x
            return dy * self.factor.value, ((dy * x).sum(axis=tuple(range(x.ndim - 1))),)

It may hold layers, as attributes or in lists and dicts. It builds them, and runs both their passes:

    class Residual(Layer):                            # y = x + second(first(x))
        def build(self, input_shape):
            self.first, self.second = Dense(8, activation="relu"), Dense(input_shape[-1])
            self.first.build(input_shape)
            self.second.build((*input_shape[:-1], 8))

        def forward(self, x, training):
            h, of_first = self.first.forward(x, training)
            y, of_second = self.second.forward(h, training)
            return x + y, (of_first, of_second)

        def backward(self, dy, saved):
            of_first, of_second = saved
            dh, second_grads = self.second.backward(dy, of_second)
            dx, first_grads = self.first.backward(dh, of_first)
            return dy + dx, (*first_grads, *second_grads)

Or it has one method `call`, made of layers, operators and functions of `minicnn.ops`, and no gradient:

    class Scaled(Layer):
        def build(self, input_shape):
            self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones")

        def call(self, x, training=False):
            return x * self.factor if training else x

What it holds may be a model, too: `Model.forward` and `Model.backward` are a layer's. In a model, what
an own layer returns may be a view or of another dtype, and what it hands to a layer that it holds may
be a view: it is copied to what kernels read. (NumPy makes float64 of much; what is not of a held layer's
dtype is computed by the reference backend, slowly.) No method may change an array that it was given.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from minicnn import activations, backends, config, constraints, initializers, registry, regularizers, tape
from minicnn.layers.arguments import plain_arguments
from minicnn.layers.inherited import has_call, inherited_part
from minicnn.layers.input_spec import assert_input_compatibility
from minicnn.layers.masks import attach_masks, leave_out_of_config, mask_of
from minicnn.layers.symbolic import KerasTensor, Node, Shape, carry_trials, is_symbolic
from minicnn.layers.tracing import (
    MISSING,
    call_traced,
    not_traced,
    running_trace,
    said_training,
    saying_training,
    shapes_of,
    takes,
    takes_training,
)
from minicnn.seeds import SeedGenerator
from minicnn.structure import flatten_struct, pack_struct
from minicnn.tensor import Tensor, as_tensor, watching
from minicnn.variables import Variable, count_trainable_change

__all__ = ["Layer", "as_shape", "dtype_name", "layers_in", "record_call", "recorded_penalty", "with_batch"]

_FLOAT_TYPES = ("float32", "float64")


def dtype_name(dtype: Any, owner: str) -> str:
    """Keras's ways to say a dtype (name, NumPy dtype, policy, policy's config) as a name.

    Raises:
        ValueError: for one that minicnn does not compute in.
    """
    if dtype is None:
        return config.floatx()
    if isinstance(dtype, dict):
        dtype = dtype.get("config", {}).get("name", dtype)
    name = getattr(dtype, "name", dtype)
    name = name if isinstance(name, str) else np.dtype(name).name
    name = "float32" if name in ("mixed_bfloat16", "mixed_float16") else name  # see `config.set_dtype_policy`
    if name not in _FLOAT_TYPES:
        raise ValueError(f"{owner}: minicnn computes in one of {_FLOAT_TYPES}. Received: dtype={dtype!r}")
    return name


class Layer:
    """Base of all layers.

    Args:
        name: default from the class: "conv2d", then "conv2d_1", ...
        trainable: False freezes the weights.
        dtype: "float32" or "float64"; default `config.floatx()`.
        activity_regularizer: penalty on the layer's output; enters loss and gradient, divided by the batch size.
        input_shape and batch_size, or batch_input_shape: of a first layer, as older programs give it.
        weights: the weights' values when they are created, likewise.

    Attributes:
        built: whether the weights exist.
        weights, trainable_weights, non_trainable_weights: lists of `Variable`.
        input, output: symbolic tensors of the layer's first call in a model.
    """

    input_spec: Any = None
    supports_masking = False
    autocast = True  # whether what the layer reads is cast to its dtype
    is_operation = False  # whether it is an op or an operator of a graph, and none of `Model.layers`
    _trains_by_default = False  # what `layer(x)` without `training` means
    _own_arguments: ClassVar[tuple[str, ...]] = ()  # constructor arguments that `get_config` reads from attributes
    _writes_config: ClassVar[bool] = False  # whether the class says what its config is, by that or by a `get_config`
    _constructed_with: dict[str, Any] | None  # of a class that does not: what its constructor takes and `Layer`'s does not

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        layer = super().__new__(cls)
        if not cls._writes_config:
            layer.__dict__["_constructed_with"] = plain_arguments(cls.__init__, args, kwargs, inspect.signature(Layer.__init__))
        return layer

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        shape = kwargs.pop("input_shape", None)
        if shape is None and kwargs.get("input_dim") is not None:
            shape = (kwargs["input_dim"],)
        batch_shape, batch_size = kwargs.pop("batch_input_shape", None), kwargs.pop("batch_size", None)
        kwargs.pop("input_dim", None)
        kwargs.pop("autocast", None)
        self._initial_weights: Any = kwargs.pop("weights", None)
        if kwargs:
            raise ValueError(f"Unrecognized keyword arguments passed to {type(self).__name__}: {kwargs}")
        if isinstance(shape, (int, np.integer)):
            shape = (int(shape),)
        if not isinstance(trainable, (bool, np.bool_)):
            raise ValueError(
                f"Expected `trainable` to be a boolean. Received: trainable={trainable!r} (of type {type(trainable)})"
            )
        if name is not None and not isinstance(name, str):
            raise ValueError(f"Argument `name` must be a string. Received: name={name!r}")
        if name is not None and "/" in name:
            raise ValueError(f"Argument `name` must be a string and cannot contain character `/`. Received: name={name!r}")
        self.name = name or registry.unique_name(registry.snake_case(type(self).__name__))
        self.dtype = dtype_name(dtype, f"Layer '{self.name}'")
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.built = type(self).build is Layer.build  # nothing to make
        self._trainable = bool(trainable)
        # In the order of creation, by what they were created as: a flag that is changed later moves no weight.
        self._trainable_variables: list[Variable] = []
        self._non_trainable_variables: list[Variable] = []
        self._seed_generators: list[SeedGenerator] = []
        self._inbound_nodes: list[Node] = []
        self._build_shape: Any = None
        self._activity_penalty: Any = None  # of the last call on arrays, for `losses`
        self._added_losses: list[Any] = []  # likewise
        self._batch_input_shape: Shape | None = (
            tuple(batch_shape) if batch_shape is not None else None if shape is None else (batch_size, *shape)
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """What follows from the methods that a class has: whether it supports masking, and whether it writes its config."""
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "compute_mask" in own and "supports_masking" not in own:
            cls.supports_masking = True
        if "_writes_config" not in own and ("get_config" in own or "_own_arguments" in own):
            cls._writes_config = True

    # --- what a layer writes ---------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of `input_shape` (None for the batch axis). Called once."""
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The output's shape for an input of `input_shape` (a list of shapes for several inputs)."""
        if not self._has_call:
            return input_shape
        several = bool(input_shape) and isinstance(input_shape[0], (list, tuple))
        tensors = [KerasTensor(shape, self.dtype) for shape in (input_shape if several else [input_shape])]
        with not_traced():  # what the trial does is no part of a `call` that asks
            return pack_struct(*_same(self(tensors if several else tensors[0]), lambda output: output.shape))

    @property
    def _has_call(self) -> bool:
        """Whether the layer is written in Keras's way, as a method `call` without a gradient of its own."""
        return has_call(type(self), Layer)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What `super().call(inputs)` computes in a class made from one of minicnn's layers: that one, on the same weights."""
        return inherited_part(self, Layer)(*args, **kwargs)

    masked_call: ClassVar[Any] = None
    """The `call(inputs, mask)` of a layer with a `forward`, for inputs that have a mask; None where a mask changes nothing."""

    @property
    def _own_call(self) -> Callable[..., Any]:
        """What is run, on arrays or symbolic tensors, in place of `forward`."""
        return self.call if self._has_call or self.masked_call is None else self.masked_call

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        """The output for `x`, and what `backward` will read.

        The default runs the layer's `call`, under a tape. (A plan does not come here: it runs what `call` was traced to.)
        """
        if not self._has_call:
            raise NotImplementedError(
                f"Layer {type(self).__name__} does not have a `call` method implemented, nor `forward(self, x, training)`."
            )
        inputs = as_tensor(x)
        with tape.GradientTape() as recorded, saying_training(training):
            recorded.watch(inputs)
            y = self.call(inputs, **({"training": training} if takes_training(self.call) else {}))
        return pack_struct(*_same(y, lambda one: backends.asarray(_host(one), self.dtype))), (recorded, inputs, y)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        """Gradients of the loss: at the input, and at each weight.

        Args:
            dy: the gradient at the output. saved: what `forward` returned beside it.

        Returns:
            dx: as x (a list for several inputs). A layer whose `backward` takes a third argument, `need_dx`, may return
                None where that is False: nobody reads the gradient at the input, as in a first layer.
            grads: one array for each weight that was added with `trainable=True`, frozen or not: the layer's own in the
                order of creation, then those of the layers it holds, in the order of its attributes. Where nothing is
                frozen, that is the order of `trainable_weights`.
        """
        if not self._has_call:
            raise NotImplementedError(
                f"Layer {type(self).__name__} ('{self.name}') has no `backward(self, dy, saved)`: it can compute but not be "
                "trained. Beside `forward(x, training)`, which returns (y, saved), write `backward(dy, saved)`, which returns "
                "(dx, grads); or, in place of both, a `call(x)` made of `minicnn.ops` and layers."
            )
        recorded, inputs, y = saved
        sources = [*flatten_struct(inputs), *self._weights_with_gradients]
        found = recorded.gradient(y, sources, output_gradients=dy, unconnected_gradients="zero")
        count = len(sources) - len(self._weights_with_gradients)
        return pack_struct(inputs, found[:count]), tuple(found[count:])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the output, of a layer with `supports_masking`, from that of the input: the same. See `masks`."""
        return mask

    def count_flops(self, input_shape: Any, output_shape: Any) -> int:
        """Floating-point operations of one forward pass over one image (multiply and add count as two)."""
        return 0

    def algorithm(self, input_shape: Any) -> str:
        """How the backend in use computes a forward pass over inputs of `input_shape`; "" where there is but one way."""
        return ""

    def add_weight(
        self,
        *args: Any,
        shape: Sequence[int] | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Create a weight, owned by this layer.

        Args:
            *args: shape, initializer and dtype, where they are not named.
            shape: default (), a scalar. initializer: default "glorot_uniform", of whole numbers and bools "zeros".
            trainable: whether `backward` returns a gradient for it.
            regularizer, constraint: as in Keras.
        """
        if args and isinstance(args[0], str):
            raise ValueError(
                f"`name` must be passed as a keyword argument. Received: add_weight({args[0]!r}, ...). "
                f"Use: add_weight(shape=..., name={args[0]!r})."
            )
        named = {"shape": shape, "initializer": initializer, "dtype": dtype}
        for name_of, value in zip(named, args, strict=False):
            if named[name_of] is not None:
                raise ValueError(f"`{name_of}` was passed both positionally and as a keyword argument.")
            named[name_of] = value
        shape, initializer, dtype = named.values()
        kind = np.dtype(dtype or self.dtype)
        default = "glorot_uniform" if kind.kind == "f" else "zeros"
        variable = Variable(
            initializers.get(default if initializer is None else initializer),
            shape=tuple(int(extent) for extent in (shape or ())),
            dtype=kind.name,
            trainable=trainable,
            name=name or registry.unique_name("variable"),
            regularizer=regularizers.get(regularizer),
            constraint=constraints.get(constraint),
        )
        variable.path = f"{self.name}/{variable.name}"
        self._own(variable)
        return variable

    add_variable = add_weight

    def __setattr__(self, name: str, value: Any) -> None:
        # Generators and variables that a layer holds are part of it, however they came to be there.
        if isinstance(value, (SeedGenerator, Variable)) and "_seed_generators" in self.__dict__:
            self._own(value)
        object.__setattr__(self, name, value)

    def _own(self, value: SeedGenerator | Variable) -> None:
        owned: list[Any] = self._seed_generators
        if isinstance(value, Variable):
            owned = self._trainable_variables if value.trainable else self._non_trainable_variables
        if not any(value is item for item in owned):
            owned.append(value)

    def _forget_losses(self) -> None:
        """Leave out what calls so far added to `losses`, of this layer and of those it holds."""
        for layer in self._flatten_layers():
            layer._added_losses, layer._activity_penalty = [], None

    def add_loss(self, loss: Any) -> None:
        """Add a tensor (or several), computed in `call`, to the loss that the model is trained with."""
        into = running_trace()
        for one in flatten_struct(loss):
            if isinstance(one, KerasTensor) and into is not None:
                into.losses.append(registry.operation("sum")(one))
            else:
                self._added_losses.append(one)

    # --- weights ----------------------------------------------------------------------

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for variable in self._trainable_variables:
            variable.trainable = bool(value)
        count_trainable_change()
        for layer in self._held_layers:
            layer.trainable = bool(value)

    @property
    def _held_layers(self) -> list[Layer]:
        """The layers among the attributes, and in lists, tuples and dicts there; in the order of the attributes."""
        return layers_in(self.__dict__)

    def _flatten_layers(self, include_self: bool = True, recursive: bool = True) -> list[Layer]:
        """This layer and those it holds, depth first."""
        found: dict[int, Layer] = {id(self): self} if include_self else {}
        for layer in self._held_layers:
            for inner in layer._flatten_layers() if recursive else [layer]:
                found.setdefault(id(inner), inner)
        return list(found.values())

    @property
    def _own_variables(self) -> list[Variable]:
        return self._trainable_variables + self._non_trainable_variables

    @property
    def _weights_with_gradients(self) -> list[Variable]:
        """What `backward` returns gradients for, in that order."""
        return _once(variable for layer in self._flatten_layers() for variable in layer._trainable_variables)

    @property
    def weights(self) -> list[Variable]:
        return _once(variable for layer in self._flatten_layers() for variable in layer._own_variables)

    @property
    def trainable_weights(self) -> list[Variable]:
        frozen = {id(v) for layer in self._flatten_layers() if not layer.trainable for v in layer._own_variables}
        return [v for v in self.weights if v.trainable and id(v) not in frozen] if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Variable]:
        trained = {id(v) for v in self.trainable_weights}
        return [v for v in self.weights if id(v) not in trained]

    @property
    def variables(self) -> list[Variable]:
        """The weights, and the states of random generators."""
        return self.weights + [g.state for layer in self._flatten_layers() for g in layer._seed_generators]

    @property
    def trainable_variables(self) -> list[Variable]:
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Variable]:
        trained = {id(v) for v in self.trainable_weights}
        return [v for v in self.variables if id(v) not in trained]

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights, as NumPy arrays."""
        return [variable.numpy() for variable in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace the weights; nothing changes unless all fit.

        Raises:
            ValueError: for a wrong number of arrays or a wrong shape, naming it.
        """
        mine = self.weights
        if len(mine) != len(weights):
            raise ValueError(
                f"You called `set_weights(weights)` on layer '{self.name}' with a weight list of length {len(weights)}, "
                f"but the layer was expecting {len(mine)} weights."
            )
        for variable, value in zip(mine, weights):
            if variable.shape != np.shape(value):
                raise ValueError(
                    f"Layer {self.name} weight shape {variable.shape} is not compatible with "
                    f"provided weight shape {np.shape(value)}."
                )
        for variable, value in zip(mine, weights):
            variable.assign(value)

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on layer '{self.name}', but the layer isn't built. "
                "You can build it manually via: `layer.build(input_shape)`."
            )
        return sum(variable.size for variable in self.weights)

    @property
    def losses(self) -> list[Any]:
        """What was added to the loss: by `add_loss` and of outputs, as the last call on arrays left them; then one penalty a
        regularized weight."""
        layers = self._flatten_layers()
        outputs = [layer._activity_penalty for layer in layers if layer._activity_penalty is not None]
        added = [one for layer in layers for one in layer._added_losses]
        return (
            added + outputs + [recorded_penalty(v.regularizer, v) for v in self.trainable_weights if v.regularizer is not None]
        )

    @property
    def dtype_policy(self) -> str:
        return self.dtype

    compute_dtype = variable_dtype = dtype_policy

    # --- calling ----------------------------------------------------------------------

    def build_once(self, input_shape: Any) -> None:
        """`build`, unless that was done. Of a dict of shapes, a `build` of several arguments takes each by its name."""
        unseen = self._build_shape is None and type(self).build is Layer.build  # built from the start, for no shape
        if self.built and not unseen:
            return
        with not_traced():  # also where it is first called in the `call` of another
            if isinstance(input_shape, dict) and len(inspect.signature(self.build).parameters) > 1:
                self.build(**input_shape)
            else:
                self.build(input_shape)
            self.built = True
            self._build_shape = input_shape
            self._name_paths()
            if self._initial_weights is not None:
                self.set_weights(self._initial_weights)
                self._initial_weights = None

    def _name_paths(self, above: str = "") -> None:
        """Give the weights their paths, "layer/held layer/weight"."""
        for variable in self._own_variables:
            variable.path = f"{above}{self.name}/{variable.name}"
        for layer in self._held_layers:
            layer._name_paths(f"{above}{self.name}/")

    def __call__(self, inputs: Any = MISSING, *args: Any, training: bool | None = None, mask: Any = None, **kwargs: Any) -> Any:
        """On symbolic tensors: draw this call into the graph. On arrays: compute, and return the output.

        Args:
            inputs: or, by its own name, the first argument of the layer's `call`.
            training: whether dropout, batch normalization and the like behave as in training; default no,
                but yes for augmentation called by itself, as in Keras.
            mask: for a layer whose `call` takes one; by default that of the inputs.
        """
        if inputs is MISSING:
            inputs = self._named_inputs(kwargs)
        known = mask_of(inputs) if mask is None else mask
        alone = known is not None and not any(hasattr(one, "shape") for one in flatten_struct([args, kwargs]))
        # As in Keras, which hands on the mask of a tensor that comes alone: beside an `initial_state` it has to be said.
        reads = (self._has_call or self.masked_call is not None) and takes(self._own_call, "mask")
        if reads and (alone or mask is not None):
            kwargs["mask"] = known
        elif mask is not None:
            raise ValueError(f"Layer '{self.name}' takes no mask. Received: mask={mask!r}")
        result = self._computed(inputs, args, kwargs, training)
        if self.supports_masking or (known is not None and mask is None):
            attach_masks(self, inputs, result, known)
        if mask is None and "mask" in kwargs:
            leave_out_of_config(result, ["mask"])
        return result

    def _computed(self, inputs: Any, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool | None) -> Any:
        """What a call returns."""
        if watching.tracing and not is_symbolic([inputs, *args, *kwargs.values()]):
            inputs = _constants(inputs)  # in a `call`: positions for an embedding, say, whose weights are to be trained
        if self._has_call or "mask" in kwargs:
            return self._run_call((inputs, *args), kwargs, training)
        self._refuse_others(args, kwargs)
        if is_symbolic(inputs):
            return self._call_symbolic(inputs, training)
        takes_list = isinstance(inputs, (list, tuple)) and len(inputs) > 0 and hasattr(inputs[0], "shape")
        if takes_list:
            x: Any = [backends.asarray(_host(item), self.dtype) for item in inputs]
            shapes = [tuple(item.shape) for item in x]
        else:
            x = backends.asarray(_host(inputs), self.dtype)
            shapes = [tuple(x.shape)]
        batchless: list[Shape] = [(None, *shape[1:]) for shape in shapes]
        assert_input_compatibility(self.input_spec, list(shapes), self.name)
        self.build_once(batchless if takes_list else batchless[0])
        said = said_training(training)
        y, saved = self.forward(x, self._trains_by_default if said is None else said)
        result = as_tensor(y)
        if watching.tapes:
            given = list(inputs) if takes_list else [inputs]
            record_call(self, self._weights_with_gradients, given, result, saved, takes_list)
        if self.activity_regularizer is not None:
            self._activity_penalty = recorded_penalty(self.activity_regularizer, result, 1 / max(result.shape[0], 1))
        return result

    def _refuse_others(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise for what a layer without a `call` was given beside its inputs, `training` and `mask`."""
        for value in args:
            if value is not None and not hasattr(value, "shape"):
                raise ValueError(
                    f"Layer '{self.name}': Only input tensors may be passed as positional arguments. The following argument "
                    f"value should be passed as a keyword argument: {value!r} (of type {type(value)})"
                )
        if any(value is not None for value in args) or kwargs:
            raise TypeError(
                f"Layer '{self.name}' takes its inputs (several in a list), `training` and `mask`. Received besides: "
                f"{len(args)} positional arguments, and the keyword arguments {sorted(kwargs)}"
            )

    def _named_inputs(self, kwargs: dict[str, Any]) -> Any:
        """The first argument of `call`, taken out of those that are given by name."""
        first = next(iter(inspect.signature(self.call).parameters)) if self._has_call else "inputs"
        if first not in kwargs:
            raise TypeError(f"Layer '{self.name}': missing a required argument: {first!r}")
        return kwargs.pop(first)

    def _shapes_for_build(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What `build_once` takes for a call: the shapes of its first argument; or, where `build` has several arguments and the
        call tensors for them, a dict of their shapes.

        Raises:
            ValueError: if such an argument of `build` is not called "x_shape", after an argument "x" of `call`.
        """
        names = [] if self.built else list(inspect.signature(self.build).parameters)
        if len(names) < 2:
            return shapes_of(args[0])
        parameters = inspect.signature(self.call).parameters
        given = inspect.signature(self.call).bind_partial(*args, **kwargs).arguments
        found = {}
        for name in names:
            argument = name.removesuffix("_shape")
            if argument == name or argument not in parameters:
                wrong = "does not end in `_shape`" if argument == name else f"but `call()` does not have argument `{argument}`"
                raise ValueError(
                    f"Layer '{self.name}': a `build` of several arguments gets the shapes of those of `call`: "
                    f"`build(self, x_shape, y_shape)` of `call(self, x, y)`. Received: argument `{name}`, "
                    f"{'which ' if argument == name else ''}{wrong}."
                )
            if given.get(argument) is not None:
                found[name] = shapes_of(given[argument])
        return found if len(found) > 1 else shapes_of(args[0])

    def _run_call(self, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool | None) -> Any:
        """`call`: on symbolic tensors traced into the graph, on arrays run as it stands."""
        symbolic = is_symbolic([*args, *kwargs.values()])
        if not symbolic:
            args = tuple(_as_tensors(item, self.dtype) for item in args)
        shapes = self._shapes_for_build(args, kwargs)
        first = flatten_struct(args[0])
        assert_input_compatibility(self.input_spec, [tuple(item.shape) for item in first if hasattr(item, "shape")], self.name)
        if symbolic and self._batch_input_shape is None and not self._inbound_nodes and len(first) == 1:
            self._batch_input_shape = first[0].shape
        self.build_once(shapes if symbolic else with_batch(None, shapes))
        self._forget_losses()
        if symbolic:
            result = call_traced(self, args, kwargs, training)
        else:
            said = said_training(training)
            wants = takes_training(self._own_call)
            if said is None and wants:
                said = inspect.signature(self._own_call).parameters["training"].default
                said = said if isinstance(said, bool) else None
            with saying_training(said):
                result = self._own_call(*args, **kwargs, **({"training": said} if wants and said is not None else {}))
            result = pack_struct(*_same(result, lambda one: one if isinstance(one, Tensor) else as_tensor(_host(one))))
            if self.activity_regularizer is not None:
                regularizer = self.activity_regularizer
                of_first, *others = [recorded_penalty(regularizer, one, 1 / max(len(one), 1)) for one in flatten_struct(result)]
                self._activity_penalty = sum(others, of_first)
        self._name_paths()
        return result

    def _call_symbolic(self, inputs: Any, training: bool | None = None) -> Any:
        takes_list = isinstance(inputs, (list, tuple))
        tensors = list(inputs) if takes_list else [inputs]
        for tensor in tensors:
            if not isinstance(tensor, KerasTensor):
                raise ValueError(f"Layer '{self.name}' got symbolic and other inputs mixed. Received: {type(tensor).__name__}")
        shapes = [tensor.shape for tensor in tensors]
        if self._batch_input_shape is None and not self._inbound_nodes and not takes_list:
            self._batch_input_shape = shapes[0]
        assert_input_compatibility(self.input_spec, list(shapes), self.name)
        self.build_once(list(shapes) if takes_list else shapes[0])
        output = self._connect(tensors, takes_list)
        output.node.training = training
        return output

    def _connect(self, tensors: list[KerasTensor], takes_list: bool) -> Any:
        shapes = [tensor.shape for tensor in tensors]
        output_shape = self.compute_output_shape(shapes if takes_list else shapes[0])
        node = Node(self, tensors, takes_list)
        node.outputs = [KerasTensor(output_shape, self.dtype, node=node)]
        carry_trials(node, self.compute_output_shape)
        return node.outputs[0]

    second_order: ClassVar[str | None] = None
    """How its gradient depends on x. "linear": y is linear in x, but for a bias, and linear in the weights. "slopes": y is x
    times a slope, element by element, which changes in jumps only. None: neither."""

    def backward_twice(self, x: list[Any], dy: Any, us: list[Any], saved: Any) -> tuple[Any, list[Any], list[Any]]:
        """The gradient of `backward`, where something was computed from dx: see `tape.py`.

        Args:
            x: the inputs. dy, saved: what `backward` was given. us: the gradient at dx of each input, None for zero.

        Returns:
            the gradient at dy; at each input; of each weight.

        Raises:
            NotImplementedError: for a layer without a second derivative.
        """
        bends = getattr(self, "activation", None) not in (None, activations.linear)
        if self.second_order is None or (bends and self.second_order == "linear"):
            raise NotImplementedError(
                f"The gradient of a gradient leads through layer '{self.name}', a {type(self).__name__}: minicnn has second "
                "derivatives of layers that are linear in what they are given, of ReLU and LeakyReLU, and of `minicnn.ops`."
            )
        if self.second_order == "slopes":
            return self.backward(backends.asarray(us[0], dy.dtype), saved)[0], [None], []
        along = [backends.asarray(one * 0 if u is None else u, one.dtype) for one, u in zip(x, us)]
        several = len(along) > 1
        moved, kept = self.forward(along if several else along[0], False)
        still, _ = self.forward([one * 0 for one in along] if several else along[0] * 0, False)  # the bias
        grads = self.backward(dy, kept)[1]
        bias = getattr(self, "bias", None)
        of_weights = [None if v is bias else g for v, g in zip(self._weights_with_gradients, grads)]
        return moved - still, [None] * len(x), of_weights

    @property
    def input(self) -> Any:
        """The symbolic input of the layer's first call."""
        inputs = self._first_node("input").inputs
        return inputs[0] if len(inputs) == 1 else inputs

    @property
    def output(self) -> Any:
        """The symbolic output of the layer's first call."""
        outputs = self._first_node("output").outputs
        return outputs[0] if len(outputs) == 1 else outputs

    def _first_node(self, attribute: str) -> Node:
        if not self._inbound_nodes:
            raise AttributeError(f"The layer {self.name} has never been called and thus has no defined {attribute}.")
        return self._inbound_nodes[0]

    # --- configuration ----------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as plain data: `from_config` makes an equal layer of it.

        Of a class without a `get_config` of its own, they are those that it was called with.

        Raises:
            NotImplementedError: if one of these is no number, text or None, nor a list or dict of such.
        """
        settings: dict[str, Any] = {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}
        if not self._writes_config:
            settings = self._called_with(settings)
        if self.activity_regularizer is not None:
            settings["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        for argument in self._own_arguments:
            settings[argument] = getattr(self, argument)
        return settings

    def _called_with(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings of every layer, and behind them what else the constructor was called with."""
        if self._constructed_with is None:
            raise NotImplementedError(
                f"Object {type(self).__name__} was created by passing non-serializable argument values in `__init__()`, or "
                "`*args`: it needs a method `get_config()` that returns `super().get_config()` and, by name, the arguments."
            )
        parameters = inspect.signature(type(self).__init__).parameters
        if not any(one.name == "name" or one.kind is one.VAR_KEYWORD for one in parameters.values()):
            del settings["name"]
        return settings | copy.deepcopy(self._constructed_with)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A layer with the settings of `get_config`, and fresh weights."""
        try:
            return cls(**config)
        except TypeError as error:
            raise TypeError(
                f"Error when deserializing class '{cls.__name__}' using config={config}.\n\nException: {error}"
            ) from error

    def get_build_config(self) -> dict[str, Any] | None:
        """What `build_from_config` needs to create the weights before their values are loaded."""
        if self._build_shape is None:
            return None
        several = isinstance(self._build_shape, dict) and len(inspect.signature(self.build).parameters) > 1
        return {"shapes_dict" if several else "input_shape": self._build_shape}

    def build_from_config(self, config: dict[str, Any]) -> None:
        shapes = (config or {}).get("shapes_dict") or (config or {}).get("input_shape")
        if shapes is not None:
            self.build_once(as_shape(shapes))

    def save_own_variables(self, store: Any) -> None:
        """Put the layer's own variables into a mapping, under "0", "1", ..."""
        for index, variable in enumerate(self._own_variables):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Take them out again.

        Raises:
            ValueError: if their number differs (Keras's wording).
        """
        own = self._own_variables
        if len(store.keys()) != len(own):
            if not self.built:
                raise ValueError(
                    f"Layer '{self.name}' was never built and thus it doesn't have any variables. "
                    f"However the weights file lists {len(store.keys())} variables for this layer."
                )
            raise ValueError(
                f"Layer '{self.name}' expected {len(own)} variables, but received {len(store.keys())} variables during "
                f"loading. Expected: {[v.name for v in own]}"
            )
        for index, variable in enumerate(own):
            variable.assign(np.asarray(store[str(index)]))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def layers_in(container: Any) -> list[Layer]:
    """The layers in a dict, list or tuple, and in those that it holds."""
    found: list[Layer] = []
    for item in container.values() if isinstance(container, dict) else container:
        if isinstance(item, Layer):
            found.append(item)
        elif isinstance(item, (dict, list, tuple)):
            found += layers_in(item)
    return _once(found)


def _once(items: Iterable[Any]) -> list[Any]:
    """The items in their order, each at its first place only."""
    return list({id(item): item for item in items}.values())


def _same(struct: Any, function: Any) -> tuple[Any, list[Any]]:
    """What `pack_struct` takes: a structure, and `function` of what stands in it. One thing is a structure, too."""
    return struct, [function(item) for item in flatten_struct(struct)]


def _as_tensors(value: Any, dtype: str) -> Any:
    """What a `call` gets for arrays: tensors, of the layer's dtype where they are floats; others as they are."""
    if isinstance(value, dict):
        return {key: _as_tensors(item, dtype) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and any(hasattr(item, "shape") for item in value):
        return [_as_tensors(item, dtype) for item in value]
    if isinstance(value, Tensor) and (value.dtype == dtype or value.dtype.kind != "f"):
        return value
    if value is None or isinstance(value, (bool, str, Variable)):
        return value
    array = np.asarray(backends.to_numpy(_host(value)))
    return as_tensor(array.astype(dtype) if array.dtype.kind == "f" else array)


def with_batch(size: int | None, shapes: Any) -> Any:
    """Shapes with another first size: a structure of tuples, and of None for what has no shape."""
    if isinstance(shapes, dict):
        return {key: with_batch(size, item) for key, item in shapes.items()}
    if isinstance(shapes, list):
        return [with_batch(size, item) for item in shapes]
    return None if shapes is None else (size, *shapes[1:])


def record_call(
    layer: Any,
    variables: list[Variable],
    given: list[Any],
    result: Any,
    saved: Any,
    takes_list: bool,
    alone: bool = True,
) -> None:
    """Tell the tapes of a layer's `forward` on arrays: that its `backward` leads back from the result.

    Args:
        alone: whether no other layer is joined to it, so that the gradient of its gradient is its own.
        layer: or a plan's guard around it. variables: what `backward` returns gradients for.
        given: the tensors that it was given, in a list if `takes_list`. saved: what `forward` returned beside the result.
    """
    skips_dx = not any(map(tape.watches, given)) and "need_dx" in inspect.signature(layer.backward).parameters

    def backward(dys: list[Any]) -> list[Any]:
        dy = pack_struct(result, [backends.asarray(dy) for dy in dys])
        dx, grads = layer.backward(dy, saved, *([False] if skips_dx else []))
        return [*(dx if takes_list else [dx]), *grads]

    def twice(dys: list[Any], us: list[Any]) -> tuple[list[Any], list[Any]]:
        x, along = [backends.asarray(_host(one)) for one in given], us[: len(given)]
        if any(u is not None for u in us[len(given) :]):
            raise NotImplementedError(
                f"Layer '{layer.name}': minicnn has second derivatives by what a layer is given, none by its weights."
            )
        of_dy, dx, grads = layer.backward_twice(x, backends.asarray(dys[0]), along, saved)
        return [of_dy], [*dx, *grads]

    tape.record([*given, *variables], flatten_struct(result), backward, twice if alone else None)


def recorded_penalty(regularizer: Any, of: Any, share: float = 1.0) -> Any:
    """What a regularizer takes for a variable, or an output, times `share`: a tensor whose gradient a tape can find."""
    value = of.value if isinstance(of, Variable) else backends.asarray(_host(of))
    penalty = as_tensor(regularizer(value) * share)

    def backward(dys: list[Any]) -> list[Any]:
        gradient = value * 0
        regularizer.gradient_(gradient, value)
        return [gradient * (share * dys[0])]

    tape.record([of], [penalty], backward)
    return penalty


def _constants(value: Any) -> Any:
    """Arrays as symbolic tensors, of a graph's constants."""
    if isinstance(value, (list, tuple)) and any(hasattr(item, "shape") for item in value):
        return [_constants(item) for item in value]
    return registry.operation("constant").symbolic(x=value)


def _host(value: Any) -> Any:
    """Tensors of other libraries, lists and variables as arrays; our own arrays as they are."""
    if isinstance(value, Variable):
        return value.value
    if isinstance(value, Tensor):
        return np.asarray(value)
    if isinstance(value, np.ndarray) or hasattr(value, "__cuda_array_interface__"):
        return value
    return np.asarray(value)


def as_shape(shape: Any) -> Any:
    """A shape out of JSON (lists) as tuples; a list of shapes stays a list."""
    if isinstance(shape, dict):
        return {key: as_shape(item) for key, item in shape.items()}
    if shape and isinstance(shape[0], (list, tuple)):
        return [tuple(item) for item in shape]
    return tuple(shape)
