/* gauge.c - the Type Gauge: the latest value of a client; of many clients all their values.
 *
 *     State   = 03 01 uvarint n, n entries in ascending order of (value, time, stamp)
 *     entry   = uvarint length, value, f64 time, uvarint stamp
 *     Partial = 83 01 uvarint events, f64 time, uvarint stamp, uvarint length, value
 *
 * Values are not looked into: their JSON was checked where they came in.
 */
#include "gauge.h"

#include "sort.h"
#include "types.h"

#define ENTRY_LEAST 10 /* bytes of an entry with an empty value */

int taba_blob_order(taba_blob x, taba_blob y) {
    size_t shared = x.length < y.length ? x.length : y.length;
    int order = shared != 0 ? memcmp(x.bytes, y.bytes, shared) : 0;
    return order != 0 ? order : (x.length > y.length) - (x.length < y.length);
}

static int age_order(const taba_gauge_entry *x, const taba_gauge_entry *y) {
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return (x->stamp > y->stamp) - (x->stamp < y->stamp);
}

int taba_entry_order(const taba_gauge_entry *x, const taba_gauge_entry *y) {
    int order = age_order(x, y);
    return order != 0 ? order : taba_blob_order(x->value, y->value);
}

/* The order of a State: by (value, time, stamp). */
static int state_order(const void *left, const void *right) {
    const taba_gauge_entry *x = left, *y = right;
    int order = taba_blob_order(x->value, y->value);
    return order != 0 ? order : age_order(x, y);
}

/* ---------------------------------------------------------------------------------------------- reading */

static int get_value(taba_cursor *c, taba_blob *out) {
    uint64_t length;
    int status = taba_get_uvarint(c, &length);
    if (status == TABA_OK)
        status = taba_get_bytes(c, length, &out->bytes);
    if (status == TABA_OK)
        out->length = (size_t)length;
    return status;
}

static int get_entry(taba_cursor *c, taba_gauge_entry *out) {
    int status = get_value(c, &out->value);
    if (status == TABA_OK)
        status = taba_get_f64(c, &out->time);
    if (status == TABA_OK)
        status = taba_get_uvarint(c, &out->stamp);
    return status;
}

/* Begin a State that is not empty: *n gets the number of its entries. */
static int open_state(taba_blob state, taba_cursor *c, uint64_t *n) {
    int status = taba_open(state, TABA_GAUGE, c);
    if (status == TABA_OK)
        status = taba_get_uvarint(c, n);
    if (status == TABA_OK && (*n == 0 || *n > taba_cursor_left(c) / ENTRY_LEAST))
        return TABA_ECORRUPT;
    return status;
}

/* Read a State that is not empty wholly; *n gets the number of its entries, which go to `out` if that is not NULL;
 * *newest the greatest of their times, if that is not NULL. */
static int read_state_to(taba_blob state, uint64_t *n, taba_gauge_entry *out, double *newest) {
    taba_cursor c;
    taba_gauge_entry entry, before = {0, 0, {NULL, 0}};
    int status = open_state(state, &c, n);
    for (uint64_t i = 0; status == TABA_OK && i < *n; i++, before = entry) {
        status = get_entry(&c, &entry);
        if (status != TABA_OK)
            return status;
        if (i > 0 && state_order(&before, &entry) > 0)
            return TABA_ECORRUPT;
        if (out != NULL)
            out[i] = entry;
        if (newest != NULL && (i == 0 || entry.time > *newest))
            *newest = entry.time;
    }
    return status == TABA_OK ? taba_at_end(&c) : status;
}

static int read_state(taba_blob state, uint64_t *n, taba_gauge_entry *out) {
    return read_state_to(state, n, out, NULL);
}

int taba_gauge_check(taba_blob state) {
    uint64_t n = 0;
    return read_state(state, &n, NULL);
}

int taba_gauge_newest(taba_blob state, double *newest) {
    uint64_t n = 0;
    double time = 0;
    int status = read_state_to(state, &n, NULL, &time);
    if (status == TABA_OK)
        *newest = time;
    return status;
}

static int read_partial(taba_blob partial, uint64_t *events, taba_gauge_entry *out) {
    taba_cursor c;
    int status = taba_open(partial, TABA_PARTIAL | TABA_GAUGE, &c);
    if (status == TABA_OK)
        status = taba_get_uvarint(&c, events);
    if (status == TABA_OK)
        status = taba_get_f64(&c, &out->time);
    if (status == TABA_OK)
        status = taba_get_uvarint(&c, &out->stamp);
    if (status == TABA_OK)
        status = get_value(&c, &out->value);
    if (status == TABA_OK && *events == 0)
        return TABA_ECORRUPT;
    return status == TABA_OK ? taba_at_end(&c) : status;
}

