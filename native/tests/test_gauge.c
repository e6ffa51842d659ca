/* test_gauge.c - Gauge and raw events: which value stays, what is kept of many clients, and reading them in turn; and the
 * newest time of States. */
#include "gauges.h"

static void the_latest_value_of_a_gauge_stays(void) {
    static const char *const orders[6][3] = {{LATE, EARLY, TIE}, {LATE, TIE, EARLY}, {EARLY, LATE, TIE},
                                             {EARLY, TIE, LATE}, {TIE, LATE, EARLY}, {TIE, EARLY, LATE}};
    taba_buffer *alone = gauge(LATE);
    CHECK_BYTES(test_blob_of(alone), "03 01 01 03 31 2e 35 00 00 00 00 00 00 59 40 05");
    taba_buffer_free(alone);
    for (int i = 0; i < 6; i++) {
        uint8_t bytes[3][64];
        taba_blob blobs[3];
        taba_buffer *first, *all = taba_buffer_new(NULL), *in_turn = taba_buffer_new(NULL);
        for (int j = 0; j < 3; j++)
            blobs[j] = from_hex(orders[i][j], bytes[j]);
        CHECK_OK(taba_fold(TABA_GAUGE, test_blob(NULL, 0), blobs, 3, all));
        CHECK_BYTES(test_blob_of(all), "03 01 01 04 74 72 75 65 00 00 00 00 00 00 59 40 06");
        first = gauge(orders[i][0]);
        CHECK_OK(taba_fold(TABA_GAUGE, test_blob_of(first), blobs + 1, 2, in_turn));
        CHECK(same_and_free(all, in_turn));
        taba_buffer_free(first);
    }
}

static void equal_times_and_stamps_are_decided_by_the_value(void) {
    uint8_t bytes[2][64];
    const taba_blob blobs[2] = {from_hex("83 01 01 00 00 00 00 00 00 59 40 05 02 31 32", bytes[0]),
                                from_hex("83 01 01 00 00 00 00 00 00 59 40 05 01 39", bytes[1])};
    const taba_blob turned[2] = {blobs[1], blobs[0]};
    taba_buffer *x = taba_buffer_new(NULL), *y = taba_buffer_new(NULL);
    CHECK_OK(taba_fold(TABA_GAUGE, test_blob(NULL, 0), blobs, 2, x));
    CHECK_OK(taba_fold(TABA_GAUGE, test_blob(NULL, 0), turned, 2, y));
    CHECK_BYTES(test_blob_of(x), "03 01 01 01 39 00 00 00 00 00 00 59 40 05");
    CHECK(same_and_free(x, y));
}

static void reducing_gauges_keeps_every_entry_in_order(void) {
    taba_buffer *late = gauge(LATE), *early = gauge(EARLY), *tie = gauge(TIE), *out = taba_buffer_new(NULL);
    const taba_blob blobs[] = {test_blob_of(tie), test_blob_of(late), test_blob(NULL, 0), test_blob_of(early),
                               test_blob_of(late)};
    const char *const due = "03 01 04 03 31 2e 35 00 00 00 00 00 00 59 40 05 03 31 2e 35 00 00 00 00 00 00 59 40 05 "
                            "01 37 00 00 00 00 00 00 49 40 09 04 74 72 75 65 00 00 00 00 00 00 59 40 06";
    CHECK_OK(taba_reduce(TABA_GAUGE, blobs, 5, out));
    CHECK_BYTES(test_blob_of(out), due);
    taba_buffer *left = reduced(TABA_GAUGE, late, early), *right = reduced(TABA_GAUGE, tie, late);
    CHECK(same_and_free(reduced(TABA_GAUGE, left, right), reduced(TABA_GAUGE, right, left)));
    CHECK(same_and_free(reduced(TABA_GAUGE, left, right), out));
    uint8_t bytes[64];
    const taba_blob more = from_hex(LATE, bytes);
    out = taba_buffer_new(NULL);
    CHECK_STATUS(taba_fold(TABA_GAUGE, test_blob_of(left), &more, 1, out), TABA_EDOMAIN);
    CHECK(taba_buffer_length(out) == 0);
    taba_buffer_free(out);
    taba_buffer_free(left);
    taba_buffer_free(right);
    taba_buffer_free(late);
    taba_buffer_free(early);
    taba_buffer_free(tie);
}

