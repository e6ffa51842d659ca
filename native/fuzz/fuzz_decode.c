/* fuzz_decode.c - any bytes to every decoder of States, Partials and sketches.
 *
 * The first byte says how the rest is cut: 0 one blob; 1 two blobs, the length of the first in the next two bytes; 2
 * one sketch. What is refused must be refused everywhere; what is accepted must come out of the encoder as it went in,
 * and obey the laws that hold bit for bit. A broken promise is an abort.
 */
#include <stdlib.h>

#include "internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define MUST(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

static const taba_blob nothing = {NULL, 0};
static const double q[] = {0, 0.5, 0.99, 1};
#define QUANTILES 4

static taba_blob blob_of(const taba_buffer *b) {
    taba_blob blob = {taba_buffer_bytes(b), taba_buffer_length(b)};
    return blob;
}

static int same(taba_blob x, taba_blob y) {
    return x.length == y.length && (x.length == 0 || memcmp(x.bytes, y.bytes, x.length) == 0);
}

static void feed_sketch(taba_blob blob) {
    taba_sketch *s = taba_sketch_new(NULL), *t = taba_sketch_new(NULL);
    taba_buffer *b = taba_buffer_new(NULL);
    size_t used;
    double values[QUANTILES];
    taba_sketch_summary x;
    if (taba_sketch_decode(s, blob.bytes, blob.length, &used) == TABA_OK) {
        const taba_blob read = {blob.bytes, used};
        MUST(used <= blob.length);
        MUST(taba_sketch_encode(s, b) == TABA_OK && same(blob_of(b), read));
        MUST(taba_sketch_quantiles(s, q, QUANTILES, values) == TABA_OK);
        taba_sketch_summary_of(s, &x);
        for (int i = 0; i < QUANTILES; i++)
            MUST(values[i] >= x.min && values[i] <= x.max && (i == 0 || values[i] >= values[i - 1]));
        MUST(taba_sketch_merge(t, s) == TABA_OK);
        taba_buffer_clear(b);
        MUST(taba_sketch_encode(t, b) == TABA_OK && same(blob_of(b), read));
        int status = taba_sketch_merge(t, s);
        MUST(status == TABA_OK || status == TABA_EDOMAIN);
    }
    taba_buffer_free(b);
    taba_sketch_free(s);
    taba_sketch_free(t);
}

/* The entries or events of a blob; how many there are. */
static size_t walk(int (*next)(taba_blob, size_t *, taba_gauge_entry *), taba_blob blob, int *status) {
    taba_gauge_entry entry;
    size_t offset = 0, n = 0;
    while ((*status = next(blob, &offset, &entry)) == TABA_OK) {
        MUST(entry.value.length <= blob.length && offset <= blob.length);
        n++;
    }
    return n;
}

/* Everything that only reads a State. */
static void read_state(int type, taba_blob state, double time, taba_buffer *work) {
    taba_window windows[TABA_WINDOWS], buckets[120];
    taba_sketch_summary all[TABA_WINDOWS];
    double values[TABA_WINDOWS * QUANTILES];
    int64_t first;
    if (type == TABA_COUNTER_GROUP) {
        MUST(taba_counter_group_summary(state, time, windows, all, q, QUANTILES, values, work) == TABA_OK);
        for (int level = 0; level < TABA_WINDOWS; level++) {
            MUST(windows[level].count <= all[0].count);
            MUST(taba_counter_group_buckets(state, time, level, &first, buckets) == TABA_OK);
        }
    } else if (type == TABA_PERCENTILE_GROUP) {
        MUST(taba_percentile_group_summary(state, time, all, q, QUANTILES, values, work) == TABA_OK);
    } else if (type == TABA_UNIQUE_GROUP) {
        taba_unique_window uniques[TABA_WINDOWS];
        MUST(taba_unique_group_summary(state, time, uniques, work) == TABA_OK);
        for (int level = 0; level < TABA_WINDOWS; level++) {
            MUST(uniques[level].unique >= 0 && uniques[level].unique <= (double)uniques[level].count);
            MUST((uniques[level].count == 0) == (uniques[level].unique == 0));
        }
        MUST(taba_unique_group_buckets(state, time, 2, &first, uniques, work) == TABA_OK);
    } else {
        int status;
        MUST(walk(taba_gauge_next, state, &status) > 0 && status == TABA_ELIMIT);
    }
}

/* A State is shown, or, of a Gauge, left to others. */
static void show_state(int type, taba_blob state, double time) {
    for (int detailed = 0; detailed < 2; detailed++) {
        taba_buffer *out = taba_buffer_new(NULL), *ends = taba_buffer_new(NULL);
        MUST(taba_render(type, detailed, &state, 1, time, out, ends) == TABA_OK);
        MUST(type == TABA_GAUGE || taba_buffer_length(out) > 0);
        taba_buffer_free(out);
        taba_buffer_free(ends);
    }
}

