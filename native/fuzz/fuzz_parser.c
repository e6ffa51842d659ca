/* fuzz_parser.c - any bytes as a body of protocol 1.
 *
 * The first byte says how the body is begun and under which limits, the second how many bytes after it (up to 15) give
 * the lengths of its pieces, over and over; the rest is the body. The body whole, in those pieces, and byte by byte
 * must come to the same: status, counts, samples, lines, and the bytes of the batch. Lines that are whole are read the
 * quick way, lines in single bytes never are, so that this compares the two ways as well. What is accepted must be
 * sound: a batch that can be read, Partials that check, payloads that are JSON in UTF-8.
 */
#include "sound.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* The body that the input stands for; to be freed. */
static uint8_t *begin_body(uint8_t choice, const uint8_t *rest, size_t left, size_t *length) {
    static const char *const heads[] = {"", "1\n\n", "1\n\nc\n\nt\n", "1\n\nc\n\nt\n[\"CounterGroup\", 1, \"1\"]\n"};
    const char *head = heads[choice % 4];
    const size_t n = strlen(head);
    uint8_t *body = malloc(n + left + 1);
    MUST(body != NULL);
    memcpy(body, head, n);
    if (left > 0)
        memcpy(body + n, rest, left);
    *length = n + left;
    return body;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (length < 2 || length < 2 + (size_t)(bytes[1] & 15))
        return 0;
    pieces cuts = {bytes + 2, bytes[1] & 15, 0};
    taba_limits limits = body_limits();
    limits.max_memory = (bytes[0] & 4) != 0 ? 6000 : limits.max_memory;
    limits.max_payload = (bytes[0] & 8) != 0 ? 20 : limits.max_payload;
    limits.max_name = (bytes[0] & 16) != 0 ? 3 : limits.max_name;
    size_t body_length;
    uint8_t *body = begin_body(bytes[0], bytes + 2 + cuts.count, length - 2 - cuts.count, &body_length);
    const taba_blob blob = test_blob(body, body_length);
    for (int way = 0; way < 2; way++) {
        body_result whole = body_outcome_within(&limits, blob, body_whole, NULL);
        body_result parts = body_outcome_within(&limits, blob, way == 0 ? cut_pieces : body_bytes, &cuts);
        MUST(whole.status == TABA_OK || whole.status == TABA_ESYNTAX || whole.status == TABA_ELIMIT);
        MUST(whole.summary.memory <= limits.max_memory && whole.summary.accepted + body_refused(&whole.summary) <= whole.summary.line);
        if (whole.status == TABA_OK)
            check_batch(&whole, &limits);
        body_check_same(&whole, &parts);
    }
    free(body);
    return 0;
}
