"""`keras.preprocessing.sequence`, as older programs import it."""

from minicnn.data import pad_sequences

__all__ = ["pad_sequences"]
