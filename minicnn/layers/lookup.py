"""Labels and characters as whole numbers, and back: what a network that reads captchas or handwriting is trained on.

A vocabulary gives each of its tokens a place: first the mask's (if there is one, and the output is whole numbers), then those
of what is not in the vocabulary, then the tokens in order. Strings are looked up where there are values: in `Dataset.map`, or
before a model; a graph has numbers alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from minicnn import backends, config, registry
from minicnn.layers.arguments import reject_unsupported
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import Shape, is_symbolic
from minicnn.layers.tracing import MISSING
from minicnn.tensor import as_tensor

__all__ = ["CategoryEncoding", "IntegerLookup", "StringLookup", "batches_of", "encoded"]

_MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")
_OLDER = {"binary": "multi_hot", "tf-idf": "tf_idf"}


def encoded(numbers: np.ndarray, depth: int, mode: str, weights: Any = None) -> np.ndarray:
    """Rows of `depth` numbers for whole numbers: a one at each ("one_hot"), or for all of the last axis together a one at each
    that is there ("multi_hot"), or how often it is ("count"). What is below 0 counts for nothing.

    Args:
        weights: what each counts, for "count"; by default 1.
    """
    if _is_each_a_row(numbers.shape, mode):
        numbers = numbers[..., None]
    elif numbers.ndim == 0:
        numbers = numbers[None]
    samples = numbers.reshape(-1, numbers.shape[-1])
    amounts = np.ones(samples.shape) if weights is None else np.asarray(weights, "float64").reshape(samples.shape)
    rows = np.zeros((len(samples), depth), config.floatx())
    places, columns = np.nonzero(samples >= 0)
    np.add.at(rows, (places, samples[places, columns]), amounts[places, columns])
    if mode != "count":
        rows = np.minimum(rows, 1)
    return rows.reshape(*numbers.shape[:-1], depth)


def encoded_shape(shape: Shape, depth: int, mode: str) -> Shape:
    """Of `encoded`, for numbers of this shape."""
    return (*(shape if _is_each_a_row(shape, mode) else shape[:-1]), depth)


def _is_each_a_row(shape: Shape, mode: str) -> bool:
    """Whether each number gets a row, and not the last axis together one."""
    return mode == "one_hot" and (len(shape) < 2 or shape[-1] != 1)


def batches_of(data: Any, steps: int | None = None) -> Iterator[np.ndarray]:
    """What `adapt` is given, batch by batch: an array or a list of tokens is one; of a data set so many, or all."""
    if isinstance(data, (list, tuple, np.ndarray)):
        array = np.asarray(data)
        yield array[:, None] if array.ndim == 1 else array
        return
    for step, batch in enumerate(data):
        if steps is not None and step >= steps:
            return
        yield np.atleast_1d(np.asarray(batch[0] if isinstance(batch, tuple) else batch))


class _Lookup(Layer):
    """Base of the two: a vocabulary, and its numbers.

    Args:
        special: (max_tokens, num_oov_indices, mask_token, oov_token). vocabulary, idf_weights, invert, output_mode,
            pad_to_max_tokens: as the layers have them.
    """

    autocast = False
    _own_arguments: ClassVar[tuple[str, ...]] = (
        *("max_tokens", "num_oov_indices", "mask_token", "oov_token", "invert", "output_mode", "pad_to_max_tokens"),
    )

    def __init__(
        self,
        special: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        output_mode: str,
        pad_to_max_tokens: bool,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("vocabulary_size", None)  # of Keras's configs
        super().__init__(**kwargs)
        self.max_tokens, self.num_oov_indices, self.mask_token, self.oov_token = special
        self.invert, self.pad_to_max_tokens = invert, pad_to_max_tokens
        self.output_mode = _OLDER.get(output_mode, output_mode)
        self._check_arguments(idf_weights)
        self._set_tokens([])
        self._idf: np.ndarray | None = None
        self._is_given = vocabulary is not None
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)
        self.built = True

    def _check_arguments(self, idf_weights: Any) -> None:
        if self.max_tokens is not None and self.max_tokens <= 1:
            raise ValueError(f"If set, `max_tokens` must be greater than 1. Received: max_tokens={self.max_tokens}")
        if self.pad_to_max_tokens and self.max_tokens is None:
            raise ValueError("If pad_to_max_tokens is True, must set `max_tokens`. Received: max_tokens=None")
        if self.num_oov_indices < 0:
            raise ValueError(
                f"`num_oov_indices` must be greater than or equal to 0. Received: num_oov_indices={self.num_oov_indices}"
            )
        if self.output_mode not in _MODES:
            raise ValueError(
                f"Unknown argument for `output_mode`: {self.output_mode!r}. Layer '{self.name}' takes {', '.join(_MODES)}."
            )
        if self.invert and self.output_mode != "int":
            raise ValueError(f"`output_mode` must be `'int'` when `invert` is true. Received: output_mode={self.output_mode}")
        if idf_weights is not None and self.output_mode != "tf_idf":
            raise ValueError(
                "`idf_weights` should only be set if `output_mode` is `'tf_idf'`. "
                f"Received: idf_weights={idf_weights} and output_mode={self.output_mode}"
            )

    # --- the vocabulary -----------------------------------------------------------------

    @property
    def _mask_places(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _special(self) -> list[Any]:
        return [self.mask_token] * self._mask_places + [self.oov_token] * self.num_oov_indices

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The tokens in the order of their numbers, which begin with those of the mask and of unknown tokens."""
        return [*self._special, *self._tokens] if include_special_tokens else list(self._tokens)

    def vocabulary_size(self) -> int:
        """How many numbers there are."""
        return len(self._special) + len(self._tokens)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the tokens; the special ones may stand before them, as `get_vocabulary` gives them.

        Args:
            vocabulary: a list, or an array. Not the name of a file: no model may have files read that it names.
            idf_weights: the inverse document frequency of each, for "tf_idf".

        Raises:
            ValueError: for no tokens, too many or repeated ones, special ones elsewhere, weights of another number.
        """
        if isinstance(vocabulary, str):
            raise ValueError(
                f"`vocabulary` must be a list or an array of tokens. Received a string, {vocabulary!r}: read a file's lines "
                "by `open(path).read().splitlines()`."
            )
        if self.output_mode == "tf_idf" and idf_weights is None:
            raise ValueError("`idf_weights` must be set if output_mode is 'tf_idf'.")
        tokens = [self._token(one) for one in np.asarray(vocabulary).reshape(-1).tolist()]
        if not tokens:
            raise ValueError(f"Cannot set an empty vocabulary. Received: vocabulary={vocabulary}")
        weights = None if idf_weights is None else np.asarray(idf_weights, config.floatx())
        if weights is not None and weights.shape != (len(tokens),):
            raise ValueError(
                "`idf_weights` must be the same length as vocabulary. "
                f"Received: {weights.size} weights, and {len(tokens)} tokens"
            )
        special = self._special
        if tokens[: len(special)] == special and special:
            tokens = tokens[len(special) :]
        elif weights is not None:
            weights = np.concatenate([np.full(len(special), weights.mean(), weights.dtype), weights])
        self._check_tokens(tokens)
        self._set_tokens(tokens)
        self._idf = weights

    def _set_tokens(self, tokens: list[Any]) -> None:
        first = len(self._special)
        self._tokens = tokens
        self._number_of = {token: first + k for k, token in enumerate(tokens)}
        if self.mask_token is not None:
            self._number_of[self.mask_token] = 0 if self.output_mode == "int" else -1

    def _check_tokens(self, tokens: list[Any]) -> None:
        repeated = [token for token, count in Counter(tokens).items() if count > 1]
        if repeated:
            raise ValueError(
                "The passed vocabulary has at least one repeated term. Please uniquify your dataset. "
                f"The repeated terms are: {repeated}"
            )
        reserved = [("mask", self.mask_token), ("OOV", self.oov_token if self.invert else None)]
        for kind, token in reserved:
            if token is not None and token in tokens:
                raise ValueError(
                    f"Found reserved {kind} token at unexpected location in `vocabulary`: {token!r} at index "
                    f"{tokens.index(token)}. Either remove all mask and OOV tokens, or include them only at the start, in "
                    f"precisely this order: {self._special}."
                )
        size = len(self._special) + len(tokens)
        if self.max_tokens is not None and size > self.max_tokens:
            raise ValueError(
                "Attempted to set a vocabulary larger than the maximum vocab size. "
                f"Received vocabulary size is {size}; `max_tokens` is {self.max_tokens}."
            )

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Take the tokens of data for the vocabulary: the most frequent first, of as frequent ones the last by the alphabet.

        Args:
            data: an array or a list of tokens, or batches of them; for "tf_idf" a row is a document.
            steps: how many batches.

        Raises:
            ValueError: where the vocabulary was given to the constructor.
        """
        if self._is_given:
            raise ValueError(
                f"Cannot adapt layer '{self.name}' after setting a static vocabulary via `vocabulary` argument or "
                "`set_vocabulary()` method."
            )
        self._learn(row for batch in batches_of(data, steps) for row in self._rows(batch))

    def _rows(self, batch: np.ndarray) -> Iterable[list[Any]]:
        """The documents of a batch: its last axis."""
        return ([self._token(one) for one in row] for row in batch.reshape(-1, batch.shape[-1]).tolist())

    def _learn(self, rows: Iterable[list[Any]]) -> None:
        """Take the tokens of these documents."""
        counts: Counter[Any] = Counter()
        documents: Counter[Any] = Counter()
        total = 0
        for row in rows:
            counts.update(row)
            documents.update(set(row))
            total += 1
        for token in (self.mask_token, self.oov_token):
            counts.pop(token, None)
        most = None if self.max_tokens is None else self.max_tokens - len(self._special)
        self._set_tokens(sorted(counts, key=lambda token: (counts[token], token), reverse=True)[:most])
        if self.output_mode == "tf_idf":
            # idf = log(1 + documents / (1 + documents with the token)); of unknown tokens the mean
            idf = np.log(1 + total / (1 + np.array([documents[token] for token in self._tokens], "float64")))
            self._idf = np.concatenate([np.full(len(self._special), idf.mean()), idf]).astype(config.floatx())

    # --- looking up ---------------------------------------------------------------------

    def _token(self, value: Any) -> Any:
        """A token as the vocabulary has it."""
        raise NotImplementedError

    def _tokens_array(self, tokens: list[Any]) -> np.ndarray:
        raise NotImplementedError

    def _number_of_unknown(self, token: Any) -> int:
        """The place of what is not in the vocabulary, among those for it."""
        return 0

    def looked_up(self, x: Any) -> np.ndarray:
        """The output for an array of tokens, or with `invert` of numbers.

        Raises:
            ValueError: for a token that is not in the vocabulary, where `num_oov_indices` is 0.
        """
        x = np.asarray(x)
        different, places = np.unique(x, return_inverse=True)
        places = places.reshape(x.shape)
        if self.invert:
            names = self.get_vocabulary()
            known = [names[k] if 0 <= k < len(names) else self.oov_token for k in map(int, different.tolist())]
            return self._tokens_array(known)[places]
        tokens = [self._token(one) for one in different.tolist()]
        unknown = [token for token in tokens if token not in self._number_of]
        if unknown and not self.num_oov_indices:
            raise ValueError(
                "When `num_oov_indices=0` all inputs should be in vocabulary, found OOV values "
                f"{unknown}, consider setting `num_oov_indices=1`."
            )
        others = {token: self._mask_places + self._number_of_unknown(token) for token in unknown}
        found = [others[token] if token in others else self._number_of[token] for token in tokens]
        numbers = np.array(found, "int64")[places]
        if self.output_mode == "int":
            return numbers
        depth = self._depth
        rows = encoded(numbers, depth, "count" if self.output_mode == "tf_idf" else self.output_mode)
        return rows if self._idf is None else rows * np.pad(self._idf, (0, depth - len(self._idf)))

    def __call__(self, inputs: Any = MISSING, *args: Any, **kwargs: Any) -> Any:
        """On an array or a list: see the class.

        Raises:
            ValueError: on symbolic tensors.
        """
        if is_symbolic(inputs):
            raise ValueError(
                f"Layer '{self.name}' looks up tokens where there are values: call it in `Dataset.map`, or before the model. "
                f"Received: {inputs}"
            )
        return as_tensor(self.looked_up(inputs))

    @property
    def _depth(self) -> int:
        """How long a row is that stands for numbers."""
        return self.max_tokens if self.pad_to_max_tokens else self.vocabulary_size()

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape if self.output_mode == "int" else encoded_shape(input_shape, self._depth, self.output_mode)

    def get_config(self) -> dict[str, Any]:
        """With the vocabulary, also where `adapt` found it: a file of the model has it."""
        weights = None if self._idf is None else self._idf.tolist()
        vocabulary = self.get_vocabulary() if self._tokens else None
        of_keras = {"sparse": False, "oov_method": "floormod", "salt": None, "vocabulary_size": None}
        return super().get_config() | {"vocabulary": vocabulary, "idf_weights": weights} | of_keras


