"""Lesson: what a network costs, counted before it runs.

Parameters, floating-point operations and memory of each layer by formula, beside what `model.summary()` says and what
is measured; where in a network each of them sits, and what a change of the network does to them. Seconds.

    python examples/lesson_counting.py
"""

# %% Imports
import time
import tracemalloc
from math import prod

import matplotlib.pyplot as plt
import numpy as np
from _common import start
from _exercises.counting import check_1, check_2, check_3

from minicnn.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
)
from minicnn.models import Sequential

run = start("lesson_counting", __doc__)

# %% One convolution: 32 filters of 3×3 over an image of 32×32 pixels and 3 channels
H, W, C_in, KH, KW, C_out = 32, 32, 3, 3, 3, 32
OH, OW = H - KH + 1, W - KW + 1
parameters = KH * KW * C_in * C_out + C_out
flops = 2 * (KH * KW * C_in) * (OH * OW * C_out)
print(
    f"parameters: a weight for each tap, input channel and filter, and a bias for each filter: 3·3·3·32 + 32 = {parameters:,}"
)
print(f"FLOPs: each of 30·30·32 outputs is a sum of 3·3·3 products; one multiplication, one addition: {flops:,}")
print(f"memory of its output: 30·30·32 numbers of 4 bytes: {4 * OH * OW * C_out:,} bytes")

layer = Conv2D(C_out, (KH, KW))
layer.build((None, H, W, C_in))
after = layer.compute_output_shape((None, H, W, C_in))
print(f"the layer says: {layer.count_params():,} parameters, {layer.count_flops((None, H, W, C_in), after):,} FLOPs")


# %% The formulas of all layers of a network
def cost(layer, before, after):
    """(parameters, FLOPs for one image) of a layer, from the shapes of its input and output without the batch axis."""
    if isinstance(layer, Conv2D):
        inputs = prod(layer.kernel_size) * before[-1]  # of one sum
        return (inputs + 1) * layer.filters, 2 * inputs * prod(after)
    if isinstance(layer, Dense):
        return (before[0] + 1) * after[0], 2 * before[0] * after[0]
    if isinstance(layer, MaxPooling2D):
        return 0, prod(layer.pool_size) * prod(after)  # comparisons
    if isinstance(layer, GlobalAveragePooling2D):
        return 0, prod(before)
    if isinstance(layer, BatchNormalization):
        return 4 * after[-1], 2 * prod(after)  # gamma, beta, mean, variance; one factor and one summand
    return 0, 0  # Flatten: the same numbers in another shape


def network(filters=32, size=32, kernel=3, flat=True):
    return Sequential(
        [
            Input(shape=(size, size, 3)),
            Conv2D(filters, kernel, padding="same", activation="relu", name="conv_1"),
            BatchNormalization(name="normalization"),
            MaxPooling2D(2, name="pool_1"),
            Conv2D(2 * filters, kernel, padding="same", activation="relu", name="conv_2"),
            MaxPooling2D(2, name="pool_2"),
            Flatten(name="flatten") if flat else GlobalAveragePooling2D(name="average"),
            Dense(128, activation="relu", name="dense"),
            Dense(10, activation="softmax", name="scores"),
        ]
    )


def table(model):
    """(name, parameters, FLOPs, numbers of the output) of each layer, by formula; what only looks at others' has none."""
    rows, before = [], model.input_shape[1:]
    for layer in model.layers:
        after = layer.output.shape[1:]
        rows.append((layer.name, *cost(layer, before, after), 0 if isinstance(layer, Flatten) else prod(after)))
        before = after
    return rows


model = network()
rows = table(model)
print("by formula      parameters        FLOPs     numbers it gives")
for name, parameters, flops, numbers in rows:
    print(f"    {name:13}{parameters:9,}{flops:13,}{numbers:12,}")
parameters, flops = (sum(row[column] for row in rows) for column in (1, 2))
print(f"    {'sum':13}{parameters:9,}{flops:13,}")

# %% And the library's own count
model.summary()
counted = sum(step["flops"] for step in model.plan())
print(f"differences: {parameters - model.count_params()} parameters, {flops - counted} FLOPs")

# %% They sit in different places: weights in the dense layer, work in convolutions, memory in the first maps
_, axis = plt.subplots(figsize=(9, 2.9))
columns = {"numbers given": 3, "FLOPs": 2, "parameters": 1}
for number, column in enumerate(columns.values()):
    left, whole = 0, sum(row[column] for row in rows)
    for index, row in enumerate(row for row in rows if row[3]):
        share = row[column] / whole
        axis.barh(number, share, left=left, color=f"C{index}", label=row[0] if number == 0 else None, height=0.6)
        if share > 0.09:
            text = f"{row[0]}\n{share:.0%}"
            axis.text(left + share / 2, number, text, ha="center", va="center", fontsize=8, color=axis.get_facecolor())
        left += share
