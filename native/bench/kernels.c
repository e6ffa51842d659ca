/* kernels.c - runs each native kernel once on a fixed input, under callgrind, and has it write how many instructions each
 * took. Run by `python -m tests.benchmarks.instructions`, which compares the counts with those that are kept.
 *
 * A kernel has a name, under which its count is kept for ever, a function that makes its input, and one that runs. Only the
 * latter is instrumented. To add one: write both, and put a line into `kernels`.
 */
#include <valgrind/callgrind.h>

#include "accumulator.h"
#include "inputs.h"
#include "scratch.h"

#define PIECE 65536
#define VBUCKETS 128

static const taba_blob nothing = {NULL, 0};
static const double q[] = {0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999};

/* What a kernel works on; which of these it has depends on the kernel. */
typedef struct input {
    int type;
    taba_buffer *bytes, *more, *out, *index;
    taba_scratch *scratch;
    taba_parser *parser;
    taba_columns *columns;
    taba_statsd *statsd;
    taba_accumulator *accumulator;
    taba_hot *hot;
    taba_waiting *waiting;
    taba_blob blobs[10];
} input;

static input fresh(int type) {
    input x;
    memset(&x, 0, sizeof x);
    x.type = type;
    x.out = new_buffer();
    x.index = new_buffer();
    return x;
}

/* ---------------------------------------------------------------------------------------------- requests */

static taba_scratch *new_scratch(void) {
    static const taba_limits limits = {512, 1 << 20, 64, (size_t)1 << 30, 4e9};
    taba_scratch *s = taba_scratch_new(&limits, NULL);
    must(s != NULL ? TABA_OK : TABA_ENOMEM);
    must(taba_scratch_add_type(s, "CounterGroup", 12, TABA_COUNTER_GROUP));
    must(taba_scratch_add_type(s, "PercentileGroup", 15, TABA_PERCENTILE_GROUP));
    must(taba_scratch_add_type(s, "Gauge", 5, TABA_GAUGE));
    must(taba_scratch_add_type(s, "UniqueGroup", 11, TABA_UNIQUE_GROUP));
    return s;
}

static input with_parser(taba_buffer *body) {
    input x = fresh(0);
    x.bytes = body;
    x.scratch = new_scratch();
    x.parser = taba_parser_new(x.scratch, NULL);
    return x;
}

static void parse(input *x) {
    const taba_blob body = blob_of(x->bytes);
    for (size_t at = 0; at < body.length; at += PIECE)
        must(taba_parser_feed(x->parser, body.bytes + at, body.length - at < PIECE ? body.length - at : PIECE));
    must(taba_parser_finish(x->parser));
}

static input long_blocks(void) { return with_parser(body_of("CounterGroup", 20, 300, write_price)); }
static input short_blocks(void) { return with_parser(body_of("CounterGroup", 600, 10, write_whole)); }
static input gauges(void) { return with_parser(body_of("Gauge", 600, 1, write_user)); }
static input users(void) { return with_parser(body_of("UniqueGroup", 20, 100, write_user)); }

static input with_columns(void) {
    input x = fresh(0);
    x.bytes = frame_of("CounterGroup", 20, 300);
    x.scratch = new_scratch();
    x.columns = taba_columns_new(x.scratch, 1 << 20, 1000, NULL);
    return x;
}

static void read_columns(input *x) {
    const taba_blob frame = blob_of(x->bytes);
    for (size_t at = 0; at < frame.length; at += PIECE)
        must(taba_columns_feed(x->columns, frame.bytes + at, frame.length - at < PIECE ? frame.length - at : PIECE));
    must(taba_columns_finish(x->columns));
}

/* ---------------------------------------------------------------------------------------------- StatsD */

static const taba_statsd_clock at_start = {START, START + 60};

