/* scratch.h - the inside of a scratch, for the parsers that fill it and the accumulator that takes it.
 *
 * All numbers of a scratch stand in two columns, times and values, one after another, and all structured events in one
 * array; a block is a range of either. So a block costs no allocation, and the accumulator gets columns:
 *
 *     blocks      | CLIENT tab_a CounterGroup, 0..2 | CLIENT gauge Gauge, 0..1 | CLIENT tab_b CounterGroup, 2..5 |
 *     times       | t t | t t t |                structured  | time, payload |
 *     values      | v v | v v v |                payloads    | bytes ...     |
 *
 * How to fill one: taba_scratch_begin for a block, then its events with taba_scratch_add_number (one by one, or
 * taba_scratch_add_columns) or taba_scratch_add_payload; taba_scratch_refuse for those that cannot be taken. Who fills
 * it checks names (taba_name_valid), times (taba_scratch_time_reason) and values (finite, no negative zero).
 */
#ifndef TABA_SCRATCH_H
#define TABA_SCRATCH_H

#include "extent.h"

/* A Type that events may name. */
typedef struct taba_scratch_type {
    size_t name; /* where its name begins in taba_scratch.names */
    size_t length;
    int kind;    /* TABA_COUNTER_GROUP, TABA_PERCENTILE_GROUP, TABA_UNIQUE_GROUP, TABA_GAUGE or TABA_RAW */
    int shape;   /* the same, but TABA_RAW_NUMBER or TABA_RAW_EXPIRING where its payloads must be so */
} taba_scratch_type;

/* A row of a frame's header: so many times, then so many values, will follow in the payload. */
typedef struct taba_row {
    size_t name;          /* where its tab's name begins in taba_scratch.payloads, where the header stands */
    uint32_t name_length;
    int32_t reason;       /* why none of its events can be taken, or -1 */
    size_t type;          /* else its number in taba_scratch.types */
    uint64_t count;
} taba_row;

/* A refused event. */
typedef struct taba_refused {
    uint64_t line;        /* or its number within its row */
    size_t name;          /* of columns: where its tab's name begins in taba_scratch.payloads; */
    uint32_t name_length; /* else 0 */
    int reason;
} taba_refused;

typedef struct taba_block {
    size_t client, tab; /* where the names begin in taba_scratch.names */
    uint32_t client_length, tab_length;
    uint32_t type;       /* its number in taba_scratch.types */
    uint32_t ranges;     /* the number of its ranges in taba_scratch.ranges plus one, or 0 where they are not known */
    size_t first, count; /* its events: of the columns, or of `structured`, by the kind of the Type. Never empty once filled */
} taba_block;

/* A structured event. Its payload is `length` bytes of JSON in UTF-8 at `at` in `payloads`. While `raw` is not 0 it is
 * not that yet: the last `raw` bytes of the room are the text as it came, escaped, of unknown encoding. */
typedef struct taba_structured {
    double time;
    size_t at, length, raw;
} taba_structured;

/* A hash of a payload with bytes from 0x80 up, if the body turns out to be Latin-1. */
typedef struct taba_other_hash {
    size_t number; /* which of the columns */
    double hash;
} taba_other_hash;

struct taba_scratch {
    taba_allocator allocator; /* a copy, if one was given */
    bool custom;
    bool open;   /* a parser has begun and not finished: the content is not to be used */
    taba_limits limits;
    size_t memory;
    taba_scratch_type *types;
    size_t type_count, type_room;
    uint8_t *names;
    size_t names_used, names_room;
    taba_block *blocks;
    size_t block_count, block_room;
    double *times, *values;
    size_t numbers, times_room, values_room;
    taba_ranges *ranges;
    size_t range_count, range_room;
    taba_structured *structured;
    size_t structured_count, structured_room, raw_count;
    uint8_t *payloads;
    size_t payloads_used, payloads_room;
    taba_other_hash *other_hashes;
    size_t other_hash_count, other_hash_room;
    uint64_t refused[TABA_REFUSED_REASONS];
    taba_row *rows; /* of columns */
    size_t row_count, row_room;
    taba_refused sample[TABA_SAMPLES];
    size_t samples;
    uint64_t line;
    const char *problem;
};

/* The number of the Type of this name, or -1. */
ptrdiff_t taba_scratch_find_type(const taba_scratch *s, const uint8_t *name, size_t length);

