// Reductions inside a warp; every lane gets the result, always added in the same order.

constexpr unsigned FULL_WARP = 0xffffffffu;

template <class T>
__device__ T warp_sum(T value) {
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(FULL_WARP, value, offset);
    return value;
}

template <class T>
__device__ T warp_max(T value) {
    for (int offset = 16; offset > 0; offset /= 2) value = fmax(value, __shfl_xor_sync(FULL_WARP, value, offset));
    return value;
}

// The place of a row's largest value, the first of equals: lane l has looked at l, l + 32, l + 64, ...
template <class T>
__device__ int warp_argmax(const T* row, int count) {
    T best = 0;
    int place = -1;
    for (int c = threadIdx.x; c < count; c += 32)
        if (place < 0 || row[c] > best) best = row[c], place = c;
    for (int offset = 16; offset > 0; offset /= 2) {
        const T other = __shfl_xor_sync(FULL_WARP, best, offset);
        const int other_place = __shfl_xor_sync(FULL_WARP, place, offset);
        const bool wins = place < 0 || other > best || (other == best && other_place < place);
        if (other_place >= 0 && wins) best = other, place = other_place;
    }
    return place;
}
