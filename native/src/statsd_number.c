/* statsd_number.c - numbers as senders of StatsD write them, and as JSON has them; see statsd.h. */
#include <math.h>
#include <stdio.h>

#include "decimal.h"
#include "number.h"
#include "statsd.h"

static bool is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* Write the number without what JSON does not allow: a plus, zeros in front, a point without digits on both sides.
 * Returns its end; NULL if [at, end) is no number. */
static uint8_t *normalize(const uint8_t *at, const uint8_t *end, uint8_t *to) {
    bool digits = false;
    if (at < end && (*at == '+' || *at == '-')) {
        if (*at == '-')
            *to++ = '-';
        at++;
    }
    for (; at < end && *at == '0'; at++)
        digits = true;
    if (at == end || !is_digit(*at))
        *to++ = '0';
    for (; at < end && is_digit(*at); at++, digits = true)
        *to++ = *at;
    if (at < end && *at == '.') {
        at++;
        *to++ = '.';
        if (at == end || !is_digit(*at))
            *to++ = '0';
        for (; at < end && is_digit(*at); at++, digits = true)
            *to++ = *at;
    }
    if (!digits)
        return NULL;
    for (; at < end; at++)
        *to++ = *at; /* an exponent, or what makes it no number */
    return to;
}

bool taba_statsd_number(const uint8_t *at, const uint8_t *end, double *value) {
    uint8_t text[TABA_STATSD_VALUE_MAX + 4];
    if (end - at > TABA_STATSD_VALUE_MAX)
        return false;
    const uint8_t *stop = normalize(at, end, text);
    return stop != NULL && taba_read_number(text, stop, value) == stop && !isinf(*value);
}

size_t taba_statsd_write(double value, uint8_t text[TABA_STATSD_NUMBER_MAX]) {
    char *to = (char *)text;
    int64_t whole;
    double again;
    if (taba_number_is_whole(value, &whole))
        return (size_t)snprintf(to, TABA_STATSD_NUMBER_MAX, "%lld", (long long)whole);
    for (int digits = 15;; digits++) {
        const size_t length = (size_t)snprintf(to, TABA_STATSD_NUMBER_MAX, "%.*g", digits, value);
        for (size_t i = 0; i < length; i++) {
            if (to[i] == ',') /* a locale's point; a program around this core may have set one */
                to[i] = '.';
        }
        if (digits == 17 || (taba_read_number(text, text + length, &again) != NULL && again == value))
            return length;
    }
}
