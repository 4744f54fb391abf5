"""Lesson: how a convolution becomes fast.

One convolution five times: loops, a matrix product of copied patches (im2col), the same product in tiles that read the image
where it lies, and Winograd's, which multiplies less. Each written out in a few lines, timed, and set beside the lines of the
engine that do the same. Under a minute, and longer where the kernels are not compiled yet.

    python examples/lesson_fast_convolution.py
"""

# %% Imports
import inspect
import time
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
from _common import start
from _exercises.fast_convolution import check_1, check_2, check_3
from matplotlib.patches import Patch, Rectangle
from threadpoolctl import threadpool_limits

import minicnn
from minicnn import study
from minicnn.backends.numba_cpu import _microkernel, _transforms, conv, winograd
from minicnn.backends.reference import im2col as reference_im2col
from minicnn.backends.reference import loops
from minicnn.backends.reference.im2col import im2col
from minicnn.datasets import digits
from minicnn.layers import Conv2D
from minicnn.utils import set_random_seed

run = start("lesson_fast_convolution", __doc__)
set_random_seed(run.seed)
threads = minicnn.get_num_threads()
minicnn.set_num_threads(1)  # one core: what an algorithm is worth, not how many help
one_core = threadpool_limits(1)  # NumPy's matrix products, too

# %% The task: 3×3, from 32 channels to 32, over 16 maps of 34×34, which another convolution made of scanned digits
N, H, W, C_in, C_out, K = 2 if run.quick else 16, 34, 34, 32, 32, 3
OH, OW = H - K + 1, W - K + 1
scans = np.pad(digits.load_data(as_rgb32=True)[1][0][:N], ((0, 0), (1, 1), (1, 1), (0, 0)))
x = np.array(Conv2D(C_in, K, padding="same", activation="relu")(scans.astype("float32") / 255))
layer = Conv2D(C_out, K, use_bias=False)
layer.build((None, H, W, C_in))
kernel = layer.kernel.numpy()
window = layer.window_over(x.shape)
print(f"{N} · {OH}·{OW}·{C_out} outputs of {K}·{K}·{C_in} products: {2 * N * OH * OW * C_out * K * K * C_in / 1e6:,.0f} MFLOP")
rates = {}  # GFLOP/s, counted as the direct way's operations


def rate(name, compute, images, repeats):
    """Time `compute` and write down its GFLOP/s; returns what it computed."""
    seconds = []
    for _ in range(repeats + 1):  # the first may compile
        began = time.perf_counter()
        y = compute()
        seconds.append(time.perf_counter() - began)
    best = min(seconds[1:] or seconds)
    rates[name] = 2 * images * OH * OW * C_out * K * K * C_in / best / 1e9
    print(f"{name}: {1e3 * best / images:,.3f} ms an image, {rates[name]:.3g} GFLOP/s")
    return y


# %% Loops: an element at a time. (Four outputs alone; all of an image would be 9.4 million rounds.)
def one_output(n, oy, ox, co):
    total = 0.0
    for ky in range(K):
        for kx in range(K):
            for ci in range(C_in):
                total += x[n, oy + ky, ox + kx, ci] * kernel[ky, kx, ci, co]
    return total


places = [(0, 10, 10, 0), (0, 15, 17, 3), (1, 19, 12, 31), (1, 21, 20, 16)]
began = time.perf_counter()
by_loops = [one_output(*place) for place in places]
seconds = time.perf_counter() - began
rates["loops"] = 2 * len(places) * K * K * C_in / seconds / 1e9
print(f"loops: {1e3 * seconds / len(places) * OH * OW * C_out:,.0f} ms an image, at this pace; {rates['loops']:.3g} GFLOP/s")

# %% im2col: every window's pixels copied into a row; then all outputs are one matrix product, which libraries do well
columns = im2col(x, window)
matrix = columns.reshape(N * OH * OW, K * K * C_in)
print(f"the image has {x[0].nbytes:,} bytes, its patches {matrix[: OH * OW].nbytes:,}: {matrix.nbytes / x.nbytes:.1f} times")


def by_im2col():
    rows = im2col(x, window).reshape(N * OH * OW, K * K * C_in)
    return (rows @ kernel.reshape(K * K * C_in, C_out)).reshape(N, OH, OW, C_out)


y = rate("im2col", by_im2col, N, 3)
print("differs from the loops by at most", f"{max(abs(y[place] - value) for place, value in zip(places, by_loops)):.1e}")
gradient = np.add.outer(np.arange(8), np.arange(8)) * 16
run.save("im2col", study.im2col_matrix(gradient.astype("uint8"), 3, place=(2, 3), title="im2col", style=run.style))

