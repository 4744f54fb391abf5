"""What of Keras's public names is in minicnn, and why the others are not: `python -m tests.coverage_of_keras` prints it.

The names are those of the Keras that is installed. Whether one is here is looked up; why one is not stands below, by
hand, and `tests/test_coverage_of_keras.py` fails for a name that is neither here nor explained, and for a reason that
is out of date.
"""

from __future__ import annotations

import importlib
from types import ModuleType

MODULES = (
    *("layers", "activations", "losses", "metrics", "optimizers", "optimizers.schedules", "initializers", "regularizers"),
    *("constraints", "callbacks", "ops", "ops.image", "applications"),
    *("utils.bounding_boxes", "visualization"),
)

TEXT = "text and tables: not for images"
ATTENTION = "for language models"
AUDIO = "audio and signals"
ENGINES = "runs another engine's code"
SERVERS = "sends to a server, or writes another library's format"
COMPLEX = "complex numbers"
CONTROL = "a loop over a function of numbers: `map` has it for slices"
NUMERICS = "numerics that no image model uses"

WHY_NOT: dict[str, dict[str, str]] = {  # module -> reason -> names
    "layers": {
        TEXT: "Discretization HashedCrossing Hashing",
        ATTENTION: "AdditiveAttention GroupQueryAttention ReversibleEmbedding",
        AUDIO: "MelSpectrogram STFTSpectrogram",
        ENGINES: "FlaxLayer JaxLayer TFSMLayer TorchModuleWrapper",
    },
    "optimizers": {
        "raises an error in Keras 3, too": "legacy",
    },
    "initializers": {AUDIO: "STFT STFTInitializer stft"},
    "callbacks": {SERVERS: "OrbaxCheckpoint RemoteMonitor"},
    "ops": {
        AUDIO: "bartlett blackman extract_sequences hamming hanning irfft istft kaiser rfft stft",
        COMPLEX: "angle conj conjugate eig imag isreal polar real view_as_complex view_as_real",
        CONTROL: "vectorize",
        NUMERICS: "erfinv i0 jvp lu_factor",
    },
}


def find(package: str, module: str) -> ModuleType | None:
    """A module of `package`, None where it has none of this name."""
    try:
        return importlib.import_module(f"{package}.{module}")
    except ModuleNotFoundError:
        return None


def keras_names(module: str) -> list[str]:
    """The public names of one of Keras's modules; what it has in a module of its own is listed there."""
    names = vars(find("keras", module))
    return sorted(name for name, item in names.items() if not name.startswith("_") and f"{module}.{name}" not in MODULES)


def reasons(module: str) -> dict[str, str]:
    """Name -> why it is not here."""
    return {name: reason for reason, listed in WHY_NOT.get(module, {}).items() for name in listed.split()}


def is_here(module: str, name: str) -> bool:
    return hasattr(find("minicnn", module), name)


def unexplained(module: str) -> list[str]:
    """Names that are neither here nor given a reason."""
    return [name for name in keras_names(module) if not is_here(module, name) and name not in reasons(module)]


def outdated(module: str) -> list[str]:
    """Names with a reason that are here by now, or that Keras does not have."""
    return [name for name in reasons(module) if is_here(module, name) or name not in keras_names(module)]


def table() -> str:
    """The page, in Markdown."""
    import keras

    lines = [f"# Keras {keras.__version__}'s names in minicnn", ""]
    for module in MODULES:
        names, why = keras_names(module), reasons(module)
        here = sum(is_here(module, name) for name in names)
        lines += [f"## `{module}`: {here} of {len(names)}", "", "| name | here |", "|---|---|"]
        for name in names:
            answer = "yes" if is_here(module, name) else f"no: {why.get(name, '**unexplained**')}"
            lines.append(f"| `{name}` | {answer} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
