/* columns_header.c - the header of a frame of columns: one JSON object, read in place; see columns.h.
 *
 *     {"client": ID, "instance": HEX, "batch": N, "tabs": [[NAME, TYPE, COUNT], ...],
 *      "structured": [[NAME, TYPE, [[TIME, VALUE], ...]], ...], "unsent": {...}}
 *
 * The members come in any order. Rows of `tabs` are read as they stand; `structured`, whose events need the client, is
 * passed over first and read at the end. Strings are decoded where they stand: the header is this reader's own copy.
 * Wrong JSON, or a member or row of another form, refuses the whole frame, since nobody could tell then what the payload
 * is. An event in `structured` that cannot be taken is refused alone.
 */
#include "columns.h"

#include "decimal.h"
#include "event_v1.h"
#include "json.h"
#include "names.h"
#include "utf8.h"

/* The header while it is read. */
typedef struct header {
    taba_columns *p;
    taba_scratch *s;
    const uint8_t *at, *end;
    unsigned seen;         /* bit i: member i has come */
    taba_slice structured; /* the array */
} header;

static const char *const MEMBERS[] = {"client", "instance", "batch", "tabs", "structured", "unsent"};

enum { CLIENT, INSTANCE, BATCH, TABS, STRUCTURED, UNSENT, MEMBER_COUNT };

/* ------------------------------------------------------------------------------------------- pieces */

static int fail_at(header *h, uint64_t place, const char *problem) {
    h->s->problem = problem;
    h->p->taken = place;
    return TABA_ESYNTAX;
}

static int fail(header *h, const char *problem) {
    return fail_at(h, 4 + (uint64_t)(h->at - h->s->payloads), problem);
}

/* What comes next but for white space, or 0 at the end. */
static uint8_t next(header *h) {
    h->at = taba_json_skip(h->at, h->end);
    return h->at < h->end ? *h->at : 0;
}

static int expect(header *h, uint8_t c, const char *problem) {
    if (next(h) != c)
        return fail(h, problem);
    h->at++;
    return TABA_OK;
}

/* Read a string and decode it in place. */
static int read_string(header *h, taba_slice *out, const char *problem) {
    taba_json_string string;
    const uint8_t *after = next(h) == '"' ? taba_json_read_string(h->at, h->end, &string) : NULL;
    if (after == NULL)
        return fail(h, problem);
    out->at = (size_t)(string.at - h->s->payloads);
    out->length = string.length;
    if (string.escaped)
        out->length = taba_json_unescape(h->s->payloads + out->at, string.at, string.length, false);
    h->at = after;
    return TABA_OK;
}

/* Read a whole number from 0 to TABA_WHOLE_MAX, without a point or an exponent. */
static int read_whole(header *h, uint64_t *out, const char *problem) {
    uint64_t value = 0;
    (void)next(h);
    const uint8_t *at = h->at;
    while (at < h->end && *at >= '0' && *at <= '9' && at - h->at < 17)
        value = value * 10 + (uint64_t)(*at++ - '0');
    const bool more = at < h->end && ((*at >= '0' && *at <= '9') || *at == '.' || *at == 'e' || *at == 'E');
    if (at == h->at || more || (*h->at == '0' && at - h->at > 1) || value > (uint64_t)TABA_WHOLE_MAX)
        return fail(h, problem);
    *out = value;
    h->at = at;
    return TABA_OK;
}

/* Pass over a value of any form; `out` gets where it stands. */
static int pass(header *h, taba_slice *out) {
    (void)next(h);
    const uint8_t *after = h->at < h->end ? taba_json_pass(h->at, h->end) : NULL;
    if (after == NULL)
        return fail(h, "the header is not JSON here, or nested too deep");
    out->at = (size_t)(h->at - h->s->payloads);
    out->length = (size_t)(after - h->at);
    h->at = after;
    return TABA_OK;
}

/* Read the elements of an array, each by `element`. */
static int read_array(header *h, int (*element)(header *), const char *problem) {
    int status = expect(h, '[', problem);
    if (status == TABA_OK && next(h) == ']') {
        h->at++;
        return TABA_OK;
    }
    while (status == TABA_OK) {
        status = element(h);
        if (status == TABA_OK && next(h) == ']') {
            h->at++;
            return TABA_OK;
        }
        if (status == TABA_OK)
            status = expect(h, ',', "a comma or the end of the array is due here");
    }
    return status;
}

/* ------------------------------------------------------------------------------------------- rows */

#define BAD_ROW "a row of tabs must be [name, Type, count]"
#define BAD_STRUCTURED "a row of structured must be [name, Type, [[time, value], ...]]"

/* Read a row as far as the comma behind its Type: its tab's name, the number of its Type, or -1. */
static int read_names(header *h, taba_slice *name, ptrdiff_t *type, const char *problem) {
    taba_slice type_name;
    int status = expect(h, '[', problem);
    if (status == TABA_OK)
        status = read_string(h, name, problem);
    if (status == TABA_OK)
        status = expect(h, ',', problem);
    if (status == TABA_OK)
        status = read_string(h, &type_name, problem);
    if (status == TABA_OK)
        status = expect(h, ',', problem);
    if (status == TABA_OK)
        *type = taba_scratch_find_type(h->s, h->s->payloads + type_name.at, type_name.length);
    return status;
}

