/* percentile_group.c - the Type PercentileGroup: distributions over four windows.
 *
 *     State   = 02 01 slevel(15 s) slevel(150 s) slevel(900 s) slevel(21600 s)
 *     Partial = 82 01 slevel(15 s)
 *
 * A State holds some 25 sketches, of which a Partial touches four. So a sketch is decoded only where something is
 * merged into it; the others are checked, stay slices of the State (or of the Partial, for a bucket that is new), and
 * are written as the bytes that they are: equal distributions have equal encodings. To know in time which ones are to
 * be decoded, a fold reads its Partials first, to a list, and merges them after the State.
 */
#include "number.h"
#include "slevel.h"
#include "types.h"
#include "window.h"

static const taba_span_of_time levels_of_time[TABA_WINDOWS] = {{15, 4}, {150, 4}, {900, 4}, {21600, 4}};

/* ---------------------------------------------------------------------------------------------- a State in memory */

/* A bucket of a level: encoded, or decoded. */
typedef struct slice {
    int64_t index;
    taba_blob raw;   /* the encoded sketch; bytes NULL once decoded, and in a new slice */
    taba_dist dist;
    uint64_t count;
} slice;

typedef struct percentile_state {
    const taba_allocator *a;
    taba_series levels[TABA_WINDOWS]; /* of slice */
} percentile_state;

static void state_init(percentile_state *s, const taba_allocator *a) {
    s->a = a;
    for (int i = 0; i < TABA_WINDOWS; i++)
        taba_series_init(&s->levels[i]);
}

static slice *slice_at(const taba_series *level, size_t position) {
    return taba_series_at(level, sizeof(slice), position);
}

static void drop_slices(percentile_state *s, int level, size_t n) {
    for (size_t i = 0; i < n; i++)
        taba_dist_release(&slice_at(&s->levels[level], i)->dist, s->a);
    taba_series_drop(&s->levels[level], sizeof(slice), n);
}

static void state_release(percentile_state *s) {
    for (int i = 0; i < TABA_WINDOWS; i++) {
        drop_slices(s, i, s->levels[i].n);
        taba_series_release(&s->levels[i], s->a, sizeof(slice));
    }
}

/* Merge an encoded sketch, checked before, into `d`. */
static int merge_raw(taba_dist *d, const taba_allocator *a, taba_blob raw) {
    taba_cursor c = taba_cursor_of(raw.bytes, raw.length);
    uint64_t count;
    if (taba_dist_count(d) == 0)
        return taba_dist_read(&c, d, a, &count);
    taba_dist more;
    taba_dist_init(&more);
    int status = taba_dist_read(&c, &more, a, &count);
    if (status == TABA_OK)
        status = taba_dist_merge(d, a, &more);
    taba_dist_release(&more, a);
    return status;
}

/* Merge an encoded sketch of `count` values, 1 at least, into the bucket `index` of a level. `raw` must stay until the
 * State is encoded. */
static int level_add(percentile_state *s, int level, int64_t index, taba_blob raw, uint64_t count, size_t *hint) {
    slice *x = taba_series_place(&s->levels[level], s->a, sizeof *x, index, hint);
    if (x == NULL)
        return TABA_ENOMEM;
    if (count > TABA_COUNT_MAX - x->count)
        return TABA_EDOMAIN;
    int status = TABA_OK;
    if (x->count == 0) {
        x->raw = raw;
    } else {
        if (x->raw.bytes != NULL)
            status = merge_raw(&x->dist, s->a, x->raw);
        x->raw.bytes = NULL;
        if (status == TABA_OK)
            status = merge_raw(&x->dist, s->a, raw);
    }
    x->count += count;
    return status;
}

/* Drop what is too old for the newest bucket of all. */
static void state_prune(percentile_state *s) {
    const taba_series *finest = &s->levels[0];
    if (finest->n == 0)
        return;
    int64_t newest = slice_at(finest, finest->n - 1)->index * levels_of_time[0].width;
    for (int i = 0; i < TABA_WINDOWS; i++) {
        int64_t oldest = taba_oldest_kept(&levels_of_time[i], newest);
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
        status = taba_slevel_put_index(out, x->index, before);
        if (status == TABA_OK)
            status = x->raw.bytes != NULL ? taba_buffer_append(out, x->raw.bytes, x->raw.length)
                                          : taba_dist_encode(&x->dist, out);
        before = &x->index;
    }
    return status;
}

static int state_encode(const percentile_state *s, taba_buffer *out) {
    if (s->levels[0].n == 0)
        return TABA_OK; /* the empty State has no bytes */
    int status = taba_put_front(out, TABA_PERCENTILE_GROUP);
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++)
        status = level_encode(&s->levels[i], out);
    return status;
}

/* ---------------------------------------------------------------------------------------------- reading a State */

/* What becomes of the buckets of a State being read; what is NULL is left out. */
typedef struct sink {
    percentile_state *state;  /* they are added to it; those that hold a second from..to will change soon; */
    int64_t from, to;
    taba_dist *windows;       /* or they are added to the windows at `second`, with allocator `a` */
    const taba_allocator *a;
    int64_t second;
} sink;

