/* test_partial.c - Partials in memory: what they encode, that a reserve is enough for its fold, how small they are, and
 * memory that runs out.
 */
#include <float.h>
#include <math.h>

#include "events.h"

static const int with_numbers[] = {TABA_COUNTER_GROUP, TABA_PERCENTILE_GROUP, TABA_UNIQUE_GROUP};

static taba_blob encoded(const taba_partial *p, taba_buffer *out) {
    taba_buffer_clear(out);
    CHECK_OK(taba_partial_encode(p, out));
    return test_blob_of(out);
}

/* ---------------------------------------------------------------------------------------------- size */

static void one_event_takes_few_bytes(void) {
    static const struct { int type; size_t most; } cases[] = {
        {TABA_COUNTER_GROUP, 160}, {TABA_PERCENTILE_GROUP, 140}, {TABA_GAUGE, 96}, {TABA_RAW, 120},
        {TABA_UNIQUE_GROUP, 120}};
    const double time = 1234567890.25, value = 321;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_memory m;
        test_memory_init(&m);
        taba_partial *p = taba_partial_new(cases[i].type, &m.allocator);
        if (taba_kind_has_columns(cases[i].type)) {
            CHECK_OK(taba_partial_reserve(p, &m.allocator, &time, &value, 1));
            taba_partial_fold(p, &time, &value, 1);
        } else {
            CHECK_OK(taba_partial_reserve_json(p, &m.allocator, 1, 3));
            taba_partial_fold_json(p, time, 5, (const uint8_t *)"321", 3);
        }
        CHECK(m.live <= cases[i].most && taba_partial_memory(p) == m.live && taba_partial_events(p) == 1);
        taba_partial_free(p, &m.allocator);
        CHECK(m.live == 0);
    }
    taba_partial_free(NULL, NULL);
    CHECK(taba_partial_new(99, NULL) == NULL);
}

static void memory_is_told_exactly(void) {
    static events e;
    for (size_t t = 0; t < 3; t++) {
        test_memory m;
        test_memory_init(&m);
        taba_partial *p = taba_partial_new(with_numbers[t], &m.allocator);
        for (int i = 0; i < 20; i++) {
            events_draw(&e, 1 + test_below(100), 1e9, 100);
            events_fit(with_numbers[t], &e);
            CHECK_OK(taba_partial_reserve(p, &m.allocator, e.times, e.values, e.n));
            taba_partial_fold(p, e.times, e.values, e.n);
            CHECK(taba_partial_memory(p) == m.live);
        }
        taba_partial_free(p, &m.allocator);
        CHECK(m.live == 0);
    }
}

/* ---------------------------------------------------------------------------------------------- folding */

static void an_empty_partial_has_no_encoding(void) {
    taba_buffer *out = taba_buffer_new(NULL);
    for (int type = TABA_RAW; type <= TABA_GAUGE; type++) {
        taba_partial *p = taba_partial_new(type, NULL);
        CHECK_STATUS(taba_partial_encode(p, out), TABA_EDOMAIN);
        CHECK(taba_partial_events(p) == 0 && taba_buffer_length(out) == 0);
        taba_partial_free(p, NULL);
    }
    taba_buffer_free(out);
}

/* Makes a Partial of `e` in pieces: some reserved and folded at once, some reserved together and folded in another
 * order. */
static taba_partial *fold_in_pieces(int type, const events *e, const taba_allocator *a) {
    taba_partial *p = taba_partial_new(type, a);
    size_t starts[8], lengths[8], at = 0;
    while (at < e->n) {
        size_t pieces = 0;
        for (; pieces < 8 && at < e->n; pieces++) {
            starts[pieces] = at;
            lengths[pieces] = 1 + test_below(e->n - at < 40 ? e->n - at : 40);
            CHECK_OK(taba_partial_reserve(p, a, e->times + at, e->values + at, lengths[pieces]));
            at += lengths[pieces];
        }
        while (pieces > 0) {
            size_t i = test_below(pieces--);
            taba_partial_fold(p, e->times + starts[i], e->values + starts[i], lengths[i]);
            starts[i] = starts[pieces];
            lengths[i] = lengths[pieces];
        }
    }
    return p;
}

/* Values whose range makes the scale change while they are added. */
static void widen(events *e) {
    for (size_t i = 0; i < e->n; i++)
        e->values[i] = ldexp(test_below(2) ? 1 : -1, (int)test_below(i % 7 == 0 ? 1000 : 30));
}

