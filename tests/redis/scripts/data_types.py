"""Scripts about strings, hashes, sets, lists, and what keys of all types share; the language is in conformance.py."""

from __future__ import annotations

from collections.abc import Mapping

DATA_TYPES: Mapping[str, str] = {
    "strings": r"""
        SET a 1
        GET a
        GET missing
        SET a 2 NX
        SET b 2 XX
        SET b \x00\xff\r\n NX
        GET b
        SET a 3 GET
        SET fresh 1 GET
        SET fresh 2 NX GET
        SET a 3 PX 100000 EX 5
        SET a 3 PX 0
        SET a 3 PX -5
        SET a 3 EX nonsense
        SET a 3 PX
        SET a 3 NX XX
        SET a 3 KEEPTTL PX 5
        SET a 3 WHAT
        SET a
        GET
        MGET a b missing
        MSET m 1 n 2
        MSET m 1 n
        MSET m
        MGET
        SETNX m 3
        SETNX o 3
        SETEX p 100 v
        SETEX p 0 v
        PSETEX p 100000 v
        GETDEL p
        GETDEL p
        APPEND m 23
        STRLEN m
        STRLEN missing
        INCR a
        INCRBY a 41
        DECR a
        DECRBY a 2
        INCRBY a x
        INCRBY a 9223372036854775807
        INCR b
        SET big 9223372036854775807
        INCR big
        DECRBY big -9223372036854775808
        SET spaced " 1"
        INCR spaced
        SET plus +1
        INCR plus
        SET zero 00
        INCR zero
        INCR neverset
        HSET h f v
        INCR h
        ~ LASTSAVE
        MEMORY USAGE missing
        ~ MEMORY USAGE a
    """,
    "types": r"""
        SET s 1
        HSET h f v
        XADD x 1-1 f v
        SADD m a
        TYPE s
        TYPE h
        TYPE x
        TYPE m
        TYPE missing
        GET h
        INCR h
        APPEND h x
        STRLEN h
        SET h 1 GET
        GETDEL h
        HGET s f
        HSET x f v
        HSET s f v
        HGETALL m
        HDEL s f
        HLEN x
        HINCRBY s f 1
        HSCAN s 0
        XADD s * f v
        XADD h 0-* f v
        XLEN h
        XRANGE h - +
        XREAD STREAMS h 0
        XTRIM s MAXLEN 0
        XDEL s 1-1
        XINFO STREAM s
        XSETID s 5-5
        SADD s a
        SREM h a
        SMEMBERS x
        MGET s h
        EXISTS s h x m missing s
        DEL s h x m missing s
        DEL
        EXISTS
        UNLINK s
        DBSIZE
    """,
    "expiry": r"""
        SET a 1 PX 100000
        ~ PTTL a
        TTL a
        TTL missing
        PTTL missing
        SET a 1
        PTTL a
        PEXPIRE a 100000
        PEXPIRE missing 5
        PEXPIRE a 100000 NX
        PEXPIRE a 200000 GT
        PEXPIRE a 100000 GT
        PEXPIRE a 100000 LT
        PEXPIRE a 100000 XX
        PEXPIRE a 1 NX XX
        PEXPIRE a 1 GT LT
        PEXPIRE a 1 FOO
        PEXPIRE a x
        PEXPIRE a 9223372036854775807
        PERSIST a
        PERSIST a
        PERSIST missing
        SET a 2 PX 100000
        SET a 3 KEEPTTL
        ~ PTTL a
        APPEND a 3
        TTL a
        SET a 3
        PTTL a
        SET a 1 PX 20
        ! sleep 0.05
        GET a
        EXISTS a
        PTTL a
        SET a 1 PX 20 NX
        ! sleep 0.05
        SET a 1 NX
        PEXPIRE a 0
        GET a
        SET a 1
        PEXPIRE a -1
        EXISTS a
        HSET h f v
        EXPIRE h 100
        HSET h g w
        TTL h
        HDEL h f g
        TTL h
        SET a 1 EXAT 99999999999
        TTL missing
        EXPIREAT a 1
        GET a
        SET a 1 PXAT 1
        GET a
    """,
    "hashes": r"""
        HSET h a 1 b 2
        HSET h a 1 b
        HSET h
        HSET h b 3 c 4
        HGET h b
        HGET h missing
        HGET missing f
        HMGET h a missing c
        HMGET missing a b
        HGETALL h
        HGETALL missing
        HKEYS h
        HVALS h
        HLEN h
        HLEN missing
        HEXISTS h a
        HEXISTS h z
        HEXISTS missing z
        HSTRLEN h a
        HSTRLEN h z
        HINCRBY h a 5
        HINCRBY h n -3
        HINCRBY h a x
        HSET h text abc
        HINCRBY h text 1
        HSET h big 9223372036854775807
        HINCRBY h big 1
        HSETNX h a 9
        HSETNX h fresh 9
        HMSET h q 1 r 2
        HMSET h q
        HSCAN h 0
        HSCAN h 0 MATCH a*
        HSCAN h 0 COUNT 1
        HSCAN h x
        HSCAN missing 0
        HSCAN h 0 COUNT 0
        HSCAN h 0 COUNT x
        HSCAN h 0 NOPE 1
        HDEL h a b missing
        HDEL missing a
        HSET h \x00 \xff\x00 "" empty
        HGETALL h
        HDEL h n c text big fresh q r \x00 ""
        EXISTS h
    """,
    "sets": r"""
        SADD s a b c a
        SADD s a
        % SMEMBERS s
        SMEMBERS missing
        SISMEMBER s a
        SISMEMBER s z
        SCARD s
        ~ SSCAN s 0
        SSCAN missing 0
        SSCAN s x
        SREM s a z
        SREM missing a
        SREM s b c
        EXISTS s
        SADD s
    """,
    "lists": r"""
        RPUSH l a b c
        LPUSH l z y
        LRANGE l 0 -1
        LRANGE l 1 2
        LRANGE l -2 -1
        LRANGE l 3 1
        LRANGE l 2 99
        LRANGE l -99 0
        LRANGE missing 0 -1
        LRANGE l x 1
        LLEN l
        LLEN missing
        LINDEX l 0
        LINDEX l -1
        LINDEX l 9
        LINDEX l -9
        LINDEX missing 0
        LTRIM l 1 -2
        LRANGE l 0 -1
        LTRIM l -2 -1
        LTRIM l 0 9
        LTRIM l 5 9
        EXISTS l
        LTRIM missing 0 1
        TYPE l
        RPUSH l x
        GET l
        HSET l f v
        SET s 1
        RPUSH s a
        LLEN s
        RPUSH
        RPUSH l
    """,
}
