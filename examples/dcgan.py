"""A DCGAN: one network draws digits, another tells drawn from real, and each learns from the other.

A model with a `train_step` of its own: `fit` calls it with each batch, and all else (the bar, the history, callbacks) is as
ever. Gradients come from a `GradientTape`, once for each of the two networks.

Radford, Metz, Chintala 2015, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks".

    python examples/dcgan.py            # scikit-learn's digits, no download
    python examples/dcgan.py --quick
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start
from sklearn.datasets import load_digits

import minicnn
from minicnn import ops
from minicnn.layers import BatchNormalization, Conv2D, Conv2DTranspose, Dense, Dropout, Flatten, Input, LeakyReLU, Reshape
from minicnn.losses import BinaryCrossentropy
from minicnn.metrics import Mean
from minicnn.models import Model, Sequential
from minicnn.optimizers import Adam
from minicnn.utils import set_random_seed

run = start("dcgan", __doc__, epochs=60)
set_random_seed(run.seed)
NOISE = 32

pictures = (load_digits().images / 8 - 1).astype("float32")[..., None]  # from -1 to 1, as tanh gives

# %% The two networks
generator = Sequential(
    [
        Input(shape=(NOISE,)),
        Dense(2 * 2 * 64),
        Reshape((2, 2, 64)),
        Conv2DTranspose(64, 4, strides=2, padding="same", use_bias=False),
        BatchNormalization(),
        LeakyReLU(0.2),
        Conv2DTranspose(32, 4, strides=2, padding="same", use_bias=False),
        BatchNormalization(),
        LeakyReLU(0.2),
        Conv2D(1, 3, padding="same", activation="tanh"),
    ],
    name="generator",
)
discriminator = Sequential(
    [
        Input(shape=(8, 8, 1)),
        Conv2D(32, 4, strides=2, padding="same"),
        LeakyReLU(0.2),
        Conv2D(64, 4, strides=2, padding="same"),
        LeakyReLU(0.2),
        Flatten(),
        Dropout(0.2),
        Dense(1),
    ],
    name="discriminator",
)


# %% The step
class GAN(Model):
    """Both networks, and the step that trains them in turn."""

    def __init__(self, generator, discriminator):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.of_generator, self.of_discriminator = Mean(name="generator"), Mean(name="discriminator")

    def compile(self, generator_optimizer, discriminator_optimizer, loss):
        super().compile()
        self.generator_optimizer, self.discriminator_optimizer, self.true_or_not = (
            generator_optimizer,
            discriminator_optimizer,
            loss,
        )

    @property
    def metrics(self):
        return [self.of_generator, self.of_discriminator]

    def train_step(self, real):
        count = len(real)
        drawn = self.generator(np.random.normal(size=(count, NOISE)).astype("float32"), training=True)
        both = ops.concatenate([real, drawn], axis=0)
        is_real = np.concatenate([np.full((count, 1), 0.9), np.zeros((count, 1))]).astype("float32")
        with minicnn.GradientTape() as tape:
            loss = self.true_or_not(is_real, self.discriminator(both, training=True))
        weights = self.discriminator.trainable_variables
        self.discriminator_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        self.of_discriminator.update_state(loss)

        noise = np.random.normal(size=(count, NOISE)).astype("float32")
        with minicnn.GradientTape() as tape:
            loss = self.true_or_not(np.ones((count, 1), "float32"), self.discriminator(self.generator(noise, training=True)))
        weights = self.generator.trainable_variables
        self.generator_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        self.of_generator.update_state(loss)
        return {metric.name: metric.result() for metric in self.metrics}


gan = GAN(generator, discriminator)
gan.compile(Adam(2e-3, beta_1=0.5), Adam(1e-3, beta_1=0.5), BinaryCrossentropy(from_logits=True))
r = gan.fit(pictures, batch_size=64, epochs=run.epochs, verbose=2)

# %% Curves
_, axis = plt.subplots(figsize=(6, 4))
for name in ("generator", "discriminator"):
    axis.plot(r.epoch, r.history[name], label=name)
axis.set(xlabel="epoch", ylabel="loss")
axis.legend()
run.save("losses")

# %% What it draws
drawn = generator.predict(np.random.default_rng(0).normal(size=(40, NOISE)).astype("float32"), verbose=0)
_, axes = plt.subplots(5, 16, figsize=(10, 3.4), layout="constrained")
for axis, image in zip(axes.T.flat, np.concatenate([pictures[:40], drawn])):
    axis.imshow(image[..., 0], cmap="gray", vmin=-1, vmax=1)
    axis.axis("off")
axes[0, 3].set_title("real")
axes[0, 11].set_title("drawn")
run.save("drawn")
