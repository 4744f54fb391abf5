"""Lesson: backpropagation through a convolution, step by step with numbers.

A 4×4 image, a 2×2 kernel, a target. The forward pass, the loss, and from it every gradient: of the outputs, the
kernel, the bias and the image, each written out once and then checked, against the layer's own `backward` and
against the slope that one sees by moving a weight a little. Ends with the step that makes the loss smaller. Seconds.

    python examples/lesson_backpropagation.py
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start
from _exercises.backpropagation import check_1, check_2, check_3

from minicnn.layers import Conv2D

run = start("lesson_backpropagation", __doc__)

# %% The forward pass: y[oy, ox] = sum over ky, kx of x[oy + ky, ox + kx] · k[ky, kx], plus b
x = np.array([[1, 2, 0, 1], [0, 1, 3, 1], [2, 1, 0, 0], [1, 0, 1, 2]], "float32")
k = np.array([[1, 0], [-1, 2]], "float32")
b = np.float32(1)
target = np.array([[3, 8, 1], [1, 2, 5], [4, 3, 2]], "float32")


def forward(x, k, b):
    return np.array([[(x[oy : oy + 2, ox : ox + 2] * k).sum() + b for ox in range(3)] for oy in range(3)])


y = forward(x, k, b)
print("image x:", x.astype(int), "kernel k:", k.astype(int), f"bias b: {b:.0f}", sep="\n")
print("output y:", y.astype(int), "target:", target.astype(int), sep="\n")

# %% The loss, half the squared differences, and its gradient at the outputs: dy = y - target
loss = 0.5 * ((y - target) ** 2).sum()
dy = y - target
print(f"\nloss = ½ · sum of (y - target)² = {loss}")
print("dy = y - target; positive where y is too large:", dy.astype(int), sep="\n")

# %% The kernel: k[ky, kx] has a part in every output, with x[oy + ky, ox + kx] as its factor
ky, kx = 0, 1
print("\ndk[ky, kx] = sum over oy, ox of dy[oy, ox] · x[oy + ky, ox + kx]")
print(f"dk[{ky}, {kx}] =", " + ".join(f"({dy[oy, ox]:.0f})·{x[oy + ky, ox + kx]:.0f}" for oy in range(3) for ox in range(3)))
dk = np.array([[(dy * x[ky : ky + 3, kx : kx + 3]).sum() for kx in range(2)] for ky in range(2)])
print(f"         = {dk[ky, kx]:.0f}\nall of dk, which is x convolved with dy:", dk.astype(int), sep="\n")

# %% The bias: it is in every output, with the factor 1
db = dy.sum()
print(f"\ndb = sum of dy = {db:.0f}")

# %% The image: x[h, w] has a part in each output whose window holds it, at most 2·2 of them
h, w = 2, 1
print("\ndx[h, w] = sum over ky, kx of dy[h - ky, w - kx] · k[ky, kx], where that output exists")
terms = [(h - ky, w - kx, k[ky, kx]) for ky in range(2) for kx in range(2)]
print(f"dx[{h}, {w}] =", " + ".join(f"dy[{oy}, {ox}]·({weight:.0f})" for oy, ox, weight in terms))
print("         =", " + ".join(f"({dy[oy, ox]:.0f})·({weight:.0f})" for oy, ox, weight in terms), end="")
print(f" = {sum(dy[oy, ox] * weight for oy, ox, weight in terms):.0f}")

dx = np.zeros_like(x)
for oy in range(3):
    for ox in range(3):
        dx[oy : oy + 2, ox : ox + 2] += dy[oy, ox] * k  # each output hands its gradient back through the kernel
print("all of dx:", dx.astype(int), sep="\n")

# %% The layer does the same
layer = Conv2D(filters=1, kernel_size=(2, 2))
layer.build((None, 4, 4, 1))
layer.set_weights([k.reshape(2, 2, 1, 1), b.reshape(1)])
layer_y, saved = layer.forward(x.reshape(1, 4, 4, 1), training=True)
layer_dx, (layer_dk, layer_db) = layer.backward(dy.reshape(1, 3, 3, 1).astype("float32"), saved)
print("\nlayer.forward and layer.backward against the lines above, largest difference:")
for name, by_layer, by_hand in (("y", layer_y, y), ("dk", layer_dk, dk), ("db", layer_db, db), ("dx", layer_dx, dx)):
    print(f"    {name:2}  {np.abs(np.reshape(by_layer, np.shape(by_hand)) - by_hand).max()}")

# %% And so does the definition of a slope: move one weight a little, and see how the loss changes
print("\nslope of the loss, (loss(k + e) - loss(k - e)) / 2e with e = 0.001, beside dk:")
for ky in range(2):
    for kx in range(2):
        e = np.zeros((2, 2))
        e[ky, kx] = 0.001
        more, less = (0.5 * ((forward(x, moved, b) - target) ** 2).sum() for moved in (k + e, k - e))
        print(f"    k[{ky}, {kx}]:  {(more - less) / 0.002:9.4f}   {dk[ky, kx]:9.4f}")

# %% What it is for: a step against the gradient
rate = 0.01
new_loss = 0.5 * ((forward(x, k - rate * dk, b - rate * db) - target) ** 2).sum()
print(f"\nk - {rate}·dk:", k - rate * dk, f"b - {rate}·db: {b - rate * db:.2f}", sep="\n")
print(f"loss before the step: {loss:.4f}   after it: {new_loss:.4f}")

# %% The journey as pictures: numbers above zero orange, below zero purple
panels = {
    "x": x,
    "k": k,
    "y = x * k + b": y,
    "target": target,
    "dy = y - target": dy,
    "dk = x * dy": dk,
    "dx: dy through k": dx,
}
_, axes = plt.subplots(2, 4, figsize=(11, 5.6))
for axis in axes.flat:
    axis.axis("off")
for axis, (name, values) in zip(axes.flat, panels.items()):
    reach = 2 * np.abs(values).max()  # so that the numbers stay legible on the strongest colour
    axis.imshow(values, cmap="PuOr_r", vmin=-reach, vmax=reach)
    axis.set_title(name, fontsize=12)
    for row, column in np.ndindex(values.shape):
        axis.text(column, row, f"{values[row, column]:.0f}", ha="center", va="center", color="black", fontsize=12)
run.save("gradients")

# %% [markdown]
# ## Exercises
#
# Write each answer in place of `...`, then run its cell and the one after it: that says whether the answer is right, and if
# not, what may be wrong. Solutions are at the very end.


# %% Exercise 1: the kernel's gradient, for any image and any gradient at the outputs (stride 1, no padding)
def kernel_gradient(x, dy):
    """dk, of shape (rows of x - rows of dy + 1, the same of the columns)."""
    return ...


# %%
check_1(kernel_gradient)


# %% Exercise 2: a ReLU's way back. y is what it gave, dy the gradient there
def relu_backward(dy, y):
    """The gradient at the ReLU's input."""
    return ...


# %%
check_2(relu_backward)


# %% Exercise 3: the sum of all of dx, without computing dx (stride 1, no padding)
def sum_of_dx(kernel, dy):
    """Each output hands dy·kernel back to its window: what is that in all?"""
    return ...


# %%
check_3(sum_of_dx)

# %% [markdown]
# <details><summary>Solutions</summary>
#
# ```python
# def kernel_gradient(x, dy):
#     OH, OW = dy.shape
#     KH, KW = x.shape[0] - OH + 1, x.shape[1] - OW + 1
#     return [[(dy * x[ky : ky + OH, kx : kx + OW]).sum() for kx in range(KW)] for ky in range(KH)]
# ```
#
# ```python
# def relu_backward(dy, y):
#     return dy * (y > 0)
# ```
#
# ```python
# def sum_of_dx(kernel, dy):
#     return kernel.sum() * dy.sum()
# ```
#
# </details>
