/* test_number.c - decimal numbers become the nearest double: strtod of the C library is the judge. */
#include <float.h>
#include <math.h>

#include "decimal.h"
#include "test.h"
#include "wide.h"

/* Read `text`, which is a whole number, from memory that ends with it. */
static double read_whole(const char *text) {
    const size_t length = strlen(text);
    uint8_t *alone = test_alone(test_blob(text, length));
    double value = -1;
    const uint8_t *after = taba_read_number(alone, alone + length, &value);
    if (after != alone + length) {
        fprintf(stderr, "not read as a number: %s\n", text);
        exit(1);
    }
    free(alone);
    return value;
}

static bool same_bits(double x, double y) {
    return memcmp(&x, &y, sizeof x) == 0;
}

static void check(const char *text) {
    const double found = read_whole(text), expected = strtod(text, NULL) + 0.0; /* -0.0 becomes 0.0 */
    if (!same_bits(found, expected)) {
        fprintf(stderr, "%s gave %a, not %a\n", text, found, expected);
        exit(1);
    }
}

static double any_double(void) {
    double value;
    do {
        const uint64_t bits = test_random();
        memcpy(&value, &bits, sizeof value);
    } while (!isfinite(value));
    return value;
}

static void numbers_that_are_easily_rounded_wrongly(void) {
    static const char *const texts[] = {
        "0", "-0", "0.0", "-0.0e5", "1", "-1", "0.1", "1e0", "1E+0", "1e-0", "100000000", "1234567812345678", "12345678.12345678",
        "9007199254740991", "9007199254740992", "9007199254740993", "9007199254740995", "9007199254740993.00000000000000000001",
        "18446744073709551615", "18446744073709551616", "9999999999999999999", "99999999999999999999", "1e22", "1e23", "8.5e22",
        "1763731646.1234567", "1400000000.123", "253402300799.9999999", "0.000123456789012345678", "1.7976931348623157e308",
        "1.7976931348623158e308", "1.7976931348623159e308", "1.797693134862315807e308", "1.797693134862315808e308", "1e308", "1e309",
        "-1e309", "1e400", "-1e400", "2.2250738585072014e-308", "2.2250738585072011e-308", "2.225073858507201136e-308",
        "4.9406564584124654e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "2.47032822920623272e-324", "3e-324", "1e-324",
        "1e-400", "-1e-400", "6929495644600919.5", "3.518437208883201171875e13", "62.5364939768271845828", "2.82879384806159e17",
        "8.10109172351e-10", "1.50000000000000011102230246251565404236316680908203125",
        "1.50000000000000011102230246251565404236316680908203124", "1.50000000000000011102230246251565404236316680908203126",
        "1e999999999999999999999", "1e-999999999999999999999", "0e999999999999999999999", "0.00000000000000000000000000000000000001e38",
        "10000000000000000000000000000000000000000e-40", "5e-324", "1.1754943508222875e-38", "7.2057594037927933e16"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check(texts[i]);
}

static void whatever_printf_writes_comes_back(void) {
    char text[64];
    for (int i = 0; i < 400000; i++) {
        const double value = any_double();
        snprintf(text, sizeof text, "%.17g", value);
        check(text);
        CHECK(same_bits(read_whole(text), value + 0.0));
        snprintf(text, sizeof text, "%.*e", (int)test_below(30), value);
        check(text);
    }
}

static void timestamps_and_amounts(void) {
    char text[64];
    for (int i = 0; i < 700000; i++) {
        snprintf(text, sizeof text, "%.*f", (int)test_below(10), 2e9 * test_uniform());
        check(text);
        snprintf(text, sizeof text, "%s%.*f", test_below(2) == 0 ? "-" : "", (int)test_below(22),
                 test_uniform() * (double)(1 + test_below(1000)));
        check(text);
    }
}

static void any_digits_and_exponent(void) {
    char text[128];
    for (int i = 0; i < 500000; i++) {
        snprintf(text, sizeof text, "%" PRIu64 ".%" PRIu64 "e%d", test_random() >> test_below(64), test_random() >> test_below(64),
                 (int)test_below(70) - 35);
        check(text);
        snprintf(text, sizeof text, "%" PRIu64 "E%+d", test_random() >> test_below(64), (int)test_below(700) - 350);
        check(text);
    }
}

/* Points half way between two doubles, and what is a trifle above and below them, in up to 1100 digits. */
static void points_half_way(void) {
    static char text[2000];
    for (int i = 0; i < 8000; i++) {
        double low = any_double(), high;
        uint64_t bits;
        memcpy(&bits, &low, sizeof bits);
        bits &= i % 2 != 0 ? UINT64_C(0x7fffffffffffffff) : UINT64_C(0x000fffffffffffff); /* the latter are subnormal */
        if (i == 0)
            bits = 0; /* the point half way to the least number above 0 */
        memcpy(&low, &bits, sizeof low);
        bits++;
        memcpy(&high, &bits, sizeof high);
        if (!isfinite(high))
            continue;
        const long double half = ((long double)low + (long double)high) / 2;
        snprintf(text, sizeof text, "%.1100Lf", half);
        const size_t length = strlen(text);
        check(text);
        text[length] = '1';
        text[length + 1] = 0;
        check(text);
        snprintf(text, sizeof text, "%.800Le", half);
        check(text);
        for (size_t j = strlen(text); j-- > 0;) { /* one less in the last digit that is not 0 */
            if (text[j] >= '1' && text[j] <= '9' && strchr(text, 'e') > text + j) {
                text[j]--;
                break;
            }
        }
        check(text);
    }
}

/* Digits far beyond the kept ones still count, and a million of them take no time to speak of. */
static void very_long_numbers(void) {
    const size_t length = 1000000;
    char *text = malloc(length + 32);
    CHECK(text != NULL);
    memset(text, '0', length);
    memcpy(text, "9007199254740993.", 17);
    text[length] = 0;
    CHECK(read_whole(text) == 9007199254740992.0);
    text[length - 1] = '1';
    CHECK(read_whole(text) == 9007199254740994.0);
    memset(text, '0', length);
    text[1] = '.';
    strcpy(text + length, "25e1000000");
    check(text);
    memset(text, '1', length);
    strcpy(text + length, "e-999990");
    check(text);
    CHECK(isinf(read_whole("1e1000000")));
    free(text);
}

static void what_is_no_number(void) {
    static const char *const texts[] = {"",   "-",   "+1",    ".5",  "e5",       "-.5", "NaN", "nan", "Infinity", "-Infinity",
                                        "1.", "1.e", "1.e5", "1e",  "1e+",      "1e-", "00",  "01",  "-01",      "00000000",
                                        "01.5", "0000000001", "x", "--1", "\xb2\xb3", " 1"};
    double value = 7;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        uint8_t *alone = test_alone(test_blob(texts[i], strlen(texts[i])));
        CHECK(taba_read_number(alone, alone + strlen(texts[i]), &value) == NULL);
        free(alone);
    }
    CHECK(value == 7);
}

