/* bodies.h - parsing protocol 1 bodies in tests: limits, the usual Types, and all that can be seen of the result. */
#ifndef TABA_BODIES_H
#define TABA_BODIES_H

#include <math.h>

#include "taba.h"
#include "test.h"

#define BODY_NOW 1400000000.0
#define BODY_STAMP UINT64_C(1400000000000000)

static inline taba_limits body_limits(void) {
    const taba_limits limits = {512, 1000, 8, (size_t)1 << 26, BODY_NOW + 60};
    return limits;
}

/* A scratch with seven Types: CounterGroup, PercentileGroup, UniqueGroup, Gauge, and Raw, Number and Expiring, which are not native.
 * NULL when out of memory. */
static inline taba_scratch *body_scratch(const taba_limits *limits, const taba_allocator *a) {
    static const char *const names[] = {"CounterGroup", "PercentileGroup", "Gauge", "Raw", "Number", "Expiring",
                                        "UniqueGroup"};
    static const int kinds[] = {TABA_COUNTER_GROUP, TABA_PERCENTILE_GROUP, TABA_GAUGE, TABA_RAW, TABA_RAW_NUMBER, TABA_RAW_EXPIRING,
                                TABA_UNIQUE_GROUP};
    taba_scratch *s = taba_scratch_new(limits, a);
    for (int i = 0; i < 7 && s != NULL; i++) {
        const int status = taba_scratch_add_type(s, names[i], strlen(names[i]), kinds[i]);
        CHECK(status == TABA_OK || status == TABA_ENOMEM);
        if (status != TABA_OK) {
            taba_scratch_free(s);
            s = NULL;
        }
    }
    return s;
}

/* How a body is cut: the length of the next piece of what is left. */
typedef size_t (*body_cut)(void *context, size_t left);

static inline size_t body_whole(void *context, size_t left) {
    (void)context;
    return left;
}

static inline size_t body_bytes(void *context, size_t left) {
    (void)context;
    (void)left;
    return 1;
}

/* Pieces of `*context` bytes, a size_t; the first one only, then the rest. */
static inline size_t body_two(void *context, size_t left) {
    size_t *first = context;
    const size_t n = *first < left ? *first : left;
    *first = left;
    return n;
}

static inline size_t body_random(void *context, size_t left) {
    (void)context;
    const size_t n = test_below(4) == 0 ? 1 + test_below(100) : test_below(6);
    return n < left ? n : left;
}

/* Feed a body and finish; the first status that is not TABA_OK. Every piece lies in memory that ends with it. */
static inline int body_parse(taba_scratch *s, taba_blob body, body_cut cut, void *context, const taba_allocator *a) {
    taba_parser *p = taba_parser_new(s, a);
    int status = p != NULL ? TABA_OK : TABA_ENOMEM;
    size_t at = 0;
    while (status == TABA_OK && at < body.length) {
        const size_t n = cut(context, body.length - at);
        uint8_t *alone = test_alone(test_blob(body.bytes + at, n));
        status = taba_parser_feed(p, alone, n);
        free(alone);
        at += n;
    }
    if (status == TABA_OK)
        status = taba_parser_finish(p);
    taba_parser_free(p);
    return status;
}

/* All that a body comes to. */
typedef struct body_result {
    int status;
    taba_scratch_summary summary;
    uint64_t next_stamp;
    taba_buffer *batch; /* what it encodes to, undivided */
} body_result;

static inline body_result body_outcome_within(const taba_limits *limits, taba_blob body, body_cut cut, void *context) {
    taba_scratch *s = body_scratch(limits, NULL);
    body_result r;
    memset(&r, 0, sizeof r);
    r.batch = taba_buffer_new(NULL);
    r.status = body_parse(s, body, cut, context, NULL);
    taba_scratch_summary_of(s, &r.summary);
    if (r.status == TABA_OK) {
        taba_accumulator *c = taba_accumulator_new(NULL);
        taba_buffer *index = taba_buffer_new(NULL);
        CHECK_OK(taba_accumulator_merge(c, s, BODY_STAMP, &r.next_stamp));
        CHECK_OK(taba_accumulator_encode(c, 0, r.batch, index));
        taba_accumulator_summary sum;
        taba_accumulator_summary_of(c, &sum);
        CHECK(sum.events == r.summary.accepted);
        taba_buffer_free(index);
        taba_accumulator_free(c);
    }
    taba_scratch_free(s);
    return r;
}

static inline body_result body_outcome(taba_blob body, body_cut cut, void *context) {
    const taba_limits limits = body_limits();
    return body_outcome_within(&limits, body, cut, context);
}

static inline body_result body_of(const char *text) {
    return body_outcome(test_blob(text, strlen(text)), body_whole, NULL);
}

/* Compares all that can be seen but the memory taken, and frees both. */
static inline void body_check_alike(body_result *x, body_result *y) {
    CHECK(x->status == y->status && x->next_stamp == y->next_stamp);
    CHECK(x->summary.accepted == y->summary.accepted && x->summary.line == y->summary.line);
    CHECK(memcmp(x->summary.refused, y->summary.refused, sizeof x->summary.refused) == 0);
    CHECK(x->summary.samples == y->summary.samples && x->summary.problem == y->summary.problem);
    for (size_t i = 0; i < x->summary.samples; i++)
        CHECK(x->summary.sample[i].line == y->summary.sample[i].line && x->summary.sample[i].reason == y->summary.sample[i].reason);
    CHECK(test_same(test_blob_of(x->batch), test_blob_of(y->batch)));
    taba_buffer_free(x->batch);
    taba_buffer_free(y->batch);
}

/* The same with the memory. */
static inline void body_check_same(body_result *x, body_result *y) {
    CHECK(x->summary.memory == y->summary.memory);
    body_check_alike(x, y);
}

static inline uint64_t body_refused(const taba_scratch_summary *s) {
    uint64_t sum = 0;
    for (int i = 0; i < TABA_REFUSED_REASONS; i++)
        sum += s->refused[i];
    return sum;
}

/* The body was taken, with so many events accepted, and one refused for each reason, given as the digits of their
 * numbers. */
static inline void body_expect_counts(const body_result *r, uint64_t accepted, const char *reasons) {
    uint64_t expected[TABA_REFUSED_REASONS] = {0};
    for (; *reasons != 0; reasons++)
        expected[*reasons - '0']++;
    CHECK_STATUS(r->status, TABA_OK);
    CHECK(r->summary.accepted == accepted);
    CHECK(memcmp(expected, r->summary.refused, sizeof expected) == 0);
}

/* The body is taken without fault. */
static inline void body_expect_accepted(const char *body, uint64_t accepted, uint64_t lines) {
    body_result r = body_of(body);
    body_expect_counts(&r, accepted, "");
    CHECK(r.summary.line == lines);
    taba_buffer_free(r.batch);
}

#endif