/* Begin a block, or go on with the last one if it is of the same names and Type. It must get an event, or be the last.
 * TABA_OK; TABA_ENOMEM or TABA_ELIMIT with the scratch as it was. The names must not lie in the scratch. */
int taba_scratch_begin(taba_scratch *s, const uint8_t *client, size_t client_length, const uint8_t *tab, size_t tab_length,
                       size_t type);

/* Make room for n more numbers. TABA_OK; TABA_ENOMEM or TABA_ELIMIT with the scratch as it was. */
int taba_scratch_reserve_numbers(taba_scratch *s, size_t n);

/* Add n numbers to the last block, which is of a numeric kind. TABA_OK; TABA_ENOMEM or TABA_ELIMIT, and none is added. */
int taba_scratch_add_columns(taba_scratch *s, const double *times, const double *values, size_t n);

/* Note within what the events of the last block lie, all of which are there. TABA_OK; TABA_ENOMEM or TABA_ELIMIT. */
int taba_scratch_note_ranges(taba_scratch *s, const taba_ranges *ranges);

/* Add the n numbers that stand in the room behind all others (taba_scratch_reserve_numbers) to the last block. */
static inline void taba_scratch_take_numbers(taba_scratch *s, size_t n) {
    s->numbers += n;
    s->blocks[s->block_count - 1].count += n;
}

static inline int taba_scratch_add_number(taba_scratch *s, double time, double value) {
    if (s->numbers >= s->times_room || s->numbers >= s->values_room) {
        const int status = taba_scratch_reserve_numbers(s, 1);
        if (status != TABA_OK)
            return status;
    }
    s->times[s->numbers] = time;
    s->values[s->numbers] = value;
    s->numbers++;
    s->blocks[s->block_count - 1].count++;
    return TABA_OK;
}

/* Add a structured event to the last block, which is of a kind that is not numeric: its payload as JSON in UTF-8
 * without white space around it. With `more` greater than 0 it is the inside of a JSON string instead, as it came,
 * whose encoding taba_scratch_decide tells later; `more` is the number of its bytes from 0x80 up. TABA_OK; TABA_ENOMEM
 * or TABA_ELIMIT. */
int taba_scratch_add_payload(taba_scratch *s, double time, const uint8_t *payload, size_t length, size_t more);

/* Let the number that was added last be `hash` instead, should the body turn out to be Latin-1. TABA_OK; TABA_ENOMEM or
 * TABA_ELIMIT, and the number stays as it is. */
int taba_scratch_add_other_hash(taba_scratch *s, double hash);

/* Append bytes to `payloads`, where a frame's header is put together. TABA_OK; TABA_ENOMEM or TABA_ELIMIT. */
int taba_scratch_add_text(taba_scratch *s, const uint8_t *bytes, size_t length);

/* Add a structured event whose payload is `length` bytes at `at` in `payloads` already. TABA_OK; TABA_ENOMEM or
 * TABA_ELIMIT. */
int taba_scratch_add_slice(taba_scratch *s, double time, size_t at, size_t length);

/* Add a row. TABA_OK; TABA_ENOMEM or TABA_ELIMIT. */
int taba_scratch_add_row(taba_scratch *s, const taba_row *row);

/* Turn the payloads kept as they came into JSON in UTF-8, and choose between hashes. Cannot fail: the room was taken with
 * them. */
void taba_scratch_decide(taba_scratch *s, bool latin1);

/* The last moment of the year 9999 that a double tells. */
#define TABA_LAST_TIME (253402300800.0 - 1.0 / 32768)

/* Why an event of this time is refused, or -1 if it is not. A time of NaN is refused. */
static inline int taba_scratch_time_reason(const taba_scratch *s, double time) {
    if (!(time >= 0 && time < 253402300800.0)) /* the year 10000 */
        return TABA_REFUSED_TIME;
    return time > s->limits.newest ? TABA_REFUSED_FUTURE : -1;
}

/* Count one event as refused; `line` is where it stands. */
void taba_scratch_refuse(taba_scratch *s, int reason, uint64_t line);

/* Count `n` events of columns as refused, from the one numbered `event` in its row on; the name of the row's tab stands
 * at `name` in taba_scratch.payloads. */
void taba_scratch_refuse_events(taba_scratch *s, int reason, uint64_t event, uint64_t n, size_t name, uint32_t name_length);

/* The allocator it was made with. */
const taba_allocator *taba_scratch_allocator(const taba_scratch *s);

#endif
