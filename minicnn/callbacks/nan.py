"""`TerminateOnNaN`: stop when the loss is NaN or infinite, and say where that began."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.callbacks.base import Callback, Logs
from minicnn.callbacks.progbar import print_message


class TerminateOnNaN(Callback):
    """Ends training at a NaN or infinite loss.

    While it is among the callbacks, `fit` looks at every layer's output and gradient (which
    costs a little time), so that the message names the layer, the pass and the batch where
    the first NaN or infinity stood. The weights stay those from before that batch.

    Args:
        raise_error: raise a RuntimeError instead of ending `fit` in order.
    """

    watches_numerics = True

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    def on_numerics_error(self, error: Any) -> None:
        """Called by `fit` with the `NumericsError` that a layer's check raised."""
        self._terminate(error.batch, np.nan, f": {error}")

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        # What the layers' checks cannot see: a loss whose own formula gives NaN, or a user's own training loop.
        loss = (logs or {}).get("loss")
        if loss is not None and not np.isfinite(loss) and not self.model.stop_training:
            self._terminate(batch, loss, "")

    def _terminate(self, batch: int | None, loss: Any, origin: str) -> None:
        if self.raise_error:
            raise RuntimeError(
                f"NaN or Inf loss encountered at batch {batch}. Loss value: {loss}. Terminating training immediately{origin}."
            )
        print_message(f"Batch {batch}: Invalid loss, terminating training{origin}")
        self.model.stop_training = True