int taba_gauge_facts(taba_blob partial, taba_partial_facts *out) {
    taba_gauge_entry entry;
    int status = read_partial(partial, &out->events, &entry);
    if (status == TABA_OK)
        out->newest = entry.time;
    return status;
}

int taba_gauge_next(taba_blob state, size_t *offset, taba_gauge_entry *out) {
    taba_cursor c;
    taba_gauge_entry entry;
    uint64_t n;
    int status = TABA_OK;
    if (*offset > state.length)
        return TABA_EDOMAIN;
    if (*offset == state.length)
        return TABA_ELIMIT;
    if (*offset == 0) { /* the State is checked once, and then only what is read */
        status = taba_gauge_check(state);
        if (status == TABA_OK)
            status = open_state(state, &c, &n);
    } else {
        c = taba_cursor_of(state.bytes + *offset, state.length - *offset);
    }
    if (status == TABA_OK)
        status = get_entry(&c, &entry);
    if (status != TABA_OK)
        return status;
    *out = entry;
    *offset = (size_t)(c.at - state.bytes);
    return TABA_OK;
}

/* ---------------------------------------------------------------------------------------------- writing */

static int put_value(taba_buffer *out, taba_blob value) {
    int status = taba_put_uvarint(out, value.length);
    return status == TABA_OK ? taba_buffer_append(out, value.bytes, value.length) : status;
}

static int put_entry(taba_buffer *out, const taba_gauge_entry *entry) {
    int status = put_value(out, entry->value);
    if (status == TABA_OK)
        status = taba_put_f64(out, entry->time);
    return status == TABA_OK ? taba_put_uvarint(out, entry->stamp) : status;
}

static int put_state(taba_buffer *out, const taba_gauge_entry *entries, size_t n) {
    int status = taba_put_front(out, TABA_GAUGE);
    if (status == TABA_OK)
        status = taba_put_uvarint(out, n);
    for (size_t i = 0; i < n && status == TABA_OK; i++)
        status = put_entry(out, &entries[i]);
    return status;
}

int taba_gauge_put_partial(taba_buffer *out, uint64_t events, const taba_gauge_entry *latest) {
    int status = taba_put_front(out, TABA_PARTIAL | TABA_GAUGE);
    if (status == TABA_OK)
        status = taba_put_uvarint(out, events);
    if (status == TABA_OK)
        status = taba_put_f64(out, latest->time);
    if (status == TABA_OK)
        status = taba_put_uvarint(out, latest->stamp);
    return status == TABA_OK ? put_value(out, latest->value) : status;
}

/* ---------------------------------------------------------------------------------------------- fold and reduce */

int taba_gauge_fold(taba_blob state, const taba_blob *partials, size_t n, taba_buffer *out) {
    taba_gauge_entry latest = {0, 0, {NULL, 0}}, entry;
    uint64_t held = 0, events;
    int status = state.length != 0 ? read_state(state, &held, NULL) : TABA_OK;
    if (status == TABA_OK && held > 1)
        return TABA_EDOMAIN; /* the entries of several clients */
    if (status == TABA_OK && held == 1)
        status = read_state(state, &held, &latest);
    for (size_t i = 0; i < n && status == TABA_OK; i++) {
        status = read_partial(partials[i], &events, &entry);
        if (status == TABA_OK && (held == 0 || taba_entry_order(&entry, &latest) > 0))
            latest = entry;
        held = 1;
    }
    return status == TABA_OK && held != 0 ? put_state(out, &latest, 1) : status;
}

/* The number of entries of all States, each of which is checked. */
static int count_entries(const taba_blob *states, size_t n, size_t *total) {
    *total = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t more = 0;
        int status = states[i].length != 0 ? read_state(states[i], &more, NULL) : TABA_OK;
        if (status != TABA_OK)
            return status;
        if (!taba_size_plus(*total, (size_t)more, total))
            return TABA_ENOMEM;
    }
    return TABA_OK;
}

int taba_gauge_reduce(const taba_blob *states, size_t n, taba_buffer *out) {
    const taba_allocator *a = taba_buffer_allocator(out);
    size_t total, bytes, done = 0;
    int status = count_entries(states, n, &total);
    if (status != TABA_OK || total == 0)
        return status;
    if (!taba_size_times(total, sizeof(taba_gauge_entry), &bytes))
        return TABA_ENOMEM;
    taba_gauge_entry *entries = taba_resize(a, NULL, 0, bytes);
    if (entries == NULL)
        return TABA_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        uint64_t more = 0;
        if (states[i].length != 0)
            (void)read_state(states[i], &more, entries + done); /* checked before */
        done += (size_t)more;
    }
    taba_sort(entries, total, sizeof *entries, state_order);
    status = put_state(out, entries, total);
    taba_release(a, entries, bytes);
    return status;
}
