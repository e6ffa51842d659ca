"""Scripts about streams; the language is in conformance.py."""

from __future__ import annotations

from collections.abc import Mapping

STREAMS: Mapping[str, str] = {
    "stream-writes": r"""
        XADD s 0-* b one
        XADD s 0-* b two
        XADD s 5-1 f v g w
        XADD s 5-* f v
        XADD s 5-1 f v
        XADD s 4-* f v
        XADD s 0-0 f v
        XADD s 0 f v
        XADD s x f v
        XADD s 5-x f v
        XADD s -1 f v
        XADD s 1-1-1 f v
        XADD s 5-9 f
        XADD s 5-9 f v g
        XADD s 5-9
        XADD other NOMKSTREAM 1-1 f v
        EXISTS other
        ~ XADD s * f v
        XLEN s
        XLEN missing
        XADD t MAXLEN 2 1-1 f v
        XADD t MAXLEN 2 1-2 f v
        XADD t MAXLEN = 2 1-3 f v
        XRANGE t - +
        XADD t MINID 1-3 1-4 f v
        XRANGE t - +
        XADD t MAXLEN -1 1-5 f v
        XADD t MAXLEN x 1-5 f v
        XADD t MAXLEN ~ 1 1-5 f v
        XADD t MAXLEN 1 LIMIT 5 1-6 f v
        XADD t MAXLEN ~ 1 MINID 2 1-6 f v
        XADD t LIMIT 5 1-6 f v
        XLEN t
        XTRIM t MAXLEN 1
        XTRIM t MINID 9
        XTRIM t MINID 9
        XLEN t
        EXISTS t
        XTRIM missing MAXLEN 0
        XTRIM t
        XTRIM t WHAT 1
        XTRIM t MAXLEN
        XTRIM t MAXLEN -1
        XADD t 0-* f v
        XADD t 1-* f v
        XADD t 2-5 f v
        XDEL t 2-5 2-6
        XDEL t 2-5
        XDEL missing 1-1
        XDEL t x
        XADD t 2-5 f v
        XADD t 2-* f v
        XADD u 18446744073709551615-18446744073709551615 f v
        XADD u * f v
        XADD u 18446744073709551615-* f v
        XADD w 0-18446744073709551615 f v
        XADD w 18446744073709551616-1 f v
    """,
    "stream-ids": r"""
        XADD s 0-1 b 1
        XADD s 0-2 b 2
        XADD s 0-3 b 3
        XTRIM s MINID 0-9
        XADD s 0-* b 4
        XSETID s 0-9
        XADD s 0-* b 5
        XSETID s 0-3
        XSETID s 0-20 ENTRIESADDED 9 MAXDELETEDID 0-15
        XSETID s 0-12
        XSETID s 0-20 ENTRIESADDED 0 MAXDELETEDID 0-15
        XSETID s 0-20 ENTRIESADDED 9 MAXDELETEDID 0-25
        XSETID s 0-20 ENTRIESADDED -1 MAXDELETEDID 0-5
        XSETID missing 1-1
        XSETID s x
        XSETID s 1-1 WHAT
        XADD s 0-* b 6
        XDEL s 0-21
        XADD s 0-* b 7
        XLEN s
    """,
    "stream-info": r"""
        XADD s 1-1 f v
        XADD s 1-2 f v
        XDEL s 1-1
        XINFO STREAM s
        XTRIM s MAXLEN 0
        ~ XINFO STREAM s
        XINFO STREAM missing
        XINFO
        XINFO WHAT s
    """,
    "stream-ranges": r"""
        XADD s 1-1 f 1
        XADD s 1-2 f 2
        XADD s 2-1 f 3
        XADD s 3-0 f 4
        XRANGE s - +
        XRANGE s - + COUNT 2
        XRANGE s 1 1
        XRANGE s 1-2 2
        XRANGE s (1-2 2
        XRANGE s 1-2 (2-1
        XRANGE s (1 +
        XRANGE s (- +
        XRANGE s + -
        XRANGE s 3 1
        XRANGE s x +
        XRANGE s - + COUNT 0
        XRANGE s - + COUNT -1
        XRANGE s - + COUNT x
        XRANGE s - + FOO 1
        XRANGE missing - +
        XRANGE missing - + COUNT 0
        XRANGE s (18446744073709551615-18446744073709551615 +
        XRANGE s - (0-0
        XREVRANGE s + -
        XREVRANGE s + - COUNT 1
        XREVRANGE s 2 1-2
        XREVRANGE s (2-1 -
        XREVRANGE missing + - COUNT 1
        XREVRANGE s +
    """,
    "stream-reads": r"""
        XADD s 1-1 f 1
        XADD s 1-2 f 2
        XADD t 5-1 f 3
        XREAD STREAMS s 0
        XREAD COUNT 1 STREAMS s t 0 0
        XREAD STREAMS s t 1-2 0
        XREAD STREAMS s 1-2
        XREAD STREAMS missing 0
        XREAD STREAMS s $
        XREAD STREAMS s >
        XREAD STREAMS s t 0
        XREAD STREAMS s x
        XREAD STREAMS s
        XREAD COUNT x STREAMS s 0
        XREAD COUNT 0 STREAMS s 0
        XREAD COUNT -1 STREAMS s 0
        XREAD BLOCK -1 STREAMS s 0
        XREAD BLOCK x STREAMS s 0
        XREAD WHAT 1 STREAMS s 0
        XREAD COUNT 1
        XREAD BLOCK 20 STREAMS s 1-2
        XREAD BLOCK 20 STREAMS s t $ $
        XREAD BLOCK 1000 STREAMS s 0
        XREAD STREAMS s 1
    """,
    "stream-blocking": r"""
        XADD s 1-1 f 1
        b> & XREAD BLOCK 0 COUNT 5 STREAMS s t $ 0
        ! blocked 1
        XADD s 1-2 f 2
        b> <
        b> & XREAD BLOCK 0 STREAMS s t 1-2 0
        ! blocked 1
        MULTI
        XADD t 1-1 f 1
        XADD s 1-3 f 1
        XADD t 1-2 f 2
        EXEC
        b> <
        b> & XREAD BLOCK 5000 STREAMS q 0
        c> & XREAD BLOCK 5000 STREAMS q 0
        ! blocked 2
        SET q no
        DEL q
        XADD q 1-1 f 1
        b> <
        c> <
        b> & XREAD BLOCK 30 STREAMS q 1-1
        b> <
        b> & XREAD BLOCK 0 STREAMS q 1-1
        ! blocked 1
        XADD q 1-2 f v
        b> <
        MULTI
        XREAD BLOCK 0 STREAMS q 1-2
        EXEC
        b> & XREAD BLOCK 0 STREAMS late $
        b> & PING
        ! blocked 1
        XADD late 9-9 f v
        b> <
        b> <
    """,
}
