/* test_events.c - the events of protocol 1: which lines are events, what they mean, why others are refused. */
#include "bodies.h"
#include "scratch.h"

#define HEAD "1\n\nclient\n\n"

/* What becomes of one event line: its reason, or -1 if it is accepted; its time and value then. */
static int reason_of(const char *line, double *time, double *value) {
    const taba_limits limits = body_limits();
    taba_scratch *s = body_scratch(&limits, NULL);
    taba_scratch_summary sum;
    const size_t size = strlen(line) + 100;
    char *body = malloc(size);
    snprintf(body, size, HEAD "tab\n%s\n\n\n", line);
    CHECK_OK(body_parse(s, test_blob(body, strlen(body)), body_whole, NULL, NULL));
    free(body);
    taba_scratch_summary_of(s, &sum);
    CHECK(sum.accepted + body_refused(&sum) == 1);
    if (sum.accepted == 1 && s->numbers == 1) {
        *time = s->times[0];
        *value = s->values[0];
    } else if (sum.accepted == 1) {
        *time = s->structured[0].time;
    }
    if (sum.accepted == 0)
        CHECK(sum.samples == 1 && sum.sample[0].line == 6 && sum.refused[sum.sample[0].reason] == 1);
    taba_scratch_free(s);
    return sum.accepted == 1 ? -1 : sum.sample[0].reason;
}

static void expect_reason(int reason, const char *line) {
    double time, value;
    const int found = reason_of(line, &time, &value);
    if (found != reason) {
        fprintf(stderr, "%s was refused for %s, not %s\n", line, taba_refused_name(found), taba_refused_name(reason));
        exit(1);
    }
}

static void expect_event(double time, double value, const char *line) {
    double found_time = -1, found_value = -1;
    CHECK(reason_of(line, &found_time, &found_value) == -1);
    CHECK(found_time == time && found_value == value && !signbit(found_time));
}

