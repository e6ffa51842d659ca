/* scratch.c - what one request holds, before anybody counts it; see scratch.h.
 *
 * All arrays grow by half, and less where that would pass the limit of memory: half of what is left then, or what is
 * needed. So the limit is used up to nearly its last byte, and appending n elements still costs O(n).
 */
#include "scratch.h"

#include "json.h"
#include "names.h"

static const char *const REASONS[TABA_REFUSED_REASONS] = {"json", "type", "mixed", "time", "future", "value", "name", "size"};

const char *taba_refused_name(int reason) {
    return reason >= 0 && reason < TABA_REFUSED_REASONS ? REASONS[reason] : "unknown";
}

const taba_allocator *taba_scratch_allocator(const taba_scratch *s) {
    return s->custom ? &s->allocator : NULL;
}

taba_scratch *taba_scratch_new(const taba_limits *limits, const taba_allocator *allocator) {
    taba_scratch *s = taba_resize(allocator, NULL, 0, sizeof *s);
    if (s == NULL)
        return NULL;
    memset(s, 0, sizeof *s);
    s->limits = *limits;
    s->memory = sizeof *s;
    s->custom = allocator != NULL;
    if (s->custom)
        s->allocator = *allocator;
    return s;
}

void taba_scratch_free(taba_scratch *s) {
    if (s == NULL)
        return;
    const taba_allocator copy = s->allocator, *a = s->custom ? &copy : NULL;
    taba_release(a, s->types, s->type_room * sizeof *s->types);
    taba_release(a, s->names, s->names_room);
    taba_release(a, s->blocks, s->block_room * sizeof *s->blocks);
    taba_release(a, s->times, s->times_room * sizeof *s->times);
    taba_release(a, s->values, s->values_room * sizeof *s->values);
    taba_release(a, s->ranges, s->range_room * sizeof *s->ranges);
    taba_release(a, s->structured, s->structured_room * sizeof *s->structured);
    taba_release(a, s->payloads, s->payloads_room);
    taba_release(a, s->other_hashes, s->other_hash_room * sizeof *s->other_hashes);
    taba_release(a, s->rows, s->row_room * sizeof *s->rows);
    taba_release(a, s, sizeof *s);
}

void taba_scratch_clear(taba_scratch *s, double newest) {
    s->limits.newest = newest;
    s->open = false;
    s->names_used = 0;
    for (size_t i = 0; i < s->type_count; i++) /* their names came first */
        s->names_used += s->types[i].length;
    s->block_count = s->numbers = s->structured_count = s->raw_count = s->payloads_used = s->row_count = s->samples = 0;
    s->other_hash_count = s->range_count = 0;
    memset(s->refused, 0, sizeof s->refused);
    s->line = 0;
    s->problem = NULL;
}

/* Make room for `more` elements of `size` bytes behind `count` in an array that has room for *room. Returns the array,
 * moved perhaps, or NULL with *status set and nothing changed. */
static void *grow(taba_scratch *s, void *array, size_t *room, size_t count, size_t more, size_t size, int *status) {
    const size_t left = s->limits.max_memory > s->memory ? s->limits.max_memory - s->memory : 0;
    if (more > left / size + (*room - count)) {
        *status = TABA_ELIMIT;
        return NULL;
    }
    const size_t need = count + more; /* cannot overflow: all of it fits the limit */
    size_t wanted = *room + *room / 2 + 16;
    if (wanted - *room > left / size)
        wanted = *room + left / size / 2;
    if (wanted < need)
        wanted = need;
    void *moved = taba_resize(taba_scratch_allocator(s), array, *room * size, wanted * size);
    if (moved == NULL) {
        *status = TABA_ENOMEM;
        return NULL;
    }
    s->memory += (wanted - *room) * size;
    *room = wanted;
    *status = TABA_OK;
    return moved;
}

/* grow() for the array `field` of a scratch, unless it has the room; for use in functions with an int `status`. */
#define RESERVE(s, field, room, count, more) \
    do { \
        status = TABA_OK; \
        if ((s)->room - (s)->count < (more)) { \
            void *moved = grow((s), (s)->field, &(s)->room, (s)->count, (more), sizeof *(s)->field, &status); \
            (s)->field = moved != NULL ? moved : (s)->field; \
        } \
    } while (0)

