/* sort.h - sorting in place, without memory of its own (the C library's qsort may ask malloc for some). */
#ifndef TABA_SORT_H
#define TABA_SORT_H

#include <stddef.h>

/* Negative, zero or positive as *x comes before, with or after *y. */
typedef int (*taba_order)(const void *x, const void *y);

/* Sort `n` elements of `size` bytes, 64 at most, into ascending order: O(n log n) always, not stable. */
void taba_sort(void *elements, size_t n, size_t size, taba_order order);

#endif
