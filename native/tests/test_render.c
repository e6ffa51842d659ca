/* test_render.c - States as text: every Type plain and detailed, what is left to others, and when memory runs out. */
#include "gauges.h"
#include "text.h"

#define MOST 20

static taba_blob text_blob(const char *text) { return test_blob(text, strlen(text)); }

/* The State of clients that show these values since time 100. */
static taba_buffer *gauge_of(const char *const *values, size_t n) {
    taba_buffer *states[MOST], *out = taba_buffer_new(NULL);
    taba_blob blobs[MOST];
    for (size_t i = 0; i < n; i++) {
        taba_partial *p = taba_partial_new(TABA_GAUGE, NULL);
        taba_buffer *partial = taba_buffer_new(NULL);
        const size_t length = strlen(values[i]);
        CHECK_OK(taba_partial_reserve_json(p, NULL, 1, length));
        taba_partial_fold_json(p, 100, i, (const uint8_t *)values[i], length);
        CHECK_OK(taba_partial_encode(p, partial));
        const taba_blob encoded = test_blob_of(partial);
        states[i] = taba_buffer_new(NULL);
        CHECK_OK(taba_fold(TABA_GAUGE, test_blob(NULL, 0), &encoded, 1, states[i]));
        blobs[i] = test_blob_of(states[i]);
        taba_partial_free(p, NULL);
        taba_buffer_free(partial);
    }
    CHECK_OK(taba_reduce(TABA_GAUGE, blobs, n, out));
    for (size_t i = 0; i < n; i++)
        taba_buffer_free(states[i]);
    return out;
}

/* The State of `n` events, the last of them at time 100. */
static taba_buffer *state_of(int type, size_t n) {
    double times[64], values[64];
    taba_partial *p = taba_partial_new(type, NULL);
    taba_buffer *partial = taba_buffer_new(NULL), *out = taba_buffer_new(NULL);
    for (size_t i = 0; i < n; i++) {
        times[i] = 100 - (double)(n - 1 - i);
        values[i] = (double)i + 0.5 * (type != TABA_UNIQUE_GROUP);
    }
    CHECK_OK(taba_partial_reserve(p, NULL, times, values, n));
    taba_partial_fold(p, times, values, n);
    CHECK_OK(taba_partial_encode(p, partial));
    const taba_blob blob = test_blob_of(partial);
    CHECK_OK(taba_fold(type, test_blob(NULL, 0), &blob, 1, out));
    taba_partial_free(p, NULL);
    taba_buffer_free(partial);
    return out;
}

/* Fails unless the State is shown so; from a place of its own, so that reading beyond it is seen. */
static void check_shown(int type, int detailed, taba_blob state, const char *due) {
    taba_buffer *out = taba_buffer_new(NULL), *ends = taba_buffer_new(NULL);
    uint8_t *alone = test_alone(state);
    const taba_blob copy = {state.length != 0 ? alone : NULL, state.length};
    CHECK_OK(taba_render(type, detailed, &copy, 1, 101, out, ends));
    if (!test_same(test_blob_of(out), text_blob(due)))
        fprintf(stderr, "shown: %.*s\n", (int)taba_buffer_length(out), (const char *)taba_buffer_bytes(out));
    CHECK(test_same(test_blob_of(out), text_blob(due)) && taba_buffer_length(ends) == sizeof(size_t));
    free(alone);
    taba_buffer_free(out);
    taba_buffer_free(ends);
}

static void windows_of_distinct_values_are_shown(void) {
    taba_buffer *state = state_of(TABA_UNIQUE_GROUP, 3);
    check_shown(TABA_UNIQUE_GROUP, 0, test_blob_of(state),
                "{\"1m\": {\"count\": 3, \"unique\": 3}, \"10m\": {\"count\": 3, \"unique\": 3}, "
                "\"1h\": {\"count\": 3, \"unique\": 3}, \"1d\": {\"count\": 3, \"unique\": 3}}");
    check_shown(TABA_UNIQUE_GROUP, 1, test_blob_of(state),
                "[[[45.0, 0, 0], [60.0, 0, 0], [75.0, 0, 0], [90.0, 3, 3]], "
                "[[-450.0, 0, 0], [-300.0, 0, 0], [-150.0, 0, 0], [0.0, 3, 3]], "
                "[[-2700.0, 0, 0], [-1800.0, 0, 0], [-900.0, 0, 0], [0.0, 3, 3]], "
                "[[-64800.0, 0, 0], [-43200.0, 0, 0], [-21600.0, 0, 0], [0.0, 3, 3]]]");
    taba_buffer_free(state);
}

