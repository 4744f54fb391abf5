"""The pool of threads that `parallel_for` gives its tasks to.

A training step has some tens of parallel loops, a fraction of a millisecond each. What counts is how
threads wait in between:

- A thread that waits *looks* for some time, since the next loop mostly comes at once, and then
  *sleeps*: a thread that looks for longer takes the core from whoever could use it, on a busy
  machine from the very thread that it waits for. There, it sleeps sooner.
- Every thread has a range of tasks of its own (the same in each loop over the same images, which are
  then in its cache) and takes them one by one. Who has finished goes on with the others' ranges, so a
  thread that gets no core holds up one task and no more; one that has not woken up holds up none.

`run` is what a loop calls, `_work` what each thread of the pool does for ever. Both are compiled like any kernel,
and see nothing but a few words of memory, `_words`, in which every thread reads and writes atomically:

    TAKEN     1 while a loop is running: a second one, of another Python thread, then runs its tasks alone
    STATE     generation << 32 | OPEN | how many threads of the pool are inside the loop

A thread enters a loop by adding one to STATE while OPEN is set, and leaves by subtracting it. The loop's caller clears
OPEN when no task is left, and waits until nobody is inside: so only threads that came are waited for.

The operating system gives five things: threads, a lock, waiting, waking and the time (POSIX or Windows). After `os.fork`
the child has none of the threads, and starts new ones when it needs them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import time
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minicnn.backends.numba_cpu._compile import address_of, compiled, instruction, part, shared
from minicnn.backends.numba_cpu._threads import cores, threads_from_environment

WORTH = 20_000
"""Floating-point operations (or elements touched, times 4) that are worth waking a second thread for: about 10 us."""

LOOKING = 200e-6
"""Seconds that a thread of the pool looks for the next loop before it sleeps: the pauses of a step, in which Python
computes, are shorter. One that sleeps comes some tens of microseconds late."""

PATIENCE = 50e-6
"""Seconds that the caller looks at threads still inside its loop, when no task is left, before it sleeps."""

LOST = 1_000_000
"""Nanoseconds that it sleeps there, from which one of them must have lost its core to another program (or has a long task)."""

CROWDED_FOR = 1000
"""Loops, some ten steps, for which threads of the pool then look no longer than the caller does."""

_I64 = ir.IntType(64)
_POINTER = ir.IntType(8).as_pointer()
BODY = ir.FunctionType(ir.VoidType(), [_I64, _I64, _I64, _POINTER])
"""What a loop is to the pool: void body(first task, end, worker, its arguments)."""


MOST = max(cores(), threads_from_environment())
"""The most threads that can be asked for: what needs memory for each thread needs it so many times."""

# --- the words ----------------------------------------------------------------------------------

# Indices of 64-bit words; those that several threads write stand in cache lines (8 words) of their own.
# Threads asked for, and in the pool; how often one of the pool looks before it sleeps; the address of `_work`; and how often
# it looks on a crowded machine, and the caller always.
THREADS, STARTED, LOOKS, WORK, FEW_LOOKS = range(5)
TAKEN, STATE, SLEEPING, WAITING = 8, 16, 24, 25  # SLEEPING: threads of the pool; WAITING: 1 if the caller sleeps
THREAD = 26  # where the system writes the name of a thread that it started
CROWDED = 27  # for how many loops more another program is taken to want the cores
CLOCK = 28  # two words, where the system writes the time
FUNCTION, ARGUMENTS, SHARERS = 32, 33, 34  # of the loop that runs: addresses of its body and its data, among how many threads
LOCK, CHANGED, DONE = 40, 56, 72  # the system's lock and conditions: at most 128 bytes each
RANGES = 88  # from here on a cache line a thread: its next task, and the end of its range
OPEN = 1 << 31

_memory = np.zeros(RANGES + 8 * MOST + 8, np.int64)
_words = _memory[-_memory.ctypes.data % 64 // 8 :]
_at = _words.ctypes.data
_WORDS = f"{__package__}.pool_words"  # linked by name, as code that comes out of the cache must
llvm.add_symbol(_WORDS, _at)


def _address(builder: Any, word: Any) -> Any:
    module = builder.module
    words = module.globals.get(_WORDS) or cgutils.add_global_variable(module, _I64, _WORDS)
    return builder.gep(words, [word])


_WORD = types.int64


@instruction(_WORD(_WORD))
def _load(builder: Any, word: Any) -> Any:
    """The value of a word."""
    return builder.load_atomic(_address(builder, word), "seq_cst", 8)


@instruction(types.void(_WORD, _WORD))
def _store(builder: Any, word: Any, value: Any) -> None:
    """word = value."""
    builder.store_atomic(value, _address(builder, word), "seq_cst", 8)


@instruction(_WORD(_WORD, _WORD))
def _add(builder: Any, word: Any, value: Any) -> Any:
    """word += value; what it was before."""
    return builder.atomic_rmw("add", _address(builder, word), value, "seq_cst")


@instruction(types.boolean(_WORD, _WORD, _WORD))
def _replace(builder: Any, word: Any, before: Any, after: Any) -> Any:
    """word = after if it was `before`; whether it was."""
    return builder.extract_value(builder.cmpxchg(_address(builder, word), before, after, "seq_cst", "seq_cst"), 1)


@instruction(_WORD(_WORD))
def _place(builder: Any, word: Any) -> Any:
    """The address of a word."""
    return builder.ptrtoint(_address(builder, word), _I64)


@instruction(types.void())
def _pause(builder: Any) -> None:
    """Tell the processor that this thread is only looking: its twin on the same core gets the units meanwhile."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        name, arguments = "llvm.x86.sse2.pause", []
    elif machine in ("arm64", "aarch64"):
        name, arguments = "llvm.aarch64.hint", [ir.Constant(ir.IntType(32), 1)]
    else:
        return
    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@instruction(types.void(*[_WORD] * 5))
