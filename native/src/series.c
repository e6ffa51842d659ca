/* series.c - see series.h. */
#include "series.h"

#include "sort.h"
#include "window.h"

void taba_series_init(taba_series *s) { memset(s, 0, sizeof *s); }

void taba_series_release(taba_series *s, const taba_allocator *a, size_t size) {
    taba_release(a, s->records, s->room * size);
    taba_series_init(s);
}

size_t taba_series_memory(const taba_series *s, size_t size) { return s->room * size; }

size_t taba_series_seek(const taba_series *s, size_t size, int64_t index, size_t hint) {
    size_t low = 0, high = s->n;
    if (hint < high && taba_series_index(s, size, hint) == index)
        return hint;
    if (high == 0 || taba_series_index(s, size, high - 1) < index)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (taba_series_index(s, size, middle) < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool taba_series_is(const taba_series *s, size_t size, size_t position, int64_t index) {
    return position < s->n && taba_series_index(s, size, position) == index;
}

int taba_series_reserve(taba_series *s, const taba_allocator *a, size_t size, size_t more) {
    size_t room = s->room;
    if (more > UINT32_MAX / 2 - s->n)
        return TABA_ENOMEM; /* so that no room grown to overflows its 32 bits */
    int status = taba_array_reserve(a, &s->records, &room, s->n + more, size, 1);
    s->room = (uint32_t)room;
    return status;
}

/* Insert a zero record at `position`; the room is there. */
static void *insert(taba_series *s, size_t size, size_t position, int64_t index) {
    uint8_t *record = taba_series_at(s, size, position);
    memmove(record + size, record, (s->n - position) * size);
    memset(record, 0, size);
    memcpy(record, &index, sizeof index);
    s->n++;
    return record;
}

void *taba_series_place(taba_series *s, const taba_allocator *a, size_t size, int64_t index, size_t *position) {
    *position = taba_series_seek(s, size, index, *position);
    if (taba_series_is(s, size, *position, index))
        return taba_series_at(s, size, *position);
    if (taba_series_reserve(s, a, size, 1) != TABA_OK)
        return NULL;
    return insert(s, size, *position, index);
}

void taba_series_drop(taba_series *s, size_t size, size_t n) {
    if (n == 0)
        return;
    memmove(s->records, taba_series_at(s, size, n), (s->n - n) * size);
    s->n -= (uint32_t)n;
}

/* ---------------------------------------------------------------------------------------------- covering */

/* Indices that are not at the end, collected to be inserted at once: one by one would be O(n**2) for times that someone
 * has shuffled over many buckets. */
typedef struct strays {
    void *indices; /* int64_t each */
    size_t n, room;
} strays;

static int stray_note(strays *x, const taba_allocator *a, int64_t index) {
    int status = taba_array_reserve(a, &x->indices, &x->room, x->n + 1, sizeof index, 16);
    if (status == TABA_OK)
        ((int64_t *)x->indices)[x->n++] = index;
    return status;
}

static int ascending(const void *x, const void *y) {
    int64_t left = *(const int64_t *)x, right = *(const int64_t *)y;
    return (left > right) - (left < right);
}

/* Sort and drop duplicates. */
static void strays_order(strays *x) {
    int64_t *indices = x->indices;
    size_t kept = 0;
    taba_sort(indices, x->n, sizeof *indices, ascending);
    for (size_t i = 0; i < x->n; i++)
        if (kept == 0 || indices[i] != indices[kept - 1])
            indices[kept++] = indices[i];
    x->n = kept;
}

/* Insert them all, from the last on, so that each record moves once. */
static int strays_insert(taba_series *s, const taba_allocator *a, size_t size, strays *x) {
    if (x->n == 0)
        return TABA_OK;
    strays_order(x);
    int status = taba_series_reserve(s, a, size, x->n);
    if (status != TABA_OK)
        return status;
    const int64_t *indices = x->indices;
    size_t end = s->n, total = end + x->n;
    for (size_t left = x->n; left > 0; left--) {
        size_t position = taba_series_seek(s, size, indices[left - 1], SIZE_MAX);
        uint8_t *from = taba_series_at(s, size, position);
        memmove(from + left * size, from, (end - position) * size);
        memset(from + (left - 1) * size, 0, size);
        memcpy(from + (left - 1) * size, &indices[left - 1], sizeof *indices);
        end = position;
        s->n = (uint32_t)end; /* the records before it are still in order, and what is behind is done */
    }
    s->n = (uint32_t)total;
    return TABA_OK;
}

int taba_series_cover(taba_series *s, const taba_allocator *a, size_t size, const double *times, size_t n,
                      int64_t width) {
    strays x = {NULL, 0, 0};
    int status = TABA_OK;
    size_t hint = 0;
    for (size_t i = 0; i < n && status == TABA_OK;) {
        int64_t index;
        i += taba_run(times + i, n - i, width, &index);
        hint = taba_series_seek(s, size, index, hint);
        if (taba_series_is(s, size, hint, index))
            continue;
        if (hint < s->n)
            status = stray_note(&x, a, index);
        else if (taba_series_place(s, a, size, index, &hint) == NULL)
            status = TABA_ENOMEM;
    }
    if (status == TABA_OK)
        status = strays_insert(s, a, size, &x);
    taba_release(a, x.indices, x.room * sizeof(int64_t));
    return status;
}
