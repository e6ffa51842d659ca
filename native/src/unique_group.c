/* unique_group.c - the Type UniqueGroup: how many distinct values there were in four buckets of each of four windows.
 *
 *     State   = 08 01 ulevel(15 s) ulevel(150 s) ulevel(900 s) ulevel(21600 s)
 *     Partial = 88 01 ulevel(15 s)
 *
 * Buckets are PercentileGroup's, and so is the way of a State: it is checked wholly, and kept encoded but for the sets to
 * which something is added. A set of many values has 2 KiB, so most of the work is spared.
 */
#include "types.h"
#include "ulevel.h"
#include "window.h"

static const taba_span_of_time levels_of_time[TABA_WINDOWS] = {{15, 4}, {150, 4}, {900, 4}, {21600, 4}};

/* ---------------------------------------------------------------------------------------------- a State in memory */

/* A bucket of a level: its set encoded, or decoded. */
typedef struct slice {
    int64_t index;
    uint64_t count;
    taba_blob raw; /* the encoded set; bytes NULL once decoded, and in a new slice */
    taba_hll set;
} slice;

typedef struct unique_state {
    const taba_allocator *a;
    taba_series levels[TABA_WINDOWS]; /* of slice */
} unique_state;

static void state_init(unique_state *s, const taba_allocator *a) {
    s->a = a;
    for (int i = 0; i < TABA_WINDOWS; i++)
        taba_series_init(&s->levels[i]);
}

static slice *slice_at(const taba_series *level, size_t position) {
    return taba_series_at(level, sizeof(slice), position);
}

static void drop_slices(unique_state *s, int level, size_t n) {
    for (size_t i = 0; i < n; i++)
        taba_hll_release(&slice_at(&s->levels[level], i)->set, s->a);
    taba_series_drop(&s->levels[level], sizeof(slice), n);
}

static void state_release(unique_state *s) {
    for (int i = 0; i < TABA_WINDOWS; i++) {
        drop_slices(s, i, s->levels[i].n);
        taba_series_release(&s->levels[i], s->a, sizeof(slice));
    }
}

/* Add an encoded set, checked before, to a decoded one. */
static int add_raw(taba_hll *set, const taba_allocator *a, taba_blob raw) {
    taba_cursor c = taba_cursor_of(raw.bytes, raw.length);
    uint64_t least;
    return taba_hll_read(&c, set, a, &least);
}

/* Add an encoded set of `count` events, 1 at least, to the bucket `index` of a level. `raw` must stay until the State is
 * encoded. */
static int level_add(unique_state *s, int level, int64_t index, taba_blob raw, uint64_t count, size_t *hint) {
    slice *x = taba_series_place(&s->levels[level], s->a, sizeof *x, index, hint);
    int status = TABA_OK;
    if (x == NULL)
        return TABA_ENOMEM;
    if (count > TABA_COUNT_MAX - x->count)
        return TABA_EDOMAIN;
    x->count += count;
    if (x->count == count) {
        x->raw = raw;
        return TABA_OK;
    }
    if (x->raw.bytes != NULL)
        status = add_raw(&x->set, s->a, x->raw);
    x->raw.bytes = NULL;
    return status == TABA_OK ? add_raw(&x->set, s->a, raw) : status;
}

/* Drop what is too old for the newest bucket of all. */
static void state_prune(unique_state *s) {
    const taba_series *finest = &s->levels[0];
    if (finest->n == 0)
        return;
    const int64_t newest = slice_at(finest, finest->n - 1)->index * levels_of_time[0].width;
    for (int i = 0; i < TABA_WINDOWS; i++) {
        const int64_t oldest = taba_oldest_kept(&levels_of_time[i], newest);
        drop_slices(s, i, taba_series_seek(&s->levels[i], sizeof(slice), oldest, 0));
    }
}

static int level_encode(const taba_series *level, taba_buffer *out) {
    const int64_t *before = NULL;
    uint64_t total = 0;
    int status = taba_put_uvarint(out, level->n);
    for (size_t i = 0; i < level->n && status == TABA_OK; i++) {
        const slice *x = slice_at(level, i);
        if (x->count > TABA_COUNT_MAX - total)
            return TABA_EDOMAIN;
        total += x->count;
        status = taba_ulevel_put_front(out, x->index, before, x->count);
        if (status == TABA_OK)
            status = x->raw.bytes != NULL ? taba_buffer_append(out, x->raw.bytes, x->raw.length)
                                          : taba_hll_encode(&x->set, out);
        before = &x->index;
    }
    return status;
}

