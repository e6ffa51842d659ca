/* test_ranges.c - that columns are folded the same whether the ranges of their rows were found on the way or not, and
 * counted the same in counts of 16 bits as of 64. */
#include <float.h>
#include <math.h>

#include "frames.h"
#include "scratch.h"
#include "sketches.h"

#define ROWS 12
#define EVENTS 40

static const char *const TYPES[] = {"CounterGroup", "PercentileGroup", "CounterGroup", "PercentileGroup"};

/* The rows of one request, of which some follow one another under the same name. */
typedef struct rows {
    size_t tab[ROWS], type[ROWS], n[ROWS];
    double times[ROWS][EVENTS], values[ROWS][EVENTS];
} rows;

static double some_time(int spread, double start) {
    static const double spreads[] = {0, 0.9, 1.9, 70, 4000};
    return spread == 0 ? start : floor((start - spreads[spread] * test_uniform()) * 1000) / 1000;
}

static void draw_rows(rows *r) {
    for (size_t i = 0; i < ROWS; i++) {
        r->tab[i] = i > 0 && test_below(3) == 0 ? r->tab[i - 1] : test_below(4);
        r->type[i] = r->tab[i];
        r->n[i] = 1 + test_below(test_below(2) == 0 ? 6 : EVENTS);
        const int spread = (int)test_below(5), shape = (int)test_below(SHAPES);
        const double start = test_below(2) == 0 ? BODY_NOW : BODY_NOW - (double)test_below(200) - 0.5;
        for (size_t j = 0; j < r->n[i]; j++)
            r->times[i][j] = test_below(50) == 0 ? 0 : some_time(spread, start);
        draw(shape, r->values[i], r->n[i]);
        for (size_t j = 0; j < r->n[i]; j++) {
            if (test_below(100) == 0)
                r->values[i][j] = test_below(2) == 0 ? DBL_MAX : -0.0;
        }
    }
}

static frame frame_of_rows(const rows *r) {
    char header[ROWS * 60 + 100], *end = header + sprintf(header, "{\"client\":\"c\",\"tabs\":[");
    for (size_t i = 0; i < ROWS; i++)
        end += sprintf(end, "%s[\"tab_%zu\",\"%s\",%zu]", i > 0 ? "," : "", r->tab[i], TYPES[r->type[i]], r->n[i]);
    sprintf(end, "]}");
    frame f = frame_begin(header);
    for (size_t i = 0; i < ROWS; i++) {
        frame_numbers(&f, r->times[i], r->n[i]);
        frame_numbers(&f, r->values[i], r->n[i]);
    }
    return f;
}

/* The same rows in a scratch, of which no ranges are known. */
static taba_scratch *plain_of(const rows *r) {
    const taba_limits limits = body_limits();
    taba_scratch *s = body_scratch(&limits, NULL);
    for (size_t i = 0; i < ROWS; i++) {
        char tab[20];
        const char *type = TYPES[r->type[i]];
        const size_t length = (size_t)sprintf(tab, "tab_%zu", r->tab[i]);
        const ptrdiff_t number = taba_scratch_find_type(s, (const uint8_t *)type, strlen(type));
        CHECK(number >= 0);
        CHECK_OK(taba_scratch_begin(s, (const uint8_t *)"c", 1, (const uint8_t *)tab, length, (size_t)number));
        for (size_t j = 0; j < r->n[i]; j++)
            CHECK_OK(taba_scratch_add_number(s, r->times[i][j], r->values[i][j] + 0.0));
    }
    return s;
}

static taba_scratch *ranged_of(const rows *r) {
    const taba_limits limits = body_limits();
    taba_scratch *s = body_scratch(&limits, NULL);
    taba_columns *p = taba_columns_new(s, FRAME_HEADER, FRAME_ROWS, NULL);
    frame f = frame_of_rows(r);
    CHECK_OK(frame_parse(p, frame_blob(&f), body_random, NULL));
    taba_columns_free(p);
    free(f.bytes);
    return s;
}

static void rows_come_to_what_their_events_come_to(void) {
    static rows r;
    for (int round = 0; round < 150; round++) {
        taba_accumulator *plain = taba_accumulator_new(NULL), *ranged = taba_accumulator_new(NULL);
        taba_buffer *x = taba_buffer_new(NULL), *y = taba_buffer_new(NULL), *index = taba_buffer_new(NULL);
        uint64_t stamp;
        for (int request = 0; request < 3; request++) { /* the first makes entries, the others find them */
            draw_rows(&r);
            taba_scratch *one = plain_of(&r), *other = ranged_of(&r);
            CHECK(one->range_count == 0 && one->block_count == other->block_count && one->numbers == other->numbers);
            CHECK_OK(taba_accumulator_merge(plain, one, 1, &stamp));
            CHECK_OK(taba_accumulator_merge(ranged, other, 1, &stamp));
            taba_scratch_free(one);
            taba_scratch_free(other);
        }
        CHECK_OK(taba_accumulator_encode(plain, 0, x, index));
        CHECK_OK(taba_accumulator_encode(ranged, 0, y, index));
        CHECK(test_same(test_blob_of(x), test_blob_of(y)));
        taba_buffer_free(x);
        taba_buffer_free(y);
        taba_buffer_free(index);
        taba_accumulator_free(plain);
        taba_accumulator_free(ranged);
    }
}

