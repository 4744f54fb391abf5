"""The twins of the kernels' index arithmetic against the reference backend, over drawn shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.cupy_gpu import gemm
from minicnn.backends.cupy_gpu.compile import blocks, column_chunks
from minicnn.backends.cupy_gpu.update import MOST, _groups
from minicnn.backends.reference.conv import conv2d_backward, conv2d_forward
from minicnn.backends.reference.elementwise import random_bits
from minicnn.backends.types import Window
from tests.gpu import twins
from tests.ops.checks import gradient_cases, seeds
from tests.ops.windows import Windows, windows

few_channels = st.sampled_from([1, 3, 4, 9])
geometries = {"case": windows(dilated=True), "C_in": few_channels, "C_out": few_channels, "seed": seeds}


def drawn(case: Windows, C_in: int, C_out: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, Window]:
    rng = np.random.default_rng(seed)
    x, kernel = rng.standard_normal((case.batch, *case.image, C_in)), rng.standard_normal((*case.window, C_in, C_out))
    window = case.geometry()
    return x, kernel, rng.standard_normal((case.batch, *window.output, C_out)), window


def assert_equal(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10 * max(1.0, np.abs(expected).max(initial=0)))


@gradient_cases
@given(**geometries)
def test_conv2d_forward(case: Windows, C_in: int, C_out: int, seed: int) -> None:
    x, kernel, _, window = drawn(case, C_in, C_out, seed)
    assert_equal(twins.conv2d_forward(x, kernel, window), conv2d_forward(x, kernel, None, window)[0])


@gradient_cases
@given(**geometries)
def test_conv2d_backward_input(case: Windows, C_in: int, C_out: int, seed: int) -> None:
    x, kernel, dy, window = drawn(case, C_in, C_out, seed)
    assert_equal(twins.conv2d_backward_input(dy, kernel, x.shape, window), conv2d_backward(dy, x, kernel, window)[0])


@gradient_cases
@given(**geometries)
def test_conv2d_backward_kernel(case: Windows, C_in: int, C_out: int, seed: int) -> None:
    x, kernel, dy, window = drawn(case, C_in, C_out, seed)
    assert_equal(twins.conv2d_backward_kernel(x, dy, kernel.shape, window), conv2d_backward(dy, x, kernel, window)[1])


@pytest.mark.parametrize("name", gemm.TILES)
def test_a_block_fetches_and_owns_each_element_once(name: str) -> None:
    tile = gemm.TILES[name]
    for extent in (tile.BLOCK_M, tile.BLOCK_N):
        for vector in (1, 2, 4):
            for along_k in (True, False):
                assert (twins.loaded(tile, extent, vector, along_k) == 1).all()
    assert (twins.owned(tile) == 1).all()
    assert (twins.owned_by_tensor_cores(tile) == 1).all()


@pytest.mark.parametrize("name", gemm.TILES)
def test_a_tile_fits_into_a_block(name: str) -> None:
    """48 KiB of shared memory for two pairs of tiles, at most 1024 threads, whole warps."""
    tile = gemm.TILES[name]
    assert tile.threads % 32 == 0
    assert tile.threads <= 1024
    for dtype, pads in (("float32", 8), ("float64", 4)):
        chosen = {gemm.choose_tile(rows, cols, dtype) for rows in (8, 64, 10**6) for cols in (8, 32, 64, 128, 192)}
        if tile in chosen:
            numbers = 2 * tile.BLOCK_K * (tile.BLOCK_M + tile.BLOCK_N + 2 * pads)
            assert numbers * np.dtype(dtype).itemsize <= 48 * 1024


@given(rows=st.integers(1, 10**7), cols=st.integers(1, 2048), depth=st.integers(1, 10**7))
def test_chunks_cover_the_sum(rows: int, cols: int, depth: int) -> None:
    tile = gemm.choose_tile(rows, cols, "float32")
    chunk = gemm.choose_chunk(tile.covering(rows, cols), depth, tile.BLOCK_K)
    assert chunk % tile.BLOCK_K == 0
    chunks = -(-depth // chunk)
    assert (chunks - 1) * chunk < depth <= chunks * chunk
    assert chunks <= 65535  # the grid's limit along z


@gradient_cases
@given(case=windows(pads_below_window=True))
def test_pooling_gathers_from_all_covering_windows(case: Windows) -> None:
    """Against the definition: window o covers the pixels o*stride - before ... + size - 1."""
    output = case.geometry().output
    for axis, before in ((0, case.pads[0]), (1, case.pads[2])):
        extent, size, stride, count = case.image[axis], case.window[axis], case.strides[axis], output[axis]
        members = [set(range(o * stride - before, o * stride - before + size)) for o in range(count)]
        for at in range(extent):
            expected = [o for o in range(count) if at in members[o]]
            assert twins.covering_windows(at, before, size, stride, count) == expected
        for o in range(count):
            assert twins.real_pixels(o, before, size, stride, extent) == len(members[o] & set(range(extent)))


@given(seed=seeds, step=seeds, count=st.integers(1, 50))
def test_random_bits(seed: int, step: int, count: int) -> None:
    key = np.array([seed, step], np.uint32)
    np.testing.assert_array_equal(twins.random_bits(key, count), random_bits(key, count))


@given(rows=st.integers(1, 10**7), C=st.integers(1, 5000))
def test_column_sums_cover_the_matrix(rows: int, C: int) -> None:
    (groups, chunks), rows_per_chunk = column_chunks(rows, C)
    assert (groups - 1) * 32 < C <= groups * 32
    assert (chunks - 1) * rows_per_chunk < rows <= chunks * rows_per_chunk
    assert chunks <= 65535


@given(size=st.integers(1, 10**9))
def test_a_grid_has_threads_for_all_elements_up_to_its_limit(size: int) -> None:
    (count,) = blocks(size)
    assert count * 256 >= min(size, 2**24)


@given(count=st.integers(1, 200))
def test_every_parameter_is_in_one_launch(count: int) -> None:
    groups = list(_groups([list(range(count)), None]))
    assert [first for first, _ in groups] == list(range(0, count, MOST))
    assert [item for _, (group, _) in groups for item in group] == list(range(count))


@pytest.mark.parametrize("rows", [5, 33, 300, 9000, 40_000])
@pytest.mark.parametrize("cols", [1, 16, 17, 33, 64, 65, 128, 192, 256])
def test_a_grid_of_tiles_covers_its_product_once(rows: int, cols: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of the tiles that only large products have, longer than they are wide."""
    launched: list[tuple[Any, ...]] = []
    monkeypatch.setattr(gemm, "launch", lambda *arguments: launched.append(arguments))
    monkeypatch.setattr(gemm, "empty", np.empty)
    gemm.multiply(gemm.Product("conv2d_forward", rows, cols, 8, {}, {}), (np.zeros((1, 8), np.float32),), (1,))
    _, _, (down, across, deep), _, _, _, _, constants = launched[0]
    for places, block, size in ((down, constants["BLOCK_M"], rows), (across, constants["BLOCK_N"], cols)):
        assert (places - 1) * block < size <= places * block
    assert deep == 1
