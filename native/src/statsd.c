/* statsd.c - StatsD: the life of a taba_statsd, and its account. */
#include "statsd.h"

static const char *const REASONS[TABA_STATSD_REASONS] = {"syntax", "type", "rate", "time", "future", "value", "name", "size", "memory"};

const char *taba_statsd_reason_name(int reason) {
    return reason >= 0 && reason < TABA_STATSD_REASONS ? REASONS[reason] : "unknown";
}

/* ------------------------------------------------------------------------------------------- its life */

taba_statsd *taba_statsd_new(const char *client, size_t length, size_t max_name, int signed_gauges,
                             const taba_allocator *allocator) {
    if (!taba_name_valid((const uint8_t *)client, length, TABA_NAME_MAX))
        return NULL;
    taba_statsd *p = taba_resize(allocator, NULL, 0, sizeof *p);
    if (p == NULL)
        return NULL;
    memset(p, 0, sizeof *p);
    p->custom = allocator != NULL;
    if (p->custom)
        p->allocator = *allocator;
    memcpy(p->client, client, length);
    p->client_length = length;
    p->max_name = max_name < TABA_NAME_MAX ? max_name : TABA_NAME_MAX;
    p->signed_gauges = signed_gauges != 0;
    /* No result depends on it: it only keeps senders from knowing which names collide. */
    p->seed = taba_hash_join((uint64_t)(uintptr_t)p, (uint64_t)(uintptr_t)&allocator);
    for (int i = 0; i < TABA_STATSD_METRICS; i++)
        p->types[i].kind = -1;
    return p;
}

void taba_statsd_free(taba_statsd *p) {
    if (p == NULL)
        return;
    const taba_allocator copy = p->allocator, *a = p->custom ? &copy : NULL;
    taba_statsd_clear(p, 1);
    taba_release(a, p->events, p->event_room * sizeof *p->events);
    taba_release(a, p->texts, p->text_room);
    taba_release(a, p->datagrams, p->datagrams != NULL ? TABA_STATSD_DATAGRAMS * (TABA_STATSD_ROOM + TABA_STATSD_SPARE) : 0);
    taba_release(a, p, sizeof *p);
}

void taba_statsd_clear(taba_statsd *p, int names) {
    const taba_allocator *a = taba_statsd_allocator(p);
    p->given = p->count = p->text_used = 0;
    p->waiting = 0;
    if (!names)
        return;
    taba_release(a, p->keys, p->key_room * sizeof *p->keys);
    taba_release(a, p->key_bytes, p->key_bytes_room);
    taba_release(a, p->tabs, p->tab_room * sizeof *p->tabs);
    taba_release(a, p->tab_bytes, p->tab_bytes_room);
    taba_release(a, p->places, p->place_room * sizeof *p->places);
    taba_release(a, p->active, p->active_room * sizeof *p->active);
    taba_slots_free(&p->key_slots, a);
    taba_slots_free(&p->tab_slots, a);
    p->keys = NULL;
    p->key_bytes = p->tab_bytes = NULL;
    p->tabs = NULL;
    p->places = NULL;
    p->active = NULL;
    p->key_count = p->key_room = p->key_used = p->key_bytes_room = 0;
    p->tab_count = p->tab_room = p->tab_used = p->tab_bytes_room = p->place_room = p->active_room = 0;
}

int taba_statsd_map(taba_statsd *p, int metric, const char *type, size_t length, int kind) {
    if (metric < 0 || metric >= TABA_STATSD_METRICS || p->waiting > 0)
        return TABA_EDOMAIN;
    taba_statsd_type *to = &p->types[metric];
    if (length > 0 && !taba_name_valid((const uint8_t *)type, length, TABA_NAME_MAX))
        return TABA_EDOMAIN;
    const bool is_set = metric == TABA_STATSD_S, for_numbers = taba_kind_is_numeric(kind) || kind == TABA_RAW_NUMBER;
    if (length > 0 && kind >= 0 && (is_set ? for_numbers : kind == TABA_UNIQUE_GROUP))
        return TABA_EDOMAIN;
    if (length > 0)
        memcpy(to->name, type, length);
    to->length = length;
    to->kind = kind;
    return TABA_OK;
}

/* ------------------------------------------------------------------------------------------- the account */

uint64_t taba_statsd_waiting(const taba_statsd *p) { return p->waiting; }

static size_t names_memory(const taba_statsd *p) {
    return p->key_room * sizeof *p->keys + p->key_bytes_room + p->tab_room * sizeof *p->tabs + p->tab_bytes_room +
           (p->key_slots.room + p->tab_slots.room) * sizeof *p->key_slots.slot + p->place_room * sizeof *p->places +
           p->active_room * sizeof *p->active;
}

static size_t memory(const taba_statsd *p) {
    return sizeof *p + names_memory(p) + p->event_room * sizeof *p->events + p->text_room +
           (p->datagrams != NULL ? TABA_STATSD_DATAGRAMS * (TABA_STATSD_ROOM + TABA_STATSD_SPARE) : 0);
}

void taba_statsd_take(taba_statsd *p, taba_statsd_summary *out) {
    p->told = p->counts;
    memcpy(p->told_samples, p->samples, sizeof p->samples);
    for (int i = 0; i < TABA_STATSD_REASONS; i++) {
        if (p->told.sample[i].bytes != NULL)
            p->told.sample[i].bytes = p->told_samples[i];
    }
    memset(&p->counts, 0, sizeof p->counts);
    p->told.waiting = p->waiting;
    p->told.tabs = p->tab_count;
    p->told.memory = memory(p);
    p->told.names = names_memory(p);
    *out = p->told;
}

void taba_statsd_refuse(taba_statsd *p, int reason, const uint8_t *line, size_t length) {
    taba_blob *sample = &p->counts.sample[reason];
    p->counts.refused[reason]++;
    if (sample->bytes != NULL)
        return;
    sample->length = length < TABA_STATSD_SAMPLE_MAX ? length : TABA_STATSD_SAMPLE_MAX;
    if (sample->length > 0)
        memcpy(p->samples[reason], line, sample->length);
    sample->bytes = p->samples[reason];
}

/* The next line of [*at, end) that is not blank, without LF and CR; NULL if there is none. *at moves on behind it. */
static const uint8_t *next_line(const uint8_t **at, const uint8_t *end, size_t *length) {
    while (*at < end) {
        const uint8_t *line = *at, *newline = memchr(line, '\n', (size_t)(end - line)), *stop = newline != NULL ? newline : end;
        *at = stop + (newline != NULL);
        stop -= stop > line && stop[-1] == '\r';
        *length = (size_t)(stop - line);
        if (*length > 0)
            return line;
    }
    return NULL;
}

uint64_t taba_statsd_count_lines(const uint8_t *at, const uint8_t *end) {
    uint64_t n = 0;
    for (size_t length; next_line(&at, end, &length) != NULL;)
        n++;
    return n;
}

void taba_statsd_give_up(taba_statsd *p, const uint8_t *at, const uint8_t *end) {
    const uint8_t *line;
    for (size_t length; (line = next_line(&at, end, &length)) != NULL;) {
        p->counts.lines++;
        taba_statsd_refuse(p, TABA_STATSD_MEMORY, line, length);
    }
}
