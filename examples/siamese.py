"""A Siamese network: not which digit this is, but whether two are the same.

One network turns each of two pictures into a few numbers, with the same weights; their distance says how alike the pictures
are. Trained with the contrastive loss of Hadsell, Chopra, LeCun 2006, "Dimensionality Reduction by Learning an Invariant
Mapping". Two digits are kept from training, and told apart all the same.

    python examples/siamese.py            # scikit-learn's digits, no download
    python examples/siamese.py --quick
"""

# %% Imports
import matplotlib.pyplot as plt
import numpy as np
from _common import start
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from minicnn import ops
from minicnn.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from minicnn.models import Model, Sequential
from minicnn.utils import set_random_seed

run = start("siamese", __doc__, epochs=15)
set_random_seed(run.seed)
MARGIN, UNSEEN = 1.0, (8, 9)

# %% Pairs: half of them of one digit
digits = load_digits()
pictures, labels = (digits.images / 16).astype("float32")[..., None], digits.target
rng = np.random.default_rng(run.seed)


def pairs(among, count):
    """([first, second], whether they are of one digit)."""
    first = rng.choice(among, count)
    same = rng.integers(0, 2, count)
    second = [rng.choice(among[(labels[among] == labels[i]) == bool(s)]) for i, s in zip(first, same)]
    return [pictures[first], pictures[second]], same.astype("float32")


known = np.flatnonzero(~np.isin(labels, UNSEEN))
train, test = np.split(rng.permutation(known), [len(known) * 4 // 5])
x_train, y_train = pairs(train, 400 if run.quick else 6000)

# %% The model
embed = Sequential(
    [
        Input(shape=(8, 8, 1)),
        Conv2D(32, 3, padding="same", activation="relu"),
        MaxPooling2D(2),
        Conv2D(64, 3, padding="same", activation="relu"),
        Flatten(),
        Dense(16),
    ],
    name="embed",
)
one, other = Input(shape=(8, 8, 1)), Input(shape=(8, 8, 1))
square = ops.sum(ops.square(embed(one) - embed(other)), axis=1, keepdims=True)
model = Model([one, other], ops.sqrt(ops.maximum(square, 1e-7)))


def contrastive(same, distance):
    """Pairs of one digit are drawn together, others pushed apart until the margin is between them."""
    return ops.mean(same * ops.square(distance) + (1 - same) * ops.square(ops.maximum(MARGIN - distance, 0)))


model.compile(optimizer="adam", loss=contrastive)
model.fit(x_train, y_train[:, None], batch_size=64, epochs=run.epochs, verbose=2)

# %% How well they are told apart
for name, among in (("digits seen in training", test), (f"the digits {UNSEEN}", np.flatnonzero(np.isin(labels, UNSEEN)))):
    x, same = pairs(among, 1000)
    print(f"{name}: area under the curve {roc_auc_score(same, -model.predict(x, verbose=0)[:, 0]):.3f}")

# %% Where the digits lie: the two directions of largest variance
codes = embed.predict(pictures, verbose=0)
centred = codes - codes.mean(axis=0)
plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
_, axis = plt.subplots(figsize=(6, 5))
for digit in range(10):
    of_digit = plane[labels == digit]
    axis.scatter(*of_digit.T, s=6, label=f"{digit}{' (unseen)' if digit in UNSEEN else ''}", color=plt.get_cmap("tab10")(digit))
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=3, frameon=False)
axis.set(xticks=[], yticks=[], title="where the network puts the digits")
run.save("codes")