def _call(builder: Any, body: Any, first: Any, end: Any, worker: Any, data: Any) -> None:
    """body(first, end, worker, data), of the function and the data at these addresses."""
    builder.call(builder.inttoptr(body, BODY.as_pointer()), [first, end, worker, builder.inttoptr(data, _POINTER)])


# --- the operating system ------------------------------------------------------------------------


def _system(library: Any, name: str, arguments: int) -> Any:
    """A function of the operating system, as kernels call it: words in, a word out."""
    symbol = f"{__package__}.{name}"
    llvm.add_symbol(symbol, ctypes.cast(getattr(library, name), ctypes.c_void_p).value)
    return types.ExternalFunction(symbol, types.int64(*[types.int64] * arguments))


if os.name == "nt":
    _library = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    _lock = _system(_library, "AcquireSRWLockExclusive", 1)
    _unlock = _system(_library, "ReleaseSRWLockExclusive", 1)
    _sleep = _system(_library, "SleepConditionVariableSRW", 4)
    _wake = _system(_library, "WakeAllConditionVariable", 1)
    _thread = _system(_library, "CreateThread", 6)
    _counter = _system(_library, "QueryPerformanceCounter", 1)
    _ticks = ctypes.c_int64()  # a second
    _library.QueryPerformanceFrequency(ctypes.byref(_ticks))
    NANOSECONDS_A_TICK = 10**9 / _ticks.value

    @part
    def _wait(condition):  # type: ignore[no-untyped-def]
        _sleep(_place(condition), _place(LOCK), 0xFFFFFFFF, 0)

    @part
    def _time():  # type: ignore[no-untyped-def]
        _counter(_place(CLOCK))
        return np.int64(_load(CLOCK) * NANOSECONDS_A_TICK)

    @part
    def _start(number):  # type: ignore[no-untyped-def]
        return _thread(0, 0, _load(WORK), number, 0, 0) != 0

else:
    _library = ctypes.CDLL(None)
    _lock = _system(_library, "pthread_mutex_lock", 1)
    _unlock = _system(_library, "pthread_mutex_unlock", 1)
    _sleep = _system(_library, "pthread_cond_wait", 2)
    _wake = _system(_library, "pthread_cond_broadcast", 1)
    _thread = _system(_library, "pthread_create", 4)
    _clock = _system(_library, "clock_gettime", 2)
    MONOTONIC = time.CLOCK_MONOTONIC

    @part
    def _wait(condition):  # type: ignore[no-untyped-def]
        _sleep(_place(condition), _place(LOCK))

    @part
    def _time():  # type: ignore[no-untyped-def]
        _clock(MONOTONIC, _place(CLOCK))
        return _load(CLOCK) * 1_000_000_000 + _load(CLOCK + 1)

    @part
    def _start(number):  # type: ignore[no-untyped-def]
        return _thread(_place(THREAD), 0, _load(WORK), number) & 0xFFFFFFFF == 0  # an int


def _begin() -> None:
    """No thread has been started, nothing runs: at the import, and in the child of a fork, where other threads are not."""
    _words[TAKEN:RANGES] = 0
    _words[STARTED] = 0
    if os.name != "nt":  # on Windows, zeros are a lock that is free
        _library.pthread_mutex_init(ctypes.c_void_p(_at + 8 * LOCK), None)
        for condition in (CHANGED, DONE):
            _library.pthread_cond_init(ctypes.c_void_p(_at + 8 * condition), None)


_begin()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin)

# --- threads at work -----------------------------------------------------------------------------


@part
def _is_new(state, generation):  # type: ignore[no-untyped-def]
    """Whether a loop is open that this thread has not been in."""
    return state & OPEN != 0 and state >> 32 != generation


@part
def _take(worker, threads):  # type: ignore[no-untyped-def]
    """Run the tasks of the worker's own range, then what is left of the others'."""
    body, data = _load(FUNCTION), _load(ARGUMENTS)
    for turn in range(threads):
        place = RANGES + 8 * ((worker + turn) % threads)
        end = _load(place + 1)
        while True:
            task = _add(place, 1)
            if task >= end:
                break
            _call(body, task, task + 1, worker, data)


