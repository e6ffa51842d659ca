/* test_scratch.c - scratches: their Types, their columns and blocks, what they tell, their limit of memory; names and hashes. */
#include "bodies.h"
#include "names.h"
#include "scratch.h"

#define BYTES(text) (const uint8_t *)(text), strlen(text)

static void types_have_names_and_kinds(void) {
    const taba_limits limits = body_limits();
    taba_scratch *s = body_scratch(&limits, NULL);
    char longest[513];
    memset(longest, 'x', sizeof longest);
    CHECK_OK(taba_scratch_add_type(s, "Buffer", 6, TABA_RAW));
    CHECK_OK(taba_scratch_add_type(s, "Buffer", 6, TABA_RAW)); /* again, the same */
    CHECK_STATUS(taba_scratch_add_type(s, "Buffer", 6, TABA_GAUGE), TABA_EDOMAIN);
    CHECK_STATUS(taba_scratch_add_type(s, "Other", 5, 4), TABA_EDOMAIN);
    CHECK_STATUS(taba_scratch_add_type(s, "Other", 5, -1), TABA_EDOMAIN);
    CHECK_STATUS(taba_scratch_add_type(s, "Other", 5, TABA_RAW_NUMBER | TABA_RAW_EXPIRING), TABA_EDOMAIN);
    CHECK_STATUS(taba_scratch_add_type(s, "Buffer", 6, TABA_RAW_NUMBER), TABA_EDOMAIN); /* another shape */
    CHECK_STATUS(taba_scratch_add_type(s, "", 0, TABA_RAW), TABA_EDOMAIN);
    CHECK_STATUS(taba_scratch_add_type(s, "a b", 3, TABA_RAW), TABA_EDOMAIN);
    CHECK_STATUS(taba_scratch_add_type(s, longest, 513, TABA_RAW), TABA_EDOMAIN);
    CHECK_OK(taba_scratch_add_type(s, longest, 512, TABA_COUNTER_GROUP));
    CHECK(taba_scratch_find_type(s, BYTES("CounterGroup")) == 0 && taba_scratch_find_type(s, BYTES("Buffer")) == 7);
    CHECK(taba_scratch_find_type(s, BYTES("Counter")) == -1 && taba_scratch_find_type(s, BYTES("")) == -1);
    taba_scratch_free(s);
}

static void a_fresh_scratch_tells_nothing(void) {
    const taba_limits limits = body_limits();
    taba_scratch *s = taba_scratch_new(&limits, NULL);
    taba_scratch_summary sum;
    memset(&sum, 0xff, sizeof sum);
    taba_scratch_summary_of(s, &sum);
    CHECK(sum.accepted == 0 && body_refused(&sum) == 0 && sum.samples == 0 && sum.line == 0 && sum.problem == NULL);
    CHECK(sum.memory > 0);
    taba_scratch_free(s);
}

static void reasons_have_names(void) {
    static const char *const names[] = {"json", "type", "mixed", "time", "future", "value", "name", "size"};
    for (int i = 0; i < TABA_REFUSED_REASONS; i++)
        CHECK(strcmp(taba_refused_name(i), names[i]) == 0);
    CHECK(strcmp(taba_refused_name(-1), "unknown") == 0 && strcmp(taba_refused_name(TABA_REFUSED_REASONS), "unknown") == 0);
}

static void blocks_are_ranges_of_columns(void) {
    static const double times[] = {1, 2, 3}, values[] = {10, 20, 30};
    const taba_limits limits = body_limits();
    taba_scratch *s = body_scratch(&limits, NULL);
    CHECK_OK(taba_scratch_begin(s, BYTES("client"), BYTES("tab"), 0));
    CHECK_OK(taba_scratch_add_number(s, 0.5, 5));
    CHECK_OK(taba_scratch_add_columns(s, times, values, 3));
    CHECK_OK(taba_scratch_begin(s, BYTES("client"), BYTES("tab"), 0)); /* goes on */
    CHECK_OK(taba_scratch_add_columns(s, NULL, NULL, 0));
    CHECK_OK(taba_scratch_add_number(s, 4, 40));
    CHECK_OK(taba_scratch_begin(s, BYTES("client"), BYTES("gauge"), 2));
    CHECK_OK(taba_scratch_add_payload(s, 7, BYTES("\"x\""), 0));
    CHECK_OK(taba_scratch_begin(s, BYTES("other"), BYTES("gauge"), 2));
    CHECK_OK(taba_scratch_add_payload(s, 8, BYTES("null"), 0));
    CHECK_OK(taba_scratch_begin(s, BYTES("client"), BYTES("tab"), 1));
    CHECK_OK(taba_scratch_add_columns(s, times, values, 2));
    CHECK(s->block_count == 4 && s->numbers == 7 && s->structured_count == 2);
    CHECK(s->blocks[0].first == 0 && s->blocks[0].count == 5 && s->blocks[1].first == 0 && s->blocks[1].count == 1);
    CHECK(s->blocks[2].first == 1 && s->blocks[2].count == 1 && s->blocks[3].first == 5 && s->blocks[3].count == 2);
    CHECK(s->times[4] == 4 && s->values[4] == 40 && s->times[6] == 2 && s->values[6] == 20);
    CHECK(s->blocks[0].client == s->blocks[1].client); /* kept once */
    taba_scratch_summary sum;
    taba_scratch_summary_of(s, &sum);
    CHECK(sum.accepted == 9);
    taba_scratch_free(s);
}

