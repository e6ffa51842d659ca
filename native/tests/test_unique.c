/* test_unique.c - UniqueGroup: the hash, sets of hashes and their registers, their bytes, and what events become of. */
#include <math.h>

#include "bodies.h"
#include "events.h"
#include "hash64.h"
#include "hll.h"
#include "scratch.h"

static taba_buffer *encoded(const taba_hll *h) {
    taba_buffer *out = taba_buffer_new(NULL);
    CHECK_OK(taba_hll_encode(h, out));
    return out;
}

/* Hash number `i` of a sequence: well mixed, and another one for every i. */
static uint64_t hash_number(uint64_t i) { return taba_xxh64((const uint8_t *)&i, sizeof i) >> 11; }

static void put(taba_hll *h, uint64_t from, uint64_t n) {
    for (uint64_t i = from; i < from + n; i++)
        CHECK_OK(taba_hll_put(h, NULL, hash_number(i)));
}

/* A set with all that an encoded one holds, `from` first of all. */
static int read_into(taba_hll *h, taba_blob blob, uint64_t *least) {
    taba_cursor c = taba_cursor_of(blob.bytes, blob.length);
    const int status = taba_hll_read(&c, h, NULL, least);
    return status == TABA_OK && taba_cursor_left(&c) != 0 ? TABA_ECORRUPT : status;
}

/* ---------------------------------------------------------------------------------------------- the hash */

static uint64_t hash_of(const char *text) { return taba_xxh64((const uint8_t *)text, strlen(text)); }

static void hashes_are_those_of_the_specification(void) {
    CHECK(taba_xxh64(NULL, 0) == UINT64_C(0xef46db3751d8e999) && hash_of("") == taba_xxh64(NULL, 0));
    CHECK(hash_of("a") == UINT64_C(0xd24ec4f1a98c6e5b));
    CHECK(hash_of("abc") == UINT64_C(0x44bc2cf5ad770999));
    CHECK(hash_of("user-17") == UINT64_C(0xfc1c6a71863ce5e7));
    CHECK(hash_of("0123456789abcdef0123456789abcdef0123456789abcdef") == UINT64_C(0xe35216444a3c253b));
    CHECK(taba_unique_hash((const uint8_t *)"abc", 3) == (double)(UINT64_C(0x44bc2cf5ad770999) >> 11));
    uint8_t bytes[101], moved[102];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = moved[i + 1] = (uint8_t)(i * 37);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        uint8_t *alone = test_alone(test_blob(bytes, n));
        CHECK(taba_xxh64(alone, n) == taba_xxh64(moved + 1, n)); /* neither alignment nor what follows matters */
        free(alone);
    }
}

/* ---------------------------------------------------------------------------------------------- sets */

static void few_values_are_counted_exactly(void) {
    taba_hll h;
    memset(&h, 0, sizeof h);
    CHECK(taba_hll_estimate(&h) == 0);
    for (uint64_t n = 1; n <= TABA_HLL_EXACT; n++) {
        put(&h, 0, n); /* most of them again */
        CHECK(taba_hll_estimate(&h) == (double)n && !h.spilled);
    }
    put(&h, 0, TABA_HLL_EXACT + 1);
    CHECK(h.spilled && fabs(taba_hll_estimate(&h) - 33) < 1);
    taba_hll_release(&h, NULL);
}

static void order_and_repetition_do_not_matter(void) {
    for (uint64_t n = 1; n < 20000; n = n * 3 + 1) {
        taba_hll there, back;
        memset(&there, 0, sizeof there);
        memset(&back, 0, sizeof back);
        put(&there, 0, n);
        for (uint64_t i = n; i > 0; i--) {
            put(&back, i - 1, 1);
            put(&back, test_below((size_t)n), 1);
        }
        CHECK(same_and_free(encoded(&there), encoded(&back)));
        taba_hll_release(&there, NULL);
        taba_hll_release(&back, NULL);
    }
}