# %% The patches need no copy: a row begins at an offset, and goes on in runs of KW·C_in numbers that lie side by side
flat = x[0].ravel()
offsets = np.array([(oy * W + ox) * C_in for oy in range(OH) for ox in range(OW)])
row = 5 * OW + 7
runs = [flat[offsets[row] + ky * W * C_in :][: K * C_in] for ky in range(K)]
print(f"output pixel (5, 7): its window begins at number {offsets[row]:,} of the image, and is {K} runs of {K * C_in} numbers;")
print("the same as the row that im2col copied:", np.array_equal(np.concatenate(runs), matrix[row]))

# %% A tile: a few pixels by a few filters, whose sums stay in registers from the first product to the last
MR, NR = _microkernel.MR, _microkernel.NR
B = kernel.reshape(K * K * C_in, C_out)


def tile(first, count, filters):
    """The outputs of `count` pixels from `first` on, for some filters: a rank-1 product for each number of a patch."""
    begins = offsets[first : first + count]
    sums = np.zeros((count, filters.stop - filters.start), "float32")  # MR·NR sums: what the registers hold
    for ky in range(K):
        for q in range(K * C_in):
            pixels = flat[begins + ky * W * C_in + q]  # one number for each row of the tile
            weights = B[ky * K * C_in + q, filters]  # NR numbers side by side
            sums += np.outer(pixels, weights)
    return sums


wanted = y[0].reshape(OH * OW, C_out)
found = tile(60, MR, slice(0, min(NR, C_out)))
loads, products = MR + NR, MR * NR
print(f"here a tile is {MR} pixels × {NR} filters: each number of a patch takes {loads} numbers read, for {products} products")
print(f"differs from im2col's by at most {np.abs(found - wanted[60 : 60 + MR, :NR]).max():.1e}")

# %% Drawn: what one tile reads, as the product that im2col would have
first = 15 * OW + 12  # its first pixel
shown, depth, top = 5 * MR, K * K * C_in, first - 2 * MR
drawn = (
    (
        f"the image, one channel:\nwindows of {MR} pixels",
        x[0, :, :, x[0].std(axis=(0, 1)).argmax()],
        (11.5, 14.5, MR + K - 1, K),
    ),
    ("A: their patches,\nread from the image", matrix[top : top + shown], (-0.5, 2 * MR - 0.5, depth, MR)),
    (f"B: the kernel,\n{depth} × {C_out}", B, (-0.5, -0.5, min(NR, C_out), depth)),
    (f"C: outputs,\n{MR} × {min(NR, C_out)} in registers", wanted[top : top + shown], (-0.5, 2 * MR - 0.5, min(NR, C_out), MR)),
)
_, axes = plt.subplots(1, 4, figsize=(11, 3.4), width_ratios=[1.1, 1.3, 0.7, 0.7], layout="constrained")
for axis, (title, values, (left, above, width, height)) in zip(axes, drawn):
    axis.imshow(values, cmap="cividis", aspect="auto", vmax=np.percentile(values, 99))
    axis.add_patch(Rectangle((left, above), width, height, fill=False, edgecolor="C1", linewidth=2.5, clip_on=False))
    axis.set_title(title, fontsize=9)
    axis.set(xticks=[], yticks=[])
axes[1].set_ylabel(f"a row for each of {shown} pixels")
run.save("tiles")

# %% The engine's tiles are these loops in vector instructions. (`winograd.pays` chooses; here it is made to say no.)
with mock.patch.object(winograd, "pays", return_value=False):
    direct = rate("tiles, compiled", lambda: np.array(layer.forward(x, False)[0]), N, 3 if run.quick else 20)
print(f"differs from im2col's by at most {np.abs(direct - y).max():.1e}")

# %% Winograd: 4 outputs of 3 weights from 6 multiplications in place of 12
AT, G, BT = (np.array(matrix, float) for matrix in _transforms.matrices(3))
print("y = A^T [(G g) * (B^T d)], with G", G.round(3), "B^T", BT, "A^T", AT, sep="\n")
d, g = np.array([1, 3, 2, 0, 4, 1]), np.array([1, -2, 3])
transformed = AT @ ((G @ g) * (BT @ d))
print("d:", d, "  g:", g)
print("by the formula:   ", transformed.round(4))
print("by the definition:", [int(d[i : i + 3] @ g) for i in range(4)])


# %% In two dimensions: tiles of 6×6 pixels give 4×4 outputs with 36 products in place of 144, channel by channel
def by_winograd():
    U = np.einsum("ik,klco,jl->ijco", G, kernel, G).astype("float32")  # the kernel's transform, (6, 6, C_in, C_out)
    tiles = np.lib.stride_tricks.sliding_window_view(x, (6, 6), axis=(1, 2))[:, ::4, ::4]  # (N, rows, columns, C_in, 6, 6)
    V = np.einsum("ik,nyxckl,jl->ijnyxc", BT, tiles, BT, optimize=True).astype("float32")
    rows = V.shape[2:5]
    M = (V.reshape(36, -1, C_in) @ U.reshape(36, C_in, C_out)).reshape(6, 6, *rows, C_out)  # 36 small matrix products
    Y = np.einsum("ik,klnyxo,jl->nyixjo", AT, M, AT, optimize=True)
    return Y.reshape(N, OH, OW, C_out).astype("float32")


