/* test_accumulator.c - merging scratches, all or nothing, and what the accumulator encodes to. */
#include "bodies.h"
#include "scratch.h"

/* A finished scratch of this body. */
static taba_scratch *scratch_of(const char *body) {
    const taba_limits limits = body_limits();
    taba_scratch *s = body_scratch(&limits, NULL);
    CHECK_OK(body_parse(s, test_blob(body, strlen(body)), body_whole, NULL, NULL));
    return s;
}

static uint64_t merge(taba_accumulator *c, const char *body, uint64_t stamp) {
    taba_scratch *s = scratch_of(body);
    uint64_t next = 0;
    CHECK_OK(taba_accumulator_merge(c, s, stamp, &next));
    taba_scratch_free(s);
    return next;
}

/* The encoding, undivided; to be freed. */
static taba_buffer *encoding_of(const taba_accumulator *c) {
    taba_buffer *out = taba_buffer_new(NULL), *index = taba_buffer_new(NULL);
    CHECK_OK(taba_accumulator_encode(c, 0, out, index));
    taba_buffer_free(index);
    return out;
}

static bool same_encoding(const taba_accumulator *x, const taba_accumulator *y) {
    taba_buffer *one = encoding_of(x), *other = encoding_of(y);
    const bool same = test_same(test_blob_of(one), test_blob_of(other));
    taba_buffer_free(one);
    taba_buffer_free(other);
    return same;
}

static taba_accumulator_summary summary_of(const taba_accumulator *c) {
    taba_accumulator_summary sum;
    taba_accumulator_summary_of(c, &sum);
    return sum;
}

static void an_empty_accumulator_has_no_sections(void) {
    taba_accumulator *c = taba_accumulator_new(NULL);
    taba_buffer *out = taba_buffer_new(NULL), *index = taba_buffer_new(NULL);
    CHECK(merge(c, "1\n\n", 77) == 77);
    CHECK_OK(taba_accumulator_encode(c, 128, out, index));
    CHECK_OK(taba_accumulator_encode(c, 0, out, index));
    CHECK(taba_buffer_length(out) == 0 && taba_buffer_length(index) == 0);
    CHECK(summary_of(c).events == 0 && summary_of(c).partials == 0 && summary_of(c).memory > 0);
    taba_buffer_free(out);
    taba_buffer_free(index);
    taba_accumulator_clear(c);
    taba_accumulator_free(c);
    taba_accumulator_free(NULL);
}

static void append_partial(taba_buffer *out, int type, const double *times, const double *values, size_t n) {
    taba_partial *p = taba_partial_new(type, NULL);
    taba_buffer *bytes = taba_buffer_new(NULL);
    CHECK_OK(taba_partial_reserve(p, NULL, times, values, n));
    taba_partial_fold(p, times, values, n);
    CHECK_OK(taba_partial_encode(p, bytes));
    CHECK_OK(taba_put_uvarint(out, n));
    CHECK_OK(taba_put_uvarint(out, taba_buffer_length(bytes)));
    CHECK_OK(taba_buffer_append(out, taba_buffer_bytes(bytes), taba_buffer_length(bytes)));
    taba_buffer_free(bytes);
    taba_partial_free(p, NULL);
}

static void a_section_byte_for_byte(void) {
    static const double times[] = {1, 2}, values[] = {5, 6}, more_times[] = {3}, more_values[] = {7};
    taba_accumulator *c = taba_accumulator_new(NULL);
    taba_buffer *expected = taba_buffer_new(NULL);
    merge(c, "1\n\nc\n\nt\n[\"CounterGroup\", 1, \"5\"]\n[\"CounterGroup\", 2, \"6\"]\n\nc\n[\"PercentileGroup\", 3, \"7\"]\n", 0);
    /* t c CounterGroup PercentileGroup; two entries: t c CounterGroup, c c PercentileGroup */
    static const char head[] = "\x01\x04\x01t\x01" "c\x0c" "CounterGroup\x0f" "PercentileGroup\x02\x00\x01\x02";
    CHECK_OK(taba_buffer_append(expected, head, sizeof head - 1));
    append_partial(expected, TABA_COUNTER_GROUP, times, values, 2);
    CHECK_OK(taba_buffer_append(expected, "\x01\x01\x03", 3));
    append_partial(expected, TABA_PERCENTILE_GROUP, more_times, more_values, 1);
    taba_buffer *found = encoding_of(c);
    CHECK(test_same(test_blob_of(found), test_blob_of(expected)));
    taba_buffer_free(found);
    taba_buffer_free(expected);
    taba_accumulator_free(c);
}

