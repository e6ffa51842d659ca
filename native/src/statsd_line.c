/* statsd_line.c - one line of StatsD or DogStatsD, whatever it is: name:VALUE[:VALUE ...]|metric[|section ...]. */
#include "hash64.h"
#include "statsd.h"
#include "utf8.h"

/* A line taken apart. */
typedef struct line {
    const uint8_t *start;
    size_t length;
    const uint8_t *name, *values, *values_end, *tags;
    size_t name_length, tags_length;
    int metric;
    double rate, time;
} line;

#define TAKEN (-1) /* no reason to refuse */

static const uint8_t *find(const uint8_t *at, const uint8_t *end, uint8_t c) {
    const uint8_t *found = at < end ? memchr(at, c, (size_t)(end - at)) : NULL;
    return found != NULL ? found : end;
}

static int metric_of(const uint8_t *at, size_t length) {
    static const char *const names[TABA_STATSD_METRICS] = {"c", "g", "ms", "h", "d", "s"};
    for (int i = 0; i < TABA_STATSD_METRICS; i++) {
        if (strlen(names[i]) == length && memcmp(at, names[i], length) == 0)
            return i;
    }
    return -1;
}

/* Whether a section is of a kind that only says where the line comes from: c:CONTAINER, e:..., card:..., and what may come
 * yet: small letters and a colon. */
static bool is_origin(const uint8_t *at, const uint8_t *end) {
    const uint8_t *start = at;
    while (at < end && *at >= 'a' && *at <= 'z')
        at++;
    return at > start && at < end && *at == ':';
}

/* The time of a section: 1 to 15 digits. */
static int read_time(const taba_statsd *p, const uint8_t *at, const uint8_t *end, double *time) {
    double seconds = 0;
    if (at == end || end - at > 15)
        return TABA_STATSD_TIME;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return TABA_STATSD_TIME;
        seconds = seconds * 10 + (*at - '0'); /* exact: below 2**53 */
    }
    *time = seconds;
    if (seconds >= 253402300800.0) /* the year 10000 */
        return TABA_STATSD_TIME;
    return seconds > p->clock.newest ? TABA_STATSD_FUTURE : TAKEN;
}

/* Read what stands in one section behind the metric. Of two of a kind the last one counts. */
static int read_section(const taba_statsd *p, const uint8_t *at, const uint8_t *end, line *out) {
    if (at == end)
        return TAKEN;
    switch (*at) {
    case '@':
        if (!taba_statsd_number(at + 1, end, &out->rate) || !(out->rate > 0 && out->rate <= 1))
            return TABA_STATSD_RATE;
        return TAKEN;
    case '#':
        out->tags = at + 1;
        out->tags_length = (size_t)(end - at) - 1;
        return TAKEN;
    case 'T':
        return read_time(p, at + 1, end, &out->time);
    default:
        return is_origin(at, end) ? TAKEN : TABA_STATSD_SYNTAX;
    }
}

/* Take a line apart; a reason why it is refused, or TAKEN. */
static int read_line(const taba_statsd *p, line *out) {
    const uint8_t *end = out->start + out->length, *colon = find(out->start, end, ':');
    if (colon == end)
        return TABA_STATSD_SYNTAX;
    out->name = out->start;
    out->name_length = (size_t)(colon - out->start);
    if (out->name_length == 0)
        return TABA_STATSD_NAME;
    out->values = colon + 1;
    out->values_end = find(out->values, end, '|');
    if (out->values_end == end)
        return TABA_STATSD_SYNTAX;
    const uint8_t *at = out->values_end + 1, *stop = find(at, end, '|');
    out->metric = metric_of(at, (size_t)(stop - at));
    if (out->metric < 0)
        return TABA_STATSD_TYPE;
    int reason = TAKEN;
    while (stop < end && reason == TAKEN) {
        at = stop + 1;
        stop = find(at, end, '|');
        reason = read_section(p, at, stop, out);
    }
    return reason;
}

/* ------------------------------------------------------------------------------------------- values */

/* The weight of the next value of a timer: how many events it stands for. What it leaves out goes to the next ones. */
static uint32_t next_weight(taba_statsd_tab *tab, double rate) {
    if (rate == 1)
        return 1;
    const double due = 1 / rate + tab->due;
    const uint32_t weight = (uint32_t)due;
    tab->due = due - weight;
    return weight;
}

/* Take one value of a line whose metric is a number. */
static int take_number(taba_statsd *p, const line *l, uint32_t number, const uint8_t *at, const uint8_t *end) {
    taba_statsd_tab *tab = &p->tabs[number];
    uint32_t weight = 1;
    double value;
    if (!taba_statsd_number(at, end, &value))
        return TABA_STATSD_VALUE;
    if (l->metric == TABA_STATSD_C)
        value /= l->rate;
    else if (l->metric == TABA_STATSD_G && p->signed_gauges && (*at == '+' || *at == '-'))
        value += tab->last;
    if (value - value != 0)
        return TABA_STATSD_VALUE;
    value += 0.0; /* no negative zero */
    if (l->metric == TABA_STATSD_G)
        tab->last = value;
    else if (l->metric != TABA_STATSD_C)
        weight = next_weight(tab, l->rate);
    taba_statsd_put(p, l->metric, number, l->time, value, weight);
    return TAKEN;
}

