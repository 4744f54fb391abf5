"""First CNN: ten kinds of small photographs, told apart by two convolutions.

The whole way once: look at the images, scale them, build, train until the validation loss
stops falling, and judge the result with scikit-learn. At most 15 epochs of CIFAR-10.

    python examples/first_cnn.py            # needs the files of CIFAR-10, or downloads them
    python examples/first_cnn.py --quick    # a few images
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from _common import start
from sklearn.metrics import classification_report, confusion_matrix

from minicnn.callbacks import EarlyStopping
from minicnn.datasets import cifar10
from minicnn.layers import Conv2D, Dense, Flatten, MaxPool2D
from minicnn.models import Sequential
from minicnn.utils import set_random_seed, to_categorical

run = start("first_cnn", __doc__, epochs=15, data="cifar10")
set_random_seed(run.seed)

# %% The data
(x_train, y_train), (x_test, y_test) = cifar10.load_data()
class_names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

print("training images:", x_train.shape, x_train.dtype, "from", x_train.min(), "to", x_train.max())
print("training labels:", y_train.shape, "the first:", y_train[0], class_names[y_train[0][0]])

plt.figure(figsize=(8, 3.6))
for i in range(10):
    plt.subplot(2, 5, i + 1)
    plt.imshow(x_train[i])
    plt.title(class_names[y_train[i][0]], fontsize=10)
    plt.axis("off")
run.save("images")

# %% Pixels from 0 to 1, labels as rows with a one
x_train = x_train / 255
x_test = x_test / 255

y_cat_train = to_categorical(y_train, 10)
y_cat_test = to_categorical(y_test, 10)

# %% The model
model = Sequential()

model.add(Conv2D(filters=32, kernel_size=(4, 4), input_shape=(32, 32, 3), activation="relu"))
model.add(MaxPool2D(pool_size=(2, 2)))

model.add(Conv2D(filters=32, kernel_size=(4, 4), activation="relu"))
model.add(MaxPool2D(pool_size=(2, 2)))

model.add(Flatten())
model.add(Dense(256, activation="relu"))
model.add(Dense(10, activation="softmax"))

model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.summary()

# %% Training: it ends when the validation loss has not improved for two epochs
early_stop = EarlyStopping(monitor="val_loss", patience=2)

model.fit(x_train, y_cat_train, epochs=run.epochs, validation_data=(x_test, y_cat_test), callbacks=[early_stop], verbose=2)

# %% How it went
losses = pd.DataFrame(model.history.history)
losses.index += 1
print(losses.round(4))

losses[["accuracy", "val_accuracy"]].plot(xlabel="epoch", xticks=losses.index, style=["-o", "--s"])
run.save("accuracy")
losses[["loss", "val_loss"]].plot(xlabel="epoch", xticks=losses.index, style=["-o", "--s"])
run.save("loss")

# %% What it gets right, class by class
loss, accuracy = model.evaluate(x_test, y_cat_test, verbose=0)

predictions = np.argmax(model.predict(x_test, verbose=0), axis=1)
print(classification_report(y_test, predictions, labels=range(10), target_names=class_names, zero_division=0))

plt.figure(figsize=(9, 7))
sns.heatmap(
    confusion_matrix(y_test, predictions, labels=range(10)),
    annot=True,
    fmt="d",
    cmap="cividis",
    xticklabels=class_names,
    yticklabels=class_names,
)
plt.xlabel("predicted")
plt.ylabel("true")
run.save("confusion_matrix")

# %% One image
my_image = x_test[0]
chosen = np.argmax(model.predict(my_image.reshape(1, 32, 32, 3), verbose=0))
print(f"the first test image is a {class_names[y_test[0][0]]}; the model says {class_names[chosen]}")

# %% In one line
print(f"test loss: {loss:.4f}  test accuracy: {accuracy:.4f}")