static void any_grouping_of_blocks_gives_the_same_bytes(void) {
    static events e;
    taba_buffer *out = taba_buffer_new(NULL);
    for (size_t t = 0; t < 3; t++)
        for (int round = 0; round < 60; round++) {
            test_memory m;
            test_memory_init(&m);
            events_draw(&e, 1 + test_below(MOST_EVENTS), 1e9 + 1000 * test_uniform(), round % 2 ? 2 : 500);
            if (round % 5 == 4 && t < 2)
                widen(&e);
            events_fit(with_numbers[t], &e);
            taba_buffer *whole = events_partial(with_numbers[t], &e, 0, e.n);
            taba_partial *p = fold_in_pieces(with_numbers[t], &e, &m.allocator);
            taba_blob found = encoded(p, out);
            CHECK(taba_partial_events(p) == e.n);
            if (round % 5 == 4 && t < 2)
                CHECK(found.length > 0); /* sums of such values round: the scale is compared below */
            else
                CHECK(test_same(found, test_blob_of(whole)));
            uint64_t count;
            double newest;
            CHECK_OK(taba_partial_extent(found, &count, &newest));
            CHECK(count == e.n);
            taba_partial_free(p, &m.allocator);
            CHECK(m.live == 0);
            taba_buffer_free(whole);
        }
    taba_buffer_free(out);
}

static void the_scale_does_not_depend_on_the_grouping(void) {
    static events e;
    const double q[] = {0, 0.1, 0.3, 0.5, 0.7, 0.9, 1};
    for (int round = 0; round < 30; round++) {
        double values[2][7];
        taba_sketch_summary all[2];
        taba_window windows[TABA_WINDOWS];
        events_draw(&e, 40 + test_below(300), 1e9, 2);
        widen(&e);
        for (int i = 0; i < 2; i++) {
            taba_buffer *partial = events_partial(TABA_COUNTER_GROUP, &e, 0, e.n);
            if (i == 1) {
                taba_partial *p = fold_in_pieces(TABA_COUNTER_GROUP, &e, NULL);
                (void)encoded(p, partial);
                taba_partial_free(p, NULL);
            }
            taba_buffer *state = folded(TABA_COUNTER_GROUP, NULL, partial);
            CHECK_OK(taba_counter_group_summary(test_blob_of(state), 1e9, windows, &all[i], q, 7, values[i], state));
            taba_buffer_free(state);
            taba_buffer_free(partial);
        }
        CHECK(all[0].error == all[1].error && all[0].count == all[1].count);
        CHECK(memcmp(values[0], values[1], sizeof *values) == 0);
    }
}

static void folding_allocates_nothing(void) {
    static events e;
    for (size_t t = 0; t < 3; t++)
        for (int round = 0; round < 20; round++) {
            test_memory m;
            test_memory_init(&m);
            taba_partial *p = taba_partial_new(with_numbers[t], &m.allocator);
            events_draw(&e, 300, 1e9, 100);
            if (round % 2 && t < 2)
                widen(&e);
            events_fit(with_numbers[t], &e);
            CHECK_OK(taba_partial_reserve(p, &m.allocator, e.times, e.values, e.n));
            size_t calls = m.calls, live = m.live;
            taba_partial_fold(p, e.times, e.values, e.n);
            CHECK(m.calls == calls && m.live == live);
            taba_partial_free(p, &m.allocator);
        }
}

static void a_reserve_without_its_fold_means_nothing(void) {
    static events e, never;
    taba_buffer *out = taba_buffer_new(NULL);
    for (size_t t = 0; t < 3; t++)
        for (int round = 0; round < 20; round++) {
            taba_partial *p = taba_partial_new(with_numbers[t], NULL);
            events_draw(&e, 1 + test_below(50), 1e9, 300);
            events_draw(&never, 1 + test_below(200), 1e9, 1000);
            events_fit(with_numbers[t], &e);
            events_fit(with_numbers[t], &never);
            CHECK_OK(taba_partial_reserve(p, NULL, never.times, never.values, never.n));
            CHECK_STATUS(taba_partial_encode(p, out), TABA_EDOMAIN);
            CHECK_OK(taba_partial_reserve(p, NULL, e.times, e.values, e.n));
            taba_partial_fold(p, e.times, e.values, e.n);
            taba_buffer *due = events_partial(with_numbers[t], &e, 0, e.n);
            CHECK(test_same(encoded(p, out), test_blob_of(due)));
            taba_buffer_free(due);
            taba_partial_free(p, NULL);
        }
    taba_buffer_free(out);
}

static void negative_zeros_are_zeros(void) {
    const double times[] = {100, 100}, values[] = {-0.0, -0.0};
    taba_buffer *out = taba_buffer_new(NULL);
    taba_partial *p = taba_partial_new(TABA_COUNTER_GROUP, NULL);
    CHECK_OK(taba_partial_reserve(p, NULL, times, values, 2));
    taba_partial_fold(p, times, values, 2);
    CHECK_BYTES(encoded(p, out), "81 01 01 02 01 02 00 00 01 c8 01 08 00");
    taba_partial_free(p, NULL);
    taba_buffer_free(out);
}

