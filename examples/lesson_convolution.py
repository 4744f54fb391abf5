"""Lesson: convolution by hand, and the layer that does the same.

A 5×5 image under a 3×3 kernel, one output pixel written out term by term; then the loops, the layer, the
matrix product that both hide; strides and padding; and what a kernel sees on a scanned digit. Seconds.

    python examples/lesson_convolution.py
"""

# %% Imports
import time

import matplotlib.pyplot as plt
import numpy as np
from _common import start
from _exercises.convolution import check_1, check_2, check_3

from minicnn import study
from minicnn.datasets import digits
from minicnn.layers import Conv2D

run = start("lesson_convolution", __doc__)

# %% An image with an edge in it, and a kernel that looks for one: bright on the right, dark on the left
image = np.array(
    [
        [0, 0, 9, 9, 9],
        [0, 0, 9, 9, 9],
        [0, 0, 9, 9, 9],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ],
    "float32",
)
kernel = np.array(
    [
        [-1, 0, 1],
        [-1, 0, 1],
        [-1, 0, 1],
    ],
    "float32",
)
print("image (5×5):", image.astype(int), "kernel (3×3):", kernel.astype(int), sep="\n")

# %% One output pixel: lay the kernel on the image, multiply what lies on each other, add it all up
oy, ox = 1, 1
print(f"\noutput pixel (row {oy}, column {ox}): the kernel lies on rows {oy} to {oy + 2}, columns {ox} to {ox + 2}")
for ky in range(3):
    print("   ", "  +  ".join(f"{image[oy + ky, ox + kx]:.0f} × {kernel[ky, kx]:2.0f}" for kx in range(3)))
patch = image[oy : oy + 3, ox : ox + 3]
print("    =", int((patch * kernel).sum()))


# %% All of them: y[oy, ox] = sum over ky, kx of x[oy + ky, ox + kx] · kernel[ky, kx]
def convolve(image, kernel):
    """The loops of the definition; the kernel is not turned around, which is what all networks call convolution."""
    KH, KW = kernel.shape
    OH, OW = image.shape[0] - KH + 1, image.shape[1] - KW + 1
    output = np.zeros((OH, OW), "float32")
    for oy in range(OH):
        for ox in range(OW):
            for ky in range(KH):
                for kx in range(KW):
                    output[oy, ox] += image[oy + ky, ox + kx] * kernel[ky, kx]
    return output


by_hand = convolve(image, kernel)
print("\noutput (3×3), large where dark turns into bright, zero where nothing changes:", by_hand.astype(int), sep="\n")

# %% The layer takes (images, height, width, channels) and has a kernel (height, width, channels in, channels out)
layer = Conv2D(filters=1, kernel_size=(3, 3), use_bias=False)
layer.build((None, 5, 5, 1))
layer.set_weights([kernel.reshape(3, 3, 1, 1)])
by_layer = np.asarray(layer(image.reshape(1, 5, 5, 1)))[0, :, :, 0]
print("\nthe layer's output differs from the loops' by at most", np.abs(by_layer - by_hand).max())

# %% The same as one matrix product: every patch is a row of nine numbers, the kernel a column of nine
patches = np.array([image[oy : oy + 3, ox : ox + 3].ravel() for oy in range(3) for ox in range(3)])
by_matrix = (patches @ kernel.ravel()).reshape(3, 3)
print(f"\n{patches.shape} patches times {kernel.ravel().shape} kernel; differs by at most", np.abs(by_matrix - by_hand).max())
run.save("im2col", study.im2col_matrix(image, 3, place=(1, 1), title="The patch in the frame is one row", style=run.style))

# %% Strides and padding change how many output pixels there are, and nothing else
print("\n 5×5 image, 3×3 kernel:")
for padding in ("valid", "same"):
    for strides in (1, 2):
        OH, OW = Conv2D(1, 3, strides=strides, padding=padding).compute_output_shape((None, 5, 5, 1))[1:3]
        formula = f"ceil((5 - 3 + 1) / {strides})" if padding == "valid" else f"ceil(5 / {strides})"
        print(f"    padding={padding:5}  strides={strides}   {formula:19} = {OH}   so {OH}×{OW}")

