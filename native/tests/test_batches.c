/* test_batches.c - reading and cutting batches: what is in them, and that nothing wrong gets through. */
#include "bodies.h"
#include "internal.h"

/* Two names of tabs, one client, one Type; the Partials are "P1" and "". */
static const char GOOD[] = "01 04 02 74 31 01 63 01 43 02 74 32  02  00 01 02 05 02 50 31  03 01 02 81 01 00";

typedef struct batch_text {
    uint8_t bytes[1024];
    size_t length;
} batch_text;

static batch_text text_of(const char *hex) {
    batch_text t;
    t.length = test_hex(hex, t.bytes);
    return t;
}

/* The status of taba_batch_index and taba_batch_split, which agree. Both leave their buffers alone on failure. */
static int status_of(taba_blob batch) {
    taba_buffer *index = taba_buffer_new(NULL), *out = taba_buffer_new(NULL), *sections = taba_buffer_new(NULL);
    uint8_t *alone = test_alone(batch);
    const int status = taba_batch_index(test_blob(alone, batch.length), index);
    CHECK_STATUS(taba_batch_split(test_blob(alone, batch.length), 128, out, sections), status);
    CHECK(status == TABA_OK || taba_buffer_length(index) + taba_buffer_length(out) + taba_buffer_length(sections) == 0);
    CHECK(taba_buffer_length(index) % sizeof(taba_entry) == 0 && taba_buffer_length(sections) % sizeof(taba_section) == 0);
    free(alone);
    taba_buffer_free(index);
    taba_buffer_free(out);
    taba_buffer_free(sections);
    return status;
}

static void expect_status(int status, const char *hex) {
    const batch_text t = text_of(hex);
    const int found = status_of(test_blob(t.bytes, t.length));
    if (found != status) {
        fprintf(stderr, "%s gave %d, not %d\n", hex, found, status);
        exit(1);
    }
}

static taba_blob part_of(taba_blob batch, size_t at, size_t length) {
    CHECK(at <= batch.length && length <= batch.length - at);
    return test_blob(batch.bytes + at, length);
}

static void an_index_tells_where_everything_is(void) {
    const batch_text t = text_of(GOOD);
    const taba_blob batch = test_blob(t.bytes, t.length);
    taba_buffer *index = taba_buffer_new(NULL);
    taba_entry entry[2];
    CHECK_OK(taba_batch_index(batch, index));
    CHECK(taba_buffer_length(index) == sizeof entry);
    memcpy(entry, taba_buffer_bytes(index), sizeof entry);
    CHECK(test_same(part_of(batch, entry[0].tab, entry[0].tab_length), test_blob("t1", 2)));
    CHECK(test_same(part_of(batch, entry[0].client, entry[0].client_length), test_blob("c", 1)));
    CHECK(test_same(part_of(batch, entry[0].type, entry[0].type_length), test_blob("C", 1)));
    CHECK(test_same(part_of(batch, entry[0].partial, entry[0].partial_length), test_blob("P1", 2)));
    CHECK(test_same(part_of(batch, entry[1].tab, entry[1].tab_length), test_blob("t2", 2)));
    CHECK(entry[0].events == 5 && entry[1].events == 129 && entry[1].partial_length == 0);
    taba_buffer_free(index);
}

