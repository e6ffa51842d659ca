/* extent.c - see extent.h. */
#include "extent.h"

#include "dist_index.h"
#include "number.h"

/* The same for values of any signs. */
static taba_extent extent_of_mixed(const double *values, size_t n) {
    double least_above = INFINITY, most_above = 0, least_below = -INFINITY, most_below = 0; /* above and below 0 */
    for (size_t i = 0; i < n; i++) {
        double value = values[i], above = value > 0 ? value : INFINITY, below = value < 0 ? value : -INFINITY;
        most_above = value > most_above ? value : most_above;
        most_below = value < most_below ? value : most_below;
        least_above = above < least_above ? above : least_above;
        least_below = below > least_below ? below : least_below;
    }
    taba_extent x = taba_extent_empty();
    x.n = n;
    if (most_above > 0)
        taba_extent_take(&x, 0, taba_index_of(least_above), taba_index_of(most_above));
    if (most_below < 0)
        taba_extent_take(&x, 1, taba_index_of(-least_below), taba_index_of(-most_below));
    return x;
}

taba_ranges taba_ranges_of(const double *times, const double *values, size_t n) {
    taba_ranges r;
    taba_range_of(times, n, &r.first, &r.last);
    taba_range_of(values, n, &r.least, &r.most);
    return r;
}

taba_extent taba_extent_within(const double *values, size_t n, double least, double most) {
    taba_extent x = taba_extent_empty();
    if (!(least > 0))
        return extent_of_mixed(values, n);
    x.n = n;
    taba_extent_take(&x, 0, taba_index_of(least), taba_index_of(most));
    return x;
}

taba_extent taba_extent_of(const double *values, size_t n) {
    double least, most;
    if (n == 0)
        return taba_extent_empty();
    taba_range_of(values, n, &least, &most);
    return taba_extent_within(values, n, least, most);
}

/* The extent at the next coarser scale. */
static void halve(taba_extent *x) {
    x->shift++;
    for (int sign = 0; sign < 2; sign++)
        if (taba_extent_has(x, sign)) {
            x->low[sign] >>= 1;
            x->high[sign] >>= 1;
        }
}

static bool fits(const taba_extent *x) {
    for (int sign = 0; sign < 2; sign++)
        if (taba_extent_has(x, sign) && x->high[sign] - x->low[sign] >= TABA_SKETCH_BUCKETS)
            return false;
    return true;
}

taba_extent taba_extent_united(taba_extent x, taba_extent y) {
    while (x.shift < y.shift)
        halve(&x);
    while (y.shift < x.shift)
        halve(&y);
    x.n += y.n;
    for (int sign = 0; sign < 2; sign++)
        if (taba_extent_has(&y, sign))
            taba_extent_take(&x, sign, y.low[sign], y.high[sign]);
    while (!fits(&x))
        halve(&x);
    return x;
}
