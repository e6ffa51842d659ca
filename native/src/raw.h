/* raw.h - raw events, encoded as they come. */
#ifndef TABA_RAW_H
#define TABA_RAW_H

#include "internal.h"

/* The most bytes of an event beyond its payload: time, stamp and length. */
#define TABA_RAW_EVENT_MAX (8 + 2 * TABA_UVARINT_MAX)

/* Write one event; the room is there. Returns the byte after the last. */
uint8_t *taba_raw_store_event(uint8_t *at, const taba_gauge_entry *event);

/* Append a Partial of `events` events, `encoded` one after another. On TABA_ENOMEM a part of it may be there. */
int taba_raw_put_partial(taba_buffer *out, uint64_t events, taba_blob encoded);

#endif
