/* types.h - what each Type gives to types.c, which chooses by the Type, and what types.c gives to each. */
#ifndef TABA_TYPES_H
#define TABA_TYPES_H

#include "internal.h"

/* The number of events in a Partial, and the time of the newest: what taba_partial_extent tells. */
typedef struct taba_partial_facts {
    uint64_t events;
    double newest;
} taba_partial_facts;

/* Check the two bytes at the front of a blob, which must be `first` and the version; the cursor gets what follows. */
int taba_open(taba_blob blob, uint8_t first, taba_cursor *c);

/* Append those two bytes. */
int taba_put_front(taba_buffer *out, uint8_t first);

/* TABA_ECORRUPT unless all has been read. */
int taba_at_end(const taba_cursor *c);

/* Per Type: fold and reduce as in taba.h, but on error `out` may be longer; check a State that is not empty, and tell
 * its newest time beside; check a Partial and tell its facts. */
int taba_counter_group_fold(taba_blob state, const taba_blob *partials, size_t n, taba_buffer *out);
int taba_counter_group_reduce(const taba_blob *states, size_t n, taba_buffer *out);
int taba_counter_group_check(taba_blob state);
int taba_counter_group_newest(taba_blob state, double *newest);
int taba_counter_group_facts(taba_blob partial, taba_partial_facts *out);

int taba_percentile_group_fold(taba_blob state, const taba_blob *partials, size_t n, taba_buffer *out);
int taba_percentile_group_reduce(const taba_blob *states, size_t n, taba_buffer *out);
int taba_percentile_group_check(taba_blob state);
int taba_percentile_group_newest(taba_blob state, double *newest);
int taba_percentile_group_facts(taba_blob partial, taba_partial_facts *out);

int taba_gauge_fold(taba_blob state, const taba_blob *partials, size_t n, taba_buffer *out);
int taba_gauge_reduce(const taba_blob *states, size_t n, taba_buffer *out);
int taba_gauge_check(taba_blob state);
int taba_gauge_newest(taba_blob state, double *newest);
int taba_gauge_facts(taba_blob partial, taba_partial_facts *out);

int taba_unique_group_fold(taba_blob state, const taba_blob *partials, size_t n, taba_buffer *out);
int taba_unique_group_reduce(const taba_blob *states, size_t n, taba_buffer *out);
int taba_unique_group_check(taba_blob state);
int taba_unique_group_newest(taba_blob state, double *newest);
int taba_unique_group_facts(taba_blob partial, taba_partial_facts *out);

int taba_raw_facts(taba_blob partial, taba_partial_facts *out);

#endif
