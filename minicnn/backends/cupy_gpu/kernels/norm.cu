#include "common.cuh"
#include "columns.cuh"

// Batch normalization of a matrix (M rows, C channels).

// Partial sums of d and d**2, d = x[row,c] - x[0,c]: the first row stands in for the mean, so that a large mean
// costs no digits of the variance.
KERNEL batchnorm_sums(const real* x, real* partial, long long rows, long long rows_per_chunk) {
    column_sums<2>(rows, rows_per_chunk, partial, [&](long long row, int c, real* values) {
        const real d = x[row * C + c] - x[c];
        values[0] = d;
        values[1] = d * d;
    });
}

// mean[c] = x[0,c] + sum d / M;  variance[c] = sum d**2 / M - (sum d / M)**2
KERNEL batchnorm_statistics(const real* partial, const real* x, real* mean, real* variance, long long chunks, long long rows) {
    EACH(i, C) {
        const int c = (int)i;
        const double shift = sum_column(partial, chunks, c) / rows;
        const double spread = sum_column(partial + chunks * C, chunks, c) / rows - shift * shift;
        mean[c] = real(x[c] + shift);
        variance[c] = real(spread > 0 ? spread : 0);
    }
}

// gamma * (x - mean) / sqrt(variance + epsilon) + beta of element i; gamma and beta may be null.
__device__ real normalized(const real* x, const real* gamma, const real* beta, const real* mean, const real* variance,
                           double epsilon, long long i) {
    const int c = i % C;
    const real scale = (gamma ? gamma[c] : real(1)) / sqrt(variance[c] + real(epsilon));
    return (x[i] - mean[c]) * scale + (beta ? beta[c] : real(0));
}

// y = that; with `relu` max(that, 0).
KERNEL batchnorm_normalize(const real* x, const real* gamma, const real* beta, const real* mean, const real* variance,
                           real* y, double epsilon, long long size, long long relu) {
    EACH(i, size) {
        const real value = normalized(x, gamma, beta, mean, variance, epsilon, i);
        y[i] = relu ? rectified(value) : value;
    }
}

// The gradient at element i, behind a ReLU if there was one: its mask is computed once more.
__device__ real behind_relu(const real* dy, const real* x, const real* gamma, const real* beta, const real* mean,
                            const real* variance, double epsilon, long long relu, long long i) {
    return !relu || normalized(x, gamma, beta, mean, variance, epsilon, i) > 0 ? dy[i] : real(0);
}

// Partial sums of dy * x_hat and dy.
KERNEL batchnorm_backward_sums(const real* dy, const real* x, const real* gamma, const real* beta, const real* mean,
                               const real* variance, real* partial, double epsilon, long long rows, long long rows_per_chunk,
                               long long relu) {
    column_sums<2>(rows, rows_per_chunk, partial, [&](long long row, int c, real* values) {
        const long long i = row * C + c;
        const real d = behind_relu(dy, x, gamma, beta, mean, variance, epsilon, relu, i);
        const real x_hat = (x[i] - mean[c]) / sqrt(variance[c] + real(epsilon));
        values[0] = d * x_hat;
        values[1] = d;
    });
}

// dgamma[c] = sum of dy * x_hat;  dbeta[c] = sum of dy
KERNEL batchnorm_parameter_gradients(const real* partial, real* dgamma, real* dbeta, long long chunks) {
    EACH(i, C) {
        const int c = (int)i;
        dgamma[c] = real(sum_column(partial, chunks, c));
        dbeta[c] = real(sum_column(partial + chunks * C, chunks, c));
    }
}

// dx = gamma / sqrt(variance + epsilon) * (dy - dbeta / M - x_hat * dgamma / M)
KERNEL batchnorm_backward_input(const real* dy, const real* x, const real* gamma, const real* beta, const real* mean,
                                const real* variance, const real* dgamma, const real* dbeta, real* dx, double epsilon,
                                long long size, long long relu) {
    const real one_over_rows = real(1) / real(size / C);
    EACH(i, size) {
        const int c = i % C;
        const real inverse = 1 / sqrt(variance[c] + real(epsilon));
        const real x_hat = (x[i] - mean[c]) * inverse;
        const real d = behind_relu(dy, x, gamma, beta, mean, variance, epsilon, relu, i);
        dx[i] = (gamma ? gamma[c] : real(1)) * inverse * (d - (dbeta[c] + x_hat * dgamma[c]) * one_over_rows);
    }
}

// dx = gamma * dy / sqrt(variance + epsilon): the statistics are constants.
KERNEL batchnorm_inference_backward(const real* dy, const real* x, const real* gamma, const real* beta, const real* mean,
                                    const real* variance, real* dx, double epsilon, long long size, long long relu) {
    EACH(i, size) {
        const int c = i % C;
        const real d = behind_relu(dy, x, gamma, beta, mean, variance, epsilon, relu, i);
        dx[i] = d * (gamma ? gamma[c] : real(1)) / sqrt(variance[c] + real(epsilon));
    }
}

// average = momentum * average + (1 - momentum) * value
KERNEL moving_average(real* average, const real* value, double momentum, long long size) {
    EACH(i, size) average[i] = real(momentum) * average[i] + real(1 - momentum) * value[i];
}