@registry.register("layer")
class StringLookup(_Lookup):
    """Strings as whole numbers, or with `invert` whole numbers as strings.

    Args:
        max_tokens: how many numbers there may be.
        num_oov_indices: 1, where there is a number for all that is not in the vocabulary, or 0.
        mask_token: a string whose number is 0. oov_token: what unknown numbers become with `invert`.
        vocabulary: the strings, in order; `adapt` finds them in data otherwise. idf_weights: see `set_vocabulary`.
        invert: from numbers to strings.
        output_mode: "int"; or rows of zeros and ones: "one_hot", for each; "multi_hot", "count", "tf_idf", of the last axis
            together.
        pad_to_max_tokens: whether rows are `max_tokens` long.
        encoding: of strings that come as bytes.

    Examples:
        >>> to_number = StringLookup(vocabulary=["a", "b", "c"])
        >>> to_number(["c", "a", "x"]).tolist()
        [3, 1, 0]
        >>> StringLookup(vocabulary=to_number.get_vocabulary(), invert=True)([3, 1, 0]).tolist()
        ['c', 'a', '[UNK]']
    """

    _own_arguments = (*_Lookup._own_arguments, "encoding")

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        salt: Any = None,
        **kwargs: Any,
    ) -> None:
        self.encoding = encoding
        kwargs.pop("oov_method", None)  # of Keras's configs
        special = max_tokens, num_oov_indices, mask_token, oov_token
        super().__init__(special, vocabulary, idf_weights, invert, output_mode, pad_to_max_tokens, **kwargs)
        reject_unsupported(self.name, sparse=sparse, salt=salt)
        if num_oov_indices > 1:
            raise ValueError(
                f"Layer '{self.name}': strings that are not in the vocabulary have one number, or none. "
                f"Received: num_oov_indices={num_oov_indices}"
            )

    def _token(self, value: Any) -> str:
        return value.decode(self.encoding) if isinstance(value, bytes) else str(value)

    def _tokens_array(self, tokens: list[Any]) -> np.ndarray:
        return np.array(["" if token is None else token for token in tokens], dtype=str)


