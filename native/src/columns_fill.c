/* columns_fill.c - numbers from the wire into a column, looked at on the way; see columns.h.
 *
 * What is asked of a number later is whether it lies within some bounds, and within which bounds all of a row do. So the
 * least and the greatest are found here, while each number is at hand, and compared once for the row. What is no number
 * at all makes no order, and is told apart.
 */
#include "columns.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The double at `from`, least significant byte first; a negative zero as zero. */
static inline double load(const uint8_t *from) {
    const uint64_t bits = taba_load64(from);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value + 0.0;
}

bool taba_columns_fill(double *to, const uint8_t *from, size_t n, double *least, double *most) {
    double low = *least, high = *most;
    bool ordered = true;
    size_t i = 0;
#ifdef __SSE2__
    const __m128d zero = _mm_setzero_pd();
    __m128d low_a = _mm_set1_pd(low), high_a = _mm_set1_pd(high), low_b = low_a, high_b = high_a, no_number = zero;
    for (; n - i >= 4; i += 4) {
        __m128d a, b;
        memcpy(&a, from + 8 * i, sizeof a);
        memcpy(&b, from + 8 * i + 16, sizeof b);
        a = _mm_add_pd(a, zero);
        b = _mm_add_pd(b, zero);
        _mm_storeu_pd(to + i, a);
        _mm_storeu_pd(to + i + 2, b);
        no_number = _mm_or_pd(no_number, _mm_cmpunord_pd(a, b));
        low_a = _mm_min_pd(a, low_a);
        low_b = _mm_min_pd(b, low_b);
        high_a = _mm_max_pd(a, high_a);
        high_b = _mm_max_pd(b, high_b);
    }
    low_a = _mm_min_pd(low_a, low_b);
    high_a = _mm_max_pd(high_a, high_b);
    low = _mm_cvtsd_f64(_mm_min_sd(low_a, _mm_unpackhi_pd(low_a, low_a)));
    high = _mm_cvtsd_f64(_mm_max_sd(high_a, _mm_unpackhi_pd(high_a, high_a)));
    ordered = _mm_movemask_pd(no_number) == 0;
#endif
    for (; i < n; i++) {
        const double value = load(from + 8 * i);
        to[i] = value;
        low = value < low ? value : low;
        high = value > high ? value : high;
        ordered &= value == value;
    }
    *least = low;
    *most = high;
    return ordered;
}
