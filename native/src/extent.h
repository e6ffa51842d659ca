/* extent.h - how many values there are, and between which bucket indices they lie: enough to tell the scale that they
 * ask for and the room that they take, before any of them is counted.
 */
#ifndef TABA_EXTENT_H
#define TABA_EXTENT_H

#include "internal.h"

/* The indices are at scale 6 - shift, per sign: 0 for the positive values, 1 for the negative ones. low > high: no
 * value has that sign. */
typedef struct taba_extent {
    uint64_t n;
    int shift;
    int32_t low[2], high[2];
} taba_extent;

static inline bool taba_extent_has(const taba_extent *x, int sign) { return x->low[sign] <= x->high[sign]; }

/* Of no values. */
static inline taba_extent taba_extent_empty(void) {
    const taba_extent x = {0, 0, {INT32_MAX, INT32_MAX}, {INT32_MIN, INT32_MIN}};
    return x;
}

/* Let it contain low..high of a sign too, but for the count; none if low > high. */
static inline void taba_extent_take(taba_extent *x, int sign, int32_t low, int32_t high) {
    x->low[sign] = low < x->low[sign] ? low : x->low[sign];
    x->high[sign] = high > x->high[sign] ? high : x->high[sign];
}

/* Between which times and values events lie, 1 at least; the ends are among them. Of zeros the sign is not told. */
typedef struct taba_ranges {
    double first, last, least, most;
} taba_ranges;

taba_ranges taba_ranges_of(const double *times, const double *values, size_t n);

/* Of `n` finite values, at scale 6. */
taba_extent taba_extent_of(const double *values, size_t n);

/* The same for values, 1 at least, that lie between `least` and `most`, both ends among them. */
taba_extent taba_extent_within(const double *values, size_t n, double least, double most);

/* Of both together, at the finest scale that neither is coarser than and at which no sign spans more than
 * TABA_SKETCH_BUCKETS indices. */
taba_extent taba_extent_united(taba_extent x, taba_extent y);

#endif
