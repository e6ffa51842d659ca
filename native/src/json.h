/* json.h - JSON (RFC 8259) in place: strings, and whether a text is one value.
 *
 * Nothing here builds a tree or allocates. Bytes from 0x80 up are taken as they are, in strings only: whether a text is
 * valid does not depend on its being UTF-8 or Latin-1, which is decided when the whole body is known.
 */
#ifndef TABA_JSON_H
#define TABA_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The deepest nesting that taba_json_check can follow. */
#define TABA_JSON_DEPTH 1024

/* The inside of a string, between its quotes, as it stands in the text. */
typedef struct taba_json_string {
    const uint8_t *at;
    size_t length;
    bool escaped; /* it holds a backslash */
} taba_json_string;

static inline bool taba_json_blank(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The first byte at or after `at` that is no white space, or `end`. */
static inline const uint8_t *taba_json_skip(const uint8_t *at, const uint8_t *end) {
    while (at < end && taba_json_blank(*at))
        at++;
    return at;
}

/* Read the string that [at, end) begins with, its quote first. Returns the byte after its closing quote, or NULL if
 * there is no valid string: not closed, a control character in it, an escape that JSON does not have. */
const uint8_t *taba_json_read_string(const uint8_t *at, const uint8_t *end, taba_json_string *out);

/* Undo the escapes of a valid string: its UTF-8 goes to `to`, its length is returned. A surrogate without its partner
 * becomes U+FFFD. Bytes from 0x80 up are copied, or, with `latin1`, turned from Latin-1 into UTF-8. The result is no
 * longer than `length` and, with `latin1`, one byte more for each of those. It may overwrite the string as long as no
 * byte is written before it is read: `to` at or before `at`, or before it by the number of those bytes with `latin1`. */
size_t taba_json_unescape(uint8_t *to, const uint8_t *at, size_t length, bool latin1);

/* The length of what taba_json_unescape(..., false) would write. */
size_t taba_json_unescaped_length(const uint8_t *at, size_t length);

/* The number of elements of a text that is a JSON array, as taba_json_check has found; 0 for any other JSON. *second
 * gets where the second element begins, if there is one. O(length). */
size_t taba_json_elements(const uint8_t *text, size_t length, const uint8_t **second);

/* Pass over the JSON value that [at, end) begins with. Returns the byte after it, or NULL if there is none, or one nested
 * deeper than TABA_JSON_DEPTH. Numbers beyond the largest double are let pass. O(length). */
const uint8_t *taba_json_pass(const uint8_t *at, const uint8_t *end);

/* Whether a text is one JSON value, with white space around it allowed: TABA_OK; TABA_ECORRUPT if not; TABA_EDOMAIN for
 * a number in it beyond the largest double; TABA_ELIMIT when arrays and objects in it nest deeper than `max_depth` (or
 * TABA_JSON_DEPTH). Of several faults the first one counts. O(length). */
int taba_json_check(const uint8_t *at, size_t length, size_t max_depth);

#endif
