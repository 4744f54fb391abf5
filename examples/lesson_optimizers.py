"""Lesson: which optimizer, and why.

First where one can see it: a valley, 25 times as steep across as along, and four optimizers that walk down it.
Then on scanned digits: the four at five learning rates each. Under a minute.

    python examples/lesson_optimizers.py
    python examples/lesson_optimizers.py --quick
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start
from _exercises.optimizers import check_1, check_2, check_3

from minicnn import Variable
from minicnn.datasets import digits
from minicnn.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from minicnn.models import Sequential
from minicnn.optimizers import SGD, Adam, RMSprop
from minicnn.utils import set_random_seed

run = start("lesson_optimizers", __doc__, epochs=10)

# %% The valley: f(a, b) = ½ (a² + 25 b²). Its gradient is (a, 25 b): steep across, flat along
slopes = np.array([1, 25], "float32")


def height(w):
    return 0.5 * float((slopes * w**2).sum())


def walk(optimizer, steps):
    """The places that an optimizer comes by, from (-8, 2) on."""
    w = Variable(np.array([-8, 2], "float32"))
    optimizer.build([w])
    places = [w.numpy().copy()]
    for _ in range(steps):
        optimizer.apply([slopes * w.numpy()])
        places.append(w.numpy().copy())
    return np.array(places)


# %% One step of each, with its rule
print("f(a, b) = ½ (a² + 25 b²), from (-8, 2): height", height(np.array([-8, 2])), " gradient", slopes * [-8, 2])
optimizers = {
    "sgd": lambda rate: SGD(rate),
    "momentum": lambda rate: SGD(rate, momentum=0.9),
    "rmsprop": lambda rate: RMSprop(rate),
    "adam": lambda rate: Adam(rate),
}
rules = {
    "sgd": "w - rate · g",
    "momentum": "v = 0.9 v - rate · g;  w + v",
    "rmsprop": "s = 0.9 s + 0.1 g²;  w - rate · g / √s",
    "adam": "averages m of g and s of g², both corrected for their start;  w - rate · m / √s",
}
print("\nthe first step with rate 0.07, along and across:")
for name, make in optimizers.items():
    before, after = walk(make(0.07), 1)
    print(f"    {name:9} {after[0] - before[0]:+.4f}  {after[1] - before[1]:+.4f}     {rules[name]}")
print("    sgd and momentum step as far as it is steep; rmsprop and adam equally far in both directions")

# %% How far they come: each with a rate that suits it
rates = {"sgd": 0.07, "momentum": 0.02, "rmsprop": 0.2, "adam": 0.5}
walks = {name: walk(make(rates[name]), 100) for name, make in optimizers.items()}
print("\nheight after       10        30       100 steps")
for name, places in walks.items():
    print(f"    {name:9}", "".join(f"{height(places[step]):10.2g}" for step in (10, 30, 100)), f"  (rate {rates[name]})")

a, b = np.meshgrid(np.linspace(-9, 5, 200), np.linspace(-3, 3, 120))
_, axes = plt.subplots(2, 2, figsize=(11, 6.4), layout="constrained")
for number, (axis, (name, places)) in enumerate(zip(axes.flat, walks.items())):
    axis.contour(a, b, 0.5 * (a**2 + 25 * b**2), levels=np.geomspace(0.1, 120, 10), colors="gray", linewidths=0.6)
    axis.plot(places[:31, 0], places[:31, 1], "-o", color=f"C{number}", markersize=4, linewidth=1.2)
    axis.plot(0, 0, "x", color=plt.rcParams["text.color"], markersize=9)
    axis.set(title=f"{name}, rate {rates[name]}: 30 steps", xlim=(-9, 5), ylim=(-3, 3))
    axis.set(xlabel="a, along the valley", ylabel="b, across it")
run.save("valley")

# %% On images: a small network, five learning rates each
(x_train, y_train), (x_test, y_test) = digits.load_data()
x_train, x_test = x_train.astype("float32") / 255, x_test.astype("float32") / 255
if run.quick:
    x_train, y_train = x_train[:192], y_train[:192]

set_random_seed(run.seed)
model = Sequential(
    [
        Input(shape=(8, 8, 1)),
        Conv2D(16, (3, 3), activation="relu"),
        MaxPooling2D((2, 2)),
        Flatten(),
        Dense(32, activation="relu"),
        Dense(10, activation="softmax"),
    ]
)
first_weights = model.get_weights()

grid = (0.0001, 0.001, 0.01, 0.1, 1.0)
histories = {}
for name, make in optimizers.items():
    for rate in grid:
        set_random_seed(run.seed)  # the same order of the images for all
        model.set_weights(first_weights)
        model.compile(optimizer=make(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        histories[name, rate] = model.fit(
            x_train, y_train, epochs=run.epochs, validation_data=(x_test, y_test), verbose=0
        ).history

# %% The table: the best of each row, and how wide the range of rates is that work
accuracies = {key: history["val_accuracy"][-1] for key, history in histories.items()}
print(f"\ntest accuracy after {run.epochs} epochs of digits, from the same weights (guessing: about 0.10)")
print("    rate     ", "".join(f"{rate:10g}" for rate in grid), "    rates within 0.05 of its best")
for name in optimizers:
    row = np.array([accuracies[name, rate] for rate in grid])
    print(
        f"    {name:9}", "".join(f"{value:10.4f}" for value in row), f"    {int((row > row.max() - 0.05).sum())} of {len(grid)}"
    )
best_rates = {name: max(grid, key=lambda rate, name=name: accuracies[name, rate]) for name in optimizers}
print("    best rate:", ", ".join(f"{name} {rate:g}" for name, rate in best_rates.items()))
ratio = best_rates["sgd"] / best_rates["adam"]
print(f"    sgd's best rate is {ratio:g} times adam's, which divides each gradient by its usual size")

_, axes = plt.subplots(1, 2, figsize=(11, 4))
for number, (name, rate) in enumerate(best_rates.items()):
    history = histories[name, rate]
    epochs = range(1, len(history["loss"]) + 1)
    dash = ("-o", "--s", ":^", "-.d")[number]
    axes[0].plot(epochs, history["loss"], dash, color=f"C{number}", label=f"{name}, rate {rate:g}")
    axes[1].plot(grid, [accuracies[name, rate] for rate in grid], dash, color=f"C{number}", label=name)
axes[0].set(title="training loss at the best rate", xticks=epochs, xlabel="epoch")
axes[1].set(title="test accuracy", xlabel="learning rate", xscale="log")
for axis in axes:
    axis.legend()
run.save("digits")

# %% In one line
best = max(accuracies, key=accuracies.get)
print(f"\nbest test accuracy: {accuracies[best]:.4f} ({best[0]}, rate {best[1]:g})")

# %% [markdown]
# ## Exercises
#
# Write each answer in place of `...`, then run its cell and the one after it: that says whether the answer is right, and if
# not, what may be wrong. Solutions are at the very end.

# %% Exercise 1: up to which learning rate does gradient descent come down into this valley, and not climb out of it?
answer_1 = ...

# %%
check_1(answer_1, walk)


# %% Exercise 2: Adam's very first step from a gradient g (leave its small epsilon aside)
def first_step(g, rate):
    """What is added to the weights."""
    return ...


# %%
check_2(first_step)


# %% Exercise 3: how long a step SGD with momentum takes in the end, where the gradient g stays the same
def last_step(g, rate, momentum):
    """The length that its steps come near, from v = momentum · v - rate · g."""
    return ...


# %%
check_3(last_step)

# %% [markdown]
# <details><summary>Solutions</summary>
#
# ```python
# answer_1 = 2 / 25  # a step multiplies b by 1 - rate · 25, which must stay above -1
# ```
#
# ```python
# def first_step(g, rate):
#     return -rate * np.sign(g)
# ```
#
# ```python
# def last_step(g, rate, momentum):
#     return rate * g / (1 - momentum)  # v = momentum · v - rate · g, solved for v
# ```
#
# </details>
