"""Scripts about connections, roles, parameters and refusals; the language is in conformance.py."""

from __future__ import annotations

from collections.abc import Mapping

SERVER: Mapping[str, str] = {
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
        ~ HELLO 2 SETNAME here
        HELLO 2 AUTH nobody secret
        HELLO 2 WHAT
        CLIENT GETNAME
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
