/* text_json.c - JSON as Python writes what it has read: see text.h.
 *
 * A text is read and written in one pass, by functions that call each other as deep as arrays and objects nest, DEEPEST
 * at most. What would be written otherwise than it is read is left to Python when it is rare.
 */
#include <math.h>

#include "decimal.h"
#include "json.h"
#include "text.h"
#include "utf8.h"

#define DEEPEST 16 /* nesting */
#define MOST_NAMES 32 /* of an object: each is compared with all before it */
#define LONGEST_TEXT 65536
#define LONGEST_NUMBER 300

typedef struct reading {
    const uint8_t *at, *end;
    taba_buffer *out;
    int depth;
} reading;

static int put_value(reading *r);

static void skip(reading *r) { r->at = taba_json_skip(r->at, r->end); }

/* ---------------------------------------------------------------------------------------------- strings */

/* The bytes of a character as JSON has to escape it, or NULL. */
static const char *escape_of(uint8_t c, char *room) {
    static const char hex[] = "0123456789abcdef";
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\b': return "\\b";
    case '\f': return "\\f";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: break;
    }
    if (c >= 0x20)
        return NULL;
    memcpy(room, "\\u00", 4);
    room[4] = hex[c >> 4];
    room[5] = hex[c & 15];
    room[6] = 0;
    return room;
}

int taba_put_string(taba_buffer *out, const uint8_t *at, size_t length) {
    char room[8];
    size_t from = 0;
    int status = taba_put_text(out, "\"");
    for (size_t i = 0; i < length && status == TABA_OK; i++) {
        const char *escape = escape_of(at[i], room);
        if (escape == NULL)
            continue;
        status = taba_buffer_append(out, at + from, i - from);
        if (status == TABA_OK)
            status = taba_put_text(out, escape);
        from = i + 1;
    }
    if (status == TABA_OK)
        status = taba_buffer_append(out, at + from, length - from);
    return status == TABA_OK ? taba_put_text(out, "\"") : status;
}

/* Whether a text has U+FFFD, which also stands for half a surrogate pair. */
static bool has_replacement(const uint8_t *at, size_t length) {
    for (size_t i = 0; i + 3 <= length; i++)
        if (at[i] == 0xef && at[i + 1] == 0xbf && at[i + 2] == 0xbd)
            return true;
    return false;
}

/* Append the characters of the string that is next. */
static int put_characters(reading *r) {
    taba_json_string string;
    r->at = taba_json_read_string(r->at, r->end, &string);
    if (r->at == NULL)
        return TABA_ELIMIT;
    if (!string.escaped)
        return taba_buffer_append(r->out, string.at, string.length);
    const size_t before = taba_buffer_length(r->out);
    const int status = taba_buffer_reserve(r->out, string.length);
    if (status != TABA_OK)
        return status;
    uint8_t *to = taba_buffer_writable(r->out) + before;
    const size_t length = taba_json_unescape(to, string.at, string.length, false);
    taba_buffer_extend_to(r->out, before + length);
    return has_replacement(to, length) ? TABA_ELIMIT : TABA_OK;
}

/* Append the string that is next as JSON. */
static int put_quoted(reading *r) {
    taba_json_string string;
    const uint8_t *next = taba_json_read_string(r->at, r->end, &string);
    if (next == NULL)
        return TABA_ELIMIT;
    if (!string.escaped) {
        r->at = next;
        return taba_put_string(r->out, string.at, string.length);
    }
    taba_buffer *plain = taba_buffer_new(taba_buffer_allocator(r->out)), *out = r->out;
    if (plain == NULL)
        return TABA_ENOMEM;
    r->out = plain;
    int status = put_characters(r);
    r->out = out;
    if (status == TABA_OK)
        status = taba_put_string(out, taba_buffer_bytes(plain), taba_buffer_length(plain));
    taba_buffer_free(plain);
    return status;
}

/* ---------------------------------------------------------------------------------------------- numbers and words */

/* Whether a number is one that Python reads as an integer. */
static bool is_integer(const uint8_t *at, const uint8_t *end) {
    for (; at < end; at++)
        if (*at == '.' || *at == 'e' || *at == 'E')
            return false;
    return true;
}

static int put_number(reading *r) {
    double value;
    const uint8_t *from = r->at, *end = taba_read_number(from, r->end, &value);
    if (end == NULL || end - from > LONGEST_NUMBER || isinf(value))
        return TABA_ELIMIT;
    r->at = end;
    if (is_integer(from, end))
        return end - from == 2 && memcmp(from, "-0", 2) == 0 ? taba_put_text(r->out, "0")
                                                              : taba_buffer_append(r->out, from, (size_t)(end - from));
    return taba_put_double(r->out, *from == '-' && value == 0 ? -0.0 : value);
}

