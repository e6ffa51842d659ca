/* sketch.c - the sketches of taba.h: a distribution with its allocator. */
#include <float.h>
#include <math.h>

#include "dist.h"
#include "number.h"

struct taba_sketch {
    taba_allocator allocator;
    bool custom; /* whether `allocator` was given */
    taba_dist dist;
};

static const taba_allocator *allocator_of(const taba_sketch *s) { return s->custom ? &s->allocator : NULL; }

taba_sketch *taba_sketch_new(const taba_allocator *allocator) {
    taba_sketch *s = taba_resize(allocator, NULL, 0, sizeof *s);
    if (s == NULL)
        return NULL;
    memset(s, 0, sizeof *s);
    if (allocator != NULL) {
        s->allocator = *allocator;
        s->custom = true;
    }
    taba_dist_init(&s->dist);
    return s;
}

void taba_sketch_free(taba_sketch *sketch) {
    if (sketch == NULL)
        return;
    taba_allocator allocator = sketch->allocator;
    const taba_allocator *a = sketch->custom ? &allocator : NULL; /* a copy: the original is in the block to be freed */
    taba_dist_release(&sketch->dist, a);
    taba_release(a, sketch, sizeof *sketch);
}

void taba_sketch_clear(taba_sketch *sketch) { taba_dist_release(&sketch->dist, allocator_of(sketch)); }

int taba_sketch_add(taba_sketch *sketch, const double *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(fabs(values[i]) <= DBL_MAX))
            return TABA_EDOMAIN;
    if (n > TABA_COUNT_MAX - taba_dist_count(&sketch->dist))
        return TABA_EDOMAIN;
    double least, most;
    if (n == 0)
        return TABA_OK;
    taba_range_of(values, n, &least, &most);
    const taba_extent x = taba_extent_within(values, n, least, most);
    const int status = taba_dist_reserve(&sketch->dist, allocator_of(sketch), &x);
    if (status == TABA_OK)
        taba_dist_add(&sketch->dist, values, n, least, most, NULL);
    return status;
}

int taba_sketch_merge(taba_sketch *sketch, const taba_sketch *other) {
    return taba_dist_merge(&sketch->dist, allocator_of(sketch), &other->dist);
}

void taba_sketch_summary_of(const taba_sketch *sketch, taba_sketch_summary *out) {
    taba_dist_summary(&sketch->dist, out);
}

int taba_sketch_quantiles(const taba_sketch *sketch, const double *q, size_t n, double *out) {
    return taba_dist_quantiles(&sketch->dist, q, n, out);
}

int taba_sketch_encode(const taba_sketch *sketch, taba_buffer *out) { return taba_dist_encode(&sketch->dist, out); }

int taba_sketch_decode(taba_sketch *sketch, const uint8_t *bytes, size_t length, size_t *used) {
    taba_cursor c = taba_cursor_of(bytes, length);
    const uint8_t *start = c.at;
    taba_dist fresh;
    uint64_t count;
    taba_dist_init(&fresh);
    int status = taba_dist_read(&c, &fresh, allocator_of(sketch), &count);
    if (status != TABA_OK)
        return status;
    taba_dist_release(&sketch->dist, allocator_of(sketch));
    sketch->dist = fresh;
    *used = (size_t)(c.at - start);
    return TABA_OK;
}
