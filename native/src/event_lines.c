/* event_lines.c - many plain event lines of protocol 1 at once; see event_v1.h and event_lines.h.
 *
 * Read one after another, byte by byte or word by word, a line cannot be begun before the one before it has been
 * understood to its end, and that wait is most of the time. Here 64 bytes are looked at together, in vectors of 16:
 *
 *     ["CounterGroup", 1763731646.123, "12.75"]\n["CounterGroup", 17637...
 *     1111111111111111100000000001000111000010011111111111111111111110000  no digit
 *     0000000000000000000000000000000000000000010000000000000000000000000  end of line
 *
 * Where the line ends is known from one of the two words of bits at once, so that the processor can begin the next line;
 * where the numbers begin and end follows from the other by counting zeros. The digits, up to eight of them in a word of 64
 * bits, are turned into a number by three multiplications. No step depends on a guess of how long a number is.
 */
#include "event_lines.h"

#define PREFIX_MAX 32

#ifdef TABA_EVENT_SSE2

#include <emmintrin.h>

#include "decimal.h"

#define MOST_DIGITS 19 /* so many always fit 64 bits */

/* The words of bits of a window, the lowest bit for the first byte: bytes that are no digits, bytes that end a line. */
typedef struct marks {
    uint64_t others, ends;
} marks;

/* Those of 16 bytes, to be moved to their place in the window. */
static inline marks marks_of_some(const uint8_t *at) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    const __m128i digits = _mm_sub_epi8(bytes, _mm_set1_epi8('0')); /* from 0 to 9; all else is more */
    const __m128i others = _mm_cmpeq_epi8(_mm_max_epu8(digits, _mm_set1_epi8(10)), digits);
    const __m128i ends = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'));
    const marks m = {(uint32_t)_mm_movemask_epi8(others), (uint32_t)_mm_movemask_epi8(ends)};
    return m;
}

static inline marks marks_of(const uint8_t *at) {
    const marks a = marks_of_some(at), b = marks_of_some(at + 16), c = marks_of_some(at + 32), d = marks_of_some(at + 48);
    const marks m = {a.others | b.others << 16 | c.others << 32 | d.others << 48,
                     a.ends | b.ends << 16 | c.ends << 32 | d.ends << 48};
    return m;
}

/* Whether the line begins with the prefix, of at most 32 bytes, for which `mask` has a bit each. */
static inline bool begins_with(const uint8_t *at, const uint8_t *prefix, uint32_t mask) {
    uint32_t same = 0;
    for (int i = 0; i < 2; i++) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(at + 16 * i));
        const __m128i y = _mm_loadu_si128((const __m128i *)(const void *)(prefix + 16 * i));
        same |= (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y)) << 16 * i;
    }
    return (same & mask) == mask;
}

/* The number that `n` digits, 1 to 8, make. */
static inline uint64_t few_digits(const uint8_t *at, unsigned n) {
    const uint64_t pair = 0x000000ff000000ffu;
    uint64_t x;
    memcpy(&x, at, 8);
    x = (x ^ 0x3030303030303030u) << (64 - 8 * n); /* zeros in front make them eight */
    x = x * 10 + (x >> 8);                         /* bytes 0, 2, 4, 6 are the values of pairs of digits */
    return ((x & pair) * (100 + (1000000ull << 32)) + (x >> 16 & pair) * (1 + (10000ull << 32))) >> 32;
}

/* The number that `n` digits, 1 to 16, make. */
static inline uint64_t digits(const uint8_t *at, unsigned n) {
    if (n <= 8)
        return few_digits(at, n);
    return few_digits(at, n - 8) * 100000000 + few_digits(at + n - 8, 8);
}

/* Read a number of digits, and a point and more digits perhaps, of which the marks of `others` tell the end: the lowest
 * bit is that of the first digit. Returns its length, or 0 for what is left to others. */
static inline __attribute__((always_inline)) unsigned read_plain(const uint8_t *at, uint64_t others, bool negative, double *out) {
    static const uint64_t tens[17] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000,
                                      10000000000, 100000000000, 1000000000000, 10000000000000, 100000000000000,
                                      1000000000000000, 10000000000000000};
    const unsigned whole = (unsigned)__builtin_ctzll(others);
    if ((whole - 1 > 15) | ((at[0] == '0') & (whole > 1))) /* without a branch for each */
        return 0;
    uint64_t w = digits(at, whole);
    unsigned length = whole, decimals = 0;
    if (at[whole] == '.') {
        length = (unsigned)__builtin_ctzll(others & (others - 1));
        decimals = length - whole - 1;
        if (decimals - 1 > 15 || whole + decimals > MOST_DIGITS)
            return 0;
        w = w * tens[decimals] + digits(at + whole + 1, decimals);
    }
    *out = taba_decimal_of(w, decimals, negative);
    return length;
}

size_t taba_event_read_many_sse2(const taba_event_prefix *prefix, const uint8_t **from, const uint8_t *end, double newest,
                                 double *times, double *values, size_t room) {
    const uint8_t *at = *from;
    const size_t start = prefix->length;
    size_t n = 0;
    const uint32_t mask = (uint32_t)(((uint64_t)1 << start) - 1);
    for (; n < room && end - at >= TABA_EVENT_READABLE; n++) {
        const marks m = marks_of(at);
        if (m.ends == 0 || !begins_with(at, prefix->bytes, mask))
            break;
        /* Every place looked at from here on lies before the end of the line, or is it: it ends all digits, and is none of
         * the bytes that are asked for. */
        const unsigned last = (unsigned)__builtin_ctzll(m.ends);
        unsigned place = (unsigned)start + (at[start] == ' ');
        unsigned length = read_plain(at + place, m.others >> place, false, &times[n]);
        place += length;
        if (length == 0 || at[place] != ',')
            break;
        place += at[place + 1] == ' ' ? 2u : 1u;
        if (at[place] != '"')
            break;
        const bool negative = at[++place] == '-';
        place += negative;
        length = read_plain(at + place, m.others >> place, negative, &values[n]);
        place += length;
        if (length == 0 || at[place] != '"' || at[place + 1] != ']' || place + 2 != last || !(times[n] <= newest))
            break;
        at += last + 1;
    }
    *from = at;
    return n;
}

#endif

#ifdef TABA_EVENT_AVX2
bool taba_event_has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi"); }
#endif

size_t taba_event_read_many(taba_shapes *shapes, const taba_event_prefix *prefix, const uint8_t **from, const uint8_t *end,
                            double newest, double *times, double *values, size_t room) {
    if (prefix->length > PREFIX_MAX)
        return 0;
#ifdef TABA_EVENT_AVX2
    if (taba_event_has_avx2())
        return taba_event_read_many_avx2(shapes, prefix, from, end, newest, times, values, room);
#endif
#ifdef TABA_EVENT_SSE2
    (void)shapes;
    return taba_event_read_many_sse2(prefix, from, end, newest, times, values, room);
#else
    (void)shapes, (void)from, (void)end, (void)newest, (void)times, (void)values, (void)room;
    return 0;
#endif
}
