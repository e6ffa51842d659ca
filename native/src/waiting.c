/* waiting.c - the Partials of one vbucket that wait for a checkpoint, and the checkpoint's fold.
 *
 * Of a batch, only what hot.c has the State of is taken here, and of that only what nothing is wrong with; the rest is
 * left to the caller, who decides about it one by one. Taken Partials stay where they are, in the batch. The fold goes
 * through the States tab by tab, so that all Partials of a tab stand together for its Aggregate.
 */
#include <stdlib.h>

#include "hot.h"
#include "section.h"
#include "sort.h"

#define MOST_EVENTS ((uint64_t)1 << 53)

/* One Partial. Those of a State are linked in the order in which they came. */
typedef struct row {
    const uint8_t *bytes;
    uint64_t events;
    uint32_t length;
    uint32_t next; /* the number of the next row of the State plus one, or 0 */
} row;

/* One State that Partials wait for. */
typedef struct touched {
    uint32_t tab;   /* first: by these two they are sorted */
    uint32_t order; /* in which it was touched */
    uint32_t entry;
    uint32_t first, last, count; /* rows */
    bool failed;
} touched;

struct taba_waiting {
    taba_allocator allocator;
    bool custom;
    row *rows;
    size_t count, room;
    touched *keys;
    size_t key_count, key_room;
    uint32_t *key_of; /* by the number of a hot entry: the number of its key plus one, or 0 */
    size_t key_of_room;
};

static const taba_allocator *allocator_of(const taba_waiting *w) { return w->custom ? &w->allocator : NULL; }

taba_waiting *taba_waiting_new(const taba_allocator *allocator) {
    taba_waiting *w = taba_resize(allocator, NULL, 0, sizeof *w);
    if (w == NULL)
        return NULL;
    memset(w, 0, sizeof *w);
    if (allocator != NULL) {
        w->allocator = *allocator;
        w->custom = true;
    }
    return w;
}

void taba_waiting_free(taba_waiting *w) {
    if (w == NULL)
        return;
    const taba_allocator allocator = w->allocator;
    const taba_allocator *a = w->custom ? &allocator : NULL;
    taba_release(a, w->rows, w->room * sizeof *w->rows);
    taba_release(a, w->keys, w->key_room * sizeof *w->keys);
    taba_release(a, w->key_of, w->key_of_room * sizeof *w->key_of);
    taba_release(a, w, sizeof *w);
}

size_t taba_waiting_count(const taba_waiting *w) { return w->count; }

size_t taba_waiting_memory(const taba_waiting *w) {
    return sizeof *w + w->room * sizeof *w->rows + w->key_room * sizeof *w->keys + w->key_of_room * sizeof *w->key_of;
}

/* ---------------------------------------------------------------------------------------------- taking */

/* Make room for all entries of a batch, and for a mark of every hot entry. */
static int reserve(taba_waiting *w, const taba_hot *hot, size_t more) {
    const taba_allocator *a = allocator_of(w);
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
        status = taba_array_reserve(a, &array, &w->key_of_room, hot->count, sizeof *w->key_of, 64);
        w->key_of = array;
    }
    if (w->key_of_room > marked)
        memset(w->key_of + marked, 0, (w->key_of_room - marked) * sizeof *w->key_of);
    return status;
}

/* Put one Partial behind those of its State. The room is there. */
static void add(taba_waiting *w, const taba_hot *hot, size_t entry, taba_blob partial, uint64_t events) {
    uint32_t number = w->key_of[entry];
    const row fresh = {partial.bytes, events, (uint32_t)partial.length, 0};
    if (number == 0) {
        const touched key = {hot->entries[entry].tab, (uint32_t)w->key_count, (uint32_t)entry, (uint32_t)w->count + 1,
                             0, 0, false};
        w->keys[w->key_count] = key;
        number = w->key_of[entry] = (uint32_t)++w->key_count;
    }
    touched *key = &w->keys[number - 1];
    w->rows[w->count] = fresh;
    if (key->last != 0)
        w->rows[key->last - 1].next = (uint32_t)w->count + 1;
    key->last = (uint32_t)++w->count;
    key->count++;
}

/* The hot entry of one entry of a batch, SIZE_MAX for none; `numbers` are of the batch's names. */
static size_t hot_entry(const taba_hot *hot, const uint32_t *numbers, const taba_batch_entry *from) {
    const uint32_t tab = numbers[from->name[0]], client = numbers[from->name[1]], type = numbers[from->name[2]];
    if (tab == UINT32_MAX || client == UINT32_MAX || type == UINT32_MAX)
        return SIZE_MAX;
    const size_t found = taba_hot_find(hot, tab, client);
    const bool fits = found != SIZE_MAX && hot->entries[found].state != NULL && hot->entries[found].type == type;
    return fits ? found : SIZE_MAX;
}

