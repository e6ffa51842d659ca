/* event_lines.h - the ways to read many plain event lines at once, of which the machine at hand takes one.
 *
 * All are taba_event_read_many (event_v1.h), with a prefix of at most 32 bytes. What they read is the same, down to the
 * last bit; where they stop is not.
 */
#ifndef TABA_EVENT_LINES_H
#define TABA_EVENT_LINES_H

#include <float.h>

#include "event_v1.h"

/* So much must lie behind the beginning of a line: digits are loaded by the vector. */
#define TABA_EVENT_READABLE (TABA_EVENT_PLAIN_MAX + 16)

#if defined(__GNUC__) && defined(__x86_64__) && defined(__SSE2__) && FLT_EVAL_METHOD == 0
#define TABA_EVENT_SSE2
#define TABA_EVENT_AVX2

size_t taba_event_read_many_sse2(const taba_event_prefix *prefix, const uint8_t **from, const uint8_t *end, double newest,
                                 double *times, double *values, size_t room);

/* Whether this machine has what taba_event_read_many_avx2 needs. */
bool taba_event_has_avx2(void);

size_t taba_event_read_many_avx2(taba_shapes *shapes, const taba_event_prefix *prefix, const uint8_t **from,
                                 const uint8_t *end, double newest, double *times, double *values, size_t room);
#endif

#endif
