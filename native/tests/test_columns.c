/* test_columns.c - frames of columns: what they come to, however they are cut; what is refused, alone or whole. */
#include "frames.h"

#include <math.h>

#define EXAMPLE \
    "{\"client\":\"c\",\"instance\":\"0123456789abcdef0123456789abcdef\",\"batch\":7,\"tabs\":[[\"a\",\"CounterGroup\",3]," \
    "[\"none\",\"CounterGroup\",0],[\"b\",\"PercentileGroup\",2]],\"structured\":[[\"g\",\"Gauge\",[[5,\"v\"],[6.5,{\"x\":1}]]]," \
    "[\"r\",\"Raw\",[[1,null]]],[\"n\",\"CounterGroup\",[[2,[4,\"x\"]]]]],\"unsent\":{\"full\":{\"a\":3}},\"later\":[{}]}"

static const double EXAMPLE_PAYLOAD[] = {1, 2, 3, 10, 20, 30, 4, 4.5, 0.25, -1};

static frame example(void) { return frame_of(EXAMPLE, EXAMPLE_PAYLOAD, 10); }

/* ------------------------------------------------------------------------------------------- right frames */

static void a_frame_comes_to_what_the_same_events_in_protocol_1_come_to(void) {
    frame f = example();
    body_result columns = frame_outcome(frame_blob(&f), body_whole, NULL);
    body_result text = body_of("1\n\nc\n\ng\n[\"Gauge\", 5, \"\\\"v\\\"\"]\n[\"Gauge\", 6.5, \"{\\\"x\\\":1}\"]\n\nr\n[\"Raw\", 1, \"null\"]\n\n"
                               "n\n[\"CounterGroup\", 2, \"[4, null]\"]\n\n"
                               "a\n[\"CounterGroup\", 1, \"10\"]\n[\"CounterGroup\", 2, \"20\"]\n[\"CounterGroup\", 3, \"30\"]\n\n"
                               "b\n[\"PercentileGroup\", 4, \"0.25\"]\n[\"PercentileGroup\", 4.5, \"-1\"]\n");
    CHECK(columns.summary.accepted == 9 && columns.summary.line == f.length);
    columns.summary.line = text.summary.line;
    body_check_alike(&columns, &text);
    free(f.bytes);
}

static void the_header_tells_facts(void) {
    const taba_limits limits = body_limits();
    taba_scratch *s = body_scratch(&limits, NULL);
    taba_columns *p = taba_columns_new(s, FRAME_HEADER, FRAME_ROWS, NULL);
    taba_columns_facts facts;
    frame f = example();
    CHECK_STATUS(taba_columns_facts_of(p, &facts), TABA_EDOMAIN);
    CHECK_OK(taba_columns_feed(p, f.bytes, strlen(EXAMPLE) + 3));
    CHECK_STATUS(taba_columns_facts_of(p, &facts), TABA_EDOMAIN);
    CHECK_OK(taba_columns_feed(p, f.bytes + strlen(EXAMPLE) + 3, 1));
    CHECK_OK(taba_columns_facts_of(p, &facts));
    CHECK(test_same(facts.client, test_blob("c", 1)) && facts.batch == 7);
    CHECK(test_same(facts.instance, test_blob("0123456789abcdef0123456789abcdef", 32)));
    CHECK(test_same(facts.unsent, test_blob("{\"full\":{\"a\":3}}", 16)));
    taba_columns_free(p);
    taba_scratch_free(s);
    free(f.bytes);
}

static void members_that_may_be_missing(void) {
    static const char *const headers[] = {"{\"client\":\"c\"}", " {\t\"tabs\" : [ ] ,\r\n\"client\" : \"c\" } ",
                                          "{\"structured\":[],\"client\":\"\\u0063\",\"x\":{\"client\":1},\"y\":1e999}",
                                          "{\"cli\\u0065nt\":\"c\",\"batch\":0,\"tabs\":[[\"a\",\"?\",0]]}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        frame f = frame_begin(headers[i]);
        body_result r = frame_outcome(frame_blob(&f), body_whole, NULL);
        body_expect_counts(&r, 0, "");
        taba_buffer_free(r.batch);
        free(f.bytes);
    }
}

