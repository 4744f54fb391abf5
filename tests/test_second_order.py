"""Gradients of gradients, by two nested tapes, against TensorFlow's; and of each op against its own in TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

import minicnn
from minicnn import GradientTape, ops

DRAW = np.random.default_rng(5)


def critic(K):
    L = K.layers
    image, label = K.Input((8, 8, 2)), K.Input((8, 8, 1))
    x = L.ZeroPadding2D(1)(L.Concatenate()([image, label]))
    x = L.LeakyReLU(negative_slope=0.2)(L.Conv2D(4, 3, strides=2, padding="same")(x))
    x = L.Dropout(0.0)(L.DepthwiseConv2D(3, padding="same")(x))
    x = L.SeparableConv2D(4, 3, depth_multiplier=2, padding="same", activation="relu")(x)
    x = L.Add()([x, L.ReLU()(L.Conv2DTranspose(4, 3, padding="same")(x))])
    x = L.Add()([L.Conv2D(4, 1, activation="relu")(x), L.Activation("relu")(L.Conv2D(4, 1)(x))])
    x = L.Flatten()(L.AveragePooling2D(2)(L.UpSampling2D()(x)))
    x = L.LeakyReLU(negative_slope=0.1)(L.Dense(5)(x))
    return K.Model([image, label], L.Dense(1)(x))


def test_a_gradient_penalty_trains_a_critic_as_in_tensorflow():
    images, labels = DRAW.random((4, 8, 8, 2), np.float32), DRAW.random((4, 8, 8, 1), np.float32)
    ours, theirs = critic(minicnn), critic(tf.keras)
    weights = [DRAW.normal(0, 0.5, v.shape).astype("float32") for v in theirs.weights]
    found = []
    for model, one, f in ((ours, minicnn, minicnn), (theirs, tf, tf)):
        model.set_weights(weights)
        with one.GradientTape() as outer:
            x = f.constant(images)
            with one.GradientTape() as inner:
                inner.watch(x)
                scores = model([x, f.constant(labels)], training=True)
            (slopes,) = inner.gradient(scores, [x])
            lengths = f.sqrt(f.reduce_sum(f.square(slopes), axis=[1, 2, 3]))
            loss = f.reduce_mean((lengths - 1.0) ** 2) * 10.0 + f.reduce_mean(scores)
        found.append((loss, outer.gradient(loss, model.trainable_variables)))
    (loss, gradients), (expected_loss, expected) = found
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    for gradient, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, other, rtol=2e-4, atol=2e-5)


def positive(*shape):
    return (DRAW.random(shape) * 0.8 + 0.1).astype("float32")


ONE, OTHER, IMAGE = positive(3, 4), positive(3, 4), positive(2, 6, 6, 2)
KERNEL, TRANSPOSED = positive(3, 3, 2, 3), positive(3, 3, 3, 2)
VOLUME, KERNEL_3D = positive(2, 4, 3, 5, 2), positive(2, 3, 2, 2, 3)
NAMES = """negative reciprocal square sqrt rsqrt exp expm1 log log1p sin cos tan asin acos atan sinh cosh asinh atanh abs
    sigmoid tanh softplus"""
OPS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "atanh": "arctanh"}


def argument(name):
    """Of the op: also negative where it takes that."""
    return ONE - 0.3 if name in ("negative", "abs", "sigmoid", "tanh", "softplus") else ONE


CASES = {  # tensors; a function of them, in minicnn and in TensorFlow
    **{name: ([argument(name)], getattr(ops, OPS.get(name, name)), getattr(tf.math, name)) for name in NAMES.split()},
    "exp2": ([ONE], ops.exp2, lambda x: 2**x),
    "log2": ([ONE], ops.log2, lambda x: tf.math.log(x) / np.log(2)),
    "log10": ([ONE], ops.log10, lambda x: tf.math.log(x) / np.log(10)),
    "arccosh": ([ONE + 1.5], ops.arccosh, tf.math.acosh),
    "add": ([ONE, OTHER[:1]], ops.add, tf.add),
    "subtract": ([ONE, OTHER], ops.subtract, tf.subtract),
    "multiply": ([ONE, OTHER[0]], ops.multiply, tf.multiply),
    "divide": ([ONE, OTHER], ops.divide, tf.divide),
    "power": ([ONE, OTHER], ops.power, tf.pow),
    "power of a number": ([ONE], lambda x: x**3, lambda x: x**3),
    "maximum": ([ONE, OTHER], ops.maximum, tf.maximum),
    "minimum": ([ONE, OTHER], ops.minimum, tf.minimum),
    "where": ([ONE, OTHER], lambda x, y: ops.where(ONE > 0.5, x * x, y), lambda x, y: tf.where(ONE > 0.5, x * x, y)),
    "sum": ([ONE], lambda x: ops.sum(x * x, 0), lambda x: tf.reduce_sum(x * x, 0)),
    "mean": ([ONE], lambda x: ops.mean(x * x, 1, True), lambda x: tf.reduce_mean(x * x, 1, True)),
    "matmul": ([ONE, OTHER.T], ops.matmul, tf.matmul),
    "einsum": ([ONE, OTHER], lambda x, y: ops.einsum("ij,kj->ik", x, y), lambda x, y: tf.einsum("ij,kj->ik", x, y)),
    "shapes": (
        [ONE],
        lambda x: ops.expand_dims(ops.transpose(ops.reshape(x, (4, 3)), (1, 0)), 0)[0, :, 1:],
        lambda x: tf.expand_dims(tf.transpose(tf.reshape(x, (4, 3)), (1, 0)), 0)[0, :, 1:],
    ),
    "joined": (
        [ONE, OTHER],
        lambda x, y: ops.stack([ops.concatenate([x, y], 0), ops.tile(x, (2, 1))]),
        lambda x, y: tf.stack([tf.concat([x, y], 0), tf.tile(x, (2, 1))]),
    ),
    "moved": (
        [ONE],
        lambda x: ops.pad(ops.flip(ops.roll(ops.repeat(x, 2, 0), 1, 1), 0), 1),
        lambda x: tf.pad(tf.reverse(tf.roll(tf.repeat(x, 2, 0), 1, 1), [0]), [[1, 1], [1, 1]]),
    ),
    "taken": (
        [ONE],
        lambda x: ops.broadcast_to(ops.squeeze(ops.take(x, [1], 0), 0), (2, 4)),
        lambda x: tf.broadcast_to(x[1], (2, 4)),
    ),
    "relu": ([ONE - 0.5], ops.relu, tf.nn.relu),
    "leaky_relu": ([ONE - 0.5], lambda x: ops.leaky_relu(x, 0.2), tf.nn.leaky_relu),
    "cast": ([ONE], lambda x: ops.cast(x, "float64"), lambda x: tf.cast(x, "float64")),
    "conv": ([IMAGE, KERNEL], lambda x, k: ops.conv(x, k, 2, "same"), lambda x, k: tf.nn.conv2d(x, k, 2, "SAME")),
    "conv_transpose": (
        [IMAGE, TRANSPOSED],
        lambda x, k: ops.conv_transpose(x, k, 2, "same"),
        lambda x, k: tf.nn.conv2d_transpose(x, k, (2, 12, 12, 3), 2),
    ),
    "conv of volumes": (
        [VOLUME, KERNEL_3D],
        lambda x, k: ops.conv(x, k, 2, "same"),
        lambda x, k: tf.nn.conv3d(x, k, (1, 2, 2, 2, 1), "SAME"),
    ),
    "average_pool": ([IMAGE], lambda x: ops.average_pool(x, 2), lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID")),
    "resize": ([IMAGE], lambda x: ops.image.resize(x, (12, 6), "nearest"), lambda x: tf.repeat(x, 2, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_an_op_has_the_gradient_of_its_gradient(name):
    arrays, ours, theirs = CASES[name]
    found = []
    for function, one, make in ((ours, minicnn, ops.convert_to_tensor), (theirs, tf, tf.constant)):
        tensors = [make(array) for array in arrays]
        with one.GradientTape() as outer:
            with one.GradientTape() as inner:
                for tensor in tensors:
                    outer.watch(tensor)
                    inner.watch(tensor)
                y = function(*tensors)
                loss = y * y * y  # so that there is a second derivative, and dy depends on x too
            slopes = inner.gradient(loss, tensors)
            total = sum((one.reduce_sum(slope * slope * 0.5 + slope) for slope in slopes), start=0.0)
        found.append(outer.gradient(total, tensors))
    for gradient, expected in zip(*found, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=3e-4, atol=3e-4 * float(np.abs(expected).max()))


def test_a_hessian_row_by_row():
    w = minicnn.Variable(np.float32([5.0, 3.0]))
    with GradientTape(persistent=True) as outer:
        with GradientTape() as inner:
            z = 3 * w[0] ** 2 + 2 * w[0] * w[1]
        slope = inner.gradient(z, w)
        rows = [slope[0], slope[1]]
    np.testing.assert_allclose([outer.gradient(row, w) for row in rows], [[6, 2], [2, 0]], rtol=1e-5)


def penalty_of(model):
    """What a tape says to the gradient of the length of a model's gradient, by its variables."""
    with GradientTape() as outer:
        x = ops.convert_to_tensor(ONE)
        with GradientTape() as inner:
            inner.watch(x)
            y = model(x)
        loss = ops.sum(ops.square(inner.gradient(y, x)))
    return outer.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize("last", ["Activation", "BatchNormalization"])
def test_a_layer_without_a_second_derivative_says_so(last):
    L = minicnn.layers
    layer = L.Dense(3, activation="tanh") if last == "Activation" else L.BatchNormalization()
    with pytest.raises(NotImplementedError, match=rf"leads through layer '.*', a {last}:"):
        penalty_of(minicnn.Sequential([L.Dense(3), layer]))


def test_an_op_without_a_second_derivative_says_so():
    with GradientTape() as outer:
        x = ops.convert_to_tensor(ONE)
        outer.watch(x)
        with GradientTape() as inner:
            inner.watch(x)
            y = ops.erf(x)
        loss = ops.sum(inner.gradient(y, x))
    with pytest.raises(NotImplementedError, match="through the op 'erf'"):
        outer.gradient(loss, x)
