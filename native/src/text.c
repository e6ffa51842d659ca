/* text.c - numbers as text: see text.h.
 *
 * Fixed numbers are written by exact arithmetic on their bits, rounded half to even, as Python and C do it. A double below
 * 2**53 is whole + fraction * 2**-s with a fraction of 53 bits at most, so the decimals are the fraction times 10**d,
 * shifted, in 128 bits.
 */
#include "text.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "decimal.h"
#include "number.h"
#include "wide.h"

#define LONGEST 340 /* characters of a number: 309 digits before the point */
#define MOST_DIGITS 17 /* that any double needs */
#define SURE_DIGITS 15 /* so many digits are those of one double at most, unless it is subnormal */
#define SURE 1000000000000000

/* Write the digits of a whole number, at least `least` of them, before `end`; returns where they begin. */
static char *digits(char *end, uint64_t value, int least) {
    for (; value != 0 || least > 0; value /= 10, least--)
        *--end = (char)('0' + value % 10);
    return end;
}

int taba_put_whole(taba_buffer *out, uint64_t value) {
    char text[24], *end = text + sizeof text, *at = digits(end, value, 1);
    return taba_buffer_append(out, at, (size_t)(end - at));
}

/* ---------------------------------------------------------------------------------------------- fixed */

/* fraction * power / 2**s, rounded half to even. The product has 73 bits at most, `s` is 1 or more. */
static uint64_t decimals_of(uint64_t fraction, uint64_t power, int s) {
    uint64_t high, low = taba_multiply(fraction, power, &high), quotient, rest_high = 0, rest;
    if (s >= 128)
        return 0;
    if (s < 64) {
        quotient = high << (64 - s) | low >> s;
        rest = low & ((UINT64_C(1) << s) - 1);
    } else {
        quotient = s == 64 ? high : high >> (s - 64);
        rest_high = s == 64 ? 0 : high & ((UINT64_C(1) << (s - 64)) - 1);
        rest = low;
    }
    const uint64_t half_high = s > 64 ? UINT64_C(1) << (s - 65) : 0, half = s > 64 ? 0 : UINT64_C(1) << (s - 1);
    const bool tie = rest_high == half_high && rest == half;
    const bool above = rest_high > half_high || (rest_high == half_high && rest > half);
    return quotient + (above || (tie && (quotient & 1) != 0));
}

/* A double that is a whole number of 2**52 or more, which may have hundreds of digits. */
static int put_large(taba_buffer *out, double value, int decimals) {
    const char *zeros = decimals == 0 ? "" : decimals == 2 ? ".00" : ".000000";
    char text[LONGEST];
    const int length = snprintf(text, sizeof text, "%.0f%s", value, zeros);
    return taba_buffer_append(out, text, (size_t)length);
}

int taba_put_fixed(taba_buffer *out, double value, int decimals) {
    const uint64_t power = decimals == 2 ? 100 : decimals == 6 ? 1000000 : 1;
    uint64_t bits, whole, fraction;
    char text[40], *end = text + sizeof text, *at = end;
    memcpy(&bits, &value, sizeof bits);
    const int exponent = (int)(bits >> 52 & 0x7ff);
    const uint64_t mantissa = (bits & ((UINT64_C(1) << 52) - 1)) | (exponent != 0 ? UINT64_C(1) << 52 : 0);
    const int s = 1075 - (exponent != 0 ? exponent : 1); /* the value is mantissa / 2**s */
    if (s <= 0)
        return put_large(out, value, decimals);
    if (decimals == 0) {
        at = digits(at, decimals_of(mantissa, 1, s), 1);
    } else {
        whole = s < 64 ? mantissa >> s : 0;
        fraction = decimals_of(s < 64 ? mantissa & ((UINT64_C(1) << s) - 1) : mantissa, power, s);
        if (fraction == power) {
            fraction = 0;
            whole++;
        }
        at = digits(at, fraction, decimals);
        *--at = '.';
        at = digits(at, whole, 1);
    }
    if (bits >> 63)
        *--at = '-';
    return taba_buffer_append(out, at, (size_t)(end - at));
}

/* ---------------------------------------------------------------------------------------------- as repr */

/* The decimal digits of a number, d.ddd * 10**exponent, without zeros at their end. */
typedef struct figures {
    char digit[MOST_DIGITS];
    int n, exponent;
} figures;

/* Round |value|, which is not 0, to `n` digits. */
static void round_to(double value, int n, figures *out) {
    char text[MOST_DIGITS + 16];
    (void)snprintf(text, sizeof text, "%.*e", n - 1, fabs(value));
    const char *at = text;
    for (out->n = 0; *at != 'e'; at++) /* whatever the locale has for a point is passed over */
        if (*at >= '0' && *at <= '9')
            out->digit[out->n++] = *at;
    out->exponent = atoi(at + 1);
    while (out->n > 1 && out->digit[out->n - 1] == '0')
        out->n--;
}

