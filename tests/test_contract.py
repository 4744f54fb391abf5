"""The contract between the parts: backends have the reference's ops, imports point one way, functions stay small."""

from __future__ import annotations

import ast
import graphlib
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import minicnn
from minicnn import backends

PACKAGE = Path(minicnn.__file__).parent
REFERENCE = PACKAGE / "backends" / "reference"
FILES = ("conv", "conv_transpose", "depthwise", "pool", "dense", "norm", "elementwise", "image", "loss", "update")
FAST = ["numba_cpu", "cupy_gpu"]
BACKEND_API = [
    "asarray",
    "check_available",
    "describe",
    "empty",
    "get_num_threads",
    "set_num_threads",
    "synchronize",
    "to_numpy",
]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def public_functions(path: Path) -> dict[str, ast.FunctionDef]:
    """The functions that a file defines under a public name, in the order in which they stand."""
    return {node.name: node for node in parse(path).body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")}


# --- backends -----------------------------------------------------------------------

CONTRACT = {file: public_functions(REFERENCE / f"{file}.py") for file in FILES}
OPS = {name: function for ops in CONTRACT.values() for name, function in ops.items()}


def check_against_contract(functions: dict[str, ast.FunctionDef], contract: dict[str, ast.FunctionDef]) -> None:
    """Each op of the contract has its arguments, their types and defaults there; documented; in the same order.

    A file has other functions too, which kernels share. None may be called like an op: what is misspelt would never
    be called, and the reference's lines would run in its place, right and slow. What a decorator makes an op of has
    other arguments: for that see `test_a_loaded_backend_has_every_op_and_its_own_switches`.
    """
    for name, function in functions.items():
        if name not in contract:
            assert not re.search(r"(_forward|_backward|_inference|_)$", name), f"{name} is no op of the reference's file"
        elif not function.decorator_list:
            assert ast.unparse(function.args) == ast.unparse(contract[name].args), name
            assert ast.get_docstring(function), name
    assert [name for name in functions if name in contract] == [name for name in contract if name in functions]


def test_every_op_is_documented_and_stands_in_one_file() -> None:
    assert len(OPS) == sum(map(len, CONTRACT.values()))
    for name, function in OPS.items():
        assert ast.get_docstring(function), name


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("backend", FAST)
def test_a_fast_backend_s_public_functions_are_ops_of_the_reference_s_file(backend: str, file: str) -> None:
    check_against_contract(public_functions(PACKAGE / "backends" / backend / f"{file}.py"), CONTRACT[file])


def test_the_loops_are_ops_of_the_reference() -> None:
    functions = public_functions(REFERENCE / "loops.py")
    check_against_contract({name: function for name, function in functions.items() if name not in BACKEND_API}, OPS)


@pytest.mark.parametrize("backend", FAST)
def test_a_fast_backend_lists_no_ops(backend: str) -> None:
    """They are found by their names: nobody adds one to a list."""
    names = {node.id for node in ast.walk(parse(PACKAGE / "backends" / backend / "__init__.py")) if isinstance(node, ast.Name)}
    for node in ast.walk(parse(PACKAGE / "backends" / backend / "__init__.py")):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant):
            names.add(node.value)
    assert not names & set(OPS)


@pytest.mark.parametrize("name", ["numba", "reference", "loops"])
def test_a_loaded_backend_has_every_op_and_its_own_switches(name: str) -> None:
    loaded, contract = backends.load(name), backends.load("reference")
    assert list(loaded) == list(OPS)
    for op, function in loaded.items():
        assert inspect.signature(function) == inspect.signature(contract[op]), op
        assert inspect.getdoc(function), op
    own = {"numba": "minicnn.backends.numba_cpu", "loops": "minicnn.backends.reference.loops"}.get(name, "")
    homes = {f"minicnn.backends.reference.{file}" for file in FILES} | {own} | {f"{own}.{file}" for file in FILES}
    assert {function.__module__ for function in loaded.values()} <= homes  # the reference's where it has none of its own
    module = importlib.import_module(own or "minicnn.backends.reference")
    for switch in BACKEND_API:
        assert callable(getattr(module, switch)), switch


def test_a_loaded_backend_takes_its_own_functions() -> None:
    own = {name: {function.__module__ for function in backends.load(name).values()} for name in ("numba", "loops")}
    assert own["numba"] >= {f"minicnn.backends.numba_cpu.{file}" for file in FILES}
    assert "minicnn.backends.reference.loops" in own["loops"]


# --- imports ------------------------------------------------------------------------
# A file may import what stands on its own line or above, never what stands below; and no two files import each other,
# not even by way of others.