static void merging_is_putting_all_in(void) {
    static const uint64_t sizes[] = {1, 20, 32, 33, 300, 2000, 9000};
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 7; j++) {
            taba_hll one, other, both;
            uint64_t least;
            memset(&one, 0, sizeof one);
            memset(&other, 0, sizeof other);
            memset(&both, 0, sizeof both);
            put(&one, 0, sizes[i]);
            put(&other, sizes[i] / 2, sizes[j]);
            put(&both, 0, sizes[i] / 2 + sizes[j] > sizes[i] ? sizes[i] / 2 + sizes[j] : sizes[i]);
            taba_buffer *left = encoded(&one), *right = encoded(&other);
            CHECK_OK(read_into(&one, test_blob_of(right), &least));
            CHECK(least <= sizes[j]);
            CHECK_OK(read_into(&other, test_blob_of(left), &least));
            taba_buffer *merged = encoded(&one);
            CHECK_OK(read_into(&one, test_blob_of(left), &least)); /* again: it is in there already */
            CHECK_OK(read_into(&one, test_blob_of(merged), &least));
            CHECK(same_and_free(encoded(&one), encoded(&both)) && same_and_free(merged, encoded(&other)));
            taba_buffer_free(left);
            taba_buffer_free(right);
            taba_hll_release(&one, NULL);
            taba_hll_release(&other, NULL);
            taba_hll_release(&both, NULL);
        }
}

/* The errors of many draws have the spread that is promised, and no bias that would be seen beside it. */
static void estimates_keep_their_error(void) {
    static const uint64_t sizes[] = {40, 200, 1000, 2500, 5000, 10000, 20000, 60000};
    for (int i = 0; i < 8; i++) {
        double sum = 0, squares = 0;
        const int draws = sizes[i] > 10000 ? 20 : 60;
        for (int draw = 0; draw < draws; draw++) {
            taba_hll h;
            memset(&h, 0, sizeof h);
            put(&h, test_random() >> 1, sizes[i]);
            const double error = taba_hll_estimate(&h) / (double)sizes[i] - 1;
            CHECK(fabs(error) < 5 * TABA_HLL_ERROR);
            sum += error;
            squares += error * error;
            taba_hll_release(&h, NULL);
        }
        CHECK(fabs(sum / draws) < 4 * TABA_HLL_ERROR / sqrt(draws));
        CHECK(sqrt(squares / draws) < 1.5 * TABA_HLL_ERROR);
    }
}

static void registers_of_any_ranks_give_a_number(void) {
    taba_hll h;
    memset(&h, 0, sizeof h);
    CHECK_OK(taba_hll_spill(&h, NULL));
    CHECK(taba_hll_estimate(&h) == 0);
    for (int rank = 1; rank <= TABA_HLL_RANK_MAX; rank++) {
        memset(h.registers, rank, TABA_HLL_REGISTERS);
        const double all = taba_hll_estimate(&h);
        CHECK(rank > 41 ? all == ldexp(1, 53) : all > ldexp(1000, rank) && all < ldexp(4000, rank));
        h.registers[7] = 0;
        CHECK(taba_hll_estimate(&h) > 0 && (taba_hll_estimate(&h) < all || rank > 40));
    }
    taba_hll_release(&h, NULL);
}

/* ---------------------------------------------------------------------------------------------- bytes */

