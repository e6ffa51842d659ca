/* test_series.c - arrays in ascending order of an index, and the sorting that they need. */
#include "events.h"
#include "series.h"
#include "sort.h"

static int ascending(const void *x, const void *y) {
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

static void sorting_orders_any_array(void) {
    int64_t found[200], due[200];
    for (size_t n = 0; n < 200; n++) {
        for (size_t i = 0; i < n; i++)
            found[i] = due[i] = (int64_t)test_below(n < 100 ? 10 : 100000);
        taba_sort(found, n, sizeof *found, ascending);
        qsort(due, n, sizeof *due, ascending);
        CHECK(memcmp(found, due, n * sizeof *found) == 0);
    }
}

/* A record that remembers what it was given. */
typedef struct record {
    int64_t index;
    int64_t mark;
} record;

static void a_series_covers_times_in_any_order(void) {
    for (int round = 0; round < 100; round++) {
        taba_series s;
        test_memory m;
        size_t hint = 0;
        test_memory_init(&m);
        taba_series_init(&s);
        for (int64_t i = 0; i < 10; i++) /* some that are there, with marks that must stay */
            ((record *)taba_series_place(&s, &m.allocator, sizeof(record), (int64_t)test_below(300), &hint))->mark = 1;
        for (size_t i = 0; i < s.n; i++)
            ((record *)taba_series_at(&s, sizeof(record), i))->mark = taba_series_index(&s, sizeof(record), i) + 1;
        uint32_t marked = s.n;
        double times[200];
        size_t n = test_below(200);
        for (size_t i = 0; i < n; i++)
            times[i] = (double)test_below(30000) / 10;
        CHECK_OK(taba_series_cover(&s, &m.allocator, sizeof(record), times, n, 10));
        for (size_t i = 0; i < s.n; i++) {
            const record *r = taba_series_at(&s, sizeof(record), i);
            CHECK(i == 0 || r->index > taba_series_index(&s, sizeof(record), i - 1));
            CHECK(r->mark == 0 || r->mark == r->index + 1);
            marked -= r->mark != 0;
        }
        CHECK(marked == 0);
        for (size_t i = 0; i < n; i++) {
            int64_t index = bucket_of(times[i], 10);
            size_t position = taba_series_seek(&s, sizeof(record), index, test_below(300));
            CHECK(taba_series_is(&s, sizeof(record), position, index));
        }
        taba_series_release(&s, &m.allocator, sizeof(record));
        CHECK(m.live == 0);
    }
}

int main(void) {
    test_seed(20240616);
    RUN(sorting_orders_any_array);
    RUN(a_series_covers_times_in_any_order);
    return 0;
}
