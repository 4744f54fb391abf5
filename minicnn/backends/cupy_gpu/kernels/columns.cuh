// Sums down the columns of matrices (rows, C), as few launches and in a fixed order: a block of 32 columns x 8 rows
// goes down one chunk of rows and leaves `partial[sum, chunk, c]`; a second kernel adds the chunks.
// blockIdx: x group of 32 columns, y chunk. Constants: C.

constexpr int COLUMN_ROWS = 8;

// term(row, c, values) fills `values` with what is added for (row, c).
template <int SUMS, class Term>
__device__ void column_sums(long long rows, long long rows_per_chunk, real* partial, Term term) {
    __shared__ real shared[SUMS][COLUMN_ROWS][32];
    const int c = blockIdx.x * 32 + threadIdx.x;
    const long long begin = blockIdx.y * rows_per_chunk, end = min(begin + rows_per_chunk, rows);
    real sum[SUMS] = {};
    if (c < C) {
        for (long long row = begin + threadIdx.y; row < end; row += COLUMN_ROWS) {
            real values[SUMS];
            term(row, c, values);
            for (int s = 0; s < SUMS; ++s) sum[s] += values[s];
        }
    }
    for (int s = 0; s < SUMS; ++s) shared[s][threadIdx.y][threadIdx.x] = sum[s];
    __syncthreads();
    if (threadIdx.y != 0 || c >= C) return;
    for (int s = 0; s < SUMS; ++s) {
        real total = 0;
        for (int y = 0; y < COLUMN_ROWS; ++y) total += shared[s][y][threadIdx.x];
        partial[((long long)s * gridDim.y + blockIdx.y) * C + c] = total;
    }
}

// The sum of one column's chunks, in order, in double.
__device__ double sum_column(const real* partial, long long chunks, int c) {
    double sum = 0;
    for (int chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * C + c];
    return sum;
}
