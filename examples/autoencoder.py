"""A denoising autoencoder: pictures squeezed through few numbers, and noise taken out of them on the way.

An encoder of convolutions of stride 2, a decoder of transposed convolutions, trained to give back the picture that was there
before noise was added. Then the same for the numbers in between: what lies on the way from one picture to another.

    python examples/autoencoder.py            # 10 epochs; needs the files of Fashion-MNIST, or downloads them
    python examples/autoencoder.py --quick    # a few images
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start

from minicnn.datasets import fashion_mnist
from minicnn.layers import Conv2D, Conv2DTranspose, Dense, Flatten, Input, Reshape
from minicnn.models import Model
from minicnn.utils import set_random_seed

run = start("autoencoder", __doc__, epochs=10, data="fashion_mnist")
set_random_seed(run.seed)

# %% The data, and noise
(x_train, _), (x_test, _) = fashion_mnist.load_data()
x_train, x_test = (x[..., None].astype("float32") / 255 for x in (x_train, x_test))


def with_noise(x):
    return np.clip(x + np.random.normal(0, 0.4, x.shape), 0, 1).astype("float32")


noisy_train, noisy_test = with_noise(x_train), with_noise(x_test)

# %% The model: 784 numbers, 32 numbers, 784 numbers
picture = Input(shape=(28, 28, 1))
x = Conv2D(32, 3, strides=2, padding="same", activation="relu")(picture)
x = Conv2D(64, 3, strides=2, padding="same", activation="relu")(x)
encoder = Model(picture, Dense(32, name="code")(Flatten()(x)), name="encoder")

code = Input(shape=(32,))
x = Reshape((7, 7, 64))(Dense(7 * 7 * 64, activation="relu")(code))
x = Conv2DTranspose(64, 3, strides=2, padding="same", activation="relu")(x)
x = Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu")(x)
decoder = Model(code, Conv2D(1, 3, padding="same", activation="sigmoid")(x), name="decoder")

autoencoder = Model(picture, decoder(encoder(picture)), name="autoencoder")
autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
autoencoder.summary()

autoencoder.fit(
    noisy_train, x_train, batch_size=128, epochs=run.epochs, validation_data=(noisy_test, x_test), shuffle=True, verbose=2
)

# %% What comes back
shown = 8
_, axes = plt.subplots(3, shown, figsize=(1.4 * shown, 4.6), layout="constrained")
rows = {"noisy": noisy_test[:shown], "given back": autoencoder.predict(noisy_test[:shown], verbose=0), "true": x_test[:shown]}
for of_row, (name, pictures) in zip(axes, rows.items()):
    of_row[0].set_ylabel(name)
    for axis, image in zip(of_row, pictures):
        axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
run.save("denoised")

# %% From one picture to another, by way of the codes in between
first, last = encoder.predict(x_test[:2], verbose=0)
between = np.array([first + share * (last - first) for share in np.linspace(0, 1, shown)])
_, axes = plt.subplots(1, shown, figsize=(1.4 * shown, 1.7), layout="constrained")
for axis, image in zip(axes, decoder.predict(between, verbose=0)):
    axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
    axis.axis("off")
run.save("between")

error = np.mean((autoencoder.predict(noisy_test, verbose=0) - x_test) ** 2)
print(f"mean squared error: {np.mean((noisy_test - x_test) ** 2):.4f} with noise, {error:.4f} without")
