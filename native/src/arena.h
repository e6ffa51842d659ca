/* arena.h - memory for very many small blocks that live and die together: the Partials of an accumulator.
 *
 * Blocks are cut from chunks, one after another, without anything between them; a block that is given back waits in the
 * list of its size for the next of that size. Large blocks are the backing allocator's own. Emptying an arena touches its
 * chunks, not its blocks, and keeps the memory, so that what is filled next finds it in place.
 */
#ifndef TABA_ARENA_H
#define TABA_ARENA_H

#include "internal.h"

#define TABA_ARENA_LISTS 40

typedef struct taba_arena_chunk {
    struct taba_arena_chunk *next;
    size_t size;
} taba_arena_chunk;

/* Goes before each large block. */
typedef struct taba_arena_large {
    struct taba_arena_large *next, *before;
    size_t size, unused; /* of the block; keeps what follows aligned */
} taba_arena_large;

typedef struct taba_arena {
    taba_allocator allocator;       /* what gives blocks of this arena */
    const taba_allocator *backing;  /* where chunks come from */
    taba_arena_chunk *chunks;       /* the newest first */
    taba_arena_chunk *spare;        /* of an arena that was emptied: chunks to be used next */
    uint8_t *at, *end;              /* what is left of the newest chunk */
    void *given_back[TABA_ARENA_LISTS];
    taba_arena_large *large;
    size_t memory;                  /* bytes asked of the backing allocator */
    size_t used;                    /* bytes of chunks that have been begun, and of large blocks */
} taba_arena;

/* An empty arena at its place, which must not move; `backing` may be NULL and must outlive it. */
void taba_arena_init(taba_arena *arena, const taba_allocator *backing);

/* Forget all blocks. What they took is kept, all of it or, with `keep` false, nothing. */
void taba_arena_empty(taba_arena *arena, bool keep);

#endif
