/* test_parser.c - protocol 1: what bodies mean, however they are cut, and what is wrong with others. */
#include "bodies.h"
#include "scratch.h"

#define HEAD "1\n\nclient\n\n"

/* Everything a body can have, good and bad; the parts are joined by make_body. */
static const char *const MIXTURE =
    "1\n\n"
    "example_client\n\n"
    "example_moving_counter\n"
    "[\"CounterGroup\", 1400000000.12, \"100\"]\n"
    "[\"CounterGroup\", 1400000000.25, \"1000\"]\n"
    "[\"CounterGroup\",1400000001,\"0.5\"]\n"
    "  [ \"CounterGroup\" ,\t1.4e9 , \" [ 7 , {\\\"a\\\": null}] \" ]\r\n"
    "[\"Counter\\u0047roup\", 1400000002.5, \"\\u0031\\u0032\"]\n"
    "[\"CounterGroup\", 1400000002.5, \"true\"]\n"
    "[\"CounterGroup\", 1400000002.5, \"false\"]\n"
    "[\"CounterGroup\", 1763731646.1234567, \"1\"]\n"
    "[\"CounterGroup\", 1400000002.5, \"12345678901234567890123\"]\n"
    "[\"Gauge\", 1400000002.5, \"1\"]\n"
    "not json\n"
    "[\"CounterGroup\", -1, \"1\"]\n"
    "[\"CounterGroup\", 1400000002.5, \"1e400\"]\n"
    "[\"CounterGroup\", 1400000002.5, \"\\\"x\\\"\"]\n"
    "\n"
    "example_gauge\n"
    "[\"Gauge\", 1400000000.13, \"\\\"value\\\"\"]\n"
    "[\"Gauge\", 1400000000.14, \"  {\\\"a\\\": [1, 2, {\\\"b\\\": \\\"\\\\u00e9\\\"}]} \\n\"]\n"
    "\n"
    "empty_tab\n"
    "\n"
    "percentile\n"
    "[\"Unknown\", 1400000000.13, \"1\"]\n"
    "[\"PercentileGroup\", 1399999999, \"-1.5\"]\n"
    "[\"PercentileGroup\", 1399999999, \"[[[[[[[[[1]]]]]]]]]\"]\n"
    "\n"
    "bad name\n"
    "[\"CounterGroup\", 1400000000.12, \"100\"]\n"
    "anything\n"
    "\n"
    "\n"
    "second:client/1\n\n"
    "example_moving_counter\n"
    "[\"CounterGroup\", 1400000000.12, \"3\"]\n"
    "\n"
    "raw\n"
    "[\"Raw\", 1400000000, \"null\"]\n"
    "[\"Raw\", 1400000000, \"\\\"%s\\\"\"]\n"
    "[\"Raw\", 1400000000, \"\\\"\\ud83d\\ude00 \\ud83d \\ude00 \\\\ud83d\\\"\"]\n"
    "[\"Raw\", 1400000000, \"nul\"]\n"
    "\n"
    "\n"
    "client with blanks\n\n"
    "tab\n"
    "[\"CounterGroup\", 1400000000.12, \"3\"]\n"
    "\n"
    "\n"
    "empty_client\n\n"
    "\n"
    "last\n\n"
    "tab\n"
    "[\"CounterGroup\", 1400000000, \"5\"]";

static char *make_body(const char *payload) {
    const size_t size = strlen(MIXTURE) + strlen(payload) + 1;
    char *body = malloc(size);
    CHECK(body != NULL);
    snprintf(body, size, MIXTURE, payload);
    return body;
}

static void a_body_with_everything(void) {
    char *body = make_body("\xc3\xa9");
    body_result r = body_of(body);
    /* Of each reason one, but three values (1e400, "x", nul) and three names. */
    body_expect_counts(&r, 16, "01234555666" "7");
    CHECK(r.summary.samples == TABA_SAMPLES);
    CHECK(r.summary.sample[0].line == 13 && r.summary.sample[0].reason == TABA_REFUSED_FUTURE);
    CHECK(r.summary.sample[1].line == 15 && r.summary.sample[1].reason == TABA_REFUSED_MIXED);
    CHECK(r.summary.sample[2].line == 16 && r.summary.sample[2].reason == TABA_REFUSED_JSON);
    CHECK(r.summary.problem == NULL && r.next_stamp == BODY_STAMP + 5);
    taba_buffer_free(r.batch);
    free(body);
}

/* Feeds the body whole, byte by byte, in two pieces cut everywhere, and at random. */
static void check_cuts(taba_blob body, int random) {
    for (size_t cut = 0; cut <= body.length; cut++) {
        size_t first = cut;
        body_result whole = body_outcome(body, body_whole, NULL), parts = body_outcome(body, body_two, &first);
        body_check_same(&whole, &parts);
    }
    for (int i = 0; i < random; i++) {
        body_result whole = body_outcome(body, body_whole, NULL);
        body_result parts = body_outcome(body, i == 0 ? body_bytes : body_random, NULL);
        body_check_same(&whole, &parts);
    }
}

