"""Computing elements ahead in a background thread, which always ends with the iteration."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

END = object()


class _Failure:
    """An exception on its way from the background thread to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


@contextlib.contextmanager
def closing_iterator(elements: Iterable[Any]) -> Iterator[Iterator[Any]]:
    """An iterator over `elements` that is closed when the block ends, however it ends.

    Waiting for the garbage collector is not enough: a traceback that somebody keeps would
    keep the iterator, and with it a background thread further up the pipeline.
    """
    iterator = iter(elements)
    try:
        yield iterator
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


def prefetched(iterate: Callable[[], Iterator[Any]], buffer_size: int) -> Iterator[Any]:
    """The elements of a pass, up to `buffer_size` of them computed ahead in a thread of their own.

    An exception is raised to the consumer in its place in the order. The thread has ended by the
    time the last element was taken, an exception was raised, or the iterator was closed.
    """
    ready: queue.Queue[Any] = queue.Queue(maxsize=buffer_size)
    stopped = threading.Event()

    def produce() -> None:
        try:
            with closing_iterator(iterate()) as iterator:
                for element in iterator:
                    ready.put(element)
                    if stopped.is_set():
                        return
            ready.put(END)
        except BaseException as error:
            ready.put(_Failure(error))

    run = contextvars.copy_context().run  # the thread sees the consumer's context variables (`config.running_pass`)
    thread = threading.Thread(target=run, args=(produce,), name="minicnn-prefetch", daemon=True)
    thread.start()
    try:
        while (element := ready.get()) is not END:
            if isinstance(element, _Failure):
                raise element.error
            yield element
    finally:
        stopped.set()
        # The thread looks at `stopped` after every put, so it puts at most one more thing, and here is room for it.
        with contextlib.suppress(queue.Empty):
            while True:
                ready.get_nowait()
        thread.join()
