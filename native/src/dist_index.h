/* dist_index.h - from a value to the index of its bucket, and from a bucket to the value that stands for it.
 *
 * At the finest scale, 6, an octave [2**e, 2**(e+1)) has 64 buckets whose borders are 2**(k/64). The index is found
 * from the bits of the double, exactly: the top 7 bits of the mantissa tell all but one of the borders below the value,
 * and whether the mantissa is above that one tells a carry, when the right number is added to it. No logarithm, so no
 * rounding at the borders; no comparison, so no guess of the processor's.
 *
 *     v = 1.25    e = 0, top bits 0100000, 20 borders surely below, 2**(20/64) = 1.2418 is below too: 21, index 20
 *     v = 2**e    is the upper end of its bucket: index 64 e - 1
 *
 * Indices at a coarser scale are those at scale 6 shifted right, towards minus infinity: right shifts of negative
 * numbers are taken to be arithmetic, as every compiler in use has them.
 */
#ifndef TABA_DIST_INDEX_H
#define TABA_DIST_INDEX_H

#include <math.h>

#include "internal.h"

#define TABA_SKETCH_TABLES
#include "tables.h"

/* The indices of the least and the greatest positive double, at scale 6. */
#define TABA_INDEX_LEAST (-68737)
#define TABA_INDEX_GREATEST 65535

/* The index at scale 6 of a normal number from its bits (sign bit clear). */
static inline int32_t taba_index_of_bits(uint64_t bits) {
    const uint64_t mantissa = bits & UINT64_C(0xfffffffffffff);
    const int32_t below = (int32_t)((mantissa + taba_border[bits >> 45 & 0x7f]) >> 52);
    return ((int32_t)(bits >> 52) - 1023) * 64 + below - 1;
}

/* The index at scale 6 of a finite number > 0. */
static inline int32_t taba_index_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (bits >> 52 != 0)
        return taba_index_of_bits(bits);
    value *= 18014398509481984.0; /* 2**54: a subnormal number becomes a normal one, without rounding */
    memcpy(&bits, &value, sizeof bits);
    return taba_index_of_bits(bits) - 54 * 64;
}

/* The value that stands for bucket `index` at scale 6 - shift; infinite if only its lower edge is finite. */
static inline double taba_value_of_index(int32_t index, int shift) {
    int32_t fine = index * (1 << shift);
    return ldexp(taba_lower_edge[fine & 63] * taba_centre[TABA_SKETCH_SCALE - shift], fine >> 6);
}

#endif
