#include "common.cuh"
#include "warp.cuh"

// One pass over memory each. Parameters arrive in double and are used as `real`.
// Comparisons are written so that a NaN stays one.

#define MAP(name, formula)                                                                     \
    KERNEL name(const real* x_, real* y_, double p_, double q_, double r_, long long size) { \
        const real p = p_, q = q_, r = r_;                                                     \
        (void)p, (void)q, (void)r;                                                             \
        EACH(i, size) {                                                                        \
            const real x = x_[i];                                                              \
            y_[i] = formula;                                                                   \
        }                                                                                      \
    }

// `residual` is x or y, whichever the formula names.
#define MAP_BACKWARD(name, residual, formula)                                                                         \
    KERNEL name(const real* dy_, const real* residual_, real* dx_, double p_, double q_, double r_, long long size) { \
        const real p = p_, q = q_, r = r_;                                                                            \
        (void)p, (void)q, (void)r;                                                                                    \
        EACH(i, size) {                                                                                               \
            const real dy = dy_[i], residual = residual_[i];                                                          \
            dx_[i] = formula;                                                                                         \
        }                                                                                                             \
    }

constexpr real SELU_SCALE = 1.0507009873554805, SELU_ALPHA = 1.6732632423543772;
constexpr real SQRT_HALF = 0.7071067811865476, ONE_OVER_SQRT_2PI = 0.3989422804014327;
constexpr real SQRT_2_OVER_PI = 0.7978845608028654, GELU_CUBE = 0.044715;

__device__ real sigmoid(real x) {
    const real e = exp(-fabs(x));
    return (x < 0 ? e : real(1)) / (1 + e);
}

__device__ real gelu_tanh(real x) { return tanh(SQRT_2_OVER_PI * (x + GELU_CUBE * x * x * x)); }

__device__ real gelu_tanh_slope(real x) {
    const real t = gelu_tanh(x);
    return real(0.5) * (1 + t) + real(0.5) * x * (1 - t * t) * SQRT_2_OVER_PI * (1 + 3 * GELU_CUBE * x * x);
}

// Phi(x) = (1 + erf(x / sqrt 2)) / 2, whose two terms would cancel below 0
__device__ real normal_cdf(real x) { return real(0.5) * erfc(-x * SQRT_HALF); }

__device__ real gelu_slope(real x) {
    return normal_cdf(x) + x * ONE_OVER_SQRT_2PI * exp(-x * x / 2);
}

// exp(min(x, 40)), whose square float holds
__device__ real bounded_exp(real x) { return exp(x > 40 ? real(40) : x); }

// tanh(log(1 + e)), n = e * (e + 2)
__device__ real mish_tanh(real e) { return e * (e + 2) / (e * (e + 2) + 2); }

__device__ real mish_slope(real x) {
    const real e = bounded_exp(x), m = e * (e + 2) + 2;
    return mish_tanh(e) + x * (4 * e * (1 + e) / m / m);
}

__device__ real hard_sigmoid(real x) { return (x < -3 ? real(0) : x > 3 ? real(6) : x + 3) / 6; }

MAP(relu_forward, rectified(x))
MAP_BACKWARD(relu_backward, y, y > 0 ? dy : real(0))

// p: negative_slope, q: max_value, r: threshold
MAP(bounded_relu_forward, x <= r ? (p == 0 ? real(0) : p * (x - r)) : x >= q ? q : x)
MAP_BACKWARD(bounded_relu_backward, x, x > r ? (x >= q ? real(0) : dy) : p * dy)

MAP(leaky_relu_forward, x > 0 ? x : p * x)
MAP_BACKWARD(leaky_relu_backward, x, x > 0 ? dy : p * dy)

MAP(elu_forward, x > 0 ? x : p * expm1(x))
MAP_BACKWARD(elu_backward, x, x > 0 ? dy : dy * p * exp(x))

MAP(selu_forward, SELU_SCALE * (x > 0 ? x : SELU_ALPHA * expm1(x)))
MAP_BACKWARD(selu_backward, x, SELU_SCALE * (x > 0 ? dy : dy * SELU_ALPHA * exp(x)))

MAP(gelu_forward, x * normal_cdf(x))
MAP_BACKWARD(gelu_backward, x, dy * gelu_slope(x))

MAP(gelu_tanh_forward, real(0.5) * x * (1 + gelu_tanh(x)))
MAP_BACKWARD(gelu_tanh_backward, x, dy * gelu_tanh_slope(x))

MAP(silu_forward, x * sigmoid(x))
MAP_BACKWARD(silu_backward, x, dy * sigmoid(x) * (1 + x * (1 - sigmoid(x))))

MAP(mish_forward, x * mish_tanh(bounded_exp(x)))
MAP_BACKWARD(mish_backward, x, dy * mish_slope(x))

MAP(hard_silu_forward, x * hard_sigmoid(x))
MAP_BACKWARD(hard_silu_backward, x, x >= 3 ? dy : x <= -3 ? real(0) : dy * ((2 * x + 3) / 6))

MAP(sigmoid_forward, sigmoid(x))
MAP_BACKWARD(sigmoid_backward, y, dy * y * (1 - y))

MAP(hard_sigmoid_forward, hard_sigmoid(x))
MAP_BACKWARD(hard_sigmoid_backward, y, y > 0 && y < 1 ? dy / 6 : real(0))

MAP(tanh_forward, tanh(x))
MAP_BACKWARD(tanh_backward, y, dy * (1 - y * y))

MAP(softplus_forward, (x < 0 ? real(0) : x) + log1p(exp(-fabs(x))))
MAP_BACKWARD(softplus_backward, x, dy * sigmoid(x))

// Softmax over rows of `count`: a warp a row. blockDim: (32, rows of a block).

// y = exp(x - max) / sum of exp(x - max)
KERNEL softmax_forward(const real* x, real* y, long long rows, long long count) {
    const long long row = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (row >= rows) return;
    x += row * count;
    y += row * count;
    real largest = x[0];
    for (int c = threadIdx.x; c < count; c += 32) largest = fmax(largest, x[c]);
    largest = warp_max(largest);
    real sum = 0;
    for (int c = threadIdx.x; c < count; c += 32) sum += y[c] = exp(x[c] - largest);
    sum = warp_sum(sum);
    for (int c = threadIdx.x; c < count; c += 32) y[c] /= sum;
}

// dx = y * (dy - sum of dy * y)
KERNEL softmax_backward(const real* dy, const real* y, real* dx, long long rows, long long count) {
    const long long row = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (row >= rows) return;
    dy += row * count;
    y += row * count;
    real sum = 0;
    for (int c = threadIdx.x; c < count; c += 32) sum += dy[c] * y[c];
    sum = warp_sum(sum);
    for (int c = threadIdx.x; c < count; c += 32) dx[row * count + c] = y[c] * (dy[c] - sum);
}
