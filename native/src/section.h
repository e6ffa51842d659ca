/* section.h - writing and reading the sections of batches (docs/reference/batches.md). */
#ifndef TABA_SECTION_H
#define TABA_SECTION_H

#include "internal.h"
#include "slots.h"

/* The first byte of every section that this build writes and reads. */
#define TABA_SECTION_VERSION 1

/* ------------------------------------------------------------------------------------------- writing */

/* One Partial on its way into a section: its names, by their numbers at the source. */
typedef struct taba_entry_names {
    uint32_t tab, client, type;
    uint32_t group; /* entries of different groups never share a section */
    uint32_t crc;   /* taba_crc32(0, tab) */
} taba_entry_names;

/* Where sections come from: `entries` Partials whose names have numbers below `names`. */
typedef struct taba_section_source {
    const void *owner;
    size_t entries, names;
    taba_entry_names (*entry)(const void *owner, size_t i);
    taba_blob (*name)(const void *owner, uint32_t number);
    uint64_t (*events)(const void *owner, size_t i);
    int (*append)(const void *owner, size_t i, taba_buffer *out); /* append the Partial; TABA_OK or an error */
    void (*soon)(const void *owner, size_t i); /* entry i is a few entries ahead; may be NULL */
} taba_section_source;

/* Append the sections of all entries to `out`, and one taba_section for each vbucket to `index`: vbuckets ascending,
 * within one groups as they come, within a section entries as they come. With num_vbuckets 0 there is one vbucket, 0.
 * TABA_OK; TABA_ENOMEM, TABA_ELIMIT (more entries or names than 32 bits can number) or the error of `append`, and both
 * buffers are as they were. O(entries + names) for each 16 bits of num_vbuckets. */
int taba_sections_write(const taba_section_source *source, uint32_t num_vbuckets, const taba_allocator *a, taba_buffer *out,
                        taba_buffer *index);

/* ------------------------------------------------------------------------------------------- reading */

/* A name of a batch: where its bytes are. */
typedef struct taba_batch_name {
    uint64_t hash; /* first, as slots.h wants it */
    size_t at, length;
} taba_batch_name;

typedef struct taba_batch_entry {
    uint64_t hash;    /* of the three names; first, as slots.h wants it */
    uint32_t name[3]; /* tab, client, type: numbers of names of the batch, counted over all its sections */
    uint32_t section;
    uint32_t crc;      /* for who needs it: taba_crc32(0, tab); taba_batch_read does not set it */
    uint64_t events;
    size_t at, length; /* the Partial */
} taba_batch_entry;

/* What is in a batch, in its order. All zeros when empty. */
typedef struct taba_batch {
    const uint8_t *bytes;
    taba_batch_name *name;
    size_t name_count, name_room;
    taba_batch_entry *entry;
    size_t entry_count, entry_room;
} taba_batch;

/* Read a batch, which must outlive `out`, and check everything but the inside of its Partials. TABA_OK; TABA_ECORRUPT,
 * TABA_EVERSION, TABA_ENOMEM, or TABA_ELIMIT from 4 GiB up, with nothing to free. O(length). */
int taba_batch_read(taba_blob batch, const taba_allocator *a, taba_batch *out);

void taba_batch_free(taba_batch *batch, const taba_allocator *a);

/* What taba_batch_index says of one entry. */
static inline taba_entry taba_batch_told(const taba_batch *batch, const taba_batch_entry *from) {
    const taba_batch_name *tab = &batch->name[from->name[0]], *client = &batch->name[from->name[1]],
                          *type = &batch->name[from->name[2]];
    const taba_blob partial = {batch->bytes + from->at, from->length};
    taba_entry entry;
    memset(&entry, 0, sizeof entry);
    entry.tab = tab->at;
    entry.tab_length = tab->length;
    entry.client = client->at;
    entry.client_length = client->length;
    entry.type = type->at;
    entry.type_length = type->length;
    entry.partial = from->at;
    entry.partial_length = from->length;
    entry.events = from->events;
    entry.first_byte = from->length ? partial.bytes[0] : -1;
    entry.status = taba_partial_extent(partial, &entry.partial_events, &entry.newest);
    return entry;
}

#endif
