/* inputs.h - the inputs of the counted kernels: the same bytes in every run, on every machine.
 *
 * No function of the mathematics library shapes them. What is made here is made once and lives until the process ends.
 */
#ifndef TABA_BENCH_INPUTS_H
#define TABA_BENCH_INPUTS_H

#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#define START 1700000000.0

static uint64_t drawn = 1;

/* A number below n. */
static inline uint64_t draw(uint64_t n) {
    drawn = drawn * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (drawn >> 33) % n;
}

/* A price with three decimals; most of them small. */
static inline double price(void) { return (double)(draw(1000) * draw(1000) * draw(100) + 1) / 1000; }

static inline void must(int status) {
    if (status != TABA_OK) {
        fprintf(stderr, "failed: %s\n", taba_strerror(status));
        exit(1);
    }
}

static inline taba_blob blob_of(const taba_buffer *b) {
    const taba_blob blob = {taba_buffer_bytes(b), taba_buffer_length(b)};
    return blob;
}

static inline taba_buffer *new_buffer(void) {
    taba_buffer *b = taba_buffer_new(NULL);
    must(b != NULL ? TABA_OK : TABA_ENOMEM);
    return b;
}

static inline void put(taba_buffer *b, const char *text) { must(taba_buffer_append(b, text, strlen(text))); }

/* A body of protocol 1 of `tabs` blocks of one Type, whose payloads are written by `write`. */
static inline taba_buffer *body_of(const char *type, size_t tabs, size_t events, void (*write)(char *)) {
    taba_buffer *body = new_buffer();
    char line[200], payload[64];
    put(body, "1\n\nweb-frontend-0042.example\n\n");
    for (size_t tab = 0; tab < tabs; tab++) {
        snprintf(line, sizeof line, "service_%05zu_of_a_tab\n", tab);
        put(body, line);
        for (size_t i = 0; i < events; i++) {
            write(payload);
            snprintf(line, sizeof line, "[\"%s\", %.7f, \"%s\"]\n", type, START + 20 * (double)i / (double)events, payload);
            put(body, line);
        }
        put(body, "\n");
    }
    put(body, "\n");
    return body;
}

static inline void write_price(char *payload) { snprintf(payload, 64, "%.3f", price()); }

static inline void write_whole(char *payload) { snprintf(payload, 64, "%u", (unsigned)draw(10) + 1); }

static inline void write_user(char *payload) { snprintf(payload, 64, "\\\"user-%u\\\"", (unsigned)draw(500)); }

/* A frame of columns of `tabs` rows. */
static inline taba_buffer *frame_of(const char *type, size_t tabs, size_t events) {
    taba_buffer *header = new_buffer(), *frame = new_buffer();
    char text[200];
    put(header, "{\"client\": \"web-frontend-0042.example\", \"tabs\": [");
    for (size_t tab = 0; tab < tabs; tab++) {
        snprintf(text, sizeof text, "%s[\"service_%05zu_of_a_tab\", \"%s\", %zu]", tab > 0 ? ", " : "", tab, type, events);
        put(header, text);
    }
    put(header, "]}");
    const size_t n = taba_buffer_length(header);
    const uint8_t front[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24)};
    must(taba_buffer_append(frame, front, 4));
    must(taba_buffer_append(frame, taba_buffer_bytes(header), n));
    for (size_t tab = 0; tab < tabs; tab++) {
        for (size_t i = 0; i < events; i++)
            must(taba_put_f64(frame, START + 20 * (double)i / (double)events));
        for (size_t i = 0; i < events; i++)
            must(taba_put_f64(frame, price()));
    }
    taba_buffer_free(header);
    return frame;
}

/* StatsD lines: `events` of each of `names` names, the names taking turns; a value is written by `write`. */
static inline taba_buffer *lines_of(const char *metric, size_t names, size_t events, void (*write)(char *)) {
    taba_buffer *lines = new_buffer();
    char line[200], value[64];
    for (size_t i = 0; i < names * events; i++) {
        write(value);
        snprintf(line, sizeof line, "service.%05zu.of.a.name:%s|%s\n", i % names, value, metric);
        put(lines, line);
    }
    return lines;
}

static inline void write_member(char *value) { snprintf(value, 64, "user-%u", (unsigned)draw(500)); }

/* A value that the Type takes. */
static inline double value_of(int type) {
    const double value = price();
    return type == TABA_UNIQUE_GROUP ? taba_unique_hash((const uint8_t *)&value, sizeof value) : value;
}

/* A Partial of `n` events over `seconds` before `newest`. */
static inline taba_buffer *partial_of(int type, size_t n, double newest, double seconds) {
    double *times = malloc(n * sizeof *times), *values = malloc(n * sizeof *values);
    taba_partial *p = taba_partial_new(type, NULL);
    taba_buffer *out = new_buffer();
    must(times != NULL && values != NULL && p != NULL ? TABA_OK : TABA_ENOMEM);
    for (size_t i = 0; i < n; i++) {
        times[i] = newest - seconds * (double)(n - 1 - i) / (double)n;
        values[i] = value_of(type);
    }
    must(taba_partial_reserve(p, NULL, times, values, n));
    taba_partial_fold(p, times, values, n);
    must(taba_partial_encode(p, out));
    taba_partial_free(p, NULL);
    free(times);
    free(values);
    return out;
}

/* The State of a busy day: 4,000 events over it, and 2,000 in its last minutes. */
static inline taba_buffer *state_of(int type) {
    taba_buffer *day = partial_of(type, 4000, START, 86400), *busy = partial_of(type, 2000, START, 300), *out = new_buffer();
    const taba_blob partials[] = {blob_of(day), blob_of(busy)}, nothing = {NULL, 0};
    must(taba_fold(type, nothing, partials, 2, out));
    taba_buffer_free(day);
    taba_buffer_free(busy);
    return out;
}

#endif
