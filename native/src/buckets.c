/* buckets.c - see buckets.h for the layout. */
#include "buckets.h"

#include "dist_index.h"
#include "number.h"

#define ROOM_MAX TABA_SKETCH_BUCKETS

/* ---------------------------------------------------------------------------------------------- spans */

static bool span_is_empty(const taba_span *s) { return s->low > s->high; }

static void span_init(taba_span *s) {
    memset(s, 0, sizeof *s);
    s->low = INT32_MAX;
    s->high = INT32_MIN;
}

static int32_t smaller(int32_t x, int32_t y) { return x < y ? x : y; }

/* The base at which low..high lie in the middle of the room. */
static int32_t centred(int32_t low, int32_t high, int32_t room) { return low - (room - (high - low + 1)) / 2; }

/* Make room for at least `need` indices, among them low..high, which contain what is occupied. */
static int span_reserve(taba_span *s, const taba_allocator *a, int32_t need, int32_t low, int32_t high) {
    if (need <= s->room)
        return TABA_OK;
    int32_t room = smaller(need + need / 4 + 16, ROOM_MAX); /* values of a stream stray further with time */
    uint64_t *counts = taba_resize(a, NULL, 0, (size_t)room * sizeof *counts);
    if (counts == NULL)
        return TABA_ENOMEM;
    memset(counts, 0, (size_t)room * sizeof *counts);
    int32_t base = centred(low, high, room);
    if (!span_is_empty(s)) {
        size_t held = (size_t)(s->high - s->low + 1);
        memcpy(counts + (s->low - base), s->counts + (s->low - s->base), held * sizeof *counts);
    }
    taba_release(a, s->counts, (size_t)s->room * sizeof *counts);
    s->counts = counts;
    s->room = room;
    s->base = base;
    return TABA_OK;
}

/* Move what is occupied so that low..high, which contain it and fit the room, have their places. */
static void span_rebase(taba_span *s, int32_t low, int32_t high) {
    int32_t base = centred(low, high, s->room);
    if (!span_is_empty(s)) {
        size_t held = (size_t)(s->high - s->low + 1);
        uint64_t *from = s->counts + (s->low - s->base), *to = s->counts + (s->low - base);
        memmove(to, from, held * sizeof *to);
        if (to > from) /* clear what was left behind: the part of the old place outside the new one */
            memset(from, 0, (size_t)(to - from < (ptrdiff_t)held ? to - from : (ptrdiff_t)held) * sizeof *to);
        else if (from >= to + held)
            memset(from, 0, held * sizeof *to);
        else
            memset(to + held, 0, (size_t)(from - to) * sizeof *to);
    }
    s->base = base;
}

/* Let low..high, at the scale in force, be occupied too. The room is there. */
static void span_widen(taba_span *s, int32_t low, int32_t high) {
    if (!span_is_empty(s)) {
        low = s->low < low ? s->low : low;
        high = s->high > high ? s->high : high;
    }
    if (low < s->base || high >= s->base + s->room)
        span_rebase(s, low, high);
    s->low = low;
    s->high = high;
}

/* Halve the scale, in place: no target lies behind a source that is still to be read. */
static void span_halve(taba_span *s) {
    int32_t base = s->base >> 1;
    for (int32_t i = s->low; i <= s->high; i++) {
        uint64_t count = s->counts[i - s->base];
        s->counts[i - s->base] = 0;
        s->counts[(i >> 1) - base] += count;
    }
    s->base = base;
    if (!span_is_empty(s)) {
        s->low >>= 1;
        s->high >>= 1;
    }
}

/* ---------------------------------------------------------------------------------------------- room */

void taba_buckets_init(taba_buckets *b) {
    memset(b, 0, sizeof *b);
    span_init(&b->sign[0]);
    span_init(&b->sign[1]);
}

void taba_buckets_release(taba_buckets *b, const taba_allocator *a) {
    for (int sign = 0; sign < 2; sign++)
        taba_release(a, b->sign[sign].counts, (size_t)b->sign[sign].room * sizeof(uint64_t));
    taba_buckets_init(b);
}

size_t taba_buckets_memory(const taba_buckets *b) {
    return ((size_t)b->sign[0].room + (size_t)b->sign[1].room) * sizeof(uint64_t);
}

taba_extent taba_buckets_extent(const taba_buckets *b) {
    taba_extent x = taba_extent_empty();
    x.n = b->count;
    x.shift = b->shift;
    for (int sign = 0; sign < 2; sign++)
        taba_extent_take(&x, sign, b->sign[sign].low, b->sign[sign].high);
    return x;
}

