// CUDA's device language on a CPU, as far as minicnn's kernels use it: each thread of a block is a fiber, fibers
// run one at a time and change places at barriers. Slow, and exact about barriers: threads that stand at different
// ones are an error.

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(n)

using std::erfc;
using std::exp;
using std::expm1;
using std::fabs;
using std::fmax;
using std::log;
using std::log1p;
using std::max;
using std::min;
using std::pow;
using std::sqrt;
using std::tanh;

struct Extent {
    unsigned x, y, z;
};
static Extent threadIdx, blockIdx, blockDim, gridDim;

enum Barrier { FINISHED, OF_BLOCK, OF_WARP };

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    Extent thread;
    Barrier at;
};

static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static size_t running;
static std::function<void()> body;

static void wait_at(Barrier barrier) {
    fibers[running].at = barrier;
    swapcontext(&fibers[running].context, &scheduler);
}

static void __syncthreads() { wait_at(OF_BLOCK); }

static unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }

// What each thread shows to the others of its warp.
static char shown[1024][64];

template <class T>
static void show(const T& value) {
    memcpy(shown[running], &value, sizeof(T));
    wait_at(OF_WARP);
}

template <class T>
static T seen(unsigned lane) {
    T value;
    memcpy(&value, shown[running / 32 * 32 + lane], sizeof(T));
    return value;
}

template <class T>
static T __shfl_xor_sync(unsigned, T value, int offset) {
    show(value);
    const T other = seen<T>(running % 32 ^ offset);
    wait_at(OF_WARP);
    return other;
}

static void enter() {
    body();
    fibers[running].at = FINISHED;
}

// Run all threads of one block, in ascending or descending order between barriers.
static void run_block(bool descending) {
    const size_t count = blockDim.x * blockDim.y * blockDim.z;
    if (fibers.size() < count) fibers.resize(count);
    for (size_t i = 0; i < count; ++i) {
        Fiber& fiber = fibers[i];
        fiber.stack.resize(64 * 1024);
        fiber.thread = {unsigned(i % blockDim.x), unsigned(i / blockDim.x % blockDim.y), 0};
        fiber.at = OF_BLOCK;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, enter, 0);
    }
    for (bool alive = true; alive;) {
        alive = false;
        Barrier common = FINISHED;
        for (size_t i = 0; i < count; ++i) {
            running = descending ? count - 1 - i : i;
            if (fibers[running].at == FINISHED) continue;
            threadIdx = fibers[running].thread;
            swapcontext(&scheduler, &fibers[running].context);
            const Barrier at = fibers[running].at;
            if (at == FINISHED) continue;
            if (common != FINISHED && at != common) {
                fprintf(stderr, "threads of one block stand at different barriers\n");
                abort();
            }
            common = at;
            alive = true;
        }
    }
}

template <class... P, size_t... I>
static void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*(P*)arguments[I]...);
}

template <class... P>
static void simulate(void (*kernel)(P...), const unsigned* grid, const unsigned* block, void** arguments, bool descending) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    body = [=] { call(kernel, arguments, std::index_sequence_for<P...>()); };
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) run_block(descending);
}

// --- in place of tensor_core.cuh ------------------------------------------------------

static float to_tf32(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    bits = (bits + 0x1000u) & ~0x1fffu;  // to nearest, ties away from 0
    memcpy(&value, &bits, 4);
    return value;
}

static void tensor_product(float* d, const float* a, const float* b) {
    struct Fragments {
        float a[4], b[2];
    };
    show(Fragments{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
    const unsigned group = running % 32 / 4, thread = running % 4;
    for (unsigned e = 0; e < 4; ++e) {
        const unsigned row = group + e / 2 * 8, col = thread * 2 + e % 2;
        for (unsigned k = 0; k < 8; ++k) {
            const float left = seen<Fragments>(row % 8 * 4 + k % 4).a[row / 8 + k / 4 * 2];
            const float right = seen<Fragments>(col * 4 + k % 4).b[k / 4];
            d[e] += left * right;
        }
    }
    wait_at(OF_WARP);
}

// The constants that are only computed with are variables here: one compilation serves all shapes.
static int geometry[64];
extern "C" void set_geometry(const int* values, int count) { memcpy(geometry, values, count * sizeof(int)); }
