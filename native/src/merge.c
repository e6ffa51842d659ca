/* merge.c - folding a scratch into an accumulator: all of it or, when memory runs out, none.
 *
 * The first step finds or makes the entry of every block, by hashes computed once per block, not once per event, and
 * reserves in its Partial room for its events. It may run out of memory, and then takes back the entries, names and Types
 * it made, newest first. The second step folds, which cannot fail.
 *
 * Numbers of an entry that the merge itself has made are folded in the first step already, while its memory is in the
 * processor's cache: if the merge fails, the entry goes with all that is in it.
 *
 * A scratch may have several blocks of one entry. The first step links them. Those of numbers are put together and then
 * treated as one: a Partial makes places for all its buckets at once in time that grows with their number, but one block
 * after another in time that grows with its square.
 */
#include "accumulator.h"
#include "scratch.h"

/* What a merge is about, and what to go back to if it fails. */
typedef struct merge {
    taba_accumulator *c;
    const taba_scratch *s;
    size_t names, entries, types; /* how many there were */
    size_t prepared;              /* blocks that have their entries */
    size_t client;                /* where the client's name of the last block begins in the scratch */
    uint64_t client_hash;
    double *times, *values;       /* the events of entries of numbers that have several blocks, put together */
    size_t gathered, used;        /* how many there are, and how many of them are in their places */
} merge;

/* Note the Type's name and kind, if it is new; TABA_ETYPE if that name is of another kind. *name gets the number of the
 * name. */
static int find_type(merge *m, size_t type, uint32_t *name) {
    taba_accumulator *c = m->c;
    const taba_allocator *a = taba_accumulator_allocator(c);
    const taba_scratch_type *from = &m->s->types[type];
    const uint8_t *bytes = m->s->names + from->name;
    if (c->type_names[type] != TABA_NO_NAME) {
        *name = c->type_names[type];
        return TABA_OK;
    }
    int status = taba_names_number(&c->names, a, bytes, from->length, taba_hash(bytes, from->length, c->seed), name);
    if (status != TABA_OK)
        return status;
    size_t i = 0;
    while (i < c->type_count && c->types[i].name != *name)
        i++;
    if (i == c->type_count) {
        void *array = c->types;
        status = taba_array_reserve(a, &array, &c->type_room, c->type_count + 1, sizeof *c->types, 8);
        c->types = array;
        if (status != TABA_OK)
            return status;
        c->types[i].name = *name;
        c->types[i].kind = from->kind;
        c->type_count++;
    }
    if (c->types[i].kind != from->kind)
        return TABA_ETYPE;
    c->type_names[type] = *name;
    return TABA_OK;
}

/* Make room for one more entry. */
static int reserve_entry(taba_accumulator *c) {
    const taba_allocator *a = taba_accumulator_allocator(c);
    void *array = c->entries;
    const int status = c->count < TABA_RECORDS_MAX
                           ? taba_array_reserve(a, &array, &c->room, c->count + 1, sizeof *c->entries, 16)
                           : TABA_ENOMEM;
    c->entries = array;
    if (status != TABA_OK)
        return status;
    return taba_slots_reserve(&c->slots, a, c->count + 1, c->entries, sizeof *c->entries, c->count);
}

/* Make the entry of a block, with an empty Partial. */
static int add_entry(merge *m, const taba_block *block, uint64_t tab_hash, uint32_t type, uint64_t hash) {
    taba_accumulator *c = m->c;
    const taba_allocator *a = taba_accumulator_allocator(c);
    taba_accumulated fresh = {hash, 0, 0, type, 0, 0, NULL};
    int status = reserve_entry(c);
    if (status == TABA_OK)
        status = taba_names_number(&c->names, a, m->s->names + block->tab, block->tab_length, tab_hash, &fresh.tab);
    if (status == TABA_OK)
        status = taba_names_number(&c->names, a, m->s->names + block->client, block->client_length, m->client_hash,
                                   &fresh.client);
    if (status != TABA_OK)
        return status;
    fresh.partial = taba_partial_new(m->s->types[block->type].kind, &c->partials.allocator);
    if (fresh.partial == NULL)
        return TABA_ENOMEM;
    taba_slots_add(&c->slots, hash, c->count);
    fresh.crc = c->names.name[fresh.tab].crc;
    c->entries[c->count++] = fresh;
    return TABA_OK;
}

/* The number of a block's entry, which is made if it is new. */
static int find_entry(merge *m, const taba_block *block, uint32_t *number) {
    taba_accumulator *c = m->c;
    const uint8_t *names = m->s->names;
    uint32_t type;
    const int status = find_type(m, block->type, &type);
    if (status != TABA_OK)
        return status;
    if (block->client != m->client) {
        m->client = block->client;
        m->client_hash = taba_hash(names + block->client, block->client_length, c->seed);
    }
    const uint64_t tab_hash = taba_hash(names + block->tab, block->tab_length, c->seed);
    const uint64_t hash = taba_hash_join(taba_hash_join(tab_hash, m->client_hash), type ^ c->seed);
    for (taba_probe p = taba_slots_find(&c->slots, hash); taba_slots_next(&c->slots, &p);) {
        const taba_accumulated *found = &c->entries[p.number];
        if (found->hash == hash && found->type == type &&
            taba_names_equal(&c->names, found->tab, names + block->tab, block->tab_length) &&
            taba_names_equal(&c->names, found->client, names + block->client, block->client_length)) {
            *number = (uint32_t)p.number;
            return TABA_OK;
        }
    }
    *number = (uint32_t)c->count;
    return add_entry(m, block, tab_hash, type, hash);
}

