/* level.c - the encoding of a level.
 *
 *     a level of 1 s: second 100 (2 events, total 7), 101 (1 event, 2.5), 105 (1 event, 3)
 *
 *     03       three buckets
 *     c8 01    the first is 100 (zigzag 200)
 *     08 0e    (2 - 1) << 3 | kind 0 << 1; 7 (zigzag 14)
 *     02 88 27 (1 - 1) << 3 | kind 1 << 1; 2500 thousandths (zigzag 5000)
 *     01 02 06 (1 - 1) << 3 | kind 0 << 1 | far; 105 - 101 - 2; 3 (zigzag 6)
 */
#include "level.h"

#include "dist.h"
#include "number.h"
#include "window.h"

/* The most bytes of a bucket, and of the two numbers at the front. */
#define BUCKET_MAX (3 * TABA_UVARINT_MAX)

/* How many buckets room is asked for at a time. */
#define CHUNK 64

static uint8_t *store_bucket(uint8_t *at, const taba_bucket *bucket, const taba_bucket *before) {
    int64_t m = 0;
    int kind = taba_number_kind(bucket->total, &m);
    bool far = before != NULL && bucket->index != before->index + 1;
    at = taba_store_uvarint(at, (bucket->count - 1) << 3 | (uint64_t)kind << 1 | far);
    if (far)
        at = taba_store_uvarint(at, (uint64_t)(bucket->index - before->index - 2));
    return taba_store_number(at, bucket->total, kind, m);
}

static int encode_buckets(const taba_bucket *buckets, size_t n, taba_buffer *out) {
    const taba_bucket *before = NULL;
    for (size_t done = 0; done < n; done += CHUNK) {
        int status = taba_buffer_reserve(out, (CHUNK + 1) * BUCKET_MAX);
        if (status != TABA_OK)
            return status;
        uint8_t *start = taba_buffer_writable(out), *at = start + taba_buffer_length(out);
        for (size_t i = done; i < n && i < done + CHUNK; i++) {
            if (buckets[i].count == 0)
                continue;
            if (before == NULL)
                at = taba_store_svarint(at, buckets[i].index);
            at = store_bucket(at, &buckets[i], before);
            before = &buckets[i];
        }
        taba_buffer_extend_to(out, (size_t)(at - start));
    }
    return TABA_OK;
}

int taba_level_encode(const taba_series *level, taba_buffer *out) {
    const taba_bucket *buckets = level->records;
    uint64_t n = 0;
    for (size_t i = 0; i < level->n; i++)
        n += buckets[i].count != 0;
    int status = taba_put_uvarint(out, n);
    return status == TABA_OK ? encode_buckets(buckets, level->n, out) : status;
}

/* Append buckets that are still as they were read: all of the run from `kept` on whose bytes lie one after another.
 * *n gets their number, of `most`. */
static int copy_run(const taba_kept_bucket *kept, size_t most, size_t *n, taba_buffer *out) {
    const uint8_t *end = kept->raw.bytes + kept->raw.length;
    for (*n = 1; *n < most && kept[*n].raw.bytes == end; ++*n)
        end += kept[*n].raw.length;
    return taba_buffer_append(out, kept->raw.bytes, (size_t)(end - kept->raw.bytes));
}

static int put_bucket(taba_buffer *out, const taba_bucket *bucket, const taba_bucket *before) {
    uint8_t bytes[BUCKET_MAX];
    return taba_buffer_append(out, bytes, (size_t)(store_bucket(bytes, bucket, before) - bytes));
}

int taba_level_encode_kept(const taba_series *level, taba_buffer *out) {
    const taba_kept_bucket *kept = level->records;
    int status = taba_put_uvarint(out, level->n);
    if (status == TABA_OK && level->n != 0)
        status = taba_put_svarint(out, kept[0].bucket.index);
    for (size_t i = 0, n = 1; i < level->n && status == TABA_OK; i += n, n = 1)
        status = kept[i].raw.bytes != NULL ? copy_run(&kept[i], level->n - i, &n, out)
                                           : put_bucket(out, &kept[i].bucket, i > 0 ? &kept[i - 1].bucket : NULL);
    return status;
}

int taba_level_open(taba_level_reader *r, taba_cursor *c, int64_t width) {
    memset(r, 0, sizeof *r);
    r->c = c;
    r->most = taba_index_greatest(width);
    int status = taba_get_uvarint(c, &r->n);
    if (status != TABA_OK || r->n == 0)
        return status;
    if (r->n > taba_cursor_left(c) / 2) /* a bucket takes two bytes or more: no memory for what is not there */
        return TABA_ECORRUPT;
    status = taba_get_svarint(c, &r->first);
    if (status == TABA_OK && (r->first < taba_index_least(width) || r->first > r->most))
        status = TABA_ECORRUPT;
    r->left = r->n;
    r->bucket.index = r->first - 1; /* the first is never far */
    return status;
}

int taba_level_next(taba_level_reader *r) {
    const uint8_t *start = r->c->at, *end = r->c->end;
    taba_taken token = taba_take_uvarint(start, end), skipped = {token.at, 0};
    if (token.at != NULL && (token.value & 1) != 0) {
        skipped = taba_take_uvarint(token.at, end);
        if (r->left == r->n || skipped.value > 2 * (uint64_t)TABA_SECONDS_MAX)
            return TABA_ECORRUPT; /* the first bucket is not far from any */
        skipped.value++;
    }
    const uint8_t *at = skipped.at;
    if (at != NULL)
        at = taba_take_number(at, end, token.value >> 1 & 3, &r->bucket.total);
    if (at == NULL)
        return TABA_ECORRUPT;
    r->bucket.index += 1 + (int64_t)skipped.value;
    r->bucket.count = (token.value >> 3) + 1;
    if (r->bucket.index > r->most || r->bucket.count > TABA_COUNT_MAX - r->count)
        return TABA_ECORRUPT;
    r->c->at = at;
    r->raw.bytes = start;
    r->raw.length = (size_t)(at - start);
    r->count += r->bucket.count;
    r->left--;
    return TABA_OK;
}
