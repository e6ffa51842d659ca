/* dist_summary.c - what a distribution tells: count, sum, extremes, quantiles. */
#include "dist.h"
#include "dist_index.h"
#include "number.h"

void taba_dist_summary(const taba_dist *d, taba_sketch_summary *out) {
    memset(out, 0, sizeof *out);
    if (d->spilled) {
        const taba_buckets *b = d->buckets;
        out->count = b->count;
        out->sum = b->sum;
        out->min = b->min;
        out->max = b->max;
        out->error = taba_error[TABA_SKETCH_SCALE - b->shift];
    } else if (d->n != 0) {
        double sorted[TABA_SKETCH_EXACT];
        size_t n = taba_dist_sorted(d, sorted);
        out->count = n;
        out->sum = taba_sum_of(sorted, n);
        out->min = sorted[0];
        out->max = sorted[n - 1];
    }
}

/* A walk over the buckets in ascending order of their values: the negative ones, zero, the positive ones. */
typedef struct walk {
    const taba_buckets *b;
    uint64_t passed; /* values in the buckets before the present one */
    int part;        /* 0 negative, 1 zero, 2 positive */
    int32_t index;   /* in parts 0 and 2 */
} walk;

static walk walk_start(const taba_buckets *b) {
    walk w = {b, 0, 0, b->sign[1].high};
    return w;
}

/* Go on among the buckets of a sign that has some, in steps of 1 or -1 up to `last`, to the one that holds `rank`; whether
 * it is there. */
static bool walk_narrow(walk *w, const taba_span *s, uint64_t rank, int32_t step, int32_t last) {
    const uint16_t *const counts = s->counts;
    const int32_t end = last + step - s->base;
    int32_t at = w->index - s->base;
    uint64_t passed = w->passed;
    while (at != end && rank >= passed + counts[at]) {
        passed += counts[at];
        at += step;
    }
    w->passed = passed;
    w->index = s->base + at;
    return at != end;
}

static bool walk_wide(walk *w, const taba_span *s, uint64_t rank, int32_t step, int32_t last) {
    const uint64_t *const counts = s->counts;
    const int32_t end = last + step - s->base;
    int32_t at = w->index - s->base;
    uint64_t passed = w->passed;
    while (at != end && rank >= passed + counts[at]) {
        passed += counts[at];
        at += step;
    }
    w->passed = passed;
    w->index = s->base + at;
    return at != end;
}

/* Go on to the bucket that holds `rank`, which is below the count and not before the present bucket. */
static void walk_to(walk *w, uint64_t rank) {
    const taba_span *negative = &w->b->sign[1], *positive = &w->b->sign[0];
    if (w->part == 0 && negative->low <= negative->high) {
        if (negative->wide ? walk_wide(w, negative, rank, -1, negative->low) : walk_narrow(w, negative, rank, -1, negative->low))
            return;
    }
    if (w->part == 0)
        w->part = 1;
    if (w->part == 1) {
        if (rank < w->passed + w->b->zeros)
            return;
        w->passed += w->b->zeros;
        w->part = 2;
        w->index = positive->low;
    }
    if (positive->wide)
        (void)walk_wide(w, positive, rank, 1, positive->high);
    else
        (void)walk_narrow(w, positive, rank, 1, positive->high);
}

/* The value that stands for the present bucket. */
static double walk_value(const walk *w) {
    double value = 0;
    if (w->part != 1)
        value = taba_value_of_index(w->index, w->b->shift);
    if (w->part == 0)
        value = -value;
    if (value < w->b->min)
        return w->b->min;
    return value > w->b->max ? w->b->max : value;
}

static uint64_t rank_of(double q, uint64_t count) {
    double rank = q * (double)count; /* its truncation, below 2**61, is exact */
    return (uint64_t)rank < count - 1 ? (uint64_t)rank : count - 1;
}

int taba_dist_quantiles(const taba_dist *d, const double *q, size_t n, double *out) {
    for (size_t i = 0; i < n; i++)
        if (!(q[i] >= 0 && q[i] <= 1))
            return TABA_EDOMAIN;
    double sorted[TABA_SKETCH_EXACT];
    uint64_t count = taba_dist_count(d);
    walk w = {NULL, 0, 0, 0};
    if (d->spilled)
        w = walk_start(d->buckets);
    else
        (void)taba_dist_sorted(d, sorted);
    for (size_t i = 0; i < n; i++) {
        uint64_t rank = count == 0 ? 0 : rank_of(q[i], count);
        if (!d->spilled) {
            out[i] = count == 0 ? 0.0 : sorted[rank];
            continue;
        }
        if (rank < w.passed)
            w = walk_start(d->buckets); /* quantiles that ascend are found in one walk */
        walk_to(&w, rank);
        out[i] = walk_value(&w);
    }
    return TABA_OK;
}
