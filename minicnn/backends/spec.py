"""The contract: every op's signature, formula, shapes, cost, errors and source.

A backend is a package with the files named below, holding functions with exactly these
names and signatures (a test compares them). This file computes nothing.

Conventions, binding for every op unless its docstring says otherwise:

* Images are NHWC, kernels HWIO, matrices (rows, columns); C-contiguous; float32, or
  float64 for gradient checks. All float arrays of one call share one dtype, and so do
  results. Labels are int32 or int64; masks and window positions uint8 or int32.
* Dimensions: N H W C_in C_out KH KW OH OW; M rows of a matrix. Loop indices: n oy ox ky kx
  ci co. Gradients: dx, dkernel, dbias, dy.
* `strides` (SH, SW), `dilation` (DH, DW), `pads` (top, bottom, left, right) are tuples of
  ints; `"same"` became four ints before (`shapes.resolve_padding`).
* Ops are pure: they return new arrays and leave their arguments alone. Those whose names
  end in an underscore write into their first argument(s) instead.
* Ops trust their caller. Shapes are checked once, by the layer, which can name itself.
* Sums over images are cut into a number of chunks that does not depend on the thread count.

`OPS` maps file -> names, in reading order.
"""

from __future__ import annotations

from typing import Any

__all__ = ["FUSED", "OPS", "names"]

Array = Any  # numpy.ndarray or cupy.ndarray
Scalar = Any  # a float, or an array of shape () that lives on the device
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]


# --- conv ---------------------------------------------------------------------------


def conv2d_forward(x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair) -> Array:
    """2-D convolution (cross-correlation, as in every deep-learning library).

        y[n,oy,ox,co] = bias[co] + sum over ky,kx,ci of
                        x[n, oy*SH + ky*DH - top, ox*SW + kx*DW - left, ci] * kernel[ky,kx,ci,co]
        where pixels outside x count as 0.

    Args:
        x: (N, H, W, C_in).
        kernel: (KH, KW, C_in, C_out).
        bias: (C_out,), or None for none.
        strides, pads, dilation: see the module's conventions; each stride and dilation >= 1.

    Returns:
        y: (N, OH, OW, C_out) with OH = floor((H + top + bottom - (KH-1)*DH - 1) / SH) + 1.

    Cost: 2*N*OH*OW*KH*KW*C_in*C_out FLOPs.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, chapter 2.
    """
    ...


def conv2d_backward_input(
    dy: Array, kernel: Array, x_shape: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair
) -> Array:
    """Gradient of `conv2d_forward` with respect to its input (its adjoint).

        dx[n,h,w,ci] = sum over ky,kx,co of dy[n,oy,ox,co] * kernel[ky,kx,ci,co]
        where oy*SH + ky*DH - top == h and ox*SW + kx*DW - left == w, and oy, ox are in range.

    Args:
        dy: (N, OH, OW, C_out), the loss's gradient at the output.
        kernel: (KH, KW, C_in, C_out), as in the forward pass.
        x_shape: (N, H, W, C_in); needed because a stride forgets it.

    Returns:
        dx: (N, H, W, C_in).

    Cost: at most 2*N*OH*OW*KH*KW*C_in*C_out FLOPs.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, chapter 4.
    """
    ...


def conv2d_backward_kernel(
    x: Array, dy: Array, kernel_shape: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair
) -> Array:
    """Gradient of `conv2d_forward` with respect to its kernel.

        dkernel[ky,kx,ci,co] = sum over n,oy,ox of
                               x[n, oy*SH + ky*DH - top, ox*SW + kx*DW - left, ci] * dy[n,oy,ox,co]

    Args:
        x: (N, H, W, C_in), as in the forward pass.
        dy: (N, OH, OW, C_out).
        kernel_shape: (KH, KW, C_in, C_out); a stride forgets it too.

    Returns:
        dkernel: (KH, KW, C_in, C_out).

    Cost: 2*N*OH*OW*KH*KW*C_in*C_out FLOPs.
    """
    ...


# --- pool ---------------------------------------------------------------------------


