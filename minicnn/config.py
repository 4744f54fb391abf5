"""Switches that every part of minicnn reads: float type, epsilon, seed.

Ground level: imports nothing of minicnn. The backend's own switches (which one, how
many threads) live in `minicnn.backends`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import numpy as np

_FLOAT_TYPES = ("float32", "float64")

_floatx = "float32"
_MATMUL_PRECISIONS = ("highest", "high", "medium")

_PRECISIONS_OF_POLICIES = {"float32": "highest", "mixed_bfloat16": "medium", "mixed_float16": "highest"}

_epsilon = 1e-7
_matmul_precision = "highest"
_image_data_format = "channels_last"
_seed: int | None = None
_drawn = 0  # seeds handed out since `set_random_seed`: the "layer" part of a key

running_pass: ContextVar[list[int] | None] = ContextVar("running_pass", default=None)
"""While a model trains: [which pass over data this is, since it was compiled], a new list for each.

A `Dataset` that shuffles anew in each pass takes its order from it: so a run that is resumed sees the orders that
the first run would have seen.
"""


def floatx() -> str:
    """The default float type of new weights and of data fed to models: "float32" or "float64"."""
    return _floatx


def set_floatx(dtype: str) -> None:
    """Choose the default float type, "float32" or (for gradient checks) "float64"."""
    global _floatx
    if dtype not in _FLOAT_TYPES:
        raise ValueError(f"Unknown dtype: {dtype!r}. minicnn computes in one of {_FLOAT_TYPES}.")
    _floatx = str(dtype)


def epsilon() -> float:
    """The small constant that losses clip probabilities with (Keras's, 1e-7)."""
    return _epsilon


def set_epsilon(value: float) -> None:
    """Set the constant that `epsilon()` returns."""
    global _epsilon
    _epsilon = float(value)


def float32_matmul_precision() -> str:
    """How exactly products of float32 are computed: "highest", "high" or "medium"; see `set_float32_matmul_precision`."""
    return _matmul_precision


def set_float32_matmul_precision(precision: str) -> None:
    """Choose how exactly convolutions multiply float32, as in PyTorch.

    Args:
        precision: "highest" (the default) or "high": in float32. "medium": both factors may be rounded to bfloat16 (8 bits,
            a relative error of up to 0.4% each), and are where that is faster: by the numba backend, on a processor with
            AMX. Sums, and all that is stored, are float32 in any case.

    Raises:
        ValueError: for another precision.
    """
    global _matmul_precision
    if precision not in _MATMUL_PRECISIONS:
        raise ValueError(f"Unknown precision: {precision!r}. Expected one of {', '.join(map(repr, _MATMUL_PRECISIONS))}.")
    _matmul_precision = str(precision)


class DTypePolicy:
    """What a program says about precision: "float32", "mixed_bfloat16" or "mixed_float16"; see `set_dtype_policy`.

    Attributes:
        compute_dtype, variable_dtype: "float32", what minicnn computes in, for each of them.
    """

    compute_dtype = variable_dtype = "float32"

    def __init__(self, name: str = "float32") -> None:
        if name not in _PRECISIONS_OF_POLICIES:
            raise ValueError(
                f"Cannot convert {name!r} to a mixed precision DTypePolicy. Valid policies are "
                f"{', '.join(map(repr, _PRECISIONS_OF_POLICIES))}; for float64 there is `config.set_floatx`."
            )
        self.name = name

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def get_config(self) -> dict[str, Any]:
        """The constructor's argument."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicy:
        """The reverse of `get_config`."""
        return cls(**config)


def dtype_policy() -> DTypePolicy:
    """The policy that was set last."""
    return _dtype_policy


def set_dtype_policy(policy: DTypePolicy | str) -> None:
    """Accept what programs say about half precision, as far as minicnn has it. Weights and results are float32 in any case.

    Args:
        policy: "mixed_bfloat16": as `set_float32_matmul_precision("medium")`, convolutions may round their factors to
            bfloat16. "float32" and "mixed_float16": all in float32, "highest"; there is no float16, and so nothing that
            `LossScaleOptimizer` would have to save.

    Raises:
        ValueError: for another policy.
    """
    global _dtype_policy
    _dtype_policy = policy if isinstance(policy, DTypePolicy) else DTypePolicy(policy)
    set_float32_matmul_precision(_PRECISIONS_OF_POLICIES[_dtype_policy.name])


_dtype_policy = DTypePolicy()


def image_data_format() -> str:
    """What `data_format=None` means for layers: "channels_last" or "channels_first"."""
    return _image_data_format


def set_image_data_format(data_format: str) -> None:
    """Choose it. minicnn stores images with their channels last: layers of the other format transpose what they are given."""
    global _image_data_format
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            "The `data_format` argument must be one of {'channels_first', 'channels_last'}. "
            f"Received: data_format={data_format!r}"
        )
    _image_data_format = str(data_format)


def disable_traceback_filtering() -> None:
    """Nothing: errors of minicnn always show every line that they came from."""


enable_traceback_filtering = disable_traceback_filtering


def is_traceback_filtering_enabled() -> bool:
    """False: see `disable_traceback_filtering`."""
    return False


_safe_mode = True


def enable_unsafe_deserialization() -> None:
    """Let files and configs bring the code of Python's lambdas from now on, as `load_model(safe_mode=False)` does for one.

    Only for files whose origin you trust: such code can do whatever this program may do.
    """
    global _safe_mode
    _safe_mode = False


def is_safe_mode() -> bool:
    """Whether nobody called `enable_unsafe_deserialization`."""
    return _safe_mode


def enable_interactive_logging() -> None:
    """Nothing: minicnn prints its progress where `verbose` says so."""


disable_interactive_logging = enable_interactive_logging


def is_interactive_logging_enabled() -> bool:
    """True: see `enable_interactive_logging`."""
    return True


def backend_name() -> str:
    """The backend asked for by the environment variable MINICNN_BACKEND; "numba" without it."""
    return os.environ.get("MINICNN_BACKEND", "numba")


backend = backend_name  # Keras's name


def list_physical_devices(device_type: str | None = None) -> list[Any]:
    """TensorFlow's question for processors: this one, and a GPU where MINICNN_BACKEND asks for one.

    Args:
        device_type: "CPU" or "GPU"; None for both.

    Returns:
        objects of a `name` and a `device_type`.
    """
    kinds = ["CPU", *(["GPU"] if backend_name() == "cupy" else [])]
    return [
        SimpleNamespace(name=f"/physical_device:{kind}:0", device_type=kind) for kind in kinds if device_type in (None, kind)
    ]


def _no_effect(what: str) -> Callable[..., None]:
    def call(*args: Any, **kwargs: Any) -> None:
        pass

    call.__name__, call.__doc__ = what, f"TensorFlow's switch {what}, which says nothing to minicnn."
    return call


_SWITCHES = "set_visible_devices set_logical_device_configuration run_functions_eagerly set_soft_device_placement"
globals().update({name: _no_effect(name) for name in _SWITCHES.split()})
list_logical_devices = get_visible_devices = list_physical_devices
LogicalDeviceConfiguration = SimpleNamespace
experimental = SimpleNamespace(
    list_physical_devices=list_physical_devices,
    list_logical_devices=list_physical_devices,
    get_visible_devices=list_physical_devices,
    VirtualDeviceConfiguration=SimpleNamespace,
    **{
        name: _no_effect(name)
        for name in (
            *("enable_op_determinism", "set_memory_growth", "set_synchronous_execution", "set_visible_devices"),
            *("set_virtual_device_configuration", "enable_tensor_float_32_execution", "run_functions_eagerly"),
        )
    },
)
optimizer = SimpleNamespace(set_jit=_no_effect("set_jit"), set_experimental_options=_no_effect("set_experimental_options"))
threading = SimpleNamespace(
    set_inter_op_parallelism_threads=_no_effect("set_inter_op_parallelism_threads"),
    set_intra_op_parallelism_threads=_no_effect("set_intra_op_parallelism_threads"),
)


def functions_run_eagerly() -> bool:
    """True: functions run as they stand."""
    return True


def random_seed() -> int:
    """The global seed; drawn from the operating system once if none was set."""
    global _seed
    if _seed is None:
        _seed = int(np.random.SeedSequence().entropy) & 0xFFFFFFFF  # type: ignore[arg-type]
    return _seed


def set_random_seed(seed: int) -> None:
    """Seed everything: weights, dropout, augmentation, shuffling; Python's and NumPy's generators too.

    Args:
        seed: an int in [0, 2**32).

    Every random number of minicnn is a pure function of (seed, drawer, step, element), so one
    seed gives one result on every backend and for every number of threads.
    """
    global _seed, _drawn
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(
            f"Expected `seed` argument to be an integer in [0, 2**32). Received: seed={seed} (of type {type(seed)})"
        )
    import random

    _seed, _drawn = int(seed), 0
    random.seed(_seed)
    np.random.seed(_seed)


def next_seed() -> int:
    """A fresh 32-bit seed for one drawer (an initializer, a dropout layer, a shuffle).

    The k-th call after `set_random_seed(s)` always returns the same number.
    """
    global _drawn
    seed = np.random.SeedSequence(entropy=random_seed(), spawn_key=(_drawn,)).generate_state(1)[0]
    _drawn += 1
    return int(seed)


def random_state() -> dict[str, Any]:
    """Where all global generators stand, as plain data and arrays: minicnn's seeds, Python's and NumPy's."""
    import random

    version, words, gauss = random.getstate()
    return {
        "seed": random_seed(),
        "drawn": _drawn,
        "python": [version, np.array(words, np.uint32), gauss],
        "numpy": np.random.get_state(legacy=False),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put the global generators where `random_state` found them."""
    global _seed, _drawn
    import random

    _seed, _drawn = state["seed"], state["drawn"]
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    np.random.set_state(state["numpy"])
