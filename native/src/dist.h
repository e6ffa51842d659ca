/* dist.h - the distribution of a multiset of numbers: what a taba_sketch, a minute of a Partial and a bucket of a
 * PercentileGroup hold. It does not hold its allocator: pass the same one always.
 *
 * Up to TABA_SKETCH_EXACT values are kept as they came. With the next one they are spilled: counted in buckets.
 */
#ifndef TABA_DIST_H
#define TABA_DIST_H

#include "buckets.h"

/* The largest count of a distribution: a level's token keeps (count - 1) << 3. More is TABA_EDOMAIN, or corrupt. */
#define TABA_COUNT_MAX (UINT64_C(1) << 61)

typedef struct taba_dist {
    double *values;                   /* the exact values, in the order they came; kept for nothing once spilled */
    taba_buckets *buckets;            /* in use once spilled; may be prepared before */
    int32_t due_low[2], due_high[2];  /* the indices, at scale 6, of values for which room was reserved */
    uint32_t due;                     /* how many values those are; stops at UINT32_MAX */
    uint8_t n, room;                  /* exact values, and how many have room */
    bool spilled;                     /* whether `buckets` counts, not `values` */
} taba_dist;

void taba_dist_init(taba_dist *d);                              /* empty; owns nothing */
void taba_dist_release(taba_dist *d, const taba_allocator *a);  /* frees all; empty afterwards */
uint64_t taba_dist_count(const taba_dist *d);
size_t taba_dist_memory(const taba_dist *d);                    /* bytes beyond the struct itself */

/* Make room for values of the extent `x` (shift 0), beyond those reserved for and not yet added. TABA_OK or
 * TABA_ENOMEM. */
int taba_dist_reserve(taba_dist *d, const taba_allocator *a, const taba_extent *x);

/* Add `n` finite values, 1 at least, for which room was reserved, and which lie between `least` and `most`, both among
 * them; add them to `sums`, too, if that is not NULL. Allocates nothing. */
void taba_dist_add(taba_dist *d, const double *values, size_t n, double least, double most, taba_two_sums *sums);

/* Add all that `other`, another one, holds. On failure (TABA_ENOMEM, TABA_EDOMAIN beyond TABA_COUNT_MAX) d means the
 * same as before. Nothing may be reserved in d. */
int taba_dist_merge(taba_dist *d, const taba_allocator *a, const taba_dist *other);

void taba_dist_summary(const taba_dist *d, taba_sketch_summary *out);

/* As taba_sketch_quantiles. */
int taba_dist_quantiles(const taba_dist *d, const double *q, size_t n, double *out);

/* Sorts the exact values of d into `sorted` (room for TABA_SKETCH_EXACT) and returns their number. */
size_t taba_dist_sorted(const taba_dist *d, double *sorted);

/* For the decoder: let d, empty, count in buckets at scale 6 - shift. The decoder fills d->buckets in. TABA_OK or
 * TABA_ENOMEM. */
int taba_dist_make_buckets(taba_dist *d, const taba_allocator *a, int shift);

/* Append the encoding. TABA_ENOMEM leaves `out` unchanged. */
int taba_dist_encode(const taba_dist *d, taba_buffer *out);

/* Read one encoding, strictly. d is empty before, or NULL to check only (no memory is needed then); *count gets the
 * number of values. On failure d is empty. */
int taba_dist_read(taba_cursor *c, taba_dist *d, const taba_allocator *a, uint64_t *count);

#endif
