/* render.h - what the Types give to render.c. */
#ifndef TABA_RENDER_H
#define TABA_RENDER_H

#include "internal.h"

/* Append a Gauge's State, as it is shown at `time`; `work` is work space. Fails as taba_gauge_next does, with TABA_EDOMAIN
 * for a time that is not finite, and as taba_put_shown. */
int taba_render_gauge(taba_blob state, double time, taba_buffer *out, taba_buffer *work);

#endif
