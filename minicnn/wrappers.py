"""A model as an estimator of scikit-learn's: for pipelines, cross-validation and searches over parameters.

    estimator = SKLearnClassifier(make_model, model_kwargs={"filters": 32}, fit_kwargs={"epochs": 5, "verbose": 0})
    cross_val_score(estimator, images, labels)
    GridSearchCV(estimator, {"model_kwargs": [{"filters": 16}, {"filters": 32}]}).fit(images, labels)

The names are Keras's (`keras.wrappers`), whose estimators take rows of features; these take images as well.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from minicnn.models import Model, clone_model

__all__ = ["SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer"]


class _Estimator(BaseEstimator):
    """What the three have in common; its arguments are in the docstring of `SKLearnRegressor`."""

    _several_targets = False

    def __init__(
        self,
        model: Model | Callable[..., Model],
        warm_start: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.warm_start = warm_start
        self.model_kwargs = model_kwargs
        self.fit_kwargs = fit_kwargs

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Any:
        """Train, on arrays (samples, ...) and targets; `kwargs` for `Model.fit`, before `fit_kwargs`.

        Raises:
            RuntimeError: for a model that is not compiled.
            ValueError: for data that scikit-learn would not take, either.
        """
        X, y = validate_data(self, X, y, allow_nd=True, multi_output=self._several_targets)
        y = self._learn_targets(y)
        model = self._model_for(X, y)
        if not model.compiled or not model.loss or not model.optimizer:
            raise RuntimeError("Given model needs to be compiled, and have a loss and an optimizer.")
        self.history_ = model.fit(X, y, **dict(self.fit_kwargs or {}) | kwargs)
        self.model_ = model
        return self

    def _model_for(self, X: Any, y: Any) -> Model:
        if self.warm_start and hasattr(self, "model_"):
            return self.model_
        if isinstance(self.model, Model):
            return self.model if self.warm_start else clone_model(self.model)
        return self.model(X=X, y=y, **dict(self.model_kwargs or {}))

    def _outputs(self, X: Any) -> np.ndarray:
        """What the trained model computes for checked data."""
        check_is_fitted(self, "model_")
        X = validate_data(self, X, reset=False, allow_nd=True)
        verbose = dict(self.fit_kwargs or {}).get("verbose", "auto")  # who trains silently predicts silently
        return np.asarray(self.model_.predict(X, verbose=verbose))

    def _learn_targets(self, y: Any) -> Any:
        """Targets as a model is trained on them: columns."""
        type_of_target(y, raise_unknown=True)
        self._is_row = y.ndim == 1
        return y[:, None] if self._is_row else y

    def __sklearn_clone__(self) -> Any:
        model = copy.deepcopy(self.model) if isinstance(self.model, Model) else self.model
        return type(self)(model, self.warm_start, copy.deepcopy(self.model_kwargs), copy.deepcopy(self.fit_kwargs))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = self._several_targets
        return tags


class SKLearnClassifier(ClassifierMixin, _Estimator):
    """A classifier: labels of any kind, numbers or names, one-hot for the model; its last layer has a unit for each class.

    Args:
        model, warm_start, model_kwargs, fit_kwargs: see `SKLearnRegressor`. The loss is that of one-hot targets, such as
            "categorical_crossentropy".

    Attributes:
        classes_: the labels, sorted.

    Examples:
        >>> import numpy as np, minicnn
        >>> def make(X, y, units=8):
        ...     layers = [minicnn.Input(X.shape[1:]), minicnn.layers.Dense(y.shape[1], activation="softmax")]
        ...     model = minicnn.Sequential(layers)
        ...     model.compile("adam", "categorical_crossentropy")
        ...     return model
        >>> X, y = np.eye(4, dtype="float32"), np.array(["cat", "dog", "cat", "dog"])
        >>> classifier = SKLearnClassifier(make, fit_kwargs={"epochs": 500, "verbose": 0}).fit(X, y)
        >>> classifier.predict(X).tolist()
        ['cat', 'dog', 'cat', 'dog']
    """

    def decision_function(self, X: Any) -> np.ndarray:
        """The model's outputs, (samples, classes); of two classes, by how much the second one's is above the first one's."""
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict_proba(self, X: Any) -> np.ndarray:
        """The model's outputs, (samples, classes): probabilities, if its last activation makes them so."""
        return self._outputs(X)

    def predict(self, X: Any) -> np.ndarray:
        """The label of the largest output, for each sample."""
        outputs = self._outputs(X)
        return self.classes_[np.argmax(outputs, axis=1)]

    def _learn_targets(self, y: Any) -> Any:
        kind = type_of_target(y, raise_unknown=True)
        if kind not in ("binary", "multiclass"):
            raise ValueError(f"Only binary and multiclass target types are supported. Target type: {kind}")
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) == 1:
            raise ValueError(f"Classifier can't train when only one class is present. Received: {self.classes_[0]!r} alone")
        return np.eye(len(self.classes_), dtype="float32")[numbers.reshape(-1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags


class SKLearnRegressor(RegressorMixin, _Estimator):
    """A regressor, of one target or of several.

    Args:
        model: a compiled model, which each `fit` clones; or a function of `X`, `y` and `model_kwargs` that returns one. What
            it is given are the data as `fit` trains on them: targets are columns.
        warm_start: whether a second `fit` goes on with the first one's model; a model that was given is then not cloned.
        model_kwargs, fit_kwargs: for the function, and for `Model.fit`.

    Attributes:
        model_: the trained model. history_: what its `fit` returned. n_features_in_: the extent of X's second axis.
    """

    _several_targets = True

    def predict(self, X: Any) -> np.ndarray:
        """The model's outputs: (samples,) where it was fitted to such targets, else (samples, targets); float64, as
        scikit-learn's own."""
        y = self._outputs(X).astype("float64")
        return y[:, 0] if self._is_row and y.ndim == 2 and y.shape[1] == 1 else y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class SKLearnTransformer(TransformerMixin, _Estimator):
    """A transformer: `transform` gives a model's outputs, such as an image's embedding, to the estimators behind it.

    Args:
        model, warm_start, model_kwargs, fit_kwargs: see `SKLearnRegressor`.
    """

    _several_targets = True

    def transform(self, X: Any) -> np.ndarray:
        """The model's outputs."""
        return self._outputs(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
