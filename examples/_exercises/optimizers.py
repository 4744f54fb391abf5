"""Checks of the exercises of `lesson_optimizers.py`."""

import numpy as np

from _exercises import check, check_function
from minicnn import Variable
from minicnn.optimizers import SGD, Adam


def check_1(answer, walk):
    """Up to which learning rate does gradient descent come down into this valley, and not climb out of it?"""
    low, high = 0.001, 0.2
    for _ in range(20):  # halve the interval in which it begins to climb
        middle = (low + high) / 2
        places = walk(SGD(middle), 60)
        low, high = (middle, high) if abs(places[-1, 1]) < abs(places[0, 1]) else (low, middle)
    check(
        1,
        answer,
        right=low,
        why=[
            (2.0, "That is right along the valley, where the slope is 1. Across it is steeper."),
            (0.04, "With this rate it reaches the bottom across in one step. It may step beyond, as long as it lands lower."),
        ],
    )


def check_2(answer):
    """Adam's very first step from a gradient g (leave its small epsilon aside)."""

    def by_adam(g, rate):
        w = Variable(np.zeros(len(g), "float32"))
        optimizer = Adam(rate)
        optimizer.build([w])
        optimizer.apply([np.asarray(g, "float32")])
        return w.numpy()

    check_function(
        2,
        answer,
        right=by_adam,
        cases=[(np.array([8.0, -50.0]), 0.1), (np.array([-0.2, 3.0]), 0.01)],
        why=[
            (lambda g, rate: -rate * g, "That is gradient descent. What is m / √s when there was one gradient so far?"),
            (lambda g, rate: rate * np.sign(g), "It goes against the gradient."),
            (lambda g, rate: -rate * 0.1 * g / np.sqrt(0.001 * g**2), "Both averages are corrected for their start from 0."),
        ],
    )


def check_3(answer):
    """How long a step SGD with momentum takes in the end, where the gradient g stays the same."""

    def by_steps(g, rate, momentum):
        w = Variable(np.zeros(1, "float32"))
        optimizer = SGD(rate, momentum=momentum)
        optimizer.build([w])
        for _ in range(300):
            before = w.numpy().copy()
            optimizer.apply([np.full(1, g, "float32")])
        return abs(w.numpy() - before)[0]

    check_function(
        3,
        answer,
        right=by_steps,
        cases=[(1.0, 0.01, 0.9), (3.0, 0.02, 0.5), (2.0, 0.01, 0.0)],
        why=[
            (lambda g, rate, momentum: rate * g, "That is the first step. The old steps go on."),
            (
                lambda g, rate, momentum: rate * g * (1 + momentum),
                "That is the second step. It goes on growing: by what, in all?",
            ),
        ],
    )
