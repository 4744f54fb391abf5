"""Attention, and the product that it is made of. They are written as a `call` of ops, as a user would: see `tracing`."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import re
import string
from typing import Any, ClassVar

from minicnn import constraints, initializers, registry, regularizers
from minicnn.layers.activation import Softmax
from minicnn.layers.affine import Affine
from minicnn.layers.arguments import reject_unsupported
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.masks import leave_out_of_config, mask_of
from minicnn.layers.regularization import Dropout
from minicnn.layers.symbolic import Shape

__all__ = ["Attention", "EinsumDense", "MultiHeadAttention"]


_EQUATION = re.compile(
    r"[a-zA-Z]+,[a-zA-Z]+->[a-zA-Z]+|\.{3}[a-zA-Z]+,[a-zA-Z]+->\.{3}[a-zA-Z]+|[a-zA-Z]{2,}\.{3},[a-zA-Z]+->[a-zA-Z]+\.{3}"
)


def not_behind(scores: Any) -> Any:
    """(1, ..., 1, T, S): whether place s of the values is none behind place t of the query, for scores (..., T, S)."""
    of_one = registry.operation("get_item")(scores, (slice(0, 1),) * (len(scores.shape) - 2))
    ones = registry.operation("full_like")(of_one, 1, "int32")
    return registry.operation("greater_equal")(registry.operation("cumsum")(ones, -2), registry.operation("cumsum")(ones, -1))


@registry.register("layer")
class EinsumDense(Affine):
    """A dense layer whose sum is named by letters: y = activation(einsum(equation, x, kernel) + bias).

    Args:
        equation: "abc,cd->abd" is a `Dense` of the last axis; each letter once an operand. "..." stands for axes that the
            output has, too: for the first ones of both ("...c,cd->...d"), or for the last ones ("bc...,cd->bd...").
        output_shape: the output's, without the batch axis and those of "..."; None for a size that is the input's.
        activation: see `Affine`.
        bias_axes: the letters of the output along which there is a bias; None for none.
        kernel_initializer, ...: see `Affine`.

    Raises:
        ValueError: for an equation that does not fit.
    """

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            activation=activation,
            use_bias=bias_axes is not None,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        reject_unsupported(self.name, quantization_config=quantization_config is not None)
        self.equation, self.bias_axes = equation, bias_axes
        self.partial_output_shape = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
        if not _EQUATION.fullmatch(equation.replace(" ", "")):
            raise ValueError(
                f"Invalid einsum equation '{equation}'. Equations must be in the form [X],[Y]->[Z], ...[X],[Y]->...[Z], or "
                "[X]...,[Y]->[Z]...."
            )

    def _letters(self, rank: int) -> list[str]:
        """The letters of the input, the kernel and the output, for an input of so many axes: what "..." stands for has some."""
        sides = self.equation.replace(" ", "").replace("->", ",").split(",")
        unused = (letter for letter in string.ascii_letters if letter not in self.equation)
        elided = "".join(itertools.islice(unused, max(rank - len(sides[0].replace(".", "")), 0)))
        return [side.replace("...", elided) for side in sides]

    def _sizes(self, input_shape: Shape) -> dict[str, int | None]:
        """The size along each letter."""
        of_input, _, of_output = self._letters(len(input_shape))
        elided = len(of_output) - 1 - len(self.partial_output_shape) if "." in self.equation else 0
        free: tuple[int | None, ...] = (None,) * elided
        partial = (*free, *self.partial_output_shape) if self.equation.startswith(".") else (*self.partial_output_shape, *free)
        if len(input_shape) != len(of_input) or len(partial) != len(of_output) - 1:
            raise ValueError(
                f"Equation '{self.equation}' of layer '{self.name}' does not fit an input of shape {tuple(input_shape)} and "
                f"an output of shape {self.partial_output_shape}."
            )
        sizes = dict(zip(of_input, input_shape))
        for letter, size in zip(of_output[1:], partial):
            if size is not None and sizes.get(letter, size) not in (size, None):
                raise ValueError(
                    f"Input shape and output shape do not match at shared dimension '{letter}'. Input shape is "
                    f"{sizes[letter]}, and output shape is {size}."
                )
            sizes[letter] = size if size is not None else sizes.get(letter)
        return sizes

    def build(self, input_shape: Shape) -> None:
        _, of_kernel, of_output = self._letters(len(input_shape))
        sizes = self._sizes(input_shape)
        self.kernel = self._add_weight_of("kernel", tuple(sizes[letter] for letter in of_kernel), "kernel")  # type: ignore[misc]
        self.bias = None
        if self.bias_axes is not None:
            first = min(of_output.index(letter) for letter in self.bias_axes)
            shape = tuple(sizes[letter] if letter in self.bias_axes else 1 for letter in of_output[first:])
            self.bias = self._add_weight_of("bias", shape, "bias")  # type: ignore[arg-type]
        self.input_spec = None if "." in self.equation else InputSpec(ndim=len(input_shape))
        self.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = self._sizes(input_shape)
        return tuple(sizes[letter] for letter in self._letters(len(input_shape))[2])

    def call(self, inputs: Any) -> Any:
        of_input, of_kernel, of_output = self._letters(len(inputs.shape))
        y = registry.operation("_einsum")([inputs, self.kernel], f"{of_input},{of_kernel}->{of_output}")
        y = y if self.bias is None else registry.operation("add")(y, self.bias)
        return self.activation(y)

    def get_config(self) -> dict[str, Any]:
        settings = super().get_config()
        del settings["use_bias"]
        own = {"equation": self.equation, "output_shape": self.partial_output_shape, "bias_axes": self.bias_axes}
        return settings | own | {"quantization_config": None, "activity_regularizer": settings.get("activity_regularizer")}


_KINDS = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


@registry.register("layer")
class MultiHeadAttention(Layer):
    """Each place of the query looks at all places of the values, through several heads.

        q, k, v = query @ Wq + bq, key @ Wk + bk, value @ Wv + bv        of each head
        scores = softmax(q @ k.T / sqrt(key_dim)) over the places of the values, then dropout
        y = (scores @ v of all heads) @ Wo + bo

    Args:
        num_heads: how many heads. key_dim, value_dim: the sizes of q and k, and of v (default `key_dim`), of a head.
        dropout: the rate at which scores are dropped in training.
        use_bias: whether there are bq, bk, bv and bo.
        output_shape: the size of y, an int or several; default the query's.
        attention_axes: the axes of the places; default all but the batch's and the last.
        kernel_initializer, ...: of all four. use_gate: whether sigmoid(query @ Wg + bg) multiplies what the heads give.
        seed: of the dropout. flash_attention, sliding_window: None: neither is here.

    Called with (query, value) or (query, value, key): query (N, T, C), value and key (N, S, C), y (N, T, C).
    `attention_mask` (N, T, S): where it is false, nobody looks; with `use_causal_mask`, nobody looks at places behind its own.
    `value_mask`, `key_mask` (N, S), by default the masks of value and key: nobody looks where one of them is false. Places that
    the query's mask (N, T) leaves out look at none; it is the output's, too. As in Keras, `query_mask` is always the query's
    own mask, whatever is given.
    With `return_attention_scores` also the scores, (N, heads, T, S).

    Source: Vaswani et al. 2017, arXiv:1706.03762.
    """

    supports_masking = True

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        for argument, value in (("num_heads", num_heads), ("key_dim", key_dim), ("value_dim", value_dim)):
            if (not isinstance(value, int) or value <= 0) and not (argument == "value_dim" and value is None):
                wanted = "a positive integer or `None`" if argument == "value_dim" else "a positive integer"
                raise ValueError(
                    f"Received an invalid value for argument `{argument}`, expected {wanted}. Received: {argument}={value}"
                )
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        reject_unsupported(self.name, sliding_window=sliding_window is not None, flash_attention=bool(flash_attention))
        self.num_heads, self.key_dim, self.value_dim = num_heads, key_dim, value_dim or key_dim
        self.dropout, self.use_bias, self.use_gate, self.seed = dropout, use_bias, use_gate, seed
        self._output_shape = (output_shape,) if isinstance(output_shape, int) else output_shape and tuple(output_shape)
        self.attention_axes = (attention_axes,) if isinstance(attention_axes, int) else attention_axes
        self._of_weights = {
            name: _KINDS[name.partition("_")[2]].get(value)
            for name, value in (
                ("kernel_initializer", kernel_initializer),
                ("bias_initializer", bias_initializer),
                ("kernel_regularizer", kernel_regularizer),
                ("bias_regularizer", bias_regularizer),
                ("kernel_constraint", kernel_constraint),
                ("bias_constraint", bias_constraint),
            )
        }

    def _projection(self, name: str, rank: int, bound: int, sizes: tuple[int, ...], **more: Any) -> EinsumDense:
        """A dense layer of the last `bound` axes of a tensor, to these sizes."""
        letters = string.ascii_lowercase
        free, summed = letters[: rank - bound], letters[rank - bound : rank]
        new = letters[rank : rank + len(sizes)]
        shape = [None] * (len(free) - 1) + list(sizes)
        own = {k: _fresh(value) if k.endswith("initializer") else value for k, value in self._of_weights.items()}
        bias_axes = new if self.use_bias else None
        equation = f"{free}{summed},{summed}{new}->{free}{new}"
        dense = EinsumDense(equation, shape, bias_axes=bias_axes, name=name, dtype=self.dtype, **own, **more)
        dense.supports_masking = True  # it works place by place: no warning that the mask ends
        return dense

    def build(self, query_shape: Any, value_shape: Any = None, key_shape: Any = None) -> None:
        self._check_shapes(value_shape, key_shape)
        key_shape = value_shape if key_shape is None else key_shape
        rank, of_key, of_value = len(query_shape), (self.num_heads, self.key_dim), (self.num_heads, self.value_dim)
        axes = range(1, rank - 1) if self.attention_axes is None else self.attention_axes
        self.attention_axes = tuple(axis % rank for axis in axes)
        self.query_dense = self._projection("query", rank, 1, of_key)
        self.key_dense = self._projection("key", len(key_shape), 1, of_key)
        self._gate_dense = self._projection("gate", rank, 1, of_value, activation="sigmoid") if self.use_gate else None
        self.value_dense = self._projection("value", len(value_shape), 1, of_value)
        scores = tuple(range(-len(self.attention_axes), 0))
        self._softmax = Softmax(axis=scores, dtype=self.dtype)
        self._dropout_layer = Dropout(self.dropout, seed=self.seed, dtype=self.dtype)
        self.output_dense = self._projection("attention_output", rank + 1, 2, self._output_shape or (query_shape[-1],))
        for layer, shape in ((self.query_dense, query_shape), (self.key_dense, key_shape), (self.value_dense, value_shape)):
            layer.build_once(tuple(shape))
        if self._gate_dense is not None:
            self._gate_dense.build_once(tuple(query_shape))
        self.output_dense.build_once((*query_shape[:-1], *of_value))
        self.built = True

    @staticmethod
    def _check_shapes(value_shape: Any, key_shape: Any) -> None:
        if key_shape is not None and tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ValueError(
                "All dimensions of `value` and `key`, except the last one, must be equal. Received: "
                f"value_shape={value_shape} and key_shape={key_shape}"
            )

    def __call__(  # type: ignore[override]  # Keras's names
        self, query: Any, value: Any = None, key: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        if value is None:
            raise ValueError(f"MultiHeadAttention is called on (query, value) or (query, value, key). Layer: '{self.name}'.")
        kwargs = dict(zip(list(inspect.signature(self.call).parameters)[3:], args)) | kwargs
        kwargs["query_mask"] = mask_of(query)
        of_inputs = ["query_mask"]
        for name, tensor in (("value_mask", value), ("key_mask", key)):
            if kwargs.get(name) is None:
                kwargs[name] = mask_of(tensor)
                of_inputs.append(name)
        found = super().__call__(query, value, value if key is None else key, **kwargs)
        leave_out_of_config(found, of_inputs)
        return found

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        if use_causal_mask and len(self.attention_axes) > 1:
            raise ValueError(f"Layer '{self.name}': a causal mask needs one axis of places. Received: {self.attention_axes}")
        key = value if key is None else key
        q, k, v = self.query_dense(query), self.key_dense(key), self.value_dense(value)
        products, combination = self._equations(len(q.shape))
        scores = registry.operation("_einsum")([k, registry.operation("multiply")(q, 1 / math.sqrt(self.key_dim))], products)
        seen = self._seen(scores, attention_mask, query_mask, value_mask, key_mask)
        if use_causal_mask:
            seen.append(not_behind(scores))
        mask = functools.reduce(registry.operation("logical_and"), seen) if seen else None
        if mask is None or return_attention_scores or self.dropout > 0 or len(q.shape) != 4:
            scores = self._softmax(scores, mask=mask)
        else:  # a place that may look at none has the mean of all values there, and zeros above: so it is in Keras
            scores = self._softmax(registry.operation("where")(mask, scores, -1e9))
        dropped = self._dropout_layer(scores, training=training) if self.dropout > 0 else scores
        y = registry.operation("_einsum")([dropped, v], combination)
        y = y if self._gate_dense is None else registry.operation("multiply")(y, self._gate_dense(query))
        y = self.output_dense(y)
        return (y, scores) if return_attention_scores else y

    def _seen(self, scores: Any, attention_mask: Any, query_mask: Any, value_mask: Any, key_mask: Any) -> list[Any]:
        """The masks that there are, as masks of the scores (N, heads, T, S), which broadcast."""
        cast, expand_dims = registry.operation("cast"), registry.operation("expand_dims")
        seen = [] if attention_mask is None else [cast(attention_mask, "bool")]
        for mask, axis in ((query_mask, -1), (value_mask, -2), (key_mask, -2)):
            if mask is not None:
                seen.append(expand_dims(cast(mask, "bool"), axis))
        for index, mask in enumerate(seen):
            for _ in range(len(scores.shape) - len(mask.shape)):
                mask = expand_dims(mask, -2 * len(self.attention_axes) - 1)
            seen[index] = mask
        return seen

    def _equations(self, rank: int) -> tuple[str, str]:
        """Of q and k, (batch axes, places, heads, size), the products of all places; and of these and v the sums.

        "aecd,abcd->acbe" and "acbe,aecd->abcd" for one axis of places: b of the query, e of the values.
        """
        own, axes = string.ascii_lowercase[:rank], self.attention_axes
        others = iter(string.ascii_lowercase[rank:])
        values = "".join(next(others) if i in axes else letter for i, letter in enumerate(own))
        batch = [own[i] for i in range(rank - 1) if i not in axes]
        scores = "".join([*batch, *(own[i] for i in axes), *(values[i] for i in axes)])
        return f"{values},{own}->{scores}", f"{scores},{values}->{own}"

    def compute_output_shape(self, query_shape: Shape, value_shape: Any = None, key_shape: Any = None) -> Shape:
        self._check_shapes(value_shape, key_shape)
        return (*query_shape[:-1], *self._output_shape) if self._output_shape else tuple(query_shape)

    def get_config(self) -> dict[str, Any]:
        names = ("num_heads", "key_dim", "value_dim", "dropout", "use_bias", "use_gate", "attention_axes", "seed")
        settings = super().get_config() | {name: getattr(self, name) for name in names}
        settings |= {"output_shape": self._output_shape, "sliding_window": None}
        settings.setdefault("activity_regularizer", None)
        return settings | {name: _KINDS[name.partition("_")[2]].serialize(one) for name, one in self._of_weights.items()}


def _fresh(initializer: Any) -> Any:
    """An initializer of its own for each weight, which would have the same values otherwise."""
    return type(initializer).from_config(initializer.get_config())


@registry.register("layer")
class Attention(Layer):
    """Each place of the query looks at all places of the values: softmax(query @ key.T) @ value.

    Args:
        use_scale: whether a trainable number multiplies the scores.
        score_mode: "dot"; or "concat", the sum of tanh(query + key), times a trainable number.
        dropout: the rate at which scores are dropped in training. seed: of the dropout.

    Called on [query, value] or [query, value, key]: (N, T, C), (N, S, C); returns (N, T, C), and with
    `return_attention_scores` the scores (N, T, S). `mask`, by default the inputs' own: [of the query (N, T), whose outputs
    are zero where it is false, of the value (N, S), at which nobody looks there], either of them None. With `use_causal_mask`
    nobody looks at places behind its own.

    Source: Luong et al. 2015, arXiv:1508.04025.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("use_scale", "score_mode", "dropout", "seed")

    def __init__(
        self, use_scale: bool = False, score_mode: str = "dot", dropout: float = 0.0, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError(
                f"Invalid value for argument score_mode. Expected one of {{'dot', 'concat'}}. Received: score_mode={score_mode}"
            )
        self.use_scale, self.score_mode, self.dropout, self.seed = use_scale, score_mode, dropout, seed
        self._drop = Dropout(dropout, seed=seed, dtype=self.dtype) if dropout > 0 else None

    def build(self, input_shape: Any) -> None:
        if not isinstance(input_shape, list) or len(input_shape) not in (2, 3):
            raise ValueError(
                "Attention layer must be called on a list of inputs of length 2 or 3, namely [query, value] or "
                f"[query, value, key]. Received: inputs of shape {input_shape}. Layer: '{self.name}'."
            )
        self.scale = self.add_weight((), "ones", name="scale") if self.use_scale else None
        concat = self.score_mode == "concat"
        self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight") if concat else None
        self.built = True

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        of_query, of_value = (None, None) if mask is None else self._checked(mask)[:2]
        query, value, key = (*inputs, inputs[1])[:3]
        if self.concat_score_weight is None:
            batch = string.ascii_lowercase[: len(query.shape) - 2]
            scores = registry.operation("_einsum")([query, key], f"{batch}xz,{batch}yz->{batch}xy")
            scores = scores if self.scale is None else registry.operation("multiply")(scores, self.scale)
        else:
            both = registry.operation("add")(
                registry.operation("expand_dims")(query, -2), registry.operation("expand_dims")(key, -3)
            )
            both = both if self.scale is None else registry.operation("multiply")(both, self.scale)
            scores = registry.operation("multiply")(
                registry.operation("sum")(registry.operation("tanh")(both), -1), self.concat_score_weight
            )
        seen = not_behind(scores) if use_causal_mask else None
        if of_value is not None:
            of_value = registry.operation("expand_dims")(registry.operation("cast")(of_value, "bool"), -2)
            seen = of_value if seen is None else registry.operation("logical_and")(of_value, seen)
        if seen is not None:
            scores = registry.operation("where")(seen, scores, registry.operation("subtract")(scores, 1e9))
        scores = registry.operation("softmax")(scores)
        dropped = scores if self._drop is None else self._drop(scores, training=training)
        y = registry.operation("matmul")(dropped, value)
        if of_query is not None:
            of_query = registry.operation("expand_dims")(registry.operation("cast")(of_query, "bool"), -1)
            y = registry.operation("where")(of_query, y, 0)
        return (y, scores if self._drop is None else dropped) if return_attention_scores else y

    @staticmethod
    def _checked(mask: Any) -> Any:
        if not isinstance(mask, (list, tuple)):
            raise ValueError(f"Attention layer mask must be a list, namely [query_mask, value_mask]. Received: mask={mask}")
        if len(mask) not in (2, 3):
            raise ValueError(f"Attention layer accepts mask list of length 2 or 3. Received: mask={mask}")
        return mask

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The query's."""
        return None if mask is None else self._checked(mask)[0]

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return (*input_shape[0][:-1], input_shape[1][-1])