axis.set(yticks=range(3), yticklabels=columns, xlim=(0, 1), xticks=[])
axis.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 0))
axis.spines[["left", "bottom"]].set_visible(False)
run.save("shares")

# %% What a change of the network does
changes = {
    "as it is": {},
    "twice the filters": {"filters": 64},
    "kernels of 5×5": {"kernel": 5},
    "images of 64×64": {"size": 64},
    "averages, not flat": {"flat": False},
}
print("                        parameters              MFLOP")
first = None
for name, change in changes.items():
    changed = table(network(**change))
    sums = np.array([sum(row[column] for row in changed) for column in (1, 2)])
    first = sums if first is None else first
    ratios = sums / first
    print(f"    {name:19}{sums[0]:10,} ({ratios[0]:5.2f}×){sums[1] / 1e6:10.2f} ({ratios[1]:4.2f}×)")

# %% Memory of training: weights, their gradients, the optimizer's averages, and each image's numbers until they were used
batches = (32, 64, 128) if run.quick else (32, 64, 128, 192, 256)


def measured(batch):
    """The most bytes in use at once during a training step, without the images."""
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = np.zeros((batch, 32, 32, 3), "float32"), np.zeros(batch, "int64")
    tracemalloc.start()
    model.train_on_batch(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


measured(batches[0])  # the first step compiles what it needs
peaks = np.array([measured(batch) for batch in batches])
an_image, beside = np.polyfit(batches, peaks, 1)
every_layer = 4 * sum(row[3] for row in rows)
joined = sum(step["bytes"] for step in model.plan() if step["layers"] != ["flatten"])
print(f"with Adam, 4 · 4 bytes a parameter (weight, gradient, two averages): {16 * parameters / 1e6:.1f} MB")
print(f"an image's numbers, each layer's output: {every_layer:,} bytes; twice that with all gradients: {2 * every_layer:,}")
print(f"of steps that `model.plan()` joins, the last output alone: {joined:,} bytes; twice that: {2 * joined:,}")
print(f"measured: {an_image:,.0f} bytes more for each image of a batch, and {beside / 1e6:.1f} MB for none;")
print("less than twice, because a gradient is let go as soon as the layer before it was given its own")

_, axis = plt.subplots(figsize=(7, 4))
line = np.array([0, batches[-1]])
for name, bytes_each, dash in (
    ("every output and its gradient", 2 * every_layer, "--"),
    ("the same, of joined steps", 2 * joined, ":"),
):
    axis.plot(line, (16 * parameters + line * bytes_each) / 1e6, dash, label=f"by formula: {name}")
axis.plot(batches, peaks / 1e6, "o", label="measured")
axis.set(xlabel="images in a batch", ylabel="MB in a training step", ylim=0)
axis.legend()
run.save("memory")

# %% FLOPs are not seconds: layers that multiply less may wait for memory
x = np.random.default_rng(0).random((64, 32, 32, 3)).astype("float32")
print("forward, 64 images:   µs an image    GFLOP/s")
for layer, (name, _, flops, _) in zip(model.layers, rows):
    seconds = []
    for _ in range(3 if run.quick else 30):
        began = time.perf_counter()
        y = layer.forward(x, False)[0]
        seconds.append((time.perf_counter() - began) / len(x))
    print(f"    {name:17}{1e6 * np.median(seconds):12.2f}{flops / np.median(seconds) / 1e9:11.1f}")
    x = np.array(y)

# %% [markdown]
# ## Exercises
#
# Write each answer in place of `...`, then run its cell and the one after it: that says whether the answer is right, and if
# not, what may be wrong. Solutions are at the very end.

# %% Exercise 1: how many parameters has `Conv2D(64, 5, use_bias=False)` over 16 channels?
answer_1 = ...

# %%
check_1(answer_1)


# %% Exercise 2: the FLOPs of a convolution with padding "same"
def flops_of(height, width, C_in, filters, kernel, stride):
    """Of one image of (height, width, C_in), under kernels of kernel×kernel; multiplications and additions."""
    return ...


# %%
check_2(flops_of)


# %% Exercise 3: the parameters of a depthwise separable convolution, without biases
def separable(kernel, C_in, C_out):
    """A kernel×kernel convolution of each channel by itself, then a 1×1 convolution from C_in to C_out channels."""
    return ...


# %%
check_3(separable)

# %% [markdown]
# <details><summary>Solutions</summary>
#
# ```python
# answer_1 = 5 * 5 * 16 * 64
# ```
#
# ```python
# def flops_of(height, width, C_in, filters, kernel, stride):
#     OH, OW = -(-height // stride), -(-width // stride)  # rounded up
#     return 2 * kernel * kernel * C_in * OH * OW * filters
# ```
#
# ```python
# def separable(kernel, C_in, C_out):
#     return kernel * kernel * C_in + C_in * C_out
# ```
#
# </details>