static void totals_stay_finite(void) {
    const double times[] = {100, 100, 100}, values[] = {DBL_MAX, DBL_MAX, -1};
    taba_buffer *out = taba_buffer_new(NULL);
    taba_partial *p = taba_partial_new(TABA_COUNTER_GROUP, NULL);
    int type;
    CHECK_OK(taba_partial_reserve(p, NULL, times, values, 3));
    taba_partial_fold(p, times, values, 3);
    CHECK_OK(taba_check(encoded(p, out), &type));
    taba_blob blob = encoded(p, out);
    CHECK(memcmp(blob.bytes + blob.length - 8, "\xff\xff\xff\xff\xff\xff\xef\x7f", 8) == 0);
    taba_partial_free(p, NULL);
    taba_buffer_free(out);
}

static void numbers_out_of_range_are_refused(void) {
    static const double bad[][2] = {{NAN, 1}, {INFINITY, 1}, {1e16, 1}, {-1e16, 1},
                                    {1, NAN}, {1, INFINITY}, {1, -INFINITY}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const double times[] = {100, bad[i][0]}, values[] = {1, bad[i][1]};
        taba_partial *p = taba_partial_new(TABA_COUNTER_GROUP, NULL);
        size_t before = taba_partial_memory(p);
        CHECK_STATUS(taba_partial_reserve(p, NULL, times, values, 2), TABA_EDOMAIN);
        CHECK(taba_partial_memory(p) == before);
        taba_partial_free(p, NULL);
    }
    const double ends[] = {9007199254740992.0, -9007199254740992.0}, values[] = {1, 2};
    taba_partial *p = taba_partial_new(TABA_COUNTER_GROUP, NULL);
    taba_buffer *out = taba_buffer_new(NULL);
    int type;
    CHECK_OK(taba_partial_reserve(p, NULL, ends, values, 2));
    taba_partial_fold(p, ends, values, 2);
    CHECK_OK(taba_check(encoded(p, out), &type));
    taba_partial_free(p, NULL);
    taba_buffer_free(out);
}

static void the_wrong_kind_of_reserve_is_refused(void) {
    const double one = 1;
    for (int type = TABA_RAW; type <= TABA_GAUGE; type++) {
        taba_partial *p = taba_partial_new(type, NULL);
        if (taba_kind_has_columns(type))
            CHECK_STATUS(taba_partial_reserve_json(p, NULL, 1, 1), TABA_ETYPE);
        else
            CHECK_STATUS(taba_partial_reserve(p, NULL, &one, &one, 1), TABA_ETYPE);
        taba_partial_free(p, NULL);
    }
}

/* ---------------------------------------------------------------------------------------------- JSON */

static void fold_json(taba_partial *p, double time, uint64_t stamp, const char *payload) {
    taba_partial_fold_json(p, time, stamp, (const uint8_t *)payload, strlen(payload));
}

static void a_gauge_keeps_the_latest(void) {
    test_memory m;
    test_memory_init(&m);
    taba_buffer *out = taba_buffer_new(NULL);
    taba_partial *p = taba_partial_new(TABA_GAUGE, &m.allocator);
    CHECK_OK(taba_partial_reserve_json(p, &m.allocator, 5, 4));
    fold_json(p, 100, 5, "1.5");
    fold_json(p, 50, 9, "7");
    CHECK_BYTES(encoded(p, out), "83 01 02 00 00 00 00 00 00 59 40 05 03 31 2e 35");
    fold_json(p, 100, 6, "true");
    fold_json(p, 100, 5, "2");
    CHECK_BYTES(encoded(p, out), "83 01 04 00 00 00 00 00 00 59 40 06 04 74 72 75 65");
    fold_json(p, 101, 1, "");
    CHECK_BYTES(encoded(p, out), "83 01 05 00 00 00 00 00 40 59 40 01 00");
    taba_partial_free(p, &m.allocator);
    CHECK(m.live == 0);
    taba_buffer_free(out);
}

static void raw_events_stay_as_they_came(void) {
    test_memory m;
    test_memory_init(&m);
    taba_buffer *out = taba_buffer_new(NULL);
    taba_partial *p = taba_partial_new(TABA_RAW, &m.allocator);
    CHECK_OK(taba_partial_reserve_json(p, &m.allocator, 1, 2));
    CHECK_OK(taba_partial_reserve_json(p, &m.allocator, 1, 0));
    size_t calls = m.calls;
    fold_json(p, 100, UINT64_MAX, "{}");
    fold_json(p, -0.0, 128, "");
    CHECK(m.calls == calls && taba_partial_events(p) == 2);
    CHECK_BYTES(encoded(p, out), "80 01 02 00 00 00 00 00 00 59 40 ff ff ff ff ff ff ff ff ff 01 02 7b 7d "
                                 "00 00 00 00 00 00 00 00 80 01 00");
    CHECK_STATUS(taba_partial_reserve_json(p, &m.allocator, SIZE_MAX / 2, 0), TABA_ENOMEM);
    CHECK_STATUS(taba_partial_reserve_json(p, &m.allocator, 0, SIZE_MAX), TABA_ENOMEM);
    CHECK_STATUS(taba_partial_reserve_json(p, &m.allocator, 1, SIZE_MAX / 2), TABA_ENOMEM);
    taba_partial_free(p, &m.allocator);
    CHECK(m.live == 0);
    taba_buffer_free(out);
}

