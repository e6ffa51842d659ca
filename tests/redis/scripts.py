"""The scripts of the conformance suite, by name, and the function library that they load; see conformance.py."""

from __future__ import annotations

from collections.abc import Mapping

from taba.testing.redis import CallError, FunctionCall, FunctionLibrary, Reply, ReplyError, Status

LUA = """#!lua name=probe
local function put(keys, args)
  redis.call('HSET', keys[1], args[1], args[2])
  return redis.call('XADD', keys[2], '0-*', 'b', args[2])
end
local function kinds(keys, args)
  return {1, 'text', false, {2, 'inner'}, redis.status_reply('FINE'), 3.9, true}
end
local function get(keys, args) return redis.call('GET', keys[1]) end
local function status(keys, args) return redis.call('SET', keys[1], args[1]) end
local function nothing(keys, args) return nil end
local function refuse(keys, args)
  redis.call('SET', keys[1], 'written before')
  return redis.error_reply('GAP 12')
end
local function caught(keys, args)
  local answer = redis.pcall('INCR', keys[1])
  if type(answer) == 'table' and answer.err then return redis.status_reply('CAUGHT') end
  return answer
end
local function lookup(keys, args) return redis.call('HMGET', keys[1], unpack(args)) end
local function block(keys, args) return redis.call('XREAD', 'STREAMS', keys[1], '0') end
redis.register_function('put', put)
redis.register_function('kinds', kinds)
redis.register_function{function_name='get', callback=get, flags={'no-writes'}}
redis.register_function('status', status)
redis.register_function('nothing', nothing)
redis.register_function('refuse', refuse)
redis.register_function('caught', caught)
redis.register_function{function_name='lookup', callback=lookup, flags={'no-writes'}}
redis.register_function('block', block)
"""


