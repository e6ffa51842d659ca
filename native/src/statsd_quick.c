/* statsd_quick.c - lines of datagrams and streams, nearly all of which go a quick way: name:NUMBER|metric LF.
 *
 * Lines are taken in groups. While a group is read, the memory that its lines will need is asked for: with many names it
 * lies outside of the processor's first caches.
 */
#include "decimal.h"
#include "statsd.h"
#include "wide.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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

int taba_statsd_take_lines(taba_statsd *p, const uint8_t *at, const uint8_t *end, const uint8_t **rest) {
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
    int status = length > 0 ? taba_statsd_take_lines(p, bytes, bytes + length, &rest) : TABA_OK;
    if (status == TABA_OK && length > 0 && rest < bytes + length)
        status = taba_statsd_line(p, rest, (size_t)(bytes + length - rest));
    if (status != TABA_OK)
        taba_statsd_give_up(p, rest, bytes + length);
    return status;
}
