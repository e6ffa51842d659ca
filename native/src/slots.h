/* slots.h - a hash index over an array of records that somebody else keeps.
 *
 * A slot is 0 (free), or the upper 32 bits of a record's hash over its number plus one. Collisions go to the next slot,
 * the lower bits of the hash being the first. Every record begins with its hash, a uint64_t. Records are never taken
 * out but the newest first, which leaves the index as it was before they came.
 */
#ifndef TABA_SLOTS_H
#define TABA_SLOTS_H

#include "internal.h"

/* Numbers of records are below this. */
#define TABA_RECORDS_MAX ((size_t)0xfffffffe)

typedef struct taba_slots {
    uint64_t *slot;
    size_t room; /* slots allocated: 0 or a power of two */
    size_t used; /* slots searched: a power of two up to `room`, or 0 */
} taba_slots;

/* Make room for `count` records in all. When that takes more slots, the `present` records at `records`, `size` bytes
 * apart, are put in anew. TABA_OK, or TABA_ENOMEM with nothing changed. */
int taba_slots_reserve(taba_slots *s, const taba_allocator *a, size_t count, const void *records, size_t size, size_t present);

/* Empty the index and make room for `count` records. TABA_OK, or TABA_ENOMEM with nothing changed. O(count). */
int taba_slots_restart(taba_slots *s, const taba_allocator *a, size_t count);

void taba_slots_free(taba_slots *s, const taba_allocator *a);

/* Put record `number` in; room was reserved. */
void taba_slots_add(taba_slots *s, uint64_t hash, size_t number);

/* Take out record `number`, the newest one. */
void taba_slots_drop(taba_slots *s, uint64_t hash, size_t number);

/* A search: for (taba_probe p = taba_slots_find(s, hash); taba_slots_next(s, &p);) if (is p.number the one) ... */
typedef struct taba_probe {
    size_t at, number;
    uint64_t tag;
} taba_probe;

static inline taba_probe taba_slots_find(const taba_slots *s, uint64_t hash) {
    const taba_probe probe = {s->used == 0 ? 0 : (size_t)hash & (s->used - 1), 0, hash >> 32};
    return probe;
}

/* Go to the next record that may have the hash; false if there is none. */
static inline bool taba_slots_next(const taba_slots *s, taba_probe *probe) {
    if (s->used == 0)
        return false;
    for (;;) {
        const uint64_t slot = s->slot[probe->at];
        if (slot == 0)
            return false;
        probe->at = (probe->at + 1) & (s->used - 1);
        if (slot >> 32 == probe->tag) {
            probe->number = (size_t)(slot & 0xffffffffu) - 1;
            return true;
        }
    }
}

#endif
