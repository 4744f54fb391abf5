"""CIFAR-100: a hundred classes with 500 training images each, where one guess in a hundred is luck.

The functional model of `cifar10_functional.py` with twice the filters, scored by its first guess and by its
first five. Ends with the pairs of classes it confuses most. 15 epochs of CIFAR-100.

    python examples/cifar100.py            # needs the files of CIFAR-100, or downloads them
    python examples/cifar100.py --quick    # a few images
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

import minicnn.datasets as tfds
from minicnn.data import AUTOTUNE
from minicnn.layers import Conv2D, Dense, Dropout, GlobalMaxPooling2D, Input
from minicnn.metrics import SparseTopKCategoricalAccuracy
from minicnn.models import Model
from minicnn.utils import set_random_seed

run = start("cifar100", __doc__, epochs=15, data="cifar100")
set_random_seed(run.seed)

# %% The data and what is known of them
(train, test), info = tfds.load("cifar100", split=["train", "test"], as_supervised=True, with_info=True)
label_names = info.features["label"].names
K = info.features["label"].num_classes
print(info.splits["train"].num_examples, "training images of shape", info.features["image"].shape, "in", K, "classes")
print(
    "class 0 is", info.features["label"].int2str(0), "and willow_tree is class", info.features["label"].str2int("willow_tree")
)


# %% A pipeline: scaled once and kept, in a new order every epoch, the next batch made while this one is learnt
def scale(image, label):
    return image.astype("float32") / 255, label


train = train.map(scale, num_parallel_calls=AUTOTUNE).cache().shuffle(10_000, seed=run.seed).batch(128).prefetch(AUTOTUNE)
test = test.map(scale, num_parallel_calls=AUTOTUNE).batch(128).cache().prefetch(AUTOTUNE)

# %% The model
i = Input(shape=info.features["image"].shape)
x = Conv2D(64, (3, 3), strides=2, activation="relu")(i)
x = Conv2D(128, (3, 3), strides=2, activation="relu")(x)
x = Conv2D(256, (3, 3), strides=2, activation="relu")(x)
x = GlobalMaxPooling2D()(x)
x = Dropout(0.2)(x)
x = Dense(1024, activation="relu")(x)
x = Dropout(0.2)(x)
x = Dense(K, activation="softmax")(x)

model = Model(i, x)
model.compile(
    optimizer="adam",
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy", SparseTopKCategoricalAccuracy(k=5, name="top_5")],
)
model.summary()

r = model.fit(train, validation_data=test, epochs=run.epochs, verbose=2)

# %% Curves
_, axes = plt.subplots(1, 3, figsize=(15, 4))
for axis, metric in zip(axes, ("loss", "accuracy", "top_5")):
    epochs = range(1, len(r.history[metric]) + 1)
    axis.plot(epochs, r.history[metric], "-o", label=metric)
    axis.plot(epochs, r.history[f"val_{metric}"], "--s", label=f"val_{metric}")
    axis.set(xticks=epochs, xlabel="epoch")
    axis.legend()
run.save("curves")

# %% Confusion matrices: 100 names would not be legible, so the numbers of the classes stand at every tenth
x_test = np.concatenate([images for images, _ in test])
y_test = np.concatenate([labels for _, labels in test])
p_test = model.predict(test, verbose=0).argmax(axis=1)

for name, normalize in (("counts", None), ("normalized", "true")):
    _, axis = plt.subplots(figsize=(8, 7))
    ConfusionMatrixDisplay.from_predictions(
        y_test, p_test, labels=range(K), normalize=normalize, include_values=False, cmap="cividis", ax=axis
    )
    axis.set(xticks=range(0, K, 10), xticklabels=range(0, K, 10), yticks=range(0, K, 10), yticklabels=range(0, K, 10))
    run.save(f"confusion_matrix_{name}")

# %% What it confuses most
mistakes = confusion_matrix(y_test, p_test, labels=range(K))
np.fill_diagonal(mistakes, 0)
for place in mistakes.argsort(axis=None)[::-1][:10]:
    true, predicted = divmod(place, K)
    print(f"{mistakes[true, predicted]:4d} times {label_names[true]} was taken for {label_names[predicted]}")

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
loss, accuracy, top_5 = model.evaluate(test, verbose=0)
print(f"test loss: {loss:.4f}  test accuracy: {accuracy:.4f}  among the first five guesses: {top_5:.4f}")
