/* taba.h - the native core of Taba: sketches, windows, States, Partials, requests, the accumulator.
 *
 * This header is the manual. The bytes of every encoding are specified in docs/reference/states-and-partials.md
 * and docs/reference/batches.md; the rules of requests in docs/reference/protocol-1.md and protocol-2.md.
 *
 * Conventions
 *   Status    Functions that can fail return TABA_OK (0) or a negative TABA_E... code; results go through pointers.
 *             taba_strerror() puts a code into words. Out-parameters are written on TABA_OK only, unless said.
 *   Failure   After any failure the handles named in the call are as they were before it, unless the function says
 *             otherwise, and may be used or freed.
 *   Bytes     A blob is (const uint8_t *bytes, size_t length), read only, needs no alignment, need not outlive the
 *             call. NULL is allowed when the length is 0. Decoders trust nothing: any bytes give TABA_OK or an error.
 *   Time      Seconds since 1970 (UTC) as a double, or as an int64_t where whole. Nothing here reads a clock.
 *   Memory    Handles are made by ..._new and released by ..._free (which takes NULL). All memory comes from the
 *             allocator given to ..._new; stateless functions use that of their `out` buffer. Nothing is printed.
 *   Threads   No global state. A handle belongs to one thread at a time; blobs may be shared freely.
 *   Numbers   IEEE 754 doubles, round to nearest; build with -ffp-contract=off, so that results agree everywhere.
 *             A sum that would overflow stays at +-DBL_MAX. Negative zero is taken as zero.
 */
#ifndef TABA_H
#define TABA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------------------------------------- status */

#define TABA_OK 0
#define TABA_ENOMEM (-1)    /* the allocator returned NULL */
#define TABA_ECORRUPT (-2)  /* a blob breaks the rules of its encoding (cut short, too long, not canonical) */
#define TABA_ETYPE (-3)     /* a blob is of another Type, or a Partial where a State is due, or the reverse */
#define TABA_EVERSION (-4)  /* a blob is of a version this build does not know */
#define TABA_EDOMAIN (-5)   /* an argument is NaN, infinite or out of its range */
#define TABA_ESYNTAX (-6)   /* the structure of a request's body is wrong */
#define TABA_ELIMIT (-7)    /* a limit given by the caller is reached */

/* The sentence for a code, in English, for ever valid; "unknown error" for any other number. */
const char *taba_strerror(int code);

/* The version of the package this was built for, as "1.2.3". */
const char *taba_version(void);

/* ---------------------------------------------------------------------------------------------- memory */

/* resize(context, pointer, old_size, new_size) allocates (pointer NULL, old_size 0), grows or shrinks, or frees
 * (new_size 0; must return NULL). On failure it returns NULL and leaves the old block alone. */
typedef struct taba_allocator {
    void *(*resize)(void *context, void *pointer, size_t old_size, size_t new_size);
    void *context;
} taba_allocator;

/* A byte string that grows; functions append to it. NULL as allocator means malloc and free. */
typedef struct taba_buffer taba_buffer;
taba_buffer *taba_buffer_new(const taba_allocator *allocator);  /* NULL when out of memory */
void taba_buffer_free(taba_buffer *buffer);
void taba_buffer_clear(taba_buffer *buffer);                    /* length 0; keeps its memory */
const uint8_t *taba_buffer_bytes(const taba_buffer *buffer);    /* valid until the next change of the buffer */
size_t taba_buffer_length(const taba_buffer *buffer);

typedef struct taba_blob {
    const uint8_t *bytes;
    size_t length;
} taba_blob;

/* ---------------------------------------------------------------------------------------------- checksums */

/* CRC-32C (Castagnoli), as in iSCSI and ext4; start with crc 0; feeding parts in turn equals feeding the whole. */
uint32_t taba_crc32c(uint32_t crc, const uint8_t *bytes, size_t length);

/* CRC-32 of zlib; the vbucket of a tab is taba_crc32(0, tab) % NUM_VBUCKETS. */
uint32_t taba_crc32(uint32_t crc, const uint8_t *bytes, size_t length);

/* ---------------------------------------------------------------------------------------------- sketch
 *
 * An exponential histogram of base 2**(2**-scale): the buckets of OpenTelemetry and of Prometheus native histograms.
 * Bucket i holds (base**i, base**(i+1)]. Scale 6 while each sign spans at most TABA_SKETCH_BUCKETS buckets, else the
 * largest scale at which it does (never below 0). Up to TABA_SKETCH_EXACT values are kept as they are.
 * The result depends on the multiset of values only; the sum of fractions depends on order, by rounding.
 */
