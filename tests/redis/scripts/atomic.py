"""Scripts about transactions and functions; the language is in conformance.py."""

from __future__ import annotations

from collections.abc import Mapping

ATOMIC: Mapping[str, str] = {
    "transactions": r"""
        MULTI
        SET a 1
        GET a
        INCR a
        EXEC
        MULTI
        EXEC
        EXEC
        DISCARD
        MULTI
        MULTI
        WATCH a
        SET b 1
        DISCARD
        GET b
        MULTI
        SET a 1
        HGET a f
        SET b 2
        EXEC
        GET b
        MULTI
        NOSUCH
        SET b 3
        EXEC
        MULTI
        GET
        EXEC
        GET b
        WATCH a
        b> SET a 5
        MULTI
        SET a 6
        EXEC
        GET a
        WATCH a
        SET a 6
        UNWATCH
        MULTI
        GET a
        EXEC
        WATCH a missing
        b> SET missing 1
        b> DEL missing
        MULTI
        GET a
        EXEC
        WATCH a
        b> SET a 6
        DISCARD
        MULTI
        DISCARD
        MULTI
        GET a
        EXEC
        SET e 1 PX 20
        WATCH e
        ! sleep 0.05
        MULTI
        PING
        EXEC
        SET e 1 PX 20
        ! sleep 0.05
        WATCH e
        MULTI
        PING
        EXEC
        WATCH h
        b> HSET h f v
        MULTI
        PING
        EXEC
        WATCH h
        b> HDEL h missing
        MULTI
        PING
        EXEC
        WATCH h
        b> FLUSHALL
        MULTI
        PING
        EXEC
        WATCH s
        b> XADD s 1-1 f v
        MULTI
        EXEC
        WATCH s
        b> XTRIM s MAXLEN 5
        MULTI
        EXEC
        WATCH k
        b> SELECT 1
        b> SET k 1
        MULTI
        EXEC
        WATCH
        MULTI now
        UNWATCH
    """,
    "functions": r"""
        FCALL put 2 h s f v
        FUNCTION LOAD "$LUA"
        FUNCTION LOAD "$LUA"
        FUNCTION LOAD REPLACE "$LUA"
        FUNCTION LOAD NOPE "$LUA"
        FUNCTION LOAD "no shebang"
        FUNCTION LOAD "#!lua"
        FUNCTION LOAD "#!lua name=a name=b\nx"
        FUNCTION LOAD "#!lua nom=a\nx"
        FUNCTION LOAD "#!perl name=a\nx"
        FUNCTION LOAD "#!lua name=a-b\nx"
        FUNCTION LOAD
        FCALL put 2 h s f v
        HGETALL h
        XRANGE s - +
        FCALL put 2 h s f w
        FCALL kinds 0
        FCALL get 1 k
        FCALL status 1 k value
        FCALL get 1 k
        FCALL_RO get 1 k
        FCALL_RO status 1 k v
        FCALL nothing 0
        FCALL refuse 1 k
        GET k
        FCALL caught 1 k
        FCALL caught 1 n
        FCALL lookup 1 h f missing
        FCALL block 1 s
        FCALL block 1 nostream
        FCALL nosuch 0
        FCALL put x
        FCALL put -1
        FCALL put 5 h
        FCALL put
        MULTI
        FCALL status 1 k again
        FCALL get 1 k
        EXEC
        WATCH k
        FCALL status 1 k watched
        MULTI
        EXEC
        FUNCTION DELETE nosuch
        FUNCTION DELETE probe
        FCALL get 1 k
        FUNCTION LIST
        FUNCTION FLUSH NOW
        FUNCTION LOAD "$LUA"
        FUNCTION FLUSH SYNC
        FUNCTION LIST LIBRARYNAME p*
        FUNCTION LIST NOPE
        FUNCTION LOAD "$ONE"
        FUNCTION LIST
        FUNCTION LIST WITHCODE
        FUNCTION LIST LIBRARYNAME sing* WITHCODE
        FUNCTION LIST LIBRARYNAME other
        FUNCTION LIST LIBRARYNAME
        FCALL one 0
        FCALL_RO one 0
        FUNCTION FLUSH
        FUNCTION
        FUNCTION NOPE
        PING
    """,
}
