/* bench_parse.c - how long bodies of protocol 1 take from bytes to Partials, and batches from there. Prints figures;
 * asserts nothing.
 *
 * CPU time of this process, best of some rounds. Bodies are as json.dumps writes them, values exponential with three
 * decimals, fed in pieces of 64 KiB; every body gets a scratch and a parser of its own, and an accumulator takes ten of
 * them between clears.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "taba.h"

#define ROUNDS 7
#define EVENTS_PER_ROUND 4000000
#define PIECE 65536
#define BODIES_PER_COMMIT 10

static uint64_t seed = 1;

static double uniform(void) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(seed >> 11) / 9007199254740992.0;
}

static double cpu(void) { return (double)clock() / CLOCKS_PER_SEC; }

static void must(int status) {
    if (status != TABA_OK) {
        printf("failed: %s\n", taba_strerror(status));
        exit(1);
    }
}

/* `decimals` of the timestamps: 3, or 7, which makes 17 digits. */
static char *make_body(size_t tabs, size_t events, int decimals, size_t *length) {
    char *body = malloc(tabs * (events + 1) * 64 + 100), *end = body;
    end += sprintf(end, "1\n\nweb-frontend-0042.example\n\n");
    for (size_t tab = 0; tab < tabs; tab++) {
        end += sprintf(end, "service_%05zu_winning_bid_price\n", tab);
        for (size_t i = 0; i < events; i++)
            end += sprintf(end, "[\"CounterGroup\", %.*f, \"%.3f\"]\n", decimals, 1763731646 + 2 * (double)i / (double)events + uniform() / 1000,
                           -log(1 - uniform()) * 100);
        end += sprintf(end, "\n");
    }
    end += sprintf(end, "\n");
    *length = (size_t)(end - body);
    return body;
}

/* Parse a body and merge it; adds the seconds of both to times[0] and times[1]. */
static void take(taba_accumulator *c, const char *body, size_t length, double *times) {
    static const taba_limits limits = {512, 1 << 20, 64, (size_t)1 << 30, 4e9};
    const double start = cpu();
    taba_scratch *s = taba_scratch_new(&limits, NULL);
    must(taba_scratch_add_type(s, "CounterGroup", 12, TABA_COUNTER_GROUP));
    taba_parser *p = taba_parser_new(s, NULL);
    for (size_t at = 0; at < length; at += PIECE)
        must(taba_parser_feed(p, (const uint8_t *)body + at, length - at < PIECE ? length - at : PIECE));
    must(taba_parser_finish(p));
    const double parsed = cpu();
    uint64_t stamp;
    must(taba_accumulator_merge(c, s, 0, &stamp));
    times[1] += cpu() - parsed;
    taba_parser_free(p);
    taba_scratch_free(s);
    times[0] += parsed - start;
}

static void intake(size_t tabs, size_t events, int decimals) {
    size_t length;
    char *body = make_body(tabs, events, decimals, &length);
    const size_t bodies = EVENTS_PER_ROUND / (tabs * events) + 1;
    const double per = 1e9 / ((double)bodies * (double)(tabs * events));
    double best[2] = {1e9, 1e9};
    for (int round = 0; round < ROUNDS; round++) {
        double times[2] = {0, 0};
        taba_accumulator *c = taba_accumulator_new(NULL);
        for (size_t i = 0; i < bodies; i++) {
            if (i % BODIES_PER_COMMIT == 0)
                taba_accumulator_clear(c);
            take(c, body, length, times);
        }
        taba_accumulator_free(c);
        for (int i = 0; i < 2; i++)
            best[i] = times[i] < best[i] ? times[i] : best[i];
    }
    printf("%5zu tabs x %3zu events, %d decimals of time, %2zu bytes an event: parse %5.1f ns, merge %5.1f ns, both %5.1f ns an event\n", tabs,
           events, decimals, length / (tabs * events), best[0] * per, best[1] * per, (best[0] + best[1]) * per);
    free(body);
}

static void encoding(size_t tabs) {
    size_t length;
    char *body = make_body(tabs, 2, 3, &length);
    double unused[2] = {0, 0}, encode = 1e9, split = 1e9;
    taba_accumulator *c = taba_accumulator_new(NULL);
    taba_buffer *out = taba_buffer_new(NULL), *index = taba_buffer_new(NULL), *parts = taba_buffer_new(NULL);
    take(c, body, length, unused);
    for (int round = 0; round < ROUNDS; round++) {
        taba_buffer_clear(out);
        taba_buffer_clear(parts);
        double start = cpu();
        must(taba_accumulator_encode(c, 128, out, index));
        encode = cpu() - start < encode ? cpu() - start : encode;
        const taba_blob batch = {taba_buffer_bytes(out), taba_buffer_length(out)};
        start = cpu();
        must(taba_batch_split(batch, 128, parts, index));
        split = cpu() - start < split ? cpu() - start : split;
    }
    printf("%zu entries, %zu bytes in 128 vbuckets: encode %.1f ms, split %.1f ms\n", tabs, taba_buffer_length(out), encode * 1e3, split * 1e3);
    taba_buffer_free(parts);
    taba_buffer_free(index);
    taba_buffer_free(out);
    taba_accumulator_free(c);
    free(body);
}

int main(void) {
    intake(200, 300, 3);
    intake(200, 300, 7);
    intake(200, 10, 3);
    intake(20000, 50, 3);
    encoding(200000);
    return 0;
}
