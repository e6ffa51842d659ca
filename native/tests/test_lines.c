/* test_lines.c - many event lines at once: whichever way the machine takes, they read as one by one. */
#include "bodies.h"
#include "event_lines.h"

#define LINES 400
#define TYPE "CounterGroup"

typedef size_t way(taba_shapes *shapes, const taba_event_prefix *prefix, const uint8_t **from, const uint8_t *end, double newest,
                   double *times, double *values, size_t room);

#ifdef TABA_EVENT_SSE2
static size_t by_sse2(taba_shapes *shapes, const taba_event_prefix *prefix, const uint8_t **from, const uint8_t *end,
                      double newest, double *times, double *values, size_t room) {
    (void)shapes;
    return taba_event_read_many_sse2(prefix, from, end, newest, times, values, room);
}
#endif

/* The ways that this machine has, ended by NULL. */
static way *const *ways(void) {
    static way *found[3];
    size_t n = 0;
#ifdef TABA_EVENT_SSE2
    found[n++] = by_sse2;
    if (taba_event_has_avx2())
        found[n++] = taba_event_read_many_avx2;
#endif
    found[n] = NULL;
    return found;
}

static taba_event_prefix prefix_of(const char *type) {
    taba_event_prefix prefix;
    memset(&prefix, 0, sizeof prefix);
    taba_event_prefix_of((const uint8_t *)type, strlen(type), &prefix);
    return prefix;
}

/* Bytes that end where memory does, as far as a sanitizer sees. */
static uint8_t *exact(const char *text, size_t length) {
    uint8_t *bytes = malloc(length);
    memcpy(bytes, text, length);
    return bytes;
}

/* Read the text by every way, going over what it leaves line by line: all that a way takes must be what
 * taba_event_read_quickly finds there. Returns the least number of lines that a way took. */
static size_t compare(const char *text, size_t length, const char *type, double newest) {
    static taba_shapes shapes;
    const taba_event_prefix prefix = prefix_of(type);
    size_t least = SIZE_MAX;
    uint8_t *bytes = exact(text, length);
    for (way *const *read = ways(); *read != NULL; read++) {
        const uint8_t *at = bytes, *end = bytes + length;
        size_t taken = 0;
        taba_shapes_forget(&shapes);
        while (at < end) {
            double times[LINES], values[LINES];
            const uint8_t *line = at, *newline;
            const size_t n = (*read)(&shapes, &prefix, &at, end, newest, times, values, 1 + test_random() % LINES);
            for (size_t i = 0; i < n; i++) {
                double time, value;
                line = taba_event_read_quickly(&prefix, line, end, &time, &value);
                CHECK(line != NULL);
                CHECK(memcmp(&time, &times[i], sizeof time) == 0 && memcmp(&value, &values[i], sizeof value) == 0);
                CHECK(time <= newest);
            }
            CHECK(line == at);
            taken += n;
            if (n == 0) {
                newline = memchr(at, '\n', (size_t)(end - at));
                at = newline != NULL ? newline + 1 : end;
            }
        }
        least = taken < least ? taken : least;
    }
    free(bytes);
    return least;
}

/* A number as senders write it, or nearly. */
static char *put_number(char *at, bool plain) {
    const size_t whole = 1 + test_random() % (plain ? 10 : 19), decimals = test_random() % (plain ? 6 : 12);
    if (!plain && test_random() % 4 == 0)
        *at++ = '-';
    *at++ = (char)('1' + test_random() % 9);
    if (!plain && test_random() % 3 == 0)
        at[-1] = '0';
    for (size_t i = 1; i < whole; i++)
        *at++ = (char)('0' + test_random() % 10);
    if (decimals > 0)
        *at++ = '.';
    for (size_t i = 0; i < decimals; i++)
        *at++ = (char)('0' + test_random() % 10);
    return at;
}

static char *put_line(char *at, bool plain) {
    at += sprintf(at, "[\"" TYPE "\",%s", test_random() % 2 ? " " : "");
    at = put_number(at, plain);
    at += sprintf(at, ",%s\"", test_random() % 2 ? " " : "");
    at = put_number(at, plain);
    return at + sprintf(at, "\"]\n");
}

static void plain_lines_are_all_taken(void) {
    char text[LINES * 100 + 100], *end = text;
    for (size_t i = 0; i < LINES; i++)
        end = put_line(end, true);
    memset(end, ' ', 100);
    CHECK(compare(text, (size_t)(end - text) + 100, TYPE, 1e300) == (ways()[0] != NULL ? LINES : SIZE_MAX));
}

static void numbers_of_every_form_read_the_same(void) {
    for (int round = 0; round < 200; round++) {
        char text[LINES * 100], *end = text;
        for (size_t i = 0; i < LINES; i++)
            end = put_line(end, false);
        compare(text, (size_t)(end - text), TYPE, 1e300);
    }
}

static void damaged_lines_read_the_same(void) {
    static const char bytes[] = "0123456789.,-\"[] \neE+:;x\x00\xff/";
    for (int round = 0; round < 400; round++) {
        char text[LINES * 100], *end = text;
        for (size_t i = 0; i < LINES / 4; i++)
            end = put_line(end, test_random() % 2);
        for (int i = 0; i < 60; i++)
            text[test_random() % (size_t)(end - text)] = bytes[test_random() % (sizeof bytes - 1)];
        compare(text, (size_t)(end - text), TYPE, 1e300);
    }
}

static void a_shape_is_not_taken_for_that_of_another_type(void) {
    char text[2000], *end = text;
    for (int i = 0; i < 5; i++)
        end += sprintf(end, "[\"CounterGroup\", 1763731646.5, \"1.5\"]\n[\"CounterGrouq\", 1763731646.5, \"1.5\"]\n"
                            "[\"Type123\", 17637316.5, \"1.5\"]\n[\"Type456\", 17637316.5, \"1.5\"]\n");
    memset(end, ' ', 100);
    CHECK(compare(text, (size_t)(end - text) + 100, "CounterGroup", 1e300) == (ways()[0] != NULL ? 5 : SIZE_MAX));
    compare(text, (size_t)(end - text) + 100, "Type123", 1e300);
}

static void times_beyond_the_newest_are_left(void) {
    char text[2000], *end = text;
    for (int i = 0; i < 20; i++)
        end += sprintf(end, "[\"" TYPE "\", %d.25, \"1\"]\n", 1000 + i);
    memset(end, ' ', 100);
    CHECK(compare(text, (size_t)(end - text) + 100, TYPE, 1009.25) == (ways()[0] != NULL ? 10 : SIZE_MAX));
}

int main(void) {
    test_seed(20261121);
    RUN(plain_lines_are_all_taken);
    RUN(numbers_of_every_form_read_the_same);
    RUN(damaged_lines_read_the_same);
    RUN(a_shape_is_not_taken_for_that_of_another_type);
    RUN(times_beyond_the_newest_are_left);
    return 0;
}
