/* dist_code.c - the encoding of distributions, "Sketch" in docs/reference/states-and-partials.md.
 *
 * The values 1, 2, 4 are 01 03 02 01 02: exact, whole numbers; three of them; 1, then 1 more, then 2 more.
 *
 * The decoder refuses whatever the encoder would not have written for some multiset of numbers: besides the forms of
 * the numbers, that the ends of the ranges are the buckets of min and max, that the scale is the finest possible, and
 * that the tokens are in the shortest of their four forms. As max and min tell where the ranges end, memory is asked
 * for once a range's first index is known: 4096 counts at most.
 */
#include "dist.h"
#include "dist_index.h"
#include "number.h"

#define FORM_EMPTY 0
#define FORM_EXACT 1
#define FORM_BUCKETS 2

#define FORMS 4 /* k = 0..3 of a range */

/* ---------------------------------------------------------------------------------------------- the size of a range */

/* The bytes of the tokens of a range in each form, found token by token. */
typedef struct measure {
    uint64_t n;           /* buckets that are not empty */
    size_t bytes[FORMS];  /* form 0 without its empty buckets */
    size_t plain;         /* one more byte in every form, not in `bytes` */
} measure;

/* The bits of `value`, up to the highest that is set. */
static inline unsigned bits_of(uint64_t value) {
#if defined(__GNUC__)
    return 63 - (unsigned)__builtin_clzll(value | 1) + (value != 0);
#else
    unsigned bits = 0;
    for (; value != 0; value >>= 1)
        bits++;
    return bits;
#endif
}

/* By its bits, the bytes of a uvarint. */
static const uint8_t length_of_bits[] = {
    1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 9, 10};

/* A bucket of `count` values, 1 to TABA_COUNT_MAX, `gap` indices after the one before (1 for the first). Gaps come at
 * random, so this does without branches for them. */
static inline void measure_token(measure *m, uint64_t count, uint32_t gap) {
    uint32_t skipped = gap - 1;
    m->n++;
    if (count <= 16 && skipped < 0x80) { /* the usual case: one byte, and another where the gap does not fit */
        m->plain++;
        m->bytes[1] += skipped >= 1;
        m->bytes[2] += skipped >= 3;
        m->bytes[3] += skipped >= 7;
        return;
    }
    unsigned bits = bits_of(count - 1);
    m->bytes[0] += length_of_bits[bits_of(count)];
    for (unsigned k = 1; k < FORMS; k++) {
        uint32_t most = (1u << k) - 1;
        m->bytes[k] += length_of_bits[bits + k] + (size_t)(skipped >= most) + (size_t)(skipped >= most + 0x80);
    }
}

/* The form with the fewest bytes for a range that spans `width` indices; *bytes gets their number. */
static int best_form(const measure *m, uint64_t width, size_t *bytes) {
    int best = 0;
    *bytes = m->bytes[0] + (size_t)(width - m->n);
    for (int k = 1; k < FORMS; k++)
        if (m->bytes[k] < *bytes) {
            best = k;
            *bytes = m->bytes[k];
        }
    *bytes += m->plain;
    return best;
}

/* ---------------------------------------------------------------------------------------------- writing */

/* Indices looked at together. */
#define CHUNK 256

/* The buckets of `span` from index `from` on, CHUNK of them at most, that are not empty: their places, from `from`, into
 * `places`; returns how many. Empty ones come at random, so this does without a branch for them. */
static size_t occupied(const taba_span *s, int32_t from, uint8_t *places) {
    const uint64_t *counts = s->counts + (from - s->base);
    int32_t left = s->high - from + 1, width = left < CHUNK ? left : CHUNK;
    size_t n = 0;
    for (int32_t i = 0; i < width; i++) {
        places[n] = (uint8_t)i;
        n += counts[i] != 0;
    }
    return n;
}

typedef struct range_plan {
    measure m;
    int k;
    size_t bytes;
} range_plan;

