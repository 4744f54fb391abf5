"""`parallel_for`: a jitted function's loop over tasks, spread over Numba's pool of threads.

Numba's `prange` would do, but compiles each loop five times more slowly: an intrinsic of
forty lines that hands one plain jitted function to the same pool keeps the first start
short. A task must not depend on which thread runs it; sums over images are cut into a
number of tasks that does not depend on the number of threads.

Kernels run without the GIL, so that two Python threads may be here at once, which not every
pool survives. The pool is therefore taken with a flag: who finds it taken runs the tasks alone.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from math import gcd
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.ufunc import parallel as pool

from minicnn.backends.numba_cpu._compile import compiled, part

__all__ = ["WORTH", "even_parts", "get_num_threads", "parallel_for", "set_num_threads", "tasks"]

pool._launch_threads()  # defines the pool's symbols, which the code below links to

_taken = ctypes.c_int32(0)  # 1 while a thread's tasks run on the pool
_TAKEN = f"{__package__}.pool_is_taken"  # linked by name, as code that comes out of the cache must
llvm.add_symbol(_TAKEN, ctypes.addressof(_taken))

WORTH = 20_000
"""Floating-point operations (or elements touched, times 4) that are worth waking a second thread for: about 10 us."""

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
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return lambda: None
    void, word = ir.FunctionType(ir.VoidType(), [_POINTER]), _I32
    read = cgutils.get_or_insert_function(module, void, "llvm.x86.sse.stmxcsr")
    write = cgutils.get_or_insert_function(module, void, "llvm.x86.sse.ldmxcsr")
    before, flushing = cgutils.alloca_once(builder, word), cgutils.alloca_once(builder, word)
    builder.call(read, [builder.bitcast(before, _POINTER)])
    both = ir.Constant(word, 0x8040)  # results (flush to zero) and operands (denormals are zeros)
    builder.store(builder.or_(builder.load(before), both), flushing)
    builder.call(write, [builder.bitcast(flushing, _POINTER)])
    return lambda: builder.call(write, [builder.bitcast(before, _POINTER)])


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

        # void body(char **args, size_t *dimensions, size_t *steps, void *data): what the pool calls for a range of
        # tasks. args[0], advanced by steps[0] = 1 from 0, is the number of the first; dimensions[0] how many.
        body = ir.Function(
            module,
            ir.FunctionType(ir.VoidType(), [_POINTER.as_pointer(), _I64.as_pointer(), _I64.as_pointer(), _POINTER]),
            module.get_unique_name("tasks_of_" + function.dispatcher.py_func.__name__),
        )
        body.linkage = "internal"
        inside = ir.IRBuilder(body.append_basic_block("entry"))
        first = inside.ptrtoint(inside.load(body.args[0]), _I64)
        count = inside.load(body.args[1])
        worker = inside.call(cgutils.get_or_insert_function(module, ir.FunctionType(_I64, []), "get_thread_id"), [])
        struct = inside.load(inside.bitcast(body.args[3], packed.type.as_pointer()))
        arguments = [_borrowed(context, inside, kind, inside.extract_value(struct, i)) for i, kind in enumerate(args.types)]
        callee = context.declare_function(module, compiled.fndesc)
        restore = _flush_subnormals(module, inside)
        with cgutils.for_range(inside, count) as loop:
            context.call_conv.call_function(
                inside, callee, types.void, task_signature.args, [inside.add(first, loop.index), worker, *arguments]
            )
        restore()
        inside.ret_void()

        data = cgutils.alloca_once_value(builder, packed)
        dimensions = cgutils.alloca_once_value(builder, tasks)
        steps = cgutils.alloca_once_value(builder, ir.Constant(_I64, 1))
        start = cgutils.alloca_once_value(builder, ir.Constant(_POINTER, None))
        threads = builder.call(cgutils.get_or_insert_function(module, ir.FunctionType(_I64, []), "get_num_threads"), [])
        several = builder.and_(
            builder.icmp_signed(">", work, ir.Constant(_I64, WORTH)),
            builder.and_(
                builder.icmp_signed(">", threads, ir.Constant(_I64, 1)), builder.icmp_signed(">", tasks, ir.Constant(_I64, 1))
            ),
        )
        taken = cgutils.add_global_variable(module, _I32, _TAKEN) if _TAKEN not in module.globals else module.globals[_TAKEN]
        on_pool = cgutils.alloca_once_value(builder, cgutils.false_bit)
        with builder.if_then(several):
            exchange = builder.cmpxchg(taken, ir.Constant(_I32, 0), ir.Constant(_I32, 1), "acquire", "monotonic")
            builder.store(builder.extract_value(exchange, 1), on_pool)
        with builder.if_else(builder.load(on_pool)) as (then, otherwise):
            with then:
                launch = cgutils.get_or_insert_function(
                    module,
                    ir.FunctionType(
                        ir.VoidType(),
                        [_POINTER, _POINTER.as_pointer(), _I64.as_pointer(), _I64.as_pointer(), _POINTER, _I64, _I64, _I32],
                    ),
                    "numba_parallel_for",
                )
                inner_dimensions, arrays = ir.Constant(_I64, 0), ir.Constant(_I64, 1)
                builder.call(
                    launch,
                    [
                        builder.bitcast(body, _POINTER),
                        start,
                        dimensions,
                        steps,
                        builder.bitcast(data, _POINTER),
                        inner_dimensions,
                        arrays,
                        builder.trunc(threads, _I32),
                    ],
                )
                builder.store_atomic(ir.Constant(_I32, 0), taken, "release", 4)
            with otherwise:
                builder.call(body, [start, dimensions, steps, builder.bitcast(data, _POINTER)])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, function, args), codegen


def tasks(function: Callable[..., None]) -> Any:
    """Decorator: function(task, worker, *args) becomes function(tasks, work, *args), a parallel loop that Python calls."""
    one_task = part(function)

    def entry(tasks, work, *args):  # type: ignore[no-untyped-def]
        parallel_for(tasks, work, one_task, args)

    entry.__module__, entry.__qualname__, entry.__doc__ = function.__module__, function.__qualname__, function.__doc__
    return compiled(entry, source=function)


def get_num_threads() -> int:
    """How many threads `parallel_for` spreads its tasks over."""
    return int(numba.get_num_threads())


def even_parts(pieces: int) -> int:
    """Into how many parts to cut each of so many equal pieces of work, so that every thread has the same."""
    threads = get_num_threads()
    return threads // gcd(pieces, threads)


def set_num_threads(threads: int) -> None:
    """Spread tasks over this many threads.

    Raises:
        ValueError: if `threads` is no integer between 1 and the number of available cores.
    """
    most = numba.config.NUMBA_NUM_THREADS
    if isinstance(threads, bool) or not hasattr(threads, "__index__") or not 1 <= threads <= most:
        raise ValueError(
            f"`threads` must be an integer between 1 and the {most} cores available. Received: threads={threads!r}"
        )
    numba.set_num_threads(int(threads))
