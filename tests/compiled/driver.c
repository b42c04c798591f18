/* Draws images, and compares what each instruction set of this machine makes of them with the loop
 * of the contract, pixel by pixel. No Python is needed, so that it runs under the sanitizers, and
 * under an emulator of another processor.
 *
 *   driver SEED CASES     prints what it did; 1 and the image where a count is another one
 *
 * It must be compiled with -ffp-contract=off, for the loop's sake. Buffers have their size to the
 * byte: a sanitizer sees who reaches beyond. */

#include "escape.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DISCS_MAX = 64, THREADS_MAX = 3, SIDE_MAX = 40 };

static const char *const names[ESCAPE_ISAS] = {"scalar", "baseline", "avx2", "avx512"};

/* --- Chance ----------------------------------------------------------------------------------- */

static uint64_t chance;

/* SplitMix64. */
static uint64_t draw(void) {
    uint64_t z = chance += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static int64_t below(int64_t bound) { return (int64_t)(draw() % (uint64_t)bound); }

static double between(double low, double high) {
    return low + (high - low) * ((double)(draw() >> 11) * 0x1p-53);
}

#define ONE_OF(list) (list)[below(sizeof(list) / sizeof *(list))]

/* Up to three representable numbers up or down. */
static double nudged(double value) {
    double towards = below(2) ? INFINITY : -INFINITY;
    for (int64_t n = below(4); n > 0; n--)
        value = nextafter(value, towards);
    return isfinite(value) ? value : 0;
}

/* --- What is drawn ---------------------------------------------------------------------------- */

/* A constant: of what people look at, and where the short cuts of escape.c end. */
static void draw_constant(double *re, double *im) {
    static const double special[] = {0,      -0.0,   0.25,  -0.75,    -1.25,  -1.9,      2,    -2,
                                     -9,     5e-324, 1e154, 2.2e-308, 1e-160, -1.7e308,  0x1p-900,
                                     0x1p-800};
    static const double tiny[] = {0x1p-959, 0x1p-960, 0x1p-961, -0x1p-960, 5e-324, -0x1p-1022};
    /* Middles of components of the Mandelbrot set: cycles of 1, 2, 3, 3, 4 and 5. */
    static const double middles[][2] = {{0, 0},       {-1, 0},       {-1.7548776662, 0},
                                        {-0.1225611669, 0.7448617666}, {-1.3107026413, 0},
                                        {-0.5043401754, 0.5627657614}};
    double angle = between(0, 6.3), radius;
    const double *middle;
    switch (below(9)) {
    case 0:
        *re = -0.772691322542185, *im = 0.124281466072787;
        return;
    case 1:
        *re = between(-2, 1), *im = between(-1.2, 1.2);
        return;
    case 2:
        *re = between(-2.1, 0.5), *im = 0;
        return;
    case 3: /* around where orbits may come back, and where that is proven not to be */
        radius = sqrt(below(2) ? 3.999 : 4);
        *re = nudged(radius * cos(angle)), *im = nudged(radius * sin(angle));
        return;
    case 4:
        *re = below(2) ? ONE_OF(special) : between(-2, 0.5), *im = nudged(ONE_OF(tiny));
        return;
    case 5:
        *re = ONE_OF(special), *im = ONE_OF(special);
        return;
    case 6:
        *re = 0, *im = between(-1.2, 1.2);
        return;
    default:
        middle = ONE_OF(middles), radius = below(3) ? between(0, 0.03) : 0;
        *re = middle[0] + radius * cos(angle), *im = middle[1] + radius * sin(angle);
        if (middle[1] == 0 && below(2))
            *im = 0;
    }
}

/* A size, a window, a number of iterations, and a tile of it. */
static void draw_image(struct escape_image *image, struct escape_tile *tile) {
    static const uint32_t iterations[] = {0,   1,   7,   8,   9,   11,   12,     13,     20,  24,
                                          63,  64,  65,  75,  76,  77,   95,     96,     97,  107,
                                          108, 160, 161, 200, 255, 256,  257,    300,    512, 999};
    static const uint32_t deep[] = {5000, 65535, 65536, 65537, 100000};
    static const double half[] = {1.6, 1.6, 0.5, 2.5, 1e-3, 1e-16, 5e-324, 1e100};
    static const double places[] = {2, -2, 1.5, 1e-160, 5e-324, 1e154, -1.7e308, -0.0};
    int is_deep = below(16) == 0;
    int64_t side = is_deep ? 4 : SIDE_MAX;
    int64_t width = 1 + below(side), height = 1 + below(side);
    image->iterations = is_deep ? ONE_OF(deep) : ONE_OF(iterations);
    tile->left = below(width), tile->top = below(height);
    tile->width = 1 + below(width - tile->left), tile->height = 1 + below(height - tile->top);
    if (below(3) == 0)
        *tile = (struct escape_tile){0, 0, width, height};
    double half_width = below(2) ? ONE_OF(half) : between(0.01, 3);
    image->dx = 2 * half_width / (double)(width > 1 ? width - 1 : 1);
    image->middle_x = (double)(width - 1) / 2, image->middle_y = (double)(height - 1) / 2;
    image->center_x = image->center_y = 0;
    if (below(2)) {
        image->center_x = below(3) ? between(-1.5, 1.5) : ONE_OF(places);
        image->center_y = below(3) ? between(-1.5, 1.5) : ONE_OF(places);
    }
}

/* A pixel on the real axis but for the smallest numbers, whose rounding shows after a thousand
 * iterations: where a fused step would be another one. */
static void draw_subnormal(struct escape_image *image, struct escape_tile *tile) {
    *image = (struct escape_image){.center_x = between(-1.5, 1.5),
                                   .center_y = (double)(1 + below(9)) * 0x1p-1074,
                                   .dx = 1e-3,
                                   .c_re = between(-1.95, -1.5),
                                   .c_im = (double)below(4) * 0x1p-1074,
                                   .iterations = 3000};
    *tile = (struct escape_tile){0, 0, 4, 1};
}

static double size(double re, double im) { return sqrt(re * re + im * im); }

/* Radii for a cycle so that each disc leads into the next one, with plenty of room for rounding;
 * 0 if this first radius does not do. */
static int ring(struct escape_disc *discs, size_t period, double re, double im, double first) {
    double room = 0x1p-36, radius = first;
    for (size_t i = 0; i < period; i++) {
        const struct escape_disc *next = &discs[(i + 1) % period];
        double x = discs[i].re, y = discs[i].im, a = size(x, y);
        if (a + radius > 2 - room)
            return 0;
        discs[i].radius2 = radius * radius * (1 - room);
        double off = size(x * x - y * y + re - next->re, 2 * x * y + im - next->im);
        radius = 2 * a * radius + radius * radius + off + room;
    }
    return radius <= first;
}

/* The discs around the cycle that 0 goes to; how many there are. */
static size_t find_discs(double re, double im, struct escape_disc *discs) {
    double x = 0, y = 0;
    for (int n = 0; n < 4000 && size(x, y) <= 2; n++) {
        double t = x * x - y * y + re;
        y = 2 * x * y + im, x = t;
    }
    size_t period = 0;
    double from_x = x, from_y = y;
    do {
        if (period == DISCS_MAX || !(size(x, y) <= 2))
            return 0;
        discs[period++] = (struct escape_disc){x, y, 0};
        double t = x * x - y * y + re;
        y = 2 * x * y + im, x = t;
    } while (size(x - from_x, y - from_y) > 1e-12);
    for (double first = 1; first > 1e-6; first *= 0.9)
        if (ring(discs, period, re, im, first))
            return period;
    return 0;
}

/* --- The contract ----------------------------------------------------------------------------- */

static uint32_t count(const struct escape_image *image, int64_t i, int64_t j) {
    double zx = image->center_x + ((double)i - image->middle_x) * image->dx;
    double zy = image->center_y + (image->middle_y - (double)j) * image->dx;
    uint32_t n = 0;
    while (n < image->iterations && zx * zx + zy * zy <= 4) {
        double next = zx * zx - zy * zy + image->c_re;
        zy = 2 * zx * zy + image->c_im;
        zx = next;
        n++;
    }
    return n;
}

static uint32_t *contract(const struct escape_image *image, const struct escape_tile *tile) {
    uint32_t *counts = malloc((size_t)(tile->width * tile->height) * sizeof *counts), *at = counts;
    for (int64_t j = 0; j < tile->height; j++)
        for (int64_t i = 0; i < tile->width; i++)
            *at++ = count(image, tile->left + i, tile->top + j);
    return counts;
}

/* --- The comparison --------------------------------------------------------------------------- */

struct call {
    enum escape_isa isa;
    const struct escape_image *image;
    const struct escape_tile *tile;
    void *out;
    size_t bytes;
    const volatile uint8_t *stop;
    int64_t *next;
    enum escape_result result;
};

static void *run(void *argument) {
    struct call *c = argument;
    c->result = escape_counts(c->isa, c->image, c->tile, c->out, c->bytes, c->stop, c->next);
    return NULL;
}

static void die(const char *what, const struct call *c) {
    const struct escape_image *p = c->image;
    printf("%s: %s, %zu bytes a count\n", what, names[c->isa], c->bytes);
    printf("c = %a, %a; iterations = %" PRIu32 "; discs = %zu; centre = %a, %a; dx = %a; "
           "middle = %g, %g; tile = %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "\n",
           p->c_re, p->c_im, p->iterations, p->discs_count, p->center_x, p->center_y, p->dx,
           p->middle_x, p->middle_y, c->tile->left, c->tile->top, c->tile->width, c->tile->height);
    exit(1);
}

/* One tile by one instruction set, by several threads that share it. */
static void compare(struct call call, const uint32_t *wanted, int threads) {
    static const volatile uint8_t stop = 0;
    size_t pixels = (size_t)(call.tile->width * call.tile->height);
    int64_t next = 0;
    struct call calls[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    call.out = malloc(pixels * call.bytes);
    memset(call.out, 0xa5, pixels * call.bytes);
    call.stop = &stop, call.next = &next;
    for (int t = 0; t < threads; t++) {
        calls[t] = call;
        if (t && pthread_create(&ids[t], NULL, run, &calls[t]))
            die("no thread", &call);
    }
    run(&calls[0]);
    for (int t = 0; t < threads; t++) {
        if (t)
            pthread_join(ids[t], NULL);
        if (calls[t].result != ESCAPE_DONE)
            die("not done", &call);
    }
    for (size_t i = 0; i < pixels; i++) {
        uint32_t got = call.bytes == 2 ? ((uint16_t *)call.out)[i] : ((uint32_t *)call.out)[i];
        if (got != wanted[i]) {
            printf("pixel %zu: %" PRIu32 " is not %" PRIu32 "\n", i, got, wanted[i]);
            die("another count", &call);
        }
    }
    free(call.out);
}

/* All instruction sets, with and without discs, and both widths of counts; how many it were. */
static int64_t compare_all(struct escape_image *image, const struct escape_tile *tile,
                           size_t *longest) {
    int64_t cases = 0;
    struct escape_disc *discs = malloc(DISCS_MAX * sizeof *discs);
    size_t found = find_discs(image->c_re, image->c_im, discs);
    discs = realloc(discs, (found ? found : 1) * sizeof *discs);
    uint32_t *wanted = contract(image, tile);
    for (int isa = 0; isa < ESCAPE_ISAS; isa++)
        for (int trap = 0; escape_has((enum escape_isa)isa) && trap <= (found > 0); trap++) {
            image->discs_count = trap ? found : 0, image->discs = trap ? discs : NULL;
            size_t bytes = image->iterations > UINT16_MAX || below(2) ? 4 : 2;
            struct call call = {(enum escape_isa)isa, image, tile, NULL, bytes, NULL, NULL, 0};
            compare(call, wanted, below(8) ? 1 : 2 + (int)below(THREADS_MAX - 1));
            cases++;
        }
    *longest = found > *longest ? found : *longest;
    free(wanted);
    free(discs);
    return cases;
}

/* Images of which more pixels stay than the queue holds, deeper and shallower. */
static int64_t compare_large(int64_t width, int64_t height, size_t *longest) {
    static const double constants[][3] = {{0, 0, 150},     {-0.75, 0.01, 700}, {0, 1, 300},
                                          {-1.25, 0, 300}, {-0.12, 0.74, 300}, {-1.9, 0, 300},
                                          {-0.772691322542185, 0.124281466072787, 700}};
    int64_t cases = 0;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        struct escape_image image = {.middle_x = (double)(width - 1) / 2,
                                     .middle_y = (double)(height - 1) / 2,
                                     .dx = 3.0 / (double)width,
                                     .c_re = constants[i][0],
                                     .c_im = constants[i][1],
                                     .iterations = (uint32_t)constants[i][2]};
        struct escape_tile tile = {0, 0, width, height};
        cases += compare_all(&image, &tile, longest);
    }
    return cases;
}

/* A flag that is set, before or while a tile is computed that would take hours, ends it. */
static void stop(enum escape_isa isa, double c_re, int before) {
    struct escape_image image = {.middle_x = 2047.5, .dx = 2.0 / 4095, .c_re = c_re,
                                 .iterations = 1u << 31};
    struct escape_tile tile = {0, 0, 4096, 1};
    volatile uint8_t *flag = malloc(1);
    int64_t next = 0;
    pthread_t id;
    struct call call = {isa, &image, &tile, malloc(4096 * 4), 4, flag, &next, ESCAPE_DONE};
    memset(call.out, 0, 4096 * 4);
    *flag = (uint8_t)before;
    if (pthread_create(&id, NULL, run, &call))
        die("no thread", &call);
    while (!before && __atomic_load_n(&next, __ATOMIC_RELAXED) == 0)
        sched_yield();
    *flag = 1;
    pthread_join(id, NULL);
    if (call.result != ESCAPE_STOPPED)
        die("not stopped", &call);
    free(call.out);
    free((void *)flag);
}

int main(int count_of_arguments, char **arguments) {
    if (count_of_arguments != 3)
        return fprintf(stderr, "driver SEED CASES\n"), 2;
    int64_t cases = 0, wanted = strtoll(arguments[2], NULL, 0);
    size_t longest = 0;
    chance = strtoull(arguments[1], NULL, 0);
    while (cases < wanted) {
        struct escape_image image = {0};
        struct escape_tile tile;
        draw_constant(&image.c_re, &image.c_im);
        draw_image(&image, &tile);
        if (below(64) == 0)
            draw_subnormal(&image, &tile);
        cases += compare_all(&image, &tile, &longest);
    }
    cases += compare_large(301, 203, &longest);
    printf("%" PRId64 " cases, cycles of up to %zu discs:", cases, longest);
    for (int isa = 0; isa < ESCAPE_ISAS; isa++) {
        if (!escape_has((enum escape_isa)isa))
            continue;
        printf(" %s", names[isa]);
        for (int before = 0; before < 2; before++) {
            stop((enum escape_isa)isa, -1.9, before); /* in rounds */
            stop((enum escape_isa)isa, -2.0, before); /* pixel by pixel */
        }
    }
    printf("\n");
    return 0;
}
