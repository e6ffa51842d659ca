/* statsd_names.c - which tab a name with its tags is.
 *
 * `web.hits` with the tags `env:prod,zone:eu` is the tab `web.hits;env=prod;zone=eu`: tags in the order of their bytes,
 * each once, characters that no name has replaced by `_`. What was found out stays with the bytes as they came, so that it
 * is done once for each way of writing a name.
 */
#include <stdlib.h>

#include "statsd.h"

/* A tag as it came. */
typedef struct tag {
    const uint8_t *at;
    size_t length;
} tag;

/* Numbers by which metrics set hashes apart. */
#define METRIC_FACTOR UINT64_C(0x9e3779b97f4a7c15)

uint64_t taba_statsd_hash(const taba_statsd *p, int metric, const uint8_t *name, size_t name_length, const uint8_t *tags,
                          size_t tags_length) {
    uint64_t hash = taba_hash(name, name_length, p->seed);
    if (tags_length > 0)
        hash = taba_hash_join(hash, taba_hash(tags, tags_length, p->seed));
    return hash + (uint64_t)metric * METRIC_FACTOR;
}

/* Whether two names are the same; most are short, and a call of memcmp costs as much as the rest of the search. */
static inline bool same(const uint8_t *x, const uint8_t *y, size_t length) {
    uint64_t a, b;
    if (length < sizeof a)
        return memcmp(x, y, length) == 0;
    for (size_t i = 0; i + sizeof a <= length; i += sizeof a) {
        memcpy(&a, x + i, sizeof a);
        memcpy(&b, y + i, sizeof b);
        if (a != b)
            return false;
    }
    memcpy(&a, x + length - sizeof a, sizeof a); /* may overlap the one before */
    memcpy(&b, y + length - sizeof b, sizeof b);
    return a == b;
}

/* ------------------------------------------------------------------------------------------- new names */

static int compare(const void *x, const void *y) {
    const tag *a = x, *b = y;
    const size_t length = a->length < b->length ? a->length : b->length;
    const int order = memcmp(a->at, b->at, length);
    return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

/* The tags of a line in order, each once, without empty ones; their number, or -1 for too many. */
static int sort_tags(const uint8_t *at, size_t length, tag out[TABA_STATSD_TAGS_MAX]) {
    const uint8_t *end = length > 0 ? at + length : at;
    int n = 0, kept = 0;
    while (at < end) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma != NULL ? comma : end;
        if (stop > at) {
            if (n == TABA_STATSD_TAGS_MAX)
                return -1;
            out[n].at = at;
            out[n++].length = (size_t)(stop - at);
        }
        at = stop + (comma != NULL);
    }
    if (n > 0)
        qsort(out, (size_t)n, sizeof *out, compare);
    for (int i = 0; i < n; i++) {
        if (kept == 0 || compare(&out[kept - 1], &out[i]) != 0)
            out[kept++] = out[i];
    }
    return kept;
}

/* Append a character of a name, or `_` for one that no name has. */
static uint8_t *put(uint8_t *to, uint8_t c) {
    *to = taba_name_valid(&c, 1, 1) ? c : '_';
    return to + 1;
}

/* Write ;key=value. The first colon of a tag separates the two; other colons stay in the value. */
static uint8_t *put_tag(uint8_t *to, const tag *from) {
    bool in_key = true;
    *to++ = ';';
    for (size_t i = 0; i < from->length; i++) {
        const uint8_t c = from->at[i];
        if (c == ':' && in_key) {
            *to++ = '=';
            in_key = false;
        } else if (c == ';' || (c == '=' && in_key)) {
            *to++ = '_';
        } else {
            to = put(to, c);
        }
    }
    return to;
}

/* The name of a tab into `out`, which has room for TABA_NAME_MAX bytes; its length, or 0 if it cannot be one. *canonical
 * gets the hash of what it was made from. */
static size_t build(const taba_statsd *p, const uint8_t *name, size_t name_length, const uint8_t *tags, size_t tags_length,
                    uint8_t *out, uint64_t *canonical) {
    tag sorted[TABA_STATSD_TAGS_MAX];
    const int n = sort_tags(tags, tags_length, sorted);
    size_t length = name_length;
    if (n < 0)
        return 0;
    *canonical = taba_hash(name, name_length, p->seed);
    for (int i = 0; i < n; i++) {
        length += sorted[i].length + 1;
        *canonical = taba_hash_join(*canonical, taba_hash(sorted[i].at, sorted[i].length, p->seed));
    }
    if (length > p->max_name)
        return 0;
    for (size_t i = 0; i < name_length; i++)
        out = put(out, name[i]);
    for (int i = 0; i < n; i++)
        out = put_tag(out, &sorted[i]);
    return length;
}