static bool is_name(const header *h, taba_slice name) {
    const size_t max = h->s->limits.max_name < TABA_NAME_MAX ? h->s->limits.max_name : TABA_NAME_MAX;
    return taba_name_valid(h->s->payloads + name.at, name.length, max);
}

static int read_row(header *h) {
    taba_slice name = {0, 0};
    ptrdiff_t type = -1;
    taba_row row = {0, 0, -1, 0, 0};
    int status = read_names(h, &name, &type, BAD_ROW);
    if (status == TABA_OK)
        status = read_whole(h, &row.count, "the count of a row must be a whole number from 0 to 2**53 - 1");
    if (status == TABA_OK)
        status = expect(h, ']', BAD_ROW);
    if (status != TABA_OK)
        return status;
    if (h->s->row_count == h->p->max_rows) {
        h->s->problem = "rows of tabs in a frame";
        return TABA_ELIMIT;
    }
    row.name = name.at;
    row.name_length = (uint32_t)name.length;
    if (!is_name(h, name))
        row.reason = TABA_REFUSED_NAME;
    else if (type < 0 || !taba_kind_is_numeric(h->s->types[type].kind))
        row.reason = TABA_REFUSED_TYPE;
    else
        row.type = (size_t)type;
    return taba_scratch_add_row(h->s, &row);
}

/* ------------------------------------------------------------------------------------------- structured events */

/* One of `structured` being read. */
typedef struct structured_row {
    taba_slice name;
    ptrdiff_t type;
    int reason;     /* why none of its events can be taken, or -1 */
    uint64_t event; /* the number of the next event */
} structured_row;

/* The time and the value of an event [time, value]; false for any other JSON. */
static bool read_event(const header *h, taba_slice event, double *time, taba_slice *value) {
    const uint8_t *text = h->s->payloads + event.at, *end = text + event.length, *second;
    if (taba_json_elements(text, event.length, &second) != 2)
        return false;
    if (taba_read_number(taba_json_skip(text + 1, end), end, time) == NULL)
        return false;
    end--; /* its bracket */
    while (taba_json_blank(end[-1]))
        end--;
    value->at = (size_t)(second - h->s->payloads);
    value->length = (size_t)(end - second);
    return true;
}

/* Add an event to the scratch; *reason gets why it is refused, or -1. */
static int add_event(header *h, const structured_row *row, taba_slice event, int *reason) {
    taba_scratch *s = h->s;
    double time = 0, number = 0;
    taba_slice value = {0, 0};
    *reason = row->reason;
    if (*reason != TABA_REFUSED_NAME && !read_event(h, event, &time, &value))
        *reason = TABA_REFUSED_JSON;
    if (*reason < 0)
        *reason = taba_scratch_time_reason(s, time);
    if (*reason < 0 && value.length > s->limits.max_payload)
        *reason = TABA_REFUSED_SIZE;
    if (*reason >= 0)
        return TABA_OK;
    const taba_scratch_type *type = &s->types[row->type];
    const uint8_t *text = s->payloads + value.at;
    const size_t depth = s->limits.max_depth;
    if (type->kind == TABA_UNIQUE_GROUP)
        *reason = taba_payload_unique(text, value.length, depth, s->payloads + value.at, &number);
    else if (taba_kind_is_numeric(type->kind))
        *reason = taba_payload_number(text, value.length, depth, &number);
    else
        *reason = taba_payload_shape(text, value.length, depth, type->shape);
    if (*reason >= 0)
        return TABA_OK;
    const int status = taba_scratch_begin(s, s->payloads + h->p->client.at, h->p->client.length,
                                          s->payloads + row->name.at, row->name.length, (size_t)row->type);
    if (status != TABA_OK)
        return status;
    return taba_kind_has_columns(type->kind) ? taba_scratch_add_number(s, time, number)
                                             : taba_scratch_add_slice(s, time, value.at, value.length);
}

/* Read the events of a row: an array of anything, which is JSON by now. */
static int read_events(header *h, structured_row *row) {
    int status = expect(h, '[', BAD_STRUCTURED), reason;
    while (status == TABA_OK && next(h) != ']') {
        taba_slice event;
        if (*h->at == ',')
            h->at++;
        status = pass(h, &event);
        if (status == TABA_OK)
            status = add_event(h, row, event, &reason);
        if (status == TABA_OK && reason >= 0)
            taba_scratch_refuse_events(h->s, reason, row->event, 1, row->name.at, (uint32_t)row->name.length);
        row->event++;
    }
    return status == TABA_OK ? expect(h, ']', BAD_STRUCTURED) : status;
}

