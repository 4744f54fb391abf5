"""An optimizer of one's own: each weight takes a step as long as a fixed part of itself."""

import numpy as np

import minicnn
from minicnn import layers
from minicnn.datasets import digits


@minicnn.saving.register_keras_serializable(package="lessons")
class LARS(minicnn.optimizers.Optimizer):
    """m = momentum * m + trust * (length of p) / (length of g) * g;  p -= learning_rate * m.

    A layer's gradient may be a thousand times longer than another's, while their weights are of one size: this takes
    out the gradient's length (You et al. 2017, arXiv:1708.03888).

    Args:
        trust: how long a step is, as a part of the weight's length.
        momentum: in [0, 1).
    """

    def __init__(self, learning_rate=1.0, trust=0.01, momentum=0.9, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.trust, self.momentum = trust, momentum

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        p, m = variable.value, self.momentums[self._get_variable_index(variable)].value
        lengths = np.linalg.norm(p), np.linalg.norm(gradient)
        # A bias begins at 0, and would stay there.
        ratio = self.trust * lengths[0] / lengths[1] if min(lengths) > 0 else self.trust
        m *= self.momentum  # in place: arrays of weights stay where they are
        m += ratio * gradient
        p -= learning_rate * m

    def get_config(self):
        return {**super().get_config(), "trust": self.trust, "momentum": self.momentum}


def make_model():
    """A small network, the same weights each time."""
    minicnn.set_random_seed(1)
    model = minicnn.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu"), layers.Flatten()])
    model.add(layers.Dense(10, activation="softmax"))
    return model


(x_train, y_train), (x_test, y_test) = digits.load_data()
model = make_model()
model.compile(LARS(), "sparse_categorical_crossentropy", metrics=["accuracy"])
losses = model.fit(x_train / 255, y_train, epochs=5, verbose=0).history["loss"]
print("loss of each epoch:", np.round(losses, 3))
print("test accuracy:", round(model.evaluate(x_test / 255, y_test, verbose=0)[1], 2))

# One step by hand: the kernel's change is `trust` of its length. (The learning rate is 1, and the momentum is empty.)
model = make_model()
model.compile(LARS(trust=0.01), "sparse_categorical_crossentropy")
kernel = model.layers[0].kernel
before = kernel.numpy().copy()
model.train_on_batch(x_train[:32] / 255, y_train[:32])
share = np.linalg.norm(kernel.numpy() - before) / np.linalg.norm(before)
print(f"the first step is {share:.4f} of the kernel's length")
assert abs(share - 0.01) < 1e-5
