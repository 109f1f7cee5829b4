#!lua flags=allow-oom
-- Cancels a job: nothing is fed any more, and tickets that have recorded nothing are dropped.
--
-- ARGV  1 job
-- Answers  1, or 0 if there is no such job
-- Tickets with records and those in workers' hands stay open until they are sharded. A job whose
-- items have all ended, or that has ended itself, is left as it is.
-- Repeated: nothing more happens.

local job = ARGV[1]
local found = call('HMGET', job_key(job), 'state', 'done', 'failed', 'total')
if not found[1] then return 0 end
if found[1] ~= RUNNING or found[2] + found[3] == tonumber(found[4]) then return 1 end

call('HSET', job_key(job), 'state', FINISHING, 'cancelled', 1)
for _, unit in ipairs(call('SMEMBERS', part_key(job, 'tickets'))) do
  local is_held = call('HEXISTS', ticket_key(job, unit), 'owner') == 1
  if not is_held then
    if call('EXISTS', records_key(job, unit)) == 0 then
      drop(job, unit)
    else
      call('ZADD', PARKED, 'XX', now(), member_of(job, unit)) -- no reason left to rest
    end
  end
end
-- Parked, not issued: who cancels need not reach the broker, and a worker issues it in a second.
if is_ready_to_merge(job) then park(job, MERGE, now()) end
return 1
