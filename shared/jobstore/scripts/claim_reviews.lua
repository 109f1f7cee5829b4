#!lua flags=no-cluster
-- Leases the most doubtful undecided items to a person's tab, and renews those that it holds.
--
-- ARGS  holder count:int ttl_ms:int keep_ms:int verdict check
--       ttl_ms: life of the leases; keep_ms: of the queues; verdict, check: '' for all items
-- EACH  job generation:int
--       where items may come from
-- USES  reviews
-- Returns   {{job without queue, ...}, {job, index, job, index, ...}, undecided items of all jobs}
-- Repeated: leases the same items again. What the tab holds beyond count is released.
--
-- A lease only saves work: what counts is the review in the bucket.

local PAGE = 50
local time, queues, missing = now(), {}, {}
local found, waiting = {}, 0

local function fits(facts)
  local of_verdict, checks = string.match(facts, '^%d+;([^;]*);(.*)$')
  if verdict ~= '' and verdict ~= of_verdict then return false end
  return check == '' or string.find(checks or '', ',' .. check .. ',', 1, true) ~= nil
end

-- 'free', or why the item is not: 'out' (of the queue), 'held' (by another) or 'other' (filtered).
local function state_of(job, index)
  local facts = call('HGET', doubts_key(job), index) or ''
  if is_decided(call('HGET', part_key(job, 'reviews'), index), facts) then return 'out' end
  local until_ms, owner = string.match(call('HGET', looked_key(job), index) or '', '^(%d+):(.*)$')
  if owner and owner ~= holder and tonumber(until_ms) > time then return 'held' end
  return fits(facts) and 'free' or 'other'
end

local function take(job, index)
  call('HSET', looked_key(job), index, string.format('%d:', time + ttl_ms) .. holder)
  call('PEXPIRE', looked_key(job), ttl_ms)
  call('SADD', looking_key(holder), member_of(job, index))
  found[#found + 1], found[#found + 2] = job, tonumber(index)
end

for job, generation in each() do
  if call('HGET', doubts_key(job), 'generation') == string.format('%d', generation) then
    queues[#queues + 1] = job
    queues[job] = true
    call('PEXPIRE', doubtful_key(job), keep_ms)
    call('PEXPIRE', doubts_key(job), keep_ms)
  else
    missing[#missing + 1] = job
  end
end

local function doubt_of(job, index)
  return tonumber(call('ZSCORE', doubtful_key(job), index) or '0')
end

-- What the tab holds, the most doubtful first.
local mine = {}
for _, member in ipairs(call('SMEMBERS', looking_key(holder))) do
  local job, index = ticket_of(member)
  local doubt = queues[job] and doubt_of(job, index) or 0
  local lease = call('HGET', looked_key(job), index)
  local is_own = lease and string.match(lease, '^%d+:(.*)$') == holder
  if is_own and doubt > 0 and state_of(job, index) == 'free' then
    mine[#mine + 1] = { job, index, doubt }
  else
    let_go(holder, job, index)
  end
end
local function more_doubtful(a, b)
  if a[3] ~= b[3] then return a[3] > b[3] end
  if a[1] ~= b[1] then return a[1] < b[1] end
  return tonumber(a[2]) < tonumber(b[2])
end
table.sort(mine, more_doubtful)
for n, each_ in ipairs(mine) do
  if n <= count then take(each_[1], each_[2]) else let_go(holder, each_[1], each_[2]) end
end

-- The most doubtful free items of each queue, then of all.
local free = {}
for _, job in ipairs(queues) do
  local wanted, offset, out = count - #found / 2, 0, {}
  while wanted > 0 do
    local page = call('ZREVRANGEBYSCORE', doubtful_key(job), '+inf', '(0', 'WITHSCORES', 'LIMIT',
      offset, PAGE)
    if #page == 0 then break end
    for i = 1, #page, 2 do
      local index = page[i]
      local state = state_of(job, index)
      if state == 'out' then
        out[#out + 1] = index
      elseif wanted > 0 and state == 'free'
        and call('SISMEMBER', looking_key(holder), member_of(job, index)) == 0 then
        free[#free + 1] = { job, index, tonumber(page[i + 1]) }
        wanted = wanted - 1
      end
    end
    offset = offset + PAGE
  end
  for _, index in ipairs(out) do settle(job, index, true) end
end
table.sort(free, more_doubtful)
for _, each_ in ipairs(free) do
  if #found < 2 * count then take(each_[1], each_[2]) end
end
if #found > 0 then call('PEXPIRE', looking_key(holder), ttl_ms) end
for _, job in ipairs(queues) do waiting = waiting + call('ZCOUNT', doubtful_key(job), '(0', '+inf') end
return { missing, found, waiting }
