"""One call of everything that has a kernel of its own, in the shapes that choose every tile."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn import backends
from minicnn.backends import cupy_gpu
from minicnn.backends.types import window_over

ops = SimpleNamespace(**backends.load("cupy"))

ACTIVATIONS: dict[str, tuple[float, ...]] = {
    "relu": (),
    "bounded_relu": (0.1, 6.0, 0.5),
    "leaky_relu": (0.2,),
    "elu": (1.0,),
    "selu": (),
    "gelu": (),
    "gelu_tanh": (),
    "silu": (),
    "mish": (),
    "hard_silu": (),
    "sigmoid": (),
    "hard_sigmoid": (),
    "tanh": (),
    "softplus": (),
    "softmax": (),
}

# images, channels in, channels out: narrow, narrow without vectors, few rows, square, tall, large
CONVOLUTIONS = [(2, 4, 16), (2, 3, 10), (2, 8, 32), (1, 8, 64), (2, 8, 64), (64, 4, 192), (96, 4, 128)]


def call_every_op(array: Callable[..., Any], dtype: str) -> None:
    """Call the ops; `array(*shape)` makes float arguments of `dtype`, and of whatever kind the ops are to see."""
    for images, C_in, C_out in CONVOLUTIONS:
        size = 5 if images == 1 else 17
        for strides, dilation in (((1, 1), (1, 1)), ((2, 3), (1, 1)), ((2, 1), (2, 3))):
            window = window_over((size, size), (2, 2), strides, (1, 0, 1, 1), dilation)
            x, kernel = array(images, size, size, C_in), array(2, 2, C_in, C_out)
            y, _ = ops.conv2d_forward(x, kernel, array(C_out), window)
            ops.conv2d_backward(y, x, kernel, window)
    y, _ = ops.conv2d_forward(x, kernel, None, window, relu=True)
    ops.conv2d_backward(y, x, kernel, window, y)
    pool = window_over(window.output, (2, 2), (2, 2), "valid")
    y, argmax = ops.conv2d_forward(x, kernel, None, window, relu=True, pool=pool)
    ops.conv2d_backward(y, x, kernel, window, y, pool, argmax)
    y = ops.conv2d_transpose_forward(array(images, *window.output, C_out), kernel, array(C_in), window, (size, size), relu=True)
    ops.conv2d_transpose_backward(y, array(images, *window.output, C_out), kernel, window, y)
    x, kernel, window = array(2, 9, 8, 5), array(3, 2, 5, 2), window_over((9, 8), (3, 2), (2, 1), (1, 0, 0, 1), (1, 2))
    y = ops.depthwise_conv2d_forward(x, kernel, array(10), window, relu=True)
    ops.depthwise_conv2d_backward(y, x, kernel, window, y)
    x, kernel = array(40, 300), array(300, 65)
    y = ops.dense_forward(x, kernel, array(65))
    ops.dense_backward(y, x, kernel)
    ops.dense_backward(y, x, kernel, ops.dense_forward(x, kernel, array(65), relu=True))

    x, window = array(2, 7, 6, 5), window_over((7, 6), (3, 2), (2, 1), (1, 0, 0, 1))
    y, argmax = ops.maxpool2d_forward(x, window)
    ops.maxpool2d_backward(y, argmax, x.shape, window)
    ops.avgpool2d_backward(ops.avgpool2d_forward(x, window), x.shape, window)
    y, argmax = ops.global_maxpool2d_forward(x)
    ops.global_maxpool2d_backward(y, argmax, x.shape)
    ops.global_avgpool2d_backward(ops.global_avgpool2d_forward(x), x.shape)

    gamma, beta = array(5), array(5)
    y, mean, variance = ops.batchnorm_forward(x, gamma, beta, 1e-3)
    ops.batchnorm_backward(y, x, gamma, beta, mean, variance, 1e-3)
    ops.batchnorm_inference_backward(y, x, None, None, mean, variance, 1e-3)
    ops.moving_average_update_(mean, variance, 0.9)
    y, mean, variance = ops.batchnorm_forward(x, gamma, beta, 1e-3, relu=True)
    ops.batchnorm_backward(y, x, gamma, beta, mean, variance, 1e-3, relu=True)
    ops.batchnorm_inference_backward(y, x, gamma, beta, mean, variance, 1e-3, relu=True)
    ops.batchnorm_inference(x, gamma, beta, mean, variance, 1e-3, relu=True)

    for name, parameters in ACTIVATIONS.items():
        y = getattr(ops, f"{name}_forward")(x, *parameters)
        getattr(ops, f"{name}_backward")(y, x, *parameters)
    key = ops.draw_key_(cupy_gpu.asarray(np.array([1, 2], np.uint32)))
    ops.dropout_backward(ops.dropout_forward(x, 0.3, key), 0.3, key)
    ops.random_bits(key, 7)

    logits, labels = array(6, 5), cupy_gpu.asarray(np.arange(6) % 5)
    losses, probabilities = ops.softmax_cross_entropy_forward(logits, logits)
    ops.softmax_cross_entropy_backward(probabilities, logits, losses)
    ops.sparse_softmax_cross_entropy_forward(logits, labels)
    ops.sparse_softmax_cross_entropy_backward(probabilities, labels, losses)
    matches = ops.categorical_matches(logits, logits)
    ops.sparse_categorical_matches(logits, labels)
    ops.accumulate_mean_(cupy_gpu.asarray(np.zeros((), dtype)), cupy_gpu.asarray(np.zeros((), dtype)), matches, None)

    params, grads, *slots = [[array(3, 4), array(5)] for _ in range(5)]
    ops.sgd_update_(params, grads, 0.1)
    ops.momentum_update_(params, grads, slots[0], 0.1, 0.9)
    ops.nesterov_update_(params, grads, slots[0], 0.1, 0.9)
    ops.rmsprop_update_(params, grads, tuple(slots), 0.1, 0.9, 0.5, 1e-7)
    ops.adam_update_(params, grads, tuple(slots), 0.1, 1, (0.9, 0.999), 1e-7)
    ops.weight_decay_(params, 0.1, 0.01)
    ops.exponential_average_(slots[0], params, 0.9)
    ops.clip_by_value_(grads, 0.5)
    ops.clip_by_norm_(grads, 0.5)
    ops.clip_by_global_norm_(grads, 0.5)
    ops.l1_l2_gradient_(grads[0], params[0], 0.1, 0.1)


def own_ops() -> set[str]:
    """The ops that the GPU backend does not take from the reference backend."""
    return {name for name, function in vars(ops).items() if ".cupy_gpu." in function.__module__}