#define TABA_SKETCH_SCALE 6
#define TABA_SKETCH_BUCKETS 4096
#define TABA_SKETCH_EXACT 32

typedef struct taba_sketch taba_sketch;

typedef struct taba_sketch_summary {
    uint64_t count;
    double sum, min, max;  /* 0 while count is 0 */
    double error;          /* bound of the relative error of quantiles: 0 while exact, 0.00542 at scale 6 */
} taba_sketch_summary;

taba_sketch *taba_sketch_new(const taba_allocator *allocator);  /* empty; NULL when out of memory */
void taba_sketch_free(taba_sketch *sketch);
void taba_sketch_clear(taba_sketch *sketch);

/* Add `n` finite values. TABA_EDOMAIN if one is NaN or infinite (none is added). O(n). */
int taba_sketch_add(taba_sketch *sketch, const double *values, size_t n);

/* Add all that `other` holds. `other` is not changed and must not be `sketch`. */
int taba_sketch_merge(taba_sketch *sketch, const taba_sketch *other);

void taba_sketch_summary_of(const taba_sketch *sketch, taba_sketch_summary *out);

/* For each of `n` quantiles q in [0, 1] the value of rank min(trunc(q * count), count - 1), counted from 0 in
 * ascending order: exact up to TABA_SKETCH_EXACT values, else within `error`, clamped to [min, max]. 0.0 when empty.
 * TABA_EDOMAIN for a q outside [0, 1]. */
int taba_sketch_quantiles(const taba_sketch *sketch, const double *q, size_t n, double *out);

/* Append the encoding to `out`; decode one from the front of `bytes` into `sketch` (replaced) and tell its length. */
int taba_sketch_encode(const taba_sketch *sketch, taba_buffer *out);
int taba_sketch_decode(taba_sketch *sketch, const uint8_t *bytes, size_t length, size_t *used);

/* ---------------------------------------------------------------------------------------------- Types
 *
 * States and Partials are byte strings; these functions are pure. A length of 0 stands for the empty State.
 * Laws: fold(s, p + q) == fold(fold(s, p), q); reduce is associative and commutative with the empty State as identity;
 * fold(s, partials) == reduce(s, fold(empty, partials)) for the Types with TABA_FOLDS_AGGREGATE. Bit for bit, but
 * for totals of fractions, which agree to rounding.
 */
#define TABA_RAW 0               /* Partial only: raw events of a Type that is not native */
#define TABA_COUNTER_GROUP 1
#define TABA_PERCENTILE_GROUP 2
#define TABA_GAUGE 3
#define TABA_UNIQUE_GROUP 8        /* 4 to 7 and 0x7f are the first bytes of States that Python Handlers write */

#define TABA_PARTIAL 0x80        /* or-ed to the Type in the first byte of a Partial */

/* Windows end MAX_CLOCK_SKEW (60 s) + 30 s before the newest event at the earliest: so long buckets are kept on. */
#define TABA_RETENTION_MARGIN 90

/* Fold `n` Partials, in their order, into a State, and append the new State to `out`. All blobs must be of `type`.
 * For TABA_GAUGE the State must hold at most one client (TABA_EDOMAIN). On error `out` is unchanged. */
int taba_fold(int type, taba_blob state, const taba_blob *partials, size_t n, taba_buffer *out);

/* Reduce `n` States (of several clients or tabs) to one, and append it to `out`. On error `out` is unchanged. */
int taba_reduce(int type, const taba_blob *states, size_t n, taba_buffer *out);

/* Whether `blob` is a whole, canonical State or Partial of a Type known here. `type` gets its first byte. */
int taba_check(taba_blob blob, int *type);

/* The number of events in a Partial, and the time of the newest one, rounded down to its bucket (1 s; 15 s for
 * PercentileGroup and UniqueGroup; not rounded for Gauge and raw). TABA_ETYPE for a State. */
int taba_partial_extent(taba_blob partial, uint64_t *events, double *newest);

/* The time of the newest event in a State, rounded down to what the State keeps (1 s; 15 s for PercentileGroup and
 * UniqueGroup; not rounded for Gauge, of whose entries the newest counts). 0.0 for the empty State. Reads the whole State: what is no
 * State is TABA_ECORRUPT or TABA_EVERSION, a Partial or another first byte TABA_ETYPE. */
