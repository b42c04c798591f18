/* How often z² + c can be applied to each pixel of a tile before |z| > 2: the compiled part of the
 * Julia kernel. Plain C, built and tested without Python too; _julia.pyx is its front.
 *
 * escape.c says how it works, docs/exactness.md why every way gives the same counts. */

#ifndef HPCZMQ_ESCAPE_H
#define HPCZMQ_ESCAPE_H

#include <stddef.h>
#include <stdint.h>

/* (zx-re)² + (zy-im)² <= radius2 proves that the orbit never escapes; see kernels/trap.py. */
struct escape_disc {
    double re, im, radius2;
};

/* The whole image, so that every tile sees the same coordinates. */
struct escape_image {
    double center_x, center_y;
    double middle_x, middle_y; /* (width - 1)/2 and (height - 1)/2, in pixels */
    double dx;                 /* distance of two pixels */
    double c_re, c_im;
    uint32_t iterations;
    size_t discs_count;              /* 0, or the length of the cycle */
    const struct escape_disc *discs; /* in the order of the cycle */
};

/* A part of it, in pixels; fewer than 2^31 of them. */
struct escape_tile {
    int64_t left, top, width, height;
};

/* The ways to compute, the slowest first. */
enum escape_isa {
    ESCAPE_SCALAR,   /* pixel by pixel */
    ESCAPE_BASELINE, /* 2 lanes: what each processor of the architecture has, SSE2 or NEON */
    ESCAPE_AVX2,     /* 4 lanes, with FMA */
    ESCAPE_AVX512,   /* 8 lanes */
    ESCAPE_ISAS
};

/* Rows that a thread takes at a time. */
enum { ESCAPE_ROWS = 4 };

enum escape_result { ESCAPE_DONE, ESCAPE_STOPPED, ESCAPE_NO_MEMORY };

/* Whether this build, on this processor, can compute that way. */
int escape_has(enum escape_isa isa);

/* Write the counts of `tile` into `out`, (height, width) in C order.
 *
 * isa    one that `escape_has`
 * bytes  of a count in `out`: 2 if `iterations` fits, or 4
 * stop   looked at several times a millisecond; once it is not 0 the rest is left undone
 * next   the first row that nobody has taken, 0 at the start. Threads that call this with the same
 *        arguments and the same `next` share the tile. */
enum escape_result escape_counts(enum escape_isa isa, const struct escape_image *image,
                                 const struct escape_tile *tile, void *out, size_t bytes,
                                 const volatile uint8_t *stop, int64_t *next);

#endif
