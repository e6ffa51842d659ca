/* hot.h - the States and running Aggregates of one vbucket that a be keeps in memory, as hot.c has them and waiting.c
 * folds into them.
 */
#ifndef TABA_HOT_H
#define TABA_HOT_H

#include "names.h"

/* One State, or, with an empty client, one Aggregate. Entries are never taken out: one that is forgotten has no bytes,
 * and its place waits for the State to come back or for taba_hot_sweep. One may be made without bytes, too: then Partials
 * wait for it, and it is to be filled before they are folded. */
typedef struct taba_hot_entry {
    uint64_t hash; /* of tab and client; first, as slots.h wants it */
    uint32_t tab, client, type; /* numbers of names */
    uint32_t length;
    uint8_t *state;  /* NULL when it is not here; never NULL with an empty State */
    uint8_t kind;    /* TABA_COUNTER_GROUP ... */
    bool running;    /* whether the tab's Aggregate is a fold of all its Partials */
    bool used;       /* since the last sweep */
    bool stored;     /* whether the store has it, or will by a checkpoint under way */
} taba_hot_entry;

/* What is known of a tab; all zeros when nothing is. */
typedef struct taba_hot_tab {
    uint32_t type; /* the number of its name */
    uint8_t kind;  /* TABA_COUNTER_GROUP ...; 0: its Partials are the caller's */
    bool running;  /* as above */
    bool known;
} taba_hot_tab;

struct taba_hot {
    taba_allocator allocator;
    bool custom;
    uint64_t seed;
    taba_names names;
    taba_hot_entry *entries;
    size_t count, room;
    taba_slots slots;
    size_t states; /* bytes of the States */
    taba_hot_tab *tabs; /* by the number of the tab's name; nothing is known of those beyond */
    size_t tab_room;
};

const taba_allocator *taba_hot_allocator(const taba_hot *hot);

/* The entry of two names, or SIZE_MAX. */
size_t taba_hot_find(const taba_hot *hot, uint32_t tab, uint32_t client);

/* Find or make the entry of two numbered names. TABA_OK or TABA_ENOMEM. */
int taba_hot_make(taba_hot *hot, uint32_t tab, uint32_t client, size_t *number);

/* What is known of a tab, or NULL. */
static inline const taba_hot_tab *taba_hot_tab_of(const taba_hot *hot, uint32_t tab) {
    return tab < hot->tab_room && hot->tabs[tab].known ? &hot->tabs[tab] : NULL;
}

/* The number of a name, which is given one if it has none. TABA_OK or TABA_ENOMEM. */
int taba_hot_number(taba_hot *hot, taba_blob name, uint32_t *number);

/* The number of a name, or UINT32_MAX when it has none. */
uint32_t taba_hot_name_number(const taba_hot *hot, const uint8_t *bytes, size_t length);

/* Replace the bytes of an entry; TABA_OK, or TABA_ENOMEM with nothing changed. */
int taba_hot_replace(taba_hot *hot, taba_hot_entry *entry, const uint8_t *state, size_t length);

#endif
