/* See escape.h for what this does. How:
 *
 *   First a tile is walked over in blocks of a few rows and as many columns as a vector has lanes,
 *   and each iteration of a block looks who is still inside. Most pixels end here.
 *
 *   The others join a queue. Rounds of some iterations run over it without a look, with as many
 *   vectors interleaved as it takes to hide the processor's latency. Then comes one look. The
 *   orbits inside move together at the queue's front. Those that escaped, at whatever time, are
 *   still outside, for |c| < 2 lets none come back: they are run again from the round's start, and
 *   counted. Those in a trap disc, or just where they were a round ago, never escape.
 *
 * There is one source of it, escape_rounds.h, for all instruction sets. It must be compiled with
 * -ffp-contract=off: what is fused here is exact, what a compiler fuses is not. */

#include "escape.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum {
    ROWS = ESCAPE_ROWS, /* of a block: enough vectors to hide a look's latency, all in registers */
    FIRST = 64,           /* iterations of a block: with more, too few of its lanes are alive */
    FIRST_WITH_DISCS = 8, /* no more than it takes to reach a large disc */
    ROUND_MIN = 12,
    ROUND_MAX = 96, /* a round over the whole queue takes up to half a millisecond */
    QUEUE = 16384,  /* pixels: long enough for full vectors to the end, and about an L2 cache */
    SLACK = 64 + 8, /* what a round pads, and what `append` writes beyond the end, at most */
    ESCAPED = 32 + SLACK, /* what `replay` waits for, and what one more group of vectors adds */
    PIXEL_ROUND = 64, /* iterations of a single pixel between two looks at the rest of the world */
};

/* A coordinate from where an orbit escapes at once: of pixels that are not there. */
#define OUTSIDE 4.0

/* 16 is for what has its own half precision, and nothing wider. */
_Static_assert(FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 16, "excess precision changes counts");

/* Tallies are bytes. */
_Static_assert(FIRST < 256 && ROUND_MAX < 256, "a tally would overflow");

/* Pixels that are under way. */
struct list {
    size_t size;
    double *zx, *zy;
    uint32_t *place; /* in `out` */
};

struct work {
    const struct escape_image *image;
    const struct escape_tile *tile;
    void *out;
    size_t bytes;
    const volatile uint8_t *stop;
    int64_t *next;
    struct list queue;
    struct list escaped; /* of the round that runs, where they were before it */
    double queue_zx[QUEUE + SLACK], queue_zy[QUEUE + SLACK];
    double escaped_zx[ESCAPED], escaped_zy[ESCAPED];
    uint32_t queue_place[QUEUE + SLACK], escaped_place[ESCAPED];
};

static inline void put(struct work *work, uint32_t place, uint32_t count) {
    if (work->bytes == 2)
        ((uint16_t *)work->out)[place] = (uint16_t)count;
    else
        ((uint32_t *)work->out)[place] = count;
}

/* The first of `rows` rows that nobody else has taken. */
static inline int64_t take(struct work *work, int64_t rows) {
    return __atomic_fetch_add(work->next, rows, __ATOMIC_RELAXED);
}

static inline double row_y(const struct escape_image *image, int64_t row) {
    return image->center_y + (image->middle_y - (double)row) * image->dx;
}

/* The disc to test after `age` iterations, or NULL. With each turn orbits find one that is one
 * further behind in their cycle, so that after so many turns as it has discs each has found its
 * own; a fixed one might never be there when a look falls on it. */
static inline const struct escape_disc *disc_of(const struct escape_image *image, uint64_t age,
                                                uint64_t turn) {
    uint64_t period = image->discs_count;
    return period ? &image->discs[(age % period + period - turn % period) % period] : NULL;
}

/* Of the next round. A look costs each pixel the same however long the round was, and one that
 * escapes costs what it ran too far and runs again: both are even if about 2 in `length` escape. */
static inline uint32_t next_length(uint32_t length, size_t before, size_t gone) {
    if (gone * length < before)
        length *= 2;
    else if (gone * length > 4 * before)
        length /= 2;
    return length < ROUND_MIN ? ROUND_MIN : length > ROUND_MAX ? ROUND_MAX : length;
}

#define BYTES_1(bit0) (bit0) + 0x00ull, (bit0) + 0x01ull
#define BYTES_2(bits) BYTES_1(bits), BYTES_1((bits) + (1ull << 8))
#define BYTES_3(bits) BYTES_2(bits), BYTES_2((bits) + (1ull << 16))
#define BYTES_4(bits) BYTES_3(bits), BYTES_3((bits) + (1ull << 24))
#define BYTES_5(bits) BYTES_4(bits), BYTES_4((bits) + (1ull << 32))
#define BYTES_6(bits) BYTES_5(bits), BYTES_5((bits) + (1ull << 40))
#define BYTES_7(bits) BYTES_6(bits), BYTES_6((bits) + (1ull << 48))
#define BYTES_8(bits) BYTES_7(bits), BYTES_7((bits) + (1ull << 56))