/* Whether these digits are those of |value|. */
static bool gives_back(const figures *f, double value) {
    char text[MOST_DIGITS + 16];
    double found;
    memcpy(text, f->digit, (size_t)f->n);
    const int length = f->n + snprintf(text + f->n, 16, "e%d", f->exponent - f->n + 1);
    return taba_read_number((const uint8_t *)text, (const uint8_t *)text + length, &found) != NULL
        && found == fabs(value);
}

/* The next number of `n` digits: so many a power of two may need that lies nearer to the one below it than doubles do, which
 * are half as far apart below it as above. */
static void step_up(figures *f, int n) {
    while (f->n < n)
        f->digit[f->n++] = '0';
    while (f->n > 0 && f->digit[f->n - 1] == '9')
        f->n--;
    if (f->n == 0) {
        f->digit[f->n++] = '1';
        f->exponent++;
    } else {
        f->digit[f->n - 1]++;
    }
}

/* w / 10**decimals as figures; w is not 0. */
static void figures_of(uint64_t w, int decimals, figures *f) {
    char text[24], *end = text + sizeof text, *at = digits(end, w, 1);
    f->exponent = (int)(end - at) - 1 - decimals;
    while (end[-1] == '0')
        end--;
    f->n = (int)(end - at);
    memcpy(f->digit, at, (size_t)f->n);
}

/* The same as shortest_of in whole numbers, for what is from 0.01 to below 10**15: the products have 113 bits at most. */
static bool shortest_of_usual(double value, figures *f) {
    static const uint64_t tens[19] = {
        1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000,
        10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000, 1000000000000000000};
    int exponent = value < 0.1 ? -2 : value < 1 ? -1 : 0, binary;
    if (!(value >= 0.01 && value < SURE))
        return false;
    while (exponent >= 0 && value >= taba_tens[exponent + 1])
        exponent++;
    const uint64_t mantissa = (uint64_t)ldexp(frexp(value, &binary), 53);
    for (int n = SURE_DIGITS;; n++) {
        const int decimals = n - 1 - exponent;
        uint64_t w = decimals_of(mantissa, tens[decimals], 53 - binary);
        bool found = n == MOST_DIGITS || taba_decimal_of(w, (unsigned)decimals, false) == value;
        if (!found && taba_decimal_of(w + 1, (unsigned)decimals, false) == value) { /* see step_up */
            found = true;
            w++;
        }
        if (found) {
            figures_of(w, decimals, f);
            return true;
        }
    }
}

static void shortest_of(double value, figures *f) {
    if (shortest_of_usual(fabs(value), f))
        return;
    for (int n = fabs(value) < DBL_MIN ? 1 : SURE_DIGITS; n < MOST_DIGITS; n++) {
        round_to(value, n, f);
        if (gives_back(f, value))
            return;
        step_up(f, n);
        if (gives_back(f, value))
            return;
    }
    round_to(value, MOST_DIGITS, f);
}

/* With a point, from 0.0001 to below 10**16. */
static int put_pointed(taba_buffer *out, const figures *f, char *text) {
    char *to = text;
    if (f->exponent < 0) {
        *to++ = '0';
        *to++ = '.';
        for (int i = -1; i > f->exponent; i--)
            *to++ = '0';
    }
    for (int i = 0; i < f->n || i <= f->exponent; i++) {
        *to++ = i < f->n ? f->digit[i] : '0';
        if (i == f->exponent)
            *to++ = '.';
    }
    if (to[-1] == '.')
        *to++ = '0';
    return taba_buffer_append(out, text, (size_t)(to - text));
}

static int put_figures(taba_buffer *out, const figures *f) {
    char text[LONGEST], *to = text;
    if (f->exponent >= -4 && f->exponent < 16)
        return put_pointed(out, f, text);
    *to++ = f->digit[0];
    if (f->n > 1) {
        *to++ = '.';
        memcpy(to, f->digit + 1, (size_t)f->n - 1);
        to += f->n - 1;
    }
    to += snprintf(to, 16, "e%c%02d", f->exponent < 0 ? '-' : '+', abs(f->exponent));
    return taba_buffer_append(out, text, (size_t)(to - text));
}

/* m / 1000, for what has so few digits that no shorter ones give it back. */
static int put_thousandths(taba_buffer *out, uint64_t m) {
    char text[32], *end = text + sizeof text, *at = digits(end, m % 1000, 3);
    *--at = '.';
    at = digits(at, m / 1000, 1);
    while (end[-1] == '0' && end[-2] != '.')
        end--;
    return taba_buffer_append(out, at, (size_t)(end - at));
}

int taba_put_double(taba_buffer *out, double value) {
    int64_t m;
    figures f;
    int status = signbit(value) ? taba_put_text(out, "-") : TABA_OK;
    if (status != TABA_OK)
        return status;
    if (taba_number_is_thousandths(value, &m) && m < SURE && m > -SURE)
        return put_thousandths(out, (uint64_t)(m < 0 ? -m : m));
    shortest_of(value, &f);
    return put_figures(out, &f);
}
