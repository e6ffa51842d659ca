/* seeds_decode.c - writes the first inputs of fuzz_decode to a folder: valid blobs of every Type and shape, small. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

static uint64_t state = 42;

static uint64_t draw(uint64_t n) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % n;
}

static void must(int status) {
    if (status != TABA_OK) {
        fprintf(stderr, "%s\n", taba_strerror(status));
        exit(1);
    }
}

static void write_file(const char *folder, const char *name, const taba_buffer *b) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(taba_buffer_bytes(b), 1, taba_buffer_length(b), file) != taba_buffer_length(b)) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(1);
    }
    fclose(file);
}

static double value_of(int shape) {
    switch (shape) {
    case 0: return (double)draw(5) - 1;
    case 1: return (double)draw(100000) / 1000 - 20;
    case 2: return ldexp(1 + (double)draw(1000) / 1000, (int)draw(20)) / 3;
    default: return ldexp(draw(2) ? 1.5 : -1.25, (int)draw(1900) - 1000);
    }
}

static void append_partial(int type, int shape, size_t n, double seconds, taba_buffer *out) {
    double times[100], values[100];
    taba_partial *p = taba_partial_new(type, NULL);
    for (size_t i = 0; i < n; i++) {
        times[i] = 1234567800 + seconds * (double)draw(1000) / 1000;
        values[i] = value_of(shape);
        if (type == TABA_UNIQUE_GROUP)
            values[i] = taba_unique_hash((const uint8_t *)&values[i], sizeof values[i]);
    }
    must(taba_partial_reserve(p, NULL, times, values, n));
    taba_partial_fold(p, times, values, n);
    must(taba_partial_encode(p, out));
    taba_partial_free(p, NULL);
}

/* One Partial, its State, and both together, of n events. */
static void write_numbers(const char *folder, int type, int shape, size_t n) {
    char name[64];
    taba_buffer *partial = taba_buffer_new(NULL), *made = taba_buffer_new(NULL), *file = taba_buffer_new(NULL);
    append_partial(type, shape, n, n > 10 ? 90 : 2, partial);
    const taba_blob blob = {taba_buffer_bytes(partial), taba_buffer_length(partial)}, nothing = {NULL, 0};
    must(taba_fold(type, nothing, &blob, 1, made));
    must(taba_put_u8(file, 0));
    must(taba_buffer_append(file, blob.bytes, blob.length));
    snprintf(name, sizeof name, "partial-%d-%d-%zu", type, shape, n);
    write_file(folder, name, file);
    size_t length = taba_buffer_length(made);
    const uint8_t front[] = {1, (uint8_t)length, (uint8_t)(length >> 8)};
    taba_buffer_clear(file);
    must(taba_buffer_append(file, front, 3));
    must(taba_buffer_append(file, taba_buffer_bytes(made), length));
    must(taba_buffer_append(file, blob.bytes, blob.length));
    snprintf(name, sizeof name, "both-%d-%d-%zu", type, shape, n);
    write_file(folder, name, file);
    taba_buffer_truncate(file, 3 + length);
    must(taba_buffer_append(file, taba_buffer_bytes(made), length));
    snprintf(name, sizeof name, "states-%d-%d-%zu", type, shape, n);
    write_file(folder, name, file);
    taba_buffer_free(partial);
    taba_buffer_free(made);
    taba_buffer_free(file);
}

static void write_sketch(const char *folder, int shape, size_t n) {
    char name[64];
    taba_sketch *s = taba_sketch_new(NULL);
    taba_buffer *file = taba_buffer_new(NULL);
    for (size_t i = 0; i < n; i++) {
        double value = value_of(shape);
        must(taba_sketch_add(s, &value, 1));
    }
    must(taba_put_u8(file, 2));
    must(taba_sketch_encode(s, file));
    snprintf(name, sizeof name, "sketch-%d-%zu", shape, n);
    write_file(folder, name, file);
    taba_sketch_free(s);
    taba_buffer_free(file);
}

/* A Partial of events with payloads, and for Gauge the State of two clients. */
static void write_json(const char *folder, int type, const char *name) {
    taba_partial *p = taba_partial_new(type, NULL);
    taba_buffer *file = taba_buffer_new(NULL);
    must(taba_put_u8(file, 0));
    must(taba_partial_reserve_json(p, NULL, 2, 10));
    taba_partial_fold_json(p, 1234567890.5, 1234567891000000, (const uint8_t *)"\"up\"", 4);
    taba_partial_fold_json(p, 1234567890.5, 1234567891000001, (const uint8_t *)"-1.5", 4);
    must(taba_partial_encode(p, file));
    write_file(folder, name, file);
    if (type == TABA_GAUGE) {
        const taba_blob partial = {taba_buffer_bytes(file) + 1, taba_buffer_length(file) - 1}, nothing = {NULL, 0};
        taba_buffer *one = taba_buffer_new(NULL), *two = taba_buffer_new(NULL);
        must(taba_fold(type, nothing, &partial, 1, one));
        const taba_blob blob = {taba_buffer_bytes(one), taba_buffer_length(one)}, blobs[] = {blob, blob};
        must(taba_put_u8(two, 0));
        must(taba_reduce(type, blobs, 2, two));
        write_file(folder, "gauges", two);
        taba_buffer_free(one);
        taba_buffer_free(two);
    }
    taba_partial_free(p, NULL);
    taba_buffer_free(file);
}

/* A Partial of so many distinct values that its registers are written in full. */
static void write_many_values(const char *folder) {
    taba_partial *p = taba_partial_new(TABA_UNIQUE_GROUP, NULL);
    taba_buffer *file = taba_buffer_new(NULL);
    const double time = 1234567800;
    must(taba_put_u8(file, 0));
    for (int i = 0; i < 4000; i++) {
        const double hash = (double)draw(UINT64_C(1) << 22) * 2147483648.0 + (double)draw(UINT64_C(1) << 31);
        must(taba_partial_reserve(p, NULL, &time, &hash, 1));
        taba_partial_fold(p, &time, &hash, 1);
    }
    must(taba_partial_encode(p, file));
    write_file(folder, "many-values", file);
    taba_partial_free(p, NULL);
    taba_buffer_free(file);
}

int main(int argc, char **argv) {
    static const size_t sizes[] = {1, 5, 40, 100};
    if (argc != 2)
        return 1;
    for (int shape = 0; shape < 4; shape++)
        for (size_t i = 0; i < 4; i++) {
            write_sketch(argv[1], shape, sizes[i]);
            if (i == 1 || (i == 2 && shape % 2 == 1)) {
                write_numbers(argv[1], TABA_COUNTER_GROUP, shape, sizes[i]);
                write_numbers(argv[1], TABA_PERCENTILE_GROUP, shape, sizes[i]);
            }
        }
    write_json(argv[1], TABA_GAUGE, "gauge");
    write_json(argv[1], TABA_RAW, "raw");
    for (int shape = 0; shape < 2; shape++) /* a few values over and over; most of them distinct */
        for (size_t i = 1; i < 4; i++)
            write_numbers(argv[1], TABA_UNIQUE_GROUP, shape, sizes[i]);
    write_many_values(argv[1]);
    return 0;
}
