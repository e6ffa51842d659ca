/* decimal_exact.c - the nearest double of a decimal number of any length, in whole numbers of any size.
 *
 * With all its digits D a number is D * 10**e. For e >= 0 the highest 64 bits of that product, and whether a bit below
 * is set, decide the rounding. For e < 0 it is the quotient of D and 10**-e: D is shifted so that the quotient has 64
 * or 65 bits, and what remains of the division takes the part of the bits below.
 *
 * No point half way between two doubles has more than 767 digits. So 770 digits are enough: if any of the rest is not
 * 0, one more digit 1 stands for them, which is on the same side of every such point. The largest number here is thus
 * below 2**2720.
 */
#include <math.h>
#include <string.h>

#include "decimal.h"
#include "wide.h"

#define KEPT_DIGITS 770
#define LIMBS 96 /* of 32 bits, the lowest first: 3072 bits */
#define LARGEST_POWER 13 /* 5**13 is the last power of 5 below 2**32 */

typedef struct whole {
    uint32_t limb[LIMBS];
    int count; /* the highest limb is not 0 */
} whole;

/* x = x * factor + more */
static void scale(whole *x, uint32_t factor, uint32_t more) {
    uint64_t carry = more;
    for (int i = 0; i < x->count; i++) {
        carry += (uint64_t)x->limb[i] * factor;
        x->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0)
        x->limb[x->count++] = (uint32_t)carry;
}

/* x = x * 5**n */
static void scale_five(whole *x, int64_t n) {
    for (; n >= LARGEST_POWER; n -= LARGEST_POWER)
        scale(x, 1220703125u, 0);
    for (; n > 0; n--)
        scale(x, 5, 0);
}

/* x = x * 2**n */
static void shift(whole *x, int n) {
    const int limbs = n / 32, bits = n % 32;
    memmove(x->limb + limbs, x->limb, (size_t)x->count * sizeof x->limb[0]);
    memset(x->limb, 0, (size_t)limbs * sizeof x->limb[0]);
    x->count += limbs;
    if (bits > 0) {
        uint32_t carry = 0;
        for (int i = limbs; i < x->count; i++) {
            const uint32_t limb = x->limb[i];
            x->limb[i] = limb << bits | carry;
            carry = limb >> (32 - bits);
        }
        if (carry != 0)
            x->limb[x->count++] = carry;
    }
}

/* The number of bits of x > 0. */
static int bits_of(const whole *x) {
    return 32 * x->count - (taba_leading_zeros(x->limb[x->count - 1]) - 32);
}

/* Read digits and a point into x; the value is x * 10**result. Leading zeros do not count as digits. */
static int64_t read_whole(whole *x, const uint8_t *digits, size_t length) {
    const uint8_t *end = digits + length;
    int64_t e = 0;
    uint32_t chunk = 0, factor = 1; /* nine digits at a time */
    int kept = 0;
    bool point = false, more = false;
    x->count = 0;
    for (; digits < end; digits++) {
        if (*digits == '.') {
            point = true;
        } else if (kept < KEPT_DIGITS) {
            chunk = chunk * 10 + (uint32_t)(*digits - '0');
            factor *= 10;
            if (factor == 1000000000u) {
                scale(x, factor, chunk);
                chunk = 0;
                factor = 1;
            }
            kept += kept > 0 || *digits != '0';
            e -= point;
        } else {
            more = more || *digits != '0';
            e += !point;
        }
    }
    scale(x, factor, chunk);
    if (more) {
        scale(x, 10, 1);
        e--;
    }
    return e;
}

/* u[0..n] -= v[0..n-1] * q; returns whether the result would be negative, in which case it wrapped. */
static bool subtract_product(uint32_t *u, const uint32_t *v, int n, uint64_t q) {
    uint64_t carry = 0, borrow = 0;
    for (int i = 0; i <= n; i++) {
        carry += i < n ? v[i] * q : 0;
        const uint64_t difference = (uint64_t)u[i] - (uint32_t)carry - borrow;
        u[i] = (uint32_t)difference;
        borrow = difference >> 63;
        carry >>= 32;
    }
    return borrow != 0;
}

