/* test_memory.c - buffers, allocation, primitives of the encodings, checksums, words for codes. */
#include "internal.h"
#include "test.h"

static void a_buffer_keeps_what_is_appended(void) {
    taba_buffer *b = taba_buffer_new(NULL);
    CHECK(taba_buffer_length(b) == 0 && taba_buffer_allocator(b) == NULL);
    for (int i = 0; i < 1000; i++)
        CHECK_OK(taba_put_u8(b, (uint8_t)i));
    CHECK(taba_buffer_length(b) == 1000);
    for (size_t i = 0; i < 1000; i++)
        CHECK(taba_buffer_bytes(b)[i] == (uint8_t)i);
    taba_buffer_truncate(b, 3);
    CHECK_BYTES(test_blob_of(b), "00 01 02");
    taba_buffer_clear(b);
    CHECK_OK(taba_buffer_append(b, NULL, 0));
    CHECK(taba_buffer_length(b) == 0);
    taba_buffer_free(b);
    taba_buffer_free(NULL);
}

static void a_buffer_uses_its_allocator_only(void) {
    test_memory m;
    test_memory_init(&m);
    taba_buffer *b = taba_buffer_new(&m.allocator);
    CHECK(taba_buffer_allocator(b)->context == &m);
    CHECK_OK(taba_buffer_reserve(b, 5000));
    CHECK(m.live >= 5000);
    taba_buffer_free(b);
    CHECK(m.live == 0);
}

static void a_buffer_that_cannot_grow_stays_as_it_was(void) {
    test_memory m;
    test_memory_init(&m);
    m.fail_at = 1;
    CHECK(taba_buffer_new(&m.allocator) == NULL);
    m.fail_at = 4; /* the third allocation of the buffer's bytes */
    m.calls = 0;
    taba_buffer *b = taba_buffer_new(&m.allocator);
    CHECK_OK(taba_buffer_append(b, "abc", 3));
    CHECK_OK(taba_buffer_reserve(b, 1000));
    CHECK_STATUS(taba_buffer_reserve(b, 100000), TABA_ENOMEM);
    CHECK_STATUS(taba_buffer_reserve(b, SIZE_MAX), TABA_ENOMEM);
    CHECK_STATUS(taba_buffer_reserve(b, SIZE_MAX - 3), TABA_ENOMEM);
    CHECK_BYTES(test_blob_of(b), "61 62 63");
    taba_buffer_free(b);
    CHECK(m.live == 0);
}