static void lines_that_are_no_events(void) {
    static const char *const lines[] = {
        " ", "\r", "x", "{}", "[]", "null", "\"CounterGroup\"", "[\"CounterGroup\"]", "[\"CounterGroup\", 1]",
        "[\"CounterGroup\", 1, \"1\"", "[\"CounterGroup\", 1, \"1\"] x", "[\"CounterGroup\", 1, \"1\", 2]", "[\"CounterGroup\", 1, \"1\",]",
        "[\"CounterGroup\", \"1\", \"1\"]", "[\"CounterGroup\", null, \"1\"]", "[\"CounterGroup\", true, \"1\"]", "[\"CounterGroup\", [1], \"1\"]",
        "[\"CounterGroup\", 1, 1]", "[\"CounterGroup\", 1, [1]]", "[\"CounterGroup\", 1, null]", "[7, 1, \"1\"]", "[[\"CounterGroup\"], 1, \"1\"]",
        "[\"CounterGroup\", NaN, \"1\"]", "[\"CounterGroup\", Infinity, \"1\"]", "[\"CounterGroup\", -Infinity, \"1\"]",
        "[\"CounterGroup\", 01, \"1\"]", "[\"CounterGroup\", +1, \"1\"]", "[\"CounterGroup\", 1., \"1\"]", "[\"CounterGroup\", .5, \"1\"]",
        "[\"CounterGroup\", 0x10, \"1\"]", "[\"CounterGroup\", 1e, \"1\"]", "[\"CounterGroup\" 1, \"1\"]", "[\"CounterGroup\", 1 \"1\"]",
        "[\"CounterGroup\",, 1, \"1\"]", "['CounterGroup', 1, '1']", "[\"CounterGroup\", 1, \"\\x\"]", "[\"CounterGroup\", 1, \"\\u12g4\"]",
        "[\"CounterGroup\", 1, \"\\u12\"]", "[\"CounterGroup\", 1, \"\t1\"]", "[\"CounterGroup, 1, \"1\"]", "[\"CounterGroup\", 1, \"1\\\"]",
        "[\"CounterGroup\", 1, \"1\\", "[\"CounterGroup\", 1, \"\\u", "\f[\"CounterGroup\", 1, \"1\"]", "[\"CounterGroup\\q\", 1, \"1\"]",
        "[\"\x7f\\z\", 1, \"1\"]"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        expect_reason(TABA_REFUSED_JSON, lines[i]);
}

static void types_times_and_values(void) {
    expect_reason(TABA_REFUSED_TYPE, "[\"Count\", 1, \"1\"]");
    expect_reason(TABA_REFUSED_TYPE, "[\"CounterGroupX\", 1, \"1\"]");
    expect_reason(TABA_REFUSED_TYPE, "[\"\", 1, \"1\"]");
    expect_reason(TABA_REFUSED_TYPE, "[\"\xc3\xa9\", 1, \"1\"]");
    expect_reason(TABA_REFUSED_TYPE, "[\"\\u0000\", 1, \"1\"]");
    expect_reason(TABA_REFUSED_TIME, "[\"CounterGroup\", -1, \"1\"]");
    expect_reason(TABA_REFUSED_TIME, "[\"CounterGroup\", -1e-300, \"1\"]");
    expect_reason(TABA_REFUSED_TIME, "[\"CounterGroup\", 1e400, \"1\"]");
    expect_reason(TABA_REFUSED_TIME, "[\"CounterGroup\", -1e400, \"1\"]");
    expect_reason(TABA_REFUSED_TIME, "[\"CounterGroup\", 253402300800, \"1\"]");
    expect_reason(TABA_REFUSED_FUTURE, "[\"CounterGroup\", 253402300799, \"1\"]");
    expect_reason(TABA_REFUSED_FUTURE, "[\"CounterGroup\", 1400000060.1, \"1\"]");
    expect_reason(TABA_REFUSED_TIME, "[\"CounterGroup\", 1400000000123, \"1\"]"); /* milliseconds: beyond the year 9999 */
    expect_reason(TABA_REFUSED_TIME, "[\"CounterGroup\", 1400000000123456, \"1\"]");
    expect_reason(TABA_REFUSED_TIME, "[\"Gauge\", -1, \"1\"]");
    expect_reason(TABA_REFUSED_FUTURE, "[\"Gauge\", 1400000061, \"1\"]");
    static const char *const payloads[] = {"", " ", "x", "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "null", "\\\"1\\\"", "{}", "[]",
                                           "[[1]]", "[null]", "[1", "[1]]", "1 2", "[1,]", "01", "+1", "1.", "0x1", "tru", "true1",
                                           "[1, 1e400]", "[1e400]", "[\\\"1\\\"]", "{\\\"a\\\": 1", "True", "1,2"};
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        char line[100];
        snprintf(line, sizeof line, "[\"CounterGroup\", 1, \"%s\"]", payloads[i]);
        expect_reason(TABA_REFUSED_VALUE, line);
    }
    expect_reason(TABA_REFUSED_VALUE, "[\"Gauge\", 1, \"v\"]");
    expect_reason(TABA_REFUSED_VALUE, "[\"Gauge\", 1, \"\"]");
    expect_reason(TABA_REFUSED_VALUE, "[\"Raw\", 1, \"NaN\"]");
    expect_reason(TABA_REFUSED_VALUE, "[\"Raw\", 1, \"[1e999]\"]");
    expect_reason(TABA_REFUSED_VALUE, "[\"Raw\", 1, \"\\\"\\n\\\"\"]"); /* a line break within the inner string */
    expect_reason(TABA_REFUSED_VALUE, "[\"Raw\", 1, \"\xc3\xa9\"]");
    expect_reason(TABA_REFUSED_VALUE, "[\"Raw\", 1, \"\\u00e9\"]");
}

static void expect_payloads(int reason, const char *type, const char *const *payloads, size_t n) {
    char line[200];
    for (size_t i = 0; i < n; i++) {
        snprintf(line, sizeof line, "[\"%s\", 1, \"%s\"]", type, payloads[i]);
        expect_reason(reason, line);
    }
}

