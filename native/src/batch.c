/* batch.c - reading batches (docs/reference/batches.md), which come from other processes: nothing in them is trusted.
 *
 * Numbers of elements are compared with the bytes that are left before memory is asked for, so a batch of n bytes never
 * takes more than some 50 n of work space. That no two names, and no two entries, of a section are equal is found by
 * hashing, with a seed that follows where memory happens to lie, so that a sender cannot prepare names with equal
 * hashes.
 */
#include "names.h"
#include "section.h"

#define LEAST_NAME 2  /* bytes of a name in a section: its length and one character */
#define LEAST_ENTRY 5 /* bytes of an entry: five uvarints, and a Partial that may be empty as far as this file knows */

typedef struct reader {
    taba_cursor at;
    const taba_allocator *a;
    taba_batch *batch;
    taba_slots slots; /* of the names, then of the entries, of the section being read */
    uint64_t seed;
    uint64_t events;  /* of the batch so far */
    uint32_t sections;
} reader;

/* Read a number of elements of at least `least` bytes each. */
static int read_count(reader *r, size_t least, size_t *out) {
    uint64_t count;
    const int status = taba_get_uvarint(&r->at, &count);
    if (status != TABA_OK)
        return status;
    if (count > taba_cursor_left(&r->at) / least)
        return TABA_ECORRUPT;
    *out = (size_t)count;
    return TABA_OK;
}

/* Read the next name; `first` is the number of the first one of the section. */
static int read_name(reader *r, size_t first) {
    taba_batch *batch = r->batch;
    uint64_t length;
    const uint8_t *bytes;
    int status = taba_get_uvarint(&r->at, &length);
    if (status == TABA_OK)
        status = taba_get_bytes(&r->at, length, &bytes);
    if (status != TABA_OK)
        return status;
    if (!taba_name_valid(bytes, (size_t)length, TABA_NAME_MAX))
        return TABA_ECORRUPT;
    const taba_batch_name name = {taba_hash(bytes, (size_t)length, r->seed), (size_t)(bytes - batch->bytes), (size_t)length};
    for (taba_probe p = taba_slots_find(&r->slots, name.hash); taba_slots_next(&r->slots, &p);) {
        const taba_batch_name *other = &batch->name[first + p.number];
        if (other->length == name.length && memcmp(batch->bytes + other->at, bytes, name.length) == 0)
            return TABA_ECORRUPT;
    }
    taba_slots_add(&r->slots, name.hash, batch->name_count - first);
    batch->name[batch->name_count++] = name;
    return TABA_OK;
}

static int read_names(reader *r) {
    taba_batch *batch = r->batch;
    const size_t first = batch->name_count;
    size_t count;
    void *array = batch->name;
    int status = read_count(r, LEAST_NAME, &count);
    if (status == TABA_OK)
        status = taba_slots_restart(&r->slots, r->a, count);
    if (status == TABA_OK)
        status = taba_array_reserve(r->a, &array, &batch->name_room, first + count, sizeof *batch->name, 16);
    batch->name = array;
    for (size_t i = 0; i < count && status == TABA_OK; i++)
        status = read_name(r, first);
    return status;
}

/* Read the number of a name of the section that begins with name `first`; *seen is how many of them were used so far. A
 * name is numbered by its first use, so the next one is either among those or the very next. */
static int read_number(reader *r, size_t first, size_t *seen, uint32_t *out) {
    uint64_t number;
    const int status = taba_get_uvarint(&r->at, &number);
    if (status != TABA_OK)
        return status;
    if (number > *seen || number >= r->batch->name_count - first)
        return TABA_ECORRUPT;
    *seen += number == *seen;
    *out = (uint32_t)(first + number);
    return TABA_OK;
}

/* Enter the entry into the section's index; TABA_ECORRUPT if its three names came before. */
static int add_entry(reader *r, const taba_batch_entry *entry, size_t first) {
    taba_batch *batch = r->batch;
    for (taba_probe p = taba_slots_find(&r->slots, entry->hash); taba_slots_next(&r->slots, &p);) {
        if (memcmp(batch->entry[first + p.number].name, entry->name, sizeof entry->name) == 0)
            return TABA_ECORRUPT;
    }
    taba_slots_add(&r->slots, entry->hash, batch->entry_count - first);
    batch->entry[batch->entry_count++] = *entry;
    return TABA_OK;
}

static int read_entry(reader *r, size_t first_name, size_t *seen, size_t first) {
    taba_batch_entry entry = {0, {0, 0, 0}, r->sections, 0, 0, 0, 0};
    uint64_t length;
    const uint8_t *bytes;
    int status = TABA_OK;
    for (int i = 0; i < 3 && status == TABA_OK; i++)
        status = read_number(r, first_name, seen, &entry.name[i]);
    if (status == TABA_OK)
        status = taba_get_uvarint(&r->at, &entry.events);
    if (status == TABA_OK)
        status = taba_get_uvarint(&r->at, &length);
    if (status == TABA_OK)
        status = taba_get_bytes(&r->at, length, &bytes);
    if (status != TABA_OK)
        return status;
    if (entry.events > UINT64_MAX - r->events)
        return TABA_ECORRUPT;
    r->events += entry.events;
    entry.at = (size_t)(bytes - r->batch->bytes);
    entry.length = (size_t)length;
    entry.hash = taba_hash_join(taba_hash_join(entry.name[0], entry.name[1]) ^ r->seed, entry.name[2]);
    return add_entry(r, &entry, first);
}