/* The first step of a merge, first part: the entry of a block, to whose blocks it is added. */
static int prepare(merge *m, size_t i) {
    taba_accumulator *c = m->c;
    taba_merge_step *step = &c->steps[i];
    step->entry = TABA_NO_ENTRY;
    step->next = 0;
    step->first = false;
    m->prepared = i + 1;
    if (m->s->blocks[i].count == 0)
        return TABA_OK;
    uint32_t number;
    const int status = find_entry(m, &m->s->blocks[i], &number);
    if (status != TABA_OK)
        return status;
    taba_accumulated *entry = &c->entries[number];
    step->entry = number;
    step->first = entry->last == 0;
    if (!step->first)
        c->steps[entry->last - 1].next = (uint32_t)i;
    entry->last = (uint32_t)i + 1;
    return TABA_OK;
}

/* Reserve for the structured events of an entry: block i and those that follow it. */
static int reserve_structured(const merge *m, taba_partial *partial, size_t i) {
    const taba_scratch *s = m->s;
    const bool raw = s->types[s->blocks[i].type].kind == TABA_RAW;
    size_t events = 0, bytes = 0;
    do {
        const taba_block *block = &s->blocks[i];
        for (size_t j = block->first; j < block->first + block->count; j++) {
            const size_t length = s->structured[j].length;
            if (raw)
                bytes += length;
            else
                bytes = length > bytes ? length : bytes; /* a Gauge keeps one of them */
        }
        events += block->count;
        i = m->c->steps[i].next;
    } while (i != 0);
    return taba_partial_reserve_json(partial, &m->c->partials.allocator, events, bytes);
}

/* Whether block i is the first of several of an entry of numbers. */
static bool is_gathered(const merge *m, size_t i) {
    const taba_merge_step *step = &m->c->steps[i];
    return step->first && step->next != 0 && taba_kind_has_columns(m->s->types[m->s->blocks[i].type].kind);
}

/* Make room for the columns of all entries that have several blocks. */
static int reserve_columns(merge *m) {
    const taba_allocator *a = taba_accumulator_allocator(m->c);
    size_t n = 0;
    for (size_t i = 0; i < m->s->block_count; i++) {
        if (!is_gathered(m, i))
            continue;
        size_t j = i;
        do {
            n += m->s->blocks[j].count;
            j = m->c->steps[j].next;
        } while (j != 0);
    }
    if (n == 0)
        return TABA_OK;
    m->gathered = n; /* the scratch holds as many numbers, so the product does not overflow */
    m->times = taba_resize(a, NULL, 0, n * sizeof *m->times);
    m->values = taba_resize(a, NULL, 0, n * sizeof *m->values);
    return m->times != NULL && m->values != NULL ? TABA_OK : TABA_ENOMEM;
}

/* Put the blocks of an entry of numbers, of which i is the first, together into one; returns the number of its events. */
static size_t gather(merge *m, size_t i) {
    const taba_scratch *s = m->s;
    const size_t start = m->used;
    m->c->steps[i].gathered = start;
    do {
        const taba_block *block = &s->blocks[i];
        memcpy(m->times + m->used, s->times + block->first, block->count * sizeof *m->times);
        memcpy(m->values + m->used, s->values + block->first, block->count * sizeof *m->values);
        m->used += block->count;
        i = m->c->steps[i].next;
    } while (i != 0);
    return m->used - start;
}

/* Whether this merge has made the entry of a block. */
static bool is_new(const merge *m, const taba_merge_step *step) {
    return step->entry >= m->entries;
}

/* Within what the events of an entry lie, of which block i is the first or only one, and which are these. */
static taba_ranges ranges_of(const merge *m, size_t i, const double *times, const double *values, size_t n) {
    const uint32_t known = m->c->steps[i].next == 0 ? m->s->blocks[i].ranges : 0;
    const taba_ranges none = {0, 0, 0, 0};
    if (m->s->types[m->s->blocks[i].type].kind == TABA_UNIQUE_GROUP)
        return none; /* it does not ask for them */
    return known != 0 ? m->s->ranges[known - 1] : taba_ranges_of(times, values, n);
}

