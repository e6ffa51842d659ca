/* columns.c - the body of POST /v2/events (docs/reference/protocol-2.md), taken as it comes and put into a scratch.
 *
 *     u32 length | header, JSON | for each row of the header: count times, count values
 *
 * The header is put together until it is whole, and read at once. The numbers of a row go to their places in the columns
 * of the scratch as they come, checked by the piece: only a row in which a check has found something is looked through
 * event by event when it is whole. A row becomes a block of the scratch then; what is refused leaves no gap.
 *
 * Room is made for what the header declares only as far as AHEAD times what has come, so that a sender must send to
 * make memory be taken.
 */
#include "columns.h"

#include <float.h>
#include <math.h>

#define AHEAD 16
#define RANGED_FROM 4 /* of a block of fewer events the ranges are found as fast as they are kept */

/* ------------------------------------------------------------------------------------------- its life */

taba_columns *taba_columns_new(taba_scratch *scratch, size_t max_header, size_t max_rows, const taba_allocator *allocator) {
    taba_columns *p = taba_resize(allocator, NULL, 0, sizeof *p);
    if (p == NULL)
        return NULL;
    memset(p, 0, sizeof *p);
    p->custom = allocator != NULL;
    if (p->custom)
        p->allocator = *allocator;
    p->scratch = scratch;
    p->max_header = max_header;
    p->max_rows = max_rows;
    p->batch = -1;
    return p;
}

void taba_columns_free(taba_columns *p) {
    if (p == NULL)
        return;
    const taba_allocator copy = p->allocator, *a = p->custom ? &copy : NULL;
    taba_release(a, p, sizeof *p);
}

static taba_blob blob_of(const taba_columns *p, taba_slice slice) {
    const taba_blob blob = {slice.length > 0 ? p->scratch->payloads + slice.at : NULL, slice.length};
    return blob;
}

int taba_columns_facts_of(const taba_columns *p, taba_columns_facts *out) {
    if (p->place != TABA_AT_PAYLOAD)
        return TABA_EDOMAIN;
    out->client = blob_of(p, p->client);
    out->instance = blob_of(p, p->instance);
    out->batch = p->batch;
    out->unsent = blob_of(p, p->unsent);
    return TABA_OK;
}

/* ------------------------------------------------------------------------------------------- rows */

/* Why no event of a row can be taken, or -1. */
static int reason_of(const taba_columns *p, const taba_row *row) {
    return p->client_valid ? (int)row->reason : TABA_REFUSED_NAME;
}

/* Refuse the events of the present row that cannot be taken, and close the gaps; the number that is left. */
static size_t sift(taba_columns *p, const taba_row *row) {
    taba_scratch *s = p->scratch;
    double *times = s->times + s->numbers, *values = s->values + s->numbers;
    size_t kept = 0;
    for (size_t i = 0; i < row->count; i++) {
        int reason = taba_scratch_time_reason(s, times[i]);
        if (reason < 0 && !(values[i] >= -DBL_MAX && values[i] <= DBL_MAX))
            reason = TABA_REFUSED_VALUE;
        if (reason >= 0) {
            taba_scratch_refuse_events(s, reason, i, 1, row->name, row->name_length);
            continue;
        }
        times[kept] = times[i];
        values[kept++] = values[i];
    }
    return kept;
}

/* Go on to the next row that has events. */
static void next_row(taba_columns *p, size_t row) {
    const taba_scratch *s = p->scratch;
    const taba_ranges none = {INFINITY, -INFINITY, INFINITY, -INFINITY};
    while (row < s->row_count && s->rows[row].count == 0)
        row++;
    p->row = row;
    p->done = 0;
    p->odd = false;
    p->ranges = none;
}

/* Whether one of the present row's numbers cannot be taken. */
static bool is_odd(const taba_columns *p) {
    const taba_ranges *r = &p->ranges;
    const double newest = p->scratch->limits.newest;
    const bool sound = r->first >= 0 && r->last <= TABA_LAST_TIME && r->last <= newest && r->least >= -DBL_MAX && r->most <= DBL_MAX;
    return p->odd || !sound;
}

/* The `n` numbers of a row that is whole, and can be taken, become a block. */
static int take_row(taba_columns *p, const taba_row *row, size_t n) {
    taba_scratch *s = p->scratch;
    const size_t blocks = s->block_count;
    const int status = taba_scratch_begin(s, s->payloads + p->client.at, p->client.length, s->payloads + row->name,
                                          row->name_length, row->type);
    if (status != TABA_OK)
        return status;
    taba_scratch_take_numbers(s, n);
    return s->block_count > blocks && n >= RANGED_FROM && n == row->count ? taba_scratch_note_ranges(s, &p->ranges) : TABA_OK;
}

/* All numbers of the present row are there. */
static int end_row(taba_columns *p) {
    taba_scratch *s = p->scratch;
    const taba_row *row = &s->rows[p->row];
    const int reason = reason_of(p, row);
    if (reason >= 0) {
        taba_scratch_refuse_events(s, reason, 0, row->count, row->name, row->name_length);
        next_row(p, p->row + 1);
        return TABA_OK;
    }
    const size_t n = is_odd(p) ? sift(p, row) : (size_t)row->count;
    const int status = n > 0 ? take_row(p, row, n) : TABA_OK;
    if (status != TABA_OK)
        return status;
    p->due -= row->count;
    next_row(p, p->row + 1);
    return TABA_OK;
}

