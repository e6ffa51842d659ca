/* test_again.c - a scratch that is used again tells of the second request what a new one does. */
#include "bodies.h"
#include "scratch.h"

#define HEAD "1\n\nclient\n\n"

static void parse(taba_scratch *s, const char *body) {
    CHECK_OK(body_parse(s, test_blob(body, strlen(body)), body_whole, NULL, NULL));
}

/* Whether both hold the same events. */
static void expect_same(const taba_scratch *x, const taba_scratch *y) {
    taba_scratch_summary of_x, of_y;
    taba_scratch_summary_of(x, &of_x);
    taba_scratch_summary_of(y, &of_y);
    CHECK(of_x.accepted == of_y.accepted && of_x.samples == of_y.samples && of_x.line == of_y.line);
    CHECK(memcmp(of_x.refused, of_y.refused, sizeof of_x.refused) == 0 && of_x.problem == NULL && of_y.problem == NULL);
    CHECK(x->block_count == y->block_count && x->numbers == y->numbers && x->names_used == y->names_used);
    CHECK(memcmp(x->names, y->names, x->names_used) == 0);
    CHECK(x->numbers == 0 || memcmp(x->times, y->times, x->numbers * sizeof(double)) == 0);
    CHECK(x->numbers == 0 || memcmp(x->values, y->values, x->numbers * sizeof(double)) == 0);
    CHECK(x->payloads_used == y->payloads_used);
    CHECK(x->payloads_used == 0 || memcmp(x->payloads, y->payloads, x->payloads_used) == 0);
}

static void a_cleared_scratch_is_like_a_new_one(void) {
    static const char *const first =
        HEAD "one\n[\"CounterGroup\", 1, \"1\"]\n[\"CounterGroup\", 2, \"x\"]\n\ntwo\n[\"Gauge\", 3, \"\\u00e9\\\"\"]\n"
             "[\"Gauge\", 3, \"\\\"caf\xe9\\\"\"]\n[\"Nothing\", 3, \"4\"]\n\n\n";
    static const char *const second =
        HEAD "tab\n[\"CounterGroup\", 1400000100, \"1\"]\n[\"CounterGroup\", 1, \"-5\"]\n\ng\n[\"Gauge\", 1, \"[1]\"]\n\n\n";
    taba_limits limits = body_limits();
    taba_scratch *used = body_scratch(&limits, NULL);
    for (int i = 0; i < 3; i++) {
        limits.newest = BODY_NOW + (i == 1 ? 200 : 60);
        taba_scratch *fresh = body_scratch(&limits, NULL);
        taba_scratch_clear(used, limits.newest);
        parse(fresh, i == 0 ? first : second);
        parse(used, i == 0 ? first : second);
        expect_same(used, fresh);
        taba_scratch_free(fresh);
    }
    taba_scratch_free(used);
}

static void a_body_that_was_cut_short_leaves_nothing(void) {
    const taba_limits limits = body_limits();
    taba_scratch *used = body_scratch(&limits, NULL), *fresh = body_scratch(&limits, NULL);
    taba_parser *p = taba_parser_new(used, NULL);
    const char *cut = HEAD "tab\n[\"CounterGroup\", 1, \"1\"]\n[\"Co";
    CHECK_OK(taba_parser_feed(p, (const uint8_t *)cut, strlen(cut)));
    taba_parser_free(p);
    taba_scratch_clear(used, limits.newest);
    parse(fresh, HEAD "tab\n[\"Gauge\", 1, \"1\"]\n\n\n");
    parse(used, HEAD "tab\n[\"Gauge\", 1, \"1\"]\n\n\n");
    expect_same(used, fresh);
    taba_scratch_free(fresh);
    taba_scratch_free(used);
}

/* Hashes of text that may be Latin-1 wait for the end of their body; those of a body without one are nobody else's. */
static void distinct_values_of_a_body_that_was_cut_short_change_no_other(void) {
    static const char *const cut = HEAD "tab\n[\"UniqueGroup\", 1, \"\\\"gr\xc3\xbcn\\\"\"]\n[\"Un";
    static const char *const latin1 = HEAD "tab\n[\"CounterGroup\", 1, \"1\"]\n\ncaf\xe9\n\n";
    const taba_limits limits = body_limits();
    taba_scratch *used = body_scratch(&limits, NULL), *fresh = body_scratch(&limits, NULL);
    taba_parser *p = taba_parser_new(used, NULL);
    CHECK_OK(taba_parser_feed(p, (const uint8_t *)cut, strlen(cut)));
    taba_parser_free(p);
    CHECK(used->numbers == 1 && used->other_hash_count == 1);
    taba_scratch_clear(used, limits.newest);
    parse(fresh, latin1);
    parse(used, latin1);
    expect_same(used, fresh);
    taba_scratch_free(fresh);
    taba_scratch_free(used);
}

int main(void) {
    RUN(a_cleared_scratch_is_like_a_new_one);
    RUN(a_body_that_was_cut_short_leaves_nothing);
    RUN(distinct_values_of_a_body_that_was_cut_short_change_no_other);
    return 0;
}
