/* test_sketch_laws.c - sketches: indices at the borders of buckets, the laws, and the bounds of quantiles. */
#include <float.h>

#include "dist_index.h"
#include "sketches.h"

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

int main(void) {
    test_seed(20240614);
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
    return 0;
}
