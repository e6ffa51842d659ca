/* test_types.c - what all Types have in common: the laws, what is refused, bad bytes, and memory that runs out. */
#include <math.h>

#include "gauges.h"

static const int aggregating[] = {TABA_COUNTER_GROUP, TABA_PERCENTILE_GROUP, TABA_UNIQUE_GROUP};

static const double q[] = {0, 0.25, 0.5, 0.75, 0.9, 0.99, 1};
#define QUANTILES 7

/* ---------------------------------------------------------------------------------------------- laws */

/* Folds all of `e`, shuffled, in Partials of some size, one fold each. */
static taba_buffer *fold_in_pieces(int type, events *e, size_t most) {
    for (size_t i = e->n; i > 1; i--) {
        size_t j = test_below(i);
        double time = e->times[i - 1], value = e->values[i - 1];
        e->times[i - 1] = e->times[j];
        e->values[i - 1] = e->values[j];
        e->times[j] = time;
        e->values[j] = value;
    }
    taba_buffer *state = NULL;
    for (size_t at = 0, piece; at < e->n; at += piece) {
        piece = 1 + test_below(e->n - at < most ? e->n - at : most);
        taba_buffer *partial = events_partial(type, e, at, piece), *next = folded(type, state, partial);
        taba_buffer_free(partial);
        taba_buffer_free(state);
        state = next;
    }
    return state;
}

static void the_order_of_events_does_not_matter(void) {
    static events e;
    for (size_t t = 0; t < 3; t++)
        for (int round = 0; round < 25; round++) {
            events_draw(&e, 1 + test_below(MOST_EVENTS), 1e9 + 1e5 * test_uniform(), round % 2 ? 3 : 2000);
            taba_buffer *at_once = events_state(aggregating[t], &e);
            CHECK(same_and_free(at_once, fold_in_pieces(aggregating[t], &e, 100)));
        }
}

static void folding_partials_together_is_folding_them_in_turn(void) {
    static events e;
    for (size_t t = 0; t < 3; t++)
        for (int round = 0; round < 25; round++) {
            taba_buffer *partials[3], *in_turn = NULL, *together = taba_buffer_new(NULL);
            taba_blob blobs[3];
            for (int i = 0; i < 3; i++) {
                events_draw(&e, 1 + test_below(80), 1e9 + 300 * test_uniform(), 200);
                partials[i] = events_partial(aggregating[t], &e, 0, e.n);
                blobs[i] = test_blob_of(partials[i]);
                taba_buffer *next = folded(aggregating[t], in_turn, partials[i]);
                taba_buffer_free(in_turn);
                in_turn = next;
            }
            CHECK_OK(taba_fold(aggregating[t], test_blob(NULL, 0), blobs, 3, together));
            CHECK(same_and_free(together, in_turn));
            for (int i = 0; i < 3; i++)
                taba_buffer_free(partials[i]);
        }
}

static void reduce_is_associative_and_commutative(void) {
    static events e;
    for (size_t t = 0; t < 3; t++)
        for (int round = 0; round < 25; round++) {
            taba_buffer *states[3];
            taba_blob blobs[3];
            int type = aggregating[t];
            for (int i = 0; i < 3; i++) {
                events_draw(&e, 1 + test_below(200), 1e9 + 400 * test_uniform(), i == 0 ? 2 : 1000);
                states[i] = events_state(type, &e);
                blobs[i] = test_blob_of(states[i]);
            }
            taba_buffer *left = reduced(type, states[0], states[1]), *right = reduced(type, states[1], states[2]);
            taba_buffer *left_first = reduced(type, left, states[2]), *right_first = reduced(type, states[0], right);
            taba_buffer *back = reduced(type, right, states[0]), *at_once = taba_buffer_new(NULL);
            CHECK_OK(taba_reduce(type, blobs, 3, at_once));
            CHECK(test_same(test_blob_of(left_first), test_blob_of(right_first)));
            CHECK(same_and_free(left_first, back));
            CHECK(same_and_free(right_first, at_once));
            CHECK(same_and_free(left, reduced(type, states[1], states[0])));
            taba_buffer_free(right);
            for (int i = 0; i < 3; i++)
                taba_buffer_free(states[i]);
        }
}

