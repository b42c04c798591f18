/* The method of escape.c for one instruction set, in the words of escape_lanes.h. `real`, known
 * when this is compiled, says that c_im is 0. */

/* One step of z² + c. The short cuts are exact: doubling is, so that one fused operation rounds
 * 2t + c_im just as two would, and what is not there need not be added. */
INLINE void N(step)(vec *zx, vec *zy, vec c_re, vec c_im, int real) {
    vec xx = *zx * *zx, yy = *zy * *zy;
#if defined(__aarch64__) || LANES > 2
    if (!real)
        *zy = N(fused)(N(all)(2), *zx * *zy, c_im);
    else
        *zy = (*zx + *zx) * *zy;
#else
    *zy = (*zx + *zx) * *zy;
    if (!real)
        *zy += c_im;
#endif
    *zx = xx - yy + c_re;
}

INLINE vec N(norm)(vec zx, vec zy) { return zx * zx + zy * zy; }

INLINE unsigned N(caught)(vec zx, vec zy, const struct escape_disc *disc) {
    vec norm = N(norm)(zx - N(all)(disc->re), zy - N(all)(disc->im));
    return N(at_most)(norm, N(all)(disc->radius2));
}

/* Iterate ROWS vectors, with a look each time. In `tally`, a byte a lane: how many looks found
 * |z| <= 2; in `alive`: the lanes where all did. */
INLINE void N(count)(vec zx[ROWS], vec zy[ROWS], uint64_t tally[ROWS], unsigned alive[ROWS],
                     vec c_re, vec c_im, uint32_t length, int real) {
    for (int i = 0; i < ROWS; i++) {
        tally[i] = 0;
        alive[i] = ALL_LANES;
    }
    for (uint32_t k = 0; k < length; k++) {
        unsigned any = 0;
        for (int i = 0; i < ROWS; i++) {
            alive[i] = N(at_most)(N(norm)(zx[i], zy[i]), N(all)(4));
            tally[i] += byte_a_lane[alive[i]];
            any |= alive[i];
            N(step)(&zx[i], &zy[i], c_re, c_im, real);
        }
        if (!any)
            break;
    }
}

/* Add lanes to a list of so many; its new size. It must have room for LANES more. (A size kept in
 * the list itself would be read back from memory before each use.) */
INLINE size_t N(append)(struct list *list, size_t size, vec zx, vec zy, places p, unsigned lanes) {
    N(store)(list->zx + size, N(pack)(zx, lanes));
    N(store)(list->zy + size, N(pack)(zy, lanes));
    N(store_places)(list->place + size, N(pack_places)(p, lanes));
    return size + (size_t)__builtin_popcount(lanes);
}

/* Count exactly those that escaped in a round, from where they were before it. */
INLINE void N(replay)(struct work *work, uint32_t age, uint32_t length, int real) {
    struct list *escaped = &work->escaped;
    vec c_re = N(all)(work->image->c_re), c_im = N(all)(work->image->c_im);
    pad(escaped, -escaped->size % (ROWS * LANES));
    for (size_t from = 0; from < escaped->size; from += ROWS * LANES) {
        vec zx[ROWS], zy[ROWS];
        uint64_t tally[ROWS];
        unsigned alive[ROWS];
        for (size_t i = 0; i < ROWS; i++) {
            zx[i] = N(load)(escaped->zx + from + i * LANES);
            zy[i] = N(load)(escaped->zy + from + i * LANES);
        }
        N(count)(zx, zy, tally, alive, c_re, c_im, length, real);
        size_t left = escaped->size - from;
        for (size_t i = 0; i < ROWS * LANES && i < left; i++) {
            uint32_t n = (uint8_t)(tally[i / LANES] >> (i % LANES * 8));
            put(work, escaped->place[from + i], age + n);
        }
    }
    escaped->size = 0;
}

/* Look at one vector of the queue after a round: from `at` it went to (zx, zy). The survivors join
 * the `kept` ones at the front; how many there are then. */
