/* fuzz_statsd.c - any bytes as StatsD.
 *
 * The first byte chooses what signs before gauges mean and how long names may be, the second how many bytes after it (up
 * to 15) give the lengths of the pieces of a stream; the rest is the text. As a datagram, as a stream in these pieces and
 * byte by byte it must come to the same counts and the same bytes of the batch; and what is given must be sound.
 */
#include "sound.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static const char *const TYPES[TABA_STATSD_METRICS] = {"CounterGroup", "Gauge", "PercentileGroup", "Raw", "", "UniqueGroup"};
static const int KINDS[TABA_STATSD_METRICS] = {TABA_COUNTER_GROUP, TABA_GAUGE, TABA_PERCENTILE_GROUP, TABA_RAW, 0, TABA_UNIQUE_GROUP};

typedef struct outcome {
    taba_statsd_summary summary;
    taba_buffer *batch;
} outcome;

static taba_statsd *gatherer(uint8_t choice) {
    taba_statsd *p = taba_statsd_new("c", 1, (choice & 2) != 0 ? 6 : 512, choice & 1, NULL);
    MUST(p != NULL);
    for (int i = 0; i < TABA_STATSD_METRICS; i++)
        MUST(taba_statsd_map(p, i, TYPES[i], strlen(TYPES[i]), KINDS[i]) == TABA_OK);
    return p;
}

/* Give the window, and encode it; the gatherer goes. */
static outcome finish(taba_statsd *p) {
    const taba_limits limits = {512, 1 << 20, 64, 1 << 28, 2000};
    outcome out;
    uint64_t stamp;
    taba_scratch *s = taba_scratch_new(&limits, NULL);
    taba_accumulator *c = taba_accumulator_new(NULL);
    taba_buffer *index = taba_buffer_new(NULL);
    for (int i = 0; i < TABA_STATSD_METRICS; i++)
        MUST(TYPES[i][0] == 0 || taba_scratch_add_type(s, TYPES[i], strlen(TYPES[i]), KINDS[i]) == TABA_OK);
    MUST(taba_statsd_give(p, s, SIZE_MAX) == TABA_OK && taba_statsd_waiting(p) == 0);
    taba_statsd_take(p, &out.summary);
    MUST(taba_accumulator_merge(c, s, 1, &stamp) == TABA_OK);
    out.batch = taba_buffer_new(NULL);
    MUST(taba_accumulator_encode(c, 0, out.batch, index) == TABA_OK);
    taba_buffer_free(index);
    taba_accumulator_free(c);
    taba_scratch_free(s);
    taba_statsd_free(p);
    return out;
}

static void same(const outcome *x, const outcome *y) {
    MUST(x->summary.lines == y->summary.lines && x->summary.accepted == y->summary.accepted);
    MUST(memcmp(x->summary.refused, y->summary.refused, sizeof x->summary.refused) == 0);
    MUST(memcmp(x->summary.ignored, y->summary.ignored, sizeof x->summary.ignored) == 0);
    MUST(x->summary.collisions == y->summary.collisions && x->summary.tabs == y->summary.tabs);
    MUST(test_same(test_blob_of(x->batch), test_blob_of(y->batch)));
}

static void check(const outcome *x) {
    body_result r;
    const taba_limits limits = {512, 1 << 20, 64, 1 << 28, 2000};
    memset(&r, 0, sizeof r);
    r.batch = x->batch;
    r.summary.accepted = x->summary.accepted;
    check_batch(&r, &limits);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    const taba_statsd_clock clock = {1000, 2000};
    if (length < 2 || length < 2 + (size_t)(bytes[1] & 15))
        return 0;
    pieces cuts = {bytes + 2, bytes[1] & 15, 0};
    const size_t left = length - 2 - cuts.count;
    uint8_t *text = test_alone(test_blob(bytes + 2 + cuts.count, left));
    taba_statsd *p = gatherer(bytes[0]);
    MUST(taba_statsd_datagram(p, &clock, text, left) == TABA_OK);
    outcome whole = finish(p);
    check(&whole);
    for (int way = 0; way < 2; way++) {
        taba_statsd_stream *s = taba_statsd_stream_new(NULL);
        p = gatherer(bytes[0]);
        for (size_t at = 0, n; at < left; at += n) {
            n = way == 0 ? cut_pieces(&cuts, left - at) : 1;
            MUST(taba_statsd_stream_feed(s, p, &clock, text + at, n) == TABA_OK);
        }
        MUST(taba_statsd_stream_end(s, p, &clock, 1) == TABA_OK);
        taba_statsd_stream_free(s);
        outcome parts = finish(p);
        same(&whole, &parts);
        taba_buffer_free(parts.batch);
    }
    taba_buffer_free(whole.batch);
    free(text);
    return 0;
}
