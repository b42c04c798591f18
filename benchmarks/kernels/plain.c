/* What all others are compared with: the contract's loop, pixel by pixel, as one would write it.
 * Built by native.py with -O3 -ffp-contract=off: no vectors, no short cuts. */

#include <stddef.h>
#include <stdint.h>

/* out[j * width + i] for all columns i and `rows` rows j; xs and ys are the coordinates. */
void plain_counts(double c_re, double c_im, uint32_t iterations, const double *xs, size_t width,
                  const double *ys, size_t rows, uint16_t *out) {
    for (size_t j = 0; j < rows; j++)
        for (size_t i = 0; i < width; i++) {
            double zx = xs[i], zy = ys[j], xx = zx * zx, yy = zy * zy;
            uint32_t n = 0;
            for (; n < iterations && xx + yy <= 4; n++) {
                zy = 2 * zx * zy + c_im;
                zx = xx - yy + c_re;
                xx = zx * zx;
                yy = zy * zy;
            }
            out[j * width + i] = (uint16_t)n;
        }
}