/* ------------------------------------------------------------------------------------------- cuts */

static void the_same_however_it_is_cut(void) {
    frame f = example();
    const taba_blob blob = frame_blob(&f);
    for (size_t i = 0; i <= f.length; i++) {
        size_t first = i;
        body_result whole = frame_outcome(blob, body_whole, NULL), parts = frame_outcome(blob, body_two, &first);
        body_check_alike(&whole, &parts);
    }
    for (int i = 0; i < 200; i++) {
        body_result whole = frame_outcome(blob, body_whole, NULL);
        body_result parts = frame_outcome(blob, i == 0 ? body_bytes : body_random, NULL);
        body_check_alike(&whole, &parts);
    }
    free(f.bytes);
}

static void every_beginning_of_a_frame_is_refused(void) {
    frame f = example();
    for (size_t length = 0; length < f.length; length++) {
        body_result r = frame_outcome(test_blob(f.bytes, length), body_random, NULL);
        CHECK_STATUS(r.status, TABA_ESYNTAX);
        CHECK(r.summary.line == length && r.summary.problem != NULL);
        taba_buffer_free(r.batch);
    }
    frame_append(&f, "x", 1);
    body_result r = frame_outcome(frame_blob(&f), body_whole, NULL);
    CHECK_STATUS(r.status, TABA_ESYNTAX);
    CHECK(r.summary.line == f.length - 1);
    taba_buffer_free(r.batch);
    free(f.bytes);
}

/* ------------------------------------------------------------------------------------------- refused alone */

static void expect_sample(const taba_scratch_summary *sum, size_t i, uint64_t event, int reason, const char *tab) {
    CHECK(i < sum->samples && sum->sample[i].line == event && sum->sample[i].reason == reason);
    CHECK(test_same(sum->sample[i].tab, test_blob(tab, strlen(tab))));
}

/* Parse a frame into a scratch, which is to be freed. */
static taba_scratch *scratch_of(const frame *f, const taba_limits *limits, taba_scratch_summary *sum) {
    taba_scratch *s = body_scratch(limits, NULL);
    taba_columns *p = taba_columns_new(s, FRAME_HEADER, FRAME_ROWS, NULL);
    CHECK_OK(frame_parse(p, frame_blob(f), body_random, NULL));
    taba_scratch_summary_of(s, sum);
    taba_columns_free(p);
    return s;
}

static void numbers_that_cannot_be_taken(void) {
    const taba_limits limits = body_limits();
    const double payload[] = {-1,   1, NAN, BODY_NOW + 61, 253402300800.0, INFINITY, -0.0, BODY_NOW + 60, 3, 4, -INFINITY,
                              1000, 2, 3,   4,             5,              6,        -0.0, 8,             NAN, INFINITY, 11};
    frame f = frame_of("{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",11]]}", payload, 22);
    taba_scratch_summary sum;
    taba_scratch *s = scratch_of(&f, &limits, &sum);
    CHECK(sum.accepted == 3 && sum.refused[TABA_REFUSED_TIME] == 5 && sum.refused[TABA_REFUSED_FUTURE] == 1);
    CHECK(sum.refused[TABA_REFUSED_VALUE] == 2);
    static const int reasons[] = {TABA_REFUSED_TIME, -1, TABA_REFUSED_TIME, TABA_REFUSED_FUTURE, TABA_REFUSED_TIME, TABA_REFUSED_TIME,
                                  -1, -1, TABA_REFUSED_VALUE, TABA_REFUSED_VALUE, TABA_REFUSED_TIME};
    size_t n = 0;
    for (size_t i = 0; i < 11; i++)
        if (reasons[i] >= 0)
            expect_sample(&sum, n++, i, reasons[i], "a");
    CHECK(n == sum.samples);
    taba_scratch_free(s);
    free(f.bytes);
    body_result r = body_of("1\n\nc\n\na\n[\"CounterGroup\", 1, \"2\"]\n[\"CounterGroup\", 0, \"0\"]\n[\"CounterGroup\", 1400000060, \"8\"]\n");
    f = frame_of("{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",11]]}", payload, 22);
    body_result again = frame_outcome(frame_blob(&f), body_bytes, NULL);
    CHECK(test_same(test_blob_of(r.batch), test_blob_of(again.batch)));
    taba_buffer_free(r.batch);
    taba_buffer_free(again.batch);
    free(f.bytes);
}

