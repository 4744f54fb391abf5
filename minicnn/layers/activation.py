"""Activation layers, and how a layer applies the activation it was given."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

from minicnn import activations, backends, constraints, initializers, registry, regularizers, serialization, shapes
from minicnn.backends import ops
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.symbolic import Shape


def get_activation(identifier: Any) -> Any:
    """What `activation=` stands for: a name, a function, None for none, or (older programs) a layer without weights."""
    if isinstance(identifier, dict) and identifier.get("module") == serialization.MODULES["layer"]:
        return serialization.deserialize(identifier, "layer")
    return activations.get(identifier)


def activate(activation: Any, z: Any, training: bool) -> tuple[Any, Any]:
    """activation(z), and what `activate_backward` will read."""
    if activation is None or activation is activations.linear:  # None: of a trained layer, some programs remove it
        return z, None
    if isinstance(activation, Layer):
        activation.build_once(z.shape)
        y, saved = activation.forward(z, training)
    else:
        y, saved = activations.forward_backward(activation)[0](z)
    return _fitting(y, z.dtype), saved


def activate_backward(activation: Any, dy: Any, saved: Any) -> Any:
    """The gradient with respect to z."""
    if activation is None or activation is activations.linear:
        return dy
    if isinstance(activation, Layer):
        if activation.trainable_weights:
            raise NotImplementedError(
                f"Layer '{activation.name}' was given as an `activation` and has weights, which minicnn does not train in that "
                "place. Add it to the model as a layer of its own."
            )
        dz = activation.backward(dy, saved)[0]
    else:
        dz = activations.forward_backward(activation)[1](dy, saved)
    return _fitting(dz, dy.dtype)


def _fitting(array: Any, dtype: Any) -> Any:
    """The array as kernels need it, C-contiguous and of `dtype`: a user's activation may return a view, or another dtype."""
    return array if array.flags.c_contiguous and array.dtype == dtype else backends.asarray(array, dtype)


@registry.register("layer")
class Activation(Layer):
    """y = activation(x), element by element (softmax: along the last axis).

    Args:
        activation: a name, or a function.
    """

    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = get_activation(activation)

    @property
    def second_order(self) -> str | None:  # type: ignore[override]
        """See `Layer`: rectifiers have slopes."""
        return "slopes" if self.activation in (activations.linear, activations.relu, activations.leaky_relu) else None

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return activate(self.activation, x, training)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return activate_backward(self.activation, dy, saved), ()

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"activation": activations.serialize(self.activation)}


@registry.register("layer")
class ReLU(Layer):
    """y = x, but at most max_value, where x > threshold; negative_slope * (x - threshold) elsewhere.

    Args:
        max_value: upper bound; None for none.
        negative_slope: slope below `threshold`.
        threshold: the x above which y = x.
    """

    supports_masking = True

    second_order = "slopes"

    _own_arguments: ClassVar[tuple[str, ...]] = ("max_value", "negative_slope", "threshold")

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if max_value is not None and max_value < 0:
            raise ValueError(f"max_value of a ReLU layer cannot be a negative value. Received: max_value={max_value}")
        if negative_slope is None or negative_slope < 0:
            raise ValueError(
                f"negative_slope of a ReLU layer cannot be None or a negative value. Received: negative_slope={negative_slope}"
            )
        if threshold is None or threshold < 0:
            raise ValueError(f"threshold of a ReLU layer cannot be None or a negative value. Received: threshold={threshold}")
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold

    @property
    def _bounds(self) -> tuple[float, float, float]:
        return float(self.negative_slope), math.inf if self.max_value is None else float(self.max_value), float(self.threshold)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        if self._bounds == (0, math.inf, 0):
            y = ops.relu_forward(x)
            return y, y
        return ops.bounded_relu_forward(x, *self._bounds), x

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        if self._bounds == (0, math.inf, 0):
            return ops.relu_backward(dy, saved), ()
        return ops.bounded_relu_backward(dy, saved, *self._bounds), ()


