-- The third part of the library taba: the processes that published themselves, in the hash P. One hash, and not a key for
-- each that expires by itself: such keys could only be found by looking through all keys of the server.

-- Whether a member `EXPIRES:MILLISECONDS:FACTS` has not expired. One that has far more time left than it was given was
-- published before the server's clock was set back; it is named again as soon as it publishes itself again.
local function lives(value, time)
  local expires, milliseconds = string.match(value, '^([^:]+):([^:]+):')
  local left = tonumber(expires) - time
  return left > 0 and left <= tonumber(milliseconds) / 100
end

-- keys: P. args: name, milliseconds (0 takes back), facts. Drops what has expired.
local function publish(keys, args)
  local time, members = now(), redis.call('HGETALL', keys[1])
  for at = 1, #members, 2 do
    if not lives(members[at + 1], time) then
      redis.call('HDEL', keys[1], members[at])
    end
  end
  if args[2] == '0' then
    return redis.call('HDEL', keys[1], args[1])
  end
  local expires = string.format('%.6f', time + tonumber(args[2]) / 1000)
  redis.call('HSET', keys[1], args[1], expires .. ':' .. args[2] .. ':' .. args[3])
  return 1
end

-- keys: P. Answers with name, facts, ... of those that have not expired.
local function members(keys, args)
  local time, kept, found = now(), redis.call('HGETALL', keys[1]), {}
  for at = 1, #kept, 2 do
    if lives(kept[at + 1], time) then
      found[#found + 1] = kept[at]
      found[#found + 1] = string.match(kept[at + 1], '^[^:]+:[^:]+:(.*)$')
    end
  end
  return found
end

always('taba_publish', publish)
reads('taba_members', members)
