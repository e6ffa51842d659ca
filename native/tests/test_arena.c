/* test_arena.c - memory for many small blocks: that blocks never overlap, keep their bytes, and are all given back. */
#include "arena.h"
#include "test.h"

#define BLOCKS 300

typedef struct block {
    uint8_t *at;
    size_t size;
    uint8_t mark;
} block;

static void check_block(const block *b) {
    for (size_t i = 0; i < b->size; i++)
        CHECK(b->at[i] == b->mark);
}

/* Mostly small, some beyond the largest that comes from a chunk. */
static size_t some_size(void) {
    const size_t limits[] = {16, 64, 256, 2000, 16384, 60000};
    return 1 + test_below(limits[test_below(6)]);
}

/* Give a block another size, or make it, or give it back, by chance. */
static void change(const taba_allocator *a, block *b) {
    const size_t size = test_below(5) == 0 ? 0 : some_size();
    uint8_t *moved = taba_resize(a, b->at, b->size, b->at == NULL && size == 0 ? 1 : size);
    if (size == 0 && b->at != NULL) {
        CHECK(moved == NULL);
        b->at = NULL;
        b->size = 0;
        return;
    }
    CHECK(moved != NULL && (uintptr_t)moved % 16 == 0);
    b->at = moved;
    const size_t held = b->size < size ? b->size : size;
    for (size_t i = 0; i < held; i++)
        CHECK(moved[i] == b->mark);
    b->size = size > 0 ? size : 1;
    memset(moved, b->mark, b->size);
}

static void blocks_keep_what_is_in_them(void) {
    test_memory m;
    taba_arena arena;
    test_memory_init(&m);
    taba_arena_init(&arena, &m.allocator);
    for (int round = 0; round < 6; round++) {
        block blocks[BLOCKS];
        for (size_t i = 0; i < BLOCKS; i++)
            blocks[i] = (block){NULL, 0, (uint8_t)(i * 7 + 1)};
        for (int i = 0; i < 4000; i++) {
            block *b = &blocks[test_below(BLOCKS)];
            check_block(b);
            change(&arena.allocator, b);
            CHECK(arena.memory == m.live && arena.used <= arena.memory);
        }
        for (size_t i = 0; i < BLOCKS; i++)
            check_block(&blocks[i]);
        taba_arena_empty(&arena, round % 3 != 2);
        CHECK(arena.memory == m.live && arena.used == 0 && (round % 3 != 2 || m.live == 0));
    }
    taba_arena_empty(&arena, false);
    CHECK(m.live == 0);
}

static void memory_that_is_kept_is_used_again(void) {
    test_memory m;
    taba_arena arena;
    test_memory_init(&m);
    taba_arena_init(&arena, &m.allocator);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10000; i++)
            CHECK(taba_resize(&arena.allocator, NULL, 0, 48) != NULL);
        const size_t live = m.live;
        CHECK(live < 10000 * 48 * 2);
        taba_arena_empty(&arena, true);
        CHECK(m.live == live && (round == 0 || m.calls < 20));
    }
    taba_arena_empty(&arena, false);
    CHECK(m.live == 0);
}

static void running_out_of_memory_leaves_all_blocks(void) {
    for (size_t fail_at = 1; fail_at < 30; fail_at++) {
        test_memory m;
        taba_arena arena;
        test_memory_init(&m);
        m.fail_at = fail_at;
        taba_arena_init(&arena, &m.allocator);
        block blocks[40];
        for (size_t i = 0; i < 40; i++) {
            const size_t size = some_size();
            blocks[i] = (block){taba_resize(&arena.allocator, NULL, 0, size), 0, (uint8_t)(i + 1)};
            if (blocks[i].at == NULL)
                continue;
            blocks[i].size = size;
            memset(blocks[i].at, blocks[i].mark, size);
        }
        for (size_t i = 0; i < 40; i++)
            check_block(&blocks[i]);
        taba_arena_empty(&arena, false);
        CHECK(m.live == 0);
    }
}

int main(void) {
    test_seed(20261122);
    RUN(blocks_keep_what_is_in_them);
    RUN(memory_that_is_kept_is_used_again);
    RUN(running_out_of_memory_leaves_all_blocks);
    return 0;
}
