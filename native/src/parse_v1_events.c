/* parse_v1_events.c - the events of protocol 1, from their lines into the scratch; see parse_v1.h.
 *
 * Three ways, the quickest first: many plain lines at once (taba_event_read_many), one plain line
 * (taba_event_read_quickly), and a line of any form. The last one alone tells why an event is refused, but for times.
 */
#include "parse_v1.h"

static int refuse(taba_parser *p, int reason) {
    taba_scratch_refuse(p->scratch, reason, p->line + 1);
    return TABA_OK;
}

/* Before the first valid event of a block is added: the block takes its Type and begins. */
static int begin_block(taba_parser *p, ptrdiff_t type) {
    taba_scratch *s = p->scratch;
    if (p->type >= 0)
        return TABA_OK;
    const int status = taba_scratch_begin(s, p->client.bytes, p->client.length, p->tab.bytes, p->tab.length, (size_t)type);
    if (status != TABA_OK)
        return status;
    p->type = type;
    const taba_scratch_type *found = &s->types[type];
    if (taba_kind_is_numeric(found->kind) && p->expected != type) {
        taba_event_prefix_of(s->names + found->name, found->length, &p->prefix);
        p->expected = type;
        taba_shapes_forget(&p->shapes);
    }
    return TABA_OK;
}

static int add_number(taba_parser *p, ptrdiff_t type, double time, double value) {
    const int status = begin_block(p, type);
    return status == TABA_OK ? taba_scratch_add_number(p->scratch, time, value) : status;
}

/* Add a structured event: `text` is its payload with the escapes undone, `payload` as it came. */
static int add_structured(taba_parser *p, ptrdiff_t type, const taba_event *event, const uint8_t *text, size_t length) {
    const uint8_t *payload = event->payload.at, *end = text + length;
    const size_t high = taba_payload_high_bytes(&event->payload);
    const int status = begin_block(p, type);
    if (status != TABA_OK)
        return status;
    if (high > 0)
        return taba_scratch_add_payload(p->scratch, event->time, payload, event->payload.length, high);
    text = taba_json_skip(text, end);
    while (taba_json_blank(end[-1]))
        end--;
    return taba_scratch_add_payload(p->scratch, event->time, text, (size_t)(end - text), 0);
}

/* The number of an event's Type, or -1. */
static ptrdiff_t find_type(const taba_parser *p, const taba_json_string *type) {
    uint8_t text[TABA_NAME_MAX * 6];
    if (!type->escaped)
        return taba_scratch_find_type(p->scratch, type->at, type->length);
    if (type->length > sizeof text)
        return -1;
    return taba_scratch_find_type(p->scratch, text, taba_json_unescape(text, type->at, type->length, false));
}

/* The payload with its escapes undone, in place or in p->work. `length` is at most limits.max_payload then. */
static int undo_escapes(taba_parser *p, const taba_json_string *payload, const uint8_t **text, size_t *length) {
    const size_t max_payload = p->scratch->limits.max_payload;
    *text = payload->at;
    *length = payload->length;
    if (!payload->escaped)
        return TABA_OK;
    void *work = p->work;
    const int status = taba_array_reserve(taba_parser_allocator(p), &work, &p->work_room,
                                          payload->length < max_payload ? payload->length : max_payload, 1, 256);
    p->work = work;
    if (status != TABA_OK)
        return status;
    *length = taba_json_unescape(p->work, payload->at, payload->length, false);
    *text = p->work;
    return TABA_OK;
}

/* Take an event of UniqueGroup, its payload as above. Only one with escapes, so in p->work, may have more of them inside. */
static int take_unique(taba_parser *p, ptrdiff_t type, const taba_event *event, const uint8_t *text, size_t length) {
    const taba_json_string *payload = &event->payload;
    const size_t depth = p->scratch->limits.max_depth, high = taba_payload_high_bytes(payload);
    double hash = 0;
    const int reason = taba_payload_unique(text, length, depth, p->work, &hash);
    int status = reason >= 0 ? refuse(p, reason) : add_number(p, type, event->time, hash);
    if (high == 0 || reason >= 0 || status != TABA_OK)
        return status;
    void *work = p->work;
    status = taba_array_reserve(taba_parser_allocator(p), &work, &p->work_room, payload->length + high, 1, 256);
    p->work = work;
    if (status != TABA_OK)
        return status;
    length = taba_json_unescape(p->work, payload->at, payload->length, true);
    (void)taba_payload_unique(p->work, length, depth, p->work, &hash); /* as valid as before */
    return taba_scratch_add_other_hash(p->scratch, hash);
}

