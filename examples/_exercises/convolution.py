"""Checks of the exercises of `lesson_convolution.py`."""

import numpy as np

from _exercises import check, check_function
from minicnn.layers import Conv2D


def check_1(answer):
    """How many rows the output has, for padding `valid` or `same`."""

    def by_layer(rows, kernel, stride, padding):
        return Conv2D(1, kernel, strides=stride, padding=padding).compute_output_shape((None, rows, rows, 1))[1]

    check_function(
        1,
        answer,
        right=by_layer,
        cases=[(*sizes, padding) for padding in ("valid", "same") for sizes in ((5, 3, 1), (8, 3, 2), (9, 4, 3), (7, 2, 3))],
        why=[
            (lambda n, k, s, padding: by_layer(n, k, s, "valid"), 'Padding "same" lets the kernel hang over the edges.'),
            (lambda n, k, s, padding: (n - k) // s if padding == "valid" else n // s, "The first place counts, too."),
            (
                lambda n, k, s, padding: (n - k) // s + 1 if padding == "valid" else n // s,
                'With "same" the last place may hang over.',
            ),
        ],
    )


def check_2(answer):
    """A 3×3 kernel that moves an image one pixel to the right (padding "same")."""
    picture = np.arange(1, 17, dtype="float32").reshape(4, 4)
    moved = np.pad(picture, ((0, 0), (1, 0)))[:, :4]

    def through_layer(kernel):
        """What the layer makes of the picture with this kernel."""
        layer = Conv2D(1, 3, padding="same", use_bias=False)
        layer.build((None, 4, 4, 1))
        layer.set_weights([np.reshape(kernel, (3, 3, 1, 1))])
        return np.asarray(layer(picture[None, :, :, None]))[0, :, :, 0]

    check(
        2,
        answer if answer is ... or np.shape(answer) != (3, 3) else through_layer(answer),
        right=moved,
        why=[
            (np.pad(picture, ((0, 0), (0, 1)))[:, 1:], "It moves to the left: an output takes the pixel under the 1."),
            (np.pad(picture, ((1, 0), (0, 0)))[:4], "It moves down: kernel[ky, kx] has the row first."),
            (picture, "It changes nothing."),
        ],
    )


def check_3(answer):
    """How many weights, biases included, has a layer of 16 filters of 5×5 over a colour image?"""
    layer = Conv2D(16, 5)
    layer.build((None, 32, 32, 3))
    check(
        3,
        answer,
        right=layer.count_params(),
        why=[
            (5 * 5 * 16 + 16, "Each filter has a kernel for every channel of the image."),
            (5 * 5 * 3 * 16, "Each filter has a bias."),
            (5 * 5 * 3 * 16 + 3 * 16, "A filter has one bias, not one for each channel."),
        ],
    )
