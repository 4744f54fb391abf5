#include "common.cuh"

// Pooling. Forward, a thread owns one output; backward it owns one input pixel and gathers from the windows
// that cover it, so nothing is added by two and the order is fixed. Channels lie side by side: reads coalesce.
//
// Constants: H W C KH KW OH OW SH SW TOP LEFT; argmax_t: the type of `argmax`.

struct Place {
    int n, y, x, c;
};

__device__ Place place_of(long long i, int height, int width) {
    const int c = i % C, x = i / C % width, y = i / ((long long)C * width) % height;
    return {int(i / ((long long)C * width * height)), y, x, c};
}

__device__ long long input_at(const Place& p, int h, int w) { return (((long long)p.n * H + h) * W + w) * C + p.c; }
__device__ long long output_at(const Place& p, int oy, int ox) { return (((long long)p.n * OH + oy) * OW + ox) * C + p.c; }
__device__ bool inside(int h, int w) { return unsigned(h) < unsigned(H) && unsigned(w) < unsigned(W); }

// Windows o with o*stride <= at < o*stride + size, at counted from the padding's edge: [first, last].
__device__ int first_window(int at, int size, int stride) { return at < size ? 0 : (at - size) / stride + 1; }
__device__ int last_window(int at, int stride, int windows) { return min(at / stride, windows - 1); }

// value > best, and true of the first NaN.
__device__ bool exceeds(real value, real best) { return !(value <= best) && best == best; }

// How many real pixels a window has.
__device__ int real_pixels(int oy, int ox) {
    const int top = oy * SH - TOP, left = ox * SW - LEFT;
    return max(min(top + KH, H) - max(top, 0), 0) * max(min(left + KW, W) - max(left, 0), 0);
}

// y = max over ky,kx of x[n, oy*SH + ky - TOP, ox*SW + kx - LEFT, c]; argmax = ky*KW + kx of the first largest, or NaN.
KERNEL maxpool2d_forward(const real* x, real* y, argmax_t* argmax, long long size) {
    EACH(i, size) {
        const Place p = place_of(i, OH, OW);
        real best = -1 / real(0);  // NVRTC has no INFINITY
        int place = 0;
        bool empty = true;
        for (int ky = 0; ky < KH; ++ky)
            for (int kx = 0; kx < KW; ++kx) {
                const int h = p.y * SH + ky - TOP, w = p.x * SW + kx - LEFT;
                if (!inside(h, w)) continue;
                const real value = x[input_at(p, h, w)];
                if (empty || exceeds(value, best)) best = value, place = ky * KW + kx, empty = false;
            }
        y[i] = best;
        argmax[i] = (argmax_t)place;
    }
}

// dx[n,h,w,c] = sum of dy over the windows in which (h, w) is the largest; with y, their largest values, over those above 0.
KERNEL maxpool2d_backward(const real* dy, const argmax_t* argmax, const real* y, real* dx, long long size) {
    EACH(i, size) {
        const Place p = place_of(i, H, W);
        real sum = 0;
        for (int oy = first_window(p.y + TOP, KH, SH); oy <= last_window(p.y + TOP, SH, OH); ++oy)
            for (int ox = first_window(p.x + LEFT, KW, SW); ox <= last_window(p.x + LEFT, SW, OW); ++ox) {
                const int ky = p.y + TOP - oy * SH, kx = p.x + LEFT - ox * SW;
                const long long o = output_at(p, oy, ox);
                if (argmax[o] == (argmax_t)(ky * KW + kx) && (!y || y[o] > 0)) sum += dy[o];
            }
        dx[i] = sum;
    }
}

// y = mean of x over the window's real pixels
KERNEL avgpool2d_forward(const real* x, real* y, long long size) {
    EACH(i, size) {
        const Place p = place_of(i, OH, OW);
        real sum = 0;
        for (int ky = 0; ky < KH; ++ky)
            for (int kx = 0; kx < KW; ++kx) {
                const int h = p.y * SH + ky - TOP, w = p.x * SW + kx - LEFT;
                if (inside(h, w)) sum += x[input_at(p, h, w)];
            }
        y[i] = sum / max(real_pixels(p.y, p.x), 1);
    }
}

// dx[n,h,w,c] = sum over the windows that cover (h, w) of dy / (their number of real pixels)
KERNEL avgpool2d_backward(const real* dy, real* dx, long long size) {
    EACH(i, size) {
        const Place p = place_of(i, H, W);
        real sum = 0;
        for (int oy = first_window(p.y + TOP, KH, SH); oy <= last_window(p.y + TOP, SH, OH); ++oy)
            for (int ox = first_window(p.x + LEFT, KW, SW); ox <= last_window(p.x + LEFT, SW, OW); ++ox)
                sum += dy[output_at(p, oy, ox)] / real_pixels(oy, ox);
        dx[i] = sum;
    }
}

// y[n,c] = max over h,w of x[n,h,w,c]; argmax = h*W + w of the first largest. size: N*C
KERNEL global_maxpool2d_forward(const real* x, real* y, int* argmax, long long size) {
    EACH(i, size) {
        const real* const image = x + i / C * (H * W * C) + i % C;
        real best = image[0];
        int place = 0;
        for (int at = 1; at < H * W; ++at) {
            const real value = image[at * C];
            if (exceeds(value, best)) best = value, place = at;
        }
        y[i] = best;
        argmax[i] = place;
    }
}

// dx[n,h,w,c] = dy[n,c] where (h, w) is the largest, else 0. size: N*H*W*C
KERNEL global_maxpool2d_backward(const real* dy, const int* argmax, real* dx, long long size) {
    EACH(i, size) {
        const Place p = place_of(i, H, W);
        const long long o = (long long)p.n * C + p.c;
        dx[i] = argmax[o] == p.y * W + p.x ? dy[o] : real(0);
    }
}

// y[n,c] = mean over h,w of x[n,h,w,c]. size: N*C
KERNEL global_avgpool2d_forward(const real* x, real* y, long long size) {
    EACH(i, size) {
        const real* const image = x + i / C * (H * W * C) + i % C;
        real sum = 0;
        for (int at = 0; at < H * W; ++at) sum += image[at * C];
        y[i] = sum / (H * W);
    }
}

// dx[n,h,w,c] = dy[n,c] / (H*W). size: N*H*W*C
KERNEL global_avgpool2d_backward(const real* dy, real* dx, long long size) {
    EACH(i, size) dx[i] = dy[i / (H * W * C) * C + i % C] / (H * W);
}