static void the_same_however_it_is_cut(void) {
    static const char *const payloads[] = {"ascii", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xe9\xff latin", "\xe2\x82"};
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        char *body = make_body(payloads[i]);
        check_cuts(test_blob(body, strlen(body)), 60);
        free(body);
    }
}

/* Every beginning of a body is a body or has an error of structure, the same however it is cut. */
static void every_beginning_of_a_body(void) {
    char *body = make_body("\xc3\xa9");
    for (size_t length = 0; length <= strlen(body); length++) {
        const taba_blob part = test_blob(body, length);
        body_result whole = body_outcome(part, body_whole, NULL), bytes = body_outcome(part, body_bytes, NULL);
        CHECK(whole.status == TABA_OK || whole.status == TABA_ESYNTAX);
        CHECK((whole.summary.problem != NULL) == (whole.status == TABA_ESYNTAX));
        body_check_same(&whole, &bytes);
    }
    free(body);
}

/* ------------------------------------------------------------------------------------------- structure */

static void expect_problem(const char *body, uint64_t line, const char *part_of_problem) {
    body_result whole = body_of(body), bytes = body_outcome(test_blob(body, strlen(body)), body_bytes, NULL);
    CHECK_STATUS(whole.status, TABA_ESYNTAX);
    CHECK(whole.summary.line == line);
    CHECK(strstr(whole.summary.problem, part_of_problem) != NULL);
    body_check_same(&whole, &bytes);
}

static void what_is_wrong_with_the_structure(void) {
    expect_problem("", 1, "line 1");
    expect_problem("\n", 1, "line 1");
    expect_problem("1", 2, "line 2 must be blank");
    expect_problem("1\n", 2, "line 2 must be blank");
    expect_problem("2\n\n", 1, "version");
    expect_problem("11\n\n", 1, "version");
    expect_problem(" 1\n\n", 1, "version");
    expect_problem("{\"a\": 1}", 1, "version");
    expect_problem("\xef\xbb\xbf" "1\n\n", 1, "version");
    expect_problem("1\r\n\r\nclient\r\n\r\n", 1, "not with CR LF");
    expect_problem("1\n\r\nclient", 2, "not with CR LF");
    expect_problem("1\nclient\n\n", 2, "line 2 must be blank");
    expect_problem("1\n \n", 2, "line 2 must be blank");
    expect_problem("1\n\nclient", 4, "after a client id");
    expect_problem("1\n\nclient\n", 4, "after a client id");
    expect_problem("1\n\nclient\ntab\n", 4, "after a client id");
    expect_problem("1\n\nclient\n\r\ntab\n", 4, "not with CR LF");
    expect_problem("1\n\nbad client\ntab\n", 4, "after a client id");
    expect_problem("1\n\na\n\n\nb\n\nt\n[\"CounterGroup\", 1, \"1\"]\n\n\nc\nd", 13, "after a client id");
}

static void a_line_that_never_ends(void) {
    const size_t length = 100000;
    char *body = malloc(length + 1);
    memset(body, '1', length);
    body[length] = 0;
    expect_problem(body, 1, "version");
    memcpy(body, "1\n", 2);
    expect_problem(body, 2, "line 2");
    memcpy(body, "1\n\n", 3);
    expect_problem(body, 4, "after a client id");
    free(body);
}

static void how_a_body_may_end(void) {
    body_expect_accepted("1\n\n", 0, 2);
    body_expect_accepted("1\n\n\n", 0, 3);
    body_expect_accepted("1\n\nclient\n\n", 0, 4);
    body_expect_accepted("1\n\nclient\n\n\n", 0, 5);
    body_expect_accepted("1\n\nclient\n\ntab", 0, 5);
    body_expect_accepted("1\n\nclient\n\ntab\n", 0, 5);
    body_expect_accepted("1\n\nclient\n\ntab\n\n", 0, 6);
    body_expect_accepted("1\n\nclient\n\ntab\n[\"CounterGroup\", 1, \"1\"]", 1, 6);
    body_expect_accepted("1\n\nclient\n\ntab\n[\"CounterGroup\", 1, \"1\"]\n", 1, 6);
    body_expect_accepted("1\n\nclient\n\ntab\n[\"CounterGroup\", 1, \"1\"]\n\n", 1, 7);
    body_expect_accepted("1\n\nclient\n\ntab\n[\"CounterGroup\", 1, \"1\"]\n\n\n", 1, 8);
    body_expect_accepted("1\n\nclient\n\ntab\n[\"CounterGroup\", 1, \"1\"]\n\n\n\n\n", 1, 10);
    body_expect_accepted("1\n\n\nclient\n\ntab\n[\"CounterGroup\", 1, \"1\"]\n\n\n\nb\n\n", 1, 12);
}