static void rows_of_which_nothing_can_be_taken(void) {
    const taba_limits limits = body_limits();
    const double payload[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    taba_scratch_summary sum;
    frame f = frame_of("{\"client\":\"c\",\"tabs\":[[\"a b\",\"CounterGroup\",2],[\"\\u00e9\",\"?\",1],[\"t\",\"?\",1],[\"g\",\"Gauge\",1],"
                       "[\"r\",\"Number\",2],[\"\",\"CounterGroup\",1]]}", payload, 16);
    taba_scratch *s = scratch_of(&f, &limits, &sum);
    CHECK(sum.accepted == 0 && sum.refused[TABA_REFUSED_NAME] == 4 && sum.refused[TABA_REFUSED_TYPE] == 4);
    expect_sample(&sum, 0, 0, TABA_REFUSED_NAME, "a b");
    expect_sample(&sum, 1, 1, TABA_REFUSED_NAME, "a b");
    expect_sample(&sum, 2, 0, TABA_REFUSED_NAME, "\xc3\xa9");
    expect_sample(&sum, 3, 0, TABA_REFUSED_TYPE, "t");
    expect_sample(&sum, 4, 0, TABA_REFUSED_TYPE, "g");
    expect_sample(&sum, 6, 1, TABA_REFUSED_TYPE, "r");
    expect_sample(&sum, 7, 0, TABA_REFUSED_NAME, "");
    taba_scratch_free(s);
    free(f.bytes);
    f = frame_of("{\"tabs\":[[\"a\",\"CounterGroup\",2]],\"structured\":[[\"b\",\"Gauge\",[[1,1],[]]]],\"client\":\"c d\"}", payload, 4);
    s = scratch_of(&f, &limits, &sum);
    CHECK(sum.accepted == 0 && sum.refused[TABA_REFUSED_NAME] == 4);
    expect_sample(&sum, 0, 0, TABA_REFUSED_NAME, "b");
    expect_sample(&sum, 2, 0, TABA_REFUSED_NAME, "a");
    taba_scratch_free(s);
    free(f.bytes);
}

/* One structured event is taken (reason -1) or refused. */
static void expect_structured(int reason, const char *type, const char *event) {
    char header[300];
    const taba_limits limits = body_limits();
    taba_scratch_summary sum;
    snprintf(header, sizeof header, "{\"client\":\"c\",\"structured\":[[\"t\",\"%s\",[[1,1],%s,[1,1]]]]}", type, event);
    frame f = frame_begin(header);
    taba_scratch *s = scratch_of(&f, &limits, &sum);
    CHECK(sum.accepted == (reason < 0 ? 3 : reason == TABA_REFUSED_TYPE ? 0 : 2) && (reason < 0) == (sum.samples == 0));
    if (reason >= 0 && reason != TABA_REFUSED_TYPE)
        expect_sample(&sum, 0, 1, reason, "t");
    taba_scratch_free(s);
    free(f.bytes);
}

static void structured_events(void) {
    static const char *const no_events[] = {"1", "[]", "[1]", "[1,2,3]", "{}", "null", "\"x\"", "[\"1\",1]", "[null,1]", "[[1],1]"};
    for (size_t i = 0; i < sizeof no_events / sizeof *no_events; i++)
        expect_structured(TABA_REFUSED_JSON, "Gauge", no_events[i]);
    expect_structured(TABA_REFUSED_TYPE, "?", "[1,1]");
    expect_structured(TABA_REFUSED_TIME, "Gauge", "[-1,1]");
    expect_structured(TABA_REFUSED_TIME, "Gauge", "[1e999,1]");
    expect_structured(TABA_REFUSED_FUTURE, "Gauge", "[1400000061,1]");
    expect_structured(TABA_REFUSED_VALUE, "Gauge", "[1,[1e999]]");
    expect_structured(TABA_REFUSED_SIZE, "Gauge", "[1,[[[[[[[[[]]]]]]]]]]");
    expect_structured(-1, "Gauge", "[1,[[[[[[[[]]]]]]]]]");
    expect_structured(-1, "Gauge", " [ 1 , [ \"a,]\" ] ] ");
    expect_structured(TABA_REFUSED_VALUE, "CounterGroup", "[1,\"1\"]");
    expect_structured(TABA_REFUSED_VALUE, "CounterGroup", "[1,1e999]");
    expect_structured(-1, "CounterGroup", "[ 1 , true ]");
    expect_structured(TABA_REFUSED_VALUE, "Number", "[1,null]");
    expect_structured(-1, "Number", "[1,[2,null]]");
}

static void shapes_hold_in_columns_too(void) {
    const taba_limits limits = body_limits();
    taba_scratch_summary sum;
    frame f = frame_begin("{\"client\":\"c\",\"structured\":[[\"e\",\"Expiring\",[[1,[1,2]],[1,1],[1,[1,true]]]]]}");
    taba_scratch *s = scratch_of(&f, &limits, &sum);
    CHECK(sum.accepted == 1 && sum.refused[TABA_REFUSED_VALUE] == 2);
    taba_scratch_free(s);
    free(f.bytes);
    taba_limits small = body_limits();
    small.max_payload = 5;
    f = frame_begin("{\"client\":\"c\",\"structured\":[[\"g\",\"Gauge\",[[1, \"123\" ],[1,\"1234\"]]]]}");
    s = scratch_of(&f, &small, &sum);
    CHECK(sum.accepted == 1 && sum.refused[TABA_REFUSED_SIZE] == 1);
    taba_scratch_free(s);
    free(f.bytes);
}

/* ------------------------------------------------------------------------------------------- refused whole */

static void headers_that_are_none(void) {
    static const char *const headers[] = {
        "", " ", "[]", "1", "{", "{}", "{\"client\":\"\"}", "{\"client\":1}", "{\"client\":\"c\",}", "{\"client\":\"c\"}x", "{\"client\":\"c\" \"tabs\":[]}",
        "{\"client\":\"c\",\"client\":\"c\"}", "{\"client\":\"c\",\"tabs\":[],\"t\\u0061bs\":[]}", "{client:\"c\"}", "{\"client\" \"c\"}",
        "{\"client\":\"c\",\"tabs\":{}}", "{\"client\":\"c\",\"tabs\":[1]}", "{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\"]]}",
        "{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",1,2]]}", "{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",0],]}",
        "{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",0]", "{\"client\":\"c\",\"tabs\":[[1,\"CounterGroup\",0]]}",
        "{\"client\":\"c\",\"tabs\":[[\"a\",null,0]]}", "{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",-1]]}",
        "{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",1.0]]}", "{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",1e1]]}",
        "{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",01]]}", "{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",9007199254740992]]}",
        "{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",99999999999999999999]]}", "{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",\"0\"]]}",
        "{\"client\":\"c\",\"structured\":{}}", "{\"client\":\"c\",\"structured\":[1]}", "{\"client\":\"c\",\"structured\":[[\"a\",\"Gauge\",{}]]}",
        "{\"client\":\"c\",\"structured\":[[\"a\",\"Gauge\"]]}", "{\"client\":\"c\",\"structured\":[[\"a\",\"Gauge\",[],1]]}",
        "{\"client\":\"c\",\"structured\":[[\"a\",\"Gauge\",[[1,NaN]]]]}", "{\"client\":\"c\",\"unsent\":[]}", "{\"client\":\"c\",\"unsent\":{\"a\"}}",
        "{\"client\":\"c\",\"batch\":1}", "{\"client\":\"c\",\"batch\":-1}", "{\"client\":\"c\",\"batch\":null}", "{\"client\":\"c\",\"batch\":1.5}",
        "{\"client\":\"c\",\"instance\":\"0123456789abcdef0123456789abcdef\"}",
        "{\"client\":\"c\",\"instance\":\"0123456789abcdef0123456789abcdef\",\"batch\":0}",
        "{\"client\":\"c\",\"instance\":\"0123456789ABCDEF0123456789abcdef\",\"batch\":1}", "{\"client\":\"c\",\"instance\":\"\",\"batch\":1}",
        "{\"client\":\"c\",\"instance\":\"0123456789abcdef0123456789abcde\",\"batch\":1}", "{\"client\":\"\xe9\"}", "{\"client\":\"c\",\"x\":tru}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        frame f = frame_begin(headers[i]);
        body_result r = frame_outcome(frame_blob(&f), body_whole, NULL), bytes = frame_outcome(frame_blob(&f), body_bytes, NULL);
        CHECK_STATUS(r.status, TABA_ESYNTAX);
        CHECK(r.summary.problem != NULL && r.summary.line >= 4 && r.summary.line <= f.length);
        body_check_alike(&r, &bytes);
        free(f.bytes);
    }
    frame f = frame_begin("{\"client\":\"c\"} ");
    f.bytes[f.length - 1] = 0; /* a byte 0 is no white space */
    body_result r = frame_outcome(frame_blob(&f), body_whole, NULL);
    CHECK_STATUS(r.status, TABA_ESYNTAX);
    taba_buffer_free(r.batch);
    free(f.bytes);
}

