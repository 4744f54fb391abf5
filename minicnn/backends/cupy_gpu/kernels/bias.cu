#include "common.cuh"
#include "columns.cuh"

// dbias[c] = sum over rows of dy[row, c]
KERNEL bias_backward(const real* dy, real* partial, long long rows, long long rows_per_chunk) {
    column_sums<1>(rows, rows_per_chunk, partial,
                   [&](long long row, int c, real* values) { values[0] = dy[row * C + c]; });
}

// dx = dy where y > 0, else 0 (not stored where dx is null);  dbias[c] = sum over rows of dx[row, c]
KERNEL relu_bias_backward(const real* dy, const real* y, real* dx, real* partial, long long rows, long long rows_per_chunk) {
    column_sums<1>(rows, rows_per_chunk, partial, [&](long long row, int c, real* values) {
        const long long i = row * C + c;
        values[0] = y[i] > 0 ? dy[i] : real(0);
        if (dx) dx[i] = values[0];
    });
}