static input with_statsd(taba_buffer *lines) {
    input x = fresh(0);
    x.bytes = lines;
    x.statsd = taba_statsd_new("statsd", 6, 512, 1, NULL);
    must(x.statsd != NULL ? TABA_OK : TABA_ENOMEM);
    must(taba_statsd_map(x.statsd, TABA_STATSD_C, "CounterGroup", 12, TABA_COUNTER_GROUP));
    must(taba_statsd_map(x.statsd, TABA_STATSD_MS, "PercentileGroup", 15, TABA_PERCENTILE_GROUP));
    must(taba_statsd_map(x.statsd, TABA_STATSD_S, "UniqueGroup", 11, TABA_UNIQUE_GROUP));
    return x;
}

static void take_lines(input *x) {
    const taba_blob lines = blob_of(x->bytes);
    must(taba_statsd_datagram(x->statsd, &at_start, lines.bytes, lines.length));
}

static input given_once(taba_buffer *lines) {
    input x = with_statsd(lines);
    take_lines(&x);
    return x;
}

/* Names that are known: their lines came before, and were given. */
static input known_names(taba_buffer *lines) {
    input x = given_once(lines);
    taba_statsd_clear(x.statsd, 0);
    return x;
}

static input new_names(void) { return with_statsd(lines_of("c", 600, 10, write_whole)); }
static input counts(void) { return known_names(lines_of("c", 600, 10, write_whole)); }
static input timers(void) { return known_names(lines_of("ms", 600, 10, write_price)); }
static input sets(void) { return known_names(lines_of("s", 20, 100, write_member)); }

static input to_give(void) {
    input x = given_once(lines_of("c", 600, 10, write_whole));
    x.scratch = new_scratch();
    return x;
}

static void give(input *x) { must(taba_statsd_give(x->statsd, x->scratch, 1000000)); }

/* ---------------------------------------------------------------------------------------------- the accumulator */

/* An accumulator, whose hashes do not depend on where it lies, and a parsed body. */
static input to_merge(taba_buffer *body) {
    input x = with_parser(body);
    parse(&x);
    x.accumulator = taba_accumulator_new(NULL);
    x.accumulator->seed = 1;
    return x;
}

static void merge(input *x) {
    uint64_t stamp;
    must(taba_accumulator_merge(x->accumulator, x->scratch, 1, &stamp));
}

static input merged(taba_buffer *body) {
    input x = to_merge(body);
    merge(&x);
    return x;
}

static input first_merge(void) { return to_merge(body_of("CounterGroup", 600, 10, write_whole)); }
static input second_merge(void) { return merged(body_of("CounterGroup", 600, 10, write_whole)); }
static input prices_merge(void) { return to_merge(body_of("PercentileGroup", 20, 300, write_price)); }
static input users_merge(void) { return to_merge(body_of("UniqueGroup", 20, 100, write_user)); }
static input to_seal(void) { return merged(body_of("CounterGroup", 600, 10, write_whole)); }

static void seal(input *x) { must(taba_accumulator_encode(x->accumulator, VBUCKETS, x->out, x->index)); }

static input sealed(uint32_t vbuckets) {
    input x = to_seal();
    x.bytes = new_buffer();
    must(taba_accumulator_encode(x.accumulator, vbuckets, x.bytes, x.index));
    taba_buffer_clear(x.index);
    return x;
}

static input a_batch(void) { return sealed(1); }

static void index_batch(input *x) { must(taba_batch_index(blob_of(x->bytes), x->index)); }

static void split_batch(input *x) { must(taba_batch_split(blob_of(x->bytes), VBUCKETS, x->out, x->index)); }

/* ---------------------------------------------------------------------------------------------- hot States */

static taba_blob name_of(const input *x, size_t at, size_t length) {
    const taba_blob name = {taba_buffer_bytes(x->bytes) + at, length};
    return name;
}