int taba_state_newest(taba_blob state, double *newest);

/* What a rendering needs. Window i (0..3: 1m, 10m, 1h, 1d) is the TABA_..._BUCKETS[i] buckets that end with the one
 * which holds `time`. Quantiles as taba_sketch_quantiles. */
#define TABA_WINDOWS 4

typedef struct taba_window {
    uint64_t count;
    double total;
} taba_window;

/* CounterGroup: the windows into out[4], the sketch of all time into `all`, its `n` quantiles into `values`. */
int taba_counter_group_summary(taba_blob state, double time, taba_window *out, taba_sketch_summary *all,
                               const double *q, size_t n, double *values, taba_buffer *workspace);

/* CounterGroup: all buckets of window `level`, oldest first, empty ones too: exactly 60, 60, 120 or 96 into `out`;
 * `first` gets the start of the oldest, in seconds. */
int taba_counter_group_buckets(taba_blob state, double time, int level, int64_t *first, taba_window *out);

/* PercentileGroup: per window a summary into out[4] and `n` quantiles into values[4 * n]. */
int taba_percentile_group_summary(taba_blob state, double time, taba_sketch_summary *out,
                                  const double *q, size_t n, double *values, taba_buffer *workspace);

/* UniqueGroup: of distinct values it knows the hashes, 53 bits each: a whole number from 0 to 2**53 - 1, as a double. This
 * is that of a value's bytes: XXH64 with seed 0, shifted right by 11. It is fixed, and has no secret. */
double taba_unique_hash(const uint8_t *bytes, size_t length);

typedef struct taba_unique_window {
    uint64_t count;  /* events */
    double unique;   /* distinct values among them: exact up to 32, else an estimate of standard error 1.62 %,
                      * which need not be whole and is not above the count */
} taba_unique_window;

/* UniqueGroup: the windows into out[4]. */
int taba_unique_group_summary(taba_blob state, double time, taba_unique_window *out, taba_buffer *workspace);

/* UniqueGroup: all buckets of window `level`, oldest first, empty ones too: exactly 4 into `out`; `first` gets the start of
 * the oldest, in seconds. */
int taba_unique_group_buckets(taba_blob state, double time, int level, int64_t *first, taba_unique_window *out,
                              taba_buffer *workspace);

/* Append `n` States of a native Type, rendered as text, to `out`: what docs/reference/endpoints.md shows, in UTF-8, one after
 * the other; and to `ends` where each of them ends (a size_t, counted from where the first begins). With `detailed`,
 * CounterGroup and UniqueGroup give every bucket. No text has a State that cannot be read, nor a Gauge's with a value that
 * needs a whole JSON reader: half a surrogate pair, a number of more than 300 characters, an object with a name twice or more
 * than 32 of them, nesting deeper than 16, more than 64 KiB. TABA_EDOMAIN for a time that is not finite; TABA_ENOMEM; both
 * buffers are unchanged. */
int taba_render(int type, int detailed, const taba_blob *states, size_t n, double time, taba_buffer *out,
                taba_buffer *ends);

/* Gauge: the entry at `*offset` (start with 0) of a State; `*offset` moves to the next. TABA_ELIMIT at the end. */
typedef struct taba_gauge_entry {
    double time;
    uint64_t stamp;        /* microseconds since 1970, by the agent that received it */
    taba_blob value;       /* JSON text, UTF-8; points into the State */
} taba_gauge_entry;
int taba_gauge_next(taba_blob state, size_t *offset, taba_gauge_entry *out);

/* Raw events: the event at `*offset` (start with 0) of a raw Partial, as above. */
int taba_raw_next(taba_blob partial, size_t *offset, taba_gauge_entry *out);

/* ---------------------------------------------------------------------------------------------- scratch
 *
 * What one request holds, before anybody counts it: blocks of events, (client, tab, Type) each, in columns of times and
 * values, or JSON payloads. A scratch is filled by a parser and merged once, whole, or dropped.
 */
typedef struct taba_scratch taba_scratch;