static void folding_is_reducing_with_what_was_folded_alone(void) {
    static events e;
    for (size_t t = 0; t < 3; t++)
        for (int round = 0; round < 25; round++) {
            events_draw(&e, 1 + test_below(300), 1e9 + 400 * test_uniform(), 500);
            taba_buffer *state = events_state(aggregating[t], &e);
            events_draw(&e, 1 + test_below(100), 1e9 + 400 * test_uniform(), 30);
            taba_buffer *partial = events_partial(aggregating[t], &e, 0, e.n);
            taba_buffer *alone = folded(aggregating[t], NULL, partial);
            CHECK(same_and_free(folded(aggregating[t], state, partial), reduced(aggregating[t], state, alone)));
            taba_buffer_free(state);
            taba_buffer_free(partial);
            taba_buffer_free(alone);
        }
}

static void the_empty_state_changes_nothing(void) {
    static events e;
    static const int types[] = {TABA_COUNTER_GROUP, TABA_PERCENTILE_GROUP, TABA_GAUGE, TABA_UNIQUE_GROUP};
    for (size_t t = 0; t < 4; t++) {
        taba_buffer *nothing = reduced(types[t], NULL, NULL), *out = taba_buffer_new(NULL);
        CHECK(taba_buffer_length(nothing) == 0);
        CHECK_OK(taba_fold(types[t], test_blob(NULL, 0), NULL, 0, out));
        CHECK_OK(taba_reduce(types[t], NULL, 0, out));
        CHECK(taba_buffer_length(out) == 0);
        taba_buffer_free(nothing);
        taba_buffer_free(out);
    }
    for (size_t t = 0; t < 3; t++) {
        events_draw(&e, 200, 1e9, 300);
        taba_buffer *state = events_state(aggregating[t], &e), *out = taba_buffer_new(NULL);
        CHECK_OK(taba_fold(aggregating[t], test_blob_of(state), NULL, 0, out));
        CHECK(same_and_free(out, reduced(aggregating[t], NULL, state)));
        CHECK(same_and_free(state, reduced(aggregating[t], state, NULL)));
    }
}

static void summaries_of_the_empty_state_are_zeros(void) {
    taba_window windows[TABA_WINDOWS], buckets[120];
    taba_sketch_summary all[TABA_WINDOWS];
    double values[TABA_WINDOWS * QUANTILES];
    int64_t first;
    taba_buffer *work = taba_buffer_new(NULL);
    memset(windows, 0xff, sizeof windows);
    memset(buckets, 0xff, sizeof buckets);
    CHECK_OK(taba_counter_group_summary(test_blob(NULL, 0), 1e9, windows, all, q, QUANTILES, values, work));
    CHECK(windows[3].count == 0 && windows[3].total == 0 && all[0].count == 0 && values[3] == 0);
    CHECK_OK(taba_counter_group_buckets(test_blob(NULL, 0), 1e9, 3, &first, buckets));
    CHECK(first == 1000000000 / 900 * 900 - 95 * 900 && buckets[0].count == 0 && buckets[95].count == 0);
    CHECK_OK(taba_percentile_group_summary(test_blob(NULL, 0), 1e9, all, q, QUANTILES, values, work));
    CHECK(all[0].count == 0 && all[3].max == 0 && values[4 * QUANTILES - 1] == 0);
    taba_buffer_free(work);
}

/* ---------------------------------------------------------------------------------------------- check and extent */