def _put(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    call("HSET", keys[0], args[0], args[1])
    return call("XADD", keys[1], "0-*", "b", args[1])


def _kinds(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    return [1, b"text", None, [2, b"inner"], Status("FINE"), 3, 1]


def _get(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    return call("GET", keys[0])


def _status(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    return call("SET", keys[0], args[0])


def _nothing(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    return None


def _refuse(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    call("SET", keys[0], "written before")
    raise ReplyError("GAP 12")


def _caught(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    try:
        return call("INCR", keys[0])
    except CallError:
        return Status("CAUGHT")


def _lookup(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    return call("HMGET", keys[0], *args)


def _block(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    return call("XREAD", "STREAMS", keys[0], "0")


LIBRARY = FunctionLibrary(
    "probe",
    {
        "put": _put,
        "kinds": _kinds,
        "get": _get,
        "status": _status,
        "nothing": _nothing,
        "refuse": _refuse,
        "caught": _caught,
        "lookup": _lookup,
        "block": _block,
    },
    read_only=frozenset({"get", "lookup"}),
)

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

SCRIPTS: Mapping[str, str] = {
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
        FUNCTION
        FUNCTION NOPE
        PING
    """,
    "connection": r"""
        PING
        PING hello
        PING a b
        ECHO hello
        ECHO
        SELECT 1
        SET only here
        SELECT 0
        GET only
        SELECT 16
        SELECT -1
        SELECT x
        CLIENT SETNAME me
        CLIENT GETNAME
        CLIENT SETNAME "with space"
        ~ CLIENT ID
        CLIENT NO-EVICT on
        CLIENT NO-EVICT maybe
        CLIENT NOSUCH
        CLIENT
        CLIENT KILL TYPE pubsub
        CLIENT KILL TYPE nosuch
        CLIENT KILL 1.2.3.4:5
        CLIENT KILL ID x
        CLIENT KILL TYPE normal SKIPME maybe
        NOSUCH
        NOSUCH a "b c" \xff
        nosuch
        get only
        ~ TIME
        ~ HELLO
        ~ HELLO 2
        HELLO x
        HELLO 4
        AUTH secret
        AUTH a b c
        AUTH nobody secret
        ACL WHOAMI
        ACL NOPE
        RESET
        b> PING
        CLIENT KILL TYPE normal
        b> PING
        QUIT
        a> PING
    """,
    "pubsub": r"""
        b> SUBSCRIBE one
        b> & SUBSCRIBE two one
        b> <
        b> <
        PUBLISH one hello
        b> <
        PUBLISH nobody hello
        b> GET a
        b> PING
        b> PING text
        b> PSUBSCRIBE o*
        PUBLISH one both
        b> <
        b> <
        PUBSUB NUMSUB one nobody
        PUBSUB CHANNELS on*
        b> UNSUBSCRIBE two
        b> UNSUBSCRIBE
        b> PUNSUBSCRIBE
        b> PUNSUBSCRIBE
        b> GET a
        PUBLISH one nobody
        SUBSCRIBE
    """,
    "server": r"""
        CONFIG GET appendonly
        CONFIG GET appendfsync
        CONFIG SET appendfsync always
        CONFIG GET appendfsync
        CONFIG SET appendfsync sometimes
        CONFIG SET appendfsync everysec
        CONFIG GET maxmemory
        CONFIG SET maxmemory 100mb
        CONFIG GET maxmemory
        CONFIG SET maxmemory many
        CONFIG SET maxmemory 0
        CONFIG GET maxmemory-policy
        CONFIG GET save
        CONFIG GET min-replicas-to-write
        CONFIG GET min-slaves-to-write
        CONFIG GET min-replicas-max-lag
        CONFIG GET repl-backlog-size
        CONFIG GET repl-timeout
        CONFIG GET repl-ping-replica-period
        CONFIG SET repl-ping-replica-period 1
        CONFIG GET stop-writes-on-bgsave-error
        CONFIG GET replica-priority
        CONFIG GET nosuch
        CONFIG SET nosuch 1
        CONFIG SET maxmemory
        CONFIG SET repl-timeout x
        CONFIG SET appendonly maybe
        CONFIG SET databases 5
        CONFIG REWRITE
        CONFIG NOPE
        CONFIG GET
        CONFIG RESETSTAT
        DBSIZE
        SET a 1
        DBSIZE
        FLUSHALL ASYNC
        FLUSHALL NOPE
        FLUSHDB
        DBSIZE
        KEYS *
        SET one 1
        SET two 1
        SET [x] 1
        % KEYS *
        KEYS o?e
        KEYS [no]*
        KEYS [^n]?o
        KEYS \\\\[*
        KEYS t[a-z]o
        KEYS *w*
        SCAN 0 MATCH nothing
        SCAN x
        SCAN 0 COUNT 0
        SCAN 0 WHAT
        RENAME one three
        RENAME one three
        GET three
    """,
    "replication": r"""
        ROLE
        WAIT 0 100
        WAIT 1 20
        WAIT x 1
        WAIT 1 x
        WAIT 1 -1
        WAIT 1
        MULTI
        WAIT 1 0
        EXEC
        REPLICAOF NO ONE
        REPLICAOF a b
        REPLICAOF 127.0.0.1
        SHUTDOWN NOPE
        CONFIG SET min-replicas-to-write 1
        SET a 1
        GET a
        MULTI
        SET a 1
        EXEC
        CONFIG SET min-replicas-max-lag 0
        SET a 1
        CONFIG SET min-replicas-to-write 0 min-replicas-max-lag 10
    """,
    "replica": r"""
        SET a 1
        FUNCTION LOAD "$LUA"
        b> & XREAD BLOCK 0 STREAMS s $
        c> & WAIT 1 0
        ! blocked 2
        REPLICAOF 127.0.0.1 1
        b> <
        c> <
        b> <
        ! sleep 0.1
        GET a
        SET a 2
        DEL a
        MULTI
        SET a 2
        EXEC
        MULTI
        GET a
        EXEC
        WAIT 0 1
        FUNCTION FLUSH
        FCALL status 1 a x
        FCALL get 1 a
        FCALL_RO get 1 a
        XADD s * f v
        PUBLISH c m
        REPLICAOF 127.0.0.1 1
        CONFIG SET replica-serve-stale-data no
        GET a
        PING
        FCALL status 1 a x
        FCALL get 1 a
        MULTI
        GET a
        EXEC
        ~ ROLE
        CONFIG SET replica-serve-stale-data yes
        REPLICAOF NO ONE
        SET a 3
        FUNCTION FLUSH
        DEL a
    """,
    "memory": r"""
        SET a 1
        FUNCTION LOAD "$LUA"
        CONFIG SET maxmemory 1
        SET a 2
        HSET h f v
        XADD s * f v
        GET a
        DEL a
        XTRIM s MAXLEN 0
        MULTI
        SET a 1
        EXEC
        MULTI
        GET a
        EXEC
        FCALL status 1 a x
        FCALL get 1 a
        PEXPIRE a 100
        CONFIG SET maxmemory 0
        SET a 2
        FUNCTION FLUSH
    """,
    "access": r"""
        ACL SETUSER worker on >secret ~w:* +get +set +client|setname +ping +multi +exec +fcall
        ACL SETUSER sleeper off >secret ~* +@all
        FUNCTION LOAD "$LUA"
        b> AUTH worker wrong
        b> AUTH sleeper secret
        b> AUTH worker secret
        b> ACL WHOAMI
        b> GET w:1
        b> SET w:1 1
        b> GET other
        b> HGET w:1 f
        b> CLIENT SETNAME x
        b> CLIENT ID
        b> CONFIG GET save
        b> NOSUCH
        b> GET
        b> MULTI
        b> GET other
        b> EXEC
        b> FCALL get 1 other
        b> FCALL status 1 w:1 v
        ACL SETUSER worker -get
        b> GET w:1
        ACL SETUSER worker nonsense
        ACL DELUSER worker
        b> PING
        ACL DELUSER sleeper default
        ACL USERS
        CONFIG SET requirepass hunter2
        c> GET a
        c> PING
        c> NOSUCH
        c> AUTH wrong
        c> AUTH default wrong
        c> HELLO 2
        c> MULTI
        c> AUTH hunter2
        c> GET a
        CONFIG SET requirepass ""
        FUNCTION FLUSH
    """,
    "dump": r"""
        SET s text
        ~ DUMP s
        DUMP missing
        RESTORE t 0 garbage
        SET t 1
        RESTORE t 0 garbage
        RESTORE u -1 garbage
        RESTORE u x garbage
        RESTORE u 0 garbage NOPE
        RESTORE u 0
    """,
}
