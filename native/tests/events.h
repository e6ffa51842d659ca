/* events.h - events by chance, and Partials and States made of them, for the tests of the Types. */
#ifndef TABA_TEST_EVENTS_H
#define TABA_TEST_EVENTS_H

#include "internal.h"
#include "test.h"

#define MOST_EVENTS 600

/* Columns of events; the values are whole, so that totals and sums have no rounding. */
typedef struct events {
    size_t n;
    double times[MOST_EVENTS], values[MOST_EVENTS];
} events;

/* `n` events, most of them within `span` seconds before `newest`, in any order; now and then one that is much older. */
static inline void events_draw(events *e, size_t n, double newest, double span) {
    e->n = n;
    for (size_t i = 0; i < n; i++) {
        double back = test_below(5) == 0 ? 100000 * test_uniform() : span * test_uniform();
        e->times[i] = newest - back;
        if (test_below(4) == 0)
            e->times[i] = (double)(int64_t)e->times[i]; /* the first moment of its bucket */
        e->values[i] = (double)test_below(2000) - 500;
    }
}

/* Let the values be such as the Type takes: for UniqueGroup their hashes, if they are not hashes yet. */
static inline void events_fit(int type, events *e) {
    for (size_t i = 0; i < e->n && type == TABA_UNIQUE_GROUP; i++)
        if (e->values[i] < 1e6)
            e->values[i] = taba_unique_hash((const uint8_t *)&e->values[i], sizeof e->values[i]);
}

/* The events from..from+n of `e` as an encoded Partial. */
static inline taba_buffer *events_partial(int type, const events *e, size_t from, size_t n) {
    static events fit;
    taba_partial *p = taba_partial_new(type, NULL);
    taba_buffer *out = taba_buffer_new(NULL);
    fit = *e;
    events_fit(type, &fit);
    CHECK_OK(taba_partial_reserve(p, NULL, fit.times + from, fit.values + from, n));
    taba_partial_fold(p, fit.times + from, fit.values + from, n);
    CHECK_OK(taba_partial_encode(p, out));
    taba_partial_free(p, NULL);
    return out;
}

/* state, or the empty State for NULL, with a Partial folded in. */
static inline taba_buffer *folded(int type, const taba_buffer *state, const taba_buffer *partial) {
    taba_buffer *out = taba_buffer_new(NULL);
    const taba_blob before = state != NULL ? test_blob_of(state) : test_blob(NULL, 0), more = test_blob_of(partial);
    CHECK_OK(taba_fold(type, before, &more, 1, out));
    return out;
}

/* All events in one Partial, folded into the empty State. */
static inline taba_buffer *events_state(int type, const events *e) {
    taba_buffer *partial = events_partial(type, e, 0, e->n), *out = folded(type, NULL, partial);
    taba_buffer_free(partial);
    return out;
}

/* x and y reduced; either may be NULL for the empty State. */
static inline taba_buffer *reduced(int type, const taba_buffer *x, const taba_buffer *y) {
    taba_buffer *out = taba_buffer_new(NULL);
    const taba_blob states[] = {x != NULL ? test_blob_of(x) : test_blob(NULL, 0),
                                y != NULL ? test_blob_of(y) : test_blob(NULL, 0)};
    CHECK_OK(taba_reduce(type, states, 2, out));
    return out;
}

/* Whether both have the same bytes; frees them. */
static inline bool same_and_free(taba_buffer *x, taba_buffer *y) {
    bool same = test_same(test_blob_of(x), test_blob_of(y));
    taba_buffer_free(x);
    taba_buffer_free(y);
    return same;
}

static inline double events_newest(const events *e) {
    double newest = e->times[0];
    for (size_t i = 1; i < e->n; i++)
        newest = e->times[i] > newest ? e->times[i] : newest;
    return newest;
}

/* floor(floor(time) / width), worked out in another way than the kernels do. */
static inline int64_t bucket_of(double time, int64_t width) {
    int64_t index = (int64_t)(time / (double)width);
    while ((double)(index * width) > time)
        index--;
    while ((double)((index + 1) * width) <= time)
        index++;
    return index;
}

#endif
