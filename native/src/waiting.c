/* waiting.c - the Partials of one vbucket that wait for a checkpoint: what there is of them. */
#include "waiting.h"

#include "sort.h"

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

/* ---------------------------------------------------------------------------------------------- giving back */

int taba_waiting_rows(const taba_waiting *w, const taba_hot *hot, int failed, taba_buffer *out) {
    const size_t before = taba_buffer_length(out);
    for (size_t k = 0; k < w->key_count; k++) {
        const taba_touched *key = &w->keys[k];
        const taba_hot_entry *entry = &hot->entries[key->entry];
        if (failed && !key->failed)
            continue;
        for (uint32_t at = key->first; at != 0; at = w->rows[at - 1].next) {
            const taba_row *from = &w->rows[at - 1];
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

int taba_waiting_vacant(const taba_waiting *w, const taba_hot *hot, taba_buffer *out) {
    for (size_t k = 0; k < w->key_count; k++) {
        const taba_hot_entry *entry = &hot->entries[w->keys[k].entry];
        const uint32_t told[3] = {w->keys[k].entry, entry->tab, entry->client};
        const int status = entry->state == NULL ? taba_buffer_append(out, told, sizeof told) : TABA_OK;
        if (status != TABA_OK)
            return status;
    }
    return TABA_OK;
}

static int key_order(const void *left, const void *right) {
    const taba_touched *x = left, *y = right;
    if (x->tab != y->tab)
        return x->tab < y->tab ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

int taba_waiting_tabs(taba_waiting *w, const taba_hot *hot, taba_buffer *out) {
    const uint32_t nobody = taba_hot_name_number(hot, (const uint8_t *)"", 0);
    taba_sort(w->keys, w->key_count, sizeof *w->keys, key_order);
    for (size_t k = 0; k < w->key_count; k++) {
        const taba_touched *key = &w->keys[k];
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