static void raw_payloads_of_a_shape(void) {
    static const char *const numbers[] = {"1", " -2.5e3 ", "true", "false", "[1]", "[ true , {}]", "[7, [[]], \\\"x,]\\\"]"};
    static const char *const no_numbers[] = {"null", "\\\"1\\\"", "{}", "[]", "[[1]]", "[null, 1]", "1e999", "[1, 1e999]", "[1", "", "1 2"};
    static const char *const pairs[] = {"[1,2]", " [ null , -0.5e1 ] ", "[[1,2,{\\\"a,b\\\":[3,4]}],5]", "[\\\",]\\\",6]", "[[],0]", "[{},7]"};
    static const char *const no_pairs[] = {"1", "[]", "[ ]", "[1]", "[[1,2]]", "[1,true]", "[1,null]", "[1,\\\"2\\\"]", "[1,[2]]", "[1,2,3]",
                                           "{\\\"a\\\":1,\\\"b\\\":2}", "\\\"[1,2]\\\"", "[1,1e999]", "[1,2", "[1,2]x", "[1 2]"};
    expect_payloads(-1, "Number", numbers, sizeof numbers / sizeof *numbers);
    expect_payloads(TABA_REFUSED_VALUE, "Number", no_numbers, sizeof no_numbers / sizeof *no_numbers);
    expect_payloads(-1, "Expiring", pairs, sizeof pairs / sizeof *pairs);
    expect_payloads(TABA_REFUSED_VALUE, "Expiring", no_pairs, sizeof no_pairs / sizeof *no_pairs);
    expect_reason(TABA_REFUSED_SIZE, "[\"Number\", 1, \"[1, [[[[[[[[]]]]]]]]]\"]");
    expect_reason(TABA_REFUSED_SIZE, "[\"Expiring\", 1, \"[[[[[[[[[]]]]]]]],2]\"]");
}

static void times_and_values_that_are_taken(void) {
    expect_event(0, 1, "[\"CounterGroup\", 0, \"1\"]");
    expect_event(0, 0, "[\"CounterGroup\", -0, \"-0\"]");
    expect_event(0, 0, "[\"CounterGroup\", -0.0, \"-0.0e-5\"]");
    expect_event(1400000060, 1, "[\"CounterGroup\", 1400000060, \"1\"]");
    expect_event(1399999999.1234567, 321.125, "[\"CounterGroup\", 1399999999.1234567, \"321.125\"]");
    expect_event(1.5, 1, "[\"CounterGroup\",1.5,\"true\"]");
    expect_event(1.5, 0, "[\"CounterGroup\", 1.5, \" false \"]");
    expect_event(1.5, 7, "[\"CounterGroup\", 15e-1, \"[7]\"]");
    expect_event(1.5, 7, "[\"CounterGroup\", 0.15E+1, \"\\t[ 7 , \\\"x\\\", [null, {\\\"a\\\": {}}]]\\n\"]");
    expect_event(1.5, 1, "[\"CounterGroup\", 1.5, \"[true, false]\"]");
    expect_event(1.5, -0.25, "[\"CounterGroup\", 1.5, \"-2.5e-1\"]");
    expect_event(1, 1e308, "[\"CounterGroup\", 1, \"1e308\"]");
    expect_event(1, 1234567890123456789012345678901234567890.0, "[\"CounterGroup\", 1, \"1234567890123456789012345678901234567890\"]");
    expect_event(1, 12, "\t[\t\"Counter\\u0047roup\"\r, 1 ,\"\\u00312\" ] \r");
    expect_event(1, 5e-324, "[\"PercentileGroup\", 1, \"4.94e-324\"]");
}

static void a_block_keeps_its_first_valid_type(void) {
    body_result r = body_of(HEAD "tab\n[\"Gauge\", 1, \"x\"]\n[\"CounterGroup\", 1, \"1\"]\n[\"Gauge\", 1, \"1\"]\n[\"PercentileGroup\", -1, \"1\"]\n"
                                 "[\"CounterGroup\", 1, \"1\"]\n[\"None\", 1, \"1\"]\n\n"
                                 "gauge\n[\"Gauge\", 1, \"1\"]\n[\"CounterGroup\", 1, \"1\"]\n[\"Gauge\", 1, \"2\"]\n\n"
                                 "tab\n[\"PercentileGroup\", 1, \"1\"]\n");
    body_expect_counts(&r, 5, "5" "2" "2" "1" "2");
    taba_buffer_free(r.batch);
}

