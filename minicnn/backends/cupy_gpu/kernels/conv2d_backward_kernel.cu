#include "common.cuh"
#include "gemm.cuh"
#include "patches.cuh"

// dkernel[ky,kx,ci,co] = sum over n,oy,ox of patch(n,oy,ox; ky,kx,ci) * dy[n,oy,ox,co]
//
// Few rows and columns, a long sum: k = (n, oy, ox) is cut into chunks, each block adds one, and chunks.cu adds
// the chunks in order. Their number depends on shapes alone, so one seed gives one result on every card.
// Constants: those of gemm.cuh and patches.cuh; C_OUT; KERNEL_VECTOR (divides C_OUT).

struct PatchesTransposed {
    static constexpr int vector = VECTOR;
    static constexpr bool along_k = false;
    const real* x;
    int pixels;

    typedef Tap Line;
    typedef Corner Step;
    __device__ Line line(int tap) const { return tap_of(tap, KH * KW * C_IN); }
    __device__ Step step(int pixel) const { return corner_of(x, pixel, pixels); }
    __device__ Vector<VECTOR> load(const Line& tap, const Step& corner) const { return patch(corner, tap); }
};

// dkernel: (chunks, KH, KW, C_IN, C_OUT); one chunk is the result itself.
KERNEL __launch_bounds__(THREADS)
conv2d_backward_kernel(const real* x, const real* dy, real* dkernel, long long images, long long chunk) {
    const long long pixels = images * (OH * OW);
    const int taps = KH * KW * C_IN;
    const long long k_begin = blockIdx.z * chunk;
    const long long k_end = min(k_begin + chunk, pixels);
    const PatchesTransposed a = {x, (int)pixels};
    const RowMajor<KERNEL_VECTOR> b = {dy, C_OUT};
    Part part;
    multiply(a, b, (int)k_begin, (int)k_end, part);
    real* const out = dkernel + blockIdx.z * (long long)taps * C_OUT;
    write(part, C_OUT, nullptr, false, [&](int tap) { return tap < taps ? out + (long long)tap * C_OUT : nullptr; });
}
