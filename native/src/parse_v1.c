/* parse_v1.c - protocol 1 (docs/reference/protocol-1.md), taken as it comes and put into a scratch.
 *
 * The parser stands between two lines, or within one of which it keeps what came so far. Lines that lie wholly in the
 * caller's bytes are read there. What is kept of a line is bounded: an event longer than any allowed one, or a name
 * longer than any allowed one, is refused by its length alone, and its further bytes are counted, not kept.
 *
 *     VERSION -> BLANK -> CLIENT -> CLIENT_END -> TAB <-> EVENT         "1", "", client id, "", then tab and events
 *                            ^--------------------/                     a blank line in TAB ends the client
 *
 * Whether the body is UTF-8 is known at its end only, and matters to the payloads of Gauges and raw events alone: those
 * with a byte from 0x80 up stay in the scratch as they came until taba_parser_finish.
 */
#include "parse_v1.h"

/* ------------------------------------------------------------------------------------------- its life */

/* An escape is six bytes at most for one of the payload; the rest is room for the Type, the time and white space. */
static size_t longest_event(size_t max_payload) {
    return max_payload < (SIZE_MAX - 4096) / 6 ? max_payload * 6 + 4096 : SIZE_MAX;
}

taba_parser *taba_parser_new(taba_scratch *scratch, const taba_allocator *allocator) {
    const taba_utf8 start = TABA_UTF8_START;
    const size_t max_name = scratch->limits.max_name;
    taba_parser *p = taba_resize(allocator, NULL, 0, sizeof *p);
    if (p == NULL)
        return NULL;
    memset(p, 0, offsetof(taba_parser, shapes)); /* those are forgotten with the first prefix */
    p->custom = allocator != NULL;
    if (p->custom)
        p->allocator = *allocator;
    p->scratch = scratch;
    p->utf8 = start;
    p->longest_name = max_name < TABA_NAME_MAX ? max_name : TABA_NAME_MAX;
    p->many = scratch->limits.max_payload >= TABA_EVENT_PLAIN_MAX;
    p->newest = scratch->limits.newest < TABA_LAST_TIME ? scratch->limits.newest : TABA_LAST_TIME;
    p->longest_event = longest_event(scratch->limits.max_payload);
    p->type = p->expected = -1;
    return p;
}

void taba_parser_free(taba_parser *p) {
    if (p == NULL)
        return;
    const taba_allocator copy = p->allocator, *a = p->custom ? &copy : NULL;
    taba_release(a, p->kept, p->kept_room);
    taba_release(a, p->work, p->work_room);
    taba_release(a, p, sizeof *p);
}

/* ------------------------------------------------------------------------------------------- lines */

/* The structure is wrong in the line after the whole ones. */
static int fail(taba_parser *p, const char *problem) {
    p->scratch->problem = problem;
    return TABA_ESYNTAX;
}

static void set_name(const taba_parser *p, taba_parsed_name *out, const uint8_t *line, size_t length) {
    out->valid = length <= p->longest_name && taba_name_valid(line, length, p->longest_name);
    out->length = out->valid ? length : 0;
    memcpy(out->bytes, line, out->length);
}

static bool is_line(const uint8_t *line, size_t length, const char *text, size_t expected) {
    return length == expected && memcmp(line, text, expected) == 0;
}

/* A line that must be blank has come; what is wrong if it is not. */
static int take_blank(taba_parser *p, const uint8_t *line, size_t length, taba_place next, const char *problem, const char *with_cr) {
    if (length > 0)
        return fail(p, is_line(line, length, "\r", 1) ? with_cr : problem);
    p->place = next;
    return TABA_OK;
}

#define NO_VERSION "line 1 must be the version of the protocol, 1"
#define NO_BLANK "line 2 must be blank"
#define NO_CLIENT_END "the line after a client id must be blank"
#define NOT_CRLF "; lines end with LF, not with CR LF"

/* Take a whole line of `length` bytes without its LF. Of lines too long to be anything, `line` has the first bytes
 * only. */
static int take_line(taba_parser *p, const uint8_t *line, size_t length) {
    switch (p->place) {
    case VERSION:
        if (!is_line(line, length, "1", 1))
            return fail(p, is_line(line, length, "1\r", 2) ? NO_VERSION NOT_CRLF : NO_VERSION);
        p->place = BLANK;
        return TABA_OK;
    case BLANK:
        return take_blank(p, line, length, CLIENT, NO_BLANK, NO_BLANK NOT_CRLF);
    case CLIENT:
        if (length > 0) { /* more blank lines than are due between two clients, or at the end, say nothing */
            set_name(p, &p->client, line, length);
            p->place = CLIENT_END;
        }
        return TABA_OK;
    case CLIENT_END:
        return take_blank(p, line, length, TAB, NO_CLIENT_END, NO_CLIENT_END NOT_CRLF);
    case TAB:
        p->place = length > 0 ? EVENT : CLIENT;
        p->type = -1;
        set_name(p, &p->tab, line, length);
        return TABA_OK;
    case EVENT:
        if (length > 0)
            return taba_parser_take_event(p, line, length);
        p->place = TAB;
    }
    return TABA_OK;
}

