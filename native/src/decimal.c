/* decimal.c - JSON numbers as doubles.
 *
 * A decimal number is w * 10**e with a whole w. Three ways lead to the nearest double, the cheapest first:
 *
 *   w <= 2**53, |e| <= 22   both w and 10**|e| are doubles, so one multiplication or division rounds once, correctly
 *                           (Clinger, "How to read floating point numbers accurately", 1990)
 *   w < 2**64, |e| <= 27    w * 5**e or w / 5**-e in whole numbers of 128 bits: 64 bits of the result and whether anything is
 *                           left, which decides the rounding. Timestamps with 17 digits come this way
 *   all else                decimal_exact.c, in whole numbers of any size
 *
 * strtod is not used: it follows the locale.
 */
#include "decimal.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "wide.h"

#define MAX_POWER 27                  /* 5**27 is the last power of 5 below 2**63 */
#define MAX_EXACT_POWER 22            /* 10**22 is the last power of 10 that is a double */
#define MAX_DIGITS 19                 /* so many digits always fit 64 bits */
#define MAX_EXPONENT 1000000000000000 /* exponents are clamped to it; no body has so many digits to make up for one */

/* 5**k shifted left until its highest bit is bit 63, what taba_divide wants beside it, and the shift. */
typedef struct power {
    uint64_t shifted, inverse;
    int shift;
} power;

static const power FIVES[MAX_POWER + 1] = {
    {0x8000000000000000ull, 0xffffffffffffffffull, 63},
    {0xa000000000000000ull, 0x9999999999999999ull, 61},
    {0xc800000000000000ull, 0x47ae147ae147ae14ull, 59},
    {0xfa00000000000000ull, 0x0624dd2f1a9fbe76ull, 57},
    {0x9c40000000000000ull, 0xa36e2eb1c432ca57ull, 54},
    {0xc350000000000000ull, 0x4f8b588e368f0846ull, 52},
    {0xf424000000000000ull, 0x0c6f7a0b5ed8d36bull, 50},
    {0x9896800000000000ull, 0xad7f29abcaf48578ull, 47},
    {0xbebc200000000000ull, 0x5798ee2308c39df9ull, 45},
    {0xee6b280000000000ull, 0x12e0be826d694b2eull, 43},
    {0x9502f90000000000ull, 0xb7cdfd9d7bdbab7dull, 40},
    {0xba43b74000000000ull, 0x5fd7fe17964955fdull, 38},
    {0xe8d4a51000000000ull, 0x19799812dea11197ull, 36},
    {0x9184e72a00000000ull, 0xc25c268497681c26ull, 33},
    {0xb5e620f480000000ull, 0x6849b86a12b9b01eull, 31},
    {0xe35fa931a0000000ull, 0x203af9ee756159b2ull, 29},
    {0x8e1bc9bf04000000ull, 0xcd2b297d889bc2b6ull, 26},
    {0xb1a2bc2ec5000000ull, 0x70ef54646d496892ull, 24},
    {0xde0b6b3a76400000ull, 0x2725dd1d243aba0eull, 22},
    {0x8ac7230489e80000ull, 0xd83c94fb6d2ac34aull, 19},
    {0xad78ebc5ac620000ull, 0x79ca10c9242235d5ull, 17},
    {0xd8d726b7177a8000ull, 0x2e3b40a0e9b4f7ddull, 15},
    {0x878678326eac9000ull, 0xe392010175ee5962ull, 12},
    {0xa968163f0a57b400ull, 0x82db34012b25144eull, 10},
    {0xd3c21bcecceda100ull, 0x357c299a88ea76a5ull, 8},
    {0x84595161401484a0ull, 0xef2d0f5da7dd8aa2ull, 5},
    {0xa56fa5b99019a5c8ull, 0x8c240c4aecb13bb5ull, 3},
    {0xcecb8f27f4200f3aull, 0x3ce9a36f23c0fc90ull, 1},
};