static void an_ended_frame_stays_ended(void) {
    const taba_limits limits = body_limits();
    for (int way = 0; way < 2; way++) {
        taba_scratch *s = body_scratch(&limits, NULL);
        taba_columns *p = taba_columns_new(s, FRAME_HEADER, FRAME_ROWS, NULL);
        frame f = frame_begin(way == 0 ? "{\"client\":\"c\"}" : "{}");
        const int fed = taba_columns_feed(p, f.bytes, f.length), finished = taba_columns_finish(p);
        CHECK(fed == (way == 0 ? TABA_OK : TABA_ESYNTAX) && finished == fed);
        CHECK_STATUS(taba_columns_feed(p, f.bytes, 1), way == 0 ? TABA_EDOMAIN : TABA_ESYNTAX);
        CHECK_STATUS(taba_columns_finish(p), way == 0 ? TABA_EDOMAIN : TABA_ESYNTAX);
        taba_accumulator *c = taba_accumulator_new(NULL);
        uint64_t stamp;
        CHECK_STATUS(taba_accumulator_merge(c, s, 1, &stamp), way == 0 ? TABA_OK : TABA_EDOMAIN);
        taba_accumulator_free(c);
        taba_columns_free(p);
        taba_scratch_free(s);
        free(f.bytes);
    }
    taba_columns_free(NULL);
}