INLINE size_t N(look)(struct work *work, size_t at, size_t kept, vec zx, vec zy, unsigned there,
                      const struct escape_disc *disc, int cycles) {
    struct list *queue = &work->queue, *escaped = &work->escaped;
    unsigned inside = there & N(at_most)(N(norm)(zx, zy), N(all)(4));
    unsigned outside = there & ~inside;
    if (outside)
        escaped->size =
            N(append)(escaped, escaped->size, N(load)(queue->zx + at), N(load)(queue->zy + at),
                      N(load_places)(queue->place + at), outside);
    if (disc || cycles) {
        unsigned forever = 0;
        if (disc)
            forever |= N(caught)(zx, zy, disc);
        if (cycles) /* it is where it was: it will come here again and again */
            forever |= N(equal)(zx, N(load)(queue->zx + at)) &
                       N(equal)(zy, N(load)(queue->zy + at));
        forever &= inside;
        inside &= ~forever;
        for (; forever; forever &= forever - 1)
            put(work, queue->place[at + (size_t)__builtin_ctz(forever)], work->image->iterations);
    }
    places p = N(load_places)(queue->place + at);
    if (LANES == 8 || inside != ALL_LANES)
        return N(append)(queue, kept, zx, zy, p, inside);
    N(store)(queue->zx + kept, zx); /* mostly so, with few lanes */
    N(store)(queue->zy + kept, zy);
    N(store_places)(queue->place + kept, p);
    return kept + LANES;
}

/* `length` iterations of all in the queue, not looked at; the survivors move to its front. */
INLINE void N(round)(struct work *work, uint32_t age, uint32_t length,
                     const struct escape_disc *disc, int real) {
    struct list *queue = &work->queue;
    vec c_re = N(all)(work->image->c_re), c_im = N(all)(work->image->c_im);
    size_t size = queue->size, kept = 0;
    pad(queue, UNROLL * LANES);
    /* Among subnormal numbers each operation can take a hundred times as long. */
    for (size_t from = 0; from < size && !*work->stop; from += UNROLL * LANES) {
        vec zx[UNROLL], zy[UNROLL];
#pragma GCC unroll 8
        for (size_t i = 0; i < UNROLL; i++) {
            zx[i] = N(load)(queue->zx + from + i * LANES);
            zy[i] = N(load)(queue->zy + from + i * LANES);
        }
        for (uint32_t k = 0; k < length; k++)
#pragma GCC unroll 8
            for (size_t i = 0; i < UNROLL; i++)
                N(step)(&zx[i], &zy[i], c_re, c_im, real);
#pragma GCC unroll 8
        for (size_t i = 0; i < UNROLL; i++) {
            size_t at = from + i * LANES;
            unsigned there = ALL_LANES;
            if (at + LANES > size)
                there = at < size ? (1u << (size - at)) - 1 : 0;
            kept = N(look)(work, at, kept, zx[i], zy[i], there, disc, length == ROUND_MAX);
        }
        if (work->escaped.size >= ROWS * LANES)
            N(replay)(work, age, length, real);
    }
    N(replay)(work, age, length, real);
    queue->size = kept;
}

/* Rounds until the queue, whose pixels have made `age` iterations, is empty. */
INLINE void N(drain)(struct work *work, uint32_t age, int real) {
    const struct escape_image *image = work->image;
    struct list *queue = &work->queue;
    uint32_t length = ROUND_MIN;
    for (size_t turn = 1; queue->size && age < image->iterations && !*work->stop; turn++) {
        if (length > image->iterations - age)
            length = image->iterations - age;
        size_t before = queue->size;
        N(round)(work, age, length, disc_of(image, age + length, turn), real);
        age += length;
        length = next_length(length, before, before - queue->size);
    }
    for (size_t i = 0; i < queue->size; i++)
        put(work, queue->place[i], image->iterations);
    queue->size = 0;
}