/* The same events in one block, in many blocks of one body, and in many bodies, come to the same. */
static void events_add_up_however_they_come(void) {
    taba_accumulator *blocks = taba_accumulator_new(NULL), *bodies = taba_accumulator_new(NULL), *whole = taba_accumulator_new(NULL);
    char *one = malloc(400000), *many = malloc(400000), single[200];
    char *m = many + sprintf(many, "1\n\nc\n\n"), *o = one + sprintf(one, "1\n\nc\n\n");
    for (int tab = 0; tab < 2; tab++) {
        o += sprintf(o, "tab%d\n", tab);
        for (int i = tab; i < 2000; i += 2)
            o += sprintf(o, "[\"CounterGroup\", %d, \"%d\"]\n", i * 37 % 3000, i % 100);
        o += sprintf(o, "\n");
    }
    for (int i = 0; i < 2000; i++) {
        m += sprintf(m, "tab%d\n[\"CounterGroup\", %d, \"%d\"]\n\n", i % 2, i * 37 % 3000, i % 100);
        snprintf(single, sizeof single, "1\n\nc\n\ntab%d\n[\"CounterGroup\", %d, \"%d\"]\n\n", i % 2, i * 37 % 3000, i % 100);
        merge(bodies, single, 0);
    }
    merge(blocks, many, 0);
    merge(whole, one, 0);
    CHECK(same_encoding(whole, blocks) && same_encoding(whole, bodies));
    CHECK(summary_of(blocks).partials == 2 && summary_of(blocks).events == 2000 && summary_of(bodies).events == 2000);
    free(one);
    free(many);
    taba_accumulator_free(blocks);
    taba_accumulator_free(bodies);
    taba_accumulator_free(whole);
}

/* (tab, client, Type) are three things: none stands for another. */
static void entries_are_told_apart(void) {
    taba_accumulator *c = taba_accumulator_new(NULL);
    merge(c, "1\n\na\n\nb\n[\"CounterGroup\", 1, \"1\"]\n\na\n[\"CounterGroup\", 1, \"1\"]\n\nab\n[\"CounterGroup\", 1, \"1\"]\n\nb\n[\"PercentileGroup\", 1, \"1\"]\n\n"
             "b\n[\"Gauge\", 1, \"1\"]\n\nb\n[\"Raw\", 1, \"1\"]\n\nb\n[\"CounterGroup\", 1, \"1\"]\n\n\n"
             "b\n\na\n[\"CounterGroup\", 1, \"1\"]\n\nb\n[\"CounterGroup\", 1, \"1\"]\n\n\n", 0);
    CHECK(summary_of(c).partials == 8 && summary_of(c).events == 9);
    taba_accumulator_free(c);
}

