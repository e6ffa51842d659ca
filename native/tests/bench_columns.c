/* bench_columns.c - how long frames of columns take: reading, merging, encoding. Prints figures; asserts nothing.
 *
 * CPU time of this process, best of some rounds. Each round is a commit: frames of two clients, in pieces of 64 KiB as
 * they come from a socket, merged into an empty accumulator, which is then encoded. Values are exponential with three
 * decimals; times lie within a second, ascending per tab.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "frames.h"

#define PIECE 65536

static double cpu(void) { return (double)clock() / CLOCKS_PER_SEC; }

static frame make(int client, size_t tabs, size_t events) {
    char *header = malloc(tabs * 60 + 100), *end = header + sprintf(header, "{\"client\":\"client_%d\",\"tabs\":[", client);
    for (size_t i = 0; i < tabs; i++)
        end += sprintf(end, "%s[\"bench_tab_%06zu\",\"CounterGroup\",%zu]", i > 0 ? "," : "", i, events);
    sprintf(end, "]}");
    frame f = frame_begin(header);
    for (size_t i = 0; i < tabs; i++) {
        for (size_t j = 0; j < events; j++)
            frame_number(&f, floor((BODY_NOW - 0.5 + (double)j / (double)events) * 1000) / 1000);
        for (size_t j = 0; j < events; j++)
            frame_number(&f, floor(-log(1 - test_uniform()) * 1000) / 1000);
    }
    free(header);
    return f;
}

static taba_scratch *parse(const frame *f) {
    const taba_limits limits = {512, 1000, 8, SIZE_MAX / 2, BODY_NOW + 60};
    taba_scratch *s = body_scratch(&limits, NULL);
    taba_columns *p = taba_columns_new(s, (size_t)1 << 24, (size_t)1 << 20, NULL);
    for (size_t at = 0; at < f->length; at += PIECE)
        CHECK_OK(taba_columns_feed(p, f->bytes + at, f->length - at < PIECE ? f->length - at : PIECE));
    CHECK_OK(taba_columns_finish(p));
    taba_columns_free(p);
    return s;
}

static void run(size_t tabs, size_t events, int rounds) {
    frame frames[2] = {make(0, tabs, events), make(1, tabs, events)};
    double best[3] = {1e9, 1e9, 1e9};
    taba_accumulator *c = taba_accumulator_new(NULL);
    for (int round = 0; round < rounds; round++) {
        double spent[3] = {0, 0, 0};
        uint64_t stamp = 1;
        for (int i = 0; i < 2; i++) {
            double before = cpu();
            taba_scratch *s = parse(&frames[i]);
            spent[0] += cpu() - before;
            before = cpu();
            CHECK_OK(taba_accumulator_merge(c, s, stamp, &stamp));
            spent[1] += cpu() - before;
            taba_scratch_free(s);
        }
        const double before = cpu();
        taba_buffer *out = taba_buffer_new(NULL), *index = taba_buffer_new(NULL);
        CHECK_OK(taba_accumulator_encode(c, 128, out, index));
        spent[2] += cpu() - before;
        taba_buffer_free(out);
        taba_buffer_free(index);
        taba_accumulator_clear(c);
        for (int i = 0; i < 3; i++)
            best[i] = spent[i] < best[i] ? spent[i] : best[i];
    }
    const double scale = 1e9 / (2 * (double)(tabs * events));
    printf("columns, %5zu tabs x %3zu events, two clients a commit: parse %5.2f ns, merge %5.2f ns, encode %5.2f ns, all %5.2f ns an event\n",
           tabs, events, best[0] * scale, best[1] * scale, best[2] * scale, (best[0] + best[1] + best[2]) * scale);
    taba_accumulator_free(c);
    free(frames[0].bytes);
    free(frames[1].bytes);
}

int main(void) {
    test_seed(1);
    run(200, 300, 40);
    run(200, 10, 40);
    run(20000, 50, 4);
    return 0;
}