/* Take all values of such a line, each for itself. */
static int take_numbers(taba_statsd *p, const line *l, uint32_t tab) {
    const uint8_t *at = l->values;
    size_t n = 1;
    for (const uint8_t *each = at; each < l->values_end; each++)
        n += *each == ':';
    const int status = taba_statsd_reserve(p, n);
    if (status != TABA_OK)
        return status;
    for (; n > 0; n--) {
        const uint8_t *stop = find(at, l->values_end, ':');
        if (take_number(p, l, tab, at, stop) != TAKEN)
            taba_statsd_refuse(p, TABA_STATSD_VALUE, l->start, l->length);
        at = stop + 1;
    }
    return TABA_OK;
}

/* Take a member of a set: any text. */
static int take_member(taba_statsd *p, const line *l, uint32_t tab) {
    const size_t length = (size_t)(l->values_end - l->values);
    taba_utf8 utf8 = TABA_UTF8_START;
    taba_utf8_feed(&utf8, l->values, length);
    if (length == 0 || !taba_utf8_valid(&utf8)) {
        taba_statsd_refuse(p, TABA_STATSD_VALUE, l->start, l->length);
        return TABA_OK;
    }
    if (p->types[TABA_STATSD_S].kind == TABA_UNIQUE_GROUP) {
        const int reserved = taba_statsd_reserve(p, 1);
        if (reserved == TABA_OK)
            taba_statsd_put(p, l->metric, tab, l->time, taba_unique_hash(l->values, length), 1);
        return reserved;
    }
    void *texts = p->texts;
    int status = p->text_used + length <= UINT32_MAX ? TABA_OK : TABA_ENOMEM;
    if (status == TABA_OK)
        status = taba_array_reserve(taba_statsd_allocator(p), &texts, &p->text_room, p->text_used + length, 1, 1024);
    p->texts = texts;
    if (status == TABA_OK)
        status = taba_statsd_reserve(p, 1);
    if (status != TABA_OK)
        return status;
    memcpy(p->texts + p->text_used, l->values, length);
    taba_statsd_put(p, l->metric, tab, l->time, 0, 1);
    p->events[p->count - 1].value.text.at = (uint32_t)p->text_used;
    p->events[p->count - 1].value.text.length = (uint32_t)length;
    p->text_used += length;
    return TABA_OK;
}

/* ------------------------------------------------------------------------------------------- lines */

int taba_statsd_reserve(taba_statsd *p, size_t more) {
    void *events = p->events;
    const int status = taba_array_reserve(taba_statsd_allocator(p), &events, &p->event_room, p->count + more, sizeof *p->events, 1024);
    p->events = events;
    return status;
}

static bool begins_with(const uint8_t *at, size_t length, const char *text) {
    return length >= strlen(text) && memcmp(at, text, strlen(text)) == 0;
}

/* Take a line that was taken apart. */
static int take(taba_statsd *p, const line *l) {
    const taba_statsd_type *type = &p->types[l->metric];
    const bool timer = l->metric == TABA_STATSD_MS || l->metric == TABA_STATSD_H || l->metric == TABA_STATSD_D;
    uint32_t tab;
    if (type->kind < 0 || type->length == 0) {
        if (type->kind < 0)
            taba_statsd_refuse(p, TABA_STATSD_TYPE, l->start, l->length);
        else
            p->counts.ignored[TABA_STATSD_UNUSED]++;
        return TABA_OK;
    }
    if (timer && 1 / l->rate > TABA_STATSD_WEIGHT_MAX) {
        taba_statsd_refuse(p, TABA_STATSD_RATE, l->start, l->length);
        return TABA_OK;
    }
    const uint64_t hash = taba_statsd_hash(p, l->metric, l->name, l->name_length, l->tags, l->tags_length);
    const int status = taba_statsd_find(p, hash, l->metric, l->name, l->name_length, l->tags, l->tags_length, &tab);
    if (status != TABA_OK)
        return status;
    if (tab == UINT32_MAX) {
        taba_statsd_refuse(p, TABA_STATSD_NAME, l->start, l->length);
        return TABA_OK;
    }
    return l->metric == TABA_STATSD_S ? take_member(p, l, tab) : take_numbers(p, l, tab);
}

int taba_statsd_line(taba_statsd *p, const uint8_t *start, size_t length) {
    if (length > 0 && start[length - 1] == '\r')
        length--;
    line l = {start, length, NULL, NULL, NULL, NULL, 0, 0, 0, 1, p->clock.now};
    int status = TABA_OK;
    if (length == 0)
        return TABA_OK;
    if (begins_with(start, length, "_e{")) {
        p->counts.ignored[TABA_STATSD_EVENT]++;
    } else if (begins_with(start, length, "_sc|")) {
        p->counts.ignored[TABA_STATSD_CHECK]++;
    } else if (length > TABA_STATSD_LINE_MAX) {
        taba_statsd_refuse(p, TABA_STATSD_SIZE, start, length);
    } else {
        const int reason = read_line(p, &l);
        if (reason != TAKEN)
            taba_statsd_refuse(p, reason, start, length);
        else
            status = take(p, &l);
    }
    p->counts.lines += status == TABA_OK;
    return status;
}