static void stamps_follow_the_order_of_events(void) {
    taba_accumulator *c = taba_accumulator_new(NULL);
    CHECK(merge(c, "1\n\nc\n\nraw\n[\"Raw\", 5, \"1\"]\n\nt\n[\"CounterGroup\", 1, \"1\"]\n\ng\n[\"Gauge\", 9, \"\\\"x\\\"\"]\n[\"Gauge\", 9, \"\\\"y\\\"\"]\n"
                   "[\"Gauge\", 8, \"\\\"z\\\"\"]\n\nraw\n[\"Raw\", 4, \"2\"]\n[\"Raw\", 4, \"3\"]\n", 100) == 106);
    CHECK(merge(c, "1\n\nc\n\nraw\n[\"Raw\", 3, \"4\"]\n", 200) == 201);
    taba_buffer *batch = encoding_of(c), *index = taba_buffer_new(NULL);
    taba_entry entry[3];
    CHECK_OK(taba_batch_index(test_blob_of(batch), index));
    CHECK(taba_buffer_length(index) == sizeof entry);
    memcpy(entry, taba_buffer_bytes(index), sizeof entry);
    static const double times[] = {5, 4, 4, 3};
    static const uint64_t stamps[] = {100, 104, 105, 200};
    const taba_blob raw = test_blob(taba_buffer_bytes(batch) + entry[0].partial, entry[0].partial_length);
    const taba_blob gauge = test_blob(taba_buffer_bytes(batch) + entry[2].partial, entry[2].partial_length);
    taba_gauge_entry event;
    size_t offset = 0;
    for (int i = 0; i < 4; i++) {
        const uint8_t expected = (uint8_t)('1' + i);
        CHECK_OK(taba_raw_next(raw, &offset, &event));
        CHECK(event.time == times[i] && event.stamp == stamps[i] && test_same(event.value, test_blob(&expected, 1)));
    }
    CHECK_STATUS(taba_raw_next(raw, &offset, &event), TABA_ELIMIT);
    taba_buffer *state = taba_buffer_new(NULL);
    CHECK_OK(taba_fold(TABA_GAUGE, test_blob(NULL, 0), &gauge, 1, state));
    offset = 0;
    CHECK_OK(taba_gauge_next(test_blob_of(state), &offset, &event));
    CHECK(event.time == 9 && event.stamp == 102 && test_same(event.value, test_blob("\"y\"", 3)) && entry[2].events == 3);
    taba_buffer_free(state);
    taba_buffer_free(index);
    taba_buffer_free(batch);
    taba_accumulator_free(c);
}

static void a_type_is_of_one_kind(void) {
    const taba_limits limits = body_limits();
    static const char body[] = "1\n\nc\n\nt\n[\"New\", 1, \"1\"]\n\nt2\n[\"CounterGroup\", 1, \"1\"]\n";
    taba_accumulator *c = taba_accumulator_new(NULL), *same = taba_accumulator_new(NULL);
    taba_scratch *gauge = body_scratch(&limits, NULL), *raw = body_scratch(&limits, NULL);
    uint64_t next;
    CHECK_OK(taba_scratch_add_type(gauge, "New", 3, TABA_GAUGE));
    CHECK_OK(taba_scratch_add_type(raw, "New", 3, TABA_RAW));
    CHECK_OK(body_parse(gauge, test_blob(body, sizeof body - 1), body_whole, NULL, NULL));
    CHECK_OK(body_parse(raw, test_blob(body, sizeof body - 1), body_whole, NULL, NULL));
    CHECK_OK(taba_accumulator_merge(c, gauge, 0, &next));
    CHECK_OK(taba_accumulator_merge(same, gauge, 0, &next));
    CHECK_STATUS(taba_accumulator_merge(c, raw, 0, &next), TABA_ETYPE);
    CHECK(same_encoding(c, same));
    taba_accumulator_clear(c);
    CHECK_OK(taba_accumulator_merge(c, raw, 0, &next));
    taba_scratch_free(gauge);
    taba_scratch_free(raw);
    taba_accumulator_free(c);
    taba_accumulator_free(same);
}

static void half_a_body_is_not_merged(void) {
    const taba_limits limits = body_limits();
    taba_accumulator *c = taba_accumulator_new(NULL);
    taba_scratch *s = body_scratch(&limits, NULL);
    taba_parser *p = taba_parser_new(s, NULL);
    static const char body[] = "1\n\nc\n\nt\n[\"CounterGroup\", 1, \"1\"]\n";
    static const char wrong[] = "1\n\nc\n\nt\n[\"CounterGroup\", 1, \"1\"]\n\n\nc\nd\n";
    uint64_t next = 5;
    CHECK_OK(taba_parser_feed(p, (const uint8_t *)body, sizeof body - 1));
    CHECK_STATUS(taba_accumulator_merge(c, s, 0, &next), TABA_EDOMAIN);
    CHECK(next == 5 && summary_of(c).events == 0);
    CHECK_OK(taba_parser_finish(p));
    CHECK_OK(taba_accumulator_merge(c, s, 0, &next));
    CHECK(summary_of(c).events == 1);
    taba_parser_free(p);
    taba_scratch_free(s);
    s = body_scratch(&limits, NULL);
    CHECK_STATUS(body_parse(s, test_blob(wrong, sizeof wrong - 1), body_whole, NULL, NULL), TABA_ESYNTAX);
    CHECK_STATUS(taba_accumulator_merge(c, s, 0, &next), TABA_EDOMAIN);
    taba_scratch_free(s);
    taba_accumulator_free(c);
}

