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
#include "event_v1.h"
#include "names.h"
#include "scratch.h"
#include "utf8.h"

typedef enum place { VERSION, BLANK, CLIENT, CLIENT_END, TAB, EVENT } place;

typedef struct name {
    uint8_t bytes[TABA_NAME_MAX];
    size_t length;
    bool valid;
} name;

struct taba_parser {
    taba_allocator allocator; /* a copy, if one was given */
    bool custom;
    bool finished;
    int status;               /* what ended the parse, or TABA_OK */
    taba_scratch *scratch;
    place place;
    uint64_t line;            /* whole lines so far */
    taba_utf8 utf8;
    size_t longest_name, longest_event;
    uint8_t *kept;            /* the line begun: its first bytes */
    size_t kept_length, kept_room;
    size_t begun;             /* the bytes of that line so far, also those not kept; stays at SIZE_MAX */
    uint8_t *work;            /* a payload with its escapes undone */
    size_t work_room;
    name client, tab;
    ptrdiff_t type;           /* of the block: that of its first valid event, or -1 */
    ptrdiff_t expected;       /* the numeric Type whose lines begin with `prefix`, or -1 */
    taba_event_prefix prefix;
    bool many;                /* no line that taba_event_read_many takes is too long */
    double newest;            /* the latest time that is taken */
    taba_shapes shapes;       /* of lines with this prefix */
};

/* ------------------------------------------------------------------------------------------- its life */

static const taba_allocator *allocator_of(const taba_parser *p) {
    return p->custom ? &p->allocator : NULL;
}

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

/* ------------------------------------------------------------------------------------------- events */

static int refuse(taba_parser *p, int reason) {
    taba_scratch_refuse(p->scratch, reason, p->line + 1);
    return TABA_OK;
}

/* Before the first valid event of a block is added: the block takes its Type and begins. */
static int begin_block(taba_parser *p, ptrdiff_t type) {
    taba_scratch *s = p->scratch;
    if (p->type >= 0)
        return TABA_OK;
    const int status = taba_scratch_begin(s, p->client.bytes, p->client.length, p->tab.bytes, p->tab.length, (size_t)type);
    if (status != TABA_OK)
        return status;
    p->type = type;
    const taba_scratch_type *found = &s->types[type];
    if (taba_kind_is_numeric(found->kind) && p->expected != type) {
        taba_event_prefix_of(s->names + found->name, found->length, &p->prefix);
        p->expected = type;
        taba_shapes_forget(&p->shapes);
    }
    return TABA_OK;
}

static int add_number(taba_parser *p, ptrdiff_t type, double time, double value) {
    const int status = begin_block(p, type);
    return status == TABA_OK ? taba_scratch_add_number(p->scratch, time, value) : status;
}

/* Add a structured event: `text` is its payload with the escapes undone, `payload` as it came. */
static int add_structured(taba_parser *p, ptrdiff_t type, const taba_event *event, const uint8_t *text, size_t length) {
    const uint8_t *payload = event->payload.at, *end = text + length;
    const size_t high = taba_payload_high_bytes(&event->payload);
    const int status = begin_block(p, type);
    if (status != TABA_OK)
        return status;
    if (high > 0)
        return taba_scratch_add_payload(p->scratch, event->time, payload, event->payload.length, high);
    text = taba_json_skip(text, end);
    while (taba_json_blank(end[-1]))
        end--;
    return taba_scratch_add_payload(p->scratch, event->time, text, (size_t)(end - text), 0);
}

/* The number of an event's Type, or -1. */
static ptrdiff_t find_type(const taba_parser *p, const taba_json_string *type) {
    uint8_t text[TABA_NAME_MAX * 6];
    if (!type->escaped)
        return taba_scratch_find_type(p->scratch, type->at, type->length);
    if (type->length > sizeof text)
        return -1;
    return taba_scratch_find_type(p->scratch, text, taba_json_unescape(text, type->at, type->length, false));
}

/* The payload with its escapes undone, in place or in p->work. `length` is at most limits.max_payload then. */
static int undo_escapes(taba_parser *p, const taba_json_string *payload, const uint8_t **text, size_t *length) {
    const size_t max_payload = p->scratch->limits.max_payload;
    *text = payload->at;
    *length = payload->length;
    if (!payload->escaped)
        return TABA_OK;
    void *work = p->work;
    const int status = taba_array_reserve(allocator_of(p), &work, &p->work_room,
                                          payload->length < max_payload ? payload->length : max_payload, 1, 256);
    p->work = work;
    if (status != TABA_OK)
        return status;
    *length = taba_json_unescape(p->work, payload->at, payload->length, false);
    *text = p->work;
    return TABA_OK;
}

/* Take an event of UniqueGroup, its payload as above. Only one with escapes, so in p->work, may have more of them inside. */
static int take_unique(taba_parser *p, ptrdiff_t type, const taba_event *event, const uint8_t *text, size_t length) {
    const taba_json_string *payload = &event->payload;
    const size_t depth = p->scratch->limits.max_depth, high = taba_payload_high_bytes(payload);
    double hash = 0;
    const int reason = taba_payload_unique(text, length, depth, p->work, &hash);
    int status = reason >= 0 ? refuse(p, reason) : add_number(p, type, event->time, hash);
    if (high == 0 || reason >= 0 || status != TABA_OK)
        return status;
    void *work = p->work;
    status = taba_array_reserve(allocator_of(p), &work, &p->work_room, payload->length + high, 1, 256);
    p->work = work;
    if (status != TABA_OK)
        return status;
    length = taba_json_unescape(p->work, payload->at, payload->length, true);
    (void)taba_payload_unique(p->work, length, depth, p->work, &hash); /* as valid as before */
    return taba_scratch_add_other_hash(p->scratch, hash);
}

