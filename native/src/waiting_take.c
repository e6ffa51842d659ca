/* waiting_take.c - taking Partials from batches.
 *
 * Of a batch, only what hot.c has the State of is taken here, or what is of a tab whose Type hot.c knows: then the State has
 * its place there, and waits to be filled. Of that only what nothing is wrong with; the rest is left to the caller, who
 * decides about it one by one. Taken Partials stay where they are, in the batch.
 */
#include "section.h"
#include "waiting.h"

#define MOST_EVENTS ((uint64_t)1 << 53)

/* Make room for so many entries, and for a mark of every hot entry, those that may be made for them among these. */
static int reserve(taba_waiting *w, const taba_hot *hot, size_t more) {
    const taba_allocator *a = taba_waiting_allocator(w);
    if (w->count + more >= UINT32_MAX)
        return TABA_ELIMIT;
    void *array = w->rows;
    int status = taba_array_reserve(a, &array, &w->room, w->count + more, sizeof *w->rows, 64);
    w->rows = array;
    if (status == TABA_OK) {
        array = w->keys;
        status = taba_array_reserve(a, &array, &w->key_room, w->key_count + more, sizeof *w->keys, 64);
        w->keys = array;
    }
    const size_t marked = w->key_of_room;
    if (status == TABA_OK) {
        array = w->key_of;
        status = taba_array_reserve(a, &array, &w->key_of_room, hot->count + more, sizeof *w->key_of, 64);
        w->key_of = array;
    }
    if (w->key_of_room > marked)
        memset(w->key_of + marked, 0, (w->key_of_room - marked) * sizeof *w->key_of);
    return status;
}

/* Put one Partial behind those of its State. The room is there. */
static void add(taba_waiting *w, const taba_hot *hot, size_t entry, taba_blob partial, uint64_t events) {
    uint32_t number = w->key_of[entry];
    const taba_row fresh = {partial.bytes, events, (uint32_t)partial.length, 0};
    if (number == 0) {
        const taba_touched key = {hot->entries[entry].tab, (uint32_t)w->key_count, (uint32_t)entry, (uint32_t)w->count + 1,
                             0, 0, false};
        w->keys[w->key_count] = key;
        number = w->key_of[entry] = (uint32_t)++w->key_count;
    }
    taba_touched *key = &w->keys[number - 1];
    w->rows[w->count] = fresh;
    if (key->last != 0)
        w->rows[key->last - 1].next = (uint32_t)w->count + 1;
    key->last = (uint32_t)++w->count;
    key->count++;
}

/* The names of one Partial: their numbers, UINT32_MAX for one that has none; and the client's, which may get one. */
typedef struct names {
    uint32_t tab, *client, type;
    taba_blob client_name;
} names;

/* Find or make the hot entry that a Partial is to wait for, SIZE_MAX for none; nothing is wrong with the Partial but for,
 * perhaps, its kind. */
static int place_of(taba_hot *hot, const names *of, int first_byte, size_t *place) {
    *place = SIZE_MAX;
    if (of->tab == UINT32_MAX || of->type == UINT32_MAX)
        return TABA_OK;
    const size_t found = *of->client != UINT32_MAX ? taba_hot_find(hot, of->tab, *of->client) : SIZE_MAX;
    if (found != SIZE_MAX && hot->entries[found].state != NULL) {
        const taba_hot_entry *entry = &hot->entries[found];
        *place = entry->type == of->type && first_byte == (TABA_PARTIAL | entry->kind) ? found : SIZE_MAX;
        return TABA_OK;
    }
    const taba_hot_tab *tab = taba_hot_tab_of(hot, of->tab);
    if (tab == NULL || tab->kind == 0 || tab->type != of->type || first_byte != (TABA_PARTIAL | tab->kind) ||
        !taba_name_valid(of->client_name.bytes, of->client_name.length, TABA_NAME_MAX))
        return TABA_OK; /* a client that is no name stands for something else */
    int status = *of->client != UINT32_MAX ? TABA_OK : taba_hot_number(hot, of->client_name, of->client);
    if (status == TABA_OK)
        status = taba_hot_make(hot, of->tab, *of->client, place);
    if (status == TABA_OK) {
        hot->entries[*place].type = tab->type;
        hot->entries[*place].kind = tab->kind;
        hot->entries[*place].running = tab->running;
    }
    return status;
}

/* Take one Partial, if it can be; *taken tells. */
static int take_one(taba_hot *hot, taba_waiting *w, const taba_entry *entry, const uint8_t *batch, double newest,
                    const names *of, bool *taken) {
    size_t place = SIZE_MAX;
    const bool sound = entry->status == TABA_OK && entry->events == entry->partial_events &&
                       entry->events <= MOST_EVENTS && entry->newest <= newest && entry->partial_length < UINT32_MAX;
    const int status = sound ? place_of(hot, of, entry->first_byte, &place) : TABA_OK;
    *taken = status == TABA_OK && place != SIZE_MAX;
    if (*taken) {
        const taba_blob partial = {batch + entry->partial, entry->partial_length};
        add(w, hot, place, partial, entry->events);
    }
    return status;
}

/* A batch being taken: its names' numbers, and of which tabs it was told already that they are not known. */
typedef struct taking {
    taba_hot *hot;
    taba_waiting *w;
    const taba_batch *batch;
    uint32_t *numbers;
    bool *asked;
    double newest;
    taba_buffer *left, *unknown;
} taking;

