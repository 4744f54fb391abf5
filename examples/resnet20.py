"""ResNet-20 on CIFAR-10, as the paper has it: identities around pairs of convolutions, so that gradients reach the first one.

He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition", section 4.2: 0.27 million parameters; images moved
by up to four pixels and mirrored; gradient descent with momentum, its rate divided by ten twice. Trains the same network
without its shortcuts too, for comparison, and draws both. (The paper trains 182 epochs.)

    python examples/resnet20.py                      # 10 epochs; needs the files of CIFAR-10, or downloads them
    python examples/resnet20.py --epochs 182         # the paper's length
    python examples/resnet20.py --quick              # a few images
"""

# %% Imports
import matplotlib.pyplot as plt
from _common import start

from minicnn.datasets import cifar10
from minicnn.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    GlobalAveragePooling2D,
    Input,
    RandomFlip,
    RandomTranslation,
    Rescaling,
)
from minicnn.models import Model
from minicnn.optimizers import SGD
from minicnn.optimizers.schedules import PiecewiseConstantDecay
from minicnn.utils import set_random_seed

run = start("resnet20", __doc__, epochs=10, data="cifar10")
(x_train, y_train), (x_test, y_test) = cifar10.load_data()


# %% The network
def convolution(x, filters, strides=1, size=3, activation="relu"):
    """Convolution, batch normalization, activation."""
    x = Conv2D(filters, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = BatchNormalization()(x)
    return Activation(activation)(x) if activation else x


def block(x, filters, strides, shortcut):
    """relu(x + two convolutions of x); where the size changes, a 1x1 convolution stands in for the identity."""
    y = convolution(x, filters, strides)
    y = convolution(y, filters, activation=None)
    if shortcut:
        if strides > 1:
            x = convolution(x, filters, strides, size=1, activation=None)
        y = Add()([x, y])
    return Activation("relu")(y)


def network(shortcut, blocks_a_stage=3):
    i = Input(shape=(32, 32, 3))
    x = Rescaling(1 / 127.5, offset=-1)(i)
    x = RandomTranslation(4 / 32, 4 / 32, fill_mode="constant")(x)
    x = RandomFlip("horizontal")(x)
    x = convolution(x, 16)
    for filters in (16, 32, 64):
        for number in range(blocks_a_stage):
            x = block(x, filters, 2 if number == 0 and filters > 16 else 1, shortcut)
    x = GlobalAveragePooling2D()(x)
    return Model(i, Dense(10, activation="softmax", kernel_initializer="he_normal")(x))


# %% Train both
steps = run.epochs * -(-len(x_train) // 128)
histories = {}
for name, shortcut in (("with shortcuts", True), ("without", False)):
    set_random_seed(run.seed)
    model = network(shortcut)
    rate = PiecewiseConstantDecay([steps // 2, steps * 3 // 4], [0.1, 0.01, 0.001])
    model.compile(SGD(rate, momentum=0.9, weight_decay=1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
    print(f"{name}: {model.count_params():,} parameters")
    history = model.fit(x_train, y_train, batch_size=128, epochs=run.epochs, validation_data=(x_test, y_test), verbose=2)
    histories[name] = history.history

# %% Curves
_, axes = plt.subplots(1, 2, figsize=(11, 4))
for axis, metric in zip(axes, ("loss", "accuracy")):
    for name, history in histories.items():
        epochs = range(1, run.epochs + 1)
        (line,) = axis.plot(epochs, history[metric], label=name)
        axis.plot(epochs, history[f"val_{metric}"], "--", color=line.get_color(), label=f"{name}, test images")
    axis.set(xlabel="epoch", ylabel=metric)
    axis.legend()
run.save("curves")
