#!lua name=marquee
-- The cache's only writer: every call checks the source's version and changes cells, totals and leaderboards in one step.
-- connectors/redis.py draws the keys and says what each function is for. Whatever can fail is computed before the first write,
-- because an error in the middle of a function does not undo what it has written.

local LIMIT = 9007199254740992 -- 2^53: up to here a Lua number (a double) is an exact integer
local EXPIRY_MARGIN_S = 5 -- a key that expires so soon may be gone already
local SLICE = 1000 -- arguments of one command; `unpack` ends at about 8000
local FEWEST, KEPT, MOST = 500, 1000, 2000 -- of a leaderboard: see `settle`

local this_run -- a library lives as long as its server runs, so it asks once

local function server_run()
  this_run = this_run or string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  return this_run
end

-- 'ok' if the flush or reset that began at this version may go on. Of a source that has ended nothing is written any more, whoever still
-- owns it. Of two that began at one version only the later goes on: were they mixed, the one would take away what the other's end vouches
-- for. So what follows a begin that was not answered 'ok', in one pipeline with it, does nothing, unless the server had that begin before,
-- ran anew and was sent it again: then it is the end that says no. With 'ok' come the flush's run and up to which put all are stored.
local function standing(src, version, flush)
  local stored = redis.call('HMGET', src, 'seen', 'ended', 'flush', 'run_id', 'puts')
  if stored[2] then return 'refused' end
  if not stored[1] then return 'mismatch' end
  local seen = tonumber(stored[1])
  if seen > tonumber(version) then return 'refused' end
  if seen < tonumber(version) then return 'mismatch' end
  if stored[3] ~= flush then return 'refused' end
  return 'ok', stored[4], stored[5]
end

-- What matches a pattern as it stands.
local function plain(text)
  return (string.gsub(text, '[%[%]%*%?\\^-]', '\\%0'))
end

