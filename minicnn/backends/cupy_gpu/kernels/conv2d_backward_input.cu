#include "common.cuh"
#include "gemm.cuh"

// dx[n,h,w,ci] = sum over ky,kx,co of dy[n,oy,ox,co] * kernel[ky,kx,ci,co]
//                where oy*SH + ky*DH - TOP == h and ox*SW + kx*DW - LEFT == w, and oy, ox are in range.
//
// Each thread gathers: nothing is added by two. A stride would waste products on taps that meet no output pixel
// (ky*DH must be h + TOP modulo SH), so the pixels are sorted into SH*SW phases, h = phase_y + SH*i, in which all
// pixels meet the same taps: every PERIOD_Y-th ky from `first_ky` on.
// blockIdx.z is phase + chunk * SH*SW.
//
// Constants: those of gemm.cuh; H W C_IN KH KW C_OUT OH OW SH SW DH DW TOP LEFT;
//            PERIOD_Y = SH / gcd(SH, DH), PERIOD_X likewise; VECTOR: channels co in one load (divides C_OUT).

// The taps along one axis that pixels of a phase meet: first, first + period, ...; `count` of them below `size`.
struct Taps {
    int first, count;
    __device__ Taps(int phase, int before, int stride, int dilation, int period, int size) : first(0) {
        while (first < period && (first * dilation - phase - before) % stride != 0) ++first;
        count = first < period && first < size ? (size - first + period - 1) / period : 0;
    }
};

struct Meeting {  // taps of this block's phase, both ways
    int first_ky, first_kx, count_y, count_x;
    // k = (tap, co), tap = (i, j) with ky = first_ky + PERIOD_Y*i, kx = first_kx + PERIOD_X*j
    __device__ int ky(int tap) const { return first_ky + tap / count_x * PERIOD_Y; }
    __device__ int kx(int tap) const { return first_kx + tap % count_x * PERIOD_X; }
};

struct InputPixel {
    int n, h, w;
};

// Row `row` of a phase, among ceil(H / SH) x ceil(W / SW) pixels of each image; h or w may lie past the border.
__device__ InputPixel input_pixel(int row, int phase) {
    const int across = (W + SW - 1) / SW, down = (H + SH - 1) / SH;
    return {row / (across * down), phase / SW + row / across % down * SH, phase % SW + row % across * SW};
}

struct Upstream {  // A(row = input pixel, k = (tap, co)) = dy[n, oy, ox, co]
    static constexpr int vector = VECTOR;
    static constexpr bool along_k = true;
    const real* dy;
    int rows, phase;
    Meeting taps;

    struct Line {
        const real* image;
        int y, x;
    };
    struct Step {
        int y, x, co;
    };
    __device__ Line line(int row) const {
        if (row >= rows) return {dy, -OUTSIDE, 0};
        const InputPixel p = input_pixel(row, phase);
        return {dy + (long long)p.n * (OH * OW * C_OUT), p.h + TOP, p.w + LEFT};
    }
    __device__ Step step(int k) const {
        const int tap = k / C_OUT;
        return {taps.ky(tap) * DH, taps.kx(tap) * DW, k % C_OUT};
    }
    __device__ Vector<VECTOR> load(const Line& line, const Step& step) const {
        const int y = line.y - step.y, x = line.x - step.x;  // oy*SH and ox*SW
        if (y < 0 || y >= OH * SH || x < 0 || x >= OW * SW) return {};
        return *reinterpret_cast<const Vector<VECTOR>*>(line.image + (y / SH * OW + x / SW) * C_OUT + step.co);
    }
};

struct KernelTransposed {  // B(k = (tap, co), col = ci) = kernel[ky, kx, ci, co]
    static constexpr int vector = VECTOR;
    static constexpr bool along_k = true;
    const real* kernel;
    Meeting taps;

    typedef int Line;
    typedef const real* Step;
    __device__ Line line(int ci) const { return ci; }
    __device__ Step step(int k) const {
        const int tap = k / C_OUT;
        return kernel + (long long)(taps.ky(tap) * KW + taps.kx(tap)) * (C_IN * C_OUT) + k % C_OUT;
    }
    __device__ Vector<VECTOR> load(Line ci, Step start) const {
        if (ci >= C_IN) return {};
        return *reinterpret_cast<const Vector<VECTOR>*>(start + ci * C_OUT);
    }
};

// dx: (chunks, N, H, W, C_IN); one chunk is the result itself.
KERNEL __launch_bounds__(THREADS)
conv2d_backward_input(const real* dy, const real* kernel, real* dx, long long images, long long chunk) {
    const int rows = int(images) * ((H + SH - 1) / SH) * ((W + SW - 1) / SW);
    const int phase = blockIdx.z % (SH * SW);
    const int z = blockIdx.z / (SH * SW);
    const Taps down(phase / SW, TOP, SH, DH, PERIOD_Y, KH), across(phase % SW, LEFT, SW, DW, PERIOD_X, KW);
    // Without a stride every pixel meets every tap: constants again.
    const Meeting taps = {SH == 1 ? 0 : down.first, SW == 1 ? 0 : across.first,  //
                          SH == 1 ? KH : down.count, SW == 1 ? KW : across.count};
    const int k_begin = z * (int)chunk;
    const int k_end = min(k_begin + (int)chunk, taps.count_y * taps.count_x * C_OUT);
    const Upstream a = {dy, rows, phase, taps};
    const KernelTransposed b = {kernel, taps};
    Part part;
    multiply(a, b, k_begin, k_end, part);
    real* const out = dx + z * images * (H * W * C_IN);
    write(part, C_IN, nullptr, false, [&](int row) -> real* {
        const InputPixel p = input_pixel(row, phase);
        if (row >= rows || p.h >= H || p.w >= W) return nullptr;
        return out + (((long long)p.n * H + p.h) * W + p.w) * C_IN;
    });
}
