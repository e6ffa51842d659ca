/* event_avx2.c - many plain event lines of protocol 1 at once, by the instructions of AVX2; see event_lines.h.
 *
 * The lines of a body have few shapes: which of their bytes are digits, and where they end. What a shape means is worked
 * out when it is first met: where its numbers lie, how their digits are to be moved, what the other bytes have to be. All
 * further lines of that shape are compared with it and moved as it says, without a branch that depends on them. Both
 * numbers are made together, one in each half of a vector: their digits go to the end of the half, over the point, and are
 * joined pairwise.
 *
 *     "1763731646.123"  1 7 6 3 7 3 1 6 4 6 . 1 2 3 ? ?
 *     moved             0 0 0 1 7 6 3 7 3 1 6 4 6 1 2 3
 *     by two            00 01 76 37 31 64 61 23
 *     by four           0001 7637 3164 6123
 *     by eight          00017637 31646123
 */
#include "event_lines.h"

#ifdef TABA_EVENT_AVX2

#include <immintrin.h>

#include "decimal.h"

#define AVX2 __attribute__((target("avx2,bmi")))
#define AVX2_INLINE static inline __attribute__((target("avx2,bmi"), always_inline))

#define HALF 16
#define MOST_DIGITS 19 /* so many always fit 64 bits */
#define EXACT_DIGITS 15 /* so many are below 2**53 */

/* Powers of 10, for up to HALF digits. */
static const uint64_t TENS[HALF + 1] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000,
                                        100000000000, 1000000000000, 10000000000000, 100000000000000, 1000000000000000,
                                        10000000000000000};

/* ------------------------------------------------------------------------------------------- shapes */

/* Work out how a number lies in a line of which `others` marks the bytes that are no digits. `number` gets where to load
 * its last digits and how to move them; false for what is left to others. */
static bool find_number(const uint8_t *line, uint64_t others, unsigned place, taba_shape *shape, int which) {
    const bool negative = line[place] == '-';
    place += negative;
    unsigned whole = 0, length;
    while ((others >> (place + whole) & 1) == 0)
        whole++;
    for (length = whole + (line[place + whole] == '.'); (others >> (place + length) & 1) == 0; length++)
        ;
    const bool point = line[place + whole] == '.';
    const unsigned digits = length - point, first = length > HALF ? length - HALF : 0;
    if (whole == 0 || (point && length == whole + 1) || digits > MOST_DIGITS || first > whole)
        return false;
    const taba_shape_number number = {place, length, first, digits - whole, negative, whole > 1 ? TENS[digits - first - 1] : 0};
    shape->number[which] = number;
    shape->divisors[which] = taba_tens[number.decimals];
    shape->signs[which] = negative ? -0.0 : 0.0;
    shape->is_long |= digits > EXACT_DIGITS;
    for (int i = 0; i < HALF; i++) {
        const int digit = i - HALF + (int)digits, from = digit - (int)first + (digit >= (int)whole);
        shape->moves[which * HALF + i] = (int8_t)(digit < 0 || from < 0 ? -1 : from);
    }
    return true;
}

/* Work out the shape of a line, of whose end `ends` has the lowest bit; false for what is left to others. */
static bool find_shape(const taba_event_prefix *prefix, const uint8_t *line, uint64_t others, uint64_t ends, taba_shape *shape) {
    const unsigned last = (unsigned)__builtin_ctzll(ends), start = (unsigned)prefix->length;
    const uint64_t of_prefix = ((uint64_t)1 << start) - 1;
    if (last <= start || memcmp(line, prefix->bytes, start) != 0 || (others & of_prefix) != of_prefix)
        return false; /* digits of a prefix would not be compared */
    shape->is_long = false;
    /* Every place looked at from here on lies before the end of the line, or is it: it ends all digits, and is none of the
     * bytes that are asked for. */
    if (!find_number(line, others, start + (line[start] == ' '), shape, 0) || shape->number[0].negative)
        return false;
    unsigned place = shape->number[0].place + shape->number[0].length;
    if (line[place] != ',')
        return false;
    place += line[place + 1] == ' ' ? 2 : 1;
    if (line[place] != '"' || !find_number(line, others, place + 1, shape, 1))
        return false;
    place = shape->number[1].place + shape->number[1].length;
    if (line[place] != '"' || line[place + 1] != ']' || place + 2 != last)
        return false;
    for (unsigned i = 0; i < TABA_EVENT_PLAIN_MAX; i++) {
        const bool counts = i <= last && (others >> i & 1) != 0;
        shape->counts[i] = counts ? 0xff : 0;
        shape->bytes[i] = counts ? line[i] : 0;
    }
    shape->length = last + 1;
    return true;
}

/* ------------------------------------------------------------------------------------------- lines */

/* The words of bits of a line and what follows it, the lowest bit for the first byte: bytes that are no digits, bytes that
 * end a line. */
typedef struct marks {
    uint64_t others, ends;
} marks;

