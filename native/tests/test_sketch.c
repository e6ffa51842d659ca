/* test_sketch.c - sketches: their bytes worked out by hand, their laws and bounds on numbers by chance, bad bytes, and memory
 * that runs out.
 */
#include <float.h>
#include <math.h>

#include "dist_index.h"
#include "test.h"

/* ---------------------------------------------------------------------------------------------- tools */

static taba_sketch *sketch_of(const double *values, size_t n) {
    taba_sketch *s = taba_sketch_new(NULL);
    CHECK_OK(taba_sketch_add(s, values, n));
    return s;
}

static taba_buffer *encoded(const taba_sketch *s) {
    taba_buffer *b = taba_buffer_new(NULL);
    CHECK_OK(taba_sketch_encode(s, b));
    return b;
}

static bool same(const taba_sketch *x, const taba_sketch *y) {
    taba_buffer *left = encoded(x), *right = encoded(y);
    bool equal = test_same(test_blob_of(left), test_blob_of(right));
    taba_buffer_free(left);
    taba_buffer_free(right);
    return equal;
}

/* What two sketches must agree in even where their sums differ by rounding. */
static bool same_but_for_sum(const taba_sketch *x, const taba_sketch *y) {
    taba_sketch_summary a, b;
    double q[101], left[101], right[101];
    taba_sketch_summary_of(x, &a);
    taba_sketch_summary_of(y, &b);
    for (int i = 0; i <= 100; i++)
        q[i] = i / 100.0;
    CHECK_OK(taba_sketch_quantiles(x, q, 101, left));
    CHECK_OK(taba_sketch_quantiles(y, q, 101, right));
    return a.count == b.count && a.min == b.min && a.max == b.max && a.error == b.error
        && memcmp(left, right, sizeof left) == 0;
}

static void expect(const double *values, size_t n, const char *hex) {
    taba_sketch *s = sketch_of(values, n), *back = taba_sketch_new(NULL);
    taba_buffer *b = encoded(s);
    size_t used;
    CHECK_BYTES(test_blob_of(b), hex);
    CHECK_OK(taba_sketch_decode(back, taba_buffer_bytes(b), taba_buffer_length(b), &used));
    CHECK(used == taba_buffer_length(b) && same(s, back));
    taba_buffer_free(b);
    taba_sketch_free(s);
    taba_sketch_free(back);
}

static int ascending(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void shuffle(double *values, size_t n) {
    for (size_t i = n; i > 1; i--) {
        size_t j = test_below(i);
        double held = values[i - 1];
        values[i - 1] = values[j];
        values[j] = held;
    }
}

#define SHAPES 7

/* `n` values of one of some shapes; those of the first four have sums without rounding. */
static void draw(int shape, double *values, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double u = test_uniform(), sign = test_below(3) == 0 ? -1 : 1;
        switch (shape) {
        case 0: values[i] = (double)test_below(10); break;
        case 1: values[i] = (double)test_below(1000000) - 300000; break;
        case 2: values[i] = sign * ldexp(1, (int)test_below(40)); break;
        case 3: values[i] = sign * (double)test_below(4096) / 256; break;
        case 4: values[i] = floor(-log(1 - u) * 100000) / 1000; break;
        case 5: values[i] = sign * exp(1400 * u - 700); break;
        default: values[i] = test_below(4) == 0 ? sign * ldexp(1 + u, -1074) : sign * ldexp(1 + u, (int)test_below(1000)); break;
        }
    }
}

/* ---------------------------------------------------------------------------------------------- bytes by hand */

static void exact_values_have_the_documented_bytes(void) {
    expect(NULL, 0, "00");
    const double whole[] = {4, 1, 2};
    expect(whole, 3, "01 03 02 01 02");
    const double halves[] = {1, 0.5};
    expect(halves, 2, "05 02 e8 07 f4 03");
    const double third[] = {1.0 / 3};
    expect(third, 1, "09 01 55 55 55 55 55 55 d5 3f");
    const double same_twice[] = {-3, -3, 0};
    expect(same_twice, 3, "01 03 05 00 03");
    const double negative_zero[] = {-0.0};
    expect(negative_zero, 1, "01 01 00");
    const double largest[] = {9007199254740992.0, -9007199254740992.0};
    expect(largest, 2, "01 02 ff ff ff ff ff ff ff 1f 80 80 80 80 80 80 80 20");
    const double beyond[] = {18014398509481984.0};
    expect(beyond, 1, "09 01 00 00 00 00 00 00 50 43");
}

