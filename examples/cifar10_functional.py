"""CIFAR-10 with the functional API: strides in place of pooling, and a pipeline that feeds the model.

Three convolutions of stride 2, the largest value of every map, dropout, two dense layers. Ends with confusion
matrices in counts and in shares, and one mistake looked at closely. 15 epochs of CIFAR-10.

    python examples/cifar10_functional.py            # needs the files of CIFAR-10, or downloads them
    python examples/cifar10_functional.py --quick    # a few images
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start
from sklearn.metrics import ConfusionMatrixDisplay

import minicnn.datasets as tfds
from minicnn.data import AUTOTUNE
from minicnn.layers import Conv2D, Dense, Dropout, GlobalMaxPooling2D, Input
from minicnn.models import Model
from minicnn.utils import set_random_seed

run = start("cifar10_functional", __doc__, epochs=15, data="cifar10")
set_random_seed(run.seed)

# %% The data and what is known of them
(train, test), info = tfds.load("cifar10", split=["train", "test"], as_supervised=True, with_info=True)
label_names = info.features["label"].names
K = info.features["label"].num_classes
print(info.splits["train"].num_examples, "training images of shape", info.features["image"].shape, "in", K, "classes")


# %% A pipeline: scaled once and kept, in a new order every epoch, the next batch made while this one is learnt
def scale(image, label):
    return image.astype("float32") / 255, label


train = train.map(scale, num_parallel_calls=AUTOTUNE).cache().shuffle(10_000, seed=run.seed).batch(128).prefetch(AUTOTUNE)
test = test.map(scale, num_parallel_calls=AUTOTUNE).batch(128).cache().prefetch(AUTOTUNE)

# %% The model
i = Input(shape=info.features["image"].shape)
x = Conv2D(32, (3, 3), strides=2, activation="relu")(i)
x = Conv2D(64, (3, 3), strides=2, activation="relu")(x)
x = Conv2D(128, (3, 3), strides=2, activation="relu")(x)
x = GlobalMaxPooling2D()(x)
x = Dropout(0.2)(x)
x = Dense(1024, activation="relu")(x)
x = Dropout(0.2)(x)
x = Dense(K, activation="softmax")(x)

model = Model(i, x)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.summary()

r = model.fit(train, validation_data=test, epochs=run.epochs, verbose=2)

# %% Curves
_, axes = plt.subplots(1, 2, figsize=(11, 4))
for axis, metric in zip(axes, ("loss", "accuracy")):
    epochs = range(1, len(r.history[metric]) + 1)
    axis.plot(epochs, r.history[metric], "-o", label=metric)
    axis.plot(epochs, r.history[f"val_{metric}"], "--s", label=f"val_{metric}")
    axis.set(xticks=epochs, xlabel="epoch")
    axis.legend()
run.save("curves")

# %% Confusion matrices: counts, and shares of each true class
x_test = np.concatenate([images for images, _ in test])
y_test = np.concatenate([labels for _, labels in test])
p_test = model.predict(test, verbose=0).argmax(axis=1)

for name, normalize, digits in (("counts", None, "d"), ("normalized", "true", ".2f")):
    _, axis = plt.subplots(figsize=(8, 7))
    ConfusionMatrixDisplay.from_predictions(
        y_test,
        p_test,
        labels=range(K),
        display_labels=label_names,
        normalize=normalize,
        values_format=digits,
        cmap="cividis",
        xticks_rotation=45,
        ax=axis,
    )
    run.save(f"confusion_matrix_{name}")

# %% One mistake
misclassified = np.flatnonzero(p_test != y_test)
if len(misclassified):
    index = np.random.choice(misclassified)
    plt.figure(figsize=(3, 3))
    plt.imshow(x_test[index])
    plt.title(f"true: {label_names[y_test[index]]}\npredicted: {label_names[p_test[index]]}")
    plt.axis("off")
    run.save("misclassified")

# %% In one line
loss, accuracy = model.evaluate(test, verbose=0)
print(f"test loss: {loss:.4f}  test accuracy: {accuracy:.4f}")
