/* section.c - writing the sections of batches; see section.h.
 *
 * Entries are sorted by vbucket without comparing them (radix sort, 16 bits at a time), which keeps their order within
 * each. A section numbers its names by first use: `mark` remembers, for every name of the source, its number in the
 * section written last that used it, so that nothing has to be cleared or searched between sections.
 */
#include "section.h"

#define DIGIT_BITS 16
#define AHEAD 8 /* entries, that a source is told of beforehand */

/* The number of a name in section `section` (counted from 1). */
typedef struct mark {
    uint32_t section, number;
} mark;

typedef struct writer {
    const taba_section_source *source;
    const taba_allocator *a;
    taba_buffer *out;
    uint32_t num_vbuckets;
    uint32_t *order, *spare; /* entries by vbucket; work space for sorting them */
    uint32_t *used;          /* the names of the section, by their numbers in it */
    mark *marks;
    uint32_t sections;       /* begun so far */
} writer;

static uint32_t vbucket_of(const writer *w, uint32_t i) {
    return w->source->entry(w->source->owner, i).crc % w->num_vbuckets;
}

/* Sort w->order by the 16 bits of the vbucket above bit `low`, keeping the order of equals. */
static void sort_by_digit(writer *w, size_t *count, size_t digits, int low) {
    const size_t n = w->source->entries;
    size_t before = 0;
    memset(count, 0, digits * sizeof *count);
    for (size_t i = 0; i < n; i++)
        count[(vbucket_of(w, w->order[i]) >> low) & 0xffff]++;
    for (size_t digit = 0; digit < digits; digit++) {
        const size_t here = count[digit];
        count[digit] = before;
        before += here;
    }
    for (size_t i = 0; i < n; i++)
        w->spare[count[(vbucket_of(w, w->order[i]) >> low) & 0xffff]++] = w->order[i];
    uint32_t *sorted = w->spare;
    w->spare = w->order;
    w->order = sorted;
}

static int sort_entries(writer *w) {
    const uint32_t highest = w->num_vbuckets - 1;
    const size_t digits = highest >> DIGIT_BITS != 0 ? (size_t)1 << DIGIT_BITS : (size_t)highest + 1;
    for (size_t i = 0; i < w->source->entries; i++)
        w->order[i] = (uint32_t)i;
    if (highest == 0)
        return TABA_OK;
    size_t *count = taba_resize(w->a, NULL, 0, digits * sizeof *count);
    if (count == NULL)
        return TABA_ENOMEM;
    sort_by_digit(w, count, digits, 0);
    if (highest >> DIGIT_BITS != 0)
        sort_by_digit(w, count, digits, DIGIT_BITS);
    taba_release(w->a, count, digits * sizeof *count);
    return TABA_OK;
}

/* Give the name its number in this section, if it has none yet. */
static void number_name(writer *w, uint32_t name, uint32_t *count) {
    if (w->marks[name].section == w->sections)
        return;
    w->marks[name].section = w->sections;
    w->marks[name].number = *count;
    w->used[(*count)++] = name;
}

/* Write the version and the names of the section that entries order[from] to order[to - 1] make. */
static int write_names(writer *w, size_t from, size_t to) {
    const taba_section_source *source = w->source;
    uint32_t count = 0;
    w->sections++;
    for (size_t i = from; i < to; i++) {
        const taba_entry_names names = source->entry(source->owner, w->order[i]);
        number_name(w, names.tab, &count);
        number_name(w, names.client, &count);
        number_name(w, names.type, &count);
    }
    int status = taba_put_u8(w->out, TABA_SECTION_VERSION);
    if (status == TABA_OK)
        status = taba_put_uvarint(w->out, count);
    for (uint32_t i = 0; i < count && status == TABA_OK; i++) {
        const taba_blob name = source->name(source->owner, w->used[i]);
        status = taba_put_uvarint(w->out, name.length);
        if (status == TABA_OK)
            status = taba_buffer_append(w->out, name.bytes, name.length);
    }
    return status;
}

/* Append the Partial of entry i behind its length, which is known only afterwards: *guess is how many bytes it will
 * take, and is set to how many it took. */
static int write_partial(writer *w, uint32_t i, size_t *guess) {
    const size_t start = taba_buffer_length(w->out);
    int status = taba_buffer_reserve(w->out, TABA_UVARINT_MAX);
    if (status != TABA_OK)
        return status;
    taba_buffer_extend_to(w->out, start + *guess);
    status = w->source->append(w->source->owner, i, w->out);
    if (status == TABA_OK)
        status = taba_buffer_reserve(w->out, TABA_UVARINT_MAX);
    if (status != TABA_OK)
        return status;
    const size_t length = taba_buffer_length(w->out) - start - *guess, bytes = taba_uvarint_length(length);
    uint8_t *at = taba_buffer_writable(w->out) + start;
    if (bytes != *guess)
        memmove(at + bytes, at + *guess, length);
    taba_store_uvarint(at, length);
    taba_buffer_extend_to(w->out, start + bytes + length);
    *guess = bytes;
    return TABA_OK;
}