@registry.register("layer")
class IntegerLookup(_Lookup):
    """Whole numbers of any size as numbers from 0 on, or with `invert` back.

    Args:
        num_oov_indices: how many numbers there are for what is not in the vocabulary: k goes to k modulo so many of them.
        mask_token, oov_token: whole numbers.
        vocabulary_dtype: "int64" or "int32". Others as in `StringLookup`.

    Examples:
        >>> IntegerLookup(vocabulary=[12, 36, 1138])([36, 7, 1138]).tolist()
        [2, 0, 3]
    """

    _own_arguments = (*_Lookup._own_arguments, "vocabulary_dtype")

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        **kwargs: Any,
    ) -> None:
        self.vocabulary_dtype = vocabulary_dtype
        special = max_tokens, num_oov_indices, mask_token, oov_token
        super().__init__(special, vocabulary, idf_weights, invert, output_mode, pad_to_max_tokens, **kwargs)
        reject_unsupported(self.name, sparse=sparse, salt=salt, oov_method=oov_method if oov_method != "floormod" else None)

    def _token(self, value: Any) -> int:
        return int(value)

    def _tokens_array(self, tokens: list[Any]) -> np.ndarray:
        return np.array([0 if token is None else token for token in tokens], self.vocabulary_dtype)

    def _number_of_unknown(self, token: int) -> int:
        return token % self.num_oov_indices


