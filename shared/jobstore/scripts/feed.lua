#!lua flags=allow-oom
-- Issues first tickets, up to the high-water marks, going round the jobs that have items to feed.
--
-- ARGV  1 high-water mark of rmbg.bulk          2 that of rmbg.interactive
--       3 items a slot does in a ticket's time, 0 while unknown
--       4 tickets that a job should have at least, so that the whole fleet takes part
--       5 items of a ticket at most             6 items while the rate is unknown
-- Answers  issued tickets, flat: job, unit, epoch, queue, ...
-- Repeated: tops up what has been claimed since.

local high_water = { [BULK] = tonumber(ARGV[1]), [INTERACTIVE] = tonumber(ARGV[2]) }
local by_rate, tickets_wanted = tonumber(ARGV[3]), tonumber(ARGV[4])
local most, unknown = tonumber(ARGV[5]), tonumber(ARGV[6])
local TAPER = 4 -- a ticket is at most this many times the left items' share of a wanted ticket
local issued = {}

-- Items of the next ticket of a job with *left* items to feed. Its last tickets get smaller, so
-- that all slots end together and no device waits for another's long ticket.
local function ticket_items(total, left)
  if by_rate == 0 then return unknown end
  local wanted = math.max(tickets_wanted, 1)
  local tapered = math.max(unknown, math.floor(left / wanted * TAPER))
  local items = math.min(by_rate, math.floor(total / wanted), most, tapered)
  return math.max(1, items)
end

-- Where a range shall stop that begins at *first*. In a retry, items to do are few and far between:
-- then a range grows while it asks for no more work than another would, and stops at its last item.
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

-- The next range of a job that holds items to do, and whether more come after it. Nothing for a
-- job that was cancelled since its last turn, or deleted by hand.
local function next_range(job)
  local found = call('HMGET', job_key(job), 'state', 'cursor', 'total')
  if found[1] ~= RUNNING then return end
  local total = tonumber(found[3])
  local first = next_item(job, tonumber(found[2]), total)
  if not first then return end
  local stop = stop_of(job, first, total)
  return first, stop, next_item(job, stop, total) ~= nil
end

for _, queue in ipairs({ INTERACTIVE, BULK }) do
  local feeding = feeding_key(queue)
  local room = high_water[queue] - call('ZCARD', queued_key(queue))
  while room > 0 do
    local job = call('LINDEX', feeding, 0)
    if not job then break end
    local first, stop, has_more = next_range(job)
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
return issued
