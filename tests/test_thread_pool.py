"""The pool of threads: every task runs once, whoever computes beside it; a forked child computes, too."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

# Loops of every length over up to five threads, pauses in between that let them fall asleep or not.
LOOPS = """
    import numpy as np
    from minicnn.backends.numba_cpu._parallel import tasks
    from minicnn.backends.numba_cpu._pool import set_num_threads

    @tasks
    def count(task, worker, runs, workers):
        runs[task] += 1
        workers[task] = worker

    def loop(tasks, work=10**9):
        runs, workers = np.zeros(max(tasks, 1), np.int64), np.full(max(tasks, 1), -1)
        count(tasks, work, runs, workers)
        assert (runs[:tasks] == 1).all(), (tasks, runs)
        return workers[:tasks]
"""

# A sum that depends on every pixel, in one thread and two.
CONVOLUTION = """
    import numpy as np
    import minicnn
    from minicnn.backends import ops
    from minicnn.backends.types import window_over

    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(32, 16, 16, 8)).astype("float32"), rng.normal(size=(3, 3, 8, 32)).astype("float32")

    def convolution():
        return ops.conv2d_forward(x, kernel, None, window_over((16, 16), (3, 3), (1, 1), "same"))[0]

    minicnn.set_num_threads(2)
    before = convolution()
"""


def run(*programs: str, **environment: str) -> str:
    """What a process of its own prints: a pool belongs to its process."""
    program = "\n".join(textwrap.dedent(program) for program in programs)
    variables = {name: value for name, value in os.environ.items() if name not in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, env={**variables, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_task_runs_once_on_every_number_of_threads() -> None:
    run(
        LOOPS,
        """
        import random, time
        random.seed(0)
        for threads in (1, 2, 3, 5):
            set_num_threads(threads)
            for number in (0, 1, 2, 3, 4, 5, 6, 7, 16, 97):
                workers = loop(number)
                assert (workers >= 0).all() and (workers < threads).all(), (threads, workers)
            assert (loop(5, work=0) == 0).all()  # not worth a second thread
        for _ in range(2000):
            set_num_threads(random.randint(1, 5))
            loop(random.randint(1, 40))
            time.sleep(random.choice((0, 0, 0, 1e-5, 2e-4)))
        """,
        NUMBA_NUM_THREADS="5",
    )


def test_python_threads_that_compute_at_once_get_the_same_bits() -> None:
    run(
        CONVOLUTION,
        """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(4) as pool:
            for after in pool.map(lambda _: convolution(), range(200)):
                np.testing.assert_array_equal(after, before)
        """,
        NUMBA_NUM_THREADS="2",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes() -> None:
    run(
        CONVOLUTION,
        """
        import os, threading, time, warnings
        from minicnn.backends.numba_cpu import _pool
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: fork beside threads, which this is about

        def child():
            np.testing.assert_array_equal(convolution(), before)
            assert _pool._words[_pool.STARTED] == 1  # a thread of its own
            os._exit(0)

        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                child()
            assert os.waitpid(pid, 0)[1] == 0

        computing = True
        def compute():
            while computing:
                convolution()
        beside = threading.Thread(target=compute)
        beside.start()  # fork while a loop is running
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                child()
            assert os.waitpid(pid, 0)[1] == 0
        computing = False
        beside.join()
        np.testing.assert_array_equal(convolution(), before)
        """,
        NUMBA_NUM_THREADS="2",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_multiprocessing_and_joblib_fork_and_compute() -> None:
    run(
        CONVOLUTION,
        """
        import multiprocessing, warnings
        from joblib import Parallel, delayed
        warnings.simplefilter("ignore", DeprecationWarning)
        fork = multiprocessing.get_context("fork")

        def compute(_):
            return convolution()

        with fork.Pool(2) as pool:
            for after in pool.map(compute, range(4)):
                np.testing.assert_array_equal(after, before)
        multiprocessing.set_start_method("fork", force=True)
        for after in Parallel(n_jobs=2, backend="multiprocessing")(delayed(compute)(i) for i in range(4)):
            np.testing.assert_array_equal(after, before)
        """,
        NUMBA_NUM_THREADS="2",
    )


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "3,2"}, 3),  # the second number is for loops within loops
        ({"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}, 2),
    ],
)
def test_the_environment_sets_the_number_of_threads(environment: dict[str, str], threads: int) -> None:
    assert int(run("import minicnn; print(minicnn.get_num_threads())", **environment)) == threads


def test_set_num_threads_holds_in_the_whole_process() -> None:
    run(
        """
        import threading
        import minicnn
        minicnn.set_num_threads(1)
        found = []
        thread = threading.Thread(target=lambda: found.append(minicnn.get_num_threads()))
        thread.start(); thread.join()
        assert found == [1], found
        """,
        NUMBA_NUM_THREADS="2",
    )


def test_threads_sleep_sooner_for_a_while_once_one_was_waited_for_long() -> None:
    """A task of some milliseconds stands for a thread that lost its core: nothing else keeps a caller waiting so long."""
    run(
        LOOPS,
        """
        from minicnn.backends.numba_cpu._pool import CROWDED, CROWDED_FOR, _words

        @tasks
        def wait(task, worker, numbers):
            if worker == 1:  # else the caller would be the one that is waited for
                for i in range(10_000_000):
                    numbers[task] = numbers[task] * 0.5 + i

        set_num_threads(2)
        loop(2)
        assert _words[CROWDED] == 0
        for _ in range(1000):  # until the second thread takes a task before the caller has taken both
            wait(2, 10**9, np.zeros(2))
            if _words[CROWDED]:
                break
        assert _words[CROWDED] == CROWDED_FOR
        for _ in range(3):
            loop(2)
        assert _words[CROWDED] == CROWDED_FOR - 3
        """,
    )
