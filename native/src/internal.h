/* internal.h - what the files of the core share with each other and with nobody else.
 *
 * The header taba.h is the manual of the library; this one is the manual of its inside: memory, growing byte strings,
 * the primitives of every encoding, and the Partials that an accumulator fills. Conventions are those of taba.h. All
 * names with external linkage begin with taba_. An allocator pointer may be NULL everywhere: malloc, realloc and free.
 */
#ifndef TABA_INTERNAL_H
#define TABA_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "taba.h"

/* The version byte of States and Partials that this build writes and reads. */
#define TABA_ENCODING_VERSION 1

/* ---------------------------------------------------------------------------------------------- Types */

/* Whether it is the number of a Type, TABA_RAW among them, whose Partials this build fills. */
static inline bool taba_kind_is_native(int kind) {
    return (kind >= TABA_RAW && kind <= TABA_GAUGE) || kind == TABA_UNIQUE_GROUP;
}

/* Whether the payloads of a kind are numbers. */
static inline bool taba_kind_is_numeric(int kind) {
    return kind == TABA_COUNTER_GROUP || kind == TABA_PERCENTILE_GROUP;
}

/* Whether the events of a kind stand in the columns: those that are numbers, and the hashes of UniqueGroup. Else they are
 * structured. */
static inline bool taba_kind_has_columns(int kind) {
    return taba_kind_is_numeric(kind) || kind == TABA_UNIQUE_GROUP;
}

/* ---------------------------------------------------------------------------------------------- memory (memory.c) */

/* Allocate (p NULL, old_size 0), grow, shrink or free (new_size 0, returns NULL). On failure NULL, and p stays
 * valid. */
void *taba_resize(const taba_allocator *a, void *p, size_t old_size, size_t new_size);

/* Free a block of `size` bytes; p may be NULL. */
void taba_release(const taba_allocator *a, void *p, size_t size);

/* *out = x * y, or x + y; false, with *out not written, when that is more than SIZE_MAX. */
bool taba_size_times(size_t x, size_t y, size_t *out);
bool taba_size_plus(size_t x, size_t y, size_t *out);

/* Make room for at least `need` elements of `size` bytes each in the array *p, which has room for *room of them. Grows
 * geometrically from `least`. TABA_OK (*p and *room are updated; nothing is done if the room suffices) or TABA_ENOMEM
 * (nothing is changed). New memory is not initialised. */
int taba_array_reserve(const taba_allocator *a, void **p, size_t *room, size_t need, size_t size, size_t least);

/* After a successful reserve, the next `more` bytes appended to the buffer cannot fail. TABA_OK or TABA_ENOMEM. */
int taba_buffer_reserve(taba_buffer *b, size_t more);

/* Append `n` bytes (bytes may be NULL if n is 0; must not lie in b). TABA_OK, or TABA_ENOMEM with b unchanged. */
int taba_buffer_append(taba_buffer *b, const void *bytes, size_t n);

/* Cut the buffer to its first `length` bytes, which must not be more than it has. Keeps its memory. */
void taba_buffer_truncate(taba_buffer *b, size_t length);

/* The writable memory of the buffer; valid until the next change of the buffer. At least its length is there, and what
 * was reserved. NULL if it never held anything. */
uint8_t *taba_buffer_writable(taba_buffer *b);

/* Declare the first `length` bytes of the memory (reserved and written through taba_buffer_writable) its content. */
void taba_buffer_extend_to(taba_buffer *b, size_t length);

/* The allocator of the buffer, for work space; valid as long as the buffer. NULL for b NULL. */
const taba_allocator *taba_buffer_allocator(const taba_buffer *b);

/* ---------------------------------------------------------------------------------------------- writing (varint.c) */

#define TABA_UVARINT_MAX 10 /* bytes of the longest uvarint */

int taba_put_u8(taba_buffer *b, uint8_t value);
int taba_put_uvarint(taba_buffer *b, uint64_t value);
int taba_put_svarint(taba_buffer *b, int64_t value);
int taba_put_f64(taba_buffer *b, double value); /* as it is: the caller has made it finite and not -0.0 */

