/* statsd_give.c - the window of a taba_statsd, put into a scratch by tab.
 *
 * Events come in any order, and a scratch wants the numbers of a tab side by side. Two passes, without comparisons: the
 * first counts the events of each tab and makes its block, the second puts every number where it belongs. What is no
 * number follows in the order of arrival.
 */
#include "statsd.h"

/* What is being given: events from `from` up to `to`. */
typedef struct giving {
    taba_statsd *p;
    taba_scratch *s;
    size_t from, to, active, numbers;
    uint64_t weight;
    ptrdiff_t types[TABA_STATSD_METRICS]; /* their numbers in the scratch, or -1 */
    bool columns[TABA_STATSD_METRICS]; /* whether their events stand in columns */
} giving;

static int find_types(giving *g) {
    for (int i = 0; i < TABA_STATSD_METRICS; i++) {
        const taba_statsd_type *type = &g->p->types[i];
        g->types[i] = type->kind >= 0 && type->length > 0 ? taba_scratch_find_type(g->s, type->name, type->length) : -1;
        g->columns[i] = type->kind >= 0 && taba_kind_has_columns(type->kind);
        if (g->types[i] >= 0 && g->columns[i] != taba_kind_has_columns(g->s->types[g->types[i]].kind))
            return TABA_ETYPE;
    }
    return TABA_OK;
}

static int reserve_places(taba_statsd *p) {
    const taba_allocator *a = taba_statsd_allocator(p);
    const size_t had = p->place_room;
    void *array = p->places;
    int status = taba_array_reserve(a, &array, &p->place_room, p->tab_count, sizeof *p->places, 64);
    p->places = array;
    if (p->place_room > had)
        memset(p->places + had, 0, (p->place_room - had) * sizeof *p->places);
    array = p->active;
    if (status == TABA_OK)
        status = taba_array_reserve(a, &array, &p->active_room, p->tab_count, sizeof *p->active, 64);
    p->active = array;
    return status;
}

/* The first pass: how many numbers each tab has, up to `most` events in all. TABA_OK or TABA_ETYPE. */
static int count(giving *g, size_t most) {
    taba_statsd *p = g->p;
    for (; g->to < p->count && g->weight < most; g->to++) {
        const taba_statsd_event *event = &p->events[g->to];
        const int metric = event->metric;
        g->weight += event->weight;
        if (g->types[metric] < 0)
            return TABA_ETYPE;
        if (!g->columns[metric])
            continue;
        if (p->places[event->tab] == 0)
            p->active[g->active++] = event->tab;
        p->places[event->tab] += event->weight;
        g->numbers += event->weight;
    }
    return TABA_OK;
}

/* Begin the block of a tab. */
static int begin(const giving *g, uint32_t tab) {
    const taba_statsd_tab *t = &g->p->tabs[tab];
    return taba_scratch_begin(g->s, g->p->client, g->p->client_length, g->p->tab_bytes + t->at, t->length,
                              (size_t)g->types[t->metric]);
}

/* Make a block for every tab with numbers, and a place for each of them. */
static int make_blocks(const giving *g) {
    taba_statsd *p = g->p;
    int status = taba_scratch_reserve_numbers(g->s, g->numbers);
    for (size_t i = 0; i < g->active && status == TABA_OK; i++) {
        status = begin(g, p->active[i]);
        if (status != TABA_OK)
            break;
        const size_t n = p->places[p->active[i]];
        p->places[p->active[i]] = g->s->numbers;
        taba_scratch_take_numbers(g->s, n); /* they come in the second pass */
    }
    return status;
}

/* The second pass, for numbers. */
static void scatter(const giving *g) {
    double *times = g->s->times, *values = g->s->values;
    size_t *places = g->p->places;
    for (size_t i = g->from; i < g->to; i++) {
        const taba_statsd_event *event = &g->p->events[i];
        if (!g->columns[event->metric])
            continue;
        size_t at = places[event->tab];
        places[event->tab] = at + event->weight;
        for (uint32_t n = event->weight; n > 0; n--, at++) {
            times[at] = event->time;
            values[at] = event->value.number;
        }
    }
}

/* Write a text, which is UTF-8, as JSON; `out` has room for 6 bytes for each of it, and 2. Returns the length. */
static size_t quote(const uint8_t *text, size_t length, uint8_t *out) {
    static const char digits[] = "0123456789abcdef";
    uint8_t *to = out;
    *to++ = '"';
    for (size_t i = 0; i < length; i++) {
        if (text[i] < 0x20) {
            memcpy(to, "\\u00", 4);
            to[4] = (uint8_t)digits[text[i] >> 4];
            to[5] = (uint8_t)digits[text[i] & 15];
            to += 6;
        } else {
            if (text[i] == '"' || text[i] == '\\')
                *to++ = '\\';
            *to++ = text[i];
        }
    }
    *to++ = '"';
    return (size_t)(to - out);
}

/* Add a member of a set. */
static int add_member(const giving *g, const taba_statsd_event *event) {
    const size_t length = event->value.text.length, room = length * 6 + 2;
    const taba_allocator *a = taba_statsd_allocator(g->p);
    uint8_t *payload = taba_resize(a, NULL, 0, room);
    if (payload == NULL)
        return TABA_ENOMEM;
    const size_t written = quote(g->p->texts + event->value.text.at, length, payload);
    const int status = taba_scratch_add_payload(g->s, event->time, payload, written, 0);
    taba_release(a, payload, room);
    return status;
}

/* Add an event whose Type takes JSON, as often as it counts. */
static int add_structured(const giving *g, const taba_statsd_event *event) {
    uint8_t number[TABA_STATSD_NUMBER_MAX];
    int status = begin(g, event->tab);
    if (event->metric == TABA_STATSD_S)
        return status == TABA_OK ? add_member(g, event) : status;
    const size_t length = taba_statsd_write(event->value.number, number);
    for (uint32_t n = event->weight; n > 0 && status == TABA_OK; n--)
        status = taba_scratch_add_payload(g->s, event->time, number, length, 0);
    return status;
}

/* The second pass, for what is no number. */
static int add_rest(const giving *g) {
    int status = TABA_OK;
    for (size_t i = g->from; i < g->to && status == TABA_OK; i++) {
        const taba_statsd_event *event = &g->p->events[i];
        if (!g->columns[event->metric])
            status = add_structured(g, event);
    }
    return status;
}

int taba_statsd_give(taba_statsd *p, taba_scratch *scratch, size_t most) {
    giving g = {p, scratch, p->given, p->given, 0, 0, 0, {0}, {false}};
    int status = find_types(&g);
    if (status == TABA_OK)
        status = reserve_places(p);
    if (status == TABA_OK)
        status = count(&g, most);
    if (status == TABA_OK)
        status = make_blocks(&g);
    if (status == TABA_OK)
        scatter(&g);
    if (status == TABA_OK)
        status = add_rest(&g);
    for (size_t i = 0; i < g.active; i++)
        p->places[p->active[i]] = 0;
    if (status != TABA_OK)
        return status;
    p->given = g.to;
    p->waiting -= g.weight;
    if (p->given == p->count)
        taba_statsd_clear(p, 0);
    return TABA_OK;
}