static void sets_have_the_bytes_of_the_specification(void) {
    taba_hll h;
    memset(&h, 0, sizeof h);
    CHECK_OK(taba_hll_put(&h, NULL, 200));
    taba_buffer *out = encoded(&h);
    CHECK_BYTES(test_blob_of(out), "01 c8 01");
    CHECK_OK(taba_hll_put(&h, NULL, (UINT64_C(1) << 53) - 1));
    taba_buffer_clear(out);
    CHECK_OK(taba_hll_encode(&h, out));
    CHECK_BYTES(test_blob_of(out), "02 c8 01 b6 fe ff ff ff ff ff 0f");
    CHECK_OK(taba_hll_spill(&h, NULL));
    memset(h.registers, 0, TABA_HLL_REGISTERS);
    h.registers[3] = 1;
    h.registers[5] = 11;
    taba_buffer_clear(out);
    CHECK_OK(taba_hll_encode(&h, out));
    CHECK_BYTES(test_blob_of(out), "40 02 18 0f 03");
    memset(h.registers, 5, TABA_HLL_REGISTERS);
    h.registers[1] = 7;
    h.registers[4094] = 20;
    h.registers[4095] = 42;
    taba_buffer_clear(out);
    CHECK_OK(taba_hll_encode(&h, out));
    const taba_blob dense = test_blob_of(out);
    CHECK(dense.length == 2 + 2048 + 2 && dense.bytes[0] == 0x80 && dense.bytes[1] == 5 && dense.bytes[2] == 0x20);
    CHECK(dense.bytes[2048] == 0 && dense.bytes[2049] == 0xff && dense.bytes[2050] == 0 && dense.bytes[2051] == 22);
    taba_buffer_free(out);
    taba_hll_release(&h, NULL);
}

static void ranks_count_the_zeros(void) {
    static const struct { uint64_t hash; size_t number; int rank; } cases[] = {
        {0, 0, 42}, {1, 0, 41}, {UINT64_C(1) << 40, 0, 1}, {UINT64_C(1) << 41, 1, 42}, {(UINT64_C(1) << 53) - 1, 4095, 1},
        {(UINT64_C(3) << 41) + 5, 3, 39}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        taba_hll h;
        memset(&h, 0, sizeof h);
        CHECK_OK(taba_hll_put(&h, NULL, cases[i].hash));
        CHECK_OK(taba_hll_spill(&h, NULL));
        CHECK(h.registers[cases[i].number] == cases[i].rank);
        taba_hll_release(&h, NULL);
    }
}

static void other_bytes_for_a_set_are_refused(void) {
    static const char *const cases[] = {
        "", "00", "01", "21 00", "41", "ff", "02 00", "40", "40 00", "40 81 0c", "40 02 00", "40 01 80 80 02", "40 01 07",
        "40 01 07 23", "40 02 f8 ff 01 00", "40 01 80 00", "01 80 80 80 80 80 80 80 10", "02 ff ff ff ff ff ff ff 0f 00",
        "80", "80 00", "80 05 00 00"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[64];
        uint64_t least;
        const size_t n = test_hex(cases[i], bytes);
        uint8_t *alone = test_alone(test_blob(bytes, n));
        CHECK_STATUS(read_into(NULL, test_blob(alone, n), &least), TABA_ECORRUPT);
        free(alone);
    }
    static const struct { uint8_t base, half, beyond; size_t extra; } dense[] = {
        {0, 0x00, 0, 0},                    /* few enough for the sparse form */
        {1, 0x11, 0, 0},                    /* the base is no register's */
        {43, 0x00, 0, 0}, {30, 0xd0, 0, 0}, /* beyond the ranks */
        {1, 0xf0, 27, 2048}, {1, 0xf0, 0, 2047}};
    for (size_t i = 0; i < sizeof dense / sizeof *dense; i++) {
        uint8_t bytes[2 + 4096] = {0x80, dense[i].base};
        uint64_t least;
        memset(bytes + 2, dense[i].half, 2048);
        memset(bytes + 2050, dense[i].beyond, dense[i].extra);
        CHECK_STATUS(read_into(NULL, test_blob(bytes, 2050 + dense[i].extra), &least), TABA_ECORRUPT);
    }
}

/* ---------------------------------------------------------------------------------------------- events */