/* A set of lanes as a number with a 1 in the byte of each. */
static const uint64_t byte_a_lane[256] = {BYTES_8(0ull)};

/* Fill a list up with orbits that are outside, which is how far vectors may reach beyond it. */
static inline void pad(struct list *list, size_t size) {
    for (size_t i = list->size; i < list->size + size; i++) {
        list->zx[i] = OUTSIDE;
        list->zy[i] = 0;
    }
}

#define NOINLINE __attribute__((noinline))

#define LANES 2
#include "escape_lanes.h"
#include "escape_rounds.h"

#ifdef __x86_64__
#define LANES 4
#include "escape_lanes.h"
#include "escape_rounds.h"

#define LANES 8
#include "escape_lanes.h"
#include "escape_rounds.h"
#endif

/* How many iterations one pixel makes, as the contract has it; 0 if it was stopped. */
static uint32_t pixel(const struct escape_image *image, double zx, double zy,
                      const volatile uint8_t *stop) {
    double c_re = image->c_re, c_im = image->c_im;
    uint32_t n = 0, iterations = image->iterations;
    for (uint64_t turn = 0; n < iterations; turn++) {
        uint32_t until = iterations - n < PIXEL_ROUND ? iterations : n + PIXEL_ROUND;
        double xx = zx * zx, yy = zy * zy;
        for (; n < until && xx + yy <= 4; n++) {
            zy = 2 * zx * zy + c_im;
            zx = xx - yy + c_re;
            xx = zx * zx;
            yy = zy * zy;
        }
        if (n < until)
            return n;
        const struct escape_disc *disc = disc_of(image, n, turn);
        if (disc) {
            double x = zx - disc->re, y = zy - disc->im;
            if (x * x + y * y <= disc->radius2)
                return iterations;
        }
        if (*stop)
            return 0;
    }
    return n;
}

static void compute_scalar(struct work *work) {
    const struct escape_image *image = work->image;
    const struct escape_tile *tile = work->tile;
    for (int64_t row; !*work->stop && (row = take(work, 1)) < tile->height;) {
        double y = row_y(image, tile->top + row);
        for (int64_t column = 0; column < tile->width && !*work->stop; column++) {
            double column_x = (double)(tile->left + column) - image->middle_x;
            double x = image->center_x + column_x * image->dx;
            put(work, (uint32_t)(row * tile->width + column), pixel(image, x, y, work->stop));
        }
    }
}

/* Whether the rounds give what the contract's loop does; the proofs are in docs/exactness.md.
 * No orbit comes back (its section 1), and c_im is not so small that the rounding of 2*zx*zy among
 * the subnormal numbers, which a fused step does not repeat, could be seen (its section 4). */
static int rounds_are_exact(const struct escape_image *image) {
    double c_re = image->c_re, c_im = image->c_im;
    return c_re * c_re + c_im * c_im <= 3.999 &&
           (c_im == 0 || c_im >= 0x1p-960 || c_im <= -0x1p-960);
}

int escape_has(enum escape_isa isa) {
    switch (isa) {
    case ESCAPE_SCALAR:
    case ESCAPE_BASELINE:
        return 1;
#ifdef __x86_64__
    case ESCAPE_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case ESCAPE_AVX512:
        return escape_has(ESCAPE_AVX2) && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
    default:
        return 0;
    }
}

enum escape_result escape_counts(enum escape_isa isa, const struct escape_image *image,
                                 const struct escape_tile *tile, void *out, size_t bytes,
                                 const volatile uint8_t *stop, int64_t *next) {
    struct work *work = malloc(sizeof *work);
    if (!work)
        return ESCAPE_NO_MEMORY;
    work->image = image;
    work->tile = tile;
    work->out = out;
    work->bytes = bytes;
    work->stop = stop;
    work->next = next;
    work->queue = (struct list){0, work->queue_zx, work->queue_zy, work->queue_place};
    work->escaped = (struct list){0, work->escaped_zx, work->escaped_zy, work->escaped_place};
    /* Without a look, nothing would tell the pixels that are not there from the others. */
    if (!rounds_are_exact(image) || image->iterations == 0)
        isa = ESCAPE_SCALAR;
    switch (isa) {
#ifdef __x86_64__
    case ESCAPE_AVX512:
        compute_avx512(work);
        break;
    case ESCAPE_AVX2:
        compute_avx2(work);
        break;
#endif
    case ESCAPE_BASELINE:
        compute_baseline(work);
        break;
    default:
        compute_scalar(work);
    }
    free(work);
    return *stop ? ESCAPE_STOPPED : ESCAPE_DONE;
}
