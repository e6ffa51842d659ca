/* ulevel.c - the encoding of distinct values per bucket of time: uvarint n, then (index, uvarint count, set) n times. */
#include "ulevel.h"

int taba_ulevel_put_front(taba_buffer *out, int64_t index, const int64_t *before, uint64_t count) {
    const int status = taba_slevel_put_index(out, index, before);
    return status == TABA_OK ? taba_put_uvarint(out, count) : status;
}

int taba_ulevel_encode(const taba_series *slots, taba_buffer *out) {
    const taba_uslot *slot = slots->records;
    const int64_t *before = NULL;
    uint64_t n = 0;
    for (size_t i = 0; i < slots->n; i++)
        n += slot[i].count != 0;
    int status = taba_put_uvarint(out, n);
    for (size_t i = 0; i < slots->n && status == TABA_OK; i++) {
        if (slot[i].count == 0)
            continue;
        status = taba_ulevel_put_front(out, slot[i].index, before, slot[i].count);
        if (status == TABA_OK)
            status = taba_hll_encode(&slot[i].set, out);
        before = &slot[i].index;
    }
    return status;
}

void taba_ulevel_release(taba_series *slots, const taba_allocator *a) {
    taba_uslot *slot = slots->records;
    for (size_t i = 0; i < slots->n; i++)
        taba_hll_release(&slot[i].set, a);
    taba_series_release(slots, a, sizeof *slot);
}

size_t taba_ulevel_memory(const taba_series *slots) {
    const taba_uslot *slot = slots->records;
    size_t bytes = taba_series_memory(slots, sizeof *slot);
    for (size_t i = 0; i < slots->n; i++)
        bytes += taba_hll_memory(&slot[i].set);
    return bytes;
}

int taba_ulevel_read(taba_slevel_reader *r, taba_hll *set, const taba_allocator *a) {
    uint64_t least = 0;
    int status = taba_get_uvarint(r->c, &r->entry);
    r->raw.bytes = r->c->at;
    if (status == TABA_OK)
        status = taba_hll_read(r->c, set, a, &least);
    if (status != TABA_OK)
        return status;
    if (r->entry < least || r->entry > TABA_COUNT_MAX - r->count)
        return TABA_ECORRUPT;
    r->raw.length = (size_t)(r->c->at - r->raw.bytes);
    r->count += r->entry;
    r->left--;
    return TABA_OK;
}
