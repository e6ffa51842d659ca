/* partial.c - Partials in memory: what the events of one commit for one (tab, client, Type) are folded into.
 *
 *     CounterGroup      a distribution per minute, a bucket per second
 *     PercentileGroup   a distribution per 15 s
 *     UniqueGroup       a count and a set of hashes per 15 s
 *     Gauge             the latest event
 *     raw               the events, encoded one after another
 *
 * The hot path is taba_partial_fold. Its columns are cut into runs of one second, and of one minute, so that the
 * places of their buckets are looked up once a run; a run of values then goes through two tight loops. All memory
 * was asked for by the reserve before.
 */
#include <float.h>
#include <math.h>

#include "gauge.h"
#include "level.h"
#include "number.h"
#include "raw.h"
#include "slevel.h"
#include "types.h"
#include "ulevel.h"
#include "window.h"

#define MINUTE 60
#define FIFTEEN 15

/* Bytes that grow with raw events; `due` are reserved and not yet written. */
typedef struct log_of_events {
    void *bytes;
    size_t length, room, due;
} log_of_events;

/* The latest event of a Gauge: its payload is copied to `bytes`. */
typedef struct latest_event {
    double time;
    uint64_t stamp;
    void *bytes;
    size_t length, room;
} latest_event;

struct taba_partial {
    int type;
    uint64_t events;
    union {
        struct {
            taba_series dists;   /* of taba_slot: minutes, or 15 s */
            taba_series seconds; /* of taba_bucket; CounterGroup only */
        } numbers;
        taba_series uniques; /* of taba_uslot, 15 s */
        latest_event latest;
        log_of_events log;
    } of;
};

static bool has_numbers(const taba_partial *p) {
    return p->type == TABA_COUNTER_GROUP || p->type == TABA_PERCENTILE_GROUP;
}

taba_partial *taba_partial_new(int type, const taba_allocator *a) {
    if (!taba_kind_is_native(type))
        return NULL;
    taba_partial *p = taba_resize(a, NULL, 0, sizeof *p);
    if (p == NULL)
        return NULL;
    memset(p, 0, sizeof *p);
    p->type = type;
    return p;
}

void taba_partial_free(taba_partial *p, const taba_allocator *a) {
    if (p == NULL)
        return;
    if (has_numbers(p)) {
        taba_slevel_release(&p->of.numbers.dists, a);
        taba_series_release(&p->of.numbers.seconds, a, sizeof(taba_bucket));
    } else if (p->type == TABA_UNIQUE_GROUP) {
        taba_ulevel_release(&p->of.uniques, a);
    } else if (p->type == TABA_GAUGE) {
        taba_release(a, p->of.latest.bytes, p->of.latest.room);
    } else {
        taba_release(a, p->of.log.bytes, p->of.log.room);
    }
    taba_release(a, p, sizeof *p);
}

uint64_t taba_partial_events(const taba_partial *p) { return p->events; }

size_t taba_partial_memory(const taba_partial *p) {
    if (p->type == TABA_GAUGE)
        return sizeof *p + p->of.latest.room;
    if (p->type == TABA_RAW)
        return sizeof *p + p->of.log.room;
    if (p->type == TABA_UNIQUE_GROUP)
        return sizeof *p + taba_ulevel_memory(&p->of.uniques);
    const taba_series *dists = &p->of.numbers.dists, *seconds = &p->of.numbers.seconds;
    const taba_slot *slots = dists->records;
    size_t bytes = sizeof *p + taba_series_memory(seconds, sizeof(taba_bucket));
    bytes += taba_series_memory(dists, sizeof *slots);
    for (size_t i = 0; i < dists->n; i++)
        bytes += taba_dist_memory(&slots[i].dist);
    return bytes;
}

/* ---------------------------------------------------------------------------------------------- numbers */

static int64_t dist_width(const taba_partial *p) { return p->type == TABA_COUNTER_GROUP ? MINUTE : FIFTEEN; }

/* Whether all values are hashes: whole numbers from 0 to 2**53 - 1. */
static bool are_hashes(const double *values, size_t n) {
    bool valid = true;
    for (size_t i = 0; i < n && valid; i++)
        valid = values[i] >= 0 && values[i] < 9007199254740992.0 && values[i] == (double)(uint64_t)values[i];
    return valid;
}

