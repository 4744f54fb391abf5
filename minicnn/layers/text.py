"""`TextVectorization`: texts as rows of numbers, such as the captions that a network is to write under images."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from minicnn import registry
from minicnn.layers.arguments import reject_unsupported
from minicnn.layers.base import Layer
from minicnn.layers.lookup import StringLookup, batches_of
from minicnn.layers.symbolic import Shape, is_symbolic
from minicnn.layers.tracing import MISSING
from minicnn.tensor import as_tensor

__all__ = ["TextVectorization"]

_PUNCTUATION = re.compile(r"[!\"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']")
_STANDARDIZE: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "strip_punctuation": lambda text: _PUNCTUATION.sub("", text),
    "lower_and_strip_punctuation": lambda text: _PUNCTUATION.sub("", text.lower()),
}
_SPLIT: dict[str, Callable[[str], list[str]]] = {"whitespace": str.split, "character": list}


@registry.register("layer")
class TextVectorization(Layer):
    """Texts (N,) as rows of whole numbers, one for each word, (N, words of the longest), 0 behind the last; or as rows with a
    place for each word of the vocabulary.

    Args:
        max_tokens: how many numbers there may be.
        standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation", None, or a function of an array of texts.
        split: "whitespace", "character", None (a text is one word), or a function of an array of texts that returns a list of
            words for each.
        ngrams: None; n for words and up to n neighbours together; or a tuple of such numbers.
        output_mode, pad_to_max_tokens, vocabulary, idf_weights, encoding: see `StringLookup`.
        output_sequence_length: so many numbers for each text, in place of as many as the longest has.

    Examples:
        >>> to_numbers = TextVectorization(output_sequence_length=4)
        >>> to_numbers.adapt(["A dog runs.", "A dog sleeps"])
        >>> to_numbers.get_vocabulary()
        ['', '[UNK]', 'dog', 'a', 'sleeps', 'runs']
        >>> to_numbers(["a dog", "A cat runs"]).tolist()
        [[3, 2, 0, 0], [3, 1, 5, 0]]
    """

    autocast = False
    _own_arguments: ClassVar[tuple[str, ...]] = ("standardize", "split", "ngrams", "output_sequence_length")

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: int | tuple[int, ...] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        **kwargs: Any,
    ) -> None:
        kwargs.pop("vocabulary_size", None)  # of Keras's configs
        super().__init__(**kwargs)
        reject_unsupported(self.name, sparse=sparse, ragged=ragged)
        for argument, given, known in (("standardize", standardize, _STANDARDIZE), ("split", split, _SPLIT)):
            if given is not None and not callable(given) and given not in known:
                raise ValueError(
                    f"Unknown argument for `{argument}`: {given!r}. Layer '{self.name}' takes {', '.join(known)}, None or a "
                    "function."
                )
        several = (ngrams,) if isinstance(ngrams, int) else tuple(ngrams or ())
        if any(not isinstance(n, int) or n < 1 for n in several):
            raise ValueError(f"`ngrams` must be None, an integer, or a tuple of integers. Received: ngrams={ngrams}")
        if output_mode != "int" and output_sequence_length is not None:
            raise ValueError(
                "`output_sequence_length` must not be set if `output_mode` is not 'int'. "
                f"Received output_sequence_length={output_sequence_length}."
            )
        self.standardize, self.split, self.output_sequence_length = standardize, split, output_sequence_length
        self.ngrams = tuple(several) if isinstance(ngrams, (list, tuple)) else ngrams
        self._lengths = range(1, ngrams + 1) if isinstance(ngrams, int) else several or (1,)
        self._lookup = StringLookup(
            max_tokens,
            mask_token="",
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            output_mode=output_mode,
            pad_to_max_tokens=pad_to_max_tokens,
            encoding=encoding,
        )
        self.built = True

    def _words(self, texts: np.ndarray) -> list[list[str]]:
        """The words of each text."""
        texts = np.array([self._lookup._token(text) for text in texts.reshape(-1).tolist()], dtype=str)
        if callable(self.standardize):
            texts = np.asarray(self.standardize(as_tensor(texts)))
        elif self.standardize is not None:
            texts = np.array([_STANDARDIZE[self.standardize](text) for text in texts.tolist()], dtype=str)
        if callable(self.split):
            words = [[self._lookup._token(word) for word in np.asarray(row).tolist()] for row in self.split(as_tensor(texts))]
        elif self.split is not None:
            words = [_SPLIT[self.split](text) for text in texts.tolist()]
        else:
            words = [[text] for text in texts.tolist()]
        return [[" ".join(row[i : i + n]) for n in self._lengths for i in range(len(row) - n + 1)] for row in words]

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Take the words of texts for the vocabulary, the most frequent first: see `StringLookup.adapt`."""
        if self._lookup._is_given:
            raise ValueError(f"Cannot adapt layer '{self.name}' after setting a static vocabulary via `vocabulary` argument.")
        self._lookup._learn(row for batch in batches_of(data, steps) for row in self._words(batch))

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The words in the order of their numbers, which begin with those of the mask, "", and of unknown words."""
        return self._lookup.get_vocabulary(include_special_tokens)

    def vocabulary_size(self) -> int:
        """How many numbers there are."""
        return self._lookup.vocabulary_size()

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """See `StringLookup.set_vocabulary`."""
        self._lookup.set_vocabulary(vocabulary, idf_weights)

    def __call__(self, inputs: Any = MISSING, *args: Any, **kwargs: Any) -> Any:
        """On texts, (N,), (N, 1) or one.

        Raises:
            ValueError: on symbolic tensors.
        """
        if is_symbolic(inputs):
            raise ValueError(
                f"Layer '{self.name}' takes texts, which no graph has: call it in `Dataset.map`, or before the model. "
                f"Received: {inputs}"
            )
        texts = np.asarray(inputs)
        if texts.ndim > 2 or (texts.ndim == 2 and texts.shape[1] != 1):
            raise ValueError(f"Layer '{self.name}' takes texts (N,), or (N, 1). Received: an array of shape {texts.shape}")
        rows = self._words(texts)
        length = max(map(len, rows), default=0)
        if self._lookup.output_mode == "int" and self.output_sequence_length is not None:
            length = self.output_sequence_length
        filled = np.array([(row + [""] * length)[:length] for row in rows], dtype=str).reshape(len(rows), length)
        found = self._lookup.looked_up(filled)
        if self.split is None and self._lookup.output_mode == "int":  # one number a text
            found = found.reshape(texts.shape or (1,))
        return as_tensor(found if texts.ndim else found[0])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if self._lookup.output_mode == "int":
            return (input_shape[0], self.output_sequence_length)
        return (input_shape[0], self._lookup.compute_output_shape((None, None))[-1])

    def get_config(self) -> dict[str, Any]:
        """With the vocabulary, also where `adapt` found it."""
        kept = ("max_tokens", "output_mode", "pad_to_max_tokens", "vocabulary", "idf_weights", "encoding")
        of_lookup = self._lookup.get_config()
        of_keras = {"sparse": False, "ragged": False, "vocabulary_size": self.vocabulary_size()}
        return super().get_config() | {name: of_lookup[name] for name in kept} | of_keras
