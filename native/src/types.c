/* types.c - fold, reduce, check and extent of any Type: the choice by the Type, and all or nothing for `out`. */
#include "types.h"

int taba_open(taba_blob blob, uint8_t first, taba_cursor *c) {
    uint8_t type, version;
    *c = taba_cursor_of(blob.bytes, blob.length);
    int status = taba_get_u8(c, &type);
    if (status == TABA_OK && type != first)
        return TABA_ETYPE;
    if (status == TABA_OK)
        status = taba_get_u8(c, &version);
    if (status == TABA_OK && version != TABA_ENCODING_VERSION)
        return TABA_EVERSION;
    return status;
}

int taba_put_front(taba_buffer *out, uint8_t first) {
    const uint8_t front[2] = {first, TABA_ENCODING_VERSION};
    return taba_buffer_append(out, front, sizeof front);
}

int taba_at_end(const taba_cursor *c) { return taba_cursor_left(c) == 0 ? TABA_OK : TABA_ECORRUPT; }

static int fold(int type, taba_blob state, const taba_blob *partials, size_t n, taba_buffer *out) {
    switch (type) {
    case TABA_COUNTER_GROUP: return taba_counter_group_fold(state, partials, n, out);
    case TABA_PERCENTILE_GROUP: return taba_percentile_group_fold(state, partials, n, out);
    case TABA_GAUGE: return taba_gauge_fold(state, partials, n, out);
    case TABA_UNIQUE_GROUP: return taba_unique_group_fold(state, partials, n, out);
    default: return TABA_ETYPE;
    }
}

int taba_fold(int type, taba_blob state, const taba_blob *partials, size_t n, taba_buffer *out) {
    size_t before = taba_buffer_length(out);
    int status = fold(type, state, partials, n, out);
    if (status != TABA_OK)
        taba_buffer_truncate(out, before);
    return status;
}

static int reduce(int type, const taba_blob *states, size_t n, taba_buffer *out) {
    switch (type) {
    case TABA_COUNTER_GROUP: return taba_counter_group_reduce(states, n, out);
    case TABA_PERCENTILE_GROUP: return taba_percentile_group_reduce(states, n, out);
    case TABA_GAUGE: return taba_gauge_reduce(states, n, out);
    case TABA_UNIQUE_GROUP: return taba_unique_group_reduce(states, n, out);
    default: return TABA_ETYPE;
    }
}

int taba_reduce(int type, const taba_blob *states, size_t n, taba_buffer *out) {
    size_t before = taba_buffer_length(out);
    int status = reduce(type, states, n, out);
    if (status != TABA_OK)
        taba_buffer_truncate(out, before);
    return status;
}

static int facts_of(taba_blob partial, taba_partial_facts *out) {
    switch (partial.bytes[0]) {
    case TABA_PARTIAL | TABA_RAW: return taba_raw_facts(partial, out);
    case TABA_PARTIAL | TABA_COUNTER_GROUP: return taba_counter_group_facts(partial, out);
    case TABA_PARTIAL | TABA_PERCENTILE_GROUP: return taba_percentile_group_facts(partial, out);
    case TABA_PARTIAL | TABA_GAUGE: return taba_gauge_facts(partial, out);
    case TABA_PARTIAL | TABA_UNIQUE_GROUP: return taba_unique_group_facts(partial, out);
    default: return TABA_ETYPE;
    }
}

static int check(taba_blob blob) {
    taba_partial_facts facts;
    switch (blob.bytes[0]) {
    case TABA_COUNTER_GROUP: return taba_counter_group_check(blob);
    case TABA_PERCENTILE_GROUP: return taba_percentile_group_check(blob);
    case TABA_GAUGE: return taba_gauge_check(blob);
    case TABA_UNIQUE_GROUP: return taba_unique_group_check(blob);
    default: return facts_of(blob, &facts);
    }
}

int taba_check(taba_blob blob, int *type) {
    if (blob.length == 0)
        return TABA_ECORRUPT; /* the empty State is of every Type, so it says none */
    int status = check(blob);
    if (status == TABA_OK)
        *type = blob.bytes[0];
    return status;
}

int taba_state_newest(taba_blob state, double *newest) {
    if (state.length == 0) {
        *newest = 0;
        return TABA_OK;
    }
    switch (state.bytes[0]) {
    case TABA_COUNTER_GROUP: return taba_counter_group_newest(state, newest);
    case TABA_PERCENTILE_GROUP: return taba_percentile_group_newest(state, newest);
    case TABA_GAUGE: return taba_gauge_newest(state, newest);
    case TABA_UNIQUE_GROUP: return taba_unique_group_newest(state, newest);
    default: return TABA_ETYPE;
    }
}

int taba_partial_extent(taba_blob partial, uint64_t *events, double *newest) {
    taba_partial_facts facts;
    if (partial.length == 0)
        return TABA_ETYPE; /* the empty State */
    int status = facts_of(partial, &facts);
    if (status == TABA_OK) {
        *events = facts.events;
        *newest = facts.newest;
    }
    return status;
}