def maxpool2d_forward(x: Array, pool_size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Array]:
    """Largest value of each window; padding never wins.

        y[n,oy,ox,c] = max over ky,kx of x[n, oy*SH + ky - top, ox*SW + kx - left, c]

    A NaN is a window's largest value, as for NumPy, JAX and PyTorch, and so is not lost before it reaches
    the loss. (TensorFlow's `max_pool2d` passes over NaNs on a CPU, its `reduce_max` does not.)

    Returns:
        y: (N, OH, OW, C); -inf where a window lies on padding alone.
        winners: (N, OH, OW, C), int32 (uint8 where KH*KW <= 256): the winner's place
            ky*KW + kx in its window; the first one, row by row, where several tie or are NaN.
    """
    ...


def maxpool2d_backward(
    dy: Array, winners: Array, x_shape: tuple[int, ...], pool_size: Pair, strides: Pair, pads: Pads
) -> Array:
    """Gradient of `maxpool2d_forward`: each dy goes to the pixel that won; overlapping windows add up.

    Returns:
        dx: (N, H, W, C).
    """
    ...


def avgpool2d_forward(x: Array, pool_size: Pair, strides: Pair, pads: Pads) -> Array:
    """Mean of each window over its real pixels: padding is neither added nor counted.

        y[n,oy,ox,c] = sum over in-range ky,kx of x[...] / (number of in-range ky,kx)

    Returns:
        y: (N, OH, OW, C); 0, the empty sum, where a window lies on padding alone. (That takes pads as large as
            the window, which neither "same" nor "valid" are, and TensorFlow, Keras and PyTorch accept no others.)
    """
    ...


def avgpool2d_backward(dy: Array, x_shape: tuple[int, ...], pool_size: Pair, strides: Pair, pads: Pads) -> Array:
    """Gradient of `avgpool2d_forward`: each dy is shared equally among its window's real pixels.

    Returns:
        dx: (N, H, W, C).
    """
    ...


def global_maxpool2d_forward(x: Array) -> tuple[Array, Array]:
    """Largest value of each channel of each image; a NaN is one, as in `maxpool2d_forward`.

    Returns:
        y: (N, C).
        winners: (N, C), int32: the winner's place h*W + w; the first one where several tie or are NaN.
    """
    ...


def global_maxpool2d_backward(dy: Array, winners: Array, x_shape: tuple[int, ...]) -> Array:
    """Gradient of `global_maxpool2d_forward`: dx is dy at the winner, 0 elsewhere; (N, H, W, C)."""
    ...


def global_avgpool2d_forward(x: Array) -> Array:
    """Mean of each channel of each image: y[n,c] = mean over h,w of x[n,h,w,c]; (N, C)."""
    ...


def global_avgpool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """Gradient of `global_avgpool2d_forward`: dx[n,h,w,c] = dy[n,c] / (H*W); (N, H, W, C)."""
    ...


# --- dense --------------------------------------------------------------------------


def dense_forward(x: Array, kernel: Array, bias: Array | None) -> Array:
    """Affine map: y = x @ kernel + bias.

    Args:
        x: (M, C_in). kernel: (C_in, C_out). bias: (C_out,) or None.

    Returns:
        y: (M, C_out).

    Cost: 2*M*C_in*C_out FLOPs.
    """
    ...


def dense_backward_input(dy: Array, kernel: Array) -> Array:
    """Gradient of `dense_forward` with respect to x: dx = dy @ kernel.T; (M, C_in)."""
    ...


def dense_backward_kernel(x: Array, dy: Array) -> Array:
    """Gradient of `dense_forward` with respect to its kernel: dkernel = x.T @ dy; (C_in, C_out)."""
    ...


def bias_backward(dy: Array) -> Array:
    """Gradient of a bias that was added along the last axis: dbias = dy summed over all other axes; (C_out,)."""
    ...


# --- norm ---------------------------------------------------------------------------