/* Pass over `word`, and write what stands for it. */
static int put_word(reading *r, const char *word, const char *as) {
    const size_t length = strlen(word);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0)
        return TABA_ELIMIT;
    r->at += length;
    return taba_put_text(r->out, as);
}

/* ---------------------------------------------------------------------------------------------- arrays and objects */

/* What is behind a value: ',' or the `end`, with blanks passed over; 0 for anything else. */
static uint8_t behind(reading *r, uint8_t end) {
    skip(r);
    if (r->at == r->end || (*r->at != ',' && *r->at != end))
        return 0;
    const uint8_t c = *r->at++;
    skip(r);
    return c;
}

/* Pass over what opens an array or object; whether its end, passed over too, is next. */
static bool is_empty(reading *r, uint8_t end) {
    r->at++;
    skip(r);
    const bool empty = r->at < r->end && *r->at == end;
    r->at += empty;
    return empty;
}

static int put_array(reading *r) {
    int status = taba_put_text(r->out, "[");
    if (status != TABA_OK || is_empty(r, ']'))
        return status == TABA_OK ? taba_put_text(r->out, "]") : status;
    for (;;) {
        status = put_value(r);
        if (status != TABA_OK)
            return status;
        switch (behind(r, ']')) {
        case ',': status = taba_put_text(r->out, ", "); break;
        case ']': return taba_put_text(r->out, "]");
        default: return TABA_ELIMIT;
        }
        if (status != TABA_OK)
            return status;
    }
}

/* Names of an object as they were written: where they begin and how long they are. */
typedef struct names {
    size_t at[MOST_NAMES], length[MOST_NAMES];
    int n;
} names;

/* A name and its colon. */
static int put_name(reading *r, names *known) {
    const size_t before = taba_buffer_length(r->out);
    int status = known->n < MOST_NAMES ? put_quoted(r) : TABA_ELIMIT;
    if (status != TABA_OK)
        return status;
    const uint8_t *bytes = taba_buffer_bytes(r->out);
    const size_t length = taba_buffer_length(r->out) - before;
    for (int i = 0; i < known->n; i++)
        if (known->length[i] == length && memcmp(bytes + known->at[i], bytes + before, length) == 0)
            return TABA_ELIMIT; /* Python keeps the last value, at the place of the first */
    known->at[known->n] = before;
    known->length[known->n++] = length;
    skip(r);
    if (r->at == r->end || *r->at != ':')
        return TABA_ELIMIT;
    r->at++;
    skip(r);
    return taba_put_text(r->out, ": ");
}

static int put_object(reading *r) {
    names known;
    int status = taba_put_text(r->out, "{");
    if (status != TABA_OK || is_empty(r, '}'))
        return status == TABA_OK ? taba_put_text(r->out, "}") : status;
    for (known.n = 0;;) {
        status = put_name(r, &known);
        if (status == TABA_OK)
            status = put_value(r);
        if (status != TABA_OK)
            return status;
        switch (behind(r, '}')) {
        case ',': status = taba_put_text(r->out, ", "); break;
        case '}': return taba_put_text(r->out, "}");
        default: return TABA_ELIMIT;
        }
        if (status != TABA_OK)
            return status;
    }
}

/* Append a value as json.dumps writes it. */
static int put_value(reading *r) {
    int status;
    if (r->at == r->end || r->depth == DEEPEST)
        return TABA_ELIMIT;
    r->depth++;
    switch (*r->at) {
    case '[': status = put_array(r); break;
    case '{': status = put_object(r); break;
    case '"': status = put_quoted(r); break;
    case 't': status = put_word(r, "true", "true"); break;
    case 'f': status = put_word(r, "false", "false"); break;
    case 'n': status = put_word(r, "null", "null"); break;
    default: status = put_number(r); break;
    }
    r->depth--;
    return status;
}

/* ---------------------------------------------------------------------------------------------- as str */

static int put_str(reading *r) {
    if (r->at == r->end)
        return TABA_ELIMIT;
    switch (*r->at) {
    case '"': return put_characters(r);
    case 't': return put_word(r, "true", "True");
    case 'f': return put_word(r, "false", "False");
    case 'n': return put_word(r, "null", "None");
    default: return put_value(r);
    }
}

static bool is_utf8(taba_blob text) {
    taba_utf8 state = TABA_UTF8_START;
    taba_utf8_feed(&state, text.bytes, text.length);
    return taba_utf8_valid(&state);
}

int taba_put_shown(taba_buffer *out, taba_blob json) {
    reading r = {json.bytes, json.bytes + json.length, out, 0};
    if (json.length > LONGEST_TEXT || taba_json_check(json.bytes, json.length, DEEPEST) != TABA_OK || !is_utf8(json))
        return TABA_ELIMIT;
    skip(&r);
    if (*r.at == '[') {
        r.at = taba_json_skip(r.at + 1, r.end);
        if (*r.at == ']')
            return taba_put_text(out, "[]");
    }
    return put_str(&r);
}
