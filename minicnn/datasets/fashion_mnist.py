"""Fashion-MNIST: 70,000 pictures of clothes, 28x28 grey pixels, 10 classes.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms", 2017, arXiv:1708.07747. MIT licence.
"""

from __future__ import annotations

from minicnn.datasets._idx import FILES, read_idx_folder
from minicnn.datasets._store import Arrays, Download, Layout, Source, read

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

_ADDRESS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_SIZES_AND_HASHES = (  # in the order of FILES
    (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)

SOURCE = Source(
    name="fashion_mnist",
    layouts=(
        Layout("fashion-mnist", FILES, read_idx_folder),
        Layout("fashion_mnist", FILES, read_idx_folder),
        Layout("FashionMNIST/raw", FILES, read_idx_folder),  # torchvision's place
    ),
    downloads=tuple(
        Download(_ADDRESS + name, sha256, size, f"fashion-mnist/{name}")
        for name, (size, sha256) in zip(FILES, _SIZES_AND_HASHES)
    ),
    homepage="https://github.com/zalandoresearch/fashion-mnist",
)


def load_data() -> Arrays:
    """Fashion-MNIST, as Keras returns it.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: uint8 images of shape (60000, 28, 28) and (10000, 28, 28),
        uint8 labels of shape (60000,) and (10000,), whose names are `CLASS_NAMES`.

    Raises:
        DatasetUnavailableError: if the files are neither found nor to be downloaded.
        ValueError: if what is found is damaged.
    """
    return read(SOURCE)
