#include "common.cuh"
#include "warp.cuh"

// Rows of a matrix (M, count): a warp a row, blockDim (32, rows of a block).
// Constants: label_t, the integer type of labels; total_t, the type of a metric's totals.

#define ROW                                                                            \
    const long long row = blockIdx.x * (long long)blockDim.y + threadIdx.y; \
    if (row >= rows) return;

// log of the sum of exp(logits - max), and max itself
struct Normalizer {
    real largest, log_sum;
};

__device__ Normalizer normalizer(const real* logits, int count) {
    real largest = logits[0];
    for (int c = threadIdx.x; c < count; c += 32) largest = fmax(largest, logits[c]);
    largest = warp_max(largest);
    real sum = 0;
    for (int c = threadIdx.x; c < count; c += 32) sum += exp(logits[c] - largest);
    return {largest, log(warp_sum(sum))};
}

// loss[m] = -sum over c of targets * log_p;  probabilities = exp(log_p)
KERNEL softmax_cross_entropy_forward(const real* logits, const real* targets, real* losses, real* probabilities,
                                     long long rows, long long count) {
    ROW const long long start = row * count;
    const Normalizer by = normalizer(logits + start, (int)count);
    real loss = 0;
    for (int c = threadIdx.x; c < count; c += 32) {
        const real log_p = logits[start + c] - by.largest - by.log_sum;
        probabilities[start + c] = exp(log_p);
        loss -= targets[start + c] * log_p;
    }
    loss = warp_sum(loss);
    if (threadIdx.x == 0) losses[row] = loss;
}

// dlogits = weights[m] * (probabilities * (sum of targets) - targets)
KERNEL softmax_cross_entropy_backward(const real* probabilities, const real* targets, const real* weights, real* dlogits,
                                      long long rows, long long count) {
    ROW const long long start = row * count;
    real sum = 0;
    for (int c = threadIdx.x; c < count; c += 32) sum += targets[start + c];
    sum = warp_sum(sum);
    for (int c = threadIdx.x; c < count; c += 32)
        dlogits[start + c] = weights[row] * (probabilities[start + c] * sum - targets[start + c]);
}

// loss[m] = -log_p[m, labels[m]]; NaN for a label that is no class
KERNEL sparse_softmax_cross_entropy_forward(const real* logits, const label_t* labels, real* losses, real* probabilities,
                                            long long rows, long long count) {
    ROW const long long start = row * count;
    const Normalizer by = normalizer(logits + start, (int)count);
    for (int c = threadIdx.x; c < count; c += 32) {
        const real log_p = logits[start + c] - by.largest - by.log_sum;
        probabilities[start + c] = exp(log_p);
        if (c == labels[row]) losses[row] = -log_p;
    }
    if (threadIdx.x == 0 && (labels[row] < 0 || labels[row] >= count)) losses[row] = sqrt(real(-1));
}

// dlogits = weights[m] * (probabilities - (1 if c == labels[m] else 0))
KERNEL sparse_softmax_cross_entropy_backward(const real* probabilities, const label_t* labels, const real* weights,
                                             real* dlogits, long long rows, long long count) {
    ROW const long long start = row * count;
    for (int c = threadIdx.x; c < count; c += 32)
        dlogits[start + c] = weights[row] * (probabilities[start + c] - (c == labels[row] ? real(1) : real(0)));
}

// 1 where both rows have their largest value at the same place
KERNEL categorical_matches(const real* predictions, const real* targets, real* matches, long long rows, long long count) {
    ROW const int predicted = warp_argmax(predictions + row * count, (int)count);
    const int target = warp_argmax(targets + row * count, (int)count);
    if (threadIdx.x == 0) matches[row] = predicted == target;
}

// 1 where the row's largest value is at the label
KERNEL sparse_categorical_matches(const real* predictions, const label_t* labels, real* matches, long long rows,
                                  long long count) {
    ROW const int predicted = warp_argmax(predictions + row * count, (int)count);
    if (threadIdx.x == 0) matches[row] = predicted == labels[row];
}

// sum += values * weights, number += weights (ones where null): one warp, in a fixed order
KERNEL accumulate_mean(total_t* sum, total_t* number, const real* values, const real* weights, long long size) {
    double added = 0, counted = 0;
    for (long long i = threadIdx.x; i < size; i += 32) {
        const double weight = weights ? weights[i] : 1;
        added += values[i] * weight;
        counted += weight;
    }
    added = warp_sum(added);
    counted = warp_sum(counted);
    if (threadIdx.x == 0) *sum += total_t(added), *number += total_t(counted);
}
