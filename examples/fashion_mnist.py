"""Fashion-MNIST with the functional API: grey pictures of clothes, and arrays made into a pipeline.

Three convolutions of stride 2, the largest value of every map, dropout, two dense layers. Ends with confusion
matrices in counts and in shares, and one mistake looked at closely. 15 epochs of Fashion-MNIST.

    python examples/fashion_mnist.py            # needs the files of Fashion-MNIST, or downloads them
    python examples/fashion_mnist.py --quick    # a few images
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start
from sklearn.metrics import ConfusionMatrixDisplay

from minicnn.data import AUTOTUNE, Dataset
from minicnn.datasets import fashion_mnist
from minicnn.layers import Conv2D, Dense, Dropout, GlobalMaxPooling2D, Input
from minicnn.models import Model
from minicnn.utils import set_random_seed

run = start("fashion_mnist", __doc__, epochs=15, data="fashion_mnist")
set_random_seed(run.seed)

# %% The data: (N, 28, 28); a convolution wants a fourth axis, of channels
(x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
x_train, x_test = x_train / 255.0, x_test / 255.0
x_train = np.expand_dims(x_train, -1).astype("float32")
x_test = np.expand_dims(x_test, -1).astype("float32")

labels = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
K = len(set(y_train))
print("training:", x_train.shape, " test:", x_test.shape, " number of classes:", K)

# %% A pipeline: a new order every epoch, the next batch made while this one is learnt
train = Dataset.from_tensor_slices((x_train, y_train)).shuffle(len(x_train)).batch(64).prefetch(AUTOTUNE)
test = Dataset.from_tensor_slices((x_test, y_test)).batch(64).prefetch(AUTOTUNE)

# %% The model
i = Input(shape=x_train[0].shape)
x = Conv2D(32, (3, 3), strides=2, activation="relu")(i)
x = Conv2D(64, (3, 3), strides=2, activation="relu")(x)
x = Conv2D(128, (3, 3), strides=2, activation="relu")(x)
x = GlobalMaxPooling2D()(x)
x = Dropout(0.2)(x)
x = Dense(512, activation="relu")(x)
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
p_test = model.predict(x_test, verbose=0).argmax(axis=1)

for name, normalize, digits in (("counts", None, "d"), ("normalized", "true", ".2f")):
    _, axis = plt.subplots(figsize=(8, 7))
    ConfusionMatrixDisplay.from_predictions(
        y_test,
        p_test,
        labels=range(K),
        display_labels=labels,
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
    plt.imshow(x_test[index].reshape(28, 28), cmap="gray")
    plt.title(f"true: {labels[y_test[index]]}\npredicted: {labels[p_test[index]]}")
    plt.axis("off")
    run.save("misclassified")

# %% In one line
loss, accuracy = model.evaluate(test, verbose=0)
print(f"test loss: {loss:.4f}  test accuracy: {accuracy:.4f}")