static int state_encode(const unique_state *s, taba_buffer *out) {
    if (s->levels[0].n == 0)
        return TABA_OK; /* the empty State has no bytes */
    int status = taba_put_front(out, TABA_UNIQUE_GROUP);
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++)
        status = level_encode(&s->levels[i], out);
    return status;
}

/* ---------------------------------------------------------------------------------------------- reading a State */

/* What becomes of the buckets of a State being read; what is NULL is left out. */
typedef struct sink {
    unique_state *state;     /* they are added to it, */
    taba_uslot *windows;     /* or to the windows at `second`, with allocator `a`, */
    taba_uslot *buckets;     /* or put at their places in the window of `level` at `second` */
    int level;
    const taba_allocator *a;
    int64_t second;
} sink;

/* Where to add the present entry of a level, or NULL. */
static taba_uslot *place_of(const sink *to, int level, int64_t index) {
    const int64_t at = index - taba_window_first(&levels_of_time[level], to->second);
    if (at < 0 || at >= levels_of_time[level].number)
        return NULL;
    if (to->windows != NULL)
        return &to->windows[level];
    return to->buckets != NULL && level == to->level ? &to->buckets[at] : NULL;
}

static int sink_entry(const sink *to, int level, taba_slevel_reader *r, size_t *hint) {
    taba_uslot *slot = to->state == NULL ? place_of(to, level, r->index) : NULL;
    int status = taba_ulevel_read(r, slot != NULL ? &slot->set : NULL, to->a);
    if (status == TABA_OK && slot != NULL)
        slot->count += r->entry; /* all of a level is TABA_COUNT_MAX at most */
    if (status == TABA_OK && to->state != NULL)
        status = level_add(to->state, level, r->index, r->raw, r->entry, hint);
    ++*hint;
    return status;
}

/* Read one level. *newest is got from the 15 s level, and limits what the others may hold. */
static int read_level(taba_cursor *c, int level, int64_t *newest, const sink *to) {
    taba_slevel_reader r;
    size_t hint = 0;
    int status = taba_slevel_open(&r, c, levels_of_time[level].width);
    while (status == TABA_OK && r.left > 0) {
        status = taba_slevel_next(&r);
        if (status == TABA_OK)
            status = sink_entry(to, level, &r, &hint);
    }
    if (status != TABA_OK)
        return status;
    if (level == 0)
        *newest = r.index * r.width;
    const bool whole = r.n != 0 && r.first >= taba_oldest_kept(&levels_of_time[level], *newest)
        && r.index == taba_floor_div(*newest, levels_of_time[level].width);
    return whole ? TABA_OK : TABA_ECORRUPT;
}

/* Read a State, which may be empty; *newest gets the start of its newest 15 s if it is not. */
static int read_state_to(taba_blob state, const sink *to, int64_t *newest) {
    taba_cursor c;
    if (state.length == 0)
        return TABA_OK;
    int status = taba_open(state, TABA_UNIQUE_GROUP, &c);
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++)
        status = read_level(&c, i, newest, to);
    return status == TABA_OK ? taba_at_end(&c) : status;
}

static int read_state(taba_blob state, const sink *to) {
    int64_t newest;
    return read_state_to(state, to, &newest);
}

int taba_unique_group_check(taba_blob state) {
    const sink nowhere = {NULL, NULL, NULL, 0, NULL, 0};
    return read_state(state, &nowhere);
}

int taba_unique_group_newest(taba_blob state, double *newest) {
    const sink nowhere = {NULL, NULL, NULL, 0, NULL, 0};
    int64_t second = 0;
    const int status = read_state_to(state, &nowhere, &second);
    if (status == TABA_OK)
        *newest = (double)second;
    return status;
}

/* ---------------------------------------------------------------------------------------------- reading a Partial */

/* Add the present entry of a Partial to the bucket of each level that holds its start. */
static int add_entry(unique_state *s, const taba_slevel_reader *r, size_t *hints) {
    for (int i = 0; i < TABA_WINDOWS; i++) {
        const int64_t index = taba_floor_div(r->index * r->width, levels_of_time[i].width);
        const int status = level_add(s, i, index, r->raw, r->entry, &hints[i]);
        if (status != TABA_OK)
            return status;
    }
    return TABA_OK;
}