static void what_is_wrong_with_a_batch(void) {
    expect_status(TABA_OK, GOOD);
    expect_status(TABA_OK, "01 00 00"); /* a section without entries says nothing */
    expect_status(TABA_ECORRUPT, "");
    expect_status(TABA_EVERSION, "00 00 00");
    expect_status(TABA_EVERSION, "02 00 00");
    expect_status(TABA_ECORRUPT, "01 01 01 74 00");                                   /* a name that is not used */
    expect_status(TABA_OK, "01 03 01 74 01 63 01 43 01 00 01 02 01 00");
    expect_status(TABA_EVERSION, "01 03 01 74 01 63 01 43 01 00 01 02 01 00 00");     /* a byte too much */
    expect_status(TABA_ECORRUPT, "01 04 01 74 01 63 01 43 01 44 01 00 01 02 01 00");  /* the last is not used */
    expect_status(TABA_ECORRUPT, "01 03 01 74 01 74 01 43 01 00 01 02 01 00");        /* two equal names */
    expect_status(TABA_ECORRUPT, "01 03 01 74 01 63 01 43 01 01 00 02 01 00");        /* not numbered by first use */
    expect_status(TABA_ECORRUPT, "01 03 01 74 01 63 01 43 01 00 02 01 01 00");
    expect_status(TABA_ECORRUPT, "01 03 01 74 01 63 01 43 01 00 01 03 01 00");        /* no such name */
    expect_status(TABA_ECORRUPT, "01 03 01 74 01 63 01 43 02 00 01 02 01 00 00 01 02 01 00"); /* an entry twice */
    expect_status(TABA_OK, "01 03 01 74 01 63 01 43 02 00 01 02 01 00 01 00 02 01 00"); /* tab and client changed places */
    expect_status(TABA_OK, "01 01 01 74 01 00 00 00 01 00");                          /* one name for all three */
    expect_status(TABA_ECORRUPT, "01 03 00 01 63 01 43 01 00 01 02 01 00");           /* an empty name */
    expect_status(TABA_ECORRUPT, "01 03 01 20 01 63 01 43 01 00 01 02 01 00");        /* a blank in it */
    expect_status(TABA_ECORRUPT, "01 03 01 e9 01 63 01 43 01 00 01 02 01 00");
    expect_status(TABA_ECORRUPT, "01 83 00 01 74 01 63 01 43 01 00 01 02 01 00");     /* longer varints than needed */
    expect_status(TABA_ECORRUPT, "01 03 81 00 74 01 63 01 43 01 00 01 02 01 00");
    expect_status(TABA_ECORRUPT, "01 03 01 74 01 63 01 43 81 00 00 01 02 01 00");
    expect_status(TABA_ECORRUPT, "01 03 01 74 01 63 01 43 01 80 00 01 02 01 00");
    expect_status(TABA_ECORRUPT, "01 03 01 74 01 63 01 43 01 00 01 02 81 00 00");
    expect_status(TABA_ECORRUPT, "01 03 01 74 01 63 01 43 01 00 01 02 01 80 00");
    expect_status(TABA_ECORRUPT, "01 ff ff ff ff ff ff ff ff ff 01");                 /* more than there can be */
    expect_status(TABA_ECORRUPT, "01 00 ff ff ff ff 0f");
    expect_status(TABA_ECORRUPT, "01 03 01 74 01 63 01 43 01 00 01 02 01 ff ff ff ff ff ff ff ff ff 01");
    expect_status(TABA_OK, "01 03 01 74 01 63 01 43 01 00 01 02 ff ff ff ff ff ff ff ff ff 01 00"); /* 2**64 - 1 events */
    expect_status(TABA_ECORRUPT, "01 03 01 74 01 63 01 43 02 00 01 02 ff ff ff ff ff ff ff ff ff 01 00 01 00 02 01 00"); /* and one more */
}

static void names_of_every_length(void) {
    for (size_t length = 0; length <= 514; length++) {
        uint8_t bytes[600] = {1, 1};
        size_t n = 2;
        if (length >= 128)
            bytes[n++] = (uint8_t)(length | 0x80);
        bytes[n++] = (uint8_t)(length >= 128 ? length >> 7 : length);
        memset(bytes + n, 'n', length);
        n += length;
        memcpy(bytes + n, "\x01\x00\x00\x00\x01\x00", 6);
        CHECK_STATUS(status_of(test_blob(bytes, n + 6)), length >= 1 && length <= 512 ? TABA_OK : TABA_ECORRUPT);
    }
}

/* A batch of several sections, from bodies; to be freed. */
static taba_buffer *some_batch(int sections, int tabs) {
    const taba_limits limits = body_limits();
    taba_buffer *batch = taba_buffer_new(NULL), *index = taba_buffer_new(NULL);
    taba_accumulator *c = taba_accumulator_new(NULL);
    for (int i = 0; i < sections; i++) {
        taba_scratch *s = body_scratch(&limits, NULL);
        char *body = malloc((size_t)tabs * 200 + 100), *end = body + sprintf(body, "1\n\n");
        uint64_t stamp;
        for (int tab = 0; tab < tabs; tab++)
            end += sprintf(end, "client%d\n\ntab%d\n[\"%s\", %d, \"%d\"]\n[\"CounterGroup\", 7, \"1\"]\n\n\n", tab % 3, tab + i,
                           tab % 5 == 0 ? "Gauge" : "CounterGroup", tab, tab);
        CHECK_OK(body_parse(s, test_blob(body, strlen(body)), body_whole, NULL, NULL));
        CHECK_OK(taba_accumulator_merge(c, s, 1, &stamp));
        CHECK_OK(taba_accumulator_encode(c, 0, batch, index));
        taba_accumulator_clear(c);
        taba_scratch_free(s);
        free(body);
    }
    taba_accumulator_free(c);
    taba_buffer_free(index);
    return batch;
}