static void payloads_of_unknown_encoding_wait(void) {
    static const char raw[] = " \\n\\\"\xe9\\u00e9\\\"";
    for (int latin1 = 0; latin1 < 2; latin1++) {
        const taba_limits limits = body_limits();
        taba_scratch *s = body_scratch(&limits, NULL);
        CHECK_OK(taba_scratch_begin(s, BYTES("client"), BYTES("gauge"), 2));
        CHECK_OK(taba_scratch_add_payload(s, 7, BYTES("1"), 0));
        CHECK_OK(taba_scratch_add_payload(s, 8, BYTES(raw), 1));
        CHECK_OK(taba_scratch_add_payload(s, 9, BYTES("2"), 0));
        taba_scratch_decide(s, latin1 != 0);
        taba_scratch_decide(s, latin1 == 0); /* all is decided */
        const taba_structured *event = &s->structured[1];
        const char *expected = latin1 ? "\"\xc3\xa9\xc3\xa9\"" : "\"\xe9\xc3\xa9\"";
        CHECK(test_same(test_blob(s->payloads + event->at, event->length), test_blob(expected, strlen(expected))));
        CHECK(s->payloads[s->structured[2].at] == '2' && s->payloads[s->structured[0].at] == '1');
        taba_scratch_free(s);
    }
}

static void refused_events_are_counted_and_the_first_ten_named(void) {
    const taba_limits limits = body_limits();
    taba_scratch *s = body_scratch(&limits, NULL);
    taba_scratch_summary sum;
    for (int i = 0; i < 20; i++)
        taba_scratch_refuse(s, i % TABA_REFUSED_REASONS, (uint64_t)i + 100);
    taba_scratch_summary_of(s, &sum);
    CHECK(sum.refused[0] == 3 && sum.refused[7] == 2 && body_refused(&sum) == 20 && sum.samples == TABA_SAMPLES);
    CHECK(sum.sample[0].line == 100 && sum.sample[9].line == 109 && sum.sample[9].reason == 1);
    taba_scratch_free(s);
}

/* At its limit a scratch refuses to grow, keeps what it has, and holds no byte more. */
static void a_scratch_keeps_to_its_limit(void) {
    test_memory m;
    test_memory_init(&m);
    taba_limits limits = body_limits();
    for (limits.max_memory = 0; limits.max_memory < 100000; limits.max_memory += 7 + limits.max_memory / 5) {
        taba_scratch *s = taba_scratch_new(&limits, &m.allocator);
        int status = taba_scratch_add_type(s, "C", 1, TABA_COUNTER_GROUP);
        size_t accepted = 0;
        char tab[32];
        for (int i = 0; status == TABA_OK; i++) {
            snprintf(tab, sizeof tab, "tab%d", i / 10);
            status = taba_scratch_begin(s, BYTES("client"), BYTES(tab), 0);
            if (status == TABA_OK)
                status = taba_scratch_add_number(s, i, i);
            accepted += status == TABA_OK;
        }
        CHECK(status == TABA_ELIMIT && s->numbers == accepted);
        CHECK(s->memory == m.live && (m.live <= limits.max_memory || m.live == sizeof *s));
        for (size_t i = 0; i < accepted; i++)
            CHECK(s->times[i] == (double)i && s->values[i] == (double)i);
        CHECK_STATUS(taba_scratch_add_columns(s, NULL, NULL, SIZE_MAX / 4), TABA_ELIMIT);
        taba_scratch_free(s);
        CHECK(m.live == 0);
    }
}

static void an_unlimited_scratch_cannot_overflow(void) {
    taba_limits limits = body_limits();
    limits.max_memory = SIZE_MAX;
    taba_scratch *s = body_scratch(&limits, NULL);
    CHECK_OK(taba_scratch_begin(s, BYTES("client"), BYTES("tab"), 0));
    CHECK_OK(taba_scratch_add_number(s, 1, 1));
    CHECK_STATUS(taba_scratch_add_columns(s, NULL, NULL, SIZE_MAX / 8), TABA_ELIMIT);
    CHECK_STATUS(taba_scratch_add_columns(s, NULL, NULL, SIZE_MAX), TABA_ELIMIT);
    CHECK(s->numbers == 1);
    taba_scratch_free(s);
}

