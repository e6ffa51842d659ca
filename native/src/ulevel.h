/* ulevel.h - distinct values per bucket of time: the 15 s of a UniqueGroup's Partial, the levels of its State.
 *
 * In a Partial being filled it is a taba_series of taba_uslot; slots without events are not part of its meaning. It is read
 * as slevel.h tells, by taba_slevel_open, taba_slevel_next and taba_ulevel_read.
 */
#ifndef TABA_ULEVEL_H
#define TABA_ULEVEL_H

#include "hll.h"
#include "slevel.h"

typedef struct taba_uslot {
    int64_t index;
    uint64_t count; /* of events */
    taba_hll set;   /* of their values */
} taba_uslot;

/* Append the encoding of a series of slots. On TABA_ENOMEM a part of it may be there. */
int taba_ulevel_encode(const taba_series *slots, taba_buffer *out);

/* Append one entry but for its set, given the index of the entry before, or NULL for the first. TABA_OK or TABA_ENOMEM. */
int taba_ulevel_put_front(taba_buffer *out, int64_t index, const int64_t *before, uint64_t count);

/* Free all slots. */
void taba_ulevel_release(taba_series *slots, const taba_allocator *a);

/* The bytes of all slots. */
size_t taba_ulevel_memory(const taba_series *slots);

/* Check the present entry, of which r->entry gets the count and r->raw the encoded set, and add that set to `set` if it
 * is not NULL. On failure `set` may hold some of it. */
int taba_ulevel_read(taba_slevel_reader *r, taba_hll *set, const taba_allocator *a);

#endif
