/* render_gauge.c - a Gauge's State as text: how many clients show which value.
 *
 * The entries of a State are in the order of their values, so equal values stand together and each is read once. What
 * several of them are shown as (1, "1") is counted together in the end.
 */
#include <math.h>

#include "gauge.h"
#include "render.h"
#include "sort.h"
#include "text.h"

#define LIFETIME 172800.0 /* seconds after its time for which a value is shown */

/* What is shown of a value: a text within `keys`, and how many clients. */
typedef struct shown {
    size_t at, length;
    uint64_t clients;
} shown;

/* The same while they are sorted, which knows nothing of `keys`. */
typedef struct row {
    taba_blob key;
    uint64_t clients;
} row;

static int row_order(const void *left, const void *right) {
    return taba_blob_order(((const row *)left)->key, ((const row *)right)->key);
}

/* Note one value of `clients` clients, 1 at least. */
static int note(taba_blob value, uint64_t clients, taba_buffer *keys, taba_buffer *all) {
    shown one = {taba_buffer_length(keys), 0, clients};
    const int status = taba_put_shown(keys, value);
    one.length = taba_buffer_length(keys) - one.at;
    return status == TABA_OK ? taba_buffer_append(all, &one, sizeof one) : status;
}

/* Note the values that are shown at `time`. */
static int read_values(taba_blob state, double time, taba_buffer *keys, taba_buffer *all) {
    taba_gauge_entry entry;
    taba_blob value = {NULL, 0};
    size_t offset = 0;
    uint64_t clients = 0;
    int status = TABA_OK, read;
    while ((read = taba_gauge_next(state, &offset, &entry)) == TABA_OK && status == TABA_OK) {
        if (!(entry.time + LIFETIME > time))
            continue;
        if (clients != 0 && taba_blob_order(value, entry.value) != 0) {
            status = note(value, clients, keys, all);
            clients = 0;
        }
        value = entry.value;
        clients++;
    }
    if (status == TABA_OK && read != TABA_ELIMIT)
        return read;
    return status == TABA_OK && clients != 0 ? note(value, clients, keys, all) : status;
}

/* Write sorted rows, equal ones as one. */
static int put_rows(taba_buffer *out, const row *rows, size_t n) {
    int status = taba_put_text(out, "{");
    for (size_t i = 0; i < n && status == TABA_OK;) {
        const taba_blob key = rows[i].key;
        uint64_t clients = 0;
        if (i != 0)
            status = taba_put_text(out, ", ");
        for (; i < n && taba_blob_order(rows[i].key, key) == 0; i++)
            clients += rows[i].clients;
        if (status == TABA_OK)
            status = taba_put_string(out, key.bytes, key.length);
        if (status == TABA_OK)
            status = taba_put_text(out, ": ");
        if (status == TABA_OK)
            status = taba_put_whole(out, clients);
    }
    return status == TABA_OK ? taba_put_text(out, "}") : status;
}

/* Sort what is shown, and write it. */
static int put_all(taba_buffer *out, const taba_buffer *keys, const taba_buffer *all) {
    const taba_allocator *a = taba_buffer_allocator(out);
    const size_t n = taba_buffer_length(all) / sizeof(shown);
    row *rows = taba_resize(a, NULL, 0, (n + 1) * sizeof *rows);
    if (rows == NULL)
        return TABA_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        shown one;
        memcpy(&one, taba_buffer_bytes(all) + i * sizeof one, sizeof one);
        rows[i].key.bytes = one.length != 0 ? taba_buffer_bytes(keys) + one.at : NULL;
        rows[i].key.length = one.length;
        rows[i].clients = one.clients;
    }
    taba_sort(rows, n, sizeof *rows, row_order);
    const int status = put_rows(out, rows, n);
    taba_release(a, rows, (n + 1) * sizeof *rows);
    return status;
}

int taba_render_gauge(taba_blob state, double time, taba_buffer *out, taba_buffer *work) {
    if (!isfinite(time))
        return TABA_EDOMAIN;
    taba_buffer *all = taba_buffer_new(taba_buffer_allocator(out));
    if (all == NULL)
        return TABA_ENOMEM;
    taba_buffer_clear(work);
    int status = read_values(state, time, work, all);
    if (status == TABA_OK)
        status = put_all(out, work, all);
    taba_buffer_free(all);
    return status;
}
