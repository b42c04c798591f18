# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: autotestdict=False
"""The Julia set, compiled: the loop of `secuencial`, operation by operation.

Compiled without fused multiply-add (``-ffp-contract=off``, see setup.py), for a fused one rounds
once where the reference rounds twice. The GIL is free for the whole tile, so that the worker can
hear of a cancellation, and threads run side by side.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from hpczmq.kernels.base import Cancelled

ctypedef fused count_t:
    uint16_t
    uint32_t


def counts(params, tile, count_t[:, ::1] out, cancelled):
    """Write the counts of `tile` into `out`; see `julia.CountsFunction`."""
    if out.shape[0] != tile.height or out.shape[1] != tile.width:
        raise ValueError(f"out has shape {out.shape[0], out.shape[1]} for {tile}")
    cdef uint8_t[::1] flag = cancelled.byte
    # The whole image's, so that every tile sees the same coordinates.
    cdef double dx = params.dx
    cdef double middle_x = (params.width - 1) / 2, middle_y = (params.height - 1) / 2
    cdef double center_x = params.center_x, center_y = params.center_y
    cdef double c_re = params.c_re, c_im = params.c_im
    cdef uint32_t iterations = params.iterations
    cdef Py_ssize_t left = tile.x, top = tile.y, row, column
    cdef double x, y
    # Volatile, since another thread writes it while this one is in the loop.
    cdef volatile uint8_t* stop = &flag[0]
    cdef bint stopped = False

    with nogil:
        for row in range(out.shape[0]):
            if stop[0]:
                stopped = True
                break
            y = center_y + (middle_y - <double>(top + row)) * dx
            for column in range(out.shape[1]):
                x = center_x + (<double>(left + column) - middle_x) * dx
                out[row, column] = <count_t>escape(x, y, c_re, c_im, iterations)
    if stopped:
        raise Cancelled


cdef inline uint32_t escape(
    double zx, double zy, double c_re, double c_im, uint32_t iterations
) noexcept nogil:
    """How often z² + c can be applied before |z| > 2; `iterations` at most."""
    cdef uint32_t n = 0
    cdef double xx = zx * zx, yy = zy * zy
    while n < iterations and xx + yy <= 4:
        zy = 2 * zx * zy + c_im
        zx = xx - yy + c_re
        xx = zx * zx
        yy = zy * zy
        n += 1
    return n
