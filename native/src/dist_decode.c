/* dist_decode.c - bytes to distributions, or a mere check of them.
 *
 * The decoder refuses whatever the encoder would not have written for some multiset of numbers: besides the forms of
 * the numbers, that the ends of the ranges are the buckets of min and max, that the scale is the finest possible, and
 * that the tokens are in the shortest of their four forms. As max and min tell where the ranges end, memory is asked
 * for once a range's first index is known: 4096 counts at most.
 */
#include "dist_code.h"
#include "dist_index.h"
#include "number.h"

/* ---------------------------------------------------------------------------------------------- exact values */

static int read_values(taba_cursor *c, int kind, size_t n, double *values, int64_t *m) {
    const int64_t limit = (int64_t)1 << 53;
    for (size_t i = 0; i < n; i++) {
        uint64_t step = 0;
        int status;
        if (kind == TABA_KIND_DOUBLE) {
            status = taba_get_f64(c, &values[i]);
        } else if (i == 0) {
            status = taba_get_svarint(c, &m[0]);
        } else {
            status = taba_get_uvarint(c, &step);
            m[i] = step <= (uint64_t)limit * 2 ? m[i - 1] + (int64_t)step : INT64_MAX;
        }
        if (status != TABA_OK)
            return status;
        if (kind != TABA_KIND_DOUBLE) {
            if (m[i] < -limit || m[i] > limit)
                return TABA_ECORRUPT;
            values[i] = kind == TABA_KIND_WHOLE ? (double)m[i] : (double)m[i] / 1000.0;
        }
        if (i > 0 && values[i] < values[i - 1])
            return TABA_ECORRUPT;
    }
    return TABA_OK;
}

static int read_exact(taba_cursor *c, int kind, taba_dist *d, const taba_allocator *a, uint64_t *count) {
    double values[TABA_SKETCH_EXACT];
    int64_t m[TABA_SKETCH_EXACT], again[TABA_SKETCH_EXACT];
    int status = taba_get_uvarint(c, count);
    if (status != TABA_OK)
        return status;
    if (*count < 1 || *count > TABA_SKETCH_EXACT)
        return TABA_ECORRUPT;
    size_t n = (size_t)*count;
    status = read_values(c, kind, n, values, m);
    if (status != TABA_OK)
        return status;
    if (taba_kind_of_all(values, n, again) != kind)
        return TABA_ECORRUPT;
    if (kind != TABA_KIND_DOUBLE && memcmp(m, again, n * sizeof *m) != 0)
        return TABA_ECORRUPT;
    if (d == NULL)
        return TABA_OK;
    taba_extent x = taba_extent_of(values, n);
    status = taba_dist_reserve(d, a, &x);
    if (status == TABA_OK)
        taba_dist_add(d, values, n, values[0], values[n - 1], NULL); /* they ascend */
    return status;
}

/* ---------------------------------------------------------------------------------------------- buckets */

/* What stands before the ranges. */
typedef struct front {
    uint64_t count, zeros;
    double sum, min, max;
    int shift;
} front;

static int read_front(taba_cursor *c, uint8_t head, front *f) {
    uint8_t scale = 0;
    int status = taba_get_uvarint(c, &f->count);
    if (status == TABA_OK)
        status = taba_get_number(c, head >> 2 & 3, &f->sum);
    if (status == TABA_OK)
        status = taba_get_number(c, head >> 4 & 3, &f->min);
    if (status == TABA_OK)
        status = taba_get_number(c, head >> 6, &f->max);
    if (status == TABA_OK)
        status = taba_get_u8(c, &scale);
    if (status == TABA_OK)
        status = taba_get_uvarint(c, &f->zeros);
    if (status != TABA_OK)
        return status;
    if (f->count <= TABA_SKETCH_EXACT || f->count > TABA_COUNT_MAX || f->zeros > f->count || scale > TABA_SKETCH_SCALE)
        return TABA_ECORRUPT;
    bool has_zeros = f->zeros != 0, zero_is_end = f->min == 0 || f->max == 0;
    bool zero_is_within = f->min <= 0 && f->max >= 0;
    if (f->min > f->max || (has_zeros && !zero_is_within) || (zero_is_end && !has_zeros))
        return TABA_ECORRUPT;
    f->shift = TABA_SKETCH_SCALE - scale;
    return TABA_OK;
}

