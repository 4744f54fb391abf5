#include "common.cuh"
#include "columns.cuh"

// dbias[c] = sum over rows of dy[row, c]
KERNEL bias_backward(const real* dy, real* partial, long long rows, long long rows_per_chunk) {
    column_sums<1>(rows, rows_per_chunk, partial,
                   [&](long long row, int c, real* values) { values[0] = dy[row * C + c]; });
}