/* A block that was begun and got no event makes no entry. */
static void an_empty_block_makes_no_entry(void) {
    const taba_limits limits = body_limits();
    const uint8_t name[] = "name";
    taba_scratch *s = body_scratch(&limits, NULL);
    taba_accumulator *c = taba_accumulator_new(NULL);
    uint64_t next;
    CHECK_OK(taba_scratch_begin(s, name, 4, name, 4, 0));
    CHECK_OK(taba_scratch_begin(s, name, 4, name, 4, 2));
    CHECK_OK(taba_accumulator_merge(c, s, 3, &next));
    CHECK(next == 3 && summary_of(c).partials == 0);
    taba_scratch_free(s);
    taba_accumulator_free(c);
}

/* ------------------------------------------------------------------------------------------- many entries */

/* A body of `tabs` tabs, each of one of `clients` clients, with some events of every kind. */
static char *large_body(int tabs, int clients, int first) {
    char *body = malloc((size_t)tabs * 400 + 1000), *end = body + sprintf(body, "1\n\n");
    for (int client = 0; client < clients; client++) {
        end += sprintf(end, "client_%d\n\n", client);
        for (int tab = client; tab < tabs; tab += clients) {
            static const char *const types[] = {"CounterGroup", "PercentileGroup", "Gauge", "Raw"};
            const char *type = types[test_below(100) < 70 ? 0 : test_below(4)];
            end += sprintf(end, "tab_%d\n", first + tab);
            for (size_t i = test_below(5) + 1; i > 0; i--)
                end += sprintf(end, "[\"%s\", %d, \"%d\"]\n", type, 1000 + (int)test_below(200), (int)test_below(1000));
            end += sprintf(end, "\n");
        }
        end += sprintf(end, "\n");
    }
    return body;
}

/* Dividing while encoding, and encoding whole and dividing then, come to the same. */
static void check_divisions(const taba_accumulator *c, uint32_t num_vbuckets) {
    taba_buffer *whole = encoding_of(c), *out = taba_buffer_new(NULL), *index = taba_buffer_new(NULL);
    taba_buffer *other = taba_buffer_new(NULL), *other_index = taba_buffer_new(NULL);
    uint64_t events = 0;
    size_t end = 0;
    uint32_t last = 0;
    CHECK_OK(taba_accumulator_encode(c, num_vbuckets, out, index));
    CHECK_OK(taba_batch_split(test_blob_of(whole), num_vbuckets, other, other_index));
    CHECK(test_same(test_blob_of(out), test_blob_of(other)) && test_same(test_blob_of(index), test_blob_of(other_index)));
    for (size_t i = 0; i < taba_buffer_length(index); i += sizeof(taba_section)) {
        taba_section section;
        memcpy(&section, taba_buffer_bytes(index) + i, sizeof section);
        CHECK(section.offset == end && section.length > 0 && (i == 0 || section.vbucket > last));
        end += section.length;
        last = section.vbucket;
        events += section.events;
    }
    CHECK(end == taba_buffer_length(out) && events == summary_of(c).events);
    taba_buffer_free(whole);
    taba_buffer_free(out);
    taba_buffer_free(index);
    taba_buffer_free(other);
    taba_buffer_free(other_index);
}

static void sections_by_vbucket(void) {
    static const uint32_t numbers[] = {0, 1, 2, 128, 5000, 65536, 65537, 3000000000u, UINT32_MAX};
    taba_accumulator *c = taba_accumulator_new(NULL);
    char *body = large_body(3000, 5, 0);
    merge(c, body, 1);
    CHECK(summary_of(c).partials == 3000);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        check_divisions(c, numbers[i]);
    free(body);
    taba_accumulator_free(c);
}

