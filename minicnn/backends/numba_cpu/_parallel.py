"""`parallel_for`: a jitted function's loop over tasks, spread over Numba's pool of threads.

Numba's `prange` would do, but compiles each loop five times more slowly, and its threads wait in ways that are slow
on a busy machine or do not survive a fork: an intrinsic of forty lines hands one plain jitted function to a pool of
our own (`_pool.py`). A task must not depend on which thread runs it; sums over images are cut into a number of tasks that
does not depend on the number of threads.
"""

from __future__ import annotations

import inspect
import platform
from collections.abc import Callable
from math import gcd
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._pool import BODY, get_num_threads, run

_I32, _I64, _POINTER = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()


def _borrowed(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """An argument whose arrays own nothing: the caller keeps them alive while tasks run.

    Else each view that a task takes of an array counts a reference up and down, atomically, in
    a cache line that all threads write.
    """
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value=value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        for i, item in enumerate(kind):
            value = builder.insert_value(value, _borrowed(context, builder, item, builder.extract_value(value, i)), i)
    return value


def _flush_subnormals(module: Any, builder: Any) -> Callable[[], Any]:
    """From here on take numbers below 1.2e-38 for zero, until the function that is returned is called.

    A processor computes with them a hundred times more slowly, and an optimizer's moments
    reach them: of a weight whose gradient is zero, a mean shrinks with each step and never ends.
    """
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return _flush_by_mxcsr(module, builder)
    if machine in ("aarch64", "arm64"):
        return _flush_by_fpcr(module, builder)
    return lambda: None


def _flush_by_mxcsr(module: Any, builder: Any) -> Callable[[], Any]:
    """On x86: two bits of a register that is read and written through memory."""
    void, word = ir.FunctionType(ir.VoidType(), [_POINTER]), _I32
    read = cgutils.get_or_insert_function(module, void, "llvm.x86.sse.stmxcsr")
    write = cgutils.get_or_insert_function(module, void, "llvm.x86.sse.ldmxcsr")
    before, flushing = cgutils.alloca_once(builder, word), cgutils.alloca_once(builder, word)
    builder.call(read, [builder.bitcast(before, _POINTER)])
    both = ir.Constant(word, 0x8040)  # results (flush to zero) and operands (denormals are zeros)
    builder.store(builder.or_(builder.load(before), both), flushing)
    builder.call(write, [builder.bitcast(flushing, _POINTER)])
    return lambda: builder.call(write, [builder.bitcast(before, _POINTER)])


def _flush_by_fpcr(module: Any, builder: Any) -> Callable[[], Any]:
    """On ARM: one bit, FZ, for results and operands."""
    read = cgutils.get_or_insert_function(module, ir.FunctionType(_I64, []), "llvm.aarch64.get.fpcr")
    write = cgutils.get_or_insert_function(module, ir.FunctionType(ir.VoidType(), [_I64]), "llvm.aarch64.set.fpcr")
    before = builder.call(read, [])
    builder.call(write, [builder.or_(before, ir.Constant(_I64, 1 << 24))])
    return lambda: builder.call(write, [before])


@intrinsic
def parallel_for(typingctx: Any, tasks: Any, work: Any, function: Any, args: Any) -> Any:
    """For task in range(tasks): function(task, worker, *args), in parallel if `work` is worth it.

    worker: 0 <= worker < number of threads, the thread that runs the task: for scratch memory of its own.
    work: about how many operations all tasks take together.
    """
    task_signature = function.get_call_type(typingctx, (types.intp, types.intp, *args.types), {})

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        tasks, work, _, packed = values
        compiled = function.dispatcher.get_compile_result(task_signature)
        context.active_code_library.add_linking_library(compiled.library)
        module = builder.module

        body = ir.Function(module, BODY, module.get_unique_name("tasks_of_" + function.dispatcher.py_func.__name__))
        body.linkage = "internal"
        first, end, worker, data = body.args
        inside = ir.IRBuilder(body.append_basic_block("entry"))
        struct = inside.load(inside.bitcast(data, packed.type.as_pointer()))
        arguments = [_borrowed(context, inside, kind, inside.extract_value(struct, i)) for i, kind in enumerate(args.types)]
        callee = context.declare_function(module, compiled.fndesc)
        restore = _flush_subnormals(module, inside)
        with cgutils.for_range_slice(inside, first, end, ir.Constant(_I64, 1)) as (task, _):
            given = [task, worker, *arguments]
            if inspect.getfullargspec(function.dispatcher.py_func).varargs:  # the last ones as a tuple
                named = len(task_signature.args) - 1
                given[named:] = [context.make_tuple(inside, task_signature.args[named], given[named:])]
            context.call_conv.call_function(inside, callee, types.void, task_signature.args, given)
        restore()
        inside.ret_void()

        on_pool = cgutils.get_or_insert_function(module, ir.FunctionType(ir.VoidType(), [_I64] * 4), run.symbol)
        data = cgutils.alloca_once_value(builder, packed)
        builder.call(on_pool, [builder.ptrtoint(body, _I64), builder.ptrtoint(data, _I64), tasks, work])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, function, args), codegen


def tasks(function: Callable[..., None], source: Callable[..., Any] | None = None) -> Any:
    """Decorator: function(task, worker, *args) becomes function(tasks, work, *args), a parallel loop that Python calls.

    `source`: as in `compiled`, where `function` is a wrapper itself. The names of compiled code are made of the functions'
    own: wrappers that shared one could meet as one symbol, where several processes filled the cache.
    """
    if source is not None:
        function.__module__, function.__qualname__ = source.__module__, f"{source.__qualname__}.task"
    one_task = part(function)

    def entry(tasks, work, *args):  # type: ignore[no-untyped-def]
        parallel_for(tasks, work, one_task, args)

    entry.__module__, entry.__qualname__, entry.__doc__ = function.__module__, function.__qualname__, function.__doc__
    return compiled(entry, source=source or function)


def even_parts(pieces: int) -> int:
    """Into how many parts to cut each of so many equal pieces of work, so that every thread has the same."""
    threads = get_num_threads()
    return threads // gcd(pieces, threads)