/* Append a name; *at gets where it begins. */
static int add_name(taba_scratch *s, const uint8_t *name, size_t length, size_t *at) {
    int status;
    RESERVE(s, names, names_room, names_used, length);
    if (status != TABA_OK)
        return status;
    memcpy(s->names + s->names_used, name, length);
    *at = s->names_used;
    s->names_used += length;
    return TABA_OK;
}

ptrdiff_t taba_scratch_find_type(const taba_scratch *s, const uint8_t *name, size_t length) {
    for (size_t i = 0; i < s->type_count; i++) {
        if (s->types[i].length == length && memcmp(s->names + s->types[i].name, name, length) == 0)
            return (ptrdiff_t)i;
    }
    return -1;
}

int taba_scratch_add_type(taba_scratch *s, const char *name, size_t length, int kind) {
    const uint8_t *bytes = (const uint8_t *)name;
    int status;
    const bool shaped = kind == TABA_RAW_NUMBER || kind == TABA_RAW_EXPIRING;
    if (!taba_name_valid(bytes, length, TABA_NAME_MAX) || (!shaped && !taba_kind_is_native(kind)))
        return TABA_EDOMAIN;
    const ptrdiff_t known = taba_scratch_find_type(s, bytes, length);
    if (known >= 0)
        return s->types[known].shape == kind ? TABA_OK : TABA_EDOMAIN;
    RESERVE(s, types, type_room, type_count, 1);
    if (status != TABA_OK)
        return status;
    taba_scratch_type *type = &s->types[s->type_count];
    status = add_name(s, bytes, length, &type->name);
    if (status != TABA_OK)
        return status;
    type->length = length;
    type->kind = shaped ? TABA_RAW : kind;
    type->shape = kind;
    s->type_count++;
    return TABA_OK;
}

/* Whether the name of `have` bytes at `at` is this one. */
static bool same_name(const taba_scratch *s, size_t at, size_t have, const uint8_t *name, size_t length) {
    return have == length && memcmp(s->names + at, name, length) == 0;
}

int taba_scratch_begin(taba_scratch *s, const uint8_t *client, size_t client_length, const uint8_t *tab, size_t tab_length,
                       size_t type) {
    taba_block *last = s->block_count > 0 ? &s->blocks[s->block_count - 1] : NULL;
    const bool same_client = last != NULL && same_name(s, last->client, last->client_length, client, client_length);
    taba_block block = {0, 0, (uint32_t)client_length, (uint32_t)tab_length, (uint32_t)type, 0, 0, 0};
    const size_t names_used = s->names_used;
    int status;
    if (same_client && last->type == type && same_name(s, last->tab, last->tab_length, tab, tab_length)) {
        last->ranges = 0; /* they were those of fewer events */
        return TABA_OK;
    }
    block.client = same_client ? last->client : 0;
    RESERVE(s, blocks, block_room, block_count, 1);
    if (status == TABA_OK && !same_client)
        status = add_name(s, client, client_length, &block.client);
    if (status == TABA_OK)
        status = add_name(s, tab, tab_length, &block.tab);
    if (status != TABA_OK) {
        s->names_used = names_used;
        return status;
    }
    block.first = taba_kind_has_columns(s->types[type].kind) ? s->numbers : s->structured_count;
    s->blocks[s->block_count++] = block;
    return TABA_OK;
}

int taba_scratch_reserve_numbers(taba_scratch *s, size_t n) {
    int status;
    RESERVE(s, times, times_room, numbers, n);
    if (status == TABA_OK)
        RESERVE(s, values, values_room, numbers, n);
    return status;
}

int taba_scratch_note_ranges(taba_scratch *s, const taba_ranges *ranges) {
    int status;
    RESERVE(s, ranges, range_room, range_count, 1);
    if (status != TABA_OK)
        return status;
    s->ranges[s->range_count++] = *ranges;
    s->blocks[s->block_count - 1].ranges = (uint32_t)s->range_count;
    return TABA_OK;
}

int taba_scratch_add_columns(taba_scratch *s, const double *times, const double *values, size_t n) {
    const int status = taba_scratch_reserve_numbers(s, n);
    if (status != TABA_OK || n == 0)
        return status;
    memcpy(s->times + s->numbers, times, n * sizeof *times);
    memcpy(s->values + s->numbers, values, n * sizeof *values);
    s->numbers += n;
    s->blocks[s->block_count - 1].count += n;
    return TABA_OK;
}