static int read_structured_row(header *h) {
    structured_row row = {{0, 0}, -1, -1, 0};
    int status = read_names(h, &row.name, &row.type, BAD_STRUCTURED);
    if (status != TABA_OK)
        return status;
    if (!h->p->client_valid || !is_name(h, row.name))
        row.reason = TABA_REFUSED_NAME;
    else if (row.type < 0)
        row.reason = TABA_REFUSED_TYPE;
    status = read_events(h, &row);
    return status == TABA_OK ? expect(h, ']', BAD_STRUCTURED) : status;
}

/* ------------------------------------------------------------------------------------------- the object */

static int read_instance(header *h) {
    int status = read_string(h, &h->p->instance, "instance must be a string of 32 hexadecimal digits in lower case");
    const uint8_t *digit = h->s->payloads + h->p->instance.at;
    bool valid = h->p->instance.length == 32;
    for (size_t i = 0; i < 32 && status == TABA_OK && valid; i++)
        valid = (digit[i] >= '0' && digit[i] <= '9') || (digit[i] >= 'a' && digit[i] <= 'f');
    if (status == TABA_OK && !valid)
        return fail(h, "instance must be a string of 32 hexadecimal digits in lower case");
    return status;
}

static int read_batch(header *h) {
    uint64_t batch = 0;
    const int status = read_whole(h, &batch, "batch must be a whole number from 0 to 2**53 - 1");
    h->p->batch = (int64_t)batch;
    return status;
}

/* Pass over a value that begins with the byte `open`. */
static int pass_over(header *h, uint8_t open, taba_slice *out, const char *problem) {
    return next(h) == open ? pass(h, out) : fail(h, problem);
}

static int read_value(header *h, int member) {
    taba_slice ignored;
    switch (member) {
    case CLIENT: return read_string(h, &h->p->client, "client must be a string");
    case INSTANCE: return read_instance(h);
    case BATCH: return read_batch(h);
    case TABS: return read_array(h, read_row, "tabs must be an array of rows");
    case STRUCTURED: return pass_over(h, '[', &h->structured, "structured must be an array of rows");
    case UNSENT: return pass_over(h, '{', &h->p->unsent, "unsent must be an object");
    default: return pass(h, &ignored);
    }
}

static int read_member(header *h) {
    taba_slice key;
    int member = 0, status = read_string(h, &key, "the name of a member is due here");
    if (status == TABA_OK)
        status = expect(h, ':', "a colon is due here");
    if (status != TABA_OK)
        return status;
    const uint8_t *name = h->s->payloads + key.at;
    while (member < MEMBER_COUNT && (strlen(MEMBERS[member]) != key.length || memcmp(MEMBERS[member], name, key.length) != 0))
        member++;
    if (member < MEMBER_COUNT && (h->seen >> member & 1) != 0)
        return fail(h, "a member stands twice in the header");
    h->seen |= 1u << member;
    return read_value(h, member);
}

static int read_object(header *h) {
    int status = expect(h, '{', "the header must be a JSON object");
    bool more = status == TABA_OK && next(h) != '}';
    while (more) {
        status = read_member(h);
        more = status == TABA_OK && next(h) == ',';
        h->at += more;
    }
    if (status == TABA_OK)
        status = expect(h, '}', "a comma or the end of the header is due here");
    (void)next(h);
    return status == TABA_OK && h->at < h->end ? fail(h, "something follows the object of the header") : status;
}

/* What must be there, and what goes with what. */
static int check_facts(header *h) {
    const taba_columns *p = h->p;
    if ((h->seen >> CLIENT & 1) == 0 || p->client.length == 0)
        return fail(h, "the header names no client");
    if (p->batch > 0 && p->instance.length == 0)
        return fail(h, "batch needs an instance, but for batch 0, which opens one");
    if (p->batch <= 0 && p->instance.length != 0)
        return fail(h, "instance needs a batch from 1 on");
    return TABA_OK;
}

/* Count the events that the columns are due. */
static int count_due(header *h) {
    const taba_scratch *s = h->s;
    for (size_t i = 0; i < s->row_count && h->p->client_valid; i++) {
        if (s->rows[i].reason < 0)
            h->p->due += s->rows[i].count;
        if (h->p->due > s->limits.max_memory / (2 * sizeof(double)))
            return TABA_ELIMIT; /* which it would come to, later */
    }
    return TABA_OK;
}

int taba_columns_read_header(taba_columns *p) {
    taba_scratch *s = p->scratch;
    header h = {p, s, s->payloads, s->payloads, 0, {0, 0}};
    taba_utf8 utf8 = TABA_UTF8_START;
    if (p->header_length == 0)
        return fail_at(&h, 4, "the header must be a JSON object");
    h.end += p->header_length;
    taba_utf8_feed(&utf8, h.at, p->header_length);
    if (!taba_utf8_valid(&utf8))
        return fail(&h, "the header is not UTF-8");
    int status = read_object(&h);
    if (status == TABA_OK)
        status = check_facts(&h);
    if (status != TABA_OK)
        return status;
    p->client_valid = is_name(&h, p->client);
    if (h.structured.length > 0) {
        h.at = s->payloads + h.structured.at;
        h.end = h.at + h.structured.length;
        status = read_array(&h, read_structured_row, BAD_STRUCTURED);
    }
    return status == TABA_OK ? count_due(&h) : status;
}
