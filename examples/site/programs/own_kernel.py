"""A kernel of one's own: a layer that compares a patch with a filter by differences, where a convolution multiplies."""

import numba
import numpy as np

import minicnn
from minicnn import layers, study
from minicnn.datasets import digits


def differences_reference(x, kernel):
    """The formula in NumPy: slow, and plain to see.

        y[n,oy,ox,co] = - sum over ky,kx,ci of |x[n, oy+ky, ox+kx, ci] - kernel[ky,kx,ci,co]|

    Args:
        x: (N, H, W, C_in).
        kernel: (KH, KW, C_in, C_out).

    Returns:
        y: (N, H-KH+1, W-KW+1, C_out).

    Source: Chen et al. 2020, arXiv:1912.13200.
    """
    patches = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))  # (N, OH, OW, C_in, KH, KW)
    patches = patches.transpose(0, 1, 2, 4, 5, 3)[..., None]
    return -np.abs(patches - kernel).sum(axis=(3, 4, 5))


@numba.njit
def differences_forward(x, kernel):
    """As `differences_reference`, an element at a time, and compiled."""
    (N, H, W, C_in), (KH, KW, _, C_out) = x.shape, kernel.shape
    y = np.zeros((N, H - KH + 1, W - KW + 1, C_out), x.dtype)
    for n in range(N):
        for oy in range(y.shape[1]):
            for ox in range(y.shape[2]):
                for ky in range(KH):
                    for kx in range(KW):
                        for ci in range(C_in):
                            for co in range(C_out):  # innermost, because kernel and y lie along it in memory
                                y[n, oy, ox, co] -= abs(x[n, oy + ky, ox + kx, ci] - kernel[ky, kx, ci, co])
    return y


@numba.njit
def differences_backward(dy, x, kernel):
    """Gradients of `differences_forward`.

    dx[n, oy+ky, ox+kx, ci] -= sign(x - kernel) * dy[n,oy,ox,co]
    dkernel[ky,kx,ci,co]    += sign(x - kernel) * dy[n,oy,ox,co]
    """
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for n in range(dy.shape[0]):
        for oy in range(dy.shape[1]):
            for ox in range(dy.shape[2]):
                for ky in range(kernel.shape[0]):
                    for kx in range(kernel.shape[1]):
                        for ci in range(kernel.shape[2]):
                            for co in range(kernel.shape[3]):
                                difference = x[n, oy + ky, ox + kx, ci] - kernel[ky, kx, ci, co]
                                share = np.sign(difference) * dy[n, oy, ox, co]
                                dx[n, oy + ky, ox + kx, ci] -= share
                                dkernel[ky, kx, ci, co] += share
    return dx, dkernel


@minicnn.saving.register_keras_serializable(package="lessons")
class Differences(layers.Layer):
    """The kernel as a layer: shapes and weights are its part, numbers the kernel's."""

    def __init__(self, filters, size=3, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.size = filters, size

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(self.size, self.size, input_shape[-1], self.filters), name="kernel")

    def compute_output_shape(self, input_shape):
        N, H, W, _ = input_shape
        return (N, H - self.size + 1, W - self.size + 1, self.filters)

    def forward(self, x, training):
        return differences_forward(x, self.kernel.value), x

    def backward(self, dy, saved):
        dx, dkernel = differences_backward(dy, saved, self.kernel.value)
        return dx, (dkernel,)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "size": self.size}


# 1. The fast one against its twin, on numbers that were drawn.
rng = np.random.default_rng(0)
x, kernel = rng.normal(size=(2, 7, 6, 3)), rng.normal(size=(3, 2, 3, 4))
y = differences_forward(x, kernel)
np.testing.assert_allclose(y, differences_reference(x, kernel), rtol=1e-12)

# 2. Its gradients against finite differences.
minicnn.set_random_seed(1)
model = minicnn.Sequential([layers.Input((8, 8, 1)), Differences(12), layers.BatchNormalization(), layers.ReLU()])
model.add(layers.Flatten())
model.add(layers.Dense(10, activation="softmax"))
checks = [check for check in study.gradcheck(model) if check.kind == "Differences"]
for check in checks:
    print(f"{check.gradient:8} wrong by {check.error:.1e}")
assert len(checks) == 2
assert all(check.passed for check in checks)

# 3. It learns.
(x_train, y_train), (x_test, y_test) = digits.load_data()
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train / 255, y_train, epochs=5, verbose=0).history
print("test accuracy without a multiplication in the layer:", round(model.evaluate(x_test / 255, y_test, verbose=0)[1], 2))