/* Read a Partial; add it to `s` if that is not NULL. */
static int read_partial(taba_blob partial, unique_state *s, taba_partial_facts *facts) {
    taba_cursor c;
    taba_slevel_reader r;
    size_t hints[TABA_WINDOWS] = {0, 0, 0, 0};
    int status = taba_open(partial, TABA_PARTIAL | TABA_UNIQUE_GROUP, &c);
    if (status == TABA_OK)
        status = taba_slevel_open(&r, &c, levels_of_time[0].width);
    while (status == TABA_OK && r.left > 0) {
        status = taba_slevel_next(&r);
        if (status == TABA_OK)
            status = taba_ulevel_read(&r, NULL, NULL);
        if (status == TABA_OK && s != NULL)
            status = add_entry(s, &r, hints);
    }
    if (status == TABA_OK)
        status = taba_at_end(&c);
    if (status != TABA_OK)
        return status;
    if (r.n == 0)
        return TABA_ECORRUPT;
    facts->events = r.count;
    facts->newest = (double)(r.index * r.width);
    return TABA_OK;
}

int taba_unique_group_facts(taba_blob partial, taba_partial_facts *out) { return read_partial(partial, NULL, out); }

/* ---------------------------------------------------------------------------------------------- fold and reduce */

int taba_unique_group_fold(taba_blob state, const taba_blob *partials, size_t n, taba_buffer *out) {
    unique_state s;
    taba_partial_facts facts;
    state_init(&s, taba_buffer_allocator(out));
    const sink into = {&s, NULL, NULL, 0, NULL, 0};
    int status = read_state(state, &into);
    for (size_t i = 0; i < n && status == TABA_OK; i++) {
        status = read_partial(partials[i], &s, &facts);
        state_prune(&s);
    }
    if (status == TABA_OK)
        status = state_encode(&s, out);
    state_release(&s);
    return status;
}

int taba_unique_group_reduce(const taba_blob *states, size_t n, taba_buffer *out) {
    unique_state s;
    state_init(&s, taba_buffer_allocator(out));
    const sink into = {&s, NULL, NULL, 0, NULL, 0};
    int status = TABA_OK;
    for (size_t i = 0; i < n && status == TABA_OK; i++) {
        status = read_state(states[i], &into);
        state_prune(&s);
    }
    if (status == TABA_OK)
        status = state_encode(&s, out);
    state_release(&s);
    return status;
}

/* ---------------------------------------------------------------------------------------------- summaries */

#define MOST_SLOTS 4 /* windows, and buckets of a window */

/* Read a State into four slots; what they hold goes to `out` when all is well. */
static int summarise(taba_blob state, const sink *to, taba_uslot *slots, taba_unique_window *out) {
    const int status = read_state(state, to);
    for (size_t i = 0; i < MOST_SLOTS; i++) {
        if (status == TABA_OK) {
            out[i].count = slots[i].count;
            const double estimate = taba_hll_estimate(&slots[i].set), most = (double)slots[i].count;
            out[i].unique = estimate < most ? estimate : most;
        }
        taba_hll_release(&slots[i].set, to->a);
    }
    return status;
}

int taba_unique_group_summary(taba_blob state, double time, taba_unique_window *out, taba_buffer *workspace) {
    taba_uslot slots[MOST_SLOTS];
    if (!taba_time_is_valid(time))
        return TABA_EDOMAIN;
    memset(slots, 0, sizeof slots);
    const sink into = {NULL, slots, NULL, 0, taba_buffer_allocator(workspace), taba_floor(time)};
    return summarise(state, &into, slots, out);
}

int taba_unique_group_buckets(taba_blob state, double time, int level, int64_t *first, taba_unique_window *out,
                              taba_buffer *workspace) {
    taba_uslot slots[MOST_SLOTS];
    if (!taba_time_is_valid(time) || level < 0 || level >= TABA_WINDOWS)
        return TABA_EDOMAIN;
    memset(slots, 0, sizeof slots);
    const sink into = {NULL, NULL, slots, level, taba_buffer_allocator(workspace), taba_floor(time)};
    const int status = summarise(state, &into, slots, out);
    if (status == TABA_OK)
        *first = taba_window_first(&levels_of_time[level], into.second) * levels_of_time[level].width;
    return status;
}
