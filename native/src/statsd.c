/* statsd.c - StatsD: the life of a taba_statsd, datagrams and streams cut into lines, and the quick way for most lines. */
#include "statsd.h"

#include "decimal.h"
#include "wide.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static const char *const REASONS[TABA_STATSD_REASONS] = {"syntax", "type", "rate", "time", "future", "value", "name", "size"};

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

/* ------------------------------------------------------------------------------------------- lines, quickly */

/* The first colon or LF of [at, end), or end. */
static inline const uint8_t *find_colon(const uint8_t *at, const uint8_t *end) {
#if defined(__SSE2__)
    const __m128i colon = _mm_set1_epi8(':'), newline = _mm_set1_epi8('\n');
    for (; end - at >= 16; at += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        const __m128i found = _mm_or_si128(_mm_cmpeq_epi8(bytes, colon), _mm_cmpeq_epi8(bytes, newline));
        const unsigned mask = (unsigned)_mm_movemask_epi8(found);
        if (mask != 0)
            return at + taba_trailing_zeros(mask);
    }
#endif
    while (at < end && *at != ':' && *at != '\n')
        at++;
    return at;
}

/* Read `metric LF` at `at`, where 3 bytes can be read at least; the byte after the LF, or NULL. */
static inline const uint8_t *read_metric(const uint8_t *at, const uint8_t *end, int *metric) {
    if (at[0] == 'm') {
        *metric = TABA_STATSD_MS;
        return end - at >= 3 && at[1] == 's' && at[2] == '\n' ? at + 3 : NULL;
    }
    if (at[1] != '\n')
        return NULL;
    switch (at[0]) {
    case 'c':
        *metric = TABA_STATSD_C;
        return at + 2;
    case 'g':
        *metric = TABA_STATSD_G;
        return at + 2;
    case 'h':
        *metric = TABA_STATSD_H;
        return at + 2;
    case 'd':
        *metric = TABA_STATSD_D;
        return at + 2;
    default:
        return NULL;
    }
}

/* A line read the quick way. */
typedef struct quick {
    const uint8_t *line, *next; /* and the byte after its LF */
    size_t name_length;
    double value;
    uint64_t hash;
    int metric;
} quick;

/* So many lines are read before the first of them is taken: the memory that they need comes meanwhile. */
#define GROUP 16

/* The quick way for nearly all lines: name:NUMBER|metric LF. Returns the byte after the LF; NULL for any other line or one
 * not whole, about which nothing is said. */
static const uint8_t *read_quickly(const taba_statsd *p, const uint8_t *line, const uint8_t *end, quick *out) {
    const uint8_t *colon = find_colon(line, end), *at = colon + 1;
    if (colon == line || end - colon < 5 || *colon != ':' || *line == '_' || *at == '-')
        return NULL;
    if (at[1] == '|' && (uint8_t)(*at - '0') < 10) {
        out->value = *at - '0';
        at++;
    } else {
        at = taba_read_number(at, end, &out->value);
        if (at == NULL || end - at < 3 || *at != '|' || at - colon > TABA_STATSD_VALUE_MAX || out->value - out->value != 0)
            return NULL;
    }
    const uint8_t *next = read_metric(at + 1, end, &out->metric);
    if (next == NULL || p->types[out->metric].kind < 0 || p->types[out->metric].length == 0 || next - line > TABA_STATSD_LINE_MAX)
        return NULL;
    out->line = line;
    out->next = next;
    out->name_length = (size_t)(colon - line);
    out->hash = taba_statsd_hash(p, out->metric, line, out->name_length, NULL, 0);
    taba_statsd_soon(p, out->hash);
    return next;
}

/* Take a line that was read. TABA_OK or TABA_ENOMEM, with nothing of it taken. */
static int take_quick(taba_statsd *p, const quick *q) {
    uint32_t tab;
    const int status = taba_statsd_find(p, q->hash, q->metric, q->line, q->name_length, NULL, 0, &tab);
    if (status != TABA_OK)
        return status;
    if (tab == UINT32_MAX)
        return taba_statsd_line(p, q->line, (size_t)(q->next - q->line) - 1); /* it says why not */
    if (q->metric == TABA_STATSD_G)
        p->tabs[tab].last = q->value;
    p->counts.lines++;
    taba_statsd_put(p, q->metric, tab, p->clock.now, q->value, 1);
    return TABA_OK;
}

/* Take lines the quick way, up to the first that is another one; *at moves on behind those taken. */
static int take_group(taba_statsd *p, const uint8_t **at, const uint8_t *end) {
    quick group[GROUP];
    size_t n = 0;
    for (const uint8_t *line = *at, *next; n < GROUP && line < end; line = next, n++) {
        next = read_quickly(p, line, end, &group[n]);
        if (next == NULL)
            break;
    }
    int status = p->event_room - p->count >= n ? TABA_OK : taba_statsd_reserve(p, n);
    for (size_t i = 0; i < n; i++)
        taba_statsd_sooner(p, group[i].hash);
    for (size_t i = 0; i < n && status == TABA_OK; i++) {
        status = take_quick(p, &group[i]);
        if (status == TABA_OK)
            *at = group[i].next;
    }
    return status;
}