static void what_was_in_the_buffers_stays(void) {
    taba_accumulator *c = taba_accumulator_new(NULL);
    taba_buffer *out = taba_buffer_new(NULL), *index = taba_buffer_new(NULL);
    taba_section section;
    merge(c, "1\n\nc\n\nt\n[\"CounterGroup\", 1, \"1\"]\n", 0);
    CHECK_OK(taba_buffer_append(out, "before", 6));
    CHECK_OK(taba_accumulator_encode(c, 128, out, index));
    CHECK_OK(taba_accumulator_encode(c, 0, out, index));
    CHECK(memcmp(taba_buffer_bytes(out), "before", 6) == 0 && taba_buffer_length(index) == 2 * sizeof section);
    memcpy(&section, taba_buffer_bytes(index), sizeof section);
    CHECK(section.offset == 6 && section.vbucket == taba_crc32(0, (const uint8_t *)"t", 1) % 128 && section.events == 1);
    memcpy(&section, taba_buffer_bytes(index) + sizeof section, sizeof section);
    CHECK(section.vbucket == 0 && section.offset + section.length == taba_buffer_length(out));
    taba_buffer_free(out);
    taba_buffer_free(index);
    taba_accumulator_free(c);
}

/* Random bodies one after another; a second accumulator gets them in one body each per tab, and a clear between rounds. */
static void a_cleared_accumulator_is_like_a_new_one(void) {
    test_memory m;
    test_memory_init(&m);
    taba_accumulator *used = taba_accumulator_new(&m.allocator);
    for (int round = 0; round < 12; round++) {
        taba_accumulator *fresh = taba_accumulator_new(NULL);
        const int tabs = round % 4 == 3 ? 1 : 1 + (int)test_below(2000);
        for (int i = 0; i < 3; i++) {
            char *body = large_body(tabs, 1 + (int)test_below(4), (int)test_below(500));
            CHECK(merge(used, body, 7) == merge(fresh, body, 7));
            free(body);
        }
        CHECK(same_encoding(used, fresh));
        CHECK(summary_of(used).memory == m.live && summary_of(used).events == summary_of(fresh).events);
        taba_accumulator_clear(used);
        CHECK(summary_of(used).events == 0 && summary_of(used).partials == 0 && summary_of(used).memory == m.live);
        CHECK(round % 4 != 3 || m.live < 65536); /* after a burst and a quiet round little is kept */
        taba_accumulator_free(fresh);
    }
    taba_accumulator_free(used);
    CHECK(m.live == 0);
}

/* ------------------------------------------------------------------------------------------- memory */

/* Merge `body` into an accumulator with something in it, while allocation k fails. */
static bool merge_fails(const char *before, const char *body, size_t k, const taba_accumulator *unchanged, const taba_accumulator *merged) {
    test_memory m;
    uint64_t next = 9;
    test_memory_init(&m);
    taba_accumulator *c = taba_accumulator_new(&m.allocator);
    taba_scratch *s = scratch_of(body);
    merge(c, before, 1);
    m.calls = 0;
    m.fail_at = k;
    const int status = taba_accumulator_merge(c, s, 1000, &next);
    const bool failed = m.calls >= k;
    m.fail_at = 0;
    CHECK(status == (failed ? TABA_ENOMEM : TABA_OK));
    CHECK(summary_of(c).memory == m.live);
    if (failed) {
        CHECK(next == 9 && same_encoding(c, unchanged));
        CHECK(summary_of(c).events == summary_of(unchanged).events && summary_of(c).partials == summary_of(unchanged).partials);
        CHECK_OK(taba_accumulator_merge(c, s, 1000, &next));
    }
    CHECK(same_encoding(c, merged) && summary_of(c).memory == m.live);
    taba_scratch_free(s);
    taba_accumulator_free(c);
    CHECK(m.live == 0);
    return failed;
}

