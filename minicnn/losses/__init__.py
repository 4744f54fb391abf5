"""Losses: what training makes smaller, each with its gradient beneath it.

Three ways in:

* `loss(y_true, y_pred, sample_weight=None)`, as in Keras: reduced over the batch;
* `loss.call(y_true, y_pred)`, and the functions (`mean_squared_error(y_true, y_pred)`): one
  loss a row;
* `loss.forward(...)` and `loss.backward(saved)`: what a training step calls.

Sample weights, the reduction's division and ignored labels are one array of weights, one a
row, which is made once a step:

    loss = sum over m of weights[m] * losses[m];  dy_pred[m] = weights[m] * d losses[m] / d y_pred[m]
"""

from __future__ import annotations

from typing import Any

from minicnn import registry, serialization
from minicnn.losses.base import Loss, LossFunctionWrapper
from minicnn.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from minicnn.losses.ctc import CTC, ctc
from minicnn.losses.focal import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    binary_focal_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
)
from minicnn.losses.hinge import CategoricalHinge, Hinge, SquaredHinge, categorical_hinge, hinge, squared_hinge
from minicnn.losses.regression import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)
from minicnn.losses.similarity import (
    Circle,
    CosineSimilarity,
    Dice,
    KLDivergence,
    Tversky,
    circle,
    cosine_similarity,
    dice,
    kl_divergence,
    tversky,
)
from minicnn.losses.targets import Shape, check_labels, target_kind


class Reduction:
    """The names of the reductions, as older programs have them."""

    AUTO = SUM_OVER_BATCH_SIZE = "sum_over_batch_size"
    NONE = "none"
    SUM = "sum"


__all__ = [
    "BCE",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CTC",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "CategoricalHinge",
    "Circle",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLD",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossFunctionWrapper",
    "MAE",
    "MAPE",
    "MSE",
    "MSLE",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "Reduction",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "bce",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "check_labels",
    "circle",
    "cosine_similarity",
    "ctc",
    "deserialize",
    "dice",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "kld",
    "kullback_leibler_divergence",
    "log_cosh",
    "logcosh",
    "mae",
    "mape",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "mse",
    "msle",
    "poisson",
    "resolve",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
]

# As `tf.keras.losses` also calls them.
mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kullback_leibler_divergence = kl_divergence
bce = BCE = binary_crossentropy
logcosh = log_cosh

CLASSES: dict[Any, type[Loss]] = {
    mean_squared_error: MeanSquaredError,
    mean_absolute_error: MeanAbsoluteError,
    mean_absolute_percentage_error: MeanAbsolutePercentageError,
    mean_squared_logarithmic_error: MeanSquaredLogarithmicError,
    huber: Huber,
    log_cosh: LogCosh,
    poisson: Poisson,
    hinge: Hinge,
    squared_hinge: SquaredHinge,
    categorical_hinge: CategoricalHinge,
    kl_divergence: KLDivergence,
    cosine_similarity: CosineSimilarity,
    dice: Dice,
    tversky: Tversky,
    circle: Circle,
    ctc: CTC,
    categorical_crossentropy: CategoricalCrossentropy,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
    binary_crossentropy: BinaryCrossentropy,
    binary_focal_crossentropy: BinaryFocalCrossentropy,
    categorical_focal_crossentropy: CategoricalFocalCrossentropy,
    categorical_generalized_cross_entropy: CategoricalGeneralizedCrossEntropy,
}
"""Every loss function, and its class."""

_BY_KIND = {
    "binary": binary_crossentropy,
    "sparse": sparse_categorical_crossentropy,
    "categorical": categorical_crossentropy,
}

get, serialize, deserialize = serialization.functions_of("loss")


def resolve(identifier: Any, y_true_shape: Shape | None = None, y_pred_shape: Shape | None = None) -> Loss | None:
    """What `compile(loss=identifier)` trains with: always a `Loss`, or None.

    Args:
        identifier: as for `get`; a list of one, as older programs pass it; or "crossentropy" ("ce"),
            which the shapes decide.
        y_true_shape, y_pred_shape: of a batch.
    """
    if isinstance(identifier, (list, tuple)) and len(identifier) == 1:
        identifier = identifier[0]
    by_shape = isinstance(identifier, str) and identifier.lower() in ("crossentropy", "ce")
    if by_shape and y_true_shape and y_pred_shape:
        loss = _BY_KIND[target_kind(y_true_shape, y_pred_shape)]
    else:
        loss = get(identifier)
    if loss is None or isinstance(loss, Loss):
        return loss
    name = identifier if isinstance(identifier, str) else getattr(loss, "__name__", registry.snake_case(type(loss).__name__))
    return CLASSES[loss](name=name) if loss in CLASSES else LossFunctionWrapper(loss, name=name)
