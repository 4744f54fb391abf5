"""Lookups of strings and whole numbers, texts as numbers, and `tf.strings`, against Keras's and TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import minicnn
from minicnn import layers
from minicnn.data import Dataset

WORDS = np.array([["b", "c", "x"], ["c", "a", "c"], ["y", "b", "a"]])
NUMBERS = np.array([[40, 7, 99], [7, 5, 7], [98, 40, 5]])
ALPHABET = ["a", "b", "c"]


def texts(value: Any) -> Any:
    """Keras's bytes as text."""
    array = np.asarray(value)
    return np.char.decode(array.astype("S"), "utf-8") if array.dtype == object else array


def check(make: Callable[[Any], Any], inputs: Any) -> None:
    """A layer and one from its config compute what Keras's does."""
    ours, theirs = make(layers), make(keras.layers)
    expected = texts(theirs(inputs))
    again = type(ours).from_config(ours.get_config())
    for layer in (ours, again):
        found = np.asarray(layer(inputs))
        np.testing.assert_allclose(found, expected, rtol=1e-6) if expected.dtype.kind == "f" else np.testing.assert_array_equal(
            found, expected
        )
        assert layer.get_vocabulary() == theirs.get_vocabulary()
        assert layer.get_vocabulary(include_special_tokens=False) == theirs.get_vocabulary(include_special_tokens=False)
        assert layer.vocabulary_size() == theirs.vocabulary_size()
    assert ours.compute_output_shape(inputs.shape) == theirs.compute_output_shape(inputs.shape) == expected.shape


@pytest.mark.parametrize(
    ("named", "inputs"),
    [
        ({"vocabulary": ALPHABET}, WORDS),
        ({"vocabulary": ["", "[UNK]", *ALPHABET], "mask_token": ""}, np.array(["b", "", "z"])),
        ({"vocabulary": ALPHABET, "num_oov_indices": 0}, np.array(["c", "a"])),
        ({"vocabulary": ALPHABET, "output_mode": "one_hot", "mask_token": "x"}, WORDS[:, :1]),
        ({"vocabulary": ALPHABET, "output_mode": "one_hot"}, WORDS[0]),
        ({"vocabulary": ALPHABET, "output_mode": "multi_hot"}, WORDS),
        ({"vocabulary": ALPHABET, "output_mode": "count", "max_tokens": 7, "pad_to_max_tokens": True}, WORDS),
        ({"vocabulary": ALPHABET, "output_mode": "tf_idf", "idf_weights": [0.25, 0.75, 0.5]}, WORDS),
        ({"vocabulary": ["[UNK]", *ALPHABET], "output_mode": "tf_idf", "idf_weights": [2.0, 0.25, 0.75, 0.5]}, WORDS),
        ({"vocabulary": ALPHABET, "invert": True}, np.array([[3, 0, 1], [9, 2, 2]])),
        ({"vocabulary": ALPHABET, "invert": True, "mask_token": "", "oov_token": "?"}, np.array([4, 0, 1, 2])),
    ],
)
def test_strings(named: dict[str, Any], inputs: np.ndarray) -> None:
    check(lambda module: module.StringLookup(**named), inputs)


@pytest.mark.parametrize(
    ("named", "inputs"),
    [
        ({"vocabulary": [5, 7, 40]}, NUMBERS),
        ({"vocabulary": [5, 7, 40], "num_oov_indices": 3, "mask_token": 99}, NUMBERS),
        ({"vocabulary": [5, 7, 40], "output_mode": "count", "num_oov_indices": 2}, NUMBERS),
        ({"vocabulary": [5, 7, 40], "invert": True, "oov_token": -4}, np.array([0, 3, 2, 1])),
    ],
)
def test_whole_numbers(named: dict[str, Any], inputs: np.ndarray) -> None:
    check(lambda module: module.IntegerLookup(**named), inputs)


@pytest.mark.parametrize("mode", ["int", "multi_hot", "tf_idf"])
@pytest.mark.parametrize("most", [None, 4])
def test_a_vocabulary_of_data(mode: str, most: int | None) -> None:
    for name, data in (("StringLookup", WORDS), ("IntegerLookup", NUMBERS)):

        def make(module: Any, name: str = name, data: np.ndarray = data) -> Any:
            layer = getattr(module, name)(output_mode=mode, max_tokens=most)
            layer.adapt(data)
            return layer

        check(make, data)


def test_a_vocabulary_of_batches() -> None:
    layer, theirs = layers.StringLookup(), keras.layers.StringLookup()
    layer.adapt(Dataset.from_tensor_slices(WORDS).batch(2), steps=1)
    theirs.adapt(tf.data.Dataset.from_tensor_slices(WORDS).batch(2), steps=1)
    assert layer.get_vocabulary() == theirs.get_vocabulary()