@part
def _wake_those_at(condition):  # type: ignore[no-untyped-def]
    # With the lock: who has announced to sleep does so before it is free, and is woken.
    _lock(_place(LOCK))
    _wake(_place(condition))
    _unlock(_place(LOCK))


def _work(number: int) -> int:
    """What thread `number` of the pool (from 1) does for ever."""
    generation = 0
    while True:
        looks, state = _load(FEW_LOOKS if _load(CROWDED) > 0 else LOOKS), _load(STATE)
        while not _is_new(state, generation) and looks > 0:
            _pause()
            looks -= 1
            state = _load(STATE)
        if not _is_new(state, generation):
            _lock(_place(LOCK))
            _add(SLEEPING, 1)  # before it looks for the last time: who opens a loop after that sees it
            state = _load(STATE)
            while not _is_new(state, generation):
                _wait(CHANGED)
                state = _load(STATE)
            _add(SLEEPING, -1)
            _unlock(_place(LOCK))
        if _replace(STATE, state, state + 1):  # inside
            generation = state >> 32
            threads = _load(SHARERS)
            if number < threads:
                _take(number, threads)
            if (_add(STATE, -1) - 1) & 0xFFFFFFFF == 0 and _load(WAITING) != 0:
                _wake_those_at(DONE)


@shared(types.void(types.int64, types.int64, types.int64, types.int64))
def run(body: int, data: int, tasks: int, work: int) -> None:
    """Run the tasks of a loop; returns when all are done.

    Args:
        body, data: the addresses of a function of type `BODY` and of its last argument.
        tasks: how many. work: about how many operations they take together.
    """
    threads = min(_load(THREADS), tasks)
    if work <= WORTH or threads < 2 or not _replace(TAKEN, 0, 1):
        _call(body, 0, tasks, 0, data)
        return
    while _load(STARTED) < threads - 1:
        if not _start(_load(STARTED) + 1):
            break  # the system has no thread left: the tasks are done all the same
        _add(STARTED, 1)
    for thread in range(threads):
        _store(RANGES + 8 * thread, tasks * thread // threads)
        _store(RANGES + 8 * thread + 1, tasks * (thread + 1) // threads)
    _store(FUNCTION, body)
    _store(ARGUMENTS, data)
    _store(SHARERS, threads)
    _store(STATE, ((_load(STATE) >> 32) + 1) << 32 | OPEN)
    if _load(SLEEPING) > 0:
        _wake_those_at(CHANGED)
    if _load(CROWDED) > 0:
        _store(CROWDED, _load(CROWDED) - 1)
    _take(0, threads)

    state = _add(STATE, -OPEN) - OPEN  # closed: no task is left
    looks = _load(FEW_LOOKS)
    while state & 0xFFFFFFFF != 0 and looks > 0:
        _pause()
        looks -= 1
        state = _load(STATE)
    if state & 0xFFFFFFFF != 0:
        slept = _time()
        _lock(_place(LOCK))
        _store(WAITING, 1)
        while _load(STATE) & 0xFFFFFFFF != 0:
            _wait(DONE)
        _store(WAITING, 0)
        _unlock(_place(LOCK))
        if _time() - slept > LOST:
            _store(CROWDED, CROWDED_FOR)
    _store(TAKEN, 0)


_words[WORK] = address_of(_work, types.int64(types.int64))

# --- from Python ---------------------------------------------------------------------------------


@compiled
def _look(times: int) -> int:
    for _ in range(times):
        _pause()
        _load(STATE)
    return times


def _looks_within(seconds: float) -> int:
    """How often a thread looks in so much time: measured, since a pause takes 5 to 140 cycles."""
    times, fastest = 2_000, float("inf")
    _look(1)
    for _ in range(3):  # the fastest: in the others the thread may have lost its core
        start = time.perf_counter()
        _look(times)
        fastest = min(fastest, time.perf_counter() - start)
    return int(times * seconds / fastest)


def get_num_threads() -> int:
    """Over how many threads loops spread their tasks."""
    return int(_words[THREADS])


def set_num_threads(threads: int) -> None:
    """Spread tasks over this many threads, in the whole process.

    Raises:
        ValueError: if `threads` is no integer between 1 and the number of available cores.
    """
    if isinstance(threads, bool) or not hasattr(threads, "__index__") or not 1 <= threads <= MOST:
        raise ValueError(
            f"`threads` must be an integer between 1 and the {MOST} cores available. Received: threads={threads!r}"
        )
    _words[THREADS] = int(threads)


_words[THREADS] = threads_from_environment()
_words[FEW_LOOKS] = _looks_within(PATIENCE)
_words[LOOKS] = int(_words[FEW_LOOKS] * LOOKING / PATIENCE)
