/* sketches.h - sketches of given and of random values, for the tests of sketches. */
#ifndef TABA_TEST_SKETCHES_H
#define TABA_TEST_SKETCHES_H

#include <math.h>

#include "test.h"

static inline taba_sketch *sketch_of(const double *values, size_t n) {
    taba_sketch *s = taba_sketch_new(NULL);
    CHECK_OK(taba_sketch_add(s, values, n));
    return s;
}

static inline taba_buffer *encoded(const taba_sketch *s) {
    taba_buffer *b = taba_buffer_new(NULL);
    CHECK_OK(taba_sketch_encode(s, b));
    return b;
}

static inline bool same(const taba_sketch *x, const taba_sketch *y) {
    taba_buffer *left = encoded(x), *right = encoded(y);
    bool equal = test_same(test_blob_of(left), test_blob_of(right));
    taba_buffer_free(left);
    taba_buffer_free(right);
    return equal;
}

#define SHAPES 7

/* `n` values of one of some shapes; those of the first four have sums without rounding. */
static inline void draw(int shape, double *values, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double u = test_uniform(), sign = test_below(3) == 0 ? -1 : 1;
        switch (shape) {
        case 0: values[i] = (double)test_below(10); break;
        case 1: values[i] = (double)test_below(1000000) - 300000; break;
        case 2: values[i] = sign * ldexp(1, (int)test_below(40)); break;
        case 3: values[i] = sign * (double)test_below(4096) / 256; break;
        case 4: values[i] = floor(-log(1 - u) * 100000) / 1000; break;
        case 5: values[i] = sign * exp(1400 * u - 700); break;
        default: values[i] = sign * ldexp(1 + u, test_below(4) == 0 ? -1074 : (int)test_below(1000)); break;
        }
    }
}

#endif
