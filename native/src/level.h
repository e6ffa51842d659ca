/* level.h - counts and totals per bucket of time: what CounterGroup keeps four of, and a Partial one.
 *
 * In memory a level is a taba_series of taba_bucket. Buckets with count 0 may stand in it (room was made for events
 * that never came); they are not part of its meaning.
 */
#ifndef TABA_LEVEL_H
#define TABA_LEVEL_H

#include "series.h"

typedef struct taba_bucket {
    int64_t index;
    uint64_t count;
    double total;
} taba_bucket;

/* A bucket of a State that is being changed. As long as neither it nor the one before it has changed, `raw` has the
 * bytes that it was read from, and they are what is written again. */
typedef struct taba_kept_bucket {
    taba_bucket bucket;
    taba_blob raw;     /* bytes NULL once changed */
} taba_kept_bucket;

/* Append the encoding of a level to `out`: a taba_series of taba_bucket; of taba_kept_bucket. On TABA_ENOMEM a part of
 * it may be there. */
int taba_level_encode(const taba_series *level, taba_buffer *out);
int taba_level_encode_kept(const taba_series *level, taba_buffer *out);

/* Reads one level of a blob, bucket by bucket:
 *
 *     status = taba_level_open(&r, c, width);
 *     while (status == TABA_OK && r.left > 0)
 *         if ((status = taba_level_next(&r)) == TABA_OK)
 *             ... r.bucket ...
 */
typedef struct taba_level_reader {
    taba_cursor *c;
    uint64_t n, left;     /* buckets in the level; those not read yet */
    int64_t first, most;  /* the index of the first bucket; the greatest there may be */
    uint64_t count;       /* sum of the counts read; TABA_COUNT_MAX at most */
    taba_bucket bucket;   /* the one read last, */
    taba_blob raw;        /* and its bytes */
} taba_level_reader;

int taba_level_open(taba_level_reader *r, taba_cursor *c, int64_t width);
int taba_level_next(taba_level_reader *r);

#endif
