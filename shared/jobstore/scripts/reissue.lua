#!lua flags=allow-oom
-- Issues parked tickets that are due, and queued tickets whose message must be lost.
--
-- A queue is a FIFO. A message is lost if one that was sent much later has been claimed from the
-- same queue, or if it was sent long ago and the queue is empty.
--
-- ARGS  slack_ms:int most:int
--       slack_ms: how much later, or how long ago; most: tickets of each kind at most
-- EACH  empty_queue
-- USES  items tickets clock
-- Returns   issued tickets, flat: job, unit, epoch, queue, ...
-- Repeated: nothing until the same time has passed again.

local issued, time = {}, now()
local is_empty = {}
for empty_queue in each() do is_empty[empty_queue] = true end

local function reissue(place, before_ms)
  for _, member in ipairs(call('ZRANGEBYSCORE', place, '-inf', before_ms, 'LIMIT', 0, most)) do
    local job, unit = ticket_of(member)
    if call('EXISTS', job_key(job), ticket_key(job, unit)) < 2 then
      call('ZREM', place, member) -- the job was deleted by hand
    else
      put_back(job, unit, next_queue(job, unit), issued)
    end
  end
end

-- Time of issue of the newest ticket claimed from the queue. A time in the future was written
-- before the server's clock was set back; it says nothing about later tickets.
local function newest_claimed_ms(queue)
  local newest_ms = tonumber(call('HGET', CLAIMED, queue) or '0')
  if newest_ms <= time then return newest_ms end
  call('HDEL', CLAIMED, queue)
  return 0
end

local longest_ms = call('HGET', LONGEST, 'rest')
if longest_ms then bring_back(PARKED, longest_ms) end
reissue(PARKED, time)
for _, queue in ipairs({ INTERACTIVE, RECOVERY, BULK, SUSPECT }) do
  bring_back(queued_key(queue), 0)
  local newest_ms = newest_claimed_ms(queue)
  reissue(queued_key(queue), (is_empty[queue] and time or newest_ms) - slack_ms)
end
return issued
