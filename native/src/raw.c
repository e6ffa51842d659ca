/* raw.c - the Partial of Types that are not native: the events as they came.
 *
 *     Partial = 80 01 uvarint n, n times (f64 time, uvarint stamp, uvarint length, payload)
 */
#include "raw.h"

#include "types.h"

static int get_event(taba_cursor *c, taba_gauge_entry *out) {
    uint64_t length;
    int status = taba_get_f64(c, &out->time);
    if (status == TABA_OK)
        status = taba_get_uvarint(c, &out->stamp);
    if (status == TABA_OK)
        status = taba_get_uvarint(c, &length);
    if (status == TABA_OK)
        status = taba_get_bytes(c, length, &out->value.bytes);
    if (status == TABA_OK)
        out->value.length = (size_t)length;
    return status;
}

uint8_t *taba_raw_store_event(uint8_t *at, const taba_gauge_entry *event) {
    at = taba_store_f64(at, event->time);
    at = taba_store_uvarint(at, event->stamp);
    at = taba_store_uvarint(at, event->value.length);
    if (event->value.length != 0)
        memcpy(at, event->value.bytes, event->value.length);
    return at + event->value.length;
}

int taba_raw_put_partial(taba_buffer *out, uint64_t events, taba_blob encoded) {
    int status = taba_put_front(out, TABA_PARTIAL | TABA_RAW);
    if (status == TABA_OK)
        status = taba_put_uvarint(out, events);
    return status == TABA_OK ? taba_buffer_append(out, encoded.bytes, encoded.length) : status;
}

static int open_partial(taba_blob partial, taba_cursor *c, uint64_t *n) {
    int status = taba_open(partial, TABA_PARTIAL | TABA_RAW, c);
    if (status == TABA_OK)
        status = taba_get_uvarint(c, n);
    return status == TABA_OK && *n == 0 ? TABA_ECORRUPT : status;
}

int taba_raw_facts(taba_blob partial, taba_partial_facts *out) {
    taba_cursor c;
    taba_gauge_entry event;
    uint64_t n = 0;
    int status = open_partial(partial, &c, &n);
    out->events = n;
    for (uint64_t i = 0; i < n && status == TABA_OK; i++) {
        status = get_event(&c, &event);
        if (status == TABA_OK && (i == 0 || event.time > out->newest))
            out->newest = event.time;
    }
    return status == TABA_OK ? taba_at_end(&c) : status;
}

int taba_raw_next(taba_blob partial, size_t *offset, taba_gauge_entry *out) {
    taba_cursor c;
    taba_gauge_entry event;
    taba_partial_facts facts;
    uint64_t n;
    int status = TABA_OK;
    if (*offset > partial.length)
        return TABA_EDOMAIN;
    if (*offset == partial.length)
        return partial.length == 0 ? TABA_ETYPE : TABA_ELIMIT; /* no bytes are a State, not a Partial */
    if (*offset == 0) { /* the Partial is checked once, and then only what is read */
        status = taba_raw_facts(partial, &facts);
        if (status == TABA_OK)
            status = open_partial(partial, &c, &n);
    } else {
        c = taba_cursor_of(partial.bytes + *offset, partial.length - *offset);
    }
    if (status == TABA_OK)
        status = get_event(&c, &event);
    if (status != TABA_OK)
        return status;
    *out = event;
    *offset = (size_t)(c.at - partial.bytes);
    return TABA_OK;
}
