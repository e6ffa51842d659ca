/* gauges.h - Gauge Partials worked out by hand, and States made of them. */
#ifndef TABA_TEST_GAUGES_H
#define TABA_TEST_GAUGES_H

#include "events.h"

/* The bytes of `hex`, which are put to `bytes`. */
static inline taba_blob from_hex(const char *hex, uint8_t *bytes) { return test_blob(bytes, test_hex(hex, bytes)); }

#define LATE "83 01 02 00 00 00 00 00 00 59 40 05 03 31 2e 35"    /* 2 events, the latest at 100, stamp 5, 1.5 */
#define EARLY "83 01 01 00 00 00 00 00 00 49 40 09 01 37"         /* 1 event at 50, stamp 9, 7 */
#define TIE "83 01 01 00 00 00 00 00 00 59 40 06 04 74 72 75 65"  /* 1 event at 100, stamp 6, true */

/* The State of one such Partial. */
static inline taba_buffer *gauge(const char *partial) {
    uint8_t bytes[64];
    taba_blob blob = from_hex(partial, bytes);
    taba_buffer *out = taba_buffer_new(NULL);
    CHECK_OK(taba_fold(TABA_GAUGE, test_blob(NULL, 0), &blob, 1, out));
    return out;
}

#endif