/* A State that was accepted: reducing it alone gives it back. */
static void feed_state(int type, taba_blob state, double time) {
    taba_buffer *out = taba_buffer_new(NULL);
    const taba_blob with_nothing[] = {nothing, state, nothing};
    MUST(taba_reduce(type, with_nothing, 3, out) == TABA_OK && same(blob_of(out), state));
    taba_buffer_clear(out);
    int status = taba_fold(type, state, NULL, 0, out);
    MUST(status == TABA_OK ? same(blob_of(out), state) : type == TABA_GAUGE && status == TABA_EDOMAIN);
    read_state(type, state, time, out);
    show_state(type, state, time);
    taba_buffer_free(out);
}

/* A Partial that was accepted: folded into nothing it makes a State that is accepted. */
static void feed_partial(int type, taba_blob partial) {
    uint64_t events;
    double newest;
    MUST(taba_partial_extent(partial, &events, &newest) == TABA_OK && events > 0);
    if (type == TABA_RAW) {
        int status;
        MUST(walk(taba_raw_next, partial, &status) == events && status == TABA_ELIMIT);
        return;
    }
    taba_buffer *out = taba_buffer_new(NULL);
    int found;
    MUST(taba_fold(type, nothing, &partial, 1, out) == TABA_OK);
    MUST(taba_check(blob_of(out), &found) == TABA_OK && found == type);
    feed_state(type, blob_of(out), newest);
    taba_buffer_free(out);
}

/* Bytes that were refused are refused by whatever else may get them. */
static void feed_refused(taba_blob blob) {
    taba_buffer *out = taba_buffer_new(NULL);
    uint64_t events;
    double newest;
    taba_gauge_entry entry;
    for (int type = TABA_RAW; type <= TABA_UNIQUE_GROUP; type++) { /* unknown ones too */
        size_t offset = 0;
        MUST(taba_fold(type, nothing, &blob, 1, out) != TABA_OK);
        MUST(blob.length == 0 || taba_reduce(type, &blob, 1, out) != TABA_OK);
        MUST(taba_gauge_next(blob, &offset, &entry) != TABA_OK && taba_raw_next(blob, &offset, &entry) != TABA_OK);
        MUST(offset == 0);
    }
    for (size_t offset = 1; offset < blob.length && offset < 16; offset++) {
        size_t moved = offset;
        (void)taba_gauge_next(blob, &moved, &entry);
        moved = offset;
        (void)taba_raw_next(blob, &moved, &entry);
    }
    MUST(taba_partial_extent(blob, &events, &newest) != TABA_OK);
    MUST(taba_buffer_length(out) == 0);
    taba_buffer_free(out);
}

/* The type of what is accepted; -1 for what is not. */
static int feed_blob(taba_blob blob) {
    int type;
    if (taba_check(blob, &type) != TABA_OK) {
        feed_refused(blob);
        return -1;
    }
    if (type & TABA_PARTIAL)
        feed_partial(type & ~TABA_PARTIAL, blob);
    else
        feed_state(type, blob, 1e9);
    return type;
}

/* Two States of one Type: the order does not matter. */
static void feed_two_states(int type, taba_blob x, taba_blob y) {
    taba_buffer *out = taba_buffer_new(NULL), *turned = taba_buffer_new(NULL);
    const taba_blob there[] = {x, y}, back[] = {y, x};
    int status = taba_reduce(type, there, 2, out), found;
    MUST(taba_reduce(type, back, 2, turned) == status);
    MUST(status == TABA_OK || status == TABA_EDOMAIN);
    MUST(same(blob_of(out), blob_of(turned)));
    MUST(status != TABA_OK || taba_check(blob_of(out), &found) == TABA_OK);
    taba_buffer_free(out);
    taba_buffer_free(turned);
}

static void feed_two(taba_blob x, taba_blob y) {
    int first = feed_blob(x), second = feed_blob(y);
    if (first < 0 || second < 0 || (first & TABA_PARTIAL))
        return;
    if (first == second)
        feed_two_states(first, x, y);
    taba_buffer *out = taba_buffer_new(NULL);
    int status = taba_fold(first, x, &y, 1, out), found;
    if (status == TABA_OK)
        MUST(taba_check(blob_of(out), &found) == TABA_OK && found == first);
    else
        MUST(taba_buffer_length(out) == 0 && status != TABA_ECORRUPT);
    taba_buffer_free(out);
}

/* The blob at a place of its own, so that the sanitizer sees reading beyond it. */
static uint8_t *alone(taba_blob blob) {
    uint8_t *copy = malloc(blob.length != 0 ? blob.length : 1);
    MUST(copy != NULL);
    if (blob.length != 0)
        memcpy(copy, blob.bytes, blob.length);
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (length < 3)
        return 0;
    size_t cut = bytes[0] == 1 ? (size_t)(bytes[1] | bytes[2] << 8) : 0, front = bytes[0] == 1 ? 3 : 1;
    if (cut > length - front)
        cut = length - front;
    taba_blob x = {bytes + front, cut}, y = {bytes + front + cut, length - front - cut};
    uint8_t *left = alone(x), *right = alone(y);
    x.bytes = left;
    y.bytes = right;
    if (bytes[0] == 1)
        feed_two(x, y);
    else if (bytes[0] == 2)
        feed_sketch(y);
    else
        (void)feed_blob(y);
    free(left);
    free(right);
    return 0;
}