/* The range of one sign as min and max tell it. */
typedef struct bounds {
    bool present;
    int32_t last_fine;               /* the last index, at scale 6 */
    bool first_known;                /* all values are of this sign, so that the other end is known too */
    int32_t first_fine;
} bounds;

static bounds bounds_of(const front *f, int sign) {
    double outer = sign == 0 ? f->max : -f->min, inner = sign == 0 ? f->min : -f->max;
    bounds x = {outer > 0, 0, outer > 0 && inner > 0, 0};
    if (x.present)
        x.last_fine = taba_index_of(outer);
    if (x.first_known)
        x.first_fine = taba_index_of(inner);
    return x;
}

/* How many indices the range may span at the scale finer by one than that in force, where it begins at `first`. */
static int32_t width_if_finer(const bounds *x, int shift, int32_t first) {
    int32_t low = x->first_known ? x->first_fine >> (shift - 1) : first * 2;
    return (x->last_fine >> (shift - 1)) - low + 1;
}

/* A token: how many values the next bucket has, the step of the index to it, and where to go on; NULL if corrupt. */
typedef struct token {
    const uint8_t *at;
    uint64_t count, step;
} token;

/* A token of form k = 1 to 3, of any length. */
static token take_long_token(const uint8_t *at, const uint8_t *end, int k) {
    uint64_t most = (UINT64_C(1) << k) - 1;
    taba_taken first = taba_take_uvarint(at, end), more = {first.at, 0};
    if (first.at != NULL && (first.value & most) == most)
        more = taba_take_uvarint(first.at, end);
    uint64_t extra = more.value <= TABA_SKETCH_BUCKETS ? more.value : TABA_SKETCH_BUCKETS; /* either is too many */
    const token found = {more.at, (first.value >> k) + 1, 1 + (first.value & most) + extra};
    return found;
}

/* A token of any form; with k = 0 the count may be 0. Whether a short token is followed by a step comes at random,
 * so that is told without a branch. */
static inline token take_token(const uint8_t *at, const uint8_t *end, int k) {
    if (k == 0) {
        const taba_taken taken = taba_take_uvarint(at, end);
        const token found = {taken.at, taken.value, 1};
        return found;
    }
    if (end - at < 2)
        return take_long_token(at, end, k);
    uint32_t first = at[0], more = at[1], most = (1u << k) - 1, skipped = first & most, follows = skipped == most;
    if ((first | (more & (0 - follows))) >= 0x80)
        return take_long_token(at, end, k);
    const token found = {at + 1 + follows, (first >> k) + 1, 1 + skipped + (more & (0 - follows))};
    return found;
}

/* The tokens of n buckets, 1 at least, at `width` indices from the first to the last, both occupied; into
 * counts[0..] if that is not NULL. *total += the counts. */
static int read_tokens(taba_cursor *c, int k, uint64_t n, int32_t width, uint64_t *counts, uint64_t *total) {
    taba_measure m = {0, {0, 0, 0, 0}, 0};
    const uint8_t *next = c->at, *end = c->end;
    int64_t at = -1; /* the index of the bucket read last, less that of the first */
    uint32_t gap = 0;
    uint64_t sum = *total;
    while (m.n < n) {
        token found = take_token(next, end, k);
        next = found.at;
        at += (int64_t)found.step;
        gap += (uint32_t)found.step;
        if (next == NULL || at >= width || found.count > TABA_COUNT_MAX - sum)
            return TABA_ECORRUPT;
        if (found.count == 0)
            continue;
        taba_measure_token(&m, found.count, gap);
        if (m.n == 1 && at != 0)
            return TABA_ECORRUPT; /* the first bucket is where the range begins */
        gap = 0;
        sum += found.count;
        if (counts != NULL)
            counts[at] = found.count;
    }
    size_t bytes;
    c->at = next;
    *total = sum;
    return at == width - 1 && taba_best_form(&m, (uint64_t)width, &bytes) == k ? TABA_OK : TABA_ECORRUPT;
}

