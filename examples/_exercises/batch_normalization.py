"""Checks of the exercises of `lesson_batch_normalization.py`."""

import numpy as np

from _exercises import check_function
from minicnn.layers import BatchNormalization, Conv2D


def check_1(answer):
    """Batch normalization of images (N, H, W, C) in training, with gamma = 1 and beta = 0."""

    def by_layer(x, epsilon):
        return np.asarray(BatchNormalization(epsilon=epsilon)(x, training=True))

    pictures = [np.random.default_rng(n).normal(n, 2, (4, 3, 2, 3)).astype("float32") for n in range(2)]
    check_function(
        1,
        answer,
        right=by_layer,
        cases=[(pictures[0], 0.001), (pictures[1], 0.1)],
        why=[
            (lambda x, e: (x - x.mean()) / np.sqrt(x.var() + e), "Every channel has a mean and a variance of its own."),
            (lambda x, e: (x - x.mean(0)) / np.sqrt(x.var(0) + e), "Pixels count as images do: they share a channel's mean."),
            (
                lambda x, e: (x - x.mean((0, 1, 2))) / (x.std((0, 1, 2)) + e),
                "epsilon is added to the variance, before the root.",
            ),
        ],
    )


def check_2(answer):
    """The running mean after so many batches, all with the same mean, from 0 on."""

    def by_training(batches, momentum, mean):
        layer = BatchNormalization(momentum=momentum)
        for _ in range(batches):
            layer(np.full((2, 1), mean, "float32"), training=True)
        return layer.get_weights()[2][0]

    check_function(
        2,
        answer,
        right=by_training,
        cases=[(1, 0.9, 5.0), (3, 0.9, 5.0), (10, 0.5, -2.0)],
        why=[
            (lambda n, momentum, mean: mean, "It begins at 0 and only comes near."),
            (lambda n, momentum, mean: mean * momentum**n, "That is what is still missing."),
            (lambda n, momentum, mean: mean * (1 - (1 - momentum) ** n), "A batch counts 1 - momentum, the old mean momentum."),
        ],
    )


def check_3(answer):
    """After training, a convolution and the normalization behind it are one convolution. With which kernel and bias?"""
    image = np.random.default_rng(2).normal(size=(1, 6, 6, 2)).astype("float32")

    def by_two_layers(kernel, gamma, beta, mean, variance, epsilon):
        normalization = BatchNormalization(epsilon=epsilon)
        normalization.build((None, 4, 4, kernel.shape[3]))
        normalization.set_weights([gamma, beta, mean, variance])
        return np.asarray(normalization(np.array(by_one_layer(kernel, np.zeros_like(beta))), training=False))

    def by_one_layer(kernel, bias):
        layer = Conv2D(kernel.shape[3], kernel.shape[:2])
        layer.build(image.shape)
        layer.set_weights([kernel, bias])
        return np.array(layer(image))

    def with_folded(*weights):
        found = answer(*weights)
        return found if found is ... else by_one_layer(*found)

    def wrongly(bias_of):
        def compute(kernel, gamma, beta, mean, variance, epsilon):
            scale = gamma / np.sqrt(variance + epsilon)
            return by_one_layer(kernel * scale, bias_of(beta, mean, scale))

        return compute

    weights = np.random.default_rng(3).uniform(0.5, 2, (2, 4, 5)).astype("float32")
    kernels = np.random.default_rng(4).normal(size=(2, 3, 3, 2, 5)).astype("float32")
    check_function(
        3,
        with_folded,
        right=by_two_layers,
        cases=[(kernel, *four, 0.001) for kernel, four in zip(kernels, weights)],
        why=[
            (wrongly(lambda beta, mean, scale: beta), "The kernel is right. The mean is subtracted, too."),
            (wrongly(lambda beta, mean, scale: beta - mean), "The kernel is right. The mean is scaled as well."),
        ],
    )