@registry.register("layer")
class LeakyReLU(Layer):
    """y = x where x > 0, else negative_slope * x.

    Args:
        negative_slope: slope below 0; older programs call it `alpha`.
    """

    supports_masking = True

    second_order = "slopes"

    _own_arguments: ClassVar[tuple[str, ...]] = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")
            warnings.warn("Argument `alpha` is deprecated. Use `negative_slope` instead.", stacklevel=2)
        super().__init__(**kwargs)
        if negative_slope is None or negative_slope < 0:
            raise ValueError(
                "The negative_slope value of a Leaky ReLU layer cannot be None or negative value. Expected a float. "
                f"Received: negative_slope={negative_slope}"
            )
        self.negative_slope = negative_slope

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return ops.leaky_relu_forward(x, float(self.negative_slope)), x

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return ops.leaky_relu_backward(dy, saved, float(self.negative_slope)), ()


@registry.register("layer")
class PReLU(Layer):
    """y = x where x > 0, else alpha * x; alpha is learned.

    Args:
        alpha_initializer, alpha_regularizer, alpha_constraint: names, objects or configs.
        shared_axes: axes along which alpha is the same, such as [1, 2] for one alpha a channel; None for none.
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        self.shared_axes = list(shared_axes) if isinstance(shared_axes, (list, tuple)) else shared_axes
        if isinstance(self.shared_axes, int):
            self.shared_axes = [self.shared_axes]

    def build(self, input_shape: Shape) -> None:
        shared = self.shared_axes or []
        shape = [1 if axis in shared else size for axis, size in enumerate(input_shape)][1:]
        if None in shape:
            raise ValueError(
                f"Layer '{self.name}': the axes that `shared_axes` does not name must have a defined size. "
                f"Received: shared_axes={self.shared_axes} for an input of shape {tuple(input_shape)}"
            )
        self.alpha = self.add_weight(
            name="alpha",
            shape=shape,  # type: ignore[arg-type]
            initializer=self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )
        axes = {axis: size for axis, size in enumerate(input_shape) if axis and axis not in shared}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=axes)
        self.built = True

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return ops.prelu_forward(x, self.alpha.value), x

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        x = saved
        dx, dalpha = ops.prelu_backward(dy, x, self.alpha.value)
        return dx, (dalpha,)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": regularizers.serialize(self.alpha_regularizer),
            "alpha_constraint": constraints.serialize(self.alpha_constraint),
            "shared_axes": self.shared_axes,
        }


@registry.register("layer")
class ELU(Layer):
    """y = x where x > 0, else alpha * (exp(x) - 1).

    Args:
        alpha: y tends to -alpha as x becomes very negative.
    """

    supports_masking = True

    _own_arguments: ClassVar[tuple[str, ...]] = ("alpha",)

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = alpha

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return ops.elu_forward(x, float(self.alpha)), x

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return ops.elu_backward(dy, saved, float(self.alpha)), ()


@registry.register("layer")
class Softmax(Layer):
    """y = exp(x) / sum of exp(x) along `axis`.

    Args:
        axis: one axis, or a list of those over which y sums to 1.

    With a mask, which broadcasts to x, y is 0 where it is false (0.5 or less), and sums to 1 over the others.

    Attributes:
        along_classes: whether that is the last axis alone, along which the losses sum; known when built.
    """

    supports_masking = True
    _own_arguments: ClassVar[tuple[str, ...]] = ("axis",)
    along_classes = False

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def build(self, input_shape: Shape) -> None:
        order, _, count = shapes.axes_last(len(input_shape), self.axis)
        self.along_classes = count == 1 and order[-1] == len(input_shape) - 1
        self.built = True

    def masked_call(self, inputs: Any, mask: Any) -> Any:
        """`forward` with a mask.

        Raises:
            ValueError: for a mask that does not broadcast to the inputs (Keras's wording).
        """
        sizes = zip(mask.shape[::-1], inputs.shape[::-1])
        if len(mask.shape) > len(inputs.shape) or any(
            one not in (1, None, other) and other is not None for one, other in sizes
        ):
            raise ValueError(
                "The `mask` must be broadcastable to `inputs`: each mask dimension must be 1 or match the corresponding input "
                f"dimension. Received: inputs.shape={inputs.shape}, mask.shape={mask.shape}. Layer: '{self.name}'."
            )
        where = registry.operation("where")
        here = registry.operation("greater")(registry.operation("cast")(mask, self.dtype), 0.5)
        y = Softmax(self.axis, name=self.name, dtype=self.dtype)(where(here, inputs, -1e9))
        return where(here, y, 0)  # also where the whole axis is left out

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return activations.softmax.forward(x, self.axis)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return activations.softmax.backward(dy, saved, self.axis), ()