static void buckets_have_the_documented_bytes(void) {
    double ones[33], mixed[33];
    for (int i = 0; i < 33; i++)
        ones[i] = 1;
    /* 1.0 is the upper end of the bucket -1. */
    expect(ones, 33, "02 21 42 02 02 06 00 01 00 01 21 00");
    for (int i = 0; i < 33; i++)
        mixed[i] = i < 10 ? 0 : i < 30 ? 2 : i < 32 ? 3 : -0.5;
    /* Sum 45.5, min -0.5, max 3; indices 63 and 101, and -65 of the negative one. */
    expect(mixed, 33, "16 21 f8 c6 05 e7 07 06 06 0a 02 01 7e 26 03 24 01 00 81 01 01");
}

static void empty_sketches_tell_zeros(void) {
    taba_sketch *s = taba_sketch_new(NULL);
    taba_sketch_summary x;
    const double q[] = {0, 0.5, 1};
    double values[] = {7, 7, 7};
    taba_sketch_summary_of(s, &x);
    CHECK(x.count == 0 && x.sum == 0 && x.min == 0 && x.max == 0 && x.error == 0);
    CHECK_OK(taba_sketch_quantiles(s, q, 3, values));
    CHECK(values[0] == 0 && values[1] == 0 && values[2] == 0);
    taba_sketch_free(s);
    taba_sketch_free(NULL);
}

/* ---------------------------------------------------------------------------------------------- indices */

static void indices_are_exact_at_every_border(void) {
    for (int e = -1022; e <= 1023; e += 5)
        for (int k = 0; k < 64; k++) {
            long double mantissa = floorl(ldexpl(exp2l((long double)k / 64), 52)); /* 12 bits to spare */
            double border = ldexp((double)mantissa, e - 52);
            CHECK(taba_index_of(border) == 64 * e + k - 1);
            CHECK(taba_index_of(nextafter(border, INFINITY)) == 64 * e + k);
        }
    CHECK(taba_index_of(DBL_MAX) == TABA_INDEX_GREATEST);
    CHECK(taba_index_of(ldexp(1, -1074)) == TABA_INDEX_LEAST);
}

static void subnormal_numbers_have_the_index_of_their_size(void) {
    for (int e = -1074; e < -1022; e++) {
        CHECK(taba_index_of(ldexp(1, e)) == 64 * e - 1);
        if (e > -1074)
            CHECK(taba_index_of(ldexp(1.5, e)) == 64 * e + 37);
    }
}

static void the_value_of_a_bucket_is_within_the_bound_of_its_ends(void) {
    for (int shift = 0; shift <= 6; shift++)
        for (int32_t index = -3000 >> shift; index < 3000 >> shift; index++) {
            double low = exp2(index * ldexp(1, shift) / 64), high = exp2((index + 1) * ldexp(1, shift) / 64);
            double value = taba_value_of_index(index, shift), bound = taba_error[6 - shift] * (1 + 1e-9);
            CHECK(value > low && value < high);
            CHECK(value - low <= bound * low && high - value <= bound * high);
        }
}

/* ---------------------------------------------------------------------------------------------- laws */