static range_plan plan_range(const taba_span *s) {
    range_plan plan = {{0, {0, 0, 0, 0}, 0}, 0, 0};
    uint8_t places[CHUNK];
    if (s->low > s->high)
        return plan;
    int32_t before = s->low - 1;
    for (int32_t from = s->low; from <= s->high; from += CHUNK) {
        size_t n = occupied(s, from, places);
        for (size_t i = 0; i < n; i++) {
            int32_t index = from + places[i];
            measure_token(&plan.m, s->counts[index - s->base], (uint32_t)(index - before));
            before = index;
        }
    }
    plan.k = best_form(&plan.m, (uint64_t)(s->high - s->low + 1), &plan.bytes);
    return plan;
}

/* A token of form k = 1 to 3, and what follows it. May write a byte beyond, which then counts for nothing. */
static inline uint8_t *store_token(uint8_t *at, uint64_t count, uint32_t gap, int k) {
    uint32_t most = (1u << k) - 1, skipped = gap - 1;
    uint64_t token = (count - 1) << k | (skipped < most ? skipped : most);
    if (token < 0x80 && skipped < 0x80) {
        at[0] = (uint8_t)token;
        at[1] = (uint8_t)(skipped - most);
        return at + 1 + (skipped >= most);
    }
    at = taba_store_uvarint(at, token);
    return skipped >= most ? taba_store_uvarint(at, skipped - most) : at;
}

static uint8_t *store_tokens(uint8_t *at, const taba_span *s, int k) {
    uint8_t places[CHUNK];
    int32_t before = s->low - 1;
    for (int32_t from = s->low; from <= s->high; from += CHUNK) {
        size_t n = occupied(s, from, places);
        for (size_t i = 0; i < n; i++) {
            int32_t index = from + places[i];
            at = store_token(at, s->counts[index - s->base], (uint32_t)(index - before), k);
            before = index;
        }
    }
    return at;
}

static uint8_t *store_range(uint8_t *at, const taba_span *s, const range_plan *plan) {
    at = taba_store_uvarint(at, plan->m.n);
    if (plan->m.n == 0)
        return at;
    *at++ = (uint8_t)plan->k;
    at = taba_store_svarint(at, s->low);
    if (plan->k != 0)
        return store_tokens(at, s, plan->k);
    for (int32_t i = s->low; i <= s->high; i++)
        at = taba_store_uvarint(at, s->counts[i - s->base]);
    return at;
}

static int encode_buckets(const taba_buckets *b, taba_buffer *out) {
    range_plan plans[2] = {plan_range(&b->sign[0]), plan_range(&b->sign[1])};
    size_t most = 12 * TABA_UVARINT_MAX + plans[0].bytes + plans[1].bytes; /* 9 varints or numbers, 4 single bytes */
    int status = taba_buffer_reserve(out, most);
    if (status != TABA_OK)
        return status;
    int64_t sum, min, max;
    int sum_kind = taba_number_kind(b->sum, &sum);
    int min_kind = taba_number_kind(b->min, &min);
    int max_kind = taba_number_kind(b->max, &max);
    uint8_t *start = taba_buffer_writable(out), *at = start + taba_buffer_length(out);
    *at++ = (uint8_t)(FORM_BUCKETS | sum_kind << 2 | min_kind << 4 | max_kind << 6);
    at = taba_store_uvarint(at, b->count);
    at = taba_store_number(at, b->sum, sum_kind, sum);
    at = taba_store_number(at, b->min, min_kind, min);
    at = taba_store_number(at, b->max, max_kind, max);
    *at++ = (uint8_t)(TABA_SKETCH_SCALE - b->shift);
    at = taba_store_uvarint(at, b->zeros);
    at = store_range(at, &b->sign[0], &plans[0]);
    at = store_range(at, &b->sign[1], &plans[1]);
    taba_buffer_extend_to(out, (size_t)(at - start));
    return TABA_OK;
}

/* The lowest kind that fits all values; m gets their integers. */
static int kind_of_all(const double *values, size_t n, int64_t *m) {
    size_t i = 0;
    while (i < n && taba_number_is_whole(values[i], &m[i]))
        i++;
    if (i == n)
        return TABA_KIND_WHOLE;
    for (i = 0; i < n; i++)
        if (!taba_number_is_thousandths(values[i], &m[i]))
            return TABA_KIND_DOUBLE;
    return TABA_KIND_THOUSANDTHS;
}

