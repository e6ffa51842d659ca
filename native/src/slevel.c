/* slevel.c - the encoding of distributions per bucket of time: uvarint n, then (index, sketch) n times. */
#include "slevel.h"

#include "window.h"

int taba_slevel_put_index(taba_buffer *out, int64_t index, const int64_t *before) {
    if (before == NULL)
        return taba_put_svarint(out, index);
    return taba_put_uvarint(out, (uint64_t)(index - *before - 1));
}

int taba_slevel_encode(const taba_series *slots, taba_buffer *out) {
    const taba_slot *slot = slots->records;
    const int64_t *before = NULL;
    uint64_t n = 0;
    for (size_t i = 0; i < slots->n; i++)
        n += taba_dist_count(&slot[i].dist) != 0;
    int status = taba_put_uvarint(out, n);
    for (size_t i = 0; i < slots->n && status == TABA_OK; i++) {
        if (taba_dist_count(&slot[i].dist) == 0)
            continue;
        status = taba_slevel_put_index(out, slot[i].index, before);
        if (status == TABA_OK)
            status = taba_dist_encode(&slot[i].dist, out);
        before = &slot[i].index;
    }
    return status;
}

void taba_slevel_release(taba_series *slots, const taba_allocator *a) {
    taba_slot *slot = slots->records;
    for (size_t i = 0; i < slots->n; i++)
        taba_dist_release(&slot[i].dist, a);
    taba_series_release(slots, a, sizeof *slot);
}

int taba_slevel_open(taba_slevel_reader *r, taba_cursor *c, int64_t width) {
    memset(r, 0, sizeof *r);
    r->c = c;
    r->width = width;
    int status = taba_get_uvarint(c, &r->n);
    if (status == TABA_OK && r->n > taba_cursor_left(c) / 4) /* an entry takes four bytes or more */
        return TABA_ECORRUPT;
    r->left = r->n;
    return status;
}

int taba_slevel_next(taba_slevel_reader *r) {
    int64_t index = 0;
    uint64_t step = 0;
    bool first = r->left == r->n;
    int status = first ? taba_get_svarint(r->c, &index) : taba_get_uvarint(r->c, &step);
    if (status != TABA_OK)
        return status;
    if (step > 2 * (uint64_t)TABA_SECONDS_MAX)
        return TABA_ECORRUPT;
    if (!first)
        index = r->index + 1 + (int64_t)step;
    else
        r->first = index;
    r->index = index;
    return index < taba_index_least(r->width) || index > taba_index_greatest(r->width) ? TABA_ECORRUPT : TABA_OK;
}

int taba_slevel_read(taba_slevel_reader *r, taba_dist *d, const taba_allocator *a) {
    r->raw.bytes = r->c->at;
    int status = taba_dist_read(r->c, d, a, &r->entry);
    if (status != TABA_OK)
        return status;
    if (r->entry == 0 || r->entry > TABA_COUNT_MAX - r->count) {
        if (d != NULL)
            taba_dist_release(d, a);
        return TABA_ECORRUPT;
    }
    r->raw.length = (size_t)(r->c->at - r->raw.bytes);
    r->count += r->entry;
    r->left--;
    return TABA_OK;
}