RANKS: list[list[str]] = [
    ["config", "shapes", "structure", "registry", "serialization", "atomic", "tree", "untrusted"],
    ["backends"],
    ["tensor"],
    ["variables", "rows"],
    ["seeds", "tape"],
    ["initializers", "activations", "losses", "metrics", "regularizers", "constraints"],
    ["optimizers"],
    ["layers"],
    ["ops"],
    ["dtype_policies", "mixed_precision", "random"],
    ["callbacks", "saving"],
    ["models"],
    ["data", "datasets", "preprocessing"],
    ["tf"],
    ["utils", "bounding_boxes"],
    ["backend"],
    ["applications", "wrappers", "zoo"],
    ["study"],
    ["visualization"],
    ["bench"],
    ["recipes"],
    ["cli"],
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
HOMES = {  # where alone a library may be imported
    "numba": "minicnn.backends.numba_cpu",
    "llvmlite": "minicnn.backends.numba_cpu",
    "cupy": "minicnn.backends.cupy_gpu",
    "cupyx": "minicnn.backends.cupy_gpu",
    "matplotlib": "minicnn.study",
}
NEVER = {"tensorflow", "keras", "torch", "jax"}
# Run as a file in a process of its own: there it imports the one engine that it measures, minicnn or a peer.
WORKER = "minicnn.bench.worker"


def imported_modules(module: str) -> Iterator[str]:
    """Every module that a file imports, also inside its functions; `from package import module` as the module."""
    for node in ast.walk(parse(MODULES[module])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                is_package = MODULES[module].name == "__init__.py"
                above = module.split(".")[: len(module.split(".")) - node.level + is_package]
                source = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{source}.{alias.name}"
                if name != "minicnn.__version__":
                    yield name if name in MODULES else source


def part(module: str) -> str:
    """ "losses" of "minicnn.losses.something"; "" of the package itself."""
    return ".".join(module.split(".")[1:2])


@pytest.mark.parametrize("module", [module for module in MODULES if part(module) and module != WORKER])
def test_imports_point_upwards(module: str) -> None:
    assert part(module) in RANK, f"{module} has no place in the order of imports"
    for imported in imported_modules(module):
        if imported.split(".")[0] == "minicnn":
            assert part(imported) in RANK, f"{module} imports {imported}"
            assert RANK[part(imported)] <= RANK[part(module)], f"{module} imports {imported}, which stands below it"


# Of `backends`, line by line as above. Its `__init__` imports a backend when its first op is needed, by its name.
BACKEND_RANKS = [{"types", "memory"}, {"reference"}, {"numba_cpu", "cupy_gpu"}, {"volumes"}]


@pytest.mark.parametrize("module", [module for module in MODULES if part(module) == "backends"])
def test_backends_stand_on_the_reference_and_not_on_each_other(module: str) -> None:
    def rank(name: str) -> int:
        return next(i for i, parts in enumerate(BACKEND_RANKS) if name.split(".")[2] in parts)

    for imported in imported_modules(module):
        if imported.startswith("minicnn.backends."):
            assert module != "minicnn.backends", f"{module} imports {imported} before anybody needs it"
            own = imported.split(".")[2] == module.split(".")[2]
            assert own or rank(imported) < rank(module), f"{module} imports {imported}"


def test_no_import_circle() -> None:
    """Between files, inside functions too. (That a package's `__init__` runs before its files is Python's own.)"""
    graph = {module: {name for name in imported_modules(module) if name in MODULES} - {module} for module in MODULES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", [module for module in MODULES if module != WORKER])
def test_libraries_stay_where_they_belong(module: str) -> None:
    for imported in imported_modules(module):
        library = imported.split(".")[0]
        assert library not in NEVER, f"{module} imports {imported}"
        home = HOMES.get(library)
        assert home is None or f"{module}.".startswith(f"{home}."), f"{module} imports {imported}"


def test_a_worker_imports_nothing_until_it_knows_its_engine() -> None:
    """The standard library's portable part, that is: `minicnn --help` reads the engines' names from it."""
    outside = {module.split(".")[0] for module in imported_modules(WORKER)} - sys.stdlib_module_names
    assert outside == {"torch", "numpy"}  # and, by name, minicnn or Keras
    script = (
        "import runpy, sys; before = {*sys.modules}; sys.modules['resource'] = None\n"  # which Windows lacks
        "runpy.run_path(sys.argv[1]); print(*{name.split('.')[0] for name in {*sys.modules} - before})"
    )
    command = [sys.executable, "-c", script, str(MODULES[WORKER])]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(loaded.stdout.split()) <= sys.stdlib_module_names


@pytest.mark.parametrize("module", [module for module in MODULES if part(module) in ("data", "datasets", "preprocessing")])
def test_data_needs_no_engine(module: str) -> None:
    """NumPy and shapes only (and `Tensor`, a NumPy array): the pipelines can be used without a model, a backend or Numba."""
    parts = {part(imported) for imported in imported_modules(module) if imported.split(".")[0] == "minicnn"}
    assert parts <= {"config", "shapes", "registry", "atomic", "untrusted", "tensor", "data", "datasets", "preprocessing"}


def test_importing_minicnn_loads_nothing_heavy() -> None:
    heavy = {"numba", "cupy", "matplotlib", "h5py", "sklearn", "scipy", "PIL", "rich", "click", "pandas", *NEVER}
    of_one_use = {"socket", "html", "concurrent.futures", "logging", "secrets"}  # of the standard library, 5 to 10 ms each
    own = {
        f"minicnn.{name}"
        for name in ("data", "datasets", "preprocessing", "tf", "zoo", "study", "visualization", "bench", "cli")
    }
    own |= {f"minicnn.backends.{name}" for name in ("numba_cpu", "cupy_gpu", "reference.loops")}
    script = "import sys, numpy; before = {*sys.modules}; import minicnn; print(*{*sys.modules} - before)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    names = set(loaded.stdout.split())
    assert "minicnn.layers" in names
    assert not (heavy | of_one_use | own) & names


# --- functions ----------------------------------------------------------------------

MOST_PARAMETERS = 8
MOST_LINES = 60  # without the docstring
KERAS = """
    bounding_boxes.affine_transform
    callbacks.tensorboard.TensorBoard.__init__
    data.directory.image_dataset_from_directory
    data.sequences.timeseries_dataset_from_array
    datasets.files.get_file
    layers.attention.EinsumDense.__init__
    layers.attention.MultiHeadAttention.__init__
    layers.attention.MultiHeadAttention.call
    layers.augment.Resizing.__init__
    layers.base.Layer.add_weight
    layers.conv.Conv2D.__init__
    layers.conv_lstm.ConvLSTM2D.__init__
    layers.conv_lstm.ConvLSTMCell.__init__
    layers.conv_transpose.Conv2DTranspose.__init__
    layers.dense.Dense.__init__
    layers.depthwise.DepthwiseConv2D.__init__
    layers.depthwise.SeparableConv2D.__init__
    layers.embedding.Embedding.__init__
    layers.gru.GRU.__init__
    layers.gru.GRUCell.__init__
    layers.input.Input
    layers.input.InputLayer.__init__
    layers.lstm.LSTM.__init__
    layers.lstm.LSTMCell.__init__
    layers.lookup.IntegerLookup.__init__
    layers.lookup.StringLookup.__init__
    layers.normalization.BatchNormalization.__init__
    layers.normalization.GroupNormalization.__init__
    layers.normalization.LayerNormalization.__init__
    layers.policy.AugMix.__init__
    layers.simple_rnn.SimpleRNN.__init__
    layers.simple_rnn.SimpleRNNCell.__init__
    layers.text.TextVectorization.__init__
    losses.focal.BinaryFocalCrossentropy.__init__
    metrics.confusion.AUC.__init__
    models.compile.Compilable.compile
    models.training.Trainer.fit
    ops.image.resize
    optimizers.base.Optimizer.__init__
    optimizers.muon.Muon.__init__
    preprocessing.image.augmentation.Augmentation.__init__
    preprocessing.image.generator.ImageDataGenerator.flow
    preprocessing.image.generator.ImageDataGenerator.flow_from_dataframe
    preprocessing.image.generator.ImageDataGenerator.flow_from_directory
    preprocessing.image.iterators.DataFrameIterator.__init__
    preprocessing.image.iterators.DirectoryIterator.__init__
    preprocessing.image.iterators.NumpyArrayIterator.__init__
    preprocessing.image.transforms.apply_affine_transform
    study.diagram.model_to_dot
    study.diagram.plot_model
    study.gallery.plot_bounding_box_gallery
    study.gallery.plot_image_gallery
    study.gallery.plot_segmentation_mask_gallery
    study.overlays.draw_bounding_boxes
"""
# Functions of more parameters: the signatures are Keras's.
WIDE = set(KERAS.split())


def functions(module: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function of a file, by its name inside the package."""

    def inside(node: ast.AST, name: str) -> Iterator[tuple[str, ast.FunctionDef]]:
        for child in ast.iter_child_nodes(node):
            deeper = f"{name}.{child.name}" if isinstance(child, (ast.ClassDef, ast.FunctionDef)) else name
            if isinstance(child, ast.FunctionDef):
                yield deeper.removeprefix("minicnn."), child
            yield from inside(child, deeper)

    yield from inside(parse(MODULES[module]), module)


def parameters(function: ast.FunctionDef) -> list[str]:
    """The names that a caller may give; not `self`."""
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return names[names[:1] in (["self"], ["cls"]) :]


def test_functions_take_few_parameters() -> None:
    wide = {name for module in MODULES for name, function in functions(module) if len(parameters(function)) > MOST_PARAMETERS}
    assert wide - WIDE == set(), "bundle the arguments"
    assert WIDE - wide == set(), "no longer needed in `WIDE`"


@pytest.mark.parametrize("module", [module for module in MODULES if part(module) in ("models", "layers", "backends")])
def test_functions_fit_on_a_screen(module: str) -> None:
    """Or their docstring or a comment says why, in a sentence that begins with "Long"."""
    source = MODULES[module].read_text(encoding="utf-8")
    for name, function in functions(module):
        docstring = function.body[0] if ast.get_docstring(function) else None
        lines = function.end_lineno - function.lineno + 1
        if docstring is not None:
            lines -= docstring.end_lineno - docstring.lineno + 1
        text = ast.get_source_segment(source, function) or ""
        assert lines <= MOST_LINES or re.search(r"\bLong[:,]? \w+", text), f"{name} has {lines} lines"
