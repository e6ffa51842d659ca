/* statsd.h - the inside of a taba_statsd, shared by the files statsd*.c.
 *
 *     line ---> key (name and tags as they came, metric) ---> tab (name in Taba, metric): last value, fraction due
 *                                                              ^
 *     window: events (tab, time, value, weight) ---------------'
 *
 * A line of a key met before costs one hash and one comparison. The window is one array in the order of arrival; giving
 * it to a scratch sorts it by tab, in two passes and without comparisons.
 */
#ifndef TABA_STATSD_INSIDE_H
#define TABA_STATSD_INSIDE_H

#include "names.h"
#include "scratch.h"

#define TABA_STATSD_HEAD 32

/* What a line is about, as it came: its bytes are the name and, right behind it, the tags. */
typedef struct taba_statsd_key {
    uint64_t hash; /* first, as slots.h wants it */
    size_t at;     /* in taba_statsd.key_bytes */
    uint32_t name_length, length;
    uint32_t tab;  /* its number */
    int32_t metric;
    uint8_t head[TABA_STATSD_HEAD]; /* the first of its bytes: so most lines need one line of the processor's cache */
} taba_statsd_key;

/* A tab with its metric: `a:1|c` and `a:1|ms` are two. */
typedef struct taba_statsd_tab {
    uint64_t hash;      /* first, as slots.h wants it */
    uint64_t canonical; /* of the name with its tags in order, before characters were replaced */
    size_t at;          /* in taba_statsd.tab_bytes */
    uint32_t length;
    int32_t metric;
    double last;        /* of a gauge: its value; 0 at first */
    double due;         /* of a sampled timer: the fraction of an event that the weights so far left out */
} taba_statsd_tab;

typedef struct taba_statsd_event {
    double time;
    union {
        double number;
        struct {
            uint32_t at, length; /* in taba_statsd.texts */
        } text;
    } value;
    uint32_t tab;
    uint16_t weight;
    uint8_t metric;
} taba_statsd_event;

/* What a metric becomes. */
typedef struct taba_statsd_type {
    uint8_t name[TABA_NAME_MAX];
    size_t length; /* 0: ignored */
    int kind;      /* -1: refused */
} taba_statsd_type;

#define TABA_STATSD_SAMPLE_MAX 160 /* bytes kept of a refused line */
#define TABA_STATSD_DATAGRAMS 32   /* received at a time */
#define TABA_STATSD_ROOM 65536     /* bytes for each of them; no UDP datagram has as many */
#define TABA_STATSD_SPARE 64       /* bytes behind each of them, for the LF that the last line may lack */

struct taba_statsd {
    taba_allocator allocator; /* a copy, if one was given */
    bool custom;
    bool signed_gauges;
    size_t max_name;
    uint64_t seed;
    uint8_t client[TABA_NAME_MAX];
    size_t client_length;
    taba_statsd_type types[TABA_STATSD_METRICS];
    taba_statsd_clock clock; /* of the call under way */

    taba_statsd_key *keys;
    size_t key_count, key_room;
    taba_slots key_slots;
    uint8_t *key_bytes;
    size_t key_used, key_bytes_room;
    taba_statsd_tab *tabs;
    size_t tab_count, tab_room;
    taba_slots tab_slots;
    uint8_t *tab_bytes;
    size_t tab_used, tab_bytes_room;

    taba_statsd_event *events; /* the window: those from `given` up to `count` */
    size_t given, count, event_room;
    uint64_t waiting;          /* their weights */
    uint8_t *texts;            /* members of sets in it */
    size_t text_used, text_room;

    size_t *places;            /* in giving, by tab: its events' number, then where the next one goes; all 0 otherwise */
    size_t place_room;
    uint32_t *active;          /* in giving: the tabs that have events, in the order in which they first came */
    size_t active_room;
    uint8_t *datagrams;        /* room of taba_statsd_receive */

    taba_statsd_summary counts; /* since the last taba_statsd_take */
    uint8_t samples[TABA_STATSD_REASONS][TABA_STATSD_SAMPLE_MAX];
    taba_statsd_summary told;   /* what that call pointed into */
    uint8_t told_samples[TABA_STATSD_REASONS][TABA_STATSD_SAMPLE_MAX];
};

