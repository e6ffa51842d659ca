/* waiting_fold.c - the fold of a checkpoint. It goes through the States tab by tab, so that all Partials of a tab stand
 * together for its Aggregate.
 */
#include "waiting.h"

typedef struct folding {
    taba_hot *hot;
    taba_waiting *w;
    taba_buffer *work, *states, *index;
    taba_blob *partials;
    size_t room;
} folding;

/* Put the Partials of a key behind the `n` that were gathered. */
static int gather(folding *f, const taba_touched *key, size_t *n) {
    void *array = f->partials;
    const taba_allocator *a = taba_waiting_allocator(f->w);
    const int status = taba_array_reserve(a, &array, &f->room, *n + key->count, sizeof *f->partials, 64);
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
    const taba_blob old = {entry->state, entry->state != NULL ? entry->length : 0};
    taba_buffer_clear(f->work);
    int status = taba_fold(entry->kind, old, partials, n, f->work);
    if (status != TABA_OK)
        return status;
    const taba_hot_state told = {entry->tab, entry->client, taba_buffer_length(f->states), taba_buffer_length(f->work),
                                 !entry->stored};
    const uint8_t *bytes = taba_buffer_bytes(f->work);
    status = taba_buffer_reserve(f->index, sizeof told);
    if (status == TABA_OK)
        status = taba_buffer_append(f->states, bytes, told.length);
    if (status == TABA_OK)
        status = taba_hot_replace(f->hot, entry, bytes, told.length);
    if (status == TABA_OK)
        status = taba_buffer_append(f->index, &told, sizeof told);
    if (status == TABA_OK)
        entry->stored = true;
    return status;
}

static bool is_fatal(int status) { return status == TABA_ENOMEM || status == TABA_ELIMIT; }

static int fold_states(folding *f) {
    for (size_t k = 0; k < f->w->key_count; k++) {
        taba_touched *key = &f->w->keys[k];
        taba_hot_entry *entry = &f->hot->entries[key->entry];
        size_t n = 0;
        int status = gather(f, key, &n);
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
        const taba_touched *key = &f->w->keys[k];
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
    const taba_allocator *a = taba_waiting_allocator(w);
    folding f = {hot, w, taba_buffer_new(a), states, index, NULL, 0};
    int status = f.work != NULL ? TABA_OK : TABA_ENOMEM;
    if (status == TABA_OK)
        status = aggregates ? fold_aggregates(&f, damaged) : fold_states(&f);
    taba_release(a, f.partials, f.room * sizeof *f.partials);
    taba_buffer_free(f.work);
    return status;
}