@registry.register("layer")
class CategoryEncoding(Layer):
    """Whole numbers below `num_tokens` as rows of so many numbers.

    Args:
        num_tokens: how many there are.
        output_mode: "one_hot", a row for each; "multi_hot" or "count", one for the last axis together.

    Input (...), output (..., num_tokens).

    Examples:
        >>> CategoryEncoding(num_tokens=4, output_mode="one_hot")([3, 0]).tolist()
        [[0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]]
    """

    autocast = False
    _own_arguments = ("num_tokens", "output_mode")

    def __init__(
        self, num_tokens: int | None = None, output_mode: str = "multi_hot", sparse: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.output_mode = _OLDER.get(output_mode, output_mode)
        if self.output_mode not in ("count", "one_hot", "multi_hot"):
            raise ValueError(f"Unknown arg for output_mode: {output_mode}")
        if num_tokens is None:
            raise ValueError(
                "num_tokens must be set to use this layer. If the number of tokens is not known beforehand, use the "
                "IntegerLookup layer instead."
            )
        if num_tokens < 1:
            raise ValueError(f"`num_tokens` must be >= 1. Received: num_tokens={num_tokens}.")
        self.num_tokens = num_tokens
        reject_unsupported(self.name, sparse=sparse)

    def __call__(  # type: ignore[override]
        self, inputs: Any = MISSING, count_weights: Any = None, **kwargs: Any
    ) -> Any:
        """See the class.

        Args:
            count_weights: what each number counts, with `output_mode="count"`; on arrays alone.
        """
        if count_weights is None:
            return super().__call__(inputs, **kwargs)
        if self.output_mode != "count":
            raise ValueError(
                f"`count_weights` is not used when `output_mode` is not `'count'`. Received `count_weights={count_weights}`."
            )
        return as_tensor(self._rows(np.asarray(inputs), count_weights))

    def _rows(self, x: Any, weights: Any = None) -> np.ndarray:
        numbers = np.asarray(x).astype("int64")
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self.num_tokens):
            raise ValueError(
                f"Layer '{self.name}' expects numbers from 0 to {self.num_tokens - 1} (num_tokens={self.num_tokens}). "
                f"Received values from {numbers.min()} to {numbers.max()}"
            )
        return encoded(numbers, self.num_tokens, self.output_mode, weights)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return encoded_shape(input_shape, self.num_tokens, self.output_mode)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return backends.asarray(self._rows(backends.to_numpy(x))), None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return None, ()