static void beginnings_and_changes_of_a_batch(void) {
    taba_buffer *batch = some_batch(3, 6), *sections = some_batch(1, 6);
    const taba_blob whole = test_blob_of(batch);
    for (size_t length = 0; length < whole.length; length++) {
        const int status = status_of(test_blob(whole.bytes, length));
        CHECK(status == TABA_ECORRUPT || (status == TABA_OK && whole.bytes[length] == 1)); /* OK between two sections only */
        CHECK(status == TABA_ECORRUPT || length >= taba_buffer_length(sections));
    }
    uint8_t *changed = malloc(whole.length);
    for (int i = 0; i < 20000; i++) {
        memcpy(changed, whole.bytes, whole.length);
        for (size_t n = 1 + test_below(3); n > 0; n--)
            changed[test_below(whole.length)] = test_below(2) == 0 ? (uint8_t)test_below(8) : (uint8_t)test_random();
        const int status = status_of(test_blob(changed, whole.length));
        CHECK(status == TABA_OK || status == TABA_ECORRUPT || status == TABA_EVERSION);
    }
    free(changed);
    taba_buffer_free(sections);
    taba_buffer_free(batch);
}

/* ------------------------------------------------------------------------------------------- splitting */

/* Every entry of a split batch is in the section of its vbucket, once, as it was. */
static void check_split(taba_blob batch, uint32_t num_vbuckets) {
    taba_buffer *out = taba_buffer_new(NULL), *index = taba_buffer_new(NULL), *before = taba_buffer_new(NULL), *after = taba_buffer_new(NULL);
    uint64_t events = 0;
    size_t end = 0, entries = 0;
    CHECK_OK(taba_batch_split(batch, num_vbuckets, out, index));
    CHECK_OK(taba_batch_index(batch, before));
    for (size_t i = 0; i < taba_buffer_length(index); i += sizeof(taba_section)) {
        static uint32_t last;
        taba_section section;
        memcpy(&section, taba_buffer_bytes(index) + i, sizeof section);
        CHECK(section.offset == end && (i == 0 || section.vbucket > last));
        last = section.vbucket;
        end += section.length;
        const taba_blob part = part_of(test_blob_of(out), section.offset, section.length);
        taba_buffer_clear(after);
        CHECK_OK(taba_batch_index(part, after));
        uint64_t here = 0;
        for (size_t j = 0; j < taba_buffer_length(after); j += sizeof(taba_entry)) {
            taba_entry entry;
            memcpy(&entry, taba_buffer_bytes(after) + j, sizeof entry);
            CHECK(taba_crc32(0, part.bytes + entry.tab, entry.tab_length) % (num_vbuckets != 0 ? num_vbuckets : 1) == section.vbucket);
            here += entry.events;
            entries++;
        }
        CHECK(here == section.events);
        events += here;
    }
    CHECK(end == taba_buffer_length(out) && entries == taba_buffer_length(before) / sizeof(taba_entry));
    for (size_t j = 0; j < taba_buffer_length(before); j += sizeof(taba_entry)) {
        taba_entry entry;
        memcpy(&entry, taba_buffer_bytes(before) + j, sizeof entry);
        events -= entry.events;
    }
    CHECK(events == 0);
    if (num_vbuckets <= 1)
        CHECK(test_same(batch, test_blob_of(out)));
    taba_buffer_free(out);
    taba_buffer_free(index);
    taba_buffer_free(before);
    taba_buffer_free(after);
}

static void a_batch_is_cut_by_vbucket(void) {
    static const uint32_t numbers[] = {0, 1, 2, 7, 128, 65536, 65537, 1000000, UINT32_MAX};
    taba_buffer *one = some_batch(1, 300), *three = some_batch(3, 100);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        check_split(test_blob_of(one), numbers[i]);
        check_split(test_blob_of(three), numbers[i]);
    }
    taba_buffer_free(one);
    taba_buffer_free(three);
}