/* The first step of a merge, second part: if block i is the first of its entry, room for all events of the entry. */
static int reserve(merge *m, size_t i) {
    const taba_allocator *a = &m->c->partials.allocator;
    const taba_merge_step *step = &m->c->steps[i];
    const taba_block *block = &m->s->blocks[i];
    if (!step->first)
        return TABA_OK;
    taba_partial *partial = m->c->entries[step->entry].partial;
    if (!taba_kind_has_columns(m->s->types[block->type].kind))
        return reserve_structured(m, partial, i);
    const double *times = m->s->times + block->first, *values = m->s->values + block->first;
    size_t n = block->count;
    if (step->next != 0) {
        n = gather(m, i);
        times = m->times + step->gathered;
        values = m->values + step->gathered;
    }
    const taba_ranges ranges = ranges_of(m, i, times, values, n);
    const int status = taba_partial_reserve_within(partial, a, times, values, n, &ranges); /* the scratch's are valid */
    if (status == TABA_OK && is_new(m, step))
        taba_partial_fold_within(partial, times, values, n, &ranges);
    return status;
}

/* The entries of the blocks prepared are as they were between merges. */
static void unlink_blocks(const merge *m) {
    for (size_t i = 0; i < m->prepared; i++) {
        if (m->c->steps[i].first)
            m->c->entries[m->c->steps[i].entry].last = 0;
    }
}

/* Take back what the first step of a merge has made. */
static void undo(merge *m) {
    taba_accumulator *c = m->c;
    while (c->count > m->entries) {
        taba_accumulated *last = &c->entries[--c->count];
        taba_slots_drop(&c->slots, last->hash, c->count);
        taba_partial_free(last->partial, &c->partials.allocator);
    }
    taba_names_cut(&c->names, m->names);
    c->type_count = m->types;
}

/* Fold the numbers of block i, and, if it is the first of several, of those that follow it. */
static void fold_numbers(const merge *m, size_t i, taba_partial *partial) {
    const taba_merge_step *step = &m->c->steps[i];
    const taba_block *block = &m->s->blocks[i];
    if (!step->first || is_new(m, step))
        return; /* it went with the first one, or in the first step */
    if (step->next == 0) {
        const double *times = m->s->times + block->first, *values = m->s->values + block->first;
        const taba_ranges ranges = ranges_of(m, i, times, values, block->count);
        taba_partial_fold_within(partial, times, values, block->count, &ranges);
        return;
    }
    size_t n = 0;
    do {
        n += m->s->blocks[i].count;
        i = m->c->steps[i].next;
    } while (i != 0);
    taba_partial_fold(partial, m->times + step->gathered, m->values + step->gathered, n);
}

/* The second step of a merge, for one block; returns the next stamp. */
static uint64_t fold(const merge *m, size_t i, uint64_t stamp) {
    const taba_scratch *s = m->s;
    const taba_block *block = &s->blocks[i];
    if (block->count == 0)
        return stamp;
    taba_partial *partial = m->c->entries[m->c->steps[i].entry].partial;
    m->c->events += block->count;
    if (taba_kind_has_columns(s->types[block->type].kind)) {
        fold_numbers(m, i, partial);
        return stamp;
    }
    for (const taba_structured *event = &s->structured[block->first], *end = event + block->count; event < end; event++)
        taba_partial_fold_json(partial, event->time, stamp++, s->payloads + event->at, event->length);
    return stamp;
}

/* Make the work space of a merge. */
static int reserve_steps(taba_accumulator *c, const taba_scratch *s) {
    const taba_allocator *a = taba_accumulator_allocator(c);
    void *array = c->steps;
    if (s->block_count > TABA_RECORDS_MAX)
        return TABA_ENOMEM;
    int status = taba_array_reserve(a, &array, &c->step_room, s->block_count, sizeof *c->steps, 64);
    c->steps = array;
    if (status != TABA_OK)
        return status;
    array = c->type_names;
    status = taba_array_reserve(a, &array, &c->type_name_room, s->type_count, sizeof *c->type_names, 8);
    c->type_names = array;
    for (size_t i = 0; i < s->type_count && status == TABA_OK; i++)
        c->type_names[i] = TABA_NO_NAME;
    return status;
}

int taba_accumulator_merge(taba_accumulator *c, const taba_scratch *s, uint64_t stamp, uint64_t *next_stamp) {
    merge m = {c, s, c->names.count, c->count, c->type_count, 0, SIZE_MAX, 0, NULL, NULL, 0, 0};
    if (s->open)
        return TABA_EDOMAIN; /* half a body, or one that was refused */
    int status = reserve_steps(c, s);
    for (size_t i = 0; i < s->block_count && status == TABA_OK; i++)
        status = prepare(&m, i);
    if (status == TABA_OK)
        status = reserve_columns(&m);
    for (size_t i = 0; i < s->block_count && status == TABA_OK; i++)
        status = reserve(&m, i);
    unlink_blocks(&m);
    for (size_t i = 0; i < s->block_count && status == TABA_OK; i++)
        stamp = fold(&m, i, stamp);
    if (status == TABA_OK)
        *next_stamp = stamp;
    else
        undo(&m);
    taba_release(taba_accumulator_allocator(c), m.times, m.gathered * sizeof *m.times);
    taba_release(taba_accumulator_allocator(c), m.values, m.gathered * sizeof *m.values);
    return status;
}
