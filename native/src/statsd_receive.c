/* statsd_receive.c - datagrams from a socket, many with each call of the system where it has recvmmsg. */
#if defined(__linux__)
#define _GNU_SOURCE /* recvmmsg */
#endif

#include "statsd.h"

#if defined(_WIN32)

int taba_statsd_receive(taba_statsd *p, const taba_statsd_clock *clock, int socket, uint64_t most, int discard,
                        taba_statsd_received *out) {
    (void)p, (void)clock, (void)socket, (void)most, (void)discard;
    memset(out, 0, sizeof *out);
    return TABA_EDOMAIN;
}

#else

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define STRIDE (TABA_STATSD_ROOM + TABA_STATSD_SPARE)

static int take(taba_statsd *p, const taba_statsd_clock *clock, uint8_t *datagram, size_t length, bool cut, bool discard,
                taba_statsd_received *out) {
    out->datagrams++;
    out->bytes += length;
    if (discard)
        out->lines += taba_statsd_count_lines(datagram, datagram + length);
    if (discard || length == 0)
        return TABA_OK;
    if (cut) {
        p->counts.lines++;
        taba_statsd_refuse(p, TABA_STATSD_SIZE, datagram, length);
        return TABA_OK;
    }
    if (datagram[length - 1] != '\n')
        datagram[length++] = '\n'; /* there is room for it; so the quick way takes the last line, too */
    return taba_statsd_datagram(p, clock, datagram, length);
}

#if defined(__linux__)

/* There was no memory for a datagram received with this one. */
static void give_up(taba_statsd *p, const uint8_t *datagram, size_t length, taba_statsd_received *out) {
    out->datagrams++;
    out->bytes += length;
    taba_statsd_give_up(p, datagram, datagram + length);
}

/* Receive some datagrams, and take them; *more tells whether others may wait. */
static int receive(taba_statsd *p, const taba_statsd_clock *clock, int socket, bool discard, bool *more,
                   taba_statsd_received *out) {
    struct mmsghdr messages[TABA_STATSD_DATAGRAMS];
    struct iovec rooms[TABA_STATSD_DATAGRAMS];
    int status = TABA_OK;
    memset(messages, 0, sizeof messages);
    for (size_t i = 0; i < TABA_STATSD_DATAGRAMS; i++) {
        rooms[i].iov_base = p->datagrams + i * STRIDE;
        rooms[i].iov_len = TABA_STATSD_ROOM;
        messages[i].msg_hdr.msg_iov = &rooms[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int n = recvmmsg(socket, messages, TABA_STATSD_DATAGRAMS, MSG_DONTWAIT, NULL);
    if (n < 0)
        out->error = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : errno;
    *more = n == TABA_STATSD_DATAGRAMS;
    for (int i = 0; i < n; i++) {
        uint8_t *datagram = p->datagrams + (size_t)i * STRIDE;
        const bool cut = (messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
        if (status == TABA_OK)
            status = take(p, clock, datagram, messages[i].msg_len, cut, discard, out);
        else
            give_up(p, datagram, messages[i].msg_len, out);
    }
    return status;
}

#else

static int receive(taba_statsd *p, const taba_statsd_clock *clock, int socket, bool discard, bool *more,
                   taba_statsd_received *out) {
    struct iovec room = {p->datagrams, TABA_STATSD_ROOM};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &room;
    message.msg_iovlen = 1;
    const ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT);
    *more = n >= 0;
    if (n < 0) {
        out->error = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : errno;
        return TABA_OK;
    }
    return take(p, clock, p->datagrams, (size_t)n, (message.msg_flags & MSG_TRUNC) != 0, discard, out);
}

#endif

int taba_statsd_receive(taba_statsd *p, const taba_statsd_clock *clock, int socket, uint64_t most, int discard,
                        taba_statsd_received *out) {
    bool more = true;
    int status = TABA_OK;
    memset(out, 0, sizeof *out);
    if (p->datagrams == NULL) {
        p->datagrams = taba_resize(taba_statsd_allocator(p), NULL, 0, TABA_STATSD_DATAGRAMS * STRIDE);
        if (p->datagrams == NULL)
            return TABA_ENOMEM;
    }
    while (more && out->datagrams < most && status == TABA_OK)
        status = receive(p, clock, socket, discard != 0, &more, out);
    return status;
}

#endif
