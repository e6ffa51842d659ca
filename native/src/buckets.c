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

static size_t size_of_count(bool wide) { return wide ? sizeof(uint64_t) : sizeof(uint16_t); }

/* Where the count of an index is, or would be. */
static uint8_t *place_of(const taba_span *s, int32_t index) {
    return (uint8_t *)s->counts + (ptrdiff_t)(index - s->base) * (ptrdiff_t)size_of_count(s->wide);
}

static void span_release(taba_span *s, const taba_allocator *a) {
    taba_release(a, s->counts, (size_t)s->room * size_of_count(s->wide));
}

static void add_count(taba_span *s, int32_t index, uint64_t count) {
    const int32_t place = index - s->base;
    if (s->wide)
        ((uint64_t *)s->counts)[place] += count;
    else
        ((uint16_t *)s->counts)[place] = (uint16_t)(((uint16_t *)s->counts)[place] + count);
}

/* Let counts have 64 bits. */
static int span_make_wide(taba_span *s, const taba_allocator *a) {
    if (!s->wide && s->room > 0) {
        const uint16_t *from = s->counts;
        uint64_t *to = taba_resize(a, NULL, 0, (size_t)s->room * sizeof *to);
        if (to == NULL)
            return TABA_ENOMEM;
        for (int32_t i = 0; i < s->room; i++)
            to[i] = from[i];
        span_release(s, a);
        s->counts = to;
    }
    s->wide = true;
    return TABA_OK;
}

/* Make room for at least `need` indices, among them low..high, which contain what is occupied. */
static int span_reserve(taba_span *s, const taba_allocator *a, int32_t need, int32_t low, int32_t high) {
    if (need <= s->room)
        return TABA_OK;
    taba_span more = *s;
    more.room = smaller(need + need / 4 + 16, ROOM_MAX); /* values of a stream stray further with time */
    more.base = centred(low, high, more.room);
    more.counts = taba_resize(a, NULL, 0, (size_t)more.room * size_of_count(s->wide));
    if (more.counts == NULL)
        return TABA_ENOMEM;
    memset(more.counts, 0, (size_t)more.room * size_of_count(s->wide));
    if (!span_is_empty(s))
        memcpy(place_of(&more, s->low), place_of(s, s->low), (size_t)(s->high - s->low + 1) * size_of_count(s->wide));
    span_release(s, a);
    *s = more;
    return TABA_OK;
}

/* Move what is occupied so that low..high, which contain it and fit the room, have their places. */
static void span_rebase(taba_span *s, int32_t low, int32_t high) {
    const int32_t base = centred(low, high, s->room);
    if (!span_is_empty(s)) {
        const size_t held = (size_t)(s->high - s->low + 1) * size_of_count(s->wide);
        uint8_t *from = place_of(s, s->low);
        s->base = base;
        uint8_t *to = place_of(s, s->low);
        memmove(to, from, held);
        if (to > from) /* clear what was left behind: the part of the old place outside the new one */
            memset(from, 0, (size_t)(to - from) < held ? (size_t)(to - from) : held);
        else if (from >= to + held)
            memset(from, 0, held);
        else
            memset(to + held, 0, (size_t)(from - to));
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
    taba_span halved = *s;
    halved.base = s->base >> 1;
    for (int32_t i = s->low; i <= s->high; i++) {
        const uint64_t count = taba_span_count(s, i);
        memset(place_of(s, i), 0, size_of_count(s->wide));
        add_count(&halved, i >> 1, count);
    }
    if (!span_is_empty(s)) {
        halved.low = s->low >> 1;
        halved.high = s->high >> 1;
    }
    *s = halved;
}

/* ---------------------------------------------------------------------------------------------- room */

void taba_buckets_init(taba_buckets *b) {
    memset(b, 0, sizeof *b);
    span_init(&b->sign[0]);
    span_init(&b->sign[1]);
}

void taba_buckets_release(taba_buckets *b, const taba_allocator *a) {
    for (int sign = 0; sign < 2; sign++)
        span_release(&b->sign[sign], a);
    taba_buckets_init(b);
}

size_t taba_buckets_memory(const taba_buckets *b) {
    size_t bytes = 0;
    for (int sign = 0; sign < 2; sign++)
        bytes += (size_t)b->sign[sign].room * size_of_count(b->sign[sign].wide);
    return bytes;
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
        taba_span *s = &b->sign[sign];
        if (x->n > UINT16_MAX && span_make_wide(s, a) != TABA_OK)
            return TABA_ENOMEM;
        if (!taba_extent_has(x, sign))
            continue;
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
    if (span_make_wide(s, a) != TABA_OK || span_reserve(s, a, high - low + 1, low, high) != TABA_OK)
        return NULL;
    span_widen(s, low, high);
    return (uint64_t *)s->counts + (low - s->base);
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
    add_count(s, index, 1);
}

/* Add one value to two sums, without a guess which of them it goes to: a zero that is added in its place changes nothing. */
static inline void add_to_two(taba_two_sums *sums, double time, double value) {
    const bool is_later = time >= sums->border;
    const uint64_t mask = 0 - (uint64_t)is_later;
    uint64_t bits, of_first, of_last;
    double x, y;
    memcpy(&bits, &value, sizeof bits);
    of_first = bits & ~mask;
    of_last = bits & mask;
    memcpy(&x, &of_first, sizeof x);
    memcpy(&y, &of_last, sizeof y);
    sums->total[0] += x;
    sums->total[1] += y;
    sums->later += is_later;
}

void taba_two_sums_add(taba_two_sums *sums, const double *values, size_t n) {
    taba_two_sums to = *sums; /* in registers */
    for (size_t i = 0; i < n; i++)
        add_to_two(&to, to.times[i], values[i]);
    *sums = to;
    sums->times += n;
}

/* Count normal numbers > 0 between the lowest and the highest bucket; add them to `sum` in their order, which is the
 * result, and to `sums` unless it is NULL. All of it goes on side by side: each sum alone would be waited for. Called with
 * constants for `wide` and NULL, so that nothing is asked for each value. */
static inline double tally(const taba_span *s, int shift, bool wide, const double *values, size_t n, double sum,
                           taba_two_sums *sums) {
    uint16_t *const narrow_counts = s->counts;
    uint64_t *const wide_counts = s->counts;
    const int32_t base = s->base;
    taba_two_sums to = {NULL, 0, {0, 0}, 0};
    if (sums != NULL)
        to = *sums;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        const int32_t place = (taba_index_of_bits(bits) >> shift) - base;
        if (wide)
            wide_counts[place]++;
        else
            narrow_counts[place]++;
        sum += values[i];
        if (sums != NULL)
            add_to_two(&to, to.times[i], values[i]);
    }
    if (sums != NULL) {
        *sums = to;
        sums->times += n;
    }
    return sum;
}

