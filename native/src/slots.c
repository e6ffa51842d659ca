/* slots.c - a hash index over records kept elsewhere; see slots.h. At most two thirds of the slots are taken. */
#include "slots.h"

#define LEAST_SLOTS 16

/* The number of slots for `count` records: a power of two. False if that is more than memory can hold. */
static bool slots_for(size_t count, size_t *out) {
    size_t slots = LEAST_SLOTS;
    if (count > TABA_RECORDS_MAX || count > SIZE_MAX / (4 * sizeof(uint64_t)))
        return false;
    while (slots / 3 * 2 < count)
        slots *= 2;
    *out = slots;
    return true;
}

static void clear(uint64_t *slot, size_t count) {
    memset(slot, 0, count * sizeof *slot);
}

int taba_slots_restart(taba_slots *s, const taba_allocator *a, size_t count) {
    size_t slots;
    if (!slots_for(count, &slots))
        return TABA_ENOMEM;
    if (slots > s->room) {
        uint64_t *fresh = taba_resize(a, NULL, 0, slots * sizeof *fresh);
        if (fresh == NULL)
            return TABA_ENOMEM;
        taba_slots_free(s, a);
        s->slot = fresh;
        s->room = slots;
    }
    s->used = slots;
    clear(s->slot, slots);
    return TABA_OK;
}

int taba_slots_reserve(taba_slots *s, const taba_allocator *a, size_t count, const void *records, size_t size, size_t present) {
    const uint8_t *record = records;
    if (s->used / 3 * 2 >= count)
        return TABA_OK;
    const int status = taba_slots_restart(s, a, count);
    if (status != TABA_OK)
        return status;
    for (size_t i = 0; i < present; i++, record += size) {
        uint64_t hash;
        memcpy(&hash, record, sizeof hash);
        taba_slots_add(s, hash, i);
    }
    return TABA_OK;
}

void taba_slots_free(taba_slots *s, const taba_allocator *a) {
    taba_release(a, s->slot, s->room * sizeof *s->slot);
    s->slot = NULL;
    s->room = s->used = 0;
}

void taba_slots_add(taba_slots *s, uint64_t hash, size_t number) {
    size_t at = (size_t)hash & (s->used - 1);
    while (s->slot[at] != 0)
        at = (at + 1) & (s->used - 1);
    s->slot[at] = hash >> 32 << 32 | (uint64_t)(number + 1);
}

void taba_slots_drop(taba_slots *s, uint64_t hash, size_t number) {
    size_t at = (size_t)hash & (s->used - 1);
    while ((s->slot[at] & 0xffffffffu) != number + 1)
        at = (at + 1) & (s->used - 1);
    s->slot[at] = 0;
}
