# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False
"""The Julia set, compiled: the front of escape.c, which does the work.

The GIL is free for the whole tile, so that the worker can report meanwhile, and so that the threads
of one task run side by side.
"""

from concurrent.futures import ThreadPoolExecutor

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from hpczmq.kernels import trap
from hpczmq.kernels.base import Cancelled
from hpczmq.kernels.julia import discs_of

cdef extern from "escape.h" nogil:
    struct escape_disc:
        double re, im, radius2

    struct escape_image:
        double center_x, center_y, middle_x, middle_y, dx, c_re, c_im
        uint32_t iterations
        size_t discs_count
        const escape_disc* discs

    struct escape_tile:
        int64_t left, top, width, height

    enum escape_isa:
        pass

    enum escape_result:
        ESCAPE_DONE, ESCAPE_STOPPED, ESCAPE_NO_MEMORY

    enum:
        ESCAPE_ROWS

    bint escape_has(escape_isa isa)
    escape_result escape_counts(
        escape_isa isa, const escape_image* image, const escape_tile* tile, void* out,
        size_t bytes, const volatile uint8_t* stop, int64_t* next
    )

ctypedef fused count_t:
    uint16_t
    uint32_t

#: As `escape_isa` numbers them, slowest first.
_NAMES = ("scalar", "baseline", "avx2", "avx512")

cdef enum:
    DISCS = 256  # room for the longest cycle of trap.py

assert trap.PERIOD_MAX <= DISCS


def available():
    """The instruction sets that this build and this processor have, the slowest first."""
    return tuple(name for i, name in enumerate(_NAMES) if escape_has(<escape_isa><int>i))


cdef class _Work:
    """One tile, as C sees it."""

    cdef escape_isa isa
    cdef escape_image image
    cdef escape_tile tile
    cdef escape_disc discs[DISCS]
    #: Whose memory `out` and `stop` point to: threads may outlive an interrupted caller.
    cdef object owners
    cdef void* out
    cdef size_t bytes
    cdef const volatile uint8_t* stop
    cdef int64_t next

    def __cinit__(self, params, tile, isa):
        self.isa = <escape_isa><int>_NAMES.index(isa)
        self.image.center_x, self.image.center_y = params.center_x, params.center_y
        self.image.middle_x = (params.width - 1) / 2
        self.image.middle_y = (params.height - 1) / 2
        self.image.dx = params.dx
        self.image.c_re, self.image.c_im = params.c_re, params.c_im
        self.image.iterations = params.iterations
        found = discs_of(params)
        for i, disc in enumerate(found):
            self.discs[i].re, self.discs[i].im, self.discs[i].radius2 = disc
        self.image.discs_count = len(found)
        self.image.discs = self.discs
        self.tile.left, self.tile.top, self.tile.width, self.tile.height = tile

    def run(self):
        """Compute the rows that no other thread has taken; what `escape_counts` returns."""
        cdef escape_result result
        with nogil:
            result = escape_counts(
                self.isa, &self.image, &self.tile, self.out, self.bytes, self.stop, &self.next
            )
        return result


def counts(params, tile, count_t[:, ::1] out, cancelled, isa):
    """Write the counts of `tile` into `out`, by one of the `available` instruction sets."""
    if out.shape[0] != tile.height or out.shape[1] != tile.width:
        raise ValueError(f"out has shape {out.shape[0], out.shape[1]} for {tile}")
    cdef uint8_t[::1] flag = cancelled.byte
    cdef _Work work = _Work(params, tile, isa)
    work.out, work.bytes, work.stop = &out[0, 0], sizeof(count_t), &flag[0]
    work.owners = (out.base, cancelled.byte)
    threads = min(params.threads, -(-tile.height // ESCAPE_ROWS))
    results = [work.run()] if threads == 1 else _together(work, threads, cancelled)
    if ESCAPE_STOPPED in results:
        raise Cancelled
    # One that found no memory has taken no rows.
    if ESCAPE_DONE not in results:
        raise MemoryError("there is no room for a queue of pixels")


cdef list _together(_Work work, threads, cancelled):
    """What each of several threads comes to."""
    with ThreadPoolExecutor(threads) as executor:
        try:
            futures = [executor.submit(work.run) for _ in range(threads)]
            return [future.result() for future in futures]
        except BaseException:  # Ctrl-C: the threads are waited for, and should not take long
            cancelled.set()
            raise
