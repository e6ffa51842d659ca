/* series.h - arrays of records in ascending order of an index, without duplicates: the buckets of a level, the minutes
 * of a Partial. Most records are added at the end, or are there already; a lookup tries those first.
 *
 * A record is a struct of `size` bytes that begins with an int64_t, its index. A series does not hold its allocator.
 */
#ifndef TABA_SERIES_H
#define TABA_SERIES_H

#include "internal.h"

typedef struct taba_series {
    void *records;
    uint32_t n, room;
} taba_series;

void taba_series_init(taba_series *s);
void taba_series_release(taba_series *s, const taba_allocator *a, size_t size);
size_t taba_series_memory(const taba_series *s, size_t size);

static inline void *taba_series_at(const taba_series *s, size_t size, size_t position) {
    return (uint8_t *)s->records + position * size;
}

static inline int64_t taba_series_index(const taba_series *s, size_t size, size_t position) {
    return *(const int64_t *)taba_series_at(s, size, position);
}

/* The position of the first record whose index is not below `index`: that of the record itself if there is one. `hint`
 * is the position where it is thought to be. */
size_t taba_series_seek(const taba_series *s, size_t size, int64_t index, size_t hint);

/* Whether the record at `position`, from taba_series_seek, is that of `index`. */
bool taba_series_is(const taba_series *s, size_t size, size_t position, int64_t index);

/* Room for `more` records. TABA_OK or TABA_ENOMEM. */
int taba_series_reserve(taba_series *s, const taba_allocator *a, size_t size, size_t more);

/* The record of `index`; a new one, zero but for the index, where there is none yet. NULL when out of memory.
 * *position is the hint, and gets the record's position. */
void *taba_series_place(taba_series *s, const taba_allocator *a, size_t size, int64_t index, size_t *position);

/* Let there be records, new ones zero but for the index, for all buckets of `width` seconds that the times lie in:
 * valid times in any order, O(n log n). TABA_ENOMEM: some new ones may be there. */
int taba_series_cover(taba_series *s, const taba_allocator *a, size_t size, const double *times, size_t n,
                      int64_t width);

/* Remove the first `n` records; what they own has been released. */
void taba_series_drop(taba_series *s, size_t size, size_t n);

#endif