/* Take the payload of an event whose Type and time are right. */
static int take_payload(taba_parser *p, ptrdiff_t type, const taba_event *event) {
    const taba_limits *limits = &p->scratch->limits;
    const taba_json_string *payload = &event->payload;
    const uint8_t *text;
    size_t length;
    double value = 0;
    if (payload->length > limits->max_payload &&
        (!payload->escaped || taba_json_unescaped_length(payload->at, payload->length) > limits->max_payload))
        return refuse(p, TABA_REFUSED_SIZE);
    const int status = undo_escapes(p, payload, &text, &length);
    if (status != TABA_OK)
        return status;
    if (p->scratch->types[type].kind == TABA_UNIQUE_GROUP)
        return take_unique(p, type, event, text, length);
    const bool numeric = taba_kind_is_numeric(p->scratch->types[type].kind);
    const int reason = numeric ? taba_payload_number(text, length, limits->max_depth, &value)
                               : taba_payload_shape(text, length, limits->max_depth, p->scratch->types[type].shape);
    if (reason >= 0)
        return refuse(p, reason);
    return numeric ? add_number(p, type, event->time, value) : add_structured(p, type, event, text, length);
}

/* Take an event line, wherever it lies. `line` has its first bytes at least, all of them if it may be an event. */
static int take_event(taba_parser *p, const uint8_t *line, size_t length) {
    taba_event event;
    if (!p->client.valid || !p->tab.valid)
        return refuse(p, TABA_REFUSED_NAME);
    if (length > p->longest_event)
        return refuse(p, TABA_REFUSED_SIZE);
    if (!taba_event_read(line, length, &event))
        return refuse(p, TABA_REFUSED_JSON);
    const ptrdiff_t type = find_type(p, &event.type);
    if (type < 0)
        return refuse(p, TABA_REFUSED_TYPE);
    if (p->type >= 0 && p->type != type)
        return refuse(p, TABA_REFUSED_MIXED);
    const int reason = taba_scratch_time_reason(p->scratch, event.time);
    if (reason >= 0)
        return refuse(p, reason);
    return take_payload(p, type, &event);
}

/* Take events in a row the quickest way, up to the first that is not for it; *at moves on. The block has begun. */
static int take_many(taba_parser *p, const uint8_t **at, const uint8_t *end) {
    taba_scratch *s = p->scratch;
    size_t n, room;
    do {
        if (s->numbers >= s->times_room || s->numbers >= s->values_room) {
            const int status = taba_scratch_reserve_numbers(s, 1);
            if (status != TABA_OK)
                return status;
        }
        room = (s->times_room < s->values_room ? s->times_room : s->values_room) - s->numbers;
        n = taba_event_read_many(&p->shapes, &p->prefix, at, end, p->newest, s->times + s->numbers, s->values + s->numbers, room);
        taba_scratch_take_numbers(s, n);
        p->line += n;
    } while (n == room);
    return TABA_OK;
}

/* Take events in a row the quick way, up to the first that is another line or not whole; *at moves on. */
static int take_quickly(taba_parser *p, const uint8_t **at, const uint8_t *end) {
    int status = TABA_OK;
    double time, value;
    if (p->expected < 0 || (p->type >= 0 && p->type != p->expected) || !p->client.valid || !p->tab.valid)
        return TABA_OK;
    while (status == TABA_OK) {
        if (p->type >= 0 && p->many)
            status = take_many(p, at, end);
        if (status != TABA_OK)
            break;
        const uint8_t *next = taba_event_read_quickly(&p->prefix, *at, end, &time, &value);
        if (next == NULL || (size_t)(next - *at) > p->scratch->limits.max_payload || value - value != 0)
            break; /* also what may be too long, or infinite: take_event looks closer */
        const int reason = taba_scratch_time_reason(p->scratch, time);
        status = reason >= 0 ? refuse(p, reason) : add_number(p, p->expected, time, value);
        *at = next;
        p->line += status == TABA_OK;
    }
    return status;
}

/* ------------------------------------------------------------------------------------------- lines */

/* The structure is wrong in the line after the whole ones. */
static int fail(taba_parser *p, const char *problem) {
    p->scratch->problem = problem;
    return TABA_ESYNTAX;
}

static void set_name(const taba_parser *p, name *out, const uint8_t *line, size_t length) {
    out->valid = length <= p->longest_name && taba_name_valid(line, length, p->longest_name);
    out->length = out->valid ? length : 0;
    memcpy(out->bytes, line, out->length);
}

static bool is_line(const uint8_t *line, size_t length, const char *text, size_t expected) {
    return length == expected && memcmp(line, text, expected) == 0;
}

/* A line that must be blank has come; what is wrong if it is not. */
static int take_blank(taba_parser *p, const uint8_t *line, size_t length, place next, const char *problem, const char *with_cr) {
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
            return take_event(p, line, length);
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
    const int status = taba_array_reserve(allocator_of(p), &kept, &p->kept_room, p->kept_length + n, 1, 256);
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
            status = take_quickly(p, &at, end);
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
