/* statsd_stream.c - streams of lines, cut anywhere: what is kept of a line that is not whole yet. */
#include "statsd.h"

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

/* The line begun, of which `bytes` are the next, is refused. */
static void refuse(taba_statsd_stream *s, taba_statsd *p, int reason, const uint8_t *bytes, size_t length) {
    taba_statsd_refuse(p, reason, s->length > 0 ? s->kept : bytes, s->length > 0 ? s->length : length);
    p->counts.lines++;
    s->length = 0;
}

/* Keep more of the line begun; one that is too long is refused now, and its further bytes are skipped. TABA_OK; TABA_ENOMEM,
 * and it is refused. */
static int keep(taba_statsd_stream *s, taba_statsd *p, const uint8_t *bytes, size_t length) {
    if (s->skipping || length == 0)
        return TABA_OK;
    if (length > TABA_STATSD_LINE_MAX + 1 - s->length) { /* one more for a CR */
        refuse(s, p, TABA_STATSD_SIZE, bytes, length);
        s->skipping = true;
        return TABA_OK;
    }
    void *kept = s->kept;
    const int status = taba_array_reserve(s->custom ? &s->allocator : NULL, &kept, &s->room, s->length + length, 1, 256);
    s->kept = kept;
    if (status != TABA_OK) {
        refuse(s, p, TABA_STATSD_MEMORY, bytes, length);
        return status;
    }
    memcpy(s->kept + s->length, bytes, length);
    s->length += length;
    return TABA_OK;
}

/* The line begun is whole. */
static int take_kept(taba_statsd_stream *s, taba_statsd *p) {
    const int status = s->skipping ? TABA_OK : taba_statsd_line(p, s->kept, s->length);
    if (status != TABA_OK)
        taba_statsd_give_up(p, s->kept, s->kept + s->length);
    s->skipping = false;
    s->length = 0;
    return status;
}

/* Take the next bytes, [*at, end), which are not none; *at moves on behind what was taken, kept or refused. */
static int feed(taba_statsd_stream *s, taba_statsd *p, const uint8_t **at, const uint8_t *end) {
    if (s->length > 0 || s->skipping) {
        const uint8_t *more = *at, *newline = memchr(more, '\n', (size_t)(end - more));
        *at = newline != NULL ? newline + 1 : end;
        int status = keep(s, p, more, (size_t)((newline != NULL ? newline : end) - more));
        if (status == TABA_OK && newline != NULL)
            status = take_kept(s, p);
        if (status != TABA_OK)
            return status;
    }
    const int status = *at < end ? taba_statsd_take_lines(p, *at, end, at) : TABA_OK;
    if (status != TABA_OK || *at == end)
        return status;
    const uint8_t *begun = *at;
    *at = end;
    return keep(s, p, begun, (size_t)(end - begun));
}

int taba_statsd_stream_feed(taba_statsd_stream *s, taba_statsd *p, const taba_statsd_clock *clock, const uint8_t *bytes,
                            size_t length) {
    const uint8_t *at = bytes, *end = bytes + length;
    p->clock = *clock;
    const int status = length > 0 ? feed(s, p, &at, end) : TABA_OK;
    if (status != TABA_OK)
        taba_statsd_give_up(p, at, end);
    return status;
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
