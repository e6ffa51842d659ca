/* hash64.h - the hash by which a UniqueGroup tells values apart. It is part of the format: it never changes. */
#ifndef TABA_HASH64_H
#define TABA_HASH64_H

#include "internal.h"

/* XXH64 with seed 0 of `length` bytes (docs/reference/states-and-partials.md, "UniqueGroup"). O(length). */
uint64_t taba_xxh64(const uint8_t *bytes, size_t length);

#endif
