/* test.h - what the test programs share: checks that tell where they failed, numbers by chance with a printed seed, and
 * an allocator that counts, checks sizes, and fails when told.
 *
 * A program is a list of functions without arguments and RUN(function) for each in main, then `return 0`. The first
 * failed check ends it.
 */
#ifndef TABA_TEST_H
#define TABA_TEST_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "taba.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

#define CHECK_OK(call) CHECK_STATUS(call, TABA_OK)

#define CHECK_STATUS(call, expected) \
    do { \
        int status_ = (call); \
        if (status_ != (expected)) { \
            fprintf(stderr, "%s:%d: %s gave %d (%s), not %d\n", __FILE__, __LINE__, #call, status_, \
                    taba_strerror(status_), (expected)); \
            exit(1); \
        } \
    } while (0)

#define RUN(test) \
    do { \
        test(); \
        printf("  %s\n", #test); \
    } while (0)

/* ---------------------------------------------------------------------------------------------- chance */

static uint64_t test_random_state;

/* Choose and print the seed: TABA_SEED, or the one given. Before the first random number. */
static inline void test_seed(uint64_t otherwise) {
    const char *given = getenv("TABA_SEED");
    test_random_state = given != NULL ? strtoull(given, NULL, 10) : otherwise;
    printf("  TABA_SEED=%" PRIu64 "\n", test_random_state);
}

/* splitmix64. */
static inline uint64_t test_random(void) {
    uint64_t z = test_random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline size_t test_below(size_t n) { return (size_t)(test_random() % n); }

static inline double test_uniform(void) { return (double)(test_random() >> 11) / 9007199254740992.0; }

/* ---------------------------------------------------------------------------------------------- memory */

/* Counts live bytes and calls that ask for memory; the call number `fail_at` (from 1) fails, 0 means none. Every
 * block is a malloc of its own, so that the sanitizer sees each overrun, and remembers its size, so that a wrong
 * old_size is seen. */
typedef struct test_memory {
    size_t live, calls, fail_at;
    taba_allocator allocator;
} test_memory;

typedef struct test_block {
    size_t size;
    size_t unused; /* keeps what follows aligned for any type */
} test_block;

static inline void *test_resize(void *context, void *pointer, size_t old_size, size_t new_size) {
    test_memory *m = context;
    test_block *old = pointer != NULL ? (test_block *)pointer - 1 : NULL;
    CHECK((old != NULL ? old->size : 0) == old_size);
    if (new_size == 0) {
        m->live -= old_size;
        free(old);
        return NULL;
    }
    if (++m->calls == m->fail_at)
        return NULL;
    test_block *block = malloc(sizeof *block + new_size);
    CHECK(block != NULL);
    block->size = new_size;
    memset(block + 1, 0xa5, new_size);
    if (old != NULL)
        memcpy(block + 1, pointer, old_size < new_size ? old_size : new_size);
    m->live += new_size - old_size;
    free(old);
    return block + 1;
}

static inline void test_memory_init(test_memory *m) {
    m->live = m->calls = m->fail_at = 0;
    m->allocator.resize = test_resize;
    m->allocator.context = m;
}

/* ---------------------------------------------------------------------------------------------- bytes */

static inline taba_blob test_blob(const void *bytes, size_t length) {
    taba_blob blob = {bytes, length};
    return blob;
}

static inline taba_blob test_blob_of(const taba_buffer *b) {
    return test_blob(taba_buffer_bytes(b), taba_buffer_length(b));
}

static inline bool test_same(taba_blob x, taba_blob y) {
    return x.length == y.length && (x.length == 0 || memcmp(x.bytes, y.bytes, x.length) == 0);
}

/* The bytes of "01 c8 ..." into `out`; returns how many. */
static inline size_t test_hex(const char *text, uint8_t *out) {
    size_t n = 0;
    for (char *end; *text != 0; text = end, n++) {
        while (*text == ' ')
            text++;
        if (*text == 0)
            break;
        out[n] = (uint8_t)strtoul(text, &end, 16);
    }
    return n;
}

/* Fails, and shows both, unless `blob` has the bytes of `hex`. */
static inline void test_expect(taba_blob blob, const char *hex, const char *file, int line) {
    uint8_t bytes[1024];
    if (test_same(blob, test_blob(bytes, test_hex(hex, bytes))))
        return;
    fprintf(stderr, "%s:%d: expected %s\n  found", file, line, hex);
    for (size_t i = 0; i < blob.length; i++)
        fprintf(stderr, " %02x", blob.bytes[i]);
    fprintf(stderr, "\n");
    exit(1);
}

#define CHECK_BYTES(blob, hex) test_expect(blob, hex, __FILE__, __LINE__)

/* The bytes at a place of their own, which ends where they end, so that the sanitizer sees reading beyond; to be
 * freed. */
static inline uint8_t *test_alone(taba_blob blob) {
    uint8_t *copy = malloc(blob.length != 0 ? blob.length : 1);
    CHECK(copy != NULL);
    if (blob.length != 0)
        memcpy(copy, blob.bytes, blob.length);
    return copy;
}

#endif
