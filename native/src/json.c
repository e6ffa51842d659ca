/* json.c - JSON in place.
 *
 * taba_json_check walks a text without recursion: one bit per open array or object tells which of both it is.
 */
#include "json.h"

#include <math.h>
#include <string.h>

#include "decimal.h"
#include "taba.h"
#include "utf8.h"

/* ------------------------------------------------------------------------------------------- strings */

/* The value of four hexadecimal digits, or -1. */
static int32_t read_hex(const uint8_t *at, const uint8_t *end) {
    int32_t code = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const uint8_t c = at[i], letter = (uint8_t)((c | 0x20) - 'a'), digit = (uint8_t)(c - '0');
        if (digit > 9 && letter > 5)
            return -1;
        code = code * 16 + (digit <= 9 ? digit : letter + 10);
    }
    return code;
}

/* What the escape \c stands for, or 0 if c is no such letter. */
static uint8_t simple_escape(uint8_t c) {
    switch (c) {
    case '"':
    case '\\':
    case '/':
        return c;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return 0;
    }
}

const uint8_t *taba_json_read_string(const uint8_t *at, const uint8_t *end, taba_json_string *out) {
    if (at == end || *at != '"')
        return NULL;
    out->at = ++at;
    out->escaped = false;
    for (; at < end; at++) {
        const uint8_t c = *at;
        if (c == '"') {
            out->length = (size_t)(at - out->at);
            return at + 1;
        }
        if (c < 0x20)
            return NULL;
        if (c == '\\') {
            out->escaped = true;
            if (++at == end || (*at == 'u' ? read_hex(at + 1, end) < 0 : simple_escape(*at) == 0))
                return NULL;
        }
    }
    return NULL;
}

/* The code point of the escapes at `at`, behind the first backslash, and the byte after them. */
static uint32_t read_escape(const uint8_t **at, const uint8_t *end) {
    const uint8_t *p = *at;
    if (*p != 'u') {
        *at = p + 1;
        return simple_escape(*p);
    }
    uint32_t code = (uint32_t)read_hex(p + 1, end);
    p += 5;
    if (code >= 0xd800 && code < 0xe000) {
        const int32_t next = code < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? read_hex(p + 2, end) : -1;
        if (next >= 0xdc00 && next < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)next - 0xdc00);
            p += 6;
        } else {
            code = 0xfffd;
        }
    }
    *at = p;
    return code;
}

size_t taba_json_unescape(uint8_t *to, const uint8_t *at, size_t length, bool latin1) {
    const uint8_t *begin = to, *end = at + length;
    while (at < end) {
        const uint8_t c = *at++;
        if (c == '\\')
            to = taba_utf8_store(to, read_escape(&at, end));
        else if (c >= 0x80 && latin1)
            to = taba_utf8_store(to, c);
        else
            *to++ = c;
    }
    return (size_t)(to - begin);
}

size_t taba_json_unescaped_length(const uint8_t *at, size_t length) {
    const uint8_t *end = at + length;
    uint8_t room[4];
    size_t total = 0;
    while (at < end) {
        if (*at++ == '\\')
            total += (size_t)(taba_utf8_store(room, read_escape(&at, end)) - room);
        else
            total++;
    }
    return total;
}

/* ------------------------------------------------------------------------------------------- values */

typedef struct walk {
    const uint8_t *at, *end;
    size_t depth, max_depth;
    bool infinite; /* numbers may be so */
    uint8_t objects[TABA_JSON_DEPTH / 8]; /* bit i: what opened level i is an object */
} walk;

static bool in_object(const walk *w) {
    return (w->objects[(w->depth - 1) / 8] >> ((w->depth - 1) % 8) & 1) != 0;
}

/* Pass over `word` (true, false, null). */
static int read_word(walk *w, const char *word, size_t length) {
    if ((size_t)(w->end - w->at) < length || memcmp(w->at, word, length) != 0)
        return TABA_ECORRUPT;
    w->at += length;
    return TABA_OK;
}

/* Pass over a name of an object and its colon. */
static int read_key(walk *w) {
    taba_json_string key;
    const uint8_t *next = taba_json_read_string(w->at, w->end, &key);
    if (next == NULL)
        return TABA_ECORRUPT;
    next = taba_json_skip(next, w->end);
    if (next == w->end || *next != ':')
        return TABA_ECORRUPT;
    w->at = taba_json_skip(next + 1, w->end);
    return TABA_OK;
}

