"""The LSTM whose products are convolutions: its states are images.

The formulas are those of `lstm`, with * a convolution: of x_t with the layer's strides and padding, of h_t-1 with strides of 1
and padding "same", so that the states keep their size.

Source: Shi et al. 2015, arXiv:1506.04214 (without its products of c with the gates, as in Keras).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from minicnn import registry
from minicnn.backends import ops
from minicnn.backends.volumes import conv3d_backward, conv3d_forward, conv3d_transpose_forward, window_over_space
from minicnn.layers.lstm import LSTMGates
from minicnn.layers.rnn import CellLayer, arguments_of
from minicnn.layers.sliding import Sliding, check_filters
from minicnn.layers.symbolic import Shape

__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "ConvLSTMCell"]


class ConvLSTMCell(LSTMGates, Sliding):
    """One step of a `ConvLSTM2D`: called on (inputs, [h, c]), it returns h and [h, c].

    Args:
        filters: how many channels h and c have, F. kernel_size: of both convolutions.
        strides, padding, data_format, dilation_rate: of the inputs' convolution, as in `Conv2D`.
        others: see `Cell` and `LSTMGates`.

    Weights: kernel (KH, KW, C, 4F), recurrent_kernel (KH, KW, F, 4F), bias (4F,).
    """

    _own_arguments: ClassVar[tuple[str, ...]] = (
        *LSTMGates._own_arguments,
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "data_format",
        "dilation_rate",
    )
    state_size = -1  # as in Keras: it is no number

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        given = arguments_of(locals())
        window = [given.pop(name) for name in ("kernel_size", "strides", "padding", "data_format", "dilation_rate")]
        super().__init__(**{name: value for name, value in given.items() if name != "filters"}, window=tuple(window))
        check_filters(filters)
        self.filters = filters
        self._reject_strides_with_dilation()

    def _channels_out(self, C_in: Any) -> Any:
        return self.filters

    def build(self, input_shape: Shape) -> None:
        _, *image, C_in = self.image_shape(input_shape)
        if None in image:
            raise ValueError(
                "ConvLSTM layers only support static input shapes for the spatial dimension. "
                f"Received invalid input shape: input_shape={input_shape}"
            )
        if C_in is None:
            raise ValueError(
                "The channel dimension of the inputs (last axis) should be defined. Found None. Full input shape received: "
                f"input_shape={input_shape}"
            )
        self.compute_output_shape(input_shape)  # an input that does not fit is refused before there are weights
        wide = self.gates * self.filters
        self.kernel = self._add_weight_of("kernel", (*self.kernel_size, C_in, wide), "kernel")
        self.recurrent_kernel = self._add_weight_of("recurrent", (*self.kernel_size, self.filters, wide), "recurrent_kernel")
        self._add_bias(wide)
        self._expect_channels(C_in)
        self.built = True

    def state_shape(self, input_shape: Shape) -> Shape:
        return self.compute_output_shape(input_shape)

    def project(self, x: Any) -> tuple[Any, Any]:
        # z = x * kernel + bias
        window, images = self.window_over(x.shape), self.images(x)
        bias = None if self.bias is None else self.bias.value
        return self._convolve(images, self._of_images(self.kernel.value), bias, window)[0], (images, window)

    def project_backward(self, dz: Any, saved: Any, need_dx: bool) -> tuple[Any, Any, Any]:
        images, window = saved
        kernel = self._of_images(self.kernel.value)
        dx, dkernel, dbias = self._convolve_back(dz, images, kernel, window, need_dx=need_dx)
        return self.as_given(dx) if need_dx else None, dkernel.reshape(self.kernel.shape), dbias

    @property
    def _convolve(self) -> Any:
        return ops.conv2d_forward if self.rank < 3 else conv3d_forward

    @property
    def _convolve_back(self) -> Any:
        return ops.conv2d_backward if self.rank < 3 else conv3d_backward

    def _same(self, shape: Shape) -> Any:
        """How the recurrent kernel slides over states (N, H, W, F), or (N, D, H, W, F)."""
        size = self._of_image(self.kernel_size)
        return window_over_space(shape[1:-1], size, (1,) * len(size), "same")  # type: ignore[arg-type]

    def product(self, h: Any) -> Any:
        return self._convolve(h, self._of_images(self.recurrent_kernel.value), None, self._same(h.shape))[0]

    def product_backward(self, shape: Shape) -> Callable[[Any], Any]:
        kernel, window = self._of_images(self.recurrent_kernel.value), self._same(shape)
        transpose: Any = ops.conv2d_transpose_forward if self.rank < 3 else conv3d_transpose_forward
        return lambda dz: transpose(dz, kernel, None, window, shape[1:-1])

    def product_gradients(self, dinner: Any, h: Any) -> tuple[Any, Any]:
        kernel, window = self._of_images(self.recurrent_kernel.value), self._same(h.shape)
        _, drecurrent, _ = self._convolve_back(dinner, h, kernel, window, need_dx=False)
        return drecurrent.reshape(self.recurrent_kernel.shape), None


@registry.register("layer")
class ConvLSTM2D(CellLayer):
    """The LSTM over sequences of images: a video.

    Args:
        filters: how many channels h and c have, F.
        kernel_size: an int, or (height, width), of both convolutions.
        strides, padding, data_format, dilation_rate: of the inputs' convolution, as in `Conv2D`.
        activation, recurrent_activation: the tanh and the sigma of the formulas.
        use_bias, kernel_initializer, ...: see `Cell`. unit_forget_bias: whether the bias of f begins with ones.
        dropout, recurrent_dropout, seed: see `Cell`.
        return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask: see `RNN`.

    Input (N, T, H, W, C), output (N, OH, OW, F), or (N, T, OH, OW, F). Weights: kernel (KH, KW, C, 4F), recurrent_kernel
    (KH, KW, F, 4F), bias (4F,).
    """

    cell_class = ConvLSTMCell
    cell_name = "conv_lstm_cell"
    ndim = 5

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())


class _Cell1D(ConvLSTMCell):
    """The cell over signals, which are images of height 1."""

    rank = 1


@registry.register("layer")
class ConvLSTM1D(ConvLSTM2D):
    """The LSTM over sequences of signals.

    Arguments as in `ConvLSTM2D`, with ints for pairs.

    Input (N, T, L, C), output (N, OL, F), or (N, T, OL, F). Weights: kernel (K, C, 4F), recurrent_kernel (K, F, 4F),
    bias (4F,).
    """

    cell_class = _Cell1D
    ndim = 4


class _Cell3D(ConvLSTMCell):
    """The cell over volumes."""

    rank = 3


@registry.register("layer")
class ConvLSTM3D(ConvLSTM2D):
    """The LSTM over sequences of volumes.

    Arguments as in `ConvLSTM2D`, with (depth, height, width) for pairs.

    Input (N, T, D, H, W, C), output (N, OD, OH, OW, F), or (N, T, OD, OH, OW, F). Weights: kernel (KD, KH, KW, C, 4F),
    recurrent_kernel (KD, KH, KW, F, 4F), bias (4F,).
    """

    cell_class = _Cell3D
    ndim = 6
