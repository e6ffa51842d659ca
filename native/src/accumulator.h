/* accumulator.h - the inside of an accumulator, shared by accumulator.c and merge.c.
 *
 * Names are kept once, in a table; an entry holds the numbers of its three. A hash index finds an entry by the hashes of
 * its names.
 */
#ifndef TABA_ACCUMULATOR_H
#define TABA_ACCUMULATOR_H

#include "arena.h"
#include "names.h"

/* One (tab, client, Type). */
typedef struct taba_accumulated {
    uint64_t hash; /* of its three names; first, as slots.h wants it */
    uint32_t tab, client, type; /* numbers of names */
    uint32_t crc;               /* of the tab's name, from which its vbucket follows */
    uint32_t last;              /* in a merge: the last block of it so far, plus one; else 0 */
    taba_partial *partial;
} taba_accumulated;

/* A Type met so far. A name is of one kind only, as an entry in a batch tells Types apart by name. */
typedef struct taba_known_type {
    uint32_t name;
    int kind;
} taba_known_type;

/* What a merge is to do with a block of the scratch. */
typedef struct taba_merge_step {
    uint32_t entry; /* its number, or TABA_NO_ENTRY for a block without events */
    uint32_t next;  /* the next block of the same entry, or 0 (which is no block's next) */
    bool first;     /* the first block of its entry */
    size_t gathered; /* if it has others of numbers: where they are put together, in columns of the merge */
} taba_merge_step;

#define TABA_NO_ENTRY UINT32_MAX

struct taba_accumulator {
    taba_allocator allocator; /* a copy, if one was given */
    bool custom;
    uint64_t seed;
    taba_names names;
    taba_accumulated *entries;
    size_t count, room;
    taba_slots slots;
    taba_known_type *types;
    size_t type_count, type_room;
    uint64_t events;
    taba_arena partials;    /* where they have their memory */
    taba_merge_step *steps; /* in a merge: one per block */
    size_t step_room;
    uint32_t *type_names;   /* in a merge: the number of the name of each of the scratch's Types, or TABA_NO_NAME yet */
    size_t type_name_room;
};

#define TABA_NO_NAME UINT32_MAX

static inline const taba_allocator *taba_accumulator_allocator(const taba_accumulator *c) {
    return c->custom ? &c->allocator : NULL;
}

#endif
