/* memory.c - checked allocation through the caller's allocator, and the byte string that grows.
 *
 * Every block of the core is asked for here. Sizes are multiplied and added with overflow checks; arrays and buffers
 * grow by half or more, so that appending n elements one by one costs O(n).
 */
#include <stdlib.h>

#include "internal.h"

struct taba_buffer {
    taba_allocator allocator;
    bool custom; /* whether `allocator` was given */
    uint8_t *bytes;
    size_t length, room;
};

void *taba_resize(const taba_allocator *a, void *p, size_t old_size, size_t new_size) {
    if (a != NULL)
        return a->resize(a->context, p, old_size, new_size);
    if (new_size == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, new_size);
}

void taba_release(const taba_allocator *a, void *p, size_t size) {
    if (p != NULL)
        (void)taba_resize(a, p, size, 0);
}

bool taba_size_times(size_t x, size_t y, size_t *out) {
    if (y != 0 && x > SIZE_MAX / y)
        return false;
    *out = x * y;
    return true;
}

bool taba_size_plus(size_t x, size_t y, size_t *out) {
    if (x > SIZE_MAX - y)
        return false;
    *out = x + y;
    return true;
}

int taba_array_reserve(const taba_allocator *a, void **p, size_t *room, size_t need, size_t size, size_t least) {
    if (need <= *room)
        return TABA_OK;
    size_t grown = *room + *room / 2 >= *room ? *room + *room / 2 : need;
    if (grown < need)
        grown = need;
    if (grown < least)
        grown = least;
    size_t bytes;
    if (!taba_size_times(grown, size, &bytes) || bytes > PTRDIFF_MAX)
        return TABA_ENOMEM; /* no object may be larger */
    void *moved = taba_resize(a, *p, *room * size, bytes);
    if (moved == NULL)
        return TABA_ENOMEM;
    *p = moved;
    *room = grown;
    return TABA_OK;
}

taba_buffer *taba_buffer_new(const taba_allocator *allocator) {
    taba_buffer *b = taba_resize(allocator, NULL, 0, sizeof *b);
    if (b == NULL)
        return NULL;
    memset(b, 0, sizeof *b);
    if (allocator != NULL) {
        b->allocator = *allocator;
        b->custom = true;
    }
    return b;
}

const taba_allocator *taba_buffer_allocator(const taba_buffer *b) {
    return b != NULL && b->custom ? &b->allocator : NULL;
}

void taba_buffer_free(taba_buffer *buffer) {
    if (buffer == NULL)
        return;
    taba_allocator allocator = buffer->allocator;
    const taba_allocator *a = buffer->custom ? &allocator : NULL; /* a copy: the original is in the block to be freed */
    taba_release(a, buffer->bytes, buffer->room);
    taba_release(a, buffer, sizeof *buffer);
}

void taba_buffer_clear(taba_buffer *buffer) { buffer->length = 0; }

const uint8_t *taba_buffer_bytes(const taba_buffer *buffer) { return buffer->bytes; }

size_t taba_buffer_length(const taba_buffer *buffer) { return buffer->length; }

int taba_buffer_reserve(taba_buffer *b, size_t more) {
    size_t need;
    if (!taba_size_plus(b->length, more, &need))
        return TABA_ENOMEM;
    void *bytes = b->bytes;
    int status = taba_array_reserve(taba_buffer_allocator(b), &bytes, &b->room, need, 1, 64);
    b->bytes = bytes;
    return status;
}

int taba_buffer_append(taba_buffer *b, const void *bytes, size_t n) {
    int status = taba_buffer_reserve(b, n);
    if (status != TABA_OK)
        return status;
    if (n != 0)
        memcpy(b->bytes + b->length, bytes, n);
    b->length += n;
    return TABA_OK;
}

void taba_buffer_truncate(taba_buffer *b, size_t length) {
    if (length < b->length)
        b->length = length;
}

uint8_t *taba_buffer_writable(taba_buffer *b) { return b->bytes; }

void taba_buffer_extend_to(taba_buffer *b, size_t length) { b->length = length; }
