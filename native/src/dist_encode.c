/* dist_encode.c - distributions to bytes, "Sketch" in docs/reference/states-and-partials.md.
 *
 * The values 1, 2, 4 are 01 03 02 01 02: exact, whole numbers; three of them; 1, then 1 more, then 2 more.
 */
#include "dist_code.h"
#include "number.h"

/* Indices looked at together. */
#define CHUNK 256

/* The places, from 0, of the counts that are not 0; returns how many. Empty buckets come at random, so this does without
 * a branch for them. */
static size_t occupied_narrow(const uint16_t *counts, int32_t width, uint8_t *places) {
    size_t n = 0;
    for (int32_t i = 0; i < width; i++) {
        places[n] = (uint8_t)i;
        n += counts[i] != 0;
    }
    return n;
}

static size_t occupied_wide(const uint64_t *counts, int32_t width, uint8_t *places) {
    size_t n = 0;
    for (int32_t i = 0; i < width; i++) {
        places[n] = (uint8_t)i;
        n += counts[i] != 0;
    }
    return n;
}

/* The buckets of `span` from index `from` on, CHUNK of them at most, that are not empty: their places, from `from`,
 * into `places`; returns how many. */
static size_t occupied(const taba_span *s, int32_t from, uint8_t *places) {
    const int32_t left = s->high - from + 1, width = left < CHUNK ? left : CHUNK, first = from - s->base;
    return s->wide ? occupied_wide((const uint64_t *)s->counts + first, width, places)
                   : occupied_narrow((const uint16_t *)s->counts + first, width, places);
}

typedef struct range_plan {
    taba_measure m;
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
            taba_measure_token(&plan.m, taba_span_count(s, index), (uint32_t)(index - before));
            before = index;
        }
    }
    plan.k = taba_best_form(&plan.m, (uint64_t)(s->high - s->low + 1), &plan.bytes);
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
            at = store_token(at, taba_span_count(s, index), (uint32_t)(index - before), k);
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
        at = taba_store_uvarint(at, taba_span_count(s, i));
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
    *at++ = (uint8_t)(TABA_FORM_BUCKETS | sum_kind << 2 | min_kind << 4 | max_kind << 6);
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

int taba_kind_of_all(const double *values, size_t n, int64_t *m) {
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
    int kind = taba_kind_of_all(sorted, n, m);
    int status = taba_buffer_reserve(out, 2 + n * TABA_NUMBER_MAX);
    if (status != TABA_OK)
        return status;
    uint8_t *start = taba_buffer_writable(out), *at = start + taba_buffer_length(out);
    *at++ = (uint8_t)(TABA_FORM_EXACT | kind << 2);
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
    return d->n == 0 ? taba_put_u8(out, TABA_FORM_EMPTY) : encode_exact(d, out);
}
