/* counter_group.c - the Type CounterGroup: counts and totals over four windows, and a sketch of all time.
 *
 *     State   = 01 01 sketch level(1 s) level(10 s) level(30 s) level(900 s)
 *     Partial = 81 01 uvarint n, n times (minute, sketch), level(1 s)
 *
 * A State is decoded once, changed by any number of Partials or States, and encoded once. What is read is used at once,
 * while it is being checked: on a fault the half-changed copy is dropped. What a State keeps follows from its newest
 * second alone, and that only grows, so that a bucket dropped early would have been dropped late as well: fold and
 * reduce come to the same in any order and grouping.
 */
#include "dist.h"
#include "level.h"
#include "number.h"
#include "slevel.h"
#include "types.h"
#include "window.h"

static const taba_span_of_time levels_of_time[TABA_WINDOWS] = {{1, 60}, {10, 60}, {30, 120}, {900, 96}};

#define MOST_BUCKETS 120 /* of a window */

/* ---------------------------------------------------------------------------------------------- a State in memory */

typedef struct counter_state {
    const taba_allocator *a;
    taba_dist all;
    taba_series levels[TABA_WINDOWS]; /* of taba_kept_bucket */
} counter_state;

static void state_init(counter_state *s, const taba_allocator *a) {
    s->a = a;
    taba_dist_init(&s->all);
    for (int i = 0; i < TABA_WINDOWS; i++)
        taba_series_init(&s->levels[i]);
}

static void state_release(counter_state *s) {
    taba_dist_release(&s->all, s->a);
    for (int i = 0; i < TABA_WINDOWS; i++)
        taba_series_release(&s->levels[i], s->a, sizeof(taba_kept_bucket));
}

/* Add to a bucket of a level; *hint is where it is thought to be, and gets where it is. */
static int level_add(counter_state *s, int level, const taba_bucket *more, size_t *hint) {
    taba_series *buckets = &s->levels[level];
    uint32_t before = buckets->n;
    taba_kept_bucket *kept = taba_series_place(buckets, s->a, sizeof *kept, more->index, hint);
    if (kept == NULL)
        return TABA_ENOMEM;
    kept->bucket.count += more->count;
    kept->bucket.total = taba_sum(kept->bucket.total, more->total);
    kept->raw.bytes = NULL;
    if (buckets->n != before && *hint + 1 < buckets->n)
        kept[1].raw.bytes = NULL; /* its distance to the one before has changed */
    return TABA_OK;
}

/* Add a bucket, later than all so far, that is written as it was read. The room is there. */
static void level_append(counter_state *s, int level, const taba_level_reader *r) {
    const taba_kept_bucket kept = {r->bucket, r->raw};
    ((taba_kept_bucket *)s->levels[level].records)[s->levels[level].n++] = kept;
}

/* Drop what is too old for the newest second of all. */
static void state_prune(counter_state *s) {
    const taba_series *seconds = &s->levels[0];
    if (seconds->n == 0)
        return;
    int64_t newest = taba_series_index(seconds, sizeof(taba_kept_bucket), seconds->n - 1);
    for (int i = 0; i < TABA_WINDOWS; i++) {
        taba_series *level = &s->levels[i];
        int64_t oldest = taba_oldest_kept(&levels_of_time[i], newest);
        size_t n = taba_series_seek(level, sizeof(taba_kept_bucket), oldest, 0);
        taba_series_drop(level, sizeof(taba_kept_bucket), n);
        if (n != 0)
            ((taba_kept_bucket *)level->records)->raw.bytes = NULL; /* it is the first now, so not far from any */
    }
}

static int state_encode(const counter_state *s, taba_buffer *out) {
    if (taba_dist_count(&s->all) == 0)
        return TABA_OK; /* the empty State has no bytes */
    int status = taba_put_front(out, TABA_COUNTER_GROUP);
    if (status == TABA_OK)
        status = taba_dist_encode(&s->all, out);
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++)
        status = taba_level_encode_kept(&s->levels[i], out);
    return status;
}

/* Add the distribution that `c` or the entry of `r` (if not NULL) is at to that of all time. */
static int state_add_dist(counter_state *s, taba_cursor *c, taba_slevel_reader *r) {
    taba_dist more;
    uint64_t count;
    bool direct = taba_dist_count(&s->all) == 0; /* then no merge is needed */
    taba_dist_init(&more);
    taba_dist *into = direct ? &s->all : &more;
    int status = r != NULL ? taba_slevel_read(r, into, s->a) : taba_dist_read(c, into, s->a, &count);
    if (status == TABA_OK && !direct)
        status = taba_dist_merge(&s->all, s->a, &more);
    taba_dist_release(&more, s->a);
    return status;
}

