/* gauge.h - events with a JSON payload: their order, and the value of a Gauge in memory. */
#ifndef TABA_GAUGE_H
#define TABA_GAUGE_H

#include "internal.h"

/* Negative, zero or positive as x comes before y by (time, stamp, payload): the later one wins in a Gauge. */
int taba_entry_order(const taba_gauge_entry *x, const taba_gauge_entry *y);

/* Bytes as C's memcmp orders them, a prefix before what it begins. */
int taba_blob_order(taba_blob x, taba_blob y);

/* Append a Gauge Partial: the latest of `events` events. On TABA_ENOMEM a part of it may be there. */
int taba_gauge_put_partial(taba_buffer *out, uint64_t events, const taba_gauge_entry *latest);

#endif