/* Make room for one more key of `length` bytes, one more tab of `tab_length`, and the places of tabs in giving. */
static int reserve(taba_statsd *p, size_t length, size_t tab_length) {
    const taba_allocator *a = taba_statsd_allocator(p);
    void *array = p->keys;
    int status = p->key_count < TABA_RECORDS_MAX ? taba_array_reserve(a, &array, &p->key_room, p->key_count + 1, sizeof *p->keys, 64) : TABA_ENOMEM;
    p->keys = array;
    array = p->key_bytes;
    if (status == TABA_OK)
        status = taba_array_reserve(a, &array, &p->key_bytes_room, p->key_used + length, 1, 2048);
    p->key_bytes = array;
    array = p->tabs;
    if (status == TABA_OK)
        status = taba_array_reserve(a, &array, &p->tab_room, p->tab_count + 1, sizeof *p->tabs, 64);
    p->tabs = array;
    array = p->tab_bytes;
    if (status == TABA_OK)
        status = taba_array_reserve(a, &array, &p->tab_bytes_room, p->tab_used + tab_length, 1, 2048);
    p->tab_bytes = array;
    if (status == TABA_OK)
        status = taba_slots_reserve(&p->key_slots, a, p->key_count + 1, p->keys, sizeof *p->keys, p->key_count);
    if (status == TABA_OK)
        status = taba_slots_reserve(&p->tab_slots, a, p->tab_count + 1, p->tabs, sizeof *p->tabs, p->tab_count);
    return status;
}

/* The number of the tab of a name and metric, which is made if it is new; room was reserved. */
static uint32_t number_of(taba_statsd *p, int metric, const uint8_t *name, size_t length, uint64_t canonical) {
    const uint64_t hash = taba_statsd_hash(p, metric, name, length, NULL, 0);
    for (taba_probe probe = taba_slots_find(&p->tab_slots, hash); taba_slots_next(&p->tab_slots, &probe);) {
        const taba_statsd_tab *tab = &p->tabs[probe.number];
        if (tab->hash == hash && tab->metric == metric && tab->length == length && same(p->tab_bytes + tab->at, name, length)) {
            p->counts.collisions += tab->canonical != canonical;
            return (uint32_t)probe.number;
        }
    }
    const taba_statsd_tab fresh = {hash, canonical, p->tab_used, (uint32_t)length, metric, 0, 0};
    memcpy(p->tab_bytes + p->tab_used, name, length);
    taba_slots_add(&p->tab_slots, hash, p->tab_count);
    p->tab_used += length;
    p->tabs[p->tab_count] = fresh;
    return (uint32_t)p->tab_count++;
}

/* Make a key that is new, and its tab; as taba_statsd_find. */
static int add(taba_statsd *p, uint64_t hash, int metric, const uint8_t *name, size_t name_length, const uint8_t *tags,
               size_t tags_length, uint32_t *tab) {
    uint8_t built[TABA_NAME_MAX];
    uint64_t canonical;
    const size_t length = name_length <= TABA_NAME_MAX ? build(p, name, name_length, tags, tags_length, built, &canonical) : 0;
    *tab = UINT32_MAX;
    if (length == 0)
        return TABA_OK;
    const int status = reserve(p, name_length + tags_length, length);
    if (status != TABA_OK)
        return status;
    *tab = number_of(p, metric, built, length, canonical);
    taba_statsd_key fresh = {hash, p->key_used, (uint32_t)name_length, (uint32_t)(name_length + tags_length), *tab, metric, {0}};
    memcpy(p->key_bytes + p->key_used, name, name_length);
    if (tags_length > 0)
        memcpy(p->key_bytes + p->key_used + name_length, tags, tags_length);
    memcpy(fresh.head, p->key_bytes + p->key_used, fresh.length < TABA_STATSD_HEAD ? fresh.length : TABA_STATSD_HEAD);
    taba_slots_add(&p->key_slots, hash, p->key_count);
    p->key_used += name_length + tags_length;
    p->keys[p->key_count++] = fresh;
    return TABA_OK;
}

/* ------------------------------------------------------------------------------------------- known names */

/* Whether a key, whose hash is right, is of this name and tags. */
static inline bool is(const taba_statsd *p, const taba_statsd_key *key, const uint8_t *name, size_t name_length,
                      const uint8_t *tags, size_t tags_length) {
    if (key->name_length != name_length || key->length != name_length + tags_length)
        return false;
    const uint8_t *bytes = key->length <= TABA_STATSD_HEAD ? key->head : p->key_bytes + key->at;
    return same(bytes, name, name_length) && (tags_length == 0 || same(bytes + name_length, tags, tags_length));
}

int taba_statsd_find(taba_statsd *p, uint64_t hash, int metric, const uint8_t *name, size_t name_length, const uint8_t *tags,
                     size_t tags_length, uint32_t *tab) {
    for (taba_probe probe = taba_slots_find(&p->key_slots, hash); taba_slots_next(&p->key_slots, &probe);) {
        const taba_statsd_key *key = &p->keys[probe.number];
        if (key->hash == hash && key->metric == metric && is(p, key, name, name_length, tags, tags_length)) {
            *tab = key->tab;
            return TABA_OK;
        }
    }
    return add(p, hash, metric, name, name_length, tags, tags_length, tab);
}
