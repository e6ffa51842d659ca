/* test_hot.c - States in memory, and what waits for them: it comes to what taba_fold does, also when memory runs out. */
#include "bodies.h"
#include "internal.h"

static taba_blob text_blob(const char *text) { return test_blob(text, strlen(text)); }

/* A batch of one event of each of two tabs, and of a Gauge, of client c. */
static body_result batch_of(int value) {
    char text[400];
    snprintf(text, sizeof text,
             "1\n\nc\n\na\n[\"CounterGroup\", 1399999990, \"%d\"]\n\nb\n[\"CounterGroup\", 1399999991, \"%d\"]\n\n"
             "g\n[\"Gauge\", 1399999992, \"%d\"]\n\n\n", value, value, value);
    body_result r = body_of(text);
    CHECK(r.status == TABA_OK);
    return r;
}

/* The State of a tab's Partial in a batch. */
static taba_buffer *state_of(const body_result *r, size_t number, int kind) {
    taba_buffer *index = taba_buffer_new(NULL), *out = taba_buffer_new(NULL);
    const taba_blob batch = test_blob_of(r->batch);
    CHECK_OK(taba_batch_index(batch, index));
    taba_entry entry;
    memcpy(&entry, taba_buffer_bytes(index) + number * sizeof entry, sizeof entry);
    const taba_blob partial = test_blob(batch.bytes + entry.partial, entry.partial_length);
    CHECK_OK(taba_fold(kind, test_blob(NULL, 0), &partial, 1, out));
    taba_buffer_free(index);
    return out;
}

static int put_states(taba_hot *hot, const taba_buffer *counter, const taba_buffer *gauge) {
    const taba_blob type = text_blob("CounterGroup");
    int status = taba_hot_put(hot, text_blob("a"), text_blob("c"), type, 1, 1, test_blob_of(counter));
    if (status == TABA_OK)
        status = taba_hot_put(hot, text_blob("b"), text_blob("c"), type, 1, 1, test_blob_of(counter));
    if (status == TABA_OK)
        status = taba_hot_put(hot, text_blob("b"), text_blob(""), type, 1, 1, test_blob_of(counter));
    if (status == TABA_OK)
        status = taba_hot_put(hot, text_blob("g"), text_blob("c"), text_blob("Gauge"), TABA_GAUGE, 0, test_blob_of(gauge));
    return status;
}

/* All of it, with an allocator that may fail: put, take twice, fold, sweep. What came of `b` goes to `out`. */
static int everything(const taba_allocator *a, const body_result *first, const body_result *second, taba_buffer *out) {
    taba_buffer *counter = state_of(first, 0, TABA_COUNTER_GROUP), *gauge = state_of(first, 2, TABA_GAUGE);
    taba_hot *hot = taba_hot_new(a);
    taba_waiting *w = taba_waiting_new(a);
    taba_buffer *left = taba_buffer_new(a), *states = taba_buffer_new(a), *index = taba_buffer_new(a);
    int status = hot && w && left && states && index ? put_states(hot, counter, gauge) : TABA_ENOMEM;
    uint64_t events = 0, more = 0;
    if (status == TABA_OK)
        status = taba_hot_take(hot, w, test_blob_of(first->batch), BODY_NOW, left, &events);
    if (status == TABA_OK) {
        const size_t before = taba_waiting_count(w);
        status = taba_hot_take(hot, w, test_blob_of(second->batch), BODY_NOW, left, &more);
        CHECK(taba_waiting_count(w) == before + (status == TABA_OK ? 3 : 0));
    }
    if (status == TABA_OK) {
        CHECK(events == 3 && more == 3 && taba_buffer_length(left) == 0 && taba_waiting_memory(w) > 0);
        status = taba_waiting_tabs(w, hot, left); /* only the Aggregate of a is missing */
    }
    if (status == TABA_OK) {
        CHECK(taba_buffer_length(left) == 2 * sizeof(uint32_t));
        status = taba_hot_put(hot, text_blob("a"), text_blob(""), text_blob("CounterGroup"), 1, 1, test_blob(NULL, 0));
    }
    if (status == TABA_OK)
        status = taba_hot_fold(hot, w, 0, states, index, left);
    if (status == TABA_OK)
        status = taba_hot_fold(hot, w, 1, states, index, left);
    if (status == TABA_OK) {
        CHECK(taba_buffer_length(index) == 5 * sizeof(taba_hot_state) && taba_buffer_length(left) == 2 * sizeof(uint32_t));
        status = taba_waiting_rows(w, hot, 0, left);
    }
    taba_waiting_free(w);
    if (status == TABA_OK)
        status = taba_hot_sweep(hot, 1);
    if (status == TABA_OK) {
        taba_blob found;
        CHECK_OK(taba_hot_get(hot, text_blob("b"), text_blob("c"), &found));
        CHECK(found.bytes != NULL && taba_hot_memory(hot) > found.length);
        CHECK_OK(taba_buffer_append(out, found.bytes, found.length));
        status = taba_hot_sweep(hot, 1);
        CHECK_OK(taba_hot_get(hot, text_blob("b"), text_blob("c"), &found));
        CHECK(status != TABA_OK || found.bytes == NULL); /* nobody has used it */
    }
    taba_hot_free(hot);
    taba_buffer *const buffers[] = {left, states, index, counter, gauge};
    for (size_t i = 0; i < 5; i++)
        taba_buffer_free(buffers[i]);
    return status;
}

static void a_fold_is_that_of_the_partials(void) {
    body_result first = batch_of(3), second = batch_of(4);
    taba_buffer *out = taba_buffer_new(NULL), *once = state_of(&first, 1, TABA_COUNTER_GROUP);
    CHECK_OK(everything(NULL, &first, &second, out));
    taba_sketch_summary all;
    taba_window windows[TABA_WINDOWS];
    CHECK_OK(taba_counter_group_summary(test_blob_of(out), BODY_NOW, windows, &all, NULL, 0, NULL, once));
    CHECK(all.count == 3 && all.sum == 10);
    taba_buffer_free(once);
    taba_buffer_free(out);
    taba_buffer_free(first.batch);
    taba_buffer_free(second.batch);
}

static void memory_may_run_out_anywhere(void) {
    body_result first = batch_of(3), second = batch_of(4);
    test_memory m;
    int status = TABA_ENOMEM;
    for (size_t fail = 1; status == TABA_ENOMEM; fail++) {
        taba_buffer *out = taba_buffer_new(NULL);
        test_memory_init(&m);
        m.fail_at = fail;
        status = everything(&m.allocator, &first, &second, out);
        CHECK(m.live == 0 && (status == TABA_OK || status == TABA_ENOMEM));
        taba_buffer_free(out);
    }
    CHECK_OK(status);
    taba_buffer_free(first.batch);
    taba_buffer_free(second.batch);
}

int main(void) {
    RUN(a_fold_is_that_of_the_partials);
    RUN(memory_may_run_out_anywhere);
    return 0;
}
