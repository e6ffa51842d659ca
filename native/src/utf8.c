/* utf8.c - whether a stream of bytes is UTF-8.
 *
 * Runs of ASCII, which is nearly everything, are passed over 32 bytes at a time. Other bytes go through the table of
 * RFC 3629, section 4, which leaves out overlong forms, surrogates and what is beyond U+10FFFF by the range of the
 * second byte.
 */
#include "utf8.h"

#include <string.h>

/* The first byte at or after `at` that is not ASCII, or `end`. */
static const uint8_t *skip_ascii(const uint8_t *at, const uint8_t *end) {
    uint64_t word[4];
    while (end - at >= (ptrdiff_t)sizeof word) {
        memcpy(word, at, sizeof word);
        if (((word[0] | word[1] | word[2] | word[3]) & 0x8080808080808080u) != 0)
            break;
        at += sizeof word;
    }
    while (at < end && *at < 0x80)
        at++;
    return at;
}

/* Take the first byte of a character of more than one byte. */
static void begin(taba_utf8 *state, uint8_t c) {
    state->broken = c < 0xc2 || c > 0xf4;
    state->due = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    state->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    state->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
}

void taba_utf8_feed(taba_utf8 *state, const uint8_t *bytes, size_t length) {
    const uint8_t *at = bytes, *end = bytes + length;
    while (at < end && !state->broken) {
        if (state->due == 0) {
            at = skip_ascii(at, end);
            if (at < end)
                begin(state, *at++);
        } else {
            const uint8_t c = *at++;
            state->broken = c < state->low || c > state->high;
            state->due--;
            state->low = 0x80;
            state->high = 0xbf;
        }
    }
}

uint8_t *taba_utf8_store(uint8_t *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (uint8_t)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (uint8_t)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (uint8_t)(0xe0 | code >> 12);
        } else {
            *to++ = (uint8_t)(0xf0 | code >> 18);
            *to++ = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        }
        *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    }
    *to++ = (uint8_t)(0x80 | (code & 0x3f));
    return to;
}
