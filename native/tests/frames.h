/* frames.h - frames of columns in tests: making them, and all that can be seen of what they come to. */
#ifndef TABA_FRAMES_H
#define TABA_FRAMES_H

#include "bodies.h"

#define FRAME_HEADER ((size_t)1 << 20)
#define FRAME_ROWS 1000

/* A frame being made. */
typedef struct frame {
    uint8_t *bytes;
    size_t length, room;
} frame;

static inline void frame_append(frame *f, const void *bytes, size_t n) {
    if (f->length + n > f->room) {
        f->room = (f->length + n) * 2;
        f->bytes = realloc(f->bytes, f->room);
        CHECK(f->bytes != NULL);
    }
    if (n > 0)
        memcpy(f->bytes + f->length, bytes, n);
    f->length += n;
}

/* A frame with this header and no payload yet. */
static inline frame frame_begin(const char *header) {
    const size_t n = strlen(header);
    const uint8_t length[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24)};
    frame f = {NULL, 0, 0};
    frame_append(&f, length, 4);
    frame_append(&f, header, n);
    return f;
}

static inline void frame_number(frame *f, double value) {
    uint64_t bits;
    uint8_t bytes[8];
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(bits >> (8 * i));
    frame_append(f, bytes, 8);
}

static inline void frame_numbers(frame *f, const double *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        frame_number(f, values[i]);
}

/* A frame whose payload is `n` doubles. */
static inline frame frame_of(const char *header, const double *payload, size_t n) {
    frame f = frame_begin(header);
    frame_numbers(&f, payload, n);
    return f;
}

static inline taba_blob frame_blob(const frame *f) { return test_blob(f->bytes, f->length); }

/* Feed a frame and finish; the first status that is not TABA_OK. Every piece lies in memory that ends with it. */
static inline int frame_parse(taba_columns *p, taba_blob body, body_cut cut, void *context) {
    int status = p != NULL ? TABA_OK : TABA_ENOMEM;
    size_t at = 0;
    while (status == TABA_OK && at < body.length) {
        const size_t n = cut(context, body.length - at);
        uint8_t *alone = test_alone(test_blob(body.bytes + at, n));
        status = taba_columns_feed(p, alone, n);
        free(alone);
        at += n;
    }
    return status == TABA_OK ? taba_columns_finish(p) : status;
}

/* What a frame comes to. The names of its samples went with the scratch. */
static inline body_result frame_outcome_within(const taba_limits *limits, taba_blob body, body_cut cut, void *context) {
    taba_scratch *s = body_scratch(limits, NULL);
    taba_columns *p = taba_columns_new(s, FRAME_HEADER, FRAME_ROWS, NULL);
    body_result r;
    memset(&r, 0, sizeof r);
    r.batch = taba_buffer_new(NULL);
    r.status = frame_parse(p, body, cut, context);
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
    taba_columns_free(p);
    taba_scratch_free(s);
    return r;
}

static inline body_result frame_outcome(taba_blob body, body_cut cut, void *context) {
    const taba_limits limits = body_limits();
    return frame_outcome_within(&limits, body, cut, context);
}

#endif