static void equal_values_of_gauges_are_counted_together(void) {
    static const char *const values[] = {"1", "\"1\"", "[\"1\", 2]", "true", "null", "\"a\\\"b\\n\\u00e9\"", "-0.0", "-0",
                                         "1e16", "1E2", "{\"b\" :[1,{ } ], \"a\":null}", "[[ ]]", "[]", "0.00001"};
    taba_buffer *state = gauge_of(values, sizeof values / sizeof *values);
    check_shown(TABA_GAUGE, 0, test_blob_of(state),
                "{\"-0.0\": 1, \"0\": 1, \"1\": 3, \"100.0\": 1, \"1e+16\": 1, \"1e-05\": 1, \"None\": 1, \"True\": 1, "
                "\"[]\": 2, \"a\\\"b\\n\xc3\xa9\": 1, \"{\\\"b\\\": [1, {}], \\\"a\\\": null}\": 1}");
    taba_buffer_free(state);
    check_shown(TABA_GAUGE, 1, test_blob(NULL, 0), "{}");
}

static void what_needs_python_has_no_text(void) {
    static const char *const values[] = {"\"\\ud800\"", "{\"a\": 1, \"a\": 1}", "[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]", "1e999",
                                         "{\"\\ud800\": 1}", "\"\xff\"", "[", "{\"a\" 1}", "[[1 2]]", "", "nul", "[1, {\"a\": "};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        taba_buffer *state = gauge_of(values + i, 1);
        check_shown(TABA_GAUGE, 0, test_blob_of(state), "");
        taba_buffer_free(state);
    }
}

static void numbers_have_the_fewest_digits(void) {
    static const struct { double value; const char *text; } due[] = {
        {0, "0.0"}, {-0.0, "-0.0"}, {1, "1.0"}, {-2.5, "-2.5"}, {0.1, "0.1"}, {0.3, "0.3"}, {0.1 + 0.2, "0.30000000000000004"},
        {1e15, "1000000000000000.0"}, {1e16, "1e+16"}, {1.5e16, "1.5e+16"}, {1.2345678901234568e17, "1.2345678901234568e+17"},
        {0.0001, "0.0001"}, {0.00001, "1e-05"}, {1.0 / 3, "0.3333333333333333"}, {5e-324, "5e-324"}, 
        {9007199254740992, "9007199254740992.0"},
        {1.7976931348623157e308, "1.7976931348623157e+308"}, {0x1p-1017, "7.120236347223045e-307"}, {9.5e-7, "9.5e-07"},
    };
    for (size_t i = 0; i < sizeof due / sizeof *due; i++) {
        taba_buffer *out = taba_buffer_new(NULL);
        CHECK_OK(taba_put_double(out, due[i].value));
        if (!test_same(test_blob_of(out), text_blob(due[i].text)))
            fprintf(stderr, "%s: %.*s\n", due[i].text, (int)taba_buffer_length(out), (const char *)taba_buffer_bytes(out));
        CHECK(test_same(test_blob_of(out), text_blob(due[i].text)));
        taba_buffer_free(out);
    }
}

/* Render three States, of which one is none, until no failing call is met. */
static void run_out(int type, int detailed, const taba_buffer *state) {
    const taba_blob states[3] = {test_blob(NULL, 0), test_blob_of(state), test_blob("\x01\x01?", 3)};
    int status = TABA_ENOMEM;
    for (size_t fail = 1; status == TABA_ENOMEM; fail++) {
        test_memory m;
        test_memory_init(&m);
        taba_buffer *out = taba_buffer_new(&m.allocator), *ends = taba_buffer_new(NULL);
        m.calls = 0;
        m.fail_at = fail;
        status = taba_render(type, detailed, states, 3, 101, out, ends);
        CHECK(status == TABA_OK ? taba_buffer_length(ends) == 3 * sizeof(size_t)
                                : taba_buffer_length(out) + taba_buffer_length(ends) == 0);
        taba_buffer_free(out);
        taba_buffer_free(ends);
        CHECK(m.live == 0);
    }
    CHECK_OK(status);
}

static void memory_may_run_out_anywhere(void) {
    static const int types[] = {TABA_COUNTER_GROUP, TABA_PERCENTILE_GROUP, TABA_UNIQUE_GROUP};
    static const char *const values[] = {"1", "\"x\\n\"", "{\"\\u00e9\": [1.5, \"y\"]}"};
    for (size_t i = 0; i < 3; i++) {
        taba_buffer *state = state_of(types[i], 40);
        run_out(types[i], 0, state);
        run_out(types[i], 1, state);
        taba_buffer_free(state);
    }
    taba_buffer *gauges = gauge_of(values, 3);
    run_out(TABA_GAUGE, 0, gauges);
    taba_buffer_free(gauges);
}

int main(void) {
    RUN(windows_of_distinct_values_are_shown);
    RUN(equal_values_of_gauges_are_counted_together);
    RUN(what_needs_python_has_no_text);
    RUN(numbers_have_the_fewest_digits);
    RUN(memory_may_run_out_anywhere);
    return 0;
}