/* A step that finds no memory leaves the scratch as it was. */
static void a_failed_step_changes_nothing(void) {
    static const double columns[100] = {0};
    for (size_t k = 1; k < 12; k++) {
        test_memory m;
        test_memory_init(&m);
        const taba_limits limits = body_limits();
        taba_scratch *s = body_scratch(&limits, &m.allocator);
        m.calls = 0;
        m.fail_at = k;
        int status = TABA_OK;
        for (int i = 0; i < 3 && status == TABA_OK; i++) {
            status = taba_scratch_begin(s, BYTES("client"), BYTES(i == 0 ? "tab" : "other"), 0);
            if (status == TABA_OK)
                status = taba_scratch_add_columns(s, columns, columns, 100);
        }
        if (status == TABA_OK)
            status = taba_scratch_begin(s, BYTES("client"), BYTES("gauge"), 2);
        if (status == TABA_OK)
            status = taba_scratch_add_payload(s, 1, BYTES("null"), 0);
        CHECK(status == (m.calls >= k ? TABA_ENOMEM : TABA_OK));
        size_t sum = 0;
        for (size_t i = 0; i < s->block_count; i++)
            sum += s->blocks[i].count;
        CHECK(sum == s->numbers + s->structured_count && s->numbers % 100 == 0 && s->memory == m.live);
        taba_scratch_free(s);
        CHECK(m.live == 0);
    }
}

/* ------------------------------------------------------------------------------------------- names */

static void names_are_of_the_alphabet(void) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~:/?@!$()*+;=-";
    for (int c = 0; c < 256; c++) {
        const uint8_t byte = (uint8_t)c;
        CHECK(taba_name_valid(&byte, 1, 512) == (c != 0 && strchr(alphabet, c) != NULL));
    }
    CHECK(!taba_name_valid((const uint8_t *)"", 0, 512));
    CHECK(taba_name_valid((const uint8_t *)"abc", 3, 3) && !taba_name_valid((const uint8_t *)"abcd", 4, 3));
}

/* Names that differ in little, of all lengths, spread over the table: no slot of 4096 gets many of 4096 names. */
static void hashes_spread(void) {
    for (int way = 0; way < 3; way++) {
        static uint8_t hits[4096];
        int most = 0;
        memset(hits, 0, sizeof hits);
        for (int i = 0; i < 4096; i++) {
            uint8_t name[600];
            memset(name, 'a', sizeof name);
            size_t length = 8;
            if (way == 0)
                length = (size_t)snprintf((char *)name, sizeof name, "tab_%04d", i);
            else if (way == 1)
                length = (size_t)snprintf((char *)name, sizeof name, "%04d.a_rather_long_name_for_a_tab", i);
            else if (i < 600)
                length = (size_t)i; /* the same character, again and again */
            else
                length = (size_t)snprintf((char *)name, sizeof name, "%d", i);
            const uint64_t hash = taba_hash(name, length, 12345);
            CHECK(hash != taba_hash(name, length, 12346));
            const int here = ++hits[way == 1 ? hash >> 52 : hash & 4095];
            most = here > most ? here : most;
        }
        CHECK(most < 12);
    }
    CHECK(taba_hash_join(1, 2) != taba_hash_join(2, 1) && taba_hash_join(0, 0) != taba_hash_join(0, 1));
}

static void a_table_keeps_each_name_once(void) {
    test_memory m;
    test_memory_init(&m);
    taba_names names;
    memset(&names, 0, sizeof names);
    uint32_t number;
    char text[20];
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 5000; i++) {
            snprintf(text, sizeof text, "%u", i);
            /* A hash that collides often, also in its upper half. */
            CHECK_OK(taba_names_number(&names, &m.allocator, BYTES(text), (uint64_t)(i % 1000) << 32 | i % 10, &number));
            CHECK(number == i);
            CHECK(names.name[i].crc == taba_crc32(0, BYTES(text)));
        }
    }
    CHECK(names.count == 5000 && taba_names_memory(&names) == m.live);
    taba_names_cut(&names, 4990);
    CHECK_OK(taba_names_number(&names, &m.allocator, BYTES("other"), 7, &number));
    CHECK(number == 4990);
    CHECK_OK(taba_names_number(&names, &m.allocator, BYTES("4989"), (uint64_t)989 << 32 | 9, &number));
    CHECK(number == 4989);
    taba_names_free(&names, &m.allocator);
    CHECK(m.live == 0);
}

int main(void) {
    RUN(types_have_names_and_kinds);
    RUN(a_fresh_scratch_tells_nothing);
    RUN(reasons_have_names);
    RUN(blocks_are_ranges_of_columns);
    RUN(payloads_of_unknown_encoding_wait);
    RUN(refused_events_are_counted_and_the_first_ten_named);
    RUN(a_scratch_keeps_to_its_limit);
    RUN(an_unlimited_scratch_cannot_overflow);
    RUN(a_failed_step_changes_nothing);
    RUN(names_are_of_the_alphabet);
    RUN(hashes_spread);
    RUN(a_table_keeps_each_name_once);
    return 0;
}