static int encode_exact(const taba_dist *d, taba_buffer *out) {
    double sorted[TABA_SKETCH_EXACT];
    int64_t m[TABA_SKETCH_EXACT];
    size_t n = taba_dist_sorted(d, sorted);
    int kind = kind_of_all(sorted, n, m);
    int status = taba_buffer_reserve(out, 2 + n * TABA_NUMBER_MAX);
    if (status != TABA_OK)
        return status;
    uint8_t *start = taba_buffer_writable(out), *at = start + taba_buffer_length(out);
    *at++ = (uint8_t)(FORM_EXACT | kind << 2);
    *at++ = (uint8_t)n;
    for (size_t i = 0; i < n; i++) {
        if (kind == TABA_KIND_DOUBLE)
            at = taba_store_f64(at, sorted[i]);
        else if (i == 0)
            at = taba_store_svarint(at, m[0]);
        else
            at = taba_store_uvarint(at, (uint64_t)(m[i] - m[i - 1]));
    }
    taba_buffer_extend_to(out, (size_t)(at - start));
    return TABA_OK;
}

int taba_dist_encode(const taba_dist *d, taba_buffer *out) {
    if (d->spilled)
        return encode_buckets(d->buckets, out);
    return d->n == 0 ? taba_put_u8(out, FORM_EMPTY) : encode_exact(d, out);
}

/* ---------------------------------------------------------------------------------------------- reading exact values */

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
    if (kind_of_all(values, n, again) != kind || (kind != TABA_KIND_DOUBLE && memcmp(m, again, n * sizeof *m) != 0))
        return TABA_ECORRUPT;
    if (d == NULL)
        return TABA_OK;
    taba_extent x = taba_extent_of(values, n);
    status = taba_dist_reserve(d, a, &x);
    if (status == TABA_OK)
        taba_dist_add(d, values, n);
    return status;
}

/* ---------------------------------------------------------------------------------------------- reading buckets */

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
    bool has_zeros = f->zeros != 0, zero_is_end = f->min == 0 || f->max == 0, zero_is_within = f->min <= 0 && f->max >= 0;
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

/* A token of any form; with k = 0 the count may be 0. Whether a short token is followed by a step comes at random, so that is
 * told without a branch. */
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

/* The tokens of n buckets, 1 at least, at `width` indices from the first to the last, both occupied; into counts[0..] if
 * that is not NULL. *total += the counts. */
static int read_tokens(taba_cursor *c, int k, uint64_t n, int32_t width, uint64_t *counts, uint64_t *total) {
    measure m = {0, {0, 0, 0, 0}, 0};
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
        measure_token(&m, found.count, gap);
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
    return at == width - 1 && best_form(&m, (uint64_t)width, &bytes) == k ? TABA_OK : TABA_ECORRUPT;
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
    if (k >= FORMS || first < TABA_INDEX_LEAST >> f->shift || first > last || last - first >= TABA_SKETCH_BUCKETS)
        return TABA_ECORRUPT;
    if (x.first_known && first != x.first_fine >> f->shift)
        return TABA_ECORRUPT;
    if (f->shift > 0 && width_if_finer(&x, f->shift, (int32_t)first) > TABA_SKETCH_BUCKETS)
        *ruled_out = true;
    if (d != NULL) {
        counts = taba_dist_make_span(d, a, sign, (int32_t)first, last);
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
    if ((head & 3) == FORM_BUCKETS)
        status = read_buckets(&ahead, head, d, a, count);
    else if ((head & 3) == FORM_EXACT && head < 0x10)
        status = read_exact(&ahead, head >> 2, d, a, count);
    else if (head != FORM_EMPTY)
        status = TABA_ECORRUPT;
    if (status == TABA_OK)
        *c = ahead;
    else if (d != NULL)
        taba_dist_release(d, a);
    return status;
}