static void check_all_or_nothing(const char *before, const char *body) {
    taba_accumulator *unchanged = taba_accumulator_new(NULL), *merged = taba_accumulator_new(NULL);
    merge(unchanged, before, 1);
    merge(merged, before, 1);
    merge(merged, body, 1000);
    for (size_t k = 1; merge_fails(before, body, k, unchanged, merged); k++)
        continue;
    taba_accumulator_free(unchanged);
    taba_accumulator_free(merged);
}

static void a_merge_is_all_or_nothing(void) {
    char *first = large_body(40, 3, 0), *second = large_body(60, 3, 20);
    check_all_or_nothing("1\n\n", first);
    check_all_or_nothing(first, second);
    check_all_or_nothing(first, first);
    free(first);
    free(second);
    /* The same entries several times, also new ones, in ever new minutes. */
    static const char before[] = "1\n\nc\n\na\n[\"CounterGroup\", 100, \"1\"]\n\nr\n[\"Raw\", 100, \"1\"]\n\ng\n[\"Gauge\", 100, \"1\"]\n";
    char *body = malloc(200000), *end = body + sprintf(body, "1\n\nc\n\n");
    for (int i = 0; i < 30; i++)
        end += sprintf(end, "a\n[\"CounterGroup\", %d, \"%d\"]\n[\"CounterGroup\", %d, \"0.5\"]\n\nr\n[\"Raw\", 1, \"[%d, \\\"text\\\"]\"]\n\n"
                            "g\n[\"Gauge\", %d, \"%.*s\"]\n\nb\n[\"PercentileGroup\", %d, \"%d\"]\n\n",
                       i * 50, i, i * 70, i, i * 10, i + 1, "1234567890123456789012345678901234567890", i * 40, i);
    check_all_or_nothing(before, body);
    check_all_or_nothing("1\n\n", body);
    check_all_or_nothing(body, body);
    free(body);
}

static void an_encoding_is_all_or_nothing(void) {
    taba_accumulator *plain = taba_accumulator_new(NULL);
    char *body = large_body(50, 3, 0);
    test_memory m;
    test_memory_init(&m);
    taba_accumulator *c = taba_accumulator_new(&m.allocator);
    merge(c, body, 1);
    merge(plain, body, 1);
    bool failed = true;
    for (size_t k = 1; failed; k++) {
        m.fail_at = 0;
        taba_buffer *out = taba_buffer_new(&m.allocator), *index = taba_buffer_new(&m.allocator);
        CHECK_OK(taba_buffer_append(out, "out", 3));
        CHECK_OK(taba_buffer_append(index, "index", 5));
        m.calls = 0;
        m.fail_at = k;
        const int status = taba_accumulator_encode(c, 128, out, index);
        failed = m.calls >= k;
        CHECK(status == (failed ? TABA_ENOMEM : TABA_OK));
        CHECK(!failed || (taba_buffer_length(out) == 3 && taba_buffer_length(index) == 5));
        taba_buffer_free(out);
        taba_buffer_free(index);
        m.fail_at = 0;
        CHECK(summary_of(c).memory == m.live);
    }
    CHECK(same_encoding(c, plain));
    free(body);
    taba_accumulator_free(plain);
    taba_accumulator_free(c);
    CHECK(m.live == 0);
}

static void no_accumulator_without_memory(void) {
    test_memory m;
    test_memory_init(&m);
    m.fail_at = 1;
    CHECK(taba_accumulator_new(&m.allocator) == NULL && m.live == 0);
}

int main(void) {
    test_seed(3);
    RUN(an_empty_accumulator_has_no_sections);
    RUN(a_section_byte_for_byte);
    RUN(events_add_up_however_they_come);
    RUN(entries_are_told_apart);
    RUN(stamps_follow_the_order_of_events);
    RUN(a_type_is_of_one_kind);
    RUN(half_a_body_is_not_merged);
    RUN(an_empty_block_makes_no_entry);
    RUN(sections_by_vbucket);
    RUN(what_was_in_the_buffers_stays);
    RUN(a_cleared_accumulator_is_like_a_new_one);
    RUN(a_merge_is_all_or_nothing);
    RUN(an_encoding_is_all_or_nothing);
    RUN(no_accumulator_without_memory);
    return 0;
}
