"""A layer of one's own: y = max(x, 0) + slope * min(x, 0), with a slope for each channel that is learnt."""

import numpy as np

import minicnn
from minicnn import layers, study
from minicnn.datasets import digits


@minicnn.saving.register_keras_serializable(package="lessons")
class LearntSlope(layers.Layer):
    """A ReLU that lets a part of the negative values through (He et al. 2015, arXiv:1502.01852).

    Args:
        start: the slope before training.
    """

    def __init__(self, start=0.25, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape):
        start = minicnn.initializers.Constant(self.start)
        self.slope = self.add_weight(shape=(input_shape[-1],), initializer=start, name="slope")

    def forward(self, x, training):
        y = np.where(x > 0, x, self.slope.value * x)
        return y, x  # the output, and what backward will read

    def backward(self, dy, saved):
        x = saved
        dx = np.where(x > 0, dy, self.slope.value * dy)
        dslope = (dy * np.minimum(x, 0)).sum(axis=tuple(range(x.ndim - 1)))
        return dx, (dslope,)  # a gradient for each weight, in the order of `add_weight`

    def get_config(self):
        return {**super().get_config(), "start": self.start}


minicnn.set_random_seed(1)
model = minicnn.Sequential(
    [
        layers.Input((8, 8, 1)),
        layers.Conv2D(8, 3),
        LearntSlope(),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ]
)

# Every gradient, the new layer's among them, against finite differences in float64.
checks = study.gradcheck(model)
for check in checks:
    print(f"{check.layer:16} {check.gradient:8} wrong by {check.error:.1e}")
assert all(check.passed for check in checks)

(x_train, y_train), (x_test, y_test) = digits.load_data()
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train / 255, y_train, epochs=5, verbose=0).history
print("slopes:", model.layers[1].slope.numpy().round(2))
print("test accuracy:", round(model.evaluate(x_test / 255, y_test, verbose=0)[1], 2))