AVX2_INLINE marks marks_of(__m256i low, __m256i high) {
    const __m256i zero = _mm256_set1_epi8('0'), ten = _mm256_set1_epi8(10), end = _mm256_set1_epi8('\n');
    const __m256i x = _mm256_sub_epi8(low, zero), y = _mm256_sub_epi8(high, zero); /* digits from 0 to 9; all else is more */
    const uint32_t others_x = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(x, ten), x));
    const uint32_t others_y = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(y, ten), y));
    const uint32_t ends_x = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, end));
    const uint32_t ends_y = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, end));
    const marks m = {others_x | (uint64_t)others_y << 32, ends_x | (uint64_t)ends_y << 32};
    return m;
}

AVX2_INLINE __m256i load(const void *at) { return _mm256_loadu_si256((const __m256i *)at); }

/* Whether all bytes that are no digits are those of the shape. */
AVX2_INLINE bool is_like(const taba_shape *shape, __m256i low, __m256i high) {
    const __m256i x = _mm256_xor_si256(_mm256_and_si256(low, load(shape->counts)), load(shape->bytes));
    const __m256i y = _mm256_xor_si256(_mm256_and_si256(high, load(shape->counts + 32)), load(shape->bytes + 32));
    const __m256i differences = _mm256_or_si256(x, y);
    return _mm256_testz_si256(differences, differences) != 0;
}

/* The number of the digits of a long one. */
static double long_number(const uint8_t *line, const taba_shape_number *number, uint64_t w) {
    uint64_t first = 0;
    for (unsigned i = 0; i < number->first; i++)
        first = first * 10 + (uint64_t)(line[number->place + i] - '0');
    const unsigned digits = number->length - (number->decimals > 0) - number->first; /* those that make w */
    return taba_decimal_of(first * TENS[digits] + w, number->decimals, number->negative);
}

/* Read the two numbers of a line; false if one of them has a zero too many in front. */
AVX2_INLINE bool read_two(const uint8_t *line, const taba_shape *shape, double *time, double *value) {
    const taba_shape_number *x = &shape->number[0], *y = &shape->number[1];
    const __m128i lower = _mm_loadu_si128((const __m128i *)(const void *)(line + x->place + x->first));
    const __m128i upper = _mm_loadu_si128((const __m128i *)(const void *)(line + y->place + y->first));
    const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(lower), upper, 1);
    const __m256i digits = _mm256_shuffle_epi8(_mm256_sub_epi8(bytes, _mm256_set1_epi8('0')), load(shape->moves));
    const __m256i twos = _mm256_maddubs_epi16(digits, _mm256_set1_epi16(1 << 8 | 10));
    const __m256i fours = _mm256_madd_epi16(twos, _mm256_set1_epi32(1 << 16 | 100));
    const __m256i eights = _mm256_madd_epi16(_mm256_packus_epi32(fours, fours), _mm256_set1_epi32(1 << 16 | 10000));
    const uint64_t of_x = (uint64_t)_mm_cvtsi128_si64(_mm256_castsi256_si128(eights));
    const uint64_t of_y = (uint64_t)_mm_cvtsi128_si64(_mm256_extracti128_si256(eights, 1));
    const uint64_t wx = (of_x & 0xffffffff) * 100000000 + (of_x >> 32), wy = (of_y & 0xffffffff) * 100000000 + (of_y >> 32);
    if (shape->is_long) {
        *time = long_number(line, x, wx);
        *value = long_number(line, y, wy);
        return (wx >= x->least || x->first > 0) && (wy >= y->least || y->first > 0) &&
               (x->first == 0 || line[x->place] != '0') && (y->first == 0 || line[y->place] != '0');
    }
    const __m128d whole = _mm_set_pd((double)(int64_t)wy, (double)(int64_t)wx);
    const __m128d signed_ = _mm_xor_pd(_mm_div_pd(whole, _mm_loadu_pd(shape->divisors)), _mm_loadu_pd(shape->signs));
    const __m128d both = _mm_add_pd(signed_, _mm_setzero_pd()); /* -0.0 becomes 0.0 */
    _mm_storel_pd(time, both);
    _mm_storeh_pd(value, both);
    return wx >= x->least && wy >= y->least;
}

AVX2 size_t taba_event_read_many_avx2(taba_shapes *shapes, const taba_event_prefix *prefix, const uint8_t **from,
                                      const uint8_t *end, double newest, double *times, double *values, size_t room) {
    const uint8_t *at = *from;
    size_t n = 0;
    for (; n < room && end - at >= TABA_EVENT_READABLE; n++) {
        const __m256i low = load(at), high = load(at + 32);
        const marks m = marks_of(low, high);
        if (m.ends == 0)
            break;
        const uint64_t others = m.others & (m.ends ^ (m.ends - 1)); /* up to the end of the line */
        const size_t number = others * UINT64_C(0x9e3779b97f4a7c15) >> (64 - TABA_SHAPE_BITS);
        taba_shape *shape = &shapes->shape[number];
        if (shapes->others[number] != others || !is_like(shape, low, high)) {
            shapes->others[number] = 0;
            if (!find_shape(prefix, at, m.others, m.ends, shape))
                break;
            shapes->others[number] = others;
        }
        if (!read_two(at, shape, &times[n], &values[n]) || !(times[n] <= newest))
            break;
        at += shape->length;
    }
    *from = at;
    return n;
}

#endif