static void sizes_do_not_overflow(void) {
    size_t out = 7, room = 0;
    void *p = NULL;
    CHECK(!taba_size_times(SIZE_MAX / 2, 3, &out) && !taba_size_plus(SIZE_MAX, 1, &out) && out == 7);
    CHECK(taba_size_times(SIZE_MAX, 0, &out) && out == 0);
    CHECK(taba_size_plus(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    CHECK_STATUS(taba_array_reserve(NULL, &p, &room, SIZE_MAX / 4, 8, 1), TABA_ENOMEM);
    CHECK(p == NULL && room == 0);
}

static void an_array_keeps_its_elements_when_it_grows(void) {
    test_memory m;
    test_memory_init(&m);
    void *p = NULL;
    size_t room = 0;
    for (size_t i = 0; i < 1000; i++) {
        CHECK_OK(taba_array_reserve(&m.allocator, &p, &room, i + 1, sizeof i, 1));
        ((size_t *)p)[i] = i;
    }
    for (size_t i = 0; i < 1000; i++)
        CHECK(((size_t *)p)[i] == i);
    CHECK(m.calls < 30);
    taba_release(&m.allocator, p, room * sizeof(size_t));
    CHECK(m.live == 0);
}

/* ---------------------------------------------------------------------------------------------- primitives */

static void uvarints_have_their_shortest_form(void) {
    static const struct { uint64_t value; const char *hex; } cases[] = {
        {0, "00"}, {1, "01"}, {127, "7f"}, {128, "80 01"}, {300, "ac 02"}, {16383, "ff 7f"}, {16384, "80 80 01"},
        {UINT64_MAX, "ff ff ff ff ff ff ff ff ff 01"}, {UINT64_C(1) << 63, "80 80 80 80 80 80 80 80 80 01"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        taba_buffer *b = taba_buffer_new(NULL);
        uint64_t back;
        CHECK_OK(taba_put_uvarint(b, cases[i].value));
        CHECK_BYTES(test_blob_of(b), cases[i].hex);
        CHECK(taba_uvarint_length(cases[i].value) == taba_buffer_length(b));
        taba_cursor c = taba_cursor_of(taba_buffer_bytes(b), taba_buffer_length(b));
        CHECK_OK(taba_get_uvarint(&c, &back));
        CHECK(back == cases[i].value && taba_cursor_left(&c) == 0);
        CHECK_OK(taba_buffer_append(b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9)); /* with more behind it */
        c = taba_cursor_of(taba_buffer_bytes(b), taba_buffer_length(b));
        CHECK_OK(taba_get_uvarint(&c, &back));
        CHECK(back == cases[i].value && taba_cursor_left(&c) == 9);
        taba_buffer_free(b);
    }
}

static void uvarints_of_every_length_come_back(void) {
    for (int bits = 0; bits < 64; bits++)
        for (int i = 0; i < 50; i++) {
            taba_buffer *b = taba_buffer_new(NULL);
            uint64_t value = test_random() >> bits, back;
            CHECK_OK(taba_put_uvarint(b, value));
            CHECK_OK(taba_put_uvarint(b, test_random()));
            taba_cursor c = taba_cursor_of(taba_buffer_bytes(b), taba_buffer_length(b));
            CHECK_OK(taba_get_uvarint(&c, &back));
            CHECK(back == value && c.at == taba_buffer_bytes(b) + taba_uvarint_length(value));
            taba_buffer_free(b);
        }
}

static void uvarints_in_other_forms_are_refused(void) {
    static const char *const cases[] = {
        "", "80", "80 00", "ff 80 00", "ff ff ff ff ff ff ff ff ff 02", "ff ff ff ff ff ff ff ff ff 81 00",
        "80 80 80 80 80 80 80 80 80 80 01", "ff ff ff ff ff ff ff ff ff"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[32] = {0};
        uint64_t value = 7;
        size_t n = test_hex(cases[i], bytes);
        bool cut = n == 0 || bytes[n - 1] >= 0x80;
        for (size_t more = 0; more <= (cut ? 0 : 10); more += 10) { /* alone, and with other bytes behind it */
            taba_cursor c = taba_cursor_of(bytes, n + more);
            CHECK_STATUS(taba_get_uvarint(&c, &value), TABA_ECORRUPT);
            CHECK(value == 7 && c.at == bytes);
        }
    }
}

static void svarints_go_both_ways(void) {
    static const struct { int64_t value; const char *hex; } cases[] = {
        {0, "00"}, {-1, "01"}, {1, "02"}, {-2, "03"}, {2500, "88 27"}, {-64, "7f"},
        {INT64_MAX, "fe ff ff ff ff ff ff ff ff 01"}, {INT64_MIN, "ff ff ff ff ff ff ff ff ff 01"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        taba_buffer *b = taba_buffer_new(NULL);
        int64_t back;
        CHECK_OK(taba_put_svarint(b, cases[i].value));
        CHECK_BYTES(test_blob_of(b), cases[i].hex);
        taba_cursor c = taba_cursor_of(taba_buffer_bytes(b), taba_buffer_length(b));
        CHECK_OK(taba_get_svarint(&c, &back));
        CHECK(back == cases[i].value);
        taba_buffer_free(b);
    }
}

static void doubles_are_little_endian_and_finite(void) {
    taba_buffer *b = taba_buffer_new(NULL);
    double back = 7;
    CHECK_OK(taba_put_f64(b, -1.5));
    CHECK_BYTES(test_blob_of(b), "00 00 00 00 00 00 f8 bf");
    taba_cursor c = taba_cursor_of(taba_buffer_bytes(b), 8);
    CHECK_OK(taba_get_f64(&c, &back));
    CHECK(back == -1.5);
    static const char *const bad[] = {"00 00 00 00 00 00 f0 7f", "00 00 00 00 00 00 f0 ff", "01 00 00 00 00 00 f0 7f",
                                      "00 00 00 00 00 00 00 80", "00 00 00 00 00 00 f8"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t bytes[8];
        c = taba_cursor_of(bytes, test_hex(bad[i], bytes));
        CHECK_STATUS(taba_get_f64(&c, &back), TABA_ECORRUPT);
    }
    taba_buffer_free(b);
}

static void bytes_are_taken_only_where_they_are(void) {
    const uint8_t bytes[3] = {1, 2, 3}, *taken = NULL;
    taba_cursor c = taba_cursor_of(bytes, 3);
    CHECK_STATUS(taba_get_bytes(&c, 4, &taken), TABA_ECORRUPT);
    CHECK_STATUS(taba_get_bytes(&c, UINT64_MAX, &taken), TABA_ECORRUPT);
    CHECK_OK(taba_get_bytes(&c, 3, &taken));
    CHECK(taken == bytes && taba_cursor_left(&c) == 0);
    c = taba_cursor_of(NULL, 0);
    CHECK_OK(taba_get_bytes(&c, 0, &taken));
}

/* ---------------------------------------------------------------------------------------------- checksums and words */

static void checksums_are_the_standard_ones(void) {
    const uint8_t *digits = (const uint8_t *)"123456789";
    uint8_t zeros[32] = {0};
    CHECK(taba_crc32(0, digits, 9) == 0xcbf43926);
    CHECK(taba_crc32c(0, digits, 9) == 0xe3069283);
    CHECK(taba_crc32c(0, zeros, 32) == 0x8a9136aa); /* RFC 3720, B.4 */
    CHECK(taba_crc32(0, NULL, 0) == 0 && taba_crc32c(0, NULL, 0) == 0);
}

static void checksums_of_parts_are_those_of_the_whole(void) {
    uint8_t bytes[100];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        size_t rest = sizeof bytes - cut;
        CHECK(taba_crc32(taba_crc32(0, bytes, cut), bytes + cut, rest) == taba_crc32(0, bytes, sizeof bytes));
        CHECK(taba_crc32c(taba_crc32c(0, bytes, cut), bytes + cut, rest) == taba_crc32c(0, bytes, sizeof bytes));
    }
}

static void every_code_has_a_sentence(void) {
    for (int code = TABA_OK; code >= TABA_ELIMIT; code--)
        CHECK(strcmp(taba_strerror(code), taba_strerror(1)) != 0);
    CHECK(strcmp(taba_strerror(1), "unknown error") == 0 && strcmp(taba_strerror(-99), "unknown error") == 0);
    CHECK(strlen(taba_version()) >= 5);
}

int main(void) {
    test_seed(20240617);
    RUN(a_buffer_keeps_what_is_appended);
    RUN(a_buffer_uses_its_allocator_only);
    RUN(a_buffer_that_cannot_grow_stays_as_it_was);
    RUN(sizes_do_not_overflow);
    RUN(an_array_keeps_its_elements_when_it_grows);
    RUN(uvarints_have_their_shortest_form);
    RUN(uvarints_of_every_length_come_back);
    RUN(uvarints_in_other_forms_are_refused);
    RUN(svarints_go_both_ways);
    RUN(doubles_are_little_endian_and_finite);
    RUN(bytes_are_taken_only_where_they_are);
    RUN(checksums_are_the_standard_ones);
    RUN(checksums_of_parts_are_those_of_the_whole);
    RUN(every_code_has_a_sentence);
    return 0;
}
