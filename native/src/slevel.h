/* slevel.h - distributions per bucket of time: the minutes of a CounterGroup Partial, the levels of PercentileGroup.
 *
 * In a Partial being filled it is a taba_series of taba_slot; slots whose distribution is empty are not part of its
 * meaning.
 */
#ifndef TABA_SLEVEL_H
#define TABA_SLEVEL_H

#include "dist.h"
#include "series.h"

typedef struct taba_slot {
    int64_t index;
    taba_dist dist;
} taba_slot;

/* Append the index of an entry, given that of the entry before, or NULL for the first. TABA_OK or TABA_ENOMEM. */
int taba_slevel_put_index(taba_buffer *out, int64_t index, const int64_t *before);

/* Append the encoding of a series of slots. On TABA_ENOMEM a part of it may be there. */
int taba_slevel_encode(const taba_series *slots, taba_buffer *out);

/* Free all slots. */
void taba_slevel_release(taba_series *slots, const taba_allocator *a);

/* Reads entry by entry, as taba_level_reader, but in two steps: taba_slevel_next gives the index, taba_slevel_read then
 * checks the sketch, gives its bytes, and reads it into a distribution if one is given. */
typedef struct taba_slevel_reader {
    taba_cursor *c;
    uint64_t n, left;
    int64_t width, first;
    uint64_t count;    /* sum of the counts read; TABA_COUNT_MAX at most */
    int64_t index;     /* of the present entry, */
    taba_blob raw;     /* its encoded sketch, */
    uint64_t entry;    /* and that sketch's count, 1 at least */
} taba_slevel_reader;

int taba_slevel_open(taba_slevel_reader *r, taba_cursor *c, int64_t width);
int taba_slevel_next(taba_slevel_reader *r);

/* `d` is empty before, and on failure; NULL to check only. */
int taba_slevel_read(taba_slevel_reader *r, taba_dist *d, const taba_allocator *a);

#endif