int taba_buckets_reserve(taba_buckets *b, const taba_allocator *a, const taba_extent *x, bool stepwise) {
    for (int sign = 0; sign < 2; sign++) {
        if (!taba_extent_has(x, sign))
            continue;
        taba_span *s = &b->sign[sign];
        int32_t low = x->low[sign], high = x->high[sign], need = high - low + 1;
        if (x->shift != b->shift) {
            low = span_is_empty(s) ? 0 : s->low; /* where to put what is there; it will move anyhow */
            high = span_is_empty(s) ? 0 : s->high;
            need = stepwise ? ROOM_MAX : need > high - low + 1 ? need : high - low + 1;
        }
        int status = span_reserve(s, a, need, low, high);
        if (status != TABA_OK)
            return status;
    }
    return TABA_OK;
}

uint64_t *taba_buckets_make_span(taba_buckets *b, const taba_allocator *a, int sign, int32_t low, int32_t high) {
    taba_span *s = &b->sign[sign];
    if (span_reserve(s, a, high - low + 1, low, high) != TABA_OK)
        return NULL;
    span_widen(s, low, high);
    return s->counts + (low - s->base);
}

/* ---------------------------------------------------------------------------------------------- counting */

void taba_buckets_halve(taba_buckets *b) {
    b->shift++;
    span_halve(&b->sign[0]);
    span_halve(&b->sign[1]);
}

/* Let `index`, beyond the occupied ones of its sign, be occupied; returns it at the scale that this asks for. */
static int32_t buckets_widen(taba_buckets *b, int sign, int32_t index) {
    taba_span *s = &b->sign[sign];
    while (!span_is_empty(s) && (index > s->high ? index - s->low : s->high - index) >= TABA_SKETCH_BUCKETS) {
        taba_buckets_halve(b);
        index >>= 1;
    }
    span_widen(s, index, index);
    return index;
}

/* Count one value, but for the count, the sum, min and max. */
static inline void buckets_count(taba_buckets *b, double value) {
    if (value == 0) {
        b->zeros++;
        return;
    }
    int sign = value < 0;
    taba_span *s = &b->sign[sign];
    int32_t index = taba_index_of(fabs(value)) >> b->shift;
    if (index < s->low || index > s->high)
        index = buckets_widen(b, sign, index);
    s->counts[index - s->base]++;
}

/* Count normal numbers > 0, but for the count, the sum, min and max. Nothing is fetched twice but the counts. */
static void count_positive(taba_buckets *b, const double *values, size_t n) {
    const taba_span *s = &b->sign[0];
    for (size_t i = 0; i < n;) {
        uint64_t *const counts = s->counts;
        const int32_t low = s->low, high = s->high, base = s->base;
        const int shift = b->shift;
        for (; i < n; i++) {
            uint64_t bits;
            memcpy(&bits, &values[i], sizeof bits);
            const int32_t index = taba_index_of_bits(bits) >> shift;
            if (index < low || index > high)
                break;
            counts[index - base]++;
        }
        if (i < n)
            buckets_count(b, values[i++]); /* that moves what is fetched */
    }
}

void taba_buckets_add(taba_buckets *b, const double *values, size_t n) {
    double least, most;
    if (n == 0)
        return;
    taba_range_of(values, n, &least, &most);
    if (least >= DBL_MIN) {
        count_positive(b, values, n);
    } else {
        for (size_t i = 0; i < n; i++)
            buckets_count(b, values[i]);
    }
    b->count += n;
    b->sum = taba_sum_on(b->sum, values, n) + 0.0; /* -0.0 becomes 0.0 */
    b->min = least + 0.0 < b->min ? least + 0.0 : b->min;
    b->max = most + 0.0 > b->max ? most + 0.0 : b->max;
}

void taba_buckets_add_exact(taba_buckets *b, const double *sorted, size_t n) {
    for (size_t i = 0; i < n; i++)
        buckets_count(b, sorted[i]);
    b->sum = taba_sum(b->sum, taba_sum_of(sorted, n));
    b->min = b->count == 0 || sorted[0] < b->min ? sorted[0] : b->min;
    b->max = b->count == 0 || sorted[n - 1] > b->max ? sorted[n - 1] : b->max;
    b->count += n;
}

void taba_buckets_merge(taba_buckets *b, const taba_buckets *other) {
    for (int sign = 0; sign < 2; sign++) {
        const taba_span *from = &other->sign[sign];
        if (span_is_empty(from))
            continue;
        taba_span *to = &b->sign[sign];
        int shift = b->shift - other->shift;
        span_widen(to, from->low >> shift, from->high >> shift);
        for (int32_t i = from->low; i <= from->high; i++)
            to->counts[(i >> shift) - to->base] += from->counts[i - from->base];
    }
    b->zeros += other->zeros;
    b->sum = taba_sum(b->sum, other->sum);
    b->min = b->count == 0 || other->min < b->min ? other->min : b->min;
    b->max = b->count == 0 || other->max > b->max ? other->max : b->max;
    b->count += other->count;
}