/* The range of one sign. *ruled_out is set if it rules out the scale finer by one. */
static int read_range(taba_cursor *c, const front *f, int sign, taba_dist *d, const taba_allocator *a, uint64_t *total,
                      bool *ruled_out) {
    bounds x = bounds_of(f, sign);
    uint64_t n, *counts = NULL;
    uint8_t k;
    int64_t first;
    int status = taba_get_uvarint(c, &n);
    if (status != TABA_OK || n == 0 || !x.present)
        return status != TABA_OK || x.present != (n != 0) ? TABA_ECORRUPT : TABA_OK;
    status = taba_get_u8(c, &k);
    if (status == TABA_OK)
        status = taba_get_svarint(c, &first);
    if (status != TABA_OK)
        return status;
    int32_t last = x.last_fine >> f->shift;
    if (k >= TABA_FORMS || first < TABA_INDEX_LEAST >> f->shift || first > last || last - first >= TABA_SKETCH_BUCKETS)
        return TABA_ECORRUPT;
    if (x.first_known && first != x.first_fine >> f->shift)
        return TABA_ECORRUPT;
    if (f->shift > 0 && width_if_finer(&x, f->shift, (int32_t)first) > TABA_SKETCH_BUCKETS)
        *ruled_out = true;
    if (d != NULL) {
        counts = taba_buckets_make_span(d->buckets, a, sign, (int32_t)first, last);
        if (counts == NULL)
            return TABA_ENOMEM;
    }
    return read_tokens(c, k, n, last - (int32_t)first + 1, counts, total);
}

static int read_buckets(taba_cursor *c, uint8_t head, taba_dist *d, const taba_allocator *a, uint64_t *count) {
    front f;
    int status = read_front(c, head, &f);
    if (status == TABA_OK && d != NULL)
        status = taba_dist_make_buckets(d, a, f.shift);
    bool ruled_out = status == TABA_OK && f.shift == 0;
    uint64_t total = status == TABA_OK ? f.zeros : 0;
    for (int sign = 0; sign < 2 && status == TABA_OK; sign++)
        status = read_range(c, &f, sign, d, a, &total, &ruled_out);
    if (status != TABA_OK)
        return status;
    if (total != f.count || !ruled_out)
        return TABA_ECORRUPT;
    *count = f.count;
    if (d != NULL) {
        d->buckets->count = f.count;
        d->buckets->zeros = f.zeros;
        d->buckets->sum = f.sum;
        d->buckets->min = f.min;
        d->buckets->max = f.max;
    }
    return TABA_OK;
}

int taba_dist_read(taba_cursor *c, taba_dist *d, const taba_allocator *a, uint64_t *count) {
    uint8_t head;
    taba_cursor ahead = *c;
    int status = taba_get_u8(&ahead, &head);
    if (status != TABA_OK)
        return status;
    *count = 0;
    if ((head & 3) == TABA_FORM_BUCKETS)
        status = read_buckets(&ahead, head, d, a, count);
    else if ((head & 3) == TABA_FORM_EXACT && head < 0x10)
        status = read_exact(&ahead, head >> 2, d, a, count);
    else if (head != TABA_FORM_EMPTY)
        status = TABA_ECORRUPT;
    if (status == TABA_OK)
        *c = ahead;
    else if (d != NULL)
        taba_dist_release(d, a);
    return status;
}
