"""Lesson: what batch normalization does.

First with numbers: six values, their mean and variance, and what the layer makes of them in training and
afterwards. Then in a network of eight convolutions on scanned digits, trained with and without it at four
learning rates: how the loss falls, how large the gradients are, what the last layer gets to see. Under a minute.

    python examples/lesson_batch_normalization.py
    python examples/lesson_batch_normalization.py --quick
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start
from _exercises.batch_normalization import check_1, check_2, check_3

from minicnn import study
from minicnn.datasets import digits
from minicnn.layers import BatchNormalization, Conv2D, Dense, Flatten, Input, MaxPooling2D, ReLU
from minicnn.models import Sequential
from minicnn.optimizers import SGD
from minicnn.utils import set_random_seed

run = start("lesson_batch_normalization", __doc__, epochs=10)

# %% Six values of one channel
x = np.array([[2], [4], [4], [6], [8], [12]], "float32")
mean, variance = x.mean(), x.var()
print("values:", x.ravel(), f"  mean {mean:.0f}, variance {variance:.4f}")
print("(x - mean) / sqrt(variance + 0.001):", ((x - mean) / np.sqrt(variance + 0.001)).ravel().round(4))

layer = BatchNormalization()
y = np.asarray(layer(x, training=True))
print("the layer in training:              ", y.ravel().round(4), f"  mean {y.mean():.4f}, variance {y.var():.4f}")

# %% It can undo that, if it learns to: gamma · x + beta, one of each for every channel
gamma, beta = layer.get_weights()[:2]
print(f"\ngamma {gamma} and beta {beta} at the start. With gamma = 4 and beta = 6 the layer gives:")
layer.set_weights([[4], [6], *layer.get_weights()[2:]])
print("   ", np.asarray(layer(x, training=True)).ravel().round(4))

# %% After training there is no batch to take the mean of: it uses running averages
layer = BatchNormalization(momentum=0.9)
print("\nrunning averages over the batches, 0.9 · old + 0.1 · the batch's, from 0 and 1:")
for step in range(1, 61):
    layer(x, training=True)
    if step in (1, 2, 10, 60):
        moving_mean, moving_variance = (weight[0] for weight in layer.get_weights()[2:])
        print(f"    batch {step:2d}: mean {moving_mean:.4f}, variance {moving_variance:.4f}")
alone = np.asarray(layer(x[:1], training=False))
print(f"one value, {x[0, 0]:.0f}, with these and without its batch: {alone.item():.4f}")

# %% In a network: the same eight convolutions with and without it
(x_train, y_train), (x_test, y_test) = digits.load_data()
x_train, x_test = x_train.astype("float32") / 255, x_test.astype("float32") / 255
if run.quick:
    x_train, y_train = x_train[:192], y_train[:192]


def network(normalize):
    set_random_seed(run.seed)
    model = Sequential([Input(shape=(8, 8, 1))])
    for number in range(1, 9):
        model.add(Conv2D(16, (3, 3), padding="same", use_bias=not normalize, name=f"conv_{number}"))
        if normalize:
            model.add(BatchNormalization(momentum=0.9))  # few steps: shorter averages than the usual 0.99
        model.add(ReLU())
    model.add(MaxPooling2D((2, 2)))
    model.add(Flatten())
    model.add(Dense(10, activation="softmax"))
    return model


rates = (0.003, 0.01, 0.03, 0.1)
histories, norms, accuracies = {}, {}, {}
for normalize in (False, True):
    for rate in rates:
        name = f"{'with' if normalize else 'without'}, rate {rate:g}"
        model = network(normalize)
        norms[name] = study.GradientNorms(every=1 if run.quick else 10)
        model.compile(optimizer=SGD(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        histories[name] = model.fit(
            x_train, y_train, epochs=run.epochs, validation_data=(x_test, y_test), callbacks=[norms[name]], verbose=0
        ).history
        accuracies[name] = histories[name]["val_accuracy"][-1]

print(f"\ntest accuracy after {run.epochs} epochs of gradient descent, eight convolutions (guessing: about 0.10)")
print("    learning rate   without   with batch normalization")
for rate in rates:
    print(f"    {rate:13g}   {accuracies[f'without, rate {rate:g}']:7.4f}   {accuracies[f'with, rate {rate:g}']:.4f}")

_, axes = plt.subplots(1, 2, figsize=(11, 4))
for number, (name, history) in enumerate(histories.items()):
    dash = "-o" if name.startswith("without") else "--s"
    epochs = range(1, len(history["loss"]) + 1)
    for axis, metric in zip(axes, ("loss", "val_accuracy")):
        axis.plot(epochs, history[metric], dash, color=f"C{number % len(rates)}", label=name)
        axis.set(title={"loss": "training loss", "val_accuracy": "test accuracy"}[metric], xticks=epochs, xlabel="epoch")
axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
run.save("learning_curves")

# %% Why: every gradient has a layer's input as a factor, and without it those shrink from layer to layer
print("\nnorm of the gradient at step 0, learning rate 0.1:")
print("                        first convolution   last convolution")
for kind in ("without", "with"):
    recorded = norms[f"{kind}, rate 0.1"]
    print(f"    {kind:15}     {recorded.norms['conv_1/kernel'][0]:17.6f}   {recorded.norms['conv_8/kernel'][0]:16.6f}")
    kernels = [f"conv_{number}/kernel" for number in (1, 4, 8)]
    title = f"{kind} batch normalization, rate 0.1"
    run.save(f"gradients_{kind}", study.gradient_norms(recorded, kernels, title=title, style=run.style))

# %% And what the last ReLU is given: with it, values about zero of one size, in every channel
_, axes = plt.subplots(1, 2, figsize=(11, 3.6))
print("\nwhat the last ReLU gets for the test images, before training: mean and standard deviation")
for axis, (normalize, kind) in zip(axes, ((False, "without"), (True, "with"))):
    model = network(normalize)
    if normalize:  # its running averages know nothing yet; one epoch that learns nothing fills them
        for layer in model.layers:
            layer.momentum = 0.0
        model.compile(optimizer=SGD(0.0), loss="sparse_categorical_crossentropy")
        model.fit(x_train, y_train, batch_size=len(x_train), verbose=0)
    before_relu = model.layers[-5].name
    values = np.stack([study.layer_outputs(model, image, [before_relu])[before_relu] for image in x_test[:20]])
    print(f"    {kind:15} {values.mean():9.5f}   {values.std():8.5f}")
    axis.hist(values.ravel(), bins=60)
    axis.set(title=f"{kind} batch normalization", xlabel="value before the last ReLU", ylabel="how often")
run.save("activations")

# %% In one line
best = max(accuracies, key=accuracies.get)
print(f"\nbest test accuracy: {accuracies[best]:.4f} ({best})")

# %% [markdown]
# ## Exercises
#
# Write each answer in place of `...`, then run its cell and the one after it: that says whether the answer is right, and if
# not, what may be wrong. Solutions are at the very end.


# %% Exercise 1: batch normalization of images (N, H, W, C) in training, with gamma = 1 and beta = 0
def normalize(x, epsilon):
    return ...


# %%
check_1(normalize)


# %% Exercise 2: the running mean after so many batches, all with the same mean, from 0 on
def running_mean(batches, momentum, mean):
    return ...


# %%
check_2(running_mean)


# %% Exercise 3: after training, a convolution and the normalization behind it are one convolution. With which kernel and bias?
def folded(kernel, gamma, beta, mean, variance, epsilon):
    """`kernel` (KH, KW, C_in, C_out), of a convolution without bias; the others (C_out,). Returns (kernel, bias)."""
    return ...


# %%
check_3(folded)

# %% [markdown]
# <details><summary>Solutions</summary>
#
# ```python
# def normalize(x, epsilon):
#     return (x - x.mean(axis=(0, 1, 2))) / np.sqrt(x.var(axis=(0, 1, 2)) + epsilon)
# ```
#
# ```python
# def running_mean(batches, momentum, mean):
#     return mean * (1 - momentum**batches)
# ```
#
# ```python
# def folded(kernel, gamma, beta, mean, variance, epsilon):
#     scale = gamma / np.sqrt(variance + epsilon)
#     return kernel * scale, beta - mean * scale
# ```
#
# </details>
