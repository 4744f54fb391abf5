#include "common.cuh"
#include "columns.cuh"

// Depthwise convolution. Forward, a thread owns one output, backward one pixel of the input, which gathers from the
// outputs that read it: nothing is added by two. Threads beside each other have channels beside each other.
//
// Constants: H W CHANNELS M (outputs of a channel) KH KW OH OW SH SW DH DW TOP LEFT;
// C: weights, KH*KW*CHANNELS*M, the columns that `depthwise_conv2d_backward_kernel` sums down.

#define OUTPUTS (CHANNELS * M)

__device__ bool inside(int at, int extent) { return unsigned(at) < unsigned(extent); }

// y = bias + sum over ky,kx of x * kernel, with `relu` max(that, 0). size: N*OH*OW*OUTPUTS
KERNEL depthwise_conv2d_forward(const real* x, const real* kernel, const real* bias, real* y, long long size, long long relu) {
    EACH(i, size) {
        const int co = i % OUTPUTS, ox = i / OUTPUTS % OW, oy = i / ((long long)OUTPUTS * OW) % OH;
        const long long n = i / ((long long)OUTPUTS * OW * OH);
        real sum = bias ? bias[co] : real(0);
        for (int ky = 0; ky < KH; ++ky)
            for (int kx = 0; kx < KW; ++kx) {
                const int h = oy * SH + ky * DH - TOP, w = ox * SW + kx * DW - LEFT;
                if (inside(h, H) && inside(w, W))
                    sum += x[((n * H + h) * W + w) * CHANNELS + co / M] * kernel[(ky * KW + kx) * OUTPUTS + co];
            }
        y[i] = relu ? rectified(sum) : sum;
    }
}

// dx = sum over ky,kx,m of dz * kernel, at the outputs whose tap (ky, kx) lies on this pixel. size: N*H*W*CHANNELS
KERNEL depthwise_conv2d_backward_input(const real* dz, const real* kernel, real* dx, long long size) {
    EACH(i, size) {
        const int c = i % CHANNELS, w = i / CHANNELS % W, h = i / ((long long)CHANNELS * W) % H;
        const long long n = i / ((long long)CHANNELS * W * H);
        real sum = 0;
        for (int ky = 0; ky < KH; ++ky)
            for (int kx = 0; kx < KW; ++kx) {
                const int y = h + TOP - ky * DH, x = w + LEFT - kx * DW;
                if (y < 0 || x < 0 || y % SH != 0 || x % SW != 0 || y / SH >= OH || x / SW >= OW) continue;
                const long long o = ((n * OH + y / SH) * OW + x / SW) * OUTPUTS + c * M;
                for (int m = 0; m < M; ++m) sum += dz[o + m] * kernel[(ky * KW + kx) * OUTPUTS + c * M + m];
            }
        dx[i] = sum;
    }
}

// partial: chunk by chunk of the output's pixels, the sum of x * dz for each weight (ky, kx, co). rows: N*OH*OW
KERNEL depthwise_conv2d_backward_kernel(const real* dz, const real* x, real* partial, long long rows,
                                        long long rows_per_chunk) {
    column_sums<1>(rows, rows_per_chunk, partial, [&](long long row, int weight, real* values) {
        const int co = weight % OUTPUTS, kx = weight / OUTPUTS % KW, ky = weight / (OUTPUTS * KW);
        const int ox = row % OW, oy = row / OW % OH;
        const int h = oy * SH + ky * DH - TOP, w = ox * SW + kx * DW - LEFT;
        values[0] = inside(h, H) && inside(w, W)
                        ? x[((row / (OW * OH) * H + h) * W + w) * CHANNELS + co / M] * dz[row * OUTPUTS + co]
                        : real(0);
    });
}
