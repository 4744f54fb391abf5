// x under the windows of a convolution: the matrix patch(pixel, tap), pixel = (n, oy, ox), tap = (ky, kx, ci),
//   patch = x[n, oy*SH + ky*DH - TOP, ox*SW + kx*DW - LEFT, ci], 0 outside x.
//
// Constants: H W C_IN KH KW OH OW SH SW DH DW TOP LEFT; VECTOR: channels in one load (divides C_IN).

struct Corner {  // where a pixel's window begins
    const real* image;
    int y, x;
};

struct Tap {
    int y, x, ci;
};

__device__ Corner corner_of(const real* x, int pixel, int pixels) {
    if (pixel >= pixels) return {x, -OUTSIDE, 0};
    const int ox = pixel % OW, oy = pixel / OW % OH, n = pixel / (OW * OH);
    return {x + (long long)n * (H * W * C_IN), oy * SH - TOP, ox * SW - LEFT};
}

__device__ Tap tap_of(int tap, int taps) {
    if (tap >= taps) return {-OUTSIDE, 0, 0};
    const int ci = tap % C_IN, kx = tap / C_IN % KW, ky = tap / (C_IN * KW);
    return {ky * DH, kx * DW, ci};
}

__device__ Vector<VECTOR> patch(const Corner& corner, const Tap& tap) {
    const int h = corner.y + tap.y, w = corner.x + tap.x;
    if (unsigned(h) >= unsigned(H) || unsigned(w) >= unsigned(W)) return {};
    return *reinterpret_cast<const Vector<VECTOR>*>(corner.image + (h * W + w) * C_IN + tap.ci);
}