/* ------------------------------------------------------------------------------------------- memory */

static void limits_of_a_frame(void) {
    static const double nothing[64];
    taba_limits limits = body_limits();
    frame f = frame_of("{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",16],[\"b\",\"CounterGroup\",16]]}", nothing, 64);
    for (size_t rows = 0; rows < 4; rows++) {
        taba_scratch *s = body_scratch(&limits, NULL);
        taba_columns *p = taba_columns_new(s, f.length - 4 - 512, rows, NULL);
        CHECK_STATUS(frame_parse(p, frame_blob(&f), body_whole, NULL), rows < 2 ? TABA_ELIMIT : TABA_OK);
        taba_columns_free(p);
        taba_scratch_free(s);
        s = body_scratch(&limits, NULL);
        p = taba_columns_new(s, f.length - 4 - 512 - 1, rows, NULL);
        CHECK_STATUS(taba_columns_feed(p, f.bytes, 4), TABA_ELIMIT);
        taba_columns_free(p);
        taba_scratch_free(s);
    }
    bool whole = false;
    for (limits.max_memory = 1200; !whole; limits.max_memory += 50) {
        body_result r = frame_outcome_within(&limits, frame_blob(&f), body_random, NULL);
        whole = r.status == TABA_OK;
        CHECK(whole || (r.status == TABA_ELIMIT && r.summary.problem != NULL));
        CHECK(r.summary.memory <= limits.max_memory);
        taba_buffer_free(r.batch);
    }
    free(f.bytes);
    limits = body_limits();
    f = frame_begin("{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",9007199254740991],[\"a\",\"CounterGroup\",9007199254740991]]}");
    body_result r = frame_outcome(frame_blob(&f), body_whole, NULL);
    CHECK_STATUS(r.status, TABA_ELIMIT); /* before any of it has come */
    taba_buffer_free(r.batch);
    free(f.bytes);
}