/* A batch, and the States of all that it has Partials of, each with that Partial in it already. */
static input hot_states(void) {
    input x = a_batch();
    x.hot = taba_hot_new(NULL);
    x.waiting = taba_waiting_new(NULL);
    must(x.hot != NULL && x.waiting != NULL ? TABA_OK : TABA_ENOMEM);
    index_batch(&x);
    for (size_t i = 0; i < taba_buffer_length(x.index); i += sizeof(taba_entry)) {
        taba_entry entry;
        memcpy(&entry, taba_buffer_bytes(x.index) + i, sizeof entry);
        const taba_blob partial = name_of(&x, entry.partial, entry.partial_length);
        taba_buffer_clear(x.out);
        must(taba_fold(TABA_COUNTER_GROUP, nothing, &partial, 1, x.out));
        must(taba_hot_put(x.hot, name_of(&x, entry.tab, entry.tab_length), name_of(&x, entry.client, entry.client_length),
                          name_of(&x, entry.type, entry.type_length), TABA_COUNTER_GROUP, 0, blob_of(x.out)));
    }
    return x;
}

static void fold_hot(input *x) {
    taba_buffer *left = new_buffer(), *damaged = new_buffer();
    uint64_t events;
    must(taba_hot_take(x->hot, x->waiting, blob_of(x->bytes), START + 60, left, &events));
    must(taba_hot_fold(x->hot, x->waiting, 0, x->out, x->index, damaged));
    must(events == 6000 && taba_buffer_length(left) == 0 ? TABA_OK : TABA_ECORRUPT);
}

/* ---------------------------------------------------------------------------------------------- States */

static input a_state(int type) {
    input x = fresh(type);
    x.bytes = state_of(type);
    x.more = partial_of(type, 300, START + 5, 4);
    for (size_t i = 0; i < 10; i++)
        x.blobs[i] = blob_of(i % 2 == 0 ? x.bytes : state_of(type));
    return x;
}

static input counters(void) { return a_state(TABA_COUNTER_GROUP); }
static input percentiles(void) { return a_state(TABA_PERCENTILE_GROUP); }
static input uniques(void) { return a_state(TABA_UNIQUE_GROUP); }

static void check(input *x) {
    int type;
    must(taba_check(blob_of(x->bytes), &type));
}

static void fold(input *x) {
    const taba_blob partial = blob_of(x->more);
    must(taba_fold(x->type, blob_of(x->bytes), &partial, 1, x->out));
}

static void fold_to_nothing(input *x) {
    const taba_blob partial = blob_of(x->more);
    must(taba_fold(x->type, nothing, &partial, 1, x->out));
}

static void reduce(input *x) { must(taba_reduce(x->type, x->blobs, 10, x->out)); }

static void render(input *x) { must(taba_render(x->type, 0, x->blobs, 10, START, x->out, x->index)); }

static void render_buckets(input *x) { must(taba_render(x->type, 1, x->blobs, 10, START, x->out, x->index)); }

/* The State of 1,000 clients that show some 500 names. */
static input gauges_of_clients(void) {
    input x = fresh(TABA_GAUGE);
    taba_buffer *states[1000];
    taba_blob blobs[1000];
    for (size_t i = 0; i < 1000; i++) {
        char value[64];
        taba_partial *p = taba_partial_new(TABA_GAUGE, NULL);
        taba_buffer *partial = new_buffer();
        snprintf(value, sizeof value, "\"user-%u\"", (unsigned)draw(500));
        must(taba_partial_reserve_json(p, NULL, 1, strlen(value)));
        taba_partial_fold_json(p, START, i, (const uint8_t *)value, strlen(value));
        must(taba_partial_encode(p, partial));
        const taba_blob encoded = blob_of(partial);
        must(taba_fold(TABA_GAUGE, nothing, &encoded, 1, states[i] = new_buffer()));
        blobs[i] = blob_of(states[i]);
    }
    x.bytes = new_buffer();
    must(taba_reduce(TABA_GAUGE, blobs, 1000, x.bytes));
    x.blobs[0] = blob_of(x.bytes);
    return x;
}

static void render_gauge(input *x) { must(taba_render(TABA_GAUGE, 0, x->blobs, 1, START, x->out, x->index)); }

static void show_counters(input *x) {
    taba_window windows[TABA_WINDOWS];
    taba_sketch_summary all;
    double values[7];
    must(taba_counter_group_summary(blob_of(x->bytes), START, windows, &all, q, 7, values, x->out));
}

