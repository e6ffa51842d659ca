/* test_sketch.c - sketches: their bytes worked out by hand, arguments and bytes that are refused, and memory that
 * runs out. */
#include "internal.h"
#include "sketches.h"

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
        "", "03", "04", "11 01 00", "0d 01 00", "01 00", "01 21 00", "01 81 00 00",
        "01 02 00 ff ff ff ff ff ff ff ff ff 01",
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

/* Adds, merges, encodes and decodes with memory that fails once; whatever failed must have left everything as it
 * was. */
static bool run_with_failure(size_t fail_at, const double *values, size_t n) {
    test_memory m;
    test_memory_init(&m);
    taba_sketch *s = taba_sketch_new(&m.allocator), *t = taba_sketch_new(&m.allocator);
    taba_sketch *copy = sketch_of(values, n / 2);
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
    RUN(values_that_are_not_finite_are_refused);
    RUN(counts_beyond_two_to_the_61_are_refused);
    RUN(other_bytes_for_a_value_are_refused);
    RUN(cut_and_changed_bytes_are_refused_or_canonical);
    RUN(decoding_stops_at_the_end_of_the_sketch);
    RUN(running_out_of_memory_changes_nothing);
    return 0;
}