static void the_entries_of_a_gauge_are_read_in_turn(void) {
    taba_buffer *late = gauge(LATE), *early = gauge(EARLY), *both = reduced(TABA_GAUGE, early, late);
    taba_gauge_entry entry;
    size_t offset = 0;
    CHECK_OK(taba_gauge_next(test_blob_of(both), &offset, &entry));
    CHECK(entry.time == 100 && entry.stamp == 5 && test_same(entry.value, test_blob("1.5", 3)));
    CHECK_OK(taba_gauge_next(test_blob_of(both), &offset, &entry));
    CHECK(entry.time == 50 && entry.stamp == 9 && test_same(entry.value, test_blob("7", 1)));
    CHECK_STATUS(taba_gauge_next(test_blob_of(both), &offset, &entry), TABA_ELIMIT);
    offset = 0;
    CHECK_STATUS(taba_gauge_next(test_blob(NULL, 0), &offset, &entry), TABA_ELIMIT);
    offset = 1000;
    CHECK_STATUS(taba_gauge_next(test_blob_of(both), &offset, &entry), TABA_EDOMAIN);
    offset = 5; /* in the midst of an entry: nothing is known of it, but nothing beyond the State is read */
    (void)taba_gauge_next(test_blob_of(both), &offset, &entry);
    taba_buffer_free(both);
    taba_buffer_free(late);
    taba_buffer_free(early);
}

static void raw_events_are_read_in_turn(void) {
    uint8_t bytes[64];
    const taba_blob partial = from_hex("80 01 02 00 00 00 00 00 00 59 40 05 02 7b 7d 00 00 00 00 00 00 49 40 80 01 00",
                                       bytes);
    taba_gauge_entry event;
    size_t offset = 0;
    uint64_t count;
    double newest;
    CHECK_OK(taba_partial_extent(partial, &count, &newest));
    CHECK(count == 2 && newest == 100);
    CHECK_OK(taba_raw_next(partial, &offset, &event));
    CHECK(event.time == 100 && event.stamp == 5 && test_same(event.value, test_blob("{}", 2)));
    CHECK_OK(taba_raw_next(partial, &offset, &event));
    CHECK(event.time == 50 && event.stamp == 128 && event.value.length == 0);
    CHECK_STATUS(taba_raw_next(partial, &offset, &event), TABA_ELIMIT);
    offset = 0;
    CHECK_STATUS(taba_raw_next(test_blob(NULL, 0), &offset, &event), TABA_ETYPE);
}

static void the_newest_time_of_a_state(void) {
    static const int aggregating[] = {TABA_COUNTER_GROUP, TABA_PERCENTILE_GROUP};
    static events e;
    double newest = 7;
    CHECK_OK(taba_state_newest(test_blob(NULL, 0), &newest));
    CHECK(newest == 0);
    for (size_t t = 0; t < 2; t++)
        for (int round = 0; round < 20; round++) {
            events_draw(&e, 1 + test_below(100), 1e9 + test_uniform() * 100, 200);
            const int64_t width = aggregating[t] == TABA_COUNTER_GROUP ? 1 : 15;
            taba_buffer *state = events_state(aggregating[t], &e), *partial = events_partial(aggregating[t], &e, 0, e.n);
            CHECK_OK(taba_state_newest(test_blob_of(state), &newest));
            CHECK(newest == (double)(bucket_of(events_newest(&e), width) * width));
            CHECK_STATUS(taba_state_newest(test_blob(taba_buffer_bytes(state), taba_buffer_length(state) - 1), &newest), TABA_ECORRUPT);
            CHECK_STATUS(taba_state_newest(test_blob_of(partial), &newest), TABA_ETYPE);
            taba_buffer_free(state);
            taba_buffer_free(partial);
        }
    taba_buffer *early = gauge(EARLY), *late = gauge(LATE), *both = reduced(TABA_GAUGE, early, late);
    taba_gauge_entry entry;
    size_t offset = 0;
    CHECK_OK(taba_gauge_next(test_blob_of(late), &offset, &entry));
    CHECK_OK(taba_state_newest(test_blob_of(both), &newest));
    CHECK(newest == entry.time);
    taba_buffer_free(early);
    taba_buffer_free(late);
    taba_buffer_free(both);
}

int main(void) {
    test_seed(11);
    RUN(the_latest_value_of_a_gauge_stays);
    RUN(equal_times_and_stamps_are_decided_by_the_value);
    RUN(reducing_gauges_keeps_every_entry_in_order);
    RUN(the_entries_of_a_gauge_are_read_in_turn);
    RUN(raw_events_are_read_in_turn);
    RUN(the_newest_time_of_a_state);
    return 0;
}