static void a_partial_and_its_state_have_the_bytes_of_the_specification(void) {
    const double times[] = {100, 104.5, 119, 119}, values[] = {200, 200, 5, 200};
    taba_buffer *out = taba_buffer_new(NULL);
    taba_partial *p = taba_partial_new(TABA_UNIQUE_GROUP, NULL);
    CHECK_OK(taba_partial_reserve(p, NULL, times, values, 4));
    taba_partial_fold(p, times, values, 4);
    CHECK_OK(taba_partial_encode(p, out));
    CHECK_BYTES(test_blob_of(out), "88 01 02 0c 02 01 c8 01 00 02 02 05 c2 01");
    taba_buffer *state = folded(TABA_UNIQUE_GROUP, NULL, out);
    CHECK_BYTES(test_blob_of(state), "08 01 02 0c 02 01 c8 01 00 02 02 05 c2 01 01 00 04 02 05 c2 01 "
                                     "01 00 04 02 05 c2 01 01 00 04 02 05 c2 01");
    taba_unique_window windows[TABA_WINDOWS], buckets[4];
    int64_t first;
    CHECK_OK(taba_unique_group_summary(test_blob_of(state), 119.5, windows, out));
    for (int i = 0; i < TABA_WINDOWS; i++)
        CHECK(windows[i].count == 4 && windows[i].unique == 2);
    CHECK_OK(taba_unique_group_buckets(test_blob_of(state), 119.5, 0, &first, buckets, out));
    CHECK(first == 60 && buckets[1].count == 0 && buckets[2].unique == 1 && buckets[3].count == 2);
    CHECK_OK(taba_unique_group_summary(test_blob_of(state), 160, windows, out));
    CHECK(windows[0].count == 2 && windows[0].unique == 2 && windows[1].count == 4);
    CHECK_OK(taba_unique_group_summary(test_blob_of(state), 1e9, windows, out));
    CHECK(windows[3].count == 0 && windows[3].unique == 0);
    taba_partial_free(p, NULL);
    taba_buffer_free(out);
    taba_buffer_free(state);
}

static void what_is_no_hash_is_refused(void) {
    static const double bad[] = {-1, 0.5, 9007199254740992.0, NAN, INFINITY};
    const double time = 100, good = 9007199254740991.0;
    taba_partial *p = taba_partial_new(TABA_UNIQUE_GROUP, NULL);
    for (size_t i = 0; i < 5; i++)
        CHECK_STATUS(taba_partial_reserve(p, NULL, &time, &bad[i], 1), TABA_EDOMAIN);
    CHECK_OK(taba_partial_reserve(p, NULL, &time, &good, 1));
    taba_partial_free(p, NULL);
}

static void other_bytes_for_a_state_are_refused(void) {
    static const char *const cases[] = {
        "08", "08 01", "88 01", "88 01 00", "08 01 00 00 00 00", "88 01 01 0c 00 01 05", /* no event */
        "88 01 01 0c 01 02 05 00",                                                      /* more values than events */
        "88 01 01 0c 20 40 01 00",                                                      /* registers from 32 events */
        "88 01 01 0c 01 01 05 00", "88 01 02 0c 01 01 05", "88 01 01 0c 81 80 80 80 80 80 80 80 20 01 05",
        "08 01 01 0c 01 01 05 01 00 01 01 05 01 00 01 01 05", "08 01 01 0c 01 01 05 01 02 01 01 05 01 00 01 01 05 01 00 01 01 05"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[64];
        int type = 7;
        const size_t n = test_hex(cases[i], bytes);
        uint8_t *alone = test_alone(test_blob(bytes, n));
        const int status = taba_check(test_blob(alone, n), &type);
        if (status != TABA_ECORRUPT)
            fprintf(stderr, "%d for %s\n", status, cases[i]);
        CHECK(status == TABA_ECORRUPT && type == 7);
        free(alone);
    }
}

/* The hash that an event of this payload, inside a JSON string, comes to; -1 if it is refused for its value. */
static double hash_in_body(const char *payload, bool latin1) {
    const taba_limits limits = body_limits();
    taba_scratch *s = body_scratch(&limits, NULL);
    char body[400];
    taba_scratch_summary sum;
    snprintf(body, sizeof body, "1\n\nclient\n\ntab\n[\"UniqueGroup\", 100, \"%s\"]\n\n%s\n\n", payload, latin1 ? "\xe9" : "");
    CHECK_OK(body_parse(s, test_blob(body, strlen(body)), body_random, NULL, NULL));
    taba_scratch_summary_of(s, &sum);
    CHECK(sum.accepted + sum.refused[TABA_REFUSED_VALUE] == 1 && s->numbers == sum.accepted);
    const double hash = s->numbers == 1 ? s->values[0] : -1;
    taba_scratch_free(s);
    return hash;
}

