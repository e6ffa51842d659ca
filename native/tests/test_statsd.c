/* test_statsd.c - StatsD: single lines, cuts, windows, a failing allocator, datagrams from a socket. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "statsd.h"
#include "test.h"

static const taba_statsd_clock CLOCK = {1000, 2000};

static taba_statsd *gatherer(const taba_allocator *a) {
    taba_statsd *p = taba_statsd_new("host", 4, 512, 1, a);
    if (p == NULL)
        return NULL;
    CHECK_OK(taba_statsd_map(p, TABA_STATSD_C, "CounterGroup", 12, TABA_COUNTER_GROUP));
    CHECK_OK(taba_statsd_map(p, TABA_STATSD_G, "Gauge", 5, TABA_GAUGE));
    CHECK_OK(taba_statsd_map(p, TABA_STATSD_MS, "PercentileGroup", 15, TABA_PERCENTILE_GROUP));
    CHECK_OK(taba_statsd_map(p, TABA_STATSD_H, "", 0, 0));
    CHECK_OK(taba_statsd_map(p, TABA_STATSD_S, "Text", 4, TABA_RAW));
    return p;
}

static taba_scratch *scratch(size_t max_memory, const taba_allocator *a) {
    const taba_limits limits = {512, 1 << 20, 64, max_memory, 2000};
    taba_scratch *s = taba_scratch_new(&limits, a);
    if (s == NULL)
        return NULL;
    if (taba_scratch_add_type(s, "CounterGroup", 12, TABA_COUNTER_GROUP) != TABA_OK ||
        taba_scratch_add_type(s, "Gauge", 5, TABA_GAUGE) != TABA_OK ||
        taba_scratch_add_type(s, "PercentileGroup", 15, TABA_PERCENTILE_GROUP) != TABA_OK ||
        taba_scratch_add_type(s, "Text", 4, TABA_RAW) != TABA_OK) {
        taba_scratch_free(s);
        return NULL;
    }
    return s;
}

/* At a place of its own, so that reading beyond is seen. */
static int datagram(taba_statsd *p, const char *text) {
    uint8_t *copy = test_alone(test_blob(text, strlen(text)));
    const int status = taba_statsd_datagram(p, &CLOCK, copy, strlen(text));
    free(copy);
    return status;
}

/* The names of the blocks of a window, with their counts, as text. */
static void given(taba_statsd *p, char *out) {
    taba_scratch *s = scratch(1 << 20, NULL);
    CHECK_OK(taba_statsd_give(p, s, SIZE_MAX));
    *out = 0;
    for (size_t i = 0; i < s->block_count; i++)
        out += sprintf(out, "%.*s=%zu ", (int)s->blocks[i].tab_length, (const char *)s->names + s->blocks[i].tab, s->blocks[i].count);
    taba_scratch_free(s);
}

static void lines_of_all_kinds(void) {
    static const char text[] = "a:1|c\nb:2.5|ms\na:3|c\r\nc:5|g\nc:+2|g\n\nd:x|s\nb:1:2:3|ms|@0.5|#k:v,a\na:1|c|T1500|c:in-1\n"
                               "_e{1,1}:a|b\n_sc|a|0\nz:1|h\nq:1|d\nbad\n:1|c\na:x|c\na:1|c|@0\na:1|c|T3000\na:1|c|!\nb:1|ms|@0.0001";
    char out[500];
    taba_statsd_summary sum;
    taba_statsd *p = gatherer(NULL);
    CHECK_OK(datagram(p, text));
    taba_statsd_take(p, &sum);
    CHECK(sum.lines == 19 && sum.accepted == 13 && sum.tabs == 5 && sum.waiting == 13);
    CHECK(sum.refused[TABA_STATSD_SYNTAX] == 2 && sum.refused[TABA_STATSD_TYPE] == 1 && sum.refused[TABA_STATSD_RATE] == 2);
    CHECK(sum.refused[TABA_STATSD_NAME] == 1 && sum.refused[TABA_STATSD_VALUE] == 1 && sum.refused[TABA_STATSD_FUTURE] == 1);
    CHECK(sum.ignored[TABA_STATSD_EVENT] == 1 && sum.ignored[TABA_STATSD_CHECK] == 1 && sum.ignored[TABA_STATSD_UNUSED] == 1);
    CHECK(test_same(sum.sample[TABA_STATSD_SYNTAX], test_blob("bad", 3)));
    given(p, out);
    CHECK(strcmp(out, "a=3 b=1 b;a;k=v=6 c=2 d=1 ") == 0);
    CHECK(taba_statsd_waiting(p) == 0);
    taba_statsd_free(p);
}

