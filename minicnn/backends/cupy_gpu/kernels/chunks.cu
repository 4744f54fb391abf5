#include "common.cuh"

// y[i] = bias[i % C] + sum over chunks of partial[chunk, i], always in the order of the chunks; with `relu` max(that, 0).
// Constants: C, the length of bias.
KERNEL sum_chunks(const real* partial, const real* bias, real* y, long long chunks, long long size,
                  long long relu) {
    EACH(i, size) {
        real sum = bias ? bias[i % C] : real(0);
        for (int chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * size + i];
        y[i] = relu ? rectified(sum) : sum;
    }
}