static void order_and_grouping_do_not_matter(void) {
    enum { MOST = 3000 };
    static double values[MOST];
    for (int round = 0; round < 140; round++) {
        int shape = round % SHAPES;
        size_t n = 1 + test_below(round % 3 == 0 ? 60 : MOST);
        draw(shape, values, n);
        taba_sketch *whole = sketch_of(values, n), *merged = taba_sketch_new(NULL);
        shuffle(values, n);
        for (size_t at = 0; at < n;) {
            size_t piece = 1 + test_below(n - at < 80 ? n - at : 80);
            taba_sketch *part = sketch_of(values + at, piece);
            if (test_below(2)) {
                CHECK_OK(taba_sketch_merge(merged, part));
                taba_sketch_free(part);
            } else {
                CHECK_OK(taba_sketch_merge(part, merged));
                taba_sketch_free(merged);
                merged = part;
            }
            at += piece;
        }
        CHECK(same_but_for_sum(whole, merged));
        if (shape < 4)
            CHECK(same(whole, merged));
        taba_sketch_free(whole);
        taba_sketch_free(merged);
    }
}

static void adding_many_is_adding_one_by_one(void) {
    double values[500];
    for (int shape = 0; shape < SHAPES; shape++) {
        draw(shape, values, 500);
        taba_sketch *at_once = sketch_of(values, 500), *singly = taba_sketch_new(NULL);
        for (int i = 0; i < 500; i++)
            CHECK_OK(taba_sketch_add(singly, &values[i], 1));
        CHECK(same(at_once, singly));
        taba_sketch_free(at_once);
        taba_sketch_free(singly);
    }
}

static void the_empty_sketch_changes_nothing(void) {
    double values[100];
    for (int shape = 0; shape < SHAPES; shape++)
        for (size_t n = 0; n <= 100; n += 20) {
            draw(shape, values, n);
            taba_sketch *s = sketch_of(values, n), *copy = sketch_of(values, n), *empty = taba_sketch_new(NULL);
            CHECK_OK(taba_sketch_merge(s, empty));
            CHECK(same(s, copy));
            CHECK_OK(taba_sketch_merge(empty, copy));
            CHECK(same(s, empty));
            taba_sketch_clear(s);
            taba_sketch_clear(empty);
            CHECK(same(s, empty));
            taba_sketch_free(s);
            taba_sketch_free(copy);
            taba_sketch_free(empty);
        }
}

static void quantiles_are_those_of_the_ranks_within_the_bound(void) {
    enum { MOST = 2000 };
    static double values[MOST];
    for (int round = 0; round < 70; round++) {
        size_t n = 1 + test_below(round % 2 ? 40 : MOST);
        draw(round % SHAPES, values, n);
        taba_sketch *s = sketch_of(values, n);
        qsort(values, n, sizeof *values, ascending);
        taba_sketch_summary x;
        taba_sketch_summary_of(s, &x);
        CHECK(x.count == n && x.min == values[0] && x.max == values[n - 1]);
        for (int i = 0; i <= 50; i++) {
            double q = i / 50.0, found, rank = trunc(q * (double)n);
            double due = values[rank < (double)n - 1 ? (size_t)rank : n - 1];
            CHECK_OK(taba_sketch_quantiles(s, &q, 1, &found));
            if (n <= TABA_SKETCH_EXACT)
                CHECK(found == due && x.error == 0);
            else if (fabs(due) >= DBL_MIN) /* subnormal numbers are themselves coarser than the bound */
                CHECK(fabs(found - due) <= x.error * (1 + 1e-9) * fabs(due));
        }
        taba_sketch_free(s);
    }
}

static void quantiles_may_be_asked_in_any_order(void) {
    double values[400], q[50], together[50], alone;
    draw(1, values, 400);
    taba_sketch *s = sketch_of(values, 400);
    for (int i = 0; i < 50; i++)
        q[i] = test_uniform();
    CHECK_OK(taba_sketch_quantiles(s, q, 50, together));
    for (int i = 0; i < 50; i++) {
        CHECK_OK(taba_sketch_quantiles(s, &q[i], 1, &alone));
        CHECK(alone == together[i]);
    }
    taba_sketch_free(s);
}

static double error_of(const taba_sketch *s) {
    taba_sketch_summary x;
    taba_sketch_summary_of(s, &x);
    return x.error;
}

