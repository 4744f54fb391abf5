"""Callbacks: what happens during training, evaluation and prediction besides the work itself."""

from minicnn.callbacks.base import Callback
from minicnn.callbacks.callback_list import CallbackList
from minicnn.callbacks.checkpoint import BackupAndRestore, ModelCheckpoint
from minicnn.callbacks.csv_logger import CSVLogger
from minicnn.callbacks.early_stopping import EarlyStopping
from minicnn.callbacks.history import History
from minicnn.callbacks.lambda_callback import LambdaCallback
from minicnn.callbacks.lookahead import Lookahead
from minicnn.callbacks.nan import TerminateOnNaN
from minicnn.callbacks.progress import ProgbarLogger
from minicnn.callbacks.schedule import LearningRateScheduler, ReduceLROnPlateau
from minicnn.callbacks.swap_ema_weights import SwapEMAWeights
from minicnn.callbacks.tensorboard import TensorBoard

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Lookahead",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