/* ---------------------------------------------------------------------------------------------- reading a State */

/* What becomes of the buckets of a State being read; what is NULL is left out. */
typedef struct sink {
    counter_state *state;   /* they are added to it, */
    taba_window *windows;   /* or to the windows at `second`, */
    taba_window *buckets;   /* or put at their places in the window of `level` at `second` */
    int level;
    int64_t second;
} sink;

static int sink_bucket(const sink *to, int level, const taba_bucket *bucket, size_t *hint) {
    if (to->state != NULL) {
        int status = level_add(to->state, level, bucket, hint);
        ++*hint;
        return status;
    }
    int64_t at = bucket->index - taba_window_first(&levels_of_time[level], to->second);
    if (at < 0 || at >= levels_of_time[level].number)
        return TABA_OK;
    taba_window *window = to->windows != NULL ? &to->windows[level] : NULL;
    if (to->buckets != NULL && level == to->level)
        window = &to->buckets[at];
    if (window != NULL) {
        window->count += bucket->count;
        window->total = taba_sum(window->total, bucket->total);
    }
    return TABA_OK;
}

/* Read one level. *newest is got from the 1 s level, and limits what the others may hold; `events` is the sketch's
 * count. */
static int read_level(taba_cursor *c, int level, uint64_t events, int64_t *newest, const sink *to) {
    taba_level_reader r;
    size_t hint = 0;
    int status = taba_level_open(&r, c, levels_of_time[level].width);
    taba_series *held = to->state != NULL ? &to->state->levels[level] : NULL;
    bool first = held != NULL && held->n == 0; /* nothing to merge with */
    if (status == TABA_OK && first)
        status = taba_series_reserve(held, to->state->a, sizeof(taba_kept_bucket), (size_t)r.n + 4);
    while (status == TABA_OK && r.left > 0) {
        status = taba_level_next(&r);
        if (status == TABA_OK && first)
            level_append(to->state, level, &r);
        else if (status == TABA_OK)
            status = sink_bucket(to, level, &r.bucket, &hint);
    }
    if (status != TABA_OK)
        return status;
    if (level == 0)
        *newest = r.bucket.index;
    bool whole = r.n != 0 && r.count <= events && r.first >= taba_oldest_kept(&levels_of_time[level], *newest)
        && r.bucket.index == taba_floor_div(*newest, levels_of_time[level].width);
    return whole ? TABA_OK : TABA_ECORRUPT;
}

/* Read a State, which may be empty; *newest gets its newest second if it is not. Its distribution is added to that of
 * to->state, or else read into `all` if that is not NULL. */
static int read_state_to(taba_blob state, taba_dist *all, const taba_allocator *a, const sink *to, int64_t *newest) {
    taba_cursor c;
    if (state.length == 0)
        return TABA_OK;
    int status = taba_open(state, TABA_COUNTER_GROUP, &c);
    uint64_t events = 0;
    if (status == TABA_OK && to->state != NULL) {
        uint64_t before = taba_dist_count(&to->state->all);
        status = state_add_dist(to->state, &c, NULL);
        events = taba_dist_count(&to->state->all) - before;
    } else if (status == TABA_OK) {
        status = taba_dist_read(&c, all, a, &events);
    }
    if (status == TABA_OK && events == 0)
        return TABA_ECORRUPT; /* the empty State has no bytes */
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++)
        status = read_level(&c, i, events, newest, to);
    return status == TABA_OK ? taba_at_end(&c) : status;
}

static int read_state(taba_blob state, taba_dist *all, const taba_allocator *a, const sink *to) {
    int64_t newest;
    return read_state_to(state, all, a, to, &newest);
}

int taba_counter_group_check(taba_blob state) {
    const sink nowhere = {NULL, NULL, NULL, 0, 0};
    return read_state(state, NULL, NULL, &nowhere);
}

int taba_counter_group_newest(taba_blob state, double *newest) {
    const sink nowhere = {NULL, NULL, NULL, 0, 0};
    int64_t second = 0;
    int status = read_state_to(state, NULL, NULL, &nowhere, &second);
    if (status == TABA_OK)
        *newest = (double)second;
    return status;
}

/* ---------------------------------------------------------------------------------------------- reading a Partial */

/* Add a bucket of 1 s to the bucket of each level that holds its start. */
static int add_second(counter_state *s, const taba_bucket *second, size_t *hints) {
    for (int i = 0; i < TABA_WINDOWS; i++) {
        taba_bucket bucket = *second;
        bucket.index = taba_floor_div(second->index, levels_of_time[i].width);
        int status = level_add(s, i, &bucket, &hints[i]);
        if (status != TABA_OK)
            return status;
    }
    return TABA_OK;
}

