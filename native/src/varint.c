/* varint.c - the primitives of every encoding: u8, f64, uvarint, svarint.
 *
 * uvarint is LEB128 in its shortest form: 300 is ac 02 (low seven bits 0101100 with the high bit set, then 10). svarint
 * is a zigzag uvarint: 0, -1, 1, -2 are 0, 1, 2, 3. Doubles are little-endian whatever the host is.
 */
#include <float.h>

#include "internal.h"

size_t taba_uvarint_length(uint64_t value) {
    size_t n = 1;
    for (; value >= 0x80; value >>= 7)
        n++;
    return n;
}

uint8_t *taba_store_long_uvarint(uint8_t *at, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

uint8_t *taba_store_svarint(uint8_t *at, int64_t value) {
    uint64_t twice = (uint64_t)value << 1;
    return taba_store_uvarint(at, value < 0 ? ~twice : twice);
}

uint8_t *taba_store_f64(uint8_t *at, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 8; i++)
        *at++ = (uint8_t)(bits >> 8 * i);
    return at;
}

int taba_put_u8(taba_buffer *b, uint8_t value) { return taba_buffer_append(b, &value, 1); }

int taba_put_uvarint(taba_buffer *b, uint64_t value) {
    uint8_t bytes[TABA_UVARINT_MAX];
    return taba_buffer_append(b, bytes, (size_t)(taba_store_uvarint(bytes, value) - bytes));
}

int taba_put_svarint(taba_buffer *b, int64_t value) {
    uint8_t bytes[TABA_UVARINT_MAX];
    return taba_buffer_append(b, bytes, (size_t)(taba_store_svarint(bytes, value) - bytes));
}

int taba_put_f64(taba_buffer *b, double value) {
    uint8_t bytes[8];
    taba_store_f64(bytes, value);
    return taba_buffer_append(b, bytes, sizeof bytes);
}

taba_cursor taba_cursor_of(const uint8_t *bytes, size_t length) {
    static const uint8_t nothing[1] = {0}; /* NULL + 0 is not C */
    const uint8_t *at = bytes != NULL ? bytes : nothing;
    taba_cursor c = {at, at + (bytes != NULL ? length : 0)};
    return c;
}

size_t taba_cursor_left(const taba_cursor *c) { return (size_t)(c->end - c->at); }

int taba_get_u8(taba_cursor *c, uint8_t *out) {
    if (c->at == c->end)
        return TABA_ECORRUPT;
    *out = *c->at++;
    return TABA_OK;
}

taba_taken taba_take_uvarint_by_bytes(const uint8_t *at, const uint8_t *end) {
    taba_taken taken = {NULL, 0};
    for (unsigned shift = 0; shift < 70 && at != end; shift += 7) {
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1)
            return taken; /* beyond 64 bits */
        taken.value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte != 0 || shift == 0) /* else a shorter form exists */
                taken.at = at;
            return taken;
        }
    }
    return taken;
}

int taba_get_f64(taba_cursor *c, double *out) {
    if (taba_cursor_left(c) < 8)
        return TABA_ECORRUPT;
    uint64_t bits = taba_load64(c->at);
    double value;
    memcpy(&value, &bits, sizeof value);
    if (!(value >= -DBL_MAX && value <= DBL_MAX) || bits == UINT64_C(1) << 63)
        return TABA_ECORRUPT;
    c->at += 8;
    *out = value;
    return TABA_OK;
}

int taba_get_bytes(taba_cursor *c, uint64_t n, const uint8_t **out) {
    if (n > taba_cursor_left(c))
        return TABA_ECORRUPT;
    *out = c->at;
    c->at += n;
    return TABA_OK;
}
