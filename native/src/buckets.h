/* buckets.h - counts per bucket: per sign a dense array over the indices between the lowest and the highest occupied
 * one, at the scale in force.
 *
 *        base                    base + room
 *          | 0 0 0 3 1 0 7 ... 2 0 0 |           counts[index - base]
 *                  low         high              both occupied; low > high: no bucket is
 *
 * When one of them comes to span more than TABA_SKETCH_BUCKETS indices both are halved in place: index >> 1. All room
 * is made by taba_buckets_reserve; whatever changes the counts allocates nothing and cannot fail.
 *
 * Counts have 16 bits as long as there is room for no more than 65,535 values, so that those of many tabs stay in a
 * processor's first caches; then they are widened to 64 bits, once and for good.
 */
#ifndef TABA_BUCKETS_H
#define TABA_BUCKETS_H

#include "extent.h"

typedef struct taba_span {
    void *counts;       /* of uint16_t, or of uint64_t once `wide` */
    int32_t base, room;
    int32_t low, high;
    bool wide;
} taba_span;

/* The count of an index that has room. */
static inline uint64_t taba_span_count(const taba_span *s, int32_t index) {
    const int32_t place = index - s->base;
    return s->wide ? ((const uint64_t *)s->counts)[place] : ((const uint16_t *)s->counts)[place];
}

typedef struct taba_buckets {
    uint64_t count, zeros;
    double sum, min, max;
    int shift;          /* 6 - scale */
    taba_span sign[2];  /* the positive values, the negative ones */
} taba_buckets;

/* Without a value and without room, at scale 6. */
void taba_buckets_init(taba_buckets *b);
void taba_buckets_release(taba_buckets *b, const taba_allocator *a);
size_t taba_buckets_memory(const taba_buckets *b); /* bytes beyond the struct itself */
taba_extent taba_buckets_extent(const taba_buckets *b);

/* Room for all of `x`, which includes what is there, its number too. If x is at a coarser scale the way there is made at once, by
 * taba_buckets_halve, or else value by value (`stepwise`), where any span within the limit may occur on the way.
 * TABA_OK or TABA_ENOMEM. */
int taba_buckets_reserve(taba_buckets *b, const taba_allocator *a, const taba_extent *x, bool stepwise);

/* Go to the next coarser scale. */
void taba_buckets_halve(taba_buckets *b);

/* The sums of values by their times: to total[0] those before `border`, to total[1] the others, of which there are
 * `later`; each in their order. A sum that is infinite, or no number, at the end is to be made otherwise. */
typedef struct taba_two_sums {
    const double *times; /* of the values that come next */
    double border;
    double total[2];
    uint64_t later;
} taba_two_sums;

void taba_two_sums_add(taba_two_sums *sums, const double *values, size_t n);

/* Add `n` finite values, 1 at least, which lie between `least` and `most`, themselves among the values of b or these;
 * there is at least one value already. Also add them to `sums`, if that is not NULL. */
void taba_buckets_add(taba_buckets *b, const double *values, size_t n, double least, double most, taba_two_sums *sums);

/* Add `n` values, 1 at least, in ascending order; their sum is added as one. */
void taba_buckets_add_exact(taba_buckets *b, const double *sorted, size_t n);

/* Add all of `other`, which is at no coarser scale. */
void taba_buckets_merge(taba_buckets *b, const taba_buckets *other);

/* For the decoder: let low..high of a sign that has no value be occupied. Returns where their counts, 0 so far, are
 * to be written, low first; NULL when out of memory. */
uint64_t *taba_buckets_make_span(taba_buckets *b, const taba_allocator *a, int sign, int32_t low, int32_t high);

#endif
