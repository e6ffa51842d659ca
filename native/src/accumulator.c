/* accumulator.c - (tab, client, Type) -> Partial: its life, its size, its encoding. Merging is in merge.c. */
#include "accumulator.h"

#include "section.h"

taba_accumulator *taba_accumulator_new(const taba_allocator *allocator) {
    taba_accumulator *c = taba_resize(allocator, NULL, 0, sizeof *c);
    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof *c);
    c->custom = allocator != NULL;
    if (c->custom)
        c->allocator = *allocator;
    taba_arena_init(&c->partials, taba_accumulator_allocator(c));
    /* No result depends on it: it only keeps senders from knowing which names collide. */
    c->seed = taba_hash_join((uint64_t)(uintptr_t)c, (uint64_t)(uintptr_t)&allocator);
    return c;
}

/* Their memory goes, or is kept, without a look at each of them. */
static void forget_partials(taba_accumulator *c, bool keep) {
    taba_arena_empty(&c->partials, keep);
    c->count = 0;
    c->events = 0;
}

static void free_arrays(taba_accumulator *c) {
    const taba_allocator *a = taba_accumulator_allocator(c);
    taba_names_free(&c->names, a);
    taba_slots_free(&c->slots, a);
    taba_release(a, c->entries, c->room * sizeof *c->entries);
    taba_release(a, c->types, c->type_room * sizeof *c->types);
    taba_release(a, c->steps, c->step_room * sizeof *c->steps);
    taba_release(a, c->type_names, c->type_name_room * sizeof *c->type_names);
    c->entries = NULL;
    c->types = NULL;
    c->steps = NULL;
    c->type_names = NULL;
    c->count = c->room = c->type_count = c->type_room = c->step_room = c->type_name_room = 0;
}

void taba_accumulator_free(taba_accumulator *c) {
    if (c == NULL)
        return;
    const taba_allocator copy = c->allocator, *a = c->custom ? &copy : NULL;
    forget_partials(c, false);
    free_arrays(c);
    taba_release(a, c, sizeof *c);
}

void taba_accumulator_clear(taba_accumulator *c) {
    const size_t count = c->count, names = c->names.count;
    /* Room for what came this time is kept, not what some burst took long ago. */
    const bool kept = count >= c->room / 8 && names >= c->names.room / 8 && c->partials.used >= c->partials.memory / 8;
    forget_partials(c, kept);
    if (!kept) {
        free_arrays(c);
        return;
    }
    c->names.count = c->names.used = c->type_count = 0;
    if (count == 0)
        return;
    /* Neither can fail: the slots of as many records are there. */
    (void)taba_slots_restart(&c->names.slots, taba_accumulator_allocator(c), names);
    (void)taba_slots_restart(&c->slots, taba_accumulator_allocator(c), count);
}

void taba_accumulator_summary_of(const taba_accumulator *c, taba_accumulator_summary *out) {
    out->events = c->events;
    out->partials = c->count;
    out->of_partials = c->partials.memory;
    out->memory = sizeof *c + taba_names_memory(&c->names) + c->room * sizeof *c->entries +
                  c->slots.room * sizeof *c->slots.slot + c->type_room * sizeof *c->types +
                  c->step_room * sizeof *c->steps + c->type_name_room * sizeof *c->type_names + c->partials.memory;
}

/* ------------------------------------------------------------------------------------------- encoding */

static taba_entry_names entry_names(const void *owner, size_t i) {
    const taba_accumulator *c = owner;
    const taba_accumulated *from = &c->entries[i];
    const taba_entry_names names = {from->tab, from->client, from->type, 0, from->crc};
    return names;
}

static taba_blob entry_name(const void *owner, uint32_t number) {
    const taba_accumulator *c = owner;
    return taba_names_blob(&c->names, number);
}

static uint64_t entry_events(const void *owner, size_t i) {
    const taba_accumulator *c = owner;
    return taba_partial_events(c->entries[i].partial);
}

/* Sorted by vbucket, entries are all over the memory: fetching them one by one would take most of the time of encoding. */
static void entry_soon(const void *owner, size_t i) {
    const taba_accumulator *c = owner;
#ifdef __GNUC__
    __builtin_prefetch(c->entries[i].partial);
    __builtin_prefetch((const uint8_t *)c->entries[i].partial + 64);
#else
    (void)c;
    (void)i;
#endif
}

static int entry_append(const void *owner, size_t i, taba_buffer *out) {
    const taba_accumulator *c = owner;
    return taba_partial_encode(c->entries[i].partial, out);
}

int taba_accumulator_encode(const taba_accumulator *c, uint32_t num_vbuckets, taba_buffer *out, taba_buffer *index) {
    const taba_section_source source = {c,          c->count,   c->names.count, entry_names,
                                        entry_name, entry_events, entry_append,   entry_soon};
    return taba_sections_write(&source, num_vbuckets, taba_accumulator_allocator(c), out, index);
}