/* Pass over a value that is no array and no object. */
static int read_scalar(walk *w) {
    taba_json_string string;
    double number;
    const uint8_t *next;
    switch (*w->at) {
    case 't':
        return read_word(w, "true", 4);
    case 'f':
        return read_word(w, "false", 5);
    case 'n':
        return read_word(w, "null", 4);
    case '"':
        next = taba_json_read_string(w->at, w->end, &string);
        break;
    default:
        next = taba_read_number(w->at, w->end, &number);
        if (next != NULL && isinf(number) && !w->infinite)
            return TABA_EDOMAIN;
    }
    if (next == NULL)
        return TABA_ECORRUPT;
    w->at = next;
    return TABA_OK;
}

/* Pass over '[' or '{'. *empty tells whether its end, which is passed over too, is next. */
static int enter(walk *w, bool *empty) {
    const bool object = *w->at == '{';
    if (w->depth == w->max_depth)
        return TABA_ELIMIT;
    w->at = taba_json_skip(w->at + 1, w->end);
    *empty = w->at < w->end && *w->at == (object ? '}' : ']');
    if (*empty) {
        w->at++;
        return TABA_OK;
    }
    const uint8_t bit = (uint8_t)(1 << w->depth % 8);
    uint8_t *bits = &w->objects[w->depth / 8];
    *bits = (uint8_t)(object ? *bits | bit : *bits & ~bit);
    w->depth++;
    return object ? read_key(w) : TABA_OK;
}

/* After a value: pass over the ends of arrays and objects, and the comma after which the next value begins. *done
 * tells that the outermost value has ended. */
static int leave(walk *w, bool *done) {
    for (;;) {
        w->at = taba_json_skip(w->at, w->end);
        *done = w->depth == 0;
        if (*done)
            return TABA_OK;
        if (w->at == w->end)
            return TABA_ECORRUPT;
        const uint8_t c = *w->at++;
        if (c == ',') {
            w->at = taba_json_skip(w->at, w->end);
            return in_object(w) ? read_key(w) : TABA_OK;
        }
        if (c != (in_object(w) ? '}' : ']'))
            return TABA_ECORRUPT;
        w->depth--;
    }
}

/* Pass over one value and the white space after it. */
static int read_value(walk *w) {
    int status = TABA_OK;
    for (bool done = false; !done;) {
        bool value = true; /* whether a whole value was passed over */
        if (w->at == w->end)
            return TABA_ECORRUPT;
        if (*w->at == '[' || *w->at == '{')
            status = enter(w, &value);
        else
            status = read_scalar(w);
        if (status == TABA_OK && value)
            status = leave(w, &done);
        if (status != TABA_OK)
            return status;
    }
    return TABA_OK;
}

static void begin(walk *w, const uint8_t *at, const uint8_t *end, size_t max_depth, bool infinite) {
    w->at = taba_json_skip(at, end);
    w->end = end;
    w->depth = 0;
    w->max_depth = max_depth < TABA_JSON_DEPTH ? max_depth : TABA_JSON_DEPTH;
    w->infinite = infinite;
}

int taba_json_check(const uint8_t *at, size_t length, size_t max_depth) {
    walk w;
    begin(&w, at, at + length, max_depth, false);
    const int status = read_value(&w);
    return status == TABA_OK && w.at != w.end ? TABA_ECORRUPT : status;
}

const uint8_t *taba_json_pass(const uint8_t *at, const uint8_t *end) {
    walk w;
    begin(&w, at, end, TABA_JSON_DEPTH, true);
    if (read_value(&w) != TABA_OK)
        return NULL;
    while (taba_json_blank(w.at[-1]))
        w.at--;
    return w.at;
}

size_t taba_json_elements(const uint8_t *text, size_t length, const uint8_t **second) {
    const uint8_t *end = text + length, *at = taba_json_skip(text, end);
    size_t n = 1, depth = 0;
    if (*at != '[' || *taba_json_skip(at + 1, end) == ']')
        return 0;
    while (at < end) {
        const uint8_t c = *at;
        taba_json_string string;
        if (c == '"') {
            at = taba_json_read_string(at, end, &string);
            continue;
        }
        at++;
        if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ',' && depth == 1) {
            n++;
            *second = n == 2 ? taba_json_skip(at, end) : *second;
        }
    }
    return n;
}
