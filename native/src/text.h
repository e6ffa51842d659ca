/* text.h - numbers and JSON as the original wrote them: as Python writes them, to the character.
 *
 * All append to a buffer; TABA_OK or TABA_ENOMEM, then a part of it may be there. No locale has a say.
 */
#ifndef TABA_TEXT_H
#define TABA_TEXT_H

#include "internal.h"

static inline int taba_put_text(taba_buffer *out, const char *text) {
    return taba_buffer_append(out, text, strlen(text));
}

/* A whole number. */
int taba_put_whole(taba_buffer *out, uint64_t value);

/* A finite number with so many decimals, 0, 2 or 6, rounded half to even. */
int taba_put_fixed(taba_buffer *out, double value, int decimals);

/* A finite number as Python's repr: the fewest digits that give it back, with a point or an exponent. */
int taba_put_double(taba_buffer *out, double value);

/* A UTF-8 text as a JSON string, quotes around it: escaped is only what must be. */
int taba_put_string(taba_buffer *out, const uint8_t *at, size_t length);

/* What Python's str() gives for the value of a JSON text, of an array that is not empty for its first element: of a string
 * its characters, of true, false and null True, False and None, of a number its digits, of an array or object its JSON as
 * Python's json.dumps writes it. TABA_ELIMIT, with a part of it written perhaps, for what is left to Python: half a
 * surrogate pair, a number of hundreds of digits or beyond the largest double, an object with a name twice or with more
 * than 32, deep nesting, more than 64 KiB, a text that is no JSON in UTF-8. */
int taba_put_shown(taba_buffer *out, taba_blob json);

#endif
