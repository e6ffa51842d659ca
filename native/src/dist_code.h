/* dist_code.h - what the encoder and the decoder of distributions share: the forms, and the measure by which the form
 * of a range is chosen. The decoder measures as well, because it refuses all forms but the one that the encoder would
 * choose.
 */
#ifndef TABA_DIST_CODE_H
#define TABA_DIST_CODE_H

#include "dist.h"

#define TABA_FORM_EMPTY 0
#define TABA_FORM_EXACT 1
#define TABA_FORM_BUCKETS 2

#define TABA_FORMS 4 /* k = 0..3 of a range */

/* The lowest kind that fits all values; m gets their integers. */
int taba_kind_of_all(const double *values, size_t n, int64_t *m);

/* The bytes of the tokens of a range in each form, found token by token. */
typedef struct taba_measure {
    uint64_t n;                /* buckets that are not empty */
    size_t bytes[TABA_FORMS];  /* form 0 without its empty buckets */
    size_t plain;              /* one more byte in every form, not in `bytes` */
} taba_measure;

/* The bits of `value`, up to the highest that is set. */
static inline unsigned taba_bits_of(uint64_t value) {
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
static const uint8_t taba_length_of_bits[] = {
    1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 9, 10};

/* A bucket of `count` values, 1 to TABA_COUNT_MAX, `gap` indices after the one before (1 for the first). Gaps come at
 * random, so this does without branches for them. */
static inline void taba_measure_token(taba_measure *m, uint64_t count, uint32_t gap) {
    uint32_t skipped = gap - 1;
    m->n++;
    if (count <= 16 && skipped < 0x80) { /* the usual case: one byte, and another where the gap does not fit */
        m->plain++;
        m->bytes[1] += skipped >= 1;
        m->bytes[2] += skipped >= 3;
        m->bytes[3] += skipped >= 7;
        return;
    }
    unsigned bits = taba_bits_of(count - 1);
    m->bytes[0] += taba_length_of_bits[taba_bits_of(count)];
    for (unsigned k = 1; k < TABA_FORMS; k++) {
        uint32_t most = (1u << k) - 1;
        m->bytes[k] += taba_length_of_bits[bits + k] + (size_t)(skipped >= most) + (size_t)(skipped >= most + 0x80);
    }
}

/* The form with the fewest bytes for a range that spans `width` indices; *bytes gets their number. */
static inline int taba_best_form(const taba_measure *m, uint64_t width, size_t *bytes) {
    int best = 0;
    *bytes = m->bytes[0] + (size_t)(width - m->n);
    for (int k = 1; k < TABA_FORMS; k++)
        if (m->bytes[k] < *bytes) {
            best = k;
            *bytes = m->bytes[k];
        }
    *bytes += m->plain;
    return best;
}

#endif