@pytest.mark.parametrize(
    ("named", "inputs"),
    [
        ({"num_tokens": 4}, np.array([[0, 1], [3, 3], [1, 2]])),
        ({"num_tokens": 4, "output_mode": "count"}, np.array([[0, 1], [3, 3], [1, 2]])),
        ({"num_tokens": 4, "output_mode": "one_hot"}, np.array([3, 0, 2])),
        ({"num_tokens": 4, "output_mode": "one_hot"}, np.array([[3], [0]])),
        ({"num_tokens": 4, "output_mode": "one_hot"}, np.array([[3, 1], [0, 2]])),
    ],
)
def test_categories(named: dict[str, Any], inputs: np.ndarray) -> None:
    ours, theirs = layers.CategoryEncoding(**named), keras.layers.CategoryEncoding(**named)
    expected = np.asarray(theirs(inputs))
    np.testing.assert_array_equal(ours(inputs), expected)
    assert ours.compute_output_shape(inputs.shape) == expected.shape
    x = minicnn.Input(inputs.shape[1:], dtype="int32") if inputs.ndim > 1 else minicnn.Input(batch_shape=(None,), dtype="int32")
    np.testing.assert_array_equal(minicnn.Model(x, ours(x)).predict(inputs, verbose=0), expected)
    if ours.output_mode == "count":
        weights = np.array([[0.5, 2.0], [1.0, 3.0], [4.0, 0.25]])
        np.testing.assert_array_equal(ours(inputs, count_weights=weights), theirs(inputs, count_weights=weights))


TEXTS = np.array(["The cat, sat: on THE mat!", "a  dog's cat", "", "sat sat cat"])


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"output_sequence_length": 4, "max_tokens": 5},
        {"standardize": "lower", "split": "character"},
        {"standardize": None, "ngrams": 2},
        {"standardize": "strip_punctuation", "split": None},
        {"output_mode": "count", "ngrams": (2, 3)},
        {"output_mode": "tf_idf"},
        {"output_mode": "multi_hot", "max_tokens": 30, "pad_to_max_tokens": True},
    ],
)
def test_texts(named: dict[str, Any]) -> None:
    ours, theirs = layers.TextVectorization(**named), keras.layers.TextVectorization(**named)
    ours.adapt(TEXTS)
    theirs.adapt(TEXTS)
    given = np.array(["the mat sat", "sat on a zebra", "Cat!"])
    again = layers.TextVectorization.from_config(ours.get_config())
    for layer in (ours, again):
        assert layer.get_vocabulary() == theirs.get_vocabulary()
        assert layer.vocabulary_size() == theirs.vocabulary_size()
        np.testing.assert_allclose(layer(given), theirs(given), rtol=1e-6)
        np.testing.assert_allclose(layer(given[:, None]), theirs(given[:, None]), rtol=1e-6)
    assert ours.compute_output_shape((3,))[1] == theirs.compute_output_shape((3,))[1]


def test_texts_standardized_and_split_by_functions() -> None:
    """As image captioning does it: by `tf.strings`, on arrays of texts."""
    layer = layers.TextVectorization(
        standardize=lambda text: minicnn.strings.regex_replace(minicnn.strings.lower(text), "[<>]", ""),
        split=lambda text: [one.split("-") for one in text.tolist()],
        vocabulary=["start", "dog", "end"],
    )
    assert layer(["<Start>-dog-<end>", "cat"]).tolist() == [[2, 3, 4], [1, 0, 0]]
    assert layer("dog").tolist() == [3]


def test_characters_of_a_captcha_and_back() -> None:
    """The lookups of keras-io's "OCR model for reading captchas", in a data set."""
    names = ["2b827", "7d4wx"]
    characters = sorted(set("".join(names)))
    to_number = layers.StringLookup(vocabulary=list(characters), mask_token=None)
    to_character = layers.StringLookup(vocabulary=to_number.get_vocabulary(), mask_token=None, invert=True)
    dataset = Dataset.from_tensor_slices(names).map(
        lambda name: to_number(minicnn.strings.unicode_split(name, input_encoding="UTF-8"))
    )
    for numbers, name in zip(dataset.batch(2), [names]):
        assert numbers.shape == (2, 5)
        joined = minicnn.strings.reduce_join(to_character(numbers), axis=1).numpy()
        assert [one.decode("utf-8") for one in joined] == name


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("unicode_split", ("aé2",), {"input_encoding": "UTF-8"}),
    ("unicode_split", (["ab", "cd"], "UTF-8"), {}),
    ("bytes_split", ("ab",), {}),
    ("unicode_decode", ("aé", "UTF-8"), {}),
    ("unicode_encode", (np.array([[97, 233], [98, 99]], "int32"), "UTF-8"), {}),
    ("split", ("a b  c",), {}),
    ("split", ("a-b-c", "-"), {"maxsplit": 1}),
    ("join", ([["a", "b"], ["c", "d"]],), {"separator": "/"}),
    ("reduce_join", ([["a", "b"], ["c", "d"]],), {}),
    ("reduce_join", ([["a", "b"], ["c", "d"]],), {"axis": 0, "separator": "."}),
    ("reduce_join", ([["a", "b"], ["c", "d"]],), {"axis": -1, "keepdims": True}),
    ("lower", (["AbC"],), {}),
    ("upper", ("aBc",), {}),
    ("strip", ("  a b ",), {}),
    ("length", (["aé", "b"],), {}),
    ("length", ("aé",), {"unit": "UTF8_CHAR"}),
    ("substr", (["hello", "world"],), {"pos": 1, "len": 3}),
    ("substr", ("aébc",), {"pos": 1, "len": 2, "unit": "UTF8_CHAR"}),
    ("regex_replace", (["a1b22"], "[0-9]+", "#"), {}),
    ("regex_replace", ("a1b22", "[0-9]", ""), {"replace_global": False}),
    ("to_number", (["1.5", "-2"],), {}),
    ("to_number", ("12",), {"out_type": "int32"}),
    ("as_string", ([1, -20],), {}),
    ("as_string", ([1.5, 0.25],), {}),
]


