/* bench_fold.c - how long the kernels take, and how large States become. Prints figures; asserts nothing.
 *
 * CPU time of this process, best of some rounds. The events are those of a busy tab: exponential values with three
 * decimals, mean 100, in ascending times.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "internal.h"

#define EVENTS 300
#define ROUNDS 7

static uint64_t seed = 1;

static double uniform(void) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(seed >> 11) / 9007199254740992.0;
}

static double exponential(void) { return floor(-log(1 - uniform()) * 100 * 1000) / 1000; }

static void fill(double *times, double *values, size_t n, double from, double seconds) {
    for (size_t i = 0; i < n; i++) {
        times[i] = from + seconds * (double)i / (double)n;
        values[i] = exponential();
    }
}

static double cpu(void) { return (double)clock() / CLOCKS_PER_SEC; }

static void must(int status) {
    if (status != TABA_OK) {
        printf("failed: %s\n", taba_strerror(status));
        exit(1);
    }
}

/* A Partial of `n` events over `seconds`, encoded. */
static taba_buffer *partial_of(int type, size_t n, double from, double seconds) {
    double *times = malloc(n * sizeof *times), *values = malloc(n * sizeof *values);
    taba_partial *p = taba_partial_new(type, NULL);
    taba_buffer *out = taba_buffer_new(NULL);
    fill(times, values, n, from, seconds);
    must(taba_partial_reserve(p, NULL, times, values, n));
    taba_partial_fold(p, times, values, n);
    must(taba_partial_encode(p, out));
    taba_partial_free(p, NULL);
    free(times);
    free(values);
    return out;
}

static taba_blob blob_of(const taba_buffer *b) {
    taba_blob blob = {taba_buffer_bytes(b), taba_buffer_length(b)};
    return blob;
}

static taba_buffer *state_of(int type, size_t n, double from, double seconds) {
    taba_buffer *partial = partial_of(type, n, from, seconds), *out = taba_buffer_new(NULL);
    const taba_blob nothing = {NULL, 0}, blob = blob_of(partial);
    must(taba_fold(type, nothing, &blob, 1, out));
    taba_buffer_free(partial);
    return out;
}

/* Nanoseconds per event of reserving and folding blocks of EVENTS into one Partial, which is then encoded. */
static void bench_partial(int type, const char *name) {
    double times[EVENTS], values[EVENTS], best = 1e9, best_cold = 1e9;
    const int blocks = 2000;
    fill(times, values, EVENTS, 1234567890.4, 1.2);
    for (int round = 0; round < ROUNDS; round++) {
        taba_partial *p = taba_partial_new(type, NULL);
        double start = cpu();
        for (int i = 0; i < blocks; i++) {
            must(taba_partial_reserve(p, NULL, times, values, EVENTS));
            taba_partial_fold(p, times, values, EVENTS);
        }
        best = fmin(best, (cpu() - start) / blocks / EVENTS);
        taba_partial_free(p, NULL);
        start = cpu();
        for (int i = 0; i < blocks; i++) {
            p = taba_partial_new(type, NULL);
            must(taba_partial_reserve(p, NULL, times, values, EVENTS));
            taba_partial_fold(p, times, values, EVENTS);
            taba_partial_free(p, NULL);
        }
        best_cold = fmin(best_cold, (cpu() - start) / blocks / EVENTS);
    }
    printf("%s: reserve and fold %.1f ns per event into a warm Partial, %.1f with making and freeing a new one\n", name,
           best * 1e9, best_cold * 1e9);
}

static void bench_fold_only(int type, const char *name) {
    double times[EVENTS], values[EVENTS], best = 1e9;
    const int blocks = 5000;
    fill(times, values, EVENTS, 1234567890.4, 1.2);
    taba_partial *p = taba_partial_new(type, NULL);
    must(taba_partial_reserve(p, NULL, times, values, EVENTS));
    for (int round = 0; round < ROUNDS; round++) {
        double start = cpu();
        for (int i = 0; i < blocks; i++)
            taba_partial_fold(p, times, values, EVENTS);
        best = fmin(best, (cpu() - start) / blocks / EVENTS);
    }
    taba_partial_free(p, NULL);
    printf("%s: fold alone %.1f ns per event\n", name, best * 1e9);
}

/* The fold of a small Partial into a State, a check, and a summary, in microseconds. */
static void bench_state(int type, const char *name, size_t events, double seconds, size_t more) {
    const double from = 1234500000, q[] = {0.25, 0.5, 0.75, 0.9, 0.95, 0.99};
    const int calls = 2000;
    taba_buffer *state = state_of(type, events, from, seconds), *partial = partial_of(type, more, from + seconds, 0.3);
    taba_buffer *out = taba_buffer_new(NULL);
    const taba_blob s = blob_of(state), p = blob_of(partial);
    double fold = 1e9, summary = 1e9, check = 1e9, values[4 * 6];
    taba_window windows[4];
    taba_sketch_summary summaries[4];
    for (int round = 0; round < ROUNDS; round++) {
        double start = cpu();
        for (int i = 0; i < calls; i++) {
            taba_buffer_clear(out);
            must(taba_fold(type, s, &p, 1, out));
        }
        fold = fmin(fold, (cpu() - start) / calls);
        start = cpu();
        for (int i = 0; i < calls; i++)
            must(type == TABA_COUNTER_GROUP
                     ? taba_counter_group_summary(s, from + seconds, windows, summaries, q, 6, values, out)
                     : taba_percentile_group_summary(s, from + seconds, summaries, q, 6, values, out));
        summary = fmin(summary, (cpu() - start) / calls);
        start = cpu();
        int type_found;
        for (int i = 0; i < calls; i++)
            must(taba_check(s, &type_found));
        check = fmin(check, (cpu() - start) / calls);
    }
    printf("%s: State of %zu events over %.0f s: %zu bytes; Partial of %zu: %zu bytes; fold %.2f us, summary %.2f us, "
           "check %.2f us\n", name, events, seconds, s.length, more, p.length, fold * 1e6, summary * 1e6, check * 1e6);
    taba_buffer_free(state);
    taba_buffer_free(partial);
    taba_buffer_free(out);
}

static void bench_crc(void) {
    static uint8_t bytes[1 << 20];
    double best = 1e9;
    uint32_t crc = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start = cpu();
        for (int i = 0; i < 10; i++)
            crc = taba_crc32c(crc, bytes, sizeof bytes);
        best = fmin(best, (cpu() - start) / 10);
    }
    printf("crc32c: %.2f GB/s (%08x)\n", (double)sizeof bytes / best / 1e9, (unsigned)crc);
}

int main(void) {
    static const struct { int type; const char *name; } types[] = {
        {TABA_COUNTER_GROUP, "CounterGroup"}, {TABA_PERCENTILE_GROUP, "PercentileGroup"}};
    for (size_t i = 0; i < 2; i++) {
        bench_partial(types[i].type, types[i].name);
        bench_fold_only(types[i].type, types[i].name);
        bench_state(types[i].type, types[i].name, 300, 1, 1);
        bench_state(types[i].type, types[i].name, 300, 1, 30);
        bench_state(types[i].type, types[i].name, 300, 200, 5);
        bench_state(types[i].type, types[i].name, 50000, 86400, 5);
    }
    bench_crc();
    return 0;
}
