"""CIFAR-100: 60,000 colour photographs of 32x32 pixels in 100 classes, grouped into 20.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

from pathlib import Path

from minicnn.datasets import _cifar
from minicnn.datasets._store import Arrays, Download, Layout, Source, read

# fmt: off
CLASS_NAMES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
)
COARSE_CLASS_NAMES = (
    "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables",
    "household_electrical_devices", "household_furniture", "insects", "large_carnivores",
    "large_man-made_outdoor_things", "large_natural_outdoor_scenes", "large_omnivores_and_herbivores",
    "medium_mammals", "non-insect_invertebrates", "people", "reptiles", "small_mammals", "trees",
    "vehicles_1", "vehicles_2",
)
# fmt: on

_LABELS = ("coarse_labels", "fine_labels")  # in the order of the binary layout's bytes
_CLASSES = (len(COARSE_CLASS_NAMES), len(CLASS_NAMES))


def _read_pickles(path: Path) -> Arrays:
    train, test = (_cifar.read_pickles(path, (name,), _LABELS, _CLASSES) for name in ("train", "test"))
    return train, test


def _read_binary(path: Path) -> Arrays:
    train, test = (_cifar.read_binary(path, (name,), _CLASSES) for name in ("train.bin", "test.bin"))
    return train, test


SOURCE = Source(
    name="cifar100",
    layouts=(
        Layout("cifar-100-python", ("train", "test"), _read_pickles),
        Layout("cifar-100-python-target/cifar-100-python", ("train", "test"), _read_pickles),  # Keras 3's place
        Layout("cifar-100-binary", ("train.bin", "test.bin"), _read_binary),
        Layout("cifar-100-binary.tar.gz", (), _read_binary),
        Layout("cifar-100-python.tar.gz", (), _read_pickles),
    ),
    downloads=(
        Download(
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            168_513_733,
            "cifar-100-binary.tar.gz",
        ),
    ),
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
)


def load_data(label_mode: str = "fine") -> Arrays:
    """CIFAR-100, as Keras returns it.

    Args:
        label_mode: "fine" for the 100 classes of `CLASS_NAMES`, "coarse" for the 20 of `COARSE_CLASS_NAMES`.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: uint8 images of shape (50000, 32, 32, 3) and (10000, 32, 32, 3),
        labels of shape (50000, 1) and (10000, 1), in int64 as Keras has them.

    Raises:
        DatasetUnavailableError: if the files are neither found nor to be downloaded.
        ValueError: for another `label_mode`, or if what is found is damaged.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(f'`label_mode` must be one of `"fine"`, `"coarse"`. Received: label_mode={label_mode}.')
    column = slice(0, 1) if label_mode == "coarse" else slice(1, 2)
    (x_train, y_train), (x_test, y_test) = read(SOURCE)
    return (x_train, y_train[:, column].astype("int64")), (x_test, y_test[:, column].astype("int64"))