static double tally_span(const taba_span *s, int shift, const double *values, size_t n, double sum,
                         taba_two_sums *sums) {
    if (s->wide)
        return sums != NULL ? tally(s, shift, true, values, n, sum, sums) : tally(s, shift, true, values, n, sum, NULL);
    return sums != NULL ? tally(s, shift, false, values, n, sum, sums) : tally(s, shift, false, values, n, sum, NULL);
}

/* Let the bucket of a normal number > 0 be occupied. */
static void occupy(taba_buckets *b, double value) {
    const taba_span *s = &b->sign[0];
    const int32_t index = taba_index_of(value) >> b->shift;
    if (index < s->low || index > s->high)
        (void)buckets_widen(b, 0, index);
}

void taba_buckets_add(taba_buckets *b, const double *values, size_t n, double least, double most, taba_two_sums *sums) {
    double sum = INFINITY;
    if (least >= DBL_MIN) { /* normal numbers all, and it is known between which buckets */
        occupy(b, least);
        occupy(b, most);
        sum = tally_span(&b->sign[0], b->shift, values, n, b->sum, sums);
    } else {
        for (size_t i = 0; i < n; i++)
            buckets_count(b, values[i]);
        if (sums != NULL)
            taba_two_sums_add(sums, values, n);
    }
    if (!(sum <= DBL_MAX))
        sum = taba_sum_on(b->sum, values, n) + 0.0; /* -0.0 becomes 0.0 */
    b->sum = sum;
    b->count += n;
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

/* The counts of a span to those of another; called with constants for `narrow`. */
static inline void merge_counts(taba_span *to, const taba_span *from, int shift, bool narrow) {
    const uint64_t *const counts = from->counts;
    const int32_t to_base = to->base, from_base = from->base;
    for (int32_t i = from->low; i <= from->high; i++) {
        const int32_t place = (i >> shift) - to_base;
        const uint64_t count = counts[i - from_base];
        if (narrow)
            ((uint16_t *)to->counts)[place] = (uint16_t)(((uint16_t *)to->counts)[place] + count);
        else
            ((uint64_t *)to->counts)[place] += count;
    }
}

static void merge_span(taba_span *to, const taba_span *from, int shift) {
    if (from->wide && to->wide)
        merge_counts(to, from, shift, false);
    else if (from->wide)
        merge_counts(to, from, shift, true);
    else
        for (int32_t i = from->low; i <= from->high; i++)
            add_count(to, i >> shift, taba_span_count(from, i));
}

void taba_buckets_merge(taba_buckets *b, const taba_buckets *other) {
    for (int sign = 0; sign < 2; sign++) {
        const taba_span *from = &other->sign[sign];
        if (span_is_empty(from))
            continue;
        taba_span *to = &b->sign[sign];
        int shift = b->shift - other->shift;
        span_widen(to, from->low >> shift, from->high >> shift);
        merge_span(to, from, shift);
    }
    b->zeros += other->zeros;
    b->sum = taba_sum(b->sum, other->sum);
    b->min = b->count == 0 || other->min < b->min ? other->min : b->min;
    b->max = b->count == 0 || other->max > b->max ? other->max : b->max;
    b->count += other->count;
}