# %% Colours and filters: each filter has a kernel for every channel, adds up over all of them, and makes one map
colours = np.random.default_rng(0).random((1, 32, 32, 3)).astype("float32")
layer = Conv2D(filters=8, kernel_size=(3, 3), bias_initializer="normal")
maps = np.asarray(layer(colours))[0]
kernel_of_all, bias = layer.get_weights()
print(f"\n32×32×3 image, 8 filters: kernel {kernel_of_all.shape}, bias {bias.shape}, output {maps.shape}")
print(f"    weights: 3·3·3·8 + 8 = {layer.count_params()}; multiplications: 30·30·8 · 3·3·3 = {30 * 30 * 8 * 27:,}")
filter_5 = sum(convolve(colours[0, :, :, c], kernel_of_all[:, :, c, 5]) for c in range(3)) + bias[5]
print(f"    filter 5 by hand, three convolutions and a bias: differs by at most {np.abs(filter_5 - maps[..., 5]).max():.1e}")

# %% What it costs: the loops one after the other, or the layer
began = time.perf_counter()
for c in range(3):
    convolve(colours[0, :, :, c], kernel_of_all[:, :, c, 5])
loops = 8 * (time.perf_counter() - began)  # for all eight filters
repeats = 10 if run.quick else 200
began = time.perf_counter()
for _ in range(repeats):
    layer.forward(colours, False)
compiled = (time.perf_counter() - began) / repeats
print(f"    one image takes {1e3 * loops:.0f} ms with loops in Python and {1e3 * compiled:.3f} ms with the layer")

# %% What kernels see: on a scanned digit
(_, _), (x_test, y_test) = digits.load_data(as_rgb32=True)
digit = x_test[4, :, :, :1].astype("float32") / 255
kernels = {
    "left edges": [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
    "upper edges": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
    "blur": [[1 / 9] * 3] * 3,
    "outlines": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
}
layer = Conv2D(len(kernels), 3, padding="same", use_bias=False)
layer.build((None, 32, 32, 1))
layer.set_weights([np.array(list(kernels.values())).transpose(1, 2, 0)[:, :, None, :]])
maps = np.asarray(layer(digit[None]))[0]

_, axes = plt.subplots(1, 5, figsize=(11, 2.6))
axes[0].imshow(digit, cmap="gray")
axes[0].set_title(f"a scanned {y_test[4]}")
for index, name in enumerate(kernels):
    reach = np.abs(maps[..., index]).max()
    axes[index + 1].imshow(maps[..., index], cmap="PuOr_r", vmin=-reach, vmax=reach)
    axes[index + 1].set_title(name)
for axis in axes:
    axis.axis("off")
run.save("kernels")

# %% [markdown]
# ## Exercises
#
# Write each answer in place of `...`, then run its cell and the one after it: that says whether the answer is right, and if
# not, what may be wrong. Solutions are at the very end.


# %% Exercise 1: how many rows the output has, for padding "valid" or "same"
def output_rows(rows, kernel, stride, padding):
    return ...


# %%
check_1(output_rows)

# %% Exercise 2: a 3×3 kernel that moves an image one pixel to the right (padding "same")
kernel_2 = ...

# %%
check_2(kernel_2)

# %% Exercise 3: how many weights, biases included, has a layer of 16 filters of 5×5 over a colour image?
answer_3 = ...

# %%
check_3(answer_3)

# %% [markdown]
# <details><summary>Solutions</summary>
#
# ```python
# def output_rows(rows, kernel, stride, padding):
#     places = rows - kernel + 1 if padding == "valid" else rows
#     return -(-places // stride)  # rounded up
# ```
#
# ```python
# kernel_2 = [[0, 0, 0], [1, 0, 0], [0, 0, 0]]  # an output takes the pixel to its left
# ```
#
# ```python
# answer_3 = 5 * 5 * 3 * 16 + 16
# ```
#
# </details>
