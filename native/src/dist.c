/* dist.c - distributions in memory: reserving, adding, merging. See dist.h.
 *
 * Whatever can fail comes first and changes no meaning (room is made), whatever changes the meaning cannot fail. The
 * result depends on the multiset of the values only: the scale follows from the range of indices, which a shift to a
 * coarser scale keeps (floor(floor(x / 2) / 2) == floor(x / 4)), so that scaling early or late comes to the same.
 */
#include "dist.h"

void taba_dist_init(taba_dist *d) { memset(d, 0, sizeof *d); }

void taba_dist_release(taba_dist *d, const taba_allocator *a) {
    taba_release(a, d->values, d->room * sizeof *d->values);
    if (d->buckets != NULL) {
        taba_buckets_release(d->buckets, a);
        taba_release(a, d->buckets, sizeof *d->buckets);
    }
    taba_dist_init(d);
}

uint64_t taba_dist_count(const taba_dist *d) { return d->spilled ? d->buckets->count : d->n; }

size_t taba_dist_memory(const taba_dist *d) {
    size_t bytes = d->room * sizeof *d->values;
    return d->buckets != NULL ? bytes + sizeof *d->buckets + taba_buckets_memory(d->buckets) : bytes;
}

/* What d holds. */
static taba_extent extent_held(const taba_dist *d) {
    return d->spilled ? taba_buckets_extent(d->buckets) : taba_extent_of(d->values, d->n);
}

/* Room for `need` exact values, TABA_SKETCH_EXACT at most. */
static int values_reserve(taba_dist *d, const taba_allocator *a, uint64_t need) {
    if (need <= d->room)
        return TABA_OK;
    size_t room = 2;
    while (room < need)
        room *= 2; /* 32 at most, a power of two */
    double *values = taba_resize(a, d->values, d->room * sizeof *values, room * sizeof *values);
    if (values == NULL)
        return TABA_ENOMEM;
    d->values = values;
    d->room = (uint8_t)room;
    return TABA_OK;
}

/* The struct of the buckets, without room in its spans. */
static int buckets_prepare(taba_dist *d, const taba_allocator *a) {
    if (d->buckets != NULL)
        return TABA_OK;
    taba_buckets *b = taba_resize(a, NULL, 0, sizeof *b);
    if (b == NULL)
        return TABA_ENOMEM;
    taba_buckets_init(b);
    d->buckets = b;
    return TABA_OK;
}

static taba_extent extent_due(const taba_dist *d) {
    taba_extent x = taba_extent_empty();
    x.n = d->due;
    if (d->due != 0) {
        memcpy(x.low, d->due_low, sizeof x.low);
        memcpy(x.high, d->due_high, sizeof x.high);
    }
    return x;
}

static void note_due(taba_dist *d, const taba_extent *x) {
    taba_extent due = extent_due(d);
    due.n += x->n;
    for (int sign = 0; sign < 2; sign++)
        taba_extent_take(&due, sign, x->low[sign], x->high[sign]);
    d->due = due.n < UINT32_MAX ? (uint32_t)due.n : UINT32_MAX;
    memcpy(d->due_low, due.low, sizeof due.low);
    memcpy(d->due_high, due.high, sizeof due.high);
}

int taba_dist_reserve(taba_dist *d, const taba_allocator *a, const taba_extent *x) {
    uint64_t total = taba_dist_count(d) + d->due + x->n;
    int status = TABA_OK;
    if (!d->spilled)
        status = values_reserve(d, a, total < TABA_SKETCH_EXACT ? total : TABA_SKETCH_EXACT);
    if (status == TABA_OK && total > TABA_SKETCH_EXACT) {
        status = buckets_prepare(d, a);
        if (status == TABA_OK) {
            taba_extent all = taba_extent_united(taba_extent_united(extent_held(d), extent_due(d)), *x);
            status = taba_buckets_reserve(d->buckets, a, &all, true);
        }
    }
    if (status == TABA_OK)
        note_due(d, x);
    return status;
}

/* Count the exact values in the buckets, for which there is room. */
static void spill(taba_dist *d) {
    double sorted[TABA_SKETCH_EXACT];
    size_t n = taba_dist_sorted(d, sorted);
    if (n != 0)
        taba_buckets_add_exact(d->buckets, sorted, n);
    d->n = 0;
    d->spilled = true;
}

void taba_dist_add(taba_dist *d, const double *values, size_t n, double least, double most, taba_two_sums *sums) {
    size_t done = 0;
    if (!d->spilled) {
        while (done < n && d->n < TABA_SKETCH_EXACT)
            d->values[d->n++] = values[done++] + 0.0;
        if (sums != NULL)
            taba_two_sums_add(sums, values, done);
        if (done < n)
            spill(d);
    }
    if (done < n)
        taba_buckets_add(d->buckets, values + done, n - done, least, most, sums);
    d->due = d->due > n ? d->due - (uint32_t)n : 0;
}

/* Both exact, and exact together. */
static int merge_exact(taba_dist *d, const taba_allocator *a, const taba_dist *other) {
    int status = values_reserve(d, a, (uint64_t)d->n + other->n);
    if (status == TABA_OK && other->n != 0) {
        memcpy(d->values + d->n, other->values, other->n * sizeof *d->values);
        d->n = (uint8_t)(d->n + other->n);
    }
    return status;
}

/* Make room for the values of the extent `all`, which includes those of d; then count in buckets, at its scale. */
static int spill_to(taba_dist *d, const taba_allocator *a, const taba_extent *all) {
    int status = buckets_prepare(d, a);
    if (status != TABA_OK)
        return status;
    if (!d->spilled)
        d->buckets->shift = all->shift; /* they are empty: the exact values are counted at that scale at once */
    status = taba_buckets_reserve(d->buckets, a, all, false);
    if (!d->spilled) {
        if (status == TABA_OK)
            spill(d);
        else
            d->buckets->shift = 0;
    }
    while (status == TABA_OK && d->buckets->shift < all->shift)
        taba_buckets_halve(d->buckets);
    return status;
}

int taba_dist_merge(taba_dist *d, const taba_allocator *a, const taba_dist *other) {
    uint64_t mine = taba_dist_count(d), theirs = taba_dist_count(other);
    if (theirs > TABA_COUNT_MAX - mine)
        return TABA_EDOMAIN;
    if (mine + theirs <= TABA_SKETCH_EXACT)
        return merge_exact(d, a, other);
    taba_extent all = taba_extent_united(extent_held(d), extent_held(other));
    int status = spill_to(d, a, &all);
    if (status != TABA_OK)
        return status;
    if (other->spilled) {
        taba_buckets_merge(d->buckets, other->buckets);
    } else {
        double sorted[TABA_SKETCH_EXACT];
        size_t n = taba_dist_sorted(other, sorted);
        if (n != 0)
            taba_buckets_add_exact(d->buckets, sorted, n);
    }
    return TABA_OK;
}

int taba_dist_make_buckets(taba_dist *d, const taba_allocator *a, int shift) {
    int status = buckets_prepare(d, a);
    if (status == TABA_OK) {
        d->buckets->shift = shift;
        d->spilled = true;
    }
    return status;
}

size_t taba_dist_sorted(const taba_dist *d, double *sorted) {
    for (size_t i = 0; i < d->n; i++) {
        double value = d->values[i];
        size_t at = i;
        for (; at > 0 && sorted[at - 1] > value; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = value;
    }
    return d->n;
}
