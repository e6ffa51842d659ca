/* fuzz_columns.c - any bytes as a frame of columns.
 *
 * The first byte says how the frame is made and under which limits, the second how many bytes after it (up to 15) give
 * the lengths of its pieces, over and over. The rest is the frame; or else, up to its first line end, the header, in front
 * of which its length is put, and then the payload. The frame whole, in those pieces, and byte by byte must come to the
 * same: status, counts, samples, and the bytes of the batch. What is accepted must be sound.
 */
#include "frames.h"
#include "sound.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* The frame that the input stands for. */
static frame make_frame(uint8_t choice, const uint8_t *rest, size_t left) {
    const uint8_t *end = left > 0 ? memchr(rest, '\n', left) : NULL;
    frame f = {NULL, 0, 0};
    if ((choice & 1) != 0 || end == NULL) {
        frame_append(&f, rest, left);
        return f;
    }
    const size_t n = (size_t)(end - rest);
    const uint8_t front[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), 0};
    frame_append(&f, front, 4);
    frame_append(&f, rest, n);
    frame_append(&f, end + 1, left - n - 1);
    return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (length < 2 || length < 2 + (size_t)(bytes[1] & 15))
        return 0;
    pieces cuts = {bytes + 2, bytes[1] & 15, 0};
    taba_limits limits = body_limits();
    limits.max_payload = (bytes[0] & 8) != 0 ? 20 : limits.max_payload;
    limits.max_name = (bytes[0] & 16) != 0 ? 3 : limits.max_name;
    frame f = make_frame(bytes[0], bytes + 2 + cuts.count, length - 2 - cuts.count);
    const taba_blob blob = frame_blob(&f);
    for (int way = 0; way < 2; way++) {
        body_result whole = frame_outcome_within(&limits, blob, body_whole, NULL);
        body_result parts = frame_outcome_within(&limits, blob, way == 0 ? cut_pieces : body_bytes, &cuts);
        MUST(whole.status == TABA_OK || whole.status == TABA_ESYNTAX || whole.status == TABA_ELIMIT);
        MUST(whole.summary.memory <= limits.max_memory && whole.summary.line <= f.length);
        MUST((whole.summary.problem != NULL) == (whole.status != TABA_OK));
        if (whole.status == TABA_OK)
            check_batch(&whole, &limits);
        body_check_alike(&whole, &parts);
    }
    if ((bytes[0] & 4) != 0) { /* whether little memory suffices may depend on the cut */
        limits.max_memory = 3000;
        body_result small = frame_outcome_within(&limits, blob, cut_pieces, &cuts);
        MUST(small.summary.memory <= limits.max_memory);
        taba_buffer_free(small.batch);
    }
    free(f.bytes);
    return 0;
}