static void extents_tell_events_and_the_newest_bucket(void) {
    const events e = {3, {1000.7, 1034.2, 1001}, {5, 6, 7}};
    uint64_t count;
    double newest;
    uint8_t bytes[64];
    for (size_t t = 0; t < 3; t++) {
        taba_buffer *partial = events_partial(aggregating[t], &e, 0, 3), *state = folded(aggregating[t], NULL, partial);
        CHECK_OK(taba_partial_extent(test_blob_of(partial), &count, &newest));
        CHECK(count == 3 && newest == (t == 0 ? 1034 : 1020));
        CHECK_STATUS(taba_partial_extent(test_blob_of(state), &count, &newest), TABA_ETYPE);
        taba_buffer_free(partial);
        taba_buffer_free(state);
    }
    CHECK_OK(taba_partial_extent(from_hex(LATE, bytes), &count, &newest));
    CHECK(count == 2 && newest == 100);
    CHECK_STATUS(taba_partial_extent(test_blob(NULL, 0), &count, &newest), TABA_ETYPE);
}

static void whole_blobs_are_known_by_their_type(void) {
    static events e;
    int type = 7;
    uint8_t bytes[64];
    events_draw(&e, 200, 1e9, 300);
    for (size_t t = 0; t < 3; t++) {
        taba_buffer *partial = events_partial(aggregating[t], &e, 0, e.n);
        taba_buffer *state = folded(aggregating[t], NULL, partial);
        CHECK_OK(taba_check(test_blob_of(partial), &type));
        CHECK(type == (aggregating[t] | TABA_PARTIAL));
        CHECK_OK(taba_check(test_blob_of(state), &type));
        CHECK(type == aggregating[t]);
        taba_buffer_free(partial);
        taba_buffer_free(state);
    }
    CHECK_OK(taba_check(from_hex(TIE, bytes), &type));
    CHECK(type == (TABA_GAUGE | TABA_PARTIAL));
    type = 7;
    CHECK_STATUS(taba_check(test_blob(NULL, 0), &type), TABA_ECORRUPT);
    CHECK_STATUS(taba_check(from_hex("00 01", bytes), &type), TABA_ETYPE);
    CHECK_STATUS(taba_check(from_hex("04 01", bytes), &type), TABA_ETYPE);
    CHECK_STATUS(taba_check(from_hex("81 02 00", bytes), &type), TABA_EVERSION);
    CHECK(type == 7);
}

static void blobs_of_another_kind_are_refused(void) {
    uint8_t bytes[64];
    const events e = {1, {100}, {7}};
    taba_buffer *out = taba_buffer_new(NULL), *partial = events_partial(TABA_COUNTER_GROUP, &e, 0, 1);
    taba_buffer *state = folded(TABA_COUNTER_GROUP, NULL, partial);
    const taba_blob p = test_blob_of(partial), s = test_blob_of(state), nothing = test_blob(NULL, 0);
    CHECK_OK(taba_buffer_append(out, "x", 1));
    CHECK_STATUS(taba_fold(TABA_COUNTER_GROUP, p, NULL, 0, out), TABA_ETYPE);
    CHECK_STATUS(taba_fold(TABA_COUNTER_GROUP, nothing, &s, 1, out), TABA_ETYPE);
    CHECK_STATUS(taba_fold(TABA_PERCENTILE_GROUP, nothing, &p, 1, out), TABA_ETYPE);
    CHECK_STATUS(taba_fold(TABA_GAUGE, s, NULL, 0, out), TABA_ETYPE);
    CHECK_STATUS(taba_fold(TABA_RAW, nothing, NULL, 0, out), TABA_ETYPE);
    CHECK_STATUS(taba_fold(99, nothing, NULL, 0, out), TABA_ETYPE);
    CHECK_STATUS(taba_reduce(TABA_COUNTER_GROUP, &p, 1, out), TABA_ETYPE);
    CHECK_STATUS(taba_reduce(TABA_PERCENTILE_GROUP, &s, 1, out), TABA_ETYPE);
    CHECK_STATUS(taba_reduce(TABA_RAW, NULL, 0, out), TABA_ETYPE);
    CHECK_STATUS(taba_fold(TABA_COUNTER_GROUP, nothing, &nothing, 1, out), TABA_ECORRUPT);
    const taba_blob newer = from_hex("81 02 01", bytes);
    CHECK_STATUS(taba_fold(TABA_COUNTER_GROUP, nothing, &newer, 1, out), TABA_EVERSION);
    CHECK_BYTES(test_blob_of(out), "78");
    taba_buffer_free(out);
    taba_buffer_free(partial);
    taba_buffer_free(state);
}

