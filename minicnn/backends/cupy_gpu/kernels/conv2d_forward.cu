#include "common.cuh"
#include "gemm.cuh"
#include "patches.cuh"

// y[n,oy,ox,co] = bias[co] + sum over ky,kx,ci of patch(n,oy,ox; ky,kx,ci) * kernel[ky,kx,ci,co]; with `relu` max(that, 0)
//
// A dense layer is the convolution of images of one pixel: H = W = KH = KW = OH = OW = 1.
// Constants: those of gemm.cuh and patches.cuh; C_OUT; KERNEL_VECTOR (divides C_OUT).

struct Patches {
    static constexpr int vector = VECTOR;
    static constexpr bool along_k = true;
    const real* x;
    int pixels;

    typedef Corner Line;
    typedef Tap Step;
    __device__ Line line(int pixel) const { return corner_of(x, pixel, pixels); }
    __device__ Step step(int tap) const { return tap_of(tap, KH * KW * C_IN); }
    __device__ Vector<VECTOR> load(const Line& corner, const Step& tap) const { return patch(corner, tap); }
};

// y: (chunks, N, OH, OW, C_OUT). One chunk is the result itself; with more, bias and ReLU are left to whoever adds them.
KERNEL __launch_bounds__(THREADS)
conv2d_forward(const real* x, const real* kernel, const real* bias, real* y, long long images, long long chunk, long long relu) {
    const long long pixels = images * (OH * OW);
    const int k_begin = blockIdx.z * (int)chunk;
    const int k_end = min(k_begin + (int)chunk, KH * KW * C_IN);
    const Patches a = {x, (int)pixels};
    const RowMajor<KERNEL_VECTOR> b = {kernel, C_OUT};
    Part part;
    multiply(a, b, k_begin, k_end, part);
    real* const out = y + blockIdx.z * pixels * C_OUT;
    const bool whole = gridDim.z == 1;
    write(part, C_OUT, whole ? bias : nullptr, whole && relu,
          [&](int pixel) { return pixel < pixels ? out + (long long)pixel * C_OUT : nullptr; });
}
