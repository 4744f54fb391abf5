#include "common.cuh"
#include "warp.cuh"

// One launch updates every parameter: blockIdx.y is the parameter, blockIdx.x goes along it.
// `lists` travels by value, so that a captured step needs no table in memory. Lists not given are null.

constexpr int MAX_LISTS = 5, MAX_TENSORS = 48;

struct Tensors {
    real* array[MAX_LISTS][MAX_TENSORS];
    long long size[MAX_TENSORS];
};

// A number of this step: lying on the device (so that a captured step sees it change), of a C type, or a value.
enum Kind { VALUE, FLOAT, DOUBLE, INTEGER };

#define NUMBER(name) const void *name##_at, long long name##_kind, double name##_value
#define READ(name) read(name##_at, name##_kind, name##_value)

__device__ double read(const void* at, long long kind, double value) {
    return kind == FLOAT ? *(const float*)at : kind == DOUBLE ? *(const double*)at : kind == INTEGER ? *(const long long*)at : value;
}

#define LIST(i) (lists.array[i][blockIdx.y])
#define SIZE (lists.size[blockIdx.y])

// p -= learning_rate * g
KERNEL sgd_update(Tensors lists, NUMBER(rate)) {
    real *p = LIST(0), *g = LIST(1);
    const real rate = READ(rate);
    EACH(i, SIZE) p[i] -= rate * g[i];
}

// m = momentum * m - learning_rate * g;  p += m, or with nesterov p += momentum * m - learning_rate * g
KERNEL momentum_update(Tensors lists, NUMBER(rate), double momentum_, long long nesterov) {
    real *p = LIST(0), *g = LIST(1), *momenta = LIST(2);
    const real rate = READ(rate), momentum = momentum_;
    EACH(i, SIZE) {
        const real m = momenta[i] = momentum * momenta[i] - rate * g[i];
        p[i] += nesterov ? momentum * m - rate * g[i] : m;
    }
}

// v = rho * v + (1 - rho) * g**2;  the step is learning_rate * g / sqrt(v + epsilon);
// centered: a = rho * a + (1 - rho) * g, and v - a**2 in place of v under the root;
// with momenta: m = momentum * m + step;  p -= m
KERNEL rmsprop_update(Tensors lists, NUMBER(rate), double rho_, double momentum_,
                      double epsilon_) {
    real *p = LIST(0), *g = LIST(1), *mean_squares = LIST(2), *mean_grads = LIST(3), *momenta = LIST(4);
    const real rate = READ(rate), rho = rho_, rest = 1 - rho_, momentum = momentum_, epsilon = epsilon_;
    EACH(i, SIZE) {
        real v = mean_squares[i] = rho * mean_squares[i] + rest * g[i] * g[i];
        if (mean_grads) {
            const real a = mean_grads[i] = rho * mean_grads[i] + rest * g[i];
            v -= a * a;
        }
        real step = rate * g[i] / sqrt(v + epsilon);
        if (momenta) step = momenta[i] = momentum * momenta[i] + step;
        p[i] -= step;
    }
}

// rate = learning_rate * sqrt(1 - beta_2**step) / (1 - beta_1**step)
// m += (1 - beta_1) * (g - m);  v += (1 - beta_2) * (g**2 - v);  p -= rate * m / (sqrt(v) + epsilon)
// AMSGrad: u = max(u, v), and u in place of v under the root
KERNEL adam_update(Tensors lists, NUMBER(rate), NUMBER(step),
                   double beta_1, double beta_2, double epsilon_) {
    real *p = LIST(0), *g = LIST(1), *means = LIST(2), *variances = LIST(3), *max_variances = LIST(4);
    const double step = READ(step);
    const real rate = READ(rate) * sqrt(1 - pow(beta_2, step)) / (1 - pow(beta_1, step));
    const real rest_1 = 1 - beta_1, rest_2 = 1 - beta_2, epsilon = epsilon_;
    EACH(i, SIZE) {
        const real m = means[i] += rest_1 * (g[i] - means[i]);
        real v = variances[i] += rest_2 * (g[i] * g[i] - variances[i]);
        if (max_variances) v = max_variances[i] = fmax(max_variances[i], v);
        p[i] -= rate * m / (sqrt(v) + epsilon);
    }
}

// p -= learning_rate * weight_decay * p
KERNEL weight_decay(Tensors lists, NUMBER(rate), double decay) {
    real* p = LIST(0);
    const real rate = READ(rate) * decay;
    EACH(i, SIZE) p[i] -= rate * p[i];
}

// a = momentum * a + (1 - momentum) * p
KERNEL exponential_average(Tensors lists, double momentum) {
    real *a = LIST(0), *p = LIST(1);
    EACH(i, SIZE) a[i] = real(momentum) * a[i] + real(1 - momentum) * p[i];
}

// g into [-limit, limit]
KERNEL clip_by_value(Tensors lists, double limit_) {
    real* g = LIST(0);
    const real limit = limit_;
    EACH(i, SIZE) g[i] = g[i] > limit ? limit : g[i] < -limit ? -limit : g[i];
}

// partial[first + parameter, blockIdx.x] = this block's share of the sum of g**2; a block is one warp
KERNEL partial_squares(Tensors lists, double* partial, long long first) {
    const real* g = LIST(0);
    double sum = 0;
    EACH(i, SIZE) sum += double(g[i]) * g[i];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) partial[(first + blockIdx.y) * gridDim.x + blockIdx.x] = sum;
}

// squares[blockIdx.x] = sum of that parameter's partial sums; a block is one warp
KERNEL sum_squares(const double* partial, double* squares, long long parts) {
    double sum = 0;
    for (int part = threadIdx.x; part < parts; part += 32) sum += partial[blockIdx.x * parts + part];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) squares[blockIdx.x] = sum;
}

// g *= limit / max(norm of g, limit)
KERNEL clip_by_norm(Tensors lists, const double* squares, double limit, long long first) {
    real* g = LIST(0);
    const double norm = sqrt(squares[first + blockIdx.y]);
    const real factor = norm <= limit ? 1 : limit / norm;  // a NaN stays one, which fmax would hide
    EACH(i, SIZE) g[i] *= factor;
}

// g *= limit / max(norm of all `count` gradients together, limit)
KERNEL clip_by_global_norm(Tensors lists, const double* squares, double limit, long long count) {
    real* g = LIST(0);
    double sum = 0;
    for (int parameter = 0; parameter < count; ++parameter) sum += squares[parameter];
    const double norm = sqrt(sum);
    const real factor = norm <= limit ? 1 : limit / norm;
    EACH(i, SIZE) g[i] *= factor;
}

// grad += l1 * sign(p) + 2 * l2 * p
KERNEL l1_l2_gradient(real* grad, const real* p, double l1, double l2, long long size) {
    EACH(i, size) grad[i] += real(l1) * ((p[i] > 0) - (p[i] < 0)) + real(2 * l2) * p[i];
}