static bool columns_are_valid(const double *times, const double *values, size_t n) {
    bool valid = true;
    for (size_t i = 0; i < n; i++) /* without a branch per event */
        valid &= (fabs(values[i]) <= DBL_MAX) & (fabs(times[i]) <= (double)TABA_SECONDS_MAX);
    return valid;
}

/* The slot of a run; it is there. */
static taba_slot *slot_of(const taba_partial *p, int64_t index, size_t *hint) {
    *hint = taba_series_seek(&p->of.numbers.dists, sizeof(taba_slot), index, *hint);
    return taba_series_at(&p->of.numbers.dists, sizeof(taba_slot), *hint);
}

int taba_partial_reserve(taba_partial *p, const taba_allocator *a, const double *times, const double *values,
                         size_t n) {
    if (!taba_kind_has_columns(p->type))
        return TABA_ETYPE;
    if (!columns_are_valid(times, values, n) || (p->type == TABA_UNIQUE_GROUP && !are_hashes(values, n)))
        return TABA_EDOMAIN;
    if (n == 0)
        return TABA_OK;
    const taba_ranges ranges = taba_ranges_of(times, values, n);
    return taba_partial_reserve_within(p, a, times, values, n, &ranges);
}

static int reserve_uniques(taba_series *slots, const taba_allocator *a, const double *times, const double *values, size_t n) {
    int64_t index;
    size_t hint = 0;
    int status = taba_series_cover(slots, a, sizeof(taba_uslot), times, n, FIFTEEN);
    for (size_t i = 0, run; i < n && status == TABA_OK; i += run) {
        run = taba_run(times + i, n - i, FIFTEEN, &index);
        hint = taba_series_seek(slots, sizeof(taba_uslot), index, hint);
        taba_uslot *slot = taba_series_at(slots, sizeof *slot, hint);
        status = taba_hll_reserve(&slot->set, a, values + i, run);
    }
    return status;
}

static void fold_uniques(taba_series *slots, const double *times, const double *values, size_t n) {
    int64_t index;
    size_t hint = 0;
    for (size_t i = 0, run; i < n; i += run) {
        run = taba_run(times + i, n - i, FIFTEEN, &index);
        hint = taba_series_seek(slots, sizeof(taba_uslot), index, hint);
        taba_uslot *slot = taba_series_at(slots, sizeof *slot, hint);
        taba_hll_add(&slot->set, values + i, run);
        slot->count += run;
    }
}

/* How far times reach: the seconds that the first and the last one lie in. */
typedef struct reach {
    int64_t first, last;
} reach;

static reach reach_of(const taba_ranges *ranges) {
    const reach r = {taba_floor(ranges->first), taba_floor(ranges->last)};
    return r;
}

/* Whether all of it lies in one bucket of `width` seconds; *index gets that. */
static bool is_in_one(reach r, int64_t width, int64_t *index) {
    *index = taba_floor_div(r.first, width);
    return r.last < (*index + 1) * width;
}

/* Let there be buckets for all seconds of the times, and slots of `width` seconds. */
static int cover(taba_partial *p, const taba_allocator *a, const double *times, size_t n, reach r, int64_t width) {
    taba_series *seconds = &p->of.numbers.seconds, *dists = &p->of.numbers.dists;
    size_t hint = seconds->n;
    int64_t index;
    int status = TABA_OK;
    if (p->type == TABA_COUNTER_GROUP && r.last - r.first > 1) {
        status = taba_series_cover(seconds, a, sizeof(taba_bucket), times, n, 1);
    } else if (p->type == TABA_COUNTER_GROUP) {
        for (int64_t second = r.first; second <= r.last && status == TABA_OK; second++)
            status = taba_series_place(seconds, a, sizeof(taba_bucket), second, &hint) != NULL ? TABA_OK : TABA_ENOMEM;
    }
    if (status != TABA_OK)
        return status;
    if (!is_in_one(r, width, &index))
        return taba_series_cover(dists, a, sizeof(taba_slot), times, n, width);
    hint = dists->n;
    return taba_series_place(dists, a, sizeof(taba_slot), index, &hint) != NULL ? TABA_OK : TABA_ENOMEM;
}

