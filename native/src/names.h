/* names.h - names of clients, tabs and Types: which are allowed, their hashes, and a table that keeps each once. */
#ifndef TABA_NAMES_H
#define TABA_NAMES_H

#include "internal.h"
#include "slots.h"

/* The longest name that a batch can carry, in bytes. */
#define TABA_NAME_MAX 512

/* Whether this is a name: 1 to `max` bytes of A-Z a-z 0-9 and . _ ~ : / ? @ ! $ ( ) * + ; = - */
bool taba_name_valid(const uint8_t *bytes, size_t length, size_t max);

/* A hash of 64 bits, good in all of them; another one for every seed. No result depends on it, only speed. */
uint64_t taba_hash(const uint8_t *bytes, size_t length, uint64_t seed);

/* One hash out of two; taba_hash_join(x, y) is not taba_hash_join(y, x). */
uint64_t taba_hash_join(uint64_t x, uint64_t y);

typedef struct taba_name {
    uint64_t hash; /* first, as slots.h wants it */
    size_t at;     /* where its bytes begin in taba_names.bytes */
    uint32_t length;
    uint32_t crc;  /* taba_crc32(0, name) */
} taba_name;

/* The table: names are numbered from 0 in the order in which they came. All zeros when empty. */
typedef struct taba_names {
    taba_name *name;
    size_t count, room;
    uint8_t *bytes;
    size_t used, bytes_room;
    taba_slots slots;
} taba_names;

void taba_names_free(taba_names *names, const taba_allocator *a);

/* The number of a name with its hash into *number, which it is given if it is new. TABA_OK, or TABA_ENOMEM with nothing
 * changed. */
int taba_names_number(taba_names *names, const taba_allocator *a, const uint8_t *bytes, size_t length, uint64_t hash,
                      uint32_t *number);

/* Take the newest names out until `count` are left. */
void taba_names_cut(taba_names *names, size_t count);

/* The bytes of all arrays. */
size_t taba_names_memory(const taba_names *names);

static inline bool taba_names_equal(const taba_names *names, uint32_t number, const uint8_t *bytes, size_t length) {
    const taba_name *name = &names->name[number];
    return name->length == length && memcmp(names->bytes + name->at, bytes, length) == 0;
}

static inline taba_blob taba_names_blob(const taba_names *names, uint32_t number) {
    const taba_blob blob = {names->bytes + names->name[number].at, names->name[number].length};
    return blob;
}

#endif