static void names_that_cannot_be(void) {
    char *body = malloc(40000), *name = malloc(10001);
    memset(name, 'n', 10000);
    name[10000] = 0;
    for (size_t length = 511; length <= 10000; length += length < 514 ? 1 : 9486) {
        name[length] = 0;
        snprintf(body, 40000, HEAD "%s\n[\"CounterGroup\", 1, \"1\"]\nx\n\nok\n[\"CounterGroup\", 1, \"1\"]\n\n\n%s\n\nok\n[\"CounterGroup\", 1, \"1\"]\n", name, name);
        name[length] = 'n';
        body_result r = body_of(body), bytes = body_outcome(test_blob(body, strlen(body)), body_bytes, NULL);
        body_expect_counts(&r, length <= 512 ? 3 : 1, length <= 512 ? "0" : "666");
        body_check_same(&r, &bytes);
    }
    static const char *const names[] = {"a b", "\r", " ", "t\r", "\xc3\xa9", "a\"b", "a,b", "a#b", "a%b", "a'b", "a\\b", "a[b]", "a{b", "a|b", "a^b",
                                        "a`b", "a<b", "a>b", "a&b", "a\x7f", "a\x01"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(body, 40000, HEAD "%s\n[\"CounterGroup\", 1, \"1\"]\n\n\n%s\n\nok\n[\"CounterGroup\", 1, \"1\"]\n", names[i], names[i]);
        body_result r = body_of(body);
        body_expect_counts(&r, 0, "66");
        taba_buffer_free(r.batch);
    }
    body_expect_accepted(HEAD "AZaz09._~:/?@!$()*+;=-\n[\"CounterGroup\", 1, \"1\"]\n", 1, 6);
    free(body);
    free(name);
}

/* ------------------------------------------------------------------------------------------- sizes */