/* Write the entries order[from] to order[to - 1] of a section whose names are numbered; *events gets their events
 * added. */
static int write_entries(writer *w, size_t from, size_t to, uint64_t *events) {
    const taba_section_source *source = w->source;
    size_t guess = 1;
    int status = taba_put_uvarint(w->out, to - from);
    for (size_t i = from; i < to && status == TABA_OK; i++) {
        if (source->soon != NULL && to - i > AHEAD)
            source->soon(source->owner, w->order[i + AHEAD]);
        const taba_entry_names names = source->entry(source->owner, w->order[i]);
        const uint64_t here = source->events(source->owner, w->order[i]);
        status = taba_buffer_reserve(w->out, 4 * TABA_UVARINT_MAX);
        if (status != TABA_OK)
            return status;
        uint8_t *start = taba_buffer_writable(w->out), *at = start + taba_buffer_length(w->out);
        at = taba_store_uvarint(at, w->marks[names.tab].number);
        at = taba_store_uvarint(at, w->marks[names.client].number);
        at = taba_store_uvarint(at, w->marks[names.type].number);
        at = taba_store_uvarint(at, here);
        taba_buffer_extend_to(w->out, (size_t)(at - start));
        *events += here;
        status = write_partial(w, w->order[i], &guess);
    }
    return status;
}

/* Write the sections of the vbucket that entry order[*at] is in, and move *at behind its entries. */
static int write_vbucket(writer *w, size_t *at, taba_buffer *index) {
    const taba_section_source *source = w->source;
    taba_section section;
    int status = TABA_OK;
    memset(&section, 0, sizeof section); /* also what may be between its fields: it is copied as bytes */
    section.vbucket = vbucket_of(w, w->order[*at]);
    section.offset = taba_buffer_length(w->out);
    while (status == TABA_OK && *at < source->entries && vbucket_of(w, w->order[*at]) == section.vbucket) {
        const uint32_t group = source->entry(source->owner, w->order[*at]).group;
        size_t to = *at + 1;
        while (to < source->entries && vbucket_of(w, w->order[to]) == section.vbucket &&
               source->entry(source->owner, w->order[to]).group == group)
            to++;
        status = write_names(w, *at, to);
        if (status == TABA_OK)
            status = write_entries(w, *at, to, &section.events);
        *at = to;
    }
    section.length = taba_buffer_length(w->out) - section.offset;
    return status == TABA_OK ? taba_buffer_append(index, &section, sizeof section) : status;
}

/* An array of n elements, zeroed; NULL when out of memory. */
static void *new_array(const taba_allocator *a, size_t n, size_t size) {
    size_t bytes;
    void *array = taba_size_times(n, size, &bytes) ? taba_resize(a, NULL, 0, bytes) : NULL;
    if (array != NULL)
        memset(array, 0, bytes);
    return array;
}

int taba_sections_write(const taba_section_source *source, uint32_t num_vbuckets, const taba_allocator *a, taba_buffer *out,
                        taba_buffer *index) {
    const size_t n = source->entries, names = source->names;
    const size_t out_length = taba_buffer_length(out), index_length = taba_buffer_length(index);
    if (n == 0)
        return TABA_OK;
    if (n > TABA_RECORDS_MAX || names > TABA_RECORDS_MAX)
        return TABA_ELIMIT;
    writer w = {source, a, out, num_vbuckets == 0 ? 1 : num_vbuckets, NULL, NULL, NULL, NULL, 0};
    w.order = new_array(a, n, sizeof *w.order);
    w.spare = new_array(a, n, sizeof *w.spare);
    w.used = new_array(a, names, sizeof *w.used);
    w.marks = new_array(a, names, sizeof *w.marks);
    int status = TABA_ENOMEM;
    if (w.order != NULL && w.spare != NULL && w.used != NULL && w.marks != NULL)
        status = sort_entries(&w);
    for (size_t at = 0; at < n && status == TABA_OK;)
        status = write_vbucket(&w, &at, index);
    if (status != TABA_OK) {
        taba_buffer_truncate(out, out_length);
        taba_buffer_truncate(index, index_length);
    }
    taba_release(a, w.order, n * sizeof *w.order);
    taba_release(a, w.spare, n * sizeof *w.spare);
    taba_release(a, w.used, names * sizeof *w.used);
    taba_release(a, w.marks, names * sizeof *w.marks);
    return status;
}
