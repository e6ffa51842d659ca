/* waiting.h - the Partials of one vbucket that wait for a checkpoint: waiting.c keeps them, waiting_take.c takes them from
 * batches, waiting_fold.c folds them.
 */
#ifndef TABA_WAITING_H
#define TABA_WAITING_H

#include "hot.h"

/* One Partial. Those of a State are linked in the order in which they came. */
typedef struct taba_row {
    const uint8_t *bytes;
    uint64_t events;
    uint32_t length;
    uint32_t next; /* the number of the next row of the State plus one, or 0 */
} taba_row;

/* One State that Partials wait for. */
typedef struct taba_touched {
    uint32_t tab;   /* first: by these two they are sorted */
    uint32_t order; /* in which it was touched */
    uint32_t entry;
    uint32_t first, last, count; /* rows */
    bool failed;
} taba_touched;

struct taba_waiting {
    taba_allocator allocator;
    bool custom;
    taba_row *rows;
    size_t count, room;
    taba_touched *keys;
    size_t key_count, key_room;
    uint32_t *key_of; /* by the number of a hot entry: the number of its key plus one, or 0 */
    size_t key_of_room;
};

static inline const taba_allocator *taba_waiting_allocator(const taba_waiting *w) {
    return w->custom ? &w->allocator : NULL;
}

#endif