static int take(const taba_hot *hot, taba_waiting *w, const taba_batch *batch, const uint32_t *numbers, double newest,
                taba_buffer *left, uint64_t *events) {
    for (size_t i = 0; i < batch->entry_count; i++) {
        const taba_batch_entry *from = &batch->entry[i];
        const taba_entry entry = taba_batch_told(batch, from);
        const size_t found = hot_entry(hot, numbers, from);
        const bool sound = entry.status == TABA_OK && entry.events == entry.partial_events &&
                           entry.events <= MOST_EVENTS && entry.newest <= newest && from->length < UINT32_MAX;
        if (found == SIZE_MAX || !sound || entry.first_byte != (TABA_PARTIAL | hot->entries[found].kind)) {
            const int status = taba_buffer_append(left, &entry, sizeof entry);
            if (status != TABA_OK)
                return status;
            continue;
        }
        const taba_blob partial = {batch->bytes + from->at, from->length};
        add(w, hot, found, partial, entry.events);
        *events += entry.events;
    }
    return TABA_OK;
}

/* Take back all rows but the first `count`, and all keys but the first `key_count`. */
static void take_back(taba_waiting *w, size_t count, size_t key_count) {
    while (w->key_count > key_count)
        w->key_of[w->keys[--w->key_count].entry] = 0;
    for (size_t k = 0; k < w->key_count; k++) { /* out of memory: nobody minds how long it takes */
        touched *key = &w->keys[k];
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

int taba_hot_take(const taba_hot *hot, taba_waiting *w, taba_blob batch, double newest, taba_buffer *left,
                  uint64_t *events) {
    const taba_allocator *a = allocator_of(w);
    const size_t before = taba_buffer_length(left), count = w->count, key_count = w->key_count;
    taba_batch read;
    int status = taba_batch_read(batch, a, &read);
    if (status != TABA_OK)
        return status;
    uint32_t *numbers = taba_resize(a, NULL, 0, (read.name_count + 1) * sizeof *numbers);
    if (numbers == NULL)
        status = TABA_ENOMEM;
    for (size_t i = 0; status == TABA_OK && i < read.name_count; i++)
        numbers[i] = taba_hot_name_number(hot, read.bytes + read.name[i].at, read.name[i].length);
    if (status == TABA_OK)
        status = reserve(w, hot, read.entry_count);
    uint64_t taken = 0;
    if (status == TABA_OK) {
        status = take(hot, w, &read, numbers, newest, left, &taken);
        if (status != TABA_OK)
            take_back(w, count, key_count);
    }
    if (status == TABA_OK)
        *events = taken;
    else
        taba_buffer_truncate(left, before);
    taba_release(a, numbers, (read.name_count + 1) * sizeof *numbers);
    taba_batch_free(&read, a);
    return status;
}

/* ---------------------------------------------------------------------------------------------- giving back */

int taba_waiting_rows(const taba_waiting *w, const taba_hot *hot, int failed, taba_buffer *out) {
    const size_t before = taba_buffer_length(out);
    for (size_t k = 0; k < w->key_count; k++) {
        const touched *key = &w->keys[k];
        const taba_hot_entry *entry = &hot->entries[key->entry];
        if (failed && !key->failed)
            continue;
        for (uint32_t at = key->first; at != 0; at = w->rows[at - 1].next) {
            const row *from = &w->rows[at - 1];
            const taba_waiting_row one = {entry->tab, entry->client, entry->type, from->bytes, from->length,
                                          from->events};
            const int status = taba_buffer_append(out, &one, sizeof one);
            if (status != TABA_OK) {
                taba_buffer_truncate(out, before);
                return status;
            }
        }
    }
    return TABA_OK;
}

static int key_order(const void *left, const void *right) {
    const touched *x = left, *y = right;
    if (x->tab != y->tab)
        return x->tab < y->tab ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

int taba_waiting_tabs(taba_waiting *w, const taba_hot *hot, taba_buffer *out) {
    const uint32_t nobody = taba_hot_name_number(hot, (const uint8_t *)"", 0);
    taba_sort(w->keys, w->key_count, sizeof *w->keys, key_order);
    for (size_t k = 0; k < w->key_count; k++) {
        const touched *key = &w->keys[k];
        w->key_of[key->entry] = (uint32_t)k + 1;
        if ((k != 0 && w->keys[k - 1].tab == key->tab) || !hot->entries[key->entry].running)
            continue;
        const size_t at = nobody != UINT32_MAX ? taba_hot_find(hot, key->tab, nobody) : SIZE_MAX;
        if (at != SIZE_MAX && hot->entries[at].state != NULL)
            continue;
        const uint32_t told[2] = {key->tab, hot->entries[key->entry].type};
        const int status = taba_buffer_append(out, told, sizeof told);
        if (status != TABA_OK)
            return status;
    }
    return TABA_OK;
}

/* ---------------------------------------------------------------------------------------------- the fold */

typedef struct folding {
    taba_hot *hot;
    taba_waiting *w;
    taba_buffer *work, *states, *index;
    taba_blob *partials;
    size_t room;
} folding;

/* Put the Partials of a key behind the `n` that were gathered. */
static int gather(folding *f, const touched *key, size_t *n) {
    void *array = f->partials;
    const int status = taba_array_reserve(allocator_of(f->w), &array, &f->room, *n + key->count, sizeof *f->partials, 64);
    f->partials = array;
    if (status != TABA_OK)
        return status;
    for (uint32_t at = key->first; at != 0; at = f->w->rows[at - 1].next) {
        const taba_blob partial = {f->w->rows[at - 1].bytes, f->w->rows[at - 1].length};
        f->partials[(*n)++] = partial;
    }
    return TABA_OK;
}

/* Fold the `n` Partials at `partials` into an entry, and tell the new State. */
static int fold_into(folding *f, taba_hot_entry *entry, const taba_blob *partials, size_t n) {
    const taba_blob old = {entry->state, entry->length};
    taba_buffer_clear(f->work);
    int status = taba_fold(entry->kind, old, partials, n, f->work);
    if (status != TABA_OK)
        return status;
    const taba_hot_state told = {entry->tab, entry->client, taba_buffer_length(f->states), taba_buffer_length(f->work)};
    const uint8_t *bytes = taba_buffer_bytes(f->work);
    status = taba_buffer_reserve(f->index, sizeof told);
    if (status == TABA_OK)
        status = taba_buffer_append(f->states, bytes, told.length);
    if (status == TABA_OK)
        status = taba_hot_replace(f->hot, entry, bytes, told.length);
    if (status == TABA_OK)
        status = taba_buffer_append(f->index, &told, sizeof told);
    return status;
}

static bool is_fatal(int status) { return status == TABA_ENOMEM || status == TABA_ELIMIT; }

static int fold_states(folding *f) {
    for (size_t k = 0; k < f->w->key_count; k++) {
        touched *key = &f->w->keys[k];
        taba_hot_entry *entry = &f->hot->entries[key->entry];
        size_t n = 0;
        int status = entry->state != NULL ? gather(f, key, &n) : TABA_ECORRUPT;
        if (status == TABA_OK)
            status = fold_into(f, entry, f->partials, n);
        if (is_fatal(status))
            return status;
        key->failed = status != TABA_OK;
    }
    return TABA_OK;
}

/* The Aggregate of one tab, whose keys are those from `first` to before `end`. */
static int fold_aggregate(folding *f, size_t first, size_t end, uint32_t nobody, taba_buffer *damaged) {
    const uint32_t tab = f->w->keys[first].tab;
    size_t n = 0;
    bool running = false;
    for (size_t k = first; k < end; k++) {
        const touched *key = &f->w->keys[k];
        if (key->failed || !f->hot->entries[key->entry].running)
            continue;
        running = true;
        const int status = gather(f, key, &n);
        if (status != TABA_OK)
            return status;
    }
    const size_t at = running && nobody != UINT32_MAX ? taba_hot_find(f->hot, tab, nobody) : SIZE_MAX;
    if (!running)
        return TABA_OK;
    int status = at != SIZE_MAX && f->hot->entries[at].state != NULL
                     ? fold_into(f, &f->hot->entries[at], f->partials, n)
                     : TABA_ECORRUPT;
    if (status != TABA_OK && !is_fatal(status))
        status = taba_buffer_append(damaged, &tab, sizeof tab);
    return status;
}

static int fold_aggregates(folding *f, taba_buffer *damaged) {
    const taba_waiting *w = f->w;
    const uint32_t nobody = taba_hot_name_number(f->hot, (const uint8_t *)"", 0);
    int status = TABA_OK;
    for (size_t k = 0, end; k < w->key_count && status == TABA_OK; k = end) {
        for (end = k + 1; end < w->key_count && w->keys[end].tab == w->keys[k].tab;)
            end++;
        status = fold_aggregate(f, k, end, nobody, damaged);
    }
    return status;
}

int taba_hot_fold(taba_hot *hot, taba_waiting *w, int aggregates, taba_buffer *states, taba_buffer *index,
                  taba_buffer *damaged) {
    const taba_allocator *a = allocator_of(w);
    folding f = {hot, w, taba_buffer_new(a), states, index, NULL, 0};
    int status = f.work != NULL ? TABA_OK : TABA_ENOMEM;
    if (status == TABA_OK)
        status = aggregates ? fold_aggregates(&f, damaged) : fold_states(&f);
    taba_release(a, f.partials, f.room * sizeof *f.partials);
    taba_buffer_free(f.work);
    return status;
}
