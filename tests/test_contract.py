"""The contract between the parts: every backend has the spec's ops, and imports point one way."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import minicnn
from minicnn.backends import spec

PACKAGE = Path(minicnn.__file__).parent
BACKENDS = ["reference", "numba_cpu", "cupy_gpu"]
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
    """The functions that a file defines or, by `from ... import`, takes over; in the order in which they stand."""
    found: dict[str, ast.FunctionDef] = {}
    for node in parse(path).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("minicnn.backends.reference"):
            source = MODULES[node.module]
            for alias in node.names:
                function = public_functions(source).get(alias.name)
                if function is not None:
                    found[alias.asname or alias.name] = function
    return found


SPEC = public_functions(PACKAGE / "backends" / "spec.py")


def test_spec_lists_exactly_the_ops_it_documents() -> None:
    listed = [*spec.names(), *(name for names in spec.FUSED.values() for name in names)]
    assert sorted(listed) == sorted(set(SPEC) - {"names"})
    for name in listed:
        assert ast.get_docstring(SPEC[name]), name


@pytest.mark.parametrize("file", spec.OPS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_has_the_spec_s_signatures_in_the_spec_s_order(backend: str, file: str) -> None:
    functions = public_functions(PACKAGE / "backends" / backend / f"{file}.py")
    assert not set(spec.OPS[file]) - set(functions)
    for name in (*spec.OPS[file], *spec.FUSED.get(file, ())):
        if name in functions:
            assert ast.dump(functions[name].args) == ast.dump(SPEC[name].args), name
            assert ast.get_docstring(functions[name]), name
    tree = parse(PACKAGE / "backends" / backend / f"{file}.py")
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in spec.OPS[file]]
    assert defined == [name for name in spec.OPS[file] if name in defined]


@pytest.mark.parametrize("backend", ["reference", "numba_cpu"])
def test_backend_exports_the_ops_and_its_own_switches(backend: str) -> None:
    module = importlib.import_module(f"minicnn.backends.{backend}")
    for file, names in spec.OPS.items():
        for name in names:
            function = getattr(module, name)
            assert list(inspect.signature(function).parameters) == [argument.arg for argument in SPEC[name].args.args]
            # its own, or the reference backend's where there is nothing to be won
            assert function.__module__ in (f"minicnn.backends.{backend}.{file}", f"minicnn.backends.reference.{file}"), name
    for name in BACKEND_API:
        assert callable(getattr(module, name)), name


# --- imports ------------------------------------------------------------------------
# A file may import what stands on its own line or above, never what stands below.

RANKS: list[list[str]] = [
    ["config", "shapes", "registry", "serialization", "atomic", "untrusted"],
    ["backends"],
    ["variables", "tensor"],
    ["seeds"],
    ["initializers", "activations", "losses", "metrics", "regularizers", "constraints"],
    ["optimizers"],
    ["layers"],
    ["callbacks", "saving"],
    ["models"],
    ["data", "datasets", "preprocessing"],
    ["utils"],
    ["zoo"],
    ["study"],
    ["bench"],
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
    """NumPy and shapes only: the pipelines can be used without a model, a backend or Numba."""
    parts = {part(imported) for imported in imported_modules(module) if imported.split(".")[0] == "minicnn"}
    assert parts <= {"config", "shapes", "registry", "atomic", "untrusted", "data", "datasets", "preprocessing"}


def test_importing_minicnn_loads_nothing_heavy() -> None:
    heavy = {"numba", "cupy", "matplotlib", "h5py", "sklearn", "scipy", "PIL", "rich", "click", "pandas", *NEVER}
    script = "import sys, minicnn; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert not heavy & set(loaded.stdout.split())
