/* parse_v1.h - the inside of a parser of protocol 1, shared by parse_v1.c (the lines) and parse_v1_events.c (the events).
 */
#ifndef TABA_PARSE_V1_H
#define TABA_PARSE_V1_H

#include "event_v1.h"
#include "names.h"
#include "scratch.h"
#include "utf8.h"

/* What line comes next. */
typedef enum taba_place { VERSION, BLANK, CLIENT, CLIENT_END, TAB, EVENT } taba_place;

/* A client or tab as its line had it. */
typedef struct taba_parsed_name {
    uint8_t bytes[TABA_NAME_MAX];
    size_t length;
    bool valid;
} taba_parsed_name;

struct taba_parser {
    taba_allocator allocator; /* a copy, if one was given */
    bool custom;
    bool finished;
    int status;               /* what ended the parse, or TABA_OK */
    taba_scratch *scratch;
    taba_place place;
    uint64_t line;            /* whole lines so far */
    taba_utf8 utf8;
    size_t longest_name, longest_event;
    uint8_t *kept;            /* the line begun: its first bytes */
    size_t kept_length, kept_room;
    size_t begun;             /* the bytes of that line so far, also those not kept; stays at SIZE_MAX */
    uint8_t *work;            /* a payload with its escapes undone */
    size_t work_room;
    taba_parsed_name client, tab;
    ptrdiff_t type;           /* of the block: that of its first valid event, or -1 */
    ptrdiff_t expected;       /* the numeric Type whose lines begin with `prefix`, or -1 */
    taba_event_prefix prefix;
    bool many;                /* no line that taba_event_read_many takes is too long */
    double newest;            /* the latest time that is taken */
    taba_shapes shapes;       /* of lines with this prefix */
};

static inline const taba_allocator *taba_parser_allocator(const taba_parser *p) {
    return p->custom ? &p->allocator : NULL;
}

/* Take an event line, wherever it lies. `line` has its first bytes at least, all of them if it may be an event. TABA_OK,
 * also for one that is refused; TABA_ENOMEM or TABA_ELIMIT. */
int taba_parser_take_event(taba_parser *p, const uint8_t *line, size_t length);

/* Take events in a row the quick way, up to the first that is another line or not whole; *at moves on. */
int taba_parser_take_quickly(taba_parser *p, const uint8_t **at, const uint8_t *end);

#endif