static void nesting(void) {
    expect_event(1, 1, "[\"CounterGroup\", 1, \"[1, [[[[[[[]]]]]]]]\"]");
    expect_reason(TABA_REFUSED_SIZE, "[\"CounterGroup\", 1, \"[1, [[[[[[[[]]]]]]]]]\"]");
    expect_reason(-1, "[\"Gauge\", 1, \"{\\\"a\\\":[{\\\"a\\\":[{\\\"a\\\":[{\\\"a\\\":[]}]}]}]}\"]");
    expect_reason(TABA_REFUSED_SIZE, "[\"Gauge\", 1, \"{\\\"a\\\":[{\\\"a\\\":[{\\\"a\\\":[{\\\"a\\\":[{}]}]}]}]}\"]");
    expect_reason(TABA_REFUSED_SIZE, "[\"Gauge\", 1, \"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]");
    expect_reason(TABA_REFUSED_JSON, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[");
    taba_limits limits = body_limits();
    limits.max_payload = 1000000;
    limits.max_depth = 64;
    for (size_t depth = 63; depth < 500000; depth = depth < 66 ? depth + 1 : depth * 7) {
        char *body = malloc(2 * depth + 100);
        const size_t head = (size_t)sprintf(body, HEAD "tab\n[\"Gauge\", 1, \"");
        memset(body + head, '[', depth);
        memset(body + head + depth, ']', depth);
        strcpy(body + head + 2 * depth, "\"]\n");
        body_result r = body_outcome_within(&limits, test_blob(body, strlen(body)), body_whole, NULL);
        body_expect_counts(&r, depth <= 64, depth <= 64 ? "" : "7");
        taba_buffer_free(r.batch);
        free(body);
    }
}

/* A body with one Gauge whose payload is a string of `count` times `unit`, between `before` and `after`. */
static int reason_of_size(const taba_limits *limits, const char *before, const char *unit, size_t count, const char *after) {
    const size_t size = strlen(unit) * count + strlen(before) + strlen(after) + 100;
    char *body = malloc(size), *end = body;
    end += sprintf(end, HEAD "tab\n[\"Gauge\", 1, %s\"", before);
    for (size_t i = 0; i < count; i++)
        end += sprintf(end, "%s", unit);
    sprintf(end, "\"]%s\n", after);
    const taba_blob blob = test_blob(body, strlen(body));
    body_result r = body_outcome_within(limits, blob, body_whole, NULL), parts = body_outcome_within(limits, blob, body_random, NULL);
    const taba_scratch_summary sum = r.summary;
    CHECK(r.status == TABA_OK && sum.accepted + body_refused(&sum) == 1);
    body_check_same(&r, &parts);
    free(body);
    return sum.accepted == 1 ? -1 : sum.sample[0].reason;
}

static void sizes_of_payloads(void) {
    taba_limits limits = body_limits();
    CHECK(reason_of_size(&limits, "", "1", 300, "") == -1);
    limits.max_payload = 100; /* after its escapes are undone; a line may have 6 * 100 + 4096 bytes */
    CHECK(reason_of_size(&limits, "", "1", 100, "") == -1);
    CHECK(reason_of_size(&limits, "", "1", 101, "") == TABA_REFUSED_SIZE);
    CHECK(reason_of_size(&limits, "", "\\u0031", 100, "") == -1);
    CHECK(reason_of_size(&limits, "", "\\u0031", 101, "") == TABA_REFUSED_SIZE);
    CHECK(reason_of_size(&limits, "", "\\u0031", 2000, "") == TABA_REFUSED_SIZE);
    CHECK(reason_of_size(&limits, "", "1", 20000, "") == TABA_REFUSED_SIZE);
    CHECK(reason_of_size(&limits, "", "\xc3\xa9", 50, "") == TABA_REFUSED_VALUE);
    CHECK(reason_of_size(&limits, "", "\xc3\xa9", 51, "") == TABA_REFUSED_SIZE);
    limits.max_payload = 0;
    CHECK(reason_of_size(&limits, "", "1", 1, "") == TABA_REFUSED_SIZE);
    CHECK(reason_of_size(&limits, "", "1", 0, "") == TABA_REFUSED_VALUE);
}

static void lines_that_are_too_long(void) {
    taba_limits limits = body_limits();
    limits.max_payload = 1;
    const size_t longest = 6 + 4096;
    char *blanks = malloc(longest + 2);
    memset(blanks, ' ', longest + 1);
    blanks[longest + 1] = 0;
    const size_t rest = strlen("[\"Gauge\", 1, \"1\"]");
    blanks[longest - rest] = 0;
    CHECK(reason_of_size(&limits, blanks, "1", 1, "") == -1);
    CHECK(reason_of_size(&limits, "", "1", 1, blanks) == -1);
    blanks[longest - rest] = ' ';
    blanks[longest - rest + 1] = 0;
    CHECK(reason_of_size(&limits, blanks, "1", 1, "") == TABA_REFUSED_SIZE);
    CHECK(reason_of_size(&limits, "", "1", 1, blanks) == TABA_REFUSED_SIZE);
    limits.max_payload = SIZE_MAX;
    CHECK(reason_of_size(&limits, blanks, "1", 1, "") == -1);
    free(blanks);
}

/* The quick way, too, minds the limit of payloads. */
static void numbers_that_are_too_long(void) {
    taba_limits limits = body_limits();
    limits.max_payload = 5;
    static const char body[] = HEAD "tab\n[\"CounterGroup\", 1, \"12345\"]\n[\"CounterGroup\", 1, \"12345\"]\n[\"CounterGroup\", 1, \"123456\"]\n";
    body_result r = body_outcome_within(&limits, test_blob(body, sizeof body - 1), body_whole, NULL);
    body_expect_counts(&r, 2, "7");
    taba_buffer_free(r.batch);
}

/* ------------------------------------------------------------------------------------------- payloads */

/* Parses a body with one Raw event, and checks its payload, which ends with a zero byte. */
static void expect_payload(const char *body, const char *payload) {
    body_result r = body_of(body), bytes = body_outcome(test_blob(body, strlen(body)), body_bytes, NULL);
    taba_buffer *index = taba_buffer_new(NULL);
    taba_entry entry;
    taba_gauge_entry event;
    size_t offset = 0;
    CHECK_OK(r.status);
    CHECK_OK(taba_batch_index(test_blob_of(r.batch), index));
    CHECK(taba_buffer_length(index) == sizeof entry);
    memcpy(&entry, taba_buffer_bytes(index), sizeof entry);
    CHECK_OK(taba_raw_next(test_blob(taba_buffer_bytes(r.batch) + entry.partial, entry.partial_length), &offset, &event));
    if (!test_same(event.value, test_blob(payload, strlen(payload)))) {
        fprintf(stderr, "expected %s, found %.*s\n", payload, (int)event.value.length, (const char *)event.value.bytes);
        exit(1);
    }
    taba_buffer_free(index);
    body_check_same(&r, &bytes);
}

#define RAW(payload) HEAD "tab\n[\"Raw\", 1, \"" payload "\"]\n"

static void payloads_become_utf8(void) {
    expect_payload(RAW("1"), "1");
    expect_payload(RAW(" [1,  2]\\t\\u0020"), "[1,  2]");
    expect_payload(RAW("\\\"a\\\\n\\/\\\""), "\"a\\n/\"");
    expect_payload(RAW("\\\"\\u00e9\\u20AC\\ud83d\\ude00\\u007f\\\""), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"");
    expect_payload(RAW("\\\"\\ud83d\\\""), "\"\xef\xbf\xbd\"");
    expect_payload(RAW("\\\"\\ude00\\ud83d\\\""), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    expect_payload(RAW("\\\"\\ud83dx\\ud83d\\u0041\\ud83d\\ud83d\\ude00\\\""), "\"\xef\xbf\xbdx\xef\xbf\xbd" "A\xef\xbf\xbd\xf0\x9f\x98\x80\"");
    expect_payload(RAW("\\\"\\\\ud83d\\\""), "\"\\ud83d\""); /* within the payload it is text, and stays */
    expect_payload(RAW("\\\"\xc3\xa9\xf0\x9f\x98\x80\\u00e9\\\" "), "\"\xc3\xa9\xf0\x9f\x98\x80\xc3\xa9\"");
    expect_payload(RAW("  \\n \\\"\xe9\xff\x80\\u00e9\\\"\\n"), "\"\xc3\xa9\xc3\xbf\xc2\x80\xc3\xa9\"");
}

/* One byte anywhere that cannot be UTF-8 makes the whole body Latin-1. */
static void the_whole_body_is_of_one_encoding(void) {
    expect_payload(RAW("\\\"\xc3\xa9\\\"") "[\"Raw\", -1, \"\xc3\xa9\"]\n", "\"\xc3\xa9\"");
    expect_payload(RAW("\\\"\xc3\xa9\\\"") "[\"Raw\", -1, \"\xc3\"]\n", "\"\xc3\x83\xc2\xa9\"");
    expect_payload(RAW("\\\"\xc3\xa9\\\"") "\xed\xa0\x80\n", "\"\xc3\x83\xc2\xa9\"");              /* a surrogate */
    expect_payload(RAW("\\\"\xc3\xa9\\\"") "\xc0\x80\n", "\"\xc3\x83\xc2\xa9\"");                  /* an overlong form */
    expect_payload(RAW("\\\"\xc3\xa9\\\"") "\xe0\x9f\xbf\n", "\"\xc3\x83\xc2\xa9\"");
    expect_payload(RAW("\\\"\xc3\xa9\\\"") "\xf0\x8f\xbf\xbf\n", "\"\xc3\x83\xc2\xa9\"");
    expect_payload(RAW("\\\"\xc3\xa9\\\"") "\xf4\x90\x80\x80\n", "\"\xc3\x83\xc2\xa9\"");          /* beyond U+10FFFF */
    expect_payload(RAW("\\\"\xc3\xa9\\\"") "\xf4\x8f\xbf\xbf\xee\x80\x80\xe0\xa0\x80\xf0\x90\x80\x80\n", "\"\xc3\xa9\"");
    expect_payload(RAW("\\\"\xc3\xa9\\\"") "\n\nclient \xe9\n\n", "\"\xc3\x83\xc2\xa9\"");
    expect_payload(RAW("\\\"\xc3\xa9\\\"") "cut \xe2\x82", "\"\xc3\x83\xc2\xa9\"");
    expect_payload("1\n\n\xe2\x82\n\n\n" "client\n\ntab\n[\"Raw\", 1, \"\\\"\xc3\xa9\\\"\"]\n", "\"\xc3\x83\xc2\xa9\"");
}

/* The body of the Java client: compact, whole seconds, Latin-1, one block named "client". */
static void the_java_client(void) {
    body_result r = body_of("1\n\nclient\n\n"
                            "gauge\n[\"Gauge\",1400000000,\"\\\"caf\xe9 ?\\\"\"]\n\n"
                            "expiring\n[\"Raw\",1400000000,\"[\\\"value\\\",1400000060]\"]\n\n"
                            "count\n[\"CounterGroup\",1400000000,\"0.5\"]\n[\"CounterGroup\",1400000000,\"3\"]\n\n"
                            "buffer\n[\"Raw\",1400000000,\"\\\"text\\\"\"]\n\n\n");
    body_expect_counts(&r, 5, "");
    taba_buffer *index = taba_buffer_new(NULL), *state = taba_buffer_new(NULL);
    taba_entry entry;
    taba_gauge_entry gauge;
    size_t offset = 0;
    CHECK_OK(taba_batch_index(test_blob_of(r.batch), index));
    memcpy(&entry, taba_buffer_bytes(index), sizeof entry);
    const taba_blob partial = test_blob(taba_buffer_bytes(r.batch) + entry.partial, entry.partial_length);
    CHECK_OK(taba_fold(TABA_GAUGE, test_blob(NULL, 0), &partial, 1, state));
    CHECK_OK(taba_gauge_next(test_blob_of(state), &offset, &gauge));
    CHECK(test_same(gauge.value, test_blob("\"caf\xc3\xa9 ?\"", 9)));
    CHECK(gauge.time == 1400000000 && gauge.stamp == BODY_STAMP);
    taba_buffer_free(state);
    taba_buffer_free(index);
    taba_buffer_free(r.batch);
}

/* The quick way knows Types by the start of their lines, however short. */
static void types_with_short_and_long_names(void) {
    char name[513], body[3000];
    for (size_t length = 1; length <= 512; length += length < 20 ? 1 : 41) {
        memset(name, 'T', sizeof name);
        name[length] = 0;
        const taba_limits limits = body_limits();
        taba_scratch *s = taba_scratch_new(&limits, NULL);
        taba_scratch_summary sum;
        CHECK_OK(taba_scratch_add_type(s, name, length, TABA_COUNTER_GROUP));
        CHECK_OK(taba_scratch_add_type(s, "Tt", 2, TABA_COUNTER_GROUP));
        snprintf(body, sizeof body, HEAD "tab\n[\"%s\", 1, \"1\"]\n[\"%s\", 2, \"2\"]\n[\"%s\",3,\"3\"]\n[\"Tt\", 4, \"4\"]\n", name, name, name);
        CHECK_OK(body_parse(s, test_blob(body, strlen(body)), body_whole, NULL, NULL));
        taba_scratch_summary_of(s, &sum);
        CHECK(sum.accepted == 3 && sum.refused[TABA_REFUSED_MIXED] == 1 && s->values[2] == 3);
        taba_scratch_free(s);
    }
}

/* A canonical line is read the quick way; the same event written otherwise is not. Both must mean the same. */
static void the_quick_way_means_the_same(void) {
    const size_t size = 200000;
    char *quick = malloc(size), *slow = malloc(size);
    for (int round = 0; round < 60; round++) {
        char *q = quick + sprintf(quick, HEAD "tab\n"), *w = slow + sprintf(slow, HEAD "tab\n");
        for (int i = 0; i < 200; i++) {
            static const char *const values[] = {"true", "false", "1e400", "-1e400", "0", "-0", "-1e-400", "x", "1.", ""};
            const double scale = pow(10, (double)test_below(14) - 3);
            char time[40], value[40];
            snprintf(time, sizeof time, "%.*f", (int)test_below(18), scale * test_uniform());
            snprintf(value, sizeof value, "%.*f", (int)test_below(9), 2 * scale * (test_uniform() - 0.5));
            if (test_below(8) == 0)
                strcpy(value, values[test_below(sizeof values / sizeof *values)]);
            q += sprintf(q, test_below(2) == 0 ? "[\"CounterGroup\", %s, \"%s\"]\n" : "[\"CounterGroup\",%s,\"%s\"]\n", time, value);
            static const char *const forms[] = {" [\"CounterGroup\", %s, \"%s\"]\n", "[\"CounterGroup\" , %s, \"%s\"]\n", "[\"CounterGroup\", %s , \"%s\"]\n",
                                                "[\"Counter\\u0047roup\", %s, \"%s\"]\n", "[\"CounterGroup\", %s,  \"%s\"]\n", "[\"CounterGroup\",\t%s, \"%s\"]\r\n"};
            w += sprintf(w, forms[test_below(sizeof forms / sizeof *forms)], time, value);
        }
        body_result x = body_of(quick), y = body_of(slow);
        CHECK(x.summary.accepted > 50 && body_refused(&x.summary) > 0);
        body_check_same(&x, &y);
    }
    free(quick);
    free(slow);
}

int main(void) {
    test_seed(5);
    RUN(lines_that_are_no_events);
    RUN(types_times_and_values);
    RUN(raw_payloads_of_a_shape);
    RUN(times_and_values_that_are_taken);
    RUN(a_block_keeps_its_first_valid_type);
    RUN(names_that_cannot_be);
    RUN(nesting);
    RUN(sizes_of_payloads);
    RUN(lines_that_are_too_long);
    RUN(numbers_that_are_too_long);
    RUN(payloads_become_utf8);
    RUN(the_whole_body_is_of_one_encoding);
    RUN(the_java_client);
    RUN(types_with_short_and_long_names);
    RUN(the_quick_way_means_the_same);
    return 0;
}
