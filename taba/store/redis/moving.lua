#!lua name=taba_moving
-- The functions by which a vbucket moves from one shard to another: what has to be decided and done in one step. A library
-- of its own, which whoever moves vbuckets loads into the shards that take part; servers get along without it. The steps
-- are those of move_steps.py and vbucket_copy.py; docs/reference/redis.md has them for people.
--
-- Whatever is written to the shard that a vbucket comes to names the mover's token, and is refused when another mover has
-- begun since, or the vbucket is not being imported any more: commands of a mover that died may arrive late.

local VERSION = 1

local function reads(name, callback)
  redis.register_function{function_name = name, callback = callback, flags = {'no-writes'}}
end

local function whole(number)
  return string.format('%.0f', number)
end

-- The first 32 digits of the replication id; that of master_replid2 is an older one.
local function lineage()
  local info = redis.call('INFO', 'replication')
  return string.sub(string.match(info, '\nmaster_replid:(%x+)'), 1, 32)
end

local function version()
  return VERSION
end

-- keys: O, Q of a vbucket, moves, coming. args: vbucket. Answers with the lineage, and these, each "" where it is missing.
local function look(keys, args)
  local marker, position = redis.call('GET', keys[1]), redis.call('GET', keys[2])
  local row, token = redis.call('HGET', keys[3], args[1]), redis.call('HGET', keys[4], args[1])
  return {lineage(), marker or '', position or '', row or '', token or ''}
end

-- keys: O, moves. args: vbucket, marker, its new value, row, its new value ("" for none). Turns both, where they are what
-- is expected, or have been turned before; answers with 1 then.
local function turn(keys, args)
  local marker, row = redis.call('GET', keys[1]) or '', redis.call('HGET', keys[2], args[1]) or ''
  if marker == args[3] and row == args[5] then
    return 1
  end
  if marker ~= args[2] or row ~= args[4] then
    return 0
  end
  redis.call('SET', keys[1], args[3])
  if args[5] == '' then
    redis.call('HDEL', keys[2], args[1])
  else
    redis.call('HSET', keys[2], args[1], args[5])
  end
  return 1
end

-- keys: O, E, Q, moves of the shard that a vbucket leaves. args: vbucket, marker, row, owner, milliseconds. Takes the lease
-- from whoever has it; answers with the lineage and the position, whose epoch nobody else was granted; "" for refused.
local function take(keys, args)
  if redis.call('GET', keys[1]) ~= args[2] or redis.call('HGET', keys[4], args[1]) ~= args[3] then
    return {lineage(), ''}
  end
  local folded, commits, epoch = string.match(redis.call('GET', keys[3]) or '0:0:0', '^(%d+):(%d+):(%d+)$')
  local position = folded .. ':' .. commits .. ':' .. whole(tonumber(epoch) + 1)
  redis.call('SET', keys[3], position)
  redis.call('SET', keys[2], args[4] .. ':' .. whole(tonumber(epoch) + 1), 'PX', args[5])
  return {lineage(), position}
end

-- keys: E, Q. args: lineage, position, lease, milliseconds. Holds the lease on; 0 when somebody else was granted one, or
-- wrote the position, or the history is another.
local function hold(keys, args)
  if lineage() ~= args[1] or redis.call('GET', keys[2]) ~= args[2] then
    return 0
  end
  redis.call('SET', keys[1], args[3], 'PX', args[4])
  return 1
end

-- keys: O, Q, M, moves. args: vbucket, marker, sealed marker, row, lineage, position. From here on nothing is appended.
-- Answers with the number of entries that the log has, or -1 when anything is not as expected.
local function seal(keys, args)
  local marker = redis.call('GET', keys[1])
  if (marker ~= args[2] and marker ~= args[3]) or redis.call('HGET', keys[4], args[1]) ~= args[4] then
    return -1
  end
  if lineage() ~= args[5] or redis.call('GET', keys[2]) ~= args[6] then
    return -1
  end
  redis.call('SET', keys[1], args[3])
  return redis.call('LLEN', keys[3])
end

-- keys: O, Q. args: marker, lineage, position. 1 while all are so.
local function frozen(keys, args)
  if redis.call('GET', keys[1]) == args[1] and lineage() == args[2] and redis.call('GET', keys[2]) == args[3] then
    return 1
  end
  return 0
end

-- keys: O, coming of the shard that a vbucket comes to. args: vbucket, epoch, token. Answers with the lineage, and 1, or 0
-- where the vbucket is active under that epoch, or anything under a higher one.
local function import_begin(keys, args)
  local letter, epoch = string.match(redis.call('GET', keys[1]) or '', '^(%u):(%d+)$')
  local present, wanted = tonumber(epoch or 0), tonumber(args[2])
  if present > wanted or (letter == 'A' and present == wanted) then
    return {lineage(), 0}
  end
  redis.call('SET', keys[1], 'I:' .. args[2])
  redis.call('HSET', keys[2], args[1], args[3])
  return {lineage(), 1}
end

-- keys: O, coming. args: vbucket, epoch, token. Whether this mover is importing the vbucket.
local function importing(keys, args)
  return redis.call('GET', keys[1]) == 'I:' .. args[2] and redis.call('HGET', keys[2], args[1]) == args[3]
