/* test_windows.c - CounterGroup and PercentileGroup: bytes by hand, and their windows against a plain recount of
 * events. */
#include <math.h>

#include "events.h"

static const int64_t counter_widths[] = {1, 10, 30, 900}, counter_numbers[] = {60, 60, 120, 96};
static const int64_t percentile_widths[] = {15, 150, 900, 21600};

static const double q[] = {0, 0.25, 0.5, 0.75, 0.9, 0.99, 1};
#define QUANTILES 7

/* ---------------------------------------------------------------------------------------------- CounterGroup */

static void a_counter_has_the_documented_bytes(void) {
    const events one = {1, {100.75}, {7}};
    taba_buffer *partial = events_partial(TABA_COUNTER_GROUP, &one, 0, 1);
    taba_buffer *state = folded(TABA_COUNTER_GROUP, NULL, partial);
    CHECK_BYTES(test_blob_of(partial), "81 01 01 02 01 01 0e 01 c8 01 00 0e");
    CHECK_BYTES(test_blob_of(state), "01 01 01 01 0e 01 c8 01 00 0e 01 14 00 0e 01 06 00 0e 01 00 00 0e");
    taba_buffer_free(partial);
    taba_buffer_free(state);
    /* Two events in second 100, one of 2.5 in 101, one in 105, one in the next minute. */
    const events more = {5, {105, 100, 101.5, 120, 100.9}, {3, 3, 2.5, -1, 4}};
    partial = events_partial(TABA_COUNTER_GROUP, &more, 0, 5);
    CHECK_BYTES(test_blob_of(partial),
                "81 01 02 02 05 04 88 27 f4 03 00 e8 07 00 01 01 01 04 c8 01 08 0e 02 88 27 01 02 06 01 0d 01");
    state = folded(TABA_COUNTER_GROUP, NULL, partial);
    CHECK_BYTES(test_blob_of(state),
                "01 01 05 05 cf 0f ac 1b f4 03 00 e8 07 04 c8 01 08 0e 02 88 27 01 02 06 01 0d 01 "
                "02 14 1a a8 c3 01 01 00 01 02 06 1a a8 c3 01 00 01 01 00 22 d8 b3 01");
    taba_buffer_free(partial);
    taba_buffer_free(state);
}

/* The windows at `time`, by a recount of all events. */
static void recount(const events *e, double time, taba_window *out) {
    for (int level = 0; level < TABA_WINDOWS; level++) {
        int64_t last = bucket_of(time, counter_widths[level]);
        out[level].count = 0;
        out[level].total = 0;
        for (size_t i = 0; i < e->n; i++) {
            int64_t index = bucket_of(e->times[i], counter_widths[level]);
            if (index > last - counter_numbers[level] && index <= last) {
                out[level].count++;
                out[level].total += e->values[i];
            }
        }
    }
}

static void check_windows(taba_blob state, const events *e, double time) {
    taba_window found[TABA_WINDOWS], due[TABA_WINDOWS];
    taba_sketch_summary all;
    double values[QUANTILES], same_values[QUANTILES];
    taba_buffer *work = taba_buffer_new(NULL);
    recount(e, time, due);
    CHECK_OK(taba_counter_group_summary(state, time, found, &all, q, QUANTILES, values, work));
    for (int level = 0; level < TABA_WINDOWS; level++)
        CHECK(found[level].count == due[level].count && found[level].total == due[level].total);
    taba_sketch *s = taba_sketch_new(NULL);
    CHECK_OK(taba_sketch_add(s, e->values, e->n));
    CHECK_OK(taba_sketch_quantiles(s, q, QUANTILES, same_values));
    CHECK(all.count == e->n && memcmp(values, same_values, sizeof values) == 0);
    taba_sketch_free(s);
    taba_buffer_free(work);
}

static void windows_are_whole_up_to_90_seconds_back(void) {
    static events e;
    for (int round = 0; round < 60; round++) {
        events_draw(&e, 1 + test_below(MOST_EVENTS), 1e9 + 1e6 * test_uniform(), round % 2 ? 100 : 5000);
        taba_buffer *state = events_state(TABA_COUNTER_GROUP, &e);
        double newest = events_newest(&e);
        check_windows(test_blob_of(state), &e, newest);
        check_windows(test_blob_of(state), &e, floor(newest) - 90);
        check_windows(test_blob_of(state), &e, newest - 90 * test_uniform());
        check_windows(test_blob_of(state), &e, newest + 50000 * test_uniform());
        taba_buffer_free(state);
    }
}

static void times_before_1970_are_times_too(void) {
    static events e;
    events_draw(&e, 300, -5000, 2000);
    taba_buffer *state = events_state(TABA_COUNTER_GROUP, &e);
    check_windows(test_blob_of(state), &e, events_newest(&e) - 30);
    taba_buffer_free(state);
}

static void the_buckets_of_a_window_come_oldest_first(void) {
    static events e;
    taba_window buckets[120];
    int64_t first;
    for (int round = 0; round < 20; round++) {
        events_draw(&e, 400, 1e9 + 1e6 * test_uniform(), 300);
        taba_buffer *state = events_state(TABA_COUNTER_GROUP, &e);
        double time = events_newest(&e) - 60 * test_uniform();
        for (int level = 0; level < TABA_WINDOWS; level++) {
            int64_t width = counter_widths[level], number = counter_numbers[level];
            CHECK_OK(taba_counter_group_buckets(test_blob_of(state), time, level, &first, buckets));
            CHECK(first == (bucket_of(time, width) - number + 1) * width);
            for (int64_t i = 0; i < number; i++) {
                taba_window due = {0, 0};
                for (size_t j = 0; j < e.n; j++)
                    if (bucket_of(e.times[j], width) == first / width + i) {
                        due.count++;
                        due.total += e.values[j];
                    }
                CHECK(buckets[i].count == due.count && buckets[i].total == due.total);
            }
        }
        taba_buffer_free(state);
    }
}

