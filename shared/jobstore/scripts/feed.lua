#!lua flags=allow-oom
-- Issues first tickets up to the high-water marks, round robin over the jobs with items to feed.
--
-- ARGS  bulk_high_water:int interactive_high_water:int by_rate:int wanted:int most:int unknown:int
-- ARGS  fresh_ms:int
--       by_rate: items a slot processes in the time of a ticket; 0 while unknown
--       wanted: tickets a job should have at least, so that the whole fleet takes part
--       most: items of a ticket at most
--       unknown: items of a ticket while the rate is unknown
--       fresh_ms: how long the status shows that a job waits for a worker with its features
-- USES  items tickets needs
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
      call('RPUSH', feeding_key(call('HGET', job_key(job), 'queue')), job)
    else
      set_aside(job)
    end
  end
end

for _, queue in ipairs({ INTERACTIVE, BULK }) do
  local feeding = feeding_key(queue)
  local room = high_water[queue] - call('ZCARD', queued_key(queue))
  while room > 0 do
    local job = call('LINDEX', feeding, 0)
    if not job then break end
    local first, stop, has_more = next_range(job)
    if first and not is_served(job) then
      set_aside(call('LPOP', feeding))
    else
      if first then
        issue(job, string.format('%d-%d', first, stop), queue, issued)
        call('HSET', job_key(job), 'cursor', stop)
        room = room - 1
      end
      if has_more then
        call('LMOVE', feeding, feeding, 'LEFT', 'RIGHT')
      else
        call('LPOP', feeding)
      end
    end
  end
end
return issued