static void an_ended_parse_stays_ended(void) {
    const taba_limits limits = body_limits();
    taba_scratch *s = body_scratch(&limits, NULL);
    taba_parser *p = taba_parser_new(s, NULL);
    const uint8_t body[] = "2\n\n" HEAD;
    taba_scratch_summary sum;
    CHECK_STATUS(taba_parser_feed(p, body, sizeof body - 1), TABA_ESYNTAX);
    CHECK_STATUS(taba_parser_feed(p, body + 3, sizeof body - 4), TABA_ESYNTAX);
    CHECK_STATUS(taba_parser_finish(p), TABA_ESYNTAX);
    taba_scratch_summary_of(s, &sum);
    CHECK(sum.line == 1 && sum.problem != NULL);
    taba_parser_free(p);
    taba_scratch_free(s);
    s = body_scratch(&limits, NULL);
    p = taba_parser_new(s, NULL);
    CHECK_OK(taba_parser_feed(p, body + 3, sizeof body - 4));
    CHECK_OK(taba_parser_feed(p, NULL, 0));
    CHECK_OK(taba_parser_finish(p));
    CHECK_STATUS(taba_parser_finish(p), TABA_EDOMAIN);
    CHECK_STATUS(taba_parser_feed(p, body, 1), TABA_EDOMAIN);
    taba_parser_free(p);
    taba_parser_free(NULL);
    taba_scratch_free(s);
    taba_scratch_free(NULL);
}

/* Random bytes and random changes of a good body never do harm, and mean the same however they are cut. */
static void damaged_bodies(void) {
    for (int round = 0; round < 2000; round++) {
        char *body = make_body(round % 2 == 0 ? "\xc3\xa9" : "\xe9");
        const size_t length = strlen(body);
        for (size_t i = 1 + test_below(6); i > 0; i--) {
            static const char favourites[] = "\n\r\"\\[]{},:0e.-u \xe9";
            const size_t at = test_below(length);
            body[at] = test_below(3) == 0 ? (char)test_random() : favourites[test_below(sizeof favourites - 1)];
        }
        body_result whole = body_outcome(test_blob(body, length), body_whole, NULL);
        body_result parts = body_outcome(test_blob(body, length), body_random, NULL);
        body_check_same(&whole, &parts);
        free(body);
    }
}

/* ------------------------------------------------------------------------------------------- memory */

static void memory_has_a_limit(void) {
    const size_t lines = 20000;
    char *body = malloc(lines * 64 + 100), *end = body + sprintf(body, HEAD);
    for (size_t i = 0; i < lines; i++)
        end += sprintf(end, i % 50 == 0 ? "\ntab_%zu\n[\"CounterGroup\", 1, \"1\"]\n" : "[\"CounterGroup\", %zu, \"1\"]\n", i);
    memmove(body + sizeof HEAD - 1, body + sizeof HEAD, strlen(body + sizeof HEAD) + 1);
    const taba_blob blob = test_blob(body, strlen(body));
    taba_limits limits = body_limits();
    bool whole = false;
    for (limits.max_memory = 2000; !whole; limits.max_memory += limits.max_memory / 3) { /* less does not hold the Types */
        body_result r = body_outcome_within(&limits, blob, body_whole, NULL);
        body_result parts = body_outcome_within(&limits, blob, body_random, NULL);
        CHECK(r.status == TABA_OK || r.status == TABA_ELIMIT);
        CHECK(r.summary.memory <= limits.max_memory);
        whole = r.status == TABA_OK;
        /* What there is is used: all but a tenth at least. */
        CHECK(whole || r.summary.memory >= limits.max_memory - limits.max_memory / 10 || limits.max_memory < 10000);
        body_check_same(&r, &parts);
    }
    free(body);
}

/* Whichever allocation fails, the parse says so, and everything can still be freed. */
static void every_allocation_may_fail(void) {
    char *body = make_body("\xe9");
    const taba_limits limits = body_limits();
    bool failed = true;
    for (size_t k = 1; failed; k++) {
        test_memory m;
        size_t first = strlen(body) / 2;
        test_memory_init(&m);
        m.fail_at = k;
        taba_scratch *s = body_scratch(&limits, &m.allocator);
        const int status = s == NULL ? TABA_ENOMEM : body_parse(s, test_blob(body, strlen(body)), body_two, &first, &m.allocator);
        failed = m.calls >= k;
        CHECK(status == (failed ? TABA_ENOMEM : TABA_OK));
        taba_scratch_free(s);
        CHECK(m.live == 0);
    }
    free(body);
}

int main(void) {
    test_seed(2);
    RUN(a_body_with_everything);
    RUN(the_same_however_it_is_cut);
    RUN(every_beginning_of_a_body);
    RUN(what_is_wrong_with_the_structure);
    RUN(a_line_that_never_ends);
    RUN(how_a_body_may_end);
    RUN(an_ended_parse_stays_ended);
    RUN(memory_has_a_limit);
    RUN(damaged_bodies);
    RUN(every_allocation_may_fail);
    return 0;
}
