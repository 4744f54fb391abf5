#include "common.cuh"

// Philox4x32-10 (Salmon et al. 2011): word i of the stream of key (seed, step) is word i % 4 of the block with
// counter (i / 4, 0, step, 0) and key (seed, 0). A thread draws whole blocks, 4 words each.
// `key` lies on the device, so that a captured step draws anew when the step counter has moved.

struct Words {
    unsigned word[4];
};

__device__ Words philox(unsigned seed, unsigned step, unsigned block) {
    unsigned c0 = block, c1 = 0, c2 = step, c3 = 0, k0 = seed, k1 = 0;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

KERNEL random_bits(const unsigned* key, unsigned* bits, long long count) {
    EACH(block, (count + 3) / 4) {
        const Words words = philox(key[0], key[1], (unsigned)block);
        for (int w = 0; w < 4 && 4 * block + w < count; ++w) bits[4 * block + w] = words.word[w];
    }
}

// y = x / keep where the element's word >= bound, else 0; bound = floor(rate * 2**32), keep = 1 - rate.
// Its own gradient: dx is the same function of dy.
KERNEL dropout(const unsigned* key, const real* x, real* y, long long bound, double keep, long long size) {
    EACH(block, (size + 3) / 4) {
        const Words words = philox(key[0], key[1], (unsigned)block);
        for (int w = 0; w < 4 && 4 * block + w < size; ++w) {
            const long long i = 4 * block + w;
            y[i] = words.word[w] >= bound ? x[i] / real(keep) : real(0);
        }
    }
}

// key = state, and state's step moves on by one
KERNEL draw_key(unsigned* state, unsigned* key) {
    key[0] = state[0];
    key[1] = state[1]++;
}
