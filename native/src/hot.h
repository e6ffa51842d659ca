/* hot.h - the States and running Aggregates of one vbucket that a be keeps in memory, as hot.c has them and waiting.c
 * folds into them.
 */
#ifndef TABA_HOT_H
#define TABA_HOT_H

#include "names.h"

/* One State, or, with an empty client, one Aggregate. Entries are never taken out: one that is forgotten has no bytes,
 * and its place waits for the State to come back or for taba_hot_sweep. */
typedef struct taba_hot_entry {
    uint64_t hash; /* of tab and client; first, as slots.h wants it */
    uint32_t tab, client, type; /* numbers of names */
    uint32_t length;
    uint8_t *state;  /* NULL when it is not here; never NULL with an empty State */
    uint8_t kind;    /* TABA_COUNTER_GROUP ... */
    bool running;    /* whether the tab's Aggregate is a fold of all its Partials */
    bool used;       /* since the last sweep */
} taba_hot_entry;

struct taba_hot {
    taba_allocator allocator;
    bool custom;
    uint64_t seed;
    taba_names names;
    taba_hot_entry *entries;
    size_t count, room;
    taba_slots slots;
    size_t states; /* bytes of the States */
};

const taba_allocator *taba_hot_allocator(const taba_hot *hot);

/* The entry of two names, or SIZE_MAX. */
size_t taba_hot_find(const taba_hot *hot, uint32_t tab, uint32_t client);

/* The number of a name, or UINT32_MAX when it has none. */
uint32_t taba_hot_name_number(const taba_hot *hot, const uint8_t *bytes, size_t length);

/* Replace the bytes of an entry; TABA_OK, or TABA_ENOMEM with nothing changed. */
int taba_hot_replace(taba_hot *hot, taba_hot_entry *entry, const uint8_t *state, size_t length);

#endif