static void the_scale_follows_from_the_span(void) {
    static const struct { double least, greatest; int scale; } cases[] = {
        {1, 2, 6}, {1, 0x1p63, 6}, {1.5, 0x1p64, 6}, {1, 0x1p64, 5}, {-0x1p64, -1, 5}, {0x1p-64, 0x1p63, 5},
        {0x1p-200, 0x1p55, 4}, {0x1p-1074, DBL_MAX, 0}, {0x1p-500, 0x1p400, 2}, {-DBL_MAX, DBL_MAX, 6}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double values[34];
        for (int j = 0; j < 34; j++)
            values[j] = j % 2 ? cases[i].least : cases[i].greatest;
        taba_sketch *s = sketch_of(values, 34);
        CHECK(error_of(s) == taba_error[cases[i].scale]);
        taba_sketch_free(s);
    }
}

static void sums_stay_finite(void) {
    double values[40];
    for (int i = 0; i < 40; i++)
        values[i] = DBL_MAX;
    for (size_t n = 2; n <= 40; n += 38) {
        taba_sketch *s = sketch_of(values, n), *t = sketch_of(values, n);
        taba_sketch_summary x;
        CHECK_OK(taba_sketch_merge(s, t));
        taba_sketch_summary_of(s, &x);
        CHECK(x.sum == DBL_MAX && x.count == 2 * n);
        taba_sketch_free(s);
        taba_sketch_free(t);
    }
}

static void values_that_are_not_finite_are_refused(void) {
    const double bad[] = {NAN, INFINITY, -INFINITY}, q[] = {0.5, -0.1, 1.1, NAN};
    taba_sketch *s = taba_sketch_new(NULL), *empty = taba_sketch_new(NULL);
    for (int i = 0; i < 3; i++) {
        const double values[] = {1, bad[i], 2};
        CHECK_STATUS(taba_sketch_add(s, values, 3), TABA_EDOMAIN);
        CHECK(same(s, empty));
    }
    for (size_t i = 1; i < 4; i++) {
        double values[] = {7, 7};
        const double both[] = {0.5, q[i]};
        CHECK_STATUS(taba_sketch_quantiles(s, both, 2, values), TABA_EDOMAIN);
        CHECK(values[0] == 7);
    }
    taba_sketch_free(s);
    taba_sketch_free(empty);
}

static void counts_beyond_two_to_the_61_are_refused(void) {
    uint8_t bytes[32];
    /* 2**60 values of 1. */
    const char *hex = "02 80 80 80 80 80 80 80 80 10 00 02 02 06 00 01 00 01 80 80 80 80 80 80 80 80 10 00";
    size_t n = test_hex(hex, bytes), used;
    taba_sketch *s = taba_sketch_new(NULL), *t = taba_sketch_new(NULL);
    CHECK_OK(taba_sketch_decode(s, bytes, n, &used));
    CHECK_OK(taba_sketch_decode(t, bytes, n, &used));
    CHECK_OK(taba_sketch_merge(s, t));
    CHECK_STATUS(taba_sketch_merge(s, t), TABA_EDOMAIN);
    const double one = 1;
    CHECK_STATUS(taba_sketch_add(s, &one, 1), TABA_EDOMAIN);
    taba_buffer *b = encoded(s);
    CHECK_OK(taba_sketch_decode(t, taba_buffer_bytes(b), taba_buffer_length(b), &used));
    CHECK(same(s, t));
    taba_buffer_free(b);
    taba_sketch_free(s);
    taba_sketch_free(t);
}

/* ---------------------------------------------------------------------------------------------- bad bytes */