static void names_that_fall_together(void) {
    taba_statsd_summary sum;
    taba_statsd *p = gatherer(NULL);
    CHECK_OK(datagram(p, "a b:1|c\na_b:1|c\na b:1|c\nx:1|c|#b:1,a:2\nx:1|c|#a:2,b:1"));
    taba_statsd_take(p, &sum);
    CHECK(sum.collisions == 1 && sum.tabs == 2 && sum.accepted == 5);
    taba_statsd_free(p);
}

static void weights_add_up(void) {
    taba_statsd *p = gatherer(NULL);
    for (int i = 0; i < 30; i++)
        CHECK_OK(datagram(p, "a:1|ms|@0.3"));
    CHECK(taba_statsd_waiting(p) == 100 || taba_statsd_waiting(p) == 99);
    taba_statsd_free(p);
}

static void a_stream_in_pieces(void) {
    static const char text[] = "abc:12.5|ms\nx:1|c\r\nabc:1|c|#a:b\nlast:1|c";
    for (size_t step = 1; step < sizeof text; step++) {
        taba_statsd *p = gatherer(NULL);
        taba_statsd_stream *s = taba_statsd_stream_new(NULL);
        for (size_t at = 0; at < sizeof text - 1; at += step) {
            const size_t n = sizeof text - 1 - at < step ? sizeof text - 1 - at : step;
            uint8_t *copy = test_alone(test_blob(text + at, n));
            CHECK_OK(taba_statsd_stream_feed(s, p, &CLOCK, copy, n));
            free(copy);
        }
        CHECK(taba_statsd_waiting(p) == 3);
        CHECK_OK(taba_statsd_stream_end(s, p, &CLOCK, 1));
        CHECK(taba_statsd_waiting(p) == 4);
        taba_statsd_stream_free(s);
        taba_statsd_free(p);
    }
}

static void a_line_that_never_ends(void) {
    uint8_t block[1000];
    taba_statsd_summary sum;
    taba_statsd *p = gatherer(NULL);
    taba_statsd_stream *s = taba_statsd_stream_new(NULL);
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 200; i++)
        CHECK_OK(taba_statsd_stream_feed(s, p, &CLOCK, block, sizeof block));
    CHECK_OK(taba_statsd_stream_feed(s, p, &CLOCK, (const uint8_t *)"\na:1|c\n", 7));
    CHECK_OK(taba_statsd_stream_end(s, p, &CLOCK, 0));
    taba_statsd_take(p, &sum);
    CHECK(sum.lines == 2 && sum.accepted == 1 && sum.refused[TABA_STATSD_SIZE] == 1);
    taba_statsd_stream_free(s);
    taba_statsd_free(p);
}

