"""Models as estimators of scikit-learn's, in what scikit-learn does with estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import minicnn
from minicnn.layers import Conv2D, Dense, Flatten, Input
from minicnn.wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer

QUIET = {"epochs": 3, "verbose": 0}
NAMES = np.array(["bar", "column", "nothing"])


def pictures(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Bright rows, bright columns, and neither; labels by name."""
    random = np.random.default_rng(0)
    x = random.normal(size=(count, 6, 6, 1)).astype("float32") / 4
    kinds = random.integers(0, 3, count)
    for image, kind in zip(x, kinds):
        place = random.integers(6)
        if kind == 0:
            image[place] += 1
        elif kind == 1:
            image[:, place] += 1
    return x, NAMES[kinds]


class Network:
    """A function of data that returns a model, of which scikit-learn makes a test's name: without its place in memory."""

    def __call__(self, X: Any, y: Any, filters: int = 8, loss: str = "categorical_crossentropy") -> Any:
        minicnn.set_random_seed(3)  # the same model at each call, as some of scikit-learn's checks want
        head = Dense(y.shape[1], activation="softmax" if "cross" in loss else None)
        parts = [Conv2D(filters, 3, activation="relu"), Flatten()] if X.ndim == 4 else []
        model = minicnn.Sequential([Input(X.shape[1:]), *parts, head])
        model.compile(minicnn.optimizers.Adam(0.02), loss)
        return model

    def __repr__(self) -> str:
        return "network"


network = Network()


def test_a_classifier_of_images_in_cross_validation_and_a_search() -> None:
    minicnn.set_random_seed(1)
    x, labels = pictures()
    classifier = SKLearnClassifier(network, fit_kwargs={"epochs": 25, "verbose": 0})
    scores = cross_val_score(classifier, x, labels, cv=3)
    assert np.mean(scores) > 0.7
    predicted = cross_val_predict(classifier, x, labels, cv=3, method="predict_proba")
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)
    search = GridSearchCV(classifier, {"model_kwargs": [{"filters": 1}, {"filters": 8}]}, cv=2).fit(x, labels)
    assert search.best_params_ == {"model_kwargs": {"filters": 8}}
    fitted = search.best_estimator_
    assert fitted.classes_.tolist() == NAMES.tolist()
    assert set(fitted.predict(x)) <= set(NAMES)
    np.testing.assert_array_equal(fitted.classes_[fitted.decision_function(x).argmax(axis=1)], fitted.predict(x))
    assert fitted.score(x, labels) > 0.8


def test_a_pipeline_with_a_regressor_and_one_with_a_transformer() -> None:
    minicnn.set_random_seed(2)
    random = np.random.default_rng(1)
    x = random.normal(size=(80, 4))
    y = x @ [1.0, -2.0, 0.5, 3.0]
    regressor = SKLearnRegressor(network, model_kwargs={"loss": "mse"}, fit_kwargs={"epochs": 60, "verbose": 0})
    pipe = make_pipeline(StandardScaler(), regressor).fit(x, y)
    assert pipe.predict(x).shape == (80,)
    assert pipe.score(x, y) > 0.9
    both = clone(regressor).fit(x, np.stack([y, -y], axis=1))
    assert both.predict(x).shape == (80, 2)
    transformer = SKLearnTransformer(network, model_kwargs={"loss": "mse"}, fit_kwargs=QUIET)
    pipe = make_pipeline(transformer, LogisticRegression()).fit(x, y > 0)
    assert pipe[0].transform(x).shape == (80, 1)


def test_a_model_is_cloned_unless_training_goes_on() -> None:
    x, labels = pictures(12)
    given = network(x, np.zeros((12, 3)))
    before = given.get_weights()
    fitted = SKLearnClassifier(given, fit_kwargs=QUIET).fit(x, labels)
    for one, same in zip(before, given.get_weights()):
        np.testing.assert_array_equal(one, same)
    assert fitted.model_ is not given
    warm = SKLearnClassifier(given, warm_start=True, fit_kwargs={"verbose": 0}).fit(x, labels, epochs=2)
    assert warm.model_ is given
    assert len(warm.history_.history["loss"]) == 2
    assert int(warm.fit(x, labels).model_.optimizer.iterations) == 3
    again = clone(warm)
    assert again.model is not given
    assert again.get_params()["fit_kwargs"] == {"verbose": 0}


@pytest.mark.parametrize(
    ("model", "labels", "error", "said"),
    [
        (network, np.zeros(5), ValueError, "only one class is present"),
        (network, np.linspace(0, 1, 5), ValueError, "Target type: continuous"),
        (lambda X, y: minicnn.Sequential([Dense(2)]), np.array([0, 1, 0, 1, 1]), RuntimeError, "needs to be compiled"),
    ],
)
def test_what_is_refused(model: Any, labels: np.ndarray, error: type[Exception], said: str) -> None:
    classifier = SKLearnClassifier(model)
    with pytest.raises(error, match=said):
        classifier.fit(np.ones((5, 2)), labels)
    with pytest.raises(NotFittedError):
        classifier.predict(np.ones((5, 2)))


@parametrize_with_checks(
    [
        SKLearnClassifier(network, fit_kwargs=QUIET),
        SKLearnRegressor(network, model_kwargs={"loss": "mse"}, fit_kwargs=QUIET),
        SKLearnTransformer(network, model_kwargs={"loss": "mse"}, fit_kwargs=QUIET),
    ]
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)
