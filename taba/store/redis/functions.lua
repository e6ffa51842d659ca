#!lua name=taba
-- The functions of Taba's Redis store: what has to be decided and done in one step. The keys and the strings in them are
-- those of keys.py and rows.py; taba.store.judge has the rules of lanes and checkpoints, which are the same here.
--
-- The library is this file, aside.lua and members.lua, one after the other, loaded as one text: they use what is defined
-- here. What is registered stands at the end of each.
--
-- Checksums, numbers and counts travel as decimal strings; they stay below 2^53, where Lua's numbers are exact.

local VERSION = 2
-- The oldest version whose servers these functions serve as their own do: nothing that such a server calls is missing,
-- takes its arguments in another way, or writes what it cannot read.
local SERVES = 2
local FORMAT = 1
local DAY = 86400

-- What only reads may be called while the server refuses writes. What may run without memory either frees some, or takes
-- next to none: leases must not end because a server is full, and what a transaction calls must not fail where its other
-- commands, which were looked at before it began, have taken the last of it.
local function reads(name, callback)
  redis.register_function{function_name = name, callback = callback, flags = {'no-writes'}}
end

local function always(name, callback)
  redis.register_function{function_name = name, callback = callback, flags = {'allow-oom'}}
end

local function split(text)
  local parts = {}
  for part in string.gmatch(text, '[^:]+') do
    parts[#parts + 1] = part
  end
  return parts
end

local function whole(number)
  return string.format('%.0f', number)
end

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- The first 32 digits of the replication id; that of master_replid2 is an older one.
local function lineage()
  local info = redis.call('INFO', 'replication')
  return string.sub(string.match(info, '\nmaster_replid:(%x+)'), 1, 32)
end

local function version()
  return VERSION
end

local function serves()
  return SERVES
end

-- One batch, or look where `after` is empty; answers with `verdict last checksum appended reason`.
local function append_one(keys, first, epoch, dedup, time, args, at)
  local marker, log, lanes, ledger, entries = keys[first], keys[first + 1], keys[first + 2], keys[first + 3], keys[first + 4]
  local incarnation, number, after = args[at + 1], args[at + 2], args[at + 3]
  local row = redis.call('HGET', lanes, incarnation)
  local last, sum, events, touched = '0', nil, 0, time
  if row then
    local parts = split(row)
    last, sum, events, touched = parts[1], parts[2], tonumber(parts[3]), tonumber(parts[4])
  end
  local known = last .. ' ' .. (sum or '-')
  if redis.call('GET', marker) ~= 'A:' .. epoch then
    return 'moved ' .. known .. ' 0 '
  end
  local seq, behind = tonumber(number), tonumber(last)
  if after == '' then
    return (seq <= behind and 'ok ' or 'gap ') .. known .. ' 0 '
  end
  local previous, before, count = args[at + 4], tonumber(args[at + 5]), tonumber(args[at + 6])
  local sealed, checksum = tonumber(args[at + 7]), args[at + 8]
  local follows = tonumber(after)
  if follows < 0 or follows >= seq then
    return 'refused ' .. known .. ' 0 bad number'
  end
  if row and seq <= behind then
    if seq == behind and checksum ~= sum then
      return 'conflict ' .. known .. ' 0 '
    end
    -- Written even though little changes: WAIT answers for what this connection wrote, and must cover the first copy.
    touched = string.format('%.6f', math.max(time, touched))
    redis.call('HSET', lanes, incarnation, last .. ':' .. sum .. ':' .. whole(events) .. ':' .. touched)
    return 'ok ' .. known .. ' 0 '
  end
  if follows > behind then
    return 'gap ' .. known .. ' 0 '
  end
  if follows == behind and previous ~= '' and previous ~= sum then
    return 'conflict ' .. known .. ' 0 '
  end
  if time - sealed > dedup - DAY then
    return 'refused ' .. known .. ' 0 too old'
  end
  local body = args[at + 9]
  local stamp = string.format('%.6f', time)
  -- What can fail does so before anything is written: a batch in the log without its dedup row would be taken twice. So
  -- the log is written first, and of the other keys all but the ledger have been read by then.
  local newest = split(redis.call('LINDEX', entries, -1) or '')
  local total, events_before = tonumber(newest[3] or 0), tonumber(newest[5] or 0)
  redis.call('XADD', log, '0-*', 't', stamp, 'n', args[at + 6], 'b', body)
  redis.call('RPUSH', entries, stamp .. ':' .. #body .. ':' .. whole(total + #body)
    .. ':' .. whole(count) .. ':' .. whole(events_before + count))
  touched = string.format('%.6f', math.max(time, touched))
  redis.call('HSET', lanes, incarnation, number .. ':' .. checksum .. ':' .. whole(before + count) .. ':' .. touched)
  if before > events then
    redis.call('HINCRBY', ledger, 'lost', whole(before - events))
  end
  return 'ok ' .. number .. ' ' .. checksum .. ' 1 '
end

-- keys: for each vbucket O, L, D, C, M. args: dedup seconds, number of vbuckets, the epoch of each; then for each batch
-- the place of its vbucket (from 1), incarnation, seq, after ("" for a look), previous ("" for none), before, events,
-- sealed, checksum, body. Answers with the lineage, then a string for each batch.
local function append(keys, args)
  local dedup, vbuckets = tonumber(args[1]), tonumber(args[2])
  local time = now()
  local answers = {lineage()}
  for at = 3 + vbuckets, #args, 10 do
    local place = tonumber(args[at])
    answers[#answers + 1] = append_one(keys, 5 * (place - 1) + 1, args[2 + place], dedup, time, args, at)
  end
  return answers
end

-- keys: D of a vbucket. args: wall time, dedup seconds, incarnations. Answers with how many rows went. Rows were stamped
-- by this server's clock; the earlier of both times counts, so that no one clock that runs ahead makes lanes forgotten.
local function prune(keys, args)
  local time, dedup, gone = math.min(tonumber(args[1]), now()), tonumber(args[2]), 0
  for at = 3, #args do
    local row = redis.call('HGET', keys[1], args[at])
    if row and time - tonumber(split(row)[4]) >= dedup then
      gone = gone + redis.call('HDEL', keys[1], args[at])
    end
  end
  return gone
end

-- keys: for each vbucket O, E, Q. args: owner, milliseconds. Answers with the epoch granted for each, 0 for none.
local function acquire(keys, args)
  local granted = {}
  for at = 1, #keys, 3 do
    local marker, lease = redis.call('GET', keys[at]), redis.call('GET', keys[at + 1])
    local holder = lease and string.match(lease, '^(.*):%d+$')
    local epoch = 0
    if marker and string.sub(marker, 1, 2) ~= 'I:' and (not holder or holder == args[1]) then
      local position = split(redis.call('GET', keys[at + 2]) or '0:0:0')
      epoch = tonumber(position[3]) + 1
      redis.call('SET', keys[at + 2], position[1] .. ':' .. position[2] .. ':' .. whole(epoch))
      redis.call('SET', keys[at + 1], args[1] .. ':' .. whole(epoch), 'PX', args[2])
    elseif lease and redis.call('PTTL', keys[at + 1]) > 10 * tonumber(args[2]) then
      -- Nobody takes a lease for so long: this server's clock was set back. A holder that lives prolongs it in time.
      redis.call('PEXPIRE', keys[at + 1], args[2])
    end
    granted[#granted + 1] = epoch
  end
  return granted
end

-- keys: E of each vbucket. args: milliseconds (0 gives back), the lease of each. Answers with 1 for what was held.
local function renew(keys, args)
  local held = {}
  for at = 1, #keys do
    if redis.call('GET', keys[at]) ~= args[at + 1] then
      held[at] = 0
    else
      held[at] = 1
      if args[1] == '0' then
        redis.call('DEL', keys[at])
      else
        redis.call('PEXPIRE', keys[at], args[1])
      end
    end
  end
  return held
end

-- keys: O, Q, C, T of a vbucket. Answers with marker (or nil), lineage, position, be's ledger row, and tab, Type, ...
local function load(keys, args)
  local marker = redis.call('GET', keys[1])
  local position, row = redis.call('GET', keys[2]), redis.call('HGET', keys[3], 'row')
  return {marker, lineage(), position or '0:0:0', row or '{}', redis.call('HGETALL', keys[4])}
end

-- keys: for each vbucket O, E, Q, M, all of them watched by the caller. args: for each vbucket the lease, the lineage and
-- the position expected, the id it is to be folded up to. Answers with `done`, `fenced` or `stale` for each: what EXEC
-- may write when it comes to it.
local function guard(keys, args)
  local present, answers = lineage(), {}
  for at = 1, #keys, 4 do
    local marker, position = redis.call('GET', keys[at]), redis.call('GET', keys[at + 2]) or '0:0:0'
    local answer = 'done'
    if redis.call('GET', keys[at + 1]) ~= args[at] then
      answer = 'fenced'
    elseif not marker or string.sub(marker, 1, 2) == 'I:' then
      answer = 'fenced'
    elseif present ~= args[at + 1] or position ~= args[at + 2] then
      answer = 'stale'
    elseif tonumber(args[at + 3]) > tonumber(split(position)[1]) + redis.call('LLEN', keys[at + 3]) then
      answer = 'stale'
    end
    answers[#answers + 1] = answer
  end
  return answers
end

-- How many events wait in a log that is not empty: from M, or, where the first entries were appended by an older version
-- that did not note it there, from the entries themselves, a few at a time.
local function waiting_events(log, entries)
  local first, last = split(redis.call('LINDEX', entries, 0)), split(redis.call('LINDEX', entries, -1))
  if first[5] and last[5] then
    return tonumber(last[5]) - tonumber(first[5]) + tonumber(first[4])
  end
  local events, start = 0, '-'
  while true do
    local some = redis.call('XRANGE', log, start, '+', 'COUNT', 8)
    for at = 1, #some do
      local fields = some[at][2]
      for field = 1, #fields, 2 do
        if fields[field] == 'n' then
          events = events + tonumber(fields[field + 1])
        end
      end
      start = '(' .. some[at][1]
    end
    if #some == 0 then
      return events
    end
  end
end

-- keys: O, L, Q, C, M of a vbucket. Drops what waits; answers with how many events that were. What can fail does so before
-- anything is written: the ledger comes first, all the rest has been read by then.
local function flush(keys, args)
  local marker, waiting = redis.call('GET', keys[1]), redis.call('LLEN', keys[5])
  if waiting == 0 or not marker or string.sub(marker, 1, 2) == 'I:' then
    return 0
  end
  local events, position = waiting_events(keys[2], keys[5]), split(redis.call('GET', keys[3]) or '0:0:0')
  local folded = whole(tonumber(position[1]) + waiting)
  redis.call('HINCRBY', keys[4], 'flushed', whole(events))
  redis.call('SET', keys[3], folded .. ':' .. whole(tonumber(position[2]) + 1) .. ':' .. position[3])
  redis.call('XTRIM', keys[2], 'MINID', '0-' .. whole(tonumber(folded) + 1))
  redis.call('DEL', keys[5])
  return events
end

-- keys: M of each vbucket. Answers with place (from 1), number of entries, `TIME:SIZE:SUM` of the first and of the last
-- entry, of each that is not empty.
local function depth(keys, args)
  local found = {}
  for at = 1, #keys do
    local entries = redis.call('LLEN', keys[at])
    if entries > 0 then
      found[#found + 1] = at
      found[#found + 1] = entries
      found[#found + 1] = string.match(redis.call('LINDEX', keys[at], 0), '^[^:]*:[^:]*:[^:]*')
      found[#found + 1] = string.match(redis.call('LINDEX', keys[at], -1), '^[^:]*:[^:]*:[^:]*')
    end
  end
  return found
end

-- keys: H of each tab. args: for each tab how many clients, and these. Answers with a digit for each: 1 has a State.
local function present(keys, args)
  local digits, at = {}, 1
  for tab = 1, #keys do
    for client = at + 1, at + tonumber(args[at]) do
      digits[#digits + 1] = redis.call('HEXISTS', keys[tab], args[client])
    end
    at = at + 1 + tonumber(args[at])
  end
  return table.concat(digits)
end

-- keys: N of a vbucket. args: client, how many States it has more, ... A client without States goes.
local function count_clients(keys, args)
  for at = 1, #args, 2 do
    if redis.call('HINCRBY', keys[1], args[at], args[at + 1]) <= 0 then
      redis.call('HDEL', keys[1], args[at])
    end
  end
  return #args / 2
end

-- keys: T, A of a vbucket, then H of each tab. args: for each tab its name, and 1 where its Type is to go. A tab without
-- Type stays listed, under the Type "", while it has a State or an Aggregate.
local function tidy(keys, args)
  for at = 1, #args, 2 do
    local tab, states = args[at], keys[2 + (at + 1) / 2]
    if args[at + 1] == '1' or redis.call('HGET', keys[1], tab) == '' then
      if redis.call('EXISTS', states) == 1 or redis.call('HEXISTS', keys[2], tab) == 1 then
        redis.call('HSET', keys[1], tab, '')
      else
        redis.call('HDEL', keys[1], tab)
      end
    end
  end
  return #args / 2
end

-- keys: T, A, H of the tab, H of its new name. args: tab, new name. What there is nothing of is passed over; T lists all
-- that there is. Costs the same however many States there are.
local function rename(keys, args)
  local kind = redis.call('HGET', keys[1], args[1])
  if not kind then
    return 0
  end
  if redis.call('HEXISTS', keys[1], args[2]) == 1 or redis.call('EXISTS', keys[4]) == 1 then
    return redis.error_reply('ERR there is a tab of the new name')
  end
  local aggregate = redis.call('HGET', keys[2], args[1])
  redis.call('HSET', keys[1], args[2], kind)
  redis.call('HDEL', keys[1], args[1])
  if aggregate then
    redis.call('HSET', keys[2], args[2], aggregate)
    redis.call('HDEL', keys[2], args[1])
  end
  if redis.call('EXISTS', keys[3]) == 1 then
    redis.call('RENAME', keys[3], keys[4])
  end
  return 1
end

-- keys: meta, then O of each vbucket of the shard. args: cluster, vbuckets, durability, shard, 1 where markers that are
-- missing are to be made although the shard was in use. Answers with the cluster that the shard belongs to, and its state.
local function found(keys, args)
  local meta = keys[1]
  redis.call('HSETNX', meta, 'cluster', args[1])
  local cluster = redis.call('HGET', meta, 'cluster')
  if cluster ~= args[1] then
    return {cluster, 'other'}
  end
  redis.call('HSETNX', meta, 'vbuckets', args[2])
  redis.call('HSETNX', meta, 'durability', args[3])
  redis.call('HSETNX', meta, 'shard', args[4])
  redis.call('HSETNX', meta, 'format', FORMAT)
  redis.call('HSETNX', meta, 'state', 'founding')
  local state = redis.call('HGET', meta, 'state')
  if state == 'founding' or args[5] == '1' then
    for at = 2, #keys do
      redis.call('SETNX', keys[at], 'A:1')
    end
  end
  return {cluster, state}
end

reads('taba_version', version)
reads('taba_serves', serves)
redis.register_function('taba_append', append)
always('taba_prune', prune)
always('taba_acquire', acquire)
always('taba_renew', renew)
reads('taba_load', load)
reads('taba_guard', guard)
reads('taba_depth', depth)
reads('taba_present', present)
always('taba_count_clients', count_clients)
always('taba_tidy', tidy)
always('taba_rename', rename)
always('taba_flush', flush)
redis.register_function('taba_found', found)
