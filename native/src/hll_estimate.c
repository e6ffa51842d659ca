/* hll_estimate.c - how many distinct values a set of registers speaks of.
 *
 * The improved estimator of Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017, algorithm 6). It
 * needs how often each rank occurs and nothing else: no table of biases as in Heule, Nunkesser, Hall 2013, no change of
 * formula between small and large sets. Symbols are the paper's: m registers, q bits of rank, C[k] of them at rank k.
 * Each step is one operation of IEEE 754, in a fixed order, so that the same registers give the same double everywhere.
 */
#include <math.h>

#include "hll.h"

#define ALPHA 0.7213475204444817 /* 1 / (2 ln 2) */
#define HASHES 9007199254740992.0 /* 2**53: how many there are */

/* x + x**2 + 2 x**4 + 4 x**8 + ...: what the registers at 0 tell. x in [0, 1). */
static double sigma(double x) {
    double y = 1, z = x, before;
    do {
        x = x * x;
        before = z;
        z = z + x * y;
        y = y + y;
    } while (z != before);
    return z;
}

/* (1 - x - sum of (1 - x**(2**-k))**2 * 2**-k) / 3: what those at the highest rank tell. x in [0, 1]. */
static double tau(double x) {
    double y = 1, z = 1 - x, before;
    if (x == 0 || x == 1)
        return 0;
    do {
        x = sqrt(x);
        before = z;
        y = y * 0.5;
        z = z - (1 - x) * (1 - x) * y;
    } while (z != before);
    return z / 3;
}

double taba_hll_estimate(const taba_hll *h) {
    const double m = TABA_HLL_REGISTERS;
    unsigned counts[TABA_HLL_RANK_MAX + 1] = {0};
    if (!h->spilled)
        return h->n;
    for (size_t i = 0; i < TABA_HLL_REGISTERS; i++)
        counts[h->registers[i]]++;
    if (counts[0] == TABA_HLL_REGISTERS)
        return 0; /* no set of hashes looks like this */
    double z = m * tau(1 - counts[TABA_HLL_RANK_MAX] / m);
    for (int k = TABA_HLL_BITS; k >= 1; k--)
        z = 0.5 * (z + counts[k]);
    z = z + m * sigma(counts[0] / m);
    z = ALPHA * m * m / z;
    return z < HASHES ? z : HASHES; /* registers can be made to tell of more: of infinitely many */
}
