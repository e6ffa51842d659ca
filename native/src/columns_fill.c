/* columns_fill.c - numbers from the wire into a column, checked on the way; see columns.h.
 *
 * The checks are of bits, in whole numbers, so that a compiler makes vectors of them: doubles from 0 up order as their
 * bits do; a double that is not finite has the greatest exponent. A bit that tells of a fault is gathered over all
 * numbers and looked at once.
 */
#include "columns.h"

/* How many numbers a loop takes at a time. */
#define STEP 16

#define SIGN (UINT64_C(1) << 63)
#define EXPONENT_ONE (UINT64_C(1) << 52) /* added to the greatest exponent it reaches the sign's bit */

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* `n` words of the wire, least significant byte first, into memory. */
static inline void load(uint64_t *to, const uint8_t *from, size_t n) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(to, from, n * sizeof *to);
#else
    for (size_t i = 0; i < n; i++)
        to[i] = taba_load64(from + 8 * i);
#endif
}

/* The sign's bit is set if one of the words is no time up to the one whose bits are `newest`. */
static inline uint64_t late(const uint64_t *words, size_t n, uint64_t newest) {
    uint64_t fault = 0;
    for (size_t i = 0; i < n; i++)
        fault |= words[i] | (newest - words[i]);
    return fault;
}

/* The sign's bit is set if one of the words is not finite. Negative zeros become zeros. */
static inline uint64_t infinite(uint64_t *words, size_t n) {
    uint64_t fault = 0;
    for (size_t i = 0; i < n; i++) {
        double value;
        fault |= (words[i] & ~SIGN) + EXPONENT_ONE;
        memcpy(&value, &words[i], sizeof value);
        value += 0.0;
        memcpy(&words[i], &value, sizeof value);
    }
    return fault;
}

bool taba_columns_fill_times(double *to, const uint8_t *from, size_t n, double newest) {
    uint64_t words[STEP], fault = newest >= 0 ? 0 : SIGN;
    const uint64_t limit = bits_of(newest + 0.0);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        load(words, from + 8 * i, STEP);
        fault |= late(words, STEP, limit);
        memcpy(to + i, words, sizeof words);
    }
    load(words, from + 8 * i, n - i);
    fault |= late(words, n - i, limit);
    memcpy(to + i, words, (n - i) * sizeof *to);
    return (fault & SIGN) == 0;
}

bool taba_columns_fill_values(double *to, const uint8_t *from, size_t n) {
    uint64_t words[STEP], fault = 0;
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        load(words, from + 8 * i, STEP);
        fault |= infinite(words, STEP);
        memcpy(to + i, words, sizeof words);
    }
    load(words, from + 8 * i, n - i);
    fault |= infinite(words, n - i);
    memcpy(to + i, words, (n - i) * sizeof *to);
    return (fault & SIGN) == 0;
}
