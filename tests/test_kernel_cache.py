"""The cache of compiled kernels: damaged files are compiled again, a full disk is no error, strangers' code is not run."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from minicnn.backends.numba_cpu import _compile

numba = pytest.importorskip("numba")


def double(x):
    return x + x


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of this test's own."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def compile_anew():
    """(hits, misses) of the cache when `double` is made and called as in a new process."""
    kernel = _compile.compiled(double)
    assert kernel(21.0) == 42.0
    return sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())


def files(cache):
    return {path.suffix: path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_kernel_is_compiled_once(cache):
    assert compile_anew() == (0, 1)
    assert compile_anew() == (1, 0)
    assert set(files(cache)) == {".nbi", ".nbc"}


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "longer", "old"])
def test_a_damaged_file_is_compiled_again(cache, suffix, damage):
    compile_anew()
    path = files(cache)[suffix]
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 7, dtype=int):
        flipped = bytearray(content)
        flipped[place] ^= 0x41
        path.write_bytes(
            {
                "empty": b"",
                "cut": content[:place],
                "flipped": bytes(flipped),
                "longer": content + b"x",
                "old": content[32:],  # as Numba wrote it, without a checksum
            }[damage]
        )
        assert compile_anew() == (0, 1)
        assert compile_anew() == (1, 0)


def test_another_kernel_s_file_is_not_taken(cache):
    def triple(x):
        return x + x + x

    compile_anew()
    kernel = _compile.compiled(triple)
    assert kernel(2.0) == 6.0
    (mine,) = [path for path in cache.rglob("*.nbc") if path.name.startswith("test_kernel_cache.double")]
    (other,) = [path for path in cache.rglob("*.nbc") if path != mine]
    mine.write_bytes(other.read_bytes())
    assert compile_anew() == (0, 1)


@pytest.mark.parametrize("call", ["open", "write", "replace"])
def test_a_full_disk_is_no_error(cache, monkeypatch, call):
    compile_anew()
    for path in files(cache).values():
        path.unlink()

    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "write":
        monkeypatch.setattr(_compile._CheckedFiles, "_write", full)
    elif call == "open":
        monkeypatch.setattr(_compile._CheckedFiles, "_open_for_write", full)
    else:
        monkeypatch.setattr(numba.core.caching.os, "replace", full)
    assert compile_anew() == (0, 1)
    assert files(cache) == {}  # no leftovers


@pytest.mark.skipif(os.name != "posix", reason="folders have no such permissions")
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_folder_that_others_can_write_is_not_used(cache, mode):
    cache.chmod(mode)
    with pytest.warns(UserWarning, match=rf"keeps no compiled kernels in NUMBA_CACHE_DIR={cache}.*chmod go-w") as caught:
        [_compile.compiled(double) for _ in range(2)]
    assert len(caught) == 1
    assert files(cache) == {}


def test_no_two_kernels_have_one_name():
    """Names of compiled code are made of the functions', and of a number that each process counts anew.

    Two kernels of one name, compiled in two processes, could be taken for each other by a third that reads both.
    """
    import gc

    from numba.core.dispatcher import Dispatcher

    from minicnn import backends

    backends.load("numba")
    kernels = [item.py_func for item in gc.get_objects() if issubclass(type(item), Dispatcher)]  # not through a proxy
    named: dict[tuple[str, str, str], object] = {}
    for function in kernels:
        if function.__module__.startswith("minicnn."):
            name = function.__module__, function.__qualname__, function.__name__
            assert named.setdefault(name, function) is function, name