int taba_partial_reserve_within(taba_partial *p, const taba_allocator *a, const double *times, const double *values,
                                size_t n, const taba_ranges *ranges) {
    if (p->type == TABA_UNIQUE_GROUP)
        return reserve_uniques(&p->of.uniques, a, times, values, n);
    const int64_t width = dist_width(p);
    const reach r = reach_of(ranges);
    int64_t index;
    size_t hint = 0;
    int status = cover(p, a, times, n, r, width);
    const bool in_one = is_in_one(r, width, &index);
    for (size_t i = 0, run; i < n && status == TABA_OK; i += run) {
        run = in_one ? n : taba_run(times + i, n - i, width, &index);
        const taba_extent x = in_one ? taba_extent_within(values, n, ranges->least, ranges->most) : taba_extent_of(values + i, run);
        status = taba_dist_reserve(&slot_of(p, index, &hint)->dist, a, &x);
    }
    return status;
}

/* Add to the bucket of a second; it is there. */
static void add_second(taba_series *seconds, int64_t second, size_t *hint, const double *values, size_t n) {
    *hint = taba_series_seek(seconds, sizeof(taba_bucket), second, *hint);
    taba_bucket *bucket = taba_series_at(seconds, sizeof *bucket, *hint);
    bucket->total = taba_sum_on(bucket->total, values, n);
    bucket->count += n;
}

static void fold_seconds(taba_series *seconds, const double *times, const double *values, size_t n) {
    size_t hint = 0;
    int64_t index;
    for (size_t i = 0, run; i < n; i += run) {
        run = taba_run(times + i, n - i, 1, &index);
        add_second(seconds, index, &hint, values + i, run);
    }
}

/* The events of a CounterGroup that lie in one second, or in two, and in one minute: both sums, and the distribution, are
 * made side by side. */
static void fold_two_seconds(taba_partial *p, const double *times, const double *values, size_t n, reach r, taba_dist *dist,
                             const taba_ranges *ranges) {
    taba_series *seconds = &p->of.numbers.seconds;
    taba_bucket *bucket = taba_series_at(seconds, sizeof *bucket, taba_series_seek(seconds, sizeof *bucket, r.first, 0));
    const bool two = r.last != r.first;
    taba_two_sums sums = {times, two ? (double)r.last : INFINITY, {bucket[0].total, two ? bucket[1].total : 0}, 0};
    taba_dist_add(dist, values, n, ranges->least, ranges->most, &sums);
    if (!(fabs(sums.total[0]) <= DBL_MAX && fabs(sums.total[1]) <= DBL_MAX)) {
        fold_seconds(seconds, times, values, n);
        return;
    }
    bucket[0].total = sums.total[0];
    bucket[0].count += n - sums.later;
    if (two) {
        bucket[1].total = sums.total[1];
        bucket[1].count += sums.later;
    }
}

/* The events of a CounterGroup or PercentileGroup from one bucket of its distributions. */
static void fold_dist(taba_dist *dist, const double *values, size_t n) {
    double least, most;
    taba_range_of(values, n, &least, &most);
    taba_dist_add(dist, values, n, least, most, NULL);
}

void taba_partial_fold_within(taba_partial *p, const double *times, const double *values, size_t n, const taba_ranges *ranges) {
    const int64_t width = dist_width(p);
    int64_t index;
    size_t hint = 0;
    p->events += n;
    if (p->type == TABA_UNIQUE_GROUP) {
        fold_uniques(&p->of.uniques, times, values, n);
        return;
    }
    const reach r = reach_of(ranges);
    const bool in_one = is_in_one(r, width, &index), counter = p->type == TABA_COUNTER_GROUP;
    if (in_one && counter && r.last - r.first <= 1) {
        fold_two_seconds(p, times, values, n, r, &slot_of(p, index, &hint)->dist, ranges);
        return;
    }
    if (counter)
        fold_seconds(&p->of.numbers.seconds, times, values, n);
    if (in_one) {
        taba_dist_add(&slot_of(p, index, &hint)->dist, values, n, ranges->least, ranges->most, NULL);
        return;
    }
    for (size_t i = 0, run; i < n; i += run) {
        run = taba_run(times + i, n - i, width, &index);
        fold_dist(&slot_of(p, index, &hint)->dist, values + i, run);
    }
}

