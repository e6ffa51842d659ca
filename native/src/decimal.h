/* decimal.h - JSON numbers as doubles, rounded correctly (to nearest, ties to even) in every case. */
#ifndef TABA_DECIMAL_H
#define TABA_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <float.h>
#include <stdint.h>

/* Read the number of RFC 8259 that [at, end) begins with: no leading zeros, no '+', digits on both sides of a point.
 * Returns the byte after it, or NULL if there is none. *value gets the nearest double: +0.0 for all that rounds to
 * zero, an infinity for all beyond the largest double. O(length). */
const uint8_t *taba_read_number(const uint8_t *at, const uint8_t *end, double *value);

/* w * 10**-decimals as the nearest double, for decimals <= 27; the way for all of them, in 128 bits. +0.0 for w == 0. */
double taba_round_decimals(uint64_t w, unsigned decimals, bool negative);

/* The powers of 10 that are doubles. */
extern const double taba_tens[23];

/* The same. Up to 2**53 and 22 decimals both numbers are doubles, so that one division rounds once, correctly. */
static inline double taba_decimal_of(uint64_t w, unsigned decimals, bool negative) {
#if FLT_EVAL_METHOD == 0
    if (w <= (uint64_t)1 << 53 && decimals <= 22) {
        const double rounded = (double)(int64_t)w / taba_tens[decimals];
        return negative && w != 0 ? -rounded : rounded;
    }
#endif
    return taba_round_decimals(w, decimals, negative);
}

/* (mantissa + something below one, if inexact) * 2**exponent as the nearest double. The highest bit of `mantissa` is
 * set. */
double taba_round_binary(uint64_t mantissa, int64_t exponent, bool inexact, bool negative);

/* The slow way, for numbers that the fast ways of taba_read_number do not cover: `digits` are decimal digits and at
 * most one point, and the value is that decimal number times 10**exponent. Uses 1 KiB of stack. */
double taba_round_decimal(const uint8_t *digits, size_t length, int64_t exponent, bool negative);

#endif
