"""Checks of the exercises of `lesson_backpropagation.py`."""

import numpy as np

from _exercises import check_function
from minicnn.layers import Conv2D, ReLU

RNG = np.random.default_rng(1)
IMAGES = [RNG.integers(-3, 4, size).astype("float32") for size in ((4, 4), (5, 3), (3, 6))]


def _by_layer(x, dy, kernel=None):
    """dx and dk of the layer's own `backward`."""
    size = x.shape[0] - dy.shape[0] + 1, x.shape[1] - dy.shape[1] + 1
    layer = Conv2D(1, size, use_bias=False)
    layer.build((None, *x.shape, 1))
    if kernel is not None:
        layer.set_weights([kernel.reshape(*size, 1, 1).astype("float32")])
    _, saved = layer.forward(x[None, :, :, None].astype("float32"), True)
    dx, (dk,) = layer.backward(dy[None, :, :, None].astype("float32"), saved)
    return np.array(dx)[0, :, :, 0], np.array(dk)[:, :, 0, 0]


def check_1(answer):
    """The kernel's gradient, for any image and any gradient at the outputs (stride 1, no padding)."""
    check_function(
        1,
        answer,
        right=lambda x, dy: _by_layer(x, dy)[1],
        cases=[(IMAGES[0], IMAGES[0][:3, :3]), (IMAGES[1], IMAGES[1][1:, 1:]), (IMAGES[2], IMAGES[2][:2, 3:])],
        why=[
            (lambda x, dy: _by_layer(x, dy)[1][::-1, ::-1], "The window's place is oy + ky, ox + kx: nothing is turned around.")
        ],
    )


def check_2(answer):
    """A ReLU's way back. y is what it gave, dy the gradient there."""

    def by_relu(dy, y):
        x = np.where(y > 0, y, -1).astype("float32")  # an input that gives this y
        layer = ReLU()
        _, saved = layer.forward(x[None], True)
        return np.array(layer.backward(dy[None].astype("float32"), saved)[0])[0]

    check_function(
        2,
        answer,
        right=by_relu,
        cases=[(np.array([3.0, -2.0, 5.0]), np.array([1.0, 0.0, 2.0])), (np.array([-4.0, -1.0]), np.array([0.0, 6.0]))],
        why=[
            (lambda dy, y: np.maximum(dy, 0), "A gradient may be negative: the ReLU looked at its input, not at the gradient."),
            (lambda dy, y: dy * y, "Its slope is 1 or 0, whatever the input's size."),
            (lambda dy, y: dy, "What does a small change of an input below zero change?"),
        ],
    )


def check_3(answer):
    """The sum of all of dx, without computing dx (stride 1, no padding)."""

    def by_adding_up(kernel, dy):
        image = np.zeros((kernel.shape[0] + dy.shape[0] - 1, kernel.shape[1] + dy.shape[1] - 1))
        return _by_layer(image, dy, kernel)[0].sum()

    check_function(
        3,
        answer,
        right=by_adding_up,
        cases=[(IMAGES[1], IMAGES[0]), (IMAGES[1], IMAGES[2]), (IMAGES[0][:2], IMAGES[1])],
        why=[
            (
                lambda kernel, dy: kernel.sum() + dy.sum(),
                "Each of the outputs hands back each of the weights: products, not sums.",
            )
        ],
    )
