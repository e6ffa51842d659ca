/* dist.c - distributions in memory: adding, merging, scaling, quantiles. See dist.h for the layout.
 *
 * Whatever can fail comes first and changes no meaning (room is made), whatever changes the meaning cannot fail. The
 * result depends on the multiset of the values only: the scale follows from the range of indices, which a shift to a
 * coarser scale keeps (floor(floor(x / 2) / 2) == floor(x / 4)), so that scaling early or late comes to the same.
 */
#include "dist.h"

#include "dist_index.h"
#include "number.h"

#define ROOM_MAX TABA_SKETCH_BUCKETS

/* ---------------------------------------------------------------------------------------------- extents */

static taba_extent extent_empty(void) {
    taba_extent x = {0, 0, {INT32_MAX, INT32_MAX}, {INT32_MIN, INT32_MIN}};
    return x;
}

static void extent_take(taba_extent *x, int sign, int32_t low, int32_t high) {
    if (low < x->low[sign])
        x->low[sign] = low;
    if (high > x->high[sign])
        x->high[sign] = high;
}

static bool extent_has(const taba_extent *x, int sign) { return x->low[sign] <= x->high[sign]; }

taba_extent taba_extent_of(const double *values, size_t n) {
    double least[2] = {INFINITY, INFINITY}, most[2] = {0, 0};
    for (size_t i = 0; i < n; i++) {
        double v = values[i], magnitude = fabs(v);
        int sign = v < 0;
        if (magnitude > most[sign])
            most[sign] = magnitude;
        if (magnitude < least[sign] && v != 0)
            least[sign] = magnitude;
    }
    taba_extent x = extent_empty();
    x.n = n;
    for (int sign = 0; sign < 2; sign++)
        if (most[sign] > 0)
            extent_take(&x, sign, taba_index_of(least[sign]), taba_index_of(most[sign]));
    return x;
}

/* The extent at the next coarser scale. */
static void extent_halve(taba_extent *x) {
    x->shift++;
    for (int sign = 0; sign < 2; sign++)
        if (extent_has(x, sign)) {
            x->low[sign] >>= 1;
            x->high[sign] >>= 1;
        }
}

static bool extent_fits(const taba_extent *x) {
    for (int sign = 0; sign < 2; sign++)
        if (extent_has(x, sign) && x->high[sign] - x->low[sign] >= TABA_SKETCH_BUCKETS)
            return false;
    return true;
}

/* The extent of both together, at the scale which that asks for. */
static taba_extent extent_united(taba_extent x, taba_extent y) {
    while (x.shift < y.shift)
        extent_halve(&x);
    while (y.shift < x.shift)
        extent_halve(&y);
    x.n += y.n;
    for (int sign = 0; sign < 2; sign++)
        if (extent_has(&y, sign))
            extent_take(&x, sign, y.low[sign], y.high[sign]);
    while (!extent_fits(&x))
        extent_halve(&x);
    return x;
}

/* What d holds. */
static taba_extent extent_held(const taba_dist *d) {
    if (!d->spilled)
        return taba_extent_of(d->values, d->n);
    taba_extent x = extent_empty();
    x.n = d->buckets->count;
    x.shift = d->buckets->shift;
    for (int sign = 0; sign < 2; sign++)
        extent_take(&x, sign, d->buckets->sign[sign].low, d->buckets->sign[sign].high);
    return x;
}

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
    if (!span_is_empty(s))
        memcpy(counts + (s->low - base), s->counts + (s->low - s->base), (size_t)(s->high - s->low + 1) * sizeof *counts);
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

/* ---------------------------------------------------------------------------------------------- buckets */

static void buckets_halve(taba_buckets *b) {
    b->shift++;
    span_halve(&b->sign[0]);
    span_halve(&b->sign[1]);
}

