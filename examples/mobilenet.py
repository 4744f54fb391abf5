"""A small MobileNet: what a depthwise convolution saves, counted and timed.

The same network twice: with 3x3 convolutions, and with each of them replaced by a 3x3 convolution of every channel by itself
and a 1x1 convolution across channels. Prints parameters, FLOPs and the seconds of an epoch of both, and draws their curves.

Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications".

    python examples/mobilenet.py            # 5 epochs; needs the files of CIFAR-10, or downloads them
    python examples/mobilenet.py --quick    # a few images
"""

# %% Imports
import time

import matplotlib.pyplot as plt
from _common import start

from minicnn.datasets import cifar10
from minicnn.layers import BatchNormalization, Conv2D, Dense, DepthwiseConv2D, GlobalAveragePooling2D, Input, ReLU, Rescaling
from minicnn.models import Sequential
from minicnn.utils import set_random_seed

run = start("mobilenet", __doc__, epochs=5, data="cifar10")
(x_train, y_train), (x_test, y_test) = cifar10.load_data()


# %% The two networks
def normalized(layer):
    """The convolution, batch normalization, and the ReLU that ends at 6, as mobile processors liked it."""
    return [layer, BatchNormalization(), ReLU(max_value=6)]


def whole(filters, strides):
    return normalized(Conv2D(filters, 3, strides=strides, padding="same", use_bias=False))


def separated(filters, strides):
    return [
        *normalized(DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)),
        *normalized(Conv2D(filters, 1, use_bias=False)),
    ]


def network(block):
    layers = [Input(shape=(32, 32, 3)), Rescaling(1 / 255), *whole(32, 1)]
    for filters, strides in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        layers += block(filters, strides)
    return Sequential([*layers, GlobalAveragePooling2D(), Dense(10, activation="softmax")])


# %% Train both
histories = {}
for name, block in (("whole", whole), ("separated", separated)):
    set_random_seed(run.seed)
    model = network(block)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    begin = time.perf_counter()
    r = model.fit(x_train, y_train, batch_size=128, epochs=run.epochs, validation_data=(x_test, y_test), verbose=2)
    seconds = (time.perf_counter() - begin) / run.epochs
    flops = sum(row["flops"] for row in model.plan())
    print(f"{name}: {model.count_params():,} parameters, {flops / 1e6:.1f} MFLOP an image, {seconds:.1f} s an epoch")
    histories[name] = r

# %% Curves
_, axis = plt.subplots(figsize=(6, 4))
for name, r in histories.items():
    axis.plot(r.epoch, r.history["val_accuracy"], "-o", label=name)
axis.set(xlabel="epoch", ylabel="accuracy on the test images", xticks=r.epoch)
axis.legend()
run.save("accuracy")
