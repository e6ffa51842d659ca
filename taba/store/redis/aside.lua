-- The second part of the library taba, after functions.lua: what is set aside, in the stream X. For each of its entries the
-- list XM has the size, so that the bounds can be kept without reading Partials.

-- The size that stands in an item of XM: `SIZE:ID`, or `SIZE` alone where an older version wrote it.
local function size_of(item)
  return tonumber(split(item)[1])
end

-- keys: X, XM. args: most rows, most bytes; then reason, tab, client, Type, events, Partial of each; at the end their
-- vbucket, which an older version leaves out. The oldest go.
local function set_aside(keys, args)
  local rows, bytes, present = tonumber(args[1]), tonumber(args[2]), string.sub(lineage(), -8)
  local vbucket = #args % 6 == 3 and args[#args] or ''
  for at = 3, #args - 5, 6 do
    local id = redis.call('XADD', keys[1], '*', 'r', args[at], 't', args[at + 1], 'c', args[at + 2], 'y', args[at + 3],
      'n', args[at + 4], 'p', args[at + 5], 'v', vbucket, 'l', present)
    redis.call('RPUSH', keys[2], #args[at + 5] .. ':' .. id)
  end
  local sizes, total = redis.call('LRANGE', keys[2], 0, -1), 0
  for at = 1, #sizes do
    total = total + size_of(sizes[at])
  end
  local gone = 0
  while #sizes - gone > rows or total > bytes do
    gone = gone + 1
    total = total - size_of(sizes[gone])
  end
  if gone > 0 then
    redis.call('XTRIM', keys[1], 'MAXLEN', '=', #sizes - gone)
    redis.call('LTRIM', keys[2], gone, -1)
  end
  return gone
end

-- Take the items of Partials, given as `SIZE:ID`, out of XM, in one pass however many they are. An item that an older
-- version wrote does not say whose it is: then the first of that size goes, which keeps count and sum.
local function forget_sizes(sizes, gone)
  local items, places, left = redis.call('LRANGE', sizes, 0, -1), {}, {}
  for at = 1, #items do
    places[items[at]] = places[items[at]] or {}
    table.insert(places[items[at]], at)
  end
  for at = 1, #gone do
    local found = places[gone[at]] or places[split(gone[at])[1]]
    if found and #found > 0 then
      items[table.remove(found, 1)] = false
    end
  end
  for at = 1, #items do
    if items[at] then
      left[#left + 1] = items[at]
    end
  end
  redis.call('DEL', sizes)
  for at = 1, #left, 1000 do
    redis.call('RPUSH', sizes, unpack(left, at, math.min(at + 999, #left)))
  end
end

-- keys: X, XM. args: vbucket, then the digits of the lineage and the stream id of each Partial that is to go. Answers with
-- how many went: those that are there, of this vbucket and lineage. An older version noted neither.
local function refolded(keys, args)
  local gone = {}
  for at = 2, #args, 2 do
    local entry = redis.call('XRANGE', keys[1], args[at + 1], args[at + 1])[1] or {'', {}}
    local fields = {v = '', l = '00000000'}
    for field = 1, #entry[2], 2 do
      fields[entry[2][field]] = entry[2][field + 1]
    end
    if entry[1] == args[at + 1] and fields.l == args[at] and (fields.v == '' or fields.v == args[1]) then
      redis.call('XDEL', keys[1], entry[1])
      gone[#gone + 1] = #fields.p .. ':' .. entry[1]
    end
  end
  if #gone > 0 then
    forget_sizes(keys[2], gone)
  end
  return #gone
end

always('taba_set_aside', set_aside)
always('taba_refolded', refolded)
