/* hll_code.c - the encoding of a set of hashes or of its registers; see hll.h.
 *
 *     01 c8 01            one hash, 200
 *     03 05 00 09         three hashes: 5, 6, 16
 *     40 02 18 0f 03      two registers that are not 0: number 3 at rank 1; number 3 + 1 + 1 at rank 7 + 1 + 3
 *     80 base, 2048 bytes of two registers each, less base, the first one in the lower half; 15 is 15 or more, and how much
 *        more is told by a byte each, in order, behind them
 */
#include "hll.h"

#define HASH_MAX ((UINT64_C(1) << 53) - 1)
#define SPARSE 0x40
#define DENSE 0x80
#define HALVES (TABA_HLL_REGISTERS / 2) /* bytes */
#define LOW_RANKS 7 /* ranks 1 to 7 stand in the token itself */
#define NIBBLE 15

/* ---------------------------------------------------------------------------------------------- writing */

static int encode_hashes(const taba_hll *h, taba_buffer *out) {
    int status = taba_put_u8(out, h->n);
    uint64_t next = 0; /* the least that the hash may be */
    for (size_t i = 0; i < h->n && status == TABA_OK; i++) {
        status = taba_put_uvarint(out, h->hashes[i] - next);
        next = h->hashes[i] + 1;
    }
    return status;
}

static int encode_sparse(const uint8_t *registers, size_t n, taba_buffer *out) {
    int status = taba_put_u8(out, SPARSE);
    if (status == TABA_OK)
        status = taba_put_uvarint(out, n);
    if (status == TABA_OK)
        status = taba_buffer_reserve(out, 3 * n + 1); /* a gap below 2048 and 3 bits take two bytes; one may be greater */
    if (status != TABA_OK)
        return status;
    uint8_t *start = taba_buffer_writable(out), *at = start + taba_buffer_length(out);
    for (size_t i = 0, next = 0; i < TABA_HLL_REGISTERS; i++) {
        if (registers[i] == 0)
            continue;
        const uint64_t low = registers[i] <= LOW_RANKS ? registers[i] - 1u : LOW_RANKS;
        at = taba_store_uvarint(at, (uint64_t)(i - next) << 3 | low);
        if (low == LOW_RANKS)
            *at++ = (uint8_t)(registers[i] - LOW_RANKS - 1);
        next = i + 1;
    }
    taba_buffer_extend_to(out, (size_t)(at - start));
    return TABA_OK;
}

static int encode_dense(const uint8_t *registers, uint8_t base, taba_buffer *out) {
    const int status = taba_buffer_reserve(out, 2 + HALVES + TABA_HLL_REGISTERS);
    if (status != TABA_OK)
        return status;
    uint8_t *start = taba_buffer_writable(out), *at = start + taba_buffer_length(out), *more = at + 2 + HALVES;
    *at++ = DENSE;
    *at++ = base;
    for (size_t i = 0; i < HALVES; i++) {
        const unsigned low = registers[2 * i] - base, high = registers[2 * i + 1] - base;
        *at++ = (uint8_t)((low < NIBBLE ? low : NIBBLE) | (high < NIBBLE ? high : NIBBLE) << 4);
        if (low >= NIBBLE)
            *more++ = (uint8_t)(low - NIBBLE);
        if (high >= NIBBLE)
            *more++ = (uint8_t)(high - NIBBLE);
    }
    taba_buffer_extend_to(out, (size_t)(more - start));
    return TABA_OK;
}

int taba_hll_encode(const taba_hll *h, taba_buffer *out) {
    size_t n = 0;
    uint8_t base = UINT8_MAX;
    if (!h->spilled)
        return encode_hashes(h, out);
    for (size_t i = 0; i < TABA_HLL_REGISTERS; i++) {
        n += h->registers[i] != 0;
        base = h->registers[i] < base ? h->registers[i] : base;
    }
    return n <= TABA_HLL_SPARSE ? encode_sparse(h->registers, n, out) : encode_dense(h->registers, base, out);
}

/* ---------------------------------------------------------------------------------------------- reading */

static int read_hashes(taba_cursor *c, size_t n, taba_hll *h, const taba_allocator *a) {
    uint64_t next = 0, step;
    for (size_t i = 0; i < n; i++) {
        int status = taba_get_uvarint(c, &step);
        if (status == TABA_OK && (next > HASH_MAX || step > HASH_MAX - next))
            status = TABA_ECORRUPT;
        if (status == TABA_OK && h != NULL)
            status = taba_hll_put(h, a, next + step);
        if (status != TABA_OK)
            return status;
        next += step + 1;
    }
    return TABA_OK;
}

