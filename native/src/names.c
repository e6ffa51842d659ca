/* names.c - names of clients, tabs and Types; see names.h.
 *
 * The hash multiplies two words of the name by each other, 64 by 64 to 128 bits, and folds the halves together, 16
 * bytes at a step. Names come from the network: whoever keeps a table gives it a seed that senders cannot know.
 */
#include "names.h"

#include "wide.h"

/* The characters of names, one bit each, for 0 to 63 and 64 to 127. */
static const uint64_t ALPHABET[2] = {
    0xafffef1200000000ull, /* ! $ ( ) * + - . / 0-9 : ; = ? */
    0x47fffffe87ffffffull, /* @ A-Z _ a-z ~ */
};

bool taba_name_valid(const uint8_t *bytes, size_t length, size_t max) {
    if (length == 0 || length > max)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] >= 128 || (ALPHABET[bytes[i] >> 6] >> (bytes[i] & 63) & 1) == 0)
            return false;
    }
    return true;
}

/* Odd numbers with every byte above 127, so that no word of ASCII makes a factor 0; random otherwise. */
#define FACTOR_1 0xb5ad9ce3c7f1a2d9ull
#define FACTOR_2 0xe39b8fd1a6c5f3abull
#define FACTOR_3 0x9cf7d3b8eaa5c1e7ull

static uint64_t fold(uint64_t x, uint64_t y) {
    uint64_t high;
    const uint64_t low = taba_multiply(x, y, &high);
    return low ^ high;
}

static uint64_t word(const uint8_t *at) {
    uint64_t x;
    memcpy(&x, at, sizeof x);
    return x;
}

/* 1 to 8 bytes as a word. */
static uint64_t short_word(const uint8_t *at, size_t length) {
    uint32_t low, high;
    if (length < 4)
        return (uint64_t)at[0] << 16 | (uint64_t)at[length / 2] << 8 | at[length - 1];
    memcpy(&low, at, 4);
    memcpy(&high, at + length - 4, 4);
    return (uint64_t)high << 32 | low;
}

uint64_t taba_hash(const uint8_t *bytes, size_t length, uint64_t seed) {
    uint64_t hash = seed ^ fold(length ^ FACTOR_3, FACTOR_1), first = 0, last = 0;
    const uint8_t *at = bytes;
    size_t left = length;
    for (; left > 16; left -= 16, at += 16)
        hash = fold(word(at) ^ FACTOR_1, word(at + 8) ^ hash);
    if (left > 8) {
        first = word(at);
        last = word(at + left - 8);
    } else if (left > 0) {
        first = short_word(at, left);
    }
    return fold(first ^ FACTOR_2, fold(last ^ FACTOR_3, hash ^ FACTOR_1) ^ hash);
}

uint64_t taba_hash_join(uint64_t x, uint64_t y) {
    return fold(x ^ FACTOR_2, fold(y ^ FACTOR_3, FACTOR_1));
}

void taba_names_free(taba_names *names, const taba_allocator *a) {
    taba_release(a, names->name, names->room * sizeof *names->name);
    taba_release(a, names->bytes, names->bytes_room);
    taba_slots_free(&names->slots, a);
    memset(names, 0, sizeof *names);
}

/* Make room for one more name of `length` bytes. */
static int reserve(taba_names *names, const taba_allocator *a, size_t length) {
    void *array = names->name;
    int status = taba_array_reserve(a, &array, &names->room, names->count + 1, sizeof *names->name, 16);
    names->name = array;
    if (status == TABA_OK) {
        array = names->bytes;
        status = taba_array_reserve(a, &array, &names->bytes_room, names->used + length, 1, 512);
        names->bytes = array;
    }
    if (status == TABA_OK)
        status = taba_slots_reserve(&names->slots, a, names->count + 1, names->name, sizeof *names->name, names->count);
    return status;
}

int taba_names_number(taba_names *names, const taba_allocator *a, const uint8_t *bytes, size_t length, uint64_t hash,
                      uint32_t *number) {
    for (taba_probe p = taba_slots_find(&names->slots, hash); taba_slots_next(&names->slots, &p);) {
        if (taba_names_equal(names, (uint32_t)p.number, bytes, length)) {
            *number = (uint32_t)p.number;
            return TABA_OK;
        }
    }
    const int status = reserve(names, a, length);
    if (status != TABA_OK)
        return status;
    const taba_name name = {hash, names->used, (uint32_t)length, taba_crc32(0, bytes, length)};
    memcpy(names->bytes + names->used, bytes, length);
    taba_slots_add(&names->slots, hash, names->count);
    names->used += length;
    names->name[names->count] = name;
    *number = (uint32_t)names->count++;
    return TABA_OK;
}

void taba_names_cut(taba_names *names, size_t count) {
    while (names->count > count) {
        const taba_name *name = &names->name[--names->count];
        taba_slots_drop(&names->slots, name->hash, names->count);
        names->used = name->at;
    }
}

size_t taba_names_memory(const taba_names *names) {
    return names->room * sizeof *names->name + names->bytes_room + names->slots.room * sizeof *names->slots.slot;
}