static void arguments_out_of_range_are_refused(void) {
    taba_window windows[TABA_WINDOWS], buckets[120];
    taba_sketch_summary all[TABA_WINDOWS];
    double values[8] = {7, 7, 7, 7, 7, 7, 7, 7};
    const double bad_times[] = {NAN, INFINITY, -INFINITY, 1e17}, bad_q[] = {0.5, 1.5};
    int64_t first = 7;
    taba_buffer *work = taba_buffer_new(NULL);
    const taba_blob nothing = test_blob(NULL, 0);
    for (int i = 0; i < 4; i++) {
        CHECK_STATUS(taba_counter_group_summary(nothing, bad_times[i], windows, all, q, 2, values, work), TABA_EDOMAIN);
        CHECK_STATUS(taba_percentile_group_summary(nothing, bad_times[i], all, q, 2, values, work), TABA_EDOMAIN);
        CHECK_STATUS(taba_counter_group_buckets(nothing, bad_times[i], 0, &first, buckets), TABA_EDOMAIN);
    }
    CHECK_STATUS(taba_counter_group_summary(nothing, 1e9, windows, all, bad_q, 2, values, work), TABA_EDOMAIN);
    CHECK_STATUS(taba_percentile_group_summary(nothing, 1e9, all, bad_q, 2, values, work), TABA_EDOMAIN);
    CHECK_STATUS(taba_counter_group_buckets(nothing, 1e9, 4, &first, buckets), TABA_EDOMAIN);
    CHECK_STATUS(taba_counter_group_buckets(nothing, 1e9, -1, &first, buckets), TABA_EDOMAIN);
    CHECK(values[0] == 7 && values[1] == 7 && first == 7);
    taba_buffer_free(work);
}

/* ---------------------------------------------------------------------------------------------- bad bytes */