typedef struct taba_limits {
    size_t max_name;       /* bytes of a client id or tab name; 512 by the protocol */
    size_t max_payload;    /* bytes of one structured payload, as sent */
    size_t max_depth;      /* nesting of JSON in a structured payload */
    size_t max_memory;     /* bytes that the scratch may hold; beyond it TABA_ELIMIT */
    double newest;         /* events with a later time are refused (TABA_REFUSED_FUTURE) */
} taba_limits;

/* Why an event was refused, alone. Stable numbers: they index the counts below. */
#define TABA_REFUSED_JSON 0      /* not JSON, or not [Type, time, payload]; in columns not [time, payload] */
#define TABA_REFUSED_TYPE 1      /* the Type is unknown here, or takes no columns of numbers */
#define TABA_REFUSED_MIXED 2     /* another Type than the first valid event of its block */
#define TABA_REFUSED_TIME 3      /* not a finite number of seconds >= 0, or beyond the year 9999 */
#define TABA_REFUSED_FUTURE 4    /* later than limits.newest */
#define TABA_REFUSED_VALUE 5     /* a payload that the Type cannot take */
#define TABA_REFUSED_NAME 6      /* in a block whose tab name, or a client whose id, is too long or has other characters */
#define TABA_REFUSED_SIZE 7      /* a payload over max_payload or nested deeper than max_depth */
#define TABA_REFUSED_REASONS 8

/* The name of a reason in the ledger: "json", "type", "mixed", "time", "future", "value", "name", "size". */
const char *taba_refused_name(int reason);

#define TABA_SAMPLES 10

typedef struct taba_sample {
    uint64_t line;         /* protocol 1: from 1; columns: the event's number within its row, from 0 */
    int reason;            /* TABA_REFUSED_... */
    taba_blob tab;         /* columns: the name in the event's row, as it came; points into the scratch. Else empty */
} taba_sample;

typedef struct taba_scratch_summary {
    uint64_t accepted;                          /* events that a merge would count */
    uint64_t refused[TABA_REFUSED_REASONS];
    size_t samples;                             /* of the first refused events, at most TABA_SAMPLES */
    taba_sample sample[TABA_SAMPLES];
    size_t memory;                              /* bytes held */
    uint64_t line;                              /* lines begun so far; on TABA_ESYNTAX the line at fault. Of columns the
                                                 * bytes so far; on TABA_ESYNTAX how many come before the one at fault */
    const char *problem;                        /* on TABA_ESYNTAX what was expected there, of columns on TABA_ELIMIT
                                                 * what is limited, else NULL; static */
} taba_scratch_summary;

taba_scratch *taba_scratch_new(const taba_limits *limits, const taba_allocator *allocator);
void taba_scratch_free(taba_scratch *scratch);

/* Forget all that a request brought; the Types and the memory stay, for another request, in which times up to `newest` are
 * taken. What parsed the last one is to be freed before. */
void taba_scratch_clear(taba_scratch *scratch, double newest);

/* Raw events whose payloads must have a shape; any other is refused alone (TABA_REFUSED_VALUE). They are TABA_RAW in all
 * else: kept, merged and encoded as they came. Kinds of a scratch only, never the first byte of a blob. */
#define TABA_RAW_NUMBER 0x100    /* what counters take: a number, true, false, or an array that begins with one of these */
#define TABA_RAW_EXPIRING 0x200  /* an array of exactly two elements, of which the second is a number */

/* Let events name a Type: `kind` is TABA_COUNTER_GROUP, TABA_PERCENTILE_GROUP, TABA_UNIQUE_GROUP (a JSON string or
 * number), TABA_GAUGE, TABA_RAW (any JSON payload),
 * TABA_RAW_NUMBER or TABA_RAW_EXPIRING. To be called before parsing. TABA_EDOMAIN for a name or kind that cannot be, or a known name with another kind. */
int taba_scratch_add_type(taba_scratch *scratch, const char *name, size_t length, int kind);

void taba_scratch_summary_of(const taba_scratch *scratch, taba_scratch_summary *out);

/* ---------------------------------------------------------------------------------------------- protocol 1 */

typedef struct taba_parser taba_parser;

/* A parser that fills `scratch`, which must outlive it. NULL when out of memory. */
taba_parser *taba_parser_new(taba_scratch *scratch, const taba_allocator *allocator);
void taba_parser_free(taba_parser *parser);

/* The next bytes of a body, split anywhere. TABA_ESYNTAX, TABA_ELIMIT or TABA_ENOMEM end the parse: the body is to be
 * refused and the scratch dropped (line and problem stand in its summary). O(length). */
