"""SGD and dropout: a wide network that would learn its training images by heart, and what keeps it from it.

Three convolutions of 256, 256 and 128 filters, each followed by an activation, pooling and dropout, trained
by plain gradient descent with a falling rate. 20 epochs of CIFAR-10, nearly all of it spent in convolutions.

    python examples/sgd_dropout.py            # needs the files of CIFAR-10, or downloads them
    python examples/sgd_dropout.py --quick    # a few images
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from _common import start

from minicnn.datasets import cifar10
from minicnn.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from minicnn.models import Sequential
from minicnn.optimizers import SGD
from minicnn.utils import set_random_seed, to_categorical

run = start("sgd_dropout", __doc__, epochs=20, data="cifar10")
set_random_seed(run.seed)

# %% The data
(x_train, y_train), (x_test, y_test) = cifar10.load_data()
labels = np.array(["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"])

x_train = x_train.astype("float32") / 255
x_test = x_test.astype("float32") / 255

y_train_one_hot = to_categorical(y_train, 10)
y_test_one_hot = to_categorical(y_test, 10)
print("training:", x_train.shape, y_train_one_hot.shape)
print("testing: ", x_test.shape, y_test_one_hot.shape)

# %% The model
model = Sequential()

model.add(Conv2D(256, (3, 3), input_shape=(32, 32, 3), data_format="channels_last"))
model.add(Activation("relu"))
model.add(MaxPooling2D(pool_size=(2, 2), data_format="channels_last"))
model.add(Dropout(0.3))

model.add(Conv2D(256, (3, 3), data_format="channels_last"))
model.add(Activation("relu"))
model.add(MaxPooling2D(pool_size=(2, 2), data_format="channels_last"))
model.add(Dropout(0.3))

model.add(Conv2D(128, (3, 3), data_format="channels_last"))
model.add(Activation("relu"))
model.add(MaxPooling2D(pool_size=(2, 2), data_format="channels_last"))
model.add(Dropout(0.3))

model.add(Flatten())
model.add(Dense(512))
model.add(Activation("relu"))
model.add(Dense(256))
model.add(Activation("relu"))
model.add(Dense(10))
model.add(Activation("softmax"))

model.summary()

# %% Gradient descent; the rate of step t is 0.05 / (1 + 0.0001 t)
sgd = SGD(lr=0.05, decay=0.0001)
model.compile(optimizer=sgd, loss=["categorical_crossentropy"], metrics=["accuracy"])

history = model.fit(
    x=x_train,
    y=y_train_one_hot,
    batch_size=32,
    epochs=run.epochs,
    validation_data=(x_test, y_test_one_hot),
    verbose=2,
)

# %% Loss and accuracy
epochs = range(1, len(history.history["loss"]) + 1)

plt.plot(epochs, history.history["loss"], "-o", label="training loss")
plt.plot(epochs, history.history["val_loss"], "--s", label="validation loss")
plt.xticks(epochs)
plt.xlabel("epoch")
plt.legend()
run.save("loss")

plt.plot(epochs, history.history["accuracy"], "-o", label="training accuracy")
plt.plot(epochs, history.history["val_accuracy"], "--s", label="validation accuracy")
plt.xticks(epochs)
plt.xlabel("epoch")
plt.legend()
run.save("accuracy")

# %% Predictions, as a table of classes
probabilities = model.predict(x=x_test, batch_size=32, verbose=1)
predicted = labels[np.argmax(probabilities, axis=1)]
actual = labels[y_test.ravel()]

table = pd.crosstab(actual, predicted, rownames=["actual"], colnames=["predicted"])
print(table.to_string())

# %% In one line
loss, accuracy = model.evaluate(x_test, y_test_one_hot, verbose=0)
print(f"test loss: {loss:.4f}  test accuracy: {accuracy:.4f}")
