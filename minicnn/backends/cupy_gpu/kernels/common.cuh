// What every kernel file starts with. The Python side defines, per compilation:
//   real               float or double
//   upper-case names   shapes and tile sizes, as constants, so that divisions by them are cheap
// Every integer parameter of a kernel is a `long long`, every floating one a `double`.
// Index letters are the contract's: n oy ox ky kx ci co, and h w for pixels of the input.

#define KERNEL extern "C" __global__ void

// This thread's elements of an array of `size`, one grid apart. Most threads have one: nothing to unroll.
#define EACH(i, size)                                                                                     \
    _Pragma("unroll 1") for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (size); \
                             i += (long long)gridDim.x * blockDim.x)

// max(x, 0); a NaN stays one.
__device__ real rectified(real x) { return x < 0 ? real(0) : x; }

// V neighbours in memory, moved by one instruction where V * sizeof(real) is 16.
template <int V>
struct alignas(V * sizeof(real)) Vector {
    real value[V];
};
