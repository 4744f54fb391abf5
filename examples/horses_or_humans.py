"""Horses or humans: two classes of large pictures, few of them, and three ways to a better network.

Max against average pooling, then batch normalization together with augmentation (shift, flip, rotation,
brightness, shear, zoom). Ends with what every layer makes of one picture. Three times 10 epochs of
Horses or Humans (1,027 pictures of 300×300 pixels).

    python examples/horses_or_humans.py            # needs the files of Horses or Humans, or downloads them
    python examples/horses_or_humans.py --quick    # a few images
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from _common import start

import minicnn.datasets as tfds
from minicnn.data import AUTOTUNE
from minicnn.layers import Activation, AveragePooling2D, BatchNormalization, Conv2D, Dense, Flatten, Input, MaxPooling2D
from minicnn.models import Model
from minicnn.optimizers import RMSprop
from minicnn.preprocessing.image import (
    flip_axis,
    random_brightness,
    random_rotation,
    random_shear,
    random_shift,
    random_zoom,
)
from minicnn.utils import set_random_seed

run = start("horses_or_humans", __doc__, epochs=10, data="horses_or_humans")
set_random_seed(run.seed)

# %% The data set and its metadata
(train, test), info = tfds.load(
    "horses_or_humans", split=["train", "test"], shuffle_files=True, as_supervised=True, with_info=True
)
label = info.features["label"]
print("image:", info.features["image"].shape, " classes:", label.names, f" humans are class {label.str2int('humans')}")
print("training:", info.splits["train"].num_examples, " test:", info.splits["test"].num_examples)

plt.figure(figsize=(8, 4.4))
for place, (picture, number) in enumerate(train.take(8), start=1):
    plt.subplot(2, 4, place)
    plt.imshow(picture)
    plt.title(label.int2str(number))
    plt.axis("off")
run.save("pictures")

# %% Augmentation, one kind at a time; rows, columns and channels are axes 0, 1 and 2
axes = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
kinds = {
    "shift": lambda picture: random_shift(picture, 0.2, 0.2, **axes),
    "flip": lambda picture: flip_axis(picture, 1) if np.random.random() < 0.5 else picture,
    "rotation": lambda picture: random_rotation(picture, 30, **axes),
    "brightness": lambda picture: random_brightness(picture, (0.6, 1.4), scale=False),
    "shear": lambda picture: random_shear(picture, 20, **axes),
    "zoom": lambda picture: random_zoom(picture, (0.8, 1.2), **axes),
}

picture, _ = next(iter(train))
plt.figure(figsize=(8, 4.4))
for place, (name, change) in enumerate({"as it is": lambda picture: picture, **kinds}.items(), start=1):
    plt.subplot(2, 4, place)
    plt.imshow(change(picture).astype("uint8"))
    plt.title(name)
    plt.axis("off")
run.save("augmentation")


# %% The pipelines: pixels from 0 to 1, batches of 32; one of them augments
def scale(picture, number):
    return picture.astype("float32") / 255, number


def augment(picture, number):
    for change in kinds.values():
        picture = change(picture)
    return picture, number


train_plain = train.map(scale, num_parallel_calls=AUTOTUNE).batch(32).prefetch(AUTOTUNE)
train_augmented = train.map(augment, num_parallel_calls=AUTOTUNE).map(scale).batch(32).prefetch(AUTOTUNE)
test_batches = test.map(scale, num_parallel_calls=AUTOTUNE).batch(32).prefetch(AUTOTUNE)


# %% The model: five convolutions, each pooled; the normalization would subtract a bias again, so there is none
def build(pooling, normalize=False):
    inputs = Input(shape=info.features["image"].shape)
    x = inputs
    for filters in (16, 32, 64, 64, 64):
        if normalize:
            x = Conv2D(filters, (3, 3), use_bias=False)(x)
            x = BatchNormalization()(x)
            x = Activation("relu")(x)
        else:
            x = Conv2D(filters, (3, 3), activation="relu")(x)
        x = pooling((2, 2))(x)
    x = Flatten()(x)
    x = Dense(512, activation="relu")(x)
    outputs = Dense(1, activation="sigmoid")(x)
    model = Model(inputs=inputs, outputs=outputs)
    model.compile(optimizer=RMSprop(learning_rate=0.001), loss="binary_crossentropy", metrics=["accuracy"])
    return model


# %% Training
models = {
    "max pooling": build(MaxPooling2D),
    "average pooling": build(AveragePooling2D),
    "normalized, augmented": build(MaxPooling2D, normalize=True),
}
models["normalized, augmented"].summary()

histories, results = {}, {}
for name, model in models.items():
    print("---", name)
    batches = train_augmented if "augmented" in name else train_plain
    histories[name] = model.fit(batches, validation_data=test_batches, epochs=run.epochs, verbose=2).history
    results[name] = model.evaluate(test_batches, verbose=0)

# %% The three side by side
_, panels = plt.subplots(1, 2, figsize=(11, 4))
for panel, metric in zip(panels, ("loss", "accuracy")):
    for number, (name, history) in enumerate(histories.items()):
        epochs = range(1, len(history[metric]) + 1)
        panel.plot(epochs, history[metric], "-o", color=f"C{number}", label=f"{name}, training")
        panel.plot(epochs, history[f"val_{metric}"], "--s", color=f"C{number}", label=f"{name}, validation")
    panel.set(title=metric, xticks=epochs, xlabel="epoch")
panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
run.save("learning_curves")

print(pd.DataFrame(results, index=["test loss", "test accuracy"]).T.round(4))

# %% What every layer makes of one picture: the first eight maps of each
model = models["normalized, augmented"]
feature_model = Model(inputs=model.input, outputs=[layer.output for layer in model.layers[1:]])
features = feature_model.predict(test.map(scale).batch(1).take(1), verbose=0)

maps = {layer.name: feature[0] for layer, feature in zip(model.layers[1:], features) if feature.ndim == 4}
_, rows = plt.subplots(len(maps), 1, figsize=(10, 1.1 * len(maps)))
for row, (name, feature) in zip(rows, maps.items()):
    gap = np.full((len(feature), max(1, len(feature) // 12)), np.nan)
    row.imshow(np.hstack([part for channel in range(8) for part in (feature[..., channel], gap)]), cmap="cividis")
    row.text(-0.02, 0.5, f"{name}\n{feature.shape}", fontsize=9, va="center", ha="right", transform=row.transAxes)
    row.axis("off")
run.save("feature_maps")

# %% In one line
print("test accuracy:", "  ".join(f"{name} {accuracy:.4f}" for name, (_, accuracy) in results.items()))