def batchnorm_forward(x: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> tuple[Array, Array, Array]:
    """Batch normalization in training: each channel to mean 0 and variance 1 over all other axes.

        mean[c] = mean of x[...,c];  variance[c] = mean of (x[...,c] - mean[c])**2   (biased)
        y = gamma * (x - mean) / sqrt(variance + epsilon) + beta

    Args:
        x: (..., C).
        gamma, beta: (C,), or None for 1 and 0.

    Returns:
        y: as x. mean, variance: (C,), for the backward pass and the moving statistics.

    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1.
    """
    ...


def batchnorm_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """Gradients of `batchnorm_forward`; the statistics depend on x too.

        x_hat = (x - mean) / sqrt(variance + epsilon);  M = x.size / C
        dbeta[c] = sum of dy;  dgamma[c] = sum of dy * x_hat
        dx = gamma / sqrt(variance + epsilon) * (dy - dbeta / M - x_hat * dgamma / M)

    Returns:
        dx: as x. dgamma, dbeta: (C,).
    """
    ...


def batchnorm_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float
) -> Array:
    """Batch normalization with given statistics: y = gamma * (x - mean) / sqrt(variance + epsilon) + beta."""
    ...


def batchnorm_inference_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """Gradients of `batchnorm_inference`, whose statistics are constants (a frozen layer).

    Returns:
        dx = gamma * dy / sqrt(variance + epsilon). dgamma, dbeta: (C,), as in `batchnorm_backward`.
    """
    ...


def moving_average_update_(average: Array, value: Array, momentum: float) -> None:
    """average = momentum * average + (1 - momentum) * value, in place; any shape."""
    ...


# --- elementwise --------------------------------------------------------------------
# Activations come in pairs. A backward takes dy and whichever of x (input) and y (output)
# its formula needs, so that the other need not be kept.


def relu_forward(x: Array) -> Array:
    """y = max(x, 0). Source: Nair & Hinton 2010."""
    ...


def relu_backward(dy: Array, y: Array) -> Array:
    """dx = dy where y > 0, else 0."""
    ...


