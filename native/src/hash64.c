/* hash64.c - XXH64, after its published specification: four lanes of 8 bytes each while there are 32, then the rest by
 * 8, 4 and 1 bytes, then an avalanche. It has no secret: whoever wants to can make values that collide, which makes a
 * count too small, or values of high ranks, which makes it too large.
 */
#include "hash64.h"

#define P1 UINT64_C(0x9e3779b185ebca87)
#define P2 UINT64_C(0xc2b2ae3d27d4eb4f)
#define P3 UINT64_C(0x165667b19e3779f9)
#define P4 UINT64_C(0x85ebca77c2b2ae63)
#define P5 UINT64_C(0x27d4eb2f165667c5)

static uint64_t rotated(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

static uint64_t load32(const uint8_t *p) {
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
}

static uint64_t stirred(uint64_t lane, uint64_t word) { return rotated(lane + word * P2, 31) * P1; }

static uint64_t joined(uint64_t hash, uint64_t lane) { return (hash ^ stirred(0, lane)) * P1 + P4; }

/* What the stripes of 32 bytes come to; *at moves behind the last whole one. */
static uint64_t of_stripes(const uint8_t **at, const uint8_t *end) {
    uint64_t lanes[4] = {P1 + P2, P2, 0, 0 - P1}, hash;
    for (; end - *at >= 32; *at += 32)
        for (int i = 0; i < 4; i++)
            lanes[i] = stirred(lanes[i], taba_load64(*at + 8 * i));
    hash = rotated(lanes[0], 1) + rotated(lanes[1], 7) + rotated(lanes[2], 12) + rotated(lanes[3], 18);
    for (int i = 0; i < 4; i++)
        hash = joined(hash, lanes[i]);
    return hash;
}

uint64_t taba_xxh64(const uint8_t *bytes, size_t length) {
    if (length == 0)
        return UINT64_C(0xef46db3751d8e999); /* bytes may be NULL */
    const uint8_t *at = bytes, *end = bytes + length;
    uint64_t hash = (length >= 32 ? of_stripes(&at, end) : P5) + length;
    for (; end - at >= 8; at += 8)
        hash = rotated(hash ^ stirred(0, taba_load64(at)), 27) * P1 + P4;
    if (end - at >= 4) {
        hash = rotated(hash ^ load32(at) * P1, 23) * P2 + P3;
        at += 4;
    }
    for (; at < end; at++)
        hash = rotated(hash ^ *at * P5, 11) * P1;
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}

double taba_unique_hash(const uint8_t *bytes, size_t length) { return (double)(taba_xxh64(bytes, length) >> 11); }