/* Take the whole lines of [at, end); *rest gets where the one that is not whole begins. TABA_OK or TABA_ENOMEM. */
static int take_lines(taba_statsd *p, const uint8_t *at, const uint8_t *end, const uint8_t **rest) {
    int status = TABA_OK;
    while (at < end && status == TABA_OK) {
        const uint8_t *before = at;
        status = take_group(p, &at, end);
        if (status != TABA_OK || at > before)
            continue;
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL)
            break;
        status = taba_statsd_line(p, at, (size_t)(newline - at));
        if (status == TABA_OK)
            at = newline + 1;
    }
    *rest = at;
    return status;
}

int taba_statsd_datagram(taba_statsd *p, const taba_statsd_clock *clock, const uint8_t *bytes, size_t length) {
    const uint8_t *rest = bytes;
    p->clock = *clock;
    int status = length > 0 ? take_lines(p, bytes, bytes + length, &rest) : TABA_OK;
    if (status == TABA_OK && length > 0 && rest < bytes + length)
        status = taba_statsd_line(p, rest, (size_t)(bytes + length - rest));
    return status;
}

/* ------------------------------------------------------------------------------------------- streams */

struct taba_statsd_stream {
    taba_allocator allocator; /* a copy, if one was given */
    bool custom;
    bool skipping;  /* the line begun was too long, and refused */
    uint8_t *kept;  /* the line begun */
    size_t length, room;
};

taba_statsd_stream *taba_statsd_stream_new(const taba_allocator *allocator) {
    taba_statsd_stream *s = taba_resize(allocator, NULL, 0, sizeof *s);
    if (s == NULL)
        return NULL;
    memset(s, 0, sizeof *s);
    s->custom = allocator != NULL;
    if (s->custom)
        s->allocator = *allocator;
    return s;
}

void taba_statsd_stream_free(taba_statsd_stream *s) {
    if (s == NULL)
        return;
    const taba_allocator copy = s->allocator, *a = s->custom ? &copy : NULL;
    taba_release(a, s->kept, s->room);
    taba_release(a, s, sizeof *s);
}

/* Keep more of the line begun; one that is too long is refused now, and its further bytes are skipped. */
static int keep(taba_statsd_stream *s, taba_statsd *p, const uint8_t *bytes, size_t length) {
    if (s->skipping || length == 0)
        return TABA_OK;
    if (length > TABA_STATSD_LINE_MAX + 1 - s->length) { /* one more for a CR */
        taba_statsd_refuse(p, TABA_STATSD_SIZE, s->length > 0 ? s->kept : bytes, s->length > 0 ? s->length : length);
        p->counts.lines++;
        s->skipping = true;
        s->length = 0;
        return TABA_OK;
    }
    void *kept = s->kept;
    const int status = taba_array_reserve(s->custom ? &s->allocator : NULL, &kept, &s->room, s->length + length, 1, 256);
    s->kept = kept;
    if (status != TABA_OK)
        return status;
    memcpy(s->kept + s->length, bytes, length);
    s->length += length;
    return TABA_OK;
}

/* The line begun is whole. */
static int take_kept(taba_statsd_stream *s, taba_statsd *p) {
    const int status = s->skipping ? TABA_OK : taba_statsd_line(p, s->kept, s->length);
    s->skipping = false;
    s->length = 0;
    return status;
}

int taba_statsd_stream_feed(taba_statsd_stream *s, taba_statsd *p, const taba_statsd_clock *clock, const uint8_t *bytes,
                            size_t length) {
    const uint8_t *at = bytes, *end = bytes + length;
    int status = TABA_OK;
    p->clock = *clock;
    if (length > 0 && (s->length > 0 || s->skipping)) {
        const uint8_t *newline = memchr(at, '\n', length);
        status = keep(s, p, at, (size_t)((newline != NULL ? newline : end) - at));
        if (status != TABA_OK || newline == NULL)
            return status;
        status = take_kept(s, p);
        at = newline + 1;
    }
    if (status == TABA_OK && at < end)
        status = take_lines(p, at, end, &at);
    return status == TABA_OK && at < end ? keep(s, p, at, (size_t)(end - at)) : status;
}

int taba_statsd_stream_end(taba_statsd_stream *s, taba_statsd *p, const taba_statsd_clock *clock, int whole) {
    p->clock = *clock;
    if (whole || s->skipping || s->length == 0)
        return s->length > 0 ? take_kept(s, p) : TABA_OK;
    p->counts.lines++;
    taba_statsd_refuse(p, TABA_STATSD_SYNTAX, s->kept, s->length);
    s->length = 0;
    return TABA_OK;
}