static void other_bytes_for_a_value_are_refused(void) {
    static const char *const cases[] = {
        "", "03", "04", "11 01 00", "0d 01 00", "01 00", "01 21 00", "01 81 00 00", "01 02 00 ff ff ff ff ff ff ff ff ff 01",
        "01 01 81 80 80 80 80 80 80 20",                /* beyond 2**53 */
        "05 02 d0 0f e8 07", "05 01 00",                 /* thousandths that are whole */
        "09 01 00 00 00 00 00 00 f0 3f",                 /* a double that is whole */
        "09 01 00 00 00 00 00 00 f8 3f",                 /* a double that is thousandths */
        "09 01 00 00 00 00 00 00 00 80", "09 01 00 00 00 00 00 00 f0 7f",
        "09 02 55 55 55 55 55 55 d5 3f 54 55 55 55 55 55 d5 3f", /* descending */
        "02 20 40 02 02 06 00 01 00 01 20 00",           /* 32 values in buckets */
        "02 21 42 02 02 05 00 01 00 01 21 00",           /* a scale coarser than need be */
        "02 21 42 02 02 07 00 01 00 01 21 00",
        "02 21 42 02 02 06 01 01 00 01 21 00",           /* counts that do not add up, */
        "02 22 42 02 02 06 00 01 00 01 21 00",
        "02 21 42 02 02 06 00 01 01 01 40 00",           /* k = 1 where 0 is as short */
        "02 21 42 02 02 06 00 01 04 01 21 00",
        "02 21 42 04 02 06 00 01 00 01 21 00",           /* min > max */
        "02 21 42 02 04 06 00 01 00 01 21 00",           /* max in another bucket */
        "02 21 42 00 02 06 00 01 00 01 21 00",           /* min 0 without zeros */
        "02 21 42 02 02 06 00 01 00 03 21 00",           /* the first bucket is not that of min */
        "02 21 42 02 02 06 00 01 00 02 21 00",
        "02 21 42 02 02 06 00 02 00 01 21 00 00",        /* more buckets than the ends hold */
        "02 21 42 02 02 06 00 00 01 00 01 21",           /* positive values in the negative range */
        "06 21 d0 83 04 02 02 06 00 01 00 01 21 00",     /* a whole sum as thousandths */
        "0e 21 42 02 02 06 00 01 00 01 21 00",           /* kind 3 */
        "02 21 42 02 02 06 21 00 00",                    /* only zeros, but min and max are 1 */
        "02 ff ff ff ff ff ff ff ff ff 01 42 02 02 06 00 01 00 01 ff ff ff ff ff ff ff ff ff 01 00"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[64];
        size_t used = 7;
        taba_blob blob = test_blob(bytes, test_hex(cases[i], bytes));
        uint8_t *alone = test_alone(blob);
        taba_sketch *s = taba_sketch_new(NULL), *empty = taba_sketch_new(NULL);
        int status = taba_sketch_decode(s, alone, blob.length, &used);
        if (status != TABA_ECORRUPT)
            fprintf(stderr, "accepted: %s\n", cases[i]);
        CHECK(status == TABA_ECORRUPT && used == 7 && same(s, empty));
        taba_sketch_free(s);
        taba_sketch_free(empty);
        free(alone);
    }
}

static void check_prefixes_and_changes(taba_blob blob) {
    taba_sketch *s = taba_sketch_new(NULL);
    size_t used;
    for (size_t n = 0; n < blob.length; n++) {
        uint8_t *alone = test_alone(test_blob(blob.bytes, n));
        CHECK_STATUS(taba_sketch_decode(s, alone, n, &used), TABA_ECORRUPT);
        free(alone);
    }
    for (int i = 0; i < 200; i++) {
        uint8_t *changed = test_alone(blob);
        changed[test_below(blob.length)] ^= (uint8_t)(1 + test_below(255));
        if (taba_sketch_decode(s, changed, blob.length, &used) == TABA_OK) {
            taba_buffer *again = encoded(s);
            CHECK(test_same(test_blob_of(again), test_blob(changed, used)));
            taba_buffer_free(again);
        }
        free(changed);
    }
    taba_sketch_free(s);
}

static void cut_and_changed_bytes_are_refused_or_canonical(void) {
    static double values[400];
    static const size_t sizes[] = {1, 5, 32, 33, 60, 400};
    for (int shape = 0; shape < SHAPES; shape++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            draw(shape, values, sizes[i]);
            taba_sketch *s = sketch_of(values, sizes[i]);
            taba_buffer *b = encoded(s);
            check_prefixes_and_changes(test_blob_of(b));
            taba_buffer_free(b);
            taba_sketch_free(s);
        }
}

