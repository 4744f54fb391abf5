"""Lesson: reading a network, number by number.

A small network is trained on scanned digits, and `study.explain` makes a page of it on which every number can be opened. Five
questions that one asks of a network: each with the address of the number that answers it on the page, and the same number
computed here in a line or two, so that it is clear what the page shows. Seconds.

    python examples/lesson_reading_a_network.py
    python examples/lesson_reading_a_network.py --quick
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start
from _exercises.reading_a_network import check_1, check_2, check_3
from matplotlib.patches import Rectangle

from minicnn import study
from minicnn.datasets import digits
from minicnn.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from minicnn.models import Sequential
from minicnn.utils import set_random_seed

run = start("lesson_reading_a_network", __doc__, epochs=20)
set_random_seed(run.seed)

# %% A network, and one scan
(x_train, y_train), (x_test, y_test) = digits.load_data()
x_train, x_test = x_train.astype("float32") / 255, x_test.astype("float32") / 255
if run.quick:
    x_train, y_train = x_train[:192], y_train[:192]
model = Sequential(
    [
        Input(shape=(8, 8, 1), name="scan"),
        Conv2D(8, 3, padding="same", activation="relu", name="conv_1"),
        MaxPooling2D(2, name="pool_1"),
        Conv2D(16, 3, padding="same", activation="relu", name="conv_2"),
        Flatten(name="flatten"),
        Dense(10, activation="softmax", name="scores"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=run.epochs, verbose=0)
print(f"test accuracy: {model.evaluate(x_test, y_test, verbose=0)[1]:.4f}")

probabilities = model.predict(x_test, verbose=0)
of_label = probabilities[np.arange(len(y_test)), y_test]
chosen = int(np.argmin(of_label))  # the scan that the network gets wrong most surely
image, label = x_test[chosen], int(y_test[chosen])
said = probabilities[chosen].argmax()
print(f"test image {chosen} is a {label}; the network says {said}, and {label} with probability {of_label[chosen]:.4f}")

# %% The page. Click a number, and it is opened as the sum it is; the switch at the top goes from values to gradients
page = study.explain(model, image, label, class_names=digits.CLASS_NAMES, title=f"a scanned {label}")
run.save_page("explained", page)

# %% Every number has an address: #forward or #backward, the layer, the place. Behind the page's own, it opens that number
# Of the page under a cell nobody sees the address: `page.save("page.html")` gives a file for a browser; or, after
# `widget = page.widget()`, set `widget.hash`.
print("#forward/scan/4,3,0           the pixel in row 4, column 3 (of channel 0; all count from 0)")
print("#forward/conv_1/4,3,5         conv_1's sum there in map 5, before its activation")
print("#forward/conv_1:relu/4,3,5    after it")
print("#backward/conv_1:relu/4,3,5   the gradient of the loss there")
print("#forward/conv_1/kernel/0,2,0,5    a weight: row 0, column 2, from channel 0 to map 5")

# %% The numbers themselves: every layer forward, then every layer back
layers, values, saved = model.layers, {"scan": image[None]}, {}
x = image[None]
for layer in layers:
    x, saved[layer.name] = layer.forward(x, False)
    values[layer.name] = np.array(x)
gradients, of_weights = {}, {}
dy = np.zeros((1, 10), "float32")
dy[0, label] = -1 / values["scores"][0, label]  # of the loss, -log p[label], at the probabilities
for layer in reversed(layers):
    gradients[layer.name] = np.array(dy)
    dy, of_weights[layer.name] = layer.backward(dy, saved[layer.name])
maps, dmaps = values["conv_1"][0], gradients["conv_1"][0]  # (8, 8, 8)
kernel, bias = model.get_layer("conv_1").get_weights()
padded = np.pad(image[..., 0], 1)

# %% 1. Why is this number 0? Because its sum is below zero, and a ReLU lets nothing below zero through
sums = np.array([[np.tensordot(padded[r : r + 3, c : c + 3], kernel[:, :, 0], 2) + bias for c in range(8)] for r in range(8)])
row, column, m = (int(i) for i in np.unravel_index(sums.argmin(), sums.shape))
window, weights = padded[row : row + 3, column : column + 3], kernel[:, :, 0, m]
print(f"#forward/conv_1:relu/{row},{column},{m}   {maps[row, column, m]:.4f}")
print(f"#forward/conv_1/{row},{column},{m}   {sums[row, column, m]:.4f}")

_, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")
axes[0].imshow(image[..., 0], cmap="gray")
axes[0].add_patch(Rectangle((column - 1.5, row - 1.5), 3, 3, fill=False, edgecolor="C1", linewidth=2.5))
axes[0].set_title(f"a scanned {label}")
products = (
    ("window", window),
    (f"× kernel of map {m}", weights),
    (f"sum + {bias[m]:.2f} = {sums[row, column, m]:.2f}", window * weights),
)
for axis, (title, numbers) in zip(axes[1:], products):
    reach = 1.5 * np.abs(numbers).max()
    axis.imshow(numbers, cmap="PuOr_r", vmin=-reach, vmax=reach)
    axis.set_title(title)
    for place in np.ndindex(3, 3):
        axis.text(place[1], place[0], f"{numbers[place]:.2f}", ha="center", va="center", color="black", fontsize=9)
for axis in axes:
    axis.axis("off")
run.save("why_zero")


# %% 2. Which pixels does it see? Those that change it: a number of conv_2 sees 3 of pool_1, so 6 of conv_1, so 8 of the scan
def changes(row, column):
    """Which pixels change conv_2's numbers at this place: each pixel is made brighter, one at a time."""
    batch = np.repeat(image[None], 65, axis=0)
    for pixel in range(64):
        batch[pixel, pixel // 8, pixel % 8] += 1
    x = batch
    for layer in layers[:3]:
        x = layer.forward(x, False)[0]
    found = np.array(x)[:, row, column]
    return (np.abs(found[:64] - found[64]) > 1e-4).any(axis=-1).reshape(8, 8)  # by more than rounding


_, axes = plt.subplots(1, 2, figsize=(6, 3.2), layout="constrained")
for axis, (row, column) in zip(axes, ((0, 0), (1, 2))):
    first, last = (
        [max(0, 2 * (place - 1) - 1) for place in (row, column)],
        [min(7, 2 * (place + 1) + 2) for place in (row, column)],
    )
    print(f"#forward/conv_2/{row},{column},0   sees rows {first[0]} to {last[0]}, columns {first[1]} to {last[1]}")
    axis.imshow(changes(row, column), cmap="cividis", vmin=0, vmax=1)
    frame = (first[1] - 0.5, first[0] - 0.5), last[1] - first[1] + 1, last[0] - first[0] + 1
    axis.add_patch(Rectangle(*frame, fill=False, edgecolor="C1", linewidth=2.5, clip_on=False))
    axis.set(title=f"conv_2 at ({row}, {column}):\npixels that change it")
    axis.axis("off")
run.save("sees")

# %% 3. Why will this weight grow? Its gradient is a sum over all places: the pixel under it, times the gradient that came back
dkernel = np.asarray(of_weights["conv_1"][0])
ky, kx, _, m = (int(i) for i in np.unravel_index(np.abs(dkernel).argmax(), dkernel.shape))
dsums = dmaps[..., m] * (maps[..., m] > 0)  # back through the ReLU
under = padded[ky : ky + 8, kx : kx + 8]
terms = under * dsums
print(f"#backward/conv_1/kernel/{ky},{kx},0,{m}   {dkernel[ky, kx, 0, m]:.4f}, by the sum {terms.sum():.4f}")
print("positive: a larger weight makes the loss larger, so it will shrink" if terms.sum() > 0 else "negative: so it will grow")

_, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
for axis, (title, numbers) in zip(
    axes, (("pixels under the weight", under), ("× gradient at the sums", dsums), (f"sum = {terms.sum():.3f}", terms))
):
    reach = np.abs(numbers).max() or 1
    axis.imshow(numbers, cmap="PuOr_r", vmin=-reach, vmax=reach)
    axis.set_title(title)
    axis.axis("off")
run.save("weight")

# %% 4. Which class does this map push up? From conv_2 on all is linear: a score is its bias and the shares of the 16 maps
after = values["conv_2"][0]  # (4, 4, 16)
dense, dense_bias = model.get_layer("scores").get_weights()
shares = np.einsum("rcm,rcmk->mk", after, dense.reshape(4, 4, 16, 10))
logits = shares.sum(axis=0) + dense_bias
said = int(logits.argmax())
m = int(shares[:, said].argmax())
print(f"scores before the softmax: {logits.round(2)}")
print(f"map {m} has the largest share in the {said}: {shares[m, said]:.4f} of {logits[said]:.4f}")
row, column = (int(i) for i in np.unravel_index(after[..., m].argmax(), (4, 4)))
print(f'#forward/conv_2:relu/{row},{column},{m}   under "Pushes up or down"')

_, axis = plt.subplots(figsize=(8, 3.4))
reach = np.abs(shares).max()
drawn = axis.imshow(shares.T, cmap="PuOr_r", vmin=-reach, vmax=reach, aspect="auto")
axis.set(xticks=range(16), yticks=range(10), xlabel="map of conv_2", ylabel="class")
axis.set_title(f"shares of the maps in the scores: orange pushes up. Shown {label}, said {said}")
plt.colorbar(drawn, ax=axis)
run.save("pushes")

# %% 5. Where does the gradient stop? Where pooling chose another number, and where a ReLU gave 0
at_sums = dmaps * (maps > 0)
m = int((np.count_nonzero(dmaps, axis=(0, 1)) - np.count_nonzero(at_sums, axis=(0, 1))).argmax())
behind = gradients["pool_1"][0, ..., m]
before, at_sums = dmaps[..., m], at_sums[..., m]
print(f"map {m} of conv_1: {np.count_nonzero(behind)} of 16 numbers of pool_1 have a gradient,")
print(f"    {np.count_nonzero(before)} of 64 before the pooling, {np.count_nonzero(at_sums)} before the ReLU")
for name, stopped, reason in (
    ("conv_1:relu", before == 0, "another number of its window was the largest"),
    ("conv_1", (before != 0) & (at_sums == 0), "the ReLU gave 0"),
):
    for row, column in np.argwhere(stopped)[:1]:
        print(f"#backward/{name}/{row},{column},{m}   0.0000   {reason}")

_, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
panels = (
    (f"map {m} of conv_1", maps[..., m]),
    ("gradient behind the pooling", behind),
    ("before the pooling", before),
    ("before the ReLU", at_sums),
)
for axis, (title, numbers) in zip(axes, panels):
    reach = np.abs(numbers).max() or 1
    axis.imshow(numbers, cmap="PuOr_r", vmin=-reach, vmax=reach)
    axis.set_title(title)
    axis.axis("off")
run.save("stops")

# %% [markdown]
# ## Exercises
#
# Write each answer in place of `...`, then run its cell and the one after it: that says whether the answer is right, and if
# not, what may be wrong. Solutions are at the very end.


# %% Exercise 1: how many rows of the image one number sees, behind any stack of convolutions and poolings
def rows_seen(stack):
    """`stack`: (kernel size, stride) of each layer, from the image on."""
    return ...


# %%
check_1(rows_seen)

# %% Exercise 2: the largest number of pool_1 was chosen from a window of conv_1's map: at which (row, column) of that map?
pooled = values["pool_1"][0]
place = tuple(int(i) for i in np.unravel_index(pooled.argmax(), pooled.shape))
print(f"#forward/pool_1/{','.join(map(str, place))}")
answer_2 = ...

# %%
check_2(answer_2, model.get_layer("pool_1"), saved["pool_1"], place)


# %% Exercise 3: the share of map m in the score of class k, from conv_2's values and the weights of the dense layer
def share(values, weights, m, k):
    """`values`: (rows, columns, maps). `weights`: (rows·columns·maps, classes); Flatten goes row by row, maps innermost."""
    return ...


# %%
check_3(share)

# %% [markdown]
# <details><summary>Solutions</summary>
#
# ```python
# def rows_seen(stack):
#     rows, apart = 1, 1  # rows seen so far; how far apart neighbours lie in the image
#     for kernel, stride in stack:
#         rows += (kernel - 1) * apart
#         apart *= stride
#     return rows
# ```
#
# ```python
# row, column, m = place
# window = values["conv_1"][0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2, m]
# down, right = np.unravel_index(window.argmax(), (2, 2))
# answer_2 = (2 * row + down, 2 * column + right)
# ```
#
# ```python
# def share(values, weights, m, k):
#     rows, columns, maps = values.shape
#     return (values[..., m] * weights.reshape(rows, columns, maps, -1)[..., m, k]).sum()
# ```
#
# </details>