static int read_section(reader *r) {
    taba_batch *batch = r->batch;
    const size_t first_name = batch->name_count, first = batch->entry_count;
    uint8_t version;
    size_t count, seen = 0;
    int status = taba_get_u8(&r->at, &version);
    if (status == TABA_OK && version != TABA_SECTION_VERSION)
        status = TABA_EVERSION;
    if (status == TABA_OK)
        status = read_names(r);
    if (status == TABA_OK)
        status = read_count(r, LEAST_ENTRY, &count);
    if (status == TABA_OK)
        status = taba_slots_restart(&r->slots, r->a, count);
    if (status != TABA_OK)
        return status;
    void *array = batch->entry;
    status = taba_array_reserve(r->a, &array, &batch->entry_room, first + count, sizeof *batch->entry, 16);
    batch->entry = array;
    for (size_t i = 0; i < count && status == TABA_OK; i++)
        status = read_entry(r, first_name, &seen, first);
    if (status == TABA_OK && seen != batch->name_count - first_name)
        status = TABA_ECORRUPT;
    r->sections++;
    return status;
}

int taba_batch_read(taba_blob batch, const taba_allocator *a, taba_batch *out) {
    reader r = {taba_cursor_of(batch.bytes, batch.length), a, out, {NULL, 0, 0}, 0, 0, 0};
    int status = batch.length == 0 ? TABA_ECORRUPT : batch.length > UINT32_MAX ? TABA_ELIMIT : TABA_OK;
    memset(out, 0, sizeof *out);
    out->bytes = batch.bytes;
    r.seed = (uint64_t)(uintptr_t)batch.bytes ^ (uint64_t)(uintptr_t)&r << 20;
    while (status == TABA_OK && taba_cursor_left(&r.at) > 0)
        status = read_section(&r);
    taba_slots_free(&r.slots, a);
    if (status != TABA_OK)
        taba_batch_free(out, a);
    return status;
}

void taba_batch_free(taba_batch *batch, const taba_allocator *a) {
    taba_release(a, batch->name, batch->name_room * sizeof *batch->name);
    taba_release(a, batch->entry, batch->entry_room * sizeof *batch->entry);
    memset(batch, 0, sizeof *batch);
}

int taba_batch_index(taba_blob batch, taba_buffer *index) {
    const taba_allocator *a = taba_buffer_allocator(index);
    const size_t before = taba_buffer_length(index);
    taba_batch read;
    int status = taba_batch_read(batch, a, &read);
    for (size_t i = 0; status == TABA_OK && i < read.entry_count; i++) {
        const taba_entry entry = taba_batch_told(&read, &read.entry[i]);
        status = taba_buffer_append(index, &entry, sizeof entry);
    }
    if (status != TABA_OK)
        taba_buffer_truncate(index, before);
    taba_batch_free(&read, a);
    return status;
}

/* ------------------------------------------------------------------------------------------- splitting */

static taba_entry_names split_entry(const void *owner, size_t i) {
    const taba_batch *batch = owner;
    const taba_batch_entry *entry = &batch->entry[i];
    const taba_entry_names names = {entry->name[0], entry->name[1], entry->name[2], entry->section, entry->crc};
    return names;
}

static taba_blob split_name(const void *owner, uint32_t number) {
    const taba_batch *batch = owner;
    const taba_blob blob = {batch->bytes + batch->name[number].at, batch->name[number].length};
    return blob;
}

static uint64_t split_events(const void *owner, size_t i) {
    const taba_batch *batch = owner;
    return batch->entry[i].events;
}

static int split_append(const void *owner, size_t i, taba_buffer *out) {
    const taba_batch *batch = owner;
    return taba_buffer_append(out, batch->bytes + batch->entry[i].at, batch->entry[i].length);
}

int taba_batch_split(taba_blob batch, uint32_t num_vbuckets, taba_buffer *out, taba_buffer *index) {
    const taba_allocator *a = taba_buffer_allocator(out);
    taba_batch read;
    int status = taba_batch_read(batch, a, &read);
    if (status != TABA_OK)
        return status;
    for (size_t i = 0; i < read.entry_count; i++) {
        const taba_batch_name *tab = &read.name[read.entry[i].name[0]];
        read.entry[i].crc = taba_crc32(0, read.bytes + tab->at, tab->length);
    }
    const taba_section_source source = {&read,      read.entry_count, read.name_count, split_entry,
                                        split_name, split_events,     split_append,    NULL};
    status = taba_sections_write(&source, num_vbuckets, a, out, index);
    taba_batch_free(&read, a);
    return status;
}
