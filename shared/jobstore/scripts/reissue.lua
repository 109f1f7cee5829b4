#!lua flags=allow-oom
-- Issues tickets that have rested long enough, and those whose messages must be lost.
--
-- A queue is a FIFO. So a message is lost if one that was sent much later has been claimed from
-- the same queue; or if it was sent long ago and the queue is empty.
--
-- ARGV  1 how much later, or how long ago, in ms   2 tickets at most, of each kind
--       then the names of the queues that are empty
-- Answers  issued tickets, flat: job, unit, epoch, queue, ...
-- Repeated: nothing, until as much time has passed again.

local slack_ms, most = tonumber(ARGV[1]), ARGV[2]
local issued, time = {}, now()
local is_empty = {}
for i = 3, #ARGV do is_empty[ARGV[i]] = true end

local function reissue(place, before_ms)
  for _, member in ipairs(call('ZRANGEBYSCORE', place, '-inf', before_ms, 'LIMIT', 0, most)) do
    local job, unit = ticket_of(member)
    if call('EXISTS', job_key(job), ticket_key(job, unit)) < 2 then
      call('ZREM', place, member) -- somebody deleted the job by hand
    else
      put_back(job, unit, next_lane(job, unit), issued)
    end
  end
end

-- When the newest ticket was issued that has been claimed from the queue. A time in the future is
-- of before the server's clock was set back, and says nothing about what was issued since.
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
