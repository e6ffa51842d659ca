/* window.h - buckets of time: their indices, how long they are kept, which ones a window shows.
 *
 * A bucket of `width` seconds with index i begins at i * width. All arithmetic is on whole seconds, of which the
 * doubles up to 2**53 hold every one; times beyond are refused.
 */
#ifndef TABA_WINDOW_H
#define TABA_WINDOW_H

#include <math.h>

#include "internal.h"

#define TABA_SECONDS_MAX (INT64_C(1) << 53)

/* One level of a State: the window is the `number` buckets that end with the present one. */
typedef struct taba_span_of_time {
    int64_t width;  /* seconds */
    int64_t number;
} taba_span_of_time;

static inline int64_t taba_floor_div(int64_t x, int64_t width) {
    int64_t quotient = x / width;
    return x % width < 0 ? quotient - 1 : quotient;
}

/* floor(time), for |time| <= 2**53. */
static inline int64_t taba_floor(double time) {
    int64_t whole = (int64_t)time;
    return (double)whole > time ? whole - 1 : whole;
}

/* Whether `time` is a finite number of seconds that has a bucket. */
static inline bool taba_time_is_valid(double time) {
    return time >= -(double)TABA_SECONDS_MAX && time <= (double)TABA_SECONDS_MAX;
}

/* The least and the greatest index of a bucket in which such times lie. */
static inline int64_t taba_index_least(int64_t width) { return taba_floor_div(-TABA_SECONDS_MAX, width); }

static inline int64_t taba_index_greatest(int64_t width) { return TABA_SECONDS_MAX / width; }

/* The least index that a State keeps when its newest finest bucket begins at `newest`. */
static inline int64_t taba_oldest_kept(const taba_span_of_time *level, int64_t newest) {
    return taba_floor_div(newest - level->width * level->number - TABA_RETENTION_MARGIN, level->width);
}

/* The index of the oldest bucket of the window at `second`. */
static inline int64_t taba_window_first(const taba_span_of_time *level, int64_t second) {
    return taba_floor_div(second, level->width) - level->number + 1;
}

/* So many times are looked at one by one, and then so many at once: runs are short, or long. */
#define TABA_RUN_STEP 16

/* Whether TABA_RUN_STEP times all lie from `from` to `last`. The differences' signs tell, which compilers gather in
 * vectors. */
static inline bool taba_all_between(const double *times, double from, double last) {
    uint64_t outside = 0;
    for (int i = 0; i < TABA_RUN_STEP; i++) {
        const double above = times[i] - from, below = last - times[i];
        uint64_t x, y;
        memcpy(&x, &above, sizeof x);
        memcpy(&y, &below, sizeof y);
        outside |= x | y;
    }
    return outside >> 63 == 0;
}

/* How many of the n times, 1 at least, lie in the bucket that the first one lies in; *index gets that. */
static inline size_t taba_run(const double *times, size_t n, int64_t width, int64_t *index) {
    *index = taba_floor_div(taba_floor(times[0]), width);
    const double from = (double)(*index * width), to = from + (double)width;
    const size_t one_by_one = n < TABA_RUN_STEP ? n : TABA_RUN_STEP;
    size_t i = 1;
    while (i < one_by_one && times[i] >= from && times[i] < to)
        i++;
    if (i == TABA_RUN_STEP) {
        const double last = nextafter(to, from);
        while (n - i >= TABA_RUN_STEP && taba_all_between(times + i, from, last))
            i += TABA_RUN_STEP;
    }
    while (i < n && times[i] >= from && times[i] < to)
        i++;
    return i;
}

#endif
