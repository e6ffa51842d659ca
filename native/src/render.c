/* render.c - States as the original wrote them, to the character: CounterGroup and PercentileGroup as text.
 *
 * Numbers are written by exact arithmetic on their bits, rounded half to even, as Python and C do it; no locale has a
 * say. A double below 2**53 is whole + fraction * 2**-s with a fraction of 53 bits at most, so the decimals are the
 * fraction times 10**d, shifted, in 128 bits.
 */
#include <stdio.h>

#include "types.h"
#include "wide.h"

#define QUANTILES 7
#define LONGEST 340 /* characters of a number: 309 digits before the point */

static const double quantiles[QUANTILES] = {0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 0.999};
static const char *const window_names[TABA_WINDOWS] = {"1m", "10m", "1h", "1d"};

static int put_text(taba_buffer *out, const char *text) { return taba_buffer_append(out, text, strlen(text)); }

/* Write the digits of a whole number, at least `least` of them, before `end`; returns where they begin. */
static char *digits(char *end, uint64_t value, int least) {
    for (; value != 0 || least > 0; value /= 10, least--)
        *--end = (char)('0' + value % 10);
    return end;
}

static int put_whole(taba_buffer *out, uint64_t value) {
    char text[24], *end = text + sizeof text, *at = digits(end, value, 1);
    return taba_buffer_append(out, at, (size_t)(end - at));
}

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

/* A finite number with so many decimals: 2 or 6. */
static int put_fixed(taba_buffer *out, double value, int decimals) {
    const uint64_t power = decimals == 2 ? 100 : 1000000;
    uint64_t bits, whole, fraction = 0;
    char text[LONGEST], *end = text + sizeof text, *at = end;
    memcpy(&bits, &value, sizeof bits);
    const int exponent = (int)(bits >> 52 & 0x7ff);
    const uint64_t mantissa = (bits & ((UINT64_C(1) << 52) - 1)) | (exponent != 0 ? UINT64_C(1) << 52 : 0);
    const int s = 1075 - (exponent != 0 ? exponent : 1); /* the value is mantissa / 2**s */
    if (s <= 0) { /* a whole number that may have hundreds of digits */
        const int length = snprintf(text, sizeof text, "%.0f%s", value, decimals == 2 ? ".00" : ".000000");
        return taba_buffer_append(out, text, (size_t)length);
    }
    whole = s < 64 ? mantissa >> s : 0;
    fraction = decimals_of(s < 64 ? mantissa & ((UINT64_C(1) << s) - 1) : mantissa, power, s);
    if (fraction == power) {
        fraction = 0;
        whole++;
    }
    at = digits(at, fraction, decimals);
    *--at = '.';
    at = digits(at, whole, 1);
    if (bits >> 63)
        *--at = '-';
    return taba_buffer_append(out, at, (size_t)(end - at));
}

static int put_count_and_total(taba_buffer *out, uint64_t count, double total, int decimals) {
    int status = put_text(out, "{\"count\": ");
    if (status == TABA_OK)
        status = put_whole(out, count);
    if (status == TABA_OK)
        status = put_text(out, ", \"total\": ");
    return status == TABA_OK ? put_fixed(out, total, decimals) : status;
}

static int put_percentiles(taba_buffer *out, const taba_sketch_summary *summary, const double *values) {
    int status = put_count_and_total(out, summary->count, summary->sum, 6);
    if (status == TABA_OK)
        status = put_text(out, ", \"pct\": [");
    for (int i = 0; i < QUANTILES && status == TABA_OK; i++) {
        if (i != 0)
            status = put_text(out, ", ");
        if (status == TABA_OK)
            status = put_fixed(out, values[i], 2);
    }
    return status == TABA_OK ? put_text(out, "]}") : status;
}

/* `"NAME": `, with what stands before the first or the next. */
static int put_name(taba_buffer *out, int window) {
    int status = put_text(out, window == 0 ? "{\"" : ", \"");
    if (status == TABA_OK)
        status = put_text(out, window_names[window]);
    return status == TABA_OK ? put_text(out, "\": ") : status;
}

static int render_counter_group(taba_blob state, double time, taba_buffer *out, taba_buffer *work) {
    taba_window windows[TABA_WINDOWS];
    taba_sketch_summary all;
    double values[QUANTILES];
    int status = taba_counter_group_summary(state, time, windows, &all, quantiles, QUANTILES, values, work);
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++) {
        const taba_window *w = &windows[i];
        status = put_name(out, i);
        if (status == TABA_OK)
            status = put_count_and_total(out, w->count, w->total, 2);
        if (status == TABA_OK)
            status = put_text(out, ", \"average\": ");
        if (status == TABA_OK)
            status = put_fixed(out, w->count != 0 ? w->total / (double)w->count : 0.0, 2);
        if (status == TABA_OK)
            status = put_text(out, "}");
    }
    if (status == TABA_OK)
        status = put_text(out, ", \"pct\": ");
    if (status == TABA_OK)
        status = put_percentiles(out, &all, values);
    return status == TABA_OK ? put_text(out, "}") : status;
}

static int render_percentile_group(taba_blob state, double time, taba_buffer *out, taba_buffer *work) {
    taba_sketch_summary windows[TABA_WINDOWS];
    double values[TABA_WINDOWS * QUANTILES];
    int status = taba_percentile_group_summary(state, time, windows, quantiles, QUANTILES, values, work);
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++) {
        status = put_name(out, i);
        if (status == TABA_OK)
            status = put_percentiles(out, &windows[i], values + i * QUANTILES);
    }
    return status == TABA_OK ? put_text(out, "}") : status;
}

static int render(int type, taba_blob state, double time, taba_buffer *out, taba_buffer *work) {
    switch (type) {
    case TABA_COUNTER_GROUP: return render_counter_group(state, time, out, work);
    case TABA_PERCENTILE_GROUP: return render_percentile_group(state, time, out, work);
    default: return TABA_ETYPE;
    }
}

int taba_render(int type, const taba_blob *states, size_t n, double time, taba_buffer *out, taba_buffer *ends) {
    const size_t before = taba_buffer_length(out), before_ends = taba_buffer_length(ends);
    taba_buffer *work = taba_buffer_new(taba_buffer_allocator(out));
    int status = work != NULL ? TABA_OK : TABA_ENOMEM;
    for (size_t i = 0; i < n && status == TABA_OK; i++) {
        const size_t start = taba_buffer_length(out);
        status = render(type, states[i], time, out, work);
        if (status != TABA_OK) /* it is told apart: what is rendered has a length */
            taba_buffer_truncate(out, start);
        if (status == TABA_ECORRUPT || status == TABA_EVERSION || status == TABA_ETYPE)
            status = TABA_OK;
        const size_t end = taba_buffer_length(out) - before;
        if (status == TABA_OK)
            status = taba_buffer_append(ends, &end, sizeof end);
    }
    if (status != TABA_OK) {
        taba_buffer_truncate(out, before);
        taba_buffer_truncate(ends, before_ends);
    }
    taba_buffer_free(work);
    return status;
}