/* The number of bytes of `value` as uvarint: 1 to 10. */
size_t taba_uvarint_length(uint64_t value);

/* The same writers into memory that has room for TABA_UVARINT_MAX (8) bytes; they return the byte after the last. Most
 * numbers take one byte, so that case is inline. */
uint8_t *taba_store_long_uvarint(uint8_t *at, uint64_t value);
uint8_t *taba_store_svarint(uint8_t *at, int64_t value);
uint8_t *taba_store_f64(uint8_t *at, double value);

static inline uint8_t *taba_store_uvarint(uint8_t *at, uint64_t value) {
    if (value >= 0x80)
        return taba_store_long_uvarint(at, value);
    *at = (uint8_t)value;
    return at + 1;
}

/* ---------------------------------------------------------------------------------------------- reading (varint.c) */

/* The bytes not yet read of a blob. Readers move `at` on TABA_OK only. */
typedef struct taba_cursor {
    const uint8_t *at, *end;
} taba_cursor;

taba_cursor taba_cursor_of(const uint8_t *bytes, size_t length);
size_t taba_cursor_left(const taba_cursor *c);

/* All return TABA_OK or TABA_ECORRUPT: cut short, or more than 64 bits, or not in the shortest form. */
int taba_get_u8(taba_cursor *c, uint8_t *out);
int taba_get_f64(taba_cursor *c, double *out); /* NaN, infinities and -0.0 are corrupt */