/* Write the counts of a vector of pixels side by side, of which `columns` are there. */
INLINE void N(write)(struct work *work, uint32_t at, uint64_t tally, int columns) {
    if (columns < LANES) {
        for (int i = 0; i < columns; i++)
            put(work, at + (uint32_t)i, (uint8_t)(tally >> (8 * i)));
        return;
    }
#if LANES == 2
    if (work->bytes == 2) {
        uint16_t pair[2] = {(uint8_t)tally, (uint8_t)(tally >> 8)};
        memcpy((uint16_t *)work->out + at, pair, sizeof pair);
    } else {
        uint32_t pair[2] = {(uint8_t)tally, (uint8_t)(tally >> 8)};
        memcpy((uint32_t *)work->out + at, pair, sizeof pair);
    }
#else
    typedef uint8_t bytes __attribute__((vector_size(LANES)));
    typedef uint16_t shorts __attribute__((vector_size(LANES * 2)));
    bytes b;
    memcpy(&b, &tally, sizeof b);
    if (work->bytes == 2) {
        shorts counts = __builtin_convertvector(b, shorts);
        memcpy((uint16_t *)work->out + at, &counts, sizeof counts);
    } else {
        places counts = __builtin_convertvector(b, places);
        memcpy((uint32_t *)work->out + at, &counts, sizeof counts);
    }
#endif
}

/* The first iterations of ROWS rows from `top` on, LANES columns at a time: neighbours escape at
 * about the same time. Who does not joins the queue. */
INLINE void N(rows)(struct work *work, int64_t top, uint32_t first, int real) {
    const struct escape_image *image = work->image;
    const struct escape_tile *tile = work->tile;
    const struct escape_disc *disc = disc_of(image, first, 0);
    struct list *queue = &work->queue;
    int64_t width = tile->width;
    int rows = tile->height - top < ROWS ? (int)(tile->height - top) : ROWS;
    vec center_x = N(all)(image->center_x), middle_x = N(all)(image->middle_x);
    vec dx = N(all)(image->dx), c_re = N(all)(image->c_re), c_im = N(all)(image->c_im);
    vec column = (vec)IOTA + N(all)((double)tile->left), ys[ROWS];
    for (int i = 0; i < ROWS; i++)
        ys[i] = N(all)(i < rows ? row_y(image, tile->top + top + i) : OUTSIDE);
    for (int64_t left = 0; left < width && !*work->stop; left += LANES, column += N(all)(LANES)) {
        vec zx[ROWS], zy[ROWS];
        uint64_t tally[ROWS];
        unsigned alive[ROWS], any = 0;
        int columns = width - left < LANES ? (int)(width - left) : LANES;
        vec x = center_x + (column - middle_x) * dx;
        for (int i = columns; i < LANES; i++)
            x[i] = OUTSIDE;
        for (int i = 0; i < ROWS; i++) {
            zx[i] = x;
            zy[i] = ys[i];
        }
        N(count)(zx, zy, tally, alive, c_re, c_im, first, real);
        for (int i = 0; i < ROWS; i++) {
            if (i < rows)
                N(write)(work, (uint32_t)((top + i) * width + left), tally[i], columns);
            any |= alive[i];
        }
        if (!any)
            continue;
        for (int i = 0; i < ROWS; i++) {
            uint32_t at = (uint32_t)((top + i) * width + left);
            unsigned forever = disc ? alive[i] & N(caught)(zx[i], zy[i], disc) : 0;
            unsigned on = alive[i] & ~forever;
            for (; forever; forever &= forever - 1)
                put(work, at + (uint32_t)__builtin_ctz(forever), image->iterations);
            queue->size = N(append)(queue, queue->size, zx[i], zy[i], (places)IOTA + at, on);
        }
        if (queue->size + ROWS * LANES > QUEUE)
            N(drain)(work, first, real);
    }
}

INLINE void N(take_rows)(struct work *work, int real) {
    uint32_t first = work->image->discs_count ? FIRST_WITH_DISCS : FIRST;
    if (first > work->image->iterations)
        first = work->image->iterations;
    for (int64_t top; !*work->stop && (top = take(work, ROWS)) < work->tile->height;)
        N(rows)(work, top, first, real);
    N(drain)(work, first, real);
}

TARGET static NOINLINE void N(compute_real)(struct work *work) { N(take_rows)(work, 1); }
TARGET static NOINLINE void N(compute_complex)(struct work *work) { N(take_rows)(work, 0); }

static void N(compute)(struct work *work) {
    if (work->image->c_im == 0)
        N(compute_real)(work);
    else
        N(compute_complex)(work);
}

#undef LANES
#undef SUFFIX
#undef TARGET
#undef UNROLL
#undef IOTA
#undef INLINE
#undef vec
#undef places
