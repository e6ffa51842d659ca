/* crc.c - the two checksums, eight bytes at a time ("slicing-by-8", Kounavis and Berry, 2005).
 *
 * Table n of eight says what a byte does to the checksum when n more bytes follow it; eight bytes are looked up at once
 * and their effects xor-ed, which breaks the chain of dependent look-ups.
 */
#include "internal.h"

#define TABA_CRC_TABLES
#include "tables.h"

static uint32_t load32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t crc_of(const uint32_t table[8][256], uint32_t crc, const uint8_t *p, size_t n) {
    crc = ~crc;
    for (; n >= 8; p += 8, n -= 8) {
        uint32_t low = crc ^ load32(p), high = load32(p + 4);
        crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^ table[4][low >> 24]
            ^ table[3][high & 0xff] ^ table[2][high >> 8 & 0xff] ^ table[1][high >> 16 & 0xff] ^ table[0][high >> 24];
    }
    for (; n > 0; p++, n--)
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
    return ~crc;
}

uint32_t taba_crc32c(uint32_t crc, const uint8_t *bytes, size_t length) {
    return crc_of(taba_crc32c_table, crc, bytes, length);
}

uint32_t taba_crc32(uint32_t crc, const uint8_t *bytes, size_t length) {
    return crc_of(taba_crc32_table, crc, bytes, length);
}
