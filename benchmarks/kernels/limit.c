/* What the processor can do at most: the bare step z² + c as the kernel has it (six operations with
 * a fused multiply-add, seven without), on independent vectors that stay in registers. No look, no
 * memory, no pixels. And how fast its clock is. Built by native.py. */

#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define STEP_2(zx, zy)                                                                             \
    xx = zx * zx;                                                                                  \
    yy = zy * zy;                                                                                  \
    zy = (zx + zx) * zy + im;                                                                      \
    zx = xx - yy + re
#define STEP_FUSED(zx, zy, fused)                                                                  \
    xx = zx * zx;                                                                                  \
    yy = zy * zy;                                                                                  \
    zy = fused(two, zx * zy, im);                                                                  \
    zx = xx - yy + re

/* `count` vectors of LANES start at different places near 0, where no orbit of this c escapes: the
 * numbers stay as normal as those of a real image. */
#define LIMIT(name, target, lanes, count, step)                                                    \
    target void limit_##name##_##count(uint64_t steps, double *out) {                              \
        typedef double vec __attribute__((vector_size(lanes * 8)));                                \
        vec re = (vec){0} - 0.62772, im = (vec){0} - 0.42193, two = (vec){0} + 2, xx, yy;          \
        vec zx[count], zy[count];                                                                  \
        (void)two;                                                                                 \
        _Pragma("GCC unroll 16") for (int i = 0; i < count; i++) {                                 \
            zx[i] = (vec){0} + out[0] * i;                                                         \
            zy[i] = (vec){0} - out[0] * i;                                                         \
        }                                                                                          \
        for (uint64_t n = 0; n < steps; n++)                                                       \
            _Pragma("GCC unroll 16") for (int i = 0; i < count; i++) { step(zx[i], zy[i]); }       \
        _Pragma("GCC unroll 16") for (int i = 0; i < count; i++) {                                 \
            out[0] += zx[i][0] + zy[i][lanes - 1];                                                 \
        }                                                                                          \
    }
#define COUNTS(name, target, lanes, step)                                                          \
    LIMIT(name, target, lanes, 4, step)                                                            \
    LIMIT(name, target, lanes, 6, step)                                                            \
    LIMIT(name, target, lanes, 8, step)

#ifdef __aarch64__
#define FUSED_128(a, b, c) vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b))
#define STEP_128(zx, zy) STEP_FUSED(zx, zy, (vec)FUSED_128)
COUNTS(baseline, , 2, STEP_128)
#else
COUNTS(baseline, , 2, STEP_2)
#endif

#ifdef __x86_64__
#define FUSED_256(a, b, c) (vec) _mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c))
#define FUSED_512(a, b, c) (vec) _mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c))
#define STEP_256(zx, zy) STEP_FUSED(zx, zy, FUSED_256)
#define STEP_512(zx, zy) STEP_FUSED(zx, zy, FUSED_512)
COUNTS(avx2, __attribute__((target("avx2,fma"))), 4, STEP_256)
COUNTS(avx512, __attribute__((target("avx512f,avx2,fma"))), 8, STEP_512)
#endif

/* 16 * `rounds` additions, each waiting for the one before: one cycle each. Of registers, since
 * newer processors fold additions of constants together. */
uint64_t clock_chain(uint64_t rounds) {
    uint64_t sum = rounds, one = 1;
#define ADD_4(add) add add add add
    for (uint64_t n = 0; n < rounds; n++) {
#if defined(__x86_64__)
        __asm__ volatile(ADD_4(ADD_4("add %1, %0\n\t")) : "+r"(sum) : "r"(one));
#elif defined(__aarch64__)
        __asm__ volatile(ADD_4(ADD_4("add %0, %0, %1\n\t")) : "+r"(sum) : "r"(one));
#endif
    }
    return sum;
}