/* Eight bytes, least significant first; compilers make it one load where the host has that order. */
static inline uint64_t taba_load64(const uint8_t *p) {
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32
        | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* What stands between `at` and the end, by value, for loops that are to keep it in registers. `at` is where to go
 * on; NULL if the bytes are corrupt. */
typedef struct taba_taken {
    const uint8_t *at;
    uint64_t value;
} taba_taken;

taba_taken taba_take_uvarint_by_bytes(const uint8_t *at, const uint8_t *end); /* of any length, without haste */

/* A uvarint that is not of one byte. Without a branch that depends on its length, which is hard to predict: of eight
 * bytes taken at once the first one below 0x80 ends the number; then the groups of 7 bits are moved together
 * pairwise. */
static inline taba_taken taba_take_long_uvarint(const uint8_t *at, const uint8_t *end) {
#if defined(__GNUC__)
    uint64_t word = end - at >= 8 ? taba_load64(at) : UINT64_MAX, ends = ~word & UINT64_C(0x8080808080808080);
    if (ends == 0)
        return taba_take_uvarint_by_bytes(at, end);
    unsigned last = (unsigned)__builtin_ctzll(ends); /* the high bit of the last byte */
    bool shortest = (word >> (last - 7) & 0x7f) != 0;
    word &= UINT64_C(0x7f7f7f7f7f7f7f7f) & (UINT64_MAX >> (63 - last));
    word = (word & UINT64_C(0x007f007f007f007f)) | (word & UINT64_C(0x7f007f007f007f00)) >> 1;
    word = (word & UINT64_C(0x00003fff00003fff)) | (word & UINT64_C(0x3fff00003fff0000)) >> 2;
    word = (word & UINT64_C(0x0fffffff)) | (word & UINT64_C(0x0fffffff00000000)) >> 4;
    const taba_taken taken = {shortest ? at + last / 8 + 1 : NULL, word};
    return taken;
#else
    return taba_take_uvarint_by_bytes(at, end);
#endif
}

static inline taba_taken taba_take_uvarint(const uint8_t *at, const uint8_t *end) {
    if (at == end || *at >= 0x80)
        return taba_take_long_uvarint(at, end);
    const taba_taken taken = {at + 1, *at};
    return taken;
}

static inline int64_t taba_signed_of(uint64_t zigzag) { return (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1); }

static inline int taba_get_uvarint(taba_cursor *c, uint64_t *out) {
    const taba_taken taken = taba_take_uvarint(c->at, c->end);
    if (taken.at == NULL)
        return TABA_ECORRUPT;
    c->at = taken.at;
    *out = taken.value;
    return TABA_OK;
}

static inline int taba_get_svarint(taba_cursor *c, int64_t *out) {
    uint64_t zigzag;
    int status = taba_get_uvarint(c, &zigzag);
    if (status == TABA_OK)
        *out = taba_signed_of(zigzag);
    return status;
}

/* The next n bytes, in place. n is compared with what is left, so it may come from an untrusted length. */
int taba_get_bytes(taba_cursor *c, uint64_t n, const uint8_t **out);

/* ---------------------------------------------------------------------------------------------- Partials in memory
 *
 * One Partial being filled: the events of one (tab, client, Type) since the last commit. It is small while it holds
 * little (144 bytes in four blocks for a CounterGroup with one event, 104 in three for a UniqueGroup) and does not hold its allocator: pass the same
 * one always.
 *
 * Merging a scratch is two steps, so that it is all or nothing: first reserve for every block, which may fail and
 * changes no meaning, then fold every block, which cannot fail. Several reserves for one Partial add up: the blocks
 * reserved for may then be folded in any order, each once. After a reserve that is not followed by its fold the
 * Partial is merely larger than it had to be.
 */
typedef struct taba_partial taba_partial;
struct taba_ranges; /* extent.h */

/* An empty Partial of a native Type or TABA_RAW. NULL when out of memory or for another type. */
taba_partial *taba_partial_new(int type, const taba_allocator *a);
void taba_partial_free(taba_partial *p, const taba_allocator *a); /* p may be NULL */

/* CounterGroup, PercentileGroup and, with hashes as values, UniqueGroup. Afterwards taba_partial_fold of the same columns
 * cannot fail. TABA_OK; TABA_ENOMEM, p then means the same as before; TABA_EDOMAIN for a value or time that is not
 * finite, a time beyond +-2**53, or a value that is no hash; TABA_ETYPE for the other Types. n may be 0. */
int taba_partial_reserve(taba_partial *p, const taba_allocator *a, const double *times, const double *values, size_t n);

/* The same for columns that are known to be valid, and to lie within `ranges`, and a Partial of a Type that takes them; n is
 * not 0. */
int taba_partial_reserve_within(taba_partial *p, const taba_allocator *a, const double *times, const double *values,
                                size_t n, const struct taba_ranges *ranges);

/* Add the events (times[i], values[i]), for which room was reserved, in their order. Allocates nothing. */
void taba_partial_fold(taba_partial *p, const double *times, const double *values, size_t n);

/* The same where it is known within what they lie, and n is not 0. */
void taba_partial_fold_within(taba_partial *p, const double *times, const double *values, size_t n,
                              const struct taba_ranges *ranges);

/* Gauge and raw. Room for `events` folds whose payloads have `payload_bytes` bytes all together (for TABA_GAUGE the
 * length of the longest is enough). TABA_OK, TABA_ENOMEM (p means the same as before), TABA_ETYPE for the other
 * Types. */
int taba_partial_reserve_json(taba_partial *p, const taba_allocator *a, size_t events, size_t payload_bytes);

/* Add one event, for which room was reserved. `time` is finite. A Gauge keeps the greatest by (time, stamp,
 * payload). */
void taba_partial_fold_json(taba_partial *p, double time, uint64_t stamp, const uint8_t *payload, size_t length);

/* Append the encoded Partial to `out`. p must hold an event (TABA_EDOMAIN). TABA_ENOMEM: `out` is unchanged. */
int taba_partial_encode(const taba_partial *p, taba_buffer *out);

/* The number of events folded into it. */
uint64_t taba_partial_events(const taba_partial *p);

/* The bytes it has asked its allocator for, itself included. */
size_t taba_partial_memory(const taba_partial *p);

#endif