/* Read a Partial; add it to `s` if that is not NULL. */
static int read_partial(taba_blob partial, counter_state *s, taba_partial_facts *facts) {
    taba_cursor c;
    taba_slevel_reader minutes;
    taba_level_reader seconds;
    size_t hints[TABA_WINDOWS] = {0, 0, 0, 0};
    int status = taba_open(partial, TABA_PARTIAL | TABA_COUNTER_GROUP, &c);
    if (status == TABA_OK)
        status = taba_slevel_open(&minutes, &c, 60);
    while (status == TABA_OK && minutes.left > 0) {
        status = taba_slevel_next(&minutes);
        if (status == TABA_OK)
            status = s != NULL ? state_add_dist(s, NULL, &minutes) : taba_slevel_read(&minutes, NULL, NULL);
    }
    if (status == TABA_OK)
        status = taba_level_open(&seconds, &c, 1);
    while (status == TABA_OK && seconds.left > 0) {
        status = taba_level_next(&seconds);
        if (status == TABA_OK && s != NULL)
            status = add_second(s, &seconds.bucket, hints);
    }
    if (status == TABA_OK)
        status = taba_at_end(&c);
    if (status != TABA_OK)
        return status;
    if (minutes.n == 0 || minutes.count != seconds.count)
        return TABA_ECORRUPT;
    facts->events = seconds.count;
    facts->newest = (double)seconds.bucket.index;
    return TABA_OK;
}

int taba_counter_group_facts(taba_blob partial, taba_partial_facts *out) { return read_partial(partial, NULL, out); }

/* ---------------------------------------------------------------------------------------------- fold and reduce */

int taba_counter_group_fold(taba_blob state, const taba_blob *partials, size_t n, taba_buffer *out) {
    counter_state s;
    taba_partial_facts facts;
    state_init(&s, taba_buffer_allocator(out));
    const sink into = {&s, NULL, NULL, 0, 0};
    int status = read_state(state, NULL, NULL, &into);
    for (size_t i = 0; i < n && status == TABA_OK; i++) {
        status = read_partial(partials[i], &s, &facts);
        state_prune(&s);
    }
    if (status == TABA_OK)
        status = state_encode(&s, out);
    state_release(&s);
    return status;
}

int taba_counter_group_reduce(const taba_blob *states, size_t n, taba_buffer *out) {
    counter_state s;
    state_init(&s, taba_buffer_allocator(out));
    const sink into = {&s, NULL, NULL, 0, 0};
    int status = TABA_OK;
    for (size_t i = 0; i < n && status == TABA_OK; i++) {
        status = read_state(states[i], NULL, NULL, &into);
        state_prune(&s);
    }
    if (status == TABA_OK)
        status = state_encode(&s, out);
    state_release(&s);
    return status;
}

/* ---------------------------------------------------------------------------------------------- summaries */

int taba_counter_group_summary(taba_blob state, double time, taba_window *out, taba_sketch_summary *all,
                               const double *q, size_t n, double *values, taba_buffer *workspace) {
    const taba_allocator *a = taba_buffer_allocator(workspace);
    taba_window windows[TABA_WINDOWS] = {{0, 0}, {0, 0}, {0, 0}, {0, 0}};
    taba_dist dist;
    if (!taba_time_is_valid(time))
        return TABA_EDOMAIN;
    const sink into = {NULL, windows, NULL, 0, taba_floor(time)};
    taba_dist_init(&dist);
    int status = read_state(state, &dist, a, &into);
    if (status == TABA_OK)
        status = taba_dist_quantiles(&dist, q, n, values);
    if (status == TABA_OK) {
        memcpy(out, windows, sizeof windows);
        taba_dist_summary(&dist, all);
    }
    taba_dist_release(&dist, a);
    return status;
}

int taba_counter_group_buckets(taba_blob state, double time, int level, int64_t *first, taba_window *out) {
    taba_window buckets[MOST_BUCKETS];
    if (!taba_time_is_valid(time) || level < 0 || level >= TABA_WINDOWS)
        return TABA_EDOMAIN;
    memset(buckets, 0, sizeof buckets);
    const taba_span_of_time *of_time = &levels_of_time[level];
    const sink into = {NULL, NULL, buckets, level, taba_floor(time)};
    int status = read_state(state, NULL, NULL, &into);
    if (status != TABA_OK)
        return status;
    memcpy(out, buckets, (size_t)of_time->number * sizeof *out);
    *first = taba_window_first(of_time, into.second) * of_time->width;
    return TABA_OK;
}