/* ---------------------------------------------------------------------------------------------- no memory */

/* Reserves for `more`, then encodes, with memory that fails once; true if it did not come to that. */
static bool run_with_failure(int type, size_t fail_at, const events *held, const events *more) {
    test_memory m;
    test_memory_init(&m);
    taba_partial *p = taba_partial_new(type, &m.allocator);
    taba_buffer *out = taba_buffer_new(&m.allocator), *due = events_partial(type, held, 0, held->n);
    CHECK_OK(taba_partial_reserve(p, &m.allocator, held->times, held->values, held->n));
    taba_partial_fold(p, held->times, held->values, held->n);
    m.calls = 0;
    m.fail_at = fail_at;
    int status = taba_partial_reserve(p, &m.allocator, more->times, more->values, more->n);
    if (status == TABA_OK)
        status = taba_partial_encode(p, out);
    CHECK(status == TABA_OK || (status == TABA_ENOMEM && m.calls >= fail_at && taba_buffer_length(out) == 0));
    m.fail_at = 0;
    CHECK(test_same(encoded(p, out), test_blob_of(due)));
    CHECK_OK(taba_partial_reserve(p, &m.allocator, more->times, more->values, more->n));
    taba_partial_fold(p, more->times, more->values, more->n);
    CHECK(taba_partial_events(p) == held->n + more->n);
    int found;
    CHECK_OK(taba_check(encoded(p, out), &found));
    taba_partial_free(p, &m.allocator);
    taba_buffer_free(out);
    taba_buffer_free(due);
    CHECK(m.live == 0);
    return status == TABA_OK;
}

static void running_out_of_memory_changes_nothing(void) {
    static events held, more;
    for (size_t t = 0; t < 3; t++)
        for (int round = 0; round < 8; round++) {
            events_draw(&held, 1 + test_below(round % 2 ? 60 : 10), 1e9, round < 4 ? 2 : 200);
            events_draw(&more, 1 + test_below(round % 2 ? 100 : 20), 1e9, round < 4 ? 2 : 200);
            if (round % 4 == 3 && t < 2)
                widen(&more);
            events_fit(with_numbers[t], &held);
            events_fit(with_numbers[t], &more);
            size_t k = 1;
            while (!run_with_failure(with_numbers[t], k, &held, &more))
                k++;
            CHECK(k > 1);
        }
    test_memory m;
    test_memory_init(&m);
    m.fail_at = 1;
    CHECK(taba_partial_new(TABA_GAUGE, &m.allocator) == NULL);
    for (int type = TABA_RAW; type <= TABA_GAUGE; type += TABA_GAUGE) {
        m.fail_at = 0;
        taba_partial *p = taba_partial_new(type, &m.allocator);
        taba_buffer *out = taba_buffer_new(NULL), *again = taba_buffer_new(NULL);
        CHECK_OK(taba_partial_reserve_json(p, &m.allocator, 1, 3));
        fold_json(p, 100, 5, "1.5");
        taba_blob before = encoded(p, out);
        m.fail_at = m.calls + 1;
        CHECK_STATUS(taba_partial_reserve_json(p, &m.allocator, 1, 1000), TABA_ENOMEM);
        CHECK(test_same(before, encoded(p, again)));
        taba_partial_free(p, &m.allocator);
        taba_buffer_free(out);
        taba_buffer_free(again);
    }
    CHECK(m.live == 0);
}

int main(void) {
    test_seed(20240613);
    RUN(one_event_takes_few_bytes);
    RUN(memory_is_told_exactly);
    RUN(an_empty_partial_has_no_encoding);
    RUN(any_grouping_of_blocks_gives_the_same_bytes);
    RUN(the_scale_does_not_depend_on_the_grouping);
    RUN(folding_allocates_nothing);
    RUN(a_reserve_without_its_fold_means_nothing);
    RUN(negative_zeros_are_zeros);
    RUN(totals_stay_finite);
    RUN(numbers_out_of_range_are_refused);
    RUN(the_wrong_kind_of_reserve_is_refused);
    RUN(a_gauge_keeps_the_latest);
    RUN(raw_events_stay_as_they_came);
    RUN(running_out_of_memory_changes_nothing);
    return 0;
}
