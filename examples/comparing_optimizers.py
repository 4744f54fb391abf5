"""Comparing optimizers: one network, one start, and Adam, SGD and RMSprop in turn.

Trains on four fifths of the training images, validates on the last fifth, looks at what the first optimizer's
model gets right and wrong, then recompiles with the two others. Three times 15 epochs of CIFAR-10.

    python examples/comparing_optimizers.py            # needs the files of CIFAR-10, or downloads them
    python examples/comparing_optimizers.py --quick    # a few images
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from _common import start
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

from minicnn.datasets import cifar10
from minicnn.layers import Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D
from minicnn.models import Sequential
from minicnn.utils import set_random_seed

run = start("comparing_optimizers", __doc__, epochs=15, data="cifar10")
set_random_seed(run.seed)

# %% The data: images (N, 32, 32, 3), labels (N, 1)
(x_train, y_train), (x_test, y_test) = cifar10.load_data()
x_train, x_val, y_train, y_val = train_test_split(x_train, y_train, test_size=0.2, random_state=42)
x_train, x_val, x_test = x_train / 255.0, x_val / 255.0, x_test / 255.0
print("training:", x_train.shape, y_train.shape, " validation:", x_val.shape, y_val.shape, " test:", x_test.shape)

class_names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

# %% The model
model = Sequential(
    [
        Input(shape=(32, 32, 3)),
        Conv2D(32, (3, 3), activation="relu"),
        MaxPooling2D((2, 2)),
        Dropout(0.2),
        Conv2D(64, (3, 3), activation="relu"),
        MaxPooling2D((2, 2)),
        Dropout(0.3),
        Flatten(),
        Dense(128, activation="relu"),
        Dropout(0.4),
        Dense(10, activation="softmax"),
    ]
)
model.summary()
first_weights = model.get_weights()  # every optimizer starts here


# %% Training with one optimizer
def train(optimizer):
    model.set_weights(first_weights)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    print(f"--- {optimizer}")
    return model.fit(x_train, y_train, batch_size=64, epochs=run.epochs, validation_data=(x_val, y_val), verbose=2).history


def learning_curves(histories):
    """Accuracy on the left, loss on the right; validation dashed."""
    _, axes = plt.subplots(1, 2, figsize=(11, 4))
    for axis, metric in zip(axes, ("accuracy", "loss")):
        for number, (name, history) in enumerate(histories.items()):
            epochs = range(1, len(history[metric]) + 1)
            axis.plot(epochs, history[metric], "-o", color=f"C{number}", label=f"{name}, training")
            axis.plot(epochs, history[f"val_{metric}"], "--s", color=f"C{number}", label=f"{name}, validation")
        axis.set(title=metric, xticks=epochs, xlabel="epoch")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))


# %% Adam
histories = {"adam": train("adam")}
results = {"adam": model.evaluate(x_test, y_test, verbose=0)}
learning_curves(histories)
run.save("learning_curves_adam")

# %% Its confusion matrix
probabilities = model.predict(x_test, verbose=0)
predicted = np.argmax(probabilities, axis=1)
_, axis = plt.subplots(figsize=(8, 7))
ConfusionMatrixDisplay.from_predictions(
    y_test.ravel(), predicted, labels=range(10), display_labels=class_names, cmap="cividis", xticks_rotation=45, ax=axis
)
run.save("confusion_matrix")

# %% Three images that it knows, and three that it does not
is_right = predicted == y_test.ravel()
_, axes = plt.subplots(2, 3, figsize=(8, 6))
for row, kind in zip(axes, (True, False)):
    for axis in row:
        axis.axis("off")
    for axis, index in zip(row, np.flatnonzero(is_right == kind)):
        axis.imshow(x_test[index])
        name, share = class_names[predicted[index]], probabilities[index].max()
        axis.set_title(f"true: {class_names[y_test[index][0]]}\npredicted: {name} ({share:.0%})")
run.save("right_and_wrong")

# %% The same network with the two other optimizers
for optimizer in ("sgd", "rmsprop"):
    histories[optimizer] = train(optimizer)
    results[optimizer] = model.evaluate(x_test, y_test, verbose=0)
learning_curves(histories)
run.save("learning_curves")

# %% The three side by side
table = pd.DataFrame(results, index=["test loss", "test accuracy"]).T
table["best validation accuracy"] = [max(history["val_accuracy"]) for history in histories.values()]
print(table.round(4))

# %% In one line
print("test accuracy:", "  ".join(f"{name} {accuracy:.4f}" for name, (_, accuracy) in results.items()))