/* Take the payload of an event whose Type and time are right. */
static int take_payload(taba_parser *p, ptrdiff_t type, const taba_event *event) {
    const taba_limits *limits = &p->scratch->limits;
    const taba_json_string *payload = &event->payload;
    const uint8_t *text;
    size_t length;
    double value = 0;
    if (payload->length > limits->max_payload &&
        (!payload->escaped || taba_json_unescaped_length(payload->at, payload->length) > limits->max_payload))
        return refuse(p, TABA_REFUSED_SIZE);
    const int status = undo_escapes(p, payload, &text, &length);
    if (status != TABA_OK)
        return status;
    if (p->scratch->types[type].kind == TABA_UNIQUE_GROUP)
        return take_unique(p, type, event, text, length);
    const bool numeric = taba_kind_is_numeric(p->scratch->types[type].kind);
    const int reason = numeric ? taba_payload_number(text, length, limits->max_depth, &value)
                               : taba_payload_shape(text, length, limits->max_depth, p->scratch->types[type].shape);
    if (reason >= 0)
        return refuse(p, reason);
    return numeric ? add_number(p, type, event->time, value) : add_structured(p, type, event, text, length);
}

int taba_parser_take_event(taba_parser *p, const uint8_t *line, size_t length) {
    taba_event event;
    if (!p->client.valid || !p->tab.valid)
        return refuse(p, TABA_REFUSED_NAME);
    if (length > p->longest_event)
        return refuse(p, TABA_REFUSED_SIZE);
    if (!taba_event_read(line, length, &event))
        return refuse(p, TABA_REFUSED_JSON);
    const ptrdiff_t type = find_type(p, &event.type);
    if (type < 0)
        return refuse(p, TABA_REFUSED_TYPE);
    if (p->type >= 0 && p->type != type)
        return refuse(p, TABA_REFUSED_MIXED);
    const int reason = taba_scratch_time_reason(p->scratch, event.time);
    if (reason >= 0)
        return refuse(p, reason);
    return take_payload(p, type, &event);
}

/* Take events in a row the quickest way, up to the first that is not for it, or as many as have room: more room is made
 * only when there is an event to take it, so that how a body is cut does not tell whether it fits. *at moves on. The block
 * has begun. */
static void take_many(taba_parser *p, const uint8_t **at, const uint8_t *end) {
    taba_scratch *s = p->scratch;
    const size_t room = (s->times_room < s->values_room ? s->times_room : s->values_room) - s->numbers;
    const size_t n = taba_event_read_many(&p->shapes, &p->prefix, at, end, p->newest, s->times + s->numbers,
                                          s->values + s->numbers, room);
    taba_scratch_take_numbers(s, n);
    p->line += n;
}

int taba_parser_take_quickly(taba_parser *p, const uint8_t **at, const uint8_t *end) {
    int status = TABA_OK;
    double time, value;
    if (p->expected < 0 || (p->type >= 0 && p->type != p->expected) || !p->client.valid || !p->tab.valid)
        return TABA_OK;
    while (status == TABA_OK) {
        if (p->type >= 0 && p->many)
            take_many(p, at, end);
        const uint8_t *next = taba_event_read_quickly(&p->prefix, *at, end, &time, &value);
        if (next == NULL || (size_t)(next - *at) > p->scratch->limits.max_payload || value - value != 0)
            break; /* also what may be too long, or infinite: take_event looks closer */
        const int reason = taba_scratch_time_reason(p->scratch, time);
        status = reason >= 0 ? refuse(p, reason) : add_number(p, p->expected, time, value);
        *at = next;
        p->line += status == TABA_OK;
    }
    return status;
}
