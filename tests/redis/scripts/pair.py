"""A script for two servers; the language is in conformance.py."""

from __future__ import annotations

PAIR = r"""
    SET before 1
    A> FUNCTION LOAD "$LUA"
    FUNCTION LOAD "$LUA"
    A> REPLICAOF $HOST $PORT
    ! up
    A> GET before
    @ INFO replication
    A> @ INFO replication
    ~ ROLE
    A> ~ ROLE
    A> REPLICAOF $HOST $PORT
    SET a 1
    WAIT 1 5000
    A> GET a
    A> SET a 2
    A> WAIT 0 1
    SELECT 3
    SET a other
    SELECT 0
    SET a 2 PX 100000
    WAIT 1 5000
    A> GET a
    A> ~ PTTL a
    A> SELECT 3
    A> GET a
    A> SELECT 0
    FCALL put 2 h s f v
    WAIT 1 5000
    A> HGETALL h
    A> XRANGE s - +
    FCALL refuse 1 k
    WAIT 1 5000
    A> GET k
    A> FCALL get 1 k
    A> FCALL_RO get 1 k
    A> FCALL put 2 h s f v
    MULTI
    INCR n
    INCR n
    XADD s 0-* b 2
    XTRIM s MINID 0-2
    EXEC
    WAIT 1 5000
    A> GET n
    A> XRANGE s - +
    A> & XREAD BLOCK 0 STREAMS s $
    ! sleep 0.05
    XADD s 0-* b 3
    A> <
    S> SUBSCRIBE news
    PUBLISH news hello
    S> <
    SET e 1 PX 50
    WAIT 1 5000
    ! sleep 0.3
    A> GET e
    A> EXISTS e
    A> TYPE e
    FUNCTION DELETE probe
    WAIT 1 5000
    A> FCALL get 1 k
    CONFIG SET min-replicas-to-write 1
    SET a 3
    CONFIG SET min-replicas-to-write 2
    SET a 4
    @ INFO replication
    CONFIG SET min-replicas-to-write 0
    FLUSHALL
    SET a 5
    WAIT 1 5000
    A> DBSIZE
    WAIT 2 20
    b> & WAIT 2 0
    b> & PING
    ! blocked 1
    A> REPLICAOF NO ONE
    A> SET a 6
    A> @ INFO replication
    A> ~ ROLE
    REPLICAOF $HOST2 $PORT2
    b> <
    b> <
    ! sleep 2
    GET a
    A> WAIT 1 5000
    @ INFO replication
    A> @ INFO replication
"""
"""A script for two servers; the second follows the first, then leads."""