/* The same tab in two sections of a batch stays in two sections, in their order. */
static void sections_of_a_vbucket_stay_apart(void) {
    const batch_text t = text_of("01 03 01 74 01 63 01 43 01 00 01 02 01 01 50  01 00 00  01 03 01 74 01 63 01 43 01 00 01 02 02 01 51");
    taba_buffer *out = taba_buffer_new(NULL), *index = taba_buffer_new(NULL);
    taba_section section;
    CHECK_OK(taba_batch_split(test_blob(t.bytes, t.length), 16, out, index));
    CHECK(taba_buffer_length(index) == sizeof section);
    memcpy(&section, taba_buffer_bytes(index), sizeof section);
    CHECK(section.events == 3 && section.vbucket == taba_crc32(0, (const uint8_t *)"t", 1) % 16 && section.length == taba_buffer_length(out));
    CHECK_BYTES(test_blob_of(out), "01 03 01 74 01 63 01 43 01 00 01 02 01 01 50  01 03 01 74 01 63 01 43 01 00 01 02 02 01 51");
    taba_buffer_free(out);
    taba_buffer_free(index);
}

/* Lengths of Partials around the places where their length takes a byte more. */
static void partials_of_every_length(void) {
    static const size_t lengths[] = {0, 1, 126, 127, 128, 129, 16382, 16383, 16384, 16385, 100, 40000, 3};
    taba_buffer *batch = taba_buffer_new(NULL);
    uint8_t *partial = malloc(40000);
    const size_t n = sizeof lengths / sizeof *lengths;
    for (size_t i = 0; i < 40000; i++)
        partial[i] = (uint8_t)i;
    CHECK_OK(taba_put_u8(batch, 1));
    CHECK_OK(taba_put_uvarint(batch, n));
    for (size_t i = 0; i < n; i++) {
        const char name[2] = {1, (char)('a' + i)};
        CHECK_OK(taba_buffer_append(batch, name, 2));
    }
    CHECK_OK(taba_put_uvarint(batch, n));
    for (size_t i = 0; i < n; i++) {
        for (int j = 0; j < 3; j++)
            CHECK_OK(taba_put_uvarint(batch, i));
        CHECK_OK(taba_put_uvarint(batch, i * 1000));
        CHECK_OK(taba_put_uvarint(batch, lengths[i]));
        CHECK_OK(taba_buffer_append(batch, partial, lengths[i]));
    }
    check_split(test_blob_of(batch), 1);
    check_split(test_blob_of(batch), 3);
    free(partial);
    taba_buffer_free(batch);
}

static void every_allocation_may_fail(void) {
    taba_buffer *batch = some_batch(2, 20);
    for (int split = 0; split < 2; split++) {
        bool failed = true;
        for (size_t k = 1; failed; k++) {
            test_memory m;
            test_memory_init(&m);
            taba_buffer *out = taba_buffer_new(&m.allocator), *index = taba_buffer_new(&m.allocator);
            CHECK_OK(taba_buffer_append(out, "out", 3));
            CHECK_OK(taba_buffer_append(index, "index", 5));
            m.calls = 0;
            m.fail_at = k;
            const int status = split ? taba_batch_split(test_blob_of(batch), 7, out, index) : taba_batch_index(test_blob_of(batch), index);
            failed = m.calls >= k;
            CHECK(status == (failed ? TABA_ENOMEM : TABA_OK));
            CHECK(!failed || (taba_buffer_length(out) == 3 && taba_buffer_length(index) == 5));
            CHECK(memcmp(taba_buffer_bytes(out), "out", 3) == 0 && memcmp(taba_buffer_bytes(index), "index", 5) == 0);
            taba_buffer_free(out);
            taba_buffer_free(index);
            CHECK(m.live == 0);
        }
    }
    taba_buffer_free(batch);
}

int main(void) {
    test_seed(4);
    RUN(an_index_tells_where_everything_is);
    RUN(what_is_wrong_with_a_batch);
    RUN(names_of_every_length);
    RUN(beginnings_and_changes_of_a_batch);
    RUN(a_batch_is_cut_by_vbucket);
    RUN(sections_of_a_vbucket_stay_apart);
    RUN(partials_of_every_length);
    RUN(every_allocation_may_fail);
    return 0;
}