int taba_scratch_add_payload(taba_scratch *s, double time, const uint8_t *payload, size_t length, size_t more) {
    const taba_structured event = {time, s->payloads_used, length + more, more > 0 ? length : 0};
    int status;
    RESERVE(s, structured, structured_room, structured_count, 1);
    if (status == TABA_OK)
        RESERVE(s, payloads, payloads_room, payloads_used, length + more);
    if (status != TABA_OK)
        return status;
    memcpy(s->payloads + event.at + more, payload, length);
    s->payloads_used += event.length;
    s->structured[s->structured_count++] = event;
    s->blocks[s->block_count - 1].count++;
    s->raw_count += more > 0;
    return TABA_OK;
}

int taba_scratch_add_other_hash(taba_scratch *s, double hash) {
    const taba_other_hash other = {s->numbers - 1, hash};
    int status;
    RESERVE(s, other_hashes, other_hash_room, other_hash_count, 1);
    if (status == TABA_OK)
        s->other_hashes[s->other_hash_count++] = other;
    return status;
}

int taba_scratch_add_text(taba_scratch *s, const uint8_t *bytes, size_t length) {
    int status;
    RESERVE(s, payloads, payloads_room, payloads_used, length);
    if (status != TABA_OK || length == 0)
        return status;
    memcpy(s->payloads + s->payloads_used, bytes, length);
    s->payloads_used += length;
    return TABA_OK;
}

int taba_scratch_add_slice(taba_scratch *s, double time, size_t at, size_t length) {
    const taba_structured event = {time, at, length, 0};
    int status;
    RESERVE(s, structured, structured_room, structured_count, 1);
    if (status != TABA_OK)
        return status;
    s->structured[s->structured_count++] = event;
    s->blocks[s->block_count - 1].count++;
    return TABA_OK;
}

int taba_scratch_add_row(taba_scratch *s, const taba_row *row) {
    int status;
    RESERVE(s, rows, row_room, row_count, 1);
    if (status == TABA_OK)
        s->rows[s->row_count++] = *row;
    return status;
}

void taba_scratch_decide(taba_scratch *s, bool latin1) {
    for (size_t i = 0; i < s->other_hash_count && latin1; i++)
        s->values[s->other_hashes[i].number] = s->other_hashes[i].hash;
    s->other_hash_count = 0;
    if (s->raw_count == 0)
        return;
    for (size_t i = 0; i < s->structured_count; i++) {
        taba_structured *event = &s->structured[i];
        if (event->raw == 0)
            continue;
        uint8_t *room = s->payloads + event->at;
        const uint8_t *end = room + taba_json_unescape(room, room + event->length - event->raw, event->raw, latin1);
        const uint8_t *at = taba_json_skip(room, end);
        while (end > at && taba_json_blank(end[-1]))
            end--;
        event->at = (size_t)(at - s->payloads);
        event->length = (size_t)(end - at);
        event->raw = 0;
    }
    s->raw_count = 0;
}

void taba_scratch_refuse_events(taba_scratch *s, int reason, uint64_t event, uint64_t n, size_t name, uint32_t name_length) {
    s->refused[reason] += n;
    for (uint64_t i = 0; i < n && s->samples < TABA_SAMPLES; i++) {
        const taba_refused sample = {event + i, name, name_length, reason};
        s->sample[s->samples++] = sample;
    }
}

void taba_scratch_refuse(taba_scratch *s, int reason, uint64_t line) {
    taba_scratch_refuse_events(s, reason, line, 1, 0, 0);
}

void taba_scratch_summary_of(const taba_scratch *s, taba_scratch_summary *out) {
    memset(out, 0, sizeof *out);
    out->accepted = (uint64_t)s->numbers + s->structured_count;
    memcpy(out->refused, s->refused, sizeof out->refused);
    out->samples = s->samples;
    for (size_t i = 0; i < s->samples; i++) {
        const taba_refused *from = &s->sample[i];
        taba_sample *to = &out->sample[i];
        to->line = from->line;
        to->reason = from->reason;
        to->tab.bytes = from->name_length > 0 ? s->payloads + from->name : NULL;
        to->tab.length = from->name_length;
    }
    out->memory = s->memory;
    out->line = s->line;
    out->problem = s->problem;
}
