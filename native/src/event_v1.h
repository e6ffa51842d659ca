/* event_v1.h - the event lines of protocol 1, read in place. */
#ifndef TABA_EVENT_V1_H
#define TABA_EVENT_V1_H

#include "internal.h"
#include "json.h"

/* An event as its line has it. */
typedef struct taba_event {
    taba_json_string type;
    double time; /* may be negative, or infinite */
    taba_json_string payload;
} taba_event;

/* Read a line, without its LF, that is a JSON array of a string, a number and a string; false for any other. O(length). */
bool taba_event_read(const uint8_t *line, size_t length, taba_event *out);

/* The start of the lines of one Type as json.dumps writes it: [" type ", */
typedef struct taba_event_prefix {
    uint8_t bytes[520]; /* TABA_NAME_MAX and five more */
    size_t length;
} taba_event_prefix;

void taba_event_prefix_of(const uint8_t *type, size_t length, taba_event_prefix *out);

/* The quick way for nearly all events: read a line of this very start, with at most one space after each comma, and a
 * plain number, true or false as payload, together with its LF. Returns the byte after the LF; NULL for any other line,
 * or one not whole in [at, end), about which nothing is said. What it reads taba_event_read and taba_payload_number
 * read the same. */
const uint8_t *taba_event_read_quickly(const taba_event_prefix *prefix, const uint8_t *at, const uint8_t *end, double *time,
                                       double *value);

/* How many bytes of a payload, as it came, are from 0x80 up: what they stand for is known at the end of the body. */
size_t taba_payload_high_bytes(const taba_json_string *payload);

/* The bytes of the longest line that taba_event_read_many takes. */
#define TABA_EVENT_PLAIN_MAX 64

/* How a number lies in the lines of a shape. */
typedef struct taba_shape_number {
    unsigned place, length; /* in the line, its digits and the point */
    unsigned first;         /* the digits that come before the last 16 bytes */
    unsigned decimals;
    bool negative;
    uint64_t least;         /* what the digits must make, so that none in front is a zero too many */
} taba_shape_number;

/* What lines have in common whose digits stand in the same places: see event_avx2.c. */
typedef struct taba_shape {
    uint8_t counts[TABA_EVENT_PLAIN_MAX]; /* 255 for every byte of the line that is no digit, which has to be */
    uint8_t bytes[TABA_EVENT_PLAIN_MAX];  /* this one; else 0 */
    int8_t moves[32];                     /* where the digits of both numbers come from, or -1 */
    double divisors[2], signs[2];
    taba_shape_number number[2];          /* the time, the value */
    size_t length;                        /* of the line with its LF */
    bool is_long;                         /* a number has digits enough to be beyond 2**53 */
} taba_shape;

#define TABA_SHAPE_BITS 6

/* The shapes met so far, found by the bits that mark the bytes that are no digits; 0 where there is no shape yet. All
 * belong to one prefix: forget them when that changes. */
typedef struct taba_shapes {
    uint64_t others[1 << TABA_SHAPE_BITS];
    taba_shape shape[1 << TABA_SHAPE_BITS];
} taba_shapes;

static inline void taba_shapes_forget(taba_shapes *shapes) {
    memset(shapes->others, 0, sizeof shapes->others);
}

/* The quickest way for the plainest of them, many at once: lines of this start, of 64 bytes at most, with times that are
 * not negative and not beyond `newest`, and payloads that are numbers without an exponent. Reads up to `room` lines of
 * [*from, end) into the columns, in their order; returns how many, and *from moves behind them. It may stop at any line,
 * at every one where the machine has no vectors: that says nothing about it. What it reads taba_event_read_quickly
 * reads the same. */
size_t taba_event_read_many(taba_shapes *shapes, const taba_event_prefix *prefix, const uint8_t **from, const uint8_t *end,
                            double newest, double *times, double *values, size_t room);

/* The number that a payload (its escapes undone) stands for: a number, true, false, or an array that begins with one of
 * these. Returns -1, or the reason why it is refused: TABA_REFUSED_VALUE or TABA_REFUSED_SIZE. */
int taba_payload_number(const uint8_t *text, size_t length, size_t max_depth, double *value);

/* The hash of the value that a payload (its escapes undone) stands for: of the bytes of a string, its own escapes undone,
 * or of the text of a number. `work` has room for `length` bytes, and may be `text`. Returns -1, or the reason why it is
 * refused: TABA_REFUSED_VALUE or TABA_REFUSED_SIZE. */
int taba_payload_unique(const uint8_t *text, size_t length, size_t max_depth, uint8_t *work, double *hash);

/* Whether a payload (its escapes undone) is JSON: -1, TABA_REFUSED_VALUE or TABA_REFUSED_SIZE. */
int taba_payload_reason(const uint8_t *text, size_t length, size_t max_depth);

/* The same for a payload that must also have the shape of its Type: TABA_RAW_NUMBER, TABA_RAW_EXPIRING, or any. */
int taba_payload_shape(const uint8_t *text, size_t length, size_t max_depth, int shape);

#endif