static void what_is_declared_takes_no_memory(void) {
    taba_limits limits = body_limits();
    limits.max_memory = SIZE_MAX / 2;
    taba_scratch *s = body_scratch(&limits, NULL);
    taba_columns *p = taba_columns_new(s, FRAME_HEADER, FRAME_ROWS, NULL);
    taba_scratch_summary sum;
    frame f = frame_begin("{\"client\":\"c\",\"tabs\":[[\"a\",\"CounterGroup\",9007199254740991]]}");
    frame_number(&f, 1);
    CHECK_OK(taba_columns_feed(p, f.bytes, f.length));
    taba_scratch_summary_of(s, &sum);
    CHECK(sum.memory < 4000);
    taba_columns_free(p);
    taba_scratch_free(s);
    free(f.bytes);
}

static void every_allocation_may_fail(void) {
    frame f = example();
    const taba_limits limits = body_limits();
    bool failed = true;
    for (size_t k = 1; failed; k++) {
        test_memory m;
        test_memory_init(&m);
        m.fail_at = k;
        taba_scratch *s = body_scratch(&limits, &m.allocator);
        taba_columns *p = s != NULL ? taba_columns_new(s, FRAME_HEADER, FRAME_ROWS, &m.allocator) : NULL;
        const int status = frame_parse(p, frame_blob(&f), body_random, NULL);
        failed = m.calls >= k;
        CHECK(status == (failed ? TABA_ENOMEM : TABA_OK));
        CHECK(s == NULL || p == NULL || failed || m.live > 0);
        taba_columns_free(p);
        taba_scratch_free(s);
        CHECK(m.live == 0);
    }
    free(f.bytes);
}

int main(void) {
    test_seed(3);
    RUN(a_frame_comes_to_what_the_same_events_in_protocol_1_come_to);
    RUN(the_header_tells_facts);
    RUN(members_that_may_be_missing);
    RUN(the_same_however_it_is_cut);
    RUN(every_beginning_of_a_frame_is_refused);
    RUN(numbers_that_cannot_be_taken);
    RUN(rows_of_which_nothing_can_be_taken);
    RUN(structured_events);
    RUN(shapes_hold_in_columns_too);
    RUN(headers_that_are_none);
    RUN(an_ended_frame_stays_ended);
    RUN(limits_of_a_frame);
    RUN(what_is_declared_takes_no_memory);
    RUN(every_allocation_may_fail);
    return 0;
}
