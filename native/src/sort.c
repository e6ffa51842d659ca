/* sort.c - heapsort: Williams, "Algorithm 232", 1964. */
#include "sort.h"

#include <stdint.h>
#include <string.h>

static void swap(uint8_t *x, uint8_t *y, size_t size) {
    uint8_t held[64];
    memcpy(held, x, size);
    memcpy(x, y, size);
    memcpy(y, held, size);
}

/* Let element `at` sink until neither child of it comes after it. */
static void sift(uint8_t *elements, size_t at, size_t n, size_t size, taba_order order) {
    for (size_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && order(elements + child * size, elements + (child + 1) * size) < 0)
            child++;
        if (order(elements + at * size, elements + child * size) >= 0)
            return;
        swap(elements + at * size, elements + child * size, size);
        at = child;
    }
}

void taba_sort(void *elements, size_t n, size_t size, taba_order order) {
    uint8_t *first = elements;
    for (size_t i = n / 2; i > 0; i--)
        sift(first, i - 1, n, size, order);
    for (size_t left = n; left > 1; left--) {
        swap(first, first + (left - 1) * size, size);
        sift(first, 0, left - 1, size, order);
    }
}