/* Add the present entry to a State that has nothing at so late an index yet. */
static int append_entry(const sink *to, int level, taba_slevel_reader *r) {
    const taba_span_of_time *of_time = &levels_of_time[level];
    bool changes = r->index >= taba_floor_div(to->from, of_time->width)
        && r->index <= taba_floor_div(to->to, of_time->width);
    size_t position = to->state->levels[level].n;
    slice *x = taba_series_place(&to->state->levels[level], to->state->a, sizeof *x, r->index, &position);
    if (x == NULL)
        return TABA_ENOMEM;
    int status = taba_slevel_read(r, changes ? &x->dist : NULL, to->state->a);
    if (status == TABA_OK && !changes)
        x->raw = r->raw;
    x->count = r->entry;
    return status;
}

/* Add the present entry to the window of its level, if it is in it. */
static int add_to_window(const sink *to, int level, taba_slevel_reader *r) {
    int64_t at = r->index - taba_window_first(&levels_of_time[level], to->second);
    taba_dist *window = &to->windows[level], more;
    if (at < 0 || at >= levels_of_time[level].number)
        return taba_slevel_read(r, NULL, NULL);
    if (taba_dist_count(window) == 0)
        return taba_slevel_read(r, window, to->a);
    taba_dist_init(&more);
    int status = taba_slevel_read(r, &more, to->a);
    if (status == TABA_OK)
        status = taba_dist_merge(window, to->a, &more);
    taba_dist_release(&more, to->a);
    return status;
}

static int sink_entry(const sink *to, int level, taba_slevel_reader *r, bool first, size_t *hint) {
    if (to->windows != NULL)
        return add_to_window(to, level, r);
    if (to->state != NULL && first)
        return append_entry(to, level, r);
    int status = taba_slevel_read(r, NULL, NULL);
    if (status == TABA_OK && to->state != NULL)
        status = level_add(to->state, level, r->index, r->raw, r->entry, hint);
    ++*hint;
    return status;
}

/* Read one level. *newest is got from the 15 s level, and limits what the others may hold. */
static int read_level(taba_cursor *c, int level, int64_t *newest, const sink *to) {
    taba_slevel_reader r;
    size_t hint = 0;
    bool first = to->state != NULL && to->state->levels[level].n == 0; /* nothing to merge with */
    int status = taba_slevel_open(&r, c, levels_of_time[level].width);
    while (status == TABA_OK && r.left > 0) {
        status = taba_slevel_next(&r);
        if (status == TABA_OK)
            status = sink_entry(to, level, &r, first, &hint);
    }
    if (status != TABA_OK)
        return status;
    if (level == 0)
        *newest = r.index * r.width;
    bool whole = r.n != 0 && r.first >= taba_oldest_kept(&levels_of_time[level], *newest)
        && r.index == taba_floor_div(*newest, levels_of_time[level].width);
    return whole ? TABA_OK : TABA_ECORRUPT;
}

/* Read a State, which may be empty; *newest gets the start of its newest 15 s if it is not. */
static int read_state_to(taba_blob state, const sink *to, int64_t *newest) {
    taba_cursor c;
    if (state.length == 0)
        return TABA_OK;
    int status = taba_open(state, TABA_PERCENTILE_GROUP, &c);
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++)
        status = read_level(&c, i, newest, to);
    return status == TABA_OK ? taba_at_end(&c) : status;
}

static int read_state(taba_blob state, const sink *to) {
    int64_t newest;
    return read_state_to(state, to, &newest);
}

int taba_percentile_group_check(taba_blob state) {
    const sink nowhere = {NULL, 0, 0, NULL, NULL, 0};
    return read_state(state, &nowhere);
}

int taba_percentile_group_newest(taba_blob state, double *newest) {
    const sink nowhere = {NULL, 0, 0, NULL, NULL, 0};
    int64_t second = 0;
    int status = read_state_to(state, &nowhere, &second);
    if (status == TABA_OK)
        *newest = (double)second;
    return status;
}

/* ---------------------------------------------------------------------------------------------- reading a Partial */

/* The entries of Partials, in the order in which they are to be merged. */
typedef struct entry {
    int64_t second; /* the start of its 15 s */
    taba_blob raw;
    uint64_t count;
} entry;

typedef struct entries {
    void *list; /* of entry */
    size_t n, room;
} entries;

static int entry_note(entries *all, const taba_allocator *a, const taba_slevel_reader *r) {
    const entry found = {r->index * r->width, r->raw, r->entry};
    int status = taba_array_reserve(a, &all->list, &all->room, all->n + 1, sizeof found, 4);
    if (status == TABA_OK)
        ((entry *)all->list)[all->n++] = found;
    return status;
}