static void other_bytes_for_a_value_are_refused(void) {
    static const char *const cases[] = {
        "01", "01 01", "81 01", "81 01 00 00", "82 01 00", "03 01 00", "80 01 00", "01 01 00 00 00 00 00",
        "02 01 00 00 00 00",
        "81 01 01 02 01 01 0e 01 c8 01 00 0e 00",           /* a byte behind the end */
        "81 01 01 02 01 01 0e 01 c8 01 08 0e",              /* counts that do not add up */
        "81 01 01 02 00 01 c8 01 00 0e",                    /* a minute without events */
        "81 01 01 02 01 01 0e 01 c8 01 01 00 0e",           /* the first bucket is far */
        "81 01 01 02 01 01 0e 01 c8 01 02 b0 6d",           /* 7.0 as thousandths */
        "81 01 01 02 01 01 0e 01 c8 01 06 0e",              /* kind 3 */
        "81 01 ff ff ff ff 0f 02 01 01 0e",                 /* more minutes than bytes */
        "81 01 01 02 01 01 0e ff ff ff ff 0f c8 01 00 0e",
        "81 01 01 fe ff ff ff ff ff ff ff ff 01 01 01 0e 01 c8 01 00 0e",  /* a minute beyond 2**53 s */
        "81 01 01 02 01 01 0e 01 fe ff ff ff ff ff ff ff ff 01 00 0e",
        "81 01 01 02 01 02 0e 00 02 c8 01 00 0e 01 ff ff ff ff ff ff ff ff ff 01 0e",
        "01 01 01 01 0e 01 c8 01 00 0e 01 16 00 0e 01 06 00 0e 01 00 00 0e",  /* the levels do not end together */
        "01 01 01 01 0e 01 c8 01 00 0e 01 14 00 0e 01 06 00 0e 00",
        "01 01 01 01 0e 00 01 14 00 0e 01 06 00 0e 01 00 00 0e",
        "01 01 01 01 0e 01 c8 01 08 0e 01 14 00 0e 01 06 00 0e 01 00 00 0e",  /* more events in a level than in all */
        "01 01 01 02 0e 00 02 01 00 0e 01 95 01 0e 01 1e 00 0e 01 0a 00 0e 01 00 00 0e", /* 1 and 152: too old */
        "02 01 01 84 01 00 01 0c 01 01 0a 01 02 01 01 0a 01 00 01 01 0a",     /* an empty bucket */
        "03 01 02 01 39 00 00 00 00 00 00 59 40 05 01 37 00 00 00 00 00 00 59 40 05", /* not in order */
        "83 01 00 00 00 00 00 00 00 59 40 05 01 37", "83 01 01 00 00 00 00 00 00 f8 7f 05 01 37",
        "83 01 01 00 00 00 00 00 00 59 40 05 02 37", "80 01 02 00 00 00 00 00 00 59 40 05 00"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[128];
        int type = 7;
        taba_blob blob = from_hex(cases[i], bytes);
        uint8_t *alone = test_alone(blob);
        int status = taba_check(test_blob(alone, blob.length), &type);
        if (status != TABA_ECORRUPT)
            fprintf(stderr, "%d for %s\n", status, cases[i]);
        CHECK(status == TABA_ECORRUPT && type == 7);
        free(alone);
    }
}

/* Whatever is accepted of a State comes out of reduce as it is; a Partial that is accepted can be folded to such a
 * State. */
static void check_accepted(taba_blob blob, int type) {
    taba_buffer *out = taba_buffer_new(NULL), *again = taba_buffer_new(NULL);
    if (type & TABA_PARTIAL)
        CHECK_OK(taba_fold(type & ~TABA_PARTIAL, test_blob(NULL, 0), &blob, 1, out));
    else
        CHECK_OK(taba_reduce(type, &blob, 1, out));
    taba_blob state = test_blob_of(out);
    CHECK((type & TABA_PARTIAL) || test_same(state, blob));
    CHECK_OK(taba_reduce(type & ~TABA_PARTIAL, &state, 1, again));
    CHECK(same_and_free(out, again));
}

static void check_prefixes_and_changes(taba_blob blob) {
    int type;
    for (size_t n = 0; n < blob.length; n++) {
        uint8_t *alone = test_alone(test_blob(blob.bytes, n));
        CHECK_STATUS(taba_check(test_blob(alone, n), &type), TABA_ECORRUPT);
        free(alone);
    }
    for (int i = 0; i < 300; i++) {
        uint8_t *changed = test_alone(blob);
        changed[2 + test_below(blob.length - 2)] ^= (uint8_t)(1 + test_below(255));
        if (taba_check(test_blob(changed, blob.length), &type) == TABA_OK)
            check_accepted(test_blob(changed, blob.length), type);
        free(changed);
    }
}

static void cut_and_changed_bytes_are_refused_or_canonical(void) {
    static events e;
    for (size_t t = 0; t < 3; t++)
        for (size_t n = 1; n <= MOST_EVENTS; n = n * 3 + 1) {
            events_draw(&e, n, 1e9, 60);
            taba_buffer *partial = events_partial(aggregating[t], &e, 0, n);
            taba_buffer *state = folded(aggregating[t], NULL, partial);
            check_prefixes_and_changes(test_blob_of(partial));
            check_prefixes_and_changes(test_blob_of(state));
            taba_buffer_free(partial);
            taba_buffer_free(state);
        }
    taba_buffer *late = gauge(LATE), *early = gauge(EARLY), *both = reduced(TABA_GAUGE, early, late);
    check_prefixes_and_changes(test_blob_of(both));
    taba_buffer_free(late);
    taba_buffer_free(early);
    taba_buffer_free(both);
}

