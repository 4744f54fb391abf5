#if TF32

// Round to TF32's 10 bits of mantissa, to nearest: tensor cores would cut the rest off.
__device__ float to_tf32(float value) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return __uint_as_float(bits);
}

// d += a * b, 16 x 8 += (16 x 8) * (8 x 8), by a whole warp (PTX ISA, "mma.m16n8k8 with .tf32"). Lane l holds, with
// g = l / 4 and t = l % 4:  a: (g, t) (g+8, t) (g, t+4) (g+8, t+4);  b: (t, g) (t+4, g);
//                           d: (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1).
__device__ void tensor_product(float* d, const float* a, const float* b) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

#endif