/* A number ends at the first byte that cannot be of it. */
static void a_number_ends_where_it_ends(void) {
    static const char *const texts[] = {"12x", "12]", "12.5,", "1e5 ", "1.25\"]\n", "0x10", "0 1", "12345678a", "123456789:", "1-", "1.5.5"};
    static const size_t lengths[] = {2, 2, 4, 3, 4, 1, 1, 8, 9, 1, 3};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        double value;
        const uint8_t *at = (const uint8_t *)texts[i];
        CHECK(taba_read_number(at, at + strlen(texts[i]), &value) == at + lengths[i]);
    }
}

static void products_and_quotients_of_words(void) {
    for (int i = 0; i < 200000; i++) {
        const uint64_t x = test_random() >> test_below(64), y = test_random() >> test_below(64);
        uint64_t high, rest;
        const uint64_t low = taba_multiply(x, y, &high);
        const uint64_t x1 = x >> 32, x0 = x & 0xffffffffu, y1 = y >> 32, y0 = y & 0xffffffffu;
        const uint64_t middle = x1 * y0 + (x0 * y0 >> 32), other = x0 * y1 + (middle & 0xffffffffu);
        CHECK(low == x * y && high == x1 * y1 + (middle >> 32) + (other >> 32));
        /* 10**19 and its inverse, from the definition. */
        const uint64_t divisor = UINT64_C(10000000000000000000), inverse = UINT64_C(0xd83c94fb6d2ac34a);
        const uint64_t top = test_random() % divisor, quotient = taba_divide(top, x, divisor, inverse, &rest);
        const uint64_t back = taba_multiply(quotient, divisor, &high);
        CHECK(rest < divisor && back + rest == x && high + (back + rest < back) == top);
    }
}

int main(void) {
    test_seed(1);
    RUN(numbers_that_are_easily_rounded_wrongly);
    RUN(whatever_printf_writes_comes_back);
    RUN(timestamps_and_amounts);
    RUN(any_digits_and_exponent);
    RUN(points_half_way);
    RUN(very_long_numbers);
    RUN(what_is_no_number);
    RUN(a_number_ends_where_it_ends);
    RUN(products_and_quotients_of_words);
    return 0;
}
