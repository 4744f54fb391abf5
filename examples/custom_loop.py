"""A subclassed model and a training loop of one's own, in the manner of TensorFlow's quickstart for experts.

The model is a class with `call`; the loop opens a `GradientTape`, computes the loss, asks for the gradients, hands them to
the optimizer. Then the same model is trained by `fit`, from the same weights and in the same order, and has the same losses:
the tape records what `call` does, `fit` traces it once and runs the plan.

    python examples/custom_loop.py            # scikit-learn's digits, no download
    python examples/custom_loop.py --quick
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start
from sklearn.datasets import load_digits

import minicnn
from minicnn.data import Dataset
from minicnn.layers import Conv2D, Dense, Flatten
from minicnn.losses import SparseCategoricalCrossentropy
from minicnn.metrics import Mean, SparseCategoricalAccuracy
from minicnn.models import Model
from minicnn.optimizers import Adam
from minicnn.utils import set_random_seed

run = start("custom_loop", __doc__, epochs=5)
digits = load_digits()
pictures, labels = (digits.images / 16).astype("float32")[..., None], digits.target
train = Dataset.from_tensor_slices((pictures[:1472], labels[:1472])).batch(32)
test = Dataset.from_tensor_slices((pictures[1472:], labels[1472:])).batch(32)


# %% The model
class MyModel(Model):
    def __init__(self):
        super().__init__()
        self.conv1 = Conv2D(32, 3, activation="relu")
        self.flatten = Flatten()
        self.d1 = Dense(128, activation="relu")
        self.d2 = Dense(10)

    def call(self, x):
        x = self.conv1(x)
        x = self.flatten(x)
        x = self.d1(x)
        return self.d2(x)


# %% A loop of one's own
loss_object, optimizer = SparseCategoricalCrossentropy(from_logits=True), Adam()
train_loss, test_accuracy = Mean(name="train_loss"), SparseCategoricalAccuracy(name="test_accuracy")


@minicnn.function
def train_step(images, labels):
    with minicnn.GradientTape() as tape:
        predictions = model(images, training=True)
        loss = loss_object(labels, predictions)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    train_loss(loss)


set_random_seed(run.seed)
model = MyModel()
model(pictures[:1])  # makes the weights
beginning = model.get_weights()
by_hand = []
for epoch in range(run.epochs):
    train_loss.reset_state()
    test_accuracy.reset_state()
    for images, targets in train:
        train_step(images, targets)
    for images, targets in test:
        test_accuracy(targets, model(images, training=False))
    by_hand.append(float(train_loss.result()))
    print(f"epoch {epoch + 1}: loss {train_loss.result():.6f}, test accuracy {test_accuracy.result():.2%}")

# %% The same by `fit`
model.set_weights(beginning)
model.compile(Adam(), SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
r = model.fit(train, epochs=run.epochs, validation_data=test, verbose=2)
print(f"the losses of both differ by at most {np.abs(np.array(by_hand) - r.history['loss']).max():.1e}")

# %% Curves
_, axis = plt.subplots(figsize=(6, 4))
axis.plot(r.epoch, by_hand, "o", label="loop of one's own")
axis.plot(r.epoch, r.history["loss"], label="fit")
axis.set(xlabel="epoch", ylabel="training loss", xticks=r.epoch)
axis.legend()
run.save("losses")