@pytest.mark.parametrize(("name", "args", "named"), CALLS)
def test_strings_are_tensorflows(name: str, args: tuple[Any, ...], named: dict[str, Any]) -> None:
    theirs = {key: tf.as_dtype(value) if key == "out_type" else value for key, value in named.items()}
    expected = getattr(tf.strings, name)(*args, **theirs)
    expected = expected.to_tensor() if isinstance(expected, tf.RaggedTensor) else expected
    found = getattr(minicnn.strings, name)(*args, **named)
    assert found.shape == expected.shape
    assert np.array_equal(np.asarray(found.numpy(), expected.numpy().dtype if found.ndim else None), expected.numpy())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: layers.StringLookup(max_tokens=1), "`max_tokens` must be greater than 1"),
        (lambda: layers.StringLookup(pad_to_max_tokens=True), "must set `max_tokens`"),
        (lambda: layers.StringLookup(num_oov_indices=-1), "`num_oov_indices` must be greater"),
        (lambda: layers.StringLookup(num_oov_indices=2), "have one number, or none"),
        (lambda: layers.StringLookup(output_mode="rows"), "Unknown argument for `output_mode`: 'rows'"),
        (lambda: layers.StringLookup(invert=True, output_mode="count"), "must be `'int'` when `invert`"),
        (lambda: layers.StringLookup(vocabulary=ALPHABET, idf_weights=[1.0, 2.0, 3.0]), "should only be set if"),
        (lambda: layers.StringLookup(vocabulary=ALPHABET, output_mode="tf_idf"), "`idf_weights` must be set"),
        (lambda: layers.StringLookup(vocabulary=ALPHABET, output_mode="tf_idf", idf_weights=[1.0]), "1 weights, and 3 tokens"),
        (lambda: layers.StringLookup(vocabulary="words.txt"), "Received a string, 'words.txt'"),
        (lambda: layers.StringLookup(vocabulary=[]), "Cannot set an empty vocabulary"),
        (lambda: layers.StringLookup(vocabulary=["a", "b", "a"]), r"repeated terms are: \['a'\]"),
        (lambda: layers.StringLookup(vocabulary=["a", "m"], mask_token="m"), "reserved mask token .* 'm' at index 1"),
        (lambda: layers.StringLookup(vocabulary=["a", "[UNK]"], invert=True), "reserved OOV token"),
        (lambda: layers.StringLookup(vocabulary=ALPHABET, max_tokens=3), "vocabulary size is 4; `max_tokens` is 3"),
        (lambda: layers.StringLookup(vocabulary=ALPHABET).adapt(WORDS), "Cannot adapt layer"),
        (lambda: layers.StringLookup(vocabulary=ALPHABET, num_oov_indices=0)(["a", "q"]), r"found OOV values \['q'\]"),
        (lambda: layers.StringLookup(vocabulary=ALPHABET)(minicnn.Input((3,))), "where there are values"),
        (lambda: layers.CategoryEncoding(), "num_tokens must be set"),
        (lambda: layers.CategoryEncoding(0), "`num_tokens` must be >= 1"),
        (lambda: layers.CategoryEncoding(3, "int"), "Unknown arg for output_mode: int"),
        (lambda: layers.CategoryEncoding(3)([[1, 3]]), "numbers from 0 to 2 .* from 1 to 3"),
        (lambda: layers.CategoryEncoding(3)([[1]], count_weights=[[1.0]]), "`count_weights` is not used"),
        (lambda: layers.TextVectorization(standardize="upper"), "`standardize`: 'upper'"),
        (lambda: layers.TextVectorization(split="lines"), "`split`: 'lines'"),
        (lambda: layers.TextVectorization(ngrams="2"), "`ngrams` must be None"),
        (lambda: layers.TextVectorization(output_mode="count", output_sequence_length=3), "must not be set"),
        (lambda: layers.TextVectorization(vocabulary=["a"]).adapt(TEXTS), "Cannot adapt"),
        (lambda: layers.TextVectorization(vocabulary=["a"])(WORDS), r"shape \(3, 3\)"),
        (lambda: layers.TextVectorization(vocabulary=["a"])(minicnn.Input((1,))), "which no graph has"),
        (lambda: minicnn.strings.split(["a b", "c"]), "no ragged tensors"),
    ],
)
def test_what_is_refused(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()