/* Let `index`, beyond the occupied ones of its sign, be occupied; returns it at the scale that this asks for. */
static int32_t buckets_widen(taba_buckets *b, int sign, int32_t index) {
    taba_span *s = &b->sign[sign];
    while (!span_is_empty(s) && (index > s->high ? index - s->low : s->high - index) >= TABA_SKETCH_BUCKETS) {
        buckets_halve(b);
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

static void buckets_add(taba_buckets *b, const double *values, size_t n) {
    double sum = b->sum, min = b->min, max = b->max;
    for (size_t i = 0; i < n; i++) {
        double value = values[i] + 0.0; /* -0.0 becomes 0.0 */
        sum = taba_sum(sum, value);
        if (value < min)
            min = value;
        if (value > max)
            max = value;
        buckets_count(b, value);
    }
    b->count += n;
    b->sum = sum;
    b->min = min;
    b->max = max;
}

/* Count `n` exact values, 1 at least, in ascending order, whose sum is added as one. */
static void buckets_add_exact(taba_buckets *b, const double *sorted, size_t n) {
    for (size_t i = 0; i < n; i++)
        buckets_count(b, sorted[i]);
    b->sum = taba_sum(b->sum, taba_dist_exact_sum(sorted, n));
    b->min = b->count == 0 || sorted[0] < b->min ? sorted[0] : b->min;
    b->max = b->count == 0 || sorted[n - 1] > b->max ? sorted[n - 1] : b->max;
    b->count += n;
}

static void buckets_merge(taba_buckets *b, const taba_buckets *other) {
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

/* ---------------------------------------------------------------------------------------------- distributions */

void taba_dist_init(taba_dist *d) { memset(d, 0, sizeof *d); }

void taba_dist_release(taba_dist *d, const taba_allocator *a) {
    taba_release(a, d->values, d->room * sizeof *d->values);
    if (d->buckets != NULL) {
        for (int sign = 0; sign < 2; sign++)
            taba_release(a, d->buckets->sign[sign].counts, (size_t)d->buckets->sign[sign].room * sizeof(uint64_t));
        taba_release(a, d->buckets, sizeof *d->buckets);
    }
    taba_dist_init(d);
}

uint64_t taba_dist_count(const taba_dist *d) { return d->spilled ? d->buckets->count : d->n; }

size_t taba_dist_memory(const taba_dist *d) {
    size_t bytes = d->room * sizeof *d->values;
    if (d->buckets != NULL) {
        size_t rooms = (size_t)d->buckets->sign[0].room + (size_t)d->buckets->sign[1].room;
        bytes += sizeof *d->buckets + rooms * sizeof(uint64_t);
    }
    return bytes;
}

/* Room for `need` exact values, TABA_SKETCH_EXACT at most. */
static int values_reserve(taba_dist *d, const taba_allocator *a, uint64_t need) {
    if (need <= d->room)
        return TABA_OK;
    size_t room = 2;
    while (room < need)
        room *= 2; /* 32 at most, a power of two */
    double *values = taba_resize(a, d->values, d->room * sizeof *values, room * sizeof *values);
    if (values == NULL)
        return TABA_ENOMEM;
    d->values = values;
    d->room = (uint8_t)room;
    return TABA_OK;
}

/* The struct of the buckets, without room in its spans. */
static int buckets_prepare(taba_dist *d, const taba_allocator *a) {
    if (d->buckets != NULL)
        return TABA_OK;
    taba_buckets *b = taba_resize(a, NULL, 0, sizeof *b);
    if (b == NULL)
        return TABA_ENOMEM;
    memset(b, 0, sizeof *b);
    span_init(&b->sign[0]);
    span_init(&b->sign[1]);
    d->buckets = b;
    return TABA_OK;
}

/* Room in the spans for all of `x`, which includes what they hold. At a coarser scale than now either the way there is
 * made at once, by a merge, or value by value (`stepwise`), where any span within the limit may occur on the way. */
static int spans_reserve(taba_buckets *b, const taba_allocator *a, const taba_extent *x, bool stepwise) {
    for (int sign = 0; sign < 2; sign++) {
        if (!extent_has(x, sign))
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

static taba_extent extent_due(const taba_dist *d) {
    taba_extent x = extent_empty();
    x.n = d->due;
    if (d->due != 0) {
        memcpy(x.low, d->due_low, sizeof x.low);
        memcpy(x.high, d->due_high, sizeof x.high);
    }
    return x;
}

static void note_due(taba_dist *d, const taba_extent *x) {
    taba_extent due = extent_due(d);
    due.n += x->n;
    for (int sign = 0; sign < 2; sign++)
        extent_take(&due, sign, x->low[sign], x->high[sign]);
    d->due = due.n < UINT32_MAX ? (uint32_t)due.n : UINT32_MAX;
    memcpy(d->due_low, due.low, sizeof due.low);
    memcpy(d->due_high, due.high, sizeof due.high);
}

int taba_dist_reserve(taba_dist *d, const taba_allocator *a, const taba_extent *x) {
    uint64_t total = taba_dist_count(d) + d->due + x->n;
    int status = TABA_OK;
    if (!d->spilled)
        status = values_reserve(d, a, total < TABA_SKETCH_EXACT ? total : TABA_SKETCH_EXACT);
    if (status == TABA_OK && total > TABA_SKETCH_EXACT) {
        status = buckets_prepare(d, a);
        if (status == TABA_OK) {
            taba_extent all = extent_united(extent_united(extent_held(d), extent_due(d)), *x);
            status = spans_reserve(d->buckets, a, &all, true);
        }
    }
    if (status == TABA_OK)
        note_due(d, x);
    return status;
}

/* Count the exact values in the buckets, for which there is room. */
static void spill(taba_dist *d) {
    double sorted[TABA_SKETCH_EXACT];
    size_t n = taba_dist_sorted(d, sorted);
    if (n != 0)
        buckets_add_exact(d->buckets, sorted, n);
    d->n = 0;
    d->spilled = true;
}

void taba_dist_add(taba_dist *d, const double *values, size_t n) {
    size_t done = 0;
    if (!d->spilled) {
        while (done < n && d->n < TABA_SKETCH_EXACT)
            d->values[d->n++] = values[done++] + 0.0;
        if (done < n)
            spill(d);
    }
    if (done < n)
        buckets_add(d->buckets, values + done, n - done);
    d->due = d->due > n ? d->due - (uint32_t)n : 0;
}

/* Both exact, and exact together. */
static int merge_exact(taba_dist *d, const taba_allocator *a, const taba_dist *other) {
    int status = values_reserve(d, a, (uint64_t)d->n + other->n);
    if (status == TABA_OK && other->n != 0) {
        memcpy(d->values + d->n, other->values, other->n * sizeof *d->values);
        d->n = (uint8_t)(d->n + other->n);
    }
    return status;
}

/* Make room for the values of the extent `all`, which includes those of d; then count in buckets, at its scale. */
static int spill_to(taba_dist *d, const taba_allocator *a, const taba_extent *all) {
    int status = buckets_prepare(d, a);
    if (status != TABA_OK)
        return status;
    if (!d->spilled)
        d->buckets->shift = all->shift; /* they are empty: the exact values are counted at that scale at once */
    status = spans_reserve(d->buckets, a, all, false);
    if (!d->spilled) {
        if (status == TABA_OK)
            spill(d);
        else
            d->buckets->shift = 0;
    }
    while (status == TABA_OK && d->buckets->shift < all->shift)
        buckets_halve(d->buckets);
    return status;
}

int taba_dist_merge(taba_dist *d, const taba_allocator *a, const taba_dist *other) {
    uint64_t mine = taba_dist_count(d), theirs = taba_dist_count(other);
    if (theirs > TABA_COUNT_MAX - mine)
        return TABA_EDOMAIN;
    if (mine + theirs <= TABA_SKETCH_EXACT)
        return merge_exact(d, a, other);
    taba_extent all = extent_united(extent_held(d), extent_held(other));
    int status = spill_to(d, a, &all);
    if (status != TABA_OK)
        return status;
    if (other->spilled) {
        buckets_merge(d->buckets, other->buckets);
    } else {
        double sorted[TABA_SKETCH_EXACT];
        size_t n = taba_dist_sorted(other, sorted);
        if (n != 0)
            buckets_add_exact(d->buckets, sorted, n);
    }
    return TABA_OK;
}

int taba_dist_make_buckets(taba_dist *d, const taba_allocator *a, int shift) {
    int status = buckets_prepare(d, a);
    if (status == TABA_OK) {
        d->buckets->shift = shift;
        d->spilled = true;
    }
    return status;
}

uint64_t *taba_dist_make_span(taba_dist *d, const taba_allocator *a, int sign, int32_t low, int32_t high) {
    taba_span *s = &d->buckets->sign[sign];
    if (span_reserve(s, a, high - low + 1, low, high) != TABA_OK)
        return NULL;
    span_widen(s, low, high);
    return s->counts + (low - s->base);
}

/* ---------------------------------------------------------------------------------------------- what it tells */

size_t taba_dist_sorted(const taba_dist *d, double *sorted) {
    for (size_t i = 0; i < d->n; i++) {
        double value = d->values[i];
        size_t at = i;
        for (; at > 0 && sorted[at - 1] > value; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = value;
    }
    return d->n;
}

double taba_dist_exact_sum(const double *sorted, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = taba_sum(sum, sorted[i]);
    return sum;
}

void taba_dist_summary(const taba_dist *d, taba_sketch_summary *out) {
    memset(out, 0, sizeof *out);
    if (d->spilled) {
        const taba_buckets *b = d->buckets;
        out->count = b->count;
        out->sum = b->sum;
        out->min = b->min;
        out->max = b->max;
        out->error = taba_error[TABA_SKETCH_SCALE - b->shift];
    } else if (d->n != 0) {
        double sorted[TABA_SKETCH_EXACT];
        size_t n = taba_dist_sorted(d, sorted);
        out->count = n;
        out->sum = taba_dist_exact_sum(sorted, n);
        out->min = sorted[0];
        out->max = sorted[n - 1];
    }
}

/* A walk over the buckets in ascending order of their values: the negative ones, zero, the positive ones. */
typedef struct walk {
    const taba_buckets *b;
    uint64_t passed; /* values in the buckets before the present one */
    int part;        /* 0 negative, 1 zero, 2 positive */
    int32_t index;   /* in parts 0 and 2 */
} walk;

static walk walk_start(const taba_buckets *b) {
    walk w = {b, 0, 0, b->sign[1].high};
    return w;
}

/* Go on to the bucket that holds `rank`, which is below the count and not before the present bucket. */
static void walk_to(walk *w, uint64_t rank) {
    const taba_span *negative = &w->b->sign[1], *positive = &w->b->sign[0];
    for (; w->part == 0 && w->index >= negative->low; w->index--) {
        uint64_t count = negative->counts[w->index - negative->base];
        if (rank < w->passed + count)
            return;
        w->passed += count;
    }
    if (w->part == 0)
        w->part = 1;
    if (w->part == 1) {
        if (rank < w->passed + w->b->zeros)
            return;
        w->passed += w->b->zeros;
        w->part = 2;
        w->index = positive->low;
    }
    for (;; w->index++) {
        uint64_t count = positive->counts[w->index - positive->base];
        if (rank < w->passed + count)
            return;
        w->passed += count;
    }
}

/* The value that stands for the present bucket. */
static double walk_value(const walk *w) {
    double value = 0;
    if (w->part != 1)
        value = taba_value_of_index(w->index, w->b->shift);
    if (w->part == 0)
        value = -value;
    if (value < w->b->min)
        return w->b->min;
    return value > w->b->max ? w->b->max : value;
}

static uint64_t rank_of(double q, uint64_t count) {
    double rank = q * (double)count; /* its truncation, below 2**61, is exact */
    return (uint64_t)rank < count - 1 ? (uint64_t)rank : count - 1;
}

int taba_dist_quantiles(const taba_dist *d, const double *q, size_t n, double *out) {
    for (size_t i = 0; i < n; i++)
        if (!(q[i] >= 0 && q[i] <= 1))
            return TABA_EDOMAIN;
    double sorted[TABA_SKETCH_EXACT];
    uint64_t count = taba_dist_count(d);
    walk w = {NULL, 0, 0, 0};
    if (d->spilled)
        w = walk_start(d->buckets);
    else
        (void)taba_dist_sorted(d, sorted);
    for (size_t i = 0; i < n; i++) {
        uint64_t rank = count == 0 ? 0 : rank_of(q[i], count);
        if (!d->spilled) {
            out[i] = count == 0 ? 0.0 : sorted[rank];
            continue;
        }
        if (rank < w.passed)
            w = walk_start(d->buckets); /* quantiles that ascend are found in one walk */
        walk_to(&w, rank);
        out[i] = walk_value(&w);
    }
    return TABA_OK;
}
