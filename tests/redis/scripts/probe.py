"""The function library that the scripts load, in Lua and in Python."""

from __future__ import annotations

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


ONE = """#!lua name=single
redis.register_function{
  function_name='one', callback=function(keys, args) return 1 end, flags={'allow-stale', 'no-writes', 'allow-oom'}
}
"""
"""A library of one function, whose list has one order only."""


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

SINGLE = FunctionLibrary(
    "single",
    {"one": lambda call, keys, args: 1},
    read_only=frozenset({"one"}),
    allow_oom=frozenset({"one"}),
    allow_stale=frozenset({"one"}),
)