void taba_partial_fold(taba_partial *p, const double *times, const double *values, size_t n) {
    if (n == 0)
        return;
    const taba_ranges ranges = taba_ranges_of(times, values, n);
    taba_partial_fold_within(p, times, values, n, &ranges);
}

/* ---------------------------------------------------------------------------------------------- JSON */

static int reserve_log(log_of_events *log, const taba_allocator *a, size_t events, size_t payload_bytes) {
    size_t more, need;
    if (!taba_size_times(events, TABA_RAW_EVENT_MAX, &more) || !taba_size_plus(more, payload_bytes, &more)
        || !taba_size_plus(more, log->due, &more) || !taba_size_plus(log->length, more, &need))
        return TABA_ENOMEM;
    int status = taba_array_reserve(a, &log->bytes, &log->room, need, 1, 32);
    if (status == TABA_OK)
        log->due = more;
    return status;
}

int taba_partial_reserve_json(taba_partial *p, const taba_allocator *a, size_t events, size_t payload_bytes) {
    if (p->type == TABA_RAW)
        return reserve_log(&p->of.log, a, events, payload_bytes);
    if (p->type == TABA_GAUGE)
        return taba_array_reserve(a, &p->of.latest.bytes, &p->of.latest.room, payload_bytes, 1, 8);
    return TABA_ETYPE;
}

static void fold_raw(log_of_events *log, const taba_gauge_entry *event) {
    uint8_t *start = log->bytes;
    size_t used = TABA_RAW_EVENT_MAX + event->value.length;
    log->length = (size_t)(taba_raw_store_event(start + log->length, event) - start);
    log->due = log->due > used ? log->due - used : 0;
}

static taba_gauge_entry latest_of(const taba_partial *p) {
    const latest_event *latest = &p->of.latest;
    taba_gauge_entry entry = {latest->time, latest->stamp, {latest->bytes, latest->length}};
    return entry;
}

static void fold_gauge(taba_partial *p, const taba_gauge_entry *event) {
    taba_gauge_entry held = latest_of(p);
    latest_event *latest = &p->of.latest;
    if (p->events != 0 && taba_entry_order(event, &held) <= 0)
        return;
    latest->time = event->time;
    latest->stamp = event->stamp;
    latest->length = event->value.length;
    if (latest->length != 0)
        memcpy(latest->bytes, event->value.bytes, latest->length);
}

void taba_partial_fold_json(taba_partial *p, double time, uint64_t stamp, const uint8_t *payload, size_t length) {
    const taba_gauge_entry event = {time + 0.0, stamp, {payload, length}}; /* -0.0 becomes 0.0 */
    if (p->type == TABA_GAUGE)
        fold_gauge(p, &event);
    else
        fold_raw(&p->of.log, &event);
    p->events++;
}

/* ---------------------------------------------------------------------------------------------- encoding */

static int encode_numbers(const taba_partial *p, taba_buffer *out) {
    int status = taba_put_front(out, (uint8_t)(TABA_PARTIAL | p->type));
    if (status == TABA_OK)
        status = taba_slevel_encode(&p->of.numbers.dists, out);
    if (status == TABA_OK && p->type == TABA_COUNTER_GROUP)
        status = taba_level_encode(&p->of.numbers.seconds, out);
    return status;
}

static int encode(const taba_partial *p, taba_buffer *out) {
    if (has_numbers(p))
        return encode_numbers(p, out);
    if (p->type == TABA_UNIQUE_GROUP) {
        const int status = taba_put_front(out, TABA_PARTIAL | TABA_UNIQUE_GROUP);
        return status == TABA_OK ? taba_ulevel_encode(&p->of.uniques, out) : status;
    }
    if (p->type == TABA_GAUGE) {
        taba_gauge_entry latest = latest_of(p);
        return taba_gauge_put_partial(out, p->events, &latest);
    }
    const taba_blob events = {p->of.log.bytes, p->of.log.length};
    return taba_raw_put_partial(out, p->events, events);
}

int taba_partial_encode(const taba_partial *p, taba_buffer *out) {
    size_t before = taba_buffer_length(out);
    if (p->events == 0)
        return TABA_EDOMAIN;
    int status = encode(p, out);
    if (status != TABA_OK)
        taba_buffer_truncate(out, before);
    return status;
}
