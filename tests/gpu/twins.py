"""The kernels' index arithmetic once more, in NumPy: what each thread of a launch reads, adds and writes.

Names and formulas are those of `minicnn/backends/cupy_gpu/kernels`; arrays of indices stand
where a kernel has one thread each. The twins need neither a GPU nor a compiler.
"""

from __future__ import annotations

from math import gcd

import numpy as np

from minicnn.backends.cupy_gpu.gemm import Tile, choose_chunk, choose_tile
from minicnn.backends.types import Window

# --- patches.cuh ----------------------------------------------------------------------


def patches(x: np.ndarray, window: Window) -> np.ndarray:
    """patch(pixel, tap) for all pixels (n, oy, ox) and taps (ky, kx, ci), read at computed addresses of flat memory."""
    (N, H, W, C_IN), ((KH, KW), (SH, SW), (DH, DW), (TOP, _, LEFT, _), (OH, OW), _) = x.shape, window
    pixel, tap = np.arange(N * OH * OW)[:, None], np.arange(KH * KW * C_IN)[None, :]
    ox, oy, n = pixel % OW, pixel // OW % OH, pixel // (OW * OH)
    corner_y, corner_x = oy * SH - TOP, ox * SW - LEFT
    ci, kx, ky = tap % C_IN, tap // C_IN % KW, tap // (C_IN * KW)
    h, w = corner_y + ky * DH, corner_x + kx * DW
    inside = (h >= 0) & (h < H) & (w >= 0) & (w < W)
    address = n * (H * W * C_IN) + (h * W + w) * C_IN + ci
    return np.where(inside, x.ravel()[np.where(inside, address, 0)], 0)


def chunked_product(a: np.ndarray, b: np.ndarray, phases: int = 1, depth: int | None = None) -> np.ndarray:
    """a @ b, chunk of k by chunk of k, the chunks added in order (`chunks.cu`); `depth` is the longest of all phases."""
    rows, own_depth = a.shape
    tile = choose_tile(rows, b.shape[1], "float64")
    chunk = choose_chunk(tile.covering(rows, b.shape[1]) * phases, depth or own_depth, tile.BLOCK_K)
    total = np.zeros((rows, b.shape[1]))
    for begin in range(0, own_depth, chunk):
        total += a[:, begin : begin + chunk] @ b[begin : begin + chunk]
    return total


# --- the three convolutions -------------------------------------------------------------


def conv2d_forward(x: np.ndarray, kernel: np.ndarray, window: Window) -> np.ndarray:
    KH, KW, C_IN, C_OUT = kernel.shape
    y = chunked_product(patches(x, window), kernel.reshape(KH * KW * C_IN, C_OUT))
    return y.reshape(len(x), *window.output, C_OUT)


def conv2d_backward_kernel(x: np.ndarray, dy: np.ndarray, kernel_shape: tuple[int, ...], window: Window) -> np.ndarray:
    return chunked_product(patches(x, window).T, dy.reshape(-1, kernel_shape[3])).reshape(kernel_shape)


