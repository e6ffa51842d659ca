/* extent.c - see extent.h. */
#include "extent.h"

#include "dist_index.h"

/* How many values are looked at side by side, so that compilers make vectors of it. */
#define LANES 4

/* The bounds of the values above and below 0, of each lane. */
typedef struct bounds {
    double least_above[LANES], most_above[LANES], least_below[LANES], most_below[LANES];
} bounds;

static inline void take(bounds *b, int lane, double value) {
    double above = value > 0 ? value : INFINITY, below = value < 0 ? value : -INFINITY;
    b->most_above[lane] = value > b->most_above[lane] ? value : b->most_above[lane];
    b->most_below[lane] = value < b->most_below[lane] ? value : b->most_below[lane];
    b->least_above[lane] = above < b->least_above[lane] ? above : b->least_above[lane];
    b->least_below[lane] = below > b->least_below[lane] ? below : b->least_below[lane];
}

taba_extent taba_extent_of(const double *values, size_t n) {
    bounds b = {{INFINITY, INFINITY, INFINITY, INFINITY}, {0, 0, 0, 0}, {-INFINITY, -INFINITY, -INFINITY, -INFINITY}, {0, 0, 0, 0}};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            take(&b, lane, values[i + (size_t)lane]);
    for (; i < n; i++)
        take(&b, 0, values[i]);
    taba_extent x = taba_extent_empty();
    x.n = n;
    for (int lane = 0; lane < LANES; lane++) {
        if (b.most_above[lane] > 0)
            taba_extent_take(&x, 0, taba_index_of(b.least_above[lane]), taba_index_of(b.most_above[lane]));
        if (b.most_below[lane] < 0)
            taba_extent_take(&x, 1, taba_index_of(-b.least_below[lane]), taba_index_of(-b.most_below[lane]));
    }
    return x;
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
