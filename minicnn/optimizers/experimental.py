"""Names that programs of 2022 and 2023 look for under `tf.keras.optimizers.experimental`: today's optimizers."""

from __future__ import annotations

from minicnn.optimizers.adagrad import Adadelta, Adafactor, Adagrad
from minicnn.optimizers.adam import Adam, Adamax, AdamW, Nadam
from minicnn.optimizers.base import Optimizer
from minicnn.optimizers.ftrl import Ftrl
from minicnn.optimizers.rmsprop import RMSprop
from minicnn.optimizers.sgd import SGD

__all__ = ["SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Nadam", "Optimizer", "RMSprop"]
