/* wide.h - 64 x 64 bit products and 128 / 64 bit quotients, exact, without a compiler's 128-bit type where it has none. */
#ifndef TABA_WIDE_H
#define TABA_WIDE_H

#include <stdint.h>

/* The low half of x * y; *high gets the other half. */
static inline uint64_t taba_multiply(uint64_t x, uint64_t y, uint64_t *high) {
#ifdef __SIZEOF_INT128__
    const unsigned __int128 product = (unsigned __int128)x * y;
    *high = (uint64_t)(product >> 64);
    return (uint64_t)product;
#else
    const uint64_t low = (x & 0xffffffffu) * (y & 0xffffffffu);
    const uint64_t left = (x >> 32) * (y & 0xffffffffu) + (low >> 32);
    const uint64_t right = (x & 0xffffffffu) * (y >> 32) + (left & 0xffffffffu);
    *high = (x >> 32) * (y >> 32) + (left >> 32) + (right >> 32);
    return (right << 32) | (low & 0xffffffffu);
#endif
}

/* (high * 2**64 + low) / divisor, for divisor >= 2**63, high < divisor and inverse = (2**128 - 1) / divisor - 2**64.
 * *rest gets the remainder. Möller and Granlund, "Improved division by invariant integers" (2011), algorithm 4. */
static inline uint64_t taba_divide(uint64_t high, uint64_t low, uint64_t divisor, uint64_t inverse, uint64_t *rest) {
    uint64_t quotient, fraction = taba_multiply(inverse, high, &quotient);
    fraction += low;
    quotient += high + (fraction < low) + 1;
    uint64_t remainder = low - quotient * divisor;
    if (remainder > fraction) {
        quotient--;
        remainder += divisor;
    }
    if (remainder >= divisor) {
        quotient++;
        remainder -= divisor;
    }
    *rest = remainder;
    return quotient;
}

/* The number of zero bits above the highest one of x, which is not 0. */
static inline int taba_leading_zeros(uint64_t x) {
#ifdef __GNUC__
    return __builtin_clzll(x);
#else
    int zeros = 0;
    for (int step = 32; step > 0; step >>= 1) {
        if (x >> (64 - step) == 0) {
            zeros += step;
            x <<= step;
        }
    }
    return zeros;
#endif
}

/* The number of zero bits below the lowest one of x, which is not 0. */
static inline int taba_trailing_zeros(uint64_t x) {
#ifdef __GNUC__
    return __builtin_ctzll(x);
#else
    return 63 - taba_leading_zeros(x & (0 - x));
#endif
}

#endif