-- Takes away every key of ours in one step but the server's mark, without which a server that has ever evicted would be wiped once more;
-- whoever writes finds that it is gone and writes all of its cells again. Our shelves stand in another database, which this does not visit;
-- those that stand here, and their database's mark, are another Marquee's.
local function wipe(prefix)
  local pattern, cursor, gone, shelf = plain(prefix) .. '*', '0', 0, prefix .. 'cw/'
  repeat
    local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
    cursor = page[1]
    local ours = {}
    for _, key in ipairs(page[2]) do
      local theirs = key == prefix .. 'cw' or string.sub(key, 1, #shelf) == shelf
      if key ~= prefix .. 'server' and not theirs then ours[#ours + 1] = key end
    end
    if #ours > 0 then gone = gone + redis.call('UNLINK', unpack(ours)) end
  until cursor == '0'
  return gone
end

-- Whether there is a key of ours that matches.
local function any(pattern)
  local cursor = '0'
  repeat
    local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
    if #page[2] > 0 then return true end
    cursor = page[1]
  until cursor == '0'
  return false
end

-- Whether keys of a window may be gone by the server's clock. until_s: when they expire, 0 never.
local function expiring(until_s)
  return until_s ~= 0 and until_s <= tonumber(redis.call('TIME')[1]) + EXPIRY_MARGIN_S
end

-- Whether somebody took away a key that must stand: s if this source has registered it, t if a source has cells there, b beside t.
-- Asked before each write, since the write would make the key anew, and then it could not be told any more.
local function robbed(register_key, s, t, b, until_s, prefix)
  if expiring(until_s) then return false end
  if redis.call('SISMEMBER', register_key, s) == 1 and redis.call('EXISTS', s) == 0 then return true end
  if redis.call('EXISTS', t) == 0 then
    local sources, mine, stem = redis.call('SMEMBERS', prefix .. 'sources'), string.sub(s, #t + 2), string.sub(t, 1, -2) .. 's:'
    local known = false
    for _, source in ipairs(sources) do
      if redis.call('EXISTS', stem .. source) == 1 then return true end
      known = known or source == mine
    end
    return not known -- the set of sources itself was taken away since this flush began
  end
  return b ~= nil and redis.call('EXISTS', b) == 0
end

-- Whether the set of sources, or the status of one that has cells, was taken away: each tells of the other, `topic` that the source has
-- entered the set. Without a set, all keys are looked through, which an empty server makes short.
local function lost(sources, source, seen, topic, held, prefix)
  if redis.call('SISMEMBER', sources, source) == 1 then return not seen and held == 0 end
  return topic or redis.call('EXISTS', sources) == 0 and any(plain(prefix) .. '*:s:*')
end

-- KEYS src, src:keys, sources   ARGV version, what the owner last wrote or '', source, topic, prefix, flush
local function begin(keys, args)
  local stored = redis.call('HMGET', keys[1], 'seen', 'applied', 'run_id', 'ended', 'keys', 'topic')
  local seen, applied, run = stored[1], stored[2], stored[3]
  local version, last, now = tonumber(args[1]), args[2], server_run()
  if stored[4] or seen and tonumber(seen) > version then return 'refused' end
  if run and run ~= now then return 'mismatch' end
  local held = redis.call('SCARD', keys[2])
  if stored[5] and tonumber(stored[5]) ~= held or lost(keys[3], args[3], seen, stored[6], held, args[5]) then
    wipe(args[5])
    return 'mismatch'
  end
  if last ~= '' and (not applied or tonumber(applied) < tonumber(last)) then return 'mismatch' end
  if last == '' and not applied and held > 0 then return 'mismatch' end
  redis.call('HSET', keys[1], 'seen', args[1], 'run_id', now, 'topic', args[4], 'flush', args[6], 'puts', 0)
  redis.call('SADD', keys[3], args[3])
  return 'ok'
end

local FOUR = {'<i8', '<i8i8', '<i8i8i8', '<i8i8i8i8'}

local function exact(sum)
  if sum > LIMIT or sum < -LIMIT then error('a total is beyond 2^53 and would not be exact') end
  return sum
end

-- total + new - old, measure by measure, up to four measures at once: a call of `struct` costs more than the sum.
local function added(total, new, old, width)
  local sum = ''
  for at = 1, width, 32 do
    local form = FOUR[math.min(4, (width - at + 1) / 8)]
    local t1, t2, t3, t4 = struct.unpack(form, total, at)
    local n1, n2, n3, n4 = struct.unpack(form, new, at)
    local o1, o2, o3, o4 = struct.unpack(form, old, at) -- behind the last measure stands a position, then nothing
    sum = sum .. struct.pack(form, exact(t1 + n1 - o1), exact(t2 + n2 - o2), exact((t3 or 0) + (n3 or 0) - (o3 or 0)),
      exact((t4 or 0) + (n4 or 0) - (o4 or 0)))
  end
  return sum
end

local function sliced(command, key, list, length)
  for first = 1, length, SLICE do
    redis.call(command, key, unpack(list, first, math.min(first + SLICE - 1, length)))
  end
end

-- A leaderboard holds every total that is its least one or greater: all of them, or the best few hundred, since keeping 100,000 in order
-- costs twice what the cells do. Returns that floor, or nil where all are there. One that ranks no totals is left of a view that went.
local function floor_of(t, b)
  local held, there = redis.call('ZCARD', b), redis.call('HLEN', t)
  if there == 0 and held > 0 then redis.call('DEL', b) end
  if there == 0 or held == there then return nil end
  local least = redis.call('ZRANGE', b, -1, -1, 'WITHSCORES')[2]
  return least and -tonumber(least) or math.huge -- it has expired before the totals: nothing enters, and it is ranked anew
end

-- The MOST best of a leaderboard that has lost too many, from the totals; more where equal ones would have to be told apart.
local function rank_anew(t, b, board)
  local cells, scores, sorted, best = redis.call('HGETALL', t), {}, {}, {}
  for i = 2, #cells, 2 do
    scores[i / 2] = struct.unpack('<i8', cells[i], board)
    sorted[i / 2] = scores[i / 2]
  end
  table.sort(sorted)
  local floor = sorted[math.max(1, #sorted - MOST + 1)]
  for i = 1, #scores do
    if scores[i] >= floor then
      best[#best + 1] = string.format('%d', -scores[i])
      best[#best + 1] = cells[2 * i - 1]
    end
  end
  sliced('ZADD', b, best, #best)
end

-- Keeps a leaderboard between FEWEST and MOST, unless there are fewer totals, or more that are equal.
local function settle(t, b, board)
  local held = redis.call('ZCARD', b)
  if held > MOST then
    redis.call('ZREMRANGEBYSCORE', b, '(' .. redis.call('ZRANGE', b, KEPT - 1, KEPT - 1, 'WITHSCORES')[2], '+inf')
  elseif held < FEWEST and held < redis.call('HLEN', t) then
    rank_anew(t, b, board)
  end
end

-- Makes `news` (false: no such cell) the source's values of `names`; totals and the leaderboard follow.
local function apply(s, t, b, names, news, width, board)
  local zeros, floor = string.rep('\0', width), b and floor_of(t, b)
  local olds, totals = redis.call('HMGET', s, unpack(names)), redis.call('HMGET', t, unpack(names))
  local s_set, s_del, t_set, t_del, b_set, b_del = {}, {}, {}, {}, {}, {}
  local s_sets, s_dels, t_sets, t_dels, b_sets, b_dels = 0, 0, 0, 0, 0, 0 -- their lengths: `#` would search for each
  for i = 1, #names do
    local name, new, old, total = names[i], news[i], olds[i], totals[i]
    if new ~= old then
      local sum = new -- when the total is this source's alone, it is simply replaced
      if total ~= old then
        sum = added(total or zeros, new or zeros, old or zeros, width)
        if sum == zeros then sum = false end
      end
      if new then
        s_set[s_sets + 1], s_set[s_sets + 2], s_sets = name, new, s_sets + 2
      else
        s_dels = s_dels + 1
        s_del[s_dels] = name
      end
      if sum then
        t_set[t_sets + 1], t_set[t_sets + 2], t_sets = name, sum, t_sets + 2
      elseif total then
        t_dels = t_dels + 1
        t_del[t_dels] = name
      end
      if b then
        local score = sum and exact(struct.unpack('<i8', sum, board))
        local before = total and struct.unpack('<i8', total, board) -- of the pair that it returns, only the number
        if score and (not floor or score >= floor) then
          if score ~= before then b_set[b_sets + 1], b_set[b_sets + 2], b_sets = string.format('%d', -score), name, b_sets + 2 end
        elseif before and (not floor or before >= floor) then
          b_dels = b_dels + 1
          b_del[b_dels] = name
        end
      end
    end
  end
  sliced('HSET', s, s_set, s_sets)
  sliced('HDEL', s, s_del, s_dels)
  sliced('HSET', t, t_set, t_sets)
  sliced('HDEL', t, t_del, t_dels)
  if b then
    sliced('ZADD', b, b_set, b_sets)
    sliced('ZREM', b, b_del, b_dels)
    settle(t, b, board)
  end
end

-- The register holds the s-keys that exist, and the status how many; one that expired leaves it when the next one enters. The number goes
-- up and down with each of them, so that it tells when the register itself was taken away.
local function register(src, register_key, s)
  local more = 0
  if redis.call('EXISTS', s) == 0 then
    more = -redis.call('SREM', register_key, s)
  elseif redis.call('SADD', register_key, s) == 1 then
    more = 1
    for _, key in ipairs(redis.call('SMEMBERS', register_key)) do
      if redis.call('EXISTS', key) == 0 then more = more - redis.call('SREM', register_key, key) end
    end
  end
  if more ~= 0 then redis.call('HINCRBY', src, 'keys', more) end
end

-- KEYS src, src:keys, s, t[, b]   ARGV version, flush, bytes of a cell, place of the ranked measure, expiry (s, 0: none), keys (msgpack),
-- values, prefix, which one of the flush's puts (1 …). The status has up to which one all are stored: some may come twice, one may fail.
local function put(keys, args)
  local standing_now, _, puts = standing(keys[1], args[1], args[2])
  if standing_now ~= 'ok' then return standing_now end
  local stored, number = tonumber(puts), tonumber(args[9])
  if stored < number - 1 then return 'refused' end
  if robbed(keys[2], keys[3], keys[4], keys[5], tonumber(args[5]), args[8]) then
    wipe(args[8])
    return 'mismatch'
  end
  local width, values, names, news = tonumber(args[3]), args[7], cmsgpack.unpack(args[6]), {}
  local zeros = string.rep('\0', width)
  for i = 1, #names do
    local new = string.sub(values, (i - 1) * width + 1, i * width)
    news[i] = new ~= zeros and new
  end
  apply(keys[3], keys[4], keys[5], names, news, width, tonumber(args[4]))
  register(keys[1], keys[2], keys[3])
  if args[5] ~= '0' then
    for i = 3, #keys do redis.call('EXPIREAT', keys[i], args[5]) end
  end
  if stored < number then redis.call('HSET', keys[1], 'puts', args[9]) end
  return 'ok'
end

-- KEYS src, src:keys, channel   ARGV version, flush, how many puts there were, fields and values of the status. In one pipeline with its
-- puts it runs even if one of them failed. Who listens to the channel is told that the source has changed.
local function finish(keys, args)
  local standing_now, run, puts = standing(keys[1], args[1], args[2])
  if standing_now ~= 'ok' then return standing_now end
  if server_run() ~= run then return 'mismatch' end
  if puts ~= args[3] then return 'refused' end
  redis.call('HSET', keys[1], 'applied', args[1], unpack(args, 4))
  redis.call('PUBLISH', keys[3], keys[1])
  return 'ok'
end

-- KEYS src, src:keys, sources   ARGV version, flush, source, prefix. From here until the next `end` the source is not consistent.
local function reset(keys, args)
  local stored, now = redis.call('HMGET', keys[1], 'seen', 'ended'), server_run()
  local seen = stored[1]
  if stored[2] or seen and tonumber(seen) > tonumber(args[1]) then return {'refused', {}} end
  local held = redis.call('SCARD', keys[2])
  if not seen and lost(keys[3], args[3], seen, false, held, args[4]) then
    wipe(args[4])
    return {'mismatch', {}}
  end
  redis.call('HSET', keys[1], 'seen', args[1], 'run_id', now, 'flush', args[2])
  if not seen then redis.call('HSET', keys[1], 'keys', held) end
  redis.call('HDEL', keys[1], 'applied')
  return {'ok', redis.call('SMEMBERS', keys[2])}
end

-- 'ok' if what the source has may be taken out: by the reset that began last, or because it has ended.
local function taking(src, version, flush)
  if version ~= 'ended' then return (standing(src, version, flush)) end
  return redis.call('HEXISTS', src, 'ended') == 1 and 'ok' or 'mismatch'
end

-- KEYS src, src:keys, s, t   ARGV version or 'ended', flush. Takes away the source's cells of a view that is not declared any more, and what
-- they are summed in; a leaderboard, whose name nobody knows, is when it would rank the first total again (`floor_of`), or expires.
local function drop(keys, args)
  local allowed = taking(keys[1], args[1], args[2])
  if allowed ~= 'ok' then return allowed end
  redis.call('UNLINK', keys[3], keys[4])
  register(keys[1], keys[2], keys[3])
  return 'ok'
end

-- KEYS src, src:keys, s, t, b ('': none), and leaderboards by what is not ranked now, which nobody moves any more
-- ARGV version or 'ended', flush, bytes of a cell, place of the ranked measure, cursor, how many, expiry (s, 0: none), prefix.
-- Returns {state, next cursor, cells left}.
local function take(keys, args)
  local allowed = taking(keys[1], args[1], args[2])
  if allowed ~= 'ok' then return {allowed, '0', 0} end
  local board = keys[5] ~= '' and keys[5] or nil
  if args[1] ~= 'ended' and robbed(keys[2], keys[3], keys[4], board, tonumber(args[7]), args[8]) then
    wipe(args[8])
    return {'mismatch', '0', 0}
  end
  if keys[6] then redis.call('UNLINK', unpack(keys, 6)) end
  local page, names, news = redis.call('HSCAN', keys[3], args[5], 'COUNT', args[6]), {}, {}
  local found = page[2]
  for i = 1, #found, 2 do
    names[#names + 1] = found[i]
    news[#news + 1] = false
  end
  if #names > 0 then apply(keys[3], keys[4], board, names, news, tonumber(args[3]), tonumber(args[4])) end
  if board and args[7] ~= '0' then redis.call('EXPIREAT', board, args[7]) end -- it may have been filled anew
  local left = redis.call('HLEN', keys[3])
  if left == 0 then register(keys[1], keys[2], keys[3]) end
  return {'ok', page[1], left}
end

-- KEYS src, src:keys   ARGV now (ms). The source's topic is no more: nobody writes it from here on. Returns {whether what is held of it is
-- of one version, its s-keys}; what is not is taken out, and then its status says that it is not here.
local function conclude(keys, args)
  local stored = redis.call('HMGET', keys[1], 'seen', 'applied', 'ended')
  if not stored[1] then return {0, {}} end
  local whole = stored[2] and stored[1] == stored[2]
  if not stored[3] then redis.call('HSET', keys[1], 'ended', args[1]) end
  if not whole then redis.call('HDEL', keys[1], 'applied') end
  return {whole and 1 or 0, redis.call('SMEMBERS', keys[2])}
end

-- KEYS server   ARGV prefix, '1' if the shelves' database has no mark. Returns {policy, how many of our keys were taken away because the
-- server has evicted since it was last looked at, or has lost all shelves, or -1; 1 if it was the shelves}. A shelf that is gone tells that
-- itself, but not what its owner had not brought to Cassandra yet: that is written again with the cells.
local function look(keys, args)
  local policy = string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:([%w-]+)')
  local evicted = server_run() .. ':' .. string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
  local known, gone = redis.call('GET', keys[1]), -1
  local never = string.sub(evicted, -2) == ':0'
  local same = known == evicted or (never and not known) or (never and string.sub(known, 1, 40) ~= string.sub(evicted, 1, 40))
  local emptied = same and known and args[2] == '1'
  if not same or emptied or policy ~= 'noeviction' then gone = wipe(args[1]) end
  redis.call('SET', keys[1], evicted)
  return {policy, gone, emptied and 1 or 0}
end

-- KEYS src, src:keys, then s, t, b of each window (b: '' without a leaderboard)   ARGV prefix, then of each window its expiry (s, 0: none),
-- which the server's clock judges: a worker's may be behind. Returns '' or the key that is missing; then every key of ours has been taken away.
local function census(keys, args)
  local stored, missing = redis.call('HMGET', keys[1], 'seen', 'applied', 'keys'), ''
  if not stored[2] or stored[1] ~= stored[2] then return '' end
  if stored[3] and tonumber(stored[3]) ~= redis.call('SCARD', keys[2]) then missing = keys[2] end
  for i = 3, #keys, 3 do
    local s, t, b, window = keys[i], keys[i + 1], keys[i + 2], i / 3
    if redis.call('SISMEMBER', keys[2], s) == 1 and not expiring(tonumber(args[window + 1])) then
      if redis.call('EXISTS', s) == 0 then missing = s end
      if redis.call('EXISTS', t) == 0 then missing = t end
      if b ~= '' and redis.call('EXISTS', b) == 0 then missing = b end
    end
  end
  if missing ~= '' then wipe(args[1]) end
  return missing
end

-- Whether bookmark `new` supersedes `old`: their bytes are in that order. (Lua's own `>` goes by the server's locale.)
local function supersedes(new, old)
  for at = 1, #new do
    local a, b = string.byte(new, at), string.byte(old, at) or -1
    if a ~= b then return a > b end
  end
  return false
end

-- Which of the titles to take away so that `most` are left: the oldest, of a whole shelf finished ones first.
local function surplus(shelf, most, whole)
  local fields, titles, marks = redis.call('HGETALL', shelf), {}, {}
  for i = 1, #fields, 2 do
    if fields[i] ~= '' then
      titles[#titles + 1] = fields[i]
      marks[fields[i]] = (whole and string.byte(fields[i + 1], 13) == 0 and '\1' or '\0') .. fields[i + 1]
    end
  end
  table.sort(titles, function(a, b) return supersedes(marks[a], marks[b]) end)
  return {unpack(titles, most + 1)}
end

-- Has the shelf the greater of each title's bookmarks, this one and the one that is there. given: title, bookmark, …; renewed: they are all
-- that the durable store has. Else a full shelf that lacks a title may have had a greater bookmark of it, and is whole no longer; nor is one
-- of which a title was just finished, as the durable store may have another that had no room; nor one that was whole in another run of the
-- server, which may have been restored from what was older; nor a full one that is renewed and has the end of a title which the durable
-- store did not tell: another of that store's may have room. Of one that is not whole a bookmark just finished has to stay: the durable
-- store may have it unfinished still.
local function keep(shelf, most, expiry_s, given, renewed)
  local names, sets, more, ends = {}, {}, 0, false
  for i = 1, #given, 2 do names[#names + 1] = given[i] end
  local olds = #names > 0 and redis.call('HMGET', shelf, unpack(names)) or {}
  for i = 1, #names do
    local new, old = given[2 * i], olds[i]
    if not old then more = more + 1 end
    if not old or supersedes(new, old) then
      ends = ends or old and not renewed and string.byte(new, 13) ~= 0 and string.byte(old, 13) == 0
      sets[#sets + 1] = names[i]
      sets[#sets + 1] = new
    elseif renewed then
      ends = ends or string.byte(old, 13) ~= 0 and string.byte(new, 13) == 0
    end
  end
  if #sets > 0 or ends then
    local flag = redis.call('HGET', shelf, '')
    local held, whole = redis.call('HLEN', shelf) - (flag and 1 or 0), flag == server_run()
    if renewed then
      whole = not (ends and held + more >= most)
    elseif (more > 0 or ends) and held >= most then
      whole = false
    end
    if flag and not whole then redis.call('HDEL', shelf, '') end
    if #sets > 0 then redis.call('HSET', shelf, unpack(sets)) end
    local gone = held + more > most and surplus(shelf, most, whole) or {}
    if #gone > 0 then redis.call('HDEL', shelf, unpack(gone)) end
  end
  redis.call('EXPIRE', shelf, expiry_s)
end

-- KEYS shelves   ARGV how many titles a shelf has at most, expiry (s from now), then of each shelf the number of its pairs, and those
local function mark(keys, args)
  local at = 3
  for _, shelf in ipairs(keys) do
    local last = at + 2 * tonumber(args[at])
    keep(shelf, tonumber(args[1]), args[2], {unpack(args, at + 1, last)}, false)
    at = last + 1
  end
  return 'ok'
end

-- KEYS shelf   ARGV most titles, expiry (s from now), run of the server in which the shelf was read, before the durable store was; pairs of
-- all that that has. From now on the shelf is whole; not in another run, which may lack what came to the durable store after it was read.
local function renew(keys, args)
  local run = server_run()
  if args[3] ~= run then return 'mismatch' end
  redis.call('HSET', keys[1], '', run)
  keep(keys[1], tonumber(args[1]), args[2], {unpack(args, 4)}, true)
  return 'ok'
end

redis.register_function('mq_mark', mark)
redis.register_function('mq_renew', renew)
redis.register_function('mq_begin', begin)
redis.register_function('mq_put', put)
redis.register_function('mq_end', finish)
redis.register_function('mq_reset', reset)
-- these make room, so a server that is out of memory takes them
redis.register_function{function_name = 'mq_take', callback = take, flags = {'allow-oom'}}
redis.register_function{function_name = 'mq_drop', callback = drop, flags = {'allow-oom'}}
redis.register_function{function_name = 'mq_look', callback = look, flags = {'allow-oom'}}
redis.register_function{function_name = 'mq_census', callback = census, flags = {'allow-oom'}}
redis.register_function('mq_conclude', conclude)