int taba_parser_feed(taba_parser *parser, const uint8_t *bytes, size_t length);

/* The body is whole: its last blank lines may be missing. Decides whether it was UTF-8 or Latin-1. Once: afterwards
 * feed and finish give TABA_EDOMAIN. */
int taba_parser_finish(taba_parser *parser);

/* ---------------------------------------------------------------------------------------------- columns
 *
 * The body of POST /v2/events (docs/reference/protocol-2.md): a frame of a JSON header, which names client, batch, tabs and
 * counts, and a payload of doubles, for each row of tabs its times and then its values. The header is read once it is
 * whole; the numbers are checked and put into the scratch as they come, without a step per event.
 */
typedef struct taba_columns taba_columns;

/* What the header says beside the events. Blobs point into the scratch and live as long as it does; one that the header
 * does not have is empty, bytes NULL. */
typedef struct taba_columns_facts {
    taba_blob client;      /* the client's id, escapes undone, 1 byte at least. It need not be a valid name: then all events
                            * are refused */
    taba_blob instance;    /* 32 hexadecimal digits in lower case; there exactly if batch is 1 or more */
    int64_t batch;         /* 0 to 2**53 - 1, or -1 without a number */
    taba_blob unsent;      /* a JSON object, as it came: only that much of it is checked */
} taba_columns_facts;

/* A reader of one frame that fills `scratch`, which must outlive it and must be fresh but for its Types. The header may
 * have `max_header` bytes (kept until the scratch goes) and `max_rows` rows. NULL when out of memory. */
taba_columns *taba_columns_new(taba_scratch *scratch, size_t max_header, size_t max_rows, const taba_allocator *allocator);
void taba_columns_free(taba_columns *columns);

/* The next bytes of a body, split anywhere. TABA_ESYNTAX, TABA_ELIMIT or TABA_ENOMEM end it: the body is to be refused and
 * the scratch dropped (line and problem stand in its summary); later calls give the same code. Events that cannot be taken
 * are refused alone, those of `structured` when the header is whole, before all others. O(length). */
int taba_columns_feed(taba_columns *columns, const uint8_t *bytes, size_t length);

/* The body is at its end: TABA_ESYNTAX unless the frame is. Once: afterwards feed and finish give TABA_EDOMAIN. */
int taba_columns_finish(taba_columns *columns);

/* What the header says; TABA_EDOMAIN before it was read. */
int taba_columns_facts_of(const taba_columns *columns, taba_columns_facts *out);

/* ---------------------------------------------------------------------------------------------- StatsD
 *
 * Lines of StatsD and DogStatsD (docs/reference/statsd.md), gathered over many datagrams and streams and put into
 * scratches by tab. What is gathered and not yet given is the window. Between windows a taba_statsd keeps what names mean:
 * which tab a name with its tags is, the last value of each gauge, the fraction of an event due to each timer.
 */
typedef struct taba_statsd taba_statsd;

/* Metrics, by their letters on the wire: c g ms h d s. */
#define TABA_STATSD_C 0
#define TABA_STATSD_G 1
#define TABA_STATSD_MS 2
#define TABA_STATSD_H 3
#define TABA_STATSD_D 4
#define TABA_STATSD_S 5
#define TABA_STATSD_METRICS 6

#define TABA_STATSD_LINE_MAX 65535   /* bytes of a line, without CR and LF */
#define TABA_STATSD_VALUE_MAX 128    /* bytes of a number */
#define TABA_STATSD_TAGS_MAX 128     /* tags of a line */
#define TABA_STATSD_WEIGHT_MAX 1000  /* events that a sampled ms, h or d may stand for */

/* Why a line, or one value of a line with several, was refused, alone. */
#define TABA_STATSD_SYNTAX 0   /* not name:value|metric, or a section behind it that means nothing */
#define TABA_STATSD_TYPE 1     /* another metric, or one whose Type is unknown here */
#define TABA_STATSD_RATE 2     /* |@ without a number above 0 and up to 1; less than 1 / TABA_STATSD_WEIGHT_MAX for ms, h, d */
#define TABA_STATSD_TIME 3     /* |T without a time up to the year 9999 */
#define TABA_STATSD_FUTURE 4   /* |T later than `newest` */
#define TABA_STATSD_VALUE 5    /* no number, an infinite one, an empty member of a set or one that is not UTF-8 */
#define TABA_STATSD_NAME 6     /* an empty name, or one that is too long with its tags, or with too many of them */
#define TABA_STATSD_SIZE 7     /* a line over TABA_STATSD_LINE_MAX, a datagram that was cut */
#define TABA_STATSD_MEMORY 8   /* there was no memory for it */
#define TABA_STATSD_REASONS 9

