"""Lesson: what augmentation and dropout do to the gap between training and validation.

First with numbers: what dropout makes of ten ones, and what augmentation makes of a scan. Then a network that is too large
for its few training images, four times: as it is, with dropout, with augmented images, with both. How far the loss of
images that it was trained on lies below that of others, and what the loss in the progress bar has to do with it. A minute.

    python examples/lesson_augmentation_dropout.py
    python examples/lesson_augmentation_dropout.py --quick
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start
from _exercises.augmentation_dropout import check_1, check_2, check_3

from minicnn import study
from minicnn.callbacks import Callback
from minicnn.datasets import digits
from minicnn.layers import (
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    MaxPooling2D,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
)
from minicnn.models import Sequential
from minicnn.utils import set_random_seed

run = start("lesson_augmentation_dropout", __doc__, epochs=40)
set_random_seed(run.seed)

# %% Dropout, with numbers: each survives with probability 1 - rate, and is divided by that, so that the mean stays
ones = np.ones((1, 10), "float32")
layer = Dropout(0.5)
for number in range(3):
    print(f"Dropout(0.5) of ten ones, step {number + 1}:  ", np.asarray(layer(ones, training=True))[0].astype(int))
print("in inference it does nothing:      ", np.asarray(layer(ones, training=False))[0].astype(int))
for rate in (0.2, 0.5, 0.8):
    many = np.asarray(Dropout(rate)(np.ones((1, 100_000), "float32"), training=True))
    shares = f"{np.mean(many == 0):.3f} are 0, the others {many.max():.3f}, their mean {many.mean():.3f}"
    print(f"100,000 ones at rate {rate}: {shares}")

# %% The data: 150 scans to train on, in place of 1,442; 355 others to validate with. 32×32 pixels, so that they can be turned
(x_all, y_all), (x_test, y_test) = digits.load_data(as_rgb32=True)
x_all, x_test = x_all[..., :1].astype("float32") / 255, x_test[..., :1].astype("float32") / 255
shuffled = np.random.default_rng(run.seed).permutation(len(x_all))
x_all, y_all = x_all[shuffled], y_all[shuffled]
x_train, y_train = x_all[:150], y_all[:150]


# %% Augmentation: every epoch sees each scan moved, turned and scaled anew. Only what leaves the digit what it is
def augmentation():
    return [
        RandomTranslation(0.12, 0.12, fill_mode="constant"),
        RandomRotation(0.04, fill_mode="constant"),
        RandomZoom(0.15, fill_mode="constant"),
    ]


scan = x_train[y_train == 2][0]
run.save("augmentation", study.augmentation_preview(augmentation(), scan, title="one scan of a 2", style=run.style))


# %% One network, with or without them
def network(augment, dropout):
    set_random_seed(run.seed)
    return Sequential(
        [
            Input(shape=(32, 32, 1)),
            *(augmentation() if augment else []),
            Conv2D(16, 3, padding="same", activation="relu"),
            MaxPooling2D(2),
            Conv2D(32, 3, padding="same", activation="relu"),
            MaxPooling2D(2),
            Dropout(dropout),
            Flatten(),
            Dense(128, activation="relu"),
            Dropout(dropout),
            Dense(10, activation="softmax"),
        ]
    )


class LossOfTrainingImages(Callback):
    """After each epoch the loss of the training images as at inference: nothing dropped, nothing augmented."""

    def on_train_begin(self, logs=None):
        self.losses = []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(self.model.evaluate(x_train, y_train, verbose=0)[0])


def train(augment, dropout):
    """(losses by name, accuracy of the other images)."""
    model, watch = network(augment, dropout), LossOfTrainingImages()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        x_train, y_train, epochs=run.epochs, validation_data=(x_test, y_test), callbacks=[watch], verbose=0
    ).history
    losses = {"in the progress bar": history["loss"], "trained on": watch.losses, "others": history["val_loss"]}
    return losses, history["val_accuracy"][-1]


kinds = {"as it is": (False, 0.0), "dropout": (False, 0.5), "augmented": (True, 0.0), "both": (True, 0.5)}
results = {name: train(*kind) for name, kind in kinds.items()}

# %% The gap: the loss of other images, less that of the images that it was trained on
print(f"after {run.epochs} epochs of {len(x_train)} scans:")
print("                progress bar   trained on     others        gap   accuracy of others")
for name, (losses, accuracy) in results.items():
    bar, own, others = (losses[which][-1] for which in ("in the progress bar", "trained on", "others"))
    print(f"    {name:10}{bar:14.4f}{own:13.4f}{others:11.4f}{others - own:11.4f}{accuracy:13.4f}")
print("The loss in the progress bar is that of the network with units missing, or of changed images: a harder task than")
print("validation's, so it may lie above the loss of images that were never seen, and says nothing about the gap.")

_, axes = plt.subplots(1, 4, figsize=(12, 3.2), sharey=True)
for axis, (name, (losses, _)) in zip(axes, results.items()):
    epochs = range(1, run.epochs + 1)
    for (which, values), dash in zip(losses.items(), (":", "-", "--")):
        axis.plot(epochs, values, dash, label=which)
    axis.fill_between(epochs, losses["trained on"], losses["others"], alpha=0.15, color="C2")
    axis.set(title=name, xlabel="epoch", yscale="log")
axes[0].set_ylabel("loss")
axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
run.save("gap")

# %% More images do what both of them imitate: the gap against the number of training images
counts = (50, 150, 400) if run.quick else (50, 100, 200, 400, 800, 1442)
gaps = []
for count in counts:
    x_train, y_train = x_all[:count], y_all[:count]
    losses, _ = train(False, 0.0)
    gaps.append((losses["trained on"][-1], losses["others"][-1]))
_, axis = plt.subplots(figsize=(6, 3.6))
axis.plot(counts, [own for own, _ in gaps], "-o", color="C1", label="trained on")
axis.plot(counts, [others for _, others in gaps], "--s", color="C2", label="others")
axis.set(xlabel="training images", ylabel=f"loss after {run.epochs} epochs", xscale="log", yscale="log")
axis.set_xticks(counts, [str(count) for count in counts])
axis.minorticks_off()
axis.legend()
run.save("more_images")
print("gap:", ", ".join(f"{others - own:.3f} with {count} images" for count, (own, others) in zip(counts, gaps)))

# %% [markdown]
# ## Exercises
#
# Write each answer in place of `...`, then run its cell and the one after it: that says whether the answer is right, and if
# not, what may be wrong. Solutions are at the very end.

# %% Exercise 1: what are the numbers that survive `Dropout(0.2)` multiplied by?
answer_1 = ...

# %%
check_1(answer_1)


# %% Exercise 2: dropout's way back. With dy at the layer's output, and kept = 1 where a number survived, else 0
def dropout_backward(dy, kept, rate):
    """The gradient at the layer's input."""
    return ...


# %%
check_2(dropout_backward)

# %% Exercise 3: shifts by -1, 0 or 1 pixel in each direction, mirrored left to right or not: how many images from one?
answer_3 = ...

# %%
check_3(answer_3)

# %% [markdown]
# <details><summary>Solutions</summary>
#
# ```python
# answer_1 = 1 / (1 - 0.2)
# ```
#
# ```python
# def dropout_backward(dy, kept, rate):
#     return dy * kept / (1 - rate)
# ```
#
# ```python
# answer_3 = 3 * 3 * 2
# ```
#
# </details>