/* Let there be room for the first `n` events of the present row, and for what the next ones will probably be. */
static int make_room(taba_columns *p, size_t n) {
    taba_scratch *s = p->scratch;
    if (s->times_room - s->numbers >= n && s->values_room - s->numbers >= n)
        return TABA_OK;
    const uint64_t ahead = (uint64_t)n + (AHEAD - 1) * ((uint64_t)s->numbers + n);
    return taba_scratch_reserve_numbers(s, (size_t)(ahead < p->due ? ahead : p->due));
}

/* Take as many of `most` numbers at *at, 1 at least, as belong to one column of the present row. */
static int take_numbers(taba_columns *p, const uint8_t **at, size_t most) {
    taba_scratch *s = p->scratch;
    const taba_row *row = &s->rows[p->row];
    const bool values = p->done >= row->count;
    const uint64_t first = values ? p->done - row->count : p->done, left = row->count - first;
    const size_t n = most < left ? most : (size_t)left;
    if (reason_of(p, row) < 0) {
        const int status = make_room(p, (size_t)first + n);
        if (status != TABA_OK)
            return status;
        const size_t place = s->numbers + (size_t)first;
        taba_ranges *r = &p->ranges;
        p->odd |= values ? !taba_columns_fill(s->values + place, *at, n, &r->least, &r->most)
                         : !taba_columns_fill(s->times + place, *at, n, &r->first, &r->last);
    }
    *at += 8 * n;
    p->taken += 8 * n;
    p->done += n;
    return values && n == left ? end_row(p) : TABA_OK;
}

/* ------------------------------------------------------------------------------------------- the stream */

static int fail(taba_columns *p, const char *problem) {
    p->scratch->problem = problem;
    return TABA_ESYNTAX;
}

static int limit(taba_columns *p, const char *what) {
    p->scratch->problem = what;
    return TABA_ELIMIT;
}

/* Keep bytes of a number until `whole` are there; tells whether they are. */
static bool gather(taba_columns *p, const uint8_t **at, const uint8_t *end, size_t whole) {
    while (*at < end && p->pending_length < whole)
        p->pending[p->pending_length++] = *(*at)++;
    return p->pending_length == whole;
}

static int take_length(taba_columns *p, const uint8_t **at, const uint8_t *end) {
    const uint8_t *b = p->pending;
    if (!gather(p, at, end, 4))
        return TABA_OK;
    p->header_length = (size_t)b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
    p->pending_length = 0;
    p->taken = 4;
    p->place = TABA_AT_HEADER;
    if (p->header_length > p->max_header)
        return limit(p, "bytes of a frame's header");
    return TABA_OK;
}

/* The header, or what of it is there. */
static int take_header(taba_columns *p, const uint8_t **at, const uint8_t *end) {
    taba_scratch *s = p->scratch;
    const size_t left = p->header_length - s->payloads_used, there = (size_t)(end - *at);
    const size_t n = there < left ? there : left;
    int status = taba_scratch_add_text(s, *at, n);
    if (status != TABA_OK)
        return status;
    *at += n;
    p->taken += n;
    if (n < left)
        return TABA_OK;
    status = taba_columns_read_header(p);
    if (status != TABA_OK)
        return status;
    p->place = TABA_AT_PAYLOAD;
    next_row(p, 0);
    return TABA_OK;
}

static int take_payload(taba_columns *p, const uint8_t *at, const uint8_t *end) {
    const size_t rows = p->scratch->row_count;
    int status = TABA_OK;
    if (p->pending_length > 0 && gather(p, &at, end, 8)) {
        const uint8_t *number = p->pending;
        status = take_numbers(p, &number, 1);
        p->pending_length = 0;
    }
    while (status == TABA_OK && p->row < rows && end - at >= 8)
        status = take_numbers(p, &at, (size_t)(end - at) / 8);
    if (status == TABA_OK && at < end && p->row == rows)
        return fail(p, "bytes follow the payload that the header declares");
    if (status == TABA_OK)
        (void)gather(p, &at, end, 8);
    return status;
}

int taba_columns_feed(taba_columns *p, const uint8_t *bytes, size_t length) {
    const uint8_t *at = bytes, *end = bytes + length;
    int status = TABA_OK;
    if (p->status != TABA_OK || p->finished)
        return p->finished ? TABA_EDOMAIN : p->status;
    p->scratch->open = true;
    if (length == 0)
        return TABA_OK;
    if (p->place == TABA_AT_LENGTH)
        status = take_length(p, &at, end);
    if (status == TABA_OK && p->place == TABA_AT_HEADER)
        status = take_header(p, &at, end);
    if (status == TABA_OK && p->place == TABA_AT_PAYLOAD)
        status = take_payload(p, at, end);
    if (status == TABA_ELIMIT && p->scratch->problem == NULL)
        p->scratch->problem = "memory of one request";
    p->status = status;
    p->scratch->line = p->taken + p->pending_length;
    return status;
}

int taba_columns_finish(taba_columns *p) {
    if (p->status != TABA_OK || p->finished)
        return p->finished ? TABA_EDOMAIN : p->status;
    p->scratch->open = true;
    if (p->place == TABA_AT_LENGTH)
        p->status = fail(p, "the body ends within the length of the header");
    else if (p->place == TABA_AT_HEADER)
        p->status = fail(p, "the body ends within the header");
    else if (p->row < p->scratch->row_count)
        p->status = fail(p, "the body ends within the payload that the header declares");
    if (p->status != TABA_OK)
        return p->status;
    p->scratch->open = false;
    p->finished = true;
    return TABA_OK;
}