static void ranges_are_those_of_the_block(void) {
    static rows r;
    for (int round = 0; round < 50; round++) {
        draw_rows(&r);
        taba_scratch *s = ranged_of(&r);
        for (size_t i = 0; i < s->block_count; i++) {
            const taba_block *block = &s->blocks[i];
            if (block->ranges == 0)
                continue;
            const taba_ranges known = s->ranges[block->ranges - 1];
            const taba_ranges found = taba_ranges_of(s->times + block->first, s->values + block->first, block->count);
            CHECK(known.first == found.first && known.last == found.last && known.least == found.least && known.most == found.most);
        }
        taba_scratch_free(s);
    }
}

/* A sketch whose counts have 64 bits from the beginning, as all have that were read. */
static taba_sketch *wide_of(const double *values, size_t n) {
    taba_sketch *s = sketch_of(values, n), *wide = taba_sketch_new(NULL);
    taba_buffer *b = encoded(s);
    size_t used;
    CHECK_OK(taba_sketch_decode(wide, taba_buffer_bytes(b), taba_buffer_length(b), &used));
    taba_buffer_free(b);
    taba_sketch_free(s);
    return wide;
}

#define MANY 70000

static void counts_of_16_bits_are_counts_of_64_bits(void) {
    static double values[MANY];
    static const double q[] = {0, 0.01, 0.3, 0.5, 0.77, 0.999, 1};
    for (int shape = 0; shape < SHAPES; shape++) {
        draw(shape, values, MANY);
        for (size_t i = 0; i < MANY && shape == 0; i++)
            values[i] = 3;
        taba_sketch *s = sketch_of(values, 100), *wide = wide_of(values, 100);
        for (size_t at = 100; at < MANY; at += 6990) {
            double left[7], right[7];
            CHECK_OK(taba_sketch_add(s, values + at, 6990));
            CHECK_OK(taba_sketch_add(wide, values + at, 6990));
            CHECK(same(s, wide));
            CHECK_OK(taba_sketch_quantiles(s, q, 7, left));
            CHECK_OK(taba_sketch_quantiles(wide, q, 7, right));
            CHECK(memcmp(left, right, sizeof left) == 0);
        }
        taba_sketch *one = sketch_of(values, 60000), *other = sketch_of(values + 60000, MANY - 60000);
        taba_sketch *few = sketch_of(values, 1000), *both = sketch_of(values, 1000);
        CHECK_OK(taba_sketch_merge(few, other));
        CHECK_OK(taba_sketch_add(both, values + 60000, MANY - 60000));
        taba_sketch_summary x, y;
        taba_sketch_summary_of(few, &x);
        taba_sketch_summary_of(both, &y);
        CHECK(x.count == y.count && x.min == y.min && x.max == y.max && (shape > 3 || same(few, both)));
        CHECK_OK(taba_sketch_merge(one, other));
        taba_sketch_summary_of(one, &x);
        taba_sketch_summary_of(wide, &y);
        CHECK(x.count == MANY && x.count == y.count && x.min == y.min && x.max == y.max && (shape > 3 || same(one, wide)));
        taba_sketch_free(s);
        taba_sketch_free(wide);
        taba_sketch_free(one);
        taba_sketch_free(other);
        taba_sketch_free(few);
        taba_sketch_free(both);
    }
}

static void a_bucket_may_have_any_count(void) {
    static double ones[65536];
    for (size_t i = 0; i < 65536; i++)
        ones[i] = 1;
    for (size_t n = 65534; n <= 65536; n++) {
        taba_sketch *s = sketch_of(ones, 40);
        CHECK_OK(taba_sketch_add(s, ones, n - 40));
        taba_sketch *wide = wide_of(ones, 40);
        CHECK_OK(taba_sketch_add(wide, ones, n - 40));
        CHECK(same(s, wide));
        taba_sketch_free(s);
        taba_sketch_free(wide);
    }
}

static void widening_that_runs_out_of_memory_changes_nothing(void) {
    static double values[65500];
    draw(3, values, 65500);
    test_memory m;
    bool done = false;
    for (size_t k = 1; !done; k++) {
        test_memory_init(&m);
        taba_sketch *s = taba_sketch_new(&m.allocator), *copy = sketch_of(values, 65500);
        CHECK_OK(taba_sketch_add(s, values, 65500));
        m.calls = 0;
        m.fail_at = k;
        const int status = taba_sketch_add(s, values, 100);
        m.fail_at = 0;
        done = status == TABA_OK;
        CHECK(done || status == TABA_ENOMEM);
        CHECK(done || same(s, copy));
        CHECK_OK(taba_sketch_add(copy, values, 100));
        if (!done)
            CHECK_OK(taba_sketch_add(s, values, 100));
        CHECK(same(s, copy));
        taba_sketch_free(s);
        taba_sketch_free(copy);
        CHECK(m.live == 0 && (!done || k > 1));
    }
}

int main(void) {
    test_seed(20240701);
    RUN(rows_come_to_what_their_events_come_to);
    RUN(ranges_are_those_of_the_block);
    RUN(counts_of_16_bits_are_counts_of_64_bits);
    RUN(a_bucket_may_have_any_count);
    RUN(widening_that_runs_out_of_memory_changes_nothing);
    return 0;
}
