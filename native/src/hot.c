/* hot.c - the States and running Aggregates of one vbucket that a be keeps in memory, by (tab, client).
 *
 * Names are numbered, so that a (tab, client) is found by two numbers, and each is kept once however many States have
 * it. Entries are only added; what is forgotten leaves its place, until a sweep builds the table anew.
 */
#include "hot.h"

const taba_allocator *taba_hot_allocator(const taba_hot *hot) { return hot->custom ? &hot->allocator : NULL; }

taba_hot *taba_hot_new(const taba_allocator *allocator) {
    taba_hot *hot = taba_resize(allocator, NULL, 0, sizeof *hot);
    if (hot == NULL)
        return NULL;
    memset(hot, 0, sizeof *hot);
    if (allocator != NULL) {
        hot->allocator = *allocator;
        hot->custom = true;
    }
    hot->seed = (uint64_t)(uintptr_t)hot * 0x9e3779b97f4a7c15ull; /* names come from the network */
    return hot;
}

static void release_all(taba_hot *hot) {
    const taba_allocator *a = taba_hot_allocator(hot);
    for (size_t i = 0; i < hot->count; i++)
        if (hot->entries[i].state != NULL)
            taba_release(a, hot->entries[i].state, (size_t)hot->entries[i].length + 1);
    taba_release(a, hot->entries, hot->room * sizeof *hot->entries);
    taba_slots_free(&hot->slots, a);
    taba_names_free(&hot->names, a);
}

void taba_hot_free(taba_hot *hot) {
    if (hot == NULL)
        return;
    const taba_allocator allocator = hot->allocator;
    const taba_allocator *a = hot->custom ? &allocator : NULL;
    release_all(hot);
    taba_release(a, hot, sizeof *hot);
}

size_t taba_hot_memory(const taba_hot *hot) {
    return sizeof *hot + hot->room * sizeof *hot->entries + hot->slots.room * sizeof *hot->slots.slot +
           taba_names_memory(&hot->names) + hot->states;
}

size_t taba_hot_names(const taba_hot *hot) { return hot->names.count; }

int taba_hot_name(const taba_hot *hot, size_t number, taba_blob *out) {
    if (number >= hot->names.count)
        return TABA_EDOMAIN;
    *out = taba_names_blob(&hot->names, (uint32_t)number);
    return TABA_OK;
}

uint32_t taba_hot_name_number(const taba_hot *hot, const uint8_t *bytes, size_t length) {
    const uint64_t hash = taba_hash(bytes, length, hot->seed);
    for (taba_probe p = taba_slots_find(&hot->names.slots, hash); taba_slots_next(&hot->names.slots, &p);)
        if (taba_names_equal(&hot->names, (uint32_t)p.number, bytes, length))
            return (uint32_t)p.number;
    return UINT32_MAX;
}

static uint64_t pair_hash(const taba_hot *hot, uint32_t tab, uint32_t client) {
    return taba_hash_join((uint64_t)tab << 32 | client, hot->seed);
}

size_t taba_hot_find(const taba_hot *hot, uint32_t tab, uint32_t client) {
    const uint64_t hash = pair_hash(hot, tab, client);
    for (taba_probe p = taba_slots_find(&hot->slots, hash); taba_slots_next(&hot->slots, &p);)
        if (hot->entries[p.number].tab == tab && hot->entries[p.number].client == client)
            return p.number;
    return SIZE_MAX;
}

/* The entry of two names as they come, or NULL. */
static taba_hot_entry *entry_of(const taba_hot *hot, taba_blob tab, taba_blob client) {
    const uint32_t t = taba_hot_name_number(hot, tab.bytes, tab.length);
    const uint32_t c = t != UINT32_MAX ? taba_hot_name_number(hot, client.bytes, client.length) : UINT32_MAX;
    const size_t found = c != UINT32_MAX ? taba_hot_find(hot, t, c) : SIZE_MAX;
    return found != SIZE_MAX ? &hot->entries[found] : NULL;
}

int taba_hot_replace(taba_hot *hot, taba_hot_entry *entry, const uint8_t *state, size_t length) {
    const size_t old = entry->state != NULL ? (size_t)entry->length + 1 : 0;
    if (length >= UINT32_MAX)
        return TABA_ELIMIT;
    if (old != length + 1) {
        /* One byte more than it has: so an empty State is not NULL. */
        uint8_t *moved = taba_resize(taba_hot_allocator(hot), entry->state, old, length + 1);
        if (moved == NULL)
            return TABA_ENOMEM;
        entry->state = moved;
        hot->states += length + 1 - old;
    }
    if (length != 0)
        memcpy(entry->state, state, length);
    entry->length = (uint32_t)length;
    entry->used = true;
    return TABA_OK;
}

