"""Checks of the exercises of `lesson_counting.py`."""

from _exercises import check, check_function
from minicnn.layers import Conv2D, DepthwiseConv2D, Input
from minicnn.models import Sequential


def check_1(answer):
    """How many parameters has `Conv2D(64, 5, use_bias=False)` over 16 channels?"""
    layer = Conv2D(64, 5, use_bias=False)
    layer.build((None, 20, 20, 16))
    check(
        1,
        answer,
        right=layer.count_params(),
        why=[
            (25 * 16 * 64 + 64, "These are the parameters with a bias for each filter."),
            (25 * 64, "A filter has a kernel for each input channel."),
            (25 * 16, "That is one filter."),
        ],
    )


def check_2(answer):
    """The FLOPs of a convolution with padding `same`."""

    def by_layer(height, width, C_in, filters, kernel, stride):
        layer, before = Conv2D(filters, kernel, strides=stride, padding="same"), (None, height, width, C_in)
        return layer.count_flops(before, layer.compute_output_shape(before))

    check_function(
        2,
        answer,
        right=by_layer,
        cases=[(8, 8, 3, 16, 3, 1), (8, 10, 4, 2, 5, 2), (9, 7, 2, 8, 3, 2), (5, 5, 1, 1, 1, 1)],
        why=[
            (lambda *a: by_layer(*a) // 2, "Each product is also added: count two operations."),
            (lambda H, W, C, F, K, S: by_layer(H, W, C, F, K, 1), "A stride leaves fewer places."),
            (lambda H, W, C, F, K, S: 2 * (H // S) * (W // S) * C * F * K * K, "The last place may hang over: round up."),
        ],
    )


def check_3(answer):
    """The parameters of a depthwise separable convolution, without biases."""

    def by_layers(kernel, C_in, C_out):
        layers = DepthwiseConv2D(kernel, use_bias=False), Conv2D(C_out, 1, use_bias=False)
        return Sequential([Input(shape=(8, 8, C_in)), *layers]).count_params()

    check_function(
        3,
        answer,
        right=by_layers,
        cases=[(3, 32, 64), (5, 8, 8), (3, 1, 7)],
        why=[
            (lambda K, C_in, C_out: K * K * C_in * C_out, "That is a whole convolution: each filter sees all channels."),
            (lambda K, C_in, C_out: K * K + C_in * C_out, "Each channel has a kernel of its own."),
        ],
    )