/* What was understood and is nothing for Taba. */
#define TABA_STATSD_EVENT 0    /* _e{..} */
#define TABA_STATSD_CHECK 1    /* _sc|.. */
#define TABA_STATSD_UNUSED 2   /* a metric that no Type is given for */
#define TABA_STATSD_IGNORED 3

/* "syntax", "type", "rate", "time", "future", "value", "name", "size", "memory". */
const char *taba_statsd_reason_name(int reason);

/* `client` stands for all senders. Names longer than max_name, with their tags, are refused. With `signed_gauges` a sign
 * before a gauge's value makes it a change; else it is a sign. NULL when out of memory, or for a client that is no name. */
taba_statsd *taba_statsd_new(const char *client, size_t length, size_t max_name, int signed_gauges,
                             const taba_allocator *allocator);
void taba_statsd_free(taba_statsd *statsd);

/* Let a metric be events of a Type; `kind` as in taba_scratch_add_type. length 0: the metric is ignored, kind -1: it is
 * refused until a later call says otherwise, as at the beginning. To be called while the window is empty. TABA_EDOMAIN for
 * what cannot be: a metric or name that is none, an s whose kind is for numbers, another metric as TABA_UNIQUE_GROUP. */
int taba_statsd_map(taba_statsd *statsd, int metric, const char *type, size_t length, int kind);

/* When lines are taken: `now` stands for the time of those that say none; none may be later than `newest`. */
typedef struct taba_statsd_clock {
    double now, newest;
} taba_statsd_clock;

/* Take a whole datagram: lines with or without a LF behind the last. TABA_OK or TABA_ENOMEM, then the rest
 * of its lines is refused (MEMORY). */
int taba_statsd_datagram(taba_statsd *statsd, const taba_statsd_clock *clock, const uint8_t *bytes, size_t length);

/* A stream of lines, cut anywhere: what it keeps of the line that is not whole yet. */
typedef struct taba_statsd_stream taba_statsd_stream;
taba_statsd_stream *taba_statsd_stream_new(const taba_allocator *allocator);
void taba_statsd_stream_free(taba_statsd_stream *stream);

/* Take the next bytes of a stream. TABA_OK or TABA_ENOMEM, then the rest of the lines is refused (MEMORY), and the stream is
 * to be ended. */
int taba_statsd_stream_feed(taba_statsd_stream *stream, taba_statsd *statsd, const taba_statsd_clock *clock,
                            const uint8_t *bytes, size_t length);

/* The stream has ended: its last line may lack its LF; unless `whole`, that line is refused (SYNTAX), since it may be cut. */
int taba_statsd_stream_end(taba_statsd_stream *stream, taba_statsd *statsd, const taba_statsd_clock *clock, int whole);

/* What taba_statsd_receive did. */
typedef struct taba_statsd_received {
    uint64_t datagrams, bytes;
    uint64_t lines;        /* that were not blank, of datagrams that were only counted */
    int error;             /* errno of the call that failed, or 0: nothing more waited, or enough was taken */
} taba_statsd_received;

/* Receive datagrams from a socket, without waiting, until none waits or `most` were taken (a few more perhaps), and take
 * them. With `discard` they are only counted. TABA_OK or TABA_ENOMEM, then lines of the last ones are refused (MEMORY), and
 * *out tells of all that were received. Up to 2.2 MB of buffers are kept. */
int taba_statsd_receive(taba_statsd *statsd, const taba_statsd_clock *clock, int socket, uint64_t most, int discard,
                        taba_statsd_received *out);

/* Give up to `most` events of the window (one more line's weight perhaps), the oldest first, to an empty scratch that knows
 * the Types, as finished. TABA_OK; TABA_ENOMEM, TABA_ELIMIT, or TABA_ETYPE when the scratch lacks a Type: the window is as
 * it was, and the scratch is to be dropped. */
int taba_statsd_give(taba_statsd *statsd, taba_scratch *scratch, size_t most);