end

-- keys: O, coming, the key to be written. args: vbucket, epoch, token, what is written, and its parts: `hash` fields and
-- values, `list` items, `string` the value, `log` id, t, n, b of each entry, `end` the id of the last entry of a log from
-- which all went, `drop`. Answers with 1, or 0 when this mover is not importing the vbucket.
local function import(keys, args)
  if not importing(keys, args) then
    return 0
  end
  local kind = args[4]
  if kind == 'hash' then
    redis.call('HSET', keys[3], unpack(args, 5))
  elseif kind == 'list' then
    redis.call('RPUSH', keys[3], unpack(args, 5))
  elseif kind == 'string' then
    redis.call('SET', keys[3], args[5])
  elseif kind == 'log' then
    for at = 5, #args, 4 do
      redis.call('XADD', keys[3], args[at], 't', args[at + 1], 'n', args[at + 2], 'b', args[at + 3])
    end
  elseif kind == 'end' then
    redis.call('XADD', keys[3], args[5], 't', '0.000000', 'n', '0', 'b', '')
    redis.call('XTRIM', keys[3], 'MAXLEN', '=', 0)
  else
    redis.call('UNLINK', keys[3])
  end
  return 1
end

-- keys: O, coming, X, XM. args: vbucket, epoch, token, then reason, tab, client, Type, events, Partial of each. They get
-- names of this shard. Answers as import.
local function import_aside(keys, args)
  if not importing(keys, args) then
    return 0
  end
  local present = string.sub(lineage(), -8)
  for at = 4, #args, 6 do
    local id = redis.call('XADD', keys[3], '*', 'r', args[at], 't', args[at + 1], 'c', args[at + 2], 'y', args[at + 3],
      'n', args[at + 4], 'p', args[at + 5], 'v', args[1], 'l', present)
    redis.call('RPUSH', keys[4], #args[at + 5] .. ':' .. id)
  end
  return 1
end

-- keys: O, X, XM. args: marker, then the size and the id in the stream of each Partial that is to go. Answers with 1, or 0
-- when the marker is another. A size that an older version wrote does not say whose it is: then the first such goes.
local function forget_aside(keys, args)
  if redis.call('GET', keys[1]) ~= args[1] then
    return 0
  end
  local sizes = redis.call('LRANGE', keys[3], 0, -1)
  for at = 2, #args, 2 do
    if redis.call('XDEL', keys[2], args[at + 1]) == 1 then
      local place
      for each = #sizes, 1, -1 do
        if sizes[each] == args[at] .. ':' .. args[at + 1] then
          place = each
          break
        elseif sizes[each] == args[at] then
          place = each
        end
      end
      if place then
        table.remove(sizes, place)
      end
    end
  end
  redis.call('DEL', keys[3])
  for at = 1, #sizes do
    redis.call('RPUSH', keys[3], sizes[at])
  end
  return 1
end

-- keys: O, coming, moves of the shard that a vbucket comes to. args: vbucket, epoch, token, lineage. From here on it is
-- there. Answers with 1, also when it was activated under this epoch before; 0 when this mover may not.
local function activate(keys, args)
  if redis.call('GET', keys[1]) == 'A:' .. args[2] then
    return 1
  end
  if not importing(keys, args) or lineage() ~= args[4] then
    return 0
  end
  redis.call('SET', keys[1], 'A:' .. args[2])
  redis.call('HDEL', keys[2], args[1])
  redis.call('HDEL', keys[3], args[1])
  return 1
end

-- keys: O, coming, moves of the shard that a vbucket would have come to. args: vbucket, epoch, the shard where it stays. No
-- mover can activate it any more. Answers with 1, or 0 when it is active.
local function unimport(keys, args)
  local marker = redis.call('GET', keys[1]) or ''
  if string.sub(marker, 1, 2) == 'A:' then
    return 0
  end
  redis.call('SET', keys[1], 'S:' .. args[2])
  redis.call('HDEL', keys[2], args[1])
  redis.call('HSET', keys[3], args[1], 'gone:' .. args[3])
  return 1
end

-- keys: O, then what is to go. args: marker. Answers with 1, or 0 when the marker is another.
local function retire(keys, args)
  if redis.call('GET', keys[1]) ~= args[1] then
    return 0
  end
  for at = 2, #keys do
    redis.call('UNLINK', keys[at])
  end
  return 1
end

reads('taba_moving_version', version)
reads('taba_move_look', look)
redis.register_function('taba_move_turn', turn)
redis.register_function('taba_move_take', take)
redis.register_function('taba_move_hold', hold)
redis.register_function('taba_move_seal', seal)
reads('taba_move_frozen', frozen)
redis.register_function('taba_move_begin', import_begin)
redis.register_function('taba_move_import', import)
redis.register_function('taba_move_import_aside', import_aside)
redis.register_function('taba_move_forget_aside', forget_aside)
redis.register_function('taba_move_activate', activate)
redis.register_function('taba_move_unimport', unimport)
redis.register_function('taba_move_retire', retire)
