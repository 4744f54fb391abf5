// C[row, col] = sum over k of A(row, k) * B(k, col), where A and B are *addressed*, never stored:
// the implicit GEMM. A convolution, its two gradients and a dense layer differ only in what A, B and
// the output's address are; those stand in the files that include this one.
//
// A block owns a BLOCK_M x BLOCK_N tile of C and goes along k in steps of BLOCK_K. While the tiles of
// one step, in shared memory, are multiplied, each thread fetches its share of the next into registers.
// blockIdx: x rows, y columns, z chunk of k (the chunks are added afterwards, in order: see chunks.cu).
//
// Constants: BLOCK_M BLOCK_N BLOCK_K; THREAD_M THREAD_N, a thread's part of C (multiples of 4);
//            TF32: 0 multiplies in `real`, 1 on tensor cores (inputs rounded to 10 bits, sums in float).

#include "tensor_core.cuh"

constexpr int THREADS = (BLOCK_M / THREAD_M) * (BLOCK_N / THREAD_N);
constexpr int PAD = TF32 ? 8 : 4;  // shifts rows of a tile to other banks; rows stay aligned to 16 bytes
constexpr int OUTSIDE = 1 << 30;   // a coordinate that lies in no image, whatever is added to it

// --- from global to shared memory -----------------------------------------------------
// A matrix says how it is addressed:
//   vector                        how many neighbours one load takes
//   along_k                       whether neighbours in memory are neighbours in k (else in row or column)
//   Line line(int i)              what depends on the row (or column) only: found once
//   Step step(int k)              what depends on k only
//   Vector<vector> load(line, step)
// EXTENT is BLOCK_M for A, BLOCK_N for B.

template <class Matrix, int EXTENT>
struct Loader {
    static constexpr int V = Matrix::vector;
    static constexpr int ACROSS = (Matrix::along_k ? BLOCK_K : EXTENT) / V;  // vectors side by side in memory
    static constexpr int TOTAL = EXTENT * BLOCK_K / V;
    static constexpr int COUNT = (TOTAL + THREADS - 1) / THREADS;

    typename Matrix::Line lines[COUNT];
    Vector<V> values[COUNT];

    static __device__ bool mine(int i) { return TOTAL % THREADS == 0 || threadIdx.x + i * THREADS < TOTAL; }
    static __device__ int fast(int i) { return (threadIdx.x + i * THREADS) % ACROSS * V; }
    static __device__ int slow(int i) { return (threadIdx.x + i * THREADS) / ACROSS; }
    static __device__ int line_at(int i) { return Matrix::along_k ? slow(i) : fast(i); }
    static __device__ int k_at(int i) { return Matrix::along_k ? fast(i) : slow(i); }

    __device__ Loader(const Matrix& matrix, int first) {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) lines[i] = matrix.line(first + line_at(i));
    }

    __device__ void fetch(const Matrix& matrix, int k, int k_end) {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            values[i] = {};
            if (mine(i) && k + k_at(i) < k_end) values[i] = matrix.load(lines[i], matrix.step(k + k_at(i)));
        }
    }

    __device__ void store(real (*tile)[EXTENT + PAD]) const {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            if (!mine(i)) continue;
            Vector<V> rounded = values[i];
#if TF32
#pragma unroll
            for (int v = 0; v < V; ++v) rounded.value[v] = to_tf32(rounded.value[v]);
#endif
            if (Matrix::along_k) {
#pragma unroll
                for (int v = 0; v < V; ++v) tile[k_at(i) + v][line_at(i)] = rounded.value[v];
            } else {
                *reinterpret_cast<Vector<V>*>(&tile[k_at(i)][line_at(i)]) = rounded;
            }
        }
    }
};

// A dense matrix, B(k, col) = values[k * COLS + col].
template <int V>
struct RowMajor {
    static constexpr int vector = V;
    static constexpr bool along_k = false;
    const real* values;
    int cols;

    typedef int Line;
    typedef int Step;
    __device__ Line line(int col) const { return col; }
    __device__ Step step(int k) const { return k; }
    __device__ Vector<V> load(Line col, Step k) const {
        if (col >= cols) return {};
        return *reinterpret_cast<const Vector<V>*>(values + (long long)k * cols + col);
    }
};

// --- a thread's part of C ---------------------------------------------------------------
// `sum[e]` is the element (row(e), col(e)) of the block's tile; RUN neighbours e lie side by side in a row.

constexpr int COUNT = THREAD_M * THREAD_N;

#if TF32

// mma.m16n8k8: a warp owns 32 x COUNT of the tile, as 2 x COUNT/8 products of 16 x 8.
// In one, lane l stands for row l / 4 (and that + 8) and columns 2 * (l % 4) and the next.
constexpr int RUN = 2;
constexpr int WARP_M = 32, WARP_N = COUNT;
static_assert(BLOCK_M % WARP_M == 0 && BLOCK_N % WARP_N == 0, "warps tile the block");

struct Part {
    real sum[COUNT] = {};
    const int lane = threadIdx.x % 32;
    const int warp_row = threadIdx.x / 32 / (BLOCK_N / WARP_N) * WARP_M;
    const int warp_col = threadIdx.x / 32 % (BLOCK_N / WARP_N) * WARP_N;

    __device__ int row(int e) const { return warp_row + e / (COUNT / 2) * 16 + lane / 4 + e % 4 / 2 * 8; }
    __device__ int col(int e) const { return warp_col + e % (COUNT / 2) / 4 * 8 + lane % 4 * 2 + e % 2; }

