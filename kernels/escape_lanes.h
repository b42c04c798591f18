/* What an instruction set does in its own way. Included by escape.c once for each, with LANES set;
 * N(name) gives each inclusion names of its own. */

#if LANES == 8
#define SUFFIX avx512
#define TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx2,fma")))
#define UNROLL 8
#define IOTA {0, 1, 2, 3, 4, 5, 6, 7}
#elif LANES == 4
#define SUFFIX avx2
#define TARGET __attribute__((target("avx2,fma")))
#define UNROLL 6 /* more do not fit 16 registers */
#define IOTA {0, 1, 2, 3}
#else
#define SUFFIX baseline
#define TARGET
#define UNROLL 6
#define IOTA {0, 1}
#endif

#define PASTE_(name, suffix) name##_##suffix
#define PASTE(name, suffix) PASTE_(name, suffix)
#define N(name) PASTE(name, SUFFIX)
#define INLINE TARGET static inline __attribute__((always_inline))

typedef double N(vec) __attribute__((vector_size(LANES * 8)));
typedef double N(loose_vec) __attribute__((vector_size(LANES * 8), aligned(8), may_alias));
typedef int64_t N(masks) __attribute__((vector_size(LANES * 8)));
typedef uint32_t N(places) __attribute__((vector_size(LANES * 4)));
typedef uint32_t N(loose_places) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
#define vec N(vec)
#define places N(places)

/* A set of lanes: bit i is lane i. */
#define ALL_LANES ((1u << LANES) - 1)

INLINE vec N(all)(double value) { return value - (vec){0}; }
INLINE vec N(load)(const double *from) { return *(const N(loose_vec) *)from; }
INLINE void N(store)(double *to, vec v) { *(N(loose_vec) *)to = v; }
INLINE places N(load_places)(const uint32_t *from) { return *(const N(loose_places) *)from; }
INLINE void N(store_places)(uint32_t *to, places p) { *(N(loose_places) *)to = p; }

/* at_most, equal   the lanes where a <= b, a == b; never one with a NaN
 * fused            a*b + c, rounded once
 * pack             the chosen lanes side by side; what comes after them is of no use */
#if LANES == 8

INLINE unsigned N(at_most)(vec a, vec b) {
    return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LE_OQ);
}

INLINE unsigned N(equal)(vec a, vec b) {
    return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_EQ_OQ);
}

INLINE vec N(fused)(vec a, vec b, vec c) {
    return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}

INLINE vec N(pack)(vec v, unsigned lanes) {
    return (vec)_mm512_maskz_compress_pd((__mmask8)lanes, (__m512d)v);
}

INLINE places N(pack_places)(places p, unsigned lanes) {
    return (places)_mm256_maskz_compress_epi32((__mmask8)lanes, (__m256i)p);
}

#elif LANES == 4

/* For each set of lanes, where the 32-bit halves of the doubles, and the bytes of the places, of
 * those that stay come from. */
#define D(lane) 2 * lane, 2 * lane + 1
static const uint32_t packed_halves[16][8] __attribute__((aligned(32))) = {
    {0},    {D(0)},       {D(1)},       {D(0), D(1)},       {D(2)},       {D(0), D(2)},
    {D(1), D(2)},         {D(0), D(1), D(2)},               {D(3)},       {D(0), D(3)},
    {D(1), D(3)},         {D(0), D(1), D(3)},               {D(2), D(3)}, {D(0), D(2), D(3)},
    {D(1), D(2), D(3)},   {D(0), D(1), D(2), D(3)},
};
#undef D
#define B(lane) 4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3
static const uint8_t packed_bytes[16][16] __attribute__((aligned(16))) = {
    {0},    {B(0)},       {B(1)},       {B(0), B(1)},       {B(2)},       {B(0), B(2)},
    {B(1), B(2)},         {B(0), B(1), B(2)},               {B(3)},       {B(0), B(3)},
    {B(1), B(3)},         {B(0), B(1), B(3)},               {B(2), B(3)}, {B(0), B(2), B(3)},
    {B(1), B(2), B(3)},   {B(0), B(1), B(2), B(3)},
};
#undef B

INLINE unsigned N(at_most)(vec a, vec b) {
    return (unsigned)_mm256_movemask_pd(_mm256_cmp_pd((__m256d)a, (__m256d)b, _CMP_LE_OQ));
}

INLINE unsigned N(equal)(vec a, vec b) {
    return (unsigned)_mm256_movemask_pd(_mm256_cmp_pd((__m256d)a, (__m256d)b, _CMP_EQ_OQ));
}

INLINE vec N(fused)(vec a, vec b, vec c) {
    return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}

INLINE vec N(pack)(vec v, unsigned lanes) {
    __m256i order = _mm256_load_si256((const __m256i *)packed_halves[lanes]);
    return (vec)_mm256_permutevar8x32_epi32((__m256i)v, order);
}

INLINE places N(pack_places)(places p, unsigned lanes) {
    __m128i order = _mm_load_si128((const __m128i *)packed_bytes[lanes]);
    return (places)_mm_shuffle_epi8((__m128i)p, order);
}

#else

INLINE unsigned N(set_of)(N(masks) m) {
#ifdef __x86_64__
    return (unsigned)_mm_movemask_pd((__m128d)m);
#else
    return (unsigned)((m[0] & 1) | (m[1] & 2));
#endif
}

INLINE unsigned N(at_most)(vec a, vec b) { return N(set_of)(a <= b); }
INLINE unsigned N(equal)(vec a, vec b) { return N(set_of)(a == b); }

#ifdef __aarch64__
INLINE vec N(fused)(vec a, vec b, vec c) {
    return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#endif

/* Of two lanes only the upper one ever moves. */
INLINE vec N(pack)(vec v, unsigned lanes) { return lanes == 2 ? (vec){v[1], v[1]} : v; }

INLINE places N(pack_places)(places p, unsigned lanes) {
    return lanes == 2 ? (places){p[1], p[1]} : p;
}

#endif
