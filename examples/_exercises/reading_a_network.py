"""Checks of the exercises of `lesson_reading_a_network.py`."""

import numpy as np

from _exercises import check, check_function
from minicnn.layers import Conv2D, Dense


def check_1(answer):
    """How many rows of the image one number sees, behind any stack of convolutions and poolings."""

    def by_experiment(stack):
        """Layers with weights of 1; images of which each has one bright row; how many of them reach a number in the middle."""
        x = np.eye(64, dtype="float32").reshape(64, 64, 1, 1)
        for kernel, stride in stack:
            layer = Conv2D(1, (kernel, 1), strides=(stride, 1), use_bias=False, kernel_initializer="ones")
            x = np.array(layer(x))
        return np.count_nonzero(x[:, x.shape[1] // 2])

    check_function(
        1,
        answer,
        right=by_experiment,
        cases=[([(3, 1)],), ([(3, 1), (3, 1)],), ([(3, 1), (2, 2), (3, 1)],), ([(5, 2), (3, 2), (3, 1)],)],
        why=[
            (lambda stack: sum(kernel for kernel, _ in stack), "Windows of neighbours overlap."),
            (lambda stack: 1 + sum(kernel - 1 for kernel, _ in stack), "Behind a stride of 2, neighbours are two rows apart."),
        ],
    )


def check_2(answer, pool, saved, place):
    """The largest number of pool_1 was chosen from a window of conv_1's map: at which (row, column) of that map?"""
    one = np.zeros((1, 4, 4, 8), "float32")
    one[0][place] = 1
    came_from = np.argwhere(pool.backward(one, saved)[0][0])[0]  # the gradient goes where the number came from
    check(
        2,
        answer,
        right=came_from[:2],
        why=[(place[:2], "That is its place in pool_1; conv_1 has twice as many rows and columns.")],
    )


def check_3(answer):
    """The share of map m in the score of class k, from conv_2's values and the weights of the dense layer."""

    def by_leaving_out(values, weights, m, k):
        """The score with all maps, less the score without map m."""
        without = values.copy()
        without[..., m] = 0
        scores = Dense(weights.shape[1], use_bias=False)
        scores.build((None, len(weights)))
        scores.set_weights([weights])
        whole, rest = np.asarray(scores(np.stack([values.reshape(-1), without.reshape(-1)])))
        return whole[k] - rest[k]

    some = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32"), np.eye(24, 5, dtype="float32") + 1
    check_function(
        3,
        answer,
        right=by_leaving_out,
        cases=[(*some, 0, 0), (*some, 2, 2), (*some, 3, 1)],
        why=[
            (
                lambda v, w, m, k: (v[..., m].ravel() * w[m * 6 : m * 6 + 6, k]).sum(),
                "The maps are innermost: a map's weights are not side by side.",
            ),
            (lambda v, w, m, k: v[..., m].sum(), "Each number of the map has a weight of its own."),
        ],
    )
