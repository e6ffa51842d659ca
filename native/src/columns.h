/* columns.h - the inside of a reader of columns, shared by columns.c (the stream), columns_header.c (the header) and
 * columns_fill.c (the numbers).
 *
 * The header's bytes are put together in taba_scratch.payloads, and stay there: names of refused events and payloads of
 * `structured` are slices of them. Its rows stand in taba_scratch.rows. Of the payload nothing is kept but the columns of
 * the scratch, and up to seven bytes of a number that is not whole yet.
 */
#ifndef TABA_COLUMNS_H
#define TABA_COLUMNS_H

#include "scratch.h"

/* Whole numbers in a header go up to 2**53 - 1. */
#define TABA_WHOLE_MAX ((INT64_C(1) << 53) - 1)

/* A part of the header: `length` bytes at `at` in taba_scratch.payloads; length 0 for what is not there. */
typedef struct taba_slice {
    size_t at, length;
} taba_slice;

typedef enum taba_columns_place { TABA_AT_LENGTH, TABA_AT_HEADER, TABA_AT_PAYLOAD } taba_columns_place;

struct taba_columns {
    taba_allocator allocator; /* a copy, if one was given */
    bool custom;
    bool finished;
    int status;               /* what ended the frame, or TABA_OK */
    taba_scratch *scratch;
    size_t max_header, max_rows;
    taba_columns_place place;
    uint64_t taken;           /* bytes of the body so far, but for those pending */
    uint8_t pending[8];       /* the first bytes of a number that is not whole yet, or of the header's length */
    size_t pending_length;
    size_t header_length;
    taba_slice client, instance, unsent; /* facts of the header */
    int64_t batch;            /* -1 for none */
    bool client_valid;
    uint64_t due;             /* events of rows that may be taken, from the present row on */
    size_t row;               /* the present row: its number */
    uint64_t done;            /* its numbers so far: times first, then values */
    bool odd;                 /* one of them cannot be taken */
    taba_ranges ranges;       /* within which they lie, if none is odd */
};

/* Read the header, which is whole in taba_scratch.payloads: facts, structured events, rows. TABA_OK; TABA_ENOMEM,
 * TABA_ELIMIT; TABA_ESYNTAX with the problem set and the byte at fault in `taken`. */
int taba_columns_read_header(taba_columns *p);

/* Copy `n` doubles of the wire to a column, at any alignment; negative zeros become zeros. *least and *most are moved
 * apart to include them. Returns whether all are numbers: if not, those two tell nothing. */
bool taba_columns_fill(double *to, const uint8_t *from, size_t n, double *least, double *most);

#endif