def taps(phase: int, before: int, stride: int, dilation: int, size: int) -> tuple[int, int, int]:
    """`Taps`: the first tap that pixels of a phase meet, how many there are, and how far apart."""
    period = stride // gcd(stride, dilation)
    first = 0
    while first < period and (first * dilation - phase - before) % stride != 0:
        first += 1
    return first, -(-(size - first) // period) if first < min(period, size) else 0, period


def conv2d_backward_input(dy: np.ndarray, kernel: np.ndarray, x_shape: tuple[int, ...], window: Window) -> np.ndarray:
    (N, H, W, C_IN), C_OUT = x_shape, kernel.shape[3]
    (KH, KW), (SH, SW), (DH, DW), (TOP, _, LEFT, _), (OH, OW), _ = window
    dx = np.full(x_shape, np.nan)
    across, down = -(-W // SW), -(-H // SH)
    row = np.arange(N * down * across)
    for phase in range(SH * SW):
        first_ky, count_y, period_y = taps(phase // SW, TOP, SH, DH, KH)
        first_kx, count_x, period_x = taps(phase % SW, LEFT, SW, DW, KW)
        n, h, w = row // (across * down), phase // SW + row // across % down * SH, phase % SW + row % across * SW
        k = np.arange(count_y * count_x * C_OUT)
        tap, co = k // C_OUT, k % C_OUT
        ky, kx = first_ky + tap // max(count_x, 1) * period_y, first_kx + tap % max(count_x, 1) * period_x
        y, x = (h + TOP)[:, None] - ky * DH, (w + LEFT)[:, None] - kx * DW
        inside = (y >= 0) & (y < OH * SH) & (x >= 0) & (x < OW * SW)
        assert not np.any((y % SH)[inside]), "a tap meets no output pixel"
        assert not np.any((x % SW)[inside]), "a tap meets no output pixel"
        address = n[:, None] * (OH * OW * C_OUT) + (y // SH * OW + x // SW) * C_OUT + co
        a = np.where(inside, dy.ravel()[np.where(inside, address, 0)], 0)
        ci = np.arange(C_IN)[None, :]
        b = kernel.ravel()[((ky * KW + kx) * (C_IN * C_OUT) + co)[:, None] + ci * C_OUT]
        real = (h < H) & (w < W)
        assert np.isnan(dx[n[real], h[real], w[real]]).all(), "a pixel belongs to two phases"
        longest = -(-KH // period_y) * -(-KW // period_x) * C_OUT
        dx[n[real], h[real], w[real]] = chunked_product(a, b, SH * SW, longest)[real]
    return dx


# --- gemm.cuh ---------------------------------------------------------------------------


def loaded(tile: Tile, extent: int, vector: int, along_k: bool) -> np.ndarray:
    """How often the threads of a block fetch each element (k, line) of a shared tile."""
    count = np.zeros((tile.BLOCK_K, extent), int)
    across = (tile.BLOCK_K if along_k else extent) // vector
    total = extent * tile.BLOCK_K // vector
    for i in range(-(-total // tile.threads)):
        index = np.arange(tile.threads) + i * tile.threads
        index = index[index < total]  # `mine`
        fast, slow = index % across * vector, index // across
        for v in range(vector):
            np.add.at(count, (fast + v, slow) if along_k else (slow, fast + v), 1)
    return count


def owned(tile: Tile) -> np.ndarray:
    """How often the threads own each element of a block's tile of C, without tensor cores."""
    threads_m, threads_n = tile.BLOCK_M // tile.THREAD_M, tile.BLOCK_N // tile.THREAD_N
    warp_cols = min(threads_n, 8)
    warp_rows = 32 // warp_cols
    thread = np.arange(tile.threads)
    lane, warp = thread % 32, thread // 32
    thread_row = warp // (threads_n // warp_cols) * warp_rows + lane // warp_cols
    thread_col = warp % (threads_n // warp_cols) * warp_cols + lane % warp_cols
    count = np.zeros((tile.BLOCK_M, tile.BLOCK_N), int)
    for e in range(tile.THREAD_M * tile.THREAD_N):
        i, j = e // tile.THREAD_N, e % tile.THREAD_N
        row = i // 4 * (4 * threads_m) + thread_row * 4 + i % 4
        np.add.at(count, (row, j // 4 * (4 * threads_n) + thread_col * 4 + j % 4), 1)
    return count


def owned_by_tensor_cores(tile: Tile) -> np.ndarray:
    """As `owned`, where warps multiply 16 x 8 fragments."""
    each = tile.THREAD_M * tile.THREAD_N
    warp_m, warp_n = 32, each
    thread = np.arange(tile.threads)
    lane, warp = thread % 32, thread // 32
    warp_row, warp_col = warp // (tile.BLOCK_N // warp_n) * warp_m, warp % (tile.BLOCK_N // warp_n) * warp_n
    count = np.zeros((tile.BLOCK_M, tile.BLOCK_N), int)
    for e in range(each):
        row = warp_row + e // (each // 2) * 16 + lane // 4 + e % 4 // 2 * 8
        col = warp_col + e % (each // 2) // 4 * 8 + lane % 4 * 2 + e % 2
        np.add.at(count, (row, col), 1)
    return count


# --- pool.cu ----------------------------------------------------------------------------


def covering_windows(at: int, before: int, size: int, stride: int, windows: int) -> list[int]:
    """The windows that a gathering thread visits along one axis for the pixel `at`."""
    place = at + before
    first = 0 if place < size else (place - size) // stride + 1
    return list(range(first, min(place // stride, windows - 1) + 1))


def real_pixels(o: int, before: int, size: int, stride: int, extent: int) -> int:
    """How many pixels of the image a window has along one axis."""
    start = o * stride - before
    return min(start + size, extent) - max(start, 0)


# --- random.cu --------------------------------------------------------------------------


def random_bits(key: np.ndarray, count: int) -> np.ndarray:
    """Philox4x32-10, a thread a block of four words, in 32-bit arithmetic."""
    low = np.uint64(0xFFFFFFFF)
    block = np.arange(-(-count // 4), dtype=np.uint64)
    c0, c1, c2, c3 = block, block * 0, block * 0 + np.uint64(key[1]), block * 0
    k0, k1 = int(key[0]), 0
    for _ in range(10):
        product0, product1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        high0, low0, high1, low1 = product0 >> 32, product0 & low, product1 >> 32, product1 & low
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint64(k0), low1, high0 ^ c3 ^ np.uint64(k1), low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return np.stack([c0, c1, c2, c3], axis=1).ravel()[:count].astype(np.uint32)
