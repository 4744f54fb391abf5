"""A U-Net: which pixels belong to the disc, which to the square, and which to neither.

Pictures of shapes under noise are drawn by the program, with the mask that says what is where. The network goes down to an
eighth of the size and up again by transposed convolutions; at each size it is handed what was seen there on the way down.

Ronneberger, Fischer, Brox 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation".

    python examples/unet.py            # 8 epochs of 1,000 pictures that the program draws
    python examples/unet.py --quick    # a few of them
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start

from minicnn.layers import BatchNormalization, Concatenate, Conv2D, Conv2DTranspose, Input, MaxPooling2D, ReLU
from minicnn.metrics import MeanIoU
from minicnn.models import Model
from minicnn.utils import set_random_seed

run = start("unet", __doc__, epochs=8)
set_random_seed(run.seed)
SIZE, CLASSES = 64, ("background", "disc", "square")


# %% The data
def draw(count, seed):
    """Pictures (N, SIZE, SIZE, 1) and masks (N, SIZE, SIZE) of classes: a disc, a square that may cover it, and noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    masks = np.zeros((count, SIZE, SIZE), np.int32)
    pictures = rng.uniform(0.2, 0.4, (count, 1, 1)) * np.ones((1, SIZE, SIZE))
    for picture, mask in zip(pictures, masks):
        for label in (1, 2):
            (row, column), reach = rng.integers(12, SIZE - 12, 2), rng.integers(6, 12)
            down, across = rows - row, columns - column
            inside = np.hypot(down, across) <= reach if label == 1 else np.maximum(abs(down), abs(across)) <= reach
            mask[inside], picture[inside] = label, rng.uniform(0.5, 0.9)
    pictures += rng.normal(0, 0.15, pictures.shape)
    return pictures[..., None].astype("float32"), masks


train, test = (40, 8) if run.quick else (1000, 200)
(x_train, y_train), (x_test, y_test) = draw(train, run.seed), draw(test, run.seed + 1)


# %% The network
def convolutions(x, filters):
    """Twice: convolution, batch normalization, ReLU."""
    for _ in range(2):
        x = ReLU()(BatchNormalization()(Conv2D(filters, 3, padding="same", use_bias=False)(x)))
    return x


i = Input(shape=(SIZE, SIZE, 1))
x, seen = i, []
for filters in (16, 32, 64):
    x = convolutions(x, filters)
    seen.append(x)
    x = MaxPooling2D(2)(x)
x = convolutions(x, 128)
for filters, beside in zip((64, 32, 16), reversed(seen)):
    x = Conv2DTranspose(filters, 2, strides=2)(x)
    x = convolutions(Concatenate()([x, beside]), filters)
model = Model(i, Conv2D(len(CLASSES), 1, activation="softmax")(x))
model.compile(
    optimizer="adam",
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy", MeanIoU(num_classes=len(CLASSES), sparse_y_pred=False, name="mean_iou")],
)
print(f"{model.count_params():,} parameters")
r = model.fit(x_train, y_train, batch_size=16, epochs=run.epochs, validation_data=(x_test, y_test), verbose=2)

# %% Curves
_, axes = plt.subplots(1, 2, figsize=(11, 4))
for axis, metric in zip(axes, ("loss", "mean_iou")):
    axis.plot(r.epoch, r.history[metric], label=metric)
    axis.plot(r.epoch, r.history[f"val_{metric}"], "--", label=f"val_{metric}")
    axis.set(xlabel="epoch")
    axis.legend()
run.save("curves")

# %% Masks
found = model.predict(x_test[:6], verbose=0).argmax(axis=-1)
_, axes = plt.subplots(3, 6, figsize=(10, 5.4), layout="constrained")
for column, of_picture in enumerate(axes.T):
    for axis, image, name in zip(
        of_picture, (x_test[column, ..., 0], y_test[column], found[column]), ("picture", "true", "found")
    ):
        is_mask = name != "picture"
        axis.imshow(image, cmap="viridis" if is_mask else "gray", vmin=0, vmax=len(CLASSES) - 1 if is_mask else 1)
        axis.set(xticks=[], yticks=[])
        if column == 0:
            axis.set_ylabel(name)
run.save("masks")
print(f"{np.mean(model.predict(x_test, verbose=0).argmax(axis=-1) == y_test):.2%} of the test pixels are right")