    __device__ void accumulate(const real (*a)[BLOCK_M + PAD], const real (*b)[BLOCK_N + PAD]) {
#pragma unroll
        for (int k = 0; k < BLOCK_K; k += 8) {
            const int k_low = k + lane % 4;
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int m = warp_row + i * 16 + lane / 4;
                const float fragment_a[4] = {a[k_low][m], a[k_low][m + 8], a[k_low + 4][m], a[k_low + 4][m + 8]};
#pragma unroll
                for (int j = 0; j < WARP_N / 8; ++j) {
                    const int n = warp_col + j * 8 + lane / 4;
                    const float fragment_b[2] = {b[k_low][n], b[k_low + 4][n]};
                    tensor_product(sum + (i * (WARP_N / 8) + j) * 4, fragment_a, fragment_b);
                }
            }
        }
    }
};

#else

// A warp is WARP_ROWS x WARP_COLS threads, nearly square so that it reads few distinct words of a tile. A thread
// owns groups of 4 rows and 4 columns, the groups one block-wide stride apart: reads of 16 bytes without conflicts.
constexpr int RUN = 16 / sizeof(real);
constexpr int THREADS_M = BLOCK_M / THREAD_M, THREADS_N = BLOCK_N / THREAD_N;
constexpr int WARP_COLS = THREADS_N < 8 ? THREADS_N : 8, WARP_ROWS = 32 / WARP_COLS;
static_assert(THREADS_M % WARP_ROWS == 0 && THREADS_N % WARP_COLS == 0, "warps tile the block");

struct Part {
    real sum[COUNT] = {};
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int thread_row = warp / (THREADS_N / WARP_COLS) * WARP_ROWS + lane / WARP_COLS;
    const int thread_col = warp % (THREADS_N / WARP_COLS) * WARP_COLS + lane % WARP_COLS;

    __device__ int tile_row(int i) const { return i / 4 * (4 * THREADS_M) + thread_row * 4 + i % 4; }
    __device__ int tile_col(int j) const { return j / 4 * (4 * THREADS_N) + thread_col * 4 + j % 4; }
    __device__ int row(int e) const { return tile_row(e / THREAD_N); }
    __device__ int col(int e) const { return tile_col(e % THREAD_N); }

    __device__ void accumulate(const real (*a)[BLOCK_M + PAD], const real (*b)[BLOCK_N + PAD]) {
#pragma unroll
        for (int k = 0; k < BLOCK_K; ++k) {
            real a_column[THREAD_M], b_row[THREAD_N];
#pragma unroll
            for (int i = 0; i < THREAD_M; ++i) a_column[i] = a[k][tile_row(i)];
#pragma unroll
            for (int j = 0; j < THREAD_N; ++j) b_row[j] = b[k][tile_col(j)];
#pragma unroll
            for (int i = 0; i < THREAD_M; ++i)
#pragma unroll
                for (int j = 0; j < THREAD_N; ++j) sum[i * THREAD_N + j] += a_column[i] * b_row[j];
        }
    }
};

#endif

// --- the loop over k --------------------------------------------------------------------

template <class A, class B>
__device__ void multiply(const A& a, const B& b, int k_begin, int k_end, Part& part) {
    __shared__ __align__(16) real a_tile[2][BLOCK_K][BLOCK_M + PAD];
    __shared__ __align__(16) real b_tile[2][BLOCK_K][BLOCK_N + PAD];
    Loader<A, BLOCK_M> a_loader(a, blockIdx.x * BLOCK_M);
    Loader<B, BLOCK_N> b_loader(b, blockIdx.y * BLOCK_N);
    a_loader.fetch(a, k_begin, k_end);
    b_loader.fetch(b, k_begin, k_end);
    int now = 0;
    for (int k = k_begin; k < k_end; k += BLOCK_K) {
        a_loader.store(a_tile[now]);
        b_loader.store(b_tile[now]);
        __syncthreads();  // one is enough: the next store goes to the other pair of tiles
        a_loader.fetch(a, k + BLOCK_K, k_end);
        b_loader.fetch(b, k + BLOCK_K, k_end);
        part.accumulate(a_tile[now], b_tile[now]);
        now ^= 1;
    }
}

// Write the part, plus `bias` along a row and rectified with `relu`, to rows of `cols` elements; `row_start(row)` is
// the address of a row of C, null below the last.
template <class RowStart>
__device__ void write(const Part& part, int cols, const real* bias, bool relu, RowStart row_start) {
#pragma unroll
    for (int e = 0; e < COUNT; e += RUN) {
        real* const start = row_start(blockIdx.x * BLOCK_M + part.row(e));
        const int col = blockIdx.y * BLOCK_N + part.col(e);
        if (!start || col >= cols) continue;
        Vector<RUN> run;
#pragma unroll
        for (int r = 0; r < RUN; ++r) {
            run.value[r] = part.sum[e + r] + (bias && col + r < cols ? bias[col + r] : real(0));
            if (relu) run.value[r] = rectified(run.value[r]);
        }
        if (cols % RUN == 0) {
            *reinterpret_cast<Vector<RUN>*>(start + col) = run;
        } else {
#pragma unroll
            for (int r = 0; r < RUN; ++r)
                if (col + r < cols) start[col + r] = run.value[r];
        }
    }
}
