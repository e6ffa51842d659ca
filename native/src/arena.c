/* arena.c - see arena.h.
 *
 * Sizes are rounded up to multiples of 16 up to 256 bytes, and beyond that to quarters of a power of two, so that little
 * of a block is wasted and a block that grows often has the room already. Chunks double in size up to LARGEST_CHUNK.
 */
#include "arena.h"

#define LEAST_CHUNK 1024
#define LARGEST_CHUNK ((size_t)256 << 10)
#define LARGEST_BLOCK ((size_t)16 << 10)
#define STEP 16
#define STEPS 16 /* the lists of multiples of STEP; quarters follow */

/* The size that a block of this size takes, and its list; only up to LARGEST_BLOCK. */
static size_t room_of(size_t size, size_t *list) {
    if (size <= STEP * STEPS) {
        *list = size == 0 ? 0 : (size - 1) / STEP;
        return (*list + 1) * STEP;
    }
    size_t power = STEP * STEPS, number = STEPS;
    while (power * 2 < size) {
        power *= 2;
        number += 4;
    }
    const size_t quarter = power / 4, quarters = (size - power + quarter - 1) / quarter; /* 1 to 4 */
    *list = number + quarters - 1;
    return power + quarters * quarter;
}

/* Begin another chunk. */
static bool begin_chunk(taba_arena *arena) {
    taba_arena_chunk *chunk = arena->spare;
    if (chunk != NULL) {
        arena->spare = chunk->next;
    } else {
        size_t size = arena->chunks != NULL ? arena->chunks->size * 2 : LEAST_CHUNK;
        if (size > LARGEST_CHUNK)
            size = LARGEST_CHUNK;
        chunk = taba_resize(arena->backing, NULL, 0, size);
        if (chunk == NULL)
            return false;
        chunk->size = size;
        arena->memory += size;
    }
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->used += chunk->size;
    arena->at = (uint8_t *)(chunk + 1);
    arena->end = (uint8_t *)chunk + chunk->size;
    return true;
}

static void *take(taba_arena *arena, size_t size) {
    size_t list;
    const size_t room = room_of(size, &list);
    void *block = arena->given_back[list];
    if (block != NULL) {
        memcpy(&arena->given_back[list], block, sizeof(void *));
        return block;
    }
    while ((size_t)(arena->end - arena->at) < room) { /* what is left of the chunk stays unused; it may be too small */
        if (!begin_chunk(arena))
            return NULL;
    }
    block = arena->at;
    arena->at += room;
    return block;
}

static void give_back(taba_arena *arena, void *block, size_t size) {
    size_t list;
    (void)room_of(size, &list);
    memcpy(block, &arena->given_back[list], sizeof(void *));
    arena->given_back[list] = block;
}

/* ------------------------------------------------------------------------------------------- large blocks */

/* Put a large block, which has moved perhaps or is new, in its place in the list. */
static void *linked(taba_arena *arena, taba_arena_large *large) {
    if (large->next != NULL)
        large->next->before = large;
    if (large->before != NULL)
        large->before->next = large;
    else
        arena->large = large;
    return large + 1;
}

static void drop_large(taba_arena *arena, taba_arena_large *large) {
    const size_t whole = large->size + sizeof *large;
    if (large->next != NULL)
        large->next->before = large->before;
    if (large->before != NULL)
        large->before->next = large->next;
    else
        arena->large = large->next;
    arena->memory -= whole;
    arena->used -= whole;
    taba_release(arena->backing, large, whole);
}

static void *resize_large(taba_arena *arena, void *block, size_t new_size) {
    const taba_arena_large fresh = {arena->large, NULL, 0, 0};
    taba_arena_large *large = block != NULL ? (taba_arena_large *)block - 1 : NULL;
    const size_t before = block != NULL ? large->size + sizeof *large : 0;
    if (new_size > PTRDIFF_MAX - sizeof *large)
        return NULL;
    large = taba_resize(arena->backing, large, before, new_size + sizeof *large);
    if (large == NULL)
        return NULL;
    if (block == NULL)
        *large = fresh;
    large->size = new_size;
    arena->memory += new_size + sizeof *large - before;
    arena->used += new_size + sizeof *large - before;
    return linked(arena, large);
}

/* ------------------------------------------------------------------------------------------- the allocator */

/* As taba_allocator has it. */
static void *resize(void *context, void *block, size_t old_size, size_t new_size) {
    taba_arena *arena = context;
    size_t old_list, new_list;
    const bool was_large = block != NULL && old_size > LARGEST_BLOCK, is_large = new_size > LARGEST_BLOCK;
    if (new_size == 0) {
        if (was_large)
            drop_large(arena, (taba_arena_large *)block - 1);
        else if (block != NULL)
            give_back(arena, block, old_size);
        return NULL;
    }
    if (block != NULL && !was_large && !is_large && room_of(old_size, &old_list) == room_of(new_size, &new_list))
        return block;
    if (is_large && (block == NULL || was_large))
        return resize_large(arena, block, new_size);
    void *moved = is_large ? resize_large(arena, NULL, new_size) : take(arena, new_size);
    if (moved == NULL || block == NULL)
        return moved;
    memcpy(moved, block, old_size < new_size ? old_size : new_size);
    (void)resize(context, block, old_size, 0);
    return moved;
}

void taba_arena_init(taba_arena *arena, const taba_allocator *backing) {
    memset(arena, 0, sizeof *arena);
    arena->allocator.resize = resize;
    arena->allocator.context = arena;
    arena->backing = backing;
}

static void free_chunks(taba_arena *arena, taba_arena_chunk *chunk) {
    while (chunk != NULL) {
        taba_arena_chunk *next = chunk->next;
        taba_release(arena->backing, chunk, chunk->size);
        chunk = next;
    }
}

void taba_arena_empty(taba_arena *arena, bool keep) {
    taba_arena_chunk *chunks = arena->chunks, *spare = arena->spare;
    const taba_allocator *backing = arena->backing;
    size_t memory = arena->memory;
    while (arena->large != NULL) {
        memory -= arena->large->size + sizeof *arena->large;
        drop_large(arena, arena->large);
    }
    while (keep && chunks != NULL) { /* the oldest and smallest come first again */
        taba_arena_chunk *next = chunks->next;
        chunks->next = spare;
        spare = chunks;
        chunks = next;
    }
    if (!keep) {
        free_chunks(arena, chunks);
        free_chunks(arena, spare);
    }
    taba_arena_init(arena, backing);
    arena->spare = keep ? spare : NULL;
    arena->memory = keep ? memory : 0;
}