/* ---------------------------------------------------------------------------------------------- no memory */

/* Fold, reduce and summary with memory that fails once; true if it did not come to that. */
static bool run_with_failure(int type, size_t fail_at, taba_blob state, taba_blob partial) {
    test_memory m;
    test_memory_init(&m);
    taba_buffer *out = taba_buffer_new(&m.allocator);
    taba_window windows[TABA_WINDOWS];
    taba_sketch_summary all[TABA_WINDOWS];
    taba_unique_window uniques[TABA_WINDOWS];
    double values[TABA_WINDOWS * QUANTILES] = {7};
    const taba_blob states[] = {state, state};
    CHECK_OK(taba_buffer_append(out, "x", 1));
    m.calls = 0;
    m.fail_at = fail_at;
    int status = taba_fold(type, state, &partial, 1, out);
    CHECK(status == TABA_OK || taba_buffer_length(out) == 1);
    if (status == TABA_OK) {
        size_t length = taba_buffer_length(out);
        status = taba_reduce(type, states, 2, out);
        CHECK(status == TABA_OK || taba_buffer_length(out) == length);
    }
    CHECK(taba_buffer_bytes(out)[0] == 'x');
    if (status == TABA_OK && type == TABA_COUNTER_GROUP)
        status = taba_counter_group_summary(state, 1e9, windows, all, q, QUANTILES, values, out);
    if (status == TABA_OK && type == TABA_PERCENTILE_GROUP)
        status = taba_percentile_group_summary(state, 1e9, all, q, QUANTILES, values, out);
    if (status == TABA_OK && type == TABA_UNIQUE_GROUP)
        status = taba_unique_group_summary(state, 1e9, uniques, out);
    CHECK(status == TABA_OK || (status == TABA_ENOMEM && m.calls >= fail_at && values[0] == 7));
    taba_buffer_free(out);
    CHECK(m.live == 0);
    return status == TABA_OK;
}

static void running_out_of_memory_changes_nothing(void) {
    static events e;
    for (size_t t = 0; t < 3; t++)
        for (int round = 0; round < 4; round++) {
            events_draw(&e, round < 2 ? 20 : 500, 1e9, 200);
            taba_buffer *state = events_state(aggregating[t], &e);
            events_draw(&e, round % 2 ? 5 : 100, 1e9, 20);
            taba_buffer *partial = events_partial(aggregating[t], &e, 0, e.n);
            size_t k = 1;
            while (!run_with_failure(aggregating[t], k, test_blob_of(state), test_blob_of(partial)))
                k++;
            CHECK(k > 5);
            taba_buffer_free(state);
            taba_buffer_free(partial);
        }
    uint8_t bytes[64];
    taba_buffer *late = gauge(LATE);
    size_t k = 1;
    while (!run_with_failure(TABA_GAUGE, k, test_blob_of(late), from_hex(TIE, bytes)))
        k++;
    CHECK(k > 1);
    taba_buffer_free(late);
}

int main(void) {
    test_seed(20240612);
    RUN(the_order_of_events_does_not_matter);
    RUN(folding_partials_together_is_folding_them_in_turn);
    RUN(reduce_is_associative_and_commutative);
    RUN(folding_is_reducing_with_what_was_folded_alone);
    RUN(the_empty_state_changes_nothing);
    RUN(summaries_of_the_empty_state_are_zeros);
    RUN(extents_tell_events_and_the_newest_bucket);
    RUN(whole_blobs_are_known_by_their_type);
    RUN(blobs_of_another_kind_are_refused);
    RUN(arguments_out_of_range_are_refused);
    RUN(other_bytes_for_a_value_are_refused);
    RUN(cut_and_changed_bytes_are_refused_or_canonical);
    RUN(running_out_of_memory_changes_nothing);
    return 0;
}