/* One digit of the quotient in base 2**32 (Knuth, The Art of Computer Programming 2, 4.3.1, algorithm D): u[0..n]
 * becomes the remainder of u / v. The highest bit of v[n-1] is set and n >= 2. */
static uint32_t quotient_digit(uint32_t *u, const uint32_t *v, int n) {
    const uint64_t top = (uint64_t)u[n] << 32 | u[n - 1];
    uint64_t q = top / v[n - 1], r = top % v[n - 1];
    while (q >> 32 != 0 || q * v[n - 2] > (r << 32 | u[n - 2])) {
        q--;
        r += v[n - 1];
        if (r >> 32 != 0)
            break;
    }
    if (subtract_product(u, v, n, q)) {
        uint64_t carry = 0;
        q--;
        for (int i = 0; i <= n; i++) {
            carry += (uint64_t)u[i] + (i < n ? v[i] : 0);
            u[i] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    return (uint32_t)q;
}

/* x * 2**exponent, rounded: the highest 64 bits of x and whether there is more. */
static double round_whole(whole *x, int64_t exponent, bool negative) {
    const int bits = bits_of(x);
    bool inexact = false;
    shift(x, (64 - bits % 32) % 32 + (bits < 64 ? 64 : 0)); /* the highest bit is now the highest of its limb */
    exponent -= (64 - bits % 32) % 32 + (bits < 64 ? 64 : 0);
    const int n = x->count;
    for (int i = 0; i < n - 2; i++)
        inexact = inexact || x->limb[i] != 0;
    const uint64_t top = (uint64_t)x->limb[n - 1] << 32 | x->limb[n - 2];
    return taba_round_binary(top, exponent + 32 * (n - 2), inexact, negative);
}

/* x / 5**k * 2**exponent, rounded. */
static double round_quotient(whole *x, int64_t k, int64_t exponent, bool negative) {
    whole v;
    bool inexact = false;
    v.limb[0] = 1;
    v.count = 1;
    scale_five(&v, k);
    /* v gets whole limbs, two at least, and then as many below as make it 64 bits shorter than x can be made. */
    int up = 32 * v.count - bits_of(&v) + (v.count == 1 ? 32 : 0);
    const int spare = bits_of(x) - 64 - (bits_of(&v) + up);
    up += spare > 0 ? (spare + 31) / 32 * 32 : 0;
    shift(&v, up);
    const int n = v.count, left = 32 * (n + 2) - bits_of(x);
    shift(x, left);
    uint32_t *u = x->limb;
    u[n + 2] = 0;
    const uint64_t q2 = quotient_digit(u + 2, v.limb, n), q1 = quotient_digit(u + 1, v.limb, n);
    const uint64_t q = q1 << 32 | quotient_digit(u, v.limb, n);
    for (int i = 0; i < n; i++)
        inexact = inexact || u[i] != 0;
    exponent += up - left;
    if (q2 == 0) { /* the highest bits of x and v are at the same place in their limbs, so q has 64 bits at least */
        return taba_round_binary(q, exponent, inexact, negative);
    }
    return taba_round_binary(q >> 1 | (uint64_t)1 << 63, exponent + 1, inexact || (q & 1) != 0, negative);
}

double taba_round_decimal(const uint8_t *digits, size_t length, int64_t exponent, bool negative) {
    whole x;
    const int64_t e = exponent + read_whole(&x, digits, length);
    if (x.count == 0)
        return 0.0;
    /* 10**a <= x < 10**b with a and b off by one at most: what is far out of the range of doubles needs no more than
     * that. */
    const int64_t low = (int64_t)(bits_of(&x) - 1) * 30102 / 100000, high = (int64_t)bits_of(&x) * 30103 / 100000 + 1;
    if (low + e > 309)
        return negative ? -HUGE_VAL : HUGE_VAL;
    if (high + e < -324)
        return 0.0;
    if (e >= 0) {
        scale_five(&x, e);
        return round_whole(&x, e, negative);
    }
    return round_quotient(&x, -e, e, negative);
}
