/* event_v1.c - the event lines of protocol 1, read in place; see event_v1.h. */
#include "event_v1.h"

#include <math.h>

#include "decimal.h"
#include "names.h"

/* Pass over white space, the byte `c` and white space; NULL if it is not there. */
static const uint8_t *pass(const uint8_t *at, const uint8_t *end, uint8_t c) {
    if (at == NULL)
        return NULL;
    at = taba_json_skip(at, end);
    return at < end && *at == c ? taba_json_skip(at + 1, end) : NULL;
}

bool taba_event_read(const uint8_t *line, size_t length, taba_event *out) {
    const uint8_t *end = line + length, *at = pass(line, end, '[');
    if (at == NULL)
        return false;
    at = pass(taba_json_read_string(at, end, &out->type), end, ',');
    if (at == NULL)
        return false;
    at = pass(taba_read_number(at, end, &out->time), end, ',');
    if (at == NULL)
        return false;
    return pass(taba_json_read_string(at, end, &out->payload), end, ']') == end;
}

void taba_event_prefix_of(const uint8_t *type, size_t length, taba_event_prefix *out) {
    memcpy(out->bytes, "[\"", 2);
    memcpy(out->bytes + 2, type, length);
    memcpy(out->bytes + 2 + length, "\",", 2);
    out->length = length + 4;
}

/* A number, true or false at the front of [at, end); the byte after it, or NULL. */
static const uint8_t *read_value(const uint8_t *at, const uint8_t *end, double *value) {
    if (end - at >= 5 && memcmp(at, "false", 5) == 0) {
        *value = 0;
        return at + 5;
    }
    if (end - at >= 4 && memcmp(at, "true", 4) == 0) {
        *value = 1;
        return at + 4;
    }
    return taba_read_number(at, end, value);
}

/* Whether the bytes at `at` are the prefix. Word by word: a call of memcmp costs as much as a quarter of the line. */
static bool has_prefix(const taba_event_prefix *prefix, const uint8_t *at) {
    const size_t n = prefix->length;
    uint64_t x, y;
    if (n < sizeof x)
        return memcmp(at, prefix->bytes, n) == 0;
    for (size_t i = 0; i < n; i += sizeof x) {
        const size_t from = i + sizeof x <= n ? i : n - sizeof x; /* the last word may overlap the one before */
        memcpy(&x, at + from, sizeof x);
        memcpy(&y, prefix->bytes + from, sizeof y);
        if (x != y)
            return false;
    }
    return true;
}

const uint8_t *taba_event_read_quickly(const taba_event_prefix *prefix, const uint8_t *at, const uint8_t *end, double *time,
                                       double *value) {
    if ((size_t)(end - at) < prefix->length + 2 || !has_prefix(prefix, at))
        return NULL;
    at += prefix->length;
    at = taba_read_number(at + (*at == ' '), end, time);
    if (at == NULL || end - at < 4 || *at != ',')
        return NULL;
    at++;
    at += *at == ' ';
    if (*at != '"')
        return NULL;
    at = read_value(at + 1, end, value);
    if (at == NULL || end - at < 3 || at[0] != '"' || at[1] != ']' || at[2] != '\n')
        return NULL;
    return at + 3;
}

size_t taba_payload_high_bytes(const taba_json_string *payload) {
    size_t high = 0;
    for (size_t i = 0; i < payload->length; i++)
        high += payload->at[i] >> 7;
    return high;
}

int taba_payload_reason(const uint8_t *text, size_t length, size_t max_depth) {
    const int status = taba_json_check(text, length, max_depth);
    if (status == TABA_OK)
        return -1;
    return status == TABA_ELIMIT ? TABA_REFUSED_SIZE : TABA_REFUSED_VALUE;
}

int taba_payload_number(const uint8_t *text, size_t length, size_t max_depth, double *value) {
    const uint8_t *end = text + length, *at = taba_json_skip(text, end);
    const uint8_t *next = read_value(at, end, value);
    if (next == NULL || taba_json_skip(next, end) != end) {
        const int reason = taba_payload_reason(text, length, max_depth);
        if (reason >= 0)
            return reason;
        /* It is a whole value: so '[' is followed by another one or by ']'. */
        next = *at == '[' ? read_value(taba_json_skip(at + 1, end), end, value) : NULL;
    }
    return next == NULL || isinf(*value) ? TABA_REFUSED_VALUE : -1;
}

int taba_payload_unique(const uint8_t *text, size_t length, size_t max_depth, uint8_t *work, double *hash) {
    const uint8_t *end = text + length, *at = taba_json_skip(text, end);
    taba_json_string string;
    if (at < end && *at == '"') {
        const uint8_t *next = taba_json_read_string(at, end, &string);
        if (next != NULL && taba_json_skip(next, end) == end) {
            if (string.escaped) {
                string.length = taba_json_unescape(work, string.at, string.length, false);
                string.at = work;
            }
            *hash = taba_unique_hash(string.at, string.length);
            return -1;
        }
    }
    const int reason = taba_payload_reason(text, length, max_depth);
    if (reason >= 0)
        return reason;
    if (*at != '-' && (*at < '0' || *at > '9'))
        return TABA_REFUSED_VALUE;
    while (taba_json_blank(end[-1]))
        end--;
    *hash = taba_unique_hash(at, (size_t)(end - at));
    return -1;
}

int taba_payload_shape(const uint8_t *text, size_t length, size_t max_depth, int shape) {
    const uint8_t *second;
    double value;
    if (shape == TABA_RAW_NUMBER)
        return taba_payload_number(text, length, max_depth, &value);
    const int reason = taba_payload_reason(text, length, max_depth);
    if (reason >= 0 || shape != TABA_RAW_EXPIRING)
        return reason;
    if (taba_json_elements(text, length, &second) != 2)
        return TABA_REFUSED_VALUE;
    return taba_read_number(second, text + length, &value) == NULL ? TABA_REFUSED_VALUE : -1;
}