/* Forget the window; and, with `names`, all that is kept of names: gauges begin at 0 again. */
void taba_statsd_clear(taba_statsd *statsd, int names);

typedef struct taba_statsd_summary {
    uint64_t waiting;                         /* events in the window */
    uint64_t tabs;                            /* (tab, metric) known */
    size_t memory;                            /* bytes held, */
    size_t names;                             /* and those of them that names take */
    /* Since the last call of taba_statsd_take: */
    uint64_t lines;                           /* that were not blank */
    uint64_t accepted;                        /* events */
    uint64_t refused[TABA_STATSD_REASONS];
    uint64_t ignored[TABA_STATSD_IGNORED];
    uint64_t collisions;                      /* names that, with characters replaced, fell together with another one */
    taba_blob sample[TABA_STATSD_REASONS];    /* the beginning of the first line refused so; valid until the next call */
} taba_statsd_summary;

/* The events in the window; cheap. */
uint64_t taba_statsd_waiting(const taba_statsd *statsd);

/* The summary; its counts begin anew. */
void taba_statsd_take(taba_statsd *statsd, taba_statsd_summary *out);

/* ---------------------------------------------------------------------------------------------- accumulator
 *
 * (tab, client, Type) -> Partial. Scratches are merged into it, each in one step; a commit encodes it by vbucket.
 */
typedef struct taba_accumulator taba_accumulator;

typedef struct taba_accumulator_summary {
    uint64_t events;
    size_t partials;
    size_t memory;         /* bytes held, */
    size_t of_partials;    /* of them by Partials */
} taba_accumulator_summary;

typedef struct taba_section {
    uint32_t vbucket;
    uint64_t events;
    size_t offset, length; /* within the buffer that was written */
} taba_section;

taba_accumulator *taba_accumulator_new(const taba_allocator *allocator);
void taba_accumulator_free(taba_accumulator *accumulator);
void taba_accumulator_clear(taba_accumulator *accumulator);     /* empty; may keep memory for the next time */
void taba_accumulator_summary_of(const taba_accumulator *accumulator, taba_accumulator_summary *out);

/* Fold all events of a finished scratch into the Partials: all or, on TABA_ENOMEM, none. Gauge and raw events get
 * the stamps `stamp`, `stamp` + 1, ... (microseconds) in their order; `next_stamp` gets the first one not used.
 * TABA_EDOMAIN when the scratch's parser has begun and not finished, TABA_ETYPE when a Type's name comes with another
 * kind than before. */
int taba_accumulator_merge(taba_accumulator *accumulator, const taba_scratch *scratch,
                           uint64_t stamp, uint64_t *next_stamp);

/* Append one section (docs/reference/batches.md) per vbucket that has Partials, in ascending order of vbuckets, to `out`, and
 * one taba_section each to `index` (an array as bytes; its length is a multiple of sizeof(taba_section)).
 * With num_vbuckets 0 there is one section, vbucket 0. The accumulator is not changed. */
int taba_accumulator_encode(const taba_accumulator *accumulator, uint32_t num_vbuckets,
                            taba_buffer *out, taba_buffer *index);

/* ---------------------------------------------------------------------------------------------- batches */

typedef struct taba_entry {
    size_t tab, tab_length, client, client_length, type, type_length;  /* offsets within the batch */
    size_t partial, partial_length;
    uint64_t events;          /* as the batch says */
    uint64_t partial_events;  /* as the Partial says, and the time of its newest event: see taba_partial_extent, whose */
    double newest;            /* status is the next; both are 0 when that is not TABA_OK */
    int32_t status;
    int32_t first_byte;       /* of the Partial: its Type, or-ed with TABA_PARTIAL; -1 for none */
} taba_entry;

/* Append one taba_entry per Partial of a batch (one section or more) to `index`. Checks the sections wholly, and of
 * each Partial that its bytes are there; what is in them only as far as taba_partial_extent looks, whose findings stand in
 * the entry and do not make the call fail. TABA_ELIMIT for a batch of 4 GiB or more. */
int taba_batch_index(taba_blob batch, taba_buffer *index);

/* Cut a batch into parts by vbucket, one taba_section each, ascending: for each section of the batch, in order, one section
 * of what it has for the vbucket, as taba_accumulator_encode would have written it. */
int taba_batch_split(taba_blob batch, uint32_t num_vbuckets, taba_buffer *out, taba_buffer *index);