static double plain(const char *text) { return (double)(hash_of(text) >> 11); }

static void values_are_strings_or_the_text_of_numbers(void) {
    static const char *const refused[] = {"", "true", "null", "[1]", "{}", "x", "01", "\\\"a", "\\\"a\\\" 1", "1e999", "[\\\"a\\\"]"};
    CHECK(hash_in_body("\\\"user-17\\\"", false) == plain("user-17"));
    CHECK(hash_in_body("  \\\"user-17\\\"\\t", false) == plain("user-17"));
    CHECK(hash_in_body("\\\"us\\\\u0065r-1\\\\\\\"7\\\"", false) == plain("user-1\"7"));
    CHECK(hash_in_body("\\\"\\\"", false) == plain(""));
    CHECK(hash_in_body("3", false) == plain("3") && hash_in_body("\\\"3\\\"", false) == plain("3"));
    CHECK(hash_in_body(" -3.0e1 ", false) == plain("-3.0e1"));
    CHECK(hash_in_body("\\\"gr\xc3\xbcn\\\"", false) == plain("gr\xc3\xbcn"));
    CHECK(hash_in_body("\\\"gr\\u00fcn\\\"", false) == plain("gr\xc3\xbcn"));
    CHECK(hash_in_body("\\\"gr\\\\u00fcn\\\"", false) == plain("gr\xc3\xbcn"));
    CHECK(hash_in_body("\\\"gr\xfcn\\\"", true) == plain("gr\xc3\xbcn")); /* the body is Latin-1 */
    CHECK(hash_in_body("\\\"gr\xc3\xbcn\\\"", true) == plain("gr\xc3\x83\xc2\xbcn"));
    CHECK(hash_in_body("\\\"gr\xfc\\\\u00fcn\\u00fc\\\"", true) == plain("gr\xc3\xbc\xc3\xbcn\xc3\xbc"));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        CHECK(hash_in_body(refused[i], false) == -1);
}

/* A register far behind the one before takes three bytes and one for its rank: wherever a buffer ends, there is room. */
static void a_far_register_of_high_rank_fits(void) {
    static const uint8_t bytes[] = {0x40, 1, 0x87, 0xfa, 0x01, 10}, filler[64] = {0};
    for (size_t before = 0; before <= sizeof filler; before++) {
        taba_hll h;
        uint64_t least;
        memset(&h, 0, sizeof h);
        CHECK_OK(read_into(&h, test_blob(bytes, sizeof bytes), &least));
        taba_buffer *out = taba_buffer_new(NULL);
        CHECK_OK(taba_buffer_append(out, filler, before));
        CHECK_OK(taba_hll_encode(&h, out));
        CHECK(taba_buffer_length(out) == before + sizeof bytes);
        CHECK(memcmp(taba_buffer_bytes(out) + before, bytes, sizeof bytes) == 0);
        taba_buffer_free(out);
        taba_hll_release(&h, NULL);
    }
}

int main(void) {
    test_seed(20240711);
    RUN(hashes_are_those_of_the_specification);
    RUN(few_values_are_counted_exactly);
    RUN(order_and_repetition_do_not_matter);
    RUN(merging_is_putting_all_in);
    RUN(estimates_keep_their_error);
    RUN(registers_of_any_ranks_give_a_number);
    RUN(sets_have_the_bytes_of_the_specification);
    RUN(ranks_count_the_zeros);
    RUN(other_bytes_for_a_set_are_refused);
    RUN(a_far_register_of_high_rank_fits);
    RUN(a_partial_and_its_state_have_the_bytes_of_the_specification);
    RUN(what_is_no_hash_is_refused);
    RUN(other_bytes_for_a_state_are_refused);
    RUN(values_are_strings_or_the_text_of_numbers);
    return 0;
}
