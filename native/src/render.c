/* render.c - States as the original wrote them, to the character. */
#include "render.h"

#include "text.h"

#define QUANTILES 7
#define MOST_BUCKETS 120 /* of a window */

static const double quantiles[QUANTILES] = {0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 0.999};
static const char *const window_names[TABA_WINDOWS] = {"1m", "10m", "1h", "1d"};

/* ---------------------------------------------------------------------------------------------- counts and percentiles */

static int put_count_and_total(taba_buffer *out, uint64_t count, double total, int decimals) {
    int status = taba_put_text(out, "{\"count\": ");
    if (status == TABA_OK)
        status = taba_put_whole(out, count);
    if (status == TABA_OK)
        status = taba_put_text(out, ", \"total\": ");
    return status == TABA_OK ? taba_put_fixed(out, total, decimals) : status;
}

static int put_percentiles(taba_buffer *out, const taba_sketch_summary *summary, const double *values) {
    int status = put_count_and_total(out, summary->count, summary->sum, 6);
    if (status == TABA_OK)
        status = taba_put_text(out, ", \"pct\": [");
    for (int i = 0; i < QUANTILES && status == TABA_OK; i++) {
        if (i != 0)
            status = taba_put_text(out, ", ");
        if (status == TABA_OK)
            status = taba_put_fixed(out, values[i], 2);
    }
    return status == TABA_OK ? taba_put_text(out, "]}") : status;
}

/* `"NAME": `, with what stands before the first or the next. */
static int put_name(taba_buffer *out, int window) {
    int status = taba_put_text(out, window == 0 ? "{\"" : ", \"");
    if (status == TABA_OK)
        status = taba_put_text(out, window_names[window]);
    return status == TABA_OK ? taba_put_text(out, "\": ") : status;
}

static int render_counter_group(taba_blob state, double time, taba_buffer *out, taba_buffer *work) {
    taba_window windows[TABA_WINDOWS];
    taba_sketch_summary all;
    double values[QUANTILES];
    int status = taba_counter_group_summary(state, time, windows, &all, quantiles, QUANTILES, values, work);
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++) {
        const taba_window *w = &windows[i];
        status = put_name(out, i);
        if (status == TABA_OK)
            status = put_count_and_total(out, w->count, w->total, 2);
        if (status == TABA_OK)
            status = taba_put_text(out, ", \"average\": ");
        if (status == TABA_OK)
            status = taba_put_fixed(out, w->count != 0 ? w->total / (double)w->count : 0.0, 2);
        if (status == TABA_OK)
            status = taba_put_text(out, "}");
    }
    if (status == TABA_OK)
        status = taba_put_text(out, ", \"pct\": ");
    if (status == TABA_OK)
        status = put_percentiles(out, &all, values);
    return status == TABA_OK ? taba_put_text(out, "}") : status;
}

static int render_percentile_group(taba_blob state, double time, taba_buffer *out, taba_buffer *work) {
    taba_sketch_summary windows[TABA_WINDOWS];
    double values[TABA_WINDOWS * QUANTILES];
    int status = taba_percentile_group_summary(state, time, windows, quantiles, QUANTILES, values, work);
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++) {
        status = put_name(out, i);
        if (status == TABA_OK)
            status = put_percentiles(out, &windows[i], values + i * QUANTILES);
    }
    return status == TABA_OK ? taba_put_text(out, "}") : status;
}

/* ---------------------------------------------------------------------------------------------- UniqueGroup */

static int put_uniques(taba_buffer *out, const taba_unique_window *w) {
    int status = taba_put_text(out, "{\"count\": ");
    if (status == TABA_OK)
        status = taba_put_whole(out, w->count);
    if (status == TABA_OK)
        status = taba_put_text(out, ", \"unique\": ");
    if (status == TABA_OK)
        status = taba_put_fixed(out, w->unique, 0);
    return status == TABA_OK ? taba_put_text(out, "}") : status;
}

static int render_unique_group(taba_blob state, double time, taba_buffer *out, taba_buffer *work) {
    taba_unique_window windows[TABA_WINDOWS];
    int status = taba_unique_group_summary(state, time, windows, work);
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++) {
        status = put_name(out, i);
        if (status == TABA_OK)
            status = put_uniques(out, &windows[i]);
    }
    return status == TABA_OK ? taba_put_text(out, "}") : status;
}

/* ---------------------------------------------------------------------------------------------- every bucket */