/* ---------------------------------------------------------------------------------------------- hot States
 *
 * What a be keeps in memory of one vbucket: States of native Types by (tab, client), and with an empty client the tabs'
 * running Aggregates; and the Partials that wait for the next checkpoint of these States. What is wrong with a Partial, and
 * all that this does not have the State of, is left to the caller.
 */
typedef struct taba_hot taba_hot;

taba_hot *taba_hot_new(const taba_allocator *allocator);  /* empty; NULL when out of memory */
void taba_hot_free(taba_hot *hot);
size_t taba_hot_memory(const taba_hot *hot);              /* bytes held */

/* Names are numbered from 0 in the order in which they came: how many there are, and the one of a number (TABA_EDOMAIN for
 * another). Numbers hold until taba_hot_sweep; the blob until the next change. */
size_t taba_hot_names(const taba_hot *hot);
int taba_hot_name(const taba_hot *hot, size_t number, taba_blob *out);

/* Keep a State of Type `type`, which is of `kind` (TABA_COUNTER_GROUP ...); `running` is whether the tab's Aggregate is a
 * fold of its Partials. From now on Partials of this (tab, client, Type) may be taken. TABA_EDOMAIN for a name that is too
 * long, or another kind. */
int taba_hot_put(taba_hot *hot, taba_blob tab, taba_blob client, taba_blob type, int kind, int running, taba_blob state);

/* Replace a State that is there, or, with NULL, forget it: no Partial of it may be waiting. `found` gets whether it was
 * there. */
int taba_hot_update(taba_hot *hot, taba_blob tab, taba_blob client, const taba_blob *state, int *found);

/* A State; bytes NULL when it is not there. Valid until the next change. */
int taba_hot_get(const taba_hot *hot, taba_blob tab, taba_blob client, taba_blob *out);

/* Forget what was not used since the last call, or, without `keep`, everything. No Partial may be waiting. */
int taba_hot_sweep(taba_hot *hot, int keep);

/* Partials that wait, of one taba_hot, which must outlive them, and of batches, which must as well. */
typedef struct taba_waiting taba_waiting;

taba_waiting *taba_waiting_new(const taba_allocator *allocator);
void taba_waiting_free(taba_waiting *waiting);
size_t taba_waiting_count(const taba_waiting *waiting);   /* how many */
size_t taba_waiting_memory(const taba_waiting *waiting);  /* bytes held */

/* Take what can be taken of a batch: whatever there is a State of, of the same Type, whose number of events is right and
 * at most 2**53, and which is not newer than `newest`. The others go to `left`, a taba_entry each, in the order of the
 * batch; `events` gets how many events the taken ones have. Fails as taba_batch_index does, and has taken nothing then. */
int taba_hot_take(const taba_hot *hot, taba_waiting *waiting, taba_blob batch, double newest, taba_buffer *left,
                  uint64_t *events);

typedef struct taba_waiting_row {
    uint32_t tab, client, type;  /* numbers of names */
    const uint8_t *partial;
    size_t length;
    uint64_t events;
} taba_waiting_row;

/* Append what waits to `out`, a taba_waiting_row each, State by State; with `failed`, of those States only that the last
 * taba_hot_fold could not fold into. */
int taba_waiting_rows(const taba_waiting *waiting, const taba_hot *hot, int failed, taba_buffer *out);

/* Append the tabs to `out` whose Aggregate a fold would need, and that is not there: two uint32_t each, the numbers of its
 * name and of its Type's. To be called before the fold, and these be put. */
int taba_waiting_tabs(taba_waiting *waiting, const taba_hot *hot, taba_buffer *out);

typedef struct taba_hot_state {
    uint32_t tab, client;   /* numbers of names */
    size_t offset, length;  /* within the buffer that was written */
} taba_hot_state;

/* Fold what waits into the States, tab by tab, or, with `aggregates`, and after that, into the Aggregates of the tabs. The
 * new States go to `states`, a taba_hot_state each to `index`. A State that cannot be folded into stays as it is (see
 * taba_waiting_rows); of Aggregates the numbers of their tabs (uint32_t) go to `damaged`. On failure some were folded: hot
 * and waiting are to be freed. */
int taba_hot_fold(taba_hot *hot, taba_waiting *waiting, int aggregates, taba_buffer *states, taba_buffer *index,
                  taba_buffer *damaged);

#ifdef __cplusplus
}
#endif
#endif
