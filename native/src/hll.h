/* hll.h - how many distinct values there were: a set of hashes of 53 bits while there are few, a HyperLogLog of 4096
 * registers from then on. What a bucket of a UniqueGroup holds. It does not hold its allocator: pass the same one always.
 *
 *     hash, 53 bits  | 12 bits: which register | 41 bits: the rank is the place of the first 1, from 1; 42 without one |
 *
 * A register is the greatest rank that came to it, 0 before any (Flajolet, Fusy, Gandouet, Meunier 2007). Which of both
 * forms it has, and all that is in it, depends on the set of hashes alone: not on order, repetition or grouping. So
 * merging is exact, associative, commutative and idempotent.
 */
#ifndef TABA_HLL_H
#define TABA_HLL_H

#include "internal.h"

#define TABA_HLL_EXACT 32        /* hashes that are kept as they are */
#define TABA_HLL_BITS 41         /* of a hash, below those that choose the register */
#define TABA_HLL_REGISTERS 4096  /* 2**12 */
#define TABA_HLL_RANK_MAX (TABA_HLL_BITS + 1)
#define TABA_HLL_ERROR 0.0162    /* the standard error of an estimate: sqrt(3 ln 2 - 1) / sqrt(4096), relative */
#define TABA_HLL_SPARSE 1536     /* so many registers that are not 0 are written one by one, and more in full */

/* All zeros when empty. */
typedef struct taba_hll {
    uint64_t *hashes;    /* in ascending order; kept for nothing once spilled */
    uint8_t *registers;  /* in use once spilled; may be prepared before */
    uint8_t n, room;     /* hashes, and how many have room */
    uint8_t due;         /* hashes for which room was reserved; stops at UINT8_MAX */
    bool spilled;        /* whether `registers` counts, not `hashes` */
} taba_hll;

void taba_hll_release(taba_hll *h, const taba_allocator *a);  /* frees all; empty afterwards */
size_t taba_hll_memory(const taba_hll *h);                    /* bytes beyond the struct itself */

/* Make room for `n` hashes (whole numbers from 0 to 2**53 - 1), beyond those reserved for and not yet added. TABA_OK or
 * TABA_ENOMEM. */
int taba_hll_reserve(taba_hll *h, const taba_allocator *a, const double *hashes, size_t n);

/* Add `n` hashes for which room was reserved. Allocates nothing. */
void taba_hll_add(taba_hll *h, const double *hashes, size_t n);

/* Add one hash, with what room it takes. TABA_OK, or TABA_ENOMEM and h means the same as before. */
int taba_hll_put(taba_hll *h, const taba_allocator *a, uint64_t hash);

/* Let h count in registers, as it is to be once it holds more than TABA_HLL_EXACT hashes. TABA_OK or TABA_ENOMEM. */
int taba_hll_spill(taba_hll *h, const taba_allocator *a);

/* How many distinct values: exact while there are at most TABA_HLL_EXACT hashes, 0.0 when empty, else an estimate of
 * standard error TABA_HLL_ERROR, 2**53 at most. */
double taba_hll_estimate(const taba_hll *h);

/* Append the encoding of one that is not empty. On TABA_ENOMEM a part of it may be there. */
int taba_hll_encode(const taba_hll *h, taba_buffer *out);

/* Read one encoding, strictly, and add what it holds to h, or with NULL only check it, which needs no memory. *least gets
 * how many distinct values it takes at least to come to it. On failure h holds some of it. */
int taba_hll_read(taba_cursor *c, taba_hll *h, const taba_allocator *a, uint64_t *least);

#endif
