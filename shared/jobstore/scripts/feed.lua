#!lua flags=allow-oom
-- Issues first tickets up to the high-water marks: tenants in turn by weight, and their jobs in turn.
--
-- ARGS  bulk_high_water:int interactive_high_water:int by_rate:int wanted:int most:int unknown:int
-- ARGS  fresh_ms:int
--       by_rate: items a slot processes in the time of a ticket; 0 while unknown
--       wanted: tickets a job should have at least, so that the whole fleet takes part
--       most: items of a ticket at most
--       unknown: items of a ticket while the rate is unknown
--       fresh_ms: how long the status shows that a job waits for a worker with its features
-- USES  items tickets needs feeding
-- Returns   issued tickets, flat: job, unit, epoch, queue, ...
-- Repeated: replaces what has been claimed since.

local high_water = { [BULK] = bulk_high_water, [INTERACTIVE] = interactive_high_water }
local TAPER = 4 -- caps a ticket at this many times an even share of the items left
local issued = {}

-- Items of the next ticket of a job with *left* items to feed. The last tickets of a job get
-- smaller, so that all slots end together and no device waits for one long ticket.
local function ticket_items(total, left)
  if by_rate == 0 then return unknown end
  local parts = math.max(wanted, 1)
  local tapered = math.max(unknown, math.floor(left / parts * TAPER))
  return math.max(1, math.min(by_rate, math.floor(total / parts), most, tapered))
end

-- Where a range that begins at *first* stops. In a retry the open items are sparse: the range then
-- grows while it holds no more open items than any other ticket, and stops after its last one.
local function stop_of(job, first, total)
  local items = ticket_items(total, total - first)
  local stop = math.min(first + items, total)
  while stop < total do
    local wider = math.min(first + 2 * (stop - first), total, first + 16 * most)
    if wider == stop or left_to_do(job, first, wider) > items then break end
    stop = wider
  end
  if left_to_do(job, first, stop) == stop - first then return stop end
  local last, index = first, first
  while index do
    last, index = index, next_item(job, index + 1, stop)
  end
  return last + 1
end

-- Next range of a job with open items, and whether more follow. Nothing for a job that has been
-- cancelled or deleted by hand.
local function next_range(job)
  local found = call('HMGET', job_key(job), 'state', 'cursor', 'total')
  if found[1] ~= RUNNING then return end
  local total = tonumber(found[3])
  local first = next_item(job, tonumber(found[2]), total)
  if not first then return end
  local stop = stop_of(job, first, total)
  return first, stop, next_item(job, stop, total) ~= nil
end

local function set_aside(job)
  wait_for_features(job, fresh_ms)
  call('RPUSH', UNSERVED, job)
end

for _ = 1, call('LLEN', UNSERVED) do
  local job = call('LPOP', UNSERVED)
  if next_range(job) then
    if is_served(job) then
      append_to_turns(job, call('HGET', job_key(job), 'queue'))
    else
      set_aside(job)
    end
  end
end

local room = {}
for _, queue in ipairs({ INTERACTIVE, BULK }) do
  room[queue] = high_water[queue] - call('ZCARD', queued_key(queue))
end

-- Issues a ticket of the tenant's next job to the queue *to*. Returns its items; 0 if that job has
-- none or must wait, and nil if the tenant has no job, or the ticket more items than *most_items*.
local function feed_one(queue, tenant, to, most_items)
  local feeding = feeding_key(queue, tenant)
  local job = call('LINDEX', feeding, 0)
  if not job then return end
  local first, stop, has_more = next_range(job)
  if first and not is_served(job) then
    set_aside(call('LPOP', feeding))
    return 0
  end
  local items = first and left_to_do(job, first, stop) or 0
  if items > most_items then return end
  if first then
    charge(queue, tenant, items)
    issue(job, string.format('%d-%d', first, stop), to, issued)
    call('HSET', job_key(job), 'cursor', stop)
    room[to] = room[to] - 1
  end
  if has_more then
    call('LMOVE', feeding, feeding, 'LEFT', 'RIGHT')
  else
    call('LPOP', feeding)
  end
  return items
end

local function feed_in_turn(queue)
  local tenant = next_tenant(queue)
  while room[queue] > 0 and tenant do
    if not feed_one(queue, tenant, queue, math.huge) then call('ZREM', turns_key(queue), tenant) end
    tenant = next_tenant(queue)
  end
end

-- Issues the first items of tenants that come back to the interactive queue.
local function feed_bursts()
  local found = call('HGETALL', BURSTS)
  for i = 1, #found, 2 do
    local tenant, left = found[i], tonumber(found[i + 1])
    while left > 0 and room[INTERACTIVE] > 0 do
      -- A whole burst lets any ticket pass: it may have more items.
      local items = feed_one(BULK, tenant, INTERACTIVE, left < BURST and left or math.huge)
      if not items then keep_credit(tenant, left) end
      left = left - (items or left)
    end
    if left > 0 then
      call('HSET', BURSTS, tenant, left)
    else
      call('HDEL', BURSTS, tenant)
    end
  end
end

feed_in_turn(INTERACTIVE)
feed_bursts()
feed_in_turn(BULK)
return issued