by_hand = rate("Winograd in NumPy", by_winograd, N, 1)
print(f"differs from im2col's by at most {np.abs(by_hand - y).max():.1e}")
engine = rate("Winograd, compiled", lambda: np.array(layer.forward(x, False)[0]), N, 3 if run.quick else 20)
exact = im2col(x.astype("float64"), window).reshape(N * OH * OW, -1) @ B.astype("float64")
for name, result in (("im2col", y), ("tiles", direct), ("Winograd", engine)):
    print(f"    {name:9} largest error against float64: {np.abs(result.reshape(exact.shape) - exact).max():.1e}")

# %% One tile's journey: pixels, their transform (B^T d B), the products summed over channels, and the outputs
d = x[0, 12:18, 12:18]
liveliest = int(d.std(axis=(0, 1)).argmax())
V = np.einsum("ik,klc,jl->ijc", BT, d, BT)
U = np.einsum("ik,klc,jl->ijc", G, kernel[..., 0], G)
M = (V * U).sum(axis=2)
steps = {
    f"d: 6×6 pixels\nof channel {liveliest}": d[..., liveliest],
    "B$^T$ d B": V[..., liveliest],
    "G g G$^T$, the kernel's": U[..., liveliest],
    "M: 36 products,\nsummed over channels": M,
    "A$^T$ M A:\n4×4 outputs": AT @ M @ AT.T,
    "the same by\nthe definition": y[0, 12:16, 12:16, 0],
}
_, axes = plt.subplots(1, 6, figsize=(12, 2.5))
for axis, (title, values) in zip(axes, steps.items()):
    reach = np.abs(values).max()
    axis.imshow(values, cmap="PuOr_r", vmin=-reach, vmax=reach)
    axis.set_title(title, fontsize=9)
    axis.axis("off")
run.save("winograd")

# %% All together, on one core
names = ["loops", "im2col", "Winograd in NumPy", "tiles, compiled", "Winograd, compiled"]
_, axis = plt.subplots(figsize=(9, 2.8))
axis.barh(names, [rates[name] for name in names], color=["C0", "C0", "C0", "C1", "C1"])
for index, name in enumerate(names):
    axis.text(rates[name] * 1.15, index, f"{rates[name]:.3g}", va="center")
axis.invert_yaxis()
axis.set(xscale="log", xlabel="GFLOP/s, counted as the direct way's operations", xlim=(None, max(rates.values()) * 6))
legend = [Patch(color="C0", label="Python and NumPy"), Patch(color="C1", label="the engine")]
axis.legend(handles=legend, loc="center left", bbox_to_anchor=(1, 0.5))
run.save("rates")

# %% Where the engine has them
for what, function in (
    ("the loops", loops.conv2d_forward),
    ("im2col", reference_im2col.im2col),
    ("a tile's instructions", _microkernel._emit_tile),
    ("the loops around tiles", conv.forward_rows),
    ("whether Winograd pays", winograd.pays),
    ("its three matrices", _transforms.matrices),
    ("its 36 products", winograd._multiply_place),
):
    code = inspect.unwrap(getattr(function, "py_func", function)).__code__
    file = Path(code.co_filename)
    print(f"    {what:23} minicnn/backends/{file.parent.name}/{file.name}, line {code.co_firstlineno}: {code.co_name}")
minicnn.set_num_threads(threads)
one_core.restore_original_limits()

# %% [markdown]
# ## Exercises
#
# Write each answer in place of `...`, then run its cell and the one after it: that says whether the answer is right, and if
# not, what may be wrong. Solutions are at the very end.


# %% Exercise 1: how many bytes im2col copies for one image, stride 1, no padding, float32
def im2col_bytes(height, width, channels, kernel):
    return ...


# %%
check_1(im2col_bytes)


# %% Exercise 2: where in the flat image (row by row, channels side by side) the window of output pixel (oy, ox) begins
def offset(oy, ox, width, channels, stride):
    return ...


# %%
check_2(offset)


# %% Exercise 3: how many times fewer multiplications Winograd has, for m×m outputs of an r×r kernel from a tile of 6×6
def saving(m, r):
    return ...


# %%
check_3(saving)

# %% [markdown]
# <details><summary>Solutions</summary>
#
# ```python
# def im2col_bytes(height, width, channels, kernel):
#     OH, OW = height - kernel + 1, width - kernel + 1
#     return 4 * OH * OW * kernel * kernel * channels
# ```
#
# ```python
# def offset(oy, ox, width, channels, stride):
#     return (oy * stride * width + ox * stride) * channels
# ```
#
# ```python
# def saving(m, r):
#     return (m * r) ** 2 / 36  # 6×6 products in place of m·m·r·r
# ```
#
# </details>