/* Keep the next bytes of a line that is not whole yet, as far as they can matter. */
static int keep(taba_parser *p, const uint8_t *bytes, size_t length) {
    const bool is_event = p->place == EVENT && p->client.valid && p->tab.valid;
    const size_t longest = is_event ? p->longest_event : TABA_NAME_MAX;
    size_t n = length < longest - p->kept_length ? length : longest - p->kept_length;
    p->begun = length < SIZE_MAX - p->begun ? p->begun + length : SIZE_MAX;
    if (n == 0)
        return TABA_OK;
    void *kept = p->kept;
    const int status = taba_array_reserve(taba_parser_allocator(p), &kept, &p->kept_room, p->kept_length + n, 1, 256);
    p->kept = kept;
    if (status != TABA_OK)
        return status;
    memcpy(p->kept + p->kept_length, bytes, n);
    p->kept_length += n;
    return TABA_OK;
}

/* The line begun is whole. */
static int take_kept(taba_parser *p) {
    const int status = take_line(p, p->kept, p->begun);
    p->begun = p->kept_length = 0;
    p->line += status == TABA_OK;
    return status;
}

/* Take what [at, end) has of the line begun, and go on behind it. */
static int go_on(taba_parser *p, const uint8_t **at, const uint8_t *end) {
    const uint8_t *newline = memchr(*at, '\n', (size_t)(end - *at));
    const uint8_t *until = newline != NULL ? newline : end;
    taba_utf8_feed(&p->utf8, *at, (size_t)(until - *at) + (newline != NULL));
    int status = keep(p, *at, (size_t)(until - *at));
    *at = until;
    if (status == TABA_OK && newline != NULL) {
        status = take_kept(p);
        *at = newline + 1;
    }
    return status;
}

/* What take_quickly takes is ASCII; all else is shown to p->utf8. */
static int feed(taba_parser *p, const uint8_t *at, const uint8_t *end) {
    int status = TABA_OK;
    if (at < end && p->begun > 0)
        status = go_on(p, &at, end);
    while (at < end && status == TABA_OK) {
        if (p->place == EVENT)
            status = taba_parser_take_quickly(p, &at, end);
        if (at == end || status != TABA_OK)
            break;
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        taba_utf8_feed(&p->utf8, at, (size_t)((newline != NULL ? newline + 1 : end) - at));
        if (newline == NULL)
            return keep(p, at, (size_t)(end - at));
        status = take_line(p, at, (size_t)(newline - at));
        at = newline + 1;
        p->line += status == TABA_OK;
    }
    return status;
}

/* Bring the scratch's count of lines up to date after a step that ended with `status`, which is returned and, when it
 * is not TABA_OK, ends the parse. */
static int conclude(taba_parser *p, int status) {
    const bool within = p->begun > 0 || status != TABA_OK;
    p->status = status;
    p->scratch->line = p->line + within;
    return status;
}

int taba_parser_feed(taba_parser *p, const uint8_t *bytes, size_t length) {
    if (p->status != TABA_OK || p->finished)
        return p->finished ? TABA_EDOMAIN : p->status;
    p->scratch->open = true;
    if (length == 0)
        return TABA_OK;
    return conclude(p, feed(p, bytes, bytes + length));
}

int taba_parser_finish(taba_parser *p) {
    int status = TABA_OK;
    if (p->status != TABA_OK || p->finished)
        return p->finished ? TABA_EDOMAIN : p->status;
    p->scratch->open = true;
    if (p->begun > 0)
        status = take_kept(p);
    if (status == TABA_OK && p->place == VERSION)
        status = fail(p, NO_VERSION);
    else if (status == TABA_OK && p->place == BLANK)
        status = fail(p, NO_BLANK);
    else if (status == TABA_OK && p->place == CLIENT_END)
        status = fail(p, NO_CLIENT_END);
    if (conclude(p, status) != TABA_OK)
        return status;
    taba_scratch_decide(p->scratch, !taba_utf8_valid(&p->utf8));
    p->scratch->open = false;
    p->finished = true;
    return TABA_OK;
}