def bounded_relu_forward(x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    """The ReLU layer in full: max_value where x >= max_value; x where threshold <= x < max_value;
    negative_slope * (x - threshold) below. `max_value` may be infinity."""
    ...


def bounded_relu_backward(dy: Array, x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    """dx = 0 where x >= max_value; dy where threshold < x < max_value; negative_slope * dy below."""
    ...


def leaky_relu_forward(x: Array, negative_slope: float) -> Array:
    """y = x where x > 0, else negative_slope * x. Source: Maas et al. 2013."""
    ...


def leaky_relu_backward(dy: Array, x: Array, negative_slope: float) -> Array:
    """dx = dy where x > 0, else negative_slope * dy."""
    ...


def elu_forward(x: Array, alpha: float) -> Array:
    """y = x where x > 0, else alpha * (exp(x) - 1). Source: Clevert et al. 2015, arXiv:1511.07289."""
    ...


def elu_backward(dy: Array, x: Array, alpha: float) -> Array:
    """dx = dy where x > 0, else dy * alpha * exp(x)."""
    ...


def selu_forward(x: Array) -> Array:
    """y = scale * elu(x, alpha), scale 1.0507009873554805, alpha 1.6732632423543772.

    Source: Klambauer et al. 2017, arXiv:1706.02515.
    """
    ...


def selu_backward(dy: Array, x: Array) -> Array:
    """dx = scale * (dy where x > 0, else dy * alpha * exp(x))."""
    ...


def gelu_forward(x: Array) -> Array:
    """y = x * Phi(x), Phi the normal distribution: x * (1 + erf(x / sqrt 2)) / 2.

    Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """
    ...


def gelu_backward(dy: Array, x: Array) -> Array:
    """dx = dy * (Phi(x) + x * phi(x)), phi the normal density."""
    ...


def gelu_tanh_forward(x: Array) -> Array:
    """GELU's approximation: y = x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3)))."""
    ...


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """The derivative of `gelu_tanh_forward` times dy."""
    ...


def silu_forward(x: Array) -> Array:
    """y = x * sigmoid(x) (also called swish). Source: arXiv:1702.03118."""
    ...


def silu_backward(dy: Array, x: Array) -> Array:
    """dx = dy * s * (1 + x * (1 - s)), s = sigmoid(x)."""
    ...


def sigmoid_forward(x: Array) -> Array:
    """y = 1 / (1 + exp(-x)), without overflow for any x."""
    ...


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """dx = dy * y * (1 - y)."""
    ...


def tanh_forward(x: Array) -> Array:
    """y = tanh(x)."""
    ...


def tanh_backward(dy: Array, y: Array) -> Array:
    """dx = dy * (1 - y**2)."""
    ...


def softplus_forward(x: Array) -> Array:
    """y = log(1 + exp(x)), without overflow: max(x, 0) + log1p(exp(-|x|))."""
    ...


def softplus_backward(dy: Array, x: Array) -> Array:
    """dx = dy * sigmoid(x)."""
    ...


def softmax_forward(x: Array) -> Array:
    """y = exp(x - max) / sum of exp(x - max), over the last axis."""
    ...


def softmax_backward(dy: Array, y: Array) -> Array:
    """dx = y * (dy - sum of dy * y over the last axis)."""
    ...


def dropout_forward(x: Array, rate: float, key: Array) -> Array:
    """Inverted dropout: y = x / (1 - rate) where element i is kept, else 0.

        element i of x.ravel() is kept when word i of the stream `random_bits(key)` >= rate * 2**32
        (the bound floor(rate * 2**32), so that rate 0 keeps all).

    Args:
        rate: in [0, 1).
        key: uint32 (2,), (seed, step): the mask is a function of it and of i alone.

    Source: Srivastava et al. 2014, JMLR 15.
    """
    ...


def dropout_backward(dy: Array, rate: float, key: Array) -> Array:
    """dx = dy / (1 - rate) where the forward pass kept the element, else 0: the mask is drawn again from `key`."""
    ...


def random_bits(key: Array, count: int) -> Array:
    """The stream of 32-bit words behind every random op: word i is word i % 4 of
    Philox4x32-10 with key (seed, 0) and counter (i // 4, 0, step, 0).

    Args:
        key: uint32 (2,), (seed, step). count: how many words, < 2**34.

    Returns:
        uint32 (count,).

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", doi:10.1145/2063384.2063405.
    """
    ...


def draw_key_(state: Array) -> Array:
    """A copy of the generator's state (seed, step), uint32 (2,), to be used as a `key`; then step += 1 in `state`.

    On the device, so that a captured step draws a new key at every replay.
    """
    ...


def zero_pad2d_forward(x: Array, pads: Pads) -> Array:
    """x in a frame of zeros: (N, H + top + bottom, W + left + right, C)."""
    ...


def zero_pad2d_backward(dy: Array, pads: Pads) -> Array:
    """The part of dy inside the frame: (N, H, W, C)."""
    ...


def rescale(x: Array, scale: float, offset: float) -> Array:
    """y = x * scale + offset."""
    ...


def add_forward(xs: list[Array]) -> Array:
    """Sum of arrays of one shape (broadcasting, as NumPy's, otherwise)."""
    ...


def concatenate_forward(xs: list[Array], axis: int) -> Array:
    """The arrays one after another along `axis` (which counts the batch axis, or is negative)."""
    ...


def concatenate_backward(dy: Array, sizes: list[int], axis: int) -> list[Array]:
    """dy cut into pieces of `sizes` along `axis`."""
    ...


# --- image --------------------------------------------------------------------------
# What augmentation is made of. Forward only: it stands before the first weight, where nobody reads a gradient.
# Codes: interpolation 0 nearest (halves away from 0), 1 bilinear; fill mode, for pixels outside of the image,
# 0 constant, 1 nearest (aaa|abcd|ddd), 2 reflect (cba|abcd|dcb), 3 wrap (bcd|abcd|abc).


def affine_warp2d(x: Array, matrices: Array, image: Pair, interpolation: int, fill_mode: int, fill_value: float) -> Array:
    """Each image under its own affine map, given from output to input.

        y[n,oy,ox,c] = x[n,:,:,c] at the place (row, column) = (b0*ox + b1*oy + b2, a0*ox + a1*oy + a2)

    between pixels interpolated, outside of the image filled; a pixel's place is its center's.

    Args:
        x: (N, H, W, C).
        matrices: (N, 6), each (a0, a1, a2, b0, b1, b2).
        image: (OH, OW).
        interpolation, fill_mode: codes, see above. fill_value: of the constant fill mode.

    Returns:
        y: (N, OH, OW, C).

    Cost: about 10*N*OH*OW*C FLOPs (bilinear).
    """
    ...


def resize2d_bilinear(x: Array, image: Pair) -> Array:
    """Images at another size; pixels are areas, so that corners fall on corners.

        row = clip((oy + 1/2) * H / OH - 1/2, 0, H - 1), column likewise; y is x there, linear between its 4 neighbours.

    Args:
        x: (N, H, W, C). image: (OH, OW).

    Returns:
        y: (N, OH, OW, C).
    """
    ...


def resize2d_nearest(x: Array, image: Pair) -> Array:
    """As `resize2d_bilinear` with the pixel that the place falls in: row = floor((oy + 1/2) * H / OH), column likewise."""
    ...


def adjust_colors(x: Array, factors: Array, offsets: Array, low: float, high: float) -> Array:
    """y[n,h,w,c] = x[n,h,w,c] * factors[n,c] + offsets[n,c], clipped to [low, high].

    Args:
        x: (N, H, W, C). factors, offsets: (N, C).
    """
    ...


# --- loss ---------------------------------------------------------------------------
# Targets and predictions are matrices (M, C): a loss reshapes before it calls. A forward
# returns one loss per row; a backward takes the rows' weights (M,), in which sample
# weights and the division by the batch size are already multiplied.


def softmax_cross_entropy_forward(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Softmax and cross-entropy in one, without overflow.

        log_p = logits - max - log(sum of exp(logits - max));  loss[m] = -sum over c of targets * log_p

    Args:
        logits, targets: (M, C).

    Returns:
        losses: (M,). probabilities: (M, C), softmax of the logits.
    """
    ...


def softmax_cross_entropy_backward(probabilities: Array, targets: Array, weights: Array) -> Array:
    """dlogits[m,c] = weights[m] * (probabilities[m,c] * (sum over c of targets[m]) - targets[m,c])."""
    ...


def sparse_softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """As `softmax_cross_entropy_forward` for integer labels (M,): loss[m] = -log_p[m, labels[m]]."""
    ...


def sparse_softmax_cross_entropy_backward(probabilities: Array, labels: Array, weights: Array) -> Array:
    """dlogits[m,c] = weights[m] * (probabilities[m,c] - (1 if c == labels[m] else 0))."""
    ...


def cross_entropy_forward(probabilities: Array, targets: Array, epsilon: float) -> Array:
    """Cross-entropy of given probabilities, as Keras computes it: rows are divided by their sum,
    then clipped to [epsilon, 1 - epsilon]; loss[m] = -sum over c of targets * log(p); (M,)."""
    ...


def cross_entropy_backward(probabilities: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """Gradient of `cross_entropy_forward` with respect to the probabilities, through the division
    and the clip (whose slope outside its bounds is 0); (M, C)."""
    ...


def binary_cross_entropy_forward(probabilities: Array, targets: Array, epsilon: float) -> Array:
    """Mean over c of -(t log p + (1 - t) log(1 - p)), p clipped to [epsilon, 1 - epsilon]; (M,)."""
    ...


def binary_cross_entropy_backward(probabilities: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """dp[m,c] = weights[m] / C * ((1 - t) / (1 - p) - t / p) inside the clip's bounds, 0 outside."""
    ...


def sigmoid_cross_entropy_forward(logits: Array, targets: Array) -> Array:
    """Binary cross-entropy from logits z: mean over c of max(z, 0) - z*t + log1p(exp(-|z|)); (M,)."""
    ...


def sigmoid_cross_entropy_backward(logits: Array, targets: Array, weights: Array) -> Array:
    """dz[m,c] = weights[m] / C * (sigmoid(z) - t)."""
    ...


def squared_error_forward(predictions: Array, targets: Array) -> Array:
    """loss[m] = mean over c of (prediction - target)**2; (M,)."""
    ...


def squared_error_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """dprediction[m,c] = weights[m] * 2 / C * (prediction - target)."""
    ...


def absolute_error_forward(predictions: Array, targets: Array) -> Array:
    """loss[m] = mean over c of |prediction - target|; (M,)."""
    ...


def absolute_error_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """dprediction[m,c] = weights[m] / C * sign(prediction - target); 0 where they are equal."""
    ...


def categorical_matches(predictions: Array, targets: Array) -> Array:
    """1.0 where argmax of the prediction's row is argmax of the target's (first of ties), else 0.0; (M,)."""
    ...


def sparse_categorical_matches(predictions: Array, labels: Array) -> Array:
    """1.0 where argmax of the prediction's row is the label (M,), else 0.0; (M,), dtype of predictions."""
    ...


def binary_matches(predictions: Array, targets: Array, threshold: float) -> Array:
    """Mean over c of whether (prediction > threshold) equals the target; (M,)."""
    ...


def accumulate_mean_(total: Array, count: Array, values: Array, weights: Array | None) -> None:
    """total += sum of values * weights; count += sum of weights (of ones where None). total, count: shape ()."""
    ...


# --- update -------------------------------------------------------------------------
# One call updates every parameter of a model: `params`, `grads` and the slots are lists of
# arrays, one entry a parameter. `learning_rate` is the rate of this step; `step` counts from 1.


def sgd_update_(params: list[Array], grads: list[Array], learning_rate: Scalar) -> None:
    """p -= learning_rate * g."""
    ...


def momentum_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, momentum: float
) -> None:
    """m = momentum * m - learning_rate * g;  p += m. Source: Polyak 1964."""
    ...


def nesterov_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, momentum: float
) -> None:
    """m = momentum * m - learning_rate * g;  p += momentum * m - learning_rate * g. Source: Sutskever et al. 2013."""
    ...


def rmsprop_update_(
    params: list[Array],
    grads: list[Array],
    mean_squares: list[Array],
    mean_grads: list[Array] | None,
    momenta: list[Array] | None,
    learning_rate: Scalar,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None:
    """v = rho * v + (1 - rho) * g**2;  p -= learning_rate * g / sqrt(v + epsilon).

    With `mean_grads` (centered): a = rho * a + (1 - rho) * g, and v - a**2 in place of v under the root.
    With `momenta`: m = momentum * m + (the step above);  p -= m.

    Source: Tieleman & Hinton 2012; Graves 2013, arXiv:1308.0850 (centered).
    """
    ...


def adam_update_(
    params: list[Array],
    grads: list[Array],
    means: list[Array],
    variances: list[Array],
    max_variances: list[Array] | None,
    learning_rate: Scalar,
    step: Scalar,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """rate = learning_rate * sqrt(1 - beta_2**step) / (1 - beta_1**step)
    m += (1 - beta_1) * (g - m);  v += (1 - beta_2) * (g**2 - v);  p -= rate * m / (sqrt(v) + epsilon)

    With `max_variances` (AMSGrad): u = max(u, v), and u in place of v under the root.

    Source: Kingma & Ba 2014, arXiv:1412.6980 (the form before section 2.1); Reddi et al. 2018, arXiv:1904.09237.
    """
    ...


def weight_decay_(params: list[Array], learning_rate: Scalar, weight_decay: float) -> None:
    """p -= learning_rate * weight_decay * p (decoupled). Source: Loshchilov & Hutter 2017, arXiv:1711.05101."""
    ...


def exponential_average_(averages: list[Array], params: list[Array], momentum: float) -> None:
    """a = momentum * a + (1 - momentum) * p (Polyak averaging, `use_ema`)."""
    ...


def clip_by_value_(grads: list[Array], limit: float) -> None:
    """Each element into [-limit, limit]."""
    ...


def clip_by_norm_(grads: list[Array], limit: float) -> None:
    """Each gradient whose Euclidean norm exceeds `limit` is scaled down to it."""
    ...


def clip_by_global_norm_(grads: list[Array], limit: float) -> None:
    """All gradients by one factor, limit / max(norm of all together, limit). Source: Pascanu et al. 2012, arXiv:1211.5063."""
    ...


def l1_l2_penalty(param: Array, l1: float, l2: float) -> Scalar:
    """l1 * sum of |p| + l2 * sum of p**2."""
    ...


def l1_l2_gradient_(grad: Array, param: Array, l1: float, l2: float) -> None:
    """grad += l1 * sign(p) + 2 * l2 * p."""
    ...


def accumulate_(target: Array, value: Array) -> None:
    """target += value: gradients add up where a value fans out or a weight is shared."""
    ...


# --- fused --------------------------------------------------------------------------
# What a plan puts in the place of adjacent ops where the backend has it. Each is the
# composition named in its docstring, to rounding.


def conv2d_relu_forward(x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair) -> Array:
    """relu_forward(conv2d_forward(...))."""
    ...


def conv2d_backward(
    dy: Array, x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, need_dx: bool
) -> tuple[Array | None, Array, Array]:
    """All gradients of `conv2d_forward` in one pass over x and dy.

    Returns:
        dx: as x; None without `need_dx` (nobody reads the gradient at the first layer's input).
        dkernel: as kernel. dbias: (C_out,).
    """
    ...


def conv2d_relu_backward(
    dy: Array, x: Array, y: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, need_dx: bool
) -> tuple[Array | None, Array, Array]:
    """`conv2d_backward` of relu_backward(dy, y); y is what `conv2d_relu_forward` returned."""
    ...


def conv2d_maxpool_forward(
    x: Array,
    kernel: Array,
    bias: Array | None,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    pool_size: Pair,
    pool_strides: Pair,
    pool_pads: Pads,
) -> tuple[Array, Array]:
    """maxpool2d_forward(conv2d_forward(...), ...); the map between them is never stored whole.

    Args:
        pool_pads: below `pool_size`, as "same" and "valid" are: every window sees the map.

    Returns:
        y, winners: (N, PH, PW, C_out), as `maxpool2d_forward` returns them.
    """
    ...


def conv2d_maxpool_backward(
    dy: Array,
    x: Array,
    winners: Array,
    kernel: Array,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    pool_size: Pair,
    pool_strides: Pair,
    pool_pads: Pads,
    need_dx: bool,
) -> tuple[Array | None, Array, Array]:
    """`conv2d_backward` of maxpool2d_backward(dy, winners, ...)."""
    ...


def conv2d_relu_maxpool_forward(
    x: Array,
    kernel: Array,
    bias: Array | None,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    pool_size: Pair,
    pool_strides: Pair,
    pool_pads: Pads,
) -> tuple[Array, Array]:
    """maxpool2d_forward(relu_forward(conv2d_forward(...)), ...); the maps between are never stored whole.

    Returns:
        y, winners: (N, PH, PW, C_out), as `maxpool2d_forward` returns them.
    """
    ...


def conv2d_relu_maxpool_backward(
    dy: Array,
    x: Array,
    y: Array,
    winners: Array,
    kernel: Array,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    pool_size: Pair,
    pool_strides: Pair,
    pool_pads: Pads,
    need_dx: bool,
) -> tuple[Array | None, Array, Array]:
    """`conv2d_maxpool_backward` of relu_backward(dy, y): a ReLU stops the same gradients after a max pooling as before it."""
    ...


def dense_relu_forward(x: Array, kernel: Array, bias: Array | None) -> Array:
    """relu_forward(dense_forward(...))."""
    ...


def dense_backward(dy: Array, x: Array, kernel: Array, need_dx: bool) -> tuple[Array | None, Array, Array]:
    """All gradients of `dense_forward`: dx (None without `need_dx`), dkernel, dbias."""
    ...


def dense_relu_backward(dy: Array, x: Array, y: Array, kernel: Array, need_dx: bool) -> tuple[Array | None, Array, Array]:
    """`dense_backward` of relu_backward(dy, y); y is what `dense_relu_forward` returned."""
    ...


def batchnorm_relu_forward(x: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> tuple[Array, Array, Array]:
    """relu_forward of `batchnorm_forward`'s y; mean and variance as there."""
    ...


def batchnorm_relu_backward(
    dy: Array, x: Array, y: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """`batchnorm_backward` of relu_backward(dy, y); y is what `batchnorm_relu_forward` returned."""
    ...


def batchnorm_relu_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float
) -> Array:
    """relu_forward(batchnorm_inference(...))."""
    ...


OPS: dict[str, tuple[str, ...]] = {
    "conv": ("conv2d_forward", "conv2d_backward_input", "conv2d_backward_kernel"),
    "pool": (
        "maxpool2d_forward",
        "maxpool2d_backward",
        "avgpool2d_forward",
        "avgpool2d_backward",
        "global_maxpool2d_forward",
        "global_maxpool2d_backward",
        "global_avgpool2d_forward",
        "global_avgpool2d_backward",
    ),
    "dense": ("dense_forward", "dense_backward_input", "dense_backward_kernel", "bias_backward"),
    "norm": (
        "batchnorm_forward",
        "batchnorm_backward",
        "batchnorm_inference",
        "batchnorm_inference_backward",
        "moving_average_update_",
    ),
    "elementwise": (
        "relu_forward",
        "relu_backward",
        "bounded_relu_forward",
        "bounded_relu_backward",
        "leaky_relu_forward",
        "leaky_relu_backward",
        "elu_forward",
        "elu_backward",
        "selu_forward",
        "selu_backward",
        "gelu_forward",
        "gelu_backward",
        "gelu_tanh_forward",
        "gelu_tanh_backward",
        "silu_forward",
        "silu_backward",
        "sigmoid_forward",
        "sigmoid_backward",
        "tanh_forward",
        "tanh_backward",
        "softplus_forward",
        "softplus_backward",
        "softmax_forward",
        "softmax_backward",
        "dropout_forward",
        "dropout_backward",
        "random_bits",
        "draw_key_",
        "zero_pad2d_forward",
        "zero_pad2d_backward",
        "rescale",
        "add_forward",
        "concatenate_forward",
        "concatenate_backward",
    ),
    "image": ("affine_warp2d", "resize2d_bilinear", "resize2d_nearest", "adjust_colors"),
    "loss": (
        "softmax_cross_entropy_forward",
        "softmax_cross_entropy_backward",
        "sparse_softmax_cross_entropy_forward",
        "sparse_softmax_cross_entropy_backward",
        "cross_entropy_forward",
        "cross_entropy_backward",
        "binary_cross_entropy_forward",
        "binary_cross_entropy_backward",
        "sigmoid_cross_entropy_forward",
        "sigmoid_cross_entropy_backward",
        "squared_error_forward",
        "squared_error_backward",
        "absolute_error_forward",
        "absolute_error_backward",
        "categorical_matches",
        "sparse_categorical_matches",
        "binary_matches",
        "accumulate_mean_",
    ),
    "update": (
        "sgd_update_",
        "momentum_update_",
        "nesterov_update_",
        "rmsprop_update_",
        "adam_update_",
        "weight_decay_",
        "exponential_average_",
        "clip_by_value_",
        "clip_by_norm_",
        "clip_by_global_norm_",
        "l1_l2_penalty",
        "l1_l2_gradient_",
        "accumulate_",
    ),
}

FUSED: dict[str, tuple[str, ...]] = {
    "fused": (
        "conv2d_relu_forward",
        "conv2d_backward",
        "conv2d_relu_backward",
        "conv2d_maxpool_forward",
        "conv2d_maxpool_backward",
        "conv2d_relu_maxpool_forward",
        "conv2d_relu_maxpool_backward",
        "dense_relu_forward",
        "dense_backward",
        "dense_relu_backward",
        "batchnorm_relu_forward",
        "batchnorm_relu_backward",
        "batchnorm_relu_inference",
    ),
}
"""Ops that a backend may offer in one pass; a plan uses them where they are there (file -> names)."""


def names() -> list[str]:
    """Every op that a backend must have."""
    return [name for file in OPS.values() for name in file]