static void raise_to(taba_hll *h, size_t i, uint8_t rank) {
    const uint8_t held = h->registers[i];
    h->registers[i] = rank > held ? rank : held;
}

static int read_sparse(taba_cursor *c, taba_hll *h, uint64_t *n) {
    uint64_t next = 0, token = 0;
    int status = taba_get_uvarint(c, n);
    if (status == TABA_OK && (*n == 0 || *n > TABA_HLL_SPARSE))
        return TABA_ECORRUPT;
    for (uint64_t i = 0; i < *n && status == TABA_OK; i++) {
        uint8_t more = 0;
        status = taba_get_uvarint(c, &token);
        if (status == TABA_OK && (token & LOW_RANKS) == LOW_RANKS)
            status = taba_get_u8(c, &more);
        if (status != TABA_OK)
            return status;
        if (token >> 3 >= TABA_HLL_REGISTERS - next || more > TABA_HLL_RANK_MAX - LOW_RANKS - 1)
            return TABA_ECORRUPT;
        next += token >> 3;
        if (h != NULL)
            raise_to(h, (size_t)next, (uint8_t)((token & LOW_RANKS) + 1 + more));
        next++;
    }
    return status;
}

/* The registers of the dense form, less the base; 15 stands for 15 and more. *zeros gets how many are 0, and the number of
 * those that are 15 is returned. */
static size_t unpack(const uint8_t *halves, uint8_t *ranks, size_t *zeros) {
    unsigned none = 0, most = 0;
    for (size_t i = 0; i < HALVES; i++) {
        ranks[2 * i] = halves[i] & NIBBLE;
        ranks[2 * i + 1] = halves[i] >> 4;
    }
    for (size_t i = 0; i < TABA_HLL_REGISTERS; i++) {
        none += ranks[i] == 0;
        most += ranks[i] == NIBBLE;
    }
    *zeros = none;
    return most;
}

static int read_dense(taba_cursor *c, taba_hll *h, uint64_t *n) {
    const uint8_t *halves, *more;
    uint8_t ranks[TABA_HLL_REGISTERS], base, greatest = 0;
    size_t zeros, many;
    int status = taba_get_u8(c, &base);
    if (status == TABA_OK)
        status = taba_get_bytes(c, HALVES, &halves);
    if (status != TABA_OK)
        return status;
    many = unpack(halves, ranks, &zeros);
    *n = TABA_HLL_REGISTERS - (base == 0 ? zeros : 0);
    status = taba_get_bytes(c, many, &more);
    if (status != TABA_OK || base > TABA_HLL_RANK_MAX || zeros == 0 || *n <= TABA_HLL_SPARSE)
        return TABA_ECORRUPT;
    for (size_t i = 0; many > 0; i++)
        if (ranks[i] == NIBBLE) {
            many--;
            if (*more > TABA_HLL_RANK_MAX)
                return TABA_ECORRUPT;
            ranks[i] = (uint8_t)(NIBBLE + *more++);
        }
    for (size_t i = 0; i < TABA_HLL_REGISTERS; i++)
        greatest = ranks[i] > greatest ? ranks[i] : greatest;
    if (greatest > TABA_HLL_RANK_MAX - base)
        return TABA_ECORRUPT;
    uint8_t *held = h != NULL ? h->registers : ranks;
    for (size_t i = 0; h != NULL && i < TABA_HLL_REGISTERS; i++) {
        const uint8_t rank = (uint8_t)(ranks[i] + base);
        held[i] = rank > held[i] ? rank : held[i];
    }
    return TABA_OK;
}

int taba_hll_read(taba_cursor *c, taba_hll *h, const taba_allocator *a, uint64_t *least) {
    uint8_t head;
    int status = taba_get_u8(c, &head);
    *least = 0;
    if (status == TABA_OK && (head == 0 || (head > TABA_HLL_EXACT && head != SPARSE && head != DENSE)))
        return TABA_ECORRUPT;
    if (status == TABA_OK && head <= TABA_HLL_EXACT) {
        *least = head;
        return read_hashes(c, head, h, a);
    }
    if (status == TABA_OK && h != NULL)
        status = taba_hll_spill(h, a);
    if (status == TABA_OK)
        status = head == SPARSE ? read_sparse(c, h, least) : read_dense(c, h, least);
    if (status == TABA_OK && *least <= TABA_HLL_EXACT)
        *least = TABA_HLL_EXACT + 1; /* else the hashes would be there */
    return status;
}