/* Read a Partial; note its entries in `all` if that is not NULL. */
static int read_partial(taba_blob partial, entries *all, const taba_allocator *a, taba_partial_facts *facts) {
    taba_cursor c;
    taba_slevel_reader r;
    int status = taba_open(partial, TABA_PARTIAL | TABA_PERCENTILE_GROUP, &c);
    if (status == TABA_OK)
        status = taba_slevel_open(&r, &c, levels_of_time[0].width);
    while (status == TABA_OK && r.left > 0) {
        status = taba_slevel_next(&r);
        if (status == TABA_OK)
            status = taba_slevel_read(&r, NULL, NULL);
        if (status == TABA_OK && all != NULL)
            status = entry_note(all, a, &r);
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

int taba_percentile_group_facts(taba_blob partial, taba_partial_facts *out) {
    return read_partial(partial, NULL, NULL, out);
}

/* Merge the entries into the bucket of each level that holds their start, unless that is too old: all is read by
 * now, so what would be dropped in the end need not be put in. `newest` is the start of the newest entry. */
static int add_entries(percentile_state *s, const entries *all, int64_t newest) {
    const entry *list = all->list;
    const taba_series *finest = &s->levels[0];
    if (finest->n != 0 && slice_at(finest, finest->n - 1)->index * levels_of_time[0].width > newest)
        newest = slice_at(finest, finest->n - 1)->index * levels_of_time[0].width;
    for (int level = 0; level < TABA_WINDOWS; level++) {
        int64_t oldest = taba_oldest_kept(&levels_of_time[level], newest);
        size_t hint = 0;
        for (size_t i = 0; i < all->n; i++) {
            int64_t index = taba_floor_div(list[i].second, levels_of_time[level].width);
            int status = index < oldest ? TABA_OK : level_add(s, level, index, list[i].raw, list[i].count, &hint);
            if (status != TABA_OK)
                return status;
        }
    }
    return TABA_OK;
}

/* ---------------------------------------------------------------------------------------------- fold and reduce */

/* Note what the Partials hold, and in *to between which seconds it lies. */
static int read_partials(const taba_blob *partials, size_t n, entries *all, const taba_allocator *a, sink *to) {
    taba_partial_facts facts;
    for (size_t i = 0; i < n; i++) {
        int status = read_partial(partials[i], all, a, &facts);
        if (status != TABA_OK)
            return status;
    }
    const entry *list = all->list;
    for (size_t i = 0; i < all->n; i++) {
        to->from = i == 0 || list[i].second < to->from ? list[i].second : to->from;
        to->to = i == 0 || list[i].second > to->to ? list[i].second : to->to;
    }
    return TABA_OK;
}

int taba_percentile_group_fold(taba_blob state, const taba_blob *partials, size_t n, taba_buffer *out) {
    percentile_state s;
    entries all = {NULL, 0, 0};
    state_init(&s, taba_buffer_allocator(out));
    sink into = {&s, 1, 0, NULL, NULL, 0}; /* nothing changes, so far */
    int status = read_partials(partials, n, &all, s.a, &into);
    if (status == TABA_OK)
        status = read_state(state, &into);
    if (status == TABA_OK)
        status = add_entries(&s, &all, into.to);
    state_prune(&s);
    if (status == TABA_OK)
        status = state_encode(&s, out);
    taba_release(s.a, all.list, all.room * sizeof(entry));
    state_release(&s);
    return status;
}

int taba_percentile_group_reduce(const taba_blob *states, size_t n, taba_buffer *out) {
    percentile_state s;
    state_init(&s, taba_buffer_allocator(out));
    const sink into = {&s, 1, 0, NULL, NULL, 0};
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

/* ---------------------------------------------------------------------------------------------- summary */

/* Write what the windows hold; q has been checked, so nothing can fail halfway. */
static void write_windows(const taba_dist *windows, taba_sketch_summary *out, const double *q, size_t n,
                          double *values) {
    for (size_t i = 0; i < TABA_WINDOWS; i++) {
        taba_dist_summary(&windows[i], &out[i]);
        (void)taba_dist_quantiles(&windows[i], q, n, values + i * n);
    }
}

int taba_percentile_group_summary(taba_blob state, double time, taba_sketch_summary *out,
                                  const double *q, size_t n, double *values, taba_buffer *workspace) {
    const taba_allocator *a = taba_buffer_allocator(workspace);
    taba_dist windows[TABA_WINDOWS];
    for (size_t i = 0; i < n; i++)
        if (!(q[i] >= 0 && q[i] <= 1))
            return TABA_EDOMAIN;
    if (!taba_time_is_valid(time))
        return TABA_EDOMAIN;
    for (int i = 0; i < TABA_WINDOWS; i++)
        taba_dist_init(&windows[i]);
    const sink into = {NULL, 0, 0, windows, a, taba_floor(time)};
    int status = read_state(state, &into);
    if (status == TABA_OK)
        write_windows(windows, out, q, n, values);
    for (int i = 0; i < TABA_WINDOWS; i++)
        taba_dist_release(&windows[i], a);
    return status;
}
