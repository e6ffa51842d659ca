/* number.h - a double in the fewest bytes that give it back: as an integer, as thousandths, or as itself.
 *
 * Most totals are whole, and most of the rest are amounts with at most three decimals: 12.5 is the integer 12500
 * divided by 1000.0. Kinds and rules stand in docs/reference/states-and-partials.md, "Primitives".
 */
#ifndef TABA_NUMBER_H
#define TABA_NUMBER_H

#include <float.h>

#include "internal.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define TABA_KIND_WHOLE 0
#define TABA_KIND_THOUSANDTHS 1
#define TABA_KIND_DOUBLE 2

/* The most bytes of a number of any kind. */
#define TABA_NUMBER_MAX TABA_UVARINT_MAX

/* a + b, kept at the largest finite double of its sign where it would overflow. */
static inline double taba_sum(double a, double b) {
    double sum = a + b;
    if (sum > DBL_MAX)
        return DBL_MAX;
    return sum < -DBL_MAX ? -DBL_MAX : sum;
}

/* `sum` and `n` numbers, added one by one in their order by taba_sum. What has overflowed once stays infinite, so that it
 * is enough to look at the end, and to begin again then. */
static inline double taba_sum_on(double sum, const double *values, size_t n) {
    double plain = sum;
    for (size_t i = 0; i < n; i++)
        plain += values[i];
    if (plain >= -DBL_MAX && plain <= DBL_MAX)
        return plain;
    for (size_t i = 0; i < n; i++)
        sum = taba_sum(sum, values[i]);
    return sum;
}

/* The sum of `n` numbers, added in their order to 0.0. */
static inline double taba_sum_of(const double *values, size_t n) { return taba_sum_on(0, values, n); }

/* The least and the greatest of `n` numbers, 1 at least, none of them NaN. Of zeros the sign is not told. */
static inline void taba_range_of(const double *values, size_t n, double *least, double *most) {
    double low = values[0], high = values[0];
    size_t i = 0;
#ifdef __SSE2__
    if (n >= 4) {
        __m128d low_a = _mm_loadu_pd(values), low_b = low_a, high_a = low_a, high_b = low_a;
        for (; n - i >= 4; i += 4) {
            const __m128d a = _mm_loadu_pd(values + i), b = _mm_loadu_pd(values + i + 2);
            low_a = _mm_min_pd(a, low_a);
            low_b = _mm_min_pd(b, low_b);
            high_a = _mm_max_pd(a, high_a);
            high_b = _mm_max_pd(b, high_b);
        }
        low_a = _mm_min_pd(low_a, low_b);
        high_a = _mm_max_pd(high_a, high_b);
        low = _mm_cvtsd_f64(_mm_min_sd(low_a, _mm_unpackhi_pd(low_a, low_a)));
        high = _mm_cvtsd_f64(_mm_max_sd(high_a, _mm_unpackhi_pd(high_a, high_a)));
    }
#endif
    for (; i < n; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    *least = low;
    *most = high;
}

/* Whether the finite `value` is a whole number (thousandths) within +-2**53 (of them); *m gets it then. */
bool taba_number_is_whole(double value, int64_t *m);
bool taba_number_is_thousandths(double value, int64_t *m);

/* The lowest kind that gives `value` back; *m gets the integer of kinds 0 and 1. */
int taba_number_kind(double value, int64_t *m);

/* The number that `m` means in kind 0 or 1; false if that kind would not be written for it, or not with this m. */
static inline bool taba_number_of(int64_t m, int kind, double *out) {
    const int64_t limit = INT64_C(1) << 53, sure = INT64_C(1) << 50;
    int64_t again;
    if (m < -limit || m > limit)
        return false;
    if (kind == TABA_KIND_WHOLE) {
        *out = (double)m;
        return true;
    }
    *out = (double)m / 1000.0;
    if (m > -sure && m < sure)
        return m % 1000 != 0; /* so small an m comes back from the rounding, and a fraction stays one */
    return taba_number_kind(*out, &again) == TABA_KIND_THOUSANDTHS && again == m;
}

/* Write `value` in its `kind`, as taba_number_kind told; returns the byte after the last. Needs TABA_NUMBER_MAX
 * bytes of room. */
uint8_t *taba_store_number(uint8_t *at, double value, int kind, int64_t m);

/* Take a number of a given kind from between `at` and `end`; returns where to go on. NULL where the bytes are
 * corrupt, also if a lower kind would have done, and for kind 3; *out may be anything then. */
static inline const uint8_t *taba_take_number(const uint8_t *at, const uint8_t *end, int kind, double *out) {
    if (kind < TABA_KIND_DOUBLE) {
        const taba_taken taken = taba_take_uvarint(at, end);
        return taken.at != NULL && taba_number_of(taba_signed_of(taken.value), kind, out) ? taken.at : NULL;
    }
    if (kind > TABA_KIND_DOUBLE || end - at < 8)
        return NULL;
    uint64_t bits = taba_load64(at);
    int64_t m;
    memcpy(out, &bits, sizeof bits);
    return *out >= -DBL_MAX && *out <= DBL_MAX && taba_number_kind(*out, &m) == TABA_KIND_DOUBLE ? at + 8 : NULL;
}

/* The same for a cursor. */
static inline int taba_get_number(taba_cursor *c, int kind, double *out) {
    const uint8_t *at = taba_take_number(c->at, c->end, kind, out);
    if (at == NULL)
        return TABA_ECORRUPT;
    c->at = at;
    return TABA_OK;
}

#endif