/* `[START, COUNT, `, with what stands before the first or the next of a level. */
static int put_bucket(taba_buffer *out, int position, int64_t start, uint64_t count) {
    int status = taba_put_text(out, position == 0 ? "[" : ", [");
    if (status == TABA_OK)
        status = taba_put_double(out, (double)start);
    if (status == TABA_OK)
        status = taba_put_text(out, ", ");
    if (status == TABA_OK)
        status = taba_put_whole(out, count);
    return status == TABA_OK ? taba_put_text(out, ", ") : status;
}

static int put_counter_buckets(taba_blob state, double time, int level, taba_buffer *out) {
    static const int numbers[TABA_WINDOWS] = {60, 60, 120, 96}, widths[TABA_WINDOWS] = {1, 10, 30, 900};
    taba_window buckets[MOST_BUCKETS];
    int64_t first;
    int status = taba_counter_group_buckets(state, time, level, &first, buckets);
    for (int i = 0; i < numbers[level] && status == TABA_OK; i++) {
        status = put_bucket(out, i, first + (int64_t)i * widths[level], buckets[i].count);
        if (status == TABA_OK)
            status = taba_put_double(out, buckets[i].total);
        if (status == TABA_OK)
            status = taba_put_text(out, "]");
    }
    return status;
}

static int put_unique_buckets(taba_blob state, double time, int level, taba_buffer *out, taba_buffer *work) {
    static const int widths[TABA_WINDOWS] = {15, 150, 900, 21600};
    taba_unique_window buckets[TABA_WINDOWS];
    int64_t first;
    int status = taba_unique_group_buckets(state, time, level, &first, buckets, work);
    for (int i = 0; i < TABA_WINDOWS && status == TABA_OK; i++) {
        status = put_bucket(out, i, first + (int64_t)i * widths[level], buckets[i].count);
        if (status == TABA_OK)
            status = taba_put_fixed(out, buckets[i].unique, 0);
        if (status == TABA_OK)
            status = taba_put_text(out, "]");
    }
    return status;
}

static int render_buckets(int type, taba_blob state, double time, taba_buffer *out, taba_buffer *work) {
    int status = TABA_OK;
    for (int level = 0; level < TABA_WINDOWS && status == TABA_OK; level++) {
        status = taba_put_text(out, level == 0 ? "[[" : ", [");
        if (status == TABA_OK)
            status = type == TABA_COUNTER_GROUP ? put_counter_buckets(state, time, level, out)
                                                : put_unique_buckets(state, time, level, out, work);
        if (status == TABA_OK)
            status = taba_put_text(out, "]");
    }
    return status == TABA_OK ? taba_put_text(out, "]") : status;
}

/* ---------------------------------------------------------------------------------------------- any Type */

static int render(int type, int detailed, taba_blob state, double time, taba_buffer *out, taba_buffer *work) {
    if (detailed && (type == TABA_COUNTER_GROUP || type == TABA_UNIQUE_GROUP))
        return render_buckets(type, state, time, out, work);
    switch (type) {
    case TABA_COUNTER_GROUP: return render_counter_group(state, time, out, work);
    case TABA_PERCENTILE_GROUP: return render_percentile_group(state, time, out, work);
    case TABA_GAUGE: return taba_render_gauge(state, time, out, work);
    case TABA_UNIQUE_GROUP: return render_unique_group(state, time, out, work);
    default: return TABA_ETYPE;
    }
}

/* Whether a State is passed over, without a text, for what became of it. */
static bool is_passed_over(int status) {
    return status == TABA_ECORRUPT || status == TABA_EVERSION || status == TABA_ETYPE || status == TABA_ELIMIT;
}

int taba_render(int type, int detailed, const taba_blob *states, size_t n, double time, taba_buffer *out,
                taba_buffer *ends) {
    const size_t before = taba_buffer_length(out), before_ends = taba_buffer_length(ends);
    taba_buffer *work = taba_buffer_new(taba_buffer_allocator(out));
    int status = work != NULL ? TABA_OK : TABA_ENOMEM;
    for (size_t i = 0; i < n && status == TABA_OK; i++) {
        const size_t start = taba_buffer_length(out);
        status = render(type, detailed, states[i], time, out, work);
        if (status != TABA_OK) /* it is told apart: what is rendered has a length */
            taba_buffer_truncate(out, start);
        if (is_passed_over(status))
            status = TABA_OK;
        const size_t end = taba_buffer_length(out) - before;
        if (status == TABA_OK)
            status = taba_buffer_append(ends, &end, sizeof end);
    }
    if (status != TABA_OK) {
        taba_buffer_truncate(out, before);
        taba_buffer_truncate(ends, before_ends);
    }
    taba_buffer_free(work);
    return status;
}
