/* sound.h - what the fuzzers of requests share: cutting a body into pieces, and whether what was accepted is sound. */
#ifndef TABA_SOUND_H
#define TABA_SOUND_H

#include "bodies.h"
#include "json.h"
#include "utf8.h"

#define MUST(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

/* Pieces of given lengths, over and over. */
typedef struct pieces {
    const uint8_t *lengths;
    size_t count, next;
} pieces;

static inline size_t cut_pieces(void *context, size_t left) {
    pieces *p = context;
    const size_t n = p->count == 0 ? left : (size_t)p->lengths[p->next++ % p->count] + 1;
    return n < left ? n : left;
}

static inline void check_payloads(taba_blob partial, const taba_limits *limits) {
    taba_gauge_entry event;
    size_t offset = 0;
    while (taba_raw_next(partial, &offset, &event) == TABA_OK) {
        taba_utf8 state = TABA_UTF8_START;
        taba_utf8_feed(&state, event.value.bytes, event.value.length);
        MUST(taba_utf8_valid(&state));
        MUST(taba_json_check(event.value.bytes, event.value.length, limits->max_depth) == TABA_OK);
        MUST(!taba_json_blank(event.value.bytes[0]) && !taba_json_blank(event.value.bytes[event.value.length - 1]));
        MUST(event.time >= 0 && event.time <= limits->newest);
    }
}

/* A batch that can be read, Partials that check, payloads that are JSON in UTF-8, as many events as were accepted. */
static inline void check_batch(const body_result *r, const taba_limits *limits) {
    taba_buffer *index = taba_buffer_new(NULL);
    uint64_t events = 0;
    if (taba_buffer_length(r->batch) > 0)
        MUST(taba_batch_index(test_blob_of(r->batch), index) == TABA_OK);
    for (size_t i = 0; i < taba_buffer_length(index); i += sizeof(taba_entry)) {
        taba_entry entry;
        int type;
        memcpy(&entry, taba_buffer_bytes(index) + i, sizeof entry);
        const taba_blob partial = test_blob(taba_buffer_bytes(r->batch) + entry.partial, entry.partial_length);
        MUST(taba_check(partial, &type) == TABA_OK && (type & TABA_PARTIAL) != 0);
        if (type == (TABA_PARTIAL | TABA_RAW))
            check_payloads(partial, limits);
        events += entry.events;
    }
    MUST(events == r->summary.accepted);
    taba_buffer_free(index);
}

#endif
