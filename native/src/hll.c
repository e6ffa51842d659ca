/* hll.c - a set of hashes, and its registers; see hll.h. */
#include "hll.h"

void taba_hll_release(taba_hll *h, const taba_allocator *a) {
    taba_release(a, h->hashes, h->room * sizeof *h->hashes);
    if (h->registers != NULL)
        taba_release(a, h->registers, TABA_HLL_REGISTERS);
    memset(h, 0, sizeof *h);
}

size_t taba_hll_memory(const taba_hll *h) {
    return h->room * sizeof *h->hashes + (h->registers != NULL ? TABA_HLL_REGISTERS : 0);
}

/* ---------------------------------------------------------------------------------------------- hashes */

/* Put a hash in its place of `hashes`, n of them in ascending order, unless it is there; returns how many there are. */
static size_t insert(uint64_t *hashes, size_t n, uint64_t hash) {
    size_t at = n;
    while (at > 0 && hashes[at - 1] > hash)
        at--;
    if (at > 0 && hashes[at - 1] == hash)
        return n;
    memmove(hashes + at + 1, hashes + at, (n - at) * sizeof *hashes);
    hashes[at] = hash;
    return n + 1;
}

/* Room for `need` hashes. */
static int make_room(taba_hll *h, const taba_allocator *a, size_t need) {
    void *hashes = h->hashes;
    size_t room = h->room;
    if (need <= room)
        return TABA_OK;
    size_t wanted = room + room / 2; /* most have one, a few, or all */
    wanted = wanted < need ? need : wanted > TABA_HLL_EXACT ? TABA_HLL_EXACT : wanted;
    hashes = taba_resize(a, hashes, room * sizeof *h->hashes, wanted * sizeof *h->hashes);
    if (hashes == NULL)
        return TABA_ENOMEM;
    h->hashes = hashes;
    h->room = (uint8_t)wanted;
    return TABA_OK;
}

/* ---------------------------------------------------------------------------------------------- registers */

/* The zeros in front of the 41 lower bits of a hash, and one. A bit is set behind the last so that there is one. */
static uint8_t rank_of(uint64_t hash) {
    uint64_t rest = hash << (64 - TABA_HLL_BITS) | UINT64_C(1) << (63 - TABA_HLL_BITS);
#if defined(__GNUC__)
    return (uint8_t)(__builtin_clzll(rest) + 1);
#else
    uint8_t rank = 1;
    for (; rest >> 63 == 0; rest <<= 1)
        rank++;
    return rank;
#endif
}

static void count(uint8_t *registers, uint64_t hash) {
    const uint8_t rank = rank_of(hash);
    uint8_t *held = &registers[hash >> TABA_HLL_BITS];
    *held = rank > *held ? rank : *held;
}

static int prepare_registers(taba_hll *h, const taba_allocator *a) {
    if (h->registers == NULL)
        h->registers = taba_resize(a, NULL, 0, TABA_HLL_REGISTERS);
    return h->registers != NULL ? TABA_OK : TABA_ENOMEM;
}

/* Count in the registers, which are there, from now on. */
static void spill(taba_hll *h) {
    memset(h->registers, 0, TABA_HLL_REGISTERS);
    for (size_t i = 0; i < h->n; i++)
        count(h->registers, h->hashes[i]);
    h->n = 0;
    h->spilled = true;
}

int taba_hll_spill(taba_hll *h, const taba_allocator *a) {
    if (h->spilled)
        return TABA_OK;
    const int status = prepare_registers(h, a);
    if (status == TABA_OK)
        spill(h);
    return status;
}

/* ---------------------------------------------------------------------------------------------- adding */

/* Whether there may be more hashes than are kept as they are, with those that are due and these; else *more gets how
 * many of these are new. */
static bool may_spill(const taba_hll *h, const double *hashes, size_t n, size_t *more) {
    uint64_t found[TABA_HLL_EXACT + 1];
    size_t held = h->n;
    if (held != 0)
        memcpy(found, h->hashes, held * sizeof *found);
    for (size_t i = 0; i < n && held + h->due <= TABA_HLL_EXACT; i++)
        held = insert(found, held, (uint64_t)hashes[i]);
    *more = held - h->n;
    return held + h->due > TABA_HLL_EXACT;
}

int taba_hll_reserve(taba_hll *h, const taba_allocator *a, const double *hashes, size_t n) {
    size_t more;
    if (h->spilled)
        return TABA_OK;
    int status;
    if (may_spill(h, hashes, n, &more)) {
        status = prepare_registers(h, a);
        if (status == TABA_OK)
            status = make_room(h, a, TABA_HLL_EXACT); /* if they turn out to be the same again and again */
    } else {
        status = make_room(h, a, h->n + h->due + more);
    }
    if (status == TABA_OK)
        h->due = (uint8_t)(h->due + more < UINT8_MAX ? h->due + more : UINT8_MAX);
    return status;
}

/* Add a hash to those that are kept as they are; there is room for it, or there are the registers. */
static void add_one(taba_hll *h, uint64_t hash) {
    if (h->n == TABA_HLL_EXACT) {
        uint64_t found[TABA_HLL_EXACT + 1];
        memcpy(found, h->hashes, sizeof found - sizeof *found);
        if (insert(found, TABA_HLL_EXACT, hash) == TABA_HLL_EXACT)
            return;
        spill(h);
        count(h->registers, hash);
        return;
    }
    const size_t before = h->n;
    h->n = (uint8_t)insert(h->hashes, before, hash);
    h->due = (uint8_t)(h->due - (h->due > 0 && h->n > before));
}

void taba_hll_add(taba_hll *h, const double *hashes, size_t n) {
    size_t i = 0;
    for (; i < n && !h->spilled; i++)
        add_one(h, (uint64_t)hashes[i]);
    for (; i < n; i++)
        count(h->registers, (uint64_t)hashes[i]);
}

int taba_hll_put(taba_hll *h, const taba_allocator *a, uint64_t hash) {
    const double one = (double)hash;
    const int status = taba_hll_reserve(h, a, &one, 1);
    if (status == TABA_OK)
        taba_hll_add(h, &one, 1);
    return status;
}
