/* fuzz_batch.c - any bytes as a batch.
 *
 * The first four bytes are the number of vbuckets, the rest is the batch. What is refused must be refused by
 * taba_batch_index and taba_batch_split alike. What is accepted must come out of the splitter whole: every part a batch
 * of its own, in the right vbucket, the same entries and events in all; and undivided byte for byte as it went in, but
 * for sections without entries.
 */
#include <stdlib.h>

#include "internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define MUST(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

typedef struct totals {
    size_t entries, name_bytes, partial_bytes;
    uint64_t events;
} totals;

static taba_blob blob_of(const taba_buffer *b) {
    const taba_blob blob = {taba_buffer_bytes(b), taba_buffer_length(b)};
    return blob;
}

/* Add up a batch; all its tabs must be in `vbucket` of `num_vbuckets`, if that is not 0. */
static totals add_up(taba_blob batch, uint32_t num_vbuckets, uint32_t vbucket, totals sum) {
    taba_buffer *index = taba_buffer_new(NULL);
    MUST(taba_batch_index(batch, index) == TABA_OK);
    for (size_t i = 0; i < taba_buffer_length(index); i += sizeof(taba_entry)) {
        taba_entry entry;
        memcpy(&entry, taba_buffer_bytes(index) + i, sizeof entry);
        MUST(entry.tab + entry.tab_length <= batch.length && entry.client + entry.client_length <= batch.length);
        MUST(entry.type + entry.type_length <= batch.length && entry.partial + entry.partial_length <= batch.length);
        MUST(num_vbuckets == 0 || taba_crc32(0, batch.bytes + entry.tab, entry.tab_length) % num_vbuckets == vbucket);
        sum.entries++;
        sum.name_bytes += entry.tab_length + entry.client_length + entry.type_length;
        sum.partial_bytes += entry.partial_length;
        sum.events += entry.events;
    }
    taba_buffer_free(index);
    return sum;
}

static void check_split(taba_blob batch, uint32_t num_vbuckets) {
    taba_buffer *out = taba_buffer_new(NULL), *index = taba_buffer_new(NULL);
    const totals none = {0, 0, 0, 0}, before = add_up(batch, 0, 0, none);
    totals after = none;
    size_t end = 0;
    MUST(taba_batch_split(batch, num_vbuckets, out, index) == TABA_OK);
    for (size_t i = 0; i < taba_buffer_length(index); i += sizeof(taba_section)) {
        taba_section section;
        memcpy(&section, taba_buffer_bytes(index) + i, sizeof section);
        MUST(section.offset == end && section.length <= taba_buffer_length(out) - end);
        const taba_blob part = {taba_buffer_bytes(out) + section.offset, section.length};
        const totals sum = add_up(part, num_vbuckets, section.vbucket, after);
        MUST(sum.events - after.events == section.events && sum.entries > after.entries);
        after = sum;
        end += section.length;
    }
    MUST(end == taba_buffer_length(out));
    MUST(before.entries == after.entries && before.name_bytes == after.name_bytes);
    MUST(before.partial_bytes == after.partial_bytes && before.events == after.events);
    taba_buffer_free(index);
    taba_buffer_free(out);
}

/* Undivided, a batch comes back as it was, but for sections without entries, which are the three bytes 01 00 00. */
static void check_whole(taba_blob batch) {
    taba_buffer *out = taba_buffer_new(NULL), *index = taba_buffer_new(NULL), *again = taba_buffer_new(NULL);
    MUST(taba_batch_split(batch, 0, out, index) == TABA_OK);
    MUST(taba_buffer_length(out) <= batch.length && (batch.length - taba_buffer_length(out)) % 3 == 0);
    if (taba_buffer_length(out) == batch.length)
        MUST(batch.length == 0 || memcmp(taba_buffer_bytes(out), batch.bytes, batch.length) == 0);
    if (taba_buffer_length(out) > 0) {
        MUST(taba_batch_split(blob_of(out), 1, again, index) == TABA_OK);
        MUST(taba_buffer_length(again) == taba_buffer_length(out));
        MUST(memcmp(taba_buffer_bytes(again), taba_buffer_bytes(out), taba_buffer_length(out)) == 0);
    }
    taba_buffer_free(again);
    taba_buffer_free(index);
    taba_buffer_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    uint32_t num_vbuckets;
    if (length < sizeof num_vbuckets)
        return 0;
    memcpy(&num_vbuckets, bytes, sizeof num_vbuckets);
    const taba_blob batch = {bytes + sizeof num_vbuckets, length - sizeof num_vbuckets};
    taba_buffer *out = taba_buffer_new(NULL), *index = taba_buffer_new(NULL);
    const int status = taba_batch_index(batch, index);
    MUST(status == taba_batch_split(batch, num_vbuckets, out, index));
    MUST(status == TABA_OK || taba_buffer_length(out) + taba_buffer_length(index) == 0);
    taba_buffer_free(index);
    taba_buffer_free(out);
    if (status == TABA_OK) {
        check_split(batch, num_vbuckets);
        check_whole(batch);
    }
    return 0;
}