static void numbers_as_written(void) {
    static const struct { double value; const char *text; } cases[] = {
        {0, "0"}, {-3, "-3"}, {12.5, "12.5"}, {0.1, "0.1"}, {1e-7, "1e-07"}, {9007199254740992.0, "9007199254740992"},
        {1e300, "1e+300"}, {0.1 + 0.2, "0.30000000000000004"}, {5e-324, "4.94065645841247e-324"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t text[TABA_STATSD_NUMBER_MAX];
        CHECK(test_same(test_blob(text, taba_statsd_write(cases[i].value, text)), test_blob(cases[i].text, strlen(cases[i].text))));
    }
}

/* What can be asked for and cannot be had. */
static void mistakes(void) {
    taba_statsd *p = gatherer(NULL);
    taba_scratch *s = NULL;
    for (size_t memory = 500; s == NULL; memory += 10) /* what just holds the Types */
        s = scratch(memory, NULL);
    CHECK(taba_statsd_new("a b", 3, 512, 1, NULL) == NULL);
    CHECK_STATUS(taba_statsd_map(p, 6, "Gauge", 5, TABA_GAUGE), TABA_EDOMAIN);
    CHECK_STATUS(taba_statsd_map(p, TABA_STATSD_S, "CounterGroup", 12, TABA_COUNTER_GROUP), TABA_EDOMAIN);
    CHECK_STATUS(taba_statsd_map(p, TABA_STATSD_C, "a b", 3, TABA_GAUGE), TABA_EDOMAIN);
    CHECK_OK(datagram(p, "a:1|c\nb:1|c\nc:1|c\n"));
    CHECK_STATUS(taba_statsd_map(p, TABA_STATSD_C, "Gauge", 5, TABA_GAUGE), TABA_EDOMAIN);
    CHECK_STATUS(taba_statsd_give(p, s, SIZE_MAX), TABA_ELIMIT);
    CHECK(taba_statsd_waiting(p) == 3);
    taba_scratch_free(s);
    CHECK(strcmp(taba_statsd_reason_name(99), "unknown") == 0);
    taba_statsd_free(p);
    taba_statsd_free(NULL);
    taba_statsd_stream_free(NULL);
}

static void datagrams_of_a_socket(void) {
    int pair[2];
    taba_statsd_received got;
    taba_statsd_summary sum;
    taba_statsd *p = gatherer(NULL);
    char *large = malloc(70000);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    for (int i = 0; i < 5; i++)
        CHECK(send(pair[0], "a:1|c\nb:2|ms", 12, 0) == 12);
    memset(large, 'x', 70000);
    CHECK(send(pair[0], large, 70000, 0) == 70000);
    CHECK_OK(taba_statsd_receive(p, &CLOCK, pair[1], 100, 0, &got));
    taba_statsd_take(p, &sum);
    CHECK(got.datagrams == 6 && got.error == 0 && sum.accepted == 10 && sum.refused[TABA_STATSD_SIZE] == 1);
    CHECK(send(pair[0], "a:1|c", 5, 0) == 5);
    CHECK_OK(taba_statsd_receive(p, &CLOCK, pair[1], 100, 1, &got));
    CHECK(got.datagrams == 1 && got.bytes == 5 && got.lines == 1 && taba_statsd_waiting(p) == 10);
    close(pair[0]);
    close(pair[1]);
    CHECK_OK(taba_statsd_receive(p, &CLOCK, pair[1], 100, 0, &got));
    CHECK(got.error == EBADF && got.datagrams == 0);
    free(large);
    taba_statsd_free(p);
}

/* Lines out of pieces of lines, whole and in pieces, come to the same, and do no harm. */
static void damaged_lines(void) {
    static const char *const pieces[] = {"a", ":", "1", "|", "c", "ms", "g", "s", "@0.5", "#", "k:v", ",", "T", "\n", "\r", "_e{", "-", "+", "\xff", ".5", "e9", "long_name_of_a_tab"};
    for (int round = 0; round < 20000; round++) {
        char text[400] = "";
        for (size_t i = test_below(14); i > 0; i--)
            strcat(text, pieces[test_below(sizeof pieces / sizeof *pieces)]);
        taba_statsd *whole = gatherer(NULL), *parts = gatherer(NULL);
        taba_statsd_stream *s = taba_statsd_stream_new(NULL);
        taba_statsd_summary x, y;
        CHECK_OK(datagram(whole, text));
        for (size_t at = 0, n; at < strlen(text); at += n) {
            n = 1 + test_below(strlen(text) - at);
            CHECK_OK(taba_statsd_stream_feed(s, parts, &CLOCK, (const uint8_t *)text + at, n));
        }
        CHECK_OK(taba_statsd_stream_end(s, parts, &CLOCK, 1));
        taba_statsd_take(whole, &x);
        taba_statsd_take(parts, &y);
        CHECK(x.lines == y.lines && x.accepted == y.accepted && x.tabs == y.tabs && memcmp(x.refused, y.refused, sizeof x.refused) == 0);
        taba_statsd_stream_free(s);
        taba_statsd_free(whole);
        taba_statsd_free(parts);
    }
}

/* Whichever allocation fails, nothing is lost but what was under way, and everything can be freed. */
static void every_allocation_may_fail(void) {
    static const char text[] = "a:1|c\nb:2|ms|#x:y\nc:member|s\nc:5|g\nabc:1";
    bool failed = true;
    for (size_t k = 1; failed; k++) {
        test_memory m;
        test_memory_init(&m);
        m.fail_at = k;
        taba_statsd *p = gatherer(&m.allocator);
        taba_statsd_stream *s = p != NULL ? taba_statsd_stream_new(&m.allocator) : NULL;
        taba_scratch *into = s != NULL ? scratch(1 << 20, &m.allocator) : NULL;
        int status = into != NULL ? taba_statsd_stream_feed(s, p, &CLOCK, (const uint8_t *)text, sizeof text - 1) : TABA_ENOMEM;
        if (status == TABA_OK)
            status = taba_statsd_give(p, into, SIZE_MAX);
        failed = m.calls >= k;
        CHECK(status == (failed ? TABA_ENOMEM : TABA_OK));
        CHECK(failed || taba_statsd_waiting(p) == 0);
        taba_scratch_free(into);
        taba_statsd_stream_free(s);
        taba_statsd_free(p);
        CHECK(m.live == 0);
    }
}

static void lines_are_counted(void) {
    static const struct { const char *text; uint64_t lines; } cases[] = {
        {"", 0}, {"\n\r\n\r", 0}, {"a", 1}, {"a\n", 1}, {"a\r\n\n\nb", 2}, {"\r\r", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t length = strlen(cases[i].text);
        uint8_t *copy = test_alone(test_blob(cases[i].text, length));
        CHECK(taba_statsd_count_lines(copy, copy + length) == cases[i].lines);
        free(copy);
    }
}

/* Whichever allocation fails: every line of a stream is taken, or counted as refused for want of memory. */
static void a_stream_without_memory(void) {
    static const char text[] = "a:1|c\nb:2|ms|#x:y\nc:member|s\nc:5|g\nabc:1|c";
    for (size_t k = 1, step = 1; step < sizeof text; k++) {
        test_memory m;
        taba_statsd_summary sum;
        test_memory_init(&m);
        taba_statsd *p = gatherer(&m.allocator);
        taba_statsd_stream *s = taba_statsd_stream_new(&m.allocator);
        int status = TABA_OK;
        size_t fed = 0;
        m.fail_at = m.calls + k;
        for (; fed < sizeof text - 1 && status == TABA_OK; fed += step) {
            const size_t left = sizeof text - 1 - fed;
            status = taba_statsd_stream_feed(s, p, &CLOCK, (const uint8_t *)text + fed, left < step ? left : step);
        }
        if (status == TABA_OK)
            status = taba_statsd_stream_end(s, p, &CLOCK, 1);
        fed = fed < sizeof text - 1 ? fed : sizeof text - 1;
        taba_statsd_take(p, &sum);
        CHECK(sum.lines == sum.accepted + sum.refused[TABA_STATSD_MEMORY]);
        if (status == TABA_OK) {
            CHECK(sum.lines == 5);
            k = 0;
            step += 5;
        } else {
            CHECK(sum.refused[TABA_STATSD_MEMORY] > 0);
            CHECK(sum.lines == taba_statsd_count_lines((const uint8_t *)text, (const uint8_t *)text + fed));
        }
        taba_statsd_stream_free(s);
        taba_statsd_free(p);
        CHECK(m.live == 0);
    }
}

/* The same for datagrams: those that were received behind the one for which memory ran out are counted, too. */
static void datagrams_without_memory(void) {
    int pair[2], status = TABA_ENOMEM;
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    for (size_t k = 1; status != TABA_OK; k++) {
        test_memory m;
        taba_statsd_summary sum;
        taba_statsd_received got;
        test_memory_init(&m);
        taba_statsd *p = gatherer(&m.allocator);
        CHECK_OK(taba_statsd_receive(p, &CLOCK, pair[1], 100, 0, &got)); /* its buffers are there */
        for (int i = 0; i < 3; i++)
            CHECK(send(pair[0], "a:1|c\nb:2|ms\n\nc:3|g|#a:b", 25, 0) == 25);
        m.fail_at = m.calls + k;
        status = taba_statsd_receive(p, &CLOCK, pair[1], 100, 0, &got);
        taba_statsd_take(p, &sum);
        CHECK(got.datagrams == 3 && sum.lines == 9 && sum.accepted + sum.refused[TABA_STATSD_MEMORY] == 9);
        CHECK((sum.refused[TABA_STATSD_MEMORY] == 0) == (status == TABA_OK));
        taba_statsd_free(p);
        CHECK(m.live == 0);
    }
    close(pair[0]);
    close(pair[1]);
}

int main(void) {
    test_seed(3);
    RUN(lines_of_all_kinds);
    RUN(names_that_fall_together);
    RUN(weights_add_up);
    RUN(a_stream_in_pieces);
    RUN(a_line_that_never_ends);
    RUN(numbers_as_written);
    RUN(mistakes);
    RUN(datagrams_of_a_socket);
    RUN(damaged_lines);
    RUN(every_allocation_may_fail);
    RUN(lines_are_counted);
    RUN(a_stream_without_memory);
    RUN(datagrams_without_memory);
    return 0;
}