const double taba_tens[MAX_EXACT_POWER + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

double taba_round_binary(uint64_t mantissa, int64_t exponent, bool inexact, bool negative) {
    const int64_t magnitude = exponent + 63; /* the value is in [2**magnitude, 2**(magnitude + 1)) */
    const uint64_t half = (uint64_t)1 << 63;
    double value;
    if (magnitude > 1023)
        return negative ? -HUGE_VAL : HUGE_VAL;
    /* 53 bits stay, fewer below 2**-1022, where a double has a fixed last place of 2**-1074. */
    const int64_t drop = magnitude >= -1022 ? 11 : 11 + (-1022 - magnitude);
    if (drop > 64)
        return 0.0;
    const uint64_t kept = drop == 64 ? 0 : mantissa >> drop;
    const uint64_t rest = drop == 64 ? mantissa : mantissa << (64 - drop);
    const bool up = rest > half || (rest == half && (inexact || (kept & 1) != 0));
    /* A carry out of the 53 bits goes on into the exponent, as it should, up to infinity. */
    uint64_t bits = (magnitude >= -1022 ? (uint64_t)(magnitude + 1022) << 52 : 0) + kept + up;
    if (bits == 0)
        return 0.0;
    bits |= (uint64_t)negative << 63;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* w * 10**e for w != 0 and |e| <= MAX_POWER. */
static double round_small(uint64_t w, int e, bool negative) {
    const int zeros = taba_leading_zeros(w);
    uint64_t high, low;
    if (e < 0) {
        const power *five = &FIVES[-e];
        const uint64_t shifted = w << zeros;
        /* Half of it keeps the quotient below 2**64; it has 63 bits at least. */
        const uint64_t quotient = taba_divide(shifted >> 1, shifted << 63, five->shifted, five->inverse, &low);
        const int more = taba_leading_zeros(quotient);
        return taba_round_binary(quotient << more, e - zeros - more + five->shift - 63, low != 0, negative);
    }
    low = taba_multiply(w << zeros, FIVES[e].shifted, &high);
    const int more = taba_leading_zeros(high); /* 0 or 1: both factors have their highest bit set */
    const uint64_t top = more == 0 ? high : high << 1 | low >> 63;
    return taba_round_binary(top, e - zeros - more - FIVES[e].shift + 64, low << more != 0, negative);
}

double taba_round_decimals(uint64_t w, unsigned decimals, bool negative) {
    return w == 0 ? 0.0 : round_small(w, -(int)decimals, negative);
}

static inline bool is_digit(uint8_t c) {
    return (uint8_t)(c - '0') < 10;
}

/* Read 1 to 8 digits at once, of the 8 bytes at `at`: *w = *w * 10**n + their value. Returns how many there are, n. */
static inline int read_some_digits(const uint8_t *at, uint64_t *w) {
    static const uint64_t tens[9] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    const uint64_t pair = 0x000000ff000000ffu;
    uint64_t x;
#if defined(__BYTE_ORDER__) && defined(__ORDER_LITTLE_ENDIAN__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(&x, at, 8);
#else
    x = 0;
    for (int i = 7; i >= 0; i--)
        x = x << 8 | at[i];
#endif
    x ^= 0x3030303030303030u; /* digits become 0 to 9, all else more; the lowest byte is the first */
    /* The lowest bit set here is that of the first byte above 9: carries only go up from there. */
    const uint64_t others = (x | (x + 0x7676767676767676u)) & 0x8080808080808080u;
    const int n = others == 0 ? 8 : taba_trailing_zeros(others) / 8;
    if (n == 0)
        return 0;
    x <<= 64 - 8 * n;      /* zeros in front make them eight */
    x = x * 10 + (x >> 8); /* bytes 0, 2, 4, 6 are the values of pairs of digits */
    x = ((x & pair) * (100 + (1000000ull << 32)) + (x >> 16 & pair) * (1 + (10000ull << 32))) >> 32;
    *w = *w * tens[n] + x;
    return n;
}

/* Skip digits, appending them to *w, which wraps when there are too many. Their number varies from line to line: hence
 * no loop that ends where they do, of which the processor would guess the end wrongly. */
static inline const uint8_t *read_digits(const uint8_t *at, const uint8_t *end, uint64_t *w) {
    while (end - at >= 8) {
        const int n = read_some_digits(at, w);
        at += n;
        if (n < 8)
            return at;
    }
    while (at < end && is_digit(*at))
        *w = *w * 10 + (uint64_t)(*at++ - '0');
    return at;
}

/* The exponent at `at`, which is 'e' or 'E'; NULL if no digits follow. */
static const uint8_t *read_exponent(const uint8_t *at, const uint8_t *end, int64_t *exponent) {
    int64_t value = 0;
    bool negative = false;
    at++;
    if (at < end && (*at == '+' || *at == '-'))
        negative = *at++ == '-';
    if (at == end || !is_digit(*at))
        return NULL;
    for (; at < end && is_digit(*at); at++) {
        if (value < MAX_EXPONENT)
            value = value * 10 + (*at - '0');
    }
    *exponent = negative ? -value : value;
    return at;
}

/* A number read: w holds `count` digits, `decimals` of them after the point, wrapped if they are too many. */
typedef struct reading {
    uint64_t w;
    const uint8_t *digits;
    size_t length, count;
    int64_t decimals, exponent;
    bool negative;
} reading;

static double round_reading(const reading *r) {
    const int64_t e = r->exponent - r->decimals;
    const uint8_t *at = r->digits, *end = r->digits + r->length;
    size_t count = r->count;
    for (; count > MAX_DIGITS && at < end && (*at == '0' || *at == '.'); at++)
        count -= *at == '0';
    if (count <= MAX_DIGITS && r->w == 0)
        return 0.0;
    if (count <= MAX_DIGITS && e >= -MAX_POWER && e <= MAX_POWER)
        return round_small(r->w, (int)e, r->negative);
    return taba_round_decimal(r->digits, r->length, r->exponent, r->negative);
}

const uint8_t *taba_read_number(const uint8_t *at, const uint8_t *end, double *value) {
    reading r = {0, NULL, 0, 0, 0, 0, at < end && *at == '-'};
    at += r.negative;
    r.digits = at;
    at = read_digits(at, end, &r.w);
    if (at == r.digits || (*r.digits == '0' && at - r.digits > 1))
        return NULL;
    if (at < end && *at == '.') {
        const uint8_t *point = at++;
        at = read_digits(at, end, &r.w);
        r.decimals = at - point - 1;
        if (r.decimals == 0)
            return NULL;
    }
    r.length = (size_t)(at - r.digits);
    r.count = r.length - (r.decimals > 0);
    if (at < end && (*at | 0x20) == 'e') {
        at = read_exponent(at, end, &r.exponent);
        if (at == NULL)
            return NULL;
    }
#if FLT_EVAL_METHOD == 0
    const int64_t e = r.exponent - r.decimals;
    if (r.count <= MAX_DIGITS && r.w <= (uint64_t)1 << 53 && e >= -MAX_EXACT_POWER && e <= MAX_EXACT_POWER) {
        const double w = (double)r.w, rounded = e < 0 ? w / taba_tens[-e] : w * taba_tens[e];
        *value = r.negative && r.w != 0 ? -rounded : rounded;
        return at;
    }
#endif
    *value = round_reading(&r);
    return at;
}