static void decoding_stops_at_the_end_of_the_sketch(void) {
    const double values[] = {1, 2, 4};
    taba_sketch *s = sketch_of(values, 3), *back = sketch_of(values, 1);
    taba_buffer *b = encoded(s);
    size_t used, length = taba_buffer_length(b);
    CHECK_OK(taba_buffer_append(b, "tail", 4));
    CHECK_OK(taba_sketch_decode(back, taba_buffer_bytes(b), taba_buffer_length(b), &used));
    CHECK(used == length && same(s, back));
    taba_buffer_free(b);
    taba_sketch_free(s);
    taba_sketch_free(back);
}

/* ---------------------------------------------------------------------------------------------- no memory */

/* Adds, merges, encodes and decodes with memory that fails once; whatever failed must have left everything as it was. */
static bool run_with_failure(size_t fail_at, const double *values, size_t n) {
    test_memory m;
    test_memory_init(&m);
    taba_sketch *s = taba_sketch_new(&m.allocator), *t = taba_sketch_new(&m.allocator), *copy = sketch_of(values, n / 2);
    taba_buffer *b = taba_buffer_new(&m.allocator);
    CHECK_OK(taba_sketch_add(s, values, n / 2));
    CHECK_OK(taba_sketch_add(t, values + n / 2, n - n / 2));
    m.calls = 0;
    m.fail_at = fail_at;
    size_t used;
    int status = taba_sketch_add(s, values, n);
    if (status == TABA_OK) {
        CHECK_OK(taba_sketch_add(copy, values, n));
        status = taba_sketch_merge(s, t);
    }
    if (status == TABA_OK) {
        taba_sketch *other = sketch_of(values + n / 2, n - n / 2);
        CHECK_OK(taba_sketch_merge(copy, other));
        taba_sketch_free(other);
        status = taba_sketch_encode(s, b);
        CHECK(status == TABA_OK || taba_buffer_length(b) == 0);
    }
    if (status == TABA_OK)
        status = taba_sketch_decode(s, taba_buffer_bytes(b), taba_buffer_length(b), &used);
    CHECK(status == TABA_OK || (status == TABA_ENOMEM && m.calls >= fail_at));
    m.fail_at = 0;
    CHECK(same(s, copy));
    taba_sketch_free(s);
    taba_sketch_free(t);
    taba_sketch_free(copy);
    taba_buffer_free(b);
    CHECK(m.live == 0);
    return status == TABA_OK;
}

static void running_out_of_memory_changes_nothing(void) {
    static const size_t sizes[] = {3, 20, 40, 70, 900};
    static double values[900];
    test_memory m;
    test_memory_init(&m);
    m.fail_at = 1;
    CHECK(taba_sketch_new(&m.allocator) == NULL);
    for (int shape = 0; shape < SHAPES; shape++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            draw(shape, values, sizes[i]);
            size_t k = 1;
            while (!run_with_failure(k, values, sizes[i]))
                k++;
            CHECK(k > 1);
        }
}

int main(void) {
    test_seed(20240611);
    RUN(exact_values_have_the_documented_bytes);
    RUN(buckets_have_the_documented_bytes);
    RUN(empty_sketches_tell_zeros);
    RUN(indices_are_exact_at_every_border);
    RUN(subnormal_numbers_have_the_index_of_their_size);
    RUN(the_value_of_a_bucket_is_within_the_bound_of_its_ends);
    RUN(order_and_grouping_do_not_matter);
    RUN(adding_many_is_adding_one_by_one);
    RUN(the_empty_sketch_changes_nothing);
    RUN(quantiles_are_those_of_the_ranks_within_the_bound);
    RUN(quantiles_may_be_asked_in_any_order);
    RUN(the_scale_follows_from_the_span);
    RUN(sums_stay_finite);
    RUN(values_that_are_not_finite_are_refused);
    RUN(counts_beyond_two_to_the_61_are_refused);
    RUN(other_bytes_for_a_value_are_refused);
    RUN(cut_and_changed_bytes_are_refused_or_canonical);
    RUN(decoding_stops_at_the_end_of_the_sketch);
    RUN(running_out_of_memory_changes_nothing);
    return 0;
}