static void show_percentiles(input *x) {
    taba_sketch_summary windows[TABA_WINDOWS];
    double values[7 * TABA_WINDOWS];
    must(taba_percentile_group_summary(blob_of(x->bytes), START, windows, q, 7, values, x->out));
}

static void show_uniques(input *x) {
    taba_unique_window windows[TABA_WINDOWS];
    must(taba_unique_group_summary(blob_of(x->bytes), START, windows, x->out));
}

static input some_bytes(void) {
    input x = fresh(0);
    x.bytes = frame_of("CounterGroup", 1, 4000);
    return x;
}

static void checksum(input *x) {
    const taba_blob bytes = blob_of(x->bytes);
    must(taba_crc32c(0, bytes.bytes, bytes.length) != 0 ? TABA_OK : TABA_ECORRUPT);
}

/* ---------------------------------------------------------------------------------------------- counting */

static const struct {
    const char *name;
    input (*make)(void);
    void (*run)(input *);
} kernels[] = {
    {"parse protocol 1, 20 tabs x 300 prices", long_blocks, parse},
    {"parse protocol 1, 600 tabs x 10 counts", short_blocks, parse},
    {"parse protocol 1, 600 gauges", gauges, parse},
    {"parse protocol 1, 20 tabs x 100 distinct values", users, parse},
    {"read columns, 20 tabs x 300", with_columns, read_columns},
    {"take StatsD counters, 600 new names x 10", new_names, take_lines},
    {"take StatsD counters, 600 known names x 10", counts, take_lines},
    {"take StatsD timers, 600 known names x 10", timers, take_lines},
    {"take StatsD sets, 20 known names x 100", sets, take_lines},
    {"give 6,000 StatsD counters to a scratch", to_give, give},
    {"merge counters, 600 new x 10", first_merge, merge},
    {"merge counters, 600 known x 10", second_merge, merge},
    {"merge percentiles, 20 new x 300", prices_merge, merge},
    {"merge distinct values, 20 new x 100", users_merge, merge},
    {"seal 600 counters by 128 vbuckets", to_seal, seal},
    {"index a batch of 600", a_batch, index_batch},
    {"split a batch of 600 by 128 vbuckets", a_batch, split_batch},
    {"checksum 64 kB", some_bytes, checksum},
    {"fold a batch of 600 into hot CounterGroups", hot_states, fold_hot},
    {"check a CounterGroup", counters, check},
    {"check a PercentileGroup", percentiles, check},
    {"check a UniqueGroup", uniques, check},
    {"fold 300 events into a CounterGroup", counters, fold},
    {"fold 300 events into a PercentileGroup", percentiles, fold},
    {"fold 300 events into a UniqueGroup", uniques, fold},
    {"fold 300 events into a new CounterGroup", counters, fold_to_nothing},
    {"reduce 10 CounterGroups", counters, reduce},
    {"reduce 10 PercentileGroups", percentiles, reduce},
    {"reduce 10 UniqueGroups", uniques, reduce},
    {"render 10 CounterGroups", counters, render},
    {"render 10 PercentileGroups", percentiles, render},
    {"render 10 UniqueGroups", uniques, render},
    {"render all buckets of 10 CounterGroups", counters, render_buckets},
    {"render a Gauge of 1,000 clients", gauges_of_clients, render_gauge},
    {"show a CounterGroup", counters, show_counters},
    {"show a PercentileGroup", percentiles, show_percentiles},
    {"show a UniqueGroup", uniques, show_uniques},
};

int main(void) {
#if defined(__x86_64__)
    printf("avx2 %d\n", __builtin_cpu_supports("avx2") != 0);
#endif
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        drawn = 1; /* so that no kernel's input depends on the others */
        input x = kernels[i].make();
        CALLGRIND_ZERO_STATS;
        CALLGRIND_START_INSTRUMENTATION;
        kernels[i].run(&x);
        CALLGRIND_STOP_INSTRUMENTATION;
        CALLGRIND_DUMP_STATS_AT(kernels[i].name);
    }
    return 0;
}