/* Leave an entry to the caller, and tell that its tab is not known, once for each. */
static int leave(const taking *t, const taba_batch_entry *from, const taba_entry *entry) {
    const uint64_t position = taba_buffer_length(t->left) / sizeof *entry;
    int status = taba_buffer_append(t->left, entry, sizeof *entry);
    if (status != TABA_OK || t->asked[from->name[0]] || taba_hot_tab_of(t->hot, t->numbers[from->name[0]]) != NULL)
        return status;
    t->asked[from->name[0]] = true;
    return taba_buffer_append(t->unknown, &position, sizeof position);
}

static int take(const taking *t, uint64_t *events) {
    for (size_t i = 0; i < t->batch->entry_count; i++) {
        const taba_batch_entry *from = &t->batch->entry[i];
        const taba_batch_name *client = &t->batch->name[from->name[1]];
        const taba_entry entry = taba_batch_told(t->batch, from);
        const names of = {t->numbers[from->name[0]], &t->numbers[from->name[1]], t->numbers[from->name[2]],
                          {t->batch->bytes + client->at, client->length}};
        bool taken;
        int status = take_one(t->hot, t->w, &entry, t->batch->bytes, t->newest, &of, &taken);
        if (status == TABA_OK && !taken)
            status = leave(t, from, &entry);
        if (status != TABA_OK)
            return status;
        *events += taken ? entry.events : 0;
    }
    return TABA_OK;
}

/* Take back all rows but the first `count`, and all keys but the first `key_count`. */
static void take_back(taba_waiting *w, size_t count, size_t key_count) {
    while (w->key_count > key_count)
        w->key_of[w->keys[--w->key_count].entry] = 0;
    for (size_t k = 0; k < w->key_count; k++) { /* out of memory: nobody minds how long it takes */
        taba_touched *key = &w->keys[k];
        uint32_t at = key->first;
        key->count = 0;
        for (; at != 0 && at <= count; at = w->rows[at - 1].next) {
            key->last = at;
            key->count++;
        }
        if (key->last != 0)
            w->rows[key->last - 1].next = 0;
    }
    w->count = count;
}

int taba_hot_take(taba_hot *hot, taba_waiting *w, taba_blob batch, double newest, taba_buffer *left, taba_buffer *unknown,
                  uint64_t *events) {
    const taba_allocator *a = taba_waiting_allocator(w);
    const size_t before = taba_buffer_length(left), before_unknown = taba_buffer_length(unknown);
    const size_t count = w->count, key_count = w->key_count;
    uint64_t taken = 0;
    taba_batch read;
    int status = taba_batch_read(batch, a, &read);
    if (status != TABA_OK)
        return status;
    taking t = {hot, w, &read, NULL, NULL, newest, left, unknown};
    t.numbers = taba_resize(a, NULL, 0, (read.name_count + 1) * sizeof *t.numbers);
    t.asked = taba_resize(a, NULL, 0, (read.name_count + 1) * sizeof *t.asked);
    if (t.numbers == NULL || t.asked == NULL)
        status = TABA_ENOMEM;
    for (size_t i = 0; status == TABA_OK && i < read.name_count; i++) {
        t.numbers[i] = taba_hot_name_number(hot, read.bytes + read.name[i].at, read.name[i].length);
        t.asked[i] = false;
    }
    if (status == TABA_OK)
        status = reserve(w, hot, read.entry_count);
    if (status == TABA_OK) {
        status = take(&t, &taken);
        if (status != TABA_OK)
            take_back(w, count, key_count);
    }
    if (status == TABA_OK) {
        *events = taken;
    } else {
        taba_buffer_truncate(left, before);
        taba_buffer_truncate(unknown, before_unknown);
    }
    taba_release(a, t.numbers, (read.name_count + 1) * sizeof *t.numbers);
    taba_release(a, t.asked, (read.name_count + 1) * sizeof *t.asked);
    taba_batch_free(&read, a);
    return status;
}

/* ---------------------------------------------------------------------------------------------- what was left */

static int take_left(taba_hot *hot, taba_waiting *w, taba_blob batch, double newest, const taba_buffer *left,
                     taba_buffer *out, uint64_t *events) {
    const uint8_t *rows = taba_buffer_bytes(left);
    for (size_t at = 0; at < taba_buffer_length(left); at += sizeof(taba_entry)) {
        taba_entry entry;
        memcpy(&entry, rows + at, sizeof entry);
        uint32_t client = taba_hot_name_number(hot, batch.bytes + entry.client, entry.client_length);
        const names of = {taba_hot_name_number(hot, batch.bytes + entry.tab, entry.tab_length), &client,
                          taba_hot_name_number(hot, batch.bytes + entry.type, entry.type_length),
                          {batch.bytes + entry.client, entry.client_length}};
        bool taken;
        int status = take_one(hot, w, &entry, batch.bytes, newest, &of, &taken);
        if (status == TABA_OK && !taken)
            status = taba_buffer_append(out, &entry, sizeof entry);
        if (status != TABA_OK)
            return status;
        *events += taken ? entry.events : 0;
    }
    return TABA_OK;
}

int taba_hot_take_left(taba_hot *hot, taba_waiting *w, taba_blob batch, double newest, const taba_buffer *left,
                       taba_buffer *out, uint64_t *events) {
    const size_t before = taba_buffer_length(out), count = w->count, key_count = w->key_count;
    uint64_t taken = 0;
    int status = reserve(w, hot, taba_buffer_length(left) / sizeof(taba_entry));
    if (status != TABA_OK)
        return status;
    status = take_left(hot, w, batch, newest, left, out, &taken);
    if (status == TABA_OK) {
        *events = taken;
    } else {
        taba_buffer_truncate(out, before);
        take_back(w, count, key_count);
    }
    return status;
}