static void events_too_old_for_a_level_are_left_out_of_it(void) {
    /* The newest second is 1000000: of the 1 s level 999850 and later stay, of the 10 s level 999310 and later. */
    const events e = {5, {1000000.5, 999850, 999849.9, 999310, 999309.9}, {1, 2, 4, 8, 16}};
    taba_window buckets[120];
    int64_t first;
    taba_buffer *state = events_state(TABA_COUNTER_GROUP, &e);
    CHECK_OK(taba_counter_group_buckets(test_blob_of(state), 999850, 0, &first, buckets));
    CHECK(buckets[59].count == 1 && buckets[59].total == 2 && buckets[58].count == 0);
    CHECK_OK(taba_counter_group_buckets(test_blob_of(state), 999319, 1, &first, buckets));
    CHECK(buckets[59].count == 1 && buckets[59].total == 8 && buckets[58].count == 0);
    CHECK_OK(taba_counter_group_buckets(test_blob_of(state), 1000000, 2, &first, buckets));
    double total = 0;
    for (int i = 0; i < 120; i++)
        total += buckets[i].total;
    CHECK(total == 31);
    taba_buffer_free(state);
}

static void a_time_rounded_up_by_division_is_still_before_its_bucket(void) {
    double before = nextafter(1e9, 0); /* before / 10 would be 1e8 */
    const events e = {1, {before}, {5}};
    taba_buffer *state = events_state(TABA_COUNTER_GROUP, &e);
    taba_window buckets[120];
    int64_t first;
    CHECK_OK(taba_counter_group_buckets(test_blob_of(state), before, 1, &first, buckets));
    CHECK(first == 1000000000 - 600 && buckets[59].count == 1);
    taba_buffer_free(state);
}

/* ---------------------------------------------------------------------------------------------- PercentileGroup */

static void a_percentile_has_the_documented_bytes(void) {
    const events e = {2, {1000, 1020}, {5, 6}};
    taba_buffer *partial = events_partial(TABA_PERCENTILE_GROUP, &e, 0, 2);
    taba_buffer *state = folded(TABA_PERCENTILE_GROUP, NULL, partial);
    CHECK_BYTES(test_blob_of(partial), "82 01 02 84 01 01 01 0a 01 01 01 0c");
    CHECK_BYTES(test_blob_of(state),
                "02 01 02 84 01 01 01 0a 01 01 01 0c 01 0c 01 02 0a 01 01 02 01 02 0a 01 01 00 01 02 0a 01");
    taba_buffer_free(partial);
    taba_buffer_free(state);
}

static void check_percentiles(taba_blob state, const events *e, double time) {
    taba_sketch_summary found[TABA_WINDOWS], due;
    double values[TABA_WINDOWS * QUANTILES], due_values[QUANTILES];
    taba_buffer *work = taba_buffer_new(NULL);
    CHECK_OK(taba_percentile_group_summary(state, time, found, q, QUANTILES, values, work));
    for (int level = 0; level < TABA_WINDOWS; level++) {
        taba_sketch *s = taba_sketch_new(NULL);
        int64_t last = bucket_of(time, percentile_widths[level]);
        for (size_t i = 0; i < e->n; i++) {
            int64_t index = bucket_of(e->times[i], percentile_widths[level]);
            if (index > last - 4 && index <= last)
                CHECK_OK(taba_sketch_add(s, &e->values[i], 1));
        }
        taba_sketch_summary_of(s, &due);
        CHECK_OK(taba_sketch_quantiles(s, q, QUANTILES, due_values));
        CHECK(found[level].count == due.count && found[level].sum == due.sum && found[level].min == due.min);
        CHECK(found[level].max == due.max && found[level].error == due.error);
        CHECK(memcmp(values + level * QUANTILES, due_values, sizeof due_values) == 0);
        taba_sketch_free(s);
    }
    taba_buffer_free(work);
}

static void percentiles_are_those_of_the_events_in_the_window(void) {
    static events e;
    for (int round = 0; round < 40; round++) {
        events_draw(&e, 1 + test_below(MOST_EVENTS), 1e9 + 1e6 * test_uniform(), round % 2 ? 60 : 4000);
        taba_buffer *state = events_state(TABA_PERCENTILE_GROUP, &e);
        double newest = events_newest(&e);
        check_percentiles(test_blob_of(state), &e, newest);
        check_percentiles(test_blob_of(state), &e, floor(newest / 15) * 15 - 90);
        check_percentiles(test_blob_of(state), &e, newest - 90 * test_uniform());
        check_percentiles(test_blob_of(state), &e, newest + 50000 * test_uniform());
        taba_buffer_free(state);
    }
}

int main(void) {
    test_seed(20240615);
    RUN(a_counter_has_the_documented_bytes);
    RUN(windows_are_whole_up_to_90_seconds_back);
    RUN(times_before_1970_are_times_too);
    RUN(the_buckets_of_a_window_come_oldest_first);
    RUN(events_too_old_for_a_level_are_left_out_of_it);
    RUN(a_time_rounded_up_by_division_is_still_before_its_bucket);
    RUN(a_percentile_has_the_documented_bytes);
    RUN(percentiles_are_those_of_the_events_in_the_window);
    return 0;
}