/* Find or make the entry of two numbered names. */
static int make_entry(taba_hot *hot, uint32_t tab, uint32_t client, size_t *number) {
    const taba_allocator *a = taba_hot_allocator(hot);
    *number = taba_hot_find(hot, tab, client);
    if (*number != SIZE_MAX)
        return TABA_OK;
    if (hot->count >= TABA_RECORDS_MAX)
        return TABA_ENOMEM;
    void *array = hot->entries;
    int status = taba_array_reserve(a, &array, &hot->room, hot->count + 1, sizeof *hot->entries, 16);
    hot->entries = array;
    if (status == TABA_OK)
        status = taba_slots_reserve(&hot->slots, a, hot->count + 1, hot->entries, sizeof *hot->entries, hot->count);
    if (status != TABA_OK)
        return status;
    taba_hot_entry fresh;
    memset(&fresh, 0, sizeof fresh);
    fresh.hash = pair_hash(hot, tab, client);
    fresh.tab = tab;
    fresh.client = client;
    taba_slots_add(&hot->slots, fresh.hash, hot->count);
    hot->entries[hot->count] = fresh;
    *number = hot->count++;
    return TABA_OK;
}

static int number_name(taba_hot *hot, taba_blob name, uint32_t *number) {
    return taba_names_number(&hot->names, taba_hot_allocator(hot), name.bytes, name.length,
                             taba_hash(name.bytes, name.length, hot->seed), number);
}

int taba_hot_put(taba_hot *hot, taba_blob tab, taba_blob client, taba_blob type, int kind, int running, taba_blob state) {
    uint32_t t, c, n;
    size_t at = 0;
    if (kind < 1 || kind >= TABA_PARTIAL || tab.length > TABA_NAME_MAX || client.length > TABA_NAME_MAX)
        return TABA_EDOMAIN;
    int status = number_name(hot, tab, &t);
    if (status == TABA_OK)
        status = number_name(hot, client, &c);
    if (status == TABA_OK)
        status = number_name(hot, type, &n);
    if (status == TABA_OK)
        status = make_entry(hot, t, c, &at);
    if (status != TABA_OK)
        return status;
    taba_hot_entry *entry = &hot->entries[at];
    status = taba_hot_replace(hot, entry, state.bytes, state.length);
    if (status == TABA_OK) {
        entry->type = n;
        entry->kind = (uint8_t)kind;
        entry->running = running != 0;
    }
    return status;
}

int taba_hot_update(taba_hot *hot, taba_blob tab, taba_blob client, const taba_blob *state, int *found) {
    taba_hot_entry *entry = entry_of(hot, tab, client);
    *found = entry != NULL && entry->state != NULL;
    if (!*found)
        return TABA_OK;
    if (state != NULL)
        return taba_hot_replace(hot, entry, state->bytes, state->length);
    taba_release(taba_hot_allocator(hot), entry->state, (size_t)entry->length + 1);
    hot->states -= (size_t)entry->length + 1;
    entry->state = NULL;
    return TABA_OK;
}

int taba_hot_get(const taba_hot *hot, taba_blob tab, taba_blob client, taba_blob *out) {
    const taba_hot_entry *entry = entry_of(hot, tab, client);
    const bool here = entry != NULL && entry->state != NULL;
    out->bytes = here ? entry->state : NULL;
    out->length = here ? entry->length : 0;
    return TABA_OK;
}

/* Put one entry of `from`, with its State, into `to`. */
static int move_entry(taba_hot *to, const taba_hot *from, const taba_hot_entry *entry) {
    const taba_blob state = {entry->state, entry->length};
    return taba_hot_put(to, taba_names_blob(&from->names, entry->tab), taba_names_blob(&from->names, entry->client),
                        taba_names_blob(&from->names, entry->type), entry->kind, entry->running, state);
}

int taba_hot_sweep(taba_hot *hot, int keep) {
    taba_hot *anew = taba_hot_new(taba_hot_allocator(hot));
    int status = anew != NULL ? TABA_OK : TABA_ENOMEM;
    for (size_t i = 0; keep && i < hot->count && status == TABA_OK; i++)
        if (hot->entries[i].state != NULL && hot->entries[i].used)
            status = move_entry(anew, hot, &hot->entries[i]);
    if (status == TABA_OK) {
        const taba_hot old = *hot;
        *hot = *anew;
        *anew = old;
        for (size_t i = 0; i < hot->count; i++)
            hot->entries[i].used = false;
    }
    taba_hot_free(anew);
    return status;
}