static inline const taba_allocator *taba_statsd_allocator(const taba_statsd *p) {
    return p->custom ? &p->allocator : NULL;
}

/* Count a line, or one value of it, as refused. */
void taba_statsd_refuse(taba_statsd *p, int reason, const uint8_t *line, size_t length);

/* The lines of [at, end) that are not blank, the last one with or without its LF. */
uint64_t taba_statsd_count_lines(const uint8_t *at, const uint8_t *end);

/* Count these lines as refused, since there is no memory for them. */
void taba_statsd_give_up(taba_statsd *p, const uint8_t *at, const uint8_t *end);

/* Take the whole lines of [at, end); *rest gets where the one that is not whole begins. TABA_OK or TABA_ENOMEM; then *rest
 * is where the first line begins that was not taken. */
int taba_statsd_take_lines(taba_statsd *p, const uint8_t *at, const uint8_t *end, const uint8_t **rest);

/* Take one line of `length` bytes without its LF, whatever it is. TABA_OK or TABA_ENOMEM, with nothing of it taken. */
int taba_statsd_line(taba_statsd *p, const uint8_t *line, size_t length);

/* The hash of a key. `tags` are what stands behind the #; tags_length may be 0. */
uint64_t taba_statsd_hash(const taba_statsd *p, int metric, const uint8_t *name, size_t name_length, const uint8_t *tags,
                          size_t tags_length);

/* The tab of a name with its tags, which is made if it is new. TABA_OK, TABA_ENOMEM with nothing changed; *tab is
 * UINT32_MAX if the name cannot be one (TABA_STATSD_NAME). */
int taba_statsd_find(taba_statsd *p, uint64_t hash, int metric, const uint8_t *name, size_t name_length, const uint8_t *tags,
                     size_t tags_length, uint32_t *tab);

/* Fetch, into the processor's cache, where a key with this hash is looked for; then, once that is there, the key. */
static inline void taba_statsd_soon(const taba_statsd *p, uint64_t hash) {
#ifdef __GNUC__
    if (p->key_slots.used > 0)
        __builtin_prefetch(&p->key_slots.slot[(size_t)hash & (p->key_slots.used - 1)]);
#else
    (void)p, (void)hash;
#endif
}

static inline void taba_statsd_sooner(const taba_statsd *p, uint64_t hash) {
#ifdef __GNUC__
    const uint64_t slot = p->key_slots.used > 0 ? p->key_slots.slot[(size_t)hash & (p->key_slots.used - 1)] : 0;
    if (slot != 0)
        __builtin_prefetch(&p->keys[(size_t)(slot & 0xffffffffu) - 1]);
#else
    (void)p, (void)hash;
#endif
}

/* Make room for `more` events in the window. TABA_OK or TABA_ENOMEM. */
int taba_statsd_reserve(taba_statsd *p, size_t more);

/* Put an event into the window, for which there is room. */
static inline void taba_statsd_put(taba_statsd *p, int metric, uint32_t tab, double time, double number, uint32_t weight) {
    taba_statsd_event *event = &p->events[p->count++];
    event->time = time;
    event->value.number = number;
    event->tab = tab;
    event->weight = (uint16_t)weight;
    event->metric = (uint8_t)metric;
    p->waiting += weight;
    p->counts.accepted += weight;
}

/* Read a number as senders of StatsD write them: a sign, digits with a point anywhere, an exponent; all of [at, end), of
 * TABA_STATSD_VALUE_MAX bytes at most. false for anything else, and for an infinite one. */
bool taba_statsd_number(const uint8_t *at, const uint8_t *end, double *value);

#define TABA_STATSD_NUMBER_MAX 32

/* Write a finite number as JSON: whole ones up to 2**53 as such, others with 15, 16 or 17 digits, as few as give it back.
 * Returns its length. */
size_t taba_statsd_write(double value, uint8_t text[TABA_STATSD_NUMBER_MAX]);

#endif
